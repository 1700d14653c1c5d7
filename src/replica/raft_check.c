/* SPDX-License-Identifier: Apache-2.0 */

/* The invariants of one replica, and its state as a number. */

#include <assert.h>

#include "base/hash.h"
#include "replica/raft_state.h"

enum {
    CHECK_ENTRIES_MAX = 32 /* newest ones; the older were new once */
};

static void check_log(const struct raft *raft)
{
    const struct raft_log *log = &raft->log;
    uint64_t last = raft_end(raft), first = log->base_index + 1;
    assert(log->start + log->count <= log->cap);
    if (last - log->base_index > CHECK_ENTRIES_MAX)
        first = last - CHECK_ENTRIES_MAX + 1;
    for (uint64_t i = first; i <= last; i++) {
        const struct raft_entry *entry = raft_log_at(log, i);
        assert(entry->index == i);
        assert(entry->term >= raft_log_term(log, i - 1));
        assert(entry->term <= raft->term);
        if (entry->type == RAFT_ENTRY_MEMBERS)
            assert(raft->members_index >= i);
    }
    assert(raft->commit >= log->base_index && raft->commit <= last);
    assert(raft->matched <= last || raft->role == RAFT_LEADER);
}

static void check_disk(const struct raft *raft)
{
    assert(raft->persisted <= raft->handed);
    assert(raft->handed <= raft_end(raft));
    assert(raft->persisted >= raft->log.base_index);
    assert(raft->durable_term <= raft->term);
    for (size_t i = 0; i < raft->record_count; i++) {
        assert(raft->records[i].number <= raft->number);
        assert(raft->records[i].last <= raft->handed);
        assert(i == 0 || raft->records[i].number > raft->records[i - 1].number);
    }
}

static void check_members(const struct raft *raft)
{
    const struct raft_entry *entry =
        raft_log_at(&raft->log, raft->members_index);
    assert(raft->members_index <= raft_end(raft));
    assert(raft->peer_count == raft->members.count);
    assert(raft_members_equal(&raft->members,
                              entry ? entry->members : &raft->base_members));
    for (size_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        assert(peer->id == raft->members.list[i].id);
        assert(peer->voter == raft->members.list[i].voter);
    }
}

static void check_leader(const struct raft *raft)
{
    assert(raft->leader == raft->config.id);
    assert(raft->vote == raft->config.id);
    for (size_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->id == raft->config.id)
            continue;
        assert(peer->match < peer->next);
        assert(peer->next <= raft_end(raft) + 1);
        assert(peer->stamp <= raft->last_stamp || DLHT_MUTANT == 5);
    }
}

void raft_check(const struct raft *raft)
{
    check_log(raft);
    check_disk(raft);
    check_members(raft);
    if (raft->role == RAFT_LEADER)
        check_leader(raft);
    else
        assert(raft->leader != raft->config.id && raft->transfer_to == 0);
    if (raft->role == RAFT_CANDIDATE)
        assert(raft->vote == raft->config.id);
    if (raft->quiet)
        assert(raft->role == RAFT_LEADER || raft->role == RAFT_FOLLOWER);
}

static uint64_t mix_log(const struct raft *raft, uint64_t hash)
{
    hash = hash64_mix(hash, raft->log.base_index);
    hash = hash64_mix(hash, raft->log.base_term);
    for (uint64_t i = raft->log.base_index + 1; i <= raft_end(raft); i++) {
        const struct raft_entry *entry = raft_log_at(&raft->log, i);
        hash = hash64_mix(hash, entry->term);
        hash = hash64_mix(hash, entry->type);
        hash = hash64_mix(hash, hash64(entry->data));
    }
    return hash;
}

static uint64_t mix_members(const struct raft_members *members, uint64_t hash)
{
    for (size_t i = 0; i < members->count; i++) {
        hash = hash64_mix(hash, members->list[i].id);
        hash = hash64_mix(hash, members->list[i].voter);
    }
    return hash64_mix(hash, members->count);
}

static uint64_t mix_flags(const bool *flags, size_t count, uint64_t hash)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < count; i++)
        bits = bits << 1 | (flags[i] ? 1u : 0u);
    return hash64_mix(hash, bits);
}

static uint64_t mix_peer(const struct raft_peer *peer, uint64_t hash)
{
    const bool flags[] = { peer->granted, peer->refused, peer->answered,
                           peer->probing, peer->snapshot_named };
    hash = hash64_mix(hash, (uint64_t)peer->state);
    hash = mix_flags(flags, sizeof flags / sizeof *flags, hash);
    hash = hash64_mix(hash, peer->match);
    hash = hash64_mix(hash, peer->next);
    hash = hash64_mix(hash, peer->stamp);
    hash = hash64_mix(hash, peer->answered_ns);
    hash = hash64_mix(hash, peer->sent_stamp);
    hash = hash64_mix(hash, peer->retry_ns);
    hash = hash64_mix(hash, peer->caught ? peer->caught_ns : UINT64_MAX);
    hash = hash64_mix(hash, peer->goal_ns);
    return hash64_mix(hash, peer->goal_index);
}

static uint64_t mix_disk(const struct raft *raft, uint64_t hash)
{
    hash = hash64_mix(hash, raft->number);
    hash = hash64_mix(hash, raft->handed);
    hash = hash64_mix(hash, raft->persisted);
    hash = hash64_mix(hash, raft->vote_dirty);
    hash = hash64_mix(hash, raft->durable_term);
    hash = hash64_mix(hash, raft->durable_vote);
    for (size_t i = 0; i < raft->record_count; i++) {
        hash = hash64_mix(hash, raft->records[i].number);
        hash = hash64_mix(hash, raft->records[i].last);
    }
    return hash;
}

static uint64_t mix_timers(const struct raft *raft, uint64_t hash)
{
    for (int i = 0; i < 4; i++)
        hash = hash64_mix(hash, raft->rng.s[i]);
    hash = hash64_mix(hash, raft->now_ns);
    hash = hash64_mix(hash, raft->hold_ns);
    hash = hash64_mix(hash, raft->heard ? raft->heard_ns : UINT64_MAX);
    hash = hash64_mix(hash, raft->election_ns);
    hash = hash64_mix(hash, raft->transfer_to);
    hash = hash64_mix(hash, raft->transfer_ns);
    hash = hash64_mix(hash, raft->transfer_told);
    hash = hash64_mix(hash, raft->heard_stamp);
    hash = hash64_mix(hash, raft->quiet_stamp);
    hash = hash64_mix(hash, raft->woken_ns);
    hash = hash64_mix(hash, raft->last_stamp);
    hash = hash64_mix(hash, raft->heartbeat_ns);
    hash = hash64_mix(hash, raft->lease_floor);
    return hash64_mix(hash, raft->sleep_stamp);
}

uint64_t raft_hash(const struct raft *raft)
{
    uint64_t hash = hash64_mix(raft->config.id, raft->term);
    hash = hash64_mix(hash, raft->vote);
    hash = hash64_mix(hash, raft->leader);
    hash = hash64_mix(hash, (uint64_t)raft->role);
    hash = hash64_mix(hash, raft->commit);
    hash = hash64_mix(hash, raft->matched);
    hash = hash64_mix(hash, raft->acked);
    const bool flags[] = { raft->quiet,
                           raft->founding,
                           raft->standing_told,
                           raft->standing_sent,
                           raft->vote_held,
                           raft->heartbeat_due,
                           raft->heartbeat_reply_due,
                           raft->append_reply_due,
                           raft->refusal_due };
    hash = mix_flags(flags, sizeof flags / sizeof *flags, hash);
    hash = mix_log(raft, hash);
    hash = mix_members(&raft->base_members, hash);
    hash = mix_members(&raft->members, hash);
    for (size_t i = 0; i < raft->peer_count; i++)
        hash = mix_peer(&raft->peers[i], hash);
    hash = mix_disk(raft, hash);
    hash = mix_timers(raft, hash);
    for (size_t i = 0; i < raft->read_count; i++) {
        hash = hash64_mix(hash, raft->reads[i].ticket);
        hash = hash64_mix(hash, raft->reads[i].stamp);
        hash = hash64_mix(hash, (uint64_t)raft->reads[i].state);
    }
    return hash64_mix(hash, raft->queue.count);
}
