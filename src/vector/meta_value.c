/* SPDX-License-Identifier: Apache-2.0 */

/* How values compare. */

#include "vector/meta_value.h"

/* 2^63 is a double, the greatest int64 is not. */
static int compare_int_real(int64_t i, double d)
{
    const double end = 9223372036854775808.0;
    if (d >= end)
        return -1;
    if (d < -end)
        return 1;
    int64_t whole = (int64_t)d;
    if (i != whole)
        return i < whole ? -1 : 1;
    double rest = d - (double)whole;
    return (rest < 0) - (rest > 0);
}

static int compare_numbers(const struct meta_value *a,
                           const struct meta_value *b)
{
    if (a->kind == META_INT && b->kind == META_INT)
        return (a->u.i > b->u.i) - (a->u.i < b->u.i);
    if (a->kind == META_INT)
        return compare_int_real(a->u.i, b->u.d);
    if (b->kind == META_INT)
        return -compare_int_real(b->u.i, a->u.d);
    return (a->u.d > b->u.d) - (a->u.d < b->u.d);
}

static int class_of(enum meta_kind kind)
{
    return kind == META_REAL ? META_INT : (int)kind;
}

int meta_value_compare(const struct meta_value *a, const struct meta_value *b)
{
    int class_a = class_of(a->kind), class_b = class_of(b->kind);
    if (class_a != class_b)
        return class_a < class_b ? -1 : 1;
    if (class_a == META_INT)
        return compare_numbers(a, b);
    if (class_a == META_TEXT)
        return span_compare(a->u.text, b->u.text);
    return 0;
}
