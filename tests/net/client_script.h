/* SPDX-License-Identifier: Apache-2.0 */

/* net/client_script.h - a node played by hand to a client in the same thread:
 * each step drives the client until it has done its part. */

#ifndef TESTS_NET_CLIENT_SCRIPT_H
#define TESTS_NET_CLIENT_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

#include "net/client.h"
#include "net/raw.h"

/* What became of requests. */
struct outcome {
    int count;
    int status; /* of the last */
    size_t value_len;
};

/* One with the key "key". */
void submit(struct client *c, enum dlht_op op, uint32_t timeout_ms,
            struct outcome *o);
void submit_key(struct client *c, enum dlht_op op, const char *key,
                struct outcome *o);
void on_answer(void *context, const struct dlht_result *result);

/* Takes the client's connection and greets it as the peer of that id, of that
 * cluster. */
struct raw serve(int listen_fd, struct client *c, int32_t status);
struct raw serve_as(int listen_fd, struct client *c, int32_t status,
                    uint8_t peer);
struct raw serve_of(int listen_fd, struct client *c, int32_t status,
                    uint8_t peer, uint8_t cluster);

/* The next request that the client sends. */
struct request next_request(struct raw *raw, struct client *c);

/* Says so, and lets the client hear it. */
void answer(struct raw *raw, struct client *c, uint32_t stream, int32_t status);
void answer_with(struct raw *raw, struct client *c, uint32_t stream,
                 const struct response *response);

#endif
