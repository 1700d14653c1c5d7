/* SPDX-License-Identifier: Apache-2.0 */

/* What a peer does with rows alone. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collection.h"
#include "dlht/err.h"
#include "vector/collection.h"
#include "vector/vector_record.h"

enum {
    GRAPHS_MAX = 64
};

struct alone {
    const struct vector_data *data;
    uint64_t seed;
    struct collection *c;
    struct buf meta[100];
    struct buf value; /* of the record read last */
    uint32_t part;
    double took_ns;
};

struct graph {
    pthread_t thread;
    const struct vector_data *data;
    uint64_t seed;
    double took_ns;
};

static void must(int rc)
{
    if (rc != DLHT_OK)
        bench_die(dlht_strerror(rc));
}

double wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

struct span collection_id(size_t row, char room[COLLECTION_ID_BYTES])
{
    for (size_t i = COLLECTION_ID_BYTES - 1; i-- > 0; row /= 10)
        room[i] = (char)('0' + row % 10);
    room[COLLECTION_ID_BYTES - 1] = 0;
    return span_of(room, COLLECTION_ID_BYTES - 1);
}

unsigned collection_n(size_t row)
{
    return (unsigned)(row * 7919 % 100);
}

static size_t row_of(struct span id)
{
    size_t row = 0;
    for (size_t i = 0; i < id.len; i++)
        row = row * 10 + (size_t)(id.data[i] - '0');
    return row;
}

static struct span pack(struct alone *a, size_t row)
{
    buf_reset(&a->value);
    vector_record_pack(a->data->vectors + row * a->data->dim,
                       (uint32_t)a->data->dim,
                       buf_span(&a->meta[collection_n(row)]), &a->value);
    return buf_span(&a->value);
}

static bool read_record(void *self, uint32_t part, struct span id,
                        struct span *value, uint64_t *version)
{
    (void)part;
    *value = pack(self, row_of(id));
    *version = 1;
    return true;
}

static struct hnsw_config config_of(const struct vector_data *data,
                                    uint64_t seed)
{
    struct hnsw_config config = hnsw_config_default((uint32_t)data->dim);
    config.metric = METRIC_L2;
    config.ef_search = COLLECTION_EF;
    config.seed = seed;
    config.kernel = bench_kernel();
    return config;
}

static void *build_graph(void *context)
{
    struct graph *g = context;
    struct hnsw_config config = config_of(g->data, g->seed);
    struct hnsw *h;
    must(hnsw_new(&config, &h));
    double before = wall_ns();
    for (size_t i = 0; i < g->data->count; i++)
        must(hnsw_put(h, i, g->data->vectors + i * g->data->dim));
    g->took_ns = wall_ns() - before;
    hnsw_free(h);
    return NULL;
}

static void build_collection(struct alone *a)
{
    struct span field = span_str("n");
    struct collection_source source = { read_record, a };
    struct collection_config config = {
        .index = { INDEX_HNSW, config_of(a->data, a->seed) },
        .fields = &field,
        .field_count = 1,
    };
    must(collection_new(&config, &source, &a->c));
    must(collection_add_part(a->c, &a->part));
    double before = wall_ns();
    for (size_t i = 0; i < a->data->count; i++) {
        char id[COLLECTION_ID_BYTES];
        must(
            collection_put(a->c, a->part, collection_id(i, id), pack(a, i), 1));
        if (i % COLLECTION_WORK_MAX && i + 1 < a->data->count)
            continue;
        for (struct collection_work *work;
             (work = collection_take(a->c)) != NULL;) {
            collection_run(work);
            collection_done(a->c, work);
        }
    }
    a->took_ns = wall_ns() - before;
}

static void read_meta(struct alone *a)
{
    for (unsigned n = 0; n < 100; n++) {
        char json[32];
        snprintf(json, sizeof json, "{\"n\": %u}", n);
        must(meta_parse(span_str(json), &a->meta[n], NULL));
    }
}

struct alone *alone_new(const struct vector_data *data, uint64_t seed,
                        double *vectors_s, unsigned *graphs)
{
    static struct graph others[GRAPHS_MAX];
    struct alone *a = bench_memory(1, sizeof *a);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count = cores > 1 ? (unsigned)cores - 1 : 0;
    if (count > GRAPHS_MAX)
        count = GRAPHS_MAX;
    a->data = data;
    a->seed = seed;
    read_meta(a);
    for (unsigned i = 0; i < count; i++) {
        others[i] = (struct graph){ .data = data, .seed = seed + i + 1 };
        if (pthread_create(&others[i].thread, NULL, build_graph, &others[i]))
            bench_die("no thread");
    }
    build_collection(a);
    *vectors_s = (double)data->count * 1e9 / a->took_ns;
    for (unsigned i = 0; i < count; i++) {
        pthread_join(others[i].thread, NULL);
        *vectors_s += (double)data->count * 1e9 / others[i].took_ns;
    }
    *graphs = count + 1;
    return a;
}

void alone_free(struct alone *a)
{
    collection_free(a->c);
    for (unsigned n = 0; n < 100; n++)
        buf_deinit(&a->meta[n]);
    buf_deinit(&a->value);
    free(a);
}

size_t alone_search(struct alone *a, size_t q, const char *filter, size_t *rows,
                    size_t k)
{
    struct collection_query query = { .vector =
                                          a->data->queries + q * a->data->dim,
                                      .k = k };
    struct collection_search *s;
    const struct collection_hit *hits;
    struct filter *compiled = NULL;
    struct meta_error error;
    size_t count;
    if (filter)
        must(filter_compile(span_str(filter), &compiled, &error));
    query.filter = compiled;
    must(collection_search_new(a->c, &query, &s));
    collection_search_add(s, a->part);
    must(collection_search_run(s, &hits, &count));
    for (size_t i = 0; i < count; i++)
        rows[i] = row_of(hits[i].id);
    collection_search_free(s);
    filter_free(compiled);
    return count;
}
