/* SPDX-License-Identifier: Apache-2.0 */

/* node/op_search.h - finding vectors.
 *
 * The entry node asks as few peers as hold copies of all arcs of the
 * collection, itself first, all at once, and meanwhile the owners of the arcs
 * how far copies must have come to know all that was acknowledged (Raft's
 * ReadIndex). A peer searches its graph at once and says how far its copies had
 * come (node/search_marks.h); what had not come so far is asked for again. Of
 * its own copies, and from the second round on, a node asks the owners itself,
 * and waits until they have come so far. With REQUEST_STALE all just search.
 * Where a peer does not answer soon, others are asked as well.
 *
 * Answers say which ranges of keys they are about: what no answer covered yet is
 * asked for again, so whatever splits or moves meanwhile, the answers tile the
 * keyspace; a vector that two answers name is told once. */

#ifndef NODE_OP_SEARCH_H
#define NODE_OP_SEARCH_H

#include "node/node_state.h"

/* op_search.c: OP_SEARCH, at the entry node. */
void op_search_begin(struct node *node, const struct request *request,
                     const struct keyspace *ks, const struct origin *origin);

/* op_search_peer.c: OP_SEARCH_PEER, OP_SEARCH_CONFIRM; r may be read, but for
 * a search that must be fresh. */
void op_search_read(struct node *node, struct replica *r,
                    const struct request *request, const struct origin *origin);
/* One of the arcs that a search waits for may be read, or not. */
void op_search_confirmed(struct node *node, uint64_t ticket, int status);

void op_search_tick(struct node *node);
void op_search_stop(struct node *node);
/* Copies may have come far enough. */
void op_search_peer_flush(struct node *node);
void op_search_peer_tick(struct node *node);
void op_search_peer_stop(struct node *node);

#endif
