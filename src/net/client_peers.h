/* SPDX-License-Identifier: Apache-2.0 */

/* net/client_peers.h - the nodes a client may turn to: those it was given, and
 * those the cluster named. */

#ifndef NET_CLIENT_PEERS_H
#define NET_CLIENT_PEERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "chord/swim.h" /* PEER_ADDR_MAX */

enum {
    CLIENT_PEERS_MAX = 256
};

/* An open struct; all zeros is an empty one. */
struct client_peers {
    char list[CLIENT_PEERS_MAX][PEER_ADDR_MAX];
    size_t count;
    size_t given; /* the first so many were given and are never dropped */
    size_t at;    /* the one in use; valid if count > 0 */
};

/* ADDR[,ADDR...]; false: not such a list. */
bool client_peers_parse(struct client_peers *peers, const char *addresses);

/* Takes in the answer to OP_PEERS: of all maps in it those with a `peer` that
 * is an address and a `state` that is `up`. Replaces what was learned
 * before; the one in use stays. What is not understood is ignored. */
void client_peers_learn(struct client_peers *peers, struct span document);

const char *client_peers_current(const struct client_peers *peers);
void client_peers_next(struct client_peers *peers);

#endif
