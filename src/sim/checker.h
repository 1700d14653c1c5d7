/* SPDX-License-Identifier: Apache-2.0 */

/* sim/checker.h - invariants over all nodes of a world.
 *
 * A checker looks into nodes through node/inspect.h and changes nothing. It
 * remembers what must not go back. */

#ifndef SIM_CHECKER_H
#define SIM_CHECKER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
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
/* Loose: with clients at work the planner may go on moving arcs, so a copy too
 * many or one on its way is no matter. Large rings are always judged so. */
void checker_set_loose(struct checker *checker, bool loose);

/* With nobody writing: all copies of each arc have applied as much and hold the
 * same, by hash. As above. */
bool checker_is_equal(struct checker *checker, const char **why);

/* Arcs of the keyspace that has most. */
size_t checker_arc_count(struct checker *checker);

/* Of the arcs outside the system keyspace that are led now: how many, at most
 * max, and where they begin, in no order. The spans are borrowed until the next
 * event; los may be NULL. */
size_t checker_led(struct checker *checker, struct span *los, size_t max);

/* The peer may be lost for good: of no arc that it has a copy of is another
 * copy missing, or one too few. */
bool checker_may_lose(struct checker *checker, size_t peer);

/* How often, so far, an arc that was asked for the way gave no answer. */
uint64_t checker_timeouts(struct checker *checker);

/* How often one who is up is wrong about another: thinks dead who is up, or up
 * who is not. */
void checker_opinions(struct checker *checker, size_t *dead, size_t *up);

/* What every node has of an arc, of all arcs if id is 0, into the trace. */
void checker_trace(struct checker *checker, arc_id id);

#endif
