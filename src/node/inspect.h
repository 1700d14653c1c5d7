/* SPDX-License-Identifier: Apache-2.0 */

/* node/inspect.h - looking into a node without changing it: for the simulator's
 * checkers and for tests. */

#ifndef NODE_INSPECT_H
#define NODE_INSPECT_H

#include "chord/map.h"
#include "chord/ring.h"
#include "chord/swim.h"
#include "node/node.h"
#include "replica/raft.h"
#include "rmi/model.h"
#include "store/records.h"

struct inspect_replica {
    keyspace_id keyspace;
    arc_id id;
    replica_id self;
    bool empty;              /* waits for its first snapshot; arc is NULL */
    const struct arc *arc;   /* as applied */
    const struct ring *ring; /* NULL: none is kept */
    const struct raft *raft;
    const struct records *records;
    uint64_t applied;
    bool half_applied; /* for want of memory a part of the next entry may be
                        * done; it is done again from its start */
    uint64_t counter;  /* version of the newest applied write */
    uint64_t merge;    /* hash of what is replicated of merges */
    bool staging;      /* holds records of the arc after it, invisibly */
    bool frozen;       /* serves nothing: is on its way into another */
    bool closed;
    size_t absorbed;           /* arcs of which copies may be left */
    int merge_phase;           /* of a run led here; 0: none */
    const struct cache *cache; /* of a volatile arc, in place of records */
    uint64_t cache_count, cache_bytes, cache_count_max, cache_bytes_max;
};

/* Merges whose runs this node led. */
struct inspect_merges {
    uint64_t done, abandoned;
    uint64_t pause_ns_max; /* an arc stood still */
};
void inspect_merges(const struct node *node, struct inspect_merges *out);

/* Steps that this node sent while it led the system arc. */
struct inspect_steps {
    uint64_t transfers; /* of leaderships */
    uint64_t for_gone;  /* since copies or peers were taken for gone */
};
void inspect_steps(const struct node *node, struct inspect_steps *out);

size_t inspect_replica_count(const struct node *node);
void inspect_replica_at(const struct node *node, size_t index,
                        struct inspect_replica *out);
/* Of what it remembers of writes that were done; takes its time. */
uint64_t inspect_sessions(const struct node *node, size_t index);

size_t inspect_keyspace_count(const struct node *node);
/* The index-th keyspace this node knows: its map, and its record without
 * first arcs. */
const struct map *inspect_map(const struct node *node, size_t index,
                              struct keyspace_record *record);

/* What a node knows of the model of its index-th keyspace. */
struct inspect_model {
    const struct model *model; /* NULL: none is adopted */
    uint64_t epoch;
    struct span packed; /* what is known of it, and its bytes */
    uint64_t lies;      /* of its round */
    uint64_t missing;   /* likewise */
    uint64_t refused;   /* models that were received and not adopted */
    int phase;          /* enum training_phase of a round led here */
};
void inspect_model(const struct node *node, size_t index,
                   struct inspect_model *out);

/* What a node has of collections of vectors, all together. */
struct inspect_vectors {
    uint64_t held; /* records of copies that have a part */
    uint64_t live; /* vectors that are found */
    uint64_t waiting, damaged;
    uint64_t adopted, claimed; /* of graphs from files: vector/collection.h */
    uint64_t reading; /* copies whose records are being read, or have no part */
    bool busy;        /* a job is out, or a graph is being made anew */
};
void inspect_vectors(const struct node *node, struct inspect_vectors *out);
/* Asserts that every collection without a job out finds what its records say;
 * linear. */
void inspect_vectors_check(const struct node *node);

/* It knows a part of the arcs only. */
bool inspect_is_partial(const struct node *node);

const struct swim *inspect_swim(const struct node *node); /* NULL: not yet */
struct id inspect_self(const struct node *node);
struct id inspect_cluster(const struct node *node);
bool inspect_is_serving(const struct node *node);
uint64_t inspect_timeouts(const struct node *node); /* pending.h */
size_t inspect_pending_count(const struct node *node);

#endif
