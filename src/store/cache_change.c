/* SPDX-License-Identifier: Apache-2.0 */

/* Changing a cache: put, remove, expire, resize, and the bounds that a change
 * must keep. */

#include <assert.h>
#include <string.h>

#include "dlht/err.h"
#include "store/cache_state.h"

enum {
    SLICE = 64, /* entries evicted for one, if the bounds allow */
    RECLAIM = 8 /* expired ones that go before any is evicted */
};

/* How far the bounds are exceeded before a change. */
struct excess {
    uint64_t bytes;
    uint64_t count;
};

static struct excess excess_of(const struct cache *cache)
{
    return (struct excess){ cache_state_bytes_over(cache),
                            cache_state_count_over(cache) };
}

/* Evicts until the bounds are kept, or a slice of that if there is no more
 * over than before or than one entry, the kept one. */
static void evict_over(struct cache *cache, uint64_t now_ms, uint32_t keep,
                       struct excess before)
{
    if (!cache_state_bytes_over(cache) && !cache_state_count_over(cache))
        return;
    struct cache_entry *entry = cache_entry_at(&cache->arena, keep);
    uint64_t one = cache_entry_charge_of(&cache->arena, entry);
    uint64_t most = before.bytes > one ? before.bytes : one;
    uint32_t budget = RECLAIM;
    cache_state_reclaim(cache, now_ms, &budget);
    for (int n = 0;; n++) {
        uint64_t bytes = cache_state_bytes_over(cache);
        uint64_t count = cache_state_count_over(cache);
        if (bytes == 0 && count == 0)
            return;
        if (n >= SLICE && bytes <= most && count <= before.count)
            return;
        if (!cache_state_evict(cache, keep))
            return;
    }
}

/* After a change: the bounds, and memory that is held for nothing. */
static void trim(struct cache *cache, uint64_t now_ms, uint32_t keep,
                 struct excess before)
{
    evict_over(cache, now_ms, keep, before);
    cache_state_compact(cache);
}

static bool is_too_big(const struct cache *cache, size_t key_len,
                       size_t value_len, bool timer)
{
    if (value_len > CACHE_VALUE_BYTES_MAX)
        return true;
    uint64_t most = cache->config.bytes_max;
    return most > 0 &&
           cache_entry_charge(&cache->arena, key_len, value_len, timer) > most;
}

/* The next, or one of another cache: what is given here later is greater. */
static void version_set(struct cache *cache, uint32_t ref, uint64_t given)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    assert(given <= CACHE_VERSION_MAX);
    assert(given || cache->version < CACHE_VERSION_MAX);
    uint64_t version = given ? given : cache->version + 1;
    if (version > cache->version)
        cache->version = version;
    uint64_t marks = entry->version_marks & ((1 << CACHE_ENTRY_MARKS) - 1);
    entry->version_marks = version << CACHE_ENTRY_MARKS | marks;
}

static void version_give(struct cache *cache, uint32_t ref)
{
    version_set(cache, ref, 0);
}

/* expire_ms other than CACHE_NEVER only if the entry has a timer. */
static void end_set(struct cache *cache, uint32_t ref, uint64_t now_ms,
                    uint64_t expire_ms)
{
    struct cache_timer *timer =
        cache_entry_timer(cache_entry_at(&cache->arena, ref));
    assert(timer || expire_ms == CACHE_NEVER);
    if (!timer || timer->expire_ms == expire_ms)
        return;
    cache_wheel_remove(&cache->wheel, &cache->arena, ref);
    timer->expire_ms = expire_ms;
    if (expire_ms != CACHE_NEVER)
        cache_wheel_put(&cache->wheel, &cache->arena, now_ms, ref);
}

/* Puts an entry, not yet in a queue, into the one it belongs to. */
static void enqueue(struct cache *cache, uint32_t ref, uint64_t hash)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    if (cache_entry_is(entry, CACHE_ENTRY_NEGATIVE))
        cache_state_push(cache, ref, CACHE_QUEUE_NEGATIVE);
    else
        cache->policy->add(cache, ref, hash);
}

/* An entry of the index, in no queue yet; 0: no memory. The value is not
 * filled in. */
static uint32_t entry_add(struct cache *cache, const struct cache_key *key,
                          size_t value_len, bool timer)
{
    uint32_t ref = cache_entry_new(&cache->arena, key->bytes, value_len, timer);
    if (ref == 0)
        return 0;
    if (!cache_index_add(&cache->index, key->hash, ref)) {
        cache_entry_free(&cache->arena, ref);
        return 0;
    }
    return ref;
}

/* Without data, a value is left to be filled in. */
static void value_fill(struct cache *cache, uint32_t ref, struct span value)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    if (value.data && value.len)
        memmove(cache_entry_data(entry) + cache_entry_key_len(entry),
                value.data, value.len);
}

/* Gives *ref another value, in its place if that fits.
 *   DLHT_ENOMEM  all is as before */
static int value_replace(struct cache *cache, const struct cache_key *key,
                         uint32_t *ref, struct span value, bool timer)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, *ref);
    bool moved;
    if (cache_entry_fits(entry, value.len) &&
        (!timer || cache_entry_timer(entry))) {
        value_fill(cache, *ref, value);
        cache_entry_value_len_set(entry, value.len);
        return DLHT_OK;
    }
    uint32_t made = cache_entry_reshape(&cache->arena, *ref, value.len, timer,
                                        false, &moved);
    if (made == 0)
        return DLHT_ENOMEM;
    value_fill(cache, made, value);
    if (!timer) /* the old one had an end, perhaps */
        end_set(cache, *ref, 0, CACHE_NEVER);
    cache_state_swap(cache, *ref, made, key->hash, moved);
    *ref = made;
    return DLHT_OK;
}

/* At most so many are kept, so that absent keys do not drive out values. */
static void negatives_trim(struct cache *cache, uint32_t keep)
{
    enum {
        PART = 50
    };
    const struct cache_queue *q = &cache->queues[CACHE_QUEUE_NEGATIVE];
    const struct cache_config *config = &cache->config;
    for (int n = 0; n < SLICE; n++) {
        bool over =
            (config->bytes_max && q->bytes > config->bytes_max / PART) ||
            (config->count_max && q->count > config->count_max / PART);
        if (!over || q->oldest == keep)
            return;
        uint32_t ref = q->oldest;
        cache_state_drop(cache, ref, cache_state_hash_of(cache, ref));
        cache->stats.evictions++;
    }
}

/* After a value was put: flags, cost, end, version, queue, bounds. */
static void settle(struct cache *cache, const struct cache_key *key,
                   uint64_t now_ms, uint32_t ref, const struct cache_put *put)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    cache_entry_flag(entry, CACHE_ENTRY_NEGATIVE, put->negative);
    cache_entry_cost_set(entry, put->cost_us);
    end_set(cache, ref, now_ms, put->expire_ms);
    version_set(cache, ref, put->given);
    cache_leases_void(&cache->leases, key->hash);
    cache->stats.puts++;
}

static int put_new(struct cache *cache, const struct cache_key *key,
                   uint64_t now_ms, const struct cache_put *put)
{
    struct excess before = excess_of(cache);
    uint32_t ref =
        entry_add(cache, key, put->value.len, put->expire_ms != CACHE_NEVER);
    if (ref == 0)
        return DLHT_ENOMEM;
    value_fill(cache, ref, put->value);
    settle(cache, key, now_ms, ref, put);
    enqueue(cache, ref, key->hash);
    negatives_trim(cache, ref);
    trim(cache, now_ms, ref, before);
    return DLHT_OK;
}

static int put_over(struct cache *cache, const struct cache_key *key,
                    uint64_t now_ms, uint32_t ref, const struct cache_put *put)
{
    struct excess before = excess_of(cache);
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    bool negative = cache_entry_is(entry, CACHE_ENTRY_NEGATIVE);
    bool lived = cache_state_lives(entry, now_ms);
    int rc = value_replace(cache, key, &ref, put->value,
                           put->expire_ms != CACHE_NEVER);
    if (rc != DLHT_OK)
        return rc;
    cache->stats.expirations += !lived;
    settle(cache, key, now_ms, ref, put);
    if (negative != put->negative) {
        cache_state_unlink(cache, ref);
        enqueue(cache, ref, key->hash);
    } else if (!negative) {
        cache->policy->hit(cache, ref);
    }
    negatives_trim(cache, ref);
    trim(cache, now_ms, ref, before);
    return DLHT_OK;
}

/* entry: what readers would see; NULL: nothing. */
static int when_allows(const struct cache *cache, const struct cache_key *key,
                       uint64_t now_ms, const struct cache_entry *entry,
                       const struct cache_put *put)
{
    bool present = entry && !cache_entry_is(entry, CACHE_ENTRY_NEGATIVE);
    switch (put->when) {
    case CACHE_ALWAYS:
        return DLHT_OK;
    case CACHE_IF_ABSENT:
        return present ? DLHT_EEXISTS : DLHT_OK;
    case CACHE_IF_PRESENT:
        return present ? DLHT_OK : DLHT_ENOTFOUND;
    case CACHE_IF_VERSION:
        return (present ? cache_entry_version(entry) : 0) == put->version
                   ? DLHT_OK
                   : DLHT_EMISMATCH;
    case CACHE_IF_LEASED:
        return cache_leases_good(&cache->leases, key->hash, now_ms, put->token)
                   ? DLHT_OK
                   : DLHT_ESTALE;
    }
    assert(false);
    return DLHT_EINVAL;
}

/* When what is put ends. */
static uint64_t end_of(const struct cache *cache, uint64_t now_ms,
                       struct cache_entry *entry, const struct cache_put *put)
{
    uint64_t end = put->expire_ms;
    if (end == CACHE_KEEP)
        end = entry ? cache_entry_expire_ms(entry) : CACHE_NEVER;
    uint64_t longest = now_ms + cache->config.negative_ms_max;
    if (put->negative && end > longest)
        end = longest;
    return end;
}

int cache_put(struct cache *cache, const struct cache_key *key, uint64_t now_ms,
              const struct cache_put *put, uint64_t *version)
{
    assert(!put->negative || put->value.len == 0);
    if (version)
        *version = 0;
    uint32_t ref = cache_state_find(cache, key);
    struct cache_entry *entry = ref ? cache_entry_at(&cache->arena, ref) : NULL;
    if (entry && !cache_state_lives(entry, now_ms))
        entry = NULL;
    int rc = when_allows(cache, key, now_ms, entry, put);
    if (rc == DLHT_ESTALE)
        cache->stats.leases_refused++;
    if (rc != DLHT_OK)
        return rc;
    struct cache_put now = *put;
    now.expire_ms = end_of(cache, now_ms, entry, put);
    if (is_too_big(cache, key->bytes.len, put->value.len,
                   now.expire_ms != CACHE_NEVER))
        return DLHT_ETOOBIG;
    if (now.expire_ms <= now_ms) {
        cache_remove(cache, key, now_ms);
        return DLHT_OK;
    }
    rc = ref ? put_over(cache, key, now_ms, ref, &now)
             : put_new(cache, key, now_ms, &now);
    if (rc == DLHT_OK && version)
        *version = now.given ? now.given : cache->version;
    return rc;
}

bool cache_remove(struct cache *cache, const struct cache_key *key,
                  uint64_t now_ms)
{
    cache_leases_void(&cache->leases, key->hash);
    uint32_t ref = cache_state_find(cache, key);
    if (ref == 0)
        return false;
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    if (!cache_state_lives(entry, now_ms)) {
        cache_state_expire(cache, ref, key->hash);
        return false;
    }
    bool there = !cache_entry_is(entry, CACHE_ENTRY_NEGATIVE);
    cache_state_drop(cache, ref, key->hash);
    cache->stats.removals += there;
    return there;
}

/* Gives *ref a timer.
 *   DLHT_ENOMEM  all is as before */
static int timer_add(struct cache *cache, const struct cache_key *key,
                     uint32_t *ref)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, *ref);
    size_t len = cache_entry_value_len(entry);
    bool moved;
    uint32_t made =
        cache_entry_reshape(&cache->arena, *ref, len, true, true, &moved);
    if (made == 0)
        return DLHT_ENOMEM;
    if (!moved)
        value_fill(
            cache, made,
            span_of(cache_entry_data(entry) + cache_entry_key_len(entry), len));
    cache_state_swap(cache, *ref, made, key->hash, moved);
    *ref = made;
    return DLHT_OK;
}

int cache_expire(struct cache *cache, const struct cache_key *key,
                 uint64_t now_ms, uint64_t expire_ms)
{
    assert(expire_ms != CACHE_KEEP);
    struct excess before = excess_of(cache);
    struct cache_item item;
    if (!cache_peek(cache, key, now_ms, &item))
        return DLHT_ENOTFOUND;
    if (expire_ms <= now_ms) {
        cache_remove(cache, key, now_ms);
        return DLHT_OK;
    }
    uint32_t ref = cache_state_find(cache, key);
    if (expire_ms != CACHE_NEVER &&
        !cache_entry_timer(cache_entry_at(&cache->arena, ref))) {
        if (is_too_big(cache, key->bytes.len, item.value.len, true))
            return DLHT_ETOOBIG;
        int rc = timer_add(cache, key, &ref);
        if (rc != DLHT_OK)
            return rc;
    }
    end_set(cache, ref, now_ms, expire_ms);
    trim(cache, now_ms, ref, before);
    return DLHT_OK;
}

/* Makes the value of *ref that long; what is new is not filled in.
 *   DLHT_ENOMEM  all is as before */
static int value_resize(struct cache *cache, const struct cache_key *key,
                        uint32_t *ref, size_t len)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, *ref);
    if (cache_entry_fits(entry, len)) {
        cache_entry_value_len_set(entry, len);
        return DLHT_OK;
    }
    size_t kept = cache_entry_value_len(entry);
    bool timer = cache_entry_timer(entry) != NULL;
    bool moved;
    uint32_t made =
        cache_entry_reshape(&cache->arena, *ref, len, timer, true, &moved);
    if (made == 0)
        return DLHT_ENOMEM;
    assert(!moved);
    if (kept > len)
        kept = len;
    const uint8_t *value = cache_entry_data(entry) + cache_entry_key_len(entry);
    value_fill(cache, made, span_of(value, kept));
    cache_state_swap(cache, *ref, made, key->hash, moved);
    *ref = made;
    return DLHT_OK;
}

static uint8_t *value_of(struct cache *cache, uint32_t ref)
{
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    return cache_entry_data(entry) + cache_entry_key_len(entry);
}

/* The key is there. */
static int resize(struct cache *cache, const struct cache_key *key,
                  uint64_t now_ms, size_t len)
{
    struct excess over = excess_of(cache);
    uint32_t ref = cache_state_find(cache, key);
    struct cache_entry *entry = cache_entry_at(&cache->arena, ref);
    size_t before = cache_entry_value_len(entry);
    if (is_too_big(cache, key->bytes.len, len,
                   cache_entry_timer(entry) != NULL))
        return DLHT_ETOOBIG;
    int rc = value_resize(cache, key, &ref, len);
    if (rc != DLHT_OK)
        return rc;
    if (len > before)
        memset(value_of(cache, ref) + before, 0, len - before);
    version_give(cache, ref);
    cache_leases_void(&cache->leases, key->hash);
    cache->stats.puts++;
    cache->policy->hit(cache, ref);
    trim(cache, now_ms, ref, over);
    return DLHT_OK;
}

/* The key is absent, or what is there has expired or is negative. */
static int resize_new(struct cache *cache, const struct cache_key *key,
                      uint64_t now_ms, size_t len)
{
    struct cache_put put = { .value = { NULL, len }, .expire_ms = CACHE_NEVER };
    if (is_too_big(cache, key->bytes.len, len, false))
        return DLHT_ETOOBIG;
    uint32_t ref = cache_state_find(cache, key);
    int rc = ref ? put_over(cache, key, now_ms, ref, &put)
                 : put_new(cache, key, now_ms, &put);
    if (rc == DLHT_OK && len)
        memset(value_of(cache, cache_state_find(cache, key)), 0, len);
    return rc;
}

int cache_resize(struct cache *cache, const struct cache_key *key,
                 uint64_t now_ms, size_t value_len, uint8_t **value)
{
    struct cache_item item;
    *value = NULL;
    int rc = cache_peek(cache, key, now_ms, &item)
                 ? resize(cache, key, now_ms, value_len)
                 : resize_new(cache, key, now_ms, value_len);
    if (rc == DLHT_OK)
        *value = value_of(cache, cache_state_find(cache, key));
    return rc;
}

int cache_append(struct cache *cache, const struct cache_key *key,
                 uint64_t now_ms, struct span bytes, size_t *len)
{
    struct cache_item item;
    uint8_t *value;
    *len = 0;
    cache_peek(cache, key, now_ms, &item);
    size_t before = item.value.len;
    int rc = cache_resize(cache, key, now_ms, before + bytes.len, &value);
    if (rc != DLHT_OK)
        return rc;
    if (bytes.len)
        memcpy(value + before, bytes.data, bytes.len);
    *len = before + bytes.len;
    return DLHT_OK;
}
