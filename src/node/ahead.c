/* SPDX-License-Identifier: Apache-2.0 */

/* Prefetching records. */

#include "node/ahead.h"

#include <assert.h>
#include <string.h>

#include "node/keyspaces.h"
#include "node/models.h"
#include "node/op.h"
#include "node/replica.h"

enum {
    KEY_MAX = 120 /* of a hashed keyspace; who has longer ones waits */
};

void ahead_warm(struct node *node, const struct ahead *list, size_t count)
{
    struct records *maps[AHEAD_MAX];
    assert(count <= AHEAD_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct keyspace *ks = list[i].ks;
        const struct arc *arc =
            map_find(ks->map, list[i].key, models_guess(ks, list[i].key));
        struct replica *r = arc ? node_replica(node, arc->id) : NULL;
        maps[i] = r && !r->empty ? r->records : NULL;
        if (maps[i])
            records_prefetch(maps[i], list[i].key);
    }
    for (size_t i = 0; i < count; i++)
        if (maps[i])
            records_prefetch_record(maps[i], list[i].key);
}

/* Whether it is about one record, and in a keyspace that is known here. */
static bool is_of_record(struct node *node, const struct request *q,
                         const struct keyspace **ks)
{
    if (q->op != OP_GET && q->op != OP_PUT && q->op != OP_DEL &&
        q->op != OP_CAS)
        return false;
    *ks = op_keyspace_of(node, q);
    return *ks && q->key.len > 0;
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
            if (q->key.len > KEY_MAX)
                continue;
            op_hash_key(q->key, hashed[known]);
            a->key = span_of(hashed[known], q->key.len + OP_HASH_BYTES);
        }
        known++;
    }
    ahead_warm(node, list, known);
}
