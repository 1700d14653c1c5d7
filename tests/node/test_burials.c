/* SPDX-License-Identifier: Apache-2.0 */

#include "node/burials.h"

#include <criterion/criterion.h>

#include <stdlib.h>

#include "dlht/err.h"

Test(burials, are_found_whatever_their_order)
{
    struct rng rng;
    rng_init(&rng, 4);
    struct node *node = calloc(1, sizeof *node);
    enum {
        ARCS = 50,
        IDS = 40
    };
    static bool there[ARCS][IDS];
    size_t count = 0;
    for (int i = 0; i < 3000; i++) {
        size_t arc = (size_t)rng_below(&rng, ARCS);
        size_t id = (size_t)rng_below(&rng, IDS);
        cr_assert_eq(burials_has(node, arc + 1, id), there[arc][id]);
        if (rng_chance(&rng, 0.5))
            continue;
        cr_assert_eq(burials_add(node, arc + 1, id, !there[arc][id]), DLHT_OK);
        count += !there[arc][id];
        there[arc][id] = true;
        cr_assert_eq(node->tombstone_count, count);
    }
    for (size_t arc = 0; arc < ARCS; arc++) {
        size_t from, to, want = 0;
        burials_of(node, arc + 1, &from, &to);
        for (size_t id = 0; id < IDS; id++)
            want += there[arc][id];
        cr_expect_eq(to - from, want);
        for (size_t i = from; i < to; i++) {
            cr_expect_eq(node->tombstones[i].arc, arc + 1);
            cr_expect(node->tombstones[i].fresh, "what is there stays");
        }
    }
    free(node->tombstones);
    free(node);
}

Test(burials, have_a_limit)
{
    struct node *node = calloc(1, sizeof *node);
    for (uint64_t i = 0; i < BURIALS_MAX; i++)
        cr_assert_eq(burials_add(node, 1 + i / 8, i, false), DLHT_OK);
    cr_expect_eq(burials_add(node, 1, BURIALS_MAX, false), DLHT_EFULL);
    cr_expect_eq(burials_add(node, 1, 7, false), DLHT_OK, "it is there");
    cr_expect(burials_has(node, 1 + 999999 / 8, 999999));
    free(node->tombstones);
    free(node);
}
