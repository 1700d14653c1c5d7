/* SPDX-License-Identifier: Apache-2.0 */

/* The heap of things to come, what happened so far, life. */

#include "sim/world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "sim/world_inner.h"

enum {
    HEAP_WAYS = 4 /* children of an entry */
};
static const uint64_t EVENTS_MAX_DEFAULT = 50000000;

void world_config_default(struct world_config *config)
{
    memset(config, 0, sizeof *config);
    config->peer_count = 1;
    node_config_default(&config->node);
    config->node.durable = true;
    config->net.delay_min_ns = 100 * WORLD_US;
    config->net.delay_max_ns = 2 * WORLD_MS;
    config->net.jitter_ns = 500 * WORLD_US;
    config->disk.sync_min_ns = 200 * WORLD_US;
    config->disk.sync_max_ns = 3 * WORLD_MS;
    config->segment_bytes = 256 << 10;
    config->drift_ppm_max = 10000;
}

/* A simulator that runs out of memory has no story to tell. */
void *world_alloc(size_t count, size_t size)
{
    void *memory = mem_zero(count, size);
    if (!memory) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    return memory;
}

uint8_t *world_copy(struct span bytes)
{
    uint8_t *copy = world_alloc(bytes.len, 1);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    return copy;
}

uint64_t world_draw(struct world *world, uint64_t lo, uint64_t hi)
{
    return lo >= hi ? lo : rng_range(&world->rng, lo, hi);
}

void world_fold(struct world *world, uint64_t value)
{
    world->hash = hash64_mix(world->hash, value);
}

bool world_is_traced(const struct world *world)
{
    return world->config.trace != NULL;
}

void world_trace(struct world *world, const char *format, ...)
{
    if (!world->config.trace)
        return;
    char line[WORLD_TEXT_MAX];
    int n = snprintf(line, sizeof line, "%12.6f ", (double)world->now / 1e9);
    va_list args;
    va_start(args, format);
    vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    world->config.trace(world->config.trace_context, line);
}

void world_fail(struct world *world, const char *invariant, const char *format,
                ...)
{
    if (world->invariant)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(world->text, sizeof world->text, format, args);
    va_end(args);
    world->invariant = invariant;
    world_trace(world, "FAILED %s: %s", invariant, world->text);
}

const char *world_failure(const struct world *world, const char **text)
{
    if (text)
        *text = world->invariant ? world->text : NULL;
    return world->invariant;
}

/* Heap. */

static bool is_before(const struct heap_entry *a, const struct heap_entry *b)
{
    if (a->time != b->time)
        return a->time < b->time;
    return a->sequence < b->sequence;
}

static void heap_push(struct world *world, struct thing *thing)
{
    if (world->heap_count == world->heap_cap) {
        size_t cap = world->heap_cap ? world->heap_cap * 2 : 1024;
        void *heap = mem_resize(world->heap, cap, sizeof *world->heap);
        if (!heap)
            abort();
        world->heap = heap;
        world->heap_cap = cap;
    }
    struct heap_entry entry = { thing->time, thing->sequence, thing };
    size_t at = world->heap_count++;
    while (at > 0 && is_before(&entry, &world->heap[(at - 1) / HEAP_WAYS])) {
        world->heap[at] = world->heap[(at - 1) / HEAP_WAYS];
        at = (at - 1) / HEAP_WAYS;
    }
    world->heap[at] = entry;
}

static size_t first_child(const struct world *world, size_t at)
{
    size_t first = HEAP_WAYS * at + 1, end = first + HEAP_WAYS;
    if (end > world->heap_count)
        end = world->heap_count;
    for (size_t i = first + 1; i < end; i++)
        if (is_before(&world->heap[i], &world->heap[first]))
            first = i;
    return first;
}

static struct thing *heap_pop(struct world *world)
{
    struct thing *top = world->heap[0].thing;
    struct heap_entry last = world->heap[--world->heap_count];
    size_t count = world->heap_count, at = 0;
    while (HEAP_WAYS * at + 1 < count) {
        size_t child = first_child(world, at);
        if (!is_before(&world->heap[child], &last))
            break;
        world->heap[at] = world->heap[child];
        at = child;
    }
    if (count > 0)
        world->heap[at] = last;
    return top;
}

struct thing *world_plan(struct world *world, uint64_t delay_ns,
                         enum thing_kind kind)
{
    struct thing *thing = world->spare;
    if (thing)
        world->spare = thing->context;
    else
        thing = world_alloc(1, sizeof *thing);
    memset(thing, 0, sizeof *thing);
    thing->time = world->now + delay_ns;
    thing->sequence = ++world->sequence;
    thing->kind = kind;
    heap_push(world, thing);
    return thing;
}

static void thing_done(struct world *world, struct thing *thing)
{
    free(thing->bytes);
    thing->bytes = NULL;
    thing->context = world->spare;
    world->spare = thing;
}

void world_after(struct world *world, uint64_t delay_ns, world_fn fn,
                 void *context, uint64_t argument)
{
    struct thing *thing = world_plan(world, delay_ns, THING_CALL);
    thing->call = fn;
    thing->context = context;
    thing->argument = argument;
}

static void do_thing(struct world *world, struct thing *thing)
{
    switch (thing->kind) {
    case THING_CALL:
        thing->call(thing->context, thing->argument);
        break;
    case THING_TURN:
        world_turn(world, thing);
        break;
    case THING_CONNECT:
        world_net_connect(world, thing);
        break;
    case THING_FRAME:
        world_net_frame(world, thing);
        break;
    case THING_STALLED:
        world_net_stalled(world, thing);
        break;
    case THING_LINK_DOWN:
        world_net_link_down(world, thing);
        break;
    case THING_CLOG_ENDS:
        world_net_clog_ends(world, thing);
        break;
    case THING_DISK:
        if (world->peers[thing->to].life == thing->epoch)
            world_disk_done(world, &world->peers[thing->to]);
        break;
    case THING_REQUEST:
        world_client_request(world, thing);
        break;
    case THING_REPLY:
        world_client_reply(world, thing);
        break;
    case THING_JOB:
        world_job_done(world, thing);
        break;
    }
}

bool world_step(struct world *world)
{
    if (world->invariant || world->heap_count == 0)
        return false;
    struct thing *thing = heap_pop(world);
    assert(thing->time >= world->now);
    world->now = thing->time;
    world->stats.events++;
    if (world->stats.events > world->config.events_max)
        world_fail(world, "livelock", "more than %llu events",
                   (unsigned long long)world->config.events_max);
    world_fold(world, world->now ^ (uint64_t)thing->kind << 56 ^
                          (uint64_t)thing->to << 40);
    do_thing(world, thing);
    thing_done(world, thing);
    return !world->invariant;
}

bool world_run(struct world *world, uint64_t until_ns)
{
    while (!world->invariant && world->heap_count > 0 &&
           world->heap[0].time <= until_ns)
        world_step(world);
    if (world->invariant)
        return false;
    if (world->now < until_ns)
        world->now = until_ns;
    return true;
}

uint64_t world_now_ns(const struct world *world)
{
    return world->now;
}

struct rng *world_rng(struct world *world)
{
    return &world->rng;
}

void world_stats(const struct world *world, struct world_stats *out)
{
    *out = world->stats;
}

uint64_t world_hash(const struct world *world)
{
    uint64_t hash = hash64_mix(world->hash, world->now);
    for (size_t i = 0; i < world->config.peer_count; i++) {
        const struct sim_peer *peer = &world->peers[i];
        hash = hash64_mix(hash, peer->node ? node_hash(peer->node) : i);
        hash = hash64_mix(hash, world_disk_hash(peer));
    }
    return hash;
}

int world_new(const struct world_config *config, struct world **out)
{
    *out = NULL;
    if (config->peer_count == 0 || config->peer_count > WORLD_PEERS_MAX ||
        config->drift_ppm_max > 500000)
        return DLHT_EINVAL;
    struct world *world = world_alloc(1, sizeof *world);
    world->config = *config;
    if (world->config.events_max == 0)
        world->config.events_max = EVENTS_MAX_DEFAULT;
    rng_init(&world->rng, config->seed);
    size_t count = config->peer_count;
    world->peers = world_alloc(count, sizeof *world->peers);
    world->conns = world_alloc(count * count, sizeof *world->conns);
    world->by_id_cap = 64;
    while (world->by_id_cap < 4 * count)
        world->by_id_cap *= 2;
    world->by_id = world_alloc(world->by_id_cap, sizeof *world->by_id);
    for (size_t i = 0; i < count; i++) {
        struct sim_peer *peer = &world->peers[i];
        peer->index = (uint32_t)i;
        peer->turn_at = UINT64_MAX;
        snprintf(peer->addr, sizeof peer->addr, "10.0.%u.%u:9000",
                 (unsigned)(i / 250), (unsigned)(i % 250 + 1));
        world_clock_start(world, peer);
        int rc = world_disk_init(world, peer);
        if (rc != DLHT_OK) {
            world_free(world);
            return rc;
        }
    }
    *out = world;
    return DLHT_OK;
}

void world_free(struct world *world)
{
    if (!world)
        return;
    for (size_t i = 0; i < world->config.peer_count; i++) {
        struct sim_peer *peer = &world->peers[i];
        node_free(peer->node);
        effects_deinit(&peer->effects);
        world_turn_drop_inputs(peer);
        free(peer->inputs);
        world_disk_deinit(peer);
    }
    world_net_deinit(world);
    for (size_t i = 0; i < world->heap_count; i++) {
        free(world->heap[i].thing->bytes);
        free(world->heap[i].thing);
    }
    while (world->spare) {
        struct thing *next = world->spare->context;
        free(world->spare);
        world->spare = next;
    }
    free(world->heap);
    free(world->peers);
    free(world->conns);
    free(world->by_id);
    free(world->tickets);
    buf_deinit(&world->scratch);
    codec_arena_deinit(&world->arena);
    free(world);
}
