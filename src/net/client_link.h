/* SPDX-License-Identifier: Apache-2.0 */

/* net/client_link.h - one connection of a client to a node: its bytes, what
 * was sent on it and not answered, and for how long it may be silent.
 *
 * A link that fails says so; the client then takes back what was sent and
 * closes it. */

#ifndef NET_CLIENT_LINK_H
#define NET_CLIENT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/must_use.h"
#include "chord/swim.h" /* PEER_ADDR_MAX */
#include "net/client_call.h"
#include "wire/codec.h"

enum client_link_state {
    CLIENT_LINK_DOWN, /* until retry_ns */
    CLIENT_LINK_CONNECTING,
    CLIENT_LINK_GREETING,
    CLIENT_LINK_UP
};

/* An open struct; client_link_init before its use. */
struct client_link {
    enum client_link_state state;
    int fd; /* -1: none */
    char addr[PEER_ADDR_MAX];
    struct id peer;        /* who answered; zero: nobody yet */
    struct call_list sent; /* on it, and not answered */
    uint64_t retry_ns;     /* DOWN: when to connect; else: when to give up */
    uint64_t heard_ns;     /* last bytes, or first request after silence */
    uint64_t used_ns;      /* last request */
    unsigned failures;     /* in a row */
    bool wanted;           /* something would be sent on it */
    bool owes;             /* answers whose time has run out */
    struct buf in;
    size_t in_at;
    struct buf out;
    size_t out_at;
};

void client_link_init(struct client_link *link);

/* Closes the connection and frees its bytes; sent stays. */
void client_link_close(struct client_link *link);

/* Begins to connect to addr. An error: closed. */
MUST_USE int client_link_connect(struct client_link *link, uint64_t now_ns);

/* Is connected: says who we are. */
MUST_USE int client_link_greet(struct client_link *link,
                               const struct id *session);

/* May more be packed? */
bool client_link_takes(const struct client_link *link);

/* Packs a request, to be written. Without memory nothing is packed. */
MUST_USE int client_link_pack(struct client_link *link, struct call *call,
                              struct message *room, uint64_t now_ns);

/* Writes and reads what can be without waiting. An error: it is broken. */
MUST_USE int client_link_write(struct client_link *link);
MUST_USE int client_link_read(struct client_link *link, uint64_t now_ns);

/* The next message of what was read, good until the next call for this link.
 * 1: there is one; 0: not yet; negative: the bytes make no sense. */
int client_link_next(struct client_link *link, struct codec_arena *arena,
                     struct message *out);

/* It takes too long to let us in; or it owes answers and is silent.
 * alone: there is nobody else to ask, so silence is borne. */
bool client_link_is_let_down(const struct client_link *link, bool alone,
                             uint64_t now_ns);

/* When that could be, or when to connect; UINT64_MAX: never. */
uint64_t client_link_wake_ns(const struct client_link *link, bool alone);

/* What to wait for. */
bool client_link_is_writing(const struct client_link *link);

#endif
