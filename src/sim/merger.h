/* SPDX-License-Identifier: Apache-2.0 */

/* sim/merger.h - steps that nobody planned: neighbouring arcs are merged,
 * others are cut, leaders and copies moved, at random.
 *
 * It looks into all nodes to choose, and then tells the leader of the right arc
 * as the planner would. Sometimes what it says is of yesterday. At the points
 * that a merge comes through it may kill who leads either arc. */

#ifndef SIM_MERGER_H
#define SIM_MERGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/world.h"

struct merger;

struct merger_config {
    uint64_t seed;
    uint64_t every_ns;  /* mean time between steps */
    double cut_chance;  /* that a step cuts instead */
    double move_chance; /* that it moves a leader or a copy instead */
    double kill_chance; /* at each point of a merge */
};

/* Aborts without memory. */
struct merger *merger_new(struct world *world,
                          const struct merger_config *config);
void merger_free(struct merger *merger); /* NULL is allowed */
void merger_start(struct merger *merger);
void merger_stop(struct merger *merger);
/* After each turn of a peer. */
void merger_turn(struct merger *merger, size_t peer);

struct merger_stats {
    uint64_t done, abandoned, kills;
    uint64_t pause_ns_max; /* that an arc stood still */
};
void merger_stats(const struct merger *merger, struct merger_stats *out);

#endif
