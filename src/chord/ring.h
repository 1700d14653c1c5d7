/* SPDX-License-Identifier: Apache-2.0 */

/* chord/ring.h - the Chord pointers of one arc, as its owner keeps them when it
 * does not know the whole map.
 *
 * Arcs stand on the ring at their lo. The pointers are a successor list of
 * fixed length, a predecessor, and fingers by pointer doubling: level 0 is the
 * successor, level i is what the arc at level i - 1 has there, 2^i arcs away.
 * Upkeep is that of Zave's corrected Chord (join, stabilise in two steps,
 * rectify), with what arcs add to it: an arc's hi says where its successor must
 * stand, so each owner sees by itself whether its successor is right, and keeps
 * looking for it while it is not. A list is taken only from an arc that just
 * answered and is never empty; where fewer arcs are known than it has places,
 * the rest is the arc itself. An arc alone is its own successor.
 *
 * A pointer costs a hop, never a key: nothing here decides who owns what.
 *
 * Time is an argument; messages come out of ring_take, addressed to an arc and
 * to the peers that may keep it. Not for two threads at once. */

#ifndef CHORD_RING_H
#define CHORD_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/must_use.h"
#include "base/span.h"
#include "chord/arc.h"
#include "chord/map.h"

struct ring;

enum {
    RING_LIST_MAX = 20,   /* survives the loss of half of 1,000 arcs */
    RING_LEVELS_MAX = 24, /* 2^24 arcs */
    RING_BEFORE_MAX = 4,  /* in RING_FOUND: nearest arcs before the key */
    RING_AFTER_MAX = 2,   /* and after it */
    RING_PEERS_MAX = ARC_MEMBERS_MAX + 1
};

struct ring_config {
    size_t list_len;         /* 0: 8; at most RING_LIST_MAX */
    uint64_t period_ns;      /* one stabilisation each; 0: 1 s */
    uint64_t timeout_ns;     /* of one try of a question; 0: 400 ms */
    uint32_t tries;          /* 0: 3 */
    const struct map *known; /* other arcs the peer has heard of, borrowed for
                                the ring's life; NULL: none */
    uint64_t seed;
};

enum ring_message_type {
    RING_ASK = 1,       /* who is before and after you? */
    RING_ANSWER,        /* predecessor; arcs: the list, none: not joined yet */
    RING_NOTIFY,        /* I may be your predecessor; no answer */
    RING_FINGER_ASK,    /* who is at that level of yours? */
    RING_FINGER_ANSWER, /* arcs: that one, or none */
    RING_FIND,          /* who is near key? */
    RING_FOUND          /* arcs: nearest before key, then after it */
};

/* The arcs are borrowed: of a message taken, until the next call to the ring;
 * of a message received, for the call. */
struct ring_message {
    uint8_t type;
    uint8_t level;                 /* FINGER_ASK, FINGER_ANSWER */
    uint64_t number;               /* of the question, echoed */
    arc_id to;                     /* the arc spoken to */
    struct span key;               /* FIND */
    const struct arc *self;        /* the arc that speaks; never NULL */
    const struct arc *predecessor; /* ANSWER; NULL: not known */
    const struct arc *arcs[RING_LIST_MAX];
    size_t arc_count;
};

struct ring_send {
    arc_id to;
    struct span key;                 /* lo of that arc; empty in answers */
    struct id peers[RING_PEERS_MAX]; /* who may keep it, the likeliest first */
    size_t peer_count;
    struct ring_message message;
};

/* The pointers of an arc that knows nobody, or (from not NULL) of the right
 * child of a split, by those of its parent. Copies self.
 *   DLHT_ENOMEM */
MUST_USE int ring_new(const struct ring_config *config, const struct arc *self,
                      const struct ring *from, uint64_t now_ns,
                      struct ring **out);
void ring_free(struct ring *ring); /* NULL is allowed */

/* The arc's descriptor changed (split, merge, move, election).
 *   DLHT_ENOMEM  as before */
MUST_USE int ring_set_self(struct ring *ring, const struct arc *self);

/* Some arc of this keyspace was heard of: a bootstrap contact, the right child
 * of a split, a neighbour. It is asked if it may be the successor. Memory it
 * cannot get makes it forget the hint. */
void ring_hint(struct ring *ring, const struct arc *arc);

/* A newer descriptor of an arc that may be pointed to: pointers to it say so
 * from now on. Nothing is asked. */
void ring_learn(struct ring *ring, const struct arc *arc);

/* A list of so many places, at most RING_LIST_MAX; what it has too many goes. */
void ring_set_list_len(struct ring *ring, size_t len);

void ring_tick(struct ring *ring, uint64_t now_ns);
uint64_t ring_timeout_ns(const struct ring *ring);

/* A message of a peer to this arc. A stranger's content: checked, never
 * asserted on.
 *   DLHT_EPROTO, DLHT_ENOMEM (as if lost) */
MUST_USE int ring_receive(struct ring *ring, uint64_t now_ns,
                          const struct id *from,
                          const struct ring_message *message);

/* The question with this number reached none of its peers, or they said that
 * the arc is gone. Sooner than the ring's own timeout. */
void ring_failed(struct ring *ring, uint64_t now_ns, uint64_t number);

/* The next message to send; false: none. */
bool ring_take(struct ring *ring, struct ring_send *out);

/* Borrowed until the next call that is not a question. */
const struct arc *ring_self(const struct ring *ring);
const struct arc *ring_predecessor(const struct ring *ring); /* or NULL */
size_t ring_list_len(const struct ring *ring);
/* Never NULL; index < ring_list_len. */
const struct arc *ring_successor(const struct ring *ring, size_t index);
/* NULL: none there. Level 0 is the successor. */
const struct arc *ring_finger(const struct ring *ring, size_t level);

/* The successor stands where this arc ends: nothing to look for. */
bool ring_is_settled(const struct ring *ring);

/* Calls visit with each pointer: successors, predecessor, fingers. */
void ring_each(const struct ring *ring,
               void (*visit)(void *context, const struct arc *arc),
               void *context);

/* Asserts what one ring can know of itself: the list is full, in order, none
 * of it inside the arc; fingers in order. For tests and the simulator. */
void ring_check(const struct ring *ring);

#endif
