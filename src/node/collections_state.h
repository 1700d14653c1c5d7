/* SPDX-License-Identifier: Apache-2.0 */

/* node/collections_state.h - the inside of a node's collection, which
 * collections.c and graphs.c share. */

#ifndef NODE_COLLECTIONS_STATE_H
#define NODE_COLLECTIONS_STATE_H

#include "node/collections.h"

/* How far the graph's file is. */
enum graph_phase {
    GRAPH_NONE,     /* it is not kept in one */
    GRAPH_WANTED,   /* it is to be read; no record is read before */
    GRAPH_READING,  /* by a job */
    GRAPH_SETTLING, /* taken over: records still come that are in it */
    GRAPH_SETTLED
};

struct graph_state {
    enum graph_phase phase;
    bool tried;             /* there was one, since the start */
    bool stop_tried;        /* the node stops, and it was written for that */
    uint32_t failures;      /* of writing, since one was written */
    uint64_t claimed;       /* when looked at last, */
    uint64_t claimed_ns;    /* and when that changed last */
    uint64_t saved_changes; /* collection_info.changes of the file */
    uint64_t taken_changes; /* of the one that is being written */
    uint64_t ended_ns;      /* of the last one, or since when it is wanted */
    uint64_t look_ns;       /* when it is worth looking again */
};

struct node_collection {
    keyspace_id keyspace;
    uint64_t version; /* of the keyspace's record, as last seen */
    struct collection *c;
    struct replica **by_part;
    uint32_t part_cap;
    size_t part_count; /* in use */
    bool busy;         /* a job is out */
    struct graph_state graph;
};

#endif
