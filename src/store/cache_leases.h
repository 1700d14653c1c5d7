/* SPDX-License-Identifier: Apache-2.0 */

/* store/cache_leases.h - who may make the value of a key that is missing.
 *
 * A fixed number of tokens can be out; where there is no place for another,
 * the one that ends first is voided, whose put is then refused. Keys are told
 * apart by their hashes. */

#ifndef STORE_CACHE_LEASES_H
#define STORE_CACHE_LEASES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/must_use.h"

struct cache_leases_slot {
    uint64_t hash;
    uint64_t token; /* 0: free */
    uint64_t until_ms;
};

struct cache_leases {
    struct cache_leases_slot *slots; /* NULL until one is asked for */
    uint32_t slot_count;             /* a power of two */
    uint64_t last;                   /* token given */
    uint64_t floor;                  /* greater ones are good */
};

/* Takes no memory. */
void cache_leases_init(struct cache_leases *leases, uint32_t count_max);
void cache_leases_deinit(struct cache_leases *leases);

uint64_t cache_leases_memory_bytes(const struct cache_leases *leases);

/* *token: a new one, good until until_ms; 0 if another is out.
 *   DLHT_ENOMEM */
MUST_USE int cache_leases_take(struct cache_leases *leases, uint64_t hash,
                               uint64_t now_ms, uint64_t until_ms,
                               uint64_t *token);

bool cache_leases_good(const struct cache_leases *leases, uint64_t hash,
                       uint64_t now_ms, uint64_t token);

/* Voids the token of a key, and of all keys. */
void cache_leases_void(struct cache_leases *leases, uint64_t hash);
void cache_leases_void_all(struct cache_leases *leases);

#endif
