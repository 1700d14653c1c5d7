/* SPDX-License-Identifier: Apache-2.0 */

/* bench/collection.h - rows with metadata, and what one peer does with them
 * alone: the graphs that a ring's load and searches are measured beside.
 *
 * Row i has the id "%08u" and the metadata {"n": i * 7919 % 100}, so that n
 * is as good as independent of the vectors. */

#ifndef BENCH_COLLECTION_H
#define BENCH_COLLECTION_H

#include "base/span.h"
#include "bench.h"
#include "vector_data.h"

enum {
    COLLECTION_ID_BYTES = 9,
    COLLECTION_EF = 64
};

struct span collection_id(size_t row, char room[COLLECTION_ID_BYTES]);
unsigned collection_n(size_t row);

/* One collection (vector/collection.h) of all rows, as a peer keeps it. */
struct alone;

/* Built with as many graphs of the same rows beside it as there are other
 * cores: *vectors_s is what all of these took in, together. */
struct alone *alone_new(const struct vector_data *data, uint64_t seed,
                        double *vectors_s, unsigned *graphs);
void alone_free(struct alone *a);

/* Those nearest to query q, into rows; returns how many. */
size_t alone_search(struct alone *a, size_t q, const char *filter, size_t *rows,
                    size_t k);

double wall_ns(void);

#endif
