/* SPDX-License-Identifier: Apache-2.0 */

/* The Chord pointers of one arc and their upkeep.
 *
 * Five questions may be open at a time, each in a slot of its own: to the
 * successor (stabilise, step 1), to one that may stand before it (step 2), to a
 * predecessor that another contests (rectify), for a finger, and of the search
 * for the place where the arc ends. A slot asks again until its tries are used
 * up; then the arc asked counts as unreachable, for us and for now: arcs do not
 * die, their groups elect. */

#include "chord/ring.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "chord/lookup.h"
#include "chord/order.h"
#include "chord/pointers.h"
#include "dlht/err.h"

enum {
    OUT_MAX = 64, /* answers and notices that wait; beyond it they are lost */
    AVOID_MAX = 4,
    AVOID_PERIODS = 3, /* an unreachable arc is not asked again for so long */
    STEPS_MAX = 8,     /* candidates asked in one period */
    MEET_PERIODS = 30  /* a settled arc asks one of them each so many */
};

enum slot_of {
    SLOT_HEAD,
    SLOT_CANDIDATE,
    SLOT_PREDECESSOR,
    SLOT_FINGER,
    SLOT_FIND,
    SLOT_COUNT
};

struct slot {
    struct arc *target; /* owned; NULL: no question is open */
    uint64_t number;
    uint64_t due_ns;
    uint32_t tries_left;
    uint8_t level; /* SLOT_FINGER: the level asked for, of the target */
    bool to_send;
};

/* An answer or a notice to be sent. */
struct intent {
    uint8_t type;
    uint8_t level;
    uint64_t number;
    arc_id to;
    struct id peer;     /* answers */
    struct arc *target; /* NOTIFY, owned */
    uint8_t *key;       /* FOUND, owned */
    size_t key_len;
};

struct ring {
    struct ring_config config;
    struct rng rng;
    uint64_t now_ns;
    uint64_t period_due_ns;
    uint64_t period; /* count */

    struct pointers p;
    size_t finger_next; /* level to refresh */

    struct arc *claimant; /* wants to be the predecessor */
    uint32_t steps_left;

    struct slot slots[SLOT_COUNT];
    uint64_t number;
    bool finding;
    struct lookup find;

    struct {
        arc_id id;
        uint64_t until; /* a period */
    } avoid[AVOID_MAX];
    size_t avoid_next;

    struct intent out[OUT_MAX];
    size_t out_first;
    size_t out_count;
    struct intent taken; /* what the last ring_take borrowed from */
};

static bool is_whole(const struct ring *ring)
{
    return ring->p.self->lo.len == 0 && !ring->p.self->has_hi;
}

bool ring_is_settled(const struct ring *ring)
{
    return pointers_is_exact(&ring->p, pointers_successor(&ring->p, 0));
}

static bool is_avoided(const struct ring *ring, arc_id id)
{
    for (size_t i = 0; i < AVOID_MAX; i++) {
        if (ring->avoid[i].id == id && ring->period < ring->avoid[i].until)
            return true;
    }
    return false;
}

/* Not the one that stands where we end: it comes back for sure. */
static void avoid(struct ring *ring, const struct arc *arc)
{
    if (pointers_is_exact(&ring->p, arc))
        return;
    ring->avoid[ring->avoid_next].id = arc->id;
    ring->avoid[ring->avoid_next].until = ring->period + AVOID_PERIODS;
    ring->avoid_next = (ring->avoid_next + 1) % AVOID_MAX;
}

static void slot_end(struct ring *ring, enum slot_of which)
{
    pointers_clear(&ring->slots[which].target);
    ring->slots[which].to_send = false;
}

/* Asks target, in a slot that is free. No memory: not now. */
static void slot_begin(struct ring *ring, enum slot_of which,
                       const struct arc *target)
{
    struct slot *slot = &ring->slots[which];
    assert(!slot->target);
    slot->target = arc_copy(target);
    if (!slot->target)
        return;
    slot->number = ++ring->number;
    slot->due_ns = ring->now_ns + ring->config.timeout_ns;
    slot->tries_left = ring->config.tries - 1;
    /* The one that must be there is not given up for some lost messages. */
    if (which == SLOT_HEAD && pointers_is_exact(&ring->p, target))
        slot->tries_left += ring->config.tries;
    slot->to_send = true;
}

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

static void notify(struct ring *ring, const struct arc *target)
{
    if (pointers_is_self(&ring->p, target))
        return;
    struct intent intent = { .type = RING_NOTIFY, .to = target->id };
    intent.target = arc_copy(target);
    if (intent.target)
        out_push(ring, intent);
}

static void ask_candidate(struct ring *ring)
{
    if (!ring->p.candidate || ring->slots[SLOT_CANDIDATE].target ||
        ring->steps_left == 0)
        return;
    ring->steps_left--;
    slot_begin(ring, SLOT_CANDIDATE, ring->p.candidate);
}

/* After the pointers changed: the question to a candidate that is none any
 * more is void. */
static void sync_candidate(struct ring *ring)
{
    const struct arc *asked = ring->slots[SLOT_CANDIDATE].target;
    const struct arc *candidate = ring->p.candidate;
    if (asked && (!candidate || candidate->id != asked->id))
        slot_end(ring, SLOT_CANDIDATE);
}

/* It was heard of: perhaps it stands before our successor. It is believed only
 * when it answers. */
static void consider(struct ring *ring, const struct arc *arc)
{
    if (!pointers_is_before_head(&ring->p, arc) || is_avoided(ring, arc->id))
        return;
    const struct arc *known = ring->p.candidate;
    if (known && known->id != arc->id)
        pointers_meet(&ring->p, &ring->rng, known);
    if (known && known->id != arc->id &&
        !order_between(ring->p.self->lo, arc->lo, known->lo))
        return;
    if (pointers_set(&ring->p.candidate, arc) != DLHT_OK)
        return;
    sync_candidate(ring);
    ask_candidate(ring);
}

/* Zave's rectify. */
static void rectify(struct ring *ring, const struct arc *from)
{
    const struct arc *held = ring->p.predecessor;
    if (held && held->id != from->id)
        pointers_meet(&ring->p, &ring->rng, held);
    if (pointers_rectify(&ring->p, from)) {
        slot_end(ring, SLOT_PREDECESSOR);
        return;
    }
    if (!held || held->id == from->id || ring->slots[SLOT_PREDECESSOR].target)
        return;
    if (pointers_set(&ring->claimant, from) == DLHT_OK)
        slot_begin(ring, SLOT_PREDECESSOR, held);
}

static struct lookup_view view_of(const struct ring *const *ring)
{
    return (struct lookup_view){ (*ring)->config.known, ring, 1 };
}

static void find_end(struct ring *ring)
{
    if (ring->finding)
        lookup_deinit(&ring->find);
    ring->finding = false;
}

static void find_step(struct ring *ring)
{
    const struct arc *next = lookup_next(&ring->find);
    if (next)
        slot_begin(ring, SLOT_FIND, next);
    if (!ring->slots[SLOT_FIND].target)
        find_end(ring);
}

static void find_offer(struct ring *ring, const struct arc *arc)
{
    consider(ring, arc);
    if (lookup_add(&ring->find, arc) != DLHT_OK)
        return; /* fewer ways to go */
}

static void find_from_near(struct ring *ring)
{
    const struct ring *own = ring;
    struct lookup_view view = view_of(&own);
    struct lookup_nearest nearest = { .key = order_end(ring->p.self) };
    nearest.except = ring->p.self->id;
    nearest.count_max = RING_BEFORE_MAX;
    lookup_offer_view(&nearest, &view);
    for (size_t i = 0; i < nearest.count; i++)
        find_offer(ring, nearest.arcs[i]);
}

static const struct arc *any_met(struct ring *ring)
{
    size_t first = (size_t)rng_below(&ring->rng, POINTERS_MET_MAX);
    for (size_t i = 0; i < POINTERS_MET_MAX; i++) {
        const struct arc *met = ring->p.met[(first + i) % POINTERS_MET_MAX];
        if (met && !pointers_is_inside(&ring->p, met))
            return met;
    }
    return NULL;
}

/* Looks for the arc that stands where we end: by what we point to, or from one
 * met by chance, since all we point to may be another ring than its. A settled
 * arc does so only to be heard of there. */
static void find_begin(struct ring *ring)
{
    assert(!ring->finding);
    if (lookup_init(&ring->find, order_end(ring->p.self), ring->p.self->id) !=
        DLHT_OK)
        return;
    ring->finding = true;
    const struct arc *met = any_met(ring);
    if (met && (ring_is_settled(ring) || rng_chance(&ring->rng, 0.5)))
        find_offer(ring, met);
    else
        find_from_near(ring);
    find_step(ring);
}

static void finger_begin(struct ring *ring)
{
    if (ring->slots[SLOT_FINGER].target)
        return;
    if (!pointers_below(&ring->p, ring->finger_next))
        ring->finger_next = 1;
    const struct arc *asked = pointers_below(&ring->p, ring->finger_next);
    if (!asked)
        return;
    ring->slots[SLOT_FINGER].level = (uint8_t)(ring->finger_next - 1);
    slot_begin(ring, SLOT_FINGER, asked);
}

static void finger_found(struct ring *ring, const struct arc *found)
{
    size_t level = (size_t)ring->slots[SLOT_FINGER].level + 1;
    slot_end(ring, SLOT_FINGER);
    bool changed = pointers_set_finger(&ring->p, level, found);
    ring->finger_next = level + 1;
    /* Higher levels rest on it: hurry while it moves. */
    if (changed)
        finger_begin(ring);
}

static void start_period(struct ring *ring)
{
    uint64_t period_ns = ring->config.period_ns;
    /* Between three and five quarters of it, so that rings drift apart. */
    ring->period_due_ns = ring->now_ns + period_ns / 4 * 3 +
                          rng_below(&ring->rng, period_ns / 2 + 1);
    ring->period++;
    ring->steps_left = STEPS_MAX;
    if (ring->p.list_count > 0 && !ring->slots[SLOT_HEAD].target)
        slot_begin(ring, SLOT_HEAD, pointers_successor(&ring->p, 0));
    if (ring->p.list_count == 0 && ring->p.predecessor)
        consider(ring, ring->p.predecessor);
    ask_candidate(ring);
    finger_begin(ring);
    bool search = ring->period % MEET_PERIODS == 0 || !ring_is_settled(ring);
    if (search && !is_whole(ring) && !ring->finding)
        find_begin(ring);
}

static void fail_head(struct ring *ring, const struct arc *target, bool gone)
{
    const struct arc *head = pointers_successor(&ring->p, 0);
    pointers_drop_finger(&ring->p, target->id);
    if (head->id == target->id) {
        avoid(ring, target);
        if (!gone)
            pointers_meet(&ring->p, &ring->rng, target);
        pointers_drop_head(&ring->p);
    }
    notify(ring, pointers_successor(&ring->p, 0));
}

static void fail_candidate(struct ring *ring, const struct arc *target,
                           bool gone)
{
    avoid(ring, target);
    if (!gone)
        pointers_meet(&ring->p, &ring->rng, target);
    pointers_clear(&ring->p.candidate);
    notify(ring, pointers_successor(&ring->p, 0));
}

/* The predecessor is dead; long live the claimant. */
static void fail_predecessor(struct ring *ring, const struct arc *target)
{
    struct arc *claimant = ring->claimant;
    ring->claimant = NULL;
    if (ring->p.predecessor && ring->p.predecessor->id == target->id)
        pointers_clear(&ring->p.predecessor);
    if (claimant)
        rectify(ring, claimant);
    arc_free(claimant);
}

/* The question in that slot got no answer; gone: there is surely nobody. */
static void fail(struct ring *ring, enum slot_of which, bool gone)
{
    struct arc *target = ring->slots[which].target;
    ring->slots[which].target = NULL;
    slot_end(ring, which);
    if (gone)
        pointers_unmeet(&ring->p, target->id);
    switch (which) {
    case SLOT_HEAD:
        fail_head(ring, target, gone);
        break;
    case SLOT_CANDIDATE:
        fail_candidate(ring, target, gone);
        break;
    case SLOT_PREDECESSOR:
        fail_predecessor(ring, target);
        break;
    case SLOT_FINGER:
        pointers_drop_finger(&ring->p, target->id);
        ring->finger_next = 1;
        break;
    case SLOT_FIND:
        lookup_failed(&ring->find);
        find_step(ring);
        break;
    case SLOT_COUNT:
        assert(false);
    }
    arc_free(target);
}

static void set_now(struct ring *ring, uint64_t now_ns)
{
    if (now_ns > ring->now_ns)
        ring->now_ns = now_ns;
}

void ring_tick(struct ring *ring, uint64_t now_ns)
{
    set_now(ring, now_ns);
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        struct slot *slot = &ring->slots[i];
        if (!slot->target || ring->now_ns < slot->due_ns)
            continue;
        if (slot->tries_left > 0) {
            slot->tries_left--;
            slot->due_ns = ring->now_ns + ring->config.timeout_ns;
            slot->to_send = true;
        } else {
            fail(ring, (enum slot_of)i, false);
        }
    }
    if (ring->now_ns >= ring->period_due_ns)
        start_period(ring);
}

uint64_t ring_timeout_ns(const struct ring *ring)
{
    uint64_t due_ns = ring->period_due_ns;
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        if (ring->slots[i].target && ring->slots[i].due_ns < due_ns)
            due_ns = ring->slots[i].due_ns;
    }
    return due_ns;
}

void ring_failed(struct ring *ring, uint64_t now_ns, uint64_t number)
{
    set_now(ring, now_ns);
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        if (ring->slots[i].target && ring->slots[i].number == number) {
            fail(ring, (enum slot_of)i, true);
            return;
        }
    }
}

void ring_hint(struct ring *ring, const struct arc *arc)
{
    if (!arc_is_sane(arc) || arc->keyspace != ring->p.self->keyspace)
        return;
    pointers_meet(&ring->p, &ring->rng, arc);
    consider(ring, arc);
}

void ring_learn(struct ring *ring, const struct arc *arc)
{
    if (!arc_is_sane(arc) || arc->keyspace != ring->p.self->keyspace ||
        pointers_is_self(&ring->p, arc))
        return;
    pointers_learn(&ring->p, arc);
    sync_candidate(ring);
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        struct slot *slot = &ring->slots[i];
        if (slot->target && slot->target->id == arc->id &&
            span_equal(slot->target->lo, arc->lo) &&
            arc_is_newer(arc, slot->target) &&
            arc_assign(&slot->target, arc) != DLHT_OK)
            return; /* the older one will do */
    }
}

/* After an answer: does a nearer one stand between us and it? */
static void look_behind(struct ring *ring, const struct ring_message *message)
{
    const struct arc *predecessor = message->predecessor;
    if (predecessor && pointers_is_before_head(&ring->p, predecessor) &&
        !is_avoided(ring, predecessor->id))
        consider(ring, predecessor);
    else
        notify(ring, pointers_successor(&ring->p, 0));
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
    slot_end(ring, which);
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
    sync_candidate(ring);
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
    slot_end(ring, SLOT_FIND);
    consider(ring, message->self);
    if (lookup_answered(&ring->find, message->self) != DLHT_OK) {
        find_end(ring);
        return;
    }
    for (size_t i = 0; i < message->arc_count; i++) {
        consider(ring, message->arcs[i]);
        if (lookup_add(&ring->find, message->arcs[i]) != DLHT_OK)
            break;
    }
    find_step(ring);
}

static void receive_finger(struct ring *ring,
                           const struct ring_message *message)
{
    const struct slot *slot = &ring->slots[SLOT_FINGER];
    if (!slot->target || slot->number != message->number ||
        slot->target->id != message->self->id || slot->level != message->level)
        return;
    finger_found(ring, message->arc_count ? message->arcs[0] : NULL);
}

static int answer(struct ring *ring, const struct id *from, uint8_t type,
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
    set_now(ring, now_ns);
    if (!is_sane(ring, message))
        return DLHT_EPROTO;
    pointers_learn(&ring->p, message->self);
    sync_candidate(ring);
    int rc = DLHT_OK;
    switch ((enum ring_message_type)message->type) {
    case RING_ASK:
        rc = answer(ring, from, RING_ANSWER, message);
        consider(ring, message->self);
        break;
    case RING_ANSWER:
        rc = receive_answer(ring, message);
        break;
    case RING_NOTIFY:
        rectify(ring, message->self);
        consider(ring, message->self);
        break;
    case RING_FINGER_ASK:
        rc = answer(ring, from, RING_FINGER_ANSWER, message);
        break;
    case RING_FINGER_ANSWER:
        receive_finger(ring, message);
        break;
    case RING_FIND:
        rc = answer(ring, from, RING_FOUND, message);
        consider(ring, message->self);
        break;
    case RING_FOUND:
        receive_found(ring, message);
        break;
    }
    return rc;
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
    struct lookup_view view = view_of(&own);
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

int ring_set_self(struct ring *ring, const struct arc *self)
{
    if (pointers_set_self(&ring->p, self) != DLHT_OK)
        return DLHT_ENOMEM;
    sync_candidate(ring);
    /* The search was for where we ended then. */
    slot_end(ring, SLOT_FIND);
    find_end(ring);
    return DLHT_OK;
}

const struct arc *ring_self(const struct ring *ring)
{
    return ring->p.self;
}

const struct arc *ring_predecessor(const struct ring *ring)
{
    return ring->p.predecessor;
}

size_t ring_list_len(const struct ring *ring)
{
    return ring->config.list_len;
}

const struct arc *ring_successor(const struct ring *ring, size_t index)
{
    return pointers_successor(&ring->p, index);
}

const struct arc *ring_finger(const struct ring *ring, size_t level)
{
    assert(level < RING_LEVELS_MAX);
    return level == 0 ? pointers_successor(&ring->p, 0)
                      : ring->p.fingers[level];
}

void ring_each(const struct ring *ring,
               void (*visit)(void *context, const struct arc *arc),
               void *context)
{
    for (size_t i = 0; i < ring->p.list_count; i++)
        visit(context, ring->p.list[i]);
    if (ring->p.predecessor)
        visit(context, ring->p.predecessor);
    for (size_t i = 1; i < RING_LEVELS_MAX; i++) {
        if (ring->p.fingers[i])
            visit(context, ring->p.fingers[i]);
    }
}

void ring_check(const struct ring *ring)
{
    pointers_check(&ring->p);
    const struct arc *asked = ring->slots[SLOT_CANDIDATE].target;
    assert(!asked || ring->p.candidate);
    assert(!asked || ring->p.candidate->id == asked->id);
    assert(ring->finding == (ring->slots[SLOT_FIND].target != NULL));
    assert(ring->out_count <= OUT_MAX);
}

static struct ring_config with_defaults(const struct ring_config *config)
{
    struct ring_config full = *config;
    if (full.list_len == 0)
        full.list_len = 8;
    if (full.list_len > RING_LIST_MAX)
        full.list_len = RING_LIST_MAX;
    if (full.period_ns == 0)
        full.period_ns = UINT64_C(1000000000);
    if (full.timeout_ns == 0)
        full.timeout_ns = 400 * UINT64_C(1000000);
    if (full.tries == 0)
        full.tries = 3;
    return full;
}

int ring_new(const struct ring_config *config, const struct arc *self,
             const struct ring *from, uint64_t now_ns, struct ring **out)
{
    *out = NULL;
    struct ring *ring = mem_zero(1, sizeof *ring);
    if (!ring)
        return DLHT_ENOMEM;
    ring->config = with_defaults(config);
    ring->now_ns = now_ns;
    ring->finger_next = 1;
    ring->steps_left = STEPS_MAX;
    rng_init(&ring->rng, config->seed ^ self->id);
    ring->period_due_ns =
        now_ns + rng_below(&ring->rng, ring->config.period_ns / 4 + 1);
    if (pointers_init(&ring->p, self, ring->config.list_len) != DLHT_OK ||
        (from && pointers_inherit(&ring->p, &from->p) != DLHT_OK)) {
        ring_free(ring);
        return DLHT_ENOMEM;
    }
    *out = ring;
    return DLHT_OK;
}

void ring_free(struct ring *ring)
{
    if (!ring)
        return;
    find_end(ring);
    for (size_t i = 0; i < SLOT_COUNT; i++)
        slot_end(ring, (enum slot_of)i);
    for (; ring->out_count > 0; ring->out_count--) {
        intent_free(&ring->out[ring->out_first]);
        ring->out_first = (ring->out_first + 1) % OUT_MAX;
    }
    intent_free(&ring->taken);
    arc_free(ring->claimant);
    pointers_deinit(&ring->p);
    free(ring);
}
