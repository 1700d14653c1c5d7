/* SPDX-License-Identifier: Apache-2.0 */

/* Peers: their clocks, their processes, what is asked of them. */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "dlht/err.h"
#include "sim/world_inner.h"

/* Clocks. */

static uint64_t drifted(uint64_t elapsed, int64_t ppm)
{
    return (uint64_t)((int64_t)elapsed + (int64_t)(elapsed / 1000000) * ppm +
                      (int64_t)(elapsed % 1000000) * ppm / 1000000);
}

uint64_t world_clock_now(const struct world *world, const struct sim_peer *peer)
{
    return peer->clock_base +
           drifted(world->now - peer->clock_boot_ns, peer->drift_ppm);
}

uint64_t world_clock_when(const struct world *world,
                          const struct sim_peer *peer, uint64_t local)
{
    uint64_t now = world_clock_now(world, peer);
    if (local <= now)
        return world->now;
    uint64_t wait = local - now;
    if (wait > 100000 * WORLD_S)
        return UINT64_MAX;
    uint64_t rate = (uint64_t)(1000000 + peer->drift_ppm);
    return world->now + wait / rate * 1000000 + wait % rate * 1000000 / rate +
           2;
}

void world_clock_start(struct world *world, struct sim_peer *peer)
{
    int64_t max = (int64_t)world->config.drift_ppm_max;
    peer->drift_ppm =
        (int64_t)rng_below(&world->rng, (uint64_t)(2 * max + 1)) - max;
    peer->clock_boot_ns = world->now;
    peer->clock_base = world_draw(world, WORLD_S, 1000000 * WORLD_S);
}

/* What it waits for may be due now. */
static void look_up(struct world *world, struct sim_peer *peer)
{
    if (peer->node)
        world_turn_plan(world, peer, world->now + WORLD_US);
}

void world_jump_clock(struct world *world, size_t index, uint64_t by_ns)
{
    struct sim_peer *peer = &world->peers[index];
    world_trace(world, "n%u clock jumps by %.3f s", (unsigned)peer->index,
                (double)by_ns / 1e9);
    peer->clock_base += by_ns;
    look_up(world, peer);
}

uint32_t world_drift_max(const struct world *world)
{
    return world->config.drift_ppm_max;
}

void world_drift_clock(struct world *world, size_t index, int64_t ppm)
{
    struct sim_peer *peer = &world->peers[index];
    assert((ppm < 0 ? -ppm : ppm) <= (int64_t)world->config.drift_ppm_max);
    world_trace(world, "n%u clock drifts by %lld ppm", (unsigned)peer->index,
                (long long)ppm);
    peer->clock_base = world_clock_now(world, peer);
    peer->clock_boot_ns = world->now;
    peer->drift_ppm = ppm;
    look_up(world, peer);
}

/* Processes. */

enum end {
    END_CLEAN,
    END_KILLED,
    END_POWER
};

static void end_process(struct world *world, struct sim_peer *peer,
                        enum end end)
{
    assert(peer->node);
    if (end != END_CLEAN)
        world_job_half_way(world, peer);
    node_free(peer->node);
    peer->node = NULL;
    effects_deinit(&peer->effects);
    peer->effects = (struct effects){ 0 };
    peer->ready = false;
    peer->stopping = false;
    peer->life++;
    peer->turn_at = UINT64_MAX;
    peer->paused_until = 0;
    world_turn_drop_inputs(peer);
    if (end == END_CLEAN)
        world_disk_close(peer);
    else
        world_disk_crash(world, peer, end == END_POWER);
    world_net_peer_gone(world, peer->index, end == END_POWER);
    world_client_peer_gone(world, peer->index);
}

void world_end_clean(struct world *world, struct sim_peer *peer)
{
    end_process(world, peer, END_CLEAN);
}

void world_exit(struct world *world, struct sim_peer *peer, int status,
                const char *text)
{
    char copy[128];
    snprintf(copy, sizeof copy, "%s", text ? text : "");
    world_trace(world, "n%u exits, %s: %s", (unsigned)peer->index,
                dlht_errname(status), copy);
    end_process(world, peer, status == DLHT_OK ? END_CLEAN : END_KILLED);
    if (world->config.on_exit)
        world->config.on_exit(world->config.context, peer->index, status, copy);
}

static void fill_config(struct world *world, struct sim_peer *peer,
                        struct node_config *config)
{
    *config = world->config.node;
    memcpy(config->addr, peer->addr, sizeof config->addr);
    config->bootstrap_count = peer->bootstrap_count;
    for (size_t i = 0; i < peer->bootstrap_count; i++)
        memcpy(config->bootstrap[i], world->peers[peer->bootstrap[i]].addr,
               sizeof config->bootstrap[i]);
    if (peer->weight_milli)
        config->weight_milli = peer->weight_milli;
    if (world->config.mixed_maps)
        config->map_fingers = peer->index % 2 == 1;
    config->seed = rng_next(&world->rng);
}

/* It goes on by itself from here. */
static void after_boot(struct world *world, struct sim_peer *peer)
{
    struct hello hello;
    node_hello(peer->node, &hello);
    peer->id = hello.peer;
    world_peer_index(world, peer->index);
    world_trace(world, "n%u is incarnation %llu", (unsigned)peer->index,
                (unsigned long long)hello.incarnation);
    struct event event = { .kind = EVENT_FLUSH,
                           .now_ns = world_clock_now(world, peer) };
    if (world_turn_step(world, peer, &event))
        world_turn_plan(world, peer, world->now + WORLD_MS);
}

static struct sim_peer *begin_process(struct world *world, size_t index)
{
    struct sim_peer *peer = &world->peers[index];
    assert(!peer->node);
    struct node_config config;
    fill_config(world, peer, &config);
    if (peer->starts > 0)
        world->stats.restarts++;
    peer->starts++;
    peer->wanted = true;
    peer->life++;
    int rc = node_new(&config, &peer->node);
    if (rc != DLHT_OK) {
        world_fail(world, "start", "node_new: %s", dlht_errname(rc));
        return NULL;
    }
    world_trace(world, "n%u starts, %u bootstrap", (unsigned)index,
                (unsigned)config.bootstrap_count);
    const char *text = "";
    if (config.durable)
        rc = world_disk_recover(world, peer, &text);
    if (world->invariant)
        return NULL;
    if (rc != DLHT_OK) {
        world_exit(world, peer, rc, text);
        return NULL;
    }
    return peer;
}

void world_start_by(struct world *world, size_t index, world_boot_fn fn,
                    void *context)
{
    struct sim_peer *peer = begin_process(world, index);
    if (!peer)
        return;
    int rc = fn(context, index, peer->node, world_clock_now(world, peer),
                &peer->effects);
    if (world_turn_effects(world, peer, rc))
        after_boot(world, peer);
}

void world_start(struct world *world, size_t index)
{
    struct sim_peer *peer = begin_process(world, index);
    if (!peer)
        return;
    struct event event = { .kind = EVENT_BOOT,
                           .now_ns = world_clock_now(world, peer) };
    if (world_turn_step(world, peer, &event))
        after_boot(world, peer);
}

void world_crash(struct world *world, size_t index, bool power)
{
    struct sim_peer *peer = &world->peers[index];
    assert(peer->node);
    world_trace(world, "n%u crashes%s", (unsigned)index,
                power ? ", power lost" : "");
    world->stats.crashes++;
    end_process(world, peer, power ? END_POWER : END_KILLED);
    if (power)
        world_clock_start(world, peer);
}

void world_stop(struct world *world, size_t index)
{
    struct sim_peer *peer = &world->peers[index];
    if (peer->stopping)
        return;
    peer->stopping = true;
    world_trace(world, "n%u is asked to stop", (unsigned)index);
    world_feed(world, peer, &(struct input){ .kind = INPUT_STOP });
}

void world_pause(struct world *world, size_t index, uint64_t for_ns)
{
    struct sim_peer *peer = &world->peers[index];
    world_trace(world, "n%u pauses for %.3f s", (unsigned)index,
                (double)for_ns / 1e9);
    uint64_t until = world->now + for_ns;
    if (peer->paused_until < until)
        peer->paused_until = until;
}

void world_set_bootstrap(struct world *world, size_t index, const size_t *from,
                         size_t count)
{
    struct sim_peer *peer = &world->peers[index];
    assert(count <= NODE_BOOTSTRAP_MAX);
    for (size_t i = 0; i < count; i++) {
        assert(from[i] < world->config.peer_count);
        peer->bootstrap[i] = from[i];
    }
    peer->bootstrap_count = count;
}

void world_set_weight(struct world *world, size_t peer, uint32_t milli)
{
    world->peers[peer].weight_milli = milli;
}

bool world_is_wanted(const struct world *world, size_t peer)
{
    return world->peers[peer].wanted;
}

void world_set_wanted(struct world *world, size_t peer, bool wanted)
{
    world->peers[peer].wanted = wanted;
}

bool world_is_up(const struct world *world, size_t peer)
{
    return world->peers[peer].node != NULL;
}

bool world_is_ready(const struct world *world, size_t peer)
{
    return world->peers[peer].node && world->peers[peer].ready;
}

uint32_t world_starts(const struct world *world, size_t peer)
{
    return world->peers[peer].starts;
}

struct node *world_node(const struct world *world, size_t peer)
{
    return world->peers[peer].node;
}

uint64_t world_local_ns(const struct world *world, size_t peer)
{
    return world_clock_now(world, &world->peers[peer]);
}

size_t world_peer_count(const struct world *world)
{
    return world->config.peer_count;
}

const char *world_addr(const struct world *world, size_t peer)
{
    return world->peers[peer].addr;
}

/* By id: open addressing. A peer that comes back as another leaves its old
 * name behind, which is then nobody's; when there are too many of those, all
 * is made anew. */
static void index_one(struct world *world, size_t index)
{
    const struct id *id = &world->peers[index].id;
    size_t at = (size_t)id_hash(id);
    uint32_t *place = &world->by_id[at & (world->by_id_cap - 1)];
    while (*place != 0 && *place - 1 != index &&
           !id_equal(&world->peers[*place - 1].id, id))
        place = &world->by_id[++at & (world->by_id_cap - 1)];
    world->by_id_count += *place == 0;
    *place = (uint32_t)index + 1;
}

void world_peer_index(struct world *world, size_t index)
{
    index_one(world, index);
    if (world->by_id_count * 2 < world->by_id_cap)
        return;
    memset(world->by_id, 0, world->by_id_cap * sizeof *world->by_id);
    world->by_id_count = 0;
    for (size_t i = 0; i < world->config.peer_count; i++)
        if (!id_is_zero(&world->peers[i].id))
            index_one(world, i);
}

size_t world_peer_of(const struct world *world, const struct id *id)
{
    for (size_t at = (size_t)id_hash(id);; at++) {
        uint32_t place = world->by_id[at & (world->by_id_cap - 1)];
        if (place == 0)
            return SIZE_MAX;
        if (id_equal(&world->peers[place - 1].id, id))
            return place - 1;
    }
}

/* Addresses are 10.0.A.B:9000, B from 1 to 250. */
size_t world_peer_at(const struct world *world, const char *addr)
{
    unsigned a = 0, b = 0;
    const char *at = addr + 5;
    if (strncmp(addr, "10.0.", 5) != 0)
        return SIZE_MAX;
    for (; *at >= '0' && *at <= '9'; at++)
        a = a * 10 + (unsigned)(*at - '0');
    if (*at++ != '.')
        return SIZE_MAX;
    for (; *at >= '0' && *at <= '9'; at++)
        b = b * 10 + (unsigned)(*at - '0');
    size_t index = (size_t)a * 250 + b - 1;
    if (b == 0 || index >= world->config.peer_count ||
        strcmp(addr, world->peers[index].addr) != 0)
        return SIZE_MAX;
    return index;
}
