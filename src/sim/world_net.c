/* SPDX-License-Identifier: Apache-2.0 */

/* Links: one from each peer to each other, made when first something is sent,
 * carrying frames one way. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "sim/world_inner.h"

static const uint64_t BYTES_PER_MS = 100000; /* 100 MB/s */
static const uint64_t CONNECT_TIMEOUT_NS = 2 * WORLD_S;
static const uint64_t STALL_MIN_NS = 2 * WORLD_S;
static const uint64_t STALL_MAX_NS = 10 * WORLD_S;

struct conn *world_conn(struct world *world, size_t from, size_t to)
{
    size_t count = world->config.peer_count;
    assert(from < count && to < count);
    return &world->conns[from * count + to];
}

static uint64_t frame_delay(struct world *world, struct conn *conn, size_t len)
{
    const struct world_net *net = &world->config.net;
    if (conn->delay_ns == 0) {
        conn->delay_ns =
            world_draw(world, net->delay_min_ns, net->delay_max_ns) + 1;
        if (net->far > 0 && rng_chance(&world->rng, net->far))
            conn->delay_ns += net->far_ns;
    }
    return conn->delay_ns + world_draw(world, 0, net->jitter_ns) +
           len * WORLD_MS / BYTES_PER_MS;
}

static void hold(struct conn *conn, uint8_t *bytes, size_t len,
                 const struct id *to)
{
    if (conn->held_count == conn->held_cap) {
        size_t cap = conn->held_cap ? conn->held_cap * 2 : 8;
        struct held *held = world_alloc(cap, sizeof *held);
        if (conn->held_count)
            memcpy(held, conn->held, conn->held_count * sizeof *held);
        free(conn->held);
        conn->held = held;
        conn->held_cap = cap;
    }
    conn->held[conn->held_count++] =
        (struct held){ .bytes = bytes, .len = len, .to = *to };
}

static void drop_held(struct conn *conn)
{
    for (size_t i = 0; i < conn->held_count; i++)
        free(conn->held[i].bytes);
    conn->held_count = 0;
}

void world_net_deinit(struct world *world)
{
    size_t count = world->config.peer_count;
    for (size_t i = 0; world->conns && i < count * count; i++) {
        drop_held(&world->conns[i]);
        free(world->conns[i].held);
    }
}

static void tell_down(struct world *world, size_t whom, const struct id *about,
                      uint64_t delay_ns)
{
    struct sim_peer *peer = &world->peers[whom];
    if (!peer->node)
        return;
    struct thing *thing = world_plan(world, delay_ns, THING_LINK_DOWN);
    thing->to = (uint32_t)whom;
    thing->epoch = peer->life;
    thing->id = *about;
}

/* The link is no more; what was under way is lost. Both ends learn it, the
 * sender soon. */
static void break_conn(struct world *world, size_t from, size_t to)
{
    struct conn *conn = world_conn(world, from, to);
    if (conn->state == CONN_DOWN)
        return;
    world->stats.broken_links++;
    world_trace(world, "link n%u>n%u breaks", (unsigned)from, (unsigned)to);
    struct id about = conn->to_id;
    if (conn->state == CONN_CONNECTING && conn->held_count > 0)
        about = conn->held[0].to;
    bool was_up = conn->state == CONN_UP;
    conn->state = CONN_DOWN;
    conn->epoch++;
    conn->is_stalled = false;
    drop_held(conn);
    tell_down(world, from, &about, world_draw(world, WORLD_US, 5 * WORLD_MS));
    if (was_up)
        tell_down(world, to, &conn->from_id,
                  world_draw(world, WORLD_US, 50 * WORLD_MS));
}

void world_break_link(struct world *world, size_t from, size_t to)
{
    break_conn(world, from, to);
}

static void connect(struct world *world, struct sim_peer *from, size_t to)
{
    struct conn *conn = world_conn(world, from->index, to);
    conn->state = CONN_CONNECTING;
    conn->epoch++;
    conn->is_stalled = false;
    conn->to_id = (struct id){ { 0 } };
    bool lost = world_conn(world, from->index, to)->is_cut ||
                world_conn(world, to, from->index)->is_cut;
    uint64_t delay = lost ? CONNECT_TIMEOUT_NS
                          : 2 * frame_delay(world, conn, FRAME_HEADER_BYTES);
    struct thing *thing = world_plan(world, delay, THING_CONNECT);
    thing->from = from->index;
    thing->to = (uint32_t)to;
    thing->epoch = conn->epoch;
}

/* What a peer says at the start of a link, as the other end unpacks it. Valid
 * until the next unpacking. */
static bool say_hello(struct world *world, const struct sim_peer *peer,
                      struct message *message)
{
    *message = (struct message){ .type = MESSAGE_HELLO };
    node_hello(peer->node, &message->u.hello);
    buf_reset(&world->scratch);
    int rc = codec_pack(message, &world->scratch);
    if (rc == DLHT_OK)
        rc = codec_unpack(buf_span(&world->scratch), &world->arena, message);
    if (rc != DLHT_OK || message->type != MESSAGE_HELLO) {
        world_fail(world, "codec", "a hello does not travel: %s",
                   dlht_errname(rc));
        return false;
    }
    return true;
}

static bool shake_hands(struct world *world, struct sim_peer *from,
                        struct sim_peer *to, struct conn *conn)
{
    struct message message;
    if (!say_hello(world, from, &message))
        return false;
    conn->from_id = message.u.hello.peer;
    if (node_hello_check(to->node, &message.u.hello) != DLHT_OK)
        return false;
    if (!say_hello(world, to, &message))
        return false;
    conn->to_id = message.u.hello.peer;
    return node_hello_check(from->node, &message.u.hello) == DLHT_OK;
}

static void plan_frame(struct world *world, size_t from, size_t to,
                       uint8_t *bytes, size_t len)
{
    struct conn *conn = world_conn(world, from, to);
    const struct world_net *net = &world->config.net;
    uint64_t delay = frame_delay(world, conn, len);
    bool free_running = rng_chance(&world->rng, net->reorder);
    if (!free_running && world->now + delay <= conn->arrival_ns)
        delay = conn->arrival_ns - world->now + 1;
    if (free_running)
        delay += world_draw(world, 0, 20 * WORLD_MS);
    else
        conn->arrival_ns = world->now + delay;
    struct thing *thing = world_plan(world, delay, THING_FRAME);
    thing->from = (uint32_t)from;
    thing->to = (uint32_t)to;
    thing->epoch = conn->epoch;
    thing->bytes = bytes;
    thing->len = len;
}

/* What was to be sent before the link was there. */
static void send_held(struct world *world, size_t from, size_t to)
{
    struct conn *conn = world_conn(world, from, to);
    size_t count = conn->held_count;
    conn->held_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct held *held = &conn->held[i];
        /* Another process answers at that address than the one meant. */
        if (!id_is_zero(&held->to) && !id_equal(&held->to, &conn->to_id)) {
            free(held->bytes);
            tell_down(world, from, &held->to, WORLD_US);
            continue;
        }
        plan_frame(world, from, to, held->bytes, held->len);
    }
}

static void deliver(struct world *world, size_t from, size_t to, uint8_t *bytes,
                    size_t len)
{
    struct conn *conn = world_conn(world, from, to);
    world_fold(world, hash64(span_of(bytes, len)));
    if (world_is_traced(world))
        world_trace(world, "n%zu<n%zu %zu bytes", to, from, len);
    struct input input = {
        .kind = INPUT_FRAME, .id = conn->from_id, .bytes = bytes, .len = len
    };
    world_feed(world, &world->peers[to], &input);
}

/* The way is free again: what was held arrives, before all that is still under
 * way. */
static void release_held(struct world *world, size_t from, size_t to)
{
    struct conn *conn = world_conn(world, from, to);
    if (conn->state != CONN_UP || conn->held_count == 0)
        return;
    struct sim_peer *peer = &world->peers[to];
    if (!peer->node)
        return; /* until it is noticed that nobody answers */
    if (peer->life != conn->to_life) {
        break_conn(world, from, to);
        return;
    }
    size_t count = conn->held_count;
    conn->held_count = 0;
    conn->is_stalled = false;
    for (size_t i = 0; i < count; i++)
        deliver(world, from, to, conn->held[i].bytes, conn->held[i].len);
}

void world_net_connect(struct world *world, const struct thing *thing)
{
    struct sim_peer *from = &world->peers[thing->from];
    struct sim_peer *to = &world->peers[thing->to];
    struct conn *conn = world_conn(world, thing->from, thing->to);
    if (conn->state != CONN_CONNECTING || conn->epoch != thing->epoch)
        return;
    bool lost =
        conn->is_cut || world_conn(world, thing->to, thing->from)->is_cut;
    if (lost || !from->node || !to->node ||
        !shake_hands(world, from, to, conn)) {
        break_conn(world, thing->from, thing->to);
        return;
    }
    conn->state = CONN_UP;
    conn->arrival_ns = world->now;
    conn->to_life = to->life;
    send_held(world, thing->from, thing->to);
}

const char *world_type_name(uint8_t type)
{
    static const char *const NAMES[] = {
        "?",         "hello", "request", "response", "raft",  "chunk",
        "chunk-ack", "swim",  "gossip",  "digest",   "join",  "welcome",
        "report",    "step",  "gone",    "ring",     "model",
    };
    return type < sizeof NAMES / sizeof *NAMES ? NAMES[type] : "?";
}

void world_net_send(struct world *world, struct sim_peer *from,
                    const struct id *to_id, const char *addr,
                    const struct message *message)
{
    size_t to = world_peer_at(world, addr);
    struct message changed = *message;
    if (world->tamper && to != SIZE_MAX)
        world->tamper(world->tamper_context, from->index, to, &changed);
    message = &changed;
    buf_reset(&world->scratch);
    int rc = codec_pack(message, &world->scratch);
    if (rc != DLHT_OK) {
        world_fail(world, "codec", "n%u: a %s does not pack: %s",
                   (unsigned)from->index, world_type_name(message->type),
                   dlht_errname(rc));
        return;
    }
    if (to == SIZE_MAX || to == from->index) {
        tell_down(world, from->index, to_id, 10 * WORLD_MS);
        return;
    }
    struct conn *conn = world_conn(world, from->index, to);
    const struct world_net *net = &world->config.net;
    world->stats.frames++;
    world->stats.frame_bytes += world->scratch.len;
    if (message->type < WORLD_TYPES) {
        world->stats.type_frames[message->type]++;
        world->stats.type_bytes[message->type] += world->scratch.len;
    }
    if (world_is_traced(world))
        world_trace(world, "n%u>n%u %s, %zu bytes", (unsigned)from->index,
                    (unsigned)to, world_type_name(message->type),
                    world->scratch.len);
    /* A link is to one process: another at that address is met by a new one. */
    if (conn->state == CONN_UP && conn->to_life != world->peers[to].life &&
        !id_is_zero(to_id) && !id_equal(to_id, &conn->to_id))
        break_conn(world, from->index, to);
    if (conn->state == CONN_DOWN)
        connect(world, from, to);
    if (conn->state == CONN_UP && rng_chance(&world->rng, net->break_link)) {
        break_conn(world, from->index, to);
        return;
    }
    if (rng_chance(&world->rng, net->lose))
        return;
    struct span frame = buf_span(&world->scratch);
    if (conn->state == CONN_CONNECTING) {
        hold(conn, world_copy(frame), frame.len, to_id);
        return;
    }
    if (!id_is_zero(to_id) && !id_equal(to_id, &conn->to_id)) {
        tell_down(world, from->index, to_id, WORLD_US);
        return;
    }
    plan_frame(world, from->index, to, world_copy(frame), frame.len);
    if (rng_chance(&world->rng, net->duplicate))
        plan_frame(world, from->index, to, world_copy(frame), frame.len);
}

/* Kept until the way is free, or the sender gives up. */
static void stall(struct world *world, struct thing *thing, struct conn *conn)
{
    hold(conn, thing->bytes, thing->len, &conn->to_id);
    thing->bytes = NULL;
    if (conn->is_stalled || conn->is_clogged)
        return;
    conn->is_stalled = true;
    struct thing *end = world_plan(
        world, world_draw(world, STALL_MIN_NS, STALL_MAX_NS), THING_STALLED);
    end->from = thing->from;
    end->to = thing->to;
    end->epoch = conn->epoch;
}

void world_net_frame(struct world *world, struct thing *thing)
{
    struct conn *conn = world_conn(world, thing->from, thing->to);
    if (conn->epoch != thing->epoch)
        return;
    struct sim_peer *to = &world->peers[thing->to];
    if (conn->is_cut || conn->is_clogged || !to->node) {
        if (conn->state == CONN_UP)
            stall(world, thing, conn);
        return;
    }
    if (to->life != conn->to_life) {
        break_conn(world, thing->from, thing->to);
        return;
    }
    deliver(world, thing->from, thing->to, thing->bytes, thing->len);
    thing->bytes = NULL;
}

void world_net_stalled(struct world *world, const struct thing *thing)
{
    struct conn *conn = world_conn(world, thing->from, thing->to);
    if (conn->epoch == thing->epoch && conn->is_stalled)
        break_conn(world, thing->from, thing->to);
}

void world_cut(struct world *world, size_t from, size_t to, bool cut)
{
    struct conn *conn = world_conn(world, from, to);
    if (conn->is_cut == cut)
        return;
    conn->is_cut = cut;
    if (cut || conn->is_clogged)
        return;
    if (conn->state == CONN_UP && conn->held_count > 0 &&
        rng_chance(&world->rng, 0.5))
        break_conn(world, from, to);
    else
        release_held(world, from, to);
}

bool world_is_cut(const struct world *world, size_t from, size_t to)
{
    return world->conns[from * world->config.peer_count + to].is_cut;
}

void world_mend(struct world *world)
{
    size_t count = world->config.peer_count;
    world_trace(world, "all links are mended");
    for (size_t from = 0; from < count; from++)
        for (size_t to = 0; to < count; to++)
            world_cut(world, from, to, false);
}

void world_clog(struct world *world, size_t from, size_t to, uint64_t for_ns)
{
    struct conn *conn = world_conn(world, from, to);
    if (conn->is_clogged || from == to)
        return;
    world_trace(world, "link n%u>n%u is clogged for %.3f s", (unsigned)from,
                (unsigned)to, (double)for_ns / 1e9);
    conn->is_clogged = true;
    struct thing *thing = world_plan(world, for_ns, THING_CLOG_ENDS);
    thing->from = (uint32_t)from;
    thing->to = (uint32_t)to;
}

void world_net_clog_ends(struct world *world, const struct thing *thing)
{
    struct conn *conn = world_conn(world, thing->from, thing->to);
    conn->is_clogged = false;
    if (!conn->is_cut)
        release_held(world, thing->from, thing->to);
}

/* What a killed process has sent may still arrive. */
static void abandon_conn(struct world *world, size_t from, size_t to,
                         bool silent)
{
    struct conn *conn = world_conn(world, from, to);
    if (conn->state == CONN_UP && !silent)
        tell_down(world, to, &conn->from_id,
                  world_draw(world, WORLD_US, 50 * WORLD_MS));
    if (silent || rng_chance(&world->rng, 0.3))
        conn->epoch++;
    conn->state = CONN_DOWN;
    conn->is_stalled = false;
    drop_held(conn);
}

void world_net_peer_gone(struct world *world, size_t peer, bool silent)
{
    for (size_t i = 0; i < world->config.peer_count; i++) {
        abandon_conn(world, peer, i, silent);
        if (!silent)
            break_conn(world, i, peer);
    }
}

void world_set_tamper(struct world *world, world_tamper_fn fn, void *context)
{
    world->tamper = fn;
    world->tamper_context = context;
}

void world_set_net(struct world *world, const struct world_net *net)
{
    world->config.net = *net;
    size_t count = world->config.peer_count;
    for (size_t i = 0; i < count * count; i++)
        world->conns[i].delay_ns = 0;
}

void world_net_link_down(struct world *world, const struct thing *thing)
{
    struct sim_peer *peer = &world->peers[thing->to];
    if (!peer->node || peer->life != thing->epoch)
        return;
    world_feed(world, peer,
               &(struct input){ .kind = INPUT_LINK_DOWN, .id = thing->id });
}
