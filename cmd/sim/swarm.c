/* SPDX-License-Identifier: Apache-2.0 */

/* Many seeds. Workers run one after the other and say each result through a
 * pipe, so that an assertion in one seed ends that worker only, and its seed is
 * known. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

enum {
    FAILURES_SHOWN_MAX = 20
};

/* What a worker says through its pipe. */
struct news {
    bool begins; /* else it is done */
    struct outcome outcome;
};

struct worker {
    pid_t pid;
    int pipe;
    uint64_t seed; /* that runs now */
    bool busy;
};

struct swarm {
    const struct options *options;
    struct worker workers[JOBS_MAX];
    size_t worker_count;
    uint64_t done, failed, ops, events, longest_ns, whole_ns;
    double virtual_s;
};

static void tell(int pipe, const struct news *news)
{
    if (!attempt_write(pipe, news, sizeof *news))
        _exit(EXIT_BROKEN);
}

/* Every stride-th seed from first on. */
static void work(const struct options *o, uint64_t first, uint64_t stride,
                 int pipe)
{
    signal(SIGINT, SIG_DFL);
    for (uint64_t seed = first; seed <= o->seed_last; seed += stride) {
        struct news news = { .begins = true, .outcome.seed = seed };
        tell(pipe, &news);
        struct scenario_result r;
        attempt(o, seed, &r);
        news.begins = false;
        attempt_outcome(seed, &r, &news.outcome);
        tell(pipe, &news);
    }
    _exit(0);
}

static bool start_worker(struct swarm *s, struct worker *worker, uint64_t first)
{
    int ends[2];
    worker->busy = false;
    if (first > s->options->seed_last)
        return true;
    fflush(stdout);
    if (pipe(ends) != 0 || (worker->pid = fork()) < 0) {
        fprintf(stderr, "dlht-sim: cannot start a worker: %s\n",
                strerror(errno));
        return false;
    }
    if (worker->pid == 0) {
        close(ends[0]);
        work(s->options, first, s->worker_count, ends[1]);
    }
    close(ends[1]);
    worker->pipe = ends[0];
    worker->seed = first;
    worker->busy = true;
    return true;
}

static void note_failure(struct swarm *s, const struct outcome *outcome)
{
    s->failed++;
    print_failure(s->options, outcome);
    fflush(stdout);
}

static void worker_ended(struct swarm *s, struct worker *worker)
{
    int status = 0;
    close(worker->pipe);
    waitpid(worker->pid, &status, 0);
    worker->busy = false;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    struct outcome outcome = { .seed = worker->seed };
    snprintf(outcome.invariant, sizeof outcome.invariant, "%s",
             attempt_invariant(status));
    snprintf(outcome.text, sizeof outcome.text, "status %d", status);
    note_failure(s, &outcome);
    if (!start_worker(s, worker, worker->seed + s->worker_count))
        exit(EXIT_BROKEN);
}

static void hear(struct swarm *s, struct worker *worker)
{
    struct news news;
    if (!attempt_read(worker->pipe, &news, sizeof news)) {
        worker_ended(s, worker);
        return;
    }
    const struct outcome *out = &news.outcome;
    worker->seed = out->seed;
    if (news.begins)
        return;
    s->done++;
    s->ops += out->ops;
    s->events += out->events;
    s->virtual_s += (double)out->virtual_ns / 1e9;
    if (out->longest_ns > s->longest_ns)
        s->longest_ns = out->longest_ns;
    if (out->whole_ns > s->whole_ns)
        s->whole_ns = out->whole_ns;
    if (out->invariant[0])
        note_failure(s, out);
}

static bool goes_on(const struct swarm *s)
{
    if (s->failed >= FAILURES_SHOWN_MAX && !s->options->keep_going)
        return false;
    for (size_t i = 0; i < s->worker_count; i++) {
        if (s->workers[i].busy)
            return true;
    }
    return false;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int verb_swarm(const struct options *o)
{
    static struct swarm s;
    s.options = o;
    s.worker_count = o->jobs;
    double begin = now_s();
    for (size_t i = 0; i < s.worker_count; i++) {
        if (!start_worker(&s, &s.workers[i], o->seed + i))
            return EXIT_BROKEN;
    }
    while (goes_on(&s)) {
        struct pollfd fds[JOBS_MAX];
        for (size_t i = 0; i < s.worker_count; i++)
            fds[i] =
                (struct pollfd){ .fd =
                                     s.workers[i].busy ? s.workers[i].pipe : -1,
                                 .events = POLLIN };
        if (poll(fds, (nfds_t)s.worker_count, -1) < 0 && errno != EINTR)
            return EXIT_BROKEN;
        for (size_t i = 0; i < s.worker_count; i++) {
            if (fds[i].revents && s.workers[i].busy)
                hear(&s, &s.workers[i]);
        }
    }
    for (size_t i = 0; i < s.worker_count; i++) {
        if (s.workers[i].busy)
            kill(s.workers[i].pid, SIGTERM);
    }
    double took = now_s() - begin;
    printf(
        "%s: %llu seeds, %llu failed; %llu requests answered, %.0f virtual "
        "s, longest wait %.3f s, whole at most %.3f s after healing; %.1f s, "
        "%.1f seeds/s\n",
        o->scenario, (unsigned long long)(s.done), (unsigned long long)s.failed,
        (unsigned long long)s.ops, s.virtual_s, (double)s.longest_ns / 1e9,
        (double)s.whole_ns / 1e9, took, (double)s.done / took);
    return s.failed ? EXIT_BROKEN : 0;
}
