/* SPDX-License-Identifier: Apache-2.0 */

/* Connections that come in, and those that cost too much. */

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "net/addr.h"
#include "net/door_state.h"

enum {
    DOOR_ACCEPTS_PER_TURN = 64,
    DOOR_LOGS_PER_SWEEP = 10,
    /* A caller's answers are taken to be so large until some were seen: a
     * first burst of 16 requests is taken, then what their answers allow. */
    DOOR_REPLY_GUESS = DOOR_UNSENT_PAUSE / 16
};

static const uint64_t DOOR_SECOND_NS = 1000000000;

static struct caller *caller_new(struct door *door, int fd)
{
    struct caller *caller = calloc(1, sizeof *caller);
    if (!caller) {
        close(fd);
        return NULL;
    }
    caller->door = door;
    caller->reply_bytes = DOOR_REPLY_GUESS;
    caller->since_ns = door->calls.now(door->calls.context);
    conn_init(&caller->conn);
    if (conn_open(&caller->conn, door->loop, fd, caller_on_ready, caller) !=
        DLHT_OK) {
        free(caller);
        return NULL;
    }
    return caller;
}

int door_adopt(struct door *door, int fd)
{
    if (door->callers == door->seat_max) {
        close(fd);
        return DLHT_EFULL;
    }
    struct caller *caller = caller_new(door, fd);
    if (!caller)
        return DLHT_ENOMEM;
    uint32_t slot;
    if (door->seat_free) {
        slot = door->seat_free - 1;
        door->seat_free = door->seats[slot].next_free;
    } else {
        slot = (uint32_t)door->seat_count++;
    }
    caller->slot = slot;
    door->seats[slot].caller = caller;
    door->callers++;
    return DLHT_OK;
}

/* No descriptor is left: use the spare one to close who waits, else the
 * listener would be ready for ever. */
static void gate_turn_away(struct gate *gate)
{
    struct door *door = gate->door;
    door_log(door, "no file descriptor left: a connection was turned away");
    if (door->spare_fd == -1)
        return;
    close(door->spare_fd);
    int fd;
    if (addr_accept(gate->addr, gate->fd, &fd) == DLHT_OK)
        close(fd);
    door->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void gate_on_caller(void *context, bool readable, bool writable)
{
    (void)readable;
    (void)writable;
    struct gate *gate = context;
    struct door *door = gate->door;
    for (int i = 0; i < DOOR_ACCEPTS_PER_TURN; i++) {
        int fd;
        int rc = addr_accept(gate->addr, gate->fd, &fd);
        if (rc == DLHT_EFULL)
            gate_turn_away(gate);
        if (rc != DLHT_OK)
            return;
        if (door_adopt(door, fd) != DLHT_OK)
            door_log(door, "too many connections: one was turned away");
    }
}

int door_listen(struct door *door, const char *addr, int listen_fd)
{
    assert(door->gate_count < DOOR_GATES_MAX);
    struct gate *gate = &door->gates[door->gate_count];
    *gate = (struct gate){ .door = door, .fd = listen_fd };
    memcpy(gate->addr, addr, strlen(addr) + 1);
    if (!loop_watch_init(door->loop, &gate->watch, listen_fd, gate_on_caller,
                         gate) ||
        !loop_watch_set(&gate->watch, true, false)) {
        loop_watch_end(&gate->watch);
        return DLHT_ENOMEM;
    }
    door->gate_count++;
    return DLHT_OK;
}

int door_new(struct loop *loop, const char *addr, int listen_fd,
             size_t callers_max, const struct door_calls *calls,
             struct door **out)
{
    *out = NULL;
    struct door *door = calloc(1, sizeof *door);
    struct seat *seats = mem_zero(callers_max, sizeof *seats);
    if (!door || !seats) {
        free(door);
        free(seats);
        return DLHT_ENOMEM;
    }
    door->loop = loop;
    door->calls = *calls;
    door->seats = seats;
    door->seat_max = callers_max;
    door->logs_left = DOOR_LOGS_PER_SWEEP;
    if (door_listen(door, addr, listen_fd) != DLHT_OK) {
        free(seats);
        free(door);
        return DLHT_ENOMEM;
    }
    door->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    *out = door;
    return DLHT_OK;
}

void door_shut(struct door *door)
{
    if (door->shut)
        return;
    door->shut = true;
    for (size_t i = 0; i < door->gate_count; i++) {
        loop_watch_end(&door->gates[i].watch);
        addr_unlisten(door->gates[i].addr, door->gates[i].fd);
    }
}

void door_free(struct door *door)
{
    if (!door)
        return;
    door_shut(door);
    for (size_t i = 0; i < door->seat_count; i++)
        if (door->seats[i].caller)
            caller_free(door->seats[i].caller);
    if (door->spare_fd != -1)
        close(door->spare_fd);
    codec_arena_deinit(&door->arena);
    buf_deinit(&door->scratch);
    free(door->tickets);
    free(door->seats);
    free(door);
}

/* The one that holds the most input gives way. */
static void door_bound_held(struct door *door)
{
    struct caller *most = NULL;
    for (size_t i = 0; i < door->seat_count; i++) {
        struct caller *caller = door->seats[i].caller;
        if (caller && !caller->broken && caller->kind != CALLER_PEER &&
            (!most || conn_held(&caller->conn) > conn_held(&most->conn)))
            most = caller;
    }
    if (most)
        caller_break(most, "incomplete requests fill the memory for them: "
                           "the largest was closed");
}

/* Has answers waiting and took nothing of them for too long. */
static bool caller_takes_nothing(struct caller *caller, uint64_t now_ns)
{
    const struct conn *conn = &caller->conn;
    if (conn_unsent(conn) == 0 || conn->sent != caller->taken ||
        caller->taken_ns == 0) {
        caller->taken = conn->sent;
        caller->taken_ns = now_ns;
    }
    return now_ns > caller->taken_ns &&
           now_ns - caller->taken_ns > DOOR_UNTAKEN_S * DOOR_SECOND_NS;
}

/* Has begun a message, or a connection, and does not go on. */
static bool caller_is_slow(const struct caller *caller, uint64_t now_ns)
{
    if (caller->since_ns == 0 || caller->stalled)
        return false;
    bool greeting = caller->kind == CALLER_NEW || caller->kind == CALLER_FRAMES;
    uint64_t limit =
        (greeting ? DOOR_GREETING_S : DOOR_PARTIAL_S) * DOOR_SECOND_NS;
    return now_ns > caller->since_ns && now_ns - caller->since_ns > limit;
}

void door_sweep(struct door *door, uint64_t now_ns)
{
    if (door->logs_dropped) {
        char text[80];
        snprintf(text, sizeof text, "%u more lines like these",
                 door->logs_dropped);
        door->calls.log(door->calls.context, text);
        door->logs_dropped = 0;
    }
    door->logs_left = DOOR_LOGS_PER_SWEEP;
    for (size_t i = 0; i < door->seat_count; i++) {
        struct caller *caller = door->seats[i].caller;
        if (!caller || caller->broken)
            continue;
        if (caller_is_slow(caller, now_ns))
            caller_break(caller, "half a message for too long: closed");
        else if (caller_takes_nothing(caller, now_ns))
            caller_break(caller, "takes none of its answers: closed");
    }
    if (door->held > DOOR_HELD_MAX)
        door_bound_held(door);
    door_flush(door);
}

size_t door_callers(const struct door *door)
{
    return door->callers;
}

size_t door_unsent(const struct door *door)
{
    size_t bytes = 0;
    for (size_t i = 0; i < door->seat_count; i++)
        if (door->seats[i].caller)
            bytes += conn_unsent(&door->seats[i].caller->conn);
    return bytes;
}
