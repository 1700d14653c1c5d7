/* SPDX-License-Identifier: Apache-2.0 */

/* Sets of keys, against a table of which of 64 keys are in. */

#include "node/key_ranges.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/rng.h"
#include "dlht/err.h"

enum {
    KEYS = 64 /* "00" to "63"; key 0 stands for the first of all */
};

static char names[KEYS + 1][3];

static struct span name(size_t i)
{
    snprintf(names[i], sizeof names[i], "%02u", (unsigned)i % 100);
    return i ? span_str(names[i]) : span_empty();
}

static struct key_range range_of(size_t from, size_t to)
{
    struct key_range r = { .from = name(from), .has_to = to < KEYS };
    if (r.has_to)
        r.to = name(to);
    return r;
}

/* What is in the set by its list, which must be ascending and none touching. */
static void read_list(const struct key_ranges *set, bool in[KEYS])
{
    for (size_t k = 0; k < KEYS; k++) {
        in[k] = false;
        for (size_t i = 0; i < set->count; i++) {
            const struct key_range *r = &set->list[i];
            in[k] = in[k] || (span_compare(name(k), r->from) >= 0 &&
                              (!r->has_to || span_compare(name(k), r->to) < 0));
        }
    }
    for (size_t i = 1; i < set->count; i++) {
        cr_assert(set->list[i - 1].has_to);
        cr_assert_lt(span_compare(set->list[i - 1].to, set->list[i].from), 0);
    }
}

/* The same by its gaps. */
static void read_gaps(const struct key_ranges *set, bool in[KEYS])
{
    struct span from = span_empty();
    struct key_range gap;
    for (size_t k = 0; k < KEYS; k++)
        in[k] = true;
    while (key_ranges_gap(set, from, &gap)) {
        cr_assert(!gap.has_to || span_compare(gap.from, gap.to) < 0);
        for (size_t k = 0; k < KEYS; k++)
            if (span_compare(name(k), gap.from) >= 0 &&
                (!gap.has_to || span_compare(name(k), gap.to) < 0))
                in[k] = false;
        if (!gap.has_to)
            break;
        from = gap.to;
    }
}

static void add_one(struct rng *rng, struct key_ranges *set, bool truth[KEYS])
{
    size_t from = (size_t)rng_below(rng, KEYS);
    size_t len = (size_t)rng_below(rng, rng_chance(rng, 0.8) ? 6 : KEYS);
    size_t to = from + len < KEYS ? from + len : KEYS;
    struct key_range r = range_of(from, to);
    cr_assert_eq(key_ranges_add(set, &r), DLHT_OK);
    for (size_t k = from; k < to; k++)
        truth[k] = true;
}

Test(key_ranges, hold_what_was_added_and_nothing_else)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct key_ranges set = { 0 };
        bool truth[KEYS] = { false }, in[KEYS];
        struct rng rng;
        rng_init(&rng, seed);
        for (int step = 0; step < 40; step++) {
            bool all = true;
            add_one(&rng, &set, truth);
            read_list(&set, in);
            for (size_t k = 0; k < KEYS; k++) {
                cr_assert_eq(in[k], truth[k], "seed %lu, step %d, key %zu",
                             (unsigned long)seed, step, k);
                all = all && truth[k];
            }
            read_gaps(&set, in);
            for (size_t k = 0; k < KEYS; k++)
                cr_assert_eq(in[k], truth[k], "seed %lu, step %d, gap %zu",
                             (unsigned long)seed, step, k);
            cr_assert_eq(key_ranges_is_all(&set), all);
        }
        key_ranges_deinit(&set);
    }
}

Test(key_ranges, meet_where_they_have_a_key_in_common)
{
    for (size_t a = 0; a < 6; a++)
        for (size_t b = a; b <= 6; b++)
            for (size_t c = 0; c < 6; c++)
                for (size_t d = c; d <= 6; d++) {
                    struct key_range x = range_of(a, b == 6 ? KEYS : b);
                    struct key_range y = range_of(c, d == 6 ? KEYS : d);
                    bool meets = (a > c ? a : c) < (b < d ? b : d);
                    cr_expect_eq(key_range_meets(&x, &y), meets,
                                 "[%zu, %zu) and [%zu, %zu)", a, b, c, d);
                }
}

Test(key_ranges, keep_no_pointer_to_what_was_added)
{
    struct key_ranges set = { 0 };
    char from[] = "b", to[] = "d";
    struct key_range r = { span_str(from), span_str(to), true }, gap;
    cr_assert_eq(key_ranges_add(&set, &r), DLHT_OK);
    from[0] = to[0] = 'x';
    cr_assert(key_ranges_gap(&set, span_empty(), &gap));
    cr_expect(gap.has_to && span_equal(gap.to, span_str("b")));
    cr_assert(key_ranges_gap(&set, span_str("c"), &gap));
    cr_expect(!gap.has_to && span_equal(gap.from, span_str("d")));
    struct key_range none = { span_str("q"), span_str("q"), true };
    cr_assert_eq(key_ranges_add(&set, &none), DLHT_OK);
    cr_expect_eq(set.count, 1);
    key_ranges_deinit(&set);
}
