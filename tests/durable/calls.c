/* SPDX-License-Identifier: Apache-2.0 */

/* Standing before the system. */

#include "durable/calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static _Atomic int which = -1;
static _Atomic int how;
static _Atomic uint64_t left;
static _Atomic bool happened, fills, full;

void calls_fail(enum call_name name, uint64_t n, int error)
{
    which = (int)name;
    how = error;
    happened = fills = full = false;
    left = n;
}

void calls_fill_disk(enum call_name name, uint64_t n)
{
    calls_fail(name, n, ENOSPC);
    fills = true;
}

bool calls_happened(void)
{
    return happened;
}

const char *calls_name(enum call_name name)
{
    static const char *const NAMES[] = {
#define CALLS_NAME(name) #name,
        CALLS(CALLS_NAME)
#undef CALLS_NAME
    };
    return NAMES[name];
}

/* 0: it goes on; else an errno, CALL_SHORT or CALL_END. */
static int verdict(enum call_name name)
{
    bool room = name == CALL_pwrite || name == CALL_posix_fallocate;
    if (full && room)
        return ENOSPC;
    if (which != (int)name || left == 0)
        return 0;
    uint64_t before = atomic_fetch_sub(&left, 1);
    if (before != 1) {
        if (before == 0)
            left = 0;
        return 0;
    }
    happened = true;
    full = fills;
    return how;
}

/* Fails with errno set, or goes on. */
#define OR_FAIL(name, real)                                                    \
    int error = verdict(CALL_##name);                                          \
    if (error > 0) {                                                           \
        errno = error;                                                         \
        return -1;                                                             \
    }                                                                          \
    return real

#define WRAP(type, name, ...)                                                  \
    type __real_##name(__VA_ARGS__);                                           \
    type __wrap_##name(__VA_ARGS__);                                           \
    type __wrap_##name(__VA_ARGS__)

WRAP(int, accept4, int fd, struct sockaddr *a, socklen_t *len, int flags)
{
    OR_FAIL(accept4, __real_accept4(fd, a, len, flags));
}

WRAP(int, bind, int fd, const struct sockaddr *a, socklen_t len)
{
    OR_FAIL(bind, __real_bind(fd, a, len));
}

/* The descriptor is gone all the same, as on Linux. */
WRAP(int, close, int fd)
{
    int error = verdict(CALL_close);
    int rc = __real_close(fd);
    if (error <= 0)
        return rc;
    errno = error;
    return -1;
}

WRAP(int, connect, int fd, const struct sockaddr *a, socklen_t len)
{
    OR_FAIL(connect, __real_connect(fd, a, len));
}

WRAP(int, eventfd, unsigned count, int flags)
{
    OR_FAIL(eventfd, __real_eventfd(count, flags));
}

WRAP(int, fdatasync, int fd)
{
    OR_FAIL(fdatasync, __real_fdatasync(fd));
}

WRAP(int, flock, int fd, int what)
{
    OR_FAIL(flock, __real_flock(fd, what));
}

WRAP(int, fstat, int fd, struct stat *out)
{
    OR_FAIL(fstat, __real_fstat(fd, out));
}

WRAP(int, fsync, int fd)
{
    OR_FAIL(fsync, __real_fsync(fd));
}

WRAP(int, ftruncate, int fd, off_t len)
{
    OR_FAIL(ftruncate, __real_ftruncate(fd, len));
}

WRAP(int, getsockopt, int fd, int level, int name, void *out, socklen_t *len)
{
    OR_FAIL(getsockopt, __real_getsockopt(fd, level, name, out, len));
}

WRAP(int, listen, int fd, int count)
{
    OR_FAIL(listen, __real_listen(fd, count));
}

WRAP(int, mkdir, const char *path, mode_t mode)
{
    OR_FAIL(mkdir, __real_mkdir(path, mode));
}

WRAP(int, renameat, int from_dir, const char *from, int to_dir, const char *to)
{
    OR_FAIL(renameat, __real_renameat(from_dir, from, to_dir, to));
}

WRAP(int, setsockopt, int fd, int level, int name, const void *v, socklen_t len)
{
    OR_FAIL(setsockopt, __real_setsockopt(fd, level, name, v, len));
}

WRAP(int, socket, int domain, int type, int protocol)
{
    OR_FAIL(socket, __real_socket(domain, type, protocol));
}

WRAP(int, unlinkat, int dir, const char *path, int flags)
{
    OR_FAIL(unlinkat, __real_unlinkat(dir, path, flags));
}

/* Says the error itself, and leaves errno alone. */
WRAP(int, posix_fallocate, int fd, off_t offset, off_t len)
{
    int error = verdict(CALL_posix_fallocate);
    return error > 0 ? error : __real_posix_fallocate(fd, offset, len);
}

WRAP(DIR *, fdopendir, int fd)
{
    int error = verdict(CALL_fdopendir);
    if (error <= 0)
        return __real_fdopendir(fd);
    errno = error;
    return NULL;
}

WRAP(struct dirent *, readdir, DIR *dir)
{
    int error = verdict(CALL_readdir);
    if (error <= 0)
        return __real_readdir(dir);
    errno = error;
    return NULL;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);

static mode_t mode_of(int flags, va_list args)
{
    return flags & O_CREAT ? (mode_t)va_arg(args, int) : 0;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    OR_FAIL(open, __real_open(path, flags, mode));
}

int __wrap_openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    OR_FAIL(openat, __real_openat(dir, path, flags, mode));
}

/* Bytes to move: all, half of them, or none. */
static bool cut(enum call_name name, size_t *len, int *error)
{
    *error = verdict(name);
    if (*error == CALL_SHORT)
        *len = (*len + 1) / 2;
    if (*error > 0)
        errno = *error;
    return *error <= 0;
}

WRAP(ssize_t, pread, int fd, void *data, size_t len, off_t offset)
{
    int error;
    if (!cut(CALL_pread, &len, &error))
        return -1;
    return error == CALL_END ? 0 : __real_pread(fd, data, len, offset);
}

/* A failed write may have written a part. */
WRAP(ssize_t, pwrite, int fd, const void *data, size_t len, off_t offset)
{
    int error;
    size_t half = len / 2;
    if (cut(CALL_pwrite, &len, &error))
        return __real_pwrite(fd, data, len, offset);
    error = errno;
    if (half && error != EINTR) {
        ssize_t ignored = __real_pwrite(fd, data, half, offset);
        (void)ignored;
    }
    errno = error;
    return -1;
}

WRAP(ssize_t, recv, int fd, void *data, size_t len, int flags)
{
    int error;
    if (!cut(CALL_recv, &len, &error))
        return -1;
    if (error == CALL_SHORT)
        len = 1;
    return error == CALL_END ? 0 : __real_recv(fd, data, len, flags);
}

WRAP(ssize_t, send, int fd, const void *data, size_t len, int flags)
{
    int error;
    if (!cut(CALL_send, &len, &error))
        return -1;
    return __real_send(fd, data, len, flags);
}
