/* SPDX-License-Identifier: Apache-2.0 */

/* node/quiet.h - groups with nothing to do sleep, so that a ring nobody uses
 * costs next to nothing.
 *
 * A leader whose arc saw no request and no entry for node_config.quiet_ns
 * tells its group to sleep (raft_sleep): no heartbeats, no timers, no lease.
 * A request, a step or a vote wakes it, and so does any doubt about a peer that
 * keeps a copy: a link that broke, a suspicion, a new life. Waking in vain is
 * harmless. In case all of that fails a sleeping leader looks now and then
 * whether everybody is still there, and a follower that nobody has looked at
 * for longer wakes up by itself. */

#ifndef NODE_QUIET_H
#define NODE_QUIET_H

#include "node/node_state.h"

void quiet_tick(struct node *node, struct replica *r);

/* It is needed, or something is wrong with its group. */
void quiet_wake(struct node *node, struct replica *r);

/* All copies here sleep and no request is under way: nothing is hurried. */
bool quiet_rests(const struct node *node);

/* Wakes the groups with a copy on that peer. */
void quiet_doubt(struct node *node, const struct id *peer);

/* A read was asked of it; of writes the log tells. */
void quiet_note_work(struct node *node, struct replica *r);

#endif
