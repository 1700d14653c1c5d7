/* SPDX-License-Identifier: Apache-2.0 */

/* Descriptors of a ring at rest. */

#include "sim/settled.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "node/settle.h"

enum {
    LETTERS = 5, /* of a cut: 26^5 places */
    SYSTEM_COPIES = 5,
    KEYSPACE = 1
};

struct settled {
    struct settled_config config;
    struct settle ring;
    struct peer *peers;
    struct arc *arcs;
    struct keyspace_record keyspace;
    struct arc system;
    char (*cuts)[LETTERS + 1]; /* where arc i begins; 0 is not used */
    uint32_t *owner;           /* of arc i, a peer */
};

static void *need(void *memory)
{
    if (!memory) {
        fputs("dlht-sim: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static int compare_ids(const void *a, const void *b)
{
    const struct peer *x = a, *y = b;
    return id_compare(&x->id, &y->id);
}

static void draw_peers(struct settled *s, struct world *world, struct rng *rng)
{
    size_t count = s->config.peers;
    for (size_t i = 0; i < count; i++)
        s->peers[i] = (struct peer){ .id = id_random(rng),
                                     .incarnation = 2,
                                     .weight_milli = 1000,
                                     .state = PEER_ALIVE };
    qsort(s->peers, count, sizeof *s->peers, compare_ids);
    for (size_t i = 0; i < count; i++)
        snprintf(s->peers[i].addr, sizeof s->peers[i].addr, "%s",
                 world_addr(world, i));
}

/* The place i / count of the way from "a" to behind "z". */
static void draw_cut(char cut[LETTERS + 1], size_t i, size_t count)
{
    uint64_t places = 1;
    for (size_t k = 0; k < LETTERS; k++)
        places *= 26;
    uint64_t at = places * i / count;
    for (size_t k = LETTERS; k-- > 0; at /= 26)
        cut[k] = (char)('a' + at % 26);
    cut[LETTERS] = 0;
}

static void add_member(struct settled *s, struct arc *arc, size_t peer,
                       struct rng *rng)
{
    struct arc_member *m = &arc->members[arc->member_count++];
    m->replica = rng_next(rng) | 1;
    m->peer = s->peers[peer].id;
    m->voter = true;
}

/* Each peer as often as any other: the same order of peers, moved on. */
static void draw_members(struct settled *s, struct rng *rng)
{
    size_t count = s->ring.arc_count;
    for (size_t i = 0; i < count; i++)
        s->owner[i] = (uint32_t)(i % s->config.peers);
    for (size_t i = count; i-- > 1;) {
        size_t k = (size_t)rng_below(rng, i + 1);
        uint32_t held = s->owner[i];
        s->owner[i] = s->owner[k];
        s->owner[k] = held;
    }
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        while (s->arcs[i].member_count < s->config.replicas) {
            size_t peer = s->owner[at % count];
            at += 1 + count / 3;
            if (!arc_member_of(&s->arcs[i], &s->peers[peer].id))
                add_member(s, &s->arcs[i], peer, rng);
        }
        s->arcs[i].owner = s->arcs[i].members[0].peer;
    }
}

static void draw_arcs(struct settled *s, struct rng *rng)
{
    size_t count = s->ring.arc_count;
    for (size_t i = 0; i <= count; i++)
        draw_cut(s->cuts[i], i, count);
    for (size_t i = 0; i < count; i++) {
        struct arc *arc = &s->arcs[i];
        arc->keyspace = KEYSPACE;
        arc->id = rng_next(rng) | 2;
        arc->generation = 1;
        arc->term = SETTLE_TERM;
        arc->lo = i ? span_str(s->cuts[i]) : span_empty();
        arc->has_hi = i + 1 < count;
        if (arc->has_hi)
            arc->hi = span_str(s->cuts[i + 1]);
    }
    draw_members(s, rng);
}

static void draw_system(struct settled *s, struct rng *rng)
{
    s->system = (struct arc){ .id = 1, .generation = 1, .term = SETTLE_TERM };
    size_t copies =
        s->config.peers < SYSTEM_COPIES ? s->config.peers | 1 : SYSTEM_COPIES;
    for (size_t i = 0; i < copies && i < s->config.peers; i++)
        add_member(s, &s->system, i, rng);
    s->system.owner = s->system.members[0].peer;
    s->keyspace = (struct keyspace_record){
        .id = KEYSPACE,
        .name = span_str("default"),
        .version = 1,
        .placement = PLACEMENT_ORDERED,
        .replicas = (uint8_t)s->config.replicas,
        .floor_keys = s->config.floor_keys,
        .ceiling_bytes = s->config.ceiling_bytes,
    };
}

static int boot(void *context, size_t peer, struct node *node, uint64_t now_ns,
                struct effects *effects)
{
    struct settled *s = context;
    struct settle ring = s->ring;
    ring.self = s->peers[peer].id;
    return node_settle(node, now_ns, &ring, effects);
}

struct settled *settled_start(struct world *world,
                              const struct settled_config *config)
{
    struct rng rng;
    rng_init(&rng, config->seed);
    struct settled *s = need(mem_zero(1, sizeof *s));
    s->config = *config;
    size_t arcs = config->peers * config->arcs;
    assert(arcs > 0 && config->replicas <= config->peers);
    s->peers = need(mem_zero(config->peers, sizeof *s->peers));
    s->arcs = need(mem_zero(arcs, sizeof *s->arcs));
    s->cuts = need(mem_zero(arcs + 1, sizeof *s->cuts));
    s->owner = need(mem_zero(arcs, sizeof *s->owner));
    s->ring = (struct settle){ .cluster = id_random(&rng),
                               .peers = s->peers,
                               .peer_count = config->peers,
                               .system = &s->system,
                               .keyspace = &s->keyspace,
                               .arcs = s->arcs,
                               .arc_count = arcs };
    draw_peers(s, world, &rng);
    draw_arcs(s, &rng);
    draw_system(s, &rng);
    for (size_t i = 0; i < config->peers; i++)
        world_start_by(world, i, boot, s);
    return s;
}

void settled_free(struct settled *s)
{
    if (!s)
        return;
    free(s->peers);
    free(s->arcs);
    free(s->cuts);
    free(s->owner);
    free(s);
}

size_t settled_arc_count(const struct settled *s)
{
    return s->ring.arc_count;
}

size_t settled_owner(const struct settled *s, size_t arc)
{
    return s->owner[arc];
}

struct span settled_key(const struct settled *s, size_t arc)
{
    return span_str(s->cuts[arc]);
}
