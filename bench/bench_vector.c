/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench vector: the graph beside hnswlib, on equal data, in one run.
 *
 * One thread, processor time. For each width of the walk the contestants take
 * turns over a part of the queries, then the next; of the rounds of a part the
 * fastest counts. Queries a second at
 * a recall are read off between the two widths around it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/rng.h"
#include "bench.h"
#include "bench_hnswlib.h"
#include "dlht/err.h"
#include "svg.h"
#include "table.h"
#include "vector/hnsw.h"
#include "vector_data.h"

enum {
    M = 16,
    EF_CONSTRUCTION = 200,
    K = VECTOR_TRUTH,
    CONTESTANTS = 8,
    PARTS = 20, /* of the queries: a noisy moment spoils one */
    ROUNDS = 5
};

static const size_t widths[] = { 10,  12,  14,  16,   20,  24,  28,  32,
                                 40,  48,  56,  64,   80,  96,  112, 128,
                                 160, 192, 224, 256,  320, 384, 448, 512,
                                 640, 800, 960, 1120, 1400 };

enum {
    WIDTHS = sizeof widths / sizeof widths[0]
};

/* One way to build and search. */
struct contestant {
    const char *name;
    enum kernel_type codes;
    bool drop;
    bool is_hnswlib;
    struct hnsw *hnsw;
    struct hnsw_reader *reader;
    struct bench_hnswlib *hnswlib;
    double build_ns;
    double bytes;
    double qps[WIDTHS];
    double recall[WIDTHS];
    size_t width_count;
};

static void advise(void *self, void *memory, size_t size)
{
    (void)self;
    madvise(memory, size, MADV_HUGEPAGE);
}

static double allocated(void)
{
#ifdef __GLIBC__
    struct mallinfo2 info = mallinfo2();
    return (double)info.uordblks + (double)info.hblkhd;
#else
    return 0;
#endif
}

static void put(struct contestant *c, uint64_t handle, const float *vector)
{
#ifdef BENCH_HNSWLIB
    if (c->is_hnswlib) {
        bench_hnswlib_put(c->hnswlib, handle, vector);
        return;
    }
#endif
    if (hnsw_put(c->hnsw, handle, vector) != DLHT_OK)
        bench_die("a vector was not taken");
}

const struct kernel *bench_kernel(void)
{
    const struct kernel *kernel = kernel_choose(getenv("DLHT_KERNEL"));
    if (!kernel)
        bench_die("DLHT_KERNEL names no kernel that this processor runs");
    return kernel;
}

static void make(struct contestant *c, const struct vector_data *data,
                 const struct bench_options *options)
{
#ifdef BENCH_HNSWLIB
    if (c->is_hnswlib) {
        double bytes = allocated();
        c->hnswlib = bench_hnswlib_new(data->dim, data->count, M,
                                       EF_CONSTRUCTION, options->seed);
        c->bytes = (allocated() - bytes) / (double)data->count;
        return;
    }
#endif
    struct hnsw_config config = hnsw_config_default((uint32_t)data->dim);
    config.codes = c->codes;
    config.drop_floats = c->drop;
    config.m = M;
    config.ef_construction = EF_CONSTRUCTION;
    config.seed = options->seed;
    config.capacity = data->count;
    config.advise = advise;
    config.alpha = options->alpha > 0 ? (float)options->alpha : 1;
    config.kernel = bench_kernel();
    if (hnsw_new(&config, &c->hnsw) != DLHT_OK ||
        hnsw_reader_new(c->hnsw, &c->reader) != DLHT_OK)
        bench_die("no graph");
}

/* In turns of a few thousand, so that a noisy machine is so for all. */
static void build(struct contestant *list, size_t count,
                  const struct vector_data *data)
{
    size_t step = 2000;
    for (size_t from = 0; from < data->count; from += step) {
        size_t to = from + step < data->count ? from + step : data->count;
        for (size_t i = 0; i < count; i++) {
            double bytes = allocated();
            double before = bench_cpu_ns();
            for (size_t j = from; j < to; j++)
                put(&list[i], j, data->vectors + j * data->dim);
            list[i].build_ns += bench_cpu_ns() - before;
            list[i].bytes += (allocated() - bytes) / (double)data->count;
        }
    }
}

static size_t search(struct contestant *c, const float *vector, size_t ef,
                     uint64_t *labels)
{
#ifdef BENCH_HNSWLIB
    if (c->is_hnswlib)
        return bench_hnswlib_search(c->hnswlib, vector, K, ef, labels);
#endif
    struct neighbour found[K];
    struct query query = { .vector = vector, .k = K, .ef = ef };
    size_t count;
    if (hnsw_search(c->reader, &query, found, &count, NULL) != DLHT_OK)
        bench_die("a search failed");
    for (size_t i = 0; i < count; i++)
        labels[i] = found[i].handle;
    return count;
}

static size_t hits(const uint32_t *truth, const uint64_t *labels, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < K; i++)
        for (size_t j = 0; j < count; j++)
            sum += truth[i] == labels[j];
    return sum;
}

/* The part-th of PARTS of the queries; their time. */
static double search_part(struct contestant *c, const struct vector_data *data,
                          size_t width, size_t part, size_t *right)
{
    uint64_t labels[K];
    size_t from = data->query_count * part / PARTS;
    size_t to = data->query_count * (part + 1) / PARTS;
    double before = bench_cpu_ns();
    for (size_t q = from; q < to; q++) {
        size_t count =
            search(c, data->queries + q * data->dim, widths[width], labels);
        *right += hits(data->truth + q * VECTOR_TRUTH, labels, count);
    }
    return bench_cpu_ns() - before;
}

/* Near enough to 1, or it comes no nearer. */
static bool is_done(const struct contestant *c, size_t width)
{
    if (width == 0)
        return false;
    return c->width_count < width || c->recall[width - 1] > 0.995 ||
           (width > 6 && c->recall[width - 1] < c->recall[width - 6] + 0.001);
}

/* All contestants in turns, part by part; of a part's rounds the fastest. */
static bool sweep_width(struct contestant *list, size_t count,
                        const struct vector_data *data, size_t width,
                        size_t rounds)
{
    double took[CONTESTANTS] = { 0 };
    size_t right[CONTESTANTS] = { 0 };
    bool any = false;
    for (size_t part = 0; part < PARTS; part++) {
        double best[CONTESTANTS] = { 0 };
        for (size_t round = 0; round < rounds; round++)
            for (size_t i = 0; i < count; i++) {
                if (is_done(&list[i], width))
                    continue;
                size_t now = 0;
                double ns = search_part(&list[i], data, width, part, &now);
                if (round == 0)
                    right[i] += now;
                if (round == 0 || ns < best[i])
                    best[i] = ns;
            }
        for (size_t i = 0; i < count; i++)
            took[i] += best[i];
    }
    for (size_t i = 0; i < count; i++) {
        if (is_done(&list[i], width))
            continue;
        any = true;
        list[i].qps[width] = (double)data->query_count * 1e9 / took[i];
        list[i].recall[width] =
            (double)right[i] / (double)(data->query_count * K);
        list[i].width_count = width + 1;
    }
    return any;
}

static void sweep(struct contestant *list, size_t count,
                  const struct vector_data *data, size_t rounds)
{
    size_t width = 0;
    while (width < WIDTHS && sweep_width(list, count, data, width, rounds))
        width++;
}

/* Queries a second at a recall; 0: it was not reached. */
static double qps_at(const struct contestant *c, double recall)
{
    for (size_t w = 0; w < c->width_count; w++) {
        if (c->recall[w] < recall)
            continue;
        if (w == 0)
            return c->qps[0];
        double share =
            (recall - c->recall[w - 1]) / (c->recall[w] - c->recall[w - 1]);
        return c->qps[w - 1] + share * (c->qps[w] - c->qps[w - 1]);
    }
    return 0;
}

static void tell(const struct contestant *list, size_t count,
                 const struct vector_data *data,
                 const struct bench_options *options)
{
    static const double recalls[] = { 0.90, 0.95, 0.99 };
    static const char *const names[] = { "qps_90", "qps_95", "qps_99" };
    static const char *const ratios[] = { "x_90", "x_95", "x_99" };
    struct table *t = table_begin(options, "vector", "graphs");
    const struct contestant *base = &list[count - 1];
    for (size_t i = 0; i < count; i++) {
        const struct contestant *c = &list[i];
        table_text(t, "set", vector_shape_names[data->shape]);
        table_number(t, "rows", (double)data->count, 0);
        table_text(t, "graph", c->name);
        table_number(t, "build_s", c->build_ns / 1e9, 2);
        table_number(t, "x_build", c->build_ns / base->build_ns, 2);
        table_number(t, "bytes", c->bytes, 0);
        table_number(t, "x_bytes", c->bytes / base->bytes, 2);
        for (size_t r = 0; r < 3; r++)
            table_number(t, names[r], qps_at(c, recalls[r]), 0);
        for (size_t r = 0; r < 3; r++) {
            double other = qps_at(base, recalls[r]);
            table_number(t, ratios[r],
                         other > 0 ? qps_at(c, recalls[r]) / other : 0, 2);
        }
        table_end_row(t);
    }
    table_end(t, "x: as a multiple of the last line; 0: not reached");
    t = table_begin(options, "vector_sweep", "recall@10 and queries a second");
    for (size_t i = 0; i < count; i++)
        for (size_t w = 0; w < list[i].width_count; w++) {
            table_text(t, "set", vector_shape_names[data->shape]);
            table_text(t, "graph", list[i].name);
            table_number(t, "ef", (double)widths[w], 0);
            table_number(t, "recall", list[i].recall[w], 4);
            table_number(t, "qps", list[i].qps[w], 0);
            table_end_row(t);
        }
    table_end(t, NULL);
}

/* FILE, or of several sets FILE with the set's name in it, without .svg: the
 * folder in dir, the rest in name. */
static void split_path(const struct bench_options *options, const char *set,
                       char dir[512], char name[256])
{
    const char *file = strrchr(options->svg, '/');
    size_t dir_len = file ? (size_t)(file - options->svg) : 1;
    file = file ? file + 1 : options->svg;
    size_t len = strlen(file);
    if (len > 4 && strcmp(file + len - 4, ".svg") == 0)
        len -= 4;
    if (dir_len >= 512 || len >= 200)
        bench_die("the picture's name is too long");
    memcpy(dir, strchr(options->svg, '/') ? options->svg : ".", dir_len);
    dir[dir_len] = 0;
    snprintf(name, 256, "%.*s%s%s", (int)len, file, options->set ? "" : "-",
             options->set ? "" : set);
}

/* The part of ticks that all of values from least to most lie in. */
static void cut_axis(struct svg_axis *axis, double least, double most)
{
    while (axis->tick_count > 2 && axis->ticks[1] <= least) {
        axis->ticks++;
        axis->tick_count--;
    }
    while (axis->tick_count > 2 && axis->ticks[axis->tick_count - 2] >= most)
        axis->tick_count--;
    axis->lo = axis->ticks[0];
    axis->hi = axis->ticks[axis->tick_count - 1];
}

static void cut_axes(const struct contestant *list, size_t count,
                     struct svg_axis *x, struct svg_axis *y)
{
    double least[2] = { 1, y->hi }, most = y->lo;
    for (size_t i = 0; i < count; i++)
        for (size_t w = 0; w < list[i].width_count; w++) {
            double recall = list[i].recall[w], qps = list[i].qps[w];
            least[0] = recall < least[0] ? recall : least[0];
            least[1] = qps < least[1] ? qps : least[1];
            most = qps > most ? qps : most;
        }
    cut_axis(x, least[0], 1);
    cut_axis(y, least[1], most);
}

/* Recall against queries a second, a line for each graph. */
static void draw(const struct contestant *list, size_t count,
                 const struct vector_data *data,
                 const struct bench_options *options)
{
    static const double recalls[] = { 0,    0.50, 0.60, 0.70, 0.80, 0.90,
                                      0.92, 0.94, 0.96, 0.98, 1.00 };
    static const double speeds[] = { 1,     10,    50,     100,    200,
                                     500,   1000,  2000,   3000,   5000,
                                     7000,  10000, 15000,  20000,  30000,
                                     40000, 60000, 100000, 1000000 };
    static const enum svg_color colors[] = { SVG_BLUE, SVG_ORANGE, SVG_GREEN,
                                             SVG_PINK, SVG_SKY };
    struct svg_axis x = { "recall@10", 0, 1, false, 11, recalls, NULL };
    struct svg_axis y = {
        "queries a second, one thread", 1, 1e6, true, 19, speeds, NULL
    };
    char dir[512], name[256], title[128];
    const char *set = vector_shape_names[data->shape];
    split_path(options, set, dir, name);
    cut_axes(list, count, &x, &y);
    snprintf(title, sizeof title, "%zu %s vectors of %zu dimensions",
             data->count, set, data->dim);
    struct svg *svg = svg_begin(dir, name, title, &x, &y);
    for (size_t i = 0; i < count; i++) {
        const struct contestant *c = &list[i];
        enum svg_color color = colors[i % (sizeof colors / sizeof *colors)];
        svg_line(svg, color, SVG_SOLID, c->recall, c->qps, c->width_count);
        svg_dots(svg, color, c->recall, c->qps, c->width_count);
        svg_legend(svg, color, c->name);
    }
    svg_end(svg);
}

static void finish(struct contestant *c)
{
    hnsw_reader_free(c->reader);
    hnsw_free(c->hnsw);
#ifdef BENCH_HNSWLIB
    if (c->hnswlib)
        bench_hnswlib_free(c->hnswlib);
#endif
}

static void compare(const struct bench_options *options,
                    enum vector_shape shape)
{
    struct contestant list[] = {
        { .name = "int8", .codes = KERNEL_I8 },
        { .name = "int8-dropped", .codes = KERNEL_I8, .drop = true },
        { .name = "float16", .codes = KERNEL_F16 },
        { .name = "float32", .codes = KERNEL_F32 },
#ifdef BENCH_HNSWLIB
        { .name = "hnswlib", .is_hnswlib = true },
#endif
    };
    size_t all = sizeof list / sizeof *list;
    size_t count = 0;
    for (size_t i = 0; i < all; i++)
        if (!options->graphs || strstr(options->graphs, list[i].name))
            list[count++] = list[i];
    size_t rows = bench_size(options, options->keys, 100000, 2000);
    struct vector_data *data = vector_data_new(
        shape, rows, options->quick ? 100 : 1000, options->seed);
    for (size_t i = 0; i < count; i++)
        make(&list[i], data, options);
    build(list, count, data);
    for (size_t i = 0; i < count; i++) {
        if (list[i].hnsw)
            list[i].bytes =
                (double)hnsw_memory(list[i].hnsw).total / (double)rows;
    }
    sweep(list, count, data, bench_size(options, options->rounds, ROUNDS, 1));
    tell(list, count, data, options);
    if (options->svg)
        draw(list, count, data, options);
    for (size_t i = 0; i < count; i++)
        finish(&list[i]);
    vector_data_free(data);
}

void bench_vector(const struct bench_options *options)
{
    if (options->churn) {
        bench_vector_churn(options);
        return;
    }
    for (int s = 0; s < VECTOR_SHAPES; s++)
        if (!options->set || strcmp(options->set, vector_shape_names[s]) == 0)
            compare(options, (enum vector_shape)s);
}
