/* SPDX-License-Identifier: Apache-2.0 */

/* What others say to an arc. */

#include <assert.h>

#include "chord/ring_state.h"
#include "dlht/err.h"

/* After an answer: does a nearer one stand between us and it? */
static void look_behind(struct ring *ring, const struct ring_message *message)
{
    const struct arc *predecessor = message->predecessor;
    if (predecessor && pointers_is_before_head(&ring->p, predecessor) &&
        !ring_is_avoided(ring, predecessor->id))
        ring_consider(ring, predecessor);
    else
        ring_notify(ring, pointers_successor(&ring->p, 0));
}

static int receive_answer(struct ring *ring, const struct ring_message *message)
{
    const struct arc *from = message->self;
    enum slot_of which = SLOT_COUNT;
    for (size_t i = SLOT_HEAD; i <= SLOT_PREDECESSOR; i++) {
        const struct slot *slot = &ring->slots[i];
        if (slot->target && slot->number == message->number &&
            slot->target->id == from->id)
            which = (enum slot_of)i;
    }
    if (which == SLOT_COUNT)
        return DLHT_OK; /* late, or not asked for */
    ring_slot_end(ring, which);
    if (which == SLOT_PREDECESSOR)
        return DLHT_OK; /* it lives: the claim is void */
    bool is_head = pointers_successor(&ring->p, 0)->id == from->id;
    if (which == SLOT_HEAD && !is_head)
        return DLHT_OK; /* step 2 was quicker */
    if (which == SLOT_CANDIDATE) {
        pointers_clear(&ring->p.candidate);
        /* One that has not joined has no list to go on with, unless it stands
         * where we end and so must be our successor. */
        bool joined =
            message->arc_count > 0 || pointers_is_exact(&ring->p, from);
        bool better = pointers_is_before_head(&ring->p, from) || is_head;
        if (!better || !(joined || ring->p.list_count == 0))
            return DLHT_OK;
    }
    int rc = pointers_adopt(&ring->p, from, message->arcs, message->arc_count);
    if (rc != DLHT_OK)
        return rc;
    ring_sync_candidate(ring);
    look_behind(ring, message);
    return DLHT_OK;
}

static void receive_found(struct ring *ring, const struct ring_message *message)
{
    const struct slot *slot = &ring->slots[SLOT_FIND];
    if (!slot->target || slot->number != message->number ||
        slot->target->id != message->self->id)
        return;
    assert(ring->finding);
    ring_slot_end(ring, SLOT_FIND);
    ring_consider(ring, message->self);
    if (lookup_answered(&ring->find, message->self) != DLHT_OK) {
        ring_find_end(ring);
        return;
    }
    for (size_t i = 0; i < message->arc_count; i++) {
        ring_consider(ring, message->arcs[i]);
        if (lookup_add(&ring->find, message->arcs[i]) != DLHT_OK)
            break;
    }
    ring_find_step(ring);
}

static void receive_finger(struct ring *ring,
                           const struct ring_message *message)
{
    const struct slot *slot = &ring->slots[SLOT_FINGER];
    if (!slot->target || slot->number != message->number ||
        slot->target->id != message->self->id || slot->level != message->level)
        return;
    ring_finger_found(ring, message->arc_count ? message->arcs[0] : NULL);
}

static bool is_sane(const struct ring *ring, const struct ring_message *message)
{
    const struct arc *self = message->self;
    if (message->type < RING_ASK || message->type > RING_FOUND || !self ||
        !arc_is_sane(self) || self->keyspace != ring->p.self->keyspace ||
        message->arc_count > RING_LIST_MAX || message->level >= RING_LEVELS_MAX)
        return false;
    if (message->to != ring->p.self->id || pointers_is_self(&ring->p, self))
        return false;
    if (message->predecessor && !arc_is_sane(message->predecessor))
        return false;
    for (size_t i = 0; i < message->arc_count; i++) {
        if (!arc_is_sane(message->arcs[i]))
            return false;
    }
    return true;
}

int ring_receive(struct ring *ring, uint64_t now_ns, const struct id *from,
                 const struct ring_message *message)
{
    ring_set_now(ring, now_ns);
    if (!is_sane(ring, message))
        return DLHT_EPROTO;
    pointers_learn(&ring->p, message->self);
    ring_sync_candidate(ring);
    int rc = DLHT_OK;
    switch ((enum ring_message_type)message->type) {
    case RING_ASK:
        rc = ring_answer(ring, from, RING_ANSWER, message);
        ring_consider(ring, message->self);
        break;
    case RING_ANSWER:
        rc = receive_answer(ring, message);
        break;
    case RING_NOTIFY:
        ring_rectify(ring, message->self);
        ring_consider(ring, message->self);
        break;
    case RING_FINGER_ASK:
        rc = ring_answer(ring, from, RING_FINGER_ANSWER, message);
        break;
    case RING_FINGER_ANSWER:
        receive_finger(ring, message);
        break;
    case RING_FIND:
        rc = ring_answer(ring, from, RING_FOUND, message);
        ring_consider(ring, message->self);
        break;
    case RING_FOUND:
        receive_found(ring, message);
        break;
    }
    return rc;
}
