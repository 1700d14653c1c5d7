/* SPDX-License-Identifier: Apache-2.0 */

/* One index of vectors, of two kinds. */

#include "vector/index.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "vector/flat.h"

/* One of the two is there. */
struct index {
    struct hnsw *hnsw;
    struct flat *flat;
};

struct index_reader {
    const struct index *index;
    struct hnsw_reader *hnsw;
    struct query_work work; /* of the last search */
};

static const char *const names[INDEX_BACKENDS] = { "hnsw", "exact" };

const char *index_backend_name(enum index_backend backend)
{
    return names[backend];
}

bool index_backend_from_name(const char *name, enum index_backend *out)
{
    for (int i = 0; i < INDEX_BACKENDS; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum index_backend)i;
            return true;
        }
    return false;
}

uint64_t index_handle_of(struct span id)
{
    uint64_t handle = hash64(id);
    return handle == HANDLES_NONE ? 0 : handle;
}

int index_new(const struct index_config *config, struct index **out)
{
    *out = NULL;
    if (hnsw_config_fault(&config->hnsw))
        return DLHT_EINVAL;
    struct index *index = mem_zero(1, sizeof *index);
    if (!index)
        return DLHT_ENOMEM;
    int rc = DLHT_OK;
    if (config->backend == INDEX_HNSW) {
        rc = hnsw_new(&config->hnsw, &index->hnsw);
    } else {
        index->flat = flat_new(&config->hnsw);
        rc = index->flat ? DLHT_OK : DLHT_ENOMEM;
    }
    if (rc == DLHT_OK)
        *out = index;
    else
        free(index);
    return rc;
}

void index_free(struct index *index)
{
    if (!index)
        return;
    hnsw_free(index->hnsw);
    flat_free(index->flat);
    free(index);
}

enum index_backend index_backend(const struct index *index)
{
    return index->hnsw ? INDEX_HNSW : INDEX_EXACT;
}

const struct hnsw_config *index_config(const struct index *index)
{
    return index->hnsw ? hnsw_config(index->hnsw) : flat_config(index->flat);
}

int index_put(struct index *index, uint64_t handle, const float *vector,
              struct metric_fault *fault)
{
    const struct hnsw_config *c = index_config(index);
    int rc = metric_check(c->metric, vector, c->dim, fault);
    if (rc != DLHT_OK)
        return rc;
    return index->hnsw ? hnsw_put(index->hnsw, handle, vector)
                       : flat_put(index->flat, handle, vector);
}

int index_remove(struct index *index, uint64_t handle, bool *removed)
{
    if (index->hnsw)
        return hnsw_remove(index->hnsw, handle, removed);
    *removed = flat_remove(index->flat, handle);
    return DLHT_OK;
}

bool index_get(const struct index *index, uint64_t handle, float *vector)
{
    return index->hnsw ? hnsw_get(index->hnsw, handle, vector)
                       : flat_get(index->flat, handle, vector);
}

uint32_t index_row(const struct index *index, uint64_t handle)
{
    return index->hnsw ? hnsw_row(index->hnsw, handle)
                       : flat_row(index->flat, handle);
}

void index_rows(const struct index *index, const uint32_t *handles,
                size_t count, uint32_t *rows)
{
    if (index->hnsw)
        hnsw_rows(index->hnsw, handles, count, rows);
    else
        flat_rows(index->flat, handles, count, rows);
}

uint32_t index_row_count(const struct index *index)
{
    return index->hnsw ? hnsw_row_count(index->hnsw)
                       : (uint32_t)flat_count(index->flat);
}

size_t index_count(const struct index *index)
{
    return index->hnsw ? hnsw_count(index->hnsw) : flat_count(index->flat);
}

struct hnsw_memory index_memory(const struct index *index)
{
    return index->hnsw ? hnsw_memory(index->hnsw) : flat_memory(index->flat);
}

int index_reader_new(struct index *index, struct index_reader **out)
{
    *out = NULL;
    struct index_reader *reader = mem_zero(1, sizeof *reader);
    if (!reader)
        return DLHT_ENOMEM;
    reader->index = index;
    int rc =
        index->hnsw ? hnsw_reader_new(index->hnsw, &reader->hnsw) : DLHT_OK;
    if (rc == DLHT_OK)
        *out = reader;
    else
        free(reader);
    return rc;
}

void index_reader_free(struct index_reader *reader)
{
    if (!reader)
        return;
    hnsw_reader_free(reader->hnsw);
    free(reader);
}

int index_search(struct index_reader *reader, const struct query *query,
                 struct neighbour *out, size_t *count,
                 struct metric_fault *fault)
{
    *count = 0;
    const struct hnsw_config *c = index_config(reader->index);
    if (fault)
        *fault = (struct metric_fault){ NULL, false, 0 };
    int rc = metric_check(c->metric, query->vector, c->dim, fault);
    if (rc != DLHT_OK)
        return rc;
    if (reader->hnsw)
        return hnsw_search(reader->hnsw, query, out, count, &reader->work);
    if (query->k > QUERY_K_MAX || query->ef > QUERY_EF_MAX)
        return DLHT_EINVAL;
    reader->work = (struct query_work){ .scanned = true };
    reader->work.measured = flat_count(reader->index->flat);
    return flat_search(reader->index->flat, query, out, count);
}

struct query_work index_reader_work(const struct index_reader *reader)
{
    return reader->work;
}

int index_save(struct index *index, hnsw_write_fn write, void *self)
{
    return index->hnsw ? hnsw_save(index->hnsw, write, self) : DLHT_ENOTSUP;
}

uint64_t index_save_bytes(const struct index *index)
{
    return index->hnsw ? hnsw_save_bytes(index->hnsw) : 0;
}

int index_open(struct span snapshot, const struct hnsw_config *rest,
               struct index **out, struct hnsw_fault *fault)
{
    *out = NULL;
    *fault = (struct hnsw_fault){ NULL, 0 };
    struct index *index = mem_zero(1, sizeof *index);
    if (!index)
        return DLHT_ENOMEM;
    int rc = hnsw_open(snapshot, rest, &index->hnsw, fault);
    if (rc == DLHT_OK)
        *out = index;
    else
        free(index);
    return rc;
}

int index_own(struct index *index)
{
    return index->hnsw ? hnsw_own(index->hnsw) : DLHT_OK;
}

int index_check(struct index *index, struct hnsw_report *report)
{
    return index->hnsw ? hnsw_check(index->hnsw, report)
                       : flat_check(index->flat, report);
}
