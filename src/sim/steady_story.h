/* SPDX-License-Identifier: Apache-2.0 */

/* sim/steady_story.h - nothing is wrong but a network that loses and machines
 * that stall, for a long time: nobody who is alive loses what he keeps.
 *
 * First hours of loss alone, in which leaders hardly ever lose their office but
 * by their own wish; then hours in which a peer stalls every minute or so, for up to ten
 * seconds, in which leaders that stall are followed by others but no replica is
 * given up. */

#ifndef SIM_STEADY_STORY_H
#define SIM_STEADY_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/world.h"

struct steady_story;

/* Aborts without memory. The world outlives it. */
struct steady_story *steady_story_new(struct world *world, uint64_t seed);
void steady_story_free(struct steady_story *story); /* NULL is allowed */

/* After a turn of the peer. */
void steady_story_turn(struct steady_story *story, size_t peer);

/* All is whole: from now on nothing may move. False: the world has failed. */
bool steady_story_act(struct steady_story *story, uint64_t loss_ns,
                      uint64_t stalls_ns);

/* Figures. */
void steady_story_remark(const struct steady_story *story, char *text,
                         size_t size);

#endif
