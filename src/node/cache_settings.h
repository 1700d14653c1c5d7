/* SPDX-License-Identifier: Apache-2.0 */

/* node/cache_settings.h - what makes a volatile keyspace a cache: the options
 * of its record that bound what each peer keeps of it. At least one of the two
 * bounds is given when it is created; both can be changed later. */

#ifndef NODE_CACHE_SETTINGS_H
#define NODE_CACHE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "store/cache.h"

enum {
    /* A peer's share of a keyspace may lie in as many as 256 arcs, and each
     * takes its part of the bounds. */
    CACHE_MAX_BYTES_LEAST = 1 << 20,
    CACHE_MAX_ITEMS_LEAST = 256
};

struct cache_settings {
    uint64_t bytes_max; /* at each peer; 0: no bound */
    uint64_t count_max; /* likewise */
    enum cache_policy_kind policy;
};

struct cache_settings cache_settings_default(void);

/* One of the two bounds is there. */
bool cache_settings_bound(const struct cache_settings *s);

/* The name is that of an option of caches. */
bool cache_settings_has(struct span name);

/* Sets one. *text says what would be right, unless DLHT_OK.
 *   DLHT_EINVAL  not a value of it */
MUST_USE int cache_settings_set(struct cache_settings *s, struct span name,
                                struct span value, const char **text);

/* "s3fifo", "lru". */
const char *cache_settings_policy(enum cache_policy_kind policy);

#endif
