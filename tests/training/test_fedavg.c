/* SPDX-License-Identifier: Apache-2.0 */

#include "training/fedavg.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "chord/fail_alloc.h"
#include "dlht/err.h"
#include "rmi/key_sets.h"
#include "training/federation.h"

static const uint64_t seed = 20261121;

static struct model *fit(const struct span *keys, size_t count,
                         uint32_t leaf_count)
{
    struct fit_config config = { leaf_count, MODEL_CUBIC, MODEL_CUBIC };
    struct model *model;
    cr_assert_eq(fit_keys(keys, count, &config, &model), DLHT_OK);
    return model;
}

/* A copy of model with these coefficients in every leaf. */
static struct model *with(const struct model *model, double a, double b)
{
    double coefficients[64];
    uint32_t leaf_count = model_leaf_count(model);
    cr_assert(leaf_count <= 32);
    for (uint32_t i = 0; i < leaf_count; i++) {
        coefficients[2 * i] = a;
        coefficients[2 * i + 1] = b;
    }
    struct model *copy;
    cr_assert_eq(fit_with_coefficients(model, coefficients, &copy), DLHT_OK);
    return copy;
}

Test(fedavg, weights_are_those_of_the_keys)
{
    struct key_set set = key_set_make(KEYS_UNIFORM, 10000, seed);
    struct model *base = fit(set.keys, set.count, 16);
    struct model *zero = with(base, 0, 2);
    struct model *one = with(base, 1, 0);
    const struct {
        uint64_t keys[2];
        double a, b;
    } rows[] = {
        { { 1, 999 }, 0.999, 0.002 },
        { { 999, 1 }, 0.001, 1.998 },
        { { 5, 5 }, 0.5, 1 },
        { { 0, 7 }, 1, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fedavg_part parts[2] = { { zero, rows[i].keys[0] },
                                        { one, rows[i].keys[1] } };
        struct model *merged;
        cr_assert_eq(fedavg_merge(parts, 2, &merged), DLHT_OK);
        for (uint32_t j = 0; j < 16; j++) {
            double coef[2];
            model_leaf_coefficients(merged, j, coef);
            cr_assert(fabs(coef[0] - rows[i].a) < 1e-12, "row %zu", i);
            cr_assert(fabs(coef[1] - rows[i].b) < 1e-12, "row %zu", i);
        }
        model_free(merged);
    }
    model_free(one);
    model_free(zero);
    model_free(base);
    key_set_free(&set);
}

Test(fedavg, other_knots_are_refused)
{
    struct key_set set = key_set_make(KEYS_UNIFORM, 10000, seed);
    struct model *a = fit(set.keys, set.count, 16);
    struct model *fewer = fit(set.keys, set.count, 15);
    struct model *moved = fit(set.keys + 500, set.count - 500, 16);
    struct fit_config config = { 16, MODEL_CUBIC, MODEL_LINEAR };
    struct model *lines;
    cr_assert_eq(fit_keys(set.keys, set.count, &config, &lines), DLHT_OK);
    const struct model *others[] = { fewer, moved, lines };
    struct model *merged = a;
    for (size_t i = 0; i < 3; i++) {
        struct fedavg_part parts[2] = { { a, 1 }, { others[i], 1 } };
        cr_assert_eq(fedavg_merge(parts, 2, &merged), DLHT_EINVAL);
        cr_assert_null(merged);
    }
    struct fedavg_part none[2] = { { a, 0 }, { a, 0 } };
    cr_assert_eq(fedavg_merge(none, 2, &merged), DLHT_EINVAL);
    cr_assert_eq(fedavg_merge(none, 0, &merged), DLHT_EINVAL);
    struct fedavg_part twice[2] = { { a, 1 }, { a, 2 } };
    for (uint64_t nth = 1; fail_alloc_works(); nth++) {
        fail_alloc_nth(nth);
        int rc = fedavg_merge(twice, 2, &merged);
        fail_alloc_nth(0);
        if (rc == DLHT_OK) {
            cr_assert(nth > 3);
            model_free(merged);
            break;
        }
        cr_assert_eq(rc, DLHT_ENOMEM);
        cr_assert_null(merged);
    }
    model_free(lines);
    model_free(moved);
    model_free(fewer);
    model_free(a);
    key_set_free(&set);
}

Test(fedavg, readiness_flips_at_forty_and_ninety_percent)
{
    for (uint64_t known = 1; known < 3000; known++) {
        uint64_t least = 1;
        while (least * 100 < known * 40)
            least++;
        cr_assert(fedavg_ready(least, known));
        cr_assert(least == 1 || !fedavg_ready(least - 1, known));
        cr_assert_not(fedavg_ready(0, known));
    }
    cr_assert_not(fedavg_ready(0, 0));
    cr_assert(fedavg_ready(1, 0));
    cr_assert(fedavg_ready(UINT64_MAX, UINT64_MAX));
    cr_assert_not(fedavg_ready(UINT64_MAX / 5 * 2 - 1, UINT64_MAX));
    for (size_t neighbours = 1; neighbours < 300; neighbours++)
        for (size_t ready = 0; ready <= neighbours; ready++) {
            bool may = ready * 100 >= neighbours * 90;
            cr_assert_eq(fedavg_may_coordinate(true, ready, neighbours), may);
            cr_assert_not(fedavg_may_coordinate(false, ready, neighbours));
        }
    cr_assert(fedavg_may_coordinate(true, 0, 0));
}

Test(fedavg, averaging_errs_by_what_the_neighbours_grew)
{
    const enum key_shape shapes[] = { KEYS_LOGNORMAL, KEYS_WORDS };
    printf("seed %llu; KS after +30 %% in one region, 64 arcs, 1,024 leaves\n",
           (unsigned long long)seed);
    for (size_t s = 0; s < 2; s++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct key_set set = key_set_make(shapes[s], 200000, seed);
        if (set.count < 100000) {
            key_set_free(&set);
            continue;
        }
        struct federation f =
            federation_cut(set.keys, set.count, 64, false, &rng);
        size_t count;
        struct span *before = federation_before(&f, &rng, &count);
        struct model *old = fit(before, count, 1024);
        struct model *average = federation_average(&f, old);
        struct federation_plan plan = federation_plan_default();
        plan.previous = old;
        struct federation_result exact = federation_run(&f, &plan, NULL);
        struct model_stats of_old;
        struct model_stats of_average;
        struct model_stats of_exact;
        model_measure(old, set.keys, set.count, &of_old);
        model_measure(average, set.keys, set.count, &of_average);
        model_measure(exact.model, set.keys, set.count, &of_exact);
        printf("  %-10s exact %.5f, averaged %.4f, the model before %.4f\n",
               key_shape_names[shapes[s]], of_exact.ks, of_average.ks,
               of_old.ks);
        cr_assert(of_exact.ks <= 0.002, "%f", of_exact.ks);
        cr_assert(of_average.ks >= 0.05, "%f", of_average.ks);
        cr_assert_eq(of_average.inversions, 0u);
        cr_assert_eq(exact.lies, 0u);
        /* What a round sees of the model before is what is true. */
        cr_assert(fabs(exact.error.max - of_old.ks) < 0.002);
        cr_assert(fabs(exact.error.mean - of_old.mean_error) < 0.002);
        federation_result_deinit(&exact);
        model_free(average);
        model_free(old);
        free(before);
        federation_deinit(&f);
        key_set_free(&set);
    }
}
