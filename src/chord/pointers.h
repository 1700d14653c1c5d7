/* SPDX-License-Identifier: Apache-2.0 */

/* chord/pointers.h - what one arc points to: the state behind a ring.
 *
 * All descriptors are copies of its own. What must hold of them: the list goes
 * up the ring from the arc, and where fewer arcs are known than it has places,
 * the rest is the arc itself; nothing pointed to stands inside the arc, for
 * there is nobody. What is dropped is remembered a little, since it may be the
 * only way to a part of the ring that has lost us.
 *
 * The conversation that fills it is that of ring.c and its parts. */

#ifndef CHORD_POINTERS_H
#define CHORD_POINTERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/must_use.h"
#include "base/rng.h"
#include "chord/arc.h"
#include "chord/ring.h"

enum {
    /* The first hint, and the last few that were dropped. */
    POINTERS_MET_MAX = 8
};

struct pointers {
    struct arc *self;
    struct arc *list[RING_LIST_MAX]; /* the known part */
    size_t list_count;               /* of it; 0: alone */
    size_t list_len;                 /* places */
    struct arc *predecessor;
    struct arc *fingers[RING_LEVELS_MAX]; /* [0] unused: the head is it */
    struct arc *candidate; /* may stand between us and the head */
    struct arc *met[POINTERS_MET_MAX];
};

/* An arc alone. DLHT_ENOMEM: nothing to deinit */
MUST_USE int pointers_init(struct pointers *p, const struct arc *self,
                           size_t list_len);
void pointers_deinit(struct pointers *p);

/* The right child of a split stands before all that its parent points to.
 *   DLHT_ENOMEM  with some of them */
MUST_USE int pointers_inherit(struct pointers *p, const struct pointers *from);

/* Another descriptor of the same arc; what stands inside it now is dropped.
 *   DLHT_ENOMEM  as before */
MUST_USE int pointers_set_self(struct pointers *p, const struct arc *self);

/* So many places, 1 to RING_LIST_MAX. */
void pointers_set_list_len(struct pointers *p, size_t len);

bool pointers_is_self(const struct pointers *p, const struct arc *arc);
bool pointers_is_inside(const struct pointers *p, const struct arc *arc);

/* It stands where we end: no arc can come before it. */
bool pointers_is_exact(const struct pointers *p, const struct arc *arc);

/* It would be a better successor than the one we have. */
bool pointers_is_before_head(const struct pointers *p, const struct arc *arc);

/* The arc at a place of the list; index < list_len, 0 is the head. */
const struct arc *pointers_successor(const struct pointers *p, size_t index);

/* head just answered with its list: it is our successor, and what follows it
 * follows us, as far as it goes up the ring. One that has no list yet keeps
 * ours behind it.
 *   DLHT_ENOMEM  as before */
MUST_USE int pointers_adopt(struct pointers *p, const struct arc *head,
                            const struct arc *const *list, size_t count);

/* The list, if any of it is known, moves up by one. */
void pointers_drop_head(struct pointers *p);
void pointers_drop_finger(struct pointers *p, arc_id id);

/* The arc at the level below, which is asked for this one; NULL: there is
 * none, or level is no level of a finger. */
const struct arc *pointers_below(const struct pointers *p, size_t level);

/* What the arc below said (NULL: none). Where the doubling would pass us it
 * ends. True if the level holds another arc now. */
bool pointers_set_finger(struct pointers *p, size_t level,
                         const struct arc *found);

/* from says that we are its successor. True if it is our predecessor now: it
 * stands nearer than the one we had, or ends where we begin and is newer.
 * False: it stays as it was, if only because it is the same or of memory. */
bool pointers_rectify(struct pointers *p, const struct arc *from);

/* An arc spoke for itself: what we hold of it is renewed. Arcs that it took in
 * are found to be gone when they are asked. */
void pointers_learn(struct pointers *p, const struct arc *news);

void pointers_meet(struct pointers *p, struct rng *rng, const struct arc *arc);
void pointers_unmeet(struct pointers *p, arc_id id);

/* Makes *to a copy, unless it holds the same arc as new already. DLHT_ENOMEM */
MUST_USE int pointers_set(struct arc **to, const struct arc *from);
void pointers_clear(struct arc **arc);

void pointers_check(const struct pointers *p);

#endif
