/* SPDX-License-Identifier: Apache-2.0 */

/* vector/query.h - what is asked of an index, and what it answers. */

#ifndef VECTOR_QUERY_H
#define VECTOR_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vector/admit.h"

enum {
    QUERY_K_MAX = 10001, /* one more than a client may ask for: a search with
                          * a stored vector finds that, too */
    QUERY_EF_MAX = 100000
};

/* How a filter is applied while the graph is walked. */
enum query_mode {
    /* The walk is that of a search without filter; what it passes and is
     * admitted counts. Right where about every tenth row or more is admitted:
     * give ef in proportion. */
    QUERY_PLAIN,
    /* The walk steps on admitted rows only, and looks past one that is not at
     * its neighbours. Right where admitted rows lie together. */
    QUERY_SECOND_HOP
};

struct query {
    const float *vector; /* of the index's dim, checked by metric_check */
    size_t k;            /* at most QUERY_K_MAX */
    size_t ef;           /* width of the walk; 0: the index's own; at least k */
    const struct admit *admit; /* NULL: every row */
    enum query_mode mode;
    bool exact;    /* look at every row */
    bool by_codes; /* then at its code, where the graph has some; of the nearest
                    * by these vectors are measured */
};

/* Distances are those of vector/metric.h. */
struct neighbour {
    uint64_t handle;
    uint32_t row; /* until the next write */
    float distance;
};

/* What a search did. */
struct query_work {
    uint64_t measured; /* distances in the walk */
    uint64_t expanded; /* rows whose links were followed */
    uint64_t admitted; /* of the measured; without filter all */
    bool scanned;      /* every row was looked at */
};

#endif
