/* SPDX-License-Identifier: Apache-2.0 */

/* store/arc_table.h - what the journal remembers about arcs: a hash table from
 * (arc, tag) to two numbers.
 *
 * All zeros is a valid empty table. Slots move when the table changes: a
 * pointer is good until the next add or remove. */

#ifndef STORE_ARC_TABLE_H
#define STORE_ARC_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"

struct arc_slot {
    arc_id arc;
    uint64_t value;
    uint64_t place;
    uint8_t tag;
    bool used;
};

struct arc_table {
    struct arc_slot *slots; /* owned; cap of them, a power of two or none */
    size_t cap;
    size_t count;
};

void arc_table_deinit(struct arc_table *table);

/* NULL: not there. */
struct arc_slot *arc_table_find(const struct arc_table *table, arc_id arc,
                                uint8_t tag);

/* The slot, made with zeros if it was not there; NULL: no memory, the table
 * is as before. */
struct arc_slot *arc_table_add(struct arc_table *table, arc_id arc,
                               uint8_t tag);

/* Nothing happens if it is not there. */
void arc_table_remove(struct arc_table *table, arc_id arc, uint8_t tag);

#endif
