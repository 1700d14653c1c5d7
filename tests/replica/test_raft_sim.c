/* SPDX-License-Identifier: Apache-2.0 */

/* Seeded clusters under faults. RAFT_SEEDS=A..B runs those instead of the few
 * of the gate. */

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "replica/raft_net.h"

static uint64_t running;

static void say_seed(int signal_number)
{
    (void)signal_number;
    fprintf(stderr, "seed %llu\n", (unsigned long long)running);
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void add(struct net_result *sum, const struct net_result *r)
{
    sum->events += r->events;
    sum->commits += r->commits;
    sum->leaders += r->leaders;
    sum->lease_reads += r->lease_reads;
    sum->round_reads += r->round_reads;
    sum->snapshots += r->snapshots;
    sum->changes += r->changes;
    sum->crashes += r->crashes;
    sum->sleeps += r->sleeps;
}

static void print(const struct net_result *r)
{
    fprintf(stderr,
            "events %llu commits %llu leaders %llu lease reads %llu round "
            "reads %llu snapshots %llu changes %llu crashes %llu sleeps "
            "%llu\n",
            (unsigned long long)r->events, (unsigned long long)r->commits,
            (unsigned long long)r->leaders, (unsigned long long)r->lease_reads,
            (unsigned long long)r->round_reads,
            (unsigned long long)r->snapshots, (unsigned long long)r->changes,
            (unsigned long long)r->crashes, (unsigned long long)r->sleeps);
}

Test(raft_sim, promises_hold_under_faults, .timeout = 36000)
{
    unsigned long long from = 1, to = 200;
    const char *seeds = getenv("RAFT_SEEDS");
    if (seeds && sscanf(seeds, "%llu..%llu", &from, &to) == 1)
        to = from;
    signal(SIGABRT, say_seed);
    struct net_result sum = { .error = "" };
    int failures = 0;
    for (running = from; running <= to && failures < 5; running++) {
        struct net_config config;
        struct net_result result;
        net_config_draw(&config, running);
        net_run(&config, &result);
        add(&sum, &result);
        cr_expect(result.error[0] == '\0', "seed %llu: %s",
                  (unsigned long long)running, result.error);
        failures += result.error[0] != '\0';
    }
    if (seeds)
        print(&sum);
    cr_expect(sum.leaders > to - from, "hardly anyone led");
}

Test(raft_sim, one_seed_gives_one_history)
{
    struct net_config config;
    struct net_result a, b;
    for (uint64_t seed = 1000; seed < 1010; seed++) {
        net_config_draw(&config, seed);
        net_run(&config, &a);
        net_run(&config, &b);
        cr_expect_eq(a.hash, b.hash);
        cr_expect_eq(a.events, b.events);
    }
}
