/* SPDX-License-Identifier: Apache-2.0 */

/* node/spot.h - requests about one record each that are done where they
 * arrive, without becoming events: reads of arcs that are led here, and writes
 * of volatile ones; or begun there: writes of arcs that only this node has.
 * Many are looked for at once, so that the waits for memory overlap; then each
 * is done.
 *
 * A world may do so between two events, never inside of one; what cannot be
 * done so is made an event. Each does what the event with the same request
 * would have done, at the time of spot_find. */

#ifndef NODE_SPOT_H
#define NODE_SPOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/node.h"

struct replica;

enum {
    SPOTS_MAX = 16,     /* found at once */
    SPOT_KEY_MAX = 120, /* longer keys are asked for by events */
    SPOT_HASH_BYTES = 8 /* before the keys of a hashed keyspace */
};

/* Where a record is here. Good until the next event. */
struct spot {
    struct replica *replica; /* NULL: nothing can be done here */
    struct span key;         /* the caller's */
    uint64_t hash;           /* of it, in the arc's cache */
    bool hashed;             /* the arc has it as in room */
    bool is_volatile;        /* may be written, too */
    uint8_t room[SPOT_HASH_BYTES + SPOT_KEY_MAX];
};

/* Of requests that suit: GET, PUT and DEL without flags, ends and, for writes,
 * sessions. count <= SPOTS_MAX; the keys' bytes must stay while the spots are
 * used. Brings the records of all of them into the processor's cache. */
void spot_find(struct node *node, uint64_t now_ns,
               const struct request *const *requests, size_t count,
               struct spot *spots);

/* The same of such requests for keys of one keyspace, which is named as in
 * requests. */
void spot_find_keys(struct node *node, uint64_t now_ns, struct span keyspace,
                    const struct span *keys, size_t count, struct spot *spots);

/* The answers to GET, PUT and DEL of a client without a session. False: ask by
 * an event, nothing was done. What *out points to is good until the next call
 * for this node. */
bool spot_get(struct node *node, const struct spot *spot, struct response *out);
bool spot_put(struct node *node, const struct spot *spot, struct span value,
              struct response *out);
bool spot_del(struct node *node, const struct spot *spot, struct response *out);

/* Any write of one key, as the request has it but for its key: PUT and CAS with
 * an end and flags, DEL, CACHE_EXPIRE. It is DLHT_OK, or nothing was done and
 * false is returned. */
bool spot_write(struct node *node, const struct spot *spot,
                const struct request *request);

/* A PUT or DEL of an arc that has a log and that nobody but this node keeps:
 * begun as by the event, and answered in a later flush, under the ticket.
 * False: nothing was done. */
bool spot_propose(struct node *node, const struct spot *spot,
                  const struct request *request, uint64_t ticket);

/* The one of them that op says: OP_GET, OP_PUT or OP_DEL. */
bool spot_answer(struct node *node, const struct spot *spot, uint8_t op,
                 struct span value, struct response *out);

#endif
