/* SPDX-License-Identifier: Apache-2.0 */

/* Find the arc of a key, hop by hop. */

#include "chord/lookup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "chord/order.h"
#include "dlht/err.h"

static bool is_nearer(const struct lookup_nearest *nearest, struct span a,
                      struct span b)
{
    return nearest->after ? order_sooner(nearest->key, a, b)
                          : order_nearer(a, b, nearest->key);
}

void lookup_offer(struct lookup_nearest *nearest, const struct arc *arc)
{
    assert(nearest->count_max <= LOOKUP_NEAR_MAX);
    if (arc->id == nearest->except ||
        (nearest->has_from && !is_nearer(nearest, arc->lo, nearest->from)))
        return;
    size_t at = 0;
    while (at < nearest->count &&
           is_nearer(nearest, nearest->arcs[at]->lo, arc->lo))
        at++;
    if (at == nearest->count_max)
        return;
    if (at < nearest->count && span_equal(nearest->arcs[at]->lo, arc->lo)) {
        if (arc_is_newer(arc, nearest->arcs[at]))
            nearest->arcs[at] = arc;
        return;
    }
    if (nearest->count < nearest->count_max)
        nearest->count++;
    memmove(nearest->arcs + at + 1, nearest->arcs + at,
            (nearest->count - 1 - at) * sizeof(struct arc *));
    nearest->arcs[at] = arc;
}

static void offer(void *context, const struct arc *arc)
{
    lookup_offer(context, arc);
}

void lookup_offer_view(struct lookup_nearest *nearest,
                       const struct lookup_view *view)
{
    for (size_t i = 0; i < view->ring_count; i++) {
        lookup_offer(nearest, ring_self(view->rings[i]));
        ring_each(view->rings[i], offer, nearest);
    }
    size_t count = view->known ? map_count(view->known) : 0;
    size_t rank = count ? map_rank(view->known, nearest->key) : 0;
    /* Behind rank stand those before the key, the last of which may stand at
     * it; two more than fit, for that one and the one left out. */
    for (size_t i = 0; i < count && i < nearest->count_max + 2; i++) {
        size_t at =
            nearest->after ? rank + count - 1 + i : rank + count - 1 - i;
        lookup_offer(nearest, map_at(view->known, at % count));
    }
}

const struct arc *lookup_next_hop(const struct lookup_view *view,
                                  struct span key, const struct arc *from)
{
    struct lookup_nearest nearest = { .key = key, .count_max = 1 };
    if (from) {
        nearest.has_from = true;
        nearest.from = from->lo;
    }
    lookup_offer_view(&nearest, view);
    return nearest.count ? nearest.arcs[0] : NULL;
}

int lookup_init(struct lookup *lookup, struct span key, arc_id except)
{
    *lookup = (struct lookup){ .key_len = key.len };
    lookup->key = malloc(key.len > 0 ? key.len : 1);
    if (!lookup->key)
        return DLHT_ENOMEM;
    if (key.len)
        memcpy(lookup->key, key.data, key.len);
    if (except)
        lookup->asked[lookup->asked_count++] = except;
    return DLHT_OK;
}

static void drop_near(struct lookup *lookup, size_t index)
{
    arc_free(lookup->near[index]);
    lookup->near_count--;
    memmove(lookup->near + index, lookup->near + index + 1,
            (lookup->near_count - index) * sizeof(struct arc *));
}

void lookup_deinit(struct lookup *lookup)
{
    while (lookup->near_count)
        drop_near(lookup, lookup->near_count - 1);
    arc_free(lookup->best);
    free(lookup->key);
    *lookup = (struct lookup){ 0 };
}

static struct span key_of(const struct lookup *lookup)
{
    return span_of(lookup->key, lookup->key_len);
}

static bool was_asked(const struct lookup *lookup, arc_id id)
{
    for (size_t i = 0; i < lookup->asked_count; i++) {
        if (lookup->asked[i] == id)
            return true;
    }
    return false;
}

int lookup_add(struct lookup *lookup, const struct arc *arc)
{
    struct span key = key_of(lookup);
    if (lookup->done || !arc_is_sane(arc) || was_asked(lookup, arc->id) ||
        (lookup->best && !order_nearer(arc->lo, lookup->best->lo, key)))
        return DLHT_OK;
    size_t at = 0;
    while (at < lookup->near_count &&
           order_nearer(lookup->near[at]->lo, arc->lo, key))
        at++;
    if (at == LOOKUP_NEAR_MAX)
        return DLHT_OK;
    if (at < lookup->near_count && lookup->near[at]->id == arc->id) {
        if (!arc_is_newer(arc, lookup->near[at]))
            return DLHT_OK;
        return arc_assign(&lookup->near[at], arc);
    }
    struct arc *copy = arc_copy(arc);
    if (!copy)
        return DLHT_ENOMEM;
    if (lookup->near_count == LOOKUP_NEAR_MAX)
        drop_near(lookup, LOOKUP_NEAR_MAX - 1);
    memmove(lookup->near + at + 1, lookup->near + at,
            (lookup->near_count - at) * sizeof(struct arc *));
    lookup->near[at] = copy;
    lookup->near_count++;
    return DLHT_OK;
}

const struct arc *lookup_next(const struct lookup *lookup)
{
    if (lookup->done || lookup->near_count == 0 ||
        lookup->asked_count > LOOKUP_HOPS_MAX)
        return NULL;
    return lookup->near[0];
}

void lookup_failed(struct lookup *lookup)
{
    assert(lookup_next(lookup));
    lookup->asked[lookup->asked_count++] = lookup->near[0]->id;
    drop_near(lookup, 0);
}

int lookup_answered(struct lookup *lookup, const struct arc *self)
{
    const struct arc *next = lookup_next(lookup);
    assert(next);
    bool as_asked = self->id == next->id && span_equal(self->lo, next->lo);
    struct arc *best = as_asked ? arc_copy(self) : NULL;
    if (!best) {
        lookup_failed(lookup);
        return as_asked ? DLHT_ENOMEM : DLHT_OK;
    }
    arc_free(lookup->best);
    lookup->best = best;
    lookup->done = arc_has(best, key_of(lookup));
    lookup->asked[lookup->asked_count++] = best->id;
    /* The one asked was the nearest, so all others go. */
    while (lookup->near_count)
        drop_near(lookup, lookup->near_count - 1);
    return DLHT_OK;
}
