/* SPDX-License-Identifier: Apache-2.0 */

#include "chord/ring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "chord/arcs.h"
#include "chord/fail_alloc.h"
#include "chord/order.h"
#include "chord/ring_net.h"
#include "chord/ring_state.h"
#include "dlht/err.h"

#define COUNT(array) (sizeof array / sizeof *array)

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static const struct {
    const char *a, *x, *b;
    bool between;
    const char *why;
} betweens[] = {
    { "a", "b", "c", true, "plain" },
    { "a", "a", "c", false, "not its start" },
    { "a", "c", "c", false, "not its end" },
    { "c", "d", "a", true, "wraps, behind" },
    { "c", "", "a", true, "wraps, before" },
    { "c", "b", "a", false, "wraps, outside" },
    { "a", "b", "a", true, "all but itself" },
    { "a", "a", "a", false, "itself" },
};

Test(order, goes_round)
{
    for (size_t i = 0; i < COUNT(betweens); i++)
        cr_expect_eq(order_between(span_str(betweens[i].a),
                                   span_str(betweens[i].x),
                                   span_str(betweens[i].b)),
                     betweens[i].between, "%s", betweens[i].why);
    struct span b = span_str("b"), d = span_str("d"), c = span_str("c");
    cr_expect(order_nearer(b, d, c), "before beats behind");
    cr_expect(order_nearer(d, b, span_str("a")), "wraps to the last");
    cr_expect(order_sooner(c, d, b));
    cr_expect(order_sooner(span_str("e"), b, d));
}

enum order {
    IN_TURN,
    BACKWARDS,
    ALL_KNOW_ONE,
    A_CHAIN,
    ANYBODY
};

static const char *const order_names[] = { "in turn", "backwards",
                                           "all know one", "a chain",
                                           "anybody" };

static void boot(struct ring_net *net, enum order order)
{
    for (size_t i = 0; i < net->count; i++) {
        size_t index = order == BACKWARDS ? net->count - 1 - i : i;
        size_t contact = SIZE_MAX;
        if (i > 0 && order == BACKWARDS)
            contact = net->count - 1;
        else if (i > 0 && order == A_CHAIN)
            contact = i - 1;
        else if (i > 0 && order == ANYBODY)
            contact = rng_below(&net->rng, i);
        else if (i > 0)
            contact = 0;
        rnet_lead(net, index, contact);
        if (order == IN_TURN || order == BACKWARDS)
            rnet_run_for(net, 50 * MS);
    }
}

static const struct {
    size_t count;
    size_t list_len;
    size_t known_max;
    double loss;
} boots[] = {
    { 1, 8, 0, 0 },    { 2, 8, 0, 0 },   { 3, 8, 0, 0.1 },    { 8, 8, 0, 0 },
    { 30, 3, 0, 0.1 }, { 30, 8, 64, 0 }, { 300, 8, 16, 0.1 },
};

Test(ring, becomes_ideal_from_any_bootstrap)
{
    for (size_t i = 0; i < COUNT(boots); i++) {
        for (enum order order = IN_TURN; order <= ANYBODY; order++) {
            struct ring_net net;
            size_t count = boots[i].count;
            rnet_init(&net, 11 + i, count, count, count / 3 + 3,
                      boots[i].known_max, boots[i].list_len);
            net.loss = boots[i].loss;
            boot(&net, order);
            uint64_t sent = net.sent;
            uint64_t took = rnet_run_until_ideal(&net, false, 900 * SECOND);
            struct audit audit = rnet_audit(&net);
            cr_expect_neq(took, UINT64_MAX,
                          "%zu arcs, %s: %zu successors, %zu lists wrong, %zu "
                          "cycles",
                          count, order_names[order], audit.wrong_successors,
                          audit.wrong_lists, audit.cycles);
            fprintf(stderr,
                    "ring: %4zu arcs, list %2zu, memory %2zu, loss %2.0f %%, "
                    "%-12s: ideal after %5.1f s, %.0f messages an arc\n",
                    count, boots[i].list_len, boots[i].known_max,
                    100 * boots[i].loss, order_names[order], seconds(took),
                    (double)(net.sent - sent) / (double)count);
            rnet_deinit(&net);
        }
    }
}

static struct span key_at(uint64_t position, uint8_t key[8])
{
    for (size_t i = 0; i < 8; i++)
        key[i] = (uint8_t)(position >> (56 - 8 * i));
    return span_of(key, 8);
}

static void expect_ideal(struct ring_net *net, bool fingers, uint64_t limit_ns,
                         const char *what)
{
    uint64_t took = rnet_run_until_ideal(net, fingers, limit_ns);
    struct audit audit = rnet_audit(net);
    cr_expect_neq(took, UINT64_MAX,
                  "%s, %zu arcs: wrong: %zu successors, %zu predecessors, %zu "
                  "lists, %zu fingers; %zu cycles, %zu disordered",
                  what, net->count, audit.wrong_successors,
                  audit.wrong_predecessors, audit.wrong_lists,
                  audit.wrong_fingers, audit.cycles, audit.disordered);
    fprintf(stderr, "ring: %4zu arcs, %s: ideal%s after %.1f s\n", net->count,
            what, fingers ? " with fingers" : "", seconds(took));
}

/* Mean hops may be half of log2 n, and a half. */
static void expect_few_hops(struct ring_net *net, double hops_max)
{
    enum {
        WALKS = 4000
    };
    size_t sum = 0, most = 0, sum_all = 0;
    for (int walk = 0; walk < WALKS; walk++) {
        uint8_t bytes[8];
        struct span key = key_at(rng_next(&net->rng), bytes);
        bool found;
        size_t from = rnet_random_arc(net);
        size_t hops = rnet_walk(net, from, key, false, &found);
        cr_assert(found);
        sum += hops;
        most = hops > most ? hops : most;
        sum_all += rnet_walk(net, from, key, true, &found);
        cr_assert(found);
    }
    double mean = (double)sum / WALKS;
    fprintf(stderr,
            "ring: %4zu arcs, list %zu: %.2f hops (most %zu) by the pointers "
            "of one arc, %.2f by all a peer of ~3 arcs knows\n",
            net->count, ring_list_len(net->arcs[0].ring), mean, most,
            (double)sum_all / WALKS);
    cr_expect_leq(mean, hops_max, "%zu arcs: %.2f", net->count, mean);
}

static const struct {
    size_t count;
    double hops_max;
} sizes[] = { { 3, 1.3 }, { 30, 2.96 }, { 300, 4.62 } };

Test(ring, walks_half_of_log2_hops)
{
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct ring_net net;
        size_t count = sizes[i].count;
        rnet_init(&net, 5 + i, count, count, count / 3 + 3, 64, 8);
        rnet_lead_all(&net);
        expect_ideal(&net, true, 200 * SECOND, "booted");
        expect_few_hops(&net, sizes[i].hops_max);
        rnet_deinit(&net);
    }
}

Test(ring, grows_by_splits)
{
    for (int inherit = 0; inherit < 2; inherit++) {
        struct ring_net net;
        rnet_init(&net, 3, 1, 300, 60, 16, 8);
        net.loss = 0.05;
        rnet_lead(&net, 0, SIZE_MAX);
        while (net.count < 300) {
            rnet_split(&net, rnet_random_arc(&net), inherit);
            rnet_run_for(&net, 50 * MS);
        }
        expect_ideal(&net, true, 100 * SECOND,
                     inherit ? "grown by splits" : "grown by bare splits");
        rnet_deinit(&net);
    }
}

static void churn_once(struct ring_net *net)
{
    size_t index = rnet_random_arc(net);
    size_t contact = rnet_random_arc(net);
    while (contact == index)
        contact = (contact + 1) % net->count;
    switch (rng_below(&net->rng, 4)) {
    case 0:
        if (net->count < net->count_max)
            rnet_split(net, index, rng_chance(&net->rng, 0.5));
        break;
    case 1:
        if (index + 1 < net->count && net->count > 20)
            rnet_merge(net, index);
        break;
    case 2:
        rnet_move(net, index, contact);
        break;
    default:
        rnet_hand_over(net, index, contact);
    }
}

Test(ring, mends_after_churn)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct ring_net net;
        rnet_init(&net, seed, 60, 120, 30, seed % 3 ? 16 : 0, 4);
        net.loss = 0.05;
        rnet_lead_all(&net);
        rnet_run_for(&net, 10 * SECOND);
        for (int i = 0; i < 200; i++) {
            churn_once(&net);
            rnet_run_for(&net, rng_below(&net.rng, 400 * MS));
        }
        char what[64];
        snprintf(what, sizeof what, "churned, seed %lu", (unsigned long)seed);
        expect_ideal(&net, true, 200 * SECOND, what);
        rnet_deinit(&net);
    }
}

/* A tenth of the peers stop at once; their arcs get other owners, which have no
 * pointers at all and hear of one arc. */
Test(ring, mends_after_owners_fail)
{
    struct ring_net net;
    rnet_init(&net, 17, 300, 300, 60, 16, 8);
    rnet_lead_all(&net);
    expect_ideal(&net, true, 100 * SECOND, "booted");
    for (size_t i = 0; i < 6; i++)
        net.peers[rng_below(&net.rng, net.peer_count)].up = false;
    size_t lost = 0;
    for (size_t i = 0; i < net.count; i++) {
        if (!net.peers[net.arcs[i].owner].up)
            rnet_stop_leading(&net, i);
    }
    rnet_run_for(&net, 1500 * MS);
    for (size_t i = 0; i < net.count; i++) {
        struct ring_arc *arc = &net.arcs[i];
        bool any = false;
        for (size_t j = 0; j < arc->truth->member_count; j++) {
            const uint8_t *id = arc->truth->members[j].peer.bytes;
            any = any || net.peers[id[1] << 8 | id[2]].up;
        }
        if (!arc->ring && any)
            rnet_hand_over(&net, i, rnet_random_arc(&net));
        lost += !any;
    }
    net.loss = 0.05;
    fprintf(stderr, "ring: %zu of %zu arcs lost all members\n", lost,
            net.count);
    expect_ideal(&net, false, 100 * SECOND, "handed over");
    rnet_deinit(&net);
}

/* Chord's claim: lists of twice log2 of the ring survive the loss of half of
 * it, before any repair. */
Test(ring, of_a_thousand_finds_keys_when_half_is_dead)
{
    static const double shares[] = { 0, 0.1, 0.3, 0.5 };
    struct ring_net net;
    rnet_init(&net, 23, 1000, 1000, 300, 0, 20);
    rnet_lead_all(&net);
    expect_ideal(&net, true, 200 * SECOND, "booted");
    expect_few_hops(&net, 5.48);
    size_t dead = 0;
    for (size_t i = 0; i < COUNT(shares); i++) {
        for (; dead < (size_t)(shares[i] * 1000); dead++)
            rnet_stop_leading(&net, rnet_random_arc(&net));
        size_t sum = 0, failures = 0, missed = 0, count = 2000;
        for (size_t j = 0; j < count; j++) {
            size_t holder = rnet_random_arc(&net);
            size_t hops, failed;
            missed += !rnet_lookup(&net, rnet_random_arc(&net),
                                   net.arcs[holder].truth->lo, &hops, &failed);
            sum += hops;
            failures += failed;
        }
        fprintf(stderr,
                "ring: 1000 arcs, list 20, %2.0f %% dead: %zu of %zu lookups "
                "fail, %.2f hops and %.2f unanswered each\n",
                100 * shares[i], missed, count, (double)sum / (double)count,
                (double)failures / (double)count);
        cr_expect_eq(missed, 0);
    }
    rnet_deinit(&net);
}

Test(ring, lookups_end_whatever_the_pointers_say)
{
    struct ring_net net;
    rnet_init(&net, 29, 200, 200, 50, 16, 8);
    rnet_lead_all(&net);
    expect_ideal(&net, true, 100 * SECOND, "booted");
    net.lies = 0.5;
    rnet_run_for(&net, 15 * SECOND);
    struct audit audit = rnet_audit(&net);
    size_t found_count = 0;
    for (int i = 0; i < 2000; i++) {
        uint8_t bytes[8];
        struct span key = key_at(rng_next(&net.rng), bytes);
        bool found;
        size_t from = rnet_random_arc(&net);
        cr_assert_leq(rnet_walk(&net, from, key, i & 1, &found), net.count);
        size_t hops, failures;
        cr_assert_eq(rnet_lookup(&net, from, key, &hops, &failures) && found,
                     found, "the machine finds what the walk found");
        found_count += found;
    }
    fprintf(stderr,
            "ring: 200 arcs, half of the answers are lies: %zu lists and the "
            "fingers of %zu wrong, %zu of 2000 keys found\n",
            audit.wrong_lists, audit.wrong_fingers, found_count);
    cr_expect_gt(audit.wrong_fingers, 100);
    net.lies = 0;
    expect_ideal(&net, true, 100 * SECOND, "after lies");
    rnet_deinit(&net);
}

Test(ring, mends_after_lack_of_memory)
{
    if (!fail_alloc_works())
        cr_skip_test("allocations cannot be made to fail here");
    struct ring_net net;
    rnet_init(&net, 37, 60, 120, 20, 16, 5);
    rnet_lead_all(&net);
    expect_ideal(&net, true, 100 * SECOND, "booted");
    fail_alloc_count();
    net.fail_one_of = 10;
    for (int i = 0; i < 60; i++) {
        churn_once(&net);
        rnet_run_for(&net, rng_below(&net.rng, 400 * MS));
    }
    cr_expect_gt(fail_alloc_count(), 200);
    net.fail_one_of = 0;
    expect_ideal(&net, true, 100 * SECOND, "short of memory");
    rnet_deinit(&net);
}

/* Even arcs know even ones, odd ones odd: each half is a ring of its own. */
Test(audit, tells_two_rings_from_one)
{
    struct ring_net net;
    rnet_init(&net, 31, 40, 40, 10, 0, 4);
    for (size_t i = 0; i < net.count; i++) {
        rnet_lead(&net, i, i < 2 ? SIZE_MAX : i % 2);
        rnet_run_for(&net, 20 * MS);
    }
    rnet_run_for(&net, 60 * SECOND);
    struct audit audit = rnet_audit(&net);
    cr_expect_eq(audit.cycles, 2);
    cr_expect_eq(audit.wrong_successors, 40);
    cr_expect_eq(audit.disordered, 40);
    cr_expect_eq(audit.lost, 0);
    cr_expect_not(audit_is_one_ring(&audit));
    ring_hint(net.arcs[7].ring, net.arcs[20].truth);
    expect_ideal(&net, true, 200 * SECOND, "two rings met");
    audit = rnet_audit(&net);
    cr_expect(audit_is_one_ring(&audit));
    rnet_stop_leading(&net, 5);
    audit = rnet_audit(&net);
    cr_expect_eq(audit.wrong_successors, 1);
    cr_expect_eq(audit.wrong_predecessors, 1);
    cr_expect_eq(audit.wrong_lists, 4);
    cr_expect(audit_is_one_ring(&audit), "its lists lead past the dead one");
    rnet_deinit(&net);
}

Test(ring, survives_what_a_stranger_says)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct ring_net net;
        rnet_init(&net, seed, 20, 20, 10, 8, 4);
        rnet_lead_all(&net);
        rnet_run_for(&net, 5 * SECOND);
        struct ring *ring = net.arcs[7].ring;
        for (int i = 0; i < 400; i++) {
            struct arc arcs[4];
            for (size_t j = 0; j < COUNT(arcs); j++) {
                arcs[j] = *net.arcs[rng_below(&net.rng, net.count)].truth;
                if (rng_chance(&net.rng, 0.3))
                    arcs[j].lo = net.arcs[rng_below(&net.rng, 20)].truth->lo;
                if (rng_chance(&net.rng, 0.1))
                    arcs[j].id = rng_below(&net.rng, 130);
                arcs[j].generation = rng_below(&net.rng, 4);
                arcs[j].term = rng_below(&net.rng, 4);
            }
            struct ring_message message = {
                .type = (uint8_t)rng_below(&net.rng, 9),
                .level = (uint8_t)rng_below(&net.rng, 26),
                .number = rng_below(&net.rng, 60),
                .to = net.arcs[7].truth->id,
                .key = net.arcs[rng_below(&net.rng, 20)].truth->lo,
                .self = &arcs[0],
                .predecessor = rng_chance(&net.rng, 0.5) ? &arcs[1] : NULL,
                .arcs = { &arcs[1], &arcs[2], &arcs[3] },
                .arc_count = rng_below(&net.rng, 4),
            };
            int rc = ring_receive(ring, net.now_ns, &net.peers[1].id, &message);
            cr_assert(rc == DLHT_OK || rc == DLHT_EPROTO);
            ring_check(ring);
            struct ring_send send;
            while (rng_chance(&net.rng, 0.7) && ring_take(ring, &send))
                ;
            if (i % 20 == 0)
                ring_tick(ring, net.now_ns += 300 * MS);
            ring_check(ring);
        }
        rnet_deinit(&net);
    }
}

/* A search begins at one that was met, and the candidate before takes a place
 * among those: perhaps that very one's. */
Test(ring, a_search_does_not_push_out_where_it_begins)
{
    size_t changed = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct ring_config config = { .seed = seed };
        struct arc self = arcs_make(1, "a", "b", 1);
        struct arc candidate = arcs_make(30, "y", "z", 1);
        struct ring *ring;
        cr_assert_eq(ring_new(&config, &self, NULL, 0, &ring), DLHT_OK);
        for (arc_id id = 10; id < 10 + POINTERS_MET_MAX; id++) {
            char lo[3] = { 'c', (char)('0' + id - 10), 0 };
            struct arc met = arcs_make(id, lo, "d", 1);
            pointers_meet(&ring->p, &ring->rng, &met);
        }
        cr_assert_eq(pointers_set(&ring->p.candidate, &candidate), DLHT_OK);
        ring_find_begin(ring);
        const struct arc *now = ring->p.candidate;
        bool was_met = now->id >= 10 && now->id < 10 + POINTERS_MET_MAX;
        cr_assert(was_met || now->id == candidate.id, "seed %llu: %llu",
                  (unsigned long long)seed, (unsigned long long)now->id);
        cr_assert_eq(now->lo.data[0], was_met ? 'c' : 'y');
        changed += was_met;
        ring_free(ring);
    }
    cr_assert_gt(changed, 50);
}
