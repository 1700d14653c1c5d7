/* SPDX-License-Identifier: Apache-2.0 */

/* Clocks, the scheduler's counts, and sockets of the load generator. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

void load_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("dlht-bench: load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static uint64_t clock_ns(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t load_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

double load_cpu_ns(void)
{
    return (double)clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* Time on a processor and time of waiting for one, in nanoseconds. */
static bool schedstat(const char *path, double *run, double *waited)
{
    FILE *file = fopen(path, "r");
    bool good = file && fscanf(file, "%lf %lf", run, waited) == 2;
    if (file)
        fclose(file);
    return good;
}

double load_waited_ns(void)
{
    double run, waited;
    return schedstat("/proc/thread-self/schedstat", &run, &waited) ? waited : 0;
}

static double process_ns(long pid)
{
    char path[320];
    double sum = 0, run, waited;
    snprintf(path, sizeof path, "/proc/%ld/task", pid);
    DIR *dir = opendir(path);
    if (!dir)
        load_die("there is no process %ld", pid);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%ld/task/%s/schedstat", pid,
                 entry->d_name);
        if (schedstat(path, &run, &waited))
            sum += run;
    }
    closedir(dir);
    return sum;
}

double load_servers_ns(const struct load_options *options)
{
    double sum = 0;
    for (size_t i = 0; i < options->server_count; i++)
        sum += process_ns(options->servers[i]);
    return sum;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof to.sun_path)
        load_die("the path '%s' is too long for a socket", path);
    memcpy(to.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        load_die("cannot connect to %s: %s", path, strerror(errno));
    return fd;
}

static int connect_tcp(const char *to)
{
    char host[256];
    const char *colon = strrchr(to, ':');
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list;
    int fd = -1, on = 1;
    if (!colon || (size_t)(colon - to) >= sizeof host)
        load_die("'%s': HOST:PORT or unix:PATH is meant", to);
    memcpy(host, to, (size_t)(colon - to));
    host[colon - to] = 0;
    int rc = getaddrinfo(host, colon + 1, &hints, &list);
    if (rc != 0)
        load_die("'%s': %s", to, gai_strerror(rc));
    for (struct addrinfo *at = list; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            int why = errno;
            close(fd);
            fd = -1;
            errno = why;
        }
    }
    if (fd < 0)
        load_die("cannot connect to %s: %s", to, strerror(errno));
    freeaddrinfo(list);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

int load_connect(const char *to)
{
    int fd =
        strncmp(to, "unix:", 5) == 0 ? connect_unix(to + 5) : connect_tcp(to);
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
        load_die("a socket cannot be set up: %s", strerror(errno));
    return fd;
}
