/* SPDX-License-Identifier: Apache-2.0 */

/* Who keeps what, and that it stays so. */

#include "sim/steady_story.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "node/inspect.h"

enum {
    ARCS_MAX = 512,
    CHANGES_MAX = 2 /* of leaders by loss alone: seven heartbeats in a row are
                     * lost once in some thousand hours */
};
#define STALL_EVERY_NS (60 * WORLD_S) /* mean */
#define STALL_NS_MAX (10 * WORLD_S)
#define TRANSFER_NS (5 * WORLD_S) /* until a wished leader surely leads */

/* As its leader last had it. */
struct office {
    arc_id arc;
    uint64_t term;
    struct arc_member members[ARC_MEMBERS_MAX];
    size_t member_count;
};

enum phase {
    PHASE_SETTLING,
    PHASE_LOSS,
    PHASE_STALLS
};

struct steady_story {
    struct world *world;
    struct rng rng;
    enum phase phase;
    struct office *offices;
    size_t count;
    size_t changes[PHASE_STALLS + 1]; /* of leaders */
    size_t stalls, moves;
    struct inspect_steps before; /* sent by all when the watch began */
    uint64_t watched_ns;
};

struct steady_story *steady_story_new(struct world *world, uint64_t seed)
{
    struct steady_story *s = mem_zero(1, sizeof *s);
    if (s)
        s->offices = mem_zero(ARCS_MAX, sizeof *s->offices);
    if (!s || !s->offices) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    s->world = world;
    rng_init(&s->rng, seed);
    return s;
}

void steady_story_free(struct steady_story *s)
{
    if (s)
        free(s->offices);
    free(s);
}

static struct office *office_of(struct steady_story *s, arc_id arc)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->offices[i].arc == arc)
            return &s->offices[i];
    if (s->count == ARCS_MAX)
        return NULL;
    s->offices[s->count] = (struct office){ .arc = arc };
    return &s->offices[s->count++];
}

static bool names(const struct arc *arc, replica_id replica)
{
    for (size_t i = 0; i < arc->member_count; i++)
        if (arc->members[i].replica == replica)
            return true;
    return false;
}

/* Of all peers, since they started. */
static struct inspect_steps steps_sent(const struct steady_story *s)
{
    struct inspect_steps sum = { 0 };
    for (size_t i = 0; i < world_peer_count(s->world); i++) {
        const struct node *node = world_node(s->world, i);
        struct inspect_steps of = { 0 };
        if (node)
            inspect_steps(node, &of);
        sum.transfers += of.transfers;
        sum.for_gone += of.for_gone;
    }
    return sum;
}

/* A leader may change by the balancer's wish. */
static void check_leaders(const struct steady_story *s, const struct arc *arc,
                          size_t peer)
{
    uint64_t wished = steps_sent(s).transfers - s->before.transfers;
    if (s->changes[PHASE_LOSS] > wished + CHANGES_MAX)
        world_fail(s->world, "steady_leaders",
                   "%zu changes of leaders with all alive, %llu of them "
                   "planned; the last: arc %llx, n%zu",
                   s->changes[PHASE_LOSS], (unsigned long long)wished,
                   (unsigned long long)arc->id, peer);
}

/* A copy may go to another peer for balance, but not for fear. A learner that
 * was not promoted is no copy that counts yet. */
static void check_members(struct steady_story *s, const struct office *o,
                          const struct arc *arc)
{
    for (size_t i = 0; i < o->member_count; i++) {
        if (!o->members[i].voter || names(arc, o->members[i].replica))
            continue;
        s->moves++;
        if (steps_sent(s).for_gone > s->before.for_gone)
            world_fail(s->world, "steady_replicas",
                       "arc %llx gives up its replica on n%zu, which lives",
                       (unsigned long long)arc->id,
                       world_peer_of(s->world, &o->members[i].peer));
    }
}

void steady_story_turn(struct steady_story *s, size_t peer)
{
    const struct node *node = world_node(s->world, peer);
    size_t count = node ? inspect_replica_count(node) : 0;
    for (size_t i = 0; i < count; i++) {
        struct inspect_replica r;
        inspect_replica_at(node, i, &r);
        if (r.empty || raft_role(r.raft) != RAFT_LEADER)
            continue;
        struct office *o = office_of(s, r.id);
        uint64_t term = raft_term(r.raft);
        if (!o || term < o->term)
            continue; /* it has not heard yet that it was followed */
        if (o->term && term > o->term) {
            s->changes[s->phase]++;
            if (s->phase == PHASE_LOSS)
                check_leaders(s, r.arc, peer);
        }
        if (s->phase != PHASE_SETTLING && o->term)
            check_members(s, o, r.arc);
        o->term = term;
        o->member_count = r.arc->member_count;
        for (size_t k = 0; k < o->member_count; k++)
            o->members[k] = r.arc->members[k];
    }
}

static bool run_for(struct steady_story *s, uint64_t ns)
{
    s->watched_ns += ns;
    return world_run(s->world, world_now_ns(s->world) + ns);
}

/* Until what was wished before the watch has come about. */
static bool await_transfers(struct steady_story *s)
{
    uint64_t sent;
    do {
        sent = steps_sent(s).transfers;
        if (!world_run(s->world, world_now_ns(s->world) + TRANSFER_NS))
            return false;
    } while (steps_sent(s).transfers > sent);
    return true;
}

bool steady_story_act(struct steady_story *s, uint64_t loss_ns,
                      uint64_t stalls_ns)
{
    if (!await_transfers(s))
        return false;
    s->phase = PHASE_LOSS;
    s->before = steps_sent(s);
    if (!run_for(s, loss_ns))
        return false;
    s->phase = PHASE_STALLS;
    uint64_t end = world_now_ns(s->world) + stalls_ns;
    while (world_now_ns(s->world) < end) {
        size_t peer = (size_t)rng_below(&s->rng, world_peer_count(s->world));
        world_pause(s->world, peer, rng_range(&s->rng, 0, STALL_NS_MAX));
        s->stalls++;
        if (!run_for(s, STALL_NS_MAX + rng_below(&s->rng, 2 * (STALL_EVERY_NS -
                                                               STALL_NS_MAX))))
            return false;
    }
    if (steps_sent(s).for_gone > s->before.for_gone)
        world_fail(
            s->world, "steady_replicas",
            "%llu steps were planned for peers taken for gone",
            (unsigned long long)(steps_sent(s).for_gone - s->before.for_gone));
    return steps_sent(s).for_gone == s->before.for_gone;
}

void steady_story_remark(const struct steady_story *s, char *text, size_t size)
{
    double hours =
        (double)s->watched_ns / 3.6e12 * (double)world_peer_count(s->world);
    snprintf(
        text, size,
        "%.1f node-hours (%.4f node-months), %zu stalls, %zu moves, leaders "
        "changed %zu times by loss, %zu by stalls",
        hours, hours / 730, s->stalls, s->moves, s->changes[PHASE_LOSS],
        s->changes[PHASE_STALLS]);
}
