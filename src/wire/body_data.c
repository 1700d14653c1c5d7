/* SPDX-License-Identifier: Apache-2.0 */

/* REQUEST and RESPONSE: the data path. Parsed in place, no memory taken (the
 * arc of a NOT_OWNER answer excepted). */

#include <assert.h>

#include "dlht/err.h"
#include "wire/body.h"
#include "wire/cas_item.h"
#include "wire/fields.h"

enum {
    REQUEST_FLAGS_ALL = 0x1fff
};

/* An op that has a list: its items a record; else 0. */
static size_t items_per_record(uint8_t op)
{
    switch (op) {
    case OP_MGET:
        return 1;
    case OP_BATCH:
        return 2;
    case OP_CAS_BATCH:
        return CAS_ITEM_BINS;
    default:
        return 0;
    }
}

static bool op_needs_key(uint8_t op)
{
    return op == OP_PUT || op == OP_GET || op == OP_DEL || op == OP_CAS ||
           op == OP_VECTOR_PUT || op == OP_VECTOR_GET ||
           op == OP_CACHE_EXPIRE || op == OP_CACHE_LEASE;
}

/* The document of an admin operation. */
static bool op_has_document(uint8_t op)
{
    return op >= OP_LOOKUP && op != OP_MODEL_SUMS && op != OP_MERGE &&
           op != OP_CAS_BATCH && op < OP_CACHE_EXPIRE;
}

static void pack_route(struct fields_out *f, const struct request *q)
{
    bool meant = q->arc || q->generation || q->hops || q->avoid.len;
    struct fields_out route = fields_begin(f->b);
    fields_put_uint(&route, q->arc);
    fields_put_uint(&route, q->generation);
    fields_put_uint(&route, q->hops);
    fields_put_bytes(&route, q->avoid);
    fields_end(&route);
    fields_note(f, meant);
}

static void pack_keyspace_ref(struct fields_out *f, const struct request *q)
{
    if (q->keyspace == 0 && q->keyspace_name.len > 0)
        fields_put_bytes(f, q->keyspace_name);
    else
        fields_put_uint(f, q->keyspace);
}

/* Beyond what a put and a get of a client need. */
static bool request_says_more(const struct request *q)
{
    return !id_is_zero(&q->session) || q->version || q->timeout_ms || q->arc ||
           q->generation || q->hops || q->avoid.len || q->limit || q->end.len ||
           q->list_count || q->ttl_ms;
}

static void pack_request_rest(struct fields_out *f, const struct request *q)
{
    fields_put_id(f, &q->session);
    fields_put_uint(f, q->version);
    fields_put_uint(f, q->timeout_ms);
    pack_route(f, q);
    fields_put_uint(f, q->limit);
    fields_put_bytes(f, q->end);
    mp_write_array(f->b, q->list_count);
    buf_append_span(f->b, q->list);
    fields_note(f, q->list_count > 0);
    fields_put_uint(f, q->ttl_ms);
}

int body_pack_request(const struct request *q, struct buf *b)
{
    if (q->key.len > CODEC_KEY_MAX || q->end.len > CODEC_KEY_MAX ||
        q->value.len > VALUE_LEN_MAX || q->list.len > WIRE_BODY_MAX ||
        q->list_count > CAS_ITEM_BINS * BATCH_COUNT_MAX ||
        q->keyspace_name.len > KEYSPACE_NAME_MAX)
        return DLHT_ETOOBIG;
    struct fields_out f = fields_begin(b);
    fields_put_uint(&f, q->op);
    fields_put_uint(&f, q->flags);
    pack_keyspace_ref(&f, q);
    fields_put_bytes(&f, q->key);
    fields_put_bytes(&f, q->value);
    fields_put_uint(&f, q->number);
    fields_put_uint(&f, q->lowest_open);
    if (request_says_more(q))
        pack_request_rest(&f, q);
    fields_end(&f);
    return DLHT_OK;
}

static void unpack_keyspace_ref(struct fields_in *f, struct request *q)
{
    if (f->left == 0)
        return;
    if (mp_peek(f->r) == MP_BYTES)
        q->keyspace_name = fields_bytes(f, KEYSPACE_NAME_MAX);
    else
        q->keyspace = (keyspace_id)fields_uint(f, UINT32_MAX);
}

static void unpack_route(struct fields_in *f, struct request *q)
{
    if (!fields_more(f))
        return;
    struct fields_in route = fields_open(f->r);
    q->arc = fields_uint(&route, UINT64_MAX);
    q->generation = fields_uint(&route, UINT64_MAX);
    q->hops = (uint8_t)fields_uint(&route, UINT8_MAX);
    q->avoid = fields_bytes(&route, (size_t)8 * REQUEST_AVOID_MAX);
    fields_close(&route);
}

static void read_key(struct mp_reader *r)
{
    struct span key = mp_read_bytes(r);
    if (key.len == 0 || key.len > CODEC_KEY_MAX)
        mp_fail(r);
}

static void read_value(struct mp_reader *r)
{
    if (mp_read_bytes(r).len > VALUE_LEN_MAX)
        mp_fail(r);
}

static void unpack_request_list(struct fields_in *f, struct request *q)
{
    if (!fields_more(f))
        return;
    struct mp_reader *r = f->r;
    size_t each = items_per_record(q->op);
    size_t count = body_count(r, each * BATCH_COUNT_MAX);
    const uint8_t *from = r->at;
    if (each && count % each)
        mp_fail(r);
    for (size_t i = 0; i < count && !r->bad; i += each) {
        struct mp_reader item = *r;
        read_key(r);
        if (each > 1)
            read_value(r);
        if (each != CAS_ITEM_BINS)
            continue;
        (void)cas_item_read(&item);
        *r = item;
    }
    if (r->bad || count == 0)
        return;
    q->list = span_of(from, (size_t)(r->at - from));
    q->list_count = (uint32_t)count;
}

/* Nothing, or one map and no more. */
static bool is_document(struct span bytes)
{
    struct mp_reader r;
    mp_reader_init(&r, bytes);
    if (bytes.len == 0)
        return true;
    if (mp_peek(&r) != MP_MAP)
        return false;
    mp_skip(&r);
    return !r.bad && mp_at_end(&r);
}

static bool request_is_sound(const struct request *q)
{
    if (q->op < OP_PING || q->op > OP_CACHE_LEASE)
        return false;
    if (op_needs_key(q->op) && q->key.len == 0)
        return false;
    if ((q->flags & REQUEST_TO_ARC) && q->arc == 0)
        return false;
    if (q->end.len > 0 && !(q->flags & REQUEST_HAS_END))
        return false;
    return !op_has_document(q->op) || is_document(q->value);
}

void body_unpack_request(struct mp_reader *r, struct request *q)
{
    *q = (struct request){ 0 };
    struct fields_in f = fields_open(r);
    q->op = (uint8_t)fields_uint(&f, UINT8_MAX);
    q->flags = (uint16_t)fields_uint(&f, REQUEST_FLAGS_ALL);
    unpack_keyspace_ref(&f, q);
    q->key = fields_bytes(&f, CODEC_KEY_MAX);
    q->value = fields_bytes(&f, VALUE_LEN_MAX);
    if (f.left > 0) {
        q->number = fields_uint(&f, UINT64_MAX);
        q->lowest_open = fields_uint(&f, UINT64_MAX);
        q->session = fields_id(&f);
        q->version = fields_uint(&f, UINT64_MAX);
        q->timeout_ms = (uint32_t)fields_uint(&f, BODY_TIMEOUT_MS_MAX);
        unpack_route(&f, q);
        q->limit = fields_uint(&f, UINT64_MAX);
        q->end = fields_bytes(&f, CODEC_KEY_MAX);
        unpack_request_list(&f, q);
        q->ttl_ms = fields_uint(&f, UINT64_MAX);
        fields_close(&f);
    }
    if (r->bad || !request_is_sound(q))
        mp_fail(r);
}

static struct span cut(struct span text, size_t max)
{
    return span_of(text.data, text.len < max ? text.len : max);
}

static bool response_says_more(const struct response *s)
{
    return s->list_count || s->more || s->hops || s->peers_asked ||
           s->text.len || s->arc || s->ttl_ms;
}

static void pack_response_rest(struct fields_out *f, const struct response *s)
{
    mp_write_array(f->b, 3 * (size_t)s->list_count);
    buf_append_span(f->b, s->list);
    fields_note(f, s->list_count > 0);
    if (s->more)
        mp_write_bin(f->b, s->cursor);
    else
        mp_write_nil(f->b);
    fields_note(f, s->more);
    fields_put_uint(f, s->hops);
    fields_put_uint(f, s->peers_asked);
    fields_put_bytes(f, cut(s->text, CODEC_TEXT_MAX));
    if (s->arc)
        codec_pack_arc(f->b, s->arc);
    else
        mp_write_nil(f->b);
    fields_note(f, s->arc != NULL);
    fields_put_uint(f, s->ttl_ms);
}

int body_pack_response(const struct response *s, struct buf *b)
{
    if (s->value.len > WIRE_BODY_MAX || s->list.len > WIRE_BODY_MAX ||
        s->list_count > WIRE_BODY_MAX / 4 || s->cursor.len > CODEC_KEY_MAX)
        return DLHT_ETOOBIG;
    struct fields_out f = fields_begin(b);
    fields_put_int(&f, s->status);
    fields_put_uint(&f, s->version);
    fields_put_bytes(&f, s->value);
    fields_put_uint(&f, s->count);
    if (response_says_more(s))
        pack_response_rest(&f, s);
    fields_end(&f);
    return DLHT_OK;
}

static void unpack_response_list(struct fields_in *f, struct response *s)
{
    if (!fields_more(f))
        return;
    struct mp_reader *r = f->r;
    size_t count = mp_read_array(r);
    const uint8_t *from = r->at;
    if (count % 3)
        mp_fail(r);
    for (size_t i = 0; i < count && !r->bad; i += 3) {
        read_key(r);
        read_value(r);
        (void)mp_read_uint(r);
    }
    if (r->bad || count == 0)
        return;
    s->list = span_of(from, (size_t)(r->at - from));
    s->list_count = (uint32_t)(count / 3);
}

static void unpack_cursor(struct fields_in *f, struct response *s)
{
    if (fields_next_is_nil(f) && fields_more(f)) {
        mp_read_nil(f->r);
        return;
    }
    s->more = f->left > 0;
    s->cursor = fields_bytes(f, CODEC_KEY_MAX);
}

static void unpack_response_arc(struct fields_in *f, struct codec_arena *arena,
                                struct response *s)
{
    if (!fields_more(f))
        return;
    if (fields_next_is_nil(f)) {
        mp_read_nil(f->r);
        return;
    }
    struct arc *arc = body_array(arena, f->r, 1, sizeof *arc, BODY_ARC_MIN);
    if (arc)
        codec_unpack_arc(f->r, arc);
    s->arc = f->r->bad ? NULL : arc;
}

void body_unpack_response(struct mp_reader *r, struct codec_arena *arena,
                          struct response *s)
{
    *s = (struct response){ 0 };
    struct fields_in f = fields_open(r);
    s->status = fields_status(&f, BODY_STATUS_MIN);
    s->version = fields_uint(&f, UINT64_MAX);
    s->value = fields_bytes(&f, WIRE_BODY_MAX);
    if (f.left == 0)
        return;
    s->count = fields_uint(&f, UINT64_MAX);
    unpack_response_list(&f, s);
    unpack_cursor(&f, s);
    s->hops = (uint32_t)fields_uint(&f, UINT32_MAX);
    s->peers_asked = (uint32_t)fields_uint(&f, UINT32_MAX);
    s->text = fields_bytes(&f, CODEC_TEXT_MAX);
    unpack_response_arc(&f, arena, s);
    s->ttl_ms = fields_uint(&f, UINT64_MAX);
    fields_close(&f);
}
