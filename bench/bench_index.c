/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench index: the index over a sorted array beside binary search, in the
 * same run and in turns.
 *
 * Times are of the processor, not of the wall: the machine may be shared. Of
 * the rounds the tenth part that was fastest is passed over and the next one
 * told; ratios are of these. With huge pages for the sorted array both sides
 * have them. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/rng.h"
#include "bench.h"
#include "dlht/err.h"
#include "rmi/rank_index.h"
#include "table.h"

#ifdef BENCH_CXX
/* std::lower_bound, from bench_lower_bound.cc. */
size_t bench_std_lower_bound(const uint64_t *keys, size_t count, uint64_t key);
#endif

enum {
    BURST = 100000, /* lookups in one go */
    ROUNDS_MAX = 1000
};

static volatile uint64_t sink; /* what is found, lest it be left out */

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
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

static const char *const method_names[METHODS] = { "index_ns",
                                                   "lower_bound_c_ns",
                                                   "lower_bound_std_ns" };

static bool is_built(enum method method)
{
#ifdef BENCH_CXX
    (void)method;
    return true;
#else
    return method != BY_STD;
#endif
}

/* Sorted numbers where they will be searched. */
struct array {
    uint64_t *keys;
    size_t count;
};

static double find_burst(enum method method, const struct rank_index *index,
                         const struct array *a, const uint64_t *ask)
{
    uint64_t sum = 0;
    double before = bench_cpu_ns();
    if (method == BY_INDEX)
        for (size_t i = 0; i < BURST; i++)
            sum += rank_index_find(index, ask[i]);
    if (method == BY_C)
        for (size_t i = 0; i < BURST; i++)
            sum += c_lower_bound(a->keys, a->count, ask[i]);
#ifdef BENCH_CXX
    if (method == BY_STD)
        for (size_t i = 0; i < BURST; i++)
            sum += bench_std_lower_bound(a->keys, a->count, ask[i]);
#endif
    double took = (bench_cpu_ns() - before) / BURST;
    sink = sum;
    return took;
}

static struct array place(uint64_t *keys, size_t count, bool huge_pages)
{
    size_t huge = (size_t)2 << 20;
    size_t size = (count * sizeof *keys + huge - 1) / huge * huge;
    uint64_t *placed = aligned_alloc(huge, size);
    if (!placed)
        bench_die("no memory");
    madvise(placed, size, huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    memcpy(placed, keys, count * sizeof *keys);
    free(keys);
    return (struct array){ placed, count };
}

static struct rank_index *build(const struct array *a, double *ns)
{
    struct rank_index *index = NULL;
    *ns = 1e300;
    for (int i = 0; i < 3; i++) {
        rank_index_free(index);
        double before = bench_cpu_ns();
        if (rank_index_new(a->keys, a->count, 0, &index) != DLHT_OK)
            bench_die("no index");
        double took = (bench_cpu_ns() - before) / (double)a->count;
        *ns = took < *ns ? took : *ns;
    }
    return index;
}

/* Stored numbers in random order, the methods in turns. Returns how many the
 * index found elsewhere than a search. */
static size_t time_methods(const struct bench_options *options,
                           const struct array *a,
                           const struct rank_index *index, double *ns)
{
    static double times[METHODS][ROUNDS_MAX];
    static uint64_t ask[BURST];
    size_t rounds = bench_size(options, options->rounds, 25, 1);
    struct rng rng;
    rng_init(&rng, options->seed);
    for (size_t round = 0; round < rounds; round++)
        for (int m = 0; m < METHODS; m++) {
            for (size_t i = 0; i < BURST; i++)
                ask[i] = a->keys[rng_below(&rng, a->count)];
            if (is_built((enum method)m))
                times[m][round] = find_burst((enum method)m, index, a, ask);
        }
    for (int m = 0; m < METHODS; m++) {
        qsort(times[m], rounds, sizeof *times[m], by_number);
        ns[m] = times[m][rounds / 10];
    }
    size_t wrong = 0;
    for (size_t i = 0; i < BURST; i++) {
        uint64_t key = i % 2 ? ask[i] : ask[i] + 1;
        wrong += rank_index_find(index, key) !=
                 c_lower_bound(a->keys, a->count, key);
    }
    return wrong;
}

static size_t tell_index(const struct bench_options *options,
                         struct table *table, enum key_shape shape)
{
    size_t count = bench_size(options, options->keys, 10000000, 200000);
    struct array a = place(key_set_numbers(shape, count, options->seed), count,
                           options->huge);
    double build_ns;
    double ns[METHODS];
    struct rank_index *index = build(&a, &build_ns);
    size_t wrong = time_methods(options, &a, index, ns);
    table_text(table, "keys", key_shape_names[shape]);
    table_number(table, "key_count", (double)count, 0);
    for (int m = 0; m < METHODS; m++)
        if (is_built((enum method)m))
            table_number(table, method_names[m], ns[m], 1);
    table_number(table, "faster_than_c", ns[BY_C] / ns[BY_INDEX], 2);
    if (is_built(BY_STD))
        table_number(table, "faster_than_std", ns[BY_STD] / ns[BY_INDEX], 2);
    table_number(table, "build_ns_key", build_ns, 1);
    table_number(table, "bytes", (double)rank_index_bytes(index), 0);
    table_end_row(table);
    rank_index_free(index);
    free(a.keys);
    return wrong;
}

void bench_index(const struct bench_options *options)
{
    static const enum key_shape shapes[] = { KEYS_UNIFORM, KEYS_LOGNORMAL,
                                             KEYS_CLUSTERED, KEYS_TIMESTAMPS };
    struct table *table =
        table_begin(options, "index", "Searching a sorted array, ns a lookup");
    size_t wrong = 0;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        if (!options->has_shape || options->shape == shapes[s])
            wrong += tell_index(options, table, shapes[s]);
    table_end(table, NULL);
    bench_promise(options, "wrong answers of the index", (double)wrong, 0);
}
