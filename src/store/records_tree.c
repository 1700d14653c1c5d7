/* SPDX-License-Identifier: Apache-2.0 */

/* Insertion, removal and search. A split sets aside all nodes it will need
 * before it changes any, so that it cannot fail half-way. */

#include "store/records_tree.h"

#include <assert.h>
#include <string.h>

#include "dlht/err.h"
#include "store/records_entry.h"

enum {
    /* A level is split only after 24 splits of the level below. */
    HEIGHT_MAX = 16,
    /* Below the first a node looks for a neighbour that it fits into with the
     * second at most: a quarter and three quarters of a full one. */
    LEAF_FEW = RECORDS_LEAF_KEYS / 4,
    LEAF_MERGED = RECORDS_LEAF_KEYS * 3 / 4,
    INNER_FEW = RECORDS_INNER_KEYS / 4,
    INNER_MERGED = RECORDS_INNER_KEYS * 3 / 4
};

/* The inner nodes from the root down, each with the child taken. */
struct path {
    struct {
        struct records_node *node;
        size_t child;
    } steps[HEIGHT_MAX];
    unsigned height;
};

/* The leaf that has or would have key, and how it was reached. */
static struct records_node *descend(const struct records_tree *tree,
                                    struct span key, struct path *path)
{
    struct records_node *node = records_node_at(tree->arena, tree->root);
    path->height = tree->height;
    assert(tree->height <= HEIGHT_MAX);
    for (unsigned i = 0; i < tree->height; i++) {
        bool equal;
        size_t child = records_node_lower(tree->arena, node, key, &equal);
        child += equal;
        path->steps[i].node = node;
        path->steps[i].child = child;
        node = records_node_at(tree->arena,
                               records_node_children(node)[child].node);
        records_node_prefetch(node);
    }
    assert(node->level == 0);
    return node;
}

/* The path to the last leaf. */
static void descend_last(const struct records_tree *tree, struct path *path)
{
    struct records_node *node = records_node_at(tree->arena, tree->root);
    path->height = tree->height;
    for (unsigned i = 0; i < tree->height; i++) {
        path->steps[i].node = node;
        path->steps[i].child = node->count;
        node = records_node_at(tree->arena,
                               records_node_children(node)[node->count].node);
    }
}

static struct records_child *step_child(const struct path *path, unsigned level)
{
    return &records_node_children(
        path->steps[level].node)[path->steps[level].child];
}

/* Adds to the sums of the first `levels` steps. */
static void path_add(struct path *path, unsigned levels, uint32_t count,
                     uint64_t bytes)
{
    for (unsigned i = 0; i < levels; i++) {
        struct records_child *child = step_child(path, i);
        child->count += count; /* wraps where something is taken away */
        child->bytes += bytes;
    }
}

/* What a split needs, got beforehand. */
struct spare {
    struct records_node *nodes[HEIGHT_MAX + 2];
    size_t count;
    uint32_t separator;
};

static void spare_drop(struct records_tree *tree, struct spare *spare)
{
    while (spare->count > 0)
        records_arena_give(tree->arena, spare->nodes[--spare->count]->self);
    if (spare->separator)
        records_entry_free(tree->arena, spare->separator);
    spare->separator = 0;
}

static bool spare_node(struct records_tree *tree, struct spare *spare,
                       unsigned level)
{
    struct records_node *node = records_node_new(tree->arena, level);
    if (!node)
        return false;
    spare->nodes[spare->count++] = node;
    return true;
}

/* An inner node for each full one on the path that a split from below would
 * reach, and a root if it reaches the top; the separator between two keys,
 * the shortest there is; lowest node last, so that it is used first. */
static bool spare_get(struct records_tree *tree, const struct path *path,
                      struct span low, struct span high, struct spare *spare)
{
    size_t common = records_node_common(low, high);
    struct record separator = { .key = span_of(high.data, common + 1) };
    assert(span_compare(low, high) < 0);
    spare->separator = records_entry_new(tree->arena, &separator);
    if (!spare->separator)
        return false;
    unsigned top = path->height;
    while (top > 0 && path->steps[top - 1].node->count == RECORDS_INNER_KEYS)
        top--;
    if (top == 0 && !spare_node(tree, spare, path->height + 1))
        return false;
    for (unsigned i = top; i < path->height; i++)
        if (!spare_node(tree, spare, path->height - i))
            return false;
    return spare_node(tree, spare, 0);
}

static struct records_node *spare_take(struct spare *spare)
{
    assert(spare->count > 0);
    return spare->nodes[--spare->count];
}

static void inner_insert(const struct records_arena *arena,
                         struct records_node *node, size_t index,
                         uint32_t separator, struct records_child right)
{
    struct records_child *children = records_node_children(node);
    memmove(children + index + 2, children + index + 1,
            (node->count - index) * sizeof *children);
    children[index + 1] = right;
    records_node_insert(arena, node, index, records_entry_key(arena, separator),
                        separator);
}

static struct records_child inner_sum(const struct records_node *node)
{
    struct records_child sum = { .node = node->self };
    const struct records_child *children = records_node_children(node);
    for (size_t i = 0; i <= node->count; i++) {
        sum.count += children[i].count;
        sum.bytes += children[i].bytes;
    }
    return sum;
}

/* Divides a full node, then inserts (*separator, *right) after its child
 * index; on return the two are what goes into the level above. A node that
 * grows at its end keeps almost all of its children. */
static void inner_split(const struct records_arena *arena,
                        struct records_node *node, size_t index,
                        struct records_node *other, uint32_t *separator,
                        struct records_child *right)
{
    assert(node->count == RECORDS_INNER_KEYS && other->level == node->level);
    size_t middle = node->count / 2;
    if (index == node->count)
        middle = node->count - 1u;
    uint32_t up = records_node_refs(node)[middle];
    records_node_append(arena, other, node, middle + 1, node->count);
    memcpy(records_node_children(other),
           records_node_children(node) + middle + 1,
           (node->count - middle) * sizeof(struct records_child));
    records_node_truncate(arena, node, middle);
    if (index <= middle)
        inner_insert(arena, node, index, *separator, *right);
    else
        inner_insert(arena, other, index - middle - 1, *separator, *right);
    *separator = up;
    *right = inner_sum(other);
}

static void root_grow(struct records_tree *tree, struct records_node *root,
                      uint32_t separator, struct records_child right)
{
    struct records_child *children = records_node_children(root);
    children[0] =
        (struct records_child){ .node = tree->root,
                                .count = (uint32_t)tree->count - right.count,
                                .bytes = tree->bytes - right.bytes };
    inner_insert(tree->arena, root, 0, separator, right);
    tree->root = root->self;
    tree->height++;
}

/* Puts a new right neighbour of the node at the path's end into the levels
 * above. added is what the whole tree has gained; its sums know already. */
static void attach(struct records_tree *tree, struct path *path,
                   struct spare *spare, struct records_child right,
                   uint32_t added_count, uint64_t added_bytes)
{
    uint32_t separator = spare->separator;
    spare->separator = 0;
    for (unsigned i = path->height; i-- > 0;) {
        struct records_node *node = path->steps[i].node;
        struct records_child *left = step_child(path, i);
        left->count += added_count - right.count;
        left->bytes += added_bytes - right.bytes;
        if (node->count < RECORDS_INNER_KEYS) {
            inner_insert(tree->arena, node, path->steps[i].child, separator,
                         right);
            path_add(path, i, added_count, added_bytes);
            return;
        }
        inner_split(tree->arena, node, path->steps[i].child, spare_take(spare),
                    &separator, &right);
    }
    root_grow(tree, spare_take(spare), separator, right);
}

/* Where to cut a full leaf for a key that comes at index: in the middle,
 * unless keys seem to arrive in order at either end of the tree. */
static size_t leaf_cut(const struct records_node *leaf, size_t index)
{
    if (index == leaf->count && !leaf->next)
        return leaf->count;
    if (index == 0 && !leaf->previous)
        return 0;
    return leaf->count / 2;
}

static void leaf_link(struct records_tree *tree, struct records_node *leaf,
                      struct records_node *right)
{
    right->previous = leaf->self;
    right->next = leaf->next;
    leaf->next = right->self;
    if (right->next)
        records_node_at(tree->arena, right->next)->previous = right->self;
    else
        tree->last = right->self;
}

static int insert_split(struct records_tree *tree, struct path *path,
                        struct records_node *leaf, size_t index, uint32_t ref)
{
    const struct records_arena *arena = tree->arena;
    const uint32_t *refs = records_node_refs(leaf);
    struct span key = records_entry_key(arena, ref);
    size_t cut = leaf_cut(leaf, index);
    bool goes_left = index <= cut && cut < leaf->count;
    struct span low = key;
    struct span high = key;
    if (!goes_left || index < cut)
        low = records_entry_key(arena, refs[cut - 1]);
    if (goes_left || index > cut)
        high = records_entry_key(arena, refs[cut]);

    struct spare spare = { .count = 0 };
    if (!spare_get(tree, path, low, high, &spare)) {
        spare_drop(tree, &spare);
        return DLHT_ENOMEM;
    }
    size_t data_len = records_entry_data_len(records_entry_at(arena, ref));
    struct records_node *right = spare_take(&spare);
    records_node_append(arena, right, leaf, cut, leaf->count);
    records_node_truncate(arena, leaf, cut);
    leaf_link(tree, leaf, right);
    if (goes_left)
        records_node_insert(arena, leaf, index, key, ref);
    else
        records_node_insert(arena, right, index - cut, key, ref);

    if (cut > 0 && right->count > 1)
        tree->divided = leaf->self;
    tree->count++;
    tree->bytes += data_len;
    struct records_child child = {
        .node = right->self,
        .count = right->count,
        .bytes = records_node_bytes(arena, right, 0, right->count),
    };
    attach(tree, path, &spare, child, 1, data_len);
    assert(spare.count == 0);
    return DLHT_OK;
}

static bool root_new(struct records_tree *tree)
{
    struct records_node *leaf = records_node_new(tree->arena, 0);
    if (!leaf)
        return false;
    tree->root = tree->first = tree->last = leaf->self;
    return true;
}

int records_tree_insert(struct records_tree *tree, uint32_t ref)
{
    if (tree->root == 0 && !root_new(tree))
        return DLHT_ENOMEM;
    struct path path;
    tree->divided = 0;
    struct records_entry *entry = records_entry_at(tree->arena, ref);
    struct span key = records_entry_key(tree->arena, ref);
    struct records_node *leaf = descend(tree, key, &path);
    bool equal;
    size_t index = records_node_lower(tree->arena, leaf, key, &equal);
    assert(!equal);
    if (leaf->count == RECORDS_LEAF_KEYS) {
        int rc = insert_split(tree, &path, leaf, index, ref);
        if (rc == DLHT_OK)
            tree->changes++;
        return rc;
    }
    records_node_insert(tree->arena, leaf, index, key, ref);
    path_add(&path, path.height, 1, records_entry_data_len(entry));
    tree->count++;
    tree->bytes += records_entry_data_len(entry);
    tree->changes++;
    return DLHT_OK;
}

int records_tree_append(struct records_tree *tree,
                        const struct records_node *leaf, size_t from, size_t to,
                        const uint32_t *refs)
{
    struct path path = { .height = 0 };
    struct spare spare = { .count = 0 };
    struct records_arena *arena = tree->arena;
    assert(from < to && to <= leaf->count);
    if (tree->root) {
        struct records_node *last = records_node_at(arena, tree->last);
        uint32_t low = records_node_refs(last)[last->count - 1u];
        descend_last(tree, &path);
        if (!spare_get(tree, &path, records_entry_key(arena, low),
                       records_entry_key(arena, refs[0]), &spare)) {
            spare_drop(tree, &spare);
            return DLHT_ENOMEM;
        }
    } else if (!root_new(tree)) {
        return DLHT_ENOMEM;
    }
    struct records_node *node =
        spare.count ? spare_take(&spare) : records_node_at(arena, tree->root);
    records_node_copy(node, leaf, from, to, refs);
    struct records_child child = {
        .node = node->self,
        .count = node->count,
        .bytes = records_node_bytes(arena, node, 0, node->count),
    };
    tree->count += child.count;
    tree->bytes += child.bytes;
    tree->changes++;
    if (tree->root == node->self)
        return DLHT_OK;
    leaf_link(tree, records_node_at(arena, tree->last), node);
    attach(tree, &path, &spare, child, child.count, child.bytes);
    assert(spare.count == 0);
    return DLHT_OK;
}

/* A new leaf with these behind the last one, which is at the path's end; the
 * nodes for it are in spare. */
static void append_leaf(struct records_tree *tree, struct path *path,
                        struct spare *spare, const uint32_t *refs, size_t count)
{
    struct records_node *node = spare_take(spare);
    records_node_extend(tree->arena, node, refs, count);
    struct records_child child = {
        .node = node->self,
        .count = node->count,
        .bytes = records_node_bytes(tree->arena, node, 0, node->count),
    };
    tree->count += child.count;
    tree->bytes += child.bytes;
    leaf_link(tree, records_node_at(tree->arena, tree->last), node);
    attach(tree, path, spare, child, child.count, child.bytes);
    assert(spare->count == 0);
}

int records_tree_extend(struct records_tree *tree, const uint32_t *refs,
                        size_t count)
{
    struct path path;
    struct spare spare = { .count = 0 };
    struct records_arena *arena = tree->arena;
    assert(count > 0 && count <= RECORDS_LEAF_KEYS);
    if (tree->root == 0 && !root_new(tree))
        return DLHT_ENOMEM;
    descend_last(tree, &path);
    struct records_node *leaf = records_node_at(arena, tree->last);
    size_t had = leaf->count;
    size_t here =
        RECORDS_LEAF_KEYS - had < count ? RECORDS_LEAF_KEYS - had : count;
    if (here < count) {
        uint32_t low = here ? refs[here - 1] : records_node_refs(leaf)[had - 1];
        if (!spare_get(tree, &path, records_entry_key(arena, low),
                       records_entry_key(arena, refs[here]), &spare)) {
            spare_drop(tree, &spare);
            return DLHT_ENOMEM;
        }
    }
    if (here) {
        records_node_extend(arena, leaf, refs, here);
        uint64_t bytes = records_node_bytes(arena, leaf, had, had + here);
        path_add(&path, path.height, (uint32_t)here, bytes);
        tree->count += here;
        tree->bytes += bytes;
    }
    if (here < count)
        append_leaf(tree, &path, &spare, refs + here, count - here);
    tree->divided = 0;
    tree->changes++;
    return DLHT_OK;
}

/* Frees a child and the separator beside it. */
static void inner_drop(struct records_arena *arena, struct records_node *node,
                       size_t child)
{
    struct records_child *children = records_node_children(node);
    records_arena_give(arena, children[child].node);
    memmove(children + child, children + child + 1,
            (node->count - child) * sizeof *children);
    if (node->count > 0) {
        size_t separator = child > 0 ? child - 1 : 0;
        records_entry_free(arena, records_node_refs(node)[separator]);
        records_node_erase(node, separator, 1);
    }
}

static void leaf_unlink(struct records_tree *tree, struct records_node *leaf)
{
    if (leaf->next)
        records_node_at(tree->arena, leaf->next)->previous = leaf->previous;
    else
        tree->last = leaf->previous;
    if (leaf->previous)
        records_node_at(tree->arena, leaf->previous)->next = leaf->next;
    else
        tree->first = leaf->next;
}

/* Moves all of the right node into the left one, its neighbour under the same
 * parent, if that does not fill it too much. */
static bool merge(struct records_tree *tree, struct records_node *parent,
                  size_t left_index)
{
    struct records_arena *arena = tree->arena;
    struct records_child *children = records_node_children(parent);
    struct records_node *left =
        records_node_at(arena, children[left_index].node);
    struct records_node *right =
        records_node_at(arena, children[left_index + 1].node);
    if (left->level == 0) {
        if (left->count + right->count > LEAF_MERGED)
            return false;
        leaf_unlink(tree, right);
    } else {
        if (left->count + right->count >= INNER_MERGED)
            return false;
        /* The separator comes down: a copy would need memory. */
        uint32_t down = records_node_refs(parent)[left_index];
        size_t at = left->count;
        records_node_insert(arena, left, at, records_entry_key(arena, down),
                            down);
        memcpy(records_node_children(left) + at + 1,
               records_node_children(right),
               (right->count + 1u) * sizeof *children);
    }
    bool inner = left->level > 0;
    records_node_append(arena, left, right, 0, right->count);
    children[left_index].count += children[left_index + 1].count;
    children[left_index].bytes += children[left_index + 1].bytes;
    records_arena_give(arena, right->self);
    memmove(children + left_index + 1, children + left_index + 2,
            (parent->count - left_index - 1) * sizeof *children);
    if (!inner)
        records_entry_free(arena, records_node_refs(parent)[left_index]);
    records_node_erase(parent, left_index, 1);
    return true;
}

static void root_lower(struct records_tree *tree)
{
    while (tree->height > 0) {
        struct records_node *root = records_node_at(tree->arena, tree->root);
        if (root->count > 0)
            return;
        tree->root = records_node_children(root)[0].node;
        tree->height--;
        records_arena_give(tree->arena, root->self);
    }
}

/* After a removal below: empty nodes go, small ones join a neighbour, a root
 * with one child gives way to it. */
static void shrink(struct records_tree *tree, struct path *path,
                   struct records_node *node)
{
    bool empty = node->count == 0;
    if (empty)
        leaf_unlink(tree, node);
    for (unsigned i = path->height; i-- > 0;) {
        struct records_node *parent = path->steps[i].node;
        size_t child = path->steps[i].child;
        size_t few = node->level == 0 ? LEAF_FEW : INNER_FEW;
        if (empty) {
            empty = parent->count == 0;
            inner_drop(tree->arena, parent, child);
        } else if (node->count >= few ||
                   !((child < parent->count && merge(tree, parent, child)) ||
                     (child > 0 && merge(tree, parent, child - 1)))) {
            return;
        }
        node = parent;
    }
    if (empty) {
        records_arena_give(tree->arena, tree->root);
        tree->root = 0;
        tree->height = 0;
    }
    root_lower(tree);
}

void records_tree_erase(struct records_tree *tree, uint32_t ref)
{
    struct path path;
    struct span key = records_entry_key(tree->arena, ref);
    struct records_node *leaf = descend(tree, key, &path);
    bool equal;
    size_t index = records_node_lower(tree->arena, leaf, key, &equal);
    assert(equal && records_node_refs(leaf)[index] == ref);
    uint64_t data_len =
        records_entry_data_len(records_entry_at(tree->arena, ref));
    records_node_erase(leaf, index, 1);
    path_add(&path, path.height, UINT32_MAX, 0 - data_len);
    tree->count--;
    tree->bytes -= data_len;
    tree->changes++;
    if (leaf->count < LEAF_FEW)
        shrink(tree, &path, leaf);
}

/* The leaf that has the record with exactly n before it, and how it was
 * reached; *index is its place there. n < count */
static struct records_node *descend_nth(const struct records_tree *tree,
                                        uint64_t n, struct path *path,
                                        size_t *index)
{
    struct records_node *node = records_node_at(tree->arena, tree->root);
    path->height = tree->height;
    for (unsigned i = 0; i < tree->height; i++) {
        const struct records_child *children = records_node_children(node);
        size_t child = 0;
        while (n >= children[child].count)
            n -= children[child++].count;
        path->steps[i].node = node;
        path->steps[i].child = child;
        node = records_node_at(tree->arena, children[child].node);
    }
    assert(n < node->count);
    *index = (size_t)n;
    return node;
}

/* Frees a node, and all nodes and separators below it. */
static void subtree_free(struct records_arena *arena, uint32_t ref,
                         unsigned level)
{
    if (level > 0) {
        const struct records_node *node = records_node_at(arena, ref);
        for (size_t i = 0; i <= node->count; i++)
            subtree_free(arena, records_node_children(node)[i].node, level - 1);
        for (size_t i = 0; i < node->count; i++)
            records_entry_free(arena, records_node_refs(node)[i]);
    }
    records_arena_give(arena, ref);
}

static void cut_all(struct records_tree *tree)
{
    subtree_free(tree->arena, tree->root, tree->height);
    tree->root = tree->first = tree->last = 0;
    tree->height = 0;
    tree->count = tree->bytes = 0;
    tree->changes++;
}

/* Drops the children before or after the one taken, with their separators. */
static void inner_cut(struct records_arena *arena, struct records_node *node,
                      size_t child, bool left)
{
    struct records_child *children = records_node_children(node);
    size_t from = left ? 0 : child + 1;
    size_t to = left ? child : node->count + 1u;
    for (size_t i = from; i < to; i++) {
        subtree_free(arena, children[i].node, node->level - 1u);
        records_entry_free(arena, records_node_refs(node)[left ? i : i - 1]);
    }
    if (!left) {
        node->count = (uint16_t)child;
        return;
    }
    memmove(children, children + child,
            (node->count + 1 - child) * sizeof *children);
    records_node_erase(node, 0, child);
}

/* The path leads to a record that stays, at the edge of the cut. Along it the
 * nodes lose what is on one side, from the leaf up, and sums follow. */
static void path_cut(struct records_tree *tree, struct path *path,
                     struct records_node *leaf, bool left)
{
    struct records_child sum = {
        .node = leaf->self,
        .count = leaf->count,
        .bytes = records_node_bytes(tree->arena, leaf, 0, leaf->count),
    };
    for (unsigned i = path->height; i-- > 0;) {
        struct records_node *node = path->steps[i].node;
        *step_child(path, i) = sum;
        inner_cut(tree->arena, node, path->steps[i].child, left);
        sum = inner_sum(node);
    }
    tree->count = sum.count;
    tree->bytes = sum.bytes;
    tree->changes++;
    root_lower(tree);
}

void records_tree_cut_left(struct records_tree *tree, uint64_t count)
{
    struct path path;
    size_t index;
    assert(count <= tree->count);
    if (count == 0)
        return;
    if (count == tree->count) {
        cut_all(tree);
        return;
    }
    struct records_node *leaf = descend_nth(tree, count, &path, &index);
    records_node_erase(leaf, 0, index);
    leaf->previous = 0;
    tree->first = leaf->self;
    path_cut(tree, &path, leaf, true);
}

void records_tree_cut_right(struct records_tree *tree, uint64_t count)
{
    struct path path;
    size_t index;
    assert(count <= tree->count);
    if (count == 0)
        return;
    if (count == tree->count) {
        cut_all(tree);
        return;
    }
    uint64_t last = tree->count - count - 1;
    struct records_node *leaf = descend_nth(tree, last, &path, &index);
    records_node_truncate(tree->arena, leaf, index + 1);
    leaf->next = 0;
    tree->last = leaf->self;
    path_cut(tree, &path, leaf, false);
}

void records_tree_swap(struct records_tree *tree, uint32_t old, uint32_t ref)
{
    struct path path;
    const struct records_arena *arena = tree->arena;
    struct span key = records_entry_key(arena, old);
    struct records_node *leaf = descend(tree, key, &path);
    bool equal;
    size_t index = records_node_lower(arena, leaf, key, &equal);
    assert(equal && records_node_refs(leaf)[index] == old);
    records_node_refs(leaf)[index] = ref;
    uint64_t delta = records_entry_data_len(records_entry_at(arena, ref)) -
                     records_entry_data_len(records_entry_at(arena, old));
    path_add(&path, path.height, 0, delta);
    tree->bytes += delta;
}

void records_tree_resize(struct records_tree *tree, struct span key,
                         int64_t delta)
{
    struct path path;
    if (delta == 0)
        return;
    descend(tree, key, &path);
    path_add(&path, path.height, 0, (uint64_t)delta);
    tree->bytes += (uint64_t)delta;
}

struct records_node *records_tree_leaf(const struct records_tree *tree,
                                       struct span key)
{
    struct path path;
    return descend(tree, key, &path);
}

struct records_slot records_tree_seek(const struct records_tree *tree,
                                      struct span from)
{
    struct records_slot slot = { NULL, 0 };
    if (tree->root == 0)
        return slot;
    struct path path;
    bool equal;
    slot.leaf = descend(tree, from, &path);
    slot.index = records_node_lower(tree->arena, slot.leaf, from, &equal);
    if (slot.index == slot.leaf->count) {
        slot.leaf = slot.leaf->next
                        ? records_node_at(tree->arena, slot.leaf->next)
                        : NULL;
        slot.index = 0;
    }
    return slot;
}

struct records_slot records_tree_seek_last(const struct records_tree *tree,
                                           struct span before)
{
    struct records_slot slot = { NULL, 0 };
    if (tree->root == 0)
        return slot;
    struct path path;
    bool equal;
    slot.leaf = descend(tree, before, &path);
    slot.index = records_node_lower(tree->arena, slot.leaf, before, &equal);
    if (slot.index == 0) {
        slot.leaf = slot.leaf->previous
                        ? records_node_at(tree->arena, slot.leaf->previous)
                        : NULL;
        slot.index = slot.leaf ? slot.leaf->count : 1;
    }
    slot.index--;
    return slot;
}

struct records_slot records_tree_nth(const struct records_tree *tree,
                                     uint64_t n)
{
    struct records_slot slot = { NULL, 0 };
    struct path path;
    if (n < tree->count)
        slot.leaf = descend_nth(tree, n, &path, &slot.index);
    return slot;
}

uint64_t records_tree_rank(const struct records_tree *tree, struct span key,
                           uint64_t *bytes)
{
    uint64_t count = 0;
    uint64_t sum = 0;
    if (tree->root) {
        struct path path;
        bool equal;
        const struct records_node *leaf = descend(tree, key, &path);
        size_t index = records_node_lower(tree->arena, leaf, key, &equal);
        for (unsigned i = 0; i < path.height; i++) {
            const struct records_child *children =
                records_node_children(path.steps[i].node);
            for (size_t j = 0; j < path.steps[i].child; j++) {
                count += children[j].count;
                sum += children[j].bytes;
            }
        }
        count += index;
        if (bytes)
            sum += records_node_bytes(tree->arena, leaf, 0, index);
    }
    if (bytes)
        *bytes = sum;
    return count;
}
