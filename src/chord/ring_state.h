/* SPDX-License-Identifier: Apache-2.0 */

/* chord/ring_state.h - what a ring holds, for the files of ring only.
 *
 * ring.c          life, questions and their slots, time, what is given up
 * ring_find.c     the search for the place where the arc ends
 * ring_receive.c  messages of others
 * ring_say.c      what is to be said: the queue, ring_take */

#ifndef CHORD_RING_STATE_H
#define CHORD_RING_STATE_H

#include "base/must_use.h"
#include "base/rng.h"
#include "chord/lookup.h"
#include "chord/pointers.h"
#include "chord/ring.h"

enum {
    OUT_MAX = 64, /* answers and notices that wait; beyond it they are lost */
    AVOID_MAX = 4
};

enum slot_of {
    SLOT_HEAD,
    SLOT_CANDIDATE,
    SLOT_PREDECESSOR,
    SLOT_FINGER,
    SLOT_FIND,
    SLOT_COUNT
};

struct slot {
    struct arc *target; /* owned; NULL: no question is open */
    uint64_t number;
    uint64_t due_ns;
    uint32_t tries_left;
    uint8_t level; /* SLOT_FINGER: the level asked for, of the target */
    bool to_send;
};

/* An answer or a notice to be sent. */
struct intent {
    uint8_t type;
    uint8_t level;
    uint64_t number;
    arc_id to;
    struct id peer;     /* answers */
    struct arc *target; /* NOTIFY, owned */
    uint8_t *key;       /* FOUND, owned */
    size_t key_len;
};

struct ring {
    struct ring_config config;
    struct rng rng;
    uint64_t now_ns;
    uint64_t period_due_ns;
    uint64_t period; /* count */

    struct pointers p;
    size_t finger_next; /* level to refresh */

    struct arc *claimant; /* wants to be the predecessor */
    uint32_t steps_left;

    struct slot slots[SLOT_COUNT];
    uint64_t number;
    bool finding;
    struct lookup find;

    struct {
        arc_id id;
        uint64_t until; /* a period */
    } avoid[AVOID_MAX];
    size_t avoid_next;

    struct intent out[OUT_MAX];
    size_t out_first;
    size_t out_count;
    struct intent taken; /* what the last ring_take borrowed from */
};

/* ring.c */
void ring_set_now(struct ring *ring, uint64_t now_ns);
void ring_slot_end(struct ring *ring, enum slot_of which);
/* Asks target, in a slot that is free. No memory: not now. */
void ring_slot_begin(struct ring *ring, enum slot_of which,
                     const struct arc *target);
bool ring_is_avoided(const struct ring *ring, arc_id id);
/* After the pointers changed: the question to a candidate that is none any
 * more is void. */
void ring_sync_candidate(struct ring *ring);
/* It was heard of: perhaps it stands before our successor. It is believed only
 * when it answers. None of those that were met: one of them may go now. */
void ring_consider(struct ring *ring, const struct arc *arc);
/* Zave's rectify. */
void ring_rectify(struct ring *ring, const struct arc *from);
void ring_finger_found(struct ring *ring, const struct arc *found);

/* ring_find.c */
/* What the ring points to, for a lookup; borrows *ring. */
struct lookup_view ring_view(const struct ring *const *ring);
/* Looks for the arc that stands where we end: by what we point to, or from one
 * met by chance, since all we point to may be another ring than its. A settled
 * arc does so only to be heard of there. */
void ring_find_begin(struct ring *ring);
/* Asks the next one, if any is left. */
void ring_find_step(struct ring *ring);
void ring_find_end(struct ring *ring);

/* ring_say.c */
void ring_notify(struct ring *ring, const struct arc *target);
/* Answers message, which came from there, with that type.
 *   DLHT_ENOMEM */
MUST_USE int ring_answer(struct ring *ring, const struct id *from, uint8_t type,
                         const struct ring_message *message);
/* What waits to be said is forgotten. */
void ring_say_deinit(struct ring *ring);

#endif
