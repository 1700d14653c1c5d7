/* SPDX-License-Identifier: Apache-2.0 */

/* vector/index.h - one index of vectors, behind which is the graph
 * (vector/hnsw.h) or a plain array that is searched exactly (vector/exact.h).
 *
 * Both take the same calls and give the same kind of answer; the exact one is
 * right for up to a few thousand vectors, and wherever no neighbour may be
 * missed. A vector bears a handle: any number but HANDLES_NONE, unique, chosen
 * by the caller, such as the number of a record. Ids of bytes are the caller's
 * to map to handles; index_handle_of does it by hashing.
 *
 * Threads: as vector/hnsw.h has it, a writer beside readers, with the graph.
 * With the exact back end writes and searches exclude each other. */

#ifndef VECTOR_INDEX_H
#define VECTOR_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "vector/hnsw.h"

enum index_backend {
    INDEX_HNSW,
    INDEX_EXACT,
    INDEX_BACKENDS
};

struct index;
struct index_reader;

struct index_config {
    enum index_backend backend;
    /* Of the graph. The exact one heeds dim, metric, capacity, kernel and
     * advise, and keeps vectors as they are. */
    struct hnsw_config hnsw;
};

/* "hnsw", "exact". */
const char *index_backend_name(enum index_backend backend);
/* False, *out untouched: no such back end. */
bool index_backend_from_name(const char *name, enum index_backend *out);

/* 64 bits of XXH3. Two of n ids meet with a chance of n^2 / 2^65: one in 37
 * million for a million of them. Who cannot bear that numbers its records. */
uint64_t index_handle_of(struct span id);

/* *out is the caller's, NULL on failure.
 *   DLHT_EINVAL  hnsw_config_fault
 *   DLHT_ENOMEM */
MUST_USE int index_new(const struct index_config *config, struct index **out);

/* NULL is allowed. No reader may be left. */
void index_free(struct index *index);

enum index_backend index_backend(const struct index *index);
const struct hnsw_config *index_config(const struct index *index);

/* Adds a vector or gives a handle another one.
 *   DLHT_EINVAL  the metric is not defined for it: *fault (unless NULL) says
 *                why
 *   DLHT_EFULL   HNSW_ROWS_MAX
 *   DLHT_ENOMEM  as before */
MUST_USE int index_put(struct index *index, uint64_t handle,
                       const float *vector, struct metric_fault *fault);

/* DLHT_ENOMEM: as before. */
MUST_USE int index_remove(struct index *index, uint64_t handle, bool *removed);

/* False: not there. The vector as it was put, up to rounding. */
bool index_get(const struct index *index, uint64_t handle, float *vector);

/* For bitmaps of rows (vector/admit.h): the row of a handle, or
 * HANDLES_NO_ROW; rows are below index_row_count. Until the next write. */
uint32_t index_row(const struct index *index, uint64_t handle);
/* Those of many handles below 2^32, together quicker than one by one. */
void index_rows(const struct index *index, const uint32_t *handles,
                size_t count, uint32_t *rows);
uint32_t index_row_count(const struct index *index);

size_t index_count(const struct index *index);
struct hnsw_memory index_memory(const struct index *index);

/* As hnsw_reader_new. */
MUST_USE int index_reader_new(struct index *index, struct index_reader **out);
void index_reader_free(struct index_reader *reader);

/* As hnsw_search; the query's vector is checked.
 *   DLHT_EINVAL  k or ef too great, or *fault (unless NULL) says why
 *   DLHT_ENOMEM */
MUST_USE int index_search(struct index_reader *reader,
                          const struct query *query, struct neighbour *out,
                          size_t *count, struct metric_fault *fault);

/* What the last search of the reader did; of the exact back end only that every
 * row was looked at. */
struct query_work index_reader_work(const struct index_reader *reader);

/* As hnsw_save and hnsw_open. The exact back end's records are its snapshot:
 *   DLHT_ENOTSUP */
MUST_USE int index_save(struct index *index, hnsw_write_fn write, void *self);
uint64_t index_save_bytes(const struct index *index);
MUST_USE int index_open(struct span snapshot, const struct hnsw_config *rest,
                        struct index **out, struct hnsw_fault *fault);

/* As hnsw_own. */
MUST_USE int index_own(struct index *index);

/* As hnsw_check; of the exact back end rows and handles. */
MUST_USE int index_check(struct index *index, struct hnsw_report *report);

#endif
