/* SPDX-License-Identifier: Apache-2.0 */

/* A seeded network of peers that keep arcs in finger mode. */

#include "chord/ring_net.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chord/fail_alloc.h"
#include "chord/order.h"
#include "dlht/err.h"

enum {
    MEMBERS = 3
};

struct ring_event {
    uint64_t at_ns;
    uint64_t seq;
    arc_id arc;
    size_t peer; /* that leads it */
    struct id from;
    uint64_t failed; /* this question reached nobody */
    struct ring_message *message;
    uint8_t *key;
};

static bool earlier(const struct ring_event *a, const struct ring_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

static void heap_push(struct ring_net *net, struct ring_event event)
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

static struct ring_event heap_pop(struct ring_net *net)
{
    struct ring_event top = net->heap[0];
    struct ring_event last = net->heap[--net->heap_count];
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

static const struct arc *keep(const struct arc *arc)
{
    if (!arc)
        return NULL;
    struct arc *copy = arc_copy(arc);
    assert(copy);
    return copy;
}

static void drop_message(struct ring_event *event)
{
    struct ring_message *message = event->message;
    free(event->key);
    if (!message)
        return;
    arc_free((struct arc *)message->self);
    arc_free((struct arc *)message->predecessor);
    for (size_t i = 0; i < message->arc_count; i++)
        arc_free((struct arc *)message->arcs[i]);
    free(message);
}

static void copy_message(const struct ring_net *net,
                         const struct ring_message *from, bool lie,
                         struct ring_event *event)
{
    struct rng rng = net->rng;
    struct ring_message *copy = malloc(sizeof *copy);
    assert(copy);
    *copy = *from;
    copy->self = keep(from->self);
    copy->predecessor = keep(from->predecessor);
    for (size_t i = 0; i < from->arc_count; i++)
        copy->arcs[i] = keep(lie ? net->arcs[rng_below(&rng, net->count)].truth
                                 : from->arcs[i]);
    event->key = malloc(from->key.len + 1);
    if (from->key.len)
        memcpy(event->key, from->key.data, from->key.len);
    copy->key = span_of(event->key, from->key.len);
    event->message = copy;
}

static struct ring_arc *arc_at(const struct ring_net *net, struct span lo)
{
    size_t from = 0;
    size_t to = net->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (span_compare(net->arcs[middle].truth->lo, lo) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from < net->count ? &net->arcs[from] : NULL;
}

static struct ring_arc *arc_by_id(const struct ring_net *net, arc_id id)
{
    size_t index = net->index_of[id];
    return index < net->count ? &net->arcs[index] : NULL;
}

/* Ids are given in sequence, so an array finds them. */
static void index_arcs(struct ring_net *net)
{
    net->index_of = realloc(net->index_of, net->next_id * sizeof(size_t));
    assert(net->index_of);
    for (size_t i = 0; i < net->next_id; i++)
        net->index_of[i] = SIZE_MAX;
    for (size_t i = 0; i < net->count; i++)
        net->index_of[net->arcs[i].truth->id] = i;
}

static size_t peer_of(const struct id *id)
{
    return (size_t)id->bytes[1] << 8 | id->bytes[2];
}

/* Who leads the arc, if one of the peers asked is up and keeps it. */
static struct ring_arc *route(const struct ring_net *net,
                              const struct ring_send *send)
{
    struct ring_arc *arc = arc_at(net, send->key);
    if (!arc || arc->truth->id != send->to || !arc->ring)
        return NULL;
    for (size_t i = 0; i < send->peer_count; i++) {
        if (net->peers[peer_of(&send->peers[i])].up &&
            arc_member_of(arc->truth, &send->peers[i]))
            return arc;
    }
    return NULL;
}

static bool is_answer(const struct ring_message *message)
{
    return message->type == RING_ANSWER || message->type == RING_FOUND ||
           message->type == RING_FINGER_ANSWER;
}

static void carry(struct ring_net *net, size_t from,
                  const struct ring_send *send)
{
    net->sent++;
    struct ring_event event = { .arc = send->to, .from = net->peers[from].id };
    event.at_ns = net->now_ns + rng_range(&net->rng, 1 * MS, 20 * MS);
    if (rng_chance(&net->rng, net->loss))
        return;
    if (is_answer(&send->message)) {
        event.peer = peer_of(&send->peers[0]);
        copy_message(net, &send->message, rng_chance(&net->rng, net->lies),
                     &event);
    } else {
        struct ring_arc *to = route(net, send);
        if (to) {
            event.peer = to->owner;
            copy_message(net, &send->message, false, &event);
        } else if (send->message.number) {
            event.arc = send->message.self->id;
            event.peer = from;
            event.failed = send->message.number;
        } else {
            return;
        }
    }
    heap_push(net, event);
}

static void flush(struct ring_net *net, struct ring_arc *arc)
{
    struct ring_send send;
    while (ring_take(arc->ring, &send))
        carry(net, arc->owner, &send);
    uint64_t wake_ns = ring_timeout_ns(arc->ring);
    if (wake_ns == arc->wake_ns)
        return;
    arc->wake_ns = wake_ns;
    heap_push(net, (struct ring_event){ .at_ns = wake_ns,
                                        .arc = arc->truth->id,
                                        .peer = arc->owner });
}

/* A peer's bounded memory: when it is full, a random one makes room. */
static void remember(struct ring_net *net, struct ring_peer *peer,
                     const struct arc *arc)
{
    bool news;
    if (!peer->known || !arc)
        return;
    if (map_notice(peer->known, arc, &news) != DLHT_EFULL)
        return;
    const struct arc *out =
        map_at(peer->known, rng_below(&net->rng, map_count(peer->known)));
    map_forget(peer->known, out->id, UINT64_MAX);
    int rc = map_notice(peer->known, arc, &news);
    assert(rc == DLHT_OK);
}

static void happen(struct ring_net *net, struct ring_event *event)
{
    struct ring_arc *arc = arc_by_id(net, event->arc);
    if (!arc || !arc->ring || arc->owner != event->peer) {
        drop_message(event);
        return;
    }
    if (event->message) {
        struct ring_peer *peer = &net->peers[event->peer];
        remember(net, peer, event->message->self);
        for (size_t i = 0; i < event->message->arc_count; i++)
            remember(net, peer, event->message->arcs[i]);
        fail_alloc_one_of(net->fail_one_of);
        int rc =
            ring_receive(arc->ring, net->now_ns, &event->from, event->message);
        assert(rc == DLHT_OK || (net->fail_one_of && rc == DLHT_ENOMEM));
    } else if (event->failed) {
        fail_alloc_one_of(net->fail_one_of);
        ring_failed(arc->ring, net->now_ns, event->failed);
    } else {
        fail_alloc_one_of(net->fail_one_of);
        ring_tick(arc->ring, net->now_ns);
    }
    fail_alloc_one_of(0);
    if (net->count <= 300 || net->seq % 16 == 0)
        ring_check(arc->ring);
    drop_message(event);
    flush(net, arc);
}

void rnet_run_for(struct ring_net *net, uint64_t ns)
{
    uint64_t end_ns = net->now_ns + ns;
    while (net->heap_count && net->heap[0].at_ns <= end_ns) {
        struct ring_event event = heap_pop(net);
        net->now_ns = event.at_ns;
        happen(net, &event);
    }
    net->now_ns = end_ns;
}

static void choose_members(struct ring_net *net, struct ring_arc *arc)
{
    size_t first = rng_below(&net->rng, net->peer_count);
    while (!net->peers[first].up)
        first = (first + 1) % net->peer_count;
    size_t count = MEMBERS < net->peer_count ? MEMBERS : net->peer_count;
    arc->truth->member_count = count;
    for (size_t i = 0; i < count; i++)
        arc->truth->members[i] =
            (struct arc_member){ rng_next(&net->rng) | 1,
                                 net->peers[(first + i) % net->peer_count].id,
                                 true };
    arc->owner = first;
    arc->truth->owner = net->peers[first].id;
    arc->truth->term++;
}

static int order_of(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static struct span key_of(uint64_t position, uint8_t key[8])
{
    for (size_t i = 0; i < 8; i++)
        key[i] = (uint8_t)(position >> (56 - 8 * i));
    return span_of(key, 8);
}

void rnet_init(struct ring_net *net, uint64_t seed, size_t arc_count,
               size_t arc_count_max, size_t peer_count, size_t known_max,
               size_t list_len)
{
    *net = (struct ring_net){ .count = arc_count, .next_id = 100 };
    rng_init(&net->rng, seed);
    net->config.seed = seed;
    net->config.list_len = list_len;
    net->count_max = arc_count_max;
    net->peer_count = peer_count;
    net->known_max = known_max;
    net->peers = calloc(peer_count, sizeof *net->peers);
    net->arcs = calloc(arc_count_max, sizeof *net->arcs);
    uint64_t *cuts = calloc(arc_count, sizeof *cuts);
    assert(net->peers && net->arcs && cuts);
    for (size_t i = 0; i < peer_count; i++) {
        struct ring_peer *peer = &net->peers[i];
        peer->up = true;
        peer->id.bytes[0] = 0xaa;
        peer->id.bytes[1] = (uint8_t)(i >> 8);
        peer->id.bytes[2] = (uint8_t)i;
        peer->known = known_max ? map_new(known_max) : NULL;
    }
    for (size_t i = 1; i < arc_count; i++)
        cuts[i] = rng_next(&net->rng);
    qsort(cuts, arc_count, sizeof *cuts, order_of);
    for (size_t i = 0; i < arc_count; i++) {
        uint8_t lo[8], hi[8];
        struct arc arc = { .id = net->next_id++, .generation = 1 };
        if (i > 0)
            arc.lo = key_of(cuts[i], lo);
        arc.has_hi = i + 1 < arc_count;
        if (arc.has_hi)
            arc.hi = key_of(cuts[i + 1], hi);
        net->arcs[i].truth = arc_copy(&arc);
        choose_members(net, &net->arcs[i]);
    }
    free(cuts);
    index_arcs(net);
}

void rnet_deinit(struct ring_net *net)
{
    for (size_t i = 0; i < net->heap_count; i++)
        drop_message(&net->heap[i]);
    for (size_t i = 0; i < net->count; i++) {
        ring_free(net->arcs[i].ring);
        arc_free(net->arcs[i].truth);
    }
    for (size_t i = 0; i < net->peer_count; i++)
        map_free(net->peers[i].known);
    free(net->arcs);
    free(net->index_of);
    free(net->peers);
    free(net->heap);
}

static void lead(struct ring_net *net, size_t index, const struct ring *from)
{
    struct ring_arc *arc = &net->arcs[index];
    assert(!arc->ring && net->peers[arc->owner].up);
    struct ring_config config = net->config;
    config.known = net->peers[arc->owner].known;
    remember(net, &net->peers[arc->owner], arc->truth);
    arc->wake_ns = 0;
    int rc = ring_new(&config, arc->truth, from, net->now_ns, &arc->ring);
    assert(rc == DLHT_OK);
}

void rnet_lead(struct ring_net *net, size_t index, size_t contact)
{
    lead(net, index, NULL);
    if (contact != SIZE_MAX)
        ring_hint(net->arcs[index].ring, net->arcs[contact].truth);
    flush(net, &net->arcs[index]);
}

void rnet_lead_all(struct ring_net *net)
{
    for (size_t i = 0; i < net->count; i++) {
        rnet_lead(net, i, i ? 0 : SIZE_MAX);
        rnet_run_for(net, 20 * MS);
    }
}

static void tell_ring(struct ring_net *net, struct ring_arc *arc)
{
    remember(net, &net->peers[arc->owner], arc->truth);
    int rc = ring_set_self(arc->ring, arc->truth);
    assert(rc == DLHT_OK);
    ring_check(arc->ring);
}

void rnet_split(struct ring_net *net, size_t index, bool inherit)
{
    assert(net->count < net->count_max);
    memmove(net->arcs + index + 2, net->arcs + index + 1,
            (net->count - index - 1) * sizeof *net->arcs);
    net->count++;
    struct ring_arc *left = &net->arcs[index];
    struct ring_arc *right = &net->arcs[index + 1];
    struct arc child = *left->truth;
    uint64_t lo = span_prefix8(child.lo);
    uint64_t hi = child.has_hi ? span_prefix8(child.hi) : UINT64_MAX;
    uint8_t cut[8];
    child.generation++;
    child.has_hi = true;
    child.hi = key_of(lo + (hi - lo) / 2, cut);
    struct arc *old = left->truth;
    left->truth = arc_copy(&child);
    child = *left->truth;
    child.id = net->next_id++;
    child.lo = left->truth->hi;
    child.hi = old->hi;
    child.has_hi = old->has_hi;
    *right = (struct ring_arc){ .owner = left->owner };
    right->truth = arc_copy(&child);
    arc_free(old);
    index_arcs(net);
    tell_ring(net, left);
    lead(net, index + 1, inherit ? left->ring : NULL);
    ring_hint(left->ring, right->truth);
    if (!inherit)
        ring_hint(right->ring, left->truth);
    flush(net, left);
    flush(net, right);
}

void rnet_merge(struct ring_net *net, size_t index)
{
    assert(index + 1 < net->count);
    struct ring_arc *left = &net->arcs[index];
    struct ring_arc *right = &net->arcs[index + 1];
    struct arc all = *left->truth;
    all.hi = right->truth->hi;
    all.has_hi = right->truth->has_hi;
    if (right->truth->generation > all.generation)
        all.generation = right->truth->generation;
    all.generation++;
    int rc = arc_assign(&left->truth, &all);
    assert(rc == DLHT_OK);
    ring_free(right->ring);
    arc_free(right->truth);
    net->count--;
    memmove(right, right + 1, (net->count - index - 1) * sizeof *net->arcs);
    index_arcs(net);
    tell_ring(net, left);
    flush(net, left);
}

void rnet_stop_leading(struct ring_net *net, size_t index)
{
    ring_free(net->arcs[index].ring);
    net->arcs[index].ring = NULL;
}

void rnet_hand_over(struct ring_net *net, size_t index, size_t contact)
{
    struct ring_arc *arc = &net->arcs[index];
    if (arc->ring)
        rnet_stop_leading(net, index);
    for (size_t i = 0; i < arc->truth->member_count; i++) {
        size_t peer = peer_of(&arc->truth->members[i].peer);
        if (peer == arc->owner || !net->peers[peer].up)
            continue;
        arc->owner = peer;
        arc->truth->owner = net->peers[peer].id;
        arc->truth->term++;
        rnet_lead(net, index, contact);
        return;
    }
    assert(false); /* no member is up */
}

void rnet_move(struct ring_net *net, size_t index, size_t contact)
{
    rnet_stop_leading(net, index);
    net->arcs[index].truth->generation++;
    choose_members(net, &net->arcs[index]);
    rnet_lead(net, index, contact);
}

struct audit rnet_audit(const struct ring_net *net)
{
    const struct ring **rings = calloc(net->count, sizeof *rings);
    size_t count = 0;
    for (size_t i = 0; i < net->count; i++) {
        if (net->arcs[i].ring)
            rings[count++] = net->arcs[i].ring;
    }
    struct audit audit;
    int rc = audit_rings(rings, count, &audit);
    assert(rc == DLHT_OK);
    free(rings);
    return audit;
}

uint64_t rnet_run_until_ideal(struct ring_net *net, bool fingers,
                              uint64_t limit_ns)
{
    uint64_t start_ns = net->now_ns;
    while (net->now_ns - start_ns < limit_ns) {
        struct audit audit = rnet_audit(net);
        if (audit_is_ideal(&audit) && (!fingers || audit.wrong_fingers == 0))
            return net->now_ns - start_ns;
        rnet_run_for(net, SECOND / 2);
    }
    return UINT64_MAX;
}

size_t rnet_random_arc(struct ring_net *net)
{
    size_t index = rng_below(&net->rng, net->count);
    /* The next live one would make long gaps longer. */
    while (!net->arcs[index].ring)
        index = rng_below(&net->rng, net->count);
    return index;
}

size_t rnet_walk(const struct ring_net *net, size_t index, struct span key,
                 bool all, bool *found)
{
    const struct ring_arc *at = &net->arcs[index];
    size_t hops = 0;
    *found = false;
    while (!arc_has(at->truth, key)) {
        const struct ring *ring = at->ring;
        struct lookup_view view = { NULL, &ring, 1 };
        const struct ring *rings[64];
        if (all) {
            view =
                (struct lookup_view){ net->peers[at->owner].known, rings, 0 };
            for (size_t i = 0; i < net->count && view.ring_count < 64; i++) {
                if (net->arcs[i].ring && net->arcs[i].owner == at->owner)
                    rings[view.ring_count++] = net->arcs[i].ring;
            }
        }
        const struct arc *next = lookup_next_hop(&view, key, at->truth);
        if (!next)
            return hops;
        assert(order_nearer(next->lo, at->truth->lo, key));
        at = arc_at(net, next->lo);
        hops++;
        if (!at || at->truth->id != next->id || !at->ring)
            return hops;
        assert(hops <= LOOKUP_HOPS_MAX + net->count);
    }
    *found = true;
    return hops;
}

/* What a live arc says to whoever looks for key. */
static void add_what_it_knows(const struct ring *ring, struct lookup *lookup,
                              struct span key)
{
    struct lookup_view view = { NULL, &ring, 1 };
    struct lookup_nearest nearest = { .key = key };
    nearest.count_max = LOOKUP_NEAR_MAX;
    lookup_offer_view(&nearest, &view);
    for (size_t i = 0; i < nearest.count; i++) {
        int rc = lookup_add(lookup, nearest.arcs[i]);
        assert(rc == DLHT_OK);
    }
}

bool rnet_lookup(const struct ring_net *net, size_t index, struct span key,
                 size_t *hops, size_t *failures)
{
    struct lookup lookup;
    int rc = lookup_init(&lookup, key, 0);
    assert(rc == DLHT_OK);
    add_what_it_knows(net->arcs[index].ring, &lookup, key);
    *hops = *failures = 0;
    for (const struct arc *next; (next = lookup_next(&lookup));) {
        const struct ring_arc *arc = arc_at(net, next->lo);
        if (!arc || arc->truth->id != next->id || !arc->ring) {
            lookup_failed(&lookup);
            *failures += 1;
            continue;
        }
        *hops += next->id != net->arcs[index].truth->id;
        rc = lookup_answered(&lookup, arc->truth);
        assert(rc == DLHT_OK);
        add_what_it_knows(arc->ring, &lookup, key);
    }
    bool done = lookup.done;
    lookup_deinit(&lookup);
    return done;
}
