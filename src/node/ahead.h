/* SPDX-License-Identifier: Apache-2.0 */

/* node/ahead.h - bringing records into the processor's cache before they are
 * looked at, many at a time so that the waits for memory overlap. Changes
 * nothing; what is not found here is left out. */

#ifndef NODE_AHEAD_H
#define NODE_AHEAD_H

#include "node/node_state.h"

enum {
    AHEAD_MAX = 16
};

struct ahead {
    const struct keyspace *ks; /* NULL: it is left out */
    struct span key;           /* as it is stored */
    /* Found. */
    struct replica *copy; /* here, of the arc that has the key; NULL: none */
    uint64_t hash;        /* of the key in the copy's cache, if it has one */
};

/* count <= AHEAD_MAX */
void ahead_warm(struct node *node, struct ahead *list, size_t count);

#endif
