/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/presplit.h - cutting a keyspace before much is put into it.
 *
 * An empty keyspace is one arc, and a load into it is the work of one peer
 * until the balancer has cut and moved. So load looks at its input first: it
 * takes a sample of the keys (quantiles.h), and asks the cluster to cut where
 * the sample's quantiles are. That is advice: whatever goes wrong, the load
 * goes on without. */

#ifndef CLI_PRESPLIT_H
#define CLI_PRESPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli.h"

enum {
    PRESPLIT_ARCS_MAX = 4096,
    PRESPLIT_ARCS_OF_PEER = 8,   /* --vnodes of a node, where it is not told */
    PRESPLIT_RECORDS_MIN = 20000 /* fewer are one peer's work */
};

/* How many arcs the keyspace should have, 0 if it is not to be cut: no
 * ordered keyspace, as many arcs already, or an old cluster. arcs: as many as
 * the user wants, 0: as the peers could lead. */
size_t presplit_wanted(struct cli *cli, uint64_t arcs);

/* Asks the cluster to cut; how many cuts it made, or a negative code of
 * dlht/err.h. */
int64_t presplit_send(struct cli *cli, const struct dlht_bytes *cuts,
                      size_t count);

#endif
