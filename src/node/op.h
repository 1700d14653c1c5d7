/* SPDX-License-Identifier: Apache-2.0 */

/* node/op.h - what each operation means: op_begin where a client asks, op_serve
 * where the owner of the key answers.
 *
 * op_record.c: put, get, del, cas. op_range.c: range, count and their pieces.
 * op_batch.c: batch and mget. op_cas_batch.c: batches with conditions.
 * op_vector.h, op_search.h: vectors.
 * op_lookup.c: lookup. op_admin.c: ring, peers, status.
 * op_keyspace.c: keyspaces. op_peer.c: leave and peer set. op_balance.h: what
 * moves. */

#ifndef NODE_OP_H
#define NODE_OP_H

#include "node/node_state.h"
#include "node/pending.h"

enum {
    OP_HASH_BYTES = 8, /* before the keys of a hashed keyspace */
    OP_BY_LOG = 1      /* response.count of a NOT_OWNER that the log decided */
};

/* The key as a hashed keyspace keeps it, to OP_HASH_BYTES + key.len bytes. */
void op_hash_key(struct span key, uint8_t *out);

/* The same in the step's arena; empty: no memory. */
struct span op_hashed_key(struct node *node, struct span key);

/* The keyspace a request names; NULL: none that is known here. */
struct keyspace *op_keyspace_of(const struct node *node,
                                const struct request *request);

/* A client's request, of any kind. */
void op_begin(struct node *node, const struct request *request,
              const struct origin *origin);

/* A request addressed to an arc that this node may own. */
void op_serve(struct node *node, const struct request *request,
              const struct origin *origin);

/* A read that may be answered from this replica now. */
void op_read(struct node *node, struct replica *r,
             const struct request *request, const struct origin *origin);

/* The outcome of an applied write on r. */
void op_answer_result(struct node *node, const struct replica *r,
                      const struct origin *origin,
                      const struct session_result *result);
/* REQUEST_ALL: keeps it until all live members have the entry. False: answer
 * now. */
bool op_hold_result(struct node *node, struct replica *r, uint64_t index,
                    const struct origin *origin,
                    const struct session_result *result);

/* For a descending range: the known arc that holds the keys just before the
 * request's end. */
const struct arc *op_find_before(const struct map *map,
                                 const struct request *request);

/* Whether the arc is the one that holds the request's key: of a descending
 * range, the keys just before its end. */
bool op_begins_in(const struct arc *arc, const struct request *request);

/* Why an arc whose copy here could not be read does not answer, in the step's
 * arena. */
struct span op_damaged_text(struct node *node);

/* NOT_OWNER, and where to ask next. r is not empty. */
void op_answer_not_owner(struct node *node, const struct replica *r,
                         const struct request *request,
                         const struct origin *origin);

uint64_t op_deadline_ns(const struct node *node, const struct request *request);

/* A put, get, del or cas of one record: to its owner, or here. */
void op_record_begin(struct node *node, const struct request *request,
                     const struct keyspace *ks, const struct origin *origin);

/* A write of one record, its key as it is stored, of a copy that nobody but
 * this node has: nobody else can lead the arc, so that the write need not be
 * kept to be asked again, nor, without a session of its client, told apart from
 * its repetition. False: nothing was done, and it is to be carried to the
 * owner, which may be here, too. */
bool op_propose_here(struct node *node, struct replica *r,
                     const struct request *request,
                     const struct origin *origin);

/* op_range.c */
void op_range_begin(struct node *node, const struct request *request,
                    const struct origin *origin);
void op_range_read(struct node *node, struct replica *r,
                   const struct request *request, const struct origin *origin);

/* op_batch.c */
void op_batch_begin(struct node *node, const struct request *request,
                    const struct origin *origin);
void op_mget_begin(struct node *node, const struct request *request,
                   const struct origin *origin);

/* op_cas_batch.c */
void op_cas_batch_begin(struct node *node, const struct request *request,
                        const struct origin *origin);

/* op_lookup.c, op_admin.c */
void op_lookup_begin(struct node *node, const struct request *request,
                     const struct origin *origin);
void op_ring_begin(struct node *node, const struct request *request,
                   const struct origin *origin);
void op_peers_begin(struct node *node, const struct request *request,
                    const struct origin *origin);
void op_status_begin(struct node *node, const struct request *request,
                     const struct origin *origin);
void op_arc_info_read(struct node *node, struct replica *r,
                      const struct request *request,
                      const struct origin *origin);

/* op_keyspace.c */
void op_keyspace_begin(struct node *node, const struct request *request,
                       const struct origin *origin);
void op_keyspace_list(struct node *node, const struct request *request,
                      const struct origin *origin);
/* OP_KEYSPACE_SET, OP_KEYSPACE_SHOW */
void op_keyspace_options(struct node *node, const struct request *request,
                         const struct origin *origin);

/* op_peer.c */
/* The peer that listens there; NULL: none known. */
const struct peer *op_peer_at(const struct node *node, struct span addr);
/* "0.1" to "100", with at most three digits behind the point. */
bool op_peer_read_weight(struct span text, uint32_t *milli);
void op_peer_set_begin(struct node *node, const struct request *request,
                       const struct origin *origin);
/* At the owner of the system arc. */
void op_peer_set_serve(struct node *node, const struct request *request,
                       const struct origin *origin);
void op_leave_serve(struct node *node, const struct request *request,
                    const struct origin *origin);
void op_leave_begin(struct node *node, const struct request *request,
                    const struct origin *origin);

#endif
