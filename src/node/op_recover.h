/* SPDX-License-Identifier: Apache-2.0 */

/* node/op_recover.h - an operator says that the majority of an arc's group is
 * lost for good.
 *
 * The entry node asks every peer that is up what it has of the arc, refuses if
 * there is a leader or may be one again by itself, says what may be lost, and
 * if the operator accepts that has the most advanced copy go on alone
 * (recover.h). The balancer then gives it new members. */

#ifndef NODE_OP_RECOVER_H
#define NODE_OP_RECOVER_H

#include "node/op.h"

void op_recover_begin(struct node *node, const struct request *request,
                      const struct origin *origin);

/* MESSAGE_RECOVER */
void op_recover_receive(struct node *node, const struct id *from,
                        const struct recover_message *message);

void op_recover_tick(struct node *node);

/* Answers whoever waits; before the node is freed. */
void op_recover_stop(struct node *node);

#endif
