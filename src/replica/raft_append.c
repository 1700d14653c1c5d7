/* SPDX-License-Identifier: Apache-2.0 */

/* The leader's side of replication: what each member has, what it is sent
 * next, what is committed by that, and the sleep of a group with nothing to
 * do.
 *
 * A lost message shows in one of two ways. Something sent after it is refused,
 * with a hint where to go on; or a heartbeat that was sent well after it is
 * answered and says that less has arrived than was sent. */

#include "replica/raft_state.h"

#include <assert.h>

#include "dlht/err.h"

bool raft_append_is_active(const struct raft *raft,
                           const struct raft_peer *peer)
{
    if (peer->id == raft->config.id)
        return true;
    return peer->answered &&
           raft->now_ns - peer->answered_ns < raft->config.election_ns;
}

void raft_append_peer_begin(struct raft *raft, struct raft_peer *peer)
{
    peer->state = RAFT_PROBE;
    peer->match = 0;
    peer->next = raft_end(raft) + 1;
    peer->stamp = 0;
    peer->answered = false;
    peer->answered_ns = raft->now_ns;
    peer->probing = false;
    peer->sent_stamp = 0;
    peer->retry_ns = raft->config.heartbeat_ns;
    peer->snapshot_named = false;
    peer->caught = false;
    peer->caught_ns = 0;
    peer->goal_ns = raft->now_ns;
    peer->goal_index = raft_end(raft);
}

bool raft_append_lead(struct raft *raft)
{
    struct raft_entry noop = { .term = raft->term,
                               .index = raft_end(raft) + 1,
                               .type = RAFT_ENTRY_NOOP };
    if (raft_log_replace(&raft->log, noop.index, &noop, 1) != DLHT_OK)
        return false;
    raft->role = RAFT_LEADER;
    raft->leader = raft->config.id;
    raft->quiet = false;
    raft->lease_floor = raft->last_stamp;
    for (size_t i = 0; i < raft->peer_count; i++) {
        raft_append_peer_begin(raft, &raft->peers[i]);
        raft->peers[i].next = noop.index;
    }
    raft->heartbeat_due = true;
    raft->heartbeat_ns = raft->now_ns + raft->config.heartbeat_ns;
    return true;
}

/* Who has what: of ourselves, only what is durable. */
static uint64_t match_of(const struct raft *raft, const struct raft_peer *peer)
{
    if (peer->id != raft->config.id)
        return peer->match;
    return DLHT_MUTANT == 1 ? raft_end(raft) : raft->persisted;
}

static uint64_t voters_match(const struct raft *raft)
{
    uint64_t match[RAFT_MEMBERS_MAX];
    for (size_t i = 0; i < raft->peer_count; i++)
        match[i] = match_of(raft, &raft->peers[i]);
    return raft_members_quorum(raft, match);
}

/* Was level with the voters less than an election timeout ago. */
static bool is_caught_up(const struct raft *raft, const struct raft_peer *peer)
{
    if (peer->id == raft->config.id)
        return true;
    return peer->state == RAFT_REPLICATE && peer->caught &&
           raft->now_ns - peer->caught_ns < raft->config.election_ns;
}

static void follow_goal(struct raft *raft, struct raft_peer *peer,
                        uint64_t level)
{
    if (peer->match >= level) {
        peer->caught = true;
        peer->caught_ns = raft->now_ns;
    } else if (peer->match >= peer->goal_index) {
        peer->caught = true;
        peer->caught_ns = peer->goal_ns;
    } else {
        return;
    }
    peer->goal_ns = raft->now_ns;
    peer->goal_index = level;
}

/* The commit index that voters, and learners who are waited for, allow. */
static uint64_t agreed_index(struct raft *raft)
{
    uint64_t level = voters_match(raft), agreed = level;
    for (size_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        if (peer->id == raft->config.id)
            continue;
        follow_goal(raft, peer, level);
        bool awaited = raft->config.await_learners && !peer->voter &&
                       raft_append_is_active(raft, peer) &&
                       is_caught_up(raft, peer);
        if (awaited && peer->match < agreed)
            agreed = peer->match;
    }
    return agreed;
}

/* The leader that removed or demoted itself has led until here; the best of
 * the others need not wait for its timer. */
static void resign(struct raft *raft)
{
    const struct raft_peer *best = NULL;
    for (size_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->voter && peer->id != raft->config.id &&
            (!best || peer->match > best->match))
            best = peer;
    }
    if (best)
        raft_election_tell(raft, best->id);
    raft_election_step_down(raft);
}

void raft_append_commit(struct raft *raft)
{
    if (raft->role != RAFT_LEADER)
        return;
    uint64_t index = agreed_index(raft);
    if (index <= raft->commit)
        return;
    /* Entries of older terms are committed only beneath one of ours (figure 8
     * of the thesis). */
    if (DLHT_MUTANT != 3 && raft_log_term(&raft->log, index) != raft->term)
        return;
    raft->commit = index;
    if (raft->members_index <= raft->commit && !raft_members_is_voter(raft))
        resign(raft);
}

static bool is_alone(const struct raft *raft)
{
    return raft->peer_count == 1 && raft->peers[0].id == raft->config.id;
}

/* A majority of voters gave a sign of life within the election timeout, or
 * there was no time yet. */
static bool has_quorum(const struct raft *raft)
{
    uint64_t answered[RAFT_MEMBERS_MAX];
    for (size_t i = 0; i < raft->peer_count; i++)
        answered[i] = raft->peers[i].id == raft->config.id
                          ? raft->now_ns
                          : raft->peers[i].answered_ns;
    uint64_t at = raft_members_quorum(raft, answered);
    return raft->now_ns - at < raft->config.election_ns;
}

/* What was on its way to a member that fell silent is taken as lost. */
static void doubt_the_silent(struct raft *raft)
{
    for (size_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        if (peer->state != RAFT_REPLICATE || raft_append_is_active(raft, peer))
            continue;
        peer->state = RAFT_PROBE;
        peer->next = peer->match + 1;
        peer->probing = true;
        peer->sent_stamp = raft->last_stamp;
    }
}

static bool all_sleep(const struct raft *raft)
{
    for (size_t i = 0; i < raft->peer_count; i++)
        if (raft->peers[i].id != raft->config.id &&
            (raft->sleep_stamp == 0 ||
             raft->peers[i].stamp < raft->sleep_stamp))
            return false;
    return true;
}

static void tick_asleep(struct raft *raft)
{
    if (all_sleep(raft))
        return;
    if (raft->now_ns - raft->sleep_ns >= raft->config.election_ns)
        raft_append_wake(raft);
    raft->heartbeat_due = true;
}

void raft_append_tick(struct raft *raft)
{
    if (raft->transfer_to != 0 && raft->now_ns >= raft->transfer_ns)
        raft->transfer_to = 0;
    if (raft->now_ns < raft->heartbeat_ns)
        return;
    raft->heartbeat_ns = raft->now_ns + raft->config.heartbeat_ns;
    if (raft->quiet) {
        tick_asleep(raft);
        return;
    }
    if (!has_quorum(raft)) {
        raft_election_step_down(raft);
        return;
    }
    doubt_the_silent(raft);
    raft->heartbeat_due = !is_alone(raft);
    raft_append_commit(raft);
}

uint64_t raft_timeout_ns(const struct raft *raft)
{
    if (raft->role == RAFT_LEADER) {
        uint64_t at = is_alone(raft) || (raft->quiet && all_sleep(raft))
                          ? UINT64_MAX
                          : raft->heartbeat_ns;
        return raft->transfer_to != 0 && raft->transfer_ns < at
                   ? raft->transfer_ns
                   : at;
    }
    if (raft->quiet)
        return UINT64_MAX;
    if (!raft_members_may_stand(raft)) /* yet it may wake its leader */
        return raft_election_asks(raft) ? raft->ask_ns : UINT64_MAX;
    if (raft_election_awaits_disk(raft))
        return UINT64_MAX;
    if (raft->role == RAFT_FOLLOWER && raft_members_needs_nobody(raft) &&
        !raft_election_hears_leader(raft))
        return raft->now_ns;
    if (raft_election_asks(raft) && raft->ask_ns < raft->election_ns)
        return raft->ask_ns;
    return raft->election_ns;
}

void raft_append_wake(struct raft *raft)
{
    if (!raft->quiet)
        return;
    assert(raft->role == RAFT_LEADER);
    raft->quiet = false;
    raft->sleep_stamp = 0;
    raft->lease_floor = raft->last_stamp; /* what counts is said from now on */
    raft->heartbeat_due = true;
    raft->heartbeat_ns = raft->now_ns + raft->config.heartbeat_ns;
    /* Nobody was asked for a while, and all had everything when they fell
     * asleep. */
    for (size_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        peer->answered_ns = raft->now_ns;
        if (peer->caught && peer->match >= raft->commit)
            peer->caught_ns = raft->now_ns;
    }
}

void raft_announce(struct raft *raft)
{
    if (raft->role == RAFT_LEADER && !raft->quiet)
        raft->heartbeat_due = !is_alone(raft);
}

void raft_wake(struct raft *raft, uint64_t now_ns)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    if (!raft->quiet)
        return;
    if (raft->role == RAFT_LEADER) {
        raft_append_wake(raft);
        return;
    }
    raft->quiet = false;
    raft_election_arm_woken(raft);
}

bool raft_sleep(struct raft *raft, uint64_t now_ns)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    if (raft->role != RAFT_LEADER)
        return false;
    if (raft->quiet)
        return true;
    uint64_t last = raft_end(raft);
    if (raft->commit != last || raft->persisted != last ||
        raft->transfer_to != 0 || raft->read_count > 0)
        return false;
    for (size_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->id != raft->config.id &&
            (peer->match != last || !raft_append_is_active(raft, peer) ||
             peer->stamp <= raft->lease_floor))
            return false; /* the last: it has answered since the last sleep */
    }
    raft->quiet = true;
    raft->lease_floor = raft->last_stamp;
    raft->sleep_stamp = 0;
    raft->sleep_ns = raft->now_ns;
    raft->heartbeat_due = true;
    raft->heartbeat_ns = raft->now_ns + raft->config.heartbeat_ns;
    return true;
}

int raft_propose(struct raft *raft, uint64_t now_ns, struct span data,
                 uint64_t *index)
{
    *index = 0;
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    if (raft->role != RAFT_LEADER || raft->transfer_to != 0)
        return DLHT_ENOTOWNER;
    if (data.len > RAFT_ENTRY_MAX)
        return DLHT_ETOOBIG;
    uint64_t last = raft_end(raft);
    size_t waiting = raft_log_bytes_between(&raft->log, raft->commit, last);
    if (waiting > 0 && waiting + data.len > raft->config.pending_bytes_max)
        return DLHT_EBUSY;
    struct raft_entry entry = { .term = raft->term,
                                .index = last + 1,
                                .type = RAFT_ENTRY_DATA,
                                .data = data };
    int rc = raft_log_replace(&raft->log, entry.index, &entry, 1);
    if (rc != DLHT_OK)
        return rc;
    raft_append_wake(raft);
    raft_settle(raft);
    *index = entry.index;
    return DLHT_OK;
}

/* Answers. */

/* Sent after what we ask about, and true of it. */
static bool is_plausible(const struct raft *raft, const struct raft_message *m)
{
    uint64_t last = raft_end(raft);
    if (m->stamp > raft->last_stamp)
        return false;
    if (m->refused)
        return m->index <= last;
    return m->index <= last && m->hint <= last;
}

static void hear_answer(struct raft *raft, struct raft_peer *peer,
                        const struct raft_message *m)
{
    peer->answered = true;
    peer->answered_ns = raft->now_ns;
    uint64_t stamp = m->stamp;
    if (DLHT_MUTANT == 5 && stamp > 0)
        stamp = raft->now_ns;
    if (stamp > peer->stamp)
        peer->stamp = stamp;
}

/* The member has durably what we have, up to index. */
static void advance(struct raft *raft, struct raft_peer *peer, uint64_t index)
{
    bool confirms = index >= peer->next - 1;
    if (index > peer->match) {
        peer->match = index;
        peer->retry_ns = raft->config.heartbeat_ns;
    }
    if (peer->next <= peer->match)
        peer->next = peer->match + 1;
    if (peer->state == RAFT_SNAPSHOT && index < raft->log.base_index)
        return;
    if (confirms && peer->state != RAFT_REPLICATE) {
        peer->state = RAFT_REPLICATE;
        peer->probing = false;
        peer->next = peer->match + 1;
    }
}

/* Sends again from index on, one message at a time. */
static void probe_from(struct raft_peer *peer, uint64_t index)
{
    peer->state = RAFT_PROBE;
    peer->probing = false;
    peer->next = index > peer->match ? index : peer->match + 1;
}

static void hear_refusal(struct raft *raft, struct raft_peer *peer,
                         const struct raft_message *m)
{
    if (peer->state == RAFT_SNAPSHOT || m->index <= peer->match ||
        (peer->state == RAFT_PROBE && m->index != peer->next - 1))
        return; /* an old one */
    uint64_t hint = m->hint < m->index ? m->hint : m->index - 1;
    if (hint < raft->log.base_index)
        probe_from(peer, hint + 1);
    else
        probe_from(peer, raft_log_find_term(&raft->log, hint, m->log_term) + 1);
}

int raft_append_reply(struct raft *raft, const struct raft_message *m)
{
    struct raft_peer *peer = raft_members_peer(raft, m->from);
    if (!peer)
        return DLHT_EPROTO;
    if (m->term > raft->term) {
        raft_election_raise(raft, m->term);
        raft_election_arm(raft);
        return DLHT_OK;
    }
    if (raft->role != RAFT_LEADER || m->term < raft->term)
        return DLHT_OK;
    if (!is_plausible(raft, m))
        return DLHT_EPROTO;
    hear_answer(raft, peer, m);
    if (m->refused)
        hear_refusal(raft, peer, m);
    else
        advance(raft, peer, m->index);
    raft_read_confirm(raft);
    return DLHT_OK;
}

int raft_append_heartbeat_reply(struct raft *raft, const struct raft_message *m)
{
    struct raft_peer *peer = raft_members_peer(raft, m->from);
    if (!peer)
        return DLHT_EPROTO;
    if (raft->role != RAFT_LEADER || m->term != raft->term)
        return DLHT_OK;
    if (m->refused || !is_plausible(raft, m))
        return DLHT_EPROTO;
    hear_answer(raft, peer, m);
    advance(raft, peer, m->index);
    raft_read_confirm(raft);
    uint64_t arrived = m->hint > peer->match ? m->hint : peer->match;
    bool missing = peer->state == RAFT_PROBE ? peer->probing
                                             : peer->state == RAFT_REPLICATE &&
                                                   arrived + 1 < peer->next;
    if (missing && m->stamp >= peer->sent_stamp + peer->retry_ns) {
        uint64_t from = peer->state == RAFT_PROBE ? peer->next : arrived + 1;
        probe_from(peer, from);
        peer->retry_ns *= 2;
        if (peer->retry_ns > raft->config.election_ns)
            peer->retry_ns = raft->config.election_ns;
    }
    return DLHT_OK;
}

void raft_snapshot_done(struct raft *raft, uint64_t now_ns, replica_id member,
                        uint64_t index)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    struct raft_peer *peer = raft_members_peer(raft, member);
    if (!peer || raft->role != RAFT_LEADER || !peer->snapshot_named)
        return;
    peer->snapshot_named = false;
    if (peer->state != RAFT_SNAPSHOT)
        return;
    peer->state = RAFT_PROBE;
    peer->probing = index == 0;
    peer->sent_stamp = raft->last_stamp;
    if (index >= peer->next && index <= raft_end(raft))
        peer->next = index + 1;
}

/* Messages. */

static void send_heartbeats(struct raft *raft, uint64_t stamp)
{
    for (size_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->id == raft->config.id)
            continue;
        struct raft_message *m = raft_queue_add(raft, RAFT_HEARTBEAT, peer->id);
        if (!m)
            continue;
        m->stamp = stamp;
        m->commit = raft->commit < peer->match ? raft->commit : peer->match;
        m->quiet = raft->quiet;
    }
}

/* How many entries from next on go into one message; at least one. */
static size_t batch_size(const struct raft *raft, uint64_t next)
{
    uint64_t last = raft_end(raft);
    size_t count = 1;
    while (next + count <= last && count < RAFT_APPEND_ENTRIES_MAX &&
           raft_log_bytes_between(&raft->log, next - 1, next + count) <=
               raft->config.append_bytes_max)
        count++;
    return count;
}

/* One message, empty if nothing is left; false: no memory for it. */
static bool send_append(struct raft *raft, struct raft_peer *peer,
                        uint64_t stamp)
{
    struct raft_message *m = raft_queue_add(raft, RAFT_APPEND, peer->id);
    if (!m)
        return false;
    m->stamp = stamp;
    m->index = peer->next - 1;
    m->log_term = raft_log_term(&raft->log, m->index);
    m->commit = raft->commit;
    if (peer->next <= raft_end(raft)) {
        m->entries = raft_log_at(&raft->log, peer->next);
        m->entry_count = batch_size(raft, peer->next);
    }
    peer->sent_stamp = stamp;
    return true;
}

static void pipeline(struct raft *raft, struct raft_peer *peer, uint64_t stamp)
{
    while (peer->next <= raft_end(raft) &&
           raft_log_bytes_between(&raft->log, peer->match, peer->next - 1) <
               raft->config.inflight_bytes_max) {
        uint64_t next = peer->next;
        if (!send_append(raft, peer, stamp))
            return;
        peer->next = next + batch_size(raft, next);
    }
}

static void send_to(struct raft *raft, struct raft_peer *peer, uint64_t stamp,
                    struct raft_output *out)
{
    bool waits = peer->state == RAFT_PROBE && peer->probing;
    if (!waits && peer->next <= raft->log.base_index)
        peer->state = RAFT_SNAPSHOT;
    if (peer->state == RAFT_SNAPSHOT) {
        if (!peer->snapshot_named) {
            peer->snapshot_named = true;
            out->snapshots[out->snapshot_count++] = peer->id;
        }
    } else if (peer->state == RAFT_REPLICATE) {
        pipeline(raft, peer, stamp);
    } else if (!peer->probing) {
        peer->probing = send_append(raft, peer, stamp);
    }
}

/* Tells the successor to stand as soon as it has everything, and again with
 * the heartbeats. */
static void send_transfer(struct raft *raft, bool again)
{
    const struct raft_peer *peer = raft_members_peer(raft, raft->transfer_to);
    if (!peer || peer->match != raft_end(raft))
        return;
    if (raft->transfer_told_ns == 0 || again)
        raft_election_tell(raft, peer->id);
}

void raft_append_send(struct raft *raft, struct raft_output *out)
{
    bool round = raft_read_wants_round(raft), beat = raft->heartbeat_due;
    uint64_t stamp = raft_stamp_next(raft);
    raft->heartbeat_due = false;
    if (round)
        raft_read_begin_round(raft, stamp);
    if (raft->quiet && raft->sleep_stamp == 0)
        raft->sleep_stamp = stamp;
    if (round || beat)
        send_heartbeats(raft, stamp);
    for (size_t i = 0; i < raft->peer_count; i++)
        if (raft->peers[i].id != raft->config.id)
            send_to(raft, &raft->peers[i], stamp, out);
    if (raft->transfer_to != 0)
        send_transfer(raft, beat);
    raft_read_confirm(raft);
}

bool raft_progress_of(const struct raft *raft, uint64_t now_ns, replica_id id,
                      struct raft_progress *out)
{
    *out = (struct raft_progress){ 0 };
    if (raft->role != RAFT_LEADER)
        return false;
    for (size_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->id != id)
            continue;
        uint64_t length = raft->config.election_ns;
        bool self = id == raft->config.id;
        out->match = self ? raft->persisted : peer->match;
        /* Asleep they were there, and had everything, when last asked. */
        out->active =
            self || (peer->answered &&
                     (raft->quiet || now_ns < peer->answered_ns + length));
        out->caught_up =
            self || (peer->state == RAFT_REPLICATE && peer->caught &&
                     (raft->quiet || now_ns < peer->caught_ns + length));
        out->stamp = self ? now_ns : peer->stamp;
        out->snapshot = peer->state == RAFT_SNAPSHOT;
        out->empty = !self && peer->match == 0 && peer->next == 1;
        return true;
    }
    return false;
}
