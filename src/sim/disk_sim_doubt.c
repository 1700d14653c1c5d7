/* SPDX-License-Identifier: Apache-2.0 */

/* Images, names, and the doubts between what is seen and what is durable. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "sim/disk_sim_inner.h"

/* --- images */

int disk_sim_image_resize(struct image *image, uint64_t size)
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

int disk_sim_image_copy(struct image *to, const struct image *from)
{
    memset(to, 0, sizeof *to);
    int rc = disk_sim_image_resize(to, from->size);
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

struct name *disk_sim_names_find(const struct names *names, const char *text)
{
    size_t i = names_place(names, text);
    bool here = i < names->count && strcmp(names->list[i].text, text) == 0;
    return here ? &names->list[i] : NULL;
}

int disk_sim_names_reserve(struct names *names)
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

void disk_sim_names_set(struct names *names, const char *text, size_t file)
{
    struct name *name = disk_sim_names_find(names, text);
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

void disk_sim_names_unset(struct names *names, const char *text)
{
    struct name *name = disk_sim_names_find(names, text);
    if (!name)
        return;
    size_t i = (size_t)(name - names->list);
    memmove(name, name + 1, (names->count - i - 1) * sizeof *name);
    names->count--;
}

int disk_sim_names_copy(struct names *to, const struct names *from)
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

struct doubt *disk_sim_doubt_add(struct disk_sim *sim,
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

int disk_sim_apply(struct disk_sim *sim, const struct doubt *doubt, size_t keep)
{
    struct image *durable = &sim->files[doubt->file].durable;
    switch (doubt->kind) {
    case DISK_SIM_SIZE:
        return disk_sim_image_resize(durable, doubt->offset);
    case DISK_SIM_SECTOR:
        if (doubt->offset >= durable->size)
            return DLHT_OK;
        if (keep > durable->size - doubt->offset)
            keep = (size_t)(durable->size - doubt->offset);
        memcpy(durable->bytes + doubt->offset, doubt->sector, keep);
        return DLHT_OK;
    case DISK_SIM_NAME:
        if (doubt->removed[0])
            disk_sim_names_unset(&sim->durable, doubt->removed);
        if (!doubt->made[0])
            return DLHT_OK;
        if (disk_sim_names_reserve(&sim->durable) != DLHT_OK)
            return DLHT_ENOMEM;
        disk_sim_names_set(&sim->durable, doubt->made, doubt->file);
        return DLHT_OK;
    }
    return DLHT_OK;
}

void disk_sim_drop_doubts(struct disk_sim *sim)
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

int disk_sim_settle(struct disk_sim *sim, bool names, size_t file)
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
            rc = disk_sim_apply(sim, doubt, SECTOR);
        if (stays)
            sim->doubts[kept++] = *doubt;
        else
            free(doubt->sector);
    }
    sim->doubt_count = kept;
    return rc;
}

void disk_sim_lose_doubts(struct disk_sim *sim, size_t file)
{
    for (size_t i = 0; i < sim->doubt_count; i++)
        if (sim->doubts[i].kind == DISK_SIM_SECTOR &&
            sim->doubts[i].file == file)
            sim->doubts[i].lost = true;
}
