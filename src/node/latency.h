/* SPDX-License-Identifier: Apache-2.0 */

/* node/latency.h - how long requests took in the last five seconds: a histogram
 * a second, two buckets an octave of microseconds, so a quantile is known to
 * half of itself. All zeros is a valid empty one. */

#ifndef NODE_LATENCY_H
#define NODE_LATENCY_H

#include <stdint.h>

enum {
    LATENCY_SECONDS = 5,
    LATENCY_BUCKETS = 64
};

struct latency {
    uint64_t second; /* of the newest slot */
    uint32_t slots[LATENCY_SECONDS][LATENCY_BUCKETS];
};

void latency_note(struct latency *latency, uint64_t now_ns, uint64_t took_ns);

/* The upper end of the bucket that holds the 99th percentile; 0, and no
 * samples, if nothing was noted. */
uint64_t latency_p99(struct latency *latency, uint64_t now_ns,
                     uint64_t *samples);

#endif
