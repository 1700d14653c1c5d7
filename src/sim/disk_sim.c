/* SPDX-License-Identifier: Apache-2.0 */

/* Life of a simulated disk, crashes, failures to come, the hash. */

#include "sim/disk_sim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "sim/disk_sim_inner.h"

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
    disk_sim_drop_doubts(sim);
    free(sim->files);
    free(sim->seen.list);
    free(sim->durable.list);
    free(sim->doubts);
    free(sim->handles);
    free(sim);
}

static int copy_doubt(struct disk_sim *to, const struct doubt *from)
{
    struct doubt *doubt = disk_sim_doubt_add(to, from->kind, from->file);
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
    int rc = disk_sim_names_copy(&to->seen, &from->seen);
    if (rc == DLHT_OK)
        rc = disk_sim_names_copy(&to->durable, &from->durable);
    for (size_t i = 0; i < from->file_count && rc == DLHT_OK; i++) {
        size_t file;
        rc = disk_sim_new_file(to, &file);
        if (rc == DLHT_OK)
            rc = disk_sim_image_copy(&to->files[file].seen,
                                     &from->files[i].seen);
        if (rc == DLHT_OK)
            rc = disk_sim_image_copy(&to->files[file].durable,
                                     &from->files[i].durable);
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
    disk_sim_drop_doubts(sim);
    sim->seen.count = 0;
    for (size_t i = 0; i < sim->durable.count; i++) {
        int rc = disk_sim_names_reserve(&sim->seen);
        assert(rc == DLHT_OK);
        disk_sim_names_set(&sim->seen, sim->durable.list[i].text,
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
        int rc = disk_sim_image_copy(&file->seen, &file->durable);
        assert(rc == DLHT_OK);
    }
}

void disk_sim_crash_keep(struct disk_sim *sim, const uint16_t *keep)
{
    for (size_t i = 0; i < sim->doubt_count; i++) {
        if (!keep[i])
            continue;
        int rc = disk_sim_apply(sim, &sim->doubts[i], keep[i]);
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
    const struct name *named = disk_sim_names_find(&sim->seen, name);
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

bool disk_sim_overwrite(struct disk_sim *sim, const char *name, uint64_t offset,
                        const uint8_t *bytes, size_t len)
{
    const struct name *named = disk_sim_names_find(&sim->seen, name);
    if (!named)
        return false;
    struct file *file = &sim->files[named->file];
    if (offset > file->seen.size || len > file->seen.size - offset)
        return false;
    memcpy(file->seen.bytes + offset, bytes, len);
    if (offset < file->durable.size) {
        uint64_t left = file->durable.size - offset;
        memcpy(file->durable.bytes + offset, bytes,
               left < len ? (size_t)left : len);
    }
    return true;
}

bool disk_sim_file_size(const struct disk_sim *sim, const char *name,
                        uint64_t *bytes)
{
    const struct name *named = disk_sim_names_find(&sim->seen, name);
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
