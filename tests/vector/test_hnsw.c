/* SPDX-License-Identifier: Apache-2.0 */

/* The graph beside the exact scan: after building, removing, rewriting; its
 * invariants all along; what it gives back. */

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "vector/hnsw.h"
#include "vector/vectors.h"

enum {
    SEED = 20261122,
    DIM = 24,
    ROWS = 900,
    QUERIES = 60,
    K = 10
};

static struct hnsw_config small(void)
{
    struct hnsw_config c = hnsw_config_default(DIM);
    c.m = 8;
    c.ef_construction = 60;
    c.ef_search = 40;
    c.seed = SEED;
    return c;
}

static struct hnsw *make(const struct hnsw_config *c)
{
    struct hnsw *h;
    cr_assert_eq(hnsw_new(c, &h), DLHT_OK);
    return h;
}

static void check(struct hnsw *h, const char *why)
{
    struct hnsw_report r;
    int rc = hnsw_check(h, &r);
    cr_assert_eq(rc, DLHT_OK, "%s: %s (row %u, level %u)", why,
                 r.fault ? r.fault : "no memory", r.fault_row, r.fault_level);
    cr_assert_eq(r.rows, hnsw_count(h));
}

static void put_all(struct hnsw *h, const float *vectors, size_t from,
                    size_t to)
{
    for (size_t i = from; i < to; i++)
        cr_assert_eq(hnsw_put(h, i, vectors + i * DIM), DLHT_OK);
}

/* Recall@10 against the exact search of the same graph. */
static double recall(struct hnsw *h, size_t ef, const struct admit *admit,
                     enum query_mode mode)
{
    float *queries = vectors_new(99, QUERIES, DIM);
    struct hnsw_reader *reader;
    cr_assert_eq(hnsw_reader_new(h, &reader), DLHT_OK);
    size_t right = 0;
    size_t all = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        struct query query = { .vector = queries + q * DIM,
                               .k = K,
                               .ef = ef,
                               .admit = admit,
                               .mode = mode,
                               .exact = true };
        struct neighbour want[K], got[K];
        size_t want_count, got_count;
        cr_assert_eq(hnsw_search(reader, &query, want, &want_count, NULL), 0);
        query.exact = false;
        cr_assert_eq(hnsw_search(reader, &query, got, &got_count, NULL), 0);
        cr_assert_eq(got_count, want_count, "k results whenever k exist");
        all += want_count;
        for (size_t i = 0; i < want_count; i++)
            for (size_t j = 0; j < got_count; j++)
                right += want[i].handle == got[j].handle;
        for (size_t j = 1; j < got_count; j++)
            cr_assert_geq(got[j].distance, got[j - 1].distance);
    }
    hnsw_reader_free(reader);
    free(queries);
    return all ? (double)right / (double)all : 1;
}

/* Every metric and every kind of codes: invariants, distances by their
 * definition, recall. */
Test(hnsw, finds_near_ones_by_every_metric_and_code)
{
    float *vectors = vectors_new(SEED, ROWS, DIM);
    for (int metric = 0; metric < METRICS; metric++)
        for (int codes = 0; codes < KERNEL_TYPES; codes++)
            for (int drop = 0; drop <= (codes != KERNEL_F32); drop++) {
                struct hnsw_config c = small();
                c.metric = (enum metric)metric;
                c.codes = (enum kernel_type)codes;
                c.drop_floats = drop;
                c.capacity = drop ? 0 : 900;
                struct hnsw *h = make(&c);
                put_all(h, vectors, 0, ROWS);
                check(h, "built");
                double r = recall(h, 0, NULL, QUERY_PLAIN);
                /* Inner products know no triangle. */
                cr_assert_gt(r, metric == METRIC_IP ? 0.8 : 0.9,
                             "metric %d codes %d drop %d: %f", metric, codes,
                             drop, r);
                struct hnsw_reader *reader;
                cr_assert_eq(hnsw_reader_new(h, &reader), DLHT_OK);
                struct neighbour found[5];
                struct query query = { .vector = vectors + 7 * DIM, .k = 5 };
                size_t count;
                cr_assert_eq(hnsw_search(reader, &query, found, &count, NULL),
                             0);
                double bound = drop && codes == KERNEL_I8 ? 0.05 : 2e-3;
                bound = drop ? bound : 1e-5;
                double scale = metric == METRIC_COSINE ? 1 : 40;
                for (size_t i = 0; i < count; i++) {
                    double want =
                        vectors_distance(c.metric, query.vector,
                                         vectors + found[i].handle * DIM, DIM);
                    cr_assert_float_eq((double)found[i].distance, want,
                                       bound * scale, "metric %d codes %d: %f",
                                       metric, codes, want);
                }
                float back[DIM];
                cr_assert(hnsw_get(h, 7, back));
                for (size_t i = 0; i < DIM; i++)
                    cr_assert_float_eq(back[i], vectors[7 * DIM + i],
                                       drop ? 0.1 : 1e-5);
                cr_assert(!hnsw_get(h, ROWS, back));
                hnsw_reader_free(reader);
                hnsw_free(h);
            }
    free(vectors);
}

/* After nine of ten went, recall is that of a graph built of the rest, none
 * that went is told, and rows are used again. */
Test(hnsw, stays_good_when_most_is_removed)
{
    float *vectors = vectors_new(SEED, 2 * ROWS, DIM);
    struct hnsw_config c = small();
    struct hnsw *h = make(&c);
    struct hnsw *fresh = make(&c);
    put_all(h, vectors, 0, 2 * ROWS);
    uint32_t rows = hnsw_row_count(h);
    struct rng rng;
    rng_init(&rng, SEED);
    for (size_t i = 0; i < 2 * ROWS; i++) {
        bool removed;
        if (rng_chance(&rng, 0.1)) {
            cr_assert_eq(hnsw_put(fresh, i, vectors + i * DIM), DLHT_OK);
            continue;
        }
        cr_assert_eq(hnsw_remove(h, i, &removed), DLHT_OK);
        cr_assert(removed);
        cr_assert_eq(hnsw_row(h, i), HANDLES_NO_ROW);
        cr_assert_eq(hnsw_remove(h, i, &removed), DLHT_OK);
        cr_assert(!removed);
        if (i % 500 == 0)
            check(h, "removing");
    }
    check(h, "removed");
    cr_assert_eq(hnsw_count(h), hnsw_count(fresh));
    for (size_t ef = 10; ef <= 40; ef *= 2) {
        double left = recall(h, ef, NULL, QUERY_PLAIN);
        double anew = recall(fresh, ef, NULL, QUERY_PLAIN);
        cr_assert_geq(left, anew - 0.01, "ef %zu: %f, fresh %f", ef, left,
                      anew);
    }
    put_all(h, vectors, 0, 2 * ROWS);
    check(h, "filled again");
    cr_assert_leq(hnsw_row_count(h), rows + 1, "rows are used again");
    cr_assert_gt(recall(h, 0, NULL, QUERY_PLAIN), 0.9);
    for (size_t i = 0; i < 2 * ROWS; i++) {
        bool removed;
        cr_assert_eq(hnsw_remove(h, i, &removed), DLHT_OK);
    }
    check(h, "empty");
    cr_assert_eq(hnsw_count(h), 0);
    cr_assert_eq(recall(h, 0, NULL, QUERY_PLAIN), 1);
    put_all(h, vectors, 0, 3);
    check(h, "three");
    hnsw_free(fresh);
    hnsw_free(h);
    free(vectors);
}

Test(hnsw, stays_good_when_every_vector_is_rewritten_five_times)
{
    struct hnsw_config c = small();
    struct hnsw *h = make(&c);
    struct hnsw *fresh = make(&c);
    float *vectors = NULL;
    for (uint64_t round = 0; round < 6; round++) {
        free(vectors);
        vectors = vectors_new(SEED + round, ROWS, DIM);
        put_all(h, vectors, 0, ROWS);
        check(h, "rewritten");
        cr_assert_eq(hnsw_count(h), ROWS);
    }
    cr_assert_leq(hnsw_row_count(h), ROWS + 1);
    put_all(fresh, vectors, 0, ROWS);
    for (size_t ef = 10; ef <= 40; ef *= 2) {
        double old = recall(h, ef, NULL, QUERY_PLAIN);
        double anew = recall(fresh, ef, NULL, QUERY_PLAIN);
        cr_assert_geq(old, anew - 0.01, "ef %zu: %f, fresh %f", ef, old, anew);
    }
    hnsw_free(fresh);
    hnsw_free(h);
    free(vectors);
}

static bool every(void *self, uint64_t handle)
{
    return handle % *(uint64_t *)self == 0;
}

Test(hnsw, filters_inside_the_walk)
{
    float *vectors = vectors_new(SEED, ROWS, DIM);
    struct hnsw_config c = small();
    struct hnsw *h = make(&c);
    put_all(h, vectors, 0, ROWS);
    for (uint64_t step = 1; step <= 3000; step = step * 3 + 1) {
        struct admit admit = { .asks = every, .self = &step };
        size_t ef = 20 * step < 200 ? 20 * step : 200;
        double plain = recall(h, ef, &admit, QUERY_PLAIN);
        double second = recall(h, ef, &admit, QUERY_SECOND_HOP);
        cr_assert_gt(plain, 0.85, "every %zu: %f", (size_t)step, plain);
        cr_assert_gt(second, 0.85, "every %zu: %f", (size_t)step, second);
    }
    hnsw_free(h);
    free(vectors);
}

/* Equal vectors see each other only half of the time. */
Test(hnsw, finds_its_way_among_equal_vectors)
{
    float *vectors = vectors_new(SEED, ROWS, DIM);
    for (size_t i = 0; i < ROWS; i += 2)
        memcpy(vectors + i * DIM, vectors, DIM * sizeof *vectors);
    for (int codes = 0; codes < KERNEL_TYPES; codes++) {
        struct hnsw_config c = small();
        c.codes = (enum kernel_type)codes;
        struct hnsw *h = make(&c);
        put_all(h, vectors, 0, ROWS);
        check(h, "equal ones");
        size_t mended;
        cr_assert_eq(hnsw_mend(h, &mended), DLHT_OK);
        check(h, "mended");
        struct hnsw_report r;
        cr_assert_eq(hnsw_check(h, &r), DLHT_OK);
        cr_assert_eq(r.unreachable, 0);
        for (size_t i = 0; i < ROWS; i += 2) {
            bool removed;
            cr_assert_eq(hnsw_remove(h, i, &removed), DLHT_OK);
        }
        check(h, "equal ones removed");
        cr_assert_gt(recall(h, 0, NULL, QUERY_PLAIN), 0.9);
        hnsw_free(h);
    }
    free(vectors);
}

/* The same calls, the same graph. */
Test(hnsw, follows_from_its_seed)
{
    float *vectors = vectors_new(SEED, ROWS, DIM);
    struct neighbour first[200];
    size_t first_count = 0;
    for (size_t kernel = 0; kernel_at(kernel); kernel++) {
        struct hnsw_config c = small();
        c.kernel = kernel_at(kernel);
        struct hnsw *h = make(&c);
        put_all(h, vectors, 0, ROWS);
        struct hnsw_reader *reader;
        cr_assert_eq(hnsw_reader_new(h, &reader), DLHT_OK);
        struct neighbour found[200];
        size_t count;
        struct query query = { .vector = vectors, .k = 200 };
        cr_assert_eq(hnsw_search(reader, &query, found, &count, NULL), 0);
        if (kernel == 0) {
            memcpy(first, found, sizeof found);
            first_count = count;
        }
        cr_assert_eq(count, first_count);
        for (size_t i = 0; i < count; i++)
            cr_assert_eq(found[i].row, first[i].row, "int8 codes are exact");
        hnsw_reader_free(reader);
        hnsw_free(h);
    }
    free(vectors);
}

Test(hnsw, refuses_what_is_out_of_range)
{
    struct hnsw_config good = hnsw_config_default(DIM);
    cr_assert_null(hnsw_config_fault(&good));
    struct hnsw_config bad[] = { good, good, good, good, good, good, good };
    bad[0].dim = 0;
    bad[1].m = 1;
    bad[2].m0 = 15;
    bad[3].ef_construction = 0;
    bad[4].alpha = NAN;
    bad[5].drop_floats = true;
    bad[5].codes = KERNEL_F32;
    bad[6].ef_search = 100001;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct hnsw *h = (struct hnsw *)&good;
        cr_assert_eq(hnsw_new(&bad[i], &h), DLHT_EINVAL, "case %zu", i);
        cr_assert_null(h);
    }
    struct hnsw *h = make(&good);
    struct hnsw_reader *readers[HNSW_READERS_MAX];
    struct hnsw_reader *more;
    for (size_t i = 0; i < HNSW_READERS_MAX; i++)
        cr_assert_eq(hnsw_reader_new(h, &readers[i]), DLHT_OK);
    cr_assert_eq(hnsw_reader_new(h, &more), DLHT_EFULL);
    float v[DIM] = { 1 };
    struct neighbour out[1];
    size_t count;
    struct query query = { .vector = v, .k = QUERY_K_MAX + 1 };
    cr_assert_eq(hnsw_search(readers[0], &query, out, &count, NULL),
                 DLHT_EINVAL);
    query.k = 0;
    cr_assert_eq(hnsw_search(readers[0], &query, NULL, &count, NULL), 0);
    query.k = 1;
    cr_assert_eq(hnsw_search(readers[0], &query, out, &count, NULL), 0);
    cr_assert_eq(count, 0);
    for (size_t i = 0; i < HNSW_READERS_MAX; i++)
        hnsw_reader_free(readers[i]);
    hnsw_free(h);
    hnsw_free(NULL);
    hnsw_reader_free(NULL);
}
