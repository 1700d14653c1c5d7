/* SPDX-License-Identifier: Apache-2.0 */

/* Walks the tokens of two rings at once: between two neighbouring tokens of
 * either, the nodes of a position are the same. */

#include "placement/hashring_plan.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "dlht/err.h"
#include "placement/hashring_state.h"

/* The nodes of a position in one ring, as indices of the plan. */
struct places {
    uint32_t nodes[HASHRING_REPLICAS_MAX];
    size_t count;
};

struct work {
    struct hashring_plan *plan;
    size_t copies;
    uint32_t *old_index; /* owned: of the old ring's nodes in the plan */
    uint32_t *new_index; /* owned */
    size_t move_cap;
    bool last_moved;
};

/* --- nodes of either ring */

static void add_node(struct hashring_plan *plan, struct span id, bool was,
                     bool is)
{
    plan->nodes[plan->node_count++] =
        (struct hashring_plan_node){ .id = id, .was = was, .is = is };
}

static void join_nodes(struct work *work)
{
    const struct hashring *a = work->plan->old_ring;
    const struct hashring *b = work->plan->new_ring;
    size_t i = 0;
    size_t k = 0;
    while (i < a->member_count || k < b->member_count) {
        int order = 0;
        if (i == a->member_count)
            order = 1;
        else if (k == b->member_count)
            order = -1;
        else
            order = span_compare(a->members[i].id, b->members[k].id);
        struct span id = order <= 0 ? a->members[i].id : b->members[k].id;
        uint32_t index = (uint32_t)work->plan->node_count;
        if (order <= 0)
            work->old_index[i++] = index;
        if (order >= 0)
            work->new_index[k++] = index;
        add_node(work->plan, id, order <= 0, order >= 0);
    }
}

/* --- fair shares: by weight, but no node has two copies of one thing */

/* Writes the share of all copies that is fair for each member. What a node
 * cannot take for being at 1 / copies is shared out among the others, until
 * none is over. */
static void fair_shares(const struct hashring *ring, size_t copies,
                        double *fair)
{
    size_t n = ring->member_count;
    size_t takers = ring->taker_count;
    double most = 1.0 / (double)(copies < takers ? copies : takers);
    size_t full = 0;
    size_t full_before = SIZE_MAX;
    double left = 1;
    for (size_t i = 0; i < n; i++)
        fair[i] = 0;
    while (full != full_before && full < takers) {
        double weight = 0;
        full_before = full;
        for (size_t i = 0; i < n; i++)
            weight += fair[i] >= most ? 0 : ring->members[i].weight;
        for (size_t i = 0; i < n; i++)
            if (fair[i] < most)
                fair[i] = left * ring->members[i].weight / weight;
        left = 1;
        full = 0;
        for (size_t i = 0; i < n; i++)
            if (fair[i] >= most) {
                fair[i] = most;
                left -= most;
                full++;
            }
    }
}

static int measure_ideal(struct work *work)
{
    struct hashring_plan *plan = work->plan;
    const struct hashring *a = plan->old_ring;
    const struct hashring *b = plan->new_ring;
    double *fair = mem_array(a->member_count + b->member_count, sizeof *fair);
    double *was = mem_zero(plan->node_count, sizeof *was);
    if (fair && was) {
        fair_shares(a, work->copies, fair);
        fair_shares(b, work->copies, fair + a->member_count);
        for (size_t i = 0; i < a->member_count; i++)
            was[work->old_index[i]] = fair[i];
        for (size_t i = 0; i < b->member_count; i++)
            plan->nodes[work->new_index[i]].fair_share =
                fair[a->member_count + i];
        for (size_t i = 0; i < plan->node_count; i++)
            if (plan->nodes[i].fair_share > was[i])
                plan->ideal += plan->nodes[i].fair_share - was[i];
    }
    bool done = fair && was;
    free(fair);
    free(was);
    return done ? DLHT_OK : DLHT_ENOMEM;
}

/* --- one stretch of the ring */

static void places_at(const struct hashring *ring, const uint32_t *index,
                      uint64_t position, size_t copies, struct places *places)
{
    places->count = hashring_replicas_at(ring, position, copies, places->nodes);
    for (size_t i = 0; i < places->count; i++)
        places->nodes[i] = index[places->nodes[i]];
}

static bool has(const struct places *places, uint32_t node)
{
    for (size_t i = 0; i < places->count; i++)
        if (places->nodes[i] == node)
            return true;
    return false;
}

/* Adds a stretch that is `share` of the ring; whether a copy moves. */
static bool account(struct work *work, const struct places *a,
                    const struct places *b, double share)
{
    struct hashring_plan *plan = work->plan;
    bool moves = false;
    for (size_t i = 0; i < a->count; i++) {
        struct hashring_plan_node *node = &plan->nodes[a->nodes[i]];
        bool lost = !has(b, a->nodes[i]);
        node->old_share += share / (double)a->count;
        node->lost += lost ? share / (double)a->count : 0;
        moves = moves || lost;
    }
    for (size_t i = 0; i < b->count; i++) {
        struct hashring_plan_node *node = &plan->nodes[b->nodes[i]];
        bool gained = !has(a, b->nodes[i]);
        node->new_share += share / (double)b->count;
        node->gained += gained ? share / (double)b->count : 0;
        plan->moved += gained ? share / (double)b->count : 0;
        moves = moves || gained;
    }
    if (a->count == 0 || b->count == 0 || a->nodes[0] != b->nodes[0]) {
        plan->holder_moved += a->count + b->count > 0 ? share : 0;
        moves = moves || a->count + b->count > 0;
    }
    return moves;
}

static bool same(const uint32_t *nodes, size_t count,
                 const struct places *places)
{
    return count == places->count &&
           memcmp(nodes, places->nodes, count * sizeof *nodes) == 0;
}

static int grow(struct work *work)
{
    struct hashring_plan *plan = work->plan;
    size_t cap = work->move_cap ? 2 * work->move_cap : 64;
    void *moves = mem_resize(plan->moves, cap, sizeof *plan->moves);
    if (!moves)
        return DLHT_ENOMEM;
    plan->moves = moves;
    void *lists = mem_resize(plan->node_lists, cap,
                             2 * work->copies * sizeof *plan->node_lists);
    if (!lists)
        return DLHT_ENOMEM;
    plan->node_lists = lists;
    work->move_cap = cap;
    return DLHT_OK;
}

/* The lists of move i, old before new. They move while the plan grows, so the
 * moves are pointed at them last. */
static uint32_t *list(const struct work *work, size_t i)
{
    return work->plan->node_lists + i * 2 * work->copies;
}

static int add_move(struct work *work, uint64_t from, uint64_t to,
                    const struct places *a, const struct places *b)
{
    struct hashring_plan *plan = work->plan;
    if (plan->move_count > 0 && work->last_moved) {
        size_t last = plan->move_count - 1;
        struct hashring_move *move = &plan->moves[last];
        if (same(list(work, last), move->old_count, a) &&
            same(list(work, last) + work->copies, move->new_count, b)) {
            move->to = to;
            return DLHT_OK;
        }
    }
    if (plan->move_count == work->move_cap && grow(work) != DLHT_OK)
        return DLHT_ENOMEM;
    uint32_t *nodes = list(work, plan->move_count);
    memcpy(nodes, a->nodes, a->count * sizeof *nodes);
    memcpy(nodes + work->copies, b->nodes, b->count * sizeof *nodes);
    plan->moves[plan->move_count++] =
        (struct hashring_move){ .from = from,
                                .to = to,
                                .old_count = (uint32_t)a->count,
                                .new_count = (uint32_t)b->count };
    return DLHT_OK;
}

static double share_of(uint64_t from, uint64_t to)
{
    return from == to ? 1 : (double)(to - from) * 0x1p-64;
}

/* (from, to], in which neither ring has a token but at its end. */
static int add_stretch(struct work *work, uint64_t from, uint64_t to)
{
    struct hashring_plan *plan = work->plan;
    struct places a;
    struct places b;
    int rc = DLHT_OK;
    places_at(plan->old_ring, work->old_index, to, work->copies, &a);
    places_at(plan->new_ring, work->new_index, to, work->copies, &b);
    bool moves = account(work, &a, &b, share_of(from, to));
    if (moves)
        rc = add_move(work, from, to, &a, &b);
    work->last_moved = moves;
    return rc;
}

/* The next place of a token of either ring; false: there are no more. */
static bool next_place(const struct work *work, size_t *i, size_t *k,
                       uint64_t *place)
{
    const struct hashring *a = work->plan->old_ring;
    const struct hashring *b = work->plan->new_ring;
    bool in_a = *i < a->token_count;
    bool in_b = *k < b->token_count;
    if (!in_a && !in_b)
        return false;
    if (in_a && (!in_b || a->positions[*i] <= b->positions[*k]))
        *place = a->positions[*i];
    else
        *place = b->positions[*k];
    while (*i < a->token_count && a->positions[*i] == *place)
        ++*i;
    while (*k < b->token_count && b->positions[*k] == *place)
        ++*k;
    return true;
}

static uint64_t last_place(const struct work *work)
{
    const struct hashring *a = work->plan->old_ring;
    const struct hashring *b = work->plan->new_ring;
    uint64_t place = a->token_count ? a->positions[a->token_count - 1] : 0;
    if (b->token_count && b->positions[b->token_count - 1] > place)
        place = b->positions[b->token_count - 1];
    return place;
}

static int walk(struct work *work)
{
    uint64_t from = last_place(work);
    uint64_t to;
    size_t i = 0;
    size_t k = 0;
    int rc = DLHT_OK;
    while (rc == DLHT_OK && next_place(work, &i, &k, &to)) {
        rc = add_stretch(work, from, to);
        from = to;
    }
    return rc;
}

static void sample(struct work *work)
{
    struct hashring_plan *plan = work->plan;
    struct rng rng;
    struct places a;
    struct places b;
    rng_init(&rng, plan->new_ring->config.seed);
    plan->sampled = true;
    for (size_t i = 0; i < HASHRING_PLAN_SAMPLES; i++) {
        uint64_t at = rng_next(&rng);
        places_at(plan->old_ring, work->old_index, at, work->copies, &a);
        places_at(plan->new_ring, work->new_index, at, work->copies, &b);
        (void)account(work, &a, &b, 1.0 / HASHRING_PLAN_SAMPLES);
    }
}

/* Points moves at their lists, and counts them by node. */
static void finish(struct work *work)
{
    struct hashring_plan *plan = work->plan;
    for (size_t i = 0; i < plan->move_count; i++) {
        struct hashring_move *m = &plan->moves[i];
        struct places a = { .count = m->old_count };
        struct places b = { .count = m->new_count };
        m->old_nodes = list(work, i);
        m->new_nodes = m->old_nodes + work->copies;
        memcpy(a.nodes, m->old_nodes, a.count * sizeof *a.nodes);
        memcpy(b.nodes, m->new_nodes, b.count * sizeof *b.nodes);
        for (size_t k = 0; k < a.count; k++)
            plan->nodes[a.nodes[k]].lost_count += !has(&b, a.nodes[k]);
        for (size_t k = 0; k < b.count; k++)
            plan->nodes[b.nodes[k]].gained_count += !has(&a, b.nodes[k]);
    }
}

static int fill(struct work *work)
{
    struct hashring_plan *plan = work->plan;
    size_t a = plan->old_ring->member_count;
    size_t b = plan->new_ring->member_count;
    plan->nodes = mem_array(a + b, sizeof *plan->nodes);
    work->old_index = mem_array(a, sizeof *work->old_index);
    work->new_index = mem_array(b, sizeof *work->new_index);
    if (!plan->nodes || !work->old_index || !work->new_index)
        return DLHT_ENOMEM;
    join_nodes(work);
    int rc = measure_ideal(work);
    if (plan->old_ring->config.probes > 1 || plan->new_ring->config.probes > 1)
        sample(work);
    else if (rc == DLHT_OK)
        rc = walk(work);
    if (rc == DLHT_OK)
        finish(work);
    return rc;
}

int hashring_plan_new(struct hashring *old_ring, struct hashring *new_ring,
                      size_t copies, struct hashring_plan **out)
{
    *out = NULL;
    if (copies < 1 || copies > HASHRING_REPLICAS_MAX)
        return DLHT_EINVAL;
    struct work work = { .copies = copies };
    work.plan = mem_zero(1, sizeof *work.plan);
    if (!work.plan)
        return DLHT_ENOMEM;
    work.plan->old_ring = hashring_hold(old_ring);
    work.plan->new_ring = hashring_hold(new_ring);
    int rc = fill(&work);
    free(work.old_index);
    free(work.new_index);
    if (rc != DLHT_OK) {
        hashring_plan_free(work.plan);
        return rc;
    }
    *out = work.plan;
    return DLHT_OK;
}

void hashring_plan_free(struct hashring_plan *plan)
{
    if (!plan)
        return;
    hashring_drop(plan->old_ring);
    hashring_drop(plan->new_ring);
    free(plan->moves);
    free(plan->nodes);
    free(plan->node_lists);
    free(plan);
}
