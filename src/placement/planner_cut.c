/* SPDX-License-Identifier: Apache-2.0 */

/* Cuts: arcs that are too large, too few, too hot. */

#include <stdlib.h>

#include "base/mem.h"
#include "placement/planner_state.h"

#define PART_HEAT 1.7 /* of each part of a hot arc, over the mean, at most */
#define PART_SIZE 0.6 /* of a part of a large arc, over the ceiling */

/* An arc that may be cut, to be sorted by its load. */
struct piece {
    size_t arc;
    double heat;
};

static int by_heat(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->heat != y->heat)
        return x->heat < y->heat ? 1 : -1;
    return (x->arc > y->arc) - (x->arc < y->arc);
}

static bool may_cut(const struct planner *p, size_t arc)
{
    const struct plan_arc *a = &p->in->arcs[arc];
    return a->may_split && !a->busy && !p->arcs[arc].has_step && a->keys >= 2;
}

/* Into so many parts, rounded up, if there are parts_max, but PLAN_WAYS_MAX at
 * most. */
static void cut(struct planner *p, struct planner_keyspace *ks, size_t arc,
                enum plan_reason reason, double parts, uint64_t parts_max)
{
    uint64_t ways = parts < PLAN_WAYS_MAX ? (uint64_t)parts : PLAN_WAYS_MAX;
    ways += ways < PLAN_WAYS_MAX && (double)ways < parts;
    ways = ways < 2 ? 2 : ways;
    ways = ways < parts_max ? ways : parts_max;
    if (ways < 2)
        return;
    struct plan_step *step = planner_add(p, PLAN_SPLIT, reason, arc);
    if (!step)
        return;
    step->ways = (unsigned)ways;
    ks->arcs += ways - 1;
}

static void cut_large(struct planner *p, struct planner_keyspace *ks)
{
    for (size_t i = ks->first; i < ks->first + ks->count; i++) {
        size_t arc = p->sorted[i];
        const struct plan_arc *a = &p->in->arcs[arc];
        if (may_cut(p, arc) && a->bytes > a->ceiling_bytes) {
            double size = (double)a->bytes / ((double)a->ceiling_bytes + 1);
            cut(p, ks, arc, PLAN_FOR_SIZE, size / PART_SIZE, a->keys);
        }
    }
}

/* How many parts no smaller than the floor an arc has. */
static uint64_t parts_of(const struct planner *p, size_t arc)
{
    const struct plan_arc *a = &p->in->arcs[arc];
    return a->floor_keys ? a->keys / a->floor_keys : a->keys;
}

/* Until the keyspace has enough arcs, the most loaded first. */
static void cut_few(struct planner *p, struct planner_keyspace *ks,
                    const struct piece *pieces, size_t count)
{
    for (size_t i = 0; i < count && ks->arcs < ks->want; i++) {
        uint64_t most = ks->want - ks->arcs + 1;
        uint64_t parts = parts_of(p, pieces[i].arc);
        if (may_cut(p, pieces[i].arc))
            cut(p, ks, pieces[i].arc, PLAN_FOR_COUNT, pieces[i].heat - 0.5,
                parts < most ? parts : most);
    }
}

/* The more arcs beyond those wanted, the less an arc may have: near the limit
 * few must not be far above all others. Never so little that two cold ones that
 * merged were hot, or they would be cut again. */
static double hot_of(const struct planner_keyspace *ks)
{
    double more = (double)ks->arcs / (double)ks->want;
    double most = PLAN_HOT / PLAN_COLD;
    return PLAN_HOT / (more < 1 ? 1 : more < most ? more : most);
}

/* Beyond the wanted count, up to twice as many. Parts of one arc are never cold
 * enough to merge again. */
static void cut_hot(struct planner *p, struct planner_keyspace *ks,
                    const struct piece *pieces, size_t count)
{
    double hot = hot_of(ks);
    for (size_t i = 0; i < count && pieces[i].heat > hot; i++) {
        size_t arc = pieces[i].arc;
        uint64_t parts = parts_of(p, arc);
        if (!may_cut(p, arc) || parts < 2)
            continue;
        /* Where one is cut, so are those that soon would be. */
        ks->hot = true;
        hot = PLAN_COLD;
        uint64_t most = 2 * ks->want > ks->arcs ? 2 * ks->want - ks->arcs : 0;
        cut(p, ks, arc, PLAN_FOR_HOT, pieces[i].heat / PART_HEAT,
            parts < most + 1 ? parts : most + 1);
    }
}

void planner_cut(struct planner *p)
{
    struct piece *pieces = mem_array(p->in->arc_count, sizeof *pieces);
    for (size_t k = 0; pieces && k < p->keyspace_count; k++) {
        struct planner_keyspace *ks = &p->keyspaces[k];
        size_t count = 0;
        cut_large(p, ks);
        for (size_t i = ks->first; i < ks->first + ks->count; i++)
            if (may_cut(p, p->sorted[i]))
                pieces[count++] =
                    (struct piece){ p->sorted[i], p->arcs[p->sorted[i]].heat };
        qsort(pieces, count, sizeof *pieces, by_heat);
        cut_few(p, ks, pieces, count);
        if (!p->in->partial)
            cut_hot(p, ks, pieces, count);
    }
    free(pieces);
}
