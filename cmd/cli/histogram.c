/* SPDX-License-Identifier: Apache-2.0 */

/* Log-linear histogram. Durations below 128 have a bucket each; above, the
 * seven leading bits choose the bucket. */

#include "histogram.h"

#include <assert.h>

static unsigned bucket_of(uint64_t ns)
{
    unsigned shift = 0;

    while (ns >> shift >= UINT64_C(2) * HISTOGRAM_STEPS)
        shift++;
    return shift * HISTOGRAM_STEPS + (unsigned)(ns >> shift);
}

/* The greatest value that falls into it. */
static uint64_t bucket_top(unsigned bucket)
{
    unsigned shift;
    uint64_t lead;

    if (bucket < 2 * HISTOGRAM_STEPS)
        return bucket;
    shift = bucket / HISTOGRAM_STEPS - 1;
    lead = bucket - shift * HISTOGRAM_STEPS;
    return (lead << shift) + (((uint64_t)1 << shift) - 1);
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    unsigned bucket = bucket_of(ns);

    assert(bucket < HISTOGRAM_BUCKETS);
    h->counts[bucket]++;
    h->total++;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->total += from->total;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
    uint64_t want = (uint64_t)(q * (double)h->total);
    uint64_t seen = 0;

    if (want >= h->total)
        return h->max_ns;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen > want) {
            uint64_t top = bucket_top(i);
            return top < h->max_ns ? top : h->max_ns;
        }
    }
    return h->max_ns;
}
