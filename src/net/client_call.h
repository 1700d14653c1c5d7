/* SPDX-License-Identifier: Apache-2.0 */

/* net/client_call.h - a client's requests that are not answered yet: room for
 * them, the order of their submission, and the numbers of writes.
 *
 * A write gets its number when it is first sent and keeps it: numbers from the
 * lowest open one to the next lie within CLIENT_WINDOW_MAX. */

#ifndef NET_CLIENT_CALL_H
#define NET_CLIENT_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/must_use.h"
#include "dlht/dlht.h"
#include "net/client.h"
#include "net/wheel.h"
#include "wire/message.h"

struct client_link;

enum {
    CALL_CHUNK = 256, /* calls made room for at a time */
    CALL_WINDOW_WORDS = CLIENT_WINDOW_MAX / 64
};

struct call {
    struct wheel_node deadline; /* first: a node is its call */
    struct call *next;          /* in its list; of free ones, the next free */
    struct call *previous;
    struct client_link *link; /* in whose list it is: sent there; NULL: waits */
    uint64_t order;           /* of submission */
    dlht_fn fn;               /* NULL: the client's own */
    void *context;
    struct request request; /* number 0: not yet given, or no write */
    struct buf bytes;       /* what its spans point to */
    uint32_t index;
    uint16_t generation;
    bool is_open;
    bool is_write;
    bool was_sent; /* on some connection */
    bool was_lost; /* and that one broke: its outcome is open */
};

/* In the order of submission; all zeros is an empty one. */
struct call_list {
    struct call *first;
    struct call *last;
};

void call_list_append(struct call_list *list, struct call *call);
void call_list_remove(struct call_list *list, struct call *call);

/* Moves all of from to where they belong in to. */
void call_list_merge(struct call_list *to, struct call_list *from);

/* All zeros, then calls_init. */
struct calls {
    struct call **chunks;
    size_t chunk_count;
    struct call *free;
    size_t open;
    uint64_t submitted;
    uint64_t next_number;
    uint64_t lowest;                      /* all below are answered */
    uint64_t answered[CALL_WINDOW_WORDS]; /* bit number % window */
};

void calls_init(struct calls *calls);
void calls_deinit(struct calls *calls);

/* One with the request, in no list; NULL: *rc says why (DLHT_EBUSY: too many
 * are open; and as client_request_make). */
struct call *calls_open(struct calls *calls, const struct dlht_request *request,
                        int *rc);

/* It is in no list any more. */
void calls_close(struct calls *calls, struct call *call);

/* Before it is sent: its number, and what is the lowest open one. False: the
 * window is full. */
bool calls_number(struct calls *calls, struct call *call,
                  const struct id *session);

uint32_t call_stream(const struct call *call);
/* NULL: none that is open. */
struct call *calls_by_stream(struct calls *calls, uint32_t stream);

#endif
