/* SPDX-License-Identifier: Apache-2.0 */

/* One seed, in this process or in a child. */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

enum {
    SEED_SECONDS_MAX = 120, /* of a processor for one seed: on a busy machine
                             * it may take much longer */
    LARGE = 200,            /* peers: scenarios that may take longer */
    LARGE_SECONDS_MAX = 1800
};

/* For the handler of signals: the seed that runs now. */
static const struct options *volatile now_options;
static volatile uint64_t now_seed;

/* The world is over, so it may print as it likes. */
static void on_signal(int number)
{
    char replay[COMMAND_MAX], text[COMMAND_MAX + 100];
    /* NOLINTBEGIN(bugprone-signal-handler,cert-sig30-c) */
    words_say(now_options, now_seed, replay, sizeof replay);
    int n = snprintf(text, sizeof text,
                     "seed %llu broke %s\nreplay: dlht-sim run %s\n",
                     (unsigned long long)now_seed,
                     number == SIGPROF ? "time" : "assertion", replay);
    /* NOLINTEND(bugprone-signal-handler,cert-sig30-c) */
    ssize_t ignored = write(STDERR_FILENO, text, (size_t)n);
    (void)ignored;
    _exit(number == SIGPROF ? EXIT_BROKEN : 128 + number);
}

void attempt_say_signals(void)
{
    signal(SIGABRT, on_signal);
    signal(SIGPROF, on_signal);
}

static void print_line(void *context, const char *line)
{
    (void)context;
    puts(line);
}

/* Where a long run is, once a second of it. */
static void on_progress(uint64_t virtual_ns)
{
    static uint64_t said;
    if (virtual_ns / 1000000000 == said)
        return;
    said = virtual_ns / 1000000000;
    fprintf(stderr, "%llu virtual s, %.1f s of a processor\n",
            (unsigned long long)said, (double)clock() / CLOCKS_PER_SEC);
}

static void allow(long seconds)
{
    struct itimerval timer = { .it_value.tv_sec = seconds };
    (void)setitimer(ITIMER_PROF, &timer, NULL);
}

void attempt(const struct options *o, uint64_t seed,
             struct scenario_result *result)
{
    struct scenario_options options = { .seed = seed,
                                        .knobs = o->knobs,
                                        .trace = o->trace ? print_line : NULL,
                                        .progress =
                                            o->progress ? on_progress : NULL };
    now_options = o;
    now_seed = seed;
    const struct scenario *scenario = scenario_find(o->scenario);
    if (!o->trace)
        allow(scenario->peers < LARGE ? SEED_SECONDS_MAX : LARGE_SECONDS_MAX);
    scenario_run(scenario, &options, result);
    allow(0);
}

void attempt_outcome(uint64_t seed, const struct scenario_result *r,
                     struct outcome *out)
{
    *out = (struct outcome){ .seed = seed,
                             .hash = r->hash,
                             .virtual_ns = r->virtual_ns,
                             .ops = r->ops,
                             .events = r->stats.events,
                             .longest_ns = r->longest_ns,
                             .whole_ns = r->whole_ns,
                             .drawn = r->drawn };
    if (!r->invariant)
        return;
    snprintf(out->invariant, sizeof out->invariant, "%s", r->invariant);
    snprintf(out->text, sizeof out->text, "%.299s", r->text);
}

const char *attempt_invariant(int status)
{
    if (!WIFSIGNALED(status))
        return "process";
    return WTERMSIG(status) == SIGPROF ? "time" : "assertion";
}

bool attempt_write(int pipe, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t n = write(pipe, at, size);
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

bool attempt_read(int pipe, void *data, size_t size)
{
    char *at = data;
    while (size > 0) {
        ssize_t n = read(pipe, at, size);
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static void hush(void)
{
    int null = open("/dev/null", O_WRONLY);
    if (null >= 0) {
        dup2(null, STDERR_FILENO);
        close(null);
    }
}

bool attempt_apart(const struct options *o, uint64_t seed, bool quiet,
                   struct outcome *out)
{
    int ends[2], status = 0;
    pid_t pid;
    fflush(stdout);
    if (pipe(ends) != 0 || (pid = fork()) < 0) {
        perror("dlht-sim: cannot start a child");
        return false;
    }
    if (pid == 0) {
        struct scenario_result r;
        close(ends[0]);
        if (quiet)
            hush();
        attempt(o, seed, &r);
        attempt_outcome(seed, &r, out);
        _exit(attempt_write(ends[1], out, sizeof *out) ? 0 : EXIT_BROKEN);
    }
    close(ends[1]);
    bool heard = attempt_read(ends[0], out, sizeof *out);
    close(ends[0]);
    waitpid(pid, &status, 0);
    if (heard)
        return true;
    *out = (struct outcome){ .seed = seed, .drawn = o->knobs };
    snprintf(out->invariant, sizeof out->invariant, "%s",
             attempt_invariant(status));
    return true;
}
