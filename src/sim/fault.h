/* SPDX-License-Identifier: Apache-2.0 */

/* sim/fault.h - what goes wrong in a world, and when; and what its operators
 * do.
 *
 * A tormentor draws one trouble after the other from those that its
 * configuration allows, and ends each again after a while. It remembers what
 * it may not do: lose or damage a second copy before the first is made anew.
 *
 * What is assumed of clocks (docs/architecture.md): with leases they drift by
 * 1 % at most and never jump; FAULT_CLOCK is for worlds without leases. */

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
    FAULT_STOP = 1 << 12,    /* a process is asked to stop, and starts again */
    FAULT_FLICKER = 1 << 13, /* some lose power for an instant, in the middle
                              * of the elections of each other */
    FAULT_FULL_DISK = 1 << 14, /* of one, or of all at once */
    FAULT_ROT = 1 << 15,       /* a bit of what was synced turns over */
    FAULT_MISDIRECT = 1 << 16, /* a sector is written to the wrong place; both
                                * as with LOSE_DISK: of one copy at a time */
    FAULT_CLOCK = 1 << 17,     /* a clock jumps by up to 10 s */
    FAULT_DRIFT = 1 << 18,     /* a clock drifts otherwise than before */
    FAULT_JOIN = 1 << 19,      /* a new peer; one that left comes back as new */
    FAULT_LEAVE = 1 << 20,     /* one is told to leave, and stopped when it may
                                * be */
    FAULT_TRAIN = 1 << 21,     /* a model is asked for */
    FAULT_BALANCE = 1 << 22,   /* weights change, balancing is paused */
    /* Steps that nobody planned: whoever runs a merger does those. */
    FAULT_SPLIT = 1 << 23,
    FAULT_MERGE = 1 << 24,
    FAULT_MOVE = 1 << 25, /* leaders and copies */
    /* Of all links, all the while: for world_set_net. */
    FAULT_LOSS = 1 << 26,
    FAULT_DUPLICATE = 1 << 27,
    FAULT_REORDER = 1 << 28
};

enum {
    FAULT_KINDS = 29,
    FAULT_ALL = (1 << FAULT_KINDS) - 1,
    FAULT_STEPS = FAULT_SPLIT | FAULT_MERGE | FAULT_MOVE,
    FAULT_LINKS = FAULT_LOSS | FAULT_DUPLICATE | FAULT_REORDER,
    /* Of a copy for good. */
    FAULT_DAMAGE = FAULT_LOSE_DISK | FAULT_ROT | FAULT_MISDIRECT
};

/* The name of the one kind, as "lose-disk"; kinds by names with commas
 * between, "all" or "none". False: no such. */
const char *fault_name(uint32_t kind);
bool fault_parse(const char *text, uint32_t *kinds);
void fault_say(uint32_t kinds, char *text, size_t size);

struct fault_config {
    uint64_t seed;
    uint32_t kinds;    /* enum fault_kind, or-ed */
    uint64_t every_ns; /* mean time between troubles */
    uint64_t lasts_ns; /* mean time of one */
    /* Asked before a copy is lost or damaged: is everything whole (NULL: it
     * never is); may this peer lose what it has (NULL: then it may)? */
    bool (*is_whole)(void *context);
    bool (*may_lose)(void *context, size_t peer);
    const char *trained; /* keyspace of TRAIN; NULL: `default` */
    void *context;
};

/* Aborts without memory. */
struct fault *fault_new(struct world *world, const struct fault_config *config);
void fault_free(struct fault *fault); /* NULL is allowed */
void fault_start(struct fault *fault);
/* No more; links are mended, disks as usual, and what is down starts. */
void fault_stop(struct fault *fault);
/* Nothing is under way that must come to its end: after the stop, a peer still
 * leaves, or balancing goes on again. */
bool fault_is_idle(const struct fault *fault);
/* To be called from on_exit of the world: the peer starts again later. */
void fault_note_exit(struct fault *fault, size_t peer);
/* Of one that does not start for a damaged disk: it starts on an empty one. */
void fault_note_refusal(struct fault *fault, size_t peer);
/* Of each kind that happened: bits. */
uint32_t fault_seen(const struct fault *fault);

#endif
