/* SPDX-License-Identifier: Apache-2.0 */

/* store/records_entry.h - one record in memory: 16 bytes, then key and value
 * side by side.
 *
 *   version 8 | key_len 4 | value_len 4 | key | value
 *
 * An entry that would be larger than an object may be keeps key and value in a
 * block and its address behind the lengths; which of the two it is follows
 * from the lengths. Separators of the tree are entries without a value. */

#ifndef STORE_RECORDS_ENTRY_H
#define STORE_RECORDS_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/span.h"
#include "store/records.h"
#include "store/records_arena.h"

struct records_entry {
    uint64_t version;
    uint32_t key_len;
    uint32_t value_len;
    uint8_t bytes[];
};

static inline size_t records_entry_data_len(const struct records_entry *entry)
{
    return (size_t)entry->key_len + entry->value_len;
}

/* Whether this many bytes of key and value lie in a block. */
static inline bool records_entry_is_big(size_t data_len)
{
    return sizeof(struct records_entry) + data_len > RECORDS_ARENA_OBJECT_MAX;
}

static inline uint8_t *records_entry_bytes(struct records_entry *entry)
{
    if (!records_entry_is_big(records_entry_data_len(entry)))
        return entry->bytes;
    uint8_t *block;
    memcpy(&block, entry->bytes, sizeof block);
    return block;
}

static inline struct records_entry *
records_entry_at(const struct records_arena *arena, uint32_t ref)
{
    return (struct records_entry *)records_arena_at(arena, ref);
}

static inline struct span records_entry_key(const struct records_arena *arena,
                                            uint32_t ref)
{
    struct records_entry *entry = records_entry_at(arena, ref);
    return span_of(records_entry_bytes(entry), entry->key_len);
}

static inline struct record
records_entry_record(const struct records_arena *arena, uint32_t ref)
{
    struct records_entry *entry = records_entry_at(arena, ref);
    const uint8_t *bytes = records_entry_bytes(entry);
    struct record record = { span_of(bytes, entry->key_len),
                             span_of(bytes + entry->key_len, entry->value_len),
                             entry->version };
    return record;
}

/* Asks for an entry's first 104 bytes, as cache_entry_prefetch does. */
static inline void records_entry_prefetch(const struct records_arena *arena,
                                          uint32_t ref)
{
    const uint8_t *bytes = records_arena_at(arena, ref);
    prefetch_line(bytes);
    prefetch_line(bytes + 64);
    prefetch_line(bytes + 103);
}

/* A copy of the record; 0: no memory. */
uint32_t records_entry_new(struct records_arena *arena,
                           const struct record *record);

void records_entry_free(struct records_arena *arena, uint32_t ref);

/* Bytes of the object that an entry is. */
static inline size_t records_entry_size(const struct records_entry *entry)
{
    size_t data_len = records_entry_data_len(entry);
    if (records_entry_is_big(data_len))
        data_len = sizeof(uint8_t *);
    return sizeof *entry + data_len;
}

/* Puts another value and version in the place of the old if it needs the
 * same room; false: it has not, nothing is changed. */
bool records_entry_replace(struct records_arena *arena, uint32_t ref,
                           struct span value, uint64_t version);

/* A copy of from's entry, sharing its block if it has one, until
 * records_entry_adopt: then it is to's. 0: no memory. */
uint32_t records_entry_share(const struct records_arena *from,
                             uint32_t from_ref, struct records_arena *to);
void records_entry_adopt(struct records_arena *from, struct records_arena *to,
                         uint32_t to_ref);

/* What one record adds to the digest of its map. */
uint64_t records_entry_digest(const struct records_arena *arena, uint32_t ref);

#endif
