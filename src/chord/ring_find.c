/* SPDX-License-Identifier: Apache-2.0 */

/* The search for the place where the arc ends: a lookup among what we and
 * others point to. */

#include <assert.h>

#include "chord/order.h"
#include "chord/ring_state.h"
#include "dlht/err.h"

struct lookup_view ring_view(const struct ring *const *ring)
{
    return (struct lookup_view){ (*ring)->config.known, ring, 1 };
}

void ring_find_end(struct ring *ring)
{
    if (ring->finding)
        lookup_deinit(&ring->find);
    ring->finding = false;
}

void ring_find_step(struct ring *ring)
{
    const struct arc *next = lookup_next(&ring->find);
    if (next)
        ring_slot_begin(ring, SLOT_FIND, next);
    if (!ring->slots[SLOT_FIND].target)
        ring_find_end(ring);
}

static void find_offer(struct ring *ring, const struct arc *arc)
{
    ring_consider(ring, arc);
    if (lookup_add(&ring->find, arc) != DLHT_OK)
        return; /* fewer ways to go */
}

static void nearest_known(struct ring *ring, struct lookup_nearest *nearest)
{
    const struct ring *own = ring;
    struct lookup_view view = ring_view(&own);
    nearest->key = order_end(ring->p.self);
    nearest->except = ring->p.self->id;
    nearest->count_max = RING_BEFORE_MAX;
    lookup_offer_view(nearest, &view);
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

void ring_find_begin(struct ring *ring)
{
    assert(!ring->finding);
    if (lookup_init(&ring->find, order_end(ring->p.self), ring->p.self->id) !=
        DLHT_OK)
        return;
    ring->finding = true;
    struct lookup_nearest from = { 0 };
    const struct arc *met = any_met(ring);
    if (met && (ring_is_settled(ring) || rng_chance(&ring->rng, 0.5)))
        from.arcs[from.count++] = met;
    else
        nearest_known(ring, &from);
    /* Copies: what is considered may push out what was met before. */
    struct arc *copies[LOOKUP_NEAR_MAX];
    for (size_t i = 0; i < from.count; i++)
        copies[i] = arc_copy(from.arcs[i]);
    for (size_t i = 0; i < from.count; i++) {
        if (copies[i])
            find_offer(ring, copies[i]);
        arc_free(copies[i]);
    }
    ring_find_step(ring);
}
