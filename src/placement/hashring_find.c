/* SPDX-License-Identifier: Apache-2.0 */

/* Asking a ring; nothing here allocates. */

#include <assert.h>

#include "placement/hashring_state.h"

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
    return ring->config.hash(ring->config.context, key.data, key.len);
}

size_t hashring_token_at(const struct hashring *ring, uint64_t position)
{
    const uint32_t *entry = &ring->table[position >> ring->shift];
    const uint64_t *at = &ring->positions[entry[0]];
    size_t count = entry[1] - entry[0];
    /* The answer is among at[0] .. at[count]; halved without a branch. */
    while (count > 0) {
        size_t half = (count + 1) / 2;
        at += half & (0 - (size_t)(at[half - 1] < position));
        count -= half;
    }
    size_t token = (size_t)(at - ring->positions);
    return token < ring->token_count ? token : 0;
}

/* Probe i of a position: the finisher of splitmix64 over steps of the golden
 * ratio. */
static uint64_t probe(uint64_t position, uint32_t i)
{
    uint64_t z = position + i * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
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
    return ring->owners[nearest(ring, position)];
}

size_t hashring_find(const struct hashring *ring, struct span key)
{
    return hashring_at(ring, hashring_position(ring, key));
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
        !has_zone(walk, walk->ring->members[node].zone_index))
        walk->found[walk->found_count++] = node;
    else if (walk->spare_count < walk->wanted &&
             !has(walk->spare, walk->spare_count, node))
        walk->spare[walk->spare_count++] = node;
}

size_t hashring_replicas_at(const struct hashring *ring, uint64_t position,
                            size_t count, uint32_t *nodes)
{
    assert(count <= HASHRING_REPLICAS_MAX);
    if (count > ring->member_count)
        count = ring->member_count;
    if (count == 0)
        return 0;
    struct walk walk = { .ring = ring, .found = nodes, .wanted = count };
    walk.found_wanted = count < ring->zone_count ? count : ring->zone_count;
    size_t token = nearest(ring, position);
    for (size_t steps = 0; !is_done(&walk); steps++) {
        assert(steps < ring->token_count);
        visit(&walk, ring->owners[token]);
        token = token + 1 < ring->token_count ? token + 1 : 0;
    }
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

static void check_table(const struct hashring *ring)
{
    size_t buckets = (size_t)1 << (64 - ring->shift);
    for (size_t b = 0; b <= buckets; b++) {
        size_t token = ring->table[b];
        uint64_t begin = (uint64_t)b << ring->shift;
        assert(token <= ring->token_count);
        if (b == buckets)
            assert(token == ring->token_count);
        else if (token < ring->token_count)
            assert(ring->positions[token] >= begin);
        if (token > 0 && b < buckets)
            assert(ring->positions[token - 1] < begin);
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
    if (ring->table)
        check_table(ring);
}
