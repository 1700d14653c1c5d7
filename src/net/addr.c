/* SPDX-License-Identifier: Apache-2.0 */

/* Addresses to descriptors. */

#include "net/addr.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dlht/err.h"
#include "net/inproc.h"

static const char ADDR_INPROC[] = "inproc:";
static const char ADDR_UNIX[] = "unix:";

enum {
    ADDR_BACKLOG = 1024
};

struct addr_parts {
    char host[PEER_ADDR_MAX];
    char port[8];
};

bool addr_is_inproc(const char *text)
{
    return strncmp(text, ADDR_INPROC, sizeof ADDR_INPROC - 1) == 0;
}

static bool addr_is_unix(const char *text)
{
    return strncmp(text, ADDR_UNIX, sizeof ADDR_UNIX - 1) == 0;
}

/* PEER_ADDR_MAX leaves less than sun_path holds. */
static struct sockaddr_un addr_of_path(const char *text)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    const char *path = text + sizeof ADDR_UNIX - 1;
    memcpy(sa.sun_path, path, strlen(path) + 1);
    return sa;
}

static bool addr_port_is_valid(const char *port)
{
    size_t digits = strspn(port, "0123456789");
    return digits > 0 && digits <= 5 && !port[digits] &&
           strtoul(port, NULL, 10) <= 65535;
}

uint16_t addr_port(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (!colon || !addr_port_is_valid(colon + 1))
        return 0;
    return (uint16_t)strtoul(colon + 1, NULL, 10);
}

static bool addr_split(const char *text, struct addr_parts *out)
{
    const char *colon = strrchr(text, ':');
    if (strlen(text) >= PEER_ADDR_MAX || !colon ||
        !addr_port_is_valid(colon + 1))
        return false;
    const char *host = text;
    size_t len = (size_t)(colon - text);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (memchr(host, ':', len)) {
        return false; /* IPv6 wants brackets */
    }
    if (len == 0)
        return false;
    memcpy(out->host, host, len);
    out->host[len] = 0;
    memcpy(out->port, colon + 1, strlen(colon + 1) + 1);
    return true;
}

bool addr_is_valid(const char *text)
{
    if (addr_is_inproc(text)) {
        size_t len = strlen(text) - (sizeof ADDR_INPROC - 1);
        return len > 0 && len < INPROC_NAME_MAX;
    }
    if (addr_is_unix(text)) {
        size_t len = strlen(text);
        return len > sizeof ADDR_UNIX - 1 && len < PEER_ADDR_MAX;
    }
    struct addr_parts parts;
    return addr_split(text, &parts);
}

bool addr_is_of_peer(const char *text)
{
    return addr_is_valid(text) && !addr_is_unix(text);
}

bool addr_is_wildcard(const char *text)
{
    struct addr_parts parts;
    if (addr_is_inproc(text) || addr_is_unix(text) || !addr_split(text, &parts))
        return false;
    return strcmp(parts.host, "0.0.0.0") == 0 ||
           strcmp(parts.host, "::") == 0 || strcmp(parts.host, "*") == 0;
}

/* flags: AI_PASSIVE, AI_NUMERICHOST. */
static int addr_resolve(const char *text, int flags, struct addrinfo **out)
{
    struct addr_parts parts;
    if (!addr_split(text, &parts))
        return DLHT_EINVAL;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags };
    const char *host = strcmp(parts.host, "*") == 0 ? NULL : parts.host;
    return getaddrinfo(host, parts.port, &hints, out) == 0 ? DLHT_OK
                                                           : DLHT_EUNAVAILABLE;
}

bool addr_is_numeric(const char *text)
{
    struct addrinfo *list;
    if (addr_is_inproc(text) || addr_is_unix(text))
        return true;
    if (addr_resolve(text, AI_NUMERICHOST, &list) != DLHT_OK)
        return false;
    freeaddrinfo(list);
    return true;
}

static void addr_set(int fd, int level, int option, int value)
{
    /* Advice to the system; what it refuses is done without. */
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

static void addr_tune(int fd)
{
    addr_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    addr_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    addr_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    addr_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
    addr_set(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
    /* Writable only when little waits in the system: what is urgent must not
     * stand behind what is large. */
    addr_set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 128 << 10);
}

static int addr_socket(int family, int *out)
{
    *out = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return *out < 0 ? DLHT_EIO : DLHT_OK;
}

static int addr_bind(const struct addrinfo *info, int *out)
{
    int fd;
    if (addr_socket(info->ai_family, &fd) != DLHT_OK)
        return DLHT_EIO;
    addr_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    int rc = DLHT_OK;
    if (bind(fd, info->ai_addr, info->ai_addrlen) != 0 ||
        listen(fd, ADDR_BACKLOG) != 0)
        rc = errno == EADDRINUSE ? DLHT_EBUSY : DLHT_EINVAL;
    if (rc != DLHT_OK) {
        close(fd);
        return rc;
    }
    *out = fd;
    return DLHT_OK;
}

/* The address as it was given, with the true port in place of 0. */
static int addr_bound(const char *text, int fd, char bound[PEER_ADDR_MAX])
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
        return DLHT_EIO;
    unsigned port =
        ntohs(sa.ss_family == AF_INET6
                  ? ((const struct sockaddr_in6 *)(const void *)&sa)->sin6_port
                  : ((const struct sockaddr_in *)(const void *)&sa)->sin_port);
    int host = (int)(strrchr(text, ':') - text);
    int n = snprintf(bound, PEER_ADDR_MAX, "%.*s:%u", host, text, port);
    return n > 0 && n < PEER_ADDR_MAX ? DLHT_OK : DLHT_EINVAL;
}

/* Begins to connect s, which is *fd then, or closed. */
static int addr_dialled(int s, const struct sockaddr *sa, socklen_t len,
                        int *fd)
{
    if (connect(s, sa, len) != 0 && errno != EINPROGRESS) {
        close(s);
        return DLHT_EUNAVAILABLE;
    }
    *fd = s;
    return DLHT_OK;
}

static int addr_connect_path(const char *text, int *fd)
{
    struct sockaddr_un sa = addr_of_path(text);
    int s, rc = addr_socket(AF_UNIX, &s);
    return rc == DLHT_OK
               ? addr_dialled(s, (const struct sockaddr *)&sa, sizeof sa, fd)
               : rc;
}

/* A socket whose owner ended without taking it away is in the way of the
 * next one. */
static int addr_clear_path(const struct sockaddr_un *sa)
{
    struct stat st;
    if (lstat(sa->sun_path, &st) != 0)
        return DLHT_OK;
    int fd;
    if (!S_ISSOCK(st.st_mode))
        return DLHT_EBUSY;
    int rc = addr_socket(AF_UNIX, &fd);
    if (rc != DLHT_OK)
        return rc;
    rc = connect(fd, (const struct sockaddr *)sa, sizeof *sa) != 0 &&
                 errno == ECONNREFUSED && unlink(sa->sun_path) == 0
             ? DLHT_OK
             : DLHT_EBUSY;
    close(fd);
    return rc;
}

static int addr_listen_path(const char *text, int *out)
{
    struct sockaddr_un sa = addr_of_path(text);
    int fd, rc = addr_clear_path(&sa);
    if (rc == DLHT_OK)
        rc = addr_socket(AF_UNIX, &fd);
    if (rc != DLHT_OK)
        return rc;
    if (bind(fd, (const struct sockaddr *)&sa, sizeof sa) != 0 ||
        listen(fd, ADDR_BACKLOG) != 0) {
        rc = errno == EADDRINUSE ? DLHT_EBUSY : DLHT_EINVAL;
        close(fd);
        return rc;
    }
    *out = fd;
    return DLHT_OK;
}

int addr_listen(const char *text, char bound[PEER_ADDR_MAX], int *fd)
{
    *fd = -1;
    if (!addr_is_valid(text))
        return DLHT_EINVAL;
    if (addr_is_inproc(text)) {
        memcpy(bound, text, strlen(text) + 1);
        return inproc_listen(text + sizeof ADDR_INPROC - 1, fd);
    }
    if (addr_is_unix(text)) {
        memcpy(bound, text, strlen(text) + 1);
        return addr_listen_path(text, fd);
    }
    struct addrinfo *list;
    if (addr_resolve(text, AI_PASSIVE, &list) != DLHT_OK)
        return DLHT_EINVAL;
    int rc = addr_bind(list, fd);
    freeaddrinfo(list);
    if (rc != DLHT_OK)
        return rc;
    rc = addr_bound(text, *fd, bound);
    if (rc != DLHT_OK) {
        close(*fd);
        *fd = -1;
    }
    return rc;
}

void addr_unlisten(const char *text, int fd)
{
    if (fd == -1)
        return;
    if (addr_is_inproc(text)) {
        inproc_unlisten(fd);
        return;
    }
    close(fd);
    if (addr_is_unix(text))
        (void)unlink(addr_of_path(text).sun_path);
}

int addr_accept(const char *text, int listen_fd, int *fd)
{
    if (addr_is_inproc(text))
        return inproc_accept(listen_fd, fd);
    *fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (*fd >= 0) {
        if (!addr_is_unix(text))
            addr_tune(*fd);
        return DLHT_OK;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return DLHT_ENOTFOUND;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
        errno == ENOMEM)
        return DLHT_EFULL;
    return DLHT_EIO;
}

static void addr_text(const struct sockaddr_storage *from, socklen_t len,
                      char text[PEER_ADDR_MAX])
{
    char host[PEER_ADDR_MAX / 2], port[16];
    if (getnameinfo((const struct sockaddr *)from, len, host, sizeof host, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(text, PEER_ADDR_MAX, "%s:%s", host, port);
}

void addr_of_peer(int fd, char text[PEER_ADDR_MAX])
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    text[0] = 0;
    if (getpeername(fd, (struct sockaddr *)&from, &len) == 0)
        addr_text(&from, len, text);
}

void addr_of_here(int fd, char text[PEER_ADDR_MAX])
{
    struct sockaddr_storage here;
    socklen_t len = sizeof here;
    text[0] = 0;
    if (getsockname(fd, (struct sockaddr *)&here, &len) == 0)
        addr_text(&here, len, text);
}

int addr_connect(const char *text, int *fd)
{
    *fd = -1;
    if (!addr_is_valid(text))
        return DLHT_EINVAL;
    if (addr_is_inproc(text))
        return inproc_connect(text + sizeof ADDR_INPROC - 1, fd);
    if (addr_is_unix(text))
        return addr_connect_path(text, fd);
    struct addrinfo *list;
    int s, rc = addr_resolve(text, 0, &list);
    if (rc != DLHT_OK)
        return rc;
    rc = addr_socket(list->ai_family, &s);
    if (rc == DLHT_OK) {
        addr_tune(s);
        rc = addr_dialled(s, list->ai_addr, list->ai_addrlen, fd);
    }
    freeaddrinfo(list);
    return rc;
}

bool addr_connected(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
           error == 0;
}
