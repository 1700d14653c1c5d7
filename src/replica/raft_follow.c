/* SPDX-License-Identifier: Apache-2.0 */

/* The follower's side: entries, heartbeats, snapshots.
 *
 * A message is first held against the log without changing anything; what
 * would touch a committed entry makes no sense, what finds no memory counts as
 * lost. Answers are made in raft_take: one for all messages of a turn, and only
 * for what is durable. */

#include "replica/raft_state.h"

#include <assert.h>

#include "dlht/err.h"

static bool entry_is_sound(const struct raft_entry *entry)
{
    if (entry->term == 0 || entry->data.len > RAFT_ENTRY_MAX ||
        (entry->data.len > 0 && !entry->data.data))
        return false;
    if (entry->type == RAFT_ENTRY_MEMBERS)
        return entry->members && raft_members_are_sound(entry->members);
    return entry->type == RAFT_ENTRY_NOOP || entry->type == RAFT_ENTRY_DATA;
}

static bool entries_are_sound(const struct raft_message *m)
{
    uint64_t term = m->log_term;
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *entry = &m->entries[i];
        if (!entry_is_sound(entry) || entry->index != m->index + 1 + i ||
            entry->term < term || entry->term > m->term)
            return false;
        term = entry->term;
    }
    return m->log_term <= m->term;
}

/* Says to a leader of a term that is over which one it is. */
static void refuse_old(struct raft *raft, const struct raft_message *m)
{
    struct raft_message *reply =
        raft_queue_add(raft, RAFT_APPEND_REPLY, m->from);
    if (!reply)
        return;
    reply->refused = true;
    reply->index = m->index;
}

/* Two leaders of one term cannot be. */
static bool is_impostor(const struct raft *raft, const struct raft_message *m)
{
    return m->term == raft->term &&
           (raft->role == RAFT_LEADER ||
            (raft->leader != 0 && raft->leader != m->from));
}

/* Below it our log is known to be the leader's. */
static uint64_t sure_index(const struct raft *raft,
                           const struct raft_message *m)
{
    return m->term == raft->term && raft->matched > raft->commit ? raft->matched
                                                                 : raft->commit;
}

static bool prev_agrees(const struct raft *raft, const struct raft_message *m)
{
    if (m->index < raft->log.base_index)
        return true; /* committed, as all before it */
    return m->index <= raft_end(raft) &&
           (raft_log_term(&raft->log, m->index) == m->log_term ||
            DLHT_MUTANT == 16);
}

static void refuse_gap(struct raft *raft, const struct raft_message *m)
{
    uint64_t last = raft_end(raft);
    uint64_t hint = m->index > last ? last : m->index - 1;
    hint = raft_log_find_term(&raft->log, hint, m->log_term);
    if (hint < raft->commit)
        hint = raft->commit;
    raft->refusal_due = true;
    raft->refusal = (struct raft_message){
        .index = m->index,
        .hint = hint,
        .log_term = raft_log_term(&raft->log, hint),
    };
}

/* How many entries of the message the log holds already. */
static size_t count_known(const struct raft *raft, const struct raft_message *m)
{
    size_t n = 0;
    while (n < m->entry_count) {
        const struct raft_entry *entry = &m->entries[n];
        if (entry->index > raft_end(raft) ||
            (entry->index > raft->log.base_index &&
             raft_log_term(&raft->log, entry->index) != entry->term))
            break;
        n++;
    }
    return n;
}

/* Every word of the leader. */
static void hear(struct raft *raft, const struct raft_message *m)
{
    raft_election_follow(raft, m->term, m->from);
    if (m->stamp > raft->heard_stamp)
        raft->heard_stamp = m->stamp;
    if (m->stamp >= raft->quiet_stamp)
        raft->quiet = false;
}

static void learn_commit(struct raft *raft, uint64_t commit)
{
    if (commit > raft->matched)
        commit = raft->matched;
    if (commit > raft->commit)
        raft->commit = commit;
    assert(raft->commit <= raft_end(raft));
}

int raft_follow_append(struct raft *raft, const struct raft_message *m)
{
    if (m->term < raft->term) {
        refuse_old(raft, m);
        return DLHT_OK;
    }
    if (is_impostor(raft, m) || !entries_are_sound(m))
        return DLHT_EPROTO;
    uint64_t sure = sure_index(raft, m);
    if (!prev_agrees(raft, m)) {
        if (m->index <= sure)
            return DLHT_EPROTO;
        hear(raft, m);
        refuse_gap(raft, m);
        return DLHT_OK;
    }
    size_t known = count_known(raft, m);
    if (known < m->entry_count) {
        uint64_t from = m->entries[known].index;
        if (from <= sure)
            return DLHT_EPROTO;
        int rc = raft_log_replace(&raft->log, from, &m->entries[known],
                                  m->entry_count - known);
        if (rc != DLHT_OK)
            return rc;
        hear(raft, m);
        raft_forget_tail(raft, from);
        for (size_t i = known; i < m->entry_count; i++)
            if (m->entries[i].type == RAFT_ENTRY_MEMBERS)
                raft_members_enter(raft, m->entries[i].members,
                                   m->entries[i].index);
    } else {
        hear(raft, m);
    }
    if (m->index + m->entry_count > raft->matched)
        raft->matched = m->index + m->entry_count;
    learn_commit(raft, m->commit);
    raft->refusal_due = false;
    raft->append_reply_due = true;
    return DLHT_OK;
}

int raft_follow_heartbeat(struct raft *raft, const struct raft_message *m)
{
    if (m->term < raft->term) {
        refuse_old(raft, m);
        return DLHT_OK;
    }
    if (is_impostor(raft, m))
        return DLHT_EPROTO;
    hear(raft, m);
    /* The leader says no more than what we told it to have. */
    uint64_t commit = m->commit < raft_end(raft) ? m->commit : raft_end(raft);
    if (commit > raft->matched)
        raft->matched = commit;
    learn_commit(raft, commit);
    if (m->quiet && m->stamp >= raft->heard_stamp &&
        m->commit == raft_end(raft) && raft->commit == m->commit) {
        raft->quiet = true;
        raft->quiet_stamp = m->stamp;
    }
    raft->heartbeat_reply_due = true;
    return DLHT_OK;
}

static struct raft_message *answer(struct raft *raft, uint8_t type)
{
    struct raft_message *m = raft_queue_add(raft, type, raft->leader);
    if (m)
        m->stamp = raft->heard_stamp;
    return m;
}

static void answer_append(struct raft *raft, uint64_t match)
{
    /* Less than all: only if it is news, the rest follows when durable. */
    if (match < raft->matched && match <= raft->acked)
        return;
    struct raft_message *m = answer(raft, RAFT_APPEND_REPLY);
    if (!m)
        return;
    m->index = match;
    raft->acked = match;
    raft->append_reply_due = match < raft->matched;
}

void raft_follow_send(struct raft *raft)
{
    if (raft->role != RAFT_FOLLOWER || raft->leader == 0)
        return;
    /* A term forgotten in a crash could be lived through twice, and what we
     * heard in it would not be remembered by its term. */
    if (raft->durable_term != raft->term && DLHT_MUTANT != 1)
        return;
    uint64_t match = raft->matched;
    if (match > raft->persisted && DLHT_MUTANT != 1)
        match = raft->persisted;
    if (raft->refusal_due) {
        struct raft_message *m = answer(raft, RAFT_APPEND_REPLY);
        if (m) {
            m->refused = true;
            m->index = raft->refusal.index;
            m->hint = raft->refusal.hint;
            m->log_term = raft->refusal.log_term;
            raft->refusal_due = false;
        }
    }
    if (raft->append_reply_due)
        answer_append(raft, match);
    if (raft->heartbeat_reply_due) {
        struct raft_message *m = answer(raft, RAFT_HEARTBEAT_REPLY);
        if (m) {
            m->index = match;
            m->hint = raft->matched;
            raft->heartbeat_reply_due = false;
        }
    }
}

/* The snapshot replaces all that we have. */
static void replace_log(struct raft *raft, uint64_t index, uint64_t term)
{
    if (raft->role != RAFT_FOLLOWER)
        raft_election_step_down(raft);
    raft_log_reset(&raft->log, index, term);
    raft->matched = index;
    raft->refusal_due = false;
}

int raft_install(struct raft *raft, uint64_t now_ns, uint64_t index,
                 uint64_t term, const struct raft_members *members)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    if (index == 0 || index > RAFT_NUMBER_MAX || term == 0 ||
        term > RAFT_NUMBER_MAX || !raft_members_are_sound(members))
        return DLHT_EINVAL;
    bool agrees = raft_log_term(&raft->log, index) == term;
    if (index <= raft->commit || (raft->role == RAFT_LEADER && !agrees))
        return DLHT_ESTALE;
    if (term > raft->term)
        raft_election_raise(raft, term);
    raft->founding = false;
    if (agrees)
        raft_log_drop_front(&raft->log, index);
    else
        replace_log(raft, index, term);
    raft->base_members = *members;
    raft->commit = index;
    if (index > raft->matched)
        raft->matched = index;
    if (!agrees)
        raft_forget_tail(raft, index + 1);
    if (index > raft->handed)
        raft->handed = index;
    if (index > raft->persisted)
        raft->persisted = index;
    raft_members_rescan(raft);
    raft->append_reply_due = raft->leader != 0 && raft->role == RAFT_FOLLOWER;
    raft_settle(raft);
    return DLHT_OK;
}
