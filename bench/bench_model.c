/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench model: how near the truth a model is, how large, and how long it
 * takes to ask and to make one.
 *
 * Times are of the processor, not of the wall: the machine may be shared. Of
 * the rounds the tenth part that was fastest is passed over and the next one
 * told. */

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/rng.h"
#include "bench.h"
#include "dlht/err.h"
#include "table.h"

enum {
    BURST = 100000, /* lookups in one go */
    ROUNDS_MAX = 1000,
    LEAVES = 1024
};

static volatile uint64_t sink; /* what is found, lest it be left out */

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Positions of fitted keys in random order, which lie one after the other, as
 * if they had just come in. */
static double time_positions(const struct bench_options *options,
                             const struct key_set *set,
                             const struct model *model)
{
    static struct span ask[BURST];
    static uint64_t ask_numbers[BURST];
    static double times[ROUNDS_MAX];
    size_t rounds = bench_size(options, options->rounds, 25, 1);
    struct buf bytes = { 0 };
    struct rng rng;
    rng_init(&rng, options->seed);
    for (size_t round = 0; round < rounds; round++) {
        buf_reset(&bytes);
        for (size_t i = 0; i < BURST; i++) {
            size_t k = (size_t)rng_below(&rng, set->count);
            ask_numbers[i] = set->numbers ? set->numbers[k] : 0;
            ask[i] = set->keys[k];
            buf_append_span(&bytes, ask[i]);
        }
        for (size_t i = 0, at = 0; i < BURST; at += ask[i].len, i++)
            ask[i].data = bytes.data + at;
        uint64_t sum = 0;
        double before = bench_cpu_ns();
        if (set->numbers)
            for (size_t i = 0; i < BURST; i++)
                sum += model_position_u64(model, ask_numbers[i]);
        else
            for (size_t i = 0; i < BURST; i++)
                sum += model_position(model, ask[i]);
        times[round] = (bench_cpu_ns() - before) / BURST;
        sink = sum;
    }
    buf_deinit(&bytes);
    qsort(times, rounds, sizeof *times, by_number);
    return times[rounds / 10];
}

/* Of all models that were measured. */
struct worst {
    uint64_t inversions, outside;
    double ks; /* in what one leaf may be off by */
};

static void tell_model(const struct bench_options *options, struct table *table,
                       const struct key_set *set, const char *name,
                       enum model_kind kind, struct worst *worst)
{
    uint32_t leaves = options->leaves ? options->leaves : LEAVES;
    struct model *model = bench_fit_kind(set, leaves, kind);
    struct model_stats stats;
    model_measure(model, set->keys, set->count, &stats);
    table_text(table, "keys", name);
    table_number(table, "key_count", (double)set->count, 0);
    table_text(table, "leaf", kind == MODEL_CUBIC ? "cubic" : "line");
    table_number(table, "leaves", model_leaf_count(model), 0);
    table_number(table, "ks", stats.ks, 6);
    table_number(table, "mean_error", stats.mean_error, 6);
    table_number(table, "max_error", stats.max_error, 6);
    table_number(table, "mean_bound", stats.mean_bound, 6);
    table_number(table, "bytes", (double)model_packed_size(model), 0);
    table_number(table, "ask_ns", time_positions(options, set, model), 1);
    table_end_row(table);
    worst->inversions += stats.inversions;
    worst->outside += stats.outside;
    /* A leaf holds 1 / K of the keys and a key's own share, and all those that
     * no knot can tell apart. */
    double leaf = 1.0 / model_leaf_count(model) + 2.0 / (double)set->count;
    double tied = key_set_tied(set);
    double ks = stats.ks / (tied > leaf ? tied + leaf : leaf);
    worst->ks = ks > worst->ks ? ks : worst->ks;
    model_free(model);
}

static double time_fit(const struct key_set *set, bool spans)
{
    struct fit_config config = fit_config_default();
    double best = 1e300;
    for (int round = 0; round < 5; round++) {
        struct model *model;
        double before = bench_cpu_ns();
        int rc = spans ? fit_keys(set->keys, set->count, &config, &model)
                       : fit_u64(set->numbers, set->count, &config, &model);
        double took = (bench_cpu_ns() - before) / 1e6;
        if (rc != DLHT_OK)
            bench_die(dlht_strerror(rc));
        best = took < best ? took : best;
        model_free(model);
    }
    return best;
}

static void tell_fit(const struct bench_options *options, struct table *table,
                     enum key_shape shape, size_t count)
{
    struct key_set set = key_set_make(shape, count, options->seed);
    table_text(table, "keys", key_shape_names[shape]);
    table_number(table, "key_count", (double)count, 0);
    if (set.numbers)
        table_number(table, "numbers_ms", time_fit(&set, false), 2);
    table_number(table, "strings_ms", time_fit(&set, true), 2);
    table_end_row(table);
    key_set_free(&set);
}

void bench_model(const struct bench_options *options)
{
    size_t count = bench_size(options, 0, 1000000, 100000);
    struct worst worst = { 0 };
    struct table *table =
        table_begin(options, "model", "Models: shares of all keys, ns a key");
    for (int s = 0; s < KEYS_SHAPES; s++) {
        if (options->has_shape && options->shape != (enum key_shape)s)
            continue;
        struct key_set set =
            key_set_make((enum key_shape)s, count, options->seed);
        for (int k = MODEL_LINEAR; k <= MODEL_CUBIC && set.count > 0; k++)
            tell_model(options, table, &set, key_shape_names[s],
                       (enum model_kind)k, &worst);
        key_set_free(&set);
    }
    table_end(table, NULL);
    bench_promise(options, "neighbours whose positions fall",
                  (double)worst.inversions, 0);
    bench_promise(options, "keys outside their bounds", (double)worst.outside,
                  0);
    bench_promise(options, "greatest KS distance, in leaves", worst.ks, 1);
    static const enum key_shape shapes[] = { KEYS_UNIFORM, KEYS_LOGNORMAL,
                                             KEYS_CLUSTERED, KEYS_TIMESTAMPS,
                                             KEYS_RANDOM_16 };
    size_t most = bench_size(options, options->keys, 10000000, 100000);
    table = table_begin(options, "fit", "Training, keys sorted, one thread");
    for (size_t n = count < most ? count : most; n <= most; n *= 10)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            if (!options->has_shape || options->shape == shapes[s])
                tell_fit(options, table, shapes[s], n);
    table_end(table, NULL);
}
