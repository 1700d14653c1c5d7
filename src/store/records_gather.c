/* SPDX-License-Identifier: Apache-2.0 */

/* Records beside each other that are beside each other in key order.
 *
 * Records that came in random order lie anywhere: a walk then waits for a line
 * or two of memory for each. When a leaf is divided, and so about once while
 * the map doubles, the entries of both halves move into a slab each. Those
 * that come later lie elsewhere until the next division. An entry that is
 * removed or outgrows its place leaves a hole; a slab that is half holes is
 * given up: the leaf is gathered again.
 *
 * A map that the processor's caches can hold stays as it is. */

#include <assert.h>
#include <string.h>

#include "store/records_entry.h"
#include "store/records_state.h"

enum {
    /* Longer ones are as good where they are. */
    GATHER_ENTRY_MAX = 256
};

static size_t place_size(const struct records_entry *entry)
{
    size_t unit = RECORDS_ARENA_UNIT;
    return (records_entry_size(entry) + unit - 1) / unit * unit;
}

static bool is_gathered(const struct records_entry *entry)
{
    return place_size(entry) <= GATHER_ENTRY_MAX;
}

/* Entries of a leaf that are on the move. */
struct gathering {
    size_t count;
    size_t bytes;
    uint8_t slots[RECORDS_LEAF_KEYS];
    uint64_t of[RECORDS_LEAF_KEYS];
};

static void choose(const struct records *records,
                   const struct records_node *leaf, struct gathering *g)
{
    const uint32_t *refs = records_node_refs(leaf);
    g->count = g->bytes = 0;
    for (size_t i = 0; i < leaf->count; i++)
        records_entry_prefetch(&records->arena, refs[i]);
    for (size_t i = 0; i < leaf->count; i++) {
        const struct records_entry *entry =
            records_entry_at(&records->arena, refs[i]);
        size_t size = place_size(entry);
        if (!is_gathered(entry) || g->bytes + size > RECORDS_ARENA_SLAB_MAX)
            continue;
        g->slots[g->count++] = (uint8_t)i;
        g->bytes += size;
    }
}

void records_gather(struct records *records, struct records_node *leaf)
{
    struct gathering g;
    struct records_arena *arena = &records->arena;
    if (arena->taken < records->gather_from)
        return;
    choose(records, leaf, &g);
    if (g.count < 2)
        return;
    for (size_t i = 0; i < g.count; i++) {
        uint32_t ref = records_node_refs(leaf)[g.slots[i]];
        g.of[i] =
            records_hash_of(&records->hash, records_entry_key(arena, ref));
        records_hash_prefetch(&records->hash, g.of[i]);
    }
    uint32_t to = records_arena_slab(arena, g.bytes, (uint32_t)g.count);
    if (to == 0)
        return;
    for (size_t i = 0; i < g.count; i++) {
        uint32_t *ref = &records_node_refs(leaf)[g.slots[i]];
        const struct records_entry *entry = records_entry_at(arena, *ref);
        memcpy(records_arena_at(arena, to), entry, records_entry_size(entry));
        records_hash_rename(&records->hash, g.of[i], *ref, to);
        uint32_t size = (uint32_t)place_size(entry);
        records_arena_give(arena, *ref);
        *ref = to;
        to += size / RECORDS_ARENA_UNIT;
    }
}

bool records_gather_copies(const struct records *records, const uint32_t *refs,
                           size_t count, struct records *part, uint32_t *copies)
{
    size_t bytes = 0;
    const struct records_arena *from = &records->arena;
    if (count < 2)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct records_entry *entry = records_entry_at(from, refs[i]);
        if (!is_gathered(entry))
            return false;
        bytes += place_size(entry);
    }
    if (bytes > RECORDS_ARENA_SLAB_MAX)
        return false;
    uint32_t to = records_arena_slab(&part->arena, bytes, (uint32_t)count);
    if (to == 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct records_entry *entry = records_entry_at(from, refs[i]);
        memcpy(records_arena_at(&part->arena, to), entry,
               records_entry_size(entry));
        copies[i] = to;
        to += (uint32_t)(place_size(entry) / RECORDS_ARENA_UNIT);
    }
    return true;
}
