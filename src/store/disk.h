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
    /* Makes an empty file that long, zero-filled, with the space reserved. */
    int (*allocate)(void *disk, int handle, uint64_t bytes);
    /* Bytes that may still be allocated, as far as is known now. */
    int (*room)(void *disk, uint64_t *bytes);
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

/* The calls by name; each is described above. */

MUST_USE static inline int disk_open(struct disk d, const char *name,
                                     bool create, int *handle)
{
    return d.calls->open(d.self, name, create, handle);
}

static inline int disk_close(struct disk d, int handle)
{
    return d.calls->close(d.self, handle);
}

MUST_USE static inline int disk_size(struct disk d, int handle, uint64_t *bytes)
{
    return d.calls->size(d.self, handle, bytes);
}

MUST_USE static inline int disk_allocate(struct disk d, int handle,
                                         uint64_t bytes)
{
    return d.calls->allocate(d.self, handle, bytes);
}

MUST_USE static inline int disk_room(struct disk d, uint64_t *bytes)
{
    return d.calls->room(d.self, bytes);
}

MUST_USE static inline int disk_read(struct disk d, int handle, uint64_t offset,
                                     void *data, size_t len)
{
    return d.calls->read(d.self, handle, offset, data, len);
}

MUST_USE static inline int disk_write(struct disk d, int handle,
                                      uint64_t offset, const void *data,
                                      size_t len)
{
    return d.calls->write(d.self, handle, offset, data, len);
}

MUST_USE static inline int disk_sync(struct disk d, int handle)
{
    return d.calls->sync(d.self, handle);
}

MUST_USE static inline int disk_rename(struct disk d, const char *from,
                                       const char *to)
{
    return d.calls->rename(d.self, from, to);
}

MUST_USE static inline int disk_remove(struct disk d, const char *name)
{
    return d.calls->remove(d.self, name);
}

MUST_USE static inline int disk_list(struct disk d, disk_list_fn fn,
                                     void *context)
{
    return d.calls->list(d.self, fn, context);
}

MUST_USE static inline int disk_sync_names(struct disk d)
{
    return d.calls->sync_names(d.self);
}

#endif
