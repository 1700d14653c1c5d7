/* SPDX-License-Identifier: Apache-2.0 */

/* Two arcs become one, in a node alone with a journal. */

#include "node/op_merge.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "dlht/err.h"
#include "node/inspect.h"
#include "node/journal_types.h"
#include "node/replica.h"
#include "wire/codec.h"
#include "wire/mp.h"

struct kept {
    struct journal_record record;
    struct buf payload;
};

struct life {
    struct node *node;
    struct effects fx;
    uint64_t now_ns;
    struct kept *journal;
    size_t count;
    bool ready, answered;
    struct response response; /* spans into bytes */
    struct buf bytes;
    uint64_t sync; /* 0: none is out */
};

static void keep_reply(struct life *p, const struct response *r)
{
    p->answered = true;
    p->response = *r;
    buf_reset(&p->bytes);
    size_t value = p->bytes.len;
    buf_append_span(&p->bytes, r->value);
    size_t list = p->bytes.len;
    buf_append_span(&p->bytes, r->list);
    size_t cursor = p->bytes.len;
    buf_append_span(&p->bytes, r->cursor);
    p->response.value = span_of(p->bytes.data + value, r->value.len);
    p->response.list = span_of(p->bytes.data + list, r->list.len);
    p->response.cursor = span_of(p->bytes.data + cursor, r->cursor.len);
}

static void step(struct life *p, struct event *event)
{
    event->now_ns = p->now_ns;
    cr_assert_eq(node_step(p->node, event, &p->fx), DLHT_OK);
    for (size_t i = 0; i < p->fx.count; i++) {
        struct effect *e = &p->fx.list[i];
        cr_assert_neq(e->kind, EFFECT_FAILED, "%s", e->u.failed.text);
        p->ready = p->ready || e->kind == EFFECT_READY;
        if (e->kind == EFFECT_SYNC)
            p->sync = e->u.sync.number;
        if (e->kind == EFFECT_APPEND) {
            p->journal =
                realloc(p->journal, (p->count + 1) * sizeof *p->journal);
            struct kept *k = &p->journal[p->count++];
            *k = (struct kept){ .record = e->u.append };
            buf_append_span(&k->payload, e->u.append.payload);
            k->record.payload = buf_span(&k->payload);
        }
        if (e->kind == EFFECT_REPLY)
            keep_reply(p, &e->u.reply.response);
    }
}

/* What was synced is durable one turn later, so that much is seen half done. */
static void turn(struct life *p, enum event_kind kind)
{
    struct event event = { .kind = kind };
    step(p, &event);
    if (p->sync) {
        struct event synced = { .kind = EVENT_SYNCED };
        synced.u.synced.number = p->sync;
        p->sync = 0;
        step(p, &synced);
    }
    struct event flush = { .kind = EVENT_FLUSH };
    step(p, &flush);
    node_check(p->node);
}

static void run(struct life *p, uint64_t ms, const bool *until)
{
    uint64_t end = p->now_ns + ms * 1000000;
    while (p->now_ns < end && !(until && *until)) {
        p->now_ns += 10 * 1000000;
        if (node_next_timeout_ns(p->node) <= p->now_ns || p->sync)
            turn(p, EVENT_TICK);
    }
}

static const struct response *ask(struct life *p, const struct request *q)
{
    p->answered = false;
    struct event event = { .kind = EVENT_REQUEST };
    event.u.request.request = q;
    step(p, &event);
    struct event flush = { .kind = EVENT_FLUSH };
    step(p, &flush);
    run(p, 20000, &p->answered);
    cr_assert(p->answered);
    return &p->response;
}

static void hear(struct life *p, const struct message *m)
{
    struct event event = { .kind = EVENT_MESSAGE };
    event.u.message.from = p->node->self;
    event.u.message.message = m;
    step(p, &event);
    struct event flush = { .kind = EVENT_FLUSH };
    step(p, &flush);
    run(p, 40, NULL);
}

static void begin_life(struct life *p, uint64_t seed)
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

static void born(struct life *p, uint64_t seed)
{
    memset(p, 0, sizeof *p);
    begin_life(p, seed);
    turn(p, EVENT_BOOT);
    run(p, 10000, &p->ready);
    cr_assert(p->ready);
    run(p, 1000, NULL);
}

/* A life that goes on from the first count records of another's journal. */
static void reborn(struct life *p, const struct life *before, size_t count)
{
    memset(p, 0, sizeof *p);
    begin_life(p, 77);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(node_restore_record(p->node, &before->journal[i].record),
                     DLHT_OK);
    turn(p, EVENT_BOOT);
    run(p, 20000, &p->ready);
    cr_assert(p->ready);
}

static void deinit(struct life *p)
{
    node_check(p->node);
    node_free(p->node);
    effects_deinit(&p->fx);
    for (size_t i = 0; i < p->count; i++)
        buf_deinit(&p->journal[i].payload);
    free(p->journal);
    buf_deinit(&p->bytes);
}

/* The n-th arc of the keyspace `default`, in key order; NULL: none. */
static struct replica *arc_at(const struct life *p, size_t n)
{
    const struct map *map = inspect_map(p->node, 1, NULL);
    return n < map_count(map) ? node_replica(p->node, map_at(map, n)->id)
                              : NULL;
}

static void put(struct life *p, const char *key, struct span value)
{
    struct request q = { .op = OP_PUT, .value = value };
    q.key = span_str(key);
    cr_assert_eq(ask(p, &q)->status, DLHT_OK, "%s", key);
}

static void fill(struct life *p, int count)
{
    char key[16], value[64];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%04d", i);
        snprintf(value, sizeof value, "value %d", i * i);
        put(p, key, span_str(value));
    }
}

static void cut(struct life *p, const char *at)
{
    struct replica *r = arc_at(p, 0);
    struct buf keys = { 0 };
    mp_write_bin(&keys, span_str(at));
    struct message m = { .type = MESSAGE_STEP };
    m.u.step = (struct step){ .kind = STEP_SPLIT,
                              .keyspace = r->keyspace,
                              .arc = r->id,
                              .generation = r->arc->generation,
                              .keys = buf_span(&keys) };
    hear(p, &m);
    run(p, 3000, NULL);
    cr_assert_not_null(arc_at(p, 1), "it was cut");
    buf_deinit(&keys);
}

static void begin_merge(struct life *p)
{
    const struct replica *l = arc_at(p, 0), *r = arc_at(p, 1);
    struct message m = { .type = MESSAGE_STEP };
    m.u.step = (struct step){ .kind = STEP_MERGE,
                              .keyspace = r->keyspace,
                              .arc = r->id,
                              .generation = r->arc->generation,
                              .into = l->id,
                              .into_generation = l->arc->generation,
                              .into_lo = l->arc->lo };
    struct event event = { .kind = EVENT_MESSAGE };
    event.u.message.from = p->node->self;
    event.u.message.message = &m;
    step(p, &event);
}

static void merge(struct life *p)
{
    begin_merge(p);
    run(p, 5000, NULL);
    cr_assert_null(arc_at(p, 1), "it was merged");
    cr_assert_not(arc_at(p, 0)->arc->has_hi);
    cr_assert_eq(arc_at(p, 0)->merge.absorbed_count, 0, "and forgotten");
}

/* All records, keys and values and versions, one after the other. */
static void read_all(struct life *p, struct buf *out, bool down)
{
    struct request q = { .op = OP_RANGE, .limit = 100 };
    struct buf cursor = { 0 };
    bool more = true;
    buf_reset(out);
    if (down)
        q.flags |= REQUEST_REVERSE;
    while (more) {
        const struct response *r = ask(p, &q);
        cr_assert_eq(r->status, DLHT_OK);
        buf_append_span(out, r->list);
        more = r->more;
        buf_reset(&cursor);
        buf_append_span(&cursor, r->cursor);
        if (down) {
            q.flags |= REQUEST_HAS_END;
            q.end = buf_span(&cursor);
        } else {
            q.key = buf_span(&cursor);
        }
    }
    buf_deinit(&cursor);
}

static uint64_t count_all(struct life *p)
{
    struct request q = { .op = OP_COUNT };
    return ask(p, &q)->count;
}

Test(merge, all_is_there_byte_for_byte)
{
    struct life p;
    struct buf before = { 0 }, after = { 0 };
    born(&p, 1);
    fill(&p, 300);
    /* Longer than a batch: it goes in parts. */
    uint8_t *lots = malloc(700000);
    for (size_t i = 0; i < 700000; i++)
        lots[i] = (uint8_t)(i * i >> 7);
    put(&p, "k0200long", span_of(lots, 700000));
    put(&p, "k0250long", span_of(lots, MERGE_BATCH_BYTES));
    cut(&p, "k0100");
    uint64_t left = arc_at(&p, 0)->arc->generation;
    uint64_t right = arc_at(&p, 1)->arc->generation;
    for (int down = 0; down < 2; down++) {
        read_all(&p, &before, down);
        if (down == 0)
            merge(&p);
        read_all(&p, &after, down);
        cr_expect(span_equal(buf_span(&before), buf_span(&after)));
    }
    cr_expect_eq(count_all(&p), 302);
    cr_expect_gt(arc_at(&p, 0)->arc->generation, left);
    cr_expect_gt(arc_at(&p, 0)->arc->generation, right);
    struct inspect_merges stats;
    inspect_merges(p.node, &stats);
    cr_expect_eq(stats.done, 1);
    cr_expect_gt(stats.pause_ns_max, 0);
    put(&p, "k0200", span_str("again"));
    cut(&p, "k0200");
    cr_expect_eq(count_all(&p), 302);
    free(lots);
    buf_deinit(&before);
    buf_deinit(&after);
    deinit(&p);
}

/* Requests of R's leader, by hand. */
struct hand {
    struct life *p;
    arc_id from;
    struct merge_note note;
};

static struct hand hand(struct life *p)
{
    const struct replica *l = arc_at(p, 0), *r = arc_at(p, 1);
    struct hand h = { .p = p, .from = r->id };
    h.note = (struct merge_note){ .from = r->id,
                                  .into = l->id,
                                  .generation = l->arc->generation,
                                  .run = 5,
                                  .lo = r->arc->lo,
                                  .into_lo = l->arc->lo,
                                  .from_generation = r->arc->generation };
    h.note.member_count = 1;
    h.note.members[0] = r->arc->members[0];
    return h;
}

static void say(struct hand *h, enum merge_kind kind, uint64_t sequence,
                struct span items)
{
    const struct replica *l = arc_at(h->p, 0);
    struct buf packed = { 0 };
    h->note.kind = (uint8_t)kind;
    h->note.sequence = sequence;
    h->note.items = items;
    op_merge_pack(&packed, &h->note);
    struct message m = { .type = MESSAGE_REQUEST, .stream = 9 };
    m.u.request = (struct request){ .op = OP_MERGE,
                                    .flags = REQUEST_TO_ARC,
                                    .keyspace = l->keyspace,
                                    .arc = l->id,
                                    .generation = l->arc->generation,
                                    .key = l->arc->lo,
                                    .value = buf_span(&packed) };
    hear(h->p, &m);
    buf_deinit(&packed);
}

static void put_items(struct buf *items, const char *key, const char *value)
{
    struct record record = { .version = 7 };
    record.key = span_str(key);
    record.value = span_str(value);
    op_merge_add_record(items, &record);
}

Test(merge, what_is_staged_is_not_seen)
{
    struct life p;
    struct buf before = { 0 }, after = { 0 }, items = { 0 };
    born(&p, 2);
    fill(&p, 20);
    cut(&p, "k0010");
    struct hand h = hand(&p);
    put_items(&items, "k0015", "staged");
    put_items(&items, "k0016", "staged");
    for (int down = 0; down < 2; down++) {
        read_all(&p, &before, down);
        say(&h, MERGE_STAGE, (uint64_t)down, buf_span(&items));
        const struct replica *l = arc_at(&p, 0);
        cr_assert_not_null(l->staging);
        cr_expect_eq(records_count(l->records), 12);
        cr_expect_eq(replica_key_count(l), 10);
        cr_expect_lt(replica_data_bytes(l), records_data_bytes(l->records));
        read_all(&p, &after, down);
        cr_expect(span_equal(buf_span(&before), buf_span(&after)));
        cr_expect_eq(count_all(&p), 20);
        /* An end between the end of L and the first that is staged. */
        struct request q = { .op = OP_RANGE, .flags = REQUEST_HAS_END };
        q.key = span_str("k0008");
        q.end = span_str("k0013");
        cr_expect_eq(ask(&p, &q)->list_count, 5);
        q.flags |= REQUEST_REVERSE;
        cr_expect_eq(ask(&p, &q)->list_count, 5);
        put(&p, "k0005", span_str("goes on"));
    }
    /* Nothing else begins. */
    uint64_t generation = arc_at(&p, 0)->arc->generation;
    cr_expect_eq(replica_split(p.node, arc_at(&p, 0), span_str("k0003")),
                 DLHT_EBUSY);
    cr_expect_eq(arc_at(&p, 0)->arc->generation, generation);
    /* Nobody goes on with it. */
    run(&p, 7000, NULL);
    cr_expect_null(arc_at(&p, 0)->staging);
    cr_expect_eq(records_count(arc_at(&p, 0)->records), 10);
    cr_expect_gt(arc_at(&p, 0)->arc->generation, generation);
    cr_expect_eq(count_all(&p), 20);
    buf_deinit(&before);
    buf_deinit(&after);
    buf_deinit(&items);
    deinit(&p);
}

/* What was copied and then deleted on its way does not come back. */
Test(merge, what_is_deleted_meanwhile_stays_deleted)
{
    struct life p;
    struct buf items = { 0 };
    born(&p, 12);
    fill(&p, 20);
    cut(&p, "k0010");
    struct hand h = hand(&p);
    put_items(&items, "k0015", "first");
    put_items(&items, "k0016", "stays");
    say(&h, MERGE_STAGE, 0, buf_span(&items));
    buf_reset(&items);
    op_merge_add_removal(&items, span_str("k0015"));
    op_merge_add_removal(&items, span_str("k0017")); /* was never copied */
    put_items(&items, "k0016", "changed");
    say(&h, MERGE_STAGE, 1, buf_span(&items));
    const struct replica *l = arc_at(&p, 0);
    struct record record;
    cr_assert_not_null(l->staging);
    cr_expect_eq(records_count(l->records), 11);
    cr_expect_not(records_get(l->records, span_str("k0015"), &record));
    cr_assert(records_get(l->records, span_str("k0016"), &record));
    cr_expect(span_equal(record.value, span_str("changed")));
    /* Out of the bounds of what is merged: all of it is given up. */
    buf_reset(&items);
    op_merge_add_removal(&items, span_str("k0005"));
    say(&h, MERGE_STAGE, 2, buf_span(&items));
    cr_expect(records_get(arc_at(&p, 0)->records, span_str("k0005"), &record));
    run(&p, 7000, NULL);
    cr_expect_eq(count_all(&p), 20);
    buf_deinit(&items);
    deinit(&p);
}

/* What a table of messages leaves, each said once or several times. */
Test(merge, messages_count_once_and_in_order)
{
    enum {
        NONE,
        STAGING,
        MERGED
    };
    static const struct {
        const char *why;
        const char *said; /* 0, 1: STAGE; a: ABANDON; s: SUBSUME; x: STAGE 0 of
                           * another run; f: FORGET; o: out of its bounds */
        int left;
    } cases[] = {
        { "begun", "0", STAGING },
        { "begun twice", "00", STAGING },
        { "all", "01s", MERGED },
        { "each twice", "0011ss", MERGED },
        { "an old one after a new one", "0101s0", MERGED },
        { "one is missing", "0s", STAGING },
        { "not begun", "1s", NONE },
        { "another run", "0x1s", MERGED },
        { "abandoned", "01a", NONE },
        { "abandoned twice", "01aa", NONE },
        { "late ones", "01a01s", NONE },
        { "late SUBSUME", "01as", NONE },
        { "abandoned before it began", "a01s", NONE },
        { "abandoned too late", "01sa", MERGED },
        { "and begun again", "01sa01", MERGED },
        { "a key that R cannot have", "0o1s", MERGED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct life p;
        struct buf items[3] = { { 0 }, { 0 }, { 0 } };
        born(&p, 10 + i);
        put(&p, "a", span_str("1"));
        put(&p, "m", span_str("2"));
        cut(&p, "k");
        arc_id left = arc_at(&p, 0)->id;
        struct hand h = hand(&p);
        put_items(&items[0], "m", "22");
        put_items(&items[1], "n", "33");
        put_items(&items[2], "b", "stolen");
        h.note.keys = 2;
        h.note.bytes = 6;
        h.note.counter = 1000;
        struct buf lo = { 0 };
        buf_append_span(&lo, h.note.lo);
        h.note.lo = buf_span(&lo);
        for (const char *c = cases[i].said; *c; c++) {
            if (*c == 'a')
                say(&h, MERGE_ABANDON, 0, span_empty());
            else if (*c == 's')
                say(&h, MERGE_SUBSUME, 2, span_empty());
            else if (*c == 'o')
                say(&h, MERGE_STAGE, 1, buf_span(&items[2]));
            else if (*c == 'x') {
                h.note.run++;
                say(&h, MERGE_STAGE, 0, buf_span(&items[2]));
                h.note.run--;
            } else {
                say(&h, MERGE_STAGE, (uint64_t)(*c - '0'),
                    buf_span(&items[*c - '0']));
            }
        }
        const struct replica *l = node_replica(p.node, left);
        bool merged = cases[i].left == MERGED;
        cr_expect_eq(l->staging != NULL, cases[i].left == STAGING, "%s",
                     cases[i].why);
        cr_expect_eq(l->arc->has_hi, !merged, "%s", cases[i].why);
        cr_expect_eq(replica_key_count(l), merged ? 3 : 1, "%s: %llu",
                     cases[i].why, (unsigned long long)replica_key_count(l));
        cr_expect_eq(l->merge.absorbed_count, merged ? 1 : 0, "%s",
                     cases[i].why);
        if (merged)
            cr_expect_geq(l->counter, 1000, "%s", cases[i].why);
        for (size_t k = 0; k < 3; k++)
            buf_deinit(&items[k]);
        buf_deinit(&lo);
        deinit(&p);
    }
}

/* The journal is cut after each of its records, and life goes on from there. */
Test(merge, a_restart_at_each_step_loses_nothing, .timeout = 60)
{
    struct life p;
    struct buf before = { 0 }, after = { 0 };
    born(&p, 3);
    fill(&p, 40);
    uint8_t *lots = calloc(1, 600000);
    put(&p, "k0030long", span_of(lots, 600000));
    cut(&p, "k0020");
    read_all(&p, &before, false);
    size_t from = p.count;
    merge(&p);
    size_t merged = 0, apart = 0, journaled = p.count;
    cr_assert_geq(journaled - from, 7, "%zu records", journaled - from);
    for (size_t count = from; count <= journaled; count++) {
        struct life q;
        reborn(&q, &p, count);
        run(&q, 8000, NULL);
        read_all(&q, &after, false);
        cr_expect(span_equal(buf_span(&before), buf_span(&after)),
                  "after %zu of %zu records", count - from, journaled - from);
        bool whole = arc_at(&q, 1) == NULL;
        *(whole ? &merged : &apart) += 1;
        for (size_t i = 0; arc_at(&q, i); i++) {
            cr_expect_null(arc_at(&q, i)->staging);
            cr_expect_null(arc_at(&q, i)->merge.frozen);
            cr_expect_eq(arc_at(&q, i)->merge.absorbed_count, 0);
        }
        cr_expect_eq(inspect_replica_count(q.node), whole ? 2 : 3);
        put(&q, "k0035", span_str("goes on"));
        if (!whole) {
            merge(&q);
            cr_expect_eq(count_all(&q), 41);
        }
        deinit(&q);
    }
    cr_expect_gt(merged, 1);
    cr_expect_gt(apart, 3);
    free(lots);
    buf_deinit(&before);
    buf_deinit(&after);
    deinit(&p);
}

static struct request batch(struct buf *list, const struct id *session,
                            uint64_t number, const char *const *pairs)
{
    struct request q = {
        .op = OP_BATCH, .session = *session, .number = number, .lowest_open = 1
    };
    buf_reset(list);
    for (; *pairs; pairs++, q.list_count++)
        mp_write_bin(list, span_str(*pairs));
    q.list = buf_span(list);
    return q;
}

static void expect_value(struct life *p, const char *key, const char *value)
{
    struct request q = { .op = OP_GET };
    q.key = span_str(key);
    const struct response *r = ask(p, &q);
    cr_expect(span_equal(r->value, span_str(value)), "%s: %.*s, not %s", key,
              (int)r->value.len, (const char *)r->value.data, value);
}

Test(merge, a_retry_across_it_is_done_once)
{
    struct life p;
    struct buf list = { 0 };
    born(&p, 4);
    fill(&p, 20);
    cut(&p, "k0010");
    struct rng rng;
    rng_init(&rng, 5);
    struct id session = id_random(&rng), batches = id_random(&rng);
    struct request q = { .op = OP_PUT,
                         .key = span_str("k0015"),
                         .value = span_str("first"),
                         .session = session,
                         .number = 3,
                         .lowest_open = 1 };
    const struct response *r = ask(&p, &q);
    cr_assert_eq(r->status, DLHT_OK);
    uint64_t version = r->version;
    put(&p, "k0015", span_str("second"));

    /* A batch of which only the left piece came through: the right one, with
     * its number, is still under way when the arcs are one. */
    static const char *const all[] = { "k0012", "b",     "k0002", "b", "k0001",
                                       "b",     "k0011", "b",     NULL };
    static const char *const low[] = { "k0001", "b", "k0002", "b", NULL };
    struct request piece = batch(&list, &batches, 1, low);
    piece.flags = REQUEST_TO_ARC;
    piece.keyspace = arc_at(&p, 0)->keyspace;
    piece.arc = arc_at(&p, 0)->id;
    piece.key = span_str("k0001");
    struct message m = { .type = MESSAGE_REQUEST };
    m.u.request = piece;
    hear(&p, &m);
    expect_value(&p, "k0001", "b");
    put(&p, "k0001", span_str("newer"));

    merge(&p);
    r = ask(&p, &q);
    cr_expect_eq(r->status, DLHT_OK);
    cr_expect_eq(r->version, version, "as the first attempt was answered");
    expect_value(&p, "k0015", "second");

    struct request whole = batch(&list, &batches, 1, all);
    for (int again = 0; again < 2; again++) {
        r = ask(&p, &whole);
        cr_expect_eq(r->status, DLHT_OK);
        cr_expect_eq(r->count, 4);
        expect_value(&p, "k0001", "newer");
        expect_value(&p, "k0002", "b");
        expect_value(&p, "k0011", again ? "newest" : "b");
        expect_value(&p, "k0012", "b");
        put(&p, "k0011", span_str("newest"));
    }
    buf_deinit(&list);
    deinit(&p);
}

Test(merge, a_hot_arc_is_cut_into_as_many_parts_as_asked)
{
    struct life p;
    born(&p, 6);
    fill(&p, 90);
    struct replica *r = arc_at(&p, 0);
    struct message m = { .type = MESSAGE_STEP };
    m.u.step = (struct step){ .kind = STEP_SPLIT,
                              .keyspace = r->keyspace,
                              .arc = r->id,
                              .generation = r->arc->generation,
                              .ways = 9 };
    hear(&p, &m);
    run(&p, 5000, NULL);
    size_t arcs = 0;
    for (; arc_at(&p, arcs); arcs++)
        cr_expect_eq(replica_key_count(arc_at(&p, arcs)), 10);
    cr_expect_eq(arcs, 9);
    deinit(&p);
}

/* Bytes of a stranger: cut at each byte, and each changed. */
Test(merge, notes_are_checked)
{
    struct merge_note note = { .kind = MERGE_SUBSUME,
                               .from = 3,
                               .into = 4,
                               .generation = 5,
                               .has_hi = true,
                               .lo = span_str("b"),
                               .hi = span_str("c"),
                               .items = span_str("items"),
                               .member_count = 1 };
    note.members[0].replica = 8;
    struct buf packed = { 0 };
    op_merge_pack(&packed, &note);
    struct merge_note out;
    cr_assert_eq(op_merge_unpack(buf_span(&packed), &out), DLHT_OK);
    cr_expect_eq(out.kind, note.kind);
    cr_expect_eq(out.generation, note.generation);
    cr_expect(span_equal(out.hi, note.hi));
    cr_expect(span_equal(out.items, note.items));
    cr_expect_eq(out.members[0].replica, 8);
    for (size_t len = 0; len < packed.len; len++)
        cr_expect_eq(op_merge_unpack(span_of(packed.data, len), &out),
                     DLHT_EPROTO, "%zu bytes", len);
    for (size_t i = 0; i < packed.len; i++) {
        uint8_t was = packed.data[i];
        for (int c = 0; c < 256; c++) {
            packed.data[i] = (uint8_t)c;
            (void)!op_merge_unpack(buf_span(&packed), &out);
        }
        packed.data[i] = was;
    }
    static const struct {
        const char *why;
        uint8_t kind;
        arc_id from, into;
        const char *lo, *hi;
    } bad[] = { { "no kind", 0, 3, 4, "b", "c" },
                { "an unknown kind", 8, 3, 4, "b", "c" },
                { "from nowhere", 1, 0, 4, "b", "c" },
                { "into nowhere", 1, 3, 0, "b", "c" },
                { "into itself", 1, 3, 3, "b", "c" },
                { "of the first arc", 1, 3, 4, "", "c" },
                { "upside down", 1, 3, 4, "c", "b" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        note.kind = bad[i].kind;
        note.from = bad[i].from;
        note.into = bad[i].into;
        note.lo = span_str(bad[i].lo);
        note.hi = span_str(bad[i].hi);
        buf_reset(&packed);
        op_merge_pack(&packed, &note);
        cr_expect_eq(op_merge_unpack(buf_span(&packed), &out), DLHT_EPROTO,
                     "%s", bad[i].why);
    }
    buf_deinit(&packed);
}

/* What checkpoints and snapshots say of it comes back. */
Test(merge, its_state_is_in_headers)
{
    struct merge_state state = { 0 };
    state.frozen = calloc(1, sizeof *state.frozen);
    state.frozen->into = 4;
    state.frozen->generation = 9;
    state.frozen->closed = true;
    buf_append_span(&state.frozen->lo, span_str("a"));
    state.absorbed = calloc(MERGE_ABSORBED_MAX, sizeof *state.absorbed);
    state.absorbed_count = 2;
    for (size_t i = 0; i < 2; i++) {
        state.absorbed[i].from = i + 1;
        state.absorbed[i].generation = i + 7;
        state.absorbed[i].member_count = 1;
        state.absorbed[i].members[0].replica = i + 3;
    }
    struct buf packed = { 0 }, again = { 0 };
    op_merge_pack_state(&state, &packed);
    for (size_t len = 0; len <= packed.len; len++) {
        struct merge_state out;
        struct mp_reader r;
        mp_reader_init(&r, span_of(packed.data, len));
        int rc = op_merge_unpack_state(&r, &out);
        cr_expect_eq(rc == DLHT_OK, len == packed.len, "%zu bytes: %d", len,
                     rc);
        if (rc != DLHT_OK)
            continue;
        op_merge_pack_state(&out, &again);
        cr_expect(span_equal(buf_span(&packed), buf_span(&again)));
        op_merge_deinit_state(&out);
    }
    buf_deinit(&packed);
    buf_deinit(&again);
    op_merge_deinit_state(&state);
}

/* L goes on alone while something is staged: that is not L's, and what R's
 * leader may still send of it counts no more. */
Test(merge, a_recovered_arc_has_nothing_staged)
{
    struct life p, q;
    struct buf items = { 0 }, payload = { 0 };
    born(&p, 2);
    fill(&p, 20);
    cut(&p, "k0010");
    struct hand h = hand(&p);
    put_items(&items, "k0015", "staged");
    say(&h, MERGE_STAGE, 0, buf_span(&items));
    const struct replica *l = arc_at(&p, 0);
    cr_assert_not_null(l->staging);
    uint64_t step = UINT64_C(1) << 32;
    mp_write_uint(&payload, l->self);
    mp_write_uint(&payload, 12345);
    mp_write_uint(&payload, l->arc->generation + step);
    codec_pack_arc(&payload, l->arc);
    p.journal = realloc(p.journal, (p.count + 1) * sizeof *p.journal);
    p.journal[p.count++] =
        (struct kept){ .payload = payload,
                       .record = { .type = JOURNAL_RECOVER,
                                   .arc = l->id,
                                   .term = raft_term(l->raft) + step,
                                   .index = raft_last_index(l->raft) + 1,
                                   .payload = buf_span(&payload) } };
    reborn(&q, &p, p.count);
    run(&q, 10000, NULL);
    l = arc_at(&q, 0);
    cr_expect(replica_leads(l));
    cr_expect_null(l->staging);
    h.p = &q;
    h.note.keys = 1;
    say(&h, MERGE_ABANDON, 0, span_empty());
    say(&h, MERGE_SUBSUME, 1, span_empty());
    l = arc_at(&q, 0);
    cr_expect(l->arc->has_hi, "it ends where it did");
    cr_expect_eq(l->merge.absorbed_count, 0);
    buf_deinit(&items);
    deinit(&p);
    deinit(&q);
}

/* Who was not heard of since the start may still ask. */
Test(merge, remembers_an_arc_whose_peers_are_not_known_yet)
{
    struct life p;
    struct buf items = { 0 };
    born(&p, 2);
    fill(&p, 20);
    cut(&p, "k0010");
    struct hand h = hand(&p);
    h.note.members[0].peer.bytes[0] ^= 0x55;
    h.note.members[0].replica ^= 2;
    h.note.members[0].voter = true;
    put_items(&items, "k0015", "x");
    say(&h, MERGE_STAGE, 0, buf_span(&items));
    const struct replica *l = arc_at(&p, 0);
    h.note.keys = 1;
    h.note.bytes = records_data_bytes(l->records) - replica_data_bytes(l);
    say(&h, MERGE_SUBSUME, 1, span_empty());
    cr_assert_eq(arc_at(&p, 0)->merge.absorbed_count, 1);
    run(&p, 20000, NULL);
    cr_expect_eq(arc_at(&p, 0)->merge.absorbed_count, 1);
    buf_deinit(&items);
    deinit(&p);
}
