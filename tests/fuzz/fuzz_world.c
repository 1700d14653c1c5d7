/* SPDX-License-Identifier: Apache-2.0 */

#include "fuzz/fuzz_world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "sim/world_inner.h"
#include "wire/codec.h"
#include "wire/mp.h"
#include "wire/rpc.h"

void fuzz_frame(uint8_t type, struct span body, struct buf *out)
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

/* The world says what its peers send. */
static void hear(void *context, size_t from, size_t to, struct message *message)
{
    struct fuzz_world *fw = context;
    buf_reset(&fw->scratch);
    if (codec_pack(message, &fw->scratch) != DLHT_OK ||
        fw->scratch.len > FUZZ_FRAME_MAX)
        return;
    struct fuzz_heard *heard = &fw->heard[fw->heard_count++ % FUZZ_HEARD_MAX];
    free(heard->frame);
    heard->frame = malloc(fw->scratch.len);
    assert(heard->frame);
    memcpy(heard->frame, fw->scratch.data, fw->scratch.len);
    heard->len = fw->scratch.len;
    heard->from = from;
    heard->to = to;
}

/* Some of what a bad disk or a peer that says it leaves may bring about is
 * meant: a node that stops and says why. */
static bool is_meant(const char *invariant)
{
    return strcmp(invariant, "journal_whole") == 0 ||
           strcmp(invariant, "checkpoint_whole") == 0;
}

static void judge(struct fuzz_world *fw)
{
    const char *text;
    const char *invariant = world_failure(fw->world, &text);
    if (!invariant || is_meant(invariant))
        return;
    fprintf(stderr, "FAILED %s: %s\n", invariant, text);
    abort();
}

static void say_line(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "%s\n", line);
}

static void start_all(struct fuzz_world *fw)
{
    for (size_t i = 0; i < fw->peer_count; i++) {
        size_t first = 0;
        world_set_bootstrap(fw->world, i, &first, i > 0);
        world_start(fw->world, i);
        for (int n = 0; n < 300 && !world_is_ready(fw->world, i); n++)
            fuzz_world_run_ms(fw, 20);
        assert(world_is_ready(fw->world, i));
    }
}

void fuzz_world_new(struct fuzz_world *fw, size_t peers, bool durable,
                    uint64_t seed)
{
    struct world_config config;
    memset(fw, 0, sizeof *fw);
    assert(peers >= 1 && peers <= FUZZ_PEERS_MAX);
    world_config_default(&config);
    config.seed = seed;
    config.peer_count = peers;
    config.node.durable = durable;
    config.node.checkpoint_bytes = 4096;
    config.node.election_ns = 300 * WORLD_MS;
    config.node.heartbeat_ns = 60 * WORLD_MS;
    config.segment_bytes = 16 << 10;
    if (getenv("FUZZ_TRACE"))
        config.trace = say_line;
    int rc = world_new(&config, &fw->world);
    assert(rc == DLHT_OK);
    fw->peer_count = peers;
    fw->arena = calloc(1, sizeof *fw->arena);
    assert(fw->arena);
    world_set_tamper(fw->world, hear, fw);
}

void fuzz_world_init(struct fuzz_world *fw, size_t peers, bool durable,
                     uint64_t seed)
{
    fuzz_world_new(fw, peers, durable, seed);
    start_all(fw);
}

void fuzz_world_deinit(struct fuzz_world *fw)
{
    judge(fw);
    for (size_t i = 0; i < fw->peer_count; i++)
        if (world_is_up(fw->world, i))
            node_check(world_node(fw->world, i));
    world_free(fw->world);
    for (size_t i = 0; i < FUZZ_HEARD_MAX; i++)
        free(fw->heard[i].frame);
    buf_deinit(&fw->scratch);
    codec_arena_deinit(fw->arena);
    free(fw->arena);
}

void fuzz_world_run_ms(struct fuzz_world *fw, uint64_t ms)
{
    (void)world_run(fw->world, world_now_ns(fw->world) + ms * WORLD_MS);
    judge(fw);
}

/* What the door would send must be whole MessagePack. */
static void answered(void *context, uint64_t argument,
                     const struct response *response)
{
    struct fuzz_world *fw = context;
    struct rpc_call call = { .wants_answer = true };
    call.request.op = (uint8_t)argument;
    call.request.flags = (uint16_t)(argument >> 8);
    fw->unanswered--;
    if (!response)
        return;
    struct buf out = { 0 };
    size_t len;
    assert(strcmp(dlht_errname(response->status), "E?") != 0);
    int rc = rpc_pack_response(&call, response, &out);
    assert(rc == DLHT_OK);
    rc = mp_whole(buf_span(&out), WIRE_BODY_MAX, &len);
    assert(rc == 1 && len == out.len);
    buf_deinit(&out);
}

void fuzz_world_ask(struct fuzz_world *fw, size_t peer,
                    const struct request *request)
{
    if (!world_is_up(fw->world, peer) || world_failure(fw->world, NULL))
        return;
    uint64_t what = request->op | (uint64_t)request->flags << 8;
    int rc = world_request(fw->world, peer, request, answered, fw, what);
    assert(rc == DLHT_OK || rc == DLHT_ETOOBIG);
    fw->unanswered += rc == DLHT_OK;
}

void fuzz_world_settle(struct fuzz_world *fw)
{
    for (int i = 0; i < 65 && fw->unanswered > 0; i++)
        fuzz_world_run_ms(fw, 1000);
    if (fw->unanswered > 0 && !world_failure(fw->world, NULL)) {
        fprintf(stderr, "FAILED answers: %zu are missing\n", fw->unanswered);
        abort();
    }
}

void fuzz_world_fill(struct fuzz_world *fw, int count)
{
    static uint8_t value[100];
    for (int i = 0; i < count; i++) {
        char key[16];
        struct request request = { .op = OP_PUT };
        int n = snprintf(key, sizeof key, "key%d", i % 24);
        request.key = span_of(key, (size_t)n);
        request.value = span_of(value, sizeof value);
        fuzz_world_ask(fw, (size_t)i % fw->peer_count, &request);
        if (i % 8 == 7)
            fuzz_world_run_ms(fw, 5);
    }
    fuzz_world_settle(fw);
}

static struct id id_of(const struct fuzz_world *fw, size_t from)
{
    if (from < fw->peer_count)
        return fw->world->peers[from].id;
    struct id id = { { 0 } };
    memset(id.bytes, (int)(0x51 + from), sizeof id.bytes);
    return id;
}

void fuzz_world_say(struct fuzz_world *fw, size_t from, size_t to,
                    struct span frame)
{
    struct message message;
    size_t len;
    if (!world_is_up(fw->world, to) || world_failure(fw->world, NULL))
        return;
    if (codec_frame(frame, &len) != 1 ||
        codec_unpack(span_of(frame.data, len), fw->arena, &message) !=
            DLHT_OK ||
        message.type == MESSAGE_HELLO)
        return;
    struct input input = { .kind = INPUT_FRAME,
                           .id = id_of(fw, from),
                           .bytes = world_copy(span_of(frame.data, len)),
                           .len = len };
    world_feed(fw->world, &fw->world->peers[to], &input);
}

struct disk fuzz_world_disk(struct fuzz_world *fw, size_t peer)
{
    return disk_sim_disk(fw->world->peers[peer].disk);
}
