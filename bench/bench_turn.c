/* SPDX-License-Identifier: Apache-2.0 */

/* How long a node's thread is busy with a round: a turn of summing, and a
 * report of as many quantiles as there may be. The keys lie in records that
 * were put in random order, as those of an arc of 64 MiB. */

#include "turn.h"

#include <stdlib.h>

#include "base/rng.h"
#include "bench.h"
#include "dlht/err.h"
#include "store/records.h"
#include "training/round.h"

enum {
    CHUNK = 256, /* as node/op_model.c has it */
    LEAVES = 64,
    VALUE_BYTES = 32
};

static struct records *fill(const struct key_set *set, struct rng *rng)
{
    struct records *records = records_new(1);
    size_t *order = bench_memory(set->count, sizeof *order);
    static const uint8_t value[VALUE_BYTES];
    for (size_t i = 0; i < set->count; i++) {
        size_t k = (size_t)rng_below(rng, i + 1);
        order[i] = order[k];
        order[k] = i;
    }
    for (size_t i = 0; records && i < set->count; i++) {
        struct record record = { .key = set->keys[order[i]],
                                 .value = span_of(value, sizeof value),
                                 .version = i + 1 };
        if (records_put(records, &record) != DLHT_OK)
            bench_die("no memory");
    }
    free(order);
    return records;
}

/* The next turn; false: there are no more keys. */
static bool sum_turn(struct records_cursor *at, const struct model *model,
                     struct sums *sums)
{
    struct span keys[CHUNK];
    bool there = true;
    for (size_t done = 0; there && done < ROUND_TURN_KEYS; done += CHUNK) {
        size_t n = 0;
        while (there && n < CHUNK) {
            keys[n++] = records_at(at).key;
            there = records_next(at);
        }
        fit_sum(model, keys, n, sums);
    }
    return there;
}

static double report_ms(const struct records *records)
{
    uint64_t keys = records_count(records);
    struct record before, record;
    size_t bytes = 0;
    double from = bench_cpu_ns();
    for (uint64_t i = 0; i < REPORT_QUANTILES_MAX; i++) {
        uint64_t at = keys * i / REPORT_QUANTILES_MAX;
        if (records_nth(records, at, &record) && at > 0 &&
            records_nth(records, at - 1, &before))
            bytes += report_separator(before.key, record.key).len;
    }
    double ms = (bench_cpu_ns() - from) * 1e-6;
    if (bytes == 0) /* they are looked at */
        bench_die("keys without bytes");
    return ms;
}

void bench_turn(struct table *t, const char *name, const struct key_set *set,
                uint64_t seed)
{
    struct fit_config config = fit_config_default();
    config.leaf_count = LEAVES;
    struct sums *sums = bench_memory(LEAVES, sizeof *sums);
    struct model *model;
    struct records_cursor at;
    struct rng rng;
    rng_init(&rng, seed);
    struct records *records = fill(set, &rng);
    if (!records || fit_keys(set->keys, set->count, &config, &model) != DLHT_OK)
        bench_die("no memory");
    double most = 0, all = 0;
    size_t turns = 0;
    bool there = records_seek(records, span_empty(), &at);
    while (there) {
        double from = bench_cpu_ns();
        there = sum_turn(&at, model, sums);
        double ms = (bench_cpu_ns() - from) * 1e-6;
        most = ms > most ? ms : most;
        all += ms;
        turns++;
    }
    table_text(t, "keys", name);
    table_number(t, "turns", (double)turns, 0);
    table_number(t, "turn_ms", all / (double)(turns ? turns : 1), 2);
    table_number(t, "longest_ms", most, 2);
    table_number(t, "report_ms", report_ms(records), 2);
    table_end_row(t);
    records_free(records);
    model_free(model);
    free(sums);
}
