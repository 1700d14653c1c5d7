/* SPDX-License-Identifier: Apache-2.0 */

/* store/records_state.h - a map of records laid open, for the files that make
 * it up. */

#ifndef STORE_RECORDS_STATE_H
#define STORE_RECORDS_STATE_H

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
    struct records_snapshot *snapshots; /* open ones */
};

/* Lets every open view save what a change of key is about to destroy.
 *   DLHT_ENOMEM  the change must not be made */
MUST_USE int records_state_save(struct records *records, struct span key);

#endif
