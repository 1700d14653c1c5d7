/* SPDX-License-Identifier: Apache-2.0 */

/* Clients of the simulated cluster: a request from beginning to end. */

#include "sim/workload.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "sim/workload_inner.h"

/* In which every peer of a whole cluster finds the owner of a key. */
static const uint64_t FIND_NS = 10 * WORLD_S;
/* A hashed keyspace is scanned one arc after the other, each some ways there
 * and back: a page of an empty one takes all of them. */
static const uint64_t SCAN_NS = 60 * WORLD_S;

enum {
    TIMEOUT_MS_MAX = 60000 /* of any request */
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

static void *need(void *memory)
{
    if (!memory) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    return memory;
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
    if (w->wait_count == w->wait_cap) {
        w->wait_cap = w->wait_cap ? 2 * w->wait_cap : 1024;
        w->waits = need(mem_resize(w->waits, w->wait_cap, sizeof *w->waits));
    }
    w->waits[w->wait_count++] = now - client->call_ns;
}

static int compare_waits(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

void workload_waits(struct workload *w, struct workload_waits *out)
{
    size_t n = w->wait_count;
    *out = (struct workload_waits){ .count = n };
    w->wait_count = 0;
    if (n == 0)
        return;
    qsort(w->waits, n, sizeof *w->waits, compare_waits);
    out->p50_ns = w->waits[n / 2];
    out->p99_ns = w->waits[n - 1 - n / 100];
    out->longest_ns = w->waits[n - 1];
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
    if (workload_is_write(client->ask.request.op)) {
        workload_note_write(client, LINEAR_UNKNOWN, 0);
        w->stats.unknown++;
    } else {
        w->stats.failed++;
    }
    close_request(client);
    think(client);
}

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

void workload_begin(struct client *client)
{
    struct workload *w = client->workload;
    client->open = true;
    client->maybe = false;
    w->open_count++;
    client->call_ns = world_now_ns(w->world);
    uint64_t wait_ns = w->config.timeout_ms * WORLD_MS;
    if (client->script.step == SCRIPT_PEERS && wait_ns < FIND_NS)
        wait_ns = FIND_NS;
    if (client->script.step == SCRIPT_UP || client->script.step == SCRIPT_DOWN)
        wait_ns = SCAN_NS;
    client->deadline_ns = client->call_ns + wait_ns;
    struct request *r = &client->ask.request;
    if (w->config.keyspace)
        r->keyspace_name = span_str(w->config.keyspace);
    client->bare = client->script.step == SCRIPT_NONE &&
                   client->number % 4 == 3 &&
                   (r->op == OP_PUT || r->op == OP_DEL || r->op == OP_CAS);
    r->session = client->bare ? (struct id){ { 0 } } : client->session;
    r->number = client->bare ? 0 : client->number;
    r->lowest_open = r->number;
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
        workload_script_note(client, response);
        if (next_page(client, response) || workload_script_next(client))
            workload_begin(client);
        return;
    }
    if (client->workload->running && next_page(client, response))
        workload_begin(client);
    else
        think(client);
}

static void retry(struct client *client, uint64_t delay_ns);

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
    if (workload_is_write(client->ask.request.op))
        workload_note_write(client, 0, 0);
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
        workload_note_done(client, response);
        finish(client, response);
        return;
    case DLHT_ENOTFOUND:
        if (op == OP_GET)
            workload_note_absent(client, client->ask.keys[0]);
        else if (op == OP_DEL)
            workload_note_write(client, LINEAR_ABSENT, 0);
        else if (op == OP_MGET) /* some are missing */
            workload_note_mget(client, response);
        else
            break;
        finish(client, response);
        return;
    case DLHT_EMISMATCH:
        if (op != OP_CAS)
            break;
        workload_note_write(client, LINEAR_DIFFERS, response->version);
        finish(client, response);
        return;
    case DLHT_EUNKNOWN:
        client->maybe = true;
        if (!client->bare && world_now_ns(w->world) < client->deadline_ns &&
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
    if (client->bare)
        give_up(client);
    else
        retry(client, rng_range(&w->rng, 1, 100) * WORLD_MS);
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
    if (r->timeout_ms > TIMEOUT_MS_MAX)
        r->timeout_ms = TIMEOUT_MS_MAX;
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
    workload_make(client);
    workload_begin(client);
}

static void think(struct client *client)
{
    struct workload *w = client->workload;
    if (client->script.step != SCRIPT_NONE) {
        /* A script does not let go: it asks again under a new number, and
         * writes new values, since each is written once. */
        if (client->script.step == SCRIPT_LOAD)
            workload_ask_keys(client, OP_BATCH, client->script.at,
                              client->script.end);
        else
            client->number++;
        workload_begin(client);
        return;
    }
    if (!w->running)
        return;
    uint64_t ns = rng_range(&w->rng, 0, 2 * w->config.think_ns);
    world_after(w->world, ns, on_thought, client, 0);
}

/* Life. */

/* And the one that loads late keys. */
static size_t all_clients(const struct workload *w)
{
    return w->config.client_count + (w->config.late_count > 0);
}

struct workload *workload_new(struct world *world,
                              const struct workload_config *config)
{
    struct workload *w = need(mem_zero(1, sizeof *w));
    w->world = world;
    w->config = *config;
    rng_init(&w->rng, config->seed);
    w->history = history_new(rng_next(&w->rng), config->key_count,
                             config->late_count, config->hashed);
    w->known_count = config->key_count - config->late_count;
    w->versions = need(mem_zero(config->key_count, sizeof *w->versions));
    if (w->config.hot_count > config->key_count)
        w->config.hot_count = config->key_count;
    w->hot = need(mem_zero(w->config.hot_count, sizeof *w->hot));
    for (size_t i = 0; i < w->config.hot_count; i++)
        w->hot[i] = (size_t)rng_below(&w->rng, w->known_count);
    size_t count = all_clients(w);
    w->clients = need(mem_zero(count, sizeof *w->clients));
    for (size_t i = 0; i < count; i++) {
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
    for (size_t i = 0; i < all_clients(w); i++) {
        buf_deinit(&w->clients[i].ask.bytes);
        buf_deinit(&w->clients[i].ask.cursor);
    }
    history_free(w->history);
    free(w->versions);
    free(w->hot);
    free(w->waits);
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
