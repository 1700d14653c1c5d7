/* SPDX-License-Identifier: Apache-2.0 */

/* store/disk.h - the disk as the store sees it: flat files in one directory.
 *
 * net/ implements it with POSIX calls on a worker thread, the simulator with a
 * disk that tears and forgets what was not synced. What a crash may leave: of
 * bytes written and not synced any subset of 512-byte sectors; of names made,
 * renamed or removed and not followed by disk_sync_names either state. */

#ifndef STORE_DISK_H
#define STORE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"

enum {
    DISK_NAME_MAX = 64 /* bytes, its end included */
};

typedef void (*disk_list_fn)(void *context, const char *name);

/* Every call returns DLHT_OK or DLHT_EIO, DLHT_EFULL (no space),
 * DLHT_ENOTFOUND, DLHT_ENOMEM. Handles are small numbers >= 0. */
struct disk_calls {
    /* Opens for reading and writing; creates if asked, and then the file must
     * not exist or is emptied. */
    int (*open)(void *disk, const char *name, bool create, int *handle);
    int (*close)(void *disk, int handle);
    int (*size)(void *disk, int handle, uint64_t *bytes);
    /* Makes the file that long, zero-filled, with the space reserved. */
    int (*allocate)(void *disk, int handle, uint64_t bytes);
    /* Reads exactly len bytes; DLHT_EIO past the end. */
    int (*read)(void *disk, int handle, uint64_t offset, void *data,
                size_t len);
    int (*write)(void *disk, int handle, uint64_t offset, const void *data,
                 size_t len);
    int (*sync)(void *disk, int handle);
    int (*rename)(void *disk, const char *from, const char *to);
    int (*remove)(void *disk, const char *name);
    int (*list)(void *disk, disk_list_fn fn, void *context);
    /* Makes creations, renames and removals durable. */
    int (*sync_names)(void *disk);
};

struct disk {
    const struct disk_calls *calls;
    void *self;
};

#endif
