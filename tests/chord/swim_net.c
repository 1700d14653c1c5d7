/* SPDX-License-Identifier: Apache-2.0 */

/* A seeded network of swims. */

#include "chord/swim_net.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "dlht/err.h"

static bool earlier(const struct net_event *a, const struct net_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

static void heap_push(struct net *net, struct net_event event)
{
    if (net->heap_count == net->heap_cap) {
        net->heap_cap = net->heap_cap ? 2 * net->heap_cap : 256;
        net->heap = realloc(net->heap, net->heap_cap * sizeof *net->heap);
        assert(net->heap);
    }
    event.seq = net->seq++;
    size_t at = net->heap_count++;
    while (at > 0 && earlier(&event, &net->heap[(at - 1) / 2])) {
        net->heap[at] = net->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    net->heap[at] = event;
}

static struct net_event heap_pop(struct net *net)
{
    struct net_event top = net->heap[0];
    struct net_event last = net->heap[--net->heap_count];
    size_t at = 0;
    while (2 * at + 1 < net->heap_count) {
        size_t child = 2 * at + 1;
        if (child + 1 < net->heap_count &&
            earlier(&net->heap[child + 1], &net->heap[child]))
            child++;
        if (!earlier(&net->heap[child], &last))
            break;
        net->heap[at] = net->heap[child];
        at = child;
    }
    net->heap[at] = last;
    return top;
}

static size_t index_of(const struct net *net, const struct id *id)
{
    for (size_t i = 0; i < 4; i++)
        assert(id->bytes[i] == 0xaa);
    size_t index = (size_t)id->bytes[4] << 8 | id->bytes[5];
    assert(index < net->count);
    return index;
}

static void carry(struct net *net, size_t from, const struct swim_send *send)
{
    size_t to = index_of(net, &send->to);
    net->sent++;
    net->updates += send->message.update_count;
    if (net->peers[from].side != net->peers[to].side ||
        rng_chance(&net->rng, net->loss))
        return;
    struct net_event event = { .to = to, .from = net->peers[from].self.id };
    event.at_ns = net->now_ns + rng_range(&net->rng, 1 * MS, 20 * MS);
    event.message = malloc(sizeof *event.message);
    assert(event.message);
    *event.message = send->message;
    heap_push(net, event);
}

void net_flush(struct net *net, size_t index)
{
    struct net_peer *peer = &net->peers[index];
    static struct swim_send send;
    while (swim_take(peer->swim, &send))
        carry(net, index, &send);
    struct peer change;
    while (swim_take_change(peer->swim, &change)) {
        if (change.state != PEER_DEAD)
            continue;
        peer->deaths_seen++;
        net->deaths += net->peers[index_of(net, &change.id)].swim != NULL;
    }
    uint64_t wake_ns = swim_timeout_ns(peer->swim);
    if (wake_ns != peer->wake_ns && wake_ns != UINT64_MAX) {
        peer->wake_ns = wake_ns;
        if (wake_ns < peer->stalled_until)
            wake_ns = peer->stalled_until;
        heap_push(net, (struct net_event){ .at_ns = wake_ns, .to = index });
    }
}

static void happen(struct net *net, struct net_event *event)
{
    struct net_peer *peer = &net->peers[event->to];
    if (peer->stalled_until > net->now_ns) {
        /* Its timers are looked at before its sockets: the worst order. */
        event->at_ns = peer->stalled_until + (event->message ? 1 : 0);
        heap_push(net, *event);
        return;
    }
    if (peer->swim && event->message) {
        int rc =
            swim_receive(peer->swim, net->now_ns, &event->from, event->message);
        assert(rc == DLHT_OK);
    } else if (peer->swim) {
        swim_tick(peer->swim, net->now_ns);
    }
    free(event->message);
    if (peer->swim)
        net_flush(net, event->to);
}

void net_run_for(struct net *net, uint64_t ns)
{
    uint64_t end_ns = net->now_ns + ns;
    while (net->heap_count && net->heap[0].at_ns <= end_ns) {
        struct net_event event = heap_pop(net);
        net->now_ns = event.at_ns;
        happen(net, &event);
    }
    net->now_ns = end_ns;
    for (size_t i = 0; i < net->count; i++) {
        if (net->peers[i].swim)
            swim_check(net->peers[i].swim);
    }
}

static void start(struct net *net, size_t index)
{
    struct net_peer *peer = &net->peers[index];
    assert(!peer->swim);
    peer->self.incarnation++;
    peer->wake_ns = 0;
    struct swim_config config = { .seed = net->seed };
    int rc = swim_new(&config, &peer->self, net->now_ns, &peer->swim);
    assert(rc == DLHT_OK);
}

static void tell_all_of(struct net *net, size_t from, size_t to)
{
    const struct swim *source = net->peers[from].swim;
    for (size_t i = 0; i < swim_count(source); i++)
        swim_notice(net->peers[to].swim, net->now_ns, swim_at(source, i));
}

void net_start(struct net *net, size_t index, size_t contact)
{
    start(net, index);
    tell_all_of(net, contact, index);
    swim_notice(net->peers[contact].swim, net->now_ns,
                swim_self(net->peers[index].swim));
    net_flush(net, index);
    net_flush(net, contact);
}

void net_init(struct net *net, uint64_t seed, size_t count, bool know_all)
{
    *net = (struct net){ .seed = seed, .count = count };
    rng_init(&net->rng, seed);
    net->peers = calloc(count, sizeof *net->peers);
    assert(net->peers);
    for (size_t i = 0; i < count; i++) {
        struct peer *self = &net->peers[i].self;
        self->state = PEER_ALIVE;
        self->id = id_random(&net->rng);
        for (size_t j = 0; j < 4; j++)
            self->id.bytes[j] = 0xaa;
        self->id.bytes[4] = (uint8_t)(i >> 8);
        self->id.bytes[5] = (uint8_t)i;
        snprintf(self->addr, sizeof self->addr, "peer-%zu:7000", i);
        self->weight_milli = 1000;
        start(net, i);
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < (know_all ? count : 1); j++)
            swim_notice(net->peers[i].swim, net->now_ns,
                        swim_self(net->peers[j].swim));
        net_flush(net, i);
    }
}

void net_deinit(struct net *net)
{
    for (size_t i = 0; i < net->count; i++)
        swim_free(net->peers[i].swim);
    for (size_t i = 0; i < net->heap_count; i++)
        free(net->heap[i].message);
    free(net->peers);
    free(net->heap);
}

void net_stop(struct net *net, size_t index)
{
    swim_free(net->peers[index].swim);
    net->peers[index].swim = NULL;
}

size_t net_seen_as(const struct net *net, size_t index, enum peer_state state)
{
    size_t seen = 0;
    for (size_t i = 0; i < net->count; i++) {
        if (i == index || !net->peers[i].swim)
            continue;
        const struct peer *peer =
            swim_find(net->peers[i].swim, &net->peers[index].self.id);
        seen += peer && peer->state == state &&
                peer->incarnation == net->peers[index].self.incarnation;
    }
    return seen;
}

size_t net_running(const struct net *net)
{
    size_t running = 0;
    for (size_t i = 0; i < net->count; i++)
        running += net->peers[i].swim != NULL;
    return running;
}

static bool agreed(const struct net *net)
{
    size_t others = net_running(net) - 1;
    for (size_t i = 0; i < net->count; i++) {
        if (net->peers[i].swim && net_seen_as(net, i, PEER_ALIVE) != others)
            return false;
    }
    return true;
}

uint64_t net_run_until_agreed(struct net *net, uint64_t limit_ns)
{
    uint64_t start_ns = net->now_ns;
    while (!agreed(net)) {
        if (net->now_ns - start_ns >= limit_ns)
            return UINT64_MAX;
        net_run_for(net, 250 * MS);
    }
    return net->now_ns - start_ns;
}

uint64_t net_run_until_seen(struct net *net, size_t index,
                            enum peer_state state, uint64_t limit_ns)
{
    uint64_t start_ns = net->now_ns;
    size_t others = net_running(net) - (net->peers[index].swim != NULL);
    while (net_seen_as(net, index, state) != others) {
        if (net->now_ns - start_ns >= limit_ns)
            return UINT64_MAX;
        net_run_for(net, 50 * MS);
    }
    return net->now_ns - start_ns;
}

uint64_t net_hash(const struct net *net)
{
    uint64_t hash = net->sent;
    for (size_t i = 0; i < net->count; i++) {
        if (net->peers[i].swim)
            hash = hash64_mix(hash, swim_hash(net->peers[i].swim));
    }
    return hash;
}
