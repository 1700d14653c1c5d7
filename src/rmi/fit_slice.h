/* SPDX-License-Identifier: Apache-2.0 */

/* rmi/fit_slice.h - some neighbouring leaves of a model, as a model of their
 * own.
 *
 * It has the same knots, the same t for a key of its leaves, and the same
 * widths and coefficients; so sums over a slice are sums over the whole. What
 * was before its first knot or after its last one is outside. */

#ifndef RMI_FIT_SLICE_H
#define RMI_FIT_SLICE_H

#include "rmi/model.h"

/* The leaves first .. first + count - 1 of model, count > 0. *out is owned;
 * NULL on failure.
 *   DLHT_EINVAL  no such leaves, or no keys in any of them
 *   DLHT_ENOMEM */
MUST_USE int fit_slice(const struct model *model, uint32_t first,
                       uint32_t count, struct model **out);

#endif
