/* SPDX-License-Identifier: Apache-2.0 */

/* The few calls of the system that are no sockets and no files. */

#include "net/sys.h"

#include <assert.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

uint64_t sys_now_ns(void)
{
    struct timespec t;
    int rc = clock_gettime(CLOCK_BOOTTIME, &t);
    assert(rc == 0);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t sys_random(void)
{
    uint64_t value = 0;
    ssize_t n = getrandom(&value, sizeof value, 0);
    assert(n == (ssize_t)sizeof value);
    return value;
}

int sys_bell_new(void)
{
    return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

void sys_bell_ring(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n; /* full: it is ringing already */
}

void sys_bell_clear(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);
    (void)n;
}
