/* SPDX-License-Identifier: Apache-2.0 */

/* A peer's turns: what awaits it is stepped through its node, and the effects
 * are carried out. */

#include <assert.h>
#include <stdlib.h>

#include "dlht/err.h"
#include "node/spot.h"
#include "sim/world_inner.h"

enum {
    TURN_INPUTS_MAX = 48
};

void world_turn_plan(struct world *world, struct sim_peer *peer, uint64_t time)
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
    world_turn_plan(world, peer,
                    world->now + world_draw(world, WORLD_US, 60 * WORLD_US));
}

void world_turn_drop_inputs(struct sim_peer *peer)
{
    for (size_t i = 0; i < peer->input_count; i++)
        free(peer->inputs[(peer->input_head + i) % peer->input_cap].bytes);
    peer->input_count = 0;
    peer->input_head = 0;
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
        world_client_effect(world, peer, effect);
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
    case EFFECT_JOB:
    case EFFECT_FILE_JOB:
        world_job_effect(world, peer, effect);
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

bool world_turn_effects(struct world *world, struct sim_peer *peer, int rc)
{
    uint64_t life = peer->life;
    if (rc != DLHT_OK) {
        world_fail(world, "step", "node_step: %s", dlht_errname(rc));
        return false;
    }
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

bool world_turn_step(struct world *world, struct sim_peer *peer,
                     const struct event *event)
{
    int rc = node_step(peer->node, event, &peer->effects);
    world_fold(world, (uint64_t)event->kind << 32 | peer->effects.count);
    return world_turn_effects(world, peer, rc);
}

/* As a door may, of every other request that suits: done, or begun, without an
 * event. False: it was not. */
static bool answer_at_once(struct world *world, struct sim_peer *peer,
                           const struct event *event)
{
    const struct request *q = event->u.request.request;
    struct effect effect = { .kind = EFFECT_REPLY };
    struct spot spot;
    if (event->u.request.ticket % 2 == 0)
        return false;
    spot_find(peer->node, event->now_ns, &q, 1, &spot);
    if (!spot_answer(peer->node, &spot, q->op, q->value,
                     &effect.u.reply.response)) {
        bool begun =
            spot_propose(peer->node, &spot, q, event->u.request.ticket);
        world->stats.begun += begun;
        return begun;
    }
    effect.u.reply.ticket = event->u.request.ticket;
    world->stats.at_once++;
    world_client_effect(world, peer, &effect);
    return true;
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
        if (answer_at_once(world, peer, event))
            return !world->invariant;
    } else {
        event->kind = EVENT_MESSAGE;
        event->u.message.from = input->id;
        event->u.message.message = &message;
    }
    return world_turn_step(world, peer, event);
}

static bool step_input(struct world *world, struct sim_peer *peer,
                       const struct input *input)
{
    struct event event = { .now_ns = world_clock_now(world, peer) };
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
    case INPUT_JOB:
        event.kind = EVENT_JOB;
        event.u.job.number = input->number;
        break;
    case INPUT_STOP:
        event.kind = EVENT_STOP;
        break;
    }
    return world_turn_step(world, peer, &event);
}

/* One sync served it and the next: of every other the disk need not tell. */
static bool is_told_by_next(const struct sim_peer *peer,
                            const struct input *input)
{
    const struct input *next = &peer->inputs[peer->input_head];
    return input->kind == INPUT_SYNCED && input->status == DLHT_OK &&
           input->number % 2 == 1 && peer->input_count > 0 &&
           next->kind == INPUT_SYNCED && next->status == DLHT_OK;
}

static bool step_inputs(struct world *world, struct sim_peer *peer)
{
    size_t budget = (size_t)world_draw(world, 1, TURN_INPUTS_MAX);
    while (budget-- > 0 && peer->input_count > 0) {
        struct input input = peer->inputs[peer->input_head];
        peer->input_head = (peer->input_head + 1) % peer->input_cap;
        peer->input_count--;
        bool alive =
            is_told_by_next(peer, &input) || step_input(world, peer, &input);
        free(input.bytes);
        if (!alive)
            return false;
    }
    return true;
}

static void turn(struct world *world, struct sim_peer *peer)
{
    if (world->now < peer->paused_until) {
        world_turn_plan(world, peer, peer->paused_until);
        return;
    }
    world->stats.turns++;
    struct event event = { .kind = EVENT_TICK,
                           .now_ns = world_clock_now(world, peer) };
    if (node_next_timeout_ns(peer->node) <= event.now_ns &&
        !world_turn_step(world, peer, &event))
        return;
    if (!step_inputs(world, peer))
        return;
    event.kind = EVENT_FLUSH;
    if (!world_turn_step(world, peer, &event))
        return;
    if (world->config.on_turn)
        world->config.on_turn(world->config.context, peer->index);
    if (!peer->node)
        return;
    if (peer->input_count > 0)
        world_turn_plan(world, peer,
                        world->now +
                            world_draw(world, 2 * WORLD_US, 20 * WORLD_US));
    uint64_t due = node_next_timeout_ns(peer->node);
    if (due != UINT64_MAX) {
        /* A wake-up is never quite in time; and a due tick that does not go
         * away must not stop the world. */
        uint64_t late = world_draw(world, 20 * WORLD_US, 600 * WORLD_US);
        uint64_t time = world_clock_when(world, peer, due);
        world_turn_plan(world, peer, time == UINT64_MAX ? time : time + late);
    }
}

void world_turn(struct world *world, const struct thing *thing)
{
    struct sim_peer *peer = &world->peers[thing->to];
    if (!peer->node || thing->time != peer->turn_at)
        return;
    peer->turn_at = UINT64_MAX;
    turn(world, peer);
}
