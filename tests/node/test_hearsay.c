/* SPDX-License-Identifier: Apache-2.0 */

/* A node among peers that say what the test wants: what it makes of digests in
 * parts, what it tells operators of arcs that nobody serves, and how it recovers
 * one from what others say they have. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chord/map.h"
#include "dlht/err.h"
#include "node/alone.h"
#include "node/inspect.h"
#include "node/recover.h"
#include "rmi/fit.h"
#include "rmi/key_sets.h"
#include "wire/message.h"
#include "wire/mp.h"

enum {
    PEERS = 4,
    FAR = 77, /* a keyspace that only others serve */
    FIRST_ARC = 1000,
    ACKS_MAX = 64
};

struct crowd {
    struct alone a; /* first: what is sent comes with it */
    bool up[PEERS]; /* answers probes */
    struct {
        struct id peer;
        uint64_t number;
    } acks[ACKS_MAX];
    size_t ack_count;
    /* Of what was sent since the last look: */
    size_t arcs, keyspaces, digests;
    bool answer; /* of the last digest */
    struct buf parts;
    /* Recoveries: what was asked and is not answered yet, what each says it
     * has (arc_known too), and what it was told to take. */
    struct recover_message asked[PEERS], has[PEERS], taken[PEERS];
    bool says[PEERS];
    bool leads;                  /* whoever is told to take it, then */
    struct recover_message said; /* by the node: HAVE */
    size_t takes;
    size_t responses; /* to requests of peers */
    int status;       /* of the last one */
    bool taken_ends;
    char taken_hi[16];
};

static struct id peer(size_t i)
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
        struct id from = peer(i);
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

/* All of them join, and are up. */
static void begin(struct crowd *c, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    alone_init(&c->a, seed);
    c->a.sends = hear_send;
    c->a.idle = acknowledge;
    c->a.patience_ms = 10000;
    for (size_t i = 0; i < PEERS; i++) {
        struct message m = { .type = MESSAGE_JOIN };
        struct peer *self = &m.u.join.self;
        *self = (struct peer){ .id = peer(i),
                               .incarnation = 2,
                               .weight_milli = 1000,
                               .state = PEER_ALIVE };
        snprintf(self->addr, sizeof self->addr, "10.0.0.%zu:9000", i + 1);
        c->up[i] = true;
        alone_hear_from(&c->a, &self->id, &m);
    }
}

static void end(struct crowd *c)
{
    alone_deinit(&c->a);
    buf_deinit(&c->parts);
}

static void look_again(struct crowd *c)
{
    c->arcs = c->keyspaces = c->digests = 0;
    c->answer = false;
    buf_reset(&c->parts);
}

static void tell_keyspace(struct crowd *c, keyspace_id id, const char *name,
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

/* The i-th of count arcs of a keyspace, on the first three peers. */
static struct arc arc_of(keyspace_id keyspace, size_t i, size_t count,
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
                                              .peer = peer(k),
                                              .voter = true };
    return arc;
}

static void tell_arc(struct crowd *c, const struct arc *arc)
{
    struct message m = { .type = MESSAGE_GOSSIP };
    m.u.gossip.arcs = arc;
    m.u.gossip.arc_count = 1;
    alone_hear(&c->a, &m);
}

static void tell_arcs(struct crowd *c, keyspace_id keyspace, size_t count)
{
    char bounds[2][8];
    for (size_t i = 0; i < count; i++) {
        struct arc arc = arc_of(keyspace, i, count, bounds);
        tell_arc(c, &arc);
    }
}

static const struct map *map_of_far(const struct crowd *c)
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

/* Digests */

static void say_digest(struct crowd *c, struct span parts, bool answer)
{
    struct id from = peer(0);
    struct message m = { .type = MESSAGE_DIGEST };
    m.u.digest.arcs = 0x1234567; /* something else */
    m.u.digest.answer = answer;
    m.u.digest.parts = parts;
    look_again(c);
    alone_hear_from(&c->a, &from, &m);
}

Test(digest, of_few_arcs_all_are_told, .timeout = 60)
{
    struct crowd c;
    begin(&c, 1);
    tell_keyspace(&c, FAR, "far", false);
    tell_arcs(&c, FAR, 20);
    say_digest(&c, span_empty(), false);
    cr_expect_eq(c.arcs, 22, "%zu: and two of its own", c.arcs);
    cr_expect_eq(c.keyspaces, 2, "%zu", c.keyspaces);
    cr_expect_eq(c.digests, 1);
    cr_expect(c.answer, "which the other does not answer again");
    say_digest(&c, span_empty(), true);
    cr_expect_eq(c.arcs, 22);
    cr_expect_eq(c.digests, 0, "once is enough");
    end(&c);
}

Test(digest, of_many_arcs_those_in_parts_that_differ_are_told, .timeout = 60)
{
    enum {
        ARCS = 700
    };
    struct crowd c;
    begin(&c, 2);
    tell_keyspace(&c, FAR, "far", false);
    tell_arcs(&c, FAR, ARCS);
    alone_run(&c.a, 200);
    say_digest(&c, span_empty(), false);
    cr_assert_eq(c.digests, 1);
    cr_expect_not(c.answer, "parts are asked for, and told");
    cr_expect_eq(c.arcs, 0);
    size_t part_count = c.parts.len / 4;
    cr_expect_eq(part_count, 128, "%zu parts of 5 arcs", part_count);

    struct buf said = { 0 };
    buf_append_span(&said, buf_span(&c.parts));
    say_digest(&c, buf_span(&said), false);
    cr_expect_eq(c.arcs, 0, "none differs, but %zu were told", c.arcs);
    cr_expect_eq(c.digests, 1);
    cr_expect(c.answer);
    cr_expect(span_equal(buf_span(&c.parts), buf_span(&said)));

    const struct map *map = map_of_far(&c);
    for (size_t part = 0; part < part_count; part += 13) {
        size_t there = 0;
        for (size_t i = 0; i < map_count(map); i++)
            there += map_part_of(map, i, part_count) == part;
        said.data[4 * part + part % 4] ^= 1;
        say_digest(&c, buf_span(&said), true);
        /* The node's own two arcs are in some part. */
        cr_expect(c.arcs >= there && c.arcs <= there + 2,
                  "part %zu: %zu of %zu", part, c.arcs, there);
        cr_expect_eq(c.digests, 0, "an answer is not answered");
        said.data[4 * part + part % 4] ^= 1;
    }
    memset(said.data, 0xa5, said.len);
    say_digest(&c, buf_span(&said), true);
    cr_expect_eq(c.arcs, ARCS + 2, "all differ: told in several messages");
    buf_deinit(&said);
    end(&c);
}

Test(digest, parts_that_are_none_are_taken_for_absent, .timeout = 60)
{
    static const size_t lens[] = { 1, 5, 12, 20, 4096 + 4, 8192 };
    static uint8_t bytes[8192];
    struct crowd c;
    begin(&c, 3);
    tell_keyspace(&c, FAR, "far", false);
    tell_arcs(&c, FAR, 100);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        say_digest(&c, span_of(bytes, lens[i]), false);
        cr_expect_eq(c.arcs, 0, "%zu bytes", lens[i]);
        cr_expect_eq(c.digests, 1, "%zu bytes", lens[i]);
        cr_expect_eq(c.parts.len, 4 * 16, "%zu bytes: asked anew: %zu", lens[i],
                     c.parts.len);
    }
    end(&c);
}

Test(digest, many_keyspaces_go_in_several_messages, .timeout = 60)
{
    enum {
        KEYSPACES = 150
    };
    struct crowd c;
    char name[16];
    begin(&c, 4);
    for (size_t i = 0; i < KEYSPACES; i++) {
        snprintf(name, sizeof name, "ks%zu", i);
        tell_keyspace(&c, (keyspace_id)(FAR + i), name, false);
    }
    alone_run(&c.a, 5000);
    say_digest(&c, span_empty(), false);
    cr_expect_eq(c.keyspaces, KEYSPACES + 1, "%zu", c.keyspaces);
    end(&c);
}

/* What operators are told */

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

static struct mp_reader reader_of(struct span doc, const char *name)
{
    struct mp_reader r;
    mp_reader_init(&r, field_of(doc, name));
    return r;
}

static uint64_t number_of(struct span doc, const char *name)
{
    struct mp_reader r = reader_of(doc, name);
    return mp_read_uint(&r);
}

static struct span text_of(struct span doc, const char *name)
{
    struct mp_reader r = reader_of(doc, name);
    return mp_read_bytes(&r);
}

static const struct response *status(struct crowd *c)
{
    struct request q = { .op = OP_STATUS, .timeout_ms = 9000 };
    const struct response *r = alone_ask(&c->a, &q);
    cr_assert_eq(r->status, DLHT_OK);
    return r;
}

/* Why an arc is in trouble; empty: it is not named. */
static struct span why_of(struct span doc, arc_id arc, const char *state)
{
    struct mp_reader r = reader_of(doc, "troubles");
    for (size_t n = mp_read_array(&r); n > 0; n--) {
        struct span trouble = mp_read_raw(&r);
        if (number_of(trouble, "arc") == arc &&
            span_equal(text_of(trouble, "state"), span_str(state)))
            return text_of(trouble, "why");
    }
    return span_empty();
}

static void expect_why(struct span doc, arc_id arc, const char *why)
{
    struct span found = why_of(doc, arc, "unavailable");
    cr_expect(span_equal(found, span_str(why)), "%.*s", (int)found.len,
              (const char *)found.data);
}

Test(status, names_who_is_down_where_nobody_serves, .timeout = 60)
{
    struct crowd c;
    char bounds[2][8];
    begin(&c, 5);
    tell_keyspace(&c, FAR, "far", false);
    tell_keyspace(&c, FAR + 1, "void", false);
    tell_arcs(&c, FAR, 3);
    struct arc odd = arc_of(FAR, 1, 3, bounds);
    odd.generation++;
    odd.members[0].peer.bytes[1] = 0x77; /* of whom nobody told */
    odd.members[1].voter = false;
    tell_arc(&c, &odd);
    alone_run(&c.a, 1000);
    struct span doc = status(&c)->value;
    cr_expect_eq(number_of(doc, "peers_up"), PEERS + 1);
    cr_expect_eq(number_of(doc, "arcs_unavailable"), 4);
    expect_why(doc, FIRST_ARC, "3 of 3 voters are up, but no owner answers");
    expect_why(doc, FIRST_ARC + 1,
               "1 of 2 voters are up, no majority; down: a peer not known "
               "here");
    expect_why(doc, 0, "no peer that is up has told of it");

    c.up[1] = c.up[2] = false;
    alone_run(&c.a, 30000);
    doc = status(&c)->value;
    cr_expect_eq(number_of(doc, "peers_up"), PEERS - 1);
    cr_expect_eq(number_of(doc, "peers_down"), 2);
    expect_why(doc, FIRST_ARC,
               "1 of 3 voters are up, no majority; down: 10.0.0.2:9000, "
               "10.0.0.3:9000");
    static const char verdict[] = "not whole: some arcs have no owner that "
                                  "answers (peers are down)";
    cr_expect(span_equal(text_of(doc, "verdict"), span_str(verdict)));

    struct request q = { .op = OP_PEERS, .timeout_ms = 9000 };
    const struct response *r = alone_ask(&c.a, &q);
    struct mp_reader peers;
    size_t up = 0, down = 0;
    mp_reader_init(&peers, r->value);
    for (size_t n = mp_read_array(&peers); n > 0; n--) {
        struct span one = mp_read_raw(&peers);
        up += span_equal(text_of(one, "state"), span_str("up"));
        down += span_equal(text_of(one, "state"), span_str("down"));
    }
    cr_expect_eq(up, PEERS - 1);
    cr_expect_eq(down, 2);
    end(&c);
}

Test(status, counts_all_troubles_and_names_some, .timeout = 60)
{
    struct crowd c;
    begin(&c, 6);
    tell_keyspace(&c, FAR, "far", false);
    tell_arcs(&c, FAR, 40);
    alone_run(&c.a, 1000);
    struct span doc = status(&c)->value;
    cr_expect_eq(number_of(doc, "arcs_unavailable"), 40);
    struct mp_reader r = reader_of(doc, "troubles");
    size_t named = mp_read_array(&r), far = 0;
    for (size_t i = 0; i < named; i++)
        far +=
            span_equal(text_of(mp_read_raw(&r), "keyspace"), span_str("far"));
    cr_expect_eq(far, 16, "%zu of its arcs", far);
    end(&c);
}

/* Recoveries */

struct copy {
    replica_id replica; /* 0: it says that it has none */
    uint64_t term, index;
    bool silent, voter, leads, empty;
};

static const struct response *ask_recover(struct crowd *c, arc_id arc,
                                          bool accept, bool empty)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 3);
    mp_write_cstr(&doc, "arc");
    mp_write_uint(&doc, arc);
    mp_write_cstr(&doc, "accept_loss");
    mp_write_bool(&doc, accept);
    mp_write_cstr(&doc, "empty");
    mp_write_bool(&doc, empty);
    struct request q = { .op = OP_RECOVER,
                         .value = buf_span(&doc),
                         .timeout_ms = 4000 };
    c->takes = 0;
    const struct response *r = alone_ask(&c->a, &q);
    buf_deinit(&doc);
    return r;
}

static void say_copies(struct crowd *c, const struct copy copies[PEERS])
{
    for (size_t i = 0; i < PEERS; i++) {
        const struct copy *copy = &copies[i];
        c->asked[i].kind = 0;
        c->says[i] = !copy->silent;
        c->has[i] = (struct recover_message){ .replica = copy->replica,
                                              .last_term = copy->term,
                                              .last_index = copy->index,
                                              .term = copy->term,
                                              .generation = 5,
                                              .voter = copy->voter,
                                              .leads = copy->leads,
                                              .empty = copy->empty,
                                              .keys = 3 };
    }
}

/* An arc with three voters, which nobody serves; 10, 20 and 30 are theirs. */
static void begin_recovery(struct crowd *c, uint64_t seed)
{
    begin(c, seed);
    tell_keyspace(c, FAR, "far", false);
    tell_arcs(c, FAR, 3);
    alone_run(&c->a, 6000);
}

static const struct {
    const char *why;
    struct copy copies[PEERS];
    bool accept, empty;
    int status;
    const char *says; /* how the refusal begins */
} judged[] = {
    { "who is up may have the newest copy",
      { { .silent = true }, { .silent = true }, { .silent = true } },
      true,
      false,
      DLHT_EREFUSED,
      "3 of 3 voters are up and did not answer" },
    { "somebody leads",
      { { .replica = 10, .term = 3, .index = 9, .leads = true, .voter = true },
        { 0 },
        { 0 } },
      true,
      false,
      DLHT_EREFUSED,
      "it has an owner" },
    { "two of three can elect one",
      { { .replica = 10, .term = 3, .index = 9 },
        { .replica = 20, .term = 3, .index = 8 },
        { 0 } },
      true,
      false,
      DLHT_EREFUSED,
      "2 of 3 voters are up, a majority" },
    { "an empty copy is none",
      { { .replica = 10, .term = 3, .index = 9, .empty = true }, { 0 }, { 0 } },
      true,
      false,
      DLHT_EREFUSED,
      "no copy is left on any peer" },
    { "none is left",
      { { 0 }, { 0 }, { 0 } },
      true,
      false,
      DLHT_EREFUSED,
      "no copy is left on any peer" },
    { "one is left, and nothing is asked for",
      { { .replica = 10, .term = 3, .index = 9 }, { 0 }, { 0 } },
      true,
      true,
      DLHT_EREFUSED,
      "a copy is left" },
    { "a term that cannot grow",
      { { .replica = 10, .term = UINT64_MAX / 8 + 1, .index = 9 },
        { 0 },
        { 0 } },
      true,
      false,
      DLHT_EREFUSED,
      "its generation or term cannot grow" },
    { "a plan",
      { { .replica = 10, .term = 3, .index = 9 }, { 0 }, { 0 } },
      false,
      false,
      DLHT_OK,
      "" },
};

Test(recovery, is_refused_where_more_may_be_left, .timeout = 120)
{
    struct crowd c;
    begin_recovery(&c, 7);
    for (size_t i = 0; i < sizeof judged / sizeof *judged; i++) {
        say_copies(&c, judged[i].copies);
        const struct response *r =
            ask_recover(&c, FIRST_ARC, judged[i].accept, judged[i].empty);
        cr_expect_eq(r->status, judged[i].status, "%s: %d", judged[i].why,
                     r->status);
        cr_expect(span_has_prefix(r->text, span_str(judged[i].says)),
                  "%s: %.*s", judged[i].why, (int)r->text.len,
                  (const char *)r->text.data);
        cr_expect_eq(c.takes, 0, "%s", judged[i].why);
    }
    end(&c);
}

Test(recovery, is_refused_of_arcs_that_need_none, .timeout = 120)
{
    struct crowd c;
    char bounds[2][8];
    static const struct copy one[PEERS] = {
        { .replica = 10, .term = 3, .index = 9 }
    };
    begin_recovery(&c, 8);
    say_copies(&c, one);
    tell_keyspace(&c, FAR + 1, "fleeting", true);
    struct arc fleeting = arc_of(FAR + 1, 0, 1, bounds);
    fleeting.id = 2000;
    tell_arc(&c, &fleeting);
    const struct response *r = ask_recover(&c, 2000, true, false);
    cr_expect_eq(r->status, DLHT_EREFUSED);
    cr_expect(span_has_prefix(r->text, span_str("an arc of a volatile")));
    /* Only a peer knows of it, and of its keyspace. */
    struct arc stray = arc_of(FAR + 2, 0, 1, bounds);
    stray.id = 3000;
    c.has[0].arc_known = &stray;
    r = ask_recover(&c, 3000, true, false);
    cr_expect_eq(r->status, DLHT_EREFUSED);
    cr_expect(span_has_prefix(r->text, span_str("this node does not know the")),
              "%.*s", (int)r->text.len, (const char *)r->text.data);
    /* Another has its keys since. */
    struct arc old = arc_of(FAR, 0, 3, bounds);
    old.id = 4000;
    old.generation = 2;
    c.has[0].generation = 2;
    c.has[0].arc_known = &old;
    r = ask_recover(&c, 4000, true, false);
    cr_expect_eq(r->status, DLHT_EREFUSED);
    cr_expect(span_has_prefix(r->text, span_str("its keys belong to another")),
              "%.*s", (int)r->text.len, (const char *)r->text.data);
    end(&c);
}

/* Who has the longer log goes on, whoever votes; 99 and 98 are no members. */
static const struct {
    struct copy copies[PEERS];
    size_t chosen;
    const char *why;
} choices[] = {
    { { { .replica = 10, .term = 3, .index = 9 },
        { .replica = 99, .term = 4, .index = 2 },
        { 0 } },
      1,
      "the later term" },
    { { { .replica = 10, .term = 3, .index = 9 },
        { .replica = 99, .term = 2, .index = 99 },
        { 0 } },
      0,
      "though it is shorter" },
    { { { .replica = 10, .term = 3, .index = 9 },
        { .replica = 99, .term = 3, .index = 10 },
        { 0 } },
      1,
      "the longer one" },
    { { { .replica = 10, .term = 3, .index = 9 },
        { .replica = 99, .term = 3, .index = 8 },
        { .replica = 98, .term = 3, .index = 7 } },
      0,
      "likewise" },
    { { { .replica = 99, .term = 3, .index = 9 },
        { .replica = 20, .term = 3, .index = 9, .voter = true },
        { 0 } },
      1,
      "who votes, of two that are equal" },
    { { { .replica = 10, .term = 3, .index = 9, .voter = true },
        { .replica = 99, .term = 3, .index = 9 },
        { 0 } },
      0,
      "likewise" },
    { { { 0 }, { 0 }, { 0 }, { .replica = 97, .term = 1, .index = 1 } },
      3,
      "the only one" },
};

Test(recovery, goes_on_with_the_longest_log, .timeout = 120)
{
    struct crowd c;
    begin_recovery(&c, 9);
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        char want[32];
        say_copies(&c, choices[i].copies);
        const struct response *r = ask_recover(&c, FIRST_ARC, false, false);
        cr_assert_eq(r->status, DLHT_OK, "%s: %.*s", choices[i].why,
                     (int)r->text.len, (const char *)r->text.data);
        snprintf(want, sizeof want, "10.0.0.%zu:9000", choices[i].chosen + 1);
        struct span survivor = text_of(r->value, "survivor");
        cr_expect(span_equal(survivor, span_str(want)), "%s: %.*s",
                  choices[i].why, (int)survivor.len,
                  (const char *)survivor.data);
        cr_expect_eq(number_of(r->value, "last_index"),
                     choices[i].copies[choices[i].chosen].index);
    }
    end(&c);
}

Test(recovery, ends_as_the_chosen_copy_says, .timeout = 120)
{
    static const struct copy one[PEERS] = {
        { .replica = 10, .term = 3, .index = 9 }
    };
    static const struct {
        int said;
        bool leads;
        int status;
        const char *text;
    } rows[] = {
        { DLHT_EFULL, false, DLHT_EFULL, "the copy that would go on has no" },
        { DLHT_ENOMEM, false, DLHT_EBUSY, "the copy that would go on has ch" },
        { DLHT_ESTALE, false, DLHT_EREFUSED, "the copy that would go on has" },
        { DLHT_OK, false, DLHT_EUNKNOWN, "the copy that was chosen has not" },
        { DLHT_OK, true, DLHT_OK, "" },
    };
    struct crowd c;
    char bounds[2][8];
    begin_recovery(&c, 10);
    /* The next arc is served; the known one may not reach into it. */
    struct arc next = arc_of(FAR, 1, 3, bounds);
    next.owner = peer(3);
    next.term = 2;
    tell_arc(&c, &next);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        say_copies(&c, one);
        for (size_t k = 1; k < PEERS; k++)
            c.has[k].status = DLHT_ESTALE; /* nobody asks them to take it */
        c.has[0].status = rows[i].said;
        c.leads = rows[i].leads;
        const struct response *r = ask_recover(&c, FIRST_ARC, true, false);
        cr_expect_eq(r->status, rows[i].status, "%zu: %d, %.*s", i, r->status,
                     (int)r->text.len, (const char *)r->text.data);
        cr_expect(span_has_prefix(r->text, span_str(rows[i].text)), "%zu: %.*s",
                  i, (int)r->text.len, (const char *)r->text.data);
        cr_expect_geq(c.takes, 1);
        cr_expect_eq(c.taken[0].replica, 10);
        cr_expect_eq(c.taken[0].last_index, 9);
        cr_expect_gt(c.taken[0].term, 3);
        cr_expect_gt(c.taken[0].generation, 5);
        cr_expect(c.taken_ends);
        cr_expect_str_eq(c.taken_hi, "000001");
    }
    end(&c);
}

/* Orders of peers to take an arc over */

struct order {
    replica_id old, fresh;
    arc_id known;
    keyspace_id keyspace;
    uint64_t generation, term, last_term;
    int status;
    const char *why;
};

static int hear_order(struct crowd *c, arc_id arc, const struct order *o)
{
    char bounds[2][8];
    struct id from = peer(3);
    struct arc known = arc_of(o->keyspace, 0, 3, bounds);
    struct message m = { .type = MESSAGE_RECOVER };
    known.id = o->known;
    m.u.recover = (struct recover_message){ .kind = RECOVER_TAKE,
                                            .number = 1,
                                            .arc = arc,
                                            .replica = o->old,
                                            .fresh = o->fresh,
                                            .generation = o->generation,
                                            .term = o->term,
                                            .last_term = o->last_term,
                                            .arc_known = &known };
    c->said.status = 1;
    alone_hear_from(&c->a, &from, &m);
    return c->said.status;
}

Test(recovery, an_order_is_checked_by_who_is_to_carry_it_out, .timeout = 60)
{
    enum {
        ARC = FIRST_ARC,
        NEW = 4243
    };
    const uint64_t s = RECOVER_STEP, t = RECOVER_STEP;
    const struct order before[] = {
        { 0, NEW, 9, FAR, s + 9, t + 9, 0, DLHT_EINVAL, "of another arc" },
        { 0, NEW, ARC, FAR, 5, t + 9, 0, DLHT_EINVAL, "not a newer one" },
        { 0, NEW, ARC, FAR, 6, t + 9, 0, DLHT_EINVAL, "not of a recovery" },
        { 0, NEW, ARC, FAR, s + 9, 9, 0, DLHT_EINVAL, "of an old term" },
        { 0, NEW, ARC, 999, s + 9, t + 9, 0, DLHT_ESTALE, "unheard of" },
        { 10, NEW, ARC, FAR, s + 9, t + 9, 0, DLHT_ESTALE, "it has none" },
        { 0, NEW, ARC, FAR, s + 9, t + 9, 0, DLHT_OK, "to begin anew" },
        { 0, NEW, ARC, FAR, s + 9, t + 9, 0, DLHT_OK, "told again" },
    };
    const struct order after[] = {
        { 0, 5555, ARC, FAR, 2 * s, 2 * t, 0, DLHT_ESTALE, "there is one" },
        { 10, 5555, ARC, FAR, 2 * s, 2 * t, 0, DLHT_ESTALE, "not that one" },
        { NEW, 5555, ARC, FAR, 2 * s, 2 * t, 0, DLHT_ESTALE, "it leads" },
        { NEW, 5555, ARC, FAR, 2 * s, 2 * t, 3 * t, DLHT_ESTALE,
          "it has less than is thought" },
    };
    struct crowd c;
    begin(&c, 11);
    tell_keyspace(&c, FAR, "far", false);
    alone_run(&c.a, 1000);
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        int status = hear_order(&c, ARC, &before[i]);
        cr_expect_eq(status, before[i].status, "%s: %d", before[i].why, status);
        cr_expect_eq(c.said.replica, status == DLHT_OK ? NEW : 0, "%s",
                     before[i].why);
    }
    alone_run(&c.a, 3000);
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        int status = hear_order(&c, ARC, &after[i]);
        cr_expect_eq(status, after[i].status, "%s: %d", after[i].why, status);
        cr_expect_eq(c.said.replica, NEW, "%s", after[i].why);
        cr_expect(c.said.leads, "%s", after[i].why);
    }
    struct request put = { .op = OP_PUT,
                           .keyspace_name = span_str("far"),
                           .key = span_str("0"),
                           .value = span_str("v") };
    cr_expect_eq(alone_ask(&c.a, &put)->status, DLHT_OK, "it is served");
    end(&c);
}

/* Requests of peers */

static void first_of_default(struct crowd *c, struct message *m)
{
    struct keyspace_record record;
    for (size_t i = 0; i < inspect_keyspace_count(c->a.node); i++) {
        const struct map *map = inspect_map(c->a.node, i, &record);
        if (!span_equal(record.name, span_str("default")))
            continue;
        m->u.request.keyspace = record.id;
        m->u.request.arc = map_at(map, 0)->id;
        m->u.request.generation = map_at(map, 0)->generation;
        return;
    }
    cr_assert_fail("there is no default");
}

static void ask_arc(struct crowd *c, uint8_t op, struct span value)
{
    struct id from = peer(3);
    struct message m = { .type = MESSAGE_REQUEST, .stream = 7 };
    m.u.request = (struct request){
        .op = op, .flags = REQUEST_TO_ARC, .value = value, .timeout_ms = 9000
    };
    first_of_default(c, &m);
    alone_hear_from(&c->a, &from, &m);
}

static void pack_model(struct buf *out)
{
    struct key_set set = key_set_make(KEYS_UNIFORM, 2000, 5);
    struct fit_config config = fit_config_default();
    struct model *model;
    config.leaf_count = 16;
    cr_assert_eq(fit_keys(set.keys, set.count, &config, &model), DLHT_OK);
    cr_assert_eq(model_pack(model, out), DLHT_OK);
    model_free(model);
    key_set_free(&set);
}

Test(sums, are_of_a_model_and_of_few_at_once, .timeout = 60)
{
    enum {
        ASKED = 100,
        RECORDS = 3000 /* more than are summed in a turn */
    };
    struct crowd c;
    struct buf packed = { 0 };
    char key[16];
    begin(&c, 12);
    for (int i = 0; i < RECORDS; i++) {
        snprintf(key, sizeof key, "k%06d", i);
        cr_assert_eq(alone_put(&c.a, key, "v"), DLHT_OK);
    }
    pack_model(&packed);
    ask_arc(&c, OP_MODEL_SUMS, span_str("no model"));
    cr_expect_eq(c.responses, 1);
    cr_expect_eq(c.status, DLHT_ECORRUPT, "%d", c.status);
    ask_arc(&c, OP_MODEL_SUMS, span_of(packed.data, packed.len - 1));
    cr_expect_eq(c.responses, 2);
    cr_expect_eq(c.status, DLHT_ECORRUPT, "%d", c.status);
    c.responses = 0;
    for (size_t i = 0; i < ASKED; i++)
        ask_arc(&c, OP_MODEL_SUMS, buf_span(&packed));
    cr_expect_eq(c.status, DLHT_EBUSY, "%d", c.status);
    alone_run(&c.a, 5000);
    cr_expect_eq(c.status, DLHT_OK, "%d", c.status);
    cr_expect_eq(c.responses, ASKED, "each is answered once: %zu", c.responses);
    /* What is asked last is under way when the node ends. */
    ask_arc(&c, OP_MODEL_SUMS, buf_span(&packed));
    buf_deinit(&packed);
    end(&c);
}
