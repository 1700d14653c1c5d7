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

#include "base/mem.h"
#include "chord/order.h"
#include "chord/ring_state.h"
#include "dlht/err.h"

enum {
    AVOID_PERIODS = 3, /* an unreachable arc is not asked again for so long */
    STEPS_MAX = 8,     /* candidates asked in one period */
    MEET_PERIODS = 30  /* a settled arc asks one of them each so many */
};

static bool is_whole(const struct ring *ring)
{
    return ring->p.self->lo.len == 0 && !ring->p.self->has_hi;
}

bool ring_is_settled(const struct ring *ring)
{
    return pointers_is_exact(&ring->p, pointers_successor(&ring->p, 0));
}

bool ring_is_avoided(const struct ring *ring, arc_id id)
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

void ring_slot_end(struct ring *ring, enum slot_of which)
{
    pointers_clear(&ring->slots[which].target);
    ring->slots[which].to_send = false;
}

void ring_slot_begin(struct ring *ring, enum slot_of which,
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

static void ask_candidate(struct ring *ring)
{
    if (!ring->p.candidate || ring->slots[SLOT_CANDIDATE].target ||
        ring->steps_left == 0)
        return;
    ring->steps_left--;
    ring_slot_begin(ring, SLOT_CANDIDATE, ring->p.candidate);
}

void ring_sync_candidate(struct ring *ring)
{
    const struct arc *asked = ring->slots[SLOT_CANDIDATE].target;
    const struct arc *candidate = ring->p.candidate;
    if (asked && (!candidate || candidate->id != asked->id))
        ring_slot_end(ring, SLOT_CANDIDATE);
}

void ring_consider(struct ring *ring, const struct arc *arc)
{
    if (!pointers_is_before_head(&ring->p, arc) ||
        ring_is_avoided(ring, arc->id))
        return;
    const struct arc *known = ring->p.candidate;
    if (known && known->id != arc->id)
        pointers_meet(&ring->p, &ring->rng, known);
    if (known && known->id != arc->id &&
        !order_between(ring->p.self->lo, arc->lo, known->lo))
        return;
    if (pointers_set(&ring->p.candidate, arc) != DLHT_OK)
        return;
    ring_sync_candidate(ring);
    ask_candidate(ring);
}

void ring_rectify(struct ring *ring, const struct arc *from)
{
    const struct arc *held = ring->p.predecessor;
    if (held && held->id != from->id)
        pointers_meet(&ring->p, &ring->rng, held);
    if (pointers_rectify(&ring->p, from)) {
        ring_slot_end(ring, SLOT_PREDECESSOR);
        return;
    }
    if (!held || held->id == from->id || ring->slots[SLOT_PREDECESSOR].target)
        return;
    if (pointers_set(&ring->claimant, from) == DLHT_OK)
        ring_slot_begin(ring, SLOT_PREDECESSOR, held);
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
    ring_slot_begin(ring, SLOT_FINGER, asked);
}

void ring_finger_found(struct ring *ring, const struct arc *found)
{
    size_t level = (size_t)ring->slots[SLOT_FINGER].level + 1;
    ring_slot_end(ring, SLOT_FINGER);
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
        ring_slot_begin(ring, SLOT_HEAD, pointers_successor(&ring->p, 0));
    if (ring->p.list_count == 0 && ring->p.predecessor)
        ring_consider(ring, ring->p.predecessor);
    ask_candidate(ring);
    finger_begin(ring);
    bool search = ring->period % MEET_PERIODS == 0 || !ring_is_settled(ring);
    if (search && !is_whole(ring) && !ring->finding)
        ring_find_begin(ring);
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
    ring_notify(ring, pointers_successor(&ring->p, 0));
}

static void fail_candidate(struct ring *ring, const struct arc *target,
                           bool gone)
{
    avoid(ring, target);
    if (!gone)
        pointers_meet(&ring->p, &ring->rng, target);
    pointers_clear(&ring->p.candidate);
    ring_notify(ring, pointers_successor(&ring->p, 0));
}

/* The predecessor is dead; long live the claimant. */
static void fail_predecessor(struct ring *ring, const struct arc *target)
{
    struct arc *claimant = ring->claimant;
    ring->claimant = NULL;
    if (ring->p.predecessor && ring->p.predecessor->id == target->id)
        pointers_clear(&ring->p.predecessor);
    if (claimant)
        ring_rectify(ring, claimant);
    arc_free(claimant);
}

/* The question in that slot got no answer; gone: there is surely nobody. */
static void fail(struct ring *ring, enum slot_of which, bool gone)
{
    struct arc *target = ring->slots[which].target;
    ring->slots[which].target = NULL;
    ring_slot_end(ring, which);
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
        ring_find_step(ring);
        break;
    case SLOT_COUNT:
        assert(false);
    }
    arc_free(target);
}

void ring_set_now(struct ring *ring, uint64_t now_ns)
{
    if (now_ns > ring->now_ns)
        ring->now_ns = now_ns;
}

void ring_tick(struct ring *ring, uint64_t now_ns)
{
    ring_set_now(ring, now_ns);
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
    ring_set_now(ring, now_ns);
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
    ring_consider(ring, arc);
}

void ring_learn(struct ring *ring, const struct arc *arc)
{
    if (!arc_is_sane(arc) || arc->keyspace != ring->p.self->keyspace ||
        pointers_is_self(&ring->p, arc))
        return;
    pointers_learn(&ring->p, arc);
    ring_sync_candidate(ring);
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        struct slot *slot = &ring->slots[i];
        if (slot->target && slot->target->id == arc->id &&
            span_equal(slot->target->lo, arc->lo) &&
            arc_is_newer(arc, slot->target) &&
            arc_assign(&slot->target, arc) != DLHT_OK)
            return; /* the older one will do */
    }
}

int ring_set_self(struct ring *ring, const struct arc *self)
{
    if (pointers_set_self(&ring->p, self) != DLHT_OK)
        return DLHT_ENOMEM;
    ring_sync_candidate(ring);
    /* The search was for where we ended then. */
    ring_slot_end(ring, SLOT_FIND);
    ring_find_end(ring);
    return DLHT_OK;
}

void ring_set_list_len(struct ring *ring, size_t len)
{
    if (len > RING_LIST_MAX)
        len = RING_LIST_MAX;
    if (len == 0 || len == ring->config.list_len)
        return;
    ring->config.list_len = len;
    pointers_set_list_len(&ring->p, len);
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
    ring_find_end(ring);
    for (size_t i = 0; i < SLOT_COUNT; i++)
        ring_slot_end(ring, (enum slot_of)i);
    ring_say_deinit(ring);
    arc_free(ring->claimant);
    pointers_deinit(&ring->p);
    free(ring);
}
