/* SPDX-License-Identifier: Apache-2.0 */

/* vector/filter.h - which records a search may return: an expression over their
 * metadata, compiled once, asked of many records.
 *
 *     price < 20 and (color in ("red", "blue") or not exists color)
 *
 * The language is docs/filter.md; in short: a comparison with a field that a
 * record lacks is false, != too, and `not` turns any answer round. A compiled
 * filter is a row of tests, each with two ways out, to a later test or to an
 * answer; asking it neither allocates nor recurses. It keeps the expression
 * beside, to print it, to estimate it by parts, and to leave parts out.
 *
 * Immutable once made: share among threads freely, free when none reads it.
 * Between peers a filter travels as text. */

#ifndef VECTOR_FILTER_H
#define VECTOR_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"
#include "vector/meta.h"
#include "vector/meta_error.h"

enum {
    FILTER_TEXT_MAX = 65536,
    FILTER_DEPTH_MAX = 32, /* parentheses and `not`s in one another */
    FILTER_TESTS_MAX = 512,
    FILTER_VALUES_MAX = 8192 /* of all tests together */
};

enum filter_op {
    FILTER_EQ,
    FILTER_NE,
    FILTER_LT,
    FILTER_LE,
    FILTER_GT,
    FILTER_GE,
    FILTER_IN,
    FILTER_NOT_IN,
    FILTER_EXISTS
};

/* One comparison. Borrowed from the filter. */
struct filter_test {
    enum filter_op op;
    struct span name;
    const struct meta_value *values; /* of `in` ascending, none twice */
    uint32_t value_count;            /* 0 for FILTER_EXISTS, else 1 or more */
    uint16_t yes, no;                /* the next test, or an answer */
    uint8_t tag;                     /* of the name */
};

enum filter_kind {
    FILTER_AND,
    FILTER_OR,
    FILTER_NOT,
    FILTER_TEST
};

/* The expression as a tree in one row: a node, then its children. No AND is a
 * child of an AND, no OR of an OR, no NOT of a NOT. */
struct filter_node {
    uint8_t kind;         /* enum filter_kind */
    uint16_t child_count; /* AND, OR: 2 or more; NOT: 1 */
    uint16_t end;         /* the first node behind all of this one's */
    uint16_t test;        /* FILTER_TEST: which; else the first one inside */
};

struct filter;

/* Compiles text. On failure *out is NULL and error says why.
 *   DLHT_EINVAL   not an expression
 *   DLHT_ETOOBIG  a bound is passed
 *   DLHT_ENOMEM */
MUST_USE int filter_compile(struct span text, struct filter **out,
                            struct meta_error *error);

/* NULL is allowed. */
void filter_free(struct filter *filter);

/* Whether a record with this metadata passes. */
bool filter_match(const struct filter *filter, struct meta meta);

/* The same of the part of the expression under one node. */
bool filter_match_node(const struct filter *filter, size_t node,
                       struct meta meta);

/* Nodes of the expression; the first is the root. */
size_t filter_node_count(const struct filter *filter);
const struct filter_node *filter_node(const struct filter *filter, size_t i);
size_t filter_test_count(const struct filter *filter);
const struct filter_test *filter_test(const struct filter *filter, size_t i);

/* Appends text that compiles to an equal filter. */
void filter_print(const struct filter *filter, struct buf *out);

/* The same tests in the same tree. */
bool filter_equal(const struct filter *a, const struct filter *b);

/* What remains to be asked of records that are known to pass some parts of a
 * filter whose root is AND: done says so for each node, and only the root's
 * children are looked at. *out is the AND of the others, NULL if there are
 * none; if the root is no AND, a copy of the whole, or NULL if the root is
 * done.
 *   DLHT_ENOMEM */
MUST_USE int filter_rest(const struct filter *filter, const bool *done,
                         struct filter **out);

/* Bytes of memory. */
size_t filter_bytes(const struct filter *filter);

#endif
