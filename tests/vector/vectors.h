/* SPDX-License-Identifier: Apache-2.0 */

/* tests/vector/vectors.h - vectors from a seed, and what is true of them. */

#ifndef TESTS_VECTOR_VECTORS_H
#define TESTS_VECTOR_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "vector/metric.h"

/* count vectors of dim floats in clusters: 40 of them, of about dim / 8
 * dimensions, away from 0. The caller frees them with free. */
float *vectors_new(uint64_t seed, size_t count, size_t dim);

/* By the definition, in double. */
double vectors_distance(enum metric metric, const float *a, const float *b,
                        size_t dim);

#endif
