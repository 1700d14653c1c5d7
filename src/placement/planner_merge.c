/* SPDX-License-Identifier: Apache-2.0 */

/* Merges of neighbours that are cold together, the coldest first.
 *
 * A merge sends what one of the two has, so some arcs more than wanted are let
 * be: a peer that leaves takes its count of arcs with it, and may come again.
 * Three reasons are good enough: the arcs are too many by a quarter, a hot arc
 * needs the room, or there is hardly anything to send. */

#include <stdlib.h>

#include "base/mem.h"
#include "placement/planner_state.h"

#define CHEAP 0.125 /* hardly anything to send, over the mean of bytes */
#define MANY 0.25   /* too many arcs, over those wanted */
#define FEW 0.1 /* up to so many, those make room that are colder than others */

struct pair {
    size_t left, right;
    double heat;
    bool cheap;
};

static int by_heat(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->heat != y->heat)
        return x->heat < y->heat ? -1 : 1;
    return (x->left > y->left) - (x->left < y->left);
}

static bool may_merge(const struct planner *p, size_t arc)
{
    return p->in->arcs[arc].may_split && p->arcs[arc].may_move &&
           !p->arcs[arc].has_step;
}

/* Neighbours that may become one. */
static bool is_pair(const struct planner *p, size_t left, size_t right)
{
    const struct plan_arc *l = &p->in->arcs[left], *r = &p->in->arcs[right];
    return may_merge(p, left) && may_merge(p, right) && l->arc->has_hi &&
           span_equal(l->arc->hi, r->arc->lo) && l->replicas == r->replicas &&
           (double)l->bytes + (double)r->bytes <=
               0.75 * (double)l->ceiling_bytes;
}

static size_t find_pairs(const struct planner *p,
                         const struct planner_keyspace *ks, struct pair *pairs)
{
    size_t count = 0;
    double cheap = CHEAP * ks->bytes / (double)ks->want;
    for (size_t i = ks->first; i + 1 < ks->first + ks->count; i++) {
        size_t left = p->sorted[i], right = p->sorted[i + 1];
        double heat = p->arcs[left].heat + p->arcs[right].heat;
        if (heat <= PLAN_COLD && is_pair(p, left, right))
            pairs[count++] =
                (struct pair){ left, right, heat,
                               (double)p->in->arcs[right].bytes <= cheap };
    }
    qsort(pairs, count, sizeof *pairs, by_heat);
    return count;
}

/* What each of them holds goes from the right one's members to the left's. */
static void merge(struct planner *p, const struct pair *pair)
{
    struct plan_step *step =
        planner_add(p, PLAN_MERGE, PLAN_FOR_COLD, pair->right);
    if (!step)
        return;
    const struct plan_arc *l = &p->in->arcs[pair->left];
    const struct plan_arc *r = &p->in->arcs[pair->right];
    const struct planner_arc *from = &p->arcs[pair->right];
    p->arcs[pair->left].has_step = true;
    step->into = l->arc;
    step->bytes = r->bytes * l->arc->member_count;
    for (size_t i = 0; i < r->arc->member_count; i++)
        p->peers[from->member[i]].held -= from->bytes;
    for (size_t i = 0; i < l->arc->member_count; i++)
        p->peers[p->arcs[pair->left].member[i]].held += from->bytes;
    p->peers[from->owner].led -= from->led;
    p->peers[p->arcs[pair->left].owner].led += from->led;
    p->merging++;
}

/* The sum of loads up to which neighbours merge, with as many arcs as now. */
static double cold_of(const struct planner_keyspace *ks)
{
    double more = (double)ks->arcs / (double)ks->want - 1;
    if (more > MANY || (ks->hot && more > FEW))
        return PLAN_COLD;
    return ks->hot ? PLAN_COLD * more / FEW : 0;
}

/* Fewer keys than the wanted arcs should have: it was cut ahead of what is
 * about to be put into it, or it was emptied, which costs little. */
static bool is_ahead(const struct planner *p, const struct planner_keyspace *ks)
{
    double keys = 0, floor = 0;
    for (size_t i = ks->first; i < ks->first + ks->count; i++) {
        const struct plan_arc *a = &p->in->arcs[p->sorted[i]];
        keys += (double)a->keys;
        floor = (double)a->floor_keys;
    }
    return keys < floor * (double)ks->want;
}

static void merge_cold(struct planner *p, struct planner_keyspace *ks,
                       struct pair *pairs)
{
    if (ks->arcs <= ks->want || is_ahead(p, ks))
        return;
    size_t count = find_pairs(p, ks, pairs);
    for (size_t i = 0; i < count && ks->arcs > ks->want; i++) {
        if (p->merging >= p->in->merges_max || p->count == p->max)
            return;
        if ((pairs[i].heat > cold_of(ks) && !pairs[i].cheap) ||
            p->arcs[pairs[i].left].has_step || p->arcs[pairs[i].right].has_step)
            continue;
        merge(p, &pairs[i]);
        ks->arcs--;
    }
}

void planner_merge(struct planner *p)
{
    if (p->in->partial || p->in->merges_max == 0)
        return;
    struct pair *pairs = mem_array(p->in->arc_count, sizeof *pairs);
    for (size_t k = 0; pairs && k < p->keyspace_count; k++)
        merge_cold(p, &p->keyspaces[k], pairs);
    free(pairs);
}
