/* SPDX-License-Identifier: Apache-2.0 */

/* Finding records, and what is done to them at once. */

#include "node/spot.h"

#include <assert.h>

#include "dlht/err.h"
#include "node/ahead.h"
#include "node/cache_arc.h"
#include "node/op.h"
#include "node/op_merge.h"
#include "node/quiet.h"
#include "node/replica.h"
#include "store/cache.h"

_Static_assert((int)SPOT_HASH_BYTES == (int)OP_HASH_BYTES, "one form of keys");

/* The keyspace, if records can be had from it at once. */
static const struct keyspace *keyspace_of(const struct node *node,
                                          struct span name)
{
    struct request q = { .op = OP_GET, .keyspace_name = name };
    if (node->phase != PHASE_SERVING || !node->said_ready)
        return NULL;
    const struct keyspace *ks = op_keyspace_of(node, &q);
    return ks && ks->vectors.dim == 0 ? ks : NULL;
}

static bool place_key(const struct keyspace *ks, struct span key,
                      struct spot *spot)
{
    if (key.len == 0 || key.len > SPOT_KEY_MAX)
        return false;
    spot->key = key;
    spot->hashed = ks->record.placement == PLACEMENT_HASHED;
    if (spot->hashed)
        op_hash_key(key, spot->room);
    return true;
}

/* The key as the arc has it. */
static struct span placed_key(const struct spot *spot)
{
    return spot->hashed ? span_of(spot->room, spot->key.len + SPOT_HASH_BYTES)
                        : spot->key;
}

/* Whether the copy may be read now. */
static bool may_serve(struct node *node, const struct keyspace *ks,
                      struct replica *r, const struct spot *spot)
{
    if (!arc_has(r->arc, placed_key(spot)) || !replica_leads(r) ||
        op_merge_refuses(r))
        return false;
    return ks->record.is_volatile ? r->cache != NULL
                                  : replica_reads_now(node, r) && !r->cas_done;
}

void spot_find(struct node *node, uint64_t now_ns, struct span keyspace,
               const struct span *keys, size_t count, struct spot *spots)
{
    struct ahead list[SPOTS_MAX];
    const struct keyspace *ks = keyspace_of(node, keyspace);
    assert(count <= SPOTS_MAX && !node->fx);
    if (now_ns > node->now_ns)
        node->now_ns = now_ns;
    for (size_t i = 0; i < count; i++) {
        bool placed = ks && place_key(ks, keys[i], &spots[i]);
        list[i] = (struct ahead){ 0 };
        if (placed)
            list[i] = (struct ahead){ .ks = ks, .key = placed_key(&spots[i]) };
    }
    ahead_warm(node, list, count);
    for (size_t i = 0; i < count; i++) {
        struct replica *r = list[i].copy;
        spots[i].hash = list[i].hash;
        spots[i].replica = r && may_serve(node, ks, r, &spots[i]) ? r : NULL;
    }
}

static struct cache_key cache_key_at(const struct spot *spot)
{
    return (struct cache_key){ .bytes = spot->key, .hash = spot->hash };
}

bool spot_get(struct node *node, const struct spot *spot, struct response *out)
{
    struct replica *r = spot->replica;
    if (!r)
        return false;
    *out = (struct response){ .status = DLHT_ENOTFOUND };
    r->requests++;
    if (r->cache) {
        struct cache_key key = cache_key_at(spot);
        cache_arc_get_at(r, &key, cache_arc_now_ms(node), out);
        return true;
    }
    struct record record;
    quiet_note_work(node, r);
    if (records_get(r->records, placed_key(spot), &record)) {
        out->status = DLHT_OK;
        out->version = record.version;
        out->value = record.value;
    }
    return true;
}

/* As replica_write_now tells of a write. */
static bool tell(struct replica *r, const struct session_result *result,
                 uint64_t now_ms, uint64_t count_before, struct response *out)
{
    uint64_t count = cache_count(r->cache);
    r->requests++;
    r->time_ms = now_ms > r->time_ms ? now_ms : r->time_ms;
    r->changes +=
        count > count_before ? count - count_before : count_before - count;
    *out = (struct response){ .status = result->status,
                              .version = result->version };
    return true;
}

bool spot_put(struct node *node, const struct spot *spot, struct span value,
              struct response *out)
{
    struct replica *r = spot->replica;
    struct session_result result = { .status = DLHT_OK };
    uint64_t limit = node->config.memory_limit;
    if (!r || !r->cache || value.len > VALUE_LEN_MAX ||
        (limit && node->memory_used > limit))
        return false;
    struct cache_key key = cache_key_at(spot);
    uint64_t now_ms = cache_arc_now_ms(node), count = cache_count(r->cache);
    return cache_arc_put_at(r, &key, value, now_ms, &result) == DLHT_OK &&
           result.status == DLHT_OK && tell(r, &result, now_ms, count, out);
}

bool spot_del(struct node *node, const struct spot *spot, struct response *out)
{
    struct replica *r = spot->replica;
    struct session_result result = { .status = DLHT_OK };
    if (!r || !r->cache)
        return false;
    struct cache_key key = cache_key_at(spot);
    uint64_t now_ms = cache_arc_now_ms(node), count = cache_count(r->cache);
    cache_arc_del_at(r, &key, now_ms, &result);
    return tell(r, &result, now_ms, count, out);
}
