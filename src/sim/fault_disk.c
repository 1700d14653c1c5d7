/* SPDX-License-Identifier: Apache-2.0 */

/* What happens to disks. */

#include "sim/fault_inner.h"

static void on_disk_is_fast(void *context, uint64_t peer)
{
    struct fault *fault = context;
    if (world_is_up(fault->world, (size_t)peer))
        world_slow_disk(fault->world, (size_t)peer, 0);
}

static void on_disk_has_room(void *context, uint64_t peer)
{
    struct fault *fault = context;
    world_fill_disk(fault->world, (size_t)peer, false);
}

static void fill_disks(struct fault *fault)
{
    bool all = rng_chance(&fault->rng, 0.3);
    size_t peer = fault_draw_peer(fault, true);
    for (size_t i = 0; i < world_peer_count(fault->world); i++) {
        if (i != peer && !(all && world_is_up(fault->world, i)))
            continue;
        world_fill_disk(fault->world, i, true);
        world_after(fault->world,
                    fault_draw_time(fault, fault->config.lasts_ns),
                    on_disk_has_room, fault, i);
    }
}

void fault_set_bootstrap(struct fault *fault, size_t peer)
{
    size_t from[NODE_BOOTSTRAP_MAX], count = 0;
    for (size_t i = 0;
         i < world_peer_count(fault->world) && count < NODE_BOOTSTRAP_MAX;
         i++) {
        if (i != peer && world_is_wanted(fault->world, i))
            from[count++] = i;
    }
    world_set_bootstrap(fault->world, peer, from, count);
}

/* One copy at a time, and only where the others are enough to mend it. */
static bool may_lose(struct fault *fault, size_t peer)
{
    const struct fault_config *c = &fault->config;
    return peer != SIZE_MAX && c->is_whole && c->is_whole(c->context) &&
           (!c->may_lose || c->may_lose(c->context, peer));
}

static void lose_one(struct fault *fault, enum fault_kind kind)
{
    size_t peer = fault_draw_peer(fault, true);
    if (!may_lose(fault, peer))
        return;
    if (kind == FAULT_LOSE_DISK) {
        world_crash(fault->world, peer, true);
        world_lose_disk(fault->world, peer);
    } else if (!world_hurt(fault->world, peer,
                           kind == FAULT_ROT ? WORLD_ROT : WORLD_MISDIRECTED)) {
        return;
    }
    fault_set_bootstrap(fault, peer);
    fault_start_later(fault, peer);
}

static void slow_one(struct fault *fault)
{
    size_t peer = fault_draw_peer(fault, true);
    if (peer == SIZE_MAX)
        return;
    uint64_t for_ns = fault_draw_time(fault, fault->config.lasts_ns);
    world_slow_disk(fault->world, peer, fault_draw_time(fault, 200 * WORLD_MS));
    world_after(fault->world, for_ns, on_disk_is_fast, fault, peer);
}

void fault_disk(struct fault *fault, enum fault_kind kind)
{
    if (kind == FAULT_SLOW_DISK) {
        slow_one(fault);
    } else if (kind == FAULT_FULL_DISK) {
        fill_disks(fault);
    } else if (kind == FAULT_SYNC_FAILS) {
        size_t peer = fault_draw_peer(fault, true);
        if (peer != SIZE_MAX)
            world_fail_sync(fault->world, peer);
    } else {
        lose_one(fault, kind);
    }
}
