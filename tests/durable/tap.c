/* SPDX-License-Identifier: Apache-2.0 */

/* Each call of the disk, passed on. */

#include "durable/tap.h"

#include "dlht/err.h"

static int before(struct tap *tap, enum tap_call call)
{
    int rc = tap->before ? tap->before(tap->context, call) : DLHT_OK;
    if (rc == DLHT_OK && tap->inside)
        tap->inside(true);
    return rc;
}

static int leave(const struct tap *tap, int rc)
{
    if (tap->inside)
        tap->inside(false);
    return rc;
}

static int after(struct tap *tap, enum tap_call call, int rc)
{
    leave(tap, rc);
    if (tap->after)
        tap->after(tap->context, call);
    return rc;
}

static int tap_open(void *self, const char *name, bool create, int *handle)
{
    struct tap *tap = self;
    enum tap_call call = create ? TAP_CREATE : TAP_OPEN;
    int rc = before(tap, call);
    if (rc != DLHT_OK)
        return rc;
    rc = disk_open(tap->inner, name, create, handle);
    return after(tap, call, rc);
}

static int tap_close(void *self, int handle)
{
    struct tap *tap = self;
    if (tap->inside)
        tap->inside(true);
    return leave(tap, disk_close(tap->inner, handle));
}

static int tap_size(void *self, int handle, uint64_t *bytes)
{
    struct tap *tap = self;
    int rc = before(tap, TAP_SIZE);
    if (rc != DLHT_OK)
        return rc;
    return leave(tap, disk_size(tap->inner, handle, bytes));
}

static int tap_allocate(void *self, int handle, uint64_t bytes)
{
    struct tap *tap = self;
    int rc = before(tap, TAP_ALLOCATE);
    if (rc != DLHT_OK)
        return rc;
    rc = disk_allocate(tap->inner, handle, bytes);
    return after(tap, TAP_ALLOCATE, rc);
}

static int tap_read(void *self, int handle, uint64_t offset, void *data,
                    size_t len)
{
    struct tap *tap = self;
    int rc = before(tap, TAP_READ);
    if (rc != DLHT_OK)
        return rc;
    return leave(tap, disk_read(tap->inner, handle, offset, data, len));
}

static int tap_write(void *self, int handle, uint64_t offset, const void *data,
                     size_t len)
{
    struct tap *tap = self;
    int rc = before(tap, TAP_WRITE);
    if (rc != DLHT_OK)
        return rc;
    rc = disk_write(tap->inner, handle, offset, data, len);
    return after(tap, TAP_WRITE, rc);
}

/* Changes nothing, and is told only. */
static int tap_room(void *self, uint64_t *bytes)
{
    struct tap *tap = self;
    return disk_room(tap->inner, bytes);
}

static int tap_sync(void *self, int handle)
{
    struct tap *tap = self;
    int rc = before(tap, TAP_SYNC);
    if (rc != DLHT_OK)
        return rc;
    rc = disk_sync(tap->inner, handle);
    return after(tap, TAP_SYNC, rc);
}

static int tap_rename(void *self, const char *from, const char *to)
{
    struct tap *tap = self;
    int rc = before(tap, TAP_RENAME);
    if (rc != DLHT_OK)
        return rc;
    rc = disk_rename(tap->inner, from, to);
    return after(tap, TAP_RENAME, rc);
}

static int tap_remove(void *self, const char *name)
{
    struct tap *tap = self;
    int rc = before(tap, TAP_REMOVE);
    if (rc != DLHT_OK)
        return rc;
    rc = disk_remove(tap->inner, name);
    return after(tap, TAP_REMOVE, rc);
}

static int tap_list(void *self, disk_list_fn fn, void *context)
{
    struct tap *tap = self;
    int rc = before(tap, TAP_LIST);
    if (rc != DLHT_OK)
        return rc;
    return leave(tap, disk_list(tap->inner, fn, context));
}

static int tap_sync_names(void *self)
{
    struct tap *tap = self;
    int rc = before(tap, TAP_SYNC_NAMES);
    if (rc != DLHT_OK)
        return rc;
    rc = disk_sync_names(tap->inner);
    return after(tap, TAP_SYNC_NAMES, rc);
}

static const struct disk_calls calls = {
    .open = tap_open,
    .close = tap_close,
    .size = tap_size,
    .allocate = tap_allocate,
    .room = tap_room,
    .read = tap_read,
    .write = tap_write,
    .sync = tap_sync,
    .rename = tap_rename,
    .remove = tap_remove,
    .list = tap_list,
    .sync_names = tap_sync_names,
};

struct disk tap_disk(struct tap *tap)
{
    return (struct disk){ .calls = &calls, .self = tap };
}

const char *tap_name(enum tap_call call)
{
    static const char *const NAMES[TAP_CALLS] = {
        [TAP_OPEN] = "open",
        [TAP_CREATE] = "create",
        [TAP_SIZE] = "size",
        [TAP_ALLOCATE] = "allocate",
        [TAP_READ] = "read",
        [TAP_WRITE] = "write",
        [TAP_SYNC] = "sync",
        [TAP_RENAME] = "rename",
        [TAP_REMOVE] = "remove",
        [TAP_LIST] = "list",
        [TAP_SYNC_NAMES] = "sync_names",
    };
    return NAMES[call];
}
