/* SPDX-License-Identifier: Apache-2.0 */

/* node/op_model.h - the operations on models, and what an arc's owner tells a
 * round.
 *
 * OP_MODEL and OP_PRESPLIT are carried to the owner of the system arc; their
 * documents are in docs/protocol.md. OP_MODEL_REPORT and OP_MODEL_SUMS go from
 * there to the owner of each arc. */

#ifndef NODE_OP_MODEL_H
#define NODE_OP_MODEL_H

#include "node/node_state.h"
#include "node/op.h"
#include "training/report.h"
#include "training/round.h"

/* At the node a client asks. */
void op_model_begin(struct node *node, const struct request *request,
                    const struct origin *origin);
/* At the owner of the system arc. */
void op_model_serve(struct node *node, const struct replica *r,
                    const struct request *request, const struct origin *origin);

/* REPORT: of the keys of [key, end) that are in the arc of key; limit is the
 * leaves of the model to be, version the keys of the whole keyspace as far as
 * known. SUMS: value is a packed slice of a skeleton,
 * the answer is the keys of [key, end) summed over its leaves; taken in slices
 * between turns. */
void op_model_read(struct node *node, struct replica *r,
                   const struct request *request, const struct origin *origin);

/* Goes on with sums under way; true if some are. */
bool op_model_tick(struct node *node);
/* The node is freed. */
void op_model_stop(struct node *node);

/* An answer to REPORT, read back. Quantiles and their keys are its own; other
 * spans point into the answer. */
struct model_piece {
    struct report report;
    arc_id arc;
    uint64_t generation;
    uint64_t applied;
    bool whole; /* all of that arc */
    struct fit_quantile *quantiles;
    struct buf keys;
};
/* On failure there is nothing to deinit. DLHT_EPROTO, DLHT_ENOMEM */
MUST_USE int op_model_read_report(struct span answer, struct model_piece *out);
void op_model_piece_deinit(struct model_piece *piece);

/* An answer to SUMS, for a model with leaves of that kind: an array of their
 * own, to be freed. DLHT_EPROTO, DLHT_ENOMEM */
MUST_USE int op_model_read_sums(const struct response *response,
                                enum model_kind kind, uint32_t *first,
                                struct sums **sums, size_t *count);

#endif
