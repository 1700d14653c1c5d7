/* SPDX-License-Identifier: Apache-2.0 */

/* node/fingers.h - finding arcs without knowing them all.
 *
 * With --map fingers a node keeps, for each arc it leads, the Chord pointers
 * of chord/ring.h; its maps are a cache of some hundred descriptors. A node
 * with the whole map keeps a ring, too, of each arc that a peer spoke to in
 * that way, so both kinds go together in one cluster.
 *
 * The system arc is known to everybody and has no ring. */

#ifndef NODE_FINGERS_H
#define NODE_FINGERS_H

#include "node/node_state.h"

enum {
    FINGERS_CACHE_MAX = 128, /* descriptors, beside those of own replicas */
    FINGERS_SEEDS_MAX = 16   /* taken from gossip while little is known */
};

struct fingers;

MUST_USE int fingers_new(struct fingers **out);
void fingers_free(struct fingers *fingers);

/* r changed in some way: begins, tells or drops its ring. */
void fingers_follow(struct node *node, struct replica *r);
/* Before r goes. */
void fingers_drop(struct node *node, struct replica *r);

void fingers_tick(struct node *node);
/* At the end of a turn: sends what the rings have to say. */
void fingers_flush(struct node *node);
void fingers_receive(struct node *node, const struct id *from,
                     const struct message *message);

/* The first model of a keyspace is here: asks who has the places half a ring,
 * a quarter, an eighth... away, so that lookups are short before the pointers
 * have doubled that far. */
void fingers_warm(struct node *node, const struct keyspace *ks);

/* A descriptor was heard of: pointers to that arc are brought up to date. */
void fingers_learn(struct node *node, struct keyspace *ks,
                   const struct arc *arc);
/* Keeps the cache small, but not by dropping `but`. */
void fingers_trim(struct node *node, struct keyspace *ks, arc_id but);

/* The arc to ask for a request: one that holds its key, as far as known, or
 * the nearest before. NULL: none is known. */
const struct arc *fingers_route(const struct node *node,
                                const struct keyspace *ks,
                                const struct request *request);
/* The same, but only what is nearer than `from`. Neither names an arc that the
 * request is to avoid, or of whose peers none is up, unless it has the key. */
const struct arc *fingers_hint(const struct node *node,
                               const struct keyspace *ks,
                               const struct request *request,
                               const struct arc *from);
/* The first known arc that begins after key; NULL: none. */
const struct arc *fingers_after(const struct node *node,
                                const struct keyspace *ks, struct span key);

#endif
