/* SPDX-License-Identifier: Apache-2.0 */

/* store/records_hash.h - which entry has a key: a hash index that grows by one
 * bucket at a time.
 *
 * A bucket is one cache line of twelve entries, each with 8 bits of its hash;
 * what does not fit goes to a chained bucket. Buckets are divided in order
 * (linear hashing, Litwin 1980), and quickly once the table is full enough,
 * so that chains stay rare; no insertion ever moves the whole table. */

#ifndef STORE_RECORDS_HASH_H
#define STORE_RECORDS_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "store/records_arena.h"

struct records_bucket;

struct records_hash {
    struct records_arena *arena;
    uint64_t seed;
    struct records_bucket **segments;
    uint32_t segment_count;
    uint32_t segment_cap;
    uint32_t first_cap; /* buckets that segment 0 has room for */
    uint32_t level;     /* a power of two; 0: nothing allocated */
    uint32_t split;     /* buckets before this one have been divided: there
                           are level + split of them */
    uint64_t count;
};

/* Takes no memory. */
void records_hash_init(struct records_hash *hash, struct records_arena *arena,
                       uint64_t seed);

/* Gives back the table; chained buckets go with the arena. */
void records_hash_deinit(struct records_hash *hash);

uint64_t records_hash_of(const struct records_hash *hash, struct span key);

/* Where the entry of key is referred to, for reading and replacing; NULL: it
 * is not there. */
uint32_t *records_hash_find(const struct records_hash *hash, uint64_t of,
                            struct span key);

void records_hash_prefetch(const struct records_hash *hash, uint64_t of);

/* Of the entries in the bucket, asks for the first that may be it. */
void records_hash_prefetch_entry(const struct records_hash *hash, uint64_t of);

/* Makes room for count entries at once in an empty table; false: no memory. */
bool records_hash_presize(struct records_hash *hash, uint64_t count);

/* A free place for one entry with that hash, to be filled at once; NULL: no
 * memory. */
uint32_t *records_hash_reserve(struct records_hash *hash, uint64_t of);

/* Fills the place. May grow the table, if there is memory. */
void records_hash_fill(struct records_hash *hash, uint64_t of, uint32_t *place,
                       uint32_t ref);

/* An entry that is there has another name. */
void records_hash_rename(struct records_hash *hash, uint64_t of, uint32_t from,
                         uint32_t to);

/* Takes out an entry that is there. Looks at the low 32 bits of its hash only.
 * May shrink the table. */
void records_hash_erase(struct records_hash *hash, uint64_t of, uint32_t ref);

/* Asserts that every entry is where its hash says; returns the number of
 * chained buckets. */
size_t records_hash_check(const struct records_hash *hash);

#endif
