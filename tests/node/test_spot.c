/* SPDX-License-Identifier: Apache-2.0 */

/* Requests done without becoming events: that their answers are those of the
 * events, that what may not be done so is left alone, and that each record is
 * where it is looked for. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/alone.h"
#include "node/gossip.h"
#include "node/node_state.h"
#include "node/replica.h"
#include "node/spot.h"
#include "store/cache.h"
#include "wire/mp.h"

static const char CACHE[] = "c", RECORDS[] = "default";

static void create(struct alone *a, const char *name, bool is_volatile,
                   const char *option, const char *value)
{
    struct buf doc = { 0 };
    mp_write_map(&doc, 3);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, name);
    mp_write_cstr(&doc, "volatile");
    mp_write_bool(&doc, is_volatile);
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, 1);
    mp_write_cstr(&doc, option);
    mp_write_cstr(&doc, value);
    struct request q = { .op = OP_KEYSPACE_CREATE, .value = buf_span(&doc) };
    const struct response *s = alone_ask(a, &q);
    cr_assert_eq(s->status, DLHT_OK, "%.*s", (int)s->text.len,
                 (const char *)s->text.data);
    buf_deinit(&doc);
    alone_run(a, 200);
}

static void begin(struct alone *a)
{
    alone_init(a, 11);
    create(a, CACHE, true, "max-bytes", "1048576");
}

static struct spot find(struct alone *a, const char *keyspace, struct span key)
{
    struct spot spot;
    spot_find_keys(a->node, a->now_ns, span_str(keyspace), &key, 1, &spot);
    return spot;
}

static const struct response *ask(struct alone *a, uint8_t op,
                                  const char *keyspace, struct span key,
                                  const char *value)
{
    struct request q = { .op = op,
                         .keyspace_name = span_str(keyspace),
                         .key = key,
                         .value = span_str(value) };
    return alone_ask(a, &q);
}

/* The same said of a key by a spot and by an event. */
static void check_same(struct alone *a, const char *keyspace, struct span key)
{
    struct spot spot = find(a, keyspace, key);
    struct response now;
    cr_assert(spot_get(a->node, &spot, &now));
    struct buf value = { 0 };
    buf_append_span(&value, now.value);
    const struct response *s = ask(a, OP_GET, keyspace, key, "");
    cr_expect_eq(now.status, s->status, "%s", dlht_errname(now.status));
    cr_expect_eq(now.version, s->version);
    cr_expect_eq(now.ttl_ms, s->ttl_ms);
    cr_expect(span_equal(buf_span(&value), s->value));
    buf_deinit(&value);
}

Test(spot, answers_are_those_of_events)
{
    struct alone a;
    static const char *const NAMES[] = { CACHE, RECORDS };
    begin(&a);
    for (size_t n = 0; n < 2; n++) {
        char name[SPOT_KEY_MAX];
        memset(name, 'k', sizeof name);
        const struct span keys[] = { span_str("a"), span_str("none"),
                                     span_of("\0\0", 2),
                                     span_of(name, sizeof name) };
        for (size_t i = 0; i < 4; i++) {
            if (i != 1)
                cr_assert_eq(
                    ask(&a, OP_PUT, NAMES[n], keys[i], "there")->status,
                    DLHT_OK);
            check_same(&a, NAMES[n], keys[i]);
        }
    }
    alone_deinit(&a);
}

Test(spot, writes_of_volatile_keyspaces_are_seen)
{
    struct alone a;
    struct span key = span_str("key");
    begin(&a);
    struct spot spot = find(&a, CACHE, key);
    struct response s;
    cr_assert(spot_put(a.node, &spot, span_str("one"), &s));
    cr_expect_eq(s.status, DLHT_OK);
    uint64_t version = s.version;
    cr_assert(spot_put(a.node, &spot, span_str("two"), &s));
    cr_expect_gt(s.version, version);
    const struct response *seen = ask(&a, OP_GET, CACHE, key, "");
    cr_expect(span_equal(seen->value, span_str("two")));
    cr_expect_eq(seen->version, s.version);
    spot = find(&a, CACHE, key);
    cr_assert(spot_del(a.node, &spot, &s));
    cr_expect_eq(s.status, DLHT_OK);
    cr_expect_eq(ask(&a, OP_GET, CACHE, key, "")->status, DLHT_ENOTFOUND);
    spot = find(&a, CACHE, key);
    cr_assert(spot_del(a.node, &spot, &s));
    cr_expect_eq(s.status, DLHT_ENOTFOUND);
    cr_assert(spot_get(a.node, &spot, &s));
    cr_expect_eq(s.status, DLHT_ENOTFOUND);
    alone_deinit(&a);
}

/* Each of many keys is found where an event put it, many at once. */
Test(spot, many_are_found_at_once)
{
    struct alone a;
    char names[SPOTS_MAX][16];
    struct span keys[SPOTS_MAX];
    struct spot spots[SPOTS_MAX];
    begin(&a);
    for (size_t i = 0; i < SPOTS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "key-%zu", i);
        keys[i] = span_str(names[i]);
        cr_assert_eq(ask(&a, OP_PUT, CACHE, keys[i], names[i])->status,
                     DLHT_OK);
    }
    spot_find_keys(a.node, a.now_ns, span_str(CACHE), keys, SPOTS_MAX, spots);
    for (size_t i = 0; i < SPOTS_MAX; i++) {
        struct response s;
        cr_assert(spot_get(a.node, &spots[i], &s));
        cr_expect(span_equal(s.value, keys[i]), "%s", names[i]);
    }
    alone_deinit(&a);
}

/* Writes as requests have them: ends are kept or set, and what an event would
 * refuse is left to it. */
Test(spot, writes_with_ends_and_conditions)
{
    struct alone a;
    struct response s;
    begin(&a);
    create(&a, "unbound", true, "policy", "lru");
    struct spot spot = find(&a, CACHE, span_str("key"));
    struct request q = { .op = OP_PUT,
                         .value = span_str("one"),
                         .ttl_ms = 5000 };
    cr_assert(spot_write(a.node, &spot, &q));
    cr_assert(spot_get(a.node, &spot, &s));
    cr_expect_eq(s.ttl_ms, 5000);
    uint64_t version = s.version;
    q = (struct request){ .op = OP_PUT,
                          .flags = REQUEST_KEEP_TTL,
                          .value = span_str("two") };
    cr_assert(spot_write(a.node, &spot, &q));
    cr_assert(spot_get(a.node, &spot, &s));
    cr_expect_eq(s.ttl_ms, 5000);
    cr_expect(span_equal(s.value, span_str("two")));
    q = (struct request){ .op = OP_CAS,
                          .value = span_str("three"),
                          .version = version };
    cr_expect_not(spot_write(a.node, &spot, &q), "an older version");
    q = (struct request){ .op = OP_CACHE_EXPIRE };
    cr_assert(spot_write(a.node, &spot, &q));
    cr_assert(spot_get(a.node, &spot, &s));
    cr_expect_eq(s.ttl_ms, 0);
    cr_expect(span_equal(s.value, span_str("two")));
    q = (struct request){ .op = OP_DEL };
    cr_assert(spot_write(a.node, &spot, &q));
    cr_expect_not(spot_write(a.node, &spot, &q), "it is gone");
    q = (struct request){ .op = OP_PUT, .ttl_ms = 5000 };
    spot = find(&a, "unbound", span_str("key"));
    cr_assert_not_null(spot.replica);
    cr_expect_not(spot_write(a.node, &spot, &q), "no cache");
    spot = find(&a, RECORDS, span_str("key"));
    q.ttl_ms = 0;
    cr_expect_not(spot_write(a.node, &spot, &q), "not volatile");
    alone_deinit(&a);
}

/* An arc that was given to another is not served any more, though its copy is
 * here yet. */
Test(spot, what_was_given_away_is_left_alone)
{
    struct alone a;
    struct response s;
    begin(&a);
    struct spot spot = find(&a, CACHE, span_str("key"));
    cr_assert(spot_put(a.node, &spot, span_str("old"), &s));
    struct arc *given = arc_copy(spot.replica->arc);
    cr_assert_not_null(given);
    given->generation += 1000;
    given->members[0].replica++;
    given->members[0].peer.bytes[0] ^= 1;
    gossip_notice_arc(a.node, given);
    spot = find(&a, CACHE, span_str("key"));
    cr_expect_not(spot_get(a.node, &spot, &s));
    cr_expect_not(spot_put(a.node, &spot, span_str("new"), &s));
    arc_free(given);
    alone_deinit(&a);
}

/* Balance sees them as it sees events. */
Test(spot, what_is_done_is_counted)
{
    struct alone a;
    struct response s;
    begin(&a);
    struct spot spot = find(&a, CACHE, span_str("key"));
    struct replica *r = spot.replica;
    r->requests = r->changes = 0;
    cr_assert(spot_put(a.node, &spot, span_str("one"), &s));
    cr_assert(spot_put(a.node, &spot, span_str("two"), &s));
    cr_assert(spot_get(a.node, &spot, &s));
    cr_assert(spot_del(a.node, &spot, &s));
    uint64_t requests = r->requests, changes = r->changes;
    cr_expect_eq(requests, 4);
    cr_expect_eq(changes, 2);
    cr_expect_eq(r->time_ms, a.now_ns / 1000000);
    r->requests = r->changes = 0;
    ask(&a, OP_PUT, CACHE, span_str("key"), "one");
    ask(&a, OP_PUT, CACHE, span_str("key"), "two");
    ask(&a, OP_GET, CACHE, span_str("key"), "");
    ask(&a, OP_DEL, CACHE, span_str("key"), "");
    cr_expect_eq(r->requests, requests);
    cr_expect_eq(r->changes, changes);
    spot = find(&a, RECORDS, span_str("key"));
    spot.replica->requests = 0;
    spot.replica->busy_ns = 0;
    cr_assert(spot_get(a.node, &spot, &s));
    cr_expect_eq(spot.replica->requests, 1);
    cr_expect_eq(spot.replica->busy_ns, a.node->now_ns);
    alone_deinit(&a);
}

/* What asks for more than a plain get, put or del becomes an event. */
Test(spot, requests_that_do_not_suit_are_left_alone)
{
    struct alone a;
    begin(&a);
    struct request plain = { .op = OP_PUT,
                             .keyspace_name = span_str(CACHE),
                             .key = span_str("key"),
                             .value = span_str("value") };
    struct request rows[7];
    const struct request *list[7];
    struct spot spots[7];
    struct response s;
    for (size_t i = 0; i < 7; i++) {
        rows[i] = plain;
        list[i] = &rows[i];
    }
    rows[1].flags = REQUEST_NEGATIVE;
    rows[2].ttl_ms = 1000;
    rows[3].session.bytes[0] = 1;
    rows[4].op = OP_CAS;
    rows[5].op = OP_GET;
    rows[5].flags = REQUEST_STRICT;
    rows[6].op = OP_RANGE;
    spot_find(a.node, a.now_ns, list, 7, spots);
    for (size_t i = 0; i < 7; i++)
        cr_expect_eq(
            spot_answer(a.node, &spots[i], rows[i].op, rows[i].value, &s),
            i == 0, "%zu", i);
    /* A session is of writes only; keyspaces may be mixed. */
    rows[0] = plain;
    rows[0].op = OP_GET;
    rows[0].session.bytes[0] = 1;
    rows[1] = rows[0];
    rows[1].keyspace_name = span_empty();
    spot_find(a.node, a.now_ns, list, 2, spots);
    cr_assert(spot_answer(a.node, &spots[0], OP_GET, span_empty(), &s));
    cr_expect_eq(s.status, DLHT_OK);
    cr_assert(spot_answer(a.node, &spots[1], OP_GET, span_empty(), &s));
    cr_expect_eq(s.status, DLHT_ENOTFOUND);
    alone_deinit(&a);
}

/* What is brought into the processor's cache is the key's own place. */
Test(spot, the_place_is_that_of_the_key)
{
    struct alone a;
    struct span key = span_str("key");
    begin(&a);
    struct spot spot = find(&a, CACHE, key);
    cr_assert_not_null(spot.replica);
    cr_expect_eq(spot.hash, cache_key_of(spot.replica->cache, key).hash);
    alone_deinit(&a);
}

Test(spot, what_may_not_be_done_so_is_left_alone)
{
    struct alone a;
    char longest[SPOT_KEY_MAX + 1];
    struct response s;
    memset(longest, 'k', sizeof longest);
    begin(&a);
    create(&a, "v", false, "vector-dim", "4");
    const struct {
        const char *keyspace;
        struct span key;
        const char *why;
    } rows[] = { { "none", span_str("a"), "no such keyspace" },
                 { "system", span_str("a"), "not for clients" },
                 { "v", span_str("a"), "a collection of vectors" },
                 { CACHE, span_empty(), "no key" },
                 { CACHE, span_of(longest, sizeof longest), "too long" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct spot spot = find(&a, rows[i].keyspace, rows[i].key);
        cr_expect_not(spot_get(a.node, &spot, &s), "%s", rows[i].why);
        cr_expect_not(spot_put(a.node, &spot, span_str("x"), &s), "%s",
                      rows[i].why);
        cr_expect_not(spot_del(a.node, &spot, &s), "%s", rows[i].why);
    }
    /* What is kept goes through the log. */
    struct spot spot = find(&a, RECORDS, span_str("a"));
    cr_expect_not(spot_put(a.node, &spot, span_str("x"), &s));
    cr_expect_not(spot_del(a.node, &spot, &s));
    /* A value that does not fit is refused by the event. */
    uint8_t *value = mem_zero(2, 1000000);
    spot = find(&a, CACHE, span_str("a"));
    cr_expect_not(spot_put(a.node, &spot, span_of(value, 2000000), &s));
    free(value);
    /* So is one beyond the bound of the node. */
    a.node->config.memory_limit = 1;
    a.node->memory_used = 2;
    cr_expect_not(spot_put(a.node, &spot, span_str("x"), &s));
    cr_expect(spot_get(a.node, &spot, &s));
    /* A merge has frozen it. */
    spot = find(&a, RECORDS, span_str("a"));
    struct replica *r = spot.replica;
    cr_assert(spot_get(a.node, &spot, &s));
    r->merge.frozen = (struct frozen *)r;
    spot = find(&a, RECORDS, span_str("a"));
    cr_expect_not(spot_get(a.node, &spot, &s));
    r->merge.frozen = NULL;
    a.node->phase = PHASE_STOPPED;
    spot = find(&a, CACHE, span_str("a"));
    cr_expect_not(spot_get(a.node, &spot, &s));
    a.node->phase = PHASE_SERVING;
    alone_deinit(&a);
}
