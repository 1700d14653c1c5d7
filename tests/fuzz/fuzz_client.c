/* SPDX-License-Identifier: Apache-2.0 */

/* Clients that ask a simulated cluster anything, in any order.
 *
 * The first byte of an input chooses the cluster: one peer or three, with or
 * without disks. Then steps follow: an RPC call as its bytes, a request with
 * fields of all kinds, the body of a request's frame, or a time to wait. Each
 * request must be answered once, with what the codec and MessagePack carry,
 * however it was made. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "fuzz/fuzz.h"
#include "fuzz/fuzz_in.h"
#include "fuzz/fuzz_world.h"
#include "node/inspect.h"
#include "wire/codec.h"
#include "wire/mp.h"
#include "wire/rpc.h"

enum {
    STEPS_MAX = 40,
    KEY_SET = 12
};

static void say_call(struct fuzz_world *fw, size_t peer, struct span input)
{
    struct buf scratch = { 0 };
    struct rpc_call call;
    const char *text;
    if (rpc_unpack(input, &scratch, &call, &text) == DLHT_OK)
        fuzz_world_ask(fw, peer, &call.request);
    buf_deinit(&scratch);
}

static void say_body(struct fuzz_world *fw, size_t peer, struct span body)
{
    struct buf frame = { 0 };
    struct codec_arena arena = { 0 };
    struct message message;
    fuzz_frame(MESSAGE_REQUEST, body, &frame);
    if (codec_unpack(buf_span(&frame), &arena, &message) == DLHT_OK)
        fuzz_world_ask(fw, peer, &message.u.request);
    codec_arena_deinit(&arena);
    buf_deinit(&frame);
}

static struct span draw_key(struct fuzz_in *in)
{
    static const char *const keys[KEY_SET] = { "a",    "b",    "key0", "key1",
                                               "key7", "key",  "m",    "z",
                                               "\xff", "key3", "",     "k" };
    uint8_t which = fuzz_byte(in);
    if (which < 224)
        return span_str(keys[which % KEY_SET]);
    return fuzz_span(in, 4000);
}

/* An arc that the peer knows of, its generation, and who leads it. */
static void draw_arc(struct fuzz_world *fw, struct fuzz_in *in, size_t peer,
                     struct request *request)
{
    const struct node *node = world_node(fw->world, peer);
    size_t count = node ? inspect_replica_count(node) : 0;
    request->arc = fuzz_bytes(in, 1);
    if (count == 0)
        return;
    struct inspect_replica replica;
    inspect_replica_at(node, fuzz_below(in, count), &replica);
    request->arc = replica.id;
    if (replica.arc)
        request->generation = fuzz_number(in, replica.arc->generation);
    request->keyspace = replica.keyspace;
}

static void draw_list(struct fuzz_in *in, struct request *request,
                      struct buf *list)
{
    request->list_count = (uint32_t)fuzz_below(in, 20);
    for (uint32_t i = 0; i < request->list_count; i++)
        mp_write_bin(list, draw_key(in));
    if (fuzz_byte(in) >= 240)
        request->list_count = (uint32_t)fuzz_number(in, request->list_count);
    request->list = buf_span(list);
}

/* Any field may be anything; the codec says what travels. */
static void draw_request(struct fuzz_world *fw, struct fuzz_in *in, size_t peer)
{
    struct buf list = { 0 }, frame = { 0 };
    struct codec_arena arena = { 0 };
    struct message message = { .type = MESSAGE_REQUEST };
    struct request *request = &message.u.request;
    request->op = (uint8_t)(1 + fuzz_below(in, 39));
    request->flags = (uint16_t)fuzz_bytes(in, 2) & 0x1fff;
    uint8_t has = fuzz_byte(in);
    request->key = draw_key(in);
    if (has & 1)
        request->end = draw_key(in);
    if (has & 2)
        request->value = fuzz_span(in, 4000);
    if (has & 4)
        request->version = fuzz_number(in, 1);
    if (has & 8)
        request->limit = fuzz_number(in, 3);
    if (has & 16)
        draw_list(in, request, &list);
    if (has & 32) {
        memset(request->session.bytes, fuzz_byte(in), ID_BYTES);
        request->number = fuzz_number(in, 1);
        request->lowest_open = fuzz_number(in, request->number);
    }
    if (has & 64)
        draw_arc(fw, in, peer, request);
    if (has & 128) {
        request->keyspace = (keyspace_id)fuzz_number(in, 1);
        request->keyspace_name = fuzz_span(in, 70);
        request->hops = fuzz_byte(in);
        request->avoid = fuzz_span(in, 8 * REQUEST_AVOID_MAX);
    }
    request->timeout_ms = (uint32_t)fuzz_below(in, 4) * 500;
    if (codec_pack(&message, &frame) == DLHT_OK &&
        codec_unpack(buf_span(&frame), &arena, &message) == DLHT_OK)
        fuzz_world_ask(fw, peer, &message.u.request);
    codec_arena_deinit(&arena);
    buf_deinit(&frame);
    buf_deinit(&list);
}

static void step(struct fuzz_world *fw, struct fuzz_in *in)
{
    uint8_t what = fuzz_byte(in);
    size_t peer = fuzz_below(in, fw->peer_count);
    switch (what & 7) {
    case 0:
        fuzz_world_run_ms(fw, (uint64_t)1 << (what >> 4));
        break;
    case 1:
    case 2:
    case 3:
        say_call(fw, peer, fuzz_span(in, 4000));
        break;
    case 4:
        say_body(fw, peer, fuzz_span(in, 4000));
        break;
    default:
        draw_request(fw, in, peer);
    }
    if (what & 8)
        fuzz_world_run_ms(fw, 3);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_world fw;
    struct fuzz_in in = { span_of(data, size) };
    uint8_t kind = fuzz_byte(&in);
    fuzz_world_init(&fw, kind & 1 ? 3 : 1, kind & 2, 1);
    for (int i = 0; i < STEPS_MAX && !fuzz_is_over(&in); i++)
        step(&fw, &in);
    fuzz_world_settle(&fw);
    fuzz_world_deinit(&fw);
    return 0;
}

/* Calls as clients make them. */
static void write_text(struct buf *out, const char *text)
{
    mp_write_cstr(out, text);
}

static void make_params(struct rng *rng, struct buf *out)
{
    static const char *const texts[] = { "key1",    "a",     "b",
                                         "default", "other", "show",
                                         "train",   "plan",  "status" };
    static const char *const pieces[] = {
        "\x05",
        "\xc0",
        "\x92\xa1k\xa4key1",
        "\x81\xa1k\xa1v",
        "\x81\xa5limit\x05",
        "\x81\xa5stale\xc3",
        "\x81\xa6strict\xc3",
        "\x81\xa3"
        "all\xc3",
        "\x81\xa8keyspace\xa5other",
        "\x81\xa9placement\xa6hashed",
        "\x81\xa8replicas\x01",
        "\x81\xa8volatile\xc3",
        "\x81\xa5split\xa3"
        "off",
        "\x81\xa6weight\xa1"
        "2",
        "\x81\xa4rate\xa2"
        "1M",
    };
    size_t count = rng_below(rng, 4);
    mp_write_array(out, count);
    for (size_t i = 0; i < count; i++) {
        if (rng_chance(rng, 0.6)) {
            write_text(out,
                       texts[rng_below(rng, sizeof texts / sizeof *texts)]);
            continue;
        }
        const char *piece =
            pieces[rng_below(rng, sizeof pieces / sizeof *pieces)];
        buf_append(out, piece, strlen(piece));
    }
}

static void make_call(struct rng *rng, struct buf *out)
{
    static const char *const methods[] = {
        "ping",          "put",           "get",
        "del",           "cas",           "mget",
        "batch",         "range",         "count",
        "lookup",        "ring",          "peers",
        "status",        "leave",         "keyspace_create",
        "keyspace_list", "keyspace_drop", "keyspace_set",
        "keyspace_show", "model",         "presplit",
        "balance",       "peer_set",      "recover",
    };
    struct buf call = { 0 };
    mp_write_array(&call, 4);
    mp_write_uint(&call, 0);
    mp_write_uint(&call, rng_below(rng, 100));
    write_text(&call,
               methods[rng_below(rng, sizeof methods / sizeof *methods)]);
    make_params(rng, &call);
    buf_append_byte(out, (uint8_t)(1 | rng_next(rng) << 3));
    buf_append_byte(out, (uint8_t)rng_next(rng));
    buf_append_byte(out, (uint8_t)call.len);
    buf_append_span(out, buf_span(&call));
    buf_deinit(&call);
}

void fuzz_make(struct rng *rng, struct buf *out)
{
    buf_append_byte(out, (uint8_t)(rng_chance(rng, 0.2) ? 3 : 0));
    for (uint64_t n = rng_range(rng, 1, 14); n > 0; n--) {
        if (rng_chance(rng, 0.6)) {
            make_call(rng, out);
            continue;
        }
        buf_append_byte(out,
                        (uint8_t)(rng_chance(rng, 0.7) ? 5 | rng_next(rng) << 3
                                                       : rng_next(rng)));
        for (uint64_t k = rng_below(rng, 24); k > 0; k--)
            buf_append_byte(out, (uint8_t)rng_next(rng));
    }
    assert(!out->failed);
}
