/* SPDX-License-Identifier: Apache-2.0 */

/* RAFT and snapshots: what the replicas of arcs say to each other. */

#include <assert.h>

#include "dlht/err.h"
#include "wire/body.h"
#include "wire/fields.h"

/* The least bytes of one packed. */
enum {
    ENVELOPE_PACKED_MIN = 5,
    ENTRY_PACKED_MIN = 3
};

enum raft_bit {
    RAFT_REFUSED = 1,
    RAFT_QUIET = 2,
    RAFT_TRANSFER = 4,
    RAFT_BITS_ALL = 7
};

/* Index is not sent: entries follow the message's index one by one. */
static void pack_entry(struct buf *b, const struct raft_entry *e)
{
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, e->term);
    fields_put_uint(&f, e->type);
    fields_put_bytes(&f, e->data);
    if (e->type == RAFT_ENTRY_MEMBERS) {
        codec_pack_members(b, e->members);
        fields_note(&f, true);
    }
    fields_end(&f);
}

static void pack_entries(struct fields_out *f, const struct raft_message *m)
{
    mp_write_array(f->b, m->entry_count);
    for (size_t i = 0; i < m->entry_count; i++) {
        assert(m->entries[i].index == m->index + 1 + i);
        pack_entry(f->b, &m->entries[i]);
    }
    fields_note(f, m->entry_count > 0);
}

static void pack_envelope(struct buf *b, const struct raft_envelope *e)
{
    const struct raft_message *m = &e->message;
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, e->arc);
    fields_put_uint(&f, m->type);
    fields_put_uint(&f, m->from);
    fields_put_uint(&f, m->to);
    fields_put_uint(&f, m->term);
    fields_put_uint(&f, m->stamp);
    fields_put_uint(&f, m->commit);
    fields_put_uint(&f, (m->refused ? RAFT_REFUSED : 0u) |
                            (m->quiet ? RAFT_QUIET : 0u) |
                            (m->transfer ? RAFT_TRANSFER : 0u));
    fields_put_uint(&f, m->index);
    fields_put_uint(&f, m->log_term);
    fields_put_uint(&f, m->hint);
    pack_entries(&f, m);
    fields_end(&f);
}

static bool entries_fit(const struct raft_message *m)
{
    if (m->entry_count > RAFT_APPEND_ENTRIES_MAX)
        return false;
    for (size_t i = 0; i < m->entry_count; i++)
        if (m->entries[i].data.len > RAFT_ENTRY_MAX)
            return false;
    return true;
}

int body_pack_raft(const struct message *message, struct buf *b)
{
    size_t count = message->u.raft.count;
    const struct raft_envelope *list = message->u.raft.list;
    size_t entry_count = 0;
    if (count > MESSAGE_RAFTS_MAX)
        return DLHT_ETOOBIG;
    mp_write_array(b, count);
    for (size_t i = 0; i < count; i++) {
        entry_count += list[i].message.entry_count;
        if (entry_count > CODEC_ENTRIES_MAX || !entries_fit(&list[i].message))
            return DLHT_ETOOBIG;
        pack_envelope(b, &list[i]);
    }
    return DLHT_OK;
}

static void unpack_entry(struct mp_reader *r, struct codec_arena *arena,
                         struct raft_entry *e)
{
    struct fields_in f = fields_open(r);
    e->term = fields_uint(&f, UINT64_MAX);
    e->type = (uint8_t)fields_uint(&f, RAFT_ENTRY_MEMBERS);
    e->data = fields_bytes(&f, RAFT_ENTRY_MAX);
    e->members = NULL;
    if (e->type == RAFT_ENTRY_MEMBERS) {
        struct raft_members *members =
            body_array(arena, r, 1, sizeof *members, 1);
        if (members && fields_more(&f))
            codec_unpack_members(r, members);
        else
            mp_fail(r);
        e->members = members;
    }
    fields_close(&f);
    if (e->type < RAFT_ENTRY_NOOP)
        mp_fail(r);
}

/* Terms do not fall, begin at that of the entry before, and do not pass the
 * leader's; indexes do not wrap. */
static void unpack_entries(struct fields_in *f, struct codec_arena *arena,
                           struct raft_message *m)
{
    if (!fields_more(f))
        return;
    struct mp_reader *r = f->r;
    size_t count = body_count(r, RAFT_APPEND_ENTRIES_MAX);
    if (count > 0 && (m->type != RAFT_APPEND || m->index > UINT64_MAX - count))
        mp_fail(r);
    struct raft_entry *list =
        body_array(arena, r, count, sizeof *list, ENTRY_PACKED_MIN);
    uint64_t term = m->log_term > 0 ? m->log_term : 1;
    for (size_t i = 0; i < count && !r->bad; i++) {
        unpack_entry(r, arena, &list[i]);
        list[i].index = m->index + 1 + i;
        if (list[i].term < term || list[i].term > m->term)
            mp_fail(r);
        term = list[i].term;
    }
    if (r->bad)
        return;
    m->entries = list;
    m->entry_count = count;
}

static void unpack_envelope(struct mp_reader *r, struct codec_arena *arena,
                            struct raft_envelope *e)
{
    struct raft_message *m = &e->message;
    *e = (struct raft_envelope){ 0 };
    struct fields_in f = fields_open(r);
    e->arc = fields_uint(&f, UINT64_MAX);
    m->type = (uint8_t)fields_uint(&f, RAFT_TIMEOUT_NOW);
    m->from = fields_uint(&f, UINT64_MAX);
    m->to = fields_uint(&f, UINT64_MAX);
    m->term = fields_uint(&f, UINT64_MAX);
    m->stamp = fields_uint(&f, UINT64_MAX);
    m->commit = fields_uint(&f, UINT64_MAX);
    uint64_t bits = fields_uint(&f, RAFT_BITS_ALL);
    m->refused = bits & RAFT_REFUSED;
    m->quiet = bits & RAFT_QUIET;
    m->transfer = bits & RAFT_TRANSFER;
    m->index = fields_uint(&f, UINT64_MAX);
    m->log_term = fields_uint(&f, UINT64_MAX);
    m->hint = fields_uint(&f, UINT64_MAX);
    unpack_entries(&f, arena, m);
    fields_close(&f);
    if (e->arc == 0 || m->type < RAFT_PREVOTE_REQUEST || m->from == 0 ||
        m->to == 0)
        mp_fail(r);
}

void body_unpack_raft(struct mp_reader *r, struct codec_arena *arena,
                      struct message *message)
{
    message->u.raft.list = NULL;
    message->u.raft.count = 0;
    size_t count = body_count(r, MESSAGE_RAFTS_MAX);
    size_t entry_count = 0;
    struct raft_envelope *list =
        body_array(arena, r, count, sizeof *list, ENVELOPE_PACKED_MIN);
    for (size_t i = 0; i < count && !r->bad; i++) {
        unpack_envelope(r, arena, &list[i]);
        entry_count += list[i].message.entry_count;
        if (entry_count > CODEC_ENTRIES_MAX)
            mp_fail(r);
    }
    if (r->bad)
        return;
    message->u.raft.list = list;
    message->u.raft.count = count;
}

int body_pack_chunk(const struct snapshot_chunk *c, struct buf *b)
{
    if (c->bytes.len > WIRE_BODY_MAX)
        return DLHT_ETOOBIG;
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, c->arc);
    fields_put_uint(&f, c->from);
    fields_put_uint(&f, c->to);
    fields_put_uint(&f, c->term);
    fields_put_uint(&f, c->transfer);
    fields_put_uint(&f, c->sequence);
    fields_put_bool(&f, c->last);
    fields_put_bytes(&f, c->bytes);
    fields_end(&f);
    return DLHT_OK;
}

void body_unpack_chunk(struct mp_reader *r, struct snapshot_chunk *c)
{
    *c = (struct snapshot_chunk){ 0 };
    struct fields_in f = fields_open(r);
    c->arc = fields_uint(&f, UINT64_MAX);
    c->from = fields_uint(&f, UINT64_MAX);
    c->to = fields_uint(&f, UINT64_MAX);
    c->term = fields_uint(&f, UINT64_MAX);
    c->transfer = fields_uint(&f, UINT64_MAX);
    c->sequence = fields_uint(&f, UINT64_MAX);
    c->last = fields_bool(&f);
    c->bytes = fields_bytes(&f, WIRE_BODY_MAX);
    fields_close(&f);
    if (c->arc == 0 || c->from == 0 || c->to == 0)
        mp_fail(r);
}

enum ack_bit {
    ACK_DONE = 1,
    ACK_REFUSED = 2
};

int body_pack_ack(const struct snapshot_ack *a, struct buf *b)
{
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, a->arc);
    fields_put_uint(&f, a->from);
    fields_put_uint(&f, a->to);
    fields_put_uint(&f, a->transfer);
    fields_put_uint(&f, a->sequence);
    fields_put_uint(&f, (a->done ? ACK_DONE : 0u) |
                            (a->refused ? ACK_REFUSED : 0u));
    fields_end(&f);
    return DLHT_OK;
}

void body_unpack_ack(struct mp_reader *r, struct snapshot_ack *a)
{
    *a = (struct snapshot_ack){ 0 };
    struct fields_in f = fields_open(r);
    a->arc = fields_uint(&f, UINT64_MAX);
    a->from = fields_uint(&f, UINT64_MAX);
    a->to = fields_uint(&f, UINT64_MAX);
    a->transfer = fields_uint(&f, UINT64_MAX);
    a->sequence = fields_uint(&f, UINT64_MAX);
    uint64_t bits = fields_uint(&f, ACK_DONE | ACK_REFUSED);
    a->done = bits & ACK_DONE;
    a->refused = bits & ACK_REFUSED;
    fields_close(&f);
    if (a->arc == 0 || a->from == 0 || a->to == 0)
        mp_fail(r);
}
