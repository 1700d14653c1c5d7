/* SPDX-License-Identifier: Apache-2.0 */

/* Clients beside the nodes: each open request has a ticket. */

#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "sim/world_inner.h"

/* To a client beside the node, at most. */
static const uint64_t CLIENT_DELAY_NS = 100 * WORLD_US;

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

void world_client_effect(struct world *world, struct sim_peer *peer,
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

void world_client_peer_gone(struct world *world, size_t peer)
{
    for (size_t i = 0; i < world->ticket_count; i++) {
        struct ticket *ticket = &world->tickets[i];
        if (ticket->peer != peer)
            continue;
        ticket->peer = UINT32_MAX;
        plan_reply(world, ticket, span_empty());
    }
}

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

int world_tell(struct world *world, size_t index, const struct message *message)
{
    struct sim_peer *peer = &world->peers[index];
    assert(peer->node);
    buf_reset(&world->scratch);
    int rc = codec_pack(message, &world->scratch);
    if (rc != DLHT_OK)
        return rc;
    struct input input = { .kind = INPUT_FRAME,
                           .id = peer->id,
                           .bytes = world_copy(buf_span(&world->scratch)),
                           .len = world->scratch.len };
    world_feed(world, peer, &input);
    return DLHT_OK;
}

size_t world_open_requests(const struct world *world)
{
    return world->ticket_count;
}

void world_client_request(struct world *world, struct thing *thing)
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

void world_client_reply(struct world *world, struct thing *thing)
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
