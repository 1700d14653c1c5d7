/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/histogram.h - counts of durations, log-linear as in HDR histograms:
 * 64 equal steps in each power of two, so a percentile is at most 1.6 % above
 * the truth at any size, and adding is a few instructions. */

#ifndef CLI_HISTOGRAM_H
#define CLI_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_STEPS = 64,
    HISTOGRAM_BUCKETS = 59 * HISTOGRAM_STEPS /* all of uint64_t */
};

/* All zeros is a valid empty one. */
struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max_ns;
};

void histogram_add(struct histogram *h, uint64_t ns);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The greatest duration of the bucket that holds the share q in [0, 1] of all;
 * 0 if there are none. */
uint64_t histogram_quantile(const struct histogram *h, double q);

#endif
