/* SPDX-License-Identifier: Apache-2.0 */

/* rmi/rank_index.h - the model as an index over one sorted array of 64-bit
 * numbers: where would std::lower_bound stop?
 *
 * Two stages as in rmi/model.h, laid out for one cache line a lookup: the root
 * finds a leaf, the leaf's line and its signed bounds give a window of the
 * array, a search in the window ends it. Bounds are measured after the fit with
 * the lookup's own arithmetic, so the answer is exact for any number, stored or
 * not. */

#ifndef RMI_RANK_INDEX_H
#define RMI_RANK_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"

struct rank_index;

/* Borrows keys (ascending, repeats allowed), which must outlive the index.
 * leaf_count 0: chosen by count, at most 2^20.
 *   DLHT_EINVAL, DLHT_ENOMEM */
MUST_USE int rank_index_new(const uint64_t *keys, size_t count,
                            size_t leaf_count, struct rank_index **out);
void rank_index_free(struct rank_index *index);

/* The number of keys below key. */
size_t rank_index_find(const struct rank_index *index, uint64_t key);

/* Bytes of the index without the array. */
size_t rank_index_bytes(const struct rank_index *index);

#endif
