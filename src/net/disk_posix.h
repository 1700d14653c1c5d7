/* SPDX-License-Identifier: Apache-2.0 */

/* net/disk_posix.h - the store's disk as a directory of this machine.
 *
 * One process at a time: the file "lock" in it is locked as long as it is
 * open; the lock goes with the process, however that ends. Calls block, so
 * they belong on a worker thread; not for two threads at once. */

#ifndef NET_DISK_POSIX_H
#define NET_DISK_POSIX_H

#include <stddef.h>

#include "base/must_use.h"
#include "store/disk.h"

enum {
    DISK_POSIX_WHY_MAX = 256 /* bytes of a message, its end included */
};

struct disk_posix;

/* Opens the directory, making it (but no parents) if there is none. On failure
 * *out is NULL and why is a line for a human: what was tried, on what, and the
 * system's text.
 *   DLHT_EBUSY     another process has it open
 *   DLHT_ENOTFOUND a parent is missing
 *   DLHT_EIO, DLHT_EFULL, DLHT_ENOMEM */
MUST_USE int disk_posix_open(const char *directory, struct disk_posix **out,
                             char why[DISK_POSIX_WHY_MAX]);

/* The same directory for another thread, which uses other files of it; it must
 * be closed before the first, whose lock it has no part in. DLHT_EIO,
 * DLHT_ENOMEM */
MUST_USE int disk_posix_share(const struct disk_posix *disk,
                              struct disk_posix **out);

/* Closes all handles and gives up the lock; NULL is allowed. */
void disk_posix_close(struct disk_posix *disk);

/* The calls; valid until disk_posix_close. */
struct disk disk_posix_disk(struct disk_posix *disk);

/* The last failure of a call as a line for a human ("fdatasync
 * journal-0000000000000001: Input/output error"); "" if there was none. */
const char *disk_posix_why(const struct disk_posix *disk);

#endif
