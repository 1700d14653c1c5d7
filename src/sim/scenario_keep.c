/* SPDX-License-Identifier: Apache-2.0 */

/* Scenarios of what keeps a ring well: weights, deaths, an operator who
 * recovers, and sleep. */

#include "sim/plan.h"

#include <stdio.h>
#include <string.h>

#include "sim/balance_story.h"
#include "sim/idle_story.h"
#include "sim/quiet_story.h"

static bool act_recovered(struct plan *p)
{
    return recover_story_act(p->recovery);
}

/* Nobody comes back unheard: loss is of other scenarios. */
void plan_recovered(struct plan *p)
{
    p->dying = p->loads = true;
    p->act = act_recovered;
    p->world.node.down_out_ns = 5 * WORLD_S;
    p->bound_ns = 90 * WORLD_S;
    if (plan_coin(p, 0.5))
        plan_draw_net(p);
}

/* One of five is started with weight 2; then weights are changed. */
static bool act_weights(struct plan *p)
{
    struct balance_story *s = balance_story_new(p->w, rng_next(&p->rng));
    size_t heavy = p->world.peer_count - 1;
    double held[4] = { 0 };
    workload_stop(p->clients);
    bool sound = plan_await_idle(p) &&
                 balance_story_weigh(s, heavy, 2, p->bound_ns, &held[0]) &&
                 balance_story_set(s, heavy, "weight", "1") &&
                 balance_story_weigh(s, heavy, 1, p->bound_ns, &held[1]) &&
                 balance_story_set(s, 1, "weight", "2") &&
                 balance_story_weigh(s, 1, 2, p->bound_ns, &held[2]);
    if (sound) { /* another option than when it was set: that one holds */
        world_crash(p->w, 1, false);
        world_set_weight(p->w, 1, 500);
        world_start(p->w, 1);
        sound = plan_await_whole(p) &&
                balance_story_weigh(s, 1, 0.5, p->bound_ns, &held[3]);
    }
    snprintf(p->result->remark, sizeof p->result->remark,
             "weight 2: %.2f, set to 1: %.2f, another to 2: %.2f, started "
             "with 0.5: %.2f",
             held[0], held[1], held[2], held[3]);
    balance_story_free(s);
    return sound;
}

void plan_weights(struct plan *p)
{
    p->act = act_weights;
    p->loads = true;
    p->workload.key_count = 800;
    p->workload.value_len_max = 1500; /* arcs that weigh something */
    p->world.node.vnodes = 8;
    p->world.node.floor_keys = 4;
    p->world.node.map_fingers = false;
    p->bound_ns = 120 * WORLD_S;
    p->heavy_last = true;
}

/* Five of six; the sixth comes, the second leaves, the third dies for good.
 * Each is followed until nothing moves any more. */
static bool start_all_but_one(struct plan *p)
{
    for (size_t i = 0; i + 1 < p->world.peer_count; i++) {
        plan_start_one(p, i);
        if (!plan_run_for(p, WORLD_S))
            return false;
    }
    return plan_await_whole(p);
}

/* What clients felt of the time before, said and bounded; p99_ns 0: any. */
static void judge_waits(struct plan *p, const char *what, uint64_t p99_ns,
                        uint64_t longest_ns, struct workload_waits *waits)
{
    char *text = p->result->remark;
    size_t size = sizeof p->result->remark, at = strlen(text);
    workload_waits(p->clients, waits);
    snprintf(text + at, size - at, "%s%s %.1f/%.0f",
             at ? ", " : "p99/longest ms: ", what, (double)waits->p99_ns / 1e6,
             (double)waits->longest_ns / 1e6);
    if (world_failure(p->w, NULL))
        return;
    if (waits->longest_ns > longest_ns || (p99_ns && waits->p99_ns > p99_ns))
        world_fail(p->w, "A13_waits",
                   "%s: requests take %.1f ms at p99, %.0f "
                   "ms at most",
                   what, (double)waits->p99_ns / 1e6,
                   (double)waits->longest_ns / 1e6);
}

static bool act_changes(struct plan *p)
{
    struct balance_story *s = balance_story_new(p->w, rng_next(&p->rng));
    struct workload_waits waits;
    workload_waits(p->clients, &waits); /* of the load */
    bool sound = balance_story_rest(s, p->bound_ns);
    judge_waits(p, "start", 0, WORLD_S, &waits);
    sound = sound && plan_run_for(p, 10 * WORLD_S);
    judge_waits(p, "rest", 0, 100 * WORLD_MS, &waits);
    uint64_t p99_ns = 2 * waits.p99_ns;
    if (sound) {
        plan_start_one(p, p->world.peer_count - 1);
        sound =
            plan_run_for(p, 4 * WORLD_S) && balance_story_rest(s, p->bound_ns);
    }
    /* Who is refused asks again after up to 0.3 s. */
    judge_waits(p, "join", p99_ns, 350 * WORLD_MS, &waits);
    sound = sound && plan_leave(p, 1) && balance_story_rest(s, p->bound_ns);
    /* Who asked the leaver at its end asks another after a moment. */
    judge_waits(p, "leave", p99_ns, 400 * WORLD_MS, &waits);
    if (sound) {
        world_crash(p->w, 2, true);
        world_set_wanted(p->w, 2, false);
        sound = plan_run_for(p, 3 * WORLD_S);
    }
    judge_waits(p, "death", 0, 3 * WORLD_S, &waits);
    sound = sound && plan_run_for(p, 4 * WORLD_S) &&
            balance_story_rest(s, p->bound_ns);
    judge_waits(p, "replace", p99_ns, 350 * WORLD_MS, &waits);
    balance_story_free(s);
    return sound;
}

void plan_changes(struct plan *p)
{
    p->start = start_all_but_one;
    p->act = act_changes;
    p->loads = true;
    p->world.node.vnodes = 8;
    p->world.node.floor_keys = 20;
    p->world.node.map_fingers = false;
    p->world.node.quiet_ns = 0;
    p->world.node.down_out_ns = 5 * WORLD_S;
    p->world.net.delay_min_ns = 50000;
    p->world.net.delay_max_ns = 200000;
    p->world.net.jitter_ns = 100000;
    p->world.disk.sync_max_ns = WORLD_MS;
    p->world.disk.slow_chance = 0;
    p->workload = (struct workload_config){ .seed = p->workload.seed,
                                            .client_count = 12,
                                            .key_count = 2000,
                                            .think_ns = 10 * WORLD_MS,
                                            .timeout_ms = 5000,
                                            .value_len_max = 100,
                                            .put = 50,
                                            .get = 50 };
    p->bound_ns = 120 * WORLD_S;
}

/* Three of ten die together, and come back in the end. */
static bool act_down_out(struct plan *p)
{
    struct balance_story *s = balance_story_new(p->w, rng_next(&p->rng));
    size_t dead[3], replaced = 0;
    bool sound = balance_story_rest(s, p->bound_ns);
    if (sound)
        balance_story_choose(s, dead, 3);
    for (size_t i = 0; sound && i < 3; i++) {
        world_crash(p->w, dead[i], true);
        world_set_wanted(p->w, dead[i], false);
    }
    sound = sound && plan_run_for(p, 3 * WORLD_S) &&
            balance_story_bury(s, dead, 3, 60 * WORLD_S, &replaced);
    snprintf(p->result->remark, sizeof p->result->remark,
             "%zu of 3 were replaced as far as they could be", replaced);
    balance_story_free(s);
    if (sound && replaced < 3)
        world_fail(p->w, "A12_replaced", "%zu of 3 dead peers", replaced);
    for (size_t i = 0; sound && i < 3; i++) {
        world_set_wanted(p->w, dead[i], true);
        world_start(p->w, dead[i]);
    }
    return sound;
}

void plan_down_out(struct plan *p)
{
    p->act = act_down_out;
    p->loads = true;
    p->workload.key_count = 300;
    p->workload.value_len_max = 60;
    p->world.node.vnodes = 2;
    p->world.node.floor_keys = 16; /* so few arcs that none will merge */
    p->world.node.map_fingers = false;
    p->world.node.down_out_ns = 5 * WORLD_S;
    p->bound_ns = 90 * WORLD_S;
}

static bool act_quiet(struct plan *p)
{
    struct quiet_story story = { .seed = rng_next(&p->rng),
                                 .world = p->w,
                                 .workload = p->clients,
                                 .checker = p->checker,
                                 .quiet_ns = p->world.node.quiet_ns,
                                 .bound_ns = p->bound_ns,
                                 .clean = p->world.net.lose == 0,
                                 .remark = p->result->remark,
                                 .remark_size = sizeof p->result->remark };
    return quiet_story_run(&story);
}

void plan_quiet(struct plan *p)
{
    plan_draw_net(p);
    p->loads = true;
    p->act = act_quiet;
    p->bound_ns = 60 * WORLD_S;
}

static bool act_steady(struct plan *p)
{
    return plan_run_for(p, 30 * WORLD_S) &&
           steady_story_act(p->steady, p->faults_ns, p->faults_ns);
}

void plan_steady(struct plan *p)
{
    p->lasting = p->loads = true;
    p->act = act_steady;
    p->faults_ns = 1200 * WORLD_S;
    p->world.node.map_fingers = false;
    p->world.net.delay_max_ns = 20 * WORLD_MS;
    p->world.net.jitter_ns = 5 * WORLD_MS;
    p->world.net.lose = 0.05;
    p->world.net.break_link = 0.0005;
    p->workload.client_count = 2;
    p->workload.think_ns = 5 * WORLD_S;
    /* What is kept does not change, so that nothing is moved for balance. */
    p->workload.del = 0;
    p->workload.value_len_max = 8;
}

static bool act_idle(struct plan *p)
{
    struct idle_story story = { .world = p->w,
                                .workload = p->clients,
                                .checker = p->checker,
                                .bound_ns = p->bound_ns,
                                .remark = p->result->remark,
                                .remark_size = sizeof p->result->remark };
    return idle_story_run(&story);
}

void plan_idle(struct plan *p)
{
    p->act = act_idle;
    p->calm_ns = WORLD_S;
    p->bound_ns = 120 * WORLD_S;
    p->poll_ns = WORLD_S;
    p->pause_ns = 100 * WORLD_MS;
    p->workload.client_count = 1;
    p->world.node.vnodes = 8;
    p->world.node.floor_keys = 1000;
    p->world.node.map_fingers = false;
    p->world.node.quiet_ns = 0;
    p->world.segment_bytes = 256 << 10;
    p->world.node.checkpoint_bytes = 4 << 20;
}
