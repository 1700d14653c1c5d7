/* SPDX-License-Identifier: Apache-2.0 */

/* net/raw.h - sockets and frames by hand, for tests that play a stranger. */

#ifndef TESTS_NET_RAW_H
#define TESTS_NET_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/codec.h"

/* A blocking connection to "127.0.0.1:PORT", -1 on failure. */
int raw_connect(const char *address);

/* A listener on any port of 127.0.0.1; its address in text. */
int raw_listen(char text[64]);
int raw_accept(int listen_fd);

/* All bytes, or false. */
bool raw_send(int fd, const void *data, size_t len);

/* False: the other side closed, or said nothing for timeout_ms. */
bool raw_wait(int fd, int timeout_ms);

/* Reads until the other side closes; false if it does not within timeout_ms
 * of silence. */
bool raw_is_closed(int fd, int timeout_ms);

/* A connection that speaks frames. */
struct raw {
    int fd;
    struct buf in;
    struct codec_arena arena;
    struct message message; /* valid until the next raw_receive */
    size_t last;            /* bytes of the frame that message points to */
};

bool raw_say(struct raw *raw, const struct message *message);
bool raw_receive(struct raw *raw, int timeout_ms);
/* A client's hello and its answer. */
bool raw_greet(struct raw *raw);
void raw_close(struct raw *raw);

#endif
