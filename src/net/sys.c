/* SPDX-License-Identifier: Apache-2.0 */

/* The few calls of the system that are no sockets and no files. */

#include "net/sys.h"

#include <assert.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum {
    SYS_HUGE = 2 << 20
};

uint64_t sys_now_ns(void)
{
    struct timespec t;
    int rc = clock_gettime(CLOCK_BOOTTIME, &t);
    assert(rc == 0);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t sys_wall_us(void)
{
    struct timespec t;
    int rc = clock_gettime(CLOCK_REALTIME, &t);
    assert(rc == 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t sys_memory(void)
{
    char line[128] = "", *end;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (!fgets(line, sizeof line, f))
        line[0] = '\0';
    fclose(f);
    (void)strtoull(line, &end, 10); /* of the address space */
    uint64_t resident = strtoull(end, NULL, 10);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

size_t sys_processors(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    /* Fails where there are more than the set can name. */
    if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < 1)
        return 1;
    return (size_t)CPU_COUNT(&set);
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

static void *sys_map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void sys_unmap(void *memory, size_t size)
{
    int rc = size ? munmap(memory, size) : 0;
    assert(rc == 0);
    (void)rc;
}

/* Mappings lie one beside the other, so the first try mostly is aligned once
 * one was. */
static uint8_t *sys_map_aligned(size_t size)
{
    uint8_t *memory = sys_map(size);
    if (!memory || (uintptr_t)memory % SYS_HUGE == 0)
        return memory;
    sys_unmap(memory, size);
    memory = sys_map(size + SYS_HUGE);
    if (!memory)
        return NULL;
    size_t before = (SYS_HUGE - (uintptr_t)memory % SYS_HUGE) % SYS_HUGE;
    sys_unmap(memory, before);
    sys_unmap(memory + before + size, SYS_HUGE - before);
    return memory + before;
}

static size_t sys_page_size(void)
{
    long size = sysconf(_SC_PAGESIZE);
    return size > 0 ? (size_t)size : 4096;
}

/* Up to a multiple of unit, a power of two; 0: there is none. */
static size_t sys_round(size_t size, size_t unit)
{
    return size > SIZE_MAX / 2 ? 0 : (size + unit - 1) & ~(unit - 1);
}

static void *sys_take(void *self, size_t size)
{
    (void)self;
    size_t room = sys_round(size, size < SYS_HUGE ? 64 : sys_page_size());
    if (room == 0)
        return NULL;
    if (size < SYS_HUGE)
        return aligned_alloc(64, room);
    uint8_t *memory = sys_map_aligned(room);
    /* The rest behind the last whole stretch would cost 2 MiB, too. */
    if (memory)
        (void)madvise(memory, room & ~(size_t)(SYS_HUGE - 1), MADV_HUGEPAGE);
    return memory;
}

static void sys_give(void *self, void *memory, size_t size)
{
    (void)self;
    if (size < SYS_HUGE)
        free(memory);
    else
        sys_unmap(memory, sys_round(size, sys_page_size()));
}

const struct records_pages *sys_pages(void)
{
    static const struct records_pages pages = { sys_take, sys_give, NULL };
    return &pages;
}
