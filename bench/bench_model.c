/* SPDX-License-Identifier: Apache-2.0 */

/* Times the learned model and the index over a sorted array, each beside what
 * it is compared with, in the same run and in turns.
 *
 *   bench_model [--keys N] [--rounds N] [--huge] [--json]
 *               [--only position|train|index]
 *
 * Times are of the processor, not of the wall: the machine may be shared. Of
 * the rounds the tenth part that was fastest is passed over and the next one
 * told; ratios are of these. --huge asks for huge pages for the sorted array,
 * which serves both sides. */

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/buf.h"
#include "base/rng.h"
#include "dlht/err.h"
#include "rmi/fit.h"
#include "rmi/key_sets.h"
#include "rmi/rank_index.h"

#ifdef BENCH_CXX
/* std::lower_bound, from bench_lower_bound.cc. */
size_t bench_std_lower_bound(const uint64_t *keys, size_t count, uint64_t key);
#endif

enum {
    BURST = 100000, /* lookups in one go */
    ROUNDS_MAX = 1000,
    LEAVES = 1024
};

struct options {
    size_t keys;
    size_t rounds;
    bool huge;
    bool json;
    const char *only; /* position, train or index; NULL: all */
};

static struct options options = { 10000000, 25, false, false, NULL };
static uint64_t sink; /* what is found goes here, lest it be left out */

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_model: %s\n", what);
    exit(1);
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double typical(double *times)
{
    qsort(times, options.rounds, sizeof *times, by_number);
    return times[options.rounds / 10];
}

static void tell(const char *what, const char *keys, double value,
                 const char *unit)
{
    if (options.json)
        printf("{\"what\": \"%s\", \"keys\": \"%s\", \"value\": %.4g, "
               "\"unit\": \"%s\"}\n",
               what, keys, value, unit);
    else
        printf("%-32s %-12s %10.4g %s\n", what, keys, value, unit);
    fflush(stdout);
}

static struct model *must_fit(const struct key_set *set,
                              const struct fit_config *config)
{
    struct model *model;
    int rc = set->numbers ? fit_u64(set->numbers, set->count, config, &model)
                          : fit_keys(set->keys, set->count, config, &model);
    if (rc != DLHT_OK)
        die(dlht_strerror(rc));
    return model;
}

/* Positions of fitted keys in random order, which lie one after the other, as
 * if they had just come in. */
static void time_positions(enum key_shape shape, enum model_kind kind)
{
    struct key_set set = key_set_make(shape, 1000000, 1);
    if (set.count == 0)
        return;
    struct fit_config config = { LEAVES, MODEL_CUBIC, kind };
    struct model *model = must_fit(&set, &config);
    static struct span ask[BURST];
    static uint64_t ask_numbers[BURST];
    static struct buf bytes;
    static double times[ROUNDS_MAX];
    struct rng rng;
    rng_init(&rng, 2);
    for (size_t round = 0; round < options.rounds; round++) {
        buf_reset(&bytes);
        for (size_t i = 0; i < BURST; i++) {
            size_t k = (size_t)rng_below(&rng, set.count);
            ask_numbers[i] = set.numbers ? set.numbers[k] : 0;
            ask[i] = set.keys[k];
            buf_append_span(&bytes, ask[i]);
        }
        for (size_t i = 0, at = 0; i < BURST; at += ask[i].len, i++)
            ask[i].data = bytes.data + at;
        double before = cpu_ns();
        if (set.numbers)
            for (size_t i = 0; i < BURST; i++)
                sink += model_position_u64(model, ask_numbers[i]);
        else
            for (size_t i = 0; i < BURST; i++)
                sink += model_position(model, ask[i]);
        times[round] = (cpu_ns() - before) / BURST;
    }
    tell(kind == MODEL_CUBIC ? "position, cubic leaves"
                             : "position, line leaves",
         key_shape_names[shape], typical(times), "ns");
    struct model_stats stats;
    model_measure(model, set.keys, set.count, &stats);
    const char *name = key_shape_names[shape];
    tell("  packed", name, (double)model_packed_size(model), "bytes");
    tell("  KS distance", name, stats.ks, "");
    tell("  mean error", name, stats.mean_error, "");
    tell("  max error", name, stats.max_error, "");
    tell("  mean bound", name, stats.mean_bound, "");
    model_free(model);
    key_set_free(&set);
}

static void time_training(enum key_shape shape, size_t count)
{
    struct key_set set = key_set_make(shape, count, 1);
    struct fit_config config = fit_config_default();
    double best[2] = { 1e300, 1e300 };
    for (int round = 0; round < 5; round++)
        for (int spans = 0; spans < 2; spans++) {
            struct model *model;
            double before = cpu_ns();
            int rc = spans ? fit_keys(set.keys, count, &config, &model)
                     : set.numbers
                         ? fit_u64(set.numbers, count, &config, &model)
                         : DLHT_ENOTFOUND;
            double took = (cpu_ns() - before) / 1e6;
            if (rc == DLHT_ENOTFOUND)
                continue;
            if (rc != DLHT_OK)
                die(dlht_strerror(rc));
            best[spans] = took < best[spans] ? took : best[spans];
            model_free(model);
        }
    char what[2][64];
    snprintf(what[0], sizeof what[0], "train %zu numbers", count);
    snprintf(what[1], sizeof what[1], "train %zu byte strings", count);
    if (set.numbers)
        tell(what[0], key_shape_names[shape], best[0], "ms");
    tell(what[1], key_shape_names[shape], best[1], "ms");
    key_set_free(&set);
}

static size_t c_lower_bound(const uint64_t *keys, size_t count, uint64_t key)
{
    size_t from = 0;
    while (count > 0) {
        size_t half = count / 2;
        if (keys[from + half] < key) {
            from += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return from;
}

enum method {
    BY_INDEX,
    BY_C,
    BY_STD,
    METHODS
};

static const char *const method_names[METHODS] = { "find by the index",
                                                   "find by lower_bound in C",
                                                   "find by std::lower_bound" };

static bool is_built(enum method method)
{
#ifdef BENCH_CXX
    (void)method;
    return true;
#else
    return method != BY_STD;
#endif
}

static double find_burst(enum method method, const struct rank_index *index,
                         const uint64_t *keys, const uint64_t *ask)
{
    size_t n = options.keys;
    double before = cpu_ns();
    if (method == BY_INDEX)
        for (size_t i = 0; i < BURST; i++)
            sink += rank_index_find(index, ask[i]);
    if (method == BY_C)
        for (size_t i = 0; i < BURST; i++)
            sink += c_lower_bound(keys, n, ask[i]);
#ifdef BENCH_CXX
    if (method == BY_STD)
        for (size_t i = 0; i < BURST; i++)
            sink += bench_std_lower_bound(keys, n, ask[i]);
#endif
    return (cpu_ns() - before) / BURST;
}

/* The array where it will be searched. */
static uint64_t *place(uint64_t *keys)
{
    size_t huge = (size_t)2 << 20;
    size_t size = (options.keys * sizeof *keys + huge - 1) / huge * huge;
    uint64_t *placed = aligned_alloc(huge, size);
    if (!placed)
        die("no memory");
    madvise(placed, size, options.huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    memcpy(placed, keys, options.keys * sizeof *keys);
    free(keys);
    return placed;
}

static void time_index(enum key_shape shape)
{
    const char *name = key_shape_names[shape];
    uint64_t *keys = place(key_set_numbers(shape, options.keys, 1));
    struct rank_index *index;
    double build = 1e300;
    for (int i = 0; i < 3; i++) {
        double before = cpu_ns();
        if (rank_index_new(keys, options.keys, 0, &index) != DLHT_OK)
            die("no index");
        double took = (cpu_ns() - before) / (double)options.keys;
        build = took < build ? took : build;
        if (i < 2)
            rank_index_free(index);
    }
    static double times[METHODS][ROUNDS_MAX];
    static uint64_t ask[BURST];
    struct rng rng;
    rng_init(&rng, 2);
    for (size_t round = 0; round < options.rounds; round++)
        for (int m = 0; m < METHODS; m++) {
            for (size_t i = 0; i < BURST; i++)
                ask[i] = keys[rng_below(&rng, options.keys)];
            if (is_built((enum method)m))
                times[m][round] = find_burst((enum method)m, index, keys, ask);
        }
    for (size_t i = 0; i < BURST; i++)
        if (rank_index_find(index, ask[i]) !=
            c_lower_bound(keys, options.keys, ask[i]))
            die("the index is wrong");
    double ns[METHODS];
    for (int m = 0; m < METHODS; m++) {
        ns[m] = typical(times[m]);
        if (is_built((enum method)m))
            tell(method_names[m], name, ns[m], "ns");
    }
    tell("  faster than C's", name, ns[BY_C] / ns[BY_INDEX], "times");
    if (is_built(BY_STD))
        tell("  faster than std::lower_bound", name, ns[BY_STD] / ns[BY_INDEX],
             "times");
    tell("  build", name, build, "ns a key");
    tell("  size", name, (double)rank_index_bytes(index), "bytes");
    rank_index_free(index);
    free(keys);
}

static bool read_options(int argc, char **argv)
{
    static const struct option longs[] = {
        { "keys", required_argument, NULL, 'k' },
        { "rounds", required_argument, NULL, 'r' },
        { "huge", no_argument, NULL, 'h' },
        { "json", no_argument, NULL, 'j' },
        { "only", required_argument, NULL, 'o' },
        { NULL, 0, NULL, 0 },
    };
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == 'k')
            options.keys = strtoull(optarg, NULL, 10);
        else if (c == 'r')
            options.rounds = strtoull(optarg, NULL, 10);
        else if (c == 'h')
            options.huge = true;
        else if (c == 'j')
            options.json = true;
        else if (c == 'o')
            options.only = optarg;
        else
            return false;
    }
    return options.keys >= 1000 && options.rounds >= 1 &&
           options.rounds <= ROUNDS_MAX;
}

static bool is_asked(const char *part)
{
    return !options.only || strcmp(options.only, part) == 0;
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        fprintf(stderr, "usage: bench_model [--keys N] [--rounds N] [--huge] "
                        "[--only PART] [--json]\n");
        return 2;
    }
    static const enum key_shape shapes[] = { KEYS_UNIFORM, KEYS_LOGNORMAL,
                                             KEYS_CLUSTERED, KEYS_TIMESTAMPS };
    for (int s = 0; s < KEYS_SHAPES && is_asked("position"); s++)
        for (int k = MODEL_LINEAR; k <= MODEL_CUBIC; k++)
            time_positions((enum key_shape)s, (enum model_kind)k);
    for (size_t n = 1000000; n <= options.keys && is_asked("train"); n *= 10) {
        for (int s = 0; s < 4; s++)
            time_training(shapes[s], n);
        time_training(KEYS_RANDOM_16, n);
    }
    for (int s = 0; s < 4 && is_asked("index"); s++)
        time_index(shapes[s]);
    return sink == 1; /* it is not */
}
