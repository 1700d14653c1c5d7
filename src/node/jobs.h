/* SPDX-License-Identifier: Apache-2.0 */

/* node/jobs.h - slow pure work that the world does for the node.
 *
 * A job is a call on data of its own: whoever begins it copies what the call
 * reads, the world makes the call when and where it likes, and the result is
 * found in the data afterwards. Between begin and the call of done or drop
 * nobody else touches the data. Each job ends in exactly one call of done or
 * drop, which owns the data from then on; both run on the node's thread.
 *
 * Nothing here is kept on disk: a job that a crash interrupts has never been.
 * The table is small and part of struct node, so only the effect itself may
 * want memory. */

#ifndef NODE_JOBS_H
#define NODE_JOBS_H

#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "node/node.h"

/* Called somewhere else, at some time; see EFFECT_JOB. */
typedef void (*jobs_run_fn)(void *data);
typedef void (*jobs_run_file_fn)(void *data, struct graph_file *file);
/* On EVENT_JOB, within the step: may send, journal, begin another job. */
typedef void (*jobs_done_fn)(struct node *node, void *data);
/* Instead of done: the job was cancelled, or the node is being freed. Whether
 * it ran is not known. */
typedef void (*jobs_drop_fn)(void *data);

struct open_job {
    uint64_t number;
    jobs_done_fn done; /* NULL: cancelled */
    jobs_drop_fn drop;
    void *data;
};

/* All zeros is a valid empty one. */
struct jobs {
    struct open_job open[NODE_JOBS_MAX]; /* ascending numbers */
    size_t count;
    uint64_t last; /* the newest number */
};

/* Within a step only. *number (not 0) names the job to jobs_cancel; number may
 * be NULL. On failure neither done nor drop is called: the data stays the
 * caller's.
 *   DLHT_EBUSY   NODE_JOBS_MAX are open
 *   DLHT_ENOMEM */
MUST_USE int jobs_begin(struct node *node, jobs_run_fn run, jobs_done_fn done,
                        jobs_drop_fn drop, void *data, uint64_t *number);

/* The same of work upon one file (EFFECT_FILE_JOB). */
MUST_USE int jobs_begin_file(struct node *node, uint64_t file,
                             jobs_run_file_fn run, jobs_done_fn done,
                             jobs_drop_fn drop, void *data);

/* The result is not wanted any more: drop is called instead of done, but only
 * once the world says that the job has ended, for it may be running. Nothing
 * if it has ended or is cancelled. */
void jobs_cancel(struct node *node, uint64_t number);

/* EVENT_JOB. */
void jobs_done(struct node *node, uint64_t number);

/* Drops what is left. The world has seen to it that none runs. */
void jobs_deinit(struct node *node);

void jobs_check(const struct node *node);

#endif
