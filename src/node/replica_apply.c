/* SPDX-License-Identifier: Apache-2.0 */

/* What a committed entry does to an arc: alike on every replica. Nothing here
 * may depend on this peer, its clock or its chance. */

#include <assert.h>
#include <string.h>

#include "base/mutant.h"
#include "dlht/err.h"
#include "node/burials.h"
#include "node/cache_arc.h"
#include "node/collections.h"
#include "node/gossip.h"
#include "node/journal_types.h"
#include "node/keyspaces.h"
#include "node/models.h"
#include "node/op.h"
#include "node/op_merge.h"
#include "node/replica.h"
#include "node/transfer.h"
#include "wire/cas_item.h"
#include "wire/codec.h"
#include "wire/mp.h"

void replica_pack_members(struct buf *out, const struct arc_member *members,
                          size_t count)
{
    mp_write_array(out, count);
    for (size_t i = 0; i < count; i++) {
        mp_write_array(out, 3);
        mp_write_uint(out, members[i].replica);
        mp_write_bin(out, span_of(members[i].peer.bytes, ID_BYTES));
        mp_write_bool(out, members[i].voter);
    }
}

bool replica_unpack_members(struct span data,
                            struct arc_member members[ARC_MEMBERS_MAX],
                            size_t *count)
{
    struct mp_reader r;
    mp_reader_init(&r, data);
    *count = mp_read_array(&r);
    if (*count > ARC_MEMBERS_MAX)
        return false;
    for (size_t i = 0; i < *count; i++) {
        if (mp_read_array(&r) != 3)
            return false;
        members[i].replica = mp_read_uint(&r);
        mp_read_fixed(&r, members[i].peer.bytes, ID_BYTES);
        members[i].voter = mp_read_bool(&r);
    }
    return !r.bad;
}

/* One put into the records under the next version. */
static int store(struct replica *r, struct span key, struct span value,
                 struct session_result *result)
{
    struct record record = { key, value, r->counter + 1 };
    int rc = records_put(r->records, &record);
    if (rc != DLHT_OK)
        return rc;
    r->counter++;
    result->version = r->counter;
    op_merge_touched(r, key);
    collections_changed(r, key);
    return DLHT_OK;
}

static int apply_cas(struct replica *r, const struct command *c,
                     struct session_result *result)
{
    struct record now;
    uint64_t version = records_get(r->records, c->key, &now) ? now.version : 0;
    if (version != c->version) {
        result->status = DLHT_EMISMATCH;
        result->version = version;
        return DLHT_OK;
    }
    return store(r, c->key, c->value, result);
}

static int apply_del(struct replica *r, const struct command *c,
                     struct session_result *result)
{
    bool removed;
    int rc = records_remove(r->records, c->key, &removed);
    if (rc != DLHT_OK)
        return rc;
    if (removed) {
        result->version = ++r->counter;
        op_merge_touched(r, c->key);
        collections_changed(r, c->key);
    } else {
        result->status = DLHT_ENOTFOUND;
    }
    return DLHT_OK;
}

/* All keys of a batch are inside, or none is stored; but for those that an
 * earlier attempt stored. A batch that memory cut short is begun again from its
 * start: puts may be repeated, they only count versions up. To keep replicas
 * alike the counter then starts where it was. */
static int apply_batch(struct replica *r, const struct command *c,
                       struct session_result *result)
{
    uint64_t counter = r->counter;
    struct session_result piece;
    bool again = sessions_look(&r->sessions, &c->session, c->number, r->time_ms,
                               &piece) == SESSION_KNOWN;
    struct mp_reader reader;
    mp_reader_init(&reader, c->list);
    for (uint32_t i = 0; i < c->list_count; i += 2) {
        struct span key = mp_read_bytes(&reader);
        struct span value = mp_read_bytes(&reader);
        if (again && DLHT_MUTANT != 28 &&
            sessions_has_record(&r->sessions, &c->session, c->number,
                                c->rank + i / 2))
            continue;
        int rc = store(r, key, value, result);
        if (rc != DLHT_OK) {
            r->counter = counter;
            return rc;
        }
    }
    result->count = c->list_count / 2;
    return DLHT_OK;
}

/* Whether all records are as the batch expects them. */
static bool meets_conditions(const struct replica *r, const struct command *c,
                             struct session_result *result)
{
    struct mp_reader reader;
    mp_reader_init(&reader, c->list);
    for (uint32_t i = 0; i < c->list_count; i += CAS_ITEM_BINS) {
        struct cas_item item = cas_item_read(&reader);
        struct record now;
        uint64_t version =
            records_get(r->records, item.key, &now) ? now.version : 0;
        if (item.any_version || item.version == version)
            continue;
        result->status = DLHT_EMISMATCH;
        result->version = version;
        result->count = i / CAS_ITEM_BINS;
        return false;
    }
    return true;
}

/* All or nothing. Where memory ran out it is gone on with later, and nobody
 * reads the arc before that. */
static int apply_cas_batch(struct replica *r, const struct command *c,
                           struct session_result *result)
{
    if (r->cas_done == 0 && !meets_conditions(r, c, result))
        return DLHT_OK;
    struct mp_reader reader;
    mp_reader_init(&reader, c->list);
    uint32_t count = c->list_count / CAS_ITEM_BINS;
    for (uint32_t i = 0; i < count; i++) {
        struct cas_item item = cas_item_read(&reader);
        if (i < r->cas_done || item.check)
            continue;
        struct session_result one = { 0 };
        struct command del = { .key = item.key };
        int rc = item.remove ? apply_del(r, &del, &one)
                             : store(r, item.key, item.value, &one);
        if (rc != DLHT_OK) {
            r->cas_done = i;
            return rc;
        }
    }
    r->cas_done = 0;
    result->version = r->counter;
    result->count = count;
    return DLHT_OK;
}

/* The fence: what was proposed under old bounds is not done. */
bool replica_holds(const struct replica *r, const struct command *c)
{
    if (DLHT_MUTANT == 12)
        return true;
    uint32_t each = c->kind == COMMAND_BATCH       ? 2
                    : c->kind == COMMAND_CAS_BATCH ? CAS_ITEM_BINS
                                                   : 0;
    if (each == 0)
        return arc_has(r->arc, c->key);
    struct mp_reader reader;
    mp_reader_init(&reader, c->list);
    for (uint32_t i = 0; i < c->list_count; i++) {
        struct span bytes = mp_read_bytes(&reader);
        if (i % each == 0 && !arc_has(r->arc, bytes))
            return false;
    }
    return true;
}

static int run_command(struct replica *r, const struct command *c,
                       struct session_result *result)
{
    if (!replica_holds(r, c)) {
        result->status = DLHT_ENOTOWNER;
        return DLHT_OK;
    }
    if (r->cache)
        return cache_arc_run(r, c, result);
    switch (c->kind) {
    case COMMAND_PUT:
        return store(r, c->key, c->value, result);
    case COMMAND_DEL:
        return apply_del(r, c, result);
    case COMMAND_CAS:
        return apply_cas(r, c, result);
    case COMMAND_CAS_BATCH:
        return apply_cas_batch(r, c, result);
    default:
        return apply_batch(r, c, result);
    }
}

/* What is kept of an outcome: of a batch, which of its records are stored. */
static void note_result(struct replica *r, const struct command *c,
                        const struct session_result *result)
{
    struct session_result note = *result;
    if (c->kind == COMMAND_BATCH)
        note.version = c->rank;
    sessions_note(&r->sessions, &c->session, c->lowest_open, r->time_ms, &note);
}

static int apply_write(struct replica *r, const struct command *c,
                       struct session_result *result)
{
    bool in_session = !id_is_zero(&c->session);
    /* A batch may be cut otherwise when it is repeated: that this arc knows its
     * number says nothing of keys that it does not hold. */
    if (c->kind == COMMAND_BATCH && !replica_holds(r, c)) {
        result->status = DLHT_ENOTOWNER;
        return DLHT_OK;
    }
    /* Certainly not done, and not remembered: the arc that this one becomes a
     * part of may do it under the same number. */
    if (op_merge_refuses(r)) {
        result->status = DLHT_EBUSY;
        return DLHT_OK;
    }
    if (in_session) {
        struct session_result known;
        switch (sessions_look(&r->sessions, &c->session, c->number, r->time_ms,
                              &known)) {
        case SESSION_KNOWN:
            if (c->kind == COMMAND_BATCH || DLHT_MUTANT == 22)
                break; /* that piece of it, or another */
            *result = known;
            return DLHT_OK;
        case SESSION_PAST:
            if (DLHT_MUTANT == 39)
                break;
            result->status = DLHT_ESTALE;
            return DLHT_OK;
        case SESSION_NEW:
            break;
        }
        int rc = sessions_reserve(&r->sessions, &c->session, r->time_ms);
        if (rc == DLHT_EFULL) {
            result->status = DLHT_EBUSY;
            return DLHT_OK;
        }
        if (rc != DLHT_OK)
            return rc;
    }
    result->number = c->number;
    int rc = run_command(r, c, result);
    /* What was not done for a wrong arc may be done by the right one under the
     * same number, so it is not remembered. */
    if (rc == DLHT_OK && in_session && result->status != DLHT_ENOTOWNER)
        note_result(r, c, result);
    return rc;
}

void replica_wrote(struct replica *r, uint64_t now_ms, uint64_t count_before)
{
    uint64_t count = replica_key_count(r);
    if (now_ms > r->time_ms)
        r->time_ms = now_ms;
    r->changes +=
        count > count_before ? count - count_before : count_before - count;
}

int replica_write_now(struct replica *r, const struct command *c,
                      struct session_result *result)
{
    assert(r->cache);
    if (c->now_ms > r->time_ms)
        r->time_ms = c->now_ms;
    uint64_t before = replica_key_count(r);
    int rc = apply_write(r, c, result);
    replica_wrote(r, c->now_ms, before);
    return rc;
}

/* The right child's descriptor, or false: this node does not keep it. */
static bool right_descriptor(const struct replica *r, const struct command *c,
                             struct arc *right)
{
    *right = *r->arc;
    right->id = c->right;
    right->lo = c->key;
    right->generation = r->arc->generation + 1;
    right->term = 0;
    memset(&right->owner, 0, sizeof right->owner);
    for (size_t i = 0; i < right->member_count; i++)
        right->members[i].replica = c->right_replicas[i];
    return c->right_count == right->member_count;
}

/* A copy that waits for the child's leader, and may have voted for it, becomes
 * what the parts say: nobody else may have it. */
static int fill_empty(struct node *node, struct replica *r,
                      const struct replica_parts *parts)
{
    struct arc *arc = arc_copy(parts->arc);
    int rc =
        arc ? raft_install(r->raft, node->now_ns, parts->start.snapshot_index,
                           parts->start.snapshot_term, &parts->start.members)
            : DLHT_ENOMEM;
    if (rc != DLHT_OK) {
        arc_free(arc);
        return rc;
    }
    records_free(r->records);
    r->records = parts->records;
    r->arc = arc;
    r->keyspace = parts->keyspace;
    r->empty = false;
    r->applied = parts->start.snapshot_index;
    r->applied_term = parts->start.snapshot_term;
    r->applied_members = parts->start.members;
    collections_replaced(r);
    return DLHT_OK;
}

/* Makes the right child from the records that were split off; they are freed
 * and *out stays NULL if it is here already (by a snapshot, with records of its
 * own), or buried. */
static int make_right(struct node *node, struct replica *r,
                      const struct arc *right, replica_id self,
                      struct records *records, struct replica **out)
{
    struct replica *made = node_replica(node, right->id);
    bool waits = made && made->empty && made->self == self;
    if (self == 0 || (made && !waits) ||
        burials_has(node, right->id, BURIALS_DAMAGED) ||
        burials_has(node, right->id, self)) {
        records_free(records);
        return DLHT_OK;
    }
    struct replica_parts parts = replica_founding(node, right, self);
    parts.records = records;
    struct sessions sessions = { 0 };
    int rc = sessions_copy(&r->sessions, &sessions);
    if (DLHT_MUTANT == 17)
        sessions_deinit(&sessions);
    if (rc == DLHT_OK)
        rc = waits ? fill_empty(node, made, &parts)
                   : replica_new_with(node, &parts, &made);
    if (rc != DLHT_OK) {
        sessions_deinit(&sessions);
        return rc;
    }
    made->parent = r->id;
    made->sessions = sessions;
    made->counter = DLHT_MUTANT == 20 ? 0 : r->counter;
    made->time_ms = r->time_ms;
    made->unbased_parent = r->id;
    if (replica_leads(r)) {
        raft_campaign(made->raft, node->now_ns);
        raft_announce(r->raft); /* the others make the child at once, too */
        replica_touch(node, r);
    }
    replica_notice(node, made);
    *out = made;
    return DLHT_OK;
}

static int apply_split(struct node *node, struct replica *r,
                       const struct command *c, uint64_t index)
{
    struct arc right;
    if (!arc_has(r->arc, c->key) || span_equal(c->key, r->arc->lo) ||
        op_merge_forbids_change(r) || !right_descriptor(r, c, &right)) {
        r->splitting = false;
        return DLHT_OK; /* void, alike everywhere */
    }
    struct arc left = *r->arc;
    left.hi = c->key;
    left.has_hi = true;
    left.generation++;
    struct arc *left_copy = arc_copy(&left);
    if (!left_copy)
        return DLHT_ENOMEM;
    replica_id self = 0;
    for (size_t i = 0; i < r->arc->member_count; i++)
        if (r->arc->members[i].replica == r->self)
            self = c->right_replicas[i];
    transfer_drop_views(node, r);
    struct records *split_off;
    int rc = records_split(r->records, c->key, node->config.seed ^ right.id,
                           &split_off);
    if (rc != DLHT_OK) {
        arc_free(left_copy);
        return rc;
    }
    if (DLHT_MUTANT != 24)
        node_journal(node, JOURNAL_COMMIT, r->id, raft_term_at(r->raft, index),
                     index, span_empty());
    struct replica *made = NULL;
    rc = make_right(node, r, &right, self, split_off, &made);
    if (rc != DLHT_OK) {
        /* Put back what was split off: the entry is applied again later. */
        struct records_cursor at;
        bool more = records_seek(split_off, span_empty(), &at);
        while (more) {
            struct record record = records_at(&at);
            if (records_put(r->records, &record) != DLHT_OK)
                node->failed = true;
            more = records_next(&at);
        }
        records_free(split_off);
        arc_free(left_copy);
        return rc;
    }
    arc_free(r->arc);
    r->arc = left_copy;
    r->splitting = false;
    collections_split(node, r, made);
    gossip_notice_arc(node, r->arc);
    return DLHT_OK;
}

static int apply_data(struct node *node, struct replica *r,
                      const struct raft_entry *entry,
                      struct session_result *result)
{
    struct command c;
    if (command_unpack(entry->data, &c) != DLHT_OK) {
        node_log(node, LOG_ERROR, "arc %016llx: entry %llu is not understood",
                 (unsigned long long)r->id, (unsigned long long)entry->index);
        return DLHT_OK; /* void, alike everywhere */
    }
    if (c.now_ms > r->time_ms)
        r->time_ms = c.now_ms;
    if (c.kind == COMMAND_SPLIT)
        return apply_split(node, r, &c, entry->index);
    if (c.kind == COMMAND_MERGE)
        return op_merge_apply(node, r, c.value, result);
    uint64_t before = records_count(r->records);
    int rc = apply_write(r, &c, result);
    uint64_t after = records_count(r->records);
    r->changes += after > before ? after - before : before - after;
    if (rc == DLHT_OK && r->keyspace == SYSTEM_KEYSPACE) {
        keyspaces_applied(node, &c, result);
        models_applied(node, &c, result);
    }
    return rc;
}

static int apply_members(struct node *node, struct replica *r,
                         const struct raft_entry *entry)
{
    struct arc_member members[ARC_MEMBERS_MAX];
    size_t count;
    if (!replica_unpack_members(entry->data, members, &count))
        return DLHT_OK;
    int rc = op_merge_unstage(node, r);
    if (rc != DLHT_OK)
        return rc;
    if (replica_leads(r))
        transfer_say_gone(node, r, members, count);
    memcpy(r->arc->members, members, count * sizeof *members);
    r->arc->member_count = count;
    r->arc->generation++;
    r->applied_members = *entry->members;
    r->lost_mask = 0;
    gossip_notice_arc(node, r->arc);
    return DLHT_OK;
}

static int apply_entry(struct node *node, struct replica *r,
                       const struct raft_entry *entry,
                       struct session_result *result)
{
    switch (entry->type) {
    case RAFT_ENTRY_DATA:
        return apply_data(node, r, entry, result);
    case RAFT_ENTRY_MEMBERS:
        return apply_members(node, r, entry);
    default:
        return DLHT_OK;
    }
}

/* What the arc would not do, for it was cut or merged meanwhile, is carried to
 * whoever does. */
static bool begin_again(struct node *node, const struct replica *r,
                        const struct waiter *w, struct span data)
{
    struct command c;
    if (command_unpack(data, &c) != DLHT_OK)
        return false;
    struct request q = { .op = c.kind == COMMAND_PUT   ? OP_PUT
                               : c.kind == COMMAND_DEL ? OP_DEL
                                                       : OP_CAS,
                         .keyspace = r->keyspace,
                         .session = c.session,
                         .number = c.number,
                         .lowest_open = c.lowest_open,
                         .key = c.key,
                         .value = c.value,
                         .version = c.version };
    struct pending_target target = { .origin = w->origin, .later = true };
    return pending_begin(node, &q, w->deadline_ns, &target) == DLHT_OK;
}

static void answer_direct(struct node *node, const struct replica *r,
                          const struct waiter *w, struct span data,
                          const struct session_result *result)
{
    if (result->status != DLHT_ENOTOWNER && result->status != DLHT_EBUSY) {
        latency_note(&node->latency, node->now_ns, node->now_ns - w->begun_ns);
        op_answer_result(node, r, &w->origin, result);
    } else if (!begin_again(node, r, w, data)) {
        node_answer_status(node, &w->origin, DLHT_EBUSY, NULL);
    }
}

/* Answers who proposed the entry, if it was proposed here. */
static void answer_waiter(struct node *node, struct replica *r,
                          const struct raft_entry *entry,
                          const struct session_result *result)
{
    uint64_t index = entry->index;
    if (r->waiter_count == 0 || r->waiters[r->waiter_head].index != index)
        return;
    struct waiter w = r->waiters[r->waiter_head];
    r->waiter_head = (r->waiter_head + 1) % r->waiter_cap;
    r->waiter_count--;
    if (w.direct) {
        answer_direct(node, r, &w, entry->data, result);
        return;
    }
    if (w.all && op_hold_result(node, r, index, &w.origin, result))
        return;
    op_answer_result(node, r, &w.origin, result);
}

void replica_apply(struct node *node, struct replica *r)
{
    if (r->empty)
        return;
    uint64_t commit = raft_commit(r->raft);
    bool removed = false;
    while (r->applied < commit) {
        const struct raft_entry *entry = raft_entry_at(r->raft, r->applied + 1);
        assert(entry);
        struct session_result result = { 0 };
        if (apply_entry(node, r, entry, &result) != DLHT_OK) {
            replica_touch(node, r); /* no memory now: again later */
            r->half_applied = true;
            return;
        }
        r->half_applied = false;
        r->applied++;
        r->applied_term = entry->term;
        answer_waiter(node, r, entry, &result);
        if (entry->type == RAFT_ENTRY_MEMBERS) {
            removed = true;
            for (size_t i = 0; i < entry->members->count; i++)
                if (entry->members->list[i].id == r->self)
                    removed = false;
        }
    }
    if (removed && !replica_leads(r) && !r->recovering)
        replica_remove(node, r);
}
