/* SPDX-License-Identifier: Apache-2.0 */

/* chord/swim.h - which peers are up: SWIM with suspicion (Das, Gupta, Motivala
 * 2002), and Lifeguard's local health (Dadgar, Phillips, Currey 2018).
 *
 * Every peer knows every peer. Liveness is an opinion: it steers routing and
 * repair and never decides who owns a key. News of a peer is ordered by
 * (incarnation, refutation, state): incarnation grows with each start of the
 * process, refutation each time the peer itself denies a suspicion.
 *
 * Time is an argument; messages come out of swim_take and travel in the frames
 * of the links between peers. Not for two threads at once. */

#ifndef CHORD_SWIM_H
#define CHORD_SWIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/must_use.h"

struct swim;

enum {
    PEER_ADDR_MAX = 64, /* "host:port" and its end */
    PEER_ZONE_MAX = 32,
    SWIM_PEERS_MAX = 16384,
    SWIM_UPDATES_MAX = 24 /* news in one message */
};

enum peer_state {
    PEER_ALIVE = 1,
    PEER_SUSPECT = 2,
    PEER_DEAD = 3, /* may come back under the same or a higher incarnation */
    PEER_LEFT = 4  /* said goodbye; final for its incarnation */
};

struct peer {
    struct id id;
    char addr[PEER_ADDR_MAX];
    char zone[PEER_ZONE_MAX]; /* empty: none */
    uint64_t incarnation;
    uint32_t refutation;
    uint32_t weight_milli; /* 1000 is weight 1 */
    uint8_t state;         /* enum peer_state */
    uint64_t since_ns;     /* of this state, by the local clock; not sent */
};

struct swim_config {
    uint64_t period_ns;      /* one probe each; 0: 500 ms */
    uint64_t ack_timeout_ns; /* direct probe; 0: 200 ms */
    uint32_t indirect_count; /* helpers asked; 0: 3 */
    double suspicion_factor; /* times log10(n + 1) periods; 0: 3 */
    uint64_t seed;
};

enum swim_message_type {
    SWIM_PING = 1,
    SWIM_ACK,
    SWIM_PING_REQUEST, /* please probe target for me */
    SWIM_NACK          /* helper to asker: no answer in time */
};

struct swim_message {
    uint8_t type;
    uint64_t number;  /* echoed in the answer */
    struct id target; /* PING_REQUEST, and the relayed ACK or NACK */
    struct peer updates[SWIM_UPDATES_MAX];
    size_t update_count;
};

struct swim_send {
    struct id to;
    struct swim_message message;
};

/*   DLHT_ENOMEM */
MUST_USE int swim_new(const struct swim_config *config, const struct peer *self,
                      uint64_t now_ns, struct swim **out);
void swim_free(struct swim *swim); /* NULL is allowed */

void swim_tick(struct swim *swim, uint64_t now_ns);
uint64_t swim_timeout_ns(const struct swim *swim);

/* A message from a peer. Content is a stranger's: checked, bounded, never
 * asserted on. Any message of a peer thought suspect or dead is answered with
 * that opinion, so that it can refute.
 *   DLHT_ENOMEM, DLHT_EPROTO */
MUST_USE int swim_receive(struct swim *swim, uint64_t now_ns,
                          const struct id *from,
                          const struct swim_message *message);

/* News from elsewhere (a join answer, a hello, the system arc). True if it was
 * news. News of ourselves that is not "alive" is refuted. News of a later
 * incarnation than ours (the data dir was put back from a copy), or of a goodbye
 * in ours that we did not say (nor had a full disk room for the word that it was
 * used), makes us claim one above it, a change that swim_take_change tells. */
bool swim_notice(struct swim *swim, uint64_t now_ns, const struct peer *news);

/* What everybody has known for long: not passed on. For rings that begin
 * settled.
 *   DLHT_ENOMEM */
MUST_USE int swim_settle(struct swim *swim, uint64_t now_ns,
                         const struct peer *peer);

/* Who has just come asks before all have heard of it, and they could not answer:
 * before the first request to a peer it is told of us. True: out must be sent
 * first, once for each peer. */
bool swim_greet(struct swim *swim, const struct id *to, struct swim_send *out);

/* The link to this peer broke: probe it next. A hint, no verdict. */
void swim_hint_lost(struct swim *swim, const struct id *peer);

/* How late the own event loop ran; slows down accusations (Lifeguard). */
void swim_note_lag(struct swim *swim, uint64_t lag_ns);

/* Changes what others are told of us (address, zone, weight). */
void swim_set_self(struct swim *swim, uint64_t now_ns, const struct peer *self);

/* Spreads that we leave; PEER_LEFT for ourselves. */
void swim_leave(struct swim *swim, uint64_t now_ns);

/* Drops a dead or left peer from the table (after the operator or the down-out
 * time removed it); it may come back by a higher incarnation. */
void swim_forget(struct swim *swim, const struct id *peer);

/* The next message to send; false: none. */
bool swim_take(struct swim *swim, struct swim_send *out);

/* The next peer whose entry changed since it was last taken (state, address,
 * weight); false: none. */
bool swim_take_change(struct swim *swim, struct peer *out);

const struct peer *swim_self(const struct swim *swim);
/* NULL: unknown. Valid until the next call that is not a question. */
const struct peer *swim_find(const struct swim *swim, const struct id *id);
size_t swim_count(const struct swim *swim);    /* all, ourselves included */
size_t swim_up_count(const struct swim *swim); /* alive or suspect */
/* In ascending order of id. */
const struct peer *swim_at(const struct swim *swim, size_t index);

/* Asserts what must hold; for tests and the simulator. */
void swim_check(const struct swim *swim);

uint64_t swim_hash(const struct swim *swim);

#endif
