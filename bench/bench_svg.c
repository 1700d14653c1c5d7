/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench svg DIR: pictures of what the other subcommands measure. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "range.h"
#include "routing.h"
#include "svg.h"

enum {
    POINTS = 700, /* of a drawn distribution */
    FEW_LEAVES = 16,
    LEAVES = 1024,
    RANGE_SIZES = 5
};

/* Where a key is drawn: its first eight bytes as a number. */
static double place(struct span key)
{
    return (double)span_prefix8(key) / 0x1.0p64;
}

static double letter(char c)
{
    return (double)(unsigned char)c / 256;
}

static void draw_model(struct svg *svg, enum svg_color color,
                       enum svg_stroke stroke, const struct key_set *set,
                       const struct model *model, double end)
{
    static double xs[POINTS + 1], ys[POINTS + 1];
    size_t count = 0;
    for (size_t i = 0; i <= POINTS; i++) {
        size_t k = i * (set->count - 1) / POINTS;
        struct span key = set->keys[k];
        if (place(key) > end)
            break;
        xs[count] = place(key);
        ys[count++] = model ? (double)model_position(model, key) / 0x1.0p64
                            : ((double)k + 0.5) / (double)set->count;
    }
    svg_line(svg, color, stroke, xs, ys, count);
}

static const double shares[] = { 0, 0.2, 0.4, 0.6, 0.8, 1 };
static const struct svg_axis share_axis = {
    "share of keys before it", 0, 1, false, 6, shares, NULL
};

static void picture_model(const struct bench_options *options,
                          const struct key_set *set, enum key_shape shape)
{
    static const char *const names[] = { "A", "G", "M", "S", "Z",
                                         "a", "g", "m", "s", "z" };
    static double at[10];
    for (size_t i = 0; i < 10; i++)
        at[i] = letter(names[i][0]);
    bool words = shape == KEYS_WORDS;
    struct svg_axis x = {
        "key, as a number (2^64 = 1)", 0, 1, false, 6, shares, NULL
    };
    if (words)
        x = (struct svg_axis){ "word", letter('A'), letter('z') + 1.0 / 256,
                               false,  10,          at,
                               names };
    char name[64], title[128];
    snprintf(name, sizeof name, "model-%s", key_shape_names[shape]);
    snprintf(title, sizeof title, "%zu %s: the model beside the truth",
             set->count, words ? "words" : "clustered numbers");
    struct model *few = bench_fit(set, FEW_LEAVES);
    struct model *many = bench_fit(set, LEAVES);
    struct svg *svg = svg_begin(options->dir, name, title, &x, &share_axis);
    draw_model(svg, SVG_GREY, SVG_BROAD, set, NULL, x.hi);
    draw_model(svg, SVG_ORANGE, SVG_SOLID, set, few, x.hi);
    draw_model(svg, SVG_BLUE, SVG_SOLID, set, many, x.hi);
    char legend[3][64];
    snprintf(legend[0], sizeof legend[0], "the truth");
    snprintf(legend[1], sizeof legend[1], "16 leaves, KS %.4f",
             bench_ks(few, set));
    snprintf(legend[2], sizeof legend[2], "1,024 leaves, KS %.4f",
             bench_ks(many, set));
    svg_legend(svg, SVG_GREY, legend[0]);
    svg_legend(svg, SVG_ORANGE, legend[1]);
    svg_legend(svg, SVG_BLUE, legend[2]);
    svg_end(svg);
    model_free(few);
    model_free(many);
}

/* The greatest distance from the truth in each leaf, in 10,000ths. */
static size_t errors_of(const struct key_set *set, enum model_kind kind,
                        double *xs, double *ys)
{
    struct model *model = bench_fit_kind(set, LEAVES, kind);
    size_t leaves = model_leaf_count(model);
    for (size_t i = 0; i < leaves; i++) {
        xs[i] = (double)i + 0.5;
        ys[i] = 0;
    }
    for (size_t i = 0; i < set->count; i++) {
        uint32_t leaf = model_leaf_of(model, set->keys[i]);
        double truth = ((double)i + 0.5) / (double)set->count;
        double error =
            fabs((double)model_position(model, set->keys[i]) / 0x1.0p64 -
                 truth) *
            1e4;
        ys[leaf] = error > ys[leaf] ? error : ys[leaf];
    }
    model_free(model);
    return leaves;
}

static void picture_error(const struct bench_options *options,
                          const struct key_set *set, enum key_shape shape)
{
    static const double leaves[] = { 0, 256, 512, 768, 1024 };
    static const double errors[] = { 0, 2, 4, 6, 8, 10 };
    struct svg_axis x = {
        "leaf, in key order", 0, LEAVES, false, 5, leaves, NULL
    };
    struct svg_axis y = { "greatest error (10,000ths of all keys)",
                          0,
                          10.5,
                          false,
                          6,
                          errors,
                          NULL };
    char name[64], title[128];
    snprintf(name, sizeof name, "error-%s", key_shape_names[shape]);
    snprintf(title, sizeof title, "%zu %s: error of each of 1,024 leaves",
             set->count, shape == KEYS_WORDS ? "words" : "clustered numbers");
    static double xs[LEAVES], ys[LEAVES];
    struct svg *svg = svg_begin(options->dir, name, title, &x, &y);
    size_t count = errors_of(set, MODEL_CUBIC, xs, ys);
    svg_dots(svg, SVG_ORANGE, xs, ys, count);
    count = errors_of(set, MODEL_LINEAR, xs, ys);
    svg_dots(svg, SVG_BLUE, xs, ys, count);
    double ends[] = { 0, LEAVES };
    double bound[] = { 1e4 / LEAVES, 1e4 / LEAVES };
    svg_line(svg, SVG_GREY, SVG_DASHED, ends, bound, 2);
    svg_legend(svg, SVG_BLUE, "lines");
    svg_legend(svg, SVG_ORANGE, "cubics");
    svg_legend(svg, SVG_GREY, "one leaf: never more");
    svg_end(svg);
}

/* A bar of mean hops for each way, and its p99. */
static void picture_hops(const struct bench_options *options)
{
    struct routing_setting setting = {
        .shape = KEYS_CLUSTERED,
        .keys = bench_size(options, options->keys, 1000000, 100000),
        .arcs = bench_size(options, options->arcs, 1024, 256),
        .lookups = bench_size(options, options->lookups, 100000, 10000),
        .list_len = 1,
        .seed = options->seed,
    };
    struct routing_result plain[ROUTING_WAYS], node[ROUTING_WAYS];
    routing_measure(&setting, plain);
    setting.list_len = 8;
    routing_measure(&setting, node);
    static const double hops[] = { 0, 2, 4, 6, 8, 10, 12, 14, 16, 18 };
    double rows[ROUTING_WAYS];
    const char *names[ROUTING_WAYS];
    for (int way = 0; way < ROUTING_WAYS; way++) {
        rows[way] = ROUTING_WAYS - way - 0.5;
        names[way] = routing_names[way];
    }
    struct svg_axis x = {
        "hops: bar the mean, dot the 99th of 100", 0, 18, false, 10, hops, NULL
    };
    struct svg_axis y = {
        "", 0, ROUTING_WAYS, false, ROUTING_WAYS, rows, names
    };
    char title[128];
    snprintf(title, sizeof title,
             "Hops of a lookup among %zu arcs of clustered keys", setting.arcs);
    struct svg *svg = svg_begin(options->dir, "hops", title, &x, &y);
    double half = log2((double)setting.arcs) / 2;
    double xs[] = { half, half };
    double ends[] = { 0, ROUTING_WAYS };
    svg_line(svg, SVG_GREY, SVG_DASHED, xs, ends, 2);
    for (int way = 0; way < ROUTING_WAYS; way++) {
        double p99[] = { (double)plain[way].p99, (double)node[way].p99 };
        double at[] = { rows[way] + 0.18, rows[way] - 0.18 };
        char text[2][16];
        snprintf(text[0], sizeof text[0], "%.2f", plain[way].mean);
        snprintf(text[1], sizeof text[1], "%.2f", node[way].mean);
        svg_box(svg, SVG_SKY, 0, at[0] - 0.17, plain[way].mean, at[0] + 0.17,
                text[0]);
        svg_box(svg, SVG_BLUE, 0, at[1] - 0.17, node[way].mean, at[1] + 0.17,
                text[1]);
        svg_dots(svg, SVG_SKY, &p99[0], &at[0], 1);
        svg_dots(svg, SVG_BLUE, &p99[1], &at[1], 1);
    }
    svg_legend(svg, SVG_SKY, "1 successor");
    svg_legend(svg, SVG_BLUE, "8 successors, as the node");
    svg_legend(svg, SVG_GREY, "log2(arcs) / 2");
    svg_end(svg);
}

static void picture_range(const struct bench_options *options)
{
    static const struct line {
        enum range_way way;
        enum svg_color color;
        const char *name;
    } lines[] = {
        { RANGE_HASHED, SVG_ORANGE, "hashed Chord" },
        { RANGE_BROADCAST, SVG_GREY, "broadcast" },
        { RANGE_HASHED_MAP, SVG_PINK, "hashed, whole map" },
        { RANGE_PARTS, SVG_GREEN, "ours, parts by the model" },
        { RANGE_WALK, SVG_BLUE, "ours and Chord#, arc by arc" },
        { RANGE_MAP, SVG_SKY, "ours, whole map" },
    };
    static const double wanted[RANGE_SIZES] = { 1, 10, 100, 1000, 10000 };
    static const double requests[] = { 1, 10, 100, 1000, 10000, 100000 };
    static struct range_result results[RANGE_SIZES][RANGE_WAYS];
    struct range_setting setting = {
        .shape = KEYS_CLUSTERED,
        .keys = bench_size(options, options->keys, 1000000, 100000),
        .arcs = bench_size(options, options->arcs, 1024, 256),
        .seed = options->seed,
    };
    setting.peers = setting.arcs / 16 + 1;
    for (int i = 0; i < RANGE_SIZES; i++) {
        setting.wanted = (size_t)wanted[i];
        setting.ranges = bench_size(options, options->lookups,
                                    setting.wanted >= 1000 ? 50 : 1000,
                                    setting.wanted >= 1000 ? 2 : 100);
        range_measure(&setting, results[i]);
    }
    struct svg_axis x = {
        "keys wanted, of a million", 1, 10000, true, 5, wanted, NULL
    };
    struct svg_axis y = {
        "requests, mean", 0.9, 100000, true, 6, requests, NULL
    };
    char title[128];
    snprintf(title, sizeof title,
             "Requests of a range among %zu arcs on %zu peers", setting.arcs,
             setting.peers);
    struct svg *svg = svg_begin(options->dir, "range", title, &x, &y);
    for (size_t l = 0; l < sizeof lines / sizeof lines[0]; l++) {
        double ys[RANGE_SIZES];
        for (int i = 0; i < RANGE_SIZES; i++)
            ys[i] = results[i][lines[l].way].requests;
        svg_line(svg, lines[l].color, SVG_SOLID, wanted, ys, RANGE_SIZES);
        svg_dots(svg, lines[l].color, wanted, ys, RANGE_SIZES);
        svg_legend(svg, lines[l].color, lines[l].name);
    }
    svg_end(svg);
}

void bench_svg(const struct bench_options *options)
{
    static const enum key_shape shapes[] = { KEYS_WORDS, KEYS_CLUSTERED };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        size_t count = bench_size(options, options->keys, 1000000, 100000);
        struct key_set set = key_set_make(shapes[i], count, options->seed);
        if (set.count > 10 * LEAVES) {
            picture_model(options, &set, shapes[i]);
            picture_error(options, &set, shapes[i]);
        }
        key_set_free(&set);
    }
    picture_hops(options);
    picture_range(options);
}
