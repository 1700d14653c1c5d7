/* SPDX-License-Identifier: Apache-2.0 */

/* net/inproc.h - named listeners that only this process can reach.
 *
 * A link is a pair of connected descriptors made on the spot: order, room,
 * readiness and end behave as on a socket, so everything above is the same
 * code, and no port, name or file exists that a stranger could find. Any
 * thread. */

#ifndef NET_INPROC_H
#define NET_INPROC_H

#include "base/must_use.h"

enum {
    INPROC_NAME_MAX = 56 /* bytes, its end included */
};

/* *fd becomes readable when somebody connects.
 *   DLHT_EBUSY  the name is taken; DLHT_EINVAL, DLHT_EIO, DLHT_ENOMEM */
MUST_USE int inproc_listen(const char *name, int *fd);

/* The next link, non-blocking. DLHT_ENOTFOUND: none waits. */
MUST_USE int inproc_accept(int listen_fd, int *fd);

/* Frees the name; links that nobody accepted are closed. */
void inproc_unlisten(int listen_fd);

/*   DLHT_EUNAVAILABLE  nobody listens there, or too many wait
 *   DLHT_EIO */
MUST_USE int inproc_connect(const char *name, int *fd);

#endif
