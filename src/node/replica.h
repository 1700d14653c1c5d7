/* SPDX-License-Identifier: Apache-2.0 */

/* node/replica.h - one arc kept by this node: its log, its records, its
 * descriptor.
 *
 * Changes are proposed by the leader's replica as commands, and every replica
 * applies them alike: bounds are checked where a command is applied, so a
 * write that raced with a split fails definitely (DLHT_ENOTOWNER) and is
 * retried at the right child. Answers: DLHT_ENOTOWNER means "certainly not
 * done"; DLHT_EUNAVAILABLE after a proposal means "ask again with the same
 * number". */

#ifndef NODE_REPLICA_H
#define NODE_REPLICA_H

#include "node/command.h"
#include "node/node_state.h"

/* A group begins from a descriptor that names this node: journals the founding
 * and adds the replica. An arc or replica id already known or buried here is
 * left alone.
 *   DLHT_ENOMEM */
MUST_USE int replica_found(struct node *node, const struct arc *arc);

/* A copy that knows nothing and learns from its leader; with a parent, one that
 * is cut from it there and here not yet. *out NULL if the id is buried here.
 *   DLHT_ENOMEM */
MUST_USE int replica_create(struct node *node, arc_id arc, keyspace_id keyspace,
                            replica_id self, arc_id parent,
                            struct replica **out);

/* A right child of r that no majority is known to have yet. Until one has, what
 * the copies of r hold of it must stay: none is given a snapshot from behind the
 * split, and members and bounds do not change. */
bool replica_has_open_child(const struct node *node, const struct replica *r);

/* Split children that live in the log of r only: what replaces that log must
 * wait until they have a checkpoint. */
bool replica_has_unbased_child(const struct node *node,
                               const struct replica *r);

/* Journals all ids of an arc that are buried here: of such records only the
 * newest is kept. */
void replica_journal_burials(struct node *node, arc_id arc);

/* Drops the replica and buries its id. */
void replica_remove(struct node *node, struct replica *r);

/* What a new replica is made of. */
struct replica_parts {
    arc_id arc_id;
    keyspace_id keyspace;
    replica_id self;
    const struct arc *arc;   /* NULL: empty; copied */
    struct records *records; /* NULL: none yet; taken over on DLHT_OK */
    struct raft_start start;
};

/* Makes a replica and puts it into the table; journals nothing.
 *   DLHT_ENOMEM */
MUST_USE int replica_new_with(struct node *node,
                              const struct replica_parts *parts,
                              struct replica **out);

/* Only the raft of such a replica. */
MUST_USE int replica_new_raft(struct node *node,
                              const struct replica_parts *parts,
                              struct raft **out);

/* The parts of a replica that founds its group: empty log after index 1. */
struct replica_parts replica_founding(const struct node *node,
                                      const struct arc *arc, replica_id self);

/* Frees it, only that. */
void replica_free(struct replica *r);

/* To be looked at in the next flush. */
void replica_touch(struct node *node, struct replica *r);

/* A raft message from a peer. */
void replica_receive(struct node *node, const struct id *from,
                     const struct raft_envelope *envelope);

void replica_tick(struct node *node, struct replica *r);

/* Whether its group is known to go on without it, or never to have been: such a
 * copy is removed. One that a majority may need is never left. */
bool replica_is_left(const struct node *node, const struct replica *r);

/* Lets go what the log in memory need not hold. Neither in a flush after
 * raft_take nor where effects of the step point into the log. */
void replica_compact(struct replica *r);

/* Takes what raft wants done, sends, journals, applies, answers. */
void replica_flush(struct node *node, struct replica *r);

/* Applies what is committed. */
/* All keys that the command names are in the arc as applied: what else would be
 * refused by the log. */
bool replica_holds(const struct replica *r, const struct command *command);

void replica_apply(struct node *node, struct replica *r);

bool replica_leads(const struct replica *r);

/* Of the arc's own records: what is staged beyond its end does not count. */
uint64_t replica_key_count(const struct replica *r);
uint64_t replica_data_bytes(const struct replica *r);
/* All that it takes. */
uint64_t replica_memory_bytes(const struct replica *r);
/* Whether a record of r->records with this key, not below the arc's lo, is its
 * own. */
bool replica_is_own(const struct replica *r, struct span key);

/* Takes office, or leaves it, as its raft has. */
void replica_follow_role(struct node *node, struct replica *r);

/* Proposes a command; on DLHT_OK the waiter will be answered, else it is the
 * caller's to answer. The command's time is filled in, and the waiter's index.
 *   DLHT_ENOTOWNER, DLHT_EBUSY, DLHT_ENOMEM
 *   DLHT_EFULL  the disk is full */
MUST_USE int replica_propose(struct node *node, struct replica *r,
                             struct command *command,
                             const struct waiter *waiter);

/* Notes a write of a volatile arc, which had so many keys before. */
void replica_wrote(struct replica *r, uint64_t now_ms, uint64_t count_before);

/* Does a write of a volatile arc, which has no log, at once.
 *   DLHT_ENOMEM  it is not done */
MUST_USE int replica_write_now(struct replica *r, const struct command *command,
                               struct session_result *result);

/* DLHT_OK if the leader's state is that of its whole log, as far as a change
 * of bounds or members must know.
 *   DLHT_ENOTOWNER, DLHT_EBUSY, DLHT_EFULL */
int replica_may_change(const struct node *node, const struct replica *r);

/* Begins one membership step, or says why not.
 *   DLHT_ENOTOWNER, DLHT_EBUSY, DLHT_EFULL, DLHT_EINVAL, DLHT_ENOMEM */
MUST_USE int replica_change(struct node *node, struct replica *r,
                            const struct arc_member *members, size_t count);

/* Cuts at each of keys (MessagePack bins one after the other, ascending), one
 * after the other, as long as this node leads.
 *   DLHT_EPROTO  not such keys
 *   DLHT_ENOMEM */
MUST_USE int replica_cut(struct node *node, struct replica *r,
                         struct span keys);
/* The next of them, at the last key: the right child is done with, and the left
 * one goes on here. */
void replica_cut_next(struct node *node, struct replica *r);

/* Begins a split at key, lo < key < hi. Codes as above. */
MUST_USE int replica_split(struct node *node, struct replica *r,
                           struct span key);

/* Whether a linearizable read may be answered at once, by lease. r leads. */
bool replica_reads_now(struct node *node, struct replica *r);

/* Asks for a linearizable read; answered by op_read once it may be. */
void replica_read(struct node *node, struct replica *r,
                  const struct request *request, const struct origin *origin);

/* The descriptor as the group has it, with owner and term by our best
 * knowledge, told to map and gossip if it changed. */
void replica_notice(struct node *node, struct replica *r);

/* The data of a MEMBERS entry. Unpacking says false if it makes no sense. */
void replica_pack_members(struct buf *out, const struct arc_member *members,
                          size_t count);
bool replica_unpack_members(struct span data,
                            struct arc_member members[ARC_MEMBERS_MAX],
                            size_t *count);

/* Remembers which peers a MEMBERS entry names. */
void replica_learn_members(struct replica *r, struct span data);

/* The peer that a replica id lives on; false if not known. */
bool replica_peer_of(const struct replica *r, replica_id id, struct id *peer);

#endif
