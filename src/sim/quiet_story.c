/* SPDX-License-Identifier: Apache-2.0 */

/* Idle, trouble, work. */

#include "sim/quiet_story.h"

#include <stdio.h>
#include <string.h>

#include "dlht/err.h"
#include "node/inspect.h"
#include "replica/raft.h"
#include "sim/history.h"

enum {
    ROUNDS = 8,
    PEERS_TOUCHED_MAX = 64
};
static const uint64_t ASLEEP_BOUND_NS = 60 * WORLD_S;
static const uint64_t LONG_IDLE_NS = 200 * WORLD_S; /* past several looks */
static const uint64_t FAILOVER_BOUND_NS = 5 * WORLD_S;

enum trouble {
    TROUBLE_NONE,
    TROUBLE_LONG,    /* nothing, for long */
    TROUBLE_KILL,    /* an owner's process ends */
    TROUBLE_POWER,   /* its machine */
    TROUBLE_ALONE,   /* it is cut off */
    TROUBLE_UNHEARD, /* one way only */
    TROUBLE_PARTS,
    TROUBLE_PAUSE,
    TROUBLE_BLACKOUT,
    TROUBLE_COUNT
};

struct tale {
    const struct quiet_story *story;
    struct world *w;
    struct rng rng;
    size_t slept;
    struct failovers {
        size_t count;
        uint64_t sum_ns, max_ns;
    } process, machine; /* that ended */
    /* The question whose answer ends a failover. */
    bool asked, answered;
};

static bool run_for(struct tale *t, uint64_t ns)
{
    return world_run(t->w, world_now_ns(t->w) + ns);
}

/* Of the copies that are up, how many sleep. */
static void count_asleep(const struct tale *t, size_t *asleep, size_t *all)
{
    *asleep = *all = 0;
    for (size_t i = 0; i < world_peer_count(t->w); i++) {
        const struct node *node = world_node(t->w, i);
        size_t count = node ? inspect_replica_count(node) : 0;
        for (size_t k = 0; k < count; k++) {
            struct inspect_replica r;
            inspect_replica_at(node, k, &r);
            *asleep += raft_is_quiet(r.raft);
            ++*all;
        }
    }
}

static bool await_asleep(struct tale *t)
{
    uint64_t end = world_now_ns(t->w) + t->story->quiet_ns + ASLEEP_BOUND_NS;
    size_t asleep, all;
    for (count_asleep(t, &asleep, &all); asleep * 10 < all * 9;
         count_asleep(t, &asleep, &all)) {
        if (world_now_ns(t->w) > end)
            world_fail(t->w, "quiet_rest",
                       "%zu of %zu copies sleep after %.0f s without work",
                       asleep, all,
                       (double)(ASLEEP_BOUND_NS + t->story->quiet_ns) / 1e9);
        if (!run_for(t, 100 * WORLD_MS))
            return false;
    }
    t->slept++;
    return true;
}

static bool await_whole(struct tale *t)
{
    uint64_t end = world_now_ns(t->w) + t->story->bound_ns;
    const char *why;
    while (!checker_is_whole(t->story->checker, &why)) {
        if (world_now_ns(t->w) > end) {
            checker_trace(t->story->checker, 0);
            world_fail(t->w, "A10_whole", "not whole after %.0f s: %s",
                       (double)t->story->bound_ns / 1e9, why);
        }
        if (!run_for(t, 100 * WORLD_MS))
            return false;
    }
    return true;
}

/* Somebody who leads an arc with one of our keys, and the key. */
static size_t draw_owner(struct tale *t, struct span *key)
{
    size_t count = world_peer_count(t->w);
    struct history *history = workload_history(t->story->workload);
    *key = history_key(history,
                       (size_t)rng_below(&t->rng, history_key_count(history)));
    for (size_t i = 0; i < count; i++) {
        const struct node *node = world_node(t->w, i);
        size_t copies = node ? inspect_replica_count(node) : 0;
        for (size_t k = 0; k < copies; k++) {
            struct inspect_replica r;
            inspect_replica_at(node, k, &r);
            if (r.keyspace != 0 && !r.empty && arc_has(r.arc, *key) &&
                raft_role(r.raft) == RAFT_LEADER)
                return i;
        }
    }
    return (size_t)rng_below(&t->rng, count);
}

static void cut_off(struct tale *t, size_t peer, bool hears)
{
    for (size_t i = 0; i < world_peer_count(t->w); i++) {
        if (i == peer)
            continue;
        world_cut(t->w, peer, i, true);
        if (!hears)
            world_cut(t->w, i, peer, true);
    }
}

static void cut_parts(struct tale *t)
{
    size_t count = world_peer_count(t->w);
    uint64_t sides = rng_next(&t->rng);
    for (size_t a = 0; a < count; a++)
        for (size_t b = 0; b < count; b++)
            if (a != b && (sides >> a % 64 & 1) != (sides >> b % 64 & 1))
                world_cut(t->w, a, b, true);
}

static bool make_trouble(struct tale *t, enum trouble trouble, size_t owner)
{
    world_trace(t->w, "quiet: trouble %d for n%zu", (int)trouble, owner);
    bool up = world_is_up(t->w, owner);
    switch (trouble) {
    case TROUBLE_LONG:
        return run_for(t, LONG_IDLE_NS);
    case TROUBLE_KILL:
    case TROUBLE_POWER:
        if (up)
            world_crash(t->w, owner, trouble == TROUBLE_POWER);
        break;
    case TROUBLE_ALONE:
    case TROUBLE_UNHEARD:
        cut_off(t, owner, trouble == TROUBLE_UNHEARD);
        break;
    case TROUBLE_PARTS:
        cut_parts(t);
        break;
    case TROUBLE_PAUSE:
        if (up)
            world_pause(t->w, owner, rng_range(&t->rng, 1, 10) * WORLD_S);
        break;
    case TROUBLE_BLACKOUT:
        for (size_t i = 0; i < world_peer_count(t->w); i++)
            if (world_is_up(t->w, i))
                world_crash(t->w, i, true);
        break;
    case TROUBLE_NONE:
    case TROUBLE_COUNT:
        break;
    }
    return true;
}

static void end_trouble(struct tale *t)
{
    world_mend(t->w);
    for (size_t i = 0; i < world_peer_count(t->w); i++)
        if (!world_is_up(t->w, i))
            world_start(t->w, i);
}

static void on_answer(void *context, uint64_t argument,
                      const struct response *response)
{
    struct tale *t = context;
    (void)argument;
    t->asked = false;
    t->answered = response && (response->status == DLHT_OK ||
                               response->status == DLHT_ENOTFOUND);
}

/* Asks for a key of the owner that just died until there is an answer. */
static bool time_failover(struct tale *t, struct failovers *of, struct span key)
{
    uint64_t from = world_now_ns(t->w);
    struct request q = { .op = OP_GET, .key = key, .timeout_ms = 2000 };
    t->answered = t->asked = false;
    while (!t->answered) {
        size_t by = (size_t)rng_below(&t->rng, world_peer_count(t->w));
        if (!t->asked && world_is_ready(t->w, by)) {
            t->asked = true;
            if (world_request(t->w, by, &q, on_answer, t, 0) != DLHT_OK)
                world_fail(t->w, "codec", "a get does not pack");
        }
        if (world_now_ns(t->w) - from > FAILOVER_BOUND_NS)
            world_fail(t->w, "quiet_failover",
                       "no answer %.0f s after the death of a sleeping owner",
                       (double)FAILOVER_BOUND_NS / 1e9);
        if (!run_for(t, 10 * WORLD_MS))
            return false;
    }
    uint64_t took = world_now_ns(t->w) - from;
    of->count++;
    of->sum_ns += took;
    if (took > of->max_ns)
        of->max_ns = took;
    return true;
}

static bool one_round(struct tale *t)
{
    struct workload *clients = t->story->workload;
    workload_stop(clients);
    if (!await_whole(t) || !await_asleep(t))
        return false;
    if (rng_chance(&t->rng, 0.5) &&
        !run_for(t, rng_below(&t->rng, 3 * WORLD_S)))
        return false;
    struct span key;
    size_t owner = draw_owner(t, &key);
    enum trouble trouble = (enum trouble)rng_below(&t->rng, TROUBLE_COUNT);
    if (t->story->clean && rng_chance(&t->rng, 0.5))
        trouble = rng_chance(&t->rng, 0.5) ? TROUBLE_KILL : TROUBLE_POWER;
    if (!make_trouble(t, trouble, owner))
        return false;
    struct failovers *of = trouble == TROUBLE_KILL    ? &t->process
                           : trouble == TROUBLE_POWER ? &t->machine
                                                      : NULL;
    if (of && t->story->clean && !time_failover(t, of, key))
        return false;
    if (rng_chance(&t->rng, 0.5) &&
        !run_for(t, rng_below(&t->rng, 5 * WORLD_S)))
        return false;
    bool early = rng_chance(&t->rng, 0.3);
    if (early)
        end_trouble(t);
    workload_start(clients);
    if (!run_for(t, rng_range(&t->rng, 2, 8) * WORLD_S))
        return false;
    if (!early)
        end_trouble(t);
    return run_for(t, 2 * WORLD_S);
}

static double mean_s(const struct failovers *of)
{
    return of->count ? (double)of->sum_ns / 1e9 / (double)of->count : 0;
}

bool quiet_story_run(const struct quiet_story *story)
{
    struct tale t = { .story = story, .w = story->world };
    rng_init(&t.rng, story->seed);
    for (int i = 0; i < ROUNDS; i++)
        if (!one_round(&t))
            return false;
    snprintf(story->remark, story->remark_size,
             "asleep %zu times; until another answers: %zu processes %.2f s, "
             "at most %.2f; %zu machines %.2f s, at most %.2f",
             t.slept, t.process.count, mean_s(&t.process),
             (double)t.process.max_ns / 1e9, t.machine.count,
             mean_s(&t.machine), (double)t.machine.max_ns / 1e9);
    return true;
}
