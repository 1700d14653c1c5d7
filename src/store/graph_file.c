/* SPDX-License-Identifier: Apache-2.0 */

/* A file written aside and renamed. */

#include "store/graph_file.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"

enum {
    DIGITS = 16,
    READ_BYTES = 8 << 20
};

static const char prefix[] = "graph-";
static const char suffix[] = ".tmp";

void graph_file_name(char name[DISK_NAME_MAX], uint64_t number, bool aside)
{
    snprintf(name, DISK_NAME_MAX, "%s%016" PRIx64 "%s", prefix, number,
             aside ? suffix : "");
}

void graph_file_init(struct graph_file *f, struct disk disk, uint64_t number)
{
    *f = (struct graph_file){ .disk = disk, .number = number, .handle = -1 };
}

static bool is_to_end(const struct graph_file *f)
{
    return f->ends && atomic_load(f->ends);
}

static void drop_aside(struct graph_file *f)
{
    char name[DISK_NAME_MAX];
    if (f->handle < 0)
        return;
    (void)disk_close(f->disk, f->handle);
    f->handle = -1;
    graph_file_name(name, f->number, true);
    (void)!disk_remove(f->disk, name); /* the next start clears it up */
}

void graph_file_deinit(struct graph_file *f)
{
    drop_aside(f);
    free(f->bytes);
    f->bytes = NULL;
}

static int read_all(struct graph_file *f, int handle, uint64_t size)
{
    if (size > SIZE_MAX - GRAPH_FILE_ALIGN)
        return DLHT_ENOMEM;
    size_t room = (size_t)(size / GRAPH_FILE_ALIGN + 1) * GRAPH_FILE_ALIGN;
    f->bytes = aligned_alloc(GRAPH_FILE_ALIGN, room);
    int rc = f->bytes ? DLHT_OK : DLHT_ENOMEM;
    for (uint64_t at = 0; rc == DLHT_OK && at < size;) {
        size_t n = size - at < READ_BYTES ? (size_t)(size - at) : READ_BYTES;
        rc = is_to_end(f) ? DLHT_ECLOSED
                          : disk_read(f->disk, handle, at, f->bytes + at, n);
        at += n;
    }
    return rc;
}

int graph_file_read(struct graph_file *f, struct span *out)
{
    char name[DISK_NAME_MAX];
    int handle;
    uint64_t size = 0;
    *out = span_empty();
    assert(!f->bytes);
    graph_file_name(name, f->number, false);
    int rc = disk_open(f->disk, name, false, &handle);
    if (rc != DLHT_OK)
        return rc;
    rc = disk_size(f->disk, handle, &size);
    if (rc == DLHT_OK)
        rc = read_all(f, handle, size);
    (void)disk_close(f->disk, handle);
    if (rc == DLHT_OK)
        *out = span_of(f->bytes, (size_t)size);
    return rc;
}

static int begin(struct graph_file *f)
{
    char name[DISK_NAME_MAX];
    if (f->handle >= 0)
        return DLHT_OK;
    graph_file_name(name, f->number, true);
    int rc = disk_open(f->disk, name, true, &f->handle);
    if (rc != DLHT_OK)
        f->handle = -1;
    return rc;
}

int graph_file_reserve(struct graph_file *f, uint64_t bytes)
{
    uint64_t room = 0;
    assert(f->handle < 0 && f->status == DLHT_OK);
    f->status = disk_room(f->disk, &room);
    if (f->status == DLHT_OK && (room < GRAPH_FILE_SPARE_BYTES ||
                                 room - GRAPH_FILE_SPARE_BYTES < bytes))
        f->status = DLHT_EFULL;
    if (f->status == DLHT_OK)
        f->status = begin(f);
    if (f->status == DLHT_OK)
        f->status = disk_allocate(f->disk, f->handle, bytes);
    if (f->status != DLHT_OK)
        drop_aside(f);
    f->reserved = bytes;
    return f->status;
}

int graph_file_write(struct graph_file *f, const void *bytes, size_t len)
{
    if (f->status == DLHT_OK && is_to_end(f))
        f->status = DLHT_ECLOSED;
    if (f->status == DLHT_OK)
        f->status = begin(f);
    if (f->status == DLHT_OK)
        f->status = disk_write(f->disk, f->handle, f->end, bytes, len);
    f->end += len;
    f->unsynced += len;
    if (f->status == DLHT_OK && f->unsynced >= GRAPH_FILE_SYNC_BYTES) {
        f->status = disk_sync(f->disk, f->handle);
        f->unsynced = 0;
    }
    return f->status;
}

int graph_file_commit(struct graph_file *f)
{
    char aside[DISK_NAME_MAX], name[DISK_NAME_MAX];
    graph_file_name(aside, f->number, true);
    graph_file_name(name, f->number, false);
    if (f->status == DLHT_OK)
        f->status = begin(f);
    assert(f->status != DLHT_OK || !f->reserved || f->end == f->reserved);
    if (f->status == DLHT_OK)
        f->status = disk_sync(f->disk, f->handle);
    if (f->status == DLHT_OK)
        f->status = disk_rename(f->disk, aside, name);
    if (f->status != DLHT_OK) {
        drop_aside(f);
        return f->status;
    }
    (void)disk_close(f->disk, f->handle);
    f->handle = -1;
    f->status = disk_sync_names(f->disk);
    return f->status;
}

int graph_file_remove(struct graph_file *f)
{
    char name[DISK_NAME_MAX];
    graph_file_name(name, f->number, false);
    int rc = disk_remove(f->disk, name);
    if (rc == DLHT_ENOTFOUND)
        return DLHT_OK;
    return rc == DLHT_OK ? disk_sync_names(f->disk) : rc;
}

/* False: no graph file's name. */
static bool parse_name(const char *name, uint64_t *number, bool *aside)
{
    static const char hex[] = "0123456789abcdef";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *rest = name + sizeof prefix - 1;
    *number = 0;
    for (int i = 0; i < DIGITS; i++) {
        const char *at = rest[i] ? strchr(hex, rest[i]) : NULL;
        if (!at)
            return false;
        *number = *number << 4 | (uint64_t)(at - hex);
    }
    rest += DIGITS;
    *aside = *rest != '\0';
    return !*aside || strcmp(rest, suffix) == 0;
}

struct found {
    uint64_t number;
    bool aside;
};

struct listing {
    struct found *list;
    size_t count, cap;
    bool failed;
};

static void note_name(void *context, const char *name)
{
    struct listing *l = context;
    struct found found;
    if (!parse_name(name, &found.number, &found.aside))
        return;
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 16;
        struct found *grown = mem_resize(l->list, cap, sizeof *grown);
        if (!grown) {
            l->failed = true;
            return;
        }
        l->list = grown;
        l->cap = cap;
    }
    l->list[l->count++] = found;
}

static int clear_or_tell(struct disk disk, const struct found *found,
                         graph_file_fn fn, void *context)
{
    char name[DISK_NAME_MAX];
    if (!found->aside)
        return fn(context, found->number);
    graph_file_name(name, found->number, true);
    int rc = disk_remove(disk, name);
    return rc == DLHT_ENOTFOUND ? DLHT_OK : rc;
}

int graph_file_each(struct disk disk, graph_file_fn fn, void *context)
{
    struct listing l = { 0 };
    int rc = disk_list(disk, note_name, &l);
    if (rc == DLHT_OK && l.failed)
        rc = DLHT_ENOMEM;
    for (int aside = 1; aside >= 0; aside--)
        for (size_t i = 0; i < l.count; i++) {
            if (l.list[i].aside != (aside == 1))
                continue;
            int one = clear_or_tell(disk, &l.list[i], fn, context);
            rc = rc == DLHT_OK ? one : rc;
        }
    free(l.list);
    return rc;
}
