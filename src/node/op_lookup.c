/* SPDX-License-Identifier: Apache-2.0 */

/* Lookup: where a key lives; and what an arc's owner tells of it. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/keeper.h"
#include "node/keyspaces.h"
#include "node/models.h"
#include "node/op_info.h"
#include "wire/codec.h"
#include "wire/mp.h"

void op_arc_info_read(struct node *node, struct replica *r,
                      const struct request *q, const struct origin *origin)
{
    struct response response = { .status = DLHT_OK };
    if (!arc_has(r->arc, q->key)) {
        op_answer_not_owner(node, r, q, origin);
        return;
    }
    struct arc_report report = keeper_report_of(node, r);
    struct buf doc = { 0 };
    codec_pack_arc(&doc, &report.arc);
    mp_write_uint(&doc, report.keys);
    mp_write_uint(&doc, report.bytes);
    mp_write_uint(&doc, report.caught_up);
    response.value = buf_span(&doc);
    if (doc.failed)
        response.status = DLHT_EBUSY;
    node_answer(node, origin, &response);
    buf_deinit(&doc);
}

bool op_info_read(struct span doc, struct arc_info *out)
{
    struct mp_reader r;
    mp_reader_init(&r, doc);
    codec_unpack_arc(&r, &out->arc);
    out->keys = mp_read_uint(&r);
    out->bytes = mp_read_uint(&r);
    out->caught_up = (uint16_t)mp_read_uint(&r);
    return !r.bad;
}

static void write_peer(struct node *node, struct buf *b, const struct id *id)
{
    const char *addr = node_peer_addr(node, id);
    char text[ID_TEXT_BYTES];
    if (!addr) {
        id_to_text(id, text);
        addr = text;
    }
    mp_write_cstr(b, addr);
}

void op_info_write_owner(struct node *node, struct buf *b,
                         const struct arc *arc)
{
    mp_write_cstr(b, "owner");
    if (id_is_zero(&arc->owner))
        mp_write_nil(b);
    else
        write_peer(node, b, &arc->owner);
    mp_write_cstr(b, "replicas");
    mp_write_array(b, arc->member_count);
    for (size_t i = 0; i < arc->member_count; i++)
        write_peer(node, b, &arc->members[i].peer);
}

void op_info_write_bounds(struct buf *b, const struct arc *arc)
{
    mp_write_cstr(b, "lo");
    mp_write_bin(b, arc->lo);
    mp_write_cstr(b, "hi");
    if (arc->has_hi)
        mp_write_bin(b, arc->hi);
    else
        mp_write_nil(b);
    mp_write_cstr(b, "generation");
    mp_write_uint(b, arc->generation);
}

struct lookup {
    struct origin origin;
    keyspace_id keyspace;
    struct buf key;
};

static void lookup_done(struct node *node, void *context,
                        const struct response *response)
{
    struct lookup *l = context;
    struct keyspace *ks = keyspaces_find(node, l->keyspace);
    struct arc_info info;
    struct response final = { .status = response->status,
                              .text = response->text,
                              .hops = response->hops };
    struct buf doc = { 0 };
    if (response->status == DLHT_OK && ks &&
        op_info_read(response->value, &info)) {
        struct span key = buf_span(&l->key);
        double error;
        uint64_t position = models_position(ks, key, &error);
        const struct arc *predicted = models_predict(ks, key);
        mp_write_map(&doc, 16);
        mp_write_cstr(&doc, "keyspace");
        mp_write_str(&doc, ks->record.name);
        mp_write_cstr(&doc, "key");
        mp_write_bin(&doc, ks->record.placement == PLACEMENT_HASHED
                               ? span_tail(key, OP_HASH_BYTES)
                               : key);
        mp_write_cstr(&doc, "placement");
        mp_write_cstr(&doc, ks->record.placement == PLACEMENT_HASHED
                                ? "hashed"
                                : "ordered");
        mp_write_cstr(&doc, "position");
        mp_write_uint(&doc, position);
        mp_write_cstr(&doc, "percent");
        mp_write_float(&doc, (double)position / 0x1.0p64 * 100);
        mp_write_cstr(&doc, "predicted_arc");
        if (predicted)
            mp_write_uint(&doc, predicted->id);
        else
            mp_write_nil(&doc);
        mp_write_cstr(&doc, "error");
        if (ks->held)
            mp_write_float(&doc, error);
        else
            mp_write_nil(&doc);
        mp_write_cstr(&doc, "arc");
        mp_write_uint(&doc, info.arc.id);
        op_info_write_bounds(&doc, &info.arc);
        op_info_write_owner(node, &doc, &info.arc);
        mp_write_cstr(&doc, "hops");
        mp_write_uint(&doc, response->hops);
        mp_write_cstr(&doc, "model_epoch");
        mp_write_uint(&doc, ks->held ? ks->held->info.epoch : 0);
        mp_write_cstr(&doc, "model");
        mp_write_cstr(&doc, ks->held ? "learned"
                            : ks->record.placement == PLACEMENT_HASHED
                                ? "identity: the hash is even as it is"
                                : "identity: none is trained yet");
        final.value = buf_span(&doc);
    }
    node_answer(node, &l->origin, &final);
    buf_deinit(&doc);
    buf_deinit(&l->key);
    free(l);
}

/* Of a document {position}. */
static bool read_position(struct span doc, uint64_t *position)
{
    struct mp_reader r;
    mp_reader_init(&r, doc);
    if (mp_peek(&r) != MP_MAP || mp_read_map(&r) != 1 ||
        !span_equal(mp_read_bytes(&r), span_str("position")))
        return false;
    *position = mp_read_uint(&r);
    return !r.bad;
}

void op_lookup_begin(struct node *node, const struct request *request,
                     const struct origin *origin)
{
    struct keyspace *ks = keyspaces_find(node, request->keyspace);
    struct lookup *l = mem_zero(1, sizeof *l);
    struct request q = *request;
    uint64_t position;
    bool by_position = q.key.len == 0 && read_position(q.value, &position);
    if ((!by_position && q.key.len == 0) || q.key.len > KEY_LEN_MAX || !l) {
        node_answer_status(node, origin, l ? DLHT_EINVAL : DLHT_EBUSY,
                           "a key is 1 byte to 64 KiB");
        free(l);
        return;
    }
    if (by_position) {
        if (models_key_at(ks, position, &l->key) != DLHT_OK)
            buf_reset(&l->key);
        q.key = buf_span(&l->key);
    } else {
        if (ks->record.placement == PLACEMENT_HASHED)
            q.key = op_hashed_key(node, q.key);
        buf_append_span(&l->key, q.key);
    }
    q.op = OP_ARC_INFO;
    q.value = span_empty();
    l->origin = *origin;
    l->keyspace = request->keyspace;
    struct pending_target target = { .done = lookup_done, .context = l };
    if (pending_begin(node, &q, op_deadline_ns(node, request), &target) ==
        DLHT_OK)
        return;
    node_answer_status(node, origin, DLHT_EBUSY, NULL);
    buf_deinit(&l->key);
    free(l);
}
