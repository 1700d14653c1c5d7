/* SPDX-License-Identifier: Apache-2.0 */

#include "node/crowd.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "node/inspect.h"

struct id crowd_peer(size_t i)
{
    struct id id = { { (uint8_t)(i + 1), 0x55 } };
    return id;
}

static bool is_peer(const struct id *id, size_t *i)
{
    *i = (size_t)id->bytes[0] - 1;
    return id->bytes[1] == 0x55 && *i < PEERS;
}

static void note_recover(struct crowd *c, size_t i,
                         const struct recover_message *m)
{
    const struct arc *arc = m->arc_known;
    if (m->kind == RECOVER_HAVE) {
        c->said = *m;
        c->said.arc_known = NULL;
        return;
    }
    c->asked[i] = *m;
    if (m->kind != RECOVER_TAKE)
        return;
    c->taken[i] = *m;
    c->takes++;
    c->taken_ends = arc->has_hi;
    snprintf(c->taken_hi, sizeof c->taken_hi, "%.*s", (int)arc->hi.len,
             (const char *)arc->hi.data);
}

static void hear_send(struct alone *a, const struct id *to,
                      const struct message *m)
{
    struct crowd *c = (struct crowd *)a;
    size_t i;
    if (!is_peer(to, &i))
        return;
    if (m->type == MESSAGE_SWIM && m->u.swim->type == SWIM_PING && c->up[i] &&
        c->ack_count < ACKS_MAX) {
        c->acks[c->ack_count].peer = *to;
        c->acks[c->ack_count++].number = m->u.swim->number;
    }
    if (m->type == MESSAGE_GOSSIP) {
        c->arcs += m->u.gossip.arc_count;
        c->keyspaces += m->u.gossip.keyspace_count;
        cr_expect_leq(m->u.gossip.arc_count, (size_t)MESSAGE_ARCS_MAX);
        cr_expect_leq(m->u.gossip.keyspace_count,
                      (size_t)MESSAGE_KEYSPACES_MAX);
    }
    if (m->type == MESSAGE_DIGEST) {
        c->digests++;
        c->answer = m->u.digest.answer;
        buf_reset(&c->parts);
        buf_append_span(&c->parts, m->u.digest.parts);
    }
    if (m->type == MESSAGE_RESPONSE) {
        c->responses++;
        c->status = m->u.response.status;
    }
    if (m->type == MESSAGE_RECOVER)
        note_recover(c, i, &m->u.recover);
}

static void acknowledge(struct alone *a)
{
    struct crowd *c = (struct crowd *)a;
    for (size_t i = 0; i < c->ack_count; i++) {
        struct swim_message ack = { .type = SWIM_ACK,
                                    .number = c->acks[i].number };
        struct message m = { .type = MESSAGE_SWIM };
        m.u.swim = &ack;
        alone_hear_from(a, &c->acks[i].peer, &m);
    }
    c->ack_count = 0;
    for (size_t i = 0; i < PEERS; i++) {
        struct message m = { .type = MESSAGE_RECOVER };
        struct id from = crowd_peer(i);
        if (c->asked[i].kind == 0 || !c->says[i])
            continue;
        m.u.recover = c->has[i];
        m.u.recover.kind = RECOVER_HAVE;
        m.u.recover.number = c->asked[i].number;
        m.u.recover.arc = c->asked[i].arc;
        if (c->asked[i].kind == RECOVER_TAKE && c->leads) {
            m.u.recover.replica = c->asked[i].fresh;
            m.u.recover.leads = true;
        }
        c->asked[i].kind = 0;
        alone_hear_from(a, &from, &m);
    }
}

void crowd_begin(struct crowd *c, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    alone_init(&c->a, seed);
    c->a.sends = hear_send;
    c->a.idle = acknowledge;
    c->a.patience_ms = 10000;
    for (size_t i = 0; i < PEERS; i++) {
        struct message m = { .type = MESSAGE_JOIN };
        struct peer *self = &m.u.join.self;
        *self = (struct peer){ .id = crowd_peer(i),
                               .incarnation = 2,
                               .weight_milli = 1000,
                               .state = PEER_ALIVE };
        snprintf(self->addr, sizeof self->addr, "10.0.0.%zu:9000", i + 1);
        c->up[i] = true;
        alone_hear_from(&c->a, &self->id, &m);
    }
}

void crowd_end(struct crowd *c)
{
    alone_deinit(&c->a);
    buf_deinit(&c->parts);
}

void crowd_look_again(struct crowd *c)
{
    c->arcs = c->keyspaces = c->digests = 0;
    c->answer = false;
    buf_reset(&c->parts);
}

void crowd_tell_keyspace(struct crowd *c, keyspace_id id, const char *name,
                         bool is_volatile)
{
    struct keyspace_record record = { .id = id,
                                      .name = span_str(name),
                                      .version = 1,
                                      .placement = PLACEMENT_ORDERED,
                                      .replicas = 3,
                                      .is_volatile = is_volatile,
                                      .floor_keys = 1000,
                                      .ceiling_bytes = 1 << 20 };
    struct message m = { .type = MESSAGE_GOSSIP };
    m.u.gossip.keyspaces = &record;
    m.u.gossip.keyspace_count = 1;
    alone_hear(&c->a, &m);
}

struct arc crowd_arc(keyspace_id keyspace, size_t i, size_t count,
                     char bounds[2][8])
{
    struct arc arc = { .keyspace = keyspace,
                       .id = FIRST_ARC + i,
                       .generation = 5,
                       .has_hi = i + 1 < count,
                       .member_count = 3 };
    snprintf(bounds[0], 8, "%06zu", i);
    snprintf(bounds[1], 8, "%06zu", i + 1);
    if (i > 0)
        arc.lo = span_str(bounds[0]);
    if (arc.has_hi)
        arc.hi = span_str(bounds[1]);
    for (size_t k = 0; k < 3; k++)
        arc.members[k] = (struct arc_member){ .replica = 10 * (k + 1) + i,
                                              .peer = crowd_peer(k),
                                              .voter = true };
    return arc;
}

void crowd_tell_arc(struct crowd *c, const struct arc *arc)
{
    struct message m = { .type = MESSAGE_GOSSIP };
    m.u.gossip.arcs = arc;
    m.u.gossip.arc_count = 1;
    alone_hear(&c->a, &m);
}

void crowd_tell_arcs(struct crowd *c, keyspace_id keyspace, size_t count)
{
    char bounds[2][8];
    for (size_t i = 0; i < count; i++) {
        struct arc arc = crowd_arc(keyspace, i, count, bounds);
        crowd_tell_arc(c, &arc);
    }
}

const struct map *crowd_map_of_far(const struct crowd *c)
{
    struct keyspace_record record;
    for (size_t i = 0; i < inspect_keyspace_count(c->a.node); i++) {
        const struct map *map = inspect_map(c->a.node, i, &record);
        if (record.id == FAR)
            return map;
    }
    cr_assert_fail("the keyspace is not known");
    return NULL;
}

/* Documents */

static struct span field_of(struct span doc, const char *name)
{
    struct mp_reader r;
    struct span found = span_empty();
    mp_reader_init(&r, doc);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        bool it = span_equal(mp_read_bytes(&r), span_str(name));
        struct span value = mp_read_raw(&r);
        found = it ? value : found;
    }
    cr_expect(!r.bad && mp_at_end(&r), "a sound document");
    return found;
}

struct mp_reader crowd_reader(struct span doc, const char *name)
{
    struct mp_reader r;
    mp_reader_init(&r, field_of(doc, name));
    return r;
}

uint64_t crowd_number(struct span doc, const char *name)
{
    struct mp_reader r = crowd_reader(doc, name);
    return mp_read_uint(&r);
}

struct span crowd_text(struct span doc, const char *name)
{
    struct mp_reader r = crowd_reader(doc, name);
    return mp_read_bytes(&r);
}
