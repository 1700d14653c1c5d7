/* SPDX-License-Identifier: Apache-2.0 */

/* What parsing and packing of the common requests costs, by hand and by
 * msgpack-c, in one run: nanoseconds a message, best of seven rounds.
 *
 *     bench_wire [rounds of a million]
 */

#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "wire/codec.h"
#include "wire/mp.h"
#include "wire/rpc.h"

enum {
    TURNS = 1000000,
    ROUNDS = 7
};

static const uint8_t get_call[] = "\x94\x00\xce\x00\x01\x00\x00\xa3get\x91"
                                  "\xc4\x10sixteen byte key";

static struct buf out, frame_get, frame_put, scratch;
static struct codec_arena arena;
static msgpack_sbuffer packed;
static uint64_t sink; /* so that no work is thrown away */

static struct span call_bytes(void)
{
    return span_of(get_call, sizeof get_call - 1);
}

static void by_mp(void)
{
    struct mp_reader r;
    mp_reader_init(&r, call_bytes());
    sink += mp_read_array(&r) + mp_read_uint(&r) + mp_read_uint(&r);
    sink += mp_read_bytes(&r).len + mp_read_array(&r);
    sink += mp_read_bytes(&r).len + r.bad;
}

static void by_mp_whole(void)
{
    size_t len;
    sink += (uint64_t)mp_whole(call_bytes(), 1000, &len) + len;
}

static void by_rpc(void)
{
    struct rpc_call call;
    const char *text;
    sink += rpc_unpack(call_bytes(), &scratch, &call, &text) == 0;
    sink += call.request.key.len;
}

static void by_unpack_next(void)
{
    msgpack_unpacked result;
    msgpack_unpacked_init(&result);
    sink += (uint64_t)msgpack_unpack_next(&result, (const char *)get_call,
                                          sizeof get_call - 1, NULL);
    sink += result.data.via.array.size;
    msgpack_unpacked_destroy(&result);
}

static void by_zone(void)
{
    static msgpack_zone zone;
    static bool ready;
    if (!ready)
        ready = msgpack_zone_init(&zone, 2048);
    msgpack_object object;
    size_t at = 0;
    sink += (uint64_t)msgpack_unpack((const char *)get_call,
                                     sizeof get_call - 1, &at, &zone, &object);
    sink += object.via.array.size;
    msgpack_zone_clear(&zone);
}

static void frame_unpack_get(void)
{
    struct message m;
    sink += codec_unpack(buf_span(&frame_get), &arena, &m) == 0;
    sink += m.u.request.key.len;
}

static void frame_unpack_put(void)
{
    struct message m;
    sink += codec_unpack(buf_span(&frame_put), &arena, &m) == 0;
    sink += m.u.request.value.len;
}

static struct message message_get(void)
{
    struct message m = { .type = MESSAGE_REQUEST, .stream = 7 };
    m.u.request.op = OP_GET;
    m.u.request.keyspace = 1;
    m.u.request.key = span_str("sixteen byte key");
    return m;
}

static struct message message_put(void)
{
    struct message m = message_get();
    m.u.request.op = OP_PUT;
    m.u.request.value = span_str("a value of thirty-two bytes' size");
    m.u.request.number = 100000;
    m.u.request.lowest_open = 99990;
    return m;
}

static struct message request_get, request_put, response_value;

static void pack_get(void)
{
    buf_reset(&out);
    sink += codec_pack(&request_get, &out) == 0;
}

static void pack_put(void)
{
    buf_reset(&out);
    sink += codec_pack(&request_put, &out) == 0;
}

static void pack_value(void)
{
    buf_reset(&out);
    sink += codec_pack(&response_value, &out) == 0;
}

static void pack_by_mp(void)
{
    buf_reset(&out);
    mp_write_array(&out, 4);
    mp_write_uint(&out, 1);
    mp_write_uint(&out, 65536);
    mp_write_nil(&out);
    mp_write_bin(&out, span_of(get_call, 26));
    sink += out.len;
}

static void pack_by_msgpack(void)
{
    msgpack_packer pk;
    msgpack_sbuffer_clear(&packed);
    msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_int(&pk, 1);
    msgpack_pack_uint32(&pk, 65536);
    msgpack_pack_nil(&pk);
    msgpack_pack_bin_with_body(&pk, get_call, 26);
    sink += packed.size;
}

static void pack_rpc_value(void)
{
    static const struct rpc_call call = { .id = 65536,
                                          .wants_answer = true,
                                          .request.op = OP_GET };
    buf_reset(&out);
    sink += rpc_pack_response(&call, &response_value.u.response, &out) == 0;
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double best_ns(void (*work)(void), long turns)
{
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (long i = 0; i < turns; i++)
            work();
        double each = (now_ns() - start) / (double)turns;
        best = each < best ? each : best;
    }
    return best;
}

static const struct {
    const char *name;
    void (*work)(void);
} benches[] = {
    { "parse [0, id, get, [key16]]: mp.h", by_mp },
    { "  ... msgpack_unpack_next", by_unpack_next },
    { "  ... msgpack_unpack, zone kept", by_zone },
    { "  ... mp_whole (find its end)", by_mp_whole },
    { "  ... rpc_unpack (to a request)", by_rpc },
    { "pack [1, id, nil, bin26]: mp.h", pack_by_mp },
    { "  ... msgpack_pack to a sbuffer", pack_by_msgpack },
    { "  ... rpc_pack_response to get, 32 bytes", pack_rpc_value },
    { "frame: unpack get", frame_unpack_get },
    { "frame: unpack put, 32 bytes", frame_unpack_put },
    { "frame: pack get", pack_get },
    { "frame: pack put, 32 bytes", pack_put },
    { "frame: pack value, 32 bytes", pack_value },
};

int main(int argc, char **argv)
{
    long turns = (argc > 1 ? atol(argv[1]) : 1) * TURNS;
    request_get = message_get();
    request_put = message_put();
    response_value.type = MESSAGE_RESPONSE;
    response_value.u.response.version = 1000;
    response_value.u.response.value = request_put.u.request.value;
    msgpack_sbuffer_init(&packed);
    if (codec_pack(&request_get, &frame_get) != 0 ||
        codec_pack(&request_put, &frame_put) != 0)
        return 1;
    printf("%-42s %8s\n", "", "ns");
    for (size_t i = 0; i < sizeof benches / sizeof *benches; i++)
        printf("%-42s %8.1f\n", benches[i].name,
               best_ns(benches[i].work, turns));
    printf("get request frame %zu bytes, put %zu bytes (%llu)\n", frame_get.len,
           frame_put.len, (unsigned long long)sink & 1);
    msgpack_sbuffer_destroy(&packed);
    buf_deinit(&out);
    buf_deinit(&frame_get);
    buf_deinit(&frame_put);
    return 0;
}
