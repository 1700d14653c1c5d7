/* SPDX-License-Identifier: Apache-2.0 */

/* bench/range.h - messages and rounds of range queries: for the table and the
 * picture. */

#ifndef BENCH_RANGE_H
#define BENCH_RANGE_H

#include "bench.h"

enum range_way {
    RANGE_WALK,        /* ours: find the first arc, go on to the next */
    RANGE_PARTS,       /* ours: cut by the model, each part looked up */
    RANGE_MAP,         /* ours, whole map: all arcs asked at once */
    RANGE_CHORD_SHARP, /* ordered ring without a model, doubling fingers */
    RANGE_HASHED,      /* hashed Chord: one lookup a key, all at once */
    RANGE_HASHED_SLOW, /* so, one after the other */
    RANGE_HASHED_MAP,  /* hashed, whole map: each owner is asked once */
    RANGE_BROADCAST,   /* all peers are asked */
    RANGE_WAYS
};

extern const char *const range_names[RANGE_WAYS];

struct range_setting {
    enum key_shape shape;
    size_t keys, arcs, peers, wanted, ranges;
    uint64_t seed;
};

struct range_result {
    double requests; /* mean of a range; each has an answer */
    double rounds;   /* requests that wait for one another */
};

/* Returns how many arcs a range touches on average. */
double range_measure(const struct range_setting *setting,
                     struct range_result out[RANGE_WAYS]);

#endif
