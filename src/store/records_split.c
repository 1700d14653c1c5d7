/* SPDX-License-Identifier: Apache-2.0 */

/* Splitting a map in two. Parts are built by copying leaf by leaf, and nothing
 * of the old map changes until all memory is there; big values are not copied
 * but handed over at the end. */

#include <assert.h>

#include "dlht/err.h"
#include "store/records_entry.h"
#include "store/records_state.h"

enum {
    /* A part with fewer than one in eight records is moved by itself. */
    SMALL_PART = 8
};

/* Copies entries [from, to) of a leaf to the end of part. Meanwhile the
 * entries of the next leaf, if any, are asked for, one with each, so that
 * waiting and copying overlap. */
static int copy_leaf(const struct records *records,
                     const struct records_node *leaf, size_t from, size_t to,
                     struct records *part)
{
    const uint32_t *refs = records_node_refs(leaf);
    const struct records_node *next = NULL;
    uint32_t copies[RECORDS_LEAF_KEYS];
    uint64_t of[RECORDS_LEAF_KEYS];
    if (leaf->next)
        next = records_node_at(&records->arena, leaf->next);
    if (next && next->next)
        records_node_prefetch(records_node_at(&records->arena, next->next));
    for (size_t i = from; i < to; i++) {
        if (next && i < next->count)
            records_entry_prefetch(&records->arena, records_node_refs(next)[i]);
        uint32_t ref =
            records_entry_share(&records->arena, refs[i], &part->arena);
        if (ref == 0)
            return DLHT_ENOMEM;
        copies[i - from] = ref;
        of[i - from] =
            records_hash_of(&part->hash, records_entry_key(&part->arena, ref));
        records_hash_prefetch(&part->hash, of[i - from]);
    }
    for (size_t i = 0; i < to - from; i++) {
        uint32_t *place = records_hash_reserve(&part->hash, of[i]);
        if (!place)
            return DLHT_ENOMEM;
        records_hash_fill(&part->hash, of[i], place, copies[i]);
        part->digest += records_entry_digest(&part->arena, copies[i]);
    }
    return records_tree_append(&part->tree, leaf, from, to, copies);
}

/* Copies count records from the n-th on into part, which is empty. */
static int copy_range(const struct records *records, uint64_t n, uint64_t count,
                      struct records *part)
{
    if (count == 0)
        return DLHT_OK;
    if (!records_hash_presize(&part->hash, count))
        return DLHT_ENOMEM;
    struct records_slot slot = records_tree_nth(&records->tree, n);
    while (count > 0) {
        size_t to = slot.leaf->count;
        if (to - slot.index > count)
            to = slot.index + (size_t)count;
        int rc = copy_leaf(records, slot.leaf, slot.index, to, part);
        if (rc != DLHT_OK)
            return rc;
        count -= to - slot.index;
        slot.leaf = records_node_at(&records->arena, slot.leaf->next);
        slot.index = 0;
    }
    return DLHT_OK;
}

/* A new map with copies of count records from the n-th on, or NULL. Its big
 * values are still those of records. */
static struct records *part_new(const struct records *records, uint64_t seed,
                                uint64_t n, uint64_t count)
{
    struct records *part = records_new_with(seed, &records->arena.pages);
    if (!part)
        return NULL;
    if (copy_range(records, n, count, part) != DLHT_OK) {
        records_free(part);
        return NULL;
    }
    return part;
}

static void adopt_all(struct records *records, struct records *part)
{
    if (records->arena.block_count == 0)
        return;
    const struct records_arena *arena = &part->arena;
    for (uint32_t ref = part->tree.first; ref;) {
        const struct records_node *leaf = records_node_at(arena, ref);
        for (size_t i = 0; i < leaf->count; i++)
            records_entry_adopt(&records->arena, &part->arena,
                                records_node_refs(leaf)[i]);
        ref = leaf->next;
    }
}

/* Exchanges what two maps are; their addresses stay. */
static void exchange(struct records *a, struct records *b)
{
    struct records was = *a;
    *a = *b;
    *b = was;
    a->hash.arena = a->tree.arena = &a->arena;
    b->hash.arena = b->tree.arena = &b->arena;
}

/* Takes out of records what part has copies of. */
static void erase_copied(struct records *records, const struct records *part)
{
    const struct records_arena *arena = &part->arena;
    for (uint32_t ref = part->tree.first; ref;) {
        const struct records_node *leaf = records_node_at(arena, ref);
        for (size_t i = 0; i < leaf->count; i++) {
            struct span key =
                records_entry_key(arena, records_node_refs(leaf)[i]);
            uint64_t of = records_hash_of(&records->hash, key);
            uint32_t old = *records_hash_find(&records->hash, of, key);
            records_tree_erase(&records->tree, old);
            records_hash_erase(&records->hash, of, old);
            records_arena_give(&records->arena, old); /* not its block */
        }
        ref = leaf->next;
    }
    records->digest -= part->digest;
}

/* The small part becomes a map of its own. */
static int split_off(struct records *records, uint64_t left_count,
                     uint64_t seed, struct records **right)
{
    uint64_t count = records->tree.count;
    bool takes_left = left_count < count / 2;
    struct records *part =
        takes_left ? part_new(records, seed, 0, left_count)
                   : part_new(records, seed, left_count, count - left_count);
    if (!part)
        return DLHT_ENOMEM;
    erase_copied(records, part);
    adopt_all(records, part);
    if (takes_left)
        exchange(records, part);
    *right = part;
    return DLHT_OK;
}

static int rebuild(struct records *records, uint64_t left_count, uint64_t seed,
                   struct records **right)
{
    uint64_t count = records->tree.count;
    struct records *left = part_new(records, records->hash.seed, 0, left_count);
    struct records *part =
        left ? part_new(records, seed, left_count, count - left_count) : NULL;
    if (!part) {
        records_free(left);
        return DLHT_ENOMEM;
    }
    adopt_all(records, left);
    adopt_all(records, part);
    exchange(records, left);
    records_free(left);
    *right = part;
    return DLHT_OK;
}

int records_split(struct records *records, struct span at,
                  uint64_t right_hash_seed, struct records **right)
{
    assert(!records->snapshots);
    *right = NULL;
    uint64_t count = records->tree.count;
    uint64_t left_count = records_tree_rank(&records->tree, at, NULL);
    uint64_t small =
        left_count < count - left_count ? left_count : count - left_count;
    if (small < count / SMALL_PART || count == 0)
        return split_off(records, left_count, right_hash_seed, right);
    return rebuild(records, left_count, right_hash_seed, right);
}
