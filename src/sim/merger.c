/* SPDX-License-Identifier: Apache-2.0 */

/* Merges at random. */

#include "sim/merger.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "node/inspect.h"

enum {
    POINTS = 64 /* of merges that are watched at once */
};

/* Where a merge was last seen. */
struct point {
    size_t peer;
    arc_id arc;
    int phase;
};

struct merger {
    struct world *world;
    struct merger_config config;
    struct rng rng;
    bool running;
    struct point points[POINTS];
    struct inspect_merges *last; /* of each peer */
    struct merger_stats stats;
};

/* An arc that leads, and where. */
struct led {
    const struct arc *arc;
    size_t peer;
};

static void *sure(void *memory)
{
    if (!memory) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    return memory;
}

struct merger *merger_new(struct world *world,
                          const struct merger_config *config)
{
    struct merger *m = sure(mem_zero(1, sizeof *m));
    m->world = world;
    m->config = *config;
    m->last = sure(mem_zero(world_peer_count(world), sizeof *m->last));
    rng_init(&m->rng, config->seed);
    return m;
}

void merger_free(struct merger *m)
{
    if (m)
        free(m->last);
    free(m);
}

static bool is_left_of(const struct arc *arc, const struct arc *right)
{
    return arc->keyspace == right->keyspace && arc->has_hi &&
           span_equal(arc->hi, right->lo);
}

/* The n-th arc outside the system keyspace that a node leads; or, if right is
 * given, the one that ends where that begins. Counts what it meets. */
static bool find_led(const struct merger *m, size_t n, const struct arc *right,
                     struct led *out, size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < world_peer_count(m->world); i++) {
        const struct node *node = world_node(m->world, i);
        for (size_t k = 0; node && k < inspect_replica_count(node); k++) {
            struct inspect_replica r;
            inspect_replica_at(node, k, &r);
            if (r.empty || r.keyspace == 0 || raft_role(r.raft) != RAFT_LEADER)
                continue;
            bool fits = right ? is_left_of(r.arc, right) : *count == n;
            ++*count;
            if (!fits)
                continue;
            *out = (struct led){ r.arc, i };
            return true;
        }
    }
    return false;
}

static void tell(struct merger *m, size_t peer, const struct step *step)
{
    struct message message = { .type = MESSAGE_STEP };
    message.u.step = *step;
    world_trace(m->world, "n%zu is told: step %u of arc %llx, into %llx", peer,
                (unsigned)step->kind, (unsigned long long)step->arc,
                (unsigned long long)step->into);
    if (world_tell(m->world, peer, &message) != 0)
        world_fail(m->world, "codec", "a step does not pack");
}

static size_t draw_wanted(struct merger *m)
{
    size_t count = world_peer_count(m->world);
    size_t at = (size_t)rng_below(&m->rng, count);
    for (size_t i = 0; i < count; i++, at = (at + 1) % count)
        if (world_is_wanted(m->world, at) && world_is_up(m->world, at))
            return at;
    return SIZE_MAX;
}

/* A leader goes to another member; or a peer is made one, or a learner a
 * voter, or a member is removed. The planner then wants it otherwise. */
static void move(struct merger *m, const struct led *led, struct step *step)
{
    static const uint8_t KINDS[] = { STEP_TRANSFER, STEP_TRANSFER,
                                     STEP_TRANSFER, STEP_ADD,
                                     STEP_ADD,      STEP_PROMOTE,
                                     STEP_REMOVE };
    const struct arc *arc = led->arc;
    step->kind = KINDS[rng_below(&m->rng, sizeof KINDS)];
    if (step->kind == STEP_ADD) {
        size_t peer = draw_wanted(m);
        if (peer == SIZE_MAX)
            return;
        step->peer = inspect_self(world_node(m->world, peer));
    } else {
        step->peer = arc->members[rng_below(&m->rng, arc->member_count)].peer;
    }
    tell(m, led->peer, step);
}

static void take_step(struct merger *m)
{
    struct led right, left;
    size_t count;
    find_led(m, SIZE_MAX, NULL, &right, &count);
    if (count == 0 ||
        !find_led(m, (size_t)rng_below(&m->rng, count), NULL, &right, &count))
        return;
    struct step step = { .keyspace = right.arc->keyspace,
                         .arc = right.arc->id,
                         .generation = right.arc->generation };
    if (rng_chance(&m->rng, m->config.cut_chance)) {
        step.kind = STEP_SPLIT;
        step.ways = (uint32_t)rng_range(&m->rng, 0, 4);
        if (step.ways == 1)
            step.ways = 2;
        tell(m, right.peer, &step);
        return;
    }
    if (rng_chance(&m->rng, m->config.move_chance)) {
        move(m, &right, &step);
        return;
    }
    if (right.arc->lo.len == 0 || !find_led(m, 0, right.arc, &left, &count))
        return;
    step.kind = STEP_MERGE;
    step.into = left.arc->id;
    step.into_generation = left.arc->generation;
    step.into_lo = left.arc->lo;
    if (rng_chance(&m->rng, 0.05))
        step.into_generation += rng_range(&m->rng, 0, 2) - 1;
    tell(m, right.peer, &step);
}

static void on_step(void *context, uint64_t argument)
{
    struct merger *m = context;
    (void)argument;
    if (!m->running)
        return;
    take_step(m);
    uint64_t mean = m->config.every_ns;
    world_after(m->world, rng_range(&m->rng, mean / 10, mean * 2), on_step, m,
                0);
}

void merger_start(struct merger *m)
{
    m->running = true;
    on_step(m, 0);
}

void merger_stop(struct merger *m)
{
    m->running = false;
}

static void on_start(void *context, uint64_t peer)
{
    struct merger *m = context;
    if (!world_is_up(m->world, (size_t)peer))
        world_start(m->world, (size_t)peer);
}

static void on_kill(void *context, uint64_t peer)
{
    struct merger *m = context;
    if (!m->running || !world_is_up(m->world, (size_t)peer))
        return;
    m->stats.kills++;
    world_crash(m->world, (size_t)peer, rng_chance(&m->rng, 0.5));
    world_after(m->world, rng_range(&m->rng, 0, 4 * WORLD_S), on_start, m,
                peer);
}

/* A merge has come to a point. */
static void maybe_kill(struct merger *m, size_t peer,
                       const struct inspect_replica *r)
{
    struct led left;
    size_t count;
    if (!m->running || !rng_chance(&m->rng, m->config.kill_chance))
        return;
    if (rng_chance(&m->rng, 0.5) && find_led(m, 0, r->arc, &left, &count))
        peer = left.peer;
    world_trace(m->world, "n%zu is to be killed in phase %d of arc %llx", peer,
                r->merge_phase, (unsigned long long)r->id);
    world_after(m->world, rng_below(&m->rng, 20 * WORLD_MS), on_kill, m, peer);
}

static void watch(struct merger *m, size_t peer,
                  const struct inspect_replica *r)
{
    struct point *at = &m->points[(r->id ^ peer) % POINTS];
    if (at->peer == peer && at->arc == r->id && at->phase == r->merge_phase)
        return;
    *at = (struct point){ peer, r->id, r->merge_phase };
    maybe_kill(m, peer, r);
}

void merger_turn(struct merger *m, size_t peer)
{
    const struct node *node = world_node(m->world, peer);
    if (!node)
        return;
    for (size_t k = 0; k < inspect_replica_count(node); k++) {
        struct inspect_replica r;
        inspect_replica_at(node, k, &r);
        if (r.merge_phase)
            watch(m, peer, &r);
    }
    struct inspect_merges now, last = m->last[peer];
    inspect_merges(node, &now);
    if (now.done < last.done || now.abandoned < last.abandoned)
        last = (struct inspect_merges){ 0 }; /* it started again */
    m->stats.done += now.done - last.done;
    m->stats.abandoned += now.abandoned - last.abandoned;
    if (now.pause_ns_max > m->stats.pause_ns_max)
        m->stats.pause_ns_max = now.pause_ns_max;
    m->last[peer] = now;
}

void merger_stats(const struct merger *m, struct merger_stats *out)
{
    *out = m->stats;
}
