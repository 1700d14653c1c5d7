/* SPDX-License-Identifier: Apache-2.0 */

/* One that hands arcs over, and one that is given them. */

#include "node/handover_pair.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "dlht/err.h"
#include "wire/mp.h"

static const char NAME[] = "c";

static void note_chunk(struct pair *p, const struct snapshot_chunk *c)
{
    struct snapshot_ack ack = {
        .arc = c->arc, .from = c->to, .to = c->from, .transfer = c->transfer
    };
    if (p->manner == IS_SILENT || p->ack_count == 64)
        return;
    if (p->manner == REFUSES) {
        ack.refused = true;
        p->acks[p->ack_count++] = ack;
        return;
    }
    if (c->sequence == 0 && c->transfer != p->transfer &&
        (p->transfer == 0 || p->ended)) {
        p->arc = c->arc;
        p->transfer = c->transfer;
        p->next = 0;
        p->ended = false;
        buf_reset(&p->stream);
    }
    if (c->transfer != p->transfer)
        return; /* one after the other */
    cr_expect_leq(c->bytes.len, (size_t)64 << 10);
    p->chunks++;
    if (c->sequence == p->next && !(c->last && p->manner != TAKES)) {
        if (c->sequence)
            buf_append_span(&p->stream, c->bytes);
        p->next++;
        ack.done = p->ended = c->last;
        p->done += c->last;
    } else if (c->last) {
        p->ended = true;
    }
    ack.sequence = p->next;
    p->acks[p->ack_count++] = ack;
}

static void hear_send(struct alone *a, const struct id *to,
                      const struct message *m)
{
    struct pair *p = (struct pair *)a;
    (void)to;
    if (m->type == MESSAGE_SWIM && m->u.swim->type == SWIM_PING && p->up &&
        p->ping_count < 16)
        p->pings[p->ping_count++] = m->u.swim->number;
    if (m->type == MESSAGE_SNAPSHOT_CHUNK)
        note_chunk(p, &m->u.chunk);
    if (m->type == MESSAGE_SNAPSHOT_ACK) {
        p->heard = m->u.ack;
        p->heard_count++;
    }
    if (m->type == MESSAGE_RECOVER && m->u.recover.kind == RECOVER_TAKE)
        p->orders++;
}

static void answer(struct alone *a)
{
    struct pair *p = (struct pair *)a;
    size_t pings = p->ping_count, acks = p->ack_count;
    p->ping_count = p->ack_count = 0;
    for (size_t i = 0; i < pings; i++) {
        struct swim_message ack = { .type = SWIM_ACK, .number = p->pings[i] };
        struct message m = { .type = MESSAGE_SWIM };
        m.u.swim = &ack;
        alone_hear_from(a, &p->peer, &m);
    }
    for (size_t i = 0; i < acks; i++) {
        struct message m = { .type = MESSAGE_SNAPSHOT_ACK };
        m.u.ack = p->acks[i];
        alone_hear_from(a, &p->peer, &m);
    }
}

void pair_begin(struct pair *p, uint64_t seed)
{
    struct buf doc = { 0 };
    memset(p, 0, sizeof *p);
    p->peer = (struct id){ { 7, 0x55 } };
    alone_init(&p->a, seed);
    mp_write_map(&doc, 3);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, NAME);
    mp_write_cstr(&doc, "volatile");
    mp_write_bool(&doc, true);
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, 1);
    mp_write_cstr(&doc, "max-items");
    mp_write_cstr(&doc, "100000");
    struct request q = { .op = OP_KEYSPACE_CREATE, .value = buf_span(&doc) };
    cr_assert_eq(alone_ask(&p->a, &q)->status, DLHT_OK);
    buf_deinit(&doc);
    alone_run(&p->a, 200);
}

void pair_end(struct pair *p)
{
    p->a.sends = NULL;
    p->a.idle = NULL;
    alone_deinit(&p->a);
    buf_deinit(&p->stream);
}

void pair_join(struct pair *p, enum manner manner, uint32_t weight_milli)
{
    struct message m = { .type = MESSAGE_JOIN };
    m.u.join.self = (struct peer){ .id = p->peer,
                                   .addr = "10.0.0.7:9000",
                                   .incarnation = 2,
                                   .weight_milli = weight_milli,
                                   .state = PEER_ALIVE };
    p->up = true;
    p->manner = manner;
    p->a.sends = hear_send;
    p->a.idle = answer;
    alone_hear_from(&p->a, &p->peer, &m);
}

const struct response *pair_ask(struct pair *p, struct request q)
{
    q.keyspace_name = span_str(NAME);
    return alone_ask(&p->a, &q);
}

void pair_name_key(const struct pair *p, int number, char key[KEY_ROOM])
{
    snprintf(key, KEY_ROOM, "key-%0*d", p->digits, number);
}

void pair_put(struct pair *p, int number, struct span value, uint64_t ttl_ms)
{
    char key[KEY_ROOM];
    pair_name_key(p, number, key);
    struct request q = {
        .op = OP_PUT, .key = span_str(key), .value = value, .ttl_ms = ttl_ms
    };
    cr_assert_eq(pair_ask(p, q)->status, DLHT_OK);
}

bool pair_find_arc(const struct pair *p, arc_id id, struct inspect_replica *out)
{
    for (size_t i = 0; i < inspect_replica_count(p->a.node); i++) {
        inspect_replica_at(p->a.node, i, out);
        if (out->id == id)
            return true;
    }
    return false;
}
