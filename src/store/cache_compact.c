/* SPDX-License-Identifier: Apache-2.0 */

/* Moving entries together. A run of the arena serves one size of objects and
 * is given back when it is empty; a cache keeps what is hot for ever, so that
 * after values have changed their size every run may hold the one hot entry
 * that came with it. */

#include <assert.h>
#include <string.h>

#include "store/cache_state.h"

enum {
    LOOSE_PART = 8,          /* of what is counted, held beyond it */
    LOOSE_BYTES = 512 << 10, /* and so much in any case: the index */
    HASTE_PART = 32,         /* a bucket more for each such part beyond that */
    BUCKETS_MAX = 8,         /* looked at by one call */
    MANY = 32                /* entries of a bucket that are looked at */
};

void cache_state_swap(struct cache *cache, uint32_t ref, uint32_t made,
                      uint64_t hash, bool moved)
{
    struct cache_entry *old = cache_entry_at(&cache->arena, ref);
    uint32_t *place = cache_index_find(&cache->index, hash,
                                       cache_entry_key(&cache->arena, made));
    assert(place && *place == ref);
    *place = made;
    cache_state_replace(cache, ref, made);
    if (cache_entry_timer(cache_entry_at(&cache->arena, made)) &&
        cache_entry_timer(old))
        cache_wheel_rename(&cache->wheel, &cache->arena, ref, made);
    else if (cache_entry_timer(old))
        cache_wheel_remove(&cache->wheel, &cache->arena, ref);
    if (moved)
        cache_entry_free_shell(&cache->arena, ref);
    else
        cache_entry_free(&cache->arena, ref);
}

struct found {
    uint32_t refs[MANY];
    size_t count;
};

static void find(void *self, uint32_t ref)
{
    struct found *found = self;
    if (found->count < MANY)
        found->refs[found->count++] = ref;
}

/* To a run that others fill too; there is none if the new place is in the same
 * run, which is then the one being filled. */
static void relocate(struct cache *cache, uint32_t ref)
{
    struct cache_entry *old = cache_entry_at(&cache->arena, ref);
    size_t key_len = cache_entry_key_len(old);
    size_t len = cache_entry_value_len(old);
    bool timer = cache_entry_timer(old) != NULL;
    bool moved;
    if (key_len + len > CACHE_ENTRY_INLINE_MAX)
        return; /* a small shell; its block is no run's */
    uint32_t made =
        cache_entry_reshape(&cache->arena, ref, len, timer, false, &moved);
    if (made == 0)
        return;
    if (records_arena_same_run(&cache->arena, ref, made)) {
        cache_entry_free(&cache->arena, made);
        return;
    }
    struct cache_entry *entry = cache_entry_at(&cache->arena, made);
    if (len)
        memcpy(cache_entry_data(entry) + key_len,
               cache_entry_data(old) + key_len, len);
    cache_state_swap(cache, ref, made, cache_state_hash_of(cache, ref), false);
}

/* How many buckets are to be looked at: none if little is held for nothing,
 * the more the more is, so that no peak is built up. */
static uint64_t buckets_due(const struct cache *cache)
{
    uint64_t held = records_arena_used_bytes(&cache->arena);
    uint64_t most = cache->bytes + cache->bytes / LOOSE_PART + LOOSE_BYTES;
    if (held <= most)
        return 0;
    uint64_t n = 1 + (held - most) / (cache->bytes / HASTE_PART + 1);
    return n < BUCKETS_MAX ? n : BUCKETS_MAX;
}

static void bucket_compact(struct cache *cache)
{
    struct found found = { .count = 0 };
    cache->compacted =
        cache_index_walk(&cache->index, cache->compacted, find, &found);
    if (cache->compacted >= CACHE_INDEX_END)
        cache->compacted = 0;
    for (size_t i = 0; i < found.count; i++)
        if (records_arena_is_sparse(&cache->arena, found.refs[i]))
            relocate(cache, found.refs[i]);
}

void cache_state_compact(struct cache *cache)
{
    for (uint64_t n = buckets_due(cache); n > 0; n--)
        bucket_compact(cache);
}
