/* SPDX-License-Identifier: Apache-2.0 */

/* Leaderships and copies go from fuller peers to emptier ones, the fullest
 * first. A move counts only if it does not make the other the fuller one: then
 * the sum of squares of all loads falls, so nothing ever moves to and fro. What
 * it falls by is the gain. */

#include <stdlib.h>

#include "base/mem.h"
#include "placement/planner_state.h"

/* Peers are even by so much above and below the mean, in parts of what one arc
 * is to a peer, within bounds: moves of whole arcs cannot do much better. Of two
 * that are not APART times as far from each other none gives the other anything.
 * Leaderships cost no bytes, so less is let be. */
#define SLACK 1.2
#define SLACK_LEAST 0.06
#define SLACK_MOST 0.13
#define SLACK_MOST_LED 0.09
#define APART 1.5

/* What is balanced: leaderships, or copies. */
struct scale {
    bool led;
    double mean;    /* load per weight */
    double weight;  /* of a peer */
    double slack;   /* a peer is even by so much above and below */
    uint16_t *rank; /* peers that take, the emptiest first */
    size_t count;
    size_t *first;  /* of each peer, in arcs */
    uint32_t *arcs; /* that it leads or holds; those that may move */
};

/* A copy or a leadership that goes from one peer to another. */
struct move {
    size_t arc, from, to;
    double gain; /* 0: none */
};

/* Two leaderships that change hands at once: x's goes to y, who gives one of
 * its own to z. */
struct chain {
    struct move first, second;
    double gain;
};

static double load_of(const struct planner *p, const struct scale *s,
                      size_t peer)
{
    const struct planner_peer *x = &p->peers[peer];
    return (s->led ? x->led : x->held) / x->weight;
}

static double size_of(const struct planner *p, const struct scale *s,
                      size_t arc)
{
    return s->led ? p->arcs[arc].led : p->arcs[arc].bytes;
}

static bool may_move(const struct planner *p, size_t arc)
{
    return p->arcs[arc].may_move && !p->arcs[arc].has_step &&
           !p->in->arcs[arc].stays;
}

static void place(const struct planner *p, struct scale *s, size_t at)
{
    uint16_t peer = s->rank[at];
    double load = load_of(p, s, peer);
    for (; at > 0 && load_of(p, s, s->rank[at - 1]) > load; at--)
        s->rank[at] = s->rank[at - 1];
    for (; at + 1 < s->count && load_of(p, s, s->rank[at + 1]) < load; at++)
        s->rank[at] = s->rank[at + 1];
    s->rank[at] = peer;
}

/* Puts a peer whose load has changed where it belongs. */
static void replace(const struct planner *p, struct scale *s, size_t peer)
{
    size_t at = 0;
    while (at < s->count && s->rank[at] != peer)
        at++;
    if (at < s->count)
        place(p, s, at);
}

struct ranked {
    double load;
    uint16_t peer;
};

static int by_load(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->load != y->load)
        return x->load < y->load ? -1 : 1;
    return (x->peer > y->peer) - (x->peer < y->peer);
}

static double slack_of(const struct planner *p, const struct scale *s)
{
    double sum = 0;
    for (size_t i = 0; i < p->in->arc_count; i++)
        sum += size_of(p, s, i);
    double one = SLACK * sum / (double)(p->in->arc_count + 1);
    double least = SLACK_LEAST * s->mean;
    double most = (s->led ? SLACK_MOST_LED : SLACK_MOST) * s->mean;
    return one < least ? least : one > most ? most : one;
}

static bool rank_peers(const struct planner *p, struct scale *s)
{
    size_t count = p->in->peer_count;
    struct ranked *list = mem_array(count, sizeof *list);
    s->rank = mem_array(count, sizeof *s->rank);
    if (!list || !s->rank) {
        free(list);
        return false;
    }
    double load = 0, weight = 0;
    for (size_t i = 0; i < count; i++) {
        if (!p->peers[i].takes)
            continue;
        list[s->count++] = (struct ranked){ load_of(p, s, i), (uint16_t)i };
        load += s->led ? p->peers[i].led : p->peers[i].held;
        weight += p->peers[i].weight;
    }
    s->mean = weight > 0 ? load / weight : 0;
    s->weight = weight / (double)(s->count ? s->count : 1);
    s->slack = slack_of(p, s);
    qsort(list, s->count, sizeof *list, by_load);
    for (size_t i = 0; i < s->count; i++)
        s->rank[i] = list[i].peer;
    free(list);
    return true;
}

/* Who has which arcs. */
static bool list_arcs(const struct planner *p, struct scale *s)
{
    size_t seats = 0;
    for (size_t i = 0; i < p->in->arc_count; i++)
        seats += p->in->arcs[i].arc->member_count;
    s->first = mem_zero(p->in->peer_count + 2, sizeof *s->first);
    s->arcs = mem_array(seats, sizeof *s->arcs);
    if (!s->first || !s->arcs)
        return false;
    for (int fill = 0; fill < 2; fill++) {
        for (size_t i = 0; i < p->in->arc_count; i++) {
            const struct planner_arc *arc = &p->arcs[i];
            if (!may_move(p, i))
                continue;
            size_t count = s->led ? 1 : p->in->arcs[i].arc->member_count;
            for (size_t k = 0; k < count; k++) {
                size_t peer = s->led ? arc->owner : arc->member[k];
                if (fill)
                    s->arcs[s->first[peer + 1]++] = (uint32_t)i;
                else
                    s->first[peer + 2]++;
            }
        }
        for (size_t i = 0; !fill && i < p->in->peer_count; i++)
            s->first[i + 2] += s->first[i + 1];
    }
    return true;
}

static void scale_deinit(struct scale *s)
{
    free(s->rank);
    free(s->first);
    free(s->arcs);
}

static bool scale_init(const struct planner *p, struct scale *s, bool led)
{
    *s = (struct scale){ .led = led };
    if (rank_peers(p, s) && list_arcs(p, s))
        return true;
    scale_deinit(s);
    return false;
}

/* A heavy peer has more arcs, so it can come nearer to the mean. */
static double slack_at(const struct planner *p, const struct scale *s,
                       size_t peer)
{
    double weight = p->peers[peer].weight;
    return weight > s->weight ? s->slack * s->weight / weight : s->slack;
}

static bool is_over(const struct planner *p, const struct scale *s, size_t peer)
{
    return load_of(p, s, peer) > s->mean + slack_at(p, s, peer);
}

static bool is_under(const struct planner *p, const struct scale *s,
                     size_t peer)
{
    return load_of(p, s, peer) < s->mean - slack_at(p, s, peer);
}

static bool is_even(const struct planner *p, const struct scale *s)
{
    for (size_t i = 0; s->count > 1 && i < s->count; i++)
        if (is_over(p, s, s->rank[i]) || is_under(p, s, s->rank[i]))
            return false;
    return true;
}

/* One of two peers is not even, and far from the other. */
static bool is_apart(const struct planner *p, const struct scale *s,
                     size_t from, size_t to)
{
    double a = slack_at(p, s, from), b = slack_at(p, s, to);
    return load_of(p, s, from) - load_of(p, s, to) > APART * (a < b ? a : b) &&
           (is_over(p, s, from) || is_under(p, s, to));
}

static void weigh(const struct planner *p, const struct scale *s, size_t arc,
                  size_t from, size_t to, struct move *best)
{
    double size = size_of(p, s, arc);
    double change = size / p->peers[from].weight + size / p->peers[to].weight;
    double apart = load_of(p, s, from) - load_of(p, s, to);
    double gain = size * (apart - change / 2);
    if (change <= apart && gain > best->gain)
        *best = (struct move){ arc, from, to, gain };
}

static void weigh_leaders(const struct planner *p, const struct scale *s,
                          size_t arc, size_t from, struct move *best)
{
    const struct arc *a = p->in->arcs[arc].arc;
    for (size_t i = 0; i < a->member_count; i++) {
        size_t to = p->arcs[arc].member[i];
        if (a->members[i].voter && to != from && p->peers[to].takes &&
            is_apart(p, s, from, to))
            weigh(p, s, arc, from, to, best);
    }
}

static bool is_member(const struct planner *p, size_t arc, size_t peer)
{
    for (size_t i = 0; i < p->in->arcs[arc].arc->member_count; i++)
        if (p->arcs[arc].member[i] == peer)
            return true;
    return false;
}

/* To the emptiest peer that may have it, if it is this one who gives it up
 * then: so never are fewer zones left. If that peer only has too much on its
 * way just now, later: somebody else would have to give it on again. */
static void weigh_copy(const struct planner *p, const struct scale *s,
                       size_t arc, size_t from, struct move *best)
{
    double most = is_over(p, s, from) ? load_of(p, s, from) : s->mean;
    for (size_t i = 0; i < s->count; i++) {
        size_t to = s->rank[i];
        if (load_of(p, s, to) >= most)
            return;
        if (!is_apart(p, s, from, to) || is_member(p, arc, to) ||
            planner_surplus(p, arc, to) != from)
            continue;
        if (planner_has_budget(p, arc, from, to))
            weigh(p, s, arc, from, to, best);
        return;
    }
}

/* The best of the fullest peer that can give anything. */
static struct move best_move(const struct planner *p, const struct scale *s)
{
    struct move best = { 0 };
    for (size_t i = s->count; i-- > 0 && best.gain <= 0;) {
        size_t from = s->rank[i];
        for (size_t k = s->first[from]; k < s->first[from + 1]; k++) {
            if (!may_move(p, s->arcs[k]))
                continue;
            if (s->led)
                weigh_leaders(p, s, s->arcs[k], from, &best);
            else
                weigh_copy(p, s, s->arcs[k], from, &best);
        }
    }
    return best;
}

static void make_move(struct planner *p, struct scale *s,
                      const struct move *move)
{
    if (s->led) {
        planner_add_for(p, PLAN_TRANSFER, PLAN_FOR_BALANCE, move->arc,
                        move->to);
        p->peers[move->from].led -= p->arcs[move->arc].led;
        p->peers[move->to].led += p->arcs[move->arc].led;
    } else {
        planner_move_copy(p, PLAN_FOR_BALANCE, move->arc, move->from, move->to);
    }
    replace(p, s, move->from);
    replace(p, s, move->to);
}

static void weigh_chain(const struct planner *p, const struct move *first,
                        const struct move *second, struct chain *best)
{
    const size_t peers[3] = { first->from, first->to, second->to };
    double s1 = p->arcs[first->arc].led, s2 = p->arcs[second->arc].led;
    const double changes[3] = { -s1, s1 - s2, s2 };
    double gain = 0;
    for (size_t i = 0; i < 3; i++) {
        double before = p->peers[peers[i]].led;
        double after = before + changes[i];
        gain += (before * before - after * after) / p->peers[peers[i]].weight;
    }
    /* Not for crumbs: both moves cost their arcs a moment's leader. */
    if (gain > (s1 + s2) * (s1 + s2) / 4 && gain > best->gain)
        *best = (struct chain){ *first, *second, gain };
}

/* All ways on from first: its new leader gives up another arc. */
static void weigh_chains(const struct planner *p, const struct scale *s,
                         const struct move *first, struct chain *best)
{
    for (size_t i = s->first[first->to]; i < s->first[first->to + 1]; i++) {
        size_t arc = s->arcs[i];
        const struct arc *a = p->in->arcs[arc].arc;
        if (!may_move(p, arc))
            continue;
        for (size_t k = 0; k < a->member_count; k++) {
            size_t to = p->arcs[arc].member[k];
            if (!a->members[k].voter || to == first->to || to == first->from ||
                !p->peers[to].takes)
                continue;
            struct move second = { arc, first->to, to, 0 };
            weigh_chain(p, first, &second, best);
        }
    }
}

/* No one move helps: leaders sit where the copies are, so a peer may be able
 * to give only to those that are about as full. */
static bool balance_chain(struct planner *p, struct scale *s)
{
    if (is_even(p, s) || p->max - p->count < 2)
        return false;
    struct chain best = { 0 };
    for (size_t i = s->count; i-- > 0 && best.gain <= 0;) {
        size_t from = s->rank[i];
        if (load_of(p, s, from) < s->mean)
            return false;
        for (size_t k = s->first[from]; k < s->first[from + 1]; k++) {
            size_t arc = s->arcs[k];
            const struct arc *a = p->in->arcs[arc].arc;
            for (size_t m = 0; may_move(p, arc) && m < a->member_count; m++) {
                size_t to = p->arcs[arc].member[m];
                if (!a->members[m].voter || to == from || !p->peers[to].takes)
                    continue;
                struct move first = { arc, from, to, 0 };
                weigh_chains(p, s, &first, &best);
            }
        }
    }
    if (best.gain <= 0)
        return false;
    make_move(p, s, &best.first);
    make_move(p, s, &best.second);
    replace(p, s, best.first.to);
    return true;
}

static bool balance_one(struct planner *p, struct scale *s)
{
    if (is_even(p, s))
        return false;
    struct move best = best_move(p, s);
    if (best.gain > 0)
        make_move(p, s, &best);
    return best.gain > 0;
}

void planner_balance(struct planner *p)
{
    struct scale s;
    if (!scale_init(p, &s, true))
        return;
    while (p->count < p->max && (balance_one(p, &s) || balance_chain(p, &s)))
        ;
    scale_deinit(&s);
    if (p->moving >= p->in->moves_max || !scale_init(p, &s, false))
        return;
    while (p->count < p->max && p->moving < p->in->moves_max &&
           balance_one(p, &s))
        ;
    scale_deinit(&s);
}
