/* SPDX-License-Identifier: Apache-2.0 */

/* Open requests, the connection they travel on, and going over to another. */

#include "net/client.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/id.h"
#include "base/rng.h"
#include "net/addr.h"
#include "net/client_peers.h"
#include "net/client_request.h"
#include "net/sys.h"
#include "net/wheel.h"
#include "wire/codec.h"

enum {
    CLIENT_CHUNK = 256, /* calls made room for at a time */
    CLIENT_READ_BYTES = 256 << 10,
    CLIENT_OUT_AHEAD = 1 << 20,  /* packed and not written */
    CLIENT_KEEP_BYTES = 4 << 10, /* of a call's room, between uses */
    CLIENT_ROOM_KEEP = 1 << 20,  /* of the connection's */
    CLIENT_WINDOW_WORDS = CLIENT_WINDOW_MAX / 64
};

static const uint64_t CLIENT_MS = UINT64_C(1000000);
static const uint64_t CLIENT_CONNECT_NS = UINT64_C(2000000000);
static const uint64_t CLIENT_SILENCE_NS = UINT64_C(2000000000);
/* Asking for the peers makes the node ask all of them: not for who stays a
 * moment only, and not often. */
static const uint64_t CLIENT_LEARN_FIRST_NS = UINT64_C(1000000000);
static const uint64_t CLIENT_LEARN_NS = UINT64_C(60000000000);
static const uint64_t CLIENT_BACKOFF_MIN_NS = UINT64_C(20000000);
static const uint64_t CLIENT_BACKOFF_MAX_NS = UINT64_C(1000000000);

/* A request that is not answered. All stand in one list in the order of their
 * submission: those before client->unsent were sent on this connection. */
struct call {
    struct wheel_node deadline; /* first: a node is its call */
    struct call *next;          /* in the list; of free ones, the next free */
    struct call *previous;
    dlht_fn fn; /* NULL: the client's own */
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

enum client_state {
    CLIENT_DOWN, /* until retry_ns */
    CLIENT_CONNECTING,
    CLIENT_GREETING,
    CLIENT_UP
};

struct client {
    struct client_peers peers;
    bool learn;
    struct id session;
    struct rng rng;
    struct call **chunks;
    size_t chunk_count;
    struct call *free;
    size_t open;
    struct call *first;
    struct call *last;
    struct call *unsent; /* NULL: all were sent */
    struct call *fresh;  /* from here on no deadline is set yet */
    uint64_t next_number;
    uint64_t lowest;                        /* all below are answered */
    uint64_t answered[CLIENT_WINDOW_WORDS]; /* bit number % window */
    struct wheel wheel;
    enum client_state state;
    int fd;
    uint64_t now_ns;
    uint64_t retry_ns; /* DOWN: when to connect; else: when to give up */
    uint64_t heard_ns; /* the last bytes, or the first request after silence */
    uint64_t learn_ns;
    unsigned failures; /* in a row */
    int refusal;       /* why the last hello was refused */
    struct buf in;
    size_t in_at;
    struct buf out;
    size_t out_at;
    struct codec_arena arena;
    struct client_result result;
    struct message message;
    int completed; /* callbacks in this poll */
    bool polling;
};

/* Calls. */

static int call_make_room(struct client *c)
{
    if (c->open >= CLIENT_OPEN_MAX)
        return DLHT_EBUSY;
    if (c->chunk_count * CLIENT_CHUNK >= CLIENT_OPEN_MAX)
        return DLHT_EBUSY;
    struct call **grown =
        realloc(c->chunks, (c->chunk_count + 1) * sizeof *grown);
    if (!grown)
        return DLHT_ENOMEM;
    c->chunks = grown;
    struct call *chunk = calloc(CLIENT_CHUNK, sizeof *chunk);
    if (!chunk)
        return DLHT_ENOMEM;
    uint32_t base = (uint32_t)c->chunk_count * CLIENT_CHUNK;
    c->chunks[c->chunk_count++] = chunk;
    for (uint32_t i = CLIENT_CHUNK; i-- > 0;) {
        chunk[i].index = base + i;
        chunk[i].next = c->free;
        c->free = &chunk[i];
    }
    return DLHT_OK;
}

static uint32_t call_stream(const struct call *call)
{
    return (uint32_t)call->generation << 16 | call->index;
}

static struct call *call_by_stream(struct client *c, uint32_t stream)
{
    uint32_t index = stream & 0xffff;
    if (index >= c->chunk_count * CLIENT_CHUNK)
        return NULL;
    struct call *call = &c->chunks[index / CLIENT_CHUNK][index % CLIENT_CHUNK];
    return call->is_open && call_stream(call) == stream ? call : NULL;
}

static void call_append(struct client *c, struct call *call)
{
    call->next = NULL;
    call->previous = c->last;
    if (c->last)
        c->last->next = call;
    else
        c->first = call;
    c->last = call;
    if (!c->unsent)
        c->unsent = call;
    if (!c->fresh)
        c->fresh = call;
    call->is_open = true;
    c->open++;
}

/* A write's number is answered: the lowest open one may move up. */
static void call_close_number(struct client *c, uint64_t number)
{
    if (number == 0)
        return;
    assert(number >= c->lowest && number - c->lowest < CLIENT_WINDOW_MAX);
    size_t bit = number % CLIENT_WINDOW_MAX;
    c->answered[bit / 64] |= UINT64_C(1) << bit % 64;
    while (c->lowest < c->next_number) {
        bit = c->lowest % CLIENT_WINDOW_MAX;
        uint64_t mask = UINT64_C(1) << bit % 64;
        if (!(c->answered[bit / 64] & mask))
            break;
        c->answered[bit / 64] &= ~mask;
        c->lowest++;
    }
}

static void call_free(struct client *c, struct call *call)
{
    wheel_remove(&call->deadline);
    if (c->unsent == call)
        c->unsent = call->next;
    if (c->fresh == call)
        c->fresh = call->next;
    if (call->previous)
        call->previous->next = call->next;
    else
        c->first = call->next;
    if (call->next)
        call->next->previous = call->previous;
    else
        c->last = call->previous;
    call_close_number(c, call->request.number);
    call->is_open = false;
    call->generation++;
    if (call->bytes.cap > CLIENT_KEEP_BYTES)
        buf_deinit(&call->bytes);
    call->next = c->free;
    c->free = call;
    c->open--;
}

/* Tells the outcome in c->result; the call is over before its callback runs,
 * which may submit others. */
static void call_complete(struct client *c, struct call *call)
{
    dlht_fn fn = call->fn;
    void *context = call->context;
    call_free(c, call);
    if (!fn)
        return;
    c->completed++;
    fn(context, &c->result.result);
}

static void call_fail(struct client *c, struct call *call, int status)
{
    if (call->is_write && call->was_sent)
        client_result_fail(&c->result, DLHT_EUNKNOWN,
                           "no answer came: the write may have taken effect, "
                           "or may yet");
    else
        client_result_fail(&c->result, status, dlht_strerror(status));
    call_complete(c, call);
}

int client_submit(struct client *c, const struct dlht_request *request,
                  dlht_fn fn, void *context)
{
    if (!c->free) {
        int rc = call_make_room(c);
        if (rc != DLHT_OK)
            return rc;
    }
    struct call *call = c->free;
    int rc = client_request_make(request, &call->bytes, &call->request);
    if (rc != DLHT_OK)
        return rc;
    c->free = call->next;
    call->fn = fn;
    call->context = context;
    call->is_write = client_request_is_write(&call->request);
    call->was_sent = false;
    call->was_lost = false;
    call_append(c, call);
    return DLHT_OK;
}

static void client_set_deadlines(struct client *c)
{
    for (; c->fresh; c->fresh = c->fresh->next)
        wheel_put(&c->wheel, &c->fresh->deadline,
                  c->now_ns + c->fresh->request.timeout_ms * CLIENT_MS);
}

static void client_expire(struct client *c)
{
    struct wheel_node *node;
    while ((node = wheel_take(&c->wheel, c->now_ns)))
        call_fail(c, (struct call *)(void *)node, DLHT_ETIMEOUT);
}

/* Connection. */

static void client_clear(struct buf *b)
{
    if (b->cap > CLIENT_ROOM_KEEP)
        buf_deinit(b);
    else
        buf_reset(b);
}

/* Gives the connection up; what was sent on it waits to be sent again. */
static void client_drop(struct client *c)
{
    if (c->fd != -1)
        close(c->fd);
    c->fd = -1;
    client_clear(&c->in);
    client_clear(&c->out);
    c->in_at = 0;
    c->out_at = 0;
    for (struct call *call = c->first; call && call != c->unsent;
         call = call->next)
        call->was_lost = true;
    c->unsent = c->first;
    c->state = CLIENT_DOWN;
    c->failures++;
    client_peers_next(&c->peers);
    /* A first failure of each address costs no pause. */
    uint64_t pause = 0;
    if (c->failures > c->peers.count) {
        unsigned rounds = c->failures / (unsigned)c->peers.count;
        pause = CLIENT_BACKOFF_MIN_NS << (rounds < 6 ? rounds - 1 : 6);
        if (pause > CLIENT_BACKOFF_MAX_NS)
            pause = CLIENT_BACKOFF_MAX_NS;
        pause = pause / 2 + rng_below(&c->rng, pause);
    }
    c->retry_ns = c->now_ns + pause;
}

static void client_begin_connect(struct client *c)
{
    if (addr_connect(client_peers_current(&c->peers), &c->fd) != DLHT_OK) {
        client_drop(c);
        return;
    }
    c->state = CLIENT_CONNECTING;
    c->retry_ns = c->now_ns + CLIENT_CONNECT_NS;
}

static void client_greet(struct client *c)
{
    struct message m = { .type = MESSAGE_HELLO };
    m.u.hello = (struct hello){ .version = WIRE_VERSION,
                                .kind = HELLO_CLIENT,
                                .peer = c->session };
    if (codec_pack(&m, &c->out) != DLHT_OK)
        client_drop(c);
    else
        c->state = CLIENT_GREETING;
}

static void client_welcomed(struct client *c, const struct hello *hello)
{
    if (hello->status != DLHT_OK) {
        c->refusal = hello->status;
        client_drop(c);
        return;
    }
    c->state = CLIENT_UP;
    c->failures = 0;
    c->refusal = DLHT_OK;
    c->heard_ns = c->now_ns;
    if (c->learn_ns == 0)
        c->learn_ns = c->now_ns + CLIENT_LEARN_FIRST_NS;
}

/* The number of a write, given when it is first sent. False: the window is
 * full. */
static bool client_number(struct client *c, struct call *call)
{
    struct request *q = &call->request;
    if (!call->is_write)
        return true;
    if (q->number == 0) {
        if (c->next_number - c->lowest >= CLIENT_WINDOW_MAX)
            return false;
        q->number = c->next_number++;
        q->session = c->session;
    }
    q->lowest_open = c->lowest;
    return true;
}

static void client_pack(struct client *c)
{
    bool none_was_owed = c->unsent == c->first;
    while (c->unsent && c->unsent != c->fresh &&
           c->out.len - c->out_at < CLIENT_OUT_AHEAD) {
        struct call *call = c->unsent;
        if (!client_number(c, call))
            break;
        struct message *m = &c->message;
        m->type = MESSAGE_REQUEST;
        m->stream = call_stream(call);
        m->u.request = call->request;
        if (codec_pack(m, &c->out) != DLHT_OK)
            break; /* memory may come back before its deadline */
        call->was_sent = true;
        c->unsent = call->next;
    }
    if (none_was_owed && c->unsent != c->first)
        c->heard_ns = c->now_ns;
}

static void client_write(struct client *c)
{
    size_t unsent = c->out.len - c->out_at;
    if (unsent == 0)
        return;
    ssize_t n = send(c->fd, c->out.data + c->out_at, unsent, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            client_drop(c);
        return;
    }
    c->out_at += (size_t)n;
    if (c->out_at == c->out.len) {
        client_clear(&c->out);
        c->out_at = 0;
    } else if (c->out_at > c->out.len / 2) {
        buf_drop(&c->out, c->out_at);
        c->out_at = 0;
    }
}

/* "Nothing was done", as far as the node that answers knows. */
static bool is_refusal(int status)
{
    return status == DLHT_EUNAVAILABLE || status == DLHT_EBUSY ||
           status == DLHT_EFULL || status == DLHT_ENOKEYSPACE ||
           status == DLHT_EEXISTS || status == DLHT_ETIMEOUT;
}

static void client_answer(struct client *c, const struct message *m)
{
    struct call *call = call_by_stream(c, m->stream);
    if (!call)
        return; /* its time had run out */
    if (m->u.response.status == DLHT_ECLOSED) {
        client_drop(c); /* that node goes: another may serve it */
        return;
    }
    if (!call->fn) {
        client_peers_learn(&c->peers, m->u.response.value);
        call_complete(c, call);
        return;
    }
    struct response response = m->u.response;
    if (call->is_write && call->was_lost && is_refusal(response.status)) {
        /* This time it was refused; what the first node did is not known. */
        response.status = DLHT_EUNKNOWN;
        response.text = span_str("refused when it was repeated; the first "
                                 "attempt may have taken effect");
    }
    client_result_show(&c->result, &response);
    call_complete(c, call);
}

/* False: the connection was dropped. */
static bool client_take(struct client *c)
{
    while (c->in_at < c->in.len) {
        struct span rest = span_tail(buf_span(&c->in), c->in_at);
        size_t len;
        int rc = codec_frame(rest, &len);
        if (rc == 0)
            break;
        if (rc == 1)
            rc = codec_unpack(span_of(rest.data, len), &c->arena, &c->message);
        bool greeting = c->state == CLIENT_GREETING;
        if (rc != DLHT_OK ||
            c->message.type != (greeting ? MESSAGE_HELLO : MESSAGE_RESPONSE)) {
            client_drop(c);
            return false;
        }
        c->in_at += len;
        if (greeting)
            client_welcomed(c, &c->message.u.hello);
        else
            client_answer(c, &c->message);
        if (c->state != CLIENT_UP)
            return false;
    }
    return true;
}

static void client_read(struct client *c)
{
    if (buf_reserve(&c->in, CLIENT_READ_BYTES) != DLHT_OK) {
        client_drop(c);
        return;
    }
    ssize_t n = recv(c->fd, c->in.data + c->in.len, c->in.cap - c->in.len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        client_drop(c);
        return;
    }
    c->in.len += (size_t)n;
    c->heard_ns = c->now_ns;
    if (!client_take(c))
        return;
    if (c->in_at == c->in.len)
        client_clear(&c->in);
    else
        buf_drop(&c->in, c->in_at);
    c->in_at = 0;
}

/* Polling. */

/* Asks now and then who else could be asked. */
static void client_ask_peers(struct client *c)
{
    if (!c->learn || c->state != CLIENT_UP || c->now_ns < c->learn_ns)
        return;
    struct dlht_request request = { .op = DLHT_OP_PEERS };
    c->learn_ns = c->now_ns + CLIENT_LEARN_NS;
    int rc = client_submit(c, &request, NULL, NULL);
    (void)rc; /* the next time, then */
    client_set_deadlines(c);
}

/* The node takes too long to let us in; or it owes answers and is silent. */
static bool client_is_let_down(const struct client *c)
{
    if (c->state == CLIENT_CONNECTING || c->state == CLIENT_GREETING)
        return c->now_ns >= c->retry_ns;
    return c->state == CLIENT_UP && c->first != c->unsent &&
           c->peers.count > 1 && c->now_ns - c->heard_ns > CLIENT_SILENCE_NS;
}

static void client_advance(struct client *c)
{
    if (c->state == CLIENT_DOWN && c->now_ns >= c->retry_ns)
        client_begin_connect(c);
    else if (client_is_let_down(c))
        client_drop(c);
    if (c->state == CLIENT_UP) {
        client_ask_peers(c);
        client_pack(c);
    }
    if (c->state == CLIENT_GREETING || c->state == CLIENT_UP)
        client_write(c);
}

/* Until when it makes sense to wait. */
static uint64_t client_wake_ns(const struct client *c)
{
    uint64_t at = wheel_next_ns(&c->wheel);
    if (c->state != CLIENT_UP)
        return c->retry_ns < at ? c->retry_ns : at;
    uint64_t silence = c->heard_ns + CLIENT_SILENCE_NS;
    if (c->peers.count > 1 && c->first != c->unsent && silence < at)
        return silence;
    return at;
}

static void client_wait(struct client *c, uint64_t until_ns)
{
    uint64_t wake = client_wake_ns(c);
    if (until_ns < wake)
        wake = until_ns;
    uint64_t ns = wake > c->now_ns ? wake - c->now_ns : 0;
    int wait_ms =
        wake == UINT64_MAX ? -1 : (int)((ns + CLIENT_MS - 1) / CLIENT_MS);
    bool writing = c->state == CLIENT_CONNECTING || c->out.len > c->out_at;
    struct pollfd p = { .fd = c->fd,
                        .events =
                            (short)(writing ? POLLIN | POLLOUT : POLLIN) };
    int n = poll(&p, 1, wait_ms);
    c->now_ns = sys_now_ns();
    if (n <= 0 || c->fd == -1)
        return;
    if (c->state == CLIENT_CONNECTING) {
        if (!addr_connected(c->fd))
            client_drop(c);
        else if (p.revents & POLLOUT)
            client_greet(c);
        return;
    }
    if (p.revents & (POLLIN | POLLERR | POLLHUP))
        client_read(c);
}

/* One round; until_ns in the past: takes only what is ready. */
static void client_round(struct client *c, uint64_t until_ns)
{
    client_expire(c); /* first: the wheel may have stood still for long */
    client_set_deadlines(c);
    client_advance(c);
    if (c->completed == 0)
        client_wait(c, until_ns);
}

int client_poll(struct client *c, int timeout_ms)
{
    if (c->polling)
        return DLHT_EINVAL;
    c->polling = true;
    c->completed = 0;
    c->now_ns = sys_now_ns();
    uint64_t until_ns = c->open ? UINT64_MAX : c->now_ns;
    if (timeout_ms >= 0)
        until_ns = c->now_ns + (uint64_t)timeout_ms * CLIENT_MS;
    do
        client_round(c, until_ns);
    while (c->completed == 0 && c->now_ns < until_ns &&
           (timeout_ms >= 0 || c->open > 0));
    c->polling = false;
    return c->completed;
}

bool client_is_polling(const struct client *c)
{
    return c->polling;
}

/* Making and freeing. */

static int client_error(struct dlht_error *error, int code, const char *text,
                        const char *detail)
{
    if (error) {
        error->code = code;
        snprintf(error->text, sizeof error->text, text, detail);
    }
    return code;
}

int client_connect(struct client *c, uint32_t timeout_ms,
                   struct dlht_error *error)
{
    c->now_ns = sys_now_ns();
    uint64_t until_ns = c->now_ns + timeout_ms * CLIENT_MS;
    c->polling = true;
    while (c->state != CLIENT_UP && c->now_ns < until_ns &&
           c->refusal == DLHT_OK)
        client_round(c, until_ns);
    c->polling = false;
    if (c->state == CLIENT_UP)
        return DLHT_OK;
    if (c->refusal != DLHT_OK)
        return client_error(error, c->refusal, "the node refuses us: %s",
                            dlht_strerror(c->refusal));
    return client_error(error, DLHT_EUNAVAILABLE, "no node answers at %s",
                        client_peers_current(&c->peers));
}

int client_new(const char *addresses, bool learn, struct client **out,
               struct dlht_error *error)
{
    *out = NULL;
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return client_error(error, DLHT_ENOMEM, "%s", "out of memory");
    if (!client_peers_parse(&c->peers, addresses)) {
        free(c);
        return client_error(error, DLHT_EINVAL,
                            "'%s' is no list of addresses: give "
                            "HOST:PORT[,HOST:PORT...]",
                            addresses);
    }
    c->fd = -1;
    c->learn = learn;
    c->next_number = 1;
    c->lowest = 1;
    c->now_ns = sys_now_ns();
    rng_init(&c->rng, sys_random());
    c->session = id_random(&c->rng);
    wheel_init(&c->wheel, c->now_ns);
    *out = c;
    return DLHT_OK;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    c->polling = true;
    while (c->first)
        call_fail(c, c->first, DLHT_ECLOSED);
    if (c->fd != -1)
        close(c->fd);
    for (size_t i = 0; i < c->chunk_count; i++) {
        for (size_t k = 0; k < CLIENT_CHUNK; k++)
            buf_deinit(&c->chunks[i][k].bytes);
        free(c->chunks[i]);
    }
    free(c->chunks);
    buf_deinit(&c->in);
    buf_deinit(&c->out);
    codec_arena_deinit(&c->arena);
    client_result_deinit(&c->result);
    free(c);
}
