/* SPDX-License-Identifier: Apache-2.0 */

/* Everything that reads a stranger's bytes, under a fuzzer.
 *
 * The first byte of an input chooses the door. A frame's body is fed behind a
 * header whose checksum is right, since no fuzzer guesses one. What is accepted
 * must survive being packed and unpacked again, field by field. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "fuzz/fuzz.h"
#include "wire/codec.h"
#include "wire/mp.h"
#include "wire/rpc.h"
#include "wire/sample.h"

static void frame_of(uint8_t type, struct span body, struct buf *out)
{
    uint8_t header[FRAME_HEADER_BYTES] = { FRAME_MAGIC, FRAME_LAYOUT, type };
    for (int i = 0; i < 4; i++)
        header[4 + i] = (uint8_t)(body.len >> (24 - 8 * i));
    uint32_t sum = (uint32_t)hash64_seeded(body, hash64(span_of(header, 12)));
    for (int i = 0; i < 4; i++)
        header[12 + i] = (uint8_t)(sum >> (24 - 8 * i));
    buf_append(out, header, sizeof header);
    buf_append_span(out, body);
    assert(!out->failed);
}

static void try_body(uint8_t type, struct span body)
{
    struct buf frame = { 0 }, again = { 0 };
    struct codec_arena arena = { 0 }, arena_again = { 0 };
    static struct message m, m_again;
    frame_of(type, body, &frame);
    int rc = codec_unpack(buf_span(&frame), &arena, &m);
    assert(arena.total <= CODEC_ARENA_MAX);
    if (rc == DLHT_OK) {
        rc = codec_pack(&m, &again);
        assert(rc == DLHT_OK);
        rc = codec_unpack(buf_span(&again), &arena_again, &m_again);
        assert(rc == DLHT_OK);
        assert(sample_difference(&m, &m_again) == NULL);
    }
    assert(rc == DLHT_OK || rc == DLHT_EPROTO);
    buf_deinit(&frame);
    buf_deinit(&again);
    codec_arena_deinit(&arena);
    codec_arena_deinit(&arena_again);
}

static void try_frame(struct span input)
{
    struct codec_arena arena = { 0 };
    static struct message m;
    size_t len;
    if (codec_frame(input, &len) == 1) {
        assert(len <= input.len);
        (void)!codec_unpack(span_of(input.data, len), &arena, &m);
    }
    codec_arena_deinit(&arena);
}

static void try_rpc(struct span input)
{
    struct buf scratch = { 0 }, out = { 0 };
    struct codec_arena arena = { 0 };
    static struct message m, got;
    struct rpc_call call;
    const char *text;
    int rc = rpc_unpack(input, &scratch, &call, &text);
    if (rc == DLHT_OK) {
        m = (struct message){ .type = MESSAGE_REQUEST };
        m.u.request = call.request;
        rc = codec_pack(&m, &out);
        assert(rc == DLHT_OK);
        rc = codec_unpack(buf_span(&out), &arena, &got);
        assert(rc == DLHT_OK);
    } else if (rc == DLHT_EINVAL) {
        struct response response = { .status = rc, .text = span_str(text) };
        rc = rpc_pack_response(&call, &response, &out);
        assert(rc == DLHT_OK);
        size_t len;
        rc = mp_whole(buf_span(&out), 10000, &len);
        assert(rc == (call.wants_answer ? 1 : 0));
    } else {
        assert(rc == DLHT_EPROTO);
    }
    buf_deinit(&scratch);
    buf_deinit(&out);
    codec_arena_deinit(&arena);
}

/* In one piece or byte by byte, the verdict is the same; and what is whole can
 * be skipped. */
static void try_mp(struct span input)
{
    size_t len, len_pieces = 0;
    int rc = mp_whole(input, 1000, &len);
    struct mp_scan scan = { 0 };
    int rc_pieces = 0;
    for (size_t n = 0; n <= input.len && rc_pieces == 0; n++)
        rc_pieces =
            mp_scan_more(&scan, span_of(input.data, n), 1000, &len_pieces);
    assert(rc == rc_pieces);
    assert(rc < 0 || len == len_pieces);
    struct mp_reader r;
    mp_reader_init(&r, input);
    struct span raw = mp_read_raw(&r);
    assert(rc != 1 || (!r.bad && raw.len == len));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct span rest = span_of(data + 1, size - 1);
    switch (data[0]) {
    case 'f':
        try_frame(rest);
        break;
    case 'm':
        try_mp(rest);
        break;
    case 'r':
        try_rpc(rest);
        break;
    default:
        try_body(data[0], rest);
    }
    return 0;
}

/* A sample's body, changed in a few places; or a short run of chance; or an
 * RPC call put together from what calls are made of. */
static void make_message(struct rng *rng, struct buf *out)
{
    static struct sample_pool pool;
    static struct message m;
    struct buf frame = { 0 };
    uint8_t type = (uint8_t)rng_range(rng, MESSAGE_HELLO, SAMPLE_TYPES);
    pool.used = 0;
    sample_message(rng, &pool, type, &m);
    int rc = codec_pack(&m, &frame);
    assert(rc == DLHT_OK);
    buf_append_byte(out, type);
    buf_append_span(out, span_tail(buf_span(&frame), FRAME_HEADER_BYTES));
    buf_deinit(&frame);
}

static void make_call(struct rng *rng, struct buf *out)
{
    static const char *const methods[] = { "ping",
                                           "put",
                                           "get",
                                           "del",
                                           "cas",
                                           "mget",
                                           "batch",
                                           "range",
                                           "count",
                                           "lookup",
                                           "ring",
                                           "peers",
                                           "status",
                                           "leave",
                                           "nothing",
                                           "x",
                                           "keyspace_create",
                                           "keyspace_list",
                                           "keyspace_drop" };
    static const char *const pieces[] = { "\xa1k",
                                          "\xa1v",
                                          "\x05",
                                          "\xc0",
                                          "\x91\xa1k",
                                          "\x81\xa1k\xa1v",
                                          "\x91\x92\xa1k\xa1v",
                                          "\x81\xa5limit\x05",
                                          "\x81\xa5stale\xc3",
                                          "\x81\xa3"
                                          "all\xc3",
                                          "\x82\xa7session\xc4\x10"
                                          "0123456789abcdef\xa6number\x05" };
    buf_append_byte(out, 'r');
    mp_write_array(out, 4);
    mp_write_uint(out, 0);
    mp_write_uint(out, rng_next(rng) >> rng_range(rng, 32, 63));
    mp_write_cstr(out,
                  methods[rng_below(rng, sizeof methods / sizeof *methods)]);
    size_t count = rng_below(rng, 5);
    mp_write_array(out, count);
    for (size_t i = 0; i < count; i++) {
        const char *piece =
            pieces[rng_below(rng, sizeof pieces / sizeof *pieces)];
        buf_append(out, piece, strlen(piece));
    }
}

void fuzz_make(struct rng *rng, struct buf *out)
{
    uint64_t choice = rng_below(rng, 10);
    if (choice < 5) {
        make_message(rng, out);
    } else if (choice < 8) {
        make_call(rng, out);
    } else {
        buf_append_byte(out, (uint8_t) "fmr\x02"[rng_below(rng, 4)]);
        for (uint64_t n = rng_below(rng, 60); n > 0; n--)
            buf_append_byte(out, (uint8_t)rng_next(rng));
    }
    for (uint64_t n = rng_below(rng, 4); n > 0 && out->len > 1; n--)
        out->data[1 + rng_below(rng, out->len - 1)] = (uint8_t)rng_next(rng);
    if (rng_chance(rng, 0.1))
        out->len = 1 + rng_below(rng, out->len);
    assert(!out->failed);
}
