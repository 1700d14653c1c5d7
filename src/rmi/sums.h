/* SPDX-License-Identifier: Apache-2.0 */

/* rmi/sums.h - what a leaf of a model needs to know of its keys, in a form
 * that adds up.
 *
 * The keys of one leaf may be spread over several arcs. Each arc sums over its
 * own part; sums_append() joins the parts in key order. The result equals what
 * one pass over all keys would have found, since arcs are disjoint and in
 * order: ranks of a later part are those it has of its own plus the number of
 * keys before it ("One-shot federated ridge regression", arXiv 2601.08216, for
 * the idea that sums replace the averaging of coefficients).
 *
 * t is the place of a key between the knots of its leaf, in [0, 1]; r is its
 * rank among the keys of the leaf, from 0. */

#ifndef RMI_SUMS_H
#define RMI_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SUMS_POWERS = 7, /* of t: 0 .. 6, what a cubic's normal equations take */
    SUMS_RANKS = 4,  /* of t, times r: 0 .. 3 */
    SUMS_CELLS = 16  /* equal parts of [0, 1], their keys counted: so that the
                      * error of any monotone fit can be bounded without the
                      * keys */
};

struct sums {
    double t[SUMS_POWERS]; /* sum of t^i; t[0] is the count */
    double tr[SUMS_RANKS]; /* sum of r t^i */
    uint64_t cell[SUMS_CELLS];
};

/* One more key, at t in [0, 1], after all those before it: its rank is the
 * count so far. */
void sums_add(struct sums *sums, double t);

/* The same of count keys, and a good deal faster. */
void sums_add_many(struct sums *sums, const double *t, size_t count);

/* The keys of later, all of which sort after ours, join ours. */
void sums_append(struct sums *sums, const struct sums *later);

/* Keys summed. */
uint64_t sums_count(const struct sums *sums);

/* False if a stranger's sums cannot be those of any keys: not finite, below
 * zero, powers that grow, cells that do not add up to the count. */
bool sums_are_sane(const struct sums *sums);

#endif
