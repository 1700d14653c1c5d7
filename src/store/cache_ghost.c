/* SPDX-License-Identifier: Apache-2.0 */

/* Fingerprints of evicted keys. */

#include "store/cache_ghost.h"

#include <stdlib.h>

#include "base/mem.h"

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

static uint64_t step(const struct cache_ghost *ghost)
{
    return ghost->slot_count > STEPS ? ghost->slot_count / STEPS : 1;
}

static uint32_t stamp_now(const struct cache_ghost *ghost)
{
    return (uint32_t)(ghost->evicted / step(ghost)) & (STAMPS - 1);
}

/* In steps, as long as it is not four times as old as there are slots. */
static uint32_t age(const struct cache_ghost *ghost, uint32_t slot)
{
    return (stamp_now(ghost) - slot) & (STAMPS - 1);
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
}

void cache_ghost_add(struct cache_ghost *ghost, uint64_t hash, uint64_t window)
{
    if (window > ghost->slot_count)
        grow(ghost, window);
    if (!ghost->slots)
        return;
    uint32_t *place = place_of(ghost, hash);
    uint32_t *oldest = place;
    for (int i = 0; i < PLACE && *oldest; i++)
        if (!place[i] || age(ghost, place[i]) > age(ghost, *oldest))
            oldest = &place[i];
    *oldest = mark_of(hash) << STAMP_BITS | stamp_now(ghost);
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
        bool recent = age(ghost, place[i]) * step(ghost) <= window;
        place[i] = 0;
        return recent;
    }
    return false;
}

void cache_ghost_age(struct cache_ghost *ghost)
{
    ghost->evicted += STAMPS / 2 * step(ghost);
}
