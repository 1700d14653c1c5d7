/* SPDX-License-Identifier: Apache-2.0 */

/* Links inside a process: the listener's descriptor is one end of a datagram
 * pair on which descriptor numbers travel. */

#include "net/inproc.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dlht/err.h"

struct inproc_name {
    struct inproc_name *next;
    int listen_fd;
    int post_fd;
    char name[INPROC_NAME_MAX];
};

static pthread_mutex_t inproc_lock = PTHREAD_MUTEX_INITIALIZER;
static struct inproc_name *inproc_names; /* under inproc_lock */

static struct inproc_name *inproc_find(const char *name)
{
    struct inproc_name *n = inproc_names;
    while (n && strcmp(n->name, name) != 0)
        n = n->next;
    return n;
}

static int inproc_add(const char *name, int *fd)
{
    if (inproc_find(name))
        return DLHT_EBUSY;
    struct inproc_name *n = calloc(1, sizeof *n);
    if (!n)
        return DLHT_ENOMEM;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   pair) != 0) {
        free(n);
        return DLHT_EIO;
    }
    n->listen_fd = pair[0];
    n->post_fd = pair[1];
    memcpy(n->name, name, strlen(name) + 1);
    n->next = inproc_names;
    inproc_names = n;
    *fd = pair[0];
    return DLHT_OK;
}

int inproc_listen(const char *name, int *fd)
{
    *fd = -1;
    if (!name[0] || strlen(name) >= INPROC_NAME_MAX)
        return DLHT_EINVAL;
    pthread_mutex_lock(&inproc_lock);
    int rc = inproc_add(name, fd);
    pthread_mutex_unlock(&inproc_lock);
    return rc;
}

int inproc_accept(int listen_fd, int *fd)
{
    *fd = -1;
    int other;
    if (recv(listen_fd, &other, sizeof other, MSG_DONTWAIT) != sizeof other)
        return DLHT_ENOTFOUND;
    *fd = other;
    return DLHT_OK;
}

void inproc_unlisten(int listen_fd)
{
    pthread_mutex_lock(&inproc_lock);
    struct inproc_name **at = &inproc_names;
    while (*at && (*at)->listen_fd != listen_fd)
        at = &(*at)->next;
    struct inproc_name *gone = *at;
    if (gone)
        *at = gone->next;
    pthread_mutex_unlock(&inproc_lock);
    int fd;
    while (inproc_accept(listen_fd, &fd) == DLHT_OK)
        close(fd);
    if (gone)
        close(gone->post_fd);
    close(listen_fd);
    free(gone);
}

int inproc_connect(const char *name, int *fd)
{
    *fd = -1;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   pair) != 0)
        return DLHT_EIO;
    pthread_mutex_lock(&inproc_lock);
    const struct inproc_name *n = inproc_find(name);
    int post = n ? n->post_fd : -1;
    bool sent = post != -1 && send(post, &pair[1], sizeof pair[1],
                                   MSG_NOSIGNAL) == sizeof pair[1];
    pthread_mutex_unlock(&inproc_lock);
    if (!sent) {
        close(pair[0]);
        close(pair[1]);
        return DLHT_EUNAVAILABLE;
    }
    *fd = pair[0];
    return DLHT_OK;
}
