/* SPDX-License-Identifier: Apache-2.0 */

/* Making, replacing and handing over of entries. */

#include "store/records_entry.h"

#include <assert.h>

#include "base/hash.h"

/* Size of the object of an entry with that many bytes of key and value. */
static size_t object_size(size_t data_len)
{
    if (records_entry_is_big(data_len))
        return sizeof(struct records_entry) + sizeof(uint8_t *);
    return sizeof(struct records_entry) + data_len;
}

static void copy_span(uint8_t *to, struct span from)
{
    if (from.len)
        memcpy(to, from.data, from.len);
}

uint32_t records_entry_new(struct records_arena *arena,
                           const struct record *record)
{
    assert(record->key.len <= RECORDS_KEY_BYTES_MAX);
    assert(record->value.len <= RECORDS_VALUE_BYTES_MAX);
    size_t data_len = record->key.len + record->value.len;
    unsigned kind = records_arena_kind(object_size(data_len));
    uint32_t ref = records_arena_take(arena, kind);
    if (ref == 0)
        return 0;
    struct records_entry *entry = records_entry_at(arena, ref);
    uint8_t *bytes = entry->bytes;
    if (records_entry_is_big(data_len)) {
        bytes = records_arena_block(arena, data_len);
        if (!bytes) {
            records_arena_give(arena, ref);
            return 0;
        }
        memcpy(entry->bytes, &bytes, sizeof bytes);
    }
    entry->version = record->version;
    entry->key_len = (uint32_t)record->key.len;
    entry->value_len = (uint32_t)record->value.len;
    copy_span(bytes, record->key);
    copy_span(bytes + record->key.len, record->value);
    return ref;
}

void records_entry_free(struct records_arena *arena, uint32_t ref)
{
    struct records_entry *entry = records_entry_at(arena, ref);
    if (records_entry_is_big(records_entry_data_len(entry)))
        records_arena_block_give(arena, records_entry_bytes(entry));
    records_arena_give(arena, ref);
}

/* Whether an entry may become as long as new_len in its place: a slab leaves no
 * room but up to the next unit, an object that of its class. */
static bool has_room(const struct records_arena *arena, uint32_t ref,
                     size_t old_len, size_t new_len)
{
    if (records_entry_is_big(old_len) || records_entry_is_big(new_len))
        return old_len == new_len;
    size_t old_size = object_size(old_len);
    size_t new_size = object_size(new_len);
    if ((old_size + RECORDS_ARENA_UNIT - 1) / RECORDS_ARENA_UNIT ==
        (new_size + RECORDS_ARENA_UNIT - 1) / RECORDS_ARENA_UNIT)
        return true;
    return records_arena_kind(old_size) == records_arena_kind(new_size) &&
           !records_arena_in_slab(arena, ref);
}

bool records_entry_replace(struct records_arena *arena, uint32_t ref,
                           struct span value, uint64_t version)
{
    struct records_entry *entry = records_entry_at(arena, ref);
    size_t old_len = records_entry_data_len(entry);
    size_t new_len = entry->key_len + value.len;
    assert(value.len <= RECORDS_VALUE_BYTES_MAX);
    if (!has_room(arena, ref, old_len, new_len))
        return false;
    copy_span(records_entry_bytes(entry) + entry->key_len, value);
    entry->value_len = (uint32_t)value.len;
    entry->version = version;
    return true;
}

uint32_t records_entry_share(const struct records_arena *from,
                             uint32_t from_ref, struct records_arena *to)
{
    const struct records_entry *entry = records_entry_at(from, from_ref);
    size_t size = records_entry_size(entry);
    uint32_t ref = records_arena_take(to, records_arena_kind(size));
    if (ref)
        memcpy(records_arena_at(to, ref), entry, size);
    return ref;
}

void records_entry_adopt(struct records_arena *from, struct records_arena *to,
                         uint32_t to_ref)
{
    struct records_entry *entry = records_entry_at(to, to_ref);
    if (records_entry_is_big(records_entry_data_len(entry)))
        records_arena_block_move(from, to, records_entry_bytes(entry));
}

uint64_t records_entry_digest(const struct records_arena *arena, uint32_t ref)
{
    struct records_entry *entry = records_entry_at(arena, ref);
    struct span data =
        span_of(records_entry_bytes(entry), records_entry_data_len(entry));
    return hash64_seeded(data, hash64_mix(entry->version, entry->key_len));
}
