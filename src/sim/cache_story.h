/* SPDX-License-Identifier: Apache-2.0 */

/* sim/cache_story.h - a cache under faults: clients who put, remove, touch,
 * flush, get and lease, and the judge of every answer.
 *
 * What a cache promises little of is held to that little:
 *   - a value that is returned was put under that key, and not refused;
 *   - it is not returned after its end, counted from its acknowledgement (but
 *     for the drift of clocks), unless the entry was touched since;
 *   - as long as no arc changes hands, it is not returned once a later write
 *     of the key, or a flush, was acknowledged before it was asked for;
 *   - bounds are kept;
 *   - once all is well each request is answered, and what is put is there.
 * A miss is no fault until then.
 *
 * Where peers only join and leave in order, and no bound is reached, nothing
 * may be lost (cache_story_keep):
 *   - what was put without an end is there, unless something else was done to
 *     the key since, or might have been;
 *   - no older value is returned, no matter who had the arc when;
 *   - a CAS with the version of a value succeeds only in that one's place.
 * If they pause as well (cache_story_pause) entries may be lost, but not as
 * long as somebody may go on with an arc that another was given, an older value
 * come back, or one that was removed. */

#ifndef SIM_CACHE_STORY_H
#define SIM_CACHE_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/world.h"

struct cache_story;

/* Aborts without memory. The world outlives it. */
struct cache_story *cache_story_new(struct world *world, uint64_t seed);
void cache_story_free(struct cache_story *story); /* NULL is allowed */

/* Nothing goes wrong, and no entry may be lost. */
void cache_story_keep(struct cache_story *story);

/* After that: but peers pause. */
void cache_story_pause(struct cache_story *story);

/* Makes the cache. False: the world has failed. */
bool cache_story_make(struct cache_story *story, uint64_t bound_ns);

/* Clients begin; end what they are at. */
void cache_story_start(struct cache_story *story);
void cache_story_stop(struct cache_story *story);
bool cache_story_is_idle(const struct cache_story *story);

/* All is whole and nobody asks: every key is put and got by every peer. False:
 * the world has failed. */
bool cache_story_settle(struct cache_story *story, uint64_t bound_ns);

/* Figures. */
void cache_story_remark(const struct cache_story *story, char *text,
                        size_t size);

#endif
