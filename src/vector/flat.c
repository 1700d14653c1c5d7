/* SPDX-License-Identifier: Apache-2.0 */

/* Vectors in an array without holes. */

#include "vector/flat.h"

#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "vector/exact.h"
#include "vector/quant.h"

enum {
    HUGE_PAGE = 2 << 20
};

struct flat {
    struct hnsw_config config;
    size_t stride; /* bytes of a row */
    uint8_t *rows;
    float *lengths; /* for cosine */
    _Atomic uint64_t *row_handles;
    size_t count;
    size_t cap;
    struct handles handles;
};

static float *row_at(const struct flat *f, size_t row)
{
    return (float *)(void *)(f->rows + row * f->stride);
}

static uint8_t *rows_new(const struct flat *f, size_t count)
{
    if (count > (SIZE_MAX - HUGE_PAGE) / f->stride)
        return NULL;
    size_t bytes = count * f->stride;
    size_t unit = bytes < HUGE_PAGE ? QUANT_LINE : HUGE_PAGE;
    void *rows = aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
    if (rows && bytes >= HUGE_PAGE && f->config.advise)
        f->config.advise(f->config.advise_self, rows,
                         bytes / HUGE_PAGE * HUGE_PAGE);
    return rows;
}

static int reserve(struct flat *f, size_t count)
{
    int rc = handles_reserve(&f->handles, count, f->row_handles);
    if (rc != DLHT_OK || count <= f->cap)
        return rc;
    if (count > HNSW_ROWS_MAX)
        return DLHT_EFULL;
    size_t cap = f->cap + f->cap / 2 > count ? f->cap + f->cap / 2 : count + 15;
    uint8_t *rows = rows_new(f, cap);
    float *lengths = mem_array(cap, sizeof *lengths);
    _Atomic uint64_t *handles = mem_array(cap, sizeof *handles);
    if (!rows || !lengths || !handles) {
        free(rows);
        free(lengths);
        free(handles);
        return DLHT_ENOMEM;
    }
    if (f->count > 0) {
        memcpy(rows, f->rows, f->count * f->stride);
        memcpy(lengths, f->lengths, f->count * sizeof *lengths);
        for (size_t i = 0; i < f->count; i++)
            atomic_init(&handles[i], atomic_load(&f->row_handles[i]));
    }
    free(f->rows);
    free(f->lengths);
    free(f->row_handles);
    f->rows = rows;
    f->lengths = lengths;
    f->row_handles = handles;
    f->cap = cap;
    return DLHT_OK;
}

struct flat *flat_new(const struct hnsw_config *config)
{
    struct flat *f = mem_zero(1, sizeof *f);
    if (!f)
        return NULL;
    f->config = *config;
    if (!f->config.kernel)
        f->config.kernel = kernel_choose(NULL);
    f->stride = quant_stride(KERNEL_F32, config->dim);
    handles_init(&f->handles);
    if (config->capacity && reserve(f, config->capacity) != DLHT_OK) {
        flat_free(f);
        return NULL;
    }
    return f;
}

void flat_free(struct flat *f)
{
    if (!f)
        return;
    handles_deinit(&f->handles);
    free(f->rows);
    free(f->lengths);
    free(f->row_handles);
    free(f);
}

/* The vector as it is kept, padded; returns its length. */
static float prepare(const struct flat *f, const float *vector, float *out)
{
    size_t dim = f->config.dim;
    memset(out, 0, f->stride);
    if (f->config.metric == METRIC_COSINE)
        return metric_normalise(vector, dim, out);
    memcpy(out, vector, dim * sizeof *out);
    return 1;
}

int flat_put(struct flat *f, uint64_t handle, const float *vector)
{
    uint32_t row = flat_row(f, handle);
    if (row == HANDLES_NO_ROW) {
        int rc = reserve(f, f->count + 1);
        if (rc != DLHT_OK)
            return rc;
        row = (uint32_t)f->count++;
        atomic_init(&f->row_handles[row], handle);
        handles_put(&f->handles, handle, row, f->row_handles);
    }
    f->lengths[row] = prepare(f, vector, row_at(f, row));
    return DLHT_OK;
}

bool flat_remove(struct flat *f, uint64_t handle)
{
    uint32_t row = flat_row(f, handle);
    if (row == HANDLES_NO_ROW)
        return false;
    handles_remove(&f->handles, handle, f->row_handles);
    size_t last = --f->count;
    if (row == last)
        return true;
    uint64_t moved = atomic_load(&f->row_handles[last]);
    memcpy(row_at(f, row), row_at(f, last), f->stride);
    f->lengths[row] = f->lengths[last];
    handles_remove(&f->handles, moved, f->row_handles);
    atomic_store(&f->row_handles[row], moved);
    handles_put(&f->handles, moved, row, f->row_handles);
    return true;
}

bool flat_get(const struct flat *f, uint64_t handle, float *vector)
{
    uint32_t row = flat_row(f, handle);
    if (row == HANDLES_NO_ROW)
        return false;
    memcpy(vector, row_at(f, row), f->config.dim * sizeof *vector);
    for (size_t i = 0; i < f->config.dim; i++)
        vector[i] *= f->lengths[row];
    return true;
}

uint32_t flat_row(const struct flat *f, uint64_t handle)
{
    if (handle == HANDLES_NONE)
        return HANDLES_NO_ROW;
    return handles_find(&f->handles, handle, f->row_handles);
}

void flat_rows(const struct flat *f, const uint32_t *handles, size_t count,
               uint32_t *rows)
{
    handles_find_many(&f->handles, handles, count, f->row_handles, rows);
}

size_t flat_count(const struct flat *f)
{
    return f->count;
}

const struct hnsw_config *flat_config(const struct flat *f)
{
    return &f->config;
}

struct hnsw_memory flat_memory(const struct flat *f)
{
    struct hnsw_memory m = { 0 };
    m.vectors = f->cap * (f->stride + sizeof *f->lengths);
    m.handles = f->cap * sizeof *f->row_handles +
                f->handles.slot_count * sizeof *f->handles.slots;
    m.total = m.vectors + m.handles + sizeof *f;
    return m;
}

int flat_search(const struct flat *f, const struct query *query,
                struct neighbour *out, size_t *count)
{
    *count = 0;
    bool ip = f->config.metric != METRIC_L2;
    struct exact_set set = {
        .kernel = f->config.kernel,
        .type = KERNEL_F32,
        .measure = ip ? KERNEL_IP : KERNEL_L2,
        .ip_base = f->config.metric == METRIC_COSINE ? 1 : 0,
        .rows = { f->rows, f->stride, f->stride / sizeof(float) },
        .row_count = (uint32_t)f->count,
        .handles = query->admit ? f->row_handles : NULL,
    };
    size_t k = query->k < f->count ? query->k : f->count;
    float *vector = aligned_alloc(QUANT_LINE, f->stride);
    struct hit *hits = mem_array(k, sizeof *hits);
    if (!vector || !hits) {
        free(vector);
        free(hits);
        return DLHT_ENOMEM;
    }
    prepare(f, query->vector, vector);
    struct topk top;
    topk_init(&top, hits, k);
    exact_scan(&set, vector, query->admit, &top);
    topk_sort(&top);
    for (size_t i = 0; i < top.count; i++)
        out[i] = (struct neighbour){ atomic_load(&f->row_handles[hits[i].row]),
                                     hits[i].row, hits[i].distance };
    *count = top.count;
    free(vector);
    free(hits);
    return DLHT_OK;
}

int flat_check(const struct flat *f, struct hnsw_report *report)
{
    *report = (struct hnsw_report){ .rows = f->count };
    for (uint32_t row = 0; row < f->count; row++)
        if (flat_row(f, atomic_load(&f->row_handles[row])) != row) {
            report->fault = "a handle finds another row";
            report->fault_row = row;
        }
    if (f->handles.count != f->count)
        report->fault = "rows are miscounted";
    return report->fault ? DLHT_ECORRUPT : DLHT_OK;
}
