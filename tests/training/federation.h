/* SPDX-License-Identifier: Apache-2.0 */

/* tests/training/federation.h - sorted keys cut into arcs, and a round over
 * them: what the holders of arcs and the one who runs the round would do. */

#ifndef TESTS_TRAINING_FEDERATION_H
#define TESTS_TRAINING_FEDERATION_H

#include "base/rng.h"
#include "training/round.h"

/* Arc i holds keys[cut[i]] .. keys[cut[i + 1] - 1] and begins at lo[i]. */
struct federation {
    const struct span *keys; /* borrowed */
    size_t count;
    size_t arc_count;
    size_t *cut;
    struct span *lo;
};

/* Cut at random keys; with empties, about one arc of ten has no keys: between
 * a key and the next. Aborts if there is no memory. */
struct federation federation_cut(const struct span *keys, size_t count,
                                 size_t arc_count, bool empties,
                                 struct rng *rng);
void federation_deinit(struct federation *f);

uint64_t federation_keys(const struct federation *f, size_t i);

/* What arc i says: wanted quantiles at equal depth, cut short. quantiles has
 * room for REPORT_QUANTILES_MAX. */
struct report federation_report(const struct federation *f, size_t i,
                                size_t wanted, struct fit_quantile *quantiles);

/* Bytes of a report as a node sends it, without the frame. */
size_t federation_report_size(const struct report *report);

/* Arc liar says factor times its keys, in both passes. */
struct federation_plan {
    struct fit_config config;
    const struct model *previous;
    size_t quantiles; /* of each arc; 0: as wanted by its share */
    size_t liar;      /* SIZE_MAX: none */
    uint64_t factor;
    size_t replicas;  /* that count every arc, honestly */
    size_t split;     /* arc whose sums come in two parts; SIZE_MAX: none */
    bool honest_sums; /* the liar lies in pass 1 only */
    bool lying_sums;  /* the liar lies in pass 2 only */
    bool heap_sums;   /* in pass 2 it says that all are in its first leaf */
    bool heap_report; /* in pass 1, that nearly all are at its first key */
    /* Of each arc: it says nothing in pass 1, or in pass 2; NULL: all do. */
    const bool *missing, *silent;
};
struct federation_plan federation_plan_default(void);

struct federation_result {
    struct model *model;
    struct model *skeleton; /* as a slice of all leaves */
    struct model *at_once;  /* all keys summed at once over the skeleton */
    uint64_t keys;
    size_t lies, missing;
    double bytes[3]; /* of all arcs: report, slice, sums */
    double most;     /* bytes of the arc that had most */
    /* Processor time of summing and of the two fits, if clock is there. */
    double sum_seconds, fit_seconds;
    struct fit_error error; /* of previous, if there is one */
};

/* Runs a round. Aborts on what must not be. */
struct federation_result federation_run(const struct federation *f,
                                        const struct federation_plan *plan,
                                        double (*clock)(void));
void federation_result_deinit(struct federation_result *result);

/* The keys as they were before inserts of 30 % in one region: without most of
 * those between 40 % and 70 % of all. The caller frees them. */
struct span *federation_before(const struct federation *f, struct rng *rng,
                               size_t *count);

/* Every arc fits the leaves it has for itself in the model before to its own
 * keys; then coefficients are averaged. */
struct model *federation_average(const struct federation *f,
                                 const struct model *before);

/* Straight lines between so many quantiles of each arc. */
struct model *federation_concatenate(const struct federation *f,
                                     size_t quantiles);

/* Greatest difference of two models with the same knots, in ranks, at keys. */
double federation_apart(const struct federation *f, const struct model *a,
                        const struct model *b);

#endif
