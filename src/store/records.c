/* SPDX-License-Identifier: Apache-2.0 */

/* The map: entries in the arena, found by the hash index, ordered by the
 * tree. */

#include "store/records.h"

#include <assert.h>

#include "dlht/err.h"
#include "store/records_entry.h"
#include "store/records_state.h"

enum {
    SCAN_AHEAD = 32, /* records a cursor asks for before it is at them */
    GATHER_FROM = 8 << 20
};

struct records *records_new_with(uint64_t hash_seed,
                                 const struct records_pages *pages)
{
    struct records_arena arena;
    records_arena_init(&arena, pages);
    struct records *records = records_arena_raw(&arena, sizeof *records);
    if (!records)
        return NULL;
    *records = (struct records){ .arena = arena };
    records_hash_init(&records->hash, &records->arena, hash_seed);
    records->tree.arena = &records->arena;
    records->gather_from = GATHER_FROM;
    return records;
}

struct records *records_new(uint64_t hash_seed)
{
    return records_new_with(hash_seed, NULL);
}

void records_free(struct records *records)
{
    if (!records)
        return;
    assert(!records->snapshots);
    records_hash_deinit(&records->hash);
    records_arena_deinit(&records->arena);
    struct records_arena arena = records->arena;
    assert(arena.taken == sizeof *records);
    records_arena_raw_give(&arena, records, sizeof *records);
}

size_t records_count(const struct records *records)
{
    return (size_t)records->tree.count;
}

uint64_t records_data_bytes(const struct records *records)
{
    return records->tree.bytes;
}

uint64_t records_memory_bytes(const struct records *records)
{
    return records->arena.taken;
}

uint64_t records_digest(const struct records *records)
{
    return records->digest;
}

bool records_get(const struct records *records, struct span key,
                 struct record *out)
{
    uint64_t of = records_hash_of(&records->hash, key);
    const uint32_t *slot = records_hash_find(&records->hash, of, key);
    if (!slot)
        return false;
    *out = records_entry_record(&records->arena, *slot);
    return true;
}

void records_prefetch(const struct records *records, struct span key)
{
    records_hash_prefetch(&records->hash, records_hash_of(&records->hash, key));
}

void records_prefetch_record(const struct records *records, struct span key)
{
    records_hash_prefetch_entry(&records->hash,
                                records_hash_of(&records->hash, key));
}

static void gather_divided(struct records *records)
{
    struct records_node *left =
        records_node_at(&records->arena, records->tree.divided);
    records_gather(records, left);
    records_gather(records, records_node_at(&records->arena, left->next));
}

/* Frees an entry that neither tree nor index has any more. */
static void drop(struct records *records, uint32_t ref)
{
    struct records_node *leaf = NULL;
    if (records_arena_thins(&records->arena, ref) && records->tree.root)
        leaf = records_tree_leaf(&records->tree,
                                 records_entry_key(&records->arena, ref));
    records_entry_free(&records->arena, ref);
    if (leaf)
        records_gather(records, leaf);
}

static int insert(struct records *records, uint64_t of,
                  const struct record *record)
{
    uint32_t ref = records_entry_new(&records->arena, record);
    if (ref == 0)
        return DLHT_ENOMEM;
    if (records_tree_insert(&records->tree, ref) != DLHT_OK) {
        records_entry_free(&records->arena, ref);
        return DLHT_ENOMEM;
    }
    uint32_t *place = records_hash_reserve(&records->hash, of);
    if (!place) {
        records_tree_erase(&records->tree, ref);
        records_entry_free(&records->arena, ref);
        return DLHT_ENOMEM;
    }
    records_hash_fill(&records->hash, of, place, ref);
    records->digest += records_entry_digest(&records->arena, ref);
    if (records->tree.divided)
        gather_divided(records);
    return DLHT_OK;
}

/* The entry moves only if its size class changes; the tree is walked only if
 * a length changes. */
static int replace(struct records *records, uint32_t *slot,
                   const struct record *record)
{
    struct records_arena *arena = &records->arena;
    uint32_t old = *slot;
    uint64_t old_digest = records_entry_digest(arena, old);
    int64_t delta = (int64_t)record->value.len -
                    (int64_t)records_entry_at(arena, old)->value_len;
    if (!records_entry_replace(arena, old, record->value, record->version)) {
        uint32_t ref = records_entry_new(arena, record);
        if (ref == 0)
            return DLHT_ENOMEM;
        records_tree_swap(&records->tree, old, ref);
        *slot = ref;
        records->digest +=
            records_entry_digest(&records->arena, ref) - old_digest;
        drop(records, old);
        return DLHT_OK;
    }
    records_tree_resize(&records->tree, record->key, delta);
    records->digest += records_entry_digest(arena, old) - old_digest;
    return DLHT_OK;
}

int records_put(struct records *records, const struct record *record)
{
    assert(record->key.len <= RECORDS_KEY_BYTES_MAX);
    assert(record->value.len <= RECORDS_VALUE_BYTES_MAX);
    uint64_t of = records_hash_of(&records->hash, record->key);
    uint32_t *slot = records_hash_find(&records->hash, of, record->key);
    if (records->snapshots) {
        int rc = records_state_save(records, record->key);
        if (rc != DLHT_OK)
            return rc;
    }
    if (slot)
        return replace(records, slot, record);
    return insert(records, of, record);
}

int records_remove(struct records *records, struct span key, bool *removed)
{
    *removed = false;
    uint64_t of = records_hash_of(&records->hash, key);
    const uint32_t *slot = records_hash_find(&records->hash, of, key);
    if (!slot)
        return DLHT_OK;
    if (records->snapshots) {
        int rc = records_state_save(records, key);
        if (rc != DLHT_OK)
            return rc;
    }
    uint32_t ref = *slot;
    records->digest -= records_entry_digest(&records->arena, ref);
    records_tree_erase(&records->tree, ref);
    records_hash_erase(&records->hash, of, ref);
    drop(records, ref);
    *removed = true;
    return DLHT_OK;
}

/* As records_node_refs, without reading which level the node is of. */
static const uint32_t *leaf_refs(const struct records_node *leaf)
{
    return ((const struct records_leaf *)leaf)->refs;
}

static const struct records_node *next_leaf(const struct records_cursor *cursor,
                                            const struct records_node *leaf)
{
    if (leaf->next == 0)
        return NULL;
    return records_node_at(&cursor->records->arena, leaf->next);
}

/* Asks for what a walk to the right reads of a leaf: head and refs. */
static void ahead_leaf(const struct records_node *leaf)
{
    if (!leaf)
        return;
    const uint8_t *refs = (const uint8_t *)leaf_refs(leaf);
    prefetch_line(leaf);
    for (size_t i = 0; i < RECORDS_LEAF_KEYS * sizeof(uint32_t); i += 64)
        prefetch_line(refs + i);
}

/* Asks for the next record that has not been asked for, if any. */
static void ahead(struct records_cursor *cursor)
{
    const struct records_node *leaf = cursor->ahead_leaf;
    if (!leaf)
        return;
    if (cursor->ahead_slot == leaf->count) {
        leaf = next_leaf(cursor, leaf);
        cursor->ahead_leaf = leaf;
        cursor->ahead_slot = 0;
        if (!leaf)
            return;
        ahead_leaf(next_leaf(cursor, leaf));
    }
    records_entry_prefetch(&cursor->records->arena,
                           leaf_refs(leaf)[cursor->ahead_slot++]);
}

static void behind(const struct records_cursor *cursor, size_t index)
{
    const struct records_node *leaf = cursor->leaf;
    records_entry_prefetch(&cursor->records->arena, leaf_refs(leaf)[index]);
}

static bool stand(const struct records *records, struct records_slot slot,
                  struct records_cursor *cursor)
{
    if (!slot.leaf)
        return false;
    cursor->records = records;
    cursor->leaf = slot.leaf;
    cursor->slot = slot.index;
    cursor->ahead_leaf = NULL;
    cursor->ahead_slot = 0;
    return true;
}

bool records_seek(const struct records *records, struct span from,
                  struct records_cursor *cursor)
{
    if (!stand(records, records_tree_seek(&records->tree, from), cursor))
        return false;
    cursor->ahead_leaf = cursor->leaf;
    cursor->ahead_slot = cursor->slot;
    ahead_leaf(next_leaf(cursor, cursor->leaf));
    for (size_t i = 0; i < SCAN_AHEAD; i++)
        ahead(cursor);
    return true;
}

bool records_seek_last(const struct records *records, struct span before,
                       bool unbounded, struct records_cursor *cursor)
{
    struct records_slot slot = { NULL, 0 };
    if (!unbounded) {
        slot = records_tree_seek_last(&records->tree, before);
    } else if (records->tree.root) {
        slot.leaf = records_node_at(&records->arena, records->tree.last);
        slot.index = slot.leaf->count - 1u;
    }
    return stand(records, slot, cursor);
}

bool records_next(struct records_cursor *cursor)
{
    const struct records_node *leaf = cursor->leaf;
    ahead(cursor);
    cursor->slot++;
    if (cursor->slot < leaf->count)
        return true;
    cursor->leaf = next_leaf(cursor, leaf);
    cursor->slot = 0;
    return cursor->leaf != NULL;
}

bool records_previous(struct records_cursor *cursor)
{
    const struct records_node *leaf = cursor->leaf;
    if (cursor->slot > 0) {
        cursor->slot--;
        if (cursor->slot >= SCAN_AHEAD)
            behind(cursor, cursor->slot - SCAN_AHEAD);
        return true;
    }
    if (!leaf->previous)
        return false;
    leaf = records_node_at(&cursor->records->arena, leaf->previous);
    cursor->leaf = leaf;
    cursor->slot = leaf->count - 1u;
    for (size_t i = 0; i < SCAN_AHEAD && i <= cursor->slot; i++)
        behind(cursor, cursor->slot - i);
    return true;
}

struct record records_at(const struct records_cursor *cursor)
{
    const struct records_node *leaf = cursor->leaf;
    assert(cursor->slot < leaf->count);
    return records_entry_record(&cursor->records->arena,
                                leaf_refs(leaf)[cursor->slot]);
}

uint64_t records_rank(const struct records *records, struct span key,
                      uint64_t *data_bytes)
{
    return records_tree_rank(&records->tree, key, data_bytes);
}

bool records_nth(const struct records *records, uint64_t n, struct record *out)
{
    struct records_slot slot = records_tree_nth(&records->tree, n);
    if (!slot.leaf)
        return false;
    *out = records_entry_record(&records->arena,
                                records_node_refs(slot.leaf)[slot.index]);
    return true;
}

void records_check(const struct records *records)
{
    size_t nodes = records_tree_check(&records->tree);
    size_t links = records_hash_check(&records->hash);
    size_t live = records_arena_check(&records->arena);
    assert(records->tree.count == records->hash.count);
    assert(live == nodes + links + records->tree.count);

    uint64_t digest = 0;
    struct records_cursor cursor;
    bool there = records_seek(records, span_empty(), &cursor);
    for (; there; there = records_next(&cursor)) {
        const struct records_node *leaf = cursor.leaf;
        uint32_t ref = records_node_refs(leaf)[cursor.slot];
        struct span key = records_entry_key(&records->arena, ref);
        uint64_t of = records_hash_of(&records->hash, key);
        const uint32_t *slot = records_hash_find(&records->hash, of, key);
        assert(slot && *slot == ref);
        digest += records_entry_digest(&records->arena, ref);
    }
    assert(digest == records->digest);
}
