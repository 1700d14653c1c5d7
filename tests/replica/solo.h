/* SPDX-License-Identifier: Apache-2.0 */

/* replica/solo.h - one raft alone: the test plays its disk and the other
 * members, message by message. Rafts are made at T0 in term 1 with a snapshot
 * of index 1. Calls that take from a raft or say something to it check its
 * invariants, too. */

#ifndef REPLICA_SOLO_H
#define REPLICA_SOLO_H

#include "replica/raft.h"

/* Tables of messages read better by position: type, from, to, term, index,
 * log_term. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define MS UINT64_C(1000000)
#define T0 (1000 * MS)

/* What the last solo_take, or solo_flush, gave. */
extern struct raft_output solo_out;

/* "123l": voters 1 and 2, learner 3. */
struct raft_members solo_members(const char *text);
struct raft_config solo_config(replica_id id);
struct raft *solo_make(const struct raft_config *config, const char *members);
struct raft *solo_founded(replica_id id, const char *members);

void solo_take(struct raft *raft, uint64_t now);
/* Takes and says at once that it is durable; solo_out is what then goes. */
void solo_flush(struct raft *raft, uint64_t now);
/* In solo_out; NULL: none. */
const struct raft_message *solo_sent(uint8_t type, replica_id to);

/* What raft_receive says to it. */
int solo_say(struct raft *raft, uint64_t now, struct raft_message m);
void solo_grant(struct raft *raft, uint64_t now, uint8_t type, replica_id from,
                replica_id to, uint64_t term);
/* The member has all and says so, echoing the newest stamp sent to it. */
void solo_ack(struct raft *raft, uint64_t now, replica_id from, replica_id to,
              uint64_t index, uint64_t stamp);

/* From 2 to 1. */
struct raft_message solo_append(uint64_t term, uint64_t prev,
                                uint64_t prev_term,
                                const struct raft_entry *entries, size_t n);
void solo_fill(struct raft_entry *entries, size_t n, uint64_t first,
               uint64_t term);

/* Makes a founder the leader of term 2 with the vote of `voter`, 0: alone. */
void solo_elect(struct raft *raft, replica_id id, replica_id voter);
/* A leader 1 of term 2 with 2 and 3 replicating, index 2 committed. */
struct raft *solo_leader(void);
struct raft *solo_leader_with(const struct raft_config *config,
                              const char *members);
/* A follower 1 of leader 2 in term 2 with durable entries 2..last, committed
 * up to commit, not hearing the leader any more by T0 + 500 ms. */
struct raft *solo_follower(uint64_t last, uint64_t commit);

#endif
