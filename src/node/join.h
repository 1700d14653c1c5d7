/* SPDX-License-Identifier: Apache-2.0 */

/* node/join.h - how a node comes into a cluster: founds it, joins it by a
 * bootstrap peer, or comes back with its data dir.
 *
 * A wrong or dead bootstrap address is a failure, never a silent ring of one.
 * A node that was in a cluster before serves at once and looks for its peers
 * for ever. */

#ifndef NODE_JOIN_H
#define NODE_JOIN_H

#include "node/node_state.h"

void join_boot(struct node *node);
void join_tick(struct node *node);
void join_receive(struct node *node, const struct id *from,
                  const struct message *message);
void join_receive_welcome(struct node *node, const struct id *from,
                          const struct message *message);
/* Instead of join_boot: a member of that cluster for long, under that id.
 *   DLHT_ENOMEM */
MUST_USE int join_settle(struct node *node, const struct id *cluster,
                         const struct id *self);
/* EFFECT_READY once this node can serve. */
void join_say_ready(struct node *node);
/* Journals the addresses of the peers, for the next start. */
void join_remember(struct node *node);

#endif
