/* SPDX-License-Identifier: Apache-2.0 */

/* store/cache_ghost.h - which keys were evicted a short while ago.
 *
 * The last so many evictions count, by their number and not by their time. A
 * slot is 4 bytes: 20 bits of a key's hash and a coarse count of evictions
 * when it was written, 1024 steps for as many as there are slots. Sixteen
 * slots, one cache line, are the place of a hash, and the oldest is written
 * over. So the answer may be wrong: a few of the oldest are forgotten early,
 * and one key in 65,000 is taken for another. */

#ifndef STORE_CACHE_GHOST_H
#define STORE_CACHE_GHOST_H

#include <stdbool.h>
#include <stdint.h>

struct cache_ghost {
    uint32_t *slots;     /* NULL: no memory was wanted or had yet */
    uint64_t slot_count; /* a power of two */
    unsigned step_shift; /* of the number of evictions, to its stamp */
    uint64_t evicted;
};

/* Takes no memory. */
void cache_ghost_init(struct cache_ghost *ghost);
void cache_ghost_deinit(struct cache_ghost *ghost);

uint64_t cache_ghost_memory_bytes(const struct cache_ghost *ghost);

/* The last `window` evictions will be asked about. Where memory for so many is
 * not there it is taken, and what was known is forgotten; without memory
 * nothing is remembered. */
void cache_ghost_add(struct cache_ghost *ghost, uint64_t hash, uint64_t window);

/* Whether it is one of the last `window` evictions; forgets it. */
bool cache_ghost_take(struct cache_ghost *ghost, uint64_t hash,
                      uint64_t window);

/* Brings the place of a hash into the processor's cache. */
void cache_ghost_prefetch(const struct cache_ghost *ghost, uint64_t hash);

/* None of what was evicted is recent any more. */
void cache_ghost_age(struct cache_ghost *ghost);

#endif
