/* SPDX-License-Identifier: Apache-2.0 */

/* net/redis_cluster.h - the ring, told as a Redis Cluster.
 *
 * Keys have no slots here; clients that want some are told that this node has
 * all of them, which is as good as true: any node answers any key. With ASK,
 * every node that is up is told, each with a share that means nothing, and a
 * command on a key of another node is answered with that node's address. The
 * nodes' ports for Redis are taken to be as far from their ports for peers as
 * they are here. */

#ifndef NET_REDIS_CLUSTER_H
#define NET_REDIS_CLUSTER_H

#include "net/redis_state.h"

enum {
    REDIS_SLOTS = 16384
};

/* The slot of a key, as every client computes it. */
unsigned redis_slot_of(struct span key);

/* Whether the command must be asked for with its owner first, and is. */
bool redis_cluster_takes(struct redis_call *call);

#endif
