/* SPDX-License-Identifier: Apache-2.0 */

/* A small ring that does at once what the planner says: from any placement it
 * must come to rest, whole and in balance. */

#include "placement/planner.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum {
    PEERS_MAX = 24,
    ARCS_MAX = 256,
    STEPS = 32,
    ROUNDS = 4000
};

struct town {
    struct plan_peer peers[PEERS_MAX];
    size_t peer_count;
    struct arc arcs[ARCS_MAX];
    struct plan_arc plan[ARCS_MAX];
    size_t arc_count;
    size_t steps[PLAN_SPLIT + 1]; /* done, by kind */
};

static struct id peer_id(size_t i)
{
    struct id id = { { (uint8_t)(i + 1) } };
    return id;
}

static void add_member(struct arc *arc, const struct id *peer, bool voter)
{
    struct arc_member *m = &arc->members[arc->member_count++];
    m->replica = 1 + arc->member_count;
    m->peer = *peer;
    m->voter = voter;
}

static void add_arc(struct town *t, struct rng *rng, size_t crowd,
                    uint64_t keys)
{
    size_t i = t->arc_count++;
    struct arc *arc = &t->arcs[i];
    memset(arc, 0, sizeof *arc);
    arc->keyspace = 2;
    arc->id = i + 1;
    size_t copies = crowd < 3 ? crowd : 3;
    while (arc->member_count < copies) {
        struct id peer = peer_id(rng_below(rng, crowd));
        if (!arc_member_of(arc, &peer))
            add_member(arc, &peer, true);
    }
    arc->owner = arc->members[rng_below(rng, copies)].peer;
    t->plan[i] = (struct plan_arc){
        .arc = arc, .keys = keys, .bytes = keys * 20, .replicas = 3
    };
}

/* crowd peers hold everything, the others came since. */
static void town_init(struct town *t, struct rng *rng, size_t peers,
                      size_t crowd, size_t arcs)
{
    memset(t, 0, sizeof *t);
    t->peer_count = peers;
    for (size_t i = 0; i < peers; i++)
        t->peers[i] = (struct plan_peer){ .id = peer_id(i),
                                          .up = true,
                                          .weight_milli = 1000 };
    for (size_t i = 0; i < arcs; i++)
        add_arc(t, rng, crowd, 1000 + rng_below(rng, 1500));
}

static void do_step(struct town *t, const struct plan_step *step)
{
    struct arc *arc = &t->arcs[step->arc->id - 1];
    struct arc_member *m = NULL;
    for (size_t i = 0; i < arc->member_count; i++)
        if (id_equal(&arc->members[i].peer, &step->peer))
            m = &arc->members[i];
    t->steps[step->kind]++;
    switch (step->kind) {
    case PLAN_ADD:
        cr_assert_null(m);
        add_member(arc, &step->peer, false);
        return;
    case PLAN_PROMOTE:
    case PLAN_DEMOTE:
        cr_assert_not_null(m);
        m->voter = step->kind == PLAN_PROMOTE;
        return;
    case PLAN_REMOVE:
        cr_assert_not_null(m);
        cr_assert(!id_equal(&m->peer, &arc->owner), "the leader is removed");
        memmove(m, m + 1,
                (size_t)(arc->members + arc->member_count - (m + 1)) *
                    sizeof *m);
        arc->member_count--;
        return;
    case PLAN_TRANSFER:
        cr_assert_not_null(m);
        cr_assert(m->voter);
        arc->owner = step->peer;
        return;
    case PLAN_SPLIT:
    case PLAN_MERGE:
        cr_assert_fail("nothing here may be split");
    }
}

/* Until nothing is left to do; false: it never ends. */
static bool settle(struct town *t)
{
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < t->arc_count; i++)
            t->plan[i].caught_up = 0xffff;
        struct plan_input in = { .peers = t->peers,
                                 .peer_count = t->peer_count,
                                 .arcs = t->plan,
                                 .arc_count = t->arc_count,
                                 .vnodes = 8,
                                 .moves_max = 6 };
        struct plan_step steps[STEPS];
        size_t count = planner_steps(&in, steps, STEPS);
        if (count == 0)
            return true;
        for (size_t i = 0; i < count; i++)
            do_step(t, &steps[i]);
    }
    return false;
}

/* Greatest and least over the mean, of keys kept or led. */
static void shares(const struct town *t, bool led, double *most, double *least)
{
    double sum[PEERS_MAX] = { 0 }, all = 0;
    for (size_t i = 0; i < t->arc_count; i++) {
        const struct arc *arc = &t->arcs[i];
        for (size_t k = 0; k < arc->member_count; k++) {
            const struct id *peer = &arc->members[k].peer;
            if (led && !id_equal(peer, &arc->owner))
                continue;
            sum[peer->bytes[0] - 1] += (double)t->plan[i].keys;
            all += (double)t->plan[i].keys;
        }
    }
    *most = 0;
    *least = 1e9;
    for (size_t i = 0; i < t->peer_count; i++) {
        double share = sum[i] / all * (double)t->peer_count;
        *most = share > *most ? share : *most;
        *least = share < *least ? share : *least;
    }
}

static void expect_whole(const struct town *t)
{
    for (size_t i = 0; i < t->arc_count; i++) {
        const struct arc *arc = &t->arcs[i];
        cr_assert_eq(arc->member_count, 3);
        for (size_t k = 0; k < 3; k++)
            cr_assert(arc->members[k].voter);
    }
}

Test(planner, any_placement_comes_to_rest_in_balance)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        size_t peers = 4 + rng_below(&rng, PEERS_MAX - 4);
        size_t crowd = 3 + rng_below(&rng, peers - 2);
        static struct town t;
        town_init(&t, &rng, peers, crowd, peers * 8);
        cr_assert(settle(&t), "seed %llu never rests",
                  (unsigned long long)seed);
        expect_whole(&t);
        for (int led = 0; led < 2; led++) {
            double most, least;
            shares(&t, led, &most, &least);
            cr_assert(most <= 1.25 && least >= 0.75,
                      "seed %llu: %zu of %zu peers, %s: %.2f to %.2f of the "
                      "mean",
                      (unsigned long long)seed, crowd, peers,
                      led ? "led" : "kept", least, most);
        }
    }
}

/* As many keys again come at the end only: arcs grow there, are cut at the median, and none
 * stays far above the mean. */
Test(planner, an_arc_that_grows_alone_is_cut)
{
    static struct town t;
    struct rng rng;
    rng_init(&rng, 7);
    town_init(&t, &rng, 4, 4, 32);
    for (size_t step = 0; step < 60; step++) {
        for (size_t i = 0; i < t.arc_count; i++) {
            t.plan[i].may_split = true;
            t.plan[i].keyspace_arcs = t.arc_count;
            t.plan[i].floor_keys = 1000;
            t.plan[i].ceiling_bytes = UINT64_MAX;
            t.plan[i].caught_up = 0xffff;
        }
        t.plan[t.arc_count - 1].keys += 1000; /* the newest is the last */
        t.plan[t.arc_count - 1].bytes += 20 * 1000;
        struct plan_input in = { .peers = t.peers,
                                 .peer_count = t.peer_count,
                                 .arcs = t.plan,
                                 .arc_count = t.arc_count,
                                 .vnodes = 8 };
        struct plan_step steps[STEPS];
        size_t count = planner_steps(&in, steps, STEPS);
        for (size_t i = 0; i < count; i++) {
            if (steps[i].kind != PLAN_SPLIT)
                continue;
            size_t cut = steps[i].arc->id - 1;
            uint64_t half = t.plan[cut].keys / 2;
            t.plan[cut].keys -= half;
            t.plan[cut].bytes -= half * 20;
            add_arc(&t, &rng, 4, half);
        }
    }
    uint64_t most = 0, all = 0;
    for (size_t i = 0; i < t.arc_count; i++) {
        most = t.plan[i].keys > most ? t.plan[i].keys : most;
        all += t.plan[i].keys;
    }
    cr_expect_leq(t.arc_count, 64, "at most twice as many as wanted");
    cr_expect_leq(most * t.arc_count, 3 * all + 1000 * t.arc_count);
}
