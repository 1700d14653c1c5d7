/* SPDX-License-Identifier: Apache-2.0 */

/* Merges: what is said of them, what L's owner does with it, and what others
 * may know. */

#include "node/op_merge.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "node/burials.h"
#include "node/op.h"
#include "node/replica.h"
#include "wire/mp.h"

enum {
    NOTE_FIELDS = 16
};

/* Numbers of a stranger: what is one more must be more. */
#define NUMBER_MAX (UINT64_MAX / 2)

void op_merge_pack(struct buf *out, const struct merge_note *n)
{
    mp_write_array(out, NOTE_FIELDS);
    mp_write_uint(out, n->kind);
    mp_write_uint(out, n->from);
    mp_write_uint(out, n->into);
    mp_write_uint(out, n->generation);
    mp_write_uint(out, n->run);
    mp_write_uint(out, n->sequence);
    mp_write_bin(out, n->lo);
    if (n->has_hi)
        mp_write_bin(out, n->hi);
    else
        mp_write_nil(out);
    mp_write_bin(out, n->into_lo);
    mp_write_uint(out, n->from_generation);
    mp_write_uint(out, n->keys);
    mp_write_uint(out, n->bytes);
    mp_write_uint(out, n->counter);
    mp_write_uint(out, n->time_ms);
    replica_pack_members(out, n->members, n->member_count);
    mp_write_bin(out, n->items);
}

static bool unpack_members(struct mp_reader *r, struct merge_note *out)
{
    struct span members = mp_read_raw(r);
    return !r->bad &&
           replica_unpack_members(members, out->members, &out->member_count);
}

int op_merge_unpack(struct span bytes, struct merge_note *out)
{
    struct mp_reader r;
    mp_reader_init(&r, bytes);
    memset(out, 0, sizeof *out);
    if (mp_read_array(&r) != NOTE_FIELDS)
        return DLHT_EPROTO;
    uint64_t kind = mp_read_uint(&r);
    out->kind = (uint8_t)kind;
    out->from = mp_read_uint(&r);
    out->into = mp_read_uint(&r);
    out->generation = mp_read_uint(&r);
    out->run = mp_read_uint(&r);
    out->sequence = mp_read_uint(&r);
    out->lo = mp_read_bytes(&r);
    out->has_hi = mp_peek(&r) != MP_NIL;
    if (out->has_hi)
        out->hi = mp_read_bytes(&r);
    else
        mp_read_nil(&r);
    out->into_lo = mp_read_bytes(&r);
    out->from_generation = mp_read_uint(&r);
    out->keys = mp_read_uint(&r);
    out->bytes = mp_read_uint(&r);
    out->counter = mp_read_uint(&r);
    out->time_ms = mp_read_uint(&r);
    bool members = unpack_members(&r, out);
    out->items = mp_read_bytes(&r);
    if (r.bad || !members || kind < MERGE_STAGE || kind > MERGE_CLOSE ||
        out->from == 0 || out->into == 0 || out->from == out->into ||
        out->generation > NUMBER_MAX || out->from_generation > NUMBER_MAX ||
        out->counter > NUMBER_MAX)
        return DLHT_EPROTO;
    /* An arc with one before it begins at a key. */
    if ((out->lo.len == 0 && kind != MERGE_FORGET) ||
        out->lo.len > KEY_LEN_MAX + OP_HASH_BYTES ||
        (out->has_hi && span_compare(out->lo, out->hi) >= 0))
        return DLHT_EPROTO;
    return DLHT_OK;
}

static void answer(struct node *node, const struct replica *r,
                   const struct origin *origin, enum merge_verdict verdict)
{
    struct response response = { .status = DLHT_OK,
                                 .count = verdict,
                                 .arc = r->arc };
    node_answer(node, origin, &response);
}

/* The log would say void. Decides nothing, as what is applied may be old. */
static bool is_hopeless(const struct replica *r, const struct merge_note *n)
{
    if (n->kind != MERGE_STAGE || n->sequence > 0 || r->staging)
        return false;
    return r->id != n->into || r->arc->generation != n->generation ||
           r->merge.absorbed_count == MERGE_ABSORBED_MAX || op_merge_refuses(r);
}

void op_merge_serve(struct node *node, const struct request *q,
                    const struct origin *origin)
{
    struct replica *r = node_replica(node, q->arc);
    assert(r && !r->empty);
    struct merge_note note;
    if (op_merge_unpack(q->value, &note) != DLHT_OK ||
        note.kind > MERGE_FORGET) {
        node_answer_status(node, origin, DLHT_EPROTO, NULL);
        return;
    }
    if (!arc_has(r->arc, q->key)) {
        op_answer_not_owner(node, r, q, origin);
        return;
    }
    if (is_hopeless(r, &note)) {
        answer(node, r, origin, MERGE_VOID);
        return;
    }
    int rc = DLHT_OK;
    if (note.kind == MERGE_STAGE && node->config.memory_limit &&
        node->memory_used > node->config.memory_limit)
        rc = DLHT_EFULL;
    /* Nothing under way that the staging would have to yield to. */
    if (rc == DLHT_OK && note.kind == MERGE_STAGE && !r->staging)
        rc = replica_may_change(node, r);
    struct command c = { .kind = COMMAND_MERGE, .value = q->value };
    struct waiter w = { .origin = *origin };
    if (rc == DLHT_OK)
        rc = replica_propose(node, r, &c, &w);
    if (rc == DLHT_ENOTOWNER)
        op_answer_not_owner(node, r, q, origin);
    else if (rc != DLHT_OK)
        node_answer_status(node, origin, rc, NULL);
}

bool op_merge_refuses(const struct replica *r)
{
    return r->merge.frozen != NULL;
}

bool op_merge_is_closed(const struct replica *r)
{
    return r->merge.frozen && r->merge.frozen->closed;
}

bool op_merge_forbids_change(const struct replica *r)
{
    return r->staging || r->merge.frozen;
}

bool op_merge_is_busy(const struct replica *r)
{
    return op_merge_forbids_change(r) || r->run;
}

bool op_merge_is_of(const struct frozen *f, const struct merge_note *n)
{
    return f && f->into == n->into && f->generation == n->generation;
}

/* An arc keeps its lo for life, and whatever follows it at that place has a
 * higher generation than it ever had; what was there before it, a lower one. So
 * another arc there with a higher generation has swallowed it. */
const struct arc *op_merge_heir(const struct node *node,
                                const struct replica *r)
{
    const struct keyspace *ks = keyspaces_find(node, r->keyspace);
    const struct arc *known =
        ks && !r->empty ? map_find(ks->map, r->arc->lo, SIZE_MAX) : NULL;
    bool is = known && known->id != r->id && arc_has(known, r->arc->lo) &&
              known->generation > r->arc->generation;
    return is ? known : NULL;
}

void op_merge_refuse(struct node *node, const struct replica *r,
                     const struct origin *origin)
{
    const struct arc *heir = op_merge_heir(node, r);
    struct response response = { .status = heir ? DLHT_ENOTOWNER : DLHT_EBUSY,
                                 .arc = heir };
    if (op_merge_is_closed(r))
        response.status = DLHT_ENOTOWNER;
    node_answer(node, origin, &response);
}

static void note_gone(struct replica *r, const struct id *peer, arc_id arc,
                      replica_id replica)
{
    for (size_t i = 0; i < r->merge.absorbed_count; i++) {
        struct absorbed *a = &r->merge.absorbed[i];
        for (size_t k = 0; a->from == arc && k < a->member_count; k++)
            if (a->members[k].replica == replica &&
                id_equal(&a->members[k].peer, peer))
                a->gone |= (uint16_t)(1u << k);
    }
}

bool op_merge_receive_gone(struct node *node, const struct id *from, arc_id arc,
                           replica_id replica)
{
    for (size_t i = 0; i < node->replica_count; i++)
        if (node->replicas[i]->merge.absorbed_count)
            note_gone(node->replicas[i], from, arc, replica);
    if (!burials_has(node, arc, replica))
        return false;
    /* Asked whether it is; who says so of its own has it not buried here. */
    struct message m = { .type = MESSAGE_GONE };
    m.u.gone.arc = arc;
    m.u.gone.replica = replica;
    node_send(node, from, &m);
    return true;
}

/* State in headers. */

static void pack_frozen(const struct frozen *f, struct buf *out)
{
    if (!f) {
        mp_write_nil(out);
        return;
    }
    mp_write_array(out, 5);
    mp_write_uint(out, f->into);
    mp_write_uint(out, f->generation);
    mp_write_uint(out, f->run);
    mp_write_bool(out, f->closed);
    mp_write_bin(out, buf_span(&f->lo));
}

void op_merge_pack_state(const struct merge_state *state, struct buf *out)
{
    pack_frozen(state->frozen, out);
    mp_write_array(out, state->absorbed_count);
    for (size_t i = 0; i < state->absorbed_count; i++) {
        const struct absorbed *a = &state->absorbed[i];
        mp_write_array(out, 3);
        mp_write_uint(out, a->from);
        mp_write_uint(out, a->generation);
        replica_pack_members(out, a->members, a->member_count);
    }
}

static int unpack_frozen(struct mp_reader *r, struct merge_state *out)
{
    if (mp_peek(r) == MP_NIL) {
        mp_read_nil(r);
        return DLHT_OK;
    }
    if (mp_read_array(r) != 5)
        return DLHT_ECORRUPT;
    struct frozen *f = calloc(1, sizeof *f);
    if (!f)
        return DLHT_ENOMEM;
    out->frozen = f;
    f->into = mp_read_uint(r);
    f->generation = mp_read_uint(r);
    f->run = mp_read_uint(r);
    f->closed = mp_read_bool(r);
    buf_append_span(&f->lo, mp_read_bytes(r));
    if (r->bad || f->into == 0)
        return DLHT_ECORRUPT;
    return f->lo.failed ? DLHT_ENOMEM : DLHT_OK;
}

static int unpack_absorbed(struct mp_reader *r, struct merge_state *out)
{
    size_t count = mp_read_array(r);
    if (r->bad || count > MERGE_ABSORBED_MAX)
        return DLHT_ECORRUPT;
    if (count == 0)
        return DLHT_OK;
    out->absorbed = calloc(MERGE_ABSORBED_MAX, sizeof *out->absorbed);
    if (!out->absorbed)
        return DLHT_ENOMEM;
    out->absorbed_count = count;
    for (size_t i = 0; i < count; i++) {
        struct absorbed *a = &out->absorbed[i];
        if (mp_read_array(r) != 3)
            return DLHT_ECORRUPT;
        a->from = mp_read_uint(r);
        a->generation = mp_read_uint(r);
        struct span members = mp_read_raw(r);
        if (r->bad || a->from == 0 ||
            !replica_unpack_members(members, a->members, &a->member_count))
            return DLHT_ECORRUPT;
    }
    return DLHT_OK;
}

int op_merge_unpack_state(struct mp_reader *r, struct merge_state *out)
{
    memset(out, 0, sizeof *out);
    int rc = unpack_frozen(r, out);
    if (rc == DLHT_OK)
        rc = unpack_absorbed(r, out);
    if (rc != DLHT_OK)
        op_merge_deinit_state(out);
    return rc;
}

void op_merge_deinit_state(struct merge_state *state)
{
    if (state->frozen)
        buf_deinit(&state->frozen->lo);
    free(state->frozen);
    free(state->absorbed);
    memset(state, 0, sizeof *state);
}

uint64_t op_merge_hash(const struct replica *r)
{
    const struct frozen *f = r->merge.frozen;
    const struct staging *s = r->staging;
    if (!f && !s && r->merge.absorbed_count == 0)
        return 0;
    uint64_t h = r->merge.absorbed_count;
    if (f)
        h = hash64_mix(hash64_mix(h, f->into), f->run + f->closed);
    if (s)
        h = hash64_mix(hash64_mix(h, s->from), s->run + s->next);
    for (size_t i = 0; i < r->merge.absorbed_count; i++)
        h = hash64_mix(h, r->merge.absorbed[i].from);
    return h;
}

void op_merge_check(const struct replica *r)
{
    assert(!r->staging || (r->arc && r->arc->has_hi));
    assert(!r->staging || !r->merge.frozen);
    assert(!r->staging || r->staging->generation == r->arc->generation);
    assert(!r->merge.frozen || r->merge.absorbed_count == 0);
    assert(r->merge.absorbed_count <= MERGE_ABSORBED_MAX);
    if (r->empty)
        return;
    assert(records_rank(r->records, r->arc->lo, NULL) == 0);
    assert(r->staging || !r->arc->has_hi ||
           records_rank(r->records, r->arc->hi, NULL) ==
               records_count(r->records));
}
