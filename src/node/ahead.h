/* SPDX-License-Identifier: Apache-2.0 */

/* node/ahead.h - bringing records into the processor's cache before they are
 * looked at, many at a time so that the waits for memory overlap. Changes
 * nothing; what is not found here is left out. */

#ifndef NODE_AHEAD_H
#define NODE_AHEAD_H

#include "node/node_state.h"

enum {
    AHEAD_MAX = NODE_AHEAD_MAX
};

struct ahead {
    const struct keyspace *ks;
    struct span key; /* as it is stored */
};

/* count <= AHEAD_MAX */
void ahead_warm(struct node *node, const struct ahead *list, size_t count);

#endif
