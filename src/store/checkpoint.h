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

/* Reads the newest generation of the arc that is whole; all of it is verified
 * before fn is called at all. *older says that a newer one was damaged and an
 * older one was used.
 *   DLHT_ENOTFOUND  no generation
 *   DLHT_ECORRUPT   there are some, none is whole
 *   DLHT_EVERSION   the newest was written by a later version
 *   DLHT_EIO, DLHT_ENOMEM, or what fn returned */
MUST_USE int checkpoint_read(struct disk disk, arc_id arc,
                             checkpoint_read_fn fn, void *context, bool *older);

typedef int (*checkpoint_arc_fn)(void *context, arc_id arc);

/* Each arc that has a checkpoint file, once, in ascending order; temporary
 * files left by a crash are removed first. */
MUST_USE int checkpoint_each(struct disk disk, checkpoint_arc_fn fn,
                             void *context);

/* Removes all generations of an arc, durably. */
MUST_USE int checkpoint_remove(struct disk disk, arc_id arc);

#endif
