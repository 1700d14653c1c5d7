/* SPDX-License-Identifier: Apache-2.0 */

/* node/key_ranges.h - a set of keys as ranges [from, to): what of a keyspace has
 * been answered, and what not yet. */

#ifndef NODE_KEY_RANGES_H
#define NODE_KEY_RANGES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"

struct key_range {
    struct span from; /* empty: from the first key */
    struct span to;
    bool has_to; /* else to the last */
};

/* All zeros is the empty set. */
struct key_ranges {
    struct key_range *list; /* ascending, none touching; bytes are owned */
    size_t count, cap;
};

void key_ranges_deinit(struct key_ranges *set);

/* Finding the place takes log2(count) comparisons, here and below. The bytes
 * are copied. An empty range adds nothing. DLHT_ENOMEM: as before */
MUST_USE int key_ranges_add(struct key_ranges *set,
                            const struct key_range *range);

/* The first keys from `from` on that are not in the set; borrowed from it and
 * from `from`. False: there are none. */
bool key_ranges_gap(const struct key_ranges *set, struct span from,
                    struct key_range *out);

bool key_ranges_is_all(const struct key_ranges *set);

/* Whether the set has every key of the range, or any. */
bool key_ranges_has(const struct key_ranges *set,
                    const struct key_range *range);
bool key_ranges_meets(const struct key_ranges *set,
                      const struct key_range *range);

/* What of both there is; false: nothing. */
bool key_range_meets(const struct key_range *a, const struct key_range *b);

#endif
