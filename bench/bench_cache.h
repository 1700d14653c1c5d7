/* SPDX-License-Identifier: Apache-2.0 */

/* bench/bench_cache.h - the parts of dlht-bench cache. */

#ifndef BENCH_BENCH_CACHE_H
#define BENCH_BENCH_CACHE_H

#include "bench.h"

/* Hit ratios on traces, of the cache and of simulations of its policies that
 * are written apart from it, which must agree within 0.01. */
void bench_cache_trace(const struct bench_options *options);

/* A trace: which of so many keys is asked for, one after the other. */
struct trace {
    uint32_t *keys;
    size_t len;
    uint32_t key_count;
};

/* Hits of so many requests in a cache of so many entries. */
size_t bench_cache_sim_lru(const struct trace *trace, size_t capacity);
size_t bench_cache_sim_s3fifo(const struct trace *trace, size_t capacity);

#endif
