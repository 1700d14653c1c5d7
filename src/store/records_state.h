/* SPDX-License-Identifier: Apache-2.0 */

/* store/records_state.h - a map of records laid open, for the files that make
 * it up. */

#ifndef STORE_RECORDS_STATE_H
#define STORE_RECORDS_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "store/records.h"
#include "store/records_arena.h"
#include "store/records_hash.h"
#include "store/records_tree.h"

struct records {
    struct records_arena arena;
    struct records_hash hash;
    struct records_tree tree;
    uint64_t digest;
    uint64_t gather_from; /* memory from which on leaves are gathered */
    struct records_snapshot *snapshots; /* open ones */
};

/* Lets every open view save what a change of key is about to destroy.
 *   DLHT_ENOMEM  the change must not be made */
MUST_USE int records_state_save(struct records *records, struct span key);

/* Moves the entries of a leaf into one slab, in key order, so that a walk
 * reads few cache lines, one after the other. Not those that are long, and
 * none if there is no memory. Cursors stay valid. */
void records_gather(struct records *records, struct records_node *leaf);

/* Copies entries into one slab of another map, named in copies, sharing their
 * blocks as records_entry_share. False: one is long, or no memory. */
bool records_gather_copies(const struct records *records, const uint32_t *refs,
                           size_t count, struct records *part,
                           uint32_t *copies);

#endif
