/* SPDX-License-Identifier: Apache-2.0 */

/* What must hold of a cache between calls. */

#include <assert.h>

#include "store/cache_state.h"

/* Returns how many entries of the queue have an end. */
static uint64_t queue_check(const struct cache *cache, unsigned queue)
{
    const struct cache_queue *q = &cache->queues[queue];
    uint64_t count = 0;
    uint64_t bytes = 0;
    uint64_t ends = 0;
    uint32_t newer = 0;
    for (uint32_t ref = q->newest; ref;) {
        struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
        struct cache_key key =
            cache_key_of(cache, cache_entry_key(&cache->arena, ref));
        assert(entry->newer == newer);
        assert(cache_entry_queue(entry) == queue);
        assert(cache_entry_is(entry, CACHE_ENTRY_NEGATIVE) ==
               (queue == CACHE_QUEUE_NEGATIVE));
        assert(cache_entry_version(entry) <= cache->version);
        assert(cache_state_find(cache, &key) == ref);
        const struct cache_timer *timer = cache_entry_timer(entry);
        if (timer) {
            assert((timer->previous != 0) == (timer->expire_ms != CACHE_NEVER));
            ends += timer->expire_ms != CACHE_NEVER;
        }
        count++;
        bytes += cache_entry_charge_of(&cache->arena, entry);
        newer = ref;
        ref = entry->older;
    }
    assert(q->oldest == newer);
    assert(q->count == count && q->bytes == bytes);
    return ends;
}

void cache_check(const struct cache *cache)
{
    uint64_t ends = 0;
    uint64_t count = 0;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < CACHE_QUEUES; i++) {
        ends += queue_check(cache, i);
        count += cache->queues[i].count;
        bytes += cache->queues[i].bytes;
    }
    assert(count == cache->index.count && bytes == cache->bytes);
    assert(ends == cache->wheel.count);
    size_t links = cache_index_check(&cache->index);
    assert(records_arena_check(&cache->arena) == count + links);
    cache_wheel_check(&cache->wheel, &cache->arena);
}
