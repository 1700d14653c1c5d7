/* SPDX-License-Identifier: Apache-2.0 */

/* get and put in dlht's own frames: what lies elsewhere than where it is asked
 * for is fetched by that node. The codec makes the forms and reads the
 * answers. */

#include "base/hash.h"
#include "dlht/err.h"
#include "load.h"

enum {
    STREAM_AT = 8,
    CHECKSUM_AT = 12
};

static void pack(const struct message *message, struct buf *out)
{
    if (codec_pack(message, out) != DLHT_OK)
        load_die("no memory");
}

static void native_hello(struct load *load, struct load_connection *c)
{
    struct message hello = { .type = MESSAGE_HELLO };
    (void)load;
    hello.u.hello.version = WIRE_VERSION;
    hello.u.hello.kind = HELLO_CLIENT;
    hello.u.hello.peer = id_random(&load->draw.rng);
    pack(&hello, &c->out);
    c->greeting = true;
}

static size_t find(const struct buf *in, size_t from, const void *what,
                   size_t len)
{
    const uint8_t *at = memmem(in->data + from, in->len - from, what, len);
    if (!at)
        load_die("a frame without its key or value");
    return (size_t)(at - in->data);
}

static void native_make(const struct load *load, enum load_kind kind,
                        struct load_form *form)
{
    static uint8_t value[LOAD_VALUE_MAX];
    uint8_t key[LOAD_KEY_MAX];
    const struct load_options *options = load->options;
    struct message message = { .type = MESSAGE_REQUEST };
    struct request *request = &message.u.request;
    load_key_form(key, options->key_size);
    memset(value, 'v', options->value_size);
    request->op = kind == LOAD_GET ? OP_GET : OP_PUT;
    request->key = span_of(key, options->key_size);
    if (options->keyspace)
        request->keyspace_name = span_str(options->keyspace);
    if (kind == LOAD_SET)
        request->value = span_of(value, options->value_size);
    pack(&message, &form->bytes);
    form->key_at =
        find(&form->bytes, FRAME_HEADER_BYTES, key, options->key_size);
    if (kind == LOAD_SET)
        form->value_at = find(&form->bytes, form->key_at + options->key_size,
                              value, options->value_size);
}

static void write_u32(uint8_t *to, uint32_t n)
{
    for (int i = 3; i >= 0; i--, n >>= 8)
        to[i] = (uint8_t)n;
}

static void native_stamp(uint8_t *request, const struct load_form *form,
                         uint32_t id)
{
    write_u32(request + STREAM_AT, id);
    struct span head = span_of(request, CHECKSUM_AT);
    struct span body = span_of(request + FRAME_HEADER_BYTES,
                               form->bytes.len - FRAME_HEADER_BYTES);
    uint64_t sum = hash64_seeded(body, hash64(head));
    write_u32(request + CHECKSUM_AT, (uint32_t)sum);
}

static enum load_answer broken(struct load_reply *reply, const char *why)
{
    reply->bytes = span_str(why);
    return LOAD_BROKEN;
}

static enum load_answer answer_of(const struct response *response,
                                  struct load_reply *reply)
{
    if (response->status == DLHT_ENOTFOUND)
        return LOAD_MISS;
    if (response->status != DLHT_OK) {
        reply->bytes = response->text.len
                           ? response->text
                           : span_str(dlht_strerror(response->status));
        return LOAD_REFUSED;
    }
    reply->bytes = response->value;
    return response->value.len ? LOAD_VALUE : LOAD_STORED;
}

static enum load_answer native_take(struct load_connection *c,
                                    struct span input, struct load_reply *reply)
{
    struct message message;
    size_t len;
    int rc = codec_frame(input, &len);
    if (rc == 0)
        return LOAD_MORE;
    if (rc == 1)
        rc = codec_unpack(span_of(input.data, len), &c->client->load->arena,
                          &message);
    if (rc != DLHT_OK)
        return broken(reply, dlht_strerror(rc));
    reply->used = len;
    if (c->greeting && message.type == MESSAGE_HELLO) {
        c->greeting = false;
        if (message.u.hello.status == DLHT_OK)
            return LOAD_NOTHING;
        return broken(reply, dlht_strerror(message.u.hello.status));
    }
    if (message.type != MESSAGE_RESPONSE)
        return broken(reply, "a frame that is no response");
    reply->id = message.stream;
    reply->hops = message.u.response.hops;
    return answer_of(&message.u.response, reply);
}

const struct load_protocol load_native = { .name = "native",
                                           .numbered = true,
                                           .hello = native_hello,
                                           .make = native_make,
                                           .stamp = native_stamp,
                                           .take = native_take };
