/* SPDX-License-Identifier: Apache-2.0 */

/* Loading many records against putting each. */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "store/records.h"
#include "store/records_state.h"

enum {
    LIST_MAX = 300,
    KEY_MAX = 60,
    VALUE_MAX = 20000 /* beyond what an object may be */
};

static uint8_t value_bytes[VALUE_MAX];

struct list {
    size_t count;
    struct record records[LIST_MAX];
    uint8_t keys[LIST_MAX][KEY_MAX];
};

/* What a list of records is like. */
enum order {
    BEHIND,  /* ascending, from a given number on */
    SORTED,  /* ascending */
    REPEATS, /* ascending, with keys that come twice */
    NONE,
    ORDERS
};

static int by_key(const void *a, const void *b)
{
    const struct record *x = a;
    const struct record *y = b;
    return span_compare(x->key, y->key);
}

/* A key that sorts as the number; some are long, so that nodes share much. */
static struct span key_of(uint8_t *bytes, uint64_t number)
{
    size_t len = number % 5 == 0 ? KEY_MAX : 8 + number % 9;
    memset(bytes, 'k', KEY_MAX);
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    return span_of(bytes, len);
}

static void fill(struct list *list, struct rng *rng, enum order order,
                 uint64_t *next)
{
    list->count = rng_below(rng, LIST_MAX + 1);
    for (size_t i = 0; i < list->count; i++) {
        uint64_t number = rng_below(rng, *next + 20);
        if (order == BEHIND)
            number = *next += 1 + rng_below(rng, 3);
        size_t len = rng_below(rng, rng_chance(rng, 0.01) ? VALUE_MAX : 100);
        list->records[i] = (struct record){
            .key = key_of(list->keys[i], number),
            .value = span_of(value_bytes, len),
            .version = rng_next(rng),
        };
        if (order == REPEATS && i > 0 && rng_chance(rng, 0.3))
            list->records[i].key = list->records[i - 1].key;
    }
    if (order != NONE)
        qsort(list->records, list->count, sizeof list->records[0], by_key);
}

static void put_all(struct records *map, const struct list *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(records_put(map, &list->records[i]), DLHT_OK);
}

static void expect_same(const struct records *a, const struct records *b)
{
    cr_assert_eq(records_count(a), records_count(b));
    cr_assert_eq(records_data_bytes(a), records_data_bytes(b));
    cr_assert_eq(records_digest(a), records_digest(b));
}

static void remove_some(struct records *a, struct records *b, struct rng *rng)
{
    for (size_t i = 0; i < 40 && records_count(a) > 0; i++) {
        struct record record;
        bool removed;
        cr_assert(records_nth(a, rng_below(rng, records_count(a)), &record));
        uint8_t bytes[KEY_MAX];
        memcpy(bytes, record.key.data, record.key.len);
        struct span key = span_of(bytes, record.key.len);
        cr_assert_eq(records_remove(a, key, &removed), DLHT_OK);
        cr_assert_eq(records_remove(b, key, &removed), DLHT_OK);
        cr_assert(removed);
    }
}

Test(records_load, a_load_is_as_many_puts)
{
    static struct list list;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        cr_log_info("seed %llu\n", (unsigned long long)seed);
        struct records *map = records_new(seed);
        struct records *other = records_new(seed);
        if (seed % 2) /* as if they were large */
            map->gather_from = other->gather_from = 0;
        uint64_t next = 0;
        for (int i = 0; i < 60; i++) {
            bool behind = rng_chance(&rng, 0.6);
            enum order order =
                behind ? BEHIND : (enum order)rng_below(&rng, ORDERS);
            fill(&list, &rng, order, &next);
            cr_assert_eq(records_load(map, list.records, list.count), DLHT_OK);
            put_all(other, &list, list.count);
            expect_same(map, other);
            if (i % 4 == 0)
                records_check(map);
            if (rng_chance(&rng, 0.2))
                remove_some(map, other, &rng);
        }
        records_check(map);
        records_free(map);
        records_free(other);
    }
}

Test(records_load, an_open_view_does_not_see_it)
{
    static struct list list;
    struct rng rng;
    uint64_t next = 0;
    rng_init(&rng, 4);
    struct records *map = records_new(4);
    do
        fill(&list, &rng, BEHIND, &next);
    while (list.count < 100);
    put_all(map, &list, list.count);
    struct records_snapshot *view = records_snapshot_new(map);
    cr_assert_not_null(view);
    size_t was = records_count(map);
    do
        fill(&list, &rng, BEHIND, &next);
    while (list.count < 100);
    cr_assert_eq(records_load(map, list.records, list.count), DLHT_OK);
    cr_assert_eq(records_count(map), was + list.count);
    size_t seen = 0;
    struct record record;
    while (records_snapshot_next(view, &record))
        seen++;
    cr_assert_eq(seen, was);
    records_snapshot_free(view);
    records_check(map);
    records_free(map);
}

static long takes_left = -1; /* negative: no end */

static void *take(void *self, size_t size)
{
    (void)self;
    if (takes_left == 0)
        return NULL;
    takes_left -= takes_left > 0;
    return aligned_alloc(64, (size + 63) / 64 * 64);
}

static void give(void *self, void *memory, size_t size)
{
    (void)self;
    (void)size;
    free(memory);
}

/* Tried with memory for 0, 1, 2 .. takes until it succeeds; returns how often
 * it did not. other is what puts make of as many. */
static size_t load_at_last(struct records *map, struct records *other,
                           const struct list *list)
{
    size_t failures = 0;
    size_t done = 0;
    for (long n = 0; done < list->count; n++) {
        size_t before = records_count(map);
        takes_left = n;
        int rc = records_load(map, list->records + done, list->count - done);
        takes_left = -1;
        cr_assert(rc == DLHT_OK || rc == DLHT_ENOMEM);
        failures += rc == DLHT_ENOMEM;
        size_t more = records_count(map) - before;
        cr_assert(rc == DLHT_ENOMEM || more == list->count - done);
        for (size_t i = done; i < done + more; i++)
            cr_assert_eq(records_put(other, &list->records[i]), DLHT_OK);
        done += more;
        expect_same(map, other);
        records_check(map);
    }
    return failures;
}

Test(records_load, without_memory_a_beginning_is_there)
{
    static struct list list;
    struct records_pages pages = { take, give, NULL };
    size_t failures = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) { /* small maps grow often */
        struct rng rng;
        uint64_t next = 0;
        rng_init(&rng, seed);
        takes_left = -1;
        struct records *map = records_new_with(seed, &pages);
        struct records *other = records_new(seed);
        for (int i = 0; i < 3; i++) {
            fill(&list, &rng, BEHIND, &next);
            failures += load_at_last(map, other, &list);
        }
        records_free(map);
        records_free(other);
    }
    cr_assert_gt(failures, 1000, "%zu", failures);
}
