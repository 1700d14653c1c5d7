/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench lies: one of 64 arcs of equal depth claims 50 times its keys, in
 * both passes of a round, with and without those who count what it holds, and
 * with and without a model before (training/round.h). */

#include <stdio.h>

#include "bench.h"
#include "table.h"
#include "training/federation.h"

enum {
    ARCS = 64,
    LIAR = 20,
    FACTOR = 50
};

static const struct lie {
    const char *how;
    uint64_t factor;
    size_t replicas;
    bool first; /* no model before */
    double at_most;
} lies[] = {
    { "no lie", 1, 2, false, 0.002 },
    { "nobody counts, no model before", FACTOR, 0, true, 0.45 },
    { "nobody counts, cap by the model before", FACTOR, 0, false, 0.066 },
    { "one replica counts", FACTOR, 1, false, 0.003 },
    { "median of it and two replicas", FACTOR, 2, false, 0.003 },
    { "median, no model before", FACTOR, 2, true, 0.003 },
};

static struct federation cut(const struct key_set *set, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    struct federation f =
        federation_cut(set->keys, set->count, ARCS, false, &rng);
    for (size_t i = 1; i < ARCS; i++) {
        f.cut[i] = i * set->count / ARCS;
        /* All copies of a key are in one arc. */
        while (span_equal(set->keys[f.cut[i]], set->keys[f.cut[i] - 1]))
            f.cut[i]++;
        f.lo[i] = set->keys[f.cut[i]];
    }
    return f;
}

static void measure(const struct bench_options *options, struct table *table,
                    enum key_shape shape)
{
    size_t count = bench_size(options, options->keys, 1000000, 100000);
    struct key_set set = key_set_make(shape, count, options->seed);
    if (set.count < ARCS * 100)
        return;
    struct federation f = cut(&set, options->seed);
    struct federation_plan honest = federation_plan_default();
    struct federation_result before = federation_run(&f, &honest, NULL);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct federation_plan plan = federation_plan_default();
        plan.previous = lies[i].first ? NULL : before.model;
        plan.liar = LIAR;
        plan.factor = lies[i].factor;
        plan.replicas = lies[i].replicas;
        struct federation_result result = federation_run(&f, &plan, NULL);
        double ks = bench_ks(result.model, &set);
        table_text(table, "keys", key_shape_names[shape]);
        table_text(table, "who_counts", lies[i].how);
        table_number(table, "ks", ks, 5);
        table_number(table, "ks_at_most", lies[i].at_most, 3);
        table_number(table, "found", (double)result.lies, 0);
        table_end_row(table);
        char what[128];
        snprintf(what, sizeof what, "KS, %s: %s", key_shape_names[shape],
                 lies[i].how);
        bench_promise(options, what, ks, lies[i].at_most);
        federation_result_deinit(&result);
    }
    federation_result_deinit(&before);
    federation_deinit(&f);
    key_set_free(&set);
}

void bench_lies(const struct bench_options *options)
{
    static const enum key_shape shapes[] = { KEYS_WORDS, KEYS_CLUSTERED };
    struct table *table = table_begin(
        options, "lies", "One of 64 arcs claims 50 x its keys: KS distance");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (!options->has_shape || options->shape == shapes[i])
            measure(options, table, shapes[i]);
    table_end(table, NULL);
}
