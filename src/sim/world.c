/* SPDX-License-Identifier: Apache-2.0 */

/* The heap of things to come, processes and their turns. */

#include "sim/world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "sim/world_inner.h"

enum {
    TURN_INPUTS_MAX = 48
};

/* To a client beside the node, at most. */
static const uint64_t CLIENT_DELAY_NS = 100 * WORLD_US;

static const uint64_t EVENTS_MAX_DEFAULT = 50000000;

void world_config_default(struct world_config *config)
{
    memset(config, 0, sizeof *config);
    config->peer_count = 1;
    node_config_default(&config->node);
    config->node.durable = true;
    config->net.delay_min_ns = 100 * WORLD_US;
    config->net.delay_max_ns = 2 * WORLD_MS;
    config->net.jitter_ns = 500 * WORLD_US;
    config->disk.sync_min_ns = 200 * WORLD_US;
    config->disk.sync_max_ns = 3 * WORLD_MS;
    config->segment_bytes = 256 << 10;
    config->drift_ppm_max = 10000;
}

/* A simulator that runs out of memory has no story to tell. */
void *world_alloc(size_t count, size_t size)
{
    void *memory = mem_zero(count, size);
    if (!memory) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    return memory;
}

uint8_t *world_copy(struct span bytes)
{
    uint8_t *copy = world_alloc(bytes.len, 1);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    return copy;
}

uint64_t world_draw(struct world *world, uint64_t lo, uint64_t hi)
{
    return lo >= hi ? lo : rng_range(&world->rng, lo, hi);
}

void world_fold(struct world *world, uint64_t value)
{
    world->hash = hash64_mix(world->hash, value);
}

bool world_is_traced(const struct world *world)
{
    return world->config.trace != NULL;
}

void world_trace(struct world *world, const char *format, ...)
{
    if (!world->config.trace)
        return;
    char line[WORLD_TEXT_MAX];
    int n = snprintf(line, sizeof line, "%12.6f ", (double)world->now / 1e9);
    va_list args;
    va_start(args, format);
    vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    world->config.trace(world->config.trace_context, line);
}

void world_fail(struct world *world, const char *invariant, const char *format,
                ...)
{
    if (world->invariant)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(world->text, sizeof world->text, format, args);
    va_end(args);
    world->invariant = invariant;
    world_trace(world, "FAILED %s: %s", invariant, world->text);
}

const char *world_failure(const struct world *world, const char **text)
{
    if (text)
        *text = world->invariant ? world->text : NULL;
    return world->invariant;
}

/* Heap. */

static bool is_before(const struct thing *a, const struct thing *b)
{
    if (a->time != b->time)
        return a->time < b->time;
    return a->sequence < b->sequence;
}

static void heap_push(struct world *world, struct thing *thing)
{
    if (world->heap_count == world->heap_cap) {
        size_t cap = world->heap_cap ? world->heap_cap * 2 : 1024;
        void *heap = mem_resize(world->heap, cap, sizeof *world->heap);
        if (!heap)
            abort();
        world->heap = heap;
        world->heap_cap = cap;
    }
    size_t at = world->heap_count++;
    while (at > 0 && is_before(thing, world->heap[(at - 1) / 2])) {
        world->heap[at] = world->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->heap[at] = thing;
}

static struct thing *heap_pop(struct world *world)
{
    struct thing *top = world->heap[0];
    struct thing *last = world->heap[--world->heap_count];
    size_t count = world->heap_count, at = 0;
    while (2 * at + 1 < count) {
        size_t child = 2 * at + 1;
        if (child + 1 < count &&
            is_before(world->heap[child + 1], world->heap[child]))
            child++;
        if (!is_before(world->heap[child], last))
            break;
        world->heap[at] = world->heap[child];
        at = child;
    }
    if (count > 0)
        world->heap[at] = last;
    return top;
}

struct thing *world_plan(struct world *world, uint64_t delay_ns,
                         enum thing_kind kind)
{
    struct thing *thing = world->spare;
    if (thing)
        world->spare = thing->context;
    else
        thing = world_alloc(1, sizeof *thing);
    memset(thing, 0, sizeof *thing);
    thing->time = world->now + delay_ns;
    thing->sequence = ++world->sequence;
    thing->kind = kind;
    heap_push(world, thing);
    return thing;
}

static void thing_done(struct world *world, struct thing *thing)
{
    free(thing->bytes);
    thing->bytes = NULL;
    thing->context = world->spare;
    world->spare = thing;
}

void world_after(struct world *world, uint64_t delay_ns, world_fn fn,
                 void *context, uint64_t argument)
{
    struct thing *thing = world_plan(world, delay_ns, THING_CALL);
    thing->call = fn;
    thing->context = context;
    thing->argument = argument;
}

/* Clocks. */

static uint64_t drifted(uint64_t elapsed, int64_t ppm)
{
    return (uint64_t)((int64_t)elapsed + (int64_t)(elapsed / 1000000) * ppm +
                      (int64_t)(elapsed % 1000000) * ppm / 1000000);
}

static uint64_t local_now(const struct world *world,
                          const struct sim_peer *peer)
{
    return peer->clock_base +
           drifted(world->now - peer->clock_boot_ns, peer->drift_ppm);
}

/* When the peer's clock shows that, in the world's time. */
static uint64_t world_time(const struct world *world,
                           const struct sim_peer *peer, uint64_t local)
{
    uint64_t now = local_now(world, peer);
    if (local <= now)
        return world->now;
    uint64_t wait = local - now;
    if (wait > 100000 * WORLD_S)
        return UINT64_MAX;
    uint64_t rate = (uint64_t)(1000000 + peer->drift_ppm);
    return world->now + wait / rate * 1000000 + wait % rate * 1000000 / rate +
           2;
}

static void start_clock(struct world *world, struct sim_peer *peer)
{
    int64_t max = (int64_t)world->config.drift_ppm_max;
    peer->drift_ppm =
        (int64_t)rng_below(&world->rng, (uint64_t)(2 * max + 1)) - max;
    peer->clock_boot_ns = world->now;
    peer->clock_base = world_draw(world, WORLD_S, 1000000 * WORLD_S);
}

/* Turns. */

static void plan_turn(struct world *world, struct sim_peer *peer, uint64_t time)
{
    if (time < peer->paused_until)
        time = peer->paused_until;
    if (time == UINT64_MAX || time >= peer->turn_at)
        return;
    struct thing *thing = world_plan(world, time - world->now, THING_TURN);
    thing->to = peer->index;
    peer->turn_at = time;
}

void world_feed(struct world *world, struct sim_peer *peer,
                const struct input *input)
{
    assert(peer->node);
    if (peer->input_count == peer->input_cap) {
        size_t cap = peer->input_cap ? peer->input_cap * 2 : 64;
        struct input *all = world_alloc(cap, sizeof *all);
        for (size_t i = 0; i < peer->input_count; i++)
            all[i] = peer->inputs[(peer->input_head + i) % peer->input_cap];
        free(peer->inputs);
        peer->inputs = all;
        peer->input_cap = cap;
        peer->input_head = 0;
    }
    size_t at = (peer->input_head + peer->input_count++) % peer->input_cap;
    peer->inputs[at] = *input;
    plan_turn(world, peer,
              world->now + world_draw(world, WORLD_US, 60 * WORLD_US));
}

static void drop_inputs(struct sim_peer *peer)
{
    for (size_t i = 0; i < peer->input_count; i++)
        free(peer->inputs[(peer->input_head + i) % peer->input_cap].bytes);
    peer->input_count = 0;
    peer->input_head = 0;
}

static struct ticket *find_ticket(struct world *world, uint64_t number)
{
    for (size_t i = 0; i < world->ticket_count; i++) {
        if (world->tickets[i].number == number)
            return &world->tickets[i];
    }
    return NULL;
}

static void drop_ticket(struct world *world, struct ticket *ticket)
{
    size_t at = (size_t)(ticket - world->tickets);
    world->ticket_count--;
    memmove(ticket, ticket + 1,
            (world->ticket_count - at) * sizeof *world->tickets);
}

static void plan_reply(struct world *world, struct ticket *ticket,
                       struct span frame)
{
    uint64_t delay = world_draw(world, WORLD_US, CLIENT_DELAY_NS);
    struct thing *thing = world_plan(world, delay, THING_REPLY);
    thing->argument = ticket->number;
    if (frame.len) {
        thing->bytes = world_copy(frame);
        thing->len = frame.len;
    }
}

static void effect_reply(struct world *world, struct sim_peer *peer,
                         const struct effect *effect)
{
    struct ticket *ticket = find_ticket(world, effect->u.reply.ticket);
    if (!ticket || ticket->peer != peer->index) {
        world_fail(world, "reply_once", "peer %u answered request %llu twice",
                   (unsigned)peer->index,
                   (unsigned long long)effect->u.reply.ticket);
        return;
    }
    struct message message = { .type = MESSAGE_RESPONSE,
                               .stream = (uint32_t)ticket->number };
    message.u.response = effect->u.reply.response;
    buf_reset(&world->scratch);
    int rc = codec_pack(&message, &world->scratch);
    if (rc != DLHT_OK) {
        world_fail(world, "codec", "a response does not pack: %s",
                   dlht_errname(rc));
        return;
    }
    ticket->peer = UINT32_MAX; /* answered: a crash does not take it back */
    plan_reply(world, ticket, buf_span(&world->scratch));
}

static const char *level_name(enum log_level level)
{
    static const char *const NAMES[] = { "debug", "info", "warning", "error" };
    return level <= LOG_ERROR ? NAMES[level] : "?";
}

static void carry_out(struct world *world, struct sim_peer *peer,
                      const struct effect *effect)
{
    switch (effect->kind) {
    case EFFECT_SEND:
        world_net_send(world, peer, &effect->u.send.to, effect->u.send.addr,
                       &effect->u.send.message);
        break;
    case EFFECT_REPLY:
        effect_reply(world, peer, effect);
        break;
    case EFFECT_APPEND:
    case EFFECT_SYNC:
    case EFFECT_RELEASE:
    case EFFECT_CHECKPOINT_BEGIN:
    case EFFECT_CHECKPOINT_ADD:
    case EFFECT_CHECKPOINT_END:
    case EFFECT_CHECKPOINT_ABORT:
    case EFFECT_CHECKPOINT_REMOVE:
        world_disk_effect(world, peer, effect);
        break;
    case EFFECT_LOG:
        world_trace(world, "n%u %s: %s", (unsigned)peer->index,
                    level_name(effect->u.log.level), effect->u.log.text);
        break;
    case EFFECT_READY:
        world_trace(world, "n%u ready", (unsigned)peer->index);
        peer->ready = true;
        break;
    case EFFECT_STOPPED:
        world_exit(world, peer, DLHT_OK, "stopped");
        break;
    case EFFECT_FAILED:
        world_exit(world, peer, effect->u.failed.status, effect->u.failed.text);
        break;
    }
}

/* One event and its effects. False: the peer's process is over. */
static bool step(struct world *world, struct sim_peer *peer,
                 const struct event *event)
{
    uint64_t life = peer->life;
    int rc = node_step(peer->node, event, &peer->effects);
    if (rc != DLHT_OK) {
        world_fail(world, "step", "node_step: %s", dlht_errname(rc));
        return false;
    }
    world_fold(world, (uint64_t)event->kind << 32 | peer->effects.count);
    struct effects effects = peer->effects;
    peer->effects = (struct effects){ 0 };
    for (size_t i = 0; i < effects.count && peer->life == life; i++)
        carry_out(world, peer, &effects.list[i]);
    if (peer->life == life) {
        peer->effects = effects;
    } else {
        effects_deinit(&effects);
    }
    return peer->life == life && !world->invariant;
}

static bool step_frame(struct world *world, struct sim_peer *peer,
                       const struct input *input, struct event *event)
{
    struct message message;
    int rc = codec_unpack(span_of(input->bytes, input->len), &world->arena,
                          &message);
    if (rc != DLHT_OK) {
        world_fail(
            world, "codec", "a frame of type %u to n%u does not unpack: %s",
            (unsigned)input->bytes[2], (unsigned)peer->index, dlht_errname(rc));
        return false;
    }
    if (input->kind == INPUT_REQUEST) {
        event->kind = EVENT_REQUEST;
        event->u.request.ticket = input->number;
        event->u.request.request = &message.u.request;
    } else {
        event->kind = EVENT_MESSAGE;
        event->u.message.from = input->id;
        event->u.message.message = &message;
    }
    return step(world, peer, event);
}

static bool step_input(struct world *world, struct sim_peer *peer,
                       const struct input *input)
{
    struct event event = { .now_ns = local_now(world, peer) };
    switch (input->kind) {
    case INPUT_FRAME:
    case INPUT_REQUEST:
        return step_frame(world, peer, input, &event);
    case INPUT_LINK_DOWN:
        event.kind = EVENT_LINK_DOWN;
        event.u.link.peer = input->id;
        break;
    case INPUT_SYNCED:
        event.kind = EVENT_SYNCED;
        event.u.synced.number = input->number;
        event.u.synced.status = input->status;
        event.u.synced.journal_bytes = input->journal_bytes;
        event.u.synced.pinning_arc = input->arc;
        break;
    case INPUT_CHECKPOINT:
        event.kind = EVENT_CHECKPOINT;
        event.u.checkpoint.arc = input->arc;
        event.u.checkpoint.number = input->number;
        event.u.checkpoint.status = input->status;
        break;
    case INPUT_STOP:
        event.kind = EVENT_STOP;
        break;
    }
    return step(world, peer, &event);
}

static bool step_inputs(struct world *world, struct sim_peer *peer)
{
    size_t budget = (size_t)world_draw(world, 1, TURN_INPUTS_MAX);
    while (budget-- > 0 && peer->input_count > 0) {
        struct input input = peer->inputs[peer->input_head];
        peer->input_head = (peer->input_head + 1) % peer->input_cap;
        peer->input_count--;
        bool alive = step_input(world, peer, &input);
        free(input.bytes);
        if (!alive)
            return false;
    }
    return true;
}

static void turn(struct world *world, struct sim_peer *peer)
{
    if (world->now < peer->paused_until) {
        plan_turn(world, peer, peer->paused_until);
        return;
    }
    world->stats.turns++;
    struct event event = { .kind = EVENT_TICK,
                           .now_ns = local_now(world, peer) };
    if (node_next_timeout_ns(peer->node) <= event.now_ns &&
        !step(world, peer, &event))
        return;
    if (!step_inputs(world, peer))
        return;
    event.kind = EVENT_FLUSH;
    if (!step(world, peer, &event))
        return;
    if (world->config.on_turn)
        world->config.on_turn(world->config.context, peer->index);
    if (!peer->node)
        return;
    if (peer->input_count > 0)
        plan_turn(world, peer,
                  world->now + world_draw(world, 2 * WORLD_US, 20 * WORLD_US));
    uint64_t due = node_next_timeout_ns(peer->node);
    if (due != UINT64_MAX) {
        /* A wake-up is never quite in time; and a due tick that does not go
         * away must not stop the world. */
        uint64_t late = world_draw(world, 20 * WORLD_US, 600 * WORLD_US);
        uint64_t time = world_time(world, peer, due);
        plan_turn(world, peer, time == UINT64_MAX ? time : time + late);
    }
}

/* Processes. */

enum end {
    END_CLEAN,
    END_KILLED,
    END_POWER
};

static void end_process(struct world *world, struct sim_peer *peer,
                        enum end end)
{
    assert(peer->node);
    node_free(peer->node);
    peer->node = NULL;
    effects_deinit(&peer->effects);
    peer->effects = (struct effects){ 0 };
    peer->ready = false;
    peer->stopping = false;
    peer->life++;
    peer->turn_at = UINT64_MAX;
    peer->paused_until = 0;
    drop_inputs(peer);
    if (end == END_CLEAN)
        world_disk_close(peer);
    else
        world_disk_crash(world, peer, end == END_POWER);
    world_net_peer_gone(world, peer->index, end == END_POWER);
    for (size_t i = 0; i < world->ticket_count; i++) {
        struct ticket *ticket = &world->tickets[i];
        if (ticket->peer != peer->index)
            continue;
        ticket->peer = UINT32_MAX;
        plan_reply(world, ticket, span_empty());
    }
}

void world_exit(struct world *world, struct sim_peer *peer, int status,
                const char *text)
{
    char copy[128];
    snprintf(copy, sizeof copy, "%s", text ? text : "");
    world_trace(world, "n%u exits, %s: %s", (unsigned)peer->index,
                dlht_errname(status), copy);
    end_process(world, peer, status == DLHT_OK ? END_CLEAN : END_KILLED);
    if (world->config.on_exit)
        world->config.on_exit(world->config.context, peer->index, status, copy);
}

static void fill_config(struct world *world, struct sim_peer *peer,
                        struct node_config *config)
{
    *config = world->config.node;
    memcpy(config->addr, peer->addr, sizeof config->addr);
    config->bootstrap_count = peer->bootstrap_count;
    for (size_t i = 0; i < peer->bootstrap_count; i++)
        memcpy(config->bootstrap[i], world->peers[peer->bootstrap[i]].addr,
               sizeof config->bootstrap[i]);
    if (world->config.mixed_maps)
        config->map_fingers = peer->index % 2 == 1;
    config->seed = rng_next(&world->rng);
}

void world_start(struct world *world, size_t index)
{
    struct sim_peer *peer = &world->peers[index];
    assert(!peer->node);
    struct node_config config;
    fill_config(world, peer, &config);
    if (peer->starts > 0)
        world->stats.restarts++;
    peer->starts++;
    peer->wanted = true;
    peer->life++;
    int rc = node_new(&config, &peer->node);
    if (rc != DLHT_OK) {
        world_fail(world, "start", "node_new: %s", dlht_errname(rc));
        return;
    }
    world_trace(world, "n%u starts, %u bootstrap", (unsigned)index,
                (unsigned)config.bootstrap_count);
    const char *text = "";
    if (config.durable)
        rc = world_disk_recover(world, peer, &text);
    if (world->invariant)
        return;
    if (rc != DLHT_OK) {
        world_exit(world, peer, rc, text);
        return;
    }
    struct event event = { .kind = EVENT_BOOT,
                           .now_ns = local_now(world, peer) };
    if (!step(world, peer, &event))
        return;
    struct hello hello;
    node_hello(peer->node, &hello);
    peer->id = hello.peer;
    world_trace(world, "n%u is incarnation %llu", (unsigned)index,
                (unsigned long long)hello.incarnation);
    event.kind = EVENT_FLUSH;
    if (!step(world, peer, &event))
        return;
    plan_turn(world, peer, world->now + WORLD_MS);
}

void world_crash(struct world *world, size_t index, bool power)
{
    struct sim_peer *peer = &world->peers[index];
    assert(peer->node);
    world_trace(world, "n%u crashes%s", (unsigned)index,
                power ? ", power lost" : "");
    world->stats.crashes++;
    end_process(world, peer, power ? END_POWER : END_KILLED);
    if (power)
        start_clock(world, peer);
}

void world_stop(struct world *world, size_t index)
{
    struct sim_peer *peer = &world->peers[index];
    if (peer->stopping)
        return;
    peer->stopping = true;
    world_trace(world, "n%u is asked to stop", (unsigned)index);
    world_feed(world, peer, &(struct input){ .kind = INPUT_STOP });
}

void world_pause(struct world *world, size_t index, uint64_t for_ns)
{
    struct sim_peer *peer = &world->peers[index];
    world_trace(world, "n%u pauses for %.3f s", (unsigned)index,
                (double)for_ns / 1e9);
    uint64_t until = world->now + for_ns;
    if (peer->paused_until < until)
        peer->paused_until = until;
}

void world_set_bootstrap(struct world *world, size_t index, const size_t *from,
                         size_t count)
{
    struct sim_peer *peer = &world->peers[index];
    assert(count <= NODE_BOOTSTRAP_MAX);
    for (size_t i = 0; i < count; i++) {
        assert(from[i] < world->config.peer_count);
        peer->bootstrap[i] = from[i];
    }
    peer->bootstrap_count = count;
}

bool world_is_wanted(const struct world *world, size_t peer)
{
    return world->peers[peer].wanted;
}

void world_set_wanted(struct world *world, size_t peer, bool wanted)
{
    world->peers[peer].wanted = wanted;
}

bool world_is_up(const struct world *world, size_t peer)
{
    return world->peers[peer].node != NULL;
}

bool world_is_ready(const struct world *world, size_t peer)
{
    return world->peers[peer].node && world->peers[peer].ready;
}

uint32_t world_starts(const struct world *world, size_t peer)
{
    return world->peers[peer].starts;
}

struct node *world_node(const struct world *world, size_t peer)
{
    return world->peers[peer].node;
}

uint64_t world_local_ns(const struct world *world, size_t peer)
{
    return local_now(world, &world->peers[peer]);
}

size_t world_peer_count(const struct world *world)
{
    return world->config.peer_count;
}

const char *world_addr(const struct world *world, size_t peer)
{
    return world->peers[peer].addr;
}

size_t world_peer_of(const struct world *world, const struct id *id)
{
    for (size_t i = 0; i < world->config.peer_count; i++) {
        if (id_equal(&world->peers[i].id, id))
            return i;
    }
    return SIZE_MAX;
}

/* Addresses are 10.0.A.B:9000, B from 1 to 250. */
size_t world_peer_at(const struct world *world, const char *addr)
{
    unsigned a = 0, b = 0;
    const char *at = addr + 5;
    if (strncmp(addr, "10.0.", 5) != 0)
        return SIZE_MAX;
    for (; *at >= '0' && *at <= '9'; at++)
        a = a * 10 + (unsigned)(*at - '0');
    if (*at++ != '.')
        return SIZE_MAX;
    for (; *at >= '0' && *at <= '9'; at++)
        b = b * 10 + (unsigned)(*at - '0');
    size_t index = (size_t)a * 250 + b - 1;
    if (b == 0 || index >= world->config.peer_count ||
        strcmp(addr, world->peers[index].addr) != 0)
        return SIZE_MAX;
    return index;
}

/* Clients. */

int world_request(struct world *world, size_t index,
                  const struct request *request, world_reply_fn fn,
                  void *context, uint64_t argument)
{
    assert(world->peers[index].node);
    struct message message = { .type = MESSAGE_REQUEST,
                               .stream = (uint32_t)world->ticket_last + 1 };
    message.u.request = *request;
    buf_reset(&world->scratch);
    int rc = codec_pack(&message, &world->scratch);
    if (rc != DLHT_OK)
        return rc;
    if (world->ticket_count == world->ticket_cap) {
        size_t cap = world->ticket_cap ? world->ticket_cap * 2 : 64;
        void *all = mem_resize(world->tickets, cap, sizeof *world->tickets);
        if (!all)
            return DLHT_ENOMEM;
        world->tickets = all;
        world->ticket_cap = cap;
    }
    world->tickets[world->ticket_count++] =
        (struct ticket){ .number = ++world->ticket_last,
                         .peer = (uint32_t)index,
                         .fn = fn,
                         .context = context,
                         .argument = argument };
    world->stats.requests++;
    uint64_t delay = world_draw(world, WORLD_US, CLIENT_DELAY_NS);
    struct thing *thing = world_plan(world, delay, THING_REQUEST);
    thing->to = (uint32_t)index;
    thing->epoch = world->peers[index].life;
    thing->argument = world->ticket_last;
    thing->len = world->scratch.len;
    thing->bytes = world_copy(buf_span(&world->scratch));
    return DLHT_OK;
}

size_t world_open_requests(const struct world *world)
{
    return world->ticket_count;
}

static void do_request(struct world *world, struct thing *thing)
{
    struct sim_peer *peer = &world->peers[thing->to];
    if (peer->life != thing->epoch)
        return; /* its ticket was answered by the crash */
    struct input input = { .kind = INPUT_REQUEST,
                           .number = thing->argument,
                           .bytes = thing->bytes,
                           .len = thing->len };
    thing->bytes = NULL;
    world_feed(world, peer, &input);
}

static void do_reply(struct world *world, struct thing *thing)
{
    struct ticket *found = find_ticket(world, thing->argument);
    assert(found);
    struct ticket ticket = *found;
    drop_ticket(world, found);
    world->stats.replies++;
    if (!thing->bytes) {
        ticket.fn(ticket.context, ticket.argument, NULL);
        return;
    }
    struct message message;
    int rc = codec_unpack(span_of(thing->bytes, thing->len), &world->arena,
                          &message);
    if (rc != DLHT_OK || message.type != MESSAGE_RESPONSE) {
        world_fail(world, "codec", "a response does not unpack: %s",
                   dlht_errname(rc));
        return;
    }
    world_fold(world, hash64(span_of(thing->bytes, thing->len)));
    ticket.fn(ticket.context, ticket.argument, &message.u.response);
}

static void do_link_down(struct world *world, const struct thing *thing)
{
    struct sim_peer *peer = &world->peers[thing->to];
    if (!peer->node || peer->life != thing->epoch)
        return;
    world_feed(world, peer,
               &(struct input){ .kind = INPUT_LINK_DOWN, .id = thing->id });
}

static void do_turn(struct world *world, const struct thing *thing)
{
    struct sim_peer *peer = &world->peers[thing->to];
    if (!peer->node || thing->time != peer->turn_at)
        return;
    peer->turn_at = UINT64_MAX;
    turn(world, peer);
}

static void do_thing(struct world *world, struct thing *thing)
{
    switch (thing->kind) {
    case THING_CALL:
        thing->call(thing->context, thing->argument);
        break;
    case THING_TURN:
        do_turn(world, thing);
        break;
    case THING_CONNECT:
        world_net_connect(world, thing);
        break;
    case THING_FRAME:
        world_net_frame(world, thing);
        break;
    case THING_STALLED:
        world_net_stalled(world, thing);
        break;
    case THING_LINK_DOWN:
        do_link_down(world, thing);
        break;
    case THING_CLOG_ENDS:
        world_net_clog_ends(world, thing);
        break;
    case THING_DISK:
        if (world->peers[thing->to].life == thing->epoch)
            world_disk_done(world, &world->peers[thing->to]);
        break;
    case THING_REQUEST:
        do_request(world, thing);
        break;
    case THING_REPLY:
        do_reply(world, thing);
        break;
    }
}

bool world_step(struct world *world)
{
    if (world->invariant || world->heap_count == 0)
        return false;
    struct thing *thing = heap_pop(world);
    assert(thing->time >= world->now);
    world->now = thing->time;
    world->stats.events++;
    if (world->stats.events > world->config.events_max)
        world_fail(world, "livelock", "more than %llu events",
                   (unsigned long long)world->config.events_max);
    world_fold(world, world->now ^ (uint64_t)thing->kind << 56 ^
                          (uint64_t)thing->to << 40);
    do_thing(world, thing);
    thing_done(world, thing);
    return !world->invariant;
}

bool world_run(struct world *world, uint64_t until_ns)
{
    while (!world->invariant && world->heap_count > 0 &&
           world->heap[0]->time <= until_ns)
        world_step(world);
    if (world->invariant)
        return false;
    if (world->now < until_ns)
        world->now = until_ns;
    return true;
}

uint64_t world_now_ns(const struct world *world)
{
    return world->now;
}

struct rng *world_rng(struct world *world)
{
    return &world->rng;
}

void world_stats(const struct world *world, struct world_stats *out)
{
    *out = world->stats;
}

uint64_t world_hash(const struct world *world)
{
    uint64_t hash = hash64_mix(world->hash, world->now);
    for (size_t i = 0; i < world->config.peer_count; i++) {
        const struct sim_peer *peer = &world->peers[i];
        hash = hash64_mix(hash, peer->node ? node_hash(peer->node) : i);
        hash = hash64_mix(hash, world_disk_hash(peer));
    }
    return hash;
}

int world_new(const struct world_config *config, struct world **out)
{
    *out = NULL;
    if (config->peer_count == 0 || config->peer_count > WORLD_PEERS_MAX ||
        config->drift_ppm_max > 500000)
        return DLHT_EINVAL;
    struct world *world = world_alloc(1, sizeof *world);
    world->config = *config;
    if (world->config.events_max == 0)
        world->config.events_max = EVENTS_MAX_DEFAULT;
    rng_init(&world->rng, config->seed);
    size_t count = config->peer_count;
    world->peers = world_alloc(count, sizeof *world->peers);
    world->conns = world_alloc(count * count, sizeof *world->conns);
    for (size_t i = 0; i < count; i++) {
        struct sim_peer *peer = &world->peers[i];
        peer->index = (uint32_t)i;
        peer->turn_at = UINT64_MAX;
        snprintf(peer->addr, sizeof peer->addr, "10.0.%u.%u:9000",
                 (unsigned)(i / 250), (unsigned)(i % 250 + 1));
        start_clock(world, peer);
        int rc = world_disk_init(world, peer);
        if (rc != DLHT_OK) {
            world_free(world);
            return rc;
        }
    }
    *out = world;
    return DLHT_OK;
}

void world_free(struct world *world)
{
    if (!world)
        return;
    for (size_t i = 0; i < world->config.peer_count; i++) {
        struct sim_peer *peer = &world->peers[i];
        node_free(peer->node);
        effects_deinit(&peer->effects);
        drop_inputs(peer);
        free(peer->inputs);
        world_disk_deinit(peer);
    }
    world_net_deinit(world);
    for (size_t i = 0; i < world->heap_count; i++) {
        free(world->heap[i]->bytes);
        free(world->heap[i]);
    }
    while (world->spare) {
        struct thing *next = world->spare->context;
        free(world->spare);
        world->spare = next;
    }
    free(world->heap);
    free(world->peers);
    free(world->conns);
    free(world->tickets);
    buf_deinit(&world->scratch);
    codec_arena_deinit(&world->arena);
    free(world);
}
