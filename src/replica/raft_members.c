/* SPDX-License-Identifier: Apache-2.0 */

/* Membership: who counts, and one step at a time.
 *
 * A membership is in force as soon as its entry is in the log; one step keeps
 * any majority of the old and any of the new one in touch. */

#include "replica/raft_state.h"

#include <assert.h>
#include <string.h>

#include "dlht/err.h"

bool raft_members_are_sound(const struct raft_members *members)
{
    bool voter = false;
    if (members->count > RAFT_MEMBERS_MAX)
        return false;
    for (size_t i = 0; i < members->count; i++) {
        if (members->list[i].id == 0)
            return false;
        for (size_t k = 0; k < i; k++)
            if (members->list[k].id == members->list[i].id)
                return false;
        voter = voter || members->list[i].voter;
    }
    return voter;
}

const struct raft_member *raft_members_find(const struct raft_members *members,
                                            replica_id id)
{
    for (size_t i = 0; i < members->count; i++)
        if (members->list[i].id == id)
            return &members->list[i];
    return NULL;
}

/* How many members of a are missing in b, or another kind there. */
static void count_changes(const struct raft_members *a,
                          const struct raft_members *b, size_t *missing,
                          size_t *other)
{
    *missing = 0;
    *other = 0;
    for (size_t i = 0; i < a->count; i++) {
        const struct raft_member *m = raft_members_find(b, a->list[i].id);
        if (!m)
            ++*missing;
        else if (m->voter != a->list[i].voter)
            ++*other;
    }
}

bool raft_members_equal(const struct raft_members *a,
                        const struct raft_members *b)
{
    size_t missing, other;
    count_changes(a, b, &missing, &other);
    return a->count == b->count && missing == 0 && other == 0;
}

static bool is_one_step(const struct raft_members *from,
                        const struct raft_members *to)
{
    size_t removed, added, turned;
    count_changes(to, from, &added, &turned);
    count_changes(from, to, &removed, &turned);
    return removed + added + turned == 1;
}

struct raft_peer *raft_members_peer(struct raft *raft, replica_id id)
{
    for (size_t i = 0; i < raft->peer_count; i++)
        if (raft->peers[i].id == id)
            return &raft->peers[i];
    return NULL;
}

/* Makes the peers those of raft->members; who stays keeps his progress. */
static void rebuild_peers(struct raft *raft)
{
    struct raft_peer old[RAFT_MEMBERS_MAX];
    size_t old_count = raft->peer_count;
    memcpy(old, raft->peers, sizeof old);
    memset(raft->peers, 0, sizeof raft->peers);
    raft->peer_count = raft->members.count;
    for (size_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        const struct raft_member *member = &raft->members.list[i];
        bool known = false;
        for (size_t k = 0; k < old_count && !known; k++) {
            known = old[k].id == member->id;
            if (known)
                *peer = old[k];
        }
        peer->id = member->id;
        peer->voter = member->voter;
        if (!known)
            raft_append_peer_begin(raft, peer);
    }
}

void raft_members_enter(struct raft *raft, const struct raft_members *members,
                        uint64_t index)
{
    raft->members = *members;
    raft->members_index = index;
    rebuild_peers(raft);
}

void raft_members_rescan(struct raft *raft)
{
    for (uint64_t i = raft_end(raft); i > raft->log.base_index; i--) {
        const struct raft_entry *entry = raft_log_at(&raft->log, i);
        if (entry->type == RAFT_ENTRY_MEMBERS) {
            raft_members_enter(raft, entry->members, i);
            return;
        }
    }
    raft_members_enter(raft, &raft->base_members, raft->log.base_index);
}

bool raft_members_is_voter(const struct raft *raft)
{
    const struct raft_member *self =
        raft_members_find(&raft->members, raft->config.id);
    return self && self->voter;
}

/* Before the newest MEMBERS entry. */
static const struct raft_members *previous_members(const struct raft *raft)
{
    for (uint64_t i = raft->members_index - 1; i > raft->log.base_index; i--) {
        const struct raft_entry *entry = raft_log_at(&raft->log, i);
        if (entry->type == RAFT_ENTRY_MEMBERS)
            return entry->members;
    }
    return &raft->base_members;
}

bool raft_members_may_stand(const struct raft *raft)
{
    if (raft_members_is_voter(raft))
        return true;
    if (!raft_is_changing(raft))
        return false;
    const struct raft_member *self =
        raft_members_find(previous_members(raft), raft->config.id);
    return self && self->voter;
}

static bool is_sole_voter(const struct raft_members *members, replica_id id)
{
    for (size_t i = 0; i < members->count; i++)
        if (members->list[i].voter != (members->list[i].id == id))
            return false;
    return raft_members_find(members, id) != NULL;
}

bool raft_members_is_sole_voter(const struct raft *raft)
{
    return is_sole_voter(&raft->members, raft->config.id);
}

bool raft_members_needs_nobody(const struct raft *raft)
{
    return raft_members_is_sole_voter(raft) &&
           (!raft_is_changing(raft) ||
            is_sole_voter(previous_members(raft), raft->config.id));
}

uint64_t raft_members_quorum(const struct raft *raft,
                             const uint64_t values[RAFT_MEMBERS_MAX])
{
    uint64_t sorted[RAFT_MEMBERS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < raft->peer_count; i++) {
        if (!raft->peers[i].voter && DLHT_MUTANT != 15)
            continue;
        size_t k = n++;
        for (; k > 0 && sorted[k - 1] < values[i]; k--)
            sorted[k] = sorted[k - 1];
        sorted[k] = values[i];
    }
    return n > 0 ? sorted[n / 2] : 0;
}

/* A change may begin: ours to make, none under way, and this term has shown
 * that it commits. */
static int may_change(const struct raft *raft)
{
    if (raft->role != RAFT_LEADER || raft->transfer_to != 0)
        return DLHT_ENOTOWNER;
    if (DLHT_MUTANT == 10)
        return DLHT_OK;
    if (raft_is_changing(raft) ||
        raft_log_term(&raft->log, raft->commit) != raft->term)
        return DLHT_EBUSY;
    return DLHT_OK;
}

int raft_change(struct raft *raft, uint64_t now_ns,
                const struct raft_members *next, struct span data,
                uint64_t *index)
{
    *index = 0;
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    int rc = may_change(raft);
    if (rc != DLHT_OK)
        return rc;
    if (data.len > RAFT_ENTRY_MAX)
        return DLHT_ETOOBIG;
    if (!raft_members_are_sound(next) || !is_one_step(&raft->members, next))
        return DLHT_EINVAL;
    struct raft_entry entry = { .term = raft->term,
                                .index = raft_end(raft) + 1,
                                .type = RAFT_ENTRY_MEMBERS,
                                .data = data,
                                .members = next };
    rc = raft_log_replace(&raft->log, entry.index, &entry, 1);
    if (rc != DLHT_OK)
        return rc;
    raft_members_enter(raft, next, entry.index);
    if (raft->transfer_to != 0 &&
        !raft_members_find(&raft->members, raft->transfer_to))
        raft->transfer_to = 0;
    raft_append_wake(raft);
    raft_settle(raft);
    *index = entry.index;
    return DLHT_OK;
}
