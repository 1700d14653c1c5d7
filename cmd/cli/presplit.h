/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/presplit.h - cutting a keyspace before much is put into it.
 *
 * An empty keyspace is one arc, and a load into it is the work of one peer
 * until the balancer has cut and moved. So load looks at its input first: it
 * takes a sample of the keys, and asks the cluster to cut where the sample's
 * quantiles are. That is advice: whatever goes wrong, the load goes on
 * without. */

#ifndef CLI_PRESPLIT_H
#define CLI_PRESPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli.h"

enum {
    PRESPLIT_ARCS_MAX = 4096,
    PRESPLIT_ARCS_OF_PEER = 8, /* --vnodes of a node, where it is not told */
    PRESPLIT_RECORDS_MIN = 20000,
    PRESPLIT_RECORDS_OF_ARC = 1000, /* an arc of the plan has no fewer */
    PRESPLIT_SAMPLE = 10000,
    PRESPLIT_KEY_MAX = 1024 /* bytes of a key that are looked at */
};

/* A uniform sample of the keys shown to it (Vitter's algorithm R). */
struct presplit {
    struct dlht_bytes *keys; /* owned, and the bytes of each */
    size_t count;
    uint64_t seen;
    uint64_t random;
    bool in_order; /* all keys so far, each not before the last */
    uint8_t last[PRESPLIT_KEY_MAX];
    size_t last_len;
};

/* How many arcs the keyspace should have, 0 if it is not to be cut: no
 * ordered keyspace, as many arcs already, or an old cluster. arcs: as many as
 * the user wants, 0: as the peers could lead. */
size_t presplit_wanted(struct cli *cli, uint64_t arcs);

/* False: no memory. deinit is always allowed. */
bool presplit_init(struct presplit *sample);
void presplit_deinit(struct presplit *sample);

/* One more key of the input. False: no memory. */
bool presplit_add(struct presplit *sample, struct dlht_bytes key);

/* Where to cut for about `arcs` arcs of equal share: at most arcs - 1 keys,
 * strictly ascending, that point into the sample (which is sorted by this).
 * Never more arcs than records seen / PRESPLIT_RECORDS_OF_ARC. Returns how
 * many keys; cuts has room for arcs - 1. */
size_t presplit_plan(struct presplit *sample, size_t arcs,
                     struct dlht_bytes *cuts);

/* Asks the cluster to cut; how many cuts it made, or a negative code of
 * dlht/err.h. */
int64_t presplit_send(struct cli *cli, const struct dlht_bytes *cuts,
                      size_t count);

#endif
