/* SPDX-License-Identifier: Apache-2.0 */

/* Writes of arcs that one node alone has a copy of, which are proposed without
 * a pending request behind them. */

#include <criterion/criterion.h>

#include "dlht/err.h"
#include "node/alone.h"
#include "node/op.h"
#include "node/replica.h"
#include "node/spot.h"

static struct request put_of(const char *key, uint32_t timeout_ms)
{
    return (struct request){ .op = OP_PUT,
                             .timeout_ms = timeout_ms,
                             .key = span_str(key),
                             .value = span_str("v") };
}

static struct replica *only_replica(const struct alone *a)
{
    struct keyspace *ks = keyspaces_find_name(a->node, span_str("default"));
    cr_assert_eq(map_count(ks->map), 1);
    return node_replica(a->node, map_at(ks->map, 0)->id);
}

static int get(struct alone *a, const char *key)
{
    struct request q = { .op = OP_GET, .key = span_str(key) };
    return alone_ask(a, &q)->status;
}

static void begin_directly(struct alone *a, const struct request *q)
{
    struct replica *r = only_replica(a);
    size_t before = r->waiter_count;
    alone_begin(a, q);
    cr_assert_eq(r->waiter_count, before + 1);
    cr_assert(r->waiters[(r->waiter_head + before) % r->waiter_cap].direct);
    cr_assert_eq(pending_count(a->node), 0);
}

Test(direct, leaves_no_session_behind)
{
    struct alone a;
    alone_init(&a, 1);
    cr_assert_eq(alone_put(&a, "before", "v"), DLHT_OK);
    size_t sessions = only_replica(&a)->sessions.count;
    struct request q = put_of("k", 1000);
    begin_directly(&a, &q);
    alone_flush(&a);
    cr_assert(a.answered);
    cr_expect_eq(a.response.status, DLHT_OK);
    cr_expect_eq(only_replica(&a)->sessions.count, sessions);
    cr_expect_eq(get(&a, "k"), DLHT_OK);
    alone_deinit(&a);
}

/* Proposed for an arc that is cut before it comes to it. */
Test(direct, is_carried_to_the_arc_that_was_cut_off)
{
    struct alone a;
    alone_init(&a, 2);
    cr_assert_eq(alone_put(&a, "a", "v"), DLHT_OK);
    cr_assert_eq(alone_put(&a, "y", "v"), DLHT_OK);
    struct replica *left = only_replica(&a);
    cr_assert_eq(replica_split(a.node, left, span_str("m")), DLHT_OK);
    struct request q = put_of("z", 2000);
    begin_directly(&a, &q);
    alone_flush(&a);
    cr_expect_eq(left->waiter_count, 0);
    cr_expect(a.answered || pending_count(a.node) == 1);
    for (int i = 0; i < 200 && !a.answered; i++)
        alone_run(&a, 10);
    cr_assert(a.answered);
    cr_expect_eq(a.response.status, DLHT_OK, "%s",
                 dlht_errname(a.response.status));
    cr_expect_eq(get(&a, "z"), DLHT_OK);
    cr_expect_eq(replica_key_count(left), 1, "only a is left of m");
    alone_deinit(&a);
}

Test(direct, is_unknown_where_the_disk_does_not_end_it)
{
    struct alone a;
    alone_init_durable(&a, 3);
    cr_assert_eq(alone_put(&a, "before", "v"), DLHT_OK);
    a.stalls = true;
    struct request q = put_of("k", 300);
    begin_directly(&a, &q);
    alone_flush(&a);
    alone_run(&a, 200);
    cr_assert_not(a.answered, "it is not on disk");
    alone_run(&a, 400);
    cr_assert(a.answered, "the deadline has passed");
    cr_expect_eq(a.response.status, DLHT_EUNKNOWN);
    a.stalls = false;
    alone_run(&a, 500); /* a second answer would end the test */
    cr_expect_eq(get(&a, "k"), DLHT_OK, "it takes effect late");
    alone_deinit(&a);
}

static void check_goes_by_slot(struct alone *a, const struct request *q)
{
    alone_begin(a, q);
    cr_expect_eq(pending_count(a->node), 1);
    alone_flush(a);
    cr_assert(a->answered);
    cr_expect_eq(a->response.status, DLHT_OK);
}

Test(direct, is_not_what_asks_for_more)
{
    struct alone a;
    alone_init(&a, 4);
    struct request all = put_of("k", 1000);
    all.flags = REQUEST_ALL;
    check_goes_by_slot(&a, &all);
    alone_deinit(&a);
}

Test(direct, is_done_once_under_the_number_of_a_session)
{
    struct alone a;
    alone_init(&a, 5);
    cr_assert_eq(alone_put(&a, "before", "v"), DLHT_OK);
    struct request create = put_of("k", 1000);
    create.op = OP_CAS; /* if there is none */
    create.session.bytes[0] = 7;
    create.number = create.lowest_open = 1;
    for (int i = 0; i < 2; i++) {
        begin_directly(&a, &create);
        alone_flush(&a);
        cr_assert(a.answered);
        cr_expect_eq(a.response.status, DLHT_OK, "time %d", i);
    }
    create.number = create.lowest_open = 2;
    cr_expect_eq(alone_ask(&a, &create)->status, DLHT_EMISMATCH);
    alone_deinit(&a);
}

static struct spot spot_of(struct alone *a, const struct request *q)
{
    struct spot spot;
    spot_find(a->node, a->now_ns, &q, 1, &spot);
    return spot;
}

Test(direct, begins_at_a_spot_as_by_an_event)
{
    struct alone a;
    alone_init(&a, 6);
    cr_assert_eq(alone_put(&a, "before", "v"), DLHT_OK);
    struct request put = put_of("k", 1000), del = put;
    del.op = OP_DEL;
    struct spot spot = spot_of(&a, &put);
    a.answered = false;
    cr_assert(spot_propose(a.node, &spot, &put, 1));
    alone_flush(&a);
    cr_assert(a.answered);
    cr_expect_eq(a.response.status, DLHT_OK);
    cr_expect_eq(a.response.version, 2);
    cr_expect_eq(get(&a, "k"), DLHT_OK);
    spot = spot_of(&a, &del);
    a.answered = false;
    cr_assert(spot_propose(a.node, &spot, &del, 1));
    alone_flush(&a);
    cr_assert(a.answered);
    cr_expect_eq(get(&a, "k"), DLHT_ENOTFOUND);
    struct request read = put;
    read.op = OP_GET;
    spot = spot_of(&a, &read);
    cr_expect_not(spot_propose(a.node, &spot, &read, 1), "a read is no write");
    alone_deinit(&a);
}
