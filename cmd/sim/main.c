/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-sim - runs stories of the simulated cluster, one or a swarm of them. */

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "check.h"
#include "sim.h"

static const char HELP[] =
    "dlht-sim list\n"
    "dlht-sim run SCENARIO [--seed N] [--trace] [--progress] [KNOBS]\n"
    "dlht-sim swarm [SCENARIO] [--seeds A..B] [--jobs N] [--keep-going] "
    "[KNOBS]\n"
    "dlht-sim shrink SCENARIO --seed N [--tries N] [KNOBS]\n"
    "dlht-sim kept FILE\n"
    "dlht-sim check FILE\n"
    "\n"
    "Runs a cluster of real nodes on virtual time, with a network, disks and\n"
    "clocks that fail, all drawn from one seed. The same seed gives the same\n"
    "run and the same final hash.\n"
    "\n"
    "  list           the scenarios\n"
    "  run            one seed (default 1) of a scenario\n"
    "  swarm          many seeds (default any, 1..100)\n"
    "  shrink         takes away from a seed that fails what it does not need\n"
    "  kept           replays the runs in a file, one a line\n"
    "  check          whether a history of clients of real nodes, a JSON "
    "object\n"
    "                 a line (sim/transcript.h), is linearizable\n"
    "\n"
    "  --seed N       the seed\n"
    "  --seeds A..B   the seeds, both included\n"
    "  --jobs N       processes (default: one per processor)\n"
    "  --keep-going   do not stop at the first failures\n"
    "  --tries N      of a smaller run so many seeds are tried (default 5)\n"
    "  --trace        print everything that happens\n"
    "  --progress     say each second of a run to stderr\n"
    "\n"
    "KNOBS, in place of what the scenario says or its seed draws:\n"
    "  --peers N      peers at first\n"
    "  --clients N    of all keyspaces together\n"
    "  --keyspaces N  1 to 4; of `any`\n"
    "  --seconds N    of faults\n"
    "  --faults LIST  their kinds, with commas between; all; none\n"
    "\n"
    "Exit status: 0 all held, 1 an invariant was broken, 2 usage.\n";

void print_failure(const struct options *o, const struct outcome *outcome)
{
    char command[COMMAND_MAX];
    words_say(o, outcome->seed, command, sizeof command);
    printf("seed %llu broke %s: %s\nreplay: dlht-sim run %s\n",
           (unsigned long long)outcome->seed, outcome->invariant, outcome->text,
           command);
}

static int verb_list(void)
{
    for (size_t i = 0; i < scenario_count(); i++) {
        const struct scenario *s = scenario_at(i);
        printf("%-16s %4zu peers  %s\n", s->name, s->peers, s->summary);
    }
    return 0;
}

/* Of this process: the nodes and the world around them. */
static void say_cost(const struct scenario_result *r)
{
    struct rusage used;
    size_t peers = r->drawn.peers;
    if (getrusage(RUSAGE_SELF, &used) != 0 || r->virtual_ns == 0)
        return;
    double seconds =
        (double)used.ru_utime.tv_sec + (double)used.ru_stime.tv_sec;
    printf("cost: %.0f s of a processor, %ld MiB at most, %ld KiB a peer\n",
           seconds, used.ru_maxrss / 1024, used.ru_maxrss / (long)peers);
}

static int verb_run(const struct options *o)
{
    struct scenario_result r;
    attempt_say_signals();
    attempt(o, o->seed, &r);
    printf(
        "%s seed %llu: %.1f virtual s, %llu events, %llu frames, %llu "
        "syncs, %llu crashes\n",
        o->scenario, (unsigned long long)o->seed, (double)r.virtual_ns / 1e9,
        (unsigned long long)r.stats.events, (unsigned long long)r.stats.frames,
        (unsigned long long)r.stats.syncs, (unsigned long long)r.stats.crashes);
    printf("requests: %llu answered, %llu unknown, %llu failed, longest wait "
           "%.3f s; whole %.3f s after healing\n",
           (unsigned long long)r.ops, (unsigned long long)r.unknown,
           (unsigned long long)r.failed, (double)r.longest_ns / 1e9,
           (double)r.whole_ns / 1e9);
    if (r.remark[0])
        printf("%s%s", r.remark,
               r.remark[strlen(r.remark) - 1] == '\n' ? "" : "\n");
    say_cost(&r);
    printf("hash %016llx\n", (unsigned long long)r.hash);
    if (!r.invariant)
        return 0;
    struct outcome outcome;
    attempt_outcome(o->seed, &r, &outcome);
    print_failure(o, &outcome);
    return EXIT_BROKEN;
}

/* What the verb's name is for. */
static int run_verb(const char *verb, struct options *o, const char *name)
{
    bool swarm = strcmp(verb, "swarm") == 0;
    if (strcmp(verb, "kept") == 0) {
        o->file = name;
        return name ? verb_kept(o) : usage("a file is missing", "");
    }
    if (!name && !swarm)
        return usage("a scenario is missing", "");
    o->scenario = name ? name : "any";
    if (!scenario_find(o->scenario))
        return usage("no such scenario: ", o->scenario);
    if (swarm)
        return verb_swarm(o);
    if (strcmp(verb, "shrink") == 0)
        return verb_shrink(o);
    return strcmp(verb, "run") == 0 ? verb_run(o)
                                    : usage("unknown verb ", verb);
}

int main(int argc, char **argv)
{
    struct options o;
    const char *name = NULL;
    words_default(&o);
    if (argc < 2)
        return usage("a verb is missing", "");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") != 0 &&
            (i > 1 || strcmp(argv[i], "-h") != 0))
            continue;
        fputs(HELP, stdout);
        return 0;
    }
    if (strcmp(argv[1], "check") == 0)
        return argc == 3 ? check_file(argv[2]) : usage("one file is meant", "");
    if (strcmp(argv[1], "list") == 0)
        return verb_list();
    if (!words_read(&o, argc - 2, argv + 2, &name))
        return EXIT_USAGE;
    return run_verb(argv[1], &o, name);
}
