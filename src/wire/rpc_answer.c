/* SPDX-License-Identifier: Apache-2.0 */

/* MessagePack-RPC: answers to results. */

#include "wire/rpc.h"

#include "dlht/err.h"
#include "wire/codec.h"
#include "wire/mp.h"
#include "wire/rpc_vector.h"

/* Absence and a version that differs are results. */
static bool is_error(uint8_t op, int32_t status)
{
    if (status == DLHT_ENOTFOUND)
        return op != OP_GET && op != OP_DEL && op != OP_CAS &&
               op != OP_VECTOR_GET && op != OP_CACHE_EXPIRE;
    return status != DLHT_OK &&
           !(status == DLHT_EMISMATCH && (op == OP_CAS || op == OP_CAS_BATCH));
}

/* As str, which readers may refuse unless it is UTF-8: what is not printable
 * ASCII becomes a question mark. */
static void write_text(struct buf *b, struct span text)
{
    size_t len = text.len < CODEC_TEXT_MAX ? text.len : CODEC_TEXT_MAX;
    mp_write_str(b, span_of(text.data, len));
    if (b->failed)
        return;
    for (size_t i = b->len - len; i < b->len; i++)
        if (b->data[i] < ' ' || b->data[i] > '~')
            b->data[i] = '?';
}

static void write_error(struct buf *b, int32_t status, struct span text)
{
    mp_write_array(b, 4);
    mp_write_int(b, status);
    mp_write_cstr(b, dlht_errname(status));
    if (text.len == 0)
        text = span_str(dlht_strerror(status));
    write_text(b, text);
    mp_write_cstr(b, status == DLHT_EUNKNOWN ? "unknown" : "failed");
    mp_write_nil(b);
}

/* False if the list is not what it says. */
static bool write_records(struct buf *b, const struct response *s)
{
    struct mp_reader r;
    mp_reader_init(&r, s->list);
    mp_write_array(b, s->list_count);
    for (uint32_t i = 0; i < s->list_count && !r.bad; i++) {
        mp_write_array(b, 3);
        mp_write_bin(b, mp_read_bytes(&r));
        mp_write_bin(b, mp_read_bytes(&r));
        mp_write_uint(b, mp_read_uint(&r));
    }
    return !r.bad && mp_at_end(&r);
}

static void write_cursor(struct buf *b, const struct response *s)
{
    if (s->more)
        mp_write_bin(b, s->cursor);
    else
        mp_write_nil(b);
}

/* False if it is not one MessagePack value. None: true. */
static bool write_document(struct buf *b, struct span document)
{
    size_t len;
    if (document.len == 0) {
        mp_write_bool(b, true);
        return true;
    }
    if (mp_whole(document, document.len, &len) != 1 || len != document.len)
        return false;
    buf_append_span(b, document);
    return true;
}

/* An estimate says by how much it may be off. */
static void write_count(struct buf *b, const struct request *q,
                        const struct response *s)
{
    bool estimate = q->flags & REQUEST_ESTIMATE;
    if (estimate)
        mp_write_array(b, 2);
    mp_write_uint(b, s->count);
    if (estimate)
        mp_write_uint(b, s->version);
}

/* By names, as enum cache_answer of store/cache.h counts them. */
static void write_lease(struct buf *b, const struct response *s)
{
    static const char *const names[] = { "hit",  "negative", "fill",
                                         "wait", "refresh",  "stale" };
    size_t answer = s->count < 6 ? (size_t)s->count : 3;
    bool there = answer == 0 || answer > 3;
    mp_write_array(b, 4);
    mp_write_cstr(b, names[answer]);
    if (there)
        mp_write_bin(b, s->value);
    else
        mp_write_nil(b);
    mp_write_uint(b, s->version);
    mp_write_uint(b, s->ttl_ms);
}

static bool write_result(struct buf *b, const struct request *q,
                         const struct response *s)
{
    bool found = s->status == DLHT_OK;
    switch ((enum op)q->op) {
    case OP_PUT:
    case OP_VECTOR_PUT:
        mp_write_uint(b, s->version);
        return true;
    case OP_GET:
        if (!found) {
            mp_write_nil(b);
            return true;
        }
        mp_write_array(b, s->ttl_ms ? 3 : 2);
        mp_write_bin(b, s->value);
        mp_write_uint(b, s->version);
        if (s->ttl_ms)
            mp_write_uint(b, s->ttl_ms);
        return true;
    case OP_CACHE_EXPIRE:
        mp_write_bool(b, found);
        return true;
    case OP_CACHE_LEASE:
        write_lease(b, s);
        return true;
    case OP_VECTOR_GET:
        if (found)
            return rpc_vector_write_got(b, s);
        mp_write_nil(b);
        return true;
    case OP_SEARCH:
        return rpc_vector_write_hits(b, s);
    case OP_DEL:
        mp_write_bool(b, found);
        return true;
    case OP_CAS:
        mp_write_array(b, 2);
        mp_write_bool(b, found);
        mp_write_uint(b, s->version);
        return true;
    case OP_MGET:
        return write_records(b, s);
    case OP_BATCH:
        mp_write_uint(b, s->count);
        return true;
    case OP_CAS_BATCH:
        mp_write_array(b, found ? 2 : 3);
        mp_write_bool(b, found);
        mp_write_uint(b, s->version);
        if (!found)
            mp_write_uint(b, s->count);
        return true;
    case OP_COUNT:
        write_count(b, q, s);
        return true;
    case OP_RANGE:
        mp_write_array(b, 2);
        if (!write_records(b, s))
            return false;
        write_cursor(b, s);
        return true;
    case OP_RING:
        mp_write_array(b, 2);
        if (!write_document(b, s->value))
            return false;
        write_cursor(b, s);
        return true;
    case OP_PING:
    case OP_LOOKUP:
    case OP_PEERS:
    case OP_STATUS:
    case OP_KEYSPACE_CREATE:
    case OP_KEYSPACE_LIST:
    case OP_KEYSPACE_DROP:
    case OP_LEAVE:
    case OP_ARC_INFO:
    case OP_MODEL:
    case OP_KEYSPACE_SET:
    case OP_KEYSPACE_SHOW:
    case OP_PRESPLIT:
    case OP_MODEL_REPORT:
    case OP_MODEL_SUMS:
    case OP_MERGE:
    case OP_BALANCE:
    case OP_PEER_SET:
    case OP_RECOVER:
    case OP_VECTORS:
    case OP_SEARCH_PEER:
    case OP_SEARCH_CONFIRM:
    case OP_CACHE_FLUSH:
    case OP_CACHE_STATS:
    default:
        return write_document(b, s->value);
    }
}

int rpc_pack_response(const struct rpc_call *call,
                      const struct response *response, struct buf *out)
{
    if (!call->wants_answer)
        return DLHT_OK;
    size_t start = out->len;
    bool failed_before = out->failed;
    out->failed = false;
    mp_write_array(out, 4);
    mp_write_uint(out, 1);
    mp_write_uint(out, call->id);
    size_t after_id = out->len;
    if (is_error(call->request.op, response->status)) {
        write_error(out, response->status, response->text);
    } else {
        mp_write_nil(out);
        if (!write_result(out, &call->request, response)) {
            out->len = after_id;
            write_error(out, DLHT_EPROTO, span_empty());
        }
    }
    bool failed = out->failed;
    out->failed = failed_before;
    if (failed)
        out->len = start;
    return failed ? DLHT_ENOMEM : DLHT_OK;
}
