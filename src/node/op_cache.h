/* SPDX-License-Identifier: Apache-2.0 */

/* node/op_cache.h - what volatile arcs are asked, and what is asked of caches
 * only: ends, leases, flush, stats.
 *
 * A keyspace is a cache if it was created volatile and with a bound. A volatile
 * arc has one voter and no log, so that what it is asked is done and answered
 * at once. */

#ifndef NODE_OP_CACHE_H
#define NODE_OP_CACHE_H

#include "base/must_use.h"
#include "node/node_state.h"

/* Whether the request may be asked of the keyspace, as far as ends and the
 * like go. */
bool op_cache_takes(const struct request *request, const struct keyspace *ks);

/* The same; false: answered. */
bool op_cache_allows(struct node *node, const struct request *request,
                     const struct keyspace *ks, const struct origin *origin);

/* A request for one record of a volatile keyspace whose arc is here, its key as
 * it is stored: does and answers it without a copy. False: it is not here. */
bool op_cache_here(struct node *node, const struct request *request,
                   const struct keyspace *ks, const struct origin *origin);

/* A request addressed to a volatile arc that this node leads. False: it is one
 * that all arcs answer alike. */
bool op_cache_serve(struct node *node, struct replica *r,
                    const struct request *request, const struct origin *origin);

/* OP_CACHE_FLUSH, OP_CACHE_STATS where a client asks. */
void op_cache_walk_begin(struct node *node, const struct request *request,
                         const struct keyspace *ks,
                         const struct origin *origin);

/* Does a write of a volatile arc that is led here. DLHT_OK: *result says how it
 * went; else nothing was done:
 *   DLHT_EINVAL  a key has no hash before it
 *   DLHT_EFULL   the node has as much as it may have
 *   DLHT_ENOMEM */
MUST_USE int op_cache_write(struct node *node, struct replica *r,
                            const struct request *request,
                            struct session_result *result);

#endif
