/* SPDX-License-Identifier: Apache-2.0 */

/* A disk in memory. Files are numbered and never reused; names point to them,
 * as seen and as durable. */

#include "sim/disk_sim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"

enum {
    SECTOR = DISK_SIM_SECTOR_BYTES
};

struct image {
    uint8_t *bytes; /* cap of them, zero from size on */
    uint64_t size;
    uint64_t cap;
};

struct file {
    struct image seen;
    struct image durable;
};

struct name {
    char text[DISK_NAME_MAX];
    size_t file;
};

struct names {
    struct name *list; /* ascending by text */
    size_t count;
    size_t cap;
};

struct doubt {
    enum disk_sim_doubt_kind kind;
    bool lost; /* a sync of it failed: no later one will write it */
    uint64_t call;
    size_t file;
    uint64_t offset; /* sector: its offset; size: the size */
    uint16_t from, to;
    uint8_t *sector;             /* its whole content after the write, owned */
    char removed[DISK_NAME_MAX]; /* name: goes if not "" */
    char made[DISK_NAME_MAX];    /* name: comes to mean file if not "" */
};

struct failure {
    bool ahead;
    uint64_t skip;
    int code;
};

struct disk_sim {
    struct file *files;
    size_t file_count;
    size_t file_cap;
    struct names seen;
    struct names durable;
    struct doubt *doubts;
    size_t doubt_count;
    size_t doubt_cap;
    size_t *handles; /* handle - first_handle -> file; SIZE_MAX: closed */
    size_t handle_count;
    size_t handle_cap;
    int first_handle;
    uint64_t changes;
    uint64_t stop_at; /* of changes */
    uint64_t limit;
    struct failure failures[DISK_SIM_CALLS];
};

/* --- images */

static int image_resize(struct image *image, uint64_t size)
{
    if (size > image->cap) {
        uint64_t cap = image->cap ? image->cap : SECTOR;
        while (cap < size)
            cap *= 2;
        if (cap > SIZE_MAX)
            return DLHT_ENOMEM;
        uint8_t *larger = mem_zero((size_t)cap, 1);
        if (!larger)
            return DLHT_ENOMEM;
        if (image->size)
            memcpy(larger, image->bytes, (size_t)image->size);
        free(image->bytes);
        image->bytes = larger;
        image->cap = cap;
    }
    if (size < image->size)
        memset(image->bytes + size, 0, (size_t)(image->size - size));
    image->size = size;
    return DLHT_OK;
}

static int image_copy(struct image *to, const struct image *from)
{
    memset(to, 0, sizeof *to);
    int rc = image_resize(to, from->size);
    if (rc == DLHT_OK && from->size)
        memcpy(to->bytes, from->bytes, (size_t)from->size);
    return rc;
}

/* --- names */

static size_t names_place(const struct names *names, const char *text)
{
    size_t i = 0;
    while (i < names->count && strcmp(names->list[i].text, text) < 0)
        i++;
    return i;
}

static struct name *names_find(const struct names *names, const char *text)
{
    size_t i = names_place(names, text);
    bool here = i < names->count && strcmp(names->list[i].text, text) == 0;
    return here ? &names->list[i] : NULL;
}

static int names_reserve(struct names *names)
{
    if (names->count < names->cap)
        return DLHT_OK;
    size_t cap = names->cap ? names->cap * 2 : 8;
    struct name *larger = mem_resize(names->list, cap, sizeof *larger);
    if (!larger)
        return DLHT_ENOMEM;
    names->list = larger;
    names->cap = cap;
    return DLHT_OK;
}

/* Room was reserved. */
static void names_set(struct names *names, const char *text, size_t file)
{
    struct name *name = names_find(names, text);
    if (!name) {
        assert(names->count < names->cap);
        size_t i = names_place(names, text);
        memmove(&names->list[i + 1], &names->list[i],
                (names->count - i) * sizeof *names->list);
        names->count++;
        name = &names->list[i];
        memset(name, 0, sizeof *name);
        strcpy(name->text, text);
    }
    name->file = file;
}

static void names_unset(struct names *names, const char *text)
{
    struct name *name = names_find(names, text);
    if (!name)
        return;
    size_t i = (size_t)(name - names->list);
    memmove(name, name + 1, (names->count - i - 1) * sizeof *name);
    names->count--;
}

static int names_copy(struct names *to, const struct names *from)
{
    *to = (struct names){ 0 };
    to->list = mem_array(from->count ? from->count : 1, sizeof *to->list);
    if (!to->list)
        return DLHT_ENOMEM;
    if (from->count)
        memcpy(to->list, from->list, from->count * sizeof *to->list);
    to->count = from->count;
    to->cap = from->count ? from->count : 1;
    return DLHT_OK;
}

/* --- doubts */

/* A new last doubt, all zeros but for its number; NULL: no memory. */
static struct doubt *add_doubt(struct disk_sim *sim,
                               enum disk_sim_doubt_kind kind, size_t file)
{
    if (sim->doubt_count == sim->doubt_cap) {
        size_t cap = sim->doubt_cap ? sim->doubt_cap * 2 : 16;
        struct doubt *larger = mem_resize(sim->doubts, cap, sizeof *larger);
        if (!larger)
            return NULL;
        sim->doubts = larger;
        sim->doubt_cap = cap;
    }
    struct doubt *doubt = &sim->doubts[sim->doubt_count];
    memset(doubt, 0, sizeof *doubt);
    if (kind == DISK_SIM_SECTOR) {
        doubt->sector = mem_zero(SECTOR, 1);
        if (!doubt->sector)
            return NULL;
    }
    sim->doubt_count++;
    doubt->kind = kind;
    doubt->file = file;
    doubt->call = sim->changes;
    return doubt;
}

/* Makes the doubt true on the durable side; of a sector the first keep bytes,
 * as far as the durable file reaches. Images never shrink their memory, and
 * room for names was reserved: cannot fail but for growing a file. */
static int apply(struct disk_sim *sim, const struct doubt *doubt, size_t keep)
{
    struct image *durable = &sim->files[doubt->file].durable;
    switch (doubt->kind) {
    case DISK_SIM_SIZE:
        return image_resize(durable, doubt->offset);
    case DISK_SIM_SECTOR:
        if (doubt->offset >= durable->size)
            return DLHT_OK;
        if (keep > durable->size - doubt->offset)
            keep = (size_t)(durable->size - doubt->offset);
        memcpy(durable->bytes + doubt->offset, doubt->sector, keep);
        return DLHT_OK;
    case DISK_SIM_NAME:
        if (doubt->removed[0])
            names_unset(&sim->durable, doubt->removed);
        if (!doubt->made[0])
            return DLHT_OK;
        if (names_reserve(&sim->durable) != DLHT_OK)
            return DLHT_ENOMEM;
        names_set(&sim->durable, doubt->made, doubt->file);
        return DLHT_OK;
    }
    return DLHT_OK;
}

static void drop_doubts(struct disk_sim *sim)
{
    for (size_t i = 0; i < sim->doubt_count; i++)
        free(sim->doubts[i].sector);
    sim->doubt_count = 0;
}

/* Whether a later write of the same sector is about to be settled. */
static bool is_overwritten(const struct disk_sim *sim, size_t i)
{
    const struct doubt *old = &sim->doubts[i];
    for (size_t k = i + 1; k < sim->doubt_count; k++) {
        const struct doubt *later = &sim->doubts[k];
        if (later->kind == DISK_SIM_SECTOR && !later->lost &&
            later->file == old->file && later->offset == old->offset)
            return true;
    }
    return false;
}

/* Applies the doubts of a file, or of names, and forgets them. */
static int settle(struct disk_sim *sim, bool names, size_t file)
{
    size_t kept = 0;
    int rc = DLHT_OK;
    for (size_t i = 0; i < sim->doubt_count; i++) {
        struct doubt *doubt = &sim->doubts[i];
        bool ours = names ? doubt->kind == DISK_SIM_NAME
                          : doubt->kind != DISK_SIM_NAME && doubt->file == file;
        bool stays =
            !ours || rc != DLHT_OK || (doubt->lost && !is_overwritten(sim, i));
        if (!stays && !doubt->lost)
            rc = apply(sim, doubt, SECTOR);
        if (stays)
            sim->doubts[kept++] = *doubt;
        else
            free(doubt->sector);
    }
    sim->doubt_count = kept;
    return rc;
}

/* The sync failed: the system takes the sectors for written. */
static void lose_doubts(struct disk_sim *sim, size_t file)
{
    for (size_t i = 0; i < sim->doubt_count; i++)
        if (sim->doubts[i].kind == DISK_SIM_SECTOR &&
            sim->doubts[i].file == file)
            sim->doubts[i].lost = true;
}

/* --- failures */

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

static bool has_room(const struct disk_sim *sim, size_t file, uint64_t size)
{
    uint64_t total = size;
    for (size_t i = 0; i < sim->seen.count; i++)
        if (sim->seen.list[i].file != file)
            total += sim->files[sim->seen.list[i].file].seen.size;
    return total <= sim->limit;
}

/* --- the calls */

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

static int new_file(struct disk_sim *sim, size_t *file)
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
    struct doubt *doubt = add_doubt(sim, DISK_SIM_SIZE, file);
    if (!doubt)
        return DLHT_ENOMEM;
    doubt->offset = size;
    int rc = image_resize(seen, size);
    if (rc != DLHT_OK)
        sim->doubt_count--;
    return rc;
}

static int create(struct disk_sim *sim, const char *name, size_t *file)
{
    int rc = names_reserve(&sim->seen);
    if (rc != DLHT_OK)
        return rc;
    struct name *old = names_find(&sim->seen, name);
    if (old) {
        *file = old->file;
        return set_size(sim, *file, 0);
    }
    rc = new_file(sim, file);
    if (rc != DLHT_OK)
        return rc;
    struct doubt *doubt = add_doubt(sim, DISK_SIM_NAME, *file);
    if (!doubt)
        return DLHT_ENOMEM;
    strcpy(doubt->made, name);
    names_set(&sim->seen, name, *file);
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
    const struct name *old = names_find(&sim->seen, name);
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
    struct doubt *doubt = add_doubt(sim, DISK_SIM_SECTOR, file);
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
        lose_doubts(sim, file);
        return rc;
    }
    return settle(sim, false, file);
}

static int sim_rename(void *self, const char *from, const char *to)
{
    struct disk_sim *sim = self;
    assert(strlen(to) < DISK_NAME_MAX);
    int rc = meet_failure(sim, DISK_SIM_RENAME);
    if (rc != DLHT_OK)
        return rc;
    const struct name *old = names_find(&sim->seen, from);
    if (!old)
        return DLHT_ENOTFOUND;
    size_t file = old->file;
    if (names_reserve(&sim->seen) != DLHT_OK)
        return DLHT_ENOMEM;
    struct doubt *doubt = add_doubt(sim, DISK_SIM_NAME, file);
    if (!doubt)
        return DLHT_ENOMEM;
    strcpy(doubt->removed, from);
    strcpy(doubt->made, to);
    names_unset(&sim->seen, from);
    names_set(&sim->seen, to, file);
    return DLHT_OK;
}

static int sim_remove(void *self, const char *name)
{
    struct disk_sim *sim = self;
    int rc = meet_failure(sim, DISK_SIM_REMOVE);
    if (rc != DLHT_OK)
        return rc;
    const struct name *old = names_find(&sim->seen, name);
    if (!old)
        return DLHT_ENOTFOUND;
    struct doubt *doubt = add_doubt(sim, DISK_SIM_NAME, old->file);
    if (!doubt)
        return DLHT_ENOMEM;
    strcpy(doubt->removed, name);
    names_unset(&sim->seen, name);
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
    return rc == DLHT_OK ? settle(sim, true, 0) : rc;
}

static const struct disk_calls calls = {
    .open = sim_open,
    .close = sim_close,
    .size = sim_size,
    .allocate = sim_allocate,
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

/* --- life */

struct disk_sim *disk_sim_new(void)
{
    struct disk_sim *sim = mem_zero(1, sizeof *sim);
    if (!sim)
        return NULL;
    sim->limit = UINT64_MAX;
    sim->stop_at = UINT64_MAX;
    return sim;
}

void disk_sim_free(struct disk_sim *sim)
{
    if (!sim)
        return;
    for (size_t i = 0; i < sim->file_count; i++) {
        free(sim->files[i].seen.bytes);
        free(sim->files[i].durable.bytes);
    }
    drop_doubts(sim);
    free(sim->files);
    free(sim->seen.list);
    free(sim->durable.list);
    free(sim->doubts);
    free(sim->handles);
    free(sim);
}

static int copy_doubt(struct disk_sim *to, const struct doubt *from)
{
    struct doubt *doubt = add_doubt(to, from->kind, from->file);
    if (!doubt)
        return DLHT_ENOMEM;
    uint8_t *sector = doubt->sector;
    if (sector)
        memcpy(sector, from->sector, SECTOR);
    *doubt = *from;
    doubt->sector = sector;
    return DLHT_OK;
}

static int copy_state(struct disk_sim *to, const struct disk_sim *from)
{
    to->changes = from->changes;
    to->limit = from->limit;
    int rc = names_copy(&to->seen, &from->seen);
    if (rc == DLHT_OK)
        rc = names_copy(&to->durable, &from->durable);
    for (size_t i = 0; i < from->file_count && rc == DLHT_OK; i++) {
        size_t file;
        rc = new_file(to, &file);
        if (rc == DLHT_OK)
            rc = image_copy(&to->files[file].seen, &from->files[i].seen);
        if (rc == DLHT_OK)
            rc = image_copy(&to->files[file].durable, &from->files[i].durable);
    }
    for (size_t i = 0; i < from->doubt_count && rc == DLHT_OK; i++)
        rc = copy_doubt(to, &from->doubts[i]);
    return rc;
}

struct disk_sim *disk_sim_clone(const struct disk_sim *sim)
{
    struct disk_sim *copy = disk_sim_new();
    if (!copy)
        return NULL;
    if (copy_state(copy, sim) != DLHT_OK) {
        disk_sim_free(copy);
        return NULL;
    }
    return copy;
}

void disk_sim_restart(struct disk_sim *sim)
{
    sim->first_handle += (int)sim->handle_count;
    sim->handle_count = 0;
    memset(sim->failures, 0, sizeof sim->failures);
}

size_t disk_sim_doubt_count(const struct disk_sim *sim)
{
    return sim->doubt_count;
}

void disk_sim_doubt_at(const struct disk_sim *sim, size_t i,
                       struct disk_sim_doubt *out)
{
    assert(i < sim->doubt_count);
    const struct doubt *doubt = &sim->doubts[i];
    *out = (struct disk_sim_doubt){
        .kind = doubt->kind,
        .call = doubt->call,
        .offset = doubt->offset,
        .from = doubt->from,
        .to = doubt->to,
    };
}

static bool is_named(const struct disk_sim *sim, size_t file)
{
    for (size_t i = 0; i < sim->seen.count; i++)
        if (sim->seen.list[i].file == file)
            return true;
    return false;
}

/* What is on the platter is all there is. */
static void forget_seen(struct disk_sim *sim)
{
    drop_doubts(sim);
    sim->seen.count = 0;
    for (size_t i = 0; i < sim->durable.count; i++) {
        int rc = names_reserve(&sim->seen);
        assert(rc == DLHT_OK);
        names_set(&sim->seen, sim->durable.list[i].text,
                  sim->durable.list[i].file);
    }
    for (size_t i = 0; i < sim->file_count; i++) {
        struct file *file = &sim->files[i];
        free(file->seen.bytes);
        if (!is_named(sim, i)) {
            free(file->durable.bytes);
            *file = (struct file){ 0 };
            continue;
        }
        int rc = image_copy(&file->seen, &file->durable);
        assert(rc == DLHT_OK);
    }
}

void disk_sim_crash_keep(struct disk_sim *sim, const uint16_t *keep)
{
    for (size_t i = 0; i < sim->doubt_count; i++) {
        if (!keep[i])
            continue;
        int rc = apply(sim, &sim->doubts[i], keep[i]);
        assert(rc == DLHT_OK);
    }
    forget_seen(sim);
    sim->stop_at = UINT64_MAX;
    disk_sim_restart(sim);
}

void disk_sim_crash(struct disk_sim *sim, struct rng *rng)
{
    uint16_t *keep = mem_array(sim->doubt_count, sizeof *keep);
    assert(keep);
    /* All, none and half are the likely ones on real disks. */
    static const double chances[] = { 0, 0.1, 0.5, 0.5, 0.9, 1 };
    double chance = chances[rng_below(rng, 6)];
    for (size_t i = 0; i < sim->doubt_count; i++) {
        keep[i] = rng_chance(rng, chance) ? SECTOR : 0;
        if (rng_chance(rng, 0.05))
            keep[i] = (uint16_t)rng_below(rng, SECTOR);
    }
    disk_sim_crash_keep(sim, keep);
    free(keep);
}

void disk_sim_fail_next(struct disk_sim *sim, enum disk_sim_call call,
                        uint64_t skip, int code)
{
    assert(call < DISK_SIM_CALLS && code != DLHT_OK);
    sim->failures[call] =
        (struct failure){ .ahead = true, .skip = skip, .code = code };
}

void disk_sim_limit(struct disk_sim *sim, uint64_t bytes)
{
    sim->limit = bytes;
}

void disk_sim_stop_after(struct disk_sim *sim, uint64_t changes)
{
    bool never = changes > UINT64_MAX - sim->changes;
    sim->stop_at = never ? UINT64_MAX : sim->changes + changes;
}

uint64_t disk_sim_changes(const struct disk_sim *sim)
{
    return sim->changes;
}

bool disk_sim_flip(struct disk_sim *sim, const char *name, uint64_t offset,
                   uint8_t bits)
{
    const struct name *named = names_find(&sim->seen, name);
    if (!named)
        return false;
    struct file *file = &sim->files[named->file];
    if (offset >= file->seen.size)
        return false;
    file->seen.bytes[offset] ^= bits;
    if (offset < file->durable.size)
        file->durable.bytes[offset] ^= bits;
    return true;
}

bool disk_sim_file_size(const struct disk_sim *sim, const char *name,
                        uint64_t *bytes)
{
    const struct name *named = names_find(&sim->seen, name);
    if (named)
        *bytes = sim->files[named->file].seen.size;
    return named != NULL;
}

/* --- hash */

static uint64_t hash_names(const struct disk_sim *sim,
                           const struct names *names, uint64_t hash)
{
    hash = hash64_mix(hash, names->count);
    for (size_t i = 0; i < names->count; i++) {
        const struct name *name = &names->list[i];
        const struct file *file = &sim->files[name->file];
        hash = hash64_mix(hash, hash64(span_str(name->text)));
        hash = hash64_mix(hash, file->seen.size);
        hash = hash64_mix(
            hash, hash64(span_of(file->seen.bytes, (size_t)file->seen.size)));
        hash = hash64_mix(hash, file->durable.size);
        hash = hash64_mix(hash, hash64(span_of(file->durable.bytes,
                                               (size_t)file->durable.size)));
    }
    return hash;
}

uint64_t disk_sim_hash(const struct disk_sim *sim)
{
    uint64_t hash = hash_names(sim, &sim->seen, 0);
    hash = hash_names(sim, &sim->durable, hash);
    for (size_t i = 0; i < sim->doubt_count; i++) {
        const struct doubt *doubt = &sim->doubts[i];
        hash = hash64_mix(hash, (uint64_t)doubt->kind * 2 + doubt->lost);
        hash = hash64_mix(hash, doubt->offset);
        hash = hash64_mix(hash, hash64(span_str(doubt->removed)));
        hash = hash64_mix(hash, hash64(span_str(doubt->made)));
        if (doubt->sector)
            hash = hash64_mix(hash, hash64(span_of(doubt->sector, SECTOR)));
    }
    return hash;
}
