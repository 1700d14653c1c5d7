/* SPDX-License-Identifier: Apache-2.0 */

/* node/op_balance.h - OP_BALANCE: what is planned, what moves, and whether it
 * may. Carried to the owner of the system arc; documents are in
 * docs/protocol.md.
 *
 * op_balance.c has status, pause, resume and set, op_rehearse.c plans to the
 * end without moving anything, as a job. */

#ifndef NODE_OP_BALANCE_H
#define NODE_OP_BALANCE_H

#include "node/keeper_state.h"
#include "node/op.h"
#include "wire/mp.h"

void op_balance_begin(struct node *node, const struct request *request,
                      const struct origin *origin);
/* At the owner of the system arc. */
void op_balance_serve(struct node *node, const struct replica *r,
                      const struct request *request,
                      const struct origin *origin);

/* Asks the owner of the system arc for the answer to an action; done hears it.
 * Codes of pending_begin. */
MUST_USE int op_balance_ask(struct node *node, const char *action,
                            uint64_t deadline_ns, pending_fn *done,
                            void *context);

/* what_if is a MessagePack array of texts, or nothing. */
void op_rehearse(struct node *node, struct span what_if, uint64_t limit,
                 const struct origin *origin);

/* In words. */
const char *op_balance_kind(enum plan_kind kind);
const char *op_balance_reason(enum plan_reason reason);

/* The address as a field; nil for the zero id, and the id of a stranger. */
void op_balance_write_peer(struct node *node, struct buf *b, const char *name,
                           const struct id *peer);

#endif
