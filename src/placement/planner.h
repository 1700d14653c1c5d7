/* SPDX-License-Identifier: Apache-2.0 */

/* placement/planner.h - from a snapshot of the ring to the next steps.
 *
 * A pure function: what it is told are the peers and, of each arc, what its
 * leader last reported. It first mends (too few live copies, too few voters,
 * members on peers that are gone or leaving, copies in one zone that could be
 * in two), then takes away what is too much, then cuts arcs that are too large,
 * too few, or hot, and merges cold neighbours, then moves replicas and
 * leaderships from fuller peers to emptier ones. A step changes one thing of
 * one arc; where a plan needs several, the next report shows the first one done
 * and the next call plans on. So a lost step, or a planner that dies, costs
 * nothing but time. planner_rehearse does that to the end without a ring.
 *
 * The load of an arc is the greater of its share of its ring's bytes and its
 * share of the requests. An arc is hot beyond PLAN_HOT times the mean of its
 * keyspace: it is cut into ceil(load / (1.7 mean)) parts, 16 at most. Two
 * neighbours are cold together up to PLAN_COLD times the mean; that must be at
 * least 2, and below PLAN_HOT, or some rings could neither cut nor merge. */

#ifndef PLACEMENT_PLANNER_H
#define PLACEMENT_PLANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "chord/arc.h"

#define PLAN_HOT 3.0
#define PLAN_COLD 2.25

enum {
    PLAN_WAYS_MAX = 16 /* parts that a hot arc is cut into at once */
};

enum plan_kind {
    PLAN_ADD = 1, /* peer becomes a learner */
    PLAN_PROMOTE, /* learner becomes a voter */
    PLAN_DEMOTE,  /* voter becomes a learner */
    PLAN_REMOVE,
    PLAN_TRANSFER, /* leadership goes to peer */
    PLAN_SPLIT,    /* into `ways` parts of about as many keys */
    PLAN_MERGE     /* into the arc before it, `into` */
};

/* Why, for people. */
enum plan_reason {
    PLAN_FOR_COPIES = 1, /* too few live copies or voters */
    PLAN_FOR_GONE,       /* its peer is gone */
    PLAN_FOR_LEAVING,    /* its peer leaves */
    PLAN_FOR_ZONES,      /* two copies in one zone */
    PLAN_FOR_TRIM,       /* more copies or voters than wanted */
    PLAN_FOR_SIZE,       /* larger than the ceiling */
    PLAN_FOR_COUNT,      /* too few arcs for the peers there are */
    PLAN_FOR_HOT,        /* its load is far above the mean */
    PLAN_FOR_COLD,       /* the loads of two neighbours are far below */
    PLAN_FOR_BALANCE     /* a fuller peer to an emptier one */
};

struct plan_step {
    enum plan_kind kind;
    enum plan_reason reason;
    const struct arc *arc;  /* the input's */
    struct id peer;         /* of ADD to TRANSFER */
    const struct arc *into; /* MERGE: the input's, ends where arc begins */
    unsigned ways;          /* SPLIT: 2 to PLAN_WAYS_MAX */
    uint64_t bytes;         /* that will be sent for it: ADD, MERGE */
};

struct plan_peer {
    struct id id;
    bool up;      /* may be given something */
    bool gone;    /* its copies are to be made anew elsewhere */
    bool leaving; /* is up, and to be emptied */
    uint32_t weight_milli;
    const char *zone; /* empty or NULL: none */
};

struct plan_arc {
    const struct arc *arc;
    uint64_t keys;
    uint64_t bytes;
    uint64_t bytes_usual; /* smoothed over about a minute, for its load; 0: as
                           * bytes */
    uint64_t requests;    /* a second, smoothed over about a minute */
    uint16_t caught_up;   /* bit i: members[i] is live and caught up */
    uint16_t lost;        /* bit i: members[i] said it lost its copy */
    bool busy;            /* a step is under way */
    enum plan_kind sent;  /* the step just sent, not yet reported; 0: none */
    struct id sent_peer;  /* its peer */
    uint8_t replicas;     /* wanted copies */
    bool may_split;       /* and merge */
    bool stays;           /* not moved for balance: who leads it plans */
    size_t keyspace_arcs; /* of its keyspace, those not in the input too */
    uint64_t floor_keys;
    uint64_t ceiling_bytes;
};

struct plan_input {
    const struct plan_peer *peers; /* any order, unique */
    size_t peer_count;
    const struct plan_arc *arcs; /* any order, unique */
    size_t arc_count;
    uint32_t vnodes;       /* arcs led per peer of weight 1 and keyspace */
    bool partial;          /* not all arcs may have reported: mend, but do not
                       * balance, cut for heat, or merge */
    bool paused;           /* by the operator: mend and trim only */
    size_t moves_max;      /* arcs that may have a copy too many for balance; 0:
                       * none */
    size_t peer_moves_max; /* of them, to or from one peer; 0: no limit */
    uint64_t moves_bytes_max; /* bytes that they may hold; 0: no limit; one
                               * move may always be */
    size_t merges_max;        /* arcs that may merge at once */
};

/* Writes at most step_max steps, at most one an arc (a MERGE is one of both
 * its arcs), and returns how many. DLHT_ENOMEM gives none. */
size_t planner_steps(const struct plan_input *input, struct plan_step *steps,
                     size_t step_max);

/* The peers are as even as moves of whole arcs make them, the copies are where
 * they should be: what planner_steps says once nothing is under way. */
struct plan_shares {
    double led_most, led_least;   /* load led per weight, over the mean */
    double held_most, held_least; /* bytes kept per weight, over the mean */
    uint64_t bytes;               /* of all arcs, each once */
    size_t arcs;
};
void planner_shares(const struct plan_input *input, struct plan_shares *out);

/* A ring in which each step is done at once, to see where plans lead: for
 * `balance plan`, for what-if, for simulations. It owns copies of everything;
 * cut arcs are cut evenly in all that they have. */
struct rehearsal;

/*   DLHT_ENOMEM */
MUST_USE int rehearsal_new(const struct plan_input *input,
                           struct rehearsal **out);
void rehearsal_free(struct rehearsal *r); /* NULL is allowed */

/* One call of planner_steps, done. The steps point into r and are good until
 * the next call; how many, 0 when there is nothing left to do.
 *   DLHT_ENOMEM */
MUST_USE int rehearsal_turn(struct rehearsal *r, const struct plan_step **steps,
                            size_t *count);

/* As it stands; its arrays may be changed in place (keys, bytes, requests,
 * peers' flags and weights), for a simulation that goes on. Good until the next
 * turn. */
struct plan_input *rehearsal_input(struct rehearsal *r);

/* A peer more, empty.
 *   DLHT_ENOMEM */
MUST_USE int rehearsal_add_peer(struct rehearsal *r,
                                const struct plan_peer *peer);

/* Bytes sent so far: by ADD, copies; by MERGE, what moves into another arc. */
uint64_t rehearsal_bytes_moved(const struct rehearsal *r);

#endif
