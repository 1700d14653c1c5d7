/* SPDX-License-Identifier: Apache-2.0 */

/* Life of a raft, recovery, what is durable, and the order inside raft_take. */

#include "replica/raft.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "replica/raft_state.h"

enum {
    APPEND_BYTES_DEFAULT = 256 << 10,
    INFLIGHT_BYTES_DEFAULT = 8 << 20,
    PENDING_BYTES_DEFAULT = 64 << 20
};

static bool start_is_sound(const struct raft_config *config,
                           const struct raft_start *start)
{
    if (config->id == 0 || config->election_ns < 5 ||
        config->heartbeat_ns == 0 ||
        config->heartbeat_ns >= config->election_ns ||
        start->term > RAFT_NUMBER_MAX ||
        start->snapshot_index > RAFT_NUMBER_MAX ||
        start->snapshot_term > RAFT_NUMBER_MAX)
        return false;
    if (start->snapshot_index == 0)
        return start->snapshot_term == 0 && start->members.count == 0;
    return start->snapshot_term > 0 && raft_members_are_sound(&start->members);
}

static void fill_defaults(struct raft_config *config)
{
    if (config->append_bytes_max == 0)
        config->append_bytes_max = APPEND_BYTES_DEFAULT;
    if (config->inflight_bytes_max == 0)
        config->inflight_bytes_max = INFLIGHT_BYTES_DEFAULT;
    if (config->pending_bytes_max == 0)
        config->pending_bytes_max = PENDING_BYTES_DEFAULT;
}

/* What recovery knows is on disk already. */
static void mark_durable(struct raft *raft)
{
    raft->handed = raft_end(raft);
    raft->persisted = raft_end(raft);
    raft->durable_term = raft->term;
    raft->durable_vote = raft->vote;
    raft->vote_dirty = false;
}

/* It lived before: whom it heard then is not known any more. */
static void begin_hold(struct raft *raft)
{
    raft->founding = false;
    if (DLHT_MUTANT != 2)
        raft->hold_ns = raft->now_ns + raft->config.election_ns;
}

int raft_new(const struct raft_config *config, const struct raft_start *start,
             struct raft **out)
{
    *out = NULL;
    if (!start_is_sound(config, start))
        return DLHT_EINVAL;
    struct raft *raft = mem_zero(1, sizeof *raft);
    if (!raft)
        return DLHT_ENOMEM;
    raft->config = *config;
    fill_defaults(&raft->config);
    rng_init(&raft->rng, config->seed ^ config->id);
    raft->now_ns = start->now_ns;
    raft->term = start->term;
    raft->vote = start->vote;
    if (raft->term < start->snapshot_term) {
        raft->term = start->snapshot_term;
        raft->vote = 0;
    }
    raft_log_init(&raft->log, start->snapshot_index, start->snapshot_term);
    raft->commit = start->snapshot_index;
    raft->matched = raft->commit;
    raft->base_members = start->members;
    raft_members_rescan(raft);
    mark_durable(raft);
    raft->founding =
        start->snapshot_index == 1 && raft->term == 1 && raft->vote == 0;
    if (!raft->founding && !start->fresh)
        begin_hold(raft);
    raft_election_arm(raft);
    *out = raft;
    return DLHT_OK;
}

void raft_free(struct raft *raft)
{
    if (!raft)
        return;
    raft_log_deinit(&raft->log);
    free(raft->reads);
    free(raft->queue.list);
    free(raft->out.list);
    free(raft);
}

static bool restored_is_sound(const struct raft_entry *entry)
{
    if (entry->term == 0 || entry->term > RAFT_NUMBER_MAX ||
        entry->index > RAFT_NUMBER_MAX || entry->data.len > RAFT_ENTRY_MAX)
        return false;
    if (entry->type == RAFT_ENTRY_MEMBERS)
        return entry->members && raft_members_are_sound(entry->members);
    return entry->type == RAFT_ENTRY_NOOP || entry->type == RAFT_ENTRY_DATA;
}

int raft_restore_entry(struct raft *raft, const struct raft_entry *entry)
{
    if (!restored_is_sound(entry))
        return DLHT_ECORRUPT;
    uint64_t base = raft->log.base_index;
    if (entry->index <= base) {
        begin_hold(raft);
        /* Behind the snapshot; but what was written before it and is held is
         * replaced by it. */
        raft_log_reset(&raft->log, base, raft->log.base_term);
        raft_members_rescan(raft);
        return DLHT_OK;
    }
    if (entry->term < raft->log.base_term)
        return DLHT_OK; /* left over from before the snapshot came */
    if (entry->index > raft_end(raft) + 1 ||
        entry->term < raft_log_term(&raft->log, entry->index - 1))
        return DLHT_ECORRUPT;
    int rc = raft_log_replace(&raft->log, entry->index, entry, 1);
    if (rc != DLHT_OK)
        return rc;
    begin_hold(raft);
    if (entry->term > raft->term) {
        raft->term = entry->term;
        raft->vote = 0;
    }
    raft_forget_tail(raft, entry->index);
    if (entry->type == RAFT_ENTRY_MEMBERS)
        raft_members_enter(raft, entry->members, entry->index);
    mark_durable(raft);
    return DLHT_OK;
}

void raft_start(struct raft *raft, uint64_t now_ns)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    begin_hold(raft);
    raft_election_arm(raft);
}

void raft_restore_commit(struct raft *raft, uint64_t index)
{
    if (index > raft_end(raft))
        index = raft_end(raft);
    if (index > raft->commit)
        raft->commit = index;
    raft->matched = raft->commit;
}

void raft_restore_vote(struct raft *raft, uint64_t term, replica_id vote)
{
    if (term < raft->term || term > RAFT_NUMBER_MAX)
        return;
    begin_hold(raft);
    if (DLHT_MUTANT == 2)
        vote = 0;
    if (term > raft->term || vote != 0)
        raft->vote = vote;
    raft->term = term;
    mark_durable(raft);
}

struct raft_message *raft_queue_add(struct raft *raft, uint8_t type,
                                    replica_id to)
{
    struct raft_queue *queue = &raft->queue;
    if (queue->count == queue->cap) {
        size_t cap = queue->cap ? queue->cap * 2 : 8;
        if (cap > RAFT_QUEUE_MAX)
            return NULL;
        struct raft_message *list = mem_resize(queue->list, cap, sizeof *list);
        if (!list)
            return NULL;
        queue->list = list;
        queue->cap = cap;
    }
    struct raft_message *m = &queue->list[queue->count++];
    *m = (struct raft_message){
        .type = type, .from = raft->config.id, .to = to, .term = raft->term
    };
    return m;
}

uint64_t raft_stamp_next(struct raft *raft)
{
    raft->last_stamp =
        raft->now_ns > raft->last_stamp ? raft->now_ns : raft->last_stamp + 1;
    return raft->last_stamp;
}

void raft_settle(struct raft *raft)
{
    if (raft->config.memory)
        mark_durable(raft);
    raft_election_settle(raft);
    if (raft->config.memory)
        mark_durable(raft); /* a new leader's first entry */
    raft_append_commit(raft);
    if (raft->role == RAFT_LEADER)
        raft_read_confirm(raft);
}

void raft_forget_tail(struct raft *raft, uint64_t from)
{
    assert(from > raft->log.base_index);
    uint64_t keep = from - 1;
    if (raft->handed > keep)
        raft->handed = keep;
    if (raft->persisted > keep)
        raft->persisted = keep;
    for (size_t i = 0; i < raft->record_count; i++)
        if (raft->records[i].last > keep)
            raft->records[i].last = keep;
    if (raft->members_index > keep)
        raft_members_rescan(raft);
}

void raft_tick(struct raft *raft, uint64_t now_ns)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    if (raft->role == RAFT_LEADER)
        raft_append_tick(raft);
    else
        raft_election_tick(raft);
    raft_settle(raft);
}

/* Numbers that can be added to, and parts that belong to the type. */
static bool message_is_sound(const struct raft *raft,
                             const struct raft_message *m)
{
    if (m->to != raft->config.id || m->from == 0 ||
        m->from == raft->config.id || m->type < RAFT_PREVOTE_REQUEST ||
        m->type > RAFT_TIMEOUT_NOW)
        return false;
    if (m->term == 0 || m->term > RAFT_NUMBER_MAX ||
        m->index > RAFT_NUMBER_MAX || m->log_term > RAFT_NUMBER_MAX ||
        m->hint > RAFT_NUMBER_MAX)
        return false;
    if (m->entry_count == 0)
        return true;
    return m->type == RAFT_APPEND && m->entries &&
           m->entry_count <= RAFT_APPEND_ENTRIES_MAX;
}

static int dispatch(struct raft *raft, const struct raft_message *m)
{
    switch ((enum raft_message_type)m->type) {
    case RAFT_APPEND:
        return raft_follow_append(raft, m);
    case RAFT_HEARTBEAT:
        return raft_follow_heartbeat(raft, m);
    case RAFT_APPEND_REPLY:
        return raft_append_reply(raft, m);
    case RAFT_HEARTBEAT_REPLY:
        return raft_append_heartbeat_reply(raft, m);
    case RAFT_PREVOTE_REQUEST:
    case RAFT_PREVOTE_REPLY:
    case RAFT_VOTE_REQUEST:
    case RAFT_VOTE_REPLY:
    case RAFT_TIMEOUT_NOW:
        return raft_election_receive(raft, m);
    }
    return DLHT_EPROTO;
}

int raft_receive(struct raft *raft, uint64_t now_ns,
                 const struct raft_message *message)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    if (!message_is_sound(raft, message))
        return DLHT_EPROTO;
    int rc = dispatch(raft, message);
    if (rc == DLHT_OK)
        raft_settle(raft);
    return rc;
}

void raft_persisted(struct raft *raft, uint64_t now_ns, uint64_t number)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    size_t n = 0;
    while (n < raft->record_count && raft->records[n].number <= number) {
        const struct raft_record *record = &raft->records[n++];
        if (record->last > raft->persisted)
            raft->persisted = record->last;
        raft->durable_term = record->term;
        raft->durable_vote = record->vote;
    }
    raft->record_count -= n;
    memmove(raft->records, raft->records + n,
            raft->record_count * sizeof raft->records[0]);
    assert(raft->persisted <= raft->handed);
    raft_settle(raft);
}

void raft_compact(struct raft *raft, uint64_t index)
{
    if (index > raft->commit)
        index = raft->commit;
    if (index > raft->persisted)
        index = raft->persisted;
    if (index <= raft->log.base_index)
        return;
    if (raft->members_index <= index) {
        raft->base_members = raft->members;
    } else {
        for (uint64_t i = raft->log.base_index + 1; i <= index; i++) {
            const struct raft_entry *entry = raft_log_at(&raft->log, i);
            if (entry->type == RAFT_ENTRY_MEMBERS)
                raft->base_members = *entry->members;
        }
    }
    raft_log_drop_front(&raft->log, index);
}

static void take_persist(struct raft *raft, struct raft_output *out)
{
    uint64_t last = raft_end(raft);
    out->term = raft->term;
    out->vote = raft->vote;
    if (!raft->vote_dirty && raft->handed >= last)
        return;
    out->number = ++raft->number;
    out->vote_changed = raft->vote_dirty;
    if (raft->handed < last) {
        out->entries = raft_log_at(&raft->log, raft->handed + 1);
        out->entry_count = (size_t)(last - raft->handed);
    }
    raft->handed = last;
    raft->vote_dirty = false;
    if (raft->record_count == RAFT_RECORDS_MAX)
        raft->record_count--; /* the newest two become durable together */
    raft->records[raft->record_count++] =
        (struct raft_record){ .number = out->number,
                              .last = last,
                              .term = raft->term,
                              .vote = raft->vote };
}

void raft_take(struct raft *raft, uint64_t now_ns, struct raft_output *out)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
    out->number = 0;
    out->vote_changed = false;
    out->entries = NULL;
    out->entry_count = 0;
    out->snapshot_count = 0;
    take_persist(raft, out);
    if (raft->role == RAFT_LEADER)
        raft_append_send(raft, out);
    else
        raft_follow_send(raft);
    raft_read_output(raft, out);
    struct raft_queue sent = raft->queue;
    raft->queue = raft->out;
    raft->queue.count = 0;
    raft->out = sent;
    out->messages = sent.list;
    out->message_count = sent.count;
}

enum raft_role raft_role(const struct raft *raft)
{
    return raft->role;
}

uint64_t raft_term(const struct raft *raft)
{
    return raft->term;
}

replica_id raft_leader(const struct raft *raft)
{
    return raft->leader;
}

uint64_t raft_commit(const struct raft *raft)
{
    return raft->commit;
}

uint64_t raft_first_index(const struct raft *raft)
{
    return raft->log.base_index + 1;
}

uint64_t raft_last_index(const struct raft *raft)
{
    return raft_end(raft);
}

uint64_t raft_all_have(const struct raft *raft)
{
    uint64_t least = raft->role == RAFT_LEADER ? raft->persisted : 0;
    for (size_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->id != raft->config.id && peer->match < least)
            least = peer->match;
    }
    return least;
}

size_t raft_log_bytes(const struct raft *raft)
{
    return raft_log_bytes_between(&raft->log, 0, raft_end(raft));
}

bool raft_is_quiet(const struct raft *raft)
{
    return raft->quiet;
}

const struct raft_members *raft_members(const struct raft *raft)
{
    return &raft->members;
}

bool raft_is_changing(const struct raft *raft)
{
    return raft->members_index > raft->commit;
}

const struct raft_entry *raft_entry_at(const struct raft *raft, uint64_t index)
{
    return raft_log_at(&raft->log, index);
}

uint64_t raft_term_at(const struct raft *raft, uint64_t index)
{
    return raft_log_term(&raft->log, index);
}
