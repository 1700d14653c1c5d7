/* SPDX-License-Identifier: Apache-2.0 */

/* Each allocation fails in turn: the call says so, and all is as before. */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "chord/fail_alloc.h"
#include "dlht/err.h"
#include "vector/exact.h"
#include "vector/index.h"
#include "vector/vectors.h"

enum {
    SEED = 3,
    DIM = 8,
    ROWS = 220,
    K = 5
};

/* What the wrapped malloc lets through. */
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    void *volatile allowed = malloc(1);
    if (!allowed)
        return NULL;
    free(allowed);
    return __real_aligned_alloc(alignment, size);
}

static size_t refusals;

static void check(struct index *index, size_t count)
{
    struct hnsw_report report;
    cr_assert_eq(index_check(index, &report), DLHT_OK, "%s", report.fault);
    cr_assert_eq(index_count(index), count);
}

static void put(struct index *index, uint64_t handle, const float *vector)
{
    size_t count = index_count(index);
    for (uint64_t n = 1;; n++) {
        fail_alloc_nth(n);
        int rc = index_put(index, handle, vector, NULL);
        fail_alloc_nth(0);
        if (rc == DLHT_OK)
            break;
        cr_assert_eq(rc, DLHT_ENOMEM);
        refusals++;
        check(index, count);
    }
}

static void drop(struct index *index, uint64_t handle)
{
    size_t count = index_count(index);
    for (uint64_t n = 1;; n++) {
        bool removed;
        fail_alloc_nth(n);
        int rc = index_remove(index, handle, &removed);
        fail_alloc_nth(0);
        if (rc == DLHT_OK) {
            cr_assert(removed);
            break;
        }
        cr_assert_eq(rc, DLHT_ENOMEM);
        refusals++;
        check(index, count);
    }
}

static void search(struct index *index, const float *vector)
{
    struct index_reader *reader = NULL;
    for (uint64_t n = 1; !reader; n++) {
        fail_alloc_nth(n);
        int rc = index_reader_new(index, &reader);
        fail_alloc_nth(0);
        cr_assert_eq(rc, reader ? DLHT_OK : DLHT_ENOMEM);
    }
    for (uint64_t n = 1;; n++) {
        struct query query = { .vector = vector, .k = K };
        struct neighbour found[K];
        size_t count;
        fail_alloc_nth(n);
        int rc = index_search(reader, &query, found, &count, NULL);
        fail_alloc_nth(0);
        if (rc == DLHT_OK)
            break;
        cr_assert_eq(rc, DLHT_ENOMEM);
        cr_assert_eq(count, 0);
        refusals++;
    }
    index_reader_free(reader);
}

static int to_buf(void *self, const void *bytes, size_t len)
{
    buf_append(self, bytes, len);
    return DLHT_OK;
}

static void save_and_open(struct index *index, const float *vectors)
{
    struct buf b;
    buf_init(&b);
    for (uint64_t n = 1;; n++) {
        cr_assert_eq(buf_reserve(&b, 1 << 20), DLHT_OK);
        b.len = 0;
        fail_alloc_nth(n);
        int rc = index_save(index, to_buf, &b);
        fail_alloc_nth(0);
        if (rc == DLHT_OK)
            break;
        cr_assert_eq(rc, DLHT_ENOMEM);
        cr_assert_eq(b.len, 0);
    }
    uint8_t *bytes = aligned_alloc(64, (b.len + 63) / 64 * 64);
    memcpy(bytes, b.data, b.len);
    struct index *opened = NULL;
    for (uint64_t n = 1; !opened; n++) {
        struct hnsw_fault fault;
        fail_alloc_nth(n);
        int rc = index_open(span_of(bytes, b.len), NULL, &opened, &fault);
        fail_alloc_nth(0);
        cr_assert_eq(rc, opened ? DLHT_OK : DLHT_ENOMEM);
    }
    search(opened, vectors);
    drop(opened, 3);
    put(opened, 3, vectors);
    check(opened, index_count(index));
    index_free(opened);
    free(bytes);
    buf_deinit(&b);
}

Test(vector_memory, fails_and_stays_as_it_was)
{
    if (!fail_alloc_works())
        return;
    float *vectors = vectors_new(SEED, ROWS, DIM);
    for (int backend = 0; backend < INDEX_BACKENDS; backend++)
        for (int drops = 0; drops < 2; drops++) {
            struct index_config c = { (enum index_backend)backend,
                                      hnsw_config_default(DIM) };
            c.hnsw.m = 4;
            c.hnsw.ef_construction = 20;
            c.hnsw.drop_floats = drops;
            c.hnsw.capacity = 10 * (size_t)drops;
            struct index *index = NULL;
            for (uint64_t n = 1; !index; n++) {
                fail_alloc_nth(n);
                int rc = index_new(&c, &index);
                fail_alloc_nth(0);
                cr_assert_eq(rc, index ? DLHT_OK : DLHT_ENOMEM);
            }
            for (uint64_t i = 0; i < ROWS; i++)
                put(index, i % (ROWS - 40), vectors + i * DIM);
            search(index, vectors);
            if (backend == INDEX_HNSW)
                save_and_open(index, vectors);
            for (uint64_t i = 0; i < 100; i++)
                drop(index, i);
            check(index, ROWS - 140);
            index_free(index);
        }
    cr_assert_gt(refusals, 50);
    free(vectors);
}

Test(vector_memory, of_products_fails_too)
{
    static float rows[100][DIM];
    static struct hit hits[100 * K];
    size_t counts[100];
    bool works = fail_alloc_works();
    struct exact_set set = { .kernel = kernel_choose(NULL),
                             .rows = { rows, sizeof rows[0], DIM },
                             .row_count = 100 };
    for (uint64_t n = 1; n <= 3; n++) {
        fail_alloc_nth(n);
        int rc = exact_many(&set, rows[0], DIM, 100, K, NULL, hits, counts);
        fail_alloc_nth(0);
        cr_assert_eq(rc, works ? DLHT_ENOMEM : DLHT_OK);
    }
}
