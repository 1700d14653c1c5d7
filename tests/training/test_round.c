/* SPDX-License-Identifier: Apache-2.0 */

#include "training/round.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "dlht/err.h"
#include "rmi/fit_slice.h"
#include "training/federation.h"
#include "training/rounds.h"

static const enum key_shape shapes[] = { KEYS_WORDS, KEYS_LOGNORMAL,
                                         KEYS_CLUSTERED, KEYS_PATHS };

enum {
    SHAPES = sizeof shapes / sizeof shapes[0]
};

/* KS of a model fitted to all keys at once, with knots of its own: at most
 * 1 / 1024, but where so many keys are alike in all that a knot may have that
 * they fill more than a leaf, as paths may. */
static double central(const struct key_set *set)
{
    struct fit_config config = fit_config_default();
    struct model *model;
    cr_assert_eq(fit_keys(set->keys, set->count, &config, &model), DLHT_OK);
    double ks = rounds_measure(model, set).ks;
    printf("  %-10s all at once: KS %.5f, %u leaves\n", "", ks,
           (unsigned)model_leaf_count(model));
    model_free(model);
    return ks > 1.0 / 1024 ? ks : 1.0 / 1024;
}

static size_t empty_arcs(const struct federation *f)
{
    size_t empty = 0;
    for (size_t i = 0; i < f->arc_count; i++)
        empty += federation_keys(f, i) == 0;
    return empty;
}

Test(round, gives_what_one_look_at_all_keys_gives)
{
    const size_t arcs[] = { 1, 7, 64, 300 };
    printf("seed %llu; bytes of both passes an arc: mean, most\n",
           (unsigned long long)rounds_seed);
    for (size_t s = 0; s < SHAPES; s++) {
        struct key_set set = rounds_keys(shapes[s], 200000);
        double at_once = set.count > 10000 ? central(&set) : 0;
        for (size_t a = 0; a < 4 && set.count > 10000; a++) {
            struct rng rng;
            rng_init(&rng, rounds_seed + a);
            struct federation f =
                federation_cut(set.keys, set.count, arcs[a], true, &rng);
            struct federation_plan plan = federation_plan_default();
            struct federation_result result = federation_run(&f, &plan, NULL);
            struct model_stats stats = rounds_measure(result.model, &set);
            double apart = federation_apart(&f, result.model, result.at_once);
            double mean =
                (result.bytes[0] + result.bytes[1] + result.bytes[2]) /
                (double)arcs[a];
            printf("  %-10s %3zu arcs: KS %.5f, apart %.1e ranks, "
                   "%6.0f (%.0f + %.0f + %.0f) %6.0f\n",
                   key_shape_names[shapes[s]], arcs[a], stats.ks, apart, mean,
                   result.bytes[0] / (double)arcs[a],
                   result.bytes[1] / (double)arcs[a],
                   result.bytes[2] / (double)arcs[a], result.most);
            cr_assert(apart <= 1e-3, "%g ranks", apart);
            /* A leaf is as deep as wanted, give or take a run of quantiles at
             * either end: a quarter of a leaf, or a whole one where an arc is
             * so large that it gives one a leaf. */
            double runs = arcs[a] < 7 ? 2 : 0.5;
            cr_assert(stats.ks <= at_once + runs / 1024, "%f", stats.ks);
            cr_assert_eq(stats.inversions, 0u);
            cr_assert_eq(stats.outside, 0u);
            cr_assert_eq(result.lies, 0u);
            cr_assert_eq(result.keys, set.count);
            cr_assert_eq(model_key_count(result.model), set.count);
            if (arcs[a] >= 64)
                cr_assert(mean <= 4096, "%.0f bytes", mean);
            /* Paths are those of the machine, some with very many alike. */
            double most = shapes[s] == KEYS_PATHS ? 8192 : 4096;
            if (arcs[a] >= 300)
                cr_assert(result.most <= most, "%.0f bytes", result.most);
            cr_assert(arcs[a] < 300 || stats.ks <= 0.002, "%f", stats.ks);
            cr_assert(arcs[a] < 300 || empty_arcs(&f) > 0);
            federation_result_deinit(&result);
            federation_deinit(&f);
        }
        key_set_free(&set);
    }
}

Test(round, an_arc_may_be_cut_between_the_passes)
{
    struct key_set set = rounds_keys(KEYS_LOGNORMAL, 50000);
    for (size_t split = 0; split < 7; split++) {
        struct rng rng;
        rng_init(&rng, rounds_seed);
        struct federation f =
            federation_cut(set.keys, set.count, 7, false, &rng);
        struct federation_plan plan = federation_plan_default();
        plan.split = split;
        struct federation_result result = federation_run(&f, &plan, NULL);
        cr_assert(federation_apart(&f, result.model, result.at_once) <= 1e-6);
        cr_assert_eq(result.lies, 0u);
        federation_result_deinit(&result);
        federation_deinit(&f);
    }
    key_set_free(&set);
}

Test(round, reports_tile_the_keyspace_in_order)
{
    struct round *round;
    struct fit_config config = fit_config_default();
    cr_assert_eq(round_new(&config, NULL, &round), DLHT_OK);
    struct span lo;
    cr_assert(round_next(round, &lo) && lo.len == 0);
    const struct {
        const char *why, *lo, *hi;
        int rc;
    } rows[] = {
        { "not at the begin", "b", "c", DLHT_EINVAL },
        { "upside down", "c", "b", DLHT_EPROTO },
        { "the first", "", "f", DLHT_OK },
        { "the first again", "", "f", DLHT_EINVAL },
        { "a gap", "g", "h", DLHT_EINVAL },
        { "an overlap", "e", "h", DLHT_EINVAL },
        { "the second", "f", "k", DLHT_OK },
        { "the last", "k", NULL, DLHT_OK },
        { "after the last", "k", NULL, DLHT_EINVAL },
        { "from the begin", "", "f", DLHT_EINVAL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct report report = rounds_part(rows[i].lo, rows[i].hi);
        size_t count = round_report_count(round);
        cr_assert_eq(round_add(round, &report), rows[i].rc, "%s", rows[i].why);
        cr_assert_eq(round_report_count(round),
                     count + (rows[i].rc == DLHT_OK));
        if (!rows[i].hi && rows[i].rc != DLHT_OK)
            continue;
        bool more = round_next(round, &lo);
        cr_assert_eq(more, i < 7);
        if (more && rows[i].rc == DLHT_OK)
            cr_assert(span_equal(lo, span_str(rows[i].hi)));
    }
    struct span hi;
    bool has_hi;
    round_bounds(round, 1, &lo, &hi, &has_hi);
    cr_assert(span_equal(lo, span_str("f")) && span_equal(hi, span_str("k")) &&
              has_hi);
    round_bounds(round, 2, &lo, &hi, &has_hi);
    cr_assert(span_equal(lo, span_str("k")) && hi.len == 0 && !has_hi);
    cr_assert_eq(round_keys(round), 0u);
    cr_assert_eq(round_skeleton(round), DLHT_EINVAL); /* no keys */
    round_free(round);
    round_free(NULL);
}

Test(round, sums_come_in_order)
{
    struct rounds_small *s = calloc(1, sizeof *s);
    struct sums sums[16] = { { { 0 }, { 0 }, { 0 } } };
    cr_assert_eq(rounds_small_begin(s, 16), DLHT_OK);
    struct model *model = (void *)s;
    cr_assert_eq(round_add_sums(s->round, 0, sums, 1), DLHT_EINVAL);
    cr_assert_eq(round_finish(s->round, &model), DLHT_EINVAL);
    cr_assert_null(model);
    cr_assert_eq(round_skeleton(s->round), DLHT_OK);
    cr_assert_eq(round_skeleton(s->round), DLHT_EINVAL);
    struct report late = rounds_part("z", NULL);
    cr_assert_eq(round_add(s->round, &late), DLHT_EINVAL);
    struct buf packed = { 0 };
    uint32_t first;
    cr_assert_eq(round_slice(s->round, span_empty(), span_empty(), false,
                             &first, &packed),
                 DLHT_OK);
    struct model *skeleton;
    cr_assert_eq(model_unpack(buf_span(&packed), &skeleton), DLHT_OK);
    cr_assert_eq(model_leaf_count(skeleton), 16u);
    fit_sum(skeleton, s->keys, 800, sums);
    struct sums wrong = sums[0];
    wrong.t[0] = NAN;
    cr_assert_eq(round_add_sums(s->round, 0, &wrong, 1), DLHT_EPROTO);
    wrong = sums[0];
    wrong.cell[3] += 1;
    cr_assert_eq(round_add_sums(s->round, 0, &wrong, 1), DLHT_EPROTO);
    const struct {
        const char *why;
        uint32_t first;
        size_t count;
        int rc;
    } rows[] = {
        { "none", 0, 0, DLHT_EPROTO },
        { "too many", 0, 17, DLHT_EPROTO },
        { "out of range", 16, 1, DLHT_EPROTO },
        { "far out of range", UINT32_MAX, 2, DLHT_EPROTO },
        { "the first five", 0, 5, DLHT_OK },
        { "before", 3, 1, DLHT_EINVAL },
        { "the rest", 5, 11, DLHT_OK },
        { "all again", 0, 16, DLHT_EINVAL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t at = rows[i].first < 16 ? rows[i].first : 0;
        cr_assert_eq(
            round_add_sums(s->round, rows[i].first, sums + at, rows[i].count),
            rows[i].rc, "%s", rows[i].why);
        if (i == 4) {
            cr_assert_eq(round_finish(s->round, &model), DLHT_EINVAL);
            cr_assert_null(model);
        }
    }
    cr_assert_eq(round_finish(s->round, &model), DLHT_OK);
    cr_assert_eq(model_key_count(model), 800u);
    cr_assert_eq(round_lies(s->round), 0u);
    model_free(model);
    model_free(skeleton);
    buf_deinit(&packed);
    round_free(s->round);
    free(s);
}

Test(round, leaves_may_lose_their_keys)
{
    struct rounds_small *s = calloc(1, sizeof *s);
    struct sums sums[16] = { { { 0 }, { 0 }, { 0 } } };
    cr_assert_eq(rounds_small_begin(s, 16), DLHT_OK);
    struct model *model;
    cr_assert_eq(round_skeleton(s->round), DLHT_OK);
    struct buf packed = { 0 };
    uint32_t first;
    cr_assert_eq(round_slice(s->round, span_empty(), span_empty(), false,
                             &first, &packed),
                 DLHT_OK);
    struct model *skeleton;
    cr_assert_eq(model_unpack(buf_span(&packed), &skeleton), DLHT_OK);
    fit_sum(skeleton, s->keys, 800, sums);
    /* The oldest and the newest keys went between the passes. */
    cr_assert_eq(round_add_sums(s->round, 2, sums + 2, 4), DLHT_OK);
    cr_assert_eq(round_add_sums(s->round, 8, sums + 8, 6), DLHT_OK);
    cr_assert_eq(round_finish(s->round, &model), DLHT_EINVAL);
    round_end_sums(s->round);
    cr_assert_eq(round_finish(s->round, &model), DLHT_OK);
    cr_assert_leq(model_key_count(model), 800u);
    cr_assert_geq(model_key_count(model), 500u);
    model_free(model);
    model_free(skeleton);
    buf_deinit(&packed);
    round_free(s->round);
    free(s);
}

Test(round, a_slice_covers_its_arc_and_no_more)
{
    struct key_set set = rounds_keys(KEYS_PATHS, 0);
    if (set.count == 0)
        set = rounds_keys(KEYS_LOGNORMAL, 100000);
    struct rng rng;
    rng_init(&rng, rounds_seed);
    struct fit_config config = fit_config_default();
    struct model *model;
    cr_assert_eq(fit_keys(set.keys, set.count, &config, &model), DLHT_OK);
    uint32_t leaf_count = model_leaf_count(model);
    cr_assert(leaf_count > 100);
    struct model *slice = model;
    const uint32_t bad[][2] = {
        { 0, 0 }, { leaf_count, 1 }, { 0, leaf_count + 1 }, { 5, UINT32_MAX }
    };
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(fit_slice(model, bad[i][0], bad[i][1], &slice),
                     DLHT_EINVAL);
        cr_assert_null(slice);
    }
    for (int n = 0; n < 200; n++) {
        uint32_t first = (uint32_t)rng_below(&rng, leaf_count);
        uint32_t count =
            1 + (uint32_t)rng_below(&rng, n < 100 ? 3 : leaf_count - first);
        count = count < leaf_count - first ? count : leaf_count - first;
        cr_assert_eq(fit_slice(model, first, count, &slice), DLHT_OK);
        struct buf packed = { 0 };
        struct model *again;
        cr_assert_eq(model_pack(slice, &packed), DLHT_OK);
        cr_assert_eq(model_unpack(buf_span(&packed), &again), DLHT_OK);
        for (int k = 0; k < 100; k++) {
            size_t i = (size_t)rng_below(&rng, set.count);
            uint32_t leaf = model_leaf_of(model, set.keys[i]);
            if (leaf < first || leaf >= first + count)
                continue;
            cr_assert_eq(model_leaf_of(again, set.keys[i]), leaf - first);
            cr_assert_eq(model_t(again, leaf - first, set.keys[i]),
                         model_t(model, leaf, set.keys[i]));
        }
        buf_deinit(&packed);
        model_free(again);
        model_free(slice);
    }
    model_free(model);
    key_set_free(&set);
}

Test(round, a_slice_between_knots_is_one_leaf)
{
    struct key_set set = rounds_keys(KEYS_LOGNORMAL, 20000);
    struct fit_quantile *quantiles = calloc(1024, sizeof *quantiles);
    struct rng rng;
    rng_init(&rng, rounds_seed);
    struct federation f = federation_cut(set.keys, set.count, 1, false, &rng);
    struct report report = federation_report(&f, 0, 1024, quantiles);
    struct fit_config config = fit_config_default();
    config.leaf_count = 100;
    struct round *round;
    cr_assert_eq(round_new(&config, NULL, &round), DLHT_OK);
    cr_assert_eq(round_add(round, &report), DLHT_OK);
    cr_assert_eq(round_skeleton(round), DLHT_OK);
    struct buf packed = { 0 };
    struct buf knots[2] = { { 0 }, { 0 } };
    uint32_t first;
    cr_assert_eq(
        round_slice(round, span_empty(), span_empty(), false, &first, &packed),
        DLHT_OK);
    struct model *skeleton;
    cr_assert_eq(model_unpack(buf_span(&packed), &skeleton), DLHT_OK);
    uint32_t leaf_count = model_leaf_count(skeleton);
    for (uint32_t i = 0; i + 1 < leaf_count; i++) {
        struct model *slice;
        buf_reset(&packed);
        buf_reset(&knots[0]);
        buf_reset(&knots[1]);
        cr_assert_eq(model_knot(skeleton, i, &knots[0]), DLHT_OK);
        cr_assert_eq(model_knot(skeleton, i + 1, &knots[1]), DLHT_OK);
        for (int beyond = 0; beyond <= 1; beyond++) {
            buf_reset(&packed);
            if (beyond)
                buf_append_byte(&knots[1], 0);
            cr_assert_eq(round_slice(round, buf_span(&knots[0]),
                                     buf_span(&knots[1]), true, &first,
                                     &packed),
                         DLHT_OK);
            cr_assert_eq(model_unpack(buf_span(&packed), &slice), DLHT_OK);
            cr_assert_eq(first, i);
            cr_assert_eq(model_leaf_count(slice), 1u + (unsigned)beyond);
            model_free(slice);
        }
    }
    model_free(skeleton);
    buf_deinit(&knots[0]);
    buf_deinit(&knots[1]);
    buf_deinit(&packed);
    round_free(round);
    federation_deinit(&f);
    free(quantiles);
    key_set_free(&set);
}

/* Keys of the fullest leaf of model, times leaves, as a share. */
static double fullest(const struct model *model, const struct key_set *set)
{
    uint32_t leaf_count = model_leaf_count(model);
    struct sums *sums = calloc(leaf_count, sizeof *sums);
    fit_sum(model, set->keys, set->count, sums);
    uint64_t most = 0;
    for (uint32_t i = 0; i < leaf_count; i++)
        most = sums_count(&sums[i]) > most ? sums_count(&sums[i]) : most;
    free(sums);
    return (double)most / (double)set->count * leaf_count;
}

Test(round, sees_how_far_a_model_is)
{
    struct key_set set = rounds_keys(KEYS_LOGNORMAL, 100000);
    struct rng rng;
    rng_init(&rng, rounds_seed);
    struct federation f = federation_cut(set.keys, set.count, 64, true, &rng);
    struct fit_config config = fit_config_default();
    config.leaf_count = 100;
    /* The model knows but a tenth of the keys from 40 to 42 %: the leaf they
     * fall into holds more than its part. */
    struct span *before = calloc(set.count, sizeof *before);
    size_t count = 0;
    for (size_t i = 0; i < set.count; i++)
        if (i < 40000 || i >= 42000 || i % 10 == 0)
            before[count++] = set.keys[i];
    struct model *old;
    cr_assert_eq(fit_keys(before, count, &config, &old), DLHT_OK);
    struct federation_plan plan = federation_plan_default();
    plan.previous = old;
    struct federation_result result = federation_run(&f, &plan, NULL);
    struct model_stats stats = rounds_measure(old, &set);
    double hot = fullest(old, &set);
    printf("KS %.5f seen as %.5f, mean %.5f as %.5f, hot leaf %.2f as %.2f\n",
           stats.ks, result.error.max, stats.mean_error, result.error.mean, hot,
           result.error.hot_leaf);
    cr_assert(hot > 2);
    cr_assert(fabs(result.error.hot_leaf - hot) < 0.1 * hot);
    cr_assert(fabs(result.error.max - stats.ks) < 0.002);
    cr_assert(fabs(result.error.mean - stats.mean_error) < 0.0005);
    federation_result_deinit(&result);
    /* The one it makes is near, and no leaf of it is hot. */
    plan.previous = NULL;
    result = federation_run(&f, &plan, NULL);
    plan.previous = result.model;
    struct federation_result again = federation_run(&f, &plan, NULL);
    cr_assert(again.error.max < 0.002 && again.error.mean < 0.0005);
    cr_assert(again.error.hot_leaf < 1.6, "%f", again.error.hot_leaf);
    federation_result_deinit(&again);
    federation_result_deinit(&result);
    model_free(old);
    free(before);
    federation_deinit(&f);
    key_set_free(&set);
}
