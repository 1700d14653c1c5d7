/* SPDX-License-Identifier: Apache-2.0 */

/* The meta commands mg and ms of memcached, which are its fast ones: its
 * classic get takes a system call for each answer. */

#include <stdio.h>

#include "load.h"

static void memcached_make(const struct load *load, enum load_kind kind,
                           struct load_form *form)
{
    static uint8_t value[LOAD_VALUE_MAX];
    uint8_t key[LOAD_KEY_MAX];
    char tail[32];
    const struct load_options *options = load->options;
    load_key_form(key, options->key_size);
    buf_append(&form->bytes, kind == LOAD_GET ? "mg " : "ms ", 3);
    form->key_at = form->bytes.len;
    buf_append(&form->bytes, key, options->key_size);
    if (kind == LOAD_GET) {
        buf_append(&form->bytes, " v\r\n", 4);
        return;
    }
    int n = snprintf(tail, sizeof tail, " %zu\r\n", options->value_size);
    buf_append(&form->bytes, tail, (size_t)n);
    form->value_at = form->bytes.len;
    memset(value, 'v', options->value_size);
    buf_append(&form->bytes, value, options->value_size);
    buf_append(&form->bytes, "\r\n", 2);
}

static enum load_answer broken(struct load_reply *reply, const char *why)
{
    reply->bytes = span_str(why);
    return LOAD_BROKEN;
}

/* "VA 64" and what stands behind it. */
static enum load_answer memcached_value(struct span input, struct span head,
                                        struct load_reply *reply)
{
    size_t len = 0, i = 3;
    while (i < head.len && i < 12 && head.data[i] >= '0' && head.data[i] <= '9')
        len = len * 10 + (size_t)(head.data[i++] - '0');
    if (i == 3 || (i < head.len && head.data[i] != ' '))
        return broken(reply, "a length of a value that is none");
    reply->used = head.len + 2 + len + 2;
    if (input.len < reply->used)
        return LOAD_MORE;
    if (memcmp(input.data + reply->used - 2, "\r\n", 2) != 0)
        return broken(reply, "a value that does not end where it should");
    reply->bytes = span_of(input.data + head.len + 2, len);
    return LOAD_VALUE;
}

static enum load_answer memcached_take(struct load_connection *c,
                                       struct span input,
                                       struct load_reply *reply)
{
    (void)c;
    const uint8_t *end = memchr(input.data, '\n', input.len);
    if (!end)
        return input.len < 64 << 10 ? LOAD_MORE
                                    : broken(reply, "a line without an end");
    struct span head = span_of(input.data, (size_t)(end - input.data));
    if (head.len < 3 || head.data[head.len - 1] != '\r')
        return broken(reply, "a line that is no answer");
    head.len--;
    reply->used = head.len + 2;
    if (memcmp(head.data, "HD", 2) == 0)
        return LOAD_STORED;
    if (memcmp(head.data, "EN", 2) == 0)
        return LOAD_MISS;
    if (span_has_prefix(head, span_str("VA ")))
        return memcached_value(input, head, reply);
    reply->bytes = head;
    if (memcmp(head.data, "NS", 2) == 0 ||
        span_has_prefix(head, span_str("SERVER_ERROR")))
        return LOAD_REFUSED;
    return LOAD_BROKEN;
}

const struct load_protocol load_memcached = { .name = "memcached",
                                              .make = memcached_make,
                                              .take = memcached_take };
