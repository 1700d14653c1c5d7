/* SPDX-License-Identifier: Apache-2.0 */

/* The calls of store/disk.h, each of which may be made to fail. */

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "sim/disk_sim_inner.h"

static bool is_stopped(const struct disk_sim *sim)
{
    return sim->changes >= sim->stop_at;
}

/* The code that this call is to fail with, or DLHT_OK. */
static int meet_failure(struct disk_sim *sim, enum disk_sim_call call)
{
    if (is_stopped(sim))
        return DLHT_EIO;
    if (call != DISK_SIM_READ && call != DISK_SIM_OPEN)
        sim->changes++;
    struct failure *failure = &sim->failures[call];
    if (!failure->ahead)
        return DLHT_OK;
    if (failure->skip) {
        failure->skip--;
        return DLHT_OK;
    }
    failure->ahead = false;
    return failure->code;
}

static bool file_of(const struct disk_sim *sim, int handle, size_t *file)
{
    if (handle < sim->first_handle)
        return false;
    size_t i = (size_t)(handle - sim->first_handle);
    if (i >= sim->handle_count || sim->handles[i] == SIZE_MAX)
        return false;
    *file = sim->handles[i];
    return true;
}

/* Of all files but one; SIZE_MAX: of all. */
static uint64_t total_size(const struct disk_sim *sim, size_t file)
{
    uint64_t total = 0;
    for (size_t i = 0; i < sim->seen.count; i++)
        if (sim->seen.list[i].file != file)
            total += sim->files[sim->seen.list[i].file].seen.size;
    return total;
}

static bool has_room(const struct disk_sim *sim, size_t file, uint64_t size)
{
    return total_size(sim, file) + size <= sim->limit;
}

static int new_handle(struct disk_sim *sim, size_t file, int *handle)
{
    if (sim->handle_count == sim->handle_cap) {
        size_t cap = sim->handle_cap ? sim->handle_cap * 2 : 16;
        size_t *larger = mem_resize(sim->handles, cap, sizeof *larger);
        if (!larger)
            return DLHT_ENOMEM;
        sim->handles = larger;
        sim->handle_cap = cap;
    }
    *handle = sim->first_handle + (int)sim->handle_count;
    sim->handles[sim->handle_count++] = file;
    return DLHT_OK;
}

int disk_sim_new_file(struct disk_sim *sim, size_t *file)
{
    if (sim->file_count == sim->file_cap) {
        size_t cap = sim->file_cap ? sim->file_cap * 2 : 8;
        struct file *larger = mem_resize(sim->files, cap, sizeof *larger);
        if (!larger)
            return DLHT_ENOMEM;
        sim->files = larger;
        sim->file_cap = cap;
    }
    *file = sim->file_count++;
    sim->files[*file] = (struct file){ 0 };
    return DLHT_OK;
}

static int set_size(struct disk_sim *sim, size_t file, uint64_t size)
{
    struct image *seen = &sim->files[file].seen;
    if (size == seen->size)
        return DLHT_OK;
    if (size > seen->size && !has_room(sim, file, size))
        return DLHT_EFULL;
    struct doubt *doubt = disk_sim_doubt_add(sim, DISK_SIM_SIZE, file);
    if (!doubt)
        return DLHT_ENOMEM;
    doubt->offset = size;
    int rc = disk_sim_image_resize(seen, size);
    if (rc != DLHT_OK)
        sim->doubt_count--;
    return rc;
}

static int create(struct disk_sim *sim, const char *name, size_t *file)
{
    int rc = disk_sim_names_reserve(&sim->seen);
    if (rc != DLHT_OK)
        return rc;
    struct name *old = disk_sim_names_find(&sim->seen, name);
    if (old) {
        *file = old->file;
        return set_size(sim, *file, 0);
    }
    rc = disk_sim_new_file(sim, file);
    if (rc != DLHT_OK)
        return rc;
    struct doubt *doubt = disk_sim_doubt_add(sim, DISK_SIM_NAME, *file);
    if (!doubt)
        return DLHT_ENOMEM;
    strcpy(doubt->made, name);
    disk_sim_names_set(&sim->seen, name, *file);
    return DLHT_OK;
}

static int sim_open(void *self, const char *name, bool make, int *handle)
{
    struct disk_sim *sim = self;
    assert(strlen(name) < DISK_NAME_MAX);
    int rc = meet_failure(sim, DISK_SIM_OPEN);
    if (rc != DLHT_OK)
        return rc;
    size_t file;
    const struct name *old = disk_sim_names_find(&sim->seen, name);
    if (make) {
        sim->changes++;
        rc = create(sim, name, &file);
        if (rc != DLHT_OK)
            return rc;
    } else if (old) {
        file = old->file;
    } else {
        return DLHT_ENOTFOUND;
    }
    return new_handle(sim, file, handle);
}

static int sim_close(void *self, int handle)
{
    struct disk_sim *sim = self;
    size_t file;
    if (!file_of(sim, handle, &file))
        return DLHT_EIO;
    sim->handles[handle - sim->first_handle] = SIZE_MAX;
    return DLHT_OK;
}

static int sim_size(void *self, int handle, uint64_t *bytes)
{
    struct disk_sim *sim = self;
    size_t file;
    if (is_stopped(sim) || !file_of(sim, handle, &file))
        return DLHT_EIO;
    *bytes = sim->files[file].seen.size;
    return DLHT_OK;
}

static int sim_allocate(void *self, int handle, uint64_t bytes)
{
    struct disk_sim *sim = self;
    size_t file;
    if (!file_of(sim, handle, &file))
        return DLHT_EIO;
    int rc = meet_failure(sim, DISK_SIM_ALLOCATE);
    return rc == DLHT_OK ? set_size(sim, file, bytes) : rc;
}

static int sim_room(void *self, uint64_t *bytes)
{
    const struct disk_sim *sim = self;
    if (is_stopped(sim))
        return DLHT_EIO;
    uint64_t total = total_size(sim, SIZE_MAX);
    *bytes = total < sim->limit ? sim->limit - total : 0;
    return DLHT_OK;
}

static int sim_read(void *self, int handle, uint64_t offset, void *data,
                    size_t len)
{
    struct disk_sim *sim = self;
    size_t file;
    if (!file_of(sim, handle, &file))
        return DLHT_EIO;
    int rc = meet_failure(sim, DISK_SIM_READ);
    if (rc != DLHT_OK)
        return rc;
    const struct image *seen = &sim->files[file].seen;
    if (offset > seen->size || len > seen->size - offset)
        return DLHT_EIO;
    if (len)
        memcpy(data, seen->bytes + offset, len);
    return DLHT_OK;
}

/* The part of the write that lies in one sector. */
static int write_sector(struct disk_sim *sim, size_t file, uint64_t offset,
                        const uint8_t *data, size_t len)
{
    struct doubt *doubt = disk_sim_doubt_add(sim, DISK_SIM_SECTOR, file);
    if (!doubt)
        return DLHT_ENOMEM;
    struct image *seen = &sim->files[file].seen;
    memcpy(seen->bytes + offset, data, len);
    doubt->offset = offset / SECTOR * SECTOR;
    doubt->from = (uint16_t)(offset % SECTOR);
    doubt->to = (uint16_t)(doubt->from + len);
    uint64_t left = seen->size - doubt->offset;
    memcpy(doubt->sector, seen->bytes + doubt->offset,
           left < SECTOR ? (size_t)left : SECTOR);
    return DLHT_OK;
}

static int sim_write(void *self, int handle, uint64_t offset, const void *data,
                     size_t len)
{
    struct disk_sim *sim = self;
    size_t file;
    if (!file_of(sim, handle, &file))
        return DLHT_EIO;
    if (is_stopped(sim))
        return DLHT_EIO;
    int failure = meet_failure(sim, DISK_SIM_WRITE);
    if (failure != DLHT_OK)
        len /= 2;
    uint64_t end = offset + len;
    if (len && end > sim->files[file].seen.size) {
        int rc = set_size(sim, file, end);
        if (rc != DLHT_OK)
            return rc;
    }
    const uint8_t *bytes = data;
    while (len) {
        size_t n = SECTOR - (size_t)(offset % SECTOR);
        if (n > len)
            n = len;
        int rc = write_sector(sim, file, offset, bytes, n);
        if (rc != DLHT_OK)
            return rc;
        offset += n;
        bytes += n;
        len -= n;
    }
    return failure;
}

static int sim_sync(void *self, int handle)
{
    struct disk_sim *sim = self;
    size_t file;
    if (!file_of(sim, handle, &file) || is_stopped(sim))
        return DLHT_EIO;
    int rc = meet_failure(sim, DISK_SIM_SYNC);
    if (rc != DLHT_OK) {
        disk_sim_lose_doubts(sim, file);
        return rc;
    }
    return disk_sim_settle(sim, false, file);
}

static int sim_rename(void *self, const char *from, const char *to)
{
    struct disk_sim *sim = self;
    assert(strlen(to) < DISK_NAME_MAX);
    int rc = meet_failure(sim, DISK_SIM_RENAME);
    if (rc != DLHT_OK)
        return rc;
    const struct name *old = disk_sim_names_find(&sim->seen, from);
    if (!old)
        return DLHT_ENOTFOUND;
    size_t file = old->file;
    if (disk_sim_names_reserve(&sim->seen) != DLHT_OK)
        return DLHT_ENOMEM;
    struct doubt *doubt = disk_sim_doubt_add(sim, DISK_SIM_NAME, file);
    if (!doubt)
        return DLHT_ENOMEM;
    strcpy(doubt->removed, from);
    strcpy(doubt->made, to);
    disk_sim_names_unset(&sim->seen, from);
    disk_sim_names_set(&sim->seen, to, file);
    return DLHT_OK;
}

static int sim_remove(void *self, const char *name)
{
    struct disk_sim *sim = self;
    int rc = meet_failure(sim, DISK_SIM_REMOVE);
    if (rc != DLHT_OK)
        return rc;
    const struct name *old = disk_sim_names_find(&sim->seen, name);
    if (!old)
        return DLHT_ENOTFOUND;
    struct doubt *doubt = disk_sim_doubt_add(sim, DISK_SIM_NAME, old->file);
    if (!doubt)
        return DLHT_ENOMEM;
    strcpy(doubt->removed, name);
    disk_sim_names_unset(&sim->seen, name);
    return DLHT_OK;
}

static int sim_list(void *self, disk_list_fn fn, void *context)
{
    struct disk_sim *sim = self;
    if (is_stopped(sim))
        return DLHT_EIO;
    for (size_t i = 0; i < sim->seen.count; i++)
        fn(context, sim->seen.list[i].text);
    return DLHT_OK;
}

static int sim_sync_names(void *self)
{
    struct disk_sim *sim = self;
    int rc = meet_failure(sim, DISK_SIM_SYNC_NAMES);
    return rc == DLHT_OK ? disk_sim_settle(sim, true, 0) : rc;
}

static const struct disk_calls calls = {
    .open = sim_open,
    .close = sim_close,
    .size = sim_size,
    .allocate = sim_allocate,
    .room = sim_room,
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .rename = sim_rename,
    .remove = sim_remove,
    .list = sim_list,
    .sync_names = sim_sync_names,
};

struct disk disk_sim_disk(struct disk_sim *sim)
{
    return (struct disk){ .calls = &calls, .self = sim };
}
