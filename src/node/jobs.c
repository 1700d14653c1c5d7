/* SPDX-License-Identifier: Apache-2.0 */

/* The table of open jobs. */

#include "node/jobs.h"

#include <assert.h>
#include <string.h>

#include "dlht/err.h"
#include "node/node_state.h"

/* NULL: not open. */
static struct open_job *find_job(struct jobs *jobs, uint64_t number)
{
    for (size_t i = 0; i < jobs->count; i++)
        if (jobs->open[i].number == number)
            return &jobs->open[i];
    return NULL;
}

static struct open_job take_job(struct jobs *jobs, struct open_job *job)
{
    struct open_job taken = *job;
    size_t after = jobs->count - (size_t)(job - jobs->open) - 1;
    memmove(job, job + 1, after * sizeof *job);
    jobs->count--;
    return taken;
}

static void note_job(struct jobs *jobs, jobs_done_fn done, jobs_drop_fn drop,
                     void *data)
{
    jobs->open[jobs->count++] = (struct open_job){
        .number = jobs->last, .done = done, .drop = drop, .data = data
    };
}

int jobs_begin(struct node *node, jobs_run_fn run, jobs_done_fn done,
               jobs_drop_fn drop, void *data, uint64_t *number)
{
    struct jobs *jobs = &node->jobs;
    assert(node->fx && run && done && drop);
    if (number)
        *number = 0;
    if (jobs->count == NODE_JOBS_MAX)
        return DLHT_EBUSY;
    struct effect *e = effects_add(node->fx, EFFECT_JOB);
    if (!e)
        return DLHT_ENOMEM;
    e->u.job.number = ++jobs->last;
    e->u.job.run = run;
    e->u.job.data = data;
    note_job(jobs, done, drop, data);
    if (number)
        *number = jobs->last;
    return DLHT_OK;
}

int jobs_begin_file(struct node *node, uint64_t file, jobs_run_file_fn run,
                    jobs_done_fn done, jobs_drop_fn drop, void *data)
{
    struct jobs *jobs = &node->jobs;
    assert(node->fx && run && done && drop);
    if (jobs->count == NODE_JOBS_MAX)
        return DLHT_EBUSY;
    struct effect *e = effects_add(node->fx, EFFECT_FILE_JOB);
    if (!e)
        return DLHT_ENOMEM;
    e->u.file_job.number = ++jobs->last;
    e->u.file_job.file = file;
    e->u.file_job.run = run;
    e->u.file_job.data = data;
    note_job(jobs, done, drop, data);
    return DLHT_OK;
}

void jobs_cancel(struct node *node, uint64_t number)
{
    struct open_job *job = find_job(&node->jobs, number);
    if (job)
        job->done = NULL;
}

void jobs_done(struct node *node, uint64_t number)
{
    struct open_job *job = find_job(&node->jobs, number);
    assert(job); /* our world: once for each effect, of this incarnation */
    struct open_job ended = take_job(&node->jobs, job);
    if (ended.done)
        ended.done(node, ended.data);
    else
        ended.drop(ended.data);
}

void jobs_deinit(struct node *node)
{
    struct jobs *jobs = &node->jobs;
    while (jobs->count > 0) {
        struct open_job left = take_job(jobs, &jobs->open[jobs->count - 1]);
        left.drop(left.data);
    }
}

void jobs_check(const struct node *node)
{
    const struct jobs *jobs = &node->jobs;
    assert(jobs->count <= NODE_JOBS_MAX);
    for (size_t i = 0; i < jobs->count; i++) {
        assert(jobs->open[i].number <= jobs->last);
        assert(i == 0 || jobs->open[i - 1].number < jobs->open[i].number);
        assert(jobs->open[i].drop);
    }
}
