/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-bench collection: vectors on a ring of three nodes in this process, over
 * loopback, three copies, synced, beside what one peer does with the same rows
 * alone.
 *
 * Load: until every graph has every vector, as vectors times copies, beside
 * graphs of the same rows built on all cores at once. Searches: one after the
 * other, through each node in turn, beside a collection of the same rows in
 * memory (bench/collection.h), which is what a node does of a search. Times are those of a clock,
 * for threads work together; who else uses the machine is in them. */

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collection.h"
#include "dlht/vector.h"
#include "table.h"
#include "wire/mp.h"

enum {
    NODES = 3,
    K = VECTOR_TRUTH,
    SETTLE_S = 900,
    SMALL = 10000 /* rows that another's figures are of */
};

struct ring {
    char dir[256];
    struct dlht *nodes[NODES];
    struct dlht *clients[NODES]; /* one of each */
};

static void must(int rc, const struct dlht_error *error)
{
    if (rc != DLHT_OK)
        bench_die(error->text[0] ? error->text : dlht_strerror(rc));
}

/* The ring */

static int remove_one(const char *path, const struct stat *stat, int type,
                      struct FTW *ftw)
{
    (void)stat, (void)type, (void)ftw;
    return remove(path);
}

static void ring_start(struct ring *ring)
{
    const char *tmp = getenv("TMPDIR");
    struct dlht_error error = { 0 };
    snprintf(ring->dir, sizeof ring->dir, "%s/dlht-bench-XXXXXX",
             tmp ? tmp : "/tmp");
    if (!mkdtemp(ring->dir))
        bench_die("no folder for the ring");
    for (int i = 0; i < NODES; i++) {
        struct dlht_config config;
        char dir[300];
        snprintf(dir, sizeof dir, "%s/%d", ring->dir, i);
        dlht_config_default(&config);
        config.listen = "127.0.0.1:0";
        config.data_dir = dir;
        config.replicas = NODES;
        if (i > 0)
            config.bootstrap[config.bootstrap_count++] =
                dlht_address(ring->nodes[0]);
        must(dlht_open(&config, &ring->nodes[i], &error), &error);
    }
    for (int i = 0; i < NODES; i++)
        must(dlht_connect(dlht_address(ring->nodes[i]), 5000, &ring->clients[i],
                          &error),
             &error);
}

static void ring_stop(struct ring *ring)
{
    for (int i = 0; i < NODES; i++)
        dlht_close(ring->clients[i]);
    for (int i = NODES; i-- > 0;)
        dlht_close(ring->nodes[i]);
    if (nftw(ring->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        fprintf(stderr, "%s could not be removed\n", ring->dir);
}

/* Loading */

static void create(struct ring *ring, const char *name, size_t dim)
{
    static const char *const fields[] = { "n" };
    struct dlht_collection_config config;
    struct dlht_error error = { 0 };
    dlht_collection_config_default(&config);
    config.dim = (uint32_t)dim;
    config.metric = "l2";
    config.ef = COLLECTION_EF;
    config.fields = fields;
    config.field_count = 1;
    config.replicas = NODES;
    must(dlht_collection_create(ring->clients[0], name, &config, &error),
         &error);
}

struct feed {
    const struct vector_data *data;
    size_t next, count;
    char id[COLLECTION_ID_BYTES];
    char meta[32];
};

static bool next_row(void *context, struct dlht_vector *out)
{
    struct feed *f = context;
    if (f->next == f->count)
        return false;
    struct span id = collection_id(f->next, f->id);
    snprintf(f->meta, sizeof f->meta, "{\"n\": %u}", collection_n(f->next));
    *out = (struct dlht_vector){ .id = { id.data, id.len },
                                 .values =
                                     f->data->vectors + f->next * f->data->dim,
                                 .dim = (uint32_t)f->data->dim,
                                 .meta = f->meta };
    f->next++;
    return true;
}

static bool has_settled(struct ring *ring, const struct dlht_options *options,
                        size_t count)
{
    bool settled = true;
    for (int i = 0; i < NODES && settled; i++) {
        struct dlht_collection_info info;
        struct dlht_error error = { 0 };
        must(dlht_collection_info(ring->clients[i], options, &info, &error),
             &error);
        settled = info.indexed == count && info.waiting == 0 &&
                  info.held == count && info.arcs_scanning == 0;
    }
    return settled;
}

struct load_times {
    double stored_s, indexed_s;
};

static struct load_times load(struct ring *ring,
                              const struct dlht_options *options,
                              const struct vector_data *data, size_t count)
{
    struct feed feed = { .data = data, .count = count };
    struct dlht_put_report report = { 0 };
    struct load_times times;
    double before = wall_ns();
    must(dlht_vector_put_each(ring->clients[0], options, next_row, &feed, 512,
                              &report),
         &report.error);
    times.stored_s = (wall_ns() - before) / 1e9;
    while (!has_settled(ring, options, count)) {
        if (wall_ns() - before > SETTLE_S * 1e9)
            bench_die("the graphs do not get ready");
        usleep(20000);
    }
    times.indexed_s = (wall_ns() - before) / 1e9;
    return times;
}

/* Of the collection, as far as one page of the ring says (1,000). */
static size_t count_arcs(struct ring *ring, const char *name)
{
    struct dlht_request request = { .op = DLHT_OP_RING, .keyspace = name };
    struct dlht_result result;
    struct mp_reader r;
    if (dlht_call(ring->clients[0], &request, &result) != DLHT_OK)
        bench_die(result.text);
    mp_reader_init(&r, span_of(result.value.data, result.value.len));
    return mp_read_array(&r);
}

/* Searches */

struct tally {
    double *times; /* of each search, ns */
    size_t count;
    size_t right, wanted; /* of the true ones */
    size_t partial, short_of;
    size_t peers;
    double mean_ns;
    double cpu_ns; /* of all threads */
};

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile_ms(struct tally *t, double share)
{
    qsort(t->times, t->count, sizeof *t->times, by_number);
    return t->times[(size_t)((double)(t->count - 1) * share)] / 1e6;
}

static void count_right(struct tally *t, const struct vector_data *data,
                        size_t q, const size_t *rows, size_t count)
{
    for (size_t j = 0; j < K; j++) {
        uint32_t truth = data->truth[q * K + j];
        t->wanted += truth != UINT32_MAX;
        for (size_t i = 0; i < count; i++)
            t->right += rows[i] == truth;
    }
}

struct clocks {
    double wall, cpu;
};

/* By the wall, and what all threads of this process had of the processor. */
static struct clocks clocks_now(void)
{
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    return (struct clocks){ wall_ns(),
                            (double)cpu.tv_sec * 1e9 + (double)cpu.tv_nsec };
}

static void note_time(struct tally *t, const struct clocks *from,
                      const struct clocks *to)
{
    t->times[t->count++] = to->wall - from->wall;
    t->mean_ns += to->wall - from->wall;
    t->cpu_ns += to->cpu - from->cpu;
}

static struct tally tally_of(size_t count)
{
    return (struct tally){ .times = bench_memory(count, sizeof(double)) };
}

static double recall_of(const struct tally *t)
{
    return t->wanted ? (double)t->right / (double)t->wanted : 1;
}

static void search_ring(struct ring *ring, const struct dlht_options *options,
                        const struct vector_data *data, size_t q,
                        const char *filter, struct tally *t)
{
    struct dlht_search search = { .values = data->queries + q * data->dim,
                                  .dim = (uint32_t)data->dim,
                                  .k = K,
                                  .filter = filter };
    struct dlht_hits hits;
    struct dlht_error error = { 0 };
    size_t rows[K];
    struct clocks before = clocks_now();
    must(dlht_vector_search(ring->clients[q % NODES], options, &search, &hits,
                            &error),
         &error);
    struct clocks after = clocks_now();
    note_time(t, &before, &after);
    for (size_t i = 0; i < hits.count; i++)
        rows[i] = (size_t)strtoull(hits.list[i].id.data, NULL, 10);
    count_right(t, data, q, rows, hits.count);
    t->partial += hits.partial;
    t->short_of += hits.count < K;
    t->peers += hits.peers;
    dlht_hits_free(&hits);
}

/* The same by one peer that has all. */
static void search_alone(struct alone *alone, const struct vector_data *data,
                         size_t q, const char *filter, struct tally *t)
{
    size_t rows[K];
    struct clocks before = clocks_now();
    size_t count = alone_search(alone, q, filter, rows, K);
    struct clocks after = clocks_now();
    count_right(t, data, q, rows, count);
    note_time(t, &before, &after);
}

enum way {
    WAY_STRICT,
    WAY_STALE,
    WAY_ONE, /* one index of all, as each node has */
    WAYS
};

static const char *const way_names[WAYS] = { "ring", "ring, stale",
                                             "one index alone" };

/* In turns, query by query: who else is busy is so for all. */
static void search_all(struct ring *ring, struct alone *alone,
                       const struct vector_data *data, const char *filter,
                       size_t count, struct tally tallies[WAYS])
{
    struct dlht_options strict = { .keyspace = "big" };
    struct dlht_options stale = { .keyspace = "big", .stale = true };
    for (int w = 0; w < WAYS; w++)
        tallies[w] = tally_of(count);
    for (size_t i = 0; i < count; i++) {
        size_t q = i % data->query_count;
        search_ring(ring, &strict, data, q, filter, &tallies[WAY_STRICT]);
        search_ring(ring, &stale, data, q, filter, &tallies[WAY_STALE]);
        search_alone(alone, data, q, filter, &tallies[WAY_ONE]);
    }
}

static void tell_searches(struct table *t, const char *filter,
                          struct tally tallies[WAYS])
{
    double own = quantile_ms(&tallies[WAY_ONE], 0.5);
    for (int w = 0; w < WAYS; w++) {
        struct tally *of = &tallies[w];
        double p50 = quantile_ms(of, 0.5);
        table_text(t, "filter", filter ? filter : "none");
        table_text(t, "way", way_names[w]);
        table_number(t, "recall", recall_of(of), 4);
        table_number(t, "p50_ms", p50, 3);
        table_number(t, "p99_ms", quantile_ms(of, 0.99), 3);
        table_number(t, "cpu_ms", of->cpu_ns / 1e6 / (double)of->count, 3);
        table_number(t, "peers", (double)of->peers / (double)of->count, 2);
        table_number(t, "p50_bound_ms", w == WAY_STRICT ? 1.5 * own + 0.3 : 0,
                     3);
        table_end_row(t);
    }
}

static void promise_searches(const struct bench_options *options,
                             const char *filter,
                             const struct tally tallies[WAYS])
{
    char name[96];
    const char *with = filter ? filter : "no filter";
    for (int w = WAY_STRICT; w <= WAY_STALE; w++) {
        const struct tally *t = &tallies[w];
        snprintf(name, sizeof name, "%s, %s: recall below one index's",
                 way_names[w], with);
        bench_promise(options, name,
                      recall_of(&tallies[WAY_ONE]) - recall_of(t),
                      options->quick ? 0.03 : 0.01);
        snprintf(name, sizeof name, "%s, %s: partial or short answers",
                 way_names[w], with);
        bench_promise(options, name, (double)(t->partial + t->short_of), 0);
    }
}

static void filters(const struct bench_options *options, struct ring *ring,
                    struct alone *alone, struct vector_data *data, size_t count)
{
    static const unsigned shares[] = { 100, 1, 10, 50 };
    struct table *t = table_begin(options, "collection_search",
                                  "searches through any node, ef 64, k 10");
    bool *alive = bench_memory(data->count, sizeof *alive);
    for (size_t s = 0; s < sizeof shares / sizeof *shares; s++) {
        char text[32];
        const char *filter = s > 0 ? text : NULL;
        struct tally tallies[WAYS];
        snprintf(text, sizeof text, "n < %u", shares[s]);
        for (size_t i = 0; i < data->count; i++)
            alive[i] = collection_n(i) < shares[s];
        vector_data_find_truth(data, alive);
        search_all(ring, alone, data, filter, count, tallies);
        tell_searches(t, filter, tallies);
        promise_searches(options, filter, tallies);
        for (int w = 0; w < WAYS; w++)
            free(tallies[w].times);
    }
    free(alive);
    table_end(t, "cpu_ms: mean, of all threads of nodes and client (idle ones "
                 "too);\np50_bound_ms: 1.5 times that of one index and 0.3 ms");
}

/* Many at once */

struct crowd {
    struct dlht *d;
    size_t done, failed;
};

static void on_answer(void *context, const struct dlht_result *result)
{
    struct crowd *c = context;
    c->done++;
    c->failed += result->status != DLHT_OK;
}

/* Searches a second with so many open, through the first node. */
static double many_at_once(struct ring *ring, const struct vector_data *data,
                           bool stale, size_t open, size_t count)
{
    struct dlht_options options = { .keyspace = "big", .stale = stale };
    struct crowd crowd = { .d = ring->clients[0] };
    size_t sent = 0;
    double before = wall_ns();
    while (crowd.done < count) {
        while (sent < count && sent - crowd.done < open) {
            size_t q = sent++ % data->query_count;
            struct dlht_search search = { .values =
                                              data->queries + q * data->dim,
                                          .dim = (uint32_t)data->dim,
                                          .k = K };
            struct dlht_packed packed;
            if (dlht_search_pack(&options, &search, &packed) != DLHT_OK ||
                dlht_submit(crowd.d, &packed.request, on_answer, &crowd) !=
                    DLHT_OK)
                bench_die("a search was not taken");
            dlht_packed_free(&packed);
        }
        if (dlht_poll(crowd.d, -1) < 0)
            bench_die("the connection is lost");
    }
    if (crowd.failed)
        bench_die("a search failed");
    return (double)count * 1e9 / (wall_ns() - before);
}

static void crowds(const struct bench_options *options, struct ring *ring,
                   const struct vector_data *data, size_t count)
{
    struct table *t = table_begin(options, "collection_crowd",
                                  "searches a second through one node");
    for (size_t open = 1; open <= 64; open *= 8) {
        table_number(t, "open", (double)open, 0);
        table_number(t, "qps", many_at_once(ring, data, false, open, count), 0);
        table_number(t, "stale_qps",
                     many_at_once(ring, data, true, open, count), 0);
        table_end_row(t);
    }
    table_end(t, NULL);
}

/* As much as another vector store tells of itself, once. */
static void beside_vecgrid(const struct bench_options *options,
                           struct ring *ring, struct vector_data *data,
                           size_t rows)
{
    struct dlht_options small = { .keyspace = "small" };
    struct tally t = tally_of(data->query_count);
    bool *alive = bench_memory(data->count, sizeof *alive);
    for (size_t i = 0; i < rows; i++)
        alive[i] = true;
    vector_data_find_truth(data, alive);
    create(ring, "small", data->dim);
    struct load_times times = load(ring, &small, data, rows);
    for (size_t q = 0; q < data->query_count; q++)
        search_ring(ring, &small, data, q, NULL, &t);
    struct table *table =
        table_begin(options, "collection_small", "a small collection");
    table_text(table, "store", "dlht, 3 copies, synced");
    table_number(table, "rows", (double)rows, 0);
    table_number(table, "inserts_s", (double)rows / times.stored_s, 0);
    table_number(table, "ms_a_query", t.mean_ns / 1e6 / (double)t.count, 3);
    table_number(table, "recall", recall_of(&t), 4);
    table_end_row(table);
    table_text(table, "store", "VecGrid, numpy, 1 copy more, by its own words");
    table_number(table, "rows", 10000, 0);
    table_number(table, "inserts_s", 1500, 0);
    table_number(table, "ms_a_query", 46, 3);
    table_number(table, "recall", 1, 4);
    table_end_row(table);
    table_end(table, NULL);
    free(t.times);
    free(alive);
}

static void tell_load(const struct bench_options *options, size_t rows,
                      size_t arcs, const struct load_times *times,
                      double local_s, unsigned graphs)
{
    double rate = (double)rows * NODES / times->indexed_s;
    struct table *t =
        table_begin(options, "collection_load", "loading through the ring");
    table_number(t, "rows", (double)rows, 0);
    table_number(t, "arcs", (double)arcs, 0);
    table_number(t, "stored_s", times->stored_s, 2);
    table_number(t, "indexed_s", times->indexed_s, 2);
    table_number(t, "puts_s", (double)rows / times->stored_s, 0);
    table_number(t, "copies_s", rate, 0);
    table_number(t, "local_s", local_s, 0);
    table_number(t, "graphs", graphs, 0);
    table_number(t, "x_local", rate / local_s, 2);
    table_end_row(t);
    table_end(t, "copies_s: vectors times copies a second until all graphs "
                 "have all;\nlocal_s: vectors a second of as many graphs as "
                 "there are cores, at once");
}

void bench_collection(const struct bench_options *options)
{
    struct ring ring = { .dir = "" };
    struct dlht_options big = { .keyspace = "big" };
    enum vector_shape shape = VECTORS_CLUSTERED;
    for (int s = 0; options->set && s < VECTOR_SHAPES; s++)
        if (strcmp(options->set, vector_shape_names[s]) == 0)
            shape = (enum vector_shape)s;
    size_t rows = bench_size(options, options->keys, 300000, 3000);
    size_t searches = bench_size(options, options->lookups, 2000, 100);
    struct vector_data *data = vector_data_new(
        shape, rows, options->quick ? 100 : 1000, options->seed);
    ring_start(&ring);
    create(&ring, "big", data->dim);
    struct load_times times = load(&ring, &big, data, rows);
    size_t arcs = count_arcs(&ring, "big");
    double local_s;
    unsigned graphs;
    struct alone *alone = alone_new(data, options->seed, &local_s, &graphs);
    tell_load(options, rows, arcs, &times, local_s, graphs);
    uint64_t count = 0;
    struct dlht_error error = { 0 };
    must(dlht_vector_count(ring.clients[1], &big, &count, &error), &error);
    bench_promise(options, "vectors lost", (double)rows - (double)count, 0);
    filters(options, &ring, alone, data, searches);
    crowds(options, &ring, data, searches);
    beside_vecgrid(options, &ring, data, rows < SMALL ? rows : SMALL);
    alone_free(alone);
    ring_stop(&ring);
    vector_data_free(data);
}
