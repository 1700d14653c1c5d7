/* SPDX-License-Identifier: Apache-2.0 */

/* tests/durable/calls.h - calls of the system that fail. The program is linked
 * with --wrap for each of them (CMakeLists.txt has the list). */

#ifndef TESTS_DURABLE_CALLS_H
#define TESTS_DURABLE_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#define CALLS(X)                                                               \
    X(accept4)                                                                 \
    X(bind)                                                                    \
    X(close)                                                                   \
    X(connect)                                                                 \
    X(eventfd)                                                                 \
    X(fdatasync)                                                               \
    X(fdopendir)                                                               \
    X(flock)                                                                   \
    X(fstat)                                                                   \
    X(fsync)                                                                   \
    X(ftruncate)                                                               \
    X(getsockopt)                                                              \
    X(listen)                                                                  \
    X(mkdir)                                                                   \
    X(open)                                                                    \
    X(openat)                                                                  \
    X(posix_fallocate)                                                         \
    X(pread)                                                                   \
    X(pwrite)                                                                  \
    X(readdir)                                                                 \
    X(recv)                                                                    \
    X(renameat)                                                                \
    X(send)                                                                    \
    X(setsockopt)                                                              \
    X(socket)                                                                  \
    X(unlinkat)

enum call_name {
#define CALLS_ENUM(name) CALL_##name,
    CALLS(CALLS_ENUM)
#undef CALLS_ENUM
    CALL_COUNT
};

enum {
    CALL_SHORT = -1, /* instead of an errno: half of it is done */
    CALL_END = -2    /* the end of the file, or of the link */
};

/* The n-th call of that name from now on fails with that errno; 0: none. Of
 * any thread. */
void calls_fail(enum call_name name, uint64_t n, int error);

/* It and each after it of any name that needs room on the disk, until
 * calls_fail is called again. */
void calls_fill_disk(enum call_name name, uint64_t n);

/* Whether what was asked for last has come about. */
bool calls_happened(void);

const char *calls_name(enum call_name name);

#endif
