/* SPDX-License-Identifier: Apache-2.0 */

/* Requests that only caches answer. */

#include "node/op_cache.h"

#include <stdio.h>

#include "dlht/err.h"

static bool is_of_caches(const struct request *q)
{
    return (q->op >= OP_CACHE_EXPIRE && q->op <= OP_CACHE_LEASE) || q->ttl_ms ||
           (q->flags & (REQUEST_LEASED | REQUEST_NEGATIVE));
}

/* "'NAME' is not a cache: ...", as long as the step. */
static const char *no_cache_text(struct node *node, const struct keyspace *ks)
{
    enum {
        ROOM = KEYSPACE_NAME_MAX + 128
    };
    char *text = effects_room(node->fx, ROOM);
    if (!text)
        return NULL;
    struct span name = ks->record.name;
    snprintf(text, ROOM,
             "'%.*s' is not a cache: ends need a keyspace created with "
             "--volatile and --max-bytes or --max-items",
             (int)name.len, (const char *)name.data);
    return text;
}

bool op_cache_allows(struct node *node, const struct request *q,
                     const struct keyspace *ks, const struct origin *origin)
{
    if (!is_of_caches(q))
        return true;
    node_answer_status(node, origin, DLHT_EINVAL, no_cache_text(node, ks));
    return false;
}
