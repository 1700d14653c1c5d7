/* SPDX-License-Identifier: Apache-2.0 */

/* A ring of jobs and a thread that goes round it. */

#include "net/job_worker.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dlht/err.h"
#include "net/sys.h"
#include "node/node.h"
#include "store/graph_file.h"

enum {
    JOB_NICE = 10, /* a job must not starve either: a model waits for it */
    NICE_MAX = 19
};

struct slot {
    uint64_t number;
    void (*run)(void *data); /* NULL: run_file */
    void (*run_file)(void *data, struct graph_file *file);
    uint64_t file;
    void *data;
};

struct job_worker {
    pthread_t thread;
    bool running; /* the node's thread only */
    int bell;
    struct disk disk; /* set before the first job that wants it */
    atomic_bool ends; /* files of jobs look at it */

    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* Under lock, from here on. Counts since the start, of a ring of slots:
     * taken <= done <= added <= taken + NODE_JOBS_MAX. */
    struct slot slots[NODE_JOBS_MAX];
    uint64_t added, done, taken;
    bool stop;
};

static void run_slot(const struct job_worker *w, const struct slot *job)
{
    if (job->run) {
        job->run(job->data);
        return;
    }
    struct graph_file file;
    graph_file_init(&file, w->disk, job->file);
    file.ends = &w->ends;
    job->run_file(job->data, &file);
    graph_file_deinit(&file);
}

/* With the lock, which is let go while the job runs. */
static void worker_do_next(struct job_worker *w)
{
    assert(w->done < w->added);
    struct slot job = w->slots[w->done % NODE_JOBS_MAX];
    pthread_mutex_unlock(&w->lock);
    run_slot(w, &job);
    pthread_mutex_lock(&w->lock);
    w->done++;
    sys_bell_ring(w->bell);
}

static void *worker_main(void *context)
{
    struct job_worker *w = context;
    /* In Linux 0 is this thread, not the process. By the same number whatever
     * the program runs at: who may, would else outrun it. */
    int nice = getpriority(PRIO_PROCESS, 0) + JOB_NICE;
    (void)setpriority(PRIO_PROCESS, 0, nice < NICE_MAX ? nice : NICE_MAX);
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        if (w->done < w->added)
            worker_do_next(w);
        else
            pthread_cond_wait(&w->wake, &w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* Signals are the program's: its own threads take them. */
static bool worker_is_running(struct job_worker *w)
{
    if (w->running)
        return true;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    w->running = pthread_create(&w->thread, NULL, worker_main, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w->running;
}

int job_worker_new(struct job_worker **out)
{
    *out = NULL;
    struct job_worker *w = calloc(1, sizeof *w);
    if (!w)
        return DLHT_ENOMEM;
    w->bell = sys_bell_new();
    if (w->bell == -1) {
        free(w);
        return DLHT_EIO;
    }
    atomic_init(&w->ends, false);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    *out = w;
    return DLHT_OK;
}

void job_worker_free(struct job_worker *w)
{
    if (!w)
        return;
    atomic_store(&w->ends, true);
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (w->running)
        pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    close(w->bell);
    free(w);
}

void job_worker_set_disk(struct job_worker *w, struct disk disk)
{
    w->disk = disk;
}

static void worker_add(struct job_worker *w, struct slot slot)
{
    pthread_mutex_lock(&w->lock);
    assert(w->added - w->taken < NODE_JOBS_MAX);
    w->slots[w->added++ % NODE_JOBS_MAX] = slot;
    if (worker_is_running(w))
        pthread_cond_signal(&w->wake);
    else
        worker_do_next(w); /* the only one: none could be left before */
    pthread_mutex_unlock(&w->lock);
}

void job_worker_add(struct job_worker *w, uint64_t number,
                    void (*run)(void *data), void *data)
{
    worker_add(w, (struct slot){ .number = number, .run = run, .data = data });
}

void job_worker_add_file(struct job_worker *w, uint64_t number, uint64_t file,
                         void (*run)(void *data, struct graph_file *file),
                         void *data)
{
    assert(w->disk.calls);
    worker_add(
        w, (struct slot){
               .number = number, .run_file = run, .file = file, .data = data });
}

int job_worker_fd(const struct job_worker *w)
{
    return w->bell;
}

bool job_worker_take(struct job_worker *w, uint64_t *number)
{
    pthread_mutex_lock(&w->lock);
    bool some = w->taken < w->done;
    if (some)
        *number = w->slots[w->taken++ % NODE_JOBS_MAX].number;
    if (w->taken == w->done)
        sys_bell_clear(w->bell);
    pthread_mutex_unlock(&w->lock);
    return some;
}
