/* SPDX-License-Identifier: Apache-2.0 */

/* sim/models_story.h - models under faults: what a scenario does and checks
 * while keyspaces are trained.
 *
 * Each model that a peer adopts must keep order over a thousand keys; epochs
 * do not go back while a process lives, and one epoch is one model, whoever
 * has it. Who leads a round is crashed in the middle of it. At the end all
 * peers have one epoch, and it is near the keys that are there.
 *
 * With a liar, one peer's reports claim fifty times its keys, and the models it
 * sends are broken. With silence, one peer says nothing of an arc, and another
 * what does not fit, as soon as there is a model: epochs must come all the same
 * and count what was missing. */

#ifndef SIM_MODELS_STORY_H
#define SIM_MODELS_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/fault.h"
#include "sim/workload.h"

struct models_story;

struct models_story_config {
    uint64_t seed;
    bool lies;
    bool silence; /* not both */
};

/* Aborts without memory. What it is given outlives it. */
struct models_story *models_story_new(struct world *world,
                                      struct workload *workload,
                                      struct fault *fault,
                                      const struct models_story_config *config);
void models_story_free(struct models_story *story); /* NULL is allowed */

/* After a turn of the peer. */
void models_story_turn(struct models_story *story, size_t peer);

/* Low thresholds for the keyspace `default`. False: the world has failed. */
bool models_story_set(struct models_story *story);

/* Whether leaders of rounds are crashed from now on. */
void models_story_torment(struct models_story *story, bool on);

/* Nobody writes, and all is whole: until all peers have one good model. False:
 * the world has failed. */
bool models_story_settle(struct models_story *story);

/* Figures. */
void models_story_remark(const struct models_story *story, char *text,
                         size_t size);

#endif
