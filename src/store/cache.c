/* SPDX-License-Identifier: Apache-2.0 */

/* Making a cache, reading it, and what its other files share: finding,
 * queues, dropping. */

#include "store/cache.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "store/cache_state.h"

enum {
    BATCH = 16 /* keys whose waits are overlapped */
};

struct cache_config cache_config_default(void)
{
    return (struct cache_config){
        .policy = CACHE_S3FIFO,
        .lease_ms = 10000,
        .lease_count_max = 4096,
        .early_beta = 1,
        .negative_ms_max = 5000,
    };
}

struct cache *cache_new(const struct cache_config *config)
{
    struct cache *cache = mem_zero(1, sizeof *cache);
    if (!cache)
        return NULL;
    cache->config = *config;
    cache->policy =
        config->policy == CACHE_LRU ? &cache_state_lru : &cache_state_s3fifo;
    records_arena_init(&cache->arena, config->pages);
    cache->config.pages = NULL; /* the arena has a copy */
    rng_init(&cache->rng, config->seed);
    cache_index_init(&cache->index, &cache->arena, rng_next(&cache->rng));
    cache_wheel_init(&cache->wheel, config->stale_ms);
    cache_ghost_init(&cache->ghost);
    cache_leases_init(&cache->leases, config->lease_count_max);
    return cache;
}

void cache_free(struct cache *cache)
{
    if (!cache)
        return;
    while (cache->graves) {
        struct cache_grave *grave = cache->graves;
        cache->graves = grave->next;
        cache_index_dismantle(&grave->index, UINT32_MAX);
        records_arena_deinit(&grave->arena);
        free(grave);
    }
    cache_index_dismantle(&cache->index, UINT32_MAX);
    records_arena_deinit(&cache->arena);
    cache_ghost_deinit(&cache->ghost);
    cache_leases_deinit(&cache->leases);
    free(cache);
}

struct cache_key cache_key_of(const struct cache *cache, struct span key)
{
    assert(key.len <= CACHE_KEY_BYTES_MAX);
    return (struct cache_key){ key, cache_index_hash(&cache->index, key) };
}

void cache_prefetch(const struct cache *cache, const struct cache_key *key)
{
    cache_index_prefetch(&cache->index, key->hash);
}

void cache_prefetch_entry(const struct cache *cache,
                          const struct cache_key *key)
{
    if (!cache_index_prefetch_entry(&cache->index, key->hash))
        cache_ghost_prefetch(&cache->ghost, key->hash); /* for a put */
}

uint32_t cache_state_find(const struct cache *cache,
                          const struct cache_key *key)
{
    const uint32_t *place =
        cache_index_find(&cache->index, key->hash, key->bytes);
    return place ? *place : 0;
}

bool cache_state_lives(struct cache_entry *entry, uint64_t now_ms)
{
    return now_ms < cache_entry_expire_ms(entry);
}

bool cache_state_lingers(const struct cache *cache, struct cache_entry *entry,
                         uint64_t now_ms)
{
    uint64_t stale_ms = cache->config.stale_ms;
    return now_ms < stale_ms ||
           now_ms - stale_ms < cache_entry_expire_ms(entry);
}

uint64_t cache_state_hash_of(const struct cache *cache, uint32_t ref)
{
    return cache_index_hash(&cache->index, cache_entry_key(&cache->arena, ref));
}

void cache_state_push(struct cache *cache, uint32_t ref, unsigned queue)
{
    struct cache_queue *q = &cache->queues[queue];
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    uint64_t charge = cache_entry_charge_of(&cache->arena, entry);
    cache_entry_queue_set(entry, queue);
    entry->newer = 0;
    entry->older = q->newest;
    if (q->newest)
        cache_entry_at(&cache->arena, q->newest)->newer = ref;
    else
        q->oldest = ref;
    q->newest = ref;
    q->count++;
    q->bytes += charge;
    cache->bytes += charge;
}

/* What is beside an entry, or the ends of its queue. */
static uint32_t *link_from_newer(struct cache *cache, struct cache_entry *entry)
{
    if (entry->newer)
        return &cache_entry_at(&cache->arena, entry->newer)->older;
    return &cache->queues[cache_entry_queue(entry)].newest;
}

static uint32_t *link_from_older(struct cache *cache, struct cache_entry *entry)
{
    if (entry->older)
        return &cache_entry_at(&cache->arena, entry->older)->newer;
    return &cache->queues[cache_entry_queue(entry)].oldest;
}

void cache_state_unlink(struct cache *cache, uint32_t ref)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    struct cache_queue *q = &cache->queues[cache_entry_queue(entry)];
    uint64_t charge = cache_entry_charge_of(&cache->arena, entry);
    assert(q->count > 0 && q->bytes >= charge && cache->bytes >= charge);
    *link_from_newer(cache, entry) = entry->older;
    *link_from_older(cache, entry) = entry->newer;
    q->count--;
    q->bytes -= charge;
    cache->bytes -= charge;
}

void cache_state_replace(struct cache *cache, uint32_t from, uint32_t to)
{
    struct cache_entry *old = cache_entry_at(&cache->arena, from);
    struct cache_entry *entry = cache_entry_at(&cache->arena, to);
    struct cache_queue *q = &cache->queues[cache_entry_queue(old)];
    uint64_t before = cache_entry_charge_of(&cache->arena, old);
    uint64_t after = cache_entry_charge_of(&cache->arena, entry);
    entry->newer = old->newer;
    entry->older = old->older;
    *link_from_newer(cache, old) = to;
    *link_from_older(cache, old) = to;
    q->bytes = q->bytes - before + after;
    cache->bytes = cache->bytes - before + after;
}

void cache_state_drop(struct cache *cache, uint32_t ref, uint64_t hash)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    if (cache_entry_is(entry, CACHE_ENTRY_TIMER))
        cache_wheel_remove(&cache->wheel, &cache->arena, ref);
    cache_state_unlink(cache, ref);
    cache_index_erase(&cache->index, hash, ref);
    cache_entry_free(&cache->arena, ref);
}

void cache_state_expire(struct cache *cache, uint32_t ref, uint64_t hash)
{
    cache_state_drop(cache, ref, hash);
    cache->stats.expirations++;
}

/* Told is whether there is a value; one that has expired is none. */
static bool tell(struct cache_entry *entry, struct cache_item *item)
{
    if (cache_entry_is(entry, CACHE_ENTRY_NEGATIVE)) {
        *item = (struct cache_item){ .negative = true };
        return false;
    }
    *item = cache_entry_item(entry);
    return true;
}

/* Counts, and tells the policy of, a read of an entry that lives; 0: none. */
static bool note_read(struct cache *cache, uint32_t ref,
                      struct cache_item *item)
{
    *item = (struct cache_item){ 0 };
    if (ref == 0) {
        cache->stats.misses++;
        return false;
    }
    if (!tell(cache_entry_at(&cache->arena, ref), item)) {
        cache->stats.misses++;
        cache->stats.negative_hits++;
        return false;
    }
    cache->stats.hits++;
    cache->policy->hit(cache, ref);
    return true;
}

bool cache_get(struct cache *cache, const struct cache_key *key,
               uint64_t now_ms, struct cache_item *item)
{
    uint32_t ref = cache_state_find(cache, key);
    if (ref) {
        struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
        if (!cache_state_lives(entry, now_ms)) {
            if (!cache_state_lingers(cache, entry, now_ms))
                cache_state_expire(cache, ref, key->hash);
            ref = 0;
        }
    }
    return note_read(cache, ref, item);
}

static size_t get_batch(struct cache *cache, const struct span *keys,
                        size_t count, uint64_t now_ms, struct cache_item *items)
{
    struct cache_key hashed[BATCH];
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        hashed[i] = cache_key_of(cache, keys[i]);
        cache_prefetch(cache, &hashed[i]);
    }
    for (size_t i = 0; i < count; i++)
        cache_prefetch_entry(cache, &hashed[i]);
    for (size_t i = 0; i < count; i++) {
        uint32_t ref = cache_state_find(cache, &hashed[i]);
        if (ref &&
            !cache_state_lives(cache_entry_at(&cache->arena, ref), now_ms))
            ref = 0;
        found += note_read(cache, ref, &items[i]);
    }
    return found;
}

size_t cache_get_many(struct cache *cache, const struct span *keys,
                      size_t count, uint64_t now_ms, struct cache_item *items)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i += BATCH) {
        size_t n = count - i < BATCH ? count - i : BATCH;
        found += get_batch(cache, keys + i, n, now_ms, items + i);
    }
    return found;
}

bool cache_peek(const struct cache *cache, const struct cache_key *key,
                uint64_t now_ms, struct cache_item *item)
{
    uint32_t ref = cache_state_find(cache, key);
    *item = (struct cache_item){ 0 };
    if (ref == 0)
        return false;
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    return cache_state_lives(entry, now_ms) && tell(entry, item);
}

bool cache_look(const struct cache *cache, const struct cache_key *key,
                uint64_t now_ms, struct cache_item *item)
{
    uint32_t ref = cache_state_find(cache, key);
    *item = (struct cache_item){ 0 };
    if (ref == 0)
        return false;
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    if (!cache_state_lives(entry, now_ms))
        return false;
    *item = cache_entry_item(entry);
    return true;
}

/* Whether this reader is the one to refresh an entry that lives. */
static bool is_early(struct cache *cache, struct cache_entry *entry,
                     uint64_t now_ms)
{
    enum {
        LOG_MAX = 37 /* of 2^53, above which no chance drawn here goes */
    };
    uint64_t expire_ms = cache_entry_expire_ms(entry);
    double ahead_ms =
        cache_entry_cost_us(entry) / 1000.0 * cache->config.early_beta;
    if (expire_ms == CACHE_NEVER || !(ahead_ms > 0))
        return false;
    double left_ms = (double)(expire_ms - now_ms);
    if (left_ms > ahead_ms * LOG_MAX)
        return false;
    return -log(1 - rng_real(&cache->rng)) * ahead_ms >= left_ms;
}

static int token_take(struct cache *cache, const struct cache_key *key,
                      uint64_t now_ms, uint64_t *token)
{
    uint64_t until_ms = now_ms + cache->config.lease_ms;
    if (until_ms < now_ms)
        until_ms = UINT64_MAX;
    return cache_leases_take(&cache->leases, key->hash, now_ms, until_ms,
                             token);
}

/* The value is there. */
static int lease_hit(struct cache *cache, const struct cache_key *key,
                     uint64_t now_ms, uint32_t ref, struct cache_lease *lease)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    bool negative = cache_entry_is(entry, CACHE_ENTRY_NEGATIVE);
    lease->answer = negative ? CACHE_NEGATIVE : CACHE_HIT;
    if (!negative && is_early(cache, entry, now_ms)) {
        int rc = token_take(cache, key, now_ms, &lease->token);
        if (rc != DLHT_OK)
            return rc;
        if (lease->token) {
            lease->answer = CACHE_REFRESH;
            cache->stats.leases_early++;
        }
    }
    note_read(cache, ref, &lease->item);
    return DLHT_OK;
}

/* It is not, or it has expired and is still kept. */
static int lease_miss(struct cache *cache, const struct cache_key *key,
                      uint64_t now_ms, uint32_t ref, struct cache_lease *lease)
{
    int rc = token_take(cache, key, now_ms, &lease->token);
    if (rc != DLHT_OK)
        return rc;
    cache->stats.misses++;
    if (!lease->token)
        cache->stats.leases_waited++;
    lease->answer = lease->token ? CACHE_FILL : CACHE_WAIT;
    if (ref == 0)
        return DLHT_OK;
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    if (!cache_state_lingers(cache, entry, now_ms))
        cache_state_expire(cache, ref, key->hash);
    else if (tell(entry, &lease->item))
        lease->answer = lease->token ? CACHE_REFRESH : CACHE_STALE;
    else
        lease->item.negative = false; /* no more than a miss */
    return DLHT_OK;
}

int cache_lease(struct cache *cache, const struct cache_key *key,
                uint64_t now_ms, struct cache_lease *lease)
{
    *lease = (struct cache_lease){ .answer = CACHE_WAIT };
    uint32_t ref = cache_state_find(cache, key);
    bool lives =
        ref && cache_state_lives(cache_entry_at(&cache->arena, ref), now_ms);
    int rc = lives ? lease_hit(cache, key, now_ms, ref, lease)
                   : lease_miss(cache, key, now_ms, ref, lease);
    if (rc == DLHT_OK && lease->token)
        cache->stats.leases++;
    return rc;
}

uint64_t cache_count(const struct cache *cache)
{
    return cache->index.count;
}

uint64_t cache_seed(const struct cache *cache)
{
    return cache->config.seed;
}

uint64_t cache_version(const struct cache *cache)
{
    return cache->version;
}

void cache_version_raise(struct cache *cache, uint64_t version)
{
    assert(version < CACHE_VERSION_MAX);
    if (version > cache->version)
        cache->version = version;
}

void cache_stats(const struct cache *cache, struct cache_stats *stats)
{
    *stats = cache->stats;
    stats->count = cache->index.count;
    stats->bytes = cache->bytes;
    stats->memory_bytes = sizeof *cache + cache->arena.taken +
                          cache_ghost_memory_bytes(&cache->ghost) +
                          cache_leases_memory_bytes(&cache->leases);
    for (const struct cache_grave *g = cache->graves; g; g = g->next)
        stats->memory_bytes += sizeof *g + g->arena.taken;
}

uint64_t cache_charge(const struct cache *cache, size_t key_len,
                      size_t value_len, bool expires)
{
    return cache_entry_charge(&cache->arena, key_len, value_len, expires);
}
