/* SPDX-License-Identifier: Apache-2.0 */

/* Slow work of a node. It is done at once, but later: what it reads must not
 * have changed by then, and if the process is gone nobody looks at it. */

#include <assert.h>

#include "sim/world_inner.h"

static const uint64_t JOB_MIN_NS = WORLD_MS;
static const uint64_t JOB_MAX_NS = 200 * WORLD_MS;

void world_job_effect(struct world *world, struct sim_peer *peer,
                      const struct effect *effect)
{
    uint64_t delay = world_draw(world, JOB_MIN_NS, JOB_MAX_NS);
    struct thing *thing = world_plan(world, delay, THING_JOB);
    thing->to = peer->index;
    thing->epoch = peer->life;
    thing->run = effect->u.job.run;
    thing->context = effect->u.job.data;
    thing->argument = effect->u.job.number;
}

void world_job_done(struct world *world, const struct thing *thing)
{
    struct sim_peer *peer = &world->peers[thing->to];
    if (peer->life != thing->epoch)
        return; /* its data went with the process */
    assert(peer->node);
    thing->run(thing->context);
    world_feed(world, peer,
               &(struct input){ .kind = INPUT_JOB, .number = thing->argument });
}
