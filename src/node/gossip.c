/* SPDX-License-Identifier: Apache-2.0 */

/* Spreading descriptors and keyspaces. */

#include "node/gossip.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "node/fingers.h"
#include "node/keyspaces.h"
#include "node/replica.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum {
    NO_MAP = 0,  /* a digest of arcs: the sender does not keep them all */
    NO_ARCS = 1, /* nor any of some keyspace: it asks for some */
    FANOUT = 3,
    FANOUT_ALL = 8 /* up to so many other peers, all are told at once */
};
#define GOSSIP_NS (UINT64_C(100) * NS_PER_MS)
#define DIGEST_NS (UINT64_C(2000) * NS_PER_MS)

struct rumour {
    keyspace_id keyspace;
    arc_id arc; /* 0: the keyspace's record itself */
    uint32_t left;
};

struct gossip {
    struct rumour *rumours;
    size_t count, cap;
    uint64_t next_ns;
    uint64_t next_digest_ns;
};

int gossip_new(struct gossip **out)
{
    *out = mem_zero(1, sizeof **out);
    return *out ? DLHT_OK : DLHT_ENOMEM;
}

void gossip_free(struct gossip *g)
{
    if (!g)
        return;
    free(g->rumours);
    free(g);
}

/* How often each peer passes a rumour on. */
static uint32_t transmissions(const struct node *node)
{
    size_t n = node->swim ? swim_up_count(node->swim) : 1;
    if (n <= FANOUT_ALL + 1)
        return 1;
    uint32_t log2 = 1;
    while (n >>= 1)
        log2++;
    return log2;
}

static void queue(struct node *node, keyspace_id keyspace, arc_id arc)
{
    struct gossip *g = node->gossip;
    for (size_t i = 0; i < g->count; i++) {
        if (g->rumours[i].arc == arc && g->rumours[i].keyspace == keyspace) {
            g->rumours[i].left = transmissions(node);
            return;
        }
    }
    if (g->count == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 64;
        struct rumour *grown = mem_resize(g->rumours, cap, sizeof *grown);
        if (!grown)
            return; /* digests will tell */
        g->rumours = grown;
        g->cap = cap;
    }
    g->rumours[g->count++] =
        (struct rumour){ keyspace, arc, transmissions(node) };
    node_wake_at(node, g->next_ns);
}

bool gossip_learn_arc(struct node *node, const struct arc *arc)
{
    struct keyspace *ks = keyspaces_find(node, arc->keyspace);
    if (!ks)
        return false;
    bool news = false;
    fingers_learn(node, ks, arc);
    if (map_notice(ks->map, arc, &news) != DLHT_OK || !news)
        return false;
    fingers_trim(node, ks, arc->id);
    /* Who keeps no map spreads what it leads, for those who do. */
    if (!node->config.map_fingers || arc->keyspace == SYSTEM_KEYSPACE ||
        node_is_self(node, &arc->owner))
        queue(node, arc->keyspace, arc->id);
    return true;
}

/* Whether an arc that somebody tells of is kept here. */
static bool is_wanted(const struct node *node, const struct arc *arc)
{
    const struct keyspace *ks = keyspaces_find(node, arc->keyspace);
    return !node->config.map_fingers || arc->keyspace == SYSTEM_KEYSPACE ||
           !ks || map_count(ks->map) < FINGERS_SEEDS_MAX ||
           map_by_id(ks->map, arc->id) || node_replica(node, arc->id);
}

void gossip_notice_arc(struct node *node, const struct arc *arc)
{
    (void)gossip_learn_arc(node, arc);
}

void gossip_queue_keyspace(struct node *node, keyspace_id id)
{
    queue(node, id, 0);
}

/* The packed record, unpacked into the step's arena. */
static bool record_of(struct node *node, const struct keyspace *ks,
                      struct codec_arena *arena, struct keyspace_record *out)
{
    if (!ks->packed)
        return false;
    (void)node;
    struct mp_reader r;
    mp_reader_init(&r, span_of(ks->packed, ks->packed_len));
    codec_unpack_keyspace(&r, arena, out);
    return !r.bad;
}

/* Arrays of one outgoing message, in the step's arena. */
struct parcel {
    struct arc *arcs;
    size_t arc_count;
    struct keyspace_record *keyspaces;
    size_t keyspace_count;
};

static bool parcel_new(struct node *node, struct parcel *p)
{
    p->arc_count = p->keyspace_count = 0;
    p->arcs = effects_room(node->fx, MESSAGE_ARCS_MAX * sizeof *p->arcs);
    p->keyspaces =
        effects_room(node->fx, MESSAGE_KEYSPACES_MAX * sizeof *p->keyspaces);
    return p->arcs && p->keyspaces;
}

static void parcel_send(struct node *node, const struct parcel *p,
                        const struct id *to)
{
    if (p->arc_count == 0 && p->keyspace_count == 0)
        return;
    struct message m = { .type = MESSAGE_GOSSIP };
    m.u.gossip.arcs = p->arcs;
    m.u.gossip.arc_count = p->arc_count;
    m.u.gossip.keyspaces = p->keyspaces;
    m.u.gossip.keyspace_count = p->keyspace_count;
    node_send(node, to, &m);
}

/* A dropped one, which has no arrays. */
static void parcel_add_gone(const struct node *node, struct parcel *p,
                            keyspace_id id)
{
    const struct gone_keyspace *gone = keyspaces_find_gone(node, id);
    if (gone)
        keyspaces_gone_record(gone, &p->keyspaces[p->keyspace_count++]);
}

/* A keyspace record whose arrays live until the step's effects are done. */
static bool parcel_add_keyspace(struct node *node, struct parcel *p,
                                const struct keyspace *ks)
{
    struct codec_arena arena = { 0 };
    struct keyspace_record *record = &p->keyspaces[p->keyspace_count];
    if (!record_of(node, ks, &arena, record)) {
        codec_arena_deinit(&arena);
        return false;
    }
    size_t bytes = record->first_arc_count * sizeof *record->first_arcs;
    if (bytes) {
        struct span copy =
            effects_copy(node->fx, span_of(record->first_arcs, bytes));
        record->first_arcs = (const struct arc *)(const void *)copy.data;
        if (!copy.data)
            record->first_arc_count = 0;
    }
    codec_arena_deinit(&arena);
    p->keyspace_count++;
    return true;
}

/* An up peer other than ourselves, at random; false: there is none. */
static bool random_peer(struct node *node, struct id *out)
{
    size_t count = swim_count(node->swim);
    for (int tries = 0; tries < 16; tries++) {
        const struct peer *p =
            swim_at(node->swim, (size_t)rng_below(&node->rng, count));
        if (p->state <= PEER_SUSPECT && !node_is_self(node, &p->id)) {
            *out = p->id;
            return true;
        }
    }
    return false;
}

static void send_to_some(struct node *node, const struct parcel *p)
{
    if (swim_up_count(node->swim) <= FANOUT_ALL + 1) {
        for (size_t i = 0; i < swim_count(node->swim); i++) {
            const struct peer *peer = swim_at(node->swim, i);
            if (peer->state <= PEER_SUSPECT && !node_is_self(node, &peer->id))
                parcel_send(node, p, &peer->id);
        }
        return;
    }
    for (int i = 0; i < FANOUT; i++) {
        struct id to;
        if (random_peer(node, &to))
            parcel_send(node, p, &to);
    }
}

static void spread(struct node *node)
{
    struct gossip *g = node->gossip;
    struct parcel p;
    if (g->count == 0 || !parcel_new(node, &p))
        return;
    size_t kept = 0, at = 0;
    for (; at < g->count && p.arc_count < MESSAGE_ARCS_MAX &&
           p.keyspace_count < MESSAGE_KEYSPACES_MAX;
         at++) {
        struct rumour r = g->rumours[at];
        struct keyspace *ks = keyspaces_find(node, r.keyspace);
        if (r.arc == 0) {
            if (ks)
                parcel_add_keyspace(node, &p, ks);
            else
                parcel_add_gone(node, &p, r.keyspace);
        } else {
            const struct arc *arc = ks ? map_by_id(ks->map, r.arc) : NULL;
            if (arc)
                p.arcs[p.arc_count++] = *arc;
        }
        if (--r.left)
            g->rumours[kept++] = r;
    }
    while (at < g->count)
        g->rumours[kept++] = g->rumours[at++];
    g->count = kept;
    send_to_some(node, &p);
}

static uint64_t arcs_digest(const struct node *node)
{
    uint64_t h = 0;
    for (size_t i = 0; node->config.map_fingers && i < node->keyspace_count;
         i++)
        if (map_count(node->keyspaces[i].map) == 0)
            return NO_ARCS;
    if (node->config.map_fingers)
        return NO_MAP;
    for (size_t i = 0; i < node->keyspace_count; i++)
        h += hash64_mix(node->keyspaces[i].record.id,
                        map_digest(node->keyspaces[i].map));
    return h;
}

static void say_digest(struct node *node, const struct id *to, bool answer)
{
    struct message m = { .type = MESSAGE_DIGEST };
    m.u.digest.arcs = arcs_digest(node);
    m.u.digest.keyspaces = keyspaces_digest(node);
    m.u.digest.answer = answer;
    node_send(node, to, &m);
}

void gossip_send_digest(struct node *node, const struct id *to)
{
    say_digest(node, to, false);
}

/* Whether to send it to everybody: without a map, some to begin with. */
static bool is_for_all(const struct node *node, const struct arc *arc,
                       size_t *seeds)
{
    const struct replica *r = node_replica(node, arc->id);
    if (!node->config.map_fingers || arc->keyspace == SYSTEM_KEYSPACE ||
        (r && !r->empty && replica_leads(r)))
        return true;
    return (*seeds)++ < FINGERS_SEEDS_MAX;
}

void gossip_send_all(struct node *node, const struct id *to)
{
    struct parcel p;
    if (!parcel_new(node, &p))
        return;
    for (size_t i = 0; i < node->keyspace_count; i++) {
        if (p.keyspace_count == MESSAGE_KEYSPACES_MAX) {
            parcel_send(node, &p, to);
            if (!parcel_new(node, &p))
                return;
        }
        parcel_add_keyspace(node, &p, &node->keyspaces[i]);
    }
    for (size_t i = 0; i < node->gone_count; i++) {
        if (p.keyspace_count == MESSAGE_KEYSPACES_MAX) {
            parcel_send(node, &p, to);
            if (!parcel_new(node, &p))
                return;
        }
        parcel_add_gone(node, &p, node->gone[i].id);
    }
    for (size_t i = 0; i < node->keyspace_count; i++) {
        const struct map *map = node->keyspaces[i].map;
        size_t seeds = 0;
        for (size_t k = 0; k < map_count(map); k++) {
            if (!is_for_all(node, map_at(map, k), &seeds))
                continue;
            if (p.arc_count == MESSAGE_ARCS_MAX) {
                parcel_send(node, &p, to);
                if (!parcel_new(node, &p))
                    return;
            }
            p.arcs[p.arc_count++] = *map_at(map, k);
        }
    }
    parcel_send(node, &p, to);
}

/* Where one of two does not keep a map, digests tell nothing of arcs. What
 * everybody must know is told again each time, and to who keeps a map also
 * what is led here. */
static void send_led(struct node *node, const struct id *to, bool led)
{
    struct parcel p;
    if (!parcel_new(node, &p))
        return;
    struct keyspace *system = keyspaces_find(node, SYSTEM_KEYSPACE);
    const struct arc *arc = map_by_id(system->map, SYSTEM_ARC);
    if (arc)
        p.arcs[p.arc_count++] = *arc;
    for (size_t i = 0; led && i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        if (p.arc_count < MESSAGE_ARCS_MAX && !r->empty && replica_leads(r))
            p.arcs[p.arc_count++] = *r->arc;
    }
    parcel_send(node, &p, to);
}

void gossip_tick(struct node *node)
{
    struct gossip *g = node->gossip;
    if (node->now_ns >= g->next_ns) {
        g->next_ns = node->now_ns + GOSSIP_NS;
        spread(node);
    }
    if (node->now_ns >= g->next_digest_ns) {
        g->next_digest_ns =
            node->now_ns + DIGEST_NS / 2 + rng_below(&node->rng, DIGEST_NS);
        struct id to;
        if (random_peer(node, &to))
            gossip_send_digest(node, &to);
    }
    if (g->count)
        node_wake_at(node, g->next_ns);
}

void gossip_receive(struct node *node, const struct message *m)
{
    for (size_t i = 0; i < m->u.gossip.keyspace_count; i++)
        keyspaces_notice(node, &m->u.gossip.keyspaces[i]);
    for (size_t i = 0; i < m->u.gossip.arc_count; i++) {
        const struct arc *arc = &m->u.gossip.arcs[i];
        struct keyspace *ks = keyspaces_find(node, arc->keyspace);
        if (is_wanted(node, arc))
            gossip_notice_arc(node, arc);
        else if (ks)
            fingers_learn(node, ks, arc);
    }
}

void gossip_receive_digest(struct node *node, const struct id *from,
                           const struct message *m)
{
    uint64_t arcs = arcs_digest(node);
    bool maps = m->u.digest.arcs > NO_ARCS && arcs > NO_ARCS;
    if (m->u.digest.arcs != NO_ARCS && (!maps || m->u.digest.arcs == arcs) &&
        m->u.digest.keyspaces == keyspaces_digest(node)) {
        if (!maps)
            send_led(node, from, m->u.digest.arcs > NO_ARCS);
        return;
    }
    gossip_send_all(node, from);
    if (!m->u.digest.answer)
        say_digest(node, from, true);
}
