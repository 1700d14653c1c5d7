/* SPDX-License-Identifier: Apache-2.0 */

/* sim/silent.h - two peers that spoil rounds: of an arc at a time, one never
 * answers what it has, or its sums; the other answers with bounds that are not
 * those of its arc. It changes what they send on its way; the peers themselves
 * know nothing. */

#ifndef SIM_SILENT_H
#define SIM_SILENT_H

#include <stddef.h>
#include <stdint.h>

#include "sim/world.h"

struct silent;

/* The first says nothing, the second what does not fit. Aborts without memory.
 * One in a world, and none that lies. */
struct silent *silent_new(struct world *world, size_t first, size_t second,
                          uint64_t seed);
void silent_free(struct silent *silent); /* NULL is allowed; the world lives */

/* Before, both are honest. */
void silent_wake(struct silent *silent);

/* Answers that were held back, and reports that were changed. */
uint64_t silent_held_back(const struct silent *silent);
uint64_t silent_changed(const struct silent *silent);

#endif
