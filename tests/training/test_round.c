/* SPDX-License-Identifier: Apache-2.0 */

#include "training/round.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "chord/fail_alloc.h"
#include "dlht/err.h"
#include "rmi/fit_slice.h"
#include "rmi/key_sets.h"
#include "training/federation.h"

static const uint64_t seed = 20261121;

static const enum key_shape shapes[] = { KEYS_WORDS, KEYS_LOGNORMAL,
                                         KEYS_CLUSTERED, KEYS_PATHS };

enum {
    SHAPES = sizeof shapes / sizeof shapes[0]
};

/* Distinct, as the keys of an arc are. */
static struct key_set make(enum key_shape shape, size_t count)
{
    struct key_set set = key_set_make(shape, count, seed);
    size_t n = 0;
    for (size_t i = 0; i < set.count; i++)
        if (n == 0 || !span_equal(set.keys[n - 1], set.keys[i]))
            set.keys[n++] = set.keys[i];
    set.count = n;
    return set;
}

static struct model_stats measure(const struct model *model,
                                  const struct key_set *set)
{
    struct model_stats stats;
    model_measure(model, set->keys, set->count, &stats);
    return stats;
}

/* KS of a model fitted to all keys at once, with knots of its own: at most
 * 1 / 1024, but where so many keys are alike in all that a knot may have that
 * they fill more than a leaf, as paths may. */
static double central(const struct key_set *set)
{
    struct fit_config config = fit_config_default();
    struct model *model;
    cr_assert_eq(fit_keys(set->keys, set->count, &config, &model), DLHT_OK);
    double ks = measure(model, set).ks;
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
           (unsigned long long)seed);
    for (size_t s = 0; s < SHAPES; s++) {
        struct key_set set = make(shapes[s], 200000);
        double at_once = set.count > 10000 ? central(&set) : 0;
        for (size_t a = 0; a < 4 && set.count > 10000; a++) {
            struct rng rng;
            rng_init(&rng, seed + a);
            struct federation f =
                federation_cut(set.keys, set.count, arcs[a], true, &rng);
            struct federation_plan plan = federation_plan_default();
            struct federation_result result = federation_run(&f, &plan, NULL);
            struct model_stats stats = measure(result.model, &set);
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
            cr_assert(apart <= 1e-6, "%g ranks", apart);
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
            cr_assert(arcs[a] < 300 || empty_arcs(&f) > 0);
            federation_result_deinit(&result);
            federation_deinit(&f);
        }
        key_set_free(&set);
    }
}

Test(round, an_arc_may_be_cut_between_the_passes)
{
    struct key_set set = make(KEYS_LOGNORMAL, 50000);
    for (size_t split = 0; split < 7; split++) {
        struct rng rng;
        rng_init(&rng, seed);
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

static struct report part(const char *lo, const char *hi)
{
    return (struct report){ .lo = span_str(lo),
                            .hi = hi ? span_str(hi) : span_empty(),
                            .has_hi = hi != NULL };
}

/* Gives it keys, in as many quantiles. */
static void fill(struct report *report, struct fit_quantile *quantiles,
                 uint8_t (*bytes)[8], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        memset(bytes[i], 0, sizeof bytes[i]);
        bytes[i][0] = report->lo.len > 0 ? report->lo.data[0] : 'A';
        bytes[i][6] = (uint8_t)((i + 1) >> 8);
        bytes[i][7] = (uint8_t)(i + 1);
        quantiles[i] = (struct fit_quantile){ span_of(bytes[i], 8), 1 };
    }
    report->keys = count;
    report->quantiles = quantiles;
    report->quantile_count = count;
    report->end = span_of(bytes[count - 1], 8);
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
        struct report report = part(rows[i].lo, rows[i].hi);
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

/* A round of arcs [, f), [f, k), [k, ) with 500, none and 300 keys, all of
 * them quantiles. */
struct small {
    struct round *round;
    struct fit_quantile quantiles[2][500];
    uint8_t bytes[2][500][8];
    struct span keys[800];
};

static int small_begin(struct small *small, uint32_t leaf_count)
{
    struct fit_config config = { leaf_count, MODEL_CUBIC, MODEL_CUBIC };
    struct report reports[3] = { part("", "f"), part("f", "k"),
                                 part("k", NULL) };
    fill(&reports[0], small->quantiles[0], small->bytes[0], 500);
    fill(&reports[2], small->quantiles[1], small->bytes[1], 300);
    for (size_t i = 0; i < 800; i++)
        small->keys[i] = small->quantiles[i >= 500][i % 500].key;
    int rc = round_new(&config, NULL, &small->round);
    for (size_t i = 0; i < 3 && rc == DLHT_OK; i++)
        rc = round_add(small->round, &reports[i]);
    return rc;
}

Test(round, sums_come_in_order)
{
    struct small *s = calloc(1, sizeof *s);
    struct sums sums[16] = { { { 0 }, { 0 }, { 0 } } };
    cr_assert_eq(small_begin(s, 16), DLHT_OK);
    struct model *model = (void *)s;
    cr_assert_eq(round_add_sums(s->round, 0, sums, 1), DLHT_EINVAL);
    cr_assert_eq(round_finish(s->round, &model), DLHT_EINVAL);
    cr_assert_null(model);
    cr_assert_eq(round_skeleton(s->round), DLHT_OK);
    cr_assert_eq(round_skeleton(s->round), DLHT_EINVAL);
    struct report late = part("z", NULL);
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
    struct small *s = calloc(1, sizeof *s);
    struct sums sums[16] = { { { 0 }, { 0 }, { 0 } } };
    cr_assert_eq(small_begin(s, 16), DLHT_OK);
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
    struct key_set set = make(KEYS_PATHS, 0);
    if (set.count == 0)
        set = make(KEYS_LOGNORMAL, 100000);
    struct rng rng;
    rng_init(&rng, seed);
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
    struct key_set set = make(KEYS_LOGNORMAL, 100000);
    struct rng rng;
    rng_init(&rng, seed);
    struct federation f = federation_cut(set.keys, set.count, 64, false, &rng);
    /* Arcs of equal depth, so that the liar's share is 1 / 64. */
    for (size_t i = 1; i < 64; i++) {
        f.cut[i] = i * set.count / 64;
        f.lo[i] = set.keys[f.cut[i]];
    }
    struct federation_plan plan = federation_plan_default();
    struct federation_result before = federation_run(&f, &plan, NULL);
    printf("seed %llu; 64 arcs, the liar is number 20\n",
           (unsigned long long)seed);
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
        struct model_stats stats = measure(result.model, &set);
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
    struct key_set set = make(KEYS_CLUSTERED, 100000);
    struct rng rng;
    rng_init(&rng, seed);
    struct federation f = federation_cut(set.keys, set.count, 1, false, &rng);
    struct federation_plan plan = federation_plan_default();
    plan.config.leaf_count = 64;
    plan.quantiles = 256;
    plan.liar = 0;
    plan.factor = 3;
    plan.lying_sums = true;
    struct federation_result result = federation_run(&f, &plan, NULL);
    struct model_stats scaled = measure(result.model, &set);
    struct model_stats honest = measure(result.at_once, &set);
    struct model_stats straight = measure(result.skeleton, &set);
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

Test(round, a_slice_between_knots_is_one_leaf)
{
    struct key_set set = make(KEYS_LOGNORMAL, 20000);
    struct fit_quantile *quantiles = calloc(1024, sizeof *quantiles);
    struct rng rng;
    rng_init(&rng, seed);
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
    struct key_set set = make(KEYS_LOGNORMAL, 100000);
    struct rng rng;
    rng_init(&rng, seed);
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
    struct model_stats stats = measure(old, &set);
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
        struct report report = part(bounds[i], bounds[i + 1]);
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

/* A whole round of three arcs; everything is freed whatever fails. */
static int small_run(void)
{
    struct small *s = malloc(sizeof *s);
    if (!s)
        return DLHT_ENOMEM;
    s->round = NULL;
    struct buf packed = { 0 };
    struct model *slice = NULL;
    struct model *model = NULL;
    struct sums sums[8] = { { { 0 }, { 0 }, { 0 } } };
    uint32_t first;
    int rc = small_begin(s, 8);
    if (rc == DLHT_OK)
        rc = round_skeleton(s->round);
    if (rc == DLHT_OK)
        rc = round_slice(s->round, span_empty(), span_empty(), false, &first,
                         &packed);
    if (rc == DLHT_OK)
        rc = model_unpack(buf_span(&packed), &slice);
    if (rc == DLHT_OK) {
        fit_sum(slice, s->keys, 800, sums);
        rc = round_add_sums(s->round, 0, sums, 8);
    }
    if (rc == DLHT_OK)
        rc = round_finish(s->round, &model);
    if (rc == DLHT_OK)
        cr_assert_eq(model_key_count(model), 800u);
    model_free(model);
    model_free(slice);
    buf_deinit(&packed);
    round_free(s->round);
    free(s);
    return rc;
}

Test(round, without_memory_nothing_is_lost)
{
    if (!fail_alloc_works())
        return;
    for (uint64_t nth = 1;; nth++) {
        cr_assert(nth < 10000);
        fail_alloc_nth(nth);
        int rc = small_run();
        fail_alloc_nth(0);
        if (fail_alloc_count() == 0) {
            cr_assert_eq(rc, DLHT_OK);
            printf("%llu allocations\n", (unsigned long long)nth - 1);
            cr_assert(nth > 20);
            break;
        }
        cr_assert_eq(rc, DLHT_ENOMEM, "allocation %llu: %d",
                     (unsigned long long)nth, rc);
    }
}

/* After a refused report for want of memory the same one is taken. */
Test(round, a_report_without_memory_leaves_the_round_as_it_was)
{
    if (!fail_alloc_works())
        return;
    struct small *s = calloc(1, sizeof *s);
    struct fit_config config = fit_config_default();
    cr_assert_eq(round_new(&config, NULL, &s->round), DLHT_OK);
    struct report report = part("", NULL);
    fill(&report, s->quantiles[0], s->bytes[0], 500);
    int refused = 0;
    for (uint64_t nth = 1;; nth++) {
        fail_alloc_nth(nth);
        int rc = round_add(s->round, &report);
        fail_alloc_nth(0);
        if (rc == DLHT_OK)
            break;
        cr_assert_eq(rc, DLHT_ENOMEM);
        refused++;
        cr_assert_eq(round_report_count(s->round), 0u);
        cr_assert_eq(round_keys(s->round), 0u);
    }
    cr_assert(refused > 0);
    cr_assert_eq(round_keys(s->round), 500u);
    round_free(s->round);
    free(s);
}

/* Sums of up to 2^32 keys in any places; now and then of none. */
static struct sums any_sums(struct rng *rng)
{
    struct sums sums = { { 0 }, { 0 }, { 0 } };
    size_t keys = (size_t)rng_below(rng, 8);
    for (size_t i = 0; i < keys; i++)
        sums_add(&sums, rng_chance(rng, 0.2) ? 1 : rng_real(rng));
    for (uint64_t twice = rng_below(rng, 31); twice > 0; twice--) {
        struct sums once = sums;
        sums_append(&sums, &once);
    }
    double *numbers[2] = { &sums.t[rng_below(rng, SUMS_POWERS)],
                           &sums.tr[rng_below(rng, SUMS_RANKS)] };
    if (rng_chance(rng, 0.1))
        *numbers[rng_below(rng, 2)] *= 1 + 1e-7 * rng_real(rng);
    return sums;
}

/* Arc i of a number: one in its first byte, a few quantiles that are mostly in
 * order. */
static struct report any_report(struct rng *rng, size_t i, size_t arcs,
                                uint8_t (*bytes)[4],
                                struct fit_quantile *quantiles)
{
    static const uint8_t at[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8 };
    struct report report = { .lo = span_of(&at[i], i > 0),
                             .hi = span_of(&at[i + 1], 1),
                             .has_hi = i + 1 < arcs,
                             .quantiles = quantiles };
    size_t count = (size_t)rng_below(rng, 6);
    for (size_t q = 0; q < count; q++) {
        uint64_t most = UINT64_C(1) << rng_below(rng, 34);
        bytes[q][0] = (uint8_t)(i + rng_chance(rng, 0.01));
        bytes[q][1] = (uint8_t)(q * 40 + rng_below(rng, 42));
        bytes[q][2] = (uint8_t)rng_next(rng);
        quantiles[q].key = span_of(bytes[q], 1 + rng_below(rng, 3));
        quantiles[q].count = rng_range(rng, rng_chance(rng, 0.99), most);
        report.keys += quantiles[q].count;
        report.end = quantiles[q].key;
    }
    report.keys += rng_chance(rng, 0.01);
    report.quantile_count = count;
    return report;
}

/* Takes what was refused again until it is right. True: there is a model. */
static bool any_round(struct rng *rng, const struct model *previous,
                      size_t *refused)
{
    uint8_t bytes[8][4];
    struct fit_quantile quantiles[8];
    struct fit_config config = { 1 + (uint32_t)rng_below(rng, 40), MODEL_CUBIC,
                                 rng_chance(rng, 0.5) ? MODEL_CUBIC
                                                      : MODEL_LINEAR };
    size_t arcs = 1 + (size_t)rng_below(rng, 8);
    struct round *round;
    cr_assert_eq(round_new(&config, previous, &round), DLHT_OK);
    while (round_report_count(round) < arcs) {
        struct report report =
            any_report(rng, round_report_count(round), arcs, bytes, quantiles);
        *refused += round_add(round, &report) != DLHT_OK;
    }
    for (uint64_t n = rng_below(rng, 10); n > 0; n--)
        round_hear_count(round, (size_t)rng_below(rng, arcs),
                         rng_next(rng) >> rng_below(rng, 64));
    struct model *model = NULL;
    int rc = round_skeleton(round);
    if (rc == DLHT_OK) {
        cr_assert(round_keys(round) > 0);
        uint32_t first = 0;
        uint64_t said = 0;
        for (int tries = 0; tries < 1000; tries++) {
            if (round_finish(round, &model) == DLHT_OK)
                break;
            struct sums sums = any_sums(rng);
            rc = round_add_sums(round, first, &sums, 1);
            said += rc == DLHT_OK ? sums_count(&sums) : 0;
            first += rc == DLHT_OK;
            *refused += rc != DLHT_OK;
        }
        /* Unless nobody has a key any more, and there were few. */
        bool none = said == 0 && round_keys(round) <= 18u * first;
        cr_assert(model || none);
        cr_assert_leq(round_lies(round), arcs + first);
        if (!model) {
            round_free(round);
            return false;
        }
        struct fit_error error;
        round_measure(round, model, &error);
        cr_assert(error.mean >= 0 && error.mean <= error.max + 1e-9 &&
                  error.max <= 1 && error.hot_leaf <= first + 1e-9);
    }
    round_free(round);
    model_free(model);
    return model != NULL;
}

Test(round, what_strangers_say_harms_nothing)
{
    struct key_set set = make(KEYS_UNIFORM, 1000);
    struct fit_config config = { 8, MODEL_CUBIC, MODEL_CUBIC };
    struct model *previous;
    cr_assert_eq(fit_keys(set.keys, set.count, &config, &previous), DLHT_OK);
    struct rng rng;
    rng_init(&rng, seed);
    size_t refused = 0;
    size_t models = 0;
    for (int n = 0; n < 3000; n++)
        models += any_round(&rng, n % 2 ? previous : NULL, &refused);
    printf("seed %llu: %zu models, %zu reports and sums refused\n",
           (unsigned long long)seed, models, refused);
    cr_assert(models > 2000 && refused > 100);
    model_free(previous);
    key_set_free(&set);
}
