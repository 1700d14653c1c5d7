/* SPDX-License-Identifier: Apache-2.0 */

/* rmi/knots.h - which keys a model is cut at, and models made of cuts; for
 * rmi/ only. */

#ifndef RMI_KNOTS_H
#define RMI_KNOTS_H

#include "rmi/fit.h"
#include "rmi/model_impl.h"

/* Keys in ascending order: spans or numbers; with weights, if before is there:
 * before[i] keys in all sort before spans[i], before[count] is their sum. */
struct source {
    const struct span *spans;
    const uint64_t *numbers;
    const uint64_t *before;
    size_t count;
};

bool fit_config_is_valid(const struct fit_config *config);

/* Key i; bytes is where a number is written to. */
struct span source_key(const struct source *source, size_t i, uint8_t bytes[8]);
uint64_t source_total(const struct source *source);

/* Cuts: leaf i takes the keys from cut[i] up to cut[i + 1]. */
struct knots {
    struct buf bytes; /* the prefix, then the knots without it */
    uint32_t *at;     /* where each begins; one more than knots */
    size_t *cut;
    size_t count; /* knots; leaves are one fewer */
    size_t depth; /* keys a leaf, about */
    uint32_t prefix_len;
};

/* At most leaf_count leaves of equal weight, fewer if keys repeat, if knots cut
 * short are equal, or if the model would not fit in MODEL_PACKED_MAX. end is
 * the greatest key. The caller deinits *out, whatever is returned.
 *   DLHT_ENOMEM */
MUST_USE int knots_choose(const struct source *source, struct span end,
                          uint32_t leaf_count, struct knots *out);
void knots_deinit(struct knots *knots);

/* A model of these knots with straight leaves of no keys; then the widths are
 * set, and model_finish adds up. */
MUST_USE int model_new(const struct knots *knots,
                       const struct fit_config *config, struct model **out);

/* Another of the same; NULL: no memory. */
struct model *model_copy(const struct model *model);

/* An empty model of this size, for model_unpack; NULL: no memory. */
struct model *model_alloc(uint32_t leaf_count, size_t bytes_len);

/* What follows from bytes, at and prefix_len: heads and places of leaves. The
 * root's window follows from its coefficients and the heads. */
void model_measure_knots(struct model *model);
void model_measure_root(struct model *model);

/* Counts before leaves, and what follows from the sum. */
void model_finish(struct model *model);

/* Bytes of a packed model but for knots and the widths, and at most of a
 * width. */
enum {
    PACKED_HEAD = 64,
    PACKED_TAIL = 8,
    PACKED_LEAF = 24,
    PACKED_WIDTH_MAX = 8
};

/* Bytes of a knot after another: two lengths and what differs. */
static inline size_t packed_knot_size(struct span before, struct span knot)
{
    return 2 + knot.len - key8_common(before, knot);
}

static inline size_t packed_width_size(uint64_t width)
{
    size_t n = 1;
    for (; width >= 0x80; width >>= 7)
        n++;
    return n;
}

#endif
