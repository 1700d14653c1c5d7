/* SPDX-License-Identifier: Apache-2.0 */

/* Remembering answers; what none may say at all fails the world. */

#include "sim/workload_inner.h"
#include "wire/mp.h"

static struct linear_op begin_op(const struct client *client, uint8_t kind,
                                 uint8_t outcome)
{
    struct linear_op op = { .call_ns = client->call_ns,
                            .return_ns = world_now_ns(client->workload->world),
                            .kind = kind,
                            .outcome = outcome,
                            .client = client->index,
                            .number = client->number };
    return op;
}

void workload_note_write(struct client *client, uint8_t outcome,
                         uint64_t version)
{
    static const uint8_t KINDS[] = { [OP_PUT] = LINEAR_PUT,
                                     [OP_DEL] = LINEAR_DEL,
                                     [OP_CAS] = LINEAR_CAS,
                                     [OP_BATCH] = LINEAR_PUT };
    struct workload *w = client->workload;
    const struct ask *ask = &client->ask;
    for (size_t i = 0; i < ask->key_count; i++) {
        struct linear_op op = begin_op(client, KINDS[ask->request.op], outcome);
        if (ask->request.op != OP_DEL)
            op.value = ask->values[i];
        op.expected = ask->request.version;
        if (ask->request.op == OP_PUT || ask->request.op == OP_CAS)
            op.version = version;
        if (version != 0)
            w->versions[ask->keys[i]] = version;
        history_add(w->history, ask->keys[i], &op);
    }
}

static void note_read(struct client *client, size_t key, struct span value,
                      uint64_t version)
{
    struct workload *w = client->workload;
    struct linear_op op = begin_op(client, LINEAR_GET, LINEAR_DONE);
    op.value = history_value_id(value, key);
    op.version = version;
    if (op.value == 0 || version == 0)
        world_fail(w->world, "value_whole",
                   "client %u.%llu reads a damaged value of key %zu",
                   (unsigned)client->index, (unsigned long long)client->number,
                   key);
    w->versions[key] = version;
    history_add(w->history, key, &op);
}

void workload_note_absent(struct client *client, size_t key)
{
    struct linear_op op = begin_op(client, LINEAR_GET, LINEAR_ABSENT);
    history_add(client->workload->history, key, &op);
}

struct triple {
    struct span key, value;
    uint64_t version;
    size_t index;
};

static bool next_triple(struct client *client, struct mp_reader *r,
                        struct triple *out)
{
    struct workload *w = client->workload;
    out->key = mp_read_bytes(r);
    out->value = mp_read_bytes(r);
    out->version = mp_read_uint(r);
    out->index = history_find(w->history, out->key);
    if (r->bad || out->index == SIZE_MAX) {
        world_fail(
            w->world, "range_tiles",
            "client %u.%llu is given a key of %zu bytes that nobody put, "
            "%.*s",
            (unsigned)client->index, (unsigned long long)client->number,
            out->key.len, (int)out->key.len,
            out->key.len ? (const char *)out->key.data : "");
        return false;
    }
    return true;
}

void workload_note_mget(struct client *client, const struct response *response)
{
    const struct ask *ask = &client->ask;
    bool seen[MULTI_MAX > LOAD_BATCH ? MULTI_MAX : LOAD_BATCH] = { false };
    struct mp_reader r;
    mp_reader_init(&r, response->list);
    for (uint32_t i = 0; i < response->list_count; i++) {
        struct triple t;
        if (!next_triple(client, &r, &t))
            return;
        size_t k = 0;
        while (k < ask->key_count && ask->keys[k] != t.index)
            k++;
        if (k == ask->key_count || seen[k]) {
            world_fail(client->workload->world, "mget_asked",
                       "client %u.%llu is given a key twice or unasked",
                       (unsigned)client->index,
                       (unsigned long long)client->number);
            return;
        }
        seen[k] = true;
        note_read(client, t.index, t.value, t.version);
    }
    for (size_t k = 0; k < ask->key_count; k++) {
        if (!seen[k])
            workload_note_absent(client, ask->keys[k]);
    }
}

/* Every key that the page covers and does not have is absent; what it has is
 * in order. Indices of keys, so a page downwards is walked from its end. */
static void note_page(struct client *client, const struct response *response)
{
    struct workload *w = client->workload;
    const struct request *q = &client->ask.request;
    bool down = q->flags & REQUEST_REVERSE;
    size_t count = history_key_count(w->history);
    size_t lo = history_place_at(w->history, q->key);
    size_t hi = q->flags & REQUEST_HAS_END
                    ? history_place_at(w->history, q->end)
                    : count;
    if (response->more && down)
        lo = history_place_at(w->history, response->cursor);
    else if (response->more)
        hi = history_place_at(w->history, response->cursor);
    struct mp_reader r;
    mp_reader_init(&r, response->list);
    for (uint32_t i = 0; i < response->list_count; i++) {
        struct triple t;
        if (!next_triple(client, &r, &t))
            return;
        if (t.index < lo || t.index >= hi) {
            world_fail(w->world, "range_tiles",
                       "client %u.%llu: key %.*s twice, out of order or "
                       "outside of what was asked for",
                       (unsigned)client->index,
                       (unsigned long long)client->number, (int)t.key.len,
                       (const char *)t.key.data);
            return;
        }
        while (!down && lo < t.index)
            workload_note_absent(client, lo++);
        while (down && hi > t.index + 1)
            workload_note_absent(client, --hi);
        note_read(client, t.index, t.value, t.version);
        if (down)
            hi--;
        else
            lo++;
    }
    for (; lo < hi; lo++)
        workload_note_absent(client, lo);
}

void workload_note_done(struct client *client, const struct response *response)
{
    switch (client->ask.request.op) {
    case OP_GET:
        note_read(client, client->ask.keys[0], response->value,
                  response->version);
        break;
    case OP_MGET:
        workload_note_mget(client, response);
        break;
    case OP_RANGE:
        note_page(client, response);
        break;
    case OP_COUNT:
        break;
    default:
        workload_note_write(client, LINEAR_DONE, response->version);
        break;
    }
}
