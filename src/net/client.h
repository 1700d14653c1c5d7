/* SPDX-License-Identifier: Apache-2.0 */

/* net/client.h - requests to a cluster: over one connection to some node, its
 * home, and, once many answers had to be fetched from elsewhere, over more to
 * those who lead the arcs that are asked for (client_map.h).
 *
 * No thread of its own: progress happens in client_poll. What is submitted
 * between two polls travels in one write to each node. When a connection
 * breaks, or is silent for long while answers are owed, what was not answered
 * on it is sent again, writes under their old numbers, so that each takes
 * effect once: to home, and from home to another node. After its deadline a
 * read is answered DLHT_ETIMEOUT and a write that was sent DLHT_EUNKNOWN.
 *
 * Requests that are open together may be done in any order.
 *
 * Deadlines count from the poll after the submission. Not for two threads at
 * once. */

#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "dlht/dlht.h"

struct client;

enum {
    CLIENT_OPEN_MAX = 65536,  /* requests submitted and not answered */
    CLIENT_WINDOW_MAX = 4096, /* numbers of writes between the lowest open
                               * and the next; what is beyond waits */
    CLIENT_ADDRESSES_MAX = 256,
    CLIENT_TIMEOUT_MS = 5000,
    CLIENT_TIMEOUT_MS_MAX = 60000
};

/* addresses: ADDR[,ADDR...]. Nothing is connected yet. learn: also use the
 * peers that the cluster names, and ask owners.
 *   DLHT_EINVAL, DLHT_ENOMEM */
MUST_USE int client_new(const char *addresses, bool learn, struct client **out,
                        struct dlht_error *error);

/* Answers what is open (writes that were sent: DLHT_EUNKNOWN, others:
 * DLHT_ECLOSED) and frees. NULL is allowed. */
void client_free(struct client *client);

/* Waits for a node that takes us.
 *   DLHT_EUNAVAILABLE, DLHT_EVERSION, DLHT_ENOMEM */
MUST_USE int client_connect(struct client *client, uint32_t timeout_ms,
                            struct dlht_error *error);

/* As dlht_submit and dlht_poll; a poll of -1 with nothing open returns at
 * once. */
MUST_USE int client_submit(struct client *client,
                           const struct dlht_request *request, dlht_fn fn,
                           void *context);
int client_poll(struct client *client, int timeout_ms);

/* True while callbacks run. */
bool client_is_polling(const struct client *client);

#endif
