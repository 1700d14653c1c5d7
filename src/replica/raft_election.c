/* SPDX-License-Identifier: Apache-2.0 */

/* Terms, votes, candidacies, timers and transfer.
 *
 * What the lease rests on: whoever heard a live leader neither votes nor
 * stands for one shortest election timeout, a starting member likewise, since
 * it may have heard one before it stopped. Only the leader's own wish
 * overrides that, and it gives up its lease first. */

#include "replica/raft_state.h"

#include <assert.h>

#include "dlht/err.h"

enum {
    TURNS_A_TIMEOUT = 8, /* a turn is time to win and to be heard of */
    ASKS_A_BEAT = 8 /* votes are asked for so often in a heartbeat interval: a
                     * member that does not know its group yet (the right child
                     * of a split it has not applied) cannot answer */
};

void raft_election_arm(struct raft *raft)
{
    raft->election_ns = raft->now_ns + raft->config.election_ns +
                        rng_below(&raft->rng, raft->config.election_ns);
}

/* Before then our vote might break a lease. */
static uint64_t free_ns(const struct raft *raft)
{
    uint64_t heard_ns =
        raft->heard ? raft->heard_ns + raft->config.election_ns : 0;
    return heard_ns > raft->hold_ns ? heard_ns : raft->hold_ns;
}

/* Voters before us in the list that may stand for the lost leader. */
static uint64_t rank_of(const struct raft *raft)
{
    uint64_t rank = 0;
    for (size_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->id == raft->config.id)
            break;
        rank += peer->voter && peer->id != raft->leader;
    }
    return rank;
}

/* Of a follower that woke: its leader wakes up by it, too, and says so to all.
 * Asked again until it does, since a question may be lost. */
static void ask_leader(struct raft *raft)
{
    raft->ask_ns = raft->now_ns + raft->config.heartbeat_ns / 2 + 1;
    struct raft_message *m =
        raft_queue_add(raft, RAFT_PREVOTE_REQUEST, raft->leader);
    if (!m)
        return;
    m->term = raft->term + 1;
    m->index = raft_end(raft);
    m->log_term = raft_log_term(&raft->log, raft_end(raft));
}

static bool asks_leader(const struct raft *raft)
{
    return raft->role == RAFT_FOLLOWER && !raft->quiet && raft->woken_ns != 0 &&
           raft->heard_ns <= raft->woken_ns && raft->leader != 0 &&
           raft->leader != raft->config.id;
}

/* Nobody is late yet who did not speak on purpose: asks the leader; it is
 * missed after half the time. Those who were woken were so by the same thing at
 * the same time and have the same log, so one stands after the other, and votes
 * are not split. */
void raft_election_arm_woken(struct raft *raft)
{
    uint64_t part_ns = raft->config.election_ns / 4;
    uint64_t from_ns = raft->now_ns + 2 * part_ns;
    if (from_ns < free_ns(raft))
        from_ns = free_ns(raft);
    raft->election_ns = from_ns + rank_of(raft) * part_ns +
                        rng_below(&raft->rng, part_ns / 2 + 1);
    raft->woken_ns = raft->now_ns;
    if (asks_leader(raft))
        ask_leader(raft);
}

bool raft_election_hears_leader(const struct raft *raft)
{
    return raft->heard &&
           raft->now_ns - raft->heard_ns < raft->config.election_ns;
}

/* A lease may run somewhere that our vote could break. */
static bool must_hold_back(const struct raft *raft)
{
    if (DLHT_MUTANT == 6)
        return false;
    return raft_election_hears_leader(raft) || raft->now_ns < raft->hold_ns;
}

/* Drops all that belonged to the role or the term before. */
static void leave_role(struct raft *raft)
{
    if (raft->role == RAFT_LEADER)
        raft_read_lose(raft);
    if (raft->role == RAFT_LEADER || raft->quiet)
        raft_election_arm(raft); /* no timer ran */
    raft->role = RAFT_FOLLOWER;
    raft->transfer_to = 0;
    raft->standing_told = false;
    raft->standing_sent = false;
    raft->heartbeat_due = false;
    raft->quiet = false;
}

/* A later term: no vote, no leader, nothing matched but what is committed. */
void raft_election_raise(struct raft *raft, uint64_t term)
{
    assert(term > raft->term);
    leave_role(raft);
    raft->term = term;
    raft->vote = 0;
    raft->vote_dirty = true;
    raft->vote_held = false;
    raft->leader = 0;
    raft->transfer_told = false;
    raft->matched = raft->commit;
    raft->acked = 0;
    raft->heard_stamp = 0;
    raft->quiet_stamp = 0;
    raft->heartbeat_reply_due = false;
    raft->append_reply_due = false;
    raft->refusal_due = false;
}

void raft_election_follow(struct raft *raft, uint64_t term, replica_id leader)
{
    assert(term >= raft->term);
    if (term > raft->term)
        raft_election_raise(raft, term);
    else if (raft->role != RAFT_FOLLOWER)
        leave_role(raft);
    raft->leader = leader;
    raft->founding = false;
    raft->heard = true;
    raft->heard_ns = raft->now_ns;
    raft_election_arm(raft);
}

void raft_election_step_down(struct raft *raft)
{
    leave_role(raft);
    raft->leader = 0;
    raft_election_arm(raft);
}

static void clear_votes(struct raft *raft)
{
    for (size_t i = 0; i < raft->peer_count; i++) {
        raft->peers[i].granted = false;
        raft->peers[i].refused = false;
    }
}

/* True: a majority of the voters granted. */
static bool is_won(const struct raft *raft)
{
    size_t voters = 0, granted = 0;
    for (size_t i = 0; i < raft->peer_count; i++) {
        voters += raft->peers[i].voter;
        granted += raft->peers[i].voter && raft->peers[i].granted;
    }
    return granted > voters / 2;
}

/* Asks those who have not answered. */
static void ask_votes(struct raft *raft, uint8_t type, uint64_t term)
{
    uint64_t rest_ns = raft->config.heartbeat_ns / ASKS_A_BEAT + 1;
    raft->ask_ns = raft->now_ns + rest_ns;
    for (size_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (!peer->voter || peer->id == raft->config.id || peer->granted ||
            peer->refused)
            continue;
        struct raft_message *m = raft_queue_add(raft, type, raft->peers[i].id);
        if (!m)
            continue;
        m->term = term;
        m->index = raft_end(raft);
        m->log_term = raft_log_term(&raft->log, raft_end(raft));
        m->transfer = raft->standing_told;
    }
}

static void ask_again(struct raft *raft)
{
    if (raft->role == RAFT_FOLLOWER)
        ask_leader(raft);
    else if (raft->role == RAFT_PRECANDIDATE)
        ask_votes(raft, RAFT_PREVOTE_REQUEST, raft->term + 1);
    else
        ask_votes(raft, RAFT_VOTE_REQUEST, raft->term);
}

static void grant_self(struct raft *raft)
{
    struct raft_peer *self = raft_members_peer(raft, raft->config.id);
    if (self)
        self->granted = true;
}

/* The vote for ourselves must reach the disk, then raft_election_settle asks
 * the others: a candidate that lost its log in a crash may not meet answers to
 * what it asked before. */
static void stand(struct raft *raft, bool told)
{
    raft_election_raise(raft, raft->term + 1);
    raft->role = RAFT_CANDIDATE;
    raft->founding = false;
    raft->vote = raft->config.id;
    raft->standing_told = told;
    clear_votes(raft);
    raft_election_arm(raft);
}

static void stand_first(struct raft *raft)
{
    leave_role(raft);
    raft->role = RAFT_PRECANDIDATE;
    raft->leader = 0;
    clear_votes(raft);
    raft_election_arm(raft);
    grant_self(raft);
    if (is_won(raft))
        stand(raft, false);
    else
        ask_votes(raft, RAFT_PREVOTE_REQUEST, raft->term + 1);
}

/* Its own vote is durable. */
static void begin_candidacy(struct raft *raft)
{
    raft->standing_sent = true;
    grant_self(raft);
    ask_votes(raft, RAFT_VOTE_REQUEST, raft->term);
}

static void release_vote(struct raft *raft)
{
    raft->vote_held = false;
    (void)raft_queue_add(raft, RAFT_VOTE_REPLY, raft->vote);
}

void raft_election_settle(struct raft *raft)
{
    bool durable =
        raft->durable_term == raft->term && raft->durable_vote == raft->vote;
    if (DLHT_MUTANT == 1)
        durable = true;
    if (durable && raft->vote_held)
        release_vote(raft);
    if (raft->role != RAFT_CANDIDATE)
        return;
    if (durable && !raft->standing_sent)
        begin_candidacy(raft);
    if (is_won(raft) && !raft_append_lead(raft))
        raft_election_step_down(raft);
}

void raft_campaign(struct raft *raft, uint64_t now_ns)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    if (raft->role == RAFT_LEADER || !raft_members_may_stand(raft))
        return;
    if (raft->founding || (raft_members_needs_nobody(raft) &&
                           !raft_election_hears_leader(raft))) {
        stand(raft, false);
    } else if (must_hold_back(raft)) {
        if (free_ns(raft) < raft->election_ns)
            raft->election_ns = free_ns(raft);
    } else {
        stand_first(raft);
    }
    raft_settle(raft);
}

/* How many voters stand before this one, the leader left out. */
static uint64_t turn_to_stand(const struct raft *raft)
{
    uint64_t before = 0;
    for (size_t i = 0; i < raft->members.count; i++) {
        const struct raft_member *member = &raft->members.list[i];
        if (member->id == raft->config.id)
            break;
        before += member->voter && member->id != raft->leader;
    }
    return before;
}

void raft_suspect(struct raft *raft, uint64_t now_ns)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    if (raft->role != RAFT_FOLLOWER || raft->leader == 0 || raft->quiet ||
        !raft->heard || !raft_members_may_stand(raft))
        return;
    uint64_t stand_ns =
        raft->heard_ns + raft->config.election_ns +
        turn_to_stand(raft) * raft->config.election_ns / TURNS_A_TIMEOUT;
    if (stand_ns < raft->election_ns)
        raft->election_ns = stand_ns;
}

bool raft_election_awaits_disk(const struct raft *raft)
{
    return raft->role == RAFT_CANDIDATE && !raft->standing_sent;
}

static bool is_due(const struct raft *raft)
{
    if (raft->quiet || !raft_members_may_stand(raft))
        return false;
    if (raft->role == RAFT_FOLLOWER && raft_members_needs_nobody(raft))
        return !raft_election_hears_leader(raft);
    if (raft->now_ns < raft->election_ns || raft_election_awaits_disk(raft))
        return false;
    /* Its own vote is one that may break a lease. */
    return !must_hold_back(raft);
}

bool raft_election_asks(const struct raft *raft)
{
    return raft->role == RAFT_PRECANDIDATE || asks_leader(raft) ||
           (raft->role == RAFT_CANDIDATE && raft->standing_sent);
}

void raft_election_tick(struct raft *raft)
{
    if (is_due(raft))
        stand_first(raft);
    else if (raft_election_asks(raft) && raft->now_ns >= raft->ask_ns)
        ask_again(raft);
}

/* Its log is not behind ours (thesis 3.6.1). */
static bool is_up_to_date(const struct raft *raft, const struct raft_message *m)
{
    uint64_t term = raft_log_term(&raft->log, raft_end(raft));
    if (DLHT_MUTANT == 7)
        return true;
    return m->log_term > term ||
           (m->log_term == term && m->index >= raft_end(raft));
}

static void refuse(struct raft *raft, uint8_t type, replica_id to)
{
    struct raft_message *m = raft_queue_add(raft, type, to);
    if (m)
        m->refused = true;
}

static void receive_prevote_request(struct raft *raft,
                                    const struct raft_message *m)
{
    if (raft->quiet) {
        /* Somebody misses the leader: it is here, or we miss it too from now
         * on. Whom we do not know may have been removed: he gets no help
         * before a live leader had time to be heard again. */
        raft_wake(raft, raft->now_ns);
        if (!raft_members_find(&raft->members, m->from))
            return;
    }
    if (m->term <= raft->term) {
        refuse(raft, RAFT_PREVOTE_REPLY, m->from);
        return;
    }
    if (raft->role == RAFT_LEADER || must_hold_back(raft))
        return;
    struct raft_message *reply =
        raft_queue_add(raft, RAFT_PREVOTE_REPLY, m->from);
    if (!reply)
        return;
    reply->refused = !is_up_to_date(raft, m);
    if (!reply->refused)
        reply->term = m->term;
}

static void receive_vote_request(struct raft *raft,
                                 const struct raft_message *m)
{
    if (m->term < raft->term) {
        refuse(raft, RAFT_VOTE_REPLY, m->from);
        return;
    }
    bool leads = raft->role == RAFT_LEADER && !raft->quiet;
    if (!m->transfer && (leads || must_hold_back(raft)))
        return;
    if (m->term > raft->term)
        raft_election_raise(raft, m->term);
    if ((raft->vote != 0 && raft->vote != m->from) || !is_up_to_date(raft, m)) {
        refuse(raft, RAFT_VOTE_REPLY, m->from);
        return;
    }
    if (raft->vote == 0) {
        assert(raft->role == RAFT_FOLLOWER || raft->role == RAFT_PRECANDIDATE);
        leave_role(raft);
        raft->vote = m->from;
        raft->vote_dirty = true;
        raft->founding = false;
        raft_election_arm(raft);
    }
    raft->vote_held = true;
}

static void receive_prevote_reply(struct raft *raft, struct raft_peer *peer,
                                  const struct raft_message *m)
{
    if (m->refused && m->term > raft->term) {
        raft_election_raise(raft, m->term);
        raft_election_arm(raft);
        return;
    }
    if (raft->role != RAFT_PRECANDIDATE)
        return;
    if (m->refused)
        peer->refused = true;
    else if (m->term == raft->term + 1)
        peer->granted = true;
    if (is_won(raft) && !must_hold_back(raft))
        stand(raft, false);
}

static void receive_vote_reply(struct raft *raft, struct raft_peer *peer,
                               const struct raft_message *m)
{
    if (m->term > raft->term) {
        raft_election_raise(raft, m->term);
        raft_election_arm(raft);
        return;
    }
    if (raft->role != RAFT_CANDIDATE || m->term < raft->term ||
        !raft->standing_sent)
        return;
    if (m->refused)
        peer->refused = true;
    else
        peer->granted = true;
}

/* The leader wants us to stand. One that was overtaken by what the leader said
 * later is old: it may have its lease again. */
static int receive_timeout_now(struct raft *raft, const struct raft_message *m)
{
    if (m->term != raft->term || raft->role == RAFT_LEADER ||
        (raft->leader != 0 && raft->leader != m->from))
        return DLHT_OK;
    if (raft_members_may_stand(raft))
        stand(raft, true);
    return DLHT_OK;
}

int raft_election_receive(struct raft *raft, const struct raft_message *m)
{
    if (m->type == RAFT_PREVOTE_REQUEST) {
        receive_prevote_request(raft, m);
        return DLHT_OK;
    }
    if (m->type == RAFT_VOTE_REQUEST) {
        receive_vote_request(raft, m);
        return DLHT_OK;
    }
    if (m->type == RAFT_TIMEOUT_NOW)
        return receive_timeout_now(raft, m);
    struct raft_peer *peer = raft_members_peer(raft, m->from);
    if (!peer)
        return DLHT_EPROTO;
    if (m->type == RAFT_PREVOTE_REPLY)
        receive_prevote_reply(raft, peer, m);
    else
        receive_vote_reply(raft, peer, m);
    return DLHT_OK;
}

void raft_election_tell(struct raft *raft, replica_id to)
{
    (void)raft_queue_add(raft, RAFT_TIMEOUT_NOW, to);
    raft->transfer_told = true;
    raft->transfer_told_ns = raft->now_ns;
}

int raft_transfer(struct raft *raft, uint64_t now_ns, replica_id to)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    if (raft->role != RAFT_LEADER)
        return DLHT_ENOTOWNER;
    const struct raft_member *member = raft_members_find(&raft->members, to);
    if (!member || !member->voter || to == raft->config.id)
        return DLHT_EINVAL;
    raft_append_wake(raft);
    raft->transfer_to = to;
    raft->transfer_ns = raft->now_ns + raft->config.election_ns;
    raft->transfer_told_ns = 0;
    return DLHT_OK;
}
