/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots of an arc between peers. */

#include "node/transfer.h"
#include "node/collections.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/gossip.h"
#include "node/handover.h"
#include "node/journal_types.h"
#include "node/keyspaces.h"
#include "node/models.h"
#include "node/op_merge.h"
#include "node/replica.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum {
    CHUNK_BYTES = 60 << 10, /* links carry chunks of at most 64 KiB, but for a
                             * single larger record */
    WINDOW_CHUNKS = 16,
    CHUNKS_A_CALL = 2, /* made at once, so that nobody waits long for them; each
                        * ack makes as many, so the window soon is full */
    LOAD_RECORDS = 64, /* of a block, taken together */
    STATE_VERSION = 2, /* 1: without merges */
    STATE_VERSION_MIN = 1
};
/* However little may be sent, the receiver hears that it goes on. */
#define SILENCE_NS (UINT64_C(5000) * NS_PER_MS)
#define BURST_NS (UINT64_C(100) * NS_PER_MS)
#define RESEND_NS (UINT64_C(1000) * NS_PER_MS)
#define GIVE_UP_NS (UINT64_C(15000) * NS_PER_MS)
/* All has come, and is synced there; or the word of how that went was lost. */
#define DONE_NS (UINT64_C(60000) * NS_PER_MS)

struct outgoing {
    replica_id to;
    uint64_t transfer;
    uint64_t index;
    uint64_t term;
    struct records_snapshot *view;    /* NULL: all was read */
    struct buf window[WINDOW_CHUNKS]; /* chunk n is in n % WINDOW_CHUNKS */
    uint64_t acked;                   /* next chunk the receiver wants */
    uint64_t filled;                  /* chunks made so far */
    uint64_t last; /* number of the last chunk, UINT64_MAX: not known */
    uint64_t heard_ns;
    uint64_t sent_ns;
    bool broken; /* no memory for a chunk: to be begun again */
};

struct incoming {
    struct id peer;
    replica_id from;
    uint64_t transfer;
    uint64_t next;
    struct arc_state state;
    struct records *records;
    uint64_t checkpoint; /* number being written; 0: none */
    bool complete;
    uint64_t heard_ns;
};

void arc_state_pack(const struct replica *r, struct buf *out)
{
    const struct sessions none = { 0 };
    mp_write_uint(out, STATE_VERSION);
    codec_pack_arc(out, r->arc);
    mp_write_uint(out, r->self);
    mp_write_uint(out, r->applied);
    mp_write_uint(out, r->applied_term);
    codec_pack_members(out, &r->applied_members);
    mp_write_uint(out, r->counter);
    mp_write_uint(out, r->time_ms);
    sessions_pack(DLHT_MUTANT == 19 ? &none : &r->sessions, out);
    op_merge_pack_state(&r->merge, out);
}

int arc_state_unpack(struct span bytes, struct arc_state *out)
{
    memset(out, 0, sizeof *out);
    struct mp_reader r;
    mp_reader_init(&r, bytes);
    uint64_t version = mp_read_uint(&r);
    if (version < STATE_VERSION_MIN || version > STATE_VERSION)
        return DLHT_ECORRUPT;
    struct arc arc;
    codec_unpack_arc(&r, &arc);
    out->self = mp_read_uint(&r);
    out->index = mp_read_uint(&r);
    out->term = mp_read_uint(&r);
    codec_unpack_members(&r, &out->members);
    out->counter = mp_read_uint(&r);
    out->time_ms = mp_read_uint(&r);
    if (r.bad || out->index == 0)
        return DLHT_ECORRUPT;
    int rc = sessions_unpack(&r, &out->sessions);
    if (rc != DLHT_OK)
        return rc;
    if (version > STATE_VERSION_MIN)
        rc = op_merge_unpack_state(&r, &out->merge);
    if (rc != DLHT_OK) {
        arc_state_deinit(out);
        return rc;
    }
    out->arc = arc_copy(&arc);
    if (!out->arc) {
        arc_state_deinit(out);
        return DLHT_ENOMEM;
    }
    return DLHT_OK;
}

void arc_state_deinit(struct arc_state *state)
{
    sessions_deinit(&state->sessions);
    op_merge_deinit_state(&state->merge);
    arc_free(state->arc);
    state->arc = NULL;
}

bool arc_block_pack(struct records_snapshot *view, size_t bytes_max,
                    struct buf *out)
{
    struct record record;
    while (out->len < bytes_max && records_snapshot_next(view, &record)) {
        mp_write_bin(out, record.key);
        mp_write_bin(out, record.value);
        mp_write_uint(out, record.version);
    }
    return out->len > 0;
}

int arc_block_unpack(struct span bytes, struct records *into)
{
    struct mp_reader r;
    struct record list[LOAD_RECORDS];
    size_t count = 0;
    mp_reader_init(&r, bytes);
    while (!mp_at_end(&r)) {
        struct record *record = &list[count++];
        record->key = mp_read_bytes(&r);
        record->value = mp_read_bytes(&r);
        record->version = mp_read_uint(&r);
        if (r.bad || record->key.len > KEY_LEN_MAX + 8 ||
            record->value.len > VALUE_LEN_MAX)
            return DLHT_ECORRUPT;
        if (count < LOAD_RECORDS && !mp_at_end(&r))
            continue;
        int rc = records_load(into, list, count);
        if (rc != DLHT_OK)
            return rc;
        count = 0;
    }
    return r.bad ? DLHT_ECORRUPT : DLHT_OK;
}

static void outgoing_free(struct outgoing *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < WINDOW_CHUNKS; i++)
        buf_deinit(&o->window[i]);
    records_snapshot_free(o->view);
    free(o);
}

static void incoming_free(struct incoming *in)
{
    if (!in)
        return;
    arc_state_deinit(&in->state);
    records_free(in->records);
    free(in);
}

void transfer_drop_outgoing(struct replica *r)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        outgoing_free(r->outgoing[i]);
        r->outgoing[i] = NULL;
    }
}

void transfer_drop_all(struct replica *r)
{
    transfer_drop_outgoing(r);
    incoming_free(r->incoming);
    r->incoming = NULL;
}

/* Ends one transfer; raft asks for another when it is still needed. */
static void end_outgoing(struct node *node, struct replica *r, size_t i,
                         uint64_t index)
{
    replica_id to = r->outgoing[i]->to;
    outgoing_free(r->outgoing[i]);
    r->outgoing[i] = NULL;
    raft_snapshot_done(r->raft, node->now_ns, to, index);
    replica_touch(node, r);
}

void transfer_drop_views(struct node *node, struct replica *r)
{
    checkpoint_run_forget(node, r);
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (r->outgoing[i] && r->outgoing[i]->view)
            end_outgoing(node, r, i, 0);
}

static void send_chunk(struct node *node, struct replica *r, struct outgoing *o,
                       uint64_t sequence)
{
    struct id peer;
    const struct buf *b = &o->window[sequence % WINDOW_CHUNKS];
    if (!replica_peer_of(r, o->to, &peer))
        return;
    struct message m = { .type = MESSAGE_SNAPSHOT_CHUNK };
    m.u.chunk = (struct snapshot_chunk){
        .arc = r->id,
        .from = r->self,
        .to = o->to,
        .term = raft_term(r->raft),
        .transfer = o->transfer,
        .sequence = sequence,
        .last = sequence == o->last,
        .bytes = effects_copy(node->fx, buf_span(b)),
    };
    o->sent_ns = node->now_ns;
    if (m.u.chunk.bytes.len == b->len) /* else it is sent again, later */
        node_send(node, &peer, &m);
}

/* Bytes a second; 0: no bound. */
static uint64_t rate_of(const struct node *node)
{
    return node->now_ns < node->pace_until_ns ? node->pace_rate
                                              : node->config.move_rate;
}

/* What is not used up is kept for a tenth of a second. */
bool transfer_may_send(struct node *node, uint64_t sent_ns)
{
    uint64_t rate = rate_of(node);
    if (rate == 0)
        return true;
    uint64_t passed = node->now_ns - node->send_budget_ns;
    double most = (double)rate * (double)BURST_NS / (double)NS_PER_S;
    if (most < CHUNK_BYTES)
        most = CHUNK_BYTES;
    double budget = (double)node->send_budget +
                    (double)rate * (double)passed / (double)NS_PER_S;
    node->send_budget = (int64_t)(budget < most ? budget : most);
    node->send_budget_ns = node->now_ns;
    if (node->send_budget > 0 || node->now_ns - sent_ns > SILENCE_NS)
        return true;
    node_wake_at(node, node->now_ns + NODE_TICK_NS);
    return false;
}

/* Makes and sends a few chunks if the window has room and the rate allows. */
static void fill_window(struct node *node, struct replica *r,
                        struct outgoing *o)
{
    for (int i = 0; i < CHUNKS_A_CALL && !o->broken && o->last == UINT64_MAX &&
                    o->filled < o->acked + WINDOW_CHUNKS &&
                    transfer_may_send(node, o->sent_ns);
         i++) {
        struct buf *b = &o->window[o->filled % WINDOW_CHUNKS];
        buf_reset(b);
        bool more = arc_block_pack(o->view, CHUNK_BYTES, b);
        if (b->failed) {
            /* What it lacks would be taken for removed: begun again. */
            o->broken = true;
            node_wake_at(node, node->now_ns);
            return;
        }
        /* A last chunk may be empty: it says that there was no more. */
        if (!more) {
            o->last = o->filled;
            records_snapshot_free(o->view);
            o->view = NULL;
        }
        o->filled++;
        node->send_budget -= (int64_t)b->len;
        send_chunk(node, r, o, o->filled - 1);
    }
}

static void begin(struct node *node, struct replica *r, replica_id to)
{
    size_t slot = RAFT_MEMBERS_MAX;
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if (r->outgoing[i] && r->outgoing[i]->to == to) {
            outgoing_free(r->outgoing[i]);
            r->outgoing[i] = NULL;
        }
        if (!r->outgoing[i])
            slot = i;
    }
    /* While something is staged: later. What lies behind a split must not
     * replace what the child may need; an empty copy has nothing of that. */
    struct raft_progress p;
    bool empty = raft_progress_of(r->raft, node->now_ns, to, &p) && p.empty;
    bool can = slot < RAFT_MEMBERS_MAX && !r->staging && !r->half_applied &&
               (empty || !replica_has_open_child(node, r));
    struct outgoing *o = can ? mem_zero(1, sizeof *o) : NULL;
    if (o)
        o->view = records_snapshot_new(r->records);
    if (!o || !o->view) {
        outgoing_free(o);
        raft_snapshot_done(r->raft, node->now_ns, to, 0);
        return;
    }
    o->to = to;
    o->transfer = rng_next(&node->rng);
    o->index = r->applied;
    o->term = r->applied_term;
    o->last = UINT64_MAX;
    o->heard_ns = node->now_ns;
    arc_state_pack(r, &o->window[0]);
    if (o->window[0].failed) {
        outgoing_free(o);
        raft_snapshot_done(r->raft, node->now_ns, to, 0);
        return;
    }
    o->filled = 1;
    r->outgoing[slot] = o;
    send_chunk(node, r, o, 0);
    fill_window(node, r, o);
}

void transfer_begin_all(struct node *node, struct replica *r,
                        const struct raft_output *out)
{
    for (size_t i = 0; i < out->snapshot_count; i++)
        begin(node, r, out->snapshots[i]);
}

void transfer_tick(struct node *node, struct replica *r)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct outgoing *o = r->outgoing[i];
        if (!o)
            continue;
        bool all = o->acked > o->last; /* they have: it is synced there */
        if (o->acked == o->filled && !all)
            o->heard_ns = node->now_ns; /* it is we who are waited for */
        if (o->broken ||
            node->now_ns - o->heard_ns > (all ? DONE_NS : GIVE_UP_NS)) {
            end_outgoing(node, r, i, 0);
        } else if (node->now_ns - o->sent_ns > RESEND_NS) {
            for (uint64_t n = o->acked; n < o->filled; n++)
                send_chunk(node, r, o, n);
        }
        if (r->outgoing[i])
            fill_window(node, r, o);
    }
    if (r->incoming && !r->incoming->complete &&
        node->now_ns - r->incoming->heard_ns > 2 * GIVE_UP_NS) {
        transfer_drop_incoming(node, r);
    }
}

void transfer_receive_ack(struct node *node, const struct id *from,
                          const struct snapshot_ack *ack)
{
    struct replica *r = node_replica(node, ack->arc);
    if (r && r->cache) {
        handover_receive_ack(node, r, from, ack);
        return;
    }
    for (size_t i = 0; r && i < RAFT_MEMBERS_MAX; i++) {
        struct outgoing *o = r->outgoing[i];
        if (!o || o->transfer != ack->transfer || o->to != ack->from)
            continue;
        if (ack->refused) {
            end_outgoing(node, r, i, 0);
        } else if (ack->done) {
            end_outgoing(node, r, i, o->index);
        } else if (ack->sequence >= o->acked && ack->sequence <= o->filled) {
            o->acked = ack->sequence;
            o->heard_ns = node->now_ns;
            fill_window(node, r, o);
        }
        return;
    }
}

static void send_ack(struct node *node, const struct id *to, arc_id arc,
                     const struct snapshot_chunk *chunk, struct incoming *in,
                     bool refused)
{
    struct message m = { .type = MESSAGE_SNAPSHOT_ACK };
    m.u.ack = (struct snapshot_ack){
        .arc = arc,
        .from = chunk->to,
        .to = chunk->from,
        .transfer = chunk->transfer,
        .sequence = in ? in->next : 0,
        .refused = refused,
    };
    node_send(node, to, &m);
}

/* The first chunk: what the state is of. */
static struct incoming *open_incoming(struct node *node, struct replica *r,
                                      const struct id *from,
                                      const struct snapshot_chunk *chunk)
{
    struct incoming *in = mem_zero(1, sizeof *in);
    if (!in)
        return NULL;
    in->records = records_new_with(rng_next(&node->rng), node->config.pages);
    if (!in->records || arc_state_unpack(chunk->bytes, &in->state) != DLHT_OK ||
        in->state.arc->id != r->id || in->state.index <= raft_commit(r->raft)) {
        incoming_free(in);
        return NULL;
    }
    in->peer = *from;
    in->from = chunk->from;
    in->transfer = chunk->transfer;
    in->next = 1;
    return in;
}

/* Writes along: the state must be durable before it is taken over. False: no
 * memory. */
static bool write_along(struct node *node, struct replica *r,
                        enum effect_kind kind, struct span bytes)
{
    if (!node->config.durable)
        return true;
    struct effect *e = effects_add(node->fx, kind);
    if (!e)
        return false;
    e->u.checkpoint.arc = r->id;
    e->u.checkpoint.number = r->incoming->checkpoint;
    e->u.checkpoint.bytes = bytes;
    return true;
}

void transfer_drop_incoming(struct node *node, struct replica *r)
{
    /* Else the disk would wait for more of it for ever. */
    if (r->incoming && r->incoming->checkpoint && !r->incoming->complete &&
        node->fx &&
        !write_along(node, r, EFFECT_CHECKPOINT_ABORT, span_empty()))
        node->failed = true;
    incoming_free(r->incoming);
    r->incoming = NULL;
}

/* The header as it is kept here: with this replica's own id. Empty: no
 * memory. */
static struct span own_header(struct node *node, const struct replica *r)
{
    const struct arc_state *s = &r->incoming->state;
    struct replica view = { .arc = s->arc,
                            .self = r->self,
                            .applied = s->index,
                            .applied_term = s->term,
                            .applied_members = s->members,
                            .counter = s->counter,
                            .time_ms = s->time_ms,
                            .sessions = s->sessions,
                            .merge = s->merge };
    buf_reset(&node->scratch);
    arc_state_pack(&view, &node->scratch);
    return node->scratch.failed
               ? span_empty()
               : effects_copy(node->fx, buf_span(&node->scratch));
}

static void begin_incoming(struct node *node, struct replica *r,
                           const struct id *from,
                           const struct snapshot_chunk *chunk)
{
    if (node->config.durable && replica_has_unbased_child(node, r)) {
        r->children_first = true; /* refused until they are on disk */
        return;
    }
    r->children_first = false;
    checkpoint_run_forget(node, r); /* two writers of one arc's file */
    transfer_drop_incoming(node, r);
    r->incoming = open_incoming(node, r, from, chunk);
    if (!r->incoming)
        return;
    struct span header =
        node->config.durable ? own_header(node, r) : span_empty();
    r->incoming->checkpoint = ++r->checkpoint_number;
    if (node->config.durable &&
        (header.len == 0 ||
         !write_along(node, r, EFFECT_CHECKPOINT_BEGIN, header))) {
        r->incoming->checkpoint = 0; /* nothing was begun */
        transfer_drop_incoming(node, r);
    }
}

bool transfer_awaits(const struct replica *r, uint64_t number)
{
    return r->incoming && r->incoming->complete &&
           r->incoming->checkpoint == number;
}

void transfer_install(struct node *node, struct replica *r, int status)
{
    struct incoming *in = r->incoming;
    assert(in && in->complete);
    struct arc_state *s = &in->state;
    if (status == DLHT_OK)
        status =
            raft_install(r->raft, node->now_ns, s->index, s->term, &s->members);
    if (status != DLHT_OK && status != DLHT_ESTALE)
        node_log(node, LOG_ERROR, "arc %016llx: its copy cannot be stored: %s",
                 (unsigned long long)r->id,
                 status == DLHT_EFULL ? "disk full" : dlht_strerror(status));
    struct message m = { .type = MESSAGE_SNAPSHOT_ACK };
    m.u.ack = (struct snapshot_ack){
        .arc = r->id,
        .from = r->self,
        .to = in->from,
        .transfer = in->transfer,
        .sequence = in->next,
        .done = status == DLHT_OK || status == DLHT_ESTALE,
        .refused = status != DLHT_OK && status != DLHT_ESTALE,
    };
    node_send(node, &in->peer, &m);
    if (status == DLHT_OK) {
        for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++)
            if (r->outgoing[i])
                end_outgoing(node, r, i, 0);
        struct records *old = r->records;
        r->records = in->records;
        in->records = NULL;
        records_free(old);
        sessions_deinit(&r->sessions);
        r->sessions = s->sessions;
        memset(&s->sessions, 0, sizeof s->sessions);
        op_merge_deinit(r); /* a snapshot holds no staging */
        r->merge = s->merge;
        memset(&s->merge, 0, sizeof s->merge);
        arc_free(r->arc);
        r->arc = s->arc;
        s->arc = NULL;
        r->keyspace = r->arc->keyspace;
        r->empty = false;
        r->applied = s->index;
        r->applied_term = s->term;
        r->applied_members = s->members;
        r->counter = s->counter;
        r->cas_done = 0;
        collections_replaced(r);
        r->time_ms = s->time_ms;
        r->unbased_parent = 0;
        r->checkpoint_index_before = r->checkpoint_index = s->index;
        struct buf payload = { 0 };
        mp_write_uint(&payload, r->self);
        node_journal_buf(node, JOURNAL_INSTALL, r->id, s->term, s->index,
                         &payload);
        buf_deinit(&payload);
        gossip_notice_arc(node, r->arc);
    }
    incoming_free(in);
    r->incoming = NULL;
    if (status == DLHT_OK && r->id == SYSTEM_ARC) {
        keyspaces_scan(node);
        models_scan(node);
    }
    replica_touch(node, r);
}

/* A chunk that is the next one: puts its records in. False: broken. */
static bool take_chunk(struct node *node, struct replica *r,
                       const struct snapshot_chunk *chunk)
{
    struct incoming *in = r->incoming;
    if (arc_block_unpack(chunk->bytes, in->records) != DLHT_OK)
        return false;
    in->next++;
    if (chunk->bytes.len &&
        !write_along(node, r, EFFECT_CHECKPOINT_ADD, chunk->bytes))
        return false;
    return !chunk->last ||
           write_along(node, r, EFFECT_CHECKPOINT_END, span_empty());
}

void transfer_receive_chunk(struct node *node, const struct id *from,
                            const struct snapshot_chunk *chunk)
{
    struct replica *r = node_replica(node, chunk->arc);
    if (!r || r->cache) {
        handover_receive_chunk(node, from, chunk);
        return;
    }
    if (r->self != chunk->to || chunk->term < raft_term(r->raft)) {
        send_ack(node, from, chunk->arc, chunk, NULL, true);
        return;
    }
    struct incoming *in = r->incoming;
    if (!in || in->transfer != chunk->transfer) {
        if (in && in->complete)
            return; /* being made durable: the newer one is sent again */
        if (chunk->sequence == 0)
            begin_incoming(node, r, from, chunk);
        in = r->incoming;
        if (!in || in->transfer != chunk->transfer) {
            if (chunk->sequence == 0)
                send_ack(node, from, chunk->arc, chunk, NULL, true);
            return;
        }
    } else if ((chunk->sequence == in->next ||
                (DLHT_MUTANT == 31 && chunk->sequence > in->next)) &&
               !in->complete) {
        /* A split applied meanwhile made a child that needs the old log. */
        if (node->config.durable && replica_has_unbased_child(node, r))
            r->children_first = true;
        if (r->children_first || !take_chunk(node, r, chunk)) {
            transfer_drop_incoming(node, r);
            send_ack(node, from, chunk->arc, chunk, NULL, true);
            return;
        }
        if (chunk->last) {
            in->complete = true;
            if (!node->config.durable)
                transfer_install(node, r, DLHT_OK);
            return;
        }
    }
    in->heard_ns = node->now_ns;
    send_ack(node, from, chunk->arc, chunk, in, false);
}

void transfer_say_gone(struct node *node, const struct replica *r,
                       const struct arc_member *next, size_t count)
{
    for (size_t i = 0; i < r->arc->member_count; i++) {
        const struct arc_member *m = &r->arc->members[i];
        bool stays = m->replica == r->self;
        for (size_t k = 0; k < count; k++)
            stays = stays || next[k].replica == m->replica;
        if (stays)
            continue;
        struct message message = { .type = MESSAGE_GONE };
        message.u.gone.arc = r->id;
        message.u.gone.replica = m->replica;
        message.u.gone.generation = r->arc->generation + 1;
        node_send(node, &m->peer, &message);
    }
}
