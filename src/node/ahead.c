/* SPDX-License-Identifier: Apache-2.0 */

/* Prefetching records. */

#include "node/ahead.h"

#include <assert.h>
#include <string.h>

#include "node/keyspaces.h"
#include "node/models.h"
#include "node/op.h"
#include "node/replica.h"
#include "store/cache.h"

enum {
    KEY_MAX = 120 /* who has longer ones waits */
};

/* The copy here of the arc that has the key; NULL: none that is known. */
static const struct replica *copy_of(struct node *node, const struct ahead *a)
{
    const struct arc *arc =
        map_find(a->ks->map, a->key, models_guess(a->ks, a->key));
    const struct replica *r = arc ? node_replica(node, arc->id) : NULL;
    return r && !r->empty ? r : NULL;
}

void ahead_warm(struct node *node, const struct ahead *list, size_t count)
{
    const struct replica *copies[AHEAD_MAX];
    struct cache_key keys[AHEAD_MAX];
    assert(count <= AHEAD_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct replica *r = copies[i] = copy_of(node, &list[i]);
        if (r && r->cache) {
            keys[i] = cache_key_of(r->cache, list[i].key);
            cache_prefetch(r->cache, &keys[i]);
        } else if (r) {
            records_prefetch(r->records, list[i].key);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct replica *r = copies[i];
        if (r && r->cache)
            cache_prefetch_entry(r->cache, &keys[i]);
        else if (r)
            records_prefetch_record(r->records, list[i].key);
    }
}

/* Whether it is about one record, and in a keyspace that is known here. */
static bool is_of_record(struct node *node, const struct request *q,
                         const struct keyspace **ks)
{
    if (q->op != OP_GET && q->op != OP_PUT && q->op != OP_DEL &&
        q->op != OP_CAS)
        return false;
    *ks = op_keyspace_of(node, q);
    return *ks && q->key.len > 0 && q->key.len <= KEY_MAX;
}

void node_prefetch(struct node *node, const struct request *const *requests,
                   size_t count)
{
    struct ahead list[AHEAD_MAX];
    uint8_t hashed[AHEAD_MAX][OP_HASH_BYTES + KEY_MAX];
    size_t known = 0;
    assert(count <= AHEAD_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct request *q = requests[i];
        struct ahead *a = &list[known];
        if (!is_of_record(node, q, &a->ks))
            continue;
        a->key = q->key;
        if (a->ks->record.placement == PLACEMENT_HASHED) {
            op_hash_key(q->key, hashed[known]);
            a->key = span_of(hashed[known], q->key.len + OP_HASH_BYTES);
        }
        known++;
    }
    ahead_warm(node, list, known);
}
