/* SPDX-License-Identifier: Apache-2.0 */

/* A disk that syncs slowly, for real nodes: preloaded, each fsync and fdatasync
 * first waits as many milliseconds as the file of $DLHT_SLOW_SYNC says, which
 * others may change meanwhile: 4 bytes, in this machine's order. */

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int fsync(int fd);
int fdatasync(int fd);

static const volatile uint32_t *delay_ms;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("DLHT_SLOW_SYNC");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *page = mmap(NULL, sizeof *delay_ms, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED)
        delay_ms = page;
}

static void wait_first(void)
{
    uint32_t ms = delay_ms ? *delay_ms : 0;
    if (ms == 0)
        return;
    struct timespec left = { .tv_sec = ms / 1000,
                             .tv_nsec = (long)(ms % 1000) * 1000000 };
    nanosleep(&left, NULL);
}

int fsync(int fd)
{
    wait_first();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    wait_first();
    return (int)syscall(SYS_fdatasync, fd);
}
