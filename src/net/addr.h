/* SPDX-License-Identifier: Apache-2.0 */

/* net/addr.h - where somebody listens: "HOST:PORT", "[IPV6]:PORT", or
 * "inproc:NAME" inside this process.
 *
 * Descriptors made here are non-blocking and closed on exec; TCP ones send
 * without delay and notice a dead other side by keep-alive. */

#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <stdbool.h>

#include "base/must_use.h"
#include "chord/swim.h" /* PEER_ADDR_MAX */

/* Of the form above and shorter than PEER_ADDR_MAX; says nothing about whether
 * the host exists. */
bool addr_is_valid(const char *text);
bool addr_is_inproc(const char *text);
/* Listens on all interfaces: nobody can connect to it by this name. */
bool addr_is_wildcard(const char *text);

/* bound is the address with the true port where 0 was asked.
 *   DLHT_EINVAL  not an address of this machine
 *   DLHT_EBUSY   in use
 *   DLHT_EIO, DLHT_ENOMEM */
MUST_USE int addr_listen(const char *text, char bound[PEER_ADDR_MAX], int *fd);
void addr_unlisten(const char *text, int fd);

/*   DLHT_ENOTFOUND  nobody waits
 *   DLHT_EFULL      no descriptors left
 *   DLHT_EIO        this one failed, the next may not */
MUST_USE int addr_accept(bool inproc, int listen_fd, int *fd);

/* Who is at the other end of a connection; empty if it cannot be told. */
void addr_of_peer(int fd, char text[PEER_ADDR_MAX]);
/* ... and at this end. */
void addr_of_here(int fd, char text[PEER_ADDR_MAX]);

/* Begins to connect; when the descriptor is writable addr_connected tells how
 * it went. A host name is looked up here, which may block (numbers do not).
 *   DLHT_EINVAL, DLHT_EUNAVAILABLE, DLHT_EIO */
MUST_USE int addr_connect(const char *text, int *fd);
bool addr_connected(int fd);

#endif
