/* SPDX-License-Identifier: Apache-2.0 */

/* bench/bench.h - what the measurements of dlht-bench share: options, the
 * processor's time, and what they promise.
 *
 * A measurement prints tables (bench/table.h) and says of each promise whether
 * it was kept. Times are never promised. Everything but times follows from the
 * seed. Memory that cannot be had ends the program. */

#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rmi/fit.h"
#include "rmi/key_sets.h"

struct bench_options {
    bool json;
    bool quick; /* small sizes: as a test */
    bool huge;  /* huge pages for the array of `index` */
    bool map;   /* `routing`: the whole map instead of fingers */
    uint64_t seed;
    size_t keys; /* these: 0 is the measurement's own choice */
    size_t arcs;
    size_t rounds;
    size_t lookups;
    size_t keys_wanted;
    uint32_t leaves;
    bool has_shape;
    enum key_shape shape;
    const char *dir;    /* `svg` */
    const char *set;    /* `vector`: this kind of data; NULL: each */
    const char *graphs; /* `vector`: these; NULL: all */
    const char *svg;    /* `vector`: a picture of it goes here */
    double alpha;       /* `vector`: 0 is the default */
    bool churn;         /* `vector`: removals and rewrites instead */
    const char *trace;  /* `cache`: hit ratios on this kind of trace, or all */
    const char *replay; /* `cache`: hit ratios on the keys of this file */
    const char *policy; /* `cache`: of this only; NULL: each */
    size_t capacity;    /* `cache`: entries; 0: parts of the keys */
};

/* The subcommands. */
void bench_model(const struct bench_options *options);
void bench_index(const struct bench_options *options);
void bench_local(const struct bench_options *options);
void bench_training(const struct bench_options *options);
void bench_routing(const struct bench_options *options);
void bench_map(const struct bench_options *options);
void bench_range(const struct bench_options *options);
void bench_lead(const struct bench_options *options);
void bench_lies(const struct bench_options *options);
void bench_hashring(const struct bench_options *options);
void bench_balance(const struct bench_options *options);
void bench_vector(const struct bench_options *options);
void bench_vector_churn(const struct bench_options *options);
void bench_collection(const struct bench_options *options);
void bench_restart(const struct bench_options *options);
void bench_filter(const struct bench_options *options);
void bench_cache(const struct bench_options *options);
void bench_svg(const struct bench_options *options);

/* value, or if it is 0 what is measured otherwise: quick in a quick run. */
size_t bench_size(const struct bench_options *options, size_t value,
                  size_t normal, size_t quick);

struct kernel;
/* The one of the environment's DLHT_KERNEL, or the fastest. */
const struct kernel *bench_kernel(void);

/* Of this thread. */
double bench_cpu_ns(void);

_Noreturn void bench_die(const char *what);
void *bench_memory(size_t count, size_t size); /* zeros */

/* A model of all keys; *leaves 0: as the library chooses. */
struct model *bench_fit(const struct key_set *set, uint32_t leaves);
struct model *bench_fit_kind(const struct key_set *set, uint32_t leaves,
                             enum model_kind leaf);

/* sup |F - truth|. Ends the program if the model is not monotone. */
double bench_ks(const struct model *model, const struct key_set *set);

/* Told, with the bound; counted if it is broken. */
void bench_promise(const struct bench_options *options, const char *what,
                   double value, double at_most);
size_t bench_broken(void);

#endif
