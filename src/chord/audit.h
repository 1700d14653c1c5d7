/* SPDX-License-Identifier: Apache-2.0 */

/* chord/audit.h - what one sees who sees all rings of a keyspace at once.
 *
 * The predicates of Zave's papers, for tests and the simulator: how far the
 * pointers are from ideal, and whether they still make one ordered ring. No
 * peer can see this. */

#ifndef CHORD_AUDIT_H
#define CHORD_AUDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/must_use.h"
#include "chord/ring.h"

struct audit {
    size_t arcs;
    size_t wrong_successors;   /* the first of the list */
    size_t wrong_predecessors; /* of more than one arc */
    size_t wrong_lists;        /* any place of it */
    size_t wrong_fingers;      /* arcs with any finger not 2^level away */
    size_t lost;               /* arcs whose list holds no live arc */
    size_t cycles;             /* of first live successors: 1 is one ring */
    size_t appendages;         /* arcs that lead to a ring but are not on it */
    size_t disordered;         /* ring members that jump over another one */
};

/* The pointers of all live arcs, in order of lo, no two of one arc. An arc that
 * is not among them counts as dead where it is pointed to. DLHT_ENOMEM */
MUST_USE int audit_rings(const struct ring *const *rings, size_t count,
                         struct audit *out);

/* Successors, predecessors and lists are right: one ordered ring of all. */
bool audit_is_ideal(const struct audit *audit);

/* One ordered ring with nobody lost; some may still be on their way to it. */
bool audit_is_one_ring(const struct audit *audit);

#endif
