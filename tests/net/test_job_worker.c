/* SPDX-License-Identifier: Apache-2.0 */

/* The thread of jobs: order, reports, its start and its end. */

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dlht/err.h"
#include "net/check.h"
#include "net/job_worker.h"
#include "node/node.h"
#include "store/graph_file.h"

/* Threads that cannot be made: the linker sends calls here. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*fn)(void *), void *context);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*fn)(void *), void *context);

static int creates;
static bool create_fails;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*fn)(void *), void *context)
{
    if (create_fails)
        return 11;
    creates++;
    return __real_pthread_create(thread, attributes, fn, context);
}

struct job {
    atomic_int *clock; /* of all: who was when */
    atomic_bool *gate; /* waits for it to open; NULL: no gate */
    atomic_bool started;
    int at; /* 0: did not run */
    int nice;
    bool own_thread;
    pthread_t caller;
};

static void run(void *data)
{
    struct job *job = data;
    job->started = true;
    while (job->gate && !*job->gate)
        usleep(1000);
    job->nice = getpriority(PRIO_PROCESS, 0);
    job->own_thread = !pthread_equal(job->caller, pthread_self());
    job->at = ++*job->clock;
}

static atomic_int now;

static struct job job_of(atomic_bool *gate)
{
    return (
        struct job){ .clock = &now, .gate = gate, .caller = pthread_self() };
}

static struct job_worker *start(void)
{
    struct job_worker *w = NULL;
    creates = 0;
    now = 0;
    CHECK_EQ(job_worker_new(&w), DLHT_OK);
    return w;
}

static bool rings(struct job_worker *w, int ms)
{
    struct pollfd p = { .fd = job_worker_fd(w), .events = POLLIN };
    return poll(&p, 1, ms) == 1;
}

/* 0: none came in five seconds. */
static uint64_t await(struct job_worker *w)
{
    uint64_t number = 0;
    while (!job_worker_take(w, &number))
        if (!rings(w, 5000))
            break;
    return number;
}

static void no_thread_without_a_job(void)
{
    struct job_worker *w = start();
    uint64_t number;
    CHECK(!job_worker_take(w, &number));
    CHECK(!rings(w, 0));
    job_worker_free(w);
    CHECK_EQ(creates, 0);
    job_worker_free(NULL);
}

/* All that may be open at once, several times round. */
static void jobs_are_done_in_order(void)
{
    static struct job jobs[NODE_JOBS_MAX];
    struct job_worker *w = start();
    int mine = getpriority(PRIO_PROCESS, 0);
    uint64_t added = 1000, taken = 1000;
    for (int round = 0; round < 20; round++) {
        now = 0;
        for (int i = 0; i < NODE_JOBS_MAX; i++) {
            jobs[i] = job_of(NULL);
            job_worker_add(w, ++added, run, &jobs[i]);
        }
        for (int i = 0; i < NODE_JOBS_MAX; i++) {
            CHECK_EQ(await(w), ++taken);
            CHECK_EQ(jobs[i].at, i + 1);
            CHECK(jobs[i].own_thread);
        }
        CHECK(!rings(w, 0));
    }
    CHECK_EQ(creates, 1);
    CHECK(jobs[0].nice > mine || mine == 19);
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), mine);
    job_worker_free(w);
}

/* Reports come while later jobs still run, and taking one leaves the other. */
static void each_is_reported_when_it_ends(void)
{
    struct job_worker *w = start();
    atomic_bool gate = false;
    struct job first = job_of(NULL), second = job_of(&gate);
    job_worker_add(w, 1, run, &first);
    job_worker_add(w, 2, run, &second);
    CHECK_EQ(await(w), 1);
    CHECK(!rings(w, 20)); /* the second waits */
    uint64_t number;
    CHECK(!job_worker_take(w, &number));
    gate = true;
    CHECK_EQ(await(w), 2);
    job_worker_free(w);
}

static atomic_bool late_gate;

static void *open_late(void *context)
{
    (void)context;
    usleep(50000);
    late_gate = true;
    return NULL;
}

static void the_end_waits_for_the_job_that_runs(void)
{
    struct job_worker *w = start();
    late_gate = false;
    struct job running = job_of(&late_gate), queued = job_of(NULL);
    job_worker_add(w, 1, run, &running);
    job_worker_add(w, 2, run, &queued);
    while (!running.started)
        usleep(1000);
    pthread_t opener;
    CHECK_EQ(pthread_create(&opener, NULL, open_late, NULL), 0);
    job_worker_free(w);
    CHECK_EQ(running.at, 1);
    CHECK_EQ(queued.at, 0); /* never */
    CHECK_EQ(pthread_join(opener, NULL), 0);
}

/* A disk without end. */

static int on_open(void *self, const char *name, bool create, int *handle)
{
    (void)self, (void)name, (void)create;
    *handle = 0;
    return DLHT_OK;
}

static int on_handle(void *self, int handle)
{
    (void)self, (void)handle;
    return DLHT_OK;
}

static int on_write(void *self, int handle, uint64_t offset, const void *data,
                    size_t len)
{
    (void)self, (void)handle, (void)offset, (void)data, (void)len;
    return DLHT_OK;
}

static atomic_int removed;

static int on_remove(void *self, const char *name)
{
    (void)self, (void)name;
    removed++;
    return DLHT_OK;
}

struct endless {
    atomic_bool started;
    int rc;
};

static void write_without_end(void *data, struct graph_file *file)
{
    struct endless *job = data;
    do {
        job->rc = graph_file_write(file, "more", 4);
        job->started = true;
    } while (job->rc == DLHT_OK);
}

static void a_file_that_is_written_ends_with_the_worker(void)
{
    static const struct disk_calls calls = { .open = on_open,
                                             .close = on_handle,
                                             .write = on_write,
                                             .sync = on_handle,
                                             .remove = on_remove };
    struct endless job = { .rc = DLHT_OK };
    struct job_worker *w = start();
    removed = 0;
    job_worker_set_disk(w, (struct disk){ .calls = &calls });
    job_worker_add_file(w, 1, 7, write_without_end, &job);
    while (!job.started)
        usleep(1000);
    job_worker_free(w);
    CHECK_EQ(job.rc, DLHT_ECLOSED);
    CHECK_EQ(removed, 1); /* what was aside */
}

static void without_a_thread_the_caller_does_it(void)
{
    struct job_worker *w = start();
    create_fails = true;
    struct job first = job_of(NULL), second = job_of(NULL),
               third = job_of(NULL);
    job_worker_add(w, 1, run, &first);
    job_worker_add(w, 2, run, &second);
    CHECK_EQ(first.at, 1);
    CHECK_EQ(second.at, 2);
    CHECK(!first.own_thread && !second.own_thread);
    CHECK(rings(w, 0));
    CHECK_EQ(await(w), 1);
    CHECK(rings(w, 0));   /* for the second */
    create_fails = false; /* the next finds one */
    job_worker_add(w, 3, run, &third);
    CHECK_EQ(await(w), 2);
    CHECK_EQ(await(w), 3);
    CHECK(third.own_thread);
    job_worker_free(w);
}

int main(void)
{
    no_thread_without_a_job();
    jobs_are_done_in_order();
    each_is_reported_when_it_ends();
    the_end_waits_for_the_job_that_runs();
    a_file_that_is_written_ends_with_the_worker();
    without_a_thread_the_caller_does_it();
    return check_done();
}
