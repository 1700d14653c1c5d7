/* SPDX-License-Identifier: Apache-2.0 */

/* vector/metric.h - what "near" means, and which vectors it is defined for.
 *
 * Distances, smaller is nearer:
 *     l2      sum (a - b)^2, the square of the Euclidean distance
 *     cosine  1 - a.b / (|a| |b|), from 0 to 2
 *     ip      -a.b
 *
 * A vector that holds NaN or infinity has no distance, nor has one whose square
 * does not fit a float, nor, for cosine, one without direction: those are
 * refused at the door, so nothing behind it meets them. */

#ifndef VECTOR_METRIC_H
#define VECTOR_METRIC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/must_use.h"

enum metric {
    METRIC_L2,
    METRIC_COSINE,
    METRIC_IP,
    METRICS
};

/* "l2", "cosine", "ip". */
const char *metric_name(enum metric metric);

/* False, *out untouched: no such metric. */
bool metric_from_name(const char *name, enum metric *out);

/* Why a vector is refused: `what` reads on after "the vector": "holds NaN at
 * position", with the position (from 0) in `at`; where no single one is to
 * blame, has_at is false. */
struct metric_fault {
    const char *what;
    bool has_at;
    size_t at;
};

/* DLHT_EINVAL: *fault (unless NULL) says why. */
MUST_USE int metric_check(enum metric metric, const float *vector, size_t dim,
                          struct metric_fault *fault);

/* Writes vector / |vector| to out (may be the vector itself) and returns the
 * length; the vector has been checked for cosine. */
float metric_normalise(const float *vector, size_t dim, float *out);

#endif
