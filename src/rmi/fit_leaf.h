/* SPDX-License-Identifier: Apache-2.0 */

/* rmi/fit_leaf.h - one leaf by least squares, in closed form; for rmi/ only. */

#ifndef RMI_FIT_LEAF_H
#define RMI_FIT_LEAF_H

#include "rmi/model_impl.h"
#include "rmi/sums.h"

/* Coefficients from sums over at least one key; held monotone. */
void fit_leaf(const struct sums *sums, enum model_kind kind, double coef[2]);

/* Sets the bounds, in ranks, rounding outwards and leaving room for what
 * arithmetic on ranks up to keys rounds. */
void fit_leaf_bounds(struct leaf *leaf, double lo, double hi, double keys);

/* Bounds that hold for any keys with these sums, from the numbers of keys in
 * cells. first, last: keys before or after all knots are counted here. */
void fit_leaf_bounds_of_cells(struct leaf *leaf, enum model_kind kind,
                              const struct sums *sums, bool first, bool last,
                              double keys);

#endif
