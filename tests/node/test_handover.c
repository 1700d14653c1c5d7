/* SPDX-License-Identifier: Apache-2.0 */

/* A volatile arc goes to another peer with what it holds: what its voter sends,
 * what becomes of that if the other one refuses, says nothing or goes away, and
 * what a receiver takes of what it is sent. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "node/alone.h"
#include "node/handover.h"
#include "node/inspect.h"
#include "node/op.h"
#include "node/volatile.h"
#include "store/cache.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum {
    KEYS = 300,
    ARCS_MAX = 64
};
static const char NAME[] = "c";

/* How the other peer answers chunks. */
enum manner {
    TAKES,
    TAKES_BUT_THE_LAST,
    REFUSES,
    IS_SILENT
};

/* A node, and one peer beside it that is what the test says. */
struct pair {
    struct alone a; /* first: what is sent comes with it */
    struct id peer;
    bool up;
    enum manner manner;
    uint64_t pings[16];
    size_t ping_count;
    struct snapshot_ack acks[64]; /* to be sent */
    size_t ack_count;
    size_t orders; /* to take an arc empty */
    size_t largest, chunks, done;
    arc_id arc; /* that is handed over now */
    uint64_t transfer, next;
    struct buf stream;
    bool ended;
    struct snapshot_ack heard; /* of the node, as a receiver */
    size_t heard_count;
};

static void note_chunk(struct pair *p, const struct snapshot_chunk *c)
{
    struct snapshot_ack ack = {
        .arc = c->arc, .from = c->to, .to = c->from, .transfer = c->transfer
    };
    if (p->manner == IS_SILENT || p->ack_count == 64)
        return;
    if (p->manner == REFUSES) {
        ack.refused = true;
        p->acks[p->ack_count++] = ack;
        return;
    }
    if (c->sequence == 0 && c->transfer != p->transfer) {
        p->arc = c->arc;
        p->transfer = c->transfer;
        p->next = 0;
        p->ended = false;
        buf_reset(&p->stream);
    }
    if (c->transfer != p->transfer)
        return; /* one after the other */
    cr_expect_leq(c->bytes.len, (size_t)64 << 10);
    p->chunks++;
    if (c->sequence == p->next && !(c->last && p->manner != TAKES)) {
        if (c->sequence)
            buf_append_span(&p->stream, c->bytes);
        p->next++;
        ack.done = p->ended = c->last;
        p->done += c->last;
    } else if (c->last) {
        p->ended = true;
    }
    ack.sequence = p->next;
    p->acks[p->ack_count++] = ack;
}

static void hear_send(struct alone *a, const struct id *to,
                      const struct message *m)
{
    struct pair *p = (struct pair *)a;
    (void)to;
    if (m->type == MESSAGE_SWIM && m->u.swim->type == SWIM_PING && p->up &&
        p->ping_count < 16)
        p->pings[p->ping_count++] = m->u.swim->number;
    if (m->type == MESSAGE_SNAPSHOT_CHUNK)
        note_chunk(p, &m->u.chunk);
    if (m->type == MESSAGE_SNAPSHOT_ACK) {
        p->heard = m->u.ack;
        p->heard_count++;
    }
    if (m->type == MESSAGE_RECOVER && m->u.recover.kind == RECOVER_TAKE)
        p->orders++;
}

static void answer(struct alone *a)
{
    struct pair *p = (struct pair *)a;
    size_t pings = p->ping_count, acks = p->ack_count;
    p->ping_count = p->ack_count = 0;
    for (size_t i = 0; i < pings; i++) {
        struct swim_message ack = { .type = SWIM_ACK, .number = p->pings[i] };
        struct message m = { .type = MESSAGE_SWIM };
        m.u.swim = &ack;
        alone_hear_from(a, &p->peer, &m);
    }
    for (size_t i = 0; i < acks; i++) {
        struct message m = { .type = MESSAGE_SNAPSHOT_ACK };
        m.u.ack = p->acks[i];
        alone_hear_from(a, &p->peer, &m);
    }
}

static void begin(struct pair *p, uint64_t seed)
{
    struct buf doc = { 0 };
    memset(p, 0, sizeof *p);
    p->peer = (struct id){ { 7, 0x55 } };
    alone_init(&p->a, seed);
    mp_write_map(&doc, 3);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, NAME);
    mp_write_cstr(&doc, "volatile");
    mp_write_bool(&doc, true);
    mp_write_cstr(&doc, "options");
    mp_write_map(&doc, 1);
    mp_write_cstr(&doc, "max-items");
    mp_write_cstr(&doc, "100000");
    struct request q = { .op = OP_KEYSPACE_CREATE, .value = buf_span(&doc) };
    cr_assert_eq(alone_ask(&p->a, &q)->status, DLHT_OK);
    buf_deinit(&doc);
    alone_run(&p->a, 200);
}

static void end(struct pair *p)
{
    p->a.sends = NULL;
    p->a.idle = NULL;
    alone_deinit(&p->a);
    buf_deinit(&p->stream);
}

/* From now on the node knows the peer, and gives it its share. */
static void join(struct pair *p, enum manner manner, uint32_t weight_milli)
{
    struct message m = { .type = MESSAGE_JOIN };
    m.u.join.self = (struct peer){ .id = p->peer,
                                   .addr = "10.0.0.7:9000",
                                   .incarnation = 2,
                                   .weight_milli = weight_milli,
                                   .state = PEER_ALIVE };
    p->up = true;
    p->manner = manner;
    p->a.sends = hear_send;
    p->a.idle = answer;
    alone_hear_from(&p->a, &p->peer, &m);
}

static const struct response *ask(struct pair *p, struct request q)
{
    q.keyspace_name = span_str(NAME);
    return alone_ask(&p->a, &q);
}

static void put(struct pair *p, int number, struct span value, uint64_t ttl_ms)
{
    char key[16];
    snprintf(key, sizeof key, "key-%d", number);
    struct request q = {
        .op = OP_PUT, .key = span_str(key), .value = value, .ttl_ms = ttl_ms
    };
    cr_assert_eq(ask(p, q)->status, DLHT_OK);
}

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

static bool find_arc(const struct pair *p, arc_id id,
                     struct inspect_replica *out)
{
    for (size_t i = 0; i < inspect_replica_count(p->a.node); i++) {
        inspect_replica_at(p->a.node, i, out);
        if (out->id == id)
            return true;
    }
    return false;
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
        }
        cr_assert_not(r.bad);
        at += len;
    }
    cr_assert_eq(at, stream.len);
    return t;
}

Test(handover, all_of_an_arc_is_sent_and_then_it_is_gone, .timeout = 60)
{
    static const uint8_t large[300 << 10] = { 1 };
    struct pair p;
    begin(&p, 1);
    for (int i = 0; i < KEYS; i++)
        put(&p, i, i % 10 ? span_str("value") : span_of(large, sizeof large),
            i % 3 ? 0 : 60000);
    struct request none = { .op = OP_PUT,
                            .key = span_str("absent"),
                            .flags = REQUEST_NEGATIVE };
    cr_assert_eq(ask(&p, none)->status, DLHT_OK);
    size_t had = arc_count(&p);
    uint64_t count = 0, bytes = 0, negative = 0, ends = 0;
    join(&p, TAKES, 1000);
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
        cr_expect_not(find_arc(&p, p.arc, &r), "it is the other's now");
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
    end(&p);
}

Test(handover, nothing_is_answered_once_the_end_is_on_its_way, .timeout = 60)
{
    struct pair p;
    struct inspect_replica r;
    begin(&p, 2);
    for (int i = 0; i < KEYS; i++)
        put(&p, i, span_str("value"), 0);
    join(&p, TAKES_BUT_THE_LAST, 1000);
    for (int i = 0; i < 3000 && !p.ended; i++)
        alone_run(&p.a, 10);
    cr_assert(p.ended);
    cr_assert(find_arc(&p, p.arc, &r), "the other has not said that it has it");
    int number = 0;
    char key[16];
    uint8_t hash[OP_HASH_BYTES + sizeof key];
    struct span hashed;
    do { /* a key of that arc */
        snprintf(key, sizeof key, "key-%d", number++);
        op_hash_key(span_str(key), hash);
        hashed = span_of(hash, OP_HASH_BYTES + strlen(key));
    } while (!arc_has(r.arc, hashed));
    struct request get = { .op = OP_GET,
                           .key = span_str(key),
                           .timeout_ms = 400 };
    cr_expect_eq(ask(&p, get)->status, DLHT_EBUSY);
    struct request del = { .op = OP_DEL,
                           .key = span_str(key),
                           .timeout_ms = 400 };
    cr_expect_eq(ask(&p, del)->status, DLHT_EBUSY);
    /* It never says so: the voter goes on as it was. */
    p.manner = IS_SILENT;
    get.timeout_ms = 8000;
    p.a.patience_ms = 9000;
    cr_expect_eq(ask(&p, get)->status, DLHT_OK);
    end(&p);
}

/* As one that knows nothing of this does, or is lost. */
static const enum manner unwilling[] = { REFUSES, IS_SILENT };

Test(handover, who_does_not_take_it_gets_it_empty, .timeout = 60)
{
    for (size_t i = 0; i < sizeof unwilling / sizeof *unwilling; i++) {
        struct pair p;
        begin(&p, 3);
        put(&p, 1, span_str("value"), 0);
        size_t had = arc_count(&p);
        join(&p, unwilling[i], 1000);
        await(&p, &p.orders, 1);
        for (int k = 0; k < 100 && arc_count(&p) == had; k++)
            alone_run(&p.a, 10);
        cr_expect_lt(arc_count(&p), had);
        cr_expect_eq(p.done, 0);
        end(&p);
    }
}

Test(handover, who_goes_away_leaves_the_arc_as_it_was, .timeout = 60)
{
    struct pair p;
    begin(&p, 4);
    for (int i = 0; i < KEYS; i++)
        put(&p, i, span_str("value"), 0);
    size_t had = arc_count(&p);
    join(&p, TAKES_BUT_THE_LAST, 1000);
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
        cr_expect_eq(ask(&p, get)->status, DLHT_OK, "%s", key);
    }
    end(&p);
}

/* The receiver. */

/* What the other peer would hand over: the node's first arc, as if it had had
 * it since two generations later. */
struct offer {
    struct pair p;
    struct arc arc;
    char lo[16], hi[16];
    uint64_t before;
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
    begin(&o->p, seed);
    join(&o->p, IS_SILENT, 0);
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
    end(&o->p);
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
    return ask(&o->p, (struct request){ .op = OP_GET, .key = span_str(key) });
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
    s = ask(&o.p, cas);
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
        cr_assert(find_arc(&o.p, o.arc.id, &r));
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
