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
#include "dlht/err.h"

enum {
    OUT_MAX = 256, /* answers and notices that wait; beyond it they are lost */
    AVOID_MAX = 4,
    AVOID_PERIODS = 3, /* an unreachable arc is not asked again for so long */
    STEPS_MAX = 8,     /* candidates asked in one period */
    /* The first hint and arcs once pointed to: through them a ring that fell
     * in two finds its other part. */
    MET_MAX = 8,
    MEET_PERIODS = 30 /* a settled arc asks one of them each so many */
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

    struct arc *self;
    struct arc *list[RING_LIST_MAX]; /* never NULL below config.list_len */
    struct arc *predecessor;
    struct arc *fingers[RING_LEVELS_MAX]; /* [0] unused: list[0] is it */
    size_t finger_next;                   /* level to refresh */

    struct arc *candidate; /* may stand between us and list[0] */
    struct arc *claimant;  /* wants to be the predecessor */
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
    struct arc *met[MET_MAX];

    struct intent out[OUT_MAX];
    size_t out_first;
    size_t out_count;
    struct intent taken; /* what the last ring_take borrowed from */
};

/* Sets one owned pointer to a copy, unless it is as new already. The arc's
 * newest descriptor stays. */
static int set_arc(struct arc **to, const struct arc *from)
{
    if (*to && (*to)->id == from->id && !arc_is_newer(from, *to))
        return DLHT_OK;
    return arc_assign(to, from);
}

static void clear_arc(struct arc **arc)
{
    arc_free(*arc);
    *arc = NULL;
}

static bool is_self(const struct ring *ring, const struct arc *arc)
{
    return arc->id == ring->self->id;
}

/* No other arc stands in ours; if one is thought to, it is long merged or is
 * told of by a liar. */
static bool is_inside(const struct ring *ring, const struct arc *arc)
{
    return arc_has(ring->self, arc->lo);
}

static bool is_exact(const struct ring *ring, const struct arc *arc)
{
    return span_equal(order_end(ring->self), arc->lo);
}

static bool is_alone(const struct ring *ring)
{
    return is_self(ring, ring->list[0]);
}

static bool is_whole(const struct ring *ring)
{
    return ring->self->lo.len == 0 && !ring->self->has_hi;
}

bool ring_is_settled(const struct ring *ring)
{
    return is_exact(ring, ring->list[0]);
}

/* It would be a better successor than the one we have. */
static bool is_before_head(const struct ring *ring, const struct arc *arc)
{
    return !is_self(ring, arc) && !is_inside(ring, arc) &&
           order_between(ring->self->lo, arc->lo, ring->list[0]->lo);
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
    if (is_exact(ring, arc))
        return;
    ring->avoid[ring->avoid_next].id = arc->id;
    ring->avoid[ring->avoid_next].until = ring->period + AVOID_PERIODS;
    ring->avoid_next = (ring->avoid_next + 1) % AVOID_MAX;
}

/* Not forgotten while nothing points to it: it may be the only way to a part of
 * the ring that has lost us. The first place is kept for the first. */
static void meet(struct ring *ring, const struct arc *arc)
{
    if (is_self(ring, arc))
        return;
    size_t place = MET_MAX;
    for (size_t i = MET_MAX; i-- > 0;) {
        if (!ring->met[i])
            place = i;
    }
    for (size_t i = 0; i < MET_MAX; i++) {
        if (ring->met[i] && ring->met[i]->id == arc->id)
            place = i;
    }
    if (place == MET_MAX)
        place = (size_t)rng_range(&ring->rng, 1, MET_MAX - 1);
    if (set_arc(&ring->met[place], arc) != DLHT_OK)
        return; /* a help, no promise */
}

static void unmeet(struct ring *ring, arc_id id)
{
    for (size_t i = 0; i < MET_MAX; i++) {
        if (ring->met[i] && ring->met[i]->id == id)
            clear_arc(&ring->met[i]);
    }
}

static void slot_end(struct ring *ring, enum slot_of which)
{
    clear_arc(&ring->slots[which].target);
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
    if (which == SLOT_HEAD && is_exact(ring, target))
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
    if (is_self(ring, target))
        return;
    struct intent intent = { .type = RING_NOTIFY, .to = target->id };
    intent.target = arc_copy(target);
    if (intent.target)
        out_push(ring, intent);
}

static void ask_candidate(struct ring *ring)
{
    if (!ring->candidate || ring->slots[SLOT_CANDIDATE].target ||
        ring->steps_left == 0)
        return;
    ring->steps_left--;
    slot_begin(ring, SLOT_CANDIDATE, ring->candidate);
}

/* It was heard of: perhaps it stands before our successor. It is believed only
 * when it answers. */
static void consider(struct ring *ring, const struct arc *arc)
{
    if (!is_before_head(ring, arc) || is_avoided(ring, arc->id))
        return;
    const struct arc *known = ring->candidate;
    if (known && known->id != arc->id)
        meet(ring, known);
    if (known && known->id != arc->id &&
        !order_between(ring->self->lo, arc->lo, known->lo))
        return;
    bool same = known && known->id == arc->id;
    if (set_arc(&ring->candidate, arc) != DLHT_OK)
        return;
    if (!same && ring->slots[SLOT_CANDIDATE].target)
        slot_end(ring, SLOT_CANDIDATE);
    ask_candidate(ring);
}

static void drop_candidate(struct ring *ring)
{
    if (ring->candidate)
        meet(ring, ring->candidate);
    clear_arc(&ring->candidate);
    slot_end(ring, SLOT_CANDIDATE);
}

static void free_list(struct arc **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        arc_free(list[i]);
}

/* The newer of what was told and what we hold of the same arc. */
static const struct arc *newest(const struct ring *ring, const struct arc *told)
{
    for (size_t i = 0; i < ring->config.list_len; i++) {
        const struct arc *held = ring->list[i];
        if (held->id == told->id && arc_is_newer(held, told) &&
            span_equal(held->lo, told->lo))
            return held;
    }
    return told;
}

/* Fills made with copies of from while they go up the ring from where it ends
 * to us. No memory: cut short, to be filled another time. */
static size_t append(const struct ring *ring, struct arc **made, size_t count,
                     const struct arc *const *from, size_t from_count)
{
    struct span at = count ? made[count - 1]->lo : ring->self->lo;
    for (size_t i = 0; i < from_count && count < ring->config.list_len; i++) {
        const struct arc *arc = newest(ring, from[i]);
        if (is_self(ring, arc) || is_inside(ring, arc) ||
            !order_between(at, arc->lo, ring->self->lo))
            break;
        made[count] = arc_copy(arc);
        if (!made[count])
            break;
        at = made[count++]->lo;
    }
    return count;
}

/* Places after the last known arc are ourselves. */
static int set_list(struct ring *ring, struct arc **made, size_t count)
{
    for (; count < ring->config.list_len; count++) {
        made[count] = arc_copy(ring->self);
        if (!made[count]) {
            free_list(made, count);
            return DLHT_ENOMEM;
        }
    }
    free_list(ring->list, ring->config.list_len);
    memcpy(ring->list, made, count * sizeof *made);
    return DLHT_OK;
}

static size_t known_len(const struct ring *ring)
{
    size_t count = 0;
    while (count < ring->config.list_len && !is_self(ring, ring->list[count]))
        count++;
    return count;
}

/* head just answered with its list: it is our successor, and what follows it
 * follows us. One that has no list yet keeps ours behind it. */
static int adopt(struct ring *ring, const struct arc *head,
                 const struct arc *const *list, size_t count)
{
    struct arc *made[RING_LIST_MAX];
    size_t made_count = append(ring, made, 0, &head, 1);
    if (made_count == 0)
        return DLHT_OK;
    made_count = append(ring, made, made_count, list, count);
    if (count == 0) {
        size_t skip = 0;
        while (skip < ring->config.list_len &&
               !order_between(head->lo, ring->list[skip]->lo, ring->self->lo))
            skip++;
        const struct arc *const *rest =
            (const struct arc *const *)ring->list + skip;
        made_count =
            append(ring, made, made_count, rest, ring->config.list_len - skip);
    }
    int rc = set_list(ring, made, made_count);
    if (rc == DLHT_OK && ring->candidate &&
        !is_before_head(ring, ring->candidate))
        drop_candidate(ring);
    return rc;
}

static void drop_entry(struct ring *ring, size_t index)
{
    struct arc *made[RING_LIST_MAX];
    const struct arc *kept[RING_LIST_MAX];
    size_t count = 0;
    for (size_t i = 0; i < ring->config.list_len; i++) {
        if (i != index)
            kept[count++] = ring->list[i];
    }
    size_t made_count = append(ring, made, 0, kept, count);
    /* Without memory it stays, and fails again. */
    if (set_list(ring, made, made_count) != DLHT_OK)
        return;
}

static void drop_finger(struct ring *ring, arc_id id)
{
    for (size_t i = 1; i < RING_LEVELS_MAX; i++) {
        if (ring->fingers[i] && ring->fingers[i]->id == id)
            clear_arc(&ring->fingers[i]);
    }
}

static bool swallows(const struct arc *news, const struct arc *held)
{
    return held->id != news->id && held->generation < news->generation &&
           arc_has(news, held->lo) && !span_equal(held->lo, news->lo);
}

static void refresh(struct arc **held, const struct arc *news)
{
    if (*held && (*held)->id == news->id && span_equal((*held)->lo, news->lo) &&
        set_arc(held, news) != DLHT_OK)
        return; /* the older descriptor will do */
}

/* An arc spoke for itself: what we hold of it is renewed, and arcs that it
 * took in are gone. */
static void learn(struct ring *ring, const struct arc *news)
{
    for (size_t i = 0; i < ring->config.list_len; i++)
        refresh(&ring->list[i], news);
    for (size_t i = 0; i < ring->config.list_len; i++) {
        if (!is_self(ring, ring->list[i]) && swallows(news, ring->list[i]))
            drop_entry(ring, i--);
    }
    for (size_t i = 1; i < RING_LEVELS_MAX; i++) {
        refresh(&ring->fingers[i], news);
        if (ring->fingers[i] && swallows(news, ring->fingers[i]))
            clear_arc(&ring->fingers[i]);
    }
    refresh(&ring->predecessor, news);
    if (ring->predecessor && swallows(news, ring->predecessor))
        clear_arc(&ring->predecessor);
    refresh(&ring->candidate, news);
    if (ring->candidate && swallows(news, ring->candidate))
        drop_candidate(ring);
}

/* Zave's rectify; an arc that ends where we begin needs no comparison. */
static void rectify(struct ring *ring, const struct arc *from)
{
    if (is_inside(ring, from))
        return;
    const struct arc *held = ring->predecessor;
    bool exact = span_equal(order_end(from), ring->self->lo);
    if (!held || is_self(ring, held) ||
        order_between(held->lo, from->lo, ring->self->lo) ||
        (exact && arc_is_newer(from, held))) {
        if (held)
            meet(ring, held);
        if (set_arc(&ring->predecessor, from) == DLHT_OK)
            slot_end(ring, SLOT_PREDECESSOR);
        return;
    }
    if (held->id == from->id || ring->slots[SLOT_PREDECESSOR].target)
        return;
    if (set_arc(&ring->claimant, from) == DLHT_OK)
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
    struct lookup_nearest nearest = { .key = order_end(ring->self) };
    nearest.except = ring->self->id;
    nearest.count_max = RING_BEFORE_MAX;
    lookup_offer_view(&nearest, &view);
    for (size_t i = 0; i < nearest.count; i++)
        find_offer(ring, nearest.arcs[i]);
}

static const struct arc *any_met(struct ring *ring)
{
    size_t first = (size_t)rng_below(&ring->rng, MET_MAX);
    for (size_t i = 0; i < MET_MAX; i++) {
        const struct arc *met = ring->met[(first + i) % MET_MAX];
        if (met && !is_inside(ring, met))
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
    if (lookup_init(&ring->find, order_end(ring->self), ring->self->id) !=
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

/* The arc below a finger level, which is asked for it; NULL: none. */
static const struct arc *below(const struct ring *ring, size_t level)
{
    const struct arc *arc =
        level == 1 ? ring->list[0] : ring->fingers[level - 1];
    return arc && !is_self(ring, arc) ? arc : NULL;
}

static void finger_begin(struct ring *ring)
{
    if (ring->slots[SLOT_FINGER].target)
        return;
    if (ring->finger_next >= RING_LEVELS_MAX || !below(ring, ring->finger_next))
        ring->finger_next = 1;
    const struct arc *asked = below(ring, ring->finger_next);
    if (!asked)
        return;
    ring->slots[SLOT_FINGER].level = (uint8_t)(ring->finger_next - 1);
    slot_begin(ring, SLOT_FINGER, asked);
}

static void finger_found(struct ring *ring, const struct arc *found)
{
    size_t level = (size_t)ring->slots[SLOT_FINGER].level + 1;
    const struct arc *asked = below(ring, level);
    slot_end(ring, SLOT_FINGER);
    /* Doubling ends where it would pass us. */
    if (!found || !asked || is_self(ring, found) || is_inside(ring, found) ||
        !order_between(asked->lo, found->lo, ring->self->lo)) {
        for (size_t i = level; i < RING_LEVELS_MAX; i++)
            clear_arc(&ring->fingers[i]);
        ring->finger_next = 1;
        return;
    }
    bool changed =
        !ring->fingers[level] || ring->fingers[level]->id != found->id;
    if (set_arc(&ring->fingers[level], found) != DLHT_OK)
        return;
    ring->finger_next = level + 1;
    /* Higher levels rest on it: hurry while it moves. */
    if (changed && ring->finger_next < RING_LEVELS_MAX)
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
    if (!is_alone(ring) && !ring->slots[SLOT_HEAD].target)
        slot_begin(ring, SLOT_HEAD, ring->list[0]);
    if (is_alone(ring) && ring->predecessor)
        consider(ring, ring->predecessor);
    ask_candidate(ring);
    finger_begin(ring);
    bool search = ring->period % MEET_PERIODS == 0 || !ring_is_settled(ring);
    if (search && !is_whole(ring) && !ring->finding)
        find_begin(ring);
}

/* The question in that slot got no answer; gone: there is surely nobody. */
static void fail(struct ring *ring, enum slot_of which, bool gone)
{
    arc_id id = ring->slots[which].target->id;
    slot_end(ring, which);
    if (gone)
        unmeet(ring, id);
    switch (which) {
    case SLOT_HEAD:
        drop_finger(ring, id);
        if (ring->list[0]->id == id) {
            avoid(ring, ring->list[0]);
            if (!gone)
                meet(ring, ring->list[0]);
            drop_entry(ring, 0);
        }
        notify(ring, ring->list[0]);
        break;
    case SLOT_CANDIDATE:
        avoid(ring, ring->candidate);
        if (gone)
            clear_arc(&ring->candidate);
        else
            drop_candidate(ring);
        notify(ring, ring->list[0]);
        break;
    case SLOT_PREDECESSOR:
        if (ring->predecessor && ring->predecessor->id == id &&
            ring->claimant) {
            arc_free(ring->predecessor);
            ring->predecessor = ring->claimant;
            ring->claimant = NULL;
        }
        break;
    case SLOT_FINGER:
        drop_finger(ring, id);
        ring->finger_next = 1;
        break;
    case SLOT_FIND:
        lookup_failed(&ring->find);
        find_step(ring);
        break;
    case SLOT_COUNT:
        assert(false);
    }
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
    if (!arc_is_sane(arc) || arc->keyspace != ring->self->keyspace)
        return;
    meet(ring, arc);
    consider(ring, arc);
}

/* After an answer: does a nearer one stand between us and it? */
static void look_behind(struct ring *ring, const struct ring_message *message)
{
    const struct arc *predecessor = message->predecessor;
    if (predecessor && is_before_head(ring, predecessor) &&
        !is_avoided(ring, predecessor->id))
        consider(ring, predecessor);
    else
        notify(ring, ring->list[0]);
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
    bool is_head = ring->list[0]->id == from->id;
    if (which == SLOT_HEAD && !is_head)
        return DLHT_OK; /* step 2 was quicker */
    if (which == SLOT_CANDIDATE) {
        clear_arc(&ring->candidate);
        /* One that has not joined has no list to go on with, unless it stands
         * where we end and so must be our successor. */
        bool joined = message->arc_count > 0 || is_exact(ring, from);
        bool better = is_before_head(ring, from) || is_head;
        if (!better || !(joined || is_alone(ring)))
            return DLHT_OK;
    }
    int rc = adopt(ring, from, message->arcs, message->arc_count);
    if (rc == DLHT_OK)
        look_behind(ring, message);
    return rc;
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
        !arc_is_sane(self) || self->keyspace != ring->self->keyspace ||
        message->arc_count > RING_LIST_MAX || message->level >= RING_LEVELS_MAX)
        return false;
    if (message->to != ring->self->id || is_self(ring, self))
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
    learn(ring, message->self);
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

/* The owner as far as known, then the members. */
static size_t list_peers(const struct arc *arc, struct id *peers)
{
    size_t count = 0;
    if (!id_is_zero(&arc->owner))
        peers[count++] = arc->owner;
    for (size_t i = 0; i < arc->member_count; i++) {
        if (!id_equal(&arc->members[i].peer, &arc->owner))
            peers[count++] = arc->members[i].peer;
    }
    assert(count <= RING_PEERS_MAX);
    return count;
}

static void address(struct ring_send *out, const struct arc *target)
{
    out->to = target->id;
    out->key = target->lo;
    out->peer_count = list_peers(target, out->peers);
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
        message->key = order_end(ring->self);
    }
}

static void say(struct ring_message *message, const struct arc *arc)
{
    assert(message->arc_count < RING_LIST_MAX);
    message->arcs[message->arc_count++] = arc;
}

struct after {
    struct span key;
    arc_id except;
    const struct arc *arcs[RING_AFTER_MAX];
    size_t count;
};

/* Keeps the arcs that stand soonest after a key. */
static void offer_after(void *context, const struct arc *arc)
{
    struct after *after = context;
    if (arc->id == after->except)
        return;
    size_t at = 0;
    while (at < after->count &&
           order_sooner(after->key, after->arcs[at]->lo, arc->lo))
        at++;
    if (at == RING_AFTER_MAX ||
        (at < after->count && after->arcs[at]->id == arc->id))
        return;
    if (after->count < RING_AFTER_MAX)
        after->count++;
    memmove(after->arcs + at + 1, after->arcs + at,
            (after->count - 1 - at) * sizeof(struct arc *));
    after->arcs[at] = arc;
}

static void say_found(struct ring *ring, const struct intent *intent,
                      struct ring_message *message)
{
    struct span key = span_of(intent->key, intent->key_len);
    const struct ring *own = ring;
    struct lookup_view view = view_of(&own);
    struct lookup_nearest nearest = { .key = key, .except = intent->to };
    nearest.has_from = true;
    nearest.from = ring->self->lo;
    nearest.count_max = RING_BEFORE_MAX;
    lookup_offer_view(&nearest, &view);
    for (size_t i = 0; i < nearest.count; i++)
        say(message, nearest.arcs[i]);
    struct after after = { .key = key, .except = intent->to };
    ring_each(ring, offer_after, &after);
    const struct map *known = ring->config.known;
    size_t count = known ? map_count(known) : 0;
    size_t rank = count ? map_rank(known, key) : 0;
    for (size_t i = 0; i < count && i <= RING_AFTER_MAX; i++)
        offer_after(&after, map_at(known, (rank + i) % count));
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
        if (finger && !is_self(ring, finger))
            say(message, finger);
    } else if (intent->type == RING_ANSWER) {
        message->predecessor = ring->predecessor;
        for (size_t i = 0; i < known_len(ring); i++)
            say(message, ring->list[i]);
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
    out->message.self = ring->self;
    return true;
}

int ring_set_self(struct ring *ring, const struct arc *self)
{
    assert(self->id == ring->self->id && arc_is_sane(self));
    assert(span_equal(self->lo, ring->self->lo));
    if (arc_assign(&ring->self, self) != DLHT_OK)
        return DLHT_ENOMEM;
    /* The list holds copies of us, and may hold what we took in. */
    for (size_t i = 0; i < ring->config.list_len; i++)
        refresh(&ring->list[i], ring->self);
    for (size_t i = 0; i < ring->config.list_len; i++) {
        if (!is_self(ring, ring->list[i]) && is_inside(ring, ring->list[i]))
            drop_entry(ring, i--);
    }
    for (size_t i = 1; i < RING_LEVELS_MAX; i++) {
        if (ring->fingers[i] && is_inside(ring, ring->fingers[i]))
            clear_arc(&ring->fingers[i]);
    }
    if (ring->predecessor && is_inside(ring, ring->predecessor))
        clear_arc(&ring->predecessor);
    if (ring->candidate && !is_before_head(ring, ring->candidate))
        drop_candidate(ring);
    /* The search was for where we ended then. */
    slot_end(ring, SLOT_FIND);
    find_end(ring);
    return DLHT_OK;
}

const struct arc *ring_self(const struct ring *ring)
{
    return ring->self;
}

const struct arc *ring_predecessor(const struct ring *ring)
{
    return ring->predecessor;
}

size_t ring_list_len(const struct ring *ring)
{
    return ring->config.list_len;
}

const struct arc *ring_successor(const struct ring *ring, size_t index)
{
    assert(index < ring->config.list_len);
    return ring->list[index];
}

const struct arc *ring_finger(const struct ring *ring, size_t level)
{
    assert(level < RING_LEVELS_MAX);
    return level == 0 ? ring->list[0] : ring->fingers[level];
}

void ring_each(const struct ring *ring,
               void (*visit)(void *context, const struct arc *arc),
               void *context)
{
    for (size_t i = 0; i < known_len(ring); i++)
        visit(context, ring->list[i]);
    if (ring->predecessor)
        visit(context, ring->predecessor);
    for (size_t i = 1; i < RING_LEVELS_MAX; i++) {
        if (ring->fingers[i])
            visit(context, ring->fingers[i]);
    }
}

void ring_check(const struct ring *ring)
{
    assert(arc_is_sane(ring->self));
    bool wrapped = false;
    for (size_t i = 0; i < ring->config.list_len; i++) {
        const struct arc *arc = ring->list[i];
        assert(arc);
        assert(!wrapped || is_self(ring, arc));
        wrapped = is_self(ring, arc);
        assert(wrapped || !is_inside(ring, arc));
        if (i > 0 && !wrapped)
            assert(
                order_between(ring->list[i - 1]->lo, arc->lo, ring->self->lo));
    }
    if (ring->predecessor)
        assert(!is_inside(ring, ring->predecessor));
    assert(!ring->candidate || is_before_head(ring, ring->candidate));
    assert(ring->finding == (ring->slots[SLOT_FIND].target != NULL));
    assert(ring->out_count <= OUT_MAX);
}

/* The right child of a split stands before all that its parent pointed to. */
static int inherit(struct ring *ring, const struct ring *from)
{
    struct arc *made[RING_LIST_MAX];
    size_t count = append(ring, made, 0, (const struct arc *const *)from->list,
                          known_len(from));
    const struct arc *parent = from->self;
    if (count < ring->config.list_len)
        count = append(ring, made, count, &parent, 1);
    int rc = set_list(ring, made, count);
    if (rc != DLHT_OK)
        return rc;
    for (size_t i = 1; i < RING_LEVELS_MAX; i++) {
        const struct arc *finger = from->fingers[i];
        if (finger && !is_inside(ring, finger) && !is_self(ring, finger) &&
            set_arc(&ring->fingers[i], finger) != DLHT_OK)
            return DLHT_ENOMEM;
    }
    if (is_inside(ring, parent))
        return DLHT_OK;
    return set_arc(&ring->predecessor, parent);
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
    assert(arc_is_sane(self));
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
    struct arc *made[RING_LIST_MAX];
    if (arc_assign(&ring->self, self) != DLHT_OK ||
        set_list(ring, made, 0) != DLHT_OK ||
        (from && inherit(ring, from) != DLHT_OK)) {
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
    free_list(ring->list, ring->config.list_len);
    for (size_t i = 0; i < RING_LEVELS_MAX; i++)
        arc_free(ring->fingers[i]);
    free_list(ring->met, MET_MAX);
    arc_free(ring->predecessor);
    arc_free(ring->candidate);
    arc_free(ring->claimant);
    arc_free(ring->self);
    free(ring);
}
