/* SPDX-License-Identifier: Apache-2.0 */

/* The simulator tested by a fake node: a right one passes, each wrong one is
 * caught, and one seed gives one hash. */

#include <criterion/criterion.h>

#include "sim/fake_node.h"
#include "sim/fault.h"
#include "sim/scenario.h"

static void run(const char *name, uint64_t seed, struct scenario_result *r)
{
    struct scenario_options options = { .seed = seed };
    const struct scenario *scenario = scenario_find(name);
    cr_assert_not_null(scenario, "%s", name);
    scenario_run(scenario, &options, r);
}

Test(world, a_right_node_passes, .timeout = 60)
{
    uint32_t faults = 0;
    uint64_t ops = 0, unknown = 0;
    fake_wrong = FAKE_RIGHT;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct scenario_result r;
        run("five_faults", seed, &r);
        cr_assert_null(r.invariant, "seed %llu: %s: %s",
                       (unsigned long long)seed, r.invariant, r.text);
        faults |= r.faults;
        ops += r.ops;
        unknown += r.unknown;
    }
    /* Not for want of trying. */
    cr_expect_eq(faults & FAULT_POWER, FAULT_POWER);
    cr_expect_eq(faults & FAULT_CUT, FAULT_CUT);
    cr_expect(ops > 10000, "%llu", (unsigned long long)ops);
    cr_expect(unknown > 100, "%llu", (unsigned long long)unknown);
}

Test(world, every_wrong_node_is_caught, .timeout = 60)
{
    static const char *const NAMES[FAKE_WRONGS] = {
        "right",       "ack before sync", "stale cache",
        "apply twice", "delete returns",  "loose cas",
        "range skips", "wrong failure",   "silent"
    };
    for (int wrong = 1; wrong < FAKE_WRONGS; wrong++) {
        fake_wrong = (enum fake_wrong)wrong;
        struct scenario_result r = { 0 };
        uint64_t seed = 1;
        while (seed <= 40 && !r.invariant)
            run("five_faults", seed++, &r);
        cr_expect_not_null(r.invariant, "%s is not caught", NAMES[wrong]);
        cr_log_info("%s: seed %llu, %s: %s", NAMES[wrong],
                    (unsigned long long)(seed - 1), r.invariant, r.text);
    }
}

Test(world, one_seed_gives_one_hash, .timeout = 60)
{
    fake_wrong = FAKE_RIGHT;
    for (uint64_t seed = 100; seed < 106; seed++) {
        struct scenario_result a, b, c;
        run("five_faults", seed, &a);
        run("five_faults", seed, &b);
        run("five_faults", seed + 1000, &c);
        cr_expect_eq(a.hash, b.hash, "seed %llu", (unsigned long long)seed);
        cr_expect_neq(a.hash, c.hash);
    }
}
