/* SPDX-License-Identifier: Apache-2.0 */

/* Asking a ring; nothing here allocates. */

#include <assert.h>

#include "base/prefetch.h"
#include "placement/hashring_state.h"

enum {
    HASHRING_BATCH = 16 /* lines on their way at once */
};

const struct hashring_config *hashring_config(const struct hashring *ring)
{
    return &ring->config;
}

size_t hashring_node_count(const struct hashring *ring)
{
    return ring->member_count;
}

size_t hashring_zone_count(const struct hashring *ring)
{
    return ring->zone_count;
}

size_t hashring_token_count(const struct hashring *ring)
{
    return ring->token_count;
}

struct hashring_node hashring_node(const struct hashring *ring, size_t index)
{
    assert(index < ring->member_count);
    const struct member *m = &ring->members[index];
    return (struct hashring_node){ .id = m->id,
                                   .zone = m->zone,
                                   .weight = m->weight,
                                   .token_count = m->token_count,
                                   .share = m->share };
}

uint64_t hashring_token(const struct hashring *ring, size_t i, size_t *node)
{
    assert(i < ring->token_count);
    *node = ring->owners[i];
    return ring->positions[i];
}

uint64_t hashring_position(const struct hashring *ring, struct span key)
{
    return hashring_hash(ring, key);
}

/* The place of position among the tokens of its line, LINE_SLOTS if the line
 * cannot tell: it is too full, or a token has the same bits. All slots are
 * compared: that is some vectors, where a search is jumps. */
static size_t slot_of(const struct hashring *ring, const struct line *line,
                      uint64_t position)
{
    uint16_t low = (uint16_t)(position >> (ring->shift - 16));
    uint16_t slot = 0;
    for (size_t i = 0; i < LINE_SLOTS; i++)
        slot = (uint16_t)(slot + (line->low[i] < low));
    return slot < LINE_SLOTS && line->low[slot] != low ? slot : LINE_SLOTS;
}

/* By bisection of the part's tokens, halved without a branch. */
static size_t token_slowly(const struct hashring *ring, uint64_t position)
{
    const uint32_t *entry = &ring->firsts[position >> ring->shift];
    const uint64_t *at = &ring->positions[entry[0]];
    size_t count = entry[1] - entry[0];
    /* The answer is among at[0] .. at[count]. */
    while (count > 0) {
        size_t half = (count + 1) / 2;
        at += half & (0 - (size_t)(at[half - 1] < position));
        count -= half;
    }
    size_t token = (size_t)(at - ring->positions);
    return token < ring->token_count ? token : 0;
}

size_t hashring_token_at(const struct hashring *ring, uint64_t position)
{
    size_t part = (size_t)(position >> ring->shift);
    size_t slot = slot_of(ring, &ring->lines[part], position);
    if (slot == LINE_SLOTS)
        return token_slowly(ring, position);
    size_t token = ring->firsts[part] + slot;
    return token < ring->token_count ? token : 0;
}

/* Whose token hashring_token_at finds. */
static size_t node_at(const struct hashring *ring, uint64_t position)
{
    const struct line *line = &ring->lines[position >> ring->shift];
    size_t slot = slot_of(ring, line, position);
    if (slot == LINE_SLOTS)
        return ring->owners[token_slowly(ring, position)];
    return line->node[slot];
}

/* Probe i of a position: steps of the golden ratio, mixed. */
static uint64_t probe(uint64_t position, uint32_t i)
{
    return hashring_mix(position + i * 0x9e3779b97f4a7c15u);
}

/* The token of a position: of its probes, the one with the nearest token
 * clockwise (Appleton and O'Reilly, "Multi-probe consistent hashing", 2015);
 * the first of those that are equally near. */
static size_t nearest(const struct hashring *ring, uint64_t position)
{
    size_t best = hashring_token_at(ring, position);
    uint64_t best_far = ring->positions[best] - position;
    for (uint32_t i = 1; i < ring->config.probes; i++) {
        uint64_t place = probe(position, i);
        size_t token = hashring_token_at(ring, place);
        uint64_t far = ring->positions[token] - place;
        best = far < best_far ? token : best;
        best_far = far < best_far ? far : best_far;
    }
    return best;
}

size_t hashring_at(const struct hashring *ring, uint64_t position)
{
    if (ring->token_count == 0)
        return SIZE_MAX;
    if (ring->config.probes == 1)
        return node_at(ring, position);
    return ring->owners[nearest(ring, position)];
}

size_t hashring_find(const struct hashring *ring, struct span key)
{
    return hashring_at(ring, hashring_position(ring, key));
}

size_t hashring_find_all(const struct hashring *ring, const struct span *keys,
                         size_t count, uint32_t *nodes)
{
    uint64_t at[HASHRING_BATCH];
    if (ring->token_count == 0)
        return 0;
    for (size_t done = 0; done < count; done += HASHRING_BATCH) {
        size_t n = count - done;
        n = n < HASHRING_BATCH ? n : HASHRING_BATCH;
        for (size_t i = 0; i < n; i++) {
            at[i] = hashring_position(ring, keys[done + i]);
            prefetch_line(&ring->lines[at[i] >> ring->shift]);
        }
        for (size_t i = 0; i < n; i++)
            nodes[done + i] = (uint32_t)hashring_at(ring, at[i]);
    }
    return count;
}

/* The walk for replicas: those of new zones, and those passed by. */
struct walk {
    const struct hashring *ring;
    uint32_t *found;
    size_t found_count;
    size_t found_wanted; /* as there are zones */
    uint32_t spare[HASHRING_REPLICAS_MAX];
    size_t spare_count;
    size_t wanted;
    bool zoned; /* there are zones to tell apart */
};

static bool has(const uint32_t *nodes, size_t count, uint32_t node)
{
    for (size_t i = 0; i < count; i++)
        if (nodes[i] == node)
            return true;
    return false;
}

static bool has_zone(const struct walk *walk, uint32_t zone)
{
    for (size_t i = 0; i < walk->found_count; i++)
        if (walk->ring->members[walk->found[i]].zone_index == zone)
            return true;
    return false;
}

static bool is_done(const struct walk *walk)
{
    return walk->found_count == walk->found_wanted &&
           walk->found_count + walk->spare_count >= walk->wanted;
}

static void visit(struct walk *walk, uint32_t node)
{
    if (has(walk->found, walk->found_count, node))
        return;
    if (walk->found_count < walk->found_wanted &&
        !(walk->zoned && has_zone(walk, walk->ring->members[node].zone_index)))
        walk->found[walk->found_count++] = node;
    else if (walk->spare_count < walk->wanted &&
             !has(walk->spare, walk->spare_count, node))
        walk->spare[walk->spare_count++] = node;
}

static void walk_one(struct walk *walk, uint64_t position)
{
    const struct hashring *ring = walk->ring;
    size_t token = hashring_token_at(ring, position);
    for (size_t steps = 0; !is_done(walk); steps++) {
        assert(steps < ring->token_count);
        visit(walk, ring->owners[token]);
        token = token + 1 < ring->token_count ? token + 1 : 0;
    }
}

/* Probes on their way around the ring; one array each, as the nearest is
 * looked for at every step. */
struct heads {
    uint64_t far[HASHRING_PROBES_MAX]; /* from place to token */
    uint64_t place[HASHRING_PROBES_MAX];
    uint32_t token[HASHRING_PROBES_MAX];
    uint32_t steps[HASHRING_PROBES_MAX];
    uint32_t count;
};

static void heads_begin(struct heads *heads, const struct hashring *ring,
                        uint64_t position)
{
    heads->count = ring->config.probes;
    for (uint32_t i = 0; i < heads->count; i++) {
        uint64_t place = i ? probe(position, i) : position;
        size_t token = hashring_token_at(ring, place);
        heads->far[i] = ring->positions[token] - place;
        heads->place[i] = place;
        heads->token[i] = (uint32_t)token;
        heads->steps[i] = 0;
    }
}

/* The first of those that are equally near. */
static uint32_t heads_nearest(const struct heads *heads)
{
    uint32_t best = 0;
    uint64_t far = heads->far[0];
    for (uint32_t i = 1; i < heads->count; i++) {
        bool nearer = heads->far[i] < far;
        best = nearer ? i : best;
        far = nearer ? heads->far[i] : far;
    }
    return best;
}

static void heads_step(struct heads *heads, const struct hashring *ring,
                       uint32_t i)
{
    uint32_t next = heads->token[i] + 1;
    heads->token[i] = next < ring->token_count ? next : 0;
    heads->far[i] = ring->positions[heads->token[i]] - heads->place[i];
    heads->steps[i]++;
}

/* All probes go on at once, the nearest token next. So a node stands where its
 * own nearest token is to any probe, whoever else is there: one that comes or
 * goes moves one copy of a key at most. Going on from the best probe alone,
 * one that wins with another probe takes all copies along. */
static void walk_probes(struct walk *walk, uint64_t position)
{
    const struct hashring *ring = walk->ring;
    struct heads heads;
    heads_begin(&heads, ring, position);
    while (!is_done(walk)) {
        uint32_t i = heads_nearest(&heads);
        assert(heads.steps[i] < ring->token_count);
        visit(walk, ring->owners[heads.token[i]]);
        heads_step(&heads, ring, i);
    }
}

size_t hashring_replicas_at(const struct hashring *ring, uint64_t position,
                            size_t count, uint32_t *nodes)
{
    assert(count <= HASHRING_REPLICAS_MAX);
    if (count > ring->taker_count)
        count = ring->taker_count;
    if (count == 0)
        return 0;
    struct walk walk = { .ring = ring,
                         .found = nodes,
                         .wanted = count,
                         .zoned = ring->zone_count > 1 };
    walk.found_wanted =
        count < ring->zone_count || !walk.zoned ? count : ring->zone_count;
    if (ring->config.probes == 1)
        walk_one(&walk, position);
    else
        walk_probes(&walk, position);
    for (size_t i = 0; walk.found_count < count; i++)
        nodes[walk.found_count++] = walk.spare[i];
    return count;
}

size_t hashring_replicas(const struct hashring *ring, struct span key,
                         size_t count, uint32_t *nodes)
{
    return hashring_replicas_at(ring, hashring_position(ring, key), count,
                                nodes);
}

static void check_firsts(const struct hashring *ring)
{
    size_t parts = (size_t)1 << (64 - ring->shift);
    for (size_t b = 0; b <= parts; b++) {
        size_t token = ring->firsts[b];
        uint64_t begin = (uint64_t)b << ring->shift;
        assert(token <= ring->token_count);
        if (b == parts)
            assert(token == ring->token_count);
        else if (token < ring->token_count)
            assert(ring->positions[token] >= begin);
        if (token > 0 && b < parts)
            assert(ring->positions[token - 1] < begin);
    }
}

/* At each token, just after it, and where lines begin and end. */
static void check_lines(const struct hashring *ring)
{
    size_t parts = (size_t)1 << (64 - ring->shift);
    for (size_t i = 0; i < 2 * (ring->token_count + parts); i++) {
        uint64_t at = i % 2;
        if (i / 2 < ring->token_count)
            at += ring->positions[i / 2];
        else
            at = ((uint64_t)(i / 2 - ring->token_count) << ring->shift) - at;
        size_t token = token_slowly(ring, at);
        assert(hashring_token_at(ring, at) == token);
        assert(node_at(ring, at) == ring->owners[token]);
    }
}

void hashring_check(const struct hashring *ring)
{
    double share = 0;
    size_t tokens = 0;
    for (size_t i = 0; i < ring->member_count; i++) {
        const struct member *m = &ring->members[i];
        share += m->share;
        tokens += m->token_count;
        if (i > 0)
            assert(span_compare(ring->members[i - 1].id, m->id) < 0);
    }
    assert(tokens == ring->token_count);
    assert(tokens == 0 || (share > 0.999999 && share < 1.000001));
    for (size_t i = 1; i < ring->token_count; i++) {
        assert(ring->positions[i - 1] <= ring->positions[i]);
        if (ring->positions[i - 1] == ring->positions[i])
            assert(ring->owners[i - 1] <= ring->owners[i]);
    }
    if (ring->token_count > 0) {
        check_firsts(ring);
        check_lines(ring);
    }
}
