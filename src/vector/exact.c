/* SPDX-License-Identifier: Apache-2.0 */

/* The nearest rows by looking at every one. */

#include "vector/exact.h"

#include <assert.h>
#include <cblas.h>

#include "base/mem.h"
#include "base/prefetch.h"
#include "dlht/err.h"

enum {
    SCAN_ROWS = 256,   /* measured in one call of a kernel */
    AHEAD_ROWS = 16,   /* of rows that lie apart: asked for while others are
                        * measured */
    AHEAD_BYTES = 512, /* of one; the rest follows in order */
    BLOCK_ROWS = 1024, /* of a product: its result stays in the cache */
    BLOCK_QUERIES = 64,
    SPARE = 16 /* found by product beyond k, and measured again */
};

static bool may_return(const struct exact_set *set, const struct admit *admit,
                       uint32_t row)
{
    uint64_t handle = EXACT_NONE;
    if (set->handles) {
        handle = atomic_load_explicit(&set->handles[row], memory_order_acquire);
        if (handle == EXACT_NONE)
            return false;
    }
    return admit_has(admit, row, handle);
}

static float distance_of(const struct exact_set *set, float measured)
{
    return set->measure == KERNEL_L2 ? measured : set->ip_base - measured;
}

/* count distances: of rows ids, or of rows from first on. */
static void measure(const struct exact_set *set, const void *query,
                    const uint32_t *ids, uint32_t first, size_t count,
                    struct topk *top)
{
    float distances[SCAN_ROWS];
    struct kernel_rows rows = set->rows;
    if (!ids)
        rows.base = (const uint8_t *)rows.base + first * rows.stride;
    set->kernel->many[set->type][set->measure](query, &rows, ids, count,
                                               distances);
    for (size_t i = 0; i < count; i++) {
        float d = distance_of(set, distances[i]);
        if (topk_wants(top, d))
            topk_offer(top, ids ? ids[i] : first + (uint32_t)i, d);
    }
}

static void ask_for_rows(const struct exact_set *set, const uint32_t *ids,
                         size_t count)
{
    size_t bytes =
        set->rows.stride < AHEAD_BYTES ? set->rows.stride : (size_t)AHEAD_BYTES;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at =
            (const uint8_t *)set->rows.base + ids[i] * set->rows.stride;
        for (size_t b = 0; b < bytes; b += 64)
            prefetch_line(at + b);
    }
}

/* Rows that lie anywhere. */
static void measure_apart(const struct exact_set *set, const void *query,
                          const uint32_t *ids, size_t count, struct topk *top)
{
    size_t ahead = count < AHEAD_ROWS ? count : AHEAD_ROWS;
    ask_for_rows(set, ids, ahead);
    for (size_t i = 0; i < count; i += AHEAD_ROWS) {
        size_t now = count - i < AHEAD_ROWS ? count - i : AHEAD_ROWS;
        size_t left = count - i - now;
        ask_for_rows(set, ids + i + now, left < AHEAD_ROWS ? left : AHEAD_ROWS);
        measure(set, query, ids + i, 0, now, top);
    }
}

/* Rows that wait to be measured in one call. */
struct batch {
    size_t count;
    uint32_t ids[SCAN_ROWS];
};

static void take_row(const struct exact_set *set, const void *query,
                     const struct admit *admit, uint32_t row,
                     struct batch *batch, struct topk *top)
{
    batch->ids[batch->count] = row;
    batch->count += may_return(set, admit, row);
    if (batch->count < SCAN_ROWS)
        return;
    measure_apart(set, query, batch->ids, batch->count, top);
    batch->count = 0;
}

static void scan_some(const struct exact_set *set, const void *query,
                      const struct admit *admit, struct topk *top)
{
    struct batch batch = { .count = 0 };
    size_t end = set->row_count;
    if (admit && admit->rows && admit->row_count < end)
        end = admit->row_count;
    for (size_t from = 0; from < end; from += 64) {
        uint64_t bits =
            admit && admit->rows ? admit->rows[from / 64] : UINT64_MAX;
        if (end - from < 64)
            bits &= (UINT64_C(1) << (end - from)) - 1;
        for (; bits; bits &= bits - 1)
            take_row(set, query, admit,
                     (uint32_t)(from + (size_t)__builtin_ctzll(bits)), &batch,
                     top);
    }
    measure_apart(set, query, batch.ids, batch.count, top);
}

void exact_scan(const struct exact_set *set, const void *query,
                const struct admit *admit, struct topk *top)
{
    if (set->handles || admit) {
        scan_some(set, query, admit, top);
        return;
    }
    for (uint32_t row = 0; row < set->row_count; row += SCAN_ROWS) {
        uint32_t left = set->row_count - row;
        measure(set, query, NULL, row, left < SCAN_ROWS ? left : SCAN_ROWS,
                top);
    }
}

/* One call of exact_many. */
struct many {
    const struct exact_set *set;
    const struct admit *admit;
    const float *queries;
    size_t query_stride;
    size_t keep;       /* of each query, before they are measured again */
    struct hit *kept;  /* keep of each */
    struct topk *tops; /* of each */
    float *products;   /* BLOCK_QUERIES x BLOCK_ROWS */
    float row_squares[BLOCK_ROWS];
    bool wanted[BLOCK_ROWS];
};

static const float *row_of(const struct many *m, uint32_t row)
{
    return (const float *)(const void *)((const uint8_t *)m->set->rows.base +
                                         row * m->set->rows.stride);
}

static void prepare_rows(struct many *m, uint32_t first, uint32_t count)
{
    const struct exact_set *set = m->set;
    kernel_one_fn ip = set->kernel->one[KERNEL_F32][KERNEL_IP];
    for (uint32_t i = 0; i < count; i++) {
        m->wanted[i] = may_return(set, m->admit, first + i);
        const float *row = row_of(m, first + i);
        if (set->measure == KERNEL_L2)
            m->row_squares[i] = ip(row, row, set->rows.dim);
    }
}

/* Of rows first .. first + count, by products; the square of the query, which
 * is the same for all, is left out of L2. */
static void offer_block(struct many *m, size_t query, uint32_t first,
                        uint32_t count)
{
    struct topk *top = &m->tops[query];
    const float *products = m->products + query % BLOCK_QUERIES * BLOCK_ROWS;
    for (uint32_t i = 0; i < count; i++) {
        float d = m->set->measure == KERNEL_L2
                      ? m->row_squares[i] - 2 * products[i]
                      : -products[i];
        if (m->wanted[i] && topk_wants(top, d))
            topk_offer(top, first + i, d);
    }
}

static void multiply(struct many *m, size_t query, size_t queries,
                     uint32_t first, uint32_t count)
{
    const struct kernel_rows *rows = &m->set->rows;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)queries,
                (blasint)count, (blasint)rows->dim, 1,
                m->queries + query * m->query_stride, (blasint)m->query_stride,
                row_of(m, first), (blasint)(rows->stride / sizeof(float)), 0,
                m->products, BLOCK_ROWS);
    for (size_t q = 0; q < queries; q++)
        offer_block(m, query + q, first, count);
}

/* Measures what was found as exact_scan does, and keeps the best k. */
static size_t settle(struct many *m, size_t query, size_t k, struct hit *hits)
{
    const struct exact_set *set = m->set;
    const struct topk *found = &m->tops[query];
    struct topk top;
    topk_init(&top, hits, k);
    for (size_t i = 0; i < found->count; i++) {
        uint32_t row = found->hits[i].row;
        float d = set->kernel->one[KERNEL_F32][set->measure](
            m->queries + query * m->query_stride, row_of(m, row),
            set->rows.dim);
        topk_offer(&top, row, distance_of(set, d));
    }
    topk_sort(&top);
    return top.count;
}

static void search_all(struct many *m, size_t count)
{
    uint32_t row_count = m->set->row_count;
    for (uint32_t first = 0; first < row_count; first += BLOCK_ROWS) {
        uint32_t rows = row_count - first;
        rows = rows < BLOCK_ROWS ? rows : BLOCK_ROWS;
        prepare_rows(m, first, rows);
        for (size_t q = 0; q < count; q += BLOCK_QUERIES) {
            size_t queries = count - q;
            queries = queries < BLOCK_QUERIES ? queries : BLOCK_QUERIES;
            multiply(m, q, queries, first, rows);
        }
    }
}

int exact_many(const struct exact_set *set, const float *queries,
               size_t query_stride, size_t count, size_t k,
               const struct admit *admit, struct hit *hits, size_t *counts)
{
    assert(set->type == KERNEL_F32);
    int rc = DLHT_ENOMEM;
    struct many *m = mem_zero(1, sizeof *m);
    if (!m)
        return rc;
    *m = (struct many){ .set = set,
                        .admit = admit,
                        .queries = queries,
                        .query_stride = query_stride,
                        .keep = k + k / 2 + SPARE };
    m->kept = count > SIZE_MAX / m->keep
                  ? NULL
                  : mem_array(count * m->keep, sizeof *m->kept);
    m->tops = mem_array(count, sizeof *m->tops);
    m->products =
        mem_array((size_t)BLOCK_QUERIES * BLOCK_ROWS, sizeof *m->products);
    if (m->kept && m->tops && m->products) {
        openblas_set_num_threads(1);
        for (size_t q = 0; q < count; q++)
            topk_init(&m->tops[q], m->kept + q * m->keep, m->keep);
        search_all(m, count);
        for (size_t q = 0; q < count; q++)
            counts[q] = settle(m, q, k, hits + q * k);
        rc = DLHT_OK;
    }
    free(m->products);
    free(m->tops);
    free(m->kept);
    free(m);
    return rc;
}
