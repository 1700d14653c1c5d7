/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench vector --churn: what removals and rewrites leave of a graph, and
 * the exact scan beside the speed of memory.
 *
 * Of each set nine of ten vectors are removed, or every vector is rewritten
 * five times, and recall is compared with that of a graph built of what is left
 * in the same order. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "bench.h"
#include "dlht/err.h"
#include "table.h"
#include "vector/exact.h"
#include "vector/hnsw.h"
#include "vector_data.h"

enum {
    K = VECTOR_TRUTH,
    REWRITES = 5
};

static const size_t churn_widths[] = { 10, 20, 40, 80, 160 };

enum {
    CHURN_WIDTHS = sizeof churn_widths / sizeof churn_widths[0]
};

static struct hnsw *make(const struct vector_data *d,
                         const struct bench_options *options)
{
    struct hnsw_config config = hnsw_config_default((uint32_t)d->dim);
    config.seed = options->seed;
    config.capacity = d->count + 1;
    config.kernel = bench_kernel();
    struct hnsw *h;
    if (hnsw_new(&config, &h) != DLHT_OK)
        bench_die("no graph");
    return h;
}

static void put(struct hnsw *h, const struct vector_data *d, size_t i)
{
    if (hnsw_put(h, i, d->vectors + i * d->dim) != DLHT_OK)
        bench_die("a vector was not taken");
}

/* *dead: how many answers are not alive. */
static double recall(struct hnsw *h, const struct vector_data *d, size_t ef,
                     const bool *alive, size_t *dead)
{
    struct hnsw_reader *reader;
    if (hnsw_reader_new(h, &reader) != DLHT_OK)
        bench_die("no reader");
    size_t right = 0;
    for (size_t q = 0; q < d->query_count; q++) {
        struct neighbour found[K];
        struct query query = { .vector = d->queries + q * d->dim,
                               .k = K,
                               .ef = ef };
        size_t count;
        if (hnsw_search(reader, &query, found, &count, NULL) != DLHT_OK)
            bench_die("a search failed");
        for (size_t i = 0; i < count; i++) {
            *dead += !alive[found[i].handle];
            for (size_t j = 0; j < K; j++)
                right += d->truth[q * K + j] == found[i].handle;
        }
    }
    hnsw_reader_free(reader);
    return (double)right / (double)(d->query_count * K);
}

static void check(const struct bench_options *options, struct hnsw *h,
                  const char *what)
{
    struct hnsw_report report;
    if (hnsw_check(h, &report) == DLHT_ENOMEM)
        bench_die("no memory");
    if (report.fault)
        fprintf(stderr, "%s: %s\n", what, report.fault);
    char name[64];
    snprintf(name, sizeof name, "invariants broken after %s", what);
    bench_promise(options, name, report.fault ? 1 : 0, 0);
    snprintf(name, sizeof name, "rows out of reach after %s", what);
    bench_promise(options, name, (double)report.unreachable,
                  (double)report.rows / 1000);
}

static void compare(const struct bench_options *options, struct hnsw *old,
                    struct hnsw *fresh, struct vector_data *d,
                    const bool *alive, const char *what)
{
    struct table *t = table_begin(options, "vector_churn", what);
    double worst = 0;
    size_t dead = 0;
    vector_data_find_truth(d, alive);
    for (size_t w = 0; w < CHURN_WIDTHS; w++) {
        double a = recall(old, d, churn_widths[w], alive, &dead);
        double b = recall(fresh, d, churn_widths[w], alive, &dead);
        worst = b - a > worst ? b - a : worst;
        table_text(t, "set", vector_shape_names[d->shape]);
        table_number(t, "ef", (double)churn_widths[w], 0);
        table_number(t, "recall", a, 4);
        table_number(t, "fresh", b, 4);
        table_end_row(t);
    }
    table_end(t, NULL);
    char name[80];
    snprintf(name, sizeof name, "recall lost to %s", what);
    bench_promise(options, name, worst, 0.01);
    snprintf(name, sizeof name, "removed ones told after %s", what);
    bench_promise(options, name, (double)dead, 0);
    check(options, old, what);
}

static void remove_most(const struct bench_options *options,
                        struct vector_data *d)
{
    struct hnsw *old = make(d, options);
    struct hnsw *fresh = make(d, options);
    bool *alive = bench_memory(d->count, sizeof *alive);
    struct rng rng;
    rng_init(&rng, options->seed);
    double before = bench_cpu_ns();
    for (size_t i = 0; i < d->count; i++)
        put(old, d, i);
    double built = bench_cpu_ns();
    size_t gone = 0;
    for (size_t i = 0; i < d->count; i++) {
        alive[i] = rng_chance(&rng, 0.1);
        if (alive[i])
            put(fresh, d, i);
    }
    double begin = bench_cpu_ns();
    for (size_t i = 0; i < d->count; i++) {
        bool removed;
        if (alive[i])
            continue;
        if (hnsw_remove(old, i, &removed) != DLHT_OK || !removed)
            bench_die("one was not removed");
        gone++;
    }
    double end = bench_cpu_ns();
    if (!options->json)
        printf("adding: %.1f us each; removing: %.1f us each\n",
               (built - before) / 1e3 / (double)d->count,
               (end - begin) / 1e3 / (double)gone);
    compare(options, old, fresh, d, alive, "removing 90 %");
    hnsw_free(fresh);
    hnsw_free(old);
    free(alive);
}

/* Each time every handle gets another one of the vectors. */
static void rewrite_all(const struct bench_options *options,
                        struct vector_data *d)
{
    struct hnsw *old = make(d, options);
    struct hnsw *fresh = make(d, options);
    bool *alive = bench_memory(d->count, sizeof *alive);
    for (size_t i = 0; i < d->count; i++) {
        alive[i] = true;
        put(old, d, i);
        put(fresh, d, i);
    }
    for (size_t round = 1; round <= REWRITES; round++)
        for (size_t i = 0; i < d->count; i++) {
            size_t from = (i + round * 7919) % d->count;
            if (round == REWRITES)
                from = i;
            if (hnsw_put(old, i, d->vectors + from * d->dim) != DLHT_OK)
                bench_die("a vector was not taken");
        }
    compare(options, old, fresh, d, alive, "five rewrites");
    hnsw_free(fresh);
    hnsw_free(old);
    free(alive);
}

static volatile float sink;

/* Reading it in order, into what stays in the cache. */
static double read_ns(const float *memory, size_t count)
{
    static float small[4096];
    double before = bench_cpu_ns();
    for (size_t i = 0; i + 4096 <= count; i += 4096) {
        memcpy(small, memory + i, sizeof small);
        sink += small[i % 4096];
    }
    return bench_cpu_ns() - before;
}

static double scan_ns(const struct vector_data *d, const float *query)
{
    struct hit hits[K];
    struct topk top;
    struct exact_set set = {
        .kernel = bench_kernel(),
        .type = KERNEL_F32,
        .measure = KERNEL_L2,
        .rows = { d->vectors, d->dim * sizeof(float), d->dim },
        .row_count = (uint32_t)d->count,
    };
    double before = bench_cpu_ns();
    topk_init(&top, hits, K);
    exact_scan(&set, query, NULL, &top);
    topk_sort(&top);
    sink += top.count > 0 ? top.hits[0].distance : 0;
    return bench_cpu_ns() - before;
}

static void scan_all(const struct bench_options *options,
                     const struct vector_data *d)
{
    double best_scan = 0;
    double best_read = 0;
    for (size_t i = 0; i < 15; i++) {
        double read = read_ns(d->vectors, d->count * d->dim);
        double scan = scan_ns(d, d->queries + i * d->dim);
        best_scan = i == 0 || scan < best_scan ? scan : best_scan;
        best_read = i == 0 || read < best_read ? read : best_read;
    }
    double bytes = (double)(d->count * d->dim * sizeof(float));
    struct table *t = table_begin(options, "vector_scan", "exact, one query");
    table_text(t, "set", vector_shape_names[d->shape]);
    table_number(t, "rows", (double)d->count, 0);
    table_number(t, "ms", best_scan / 1e6, 3);
    table_number(t, "gb_s", bytes / best_scan, 2);
    table_number(t, "read_gb_s", bytes / best_read, 2);
    table_number(t, "share", best_read / best_scan, 2);
    table_end_row(t);
    table_end(t, "share: of the speed of reading the same memory in order");
}

void bench_vector_churn(const struct bench_options *options)
{
    for (int s = 0; s < VECTOR_SHAPES; s++) {
        if (options->set && strcmp(options->set, vector_shape_names[s]) != 0)
            continue;
        struct vector_data *d =
            vector_data_new((enum vector_shape)s,
                            bench_size(options, options->keys, 20000, 2000),
                            options->quick ? 100 : 1000, options->seed);
        scan_all(options, d);
        remove_most(options, d);
        rewrite_all(options, d);
        vector_data_free(d);
    }
}
