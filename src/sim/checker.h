/* SPDX-License-Identifier: Apache-2.0 */

/* sim/checker.h - invariants over all nodes of a world.
 *
 * A checker looks into nodes through node/inspect.h and changes nothing. It
 * remembers what must not go back. */

#ifndef SIM_CHECKER_H
#define SIM_CHECKER_H

#include <stdbool.h>
#include <stddef.h>

#include "sim/world.h"

struct checker;

/* Aborts without memory. */
struct checker *checker_new(struct world *world);
void checker_free(struct checker *checker); /* NULL is allowed */

/* After a turn of the peer: what that may have touched; everything every
 * thousand turns. Fails the world. */
void checker_turn(struct checker *checker, size_t peer);

/* Everything, now. */
void checker_all(struct checker *checker);

/* A10: every arc has all its replicas, caught up, and one leader; all peers
 * know each other and have the same map, or the right pointers. Else says in why (never NULL) what is
 * missing. */
bool checker_is_whole(struct checker *checker, const char **why);

/* Arcs of the keyspace that has most. */
size_t checker_arc_count(struct checker *checker);

/* What every node has of an arc, of all arcs if id is 0, into the trace. */
void checker_trace(struct checker *checker, arc_id id);

#endif
