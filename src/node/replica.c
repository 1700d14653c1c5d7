/* SPDX-License-Identifier: Apache-2.0 */

/* One arc kept by this node: its life, and what comes for it. Proposals are in
 * replica_ask.c, the end of a turn in replica_flush.c, and what applying a
 * command does in replica_apply.c. */

#include "node/replica.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/burials.h"
#include "node/cache_arc.h"
#include "node/collections.h"
#include "node/disk_full.h"
#include "node/fingers.h"
#include "node/forgotten.h"
#include "node/gossip.h"
#include "node/handover.h"
#include "node/journal_types.h"
#include "node/keeper.h"
#include "node/keyspaces.h"
#include "node/op_merge.h"
#include "node/quiet.h"
#include "node/recover.h"
#include "node/transfer.h"
#include "node/volatile.h"
#include "store/cache.h"
#include "wire/codec.h"

static struct raft_config raft_settings(struct node *node,
                                        const struct replica_parts *parts)
{
    struct raft_config config = {
        .id = parts->self,
        .election_ns = node->config.election_ns,
        .heartbeat_ns = node->config.heartbeat_ns,
        .lease_reads = !node->config.strict,
        .await_learners = true,
        .memory = !node->config.durable || volatile_is(node, parts->keyspace),
        .seed = rng_next(&node->rng),
    };
    return config;
}

void replica_free(struct replica *r)
{
    if (!r)
        return;
    collections_detach(r);
    transfer_drop_all(r);
    op_merge_deinit(r);
    for (size_t i = 0; i < r->read_count; i++)
        free(r->reads[i].bytes);
    free(r->reads);
    free(r->held);
    free(r->waiters);
    sessions_deinit(&r->sessions);
    buf_deinit(&r->cuts);
    records_free(r->records);
    cache_free(r->cache);
    handover_free(r->handover);
    raft_free(r->raft);
    ring_free(r->ring);
    arc_free(r->arc);
    free(r);
}

/* Puts a finished replica into the table, in order of arc id. */
static int add_to_table(struct node *node, struct replica *r)
{
    if (node->replica_count == node->replica_cap) {
        size_t cap = node->replica_cap ? node->replica_cap * 2 : 16;
        struct replica **grown =
            mem_resize(node->replicas, cap, sizeof(struct replica *));
        if (grown)
            node->replicas = grown;
        arc_id *ids = mem_resize(node->replica_ids, cap, sizeof *ids);
        if (ids)
            node->replica_ids = ids;
        if (!grown || !ids)
            return DLHT_ENOMEM;
        node->replica_cap = cap;
    }
    size_t at = node->replica_count;
    while (at > 0 && node->replica_ids[at - 1] > r->id)
        at--;
    memmove(node->replicas + at + 1, node->replicas + at,
            (node->replica_count - at) * sizeof *node->replicas);
    memmove(node->replica_ids + at + 1, node->replica_ids + at,
            (node->replica_count - at) * sizeof *node->replica_ids);
    node->replicas[at] = r;
    node->replica_ids[at] = r->id;
    node->replica_count++;
    replica_touch(node, r);
    return DLHT_OK;
}

int replica_new_raft(struct node *node, const struct replica_parts *parts,
                     struct raft **out)
{
    struct raft_config settings = raft_settings(node, parts);
    return raft_new(&settings, &parts->start, out);
}

int replica_new_with(struct node *node, const struct replica_parts *parts,
                     struct replica **out)
{
    *out = NULL;
    struct replica *r = mem_zero(1, sizeof *r);
    if (!r)
        return DLHT_ENOMEM;
    r->id = parts->arc_id;
    r->keyspace = parts->keyspace;
    r->self = parts->self;
    r->empty = parts->arc == NULL;
    if (parts->arc)
        r->arc = arc_copy(parts->arc);
    r->records = parts->records;
    if (!r->records)
        r->records = records_new_with(rng_next(&node->rng), node->config.pages);
    int rc = replica_new_raft(node, parts, &r->raft);
    if (rc == DLHT_OK && ((parts->arc && !r->arc) || !r->records))
        rc = DLHT_ENOMEM;
    if (rc == DLHT_OK && r->arc && volatile_is(node, r->keyspace))
        rc = cache_arc_begin(node, r);
    r->applied = parts->start.snapshot_index;
    r->applied_term = parts->start.snapshot_term;
    r->applied_members = parts->start.members;
    if (rc == DLHT_OK)
        rc = add_to_table(node, r);
    if (rc != DLHT_OK) {
        if (parts->records)
            r->records = NULL; /* still the caller's */
        replica_free(r);
        return rc;
    }
    if (r->cache)
        cache_arc_share(node, r->keyspace);
    *out = r;
    return DLHT_OK;
}

/* The members of a descriptor as raft wants them. */
static struct raft_members members_of(const struct arc *arc)
{
    struct raft_members members = { .count = arc->member_count };
    for (size_t i = 0; i < arc->member_count; i++) {
        members.list[i].id = arc->members[i].replica;
        members.list[i].voter = arc->members[i].voter;
    }
    return members;
}

struct replica_parts replica_founding(const struct node *node,
                                      const struct arc *arc, replica_id self)
{
    struct replica_parts parts = {
        .arc_id = arc->id,
        .keyspace = arc->keyspace,
        .self = self,
        .arc = arc,
        .start = { .snapshot_index = 1,
                   .snapshot_term = 1,
                   .members = members_of(arc),
                   .term = 1,
                   .now_ns = node->now_ns },
    };
    return parts;
}

/* What the record names is of the time when the keyspace was created: of a
 * volatile arc only that life counts, and nobody may have got it since. */
static bool is_past(const struct node *node, const struct arc *arc,
                    const struct arc_member *me)
{
    const struct keyspace *ks = keyspaces_find(node, arc->keyspace);
    if (!ks || !ks->record.is_volatile)
        return false;
    const struct arc *known = map_by_id(ks->map, arc->id);
    return !volatile_is_of(me->replica, volatile_life(node)) ||
           (known && known->generation > arc->generation);
}

int replica_found(struct node *node, const struct arc *arc)
{
    const struct arc_member *me = arc_member_of(arc, &node->self);
    if (!me || node_replica(node, arc->id) || is_past(node, arc, me) ||
        burials_has(node, arc->id, BURIALS_DAMAGED) ||
        burials_has(node, arc->id, me->replica))
        return DLHT_OK;
    if (forgotten_may(node, arc)) {
        int rc = burials_add(node, arc->id, me->replica, true);
        if (rc == DLHT_OK)
            replica_journal_burials(node, arc->id);
        return rc;
    }
    struct replica_parts parts = replica_founding(node, arc, me->replica);
    struct replica *r;
    int rc = replica_new_with(node, &parts, &r);
    if (rc != DLHT_OK)
        return rc;
    struct buf payload = { 0 };
    if (!r->cache) {
        mp_write_uint(&payload, r->self);
        codec_pack_arc(&payload, arc);
        node_journal_buf(node, JOURNAL_FOUND, r->id, 1, 1, &payload);
        buf_deinit(&payload);
    }
    /* One of them stands at once; the others would only get in its way. */
    if (id_equal(&arc->members[0].peer, &node->self))
        raft_campaign(r->raft, node->now_ns);
    replica_notice(node, r);
    return DLHT_OK;
}

int replica_create(struct node *node, arc_id arc, keyspace_id keyspace,
                   replica_id self, arc_id parent, struct replica **out)
{
    *out = NULL;
    if (burials_has(node, arc, self))
        return DLHT_OK;
    bool fresh = parent && node->phase != PHASE_NEW;
    struct replica_parts parts = { .arc_id = arc,
                                   .keyspace = keyspace,
                                   .self = self,
                                   .start = { .now_ns = node->now_ns,
                                              .fresh = fresh } };
    int rc = replica_new_with(node, &parts, out);
    if (rc != DLHT_OK)
        return rc;
    (*out)->parent = parent;
    struct buf payload = { 0 };
    mp_write_uint(&payload, self);
    mp_write_uint(&payload, keyspace);
    if (parent)
        mp_write_uint(&payload, parent);
    node_journal_buf(node, JOURNAL_CREATE, arc, 0, 0, &payload);
    buf_deinit(&payload);
    if (burials_has(node, arc, BURIALS_DAMAGED) && node->fx) {
        /* Somebody leads it: it is learned anew, and what could not be read
         * need not be shown again. */
        node_sync(node);
        struct effect *e = effects_add(node->fx, EFFECT_CHECKPOINT_REMOVE);
        if (e)
            e->u.checkpoint.arc = arc;
    }
    return DLHT_OK;
}

/* Nobody will ask again for it. */
static void end_direct(struct node *node, struct waiter *w)
{
    node_answer_status(node, &w->origin, DLHT_EUNKNOWN,
                       "the owner could not end it; the write may or may not "
                       "take effect");
    *w = (struct waiter){ .index = w->index, .origin.kind = ORIGIN_NONE };
}

static void end_late_ones(struct node *node, struct replica *r)
{
    for (size_t i = 0; i < r->waiter_count; i++) {
        struct waiter *w = &r->waiters[(r->waiter_head + i) % r->waiter_cap];
        if (w->direct && node->now_ns >= w->deadline_ns)
            end_direct(node, w);
        else if (w->direct)
            node_wake_at(node, w->deadline_ns);
    }
}

/* Everybody who waits is told to ask again, but who wrote directly: what was
 * proposed may yet be committed, and the retry carries the same number. */
static void drop_waiting(struct node *node, struct replica *r)
{
    while (r->waiter_count) {
        struct waiter *w = &r->waiters[r->waiter_head];
        if (w->direct)
            end_direct(node, w);
        node_answer_status(node, &w->origin, DLHT_EUNAVAILABLE, NULL);
        r->waiter_head = (r->waiter_head + 1) % r->waiter_cap;
        r->waiter_count--;
    }
    for (size_t i = 0; i < r->read_count; i++) {
        node_answer_status(node, &r->reads[i].origin, DLHT_EUNAVAILABLE, NULL);
        free(r->reads[i].bytes);
    }
    r->read_count = 0;
    for (size_t i = 0; i < r->held_count; i++)
        node_answer_status(node, &r->held[i].origin, DLHT_EUNAVAILABLE, NULL);
    r->held_count = 0;
}

bool replica_has_unbased_child(const struct node *node, const struct replica *r)
{
    for (size_t i = 0; i < node->replica_count; i++)
        if (node->replicas[i]->unbased_parent == r->id)
            return true;
    return false;
}

/* Nothing was committed in it since the split. */
static bool is_open_child(const struct replica *child, const struct replica *of)
{
    if (child == of || child->empty || child->keyspace != of->keyspace ||
        raft_commit(child->raft) > 1 || child->arc->generation < 2)
        return false;
    /* Who its parent was is forgotten with the process. */
    return child->parent == of->id || (child->parent == 0 && of->arc->has_hi &&
                                       span_equal(child->arc->lo, of->arc->hi));
}

bool replica_has_open_child(const struct node *node, const struct replica *r)
{
    for (size_t i = 0; !r->empty && i < node->replica_count; i++)
        if (is_open_child(node->replicas[i], r))
            return true;
    return false;
}

void replica_journal_burials(struct node *node, arc_id arc)
{
    struct buf payload = { 0 };
    size_t from, to;
    burials_of(node, arc, &from, &to);
    for (size_t i = from; i < to; i++) /* the journal may not be open */
        node->tombstones[i].fresh = node->phase == PHASE_NEW;
    burials_pack(node, arc, &payload);
    node_journal_buf(node, JOURNAL_REMOVE, arc, 0, 0, &payload);
    buf_deinit(&payload);
}

static void leave_table(struct node *node, struct replica *r)
{
    for (size_t i = 0; i < node->replica_count; i++) {
        if (node->replicas[i] == r) {
            memmove(node->replicas + i, node->replicas + i + 1,
                    (node->replica_count - i - 1) * sizeof *node->replicas);
            memmove(node->replica_ids + i, node->replica_ids + i + 1,
                    (node->replica_count - i - 1) * sizeof *node->replica_ids);
            node->replica_count--;
            break;
        }
    }
    node_bury(node, r);
}

/* Nothing tells of a volatile one but the map, whose generations grow. */
static void remove_volatile(struct node *node, struct replica *r)
{
    node_log(node, LOG_INFO, "arc %016llx: given up, another peer has it",
             (unsigned long long)r->id);
    drop_waiting(node, r);
    fingers_drop(node, r);
    leave_table(node, r);
    cache_arc_share(node, r->keyspace);
}

void replica_remove(struct node *node, struct replica *r)
{
    if (r->cache) {
        remove_volatile(node, r);
        return;
    }
    /* Without its log a split child could not be made again: the child is
     * checkpointed first. */
    if (node->config.durable && node->fx &&
        replica_has_unbased_child(node, r)) {
        r->doomed = true;
        return;
    }
    node_log(node, LOG_INFO, "arc %016llx: replica %016llx is removed",
             (unsigned long long)r->id, (unsigned long long)r->self);
    int rc = burials_add(node, r->id, r->self, node->phase == PHASE_NEW);
    if (rc == DLHT_EFULL)
        node_log(node, LOG_WARNING,
                 "%u replicas were removed here: no more can be; let this "
                 "peer leave and come back with an empty data directory",
                 (unsigned)BURIALS_MAX);
    node->keyspaces_late = node->keyspaces_late || rc == DLHT_ENOMEM;
    if (rc != DLHT_OK)
        return; /* tried again when the next message says so */
    replica_journal_burials(node, r->id);
    drop_waiting(node, r);
    fingers_drop(node, r);
    checkpoint_run_forget(node, r);
    transfer_drop_incoming(node, r);
    op_merge_drop_run(r);
    if (node->config.durable && node->fx) {
        node_sync(node); /* the burial is on disk before anything goes */
        struct effect *e = effects_add(node->fx, EFFECT_CHECKPOINT_REMOVE);
        if (e)
            e->u.checkpoint.arc = r->id;
        e = effects_add(node->fx, EFFECT_RELEASE);
        if (e) {
            e->u.release.arc = r->id;
            /* The journal keeps the burial, but for an arc that can never be
             * asked for again. */
            e->u.release.index = keyspaces_is_gone(node, r->keyspace)
                                     ? UINT64_MAX
                                     : UINT64_MAX - 1;
        }
    }
    leave_table(node, r);
}

void replica_touch(struct node *node, struct replica *r)
{
    if (r->dirty)
        return;
    if (node->dirty_count == node->dirty_cap) {
        size_t cap = node->dirty_cap ? node->dirty_cap * 2 : 32;
        arc_id *grown = mem_resize(node->dirty, cap, sizeof *grown);
        if (!grown)
            return; /* the next tick looks at all of them */
        node->dirty = grown;
        node->dirty_cap = cap;
    }
    node->dirty[node->dirty_count++] = r->id;
    r->dirty = true;
}

bool replica_leads(const struct replica *r)
{
    return raft_role(r->raft) == RAFT_LEADER;
}

uint64_t replica_key_count(const struct replica *r)
{
    if (r->cache)
        return cache_count(r->cache);
    return r->staging ? records_rank(r->records, r->arc->hi, NULL)
                      : records_count(r->records);
}

uint64_t replica_data_bytes(const struct replica *r)
{
    uint64_t bytes;
    if (r->cache) {
        struct cache_stats stats;
        cache_stats(r->cache, &stats);
        return stats.bytes;
    }
    if (!r->staging)
        return records_data_bytes(r->records);
    records_rank(r->records, r->arc->hi, &bytes);
    return bytes;
}

uint64_t replica_memory_bytes(const struct replica *r)
{
    uint64_t bytes = records_memory_bytes(r->records);
    if (r->cache) {
        struct cache_stats stats;
        cache_stats(r->cache, &stats);
        bytes += stats.memory_bytes;
    }
    if (r->handover)
        bytes += handover_sent_memory_bytes(r->handover);
    return bytes;
}

bool replica_is_own(const struct replica *r, struct span key)
{
    return !r->staging || span_compare(key, r->arc->hi) < 0;
}

static void learn_peer(struct replica *r, replica_id id, const struct id *peer)
{
    for (size_t i = 0; i < r->known_count; i++) {
        if (r->known[i].replica == id) {
            r->known[i].peer = *peer;
            return;
        }
    }
    size_t room = sizeof r->known / sizeof *r->known;
    size_t at =
        r->known_count < room ? r->known_count++ : r->known_next++ % room;
    r->known[at].replica = id;
    r->known[at].peer = *peer;
}

bool replica_peer_of(const struct replica *r, replica_id id, struct id *peer)
{
    for (size_t i = 0; r->arc && i < r->arc->member_count; i++) {
        if (r->arc->members[i].replica == id) {
            *peer = r->arc->members[i].peer;
            return true;
        }
    }
    for (size_t i = 0; i < r->known_count; i++) {
        if (r->known[i].replica == id) {
            *peer = r->known[i].peer;
            return true;
        }
    }
    return false;
}

/* MEMBERS entries that are in the log and not applied name peers too. */
void replica_learn_members(struct replica *r, struct span data)
{
    struct arc_member members[ARC_MEMBERS_MAX];
    size_t count;
    if (!replica_unpack_members(data, members, &count))
        return;
    for (size_t i = 0; i < count; i++)
        learn_peer(r, members[i].replica, &members[i].peer);
}

/* Tells a sender that the replica it writes to is buried here. */
static void say_gone(struct node *node, const struct id *to, arc_id arc,
                     replica_id replica)
{
    struct message m = { .type = MESSAGE_GONE };
    m.u.gone.arc = arc;
    m.u.gone.replica = replica;
    node_send(node, to, &m);
}

/* The copy here that has not been cut yet where the others cut it: of the arc
 * that those say they made. */
static const struct replica *uncut_parent(const struct node *node,
                                          const struct arc *child)
{
    for (size_t i = 0; i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        if (!r->empty && r->keyspace == child->keyspace &&
            r->arc->generation < child->generation &&
            arc_has(r->arc, child->lo) && span_compare(r->arc->lo, child->lo) &&
            (!r->arc->has_hi ||
             (child->has_hi && span_compare(child->hi, r->arc->hi) <= 0)))
            return r;
    }
    return NULL;
}

/* Somebody applied a split and stands for the right child, which is not here:
 * our copy of the parent has not come to it. If that one needs a snapshot, which
 * nobody gives it before a majority has the child, and the others are away, the
 * child has no majority without us. So it is told our vote before it is here:
 * its id came to be with that split, so it cannot have been here before and have
 * promised anything. An index of 1 says that nothing has happened to the child
 * since, so it is of the members that the split names. */
static struct replica *meet_unborn(struct node *node,
                                   const struct raft_envelope *envelope)
{
    const struct raft_message *m = &envelope->message;
    if (m->index != 1 || m->log_term != 1 ||
        (m->type != RAFT_PREVOTE_REQUEST && m->type != RAFT_VOTE_REQUEST) ||
        burials_has(node, envelope->arc, BURIALS_DAMAGED))
        return NULL;
    const struct arc *child = NULL;
    for (size_t i = 0; !child && i < node->keyspace_count; i++)
        child = map_by_id(node->keyspaces[i].map, envelope->arc);
    const struct arc_member *me =
        child ? arc_member_of(child, &node->self) : NULL;
    const struct replica *parent = me && me->replica == m->to && me->voter
                                       ? uncut_parent(node, child)
                                       : NULL;
    struct replica *r;
    if (!parent || replica_create(node, child->id, child->keyspace, m->to,
                                  parent->id, &r) != DLHT_OK)
        return NULL;
    return r;
}

/* A message for an arc or a replica id that is not here. */
static struct replica *meet_unknown(struct node *node, const struct id *from,
                                    const struct raft_envelope *envelope)
{
    const struct raft_message *m = &envelope->message;
    if (burials_has(node, envelope->arc, m->to)) {
        if (m->type == RAFT_APPEND || m->type == RAFT_HEARTBEAT)
            say_gone(node, from, envelope->arc, m->to);
        return NULL;
    }
    struct replica *r = node_replica(node, envelope->arc);
    bool from_leader = m->type == RAFT_APPEND || m->type == RAFT_HEARTBEAT;
    if (r || m->to == 0 || node->replica_count >= NODE_REPLICAS_MAX)
        return NULL;
    if (!from_leader)
        return meet_unborn(node, envelope);
    if (replica_create(node, envelope->arc, 0, m->to, 0, &r) != DLHT_OK)
        return NULL;
    return r;
}

/* A former member that was away still stands for election: tell it. */
static bool tell_former_member(struct node *node, const struct id *from,
                               struct replica *r, const struct raft_message *m)
{
    if (m->type != RAFT_PREVOTE_REQUEST && m->type != RAFT_VOTE_REQUEST)
        return false;
    if (r->empty || m->index > r->applied || raft_is_changing(r->raft))
        return false;
    for (size_t i = 0; i < r->arc->member_count; i++)
        if (r->arc->members[i].replica == m->from)
            return false;
    struct message gone = { .type = MESSAGE_GONE };
    gone.u.gone.arc = r->id;
    gone.u.gone.replica = m->from;
    gone.u.gone.generation = r->arc->generation;
    node_send(node, from, &gone);
    return true;
}

void replica_receive(struct node *node, const struct id *from,
                     const struct raft_envelope *envelope)
{
    const struct raft_message *m = &envelope->message;
    if (disk_full_drops(node, m))
        return;
    struct replica *r = node_replica(node, envelope->arc);
    if (!r || r->self != m->to) {
        r = meet_unknown(node, from, envelope);
        if (!r)
            return;
    }
    if (tell_former_member(node, from, r, m))
        return;
    /* A copy that waits for its first snapshot has no say: it may have had one
     * in a life that it does not remember. Nobody is promoted before it has
     * caught up, so no group waits for such a vote. */
    if (r->empty && !r->parent &&
        (m->type == RAFT_PREVOTE_REQUEST || m->type == RAFT_VOTE_REQUEST))
        return;
    /* Nobody's log begins there. */
    if (r->empty && m->type == RAFT_APPEND && m->index == 0)
        return;
    if (r->empty && m->type == RAFT_HEARTBEAT &&
        m->commit > (r->parent ? 1 : 0)) {
        /* The leader thinks that this id holds something: it did, in a life
         * whose journal was lost. What is made of a parent's log is made again
         * of it. */
        say_gone(node, from, r->id, r->self);
        replica_remove(node, r);
        return;
    }
    r->heard_ns = node->now_ns;
    if (m->type == RAFT_APPEND || m->type == RAFT_HEARTBEAT)
        r->led_by_ns = node->now_ns;
    learn_peer(r, m->from, from);
    for (size_t i = 0; i < m->entry_count; i++)
        if (m->entries[i].type == RAFT_ENTRY_MEMBERS)
            replica_learn_members(r, m->entries[i].data);
    int rc = raft_receive(r->raft, node->now_ns, m);
    if (rc == DLHT_EPROTO)
        node_log(node, LOG_DEBUG, "arc %016llx: a raft message was refused",
                 (unsigned long long)r->id);
    keeper_go_on(node, r);
    replica_touch(node, r);
}

void replica_tick(struct node *node, struct replica *r)
{
    if (r->heard_ns == 0)
        r->heard_ns = r->led_by_ns = node->now_ns;
    if (replica_is_left(node, r)) {
        replica_remove(node, r);
        return;
    }
    if (r->cache) {
        cache_arc_tick(node, r);
        handover_tick(node, r);
    }
    replica_compact(r);
    end_late_ones(node, r);
    if (raft_timeout_ns(r->raft) <= node->now_ns) {
        raft_tick(r->raft, node->now_ns);
        replica_touch(node, r);
    }
    transfer_tick(node, r);
    if (r->held_count)
        replica_touch(node, r);
    if (r->cuts.len)
        replica_cut_next(node, r);
    keeper_go_on(node, r);
    quiet_tick(node, r);
    if (r->doomed)
        replica_remove(node, r);
    else
        op_merge_tick(node, r);
}

/* Notices that this replica began or ceased to lead. */
void replica_follow_role(struct node *node, struct replica *r)
{
    bool leads = replica_leads(r);
    uint64_t term = raft_term(r->raft);
    if (leads && r->led_term != term) {
        drop_waiting(node, r);
        r->led_term = term;
        r->time_base_ms = r->time_ms;
        r->time_base_ns = node->now_ns;
        r->splitting = false;
        r->lost_mask = 0;
        r->changes = 0;
        op_merge_drop_run(r);
        r->merge_told = false;
        r->staged_ns = node->now_ns;
        node_log(node, LOG_DEBUG, "arc %016llx: leads in term %llu",
                 (unsigned long long)r->id, (unsigned long long)term);
    } else if (!leads && r->led_term != 0) {
        r->led_term = 0;
        if (DLHT_MUTANT != 37)
            drop_waiting(node, r);
        transfer_drop_outgoing(r);
        op_merge_drop_run(r);
    }
}

void replica_notice(struct node *node, struct replica *r)
{
    if (r->empty || op_merge_is_closed(r)) {
        fingers_drop(node, r);
        return;
    }
    struct id owner;
    replica_id leader = raft_leader(r->raft);
    bool known = leader && replica_peer_of(r, leader, &owner);
    if (known && raft_term(r->raft) >= r->arc->term) {
        r->arc->term = raft_term(r->raft);
        r->arc->owner = owner;
    }
    gossip_notice_arc(node, r->arc);
    fingers_follow(node, r);
}
