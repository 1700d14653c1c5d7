/* SPDX-License-Identifier: Apache-2.0 */

/* The control plane: who is there, which arcs and keyspaces, what is planned.
 */

#include <assert.h>

#include "dlht/err.h"
#include "wire/body.h"
#include "wire/fields.h"

/* The least bytes of one packed. */
enum {
    SWIM_BODY_MIN = 1 + 1, /* its type */
    KEYSPACE_PACKED_MIN = 1 + 4,
    REPORT_PACKED_MIN = 1 + BODY_ARC_MIN
};

static int pack_hello(const struct hello *h, struct buf *b)
{
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, h->version);
    fields_put_uint(&f, h->kind);
    fields_put_id(&f, &h->cluster);
    fields_put_id(&f, &h->peer);
    fields_put_uint(&f, h->incarnation);
    fields_put_bytes(&f, h->addr);
    fields_put_int(&f, h->status);
    fields_end(&f);
    return DLHT_OK;
}

/* Any version is let through: refusing it with a reason is the node's. */
static void unpack_hello(struct mp_reader *r, struct hello *h)
{
    *h = (struct hello){ 0 };
    struct fields_in f = fields_open(r);
    h->version = (uint32_t)fields_uint(&f, UINT32_MAX);
    h->kind = (uint8_t)fields_uint(&f, HELLO_CLIENT);
    h->cluster = fields_id(&f);
    h->peer = fields_id(&f);
    h->incarnation = fields_uint(&f, UINT64_MAX);
    h->addr = fields_bytes(&f, PEER_ADDR_MAX - 1);
    h->status = fields_status(&f, BODY_STATUS_MIN);
    fields_close(&f);
    if (h->kind < HELLO_PEER || !body_is_addr(h->addr))
        mp_fail(r);
}

static int pack_swim(const struct swim_message *s, struct buf *b)
{
    if (s->update_count > SWIM_UPDATES_MAX)
        return DLHT_ETOOBIG;
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, s->type);
    fields_put_uint(&f, s->number);
    fields_put_id(&f, &s->target);
    mp_write_array(b, s->update_count);
    for (size_t i = 0; i < s->update_count; i++)
        body_pack_peer(b, &s->updates[i]);
    fields_note(&f, s->update_count > 0);
    fields_end(&f);
    return DLHT_OK;
}

static void unpack_swim(struct mp_reader *r, struct codec_arena *arena,
                        struct message *m)
{
    struct swim_message *s = body_array(arena, r, 1, sizeof *s, SWIM_BODY_MIN);
    if (!s) {
        mp_fail(r);
        return;
    }
    m->u.swim = s;
    struct fields_in f = fields_open(r);
    s->type = (uint8_t)fields_uint(&f, SWIM_NACK);
    s->number = fields_uint(&f, UINT64_MAX);
    s->target = fields_id(&f);
    s->update_count = 0;
    if (fields_more(&f)) {
        size_t count = body_count(r, SWIM_UPDATES_MAX);
        for (size_t i = 0; i < count && !r->bad; i++)
            body_unpack_peer(r, &s->updates[i]);
        s->update_count = r->bad ? 0 : count;
    }
    fields_close(&f);
    if (s->type < SWIM_PING ||
        (s->type == SWIM_PING_REQUEST && id_is_zero(&s->target)))
        mp_fail(r);
}

static bool keyspaces_fit(const struct keyspace_record *list, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i].first_arc_count > CODEC_FIRST_ARCS_MAX ||
            list[i].options.len > KEYSPACE_OPTIONS_MAX)
            return false;
        sum += list[i].first_arc_count;
    }
    return sum <= CODEC_FIRST_ARCS_MAX;
}

static int pack_gossip(const struct message *m, struct buf *b)
{
    const struct keyspace_record *keyspaces = m->u.gossip.keyspaces;
    size_t keyspace_count = m->u.gossip.keyspace_count;
    if (m->u.gossip.arc_count > MESSAGE_ARCS_MAX ||
        keyspace_count > MESSAGE_KEYSPACES_MAX ||
        !keyspaces_fit(keyspaces, keyspace_count))
        return DLHT_ETOOBIG;
    struct fields_out f = fields_begin(b);
    body_pack_arcs(b, m->u.gossip.arcs, m->u.gossip.arc_count);
    fields_note(&f, m->u.gossip.arc_count > 0);
    mp_write_array(b, keyspace_count);
    for (size_t i = 0; i < keyspace_count; i++)
        codec_pack_keyspace(b, &keyspaces[i]);
    fields_note(&f, keyspace_count > 0);
    fields_end(&f);
    return DLHT_OK;
}

static void unpack_keyspaces(struct mp_reader *r, struct codec_arena *arena,
                             struct message *m)
{
    size_t count = body_count(r, MESSAGE_KEYSPACES_MAX);
    size_t first_arcs = 0;
    struct keyspace_record *list =
        body_array(arena, r, count, sizeof *list, KEYSPACE_PACKED_MIN);
    for (size_t i = 0; i < count && !r->bad; i++) {
        codec_unpack_keyspace(r, arena, &list[i]);
        first_arcs += list[i].first_arc_count;
        if (first_arcs > CODEC_FIRST_ARCS_MAX)
            mp_fail(r);
    }
    if (r->bad)
        return;
    m->u.gossip.keyspaces = list;
    m->u.gossip.keyspace_count = count;
}

static void unpack_gossip(struct mp_reader *r, struct codec_arena *arena,
                          struct message *m)
{
    m->u.gossip.arcs = NULL;
    m->u.gossip.arc_count = 0;
    m->u.gossip.keyspaces = NULL;
    m->u.gossip.keyspace_count = 0;
    struct fields_in f = fields_open(r);
    if (fields_more(&f))
        m->u.gossip.arcs = body_unpack_arcs(r, arena, MESSAGE_ARCS_MAX,
                                            &m->u.gossip.arc_count);
    if (fields_more(&f))
        unpack_keyspaces(r, arena, m);
    fields_close(&f);
}

static int pack_digest(const struct message *m, struct buf *b)
{
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, m->u.digest.arcs);
    fields_put_uint(&f, m->u.digest.keyspaces);
    fields_put_bool(&f, m->u.digest.answer);
    fields_put_bytes(&f, m->u.digest.parts);
    fields_end(&f);
    return DLHT_OK;
}

static void unpack_digest(struct mp_reader *r, struct message *m)
{
    struct fields_in f = fields_open(r);
    m->u.digest.arcs = fields_uint(&f, UINT64_MAX);
    m->u.digest.keyspaces = fields_uint(&f, UINT64_MAX);
    m->u.digest.answer = fields_bool(&f);
    m->u.digest.parts = fields_bytes(&f, (size_t)4 * DIGEST_PARTS_MAX);
    fields_close(&f);
}

static int pack_join(const struct message *m, struct buf *b)
{
    struct fields_out f = fields_begin(b);
    body_pack_peer(b, &m->u.join.self);
    fields_note(&f, true);
    fields_end(&f);
    return DLHT_OK;
}

static void unpack_join(struct mp_reader *r, struct message *m)
{
    struct fields_in f = fields_open(r);
    if (fields_more(&f))
        body_unpack_peer(r, &m->u.join.self);
    else
        mp_fail(r);
    fields_close(&f);
}

static int pack_welcome(const struct message *m, struct buf *b)
{
    size_t count = m->u.welcome.peer_count;
    if (count > MESSAGE_PEERS_MAX)
        return DLHT_ETOOBIG;
    struct fields_out f = fields_begin(b);
    fields_put_int(&f, m->u.welcome.status);
    fields_put_id(&f, &m->u.welcome.cluster);
    mp_write_array(b, count);
    for (size_t i = 0; i < count; i++)
        body_pack_peer(b, &m->u.welcome.peers[i]);
    fields_note(&f, count > 0);
    fields_end(&f);
    return DLHT_OK;
}

static void unpack_welcome(struct mp_reader *r, struct codec_arena *arena,
                           struct message *m)
{
    struct fields_in f = fields_open(r);
    m->u.welcome.status = fields_status(&f, BODY_STATUS_MIN);
    m->u.welcome.cluster = fields_id(&f);
    m->u.welcome.peers = NULL;
    m->u.welcome.peer_count = 0;
    if (fields_more(&f)) {
        size_t count = body_count(r, MESSAGE_PEERS_MAX);
        struct peer *list =
            body_array(arena, r, count, sizeof *list, BODY_PEER_MIN);
        for (size_t i = 0; i < count && !r->bad; i++)
            body_unpack_peer(r, &list[i]);
        m->u.welcome.peers = r->bad ? NULL : list;
        m->u.welcome.peer_count = r->bad ? 0 : count;
    }
    fields_close(&f);
}

static void pack_arc_report(struct buf *b, const struct arc_report *report)
{
    struct fields_out f = fields_begin(b);
    codec_pack_arc(b, &report->arc);
    fields_note(&f, true);
    fields_put_uint(&f, report->keys);
    fields_put_uint(&f, report->bytes);
    fields_put_uint(&f, report->requests);
    fields_put_uint(&f, report->caught_up);
    fields_put_uint(&f, report->lost);
    fields_put_bool(&f, report->busy);
    fields_put_uint(&f, report->changes);
    fields_put_bool(&f, report->awaits);
    fields_put_bool(&f, report->stops);
    fields_end(&f);
}

static uint64_t report_count(struct fields_in *f)
{
    uint64_t count = fields_uint(f, UINT64_MAX);
    return count < REPORT_COUNT_MAX ? count : REPORT_COUNT_MAX;
}

static void unpack_arc_report(struct mp_reader *r, struct arc_report *report)
{
    struct fields_in f = fields_open(r);
    if (fields_more(&f))
        codec_unpack_arc(r, &report->arc);
    else
        mp_fail(r);
    report->keys = report_count(&f);
    report->bytes = report_count(&f);
    report->requests = report_count(&f);
    report->caught_up = (uint16_t)fields_uint(&f, UINT16_MAX);
    report->lost = (uint16_t)fields_uint(&f, UINT16_MAX);
    report->busy = fields_bool(&f);
    report->changes = report_count(&f);
    report->awaits = fields_bool(&f);
    report->stops = fields_bool(&f);
    fields_close(&f);
}

static int pack_report(const struct message *m, struct buf *b)
{
    if (m->u.report.count > MESSAGE_ARCS_MAX)
        return DLHT_ETOOBIG;
    mp_write_array(b, m->u.report.count);
    for (size_t i = 0; i < m->u.report.count; i++)
        pack_arc_report(b, &m->u.report.list[i]);
    return DLHT_OK;
}

static void unpack_report(struct mp_reader *r, struct codec_arena *arena,
                          struct message *m)
{
    size_t count = body_count(r, MESSAGE_ARCS_MAX);
    struct arc_report *list =
        body_array(arena, r, count, sizeof *list, REPORT_PACKED_MIN);
    for (size_t i = 0; i < count && !r->bad; i++)
        unpack_arc_report(r, &list[i]);
    m->u.report.list = r->bad ? NULL : list;
    m->u.report.count = r->bad ? 0 : count;
}

static int pack_step(const struct step *s, struct buf *b)
{
    if (s->keys.len > STEP_KEYS_MAX)
        return DLHT_ETOOBIG;
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, s->kind);
    fields_put_uint(&f, s->keyspace);
    fields_put_uint(&f, s->arc);
    fields_put_uint(&f, s->generation);
    fields_put_id(&f, &s->peer);
    fields_put_bytes(&f, s->keys);
    fields_put_uint(&f, s->ways);
    fields_put_uint(&f, s->into);
    fields_put_uint(&f, s->into_generation);
    fields_put_bytes(&f, s->into_lo);
    fields_put_uint(&f, s->fresh);
    fields_put_uint(&f, s->fresh_generation);
    fields_end(&f);
    return DLHT_OK;
}

static void unpack_step(struct mp_reader *r, struct step *s)
{
    struct fields_in f = fields_open(r);
    s->kind = (uint8_t)fields_uint(&f, STEP_MERGE);
    s->keyspace = (keyspace_id)fields_uint(&f, UINT32_MAX);
    s->arc = fields_uint(&f, UINT64_MAX);
    s->generation = fields_uint(&f, UINT64_MAX);
    s->peer = fields_id(&f);
    s->keys = fields_bytes(&f, STEP_KEYS_MAX);
    s->ways = (uint32_t)fields_uint(&f, STEP_WAYS_MAX);
    s->into = fields_uint(&f, UINT64_MAX);
    s->into_generation = fields_uint(&f, UINT64_MAX);
    s->into_lo = fields_bytes(&f, KEY_LEN_MAX);
    s->fresh = fields_uint(&f, UINT64_MAX);
    s->fresh_generation = fields_uint(&f, UINT64_MAX);
    fields_close(&f);
    if (s->kind < STEP_ADD || s->arc == 0 ||
        (s->kind < STEP_SPLIT && id_is_zero(&s->peer)) ||
        (s->kind == STEP_MERGE && s->into == 0))
        mp_fail(r);
}

static int pack_gone(const struct message *m, struct buf *b)
{
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, m->u.gone.arc);
    fields_put_uint(&f, m->u.gone.replica);
    fields_put_uint(&f, m->u.gone.generation);
    fields_end(&f);
    return DLHT_OK;
}

static void unpack_gone(struct mp_reader *r, struct message *m)
{
    struct fields_in f = fields_open(r);
    m->u.gone.arc = fields_uint(&f, UINT64_MAX);
    m->u.gone.replica = fields_uint(&f, UINT64_MAX);
    m->u.gone.generation = fields_uint(&f, UINT64_MAX);
    fields_close(&f);
    if (m->u.gone.arc == 0 || m->u.gone.replica == 0)
        mp_fail(r);
}

static int pack_ring(const struct ring_message *m, struct buf *b)
{
    if (m->arc_count > RING_LIST_MAX)
        return DLHT_ETOOBIG;
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, m->type);
    fields_put_uint(&f, m->level);
    fields_put_uint(&f, m->number);
    fields_put_uint(&f, m->to);
    codec_pack_arc(b, m->self);
    fields_note(&f, true);
    if (m->predecessor)
        codec_pack_arc(b, m->predecessor);
    else
        mp_write_nil(b);
    fields_note(&f, m->predecessor != NULL);
    mp_write_array(b, m->arc_count);
    for (size_t i = 0; i < m->arc_count; i++)
        codec_pack_arc(b, m->arcs[i]);
    fields_note(&f, m->arc_count > 0);
    fields_put_bytes(&f, m->key);
    fields_end(&f);
    return DLHT_OK;
}

/* All of one keyspace, so that who keeps them need not look again. */
static const struct arc *unpack_ring_arc(struct mp_reader *r, struct arc *arc,
                                         keyspace_id keyspace)
{
    codec_unpack_arc(r, arc);
    if (!r->bad && arc->keyspace != keyspace)
        mp_fail(r);
    return arc;
}

static void unpack_ring_arcs(struct mp_reader *r, struct codec_arena *arena,
                             struct ring_message *m, keyspace_id keyspace)
{
    size_t count = body_count(r, RING_LIST_MAX);
    struct arc *list = body_array(arena, r, count, sizeof *list, BODY_ARC_MIN);
    for (size_t i = 0; i < count && !r->bad; i++)
        m->arcs[i] = unpack_ring_arc(r, &list[i], keyspace);
    m->arc_count = r->bad ? 0 : count;
}

static void unpack_ring(struct mp_reader *r, struct codec_arena *arena,
                        struct ring_message *m)
{
    *m = (struct ring_message){ 0 };
    struct arc *list = body_array(arena, r, 2, sizeof *list, 1);
    if (!list)
        return;
    struct fields_in f = fields_open(r);
    m->type = (uint8_t)fields_uint(&f, RING_FOUND);
    m->level = (uint8_t)fields_uint(&f, RING_LEVELS_MAX - 1);
    m->number = fields_uint(&f, UINT64_MAX);
    m->to = fields_uint(&f, UINT64_MAX);
    if (!fields_more(&f) || m->type < RING_ASK || m->to == 0) {
        mp_fail(r);
        return;
    }
    codec_unpack_arc(r, &list[0]);
    m->self = &list[0];
    keyspace_id keyspace = list[0].keyspace;
    if (fields_next_is_nil(&f)) {
        (void)fields_more(&f);
        mp_read_nil(r);
    } else if (fields_more(&f)) {
        m->predecessor = unpack_ring_arc(r, &list[1], keyspace);
    }
    if (fields_more(&f))
        unpack_ring_arcs(r, arena, m, keyspace);
    m->key = fields_bytes(&f, CODEC_KEY_MAX);
    fields_close(&f);
}

static int pack_model(const struct model_message *m, struct buf *b)
{
    if (m->bytes.len > MODEL_PART_MAX || m->count_count > MESSAGE_COUNTS_MAX ||
        m->total > MODEL_TOTAL_MAX ||
        m->offset > MODEL_TOTAL_MAX - m->bytes.len)
        return DLHT_ETOOBIG;
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, m->kind);
    fields_put_uint(&f, m->keyspace);
    fields_put_uint(&f, m->epoch);
    fields_put_uint(&f, m->total);
    fields_put_uint(&f, m->offset);
    fields_put_bytes(&f, m->bytes);
    mp_write_array(b, 4 * m->count_count);
    for (size_t i = 0; i < m->count_count; i++) {
        mp_write_uint(b, m->counts[i].arc);
        mp_write_uint(b, m->counts[i].generation);
        mp_write_uint(b, m->counts[i].applied);
        mp_write_uint(b, m->counts[i].keys);
    }
    fields_note(&f, m->count_count > 0);
    fields_end(&f);
    return DLHT_OK;
}

static void unpack_model_counts(struct mp_reader *r, struct codec_arena *arena,
                                struct model_message *m)
{
    size_t numbers = body_count(r, (size_t)4 * MESSAGE_COUNTS_MAX);
    size_t count = numbers / 4;
    struct model_count *list = body_array(arena, r, count, sizeof *list, 4);
    for (size_t i = 0; i < count && !r->bad; i++) {
        list[i].arc = mp_read_uint(r);
        list[i].generation = mp_read_uint(r);
        list[i].applied = mp_read_uint(r);
        list[i].keys = mp_read_uint(r);
    }
    if (numbers % 4)
        mp_fail(r);
    m->counts = r->bad ? NULL : list;
    m->count_count = r->bad ? 0 : count;
}

static void unpack_model(struct mp_reader *r, struct codec_arena *arena,
                         struct model_message *m)
{
    *m = (struct model_message){ 0 };
    struct fields_in f = fields_open(r);
    m->kind = (uint8_t)fields_uint(&f, MODEL_COUNTS);
    m->keyspace = (keyspace_id)fields_uint(&f, UINT32_MAX);
    m->epoch = fields_uint(&f, UINT64_MAX);
    m->total = fields_uint(&f, MODEL_TOTAL_MAX);
    m->offset = fields_uint(&f, MODEL_TOTAL_MAX);
    m->bytes = fields_bytes(&f, MODEL_PART_MAX);
    if (fields_more(&f))
        unpack_model_counts(r, arena, m);
    fields_close(&f);
    if (m->kind < MODEL_NEWS || m->offset + m->bytes.len > MODEL_TOTAL_MAX)
        mp_fail(r);
}

static int pack_pace(const struct message *m, struct buf *b)
{
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, m->u.pace.p99_us);
    fields_put_uint(&f, m->u.pace.samples);
    fields_put_uint(&f, m->u.pace.rate);
    fields_end(&f);
    return DLHT_OK;
}

/* Bits of a RECOVER. */
enum {
    RECOVER_VOTER = 1,
    RECOVER_EMPTY = 2,
    RECOVER_LEADS = 4,
    RECOVER_BITS = 7
};

static int pack_recover(const struct recover_message *m, struct buf *b)
{
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, m->kind);
    fields_put_uint(&f, m->number);
    fields_put_uint(&f, m->arc);
    fields_put_uint(&f, m->replica);
    fields_put_uint(&f, m->fresh);
    fields_put_uint(&f, (m->voter ? RECOVER_VOTER : 0u) |
                            (m->empty ? RECOVER_EMPTY : 0u) |
                            (m->leads ? RECOVER_LEADS : 0u));
    fields_put_uint(&f, m->last_term);
    fields_put_uint(&f, m->last_index);
    fields_put_uint(&f, m->applied);
    fields_put_uint(&f, m->term);
    fields_put_uint(&f, m->generation);
    fields_put_uint(&f, m->keys);
    fields_put_uint(&f, m->bytes);
    fields_put_int(&f, m->status);
    if (m->arc_known)
        codec_pack_arc(b, m->arc_known);
    else
        mp_write_nil(b);
    fields_note(&f, m->arc_known != NULL);
    fields_end(&f);
    return DLHT_OK;
}

static void unpack_pace(struct mp_reader *r, struct message *m)
{
    struct fields_in f = fields_open(r);
    m->u.pace.p99_us = fields_uint(&f, UINT32_MAX);
    m->u.pace.samples = fields_uint(&f, UINT64_MAX);
    m->u.pace.rate = fields_uint(&f, UINT64_MAX);
    fields_close(&f);
}

static void unpack_recover(struct mp_reader *r, struct codec_arena *arena,
                           struct recover_message *m)
{
    *m = (struct recover_message){ 0 };
    struct fields_in f = fields_open(r);
    m->kind = (uint8_t)fields_uint(&f, RECOVER_TAKE);
    m->number = fields_uint(&f, UINT64_MAX);
    m->arc = fields_uint(&f, UINT64_MAX);
    m->replica = fields_uint(&f, UINT64_MAX);
    m->fresh = fields_uint(&f, UINT64_MAX);
    uint64_t bits = fields_uint(&f, RECOVER_BITS);
    m->voter = bits & RECOVER_VOTER;
    m->empty = bits & RECOVER_EMPTY;
    m->leads = bits & RECOVER_LEADS;
    m->last_term = fields_uint(&f, UINT64_MAX);
    m->last_index = fields_uint(&f, UINT64_MAX);
    m->applied = fields_uint(&f, UINT64_MAX);
    m->term = fields_uint(&f, UINT64_MAX);
    m->generation = fields_uint(&f, UINT64_MAX);
    m->keys = fields_uint(&f, UINT64_MAX);
    m->bytes = fields_uint(&f, UINT64_MAX);
    m->status = fields_status(&f, BODY_STATUS_MIN);
    if (fields_next_is_nil(&f)) {
        if (fields_more(&f))
            mp_read_nil(r);
    } else if (fields_more(&f)) {
        struct arc *arc = body_array(arena, r, 1, sizeof *arc, BODY_ARC_MIN);
        if (arc)
            codec_unpack_arc(r, arc);
        else
            mp_fail(r);
        m->arc_known = r->bad ? NULL : arc;
        if (!r->bad && arc->id != m->arc)
            mp_fail(r);
    }
    fields_close(&f);
    if (m->kind < RECOVER_ASK || m->arc == 0 ||
        (m->kind == RECOVER_TAKE && (m->fresh == 0 || !m->arc_known)))
        mp_fail(r);
}

int body_pack_control(const struct message *m, struct buf *b)
{
    /* clang-format off */
    switch ((int)m->type) {
    case MESSAGE_HELLO:   return pack_hello(&m->u.hello, b);
    case MESSAGE_SWIM:    return pack_swim(m->u.swim, b);
    case MESSAGE_GOSSIP:  return pack_gossip(m, b);
    case MESSAGE_DIGEST:  return pack_digest(m, b);
    case MESSAGE_JOIN:    return pack_join(m, b);
    case MESSAGE_WELCOME: return pack_welcome(m, b);
    case MESSAGE_REPORT:  return pack_report(m, b);
    case MESSAGE_STEP:    return pack_step(&m->u.step, b);
    case MESSAGE_GONE:    return pack_gone(m, b);
    case MESSAGE_RING:    return pack_ring(&m->u.ring, b);
    case MESSAGE_MODEL:   return pack_model(&m->u.model, b);
    case MESSAGE_PACE:    return pack_pace(m, b);
    case MESSAGE_RECOVER: return pack_recover(&m->u.recover, b);
    default:
        assert(false && "a control message");
        return DLHT_EINVAL;
    }
    /* clang-format on */
}

void body_unpack_control(struct mp_reader *r, struct codec_arena *arena,
                         struct message *m)
{
    /* clang-format off */
    switch ((int)m->type) {
    case MESSAGE_HELLO:   unpack_hello(r, &m->u.hello); break;
    case MESSAGE_SWIM:    unpack_swim(r, arena, m); break;
    case MESSAGE_GOSSIP:  unpack_gossip(r, arena, m); break;
    case MESSAGE_DIGEST:  unpack_digest(r, m); break;
    case MESSAGE_JOIN:    unpack_join(r, m); break;
    case MESSAGE_WELCOME: unpack_welcome(r, arena, m); break;
    case MESSAGE_REPORT:  unpack_report(r, arena, m); break;
    case MESSAGE_STEP:    unpack_step(r, &m->u.step); break;
    case MESSAGE_GONE:    unpack_gone(r, m); break;
    case MESSAGE_RING:    unpack_ring(r, arena, &m->u.ring); break;
    case MESSAGE_MODEL:   unpack_model(r, arena, &m->u.model); break;
    case MESSAGE_PACE:    unpack_pace(r, m); break;
    case MESSAGE_RECOVER: unpack_recover(r, arena, &m->u.recover); break;
    default:              assert(false && "a control message");
    }
    /* clang-format on */
}
