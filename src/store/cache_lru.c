/* SPDX-License-Identifier: Apache-2.0 */

/* Least recently used: the plain policy that others are measured against. All
 * entries are in the main queue, in the order of their last access. */

#include "store/cache_state.h"

static void lru_add(struct cache *cache, uint32_t ref, uint64_t hash)
{
    (void)hash;
    cache_state_push(cache, ref, CACHE_QUEUE_MAIN);
}

static void lru_hit(struct cache *cache, uint32_t ref)
{
    if (cache->queues[CACHE_QUEUE_MAIN].newest == ref)
        return;
    cache_state_unlink(cache, ref);
    cache_state_push(cache, ref, CACHE_QUEUE_MAIN);
}

static uint32_t lru_victim(struct cache *cache, uint32_t keep)
{
    uint32_t ref = cache->queues[CACHE_QUEUE_MAIN].oldest;
    if (ref != 0 && ref == keep)
        ref = cache_entry_at(&cache->arena, ref)->newer;
    return ref;
}

static void lru_evict(struct cache *cache, uint32_t ref, uint64_t hash)
{
    (void)cache;
    (void)ref;
    (void)hash;
}

const struct cache_policy cache_state_lru = { "lru", lru_add, lru_hit,
                                              lru_victim, lru_evict };
