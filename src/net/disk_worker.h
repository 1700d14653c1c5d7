/* SPDX-License-Identifier: Apache-2.0 */

/* net/disk_worker.h - the thread that owns the journal and the checkpoints.
 *
 * The node's thread queues what effects ask for and never waits; the worker
 * takes all that has gathered at once, so one sync serves every batch that
 * formed while the last one ran. Results come back through a descriptor that
 * becomes readable. Order is kept: what is queued first is done first. Numbers
 * of syncs ascend from 1; of those that one sync serves only the last is told.
 *
 * A full disk is said with the sync (DLHT_EFULL), and what was appended waits
 * for the next one. Once anything else cannot be queued or done, every later
 * sync fails: what the disk holds is then unknown and must not be
 * acknowledged. */

#ifndef NET_DISK_WORKER_H
#define NET_DISK_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/must_use.h"
#include "base/span.h"
#include "store/checkpoint.h"
#include "store/disk.h"
#include "store/journal.h"

struct disk_worker;

enum {
    DISK_WORKER_INTERVAL_MS = 100
};

struct disk_worker_config {
    struct disk disk;        /* must outlive the worker */
    struct journal *journal; /* taken over, closed by disk_worker_free */
    /* 0: each sync is durable before it is reported. Else it is reported once
     * written, and made durable each so many ms. */
    uint32_t interval_ms;
    /* Records of these types are made durable even then; NULL: none are. */
    bool (*must_sync)(uint8_t type);
};

struct disk_result {
    bool is_checkpoint; /* else: a sync */
    uint64_t number;
    int status;
    arc_id arc;             /* checkpoint */
    uint64_t journal_bytes; /* sync */
    arc_id pinning_arc;     /* sync */
};

/* Starts the thread.
 *   DLHT_ENOMEM, DLHT_EIO  the journal stays the caller's */
MUST_USE int disk_worker_new(const struct disk_worker_config *config,
                             struct disk_worker **out);

/* Does what is queued, syncs, closes the journal. NULL is allowed. */
void disk_worker_free(struct disk_worker *worker);

/* One call for each effect; bytes are copied. */
void disk_worker_append(struct disk_worker *worker,
                        const struct journal_record *record);
void disk_worker_sync(struct disk_worker *worker, uint64_t number);
void disk_worker_release(struct disk_worker *worker, arc_id arc,
                         uint64_t index);
void disk_worker_begin(struct disk_worker *worker, arc_id arc, uint64_t number,
                       struct span header);
void disk_worker_add(struct disk_worker *worker, arc_id arc, uint64_t number,
                     struct span block);
void disk_worker_end(struct disk_worker *worker, arc_id arc, uint64_t number);
void disk_worker_abort(struct disk_worker *worker, arc_id arc, uint64_t number);
void disk_worker_remove(struct disk_worker *worker, arc_id arc);

/* Hands what was queued in this turn to the thread. */
void disk_worker_submit(struct disk_worker *worker);

/* Readable while results wait. */
int disk_worker_fd(const struct disk_worker *worker);
/* The next result, oldest first; false: none. */
bool disk_worker_take(struct disk_worker *worker, struct disk_result *out);

#endif
