/* SPDX-License-Identifier: Apache-2.0 */

/* net/addr.h - where somebody listens: "HOST:PORT", "[IPV6]:PORT",
 * "unix:PATH" on this machine, or "inproc:NAME" inside this process.
 *
 * Descriptors made here are non-blocking and closed on exec; TCP ones send
 * without delay and notice a dead other side by keep-alive. Who may connect
 * to a PATH is decided by its directory and, when it is made, the umask. */

#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/must_use.h"
#include "chord/swim.h" /* PEER_ADDR_MAX */

/* Of the form above and shorter than PEER_ADDR_MAX; says nothing about whether
 * the host exists. */
bool addr_is_valid(const char *text);
bool addr_is_inproc(const char *text);
/* Valid, and peers may reach each other there: not a PATH. */
bool addr_is_of_peer(const char *text);
/* Known without asking who has a name, which may take long. */
bool addr_is_numeric(const char *text);
/* What it listens on; 0: it has none, or none that is one. */
uint16_t addr_port(const char *text);
/* Listens on all interfaces: nobody can connect to it by this name. */
bool addr_is_wildcard(const char *text);

/* bound is the address with the true port where 0 was asked. A socket at PATH
 * that nobody listens on any more is replaced, another file never.
 *   DLHT_EINVAL  not an address of this machine, or PATH cannot be made
 *   DLHT_EBUSY   in use
 *   DLHT_EIO, DLHT_ENOMEM */
MUST_USE int addr_listen(const char *text, char bound[PEER_ADDR_MAX], int *fd);
/* Also takes the socket at PATH away. */
void addr_unlisten(const char *text, int fd);

/* text is what listen_fd listens on.
 *   DLHT_ENOTFOUND  nobody waits
 *   DLHT_EFULL      no descriptors left
 *   DLHT_EIO        this one failed, the next may not */
MUST_USE int addr_accept(const char *text, int listen_fd, int *fd);

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
