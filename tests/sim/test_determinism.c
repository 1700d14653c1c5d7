/* SPDX-License-Identifier: Apache-2.0 */

/* The real node on virtual time: one seed gives one run, to the last byte. */

#include <criterion/criterion.h>

#include "sim/scenario.h"

static void run(const char *name, uint64_t seed, struct scenario_result *r)
{
    struct scenario_options options = { .seed = seed };
    scenario_run(scenario_find(name), &options, r);
    cr_assert_null(r->invariant, "%s seed %llu: %s: %s", name,
                   (unsigned long long)seed, r->invariant, r->text);
}

Test(determinism, one_seed_gives_one_hash, .timeout = 120)
{
    static const char *const NAMES[] = { "one_node",    "five_calm",
                                         "five_faults", "memory_only",
                                         "disk_loss",   "models",
                                         "models_liar" };
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        for (uint64_t seed = 7; seed < 10; seed++) {
            struct scenario_result a, b;
            run(NAMES[i], seed, &a);
            run(NAMES[i], seed, &b);
            cr_expect_eq(a.hash, b.hash, "%s seed %llu", NAMES[i],
                         (unsigned long long)seed);
        }
    }
}

Test(determinism, another_seed_gives_another_hash)
{
    struct scenario_result a, b;
    run("five_calm", 1, &a);
    run("five_calm", 2, &b);
    cr_expect_neq(a.hash, b.hash);
}
