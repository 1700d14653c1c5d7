/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench hashring: the consistent-hash ring for programs that shard by
 * client. How long a lookup takes, beside a search of the sorted tokens as one
 * would write it; how even the nodes are; what a join moves. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "bench.h"
#include "dlht/err.h"
#include "placement/hashring.h"
#include "placement/hashring_plan.h"
#include "table.h"

#ifdef BENCH_CXX
size_t bench_std_lower_bound(const uint64_t *keys, size_t count, uint64_t key);
#endif

enum {
    KEYS = 65536, /* looked for in turn */
    KEY_LEN = 16,
    LIST = 64 /* keys of one call */
};

static const struct kind {
    const char *name;
    struct hashring_config config;
    bool weighted; /* 1, 2, 3 and 4 in turn; else all 1 */
} kinds[] = {
    { "128 derived",
      { hashring_xxh3, NULL, 128, 1, HASHRING_DERIVED, 0, 0 },
      false },
    { "128 derived, weights 1 to 4",
      { hashring_xxh3, NULL, 128, 1, HASHRING_DERIVED, 0, 0 },
      true },
    { "128 derived, MD5",
      { hashring_md5, NULL, 128, 1, HASHRING_DERIVED, 0, 0 },
      false },
    { "8 chosen", { hashring_xxh3, NULL, 8, 1, HASHRING_CHOSEN, 0, 0 }, false },
    { "1 derived, 21 probes",
      { hashring_xxh3, NULL, 1, 21, HASHRING_DERIVED, 0, 0 },
      false },
    /* Of these only how even they are. */
    { "1 derived",
      { hashring_xxh3, NULL, 1, 1, HASHRING_DERIVED, 0, 0 },
      false },
    { "8 derived",
      { hashring_xxh3, NULL, 8, 1, HASHRING_DERIVED, 0, 0 },
      false },
    { "512 derived",
      { hashring_xxh3, NULL, 512, 1, HASHRING_DERIVED, 0, 0 },
      false },
    { "16 chosen",
      { hashring_xxh3, NULL, 16, 1, HASHRING_CHOSEN, 0, 0 },
      false },
    { "1 derived, 5 probes",
      { hashring_xxh3, NULL, 1, 5, HASHRING_DERIVED, 0, 0 },
      false },
};

enum {
    KINDS = sizeof kinds / sizeof kinds[0],
    LOOKED_AT = 5 /* kinds */
};

/* The ring with nodes from .. to - 1 come or gone; ring's hold is taken. */
static struct hashring *change(struct hashring *ring, const struct kind *kind,
                               enum hashring_verb verb, size_t from, size_t to,
                               uint64_t seed)
{
    struct hashring_change *changes = bench_memory(to - from, sizeof *changes);
    char(*names)[48] = bench_memory(to - from, sizeof *names);
    struct hashring *next;
    for (size_t i = from; i < to; i++) {
        char *name = names[i - from];
        int len = snprintf(name, sizeof *names, "node-%llu-%zu",
                           (unsigned long long)seed, i);
        changes[i - from] = (struct hashring_change){
            .verb = verb,
            .id = span_of(name, (size_t)len),
            .weight = kind->weighted ? 1 + (double)(i % 4) : 1
        };
    }
    int rc = hashring_apply(ring, changes, to - from, &next, NULL);
    if (rc != DLHT_OK)
        bench_die(dlht_strerror(rc));
    hashring_drop(ring);
    free(changes);
    free(names);
    return next;
}

static struct hashring *ring_of(const struct kind *kind, size_t nodes,
                                uint64_t seed)
{
    struct hashring_config config = kind->config;
    struct hashring *ring;
    config.seed = seed;
    int rc = hashring_new(&config, &ring);
    if (rc != DLHT_OK)
        bench_die(dlht_strerror(rc));
    return change(ring, kind, HASHRING_ADD, 0, nodes, seed);
}

/* --- how long */

/* What is looked through and for. sorted[0] is a zero before the tokens, for
 * the comparison of bsearch. */
struct looked {
    const struct hashring *ring;
    uint64_t *sorted;
    uint32_t *owners;
    size_t count;
    uint8_t (*keys)[KEY_LEN];
    struct span *spans;
    uint64_t *at;
    uint32_t nodes[LIST];
};

static void looked_init(struct looked *l, const struct hashring *ring,
                        uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    l->ring = ring;
    l->count = hashring_token_count(ring);
    l->sorted = bench_memory(l->count + 1, sizeof *l->sorted);
    l->owners = bench_memory(l->count, sizeof *l->owners);
    l->keys = bench_memory(KEYS, sizeof *l->keys);
    l->spans = bench_memory(KEYS, sizeof *l->spans);
    l->at = bench_memory(KEYS, sizeof *l->at);
    for (size_t i = 0; i < l->count; i++) {
        size_t node;
        l->sorted[i + 1] = hashring_token(ring, i, &node);
        l->owners[i] = (uint32_t)node;
    }
    for (size_t i = 0; i < KEYS; i++) {
        l->at[i] = rng_next(&rng);
        memcpy(l->keys[i], &l->at[i], sizeof l->at[i]);
        l->spans[i] = span_of(l->keys[i], KEY_LEN);
    }
}

static void looked_deinit(struct looked *l)
{
    free(l->sorted);
    free(l->owners);
    free(l->keys);
    free(l->spans);
    free(l->at);
}

/* Equal if the position is in (token before, token]. */
static int compare_arc(const void *key, const void *element)
{
    uint64_t at = *(const uint64_t *)key;
    const uint64_t *token = element;
    if (at > *token)
        return 1;
    return at <= token[-1] && token[-1] != 0 ? -1 : 0;
}

typedef size_t (*look_fn)(struct looked *l, size_t i);

static size_t by_position(struct looked *l, size_t i)
{
    return hashring_at(l->ring, l->at[i]);
}

static size_t by_key(struct looked *l, size_t i)
{
    return hashring_find(l->ring, l->spans[i]);
}

/* One call for LIST keys. */
static size_t by_list(struct looked *l, size_t i)
{
    if (i % LIST == 0)
        hashring_find_all(l->ring, &l->spans[i], LIST, l->nodes);
    return l->nodes[i % LIST];
}

static size_t three_nodes(struct looked *l, size_t i)
{
    uint32_t nodes[3];
    hashring_replicas_at(l->ring, l->at[i], 3, nodes);
    return nodes[2];
}

static size_t by_bsearch(struct looked *l, size_t i)
{
    const uint64_t *found = bsearch(&l->at[i], l->sorted + 1, l->count,
                                    sizeof *l->sorted, compare_arc);
    return l->owners[found ? (size_t)(found - l->sorted - 1) : 0];
}

#ifdef BENCH_CXX
static size_t by_std(struct looked *l, size_t i)
{
    size_t token = bench_std_lower_bound(l->sorted + 1, l->count, l->at[i]);
    return l->owners[token < l->count ? token : 0];
}
#endif

static volatile size_t sink; /* what is found, lest it be left out */

/* The least of some rounds: the machine is not ours alone. */
static double time_of(struct looked *l, look_fn look, size_t rounds)
{
    double best = 1e18;
    for (size_t r = 0; r < rounds; r++) {
        size_t sum = 0;
        double begin = bench_cpu_ns();
        for (size_t i = 0; i < KEYS; i++)
            sum += look(l, i);
        double ns = (bench_cpu_ns() - begin) / KEYS;
        sink = sum;
        best = ns < best ? ns : best;
    }
    return best;
}

/* Of positions, so that the ring's way and the plain one must agree. */
static void compare_ways(struct looked *l)
{
    for (size_t i = 0; i < KEYS; i++) {
        size_t node = by_position(l, i);
        if (by_bsearch(l, i) != node)
            bench_die("bsearch finds another node");
#ifdef BENCH_CXX
        if (by_std(l, i) != node)
            bench_die("std::lower_bound finds another node");
#endif
    }
}

static void measure_looks(const struct bench_options *options)
{
    struct table *table = table_begin(
        options, "hashring_look", "A lookup in the hash ring: processor ns");
    size_t rounds = bench_size(options, options->rounds, 15, 2);
    for (size_t k = 0; k < LOOKED_AT; k++)
        for (size_t nodes = 10; nodes <= 1000; nodes *= 10) {
            struct hashring *ring = ring_of(&kinds[k], nodes, options->seed);
            struct looked l;
            looked_init(&l, ring, options->seed);
            table_text(table, "tokens", kinds[k].name);
            table_number(table, "nodes", (double)nodes, 0);
            table_number(table, "position", time_of(&l, by_position, rounds),
                         1);
            table_number(table, "key", time_of(&l, by_key, rounds), 1);
            table_number(table, "list", time_of(&l, by_list, rounds), 1);
            table_number(table, "3 nodes", time_of(&l, three_nodes, rounds), 1);
            if (kinds[k].config.probes == 1) {
                compare_ways(&l);
#ifdef BENCH_CXX
                table_number(table, "std::lower_bound",
                             time_of(&l, by_std, rounds), 1);
#endif
                table_number(table, "bsearch", time_of(&l, by_bsearch, rounds),
                             1);
            }
            table_end_row(table);
            looked_deinit(&l);
            hashring_drop(ring);
        }
    table_end(table, "key: with the hash of 16 bytes; list: the same, 64 a "
                     "call; the last two: of the sorted tokens, by position");
}

/* --- how even */

/* Over mean by weight; with probes of so many positions. */
static double peak(const struct hashring *ring, size_t positions, uint64_t seed)
{
    size_t n = hashring_node_count(ring);
    double *got = bench_memory(n, sizeof *got);
    double weight = 0;
    double max = 0;
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < n; i++)
        weight += hashring_node(ring, i).weight;
    if (hashring_config(ring)->probes == 1)
        for (size_t i = 0; i < n; i++)
            got[i] = hashring_node(ring, i).share;
    else
        for (size_t i = 0; i < positions; i++)
            got[hashring_at(ring, rng_next(&rng))] += 1 / (double)positions;
    for (size_t i = 0; i < n; i++) {
        double over = got[i] * weight / hashring_node(ring, i).weight;
        max = over > max ? over : max;
    }
    free(got);
    return max;
}

/* Each node leaves and another one comes, ten times over. */
static struct hashring *churn(struct hashring *ring, const struct kind *kind,
                              size_t n, uint64_t seed)
{
    for (size_t i = 0; i < 10 * n; i++) {
        ring = change(ring, kind, HASHRING_REMOVE, i, i + 1, seed);
        ring = change(ring, kind, HASHRING_ADD, i + n, i + n + 1, seed);
    }
    return ring;
}

struct evenness {
    double mean;
    double worst;
};

static struct evenness evenness_of(const struct bench_options *options,
                                   const struct kind *kind, size_t nodes)
{
    size_t positions = bench_size(options, options->keys, 1000000, 300000);
    struct evenness e = { 0, 0 };
    for (uint64_t i = 0; i < 10; i++) {
        struct hashring *ring = ring_of(kind, nodes, options->seed + i);
        double p = peak(ring, positions, options->seed + i);
        e.mean += p / 10;
        e.worst = p > e.worst ? p : e.worst;
        hashring_drop(ring);
    }
    return e;
}

static void measure_evenness(const struct bench_options *options)
{
    struct table *table =
        table_begin(options, "hashring_even",
                    "The fullest node of the hash ring, over the mean");
    double chosen = 0;
    double probed = 0;
    for (size_t k = 0; k < KINDS; k++) {
        struct evenness ten = evenness_of(options, &kinds[k], 10);
        struct evenness hundred = evenness_of(options, &kinds[k], 100);
        table_text(table, "tokens", kinds[k].name);
        table_number(table, "10 nodes", ten.mean, 2);
        table_number(table, "10, worst", ten.worst, 2);
        table_number(table, "100 nodes", hundred.mean, 2);
        table_number(table, "100, worst", hundred.worst, 2);
        if (!options->quick) {
            struct hashring *ring = ring_of(&kinds[k], 100, options->seed);
            ring = churn(ring, &kinds[k], 100, options->seed);
            table_number(table, "after 1,000 leaves and joins",
                         peak(ring, 1000000, options->seed), 2);
            hashring_drop(ring);
        }
        table_end_row(table);
        chosen = k == 3 ? hundred.mean : chosen;
        probed = k == 4 ? hundred.mean : probed;
    }
    table_end(table, "of the ring; with probes of positions by chance; the "
                     "mean and the worst of 10 seeds");
    bench_promise(options,
                  "100 nodes of 8 chosen tokens: peak over mean less "
                  "1.16, either way",
                  fabs(chosen - 1.16), 0.05);
    bench_promise(options,
                  "100 nodes of 21 probes: peak over mean less 1.07, "
                  "either way",
                  fabs(probed - 1.07), 0.05);
}

/* --- what a join moves */

struct motion {
    double mean; /* of the ideal */
    double worst;
    double others; /* of all copies, to nodes that were there */
    double plan_ns;
};

static struct motion motion_of(const struct bench_options *options,
                               const struct kind *kind, size_t nodes,
                               size_t copies)
{
    size_t seeds = kind->config.probes > 1 ? bench_size(options, 0, 20, 5)
                                           : bench_size(options, 0, 50, 20);
    struct motion motion = { 0, 0, 0, 0 };
    for (uint64_t s = 0; s < seeds; s++) {
        uint64_t seed = options->seed + s;
        struct hashring_plan *plan;
        struct hashring *a = ring_of(kind, nodes, seed);
        struct hashring *b = change(hashring_hold(a), kind, HASHRING_ADD, nodes,
                                    nodes + 1, seed);
        double begin = bench_cpu_ns();
        int rc = hashring_plan_new(a, b, copies, &plan);
        if (rc != DLHT_OK)
            bench_die(dlht_strerror(rc));
        motion.plan_ns += (bench_cpu_ns() - begin) / (double)seeds;
        double of_ideal = plan->moved / plan->ideal;
        motion.mean += of_ideal / (double)seeds;
        motion.worst = of_ideal > motion.worst ? of_ideal : motion.worst;
        for (size_t i = 0; i < plan->node_count; i++)
            if (plan->nodes[i].was)
                motion.others += plan->nodes[i].gained;
        hashring_plan_free(plan);
        hashring_drop(a);
        hashring_drop(b);
    }
    return motion;
}

static void measure_moves(const struct bench_options *options)
{
    struct table *table =
        table_begin(options, "hashring_move",
                    "What a join moves in the hash ring, of the ideal");
    double most = 0;
    double others = 0;
    for (size_t k = 0; k < LOOKED_AT; k++) {
        if (kinds[k].config.hash == hashring_md5 || kinds[k].weighted)
            continue;
        for (size_t nodes = 10; nodes <= 100; nodes *= 10)
            for (size_t copies = 1; copies <= 3; copies += 2) {
                struct motion m = motion_of(options, &kinds[k], nodes, copies);
                table_text(table, "tokens", kinds[k].name);
                table_number(table, "nodes", (double)nodes, 0);
                table_number(table, "copies", (double)copies, 0);
                table_number(table, "moved", m.mean, 3);
                table_number(table, "worst", m.worst, 3);
                table_number(table, "to others", m.others, 3);
                if (!options->json)
                    table_number(table, "plan ms", m.plan_ns / 1e6, 1);
                table_end_row(table);
                most = m.mean > most ? m.mean : most;
                others += m.others;
            }
    }
    table_end(table, "mean and worst of the seeds; to others: to nodes that "
                     "were there before, of all copies");
    bench_promise(options, "a join moves, of the ideal", most, 1.05);
    bench_promise(options, "a join moves to others than the newcomer", others,
                  0);
}

void bench_hashring(const struct bench_options *options)
{
    measure_looks(options);
    measure_evenness(options);
    measure_moves(options);
}
