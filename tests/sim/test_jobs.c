/* SPDX-License-Identifier: Apache-2.0 */

/* Jobs of real nodes whose processes crash and stop in the middle of them.
 * The linker sends each step here first, so that it begins jobs, too. */

#include <criterion/criterion.h>

#include "dlht/err.h"
#include "node/jobs.h"
#include "node/node_state.h"
#include "sim/world.h"

enum {
    PEERS = 3,
    FATES_MAX = 20000,
    SECONDS = 30
};

enum fate_state {
    FATE_OPEN = 1,
    FATE_RAN,
    FATE_DONE,
    FATE_DROPPED
};

/* Of a job; never freed, so that one that is touched too late is found out. */
struct fate {
    enum fate_state state;
    struct node *node;
    uint64_t begun_ns, ran_ns;
    uint64_t number;
    bool cancelled;
};

static struct world *world;
static struct rng chance;
static struct fate fates[FATES_MAX];
static size_t fate_count;
static size_t jobs_in_step; /* events that were stepped, to be flushed */

int __real_node_step(struct node *node, const struct event *event,
                     struct effects *effects);
int __wrap_node_step(struct node *node, const struct event *event,
                     struct effects *effects);

static void run(void *data)
{
    struct fate *fate = data;
    cr_assert_eq(fate->state, FATE_OPEN, "a job runs once, while it is open");
    fate->state = FATE_RAN;
    fate->ran_ns = world_now_ns(world);
}

static void done(struct node *node, void *data)
{
    struct fate *fate = data;
    cr_assert_eq(fate->state, FATE_RAN, "reported without having run");
    cr_assert_eq(fate->node, node, "reported to another incarnation");
    cr_assert_not(fate->cancelled);
    fate->state = FATE_DONE;
}

static void drop(void *data)
{
    struct fate *fate = data;
    cr_assert(fate->state == FATE_OPEN || fate->state == FATE_RAN);
    fate->state = FATE_DROPPED;
}

static void begin_job(struct node *node, struct effects *effects)
{
    cr_assert_lt(fate_count, FATES_MAX);
    struct fate *fate = &fates[fate_count];
    *fate = (struct fate){ .state = FATE_OPEN,
                           .node = node,
                           .begun_ns = world_now_ns(world) };
    node->fx = effects;
    int rc = jobs_begin(node, run, done, drop, fate, &fate->number);
    node->fx = NULL;
    cr_assert(rc == DLHT_OK || rc == DLHT_EBUSY);
    if (rc != DLHT_OK)
        return;
    fate_count++;
    fate->cancelled = rng_chance(&chance, 0.1);
    if (fate->cancelled)
        jobs_cancel(node, fate->number);
}

int __wrap_node_step(struct node *node, const struct event *event,
                     struct effects *effects)
{
    int rc = __real_node_step(node, event, effects);
    if (event->kind == EVENT_JOB)
        jobs_in_step++;
    if (event->kind == EVENT_FLUSH)
        jobs_in_step = 0;
    /* With EFFECT_STOPPED as well: the process ends with a job just begun. */
    if (rc == DLHT_OK && rng_chance(&chance, 0.04))
        begin_job(node, effects);
    return rc;
}

static void meddle(size_t second)
{
    size_t peer = (size_t)rng_below(&chance, PEERS);
    if (!world_is_up(world, peer)) {
        world_start(world, peer);
        return;
    }
    uint64_t what = rng_below(&chance, 4);
    if (what == 0)
        world_stop(world, peer);
    else if (what == 1)
        world_pause(world, peer, 300 * WORLD_MS);
    else if (second > 3) {
        world_crash(world, peer, what == 2);
        /* Jobs of the life before may still be to come. */
        if (rng_chance(&chance, 0.5))
            world_start(world, peer);
    }
}

static void make_world(uint64_t seed)
{
    struct world_config config;
    world_config_default(&config);
    config.seed = seed;
    config.peer_count = PEERS;
    cr_assert_eq(world_new(&config, &world), DLHT_OK);
    rng_init(&chance, seed ^ 77);
    fate_count = 0;
    for (size_t i = 0; i < PEERS; i++) {
        size_t from[] = { 0 };
        world_set_bootstrap(world, i, from, i ? 1 : 0);
        world_start(world, i);
    }
}

struct tally {
    size_t done, dropped, dropped_open, slow, quick;
};

static void count(struct tally *t)
{
    for (size_t i = 0; i < fate_count; i++) {
        const struct fate *f = &fates[i];
        cr_assert(f->state == FATE_DONE || f->state == FATE_DROPPED,
                  "job %zu is in state %d after the end", i, (int)f->state);
        t->done += f->state == FATE_DONE;
        t->dropped += f->state == FATE_DROPPED;
        t->dropped_open += f->state == FATE_DROPPED && f->ran_ns == 0;
        if (f->ran_ns == 0)
            continue;
        uint64_t took = f->ran_ns - f->begun_ns;
        cr_assert(took >= WORLD_MS && took <= 200 * WORLD_MS, "%llu ns",
                  (unsigned long long)took);
        t->slow += took > 150 * WORLD_MS;
        t->quick += took < 50 * WORLD_MS;
    }
}

static uint64_t story(uint64_t seed, struct tally *t)
{
    make_world(seed);
    for (size_t second = 0; second < SECONDS; second++) {
        for (int i = 0; i < 4; i++) {
            bool sound =
                world_run(world, second * WORLD_S + (uint64_t)i * WORLD_S / 4);
            const char *text = "";
            const char *broken = world_failure(world, &text);
            cr_assert(sound, "seed %llu: %s: %s", (unsigned long long)seed,
                      broken, text);
            cr_assert_eq(jobs_in_step, 0, "each turn ends with a flush");
        }
        meddle(second);
    }
    uint64_t hash = world_hash(world);
    world_free(world);
    count(t);
    return hash;
}

Test(sim_jobs, a_crash_in_the_middle_of_a_job_harms_nothing, .timeout = 60)
{
    struct tally t = { 0 };
    for (uint64_t seed = 1; seed <= 30; seed++)
        (void)story(seed, &t);
    cr_log_info("%zu done, %zu dropped, %zu of them before they ran", t.done,
                t.dropped, t.dropped_open);
    /* Not for want of trying. */
    cr_expect_gt(t.done, 500);
    cr_expect_gt(t.dropped_open, 100);
    cr_expect_gt(t.dropped, t.dropped_open);
    cr_expect(t.slow > 100 && t.quick > 100);
}

Test(sim_jobs, one_seed_gives_one_hash, .timeout = 60)
{
    struct tally t = { 0 };
    for (uint64_t seed = 40; seed < 43; seed++) {
        uint64_t hash = story(seed, &t);
        cr_expect_eq(story(seed, &t), hash, "seed %llu",
                     (unsigned long long)seed);
        cr_expect_neq(story(seed + 100, &t), hash);
    }
}
