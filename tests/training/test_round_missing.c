/* SPDX-License-Identifier: Apache-2.0 */

/* Arcs that say nothing. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "dlht/err.h"
#include "training/federation.h"
#include "training/rounds.h"

enum {
    ARCS = 64
};

static struct federation equal_arcs(const struct key_set *set, struct rng *rng)
{
    struct federation f =
        federation_cut(set->keys, set->count, ARCS, false, rng);
    for (size_t i = 1; i < ARCS; i++) {
        f.cut[i] = i * set->count / ARCS;
        f.lo[i] =
            report_separator(set->keys[f.cut[i] - 1], set->keys[f.cut[i]]);
    }
    return f;
}

/* The model before knows the keys as they are: what it says instead of arcs is
 * right to a leaf. Or it knows half of them, everywhere alike: shares stay. */
Test(round_missing, the_model_before_stands_in)
{
    static const enum key_shape shapes[] = { KEYS_WORDS, KEYS_LOGNORMAL,
                                             KEYS_CLUSTERED };
    const struct {
        const char *why;
        bool first, second, half; /* missing in pass 1, silent in pass 2 */
        size_t from, count, step;
        double ks;
    } rows[] = {
        { "none", false, false, false, 0, 0, 1, 0.002 },
        { "one, no report", true, false, false, 20, 1, 1, 0.002 },
        { "one, no sums", false, true, false, 20, 1, 1, 0.002 },
        { "the first", true, false, false, 0, 1, 1, 0.003 },
        { "the last", true, false, false, 63, 1, 1, 0.003 },
        { "fifteen neighbours", true, false, false, 30, 15, 1, 0.003 },
        { "every fourth", true, false, false, 1, 15, 4, 0.004 },
        { "every fourth, no sums", false, true, false, 1, 15, 4, 0.002 },
        { "every fourth, of half the keys", true, false, true, 1, 15, 4,
          0.006 },
    };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        struct key_set set = rounds_keys(shapes[s], 100000);
        struct rng rng;
        rng_init(&rng, rounds_seed);
        for (size_t i = 0; i < sizeof rows / sizeof *rows && set.count > 10000;
             i++) {
            struct federation f = equal_arcs(&set, &rng);
            struct span *before = calloc(set.count, sizeof *before);
            size_t count = 0;
            for (size_t k = 0; k < set.count; k++)
                if (!rows[i].half || rng_chance(&rng, 0.5))
                    before[count++] = set.keys[k];
            struct federation_plan plan = federation_plan_default();
            struct model *previous;
            cr_assert_eq(fit_keys(before, count, &plan.config, &previous),
                         DLHT_OK);
            bool none[ARCS] = { false };
            for (size_t n = 0; n < rows[i].count; n++)
                none[rows[i].from + n * rows[i].step] = true;
            plan.previous = previous;
            plan.missing = rows[i].first ? none : NULL;
            plan.silent = rows[i].second ? none : NULL;
            struct federation_result result = federation_run(&f, &plan, NULL);
            struct model_stats stats = rounds_measure(result.model, &set);
            printf("  %-10s %-30s KS %.5f, %zu missing, %zu lies\n",
                   key_shape_names[shapes[s]], rows[i].why, stats.ks,
                   result.missing, result.lies);
            cr_assert(stats.ks <= rows[i].ks, "%s: %f", rows[i].why, stats.ks);
            cr_assert_eq(stats.inversions, 0u);
            cr_assert_eq(result.missing, rows[i].count, "%s", rows[i].why);
            /* Leaves that a made-up arc shares with another. */
            cr_assert_leq(result.lies, rows[i].count, "%s", rows[i].why);
            double off = (double)result.keys / (double)set.count - 1;
            cr_assert(off < 0.01 && off > -0.01, "%s: %f", rows[i].why, off);
            federation_result_deinit(&result);
            federation_deinit(&f);
            model_free(previous);
            free(before);
        }
        key_set_free(&set);
    }
}

/* More than a quarter of the arcs, or of the keys; or no model before. */
Test(round_missing, too_much_is_refused)
{
    struct key_set set = rounds_keys(KEYS_LOGNORMAL, 20000);
    struct fit_quantile quantiles[REPORT_QUANTILES_MAX];
    struct rng rng;
    rng_init(&rng, rounds_seed);
    struct federation f = equal_arcs(&set, &rng);
    struct fit_config config = fit_config_default();
    struct model *previous;
    cr_assert_eq(fit_keys(set.keys, set.count, &config, &previous), DLHT_OK);
    for (size_t missing = 15; missing <= 19; missing += 2) {
        struct round *round;
        cr_assert_eq(round_new(&config, previous, &round), DLHT_OK);
        for (size_t i = 0; i < ARCS; i++) {
            struct report report = federation_report(&f, i, 8, quantiles);
            struct round_gap gap = { report.lo, report.hi, report.has_hi };
            if (i < missing)
                cr_assert_eq(round_add_missing(round, &gap), DLHT_OK);
            else
                cr_assert_eq(round_add(round, &report), DLHT_OK);
        }
        cr_expect_eq(round_skeleton(round),
                     missing < ARCS / 4 ? DLHT_OK : DLHT_EREFUSED, "%zu arcs",
                     missing);
        if (missing == 15) {
            struct model *model = NULL;
            for (size_t i = 0; i < missing; i++)
                cr_assert_eq(round_add_silent(round, i), DLHT_OK);
            cr_expect_eq(round_add_silent(round, 3), DLHT_EINVAL);
            cr_expect_eq(round_add_silent(round, missing), DLHT_OK);
            cr_expect_eq(round_add_silent(round, missing + 1), DLHT_EREFUSED);
            round_end_sums(round);
            cr_expect_eq(round_finish(round, &model), DLHT_OK);
            model_free(model);
        }
        round_free(round);
    }
    struct round *round;
    struct round_gap all = { span_empty(), span_empty(), false };
    cr_assert_eq(round_new(&config, NULL, &round), DLHT_OK);
    cr_expect_eq(round_add_missing(round, &all), DLHT_EREFUSED);
    round_free(round);
    model_free(previous);
    federation_deinit(&f);
    key_set_free(&set);
}
