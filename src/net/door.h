/* SPDX-License-Identifier: Apache-2.0 */

/* net/door.h - who comes in: clients by frames or MessagePack-RPC, and the
 * links on which other peers speak to us.
 *
 * The first byte tells the form. A link of frames begins with a hello that is
 * answered; after a peer's hello its frames are messages, after a client's
 * they are requests. Whoever says what cannot be understood loses this one
 * connection and nothing else.
 *
 * Bounds: connections; requests in flight on each (fewer when its answers are
 * large, so that a client which never reads costs little); unsent answers, of
 * each and of all; memory for input that is not whole; the time an incomplete
 * message may take, and that answers may wait for somebody who takes none. A
 * caller at its bound is not read from until it took its answers.
 *
 * Everything written in a turn leaves by door_flush. Calls of struct
 * door_calls are made from inside loop_turn and door_resume. */

#ifndef NET_DOOR_H
#define NET_DOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/must_use.h"
#include "net/loop.h"
#include "node/node.h"
#include "node/spot.h"
#include "wire/message.h"

struct door;

enum {
    DOOR_GATES_MAX = 2, /* addresses that it listens on */
    DOOR_CALLERS_MAX = 20000,
    DOOR_IN_FLIGHT_MAX = 4096,       /* requests of one caller */
    DOOR_UNSENT_PAUSE = 4 << 20,     /* not read from while more is unsent */
    DOOR_UNSENT_MAX = 64 << 20,      /* an answer beyond it is refused: EBUSY */
    DOOR_UNSENT_ALL_MAX = 512 << 20, /* then who has the most is closed */
    DOOR_UNTAKEN_S = 60,             /* to take some of its answers */
    DOOR_HELD_MAX = 256 << 20,       /* incomplete input of all callers */
    DOOR_GREETING_S = 10,            /* to say the first whole thing */
    DOOR_PARTIAL_S = 60              /* to end what was begun */
};

struct door_calls {
    void *context;
    /* The clock, in ns; asked once after each read. */
    uint64_t (*now)(void *context);
    /* Whether a link that begins with theirs may go on (else the status that
     * refuses it), and what to answer; ours is filled, its spans borrowed. */
    int (*hello)(void *context, const struct hello *theirs, struct hello *ours);
    void (*message)(void *context, const struct id *from,
                    const struct message *message);
    /* As spot_find and spot_answer of node/spot.h; not for rpc. */
    void (*find)(void *context, const struct request *const *requests,
                 size_t count, struct spot *spots);
    bool (*at_spot)(void *context, const struct spot *spot, uint8_t op,
                    struct span value, struct response *out);
    /* As spot_propose. */
    bool (*propose)(void *context, const struct spot *spot,
                    const struct request *request, uint64_t ticket);
    /* To be answered by door_reply with this ticket exactly once. */
    void (*request)(void *context, uint64_t ticket,
                    const struct request *request);
    void (*log)(void *context, const char *text);
};

/* Takes over the listening descriptor of addr (see addr_listen).
 *   DLHT_ENOMEM  fd stays the caller's */
MUST_USE int door_new(struct loop *loop, const char *addr, int listen_fd,
                      size_t callers_max, const struct door_calls *calls,
                      struct door **out);

/* Listens there too: one address more, of local clients.
 *   DLHT_ENOMEM  fd stays the caller's */
MUST_USE int door_listen(struct door *door, const char *addr, int listen_fd);

/* Closes everything; answers that are not sent are lost. NULL is allowed. */
void door_free(struct door *door);

/* Takes in a connection that was made elsewhere (owns fd in any case).
 *   DLHT_ENOMEM, DLHT_EFULL */
MUST_USE int door_adopt(struct door *door, int fd);

/* Packs the answer into the caller's output; if the caller has gone, nothing.
 * An unknown ticket is a bug of ours. */
void door_reply(struct door *door, uint64_t ticket,
                const struct response *response);

/* One write for each caller that has something unsent. */
void door_flush(struct door *door);

/* Whether some caller's input that waited for answers may go on, and taking it
 * up: false if there was none. */
bool door_can_resume(const struct door *door);
bool door_resume(struct door *door);

/* Closes who overstayed; call about once a second. */
void door_sweep(struct door *door, uint64_t now_ns);

/* No new callers, and no more input from those that are there. */
void door_shut(struct door *door);

size_t door_callers(const struct door *door);
size_t door_unsent(const struct door *door);

#endif
