/* SPDX-License-Identifier: Apache-2.0 */

/* Taking back: what has expired, what the bounds ask for, what was flushed. */

#include <stdlib.h>

#include "base/mem.h"
#include "store/cache_state.h"

enum {
    PART = 16 /* budget for a chunk or a segment of what was flushed */
};

uint64_t cache_state_bytes_over(const struct cache *cache)
{
    uint64_t most = cache->config.bytes_max;
    return most && cache->bytes > most ? cache->bytes - most : 0;
}

uint64_t cache_state_count_over(const struct cache *cache)
{
    uint64_t most = cache->config.count_max;
    uint64_t count = cache->index.count;
    return most && count > most ? count - most : 0;
}

/* The entry after a victim is likely the next; it was asked for when the one
 * before was evicted. Now its places in the tables are, and the one after. */
static void look_ahead(const struct cache *cache, uint32_t ref)
{
    uint32_t next = cache_entry_at(&cache->arena, ref)->newer;
    if (next == 0)
        return;
    uint64_t hash = cache_state_hash_of(cache, next);
    cache_index_prefetch(&cache->index, hash);
    cache_ghost_prefetch(&cache->ghost, hash);
    uint32_t after = cache_entry_at(&cache->arena, next)->newer;
    if (after)
        cache_entry_prefetch(&cache->arena, after);
}

bool cache_state_evict(struct cache *cache, uint32_t keep)
{
    uint32_t ref = cache->policy->victim(cache, keep);
    if (ref == 0) {
        ref = cache->queues[CACHE_QUEUE_NEGATIVE].oldest;
        if (ref == 0 || ref == keep)
            return false;
    }
    look_ahead(cache, ref);
    uint64_t hash = cache_state_hash_of(cache, ref);
    cache->policy->evict(cache, ref, hash);
    cache_state_drop(cache, ref, hash);
    cache->stats.evictions++;
    return true;
}

void cache_state_reclaim(struct cache *cache, uint64_t now_ms, uint32_t *budget)
{
    uint32_t ref = 0;
    while (*budget > 0 && (ref = cache_wheel_due(&cache->wheel, &cache->arena,
                                                 now_ms, budget))) {
        cache_state_expire(cache, ref, cache_state_hash_of(cache, ref));
        *budget -= *budget > 0;
    }
}

void cache_bound(struct cache *cache, uint64_t bytes_max, uint64_t count_max)
{
    cache->config.bytes_max = bytes_max;
    cache->config.count_max = count_max;
}

/* True: it is gone. */
static bool grave_dig(struct cache_grave *grave, uint32_t parts)
{
    return cache_index_dismantle(&grave->index, parts) &&
           records_arena_dismantle(&grave->arena, parts);
}

static void graves_dig(struct cache *cache, uint32_t parts)
{
    struct cache_grave *grave = cache->graves;
    if (!grave || !grave_dig(grave, parts))
        return;
    cache->graves = grave->next;
    free(grave);
}

/* Hands the entries over to a grave; without memory for one, all goes now. */
static void bury(struct cache *cache)
{
    struct records_pages pages = cache->arena.pages;
    struct cache_grave *grave = mem_zero(1, sizeof *grave);
    uint64_t seed = cache->index.seed;
    if (grave) {
        grave->arena = cache->arena;
        grave->index = cache->index;
        grave->index.arena = &grave->arena;
        grave->next = cache->graves;
        cache->graves = grave;
    } else {
        cache_index_dismantle(&cache->index, UINT32_MAX);
        records_arena_deinit(&cache->arena);
    }
    records_arena_init(&cache->arena, &pages);
    cache_index_init(&cache->index, &cache->arena, seed);
}

void cache_flush(struct cache *cache)
{
    cache_leases_void_all(&cache->leases);
    cache_ghost_age(&cache->ghost);
    if (cache->arena.taken == 0)
        return;
    bury(cache);
    for (int i = 0; i < CACHE_QUEUES; i++)
        cache->queues[i] = (struct cache_queue){ 0 };
    cache->bytes = 0;
    cache_wheel_init(&cache->wheel, cache->config.stale_ms);
}

static bool is_over(const struct cache *cache)
{
    return cache_state_bytes_over(cache) || cache_state_count_over(cache);
}

bool cache_tick(struct cache *cache, uint64_t now_ms, uint32_t budget)
{
    if (budget == 0)
        budget = 1;
    if (cache->graves)
        graves_dig(cache, 1 + budget / PART);
    cache_state_reclaim(cache, now_ms, &budget);
    for (; budget > 0 && is_over(cache); budget--)
        if (!cache_state_evict(cache, 0))
            break;
    for (; budget >= PART; budget -= PART)
        cache_state_compact(cache);
    return cache->graves || is_over(cache) ||
           cache_wheel_next_ms(&cache->wheel) <= now_ms;
}

uint64_t cache_next_ms(const struct cache *cache)
{
    if (cache->graves || is_over(cache))
        return 0;
    return cache_wheel_next_ms(&cache->wheel);
}
