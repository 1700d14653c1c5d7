/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench cache: what a call of the cache costs in the processor's time,
 * one by one and sixteen at a time, and what an entry takes, beside GLib's
 * hash table with one allocation for an entry if it was found at build time.
 * Keys are 16 bytes, values 64. Each case runs in a process of its own, so
 * that what it takes can be seen from outside.
 *
 * With --trace it is bench_cache_trace.c. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/rng.h"
#include "bench.h"
#include "bench_cache.h"
#include "dlht/err.h"
#include "store/cache.h"
#include "table.h"

#ifdef BENCH_GLIB
#include <glib.h>
#endif

enum {
    KEY_BYTES = 16,
    VALUE_BYTES = 64,
    BATCH = 16,
    REDIS_BYTES = 178 /* an entry of these sizes at 5 million, measured */
};

static uint64_t sink; /* what is read goes here, lest it be left out */

/* What a case measures; 0: not. */
struct figures {
    double load_ns;
    double get_ns;
    double get_batch_ns;
    double put_ns;
    double put_batch_ns;
    double evict_ns;
    double longest_us; /* of a call while loading, in processor's time */
    double rss_bytes;  /* for an entry, seen from outside */
    double own_bytes;  /* the same by its own account */
};

/* Memory in huge pages, as a node takes it. */
static void *huge_take(void *self, size_t size)
{
    enum {
        HUGE_BYTES = 2 << 20
    };
    (void)self;
    size_t align = size >= HUGE_BYTES ? HUGE_BYTES : 64;
    void *memory = aligned_alloc(align, (size + align - 1) / align * align);
    if (memory && size >= HUGE_BYTES)
        madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

static void huge_give(void *self, void *memory, size_t size)
{
    (void)self;
    (void)size;
    free(memory);
}

static const struct records_pages huge_pages = { huge_take, huge_give, NULL };

struct subject {
    const char *name;
    enum cache_policy_kind policy;
    bool expires;
    bool huge;
};

static uint64_t mixed(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static struct span key_make(uint64_t i, uint8_t bytes[KEY_BYTES])
{
    uint64_t a = mixed(i + UINT64_C(0x9e3779b97f4a7c15));
    memcpy(bytes, &a, 8);
    memcpy(bytes + 8, &i, 8);
    return span_of(bytes, KEY_BYTES);
}

static double rss_bytes(void)
{
    unsigned long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static struct cache_put put_of(const struct subject *subject, uint64_t i)
{
    static uint8_t value[VALUE_BYTES];
    memcpy(value, &i, sizeof i);
    return (struct cache_put){
        .value = span_of(value, VALUE_BYTES),
        .expire_ms = subject->expires ? 1000 + i % 100000000 : CACHE_NEVER,
    };
}

static void put_one(struct cache *cache, const struct subject *subject,
                    uint64_t i)
{
    uint8_t bytes[KEY_BYTES];
    struct cache_key key = cache_key_of(cache, key_make(i, bytes));
    struct cache_put put = put_of(subject, i);
    if (cache_put(cache, &key, 0, &put, NULL) != DLHT_OK)
        bench_die("a put failed");
}

static void put_batch(struct cache *cache, const struct subject *subject,
                      const uint64_t numbers[BATCH])
{
    uint8_t bytes[BATCH][KEY_BYTES];
    struct cache_key keys[BATCH];
    for (int j = 0; j < BATCH; j++) {
        keys[j] = cache_key_of(cache, key_make(numbers[j], bytes[j]));
        cache_prefetch(cache, &keys[j]);
    }
    for (int j = 0; j < BATCH; j++)
        cache_prefetch_entry(cache, &keys[j]);
    for (int j = 0; j < BATCH; j++) {
        struct cache_put put = put_of(subject, numbers[j]);
        if (cache_put(cache, &keys[j], 0, &put, NULL) != DLHT_OK)
            bench_die("a put failed");
    }
}

static void get_one(struct cache *cache, uint64_t i)
{
    uint8_t bytes[KEY_BYTES];
    struct cache_key key = cache_key_of(cache, key_make(i, bytes));
    struct cache_item item;
    if (!cache_get(cache, &key, 0, &item))
        bench_die("a key is missing");
    sink += item.value.data[0];
}

static void get_batch(struct cache *cache, const uint64_t numbers[BATCH])
{
    uint8_t bytes[BATCH][KEY_BYTES];
    struct span keys[BATCH];
    struct cache_item items[BATCH];
    for (int j = 0; j < BATCH; j++)
        keys[j] = key_make(numbers[j], bytes[j]);
    if (cache_get_many(cache, keys, BATCH, 0, items) != BATCH)
        bench_die("a key is missing");
    for (int j = 0; j < BATCH; j++)
        sink += items[j].value.data[0];
}

static void numbers_draw(struct rng *rng, size_t keys, uint64_t out[BATCH])
{
    for (int j = 0; j < BATCH; j++)
        out[j] = rng_below(rng, keys);
}

static double time_gets(struct cache *cache, size_t keys, size_t n, bool batch)
{
    struct rng rng;
    uint64_t numbers[BATCH];
    rng_init(&rng, 1);
    double before = bench_cpu_ns();
    for (size_t i = 0; i < n; i += BATCH) {
        numbers_draw(&rng, keys, numbers);
        if (batch)
            get_batch(cache, numbers);
        else
            for (int j = 0; j < BATCH; j++)
                get_one(cache, numbers[j]);
    }
    return (bench_cpu_ns() - before) / (double)n;
}

static double time_puts(struct cache *cache, const struct subject *subject,
                        size_t keys, size_t n, bool batch)
{
    struct rng rng;
    uint64_t numbers[BATCH];
    rng_init(&rng, 2);
    double before = bench_cpu_ns();
    for (size_t i = 0; i < n; i += BATCH) {
        numbers_draw(&rng, keys, numbers);
        if (batch)
            put_batch(cache, subject, numbers);
        else
            for (int j = 0; j < BATCH; j++)
                put_one(cache, subject, numbers[j]);
    }
    return (bench_cpu_ns() - before) / (double)n;
}

/* New keys into a full cache, batched. */
static double time_evictions(struct cache *cache, const struct subject *subject,
                             size_t keys, size_t n)
{
    uint64_t numbers[BATCH];
    cache_bound(cache, 0, keys);
    double before = bench_cpu_ns();
    for (size_t i = 0; i < n; i += BATCH) {
        for (uint64_t j = 0; j < BATCH; j++)
            numbers[j] = keys + i + j;
        put_batch(cache, subject, numbers);
    }
    return (bench_cpu_ns() - before) / (double)n;
}

static struct cache *subject_cache(const struct subject *subject)
{
    struct cache_config config = cache_config_default();
    config.policy = subject->policy;
    config.pages = subject->huge ? &huge_pages : NULL;
    struct cache *cache = cache_new(&config);
    if (!cache)
        bench_die("no memory");
    return cache;
}

/* The longest call of a load, each timed for itself. */
static double longest_put_us(const struct subject *subject, size_t keys)
{
    struct cache *cache = subject_cache(subject);
    double longest = 0;
    for (size_t i = 0; i < keys; i++) {
        double before = bench_cpu_ns();
        put_one(cache, subject, i);
        double ns = bench_cpu_ns() - before;
        longest = ns > longest ? ns : longest;
    }
    cache_free(cache);
    return longest / 1000;
}

static void run_cache(const struct subject *subject, size_t keys, size_t n,
                      struct figures *out)
{
    double rss = rss_bytes();
    struct cache *cache = subject_cache(subject);
    double before = bench_cpu_ns();
    for (size_t i = 0; i < keys; i++)
        put_one(cache, subject, i);
    out->load_ns = (bench_cpu_ns() - before) / (double)keys;
    out->rss_bytes = (rss_bytes() - rss) / (double)keys;
    struct cache_stats stats;
    cache_stats(cache, &stats);
    out->own_bytes = (double)stats.memory_bytes / (double)keys;
    out->get_ns = time_gets(cache, keys, n, false);
    out->get_batch_ns = time_gets(cache, keys, n, true);
    out->put_ns = time_puts(cache, subject, keys, n, false);
    out->put_batch_ns = time_puts(cache, subject, keys, n, true);
    out->evict_ns = time_evictions(cache, subject, keys, n);
    cache_free(cache);
    out->longest_us = longest_put_us(subject, keys);
}

#ifdef BENCH_GLIB
struct pair {
    uint8_t key[KEY_BYTES];
    uint8_t value[VALUE_BYTES];
};

static guint pair_hash(gconstpointer key)
{
    return (guint)hash64(span_of(key, KEY_BYTES));
}

static gboolean pair_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, KEY_BYTES) == 0;
}

static void glib_put(GHashTable *table, uint64_t i)
{
    uint8_t key[KEY_BYTES];
    key_make(i, key);
    struct pair *pair = g_hash_table_lookup(table, key);
    if (!pair) {
        pair = g_malloc0(sizeof *pair);
        memcpy(pair->key, key, KEY_BYTES);
        g_hash_table_insert(table, pair->key, pair);
    }
    memcpy(pair->value, &i, sizeof i);
}

static void run_glib(size_t keys, size_t n, struct figures *out)
{
    double rss = rss_bytes();
    GHashTable *table =
        g_hash_table_new_full(pair_hash, pair_equal, NULL, g_free);
    double before = bench_cpu_ns();
    for (size_t i = 0; i < keys; i++)
        glib_put(table, i);
    out->load_ns = (bench_cpu_ns() - before) / (double)keys;
    out->rss_bytes = (rss_bytes() - rss) / (double)keys;
    struct rng rng;
    rng_init(&rng, 1);
    before = bench_cpu_ns();
    for (size_t i = 0; i < n; i++) {
        uint8_t key[KEY_BYTES];
        key_make(rng_below(&rng, keys), key);
        const struct pair *pair = g_hash_table_lookup(table, key);
        sink += pair->value[0];
    }
    out->get_ns = (bench_cpu_ns() - before) / (double)n;
    before = bench_cpu_ns();
    for (size_t i = 0; i < n; i++)
        glib_put(table, rng_below(&rng, keys));
    out->put_ns = (bench_cpu_ns() - before) / (double)n;
    g_hash_table_destroy(table);
}
#endif

static const struct subject subjects[] = {
    { "s3fifo", CACHE_S3FIFO, false, false },
    { "s3fifo, huge pages", CACHE_S3FIFO, false, true },
    { "s3fifo, expiring", CACHE_S3FIFO, true, false },
    { "lru", CACHE_LRU, false, false },
#ifdef BENCH_GLIB
    { "ghashtable", CACHE_LRU, false, false },
#endif
};

static void run(const struct subject *subject, size_t keys, size_t n,
                struct figures *out)
{
    *out = (struct figures){ 0 };
#ifdef BENCH_GLIB
    if (strcmp(subject->name, "ghashtable") == 0) {
        run_glib(keys, n, out);
        return;
    }
#endif
    run_cache(subject, keys, n, out);
}

/* In a process of its own. */
static void run_apart(const struct subject *subject, size_t keys, size_t n,
                      struct figures *out)
{
    int ends[2];
    if (pipe(ends) != 0)
        bench_die("no pipe");
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        bench_die("no process");
    if (child == 0) {
        run(subject, keys, n, out);
        bool whole = write(ends[1], out, sizeof *out) == sizeof *out;
        _exit(whole ? 0 : 1);
    }
    close(ends[1]);
    bool whole = read(ends[0], out, sizeof *out) == sizeof *out;
    close(ends[0]);
    int status;
    if (waitpid(child, &status, 0) != child || status != 0 || !whole)
        bench_die("a case failed");
}

static void cell(struct table *table, const char *column, double value)
{
    if (value > 0)
        table_number(table, column, value, value < 10 ? 1 : 0);
    else
        table_text(table, column, "-");
}

static void row(struct table *table, const struct subject *subject, size_t keys,
                const struct figures *f)
{
    table_text(table, "store", subject->name);
    table_number(table, "keys", (double)keys, 0);
    cell(table, "load ns", f->load_ns);
    cell(table, "get ns", f->get_ns);
    cell(table, "get x16 ns", f->get_batch_ns);
    cell(table, "put ns", f->put_ns);
    cell(table, "put x16 ns", f->put_batch_ns);
    cell(table, "evicting put x16 ns", f->evict_ns);
    cell(table, "longest put us", f->longest_us);
    cell(table, "bytes an entry", f->rss_bytes);
    cell(table, "by own account", f->own_bytes);
    table_end_row(table);
}

static void bench_cache_calls(const struct bench_options *options)
{
    static const size_t sizes[] = { 100000, 1000000, 5000000 };
    struct table *table =
        table_begin(options, "cache", "The cache: time of a call, memory");
    double worst = 0;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        size_t keys = options->keys    ? options->keys
                      : options->quick ? 20000
                                       : sizes[s];
        size_t n = options->quick ? 16000 : 2000000;
        for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
            struct figures f;
            run_apart(&subjects[i], keys, n, &f);
            row(table, &subjects[i], keys, &f);
            if (f.own_bytes > 0 && !subjects[i].expires && !subjects[i].huge &&
                f.rss_bytes > worst)
                worst = f.rss_bytes;
        }
        if (options->keys || options->quick)
            break;
    }
    table_end(table, "times of the processor; bytes: growth of the process");
    if (!options->quick)
        bench_promise(options, "bytes an entry by those of Redis",
                      worst / REDIS_BYTES, 0.75);
}

void bench_cache(const struct bench_options *options)
{
    if (options->trace || options->replay)
        bench_cache_trace(options);
    else
        bench_cache_calls(options);
    if (options->quick && !options->trace && !options->replay)
        bench_cache_trace(options);
}
