/* SPDX-License-Identifier: Apache-2.0 */

/* What one arc points to. */

#include "chord/pointers.h"

#include <assert.h>
#include <string.h>

#include "chord/order.h"
#include "dlht/err.h"

int pointers_set(struct arc **to, const struct arc *from)
{
    if (*to && (*to)->id == from->id && !arc_is_newer(from, *to))
        return DLHT_OK;
    return arc_assign(to, from);
}

void pointers_clear(struct arc **arc)
{
    arc_free(*arc);
    *arc = NULL;
}

int pointers_init(struct pointers *p, const struct arc *self, size_t list_len)
{
    assert(arc_is_sane(self));
    assert(list_len > 0 && list_len <= RING_LIST_MAX);
    *p = (struct pointers){ .list_len = list_len };
    return arc_assign(&p->self, self);
}

void pointers_deinit(struct pointers *p)
{
    for (size_t i = 0; i < p->list_count; i++)
        arc_free(p->list[i]);
    for (size_t i = 0; i < RING_LEVELS_MAX; i++)
        arc_free(p->fingers[i]);
    for (size_t i = 0; i < POINTERS_MET_MAX; i++)
        arc_free(p->met[i]);
    arc_free(p->predecessor);
    arc_free(p->candidate);
    arc_free(p->self);
    *p = (struct pointers){ 0 };
}

bool pointers_is_self(const struct pointers *p, const struct arc *arc)
{
    return arc->id == p->self->id;
}

/* No other arc stands in ours; if one is thought to, it is long merged or a
 * liar told of it. */
bool pointers_is_inside(const struct pointers *p, const struct arc *arc)
{
    return arc_has(p->self, arc->lo);
}

bool pointers_is_exact(const struct pointers *p, const struct arc *arc)
{
    return span_equal(order_end(p->self), arc->lo);
}

void pointers_set_list_len(struct pointers *p, size_t len)
{
    assert(len > 0 && len <= RING_LIST_MAX);
    p->list_len = len;
    while (p->list_count > len)
        pointers_clear(&p->list[--p->list_count]);
}

const struct arc *pointers_successor(const struct pointers *p, size_t index)
{
    assert(index < p->list_len);
    return index < p->list_count ? p->list[index] : p->self;
}

bool pointers_is_before_head(const struct pointers *p, const struct arc *arc)
{
    return !pointers_is_self(p, arc) && !pointers_is_inside(p, arc) &&
           order_between(p->self->lo, arc->lo, pointers_successor(p, 0)->lo);
}

/* Where told stands in our list as new as that, or list_count. */
static size_t held_as_new(const struct pointers *p, const struct arc *told)
{
    size_t i = 0;
    while (i < p->list_count &&
           (p->list[i]->id != told->id || arc_is_newer(told, p->list[i]) ||
            !span_equal(p->list[i]->lo, told->lo)))
        i++;
    return i;
}

/* Adds arcs of from to picks while they go up the ring from the last one to
 * us. The rest is of another turn, or no list at all. */
static size_t pick(const struct pointers *p, const struct arc **picks,
                   size_t count, const struct arc *const *from,
                   size_t from_count)
{
    struct span at = count ? picks[count - 1]->lo : p->self->lo;
    for (size_t i = 0; i < from_count && count < p->list_len; i++) {
        const struct arc *arc = from[i];
        if (pointers_is_self(p, arc) || pointers_is_inside(p, arc) ||
            !order_between(at, arc->lo, p->self->lo))
            break;
        picks[count++] = arc;
        at = arc->lo;
    }
    return count;
}

/* Makes the list of picks, which may be ours; keeps what it holds already. */
static int set_list(struct pointers *p, const struct arc *const *picks,
                    size_t count)
{
    struct arc *made[RING_LIST_MAX] = { NULL };
    size_t held[RING_LIST_MAX];
    bool kept[RING_LIST_MAX] = { false };
    for (size_t i = 0; i < count; i++) {
        held[i] = held_as_new(p, picks[i]);
        if (held[i] < p->list_count)
            continue;
        made[i] = arc_copy(picks[i]);
        if (made[i])
            continue;
        while (i-- > 0)
            arc_free(made[i]);
        return DLHT_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        if (made[i])
            continue;
        assert(!kept[held[i]]);
        kept[held[i]] = true;
        made[i] = p->list[held[i]];
    }
    for (size_t i = 0; i < p->list_count; i++) {
        if (!kept[i])
            arc_free(p->list[i]);
    }
    memcpy(p->list, made, count * sizeof *made);
    p->list_count = count;
    return DLHT_OK;
}

int pointers_adopt(struct pointers *p, const struct arc *head,
                   const struct arc *const *list, size_t count)
{
    const struct arc *picks[RING_LIST_MAX];
    size_t picked = pick(p, picks, 0, &head, 1);
    if (picked == 0)
        return DLHT_OK;
    picked = pick(p, picks, picked, list, count);
    if (count == 0) {
        size_t skip = 0;
        while (skip < p->list_count &&
               !order_between(head->lo, p->list[skip]->lo, p->self->lo))
            skip++;
        picked =
            pick(p, picks, picked, (const struct arc *const *)p->list + skip,
                 p->list_count - skip);
    }
    int rc = set_list(p, picks, picked);
    if (rc == DLHT_OK && p->candidate &&
        !pointers_is_before_head(p, p->candidate))
        pointers_clear(&p->candidate);
    return rc;
}

static void drop_entry(struct pointers *p, size_t index)
{
    assert(index < p->list_count);
    arc_free(p->list[index]);
    p->list_count--;
    memmove(p->list + index, p->list + index + 1,
            (p->list_count - index) * sizeof(struct arc *));
}

void pointers_drop_head(struct pointers *p)
{
    if (p->list_count > 0)
        drop_entry(p, 0);
}

void pointers_drop_finger(struct pointers *p, arc_id id)
{
    for (size_t i = 1; i < RING_LEVELS_MAX; i++) {
        if (p->fingers[i] && p->fingers[i]->id == id)
            pointers_clear(&p->fingers[i]);
    }
}

const struct arc *pointers_below(const struct pointers *p, size_t level)
{
    if (level == 0 || level >= RING_LEVELS_MAX)
        return NULL;
    if (level == 1)
        return p->list_count > 0 ? p->list[0] : NULL;
    return p->fingers[level - 1];
}

bool pointers_set_finger(struct pointers *p, size_t level,
                         const struct arc *found)
{
    assert(level > 0 && level < RING_LEVELS_MAX);
    const struct arc *below = pointers_below(p, level);
    if (!found || !below || pointers_is_self(p, found) ||
        pointers_is_inside(p, found) ||
        !order_between(below->lo, found->lo, p->self->lo)) {
        for (size_t i = level; i < RING_LEVELS_MAX; i++)
            pointers_clear(&p->fingers[i]);
        return false;
    }
    bool changed = !p->fingers[level] || p->fingers[level]->id != found->id;
    return pointers_set(&p->fingers[level], found) == DLHT_OK && changed;
}

bool pointers_rectify(struct pointers *p, const struct arc *from)
{
    const struct arc *held = p->predecessor;
    if (pointers_is_self(p, from) || pointers_is_inside(p, from))
        return false;
    bool exact = span_equal(order_end(from), p->self->lo);
    if (held && !order_between(held->lo, from->lo, p->self->lo) &&
        !(exact && arc_is_newer(from, held)))
        return false;
    return pointers_set(&p->predecessor, from) == DLHT_OK;
}

static void refresh(struct arc **held, const struct arc *news)
{
    if (*held && (*held)->id == news->id && span_equal((*held)->lo, news->lo) &&
        pointers_set(held, news) != DLHT_OK)
        return; /* the older descriptor will do */
}

void pointers_learn(struct pointers *p, const struct arc *news)
{
    for (size_t i = 0; i < p->list_count; i++)
        refresh(&p->list[i], news);
    for (size_t i = 1; i < RING_LEVELS_MAX; i++)
        refresh(&p->fingers[i], news);
    for (size_t i = 0; i < POINTERS_MET_MAX; i++)
        refresh(&p->met[i], news);
    refresh(&p->predecessor, news);
    refresh(&p->candidate, news);
}

int pointers_set_self(struct pointers *p, const struct arc *self)
{
    assert(self->id == p->self->id && arc_is_sane(self));
    assert(span_equal(self->lo, p->self->lo));
    if (arc_assign(&p->self, self) != DLHT_OK)
        return DLHT_ENOMEM;
    for (size_t i = p->list_count; i-- > 0;) {
        if (pointers_is_inside(p, p->list[i]))
            drop_entry(p, i);
    }
    for (size_t i = 1; i < RING_LEVELS_MAX; i++) {
        if (p->fingers[i] && pointers_is_inside(p, p->fingers[i]))
            pointers_clear(&p->fingers[i]);
    }
    for (size_t i = 0; i < POINTERS_MET_MAX; i++) {
        if (p->met[i] && pointers_is_inside(p, p->met[i]))
            pointers_clear(&p->met[i]);
    }
    if (p->predecessor && pointers_is_inside(p, p->predecessor))
        pointers_clear(&p->predecessor);
    if (p->candidate && !pointers_is_before_head(p, p->candidate))
        pointers_clear(&p->candidate);
    return DLHT_OK;
}

int pointers_inherit(struct pointers *p, const struct pointers *from)
{
    const struct arc *picks[RING_LIST_MAX];
    const struct arc *parent = from->self;
    size_t count = pick(p, picks, 0, (const struct arc *const *)from->list,
                        from->list_count);
    count = pick(p, picks, count, &parent, 1);
    if (set_list(p, picks, count) != DLHT_OK)
        return DLHT_ENOMEM;
    for (size_t i = 1; i < RING_LEVELS_MAX; i++) {
        const struct arc *finger = from->fingers[i];
        if (finger && !pointers_is_inside(p, finger) &&
            !pointers_is_self(p, finger) &&
            pointers_set(&p->fingers[i], finger) != DLHT_OK)
            return DLHT_ENOMEM;
    }
    if (pointers_is_inside(p, parent))
        return DLHT_OK;
    return pointers_set(&p->predecessor, parent);
}

void pointers_meet(struct pointers *p, struct rng *rng, const struct arc *arc)
{
    if (pointers_is_self(p, arc) || pointers_is_inside(p, arc))
        return;
    size_t place = POINTERS_MET_MAX;
    for (size_t i = POINTERS_MET_MAX; i-- > 0;) {
        if (!p->met[i])
            place = i;
    }
    for (size_t i = 0; i < POINTERS_MET_MAX; i++) {
        if (p->met[i] && p->met[i]->id == arc->id)
            place = i;
    }
    /* The first place is kept for the first, a hint of the node. */
    if (place == POINTERS_MET_MAX)
        place = (size_t)rng_range(rng, 1, POINTERS_MET_MAX - 1);
    if (pointers_set(&p->met[place], arc) != DLHT_OK)
        return; /* a help, no promise */
}

void pointers_unmeet(struct pointers *p, arc_id id)
{
    for (size_t i = 0; i < POINTERS_MET_MAX; i++) {
        if (p->met[i] && p->met[i]->id == id)
            pointers_clear(&p->met[i]);
    }
}

void pointers_check(const struct pointers *p)
{
    assert(arc_is_sane(p->self));
    assert(p->list_count <= p->list_len);
    struct span at = p->self->lo;
    for (size_t i = 0; i < p->list_count; i++) {
        const struct arc *arc = p->list[i];
        assert(!pointers_is_self(p, arc) && !pointers_is_inside(p, arc));
        assert(order_between(at, arc->lo, p->self->lo));
        at = arc->lo;
    }
    for (size_t i = 1; i < RING_LEVELS_MAX; i++)
        assert(!p->fingers[i] || !pointers_is_inside(p, p->fingers[i]));
    assert(!p->predecessor || !pointers_is_inside(p, p->predecessor));
    assert(!p->candidate || pointers_is_before_head(p, p->candidate));
}
