/* SPDX-License-Identifier: Apache-2.0 */

/* sim/balance_story.h - what peers hold by their weights, and what becomes of
 * those that die: what scenarios ask of a ring, by the operations that
 * operators use, and check. */

#ifndef SIM_BALANCE_STORY_H
#define SIM_BALANCE_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/world.h"

struct balance_story;

/* Aborts without memory. */
struct balance_story *balance_story_new(struct world *world, uint64_t seed);
void balance_story_free(struct balance_story *story); /* NULL is allowed */

/* All false: the world has failed. */

/* Sets an option of a peer while it runs, by anybody. */
bool balance_story_set(struct balance_story *story, size_t peer,
                       const char *option, const char *value);

/* Until nothing moves for a while and the peer holds, by bytes, weight times
 * what the others hold on average, a tenth more or less; bound_ns fails the
 * world. Writes how much it is. */
bool balance_story_weigh(struct balance_story *story, size_t peer,
                         double weight, uint64_t bound_ns, double *out);

/* Until nothing moves for a while. */
bool balance_story_rest(struct balance_story *story, uint64_t bound_ns);

/* Some peers, no majority of the system arc among them. */
void balance_story_choose(struct balance_story *story, size_t *peers,
                          size_t count);

/* These peers have just died. For for_ns: the ring replaces one of them at a
 * time and says so; no living one. Writes how many were replaced. */
bool balance_story_bury(struct balance_story *story, const size_t *dead,
                        size_t count, uint64_t for_ns, size_t *replaced);

#endif
