/* SPDX-License-Identifier: Apache-2.0 */

/* Figures of the hash ring for docs/hashring.md; not a test.
 *
 *     bench_hashring [look|even|move]
 */

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "dlht/err.h"
#include "placement/hashring.h"
#include "placement/hashring_plan.h"

enum {
    LOOKUPS = 500000,
    BATCHES = 3,
    SEEDS = 10
};

static struct hashring *change(struct hashring *ring, enum hashring_verb verb,
                               size_t from, size_t to, uint64_t seed)
{
    struct hashring_change *changes = mem_array(to - from, sizeof *changes);
    char(*names)[32] = mem_array(to - from, sizeof *names);
    struct hashring *next = NULL;
    assert(changes && names);
    for (size_t i = 0; i < to - from; i++) {
        int len = snprintf(names[i], sizeof names[i], "node-%u-%zu",
                           (unsigned)seed, from + i);
        changes[i] = (struct hashring_change){
            .verb = verb, .id = span_of(names[i], (size_t)len), .weight = 1
        };
    }
    int rc = hashring_apply(ring, changes, to - from, &next, NULL);
    assert(rc == DLHT_OK);
    (void)rc;
    hashring_drop(ring);
    free(changes);
    free(names);
    return next;
}

static struct hashring *ring_of(struct hashring_config c, size_t nodes,
                                uint64_t seed)
{
    struct hashring *ring;
    int rc = hashring_new(&c, &ring);
    assert(rc == DLHT_OK);
    (void)rc;
    return change(ring, HASHRING_ADD, 0, nodes, seed);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

enum way {
    TABLE, /* the ring's own */
    BISECT,
    EYTZINGER,
    KEY,   /* with the hash of 16 bytes */
    COPIES /* three nodes */
};

/* The tokens in the order of a heap, 1-based; places: index in the ring. */
struct heap {
    uint64_t *at;
    size_t count;
};

static size_t fill_heap(struct heap *heap, const uint64_t *sorted, size_t i,
                        size_t k)
{
    if (k > heap->count)
        return i;
    i = fill_heap(heap, sorted, i, 2 * k);
    heap->at[k] = sorted[i++];
    return fill_heap(heap, sorted, i, 2 * k + 1);
}

static size_t bisect(const uint64_t *sorted, size_t count, uint64_t at)
{
    const uint64_t *p = sorted;
    while (count > 0) {
        size_t half = (count + 1) / 2;
        p += half & (0 - (size_t)(p[half - 1] < at));
        count -= half;
    }
    return (size_t)(p - sorted);
}

static size_t eytzinger(const struct heap *heap, uint64_t at)
{
    size_t k = 1;
    while (k <= heap->count)
        k = 2 * k + (heap->at[k] < at);
    return k >> __builtin_ffsll((long long)~k);
}

static size_t look(const struct hashring *ring, enum way way,
                   const uint64_t *sorted, const struct heap *heap,
                   const uint64_t *at)
{
    uint32_t nodes[3];
    switch (way) {
    case TABLE:
        return hashring_at(ring, *at);
    case BISECT:
        return bisect(sorted, heap->count, *at);
    case EYTZINGER:
        return eytzinger(heap, *at);
    case KEY:
        return hashring_find(ring, span_of(at, 16));
    case COPIES:
        hashring_replicas_at(ring, *at, 3, nodes);
        return nodes[2];
    }
    return 0;
}

static volatile size_t sink; /* what is found, lest it be left out */

/* The least of some batches: the machine is not ours alone. */
static double measure(const struct hashring *ring, enum way way)
{
    static uint64_t at[65536 + 1];
    struct rng rng;
    size_t tokens = hashring_token_count(ring);
    uint64_t *sorted = mem_array(tokens + 1, sizeof *sorted);
    struct heap heap = { mem_array(tokens + 1, sizeof *sorted), tokens };
    double best = 1e18;
    size_t node;
    assert(sorted && heap.at);
    rng_init(&rng, 1);
    for (size_t i = 0; i <= 65536; i++)
        at[i] = rng_next(&rng);
    for (size_t i = 0; i < tokens; i++)
        sorted[i] = hashring_token(ring, i, &node);
    fill_heap(&heap, sorted, 0, 1);
    for (size_t b = 0; b < BATCHES; b++) {
        double begin = now_ns();
        size_t s = 0;
        for (size_t i = 0; i < LOOKUPS; i++)
            s += look(ring, way, sorted, &heap, &at[i % 65536]);
        sink = s;
        double ns = (now_ns() - begin) / LOOKUPS;
        best = ns < best ? ns : best;
    }
    free(sorted);
    free(heap.at);
    return best;
}

static void bench_look(void)
{
    static const struct {
        const char *name;
        uint32_t vnodes, probes;
        enum hashring_tokens tokens;
    } rows[] = { { "128 derived", 128, 1, HASHRING_DERIVED },
                 { "8 chosen", 8, 1, HASHRING_CHOSEN },
                 { "1 token, 21 probes", 1, 21, HASHRING_DERIVED } };
    puts("| tokens | nodes | position ns | bisection | Eytzinger | with xxh3 "
         "of 16 bytes | 3 nodes |\n|---|---|---|---|---|---|---|");
    for (size_t i = 0; i < 3; i++)
        for (size_t nodes = 10; nodes <= 1000; nodes *= 10) {
            struct hashring_config c = hashring_config_default();
            c.vnodes = rows[i].vnodes;
            c.probes = rows[i].probes;
            c.tokens = rows[i].tokens;
            struct hashring *ring = ring_of(c, nodes, 1);
            printf("| %s | %zu | %.1f | %.1f | %.1f | %.1f | %.1f |\n",
                   rows[i].name, nodes, measure(ring, TABLE),
                   measure(ring, BISECT), measure(ring, EYTZINGER),
                   measure(ring, KEY), measure(ring, COPIES));
            hashring_drop(ring);
        }
}

/* Peak over mean, of a million positions if there are probes. */
static double peak(const struct hashring *ring, uint64_t seed)
{
    size_t n = hashring_node_count(ring);
    double max = 0;
    double *got = mem_zero(n, sizeof *got);
    struct rng rng;
    assert(got);
    rng_init(&rng, seed);
    for (size_t i = 0; i < n; i++)
        got[i] = hashring_node(ring, i).share;
    if (hashring_config(ring)->probes > 1) {
        memset(got, 0, n * sizeof *got);
        for (size_t i = 0; i < 1000000; i++)
            got[hashring_at(ring, rng_next(&rng))] += 1e-6;
    }
    for (size_t i = 0; i < n; i++)
        max = got[i] > max ? got[i] : max;
    free(got);
    return max * (double)n;
}

/* A leave and a join of the oldest, many times over. */
static struct hashring *churn(struct hashring *ring, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < 10 * n; i++) {
        ring = change(ring, HASHRING_REMOVE, i, i + 1, seed);
        ring = change(ring, HASHRING_ADD, i + n, i + n + 1, seed);
    }
    return ring;
}

static void bench_even(void)
{
    static const struct {
        uint32_t vnodes, probes;
        enum hashring_tokens tokens;
    } rows[] = { { 1, 1, HASHRING_DERIVED },   { 8, 1, HASHRING_DERIVED },
                 { 32, 1, HASHRING_DERIVED },  { 128, 1, HASHRING_DERIVED },
                 { 512, 1, HASHRING_DERIVED }, { 3, 1, HASHRING_CHOSEN },
                 { 8, 1, HASHRING_CHOSEN },    { 16, 1, HASHRING_CHOSEN },
                 { 32, 1, HASHRING_CHOSEN },   { 1, 5, HASHRING_DERIVED },
                 { 1, 21, HASHRING_DERIVED } };
    puts("| tokens | probes | 10 nodes (worst) | 100 nodes (worst) | 100 after "
         "1,000 leaves and joins |\n|---|---|---|---|---|");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hashring_config c = hashring_config_default();
        c.vnodes = rows[i].vnodes;
        c.probes = rows[i].probes;
        c.tokens = rows[i].tokens;
        printf("| %u %s | %u |", c.vnodes,
               c.tokens == HASHRING_CHOSEN ? "chosen" : "derived", c.probes);
        for (size_t nodes = 10; nodes <= 100; nodes *= 10) {
            double sum = 0;
            double worst = 0;
            for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                c.seed = seed;
                struct hashring *ring = ring_of(c, nodes, seed);
                double p = peak(ring, seed);
                sum += p / SEEDS;
                worst = p > worst ? p : worst;
                hashring_drop(ring);
            }
            printf(" %.2f (%.2f) |", sum, worst);
        }
        struct hashring *ring = churn(ring_of(c, 100, 1), 100, 1);
        printf(" %.2f |\n", peak(ring, 1));
        hashring_drop(ring);
    }
}

static void bench_move(void)
{
    static const struct {
        uint32_t vnodes, probes;
        enum hashring_tokens tokens;
    } rows[] = { { 128, 1, HASHRING_DERIVED },
                 { 8, 1, HASHRING_CHOSEN },
                 { 1, 21, HASHRING_DERIVED } };
    puts("| tokens | probes | nodes | copies | moved by a join, of the ideal | "
         "worst | to others | plan ms |\n|---|---|---|---|---|---|---|---|");
    for (size_t i = 0; i < 3; i++)
        for (size_t nodes = 10; nodes <= 100; nodes *= 10)
            for (size_t copies = 1; copies <= 3; copies += 2) {
                struct hashring_config c = hashring_config_default();
                double sum = 0;
                double worst = 0;
                double others = 0;
                double ns = 0;
                c.vnodes = rows[i].vnodes;
                c.probes = rows[i].probes;
                c.tokens = rows[i].tokens;
                for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                    struct hashring_plan *plan;
                    c.seed = seed;
                    struct hashring *a = ring_of(c, nodes, seed);
                    struct hashring *b = change(hashring_hold(a), HASHRING_ADD,
                                                nodes, nodes + 1, seed);
                    double begin = now_ns();
                    if (hashring_plan_new(a, b, copies, &plan) != DLHT_OK)
                        return;
                    ns += now_ns() - begin;
                    double of_ideal = plan->moved / plan->ideal;
                    sum += of_ideal / SEEDS;
                    worst = of_ideal > worst ? of_ideal : worst;
                    for (size_t k = 0; k < plan->node_count; k++)
                        others +=
                            plan->nodes[k].was ? plan->nodes[k].gained : 0;
                    hashring_plan_free(plan);
                    hashring_drop(a);
                    hashring_drop(b);
                }
                printf("| %u %s | %u | %zu | %zu | %.3f | %.3f | %.3f | %.1f "
                       "|\n",
                       c.vnodes,
                       c.tokens == HASHRING_CHOSEN ? "chosen" : "derived",
                       c.probes, nodes, copies, sum, worst, others / SEEDS,
                       ns / SEEDS / 1e6);
            }
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *what = argc > 1 ? argv[1] : "all";
    bool all = strcmp(what, "all") == 0;
    if (all || strcmp(what, "look") == 0)
        bench_look();
    if (all || strcmp(what, "even") == 0)
        bench_even();
    if (all || strcmp(what, "move") == 0)
        bench_move();
    return 0;
}
