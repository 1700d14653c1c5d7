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

/* What may be said of a run in place of what its seed draws; 0: as drawn. The
 * same seed and the same of these give the same run. */
struct scenario_knobs {
    size_t peers;
    size_t clients;
    size_t keyspaces;
    uint32_t seconds; /* of faults */
    uint32_t kinds;   /* enum fault_kind, where has_kinds */
    bool has_kinds;
};

struct scenario_options {
    uint64_t seed;
    struct scenario_knobs knobs;
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
    struct scenario_knobs drawn;   /* what it was, all told */
    struct world_stats stats;
};

/* What such a run would be, all told, without running it. */
void scenario_draw(const struct scenario *scenario,
                   const struct scenario_options *options,
                   struct scenario_knobs *out);

void scenario_run(const struct scenario *scenario,
                  const struct scenario_options *options,
                  struct scenario_result *result);

#endif
