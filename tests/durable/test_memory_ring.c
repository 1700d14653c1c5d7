/* SPDX-License-Identifier: Apache-2.0 */

/* Stories of the simulated ring in which allocations inside nodes fail by
 * chance: replication, snapshots, splits, merges and moves among several
 * peers, judged as ever.
 *
 *     test_memory_ring [--seeds A..B] [--scenario NAME] */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "durable/lack.h"
#include "sim/scenario.h"

static void print_line(void *context, const char *line)
{
    (void)context;
    puts(line);
}

/* Then there is memory again: all must become whole. */
static void heal(uint64_t virtual_ns)
{
    if (virtual_ns > 12 * WORLD_S)
        lack_one_of(0, 0);
}

static bool traced;

static int run(const struct scenario *s, uint64_t seed, uint64_t one_of)
{
    struct scenario_options options = { .seed = seed, .progress = heal };
    if (traced)
        options.trace = print_line;
    struct scenario_result result;
    uint64_t before = lack_count();
    lack_one_of(one_of, seed);
    scenario_run(s, &options, &result);
    lack_one_of(0, 0);
    printf("%s, seed %llu: one of %llu fails, %llu did; %llu requests, %llu "
           "restarts; %s %s\n",
           s->name, (unsigned long long)seed, (unsigned long long)one_of,
           (unsigned long long)(lack_count() - before),
           (unsigned long long)result.ops,
           (unsigned long long)result.stats.restarts,
           result.invariant ? result.invariant : "all held", result.text);
    return result.invariant != NULL;
}

int main(int argc, char **argv)
{
    static const char *const SCENARIOS[] = { "five_faults", "merges",
                                             "vectors" };
    static const uint64_t ONE_OF[] = { 100, 1000, 5000 };
    const char *only = NULL;
    unsigned long long first = 1, last = 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--scenario") == 0)
            only = argv[i + 1];
        if (strcmp(argv[i], "--trace") == 0)
            traced = strcmp(argv[i + 1], "yes") == 0;
        if (strcmp(argv[i], "--seeds") == 0 &&
            sscanf(argv[i + 1], "%llu..%llu", &first, &last) != 2)
            return 2;
    }
    int broken = 0;
    for (unsigned long long seed = first; seed <= last; seed++)
        for (size_t i = 0; i < sizeof SCENARIOS / sizeof *SCENARIOS; i++)
            if (!only || strcmp(only, SCENARIOS[i]) == 0)
                broken +=
                    run(scenario_find(SCENARIOS[i]), seed, ONE_OF[seed % 3]);
    return broken != 0;
}
