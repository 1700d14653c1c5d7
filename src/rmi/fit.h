/* SPDX-License-Identifier: Apache-2.0 */

/* rmi/fit.h - making models: all at once from sorted keys, or in two passes
 * over keys that lie on many peers.
 *
 * In two passes: (1) each holder of keys says quantiles of its own, whose
 * weights are exact; fit_skeleton() chooses knots of equal depth among them,
 * which gives a model of straight leaves; (2) each holder sums its keys over
 * the leaves of that skeleton; fit_leaves() turns the joined sums into least
 * squares leaves, with bounds that surely hold. Both ends give what one pass
 * over all keys gives with the same knots.
 *
 * Sums are of numbers scaled to a leaf, subtracted as integers first, so that
 * neighbouring 64-bit keys do not vanish in a double. The root is fitted by
 * least squares on the knots (OpenBLAS, one thread); leaves in closed form, or
 * as batched Gram matrices. Pure functions; slow ones are run as jobs. */

#ifndef RMI_FIT_H
#define RMI_FIT_H

#include "rmi/model.h"
#include "rmi/sums.h"

struct fit_config {
    uint32_t leaf_count;  /* at most; fewer if there are fewer keys */
    enum model_kind root; /* default cubic */
    enum model_kind leaf; /* default linear: faster, half the KS on clusters */
};
struct fit_config fit_config_default(void);

/* Fits a model to count keys in ascending order (repeats allowed), keeping no
 * pointer to them. *out is owned; NULL on failure.
 *   DLHT_EINVAL  leaf_count out of range, no keys, or keys not in order
 *   DLHT_ENOMEM */
MUST_USE int fit_keys(const struct span *keys, size_t count,
                      const struct fit_config *config, struct model **out);

/* The same for 64-bit numbers, ascending, which are keys of 8 bytes, most
 * significant first. */
MUST_USE int fit_u64(const uint64_t *keys, size_t count,
                     const struct fit_config *config, struct model **out);

/* A key and how many keys there are from it (included) up to the next. */
struct fit_quantile {
    struct span key;
    uint64_t count;
};

/* Straight leaves between knots chosen at equal depth among quantiles, which
 * are in strictly ascending order; end is the greatest key. At most
 * leaf_count + 1 knots, cut to the shortest that still separate.
 *   DLHT_EINVAL, DLHT_ENOMEM */
MUST_USE int fit_skeleton(const struct fit_quantile *quantiles, size_t count,
                          struct span end, const struct fit_config *config,
                          struct model **out);

/* A model with the knots of skeleton, counts and leaves from sums, one of each
 * leaf of the skeleton. Leaves with no keys stay, empty.
 *   DLHT_EINVAL  sums not sane, or all empty
 *   DLHT_ENOMEM */
MUST_USE int fit_leaves(const struct model *skeleton, const struct sums *sums,
                        const struct fit_config *config, struct model **out);

/* Adds keys, in ascending order, to the sums of the leaves of model they fall
 * into. sums has model_leaf_count places. */
void fit_sum(const struct model *model, const struct span *keys, size_t count,
             struct sums *sums);

/* A copy of model whose one leaf is fitted anew to sums; no prediction outside
 * the leaf changes but by the number of keys that came or went there.
 *   DLHT_EINVAL, DLHT_ENOMEM */
MUST_USE int fit_update_leaf(const struct model *model, uint32_t leaf,
                             const struct sums *sums, struct model **out);

/* A copy of model whose leaf coefficients are those given, two of each leaf,
 * held monotone, bounds widened to the whole leaf. For the comparison mode
 * fedavg-coeff. */
MUST_USE int fit_with_coefficients(const struct model *model,
                                   const double *coefficients,
                                   struct model **out);

#endif
