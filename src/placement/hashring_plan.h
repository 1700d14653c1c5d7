/* SPDX-License-Identifier: Apache-2.0 */

/* placement/hashring_plan.h - what moves when one ring follows another.
 *
 * Shares are of all copies: with 3 replicas, a third of the ring that changes
 * one of its three nodes has moved a ninth. Beside what moves stands the ideal:
 * what must move so that every node goes from its fair share to its new one.
 * A ring moves less than that where the old one was off to the right side.
 *
 * With probes, who holds a position is not told by intervals: then the plan is
 * measured at HASHRING_PLAN_SAMPLES places, and has none. */

#ifndef PLACEMENT_HASHRING_PLAN_H
#define PLACEMENT_HASHRING_PLAN_H

#include "placement/hashring.h"

enum {
    HASHRING_PLAN_SAMPLES = 1 << 17 /* a share of 1 % is told to 0.03 % */
};

/* The positions (from, to], over zero where from >= to; from == to: all. The
 * nodes are indices of plan.nodes, the holder first. Neighbours of the same
 * nodes are one interval, but for the one at zero. */
struct hashring_move {
    uint64_t from;
    uint64_t to;
    const uint32_t *old_nodes;
    const uint32_t *new_nodes;
    uint32_t old_count;
    uint32_t new_count;
};

struct hashring_plan_node {
    struct span id;   /* lives as long as the plan */
    bool was;         /* in the old ring */
    bool is;          /* in the new one */
    double old_share; /* of all copies */
    double new_share;
    double gained;
    double lost;
    double fair_share;   /* in the new ring, by weight; none over 1 / copies */
    size_t gained_count; /* intervals */
    size_t lost_count;
};

struct hashring_plan {
    struct hashring_move *moves; /* in their order on the ring */
    size_t move_count;
    struct hashring_plan_node *nodes; /* of either ring, by id */
    size_t node_count;
    double moved; /* copies that a node has that had not, of the new ring's */
    double ideal;
    double holder_moved; /* positions whose first node is another */
    bool sampled;

    struct hashring *old_ring; /* held */
    struct hashring *new_ring; /* held */
    uint32_t *node_lists;      /* owned: what the moves point into */
};

/* What moves from old_ring to new_ring with so many copies (1 to 16); the
 * configurations should be alike. Linear in the tokens of both. *out is to be
 * freed with hashring_plan_free; NULL on failure.
 *   DLHT_EINVAL copies
 *   DLHT_ENOMEM */
MUST_USE int hashring_plan_new(struct hashring *old_ring,
                               struct hashring *new_ring, size_t copies,
                               struct hashring_plan **out);

/* NULL is allowed. */
void hashring_plan_free(struct hashring_plan *plan);

#endif
