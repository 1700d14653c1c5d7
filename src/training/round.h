/* SPDX-License-Identifier: Apache-2.0 */

/* training/round.h - one federated round: from the reports of all arcs to a
 * model.
 *
 *   round_add          every arc's report, in key order, until round_is_tiled
 *   round_hear_count   what other replicas counted, as they come
 *   round_skeleton     knots of equal depth (slow: a job)
 *   round_slice        for each arc: the leaves it has to sum over
 *   round_add_sums     the sums, in key order
 *   round_finish       the model (slow: a job)
 *
 * Nothing is sent here and no clock is read; who carries the questions may
 * stop at any point and start a new round. A lie is bounded: a report must
 * contradict neither itself nor its neighbours; the count of an arc is the
 * median over those who hold it, and without them at most SHARE_CAP times the
 * share that the model before gave it, plus its uniform part. What a report
 * claimed beyond that is scaled down, and counted. Silence is bounded, too: what a
 * few arcs do not say is taken from the model before. */

#ifndef TRAINING_ROUND_H
#define TRAINING_ROUND_H

#include "training/report.h"

enum {
    ROUND_REPORTS_MAX = 1 << 20,
    ROUND_HEARD_MAX = 8, /* replicas of an arc but the one that reports */
    ROUND_SHARE_CAP = 4,
    /* A count contradicts another if it is more by an eighth and this: writes
     * go on while a round runs. */
    ROUND_SLACK_PART = 8,
    ROUND_SLACK_KEYS = 16,
    /* Arcs of which the model before must speak are at most one of so many, and
     * have at most this part of its keys. One arc is allowed in any case. */
    ROUND_MISSING_PART = 4,
    /* Keys that the holder of arcs sums in one turn, for all who ask: about a
     * millisecond (dlht-bench training says how long). */
    ROUND_TURN_KEYS = 8192
};

struct round;

/* previous may be NULL (the first model: then there are no caps); borrowed
 * until round_free. */
MUST_USE int round_new(const struct fit_config *config,
                       const struct model *previous, struct round **out);
void round_free(struct round *round); /* NULL is allowed */

/* The next arc, copied. Its lo must be where the last one ended (empty at
 * first).
 *   DLHT_EPROTO  it contradicts itself
 *   DLHT_EINVAL  it leaves a gap or overlaps, or one too many
 *   DLHT_ENOMEM */
MUST_USE int round_add(struct round *round, const struct report *report);

/* Instead of a report, where none came that fits: the next arc has the share of
 * all keys, and its quantiles are where, the model before says.
 *   DLHT_EREFUSED  there was none
 *   DLHT_EINVAL    as round_add
 *   DLHT_ENOMEM */
struct round_gap {
    struct span lo, hi;
    bool has_hi;
};
MUST_USE int round_add_missing(struct round *round,
                               const struct round_gap *gap);

/* All have reported, and all counts were heard: now is known how many keys a
 * share is. Part of round_skeleton; to be called before round_measure.
 *   DLHT_EREFUSED  too much is missing: see ROUND_MISSING_PART */
MUST_USE int round_fill_missing(struct round *round);

/* Arcs of which there is no report, or no sums. */
size_t round_missing(const struct round *round);

/* Where the next report must begin; false: the keyspace is tiled. */
bool round_next(const struct round *round, struct span *lo);

size_t round_report_count(const struct round *round);

/* Bounds of report i; good until the next round_add. */
void round_bounds(const struct round *round, size_t i, struct span *lo,
                  struct span *hi, bool *has_hi);

/* Another replica counted keys in [lo, hi) of report i: for the median, of two
 * the lower. To be told once of each; without effect after round_skeleton. */
void round_hear_count(struct round *round, size_t i, uint64_t keys);

/* Keys of all reports, after the median and the caps. */
uint64_t round_keys(const struct round *round);

/* Arcs whose claim was scaled so far, and leaves of several arcs that were. */
size_t round_lies(const struct round *round);

/* How far the model is from the reports: see training/drift.h. */
struct fit_error {
    double mean;     /* mean |F - truth| as a share of all keys */
    double max;      /* the greatest, at the quantiles: KS as far as seen */
    double hot_leaf; /* share of the fullest leaf, times the leaf count */
};
void round_measure(const struct round *round, const struct model *model,
                   struct fit_error *out);

/* Fits the skeleton. The tiling must be whole.
 *   DLHT_EINVAL  not tiled, no keys at all, or done already
 *   DLHT_EREFUSED  as round_fill_missing
 *   DLHT_ENOMEM */
MUST_USE int round_skeleton(struct round *round);

/* The leaves of the skeleton that keys of [lo, hi) can fall into.
 *   DLHT_EPROTO  not an interval
 *   DLHT_ENOMEM */
MUST_USE int round_leaves(const struct round *round, struct span lo,
                          struct span hi, bool has_hi, uint32_t *first,
                          uint32_t *count);

/* Those leaves, as a model
 * of its own with the same knots, packed and appended to out; *first is the
 * first one's number in the skeleton. [lo, hi) need not be as reported: arcs may
 * have been cut or merged since. DLHT_ENOMEM */
MUST_USE int round_slice(const struct round *round, struct span lo,
                         struct span hi, bool has_hi, uint32_t *first,
                         struct buf *out);

/* Sums of the leaves first .. first + count - 1, from keys that all sort after
 * those already added.
 *   DLHT_EPROTO  not sane, or out of range
 * Leaves that are passed over have lost their keys since the reports.
 *   DLHT_EINVAL  it is not their turn; no skeleton */
MUST_USE int round_add_sums(struct round *round, uint32_t first,
                            const struct sums *sums, size_t count);

/* Instead of sums of report i, where none came that fit: its keys are spread
 * evenly between the quantiles of pass 1.
 *   DLHT_EREFUSED  there was no model before, or too much is missing
 *   DLHT_EINVAL    it is not its turn */
MUST_USE int round_add_silent(struct round *round, size_t i);

/* All arcs have summed: leaves without sums have no keys any more. */
void round_end_sums(struct round *round);

/* The model; *out is owned. Sums that contradict the counts of pass 1 are
 * scaled. It is verified: monotone at every knot and between them at 10,000
 * places.
 *   DLHT_EINVAL  sums are missing, no keys are left, or it is not monotone
 *   DLHT_ENOMEM */
MUST_USE int round_finish(struct round *round, struct model **out);

#endif
