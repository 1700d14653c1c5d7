/* SPDX-License-Identifier: Apache-2.0 */

/* The cache against a table that does the same slowly: first without bounds,
 * where both must agree in everything, then within bounds, where the cache may
 * have forgotten but must never be wrong. */

#include "store/cache_world.h"

enum {
    KEYS = 400,
    VALUE_MAX = 40000
};

struct truth {
    bool there;
    bool negative;
    uint64_t value_seed;
    size_t value_len;
    size_t zeros; /* behind what the seed stands for */
    uint64_t expire_ms;
    uint64_t version;
    uint64_t token;
    uint64_t token_until_ms;
};

struct world {
    struct cache *cache;
    struct ration ration;
    struct rng rng;
    uint64_t now_ms;
    uint64_t version;
    struct truth truths[KEYS];
    uint8_t value[VALUE_MAX + 64];
    bool bounded;
    uint64_t charge_max;
    uint64_t forgotten; /* evicted, as far as seen */
    const char *did;
};

/* Key i, of 1 to 20 or of 300 bytes. */
static struct span key_of(uint32_t i)
{
    static uint8_t bytes[300];
    int n = snprintf((char *)bytes, sizeof bytes, "k%u", i);
    memset(bytes + n, 'x', sizeof bytes - (size_t)n);
    return span_of(bytes, i % 50 == 7 ? 300 : (size_t)n + i % 14);
}

static struct span value_of(struct world *w, const struct truth *t)
{
    struct rng rng;
    rng_init(&rng, t->value_seed);
    size_t filled = t->value_len - t->zeros;
    for (size_t i = 0; i < filled; i += 8) {
        uint64_t word = rng_next(&rng);
        memcpy(w->value + i, &word, 8);
    }
    memset(w->value + filled, 0, t->zeros);
    return span_of(w->value, t->value_len);
}

static bool lives(const struct world *w, const struct truth *t)
{
    return t->there && w->now_ms < t->expire_ms;
}

static bool present(const struct world *w, const struct truth *t)
{
    return lives(w, t) && !t->negative;
}

static size_t some_len(struct world *w)
{
    switch (rng_below(&w->rng, 8)) {
    case 0:
        return 0;
    case 1:
        return rng_below(&w->rng, 4000);
    case 2:
        return rng_below(&w->rng, 20) ? 200 : rng_below(&w->rng, VALUE_MAX);
    default:
        return rng_below(&w->rng, 100);
    }
}

static uint64_t some_end(struct world *w)
{
    switch (rng_below(&w->rng, 6)) {
    case 0:
        return w->now_ms + rng_below(&w->rng, 100000000);
    case 1:
        return w->now_ms - (w->now_ms > 5 ? rng_below(&w->rng, 5) : 0);
    case 2:
    case 3:
        return w->now_ms + rng_below(&w->rng, 20000);
    default:
        return CACHE_NEVER;
    }
}

/* What the cache says of a key is what the table says, or, within bounds,
 * nothing; then the table forgets it too. */
static void agree(struct world *w, uint32_t i, bool found,
                  const struct cache_item *item)
{
    struct truth *t = &w->truths[i];
    if (w->bounded && !found && !item->negative && lives(w, t)) {
        w->forgotten++;
        t->there = false;
    }
    cr_assert_eq(found, present(w, t), "key %u after %s", i, w->did);
    if (!found) {
        cr_assert_eq(item->negative, lives(w, t), "key %u after %s", i, w->did);
        return;
    }
    cr_assert(span_equal(item->key, key_of(i)));
    cr_assert(span_equal(item->value, value_of(w, t)), "key %u after %s", i,
              w->did);
    cr_assert_eq(item->expire_ms, t->expire_ms, "key %u after %s", i, w->did);
    cr_assert_eq(item->version, t->version, "key %u after %s", i, w->did);
}

static void look(struct world *w, uint32_t i)
{
    struct cache_key key = cache_key_of(w->cache, key_of(i));
    struct cache_item item;
    bool found = cache_peek(w->cache, &key, w->now_ms, &item);
    agree(w, i, found, &item);
}

static void do_get(struct world *w, uint32_t i)
{
    struct cache_key key = cache_key_of(w->cache, key_of(i));
    struct cache_item item;
    w->did = "get";
    bool found = cache_get(w->cache, &key, w->now_ms, &item);
    agree(w, i, found, &item);
}

static int expected_code(struct world *w, const struct truth *t,
                         const struct cache_put *put)
{
    switch (put->when) {
    case CACHE_ALWAYS:
        return DLHT_OK;
    case CACHE_IF_ABSENT:
        return present(w, t) ? DLHT_EEXISTS : DLHT_OK;
    case CACHE_IF_PRESENT:
        return present(w, t) ? DLHT_OK : DLHT_ENOTFOUND;
    case CACHE_IF_VERSION:
        return (present(w, t) ? t->version : 0) == put->version
                   ? DLHT_OK
                   : DLHT_EMISMATCH;
    case CACHE_IF_LEASED:
        return put->token && put->token == t->token &&
                       w->now_ms < t->token_until_ms
                   ? DLHT_OK
                   : DLHT_ESTALE;
    }
    return DLHT_EINVAL;
}

static void do_put(struct world *w, uint32_t i)
{
    struct truth *t = &w->truths[i];
    look(w, i); /* within bounds: what is forgotten is known to be */
    struct truth now = { .there = true,
                         .value_seed = rng_next(&w->rng),
                         .value_len = some_len(w),
                         .expire_ms = some_end(w) };
    struct cache_put put = {
        .when = (enum cache_when)rng_below(&w->rng, 10),
        .negative = rng_chance(&w->rng, 0.05),
        .version = rng_chance(&w->rng, 0.5) ? t->version : 0,
        .token = t->token,
    };
    if (put.when > CACHE_IF_LEASED)
        put.when = CACHE_ALWAYS;
    if (put.negative)
        now.value_len = 0;
    now.negative = put.negative;
    put.expire_ms = now.expire_ms;
    if (rng_chance(&w->rng, 0.2)) {
        put.expire_ms = CACHE_KEEP;
        now.expire_ms = lives(w, t) ? t->expire_ms : CACHE_NEVER;
    }
    if (put.negative && now.expire_ms > w->now_ms + 5000)
        now.expire_ms = w->now_ms + 5000;
    put.value = value_of(w, &now);
    struct cache_key key = cache_key_of(w->cache, key_of(i));
    uint64_t charge = cache_charge(w->cache, key.bytes.len, now.value_len,
                                   now.expire_ms != CACHE_NEVER);
    uint64_t version;
    w->did = "put";
    int want = expected_code(w, t, &put);
    if (want == DLHT_OK && w->bounded && charge > w->charge_max)
        want = DLHT_ETOOBIG;
    int rc = cache_put(w->cache, &key, w->now_ms, &put, &version);
    cr_assert_eq(rc, want, "%s instead of %s, when %d", dlht_errname(rc),
                 dlht_errname(want), put.when);
    if (rc != DLHT_OK)
        return;
    if (now.expire_ms <= w->now_ms) {
        now = (struct truth){ 0 };
        cr_assert_eq(version, 0);
    } else {
        now.version = ++w->version;
        cr_assert_eq(version, w->version);
    }
    *t = now;
    look(w, i); /* what was just put is there */
    cr_assert_eq(t->there, now.there);
}

static void do_remove(struct world *w, uint32_t i)
{
    struct cache_key key = cache_key_of(w->cache, key_of(i));
    look(w, i);
    w->did = "remove";
    bool there = cache_remove(w->cache, &key, w->now_ms);
    cr_assert_eq(there, present(w, &w->truths[i]));
    w->truths[i] = (struct truth){ 0 };
}

static void do_expire(struct world *w, uint32_t i)
{
    struct truth *t = &w->truths[i];
    struct cache_key key = cache_key_of(w->cache, key_of(i));
    uint64_t end = some_end(w);
    look(w, i);
    w->did = "expire";
    int rc = cache_expire(w->cache, &key, w->now_ms, end);
    if (rc == DLHT_ETOOBIG && w->bounded)
        return;
    cr_assert_eq(rc, present(w, t) ? DLHT_OK : DLHT_ENOTFOUND);
    if (rc != DLHT_OK)
        return;
    t->expire_ms = end;
    if (end <= w->now_ms)
        *t = (struct truth){ 0 };
}

static void do_resize(struct world *w, uint32_t i)
{
    struct truth *t = &w->truths[i];
    struct cache_key key = cache_key_of(w->cache, key_of(i));
    uint8_t *value;
    look(w, i);
    struct truth before = *t;
    if (!present(w, t))
        *t = (struct truth){ .there = true, .expire_ms = CACHE_NEVER };
    size_t kept = t->value_len;
    size_t len =
        rng_chance(&w->rng, 0.5) ? kept + rng_below(&w->rng, 12) : some_len(w);
    if (len > VALUE_MAX)
        len = VALUE_MAX;
    w->did = "resize";
    int rc = cache_resize(w->cache, &key, w->now_ms, len, &value);
    if (rc == DLHT_ETOOBIG && w->bounded) {
        *t = before;
        return;
    }
    cr_assert_eq(rc, DLHT_OK);
    size_t filled = kept - t->zeros;
    t->value_len = len;
    t->zeros = len > filled ? len - filled : 0;
    t->version = ++w->version;
    t->token = 0;
    /* Written into, as by an increment. */
    t->value_seed = rng_next(&w->rng);
    memcpy(value, value_of(w, t).data, len);
    look(w, i);
}

static void do_append(struct world *w, uint32_t i)
{
    struct truth *t = &w->truths[i];
    struct cache_key key = cache_key_of(w->cache, key_of(i));
    look(w, i);
    struct truth before = *t;
    if (!present(w, t))
        *t = (struct truth){ .there = true, .expire_ms = CACHE_NEVER };
    static const uint8_t zeros[3000];
    size_t more = rng_below(&w->rng, 10) ? rng_below(&w->rng, 30) : 3000;
    size_t len;
    if (t->value_len + more > VALUE_MAX) {
        *t = before;
        return;
    }
    w->did = "append";
    int rc =
        cache_append(w->cache, &key, w->now_ms, span_of(zeros, more), &len);
    if (rc == DLHT_ETOOBIG && w->bounded) {
        *t = before;
        return;
    }
    cr_assert_eq(rc, DLHT_OK);
    t->value_len += more;
    t->zeros += more;
    t->version = ++w->version;
    t->token = 0;
    cr_assert_eq(len, t->value_len);
    look(w, i);
}

static void do_lease(struct world *w, uint32_t i)
{
    struct truth *t = &w->truths[i];
    struct cache_key key = cache_key_of(w->cache, key_of(i));
    struct cache_lease lease;
    look(w, i);
    w->did = "lease";
    cr_assert_eq(cache_lease(w->cache, &key, w->now_ms, &lease), DLHT_OK);
    bool out = t->token && w->now_ms < t->token_until_ms;
    if (lives(w, t)) {
        cr_assert_eq(lease.answer, t->negative ? CACHE_NEGATIVE : CACHE_HIT);
        cr_assert_eq(lease.token, 0);
        return;
    }
    cr_assert_eq(lease.answer, out ? CACHE_WAIT : CACHE_FILL);
    cr_assert_eq(lease.token == 0, out);
    if (!out) {
        t->token = lease.token;
        t->token_until_ms = w->now_ms + 10000;
    }
}

static void do_flush(struct world *w)
{
    w->did = "flush";
    cache_flush(w->cache);
    for (uint32_t i = 0; i < KEYS; i++)
        w->truths[i] = (struct truth){ 0 };
    cr_assert_eq(cache_count(w->cache), 0);
}

static void do_time(struct world *w)
{
    static const uint64_t steps[] = { 1, 50, 3000, 70000, 20000000 };
    w->did = "time";
    w->now_ms += rng_below(&w->rng, steps[rng_below(&w->rng, 5)]);
    for (uint64_t n = rng_below(&w->rng, 3); n > 0; n--)
        cache_tick(w->cache, w->now_ms, (uint32_t)rng_below(&w->rng, 200));
}

static void do_many(struct world *w)
{
    enum {
        MANY = 37
    };
    static uint8_t bytes[MANY][300];
    struct span keys[MANY];
    struct cache_item items[MANY];
    uint32_t numbers[MANY];
    for (int j = 0; j < MANY; j++) {
        numbers[j] = (uint32_t)rng_below(&w->rng, KEYS);
        struct span key = key_of(numbers[j]);
        memcpy(bytes[j], key.data, key.len);
        keys[j] = span_of(bytes[j], key.len);
    }
    w->did = "get_many";
    size_t found = cache_get_many(w->cache, keys, MANY, w->now_ms, items);
    for (int j = 0; j < MANY; j++) {
        agree(w, numbers[j], items[j].key.data != NULL, &items[j]);
        found -= items[j].key.data != NULL;
    }
    cr_assert_eq(found, 0);
}

static void tell(void *self, const struct cache_item *item)
{
    (void)item;
    ++*(size_t *)self;
}

/* All keys, the count by a scan, and the sums of the counters. */
static void compare(struct world *w)
{
    size_t there = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        look(w, i);
        there += present(w, &w->truths[i]);
    }
    size_t told = 0;
    uint64_t cursor = 0;
    do
        cursor = cache_scan(w->cache, w->now_ms, cursor,
                            1 + rng_below(&w->rng, 50), tell, &told);
    while (cursor);
    cr_assert_eq(told, there);
    cr_assert_eq(cache_version(w->cache), w->version);
    cache_check(w->cache);
}

static void step(struct world *w)
{
    uint32_t i = (uint32_t)rng_below(&w->rng, KEYS);
    uint64_t what = rng_below(&w->rng, 1000);
    if (what < 300)
        do_get(w, i);
    else if (what < 600)
        do_put(w, i);
    else if (what < 680)
        do_remove(w, i);
    else if (what < 760)
        do_expire(w, i);
    else if (what < 820)
        do_resize(w, i);
    else if (what < 880)
        do_append(w, i);
    else if (what < 940)
        do_lease(w, i);
    else if (what < 950)
        do_many(w);
    else if (what < 999 || rng_chance(&w->rng, 0.8))
        do_time(w);
    else
        do_flush(w);
}

static struct world *world_new(uint64_t seed, struct cache_config config)
{
    struct world *w = calloc(1, sizeof *w);
    w->ration.takes_left = -1;
    w->now_ms = seed % 3 ? 1800000000000 : 0;
    rng_init(&w->rng, seed);
    struct records_pages pages = { ration_take, ration_give, &w->ration };
    config.seed = seed;
    config.pages = &pages;
    w->bounded = config.bytes_max || config.count_max;
    w->charge_max = config.bytes_max ? config.bytes_max : UINT64_MAX;
    w->cache = cache_of(config);
    return w;
}

static void world_free(struct world *w)
{
    cache_free(w->cache);
    cr_assert_eq(w->ration.outstanding, 0);
    free(w);
}

Test(cache_model, agrees_with_a_table)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        printf("seed %llu\n", (unsigned long long)seed);
        fflush(stdout);
        struct world *w = world_new(seed, cache_config_default());
        for (int n = 0; n < 12000; n++) {
            step(w);
            if (n % 1000 == 0)
                compare(w);
        }
        compare(w);
        world_free(w);
    }
}

Test(cache_model, forgets_within_bounds_and_is_never_wrong)
{
    static const struct {
        uint64_t bytes_max;
        uint64_t count_max;
        enum cache_policy_kind policy;
    } table[] = {
        { 20000, 0, CACHE_S3FIFO },    { 0, 50, CACHE_S3FIFO },
        { 100000, 200, CACHE_S3FIFO }, { 20000, 0, CACHE_LRU },
        { 0, 50, CACHE_LRU },          { 1000, 3, CACHE_S3FIFO },
        { 1000, 1, CACHE_LRU },        { 50000, 0, CACHE_S3FIFO },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        printf("row %zu\n", i);
        fflush(stdout);
        struct cache_config config = cache_config_default();
        config.bytes_max = table[i].bytes_max;
        config.count_max = table[i].count_max;
        config.policy = table[i].policy;
        struct world *w = world_new(100 + i, config);
        struct cache_stats stats;
        for (int n = 0; n < 8000; n++) {
            step(w);
            cache_stats(w->cache, &stats);
            /* A slice is enough for this few. */
            cr_assert(!table[i].count_max || stats.count <= table[i].count_max);
            cr_assert(!table[i].bytes_max ||
                      stats.bytes <= 2 * table[i].bytes_max);
            if (n % 1000 == 0)
                compare(w);
        }
        compare(w);
        cr_assert_gt(stats.evictions, 0);
        cr_assert_gt(w->forgotten, 0);
        world_free(w);
    }
}
