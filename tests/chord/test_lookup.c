/* SPDX-License-Identifier: Apache-2.0 */

#include "chord/lookup.h"

#include <criterion/criterion.h>

#include "chord/arcs.h"
#include "chord/fail_alloc.h"
#include "dlht/err.h"

/* Arcs 1 to 4 are [b,d), [d,h), [m,p) and [t,). */
static const struct {
    const char *key;
    arc_id from;
    arc_id next; /* 0: none */
    const char *why;
} hops[] = {
    { "c", 0, 1, "the holder" },
    { "c", 4, 1, "the holder, across the end" },
    { "c", 1, 0, "it is there" },
    { "k", 0, 2, "the nearest before a gap" },
    { "k", 1, 2, "nearer" },
    { "k", 2, 0, "nobody is nearer" },
    { "a", 0, 4, "before all: the last" },
    { "a", 3, 4, "nearer, going up" },
    { "a", 4, 0, "nobody is nearer" },
    { "a", 1, 4, "one that stands behind the key is farthest" },
    { "m", 2, 3, "lo belongs" },
};

static void fill(struct map *map, struct arc *arcs)
{
    arcs[1] = arcs_make(1, "b", "d", 1);
    arcs[2] = arcs_make(2, "d", "h", 1);
    arcs[3] = arcs_make(3, "m", "p", 1);
    arcs[4] = arcs_make(4, "t", NULL, 1);
    bool news;
    for (size_t i = 1; i <= 4; i++)
        cr_assert_eq(map_notice(map, &arcs[i], &news), DLHT_OK);
}

Test(lookup, forwards_to_the_nearest_that_is_nearer)
{
    struct map *map = map_new(8);
    struct arc arcs[5];
    fill(map, arcs);
    struct lookup_view view = { .known = map };
    for (size_t i = 0; i < sizeof hops / sizeof *hops; i++) {
        const struct arc *from = hops[i].from ? &arcs[hops[i].from] : NULL;
        const struct arc *next =
            lookup_next_hop(&view, span_str(hops[i].key), from);
        cr_expect_eq(next ? next->id : 0, hops[i].next, "%s: %s", hops[i].key,
                     hops[i].why);
    }
    map_free(map);
}

Test(lookup, knows_nothing_and_says_so)
{
    struct map *map = map_new(8);
    struct lookup_view view = { .known = map };
    cr_expect_null(lookup_next_hop(&view, span_str("x"), NULL));
    view.known = NULL;
    cr_expect_null(lookup_next_hop(&view, span_str("x"), NULL));
    map_free(map);
}

Test(lookup, collects_before_and_after)
{
    struct map *map = map_new(8);
    struct arc arcs[5];
    fill(map, arcs);
    struct lookup_view view = { .known = map };
    struct lookup_nearest before = { .key = span_str("k"), .count_max = 3 };
    before.except = 1;
    lookup_offer_view(&before, &view);
    cr_assert_eq(before.count, 3);
    cr_expect(before.arcs[0]->id == 2 && before.arcs[1]->id == 4 &&
              before.arcs[2]->id == 3);
    struct lookup_nearest after = { .key = span_str("m"), .count_max = 2 };
    after.after = true;
    lookup_offer_view(&after, &view);
    cr_assert_eq(after.count, 2);
    cr_expect(after.arcs[0]->id == 3 && after.arcs[1]->id == 4);
    map_free(map);
}

static void add(struct lookup *lookup, const struct arc *arc)
{
    cr_assert_eq(lookup_add(lookup, arc), DLHT_OK);
}

Test(lookup, asks_the_nearest_first_and_none_twice)
{
    struct map *map = map_new(8);
    struct arc arcs[5];
    fill(map, arcs);
    struct lookup lookup;
    cr_assert_eq(lookup_init(&lookup, span_str("n"), 4), DLHT_OK);
    cr_expect_null(lookup_next(&lookup));
    add(&lookup, &arcs[1]);
    add(&lookup, &arcs[2]);
    add(&lookup, &arcs[1]);
    add(&lookup, &arcs[4]);
    cr_assert_eq(lookup_next(&lookup)->id, 2);
    lookup_failed(&lookup);
    add(&lookup, &arcs[2]);
    cr_assert_eq(lookup_next(&lookup)->id, 1, "2 was asked, 4 is excepted");
    cr_expect_eq(lookup_answered(&lookup, &arcs[1]), DLHT_OK);
    cr_expect_null(lookup_next(&lookup));
    cr_expect_not(lookup.done);
    add(&lookup, &arcs[3]);
    struct arc liar = arcs[3];
    liar.lo = span_str("l");
    cr_expect_eq(lookup_answered(&lookup, &liar), DLHT_OK);
    cr_expect_null(lookup_next(&lookup), "it stands elsewhere");
    cr_expect_not(lookup.done);
    lookup_deinit(&lookup);
    cr_assert_eq(lookup_init(&lookup, span_str("n"), 0), DLHT_OK);
    add(&lookup, &arcs[3]);
    if (fail_alloc_works()) {
        fail_alloc_nth(1);
        cr_expect_eq(lookup_add(&lookup, &arcs[2]), DLHT_ENOMEM);
    }
    cr_expect_eq(lookup_answered(&lookup, &arcs[3]), DLHT_OK);
    cr_expect(lookup.done && lookup.best->id == 3);
    lookup_deinit(&lookup);
    map_free(map);
}

/* Each answer names an arc a little nearer, for ever. */
Test(lookup, has_a_last_hop)
{
    struct lookup lookup;
    cr_assert_eq(lookup_init(&lookup, span_str("z"), 0), DLHT_OK);
    size_t asked = 0;
    for (unsigned i = 1; i < 200; i++) {
        uint8_t lo[2] = { 'a', (uint8_t)i };
        struct arc arc = { .id = i, .lo = span_of(lo, 2), .has_hi = true };
        uint8_t hi[2] = { 'a', (uint8_t)(i + 1) };
        arc.hi = span_of(hi, 2);
        add(&lookup, &arc);
        if (!lookup_next(&lookup))
            break;
        cr_assert_eq(lookup_answered(&lookup, &arc), DLHT_OK);
        asked++;
    }
    cr_expect_eq(asked, LOOKUP_HOPS_MAX + 1);
    lookup_deinit(&lookup);
}
