/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-sim - runs stories of the simulated cluster, one or a swarm of them.
 *
 * A swarm forks workers that run seeds one after the other and say each
 * result through a pipe, so that an assertion in one seed ends that worker
 * only, and its seed is known. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "sim/scenario.h"

enum {
    EXIT_BROKEN = 1,
    EXIT_USAGE = 2,
    JOBS_MAX = 64,
    FAILURES_SHOWN_MAX = 20,
    SEED_SECONDS_MAX = 120, /* of real time for one seed */
    LARGE = 300,            /* peers: scenarios that may take longer */
    LARGE_SECONDS_MAX = 1800
};

static const char HELP[] =
    "dlht-sim list\n"
    "dlht-sim run SCENARIO [--seed N] [--peers N] [--trace] [--progress]\n"
    "dlht-sim swarm [SCENARIO] [--seeds A..B] [--jobs N] [--peers N]\n"
    "               [--keep-going]\n"
    "dlht-sim check FILE\n"
    "\n"
    "Runs a cluster of real nodes on virtual time, with a network, disks and\n"
    "clocks that fail, all drawn from one seed. The same seed gives the same\n"
    "run and the same final hash.\n"
    "\n"
    "  list          the scenarios\n"
    "  run           one seed (default 1) of a scenario\n"
    "  swarm         many seeds (default five_faults, 1..100)\n"
    "  check         whether a history of clients of real nodes, a JSON "
    "object\n"
    "                a line (sim/transcript.h), is linearizable\n"
    "\n"
    "  --seed N      the seed\n"
    "  --seeds A..B  the seeds, both included\n"
    "  --peers N     instead of the scenario's own number of peers\n"
    "  --jobs N      processes (default: one per processor)\n"
    "  --keep-going  do not stop at the first failures\n"
    "  --trace       print everything that happens\n"
    "  --progress    say each second of a run to stderr\n"
    "\n"
    "Exit status: 0 all held, 1 an invariant was broken, 2 usage.\n";

struct options {
    const char *scenario;
    uint64_t seed, seed_last;
    size_t peers;
    size_t jobs;
    bool trace;
    bool keep_going;
    bool progress;
};

/* For the handler of signals: the seed that runs now. */
static const char *volatile now_scenario;
static volatile uint64_t now_seed;
static volatile size_t now_peers;

static void replay_command(char *text, size_t size, const char *scenario,
                           uint64_t seed, size_t peers)
{
    int n = snprintf(text, size, "dlht-sim run %s --seed %llu", scenario,
                     (unsigned long long)seed);
    if (peers && n > 0 && (size_t)n < size)
        snprintf(text + n, size - (size_t)n, " --peers %zu", peers);
}

static void on_signal(int number)
{
    char replay[200], text[400];
    replay_command(replay, sizeof replay, now_scenario, now_seed, now_peers);
    int n = snprintf(text, sizeof text, "seed %llu broke %s\nreplay: %s\n",
                     (unsigned long long)now_seed,
                     number == SIGALRM ? "time" : "assertion", replay);
    ssize_t ignored = write(STDERR_FILENO, text, (size_t)n);
    (void)ignored;
    _exit(number == SIGALRM ? EXIT_BROKEN : 128 + number);
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

static void run_seed(const struct options *o, uint64_t seed,
                     struct scenario_result *result)
{
    struct scenario_options options = { .seed = seed,
                                        .peers = o->peers,
                                        .trace = o->trace ? print_line : NULL,
                                        .progress =
                                            o->progress ? on_progress : NULL };
    now_scenario = o->scenario;
    now_seed = seed;
    now_peers = o->peers;
    if (!o->trace)
        alarm(scenario_find(o->scenario)->peers < LARGE ? SEED_SECONDS_MAX
                                                        : LARGE_SECONDS_MAX);
    scenario_run(scenario_find(o->scenario), &options, result);
    alarm(0);
}

static void print_failure(const struct options *o, uint64_t seed,
                          const char *invariant, const char *text)
{
    char replay[200];
    replay_command(replay, sizeof replay, o->scenario, seed, o->peers);
    printf("seed %llu broke %s: %s\nreplay: %s\n", (unsigned long long)seed,
           invariant, text, replay);
}

static int verb_list(void)
{
    for (size_t i = 0; i < scenario_count(); i++) {
        const struct scenario *s = scenario_at(i);
        printf("%-16s %4zu peers  %s\n", s->name, s->peers, s->summary);
    }
    return 0;
}

/* Of this process: the nodes and the world around them. */
static void say_cost(const struct options *o, const struct scenario_result *r)
{
    struct rusage usage;
    size_t peers = o->peers ? o->peers : scenario_find(o->scenario)->peers;
    if (getrusage(RUSAGE_SELF, &usage) != 0 || r->virtual_ns == 0)
        return;
    double seconds =
        (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec;
    printf("cost: %.0f s of a processor, %ld MiB at most, %ld KiB a peer\n",
           seconds, usage.ru_maxrss / 1024, usage.ru_maxrss / (long)peers);
}

static int verb_run(const struct options *o)
{
    struct scenario_result r;
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
    run_seed(o, o->seed, &r);
    printf(
        "%s seed %llu: %.1f virtual s, %llu events, %llu frames, %llu "
        "syncs, %llu crashes\n",
        o->scenario, (unsigned long long)o->seed, (double)r.virtual_ns / 1e9,
        (unsigned long long)r.stats.events, (unsigned long long)r.stats.frames,
        (unsigned long long)r.stats.syncs, (unsigned long long)r.stats.crashes);
    printf("requests: %llu answered, %llu unknown, %llu failed, longest wait "
           "%.3f s; whole %.3f s after healing\n",
           (unsigned long long)r.ops, (unsigned long long)r.unknown,
           (unsigned long long)r.failed, (double)r.longest_ns / 1e9,
           (double)r.whole_ns / 1e9);
    if (r.remark[0])
        printf("%s%s", r.remark,
               r.remark[strlen(r.remark) - 1] == '\n' ? "" : "\n");
    say_cost(o, &r);
    printf("hash %016llx\n", (unsigned long long)r.hash);
    if (!r.invariant)
        return 0;
    print_failure(o, o->seed, r.invariant, r.text);
    return EXIT_BROKEN;
}

/* What a worker says through its pipe. */
struct news {
    uint64_t seed;
    bool begins; /* else it is done */
    char invariant[32];
    char text[300];
    uint64_t hash, virtual_ns, ops, events, longest_ns, whole_ns;
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
    uint64_t seed_next;
    uint64_t done, failed, ops, events, longest_ns, whole_ns;
    double virtual_s;
};

static void tell(int pipe, const struct news *news)
{
    const char *at = (const char *)news;
    size_t left = sizeof *news;
    while (left > 0) {
        ssize_t n = write(pipe, at, left);
        if (n <= 0)
            _exit(EXIT_BROKEN);
        at += n;
        left -= (size_t)n;
    }
}

/* Every stride-th seed from first on. */
static void work(const struct options *o, uint64_t first, uint64_t stride,
                 int pipe)
{
    signal(SIGINT, SIG_DFL);
    for (uint64_t seed = first; seed <= o->seed_last; seed += stride) {
        struct news news = { .seed = seed, .begins = true };
        tell(pipe, &news);
        struct scenario_result r;
        run_seed(o, seed, &r);
        news.begins = false;
        if (r.invariant) {
            snprintf(news.invariant, sizeof news.invariant, "%s", r.invariant);
            snprintf(news.text, sizeof news.text, "%.299s", r.text);
        }
        news.hash = r.hash;
        news.virtual_ns = r.virtual_ns;
        news.ops = r.ops;
        news.events = r.stats.events;
        news.longest_ns = r.longest_ns;
        news.whole_ns = r.whole_ns;
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

static void note_failure(struct swarm *s, uint64_t seed, const char *invariant,
                         const char *text)
{
    s->failed++;
    print_failure(s->options, seed, invariant, text);
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
    char text[64] = "the worker ended";
    const char *invariant = "process";
    if (WIFSIGNALED(status)) {
        invariant = WTERMSIG(status) == SIGALRM ? "time" : "assertion";
        snprintf(text, sizeof text, "signal %d", WTERMSIG(status));
    }
    note_failure(s, worker->seed, invariant, text);
    if (!start_worker(s, worker, worker->seed + s->worker_count))
        exit(EXIT_BROKEN);
}

static void hear(struct swarm *s, struct worker *worker)
{
    struct news news;
    char *at = (char *)&news;
    size_t left = sizeof news;
    while (left > 0) {
        ssize_t n = read(worker->pipe, at, left);
        if (n <= 0) {
            worker_ended(s, worker);
            return;
        }
        at += n;
        left -= (size_t)n;
    }
    worker->seed = news.seed;
    if (news.begins)
        return;
    s->done++;
    s->ops += news.ops;
    s->events += news.events;
    s->virtual_s += (double)news.virtual_ns / 1e9;
    if (news.longest_ns > s->longest_ns)
        s->longest_ns = news.longest_ns;
    if (news.whole_ns > s->whole_ns)
        s->whole_ns = news.whole_ns;
    if (news.invariant[0])
        note_failure(s, news.seed, news.invariant, news.text);
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

static int verb_swarm(const struct options *o)
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

static int usage(const char *what, const char *about)
{
    fprintf(stderr, "dlht-sim: %s%s; see dlht-sim --help\n", what, about);
    return EXIT_USAGE;
}

static bool read_number(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-')
        return false;
    *out = n;
    return true;
}

static bool read_seeds(const char *text, struct options *o)
{
    char first[32];
    const char *dots = strstr(text, "..");
    if (!dots || (size_t)(dots - text) >= sizeof first)
        return false;
    memcpy(first, text, (size_t)(dots - text));
    first[dots - text] = 0;
    return read_number(first, &o->seed) &&
           read_number(dots + 2, &o->seed_last) && o->seed <= o->seed_last;
}

static bool read_option(struct options *o, const char *name, const char *value)
{
    uint64_t n;
    if (strcmp(name, "--seeds") == 0)
        return read_seeds(value, o);
    if (!read_number(value, &n))
        return false;
    if (strcmp(name, "--seed") == 0) {
        o->seed = n;
        return true;
    }
    if (strcmp(name, "--peers") == 0) {
        o->peers = (size_t)n;
        return n > 0 && n <= WORLD_PEERS_MAX;
    }
    if (strcmp(name, "--jobs") == 0) {
        o->jobs = (size_t)n;
        return n > 0 && n <= JOBS_MAX;
    }
    return false;
}

static bool takes_value(const char *name)
{
    static const char *const NAMES[] = { "--seed", "--seeds", "--peers",
                                         "--jobs" };
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(name, NAMES[i]) == 0)
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct options o = { .seed = 1, .seed_last = 100, .jobs = 1 };
    if (processors > 0 && processors < JOBS_MAX)
        o.jobs = (size_t)processors;
    if (argc < 2)
        return usage("a verb is missing", "");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(HELP, stdout);
        return 0;
    }
    if (strcmp(argv[1], "check") == 0)
        return argc == 3 ? check_file(argv[2]) : usage("one file is meant", "");
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(HELP, stdout);
            return 0;
        }
        if (strcmp(argv[i], "--trace") == 0) {
            o.trace = true;
        } else if (strcmp(argv[i], "--progress") == 0) {
            o.progress = true;
        } else if (strcmp(argv[i], "--keep-going") == 0) {
            o.keep_going = true;
        } else if (takes_value(argv[i])) {
            if (i + 1 == argc)
                return usage("no value for ", argv[i]);
            if (!read_option(&o, argv[i], argv[i + 1]))
                return usage("bad value for ", argv[i]);
            i++;
        } else if (argv[i][0] == '-' || o.scenario) {
            return usage("unknown option ", argv[i]);
        } else {
            o.scenario = argv[i];
        }
    }
    if (strcmp(argv[1], "list") == 0)
        return verb_list();
    bool swarm = strcmp(argv[1], "swarm") == 0;
    if (!swarm && strcmp(argv[1], "run") != 0)
        return usage("unknown verb ", argv[1]);
    if (!o.scenario && !swarm)
        return usage("a scenario is missing", "");
    if (!o.scenario)
        o.scenario = "five_faults";
    if (!scenario_find(o.scenario))
        return usage("no such scenario: ", o.scenario);
    return swarm ? verb_swarm(&o) : verb_run(&o);
}
