/* SPDX-License-Identifier: Apache-2.0 */

/* The plan between two rings against asking both for many keys. */

#include "placement/hashring_plan.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "chord/fail_alloc.h"
#include "dlht/err.h"

enum {
    KEYS = 100000,
    SEEDS = 6
};

static const char *const zones[] = { "", "a", "b", "c" };

/* Some changes that may be done to a ring of nodes "00" .. "39". */
static struct hashring *changed(struct hashring *ring, struct rng *rng,
                                size_t count)
{
    ring = hashring_hold(ring);
    while (count > 0) {
        char name[8];
        int len =
            snprintf(name, sizeof name, "%02u", (unsigned)rng_below(rng, 40));
        struct hashring_change c = { .verb = HASHRING_ADD,
                                     .id = span_of(name, (size_t)len),
                                     .weight = 0.5 + rng_real(rng),
                                     .zone =
                                         span_str(zones[rng_below(rng, 4)]) };
        struct hashring *next;
        if (hashring_seek(ring, c.id) != SIZE_MAX)
            c.verb = rng_chance(rng, 0.5) ? HASHRING_REMOVE : HASHRING_REWEIGHT;
        if (hashring_apply(ring, &c, 1, &next, NULL) != DLHT_OK)
            continue;
        hashring_drop(ring);
        ring = next;
        count--;
    }
    return ring;
}

static bool covers(const struct hashring_move *m, uint64_t at)
{
    return m->from == m->to || at - m->from - 1 < m->to - m->from;
}

/* The move that covers a place, NULL: none. Two are a fault. */
static const struct hashring_move *move_at(const struct hashring_plan *plan,
                                           uint64_t at)
{
    size_t lo = 0;
    size_t hi = plan->move_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (plan->moves[mid].to < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < plan->move_count && covers(&plan->moves[lo], at))
        return &plan->moves[lo];
    /* The first may go over zero. */
    if (plan->move_count > 0 && covers(&plan->moves[0], at))
        return &plan->moves[0];
    return NULL;
}

static bool among(const uint32_t *nodes, size_t count, uint32_t node)
{
    for (size_t i = 0; i < count; i++)
        if (nodes[i] == node)
            return true;
    return false;
}

/* The nodes of a place as indices of the plan, by their ids. */
static size_t nodes_at(const struct hashring_plan *plan,
                       const struct hashring *ring, uint64_t at, size_t copies,
                       uint32_t *nodes)
{
    size_t n = hashring_replicas_at(ring, at, copies, nodes);
    for (size_t i = 0; i < n; i++) {
        struct span id = hashring_node(ring, nodes[i]).id;
        uint32_t k = 0;
        while (!span_equal(plan->nodes[k].id, id))
            k++;
        nodes[i] = k;
    }
    return n;
}

struct tally {
    double moved;
    double holder_moved;
    double gained[80];
    double lost[80];
};

static void ask(const struct hashring_plan *plan, size_t copies, uint64_t at,
                struct tally *tally)
{
    uint32_t a[16];
    uint32_t b[16];
    size_t na = nodes_at(plan, plan->old_ring, at, copies, a);
    size_t nb = nodes_at(plan, plan->new_ring, at, copies, b);
    bool moves = na == 0 || nb == 0 || a[0] != b[0];
    tally->holder_moved += moves;
    for (size_t i = 0; i < na; i++)
        if (!among(b, nb, a[i])) {
            tally->lost[a[i]] += 1.0 / (double)na;
            moves = true;
        }
    for (size_t i = 0; i < nb; i++)
        if (!among(a, na, b[i])) {
            tally->gained[b[i]] += 1.0 / (double)nb;
            tally->moved += 1.0 / (double)nb;
            moves = true;
        }
    const struct hashring_move *m = move_at(plan, at);
    if (plan->sampled)
        return;
    cr_assert_eq(m != NULL, moves);
    if (m) {
        cr_assert(m->old_count == na && m->new_count == nb);
        cr_assert_eq(memcmp(m->old_nodes, a, na * sizeof *a), 0);
        cr_assert_eq(memcmp(m->new_nodes, b, nb * sizeof *b), 0);
    }
}

/* Within six standard deviations of what so many keys can tell. */
static bool near(double share, double count)
{
    double p = count / KEYS;
    double keys = KEYS;
    if (share < 0.0001 && p < 0.001)
        return true;
    return fabs(share - p) < 6 * sqrt((share + 0.0001) / keys) * 1.5;
}

static void compare(const struct hashring_plan *plan, size_t copies,
                    uint64_t seed)
{
    struct tally t = { 0 };
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < KEYS; i++)
        ask(plan, copies, rng_next(&rng), &t);
    for (size_t i = 0; i < plan->move_count && i < 2000; i++) {
        struct tally ends = { 0 };
        ask(plan, copies, plan->moves[i].to, &ends);
        ask(plan, copies, plan->moves[i].to + 1, &ends);
        ask(plan, copies, plan->moves[i].from, &ends);
        ask(plan, copies, plan->moves[i].from + 1, &ends);
    }
    cr_expect(near(plan->moved, t.moved), "%f %f", plan->moved, t.moved);
    cr_expect(near(plan->holder_moved, t.holder_moved));
    double gained = 0;
    for (size_t i = 0; i < plan->node_count; i++) {
        const struct hashring_plan_node *node = &plan->nodes[i];
        cr_expect(near(node->gained, t.gained[i]));
        cr_expect(near(node->lost, t.lost[i]));
        if (hashring_node_count(plan->old_ring) >= copies &&
            hashring_node_count(plan->new_ring) >= copies)
            cr_expect_float_eq(node->new_share - node->old_share,
                               node->gained - node->lost, 1e-9);
        gained += node->gained;
    }
    cr_expect_float_eq(gained, plan->moved, 1e-9);
}

Test(hashring_plan, is_what_asking_both_says)
{
    static const size_t sizes[] = { 0, 1, 2, 5, 16 };
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rng rng;
        struct hashring_config c = hashring_config_default();
        rng_init(&rng, seed);
        c.vnodes = 1 + (uint32_t)rng_below(&rng, 40);
        c.probes = seed % 3 == 0 ? 3 : 1;
        c.tokens = seed % 2 ? HASHRING_CHOSEN : HASHRING_DERIVED;
        size_t size = sizes[rng_below(&rng, 5)];
        size_t copies = 1 + (size_t)rng_below(&rng, 4);
        size_t changes = 1 + (size_t)rng_below(&rng, 5);
        struct hashring *none;
        struct hashring_plan *plan;
        cr_assert_eq(hashring_new(&c, &none), DLHT_OK);
        struct hashring *a = changed(none, &rng, size);
        struct hashring *b = changed(a, &rng, changes);
        cr_assert_eq(hashring_plan_new(a, b, copies, &plan), DLHT_OK);
        printf("seed %u: %zu to %zu nodes, %zu copies: %.4f moves in %zu "
               "intervals, ideal %.4f\n",
               (unsigned)seed, hashring_node_count(a), hashring_node_count(b),
               copies, plan->moved, plan->move_count, plan->ideal);
        hashring_drop(none);
        hashring_drop(a);
        hashring_drop(b);
        compare(plan, copies, seed);
        hashring_plan_free(plan);
    }
}

static struct hashring *numbered(size_t count)
{
    struct hashring_config c = hashring_config_default();
    struct hashring *ring;
    cr_assert_eq(hashring_new(&c, &ring), DLHT_OK);
    for (size_t i = 0; i < count; i++) {
        char name[8];
        struct hashring_change add = { .verb = HASHRING_ADD, .weight = 1 };
        struct hashring *next;
        int len = snprintf(name, sizeof name, "%02zu", i);
        add.id = span_of(name, (size_t)len);
        cr_assert_eq(hashring_apply(ring, &add, 1, &next, NULL), DLHT_OK);
        hashring_drop(ring);
        ring = next;
    }
    return ring;
}

Test(hashring_plan, says_what_is_ideal)
{
    static const struct {
        const char *why;
        size_t from, to;
        size_t copies;
        double ideal;
        double moved_max;
    } rows[] = {
        { "nothing", 4, 4, 3, 0, 0 },
        { "nothing at all", 0, 0, 1, 0, 0 },
        { "the first", 0, 1, 1, 1, 1 },
        { "all go", 3, 0, 2, 0, 0 },
        { "the second", 1, 2, 1, 0.5, 0.6 },
        { "as many as copies", 2, 3, 3, 1.0 / 3, 0.334 },
        { "one of 11", 10, 11, 1, 1.0 / 11, 0.12 },
        { "one of 11, 3 copies", 10, 11, 3, 1.0 / 11, 0.12 },
        { "two leave", 12, 10, 3, 1.0 / 6, 0.21 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hashring *a = numbered(rows[i].from);
        struct hashring *b = numbered(rows[i].to);
        struct hashring_plan *plan;
        cr_assert_eq(hashring_plan_new(a, b, rows[i].copies, &plan), DLHT_OK);
        cr_expect_float_eq(plan->ideal, rows[i].ideal, 1e-9, "%s: %f",
                           rows[i].why, plan->ideal);
        cr_expect(plan->moved <= rows[i].moved_max + 1e-9, "%s: %f",
                  rows[i].why, plan->moved);
        cr_expect(plan->moved >= 0.8 * rows[i].ideal, "%s: %f", rows[i].why,
                  plan->moved);
        cr_expect_eq(plan->move_count == 0, rows[i].from == rows[i].to);
        hashring_drop(a);
        hashring_drop(b);
        hashring_plan_free(plan);
    }
    struct hashring *ring = numbered(2);
    struct hashring_plan *plan;
    cr_expect_eq(hashring_plan_new(ring, ring, 0, &plan), DLHT_EINVAL);
    cr_expect_eq(hashring_plan_new(ring, ring, 17, &plan), DLHT_EINVAL);
    cr_expect_null(plan);
    hashring_drop(ring);
}

Test(hashring_plan, any_allocation_may_fail)
{
    if (!fail_alloc_works())
        return;
    struct hashring *a = numbered(5);
    struct hashring *b = numbered(6);
    struct hashring_plan *plan;
    uint64_t n = 0;
    int rc;
    do {
        fail_alloc_nth(++n);
        rc = hashring_plan_new(a, b, 2, &plan);
        fail_alloc_nth(0);
        cr_assert(rc == DLHT_OK || (rc == DLHT_ENOMEM && !plan));
    } while (rc == DLHT_ENOMEM && n < 100);
    printf("%u allocations\n", (unsigned)n - 1);
    cr_expect(n > 6 && n < 100);
    hashring_drop(a);
    hashring_drop(b);
    cr_expect(plan->move_count > 0);
    hashring_plan_free(plan);
}
