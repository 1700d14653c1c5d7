/* SPDX-License-Identifier: Apache-2.0 */

/* vector/meta_value.h - one value of a field, or of a filter.
 *
 * Numbers are compared by their worth, an int64 with a double exactly (without
 * rounding it to a double). Strings are compared as bytes, which for UTF-8 is
 * by code points. Values of different classes are never equal, and neither is
 * less than the other. */

#ifndef VECTOR_META_VALUE_H
#define VECTOR_META_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

/* Written into records: numbers stay. */
enum meta_kind {
    META_NULL = 0,
    META_FALSE = 1,
    META_TRUE = 2,
    META_INT = 3,
    META_REAL = 4,
    META_TEXT = 5,
    META_LIST = 6 /* of a field only */
};

struct meta_value {
    enum meta_kind kind; /* not META_LIST */
    union {
        int64_t i;
        double d;         /* finite */
        struct span text; /* borrowed */
    } u;
};

static inline struct meta_value meta_value_int(int64_t i)
{
    struct meta_value v = { META_INT, { .i = i } };
    return v;
}

static inline struct meta_value meta_value_real(double d)
{
    struct meta_value v = { META_REAL, { .d = d } };
    return v;
}

static inline struct meta_value meta_value_text(struct span text)
{
    struct meta_value v = { META_TEXT, { .text = text } };
    return v;
}

/* META_NULL, META_FALSE or META_TRUE. */
static inline struct meta_value meta_value_mark(enum meta_kind kind)
{
    struct meta_value v = { kind, { .i = 0 } };
    return v;
}

static inline bool meta_value_is_number(enum meta_kind kind)
{
    return kind == META_INT || kind == META_REAL;
}

/* Whether '<' means something between them: both numbers, or both strings. */
static inline bool meta_value_has_order(enum meta_kind a, enum meta_kind b)
{
    return (meta_value_is_number(a) && meta_value_is_number(b)) ||
           (a == META_TEXT && b == META_TEXT);
}

/* Total: null, false, true, numbers, strings; zero if equal. */
int meta_value_compare(const struct meta_value *a, const struct meta_value *b);

static inline bool meta_value_equal(const struct meta_value *a,
                                    const struct meta_value *b)
{
    if (a->kind == META_TEXT && b->kind == META_TEXT)
        return span_equal(a->u.text, b->u.text);
    if (a->kind == META_INT && b->kind == META_INT)
        return a->u.i == b->u.i;
    return meta_value_compare(a, b) == 0;
}

#endif
