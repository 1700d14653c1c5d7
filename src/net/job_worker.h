/* SPDX-License-Identifier: Apache-2.0 */

/* net/job_worker.h - the thread that does the node's slow work.
 *
 * Jobs are done one at a time, in the order they come, with less priority than
 * the threads that serve. That a job has ended comes back through a descriptor
 * which becomes readable. The thread starts with the first job; if it cannot,
 * the job is done at once by the caller, and reported like any other, so none
 * is lost.
 *
 * At most NODE_JOBS_MAX are open, counted from add to take: nothing is
 * allocated for a job. One thread adds, takes and frees. */

#ifndef NET_JOB_WORKER_H
#define NET_JOB_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/must_use.h"
#include "store/disk.h"

struct graph_file;
struct job_worker;

/* Starts no thread yet.
 *   DLHT_ENOMEM, DLHT_EIO (no descriptor) */
MUST_USE int job_worker_new(struct job_worker **out);

/* Where files of jobs are, from now on. The jobs' thread alone calls it, so it
 * is none that another thread uses; it outlives the worker. */
void job_worker_set_disk(struct job_worker *worker, struct disk disk);

/* Waits for the job that runs, whose file takes and tells nothing more
 * (DLHT_ECLOSED); those that wait never run. What data points to must live
 * until then. NULL is allowed. */
void job_worker_free(struct job_worker *worker);

/* EFFECT_JOB. */
void job_worker_add(struct job_worker *worker, uint64_t number,
                    void (*run)(void *data), void *data);

/* EFFECT_FILE_JOB; there is a disk. */
void job_worker_add_file(struct job_worker *worker, uint64_t number,
                         uint64_t file,
                         void (*run)(void *data, struct graph_file *file),
                         void *data);

/* Readable while ended jobs wait to be taken. */
int job_worker_fd(const struct job_worker *worker);
/* The number of the next job that has ended, in order; false: none. */
bool job_worker_take(struct job_worker *worker, uint64_t *number);

#endif
