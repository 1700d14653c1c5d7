/* SPDX-License-Identifier: Apache-2.0 */

/* bench/vector_data.h - vectors and queries from a seed, of three kinds, and
 * the true neighbours of the queries.
 *
 *     clustered   128-d: 1,000 normal clusters, each flat in 16 directions of
 *                 its own, around normal centres, with a little noise
 *     gaussian    128-d: independent normal components, the hardest case: all
 *                 distances are nearly alike
 *     lowrank     768-d: 64 normal factors of falling weight mapped into 768,
 *                 noise, length one, as embeddings of text are
 *
 * Queries are drawn as the vectors are, and are not among them. */

#ifndef BENCH_VECTOR_DATA_H
#define BENCH_VECTOR_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vector_shape {
    VECTORS_CLUSTERED,
    VECTORS_GAUSSIAN,
    VECTORS_LOWRANK,
    VECTOR_SHAPES
};

extern const char *const vector_shape_names[VECTOR_SHAPES];

enum {
    VECTOR_TRUTH = 10 /* neighbours known of each query */
};

struct vector_data {
    enum vector_shape shape;
    size_t dim;
    size_t count;
    size_t query_count;
    float *vectors;
    float *queries;
    uint32_t *clusters; /* of each vector; of clustered ones, else zeros */
    uint32_t *truth;    /* VECTOR_TRUTH of each query, nearest first */
};

/* Memory that cannot be had ends the program. */
struct vector_data *vector_data_new(enum vector_shape shape, size_t count,
                                    size_t query_count, uint64_t seed);
void vector_data_free(struct vector_data *data);

/* The true neighbours among the vectors i with alive[i] (NULL: all). */
void vector_data_find_truth(struct vector_data *data, const bool *alive);

#endif
