/* SPDX-License-Identifier: Apache-2.0 */

/* vector/flat.h - vectors in an array without holes, searched exactly.
 *
 * The exact back end of vector/index.h. A vector that goes is replaced by the
 * last one. For cosine vectors are kept at length one, with their lengths.
 * Searches may run at once, writes only alone. */

#ifndef VECTOR_FLAT_H
#define VECTOR_FLAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "vector/hnsw.h"

struct flat;

/* Heeds dim, metric, capacity, kernel and advise, which are in range. NULL: no
 * memory. */
struct flat *flat_new(const struct hnsw_config *config);
void flat_free(struct flat *flat);

/* DLHT_EFULL, DLHT_ENOMEM: as before. */
MUST_USE int flat_put(struct flat *flat, uint64_t handle, const float *vector);
bool flat_remove(struct flat *flat, uint64_t handle);
bool flat_get(const struct flat *flat, uint64_t handle, float *vector);
uint32_t flat_row(const struct flat *flat, uint64_t handle);
void flat_rows(const struct flat *flat, const uint32_t *handles, size_t count,
               uint32_t *rows);
size_t flat_count(const struct flat *flat);
const struct hnsw_config *flat_config(const struct flat *flat);
struct hnsw_memory flat_memory(const struct flat *flat);

/* k is in range. DLHT_ENOMEM */
MUST_USE int flat_search(const struct flat *flat, const struct query *query,
                         struct neighbour *out, size_t *count);

/* DLHT_ECORRUPT: report->fault says why. */
MUST_USE int flat_check(const struct flat *flat, struct hnsw_report *report);

#endif
