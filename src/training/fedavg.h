/* SPDX-License-Identifier: Apache-2.0 */

/* training/fedavg.h - how others merge models, kept to be compared with.
 *
 * fedavg_merge averages leaf coefficients by weight, as LEAD's federated
 * recursive model (FRM) does; without prefix counts it errs by what the
 * neighbours grew (KS 0.23 where the exact merge has 0.002). fedavg_ready and
 * fedavg_may_coordinate are FRM's 40 % / 90 % rule. */

#ifndef TRAINING_FEDAVG_H
#define TRAINING_FEDAVG_H

#include "rmi/fit.h"

/* One peer's model over the same knots, its own leaves fitted to its own keys,
 * and how many keys those are. */
struct fedavg_part {
    const struct model *model;
    uint64_t keys;
};

/* All parts must share their knots and kind of leaf. The counts before knots
 * are those of the first part's model: peers who average know no others. *out
 * is owned.
 *   DLHT_EINVAL  no parts, no keys, or other knots
 *   DLHT_ENOMEM */
MUST_USE int fedavg_merge(const struct fedavg_part *parts, size_t count,
                          struct model **out);

/* New keys are at least 40 % of those known before. */
bool fedavg_ready(uint64_t keys_new, uint64_t keys_known);

/* Ready itself, and at least 90 % of its neighbours are, if it has any. */
bool fedavg_may_coordinate(bool self_ready, size_t neighbours_ready,
                           size_t neighbours);

#endif
