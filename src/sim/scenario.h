/* SPDX-License-Identifier: Apache-2.0 */

/* sim/scenario.h - stories that a cluster must come through.
 *
 * A scenario sets up a world from a seed, lets time pass, heals everything,
 * waits until all is whole again within bounded time, reads everything back
 * and judges. The name of what was broken is short and fixed; docs/simulator.md
 * has the list. */

#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/world.h"

struct scenario {
    const char *name;
    const char *summary;
    size_t peers; /* by default */
};

size_t scenario_count(void);
const struct scenario *scenario_at(size_t index);
/* NULL: no such. */
const struct scenario *scenario_find(const char *name);

struct scenario_options {
    uint64_t seed;
    size_t peers; /* 0: the scenario's own */
    world_trace_fn trace;
    void (*progress)(uint64_t virtual_ns); /* each second; NULL: not told */
    void *trace_context;
};

struct scenario_result {
    const char *invariant; /* what was broken; NULL: nothing */
    char text[WORLD_TEXT_MAX];
    uint64_t hash;
    uint64_t virtual_ns;
    uint64_t ops, unknown, failed; /* of clients */
    uint64_t longest_ns;           /* a client waited for success */
    uint64_t whole_ns;             /* from the healing until all was whole */
    char remark[4000];             /* figures of the scenario */
    uint32_t faults;               /* enum fault_kind that happened */
    struct world_stats stats;
};

void scenario_run(const struct scenario *scenario,
                  const struct scenario_options *options,
                  struct scenario_result *result);

#endif
