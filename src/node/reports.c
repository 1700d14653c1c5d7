/* SPDX-License-Identifier: Apache-2.0 */

/* What is told again, and when. */

#include "node/reports.h"

#include "base/hash.h"

enum {
    TOLD_TIMES = 2 /* one message may be lost */
};
#define AGAIN_NS (UINT64_C(8) * NS_PER_S)

static uint64_t key_of(const struct arc_report *report)
{
    uint64_t h = hash64_mix(report->arc.generation, report->arc.term);
    h = hash64_mix(h, id_hash(&report->arc.owner));
    h = hash64_mix(h, report->keys);
    h = hash64_mix(h, report->bytes);
    h = hash64_mix(h, report->requests);
    h = hash64_mix(h, report->changes);
    h = hash64_mix(h, report->stops);
    return hash64_mix(h, (uint64_t)report->caught_up << 32 |
                             (uint64_t)report->lost << 8 |
                             (uint64_t)report->awaits << 1 | report->busy);
}

/* The owner in its present office. */
static uint64_t office_of(const struct node *node, const struct id *owner)
{
    const struct keyspace *ks = keyspaces_find(node, SYSTEM_KEYSPACE);
    const struct arc *arc = map_by_id(ks->map, SYSTEM_ARC);
    return hash64_mix(id_hash(owner), arc ? arc->term : 0);
}

bool reports_is_due(struct node *node, struct replica *r,
                    const struct arc_report *report, const struct id *owner)
{
    uint64_t key = key_of(report), office = office_of(node, owner);
    if (key != r->report_key || office != r->report_office)
        r->report_left = TOLD_TIMES;
    if (r->report_left == 0 && node->now_ns < r->report_again_ns)
        return false;
    r->report_key = key;
    r->report_office = office;
    r->report_left -= r->report_left > 0;
    r->report_again_ns =
        node->now_ns + AGAIN_NS + rng_below(&node->rng, AGAIN_NS / 2);
    return true;
}
