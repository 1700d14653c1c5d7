/* SPDX-License-Identifier: Apache-2.0 */

/* Prefetching records. */

#include "node/ahead.h"

#include <assert.h>

#include "node/cache_arc.h"
#include "node/keyspaces.h"
#include "node/models.h"
#include "node/op.h"
#include "node/replica.h"
#include "store/cache.h"

/* The copy here of the arc that has the key; NULL: none that is known. */
static struct replica *copy_of(const struct node *node, const struct ahead *a)
{
    const struct arc *arc =
        map_find(a->ks->map, a->key, models_guess(a->ks, a->key));
    struct replica *r = arc ? node_replica(node, arc->id) : NULL;
    if (!r || r->empty)
        return NULL;
    /* Of a volatile arc that was given to another there is no other sign. */
    bool given = r->cache && r->arc->generation != arc->generation;
    return given ? NULL : r;
}

void ahead_warm(struct node *node, struct ahead *list, size_t count)
{
    struct cache_key keys[AHEAD_MAX];
    assert(count <= AHEAD_MAX);
    for (size_t i = 0; i < count; i++) {
        struct ahead *a = &list[i];
        a->copy = a->ks ? copy_of(node, a) : NULL;
        if (a->copy && a->copy->cache) {
            keys[i] = cache_arc_key(a->copy, a->key);
            a->hash = keys[i].hash;
            cache_prefetch(a->copy->cache, &keys[i]);
        } else if (a->copy) {
            records_prefetch(a->copy->records, a->key);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct ahead *a = &list[i];
        if (a->copy && a->copy->cache)
            cache_prefetch_entry(a->copy->cache, &keys[i]);
        else if (a->copy)
            records_prefetch_record(a->copy->records, a->key);
    }
}
