/* SPDX-License-Identifier: Apache-2.0 */

/* node/effects.h - how the node's own files fill struct effects.
 *
 * Small things that effects point to live in an arena that is emptied at the
 * start of each step; blocks never move, so pointers into it stay good. */

#ifndef NODE_EFFECTS_H
#define NODE_EFFECTS_H

#include <stddef.h>

#include "base/span.h"
#include "node/node.h"

/* Empties list and arena, keeps their memory. */
void effects_reset(struct effects *effects);

/* The next effect, zeroed, its kind set; NULL: no memory. */
struct effect *effects_add(struct effects *effects, enum effect_kind kind);

/* Room in the arena, aligned for anything, not zeroed; NULL: no memory. */
void *effects_room(struct effects *effects, size_t bytes);

/* A copy in the arena; an empty span if there is no memory. */
struct span effects_copy(struct effects *effects, struct span bytes);

#endif
