/* SPDX-License-Identifier: Apache-2.0 */

/* training/drift.h - when a model should be trained anew.
 *
 * Each trigger can be on or off and has its threshold; errors are shares of
 * all keys, 0 .. 1. What it is told comes from exact counts (training/round.h)
 * at every check; nothing fires with fewer than keys_min keys, nor sooner than
 * gap_ns after the last training, but force. */

#ifndef TRAINING_DRIFT_H
#define TRAINING_DRIFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"

enum drift_reason {
    DRIFT_NONE = 0,
    DRIFT_FIRST,        /* there is no model, and keys_min keys are there */
    DRIFT_ERROR,        /* mean error at least error_max */
    DRIFT_TREND,        /* mean error of the second half of the last
                         * DRIFT_CHECKS checks worse than that of the first
                         * half by trend_max, relative, and worth a look */
    DRIFT_VOLUME,       /* keys that came or went, count or share */
    DRIFT_STALE,        /* as old as stale_ns */
    DRIFT_DISTRIBUTION, /* max |share now - share in model| at least
                         * distribution_max and three times the noise,
                         * DRIFT_APART checks in a row */
    DRIFT_HOT_LEAF,     /* one leaf holds at least hot_leaf_max times its
                         * part */
    DRIFT_FORCE         /* somebody asked for it */
};

/* "error", "trend", ...; never NULL. */
const char *drift_reason_name(enum drift_reason reason);

struct drift_config {
    bool error_on, trend_on, volume_on, stale_on, distribution_on, hot_leaf_on;
    double error_max;        /* 0.01 */
    double trend_max;        /* 0.2 */
    uint64_t volume_count;   /* 0: by share only */
    double volume_share;     /* 0.4 */
    uint64_t stale_ns;       /* 24 h */
    double distribution_max; /* 0.01 */
    double hot_leaf_max;     /* 4 */
    uint64_t keys_min;       /* 1000 */
    uint64_t gap_ns;         /* 10 s */
};
struct drift_config drift_config_default(void);

/* Sets one by its name as users write it ("error" = off or a number, "trend",
 * "volume", "volume-count", "stale" in seconds, "distribution", "hot-leaf",
 * "keys-min", "gap" in seconds). A number is plain, of 15 digits at most, 9 of
 * them after the point; it switches its trigger on. "volume" off silences
 * volume-count, too; volume-count off (or 0) leaves the share.
 *   DLHT_ENOTFOUND  no such name
 *   DLHT_EINVAL     no such value; config is as before */
MUST_USE int drift_config_set(struct drift_config *config, struct span name,
                              struct span value);

/* Calls back with name, value as text and default as text, in a fixed order. */
typedef void drift_option_fn(void *context, const char *name, const char *value,
                             const char *default_value);
void drift_config_list(const struct drift_config *config, drift_option_fn *each,
                       void *context);

enum {
    DRIFT_CHECKS = 32, /* remembered for the trend */
    DRIFT_APART = 3    /* checks in a row for the distribution */
};

/* A trend is not worth a look while the error is below one in a thousand. */
#define DRIFT_TREND_ERROR_MIN 0.001

struct drift {
    uint64_t trained_ns;         /* when the model in use was adopted */
    uint64_t trained_keys;       /* how many it was fitted to; 0: no model */
    double errors[DRIFT_CHECKS]; /* a ring */
    size_t error_count;          /* ever */
    uint32_t apart;              /* checks in a row beyond distribution_max */
    uint64_t fired[DRIFT_FORCE + 1]; /* how often each did */
};

/* A model fitted to so many keys was adopted; what was seen of the one before
 * is forgotten, but for fired. */
void drift_trained(struct drift *drift, uint64_t now_ns, uint64_t keys);

struct drift_check {
    uint64_t now_ns;
    uint64_t keys;    /* now */
    uint64_t changed; /* came or went since, as far as counted */
    bool measured;    /* the following three are known */
    double mean_error;
    double distribution; /* D */
    double hot_leaf;     /* fullest leaf's share times the leaf count */
    double noise;        /* of D: 0 where counts are exact */
    bool force;          /* fires in any case */
};

/* The first trigger that fires, in the order of the list above, force before
 * all. What is measured counts for trend and distribution even while nothing
 * may fire. */
enum drift_reason drift_check(struct drift *drift,
                              const struct drift_config *config,
                              const struct drift_check *check);

#endif
