/* SPDX-License-Identifier: Apache-2.0 */

/* Rounds without memory, and of anything that strangers may say. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "chord/fail_alloc.h"
#include "dlht/err.h"
#include "training/federation.h"
#include "training/rounds.h"

/* A whole round of three arcs; everything is freed whatever fails. */
static int small_run(void)
{
    struct rounds_small *s = malloc(sizeof *s);
    if (!s)
        return DLHT_ENOMEM;
    s->round = NULL;
    struct buf packed = { 0 };
    struct model *slice = NULL;
    struct model *model = NULL;
    struct sums sums[8] = { { { 0 }, { 0 }, { 0 } } };
    uint32_t first;
    int rc = rounds_small_begin(s, 8);
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
    struct rounds_small *s = calloc(1, sizeof *s);
    struct fit_config config = fit_config_default();
    cr_assert_eq(round_new(&config, NULL, &s->round), DLHT_OK);
    struct report report = rounds_part("", NULL);
    rounds_fill(&report, s->quantiles[0], s->bytes[0], 500);
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
    struct key_set set = rounds_keys(KEYS_UNIFORM, 1000);
    struct fit_config config = { 8, MODEL_CUBIC, MODEL_CUBIC };
    struct model *previous;
    cr_assert_eq(fit_keys(set.keys, set.count, &config, &previous), DLHT_OK);
    struct rng rng;
    rng_init(&rng, rounds_seed);
    size_t refused = 0;
    size_t models = 0;
    for (int n = 0; n < 3000; n++)
        models += any_round(&rng, n % 2 ? previous : NULL, &refused);
    printf("seed %llu: %zu models, %zu reports and sums refused\n",
           (unsigned long long)rounds_seed, models, refused);
    cr_assert(models > 2000 && refused > 100);
    model_free(previous);
    key_set_free(&set);
}
