/* SPDX-License-Identifier: Apache-2.0 */

/* bench/bench_hnswlib.h - hnswlib behind calls of C, if it was there when this
 * was built (BENCH_HNSWLIB). Squared Euclidean distance; what it throws ends
 * the program. */

#ifndef BENCH_HNSWLIB_H
#define BENCH_HNSWLIB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_hnswlib;

struct bench_hnswlib *bench_hnswlib_new(size_t dim, size_t cap, size_t m,
                                        size_t ef, size_t seed);
void bench_hnswlib_free(struct bench_hnswlib *h);
void bench_hnswlib_put(struct bench_hnswlib *h, size_t label,
                       const float *vector);
/* How many were found; their labels, nearest first. */
size_t bench_hnswlib_search(struct bench_hnswlib *h, const float *query,
                            size_t k, size_t ef, uint64_t *labels);

#ifdef __cplusplus
}
#endif

#endif
