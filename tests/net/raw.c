/* SPDX-License-Identifier: Apache-2.0 */

/* Sockets by hand. */

#include "net/raw.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in raw_address(const char *text)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const char *colon = text ? strrchr(text, ':') : NULL;
    a.sin_port = htons((uint16_t)(colon ? atoi(colon + 1) : 0));
    return a;
}

/* Each message leaves at once. */
static int raw_tune(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

int raw_accept(int listen_fd)
{
    return raw_tune(accept(listen_fd, NULL, NULL));
}

int raw_connect(const char *address)
{
    struct sockaddr_in a = raw_address(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return raw_tune(fd);
    if (fd >= 0)
        close(fd);
    return -1;
}

int raw_listen(char text[64])
{
    struct sockaddr_in a = raw_address(NULL);
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 64) != 0)
        abort();
    getsockname(fd, (struct sockaddr *)&a, &len);
    snprintf(text, 64, "127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

bool raw_send(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

bool raw_wait(int fd, int timeout_ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, timeout_ms) == 1;
}

bool raw_is_closed(int fd, int timeout_ms)
{
    char sink[4096];
    while (raw_wait(fd, timeout_ms))
        if (recv(fd, sink, sizeof sink, 0) <= 0)
            return true;
    return false;
}

bool raw_say(struct raw *raw, const struct message *message)
{
    struct buf out = { 0 };
    bool ok =
        codec_pack(message, &out) == 0 && raw_send(raw->fd, out.data, out.len);
    buf_deinit(&out);
    return ok;
}

bool raw_receive(struct raw *raw, int timeout_ms)
{
    buf_drop(&raw->in, raw->last);
    raw->last = 0;
    for (;;) {
        size_t len;
        int rc = codec_frame(buf_span(&raw->in), &len);
        if (rc == 1) {
            raw->last = len;
            return codec_unpack(span_of(raw->in.data, len), &raw->arena,
                                &raw->message) == 0;
        }
        if (rc < 0 || !raw_wait(raw->fd, timeout_ms) ||
            buf_reserve(&raw->in, 65536) != 0)
            return false;
        ssize_t n = recv(raw->fd, raw->in.data + raw->in.len,
                         raw->in.cap - raw->in.len, 0);
        if (n <= 0)
            return false;
        raw->in.len += (size_t)n;
    }
}

bool raw_greet(struct raw *raw)
{
    struct message m = { .type = MESSAGE_HELLO };
    m.u.hello = (struct hello){ .version = WIRE_VERSION, .kind = HELLO_CLIENT };
    m.u.hello.peer.bytes[0] = 1;
    return raw_say(raw, &m) && raw_receive(raw, 5000) &&
           raw->message.type == MESSAGE_HELLO &&
           raw->message.u.hello.status == 0;
}

void raw_close(struct raw *raw)
{
    close(raw->fd);
    buf_deinit(&raw->in);
    codec_arena_deinit(&raw->arena);
    *raw = (struct raw){ .fd = -1 };
}
