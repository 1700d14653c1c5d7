/* SPDX-License-Identifier: Apache-2.0 */

/* node/pending.h - requests that this node carries to the owners of their
 * keys, retried until answered or out of time.
 *
 * Each slot is also a session of its own (a lane): a write without a session
 * of its client gets the lane's next number, so a retry is applied once. What
 * certainly was not done may be asked anew; of what may have been done the
 * same number is asked again, and at the deadline the answer is "unknown",
 * never "failed". */

#ifndef NODE_PENDING_H
#define NODE_PENDING_H

#include "node/node_state.h"

struct pending;

typedef void pending_fn(struct node *node, void *context,
                        const struct response *response);

MUST_USE int pending_new(struct node *node, struct pending_table **out);
void pending_free(struct node *node, struct pending_table *table);

/* Who hears the outcome: done, or if that is NULL the origin. */
struct pending_target {
    pending_fn *done;
    void *context;
    struct origin origin;
    bool wants_not_owner; /* a NOT_OWNER that the arc's log decided (so that
                           * no earlier attempt can take effect either) ends
                           * it: the piece must be cut again */
    bool busy_is_final;   /* EBUSY is an answer, not a reason to ask again */
    bool patient; /* an answer takes long: asked again only if the link to who
                   * was asked breaks */
    bool later;   /* first tried in the next round, not inside pending_begin */
    struct id prefer; /* asked first, if it is up; zero: as the request says */
};

/* Carries a request for one key (or one arc's piece: the arc of request->key)
 * to its owner; the target hears the outcome exactly once, perhaps before this
 * returns. The request's bytes are copied. keyspace must be set.
 *   DLHT_ENOMEM, DLHT_EBUSY  the target hears nothing */
MUST_USE int pending_begin(struct node *node, const struct request *request,
                           uint64_t deadline_ns,
                           const struct pending_target *target);

/* An answer for a slot, from here or from a peer. */
void pending_answer(struct node *node, uint64_t ticket, const struct id *from,
                    const struct response *response);

/* The link to a peer broke. */
void pending_link_down(struct node *node, const struct id *peer);

/* Deadlines and lost attempts. */
void pending_tick(struct node *node);

/* Tries again what is to be tried again now; true if there was something. */
bool pending_flush(struct node *node);

/* How often an arc that was asked for the way gave no answer. */
uint64_t pending_timeouts(const struct node *node);
size_t pending_count(const struct node *node);

#endif
