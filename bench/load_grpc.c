/* SPDX-License-Identifier: Apache-2.0 */

/* Range and Put of etcd as its own client asks them: gRPC on HTTP/2 without
 * TLS, one stream a request. Only what that needs is here. Header blocks of
 * answers are passed over: a call that succeeded has a message, one that
 * failed has none. */

#include "load.h"

enum {
    HEAD_BYTES = 9,   /* of a frame */
    PREFIX_BYTES = 5, /* of a message */
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_RESET = 3,
    FRAME_SETTINGS = 4,
    FRAME_PING = 6,
    FRAME_GOAWAY = 7,
    FRAME_WINDOW = 8,
    FLAG_END_STREAM = 1,
    FLAG_ACK = 1,
    FLAG_END_HEADERS = 4,
    WINDOW = 1 << 30
};

static void put_u32(uint8_t *to, uint32_t n)
{
    for (int i = 3; i >= 0; i--, n >>= 8)
        to[i] = (uint8_t)n;
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
           (uint32_t)at[2] << 8 | at[3];
}

static void frame(struct buf *out, uint8_t type, uint8_t flags, size_t len)
{
    uint8_t head[HEAD_BYTES] = { 0 };
    put_u32(head, (uint32_t)len << 8);
    head[3] = type;
    head[4] = flags; /* the stream is stamped in */
    buf_append(out, head, sizeof head);
}

static void widen(struct buf *out, uint32_t by)
{
    uint8_t more[4];
    put_u32(more, by);
    frame(out, FRAME_WINDOW, 0, sizeof more);
    buf_append(out, more, sizeof more);
}

static void grpc_hello(struct load *load, struct load_connection *c)
{
    static const uint8_t window[] = { 0, 4, 0x7f, 0xff, 0xff, 0xff };
    (void)load;
    buf_append_span(&c->out, span_str("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    frame(&c->out, FRAME_SETTINGS, 0, sizeof window);
    buf_append(&c->out, window, sizeof window);
    widen(&c->out, WINDOW);
    c->greeting = true; /* until its settings came */
}

/* HPACK: a field that no table remembers; its name is the static entry, or if
 * that is 0 given. */
static void field(struct buf *out, uint8_t entry, const char *name,
                  const char *value)
{
    if (entry >= 15) {
        buf_append_byte(out, 15);
        buf_append_byte(out, (uint8_t)(entry - 15));
    } else {
        buf_append_byte(out, entry);
    }
    if (entry == 0) {
        buf_append_byte(out, (uint8_t)strlen(name));
        buf_append_span(out, span_str(name));
    }
    buf_append_byte(out, (uint8_t)strlen(value));
    buf_append_span(out, span_str(value));
}

/* Protobuf: field of bytes; where they begin. */
static size_t bytes_field(struct buf *out, uint8_t number, const void *bytes,
                          size_t len)
{
    buf_append_byte(out, (uint8_t)(number << 3 | 2));
    for (size_t n = len;; n >>= 7) {
        buf_append_byte(out, (uint8_t)((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
        if (n <= 0x7f)
            break;
    }
    buf_append(out, bytes, len);
    return out->len - len;
}

static void grpc_make(const struct load *load, enum load_kind kind,
                      struct load_form *form)
{
    static uint8_t value[LOAD_VALUE_MAX];
    uint8_t key[LOAD_KEY_MAX];
    const struct load_options *options = load->options;
    struct buf head = { 0 }, body = { 0 };
    if (options->value_size > 8 << 10)
        load_die("grpc: a value is to fit into a frame: at most 8 KiB");
    buf_append_byte(&head, 0x83); /* POST */
    buf_append_byte(&head, 0x86); /* http */
    field(&head, 4, NULL,
          kind == LOAD_GET ? "/etcdserverpb.KV/Range" : "/etcdserverpb.KV/Put");
    field(&head, 1, NULL, "localhost");
    field(&head, 31, NULL, "application/grpc");
    field(&head, 0, "te", "trailers");
    load_key_form(key, options->key_size);
    memset(value, 'v', options->value_size);
    uint8_t prefix[PREFIX_BYTES] = { 0 };
    buf_append(&body, prefix, sizeof prefix);
    size_t key_at = bytes_field(&body, 1, key, options->key_size);
    size_t value_at = 0;
    if (kind == LOAD_SET)
        value_at = bytes_field(&body, 2, value, options->value_size);
    put_u32(body.data + 1, (uint32_t)(body.len - PREFIX_BYTES));

    frame(&form->bytes, FRAME_HEADERS, FLAG_END_HEADERS, head.len);
    buf_append_span(&form->bytes, buf_span(&head));
    frame(&form->bytes, FRAME_DATA, FLAG_END_STREAM, body.len);
    form->key_at = form->bytes.len + key_at;
    form->value_at = value_at ? form->bytes.len + value_at : 0;
    buf_append_span(&form->bytes, buf_span(&body));
    buf_deinit(&head);
    buf_deinit(&body);
}

static void grpc_stamp(uint8_t *request, const struct load_form *form,
                       uint32_t id)
{
    (void)form;
    uint32_t stream = id * 2 + 1;
    size_t head = get_u32(request) >> 8;
    put_u32(request + 5, stream);
    put_u32(request + HEAD_BYTES + head + 5, stream);
}

/* Reads a field's number and kind; false: there is none. */
static bool varint(struct span *s, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; s->len && shift < 64; shift += 7) {
        uint8_t byte = s->data[0];
        *s = span_tail(*s, 1);
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* The bytes of the first field of that number; no data: there is none. */
static struct span inner(struct span s, uint64_t number)
{
    uint64_t tag, n;
    while (varint(&s, &tag)) {
        if (!varint(&s, &n))
            break;
        if ((tag & 7) == 0)
            continue;
        if ((tag & 7) != 2 || n > s.len)
            break;
        if (tag >> 3 == number)
            return span_of(s.data, (size_t)n);
        s = span_tail(s, (size_t)n);
    }
    return span_empty();
}

static enum load_answer broken(struct load_reply *reply, const char *why)
{
    reply->bytes = span_str(why);
    return LOAD_BROKEN;
}

/* A RangeResponse has its records in field 2, their values in field 5. What a
 * put is answered with has but a header. */
static enum load_answer data_frame(struct load_connection *c, struct span body,
                                   struct load_reply *reply)
{
    uint32_t slot = c->slot_of[reply->id % LOAD_IDS];
    if (body.len < PREFIX_BYTES || body.data[0] != 0 ||
        get_u32(body.data + 1) != body.len - PREFIX_BYTES)
        return broken(reply, "a message that is not in one frame");
    body = span_tail(body, PREFIX_BYTES);
    reply->is = LOAD_STORED;
    if (slot != LOAD_NO_SLOT && c->slots[slot].kind == LOAD_GET) {
        struct span record = inner(body, 2);
        reply->is = record.data ? LOAD_VALUE : LOAD_MISS;
        reply->bytes = inner(record, 5);
    }
    return LOAD_PART;
}

static void acknowledge(struct load_connection *c, uint8_t type,
                        struct span body)
{
    frame(&c->out, type, FLAG_ACK, type == FRAME_PING ? body.len : 0);
    if (type == FRAME_PING)
        buf_append_span(&c->out, body);
}

static enum load_answer grpc_take(struct load_connection *c, struct span input,
                                  struct load_reply *reply)
{
    if (input.len < HEAD_BYTES)
        return LOAD_MORE;
    size_t len = get_u32(input.data) >> 8;
    uint8_t type = input.data[3], flags = input.data[4];
    uint32_t stream = get_u32(input.data + 5) & 0x7fffffff;
    reply->used = HEAD_BYTES + len;
    if (input.len < reply->used)
        return LOAD_MORE;
    struct span body = span_of(input.data + HEAD_BYTES, len);
    reply->id = stream / 2;
    switch (type) {
    case FRAME_DATA:
        c->taken_bytes += len;
        if (c->taken_bytes > WINDOW / 2) {
            widen(&c->out, (uint32_t)c->taken_bytes);
            c->taken_bytes = 0;
        }
        return data_frame(c, body, reply);
    case FRAME_HEADERS:
        return flags & FLAG_END_STREAM ? LOAD_END : LOAD_NOTHING;
    case FRAME_RESET:
        return LOAD_END;
    case FRAME_SETTINGS:
    case FRAME_PING:
        if (!(flags & FLAG_ACK))
            acknowledge(c, type, body);
        c->greeting = false;
        return LOAD_NOTHING;
    case FRAME_GOAWAY:
        return broken(reply, "the server sends us away");
    default:
        return LOAD_NOTHING;
    }
}

const struct load_protocol load_grpc = { .name = "grpc",
                                         .numbered = true,
                                         .hello = grpc_hello,
                                         .make = grpc_make,
                                         .stamp = grpc_stamp,
                                         .take = grpc_take };
