/* SPDX-License-Identifier: Apache-2.0 */

/* training/round_impl.h - what a round is made of; for training/ only. */

#ifndef TRAINING_ROUND_IMPL_H
#define TRAINING_ROUND_IMPL_H

#include "training/round.h"

/* Bytes in the round's buffer. */
struct piece {
    size_t at;
    size_t len;
};

/* A report, kept. */
struct part {
    struct piece lo, hi, end;
    bool has_hi;
    bool lied;       /* its sums were scaled */
    bool missing;    /* the model before speaks for it */
    bool silent;     /* it said nothing of its sums */
    uint64_t filled; /* keys of it, if it is missing */
    uint64_t claimed;
    uint64_t heard[ROUND_HEARD_MAX];
    size_t heard_count;
    double share_before; /* that the model before gave it */
    size_t first;        /* of its quantiles */
    size_t quantile_count;
};

struct quantile {
    struct piece key;
    uint64_t before; /* keys of its report before it, as claimed */
};

struct round {
    struct fit_config config;
    const struct model *previous; /* borrowed */
    struct buf bytes;
    struct part *parts;
    size_t part_count, part_cap;
    struct quantile *quantiles;
    size_t quantile_count, quantile_cap;
    bool tiled;

    struct model *skeleton; /* NULL: still taking reports */
    /* Of each leaf of it: its sums; of each knot, how many of the keys counted
     * before it may be after it, since quantiles are coarse. */
    struct sums *sums;
    uint64_t *beyond;
    uint32_t sums_end;    /* leaves before have got sums */
    size_t leaves_scaled; /* but for those of parts that lied */
};

static inline struct span round_span(const struct round *round,
                                     struct piece piece)
{
    return piece.len > 0 ? span_of(round->bytes.data + piece.at, piece.len)
                         : span_empty();
}

/* n is more than is left to chance and to writes while the round runs. */
static inline bool round_is_beyond(uint64_t n, uint64_t limit)
{
    return n > limit && n - limit > limit / ROUND_SLACK_PART + ROUND_SLACK_KEYS;
}

/* What caps are shares of: all keys, after the caps; infinite: no caps. */
double round_total(const struct round *round);

/* What part i counts for, total being round_total. */
uint64_t round_settled(const struct round *round, size_t i, double total);

/* Keys of part i before its quantile q, 0 .. quantile_count, after the claim
 * was made to fit settled. */
uint64_t round_before(const struct round *round, const struct part *part,
                      size_t q, uint64_t settled);

/* Calls back for every quantile that counts, in key order: from its key up to
 * next (the next quantile's key, or hi; data NULL: after all keys) there are
 * count keys, and before of all reports before it. The greatest is <= last if
 * it is the last of its report, whose last.data is not NULL. */
struct run {
    struct span key, next, last;
    uint64_t before, count;
};
typedef void round_run_fn(void *context, const struct run *run);
void round_each_run(const struct round *round, round_run_fn *each,
                    void *context);

/* Those of part i only. */
void round_each_run_of(const struct round *round, size_t i, round_run_fn *each,
                       void *context);

/* Keys evenly spread between a and b, which lie in that cell of a leaf, after
 * those already in sums. */
void round_spread(struct sums *sums, double a, double b, unsigned cell,
                  uint64_t keys);

#endif
