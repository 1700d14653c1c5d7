/* SPDX-License-Identifier: Apache-2.0 */

/* Telling of all entries, and of some entry, by the walk of the index. */

#include "store/cache_state.h"

enum {
    EMPTY_MAX = 4, /* buckets for each entry asked for, and that is all */
    TRIES = 64     /* of drawing one that lives */
};

/* What a walk hands on. */
struct teller {
    const struct cache *cache;
    uint64_t now_ms;
    size_t told;
    bool negatives;
    cache_scan_fn fn;
    void *self;
};

static bool is_told(struct cache_entry *entry, uint64_t now_ms)
{
    return cache_state_lives(entry, now_ms) &&
           !cache_entry_is(entry, CACHE_ENTRY_NEGATIVE);
}

static void tell(void *self, uint32_t ref)
{
    struct teller *teller = self;
    struct cache_entry *entry = cache_entry_at(&teller->cache->arena, ref);
    bool tells = teller->negatives ? cache_state_lives(entry, teller->now_ms)
                                   : is_told(entry, teller->now_ms);
    if (!tells)
        return;
    struct cache_item item = cache_entry_item(entry);
    teller->told++;
    teller->fn(teller->self, &item);
}

static uint64_t scan(struct teller *teller, uint64_t cursor, size_t about)
{
    size_t buckets = 0;
    cursor &= CACHE_INDEX_END - 1;
    do {
        cursor = cache_index_walk(&teller->cache->index, cursor, tell, teller);
        buckets++;
    } while (cursor < CACHE_INDEX_END && teller->told < about &&
             buckets / EMPTY_MAX <= about);
    return cursor < CACHE_INDEX_END ? cursor : 0;
}

uint64_t cache_scan(const struct cache *cache, uint64_t now_ms, uint64_t cursor,
                    size_t about, cache_scan_fn fn, void *self)
{
    struct teller teller = { cache, now_ms, 0, false, fn, self };
    return scan(&teller, cursor, about);
}

uint64_t cache_scan_all(const struct cache *cache, uint64_t now_ms,
                        uint64_t cursor, size_t about, cache_scan_fn fn,
                        void *self)
{
    struct teller teller = { cache, now_ms, 0, true, fn, self };
    return scan(&teller, cursor, about);
}

uint64_t cache_scan_order(const struct cache_key *key)
{
    return cache_index_order(key->hash);
}

/* One entry of those told, each as likely. */
struct draw {
    struct cache *cache;
    uint64_t now_ms;
    uint64_t seen;
    uint32_t ref;
};

static void draw(void *self, uint32_t ref)
{
    struct draw *of = self;
    if (!is_told(cache_entry_at(&of->cache->arena, ref), of->now_ms))
        return;
    if (rng_below(&of->cache->rng, ++of->seen) == 0)
        of->ref = ref;
}

bool cache_random(struct cache *cache, uint64_t now_ms, struct cache_item *item)
{
    struct draw of = { cache, now_ms, 0, 0 };
    *item = (struct cache_item){ 0 };
    if (cache->index.count == 0)
        return false;
    for (int i = 0; i < TRIES && of.ref == 0; i++) {
        uint64_t position = rng_below(&cache->rng, CACHE_INDEX_END);
        cache_index_walk(&cache->index, position, draw, &of);
    }
    if (of.ref == 0)
        return false;
    *item = cache_entry_item(cache_entry_at(&cache->arena, of.ref));
    return true;
}
