/* SPDX-License-Identifier: Apache-2.0 */

/* net/door_state.h - the inside of a door.
 *
 *   door.c        what callers send, and what they are answered
 *   door_gates.c  who comes in, and who is shown out */

#ifndef NET_DOOR_STATE_H
#define NET_DOOR_STATE_H

#include "net/conn.h"
#include "net/door.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum caller_kind {
    CALLER_NEW,    /* said nothing yet */
    CALLER_FRAMES, /* a hello is to come */
    CALLER_CLIENT,
    CALLER_PEER,
    CALLER_RPC
};

struct caller {
    struct door *door;
    struct conn conn;
    enum caller_kind kind;
    struct mp_scan scan; /* CALLER_RPC: of the message at the front */
    struct id peer;
    uint32_t slot;
    uint32_t in_flight;
    size_t reply_bytes; /* of a typical answer, larger ones weigh more */
    uint64_t since_ns;  /* when the message now incomplete began, or the
                         * connection; 0: no message is incomplete */
    uint64_t taken;     /* bytes of answers, when last looked at */
    uint64_t taken_ns;  /* when that last grew, or nothing waited */
    bool stalled;       /* has input that waits for answers to be taken */
    bool broken;        /* to be closed */
    bool leaving;       /* to be closed when all is sent */
    bool dirty;
    uint32_t next_dirty; /* slot + 1 */
};

struct seat {
    struct caller *caller; /* NULL: free */
    uint32_t generation;
    uint32_t next_free; /* slot + 1 */
};

/* What an answer needs to find its way. */
struct ticket {
    uint32_t stream; /* of the frame, or id of the rpc call */
    uint32_t seat;
    uint32_t seat_generation;
    uint32_t generation;
    uint32_t next_free; /* index + 1 */
    uint16_t flags;     /* op and flags shape the answer to an rpc call */
    uint8_t op;
    bool rpc;
    bool wants_answer;
    bool open;
};

/* Where one comes in. */
struct gate {
    struct door *door;
    char addr[PEER_ADDR_MAX];
    int fd;
    struct loop_watch watch;
};

struct door {
    struct loop *loop;
    struct door_calls calls;
    struct gate gates[DOOR_GATES_MAX];
    size_t gate_count;
    int spare_fd; /* given up to turn somebody away when none is left */
    struct seat *seats;
    size_t seat_count; /* ever used */
    size_t seat_max;
    uint32_t seat_free;
    size_t callers;
    struct ticket *tickets;
    size_t ticket_count;
    size_t ticket_cap;
    uint32_t ticket_free;
    size_t in_flight;
    size_t held;
    size_t unsent;   /* of all callers at most, see door_bound_unsent */
    uint64_t now_ns; /* of the last read */
    uint32_t dirty;  /* slot + 1 */
    size_t stalled;
    bool may_resume; /* a stalled caller got room */
    bool shut;
    unsigned logs_left;
    unsigned logs_dropped;
    struct codec_arena arena;
    struct buf scratch;
    struct message messages[SPOTS_MAX];
};

/* At most some lines a second, whatever strangers do. */
void door_log(struct door *door, const char *text);

/* To be closed by the next door_flush; why: a line for the log, or NULL. */
void caller_break(struct caller *caller, const char *why);

/* Only from door_flush, door_sweep and door_free: never while its input is
 * being taken. */
void caller_free(struct caller *caller);

/* Of its connection. */
void caller_on_ready(void *context, bool readable, bool writable);

#endif
