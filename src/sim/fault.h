/* SPDX-License-Identifier: Apache-2.0 */

/* sim/fault.h - what goes wrong in a world, and when.
 *
 * A tormentor draws one trouble after the other from those that its
 * configuration allows, and ends each again after a while. It remembers what
 * it may not do: lose a second copy before the first is made anew. */

#ifndef SIM_FAULT_H
#define SIM_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/world.h"

struct fault;

enum fault_kind {
    FAULT_KILL = 1 << 0,     /* a process ends, and starts again */
    FAULT_POWER = 1 << 1,    /* a machine loses power: disks tear */
    FAULT_BLACKOUT = 1 << 2, /* all machines at once */
    FAULT_CUT = 1 << 3,      /* two parts cannot talk */
    FAULT_ONE_WAY = 1 << 4,  /* one does not hear another */
    FAULT_ISOLATE = 1 << 5,  /* one is alone */
    FAULT_CLOG = 1 << 6,     /* a link holds its frames for a while */
    FAULT_BREAK = 1 << 7,    /* a link breaks */
    FAULT_PAUSE = 1 << 8,    /* a process does nothing for up to 10 s */
    FAULT_SLOW_DISK = 1 << 9,
    FAULT_SYNC_FAILS = 1 << 10,
    FAULT_LOSE_DISK = 1 << 11, /* a machine comes back empty; only when all is
                                * whole */
    FAULT_STOP = 1 << 12, /* a process is asked to stop, and starts again */
    FAULT_FULL_DISK = 1 << 14, /* of one, or of all at once */
    FAULT_FLICKER = 1 << 13    /* some lose power for an instant, in the middle
                                * of the elections of each other */
};

struct fault_config {
    uint64_t seed;
    uint32_t kinds;    /* enum fault_kind, or-ed */
    uint64_t every_ns; /* mean time between troubles */
    uint64_t lasts_ns; /* mean time of one */
    /* Asked before a copy is lost: is everything whole? NULL: it never is. */
    bool (*is_whole)(void *context);
    void *context;
};

/* Aborts without memory. */
struct fault *fault_new(struct world *world, const struct fault_config *config);
void fault_free(struct fault *fault); /* NULL is allowed */
void fault_start(struct fault *fault);
/* No more; links are mended, disks as usual, and what is down starts. */
void fault_stop(struct fault *fault);
/* To be called from on_exit of the world: the peer starts again later. */
void fault_note_exit(struct fault *fault, size_t peer);
/* Of each kind that happened: bits. */
uint32_t fault_seen(const struct fault *fault);

#endif
