/* SPDX-License-Identifier: Apache-2.0 */

/* bench/ring_world.h - a ring of arcs cut at equal depth of sorted keys, with
 * the true pointers of chord/ring.h, and walks over it.
 *
 * Each arc begins with the one that follows it and nothing else; upkeep runs on
 * virtual time with messages that take none. Each arc is a peer of its own:
 * hops are between arcs, as many as there would be between peers that keep one
 * each. */

#ifndef BENCH_RING_WORLD_H
#define BENCH_RING_WORLD_H

#include "base/rng.h"
#include "bench.h"
#include "chord/lookup.h"

enum {
    RING_WORLD_LIST = 8 /* successors, as the node keeps */
};

struct ring_world {
    struct arc *arcs; /* in order of lo; id is the index and one */
    struct ring **rings;
    size_t count;
    uint64_t now_ns;
    uint64_t messages;
};

/* Bounds borrow the bytes of set, which has more distinct keys than arcs. */
void ring_world_init(struct ring_world *world, const struct key_set *set,
                     size_t arc_count, size_t list_len, uint64_t seed);
void ring_world_deinit(struct ring_world *world);

void ring_world_run_for(struct ring_world *world, uint64_t ns);

/* Until every pointer and finger is right. Ends the program if they do not
 * become so. */
void ring_world_settle(struct ring_world *world);

/* The arc that has key. */
size_t ring_world_holder(const struct ring_world *world, struct span key);

/* Forwards a request for key from the arc at index, greedily, over what each
 * arc on the way knows: its ring, and the map of its own in maps (NULL: none).
 * With `rings` false only the maps. Returns the hops. */
struct ring_world_view {
    bool rings;
    struct map *const *maps;
};
size_t ring_world_walk(const struct ring_world *world,
                       const struct ring_world_view *view, size_t index,
                       struct span key);

#endif
