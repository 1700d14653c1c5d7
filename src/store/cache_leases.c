/* SPDX-License-Identifier: Apache-2.0 */

/* Tokens, four places for each hash. */

#include "store/cache_leases.h"

#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"

enum {
    PLACE = 4
};

void cache_leases_init(struct cache_leases *leases, uint32_t count_max)
{
    uint32_t count = PLACE;
    while (count < count_max && count < UINT32_MAX / 2)
        count *= 2;
    *leases = (struct cache_leases){ .slot_count = count };
}

void cache_leases_deinit(struct cache_leases *leases)
{
    free(leases->slots);
    leases->slots = NULL;
}

uint64_t cache_leases_memory_bytes(const struct cache_leases *leases)
{
    return leases->slots ? leases->slot_count * sizeof *leases->slots : 0;
}

static struct cache_leases_slot *place_of(const struct cache_leases *leases,
                                          uint64_t hash)
{
    return leases->slots + (hash & (leases->slot_count / PLACE - 1)) * PLACE;
}

static bool is_good(const struct cache_leases *leases,
                    const struct cache_leases_slot *slot, uint64_t now_ms)
{
    return slot->token > leases->floor && slot->until_ms > now_ms;
}

/* The slot of a hash, good or not; NULL: none. */
static struct cache_leases_slot *find(const struct cache_leases *leases,
                                      uint64_t hash)
{
    if (!leases->slots)
        return NULL;
    struct cache_leases_slot *place = place_of(leases, hash);
    for (int i = 0; i < PLACE; i++)
        if (place[i].token && place[i].hash == hash)
            return &place[i];
    return NULL;
}

/* For another hash: one that is free or void, or the one that ends first. */
static struct cache_leases_slot *free_slot(const struct cache_leases *leases,
                                           uint64_t hash, uint64_t now_ms)
{
    struct cache_leases_slot *place = place_of(leases, hash);
    struct cache_leases_slot *first = place;
    for (int i = 0; i < PLACE; i++) {
        if (!is_good(leases, &place[i], now_ms))
            return &place[i];
        if (place[i].until_ms < first->until_ms)
            first = &place[i];
    }
    return first;
}

int cache_leases_take(struct cache_leases *leases, uint64_t hash,
                      uint64_t now_ms, uint64_t until_ms, uint64_t *token)
{
    *token = 0;
    if (!leases->slots)
        leases->slots = mem_zero(leases->slot_count, sizeof *leases->slots);
    if (!leases->slots)
        return DLHT_ENOMEM;
    struct cache_leases_slot *slot = find(leases, hash);
    if (slot && is_good(leases, slot, now_ms))
        return DLHT_OK;
    if (!slot)
        slot = free_slot(leases, hash, now_ms);
    *token = ++leases->last;
    *slot = (struct cache_leases_slot){ hash, *token, until_ms };
    return DLHT_OK;
}

bool cache_leases_good(const struct cache_leases *leases, uint64_t hash,
                       uint64_t now_ms, uint64_t token)
{
    const struct cache_leases_slot *slot = find(leases, hash);
    return slot && token && slot->token == token &&
           is_good(leases, slot, now_ms);
}

void cache_leases_void(struct cache_leases *leases, uint64_t hash)
{
    struct cache_leases_slot *slot = find(leases, hash);
    if (slot)
        slot->token = 0;
}

void cache_leases_void_all(struct cache_leases *leases)
{
    leases->floor = leases->last;
}
