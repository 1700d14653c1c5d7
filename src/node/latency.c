/* SPDX-License-Identifier: Apache-2.0 */

/* Histograms of how long requests took. */

#include "node/latency.h"

#include <string.h>

#define NS_A_SECOND UINT64_C(1000000000)

/* Empties the slots of the seconds that began since. */
static void advance(struct latency *l, uint64_t now_ns)
{
    uint64_t second = now_ns / NS_A_SECOND;
    for (uint64_t i = 0; l->second < second && i < LATENCY_SECONDS; i++)
        memset(l->slots[(second - i) % LATENCY_SECONDS], 0,
               second - i > l->second ? sizeof l->slots[0] : 0);
    if (l->second < second)
        l->second = second;
}

/* 0: below a microsecond. */
static unsigned bucket_of(uint64_t took_ns)
{
    uint64_t us = took_ns / 1000;
    unsigned log2 = 0;
    if (us == 0)
        return 0;
    while (us >> (log2 + 1))
        log2++;
    unsigned half = log2 ? (unsigned)(us >> (log2 - 1) & 1) : 0;
    unsigned bucket = 1 + 2 * log2 + half;
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

static uint64_t end_of(unsigned bucket)
{
    if (bucket == 0)
        return 1000;
    unsigned log2 = (bucket - 1) / 2;
    uint64_t us = UINT64_C(1) << log2;
    us += (bucket - 1) % 2 ? us : us / 2;
    return (us ? us : 1) * 1000;
}

void latency_note(struct latency *l, uint64_t now_ns, uint64_t took_ns)
{
    advance(l, now_ns);
    l->slots[l->second % LATENCY_SECONDS][bucket_of(took_ns)]++;
}

uint64_t latency_p99(struct latency *l, uint64_t now_ns, uint64_t *samples)
{
    uint64_t sums[LATENCY_BUCKETS] = { 0 }, seen = 0;
    advance(l, now_ns);
    *samples = 0;
    for (int s = 0; s < LATENCY_SECONDS; s++)
        for (int b = 0; b < LATENCY_BUCKETS; b++) {
            sums[b] += l->slots[s][b];
            *samples += l->slots[s][b];
        }
    if (*samples == 0)
        return 0;
    uint64_t rank = (*samples * 99 + 99) / 100;
    unsigned at = 0;
    while (at < LATENCY_BUCKETS - 1 && (seen += sums[at]) < rank)
        at++;
    return end_of(at);
}
