/* SPDX-License-Identifier: Apache-2.0 */

/* net/loop.h - readiness of descriptors and one alarm, in turns.
 *
 * A thin face of libevent, used as the loop only: reads, writes and buffers
 * are ours. One turn waits until something is ready and calls back for
 * everything that is; what belongs together (replies, writes, syncs) is then
 * done once, after the turn. Level-triggered. A loop belongs to one thread. */

#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/must_use.h"

struct loop;

enum {
    LOOP_HEADROOM = 64 << 10, /* before the read area: a message's beginning
                               * that an earlier read brought is laid there */
    LOOP_READ_BYTES = 256 << 10,
    LOOP_ROOMS_MAX = 32,       /* connections that answer at once, mostly */
    LOOP_ROOMS_BYTES = 8 << 20 /* that a node at rest keeps */
};

typedef void (*loop_fn)(void *context, bool readable, bool writable);

/* Interest in one descriptor; embedded by its owner, who keeps it in place. */
struct loop_watch {
    void *read; /* libevent's; its `struct event` is not ours */
    void *write;
    loop_fn fn;
    void *context;
    bool reading;
    bool writing;
};

/*   DLHT_ENOMEM, DLHT_EIO */
MUST_USE int loop_new(struct loop **out);
void loop_free(struct loop *loop); /* NULL is allowed */

/* One turn. With block it waits for readiness or the alarm, else it takes what
 * is ready now. */
void loop_turn(struct loop *loop, bool block);

/* The turn after now does not wait longer than until at_ns; an earlier alarm
 * that is set already stays and merely wakes once too often. UINT64_MAX: none
 * needed. */
void loop_alarm(struct loop *loop, uint64_t now_ns, uint64_t at_ns);

/* Read area shared by all connections of the loop, with LOOP_HEADROOM bytes of
 * room before it and LOOP_READ_BYTES in it. */
uint8_t *loop_read_area(struct loop *loop);

/* Large memory for output that connections hand on to each other: taking it
 * from the system and giving it back for each answer costs more than the
 * answer. take: *room, which has no memory of its own that matters, gets some
 * if there is any. give: *room is empty after. At most LOOP_ROOMS_BYTES are
 * kept. */
void loop_room_take(struct loop *loop, struct buf *room);
void loop_room_give(struct loop *loop, struct buf *room);

/* Watches nothing until set. False: no memory, the watch is as after
 * loop_watch_end. */
MUST_USE bool loop_watch_init(struct loop *loop, struct loop_watch *watch,
                              int fd, loop_fn fn, void *context);
/* False: no memory, nothing changed. */
bool loop_watch_set(struct loop_watch *watch, bool read, bool write);
/* Before the descriptor is closed; fn is not called any more. May be called
 * twice, and on one of all zeros. */
void loop_watch_end(struct loop_watch *watch);

#endif
