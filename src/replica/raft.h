/* SPDX-License-Identifier: Apache-2.0 */

/* replica/raft.h - agreement of one arc's replicas on a log, as a step
 * function.
 *
 * Ongaro's thesis (2014): election with pre-vote (9.6) and check-quorum,
 * replication with flow control, learners (4.2.1), one membership change at a
 * time (4.1) and only after an entry of the current term is committed, leader
 * transfer (3.10), ReadIndex (6.4) and lease reads. Time is an argument;
 * nothing here sends, stores or waits. Calls queue what the world must do;
 * raft_take hands it over. Several calls may come before one take: entries
 * proposed in one turn travel in one message.
 *
 * Durability: entries and votes named in an output are durable once the caller
 * says raft_persisted with the output's number. What depends on them (a vote
 * reply, an append reply, the leader's own share of a majority) is held back
 * inside until then; the caller orders nothing.
 *
 * The caller applies entries up to raft_commit in order, may compact what it
 * has applied, and sends snapshots itself when an output names a member whose
 * entries are compacted. Not for two threads at once. */

#ifndef REPLICA_RAFT_H
#define REPLICA_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/must_use.h"
#include "base/span.h"

struct raft;

enum {
    RAFT_MEMBERS_MAX = 12, /* 5 voters and learners on their way in */
    RAFT_ENTRY_MAX = 17 << 20,
    RAFT_APPEND_ENTRIES_MAX = 4096 /* in one message */
};

enum raft_role {
    RAFT_FOLLOWER,
    RAFT_PRECANDIDATE,
    RAFT_CANDIDATE,
    RAFT_LEADER
};

struct raft_member {
    replica_id id;
    bool voter;
};

struct raft_members {
    struct raft_member list[RAFT_MEMBERS_MAX];
    size_t count;
};

enum raft_entry_type {
    RAFT_ENTRY_NOOP = 1, /* first of a term */
    RAFT_ENTRY_DATA = 2,
    RAFT_ENTRY_MEMBERS = 3 /* in force as soon as it is in the log */
};

struct raft_entry {
    uint64_t term;
    uint64_t index;
    uint8_t type;
    struct span data;                   /* DATA, MEMBERS: the caller's bytes */
    const struct raft_members *members; /* MEMBERS; else NULL */
};

struct raft_config {
    replica_id id;
    uint64_t election_ns;  /* shortest election timeout; drawn from
                            * [election_ns, 2 * election_ns) each time */
    uint64_t heartbeat_ns; /* well below election_ns */
    bool lease_reads;      /* false: every read asks a majority (STRICT) */
    bool await_learners;   /* commit also waits for learners that are caught up
                            * and answered within election_ns */
    bool memory;           /* nothing outlives the process: entries and votes
                             * count as durable at once, outputs name nothing
                             * to persist */
    uint64_t seed;
    size_t append_bytes_max;   /* of entries in one message, 0: 256 KiB; one
                                * entry always fits */
    size_t inflight_bytes_max; /* unacknowledged to one member, 0: 8 MiB */
    size_t pending_bytes_max;  /* proposed and not committed, 0: 64 MiB; then
                                * raft_propose says DLHT_EBUSY */
};

/* Where a replica starts: from nothing (a founding: snapshot_index 1, term 1,
 * the founding members) or from what its checkpoint and journal hold. */
struct raft_start {
    uint64_t snapshot_index; /* all up to here is applied and compacted */
    uint64_t snapshot_term;
    struct raft_members members; /* as of snapshot_index */
    uint64_t term;               /* last persisted */
    replica_id vote;             /* in term; 0: none */
    uint64_t now_ns;
    bool fresh; /* the id came to be just now: it has heard no leader whose
                 * lease its vote might break */
};

enum raft_message_type {
    RAFT_PREVOTE_REQUEST = 1,
    RAFT_PREVOTE_REPLY,
    RAFT_VOTE_REQUEST,
    RAFT_VOTE_REPLY,
    RAFT_APPEND, /* entries may be none: a probe */
    RAFT_APPEND_REPLY,
    RAFT_HEARTBEAT, /* small; many groups' travel in one frame */
    RAFT_HEARTBEAT_REPLY,
    RAFT_TIMEOUT_NOW /* leader transfer */
};

struct raft_message {
    uint8_t type;
    replica_id from;
    replica_id to;
    uint64_t term;
    uint64_t index;    /* APPEND: previous; VOTE: last; APPEND_REPLY: match or,
                      * if refused, the index that was refused */
    uint64_t log_term; /* APPEND: term of previous; VOTE: of last; REPLY
                        * refused: term of the hint */
    uint64_t commit; /* APPEND, HEARTBEAT (never above the receiver's match) */
    uint64_t hint;   /* APPEND_REPLY refused: where to try again;
                      * HEARTBEAT_REPLY: what has arrived, durable or not */
    uint64_t stamp;  /* APPEND, HEARTBEAT: sender's now_ns; echoed in replies,
                      * the base of leases and of ReadIndex rounds */
    bool refused;    /* replies */
    bool quiet;      /* HEARTBEAT: the group goes to sleep; see raft_wake */
    bool transfer;   /* VOTE_REQUEST: sent on the leader's wish, so a voter
                      * that hears the leader still answers */
    const struct raft_entry *entries; /* APPEND: index + 1 and on; borrowed */
    size_t entry_count;
};

enum {
    RAFT_OUTPUT_READS_MAX = 64,
    RAFT_OUTPUT_SNAPSHOTS_MAX = RAFT_MEMBERS_MAX
};

/* What the world must do. Pointers are valid until the next call on the raft
 * that is not a question. Order: persist; then send (messages that must wait
 * for the disk are not in here yet, all others may go at once). */
struct raft_output {
    uint64_t number;   /* for raft_persisted; 0: nothing to persist */
    bool vote_changed; /* persist term and vote */
    uint64_t term;
    replica_id vote;
    const struct raft_entry *entries; /* persist these; an index at or below
                                       * one persisted before replaces that
                                       * and all after it */
    size_t entry_count;
    const struct raft_message *messages;
    size_t message_count;
    /* Reads (see raft_read) that may be served once applied reaches index. */
    struct {
        uint64_t ticket;
        bool lost; /* leadership was lost: answer NOT_OWNER */
    } reads[RAFT_OUTPUT_READS_MAX];
    size_t read_count; /* more may follow in the next take */
    /* Members that need a snapshot now; each is named once until
     * raft_snapshot_done. */
    replica_id snapshots[RAFT_OUTPUT_SNAPSHOTS_MAX];
    size_t snapshot_count;
};

/*   DLHT_ENOMEM, DLHT_EINVAL (members do not hold together) */
MUST_USE int raft_new(const struct raft_config *config,
                      const struct raft_start *start, struct raft **out);

/* NULL is allowed. */
void raft_free(struct raft *raft);

/* Recovery, before any other call: the next entry of the persisted log
 * (copied). An index already held replaces it and all after it.
 *   DLHT_ECORRUPT  a gap, or a term below that of the entry before */
MUST_USE int raft_restore_entry(struct raft *raft,
                                const struct raft_entry *entry);

/* Recovery: what is known to be committed (never beyond the log's end). */
void raft_restore_commit(struct raft *raft, uint64_t index);

/* Recovery: a later term and vote. */
void raft_restore_vote(struct raft *raft, uint64_t term, replica_id vote);

/* Recovery is done and time begins: no vote for one election timeout. */
void raft_start(struct raft *raft, uint64_t now_ns);

/* Stands for election at once, without waiting (the right child of a split, a
 * founder alone). */
void raft_campaign(struct raft *raft, uint64_t now_ns);

/* The leader may be gone: its link broke. A follower stands as soon as it
 * lawfully may, one election_ns after it last heard the leader, and not at a
 * time drawn at random; the voters take turns, so that they do not split the
 * vote. Hearing the leader again makes all as before. */
void raft_suspect(struct raft *raft, uint64_t now_ns);

/* The next take tells all members how far the log is committed, without
 * waiting for the next heartbeat. Nothing if not the leader. */
void raft_announce(struct raft *raft);

/* Heartbeats, elections, check-quorum, retries. Call at raft_timeout_ns or
 * later; early is harmless. */
void raft_tick(struct raft *raft, uint64_t now_ns);

/* When raft_tick is due; UINT64_MAX: never (a quiet follower). */
uint64_t raft_timeout_ns(const struct raft *raft);

/* A message from a member, or one who says so: everything in it is checked and
 * nothing asserted. Entries are copied.
 *   DLHT_ENOMEM  as if it had been lost
 *   DLHT_EPROTO  makes no sense; dropped */
MUST_USE int raft_receive(struct raft *raft, uint64_t now_ns,
                          const struct raft_message *message);

/* Everything up to and including output number is durable. */
void raft_persisted(struct raft *raft, uint64_t now_ns, uint64_t number);

/* Appends an entry as the leader; data is copied.
 *   DLHT_ENOTOWNER  not the leader, or handing leadership over
 *   DLHT_EBUSY      too much is waiting
 *   DLHT_ENOMEM */
MUST_USE int raft_propose(struct raft *raft, uint64_t now_ns, struct span data,
                          uint64_t *index);

/* Proposes the next membership: exactly one member added, removed, promoted or
 * demoted against the present one. data rides in the entry.
 *   DLHT_ENOTOWNER
 *   DLHT_EBUSY    a change is under way, or none of this term is committed
 *   DLHT_EINVAL   more than one step, or no voter would be left */
MUST_USE int raft_change(struct raft *raft, uint64_t now_ns,
                         const struct raft_members *next, struct span data,
                         uint64_t *index);

/* Hands leadership to a voter: drops the lease, takes no proposals, brings it
 * up to date, tells it to stand now. Given up after election_ns; but once the
 * successor was told, this term has no lease any more.
 *   DLHT_ENOTOWNER, DLHT_EINVAL (not a voter, or itself) */
MUST_USE int raft_transfer(struct raft *raft, uint64_t now_ns, replica_id to);

/* A linearizable read. *index is what must be applied before it is answered.
 * *ticket 0: the lease holds, serve as soon as that is applied; else the
 * ticket comes back in an output.
 *   DLHT_ENOTOWNER  not the leader
 *   DLHT_EBUSY      no entry of this term is committed yet: ask again */
MUST_USE int raft_read(struct raft *raft, uint64_t now_ns, bool strict,
                       uint64_t *index, uint64_t *ticket);

/* Whether raft_read would answer at once, without leaving a ticket. */
bool raft_lease_holds(struct raft *raft, uint64_t now_ns);

/* A snapshot that was sent to a member has arrived (its index), or failed
 * (0): entries follow, or another snapshot is asked for later. */
void raft_snapshot_done(struct raft *raft, uint64_t now_ns, replica_id member,
                        uint64_t index);

/* This replica's state is now that of a received, durable snapshot: the log is
 * replaced unless it already agrees with it there.
 *   DLHT_ESTALE  commit is at or past index; nothing changed
 *   DLHT_ENOMEM */
MUST_USE int raft_install(struct raft *raft, uint64_t now_ns, uint64_t index,
                          uint64_t term, const struct raft_members *members);

/* Forgets entries with index <= given; the caller has applied them and can
 * make a snapshot. Keeps what is not committed. */
void raft_compact(struct raft *raft, uint64_t index);

/* The quiet group is needed, or its leader is suspected: a leader resumes
 * heartbeats. A follower asks the leader to, and stands after half a shortest
 * election timeout without a word, or a quarter later for each voter before it;
 * so waking up in vain costs a few messages. */
void raft_wake(struct raft *raft, uint64_t now_ns);

/* Lets a leader with nothing to do put the group to sleep: no heartbeats and no
 * lease until raft_wake, a proposal or a read. Every member must have all there
 * is and have answered since the last sleep; so a group that misses a member
 * stays awake. False: not now. */
bool raft_sleep(struct raft *raft, uint64_t now_ns);

/* What is to be done; clears it. */
void raft_take(struct raft *raft, uint64_t now_ns, struct raft_output *out);

/* Questions. */
enum raft_role raft_role(const struct raft *raft);
uint64_t raft_term(const struct raft *raft);
replica_id raft_leader(const struct raft *raft); /* 0: not known */
uint64_t raft_commit(const struct raft *raft);
uint64_t raft_first_index(const struct raft *raft); /* oldest entry held */
uint64_t raft_last_index(const struct raft *raft);
/* Up to there every member has all durably, as this leader knows; 0: it leads
 * not. */
uint64_t raft_all_have(const struct raft *raft);
size_t raft_log_bytes(const struct raft *raft);
bool raft_is_quiet(const struct raft *raft);
/* Members by the newest MEMBERS entry in the log, committed or not. */
const struct raft_members *raft_members(const struct raft *raft);
bool raft_is_changing(const struct raft *raft); /* that one is uncommitted */
/* The entry, or NULL if it is compacted or beyond the end. */
const struct raft_entry *raft_entry_at(const struct raft *raft, uint64_t index);
/* Of an index that is held, or the snapshot's; 0: not known. */
uint64_t raft_term_at(const struct raft *raft, uint64_t index);

/* As the leader sees a member; false if it is none, or this is no leader. */
struct raft_progress {
    uint64_t match;
    bool active;    /* answered within election_ns, or before a sleep */
    bool caught_up; /* replicating, and match was at commit within
                     * election_ns, or before a sleep */
    uint64_t stamp; /* of the newest word of ours that it answered: sent then */
    bool snapshot;  /* waits for a snapshot */
    bool empty;     /* said that its log is: a copy that has nothing yet */
};
bool raft_progress_of(const struct raft *raft, uint64_t now_ns, replica_id id,
                      struct raft_progress *out);

/* Everything that decides future behaviour, folded to a number. */
uint64_t raft_hash(const struct raft *raft);

/* Asserts the invariants of one replica. */
void raft_check(const struct raft *raft);

#endif
