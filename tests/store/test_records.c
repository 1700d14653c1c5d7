/* SPDX-License-Identifier: Apache-2.0 */

/* The map of records against a sorted array that does the same slowly. */

#include "store/records.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "dlht/err.h"
#include "store/records_state.h"

/* Memory that is counted and that can run out. */
struct store {
    size_t outstanding;
    long takes_left; /* negative: no end */
};

static void *store_take(void *self, size_t size)
{
    struct store *store = self;
    if (store->takes_left == 0)
        return NULL;
    if (store->takes_left > 0)
        store->takes_left--;
    store->outstanding += size;
    return aligned_alloc(64, (size + 63) / 64 * 64);
}

static void store_give(void *self, void *memory, size_t size)
{
    struct store *store = self;
    cr_assert_geq(store->outstanding, size);
    store->outstanding -= size;
    free(memory);
}

static struct records *map_new(struct store *store, uint64_t seed)
{
    struct records_pages pages = { store_take, store_give, store };
    struct records *map = records_new_with(seed, &pages);
    cr_assert_not_null(map);
    if (seed % 2) /* as if it was large */
        map->gather_from = 0;
    return map;
}

/* The model: records in key order, values as seed and length. */
struct entry {
    uint8_t *key;
    size_t key_len;
    uint64_t value_seed;
    size_t value_len;
    uint64_t version;
};

struct model {
    struct entry *entries;
    size_t count;
};

static uint8_t value_bytes[RECORDS_VALUE_BYTES_MAX];

/* The bytes a seed and a length stand for. */
static struct span value_of(uint64_t seed, size_t len)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = rng_next(&rng);
        memcpy(value_bytes + i, &word, len - i < 8 ? len - i : 8);
    }
    return span_of(value_bytes, len);
}

static struct span key_of(const struct entry *e)
{
    return span_of(e->key, e->key_len);
}

/* Entries with key < key. */
static size_t model_rank(const struct model *m, struct span key)
{
    size_t lo = 0, hi = m->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (span_compare(key_of(&m->entries[mid]), key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct entry *model_find(const struct model *m, struct span key)
{
    size_t i = model_rank(m, key);
    if (i < m->count && span_equal(key_of(&m->entries[i]), key))
        return &m->entries[i];
    return NULL;
}

static void model_put(struct model *m, struct span key, uint64_t value_seed,
                      size_t value_len, uint64_t version)
{
    struct entry *e = model_find(m, key);
    if (!e) {
        size_t i = model_rank(m, key);
        m->entries = realloc(m->entries, (m->count + 1) * sizeof *e);
        memmove(m->entries + i + 1, m->entries + i, (m->count - i) * sizeof *e);
        m->count++;
        e = &m->entries[i];
        e->key = malloc(key.len + 1);
        e->key_len = key.len;
        if (key.len)
            memcpy(e->key, key.data, key.len);
    }
    e->value_seed = value_seed;
    e->value_len = value_len;
    e->version = version;
}

static void model_remove(struct model *m, struct entry *e)
{
    free(e->key);
    size_t i = (size_t)(e - m->entries);
    memmove(e, e + 1, (m->count - i - 1) * sizeof *e);
    m->count--;
}

static void model_free(struct model *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->entries[i].key);
    free(m->entries);
    *m = (struct model){ 0 };
}

static struct model model_copy(const struct model *m, size_t from, size_t to)
{
    struct model copy = { 0 };
    for (size_t i = from; i < to; i++) {
        const struct entry *e = &m->entries[i];
        model_put(&copy, key_of(e), e->value_seed, e->value_len, e->version);
    }
    return copy;
}

static uint64_t model_bytes(const struct model *m, size_t to)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < to; i++)
        bytes += m->entries[i].key_len + m->entries[i].value_len;
    return bytes;
}

static bool same(const struct record *record, const struct entry *e)
{
    return span_equal(record->key, key_of(e)) &&
           span_equal(record->value, value_of(e->value_seed, e->value_len)) &&
           record->version == e->version;
}

/* Keys of several characters, from one of them each run. */
enum style {
    SHORT,   /* few letters, zeros among them, prefixes of one another */
    RANDOM,  /* 16 random bytes */
    PREFIX8, /* eight equal bytes first */
    PATH,    /* 40 equal bytes, then decimal digits */
    MIXED,   /* all of the above, and long ones that share almost all */
    STYLES
};

static uint8_t key_bytes[RECORDS_KEY_BYTES_MAX];

static struct span random_key(struct rng *rng, enum style style)
{
    if (style == MIXED) {
        style = (enum style)rng_below(rng, STYLES);
        if (style == MIXED) {
            size_t len = 300 + rng_below(rng, 4);
            memset(key_bytes, 'm', len);
            key_bytes[len - 1] = (uint8_t)rng_below(rng, 40);
            return span_of(key_bytes, len);
        }
    }
    size_t len = 0;
    if (style == PREFIX8) {
        memcpy(key_bytes,
               "\0\xff"
               "eight..",
               9);
        len = 8;
    }
    if (style == PATH) {
        int n = sprintf((char *)key_bytes,
                        "/a/path/that/is/long/and/always/the/same/%05u",
                        (unsigned)rng_below(rng, 3000));
        return span_of(key_bytes, (size_t)n);
    }
    size_t tail = style == RANDOM ? 16 : rng_below(rng, 7);
    for (size_t i = 0; i < tail; i++)
        key_bytes[len++] = style == RANDOM
                               ? (uint8_t)rng_next(rng)
                               : (uint8_t) "\0\0ab\xff"[rng_below(rng, 5)];
    return span_of(key_bytes, len);
}

/* Mostly small, now and then in the classes above, rarely a block. */
static size_t random_len(struct rng *rng)
{
    switch (rng_below(rng, 200)) {
    case 0:
        return rng_below(rng, 40000);
    case 1:
    case 2:
    case 3:
        return rng_below(rng, 3000);
    case 4:
        return 0;
    default:
        return rng_below(rng, 60);
    }
}

static int put(struct records *map, struct span key, uint64_t seed, size_t len,
               uint64_t version)
{
    struct record record = { key, value_of(seed, len), version };
    return records_put(map, &record);
}

/* Everything a reader can see is the same, both ways. */
static void expect_same(const struct records *map, const struct model *m)
{
    records_check(map);
    cr_assert_eq(records_count(map), m->count);
    cr_assert_eq(records_data_bytes(map), model_bytes(m, m->count));
    struct records_cursor c;
    size_t i = 0;
    for (bool ok = records_seek(map, span_empty(), &c); ok;
         ok = records_next(&c)) {
        struct record record = records_at(&c);
        cr_assert(i < m->count && same(&record, &m->entries[i]), "at %zu", i);
        i++;
    }
    cr_assert_eq(i, m->count);
    for (bool ok = records_seek_last(map, span_empty(), true, &c); ok;
         ok = records_previous(&c))
        cr_assert(span_equal(records_at(&c).key, key_of(&m->entries[--i])));
    cr_assert_eq(i, 0);
}

static void expect_lookups(const struct records *map, const struct model *m,
                           struct span key, struct rng *rng)
{
    struct record got;
    struct records_cursor c;
    struct entry *e = model_find(m, key);
    records_prefetch(map, key);
    cr_assert_eq(records_get(map, key, &got), e != NULL);
    cr_assert(!e || same(&got, e));

    size_t rank = model_rank(m, key);
    uint64_t bytes;
    cr_assert_eq(records_rank(map, key, &bytes), rank);
    cr_assert_eq(bytes, model_bytes(m, rank));
    cr_assert_eq(records_rank(map, key, NULL), rank);
    cr_assert_eq(records_seek(map, key, &c), rank < m->count);
    if (rank < m->count) {
        got = records_at(&c);
        cr_assert(same(&got, &m->entries[rank]));
    }
    cr_assert_eq(records_seek_last(map, key, false, &c), rank > 0);
    if (rank > 0) {
        got = records_at(&c);
        cr_assert(same(&got, &m->entries[rank - 1]));
    }
    uint64_t n = rng_below(rng, m->count + 2);
    cr_assert_eq(records_nth(map, n, &got), n < m->count);
    cr_assert(n >= m->count || same(&got, &m->entries[n]));
}

/* One random change of both. Removals win for a while, then puts. */
static void change(struct records *map, struct model *m, struct rng *rng,
                   enum style style, double remove_share)
{
    struct span key = random_key(rng, style);
    if (m->count > 0 && rng_chance(rng, 0.4))
        key = key_of(&m->entries[rng_below(rng, m->count)]);
    struct entry *e = model_find(m, key);
    if (rng_chance(rng, remove_share)) {
        bool removed;
        cr_assert_eq(records_remove(map, key, &removed), DLHT_OK);
        cr_assert_eq(removed, e != NULL);
        if (e)
            model_remove(m, e);
        return;
    }
    uint64_t seed = rng_next(rng);
    size_t len = e && rng_chance(rng, 0.3) ? e->value_len : random_len(rng);
    cr_assert_eq(put(map, key, seed, len, seed + 1), DLHT_OK);
    model_put(m, key, seed, len, seed + 1);
}

Test(records, does_what_a_sorted_array_does)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct store store = { 0, -1 };
        struct model m = { 0 };
        struct rng rng;
        rng_init(&rng, seed);
        enum style style = (enum style)(seed % STYLES);
        cr_log_info("seed %llu\n", (unsigned long long)seed);
        struct records *map = map_new(&store, seed);
        for (int i = 0; i < 6000; i++) {
            double remove_share = i / 1500 % 2 ? 0.7 : 0.1;
            change(map, &m, &rng, style, remove_share);
            if (i % 20 == 0)
                expect_lookups(map, &m, random_key(&rng, style), &rng);
            if (i % 500 == 0)
                expect_same(map, &m);
        }
        expect_same(map, &m);
        cr_assert_eq(records_memory_bytes(map), store.outstanding);

        struct records *again = map_new(&store, seed + 7);
        while (m.count > 0) {
            struct entry *e = &m.entries[rng_below(&rng, m.count)];
            struct record record;
            bool removed;
            cr_assert(records_get(map, key_of(e), &record));
            cr_assert_eq(records_put(again, &record), DLHT_OK);
            uint64_t before = records_digest(map);
            cr_assert_eq(records_remove(map, key_of(e), &removed), DLHT_OK);
            cr_assert_neq(records_digest(map), before);
            model_remove(&m, e);
            if (m.count % 64 == 0)
                records_check(map);
        }
        records_check(again);
        records_check(map);
        cr_assert_eq(records_digest(map), 0);
        records_free(map);
        records_free(again);
        cr_assert_eq(store.outstanding, 0);
        model_free(&m);
    }
}

Test(records, a_digest_says_what_is_there_not_how_it_came)
{
    struct record one = { span_str("a"), span_str("bc"), 1 };
    struct record other = { span_str("ab"), span_str("c"), 1 };
    struct record two = { span_str("z"), span_str(""), 2 };
    struct records *a = records_new(1);
    struct records *b = records_new(2);
    bool removed;
    cr_assert_eq(records_put(a, &one), DLHT_OK);
    cr_assert_eq(records_put(b, &other), DLHT_OK);
    cr_expect_neq(records_digest(a), records_digest(b), "keys count");
    cr_assert_eq(records_put(b, &two), DLHT_OK);
    cr_assert_eq(records_remove(b, other.key, &removed), DLHT_OK);
    cr_assert_eq(records_put(b, &one), DLHT_OK);
    cr_assert_eq(records_put(a, &two), DLHT_OK);
    cr_expect_eq(records_digest(a), records_digest(b), "order does not");
    one.version = 3;
    cr_assert_eq(records_put(b, &one), DLHT_OK);
    cr_expect_neq(records_digest(a), records_digest(b), "versions count");
    cr_assert_eq(records_put(a, &one), DLHT_OK);
    cr_expect_eq(records_digest(a), records_digest(b));
    records_free(a);
    records_free(b);
}

Test(records, holds_the_longest_keys_and_values)
{
    static uint8_t key[RECORDS_KEY_BYTES_MAX];
    struct store store = { 0, -1 };
    struct records *map = map_new(&store, 3);
    struct model m = { 0 };
    static const size_t lens[] = {
        0, 1, 16 << 10, RECORDS_VALUE_BYTES_MAX, 65536, 17, 16368, 16369, 0,
    };
    /* Keys that differ in their last byte, and one that begins them all. */
    for (size_t i = 0; i < 5; i++) {
        key[sizeof key - 1] = (uint8_t)(i * 50);
        struct span k = span_of(key, i == 4 ? sizeof key - 1 : sizeof key);
        for (size_t j = 0; j < sizeof lens / sizeof *lens; j++) {
            if (lens[j] == RECORDS_VALUE_BYTES_MAX && i != 2)
                continue;
            cr_assert_eq(put(map, k, j, lens[j], j), DLHT_OK);
            model_put(&m, k, j, lens[j], j);
            expect_same(map, &m);
        }
    }
    struct record record = { span_empty(), span_empty(), 9 };
    cr_assert_eq(records_put(map, &record), DLHT_OK);
    model_put(&m, span_empty(), 0, 0, 9);
    expect_same(map, &m);
    records_free(map);
    model_free(&m);
    cr_assert_eq(store.outstanding, 0);
}

/* A view and what it must show. */
struct watch {
    struct records_snapshot *view;
    struct model was;
    size_t shown;
};

static void watch_begin(struct watch *w, struct records *map,
                        const struct model *m)
{
    w->view = records_snapshot_new(map);
    cr_assert_not_null(w->view);
    w->was = model_copy(m, 0, m->count);
    w->shown = 0;
}

static void watch_read(struct watch *w, size_t n)
{
    struct record record;
    for (; n > 0; n--) {
        bool more = records_snapshot_next(w->view, &record);
        cr_assert_eq(more, w->shown < w->was.count);
        if (!more)
            return;
        cr_assert(same(&record, &w->was.entries[w->shown]), "at %zu", w->shown);
        w->shown++;
    }
}

static void watch_end(struct watch *w)
{
    records_snapshot_free(w->view);
    w->view = NULL;
    model_free(&w->was);
}

Test(records, a_view_stays_as_it_was)
{
    enum {
        WATCHES = 3
    };
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct store store = { 0, -1 };
        struct model m = { 0 };
        struct watch watches[WATCHES] = { 0 };
        struct rng rng;
        rng_init(&rng, seed);
        cr_log_info("seed %llu\n", (unsigned long long)seed);
        enum style style = (enum style)(seed % STYLES);
        struct records *map = map_new(&store, seed);
        size_t ended = 0;
        for (int i = 0; i < 5000; i++) {
            change(map, &m, &rng, style, i / 1000 % 2 ? 0.6 : 0.2);
            struct watch *w = &watches[rng_below(&rng, WATCHES)];
            if (!w->view) {
                if (rng_chance(&rng, 0.02))
                    watch_begin(w, map, &m);
            } else if (rng_chance(&rng, 0.3)) {
                watch_read(w, rng_below(&rng, 30));
                if (w->shown == w->was.count && rng_chance(&rng, 0.2)) {
                    watch_read(w, 2);
                    watch_end(w);
                    ended++;
                }
            }
        }
        for (size_t i = 0; i < WATCHES; i++) {
            if (watches[i].view)
                watch_read(&watches[i], SIZE_MAX);
            watch_end(&watches[i]);
        }
        cr_assert_gt(ended, 3);
        expect_same(map, &m);
        records_free(map);
        model_free(&m);
        cr_assert_eq(store.outstanding, 0);
    }
}

Test(records, splits_into_what_is_before_and_what_is_not)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct store store = { 0, -1 };
        struct model m = { 0 };
        struct rng rng;
        rng_init(&rng, seed);
        cr_log_info("seed %llu\n", (unsigned long long)seed);
        enum style style = (enum style)(seed % STYLES);
        struct records *map = map_new(&store, seed);
        size_t changes = seed % 9 == 0 ? 0 : 1000;
        for (size_t i = 0; i < changes; i++)
            change(map, &m, &rng, style, 0.2);
        struct span at = random_key(&rng, style);
        if (m.count > 10 && seed % 2) /* a cut near one of the ends */
            at = key_of(&m.entries[seed % 4 == 1 ? 5 : m.count - 5]);
        size_t cut = model_rank(&m, at);
        struct model left = model_copy(&m, 0, cut);
        struct model right = model_copy(&m, cut, m.count);
        uint64_t digest = records_digest(map);
        struct records *moved;
        cr_assert_eq(records_split(map, at, seed + 1, &moved), DLHT_OK);
        expect_same(map, &left);
        expect_same(moved, &right);
        cr_assert_eq(records_digest(map) + records_digest(moved), digest);
        for (size_t i = 0; i < 500; i++) {
            change(map, &left, &rng, style, 0.4);
            change(moved, &right, &rng, style, 0.4);
        }
        expect_same(map, &left);
        records_free(map);
        expect_same(moved, &right);
        records_free(moved);
        cr_assert_eq(store.outstanding, 0);
        model_free(&left);
        model_free(&right);
        model_free(&m);
    }
}

/* Three levels of nodes, cut near the ends, in the middle and at borders of
 * leaves; each part must be a good tree to go on with. */
Test(records, a_tall_tree_is_cut_anywhere)
{
    enum {
        N = 30000
    };
    static const uint32_t cuts[] = { 0,  1,     64,    65,      3000, 15000,
                                     16, 29000, 29999, N - 100, N };
    struct store store = { 0, -1 };
    struct records *map = map_new(&store, 8);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t n = i * 7919u % N; /* each once, as 7919 is prime to N */
        uint8_t key[4] = { 0, (uint8_t)(n >> 16), (uint8_t)(n >> 8),
                           (uint8_t)n };
        cr_assert_eq(put(map, span_of(key, 4), n, n % 50, n), DLHT_OK);
    }
    uint64_t bytes = records_data_bytes(map);
    uint64_t digest = records_digest(map);
    for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
        uint32_t n = cuts[c];
        uint8_t at[4] = { 0, (uint8_t)(n >> 16), (uint8_t)(n >> 8),
                          (uint8_t)n };
        struct records *right;
        cr_assert_eq(records_split(map, span_of(at, 4), c, &right), DLHT_OK);
        records_check(map);
        records_check(right);
        cr_assert_eq(records_count(map), n, "cut at %u", n);
        cr_assert_eq(records_count(right), N - n);
        cr_assert_eq(records_data_bytes(map) + records_data_bytes(right),
                     bytes);
        cr_assert_eq(records_digest(map) + records_digest(right), digest);

        struct records *to = c % 2 ? map : right;
        struct records *from = c % 2 ? right : map;
        struct records_cursor cursor;
        bool there = records_seek(from, span_empty(), &cursor);
        for (; there; there = records_next(&cursor)) {
            struct record record = records_at(&cursor);
            cr_assert_eq(records_put(to, &record), DLHT_OK);
        }
        records_free(from);
        map = to;
        records_check(map);
        cr_assert_eq(records_digest(map), digest);
    }
    records_free(map);
    cr_assert_eq(store.outstanding, 0);
}

/* Every change is tried with memory for 0, 1, 2 .. takes until it succeeds. */
Test(records, running_out_of_memory_changes_nothing)
{
    struct store store = { 0, 0 };
    struct records_pages pages = { store_take, store_give, &store };
    cr_assert_null(records_new_with(1, &pages));
    struct model m = { 0 };
    struct rng rng;
    rng_init(&rng, 5);
    store.takes_left = -1;
    struct records *map = map_new(&store, 5);
    size_t failures = 0;
    struct records_snapshot *view = NULL;
    for (size_t i = 0; i < 3000; i++) {
        if (i % 1000 == 700) {
            for (long n = 0; !view; n++) {
                store.takes_left = n;
                view = records_snapshot_new(map);
                failures += !view;
            }
        }
        if (i % 1000 == 900) {
            records_snapshot_free(view);
            view = NULL;
        }
        struct span key = random_key(&rng, MIXED);
        struct entry *e = model_find(&m, key);
        bool removes = rng_chance(&rng, 0.2);
        uint64_t seed = rng_next(&rng);
        size_t len = random_len(&rng);
        uint64_t digest = records_digest(map);
        bool removed;
        for (long n = 0;; n++) {
            store.takes_left = n;
            int rc = removes ? records_remove(map, key, &removed)
                             : put(map, key, seed, len, i);
            if (rc == DLHT_OK)
                break;
            failures++;
            cr_assert_eq(rc, DLHT_ENOMEM);
            cr_assert(!removes || view, "removal needs memory for views only");
            cr_assert_eq(records_digest(map), digest);
            cr_assert_eq(records_count(map), m.count);
            records_check(map);
        }
        if (!removes)
            model_put(&m, key, seed, len, i);
        else if (e)
            model_remove(&m, e);
    }
    expect_same(map, &m);
    cr_assert_gt(failures, 100);

    /* Enough keys for chained buckets and full inner nodes. */
    for (uint64_t i = 0; i < 6000; i++) {
        uint64_t key = hash64_mix(i, 3);
        long n = 0;
        do
            store.takes_left = n++;
        while (put(map, span_of(&key, 8), i, 8, i) != DLHT_OK);
        model_put(&m, span_of(&key, 8), i, 8, i);
    }
    expect_same(map, &m);

    struct records *right = NULL;
    struct span at = key_of(&m.entries[m.count / 3]);
    for (long n = 0;; n++) {
        store.takes_left = n;
        size_t outstanding = store.outstanding;
        if (records_split(map, at, 1, &right) == DLHT_OK)
            break;
        cr_assert_null(right);
        cr_assert_eq(store.outstanding, outstanding);
        expect_same(map, &m);
    }
    records_check(map);
    records_check(right);
    cr_assert_eq(records_count(map) + records_count(right), m.count);
    records_free(map);
    records_free(right);
    model_free(&m);
    cr_assert_eq(store.outstanding, 0);
}

static void put_number(struct records *map, uint32_t n, size_t len)
{
    char key[32];
    int key_len = sprintf(key, "key:%012u", (unsigned)n);
    struct span k = span_of(key, (size_t)key_len);
    cr_assert_eq(put(map, k, n, len, n), DLHT_OK);
}

/* Bytes a record beyond key and value: header, index, tree, holes. */
static double overhead(const struct records *map)
{
    return (double)(records_memory_bytes(map) - records_data_bytes(map)) /
           (double)records_count(map);
}

Test(records, keys_in_order_fill_their_leaves)
{
    enum {
        N = 50000
    };
    struct records *up = records_new(1);
    struct records *down = records_new(1);
    for (uint32_t i = 0; i < N; i++) {
        put_number(up, i, 16);
        put_number(down, N - i, 16);
    }
    records_check(up);
    records_check(down);
    /* 16 header, 13 full leaves, 6 to 13 buckets, up to 20 of a new chunk */
    cr_expect_lt(overhead(up), 66.0, "%g", overhead(up));
    cr_expect_lt(overhead(down), 66.0, "%g", overhead(down));
    records_free(up);
    records_free(down);
}

Test(records, a_small_map_takes_little)
{
    struct records *map = records_new(1);
    cr_expect_lt(records_memory_bytes(map), 2048);
    put_number(map, 1, 16);
    cr_expect_lt(records_memory_bytes(map), 12 << 10);
    records_free(map);
}

Test(records, freed_memory_is_used_again)
{
    struct store store = { 0, -1 };
    struct records *map = map_new(&store, 1);
    uint64_t peak = 0;
    for (uint32_t round = 0; round < 12; round++) {
        for (uint32_t i = 0; i < 5000; i++)
            put_number(map, i, 100 + 37 * (round % 3));
        if (round == 2)
            peak = records_memory_bytes(map);
    }
    cr_expect_leq(records_memory_bytes(map), peak + peak / 8);
    for (uint32_t i = 0; i < 5000; i++) {
        char key[32];
        int len = sprintf(key, "key:%012u", (unsigned)i);
        bool removed;
        cr_assert_eq(records_remove(map, span_of(key, (size_t)len), &removed),
                     DLHT_OK);
        cr_assert(removed);
    }
    records_check(map);
    cr_expect_lt(records_memory_bytes(map), peak / 2,
                 "memory goes back when a map empties");
    records_free(map);
    cr_assert_eq(store.outstanding, 0);
}

Test(records, grows_past_one_segment_of_buckets_and_shrinks_again)
{
    enum {
        N = 345000 /* a segment is for 327680 */
    };
    struct records *map = records_new(11);
    for (uint32_t i = 0; i < N; i++) {
        uint64_t key = hash64_mix(i, 77);
        struct record record = { span_of(&key, 8), span_of(&i, 4), i };
        cr_assert_eq(records_put(map, &record), DLHT_OK);
    }
    for (uint32_t i = 0; i < N; i++) {
        uint64_t key = hash64_mix(i, 77);
        struct record record;
        bool removed;
        cr_assert(records_get(map, span_of(&key, 8), &record));
        cr_assert_eq(record.version, i);
        if (i >= N - N / 50)
            continue;
        cr_assert_eq(records_remove(map, span_of(&key, 8), &removed), DLHT_OK);
        cr_assert(removed);
    }
    records_check(map);
    cr_assert_eq(records_count(map), N / 50);
    for (uint32_t i = N - N / 50; i < N; i++) {
        uint64_t key = hash64_mix(i, 77);
        bool removed;
        cr_assert_eq(records_remove(map, span_of(&key, 8), &removed), DLHT_OK);
    }
    records_check(map);
    cr_expect_eq(records_count(map), 0);
    /* One idle chunk and the first segment of the index. */
    cr_expect_lt(records_memory_bytes(map), 5 << 20);
    records_free(map);
}

/* The share of records that lie right behind the one before in key order. */
static double share_beside(const struct records *map)
{
    size_t beside = 0;
    const uint8_t *end = NULL;
    struct records_cursor cursor;
    bool there = records_seek(map, span_empty(), &cursor);
    for (; there; there = records_next(&cursor)) {
        struct record record = records_at(&cursor);
        const uint8_t *at = record.key.data - 16;
        beside += at == end;
        end = at + (16 + record.key.len + record.value.len + 7) / 8 * 8;
    }
    return (double)beside / (double)records_count(map);
}

static struct span scattered_key(uint32_t i, uint64_t *room)
{
    *room = hash64_mix(i, 5);
    return span_of(room, sizeof *room);
}

Test(records, neighbours_in_order_are_neighbours_in_memory)
{
    enum {
        N = 30000
    };
    struct store store = { 0, -1 };
    struct records *gathered = map_new(&store, 1);
    struct records *loose = map_new(&store, 2);
    loose->gather_from = UINT64_MAX;
    uint64_t room;
    for (uint32_t i = 0; i < N; i++) {
        struct span key = scattered_key(i, &room);
        cr_assert_eq(put(gathered, key, i, 8 + i % 25, i), DLHT_OK);
        cr_assert_eq(put(loose, key, i, 8 + i % 25, i), DLHT_OK);
    }
    records_check(gathered);
    cr_assert_eq(records_digest(gathered), records_digest(loose));
    cr_expect_lt(share_beside(loose), 0.05);
    cr_expect_gt(share_beside(gathered), 0.5, "%g", share_beside(gathered));
    cr_expect_lt(overhead(gathered), overhead(loose) + 48, "%g %g",
                 overhead(gathered), overhead(loose));

    struct records *right;
    cr_assert_eq(records_split(gathered, span_str("\x80"), 3, &right), DLHT_OK);
    records_check(gathered);
    records_check(right);
    cr_expect_gt(share_beside(right), 0.5, "%g", share_beside(right));
    records_free(right);
    records_free(gathered);
    records_free(loose);
    cr_assert_eq(store.outstanding, 0);
}

/* Values that outgrow their places three times, then fifteen of sixteen
 * records go. Returns the memory before, between and after. */
static void make_holes(struct records *map, uint64_t memory[3])
{
    enum {
        N = 30000
    };
    uint64_t room;
    for (uint32_t i = 0; i < N; i++)
        cr_assert_eq(put(map, scattered_key(i, &room), i, 24, i), DLHT_OK);
    memory[0] = records_memory_bytes(map);
    for (uint32_t round = 1; round <= 3; round++) {
        for (uint32_t i = 0; i < N; i++) {
            struct span key = scattered_key(i, &room);
            cr_assert_eq(put(map, key, i, 24 + 16 * round, i), DLHT_OK);
        }
    }
    records_check(map);
    memory[1] = records_memory_bytes(map);
    for (uint32_t i = 0; i < N; i++) {
        bool removed;
        struct span key = scattered_key(i, &room);
        if (i % 16)
            cr_assert_eq(records_remove(map, key, &removed), DLHT_OK);
    }
    records_check(map);
    memory[2] = records_memory_bytes(map);
}

Test(records, holes_beside_neighbours_are_given_up)
{
    struct store store = { 0, -1 };
    struct records *map = map_new(&store, 1);
    struct records *loose = map_new(&store, 2);
    loose->gather_from = UINT64_MAX;
    uint64_t memory[3];
    uint64_t loose_memory[3];
    make_holes(map, memory);
    make_holes(loose, loose_memory);
    cr_assert_eq(records_digest(map), records_digest(loose));
    for (size_t i = 0; i < 3; i++)
        cr_expect_lt(memory[i], loose_memory[i] * 8 / 5, "%zu: %llu %llu", i,
                     (unsigned long long)memory[i],
                     (unsigned long long)loose_memory[i]);
    records_free(map);
    records_free(loose);
    cr_assert_eq(store.outstanding, 0);
}
