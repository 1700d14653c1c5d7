/* SPDX-License-Identifier: Apache-2.0 */

/* tests/chord/arcs.h - arcs for tests: makers, and a history of splits, moves,
 * merges and elections that keeps every descriptor that was ever true. */

#ifndef TESTS_CHORD_ARCS_H
#define TESTS_CHORD_ARCS_H

#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "chord/arc.h"

/* An arc [lo, hi) without members; hi NULL: to the end. Borrows the texts. */
struct arc arcs_make(arc_id id, const char *lo, const char *hi,
                     uint64_t generation);

struct history {
    struct rng rng;
    struct arc **truth; /* in order of lo, owned */
    size_t truth_count;
    struct arc **news; /* every descriptor that ever was, owned */
    size_t news_count;
    size_t news_cap;
    size_t truth_max;
    arc_id next_id;
};

/* One arc that is the whole keyspace. */
void history_init(struct history *h, uint64_t seed, size_t truth_max);
void history_deinit(struct history *h);

/* One split, merge, move or election. */
void history_step(struct history *h);

/* Cuts truth into exactly count arcs of about equal width. */
void history_cut_evenly(struct history *h, size_t count);

#endif
