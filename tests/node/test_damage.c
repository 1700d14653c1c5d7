/* SPDX-License-Identifier: Apache-2.0 */

/* A peer that comes back with the only copy of an arc damaged. */

#include <criterion/criterion.h>

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
    size_t removed; /* checkpoints */
    int sync;       /* status of each */
    size_t syncs;
};

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
        if (e->kind == EFFECT_SYNC)
            sync = e->u.sync.number;
        if (e->kind == EFFECT_APPEND) {
            p->journal =
                realloc(p->journal, (p->count + 1) * sizeof *p->journal);
            struct kept *k = &p->journal[p->count++];
            *k = (struct kept){ .record = e->u.append };
            buf_append_span(&k->payload, e->u.append.payload);
            k->record.payload = buf_span(&k->payload);
        }
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
