/* SPDX-License-Identifier: Apache-2.0 */

/* The client that loads a cluster or verifies it at the end. */

#include <assert.h>

#include "sim/workload_inner.h"

enum {
    PEERS_ASKED_MAX = 50 /* at the end of a verification */
};

static void ask_whole_range(struct client *client, bool down)
{
    workload_reset(client, OP_RANGE);
    if (client->workload->config.hashed)
        client->ask.request.flags |= REQUEST_SCAN;
    if (down)
        client->ask.request.flags |= REQUEST_REVERSE;
}

/* The answers of a verification must agree with each other. */
void workload_script_note(struct client *client,
                          const struct response *response)
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
    workload_reset(client, OP_GET);
    client->ask.request.key = history_key(w->history, key);
    client->ask.keys[client->ask.key_count++] = key;
    return true;
}

bool workload_script_next(struct client *client)
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
        if (s->at >= (s->step == SCRIPT_LOAD ? s->end : count)) {
            script_end(client);
            return s->step == SCRIPT_PEERS && ask_next_peer(client);
        }
        if (s->step == SCRIPT_LOAD)
            workload_ask_keys(client, OP_BATCH, s->at, s->end);
        else
            workload_ask_keys(client, OP_MGET, s->at, count);
        return true;
    case SCRIPT_UP:
        s->step = SCRIPT_DOWN;
        ask_whole_range(client, true);
        return true;
    case SCRIPT_DOWN:
        s->step = SCRIPT_COUNT;
        workload_reset(client, OP_COUNT);
        return true;
    case SCRIPT_COUNT:
        s->step = SCRIPT_READ;
        s->at = 0;
        workload_ask_keys(client, OP_MGET, 0, count);
        return true;
    case SCRIPT_NONE:
        break;
    }
    return false;
}

static void load_by(struct client *client, size_t first, size_t end)
{
    assert(!client->open);
    client->script =
        (struct script){ .step = SCRIPT_LOAD, .at = first, .end = end };
    workload_ask_keys(client, OP_BATCH, first, end);
    workload_begin(client);
}

void workload_load(struct workload *w)
{
    load_by(&w->clients[0], 0, w->known_count);
}

void workload_load_late(struct workload *w)
{
    size_t first = w->known_count;
    w->known_count = history_key_count(w->history);
    assert(first < w->known_count);
    load_by(&w->clients[w->config.client_count], first, w->known_count);
}

void workload_verify(struct workload *w)
{
    struct client *client = &w->clients[0];
    assert(!client->open && !w->running);
    client->script = (struct script){ .step = SCRIPT_UP };
    ask_whole_range(client, false);
    workload_begin(client);
}
