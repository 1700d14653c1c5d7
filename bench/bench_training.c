/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench training: what a federated round costs and how near the truth its
 * model is, beside two others: coefficients averaged by weight, as LEAD's
 * federated model does, and straight lines between concatenated quantiles. All
 * three see the same arcs, after the keys grew by 30 % in one region since the
 * model before.
 *
 * Words are those of /usr/share/dict/words; the others are made. Bytes are of
 * what a node sends and hears, without frames. Times are of the processor, of one run. */

#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "dlht/err.h"
#include "table.h"
#include "training/federation.h"
#include "turn.h"

/* With 300 arcs or more, cut at random, and 1,024 leaves. */
#define BYTES_TARGET 4096.0
#define KS_TARGET 0.002

static double cpu_seconds(void)
{
    return bench_cpu_ns() * 1e-9;
}

/* Figures of one set of keys. */
struct figures {
    double ks_before, ks_at_once, ks_exact, ks_skeleton, ks_averaged;
    double ks_quantiles[2], bytes_quantiles[2];
    double mean_error[2], mean_bound[2]; /* of pass 1 alone, of a round */
    double apart;
    double bytes[3], bytes_all, bytes_most;
    double ns_a_key, fit_ms;
};

static const size_t quantile_counts[2] = { 16, 64 };

static void measure_quantiles(const struct federation *f,
                              const struct key_set *set, struct figures *out)
{
    struct fit_quantile quantiles[REPORT_QUANTILES_MAX];
    for (int i = 0; i < 2; i++) {
        struct model *model = federation_concatenate(f, quantile_counts[i]);
        out->ks_quantiles[i] = bench_ks(model, set);
        model_free(model);
        for (size_t a = 0; a < f->arc_count; a++) {
            struct report report =
                federation_report(f, a, quantile_counts[i], quantiles);
            out->bytes_quantiles[i] +=
                (double)federation_report_size(&report) / (double)f->arc_count;
        }
    }
}

static void measure_rounds(const struct federation *f,
                           const struct key_set *set, uint32_t leaves,
                           const struct model *old, struct figures *out)
{
    struct federation_plan plan = federation_plan_default();
    plan.config.leaf_count = leaves;
    plan.previous = old;
    struct federation_result exact = federation_run(f, &plan, cpu_seconds);
    out->ks_exact = bench_ks(exact.model, set);
    out->ks_skeleton = bench_ks(exact.skeleton, set);
    const struct model *models[2] = { exact.skeleton, exact.model };
    for (int i = 0; i < 2; i++) {
        struct model_stats stats;
        model_measure(models[i], set->keys, set->count, &stats);
        out->mean_error[i] = stats.mean_error;
        out->mean_bound[i] = stats.mean_bound;
    }
    out->apart = federation_apart(f, exact.model, exact.at_once);
    for (int i = 0; i < 3; i++) {
        out->bytes[i] = exact.bytes[i] / (double)f->arc_count;
        out->bytes_all += out->bytes[i];
    }
    out->bytes_most = exact.most;
    out->ns_a_key = exact.sum_seconds * 1e9 / (double)f->count;
    out->fit_ms = exact.fit_seconds * 1e3;
    federation_result_deinit(&exact);
    struct model *averaged = federation_average(f, old);
    out->ks_averaged = bench_ks(averaged, set);
    model_free(averaged);
}

static struct figures measure(const struct bench_options *options,
                              const struct key_set *set, size_t arcs,
                              uint32_t leaves)
{
    struct figures out = { 0 };
    struct rng rng;
    rng_init(&rng, options->seed);
    struct federation f =
        federation_cut(set->keys, set->count, arcs, true, &rng);
    struct fit_config config = fit_config_default();
    config.leaf_count = leaves;
    size_t count;
    struct span *before = federation_before(&f, &rng, &count);
    struct model *old;
    if (fit_keys(before, count, &config, &old) != DLHT_OK)
        bench_die("no model");
    struct model *at_once = bench_fit(set, leaves);
    out.ks_before = bench_ks(old, set);
    out.ks_at_once = bench_ks(at_once, set);
    measure_rounds(&f, set, leaves, old, &out);
    measure_quantiles(&f, set, &out);
    model_free(at_once);
    model_free(old);
    free(before);
    federation_deinit(&f);
    return out;
}

static void tell_ks(struct table *t, const char *name, const struct figures *r)
{
    table_text(t, "keys", name);
    table_number(t, "before", r->ks_before, 5);
    table_number(t, "at_once", r->ks_at_once, 5);
    table_number(t, "round", r->ks_exact, 5);
    table_number(t, "pass_1", r->ks_skeleton, 5);
    table_number(t, "fedavg_coeff", r->ks_averaged, 5);
    table_number(t, "quantiles_16", r->ks_quantiles[0], 5);
    table_number(t, "quantiles_64", r->ks_quantiles[1], 5);
    table_number(t, "mean_error_pass_1", r->mean_error[0], 6);
    table_number(t, "mean_error_round", r->mean_error[1], 6);
    table_number(t, "mean_bound_round", r->mean_bound[1], 6);
    table_number(t, "apart_ranks", r->apart, 9);
    table_end_row(t);
}

static void tell_cost(struct table *t, const char *name,
                      const struct figures *r)
{
    table_text(t, "keys", name);
    table_number(t, "bytes_an_arc", r->bytes_all, 0);
    table_number(t, "report", r->bytes[0], 0);
    table_number(t, "slice", r->bytes[1], 0);
    table_number(t, "sums", r->bytes[2], 0);
    table_number(t, "most", r->bytes_most, 0);
    table_number(t, "quantiles_16", r->bytes_quantiles[0], 0);
    table_number(t, "quantiles_64", r->bytes_quantiles[1], 0);
    table_number(t, "sum_ns_key", r->ns_a_key, 1);
    table_number(t, "fit_ms", r->fit_ms, 2);
    table_end_row(t);
}

void bench_training(const struct bench_options *options)
{
    static const enum key_shape shapes[] = { KEYS_WORDS, KEYS_LOGNORMAL };
    size_t arcs = options->arcs ? options->arcs : 300;
    size_t keys = bench_size(options, options->keys, 1000000, 100000);
    uint32_t leaves = options->leaves ? options->leaves : 1024;
    double apart = 0, ks_ratio = 0, most = 0, ks_most = 0;
    struct table *ks = table_begin(
        options, "training", "A federated round beside others: KS distance");
    struct table *cost = table_begin(options, "training_cost",
                                     "What it costs: bytes, processor time");
    struct table *turn = table_begin(options, "training_turn",
                                     "How long it keeps a node's thread busy");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct key_set set = key_set_make(shapes[i], keys, options->seed);
        if (set.count > arcs * 2) {
            const char *name = key_shape_names[shapes[i]];
            struct figures r = measure(options, &set, arcs, leaves);
            tell_ks(ks, name, &r);
            tell_cost(cost, name, &r);
            bench_turn(turn, name, &set, options->seed);
            apart = r.apart > apart ? r.apart : apart;
            double ratio = r.ks_exact / r.ks_at_once;
            ks_ratio = ratio > ks_ratio ? ratio : ks_ratio;
            most = r.bytes_most > most ? r.bytes_most : most;
            ks_most = r.ks_exact > ks_most ? r.ks_exact : ks_most;
        }
        key_set_free(&set);
    }
    table_end(ks, NULL);
    table_end(cost, NULL);
    table_end(turn, NULL);
    bench_promise(options, "a round beside one look, ranks apart", apart, 1e-6);
    bench_promise(options, "KS of a round, in that of one look", ks_ratio, 2);
    bench_promise(options, "KS of a round", ks_most, KS_TARGET);
    if (arcs >= 300 && leaves <= 1024)
        bench_promise(options, "bytes of the arc that has most", most,
                      BYTES_TARGET);
}
