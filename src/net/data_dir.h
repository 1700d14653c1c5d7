/* SPDX-License-Identifier: Apache-2.0 */

/* net/data_dir.h - what a node finds on disk when it starts.
 *
 * Opens and locks the directory, feeds checkpoints and then the journal to the
 * node, and lets the node quarantine what is damaged. Damage that no group can
 * mend ends the start before anything is overwritten. */

#ifndef NET_DATA_DIR_H
#define NET_DATA_DIR_H

#include <stdint.h>

#include "base/must_use.h"
#include "dlht/dlht.h"
#include "node/node.h"
#include "store/disk.h"
#include "store/journal.h"

struct data_dir;

typedef void (*data_dir_log_fn)(void *context, enum log_level level,
                                const char *text);

/* Makes the directory if its parent exists.
 *   DLHT_EBUSY   another process uses it
 *   DLHT_EINVAL  cannot be used; DLHT_EIO, DLHT_ENOMEM */
MUST_USE int data_dir_open(const char *path, struct data_dir **out,
                           struct dlht_error *error);
void data_dir_close(struct data_dir *dir); /* NULL is allowed */

/* How many threads read checkpoints, the caller's included, when it restores;
 * at first as many as there are processors. Four at most. */
void data_dir_set_loaders(struct data_dir *dir, size_t count);

struct disk data_dir_disk(struct data_dir *dir);
/* The same directory for the thread of jobs, and for files of theirs. */
struct disk data_dir_files(struct data_dir *dir);

/* The node's restore calls, then the open journal, which the caller owns.
 *   DLHT_ECORRUPT  damage that cannot be mended; nothing was changed
 *   DLHT_EIO, DLHT_EFULL, DLHT_ENOMEM */
MUST_USE int data_dir_restore(struct data_dir *dir, struct node *node,
                              uint64_t seed, data_dir_log_fn log, void *context,
                              struct journal **out, struct dlht_error *error);

#endif
