/* SPDX-License-Identifier: Apache-2.0 */

/* Open addressing, linear probing, removal by shifting back. */

#include "store/arc_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

enum {
    CAP_FIRST = 16
};

void arc_table_deinit(struct arc_table *table)
{
    free(table->slots);
    memset(table, 0, sizeof *table);
}

static size_t home(const struct arc_table *table, arc_id arc, uint8_t tag)
{
    return (size_t)hash64_mix(arc, tag) & (table->cap - 1);
}

/* The slot of the pair, or the free one where it would go. */
static size_t probe(const struct arc_table *table, arc_id arc, uint8_t tag)
{
    assert(table->count < table->cap);
    size_t i = home(table, arc, tag);
    while (table->slots[i].used &&
           (table->slots[i].arc != arc || table->slots[i].tag != tag))
        i = (i + 1) & (table->cap - 1);
    return i;
}

struct arc_slot *arc_table_find(const struct arc_table *table, arc_id arc,
                                uint8_t tag)
{
    if (!table->cap)
        return NULL;
    struct arc_slot *slot = &table->slots[probe(table, arc, tag)];
    return slot->used ? slot : NULL;
}

static bool grow(struct arc_table *table)
{
    struct arc_table larger = { 0 };
    larger.cap = table->cap ? table->cap * 2 : CAP_FIRST;
    larger.slots = mem_zero(larger.cap, sizeof *larger.slots);
    if (!larger.slots)
        return false;
    for (size_t i = 0; i < table->cap; i++) {
        const struct arc_slot *old = &table->slots[i];
        if (!old->used)
            continue;
        larger.slots[probe(&larger, old->arc, old->tag)] = *old;
        larger.count++;
    }
    assert(larger.count == table->count);
    free(table->slots);
    *table = larger;
    return true;
}

struct arc_slot *arc_table_add(struct arc_table *table, arc_id arc, uint8_t tag)
{
    struct arc_slot *slot = arc_table_find(table, arc, tag);
    if (slot)
        return slot;
    if ((table->count + 1) * 4 > table->cap * 3 && !grow(table))
        return NULL;
    slot = &table->slots[probe(table, arc, tag)];
    *slot = (struct arc_slot){ .arc = arc, .tag = tag, .used = true };
    table->count++;
    return slot;
}

void arc_table_remove(struct arc_table *table, arc_id arc, uint8_t tag)
{
    struct arc_slot *slot = arc_table_find(table, arc, tag);
    if (!slot)
        return;
    size_t mask = table->cap - 1;
    size_t hole = (size_t)(slot - table->slots);
    for (size_t i = (hole + 1) & mask; table->slots[i].used;
         i = (i + 1) & mask) {
        size_t at = home(table, table->slots[i].arc, table->slots[i].tag);
        /* It may fill the hole unless its home lies after the hole. */
        if (((i - at) & mask) >= ((i - hole) & mask)) {
            table->slots[hole] = table->slots[i];
            hole = i;
        }
    }
    table->slots[hole].used = false;
    table->count--;
}
