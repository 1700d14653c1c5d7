/* SPDX-License-Identifier: Apache-2.0 */

/* A peer that comes back with the only copy of an arc damaged. */

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "dlht/err.h"
#include "node/inspect.h"
#include "node/journal_types.h"
#include "node/node.h"
#include "wire/mp.h"

struct kept {
    struct journal_record record;
    struct buf payload;
};

/* A node with a disk that never fails, driven by hand. */
struct durable {
    struct node *node;
    struct effects fx;
    uint64_t now_ns;
    struct kept *journal;
    size_t count;
    bool ready, answered;
    int status;
    struct buf text, value;
    size_t removed;  /* checkpoints */
    bool asks;       /* a put was sent to the owner of the system arc: */
    struct id asked; /* to him, as */
    uint32_t stream;
    int sync; /* status of each */
    size_t syncs;
};

static void keep_record(struct durable *p, const struct journal_record *record)
{
    p->journal = realloc(p->journal, (p->count + 1) * sizeof *p->journal);
    struct kept *k = &p->journal[p->count++];
    *k = (struct kept){ .record = *record };
    buf_append_span(&k->payload, record->payload);
    k->record.payload = buf_span(&k->payload);
}

static void note_sent(struct durable *p, const struct id *to,
                      const struct message *m)
{
    if (m->type != MESSAGE_REQUEST || m->u.request.op != OP_PUT)
        return;
    p->asks = true;
    p->asked = *to;
    p->stream = m->stream;
}

static void step(struct durable *p, struct event *event)
{
    event->now_ns = p->now_ns;
    cr_assert_eq(node_step(p->node, event, &p->fx), DLHT_OK);
    uint64_t sync = 0;
    for (size_t i = 0; i < p->fx.count; i++) {
        struct effect *e = &p->fx.list[i];
        if (e->kind == EFFECT_FAILED)
            p->status = e->u.failed.status;
        p->ready = p->ready || e->kind == EFFECT_READY;
        p->removed += e->kind == EFFECT_CHECKPOINT_REMOVE;
        if (e->kind == EFFECT_SEND)
            note_sent(p, &e->u.send.to, &e->u.send.message);
        if (e->kind == EFFECT_SYNC)
            sync = e->u.sync.number;
        if (e->kind == EFFECT_APPEND)
            keep_record(p, &e->u.append);
        if (e->kind == EFFECT_REPLY) {
            p->answered = true;
            p->status = e->u.reply.response.status;
            buf_reset(&p->text);
            buf_append_span(&p->text, e->u.reply.response.text);
            buf_reset(&p->value);
            buf_append_span(&p->value, e->u.reply.response.value);
        }
    }
    if (sync == 0)
        return;
    p->syncs++;
    struct event synced = { .kind = EVENT_SYNCED };
    synced.u.synced.number = sync;
    synced.u.synced.status = p->sync;
    step(p, &synced);
}

static void turn(struct durable *p, enum event_kind kind)
{
    struct event event = { .kind = kind };
    step(p, &event);
    struct event flush = { .kind = EVENT_FLUSH };
    step(p, &flush);
}

static void run(struct durable *p, uint64_t ms, const bool *until)
{
    uint64_t end = p->now_ns + ms * 1000000;
    while (p->now_ns < end && !(until && *until)) {
        p->now_ns += 10 * 1000000;
        if (node_next_timeout_ns(p->node) <= p->now_ns)
            turn(p, EVENT_TICK);
    }
}

static void ask(struct durable *p, const struct request *q)
{
    p->answered = false;
    struct event event = { .kind = EVENT_REQUEST };
    event.u.request.request = q;
    step(p, &event);
    struct event flush = { .kind = EVENT_FLUSH };
    step(p, &flush);
    run(p, 20000, &p->answered);
    cr_assert(p->answered);
}

static void new_node(struct durable *p, uint64_t seed)
{
    struct node_config config;
    node_config_default(&config);
    strcpy(config.addr, "127.0.0.1:9000");
    config.seed = seed;
    config.durable = true;
    cr_assert_eq(node_new(&config, &p->node), DLHT_OK);
    p->ready = false;
    p->now_ns = 1000000000;
}

static bool says(const struct buf *b, const char *words)
{
    size_t len = strlen(words);
    for (size_t i = 0; i + len <= b->len; i++)
        if (memcmp(b->data + i, words, len) == 0)
            return true;
    return false;
}

static struct request op(int op, const char *key)
{
    struct request q = { .op = (uint8_t)op, .timeout_ms = 2000 };
    q.key = span_str(key);
    if (op == OP_PUT)
        q.value = span_str("v");
    return q;
}

static void deinit(struct durable *p)
{
    node_check(p->node);
    node_free(p->node);
    effects_deinit(&p->fx);
    for (size_t i = 0; i < p->count; i++)
        buf_deinit(&p->journal[i].payload);
    free(p->journal);
    buf_deinit(&p->text);
    buf_deinit(&p->value);
}

/* A first life that puts a key; its arc's id. */
static arc_id first_life(struct durable *p)
{
    new_node(p, 1);
    turn(p, EVENT_BOOT);
    run(p, 10000, &p->ready);
    cr_assert(p->ready);
    struct request put = op(OP_PUT, "k");
    ask(p, &put);
    cr_assert_eq(p->status, DLHT_OK);
    struct keyspace_record record;
    arc_id arc = map_at(inspect_map(p->node, 1, &record), 0)->id;
    node_free(p->node);
    return arc;
}

/* A second, of which nothing of the arc but its name could be read. */
static void second_life(struct durable *p, arc_id arc, bool others)
{
    new_node(p, 2);
    size_t count = p->count; /* what is journaled anew comes behind */
    cr_assert_eq(node_quarantine(p->node, arc), DLHT_OK);
    for (size_t i = 0; i < count; i++)
        if (p->journal[i].record.arc != arc)
            cr_assert_eq(node_restore_record(p->node, &p->journal[i].record),
                         DLHT_OK);
    struct buf peers = { 0 };
    mp_write_array(&peers, 1);
    mp_write_cstr(&peers, "127.0.0.1:9001");
    struct journal_record record = { .type = JOURNAL_PEERS,
                                     .payload = buf_span(&peers) };
    if (others)
        cr_assert_eq(node_restore_record(p->node, &record), DLHT_OK);
    buf_deinit(&peers);
    p->status = DLHT_OK;
    turn(p, EVENT_BOOT);
}

Test(damage, an_arc_without_a_copy_is_unavailable_and_not_empty)
{
    struct durable p = { 0 };
    arc_id arc = first_life(&p);
    second_life(&p, arc, true);
    run(&p, 10000, &p.ready);
    cr_assert(p.ready);
    for (size_t i = 0; i < inspect_replica_count(p.node); i++) {
        struct inspect_replica r;
        inspect_replica_at(p.node, i, &r);
        cr_expect_neq(r.id, arc);
    }
    struct request get = op(OP_GET, "k");
    ask(&p, &get);
    cr_expect_eq(p.status, DLHT_EUNAVAILABLE, "%s", dlht_errname(p.status));
    cr_expect(says(&p.text, "127.0.0.1:9000 is damaged"));
    struct request put = op(OP_PUT, "k");
    ask(&p, &put);
    cr_expect_neq(p.status, DLHT_OK);
    struct request status = op(OP_STATUS, "");
    status.timeout_ms = 10000;
    ask(&p, &status);
    cr_expect_eq(p.status, DLHT_OK);
    cr_expect(says(&p.value, "unavailable"));
    cr_expect(says(&p.value, "127.0.0.1:9000 is damaged"));
    cr_expect_eq(p.removed, 0, "what is damaged may yet be rescued");
    deinit(&p);
}

Test(damage, a_peer_that_knows_no_other_does_not_start)
{
    struct durable p = { 0 };
    arc_id arc = first_life(&p);
    second_life(&p, arc, false);
    cr_expect_eq(p.status, DLHT_ECORRUPT);
    deinit(&p);
}

/* The disk is full for a while. */
Test(damage, a_full_disk_is_read_from_and_written_again)
{
    struct durable p = { 0 };
    new_node(&p, 3);
    turn(&p, EVENT_BOOT);
    run(&p, 10000, &p.ready);
    struct request put = op(OP_PUT, "k"), get = op(OP_GET, "k");
    ask(&p, &put);
    cr_assert_eq(p.status, DLHT_OK);
    p.sync = DLHT_EFULL;
    struct request lost = op(OP_PUT, "in the log");
    ask(&p, &lost);
    cr_expect_eq(p.status, DLHT_EUNKNOWN, "%s", dlht_errname(p.status));
    ask(&p, &put);
    cr_expect_eq(p.status, DLHT_EFULL, "%s", dlht_errname(p.status));
    cr_expect(says(&p.text, "disk full"));
    size_t journaled = p.count, syncs = p.syncs;
    run(&p, 60000, NULL);
    ask(&p, &get);
    cr_expect_eq(p.status, DLHT_OK);
    cr_expect_eq(p.count, journaled, "memory does not fill instead");
    cr_expect_geq(p.syncs - syncs, 50, "the disk is asked again");
    cr_expect_leq(p.syncs - syncs, 70);
    p.sync = DLHT_OK;
    run(&p, 1500, NULL);
    ask(&p, &put);
    cr_expect_eq(p.status, DLHT_OK);
    get = op(OP_GET, "in the log");
    ask(&p, &get);
    cr_expect_eq(p.status, DLHT_OK, "it was in the log, and stays");
    deinit(&p);
}

/* As the journal is read after it was trimmed: what it begins with was appended
 * again, and comes last. */
Test(damage, a_copy_is_kept_whose_founding_comes_before_the_peers_name)
{
    struct durable p = { 0 };
    new_node(&p, 5);
    turn(&p, EVENT_BOOT);
    run(&p, 10000, &p.ready);
    struct request put = op(OP_PUT, "k"), get = op(OP_GET, "k");
    ask(&p, &put);
    cr_assert_eq(p.status, DLHT_OK);
    size_t copies = inspect_replica_count(p.node);
    node_free(p.node);
    new_node(&p, 6);
    for (int names = 0; names < 2; names++)
        for (size_t i = 0; i < p.count; i++) {
            const struct journal_record *r = &p.journal[i].record;
            bool is_name =
                r->type == JOURNAL_IDENTITY || r->type == JOURNAL_PEERS;
            if (is_name == (names == 1))
                cr_assert_eq(node_restore_record(p.node, r), DLHT_OK);
        }
    turn(&p, EVENT_BOOT);
    run(&p, 10000, &p.ready);
    cr_assert(p.ready);
    cr_expect_eq(inspect_replica_count(p.node), copies);
    ask(&p, &get);
    cr_expect_eq(p.status, DLHT_OK, "%s", dlht_errname(p.status));
    deinit(&p);
}

/* Its name was damaged: nobody knows it any more, nor what it kept alone. */
Test(damage, a_peer_without_its_name_does_not_found_another_cluster)
{
    struct durable p = { 0 };
    new_node(&p, 7);
    turn(&p, EVENT_BOOT);
    run(&p, 10000, &p.ready);
    node_free(p.node);
    new_node(&p, 8);
    for (size_t i = 0; i < p.count; i++) {
        const struct journal_record *r = &p.journal[i].record;
        if (r->type != JOURNAL_IDENTITY)
            cr_assert_eq(node_restore_record(p.node, r), DLHT_OK);
    }
    turn(&p, EVENT_BOOT);
    run(&p, 10000, &p.ready);
    cr_expect_not(p.ready);
    cr_expect_eq(p.status, DLHT_ECORRUPT, "%s", dlht_errname(p.status));
    deinit(&p);
}

static const struct id OTHER = { { 2, 0x55 } };

static void hear(struct durable *p, const struct message *m)
{
    struct event event = { .kind = EVENT_MESSAGE };
    event.u.message.from = OTHER;
    event.u.message.message = m;
    step(p, &event);
    struct event flush = { .kind = EVENT_FLUSH };
    step(p, &flush);
}

/* Another peer, which leads the system arc. */
static void hear_of_other(struct durable *p)
{
    struct message join = { .type = MESSAGE_JOIN };
    join.u.join.self = (struct peer){
        .id = OTHER, .incarnation = 2, .weight_milli = 1000, .state = PEER_ALIVE
    };
    strcpy(join.u.join.self.addr, "127.0.0.1:9001");
    hear(p, &join);
    struct arc arc = {
        .id = 1, .generation = 3, .member_count = 1, .term = 5, .owner = OTHER
    };
    arc.members[0] = (struct arc_member){ 11, OTHER, true };
    struct message m = { .type = MESSAGE_GOSSIP };
    m.u.gossip.arcs = &arc;
    m.u.gossip.arc_count = 1;
    hear(p, &m);
}

/* A keyspace of three voters, one of them here; its arc has its number. */
static void hear_of_keyspace(struct durable *p, keyspace_id id)
{
    struct arc arc = { .id = 100 + id, .generation = 1, .member_count = 3 };
    arc.members[0] = (struct arc_member){ 21, inspect_self(p->node), true };
    arc.members[1] = (struct arc_member){ 22, OTHER, true };
    arc.members[2] = (struct arc_member){ 23, { { 3, 0x55 } }, true };
    char name[16];
    snprintf(name, sizeof name, "ks-%u", (unsigned)id);
    struct keyspace_record record = { .id = id,
                                      .name = span_str(name),
                                      .version = id,
                                      .placement = PLACEMENT_ORDERED,
                                      .replicas = 3,
                                      .first_arcs = &arc,
                                      .first_arc_count = 1 };
    struct message m = { .type = MESSAGE_GOSSIP };
    m.u.gossip.keyspaces = &record;
    m.u.gossip.keyspace_count = 1;
    hear(p, &m);
    run(p, 1000, NULL);
}

static bool has_founded(const struct durable *p, keyspace_id id)
{
    for (size_t i = 0; i < inspect_replica_count(p->node); i++) {
        struct inspect_replica r;
        inspect_replica_at(p->node, i, &r);
        if (r.id == 100 + id)
            return true;
    }
    return false;
}

static void answer_ask(struct durable *p, uint64_t version)
{
    p->asks = false;
    run(p, 10000, &p->asks);
    cr_assert(p->asks && id_equal(&p->asked, &OTHER));
    struct message m = { .type = MESSAGE_RESPONSE, .stream = p->stream };
    m.u.response.version = version;
    hear(p, &m);
    run(p, 1000, NULL);
}

static int keep_mended(void *context, const struct journal_record *record)
{
    keep_record(context, record);
    return DLHT_OK;
}

/* A member of a ring, of whose journal only the name is left, or (intact) all
 * that was written since. */
static void member_life(struct durable *p, uint64_t seed, bool intact)
{
    if (p->node)
        node_free(p->node);
    new_node(p, seed);
    if (p->count == 0) {
        struct buf name = { 0 };
        static const struct id CLUSTER = { { 9 } }, SELF = { { 1, 0x55 } };
        mp_write_bin(&name, span_of(CLUSTER.bytes, ID_BYTES));
        mp_write_bin(&name, span_of(SELF.bytes, ID_BYTES));
        mp_write_uint(&name, 2);
        struct journal_record record = { .type = JOURNAL_IDENTITY,
                                         .payload = buf_span(&name) };
        keep_record(p, &record);
        buf_deinit(&name);
    }
    for (size_t i = 0; i < p->count; i++)
        cr_assert_eq(node_restore_record(p->node, &p->journal[i].record),
                     DLHT_OK);
    if (!intact) {
        cr_assert_eq(node_quarantine(p->node, 0), DLHT_OK);
        cr_assert_eq(node_quarantined(p->node, keep_mended, p), DLHT_OK);
    }
    p->asks = false;
    turn(p, EVENT_BOOT);
}

/* What was promised in the life that the journal lost is not known, however late
 * the keyspace is heard of, and in whichever life after. Which keyspaces may have
 * been there then, the system arc knows. */
Test(damage, what_may_have_been_founded_is_never_founded_again)
{
    struct durable p = { 0 };
    member_life(&p, 9, false);
    run(&p, 60000, NULL);
    hear_of_keyspace(&p, 7);
    cr_expect_not(has_founded(&p, 7), "nobody has told up to where yet");
    member_life(&p, 10, true);
    hear_of_keyspace(&p, 7);
    cr_expect_not(has_founded(&p, 7), "the journal knows of the damage");
    hear_of_keyspace(&p, 12);
    hear_of_other(&p);
    answer_ask(&p, (UINT64_C(3) << 32) + 9);
    cr_expect_not(has_founded(&p, 7));
    cr_expect(has_founded(&p, 12), "as soon as that is known");
    hear_of_keyspace(&p, 11);
    cr_expect(has_founded(&p, 11));
    member_life(&p, 11, true);
    hear_of_other(&p);
    run(&p, 40000, NULL);
    cr_expect_not(p.asks, "once is enough");
    hear_of_keyspace(&p, 8);
    hear_of_keyspace(&p, 13);
    cr_expect_not(has_founded(&p, 8));
    cr_expect(has_founded(&p, 13));
    cr_expect(has_founded(&p, 12) && has_founded(&p, 11));
    deinit(&p);
}

/* The others are told, and make another copy. */
Test(damage, a_member_that_may_be_lost_says_so)
{
    struct durable p = { 0 };
    member_life(&p, 12, false);
    hear_of_keyspace(&p, 7);
    hear_of_other(&p);
    answer_ask(&p, 9);
    bool said = false;
    for (size_t i = 0; i < p.count; i++)
        said = said || (p.journal[i].record.type == JOURNAL_REMOVE &&
                        p.journal[i].record.arc == 107);
    cr_expect(said);
    deinit(&p);
}
