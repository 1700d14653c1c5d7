/* SPDX-License-Identifier: Apache-2.0 */

/* Frames: round trips, and what damage does to them. */

#include "wire/codec.h"

#include <criterion/criterion.h>

#include "dlht/err.h"
#include "wire/forge.h"
#include "wire/mp.h"
#include "wire/sample.h"

static struct sample_pool pool;

Test(codec, carries_every_type_without_loss)
{
    const uint64_t seed = 20261121;
    struct rng rng;
    struct codec_arena arena = { 0 };
    struct buf b = { 0 };
    rng_init(&rng, seed);
    for (int i = 0; i < SAMPLE_TYPES * 400; i++) {
        struct message sent, got;
        pool.used = 0;
        sample_message(&rng, &pool, (uint8_t)(1 + i % SAMPLE_TYPES), &sent);
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
    for (int i = 0; i < SAMPLE_TYPES * 4; i++) {
        struct message m;
        pool.used = 0;
        sample_message(&rng, &pool, (uint8_t)(1 + i % SAMPLE_TYPES), &m);
        buf_reset(&b);
        cr_assert_eq(codec_pack(&m, &b), DLHT_OK);
        struct buf cut = { 0 };
        for (size_t len = 0; len < b.len; len++) {
            size_t need;
            cr_assert_eq(codec_frame(span_of(b.data, len), &need), 0);
            cr_assert(need == 0 || need == b.len);
            cr_assert_neq(forge_unpack_alone(b.data, len, &arena, &m), DLHT_OK);
            /* And with a header that fits the cut body. */
            if (len <= FRAME_HEADER_BYTES)
                continue;
            buf_reset(&cut);
            buf_append(&cut, b.data, len);
            cr_assert_eq(forge_unpack(&cut), DLHT_EPROTO,
                         "type %d cut at %zu of %zu", 1 + i % SAMPLE_TYPES, len,
                         b.len);
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
    for (int type = 1; type <= SAMPLE_TYPES; type++) {
        struct message m;
        pool.used = 0;
        sample_message(&rng, &pool, (uint8_t)type, &m);
        buf_reset(&b);
        cr_assert_eq(codec_pack(&m, &b), DLHT_OK);
        for (size_t bit = 0; bit < 8 * b.len; bit++) {
            b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            cr_assert_neq(forge_unpack_alone(b.data, b.len, &arena, &m),
                          DLHT_OK, "type %d bit %zu", type, bit);
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
            sample_message(&rng, &pool, (uint8_t)(1 + i / 8 % SAMPLE_TYPES),
                           &m);
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
        forge_seal(&b);
        int rc = forge_unpack_alone(b.data, b.len, &arena, &m);
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
    static const uint8_t fields[SAMPLE_TYPES + 1] = { 0, 7, 15, 11, 0, 8, 6,
                                                      4, 2, 4,  1,  3, 0, 12,
                                                      3, 8, 7,  15, 3 };
    bool grew[SAMPLE_TYPES + 1] = { false };
    rng_init(&rng, 6);
    for (int i = 0; i < SAMPLE_TYPES * 400; i++) {
        struct message sent, got;
        struct buf b = { 0 };
        uint8_t type = (uint8_t)(1 + i % SAMPLE_TYPES);
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
        if (count == fields[type]) {
            grew[type] = true;
            buf_append(&grown, b.data, FRAME_HEADER_BYTES);
            mp_write_array(&grown, count + 2);
            buf_append(&grown, r.at, (size_t)(r.end - r.at));
            mp_write_cstr(&grown, "later");
            mp_write_array(&grown, 1);
            mp_write_float(&grown, 0.5);
            forge_seal(&grown);
            cr_assert_eq(codec_unpack(buf_span(&grown), &arena, &got), DLHT_OK,
                         "type %d", type);
            cr_assert_null(sample_difference(&sent, &got), "type %d", type);
        }
        buf_deinit(&grown);
        buf_deinit(&b);
    }
    for (int type = 1; type <= SAMPLE_TYPES; type++)
        cr_expect(grew[type] == (fields[type] > 0), "type %d has been full",
                  type);
    codec_arena_deinit(&arena);
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
        forge_hex(&b, table[i].hex);
        cr_expect_eq(codec_frame(buf_span(&b), &len), table[i].rc, "%s",
                     table[i].why);
        if (table[i].rc == 1)
            cr_expect_eq(len, 17, "%s", table[i].why);
        buf_deinit(&b);
    }
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

Test(codec, refuses_flags_and_what_follows_a_frame)
{
    struct message m = { .type = MESSAGE_GONE, .u.gone = { 1, 2, 3 } };
    struct codec_arena arena = { 0 };
    struct buf b = { 0 };
    cr_assert_eq(codec_pack(&m, &b), DLHT_OK);
    cr_expect_eq(forge_unpack(&b), DLHT_OK);
    for (int bit = 0; bit < 8; bit++) {
        b.data[3] = (uint8_t)(1 << bit);
        cr_expect_eq(forge_unpack(&b), DLHT_EPROTO, "flag %d", bit);
    }
    b.data[3] = 0;
    forge_seal(&b);
    buf_append_byte(&b, 0);
    cr_expect_eq(codec_unpack(buf_span(&b), &arena, &m), DLHT_EPROTO);
    b.len--;
    cr_expect_eq(codec_unpack(buf_span(&b), &arena, &m), DLHT_OK);
    buf_deinit(&b);
}
