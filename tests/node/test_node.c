/* SPDX-License-Identifier: Apache-2.0 */

#include <criterion/criterion.h>

#include <stdio.h>

#include "dlht/err.h"
#include "node/alone.h"
#include "node/inspect.h"
#include "wire/cas_item.h"
#include "wire/mp.h"

Test(node, a_founder_puts_gets_and_deletes)
{
    struct alone a;
    alone_init(&a, 1);
    cr_expect_eq(alone_put(&a, "k", "v1"), DLHT_OK);
    struct request get = { .op = OP_GET, .key = span_str("k") };
    const struct response *r = alone_ask(&a, &get);
    cr_expect_eq(r->status, DLHT_OK);
    cr_expect(span_equal(r->value, span_str("v1")));
    uint64_t version = r->version;
    cr_expect_gt(version, 0);

    struct request cas = { .op = OP_CAS,
                           .key = span_str("k"),
                           .value = span_str("v2"),
                           .version = version + 1 };
    r = alone_ask(&a, &cas);
    cr_expect_eq(r->status, DLHT_EMISMATCH);
    cr_expect_eq(r->version, version);
    cas.version = version;
    cr_expect_eq(alone_ask(&a, &cas)->status, DLHT_OK);

    struct request del = { .op = OP_DEL, .key = span_str("k") };
    cr_expect_eq(alone_ask(&a, &del)->status, DLHT_OK);
    cr_expect_eq(alone_ask(&a, &del)->status, DLHT_ENOTFOUND);
    cr_expect_eq(alone_ask(&a, &get)->status, DLHT_ENOTFOUND);
    alone_deinit(&a);
}

static void fill(struct alone *a, int count)
{
    for (int from = 0; from < count; from += 1000) {
        struct buf list = { 0 };
        struct request q = { .op = OP_BATCH };
        for (int i = from; i < from + 1000 && i < count; i++) {
            char key[16];
            snprintf(key, sizeof key, "key%06d", i);
            mp_write_bin(&list, span_str(key));
            mp_write_bin(&list, span_str("value"));
            q.list_count += 2;
        }
        q.list = buf_span(&list);
        const struct response *r = alone_ask(a, &q);
        cr_assert_eq(r->status, DLHT_OK);
        cr_assert_eq(r->count, q.list_count / 2);
        buf_deinit(&list);
    }
}

static void add_item(struct request *q, struct buf *list,
                     const struct cas_item *item)
{
    cas_item_write(list, item);
    q->list = buf_span(list);
    q->list_count += CAS_ITEM_BINS;
}

static uint64_t version_of(struct alone *a, const char *key)
{
    struct request get = { .op = OP_GET, .key = span_str(key) };
    const struct response *r = alone_ask(a, &get);
    return r->status == DLHT_OK ? r->version : 0;
}

Test(node, a_conditional_batch_is_done_as_a_whole_or_not_at_all)
{
    struct alone a;
    alone_init(&a, 9);
    alone_put(&a, "a", "1");
    alone_put(&a, "b", "2");
    uint64_t at_a = version_of(&a, "a"), at_b = version_of(&a, "b");
    struct request q = { .op = OP_CAS_BATCH };
    struct buf list = { 0 };
    add_item(&q, &list,
             &(struct cas_item){ .key = span_str("a"),
                                 .value = span_str("10"),
                                 .version = at_a });
    add_item(
        &q, &list,
        &(struct cas_item){ .key = span_str("new"), .value = span_str("x") });
    add_item(&q, &list,
             &(struct cas_item){
                 .key = span_str("b"), .version = at_b + 7, .remove = true });
    const struct response *r = alone_ask(&a, &q);
    cr_expect_eq(r->status, DLHT_EMISMATCH);
    cr_expect_eq(r->count, 2, "the third differs, not %llu",
                 (unsigned long long)r->count);
    cr_expect_eq(r->version, at_b);
    cr_expect_eq(version_of(&a, "a"), at_a);
    cr_expect_eq(version_of(&a, "new"), 0);

    q.list_count = 0;
    buf_reset(&list);
    add_item(&q, &list,
             &(struct cas_item){
                 .key = span_str("b"), .version = at_b, .remove = true });
    add_item(&q, &list,
             &(struct cas_item){ .key = span_str("a"),
                                 .value = span_str("10"),
                                 .version = at_a });
    add_item(&q, &list,
             &(struct cas_item){ .key = span_str("c"),
                                 .value = span_str("3"),
                                 .any_version = true });
    r = alone_ask(&a, &q);
    cr_expect_eq(r->status, DLHT_OK);
    cr_expect_eq(r->count, 3);
    uint64_t last = r->version;
    cr_expect_eq(version_of(&a, "b"), 0);
    cr_expect_eq(version_of(&a, "c"), last);
    cr_expect_eq(version_of(&a, "a"), last - 1);
    cr_expect_eq(alone_ask(&a, &q)->status, DLHT_EMISMATCH);

    add_item(&q, &list,
             &(struct cas_item){ .key = span_str("c"), .any_version = true });
    r = alone_ask(&a, &q);
    cr_expect_eq(r->status, DLHT_EINVAL, "a key twice");
    q.list_count = 0;
    q.list = span_empty();
    cr_expect_eq(alone_ask(&a, &q)->status, DLHT_EINVAL, "nothing");
    buf_deinit(&list);
    alone_deinit(&a);
}

Test(node, a_conditional_batch_is_of_one_arc)
{
    struct alone a;
    alone_init(&a, 10);
    fill(&a, 20000);
    alone_run(&a, 15000);
    struct keyspace_record record;
    const struct map *map = inspect_map(a.node, 1, &record);
    cr_assert_geq(map_count(map), 2);
    struct buf cut = { 0 }, list = { 0 };
    buf_append_span(&cut, map_at(map, 1)->lo);
    /* The first key of the second arc, and one before it. */
    struct request q = { .op = OP_CAS_BATCH };
    add_item(&q, &list,
             &(struct cas_item){ .key = span_str("key000000"),
                                 .value = span_str("x"),
                                 .any_version = true });
    add_item(&q, &list,
             &(struct cas_item){ .key = buf_span(&cut),
                                 .value = span_str("x"),
                                 .any_version = true });
    uint64_t before = version_of(&a, "key000000");
    const struct response *r = alone_ask(&a, &q);
    cr_expect_eq(r->status, DLHT_EINVAL);
    cr_expect(r->text.len > 0);
    cr_expect_eq(version_of(&a, "key000000"), before);
    q.list_count = 0;
    buf_reset(&list);
    for (int i = 0; i < 2; i++)
        add_item(
            &q, &list,
            &(struct cas_item){ .key = span_str(i ? "key000001" : "key000000"),
                                .value = span_str("y"),
                                .any_version = true });
    cr_expect_eq(alone_ask(&a, &q)->status, DLHT_OK);
    buf_deinit(&cut);
    buf_deinit(&list);
    alone_deinit(&a);
}

Test(node, a_conditional_batch_of_a_session_is_applied_once)
{
    struct alone a;
    alone_init(&a, 11);
    struct rng rng;
    rng_init(&rng, 6);
    struct buf list = { 0 };
    struct request q = { .op = OP_CAS_BATCH,
                         .session = id_random(&rng),
                         .number = 1,
                         .lowest_open = 1 };
    add_item(
        &q, &list,
        &(struct cas_item){ .key = span_str("once"), .value = span_str("x") });
    const struct response *r = alone_ask(&a, &q);
    cr_assert_eq(r->status, DLHT_OK);
    uint64_t version = r->version;
    r = alone_ask(&a, &q);
    cr_expect_eq(r->status, DLHT_OK, "the retry hears the first outcome");
    cr_expect_eq(r->version, version);
    cr_expect_eq(r->count, 1);
    buf_deinit(&list);
    alone_deinit(&a);
}

Test(node, a_request_of_a_session_is_applied_once)
{
    struct alone a;
    alone_init(&a, 2);
    struct rng rng;
    rng_init(&rng, 5);
    struct request cas = { .op = OP_CAS,
                           .key = span_str("once"),
                           .value = span_str("x"),
                           .session = id_random(&rng),
                           .number = 1,
                           .lowest_open = 1 };
    const struct response *r = alone_ask(&a, &cas);
    cr_assert_eq(r->status, DLHT_OK);
    uint64_t version = r->version;
    r = alone_ask(&a, &cas);
    cr_expect_eq(r->status, DLHT_OK, "the retry hears the first outcome");
    cr_expect_eq(r->version, version);
    cas.number = 2;
    cas.lowest_open = 2;
    cr_expect_eq(alone_ask(&a, &cas)->status, DLHT_EMISMATCH);
    alone_deinit(&a);
}

/* Keys of one page, counted and checked to be in order. */
static size_t page_keys(const struct response *r, bool down)
{
    struct mp_reader reader;
    mp_reader_init(&reader, r->list);
    struct span last = span_empty();
    for (uint32_t i = 0; i < r->list_count; i++) {
        struct span key = mp_read_bytes(&reader);
        mp_read_bytes(&reader);
        mp_read_uint(&reader);
        int order = i ? span_compare(last, key) : 0;
        cr_assert(i == 0 || (down ? order > 0 : order < 0));
        last = key;
    }
    cr_assert(mp_at_end(&reader) && !reader.bad);
    return r->list_count;
}

Test(node, ranges_tile_across_splits)
{
    struct alone a;
    alone_init(&a, 3);
    enum {
        COUNT = 20000
    };
    fill(&a, COUNT);
    alone_run(&a, 15000);
    struct keyspace_record record;
    size_t arcs = map_count(inspect_map(a.node, 1, &record));
    cr_expect_geq(arcs, 7, "%zu arcs of 20,000 keys and 8 vnodes", arcs);

    for (int reverse = 0; reverse < 2; reverse++) {
        struct request q = { .op = OP_RANGE, .limit = 777 };
        struct buf cursor = { 0 };
        size_t seen = 0;
        bool more = true;
        if (reverse)
            q.flags |= REQUEST_REVERSE;
        while (more) {
            const struct response *r = alone_ask(&a, &q);
            cr_assert_eq(r->status, DLHT_OK);
            seen += page_keys(r, reverse);
            more = r->more;
            buf_reset(&cursor);
            buf_append_span(&cursor, r->cursor);
            if (reverse) {
                q.flags |= REQUEST_HAS_END;
                q.end = buf_span(&cursor);
            } else {
                q.key = buf_span(&cursor);
            }
        }
        cr_expect_eq(seen, COUNT);
        buf_deinit(&cursor);
    }
    struct request count = { .op = OP_COUNT,
                             .flags = REQUEST_HAS_END,
                             .key = span_str("key001000"),
                             .end = span_str("key011000") };
    cr_expect_eq(alone_ask(&a, &count)->count, 10000);
    alone_deinit(&a);
}

Test(node, many_keys_are_asked_at_once)
{
    struct alone a;
    alone_init(&a, 4);
    cr_assert_eq(alone_put(&a, "a", "1"), DLHT_OK);
    cr_assert_eq(alone_put(&a, "c", "3"), DLHT_OK);
    struct buf list = { 0 };
    mp_write_bin(&list, span_str("a"));
    mp_write_bin(&list, span_str("b"));
    mp_write_bin(&list, span_str("c"));
    struct request q = { .op = OP_MGET,
                         .list = buf_span(&list),
                         .list_count = 3 };
    const struct response *r = alone_ask(&a, &q);
    cr_expect_eq(r->status, DLHT_OK);
    cr_expect_eq(r->list_count, 2);
    buf_deinit(&list);
    alone_deinit(&a);
}

Test(node, bad_requests_are_refused_in_words)
{
    struct alone a;
    alone_init(&a, 6);
    char long_key[70000];
    memset(long_key, 'k', sizeof long_key);
    struct {
        struct request q;
        int status;
        const char *why;
    } cases[] = {
        { { .op = OP_PUT }, DLHT_EINVAL, "a key has a byte" },
        { { .op = OP_PUT, .key = span_of(long_key, 70000) },
          DLHT_ETOOBIG,
          "a key has at most 64 KiB" },
        { { .op = OP_GET,
            .key = span_str("k"),
            .keyspace_name = span_str("none") },
          DLHT_ENOKEYSPACE,
          "the keyspace is not there" },
        { { .op = OP_BATCH }, DLHT_EINVAL, "an empty batch" },
        { { .op = 200 }, DLHT_EPROTO, "an unknown operation" },
        { { .op = OP_LEAVE, .key = span_str("1.2.3.4:5") },
          DLHT_EINVAL,
          "an unknown peer" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct response *r = alone_ask(&a, &cases[i].q);
        cr_expect_eq(r->status, cases[i].status, "%s: %d", cases[i].why,
                     r->status);
        cr_expect_gt(r->text.len, 0, "%s", cases[i].why);
    }
    alone_deinit(&a);
}

Test(node, keyspaces_are_made_and_dropped)
{
    struct alone a;
    alone_init(&a, 7);
    struct buf doc = { 0 };
    mp_write_map(&doc, 2);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, "h");
    mp_write_cstr(&doc, "placement");
    mp_write_cstr(&doc, "hashed");
    struct request create = { .op = OP_KEYSPACE_CREATE,
                              .value = buf_span(&doc) };
    cr_assert_eq(alone_ask(&a, &create)->status, DLHT_OK);
    cr_expect_eq(alone_ask(&a, &create)->status, DLHT_EEXISTS);
    struct request put = { .op = OP_PUT,
                           .keyspace_name = span_str("h"),
                           .key = span_str("k"),
                           .value = span_str("v") };
    cr_expect_eq(alone_ask(&a, &put)->status, DLHT_OK);
    struct request count = { .op = OP_COUNT, .keyspace_name = span_str("h") };
    cr_expect_eq(alone_ask(&a, &count)->count, 1);
    struct request range = { .op = OP_RANGE,
                             .keyspace_name = span_str("h"),
                             .key = span_str("a") };
    cr_expect_eq(alone_ask(&a, &range)->status, DLHT_ENOTSUP);
    struct request drop = { .op = OP_KEYSPACE_DROP, .value = buf_span(&doc) };
    cr_expect_eq(alone_ask(&a, &drop)->status, DLHT_OK);
    cr_expect_eq(alone_ask(&a, &put)->status, DLHT_ENOKEYSPACE);
    buf_deinit(&doc);
    alone_deinit(&a);
}

static int change_keyspace(struct alone *a, int op, const char *name)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 1);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, name);
    struct request q = { .op = (uint8_t)op, .value = buf_span(&doc) };
    int status = alone_ask(a, &q)->status;
    buf_deinit(&doc);
    return status;
}

/* More in a node's life than there is room for at a time. */
Test(node, keyspaces_come_and_go_for_ever, .timeout = 60)
{
    struct alone a;
    alone_init(&a, 8);
    size_t before = inspect_keyspace_count(a.node);
    for (int i = 0; i < 4200; i++) {
        cr_assert_eq(change_keyspace(&a, OP_KEYSPACE_CREATE, "again"), DLHT_OK,
                     "%d", i);
        cr_assert_eq(change_keyspace(&a, OP_KEYSPACE_DROP, "again"), DLHT_OK,
                     "%d", i);
        cr_assert_eq(inspect_keyspace_count(a.node), before);
    }
    cr_assert_eq(change_keyspace(&a, OP_KEYSPACE_CREATE, "again"), DLHT_OK);
    cr_expect_eq(inspect_keyspace_count(a.node), before + 1);
    struct request put = { .op = OP_PUT,
                           .keyspace_name = span_str("again"),
                           .key = span_str("k"),
                           .value = span_str("v") };
    cr_expect_eq(alone_ask(&a, &put)->status, DLHT_OK);
    alone_deinit(&a);
}

static void hear(struct alone *a, const struct keyspace_record *record)
{
    struct message m = { .type = MESSAGE_GOSSIP };
    m.u.gossip.keyspaces = record;
    m.u.gossip.keyspace_count = 1;
    alone_hear(a, &m);
}

Test(node, old_news_of_a_dropped_keyspace_begins_nothing)
{
    struct alone a;
    alone_init(&a, 9);
    size_t before = inspect_keyspace_count(a.node);
    struct keyspace_record live = { .id = 7777,
                                    .name = span_str("zombie"),
                                    .version = 7777,
                                    .placement = PLACEMENT_ORDERED,
                                    .replicas = 3 };
    struct keyspace_record dropped = live;
    dropped.name = span_str("-");
    dropped.version = 8888;
    dropped.dropped = true;
    struct keyspace_record newer = live;
    newer.version = 9999;
    static const struct {
        const char *why;
        int news; /* 0: live, 1: dropped, 2: newer */
        size_t more;
    } steps[] = { { "it is made", 0, 1 },
                  { "it is dropped", 1, 0 },
                  { "old news", 0, 0 },
                  { "the same again", 1, 0 },
                  { "an id is never used again", 2, 0 } };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        hear(&a, steps[i].news == 0   ? &live
                 : steps[i].news == 1 ? &dropped
                                      : &newer);
        cr_expect_eq(inspect_keyspace_count(a.node), before + steps[i].more,
                     "%s", steps[i].why);
    }
    alone_deinit(&a);
}
