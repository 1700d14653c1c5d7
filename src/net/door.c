/* SPDX-License-Identifier: Apache-2.0 */

/* What callers send and are answered: telling forms apart, bounds, tickets. */

#include "net/door_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "wire/rpc.h"

void door_log(struct door *door, const char *text)
{
    if (door->logs_left == 0) {
        door->logs_dropped++;
        return;
    }
    door->logs_left--;
    door->calls.log(door->calls.context, text);
}

/* Callers. */

static void caller_dirty(struct caller *caller)
{
    struct door *door = caller->door;
    if (caller->dirty)
        return;
    caller->dirty = true;
    caller->next_dirty = door->dirty;
    door->dirty = caller->slot + 1;
}

void caller_break(struct caller *caller, const char *why)
{
    if (!caller->broken && why)
        door_log(caller->door, why);
    caller->broken = true;
    caller_dirty(caller);
}

static void caller_unstall(struct caller *caller)
{
    if (caller->stalled)
        caller->door->stalled--;
    caller->stalled = false;
}

void caller_free(struct caller *caller)
{
    struct door *door = caller->door;
    struct seat *seat = &door->seats[caller->slot];
    assert(seat->caller == caller);
    caller_unstall(caller);
    door->held -= conn_held(&caller->conn);
    conn_close(&caller->conn);
    seat->caller = NULL;
    seat->generation++;
    seat->next_free = door->seat_free;
    door->seat_free = caller->slot + 1;
    door->callers--;
    free(caller);
}

/* How many requests of this caller may be under way. */
static uint32_t caller_window(const struct caller *caller)
{
    size_t window = DOOR_UNSENT_PAUSE / (caller->reply_bytes + 1);
    if (window > DOOR_IN_FLIGHT_MAX)
        return DOOR_IN_FLIGHT_MAX;
    return window ? (uint32_t)window : 1;
}

static bool caller_has_room(const struct caller *caller)
{
    if (caller->kind == CALLER_PEER)
        return true;
    return caller->in_flight < caller_window(caller) &&
           conn_unsent(&caller->conn) <= DOOR_UNSENT_PAUSE;
}

/* Tickets. */

static struct ticket *ticket_new(struct door *door, uint64_t *number)
{
    uint32_t index = door->ticket_free;
    if (index == 0) {
        if (door->ticket_count == door->ticket_cap) {
            size_t cap = door->ticket_cap ? door->ticket_cap * 2 : 256;
            struct ticket *grown =
                mem_resize(door->tickets, cap, sizeof *grown);
            if (!grown)
                return NULL;
            door->tickets = grown;
            door->ticket_cap = cap;
        }
        index = (uint32_t)++door->ticket_count;
        door->tickets[index - 1].generation = 0;
    } else {
        door->ticket_free = door->tickets[index - 1].next_free;
    }
    struct ticket *t = &door->tickets[index - 1];
    t->open = true;
    *number = (uint64_t)++t->generation << 32 | index;
    return t;
}

static struct ticket *ticket_find(struct door *door, uint64_t number)
{
    uint32_t index = (uint32_t)number;
    assert(index > 0 && index <= door->ticket_count);
    struct ticket *t = &door->tickets[index - 1];
    assert(t->open && t->generation == (uint32_t)(number >> 32));
    return t;
}

static void ticket_free(struct door *door, struct ticket *t)
{
    t->open = false;
    t->next_free = door->ticket_free;
    door->ticket_free = (uint32_t)(t - door->tickets) + 1;
}

/* Answers. */

static int reply_pack(const struct ticket *t, const struct response *response,
                      struct buf *out)
{
    if (t->rpc) {
        struct rpc_call call = { .id = t->stream,
                                 .wants_answer = t->wants_answer };
        call.request.op = t->op;
        call.request.flags = t->flags;
        return rpc_pack_response(&call, response, out);
    }
    struct message m;
    m.type = MESSAGE_RESPONSE;
    m.stream = t->stream;
    m.u.response = *response;
    return codec_pack(&m, out);
}

/* Who has the most unsent gives way when all have too much. It is counted
 * when it might be so: the sum grows by each answer, and what was sent is only
 * seen by counting. */
static void door_bound_unsent(struct door *door, size_t more)
{
    struct caller *most = NULL;
    size_t sum = 0;
    door->unsent += more;
    if (door->unsent <= DOOR_UNSENT_ALL_MAX)
        return;
    for (size_t i = 0; i < door->seat_count; i++) {
        struct caller *caller = door->seats[i].caller;
        size_t unsent =
            caller && !caller->broken ? conn_unsent(&caller->conn) : 0;
        sum += unsent;
        if (unsent && (!most || unsent > conn_unsent(&most->conn)))
            most = caller;
    }
    door->unsent = sum;
    if (sum > DOOR_UNSENT_ALL_MAX)
        caller_break(most, "answers that nobody takes fill the memory for "
                           "them: who had most was closed");
}

static void reply_to(struct caller *caller, const struct ticket *t,
                     const struct response *response)
{
    static const struct response too_much = { .status = DLHT_EBUSY };
    struct buf *out = &caller->conn.out;
    size_t before = out->len;
    size_t more = response->value.len + response->list.len;
    if (more && conn_unsent(&caller->conn) + more > DOOR_UNSENT_MAX) {
        response = &too_much;
    }
    int rc = reply_pack(t, response, out);
    if (rc == DLHT_ENOMEM || rc == DLHT_ETOOBIG) {
        struct response sorry = { .status = rc };
        rc = reply_pack(t, &sorry, out);
    }
    if (rc != DLHT_OK) {
        caller_break(caller, "no memory for an answer: caller disconnected");
        return;
    }
    size_t bytes = out->len - before;
    if (more > bytes)
        bytes = more;
    size_t mean = caller->reply_bytes - caller->reply_bytes / 16 + bytes / 16;
    caller->reply_bytes = bytes > mean ? bytes : mean;
    caller_dirty(caller);
    door_bound_unsent(caller->door, out->len - before);
}

void door_reply(struct door *door, uint64_t number,
                const struct response *response)
{
    struct ticket *t = ticket_find(door, number);
    struct seat *seat = &door->seats[t->seat];
    struct caller *caller = seat->caller;
    assert(door->in_flight > 0);
    door->in_flight--;
    if (caller && seat->generation == t->seat_generation) {
        assert(caller->in_flight > 0);
        caller->in_flight--;
        if (!caller->broken)
            reply_to(caller, t, response);
        if (caller->stalled)
            door->may_resume = true;
    }
    ticket_free(door, t);
}

/* Input. */

/* spot: where its record was found, or NULL. True: it is an event. */
static bool caller_request(struct caller *caller, uint32_t stream,
                           const struct request *request,
                           const struct rpc_call *rpc, const struct spot *spot)
{
    struct door *door = caller->door;
    uint64_t number;
    struct ticket *t = ticket_new(door, &number);
    if (!t) {
        caller_break(caller, "no memory for a request: caller disconnected");
        return false;
    }
    t->stream = stream;
    t->seat = caller->slot;
    t->seat_generation = door->seats[caller->slot].generation;
    t->rpc = rpc != NULL;
    t->wants_answer = !rpc || rpc->wants_answer;
    t->op = request->op;
    t->flags = request->flags;
    caller->in_flight++;
    door->in_flight++;
    if (spot && door->calls.propose(door->calls.context, spot, request, number))
        return false;
    door->calls.request(door->calls.context, number, request);
    return true;
}

static void caller_greet(struct caller *caller, const struct message *m)
{
    struct door *door = caller->door;
    if (m->type != MESSAGE_HELLO) {
        caller_break(caller, "a link that does not begin with a hello: closed");
        return;
    }
    struct message answer = { .type = MESSAGE_HELLO, .stream = m->stream };
    const struct hello *theirs = &m->u.hello;
    int status =
        door->calls.hello(door->calls.context, theirs, &answer.u.hello);
    answer.u.hello.status = status;
    if (codec_pack(&answer, &caller->conn.out) != DLHT_OK) {
        caller_break(caller, "no memory for a hello: caller disconnected");
        return;
    }
    caller_dirty(caller);
    caller->kind = theirs->kind == HELLO_PEER ? CALLER_PEER : CALLER_CLIENT;
    caller->peer = theirs->peer;
    if (status != DLHT_OK) {
        door_log(door, status == DLHT_EVERSION
                           ? "link refused: other protocol version"
                           : "link refused: another cluster");
        caller->leaving = true;
    }
}

static void caller_message(struct caller *caller, const struct message *m)
{
    struct door *door = caller->door;
    if (caller->kind == CALLER_FRAMES)
        caller_greet(caller, m);
    else if (caller->kind == CALLER_PEER && m->type != MESSAGE_HELLO)
        door->calls.message(door->calls.context, &caller->peer, m);
    else if (caller->kind == CALLER_CLIENT && m->type == MESSAGE_REQUEST)
        (void)caller_request(caller, m->stream, &m->u.request, NULL, NULL);
    else
        caller_break(caller, "a frame that has no place here: closed");
}

/* The frame at the front; *len is 0 if it is not whole. */
static int door_unpack(struct door *door, struct span input,
                       struct message *out, size_t *len)
{
    int rc = codec_frame(input, len);
    if (rc == 1)
        return codec_unpack(span_of(input.data, *len), &door->arena, out);
    *len = 0;
    return rc;
}

static void caller_refuse_frame(struct caller *caller, int rc)
{
    caller_break(caller, rc == DLHT_ENOMEM
                             ? "no memory for a frame: closed"
                             : "bytes that are no frame of ours: closed");
}

/* Length of the frame at the front that was dealt with; 0: not whole. */
static size_t caller_take_frame(struct caller *caller, struct span input)
{
    struct message *message = caller->door->messages;
    size_t len;
    int rc = door_unpack(caller->door, input, message, &len);
    if (rc != DLHT_OK)
        caller_refuse_frame(caller, rc);
    else if (len)
        caller_message(caller, message);
    return len;
}

/* The requests at the front, unpacked; ends says where each ends. What is not
 * one, or not whole, ends them. Requests lie in the input alone, so that many
 * may be unpacked before the first is dealt with. */
static size_t door_unpack_requests(struct door *door, struct span input,
                                   const struct request *requests[SPOTS_MAX],
                                   size_t ends[SPOTS_MAX])
{
    size_t count = 0, end = 0, len;
    while (count < SPOTS_MAX) {
        struct message *m = &door->messages[count];
        int rc = door_unpack(door, span_tail(input, end), m, &len);
        if (rc != DLHT_OK || len == 0 || m->type != MESSAGE_REQUEST)
            break;
        end += len;
        requests[count] = &m->u.request;
        ends[count++] = end;
    }
    return count;
}

static bool caller_at_spot(struct caller *caller, const struct spot *spot,
                           const struct message *m)
{
    struct door_calls *calls = &caller->door->calls;
    const struct request *q = &m->u.request;
    struct ticket to = { .stream = m->stream };
    struct response response;
    if (!calls->at_spot(calls->context, spot, q->op, q->value, &response))
        return false;
    reply_to(caller, &to, &response);
    return true;
}

/* Those that there is no room for any more are unpacked again, later. */
static size_t caller_take_requests(struct caller *caller, struct span input)
{
    struct door *door = caller->door;
    const struct request *requests[SPOTS_MAX];
    struct spot spots[SPOTS_MAX];
    size_t ends[SPOTS_MAX], used = 0;
    size_t count = door_unpack_requests(door, input, requests, ends);
    bool stale = false; /* an event came after the spots were found */
    if (count == 0)
        return caller_take_frame(caller, input);
    door->calls.find(door->calls.context, requests, count, spots);
    for (size_t i = 0; i < count && !caller->broken && caller_has_room(caller);
         i++) {
        const struct message *m = &door->messages[i];
        if (stale && spots[i].replica)
            door->calls.find(door->calls.context, &requests[i], 1, &spots[i]);
        const struct spot *spot = spots[i].replica ? &spots[i] : NULL;
        if (!spot || !caller_at_spot(caller, spot, m))
            stale =
                caller_request(caller, m->stream, requests[i], NULL, spot) ||
                stale;
        used = ends[i];
    }
    return used;
}

static size_t caller_take_rpc(struct caller *caller, struct span input)
{
    struct door *door = caller->door;
    size_t len;
    int whole = mp_scan_more(&caller->scan, input, WIRE_BODY_MAX, &len);
    if (whole == 0)
        return 0;
    memset(&caller->scan, 0, sizeof caller->scan);
    struct rpc_call call;
    const char *text = "";
    int rc = DLHT_EPROTO;
    if (whole == 1) {
        rc = rpc_unpack(span_of(input.data, len), &door->scratch, &call, &text);
    }
    if (rc == DLHT_OK) {
        (void)caller_request(caller, call.id, &call.request, &call, NULL);
        return len;
    }
    struct response refusal = { .status = rc, .text = span_str(text) };
    if ((rc == DLHT_EINVAL || rc == DLHT_ENOMEM) &&
        rpc_pack_response(&call, &refusal, &caller->conn.out) == DLHT_OK) {
        caller_dirty(caller);
        return len;
    }
    caller_break(caller, "bytes that are no MessagePack-RPC: closed");
    return 0;
}

/* The first byte tells frames from MessagePack-RPC, whose messages are arrays
 * of three or four. */
static bool caller_recognise(struct caller *caller, uint8_t first)
{
    if (first == FRAME_MAGIC)
        caller->kind = CALLER_FRAMES;
    else if (first == 0x93 || first == 0x94)
        caller->kind = CALLER_RPC;
    else
        caller_break(caller, "neither a frame nor MessagePack-RPC: closed");
    return !caller->broken;
}

/* From the front of the input; 0: nothing there is whole. */
static size_t caller_take_some(struct caller *caller, struct span input)
{
    if (caller->kind == CALLER_RPC)
        return caller_take_rpc(caller, input);
    if (caller->kind == CALLER_CLIENT)
        return caller_take_requests(caller, input);
    return caller_take_frame(caller, input);
}

static size_t caller_take(void *context, struct span input)
{
    struct caller *caller = context;
    struct door *door = caller->door;
    size_t used = 0;
    door->now_ns = door->calls.now(door->calls.context);
    if (caller->kind == CALLER_NEW && input.len &&
        !caller_recognise(caller, input.data[0]))
        return input.len;
    while (used < input.len && !caller->leaving) {
        if (!caller_has_room(caller)) {
            door->stalled += !caller->stalled;
            caller->stalled = true;
            break;
        }
        struct span rest = span_tail(input, used);
        size_t n = caller_take_some(caller, rest);
        if (caller->broken)
            return input.len;
        if (n == 0)
            break;
        used += n;
    }
    if (used)
        caller->since_ns = used < input.len ? door->now_ns : 0;
    else if (caller->since_ns == 0)
        caller->since_ns = door->now_ns;
    return caller->leaving ? input.len : used;
}

static void caller_note_held(struct caller *caller, size_t held_before)
{
    caller->door->held += conn_held(&caller->conn) - held_before;
}

static void caller_pause_or_go_on(struct caller *caller)
{
    if (conn_listen(&caller->conn, !caller->stalled && !caller->leaving) !=
        DLHT_OK)
        caller_break(caller, "no memory for a connection: closed");
}

static void caller_on_readable(struct caller *caller)
{
    size_t held = conn_held(&caller->conn);
    int rc = conn_read(&caller->conn, caller_take, caller);
    caller_note_held(caller, held);
    if (rc != DLHT_OK)
        caller_break(caller, NULL);
    else if (caller->stalled || caller->leaving)
        caller_pause_or_go_on(caller);
}

void caller_on_ready(void *context, bool readable, bool writable)
{
    struct caller *caller = context;
    if (caller->broken)
        return;
    if (writable) {
        if (conn_write_on(&caller->conn) != DLHT_OK)
            caller_break(caller, NULL);
        else if (caller->stalled)
            caller->door->may_resume = true;
        if (caller->leaving)
            caller_dirty(caller);
    }
    if (readable && !caller->broken)
        caller_on_readable(caller);
}

bool door_can_resume(const struct door *door)
{
    return door->may_resume && door->stalled > 0;
}

bool door_resume(struct door *door)
{
    if (!door_can_resume(door))
        return false;
    door->may_resume = false;
    for (size_t i = 0; i < door->seat_count; i++) {
        struct caller *caller = door->seats[i].caller;
        if (!caller || !caller->stalled || caller->broken ||
            !caller_has_room(caller))
            continue;
        caller_unstall(caller);
        size_t held = conn_held(&caller->conn);
        conn_take_held(&caller->conn, caller_take, caller);
        caller_note_held(caller, held);
        if (!caller->broken)
            caller_pause_or_go_on(caller);
    }
    return true;
}

static void caller_flush(struct caller *caller)
{
    if (!caller->broken && conn_write(&caller->conn) != DLHT_OK)
        caller->broken = true;
    if (caller->broken ||
        (caller->leaving && conn_unsent(&caller->conn) == 0)) {
        caller_free(caller);
        return;
    }
    if (caller->stalled && caller_has_room(caller))
        caller->door->may_resume = true;
}

void door_flush(struct door *door)
{
    while (door->dirty) {
        struct caller *caller = door->seats[door->dirty - 1].caller;
        assert(caller && caller->dirty);
        door->dirty = caller->next_dirty;
        caller->dirty = false;
        caller_flush(caller);
    }
}
