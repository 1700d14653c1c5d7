/* SPDX-License-Identifier: Apache-2.0 */

/* The fake node has no replicas to look into: whole is who is ready. */

#include "dlht/err.h"
#include "node/settle.h"
#include "sim/checker.h"
#include "sim/merger.h"
#include "sim/models_story.h"
#include "sim/plan.h"
#include "sim/recover_story.h"
#include "sim/steady_story.h"

#include <stdlib.h>

struct checker {
    struct world *world;
};

struct checker *checker_new(struct world *world)
{
    struct checker *checker = malloc(sizeof *checker);
    if (!checker)
        abort();
    checker->world = world;
    return checker;
}

void checker_free(struct checker *checker)
{
    free(checker);
}

void checker_turn(struct checker *checker, size_t peer)
{
    if (world_node(checker->world, peer))
        node_check(world_node(checker->world, peer));
}

void checker_all(struct checker *checker)
{
    (void)checker;
}

void checker_trace(struct checker *checker, arc_id id)
{
    (void)checker;
    (void)id;
}

size_t checker_arc_count(struct checker *checker)
{
    (void)checker;
    return 1;
}

bool checker_is_whole(struct checker *checker, const char **why)
{
    *why = "a peer is not ready";
    for (size_t i = 0; i < world_peer_count(checker->world); i++) {
        if (world_is_wanted(checker->world, i) &&
            !world_is_ready(checker->world, i))
            return false;
    }
    return true;
}

void checker_set_loose(struct checker *checker, bool loose)
{
    (void)checker, (void)loose;
}

bool checker_is_equal(struct checker *checker, const char **why)
{
    (void)checker;
    *why = "";
    return true;
}

size_t checker_led(struct checker *checker, struct span *los, size_t max)
{
    (void)checker, (void)los, (void)max;
    return 0;
}

bool checker_may_lose(struct checker *checker, size_t peer)
{
    (void)checker, (void)peer;
    return false;
}

uint64_t checker_timeouts(struct checker *checker)
{
    (void)checker;
    return 0;
}

void checker_opinions(struct checker *checker, size_t *dead, size_t *up)
{
    (void)checker;
    *dead = *up = 0;
}

/* Nor has it models. */

struct models_story *models_story_new(struct world *world,
                                      struct workload *workload,
                                      struct fault *fault,
                                      const struct models_story_config *config)
{
    (void)world, (void)workload, (void)fault, (void)config;
    return NULL;
}

void models_story_free(struct models_story *story)
{
    (void)story;
}

void models_story_turn(struct models_story *story, size_t peer)
{
    (void)story, (void)peer;
}

bool models_story_set(struct models_story *story)
{
    (void)story;
    return true;
}

void models_story_torment(struct models_story *story, bool on)
{
    (void)story, (void)on;
}

bool models_story_settle(struct models_story *story)
{
    (void)story;
    return true;
}

void models_story_remark(const struct models_story *story, char *text,
                         size_t size)
{
    (void)story, (void)size;
    text[0] = 0;
}

/* Nobody recovers anything. */

struct recover_story *recover_story_new(struct world *world,
                                        struct workload *workload,
                                        struct checker *checker, uint64_t seed)
{
    (void)world, (void)workload, (void)checker, (void)seed;
    return NULL;
}

void recover_story_free(struct recover_story *story)
{
    (void)story;
}

void recover_story_turn(struct recover_story *story, size_t peer)
{
    (void)story, (void)peer;
}

bool recover_story_act(struct recover_story *story)
{
    (void)story;
    return true;
}

void recover_story_remark(const struct recover_story *story, char *text,
                          size_t size)
{
    (void)story, (void)size;
    text[0] = 0;
}

struct merger *merger_new(struct world *world,
                          const struct merger_config *config)
{
    (void)world, (void)config;
    return NULL;
}

void merger_free(struct merger *merger)
{
    (void)merger;
}

void merger_start(struct merger *merger)
{
    (void)merger;
}

void merger_stop(struct merger *merger)
{
    (void)merger;
}

void merger_turn(struct merger *merger, size_t peer)
{
    (void)merger, (void)peer;
}

void merger_stats(const struct merger *merger, struct merger_stats *out)
{
    (void)merger;
    *out = (struct merger_stats){ 0 };
}

/* Scenarios that ask a ring for more than it is asked for here. */

void plan_recovered(struct plan *p)
{
    (void)p;
}

void plan_changes(struct plan *p)
{
    (void)p;
}

void plan_weights(struct plan *p)
{
    (void)p;
}

void plan_down_out(struct plan *p)
{
    (void)p;
}

void plan_quiet(struct plan *p)
{
    (void)p;
}

void plan_idle(struct plan *p)
{
    (void)p;
}

void plan_steady(struct plan *p)
{
    (void)p;
}

void plan_ring_1000(struct plan *p)
{
    (void)p;
}

void plan_fingers_1000(struct plan *p)
{
    (void)p;
}

void plan_mass_restart_300(struct plan *p)
{
    (void)p;
}

void plan_half_dead(struct plan *p)
{
    (void)p;
}

void plan_any(struct plan *p)
{
    (void)p;
}

bool plan_make_keyspaces(struct plan *p)
{
    (void)p;
    return true;
}

void plan_any_large(struct plan *p)
{
    (void)p;
}

void plan_contended(struct plan *p)
{
    (void)p;
}

void plan_cache(struct plan *p)
{
    (void)p;
}

void plan_cache_moves(struct plan *p)
{
    (void)p;
}

void plan_vectors(struct plan *p)
{
    (void)p;
}

/* Nor does it come up settled. */
int node_settle(struct node *node, uint64_t now_ns, const struct settle *ring,
                struct effects *effects)
{
    (void)node, (void)now_ns, (void)ring, (void)effects;
    return DLHT_EINVAL;
}

/* Nor is anything watched for hours. */

struct steady_story *steady_story_new(struct world *world, uint64_t seed)
{
    (void)world, (void)seed;
    return NULL;
}

void steady_story_free(struct steady_story *story)
{
    (void)story;
}

void steady_story_turn(struct steady_story *story, size_t peer)
{
    (void)story, (void)peer;
}

bool steady_story_act(struct steady_story *story, uint64_t loss_ns,
                      uint64_t stalls_ns)
{
    (void)story, (void)loss_ns, (void)stalls_ns;
    return true;
}

void steady_story_remark(const struct steady_story *story, char *text,
                         size_t size)
{
    (void)story, (void)size;
    text[0] = 0;
}

struct cache_story *cache_story_new(struct world *world, uint64_t seed)
{
    (void)world;
    (void)seed;
    abort();
}

void cache_story_free(struct cache_story *story)
{
    (void)story;
}

void cache_story_keep(struct cache_story *story)
{
    (void)story;
}

void cache_story_pause(struct cache_story *story)
{
    (void)story;
}

bool cache_story_make(struct cache_story *story, uint64_t bound_ns)
{
    (void)story;
    (void)bound_ns;
    return true;
}

void cache_story_start(struct cache_story *story)
{
    (void)story;
}

void cache_story_stop(struct cache_story *story)
{
    (void)story;
}

bool cache_story_is_idle(const struct cache_story *story)
{
    (void)story;
    return true;
}

bool cache_story_settle(struct cache_story *story, uint64_t bound_ns)
{
    (void)story;
    (void)bound_ns;
    return true;
}

void cache_story_remark(const struct cache_story *story, char *text,
                        size_t size)
{
    (void)story;
    (void)text;
    (void)size;
}

struct vectors_story *vectors_story_new(struct world *world, uint64_t seed)
{
    (void)world, (void)seed;
    return NULL;
}

void vectors_story_free(struct vectors_story *story)
{
    (void)story;
}

bool vectors_story_make(struct vectors_story *story, uint64_t bound_ns)
{
    (void)story, (void)bound_ns;
    return true;
}

void vectors_story_start(struct vectors_story *story)
{
    (void)story;
}

void vectors_story_stop(struct vectors_story *story)
{
    (void)story;
}

bool vectors_story_is_idle(const struct vectors_story *story)
{
    (void)story;
    return true;
}

void vectors_story_calm(struct vectors_story *story, bool calm)
{
    (void)story, (void)calm;
}

bool vectors_story_settle(struct vectors_story *story, uint64_t bound_ns)
{
    (void)story, (void)bound_ns;
    return true;
}

void vectors_story_remark(const struct vectors_story *story, char *text,
                          size_t size)
{
    (void)story, (void)size;
    text[0] = 0;
}
