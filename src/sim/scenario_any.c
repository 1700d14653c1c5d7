/* SPDX-License-Identifier: Apache-2.0 */

/* Anything at all: how many peers, keyspaces, clients, and which faults, is
 * drawn from the seed; or said (struct scenario_knobs), so that a failure can
 * be made smaller.
 *
 * What is assumed is what the design assumes. Clocks: with leases they drift
 * by 1 % at most, each otherwise from time to time; without (strict reads)
 * they drift by 10 % and jump by up to 10 s. They never go back while a
 * process lives; after a loss of power they begin anywhere. Disks: one copy of
 * an arc at a time is lost or damaged, when all others are there. There is one
 * version of the protocol (WIRE_VERSION), so none are mixed; maps are. */

#include <assert.h>
#include <stdio.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "sim/plan.h"
#include "vector/kernel.h"
#include "wire/mp.h"

enum {
    PEERS_MAX = 9,
    CLIENTS_MIN = 4,
    CLIENTS_MAX = 16,
    SPARE_MAX = 3, /* peers that may join */
    STRICT_DRIFT_PPM = 100000,
    /* Without disks whoever ends has lost its copies. */
    MEMORY_KINDS = FAULT_CUT | FAULT_ONE_WAY | FAULT_ISOLATE | FAULT_CLOG |
                   FAULT_BREAK | FAULT_PAUSE | FAULT_LOSE_DISK | FAULT_CLOCK |
                   FAULT_DRIFT | FAULT_TRAIN | FAULT_BALANCE | FAULT_STEPS |
                   FAULT_LINKS
};

/* Keyspaces. */

struct making {
    struct plan *p;
    bool asked, made;
};

static void on_made(void *context, uint64_t argument,
                    const struct response *response)
{
    struct making *m = context;
    (void)argument;
    m->asked = false;
    m->made = response &&
              (response->status == DLHT_OK || response->status == DLHT_EEXISTS);
}

static void ask_to_make(struct making *m, const struct plan_keyspace *keyspace)
{
    struct plan *p = m->p;
    struct buf doc = { 0 };
    mp_write_map(&doc, 3);
    mp_write_cstr(&doc, "name");
    mp_write_cstr(&doc, keyspace->name);
    mp_write_cstr(&doc, "placement");
    mp_write_cstr(&doc, keyspace->hashed ? "hashed" : "ordered");
    mp_write_cstr(&doc, "replicas");
    mp_write_uint(&doc, keyspace->replicas);
    struct request q = { .op = OP_KEYSPACE_CREATE, .timeout_ms = 3000 };
    q.value = buf_span(&doc);
    size_t by = (size_t)rng_below(&p->rng, p->world.peer_count);
    if (world_is_ready(p->w, by)) {
        m->asked = true;
        if (doc.failed || world_request(p->w, by, &q, on_made, m, 0) != DLHT_OK)
            world_fail(p->w, "codec", "a keyspace cannot be asked for");
    }
    buf_deinit(&doc);
}

bool plan_make_keyspaces(struct plan *p)
{
    uint64_t end = world_now_ns(p->w) + p->bound_ns;
    for (size_t i = 0; i < p->more_count; i++) {
        struct making m = { .p = p };
        while (!m.made || m.asked) {
            if (!m.asked && !m.made)
                ask_to_make(&m, &p->more[i]);
            if (world_now_ns(p->w) > end)
                world_fail(p->w, "A10_keyspace", "%s is not made after %.0f s",
                           p->more[i].name, (double)p->bound_ns / 1e9);
            if (!plan_run_for(p, 100 * WORLD_MS))
                return false;
        }
    }
    return p->more_count == 0 || plan_await_whole(p);
}

/* Copies that make sense for so many peers: one, three or five. */
static uint8_t draw_replicas(struct rng *rng, size_t peers)
{
    uint64_t most = peers > 3 ? 3 : peers > 1 ? 2 : 1;
    return (uint8_t)(2 * rng_below(rng, most) + 1);
}

static void draw_keyspaces(struct plan *p, struct rng *rng, size_t peers,
                           size_t drawn)
{
    size_t count = p->knobs->keyspaces ? p->knobs->keyspaces : drawn;
    p->more_count = count - 1 < PLAN_MORE_MAX ? count - 1 : PLAN_MORE_MAX;
    for (size_t i = 0; i < PLAN_MORE_MAX; i++) {
        struct plan_keyspace *k = &p->more[i];
        snprintf(k->name, sizeof k->name, "more-%zu", i);
        k->hashed = i == 0 || rng_chance(rng, 0.3);
        k->replicas = draw_replicas(rng, peers);
        k->config = p->workload;
        k->config.keyspace = k->name;
        k->config.hashed = k->hashed;
        k->config.seed = rng_next(rng);
        k->config.key_count = 4 + (size_t)rng_below(rng, 40);
    }
}

/* Among all keyspaces, one at least to each. */
static void share_clients(struct plan *p, size_t drawn)
{
    size_t clients = p->knobs->clients ? p->knobs->clients : drawn;
    size_t shares = 1 + p->more_count;
    p->workload.client_count = (clients + shares - 1) / shares;
    for (size_t i = 0; i < p->more_count; i++)
        p->more[i].config.client_count =
            clients / shares > 0 ? clients / shares : 1;
}

/* Faults. */

static uint32_t draw_kinds(struct rng *rng)
{
    static const double DENSITIES[] = { 0.1, 0.2, 0.35, 0.6 };
    double density = DENSITIES[rng_below(rng, 4)];
    uint32_t kinds = 0;
    for (uint32_t bit = 0; bit < FAULT_KINDS; bit++)
        if (rng_chance(rng, density))
            kinds |= (uint32_t)1 << bit;
    return rng_chance(rng, 0.03) ? (uint32_t)FAULT_ALL : kinds;
}

/* In force while there are faults. */
static void set_net(struct plan *p, struct rng *rng, double lose_max)
{
    uint32_t kinds = p->fault.kinds;
    double lose = rng_real(rng), duplicate = rng_real(rng),
           reorder = rng_real(rng);
    struct world_net *net = &p->faults_net;
    p->has_faults_net = true;
    *net = p->world.net;
    if (kinds & FAULT_BREAK)
        net->break_link = 0.001;
    if (kinds & FAULT_LOSS)
        net->lose = lose_max * lose * lose;
    if (kinds & FAULT_DUPLICATE)
        net->duplicate = 0.1 * duplicate;
    if (kinds & FAULT_REORDER)
        net->reorder = 0.2 * reorder;
}

static void set_steps(struct plan *p, struct rng *rng)
{
    uint32_t kinds = p->fault.kinds;
    uint64_t every_ns = (100 + rng_below(rng, 3000)) * WORLD_MS;
    double kill = rng_real(rng) < 0.3 ? 0.05 : 0;
    double cut = 0.3;
    if (!(kinds & FAULT_STEPS))
        return;
    p->merger.every_ns = every_ns;
    p->merger.kill_chance = kinds & FAULT_KILL ? kill : 0;
    if (!(kinds & (FAULT_MERGE | FAULT_MOVE)))
        cut = 1;
    p->merger.cut_chance = kinds & FAULT_SPLIT ? cut : 0;
    if (kinds & FAULT_MOVE)
        p->merger.move_chance = kinds & FAULT_MERGE ? 0.4 : 1;
}

/* What follows from the kinds for all else. */
static void fit_to_kinds(struct plan *p)
{
    uint32_t kinds = p->fault.kinds;
    if (kinds & FAULT_CLOCK) {
        p->world.node.strict = true;
        p->world.drift_ppm_max = STRICT_DRIFT_PPM;
    }
    /* Who is killed in its first join comes back by another name, and the first
     * one is waited for. */
    if (kinds & (FAULT_DAMAGE | FAULT_JOIN))
        p->world.node.down_out_ns = 5 * WORLD_S;
    p->models = p->unsettled = kinds & FAULT_TRAIN;
    p->equal = p->careful = p->own_kinds = true;
}

static void set_kinds(struct plan *p, uint32_t drawn, uint32_t allowed)
{
    p->fault.kinds = p->knobs->has_kinds ? p->knobs->kinds : drawn;
    p->fault.kinds &= allowed;
}

static void draw_nature(struct plan *p, struct rng *rng)
{
    struct node_config *node = &p->world.node;
    bool memory = rng_chance(rng, 0.08);
    p->world.mixed_maps = rng_chance(rng, 0.15);
    if (rng_chance(rng, 0.1))
        p->world.net.jitter_ns = 100 * WORLD_MS;
    if (rng_chance(rng, 0.3))
        node->strict = true;
    node->durable = !memory;
}

void plan_any(struct plan *p)
{
    struct rng rng;
    rng_init(&rng, rng_next(&p->rng));
    size_t peers = 1 + (size_t)rng_below(&rng, PEERS_MAX);
    if (p->knobs->peers)
        peers = p->knobs->peers;
    draw_nature(p, &rng);
    set_kinds(p, draw_kinds(&rng),
              p->world.node.durable ? FAULT_ALL : MEMORY_KINDS);
    size_t spare = 1 + (size_t)rng_below(&rng, SPARE_MAX);
    p->first_peers = peers;
    p->world.peer_count = peers + (p->fault.kinds & FAULT_JOIN ? spare : 0);
    p->world.node.replicas = draw_replicas(&rng, peers);
    draw_keyspaces(p, &rng, peers, 1 + (size_t)rng_below(&rng, 4));
    share_clients(p, (size_t)rng_range(&rng, CLIENTS_MIN, CLIENTS_MAX));
    p->fault.every_ns = (300 + rng_below(&rng, 4000)) * WORLD_MS;
    p->fault.lasts_ns = (500 + rng_below(&rng, 5000)) * WORLD_MS;
    set_net(p, &rng, 0.3);
    set_steps(p, &rng);
    fit_to_kinds(p);
    p->loads = rng_chance(&rng, 0.5);
    p->faults_ns = rng_range(&rng, 15, 40) * WORLD_S;
    p->bound_ns = 90 * WORLD_S;
}

/* Large rings: begun settled, one keyspace or two, and few faults. */
void plan_any_large(struct plan *p)
{
    struct rng rng;
    rng_init(&rng, rng_next(&p->rng));
    size_t peers = p->world.peer_count;
    plan_large(p);
    p->first_peers = peers;
    p->unverified = false;
    p->workload.range = 2;
    p->world.node.vnodes = (uint32_t)rng_range(&rng, 1, peers <= 64 ? 4 : 1);
    p->world.node.map_fingers = rng_chance(&rng, 0.4);
    uint32_t kinds = draw_kinds(&rng);
    kinds &= draw_kinds(&rng);
    set_kinds(p, kinds, FAULT_ALL & ~(uint32_t)(FAULT_TRAIN | FAULT_BLACKOUT));
    if (p->fault.kinds & FAULT_JOIN)
        p->world.peer_count += peers / 32 < WORLD_PEERS_MAX - peers
                                   ? peers / 32
                                   : WORLD_PEERS_MAX - peers;
    draw_keyspaces(p, &rng, peers,
                   peers <= 256 && rng_chance(&rng, 0.3) ? 2 : 1);
    share_clients(p, (size_t)rng_range(&rng, CLIENTS_MIN, CLIENTS_MAX));
    p->fault.every_ns = (300 + rng_below(&rng, 2000)) * WORLD_MS;
    p->fault.lasts_ns = (500 + rng_below(&rng, 3000)) * WORLD_MS;
    set_net(p, &rng, 0.05);
    set_steps(p, &rng);
    fit_to_kinds(p);
    p->world.node.down_out_ns = 5 * WORLD_S;
    p->faults_ns = rng_range(&rng, 8, 15) * WORLD_S;
    p->bound_ns = 180 * WORLD_S;
}

/* Three to seven peers with collections of vectors, in small arcs. */
void plan_vectors(struct plan *p)
{
    struct rng rng;
    rng_init(&rng, rng_next(&p->rng));
    size_t peers = 3 + (size_t)rng_below(&rng, 5);
    if (p->knobs->peers)
        peers = p->knobs->peers;
    p->world.mixed_maps = rng_chance(&rng, 0.15);
    if (rng_chance(&rng, 0.3))
        p->world.node.strict = true;
    uint32_t steps = rng_chance(&rng, 0.7) ? FAULT_STEPS : 0;
    set_kinds(p, draw_kinds(&rng) | steps, FAULT_ALL);
    p->first_peers = peers;
    p->world.peer_count = peers + (p->fault.kinds & FAULT_JOIN ? 1 : 0);
    p->workload.client_count = 1;
    p->workload.key_count = 8;
    p->world.node.kernel = kernel_choose("scalar"); /* one for all machines */
    p->fault.every_ns = (300 + rng_below(&rng, 2500)) * WORLD_MS;
    p->fault.lasts_ns = (300 + rng_below(&rng, 3000)) * WORLD_MS;
    p->fault.trained = "vectors-0";
    p->world.node.graph_gap_ns = (200 + rng_below(&rng, 3000)) * WORLD_MS;
    p->world.node.graph_changes = 1 + (uint32_t)rng_below(&rng, 60);
    p->world.disk.graph_chance = rng_chance(&rng, 0.7) ? 0.4 : 0;
    set_net(p, &rng, 0.2);
    set_steps(p, &rng);
    p->merger.every_ns /= 3;
    fit_to_kinds(p);
    p->vectors = true;
    p->models = false;
    p->faults_ns = rng_range(&rng, 8, 18) * WORLD_S;
    p->bound_ns = 90 * WORLD_S;
}

/* One to five peers with a cache: they crash, come back, are cut off, leave. */
void plan_cache(struct plan *p)
{
    struct rng rng;
    rng_init(&rng, rng_next(&p->rng));
    size_t peers =
        p->knobs->peers ? p->knobs->peers : 1 + (size_t)rng_below(&rng, 5);
    set_kinds(p, draw_kinds(&rng), FAULT_ALL);
    p->first_peers = peers;
    p->world.peer_count = peers + (p->fault.kinds & FAULT_JOIN ? 1 : 0);
    p->workload.client_count = 1;
    p->workload.key_count = 8;
    p->fault.every_ns = (300 + rng_below(&rng, 2500)) * WORLD_MS;
    p->fault.lasts_ns = (300 + rng_below(&rng, 3000)) * WORLD_MS;
    set_net(p, &rng, 0.2);
    fit_to_kinds(p);
    p->models = false;
    p->caches = true;
    p->faults_ns = rng_range(&rng, 8, 20) * WORLD_S;
    p->bound_ns = 60 * WORLD_S;
}

/* Each peer is stopped in order and started again (fault.c does), once the one
 * before is back and whoever owns the system arc knows who has what. */
static bool act_restarts(struct plan *p)
{
    for (size_t peer = 0; peer < p->first_peers; peer++) {
        if (!plan_await_whole(p) || !plan_run_for(p, 8 * WORLD_S))
            return false;
        world_stop(p->w, peer);
        while (world_is_up(p->w, peer))
            if (!plan_run_for(p, 100 * WORLD_MS))
                return false;
    }
    return true;
}

/* Peers join and leave in order, or are stopped and come back, and nothing else
 * happens, but that they pause with some seeds. */
void plan_cache_moves(struct plan *p)
{
    struct rng rng;
    rng_init(&rng, rng_next(&p->rng));
    size_t peers =
        p->knobs->peers ? p->knobs->peers : 2 + (size_t)rng_below(&rng, 3);
    set_kinds(p, FAULT_JOIN | FAULT_LEAVE, FAULT_JOIN | FAULT_LEAVE);
    p->first_peers = peers;
    p->world.peer_count = peers + 1 + (size_t)rng_below(&rng, 2);
    p->workload.client_count = 1;
    p->workload.key_count = 8;
    p->fault.every_ns = (1000 + rng_below(&rng, 4000)) * WORLD_MS;
    fit_to_kinds(p);
    p->models = false;
    p->caches = p->cache_keeps = true;
    if (rng_chance(&rng, 0.4))
        p->act = act_restarts;
    p->world.node.vnodes = 1 + (uint32_t)rng_below(&rng, 8);
    /* Slow enough that much is written meanwhile. */
    p->world.node.move_rate = rng_range(&rng, 128, 1024) << 10;
    p->faults_ns = rng_range(&rng, 20, 40) * WORLD_S;
    p->bound_ns = 60 * WORLD_S;
    bool pauses = rng_next(&rng) % 4 == 2;
    if (p->knobs->has_kinds)
        pauses = p->knobs->kinds & FAULT_PAUSE;
    if (pauses && !p->act) {
        set_kinds(p, p->fault.kinds | FAULT_PAUSE,
                  FAULT_JOIN | FAULT_LEAVE | FAULT_PAUSE);
        p->fault.every_ns = rng_range(&rng, 300, 1500) * WORLD_MS;
        p->fault.lasts_ns = rng_range(&rng, 1000, 6000) * WORLD_MS;
        /* The end of an arc's way takes long enough to pause in it. */
        p->world.net.far = 0.5;
        p->world.net.far_ns = rng_range(&rng, 20, 250) * WORLD_MS;
    }
}

/* Short ways on which a request may come again when its client has long been
 * answered, and has written once more. */
static void repeat_late(struct plan *p)
{
    p->world.net.far = 0;
    p->world.net.delay_max_ns = 2 * WORLD_MS;
    p->world.net.jitter_ns = WORLD_MS;
    p->workload.think_ns = 3 * WORLD_MS;
    p->has_faults_net = true;
    p->faults_net = p->world.net;
    p->faults_net.duplicate = 0.2;
    p->faults_net.reorder = 0.5;
}

/* Two leaders of one arc, or a lease too many, is the matter of an instant:
 * only who asks all the time for the same few keys can see it. Leaders are sent
 * on from one to the next, links are held back and cut, peers pause. */
void plan_contended(struct plan *p)
{
    static const uint32_t KINDS =
        FAULT_CUT | FAULT_ONE_WAY | FAULT_ISOLATE | FAULT_CLOG | FAULT_BREAK |
        FAULT_PAUSE | FAULT_KILL | FAULT_FLICKER | FAULT_DRIFT | FAULT_MOVE;
    struct rng rng;
    rng_init(&rng, rng_next(&p->rng));
    plan_draw_net(p);
    set_kinds(p, (uint32_t)rng_next(&rng) | FAULT_MOVE, KINDS);
    p->world.node.vnodes = 1;
    p->world.node.floor_keys = 1000;
    p->world.node.map_fingers = false;
    /* What two peers tell each other overtakes what a third hears. */
    if (rng_chance(&rng, 0.7)) {
        p->world.net.delay_max_ns = 3 * WORLD_MS;
        p->world.net.far = 0.4;
        p->world.net.far_ns = rng_range(&rng, 20, 250) * WORLD_MS;
    }
    p->world.disk.sync_max_ns = 2 * WORLD_MS;
    p->world.disk.slow_chance = 0;
    p->workload.key_count = 6;
    p->workload.hot_count = 2;
    p->workload.client_count = 10;
    p->workload.think_ns = (1 + rng_below(&rng, 20)) * WORLD_MS;
    p->workload.timeout_ms = 500 + (uint32_t)rng_below(&rng, 2000);
    p->workload.get = 60;
    p->fault.every_ns = (100 + rng_below(&rng, 1000)) * WORLD_MS;
    p->fault.lasts_ns = (50 + rng_below(&rng, 3000)) * WORLD_MS;
    set_steps(p, &rng);
    p->merger.every_ns = (50 + rng_below(&rng, 500)) * WORLD_MS;
    if (rng_chance(&rng, 0.25))
        repeat_late(p);
    p->equal = p->own_kinds = true;
    p->faults_ns = 15 * WORLD_S;
    p->calm_ns = 2 * WORLD_S;
    p->bound_ns = 60 * WORLD_S;
}
