/* SPDX-License-Identifier: Apache-2.0 */

/* GET and SET of Redis: RESP2, and what RESP3 answers to them. */

#include <stdio.h>

#include "load.h"

/* "$16\r\n" and so many bytes; where these begin. */
static size_t bulk(struct buf *out, const void *bytes, size_t len)
{
    char head[32];
    int n = snprintf(head, sizeof head, "$%zu\r\n", len);
    buf_append(out, head, (size_t)n);
    size_t at = out->len;
    buf_append(out, bytes, len);
    buf_append(out, "\r\n", 2);
    return at;
}

static void resp_hello(struct load *load, struct load_connection *c)
{
    char number[16];
    if (load->options->database < 0)
        return;
    int n = snprintf(number, sizeof number, "%d", load->options->database);
    buf_append_span(&c->out, span_str("*2\r\n$6\r\nSELECT\r\n"));
    bulk(&c->out, number, (size_t)n);
    c->greeting = true;
}

static void resp_make(const struct load *load, enum load_kind kind,
                      struct load_form *form)
{
    static uint8_t value[LOAD_VALUE_MAX];
    uint8_t key[LOAD_KEY_MAX];
    const struct load_options *options = load->options;
    load_key_form(key, options->key_size);
    buf_append_span(&form->bytes,
                    span_str(kind == LOAD_GET ? "*2\r\n$3\r\nGET\r\n"
                                              : "*3\r\n$3\r\nSET\r\n"));
    form->key_at = bulk(&form->bytes, key, options->key_size);
    if (kind == LOAD_SET) {
        memset(value, 'v', options->value_size);
        form->value_at = bulk(&form->bytes, value, options->value_size);
    }
}

/* Bytes up to the end of the line, which is not among them; no data: it is not
 * there yet. */
static struct span line(struct span input)
{
    const uint8_t *end = memchr(input.data, '\n', input.len);
    if (!end || end == input.data || end[-1] != '\r')
        return span_empty();
    return span_of(input.data, (size_t)(end - 1 - input.data));
}

static enum load_answer broken(struct load_reply *reply, const char *why)
{
    reply->bytes = span_str(why);
    return LOAD_BROKEN;
}

static enum load_answer resp_value(struct span input, struct span head,
                                   struct load_reply *reply)
{
    size_t len = 0;
    if (head.len == 3 && memcmp(head.data, "$-1", 3) == 0) {
        reply->used = 5;
        return LOAD_MISS;
    }
    if (head.len < 2 || head.len > 10)
        return broken(reply, "a length of a value that is none");
    for (size_t i = 1; i < head.len; i++) {
        if (head.data[i] < '0' || head.data[i] > '9')
            return broken(reply, "a length of a value that is none");
        len = len * 10 + (size_t)(head.data[i] - '0');
    }
    reply->used = head.len + 2 + len + 2;
    if (input.len < reply->used)
        return LOAD_MORE;
    if (memcmp(input.data + reply->used - 2, "\r\n", 2) != 0)
        return broken(reply, "a value that does not end where it should");
    reply->bytes = span_of(input.data + head.len + 2, len);
    return LOAD_VALUE;
}

static enum load_answer resp_take(struct load_connection *c, struct span input,
                                  struct load_reply *reply)
{
    struct span head = line(input);
    if (!head.data)
        return input.len < 64 << 10 ? LOAD_MORE
                                    : broken(reply, "a line without an end");
    reply->used = head.len + 2;
    if (c->greeting && head.data[0] == '+') {
        c->greeting = false;
        return LOAD_NOTHING;
    }
    switch (head.len ? head.data[0] : 0) {
    case '+':
        return head.len == 3 ? LOAD_STORED
                             : broken(reply, "a status that is not OK");
    case '$':
        return resp_value(input, head, reply);
    case '_':
        return LOAD_MISS;
    case '-':
        reply->bytes = head;
        return LOAD_REFUSED;
    default:
        return broken(reply, "what no answer to GET or SET begins with");
    }
}

const struct load_protocol load_resp = {
    .name = "resp", .hello = resp_hello, .make = resp_make, .take = resp_take
};
