/* SPDX-License-Identifier: Apache-2.0 */

/* What entries of merges do: alike on every replica of L, or of R. What does
 * not fit is void, and says so; none of it is asserted, for a stranger may have
 * proposed it.
 *
 * Items are MessagePack values one after the other: a kind, then
 *
 *     1 record    key, value, version
 *     2 removal   key
 *     3 part      key, version, length of the value, offset, bytes
 *     4 sessions  as in a header
 *
 * An entry that memory cut short is applied again from its start, so each item
 * may be done twice. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "dlht/err.h"
#include "node/collections.h"
#include "node/gossip.h"
#include "node/op_merge.h"
#include "node/replica.h"
#include "node/transfer.h"
#include "wire/codec.h"
#include "wire/mp.h"

/* How far a planner may be wrong about an arc's generation. */
enum {
    GENERATION_AHEAD_MAX = 1000
};

enum item_kind {
    ITEM_RECORD = 1,
    ITEM_REMOVAL,
    ITEM_PART,
    ITEM_SESSIONS
};

struct item {
    uint8_t kind;
    struct record record; /* PART: value is the bytes */
    uint64_t total;       /* PART */
    uint64_t offset;
    struct span sessions;
};

void op_merge_add_record(struct buf *items, const struct record *record)
{
    mp_write_uint(items, ITEM_RECORD);
    mp_write_bin(items, record->key);
    mp_write_bin(items, record->value);
    mp_write_uint(items, record->version);
}

void op_merge_add_removal(struct buf *items, struct span key)
{
    mp_write_uint(items, ITEM_REMOVAL);
    mp_write_bin(items, key);
}

void op_merge_add_part(struct buf *items, const struct record *record,
                       size_t offset, size_t len)
{
    mp_write_uint(items, ITEM_PART);
    mp_write_bin(items, record->key);
    mp_write_uint(items, record->version);
    mp_write_uint(items, record->value.len);
    mp_write_uint(items, offset);
    mp_write_bin(items, span_of(record->value.data + offset, len));
}

void op_merge_add_sessions(struct buf *items, struct span packed)
{
    mp_write_uint(items, ITEM_SESSIONS);
    mp_write_bin(items, packed);
}

static bool read_item(struct mp_reader *r, struct item *out)
{
    memset(out, 0, sizeof *out);
    uint64_t kind = mp_read_uint(r);
    out->kind = (uint8_t)kind;
    switch (kind) {
    case ITEM_RECORD:
        out->record.key = mp_read_bytes(r);
        out->record.value = mp_read_bytes(r);
        out->record.version = mp_read_uint(r);
        break;
    case ITEM_REMOVAL:
        out->record.key = mp_read_bytes(r);
        break;
    case ITEM_PART:
        out->record.key = mp_read_bytes(r);
        out->record.version = mp_read_uint(r);
        out->total = mp_read_uint(r);
        out->offset = mp_read_uint(r);
        out->record.value = mp_read_bytes(r);
        break;
    case ITEM_SESSIONS:
        out->sessions = mp_read_bytes(r);
        break;
    default:
        return false;
    }
    return !r->bad;
}

/* Of a key between the end of L and that of R, and of a size that may be. */
static bool item_fits(const struct replica *r, const struct item *item)
{
    const struct staging *s = r->staging;
    if (item->kind == ITEM_SESSIONS)
        return true;
    struct span key = item->record.key;
    uint64_t end = item->record.value.len;
    if (item->kind == ITEM_PART) {
        if (item->offset > VALUE_LEN_MAX || item->total > VALUE_LEN_MAX ||
            item->offset + end > item->total)
            return false;
        end = item->total;
    }
    return key.len <= RECORDS_KEY_BYTES_MAX && end <= VALUE_LEN_MAX &&
           span_compare(key, r->arc->hi) >= 0 &&
           (!s->has_hi || span_compare(key, buf_span(&s->hi)) < 0);
}

/* Says how many bytes of sessions are among them. */
static bool items_fit(const struct replica *r, struct span items,
                      uint64_t *session_bytes)
{
    struct mp_reader reader;
    mp_reader_init(&reader, items);
    *session_bytes = 0;
    while (!mp_at_end(&reader)) {
        struct item item;
        if (!read_item(&reader, &item) || !item_fits(r, &item))
            return false;
        *session_bytes += item.sessions.len;
    }
    return !reader.bad &&
           r->staging->session_bytes + *session_bytes <= SESSIONS_PACKED_MAX;
}

static int stage_part(struct replica *r, const struct item *item)
{
    struct buf *part = &r->staging->part;
    if (item->offset > part->len) {
        r->staging->broken = true;
        return DLHT_OK;
    }
    part->len = (size_t)item->offset;
    buf_append_span(part, item->record.value);
    if (part->failed) {
        part->failed = false;
        return DLHT_ENOMEM;
    }
    if (part->len < item->total)
        return DLHT_OK;
    struct record record = item->record;
    record.value = buf_span(part);
    int rc = records_put(r->records, &record);
    return rc;
}

static int stage_sessions(struct replica *r, const struct item *item)
{
    struct mp_reader reader;
    struct sessions more;
    mp_reader_init(&reader, item->sessions);
    int rc = sessions_unpack(&reader, &more);
    if (rc == DLHT_ECORRUPT) {
        r->staging->broken = true;
        return DLHT_OK;
    }
    if (rc != DLHT_OK)
        return rc;
    /* Still in R's time. */
    rc = sessions_unite(&r->staging->sessions, UINT64_MAX, &more, UINT64_MAX);
    sessions_deinit(&more);
    return rc;
}

static int stage_item(struct replica *r, const struct item *item)
{
    bool removed;
    switch (item->kind) {
    case ITEM_RECORD:
        return records_put(r->records, &item->record);
    case ITEM_REMOVAL:
        return records_remove(r->records, item->record.key, &removed);
    case ITEM_PART:
        return stage_part(r, item);
    default:
        return stage_sessions(r, item);
    }
}

static int stage_items(struct replica *r, struct span items)
{
    struct mp_reader reader;
    mp_reader_init(&reader, items);
    while (!mp_at_end(&reader)) {
        struct item item;
        if (!read_item(&reader, &item))
            break;
        int rc = stage_item(r, &item);
        if (rc != DLHT_OK)
            return rc;
    }
    return DLHT_OK;
}

static void staging_free(struct staging *s)
{
    if (!s)
        return;
    buf_deinit(&s->hi);
    buf_deinit(&s->part);
    sessions_deinit(&s->sessions);
    free(s);
}

void op_merge_deinit(struct replica *r)
{
    op_merge_drop_run(r);
    op_merge_deinit_state(&r->merge);
    staging_free(r->staging);
    r->staging = NULL;
}

int op_merge_unstage(struct node *node, struct replica *r)
{
    if (!r->staging)
        return DLHT_OK;
    transfer_drop_views(node, r);
    struct records *staged;
    int rc = records_split(r->records, r->arc->hi, node->config.seed ^ r->id,
                           &staged);
    if (rc != DLHT_OK)
        return rc;
    records_free(staged);
    staging_free(r->staging);
    r->staging = NULL;
    return DLHT_OK;
}

/* The first STAGE of a run. */
static bool may_begin(const struct replica *r, const struct merge_note *n)
{
    return n->sequence == 0 && r->id == n->into &&
           r->keyspace != SYSTEM_KEYSPACE && !r->staging && !r->merge.frozen &&
           r->arc->generation == n->generation && r->arc->has_hi &&
           span_equal(r->arc->hi, n->lo) &&
           r->merge.absorbed_count < MERGE_ABSORBED_MAX;
}

static int begin_staging(struct replica *r, const struct merge_note *n)
{
    struct staging *s = calloc(1, sizeof *s);
    if (!s)
        return DLHT_ENOMEM;
    s->from = n->from;
    s->generation = n->generation;
    s->run = n->run;
    s->has_hi = n->has_hi;
    buf_append_span(&s->hi, n->hi);
    if (s->hi.failed) {
        staging_free(s);
        return DLHT_ENOMEM;
    }
    r->staging = s;
    return DLHT_OK;
}

static bool is_staging_of(const struct staging *s, const struct merge_note *n)
{
    return s && s->from == n->from && s->generation == n->generation &&
           s->run == n->run && s->has_hi == n->has_hi &&
           span_equal(buf_span(&s->hi), n->hi);
}

static int apply_stage(struct node *node, struct replica *r,
                       const struct merge_note *n, uint64_t *verdict)
{
    int rc = DLHT_OK;
    if (may_begin(r, n))
        rc = begin_staging(r, n);
    if (rc != DLHT_OK)
        return rc;
    struct staging *s = r->staging;
    if (!is_staging_of(s, n) || n->sequence > s->next)
        return DLHT_OK;
    if (n->sequence == s->next) {
        uint64_t session_bytes;
        if (!items_fit(r, n->items, &session_bytes))
            return DLHT_OK;
        rc = stage_items(r, n->items);
        if (rc != DLHT_OK)
            return rc;
        s->session_bytes += session_bytes;
        s->next++;
        r->staged_ns = node->now_ns;
    }
    *verdict = MERGE_DONE;
    return DLHT_OK;
}

static struct absorbed *find_absorbed(const struct replica *r, arc_id from)
{
    for (size_t i = 0; i < r->merge.absorbed_count; i++)
        if (r->merge.absorbed[i].from == from)
            return &r->merge.absorbed[i];
    return NULL;
}

/* All that R had has come, as far as sums can tell. */
static bool is_complete(const struct replica *r, const struct merge_note *n)
{
    const struct staging *s = r->staging;
    uint64_t bytes = records_data_bytes(r->records) - replica_data_bytes(r);
    uint64_t keys = records_count(r->records) - replica_key_count(r);
    return !s->broken && keys == n->keys && bytes == n->bytes &&
           sessions_may_unite(&r->sessions, &s->sessions);
}

static int remember(struct replica *r, const struct merge_note *n)
{
    struct merge_state *m = &r->merge;
    if (!m->absorbed)
        m->absorbed = calloc(MERGE_ABSORBED_MAX, sizeof *m->absorbed);
    if (!m->absorbed)
        return DLHT_ENOMEM;
    struct absorbed *a = &m->absorbed[m->absorbed_count];
    memset(a, 0, sizeof *a);
    a->from = n->from;
    a->generation = n->generation;
    a->member_count = n->member_count;
    memcpy(a->members, n->members, n->member_count * sizeof *a->members);
    return DLHT_OK;
}

/* R's range and all in it is L's. */
static int subsume(struct node *node, struct replica *r,
                   const struct merge_note *n)
{
    struct arc wider = *r->arc;
    wider.has_hi = n->has_hi;
    wider.hi = n->hi;
    wider.generation = r->arc->generation > n->from_generation
                           ? r->arc->generation + 1
                           : n->from_generation + 1;
    int rc = remember(r, n);
    if (rc == DLHT_OK && DLHT_MUTANT != 18)
        rc = sessions_unite(&r->sessions, r->time_ms, &r->staging->sessions,
                            n->time_ms);
    struct arc *narrow = rc == DLHT_OK ? arc_copy(r->arc) : NULL;
    if (rc == DLHT_OK)
        rc = narrow ? arc_assign(&r->arc, &wider) : (int)DLHT_ENOMEM;
    if (rc == DLHT_OK)
        collections_grown(r, narrow->hi);
    arc_free(narrow);
    if (rc != DLHT_OK)
        return rc;
    r->merge.absorbed_count++;
    staging_free(r->staging);
    r->staging = NULL;
    if (n->counter > r->counter && DLHT_MUTANT != 21)
        r->counter = n->counter;
    r->merge_due_ns = node->now_ns + 2 * NS_PER_S;
    gossip_notice_arc(node, r->arc);
    return DLHT_OK;
}

static int apply_subsume(struct node *node, struct replica *r,
                         const struct merge_note *n, uint64_t *verdict)
{
    const struct absorbed *known = find_absorbed(r, n->from);
    if (known && known->generation == n->generation) {
        *verdict = MERGE_DONE;
        return DLHT_OK;
    }
    uint64_t session_bytes;
    if (!is_staging_of(r->staging, n) || n->sequence != r->staging->next ||
        r->arc->generation != n->generation ||
        !items_fit(r, n->items, &session_bytes) || known)
        return DLHT_OK;
    int rc = stage_items(r, n->items);
    if (rc != DLHT_OK || !is_complete(r, n))
        return rc;
    rc = subsume(node, r, n);
    if (rc == DLHT_OK)
        *verdict = MERGE_DONE;
    return rc;
}

/* Decisive: whatever was sent for this generation and comes later is void.
 * Where L is no more, its place knows as much: an arc that is frozen or was
 * merged had nothing staged, and remembered none that could still ask. */
static int apply_abandon(struct node *node, struct replica *r,
                         const struct merge_note *n, uint64_t *verdict)
{
    if (r->id != n->into) {
        if (r->arc->generation > n->generation && arc_has(r->arc, n->into_lo) &&
            r->id != n->from)
            *verdict =
                arc_has(r->arc, n->lo) ? MERGE_ABSORBED : MERGE_ABANDONED;
        return DLHT_OK;
    }
    if (find_absorbed(r, n->from) || arc_has(r->arc, n->lo)) {
        *verdict = MERGE_ABSORBED;
        return DLHT_OK;
    }
    if (r->merge.frozen) /* first it must be known what becomes of it */
        return DLHT_OK;
    if (n->generation > r->arc->generation + GENERATION_AHEAD_MAX)
        return DLHT_OK; /* nothing of it can have begun */
    if (r->staging && r->staging->generation <= n->generation) {
        int rc = op_merge_unstage(node, r);
        if (rc != DLHT_OK)
            return rc;
    }
    if (r->arc->generation <= n->generation) {
        r->arc->generation = n->generation + 1;
        gossip_notice_arc(node, r->arc);
    }
    *verdict = MERGE_ABANDONED;
    return DLHT_OK;
}

static void apply_forget(struct replica *r, const struct merge_note *n)
{
    struct merge_state *m = &r->merge;
    size_t kept = 0;
    for (size_t i = 0; i < m->absorbed_count; i++)
        if (m->absorbed[i].from != n->from)
            m->absorbed[kept++] = m->absorbed[i];
    m->absorbed_count = kept;
    if (kept == 0) {
        free(m->absorbed);
        m->absorbed = NULL;
    }
}

static int apply_freeze(struct node *node, struct replica *r,
                        const struct merge_note *n, uint64_t *verdict)
{
    r->splitting = false;
    if (r->merge.frozen || r->staging || r->merge.absorbed_count ||
        r->id != n->from || r->keyspace == SYSTEM_KEYSPACE ||
        r->arc->generation != n->from_generation)
        return DLHT_OK;
    struct frozen *f = calloc(1, sizeof *f);
    if (!f)
        return DLHT_ENOMEM;
    f->into = n->into;
    f->generation = n->generation;
    f->run = n->run;
    buf_append_span(&f->lo, n->into_lo);
    if (f->lo.failed) {
        free(f);
        return DLHT_ENOMEM;
    }
    r->merge.frozen = f;
    r->frozen_ns = node->now_ns;
    node_wake_at(node, node->now_ns);
    *verdict = MERGE_DONE;
    return DLHT_OK;
}

static void apply_thaw(struct node *node, struct replica *r,
                       const struct merge_note *n)
{
    if (!op_merge_is_of(r->merge.frozen, n) || op_merge_is_closed(r))
        return;
    node_log(node, LOG_DEBUG, "arc %016llx: thaws", (unsigned long long)r->id);
    op_merge_deinit_state(&r->merge);
    node_wake_at(node, node->now_ns);
}

static void apply_close(struct node *node, struct replica *r,
                        const struct merge_note *n)
{
    if (!op_merge_is_of(r->merge.frozen, n) || op_merge_is_closed(r))
        return;
    r->merge.frozen->closed = true;
    r->frozen_ns = node->now_ns;
    node_wake_at(node, node->now_ns);
    if (replica_leads(r))
        raft_announce(r->raft); /* the others close at once, too */
    struct arc heir;
    struct mp_reader reader;
    mp_reader_init(&reader, n->items);
    if (n->items.len == 0)
        return;
    codec_unpack_arc(&reader, &heir);
    if (!reader.bad && heir.keyspace == r->keyspace)
        gossip_notice_arc(node, &heir);
}

int op_merge_apply(struct node *node, struct replica *r, struct span bytes,
                   struct session_result *result)
{
    struct merge_note n;
    result->count = MERGE_VOID;
    result->names_arc = true;
    if (op_merge_unpack(bytes, &n) != DLHT_OK)
        return DLHT_OK;
    switch ((enum merge_kind)n.kind) {
    case MERGE_STAGE:
        return apply_stage(node, r, &n, &result->count);
    case MERGE_SUBSUME:
        return apply_subsume(node, r, &n, &result->count);
    case MERGE_ABANDON:
        return apply_abandon(node, r, &n, &result->count);
    case MERGE_FORGET:
        apply_forget(r, &n);
        result->count = MERGE_DONE;
        return DLHT_OK;
    case MERGE_FREEZE:
        return apply_freeze(node, r, &n, &result->count);
    case MERGE_THAW:
        apply_thaw(node, r, &n);
        return DLHT_OK;
    case MERGE_CLOSE:
        apply_close(node, r, &n);
        return DLHT_OK;
    }
    return DLHT_OK;
}
