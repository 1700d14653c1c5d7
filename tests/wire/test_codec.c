/* SPDX-License-Identifier: Apache-2.0 */

/* Frames: round trips, and everything a stranger could send instead. */

#include "wire/codec.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "wire/mp.h"
#include "wire/sample.h"

static struct sample_pool pool;

/* The bytes alone on the heap, so that a read past them is seen by ASan. */
static int unpack_alone(const uint8_t *data, size_t len,
                        struct codec_arena *arena, struct message *out)
{
    uint8_t *copy = malloc(len ? len : 1);
    memcpy(copy, data, len);
    int rc = codec_unpack(span_of(copy, len), arena, out);
    free(copy);
    return rc;
}

/* Rewrites length and checksum after the body was changed. */
static void seal(struct buf *frame)
{
    size_t body = frame->len - FRAME_HEADER_BYTES;
    uint8_t *p = frame->data;
    for (int i = 0; i < 4; i++)
        p[4 + i] = (uint8_t)(body >> (24 - 8 * i));
    uint64_t seed = hash64(span_of(p, 12));
    uint32_t sum = (uint32_t)hash64_seeded(span_of(p + 16, body), seed);
    for (int i = 0; i < 4; i++)
        p[12 + i] = (uint8_t)(sum >> (24 - 8 * i));
}

static int unpack_sealed(struct buf *frame)
{
    struct codec_arena arena = { 0 };
    struct message m;
    seal(frame);
    int rc = unpack_alone(frame->data, frame->len, &arena, &m);
    codec_arena_deinit(&arena);
    return rc;
}

Test(codec, carries_every_type_without_loss)
{
    const uint64_t seed = 20261121;
    struct rng rng;
    struct codec_arena arena = { 0 };
    struct buf b = { 0 };
    rng_init(&rng, seed);
    for (int i = 0; i < 14 * 400; i++) {
        struct message sent, got;
        pool.used = 0;
        sample_message(&rng, &pool, (uint8_t)(1 + i % 14), &sent);
        buf_reset(&b);
        cr_assert_eq(codec_pack(&sent, &b), DLHT_OK);
        size_t len;
        cr_assert_eq(codec_frame(buf_span(&b), &len), 1);
        cr_assert_eq(len, b.len);
        int rc = codec_unpack(buf_span(&b), &arena, &got);
        cr_assert_eq(rc, DLHT_OK, "seed %lu round %d type %d: %d", seed, i,
                     sent.type, rc);
        const char *what = sample_difference(&sent, &got);
        cr_assert_null(what, "seed %lu round %d type %d: %s", seed, i,
                       sent.type, what);
    }
    buf_deinit(&b);
    codec_arena_deinit(&arena);
}

Test(codec, refuses_a_frame_cut_at_any_byte)
{
    struct rng rng;
    struct codec_arena arena = { 0 };
    struct buf b = { 0 };
    rng_init(&rng, 3);
    for (int i = 0; i < 14 * 4; i++) {
        struct message m;
        pool.used = 0;
        sample_message(&rng, &pool, (uint8_t)(1 + i % 14), &m);
        buf_reset(&b);
        cr_assert_eq(codec_pack(&m, &b), DLHT_OK);
        struct buf cut = { 0 };
        for (size_t len = 0; len < b.len; len++) {
            size_t need;
            cr_assert_eq(codec_frame(span_of(b.data, len), &need), 0);
            cr_assert(need == 0 || need == b.len);
            cr_assert_neq(unpack_alone(b.data, len, &arena, &m), DLHT_OK);
            /* And with a header that fits the cut body. */
            if (len <= FRAME_HEADER_BYTES)
                continue;
            buf_reset(&cut);
            buf_append(&cut, b.data, len);
            cr_assert_eq(unpack_sealed(&cut), DLHT_EPROTO,
                         "type %d cut at %zu of %zu", 1 + i % 14, len, b.len);
        }
        buf_deinit(&cut);
    }
    buf_deinit(&b);
    codec_arena_deinit(&arena);
}

Test(codec, refuses_every_flipped_bit)
{
    struct rng rng;
    struct codec_arena arena = { 0 };
    struct buf b = { 0 };
    rng_init(&rng, 4);
    for (int type = 1; type <= 14; type++) {
        struct message m;
        pool.used = 0;
        sample_message(&rng, &pool, (uint8_t)type, &m);
        buf_reset(&b);
        cr_assert_eq(codec_pack(&m, &b), DLHT_OK);
        for (size_t bit = 0; bit < 8 * b.len; bit++) {
            b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            cr_assert_neq(unpack_alone(b.data, b.len, &arena, &m), DLHT_OK,
                          "type %d bit %zu", type, bit);
            b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    buf_deinit(&b);
    codec_arena_deinit(&arena);
}

/* Behind a checksum that is right: the parsers themselves. */
Test(codec, survives_changed_and_random_bodies)
{
    struct rng rng;
    struct codec_arena arena = { 0 };
    struct buf b = { 0 }, sample = { 0 };
    size_t accepted = 0, arena_most = 0;
    rng_init(&rng, 5);
    for (int i = 0; i < 100000; i++) {
        struct message m;
        if (i % 8 == 0) {
            pool.used = 0;
            buf_reset(&sample);
            sample_message(&rng, &pool, (uint8_t)(1 + i / 8 % 14), &m);
            cr_assert_eq(codec_pack(&m, &sample), DLHT_OK);
        }
        buf_reset(&b);
        buf_append_span(&b, buf_span(&sample));
        if (rng_chance(&rng, 0.3)) { /* nothing but chance */
            b.len = FRAME_HEADER_BYTES;
            for (uint64_t k = rng_below(&rng, 64); k > 0; k--)
                buf_append_byte(&b, (uint8_t)rng_next(&rng));
        }
        size_t body = b.len - FRAME_HEADER_BYTES;
        for (uint64_t k = rng_below(&rng, 4); k > 0 && body > 0; k--)
            b.data[FRAME_HEADER_BYTES + rng_below(&rng, body)] =
                (uint8_t)rng_next(&rng);
        seal(&b);
        int rc = unpack_alone(b.data, b.len, &arena, &m);
        cr_assert(rc == DLHT_OK || rc == DLHT_EPROTO, "round %d: %d", i, rc);
        accepted += rc == DLHT_OK;
        if (arena.total > arena_most)
            arena_most = arena.total;
    }
    /* Some are still messages, or the test would not reach far. */
    cr_expect_gt(accepted, 10000);
    cr_expect_lt(arena_most, 1 << 20);
    buf_deinit(&sample);
    buf_deinit(&b);
    codec_arena_deinit(&arena);
}

Test(codec, skips_fields_of_a_later_version)
{
    struct rng rng;
    struct codec_arena arena = { 0 };
    rng_init(&rng, 6);
    for (int i = 0; i < 14 * 50; i++) {
        struct message sent, got;
        struct buf b = { 0 };
        uint8_t type = (uint8_t)(1 + i % 14);
        if (type == MESSAGE_RAFT || type == MESSAGE_REPORT)
            continue; /* plain lists: their elements grow, see below */
        pool.used = 0;
        sample_message(&rng, &pool, type, &sent);
        cr_assert_eq(codec_pack(&sent, &b), DLHT_OK);
        /* Fill up with what the known fields would be, then add one. */
        struct buf grown = { 0 };
        struct mp_reader r;
        mp_reader_init(&r, span_tail(buf_span(&b), FRAME_HEADER_BYTES));
        size_t count = mp_read_array(&r);
        static const uint8_t fields[] = { 0, 7, 14, 10, 0, 8, 6, 4,
                                          2, 3, 1,  3,  0, 5, 3 };
        if (count == fields[type]) {
            buf_append(&grown, b.data, FRAME_HEADER_BYTES);
            mp_write_array(&grown, count + 2);
            buf_append(&grown, r.at, (size_t)(r.end - r.at));
            mp_write_cstr(&grown, "later");
            mp_write_array(&grown, 1);
            mp_write_float(&grown, 0.5);
            seal(&grown);
            cr_assert_eq(codec_unpack(buf_span(&grown), &arena, &got), DLHT_OK,
                         "type %d", type);
            cr_assert_null(sample_difference(&sent, &got), "type %d", type);
        }
        buf_deinit(&grown);
        buf_deinit(&b);
    }
    codec_arena_deinit(&arena);
}

/* Bodies as hexadecimal, each wrong in one way. */
static const struct {
    uint8_t type;
    const char *body;
    const char *why;
} hostile[] = {
    { MESSAGE_REQUEST, "", "no body" },
    { MESSAGE_REQUEST, "90", "no op" },
    { MESSAGE_REQUEST, "9100", "op 0" },
    { MESSAGE_REQUEST, "9113", "op 19" },
    { MESSAGE_REQUEST, "9102", "put without a key" },
    { MESSAGE_REQUEST, "9103", "get without a key" },
    { MESSAGE_REQUEST, "9104", "del without a key" },
    { MESSAGE_REQUEST, "9105", "cas without a key" },
    { MESSAGE_REQUEST, "94030000c400", "get of the empty key" },
    { MESSAGE_REQUEST, "9403cd010000c40161", "a flag that is none" },
    { MESSAGE_REQUEST, "94030000c50001", "key longer than the frame" },
    { MESSAGE_REQUEST, "94030000c6ffffffff61", "key of 4 GiB" },
    { MESSAGE_REQUEST, "94030000c4016100", "bytes after the body" },
    { MESSAGE_REQUEST, "94034000c40161", "TO_ARC without an arc" },
    { MESSAGE_REQUEST, "9a030000c40161c4000000c000cdea61",
      "timeout above a minute" },
    { MESSAGE_REQUEST, "9e060000c400c4000000c000009000c400ddffffffff",
      "4 billion keys" },
    { MESSAGE_REQUEST, "9e060000c400c4000000c000009000c40091c400",
      "an empty key in a list" },
    { MESSAGE_REQUEST, "9e070000c400c4000000c000009000c40091c40161",
      "a key without its value" },
    { MESSAGE_REQUEST, "9e030000c40161c4000000c000009000c40091c40161",
      "a list where none belongs" },
    { MESSAGE_REQUEST, "950f0000c400c40181", "document cut short" },
    { MESSAGE_REQUEST, "950f0000c400c40101", "document is no map" },
    { MESSAGE_REQUEST, "950f0000c400c4028000", "bytes after the document" },
    { MESSAGE_REQUEST, "9d080000c40161c4000000c000009000c4016d",
      "an end without its flag" },
    { MESSAGE_RESPONSE, "9101", "a positive status" },
    { MESSAGE_RESPONSE, "91d1efff", "a status below all" },
    { MESSAGE_RESPONSE, "950000c4000092c40161c40162", "not triples" },
    { MESSAGE_HELLO, "920100", "kind 0" },
    { MESSAGE_HELLO, "920103", "kind 3" },
    { MESSAGE_HELLO, "930101c40100", "id of one byte" },
    { MESSAGE_HELLO, "960101c0c000c403610062", "address with a NUL" },
    { MESSAGE_RAFT, "ddffffffff", "4 billion envelopes" },
    { MESSAGE_RAFT, "919400010203", "arc 0" },
    { MESSAGE_RAFT, "919401000203", "type 0" },
    { MESSAGE_RAFT, "9194010a0203", "type 10" },
    { MESSAGE_RAFT, "919401010003", "from 0" },
    { MESSAGE_RAFT, "91980101020301000008", "a bit that is none" },
    { MESSAGE_RAFT, "919c010502030100000000000091920202",
      "entry of a term above the leader's" },
    { MESSAGE_RAFT, "919c010502030500000000030091920202",
      "entry of a term below the one before" },
    { MESSAGE_RAFT, "919c010502030500000000000092920502920402",
      "terms that fall" },
    { MESSAGE_RAFT, "919c010502030500000000000091920500", "entry type 0" },
    { MESSAGE_RAFT, "919c010502030500000000000091920504", "entry type 4" },
    { MESSAGE_RAFT, "919c010502030500000000000091920503",
      "MEMBERS without members" },
    { MESSAGE_RAFT, "919c01050203050000000000009194050 3c4009291079107",
      "a member twice" },
    { MESSAGE_RAFT, "919c010602030500000000000091920501",
      "entries in a reply" },
    { MESSAGE_RAFT,
      "919c0105020305000000cfffffffffffffffff0000"
      "91920501",
      "an index past the last" },
    { MESSAGE_SWIM, "9100", "type 0" },
    { MESSAGE_SWIM, "9105", "type 5" },
    { MESSAGE_SWIM, "9103", "ping request without a target" },
    { MESSAGE_SWIM, "940101c0dc0019", "25 updates" },
    { MESSAGE_GOSSIP, "91dd00000101", "257 arcs" },
    { MESSAGE_GOSSIP, "91dc0100", "256 arcs in no bytes" },
    { MESSAGE_GOSSIP,
      "91919600"
      "01c40162c401610091"
      "9201c41000112233445566778899aabbccddeeff",
      "lo above hi" },
    { MESSAGE_GOSSIP, "9191960001c400c00090", "an arc without members" },
    { MESSAGE_GOSSIP,
      "9191960000c400c00091"
      "9201c41000112233445566778899aabbccddeeff",
      "arc 0" },
    { MESSAGE_GOSSIP,
      "9191960001c400c00092"
      "9201c41000112233445566778899aabbccddeeff"
      "9201c41000112233445566778899aabbccddeeff",
      "a replica twice" },
    { MESSAGE_GOSSIP,
      "92909195"
      "01c400010103",
      "a keyspace without a name" },
    { MESSAGE_GOSSIP,
      "92909195"
      "01c40161010103"
      "00",
      "bytes after" },
    { MESSAGE_GOSSIP,
      "92909195"
      "01c40161010303",
      "placement 3" },
    { MESSAGE_GOSSIP,
      "92909195"
      "01c40161010102",
      "2 replicas" },
    { MESSAGE_GOSSIP,
      "92909195"
      "01c40120010103",
      "name with a space" },
    { MESSAGE_GOSSIP,
      "91919600"
      "01c41e616161616161616161616161616161616161616161616161616161616161"
      "c00090",
      "an arc without members" },
    { MESSAGE_GOSSIP,
      "91919500"
      "01c41e616161616161616161616161616161616161616161616161616161616161"
      "c001",
      "an arc that stops before them" },
    { MESSAGE_GOSSIP,
      "91919600"
      "01c41e616161616161616161616161616161616161616161616161616161616161"
      "c000919200c41000112233445566778899aabbccddeeff",
      "a member without a replica" },
    { MESSAGE_GOSSIP,
      "91919600"
      "01c41e616161616161616161616161616161616161616161616161616161616161"
      "c000919301c0c3",
      "a member without a peer" },
    { MESSAGE_RAFT, "919c010502030500000000000091940503c400919200c3",
      "member 0" },
    { MESSAGE_GOSSIP,
      "9290919501"
      "c4017f000103",
      "name with a DEL" },
    { MESSAGE_JOIN,
      "9197c41000112233445566778899aabbccddeeff"
      "c400c4017f00000001",
      "zone with a DEL" },
    { MESSAGE_JOIN,
      "9197c41000112233445566778899aabbccddeeff"
      "c400c4010a00000001",
      "zone with a line end" },
    { MESSAGE_JOIN, "90", "nobody" },
    { MESSAGE_JOIN, "9190", "a peer without an id" },
    { MESSAGE_JOIN,
      "9197c41000112233445566778899aabbccddeeffc400c400000000"
      "00",
      "peer state 0" },
    { MESSAGE_JOIN,
      "9197c41000112233445566778899aabbccddeeffc400c400000000"
      "05",
      "peer state 5" },
    { MESSAGE_JOIN,
      "9197c41000112233445566778899aabbccddeeffc4010ac400000000"
      "01",
      "address with a line end" },
    { MESSAGE_STEP,
      "95000101"
      "01c41000112233445566778899aabbccddeeff",
      "kind 0" },
    { MESSAGE_GONE, "920001", "arc 0" },
    { MESSAGE_RING, "9401000905", "no arc that speaks" },
    { MESSAGE_STEP, "9401010101", "no peer" },
    { MESSAGE_STEP, "9406010001", "arc 0" },
    { MESSAGE_GONE, "920100", "replica 0" },
    { MESSAGE_RAFT, "919401010200", "to 0" },
    { MESSAGE_SNAPSHOT_CHUNK, "93000102", "arc 0" },
    { MESSAGE_SNAPSHOT_CHUNK, "93010002", "from 0" },
    { MESSAGE_SNAPSHOT_CHUNK, "93010200", "to 0" },
    { MESSAGE_SNAPSHOT_ACK, "93000102", "arc 0" },
    { MESSAGE_SNAPSHOT_ACK, "93010002", "from 0" },
    { MESSAGE_SNAPSHOT_ACK, "93010200", "to 0" },
    { MESSAGE_SNAPSHOT_ACK, "96010203000004", "a bit that is none" },
    { 0, "90", "type 0" },
    { 15, "90", "type 15" },
    { 15, "", "type 15, no body" }
};

static void append_hex(struct buf *b, const char *hex)
{
    for (; *hex; hex++) {
        if (*hex == ' ')
            continue;
        char two[3] = { hex[0], hex[1], 0 };
        if (two[1] == ' ') {
            two[1] = hex[2];
            hex++;
        }
        buf_append_byte(b, (uint8_t)strtoul(two, NULL, 16));
        hex++;
    }
}

Test(codec, refuses_what_no_peer_would_say)
{
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct buf b = { 0 };
        const uint8_t header[16] = { FRAME_MAGIC, FRAME_LAYOUT,
                                     hostile[i].type };
        buf_append(&b, header, sizeof header);
        append_hex(&b, hostile[i].body);
        cr_expect_eq(unpack_sealed(&b), DLHT_EPROTO, "type %d: %s",
                     hostile[i].type, hostile[i].why);
        buf_deinit(&b);
    }
}

Test(codec, tells_frames_from_other_bytes)
{
    static const struct {
        const char *hex;
        int rc;
        const char *why;
    } table[] = { { "", 0, "nothing yet" },
                  { "d1", 0, "the magic" },
                  { "94", DLHT_EPROTO, "MessagePack-RPC" },
                  { "d102", DLHT_EVERSION, "a later layout" },
                  { "d101020000000000", 0, "half a header" },
                  { "d10102000200000100000000000000000000", DLHT_ETOOBIG,
                    "32 MiB and one" },
                  { "d1010200020000000000000000000000", 0, "32 MiB, to come" },
                  { "d1010200000000010000000000000000", 0, "one byte missing" },
                  { "d101020000000001000000000000000090", 1, "whole" },
                  { "d1010200000000010000000000000000909090", 1,
                    "and the next begins" } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct buf b = { 0 };
        size_t len;
        append_hex(&b, table[i].hex);
        cr_expect_eq(codec_frame(buf_span(&b), &len), table[i].rc, "%s",
                     table[i].why);
        if (table[i].rc == 1)
            cr_expect_eq(len, 17, "%s", table[i].why);
        buf_deinit(&b);
    }
}

Test(codec, leaves_the_buffer_as_it_was_when_a_message_is_too_big)
{
    static uint8_t big[CODEC_KEY_MAX + 1];
    struct message m = { .type = MESSAGE_REQUEST };
    struct buf b = { 0 };
    buf_append(&b, "before", 6);
    m.u.request.op = OP_GET;
    m.u.request.key = span_of(big, sizeof big);
    cr_expect_eq(codec_pack(&m, &b), DLHT_ETOOBIG);
    cr_expect(span_equal(buf_span(&b), span_str("before")));
    cr_expect_not(b.failed);
    m.u.request.key.len--;
    cr_expect_eq(codec_pack(&m, &b), DLHT_OK);
    buf_deinit(&b);
}

Test(codec, carries_the_largest_value_and_key)
{
    struct message m = { .type = MESSAGE_REQUEST }, got;
    struct codec_arena arena = { 0 };
    struct buf b = { 0 };
    uint8_t *value = calloc(1, VALUE_LEN_MAX);
    m.u.request.op = OP_PUT;
    m.u.request.key = span_of(value, KEY_LEN_MAX);
    m.u.request.value = span_of(value, VALUE_LEN_MAX);
    cr_assert_eq(codec_pack(&m, &b), DLHT_OK);
    cr_assert_eq(codec_unpack(buf_span(&b), &arena, &got), DLHT_OK);
    cr_expect_null(sample_difference(&m, &got));
    cr_expect_eq(arena.cap, 0, "a request takes no memory");
    free(value);
    buf_deinit(&b);
    codec_arena_deinit(&arena);
}

Test(codec, carries_parts_for_logs_and_checkpoints)
{
    struct rng rng;
    struct codec_arena arena = { 0 };
    rng_init(&rng, 8);
    for (int i = 0; i < 1000; i++) {
        struct arc arc, arc_got;
        struct raft_members members, members_got;
        struct keyspace_record keyspace, keyspace_got;
        struct buf b = { 0 };
        struct mp_reader r;
        pool.used = 0;
        sample_arc(&rng, &pool, &arc);
        sample_members(&rng, &members);
        sample_keyspace(&rng, &pool, &keyspace);
        codec_pack_arc(&b, &arc);
        codec_pack_members(&b, &members);
        codec_pack_keyspace(&b, &keyspace);
        mp_reader_init(&r, buf_span(&b));
        codec_unpack_arc(&r, &arc_got);
        codec_unpack_members(&r, &members_got);
        codec_arena_reset(&arena);
        codec_unpack_keyspace(&r, &arena, &keyspace_got);
        cr_assert(!r.bad && mp_at_end(&r));
        cr_assert(sample_arcs_equal(&arc, &arc_got));
        cr_assert(sample_members_equal(&members, &members_got));
        cr_assert(sample_keyspaces_equal(&keyspace, &keyspace_got));
        buf_deinit(&b);
    }
    codec_arena_deinit(&arena);
}

/* The most that a full frame of the smallest entries can ask for. */
Test(codec, bounds_the_memory_of_a_full_frame)
{
    struct message got;
    struct codec_arena arena = { 0 };
    for (size_t per = 4096, envelopes = 16; envelopes <= 17; envelopes++) {
        struct buf b = { 0 };
        const uint8_t header[16] = { FRAME_MAGIC, FRAME_LAYOUT, MESSAGE_RAFT };
        buf_append(&b, header, sizeof header);
        mp_write_array(&b, envelopes);
        for (size_t i = 0; i < envelopes; i++) {
            append_hex(&b, "9c0105020305000000000000");
            mp_write_array(&b, per);
            for (size_t k = 0; k < per; k++)
                append_hex(&b, "920501");
        }
        seal(&b);
        int rc = codec_unpack(buf_span(&b), &arena, &got);
        cr_expect_eq(rc, envelopes == 16 ? DLHT_OK : DLHT_EPROTO);
        cr_expect_leq(arena.total, CODEC_ARENA_MAX);
        buf_deinit(&b);
    }
    codec_arena_reset(&arena);
    cr_expect_leq(arena.cap, CODEC_ARENA_KEEP);
    codec_arena_deinit(&arena);
}

/* Refused before anything is read through the pointers, which are NULL. */
Test(codec, packs_nothing_that_would_be_refused)
{
    static const struct keyspace_record many_arcs[] = {
        { .first_arc_count = CODEC_FIRST_ARCS_MAX + 1 }
    };
    static const struct keyspace_record many_in_all[] = {
        { .first_arc_count = CODEC_FIRST_ARCS_MAX }, { .first_arc_count = 1 }
    };
    static const struct raft_entry long_entry = {
        .term = 1, .index = 1, .data.len = RAFT_ENTRY_MAX + 1
    };
    static const struct raft_envelope long_append[] = {
        { .message = { .entries = &long_entry, .entry_count = 1 } }
    };
    static const struct raft_envelope many_entries[] = {
        { .message.entry_count = RAFT_APPEND_ENTRIES_MAX + 1 }
    };
    static const struct swim_message many_updates = {
        .update_count = SWIM_UPDATES_MAX + 1
    };
    static const struct message table[] = {
        { .type = MESSAGE_SWIM, .u.swim = &many_updates },
        { .type = MESSAGE_GOSSIP, .u.gossip.arc_count = MESSAGE_ARCS_MAX + 1 },
        { .type = MESSAGE_GOSSIP,
          .u.gossip.keyspace_count = MESSAGE_KEYSPACES_MAX + 1 },
        { .type = MESSAGE_GOSSIP, .u.gossip = { NULL, 0, many_arcs, 1 } },
        { .type = MESSAGE_GOSSIP, .u.gossip = { NULL, 0, many_in_all, 2 } },
        { .type = MESSAGE_WELCOME,
          .u.welcome.peer_count = MESSAGE_PEERS_MAX + 1 },
        { .type = MESSAGE_REPORT, .u.report.count = MESSAGE_ARCS_MAX + 1 },
        { .type = MESSAGE_RAFT, .u.raft.count = MESSAGE_RAFTS_MAX + 1 },
        { .type = MESSAGE_RAFT, .u.raft = { long_append, 1 } },
        { .type = MESSAGE_RAFT, .u.raft = { many_entries, 1 } },
        { .type = MESSAGE_SNAPSHOT_CHUNK,
          .u.chunk.bytes.len = WIRE_BODY_MAX + 1 },
        { .type = MESSAGE_REQUEST, .u.request.end.len = CODEC_KEY_MAX + 1 },
        { .type = MESSAGE_REQUEST, .u.request.value.len = VALUE_LEN_MAX + 1 },
        { .type = MESSAGE_REQUEST, .u.request.list.len = WIRE_BODY_MAX + 1 },
        { .type = MESSAGE_REQUEST,
          .u.request.list_count = 2 * BATCH_COUNT_MAX + 1 },
        { .type = MESSAGE_REQUEST,
          .u.request.keyspace_name.len = KEYSPACE_NAME_MAX + 1 },
        { .type = MESSAGE_RESPONSE, .u.response.value.len = WIRE_BODY_MAX + 1 },
        { .type = MESSAGE_RESPONSE, .u.response.list.len = WIRE_BODY_MAX + 1 },
        { .type = MESSAGE_RESPONSE,
          .u.response.list_count = WIRE_BODY_MAX / 4 + 1 },
        { .type = MESSAGE_RESPONSE, .u.response.cursor.len = CODEC_KEY_MAX + 1 }
    };
    struct buf b = { 0 };
    buf_append(&b, "before", 6);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        cr_expect_eq(codec_pack(&table[i], &b), DLHT_ETOOBIG, "row %zu", i);
        cr_expect(span_equal(buf_span(&b), span_str("before")), "row %zu", i);
    }
    buf_deinit(&b);
}

Test(codec, packs_no_body_above_the_limit)
{
    struct message m = { .type = MESSAGE_SNAPSHOT_CHUNK,
                         .u.chunk = { .arc = 1, .from = 2, .to = 3 } };
    struct buf b = { 0 };
    uint8_t *bytes = calloc(1, WIRE_BODY_MAX);
    m.u.chunk.bytes = span_of(bytes, WIRE_BODY_MAX);
    cr_expect_eq(codec_pack(&m, &b), DLHT_ETOOBIG);
    cr_expect_eq(b.len, 0);
    m.u.chunk.bytes.len -= 100;
    cr_expect_eq(codec_pack(&m, &b), DLHT_OK);
    free(bytes);
    buf_deinit(&b);
}

/* Two keyspaces that together name one arc too many. */
Test(codec, refuses_too_many_first_arcs)
{
    const size_t more[] = { 0, 1 };
    for (size_t i = 0; i < 2; i++) {
        struct buf b = { 0 };
        const uint8_t header[16] = { FRAME_MAGIC, FRAME_LAYOUT,
                                     MESSAGE_GOSSIP };
        buf_append(&b, header, sizeof header);
        append_hex(&b, "929092");
        for (size_t k = 0; k < 2; k++) {
            size_t count = k ? 1 + more[i] : CODEC_FIRST_ARCS_MAX - 1;
            append_hex(&b, "9901c4016100010300"
                           "0000");
            mp_write_array(&b, count);
            for (size_t a = 0; a < count; a++)
                append_hex(&b, "960101c400c00091"
                               "9201c41000112233445566778899aabbccddeeff");
        }
        cr_expect_eq(unpack_sealed(&b), i ? DLHT_EPROTO : DLHT_OK, "%zu", i);
        buf_deinit(&b);
    }
}

/* A body whose one long part has as many bytes as its limit allows, or one
 * more. '#' in the pattern stands for that part, as a bin. */
static const struct {
    uint8_t type;
    const char *pattern;
    size_t max;
    const char *what;
} lengths[] = {
    { MESSAGE_REQUEST, "94030000#", CODEC_KEY_MAX, "key" },
    { MESSAGE_REQUEST, "95020000c40161#", VALUE_LEN_MAX, "value" },
    { MESSAGE_REQUEST, "940300#c40161", KEYSPACE_NAME_MAX, "keyspace name" },
    { MESSAGE_REQUEST, "9d080100c400c4000000c000009000#", CODEC_KEY_MAX,
      "end" },
    { MESSAGE_REQUEST, "9e060000c400c4000000c000009000c40091#", CODEC_KEY_MAX,
      "key of an mget" },
    { MESSAGE_REQUEST, "9e070000c400c4000000c000009000c40092c40161#",
      VALUE_LEN_MAX, "value of a batch" },
    { MESSAGE_RESPONSE, "960000c4000090#", CODEC_KEY_MAX, "cursor" },
    { MESSAGE_RESPONSE, "990000c4000090c00000#", CODEC_TEXT_MAX, "text" },
    { MESSAGE_RAFT, "919c010502030500000000000091930502#", RAFT_ENTRY_MAX,
      "entry" },
    { MESSAGE_HELLO, "960101c0c000#", PEER_ADDR_MAX - 1, "address" },
    { MESSAGE_JOIN,
      "9197c41000112233445566778899aabbccddeeff#c4000000"
      "0001",
      PEER_ADDR_MAX - 1, "address of a peer" },
    { MESSAGE_JOIN,
      "9197c41000112233445566778899aabbccddeeffc400#0000"
      "0001",
      PEER_ZONE_MAX - 1, "zone" },
    { MESSAGE_GOSSIP, "9290919501#000103", KEYSPACE_NAME_MAX,
      "name of a keyspace" }
};

Test(codec, draws_each_line_at_the_byte)
{
    uint8_t *part = malloc(RAFT_ENTRY_MAX + 1);
    memset(part, 'x', RAFT_ENTRY_MAX + 1);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t more = 0; more < 2; more++) {
            struct buf b = { 0 };
            const uint8_t header[16] = { FRAME_MAGIC, FRAME_LAYOUT,
                                         lengths[i].type };
            const char *rest = strchr(lengths[i].pattern, '#');
            char before[100] = { 0 };
            memcpy(before, lengths[i].pattern,
                   (size_t)(rest - lengths[i].pattern));
            buf_append(&b, header, sizeof header);
            append_hex(&b, before);
            mp_write_bin(&b, span_of(part, lengths[i].max + more));
            append_hex(&b, rest + 1);
            cr_expect_eq(unpack_sealed(&b), more ? DLHT_EPROTO : DLHT_OK,
                         "%s: %zu", lengths[i].what, lengths[i].max + more);
            buf_deinit(&b);
        }
    free(part);
}

Test(codec, packs_no_more_entries_than_it_would_unpack)
{
    static struct raft_entry entries[RAFT_APPEND_ENTRIES_MAX];
    struct raft_envelope envelopes[17];
    struct message m = { .type = MESSAGE_RAFT, .u.raft = { envelopes, 16 } };
    struct buf b = { 0 };
    for (size_t i = 0; i < RAFT_APPEND_ENTRIES_MAX; i++)
        entries[i] = (struct raft_entry){ .term = 1,
                                          .index = 1 + i,
                                          .type = RAFT_ENTRY_NOOP };
    for (size_t i = 0; i < 17; i++)
        envelopes[i] = (struct raft_envelope){
            .arc = 1,
            .message = { .type = RAFT_APPEND,
                         .from = 2,
                         .to = 3,
                         .term = 1,
                         .entries = entries,
                         .entry_count = RAFT_APPEND_ENTRIES_MAX }
        };
    cr_expect_eq(codec_pack(&m, &b), DLHT_OK);
    m.u.raft.count = 17;
    cr_expect_eq(codec_pack(&m, &b), DLHT_ETOOBIG);
    buf_deinit(&b);
}

Test(codec, refuses_flags_and_what_follows_a_frame)
{
    struct message m = { .type = MESSAGE_GONE, .u.gone = { 1, 2, 3 } };
    struct codec_arena arena = { 0 };
    struct buf b = { 0 };
    cr_assert_eq(codec_pack(&m, &b), DLHT_OK);
    cr_expect_eq(unpack_sealed(&b), DLHT_OK);
    for (int bit = 0; bit < 8; bit++) {
        b.data[3] = (uint8_t)(1 << bit);
        cr_expect_eq(unpack_sealed(&b), DLHT_EPROTO, "flag %d", bit);
    }
    b.data[3] = 0;
    seal(&b);
    buf_append_byte(&b, 0);
    cr_expect_eq(codec_unpack(buf_span(&b), &arena, &m), DLHT_EPROTO);
    b.len--;
    cr_expect_eq(codec_unpack(buf_span(&b), &arena, &m), DLHT_OK);
    buf_deinit(&b);
}

/* A list of as many sound elements as its limit allows, or two more. Each is
 * `element`, a byte that differs, `rest`. */
static const struct {
    uint8_t type;
    const char *before;
    const char *element;
    const char *rest;
    size_t max;
    const char *what;
} counts[] = {
    { MESSAGE_SWIM, "940101c0", "97c41000112233445566778899aabbccddee",
      "c400c40000000001", SWIM_UPDATES_MAX, "updates" },
    { MESSAGE_WELCOME, "9300c0", "97c41000112233445566778899aabbccddee",
      "c400c40000000001", MESSAGE_PEERS_MAX, "peers" },
    { MESSAGE_GOSSIP, "9191960001c400c000", "92",
      "c41000112233445566778899aabbcc"
      "ddeeff",
      ARC_MEMBERS_MAX, "members of an arc" },
    { MESSAGE_RAFT, "919c010502030500000000000091940503c400", "92", "c3",
      RAFT_MEMBERS_MAX, "members" },
    { MESSAGE_GOSSIP, "9290", "95",
      "c401610001"
      "03",
      MESSAGE_KEYSPACES_MAX, "keyspaces" },
    { MESSAGE_GOSSIP, "91",
      "96000"
      "1c400c000919201c41000112233445566778899aabbccddee",
      "", MESSAGE_ARCS_MAX, "arcs" },
    { MESSAGE_REPORT, "",
      "9196000"
      "1c400c000919201c41000112233445566778899aabbccddee",
      "", MESSAGE_ARCS_MAX, "reports" },
    { MESSAGE_RAFT, "", "94010102", "", MESSAGE_RAFTS_MAX, "envelopes" },
    { MESSAGE_RAFT, "919c0105020305000000000000", "930502c401", "",
      RAFT_APPEND_ENTRIES_MAX, "entries" },
    { MESSAGE_REQUEST, "9e060000c400c4000000c000009000c400", "c401", "",
      BATCH_COUNT_MAX, "keys of an mget" },
    { MESSAGE_REQUEST, "9e070000c400c4000000c000009000c400", "c401", "",
      2 * BATCH_COUNT_MAX, "items of a batch" }
};

Test(codec, counts_to_each_limit_and_no_further)
{
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (size_t more = 0; more < 3; more += 2) {
            struct buf b = { 0 };
            const uint8_t header[16] = { FRAME_MAGIC, FRAME_LAYOUT,
                                         counts[i].type };
            buf_append(&b, header, sizeof header);
            append_hex(&b, counts[i].before);
            mp_write_array(&b, counts[i].max + more);
            for (size_t k = 0; k < counts[i].max + more; k++) {
                append_hex(&b, counts[i].element);
                buf_append_byte(&b, (uint8_t)(1 + k % 100));
                append_hex(&b, counts[i].rest);
            }
            cr_expect_eq(unpack_sealed(&b), more ? DLHT_EPROTO : DLHT_OK,
                         "%zu %s", counts[i].max + more, counts[i].what);
            buf_deinit(&b);
        }
}
