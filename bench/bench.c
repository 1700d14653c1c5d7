/* SPDX-License-Identifier: Apache-2.0 */

/* What the measurements of dlht-bench share. */

#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "dlht/err.h"

static size_t broken;

size_t bench_size(const struct bench_options *options, size_t value,
                  size_t normal, size_t quick)
{
    if (value)
        return value;
    return options->quick ? quick : normal;
}

double bench_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void bench_die(const char *what)
{
    fprintf(stderr, "dlht-bench: %s\n", what);
    exit(3);
}

void *bench_memory(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        bench_die("no memory");
    return memory;
}

struct model *bench_fit_kind(const struct key_set *set, uint32_t leaves,
                             enum model_kind leaf)
{
    struct model *model;
    struct fit_config config = fit_config_default();
    config.leaf = leaf;
    if (leaves)
        config.leaf_count = leaves;
    int rc = set->numbers ? fit_u64(set->numbers, set->count, &config, &model)
                          : fit_keys(set->keys, set->count, &config, &model);
    if (rc != DLHT_OK)
        bench_die(dlht_strerror(rc));
    return model;
}

struct model *bench_fit(const struct key_set *set, uint32_t leaves)
{
    return bench_fit_kind(set, leaves, fit_config_default().leaf);
}

double bench_ks(const struct model *model, const struct key_set *set)
{
    struct model_stats stats;
    model_measure(model, set->keys, set->count, &stats);
    if (stats.inversions > 0)
        bench_die("a model that is not monotone");
    return stats.ks;
}

void bench_promise(const struct bench_options *options, const char *what,
                   double value, double at_most)
{
    bool kept = value <= at_most;
    broken += !kept;
    if (options->json)
        printf("{\"promise\": \"%s\", \"value\": %.6g, \"at_most\": %.6g, "
               "\"kept\": %s}\n",
               what, value, at_most, kept ? "true" : "false");
    else
        printf("%s: %s: %.6g, at most %.6g\n", kept ? "kept" : "BROKEN", what,
               value, at_most);
    fflush(stdout);
}

size_t bench_broken(void)
{
    return broken;
}
