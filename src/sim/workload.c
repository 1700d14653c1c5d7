/* SPDX-License-Identifier: Apache-2.0 */

/* Clients of the simulated cluster. */

#include "sim/workload.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "wire/mp.h"

enum {
    MULTI_MAX = 8,       /* keys of one mget or batch */
    LOAD_BATCH = 64,     /* keys of a batch of the load */
    PAGE_LIMIT_MAX = 40, /* records of one page */
    PEERS_ASKED_MAX = 50 /* at the end of a verification */
};

/* In which every peer of a whole cluster finds the owner of a key. */
static const uint64_t FIND_NS = 10 * WORLD_S;

/* What the client does that loads or verifies. */
enum script_step {
    SCRIPT_NONE,
    SCRIPT_LOAD,
    SCRIPT_UP,    /* the whole range upwards */
    SCRIPT_DOWN,  /* downwards */
    SCRIPT_COUNT, /* counted */
    SCRIPT_READ,  /* key by key */
    SCRIPT_PEERS  /* one key, from each peer */
};

struct script {
    enum script_step step;
    size_t at;                      /* key, or peer */
    uint64_t up, down, count, read; /* records found */
};

/* What a client is asking for. */
struct ask {
    struct request request; /* spans point to what follows, or to keys */
    size_t keys[LOAD_BATCH];
    size_t key_count;
    uint64_t values[LOAD_BATCH]; /* ids */
    struct buf bytes;            /* the value, or the list */
    struct buf cursor;           /* of a range */
    uint64_t expected;           /* CAS */
};

struct client {
    struct workload *workload;
    uint32_t index;
    struct id session;
    uint64_t number;
    struct ask ask;
    bool open;
    bool maybe;       /* an attempt was lost: it may have taken effect */
    uint64_t attempt; /* all attempts of this client so far */
    uint64_t call_ns;
    uint64_t deadline_ns;
    uint64_t success_ns;
    size_t peer;
    struct script script; /* of the client that loads or verifies */
};

struct workload {
    struct world *world;
    struct workload_config config;
    struct rng rng;
    struct history *history;
    uint64_t *versions; /* last seen of each key, for cas */
    size_t *hot;
    struct client *clients;
    size_t open_count;
    bool running;
    struct workload_stats stats;
};

void workload_config_default(struct workload_config *config)
{
    *config = (struct workload_config){ .client_count = 6,
                                        .key_count = 24,
                                        .hot_count = 5,
                                        .think_ns = 150 * WORLD_MS,
                                        .timeout_ms = 5000,
                                        .value_len_max = 100,
                                        .put = 30,
                                        .get = 35,
                                        .del = 8,
                                        .cas = 12,
                                        .mget = 4,
                                        .batch = 4,
                                        .range = 5,
                                        .count = 2,
                                        .strict = 0.1,
                                        .all = 0.05 };
}

static void attempt(struct client *client);
static void think(struct client *client);

/* Making requests. */

static size_t draw_key(struct workload *w)
{
    if (w->config.hot_count && rng_chance(&w->rng, 0.75))
        return w->hot[rng_below(&w->rng, w->config.hot_count)];
    return (size_t)rng_below(&w->rng, history_key_count(w->history));
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
    if (rng_chance(&w->rng, 0.3))
        from = 0;
    else
        r->key = history_key(w->history, from);
    if (to < count && rng_chance(&w->rng, 0.7)) {
        r->end = history_key(w->history, to);
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

static bool is_write(uint8_t op)
{
    return op == OP_PUT || op == OP_DEL || op == OP_CAS || op == OP_BATCH;
}

static void reset_ask(struct client *client, enum op op)
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
    if (is_write(r->op) && rng_chance(&w->rng, w->config.all))
        r->flags |= REQUEST_ALL;
    if (!is_write(r->op) && rng_chance(&w->rng, w->config.strict))
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

static void make_request(struct client *client)
{
    enum op op = draw_op(client->workload);
    reset_ask(client, op);
    if (op == OP_MGET || op == OP_BATCH)
        make_multi(client);
    else if (op == OP_RANGE || op == OP_COUNT)
        make_range(client);
    else
        make_single(client, op);
    set_flags(client);
}

/* Remembering answers. */

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

static void note_write(struct client *client, uint8_t outcome, uint64_t version)
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

static void note_absent(struct client *client, size_t key)
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
        world_fail(w->world, "range_tiles",
                   "client %u.%llu is given a key that nobody put",
                   (unsigned)client->index, (unsigned long long)client->number);
        return false;
    }
    return true;
}

static void note_mget(struct client *client, const struct response *response)
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
            note_absent(client, ask->keys[k]);
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
    size_t lo = history_key_at(w->history, q->key);
    size_t hi =
        q->flags & REQUEST_HAS_END ? history_key_at(w->history, q->end) : count;
    if (response->more && down)
        lo = history_key_at(w->history, response->cursor);
    else if (response->more)
        hi = history_key_at(w->history, response->cursor);
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
            note_absent(client, lo++);
        while (down && hi > t.index + 1)
            note_absent(client, --hi);
        note_read(client, t.index, t.value, t.version);
        if (down)
            hi--;
        else
            lo++;
    }
    for (; lo < hi; lo++)
        note_absent(client, lo);
}

static void note_done(struct client *client, const struct response *response)
{
    switch (client->ask.request.op) {
    case OP_GET:
        note_read(client, client->ask.keys[0], response->value,
                  response->version);
        break;
    case OP_MGET:
        note_mget(client, response);
        break;
    case OP_RANGE:
        note_page(client, response);
        break;
    case OP_COUNT:
        break;
    default:
        note_write(client, LINEAR_DONE, response->version);
        break;
    }
}

/* The end of a request. */

static void count_success(struct client *client)
{
    struct workload *w = client->workload;
    uint64_t now = world_now_ns(w->world);
    if (now - client->success_ns > w->stats.longest_ns)
        w->stats.longest_ns = now - client->success_ns;
    client->success_ns = now;
    w->stats.done++;
}

static void close_request(struct client *client)
{
    client->open = false;
    client->workload->open_count--;
}

/* In a whole cluster every peer finds the owner of a key. */
static void check_pinned(struct client *client)
{
    if (client->script.step == SCRIPT_PEERS)
        world_fail(client->workload->world, "A10_answered",
                   "n%zu finds nobody to answer a get, with all whole and "
                   "nothing wrong",
                   client->script.at);
}

static void give_up(struct client *client)
{
    struct workload *w = client->workload;
    check_pinned(client);
    if (is_write(client->ask.request.op)) {
        note_write(client, LINEAR_UNKNOWN, 0);
        w->stats.unknown++;
    } else {
        w->stats.failed++;
    }
    close_request(client);
    think(client);
}

static void script_note(struct client *client, const struct response *response);
/* What a script wants next; false: it has ended. */
static bool next_of_script(struct client *client);
static void ask_keys(struct client *client, enum op op, size_t first);

static bool next_page(struct client *client, const struct response *response)
{
    struct ask *ask = &client->ask;
    struct request *r = &ask->request;
    if (r->op != OP_RANGE || !response->more)
        return false;
    struct buf cursor = { 0 };
    buf_append_span(&cursor, response->cursor);
    buf_deinit(&ask->cursor);
    ask->cursor = cursor;
    if (r->flags & REQUEST_REVERSE) {
        r->end = buf_span(&ask->cursor);
        r->flags |= REQUEST_HAS_END;
    } else {
        r->key = buf_span(&ask->cursor);
    }
    client->number++;
    return true;
}

static void begin_request(struct client *client)
{
    struct workload *w = client->workload;
    client->open = true;
    client->maybe = false;
    w->open_count++;
    client->call_ns = world_now_ns(w->world);
    uint64_t wait_ns = w->config.timeout_ms * WORLD_MS;
    if (client->script.step == SCRIPT_PEERS && wait_ns < FIND_NS)
        wait_ns = FIND_NS;
    client->deadline_ns = client->call_ns + wait_ns;
    struct request *r = &client->ask.request;
    r->session = client->session;
    r->number = client->number;
    r->lowest_open = client->number;
    if (r->op == OP_MGET || r->op == OP_BATCH)
        r->list = buf_span(&client->ask.bytes);
    else if (r->op == OP_PUT || r->op == OP_CAS)
        r->value = buf_span(&client->ask.bytes);
    attempt(client);
}

static void finish(struct client *client, const struct response *response)
{
    count_success(client);
    close_request(client);
    if (client->script.step != SCRIPT_NONE) {
        script_note(client, response);
        if (next_page(client, response) || next_of_script(client))
            begin_request(client);
        return;
    }
    if (client->workload->running && next_page(client, response))
        begin_request(client);
    else
        think(client);
}

static void retry(struct client *client, uint64_t delay_ns);

/* A batch that was lost is not asked for again: the records of the first
 * attempt may be stored, and a repetition is another batch. */
static bool may_repeat(const struct client *client)
{
    return client->ask.request.op != OP_BATCH;
}

/* The answer says that this attempt did nothing. */
static void refused(struct client *client, int status)
{
    struct workload *w = client->workload;
    uint64_t now = world_now_ns(w->world);
    bool again = client->script.step != SCRIPT_NONE || rng_chance(&w->rng, 0.8);
    if (now < client->deadline_ns && again) {
        retry(client, rng_range(&w->rng, 20, 300) * WORLD_MS);
        return;
    }
    if (client->maybe) {
        give_up(client);
        return;
    }
    (void)status;
    check_pinned(client);
    if (is_write(client->ask.request.op))
        note_write(client, 0, 0);
    w->stats.failed++;
    close_request(client);
    think(client);
}

static void answered(struct client *client, const struct response *response)
{
    struct workload *w = client->workload;
    uint8_t op = client->ask.request.op;
    switch (response->status) {
    case DLHT_OK:
        note_done(client, response);
        finish(client, response);
        return;
    case DLHT_ENOTFOUND:
        if (op == OP_GET)
            note_absent(client, client->ask.keys[0]);
        else if (op == OP_DEL)
            note_write(client, LINEAR_ABSENT, 0);
        else if (op == OP_MGET) /* some are missing */
            note_mget(client, response);
        else
            break;
        finish(client, response);
        return;
    case DLHT_EMISMATCH:
        if (op != OP_CAS)
            break;
        note_write(client, LINEAR_DIFFERS, response->version);
        finish(client, response);
        return;
    case DLHT_EUNKNOWN:
        client->maybe = true;
        if (may_repeat(client) &&
            world_now_ns(w->world) < client->deadline_ns &&
            rng_chance(&w->rng, 0.5))
            retry(client, rng_range(&w->rng, 1, 200) * WORLD_MS);
        else
            give_up(client);
        return;
    case DLHT_EUNAVAILABLE:
    case DLHT_EBUSY:
    case DLHT_EFULL:
    case DLHT_ETIMEOUT:
    case DLHT_ENOTOWNER:
    case DLHT_ENOKEYSPACE:
    case DLHT_ECLOSED:
    case DLHT_ESTALE:
        refused(client, response->status);
        return;
    default:
        break;
    }
    world_fail(w->world, "reply_fits", "client %u.%llu, op %u, is answered %s",
               (unsigned)client->index, (unsigned long long)client->number,
               (unsigned)op, dlht_errname(response->status));
}

/* argument: the attempt. */
static void on_reply(void *context, uint64_t argument,
                     const struct response *response)
{
    struct client *client = context;
    struct workload *w = client->workload;
    if (!client->open || argument != client->attempt)
        return; /* it did not wait for that one */
    client->attempt++;
    if (response) {
        if (world_is_traced(w->world))
            world_trace(w->world, "c%u.%llu answered by n%zu: %s, version %llu",
                        (unsigned)client->index,
                        (unsigned long long)client->number, client->peer,
                        dlht_errname(response->status),
                        (unsigned long long)response->version);
        answered(client, response);
        return;
    }
    client->maybe = true;
    if (may_repeat(client))
        retry(client, rng_range(&w->rng, 1, 100) * WORLD_MS);
    else
        give_up(client);
}

static void on_patience_ends(void *context, uint64_t argument)
{
    struct client *client = context;
    if (!client->open || argument != client->attempt)
        return;
    client->attempt++;
    client->maybe = true;
    give_up(client);
}

static void on_retry(void *context, uint64_t argument)
{
    struct client *client = context;
    if (client->open && argument == client->attempt)
        attempt(client);
}

static void retry(struct client *client, uint64_t delay_ns)
{
    struct workload *w = client->workload;
    w->stats.retries++;
    client->peer = SIZE_MAX;
    world_after(w->world, delay_ns, on_retry, client, client->attempt);
}

static size_t choose_peer(struct client *client)
{
    struct workload *w = client->workload;
    size_t count = world_peer_count(w->world), up = 0;
    if (client->script.step == SCRIPT_PEERS)
        return client->script.at;
    if (client->peer != SIZE_MAX && world_is_ready(w->world, client->peer) &&
        rng_chance(&w->rng, 0.8))
        return client->peer;
    for (size_t i = 0; i < count; i++)
        up += world_is_ready(w->world, i);
    if (up == 0)
        return SIZE_MAX;
    size_t skip = (size_t)rng_below(&w->rng, up);
    for (size_t i = 0; i < count; i++) {
        if (world_is_ready(w->world, i) && skip-- == 0)
            return i;
    }
    return SIZE_MAX;
}

static void attempt(struct client *client)
{
    struct workload *w = client->workload;
    uint64_t now = world_now_ns(w->world);
    if (now >= client->deadline_ns) {
        client->attempt++;
        if (client->maybe)
            give_up(client);
        else
            refused(client, DLHT_ETIMEOUT);
        return;
    }
    client->peer = choose_peer(client);
    if (client->peer == SIZE_MAX) {
        retry(client, 200 * WORLD_MS);
        return;
    }
    struct request *r = &client->ask.request;
    r->timeout_ms = (uint32_t)((client->deadline_ns - now) / WORLD_MS + 1);
    client->attempt++;
    if (world_is_traced(w->world))
        world_trace(w->world, "c%u.%llu op %u key %.*s asks n%zu",
                    (unsigned)client->index, (unsigned long long)client->number,
                    (unsigned)r->op, (int)r->key.len,
                    r->key.len ? (const char *)r->key.data : "", client->peer);
    int rc = world_request(w->world, client->peer, r, on_reply, client,
                           client->attempt);
    if (rc != DLHT_OK)
        world_fail(w->world, "codec", "a request does not pack: %s",
                   dlht_errname(rc));
    /* Nodes answer in time; if one does not, the client goes on. */
    world_after(w->world, client->deadline_ns - now + WORLD_S, on_patience_ends,
                client, client->attempt);
}

static void on_thought(void *context, uint64_t argument)
{
    struct client *client = context;
    (void)argument;
    if (!client->workload->running || client->open)
        return;
    make_request(client);
    begin_request(client);
}

static void think(struct client *client)
{
    struct workload *w = client->workload;
    if (client->script.step != SCRIPT_NONE) {
        /* A script does not let go: it asks again under a new number, and
         * writes new values, since each is written once. */
        if (client->script.step == SCRIPT_LOAD)
            ask_keys(client, OP_BATCH, client->script.at);
        else
            client->number++;
        begin_request(client);
        return;
    }
    if (!w->running)
        return;
    uint64_t ns = rng_range(&w->rng, 0, 2 * w->config.think_ns);
    world_after(w->world, ns, on_thought, client, 0);
}

/* Scripts. */

static void ask_whole_range(struct client *client, bool down)
{
    reset_ask(client, OP_RANGE);
    if (down)
        client->ask.request.flags |= REQUEST_REVERSE;
}

static void ask_keys(struct client *client, enum op op, size_t first)
{
    struct workload *w = client->workload;
    size_t count = history_key_count(w->history);
    reset_ask(client, op);
    for (size_t key = first; key < count && key < first + LOAD_BATCH; key++) {
        if (op == OP_BATCH) {
            make_value(client, key);
            continue;
        }
        client->ask.keys[client->ask.key_count++] = key;
        mp_write_bin(&client->ask.bytes, history_key(w->history, key));
        client->ask.request.list_count++;
    }
}

/* The answers of a verification must agree with each other. */
static void script_note(struct client *client, const struct response *response)
{
    struct script *s = &client->script;
    uint64_t *sum = NULL;
    if (s->step == SCRIPT_UP)
        sum = &s->up;
    else if (s->step == SCRIPT_DOWN)
        sum = &s->down;
    else if (s->step == SCRIPT_READ)
        sum = &s->read;
    if (sum)
        *sum += response->list_count;
    if (s->step == SCRIPT_COUNT)
        s->count = response->count;
}

static void script_end(struct client *client)
{
    struct script *s = &client->script;
    if (s->step == SCRIPT_READ &&
        (s->up != s->down || s->up != s->count || s->up != s->read))
        world_fail(client->workload->world, "range_tiles",
                   "with nobody writing there are %llu keys upwards, %llu "
                   "downwards, %llu counted, %llu by key",
                   (unsigned long long)s->up, (unsigned long long)s->down,
                   (unsigned long long)s->count, (unsigned long long)s->read);
    s->step = s->step == SCRIPT_READ ? SCRIPT_PEERS : SCRIPT_NONE;
    s->at = 0;
}

/* False: all were asked. */
static bool ask_next_peer(struct client *client)
{
    struct workload *w = client->workload;
    struct script *s = &client->script;
    size_t count = world_peer_count(w->world);
    if (count > PEERS_ASKED_MAX)
        count = PEERS_ASKED_MAX;
    while (s->at < count && !world_is_ready(w->world, s->at))
        s->at++;
    if (s->at >= count) {
        s->step = SCRIPT_NONE;
        return false;
    }
    size_t key = (size_t)rng_below(&w->rng, history_key_count(w->history));
    reset_ask(client, OP_GET);
    client->ask.request.key = history_key(w->history, key);
    client->ask.keys[client->ask.key_count++] = key;
    return true;
}

static bool next_of_script(struct client *client)
{
    struct script *s = &client->script;
    size_t count = history_key_count(client->workload->history);
    switch (s->step) {
    case SCRIPT_PEERS:
        s->at++;
        return ask_next_peer(client);
    case SCRIPT_LOAD:
    case SCRIPT_READ:
        s->at += LOAD_BATCH;
        if (s->at >= count) {
            script_end(client);
            return s->step == SCRIPT_PEERS && ask_next_peer(client);
        }
        ask_keys(client, s->step == SCRIPT_LOAD ? OP_BATCH : OP_MGET, s->at);
        return true;
    case SCRIPT_UP:
        s->step = SCRIPT_DOWN;
        ask_whole_range(client, true);
        return true;
    case SCRIPT_DOWN:
        s->step = SCRIPT_COUNT;
        reset_ask(client, OP_COUNT);
        return true;
    case SCRIPT_COUNT:
        s->step = SCRIPT_READ;
        s->at = 0;
        ask_keys(client, OP_MGET, 0);
        return true;
    case SCRIPT_NONE:
        break;
    }
    return false;
}

void workload_load(struct workload *w)
{
    struct client *client = &w->clients[0];
    assert(!client->open);
    client->script = (struct script){ .step = SCRIPT_LOAD };
    ask_keys(client, OP_BATCH, 0);
    begin_request(client);
}

void workload_verify(struct workload *w)
{
    struct client *client = &w->clients[0];
    assert(!client->open && !w->running);
    client->script = (struct script){ .step = SCRIPT_UP };
    ask_whole_range(client, false);
    begin_request(client);
}

/* Life. */

static void *need(void *memory)
{
    if (!memory) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    return memory;
}

struct workload *workload_new(struct world *world,
                              const struct workload_config *config)
{
    struct workload *w = need(mem_zero(1, sizeof *w));
    w->world = world;
    w->config = *config;
    rng_init(&w->rng, config->seed);
    w->history = history_new(rng_next(&w->rng), config->key_count);
    w->versions = need(mem_zero(config->key_count, sizeof *w->versions));
    if (w->config.hot_count > config->key_count)
        w->config.hot_count = config->key_count;
    w->hot = need(mem_zero(w->config.hot_count, sizeof *w->hot));
    for (size_t i = 0; i < w->config.hot_count; i++)
        w->hot[i] = (size_t)rng_below(&w->rng, config->key_count);
    w->clients = need(mem_zero(config->client_count, sizeof *w->clients));
    for (size_t i = 0; i < config->client_count; i++) {
        w->clients[i].workload = w;
        w->clients[i].index = (uint32_t)i;
        w->clients[i].session = id_random(&w->rng);
        w->clients[i].peer = SIZE_MAX;
    }
    return w;
}

void workload_free(struct workload *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->config.client_count; i++) {
        buf_deinit(&w->clients[i].ask.bytes);
        buf_deinit(&w->clients[i].ask.cursor);
    }
    history_free(w->history);
    free(w->versions);
    free(w->hot);
    free(w->clients);
    free(w);
}

void workload_start(struct workload *w)
{
    w->running = true;
    for (size_t i = 0; i < w->config.client_count; i++) {
        w->clients[i].success_ns = world_now_ns(w->world);
        if (!w->clients[i].open)
            think(&w->clients[i]);
    }
}

void workload_stop(struct workload *w)
{
    w->running = false;
}

bool workload_is_idle(const struct workload *w)
{
    return w->open_count == 0;
}

void workload_stats(const struct workload *w, struct workload_stats *out)
{
    *out = w->stats;
}

struct history *workload_history(struct workload *w)
{
    return w->history;
}
