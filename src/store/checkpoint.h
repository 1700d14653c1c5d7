/* SPDX-License-Identifier: Apache-2.0 */

/* store/checkpoint.h - a durable copy of one arc: a header and blocks.
 *
 * Written aside under a temporary name, synced, renamed, the directory synced:
 * so a checkpoint exists whole or not at all. Every block has a checksum; the
 * last states how many there were. What header and blocks hold is the node's
 * affair. Two generations of an arc are kept; the older goes when a third is
 * complete. Runs where the journal runs. */

#ifndef STORE_CHECKPOINT_H
#define STORE_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/must_use.h"
#include "base/span.h"
#include "store/disk.h"

enum {
    CHECKPOINT_BLOCK_MAX = 34 << 20
};

struct checkpoint_writer;

/* Begins generation number of an arc; number grows from one to the next.
 *   DLHT_EIO, DLHT_EFULL, DLHT_ENOMEM
 *   DLHT_ETOOBIG  the header is larger than CHECKPOINT_BLOCK_MAX */
MUST_USE int checkpoint_begin(struct disk disk, arc_id arc, uint64_t number,
                              struct span header,
                              struct checkpoint_writer **out);

/* After a failure commit fails too: a checkpoint without the block would be
 * false.
 *   as checkpoint_begin */
MUST_USE int checkpoint_add(struct checkpoint_writer *writer,
                            struct span block);

/* Makes it durable and drops generations older than the one before. Frees the
 * writer in any case; on failure nothing of this generation remains. */
MUST_USE int checkpoint_commit(struct checkpoint_writer *writer);

/* Gives up; NULL is allowed. */
void checkpoint_abort(struct checkpoint_writer *writer);

/* Called with the header (first true) and then each block in order. */
typedef int (*checkpoint_read_fn)(void *context, arc_id arc, uint64_t number,
                                  bool first, struct span bytes);

/* An arc that has checkpoints. */
struct checkpoint_found {
    arc_id arc;
    const uint64_t *numbers; /* its generations, ascending */
    size_t count;            /* of them; 1 at least */
};

struct checkpoint_list {
    struct checkpoint_found *arcs; /* ascending */
    size_t count;
    uint64_t *numbers; /* of all of them */
};

/* What is there, for good: names are synced. Temporary files left by a crash
 * are removed first. The caller owns the list; on failure it is empty.
 *   DLHT_EIO, DLHT_ENOMEM */
MUST_USE int checkpoint_list(struct disk disk, struct checkpoint_list *out);
void checkpoint_list_deinit(struct checkpoint_list *list);

/* Reads the newest generation of the arc that is whole; all of it is verified
 * before fn is called at all. *older says that a newer one was damaged and an
 * older one was used.
 *   DLHT_ECORRUPT   none is whole
 *   DLHT_EVERSION   the newest was written by a later version
 *   DLHT_ENOTFOUND  it was removed meanwhile
 *   DLHT_EIO, DLHT_ENOMEM, or what fn returned */
MUST_USE int checkpoint_read(struct disk disk,
                             const struct checkpoint_found *found,
                             checkpoint_read_fn fn, void *context, bool *older);

/* Removes all generations of an arc, durably. */
MUST_USE int checkpoint_remove(struct disk disk, arc_id arc);

#endif
