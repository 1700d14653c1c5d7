/* SPDX-License-Identifier: Apache-2.0 */

/* A volatile arc goes to another peer with what it holds: what its voter sends,
 * what becomes of that if the other one refuses, says nothing or goes away. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "node/handover.h"
#include "node/handover_pair.h"
#include "node/node_state.h"
#include "node/op.h"
#include "node/volatile.h"
#include "store/cache.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum {
    KEYS = 300
};

static size_t arc_count(const struct pair *p)
{
    size_t count = 0;
    for (size_t i = 0; i < inspect_replica_count(p->a.node); i++) {
        struct inspect_replica r;
        inspect_replica_at(p->a.node, i, &r);
        count += r.cache != NULL;
    }
    return count;
}

/* The first key of the arc from that number on; returns its number. */
static int find_key(const struct pair *p, const struct arc *arc, int number,
                    char key[KEY_ROOM])
{
    for (;; number++) {
        uint8_t hash[OP_HASH_BYTES + KEY_ROOM];
        pair_name_key(p, number, key);
        op_hash_key(span_str(key), hash);
        if (arc_has(arc, span_of(hash, OP_HASH_BYTES + strlen(key))))
            return number;
    }
}

static void await(struct pair *p, const size_t *what, size_t least)
{
    for (int i = 0; i < 3000 && *what < least; i++)
        alone_run(&p->a, 10);
    cr_assert_geq(*what, least);
}

/* Items of a stream, each kind counted; the last must be the end. */
struct tally {
    size_t entries, absent, negative, ends;
    uint64_t value_bytes, ttl_ms_max, version_max, version_end;
    bool whole;
};

static struct tally tally_of(struct span stream)
{
    struct tally t = { 0 };
    size_t at = 0;
    uint64_t before = 0;
    while (at + HANDOVER_LENGTH_BYTES <= stream.len) {
        size_t len = 0;
        for (size_t i = 0; i < HANDOVER_LENGTH_BYTES; i++)
            len = len << 8 | stream.data[at + i];
        at += HANDOVER_LENGTH_BYTES;
        cr_assert_leq(len, stream.len - at);
        struct mp_reader r;
        mp_reader_init(&r, span_of(stream.data + at, len));
        uint64_t kind = mp_read_uint(&r);
        cr_assert_not(t.whole, "the end is the last");
        if (kind == HANDOVER_ENTRY) {
            mp_read_bytes(&r);
            t.value_bytes += mp_read_bytes(&r).len;
            uint64_t version = mp_read_uint(&r), ttl_ms = mp_read_uint(&r);
            mp_read_uint(&r);
            t.negative += mp_read_bool(&r);
            t.entries++;
            t.ends += ttl_ms > 0;
            if (ttl_ms > t.ttl_ms_max)
                t.ttl_ms_max = ttl_ms;
            if (version > t.version_max)
                t.version_max = version;
        } else if (kind == HANDOVER_ABSENT) {
            t.absent++;
        } else if (kind == HANDOVER_END) {
            t.version_end = mp_read_uint(&r);
            t.whole = true;
            cr_expect_eq(before, HANDOVER_CLOCK, "when it was packed");
        }
        cr_assert_not(r.bad);
        before = kind;
        at += len;
    }
    cr_assert_eq(at, stream.len);
    return t;
}

Test(handover, all_of_an_arc_is_sent_and_then_it_is_gone, .timeout = 60)
{
    static const uint8_t large[300 << 10] = { 1 };
    struct pair p;
    pair_begin(&p, 1);
    for (int i = 0; i < KEYS; i++)
        pair_put(&p, i,
                 i % 10 ? span_str("value") : span_of(large, sizeof large),
                 i % 3 ? 0 : 60000);
    struct request none = { .op = OP_PUT,
                            .key = span_str("absent"),
                            .flags = REQUEST_NEGATIVE };
    cr_assert_eq(pair_ask(&p, none)->status, DLHT_OK);
    size_t had = arc_count(&p);
    uint64_t count = 0, bytes = 0, negative = 0, ends = 0;
    pair_join(&p, TAKES, 1000);
    while (p.done < had / 2) {
        size_t before = p.done;
        await(&p, &p.done, before + 1);
        alone_run(&p.a, 10);
        struct tally t = tally_of(buf_span(&p.stream));
        cr_expect(t.whole);
        cr_expect_geq(t.version_end, t.version_max);
        cr_expect_leq(t.ttl_ms_max, 60000);
        count += t.entries;
        bytes += t.value_bytes;
        negative += t.negative;
        ends += t.ends;
        struct inspect_replica r;
        cr_expect_not(pair_find_arc(&p, p.arc, &r), "it is the other's now");
    }
    /* What is left and what went make up the whole. */
    cr_expect_eq(arc_count(&p), had - p.done);
    for (size_t i = 0; i < inspect_replica_count(p.a.node); i++) {
        struct inspect_replica r;
        inspect_replica_at(p.a.node, i, &r);
        count += r.cache_count;
    }
    cr_expect_leq(count, (uint64_t)KEYS + 1);
    cr_expect_geq(count, (uint64_t)KEYS); /* the negative one may have ended */
    cr_expect_gt(bytes, sizeof large);
    cr_expect_gt(ends, 0);
    cr_expect_leq(negative, 1);
    pair_end(&p);
}

Test(handover, nothing_is_answered_once_the_end_is_on_its_way, .timeout = 60)
{
    struct pair p;
    struct inspect_replica r;
    pair_begin(&p, 2);
    for (int i = 0; i < KEYS; i++)
        pair_put(&p, i, span_str("value"), 0);
    pair_join(&p, TAKES_BUT_THE_LAST, 1000);
    for (int i = 0; i < 3000 && !p.ended; i++)
        alone_run(&p.a, 10);
    cr_assert(p.ended);
    cr_assert(pair_find_arc(&p, p.arc, &r),
              "the other has not said that it has it");
    char key[KEY_ROOM];
    find_key(&p, r.arc, 0, key);
    struct request get = { .op = OP_GET,
                           .key = span_str(key),
                           .timeout_ms = 400 };
    cr_expect_eq(pair_ask(&p, get)->status, DLHT_EBUSY);
    struct request del = { .op = OP_DEL,
                           .key = span_str(key),
                           .timeout_ms = 400 };
    cr_expect_eq(pair_ask(&p, del)->status, DLHT_EBUSY);
    /* It never says so: the voter goes on as it was. */
    p.manner = IS_SILENT;
    get.timeout_ms = 8000;
    p.a.patience_ms = 9000;
    cr_expect_eq(pair_ask(&p, get)->status, DLHT_OK);
    pair_end(&p);
}

/* It may have taken the arc before it went away, and be back with it. */
Test(handover, who_goes_away_with_the_end_may_have_it, .timeout = 60)
{
    struct pair p;
    struct inspect_replica r;
    char key[KEY_ROOM];
    pair_begin(&p, 10);
    for (int i = 0; i < KEYS; i++)
        pair_put(&p, i, span_str("value"), 0);
    pair_join(&p, TAKES_BUT_THE_LAST, 1000);
    for (int i = 0; i < 3000 && !p.ended; i++)
        alone_run(&p.a, 10);
    cr_assert(p.ended);
    cr_assert(pair_find_arc(&p, p.arc, &r));
    find_key(&p, r.arc, 0, key);
    struct request get = { .op = OP_GET, .key = span_str(key) };
    p.up = false;
    p.manner = IS_SILENT;
    uint64_t since_ns = p.a.now_ns;
    while (p.a.now_ns - since_ns < 4500 * NS_PER_MS) {
        get.timeout_ms = 100;
        cr_assert_eq(pair_ask(&p, get)->status, DLHT_EBUSY, "after %llu ms",
                     (unsigned long long)((p.a.now_ns - since_ns) / NS_PER_MS));
        alone_run(&p.a, 300);
    }
    cr_expect_not(node_peer_is_up(p.a.node, &p.peer), "else this is no test");
    get.timeout_ms = 4000;
    p.a.patience_ms = 5000;
    cr_expect_eq(pair_ask(&p, get)->status, DLHT_OK);
    pair_end(&p);
}

/* The queue of what changed never runs dry. */
Test(handover, an_arc_goes_though_it_is_written_to_faster, .timeout = 100)
{
    static const uint8_t value[4 << 10] = { 1 };
    struct pair p;
    struct inspect_replica r;
    enum {
        MANY = 6000,
        PUTS = 200 /* each 10 ms */
    };
    pair_begin(&p, 11);
    p.digits = 150;
    for (int i = 0; i < MANY; i++)
        pair_put(&p, i, span_of(value, sizeof value), 0);
    pair_join(&p, TAKES, 1000);
    for (int i = 0; i < 3000 && !p.arc; i++)
        alone_run(&p.a, 1);
    arc_id arc = p.arc;
    size_t done = p.done, written = 0, reads = 0;
    int number = 0;
    uint64_t since_ns = p.a.now_ns;
    while (pair_find_arc(&p, arc, &r)) {
        cr_assert_lt(p.a.now_ns - since_ns, 5000 * NS_PER_MS);
        alone_run(&p.a, 10);
        for (int k = 0; k < PUTS && pair_find_arc(&p, arc, &r); k++) {
            char key[KEY_ROOM];
            number = find_key(&p, r.arc, number, key) + 1;
            struct request q = { .op = OP_PUT,
                                 .key = span_str(key),
                                 .value = span_of(value, sizeof value),
                                 .timeout_ms = 5 };
            bool wrote = pair_ask(&p, q)->status == DLHT_OK;
            written += wrote;
            q.op = OP_GET;
            reads += !wrote && pair_ask(&p, q)->status == DLHT_OK;
            number %= MANY;
        }
    }
    cr_expect_gt(p.done, done);
    cr_expect_gt(written, 0);
    cr_expect_gt(reads, 0, "before the end it is read, if not written to");
    pair_end(&p);
}

/* However much an arc holds, what is on its way of it is little. */
Test(handover, what_is_sent_is_not_kept, .timeout = 60)
{
    static const uint8_t large[300 << 10] = { 1 };
    struct pair p;
    uint64_t most = 0, before = 0;
    pair_begin(&p, 12);
    for (int i = 0; i < KEYS; i++)
        pair_put(&p, i, span_of(large, sizeof large), 0);
    alone_run(&p.a, 1000);
    before = p.a.node->memory_used;
    pair_join(&p, TAKES, 1000);
    for (int i = 0; i < 10000 && p.done < 1; i++) {
        alone_run(&p.a, 1);
        if (p.a.node->memory_used > most)
            most = p.a.node->memory_used;
    }
    cr_assert_eq(p.done, 1);
    cr_expect_gt(most, before, "it is counted");
    cr_expect_lt(most, before + (2 << 20));
    pair_end(&p);
}

/* As one that knows nothing of this does, or is lost. */
static const enum manner unwilling[] = { REFUSES, IS_SILENT };

Test(handover, who_does_not_take_it_gets_it_empty, .timeout = 60)
{
    for (size_t i = 0; i < sizeof unwilling / sizeof *unwilling; i++) {
        struct pair p;
        pair_begin(&p, 3);
        pair_put(&p, 1, span_str("value"), 0);
        size_t had = arc_count(&p);
        pair_join(&p, unwilling[i], 1000);
        await(&p, &p.orders, 1);
        for (int k = 0; k < 100 && arc_count(&p) == had; k++)
            alone_run(&p.a, 10);
        cr_expect_lt(arc_count(&p), had);
        cr_expect_eq(p.done, 0);
        pair_end(&p);
    }
}

Test(handover, who_goes_away_leaves_the_arc_as_it_was, .timeout = 60)
{
    struct pair p;
    pair_begin(&p, 4);
    for (int i = 0; i < KEYS; i++)
        pair_put(&p, i, span_str("value"), 0);
    size_t had = arc_count(&p);
    pair_join(&p, TAKES_BUT_THE_LAST, 1000);
    for (int i = 0; i < 3000 && !p.ended; i++)
        alone_run(&p.a, 10);
    cr_assert(p.ended);
    p.up = false;
    p.manner = IS_SILENT;
    alone_run(&p.a, 15000);
    cr_expect_eq(arc_count(&p), had);
    p.a.patience_ms = 5000;
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "key-%d", i);
        struct request get = { .op = OP_GET, .key = span_str(key) };
        cr_expect_eq(pair_ask(&p, get)->status, DLHT_OK, "%s", key);
    }
    pair_end(&p);
}
