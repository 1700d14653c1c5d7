/* SPDX-License-Identifier: Apache-2.0 */

/* The tormentor: when, and what happens to processes and links. */

#include "sim/fault.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sim/fault_inner.h"

uint64_t fault_draw_time(struct fault *fault, uint64_t mean)
{
    return rng_range(&fault->rng, mean / 10, mean * 2);
}

size_t fault_draw_peer(struct fault *fault, bool up)
{
    size_t count = world_peer_count(fault->world), fit = 0;
    for (size_t i = 0; i < count; i++)
        fit += world_is_wanted(fault->world, i) &&
               world_is_up(fault->world, i) == up;
    if (fit == 0)
        return SIZE_MAX;
    size_t skip = (size_t)rng_below(&fault->rng, fit);
    for (size_t i = 0; i < count; i++) {
        if (world_is_wanted(fault->world, i) &&
            world_is_up(fault->world, i) == up && skip-- == 0)
            return i;
    }
    return SIZE_MAX;
}

static void on_start(void *context, uint64_t peer)
{
    struct fault *fault = context;
    if (world_is_wanted(fault->world, (size_t)peer) &&
        !world_is_up(fault->world, (size_t)peer))
        world_start(fault->world, (size_t)peer);
}

void fault_start_later(struct fault *fault, size_t peer)
{
    world_after(fault->world, fault_draw_time(fault, fault->config.lasts_ns),
                on_start, fault, peer);
}

void fault_note_exit(struct fault *fault, size_t peer)
{
    world_after(fault->world, fault_draw_time(fault, WORLD_S), on_start, fault,
                peer);
}

/* What an operator does (docs/operations.md): disks are hurt only where the
 * others have all that this one held. */
static void on_replace(void *context, uint64_t peer)
{
    struct fault *fault = context;
    if (!world_is_up(fault->world, (size_t)peer))
        world_lose_disk(fault->world, (size_t)peer);
    fault_set_bootstrap(fault, (size_t)peer);
    on_start(context, peer);
}

void fault_note_refusal(struct fault *fault, size_t peer)
{
    world_after(fault->world, fault_draw_time(fault, WORLD_S), on_replace,
                fault, peer);
}

static void crash_one(struct fault *fault, bool power)
{
    size_t peer = fault_draw_peer(fault, true);
    if (peer == SIZE_MAX)
        return;
    world_crash(fault->world, peer, power);
    fault_start_later(fault, peer);
}

/* Argument: how often still. */
static void on_flicker(void *context, uint64_t left)
{
    struct fault *fault = context;
    size_t peer = fault_draw_peer(fault, true);
    if (!fault->running || peer == SIZE_MAX)
        return;
    world_crash(fault->world, peer, rng_chance(&fault->rng, 0.8));
    world_after(fault->world, rng_range(&fault->rng, 0, 300 * WORLD_MS),
                on_start, fault, peer);
    if (left > 0)
        world_after(fault->world, rng_range(&fault->rng, 0, 700 * WORLD_MS),
                    on_flicker, fault, left - 1);
}

static void blackout(struct fault *fault)
{
    for (size_t i = 0; i < world_peer_count(fault->world); i++) {
        if (!world_is_up(fault->world, i))
            continue;
        world_crash(fault->world, i, true);
        fault_start_later(fault, i);
    }
}

/* Argument: from << 32 | to. */
static void on_mend_one(void *context, uint64_t pair)
{
    struct fault *fault = context;
    world_cut(fault->world, (size_t)(pair >> 32), (size_t)(pair & 0xffffffff),
              false);
}

static void cut_for(struct fault *fault, size_t from, size_t to,
                    uint64_t for_ns)
{
    if (from == to || world_is_cut(fault->world, from, to))
        return;
    world_cut(fault->world, from, to, true);
    world_after(fault->world, for_ns, on_mend_one, fault,
                (uint64_t)from << 32 | to);
}

static void cut_parts(struct fault *fault)
{
    size_t count = world_peer_count(fault->world);
    uint64_t for_ns = fault_draw_time(fault, fault->config.lasts_ns);
    uint64_t sides = rng_next(&fault->rng);
    world_trace(fault->world, "two parts are cut for %.3f s, sides %llx",
                (double)for_ns / 1e9, (unsigned long long)sides);
    for (size_t a = 0; a < count; a++) {
        for (size_t b = 0; b < count; b++) {
            if ((sides >> a % 64 & 1) != (sides >> b % 64 & 1))
                cut_for(fault, a, b, for_ns);
        }
    }
}

static void isolate_one(struct fault *fault)
{
    size_t peer = fault_draw_peer(fault, true);
    uint64_t for_ns = fault_draw_time(fault, fault->config.lasts_ns);
    if (peer == SIZE_MAX)
        return;
    world_trace(fault->world, "n%zu is alone for %.3f s", peer,
                (double)for_ns / 1e9);
    for (size_t i = 0; i < world_peer_count(fault->world); i++) {
        cut_for(fault, peer, i, for_ns);
        cut_for(fault, i, peer, for_ns);
    }
}

static void touch_link(struct fault *fault, enum fault_kind kind)
{
    size_t from = fault_draw_peer(fault, true),
           to = fault_draw_peer(fault, true);
    uint64_t for_ns = fault_draw_time(fault, fault->config.lasts_ns);
    if (from == to || from == SIZE_MAX)
        return;
    if (kind == FAULT_ONE_WAY) {
        world_trace(fault->world, "n%zu is not heard by n%zu for %.3f s", from,
                    to, (double)for_ns / 1e9);
        cut_for(fault, from, to, for_ns);
    } else if (kind == FAULT_CLOG) {
        world_clog(fault->world, from, to, for_ns / 2);
    } else {
        world_break_link(fault->world, from, to);
    }
}

static void touch_peer(struct fault *fault, enum fault_kind kind)
{
    size_t peer = fault_draw_peer(fault, true);
    if (peer == SIZE_MAX)
        return;
    if (kind == FAULT_STOP) {
        world_stop(fault->world, peer);
    } else if (kind == FAULT_CLOCK) {
        world_jump_clock(fault->world, peer,
                         rng_range(&fault->rng, WORLD_MS, JUMP_NS_MAX));
    } else if (kind == FAULT_DRIFT) {
        int64_t max = (int64_t)world_drift_max(fault->world);
        world_drift_clock(
            fault->world, peer,
            (int64_t)rng_below(&fault->rng, (uint64_t)(2 * max + 1)) - max);
    } else {
        uint64_t for_ns = fault_draw_time(fault, fault->config.lasts_ns);
        world_pause(fault->world, peer,
                    for_ns < PAUSE_NS_MAX ? for_ns : PAUSE_NS_MAX);
    }
}

static void make_trouble(struct fault *fault, enum fault_kind kind)
{
    fault->seen |= kind;
    switch (kind) {
    case FAULT_KILL:
    case FAULT_POWER:
        crash_one(fault, kind == FAULT_POWER);
        break;
    case FAULT_BLACKOUT:
        blackout(fault);
        break;
    case FAULT_FLICKER:
        on_flicker(fault, rng_below(&fault->rng, 12));
        break;
    case FAULT_CUT:
        cut_parts(fault);
        break;
    case FAULT_ISOLATE:
        isolate_one(fault);
        break;
    case FAULT_ONE_WAY:
    case FAULT_CLOG:
    case FAULT_BREAK:
        touch_link(fault, kind);
        break;
    case FAULT_PAUSE:
    case FAULT_CLOCK:
    case FAULT_DRIFT:
    case FAULT_STOP:
        touch_peer(fault, kind);
        break;
    case FAULT_SLOW_DISK:
    case FAULT_SYNC_FAILS:
    case FAULT_LOSE_DISK:
    case FAULT_FULL_DISK:
    case FAULT_ROT:
    case FAULT_MISDIRECT:
        fault_disk(fault, kind);
        break;
    case FAULT_JOIN:
    case FAULT_LEAVE:
    case FAULT_TRAIN:
    case FAULT_BALANCE:
        fault_operate(fault, kind);
        break;
    case FAULT_SPLIT:
    case FAULT_MERGE:
    case FAULT_MOVE:
    case FAULT_LOSS:
    case FAULT_DUPLICATE:
    case FAULT_REORDER:
        break;
    }
}

static void on_trouble(void *context, uint64_t argument)
{
    struct fault *fault = context;
    (void)argument;
    if (!fault->running)
        return;
    uint32_t kinds[FAULT_KINDS], all = fault->config.kinds;
    size_t count = 0;
    all &= ~(uint32_t)(FAULT_STEPS | FAULT_LINKS);
    for (uint32_t bit = 0; bit < FAULT_KINDS; bit++) {
        if (all >> bit & 1)
            kinds[count++] = (uint32_t)1 << bit;
    }
    if (count == 0)
        return;
    make_trouble(fault, (enum fault_kind)kinds[rng_below(&fault->rng, count)]);
    world_after(fault->world, fault_draw_time(fault, fault->config.every_ns),
                on_trouble, fault, 0);
}

struct fault *fault_new(struct world *world, const struct fault_config *config)
{
    struct fault *fault = mem_zero(1, sizeof *fault);
    if (!fault) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    fault->world = world;
    fault->config = *config;
    rng_init(&fault->rng, config->seed);
    return fault;
}

void fault_free(struct fault *fault)
{
    if (fault)
        fault_drop_errands(fault);
    free(fault);
}

void fault_start(struct fault *fault)
{
    fault->running = true;
    world_after(fault->world, fault_draw_time(fault, fault->config.every_ns),
                on_trouble, fault, 0);
}

void fault_stop(struct fault *fault)
{
    fault->running = false;
    world_mend(fault->world);
    for (size_t i = 0; i < world_peer_count(fault->world); i++) {
        if (!world_is_wanted(fault->world, i))
            continue;
        if (fault->config.kinds & FAULT_FULL_DISK)
            world_fill_disk(fault->world, i, false);
        if (!world_is_up(fault->world, i))
            world_start(fault->world, i);
        else
            world_slow_disk(fault->world, i, 0);
    }
    fault_stop_operating(fault);
}

uint32_t fault_seen(const struct fault *fault)
{
    return fault->seen;
}
