/* SPDX-License-Identifier: Apache-2.0 */

/* From checkpoints and journal back to replicas. The journal is replayed in
 * the order it was written, so a split that was applied is applied again
 * (JOURNAL_COMMIT) before the first record of its right child comes. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/burials.h"
#include "node/forgotten.h"
#include "node/journal_types.h"
#include "node/recover.h"
#include "node/replica.h"
#include "node/transfer.h"
#include "wire/codec.h"
#include "wire/mp.h"

/* Starts of a node; the ring's peers take no greater number. */
static const uint64_t RESTORE_STARTS_MAX = UINT64_MAX / 4;

/* What a group cannot be made of was not written by this program. */
static int as_damage(int rc)
{
    return rc == DLHT_EINVAL ? DLHT_ECORRUPT : rc;
}

int node_restore_header(struct node *node, arc_id arc, uint64_t number,
                        struct span bytes, struct records **into)
{
    *into = NULL;
    struct arc_state state;
    int rc = arc_state_unpack(bytes, &state);
    if (rc != DLHT_OK)
        return rc;
    if (state.arc->id != arc || node_replica(node, arc)) {
        arc_state_deinit(&state);
        return DLHT_ECORRUPT;
    }
    struct replica_parts parts = {
        .arc_id = arc,
        .keyspace = state.arc->keyspace,
        .self = state.self,
        .arc = state.arc,
        .start = { .snapshot_index = state.index,
                   .snapshot_term = state.term,
                   .members = state.members,
                   .term = state.term,
                   .now_ns = node->now_ns },
    };
    struct replica *r;
    rc = as_damage(replica_new_with(node, &parts, &r));
    if (rc == DLHT_OK) {
        r->counter = state.counter;
        r->time_ms = state.time_ms;
        r->sessions = state.sessions;
        memset(&state.sessions, 0, sizeof state.sessions);
        r->merge = state.merge;
        memset(&state.merge, 0, sizeof state.merge);
        r->checkpoint_number = number;
        r->checkpoint_index = r->checkpoint_index_before = state.index;
        r->vote_term = state.term;
        *into = r->records;
    }
    arc_state_deinit(&state);
    return rc;
}

int node_restore_block(struct records *into, struct span bytes)
{
    return arc_block_unpack(bytes, into);
}

int node_restore_checkpoint(struct node *node, arc_id arc, uint64_t number,
                            bool first, struct span bytes)
{
    struct records *into;
    if (first)
        return node_restore_header(node, arc, number, bytes, &into);
    const struct replica *r = node_replica(node, arc);
    return r ? node_restore_block(r->records, bytes) : DLHT_ECORRUPT;
}

void node_restore_older(struct node *node, arc_id arc)
{
    struct replica *r = node_replica(node, arc);
    if (r)
        r->restore_older = DLHT_MUTANT != 26;
}

/* The log so far is void: what counts is the checkpoint, and the vote. */
static int restart_log(struct node *node, struct replica *r)
{
    struct replica_parts parts = {
        .arc_id = r->id,
        .keyspace = r->keyspace,
        .self = r->self,
        .arc = r->arc,
        .records = r->records,
        .start = { .snapshot_index = r->checkpoint_index,
                   .snapshot_term = r->applied_term,
                   .members = r->applied_members,
                   .term = r->vote_term,
                   .vote = r->vote,
                   .now_ns = node->now_ns },
    };
    struct raft *fresh;
    int rc = replica_new_raft(node, &parts, &fresh);
    if (rc != DLHT_OK)
        return rc;
    raft_free(r->raft);
    r->raft = fresh;
    r->restore_gap = false;
    return DLHT_OK;
}

static int restore_entry(struct node *node, struct replica *r,
                         const struct journal_record *record)
{
    (void)node;
    if (r->empty || record->index <= r->applied || r->restore_gap)
        return DLHT_OK;
    struct mp_reader reader;
    mp_reader_init(&reader, record->payload);
    struct raft_entry entry = { .term = record->term, .index = record->index };
    entry.type = (uint8_t)mp_read_uint(&reader);
    struct raft_members members;
    if (entry.type == RAFT_ENTRY_MEMBERS) {
        codec_unpack_members(&reader, &members);
        entry.members = &members;
    }
    entry.data = mp_read_bytes(&reader);
    if (reader.bad)
        return DLHT_ECORRUPT;
    if (entry.term < r->applied_term)
        return DLHT_OK; /* of a log that a snapshot replaced */
    if (entry.type == RAFT_ENTRY_MEMBERS)
        replica_learn_members(r, entry.data);
    int rc = raft_restore_entry(r->raft, &entry);
    if (rc == DLHT_OK && record->index == r->checkpoint_index + 1)
        r->restore_older = false; /* nor was anything behind it trimmed */
    if (rc == DLHT_ECORRUPT) {
        r->restore_gap = true;
        rc = DLHT_OK;
    }
    return rc;
}

/* The record says which member is meant. To ask for the one with this node's
 * id would not do: each start writes the identity anew, so once the journal was
 * trimmed its oldest record of it may come after this one. */
static int restore_found(struct node *node, struct mp_reader *reader)
{
    replica_id self = mp_read_uint(reader);
    struct arc arc;
    codec_unpack_arc(reader, &arc);
    if (reader->bad)
        return DLHT_ECORRUPT;
    if (node_replica(node, arc.id) || burials_has(node, arc.id, self))
        return DLHT_OK;
    struct replica_parts parts = replica_founding(node, &arc, self);
    struct replica *r;
    return as_damage(replica_new_with(node, &parts, &r));
}

static int restore_create(struct node *node, arc_id arc,
                          struct mp_reader *reader)
{
    replica_id self = mp_read_uint(reader);
    keyspace_id keyspace = (keyspace_id)mp_read_uint(reader);
    arc_id parent = mp_at_end(reader) ? 0 : mp_read_uint(reader);
    struct replica *r = node_replica(node, arc);
    if (reader->bad)
        return DLHT_ECORRUPT;
    if (r) /* from its checkpoint, or repeated when the journal was trimmed */
        return DLHT_OK;
    return as_damage(replica_create(node, arc, keyspace, self, parent, &r));
}

/* All ids of the arc that are buried here. */
static int restore_remove(struct node *node, arc_id arc,
                          struct mp_reader *reader)
{
    while (!mp_at_end(reader)) {
        replica_id self = mp_read_uint(reader);
        if (reader->bad)
            return DLHT_ECORRUPT;
        int rc = burials_add(node, arc, self, false);
        if (rc != DLHT_OK)
            return rc;
        struct replica *r = node_replica(node, arc);
        if (r && r->self == self)
            replica_remove(node, r);
    }
    return DLHT_OK;
}

static int restore_vote(struct replica *r, struct mp_reader *reader)
{
    replica_id self = mp_read_uint(reader);
    uint64_t term = mp_read_uint(reader);
    replica_id vote = mp_read_uint(reader);
    if (reader->bad)
        return DLHT_ECORRUPT;
    if (r->self != self || term < r->vote_term)
        return DLHT_OK;
    r->vote_term = term;
    r->vote = vote;
    if (DLHT_MUTANT != 11)
        raft_restore_vote(r->raft, term, vote);
    return DLHT_OK;
}

static int restore_install(struct node *node, struct replica *r,
                           const struct journal_record *record,
                           struct mp_reader *reader)
{
    if (mp_read_uint(reader) != r->self)
        return DLHT_OK;
    if (r->empty || record->index > r->checkpoint_index) {
        r->restore_gap = true;
        return DLHT_OK;
    }
    return restart_log(node, r);
}

static int restore_commit(struct node *node, struct replica *r,
                          const struct journal_record *record)
{
    if (r->empty || r->restore_gap || record->index <= r->applied)
        return DLHT_OK;
    if (raft_last_index(r->raft) < record->index) {
        r->restore_gap = true;
        return DLHT_OK;
    }
    raft_restore_commit(r->raft, record->index);
    replica_apply(node, r);
    return DLHT_OK;
}

static int restore_identity(struct node *node, struct mp_reader *reader)
{
    mp_read_fixed(reader, node->cluster.bytes, ID_BYTES);
    mp_read_fixed(reader, node->self.bytes, ID_BYTES);
    node->incarnation = mp_read_uint(reader);
    if (reader->bad || id_is_zero(&node->self) ||
        node->incarnation >= RESTORE_STARTS_MAX)
        return DLHT_ECORRUPT;
    node->restored = true;
    return DLHT_OK;
}

static int restore_peers(struct node *node, struct mp_reader *reader)
{
    size_t count = mp_read_array(reader);
    if (count > SWIM_PEERS_MAX)
        return DLHT_ECORRUPT;
    free(node->remembered);
    node->remembered_count = 0;
    node->remembered = mem_zero(count, PEER_ADDR_MAX);
    if (!node->remembered)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct span addr = mp_read_bytes(reader);
        if (reader->bad || addr.len >= PEER_ADDR_MAX)
            return DLHT_ECORRUPT;
        memcpy(node->remembered[i], addr.data, addr.len);
        node->remembered_count = i + 1;
    }
    return DLHT_OK;
}

/* In a quarantined arc, every id the journal names is buried. */
static int bury_named(struct node *node, const struct journal_record *record)
{
    struct mp_reader reader;
    mp_reader_init(&reader, record->payload);
    replica_id self = mp_read_uint(&reader);
    if (record->index != 0 || reader.bad)
        return DLHT_OK;
    return burials_add(node, record->arc, self, true);
}

/* A voter that is not there when all is read must not come to life again
 * under its id: it would have forgotten what it promised. */
static int name_voter(struct node *node, const struct journal_record *record)
{
    struct mp_reader reader;
    mp_reader_init(&reader, record->payload);
    replica_id self = mp_read_uint(&reader);
    if (node->voter_count == node->voter_cap) {
        size_t cap = node->voter_cap ? node->voter_cap * 2 : 16;
        struct tombstone *grown = mem_resize(node->voters, cap, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        node->voters = grown;
        node->voter_cap = cap;
    }
    node->voters[node->voter_count++] =
        (struct tombstone){ record->arc, self, true };
    return DLHT_OK;
}

int restore_bury_lost(struct node *node)
{
    for (size_t i = 0; i < node->voter_count; i++) {
        const struct tombstone *t = &node->voters[i];
        const struct replica *r = node_replica(node, t->arc);
        if (r && r->self == t->replica)
            continue;
        int rc = burials_add(node, t->arc, t->replica, true);
        if (rc != DLHT_OK)
            return rc;
    }
    free(node->voters);
    node->voters = NULL;
    node->voter_count = node->voter_cap = 0;
    return DLHT_OK;
}

int node_restore_record(struct node *node, const struct journal_record *record)
{
    struct mp_reader reader;
    mp_reader_init(&reader, record->payload);
    switch (record->type) {
    case JOURNAL_IDENTITY:
        return restore_identity(node, &reader);
    case JOURNAL_PEERS:
        return restore_peers(node, &reader);
    case JOURNAL_FORGOTTEN:
        return forgotten_restore(node, &reader);
    default:
        break;
    }
    if (burials_has(node, record->arc, BURIALS_DAMAGED) &&
        record->type != JOURNAL_REMOVE)
        return bury_named(node, record);
    switch (record->type) {
    case JOURNAL_FOUND:
        return restore_found(node, &reader);
    case JOURNAL_CREATE:
        return restore_create(node, record->arc, &reader);
    case JOURNAL_RECOVER:
        return as_damage(recover_restore(node, record, &reader));
    case JOURNAL_REMOVE:
        return restore_remove(node, record->arc, &reader);
    default:
        break;
    }
    struct replica *r = node_replica(node, record->arc);
    if (!r) /* of an arc that is no longer here */
        return record->type == JOURNAL_VOTE ? name_voter(node, record)
                                            : DLHT_OK;
    switch (record->type) {
    case JOURNAL_ENTRY:
        return restore_entry(node, r, record);
    case JOURNAL_VOTE:
        return restore_vote(r, &reader);
    case JOURNAL_COMMIT:
        return restore_commit(node, r, record);
    case JOURNAL_INSTALL:
        return restore_install(node, r, record, &reader);
    default:
        return DLHT_ECORRUPT;
    }
}

/* Somebody else has what this replica may have lost. */
static bool has_other_voter(const struct replica *r)
{
    if (r->empty)
        return true;
    const struct raft_members *members = raft_members(r->raft);
    bool self_votes = false;
    size_t others = 0;
    for (size_t i = 0; i < members->count; i++) {
        if (members->list[i].id == r->self)
            self_votes = members->list[i].voter;
        else if (members->list[i].voter)
            others++;
    }
    return others > 0 || !self_votes;
}

/* DLHT_EFULL: it could not be, and must not pass for a whole one. */
static int bury(struct node *node, struct replica *r)
{
    arc_id id = r->id;
    if (!has_other_voter(r))
        return DLHT_ECORRUPT;
    replica_remove(node, r);
    r = node_replica(node, id);
    return !r || r->doomed ? DLHT_OK : DLHT_EFULL;
}

int restore_put_aside(struct node *node)
{
    for (size_t i = 0; i < node->replica_count; i++)
        if (!has_other_voter(node->replicas[i]))
            return DLHT_ECORRUPT;
    while (node->replica_count) {
        int rc = bury(node, node->replicas[0]);
        if (rc != DLHT_OK)
            return rc;
    }
    return DLHT_OK;
}

int node_quarantine(struct node *node, arc_id arc)
{
    if (arc == 0) {
        forgotten_begin(node);
        return restore_put_aside(node);
    }
    struct replica *r = node_replica(node, arc);
    return r ? bury(node, r) : burials_add(node, arc, BURIALS_DAMAGED, true);
}

int node_quarantined(void *context, journal_replay_fn take, void *take_context)
{
    const struct node *node = context;
    struct buf payload = { 0 };
    int rc = DLHT_OK;
    for (size_t i = 0; rc == DLHT_OK && i < node->tombstone_count; i++) {
        arc_id arc = node->tombstones[i].arc;
        if (i > 0 && node->tombstones[i - 1].arc == arc)
            continue; /* told with the first of the arc */
        buf_reset(&payload);
        burials_pack(node, arc, &payload);
        struct journal_record record = { .type = JOURNAL_REMOVE,
                                         .arc = arc,
                                         .payload = buf_span(&payload) };
        rc = payload.failed ? DLHT_ENOMEM : take(take_context, &record);
    }
    buf_reset(&payload);
    if (rc == DLHT_OK && forgotten_pack(node, &payload)) {
        struct journal_record record = { .type = JOURNAL_FORGOTTEN,
                                         .payload = buf_span(&payload) };
        rc = payload.failed ? DLHT_ENOMEM : take(take_context, &record);
    }
    buf_deinit(&payload);
    return rc;
}
