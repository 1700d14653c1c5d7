/* SPDX-License-Identifier: Apache-2.0 */

/* node/gossip.h - spreading who keeps what.
 *
 * News travels at once to a few peers, who pass on what is news to them; a
 * digest exchanged with a random peer now and then mends what was lost. All of
 * it is hints: an arc's own group has the last word. */

#ifndef NODE_GOSSIP_H
#define NODE_GOSSIP_H

#include "node/node_state.h"

MUST_USE int gossip_new(struct gossip **out);
void gossip_free(struct gossip *gossip);

/* A descriptor from one of our own replicas, or a hint. */
void gossip_notice_arc(struct node *node, const struct arc *arc);

/* As above; true if it was news to us. */
bool gossip_learn_arc(struct node *node, const struct arc *arc);

void gossip_queue_keyspace(struct node *node, keyspace_id id);

/* Something was looked for and nobody known has it, or knows the way: without a
 * whole map, the next digests ask for some arcs to begin with. */
void gossip_note_lost(struct node *node);

void gossip_tick(struct node *node);
void gossip_receive(struct node *node, const struct message *message);
void gossip_receive_digest(struct node *node, const struct id *from,
                           const struct message *message);

/* Sends all we know to one peer (a newcomer). */
void gossip_send_all(struct node *node, const struct id *to);
void gossip_send_digest(struct node *node, const struct id *to);

#endif
