/* SPDX-License-Identifier: Apache-2.0 */

/* A recursive model over a sorted array.
 *
 * Slots say where the keys of a bucket begin; where they end need not be known,
 * since the keys of later buckets are greater than what is looked for. Nodes
 * are made breadth first: the queue of those to be filled is the array of
 * nodes. */

#include "rmi/rank_index.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"

enum {
    LEAF_KEYS = 6,     /* keys a bucket, about */
    WINDOW_KEYS = 24,  /* most keys of a bucket that has no node */
    NEAR_KEYS = 16,    /* looked at one by one */
    NODE_WIDTH_MIN = 2 /* its halves differ */
};

/* Marks a slot that is the number of a node. */
#define RANK_CHILD ((uint32_t)1 << 31)

struct rank_node {
    uint64_t base;       /* its first key */
    double scale;        /* buckets over the halved width */
    uint32_t slot;       /* its first */
    uint32_t last;       /* bucket */
    uint32_t begin, end; /* keys */
};

struct rank_index {
    const uint64_t *keys;
    size_t count;
    struct rank_node *nodes;
    size_t node_count, node_cap;
    uint32_t *slots;
    size_t slot_count, slot_cap;
};

/* Halved, a width fits in a signed number, which the processor turns into a
 * double without a branch. Never falls as key grows. */
static inline uint32_t rank_bucket(const struct rank_node *node, uint64_t key)
{
    double scaled = (double)(int64_t)((key - node->base) >> 1) * node->scale;
    uint64_t bucket = (uint64_t)(int64_t)scaled;
    return bucket < node->last ? (uint32_t)bucket : node->last;
}

static int rank_grow(struct rank_index *index, size_t slots)
{
    if (index->slot_cap - index->slot_count < slots) {
        size_t cap = index->slot_count + slots + index->slot_count / 2;
        uint32_t *grown = mem_resize(index->slots, cap, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        index->slots = grown;
        index->slot_cap = cap;
    }
    return DLHT_OK;
}

static int rank_add_node(struct rank_index *index, size_t begin, size_t end)
{
    if (index->node_count == index->node_cap) {
        size_t cap = index->node_cap ? 2 * index->node_cap : 16;
        struct rank_node *grown = mem_resize(index->nodes, cap, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        index->nodes = grown;
        index->node_cap = cap;
    }
    index->nodes[index->node_count++] =
        (struct rank_node){ .base = index->keys[begin],
                            .begin = (uint32_t)begin,
                            .end = (uint32_t)end };
    return DLHT_OK;
}

/* Slots of one node from its keys. */
static void rank_count(const struct rank_index *index,
                       const struct rank_node *node)
{
    uint32_t *slots = index->slots + node->slot;
    const uint64_t *keys = index->keys;
    uint32_t next = 0; /* slot to be written */
    for (uint32_t i = node->begin; i < node->end; i++) {
        uint32_t bucket = rank_bucket(node, keys[i]);
        while (next <= bucket)
            slots[next++] = i;
    }
    while (next <= node->last)
        slots[next++] = node->end;
}

/* Nodes for buckets with many keys that a line can tell apart. */
static int rank_add_children(struct rank_index *index, size_t at)
{
    struct rank_node node = index->nodes[at];
    uint32_t end = node.end;
    for (uint32_t b = node.last + 1; b-- > 0;) {
        uint32_t *slot = &index->slots[node.slot + b];
        uint32_t begin = *slot;
        if (end - begin > WINDOW_KEYS &&
            index->keys[end - 1] - index->keys[begin] >= NODE_WIDTH_MIN) {
            *slot = (uint32_t)index->node_count | RANK_CHILD;
            if (rank_add_node(index, begin, end) != DLHT_OK)
                return DLHT_ENOMEM;
        }
        end = begin;
    }
    return DLHT_OK;
}

/* The first and the last key of a node are in different buckets (but of a root
 * of one bucket), so this ends. */
static int rank_fill(struct rank_index *index, size_t at, size_t buckets)
{
    if (rank_grow(index, buckets) != DLHT_OK)
        return DLHT_ENOMEM;
    struct rank_node *node = &index->nodes[at];
    uint64_t width = index->keys[node->end - 1] - node->base;
    node->scale = (double)buckets / ((double)(width >> 1) + 1);
    node->slot = (uint32_t)index->slot_count;
    node->last = (uint32_t)buckets - 1;
    index->slot_count += buckets;
    rank_count(index, node);
    return rank_add_children(index, at);
}

static size_t rank_root_buckets(size_t count, size_t leaf_count)
{
    if (leaf_count)
        return leaf_count;
    size_t buckets = 1;
    while (buckets < RANK_INDEX_LEAVES_MAX && buckets * LEAF_KEYS < count)
        buckets *= 2;
    return buckets;
}

static bool rank_is_ascending(const uint64_t *keys, size_t count)
{
    bool ascending = true;
    for (size_t i = 1; i < count; i++)
        ascending &= keys[i - 1] <= keys[i];
    return ascending;
}

int rank_index_new(const uint64_t *keys, size_t count, size_t leaf_count,
                   struct rank_index **out)
{
    *out = NULL;
    if (count >= RANK_CHILD || leaf_count > RANK_INDEX_LEAVES_MAX ||
        !rank_is_ascending(keys, count))
        return DLHT_EINVAL;
    struct rank_index *index = mem_zero(1, sizeof *index);
    if (!index)
        return DLHT_ENOMEM;
    index->keys = keys;
    index->count = count;
    int rc = count ? rank_add_node(index, 0, count) : DLHT_OK;
    for (size_t i = 0; i < index->node_count && rc == DLHT_OK; i++) {
        size_t n = index->nodes[i].end - index->nodes[i].begin;
        size_t buckets =
            i == 0 ? rank_root_buckets(count, leaf_count) : n / LEAF_KEYS + 2;
        rc = rank_fill(index, i, buckets);
    }
    if (rc != DLHT_OK) {
        rank_index_free(index);
        return rc;
    }
    *out = index;
    return DLHT_OK;
}

void rank_index_free(struct rank_index *index)
{
    if (!index)
        return;
    free(index->nodes);
    free(index->slots);
    free(index);
}

/* The first key >= key from i on: near by, or by growing steps if many keys
 * repeat. */
static size_t rank_search(const struct rank_index *index, size_t i,
                          uint64_t key)
{
    const uint64_t *keys = index->keys;
    size_t near = index->count - i < NEAR_KEYS ? index->count : i + NEAR_KEYS;
    for (; i < near; i++)
        if (keys[i] >= key)
            return i;
    size_t hi = i;
    for (size_t step = NEAR_KEYS; hi < index->count && keys[hi] < key;
         step *= 2) {
        i = hi + 1;
        hi = index->count - hi > step ? hi + step : index->count;
    }
    while (i < hi) {
        size_t middle = i + (hi - i) / 2;
        if (keys[middle] < key)
            i = middle + 1;
        else
            hi = middle;
    }
    return i;
}

size_t rank_index_find(const struct rank_index *index, uint64_t key)
{
    if (index->count == 0)
        return 0;
    const struct rank_node *node = index->nodes;
    for (;;) {
        if (key <= node->base)
            return node->begin;
        uint32_t slot = index->slots[node->slot + rank_bucket(node, key)];
        if (!(slot & RANK_CHILD))
            return rank_search(index, slot, key);
        node = &index->nodes[slot & ~RANK_CHILD];
    }
}

size_t rank_index_bytes(const struct rank_index *index)
{
    return sizeof *index + index->node_cap * sizeof *index->nodes +
           index->slot_cap * sizeof *index->slots;
}
