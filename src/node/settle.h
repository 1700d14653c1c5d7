/* SPDX-License-Identifier: Apache-2.0 */

/* node/settle.h - a node that comes up inside a ring that has settled long ago.
 *
 * To found a ring of a thousand peers and let it come to rest takes minutes of
 * its own time and more of ours; what is to be watched is what comes after. So
 * the simulator tells each node, instead of EVENT_BOOT, what a ring at rest
 * knows: all peers, the arcs, who leads them. Groups are founded and led by
 * the same calls as ever. Not for net/. */

#ifndef NODE_SETTLE_H
#define NODE_SETTLE_H

#include "node/node.h"

struct settle {
    struct id cluster;
    struct id self;
    const struct peer *peers; /* all, ascending id */
    size_t peer_count;
    const struct arc *system;               /* the system arc */
    const struct keyspace_record *keyspace; /* `default`, without first arcs */
    const struct arc *arcs;                 /* of it, in order of lo */
    size_t arc_count;
};

enum {
    SETTLE_TERM = 2 /* that the first member of each arc leads in, at once */
};

/* In place of the step of EVENT_BOOT, whatever the map mode: who keeps the
 * whole map gets it, others what they keep and what follows what they lead.
 *   DLHT_ENOMEM */
MUST_USE int node_settle(struct node *node, uint64_t now_ns,
                         const struct settle *ring, struct effects *effects);

#endif
