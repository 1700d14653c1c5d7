/* SPDX-License-Identifier: Apache-2.0 */

/* What the planner chooses, beside what was measured to be the fastest. */

#include <criterion/criterion.h>

#include "base/rng.h"
#include "vector/filter_plan.h"

/* 100,000 x 128 of int8, k 10: what the planner's constants were fitted to. */
static struct filter_plan_input input_of(uint64_t rows, double share,
                                         double near)
{
    struct filter_plan_input in = { .row_count = rows, .k = 10, .ef = 31 };
    in.match_count = share * (double)rows;
    in.match_exact = true;
    in.bounded = true;
    in.covered = true;
    in.candidate_count = in.match_count;
    in.near = near;
    in.costs = filter_plan_costs_default(128);
    return in;
}

Test(filter_plan, chooses_what_was_fastest)
{
    static const struct {
        uint64_t rows;
        double share, near;
        enum filter_plan_way want;
        const char *why;
    } table[] = {
        { 100000, 0.01, 1, FILTER_PLAN_SCAN, "70,000 q/s against 765" },
        { 100000, 0.10, 1, FILTER_PLAN_SCAN, "13,000 against 9,670" },
        { 100000, 0.50, 1, FILTER_PLAN_PLAIN, "37,200 against 1,060" },
        { 100000, 0.01, 0.3, FILTER_PLAN_SCAN, "72,600 against 11,700" },
        { 100000, 0.10, 0.4, FILTER_PLAN_SCAN, "13,900 against 9,800" },
        { 100000, 0.99, 1, FILTER_PLAN_PLAIN, "nearly all" },
        { 100000, 0.2, 5, FILTER_PLAN_PLAIN, "all near the query" },
        { 1000000, 0.001, 1, FILTER_PLAN_SCAN, "1,000 rows" },
        { 1000000, 0.10, 1, FILTER_PLAN_PLAIN, "100,000 are too many" },
        { 1000000, 0.10, 0.3, FILTER_PLAN_SECOND_HOP, "they lie together" },
        { 10000000, 0.01, 0.2, FILTER_PLAN_SECOND_HOP, "they lie together" },
        { 3000, 0.5, 1, FILTER_PLAN_SCAN, "a small set" },
        { 100000, 0.0003, 1, FILTER_PLAN_SCAN, "no more than 4 k" },
        { 100000, 0, 1, FILTER_PLAN_NOTHING, "none" },
        { 0, 0, 1, FILTER_PLAN_NOTHING, "no rows" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct filter_plan_input in =
            input_of(table[i].rows, table[i].share, table[i].near);
        struct filter_plan plan = filter_plan_choose(&in);
        cr_expect_eq(plan.way, table[i].want,
                     "%s: %zu rows, %g pass, near %g: %s; scan %.0f, plain "
                     "%.0f, second hop %.0f ns",
                     table[i].why, (size_t)table[i].rows, table[i].share,
                     table[i].near, filter_plan_name(plan.way), plan.scan_ns,
                     plan.plain_ns, plan.second_hop_ns);
    }
}

/* As more pass: a scan, then perhaps the second hop, then the plain walk; never
 * back. As the set grows: the scan ends at a smaller share. */
Test(filter_plan, changes_its_mind_once)
{
    double before = 1;
    for (uint64_t rows = 30000; rows <= 30000000; rows *= 10) {
        int stage = 0;
        double scan_up_to = 0;
        for (double share = 1e-5; share <= 1; share *= 1.02) {
            struct filter_plan_input in = input_of(rows, share, 1);
            struct filter_plan plan = filter_plan_choose(&in);
            int now = plan.way == FILTER_PLAN_PLAIN        ? 2
                      : plan.way == FILTER_PLAN_SECOND_HOP ? 1
                                                           : 0;
            cr_assert_geq(now, stage, "%zu rows, %g", (size_t)rows, share);
            stage = now;
            if (now == 0)
                scan_up_to = share;
        }
        cr_assert_eq(stage, 2);
        cr_assert_lt(scan_up_to, before, "%zu rows: %g", (size_t)rows,
                     scan_up_to);
        before = scan_up_to;
    }
}

Test(filter_plan, knows_what_an_index_is_worth)
{
    struct filter_plan_input in = input_of(1000000, 0.005, 1);
    struct filter_plan plan = filter_plan_choose(&in);
    cr_assert_eq(plan.way, FILTER_PLAN_SCAN);
    cr_assert(plan.by_index);
    in.bounded = in.covered = in.match_exact = false;
    in.candidate_count = 1000000;
    plan = filter_plan_choose(&in);
    cr_assert_neq(plan.way, FILTER_PLAN_SCAN, "a million rows would be asked");
    cr_assert(!plan.by_index);
    in.match_count = 20;
    plan = filter_plan_choose(&in);
    cr_assert_eq(plan.way, FILTER_PLAN_SCAN, "few: no walk finds them");
}

Test(filter_plan, wants_k_whenever_k_exist)
{
    struct filter_plan_input in = input_of(100000, 0.5, 1);
    cr_assert(!filter_plan_needs_scan(&in, 10));
    cr_assert(filter_plan_needs_scan(&in, 9));
    in.match_count = 7;
    cr_assert(!filter_plan_needs_scan(&in, 7));
    cr_assert(filter_plan_needs_scan(&in, 6));
    in.match_exact = false;
    cr_assert(filter_plan_needs_scan(&in, 7));
}

Test(filter_plan, learns_from_the_first_steps)
{
    cr_assert_float_eq(filter_plan_near(0, 0, 0.1), 1, 1e-9);
    cr_assert_float_eq(filter_plan_near(1000, 100, 0.1), 1, 1e-9);
    cr_assert_lt(filter_plan_near(1000, 10, 0.1), 0.2);
    cr_assert_gt(filter_plan_near(1000, 500, 0.1), 4);
    cr_assert_gt(filter_plan_near(20, 0, 0.1), 0.7, "few steps say little");
    cr_assert_float_eq(filter_plan_near(10, 0, 0), 1, 1e-9);
}

/* Whatever is given, the answer is one. */
Test(filter_plan, answers_anything)
{
    struct rng rng;
    rng_init(&rng, 20261122);
    for (int i = 0; i < 20000; i++) {
        uint64_t rows = rng_next(&rng) >> rng_range(&rng, 33, 63);
        struct filter_plan_input in =
            input_of(rows, rng_real(&rng), 4 * rng_real(&rng) + 1e-6);
        in.k = (uint32_t)rng_range(&rng, 1, 1000);
        in.ef = (uint32_t)rng_range(&rng, in.k, 2000);
        in.bounded = rng_chance(&rng, 0.5);
        in.covered = in.bounded && rng_chance(&rng, 0.5);
        in.match_exact = rng_chance(&rng, 0.5);
        if (!in.bounded)
            in.candidate_count = (double)rows;
        struct filter_plan plan = filter_plan_choose(&in);
        bool walks =
            plan.way == FILTER_PLAN_PLAIN || plan.way == FILTER_PLAN_SECOND_HOP;
        cr_assert_eq(walks, plan.ef > 0);
        cr_assert(!plan.by_index || in.bounded);
        cr_assert(plan.cost_ns >= 0 && plan.cost_ns < 1e15);
        if (walks)
            cr_assert_gt(in.match_count, in.k);
    }
}
