/* SPDX-License-Identifier: Apache-2.0 */

/* sim/idle_story.h - what a ring that nobody uses sends: bytes by type of
 * message, of a peer a second, the same for a seed on every machine.
 *
 * Makes hashed keyspaces until there are about eight arcs a peer, waits until
 * all is at rest, and counts. Fails the world if more is sent than should. */

#ifndef SIM_IDLE_STORY_H
#define SIM_IDLE_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/checker.h"
#include "sim/workload.h"

struct idle_story {
    struct world *world;
    struct workload *workload; /* stopped first */
    struct checker *checker;
    uint64_t bound_ns; /* to be whole */
    char *remark;      /* the figures */
    size_t remark_size;
};

/* False: the world has failed. */
bool idle_story_run(const struct idle_story *story);

#endif
