/* SPDX-License-Identifier: Apache-2.0 */

/* What a receiver takes of a volatile arc that is handed over, and what not. */

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

/* What the other peer would hand over: the node's first arc, as if it had had
 * it since two generations later. */
struct offer {
    struct pair p;
    struct arc arc;
    char lo[16], hi[16];
    uint64_t before;
    uint64_t seed; /* 0: not told, as by versions that did not */
    uint64_t sequence;
    struct buf bytes;
    char key[16];   /* one of the arc */
    char other[16]; /* one of another */
};

static void keep(struct span *span, char *room)
{
    memcpy(room, span->data, span->len);
    span->data = (const uint8_t *)room;
}

static void offer_begin(struct offer *o, uint64_t seed)
{
    memset(o, 0, sizeof *o);
    pair_begin(&o->p, seed);
    pair_join(&o->p, IS_SILENT, 0);
    struct inspect_replica r;
    for (size_t i = 0; i < inspect_replica_count(o->p.a.node); i++) {
        inspect_replica_at(o->p.a.node, i, &r);
        if (r.cache)
            break;
    }
    cr_assert(r.cache);
    o->arc = *r.arc;
    if (o->arc.lo.len)
        keep(&o->arc.lo, o->lo);
    if (o->arc.has_hi)
        keep(&o->arc.hi, o->hi);
    o->before = o->arc.generation + 1;
    o->arc.generation += 2;
    o->arc.members[0].replica ^= 6;
    for (int i = 0; !o->key[0] || !o->other[0]; i++) {
        char key[16];
        uint8_t hash[OP_HASH_BYTES + sizeof key];
        snprintf(key, sizeof key, "key-%d", i);
        op_hash_key(span_str(key), hash);
        bool is = arc_has(&o->arc, span_of(hash, OP_HASH_BYTES + strlen(key)));
        strcpy(is ? o->key : o->other, key);
    }
}

static void offer_end(struct offer *o)
{
    buf_deinit(&o->bytes);
    pair_end(&o->p);
}

/* Sends what is in bytes; what the node says is in p.heard. */
static void send(struct offer *o, bool last)
{
    struct message m = { .type = MESSAGE_SNAPSHOT_CHUNK };
    m.u.chunk = (struct snapshot_chunk){ .arc = o->arc.id,
                                         .from = 99,
                                         .to = o->arc.members[0].replica,
                                         .term = o->arc.generation,
                                         .transfer = 5,
                                         .sequence = o->sequence++,
                                         .last = last,
                                         .bytes = buf_span(&o->bytes) };
    o->p.heard = (struct snapshot_ack){ 0 };
    alone_hear_from(&o->p.a, &o->p.peer, &m);
    buf_reset(&o->bytes);
}

static void send_header(struct offer *o)
{
    mp_write_uint(&o->bytes, HANDOVER_VERSION);
    codec_pack_arc(&o->bytes, &o->arc);
    mp_write_uint(&o->bytes, o->before);
    if (o->seed)
        mp_write_uint(&o->bytes, o->seed);
    send(o, false);
}

static void item(struct offer *o, const struct buf *packed)
{
    uint8_t head[HANDOVER_LENGTH_BYTES] = { 0, 0, (uint8_t)(packed->len >> 8),
                                            (uint8_t)packed->len };
    buf_append(&o->bytes, head, sizeof head);
    buf_append_span(&o->bytes, buf_span(packed));
}

static void entry(struct offer *o, const char *key, const char *value,
                  uint64_t version, uint64_t ttl_ms, bool negative)
{
    struct buf b = { 0 };
    mp_write_uint(&b, HANDOVER_ENTRY);
    mp_write_bin(&b, span_str(key));
    mp_write_bin(&b, span_str(value));
    mp_write_uint(&b, version);
    mp_write_uint(&b, ttl_ms);
    mp_write_uint(&b, 0);
    mp_write_bool(&b, negative);
    mp_write_cstr(&b, "of a later version");
    item(o, &b);
    buf_deinit(&b);
}

static void numbers(struct offer *o, enum handover_item kind, uint64_t first,
                    uint64_t second)
{
    struct buf b = { 0 };
    mp_write_uint(&b, kind);
    mp_write_uint(&b, first);
    mp_write_uint(&b, second);
    item(o, &b);
    buf_deinit(&b);
}

static const struct response *get(struct offer *o, const char *key)
{
    return pair_ask(&o->p,
                    (struct request){ .op = OP_GET, .key = span_str(key) });
}

Test(handover, what_was_taken_is_served_as_it_was, .timeout = 60)
{
    struct offer o;
    offer_begin(&o, 5);
    uint64_t version = volatile_version_base(o.before) + 7;
    send_header(&o);
    cr_assert_eq(o.p.heard.sequence, 1);
    /* It is at work for 100 ms, and the chunk under way for 300. */
    alone_run(&o.p.a, 400);
    numbers(&o, HANDOVER_CLOCK, 1, 100);
    entry(&o, o.key, "old", version - 2, 0, false);
    entry(&o, o.key, "value", version, 10000, false);
    struct buf whole = { 0 };
    buf_append_span(&whole, buf_span(&o.bytes));
    size_t half = whole.len - 9;
    o.bytes.len = half; /* cut anywhere */
    send(&o, false);
    cr_assert_eq(o.p.heard.sequence, 2);
    buf_append(&o.bytes, whole.data + half, whole.len - half);
    numbers(&o, HANDOVER_END, version + 3, 0);
    send(&o, true);
    buf_deinit(&whole);
    cr_assert(o.p.heard.done);
    alone_run(&o.p.a, 50);
    const struct response *s = get(&o, o.key);
    cr_assert_eq(s->status, DLHT_OK);
    cr_expect(span_equal(s->value, span_str("value")));
    cr_expect_eq(s->version, version);
    cr_expect_leq(s->ttl_ms, 9700, "what the way took is taken off");
    cr_expect_geq(s->ttl_ms, 9500);
    /* A version of before matches; those that follow are greater. */
    struct request cas = { .op = OP_CAS,
                           .key = span_str(o.key),
                           .value = span_str("next"),
                           .version = version };
    s = pair_ask(&o.p, cas);
    cr_expect_eq(s->status, DLHT_OK);
    cr_expect_gt(s->version, version + 3);
    /* Sent again, as its answer may be lost, it changes nothing. */
    o.sequence--;
    numbers(&o, HANDOVER_END, version + 3, 0);
    send(&o, true);
    cr_expect(o.p.heard.done);
    cr_expect(span_equal(get(&o, o.key)->value, span_str("next")));
    offer_end(&o);
}

Test(handover, what_was_removed_stays_removed, .timeout = 60)
{
    struct offer o;
    offer_begin(&o, 6);
    send_header(&o);
    entry(&o, o.key, "value", 9, 0, false);
    struct buf b = { 0 };
    mp_write_uint(&b, HANDOVER_ABSENT);
    mp_write_bin(&b, span_str(o.key));
    item(&o, &b);
    buf_deinit(&b);
    numbers(&o, HANDOVER_END, 10, 0);
    send(&o, true);
    cr_assert(o.p.heard.done);
    alone_run(&o.p.a, 50);
    cr_expect_eq(get(&o, o.key)->status, DLHT_ENOTFOUND);
    offer_end(&o);

    offer_begin(&o, 7);
    send_header(&o);
    entry(&o, o.key, "value", 9, 0, false);
    numbers(&o, HANDOVER_FLUSH, 0, 0);
    numbers(&o, HANDOVER_END, 10, 0);
    send(&o, true);
    cr_assert(o.p.heard.done);
    alone_run(&o.p.a, 50);
    cr_expect_eq(get(&o, o.key)->status, DLHT_ENOTFOUND);
    offer_end(&o);
}

/* Each is refused, and the arc stays what it was. */
enum flaw {
    OTHER_KEY,
    NO_VERSION,
    NEGATIVE_WITH_VALUE,
    CLOCK_OF_THE_FUTURE,
    CLOCK_OF_NOTHING,
    UNKNOWN_ITEM,
    LONG_ITEM,
    EMPTY_ITEM,
    NO_END,
    MORE_BEHIND_THE_END,
    END_IN_THE_MIDDLE,
    VERSION_TOO_GREAT,
    VERSION_OF_BEFORE,
    LONG_CHUNK,
    OTHER_GENERATION,
    OTHER_LIFE,
    OTHER_BOUNDS,
    OLD_HEADER,
    NO_HEADER,
    FLAWS
};

static void spoil(struct offer *o, enum flaw flaw)
{
    struct buf b = { 0 };
    const uint8_t length[HANDOVER_LENGTH_BYTES] = { 0x7f, 0xff, 0xff, 0xff };
    switch ((int)flaw) {
    case OTHER_KEY:
        entry(o, o->other, "v", 9, 0, false);
        break;
    case NO_VERSION:
        entry(o, o->key, "v", 0, 0, false);
        break;
    case NEGATIVE_WITH_VALUE:
        entry(o, o->key, "v", 9, 0, true);
        break;
    case CLOCK_OF_THE_FUTURE:
        numbers(o, HANDOVER_CLOCK, 4, 0);
        break;
    case CLOCK_OF_NOTHING:
        numbers(o, HANDOVER_CLOCK, 0, 0);
        break;
    case UNKNOWN_ITEM:
        numbers(o, 77, 0, 0);
        break;
    case LONG_ITEM:
        buf_append(&o->bytes, length, sizeof length);
        break;
    case EMPTY_ITEM:
        item(o, &b);
        break;
    case MORE_BEHIND_THE_END:
        numbers(o, HANDOVER_END, 10, 0);
        break;
    case VERSION_TOO_GREAT:
        numbers(o, HANDOVER_END, UINT64_MAX, 0);
        break;
    case VERSION_OF_BEFORE: /* nothing could be put after it */
        entry(o, o->key, "v", CACHE_VERSION_MAX, 0, false);
        break;
    case END_IN_THE_MIDDLE:
        numbers(o, HANDOVER_END, 10, 0);
        send(o, false);
        break;
    case LONG_CHUNK:
        for (int i = 0; i < 4000; i++)
            entry(o, o->key, "v", 9, 0, false);
        break;
    default:
        break;
    }
    if (flaw != NO_END && flaw != VERSION_TOO_GREAT)
        numbers(o, HANDOVER_END, 10, 0);
}

static void spoil_header(struct offer *o, enum flaw flaw)
{
    if (flaw == OTHER_GENERATION)
        o->before = o->arc.generation;
    if (flaw == OTHER_LIFE)
        o->arc.members[0].replica += UINT64_C(1) << 40;
    if (flaw == OTHER_BOUNDS) {
        o->arc.has_hi = true;
        o->arc.hi = span_str("\xff\xff");
    }
    if (flaw == OLD_HEADER)
        mp_write_uint(&o->bytes, 2);
    if (flaw == OLD_HEADER || flaw == NO_HEADER)
        send(o, false);
    else
        send_header(o);
}

Test(handover, what_makes_no_sense_is_refused, .timeout = 60)
{
    for (enum flaw flaw = 0; flaw < FLAWS; flaw++) {
        struct offer o;
        struct inspect_replica r;
        offer_begin(&o, 8);
        uint64_t generation = o.arc.generation - 2;
        spoil_header(&o, flaw);
        spoil(&o, flaw);
        send(&o, true);
        cr_expect(o.p.heard.refused, "flaw %d", flaw);
        cr_expect_not(o.p.heard.done, "flaw %d", flaw);
        alone_run(&o.p.a, 50);
        cr_assert(pair_find_arc(&o.p, o.arc.id, &r));
        cr_expect_eq(r.arc->generation, generation, "flaw %d", flaw);
        offer_end(&o);
    }
}

Test(handover, what_comes_no_further_is_forgotten, .timeout = 60)
{
    struct offer o;
    offer_begin(&o, 9);
    send_header(&o);
    entry(&o, o.key, "value", 9, 0, false);
    send(&o, false);
    cr_assert_eq(o.p.heard.sequence, 2);
    alone_run(&o.p.a, 20000);
    numbers(&o, HANDOVER_END, 10, 0);
    send(&o, true);
    cr_expect(o.p.heard.refused);
    offer_end(&o);
}

/* So a scan of its keys goes on where it was. */
Test(handover, the_order_of_keys_is_that_of_before, .timeout = 60)
{
    for (uint64_t seed = 0; seed <= 77; seed += 77) {
        struct offer o;
        offer_begin(&o, 14);
        o.seed = seed;
        send_header(&o);
        entry(&o, o.key, "value", 9, 0, false);
        numbers(&o, HANDOVER_END, 10, 0);
        send(&o, true);
        cr_assert(o.p.heard.done);
        const struct replica *r = node_replica(o.p.a.node, o.arc.id);
        cr_assert(r && r->cache);
        cr_expect_eq(cache_seed(r->cache) == 77, seed == 77);
        offer_end(&o);
    }
}

/* Its voter may have waited in vain, and gone on: what was acknowledged then
 * must not be undone. */
Test(handover, an_end_that_comes_late_is_refused, .timeout = 60)
{
    static const uint32_t passed_ms[] = { 3500, 4500, 9000 };
    for (size_t i = 0; i < sizeof passed_ms / sizeof *passed_ms; i++) {
        struct offer o;
        struct inspect_replica r;
        offer_begin(&o, 13);
        send_header(&o);
        entry(&o, o.key, "value", 9, 0, false);
        send(&o, false);
        cr_assert_eq(o.p.heard.sequence, 2);
        alone_run(&o.p.a, passed_ms[i]);
        numbers(&o, HANDOVER_CLOCK, 2, 0);
        numbers(&o, HANDOVER_END, 10, 0);
        send(&o, true);
        cr_expect_eq(o.p.heard.done, passed_ms[i] < HANDOVER_LATE_MS);
        cr_expect_eq(o.p.heard.refused, passed_ms[i] > HANDOVER_LATE_MS);
        alone_run(&o.p.a, 50);
        cr_assert(pair_find_arc(&o.p, o.arc.id, &r));
        cr_expect_eq(r.arc->generation == o.arc.generation,
                     passed_ms[i] < HANDOVER_LATE_MS);
        offer_end(&o);
    }
}
