/* SPDX-License-Identifier: Apache-2.0 */

/* rmi/rank_index.h - the model as an index over one sorted array of 64-bit
 * numbers: where would std::lower_bound stop?
 *
 * A recursive model: a node is a line from numbers to buckets, a bucket with
 * few keys is a leaf, one with many has a node of its own. Where the keys of a
 * bucket begin is counted with the lookup's own arithmetic, which never falls,
 * so the answer is exact for any number, stored or not. Smooth keys take one
 * line and about one cache line of the array; clustered ones two or three.
 *
 * Immutable once made: share among threads freely. */

#ifndef RMI_RANK_INDEX_H
#define RMI_RANK_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"

struct rank_index;

enum {
    RANK_INDEX_LEAVES_MAX = 1 << 20 /* of the root */
};

/* Borrows keys (ascending, repeats allowed), which must outlive the index.
 * leaf_count: of the root; 0: chosen by count. Those below it follow the keys.
 *   DLHT_EINVAL  not ascending, 2^31 keys or more, too many leaves
 *   DLHT_ENOMEM */
MUST_USE int rank_index_new(const uint64_t *keys, size_t count,
                            size_t leaf_count, struct rank_index **out);

/* NULL is allowed. */
void rank_index_free(struct rank_index *index);

/* The number of keys below key. */
size_t rank_index_find(const struct rank_index *index, uint64_t key);

/* Bytes of the index without the array. */
size_t rank_index_bytes(const struct rank_index *index);

#endif
