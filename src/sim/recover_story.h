/* SPDX-License-Identifier: Apache-2.0 */

/* sim/recover_story.h - peers die for good, and an operator recovers what has
 * lost its majority.
 *
 * What the checkers may then forgive is exactly what a recovery says: the keys
 * of the arc are from that instant on what the copy held with its whole log
 * applied, and the history of each goes on from there (history_cut). Before it
 * and after it each key is linearizable as ever; keys of other arcs lose
 * nothing. The copy itself may forget nothing that it held. */

#ifndef SIM_RECOVER_STORY_H
#define SIM_RECOVER_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/checker.h"
#include "sim/workload.h"

struct recover_story;

/* Aborts without memory. What it is given outlives it. */
struct recover_story *recover_story_new(struct world *world,
                                        struct workload *workload,
                                        struct checker *checker, uint64_t seed);
void recover_story_free(struct recover_story *story); /* NULL is allowed */

/* After a turn of the peer. */
void recover_story_turn(struct recover_story *story, size_t peer);

/* Kills, recovers, lets some of the dead come back. False: the world has
 * failed. */
bool recover_story_act(struct recover_story *story);

/* Figures. */
void recover_story_remark(const struct recover_story *story, char *text,
                          size_t size);

#endif
