/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench cache --trace KIND: hit ratios of the policies on made traces,
 * and with --replay FILE on the keys of a file, one a line. Each is compared
 * with a simulation of the same policy (bench_cache_sim.c). */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "bench.h"
#include "bench_cache.h"
#include "dlht/err.h"
#include "store/cache.h"
#include "table.h"

enum {
    KEYS = 100000,
    REQUESTS = 3000000
};

#define ZIPF_EXPONENT 0.9

/* Draws ranks from 0, the likeliest, by the sums of their chances. */
struct zipf {
    double *sums;
    uint32_t count;
};

static struct zipf zipf_new(uint32_t count)
{
    struct zipf zipf = { bench_memory(count, sizeof(double)), count };
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        zipf.sums[i] = sum += pow(i + 1.0, -ZIPF_EXPONENT);
    return zipf;
}

static uint32_t zipf_draw(const struct zipf *zipf, struct rng *rng)
{
    double at = rng_real(rng) * zipf->sums[zipf->count - 1];
    uint32_t lo = 0;
    uint32_t hi = zipf->count - 1;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (zipf->sums[mid] > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* What a made trace is made with. */
struct maker {
    struct trace *trace;
    struct zipf zipf;
    struct rng rng;
    uint32_t keys; /* those that are asked for again; others follow */
};

static void add(struct maker *maker, uint32_t key)
{
    struct trace *trace = maker->trace;
    trace->keys[trace->len++] = key;
    if (key >= trace->key_count)
        trace->key_count = key + 1;
}

static void make_zipf(struct maker *maker, size_t len)
{
    while (maker->trace->len < len)
        add(maker, zipf_draw(&maker->zipf, &maker->rng));
}

/* Three of ten are keys that never come again. */
static void make_one_hit(struct maker *maker, size_t len)
{
    uint32_t next = maker->keys;
    while (maker->trace->len < len)
        add(maker, rng_chance(&maker->rng, 0.3)
                       ? next++
                       : zipf_draw(&maker->zipf, &maker->rng));
}

/* A fifth belongs to scans through all keys, a twentieth of them at a time. */
static void make_scan(struct maker *maker, size_t len)
{
    uint32_t run = maker->keys / 20;
    uint32_t at = 0;
    while (maker->trace->len + run < len) {
        for (uint32_t i = 0; i < run; i++)
            add(maker, at++ % maker->keys);
        for (uint32_t i = 0; i < 4 * run && maker->trace->len < len; i++)
            add(maker, zipf_draw(&maker->zipf, &maker->rng));
    }
}

/* What is asked for most changes: ranks move on by a key each so many. */
static void make_drift(struct maker *maker, size_t len)
{
    uint32_t period = 300;
    while (maker->trace->len < len) {
        uint32_t moved = (uint32_t)(maker->trace->len / period);
        uint32_t rank = zipf_draw(&maker->zipf, &maker->rng);
        /* Spread first, so that neighbours are not alike. */
        uint64_t key = (uint64_t)rank * 7919 % maker->keys;
        add(maker, (uint32_t)((key + moved * UINT64_C(7919)) % maker->keys));
    }
}

static const struct kind {
    const char *name;
    void (*make)(struct maker *maker, size_t len);
} kinds[] = {
    { "zipf", make_zipf },
    { "one-hit", make_one_hit },
    { "scan", make_scan },
    { "drift", make_drift },
};

enum {
    KINDS = sizeof kinds / sizeof kinds[0]
};

static struct trace trace_make(const struct bench_options *options,
                               const struct kind *kind)
{
    uint32_t keys =
        (uint32_t)bench_size(options, options->keys, KEYS, KEYS / 10);
    size_t len = bench_size(options, 0, REQUESTS, REQUESTS / 20);
    struct trace trace = { bench_memory(len, sizeof(uint32_t)), 0, 0 };
    struct maker maker = { &trace, zipf_new(keys), { { 0 } }, keys };
    rng_init(&maker.rng, options->seed);
    kind->make(&maker, len);
    free(maker.zipf.sums);
    return trace;
}

/* Numbers for the lines of a file, by a table of their hashes. */
struct numbers {
    uint64_t *hashes;
    uint32_t *numbers;
    size_t cap;
    uint32_t count;
};

static uint32_t number_of(struct numbers *n, uint64_t hash)
{
    hash = hash ? hash : 1;
    size_t at = hash & (n->cap - 1);
    while (n->hashes[at] && n->hashes[at] != hash)
        at = (at + 1) & (n->cap - 1);
    if (!n->hashes[at]) {
        n->hashes[at] = hash;
        n->numbers[at] = n->count++;
    }
    return n->numbers[at];
}

static struct trace trace_read(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f)
        bench_die("the trace cannot be read");
    size_t lines = 0;
    for (int c = getc(f); c != EOF; c = getc(f))
        lines += c == '\n';
    rewind(f);
    struct trace trace = { bench_memory(lines, sizeof(uint32_t)), 0, 0 };
    struct numbers n = { .cap = 64 };
    while (n.cap < lines * 2)
        n.cap *= 2;
    n.hashes = bench_memory(n.cap, sizeof *n.hashes);
    n.numbers = bench_memory(n.cap, sizeof *n.numbers);
    char line[4096];
    while (trace.len < lines && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        trace.keys[trace.len++] = number_of(&n, hash64(span_str(line)));
    }
    fclose(f);
    trace.key_count = n.count;
    free(n.hashes);
    free(n.numbers);
    return trace;
}

/* Hits of the cache itself; what misses is put. */
static size_t run_cache(const struct trace *trace,
                        enum cache_policy_kind policy, size_t capacity,
                        uint64_t seed)
{
    struct cache_config config = cache_config_default();
    config.policy = policy;
    config.count_max = capacity;
    config.seed = seed;
    struct cache *cache = cache_new(&config);
    if (!cache)
        bench_die("no memory");
    struct cache_put put = { .expire_ms = CACHE_NEVER };
    for (size_t i = 0; i < trace->len; i++) {
        struct cache_key key = cache_key_of(cache, span_of(&trace->keys[i], 4));
        struct cache_item item;
        if (!cache_get(cache, &key, 0, &item) &&
            cache_put(cache, &key, 0, &put, NULL) != DLHT_OK)
            bench_die("a put failed");
    }
    struct cache_stats stats;
    cache_stats(cache, &stats);
    cache_free(cache);
    return stats.hits;
}

static const struct policy {
    const char *name;
    enum cache_policy_kind kind;
    size_t (*simulate)(const struct trace *trace, size_t capacity);
} policies[] = {
    { "s3fifo", CACHE_S3FIFO, bench_cache_sim_s3fifo },
    { "lru", CACHE_LRU, bench_cache_sim_lru },
};

struct run {
    const struct bench_options *options;
    struct table *table;
    double apart; /* the greatest difference from a simulation */
};

static void run_one(struct run *run, const char *name,
                    const struct trace *trace, size_t capacity)
{
    for (size_t p = 0; p < sizeof policies / sizeof policies[0]; p++) {
        const struct policy *policy = &policies[p];
        const char *only = run->options->policy;
        if (only && strcmp(only, policy->name) != 0)
            continue;
        double before = bench_cpu_ns();
        double hits = (double)run_cache(trace, policy->kind, capacity,
                                        run->options->seed);
        double ns = (bench_cpu_ns() - before) / (double)trace->len;
        double ratio = hits / (double)trace->len;
        double simulated =
            (double)policy->simulate(trace, capacity) / (double)trace->len;
        run->apart = fmax(run->apart, fabs(ratio - simulated));
        table_text(run->table, "trace", name);
        table_text(run->table, "policy", policy->name);
        table_number(run->table, "entries", (double)capacity, 0);
        table_number(run->table, "requests", (double)trace->len, 0);
        table_number(run->table, "hit ratio", ratio, 4);
        table_number(run->table, "simulated", simulated, 4);
        table_number(run->table, "ns", ns, 0);
        table_end_row(run->table);
    }
}

static void run_trace(struct run *run, const char *name, struct trace *trace,
                      size_t keys)
{
    static const double parts[] = { 0.005, 0.02, 0.1 };
    if (trace->len == 0)
        bench_die("the trace is empty");
    if (run->options->capacity)
        run_one(run, name, trace, run->options->capacity);
    else
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            run_one(run, name, trace, 1 + (size_t)((double)keys * parts[i]));
    free(trace->keys);
}

void bench_cache_trace(const struct bench_options *options)
{
    struct run run = { options, NULL, 0 };
    run.table = table_begin(options, "cache-trace",
                            "The cache: hit ratios, and those simulated");
    bool known = options->replay != NULL;
    const char *want = options->trace ? options->trace : "all";
    if (options->replay) {
        struct trace trace = trace_read(options->replay);
        run_trace(&run, options->replay, &trace, trace.key_count);
    }
    for (size_t i = 0; i < KINDS && !options->replay; i++) {
        if (strcmp(want, "all") != 0 && strcmp(want, kinds[i].name) != 0)
            continue;
        struct trace trace = trace_make(options, &kinds[i]);
        run_trace(&run, kinds[i].name, &trace,
                  bench_size(options, options->keys, KEYS, KEYS / 10));
        known = true;
    }
    table_end(run.table, NULL);
    if (!known)
        bench_die("no such trace: zipf, one-hit, scan, drift or all");
    bench_promise(options, "a hit ratio away from the simulated one", run.apart,
                  0.01);
}
