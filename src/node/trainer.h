/* SPDX-License-Identifier: Apache-2.0 */

/* node/trainer.h - when and how models are trained: the owner of the system
 * arc watches every ordered keyspace and runs the rounds.
 *
 * Leaders report how many keys came and went; enough of them start a survey,
 * which asks every arc for a few quantiles and measures the model against
 * them. If a trigger fires (training/drift.h) a round begins: quantiles again,
 * closer; what other replicas counted; a skeleton, fitted as a job; sums over
 * its leaves; the model, likewise; and a cas on the record in the system arc.
 * Nothing of a round is kept anywhere until that cas: if this node stops, the
 * next owner begins anew. */

#ifndef NODE_TRAINER_H
#define NODE_TRAINER_H

#include "node/node_state.h"
#include "node/op.h"

void trainer_tick(struct node *node);

/* A newer epoch is held here. */
void trainer_adopted(struct node *node, struct keyspace *ks);

/* The keyspace goes. */
void trainer_forget(struct node *node, struct keyspace *ks);

/* OP_MODEL of action train, at the owner of the system arc: begins a round, or
 * joins the one under way. With wait the origin is answered when it has
 * ended. */
void trainer_force(struct node *node, struct keyspace *ks, bool wait,
                   const struct origin *origin);

/* Publishes a model made elsewhere. */
void trainer_import(struct node *node, struct keyspace *ks, struct span bytes,
                    const struct origin *origin);

/* OP_MODEL of action show: answered after a survey. */
void trainer_show(struct node *node, struct keyspace *ks,
                  const struct origin *origin);

/* OP_MODEL of action history. */
void trainer_history(struct node *node, struct keyspace *ks,
                     const struct origin *origin);

/* What the other replicas of the arcs count: asked by a round, answered by
 * each peer. */
void trainer_count(struct node *node, const struct keyspace *ks,
                   const struct id *from, uint64_t round);
void trainer_hear_counts(struct node *node, struct keyspace *ks,
                         const struct id *from,
                         const struct model_message *message);

#endif
