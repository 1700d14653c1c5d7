/* SPDX-License-Identifier: Apache-2.0 */

/* How many keys of an arc are believed. */

#include <criterion/criterion.h>
#include <stdio.h>

#include "dlht/err.h"
#include "training/federation.h"
#include "training/rounds.h"

/* One of 64 arcs lies. Without a witness it may have 4 / 64 + 1 / 64 of all, so
 * 5.34 times its keys: no rank is off by more than 4.34 / 68.34. */
enum {
    FIRST_MODEL = 1,  /* there is none before */
    HONEST_SUMS = 2,  /* the count is wrong in pass 1 only */
    HONEST_COUNT = 4, /* in pass 2 only */
    HEAP_REPORT = 8,  /* pass 1 has the keys in wrong places */
    HEAP_SUMS = 16    /* pass 2 has */
};

struct lie {
    const char *why;
    uint64_t factor;
    size_t replicas;
    unsigned how;
    double ks;
};

Test(round, a_lie_is_bounded)
{
    const struct lie rows[] = {
        { "no lie", 1, 0, 0, 0.002 },
        { "50 x, two replicas count", 50, 2, 0, 0.002 },
        { "50 x, one replica counts", 50, 1, 0, 0.002 },
        { "50 x, two replicas, first model", 50, 2, FIRST_MODEL, 0.002 },
        { "50 x, nobody counts: the cap", 50, 0, 0, 0.064 },
        { "50 x in pass 1 only, the cap", 50, 0, HONEST_SUMS, 0.064 },
        { "50 x in pass 2 only", 50, 0, HONEST_COUNT, 0.002 },
        { "50 x in pass 2 only, first model", 50, 0, HONEST_COUNT | FIRST_MODEL,
          0.002 },
        { "50 x in pass 1 only, two replicas", 50, 2, HONEST_SUMS, 0.002 },
        { "wrong places in pass 1", 1, 2, HEAP_REPORT, 0.018 },
        { "wrong places in pass 2", 1, 2, HEAP_SUMS, 0.018 },
        { "wrong places in both", 1, 2, HEAP_REPORT | HEAP_SUMS, 0.018 },
    };
    struct key_set set = rounds_keys(KEYS_LOGNORMAL, 100000);
    struct rng rng;
    rng_init(&rng, rounds_seed);
    struct federation f = federation_cut(set.keys, set.count, 64, false, &rng);
    /* Arcs of equal depth, so that the liar's share is 1 / 64. */
    for (size_t i = 1; i < 64; i++) {
        f.cut[i] = i * set.count / 64;
        f.lo[i] = set.keys[f.cut[i]];
    }
    struct federation_plan plan = federation_plan_default();
    struct federation_result before = federation_run(&f, &plan, NULL);
    printf("seed %llu; 64 arcs, the liar is number 20\n",
           (unsigned long long)rounds_seed);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        plan = federation_plan_default();
        unsigned how = rows[i].how;
        plan.previous = how & FIRST_MODEL ? NULL : before.model;
        plan.liar = 20;
        plan.factor = rows[i].factor;
        plan.replicas = rows[i].replicas;
        plan.honest_sums = how & HONEST_SUMS;
        plan.lying_sums = how & HONEST_COUNT;
        plan.heap_report = how & HEAP_REPORT;
        plan.heap_sums = how & HEAP_SUMS;
        struct federation_result result = federation_run(&f, &plan, NULL);
        struct model_stats stats = rounds_measure(result.model, &set);
        printf("  %-36s KS %.4f, %zu found\n", rows[i].why, stats.ks,
               result.lies);
        cr_assert(stats.ks <= rows[i].ks, "%s: %f", rows[i].why, stats.ks);
        /* It, and at most the leaf at either end that it shares. */
        bool lies =
            rows[i].factor > 1 || how == HEAP_REPORT || how == HEAP_SUMS;
        cr_assert(result.lies >= lies && result.lies <= 3, "%s", rows[i].why);
        cr_assert(i > 0 || result.lies == 0);
        cr_assert_eq(stats.inversions, 0u);
        federation_result_deinit(&result);
    }
    federation_result_deinit(&before);
    federation_deinit(&f);
    key_set_free(&set);
}

/* Where in its leaf a scaled key lies is still taken from the sums. */
Test(round, scaled_sums_keep_their_places)
{
    struct key_set set = rounds_keys(KEYS_CLUSTERED, 100000);
    struct rng rng;
    rng_init(&rng, rounds_seed);
    struct federation f = federation_cut(set.keys, set.count, 1, false, &rng);
    struct federation_plan plan = federation_plan_default();
    plan.config.leaf_count = 64;
    plan.quantiles = 256;
    plan.liar = 0;
    plan.factor = 3;
    plan.lying_sums = true;
    struct federation_result result = federation_run(&f, &plan, NULL);
    struct model_stats scaled = rounds_measure(result.model, &set);
    struct model_stats honest = rounds_measure(result.at_once, &set);
    struct model_stats straight = rounds_measure(result.skeleton, &set);
    printf("mean error of %.5f: honest %.5f, pass 1 alone %.5f\n",
           scaled.mean_error, honest.mean_error, straight.mean_error);
    cr_assert_eq(result.lies, 1u);
    cr_assert_eq(model_key_count(result.model), set.count);
    cr_assert(scaled.mean_error <
              0.5 * (honest.mean_error + straight.mean_error));
    federation_result_deinit(&result);
    federation_deinit(&f);
    key_set_free(&set);
}

/* Total keys of arcs of which the first claims a number, in a round with a
 * model before that knows them as equal. */
static uint64_t total_of(const uint64_t claims[4], const uint64_t *heard,
                         size_t heard_count, const struct model *previous,
                         size_t *lies)
{
    const char *bounds[] = { "", "a@", "a\200", "a\300", NULL };
    struct round *round;
    struct fit_config config = fit_config_default();
    cr_assert_eq(round_new(&config, previous, &round), DLHT_OK);
    for (size_t i = 0; i < 4; i++) {
        char key[3] = { 'a', (char)(0x40 * i + 1), 0 };
        struct fit_quantile one = { span_str(key), claims[i] };
        struct report report = rounds_part(bounds[i], bounds[i + 1]);
        report.keys = claims[i];
        report.quantiles = &one;
        report.quantile_count = claims[i] > 0;
        report.end = one.key;
        cr_assert_eq(round_add(round, &report), DLHT_OK);
    }
    for (size_t i = 0; i < heard_count; i++)
        round_hear_count(round, 0, heard[i]);
    uint64_t keys = round_keys(round);
    *lies = round_lies(round);
    round_free(round);
    return keys;
}

Test(round, counts_are_medians_and_caps)
{
    uint8_t bytes[1000][3];
    struct span keys[1000];
    for (size_t i = 0; i < 1000; i++) {
        uint32_t x = (uint32_t)(i * 0x10000 / 1000);
        bytes[i][0] = 'a';
        bytes[i][1] = (uint8_t)(x >> 8);
        bytes[i][2] = (uint8_t)x;
        keys[i] = span_of(bytes[i], 3);
    }
    struct fit_config config = { 64, MODEL_CUBIC, MODEL_CUBIC };
    struct model *equal;
    cr_assert_eq(fit_keys(keys, 1000, &config, &equal), DLHT_OK);
    const struct {
        const char *why;
        uint64_t claims[4];
        uint64_t heard[3];
        size_t heard_count;
        bool previous;
        uint64_t keys;
        size_t lies;
    } rows[] = {
        { "as before", { 100, 100, 100, 100 }, { 0 }, 0, true, 400, 0 },
        { "all is new", { 5000, 100, 100, 100 }, { 0 }, 0, false, 5300, 0 },
        { "median of three",
          { 5000, 100, 100, 100 },
          { 90, 110 },
          2,
          true,
          410,
          1 },
        { "median of three, two lie",
          { 5000, 100, 100, 100 },
          { 90, 6000 },
          2,
          true,
          5300,
          0 },
        { "the lower of two",
          { 5000, 100, 100, 100 },
          { 90 },
          1,
          true,
          390,
          1 },
        { "median of four",
          { 200, 100, 100, 100 },
          { 90, 110, 6000 },
          3,
          true,
          410,
          1 },
        { "too low a claim",
          { 5, 100, 100, 100 },
          { 90, 100 },
          2,
          true,
          390,
          0 },
        { "a little more",
          { 120, 100, 100, 100 },
          { 100, 100 },
          2,
          true,
          400,
          0 },
        { "no keys, says one",
          { 0, 100, 100, 100 },
          { 90, 100 },
          2,
          true,
          300,
          0 },
        /* A quarter before: four of it and a quarter is more than all. */
        { "a cap of more than all",
          { 5000, 1, 1, 1 },
          { 0 },
          0,
          true,
          5003,
          0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t lies;
        uint64_t total =
            total_of(rows[i].claims, rows[i].heard, rows[i].heard_count,
                     rows[i].previous ? equal : NULL, &lies);
        cr_assert_eq(total, rows[i].keys, "%s: %llu", rows[i].why,
                     (unsigned long long)total);
        cr_assert_eq(lies, rows[i].lies, "%s: %zu", rows[i].why, lies);
    }
    model_free(equal);
    /* All keys were in the last arc: the first may have a quarter, and the
     * cap is of the total that results: 300 / (1 - 1/4). */
    struct model *skew;
    cr_assert_eq(fit_keys(keys + 800, 200, &config, &skew), DLHT_OK);
    const uint64_t claims[4] = { 5000, 0, 0, 300 };
    size_t lies;
    uint64_t total = total_of(claims, NULL, 0, skew, &lies);
    cr_assert(total >= 400 && total <= 401, "%llu", (unsigned long long)total);
    cr_assert_eq(lies, 1u);
    /* Nobody else to measure by: believed. */
    const uint64_t alone[4] = { 5000, 0, 0, 0 };
    cr_assert_eq(total_of(alone, NULL, 0, skew, &lies), 5000u);
    model_free(skew);
}
