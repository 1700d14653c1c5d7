/* SPDX-License-Identifier: Apache-2.0 */

/* store/records_node.h - one node of the tree: sorted keys, found fast.
 *
 * All keys of a node share their first `skip` bytes. The 8 bytes after these
 * are kept in the node as one big-endian number each, so a search compares
 * numbers and looks at a whole key only where two numbers are equal.
 *
 *   leaf    head | 64 numbers | 64 records
 *   inner   head | 70 numbers | 70 separators | 71 children
 *
 * Child i of an inner node holds the keys k with separator i-1 <= k <
 * separator i. A node need not be half full; only an empty one is dropped. */

#ifndef STORE_RECORDS_NODE_H
#define STORE_RECORDS_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "store/records_arena.h"

enum {
    RECORDS_LEAF_KEYS = 64,
    RECORDS_INNER_KEYS = 70,
    RECORDS_NODE_PREFIX = 28 /* of the shared bytes, those kept in the node */
};

struct records_node {
    uint32_t self;
    uint32_t previous; /* leaves only: the neighbours in key order */
    uint32_t next;
    uint16_t count; /* keys */
    uint8_t level;  /* 0: leaf */
    uint8_t unused;
    uint32_t skip;
    uint8_t prefix[RECORDS_NODE_PREFIX];
};

/* What is below a child. */
struct records_child {
    uint64_t bytes; /* of keys and values */
    uint32_t count; /* of records */
    uint32_t node;
};

struct records_leaf {
    struct records_node head;
    uint64_t words[RECORDS_LEAF_KEYS];
    uint32_t refs[RECORDS_LEAF_KEYS];
};

struct records_inner {
    struct records_node head;
    uint64_t words[RECORDS_INNER_KEYS];
    uint32_t refs[RECORDS_INNER_KEYS];
    struct records_child children[RECORDS_INNER_KEYS + 1];
};

_Static_assert(sizeof(struct records_node) == 48, "no holes");
_Static_assert(sizeof(struct records_leaf) == RECORDS_ARENA_LEAF_BYTES,
               "a leaf is an object of its kind");
_Static_assert(sizeof(struct records_inner) == RECORDS_ARENA_INNER_BYTES,
               "an inner node is an object of its kind");

static inline struct records_node *
records_node_at(const struct records_arena *arena, uint32_t ref)
{
    return (struct records_node *)records_arena_at(arena, ref);
}

static inline uint64_t *records_node_words(const struct records_node *node)
{
    return ((struct records_leaf *)(uintptr_t)node)->words;
}

static inline uint32_t *records_node_refs(const struct records_node *node)
{
    if (node->level == 0)
        return ((struct records_leaf *)(uintptr_t)node)->refs;
    return ((struct records_inner *)(uintptr_t)node)->refs;
}

static inline struct records_child *
records_node_children(const struct records_node *node)
{
    return ((struct records_inner *)(uintptr_t)node)->children;
}

/* Asks for all of a leaf, or the numbers of an inner node. */
static inline void records_node_prefetch(const struct records_node *node)
{
    const uint8_t *bytes = (const uint8_t *)node;
    for (size_t i = 0; i < RECORDS_ARENA_LEAF_BYTES; i += 64)
        prefetch_line(bytes + i);
}

/* An empty node of that level, or NULL: no memory. */
struct records_node *records_node_new(struct records_arena *arena,
                                      unsigned level);

/* How many keys of the node are less than key; *equal says whether the next
 * one is key itself. */
size_t records_node_lower(const struct records_arena *arena,
                          const struct records_node *node, struct span key,
                          bool *equal);

/* Puts ref, whose key is key, before the key at index. There must be room. */
void records_node_insert(const struct records_arena *arena,
                         struct records_node *node, size_t index,
                         struct span key, uint32_t ref);

/* Puts refs, whose keys are in ascending order and greater than all that are
 * there, behind these. There must be room; count > 0. */
void records_node_extend(const struct records_arena *arena,
                         struct records_node *node, const uint32_t *refs,
                         size_t count);

/* Takes out count keys from index on; what they referred to stays. */
void records_node_erase(struct records_node *node, size_t index, size_t count);

/* Appends keys [from, to) of another node of the same level; children do not
 * come along. All of them must be greater than those there. */
void records_node_append(const struct records_arena *arena,
                         struct records_node *node,
                         const struct records_node *from_node, size_t from,
                         size_t to);

/* Makes an empty leaf a copy of entries [from, to) of another, with other
 * refs, whose keys are the same. */
void records_node_copy(struct records_node *leaf,
                       const struct records_node *from_leaf, size_t from,
                       size_t to, const uint32_t *refs);

/* Keeps the first count keys. */
void records_node_truncate(const struct records_arena *arena,
                           struct records_node *node, size_t count);

/* Length of what two spans have in common at their beginning. */
size_t records_node_common(struct span a, struct span b);

/* Key and value bytes of entries [from, to) of a leaf. */
uint64_t records_node_bytes(const struct records_arena *arena,
                            const struct records_node *leaf, size_t from,
                            size_t to);

/* Asserts order, numbers and shared bytes. */
void records_node_check(const struct records_arena *arena,
                        const struct records_node *node);

#endif
