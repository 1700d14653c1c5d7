/* SPDX-License-Identifier: Apache-2.0 */

/* Connecting, greeting, packing, reading. */

#include "net/client_link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dlht/err.h"
#include "net/addr.h"

enum {
    LINK_READ_BYTES = 256 << 10,
    LINK_OUT_AHEAD = 1 << 20, /* packed and not written */
    LINK_ROOM_KEEP = 1 << 20  /* while it is connected */
};

static const uint64_t LINK_CONNECT_NS = UINT64_C(2000000000);
static const uint64_t LINK_SILENCE_NS = UINT64_C(2000000000);

static void link_clear(struct buf *b)
{
    if (b->cap > LINK_ROOM_KEEP)
        buf_deinit(b);
    else
        buf_reset(b);
}

void client_link_init(struct client_link *link)
{
    memset(link, 0, sizeof *link);
    link->fd = -1;
}

void client_link_close(struct client_link *link)
{
    if (link->fd != -1)
        close(link->fd);
    link->fd = -1;
    link->state = CLIENT_LINK_DOWN;
    link->peer = (struct id){ 0 };
    link->wanted = false;
    link->owes = false;
    buf_deinit(&link->in);
    buf_deinit(&link->out);
    link->in_at = 0;
    link->out_at = 0;
}

int client_link_connect(struct client_link *link, uint64_t now_ns)
{
    int rc = addr_connect(link->addr, &link->fd);
    if (rc != DLHT_OK)
        return rc;
    link->state = CLIENT_LINK_CONNECTING;
    link->retry_ns = now_ns + LINK_CONNECT_NS;
    return DLHT_OK;
}

int client_link_greet(struct client_link *link, const struct id *session)
{
    struct message m = { .type = MESSAGE_HELLO };
    m.u.hello = (struct hello){ .version = WIRE_VERSION,
                                .kind = HELLO_CLIENT,
                                .peer = *session };
    link->state = CLIENT_LINK_GREETING;
    return codec_pack(&m, &link->out);
}

bool client_link_takes(const struct client_link *link)
{
    return link->state == CLIENT_LINK_UP &&
           link->out.len - link->out_at < LINK_OUT_AHEAD;
}

int client_link_pack(struct client_link *link, struct call *call,
                     struct message *room, uint64_t now_ns)
{
    room->type = MESSAGE_REQUEST;
    room->stream = call_stream(call);
    room->u.request = call->request;
    int rc = codec_pack(room, &link->out);
    if (rc != DLHT_OK)
        return rc;
    if (!link->sent.first && !link->owes)
        link->heard_ns = now_ns;
    link->used_ns = now_ns;
    return DLHT_OK;
}

int client_link_write(struct client_link *link)
{
    size_t unsent = link->out.len - link->out_at;
    if (unsent == 0)
        return DLHT_OK;
    ssize_t n =
        send(link->fd, link->out.data + link->out_at, unsent, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR
                   ? DLHT_OK
                   : DLHT_EIO;
    link->out_at += (size_t)n;
    if (link->out_at == link->out.len) {
        link_clear(&link->out);
        link->out_at = 0;
    } else if (link->out_at > link->out.len / 2) {
        buf_drop(&link->out, link->out_at);
        link->out_at = 0;
    }
    return DLHT_OK;
}

int client_link_read(struct client_link *link, uint64_t now_ns)
{
    struct buf *in = &link->in;
    if (buf_reserve(in, LINK_READ_BYTES) != DLHT_OK)
        return DLHT_ENOMEM;
    ssize_t n = recv(link->fd, in->data + in->len, in->cap - in->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return DLHT_OK;
    if (n <= 0)
        return DLHT_EIO;
    in->len += (size_t)n;
    link->owes = false;
    link->heard_ns = now_ns;
    return DLHT_OK;
}

/* What was taken goes; the beginning of a frame stays. */
static int link_next_later(struct client_link *link)
{
    if (link->in_at == link->in.len)
        link_clear(&link->in);
    else
        buf_drop(&link->in, link->in_at);
    link->in_at = 0;
    return 0;
}

int client_link_next(struct client_link *link, struct codec_arena *arena,
                     struct message *out)
{
    struct span rest = span_tail(buf_span(&link->in), link->in_at);
    size_t len;
    int rc = rest.len ? codec_frame(rest, &len) : 0;
    if (rc == 0)
        return link_next_later(link);
    if (rc == 1)
        rc = codec_unpack(span_of(rest.data, len), arena, out);
    if (rc != DLHT_OK)
        return rc;
    bool greeting = link->state == CLIENT_LINK_GREETING;
    if (out->type != (greeting ? MESSAGE_HELLO : MESSAGE_RESPONSE))
        return DLHT_EPROTO;
    link->in_at += len;
    return 1;
}

bool client_link_is_let_down(const struct client_link *link, bool alone,
                             uint64_t now_ns)
{
    if (link->state == CLIENT_LINK_CONNECTING ||
        link->state == CLIENT_LINK_GREETING)
        return now_ns >= link->retry_ns;
    return link->state == CLIENT_LINK_UP && (link->sent.first || link->owes) &&
           !alone && now_ns - link->heard_ns > LINK_SILENCE_NS;
}

uint64_t client_link_wake_ns(const struct client_link *link, bool alone)
{
    if (link->state == CLIENT_LINK_UP)
        return (link->sent.first || link->owes) && !alone
                   ? link->heard_ns + LINK_SILENCE_NS
                   : UINT64_MAX;
    return link->state != CLIENT_LINK_DOWN || link->wanted ? link->retry_ns
                                                           : UINT64_MAX;
}

bool client_link_is_writing(const struct client_link *link)
{
    return link->state == CLIENT_LINK_CONNECTING ||
           link->out.len > link->out_at;
}
