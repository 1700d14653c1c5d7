/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/quantiles.h - a uniform sample of keys that are read one by one
 * (Vitter's algorithm R), and the keys that cut all of them into parts of
 * about equal count. Keys are looked at up to QUANTILES_KEY_MAX bytes. The
 * same keys in the same order give the same sample. */

#ifndef CLI_QUANTILES_H
#define CLI_QUANTILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dlht/dlht.h"

enum {
    QUANTILES_SAMPLE = 10000,
    QUANTILES_RECORDS_MIN = 1000, /* of a part */
    QUANTILES_KEY_MAX = 1024
};

struct quantiles {
    struct dlht_bytes *keys; /* owned, and the bytes of each */
    size_t count;
    uint64_t seen;
    uint64_t random;
    bool in_order; /* each key so far not before the one before it */
    uint8_t last[QUANTILES_KEY_MAX];
    size_t last_len;
};

/* False: no memory. deinit is always allowed. */
bool quantiles_init(struct quantiles *sample);
void quantiles_deinit(struct quantiles *sample);

/* One more key. False: no memory. */
bool quantiles_add(struct quantiles *sample, struct dlht_bytes key);

/* Where to cut for about `parts` parts, by a model of the sample: strictly ascending keys, as short as
 * still cuts there, that point into the sample (which is sorted by this).
 * Never more parts than keys seen / QUANTILES_RECORDS_MIN, and fewer if many
 * keys are the same. Returns how many cuts; there is room for parts - 1. */
size_t quantiles_cut(struct quantiles *sample, size_t parts,
                     struct dlht_bytes *cuts);

#endif
