/* SPDX-License-Identifier: Apache-2.0 */

/* chord/lookup.h - find the arc of a key, hop by hop.
 *
 * Every hop goes to an arc that stands strictly nearer before the key, in
 * circular order, than the arc it comes from: so a lookup ends, whatever the
 * pointers say. A wrong pointer costs a hop. Two ways to walk:
 * lookup_next_hop is one step of a request that is forwarded; struct lookup is
 * the machine of one that is asked from one place. No clock, no messages. */

#ifndef CHORD_LOOKUP_H
#define CHORD_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "chord/arc.h"
#include "chord/map.h"
#include "chord/ring.h"

enum {
    LOOKUP_HOPS_MAX = 64, /* twice log2 of any ring, for bad days */
    LOOKUP_NEAR_MAX = 24  /* a successor list: past half of an arc's neighbours
                            being dead */
};

/* Everything a peer knows of one keyspace. */
struct lookup_view {
    const struct map *known;         /* own and cached arcs; NULL: none */
    const struct ring *const *rings; /* of the arcs it leads */
    size_t ring_count;
};

/* Collects the count_max arcs nearest before a key (or after it), nearest
 * first. */
struct lookup_nearest {
    struct span key;
    bool after;
    struct span from; /* if has_from: only what is nearer than this */
    bool has_from;
    arc_id except; /* 0: none */
    const struct arc *arcs[LOOKUP_NEAR_MAX];
    size_t count;
    size_t count_max; /* at most LOOKUP_NEAR_MAX */
};

void lookup_offer(struct lookup_nearest *nearest, const struct arc *arc);
void lookup_offer_view(struct lookup_nearest *nearest,
                       const struct lookup_view *view);

/* Where to forward a request for key that stands at arc from (NULL: at its
 * origin): the known arc nearest before key, nearer than from. NULL: from is
 * the nearest known; if it has not the key, nobody known has. */
const struct arc *lookup_next_hop(const struct lookup_view *view,
                                  struct span key, const struct arc *from);

struct lookup {
    uint8_t *key; /* owned */
    size_t key_len;
    struct arc *near[LOOKUP_NEAR_MAX]; /* to ask, nearest first, owned */
    size_t near_count;
    struct arc *best; /* nearest that answered, owned; NULL: none yet */
    arc_id asked[LOOKUP_HOPS_MAX + 1];
    size_t asked_count;
    bool done; /* best has the key */
};

/* A lookup that has nobody to ask yet and asks no arc `except` (0: none).
 *   DLHT_ENOMEM  nothing to deinit */
MUST_USE int lookup_init(struct lookup *lookup, struct span key, arc_id except);
void lookup_deinit(struct lookup *lookup);

/* Offers an arc to ask, copied; ignored unless it is nearer than the best, not
 * asked before, and among the nearest offered. DLHT_ENOMEM: not added */
MUST_USE int lookup_add(struct lookup *lookup, const struct arc *arc);

/* The arc to ask now; NULL: it is over, found if `done`. Valid until the next
 * call. */
const struct arc *lookup_next(const struct lookup *lookup);

/* The arc asked said who it is (then lookup_add what else it said). An arc
 * that stands elsewhere counts as failed. DLHT_ENOMEM: counts as failed */
MUST_USE int lookup_answered(struct lookup *lookup, const struct arc *self);

/* The arc asked gave no answer. */
void lookup_failed(struct lookup *lookup);

#endif
