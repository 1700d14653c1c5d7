/* SPDX-License-Identifier: Apache-2.0 */

/* The steps. */

#include "net/client_script.h"

#include <string.h>

#include "net/check.h"

void on_answer(void *context, const struct dlht_result *result)
{
    struct outcome *o = context;
    o->count++;
    o->status = result->status;
    o->value_len = result->value.len;
    CHECK(result->text != NULL);
}

static void submit_any(struct client *c, struct dlht_request *q,
                       const char *key, struct outcome *o)
{
    q->key = (struct dlht_bytes){ key, strlen(key) };
    CHECK_EQ(client_submit(c, q, on_answer, o), DLHT_OK);
}

void submit(struct client *c, enum dlht_op op, uint32_t timeout_ms,
            struct outcome *o)
{
    struct dlht_request q = { .op = op, .timeout_ms = timeout_ms };
    submit_any(c, &q, "key", o);
}

void submit_key(struct client *c, enum dlht_op op, const char *key,
                struct outcome *o)
{
    struct dlht_request q = { .op = op };
    submit_any(c, &q, key, o);
}

struct raw serve(int listen_fd, struct client *c, int32_t status)
{
    return serve_as(listen_fd, c, status, 1);
}

struct raw serve_as(int listen_fd, struct client *c, int32_t status,
                    uint8_t peer)
{
    return serve_of(listen_fd, c, status, peer, 9);
}

struct raw serve_of(int listen_fd, struct client *c, int32_t status,
                    uint8_t peer, uint8_t cluster)
{
    while (!raw_wait(listen_fd, 0))
        client_poll(c, 5);
    struct raw raw = { .fd = raw_accept(listen_fd) };
    while (!raw_wait(raw.fd, 0))
        client_poll(c, 5);
    CHECK(raw_receive(&raw, 1000));
    CHECK_EQ(raw.message.type, MESSAGE_HELLO);
    CHECK_EQ(raw.message.u.hello.kind, HELLO_CLIENT);
    CHECK(!id_is_zero(&raw.message.u.hello.peer));
    struct message m = { .type = MESSAGE_HELLO };
    m.u.hello = (struct hello){ .version = WIRE_VERSION,
                                .kind = HELLO_PEER,
                                .status = status };
    m.u.hello.peer.bytes[0] = peer;
    m.u.hello.cluster.bytes[0] = cluster;
    m.u.hello.addr = span_str("127.0.0.1:1");
    CHECK(raw_say(&raw, &m));
    return raw;
}

struct request next_request(struct raw *raw, struct client *c)
{
    for (int i = 0; i < 1000; i++) {
        client_poll(c, 0);
        if (raw_receive(raw, 2))
            break;
    }
    CHECK_EQ(raw->message.type, MESSAGE_REQUEST);
    return raw->message.u.request;
}

void answer_with(struct raw *raw, struct client *c, uint32_t stream,
                 const struct response *response)
{
    struct message m = { .type = MESSAGE_RESPONSE, .stream = stream };
    m.u.response = *response;
    CHECK(raw_say(raw, &m));
    client_poll(c, 20);
}

void answer(struct raw *raw, struct client *c, uint32_t stream, int32_t status)
{
    struct response response = { .status = status, .value = span_str("value") };
    answer_with(raw, c, stream, &response);
}
