/* SPDX-License-Identifier: Apache-2.0 */

/* tests/store/cache_world.h - what the tests of the cache share: memory that
 * can run out, and short ways to put and look. */

#ifndef TESTS_STORE_CACHE_WORLD_H
#define TESTS_STORE_CACHE_WORLD_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "dlht/err.h"
#include "store/cache.h"

/* Memory that is counted and that can run out. */
struct ration {
    size_t outstanding;
    long takes_left; /* negative: no end */
    uint64_t refused;
};

static inline void *ration_take(void *self, size_t size)
{
    struct ration *ration = self;
    if (ration->takes_left == 0) {
        ration->refused++;
        return NULL;
    }
    if (ration->takes_left > 0)
        ration->takes_left--;
    ration->outstanding += size;
    return aligned_alloc(64, (size + 63) / 64 * 64);
}

static inline void ration_give(void *self, void *memory, size_t size)
{
    struct ration *ration = self;
    cr_assert_geq(ration->outstanding, size);
    ration->outstanding -= size;
    free(memory);
}

static inline struct cache *cache_of(struct cache_config config)
{
    struct cache *cache = cache_new(&config);
    cr_assert_not_null(cache);
    return cache;
}

static inline struct cache_key key_str(const struct cache *cache,
                                       const char *text)
{
    return cache_key_of(cache, span_str(text));
}

static inline struct cache_put put_str(const char *value, uint64_t expire_ms)
{
    return (struct cache_put){ .value = span_str(value),
                               .expire_ms = expire_ms };
}

/* The code of a put of text. */
static inline int put_text(struct cache *cache, uint64_t now_ms,
                           const char *key, const char *value,
                           uint64_t expire_ms)
{
    struct cache_key k = key_str(cache, key);
    struct cache_put put = put_str(value, expire_ms);
    return cache_put(cache, &k, now_ms, &put, NULL);
}

/* Whether a get finds the text; NULL: whether it finds nothing. */
static inline bool get_is(struct cache *cache, uint64_t now_ms, const char *key,
                          const char *value)
{
    struct cache_key k = key_str(cache, key);
    struct cache_item item;
    if (!cache_get(cache, &k, now_ms, &item))
        return value == NULL;
    return value && span_equal(item.value, span_str(value));
}

/* Content as one number, in no order. */
static inline void digest_add(void *self, const struct cache_item *item)
{
    uint64_t *sum = self;
    uint64_t h = hash64_mix(hash64(item->key), hash64(item->value));
    h = hash64_mix(h, item->version);
    *sum += hash64_mix(h, item->expire_ms);
}

static inline uint64_t digest_of(const struct cache *cache, uint64_t now_ms)
{
    uint64_t sum = 0;
    uint64_t cursor = 0;
    do
        cursor = cache_scan(cache, now_ms, cursor, 1000, digest_add, &sum);
    while (cursor);
    return sum;
}

#endif
