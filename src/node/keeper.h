/* SPDX-License-Identifier: Apache-2.0 */

/* node/keeper.h - who plans the ring's steps, and who takes them.
 *
 * Every leader reports its arcs to the owner of the system arc; that one plans
 * (placement/planner.h) and sends each step to the arc's leader, who checks the
 * generation and takes it. */

#ifndef NODE_KEEPER_H
#define NODE_KEEPER_H

#include "node/node_state.h"

MUST_USE int keeper_new(struct keeper **out);
void keeper_free(struct keeper *keeper);

/* What this node leads is told of at once, if it changed. */
void keeper_report_soon(struct node *node);

void keeper_tick(struct node *node);
void keeper_receive_report(struct node *node, const struct id *from,
                           const struct message *message);
void keeper_receive_step(struct node *node, const struct step *step);
void keeper_receive_gone(struct node *node, const struct id *from,
                         const struct message *message);

/* MESSAGE_PACE: what a peer measured, or what one is told. */
void keeper_receive_pace(struct node *node, const struct id *from,
                         const struct message *message);

/* Keys and arcs of a keyspace as its leaders last reported them. Only where
 * the system arc is led; else zeros. */
void keeper_totals(const struct node *node, const struct keyspace *ks,
                   uint64_t *keys, size_t *arcs);

/* Asks the leaders of the arcs that hold keys (ascending) to cut there, and
 * says of how many. Arcs in which something is under way are left as they
 * are. Only where the system arc is led. */
size_t keeper_cut(struct node *node, const struct keyspace *ks,
                  const struct span *keys, size_t count);

/* A voter of r is to go, as soon as the others have answered. */
void keeper_go_on(struct node *node, struct replica *r);

/* What this node, as the leader of r, would report. */
struct arc_report keeper_report_of(struct node *node, struct replica *r);

/* Asks for this peer to be emptied; EBUSY with how much is left in *left, OK
 * when it may be stopped. Only where the system arc is led; else ENOTOWNER. */
int keeper_leave(struct node *node, const struct id *peer, size_t *left);

/* Operators' record of a peer in the system arc. */
bool keeper_is_leaving(const struct node *node, const struct id *peer);

/* How many transfers of leadership this node has planned, and how many steps
 * because copies or peers were taken for gone. */
uint64_t keeper_sent(const struct node *node, uint64_t *for_gone);

#endif
