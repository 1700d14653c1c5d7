/* SPDX-License-Identifier: Apache-2.0 */

/* The cache, promise by promise; test_cache_model.c does them all at once. */

#include <math.h>

#include "chord/fail_alloc.h"
#include "store/cache_state.h"
#include "store/cache_world.h"

static struct cache *cache_plain(void)
{
    return cache_of(cache_config_default());
}

static struct cache *cache_bounded(enum cache_policy_kind policy,
                                   uint64_t bytes_max, uint64_t count_max)
{
    struct cache_config config = cache_config_default();
    config.policy = policy;
    config.bytes_max = bytes_max;
    config.count_max = count_max;
    return cache_of(config);
}

static struct span number_key(uint8_t bytes[16], uint64_t n)
{
    memset(bytes, 'n', 16);
    memcpy(bytes, &n, sizeof n);
    return span_of(bytes, 16);
}

static void put_number(struct cache *cache, uint64_t now_ms, uint64_t n,
                       struct cache_put put)
{
    uint8_t bytes[16];
    struct cache_key key = cache_key_of(cache, number_key(bytes, n));
    cr_assert_eq(cache_put(cache, &key, now_ms, &put, NULL), DLHT_OK);
}

static bool has_number(struct cache *cache, uint64_t now_ms, uint64_t n)
{
    uint8_t bytes[16];
    struct cache_key key = cache_key_of(cache, number_key(bytes, n));
    struct cache_item item;
    return cache_peek(cache, &key, now_ms, &item);
}

static bool get_number(struct cache *cache, uint64_t now_ms, uint64_t n)
{
    uint8_t bytes[16];
    struct cache_key key = cache_key_of(cache, number_key(bytes, n));
    struct cache_item item;
    return cache_get(cache, &key, now_ms, &item);
}

static struct cache_stats stats_of(const struct cache *cache)
{
    struct cache_stats stats;
    cache_stats(cache, &stats);
    return stats;
}

static const struct cache_put forever = { .expire_ms = CACHE_NEVER };

Test(cache, ends_to_the_millisecond_and_takes_back_soon)
{
    static const struct {
        uint64_t ttl_ms;
        const char *why;
    } table[] = {
        { 1, "shorter than a tick" },
        { 64, "a tick" },
        { 64 * 256 - 1, "the last of level 0" },
        { 64 * 256, "the first of level 1" },
        { 64 * 65536 + 5, "level 2" },
        { 64ull * 16777216 + 7, "level 3" },
        { 64ull * 4294967296 + 9, "further than the wheel" },
        { 64ull * 4294967296 * 5, "several rounds" },
    };
    static const uint64_t begins[] = {
        0, 63, 64 * 255, 64 * 256, 1764000000000, 64ull * 16777216 - 1
    };
    for (size_t b = 0; b < sizeof begins / sizeof begins[0]; b++)
        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
            struct cache *cache = cache_plain();
            uint64_t end = begins[b] + table[i].ttl_ms;
            /* One that keeps the wheel from skipping, too. */
            put_text(cache, begins[b], "other", "", UINT64_MAX / 2);
            put_text(cache, begins[b], "key", "value", end);
            for (uint64_t now = begins[b]; now < end - 1;) {
                uint64_t left = end - 1 - now;
                now += left / 3 + 1;
                for (int n = 0; n < 100; n++)
                    cache_tick(cache, now, 1000);
                cr_assert(has_number(cache, 0, 1) == false);
                struct cache_key key = key_str(cache, "key");
                struct cache_item item;
                cr_assert(cache_peek(cache, &key, now, &item), "%s",
                          table[i].why);
            }
            struct cache_key key = key_str(cache, "key");
            struct cache_item item;
            cr_assert_not(cache_peek(cache, &key, end, &item));
            for (int n = 0; n < 100000 && cache_count(cache) == 2; n++)
                cache_tick(cache, end + 127, 1000);
            cr_assert_eq(cache_count(cache), 1, "%s", table[i].why);
            cr_assert_eq(stats_of(cache).expirations, 1);
            cache_check(cache);
            cache_free(cache);
        }
}

Test(cache, takes_back_a_crowd_in_slices)
{
    enum {
        MANY = 20000
    };
    struct cache *cache = cache_plain();
    struct cache_put put = { .expire_ms = 1000000 };
    for (uint64_t i = 0; i < MANY; i++)
        put_number(cache, 0, i, put);
    cr_assert_gt(cache_next_ms(cache), 0);
    cr_assert_leq(cache_next_ms(cache), 1000128);
    cr_assert_not(cache_tick(cache, 999000, 100000));
    cr_assert_eq(cache_count(cache), MANY);
    uint64_t last = MANY;
    bool more = true;
    while (more) {
        more = cache_tick(cache, 1000128, 50);
        cr_assert_leq(last - cache_count(cache), 50);
        last = cache_count(cache);
        cr_assert(!more || cache_next_ms(cache) <= 1000128);
    }
    cr_assert_eq(last, 0);
    cr_assert_eq(cache_next_ms(cache), UINT64_MAX);
    cr_assert_eq(stats_of(cache).expirations, MANY);
    cache_check(cache);
    cache_free(cache);
}

Test(cache, puts_on_conditions_and_versions)
{
    struct cache *cache = cache_plain();
    struct cache_key key = key_str(cache, "key");
    struct cache_put put = put_str("one", 5000);
    struct cache_item item;
    uint64_t version;

    put.when = CACHE_IF_PRESENT;
    cr_assert_eq(cache_put(cache, &key, 0, &put, &version), DLHT_ENOTFOUND);
    put.when = CACHE_IF_VERSION;
    cr_assert_eq(cache_put(cache, &key, 0, &put, &version), DLHT_OK);
    cr_assert_eq(version, 1);
    put.when = CACHE_IF_ABSENT;
    cr_assert_eq(cache_put(cache, &key, 0, &put, &version), DLHT_EEXISTS);
    cr_assert_eq(version, 0);
    cache_version_raise(cache, 1000);
    put = put_str("two", CACHE_KEEP);
    put.when = CACHE_IF_VERSION;
    put.version = 1;
    cr_assert_eq(cache_put(cache, &key, 0, &put, &version), DLHT_OK);
    cr_assert_eq(version, 1001);
    cr_assert(cache_get(cache, &key, 4999, &item));
    cr_assert_eq(item.expire_ms, 5000);
    cr_assert_eq(cache_put(cache, &key, 0, &put, &version), DLHT_EMISMATCH);
    cr_assert_eq(cache_expire(cache, &key, 0, CACHE_NEVER), DLHT_OK);
    cr_assert(cache_get(cache, &key, 5000, &item));
    cr_assert_eq(item.version, 1001);
    put = put_str("three", 10);
    cr_assert_eq(cache_put(cache, &key, 10, &put, &version), DLHT_OK);
    cr_assert_eq(version, 0);
    cr_assert_not(cache_get(cache, &key, 10, &item));
    cache_free(cache);
}

Test(cache, holds_what_is_empty_and_what_is_large)
{
    struct cache *cache = cache_plain();
    uint8_t *large = calloc(CACHE_VALUE_BYTES_MAX + 1, 1);
    memset(large, 'v', CACHE_VALUE_BYTES_MAX);
    static const size_t key_lens[] = { 0, 1, 16, CACHE_KEY_BYTES_MAX };
    static const size_t value_lens[] = { 0,     1,     16303,
                                         16304, 16343, 16344,
                                         16345, 40000, CACHE_VALUE_BYTES_MAX };
    for (size_t k = 0; k < 4; k++)
        for (size_t v = 0; v < sizeof value_lens / sizeof value_lens[0]; v++)
            for (int timer = 0; timer < 2; timer++) {
                struct cache_key key =
                    cache_key_of(cache, span_of(large, key_lens[k]));
                struct cache_put put = {
                    .value = span_of(large, value_lens[v]),
                    .expire_ms = timer ? 5000 : CACHE_NEVER,
                };
                struct cache_item item;
                cr_assert_eq(cache_put(cache, &key, 0, &put, NULL), DLHT_OK);
                cr_assert(cache_get(cache, &key, 0, &item));
                cr_assert(span_equal(item.value, put.value));
                cr_assert_eq(cache_expire(cache, &key, 0, 7000), DLHT_OK);
                cr_assert(cache_get(cache, &key, 6999, &item));
                cr_assert(span_equal(item.value, put.value));
                cache_check(cache);
            }
    struct cache_key key = key_str(cache, "key");
    struct cache_put put = { .value = span_of(large, CACHE_VALUE_BYTES_MAX + 1),
                             .expire_ms = CACHE_NEVER };
    cr_assert_eq(cache_put(cache, &key, 0, &put, NULL), DLHT_ETOOBIG);
    cache_free(cache);
    free(large);
}

Test(cache, takes_values_of_its_own)
{
    static const size_t lens[] = { 3, 100, 20000 };
    uint8_t *bytes = malloc(20000);
    memset(bytes, 'a', 20000);
    for (size_t i = 0; i < 3; i++) {
        struct cache *cache = cache_plain();
        struct cache_key from = key_str(cache, "from");
        struct cache_key to = key_str(cache, "to");
        struct cache_put put = forever;
        struct cache_item item;
        put.value = span_of(bytes, lens[i]);
        cr_assert_eq(cache_put(cache, &from, 0, &put, NULL), DLHT_OK);
        cr_assert(cache_get(cache, &from, 0, &item));
        put.value = item.value;
        cr_assert_eq(cache_put(cache, &to, 0, &put, NULL), DLHT_OK);
        cr_assert(cache_get(cache, &to, 0, &item));
        cr_assert(span_equal(item.value, span_of(bytes, lens[i])));
        /* Its own, cut, and with an end it had not. */
        put.value = span_tail(item.value, 1);
        put.expire_ms = 9;
        cr_assert_eq(cache_put(cache, &to, 0, &put, NULL), DLHT_OK);
        cr_assert(cache_get(cache, &to, 0, &item));
        cr_assert(span_equal(item.value, span_of(bytes, lens[i] - 1)));
        cache_check(cache);
        cache_free(cache);
    }
    free(bytes);
}

Test(cache, appends_byte_by_byte_without_copying_each_time)
{
    struct cache *cache = cache_plain();
    struct cache_key key = key_str(cache, "key");
    size_t copies = 0;
    size_t len = 0;
    uint32_t before = 0;
    for (int i = 0; i < 200000; i++) {
        uint8_t byte = (uint8_t)i;
        cr_assert_eq(cache_append(cache, &key, 0, span_of(&byte, 1), &len),
                     DLHT_OK);
        uint32_t ref = cache_state_find(cache, &key);
        copies += ref != before;
        before = ref;
    }
    struct cache_item item;
    cr_assert(cache_get(cache, &key, 0, &item));
    cr_assert_eq(item.value.len, 200000);
    for (size_t i = 0; i < len; i++)
        cr_assert_eq(item.value.data[i], (uint8_t)i);
    cr_assert_leq(copies, 120, "%zu", copies);
    cache_free(cache);
}

struct tally {
    uint8_t told[60000];
    size_t outside;
};

static void tally_add(void *self, const struct cache_item *item)
{
    struct tally *tally = self;
    uint64_t n;
    memcpy(&n, item->key.data, sizeof n);
    if (n < sizeof tally->told)
        tally->told[n]++;
    else
        tally->outside++;
}

/* What is there from begin to end is told once, whatever else happens. */
Test(cache, scans_each_key_once_while_it_grows_and_shrinks)
{
    enum {
        KEPT = 3000,
        CHURN = 57000
    };
    static struct tally tally;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        printf("seed %llu\n", (unsigned long long)seed);
        struct rng rng;
        rng_init(&rng, seed);
        struct cache_config config = cache_config_default();
        config.seed = seed;
        struct cache *cache = cache_of(config);
        for (uint64_t i = 0; i < KEPT; i++)
            put_number(cache, 0, i, forever);
        bool grows = seed % 2;
        if (!grows)
            for (uint64_t i = KEPT; i < KEPT + CHURN; i++)
                put_number(cache, 0, i, forever);
        memset(&tally, 0, sizeof tally);
        uint64_t cursor = 0;
        uint64_t next = KEPT;
        do {
            cursor = cache_scan(cache, 0, cursor, 1 + rng_below(&rng, 40),
                                tally_add, &tally);
            cr_assert_lt(cursor, UINT64_C(1) << 32);
            for (uint64_t n = rng_below(&rng, 700); n > 0; n--, next++) {
                uint8_t bytes[16];
                struct cache_key key =
                    cache_key_of(cache, number_key(bytes, next));
                if (next >= KEPT + CHURN)
                    break;
                if (grows)
                    put_number(cache, 0, next, forever);
                else
                    cache_remove(cache, &key, 0);
            }
        } while (cursor);
        for (uint64_t i = 0; i < KEPT; i++)
            cr_assert_eq(tally.told[i], 1, "key %llu told %d times",
                         (unsigned long long)i, tally.told[i]);
        for (uint64_t i = KEPT; i < KEPT + CHURN; i++)
            cr_assert_leq(tally.told[i], 1);
        cr_assert_eq(tally.outside, 0);
        /* Any number does as a cursor. */
        cache_scan(cache, 0, UINT64_MAX, 10, tally_add, &tally);
        cache_check(cache);
        cache_free(cache);
    }
}

Test(cache, draws_any_key)
{
    struct cache *cache = cache_plain();
    struct cache_item item;
    bool seen[8] = { false };
    cr_assert_not(cache_random(cache, 0, &item));
    for (uint64_t i = 0; i < 8; i++)
        put_number(cache, 0, i, forever);
    for (int n = 0; n < 200; n++) {
        cr_assert(cache_random(cache, 0, &item));
        seen[item.key.data[0]] = true;
    }
    for (int i = 0; i < 8; i++)
        cr_assert(seen[i], "%d", i);
    cache_free(cache);
}

Test(cache, hands_out_one_token)
{
    struct cache *cache = cache_plain();
    struct cache_key key = key_str(cache, "key");
    struct cache_lease a, b;
    struct cache_put put = put_str("value", 60000);
    cr_assert_eq(cache_lease(cache, &key, 0, &a), DLHT_OK);
    cr_assert_eq(a.answer, CACHE_FILL);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(cache_lease(cache, &key, 9999, &b), DLHT_OK);
        cr_assert_eq(b.answer, CACHE_WAIT);
    }
    put.when = CACHE_IF_LEASED;
    put.token = a.token + 1;
    cr_assert_eq(cache_put(cache, &key, 9999, &put, NULL), DLHT_ESTALE);
    put.token = a.token;
    cr_assert_eq(cache_put(cache, &key, 9999, &put, NULL), DLHT_OK);
    cr_assert_eq(cache_put(cache, &key, 9999, &put, NULL), DLHT_ESTALE);
    cr_assert_eq(cache_lease(cache, &key, 9999, &b), DLHT_OK);
    cr_assert_eq(b.answer, CACHE_HIT);
    cr_assert(span_equal(b.item.value, span_str("value")));
    struct cache_stats stats = stats_of(cache);
    cr_assert_eq(stats.leases, 1);
    cr_assert_eq(stats.leases_waited, 5);
    cr_assert_eq(stats.leases_refused, 2);
    cr_assert_eq(stats.misses, 6);
    cache_free(cache);
}

/* What was read before a change must not be stored after it. */
Test(cache, refuses_a_token_that_something_voided)
{
    for (int what = 0; what < 6; what++) {
        struct cache *cache = cache_plain();
        struct cache_key key = key_str(cache, "key");
        struct cache_lease lease;
        struct cache_put put = put_str("old", CACHE_NEVER);
        uint64_t now_ms = 0;
        uint8_t *bytes;
        cr_assert_eq(cache_lease(cache, &key, 0, &lease), DLHT_OK);
        if (what == 0)
            cr_assert_not(cache_remove(cache, &key, 0));
        else if (what == 1)
            put_text(cache, 0, "key", "new", CACHE_NEVER);
        else if (what == 2)
            cache_flush(cache);
        else if (what == 3)
            now_ms = 10000;
        else if (what == 4)
            cr_assert_eq(cache_resize(cache, &key, 0, 3, &bytes), DLHT_OK);
        else
            put_text(cache, 0, "key", "new", 0);
        put.when = CACHE_IF_LEASED;
        put.token = lease.token;
        cr_assert_eq(cache_put(cache, &key, now_ms, &put, NULL), DLHT_ESTALE,
                     "%d", what);
        /* The next to miss gets another. */
        if (what != 1 && what != 4) {
            uint64_t old = lease.token;
            cr_assert_eq(cache_lease(cache, &key, now_ms, &lease), DLHT_OK);
            cr_assert_eq(lease.answer, CACHE_FILL);
            cr_assert_neq(lease.token, old);
            put.token = lease.token;
            cr_assert_eq(cache_put(cache, &key, now_ms, &put, NULL), DLHT_OK);
        }
        cache_free(cache);
    }
}

Test(cache, serves_stale_values_to_leases_only)
{
    struct cache_config config = cache_config_default();
    config.stale_ms = 1000;
    struct cache *cache = cache_of(config);
    struct cache_key key = key_str(cache, "key");
    struct cache_lease lease;
    put_text(cache, 0, "key", "old", 500);
    for (int i = 0; i < 100; i++)
        cache_tick(cache, 1400, 100);
    cr_assert(get_is(cache, 1400, "key", NULL));
    cr_assert_eq(cache_lease(cache, &key, 1400, &lease), DLHT_OK);
    cr_assert_eq(lease.answer, CACHE_REFRESH);
    cr_assert(span_equal(lease.item.value, span_str("old")));
    struct cache_put put = put_str("new", CACHE_KEEP);
    put.when = CACHE_IF_LEASED;
    put.token = lease.token;
    cr_assert_eq(cache_lease(cache, &key, 1400, &lease), DLHT_OK);
    cr_assert_eq(lease.answer, CACHE_STALE);
    cr_assert(span_equal(lease.item.value, span_str("old")));
    cr_assert_eq(cache_put(cache, &key, 1400, &put, NULL), DLHT_OK);
    cr_assert(get_is(cache, 1400, "key", "new"));
    put_text(cache, 1400, "key", "old", 1500);
    cr_assert_eq(cache_lease(cache, &key, 2500, &lease), DLHT_OK);
    cr_assert_eq(lease.answer, CACHE_FILL);
    cr_assert_eq(cache_count(cache), 0);
    cache_free(cache);
}

/* The chance of an early refresh is exp(-left / cost): compared at some
 * distances. */
Test(cache, refreshes_early_as_often_as_it_should)
{
    static const struct {
        uint64_t left_ms;
        uint32_t cost_us;
    } table[] = { { 1, 1000 },    { 100, 100000 }, { 200, 100000 },
                  { 50, 100000 }, { 400, 100000 }, { 10000, 100000 },
                  { 1, 0 } };
    enum {
        TRIES = 20000
    };
    struct cache *cache = cache_plain();
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        uint64_t end = 1000000;
        struct cache_key key = key_str(cache, "key");
        struct cache_put put = put_str("value", end);
        put.cost_us = table[i].cost_us;
        int early = 0;
        for (int n = 0; n < TRIES; n++) {
            struct cache_lease lease;
            cr_assert_eq(cache_put(cache, &key, 0, &put, NULL), DLHT_OK);
            cr_assert_eq(
                cache_lease(cache, &key, end - table[i].left_ms, &lease),
                DLHT_OK);
            early += lease.answer == CACHE_REFRESH;
            cr_assert_eq(lease.answer == CACHE_REFRESH, lease.token != 0);
            cr_assert(span_equal(lease.item.value, span_str("value")));
            if (lease.token == 0)
                continue;
            /* Only one is asked. */
            for (int j = 0; j < 3; j++) {
                cr_assert_eq(cache_lease(cache, &key, end - 1, &lease),
                             DLHT_OK);
                cr_assert_eq(lease.answer, CACHE_HIT);
            }
        }
        double want =
            table[i].cost_us
                ? exp(-(double)table[i].left_ms * 1000 / table[i].cost_us)
                : 0;
        cr_assert_lt(fabs((double)early / TRIES - want), 0.015,
                     "row %zu: %d of %d, not %f", i, early, TRIES, want);
    }
    cache_free(cache);
}

Test(cache, keeps_few_negatives_and_not_for_long)
{
    struct cache *cache = cache_bounded(CACHE_S3FIFO, 0, 1000);
    struct cache_put absent = { .expire_ms = CACHE_NEVER, .negative = true };
    struct cache_item item;
    struct cache_lease lease;
    uint8_t bytes[16];
    for (uint64_t i = 0; i < 900; i++)
        put_number(cache, 0, i, forever);
    for (uint64_t i = 1000; i < 3000; i++)
        put_number(cache, 0, i, absent);
    for (uint64_t i = 0; i < 900; i++)
        cr_assert(has_number(cache, 0, i));
    cr_assert_eq(cache_count(cache), 920);
    struct cache_key key = cache_key_of(cache, number_key(bytes, 2999));
    cr_assert_not(cache_get(cache, &key, 4999, &item));
    cr_assert(item.negative);
    cr_assert_eq(cache_lease(cache, &key, 4999, &lease), DLHT_OK);
    cr_assert_eq(lease.answer, CACHE_NEGATIVE);
    cr_assert_eq(stats_of(cache).negative_hits, 2);
    cr_assert_eq(cache_lease(cache, &key, 5000, &lease), DLHT_OK);
    cr_assert_eq(lease.answer, CACHE_FILL);
    put_number(cache, 0, 2998, forever);
    cr_assert(has_number(cache, 0, 2998));
    put_number(cache, 0, 2998, absent);
    cr_assert_not(has_number(cache, 0, 2998));
    cache_check(cache);
    cache_free(cache);
}

Test(cache, flushes_at_once_and_gives_memory_back_in_slices)
{
    struct ration ration = { .takes_left = -1 };
    struct records_pages pages = { ration_take, ration_give, &ration };
    struct cache_config config = cache_config_default();
    config.pages = &pages;
    struct cache *cache = cache_of(config);
    for (int round = 0; round < 3; round++) {
        static uint8_t value[20000];
        struct cache_put put = { .value = span_of(value, 300),
                                 .expire_ms = 50000 };
        for (uint64_t i = 0; i < 50000; i++) {
            put.value.len = i % 500 ? 300 : sizeof value;
            put_number(cache, 0, i, put);
        }
        uint64_t before = stats_of(cache).memory_bytes;
        cache_flush(cache);
        cr_assert_eq(cache_count(cache), 0);
        cr_assert_eq(stats_of(cache).bytes, 0);
        cr_assert_geq(stats_of(cache).memory_bytes, before);
        cr_assert_not(has_number(cache, 0, 1));
        put_number(cache, 0, 1, put); /* goes on meanwhile */
        cr_assert(cache_tick(cache, 0, 64));
        cr_assert_lt(stats_of(cache).memory_bytes, before);
        cr_assert_gt(stats_of(cache).memory_bytes, before / 2);
        if (round == 1) /* a second before the first is done */
            cache_flush(cache);
        while (round < 2 && cache_tick(cache, 0, 64))
            ;
        cr_assert(round == 1 || has_number(cache, 0, 1));
        cache_check(cache);
    }
    cache_free(cache); /* in the midst of it */
    cr_assert_eq(ration.outstanding, 0);
}

Test(cache, makes_room_for_a_large_one_in_slices)
{
    enum {
        MAX = 4 << 20,
        LARGE = 1 << 20
    };
    static const enum cache_policy_kind policies[] = { CACHE_S3FIFO,
                                                       CACHE_LRU };
    uint8_t *large = calloc(LARGE, 1);
    for (size_t p = 0; p < 2; p++) {
        struct cache *cache = cache_bounded(policies[p], MAX, 0);
        uint64_t charge = cache_charge(cache, 16, LARGE, false);
        for (uint64_t i = 0; i < 90000; i++)
            put_number(cache, 0, i, forever);
        cr_assert_leq(stats_of(cache).bytes, MAX);
        uint64_t before = stats_of(cache).evictions;
        struct cache_put put = forever;
        put.value = span_of(large, LARGE);
        put_number(cache, 0, 100000, put);
        cr_assert_leq(stats_of(cache).evictions - before, 64);
        cr_assert_gt(stats_of(cache).bytes, MAX);
        cr_assert_leq(stats_of(cache).bytes, MAX + charge);
        uint64_t last = stats_of(cache).bytes;
        for (uint64_t i = 100001; i < 100600; i++) {
            put_number(cache, 0, i, forever);
            cr_assert_leq(stats_of(cache).bytes, last);
            last = stats_of(cache).bytes;
            cr_assert(has_number(cache, 0, i));
        }
        cache_check(cache);
        cr_assert_leq(last, MAX);
        /* A second large one while the first is being paid for. */
        put_number(cache, 0, 200000, put);
        put_number(cache, 0, 200001, put);
        cr_assert_leq(stats_of(cache).bytes, MAX + charge);
        /* A lowered bound is met by ticks. */
        cache_bound(cache, MAX / 4, 0);
        cr_assert_eq(cache_next_ms(cache), 0);
        while (cache_tick(cache, 0, 100))
            ;
        cr_assert_leq(stats_of(cache).bytes, MAX / 4);
        put.value = span_of(large, MAX / 4);
        uint8_t bytes[16];
        struct cache_key key = cache_key_of(cache, number_key(bytes, 0));
        cr_assert_eq(cache_put(cache, &key, 0, &put, NULL), DLHT_ETOOBIG);
        cache_check(cache);
        cache_free(cache);
    }
    free(large);
}

/* Values change their size again and again, while some keys stay in use and
 * hold on to the memory they once got. */
Test(cache, holds_little_more_than_it_counts)
{
    enum {
        MAX = 8 << 20
    };
    static const uint8_t value[1000];
    for (int p = 0; p < 2; p++) {
        struct cache *cache =
            cache_bounded(p ? CACHE_LRU : CACHE_S3FIFO, MAX, 0);
        struct rng rng;
        rng_init(&rng, 11);
        uint64_t next = 1000000;
        for (uint64_t phase = 0; phase < 10; phase++) {
            struct cache_put put = forever;
            put.value = span_of(value, 20 + phase * 97 % 700);
            for (int i = 0; i < 30000; i++) {
                uint64_t n = rng_chance(&rng, 0.5)
                                 ? rng_below(&rng, 4000 + phase * 400)
                                 : next++;
                if (!get_number(cache, 0, n))
                    put_number(cache, 0, n, put);
                if (i % 100)
                    continue;
                struct cache_stats stats = stats_of(cache);
                cr_assert_leq(stats.bytes, MAX);
                /* 4 MiB: of the index and of the arena, half used. */
                cr_assert_leq(stats.memory_bytes, MAX * 3 / 2 + (4 << 20),
                              "%llu in phase %llu",
                              (unsigned long long)stats.memory_bytes,
                              (unsigned long long)phase);
            }
            cache_check(cache);
        }
        cache_free(cache);
    }
}

/* A scan ten times the cache goes by. S3-FIFO keeps what is in use. */
Test(cache, lets_a_scan_pass)
{
    enum {
        HOT = 500,
        MAX = 1000
    };
    for (int p = 0; p < 2; p++) {
        struct cache *cache =
            cache_bounded(p ? CACHE_LRU : CACHE_S3FIFO, 0, MAX);
        for (int round = 0; round < 20; round++)
            for (uint64_t i = 0; i < HOT; i++)
                if (!get_number(cache, 0, i))
                    put_number(cache, 0, i, forever);
        for (uint64_t i = 0; i < 10 * MAX; i++) {
            cr_assert_not(get_number(cache, 0, 10000 + i));
            put_number(cache, 0, 10000 + i, forever);
        }
        uint64_t kept = 0;
        for (uint64_t i = 0; i < HOT; i++)
            kept += has_number(cache, 0, i);
        if (p)
            cr_assert_eq(kept, 0);
        else
            cr_assert_geq(kept, HOT * 49 / 50); /* rounds are bounded */
        cr_assert_eq(cache_count(cache), MAX);
        cache_check(cache);
        cache_free(cache);
    }
}

/* Of entries asked for alike, those that were dear are kept longer. */
Test(cache, gives_credit_for_cost)
{
    struct cache *cache = cache_bounded(CACHE_S3FIFO, 0, 1000);
    struct rng rng;
    rng_init(&rng, 7);
    uint64_t hits[2] = { 0 };
    for (int i = 0; i < 200000; i++) {
        uint64_t n = rng_below(&rng, 5000);
        bool dear = n % 10 == 0;
        struct cache_put put = { .expire_ms = CACHE_NEVER,
                                 .cost_us = dear ? 100000 : 1000 };
        if (get_number(cache, 0, n))
            hits[dear]++;
        else
            put_number(cache, 0, n, put);
    }
    double cheap = (double)hits[0] / (200000 * 0.9);
    double dear = (double)hits[1] / (200000 * 0.1);
    cr_assert_gt(dear, cheap * 1.5, "%f and %f", dear, cheap);
    cache_check(cache);
    cache_free(cache);
}

Test(cache, keeps_costs_to_three_digits)
{
    struct cache *cache = cache_plain();
    struct cache_key key = key_str(cache, "key");
    for (uint64_t cost = 0; cost <= UINT32_MAX; cost = cost * 17 / 16 + 1) {
        struct cache_put put = put_str("", CACHE_NEVER);
        struct cache_item item;
        put.cost_us = (uint32_t)cost;
        cr_assert_eq(cache_put(cache, &key, 0, &put, NULL), DLHT_OK);
        cr_assert(cache_get(cache, &key, 0, &item));
        cr_assert_leq(item.cost_us, cost);
        cr_assert_leq((double)cost - item.cost_us, (double)cost / 1000);
    }
    cache_free(cache);
}

/* One call, and whether it changed anything when it failed. */
static int some_call(struct cache *cache, int what, uint64_t n)
{
    static uint8_t bytes[30000];
    struct cache_key key = cache_key_of(cache, number_key(bytes, n));
    uint8_t *value;
    size_t len;
    struct cache_lease lease;
    struct cache_put put = { .value = span_of(bytes, n % 7 * 13),
                             .expire_ms = n % 3 ? CACHE_NEVER : 5000 + n };
    if (n % 97 == 0)
        put.value.len = sizeof bytes;
    switch (what) {
    case 0:
        return cache_put(cache, &key, 10, &put, NULL);
    case 1:
        return cache_expire(cache, &key, 10, 9000 + n);
    case 2:
        return cache_resize(cache, &key, 10, n % 31 * n % 23 * 31, &value);
    case 3:
        return cache_append(cache, &key, 10, span_of(bytes, n % 64), &len);
    default:
        return cache_lease(cache, &key, 10, &lease);
    }
}

/* Both kinds of memory run out at chance moments: the pages of the arena, and
 * the C library's, for leases, ghosts and graves. */
Test(cache, is_as_before_when_memory_runs_out)
{
    bool wrapped = fail_alloc_works();
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct ration ration = { .takes_left = -1 };
        struct records_pages pages = { ration_take, ration_give, &ration };
        struct cache_config config = cache_config_default();
        struct rng rng;
        rng_init(&rng, seed);
        config.pages = &pages;
        if (seed % 2)
            config.bytes_max = 200000;
        if (wrapped) {
            fail_alloc_nth(1);
            cr_assert_null(cache_new(&config));
        }
        struct cache *cache = cache_of(config);
        uint64_t failed = 0;
        for (int i = 0; i < 1200; i++) {
            uint64_t digest = digest_of(cache, 10);
            struct cache_stats before = stats_of(cache);
            int what = (int)rng_below(&rng, 5);
            uint64_t n = rng_below(&rng, 400);
            ration.takes_left = (long)rng_below(&rng, 3);
            if (rng_chance(&rng, 0.5))
                ration.takes_left = -1;
            fail_alloc_nth(wrapped ? rng_below(&rng, 4) : 0);
            int rc = some_call(cache, what, n);
            fail_alloc_nth(0);
            ration.takes_left = -1;
            if (rc == DLHT_ENOMEM) {
                failed++;
                struct cache_stats after = stats_of(cache);
                cr_assert_eq(digest_of(cache, 10), digest, "seed %llu call %d",
                             (unsigned long long)seed, what);
                cr_assert_eq(after.count, before.count);
                cr_assert_eq(after.bytes, before.bytes);
                cr_assert_eq(after.evictions, before.evictions);
                cr_assert_eq(after.expirations, before.expirations);
            }
            if (rng_chance(&rng, 0.005)) {
                fail_alloc_nth(wrapped ? 1 : 0);
                cache_flush(cache); /* no failure, but slow */
                fail_alloc_nth(0);
                cr_assert_eq(cache_count(cache), 0);
            }
            if (i % 200 == 0)
                cache_check(cache);
        }
        cr_assert_gt(failed, 10, "seed %llu: %llu", (unsigned long long)seed,
                     (unsigned long long)failed);
        cache_check(cache);
        cache_free(cache);
        cr_assert_eq(ration.outstanding, 0);
    }
}

Test(cache, does_the_same_from_the_same_seed)
{
    uint64_t digests[2];
    for (int i = 0; i < 2; i++) {
        struct cache *cache = cache_bounded(CACHE_S3FIFO, 50000, 0);
        struct rng rng;
        rng_init(&rng, 3);
        for (int n = 0; n < 20000; n++)
            some_call(cache, (int)rng_below(&rng, 5), rng_below(&rng, 2000));
        digests[i] = digest_of(cache, 10);
        struct cache_stats stats = stats_of(cache);
        digests[i] = hash64(span_of(&stats, sizeof stats)) ^ digests[i];
        cache_free(cache);
    }
    cr_assert_eq(digests[0], digests[1]);
}

/* 2 MiB of buckets are a segment: three of them, and back; a segment that there
 * is no memory for is made later. */
Test(cache, a_large_index_grows_and_shrinks_by_segments, .timeout = 60)
{
    enum {
        LACK = 325000, /* the second segment begins at about 327,680 */
        COUNT = 700000,
        KEPT = 1000
    };
    struct ration ration = { .takes_left = -1 };
    struct records_pages pages = { ration_take, ration_give, &ration };
    struct cache_config config = cache_config_default();
    config.pages = &pages;
    struct cache *cache = cache_of(config);
    bool *is_there = calloc(COUNT, sizeof *is_there);
    size_t there = 0;
    for (uint64_t n = 0; n < COUNT; n++) {
        uint8_t bytes[16];
        struct cache_key key = cache_key_of(cache, number_key(bytes, n));
        ration.takes_left = n >= LACK && n < LACK + 10000 ? 0 : -1;
        int rc = cache_put(cache, &key, 1, &forever, NULL);
        is_there[n] = rc == DLHT_OK;
        if (rc != DLHT_OK)
            cr_assert(rc == DLHT_ENOMEM && ration.takes_left == 0);
        there += rc == DLHT_OK;
    }
    cr_assert_gt(ration.refused, 0);
    cr_assert_eq(stats_of(cache).count, there);
    cache_check(cache);
    size_t wrong = 0;
    for (uint64_t n = 0; n < COUNT; n++)
        wrong += has_number(cache, 1, n) != is_there[n];
    size_t most = ration.outstanding;
    for (uint64_t n = KEPT; n < COUNT; n++) {
        uint8_t bytes[16];
        struct cache_key key = cache_key_of(cache, number_key(bytes, n));
        wrong += cache_remove(cache, &key, 1) != is_there[n];
    }
    for (uint64_t n = 0; n < KEPT; n++)
        wrong += !has_number(cache, 1, n);
    cr_assert_eq(wrong, 0);
    cr_assert_eq(stats_of(cache).count, KEPT);
    cache_check(cache);
    cr_assert_lt(ration.outstanding, most);
    cache_free(cache);
    cr_assert_eq(ration.outstanding, 0);
    free(is_there);
}
