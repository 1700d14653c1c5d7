/* SPDX-License-Identifier: Apache-2.0 */

/* bench/balance.h - rings for the planner to balance. */

#ifndef BENCH_BALANCE_H
#define BENCH_BALANCE_H

#include "base/rng.h"
#include "bench.h"
#include "placement/planner.h"

enum {
    BALANCE_VNODES = 8
};

struct balance_ring {
    struct plan_peer *peers;
    struct arc *arcs;
    struct plan_arc *plan;
    uint8_t (*bounds)[4]; /* where arcs begin */
    struct plan_input in;
};

/* How a ring is laid out. */
struct balance_layout {
    size_t peers, copies;
    double spread; /* sizes of arcs: the mean, by so much more or less */
    bool dealt;    /* to all peers in turn; else by chance */
};

/* BALANCE_VNODES arcs a peer, 1 MiB each on average; budgets as a node has. */
struct balance_ring balance_ring_make(const struct balance_layout *layout,
                                      uint64_t seed);
void balance_ring_free(struct balance_ring *ring);

/* Turns until nothing is left to do. */
void balance_settle(struct rehearsal *r);

/* Growth, turn by turn: bytes moved and how even it stays. */
void balance_growth(const struct bench_options *options);

#endif
