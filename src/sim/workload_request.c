/* SPDX-License-Identifier: Apache-2.0 */

/* What a client asks for, drawn by chance. */

#include "sim/workload_inner.h"
#include "wire/mp.h"

enum {
    PAGE_LIMIT_MAX = 40 /* records of one page */
};

static size_t draw_key(struct workload *w)
{
    if (w->config.hot_count && rng_chance(&w->rng, 0.75))
        return w->hot[rng_below(&w->rng, w->config.hot_count)];
    return (size_t)rng_below(&w->rng, w->known_count);
}

static void make_value(struct client *client, size_t key)
{
    struct workload *w = client->workload;
    struct ask *ask = &client->ask;
    uint64_t id = (uint64_t)(client->index + 1) << 40 | client->number;
    ask->values[ask->key_count] = id;
    ask->keys[ask->key_count++] = key;
    size_t len = (size_t)rng_range(&w->rng, 8, w->config.value_len_max);
    if (ask->request.op != OP_BATCH) {
        history_value(id, key, len, &ask->bytes);
        return;
    }
    mp_write_bin(&ask->bytes, history_key(w->history, key));
    mp_write_bin_header(&ask->bytes, len);
    history_value(id, key, len, &ask->bytes);
    ask->request.list_count += 2;
}

static bool is_asked(const struct ask *ask, size_t key)
{
    for (size_t i = 0; i < ask->key_count; i++) {
        if (ask->keys[i] == key)
            return true;
    }
    return false;
}

static void make_multi(struct client *client)
{
    struct workload *w = client->workload;
    struct ask *ask = &client->ask;
    size_t count = (size_t)rng_range(&w->rng, 1, MULTI_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t key = draw_key(w);
        if (is_asked(ask, key))
            continue;
        if (ask->request.op == OP_BATCH) {
            make_value(client, key);
            continue;
        }
        ask->keys[ask->key_count++] = key;
        mp_write_bin(&ask->bytes, history_key(w->history, key));
        ask->request.list_count++;
    }
}

static void make_range(struct client *client)
{
    struct workload *w = client->workload;
    struct request *r = &client->ask.request;
    size_t count = history_key_count(w->history);
    size_t from = (size_t)rng_below(&w->rng, count);
    size_t to = (size_t)rng_range(&w->rng, from, count);
    if (w->config.hashed)
        r->flags |= REQUEST_SCAN;
    if (!rng_chance(&w->rng, 0.3))
        r->key = history_place(w->history, from);
    if (to < count && rng_chance(&w->rng, 0.7)) {
        r->end = history_place(w->history, to);
        r->flags |= REQUEST_HAS_END;
    }
    if (r->op == OP_COUNT)
        return;
    if (rng_chance(&w->rng, 0.3))
        r->flags |= REQUEST_REVERSE;
    r->limit = rng_range(&w->rng, 1, PAGE_LIMIT_MAX);
}

static enum op draw_op(struct workload *w)
{
    const struct workload_config *c = &w->config;
    const struct {
        enum op op;
        uint32_t weight;
    } TABLE[] = { { OP_PUT, c->put },     { OP_GET, c->get },
                  { OP_DEL, c->del },     { OP_CAS, c->cas },
                  { OP_MGET, c->mget },   { OP_BATCH, c->batch },
                  { OP_RANGE, c->range }, { OP_COUNT, c->count } };
    uint64_t total = 0;
    for (size_t i = 0; i < 8; i++)
        total += TABLE[i].weight;
    uint64_t at = rng_below(&w->rng, total);
    for (size_t i = 0; i < 8; i++) {
        if (at < TABLE[i].weight)
            return TABLE[i].op;
        at -= TABLE[i].weight;
    }
    return OP_GET;
}

bool workload_is_write(uint8_t op)
{
    return op == OP_PUT || op == OP_DEL || op == OP_CAS || op == OP_BATCH;
}

void workload_reset(struct client *client, enum op op)
{
    struct ask *ask = &client->ask;
    buf_reset(&ask->bytes);
    buf_reset(&ask->cursor);
    ask->key_count = 0;
    ask->request = (struct request){ .op = (uint8_t)op };
    client->number++;
}

static void set_flags(struct client *client)
{
    struct workload *w = client->workload;
    struct request *r = &client->ask.request;
    if (workload_is_write(r->op) && rng_chance(&w->rng, w->config.all))
        r->flags |= REQUEST_ALL;
    if (!workload_is_write(r->op) && rng_chance(&w->rng, w->config.strict))
        r->flags |= REQUEST_STRICT;
}

static void make_single(struct client *client, enum op op)
{
    struct workload *w = client->workload;
    struct ask *ask = &client->ask;
    size_t key = draw_key(w);
    ask->request.key = history_key(w->history, key);
    if (op == OP_CAS)
        ask->request.version = rng_chance(&w->rng, 0.2) ? 0 : w->versions[key];
    if (op == OP_PUT || op == OP_CAS)
        make_value(client, key);
    else
        ask->keys[ask->key_count++] = key;
}

void workload_make(struct client *client)
{
    enum op op = draw_op(client->workload);
    workload_reset(client, op);
    if (op == OP_MGET || op == OP_BATCH)
        make_multi(client);
    else if (op == OP_RANGE || op == OP_COUNT)
        make_range(client);
    else
        make_single(client, op);
    set_flags(client);
}

void workload_ask_keys(struct client *client, enum op op, size_t first,
                       size_t end)
{
    struct workload *w = client->workload;
    workload_reset(client, op);
    for (size_t key = first; key < end && key < first + LOAD_BATCH; key++) {
        if (op == OP_BATCH) {
            make_value(client, key);
            continue;
        }
        client->ask.keys[client->ask.key_count++] = key;
        mp_write_bin(&client->ask.bytes, history_key(w->history, key));
        client->ask.request.list_count++;
    }
}
