/* SPDX-License-Identifier: Apache-2.0 */

/* Stories, from a seed: which there are, and what they are made of. */

#include "sim/scenario.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "sim/checker.h"
#include "sim/fault.h"
#include "sim/plan.h"
#include "sim/workload.h"

/* By one of those before it; the first founds. */
void plan_start_one(struct plan *p, size_t peer)
{
    if (peer > 0) {
        size_t from = (size_t)rng_below(&p->rng, peer);
        while (!world_is_wanted(p->w, from))
            from--; /* the founder never leaves */
        world_set_bootstrap(p->w, peer, &from, 1);
    }
    world_start(p->w, peer);
}

/* The founder, then each of the others by any that has started before. */
static bool start_all(struct plan *p)
{
    size_t count = p->first_peers ? p->first_peers : p->world.peer_count;
    for (size_t i = 0; i < count; i++) {
        plan_start_one(p, i);
        if (!plan_run_for(p, rng_below(&p->rng, p->pause_ns)))
            return false;
    }
    return plan_await_whole(p);
}

static bool start_founder(struct plan *p)
{
    plan_start_one(p, 0);
    return plan_await_whole(p);
}

static bool start_half(struct plan *p)
{
    for (size_t i = 0; i < p->world.peer_count / 2; i++) {
        plan_start_one(p, i);
        if (!plan_run_for(p, rng_below(&p->rng, p->pause_ns)))
            return false;
    }
    return plan_await_whole(p);
}

/* A peer leaves as an operator would have it: asks until it may be stopped,
 * stops it. */
struct leaving {
    struct plan *p;
    size_t peer;
    bool done;
    bool asked;
};

static void on_leave_answer(void *context, uint64_t argument,
                            const struct response *response)
{
    struct leaving *l = context;
    (void)argument;
    l->asked = false;
    l->done = response && response->status == DLHT_OK;
}

bool plan_leave(struct plan *p, size_t peer)
{
    struct leaving l = { .p = p, .peer = peer };
    uint64_t end = world_now_ns(p->w) + p->bound_ns;
    world_trace(p->w, "n%zu is to leave", peer);
    struct request q = { .op = OP_LEAVE, .timeout_ms = 3000 };
    q.key = span_str(world_addr(p->w, peer));
    while (!l.done || l.asked) {
        size_t by = (size_t)rng_below(&p->rng, p->world.peer_count);
        if (!l.asked && !l.done && by != peer && world_is_ready(p->w, by)) {
            l.asked = true;
            if (world_request(p->w, by, &q, on_leave_answer, &l, 0) != 0)
                world_fail(p->w, "codec", "OP_LEAVE does not pack");
        }
        if (world_now_ns(p->w) > end)
            world_fail(p->w, "A10_leave",
                       "n%zu may not be stopped after %.0f s", peer,
                       (double)p->bound_ns / 1e9);
        if (!plan_run_for(p, 200 * WORLD_MS))
            return false;
    }
    world_set_wanted(p->w, peer, false);
    if (world_is_up(p->w, peer))
        world_stop(p->w, peer);
    return plan_run_for(p, WORLD_S);
}

/* Killed, missed for a while, back. Nothing may be lost meanwhile. */
static bool kill_one(struct plan *p)
{
    size_t peer = (size_t)rng_below(&p->rng, p->world.peer_count);
    if (!world_is_up(p->w, peer))
        return true;
    world_crash(p->w, peer, plan_coin(p, 0.5));
    if (!plan_run_for(p, rng_range(&p->rng, 1, 5) * WORLD_S))
        return false;
    world_start(p->w, peer);
    return plan_await_whole(p);
}

/* 1, 2, 3 ... peers under load, whole at each size, one killed at each. */
static bool act_grow(struct plan *p)
{
    for (size_t i = 1; i < p->world.peer_count; i++) {
        plan_start_one(p, i);
        if (!plan_await_whole(p) || !plan_run_for(p, 2 * WORLD_S))
            return false;
        if (i + 1 >= 3 && !kill_one(p))
            return false;
    }
    return true;
}

/* The other half comes, some of the first half go, some are killed. */
static bool act_join_leave(struct plan *p)
{
    size_t half = p->world.peer_count / 2;
    for (size_t i = half; i < p->world.peer_count; i++) {
        plan_start_one(p, i);
        if (!plan_run_for(p, rng_below(&p->rng, 2 * p->pause_ns)))
            return false;
        if (i % 10 == 5) {
            size_t killed = (size_t)rng_below(&p->rng, i);
            if (world_is_up(p->w, killed)) {
                world_crash(p->w, killed, true);
                fault_note_exit(p->tormentor, killed);
            }
        }
    }
    for (size_t i = 1; i < half; i += 1 + half / 6) {
        if (world_is_up(p->w, i) && !plan_leave(p, i))
            return false;
    }
    return true;
}

/* All lose power at once, again and again. */
static bool act_mass_restart(struct plan *p)
{
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < p->world.peer_count; i++) {
            if (world_is_up(p->w, i))
                world_crash(p->w, i, plan_coin(p, 0.7));
        }
        if (!plan_run_for(p, rng_below(&p->rng, 3 * WORLD_S)))
            return false;
        for (size_t i = 0; i < p->world.peer_count; i++) {
            if (!world_is_up(p->w, i))
                world_start(p->w, i);
            if (!plan_run_for(p, rng_below(&p->rng, 300 * WORLD_MS)))
                return false;
        }
        if (!plan_await_whole(p) || !plan_run_for(p, 3 * WORLD_S))
            return false;
    }
    return true;
}

/* What differs from seed to seed. */

void plan_draw_net(struct plan *p)
{
    struct world_net *net = &p->world.net;
    net->delay_max_ns = (1 + rng_below(&p->rng, 20)) * WORLD_MS;
    net->jitter_ns = rng_below(&p->rng, 10 * WORLD_MS);
    if (plan_coin(p, 0.4)) /* as TCP: all in order, or the link breaks */
        net->break_link = 0.002 * rng_real(&p->rng);
    else if (plan_coin(p, 0.5)) {
        net->break_link = 0.0005;
        net->lose = 0.05 * rng_real(&p->rng);
        net->duplicate = 0.05 * rng_real(&p->rng);
        net->reorder = 0.1 * rng_real(&p->rng);
    }
}

static void draw_disk(struct plan *p)
{
    struct world_disk *disk = &p->world.disk;
    disk->sync_max_ns = (1 + rng_below(&p->rng, 10)) * WORLD_MS;
    if (plan_coin(p, 0.3)) {
        disk->slow_chance = 0.01;
        disk->slow_ns = WORLD_S;
    }
    p->world.segment_bytes = UINT64_C(16384) << rng_below(&p->rng, 5);
    p->world.node.checkpoint_bytes = UINT64_C(65536) << rng_below(&p->rng, 4);
}

static void draw_node(struct plan *p)
{
    struct node_config *node = &p->world.node;
    node->replicas = 3;
    node->vnodes = 1 + (uint32_t)rng_below(&p->rng, 4);
    node->floor_keys = 2 + rng_below(&p->rng, 20);
    node->strict = plan_coin(p, 0.15);
    node->map_fingers = plan_coin(p, 0.2);
    node->join_timeout_ns = 30 * WORLD_S;
    node->down_out_ns = 300 * WORLD_S;
}

static void draw_workload(struct plan *p)
{
    struct workload_config *c = &p->workload;
    c->client_count = 4 + (size_t)rng_below(&p->rng, 7);
    c->key_count = 4 + (size_t)rng_below(&p->rng, 60);
    c->hot_count = 1 + (size_t)rng_below(&p->rng, 5);
    c->think_ns = (100 + rng_below(&p->rng, 200)) * WORLD_MS;
    c->timeout_ms = 1000 + (uint32_t)rng_below(&p->rng, 6000);
    if (plan_coin(p, 0.1))
        c->value_len_max = 20000;
}

static void draw_faults(struct plan *p)
{
    static const uint32_t ALL =
        FAULT_KILL | FAULT_POWER | FAULT_BLACKOUT | FAULT_CUT | FAULT_ONE_WAY |
        FAULT_ISOLATE | FAULT_CLOG | FAULT_BREAK | FAULT_PAUSE |
        FAULT_SLOW_DISK | FAULT_SYNC_FAILS | FAULT_STOP | FAULT_FULL_DISK;
    struct fault_config *f = &p->fault;
    f->kinds = ALL & (uint32_t)rng_next(&p->rng);
    if (plan_coin(p, 0.2))
        f->kinds = ALL;
    f->every_ns = (300 + rng_below(&p->rng, 4000)) * WORLD_MS;
    f->lasts_ns = (500 + rng_below(&p->rng, 5000)) * WORLD_MS;
}

/* By chance of its own, so that it changes nothing else in a story. */
static void draw_quiet(struct plan *p, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, hash64_mix(seed, 0x717));
    if (rng_chance(&rng, 0.5))
        p->world.node.quiet_ns = (100 + rng_below(&rng, 1500)) * WORLD_MS;
}

static void begin_plan(struct plan *p, const struct scenario *scenario,
                       const struct scenario_options *options)
{
    memset(p, 0, sizeof *p);
    p->scenario = scenario;
    rng_init(&p->rng, hash64_mix(options->seed, 0x51));
    world_config_default(&p->world);
    workload_config_default(&p->workload);
    p->knobs = &options->knobs;
    p->world.peer_count =
        options->knobs.peers ? options->knobs.peers : scenario->peers;
    p->world.trace = options->trace;
    p->progress = options->progress;
    p->world.trace_context = options->trace_context;
    p->world.seed = rng_next(&p->rng);
    p->workload.seed = rng_next(&p->rng);
    p->fault.seed = rng_next(&p->rng);
    p->merger.seed = p->fault.seed ^ 0x6d;
    p->start = start_all;
    p->calm_ns = 4 * WORLD_S;
    p->bound_ns = 40 * WORLD_S;
    p->poll_ns = 100 * WORLD_MS;
    p->pause_ns = 500 * WORLD_MS;
    draw_node(p);
    draw_disk(p);
    draw_workload(p);
    draw_quiet(p, options->seed);
}

/* The scenarios. */

static void plan_one_node(struct plan *p)
{
    draw_faults(p);
    p->fault.kinds &= FAULT_KILL | FAULT_POWER | FAULT_FLICKER | FAULT_PAUSE |
                      FAULT_SLOW_DISK | FAULT_SYNC_FAILS | FAULT_STOP;
    p->faults_ns = 30 * WORLD_S;
}

static void plan_five_calm(struct plan *p)
{
    p->loads = true;
    p->calm_ns = 10 * WORLD_S;
}

static void plan_five_faults(struct plan *p)
{
    plan_draw_net(p);
    draw_faults(p);
    p->loads = plan_coin(p, 0.5);
    p->faults_ns = 40 * WORLD_S;
    if (plan_coin(p, 0.3)) {
        p->merger.every_ns = (500 + rng_below(&p->rng, 4000)) * WORLD_MS;
        p->merger.cut_chance = 0.2;
    }
}

/* Arcs come together and are cut again while all that goes on. */
static void plan_merges(struct plan *p)
{
    plan_five_faults(p);
    p->loads = true;
    p->workload.key_count = 20 + (size_t)rng_below(&p->rng, 200);
    p->workload.hot_count = 4 + (size_t)rng_below(&p->rng, 12);
    if (p->workload.seed % 3 == 0) /* of one size: no sum tells them apart */
        p->workload.value_len_max = 8;
    p->world.node.vnodes = 1 + (uint32_t)rng_below(&p->rng, 3);
    p->world.node.floor_keys = 2 + rng_below(&p->rng, 6);
    p->merger.every_ns = (50 + rng_below(&p->rng, 500)) * WORLD_MS;
    p->merger.cut_chance = 0.1 + 0.3 * rng_real(&p->rng);
    p->merger.kill_chance = plan_coin(p, 0.5) ? 0.05 * rng_real(&p->rng) : 0;
    if (plan_coin(p, 0.2)) /* calm but for the merges */
        p->fault.kinds = FAULT_BREAK;
}

/* Without disks: a crash is a loss, so only one at a time, when all is whole. */
static void plan_memory_only(struct plan *p)
{
    plan_draw_net(p);
    draw_faults(p);
    p->world.node.durable = false;
    p->fault.kinds &= FAULT_CUT | FAULT_ONE_WAY | FAULT_ISOLATE | FAULT_CLOG |
                      FAULT_BREAK | FAULT_PAUSE;
    p->fault.kinds |= FAULT_LOSE_DISK;
    p->fault.lasts_ns = WORLD_S;
    p->loads = true;
    p->faults_ns = 40 * WORLD_S;
    p->bound_ns = 60 * WORLD_S;
}

static void plan_grow(struct plan *p)
{
    p->start = start_founder;
    p->act = act_grow;
    p->loads = true;
}

static void plan_join_leave(struct plan *p)
{
    p->start = start_half;
    p->act = act_join_leave;
    p->loads = true;
    p->workload.key_count = 1500;
    p->workload.hot_count = 12;
    p->workload.client_count = 10;
    p->workload.value_len_max = 60;
    p->world.node.floor_keys = 4;
    p->world.node.vnodes = 1;
    p->world.node.map_fingers = false;
    p->world.segment_bytes = 64 << 10;
    p->world.node.checkpoint_bytes = 1 << 20;
    p->bound_ns = 180 * WORLD_S;
    p->poll_ns = WORLD_S;
    p->pause_ns = 200 * WORLD_MS;
}

/* Peers come quickly, by anybody; the ring becomes ideal. */
static void plan_ring(struct plan *p)
{
    p->loads = true;
    p->workload.key_count = 4 * p->world.peer_count;
    p->workload.value_len_max = 20;
    p->workload.client_count = 4;
    p->world.node.vnodes = 1;
    p->world.node.floor_keys = 2;
    p->world.segment_bytes = 64 << 10;
    p->world.node.checkpoint_bytes = 1 << 20;
    p->pause_ns = plan_coin(p, 0.5) ? 10 * WORLD_MS : 200 * WORLD_MS;
    p->bound_ns = 180 * WORLD_S;
    p->poll_ns = p->world.peer_count > 50 ? 2 * WORLD_S : 200 * WORLD_MS;
    p->calm_ns = 10 * WORLD_S;
}

static void plan_mass_restart(struct plan *p)
{
    p->act = act_mass_restart;
    p->loads = true;
}

static void plan_disk_loss(struct plan *p)
{
    plan_draw_net(p);
    draw_faults(p);
    p->fault.kinds = FAULT_LOSE_DISK | FAULT_KILL | FAULT_CLOG;
    p->fault.every_ns = 3 * WORLD_S;
    p->world.node.down_out_ns = 5 * WORLD_S;
    p->loads = true;
    p->faults_ns = 60 * WORLD_S;
    p->bound_ns = 60 * WORLD_S;
}

/* Small segments and many checkpoints, so that damage meets each state of a
 * journal that is shortened. */
static void plan_damage(struct plan *p)
{
    plan_draw_net(p);
    draw_faults(p);
    p->fault.kinds = FAULT_ROT | FAULT_MISDIRECT | FAULT_KILL | FAULT_POWER;
    p->fault.every_ns = 1500 * WORLD_MS;
    p->fault.lasts_ns = 500 * WORLD_MS;
    p->world.segment_bytes = 16 << 10;
    p->world.node.checkpoint_bytes = 32 << 10;
    p->world.node.down_out_ns = 5 * WORLD_S;
    p->workload.think_ns = 50 * WORLD_MS;
    p->equal = p->careful = p->loads = true;
    p->faults_ns = 60 * WORLD_S;
    p->bound_ns = 90 * WORLD_S;
}

static void plan_slow_disk(struct plan *p)
{
    draw_faults(p);
    p->fault.kinds = FAULT_SLOW_DISK | FAULT_SYNC_FAILS | FAULT_POWER;
    p->world.disk.slow_chance = 0.05;
    p->world.disk.slow_ns = 2 * WORLD_S;
    p->loads = true;
    p->faults_ns = 40 * WORLD_S;
}

/* Small segments, so that a full disk is met soon. */
static void plan_full_disk(struct plan *p)
{
    plan_draw_net(p);
    draw_faults(p);
    p->fault.kinds = FAULT_FULL_DISK | FAULT_KILL | FAULT_POWER | FAULT_CLOG;
    p->fault.every_ns = 3 * WORLD_S;
    p->fault.lasts_ns = 8 * WORLD_S;
    p->world.segment_bytes = 16 << 10;
    p->loads = true;
    p->faults_ns = 60 * WORLD_S;
    p->bound_ns = 60 * WORLD_S;
}

static void plan_fingers(struct plan *p)
{
    plan_five_faults(p);
    p->world.node.map_fingers = true;
    p->world.mixed_maps = plan_coin(p, 0.3);
    p->bound_ns = 60 * WORLD_S;
}

/* Other keys come, with all that goes wrong. */
static bool act_models(struct plan *p)
{
    fault_start(p->tormentor);
    models_story_torment(p->story, true);
    bool sound = plan_run_for(p, p->faults_ns / 3);
    if (sound)
        workload_load_late(p->clients);
    sound = sound && plan_run_for(p, p->faults_ns - p->faults_ns / 3);
    models_story_torment(p->story, false);
    fault_stop(p->tormentor);
    p->result->faults = fault_seen(p->tormentor);
    return sound;
}

static void plan_models(struct plan *p)
{
    plan_five_faults(p);
    p->fault.kinds &= ~(uint32_t)FAULT_FULL_DISK;
    p->merger.every_ns = 0;
    p->models = p->loads = true;
    p->bound_ns = 90 * WORLD_S; /* arcs that were cut are still moved */
    p->act = act_models;
    p->workload.key_count = 500 + (size_t)rng_below(&p->rng, 1000);
    p->workload.late_count = p->workload.key_count / 2;
    p->workload.value_len_max = 60;
    p->world.node.vnodes = 1 + (uint32_t)rng_below(&p->rng, 2);
    p->world.node.floor_keys = 20 + rng_below(&p->rng, 60);
}

static void plan_liar(struct plan *p)
{
    plan_models(p);
    p->liar = true;
}

/* So many arcs that two may be missing. */
static void plan_silent(struct plan *p)
{
    plan_models(p);
    p->silence = true;
    p->workload.key_count = 1000 + (size_t)rng_below(&p->rng, 1000);
    p->workload.late_count = p->workload.key_count / 2;
    p->world.node.vnodes = 3;
    p->world.node.floor_keys = 20;
}

static void hop_heard(void *context, uint64_t argument,
                      const struct response *response)
{
    struct plan *p = context;
    (void)argument;
    if (!response || response->status != 0)
        return;
    p->lookups++;
    p->hops += response->hops;
}

/* Lookups of keys anywhere, asked of any peer, by pointers. */
static bool act_lookups(struct plan *p)
{
    enum {
        LOOKUPS = 3000
    };
    for (int i = 0; i < LOOKUPS; i++) {
        size_t key = (size_t)rng_below(&p->rng, p->workload.key_count);
        struct request q = { .op = OP_LOOKUP,
                             .key = history_key(workload_history(p->clients),
                                                key) };
        size_t peer = (size_t)rng_below(&p->rng, p->world.peer_count);
        if (world_request(p->w, peer, &q, hop_heard, p, 0) != 0)
            return false;
        if (!plan_run_for(p, 5 * WORLD_MS))
            return false;
    }
    if (!plan_await_idle(p))
        return false;
    double arcs = (double)checker_arc_count(p->checker);
    double mean = p->lookups ? (double)p->hops / (double)p->lookups : 1e9;
    double bound = 0.5;
    for (double n = arcs; n > 1; n /= 2)
        bound += n >= 2 ? 0.5 : 0.5 * (n - 1);
    snprintf(p->result->remark, sizeof p->result->remark,
             "%.0f arcs, %zu lookups, %.2f hops", arcs, p->lookups, mean);
    if (mean > bound)
        world_fail(p->w, "A11_hops", "%.0f arcs, %.2f hops, bound %.2f", arcs,
                   mean, bound);
    return true;
}

static void plan_ring_fingers(struct plan *p)
{
    plan_ring(p);
    p->world.node.map_fingers = true;
    p->world.node.vnodes = 8;
    p->workload.key_count = 30 * p->world.peer_count;
    p->act = act_lookups;
}

typedef void (*plan_fn)(struct plan *);

static const struct {
    struct scenario scenario;
    plan_fn plan;
} SCENARIOS[] = {
    { { "any", "anything at all: one to nine peers, drawn from the seed", 9 },
      plan_any },
    { { "any_32", "the same with 32 peers, with fewer faults", 32 },
      plan_any_large },
    { { "any_256", "the same with 256 peers", 256 }, plan_any_large },
    { { "any_1024", "the same with 1,024 peers", 1024 }, plan_any_large },
    { { "one_node", "one peer crashes, tears its disk and comes back", 1 },
      plan_one_node },
    { { "five_calm", "five peers, nothing goes wrong", 5 }, plan_five_calm },
    { { "five_faults",
        "five peers under loss, partitions, crashes and torn disks", 5 },
      plan_five_faults },
    { { "merges", "five_faults while arcs are merged and cut at random", 5 },
      plan_merges },
    { { "contended",
        "many clients on few keys, while leaders change every moment", 3 },
      plan_contended },
    { { "memory_only", "five peers without disks; one lost at a time", 5 },
      plan_memory_only },
    { { "grow", "one, two, three ... peers under load, one killed at each size",
        5 },
      plan_grow },
    { { "join_leave_100",
        "half of them join, some leave, some crash, under load", 100 },
      plan_join_leave },
    { { "ring_3", "three peers become a ring", 3 }, plan_ring },
    { { "ring_30", "thirty peers become a ring", 30 }, plan_ring },
    { { "ring_300", "three hundred peers become a ring", 300 }, plan_ring },
    { { "fingers_5", "five_faults with Chord pointers instead of maps", 5 },
      plan_fingers },
    { { "ring_30_fingers",
        "thirty peers become an ideal ring; lookups take few hops", 30 },
      plan_ring_fingers },
    { { "quiet_5", "groups sleep; then owners die, links are cut, work comes",
        5 },
      plan_quiet },
    { { "idle_10", "what ten peers send that nobody uses", 10 }, plan_idle },
    { { "models", "five_faults while models are trained, as other keys come",
        5 },
      plan_models },
    { { "models_liar", "models, and one peer lies about its keys", 5 },
      plan_liar },
    { { "models_silent",
        "models, and two peers do not say what rounds need of an arc", 5 },
      plan_silent },
    { { "vectors",
        "anything at all, while collections of vectors are written and "
        "searched",
        7 },
      plan_vectors },
    { { "cache", "anything at all, while a volatile cache is used", 5 },
      plan_cache },
    { { "cache_moves",
        "peers join, leave, stop in order; a volatile cache loses nothing", 5 },
      plan_cache_moves },
    { { "mass_restart", "five peers lose power together, four times", 5 },
      plan_mass_restart },
    { { "disk_loss", "five peers lose their disks, one at a time", 5 },
      plan_disk_loss },
    { { "recovered",
        "two or three of five die for good; an operator recovers arcs", 5 },
      plan_recovered },
    { { "steady",
        "a network that loses, peers that stall: no living peer loses anything",
        5 },
      plan_steady },
    { { "full_disk", "five peers whose disks are full for a while", 5 },
      plan_full_disk },
    { { "weights", "five peers hold what their weights say, as these change",
        5 },
      plan_weights },
    { { "changes",
        "one joins, one leaves, one dies, under load, nothing else "
        "is wrong",
        6 },
      plan_changes },
    { { "down_out",
        "three of ten peers die together; one is replaced at a time", 10 },
      plan_down_out },
    { { "ring_1000",
        "a thousand peers with whole maps; some join, leave and die", 1000 },
      plan_ring_1000 },
    { { "fingers_1000", "the same with Chord pointers instead of maps", 1000 },
      plan_fingers_1000 },
    { { "mass_restart_300",
        "three hundred peers stop and start within a second", 300 },
      plan_mass_restart_300 },
    { { "half_dead_1000",
        "half of a ring of a thousand dies at once; lookups find the rest",
        1000 },
      plan_half_dead },
    { { "damage", "five peers, of which one at a time finds its disk damaged",
        5 },
      plan_damage },
    { { "slow_disk", "five peers on disks that are slow and fail", 5 },
      plan_slow_disk },
};

size_t scenario_count(void)
{
    return sizeof SCENARIOS / sizeof *SCENARIOS;
}

const struct scenario *scenario_at(size_t index)
{
    assert(index < scenario_count());
    return &SCENARIOS[index].scenario;
}

const struct scenario *scenario_find(const char *name)
{
    for (size_t i = 0; i < scenario_count(); i++) {
        if (strcmp(SCENARIOS[i].scenario.name, name) == 0)
            return &SCENARIOS[i].scenario;
    }
    return NULL;
}

/* What was said goes before what was drawn; and what it all is, is told. Peers,
 * keyspaces and how clients are shared among them are of the plan. */
static void turn_knobs(struct plan *p)
{
    const struct scenario_knobs *k = p->knobs;
    if (k->clients && p->more_count == 0)
        p->workload.client_count = k->clients;
    if (k->seconds)
        p->faults_ns = k->seconds * WORLD_S;
    if (k->has_kinds && !p->own_kinds)
        p->fault.kinds = k->kinds;
    struct scenario_knobs *drawn = &p->result->drawn;
    *drawn =
        (struct scenario_knobs){ .peers = p->first_peers ? p->first_peers
                                                         : p->world.peer_count,
                                 .clients = p->workload.client_count,
                                 .keyspaces = 1 + p->more_count,
                                 .seconds = (uint32_t)(p->faults_ns / WORLD_S),
                                 .kinds = p->fault.kinds,
                                 .has_kinds = true };
    for (size_t i = 0; i < p->more_count; i++)
        drawn->clients += p->more[i].config.client_count;
}

static void make_plan(struct plan *plan, const struct scenario *scenario,
                      const struct scenario_options *options,
                      struct scenario_result *result)
{
    memset(result, 0, sizeof *result);
    begin_plan(plan, scenario, options);
    plan->result = result;
    for (size_t i = 0; i < scenario_count(); i++) {
        if (&SCENARIOS[i].scenario == scenario)
            SCENARIOS[i].plan(plan);
    }
    turn_knobs(plan);
}

void scenario_draw(const struct scenario *scenario,
                   const struct scenario_options *options,
                   struct scenario_knobs *out)
{
    struct plan plan;
    struct scenario_result result;
    make_plan(&plan, scenario, options, &result);
    *out = result.drawn;
}

void scenario_run(const struct scenario *scenario,
                  const struct scenario_options *options,
                  struct scenario_result *result)
{
    struct plan plan;
    make_plan(&plan, scenario, options, result);
    plan_run(&plan);
}
