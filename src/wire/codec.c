/* SPDX-License-Identifier: Apache-2.0 */

/* Frames: header, checksum, and which body belongs to which type. */

#include "wire/codec.h"

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "wire/body.h"

/* Where things stand in the header; numbers are big-endian.
 *
 *     0      1      2    3     4..7   8..11  12..15
 *     magic  layout type flags length stream checksum
 */
enum {
    AT_LAYOUT = 1,
    AT_TYPE = 2,
    AT_FLAGS = 3,
    AT_LENGTH = 4,
    AT_STREAM = 8,
    AT_CHECKSUM = 12
};

static uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

static void store32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 24);
    p[1] = (uint8_t)(value >> 16);
    p[2] = (uint8_t)(value >> 8);
    p[3] = (uint8_t)value;
}

/* Of the body, seeded by the header before the checksum. */
static uint32_t checksum_of(const uint8_t *frame, size_t body_len)
{
    uint64_t seed = hash64(span_of(frame, AT_CHECKSUM));
    return (uint32_t)hash64_seeded(
        span_of(frame + FRAME_HEADER_BYTES, body_len), seed);
}

static int pack_body(const struct message *m, struct buf *out)
{
    switch ((enum message_type)m->type) {
    case MESSAGE_REQUEST:
        return body_pack_request(&m->u.request, out);
    case MESSAGE_RESPONSE:
        return body_pack_response(&m->u.response, out);
    case MESSAGE_RAFT:
        return body_pack_raft(m, out);
    case MESSAGE_SNAPSHOT_CHUNK:
        return body_pack_chunk(&m->u.chunk, out);
    case MESSAGE_SNAPSHOT_ACK:
        return body_pack_ack(&m->u.ack, out);
    case MESSAGE_HELLO:
    case MESSAGE_SWIM:
    case MESSAGE_GOSSIP:
    case MESSAGE_DIGEST:
    case MESSAGE_JOIN:
    case MESSAGE_WELCOME:
    case MESSAGE_REPORT:
    case MESSAGE_STEP:
    case MESSAGE_GONE:
    case MESSAGE_RING:
    case MESSAGE_MODEL:
    case MESSAGE_PACE:
    case MESSAGE_RECOVER:
        return body_pack_control(m, out);
    default:
        assert(false && "a message has a type");
        return DLHT_EINVAL;
    }
}

int codec_pack(const struct message *message, struct buf *out)
{
    size_t start = out->len;
    if (buf_reserve(out, FRAME_HEADER_BYTES + 64) != DLHT_OK)
        return DLHT_ENOMEM;
    bool failed_before = out->failed;
    out->failed = false;
    out->len += FRAME_HEADER_BYTES;
    int rc = pack_body(message, out);
    size_t body_len = out->len - start - FRAME_HEADER_BYTES;
    if (rc == DLHT_OK && out->failed)
        rc = DLHT_ENOMEM;
    if (rc == DLHT_OK && body_len > WIRE_BODY_MAX)
        rc = DLHT_ETOOBIG;
    out->failed = failed_before;
    if (rc != DLHT_OK) {
        out->len = start;
        return rc;
    }
    uint8_t *header = out->data + start;
    header[0] = FRAME_MAGIC;
    header[AT_LAYOUT] = FRAME_LAYOUT;
    header[AT_TYPE] = message->type;
    header[AT_FLAGS] = 0;
    store32(header + AT_LENGTH, (uint32_t)body_len);
    store32(header + AT_STREAM, message->stream);
    store32(header + AT_CHECKSUM, checksum_of(header, body_len));
    return DLHT_OK;
}

int codec_frame(struct span input, size_t *len)
{
    *len = 0;
    if (input.len > 0 && input.data[0] != FRAME_MAGIC)
        return DLHT_EPROTO;
    if (input.len > AT_LAYOUT && input.data[AT_LAYOUT] != FRAME_LAYOUT)
        return DLHT_EVERSION;
    if (input.len < FRAME_HEADER_BYTES)
        return 0;
    uint32_t body_len = load32(input.data + AT_LENGTH);
    if (body_len > WIRE_BODY_MAX)
        return DLHT_ETOOBIG;
    *len = FRAME_HEADER_BYTES + (size_t)body_len;
    return input.len >= *len;
}

static void unpack_body(struct mp_reader *r, struct codec_arena *arena,
                        struct message *out)
{
    switch ((enum message_type)out->type) {
    case MESSAGE_REQUEST:
        body_unpack_request(r, &out->u.request);
        break;
    case MESSAGE_RESPONSE:
        body_unpack_response(r, arena, &out->u.response);
        break;
    case MESSAGE_RAFT:
        body_unpack_raft(r, arena, out);
        break;
    case MESSAGE_SNAPSHOT_CHUNK:
        body_unpack_chunk(r, &out->u.chunk);
        break;
    case MESSAGE_SNAPSHOT_ACK:
        body_unpack_ack(r, &out->u.ack);
        break;
    case MESSAGE_HELLO:
    case MESSAGE_SWIM:
    case MESSAGE_GOSSIP:
    case MESSAGE_DIGEST:
    case MESSAGE_JOIN:
    case MESSAGE_WELCOME:
    case MESSAGE_REPORT:
    case MESSAGE_STEP:
    case MESSAGE_GONE:
    case MESSAGE_RING:
    case MESSAGE_MODEL:
    case MESSAGE_PACE:
    case MESSAGE_RECOVER:
        body_unpack_control(r, arena, out);
        break;
    default:
        mp_fail(r);
    }
}

int codec_unpack(struct span frame, struct codec_arena *arena,
                 struct message *out)
{
    size_t len;
    codec_arena_reset(arena);
    if (codec_frame(frame, &len) != 1 || len != frame.len)
        return DLHT_EPROTO;
    const uint8_t *header = frame.data;
    size_t body_len = len - FRAME_HEADER_BYTES;
    if (header[AT_FLAGS] != 0 ||
        load32(header + AT_CHECKSUM) != checksum_of(header, body_len))
        return DLHT_EPROTO;
    out->type = header[AT_TYPE];
    out->stream = load32(header + AT_STREAM);
    struct mp_reader r;
    mp_reader_init(&r, span_tail(frame, FRAME_HEADER_BYTES));
    unpack_body(&r, arena, out);
    if (arena->failed)
        return DLHT_ENOMEM;
    return r.bad || !mp_at_end(&r) ? DLHT_EPROTO : DLHT_OK;
}
