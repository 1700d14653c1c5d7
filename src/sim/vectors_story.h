/* SPDX-License-Identifier: Apache-2.0 */

/* sim/vectors_story.h - collections of vectors under faults: clients who put,
 * remove, get and search, and the judge of every answer.
 *
 * A search that is not stale and says that it is whole is held to all that was
 * acknowledged before it began (sim/vectors_past.h): if it looked at all, what
 * must be among the k nearest is; a graph's answers may miss a little, over the
 * whole run. No answer ever tells an id twice, one that is not there, or a
 * value that its id did not have. While all is well no answer is partial. Now
 * and then a peer is told to make its graphs anew.
 *
 * Graphs are kept in files, with which a start may meet trouble
 * (world_disk.graph_chance).
 *
 * At the end, and again when all have been started anew, each peer's parts hold what its records say, one for one, and an
 * exact search through any peer, from owners or from any copies, returns what
 * is there and nothing else. */

#ifndef SIM_VECTORS_STORY_H
#define SIM_VECTORS_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/world.h"

struct vectors_story;

/* Aborts without memory. The world outlives it. */
struct vectors_story *vectors_story_new(struct world *world, uint64_t seed);
void vectors_story_free(struct vectors_story *story); /* NULL is allowed */

/* Makes the collections and puts their first vectors. False: the world has
 * failed. */
bool vectors_story_make(struct vectors_story *story, uint64_t bound_ns);

/* Clients begin; end what they are at. */
void vectors_story_start(struct vectors_story *story);
void vectors_story_stop(struct vectors_story *story);
bool vectors_story_is_idle(const struct vectors_story *story);

/* From now on all is well, or not. */
void vectors_story_calm(struct vectors_story *story, bool calm);

/* Nobody writes, all is whole: everything is compared. False: the world has
 * failed. */
bool vectors_story_settle(struct vectors_story *story, uint64_t bound_ns);

/* Figures. */
void vectors_story_remark(const struct vectors_story *story, char *text,
                          size_t size);

#endif
