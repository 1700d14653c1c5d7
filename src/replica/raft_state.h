/* SPDX-License-Identifier: Apache-2.0 */

/* replica/raft_state.h - what a raft holds, for the files of raft only.
 *
 * raft.c           life, questions, raft_take and the order inside it
 * raft_election.c  terms, votes, candidacies, timers, transfer
 * raft_append.c    the leader's side of replication, commit, sleep
 * raft_follow.c    the follower's side: entries, heartbeats, snapshots
 * raft_members.c   membership
 * raft_read.c      ReadIndex rounds and the lease
 * raft_check.c     invariants and the hash
 *
 * Calls only note what is to be sent (flags, due stamps, `queue`); messages
 * are made in raft_take, so that many calls give few messages. */

#ifndef REPLICA_RAFT_STATE_H
#define REPLICA_RAFT_STATE_H

#include "base/mutant.h"
#include "base/rng.h"
#include "replica/raft.h"
#include "replica/raft_log.h"

enum {
    RAFT_RECORDS_MAX = 64, /* outputs told apart while not yet durable; more
                            * are taken together */
    RAFT_QUEUE_MAX = 1024, /* messages between two takes; more are lost, as a
                            * network would */
    RAFT_READS_MAX = 1 << 16
};

/* Terms and indices of strangers above it make no sense; so nothing overflows
 * here. */
#define RAFT_NUMBER_MAX (UINT64_MAX >> 2)

enum raft_peer_state {
    RAFT_PROBE,     /* where its log agrees is not known: one message at a
                     * time */
    RAFT_REPLICATE, /* messages follow each other without waiting */
    RAFT_SNAPSHOT   /* needs what is compacted */
};

/* A member, ourselves included, in the order of the members' list. */
struct raft_peer {
    replica_id id;
    bool voter;

    /* Of our candidacy. */
    bool granted;
    bool refused;

    /* Of our leadership. */
    enum raft_peer_state state;
    uint64_t match;       /* durable there and the same as here */
    uint64_t next;        /* first not yet sent */
    uint64_t stamp;       /* newest echoed */
    bool answered;        /* answered_ns holds a time */
    uint64_t answered_ns; /* last sign of life, or when we began to wait */
    bool probing;         /* PROBE: the one message is out */
    uint64_t sent_stamp;  /* of the last APPEND */
    uint64_t retry_ns;    /* what was sent may be lost if a heartbeat so much
                           * younger is answered first */
    bool snapshot_named;  /* until raft_snapshot_done */

    /* caught_ns is a time whose commit index it is known to have reached; the
     * next one to test is (goal_ns, goal_index). */
    bool caught;
    uint64_t caught_ns;
    uint64_t goal_ns;
    uint64_t goal_index;
};

/* An output the caller was given and has not yet called durable. */
struct raft_record {
    uint64_t number;
    uint64_t last; /* entries up to here; lowered by a truncation */
    uint64_t term;
    replica_id vote;
};

struct raft_queue {
    struct raft_message *list; /* owned */
    size_t count;
    size_t cap;
};

enum raft_read_state {
    RAFT_READ_ASKED, /* no round covers it */
    RAFT_READ_ROUND, /* a majority must echo its stamp */
    RAFT_READ_DONE,
    RAFT_READ_LOST
};

struct raft_pending_read {
    uint64_t ticket;
    uint64_t stamp;
    enum raft_read_state state;
};

struct raft {
    struct raft_config config;
    struct rng rng;
    uint64_t now_ns; /* the latest heard of */

    enum raft_role role;
    uint64_t term;
    replica_id vote;
    replica_id leader;
    uint64_t commit;
    struct raft_log log;

    struct raft_members base_members; /* as of the log's base */
    struct raft_members members;
    uint64_t members_index; /* of the entry they stand in; the base's: none */
    struct raft_peer peers[RAFT_MEMBERS_MAX];
    size_t peer_count;

    /* Durability. */
    uint64_t number;    /* of the last output that named something */
    uint64_t handed;    /* entries up to here were named */
    uint64_t persisted; /* entries up to here are durable */
    bool vote_dirty;
    uint64_t durable_term;
    replica_id durable_vote;
    struct raft_record records[RAFT_RECORDS_MAX];
    size_t record_count;

    /* Elections. */
    bool founding;        /* nothing happened yet in this group */
    uint64_t hold_ns;     /* a starting member gives no vote before */
    bool heard;           /* heard_ns holds a time */
    uint64_t heard_ns;    /* when a live leader was last heard */
    uint64_t election_ns; /* when to stand */
    uint64_t ask_ns;      /* when to ask the silent for their votes again */
    bool standing_told;   /* a candidate on the leader's wish */
    bool standing_sent;   /* a candidate whose own vote counts */
    bool vote_held;       /* a granted vote waits for the disk */
    replica_id transfer_to;
    uint64_t transfer_ns; /* when it is given up */
    bool transfer_told;   /* the member was told to stand in this term: no
                           * lease any more, whenever that message arrives */
    uint64_t transfer_told_ns;

    /* A follower. */
    uint64_t matched;     /* same as the leader's log up to here */
    uint64_t heard_stamp; /* newest of this term's leader */
    uint64_t quiet_stamp; /* of the heartbeat that sent us to sleep */
    uint64_t woken_ns;    /* when raft_wake last ended that */
    bool heartbeat_reply_due;
    bool append_reply_due;
    uint64_t acked; /* match last told to this term's leader */
    bool refusal_due;
    struct raft_message refusal;
    bool quiet; /* also of a leader */

    /* A leader. */
    uint64_t last_stamp; /* newest made, never falls */
    uint64_t heartbeat_ns;
    bool heartbeat_due;
    uint64_t lease_floor; /* stamps up to here give no lease */
    uint64_t sleep_stamp; /* the round that said quiet; 0: not yet sent */
    uint64_t sleep_ns;

    struct raft_pending_read *reads; /* owned */
    size_t read_count;
    size_t read_cap;
    uint64_t ticket; /* last given */

    struct raft_queue queue; /* to go with the next take */
    struct raft_queue out;   /* what the last take gave */
};

/* raft.c */

/* A message to send, filled with from and term, or NULL if there is no room:
 * then it counts as lost. Entries are zero. */
struct raft_message *raft_queue_add(struct raft *raft, uint8_t type,
                                    replica_id to);

/* A stamp above all before, at least now. */
uint64_t raft_stamp_next(struct raft *raft);

/* After anything became durable or any answer came: counts the own vote,
 * releases a held one, moves commit. */
void raft_settle(struct raft *raft);

/* Removes entries >= from in what is remembered of the disk and the members;
 * the log itself is the caller's affair. */
void raft_forget_tail(struct raft *raft, uint64_t from);

static inline uint64_t raft_end(const struct raft *raft)
{
    return raft_log_last(&raft->log);
}

/* raft_election.c */
void raft_election_arm(struct raft *raft);
void raft_election_arm_woken(struct raft *raft);
void raft_election_tick(struct raft *raft);
void raft_election_settle(struct raft *raft);
bool raft_election_hears_leader(const struct raft *raft);
/* A candidate that may not ask before its own vote is durable. */
bool raft_election_awaits_disk(const struct raft *raft);
/* Waits for votes. */
bool raft_election_asks(const struct raft *raft);
void raft_election_raise(struct raft *raft, uint64_t term);
void raft_election_follow(struct raft *raft, uint64_t term, replica_id leader);
/* Gives up leadership or candidacy within the term. */
void raft_election_step_down(struct raft *raft);
int raft_election_receive(struct raft *raft, const struct raft_message *m);
void raft_election_tell(struct raft *raft, replica_id to);

/* raft_append.c */
/* Takes over as leader; false: no memory for its first entry, still none. */
bool raft_append_lead(struct raft *raft);
void raft_append_tick(struct raft *raft);
void raft_append_commit(struct raft *raft);
int raft_append_reply(struct raft *raft, const struct raft_message *m);
int raft_append_heartbeat_reply(struct raft *raft,
                                const struct raft_message *m);
void raft_append_send(struct raft *raft, struct raft_output *out);
bool raft_append_is_active(const struct raft *raft,
                           const struct raft_peer *peer);
void raft_append_wake(struct raft *raft);
void raft_append_peer_begin(struct raft *raft, struct raft_peer *peer);

/* raft_follow.c */
int raft_follow_append(struct raft *raft, const struct raft_message *m);
int raft_follow_heartbeat(struct raft *raft, const struct raft_message *m);
void raft_follow_send(struct raft *raft);

/* raft_members.c */
bool raft_members_are_sound(const struct raft_members *members);
bool raft_members_equal(const struct raft_members *a,
                        const struct raft_members *b);
const struct raft_member *raft_members_find(const struct raft_members *members,
                                            replica_id id);
/* The entry at index puts its members in force. */
void raft_members_enter(struct raft *raft, const struct raft_members *members,
                        uint64_t index);
/* Finds the members of the log as it is now. */
void raft_members_rescan(struct raft *raft);
struct raft_peer *raft_members_peer(struct raft *raft, replica_id id);
bool raft_members_is_voter(const struct raft *raft);
/* A voter, or one whose end as a voter is not committed: only it may hold the
 * entry that says so, and then nobody else can win (thesis 4.2.2). */
bool raft_members_may_stand(const struct raft *raft);
bool raft_members_is_sole_voter(const struct raft *raft);
/* The sole voter, and not just made so by a leader that may still lead. */
bool raft_members_needs_nobody(const struct raft *raft);
/* values[i] belongs to peers[i]: the greatest number that a majority of voters
 * reaches. */
uint64_t raft_members_quorum(const struct raft *raft,
                             const uint64_t values[RAFT_MEMBERS_MAX]);

/* raft_read.c */
void raft_read_confirm(struct raft *raft);
void raft_read_lose(struct raft *raft);
/* Some read waits for a round that is not begun. */
bool raft_read_wants_round(const struct raft *raft);
void raft_read_begin_round(struct raft *raft, uint64_t stamp);
void raft_read_output(struct raft *raft, struct raft_output *out);
bool raft_read_has_lease(const struct raft *raft);

#endif
