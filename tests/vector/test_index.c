/* SPDX-License-Identifier: Apache-2.0 */

/* Both back ends behind the one interface, against a plain list. */

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "dlht/err.h"
#include "vector/index.h"
#include "vector/vectors.h"

enum {
    SEED = 11,
    DIM = 12,
    HANDLES = 300,
    STEPS = 3000,
    K = 7
};

struct model {
    bool there[HANDLES];
    float vectors[HANDLES][DIM];
};

static struct index *make(enum index_backend backend, enum metric metric)
{
    struct index_config c = { backend, hnsw_config_default(DIM) };
    c.hnsw.metric = metric;
    c.hnsw.m = 8;
    c.hnsw.ef_construction = 80;
    c.hnsw.ef_search = 100;
    struct index *index;
    cr_assert_eq(index_new(&c, &index), DLHT_OK);
    cr_assert_eq(index_backend(index), backend);
    return index;
}

/* The distance of the K-th nearest, and how many there are. */
static size_t truth(const struct model *m, enum metric metric,
                    const float *query, double *last)
{
    double best[K + 1];
    size_t count = 0;
    for (size_t h = 0; h < HANDLES; h++) {
        if (!m->there[h])
            continue;
        double d = vectors_distance(metric, query, m->vectors[h], DIM);
        size_t j = count < K ? count++ : K;
        for (; j > 0 && best[j - 1] > d; j--)
            best[j] = best[j - 1];
        best[j] = d;
    }
    *last = count ? best[count - 1] : 0;
    return count;
}

static void search(struct index *index, const struct model *m,
                   const float *query)
{
    enum metric metric = index_config(index)->metric;
    struct index_reader *reader;
    cr_assert_eq(index_reader_new(index, &reader), DLHT_OK);
    struct query q = { .vector = query, .k = K };
    struct neighbour found[K];
    size_t count;
    cr_assert_eq(index_search(reader, &q, found, &count, NULL), DLHT_OK);
    double last;
    cr_assert_eq(count, truth(m, metric, query, &last));
    bool exact = index_backend(index) == INDEX_EXACT;
    for (size_t i = 0; i < count; i++) {
        uint64_t h = found[i].handle;
        cr_assert(h < HANDLES && m->there[h], "one that is not there");
        cr_assert_eq(index_row(index, h), found[i].row);
        cr_assert_lt(found[i].row, index_row_count(index));
        double d = vectors_distance(metric, query, m->vectors[h], DIM);
        cr_assert_float_eq((double)found[i].distance, d, 1e-4 * (1 + fabs(d)));
        cr_assert(!exact || d <= last + 1e-3);
    }
    index_reader_free(reader);
}

static void step(struct index *index, struct model *m, struct rng *rng,
                 const float *vectors)
{
    size_t h = rng_below(rng, HANDLES);
    if (rng_chance(rng, 0.45)) {
        bool removed;
        cr_assert_eq(index_remove(index, h, &removed), DLHT_OK);
        cr_assert_eq(removed, m->there[h]);
        m->there[h] = false;
        return;
    }
    memcpy(m->vectors[h], vectors + rng_below(rng, STEPS) * DIM,
           sizeof m->vectors[h]);
    m->there[h] = true;
    cr_assert_eq(index_put(index, h, m->vectors[h], NULL), DLHT_OK);
}

Test(index, does_what_a_list_does_with_both_back_ends)
{
    static struct model m;
    float *vectors = vectors_new(SEED, STEPS, DIM);
    for (int backend = 0; backend < INDEX_BACKENDS; backend++)
        for (int metric = 0; metric < METRICS; metric++) {
            struct index *index =
                make((enum index_backend)backend, (enum metric)metric);
            struct rng rng;
            rng_init(&rng, SEED);
            memset(&m, 0, sizeof m);
            for (size_t i = 0; i < STEPS; i++) {
                step(index, &m, &rng, vectors);
                if (i % 50 == 0)
                    search(index, &m, vectors + i * DIM);
            }
            struct hnsw_report report;
            cr_assert_eq(index_check(index, &report), DLHT_OK, "%s",
                         report.fault);
            size_t count = 0;
            for (size_t h = 0; h < HANDLES; h++) {
                float back[DIM];
                cr_assert_eq(index_get(index, h, back), m.there[h]);
                count += m.there[h];
                for (size_t i = 0; i < DIM && m.there[h]; i++)
                    cr_assert_float_eq(back[i], m.vectors[h][i], 1e-5);
            }
            cr_assert_eq(index_count(index), count);
            cr_assert_gt(index_memory(index).total, count * DIM * 4);
            index_free(index);
        }
    free(vectors);
}

Test(index, refuses_what_has_no_distance)
{
    for (int backend = 0; backend < INDEX_BACKENDS; backend++) {
        struct index *index = make((enum index_backend)backend, METRIC_COSINE);
        struct index_reader *reader;
        cr_assert_eq(index_reader_new(index, &reader), DLHT_OK);
        float v[DIM] = { 0 };
        struct metric_fault fault;
        cr_assert_eq(index_put(index, 1, v, &fault), DLHT_EINVAL);
        cr_assert_str_eq(fault.what, "is zero and has no direction");
        v[5] = NAN;
        struct query q = { .vector = v, .k = 1 };
        struct neighbour found[1];
        size_t count;
        cr_assert_eq(index_search(reader, &q, found, &count, &fault),
                     DLHT_EINVAL);
        cr_assert(fault.has_at && fault.at == 5);
        cr_assert_eq(index_count(index), 0);
        v[5] = 1;
        q.k = QUERY_K_MAX + 1;
        cr_assert_eq(index_search(reader, &q, found, &count, &fault),
                     DLHT_EINVAL);
        cr_assert_null(fault.what);
        index_reader_free(reader);
        index_free(index);
    }
}

static int to_buf(void *self, const void *bytes, size_t len)
{
    buf_append(self, bytes, len);
    return DLHT_OK;
}

Test(index, is_saved_and_opened)
{
    float *vectors = vectors_new(SEED, 200, DIM);
    struct index *index = make(INDEX_HNSW, METRIC_L2);
    for (size_t i = 0; i < 200; i++)
        cr_assert_eq(index_put(index, i, vectors + i * DIM, NULL), DLHT_OK);
    struct buf b;
    buf_init(&b);
    cr_assert_eq(index_save(index, to_buf, &b), DLHT_OK);
    uint8_t *bytes = aligned_alloc(64, (b.len + 63) / 64 * 64);
    memcpy(bytes, b.data, b.len);
    struct index *opened;
    struct hnsw_fault fault;
    cr_assert_eq(index_open(span_of(bytes, b.len), NULL, &opened, &fault), 0);
    cr_assert_eq(index_count(opened), 200);
    index_free(opened);
    bytes[300] ^= 1;
    cr_assert_eq(index_open(span_of(bytes, b.len), NULL, &opened, &fault),
                 DLHT_ECORRUPT);
    cr_assert_null(opened);
    cr_assert_str_eq(fault.what, "a block is damaged");
    struct index *exact = make(INDEX_EXACT, METRIC_L2);
    cr_assert_eq(index_save(exact, to_buf, &b), DLHT_ENOTSUP);
    index_free(exact);
    index_free(index);
    free(bytes);
    buf_deinit(&b);
    free(vectors);
}

Test(index, names_its_back_ends)
{
    for (int i = 0; i < INDEX_BACKENDS; i++) {
        enum index_backend found = INDEX_BACKENDS;
        cr_assert(index_backend_from_name(
            index_backend_name((enum index_backend)i), &found));
        cr_assert_eq((int)found, i);
    }
    enum index_backend none = INDEX_EXACT;
    cr_assert(!index_backend_from_name("faiss", &none));
    cr_assert_eq(none, INDEX_EXACT);
    cr_assert_neq(index_handle_of(span_str("a")),
                  index_handle_of(span_str("b")));
}
