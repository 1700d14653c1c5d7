/* SPDX-License-Identifier: Apache-2.0 */

/* net/conn.h - one byte stream: a socket, what came in and is not whole yet,
 * and what is still to go out.
 *
 * One read a wake-up goes into the loop's shared read area and is parsed where
 * it lies; only the beginning of a message whose end has not come is copied.
 * Output is gathered in `out` (append to it with codec_pack and its like) and
 * leaves in one write a turn, large values at once; writability is watched only
 * while a write fell short. What the bytes mean is the owner's affair, and so
 * are limits: see conn_unsent and conn_held. */

#ifndef NET_CONN_H
#define NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"
#include "net/loop.h"

enum {
    CONN_LARGE = 64 << 10 /* of 16 KiB, one more call costs more than a copy */
};

struct conn {
    struct loop *loop;
    struct loop_watch watch;
    int fd; /* -1: closed */
    struct buf in;
    struct buf out;
    size_t out_at; /* written so far */
    uint64_t sent; /* bytes ever */
};

/* All zeros but fd is what a closed one looks like. */
void conn_init(struct conn *conn);

/* Takes over fd (non-blocking) and watches for input. fn(context) is told of
 * readiness: it calls conn_read and conn_write.
 *   DLHT_ENOMEM  fd is closed */
MUST_USE int conn_open(struct conn *conn, struct loop *loop, int fd, loop_fn fn,
                       void *context);

/* Closes and frees everything; may be called twice. */
void conn_close(struct conn *conn);

/* Takes whole messages from the front of input and returns how many bytes they
 * were; the rest is offered again, with what follows it. */
typedef size_t (*conn_take_fn)(void *context, struct span input);

/* One read, handed to take.
 *   DLHT_ECLOSED  the other side is gone
 *   DLHT_ENOMEM   must be closed: bytes are lost */
MUST_USE int conn_read(struct conn *conn, conn_take_fn take, void *context);

/* Offers what is held again, without reading. */
void conn_take_held(struct conn *conn, conn_take_fn take, void *context);

/* Appends large and then end. What is large goes from where it is, behind what
 * waits in out, as far as the system takes it now: only the rest is copied.
 * That pays from CONN_LARGE bytes on. A write that fails is told of by the
 * next one. */
void conn_append_large(struct conn *conn, struct span large, struct span end);

/* One write, if there is something to write and none is waiting for
 * writability.
 *   DLHT_ECLOSED, DLHT_ENOMEM */
MUST_USE int conn_write(struct conn *conn);

/* As conn_write; for when writability was reported. */
MUST_USE int conn_write_on(struct conn *conn);

/* Stops or goes on reading. DLHT_ENOMEM */
MUST_USE int conn_listen(struct conn *conn, bool on);

size_t conn_unsent(const struct conn *conn);
size_t conn_held(const struct conn *conn); /* memory for input, bytes */

#endif
