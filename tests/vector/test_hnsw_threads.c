/* SPDX-License-Identifier: Apache-2.0 */

/* Readers of a graph beside one writer that adds, rewrites, removes, grows and
 * codes anew. A plain program, so that the sanitizer of threads can watch it:
 * the same sources are built once more with that. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "vector/hnsw.h"
#include "vector/vectors.h"

enum {
    READERS = 2,
    DIM = 16,
    ROWS = 900,
    CHANGES = 1200,
    K = 10
};

static struct hnsw *graph;
static float *vectors;
static atomic_bool done;
static atomic_ulong faults;
static atomic_ulong searches;
/* Odd from before a handle is put until after it is removed. */
static atomic_ulong lives[2 * ROWS];

static void check(bool right, const char *what)
{
    if (!right && atomic_fetch_add(&faults, 1) < 10)
        fprintf(stderr, "wrong: %s\n", what);
}

static void look(struct hnsw_reader *reader, uint64_t i)
{
    struct neighbour found[K];
    size_t count;
    unsigned long before[2 * ROWS];
    for (size_t j = 0; j < 2 * ROWS; j++)
        before[j] = atomic_load(&lives[j]);
    struct query query = { .vector = vectors + i % ROWS * DIM,
                           .k = K,
                           .ef = 20 + i % 30 };
    check(hnsw_search(reader, &query, found, &count, NULL) == DLHT_OK,
          "a search failed");
    check(count <= K, "too many");
    for (size_t j = 0; j < count; j++) {
        check(found[j].handle < 2 * ROWS, "a handle that never was");
        check(j == 0 || found[j].distance >= found[j - 1].distance, "order");
        for (size_t k = 0; k < j; k++)
            check(found[k].handle != found[j].handle, "told twice");
        unsigned long life = before[found[j].handle % (2 * ROWS)];
        check(life % 2 || atomic_load(&lives[found[j].handle]) != life,
              "a removed one was told");
    }
}

static void *read_on(void *number)
{
    uint64_t i = (uint64_t)(uintptr_t)number * 1000003;
    struct hnsw_reader *reader;
    if (hnsw_reader_new(graph, &reader) != DLHT_OK)
        abort();
    while (!atomic_load(&done)) {
        look(reader, i++);
        atomic_fetch_add(&searches, 1);
    }
    hnsw_reader_free(reader);
    return NULL;
}

static void change(struct rng *rng, uint64_t i)
{
    uint64_t handle = rng_below(rng, 2 * ROWS);
    bool removed;
    if (rng_chance(rng, 0.4)) {
        check(hnsw_remove(graph, handle, &removed) == DLHT_OK, "remove");
        if (removed)
            atomic_fetch_add(&lives[handle], 1);
        return;
    }
    if (atomic_load(&lives[handle]) % 2 == 0)
        atomic_fetch_add(&lives[handle], 1);
    check(hnsw_put(graph, handle, vectors + i % ROWS * DIM) == DLHT_OK, "put");
}

int main(void)
{
    struct hnsw_config config = hnsw_config_default(DIM);
    config.m = 6;
    config.ef_construction = 30;
    vectors = vectors_new(3, ROWS, DIM);
    if (hnsw_new(&config, &graph) != DLHT_OK)
        return 2;
    pthread_t threads[READERS];
    for (size_t i = 0; i < READERS; i++)
        if (pthread_create(&threads[i], NULL, read_on, (void *)(i + 1)) != 0)
            return 2;
    struct rng rng;
    rng_init(&rng, 3);
    for (uint64_t i = 0; i < CHANGES; i++)
        change(&rng, i);
    while (atomic_load(&searches) < 100)
        change(&rng, 1);
    atomic_store(&done, true);
    for (size_t i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    struct hnsw_report report;
    check(hnsw_check(graph, &report) == DLHT_OK, "the graph");
    if (report.fault)
        fprintf(stderr, "%s\n", report.fault);
    printf("%lu searches beside %d changes, %lu faults, %zu rows\n",
           atomic_load(&searches), CHANGES, atomic_load(&faults), report.rows);
    hnsw_free(graph);
    free(vectors);
    return atomic_load(&faults) != 0;
}
