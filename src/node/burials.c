/* SPDX-License-Identifier: Apache-2.0 */

/* A sorted table: looked up with each message for an arc that is not here,
 * added to when a replica goes. */

#include "node/burials.h"

#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "wire/mp.h"

/* Index of the first that is not before (arc, replica). */
static size_t place_of(const struct node *node, arc_id arc, replica_id replica)
{
    size_t lo = 0, hi = node->tombstone_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct tombstone *t = &node->tombstones[mid];
        if (t->arc < arc || (t->arc == arc && t->replica < replica))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool burials_has(const struct node *node, arc_id arc, replica_id replica)
{
    size_t at = place_of(node, arc, replica);
    return at < node->tombstone_count && node->tombstones[at].arc == arc &&
           node->tombstones[at].replica == replica;
}

int burials_add(struct node *node, arc_id arc, replica_id replica, bool fresh)
{
    if (burials_has(node, arc, replica))
        return DLHT_OK;
    if (node->tombstone_count >= BURIALS_MAX)
        return DLHT_EFULL;
    if (node->tombstone_count == node->tombstone_cap) {
        size_t cap = node->tombstone_cap ? node->tombstone_cap * 2 : 16;
        struct tombstone *grown =
            mem_resize(node->tombstones, cap, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        node->tombstones = grown;
        node->tombstone_cap = cap;
    }
    size_t at = place_of(node, arc, replica);
    memmove(node->tombstones + at + 1, node->tombstones + at,
            (node->tombstone_count - at) * sizeof *node->tombstones);
    node->tombstones[at] = (struct tombstone){ arc, replica, fresh };
    node->tombstone_count++;
    return DLHT_OK;
}

void burials_of(const struct node *node, arc_id arc, size_t *from, size_t *to)
{
    *from = place_of(node, arc, 0);
    *to = *from;
    while (*to < node->tombstone_count && node->tombstones[*to].arc == arc)
        ++*to;
}

void burials_pack(const struct node *node, arc_id arc, struct buf *out)
{
    size_t from, to;
    burials_of(node, arc, &from, &to);
    for (size_t i = from; i < to; i++)
        if (node->tombstones[i].replica != BURIALS_DAMAGED)
            mp_write_uint(out, node->tombstones[i].replica);
}
