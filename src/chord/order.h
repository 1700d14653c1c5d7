/* SPDX-License-Identifier: Apache-2.0 */

/* chord/order.h - the circular order of keys: after the last key comes the
 * first, the empty one. An arc stands at its lo. */

#ifndef CHORD_ORDER_H
#define CHORD_ORDER_H

#include <stdbool.h>

#include "base/span.h"
#include "chord/arc.h"

/* Going up from a, x comes strictly before b and is not a; between(a, x, a)
 * holds for each x but a. */
static inline bool order_between(struct span a, struct span x, struct span b)
{
    bool after = span_compare(a, x) < 0;
    bool before = span_compare(x, b) < 0;
    return span_compare(a, b) < 0 ? after && before : after || before;
}

/* Where the arc after this one stands. */
static inline struct span order_end(const struct arc *arc)
{
    return arc->has_hi ? arc->hi : span_empty();
}

/* Going up from a one meets key sooner than from b: a is nearer before it. An
 * arc that stands at key is the nearest. */
static inline bool order_nearer(struct span a, struct span b, struct span key)
{
    bool a_before = span_compare(a, key) <= 0;
    bool b_before = span_compare(b, key) <= 0;
    if (a_before != b_before)
        return a_before;
    return span_compare(a, b) > 0;
}

/* Going up from key one meets a sooner than b. */
static inline bool order_sooner(struct span key, struct span a, struct span b)
{
    bool a_after = span_compare(a, key) >= 0;
    bool b_after = span_compare(b, key) >= 0;
    if (a_after != b_after)
        return a_after;
    return span_compare(a, b) < 0;
}

#endif
