/* SPDX-License-Identifier: Apache-2.0 */

/* Each limit: what just fits, and what does not. */

#include "wire/codec.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "wire/forge.h"
#include "wire/mp.h"
#include "wire/sample.h"

Test(codec_limits, leaves_the_buffer_as_it_was_when_a_message_is_too_big)
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

Test(codec_limits, carries_the_largest_value_and_key)
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

/* The most that a full frame of the smallest entries can ask for. */
Test(codec_limits, bounds_the_memory_of_a_full_frame)
{
    struct message got;
    struct codec_arena arena = { 0 };
    for (size_t per = 4096, envelopes = 16; envelopes <= 17; envelopes++) {
        struct buf b = { 0 };
        const uint8_t header[16] = { FRAME_MAGIC, FRAME_LAYOUT, MESSAGE_RAFT };
        buf_append(&b, header, sizeof header);
        mp_write_array(&b, envelopes);
        for (size_t i = 0; i < envelopes; i++) {
            forge_hex(&b, "9c0105020305000000000000");
            mp_write_array(&b, per);
            for (size_t k = 0; k < per; k++)
                forge_hex(&b, "920501");
        }
        forge_seal(&b);
        int rc = codec_unpack(buf_span(&b), &arena, &got);
        cr_expect_eq(rc, envelopes == 16 ? DLHT_OK : DLHT_EPROTO);
        cr_expect_leq(arena.total, CODEC_ARENA_MAX);
        buf_deinit(&b);
    }
    codec_arena_reset(&arena);
    cr_expect_leq(arena.cap, CODEC_ARENA_KEEP);
    codec_arena_deinit(&arena);
}

Test(codec_limits, packs_no_body_above_the_limit)
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
Test(codec_limits, refuses_too_many_first_arcs)
{
    const size_t more[] = { 0, 1 };
    for (size_t i = 0; i < 2; i++) {
        struct buf b = { 0 };
        const uint8_t header[16] = { FRAME_MAGIC, FRAME_LAYOUT,
                                     MESSAGE_GOSSIP };
        buf_append(&b, header, sizeof header);
        forge_hex(&b, "929092");
        for (size_t k = 0; k < 2; k++) {
            size_t count = k ? 1 + more[i] : CODEC_FIRST_ARCS_MAX - 1;
            forge_hex(&b, "9901c4016100010300"
                          "0000");
            mp_write_array(&b, count);
            for (size_t a = 0; a < count; a++)
                forge_hex(&b, "960101c400c00091"
                              "9201c41000112233445566778899aabbccddeeff");
        }
        cr_expect_eq(forge_unpack(&b), i ? DLHT_EPROTO : DLHT_OK, "%zu", i);
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

Test(codec_limits, draws_each_line_at_the_byte)
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
            forge_hex(&b, before);
            mp_write_bin(&b, span_of(part, lengths[i].max + more));
            forge_hex(&b, rest + 1);
            cr_expect_eq(forge_unpack(&b), more ? DLHT_EPROTO : DLHT_OK,
                         "%s: %zu", lengths[i].what, lengths[i].max + more);
            buf_deinit(&b);
        }
    free(part);
}

Test(codec_limits, packs_no_more_entries_than_it_would_unpack)
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

Test(codec_limits, counts_to_each_limit_and_no_further)
{
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (size_t more = 0; more < 3; more += 2) {
            struct buf b = { 0 };
            const uint8_t header[16] = { FRAME_MAGIC, FRAME_LAYOUT,
                                         counts[i].type };
            buf_append(&b, header, sizeof header);
            forge_hex(&b, counts[i].before);
            mp_write_array(&b, counts[i].max + more);
            for (size_t k = 0; k < counts[i].max + more; k++) {
                forge_hex(&b, counts[i].element);
                buf_append_byte(&b, (uint8_t)(1 + k % 100));
                forge_hex(&b, counts[i].rest);
            }
            cr_expect_eq(forge_unpack(&b), more ? DLHT_EPROTO : DLHT_OK,
                         "%zu %s", counts[i].max + more, counts[i].what);
            buf_deinit(&b);
        }
}

Test(codec_limits, hears_no_more_of_an_arc_than_can_be)
{
    static const struct {
        uint64_t said, heard;
    } rows[] = { { 0, 0 },
                 { REPORT_COUNT_MAX - 1, REPORT_COUNT_MAX - 1 },
                 { REPORT_COUNT_MAX, REPORT_COUNT_MAX },
                 { REPORT_COUNT_MAX + 1, REPORT_COUNT_MAX },
                 { UINT64_MAX, REPORT_COUNT_MAX } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t said = rows[i].said, heard = rows[i].heard;
        struct sample_pool *pool = calloc(1, sizeof *pool);
        struct codec_arena arena = { 0 };
        struct message out, in;
        struct arc_report report;
        struct rng rng;
        struct buf b = { 0 };
        rng_init(&rng, 1);
        do /* for an arc, which a report has to name */
            sample_message(&rng, pool, MESSAGE_REPORT, &out);
        while (out.u.report.count == 0);
        report = out.u.report.list[0];
        report.keys = report.bytes = said;
        report.requests = report.changes = said;
        out.u.report.list = &report;
        out.u.report.count = 1;
        cr_assert_eq(codec_pack(&out, &b), DLHT_OK);
        cr_assert_eq(codec_unpack(buf_span(&b), &arena, &in), DLHT_OK);
        const struct arc_report *got = &in.u.report.list[0];
        cr_expect_eq(got->keys, heard);
        cr_expect_eq(got->bytes, heard);
        cr_expect_eq(got->requests, heard);
        cr_expect_eq(got->changes, heard);
        codec_arena_deinit(&arena);
        buf_deinit(&b);
        free(pool);
    }
}
