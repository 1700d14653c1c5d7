/* SPDX-License-Identifier: Apache-2.0 */

/* Requests in, results out. */

#include "net/client_request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/client.h"
#include "wire/cas_item.h"
#include "wire/mp.h"

_Static_assert((int)DLHT_OP_PING == (int)OP_PING &&
                   (int)DLHT_OP_RANGE == (int)OP_RANGE &&
                   (int)DLHT_OP_LEAVE == (int)OP_LEAVE &&
                   (int)DLHT_OP_MODEL == (int)OP_MODEL &&
                   (int)DLHT_OP_PRESPLIT == (int)OP_PRESPLIT &&
                   (int)DLHT_OP_BALANCE == (int)OP_BALANCE &&
                   (int)DLHT_OP_PEER_SET == (int)OP_PEER_SET &&
                   (int)DLHT_OP_RECOVER == (int)OP_RECOVER &&
                   (int)DLHT_OP_SEARCH == (int)OP_SEARCH &&
                   (int)DLHT_OP_VECTORS == (int)OP_VECTORS &&
                   (int)DLHT_OP_CACHE_EXPIRE == (int)OP_CACHE_EXPIRE &&
                   (int)DLHT_OP_CACHE_LEASE == (int)OP_CACHE_LEASE,
               "the numbers of operations travel");

/* The action that a document names, empty if none. */
static struct span document_action(struct span document)
{
    struct mp_reader r;
    mp_reader_init(&r, document);
    size_t pairs = document.len ? mp_read_map(&r) : 0;
    for (size_t i = 0; i < pairs && !r.bad; i++) {
        if (span_equal(mp_read_bytes(&r), span_str("action")))
            return mp_read_bytes(&r);
        mp_skip(&r);
    }
    return span_empty();
}

static bool balance_is_write(struct span document)
{
    struct span action = document_action(document);
    return span_equal(action, span_str("pause")) ||
           span_equal(action, span_str("resume")) ||
           span_equal(action, span_str("set"));
}

static bool model_is_write(struct span document)
{
    struct span action = document_action(document);
    return span_equal(action, span_str("train")) ||
           span_equal(action, span_str("import"));
}

bool client_request_is_write(const struct request *request)
{
    switch (request->op) {
    case OP_PUT:
    case OP_DEL:
    case OP_CAS:
    case OP_BATCH:
    case OP_CAS_BATCH:
    case OP_VECTOR_PUT:
    case OP_KEYSPACE_CREATE:
    case OP_KEYSPACE_DROP:
    case OP_KEYSPACE_SET:
    case OP_PRESPLIT:
    case OP_PEER_SET:
    case OP_RECOVER:
    case OP_CACHE_EXPIRE:
    case OP_CACHE_FLUSH:
        return true;
    case OP_BALANCE:
        return balance_is_write(request->value);
    case OP_MODEL:
        return model_is_write(request->value);
    default:
        return false;
    }
}

static bool request_needs_key(enum dlht_op op)
{
    return op == DLHT_OP_PUT || op == DLHT_OP_GET || op == DLHT_OP_DEL ||
           op == DLHT_OP_CAS || op == DLHT_OP_VECTOR_PUT ||
           op == DLHT_OP_VECTOR_GET || op == DLHT_OP_CACHE_EXPIRE ||
           op == DLHT_OP_CACHE_LEASE;
}

static bool request_has_records(enum dlht_op op)
{
    return op == DLHT_OP_MGET || op == DLHT_OP_BATCH || op == DLHT_OP_CAS_BATCH;
}

static int request_check_records(const struct dlht_request *q)
{
    if (q->record_count > BATCH_COUNT_MAX)
        return DLHT_ETOOBIG;
    size_t total = 0;
    for (size_t i = 0; i < q->record_count; i++) {
        const struct dlht_record *r = &q->records[i];
        if (r->key.len == 0)
            return DLHT_EINVAL;
        if (r->key.len > KEY_LEN_MAX || r->value.len > VALUE_LEN_MAX)
            return DLHT_ETOOBIG;
        total += r->key.len + 5;
        if (q->op != DLHT_OP_MGET)
            total += r->value.len + 5;
        if (q->op == DLHT_OP_CAS_BATCH)
            total += 16; /* its condition */
    }
    /* The rest of the body is small. */
    return total > WIRE_BODY_MAX - (256 << 10) ? DLHT_ETOOBIG : DLHT_OK;
}

/* What users may ask: the numbers between are for peers. */
static bool request_is_known(enum dlht_op op)
{
    return (op >= DLHT_OP_PING && op <= DLHT_OP_LEAVE) ||
           (op >= DLHT_OP_MODEL && op <= DLHT_OP_PRESPLIT) ||
           op == DLHT_OP_BALANCE || op == DLHT_OP_PEER_SET ||
           (op >= DLHT_OP_RECOVER && op <= DLHT_OP_VECTORS) ||
           (op >= DLHT_OP_CACHE_EXPIRE && op <= DLHT_OP_CACHE_LEASE);
}

static int request_check(const struct dlht_request *q)
{
    if (!request_is_known(q->op))
        return DLHT_EINVAL;
    if (q->estimate && q->op != DLHT_OP_COUNT)
        return DLHT_EINVAL;
    if (request_needs_key(q->op) && q->key.len == 0)
        return DLHT_EINVAL;
    if (q->key.len > KEY_LEN_MAX || q->end.len > KEY_LEN_MAX ||
        q->value.len > VALUE_LEN_MAX || q->document.len > VALUE_LEN_MAX)
        return DLHT_ETOOBIG;
    if (q->keyspace && strlen(q->keyspace) > KEYSPACE_NAME_MAX)
        return DLHT_EINVAL;
    if (q->record_count == 0)
        return request_has_records(q->op) ? DLHT_EINVAL : DLHT_OK;
    if (!request_has_records(q->op))
        return DLHT_EINVAL;
    return request_check_records(q);
}

static uint16_t request_flags(const struct dlht_request *q)
{
    int flags =
        (q->has_end ? REQUEST_HAS_END : 0) |
        (q->reverse ? REQUEST_REVERSE : 0) |
        (q->keys_only ? REQUEST_KEYS_ONLY : 0) |
        (q->stale ? REQUEST_STALE : 0) | (q->strict ? REQUEST_STRICT : 0) |
        (q->all ? REQUEST_ALL : 0) | (q->estimate ? REQUEST_ESTIMATE : 0) |
        (q->keep_ttl ? REQUEST_KEEP_TTL : 0) | (q->peek ? REQUEST_PEEK : 0) |
        (q->leased ? REQUEST_LEASED : 0) | (q->negative ? REQUEST_NEGATIVE : 0);
    return (uint16_t)flags;
}

/* Where a part begins in the bytes; the bytes may still move. */
static struct span request_part(struct buf *bytes, const void *data, size_t len)
{
    struct span part = span_of(NULL, len);
    buf_append(bytes, data, len);
    return part;
}

/* How many bins that are. */
static uint32_t request_list(const struct dlht_request *q, struct buf *bytes)
{
    uint32_t each = q->op == DLHT_OP_MGET    ? 1
                    : q->op == DLHT_OP_BATCH ? 2
                                             : CAS_ITEM_BINS;
    for (size_t i = 0; i < q->record_count; i++) {
        const struct dlht_record *r = &q->records[i];
        struct cas_item item = { .key = span_of(r->key.data, r->key.len),
                                 .value = span_of(r->value.data, r->value.len),
                                 .version = r->version,
                                 .any_version = r->any_version,
                                 .remove = r->remove };
        if (each == CAS_ITEM_BINS) {
            cas_item_write(bytes, &item);
            continue;
        }
        mp_write_bin(bytes, item.key);
        if (each == 2)
            mp_write_bin(bytes, item.value);
    }
    return (uint32_t)q->record_count * each;
}

int client_request_make(const struct dlht_request *q, struct buf *bytes,
                        struct request *out)
{
    int rc = request_check(q);
    if (rc != DLHT_OK)
        return rc;
    uint32_t timeout = q->timeout_ms ? q->timeout_ms : CLIENT_TIMEOUT_MS;
    if (timeout > CLIENT_TIMEOUT_MS_MAX)
        timeout = CLIENT_TIMEOUT_MS_MAX;
    *out = (struct request){ .op = (uint8_t)q->op,
                             .flags = request_flags(q),
                             .version = q->version,
                             .limit = q->limit,
                             .timeout_ms = timeout,
                             .ttl_ms = q->ttl_ms };
    if (q->op == DLHT_OP_PUT || q->op == DLHT_OP_CAS)
        out->limit = q->cost_us;
    bool document = q->op >= DLHT_OP_LOOKUP && q->op != DLHT_OP_CAS_BATCH &&
                    q->op < DLHT_OP_CACHE_EXPIRE;
    struct dlht_bytes value = document ? q->document : q->value;
    buf_reset(bytes);
    out->keyspace_name =
        request_part(bytes, q->keyspace, q->keyspace ? strlen(q->keyspace) : 0);
    out->key = request_part(bytes, q->key.data, q->key.len);
    out->value = request_part(bytes, value.data, value.len);
    if (q->has_end)
        out->end = request_part(bytes, q->end.data, q->end.len);
    size_t before = bytes->len;
    out->list_count = request_list(q, bytes);
    out->list.len = bytes->len - before;
    if (bytes->failed)
        return DLHT_ENOMEM;
    const uint8_t *at = bytes->data;
    struct span *const parts[] = { &out->keyspace_name, &out->key, &out->value,
                                   &out->end, &out->list };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        parts[i]->data = at;
        at += parts[i]->len;
    }
    return DLHT_OK;
}

void client_result_deinit(struct client_result *room)
{
    free(room->records);
    room->records = NULL;
    room->record_cap = 0;
}

static bool result_records(struct client_result *room,
                           const struct response *response)
{
    size_t count = response->list_count;
    if (count > room->record_cap) {
        struct dlht_record *grown =
            mem_resize(room->records, count, sizeof *grown);
        if (!grown)
            return false;
        room->records = grown;
        room->record_cap = count;
    }
    struct mp_reader r;
    mp_reader_init(&r, response->list);
    for (size_t i = 0; i < count; i++) {
        struct dlht_record *to = &room->records[i];
        struct span key = mp_read_bytes(&r);
        struct span value = mp_read_bytes(&r);
        to->key = (struct dlht_bytes){ key.data, key.len };
        to->value = (struct dlht_bytes){ value.data, value.len };
        to->version = mp_read_uint(&r);
    }
    assert(!r.bad); /* unpacking checked it */
    return true;
}

void client_result_show(struct client_result *room,
                        const struct response *response)
{
    if (response->list_count && !result_records(room, response)) {
        client_result_fail(room, DLHT_ENOMEM, "no memory for the answer");
        return;
    }
    size_t len = response->text.len;
    if (len >= sizeof room->text)
        len = sizeof room->text - 1;
    if (len)
        memcpy(room->text, response->text.data, len);
    room->text[len] = 0;
    room->result = (struct dlht_result){
        .status = response->status,
        .version = response->version,
        .value = { response->value.data, response->value.len },
        .records = room->records,
        .record_count = response->list_count,
        .count = response->count,
        .more = response->more,
        .cursor = { response->cursor.data, response->cursor.len },
        .hops = response->hops,
        .ttl_ms = response->ttl_ms,
        .peers_asked = response->peers_asked,
        .text = len || response->status == DLHT_OK
                    ? room->text
                    : dlht_strerror(response->status),
    };
}

void client_result_fail(struct client_result *room, int status,
                        const char *text)
{
    room->result = (struct dlht_result){ .status = status, .text = text };
}
