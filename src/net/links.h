/* SPDX-License-Identifier: Apache-2.0 */

/* net/links.h - the links on which this node speaks to other peers.
 *
 * A link is one-way: we connect to where a peer listens, say hello, and after
 * its hello in answer only we speak; it answers over a link of its own. One
 * that turns out to be somebody else than the one addressed hears nothing.
 *
 * A link is made when there is something to say and closed when there was
 * nothing for a while. After a failure the next try waits 50 ms, doubling to
 * 1 s, with jitter. What is queued is bounded; beyond it, and on every loss,
 * all that is unsent is dropped and the loss reported. Chunks of snapshots
 * wait for all other messages. */

#ifndef NET_LINKS_H
#define NET_LINKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/must_use.h"
#include "base/rng.h"
#include "net/loop.h"
#include "wire/message.h"

struct links;

enum {
    LINKS_UNSENT_MAX = 64 << 20,   /* of a link that is up */
    LINKS_WAITING_MAX = 4 << 20,   /* of one that is not */
    LINKS_CHUNK_AHEAD = 256 << 10, /* chunks in the output at a time */
    LINKS_TYPES_MAX = 32           /* of messages, told apart in counts */
};

/* What was given to links_send, by type of message: frames and their bytes,
 * without what TCP adds. */
struct links_sent {
    uint64_t frames[LINKS_TYPES_MAX];
    uint64_t bytes[LINKS_TYPES_MAX];
};

struct links_calls {
    void *context;
    /* Ours; spans borrowed until the next call of the node. */
    void (*hello)(void *context, struct hello *ours);
    /* Whether to go on with somebody who answers so. */
    int (*check)(void *context, const struct hello *theirs);
    /* What was sent to this peer may be lost. Called from links_send too: only
     * note it. */
    void (*down)(void *context, const struct id *peer);
    void (*log)(void *context, const char *text);
};

MUST_USE int links_new(struct loop *loop, const struct links_calls *calls,
                       uint64_t seed, struct links **out);
void links_free(struct links *links); /* NULL is allowed */

/* Queues a message for the peer `to` (zero: whoever it is) at addr. Best
 * effort: what goes wrong is reported as a loss. */
void links_send(struct links *links, const struct id *to, const char *addr,
                const struct message *message);

/* Begins to connect where needed, and one write for each link that has
 * something unsent. At the end of a turn. */
void links_flush(struct links *links, uint64_t now_ns);

/* Retries and time limits; due at links_timeout_ns. */
void links_tick(struct links *links, uint64_t now_ns);
uint64_t links_timeout_ns(const struct links *links);

size_t links_unsent(const struct links *links);

/* Since links_new. */
const struct links_sent *links_sent(const struct links *links);

#endif
