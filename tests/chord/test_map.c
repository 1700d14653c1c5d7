/* SPDX-License-Identifier: Apache-2.0 */

#include "chord/map.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "chord/arcs.h"
#include "chord/fail_alloc.h"
#include "dlht/err.h"

enum {
    MANY = 10000
};

static bool notice(struct map *map, const struct arc *arc)
{
    bool news = false;
    cr_assert_eq(map_notice(map, arc, &news), DLHT_OK);
    map_check(map);
    return news;
}

static bool same_arc(const struct arc *a, const struct arc *b)
{
    return a->id == b->id && span_equal(a->lo, b->lo) &&
           a->has_hi == b->has_hi && (!a->has_hi || span_equal(a->hi, b->hi)) &&
           a->generation == b->generation && a->term == b->term &&
           a->member_count == b->member_count && id_equal(&a->owner, &b->owner);
}

/* A descriptor arrives at a map of [,m) and [m,) at generation 5. */
static const struct {
    arc_id id;
    const char *lo, *hi;
    uint64_t generation;
    bool news;
    size_t count;
    const char *why;
} arrivals[] = {
    { 1, "", "m", 5, false, 2, "known already" },
    { 1, "", NULL, 4, false, 2, "the parent does not come back" },
    { 9, "a", "b", 4, false, 2, "older, inside" },
    { 9, "a", "z", 4, false, 2, "older, across" },
    { 1, "", "m", 6, true, 2, "moved" },
    { 1, "", "c", 6, true, 2, "left child: its right sibling is a gap" },
    { 9, "c", "m", 6, true, 2, "right child drops the parent" },
    { 9, "c", "d", 6, true, 2, "a grandchild drops the parent" },
    { 1, "", NULL, 6, true, 1, "merged" },
    { 9, "x", NULL, 6, true, 2, "right grandchild drops the right one" },
    { 9, "c", "x", 6, true, 1, "a newer arc drops all it touches" },
    { 1, "t", "u", 6, true, 1, "an id is known once, even if a stranger lies" },
    { 0, "a", "b", 9, false, 2, "no id" },
    { 9, "b", "a", 9, false, 2, "hi before lo" },
    { 9, "b", "b", 9, false, 2, "empty" },
};

Test(map, keeps_the_higher_generation)
{
    for (size_t i = 0; i < sizeof arrivals / sizeof *arrivals; i++) {
        struct map *map = map_new(2);
        struct arc left = arcs_make(1, "", "m", 5);
        struct arc right = arcs_make(2, "m", NULL, 5);
        cr_assert(notice(map, &left) && notice(map, &right));
        struct arc arc = arcs_make(arrivals[i].id, arrivals[i].lo,
                                   arrivals[i].hi, arrivals[i].generation);
        const char *why = arrivals[i].why;
        cr_expect_eq(notice(map, &arc), arrivals[i].news, "%s", why);
        cr_expect_eq(map_count(map), arrivals[i].count, "%s", why);
        const struct arc *known = map_by_id(map, arc.id);
        if (arrivals[i].news)
            cr_expect(known && same_arc(known, &arc), "%s", why);
        map_free(map);
    }
}

Test(map, a_refused_descriptor_changes_nothing)
{
    struct map *map = map_new(8);
    struct arc left = arcs_make(1, "", "m", 3);
    struct arc right = arcs_make(2, "m", NULL, 7);
    cr_assert(notice(map, &left) && notice(map, &right));
    uint64_t digest = map_digest(map);
    struct arc across = arcs_make(9, "k", "p", 5);
    cr_expect_not(notice(map, &across));
    cr_expect_eq(map_digest(map), digest);
    cr_expect_eq(map_count(map), 2);
    map_free(map);
}

Test(map, a_higher_term_is_news_of_the_owner)
{
    struct map *map = map_new(1);
    struct arc arc = arcs_make(1, "", NULL, 3);
    arc.term = 4;
    cr_expect(notice(map, &arc));
    uint64_t digest = map_digest(map);
    arc.term = 3;
    cr_expect_not(notice(map, &arc));
    arc.term = 5;
    arc.owner.bytes[0] = 7;
    cr_expect(notice(map, &arc));
    cr_expect_neq(map_digest(map), digest);
    cr_expect_eq(map_by_id(map, 1)->owner.bytes[0], 7);
    map_free(map);
}

Test(map, is_full_at_its_bound_and_unharmed)
{
    struct map *map = map_new(2);
    struct arc arcs[] = { arcs_make(1, "a", "b", 1), arcs_make(2, "b", "c", 1),
                          arcs_make(3, "c", "d", 1),
                          arcs_make(4, "b", "d", 2) };
    cr_expect(notice(map, &arcs[0]) && notice(map, &arcs[1]));
    bool news = true;
    cr_expect_eq(map_notice(map, &arcs[2], &news), DLHT_EFULL);
    cr_expect_not(news);
    map_check(map);
    cr_expect_eq(map_count(map), 2);
    cr_expect(notice(map, &arcs[3]), "it takes the place of another");
    map_free(map);
}

Test(map, tells_of_keys_that_no_arc_has)
{
    struct map *map = map_new(2);
    struct arc gap = { 0 };
    cr_expect(map_gap_at(map, span_str("x"), &gap) && !gap.has_hi);
    struct arc left = arcs_make(1, "c", "m", 3),
               right = arcs_make(2, "p", "t", 3);
    cr_expect(notice(map, &right) && notice(map, &left));
    static const struct {
        const char *key, *hi; /* hi NULL: to the end; "": no gap */
    } rows[] = { { "", "c" },  { "b", "c" }, { "c", "" }, { "l", "" },
                 { "m", "p" }, { "o", "p" }, { "p", "" }, { "t", NULL } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *hi = rows[i].hi;
        bool is = map_gap_at(map, span_str(rows[i].key), &gap);
        cr_expect_eq(is, !hi || *hi, "%s", rows[i].key);
        if (!is)
            continue;
        cr_expect(span_equal(gap.lo, span_str(rows[i].key)));
        cr_expect_eq(gap.has_hi, hi != NULL);
        cr_expect(!hi || span_equal(gap.hi, span_str(hi)), "%s", rows[i].key);
    }
    map_free(map);
}

Test(map, forgets_up_to_a_generation)
{
    struct map *map = map_new(2);
    struct arc arc = arcs_make(1, "", NULL, 3);
    cr_expect(notice(map, &arc));
    map_forget(map, 1, 2);
    map_forget(map, 2, 9);
    cr_expect_eq(map_count(map), 1);
    map_forget(map, 1, 3);
    cr_expect_eq(map_count(map), 0);
    cr_expect_null(map_find(map, span_str("x"), SIZE_MAX));
    cr_expect_eq(map_digest(map), 0);
    map_check(map);
    map_free(map);
}

/* The map is [b,d) and [m,p). */
static const struct {
    const char *key;
    arc_id found;
    const char *why;
} finds[] = {
    { "a", 2, "before all: wraps to the last" },
    { "", 2, "the first key wraps too" },
    { "b", 1, "lo belongs" },
    { "c", 1, "inside" },
    { "d", 1, "in the gap: greatest lo before" },
    { "m", 2, "lo of the last" },
    { "z", 2, "after all" },
};

Test(map, finds_the_holder_or_the_nearest_before)
{
    struct map *map = map_new(8);
    struct arc one = arcs_make(1, "b", "d", 1);
    struct arc two = arcs_make(2, "m", "p", 1);
    cr_assert(notice(map, &one) && notice(map, &two));
    cr_expect_not(map_is_whole(map));
    for (size_t i = 0; i < sizeof finds / sizeof *finds; i++) {
        struct span key = span_str(finds[i].key);
        for (size_t guess = 0; guess < 4; guess++)
            cr_expect_eq(map_find(map, key, guess)->id, finds[i].found, "%s",
                         finds[i].why);
        cr_expect_eq(map_find(map, key, SIZE_MAX)->id, finds[i].found, "%s",
                     finds[i].why);
    }
    map_free(map);
}

/* The same rules without any structure. */
struct model {
    struct arc **arcs;
    size_t count;
};

static bool model_notice(struct model *m, const struct arc *arc)
{
    if (!arc_is_sane(arc))
        return false;
    for (size_t i = 0; i < m->count; i++) {
        const struct arc *a = m->arcs[i];
        if (a->id == arc->id && !arc_is_newer(arc, a))
            return false;
        if (a->id != arc->id && arc_overlaps(a, arc) &&
            (a->generation > arc->generation ||
             (a->generation == arc->generation && a->id > arc->id)))
            return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (m->arcs[i]->id == arc->id || arc_overlaps(m->arcs[i], arc))
            arc_free(m->arcs[i]);
        else
            m->arcs[kept++] = m->arcs[i];
    }
    m->arcs[kept] = arc_copy(arc);
    m->count = kept + 1;
    return true;
}

static const struct arc *model_find(const struct model *m, struct span key)
{
    const struct arc *best = NULL;
    const struct arc *last = NULL;
    for (size_t i = 0; i < m->count; i++) {
        const struct arc *a = m->arcs[i];
        if (!last || span_compare(a->lo, last->lo) > 0)
            last = a;
        if (span_compare(a->lo, key) <= 0 &&
            (!best || span_compare(a->lo, best->lo) > 0))
            best = a;
    }
    return best ? best : last;
}

static void expect_equal(const struct map *map, const struct model *m,
                         uint64_t seed)
{
    cr_assert_eq(map_count(map), m->count, "seed %lu", (unsigned long)seed);
    for (size_t i = 0; i < m->count; i++) {
        const struct arc *known = map_by_id(map, m->arcs[i]->id);
        cr_assert(known && same_arc(known, m->arcs[i]), "seed %lu",
                  (unsigned long)seed);
    }
}

/* Any descriptor at all, true of no history. */
Test(map, agrees_with_a_model_on_anything)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct map *map = map_new(64);
        struct model model = { calloc(64, sizeof(struct arc *)), 0 };
        for (int step = 0; step < 400; step++) {
            uint8_t lo[2] = { (uint8_t)rng_below(&rng, 24), 0 };
            uint8_t hi[2] = { (uint8_t)(lo[0] + rng_below(&rng, 8)), 0 };
            struct arc arc = { .id = rng_below(&rng, 20),
                               .generation = rng_below(&rng, 40),
                               .term = rng_below(&rng, 3),
                               .has_hi = rng_below(&rng, 20) > 0 };
            arc.lo = span_of(lo, rng_below(&rng, 3));
            arc.hi = span_of(hi, rng_below(&rng, 3));
            cr_assert_eq(notice(map, &arc), model_notice(&model, &arc),
                         "seed %lu step %d", (unsigned long)seed, step);
            expect_equal(map, &model, seed);
            uint8_t byte = (uint8_t)rng_below(&rng, 30);
            struct span key = span_of(&byte, 1);
            size_t guess = rng_below(&rng, map_count(map) + 2);
            const struct arc *found = map_find(map, key, guess);
            const struct arc *right = model_find(&model, key);
            cr_assert(found ? right && found->id == right->id : !right,
                      "seed %lu step %d", (unsigned long)seed, step);
        }
        for (size_t i = 0; i < model.count; i++)
            arc_free(model.arcs[i]);
        free(model.arcs);
        map_free(map);
    }
}

static void shuffle(struct rng *rng, const struct arc **list, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = rng_below(rng, i);
        const struct arc *held = list[i - 1];
        list[i - 1] = list[j];
        list[j] = held;
    }
}

static void expect_truth(const struct map *map, const struct history *h,
                         uint64_t seed)
{
    cr_assert_eq(map_count(map), h->truth_count, "seed %lu",
                 (unsigned long)seed);
    for (size_t i = 0; i < h->truth_count; i++)
        cr_assert(same_arc(map_at(map, i), h->truth[i]), "seed %lu arc %zu",
                  (unsigned long)seed, i);
    cr_assert(map_is_whole(map), "seed %lu", (unsigned long)seed);
}

Test(map, news_in_any_order_ends_in_the_truth)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct history h;
        history_init(&h, seed, 60);
        for (int i = 0; i < 300; i++)
            history_step(&h);
        const struct arc **order = calloc(h.news_count, sizeof *order);
        for (size_t i = 0; i < h.news_count; i++)
            order[i] = h.news[i];
        uint64_t digest = 0;
        for (int peer = 0; peer < 4; peer++) {
            struct map *map = map_new(400);
            shuffle(&h.rng, order, h.news_count);
            for (size_t i = 0; i < h.news_count; i++) {
                notice(map, order[i]);
                notice(map, order[rng_below(&h.rng, i + 1)]);
            }
            expect_truth(map, &h, seed);
            if (peer > 0)
                cr_assert_eq(map_digest(map), digest, "seed %lu",
                             (unsigned long)seed);
            digest = map_digest(map);
            map_free(map);
        }
        free(order);
        history_deinit(&h);
    }
}

Test(map, is_unharmed_by_lack_of_memory)
{
    if (!fail_alloc_works())
        cr_skip_test("allocations cannot be made to fail here");
    struct history h;
    history_init(&h, 77, 60);
    for (int i = 0; i < 300; i++)
        history_step(&h);
    struct map *map = map_new(400);
    uint64_t failures = 0;
    for (size_t i = 0; i < h.news_count; i++) {
        uint64_t digest = map_digest(map);
        size_t count = map_count(map);
        bool news = true;
        int rc = DLHT_ENOMEM;
        for (uint64_t n = 1; rc == DLHT_ENOMEM; n++) {
            fail_alloc_nth(n);
            rc = map_notice(map, h.news[i], &news);
            fail_alloc_nth(0);
            map_check(map);
            if (rc == DLHT_ENOMEM) {
                cr_assert_not(news);
                cr_assert_eq(map_digest(map), digest);
                cr_assert_eq(map_count(map), count);
            }
        }
        cr_assert_eq(rc, DLHT_OK);
        failures += fail_alloc_count();
    }
    cr_expect_gt(failures, h.news_count);
    expect_truth(map, &h, 77);
    map_free(map);
    history_deinit(&h);
}

static double ns_since(clock_t start, size_t count)
{
    return (double)(clock() - start) * 1e9 / CLOCKS_PER_SEC / (double)count;
}

/* Figures, not bounds: the machine is shared. */
static void print_find_ns(const struct map *map, struct rng *rng)
{
    enum {
        KEYS = 4096,
        ROUNDS = 100
    };
    static uint8_t keys[KEYS][8];
    static size_t near[KEYS];
    for (size_t i = 0; i < KEYS; i++) {
        uint64_t position = rng_next(rng);
        for (size_t j = 0; j < 8; j++)
            keys[i][j] = (uint8_t)(position >> (56 - 8 * j));
        near[i] = (size_t)((double)position * 0x1p-64 * MANY);
    }
    for (int guided = 0; guided < 2; guided++) {
        uint64_t sum = 0;
        clock_t start = clock();
        for (size_t i = 0; i < (size_t)KEYS * ROUNDS; i++) {
            size_t k = i % KEYS;
            size_t guess = guided ? near[k] : SIZE_MAX;
            sum += map_find(map, span_of(keys[k], 8), guess)->id;
        }
        fprintf(stderr, "map_find, %d arcs, %s: %.0f ns (%lu)\n", MANY,
                guided ? "good guess" : "no guess",
                ns_since(start, (size_t)KEYS * ROUNDS),
                (unsigned long)(sum & 1));
    }
}

Test(map, holds_ten_thousand_arcs)
{
    struct history h;
    history_init(&h, 42, MANY);
    history_cut_evenly(&h, MANY);
    const struct arc **order = calloc(h.news_count, sizeof *order);
    for (size_t i = 0; i < h.news_count; i++)
        order[i] = h.news[i];
    shuffle(&h.rng, order, h.news_count);
    struct map *map = map_new(MANY);
    bool news;
    clock_t start = clock();
    for (size_t i = 0; i < h.news_count; i++)
        cr_assert_eq(map_notice(map, order[i], &news), DLHT_OK);
    fprintf(stderr, "map_notice, %zu news up to %d arcs: %.0f ns\n",
            h.news_count, MANY, ns_since(start, h.news_count));
    map_check(map);
    expect_truth(map, &h, 42);
    print_find_ns(map, &h.rng);
    free(order);
    history_deinit(&h);
    map_free(map);
}
