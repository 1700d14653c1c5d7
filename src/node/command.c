/* SPDX-License-Identifier: Apache-2.0 */

/* Commands to bytes and back. */

#include "node/command.h"

#include <string.h>

#include "dlht/err.h"
#include "wire/cas_item.h"
#include "wire/message.h"
#include "wire/mp.h"

void command_pack(const struct command *c, struct buf *out)
{
    mp_write_uint(out, c->kind);
    mp_write_uint(out, c->now_ms);
    if (id_is_zero(&c->session)) {
        mp_write_nil(out);
    } else {
        mp_write_bin(out, span_of(c->session.bytes, ID_BYTES));
        mp_write_uint(out, c->number);
        mp_write_uint(out, c->lowest_open);
    }
    switch (c->kind) {
    case COMMAND_PUT:
        mp_write_bin(out, c->key);
        mp_write_bin(out, c->value);
        break;
    case COMMAND_DEL:
        mp_write_bin(out, c->key);
        break;
    case COMMAND_CAS:
        mp_write_bin(out, c->key);
        mp_write_bin(out, c->value);
        mp_write_uint(out, c->version);
        break;
    case COMMAND_BATCH:
        mp_write_uint(out, c->list_count);
        buf_append_span(out, c->list);
        mp_write_uint(out, c->rank);
        break;
    case COMMAND_CAS_BATCH:
        mp_write_uint(out, c->list_count);
        buf_append_span(out, c->list);
        break;
    case COMMAND_SPLIT:
        mp_write_bin(out, c->key);
        mp_write_uint(out, c->right);
        mp_write_array(out, c->right_count);
        for (size_t i = 0; i < c->right_count; i++)
            mp_write_uint(out, c->right_replicas[i]);
        break;
    case COMMAND_MERGE:
        mp_write_bin(out, c->value);
        break;
    default:
        break;
    }
}

/* Of records of each bins. */
static void unpack_list(struct mp_reader *r, uint64_t each, struct command *out)
{
    uint64_t count = mp_read_uint(r);
    if (count > each * BATCH_COUNT_MAX || count % each)
        r->bad = true;
    out->list_count = (uint32_t)count;
    const uint8_t *from = r->at;
    for (uint64_t i = 0; i < count && !r->bad; i++)
        mp_read_bytes(r);
    if (!r->bad)
        out->list = span_of(from, (size_t)(r->at - from));
}

static void unpack_batch(struct mp_reader *r, struct command *out)
{
    unpack_list(r, 2, out);
    if (!mp_at_end(r))
        out->rank = mp_read_uint(r);
}

static void unpack_cas_batch(struct mp_reader *r, struct command *out)
{
    unpack_list(r, CAS_ITEM_BINS, out);
    struct mp_reader items;
    mp_reader_init(&items, out->list);
    for (uint32_t i = 0; i < out->list_count; i += CAS_ITEM_BINS)
        (void)cas_item_read(&items);
    if (items.bad)
        r->bad = true;
}

static void unpack_split(struct mp_reader *r, struct command *out)
{
    out->key = mp_read_bytes(r);
    out->right = mp_read_uint(r);
    out->right_count = mp_read_array(r);
    if (out->right_count > ARC_MEMBERS_MAX)
        r->bad = true;
    for (size_t i = 0; i < out->right_count && !r->bad; i++)
        out->right_replicas[i] = mp_read_uint(r);
}

int command_unpack(struct span bytes, struct command *out)
{
    struct mp_reader r;
    mp_reader_init(&r, bytes);
    memset(out, 0, sizeof *out);
    uint64_t kind = mp_read_uint(&r);
    out->kind = (uint8_t)kind;
    out->now_ms = mp_read_uint(&r);
    if (mp_peek(&r) == MP_NIL) {
        mp_read_nil(&r);
    } else {
        mp_read_fixed(&r, out->session.bytes, ID_BYTES);
        out->number = mp_read_uint(&r);
        out->lowest_open = mp_read_uint(&r);
    }
    switch (kind) {
    case COMMAND_PUT:
        out->key = mp_read_bytes(&r);
        out->value = mp_read_bytes(&r);
        break;
    case COMMAND_DEL:
        out->key = mp_read_bytes(&r);
        break;
    case COMMAND_CAS:
        out->key = mp_read_bytes(&r);
        out->value = mp_read_bytes(&r);
        out->version = mp_read_uint(&r);
        break;
    case COMMAND_BATCH:
        unpack_batch(&r, out);
        break;
    case COMMAND_CAS_BATCH:
        unpack_cas_batch(&r, out);
        break;
    case COMMAND_SPLIT:
        unpack_split(&r, out);
        break;
    case COMMAND_MERGE:
        out->value = mp_read_bytes(&r);
        break;
    default:
        return DLHT_ECORRUPT;
    }
    return r.bad ? DLHT_ECORRUPT : DLHT_OK;
}
