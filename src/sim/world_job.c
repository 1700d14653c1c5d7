/* SPDX-License-Identifier: Apache-2.0 */

/* Slow work of a node. It is done at once, but later: what it reads must not
 * have changed by then, and if the process is gone nobody looks at it, but what
 * it wrote to a file by then may be there. */

#include <assert.h>

#include "sim/world_inner.h"

enum {
    WRITES_MAX = 14 /* of a job that a crash meets: more than it makes */
};

static const uint64_t JOB_MIN_NS = WORLD_MS;
static const uint64_t JOB_MAX_NS = 200 * WORLD_MS;

void world_job_effect(struct world *world, struct sim_peer *peer,
                      const struct effect *effect)
{
    uint64_t delay = world_draw(world, JOB_MIN_NS, JOB_MAX_NS);
    struct thing *thing = world_plan(world, delay, THING_JOB);
    thing->to = peer->index;
    thing->epoch = peer->life;
    if (effect->kind == EFFECT_JOB) {
        thing->run = effect->u.job.run;
        thing->context = effect->u.job.data;
        thing->argument = effect->u.job.number;
        return;
    }
    if (!peer->journal)
        world_fail(world, "volatile", "n%u has no disk, yet asks for a file",
                   (unsigned)peer->index);
    thing->run_file = effect->u.file_job.run;
    thing->context = effect->u.file_job.data;
    thing->argument = effect->u.file_job.number;
    thing->file = effect->u.file_job.file;
}

static void run(struct sim_peer *peer, const struct thing *thing)
{
    struct graph_file file;
    if (thing->run) {
        thing->run(thing->context);
        return;
    }
    graph_file_init(&file, disk_sim_disk(peer->disk), thing->file);
    thing->run_file(thing->context, &file);
    graph_file_deinit(&file);
}

void world_job_done(struct world *world, const struct thing *thing)
{
    struct sim_peer *peer = &world->peers[thing->to];
    if (peer->life != thing->epoch)
        return; /* its data went with the process */
    assert(peer->node);
    run(peer, thing);
    world_feed(world, peer,
               &(struct input){ .kind = INPUT_JOB, .number = thing->argument });
}

void world_job_half_way(struct world *world, struct sim_peer *peer)
{
    for (size_t i = 0; i < world->heap_count; i++) {
        const struct thing *thing = world->heap[i].thing;
        if (thing->kind != THING_JOB || thing->to != peer->index ||
            thing->epoch != peer->life || !thing->run_file)
            continue;
        disk_sim_stop_after(peer->disk, rng_below(&world->rng, WRITES_MAX));
        run(peer, thing);
        disk_sim_stop_after(peer->disk, UINT64_MAX);
    }
}
