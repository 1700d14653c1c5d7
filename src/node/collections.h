/* SPDX-License-Identifier: Apache-2.0 */

/* node/collections.h - one vector/collection.h for each keyspace of vectors,
 * over all that this node holds of it: an arc's copy is a part.
 *
 * The records are the truth; what finds them follows. Where a change is applied
 * the part is told of it. What replaces records as a whole (a snapshot, a merge,
 * a restart) has the part read them again, a slice a turn; a search looks at
 * what has not been read yet one by one, so it never misses or invents
 * anything. The graph is changed by jobs. */

#ifndef NODE_COLLECTIONS_H
#define NODE_COLLECTIONS_H

#include "base/buf.h"
#include "node/node_state.h"
#include "vector/collection.h"

struct node_collection;

/* What a replica is of its collection. */
struct vector_part {
    struct node_collection *of;
    uint32_t part;
    bool reading;    /* records from `from` on are not known to it yet */
    struct buf from; /* empty: from the arc's first */
};

/* The record of a key was put or removed; of the arc's own keys. */
void collections_changed(struct replica *r, struct span key);
/* Its records are others now. */
void collections_replaced(struct replica *r);
/* It has records from `from` on that it had not. */
void collections_grown(struct replica *r, struct span from);
/* Its records from a key on are right's now; right NULL: nobody's here. */
void collections_split(struct node *node, struct replica *r,
                       struct replica *right);
/* It is being freed. */
void collections_detach(struct replica *r);

/* Copies that have no part yet get one. */
void collections_tick(struct node *node);
/* A slice of reading and clearing up, and the next job. */
void collections_flush(struct node *node);
/* After jobs and replicas. */
void collections_deinit(struct node *node);

/* NULL: nothing of it is here, or there was no memory yet. */
struct node_collection *collections_find(const struct node *node,
                                         keyspace_id id);
struct collection *collections_of(struct node_collection *nc);
/* The copy that a part is; NULL: none. */
struct replica *collections_replica(const struct node_collection *nc,
                                    uint32_t part);
/* A job of it is out. */
bool collections_is_busy(const struct node_collection *nc);

/* DLHT_EBUSY, DLHT_ENOTSUP (no graph), DLHT_ENOMEM */
MUST_USE int collections_rebuild(struct node *node, struct node_collection *nc);

/* Adds a copy's records to a search: its part, and what that does not know
 * yet. All of it is offered if it has no part. */
void collections_search(struct collection_search *s, const struct replica *r);

/* One that has no parts, to search copies with that have none either. */
MUST_USE int collections_new_empty(const struct node *node,
                                   const struct vector_settings *settings,
                                   struct collection **out);

/* Arcs held whose records are still being read. */
size_t collections_reading(const struct node *node, keyspace_id id);

void collections_check(const struct node *node);

#endif
