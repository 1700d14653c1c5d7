/* SPDX-License-Identifier: Apache-2.0 */

/* store/cache_entry.h - one entry of a cache in memory: 24 bytes, 16 more if
 * it may expire, then key and value side by side.
 *
 *   version 56 bits, marks 8 | key_len 17, cost 15 | value_len 25, flags 7 |
 *   newer 4 | older 4 | [expire_ms 8 | previous 4 | next 4] | key | value
 *
 * newer and older link the entry into a queue of the policy, previous and next
 * into a list of the wheel; all name objects of the arena. What an object
 * cannot hold is in a block, whose address is in place of key and value; which
 * of the two it is follows from the lengths. A block is rounded up to an
 * eighth, so that a value grown byte by byte is seldom copied. */

#ifndef STORE_CACHE_ENTRY_H
#define STORE_CACHE_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/span.h"
#include "store/cache.h"
#include "store/records_arena.h"

struct cache_entry {
    uint64_t version_marks;
    uint32_t key_cost;
    uint32_t value_flags;
    uint32_t newer;
    uint32_t older;
    uint8_t bytes[];
};

struct cache_timer {
    uint64_t expire_ms; /* CACHE_NEVER: in no list */
    uint32_t previous;
    uint32_t next;
};

_Static_assert(sizeof(struct cache_entry) == 24, "the header is small");
_Static_assert(sizeof(struct cache_timer) == 16, "so is the timer");

enum {
    CACHE_ENTRY_KEY_BITS = 17,
    CACHE_ENTRY_VALUE_BITS = 25,
    CACHE_ENTRY_MARKS = 8,
    /* Marks. */
    CACHE_ENTRY_FREQ = 3,         /* accesses, up to 3 */
    CACHE_ENTRY_CREDIT_SHIFT = 2, /* further rounds for its cost, up to 3 */
    CACHE_ENTRY_QUEUE_SHIFT = 4,  /* which queue it is in */
    /* Flags. */
    CACHE_ENTRY_TIMER = 1,
    CACHE_ENTRY_NEGATIVE = 2,
    /* More bytes of key and value than this are in a block. */
    CACHE_ENTRY_INLINE_MAX = RECORDS_ARENA_OBJECT_MAX - 40
};

_Static_assert(CACHE_KEY_BYTES_MAX < 1 << CACHE_ENTRY_KEY_BITS, "it fits");
_Static_assert(CACHE_VALUE_BYTES_MAX < 1 << CACHE_ENTRY_VALUE_BITS, "it fits");

static inline struct cache_entry *
cache_entry_at(const struct records_arena *arena, uint32_t ref)
{
    return (struct cache_entry *)records_arena_at(arena, ref);
}

static inline size_t cache_entry_key_len(const struct cache_entry *entry)
{
    return entry->key_cost & ((1u << CACHE_ENTRY_KEY_BITS) - 1);
}

static inline size_t cache_entry_value_len(const struct cache_entry *entry)
{
    return entry->value_flags & ((1u << CACHE_ENTRY_VALUE_BITS) - 1);
}

static inline bool cache_entry_is(const struct cache_entry *entry,
                                  uint32_t flag)
{
    return (entry->value_flags >> CACHE_ENTRY_VALUE_BITS & flag) != 0;
}

static inline void cache_entry_flag(struct cache_entry *entry, uint32_t flag,
                                    bool on)
{
    uint32_t bit = flag << CACHE_ENTRY_VALUE_BITS;
    entry->value_flags =
        on ? entry->value_flags | bit : entry->value_flags & ~bit;
}

static inline uint64_t cache_entry_version(const struct cache_entry *entry)
{
    return entry->version_marks >> CACHE_ENTRY_MARKS;
}

static inline unsigned cache_entry_freq(const struct cache_entry *entry)
{
    return (unsigned)entry->version_marks & CACHE_ENTRY_FREQ;
}

static inline void cache_entry_freq_set(struct cache_entry *entry,
                                        unsigned freq)
{
    entry->version_marks =
        (entry->version_marks & ~(uint64_t)CACHE_ENTRY_FREQ) | freq;
}

static inline unsigned cache_entry_credit(const struct cache_entry *entry)
{
    return (unsigned)(entry->version_marks >> CACHE_ENTRY_CREDIT_SHIFT) & 3;
}

static inline void cache_entry_credit_set(struct cache_entry *entry,
                                          unsigned credit)
{
    uint64_t mask = UINT64_C(3) << CACHE_ENTRY_CREDIT_SHIFT;
    entry->version_marks = (entry->version_marks & ~mask) |
                           (uint64_t)credit << CACHE_ENTRY_CREDIT_SHIFT;
}

static inline unsigned cache_entry_queue(const struct cache_entry *entry)
{
    return (unsigned)(entry->version_marks >> CACHE_ENTRY_QUEUE_SHIFT) & 3;
}

static inline void cache_entry_queue_set(struct cache_entry *entry,
                                         unsigned queue)
{
    uint64_t mask = UINT64_C(3) << CACHE_ENTRY_QUEUE_SHIFT;
    entry->version_marks = (entry->version_marks & ~mask) |
                           (uint64_t)queue << CACHE_ENTRY_QUEUE_SHIFT;
}

/* NULL: it has none. */
static inline struct cache_timer *cache_entry_timer(struct cache_entry *entry)
{
    if (!cache_entry_is(entry, CACHE_ENTRY_TIMER))
        return NULL;
    return (struct cache_timer *)(void *)entry->bytes;
}

static inline uint64_t cache_entry_expire_ms(struct cache_entry *entry)
{
    const struct cache_timer *timer = cache_entry_timer(entry);
    return timer ? timer->expire_ms : CACHE_NEVER;
}

/* Where the key begins, and behind it the value. */
static inline uint8_t *cache_entry_data(struct cache_entry *entry)
{
    uint8_t *at = entry->bytes;
    size_t len = cache_entry_key_len(entry) + cache_entry_value_len(entry);
    if (cache_entry_is(entry, CACHE_ENTRY_TIMER))
        at += sizeof(struct cache_timer);
    if (len <= CACHE_ENTRY_INLINE_MAX)
        return at;
    uint8_t *block;
    memcpy(&block, at, sizeof block);
    return block;
}

static inline struct span cache_entry_key(const struct records_arena *arena,
                                          uint32_t ref)
{
    struct cache_entry *entry = cache_entry_at(arena, ref);
    return span_of(cache_entry_data(entry), cache_entry_key_len(entry));
}

/* Asks for the first 104 bytes: header, a usual key, and a value of 64 bytes,
 * as often in three lines as in two. */
static inline void cache_entry_prefetch(const struct records_arena *arena,
                                        uint32_t ref)
{
    const uint8_t *bytes = records_arena_at(arena, ref);
    prefetch_line(bytes);
    prefetch_line(bytes + 64);
    prefetch_line(bytes + 103);
}

/* What an entry of these lengths counts against the bound in bytes. */
uint64_t cache_entry_charge(const struct records_arena *arena, size_t key_len,
                            size_t value_len, bool timer);

static inline uint64_t cache_entry_charge_of(const struct records_arena *arena,
                                             const struct cache_entry *entry)
{
    return cache_entry_charge(arena, cache_entry_key_len(entry),
                              cache_entry_value_len(entry),
                              cache_entry_is(entry, CACHE_ENTRY_TIMER));
}

/* An entry with that key and room for a value so long, which is not filled in;
 * in no queue and no list, without version, cost and expiry. 0: no memory. */
uint32_t cache_entry_new(struct records_arena *arena, struct span key,
                         size_t value_len, bool timer);

void cache_entry_free(struct records_arena *arena, uint32_t ref);

/* Whether the value may get this length where it is. */
bool cache_entry_fits(const struct cache_entry *entry, size_t value_len);

/* Sets the length of a value that fits. */
void cache_entry_value_len_set(struct cache_entry *entry, size_t value_len);

/* A copy of an entry for a value of another length, or with a timer where it
 * had none; marks, flags, version, cost and expiry are those of the old, the
 * links are not. The value is not filled in, unless the block of the old fits
 * and keep is true: then that moves, and *moved says so. 0: no memory. */
uint32_t cache_entry_reshape(struct records_arena *arena, uint32_t ref,
                             size_t value_len, bool timer, bool keep,
                             bool *moved);

/* As free, of an entry whose block has moved. */
void cache_entry_free_shell(struct records_arena *arena, uint32_t ref);

uint32_t cache_entry_cost_us(const struct cache_entry *entry);
void cache_entry_cost_set(struct cache_entry *entry, uint32_t cost_us);

struct cache_item cache_entry_item(struct cache_entry *entry);

#endif
