/* SPDX-License-Identifier: Apache-2.0 */

#include "rmi/fit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "chord/fail_alloc.h"
#include "dlht/err.h"
#include "rmi/key_sets.h"

static const uint64_t seed = 20261121;

static struct model *fit(const struct key_set *set, uint32_t leaves,
                         enum model_kind kind)
{
    struct fit_config config = { leaves, MODEL_CUBIC, kind };
    struct model *model = NULL;
    cr_assert_eq(fit_keys(set->keys, set->count, &config, &model), DLHT_OK);
    return model;
}

/* Sums of all keys, taken in parts that are then joined. */
static struct sums *sum_parts(const struct model *model,
                              const struct key_set *set, struct rng *rng,
                              uint64_t parts)
{
    size_t k = model_leaf_count(model);
    struct sums *sums = calloc(k, sizeof *sums);
    struct sums *part = calloc(k, sizeof *part);
    size_t done = 0;
    while (done < set->count) {
        uint64_t most = set->count / parts + 1;
        size_t n = (size_t)rng_range(rng, 1, 2 * most);
        n = n < set->count - done ? n : set->count - done;
        n = parts == 1 ? set->count : n;
        memset(part, 0, k * sizeof *part);
        fit_sum(model, set->keys + done, n, part);
        for (size_t i = 0; i < k; i++) {
            cr_assert(sums_are_sane(&part[i]));
            sums_append(&sums[i], &part[i]);
        }
        done += n;
    }
    free(part);
    return sums;
}

/* Greatest difference of predictions, in ranks, at the keys. */
static double apart(const struct model *a, const struct model *b,
                    const struct key_set *set)
{
    double most = 0;
    for (size_t i = 0; i < set->count; i++)
        most = fmax(most, fabs(model_rank(a, set->keys[i]) -
                               model_rank(b, set->keys[i])));
    return most;
}

Test(fit, equals_itself_from_any_parts, .timeout = 120)
{
    printf("seed %llu\n", (unsigned long long)seed);
    for (int s = 0; s < KEYS_SHAPES; s++) {
        struct key_set set = key_set_make((enum key_shape)s, 30000, seed);
        struct rng rng;
        rng_init(&rng, seed);
        for (int k = MODEL_LINEAR; set.count && k <= MODEL_CUBIC; k++) {
            struct model *central = fit(&set, 64, (enum model_kind)k);
            for (uint64_t parts = 1; parts <= 1000; parts *= 31) {
                struct sums *sums = sum_parts(central, &set, &rng, parts);
                struct fit_config config = { 64, MODEL_CUBIC,
                                             (enum model_kind)k };
                struct model *joined;
                cr_assert_eq(fit_leaves(central, sums, &config, &joined),
                             DLHT_OK);
                double off = apart(central, joined, &set);
                cr_expect(off <= 1e-6, "%s, kind %d, %d parts: %g",
                          key_shape_names[s], k, (int)parts, off);
                struct model_stats stats;
                model_measure(joined, set.keys, set.count, &stats);
                cr_expect_eq(stats.outside, 0, "%s", key_shape_names[s]);
                cr_expect_eq(stats.inversions, 0);
                model_free(joined);
                free(sums);
            }
            model_free(central);
        }
        key_set_free(&set);
    }
}

/* Quantiles as one holder would send them: every step-th key. */
static struct fit_quantile *quantiles(const struct key_set *set, size_t step,
                                      size_t *count)
{
    struct fit_quantile *q = calloc(set->count / step + 1, sizeof *q);
    size_t n = 0;
    for (size_t i = 0; i < set->count; i += step) {
        size_t left = set->count - i;
        uint64_t weight = left < step ? left : step;
        if (n > 0 && span_equal(q[n - 1].key, set->keys[i])) {
            q[n - 1].count += weight;
            continue;
        }
        q[n].key = set->keys[i];
        q[n++].count = weight;
    }
    *count = n;
    return q;
}

Test(fit, needs_no_more_than_quantiles_and_sums, .timeout = 120)
{
    for (int s = 0; s < KEYS_SHAPES; s++) {
        struct key_set set = key_set_make((enum key_shape)s, 100000, seed);
        if (set.count == 0)
            continue;
        size_t count;
        size_t step = set.count / 3000;
        struct fit_quantile *q = quantiles(&set, step, &count);
        struct fit_config config = { 300, MODEL_CUBIC, MODEL_CUBIC };
        struct model *skeleton;
        cr_assert_eq(
            fit_skeleton(q, count, set.keys[set.count - 1], &config, &skeleton),
            DLHT_OK);
        struct model_stats stats;
        model_measure(skeleton, set.keys, set.count, &stats);
        cr_expect_eq(stats.inversions, 0);
        double tied = key_set_tied(&set);
        tied = tied > 1.0 / 300 ? tied : 0;
        cr_expect(stats.ks <= 2.0 / 300 + tied, "%s: %g", key_shape_names[s],
                  stats.ks);
        struct rng rng;
        rng_init(&rng, seed);
        struct sums *sums = sum_parts(skeleton, &set, &rng, 30);
        struct model *model;
        cr_assert_eq(fit_leaves(skeleton, sums, &config, &model), DLHT_OK);
        model_measure(model, set.keys, set.count, &stats);
        cr_expect_eq(stats.outside, 0, "%s", key_shape_names[s]);
        cr_expect(stats.ks <= 1.2 / 300 + tied, "%s: %g", key_shape_names[s],
                  stats.ks);
        model_free(model);
        model_free(skeleton);
        free(sums);
        free(q);
        key_set_free(&set);
    }
}

/* Keys that came since the skeleton, before and after all its knots. */
Test(fit, bounds_hold_for_keys_beyond_the_knots)
{
    struct key_set set = key_set_make(KEYS_UNIFORM, 20000, seed);
    struct key_set middle = set;
    middle.keys = set.keys + 5000;
    middle.count = 10000;
    struct rng rng;
    rng_init(&rng, seed);
    for (int k = MODEL_LINEAR; k <= MODEL_CUBIC; k++) {
        struct model *skeleton = fit(&middle, 20, (enum model_kind)k);
        struct sums *sums = sum_parts(skeleton, &set, &rng, 10);
        struct fit_config config = { 20, MODEL_CUBIC, (enum model_kind)k };
        struct model *model;
        cr_assert_eq(fit_leaves(skeleton, sums, &config, &model), DLHT_OK);
        struct model_stats stats;
        model_measure(model, set.keys, set.count, &stats);
        cr_expect_eq(stats.outside, 0);
        cr_expect_eq(stats.inversions, 0);
        model_free(model);
        model_free(skeleton);
        free(sums);
    }
    key_set_free(&set);
}

Test(fit, keeps_leaves_that_have_no_keys)
{
    struct key_set set = key_set_make(KEYS_UNIFORM, 2000, seed);
    struct model *skeleton = fit(&set, 20, MODEL_CUBIC);
    struct sums *sums = calloc(20, sizeof *sums);
    fit_sum(skeleton, set.keys + 500, 300, sums);
    struct fit_config config = fit_config_default();
    struct model *model;
    cr_assert_eq(fit_leaves(skeleton, sums, &config, &model), DLHT_OK);
    cr_expect_eq(model_leaf_count(model), 20);
    cr_expect_eq(model_key_count(model), 300);
    struct model_stats stats;
    model_measure(model, set.keys + 500, 300, &stats);
    cr_expect_eq(stats.outside, 0);
    cr_expect_eq(model_position(model, set.keys[0]), 0);
    cr_expect_eq(model_position(model, set.keys[1999]), UINT64_MAX);
    struct buf bytes = { 0 };
    struct model *again;
    cr_assert_eq(model_pack(model, &bytes), DLHT_OK);
    cr_assert_eq(model_unpack(buf_span(&bytes), &again), DLHT_OK);
    model_free(again);
    buf_deinit(&bytes);
    memset(sums, 0, 20 * sizeof *sums);
    cr_expect_eq(fit_leaves(skeleton, sums, &config, &again), DLHT_EINVAL);
    cr_expect_null(again);
    model_free(model);
    model_free(skeleton);
    free(sums);
    key_set_free(&set);
}

Test(fit, updates_one_leaf_and_no_other)
{
    struct key_set set = key_set_make(KEYS_CLUSTERED, 40000, seed);
    for (int k = MODEL_LINEAR; k <= MODEL_CUBIC; k++) {
        struct model *model = fit(&set, 50, (enum model_kind)k);
        enum {
            LEAF = 17
        };
        /* Every third key of the leaf went, the others came twice. */
        size_t from = model_keys_before(model, LEAF);
        size_t to = model_keys_before(model, LEAF + 1);
        struct span *keys = calloc(2 * set.count, sizeof *keys);
        size_t n = 0;
        for (size_t i = 0; i < set.count; i++) {
            bool in = i >= from && i < to;
            for (int c = 0; c < (!in ? 1 : i % 3 ? 2 : 0); c++)
                keys[n++] = set.keys[i];
        }
        struct sums sums[50] = { { { 0 }, { 0 }, { 0 } } };
        fit_sum(model, keys, n, sums);
        struct model *updated;
        cr_assert_eq(fit_update_leaf(model, LEAF, &sums[LEAF], &updated),
                     DLHT_OK);
        cr_assert_eq(model_key_count(updated), n);
        double came = (double)n - (double)set.count;
        for (size_t i = 0; i < set.count; i++) {
            double was = model_rank(model, set.keys[i]);
            double is = model_rank(updated, set.keys[i]);
            if (i < from)
                cr_assert_eq(is, was);
            else if (i >= to)
                cr_assert_float_eq(is, was + came, 1e-7);
        }
        struct model_stats stats;
        model_measure(updated, keys, n, &stats);
        cr_expect_eq(stats.outside, 0);
        cr_expect_eq(stats.inversions, 0);
        cr_expect(stats.ks < 2.0 / 50);
        struct model *bad;
        cr_expect_eq(fit_update_leaf(model, 50, &sums[LEAF], &bad),
                     DLHT_EINVAL);
        model_free(updated);
        model_free(model);
        free(keys);
    }
    key_set_free(&set);
}

Test(fit, holds_given_coefficients_monotone)
{
    struct key_set set = key_set_make(KEYS_LOGNORMAL, 20000, seed);
    for (int k = MODEL_LINEAR; k <= MODEL_CUBIC; k++) {
        struct model *model = fit(&set, 40, (enum model_kind)k);
        double given[80];
        struct rng rng;
        rng_init(&rng, seed);
        static const double odd[] = { NAN,  INFINITY, -INFINITY, -5,
                                      1e18, -1e300,   1,         3.5 };
        for (int i = 0; i < 80; i++)
            given[i] = odd[rng_below(&rng, 8)];
        struct model *made;
        cr_assert_eq(fit_with_coefficients(model, given, &made), DLHT_OK);
        struct model_stats stats;
        model_measure(made, set.keys, set.count, &stats);
        cr_expect_eq(stats.inversions, 0);
        cr_expect_eq(stats.outside, 0);
        struct buf bytes = { 0 };
        struct model *again;
        cr_assert_eq(model_pack(made, &bytes), DLHT_OK);
        cr_assert_eq(model_unpack(buf_span(&bytes), &again), DLHT_OK);
        model_free(again);
        model_free(made);
        /* Its own coefficients change nothing. */
        for (uint32_t i = 0; i < 40; i++)
            model_leaf_coefficients(model, i, &given[2 * i]);
        cr_assert_eq(fit_with_coefficients(model, given, &made), DLHT_OK);
        cr_expect_eq(apart(model, made, &set), 0);
        model_free(made);
        model_free(model);
        buf_deinit(&bytes);
    }
    key_set_free(&set);
}

Test(fit, refuses_what_is_no_sorted_set)
{
    struct key_set set = key_set_make(KEYS_UNIFORM, 5000, seed);
    struct fit_config config = { 64, MODEL_CUBIC, MODEL_CUBIC };
    struct model *model;
    cr_expect_eq(fit_u64(set.numbers, 0, &config, &model), DLHT_EINVAL);
    cr_expect_eq(fit_keys(NULL, 0, &config, &model), DLHT_EINVAL);
    static const struct fit_config bad[] = {
        { 0, MODEL_CUBIC, MODEL_CUBIC },
        { MODEL_LEAVES_MAX + 1, MODEL_CUBIC, MODEL_CUBIC },
        { 4, (enum model_kind)0, MODEL_CUBIC },
        { 4, MODEL_CUBIC, (enum model_kind)3 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(fit_keys(set.keys, 100, &bad[i], &model), DLHT_EINVAL);
        cr_expect_null(model);
    }
    /* Two keys changed places, wherever they are. */
    struct rng rng;
    rng_init(&rng, seed);
    for (int round = 0; round < 400; round++) {
        size_t a = (size_t)rng_below(&rng, set.count - 1);
        size_t b = round % 2 ? a + 1 : (size_t)rng_below(&rng, set.count);
        if (a == b || set.numbers[a] == set.numbers[b])
            continue;
        for (int back = 0; back < 2; back++) {
            struct span key = set.keys[a];
            set.keys[a] = set.keys[b];
            set.keys[b] = key;
            uint64_t x = set.numbers[a];
            set.numbers[a] = set.numbers[b];
            set.numbers[b] = x;
            int want = back ? DLHT_OK : DLHT_EINVAL;
            cr_expect_eq(fit_keys(set.keys, set.count, &config, &model), want);
            model_free(model);
            cr_expect_eq(fit_u64(set.numbers, set.count, &config, &model),
                         want);
            model_free(model);
        }
    }
    /* Keys in no order at all, of any length. */
    for (size_t i = 0; i < 3000; i++)
        set.keys[i] =
            span_of(set.bytes + rng_below(&rng, 30000), rng_below(&rng, 400));
    cr_expect_eq(fit_keys(set.keys, 3000, &config, &model), DLHT_EINVAL);
    key_set_free(&set);
}

Test(fit, refuses_wrong_quantiles)
{
    struct span a = span_str("a");
    struct span b = span_str("b");
    struct fit_config config = fit_config_default();
    struct model *model;
    struct fit_quantile fine[] = { { a, 5 }, { b, 5 } };
    cr_assert_eq(fit_skeleton(fine, 2, b, &config, &model), DLHT_OK);
    cr_expect_eq(model_key_count(model), 10);
    model_free(model);
    struct fit_quantile fallen[] = { { b, 5 }, { a, 5 } };
    struct fit_quantile twice[] = { { a, 5 }, { a, 5 } };
    struct fit_quantile none[] = { { a, 0 }, { b, 0 } };
    struct fit_quantile many[] = { { a, UINT64_MAX }, { b, 2 } };
    cr_expect_eq(fit_skeleton(fallen, 2, b, &config, &model), DLHT_EINVAL);
    cr_expect_eq(fit_skeleton(twice, 2, b, &config, &model), DLHT_EINVAL);
    cr_expect_eq(fit_skeleton(none, 2, b, &config, &model), DLHT_EINVAL);
    cr_expect_eq(fit_skeleton(many, 2, b, &config, &model), DLHT_EINVAL);
    cr_expect_eq(fit_skeleton(fine, 2, a, &config, &model), DLHT_EINVAL);
    cr_expect_eq(fit_skeleton(fine, 0, b, &config, &model), DLHT_EINVAL);
}

/* One number of true sums is changed. */
Test(fit, knows_sums_that_cannot_be)
{
    struct sums fine = { { 0 }, { 0 }, { 0 } };
    for (int i = 0; i < 100; i++)
        sums_add(&fine, i / 99.0);
    cr_assert(sums_are_sane(&fine));
    cr_assert_eq(sums_count(&fine), 100);
    struct sums none = { { 0 }, { 0 }, { 0 } };
    cr_assert(sums_are_sane(&none));
    static const double odd[] = { NAN, INFINITY, -1, 1e30 };
    double *numbers[] = { fine.t, fine.tr };
    for (int a = 0; a < 2; a++)
        for (int i = 0; i < (a ? SUMS_RANKS : SUMS_POWERS); i++)
            for (int o = 0; o < 4; o++) {
                double was = numbers[a][i];
                numbers[a][i] = odd[o];
                cr_expect(!sums_are_sane(&fine), "%d %d %d", a, i, o);
                numbers[a][i] = was;
            }
    for (int i = 0; i < SUMS_CELLS; i++) {
        fine.cell[i] += 1;
        cr_expect(!sums_are_sane(&fine));
        fine.cell[i] -= 1;
    }
    fine.cell[0] += 5; /* the count is right, the places are not */
    fine.cell[15] -= 5;
    cr_expect(!sums_are_sane(&fine));
}

/* Every call that allocates, with the n-th allocation failing. */
static int memory_calls(const struct key_set *set, const struct sums *sums,
                        const struct model *fine)
{
    struct fit_config config = { 16, MODEL_CUBIC, MODEL_CUBIC };
    struct model *model = NULL;
    struct model *more = NULL;
    struct buf bytes = { 0 };
    struct fit_quantile q[] = { { set->keys[0], 5 }, { set->keys[9], 7 } };
    double coef[32] = { 1 };
    int rc = fit_keys(set->keys, set->count, &config, &model);
    cr_assert((rc == DLHT_OK) == (model != NULL));
    if (rc == DLHT_OK) {
        model_free(model);
        rc = fit_skeleton(q, 2, set->keys[10], &config, &model);
    }
    if (rc == DLHT_OK) {
        model_free(model);
        rc = fit_leaves(fine, sums, &config, &model);
    }
    if (rc == DLHT_OK) {
        model_free(model);
        rc = fit_update_leaf(fine, 3, &sums[3], &model);
    }
    if (rc == DLHT_OK) {
        model_free(model);
        rc = fit_with_coefficients(fine, coef, &model);
    }
    if (rc == DLHT_OK)
        rc = model_pack(model, &bytes);
    if (rc == DLHT_OK)
        rc = model_unpack(buf_span(&bytes), &more);
    if (rc == DLHT_OK)
        rc = model_key_at(more, UINT64_MAX / 3, &bytes);
    cr_assert(rc == DLHT_OK || rc == DLHT_ENOMEM);
    model_free(model); /* a call that failed left NULL */
    model_free(more);
    buf_deinit(&bytes);
    return rc;
}

Test(fit, is_all_or_nothing_without_memory)
{
    if (!fail_alloc_works()) {
        printf("SKIPPED: allocations cannot be made to fail in this build\n");
        return;
    }
    struct key_set set = key_set_make(KEYS_UNIFORM, 200, seed);
    struct model *fine = fit(&set, 16, MODEL_CUBIC);
    struct sums sums[16] = { { { 0 }, { 0 }, { 0 } } };
    fit_sum(fine, set.keys, set.count, sums);
    uint64_t n = 1;
    for (;; n++) {
        fail_alloc_nth(n);
        int rc = memory_calls(&set, sums, fine);
        fail_alloc_nth(0);
        if (fail_alloc_count() == 0) {
            cr_assert_eq(rc, DLHT_OK);
            break;
        }
        cr_assert_eq(rc, DLHT_ENOMEM, "allocation %d", (int)n);
    }
    cr_assert(n > 15, "%d", (int)n);
    model_free(fine);
    key_set_free(&set);
}
