/* SPDX-License-Identifier: Apache-2.0 */

/* sim/settled.h - a ring that is there from the first instant on.
 *
 * The first peers of a world come up together, each told by node/settle.h what
 * a ring at rest knows: so many arcs led by each, copies on others by chance,
 * evenly. From then on they run as ever; nothing stands in for a node. */

#ifndef SIM_SETTLED_H
#define SIM_SETTLED_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "sim/world.h"

struct settled;

struct settled_config {
    uint64_t seed;
    size_t peers;    /* the first of the world */
    size_t arcs;     /* led by each */
    size_t replicas; /* of each arc */
    uint64_t floor_keys, ceiling_bytes;
};

/* Starts them. Aborts without memory. */
struct settled *settled_start(struct world *world,
                              const struct settled_config *config);
void settled_free(struct settled *settled); /* NULL is allowed */

size_t settled_arc_count(const struct settled *settled);
/* The peer that led that arc at first. Arcs are in order of their keys. */
size_t settled_owner(const struct settled *settled, size_t arc);
/* A key inside that arc. */
struct span settled_key(const struct settled *settled, size_t arc);

#endif
