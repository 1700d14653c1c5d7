/* SPDX-License-Identifier: Apache-2.0 */

/* Reading in place, writing in one go. */

#include "net/conn.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dlht/err.h"

enum {
    CONN_KEEP_BYTES = 64 << 10 /* an idle buffer larger than it goes away */
};

void conn_init(struct conn *conn)
{
    memset(conn, 0, sizeof *conn);
    conn->fd = -1;
}

int conn_open(struct conn *conn, struct loop *loop, int fd, loop_fn fn,
              void *context)
{
    assert(conn->fd == -1);
    if (!loop_watch_init(loop, &conn->watch, fd, fn, context) ||
        !loop_watch_set(&conn->watch, true, false)) {
        loop_watch_end(&conn->watch);
        close(fd);
        return DLHT_ENOMEM;
    }
    conn->loop = loop;
    conn->fd = fd;
    return DLHT_OK;
}

void conn_close(struct conn *conn)
{
    if (conn->fd != -1) {
        loop_watch_end(&conn->watch);
        close(conn->fd);
        conn->fd = -1;
    }
    buf_deinit(&conn->in);
    buf_deinit(&conn->out);
    conn->out_at = 0;
}

/* Empties a buffer and gives large memory back. */
static void conn_clear(struct buf *b)
{
    if (b->cap > CONN_KEEP_BYTES)
        buf_deinit(b);
    else
        buf_reset(b);
}

void conn_take_held(struct conn *conn, conn_take_fn take, void *context)
{
    size_t used = take(context, buf_span(&conn->in));
    assert(used <= conn->in.len);
    if (used == conn->in.len)
        conn_clear(&conn->in);
    else
        buf_drop(&conn->in, used);
}

/* All of it has left, or nothing came: large memory goes to the others. */
static void conn_clear_out(struct conn *conn)
{
    conn->out_at = 0;
    if (conn->out.cap > CONN_KEEP_BYTES)
        loop_room_give(conn->loop, &conn->out);
    else
        buf_reset(&conn->out);
}

/* The beginning that is held is laid right before what was read, so that take
 * sees one piece. */
static int conn_take_joined(struct conn *conn, uint8_t *read, size_t len,
                            conn_take_fn take, void *context)
{
    size_t held = conn->in.len;
    uint8_t *start = read - held;
    if (held)
        memcpy(start, conn->in.data, held);
    buf_reset(&conn->in);
    size_t total = held + len;
    size_t used = take(context, span_of(start, total));
    assert(used <= total);
    if (used < total)
        buf_append(&conn->in, start + used, total - used);
    else if (held)
        conn_clear(&conn->in);
    return conn->in.failed ? DLHT_ENOMEM : DLHT_OK;
}

static int conn_read_in(struct conn *conn, conn_take_fn take, void *context)
{
    uint8_t *area = loop_read_area(conn->loop);
    ssize_t n = recv(conn->fd, area, LOOP_READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return DLHT_OK;
    if (n <= 0)
        return DLHT_ECLOSED;
    if (conn->in.len <= LOOP_HEADROOM)
        return conn_take_joined(conn, area, (size_t)n, take, context);
    buf_append(&conn->in, area, (size_t)n);
    if (conn->in.failed)
        return DLHT_ENOMEM;
    conn_take_held(conn, take, context);
    return DLHT_OK;
}

int conn_read(struct conn *conn, conn_take_fn take, void *context)
{
    if (conn->out.len == 0 && conn->out.cap <= CONN_KEEP_BYTES &&
        !conn->out.failed)
        loop_room_take(conn->loop, &conn->out);
    int rc = conn_read_in(conn, take, context);
    if (conn->out.len == 0 && !conn->out.failed)
        conn_clear_out(conn);
    return rc;
}

/* After a write: forget what has left. */
static void conn_sent(struct conn *conn, size_t n)
{
    conn->out_at += n;
    conn->sent += n;
    if (conn->out_at == conn->out.len) {
        conn_clear_out(conn);
    } else if (conn->out_at >= conn->out.len / 2) {
        buf_drop(&conn->out, conn->out_at);
        conn->out_at = 0;
    }
}

void conn_append_large(struct conn *conn, struct span large, struct span end)
{
    struct span parts[] = { span_tail(buf_span(&conn->out), conn->out_at),
                            large, end };
    enum {
        COUNT = sizeof parts / sizeof parts[0]
    };
    if (!conn->watch.writing && !conn->out.failed) {
        struct iovec iov[COUNT];
        struct msghdr m = { .msg_iov = iov, .msg_iovlen = COUNT };
        for (int i = 0; i < COUNT; i++)
            iov[i] = (struct iovec){ .iov_base = (void *)parts[i].data,
                                     .iov_len = parts[i].len };
        ssize_t n = sendmsg(conn->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        size_t left = n > 0 ? (size_t)n : 0;
        for (int i = 0; i < COUNT; i++) {
            size_t taken = left < parts[i].len ? left : parts[i].len;
            parts[i] = span_tail(parts[i], taken);
            left -= taken;
            if (i > 0)
                conn->sent += taken;
            else if (taken)
                conn_sent(conn, taken);
        }
    }
    buf_append_span(&conn->out, parts[1]);
    buf_append_span(&conn->out, parts[2]);
}

int conn_write_on(struct conn *conn)
{
    size_t unsent = conn_unsent(conn);
    if (unsent) {
        ssize_t n = send(conn->fd, conn->out.data + conn->out_at, unsent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            return DLHT_ECLOSED;
        if (n > 0)
            conn_sent(conn, (size_t)n);
    }
    bool more = conn_unsent(conn) > 0;
    if (!loop_watch_set(&conn->watch, conn->watch.reading, more))
        return DLHT_ENOMEM;
    return DLHT_OK;
}

int conn_write(struct conn *conn)
{
    if (conn->watch.writing || conn_unsent(conn) == 0)
        return DLHT_OK;
    return conn_write_on(conn);
}

int conn_listen(struct conn *conn, bool on)
{
    if (!loop_watch_set(&conn->watch, on, conn->watch.writing))
        return DLHT_ENOMEM;
    return DLHT_OK;
}

size_t conn_unsent(const struct conn *conn)
{
    return conn->out.len - conn->out_at;
}

size_t conn_held(const struct conn *conn)
{
    return conn->in.cap;
}
