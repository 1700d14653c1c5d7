/* SPDX-License-Identifier: Apache-2.0 */

/* placement/planner.h - from a snapshot of the ring to the next steps.
 *
 * A pure function: what it is told are the peers and, of each arc, what its
 * leader last reported. It first mends (too few live copies, too few voters,
 * members on peers that are gone or leaving), then takes away what is too
 * much, then cuts arcs that are too large, too few, or three times the mean,
 * then moves replicas and leaderships from fuller peers to emptier ones. A step
 * changes one member of one arc; where a plan needs several, the next report
 * shows the first one done and the next call plans on. So a lost step, or a
 * planner that dies, costs nothing but time. */

#ifndef PLACEMENT_PLANNER_H
#define PLACEMENT_PLANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "chord/arc.h"

enum plan_kind {
    PLAN_ADD = 1, /* peer becomes a learner */
    PLAN_PROMOTE, /* learner becomes a voter */
    PLAN_DEMOTE,  /* voter becomes a learner */
    PLAN_REMOVE,
    PLAN_TRANSFER, /* leadership goes to peer */
    PLAN_SPLIT     /* at the median */
};

struct plan_step {
    enum plan_kind kind;
    const struct arc *arc; /* the input's */
    struct id peer;
};

struct plan_peer {
    struct id id;
    bool up;      /* may be given something */
    bool gone;    /* its copies are to be made anew elsewhere */
    bool leaving; /* is up, and to be emptied */
    uint32_t weight_milli;
};

struct plan_arc {
    const struct arc *arc;
    uint64_t keys;
    uint64_t bytes;
    uint16_t caught_up;  /* bit i: members[i] is live and caught up */
    uint16_t lost;       /* bit i: members[i] said it lost its copy */
    bool busy;           /* a step is under way */
    enum plan_kind sent; /* the step just sent, not yet reported; 0: none */
    struct id sent_peer; /* its peer */
    uint8_t replicas;    /* wanted copies */
    bool may_split;
    bool stays;           /* not moved for balance: who leads it plans */
    size_t keyspace_arcs; /* of its keyspace, those not in the input too */
    uint64_t floor_keys;
    uint64_t ceiling_bytes;
};

struct plan_input {
    const struct plan_peer *peers; /* any order, unique */
    size_t peer_count;
    const struct plan_arc *arcs;
    size_t arc_count;
    uint32_t vnodes;  /* arcs led per peer of weight 1 and keyspace */
    bool partial;     /* not all arcs may have reported: mend, but do not
                       * balance */
    size_t moves_max; /* arcs that may have a copy too many for balance */
};

/* Writes at most step_max steps, at most one an arc, and returns how many.
 * DLHT_ENOMEM gives none. */
size_t planner_steps(const struct plan_input *input, struct plan_step *steps,
                     size_t step_max);

#endif
