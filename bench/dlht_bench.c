/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench - what the learned index and the ring are worth, measured with the
 * rooms themselves. Each subcommand prints tables, and says of each promise
 * whether it was kept; one that was not makes the exit status 1. */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "load.h"
#include "vector_data.h"

static const struct command {
    const char *name;
    void (*run)(const struct bench_options *options);
    bool in_all;
    const char *what;
} commands[] = {
    { "model", bench_model, true, "the model: error, size, times" },
    { "index", bench_index, true, "the index over a sorted array" },
    { "local", bench_local, true, "the index inside a node, beside its own" },
    { "training", bench_training, true, "a federated round: error, bytes" },
    { "routing", bench_routing, true, "hops of a lookup" },
    { "range", bench_range, true, "messages and time of a range" },
    { "lead", bench_lead, true, "ownership by position: what a retrain moves" },
    { "lies", bench_lies, true, "one arc of 64 claims 50 x its keys" },
    { "hashring", bench_hashring, true,
      "the hash ring: times, evenness, moves" },
    { "balance", bench_balance, true, "what the planner moves, how evenly" },
    { "vector", bench_vector, false, "the graph of vectors beside hnswlib" },
    { "collection", bench_collection, false, "vectors on a ring of three" },
    { "restart", bench_restart, false, "a node of vectors comes back" },
    { "filter", bench_filter, true, "filters and indexes of metadata" },
    { "cache", bench_cache, false, "the cache: times, memory, hit ratios" },
    { "svg", bench_svg, false, "DIR: pictures of all this" },
};

enum {
    COMMANDS = sizeof commands / sizeof commands[0],
    SEED = 20261121
};

static int usage(FILE *to)
{
    fprintf(to, "usage: dlht-bench [OPTION...] COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].what);
    fprintf(to, "  %-10s load for a server: --help tells its options\n",
            "load");
    fprintf(to, "  %-10s a picture of ratios, for scripts/bench\n", "bars");
    fprintf(to,
            "  %-10s all of these, and the whole map, but vector, collection, "
            "restart, cache, svg, load\n\n",
            "all");
    fprintf(
        to,
        "  --json           one object a line\n"
        "  --seed N         everything but times follows from it\n"
        "  --quick          small sizes, as a test\n"
        "  --arcs N         arcs of the ring or round\n"
        "  --keys N|SHAPE   how many keys; uniform, clustered, ...\n"
        "  --vectors N      vector, collection, restart: how many vectors\n"
        "  --lookups N      routing, range, collection: how many are averaged\n"
        "  --keys-wanted N  range: keys of one range\n"
        "  --map            routing: with the whole map\n"
        "  --leaves N       of the models\n"
        "  --rounds N       model, index, hashring: rounds of each time\n"
        "  --huge           index: huge pages for the array\n"
        "  --set NAME       vector, collection: clustered, gaussian or "
        "lowrank\n"
        "  --graphs NAMES   vector: int8, int8-dropped, float16, float32\n"
        "  --alpha X        vector: of the choice of neighbours\n"
        "  --svg FILE       vector: recall against queries a second, drawn\n"
        "  --churn          vector: removals and rewrites; the exact scan\n"
        "  --trace KIND     cache: zipf, one-hit, scan, drift or all\n"
        "  --replay FILE    cache: a trace of keys, one a line\n"
        "  --policy NAME    cache: s3fifo or lru; both otherwise\n"
        "  --capacity N     cache: entries; parts of the keys otherwise\n");
    return to == stdout ? 0 : 2;
}

static bool number(const char *text, size_t *out)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    *out = (size_t)n;
    return *text >= '0' && *text <= '9' && !*end && n > 0 && n <= 1000000000;
}

static bool keys(const char *text, struct bench_options *options)
{
    for (int s = 0; s < KEYS_SHAPES; s++)
        if (strcmp(text, key_shape_names[s]) == 0) {
            options->has_shape = true;
            options->shape = (enum key_shape)s;
            return true;
        }
    return number(text, &options->keys);
}

static bool is_set(const char *name)
{
    for (int s = 0; s < VECTOR_SHAPES; s++)
        if (strcmp(vector_shape_names[s], name) == 0)
            return true;
    return false;
}

static bool read_option(int c, struct bench_options *options)
{
    size_t n;
    switch (c) {
    case 'j':
        return options->json = true;
    case 'q':
        return options->quick = true;
    case 'h':
        return options->huge = true;
    case 'm':
        return options->map = true;
    case 's':
        if (!number(optarg, &n))
            return false;
        options->seed = n;
        return true;
    case 'l':
        if (!number(optarg, &n) || n > MODEL_LEAVES_MAX)
            return false;
        options->leaves = (uint32_t)n;
        return true;
    case 'a':
        return number(optarg, &options->arcs);
    case 'k':
        return keys(optarg, options);
    case 'r':
        return number(optarg, &options->rounds) && options->rounds <= 1000;
    case 'n':
        return number(optarg, &options->lookups);
    case 'd':
        options->set = optarg;
        return is_set(optarg);
    case 'g':
        options->graphs = optarg;
        return true;
    case 'A':
        options->alpha = strtod(optarg, NULL);
        return options->alpha >= 1 && options->alpha <= 2;
    case 'v':
        options->svg = optarg;
        return true;
    case 'c':
        return options->churn = true;
    case 't':
        options->trace = optarg;
        return true;
    case 'f':
        options->replay = optarg;
        return true;
    case 'p':
        options->policy = optarg;
        return strcmp(optarg, "s3fifo") == 0 || strcmp(optarg, "lru") == 0;
    case 'C':
        return number(optarg, &options->capacity);
    case 'w':
        return number(optarg, &options->keys_wanted);
    default:
        return false;
    }
}

static void run_all(struct bench_options *options)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].in_all)
            commands[i].run(options);
    options->map = true;
    bench_routing(options);
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        { "json", no_argument, NULL, 'j' },
        { "quick", no_argument, NULL, 'q' },
        { "huge", no_argument, NULL, 'h' },
        { "map", no_argument, NULL, 'm' },
        { "seed", required_argument, NULL, 's' },
        { "leaves", required_argument, NULL, 'l' },
        { "arcs", required_argument, NULL, 'a' },
        { "keys", required_argument, NULL, 'k' },
        { "vectors", required_argument, NULL, 'k' },
        { "rounds", required_argument, NULL, 'r' },
        { "lookups", required_argument, NULL, 'n' },
        { "keys-wanted", required_argument, NULL, 'w' },
        { "set", required_argument, NULL, 'd' },
        { "graphs", required_argument, NULL, 'g' },
        { "churn", no_argument, NULL, 'c' },
        { "svg", required_argument, NULL, 'v' },
        { "alpha", required_argument, NULL, 'A' },
        { "trace", required_argument, NULL, 't' },
        { "replay", required_argument, NULL, 'f' },
        { "policy", required_argument, NULL, 'p' },
        { "capacity", required_argument, NULL, 'C' },
        { "help", no_argument, NULL, '?' + 1 },
        { NULL, 0, NULL, 0 },
    };
    struct bench_options options = { .seed = SEED };
    if (argc > 1 && strcmp(argv[1], "load") == 0)
        return bench_load(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "bars") == 0)
        return bench_bars(argc - 1, argv + 1);
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == '?' + 1)
            return usage(stdout);
        if (!read_option(c, &options))
            return usage(stderr);
    }
    const char *name = optind < argc ? argv[optind] : "";
    bool svg = strcmp(name, "svg") == 0;
    if (argc - optind != (svg ? 2 : 1))
        return usage(stderr);
    options.dir = svg ? argv[optind + 1] : NULL;
    size_t i = 0;
    while (i < COMMANDS && strcmp(commands[i].name, name) != 0)
        i++;
    if (i < COMMANDS)
        commands[i].run(&options);
    else if (strcmp(name, "all") == 0)
        run_all(&options);
    else
        return usage(stderr);
    return bench_broken() ? 1 : 0;
}
