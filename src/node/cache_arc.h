/* SPDX-License-Identifier: Apache-2.0 */

/* node/cache_arc.h - what an arc of a volatile keyspace holds: a cache, with
 * its part of the keyspace's bounds.
 *
 * Keys of the arc have eight bytes of hash before them, which the cache leaves
 * out. Time is the node's own clock: the arc lives no longer than its process.
 * A volatile keyspace without bounds is kept likewise, and never evicts. */

#ifndef NODE_CACHE_ARC_H
#define NODE_CACHE_ARC_H

#include "base/must_use.h"
#include "node/command.h"
#include "node/node_state.h"
#include "store/cache.h"

/* An empty one of that seed, without bounds; NULL: no memory. */
struct cache *cache_arc_new(struct node *node, const struct keyspace *ks,
                            uint64_t seed);

/* Gives a new replica of a volatile keyspace its cache. DLHT_ENOMEM */
MUST_USE int cache_arc_begin(struct node *node, struct replica *r);

/* Divides each peer's bounds among the arcs that are here: after one came or
 * went, or the keyspace was set otherwise. */
void cache_arc_share(struct node *node, keyspace_id keyspace);

/* Does a write. Its outcome is in *result, DLHT_ETOOBIG and DLHT_ESTALE among
 * them; DLHT_ENOMEM: it is not done. (Of a conditional batch all its records
 * may then be gone, which a cache may lose.) */
MUST_USE int cache_arc_run(struct replica *r, const struct command *command,
                           struct session_result *result);

/* A key of the arc, which has more than its hash. */
struct cache_key cache_arc_key(const struct replica *r, struct span key);

/* What becomes of a plain get, put and del of one key. DLHT_OK; of a put as
 * cache_arc_run. */
void cache_arc_get_at(struct replica *r, const struct cache_key *key,
                      uint64_t now_ms, struct response *out);
MUST_USE int cache_arc_put_at(struct replica *r, const struct cache_key *key,
                              struct span value, uint64_t now_ms,
                              struct session_result *result);
void cache_arc_del_at(struct replica *r, const struct cache_key *key,
                      uint64_t now_ms, struct session_result *result);

/* Get, and lease, which DLHT_ENOMEM may fail. */
void cache_arc_get(struct node *node, struct replica *r,
                   const struct request *q, struct response *out);
void cache_arc_lease(struct node *node, struct replica *r,
                     const struct request *q, struct response *out);

/* A page of records in no order, from the cursor in q->key on; at most
 * q->limit of them. list is filled, out says where to go on. */
void cache_arc_page(struct node *node, const struct replica *r,
                    const struct request *q, struct buf *list,
                    struct response *out);

/* Counters that arcs of one keyspace add up. */
struct cache_sums {
    struct cache_stats stats;
    uint64_t bytes_max, count_max;
    uint64_t arcs;
};
void cache_arc_pack_stats(const struct replica *r, struct buf *out);
/* Adds what was packed; false: it is not that. */
bool cache_arc_add_stats(struct span packed, struct cache_sums *sums);

/* What is due. */
void cache_arc_tick(struct node *node, struct replica *r);

uint64_t cache_arc_now_ms(const struct node *node);

#endif
