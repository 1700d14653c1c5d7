/* SPDX-License-Identifier: Apache-2.0 */

/* Vectors in MessagePack-RPC. */

#include "wire/rpc_vector.h"

enum {
    FLOAT_BYTES = 4,
    HIT_PARTS = 3 /* of the value of a hit: distance, meta, vector */
};

static const char *skip_numbers(struct mp_reader *r)
{
    size_t count = mp_read_array(r);
    if (r->bad || count == 0 || count > RPC_VECTOR_DIM_MAX) {
        mp_fail(r);
        return "a vector has 1 to 16384 numbers";
    }
    for (size_t i = 0; i < count && !r->bad; i++)
        (void)mp_read_float(r);
    return r->bad ? "a vector is bin of float32, or an array of numbers" : NULL;
}

const char *rpc_vector_skip(struct mp_reader *r)
{
    if (mp_peek(r) == MP_ARRAY)
        return skip_numbers(r);
    struct span bytes = mp_read_bytes(r);
    if (r->bad)
        return "a vector is bin of float32, or an array of numbers";
    if (bytes.len == 0 || bytes.len % FLOAT_BYTES ||
        bytes.len / FLOAT_BYTES > RPC_VECTOR_DIM_MAX) {
        mp_fail(r);
        return "a vector as bin has 4 bytes a number, 1 to 16384 of them";
    }
    return NULL;
}

const char *rpc_vector_skip_meta(struct mp_reader *r)
{
    if (mp_peek(r) == MP_NIL) {
        mp_read_nil(r);
        return NULL;
    }
    struct span json = mp_read_bytes(r);
    if (!r->bad && json.len <= RPC_VECTOR_META_MAX)
        return NULL;
    mp_fail(r);
    return "metadata is nil, or str of a JSON object of at most 262144 bytes";
}

static bool is_one_value(struct span bytes)
{
    size_t len;
    return bytes.len && mp_whole(bytes, bytes.len, &len) == 1 &&
           len == bytes.len;
}

bool rpc_vector_write_got(struct buf *b, const struct response *s)
{
    if (!is_one_value(s->value))
        return false;
    mp_write_array(b, 2);
    buf_append_span(b, s->value);
    mp_write_uint(b, s->version);
    return true;
}

static bool write_hit(struct buf *b, struct mp_reader *r)
{
    struct span id = mp_read_bytes(r);
    struct span value = mp_read_bytes(r);
    uint64_t version = mp_read_uint(r);
    struct mp_reader parts;
    if (r->bad || !is_one_value(value))
        return false;
    mp_reader_init(&parts, value);
    if (mp_read_array(&parts) != HIT_PARTS)
        return false;
    mp_write_array(b, 2 + HIT_PARTS);
    mp_write_bin(b, id);
    buf_append(b, parts.at, mp_left(&parts));
    mp_write_uint(b, version);
    return true;
}

bool rpc_vector_write_hits(struct buf *b, const struct response *s)
{
    struct mp_reader r;
    mp_reader_init(&r, s->list);
    mp_write_array(b, 2);
    mp_write_array(b, s->list_count);
    for (uint32_t i = 0; i < s->list_count; i++)
        if (!write_hit(b, &r))
            return false;
    if (!mp_at_end(&r) || !is_one_value(s->value))
        return false;
    buf_append_span(b, s->value);
    return true;
}
