/* SPDX-License-Identifier: Apache-2.0 */

/* chord/map.h - the arcs of one keyspace that this peer has heard of.
 *
 * What is known may be old: of two descriptors that overlap, the one with the
 * higher generation is kept (of one arc, the higher term as well). A split
 * gives both children a generation above the parent's, so a child drops the
 * parent's old bounds, and old news of the parent does not come back over a
 * child. So a map is a hint about the ring. The arc's own group has the last
 * word.
 *
 * Nothing here sends, waits or reads a clock. Not for two threads at once. */

#ifndef CHORD_MAP_H
#define CHORD_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "chord/arc.h"

struct map;

/* An empty map that holds at most arc_count_max arcs, or NULL: no memory. */
struct map *map_new(size_t arc_count_max);

/* NULL is allowed. */
void map_free(struct map *map);

/* Takes in a descriptor, copying it, and drops what it supersedes. *news false:
 * the map knew as much or more. On failure the map is as before.
 *   DLHT_ENOMEM
 *   DLHT_EFULL   arc_count_max would be passed */
MUST_USE int map_notice(struct map *map, const struct arc *arc, bool *news);

/* Forgets an arc if it is known with at most this generation. */
void map_forget(struct map *map, arc_id id, uint64_t generation);

/* The arc that holds key by what is known; else the known arc with the
 * greatest lo before key, wrapping to the last arc of all if none is, so that
 * asking it brings the lookup nearer; NULL only if the map is empty. Valid
 * until the next notice or forget. About log2(arcs) comparisons, fewer if
 * guess (an index, SIZE_MAX: none) is near. */
const struct arc *map_find(const struct map *map, struct span key,
                           size_t guess);

/* How many known arcs begin at or before key: the index of the first after it.
 */
size_t map_rank(const struct map *map, struct span key);

/* Whether no known arc holds key; then from there to the next one are the bounds
 * of gap, which stay good as map_find's. */
bool map_gap_at(const struct map *map, struct span key, struct arc *gap);

/* By id; NULL: not known. O(1). */
const struct arc *map_by_id(const struct map *map, arc_id id);

size_t map_count(const struct map *map);

/* In order of lo; index < map_count. */
const struct arc *map_at(const struct map *map, size_t index);

/* Order-independent hash of (id, generation, term) of all: equal maps, equal
 * digests. Kept up to date. */
uint64_t map_digest(const struct map *map);

/* Adds to sums[part], for each arc, the low half of its share of the digest;
 * the part is drawn from its id, evenly. part_count is a power of two. Linear.
 */
void map_digest_parts(const struct map *map, size_t part_count, uint32_t *sums);
/* The part of that arc; index < map_count. */
size_t map_part_of(const struct map *map, size_t index, size_t part_count);

/* True if the known arcs tile the whole keyspace. Linear. */
bool map_is_whole(const struct map *map);

/* Asserts order, disjointness and the digest; for tests and the simulator. A
 * gap is not an error: a peer in finger mode knows a few arcs only. */
void map_check(const struct map *map);

#endif
