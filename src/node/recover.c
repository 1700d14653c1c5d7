/* SPDX-License-Identifier: Apache-2.0 */

/* From the last copy of a group to a group of one. */

#include "node/recover.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/burials.h"
#include "node/collections.h"
#include "node/gossip.h"
#include "node/journal_types.h"
#include "node/keyspaces.h"
#include "node/models.h"
#include "node/op_merge.h"
#include "node/replica.h"
#include "node/transfer.h"
#include "wire/codec.h"

/* Ids of keyspaces are the lower half of a version of the system arc: those
 * that were lost must not be given again. */
#define SYSTEM_STEP (UINT64_C(1) << 20)

static uint64_t step_of(arc_id arc)
{
    return arc == SYSTEM_ARC ? RECOVER_STEP + SYSTEM_STEP : RECOVER_STEP;
}

static struct raft_members only(replica_id id)
{
    struct raft_members members = { .count = 1 };
    members.list[0].id = id;
    members.list[0].voter = true;
    return members;
}

static void own(struct node *node, const struct recover_order *o,
                struct arc *arc)
{
    arc->generation = o->generation;
    arc->member_count = 1;
    arc->members[0].replica = o->fresh;
    /* While the journal is read this node may not know its id yet. */
    arc->members[0].peer = id_is_zero(&o->self) ? node->self : o->self;
    arc->members[0].voter = true;
    arc->term = 0;
    arc->owner = (struct id){ { 0 } };
}

/* Where the arc ends: a copy that was away may not have seen it cut. */
static bool was_cut(const struct replica *r, const struct recover_order *o)
{
    const struct arc *known = o->known;
    return known->generation > r->arc->generation && known->has_hi &&
           span_compare(r->arc->lo, known->hi) < 0 &&
           (!r->arc->has_hi || span_compare(known->hi, r->arc->hi) < 0);
}

/* Drops what belongs to arcs that were cut off meanwhile. */
static int cut_records(struct node *node, struct replica *r,
                       const struct recover_order *o)
{
    struct records *right;
    int rc = records_split(r->records, o->known->hi, node->config.seed, &right);
    if (rc == DLHT_OK)
        records_free(right);
    return rc;
}

/* Commits and applies all that the log holds: what it cannot know to be
 * committed is better kept than lost. */
static int apply_all(struct node *node, struct replica *r)
{
    uint64_t last = raft_last_index(r->raft);
    raft_restore_commit(r->raft, last);
    r->recovering = true;
    replica_apply(node, r);
    r->recovering = false;
    return r->applied == last ? DLHT_OK : DLHT_ENOMEM;
}

static int new_raft(struct node *node, struct replica *r, uint64_t last,
                    const struct recover_order *o, struct raft **out)
{
    struct replica_parts parts = {
        .arc_id = r->id,
        .keyspace = r->keyspace,
        .self = o->fresh,
        .start = { .snapshot_index = last + 1,
                   .snapshot_term = o->term,
                   .members = only(o->fresh),
                   .term = o->term,
                   .now_ns = node->now_ns },
    };
    return replica_new_raft(node, &parts, out);
}

/* From here on there is no way back but a restart, which does it again. */
static int turn_into_new(struct node *node, struct replica *r,
                         const struct recover_order *o)
{
    struct replica *husk = mem_zero(1, sizeof *husk);
    struct raft *fresh = NULL;
    uint64_t last = raft_last_index(r->raft);
    int rc = husk ? new_raft(node, r, last, o, &fresh) : DLHT_ENOMEM;
    if (rc == DLHT_OK)
        rc = burials_add(node, r->id, r->self, node->phase == PHASE_NEW);
    if (rc == DLHT_OK)
        rc = apply_all(node, r);
    if (rc == DLHT_OK) /* what another arc began to send is not this one's */
        rc = op_merge_unstage(node, r);
    struct arc view = *r->arc;
    if (rc == DLHT_OK && was_cut(r, o)) {
        rc = cut_records(node, r, o);
        view.hi = o->known->hi;
        view.has_hi = true;
    }
    own(node, o, &view);
    struct arc *arc = rc == DLHT_OK ? arc_copy(&view) : NULL;
    if (!arc) {
        raft_free(fresh);
        free(husk);
        return rc == DLHT_OK ? DLHT_ENOMEM : rc;
    }
    husk->raft = r->raft; /* effects of this step point into its log */
    node_bury(node, husk);
    r->raft = fresh;
    arc_free(r->arc);
    r->arc = arc;
    r->self = o->fresh;
    r->applied = last + 1;
    r->applied_term = o->term;
    r->applied_members = only(o->fresh);
    r->counter += DLHT_MUTANT == 38 ? 0 : step_of(r->id);
    r->known_count = r->known_next = 0;
    r->vote_term = o->term;
    r->vote = 0;
    r->splitting = false;
    r->lost_mask = 0;
    collections_replaced(r); /* it may have been cut */
    return DLHT_OK;
}

/* No copy is left: the arc goes on with nothing in it. */
static int begin_anew(struct node *node, const struct recover_order *o)
{
    struct arc arc = *o->known;
    own(node, o, &arc);
    struct replica_parts parts = replica_founding(node, &arc, o->fresh);
    parts.start.snapshot_term = parts.start.term = o->term;
    struct replica *r;
    int rc = replica_new_with(node, &parts, &r);
    if (rc != DLHT_OK)
        return rc;
    /* As many steps as its copies took before; so more than they counted. */
    r->counter = (o->generation / RECOVER_STEP) * step_of(arc.id);
    r->vote_term = o->term;
    return DLHT_OK;
}

static void journal_order(struct node *node, arc_id arc, uint64_t index,
                          const struct recover_order *o)
{
    struct buf payload = { 0 };
    mp_write_uint(&payload, o->old);
    mp_write_uint(&payload, o->fresh);
    mp_write_uint(&payload, o->generation);
    codec_pack_arc(&payload, o->known);
    mp_write_bin(&payload, span_of(node->self.bytes, ID_BYTES));
    node_journal_buf(node, JOURNAL_RECOVER, arc, o->term, index, &payload);
    buf_deinit(&payload);
}

static int check(const struct node *node, const struct replica *r, arc_id arc,
                 const struct recover_order *o)
{
    if (burials_has(node, arc, o->fresh) || o->fresh == 0 ||
        o->known->id != arc || o->generation <= o->known->generation ||
        o->generation < RECOVER_STEP || o->term < RECOVER_STEP)
        return DLHT_EINVAL;
    if (!keyspaces_find(node, o->known->keyspace))
        return DLHT_ESTALE; /* this peer has not heard of it yet */
    if (node->disk_full || node->tombstone_count >= BURIALS_MAX)
        return DLHT_EFULL;
    if (o->old == 0)
        return r || burials_has(node, arc, BURIALS_DAMAGED) ? DLHT_ESTALE
                                                            : DLHT_OK;
    if (!r || r->empty || r->self != o->old || replica_leads(r))
        return DLHT_ESTALE;
    if (o->generation <= r->arc->generation || o->term <= raft_term(r->raft) ||
        o->term <= raft_term_at(r->raft, raft_last_index(r->raft)))
        return DLHT_EINVAL;
    return DLHT_OK;
}

static void go_on(struct node *node, struct replica *r)
{
    if (r->keyspace == SYSTEM_KEYSPACE) {
        keyspaces_scan(node);
        models_scan(node);
    }
    raft_campaign(r->raft, node->now_ns);
    replica_touch(node, r);
    replica_notice(node, r);
}

int recover_take_over(struct node *node, arc_id id,
                      const struct recover_order *o)
{
    struct replica *r = node_replica(node, id);
    int rc = check(node, r, id, o);
    if (rc != DLHT_OK)
        return rc;
    if (o->old == 0) {
        rc = begin_anew(node, o);
        if (rc == DLHT_OK) {
            journal_order(node, id, 1, o);
            go_on(node, node_replica(node, id));
        }
        return rc;
    }
    /* What it has in hand goes to the journal before its end is written. */
    replica_flush(node, r);
    r = node_replica(node, id);
    if (!r || r->self != o->old || replica_leads(r))
        return DLHT_ESTALE;
    transfer_drop_incoming(node, r);
    transfer_drop_views(node, r);
    transfer_drop_outgoing(r);
    journal_order(node, id, raft_last_index(r->raft) + 1, o);
    rc = turn_into_new(node, r, o);
    if (rc != DLHT_OK) {
        node->failed = true; /* the record may be on disk: begin from it */
        return rc;
    }
    replica_journal_burials(node, id);
    go_on(node, r);
    node_log(node, LOG_WARNING,
             "arc %016llx: recovered from this copy alone, as replica %016llx",
             (unsigned long long)id, (unsigned long long)r->self);
    return DLHT_OK;
}

int recover_restore(struct node *node, const struct journal_record *record,
                    struct mp_reader *reader)
{
    struct arc known;
    struct recover_order o = { .term = record->term, .known = &known };
    o.old = mp_read_uint(reader);
    o.fresh = mp_read_uint(reader);
    o.generation = mp_read_uint(reader);
    codec_unpack_arc(reader, &known);
    if (!reader->bad && !mp_at_end(reader))
        mp_read_fixed(reader, o.self.bytes, ID_BYTES);
    if (reader->bad || o.fresh == 0 || known.id != record->arc)
        return DLHT_ECORRUPT;
    struct replica *r = node_replica(node, record->arc);
    if (burials_has(node, record->arc, o.fresh))
        return DLHT_OK;
    if (o.old == 0)
        return r ? DLHT_OK : begin_anew(node, &o);
    if (!r || r->self == o.fresh || r->self != o.old || r->restore_gap)
        return DLHT_OK;
    if (r->empty || raft_last_index(r->raft) + 1 != record->index) {
        r->restore_gap = true;
        return DLHT_OK;
    }
    return turn_into_new(node, r, &o);
}
