/* SPDX-License-Identifier: Apache-2.0 */

/* placement/planner_state.h - what the parts of the planner share in one call.
 *
 * Peers and arcs are named by their places in the input. Loads are kept as they
 * will be when all that is under way, or planned in this call, has been done:
 * else the same would be planned again and again. */

#ifndef PLACEMENT_PLANNER_STATE_H
#define PLACEMENT_PLANNER_STATE_H

#include "placement/planner.h"

enum {
    PLANNER_NOBODY = UINT16_MAX, /* not in the table of peers */
    PLANNER_TRICKLE = 32 /* requests a second an arc, below which they hardly
                         * count: few requests are noise */
};

/* A peer, as planning sees it. */
struct planner_peer {
    double weight;
    double held;  /* bytes of all its copies, and some for each arc */
    double led;   /* loads of the arcs it leads */
    size_t moves; /* copies on their way to or from it */
    uint16_t zone;
    bool stays; /* counts: neither gone nor leaving */
    bool takes; /* may be given something */
};

/* An arc: its members and owner as places in the table of peers. */
struct planner_arc {
    uint16_t member[ARC_MEMBERS_MAX];
    uint16_t owner;
    uint16_t surplus; /* who gives up its copy if one is too many */
    bool has_step;
    bool may_move; /* settled: nothing but balance could be improved */
    double bytes;  /* and some, so that empty arcs are spread too */
    double led;    /* its load, by the weight of its keyspace */
    double heat;   /* its load over the mean of its keyspace */
};

struct planner_keyspace {
    size_t first, count; /* in planner.sorted */
    size_t arcs;         /* those not in the input too; as they will be */
    size_t want;         /* at least 1 */
    double bytes;
    bool hot; /* it has, or had in this call, an arc too hot */
};

struct planner {
    const struct plan_input *in;
    struct planner_peer *peers;
    struct planner_arc *arcs;
    size_t *sorted; /* arcs, by keyspace and lo */
    struct planner_keyspace *keyspaces;
    size_t keyspace_count;
    size_t zone_count; /* of peers that stay */
    size_t usable;     /* peers that stay */
    double weight;     /* of them */
    double full;       /* bytes held per weight when no copy is missing */
    struct plan_step *steps;
    size_t count, max;
    size_t moving; /* arcs with more members than wanted */
    double moving_bytes;
    size_t merging;
    bool mending; /* some arc lacks a copy */
};

struct planner_tally {
    size_t sound;        /* members that count */
    size_t sound_ready;  /* of them caught up */
    size_t voters;       /* all voters */
    size_t sound_voters; /* voters that count */
    size_t want;         /* copies */
    size_t want_voters;
};

/* planner.c */

/* NULL: no room. The loads are not touched. */
struct plan_step *planner_add(struct planner *p, enum plan_kind kind,
                              enum plan_reason reason, size_t arc);
void planner_add_for(struct planner *p, enum plan_kind kind,
                     enum plan_reason reason, size_t arc, size_t peer);

/* A member that counts: on a peer that stays, copy not lost. */
bool planner_is_sound(const struct planner *p, size_t arc, size_t member);
struct planner_tally planner_tally_of(const struct planner *p, size_t arc);

/* The budget allows one more copy to go. */
bool planner_has_budget(const struct planner *p, size_t arc, size_t from,
                        size_t to);
/* An ADD that makes a copy too many, which `from` will give up. */
void planner_move_copy(struct planner *p, enum plan_reason reason, size_t arc,
                       size_t from, size_t to);

/* planner_mend.c */

/* How many zones the members that count are in, with `coming` and without
 * `going` (peers, PLANNER_NOBODY: none). */
size_t planner_zones(const struct planner *p, size_t arc, size_t coming,
                     size_t going);

/* Who gives up its copy if that of `coming` (or PLANNER_NOBODY) comes: so that
 * most zones are left, of such the fullest. */
uint16_t planner_surplus(const struct planner *p, size_t arc, size_t coming);

void planner_mend(struct planner *p);
void planner_mend_zones(struct planner *p);

/* planner_cut.c, planner_merge.c, planner_balance.c */
void planner_cut(struct planner *p);
void planner_merge(struct planner *p);
void planner_balance(struct planner *p);

#endif
