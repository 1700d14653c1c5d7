/* SPDX-License-Identifier: Apache-2.0 */

/* Fingerprints of evicted keys. */

#include "store/cache_ghost.h"

#include <stdlib.h>

#include "base/mem.h"
#include "store/records_arena.h"

enum {
    PLACE = 16, /* slots of one hash */
    SLOTS_MIN = 64,
    STAMP_BITS = 12,
    STAMPS = 1 << STAMP_BITS,
    STEPS = 1024 /* stamps for as many evictions as there are slots */
};

void cache_ghost_init(struct cache_ghost *ghost)
{
    *ghost = (struct cache_ghost){ 0 };
}

void cache_ghost_deinit(struct cache_ghost *ghost)
{
    free(ghost->slots);
    cache_ghost_init(ghost);
}

uint64_t cache_ghost_memory_bytes(const struct cache_ghost *ghost)
{
    return ghost->slot_count * sizeof *ghost->slots;
}

static uint32_t stamp_now(const struct cache_ghost *ghost)
{
    return (uint32_t)(ghost->evicted >> ghost->step_shift) & (STAMPS - 1);
}

/* In steps, as long as it is not four times as old as there are slots. */
static uint32_t age(uint32_t now, uint32_t slot)
{
    return (now - slot) & (STAMPS - 1);
}

/* Never 0, which is an empty slot. */
static uint32_t mark_of(uint64_t hash)
{
    uint32_t mark = (uint32_t)(hash >> 44);
    return mark ? mark : 1;
}

static uint32_t *place_of(const struct cache_ghost *ghost, uint64_t hash)
{
    uint64_t places = ghost->slot_count / PLACE;
    return ghost->slots + (hash & (places - 1)) * PLACE;
}

static void grow(struct cache_ghost *ghost, uint64_t window)
{
    uint64_t count = SLOTS_MIN;
    while (count < window)
        count *= 2;
    uint32_t *slots = mem_zero(count, sizeof *slots);
    if (!slots)
        return;
    free(ghost->slots);
    ghost->slots = slots;
    ghost->slot_count = count;
    ghost->step_shift = 0;
    while (count >> ghost->step_shift > STEPS)
        ghost->step_shift++;
}

void cache_ghost_add(struct cache_ghost *ghost, uint64_t hash, uint64_t window)
{
    if (window > ghost->slot_count)
        grow(ghost, window);
    if (!ghost->slots)
        return;
    uint32_t *place = place_of(ghost, hash);
    uint32_t *oldest = place;
    uint32_t now = stamp_now(ghost);
    for (int i = 0; i < PLACE && *oldest; i++)
        if (!place[i] || age(now, place[i]) > age(now, *oldest))
            oldest = &place[i];
    *oldest = mark_of(hash) << STAMP_BITS | now;
    ghost->evicted++;
}

bool cache_ghost_take(struct cache_ghost *ghost, uint64_t hash, uint64_t window)
{
    if (!ghost->slots)
        return false;
    uint32_t *place = place_of(ghost, hash);
    for (int i = 0; i < PLACE; i++) {
        if (!place[i] || place[i] >> STAMP_BITS != mark_of(hash))
            continue;
        uint64_t steps = age(stamp_now(ghost), place[i]);
        bool recent = steps << ghost->step_shift <= window;
        place[i] = 0;
        return recent;
    }
    return false;
}

void cache_ghost_prefetch(const struct cache_ghost *ghost, uint64_t hash)
{
    if (ghost->slots)
        prefetch_line(place_of(ghost, hash));
}

void cache_ghost_age(struct cache_ghost *ghost)
{
    ghost->evicted += (uint64_t)(STAMPS / 2) << ghost->step_shift;
}
