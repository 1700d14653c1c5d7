/* SPDX-License-Identifier: Apache-2.0 */

/* Running a plan: ways to wait, the common story, and what is judged. */

#include "sim/plan.h"

#include <stdio.h>

#include "dlht/err.h"

enum {
    LINEAR_UNDECIDED_MAX = 2 /* keys of a run that may stay open */
};

bool plan_coin(struct plan *p, double chance)
{
    return rng_chance(&p->rng, chance);
}

/* Ways to wait. */

bool plan_run_for(struct plan *p, uint64_t ns)
{
    uint64_t end = world_now_ns(p->w) + ns;
    while (p->progress && end - world_now_ns(p->w) > WORLD_S) {
        if (!world_run(p->w, world_now_ns(p->w) + WORLD_S))
            return false;
        p->progress(world_now_ns(p->w));
    }
    bool sound = world_run(p->w, end);
    if (p->progress)
        p->progress(end);
    return sound;
}

static bool is_whole(void *context)
{
    struct plan *p = context;
    const char *why;
    return checker_is_whole(p->checker, &why);
}

/* Until everything is whole, or the bound fails the world. */
bool plan_await_whole(struct plan *p)
{
    uint64_t end = world_now_ns(p->w) + p->bound_ns;
    const char *why = "";
    while (!checker_is_whole(p->checker, &why)) {
        if (world_now_ns(p->w) >= end) {
            checker_trace(p->checker, 0);
            world_fail(p->w, "A10_whole", "not whole after %.0f s: %s",
                       (double)p->bound_ns / 1e9, why);
        }
        if (!plan_run_for(p, p->poll_ns))
            return false;
    }
    return true;
}

static bool all_idle(const struct plan *p)
{
    bool idle = workload_is_idle(p->clients);
    for (size_t i = 0; i < p->more_count; i++)
        idle = idle && workload_is_idle(p->more[i].clients);
    idle = idle && (!p->seekers || vectors_story_is_idle(p->seekers));
    idle = idle && (!p->cache || cache_story_is_idle(p->cache));
    return idle && world_open_requests(p->w) == 0;
}

bool plan_await_idle(struct plan *p)
{
    uint64_t end = world_now_ns(p->w) + 2 * p->bound_ns;
    while (!all_idle(p)) {
        if (world_now_ns(p->w) >= end)
            world_fail(p->w, "A10_answered",
                       "%zu requests have no answer after %.0f s",
                       world_open_requests(p->w), (double)p->bound_ns / 5e8);
        if (!plan_run_for(p, 50 * WORLD_MS))
            return false;
    }
    return true;
}

/* The common story. */

/* The same of every keyspace. */
static void each(struct plan *p, void (*fn)(struct workload *))
{
    fn(p->clients);
    for (size_t i = 0; i < p->more_count; i++)
        fn(p->more[i].clients);
}

static bool load(struct plan *p)
{
    if (!p->loads)
        return true;
    each(p, workload_load);
    return plan_await_idle(p);
}

/* What was asked of the ring meanwhile is done, or the bound fails the world.
 */
static bool await_errands(struct plan *p)
{
    uint64_t end = world_now_ns(p->w) + p->bound_ns;
    while (!fault_is_idle(p->tormentor)) {
        if (world_now_ns(p->w) >= end)
            checker_trace(p->checker, 0);
        if (world_now_ns(p->w) >= end)
            world_fail(p->w, "A10_operated",
                       "a peer may not be stopped, or balancing not go on, "
                       "after %.0f s",
                       (double)p->bound_ns / 1e9);
        if (!plan_run_for(p, p->poll_ns))
            return false;
    }
    return true;
}

static void set_calm(struct plan *p, bool calm)
{
    if (p->seekers)
        vectors_story_calm(p->seekers, calm);
}

static bool torment(struct plan *p)
{
    set_calm(p, false);
    if (p->act)
        return p->act(p);
    if (p->faults_ns == 0)
        return true;
    if (p->has_faults_net)
        world_set_net(p->w, &p->faults_net);
    fault_start(p->tormentor);
    if (p->matchmaker)
        merger_start(p->matchmaker);
    if (!plan_run_for(p, p->faults_ns))
        return false;
    if (p->matchmaker)
        merger_stop(p->matchmaker);
    fault_stop(p->tormentor);
    p->result->faults = fault_seen(p->tormentor);
    return true;
}

static bool heal(struct plan *p)
{
    struct world_net net = p->world.net;
    struct world_disk disk = p->world.disk;
    net.break_link = net.lose = net.duplicate = net.reorder = 0;
    disk.fail_chance = disk.slow_chance = 0;
    world_set_net(p->w, &net);
    world_set_disk(p->w, &disk);
    uint64_t from = world_now_ns(p->w);
    checker_set_loose(p->checker, p->equal);
    bool sound = await_errands(p) && plan_await_whole(p);
    checker_set_loose(p->checker, false);
    if (!sound)
        return false;
    p->result->whole_ns = world_now_ns(p->w) - from;
    set_calm(p, true);
    return true;
}

/* Copies of each arc are equal, within the bound. */
static bool await_equal(struct plan *p)
{
    uint64_t end = world_now_ns(p->w) + p->bound_ns;
    const char *why = "";
    while (p->equal && !checker_is_equal(p->checker, &why)) {
        if (world_now_ns(p->w) >= end)
            checker_trace(p->checker, 0);
        if (world_now_ns(p->w) >= end)
            world_fail(p->w, "A3_equal", "after %.0f s without writes: %s",
                       (double)p->bound_ns / 1e9, why);
        if (!plan_run_for(p, p->poll_ns))
            return false;
    }
    return true;
}

static bool act_out(struct plan *p)
{
    if (!p->start(p) || !plan_make_keyspaces(p) ||
        (p->story && !models_story_set(p->story)) || !load(p) ||
        (p->seekers && !vectors_story_make(p->seekers, p->bound_ns)) ||
        (p->cache && !cache_story_make(p->cache, p->bound_ns)))
        return false;
    each(p, workload_start);
    if (p->seekers)
        vectors_story_start(p->seekers);
    if (p->cache)
        cache_story_start(p->cache);
    set_calm(p, true);
    if (!plan_run_for(p, p->calm_ns) || !torment(p))
        return false;
    if (p->ends)
        return world_failure(p->w, NULL) == NULL;
    if (!heal(p) || !plan_run_for(p, p->calm_ns))
        return false;
    each(p, workload_stop);
    if (p->seekers)
        vectors_story_stop(p->seekers);
    if (p->cache)
        cache_story_stop(p->cache);
    if (!plan_await_idle(p) || !plan_await_whole(p) || !await_equal(p))
        return false;
    if (!p->unverified)
        each(p, workload_verify);
    if (!plan_await_idle(p)) {
        checker_trace(p->checker, 0);
        return false;
    }
    checker_all(p->checker);
    if (p->story && !p->unsettled && !models_story_settle(p->story))
        return false;
    if (p->seekers && !vectors_story_settle(p->seekers, p->bound_ns))
        return false;
    if (p->cache && !cache_story_settle(p->cache, p->bound_ns))
        return false;
    return world_failure(p->w, NULL) == NULL;
}

static void print_line(void *context, const char *line)
{
    world_trace(context, "%s", line);
}

static void judge_one(struct plan *p, struct workload *clients)
{
    struct history_verdict verdict;
    struct history *history = workload_history(clients);
    history_check(history, &verdict);
    if (verdict.verdict == LINEAR_NO) {
        history_print(history, verdict.key, print_line, p->w);
        world_fail(p->w, "A8_linearizable", "%s", verdict.text);
    } else if (verdict.undecided > LINEAR_UNDECIDED_MAX) {
        world_fail(p->w, "A8_undecided", "%zu keys", verdict.undecided);
    }
}

static void judge(struct plan *p)
{
    judge_one(p, p->clients);
    for (size_t i = 0; i < p->more_count; i++)
        judge_one(p, p->more[i].clients);
}

static bool may_lose(void *context, size_t peer)
{
    struct plan *p = context;
    return checker_may_lose(p->checker, peer);
}

static void on_exit(void *context, size_t peer, int status, const char *text)
{
    struct plan *p = context;
    (void)text;
    if (p->tormentor && status == DLHT_ECORRUPT)
        fault_note_refusal(p->tormentor, peer);
    else if (p->tormentor)
        fault_note_exit(p->tormentor, peer);
}

static void on_turn(void *context, size_t peer)
{
    struct plan *p = context;
    checker_turn(p->checker, peer);
    if (p->story)
        models_story_turn(p->story, peer);
    if (p->recovery)
        recover_story_turn(p->recovery, peer);
    if (p->steady)
        steady_story_turn(p->steady, peer);
    if (p->matchmaker)
        merger_turn(p->matchmaker, peer);
}

static void remark_merges(struct plan *p)
{
    struct merger_stats m;
    merger_stats(p->matchmaker, &m);
    snprintf(p->result->remark, sizeof p->result->remark,
             "%llu merges, %llu abandoned, %llu kills at their points, an arc "
             "stood still for %.0f ms at most",
             (unsigned long long)m.done, (unsigned long long)m.abandoned,
             (unsigned long long)m.kills, (double)m.pause_ns_max / 1e6);
}

/* The world and who lives in it. False: no memory. */
static bool open_plan(struct plan *p)
{
    p->world.on_exit = on_exit;
    p->world.on_turn = on_turn;
    p->world.context = p;
    p->fault.is_whole = is_whole;
    p->fault.may_lose = p->careful ? may_lose : NULL;
    p->fault.context = p;
    if (world_new(&p->world, &p->w) != 0)
        return false;
    char kinds[400];
    fault_say(p->fault.kinds, kinds, sizeof kinds);
    const struct node_config *n = &p->world.node;
    world_trace(p->w,
                "%zu peers, vnodes %u, floor %llu keys, %s maps, %s reads, "
                "%zu keys, %zu clients, %zu keyspaces more, faults %s",
                p->world.peer_count, (unsigned)n->vnodes,
                (unsigned long long)n->floor_keys,
                n->map_fingers ? "fingers for" : "full",
                n->strict ? "strict" : "lease", p->workload.key_count,
                p->workload.client_count, p->more_count, kinds);
    if (p->heavy_last)
        world_set_weight(p->w, p->world.peer_count - 1, 2000);
    p->checker = checker_new(p->w);
    p->clients = workload_new(p->w, &p->workload);
    for (size_t i = 0; i < p->more_count; i++)
        p->more[i].clients = workload_new(p->w, &p->more[i].config);
    p->tormentor = fault_new(p->w, &p->fault);
    if (p->merger.every_ns)
        p->matchmaker = merger_new(p->w, &p->merger);
    if (p->models) {
        struct models_story_config config = { rng_next(&p->rng), p->liar,
                                              p->silence };
        p->story = models_story_new(p->w, p->clients, p->tormentor, &config);
    }
    if (p->dying)
        p->recovery =
            recover_story_new(p->w, p->clients, p->checker, rng_next(&p->rng));
    if (p->lasting)
        p->steady = steady_story_new(p->w, rng_next(&p->rng));
    if (p->vectors)
        p->seekers = vectors_story_new(p->w, rng_next(&p->rng));
    if (p->caches)
        p->cache = cache_story_new(p->w, rng_next(&p->rng));
    if (p->cache_keeps)
        cache_story_keep(p->cache);
    if (p->cache_keeps && p->fault.kinds & FAULT_PAUSE)
        cache_story_pause(p->cache);
    return true;
}

static void add_stats(struct scenario_result *r, struct workload *clients)
{
    struct workload_stats stats;
    workload_stats(clients, &stats);
    r->ops += stats.done;
    r->unknown += stats.unknown;
    r->failed += stats.failed;
    if (stats.longest_ns > r->longest_ns)
        r->longest_ns = stats.longest_ns;
}

static void say_result(struct plan *p)
{
    struct scenario_result *r = p->result;
    const char *text;
    r->invariant = world_failure(p->w, &text);
    if (r->invariant)
        snprintf(r->text, sizeof r->text, "%s", text);
    r->hash = world_hash(p->w);
    r->virtual_ns = world_now_ns(p->w);
    add_stats(r, p->clients);
    for (size_t i = 0; i < p->more_count; i++)
        add_stats(r, p->more[i].clients);
    world_stats(p->w, &r->stats);
    if (p->story)
        models_story_remark(p->story, r->remark, sizeof r->remark);
    if (p->recovery)
        recover_story_remark(p->recovery, r->remark, sizeof r->remark);
    if (p->matchmaker)
        remark_merges(p);
    if (p->steady)
        steady_story_remark(p->steady, r->remark, sizeof r->remark);
    if (p->seekers)
        vectors_story_remark(p->seekers, r->remark, sizeof r->remark);
    if (p->cache)
        cache_story_remark(p->cache, r->remark, sizeof r->remark);
}

static void close_plan(struct plan *p)
{
    recover_story_free(p->recovery);
    merger_free(p->matchmaker);
    steady_story_free(p->steady);
    models_story_free(p->story);
    vectors_story_free(p->seekers);
    cache_story_free(p->cache);
    fault_free(p->tormentor);
    workload_free(p->clients);
    for (size_t i = 0; i < p->more_count; i++)
        workload_free(p->more[i].clients);
    checker_free(p->checker);
    world_free(p->w);
    settled_free(p->settled);
}

void plan_run(struct plan *p)
{
    if (!open_plan(p)) {
        p->result->invariant = "world";
        return;
    }
    /* What was answered is judged even if something else failed; but the
     * first failure is the one that is told. */
    if (act_out(p) || world_is_traced(p->w))
        judge(p);
    say_result(p);
    close_plan(p);
}
