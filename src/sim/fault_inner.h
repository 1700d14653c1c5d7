/* SPDX-License-Identifier: Apache-2.0 */

/* sim/fault_inner.h - what the parts of the tormentor know of each other.
 *
 * fault.c          when; processes and links
 * fault_disk.c     disks
 * fault_operate.c  peers that join and leave, and what else operators ask
 * fault_name.c     kinds by name */

#ifndef SIM_FAULT_INNER_H
#define SIM_FAULT_INNER_H

#include "base/buf.h"
#include "base/rng.h"
#include "sim/fault.h"

#define PAUSE_NS_MAX (10 * WORLD_S)
#define JUMP_NS_MAX (10 * WORLD_S)

enum {
    ERRANDS_MAX = 8
};

/* Something asked of the ring until it says yes. */
struct errand {
    struct fault *fault;
    bool open;
    bool asked; /* and not answered yet */
    bool must;  /* else one attempt is enough */
    uint8_t op;
    struct buf doc;
    size_t leaver; /* OP_LEAVE: who; is stopped then */
};

struct fault {
    struct world *world;
    struct fault_config config;
    struct rng rng;
    bool running;
    uint32_t seen;
    struct errand errands[ERRANDS_MAX];
    bool paused; /* balancing, as far as this has asked for */
};

/* fault.c */
uint64_t fault_draw_time(struct fault *fault, uint64_t mean);
/* A wanted peer that is up, or is not; SIZE_MAX: none. */
size_t fault_draw_peer(struct fault *fault, bool up);
void fault_start_later(struct fault *fault, size_t peer);

/* fault_disk.c */
void fault_disk(struct fault *fault, enum fault_kind kind);
/* Whom a peer without identity asks: it must not found a cluster of its own. */
void fault_set_bootstrap(struct fault *fault, size_t peer);

/* fault_operate.c */
void fault_operate(struct fault *fault, enum fault_kind kind);
void fault_stop_operating(struct fault *fault);
void fault_drop_errands(struct fault *fault);

#endif
