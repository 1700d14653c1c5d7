/* SPDX-License-Identifier: Apache-2.0 */

/* node/op_cache.h - what is asked of caches only: ends, leases, flush, stats.
 *
 * A keyspace is a cache if it was created volatile and with a bound. Put, get,
 * del and cas of it are those of any keyspace (node/op.h). */

#ifndef NODE_OP_CACHE_H
#define NODE_OP_CACHE_H

#include "node/node_state.h"

/* Whether the request may be asked of the keyspace, as far as ends and the
 * like go; false: answered. */
bool op_cache_allows(struct node *node, const struct request *request,
                     const struct keyspace *ks, const struct origin *origin);

#endif
