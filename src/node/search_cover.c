/* SPDX-License-Identifier: Apache-2.0 */

/* Peers and ranges. */

#include "node/search_cover.h"

#include <stdlib.h>

#include "base/mem.h"
#include "node/search_query.h"

enum {
    RANGE_CUTS_MAX = 4096 /* ranges asked of one peer at once */
};

void search_groups_deinit(struct search_groups *g)
{
    for (size_t i = 0; i < g->count; i++)
        free(g->list[i].list);
    free(g->list);
    *g = (struct search_groups){ 0 };
}

static struct search_group *group_of(struct search_groups *g,
                                     const struct id *peer)
{
    for (size_t i = 0; i < g->count && !id_is_zero(peer); i++)
        if (id_equal(&g->list[i].peer, peer))
            return &g->list[i];
    if (g->count == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 16;
        struct search_group *grown = mem_resize(g->list, cap, sizeof *grown);
        if (!grown)
            return NULL;
        g->list = grown;
        g->cap = cap;
    }
    g->list[g->count] = (struct search_group){ .peer = *peer };
    return &g->list[g->count++];
}

/* Ranges come in ascending order. */
static void group_add(struct search_groups *g, const struct id *peer,
                      const struct key_range *range)
{
    struct search_group *to = group_of(g, peer);
    struct key_range *last = to && to->count ? &to->list[to->count - 1] : NULL;
    if (last && last->has_to && span_equal(last->to, range->from)) {
        last->to = range->to;
        last->has_to = range->has_to;
        return;
    }
    size_t bytes = range->from.len + range->to.len + SEARCH_RANGE_BYTES;
    if (to && to->count &&
        (to->count == RANGE_CUTS_MAX ||
         bytes > SEARCH_RANGES_BYTES_MAX - to->bytes))
        return; /* in the next round */
    if (to && to->count == to->cap) {
        size_t cap = to->cap ? to->cap * 2 : 4;
        struct key_range *grown = mem_resize(to->list, cap, sizeof *grown);
        if (!grown)
            to = NULL;
        else {
            to->list = grown;
            to->cap = cap;
        }
    }
    if (!to) {
        g->failed = true;
        return;
    }
    to->list[to->count++] = *range;
    to->bytes += bytes;
}

/* How many arcs a peer can answer for, of those that nobody was chosen for. */
struct holder {
    struct id peer;
    size_t arcs;
};

static size_t count_holders(struct node *node, const struct keyspace *ks,
                            const struct id *chosen, const struct id *but,
                            struct holder *holders, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < map_count(ks->map); i++) {
        const struct arc *arc = map_at(ks->map, i);
        for (size_t m = 0; id_is_zero(&chosen[i]) && m < arc->member_count;
             m++) {
            const struct id *peer = &arc->members[m].peer;
            size_t at = 0;
            if (!arc->members[m].voter || !node_peer_is_up(node, peer) ||
                (but && id_equal(but + i, peer)))
                continue;
            while (at < count && !id_equal(&holders[at].peer, peer))
                at++;
            if (at == count && count == max)
                continue;
            if (at == count)
                holders[count++] = (struct holder){ .peer = *peer };
            holders[at].arcs++;
        }
    }
    return count;
}

/* Few peers that hold all arcs together: the one that holds most of what is
 * left, again and again; of equal ones this, else one by turns. Arcs that nobody
 * holds keep zero. */
static bool choose_cover(struct node *node, const struct keyspace *ks,
                         uint64_t turn, struct id *chosen, const struct id *but)
{
    size_t max = swim_count(node->swim);
    struct holder *holders = mem_array(max + 1, sizeof *holders);
    if (!holders)
        return false;
    for (;;) {
        size_t count = count_holders(node, ks, chosen, but, holders, max),
               best = 0;
        for (size_t n = 0; n < count; n++) {
            size_t i = (n + turn) % count;
            if (n == 0 || holders[i].arcs > holders[best].arcs ||
                (holders[i].arcs == holders[best].arcs &&
                 node_is_self(node, &holders[i].peer)))
                best = i;
        }
        if (count == 0)
            break;
        for (size_t i = 0; i < map_count(ks->map); i++) {
            const struct arc *arc = map_at(ks->map, i);
            for (size_t m = 0; id_is_zero(&chosen[i]) && m < arc->member_count;
                 m++)
                if (arc->members[m].voter &&
                    id_equal(&arc->members[m].peer, &holders[best].peer) &&
                    !(but && id_equal(but + i, &holders[best].peer)))
                    chosen[i] = holders[best].peer;
        }
    }
    free(holders);
    return true;
}

struct id *search_cover_choose(struct node *node, const struct keyspace *ks,
                               enum search_cover who, uint64_t turn)
{
    size_t arcs = map_count(ks->map);
    struct id *chosen = mem_zero(2 * arcs + 1, sizeof *chosen);
    struct id *first = chosen ? chosen + arcs : NULL;
    bool ok = chosen != NULL;
    if (ok && who == COVER_OWNERS) {
        for (size_t i = 0; i < arcs; i++)
            chosen[i] = map_at(ks->map, i)->owner;
        return chosen;
    }
    if (ok && who == COVER_OTHERS)
        ok = choose_cover(node, ks, turn, first, NULL);
    else
        first = NULL;
    if (ok && choose_cover(node, ks, turn, chosen, first))
        return chosen;
    free(chosen);
    return NULL;
}

void search_cover_cut(const struct keyspace *ks, const struct id *chosen,
                      const struct key_range *gap, bool known_only,
                      struct search_groups *g)
{
    static const struct id nobody;
    struct span at = gap->from;
    for (;;) {
        struct key_range range = { .from = at };
        size_t rank = map_rank(ks->map, at);
        const struct arc *arc = rank ? map_at(ks->map, rank - 1) : NULL;
        const struct id *peer = &nobody;
        if (arc && arc_has(arc, at)) {
            peer = &chosen[rank - 1];
            range.to = arc->hi;
            range.has_to = arc->has_hi;
        } else if (rank < map_count(ks->map)) {
            range.to = map_at(ks->map, rank)->lo;
            range.has_to = true;
        }
        bool last = !range.has_to ||
                    (gap->has_to && span_compare(range.to, gap->to) >= 0);
        if (last) {
            range.to = gap->to;
            range.has_to = gap->has_to;
        }
        if (!known_only || !id_is_zero(peer))
            group_add(g, peer, &range);
        if (last)
            return;
        at = range.to;
    }
}
