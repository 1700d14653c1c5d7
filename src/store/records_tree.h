/* SPDX-License-Identifier: Apache-2.0 */

/* store/records_tree.h - the order of a map's records: a B+tree of entries.
 *
 * Inner nodes keep for each child how many records and bytes are below it, so
 * ranks are sums along one path. The tree refers to entries and owns its nodes
 * and separators only, all of them objects of the arena. */

#ifndef STORE_RECORDS_TREE_H
#define STORE_RECORDS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "store/records_arena.h"
#include "store/records_node.h"

struct records_tree {
    struct records_arena *arena;
    uint32_t root; /* 0: empty */
    uint32_t first;
    uint32_t last;
    unsigned height; /* levels of inner nodes */
    uint64_t count;
    uint64_t bytes;
    uint64_t changes; /* grows whenever a slot may have moved */
    uint32_t divided; /* the left of the two leaves that the last insertion
                         made of one, 0: none */
};

/* A slot of a leaf; leaf is NULL if there is none. */
struct records_slot {
    struct records_node *leaf;
    size_t index;
};

/* Adds an entry whose key is not there.
 *   DLHT_ENOMEM  the tree is as before */
MUST_USE int records_tree_insert(struct records_tree *tree, uint32_t ref);

/* Takes an entry that is there out of the tree; the entry stays. */
void records_tree_erase(struct records_tree *tree, uint32_t ref);

/* Puts another entry with the same key in the place of one. */
void records_tree_swap(struct records_tree *tree, uint32_t old, uint32_t ref);

/* The value of key, which is there, has grown by delta. */
void records_tree_resize(struct records_tree *tree, struct span key,
                         int64_t delta);

/* Appends a leaf that refers to refs[i] in place of entries [from, to) of a
 * leaf of another tree; all keys must be greater than those there.
 *   DLHT_ENOMEM  the tree is as before */
MUST_USE int records_tree_append(struct records_tree *tree,
                                 const struct records_node *leaf, size_t from,
                                 size_t to, const uint32_t *refs);

/* Appends up to a leaf full of entries, whose keys are in ascending order and
 * greater than all there.
 *   DLHT_ENOMEM  the tree is as before */
MUST_USE int records_tree_extend(struct records_tree *tree,
                                 const uint32_t *refs, size_t count);

/* Drops the first or the last count records; the entries stay. Not more than
 * there are. */
void records_tree_cut_left(struct records_tree *tree, uint64_t count);
void records_tree_cut_right(struct records_tree *tree, uint64_t count);

/* The leaf that has or would have key. Not in an empty tree. */
struct records_node *records_tree_leaf(const struct records_tree *tree,
                                       struct span key);

/* The first record with key >= from; the last with key < before. */
struct records_slot records_tree_seek(const struct records_tree *tree,
                                      struct span from);
struct records_slot records_tree_seek_last(const struct records_tree *tree,
                                           struct span before);

/* The record with exactly n before it. */
struct records_slot records_tree_nth(const struct records_tree *tree,
                                     uint64_t n);

/* Records with key < key, and their bytes unless NULL. */
uint64_t records_tree_rank(const struct records_tree *tree, struct span key,
                           uint64_t *bytes);

/* Asserts order, bounds, sums and links; returns the number of arena objects
 * that the tree itself takes. */
size_t records_tree_check(const struct records_tree *tree);

#endif
