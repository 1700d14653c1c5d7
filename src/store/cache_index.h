/* SPDX-License-Identifier: Apache-2.0 */

/* store/cache_index.h - which entry of a cache has a key: a hash index that
 * grows by one bucket at a time.
 *
 * Built as store/records_hash.h: a bucket is one cache line of twelve entries,
 * each with 8 bits of its hash, further ones are chained; buckets are divided
 * in order (linear hashing, Litwin 1980), so no call ever moves the table.
 *
 * The place of an entry is also its place in a walk: entries stand in the
 * order of the low 32 bits of their hashes, read from the lowest bit on. A
 * bucket holds one interval of that order, and division cuts intervals in two;
 * hence a walk by positions meets each entry once, whatever the table does
 * meanwhile. */

#ifndef STORE_CACHE_INDEX_H
#define STORE_CACHE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "store/records_arena.h"

struct cache_bucket;

struct cache_index {
    struct records_arena *arena;
    uint64_t seed;
    struct cache_bucket **segments;
    uint32_t segment_count;
    uint32_t segment_cap;
    uint32_t first_cap; /* buckets that segment 0 has room for */
    uint32_t level;     /* a power of two; 0: nothing allocated */
    uint32_t split;     /* buckets before this one have been divided: there
                           are level + split of them */
    uint64_t count;
};

/* Takes no memory. */
void cache_index_init(struct cache_index *index, struct records_arena *arena,
                      uint64_t seed);

/* Gives back so many segments at most, of an index of which nothing else is
 * asked any more; chained buckets go with the arena. True: all is done. */
bool cache_index_dismantle(struct cache_index *index, uint32_t segments);

uint64_t cache_index_hash(const struct cache_index *index, struct span key);

/* Where the entry of key is referred to, for reading and replacing; NULL: it
 * is not there. Valid until the next change. */
uint32_t *cache_index_find(const struct cache_index *index, uint64_t hash,
                           struct span key);

void cache_index_prefetch(const struct cache_index *index, uint64_t hash);

/* Of the entries in the bucket, asks for the first that may be it. False: there
 * is none, or it is in a chained bucket. */
bool cache_index_prefetch_entry(const struct cache_index *index, uint64_t hash);

/* Adds an entry whose key is not there; false: no memory. May divide buckets,
 * if there is memory. */
bool cache_index_add(struct cache_index *index, uint64_t hash, uint32_t ref);

/* Takes out an entry that is there. May join buckets. */
void cache_index_erase(struct cache_index *index, uint64_t hash, uint32_t ref);

/* The end of the walk's positions. */
#define CACHE_INDEX_END (UINT64_C(1) << 32)

typedef void (*cache_index_fn)(void *self, uint32_t ref);

/* The upper 32 bits are the position of a walk that has a hash; by the others
 * those of one position can be told apart. */
uint64_t cache_index_order(uint64_t hash);

/* Calls fn for each entry of one bucket at or after the position, which is
 * below CACHE_INDEX_END; returns the position after that bucket. fn must not
 * change the index. */
uint64_t cache_index_walk(const struct cache_index *index, uint64_t position,
                          cache_index_fn fn, void *self);

/* Asserts that every entry is where its hash says; returns the number of
 * chained buckets. */
size_t cache_index_check(const struct cache_index *index);

#endif
