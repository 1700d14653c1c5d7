/* SPDX-License-Identifier: Apache-2.0 */

/* node/transfer.h - bringing an arc's state to a member that has none, or
 * whose place in the log is compacted.
 *
 * The sender reads a frozen view slice by slice and keeps a window of chunks
 * until they are acknowledged; the receiver builds the state beside what it
 * has, makes it durable as a checkpoint, and only then takes it over. */

#ifndef NODE_TRANSFER_H
#define NODE_TRANSFER_H

#include "node/node_state.h"

/* Header of a state: of a snapshot on its way, and of a checkpoint. Unpacking
 * gives an arc whose bounds are the caller's to free by arc_free.
 *   DLHT_ECORRUPT, DLHT_ENOMEM */
struct arc_state {
    struct arc *arc;
    replica_id self; /* checkpoints only */
    uint64_t index;
    uint64_t term;
    struct raft_members members;
    uint64_t counter;
    uint64_t time_ms;
    struct sessions sessions;
    struct merge_state merge;
};
void arc_state_pack(const struct replica *r, struct buf *out);
MUST_USE int arc_state_unpack(struct span bytes, struct arc_state *out);
void arc_state_deinit(struct arc_state *state);

/* The next block of a view: records until about bytes_max; false at the end
 * (out is empty then). One record always fits. If out has failed, what was
 * read of the view is lost: it must be given up. */
bool arc_block_pack(struct records_snapshot *view, size_t bytes_max,
                    struct buf *out);
MUST_USE int arc_block_unpack(struct span bytes, struct records *into);

/* Members that raft says need a snapshot. */
void transfer_begin_all(struct node *node, struct replica *r,
                        const struct raft_output *out);
void transfer_tick(struct node *node, struct replica *r);
void transfer_receive_chunk(struct node *node, const struct id *from,
                            const struct snapshot_chunk *chunk);
void transfer_receive_ack(struct node *node, const struct id *from,
                          const struct snapshot_ack *ack);

/* Whether a received snapshot is what checkpoint number holds. */
bool transfer_awaits(const struct replica *r, uint64_t number);

/* A received snapshot is durable (or need not be): take it over. */
void transfer_install(struct node *node, struct replica *r, int status);

/* Whether the node's rate allows another chunk now to a receiver who was last
 * sent one then: who sends it takes it off node->send_budget. */
bool transfer_may_send(struct node *node, uint64_t sent_ns);

void transfer_drop_outgoing(struct replica *r);
void transfer_drop_all(struct replica *r);
/* Gives an incoming snapshot up, and the checkpoint that was written along. */
void transfer_drop_incoming(struct node *node, struct replica *r);
/* Ends every frozen view of the records: they are about to be split. */
void transfer_drop_views(struct node *node, struct replica *r);

/* Tells peers that next leaves out that their replica is gone. */
void transfer_say_gone(struct node *node, const struct replica *r,
                       const struct arc_member *next, size_t count);

/* checkpoint_run.c: one arc at a time, slice by slice. */
MUST_USE int checkpoint_run_new(struct node *node);
void checkpoint_run_tick(struct node *node);
void checkpoint_run_done(struct node *node, arc_id arc, uint64_t number,
                         int status);
void checkpoint_run_forget(struct node *node, struct replica *r);
void checkpoint_run_free(struct node *node);

#endif
