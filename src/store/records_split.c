/* SPDX-License-Identifier: Apache-2.0 */

/* Splitting a map in two: the smaller part is copied leaf by leaf into a map
 * of its own, then cut off the old one. Nothing of the old map changes until
 * all memory is there; big values are not copied but handed over at the end.
 * The place of what has left is reused as the old map grows again. */

#include <assert.h>

#include "dlht/err.h"
#include "store/records_entry.h"
#include "store/records_state.h"

enum {
    ERASE_AHEAD = 16 /* removals from the index that wait for memory at once */
};

/* An entry of the old map that has been copied. */
struct moved {
    uint32_t ref;
    uint32_t of; /* what the index needs of its hash */
};

/* A part that will be large is made of slabs, as if it had grown. */
static bool copy_entries(const struct records *records, const uint32_t *refs,
                         size_t count, struct records *part, uint32_t *copies)
{
    if (part->gather_from == 0 &&
        records_gather_copies(records, refs, count, part, copies))
        return true;
    for (size_t i = 0; i < count; i++) {
        copies[i] = records_entry_share(&records->arena, refs[i], &part->arena);
        if (copies[i] == 0)
            return false;
    }
    return true;
}

/* Copies entries [from, to) of a leaf to the end of part. */
static int copy_leaf(const struct records *records,
                     const struct records_node *leaf, size_t from, size_t to,
                     struct records *part, struct moved *moved)
{
    const uint32_t *refs = records_node_refs(leaf);
    uint32_t copies[RECORDS_LEAF_KEYS];
    uint64_t of[RECORDS_LEAF_KEYS];
    if (!copy_entries(records, refs + from, to - from, part, copies))
        return DLHT_ENOMEM;
    for (size_t i = from; i < to; i++) {
        struct span key = records_entry_key(&part->arena, copies[i - from]);
        moved[i - from].ref = refs[i];
        moved[i - from].of = (uint32_t)records_hash_of(&records->hash, key);
        of[i - from] = records_hash_of(&part->hash, key);
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

/* Asks for the entries of the leaf after this one, and for the leaf behind
 * that. */
static void ahead(const struct records *records,
                  const struct records_node *leaf)
{
    const struct records_arena *arena = &records->arena;
    if (leaf->next == 0)
        return;
    leaf = records_node_at(arena, leaf->next);
    if (leaf->next)
        records_node_prefetch(records_node_at(arena, leaf->next));
    for (size_t i = 0; i < leaf->count; i++)
        records_entry_prefetch(arena, records_node_refs(leaf)[i]);
}

/* Copies count records from the n-th on into part, which is empty, noting
 * each in moved. */
static int copy_range(const struct records *records, uint64_t n, uint64_t count,
                      struct records *part, struct moved *moved)
{
    if (count == 0)
        return DLHT_OK;
    if (!records_hash_presize(&part->hash, count))
        return DLHT_ENOMEM;
    struct records_slot slot = records_tree_nth(&records->tree, n);
    for (;;) {
        size_t to = slot.leaf->count;
        ahead(records, slot.leaf);
        if (to - slot.index > count)
            to = slot.index + (size_t)count;
        int rc = copy_leaf(records, slot.leaf, slot.index, to, part, moved);
        if (rc != DLHT_OK)
            return rc;
        moved += to - slot.index;
        count -= to - slot.index;
        if (count == 0)
            return DLHT_OK;
        slot.leaf = records_node_at(&records->arena, slot.leaf->next);
        slot.index = 0;
    }
}

/* Takes out of records what has been copied. The entries are dropped without
 * their big values, which the copies share. */
static void drop_moved(struct records *records, const struct moved *moved,
                       uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (i + ERASE_AHEAD < count) {
            const struct moved *later = &moved[i + ERASE_AHEAD];
            records_hash_prefetch(&records->hash, later->of);
            prefetch_line(records_arena_at(&records->arena, later->ref));
        }
        records_hash_erase(&records->hash, moved[i].of, moved[i].ref);
        records_arena_give(&records->arena, moved[i].ref);
    }
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

/* Whether count of the records need the memory from which on leaves are
 * gathered. */
static bool will_be_large(const struct records *records, uint64_t count)
{
    uint64_t share = records->arena.taken / (records->tree.count + 1) * count;
    return share >= records->gather_from;
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

int records_split(struct records *records, struct span at,
                  uint64_t right_hash_seed, struct records **right)
{
    assert(!records->snapshots);
    *right = NULL;
    uint64_t all = records->tree.count;
    uint64_t left_count = records_tree_rank(&records->tree, at, NULL);
    bool moves_left = left_count < all - left_count;
    uint64_t first = moves_left ? 0 : left_count;
    uint64_t count = moves_left ? left_count : all - left_count;

    size_t moved_size = (size_t)(count + 1) * sizeof(struct moved);
    struct moved *moved = records_arena_raw(&records->arena, moved_size);
    struct records *part =
        records_new_with(right_hash_seed, &records->arena.pages);
    int rc = DLHT_ENOMEM;
    if (moved && part) {
        bool large = will_be_large(records, count);
        part->gather_from = large ? 0 : UINT64_MAX;
        rc = copy_range(records, first, count, part, moved);
        part->gather_from = records->gather_from;
    }
    if (rc == DLHT_OK) {
        if (moves_left)
            records_tree_cut_left(&records->tree, count);
        else
            records_tree_cut_right(&records->tree, count);
        drop_moved(records, moved, count);
        adopt_all(records, part);
        records->digest -= part->digest;
        if (moves_left)
            exchange(records, part);
        *right = part;
        part = NULL;
    }
    records_free(part);
    if (moved) {
        struct records *owner = moves_left && rc == DLHT_OK ? *right : records;
        records_arena_raw_give(&owner->arena, moved, moved_size);
    }
    return rc;
}
