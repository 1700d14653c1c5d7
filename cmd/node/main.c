/* SPDX-License-Identifier: Apache-2.0 */

/* dlht-node: one peer of a cluster as a process. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <dlht/dlht.h>

#include "options.h"

enum {
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_CANNOT_JOIN = 3,
    EXIT_DAMAGED = 4,
    WATCH_MS = 500 /* how soon it is noticed that the node stopped by itself */
};

static const char *const level_names[] = { "debug", "info", "warning",
                                           "error" };

static void time_text(char *out, size_t size)
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out + n, size - n, ".%03ldZ", now.tv_nsec / 1000000);
}

static void log_text(void *context, enum dlht_log_level level, const char *text)
{
    (void)context;
    char when[40];
    time_text(when, sizeof when);
    fprintf(stderr, "%s %-7s %s\n", when, level_names[level], text);
}

/* text as a JSON string's inside; cut to fit. */
static void json_escape(char *out, size_t size, const char *text)
{
    size_t at = 0;
    for (; *text && at + 7 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            at += (size_t)snprintf(out + at, size - at, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            at += (size_t)snprintf(out + at, size - at, "\\u%04x", c);
        else
            out[at++] = (char)c;
    }
    out[at] = 0;
}

static void log_json(void *context, enum dlht_log_level level, const char *text)
{
    (void)context;
    char when[40], safe[2048];
    time_text(when, sizeof when);
    json_escape(safe, sizeof safe, text);
    fprintf(stderr, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":\"%s\"}\n",
            when, level_names[level], safe);
}

static int exit_code_of(int code)
{
    switch (code) {
    case DLHT_OK:
        return EXIT_SUCCESS;
    case DLHT_EINVAL:
    case DLHT_EBUSY:
    case DLHT_EVERSION:
        return EXIT_USAGE;
    case DLHT_EUNAVAILABLE:
    case DLHT_ECLUSTER:
    case DLHT_EREFUSED:
        return EXIT_CANNOT_JOIN;
    case DLHT_ECORRUPT:
        return EXIT_DAMAGED;
    default:
        return EXIT_FAILED;
    }
}

/* Thousands of connections need as many descriptors. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* While the node starts there is nothing to hand over. */
static void on_early_signal(int number)
{
    (void)number;
    _exit(EXIT_SUCCESS);
}

/* Until a signal asks for the end, or the node has ended by itself. */
static int watch(struct dlht *node, const sigset_t *signals)
{
    const struct timespec pause = { 0, WATCH_MS * 1000000L };
    struct dlht_error error;
    for (;;) {
        if (sigtimedwait(signals, NULL, &pause) > 0)
            return EXIT_SUCCESS;
        if (!dlht_has_stopped(node, &error))
            continue;
        if (error.code != DLHT_OK)
            fprintf(stderr, "dlht-node: %s\n", error.text);
        return exit_code_of(error.code);
    }
}

static int run(const struct options *options)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    signal(SIGTERM, on_early_signal);
    signal(SIGINT, on_early_signal);
    struct dlht *node;
    struct dlht_error error;
    int rc = dlht_open(&options->config, &node, &error);
    if (rc != DLHT_OK) {
        fprintf(stderr, "dlht-node: %s\n", error.text);
        return exit_code_of(rc);
    }
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (!options->config.data_dir && options->config.log_level <= DLHT_LOG_INFO)
        options->config.log(NULL, DLHT_LOG_INFO,
                            "no --data-dir: everything is kept in memory and "
                            "lost when this node stops");
    printf("ready %s\n", dlht_address(node));
    fflush(stdout);
    int code = watch(node, &signals);
    dlht_close(node);
    return code;
}

int main(int argc, char **argv)
{
    struct options options;
    int code = EXIT_SUCCESS;
    signal(SIGPIPE, SIG_IGN);
    if (!options_parse(&options, argc, argv)) {
        fprintf(stderr, "dlht-node: %s\n", options.error);
        code = EXIT_USAGE;
    } else if (options.help) {
        options_print_help();
    } else if (options.version) {
        printf("dlht-node %s\n", DLHT_VERSION_TEXT);
    } else {
        options.config.log = options.log_json ? log_json : log_text;
        raise_file_limit();
        code = run(&options);
    }
    options_free(&options);
    return code;
}
