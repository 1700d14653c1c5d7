/* SPDX-License-Identifier: Apache-2.0 */

#include "chord/swim.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chord/fail_alloc.h"
#include "chord/peers.h"
#include "chord/swim_net.h"
#include "dlht/err.h"

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static const size_t sizes[] = { 1, 2, 3, 5, 20, 60, 200 };

#define COUNT(array) (sizeof array / sizeof *array)

Test(swim, newcomers_are_heard_of_by_all)
{
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct net net;
        net_init(&net, 7 + i, sizes[i], false);
        net.loss = 0.1;
        uint64_t took = net_run_until_agreed(&net, 60 * SECOND);
        cr_expect_neq(took, UINT64_MAX, "%zu peers", sizes[i]);
        fprintf(stderr, "swim: %zu peers that know one agree in %.2f s\n",
                sizes[i], seconds(took));
        net_deinit(&net);
    }
}

/* The bounds are what a node may rely on, twice what was seen or more. */
static const struct {
    size_t count;
    double loss;
    double bound_s;
} crashes[] = {
    { 2, 0, 5 },    { 3, 0, 6 },     { 5, 0, 8 },    { 20, 0, 10 },
    { 5, 0.1, 12 }, { 20, 0.1, 15 }, { 200, 0, 15 }, { 200, 0.1, 20 },
};

Test(swim, a_crash_is_seen_by_all_in_bounded_time)
{
    for (size_t i = 0; i < COUNT(crashes); i++) {
        uint64_t sum = 0, most = 0;
        uint64_t runs = crashes[i].count > 100 ? 2 : 20;
        for (uint64_t seed = 1; seed <= runs; seed++) {
            struct net net;
            net_init(&net, seed, crashes[i].count, true);
            net.loss = crashes[i].loss;
            net_run_for(&net, 5 * SECOND + seed * 37 * MS);
            size_t victim = rng_below(&net.rng, net.count);
            net_stop(&net, victim);
            uint64_t took =
                net_run_until_seen(&net, victim, PEER_DEAD, 60 * SECOND);
            cr_expect(seconds(took) < crashes[i].bound_s,
                      "%zu peers, loss %.2f, seed %lu: %.2f s", net.count,
                      net.loss, (unsigned long)seed, seconds(took));
            cr_expect_eq(net.deaths, 0);
            sum += took;
            if (took > most)
                most = took;
            net_deinit(&net);
        }
        fprintf(stderr,
                "swim: %zu peers, loss %.0f %%: a crash is seen by all in "
                "%.2f s (most %.2f)\n",
                crashes[i].count, 100 * crashes[i].loss,
                seconds(sum) / (double)runs, seconds(most));
    }
}

static const struct {
    size_t count;
    uint64_t minutes;
} calms[] = { { 2, 120 }, { 3, 90 }, { 5, 50 }, { 20, 10 }, { 200, 1 } };

Test(swim, nobody_dies_of_ten_percent_loss)
{
    for (size_t i = 0; i < COUNT(calms); i++) {
        struct net net;
        net_init(&net, 100 + i, calms[i].count, true);
        net.loss = 0.1;
        net_run_for(&net, calms[i].minutes * 60 * SECOND);
        cr_expect_eq(net.deaths, 0, "%zu peers", net.count);
        cr_expect_neq(net_run_until_agreed(&net, 20 * SECOND), UINT64_MAX);
        double peer_s = (double)(net.count * calms[i].minutes * 60);
        fprintf(stderr,
                "swim: %zu peers, 10 %% loss, %lu min: %lu deaths; %.1f "
                "messages, %.1f updates a second and peer\n",
                net.count, (unsigned long)calms[i].minutes,
                (unsigned long)net.deaths, (double)net.sent / peer_s,
                (double)net.updates / peer_s);
        net_deinit(&net);
    }
}

Test(swim, the_halves_of_a_healed_partition_meet)
{
    static const size_t counts[] = { 2, 4, 10, 100 };
    for (size_t i = 0; i < COUNT(counts); i++) {
        struct net net;
        net_init(&net, 30 + i, counts[i], true);
        net.loss = 0.02;
        net_run_for(&net, 5 * SECOND);
        for (size_t j = 0; j < net.count; j++)
            net.peers[j].side = (int)(j % 2);
        net_run_for(&net, 180 * SECOND);
        cr_expect_eq(net_seen_as(&net, 0, PEER_DEAD), net.count / 2);
        cr_expect_eq(net_seen_as(&net, 0, PEER_ALIVE), net.count / 2 - 1);
        for (size_t j = 0; j < net.count; j++)
            net.peers[j].side = 0;
        uint64_t took = net_run_until_agreed(&net, 60 * SECOND);
        cr_expect_neq(took, UINT64_MAX, "%zu peers", net.count);
        fprintf(stderr, "swim: %zu peers heal in %.2f s\n", net.count,
                seconds(took));
        net_deinit(&net);
    }
}

Test(swim, an_accused_peer_refutes)
{
    static const uint8_t states[] = { PEER_SUSPECT, PEER_DEAD };
    for (size_t i = 0; i < COUNT(states); i++) {
        struct net net;
        net_init(&net, 3, 5, true);
        net_run_for(&net, 3 * SECOND);
        struct peer said = *swim_self(net.peers[1].swim);
        said.state = states[i];
        cr_expect(swim_notice(net.peers[0].swim, net.now_ns, &said));
        cr_expect_not(swim_notice(net.peers[0].swim, net.now_ns, &said));
        net_flush(&net, 0);
        net_run_for(&net, 5 * SECOND);
        cr_expect_eq(net_seen_as(&net, 1, PEER_ALIVE), 4);
        cr_expect_gt(swim_self(net.peers[1].swim)->refutation, 0);
        if (states[i] == PEER_SUSPECT)
            cr_expect_eq(net.deaths, 0);
        net_deinit(&net);
    }
}

Test(swim, one_that_leaves_is_not_called_dead)
{
    for (size_t i = 0; i < COUNT(sizes); i++) {
        if (sizes[i] == 1)
            continue;
        struct net net;
        net_init(&net, 50 + i, sizes[i], true);
        net.loss = 0.1;
        net_run_for(&net, 3 * SECOND);
        swim_leave(net.peers[0].swim, net.now_ns);
        net_flush(&net, 0);
        net_run_for(&net, SECOND);
        struct peer gone = *swim_self(net.peers[0].swim);
        net_stop(&net, 0);
        uint64_t took = net_run_until_seen(&net, 0, PEER_LEFT, 20 * SECOND);
        cr_expect_neq(took, UINT64_MAX, "%zu peers", sizes[i]);
        for (size_t j = 1; j < net.count; j++)
            cr_expect_eq(net.peers[j].deaths_seen, 0);
        gone.state = PEER_ALIVE;
        gone.refutation += 5;
        cr_expect_not(swim_notice(net.peers[1].swim, net.now_ns, &gone),
                      "final for its incarnation");
        gone.incarnation++;
        gone.refutation = 0;
        cr_expect(swim_notice(net.peers[1].swim, net.now_ns, &gone));
        net_deinit(&net);
    }
}

Test(swim, a_restart_is_alive_at_once)
{
    for (size_t i = 0; i < COUNT(sizes); i++) {
        if (sizes[i] == 1)
            continue;
        for (uint64_t down_s = 0; down_s <= 20; down_s += 20) {
            struct net net;
            net_init(&net, 70 + i, sizes[i], true);
            net_run_for(&net, 10 * SECOND);
            net_stop(&net, 1);
            net_run_for(&net, down_s * SECOND + 100 * MS);
            net_start(&net, 1, 0);
            cr_expect_eq(
                swim_find(net.peers[0].swim, &net.peers[1].self.id)->state,
                PEER_ALIVE);
            uint64_t took =
                net_run_until_seen(&net, 1, PEER_ALIVE, 20 * SECOND);
            cr_expect(took < 8 * SECOND, "%zu peers: %.2f s", sizes[i],
                      seconds(took));
            net_deinit(&net);
        }
    }
}

/* It hears nothing for long, then all at once; it must blame itself. */
Test(swim, one_that_stood_still_accuses_nobody)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct net net;
        net_init(&net, seed, 8, true);
        net_run_for(&net, 3 * SECOND + seed * 61 * MS);
        /* What it was told just before would be a death by now. */
        struct peer said = *swim_self(net.peers[5].swim);
        said.state = PEER_SUSPECT;
        swim_notice(net.peers[2].swim, net.now_ns, &said);
        net.peers[2].stalled_until = net.now_ns + 10 * SECOND;
        uint64_t before = net.peers[2].deaths_seen;
        net_run_for(&net, 10 * SECOND);
        cr_expect_neq(net_run_until_agreed(&net, 20 * SECOND), UINT64_MAX);
        net_run_for(&net, 20 * SECOND);
        cr_expect_eq(net.peers[2].deaths_seen, before, "seed %lu",
                     (unsigned long)seed);
        net_deinit(&net);
    }
}

Test(swim, a_broken_link_is_probed_next)
{
    uint64_t sum[2] = { 0, 0 };
    for (uint64_t seed = 1; seed <= 20; seed++) {
        for (int hint = 0; hint < 2; hint++) {
            struct net net;
            net_init(&net, seed, 30, true);
            net_run_for(&net, 5 * SECOND);
            net_stop(&net, 4);
            for (size_t i = 0; hint && i < net.count; i++) {
                if (i == 4)
                    continue;
                swim_hint_lost(net.peers[i].swim, &net.peers[4].self.id);
                net_flush(&net, i);
            }
            uint64_t took = net_run_until_seen(&net, 4, PEER_DEAD, 60 * SECOND);
            cr_expect_neq(took, UINT64_MAX);
            sum[hint] += took;
            net_deinit(&net);
        }
    }
    fprintf(stderr,
            "swim: 30 peers, crash seen by all in %.2f s, %.2f s with "
            "hints of broken links\n",
            seconds(sum[0]) / 20, seconds(sum[1]) / 20);
    cr_expect_lt(sum[1], sum[0]);
}

Test(swim, what_changes_of_a_peer_is_heard)
{
    struct net net;
    net_init(&net, 9, 10, true);
    net_run_for(&net, 2 * SECOND);
    struct peer self = *swim_self(net.peers[3].swim);
    strcpy(self.addr, "elsewhere:1");
    self.weight_milli = 250;
    swim_set_self(net.peers[3].swim, net.now_ns, &self);
    net_flush(&net, 3);
    net_run_for(&net, 10 * SECOND);
    for (size_t i = 0; i < net.count; i++) {
        const struct peer *seen = swim_find(net.peers[i].swim, &self.id);
        cr_expect_str_eq(seen->addr, "elsewhere:1");
        cr_expect_eq(seen->weight_milli, 250);
        cr_expect_eq(seen->state, PEER_ALIVE);
    }
    net_deinit(&net);
}

/* Its data dir was put back from a copy: all know it as a later start. */
Test(swim, outbids_what_is_known_of_a_later_start)
{
    struct net net;
    net_init(&net, 9, 3, true);
    struct peer later = *swim_self(net.peers[1].swim);
    later.incarnation = 9;
    later.state = PEER_LEFT;
    swim_notice(net.peers[0].swim, net.now_ns, &later);
    net_flush(&net, 0);
    net_run_for(&net, 20 * SECOND);
    cr_expect_eq(swim_self(net.peers[1].swim)->incarnation, 10);
    cr_expect_eq(swim_find(net.peers[0].swim, &later.id)->state, PEER_ALIVE);
    net_deinit(&net);
}

/* Its disk was full when it started, so the next start took the same one. */
Test(swim, outbids_the_goodbye_of_an_earlier_start)
{
    struct net net;
    net_init(&net, 9, 4, true);
    struct peer earlier = *swim_self(net.peers[1].swim);
    uint64_t incarnation = earlier.incarnation;
    earlier.state = PEER_LEFT;
    swim_notice(net.peers[0].swim, net.now_ns, &earlier);
    net_run_for(&net, 20 * SECOND);
    cr_expect_eq(swim_self(net.peers[1].swim)->state, PEER_ALIVE);
    cr_expect_eq(swim_self(net.peers[1].swim)->incarnation, incarnation + 1);
    net.peers[1].self = *swim_self(net.peers[1].swim);
    cr_expect_eq(net_seen_as(&net, 1, PEER_ALIVE), 3);
    net_deinit(&net);
}

/* Who says goodbye does not take it back. */
Test(swim, a_goodbye_that_is_heard_again_stays_one)
{
    struct net net;
    net_init(&net, 9, 4, true);
    swim_leave(net.peers[1].swim, net.now_ns);
    struct peer said = *swim_self(net.peers[1].swim);
    said.refutation++;
    cr_expect_not(swim_notice(net.peers[1].swim, net.now_ns, &said));
    said.incarnation++;
    cr_expect_not(swim_notice(net.peers[1].swim, net.now_ns, &said));
    cr_expect_eq(swim_self(net.peers[1].swim)->state, PEER_LEFT);
    net_deinit(&net);
}

Test(swim, a_greeting_makes_us_known_and_is_said_once)
{
    struct net net;
    net_init(&net, 11, 4, true);
    net_run_for(&net, 2 * SECOND);
    struct swim *young = net.peers[2].swim, *old = net.peers[1].swim;
    struct id us = net.peers[2].self.id, them = net.peers[1].self.id;
    struct swim_send greeting;
    /* They have not heard of our last start. */
    struct peer told = net.peers[2].self;
    snprintf(told.zone, sizeof told.zone, "elsewhere");
    swim_set_self(young, net.now_ns, &told);
    cr_assert(swim_greet(young, &them, &greeting));
    cr_expect(id_equal(&greeting.to, &them));
    cr_expect_eq(swim_receive(old, net.now_ns, &us, &greeting.message),
                 DLHT_OK);
    cr_expect_str_eq(swim_find(old, &us)->zone, "elsewhere");
    cr_expect_not(swim_greet(young, &them, &greeting), "once");
    cr_expect_not(swim_greet(young, &us, &greeting), "not ourselves");
    struct id stranger = { .bytes = { 7 } };
    cr_expect_not(swim_greet(young, &stranger, &greeting));
    net_deinit(&net);
}

Test(swim, the_forgotten_stay_so_until_a_later_start)
{
    struct net net;
    net_init(&net, 9, 10, true);
    net_run_for(&net, 2 * SECOND);
    struct id gone = net.peers[5].self.id;
    swim_forget(net.peers[0].swim, &gone);
    cr_expect_not_null(swim_find(net.peers[0].swim, &gone), "it is up");
    net_stop(&net, 5);
    net_run_until_seen(&net, 5, PEER_DEAD, 60 * SECOND);
    swim_forget(net.peers[0].swim, &gone);
    cr_expect_null(swim_find(net.peers[0].swim, &gone));
    net_run_for(&net, 60 * SECOND);
    cr_expect_null(swim_find(net.peers[0].swim, &gone),
                   "others still speak of it");
    cr_expect_eq(swim_count(net.peers[0].swim), 9);
    net_start(&net, 5, 1);
    net_run_for(&net, 10 * SECOND);
    cr_expect_eq(swim_find(net.peers[0].swim, &gone)->state, PEER_ALIVE);
    net_deinit(&net);
}

Test(swim, one_seed_is_one_history)
{
    uint64_t hashes[3];
    for (int run = 0; run < 3; run++) {
        struct net net;
        net_init(&net, run < 2 ? 5 : 6, 30, true);
        net.loss = 0.2;
        net_run_for(&net, 10 * SECOND);
        net_stop(&net, 3);
        net_run_for(&net, 10 * SECOND);
        hashes[run] = net_hash(&net);
        net_deinit(&net);
    }
    cr_expect_eq(hashes[0], hashes[1]);
    cr_expect_neq(hashes[0], hashes[2]);
}

static void scramble(struct rng *rng, const struct net *net,
                     struct swim_message *message)
{
    message->type = (uint8_t)rng_below(rng, 6);
    message->number = rng_below(rng, 50);
    message->target = net->peers[rng_below(rng, net->count)].self.id;
    if (rng_chance(rng, 0.3))
        memset(&message->target, 0, sizeof message->target);
    message->update_count = rng_below(rng, SWIM_UPDATES_MAX + 2);
    for (size_t i = 0; i < SWIM_UPDATES_MAX; i++) {
        struct peer *update = &message->updates[i];
        *update = net->peers[rng_below(rng, net->count)].self;
        update->state = (uint8_t)rng_below(rng, 5 + rng_chance(rng, 0.02));
        if (update->state == 0)
            update->state = PEER_ALIVE;
        if (update->state == PEER_LEFT && rng_chance(rng, 0.9))
            update->state = PEER_DEAD;
        update->incarnation = rng_below(rng, 4);
        update->refutation = (uint32_t)rng_below(rng, 6);
        if (rng_chance(rng, 0.002))
            update->incarnation = UINT64_MAX / 2;
        if (rng_chance(rng, 0.01))
            update->refutation = UINT32_MAX;
        if (rng_chance(rng, 0.005))
            memset(update->addr, 'x', sizeof update->addr);
        if (rng_chance(rng, 0.005))
            update->incarnation = UINT64_MAX;
    }
}

Test(swim, survives_what_a_stranger_says)
{
    static struct swim_message message;
    size_t refused = 0, taken = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct net net;
        net_init(&net, seed, 12, true);
        for (int step = 0; step < 500; step++) {
            scramble(&net.rng, &net, &message);
            size_t to = rng_below(&net.rng, 3);
            struct id from = net.peers[rng_below(&net.rng, net.count)].self.id;
            int rc =
                swim_receive(net.peers[to].swim, net.now_ns, &from, &message);
            cr_assert(rc == DLHT_OK || rc == DLHT_EPROTO);
            *(rc == DLHT_OK ? &taken : &refused) += 1;
            net_flush(&net, to);
            net_run_for(&net, 10 * MS);
        }
        net_deinit(&net);
    }
    cr_expect(refused > 1000 && taken > 1000, "%zu %zu", refused, taken);
}

Test(swim, learns_later_what_it_had_no_memory_for)
{
    if (!fail_alloc_works())
        cr_skip_test("allocations cannot be made to fail here");
    struct net net;
    net_init(&net, 8, 30, false);
    struct swim *swim = net.peers[0].swim;
    for (size_t i = 1; i < net.count; i++) {
        const struct peer *news = &net.peers[i].self;
        size_t count = swim_count(swim);
        bool known = swim_find(swim, &news->id);
        for (uint64_t n = 1; !swim_find(swim, &news->id); n++) {
            fail_alloc_nth(n);
            bool is_news = swim_notice(swim, net.now_ns, news);
            fail_alloc_nth(0);
            swim_check(swim);
            cr_assert_eq(swim_count(swim), count + is_news);
            cr_assert_lt(n, 9);
        }
        cr_assert(!known);
    }
    cr_expect_gt(fail_alloc_count(), 29);
    net_deinit(&net);
}

/* Gossip may miss one; then it hears of it in turn. */
Test(peers, all_are_told_of_in_turn)
{
    struct net net;
    net_init(&net, 4, 40, true);
    struct peers peers;
    peers_init(&peers, 1);
    struct peers_entry *self = NULL, *entry;
    for (size_t i = 0; i < net.count; i++) {
        cr_assert_eq(peers_merge(&peers, 0, &net.peers[i].self, &entry), 0);
        if (i == 0)
            self = entry;
    }
    struct peer out[SWIM_UPDATES_MAX];
    const struct id *to = &net.peers[1].self.id;
    size_t told[40] = { 0 };
    size_t quiet = 0;
    for (int i = 0; i < 400; i++) {
        size_t count = peers_pick(&peers, to, self, out);
        peers_check(&peers);
        cr_assert_leq(count, SWIM_UPDATES_MAX);
        quiet += count <= 1;
        for (size_t j = 0; quiet && j < count; j++)
            told[out[j].id.bytes[5]]++;
    }
    cr_expect_gt(quiet, 300, "gossip ends");
    for (size_t i = 0; i < net.count; i++)
        cr_expect(i == 1 || told[i] > 0, "peer %zu", i);
    peers_deinit(&peers);
    net_deinit(&net);
}
