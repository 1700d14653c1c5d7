/* SPDX-License-Identifier: Apache-2.0 */

/* Sets of keys beside a table of which keys are in them. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "node/key_ranges.h"

enum {
    KEYS = 40, /* one byte each; the empty one is before them */
    ROUNDS = 300,
    ADDS = 12
};

static uint8_t bytes[KEYS];

static struct span key_of(size_t i)
{
    bytes[i] = (uint8_t)i;
    return i ? span_of(&bytes[i], 1) : span_empty();
}

/* Keys from a on, before b; KEYS: to the last. */
static struct key_range range_of(size_t a, size_t b)
{
    return (struct key_range){ .from = key_of(a),
                               .to = b < KEYS ? key_of(b) : span_empty(),
                               .has_to = b < KEYS };
}

static void check_gaps(const struct key_ranges *set, const bool *in)
{
    for (size_t from = 0; from < KEYS; from++) {
        size_t a = from, b;
        struct key_range gap;
        while (a < KEYS && in[a])
            a++;
        for (b = a; b < KEYS && !in[b];)
            b++;
        bool found = key_ranges_gap(set, key_of(from), &gap);
        cr_assert_eq(found, a < KEYS);
        if (!found)
            continue;
        cr_assert(span_equal(gap.from, key_of(a)));
        cr_assert_eq(gap.has_to, b < KEYS);
        cr_assert(b == KEYS || span_equal(gap.to, key_of(b)));
    }
}

static void check_ranges(const struct key_ranges *set, const bool *in)
{
    for (size_t a = 0; a < KEYS; a++) {
        bool all = true, any = false;
        for (size_t b = a + 1; b <= KEYS; b++) {
            struct key_range range = range_of(a, b);
            all = all && in[b - 1];
            any = any || in[b - 1];
            cr_assert_eq(key_ranges_has(set, &range), all);
            cr_assert_eq(key_ranges_meets(set, &range), any);
        }
    }
}

Test(key_ranges_ask, a_set_has_what_was_added)
{
    struct rng rng;
    rng_init(&rng, 3);
    puts("seed 3");
    for (int round = 0; round < ROUNDS; round++) {
        struct key_ranges set = { 0 };
        bool in[KEYS] = { false };
        for (int add = 0; add < ADDS; add++) {
            size_t a = (size_t)rng_below(&rng, KEYS);
            size_t b = a + (size_t)rng_below(&rng, 5);
            struct key_range range = range_of(a, b < KEYS ? b : KEYS);
            cr_assert_eq(key_ranges_add(&set, &range), DLHT_OK);
            for (size_t i = a; i < b && i < KEYS; i++)
                in[i] = true;
            check_gaps(&set, in);
        }
        check_ranges(&set, in);
        key_ranges_deinit(&set);
    }
}
