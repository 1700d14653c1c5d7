/* SPDX-License-Identifier: Apache-2.0 */

/* What always holds of a tree. */

#include <assert.h>

#include "store/records_entry.h"
#include "store/records_tree.h"

/* Checks a node and what is below it against the bounds of its keys; low or
 * high of NULL data and has_* false: none. */
struct bounds {
    struct span low;
    struct span high;
    bool has_low;
    bool has_high;
};

static struct records_child node_check(const struct records_tree *tree,
                                       uint32_t ref, unsigned level,
                                       struct bounds bounds, size_t *objects)
{
    const struct records_arena *arena = tree->arena;
    const struct records_node *node = records_node_at(arena, ref);
    struct records_child sum = { .node = ref };
    assert(node->self == ref && node->level == level);
    records_node_check(arena, node);
    *objects += 1;
    const uint32_t *refs = records_node_refs(node);
    for (size_t i = 0; i < node->count; i++) {
        struct span key = records_entry_key(arena, refs[i]);
        assert(!bounds.has_low || span_compare(bounds.low, key) <= 0);
        assert(!bounds.has_high || span_compare(key, bounds.high) < 0);
    }
    if (level == 0) {
        assert(node->count > 0);
        sum.count = node->count;
        sum.bytes = records_node_bytes(arena, node, 0, node->count);
        return sum;
    }
    *objects += node->count;
    for (size_t i = 0; i <= node->count; i++) {
        struct bounds inner = bounds;
        if (i > 0) {
            inner.low = records_entry_key(arena, refs[i - 1]);
            inner.has_low = true;
        }
        if (i < node->count) {
            inner.high = records_entry_key(arena, refs[i]);
            inner.has_high = true;
        }
        struct records_child child = records_node_children(node)[i];
        struct records_child found =
            node_check(tree, child.node, level - 1, inner, objects);
        assert(found.count == child.count && found.bytes == child.bytes);
        sum.count += child.count;
        sum.bytes += child.bytes;
    }
    return sum;
}

size_t records_tree_check(const struct records_tree *tree)
{
    size_t objects = 0;
    if (tree->root == 0) {
        assert(tree->count == 0 && tree->bytes == 0 && tree->height == 0);
        return 0;
    }
    struct bounds all = { .has_low = false };
    struct records_child sum =
        node_check(tree, tree->root, tree->height, all, &objects);
    assert(sum.count == tree->count && sum.bytes == tree->bytes);

    uint32_t previous = 0;
    uint64_t count = 0;
    for (uint32_t ref = tree->first; ref;) {
        const struct records_node *leaf = records_node_at(tree->arena, ref);
        assert(leaf->previous == previous);
        count += leaf->count;
        previous = ref;
        ref = leaf->next;
    }
    assert(previous == tree->last && count == tree->count);
    return objects;
}
