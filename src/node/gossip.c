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
    FANOUT_ALL = 8, /* up to so many other peers, all are told at once */
    /* How often each peer passes a rumour on where there are more: to six
     * others in all, so that one of some thousand peers hears of it by digest
     * only. */
    TRANSMISSIONS = 2,
    /* Up to so many arcs all are told when digests differ; beyond it, those in
     * the parts that differ, so many of them in a part. */
    ARCS_FEW = 64,
    PART_ARCS = 8
};
/* From one message full of rumours to the next; where a rumour goes from peer
 * to peer, each of them takes half of it. */
#define GOSSIP_NS (UINT64_C(100) * NS_PER_MS)
#define DIGEST_NS (UINT64_C(2000) * NS_PER_MS)
#define LOST_NS (UINT64_C(5000) * NS_PER_MS)

struct rumour {
    keyspace_id keyspace;
    arc_id arc; /* 0: the keyspace's record itself */
    uint32_t left;
};

struct gossip {
    uint64_t lost_ns;       /* 0: never */
    struct rumour *rumours; /* ascending (keyspace, arc) */
    size_t count, cap;
    size_t next; /* the first to be passed on next time */
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

static uint32_t transmissions(const struct node *node)
{
    size_t n = node->swim ? swim_up_count(node->swim) : 1;
    return n <= FANOUT_ALL + 1 ? 1 : TRANSMISSIONS;
}

/* Where the rumour stands, or would. */
static size_t place_of(const struct gossip *g, keyspace_id keyspace, arc_id arc)
{
    size_t lo = 0, hi = g->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct rumour *r = &g->rumours[mid];
        if (r->keyspace < keyspace || (r->keyspace == keyspace && r->arc < arc))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void queue(struct node *node, keyspace_id keyspace, arc_id arc)
{
    struct gossip *g = node->gossip;
    size_t at = place_of(g, keyspace, arc);
    if (at < g->count && g->rumours[at].keyspace == keyspace &&
        g->rumours[at].arc == arc) {
        g->rumours[at].left = transmissions(node);
        return;
    }
    if (g->count == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 64;
        struct rumour *grown = mem_resize(g->rumours, cap, sizeof *grown);
        if (!grown)
            return; /* digests will tell */
        g->rumours = grown;
        g->cap = cap;
    }
    memmove(g->rumours + at + 1, g->rumours + at,
            (g->count - at) * sizeof *g->rumours);
    g->rumours[at] = (struct rumour){ keyspace, arc, transmissions(node) };
    g->count++;
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
           map_by_id(ks->map, arc->id) || node_replica(node, arc->id) ||
           arc_member_of(arc, &node->self);
}

void gossip_notice_arc(struct node *node, const struct arc *arc)
{
    /* Each copy says so after each of its messages: mostly no news. */
    const struct keyspace *ks = keyspaces_find(node, arc->keyspace);
    const struct arc *known = ks ? map_by_id(ks->map, arc->id) : NULL;
    if (known && !arc_is_newer(arc, known))
        return;
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
        if (!copy.data) {
            /* Whoever heard of it without them would never found them. */
            codec_arena_deinit(&arena);
            return false;
        }
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

static void tell_rumour(struct node *node, struct parcel *p,
                        const struct rumour *r)
{
    struct keyspace *ks = keyspaces_find(node, r->keyspace);
    if (r->arc == 0) {
        if (ks)
            parcel_add_keyspace(node, p, ks);
        else
            parcel_add_gone(node, p, r->keyspace);
        return;
    }
    const struct arc *arc = ks ? map_by_id(ks->map, r->arc) : NULL;
    if (arc)
        p->arcs[p->arc_count++] = *arc;
}

/* One message full of rumours, each in its turn. */
static void spread(struct node *node)
{
    struct gossip *g = node->gossip;
    struct parcel p;
    if (g->count == 0 || !parcel_new(node, &p))
        return;
    size_t told = 0, kept = 0;
    for (; told < g->count && p.arc_count < MESSAGE_ARCS_MAX &&
           p.keyspace_count < MESSAGE_KEYSPACES_MAX;
         told++) {
        struct rumour *r = &g->rumours[(g->next + told) % g->count];
        tell_rumour(node, &p, r);
        r->left--;
    }
    g->next = (g->next + told) % g->count;
    size_t next = 0;
    for (size_t i = 0; i < g->count; i++) {
        if (i == g->next)
            next = kept;
        if (g->rumours[i].left)
            g->rumours[kept++] = g->rumours[i];
    }
    g->next = next;
    g->count = kept;
    send_to_some(node, &p);
}

void gossip_note_lost(struct node *node)
{
    node->gossip->lost_ns = node->now_ns;
}

static bool is_lost(const struct node *node)
{
    const struct gossip *g = node->gossip;
    return g->lost_ns && node->now_ns - g->lost_ns < LOST_NS;
}

static uint64_t arcs_digest(const struct node *node)
{
    uint64_t h = 0;
    for (size_t i = 0; node->config.map_fingers && i < node->keyspace_count;
         i++)
        if (map_count(node->keyspaces[i].map) == 0)
            return NO_ARCS;
    if (node->config.map_fingers)
        return is_lost(node) ? NO_ARCS : NO_MAP;
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

static bool parcel_next(struct node *node, struct parcel *p,
                        const struct id *to)
{
    parcel_send(node, p, to);
    return parcel_new(node, p);
}

static bool send_keyspaces(struct node *node, struct parcel *p,
                           const struct id *to)
{
    for (size_t i = 0; i < node->keyspace_count; i++) {
        if (p->keyspace_count == MESSAGE_KEYSPACES_MAX &&
            !parcel_next(node, p, to))
            return false;
        parcel_add_keyspace(node, p, &node->keyspaces[i]);
    }
    for (size_t i = 0; i < node->gone_count; i++) {
        if (p->keyspace_count == MESSAGE_KEYSPACES_MAX &&
            !parcel_next(node, p, to))
            return false;
        parcel_add_gone(node, p, node->gone[i].id);
    }
    return true;
}

void gossip_send_all(struct node *node, const struct id *to)
{
    struct parcel p;
    if (!parcel_new(node, &p) || !send_keyspaces(node, &p, to))
        return;
    for (size_t i = 0; i < node->keyspace_count; i++) {
        const struct map *map = node->keyspaces[i].map;
        size_t seeds = 0;
        for (size_t k = 0; k < map_count(map); k++) {
            if (!is_for_all(node, map_at(map, k), &seeds))
                continue;
            if (p.arc_count == MESSAGE_ARCS_MAX && !parcel_next(node, &p, to))
                return;
            p.arcs[p.arc_count++] = *map_at(map, k);
        }
    }
    parcel_send(node, &p, to);
}

/* Parts of all arcs. */

static void sum_parts(const struct node *node, size_t part_count,
                      uint32_t *sums)
{
    memset(sums, 0, part_count * sizeof *sums);
    for (size_t i = 0; i < node->keyspace_count; i++)
        map_digest_parts(node->keyspaces[i].map, part_count, sums);
}

static size_t all_arcs(const struct node *node)
{
    size_t count = 0;
    for (size_t i = 0; i < node->keyspace_count; i++)
        count += map_count(node->keyspaces[i].map);
    return count;
}

static size_t parts_wanted(const struct node *node)
{
    size_t count = 1;
    while (count < DIGEST_PARTS_MAX && count * PART_ARCS < all_arcs(node))
        count *= 2;
    return count;
}

static void say_parts(struct node *node, const struct id *to, size_t part_count,
                      bool answer)
{
    uint32_t sums[DIGEST_PARTS_MAX];
    uint8_t *packed = effects_room(node->fx, 4 * part_count);
    if (!packed)
        return;
    sum_parts(node, part_count, sums);
    for (size_t i = 0; i < part_count; i++)
        for (size_t k = 0; k < 4; k++)
            packed[4 * i + k] = (uint8_t)(sums[i] >> 8 * k);
    struct message m = { .type = MESSAGE_DIGEST };
    m.u.digest.arcs = arcs_digest(node);
    m.u.digest.keyspaces = keyspaces_digest(node);
    m.u.digest.answer = answer;
    m.u.digest.parts = span_of(packed, 4 * part_count);
    node_send(node, to, &m);
}

static size_t part_count_of(struct span parts)
{
    size_t count = parts.len / 4;
    bool sane = count > 0 && count <= DIGEST_PARTS_MAX &&
                (count & (count - 1)) == 0 && parts.len % 4 == 0;
    return sane ? count : 0;
}

/* Tells what differs from those parts. */
static void send_parts(struct node *node, const struct id *to,
                       struct span parts)
{
    uint32_t sums[DIGEST_PARTS_MAX];
    bool differs[DIGEST_PARTS_MAX];
    size_t count = part_count_of(parts);
    struct parcel p;
    if (!parcel_new(node, &p) || !send_keyspaces(node, &p, to))
        return;
    sum_parts(node, count, sums);
    for (size_t i = 0; i < count; i++) {
        uint32_t said = 0;
        for (size_t k = 0; k < 4; k++)
            said |= (uint32_t)parts.data[4 * i + k] << 8 * k;
        differs[i] = said != sums[i];
    }
    for (size_t i = 0; i < node->keyspace_count; i++) {
        const struct map *map = node->keyspaces[i].map;
        for (size_t k = 0; k < map_count(map); k++) {
            if (!differs[map_part_of(map, k, count)])
                continue;
            if (p.arc_count == MESSAGE_ARCS_MAX && !parcel_next(node, &p, to))
                return;
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
        bool far = swim_up_count(node->swim) > FANOUT_ALL + 1;
        g->next_ns = node->now_ns + (far ? GOSSIP_NS / 2 : GOSSIP_NS);
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
    size_t parts = part_count_of(m->u.digest.parts);
    if (maps && parts) {
        send_parts(node, from, m->u.digest.parts);
        if (!m->u.digest.answer)
            say_parts(node, from, parts, true);
    } else if (maps && all_arcs(node) > ARCS_FEW) {
        say_parts(node, from, parts_wanted(node), false);
    } else {
        gossip_send_all(node, from);
        if (!m->u.digest.answer)
            say_digest(node, from, true);
    }
}
