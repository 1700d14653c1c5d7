/* SPDX-License-Identifier: Apache-2.0 */

/* What an arc says: questions from their slots, answers and notices from a
 * queue. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "chord/order.h"
#include "chord/ring_state.h"
#include "dlht/err.h"

static void intent_free(struct intent *intent)
{
    arc_free(intent->target);
    free(intent->key);
    *intent = (struct intent){ 0 };
}

static void out_push(struct ring *ring, struct intent intent)
{
    if (ring->out_count == OUT_MAX) {
        intent_free(&intent);
        return;
    }
    ring->out[(ring->out_first + ring->out_count++) % OUT_MAX] = intent;
}

void ring_notify(struct ring *ring, const struct arc *target)
{
    if (pointers_is_self(&ring->p, target))
        return;
    struct intent intent = { .type = RING_NOTIFY, .to = target->id };
    intent.target = arc_copy(target);
    if (intent.target)
        out_push(ring, intent);
}

int ring_answer(struct ring *ring, const struct id *from, uint8_t type,
                const struct ring_message *message)
{
    struct intent intent = { .type = type, .to = message->self->id };
    intent.peer = *from;
    intent.number = message->number;
    intent.level = message->level;
    if (type == RING_FOUND) {
        intent.key_len = message->key.len;
        intent.key = mem_zero(1, intent.key_len);
        if (!intent.key)
            return DLHT_ENOMEM;
        if (intent.key_len)
            memcpy(intent.key, message->key.data, intent.key_len);
    }
    out_push(ring, intent);
    return DLHT_OK;
}

static void address(struct ring_send *out, const struct arc *target)
{
    out->to = target->id;
    out->key = target->lo;
    out->peer_count = arc_peers(target, out->peers);
}

static void take_question(struct ring *ring, enum slot_of which,
                          struct ring_send *out)
{
    struct slot *slot = &ring->slots[which];
    struct ring_message *message = &out->message;
    slot->to_send = false;
    address(out, slot->target);
    message->number = slot->number;
    message->type = RING_ASK;
    if (which == SLOT_FINGER) {
        message->type = RING_FINGER_ASK;
        message->level = slot->level;
    } else if (which == SLOT_FIND) {
        message->type = RING_FIND;
        message->key = order_end(ring->p.self);
    }
}

static void say(struct ring_message *message, const struct arc *arc)
{
    assert(message->arc_count < RING_LIST_MAX);
    message->arcs[message->arc_count++] = arc;
}

static void say_found(struct ring *ring, const struct intent *intent,
                      struct ring_message *message)
{
    struct span key = span_of(intent->key, intent->key_len);
    const struct ring *own = ring;
    struct lookup_view view = ring_view(&own);
    struct lookup_nearest nearest = { .key = key, .except = intent->to };
    nearest.has_from = true;
    nearest.from = ring->p.self->lo;
    nearest.count_max = RING_BEFORE_MAX;
    lookup_offer_view(&nearest, &view);
    for (size_t i = 0; i < nearest.count; i++)
        say(message, nearest.arcs[i]);
    struct lookup_nearest after = { .key = key, .except = intent->to };
    after.after = true;
    after.count_max = RING_AFTER_MAX;
    lookup_offer_view(&after, &view);
    for (size_t i = 0; i < after.count; i++)
        say(message, after.arcs[i]);
}

static void take_intent(struct ring *ring, struct ring_send *out)
{
    ring->taken = ring->out[ring->out_first];
    ring->out_first = (ring->out_first + 1) % OUT_MAX;
    ring->out_count--;
    const struct intent *intent = &ring->taken;
    struct ring_message *message = &out->message;
    if (intent->target) {
        address(out, intent->target);
    } else {
        out->to = intent->to;
        out->peers[out->peer_count++] = intent->peer;
    }
    message->type = intent->type;
    message->level = intent->level;
    message->number = intent->number;
    if (intent->type == RING_FOUND) {
        say_found(ring, intent, message);
    } else if (intent->type == RING_FINGER_ANSWER) {
        const struct arc *finger = ring_finger(ring, intent->level);
        if (finger && !pointers_is_self(&ring->p, finger))
            say(message, finger);
    } else if (intent->type == RING_ANSWER) {
        message->predecessor = ring->p.predecessor;
        for (size_t i = 0; i < ring->p.list_count; i++)
            say(message, ring->p.list[i]);
    }
}

bool ring_take(struct ring *ring, struct ring_send *out)
{
    intent_free(&ring->taken);
    *out = (struct ring_send){ 0 };
    if (ring->out_count > 0) {
        take_intent(ring, out);
    } else {
        size_t which = 0;
        while (which < SLOT_COUNT && !ring->slots[which].to_send)
            which++;
        if (which == SLOT_COUNT)
            return false;
        take_question(ring, (enum slot_of)which, out);
    }
    out->message.to = out->to;
    out->message.self = ring->p.self;
    return true;
}

void ring_say_deinit(struct ring *ring)
{
    for (; ring->out_count > 0; ring->out_count--) {
        intent_free(&ring->out[ring->out_first]);
        ring->out_first = (ring->out_first + 1) % OUT_MAX;
    }
    intent_free(&ring->taken);
}
