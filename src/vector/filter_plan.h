/* SPDX-License-Identifier: Apache-2.0 */

/* vector/filter_plan.h - how a search with a filter is gone about.
 *
 * Three ways, and what each costs, in the time of an unfiltered walk:
 *
 *     scan        the distance to each row that passes. Rows that an index
 *                 leaves are listed, others asked one by one.
 *     plain       the walk of a search without filter, wide enough that ef of
 *                 what it sees passes: ef / s, where s is the share that passes
 *                 *near the query*. About (1/s)^0.8 walks.
 *     second hop  a walk on passing rows only that looks past the others: about
 *                 2.75 (1/s)^0.64 walks where rows pass independently of where
 *                 they lie, and 6.5 whatever s where they lie together.
 *
 * The cheapest is taken. The exponents and factors are fitted to measurements
 * (100,000 x 128, recall 0.95) and stand beside them in docs/filter.md. So a
 * scan wins where few rows pass, below about a tenth of 100,000; that bound
 * falls as the set grows, since a walk grows with its logarithm only.
 *
 * s is the share of all rows that pass, times `near`: how many times as often
 * as elsewhere rows near the query pass. It is not known before; so a search
 * begins with 1, and asks again with what its first steps saw.
 *
 * Pure functions of numbers; nothing is remembered. */

#ifndef VECTOR_FILTER_PLAN_H
#define VECTOR_FILTER_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum filter_plan_way {
    FILTER_PLAN_NOTHING, /* no row passes: the answer is empty */
    FILTER_PLAN_SCAN,
    FILTER_PLAN_PLAIN,
    FILTER_PLAN_SECOND_HOP
};

/* Nanoseconds, of one. */
struct filter_plan_costs {
    double row;    /* distance to the next row of a scan */
    double step;   /* distance to a row somewhere, in a walk */
    double filter; /* asking a filter about a row somewhere */
    double entry;  /* taking a row from an index into a set */
};

struct filter_plan_input {
    uint64_t row_count;
    double match_count;     /* rows that pass, about */
    bool match_exact;       /* so many they are */
    bool bounded;           /* an index leaves rows out, ... */
    double candidate_count; /* so that about these are left; else row_count */
    bool covered;           /* and all of them pass */
    uint32_t k, ef;         /* ef of an unfiltered search */
    double walk_rows;       /* distances of one such search; 0: a guess */
    double near;            /* filter_plan_near; 1: not known */
    struct filter_plan_costs costs;
};

struct filter_plan {
    enum filter_plan_way way;
    bool by_index;  /* take the set of rows from the index first */
    uint32_t ef;    /* to walk with; 0 for the ways that do not walk */
    double cost_ns; /* of the way taken */
    double scan_ns, plain_ns, second_hop_ns;
};

/* For vectors of so many bytes as they are compared (dim of int8). */
struct filter_plan_costs filter_plan_costs_default(size_t bytes);

/* What was seen by a walk's first steps: of so many distances so many rows
 * passed, where share of all rows do. Few steps say little: the answer is drawn
 * towards 1 by as many rows as an independent filter might pass by chance. */
double filter_plan_near(uint64_t measured, uint64_t passed, double share);

struct filter_plan filter_plan_choose(const struct filter_plan_input *input);

/* True if a walk that found so many rows may have missed some of k, so that a
 * scan must follow: k results whenever k exist. */
bool filter_plan_needs_scan(const struct filter_plan_input *input,
                            uint32_t found);

/* The ways' names, for logs and answers. */
const char *filter_plan_name(enum filter_plan_way way);

#endif
