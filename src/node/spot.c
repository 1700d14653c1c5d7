/* SPDX-License-Identifier: Apache-2.0 */

/* Finding records, and what is done to them at once. */

#include "node/spot.h"

#include <assert.h>

#include "dlht/err.h"
#include "node/ahead.h"
#include "node/cache_arc.h"
#include "node/handover.h"
#include "node/op.h"
#include "node/op_cache.h"
#include "node/op_merge.h"
#include "node/quiet.h"
#include "node/replica.h"
#include "store/cache.h"

_Static_assert((int)SPOTS_MAX <= (int)AHEAD_MAX, "they fit");
_Static_assert((int)SPOT_HASH_BYTES == (int)OP_HASH_BYTES, "one form of keys");

/* The keyspace a request names, if records can be had from it at once. */
static const struct keyspace *keyspace_of(const struct node *node,
                                          const struct request *q)
{
    if (node->phase != PHASE_SERVING || !node->said_ready)
        return NULL;
    const struct keyspace *ks = op_keyspace_of(node, q);
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
        op_merge_refuses(r) || handover_refuses_writes(r))
        return false;
    return ks->record.is_volatile ? r->cache != NULL
                                  : replica_reads_now(node, r) && !r->cas_done;
}

/* Begins one of a list. */
static void place(const struct keyspace *ks, struct span key, struct spot *spot,
                  struct ahead *a)
{
    *a = (struct ahead){ 0 };
    if (ks && place_key(ks, key, spot))
        *a = (struct ahead){ .ks = ks, .key = placed_key(spot) };
}

/* Finds what was begun. */
static void find(struct node *node, uint64_t now_ns, struct ahead *list,
                 size_t count, struct spot *spots)
{
    assert(!node->fx); /* between events */
    if (now_ns > node->now_ns)
        node->now_ns = now_ns;
    ahead_warm(node, list, count);
    for (size_t i = 0; i < count; i++) {
        struct replica *r = list[i].copy;
        spots[i].hash = list[i].hash;
        spots[i].replica =
            r && may_serve(node, list[i].ks, r, &spots[i]) ? r : NULL;
        spots[i].is_volatile = r && r->cache;
    }
}

void spot_find_keys(struct node *node, uint64_t now_ns, struct span keyspace,
                    const struct span *keys, size_t count, struct spot *spots)
{
    struct ahead list[SPOTS_MAX];
    struct request q = { .keyspace_name = keyspace };
    const struct keyspace *ks = keyspace_of(node, &q);
    assert(count <= SPOTS_MAX);
    for (size_t i = 0; i < count; i++)
        place(ks, keys[i], &spots[i], &list[i]);
    find(node, now_ns, list, count, spots);
}

static bool is_of_record(const struct request *q)
{
    return q->op == OP_GET || q->op == OP_PUT || q->op == OP_DEL ||
           q->op == OP_CAS;
}

static bool suits(const struct request *q)
{
    return q->op != OP_CAS && q->flags == 0 && q->ttl_ms == 0 &&
           q->limit == 0 && (q->op == OP_GET || id_is_zero(&q->session));
}

static bool same_keyspace(const struct request *a, const struct request *b)
{
    return a->keyspace == b->keyspace &&
           span_equal(a->keyspace_name, b->keyspace_name);
}

void spot_find(struct node *node, uint64_t now_ns,
               const struct request *const *requests, size_t count,
               struct spot *spots)
{
    struct ahead list[SPOTS_MAX];
    const struct keyspace *ks = NULL;
    assert(count <= SPOTS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct request *q = requests[i];
        if (i == 0 || !same_keyspace(q, requests[i - 1]))
            ks = keyspace_of(node, q);
        place(is_of_record(q) ? ks : NULL, q->key, &spots[i], &list[i]);
    }
    find(node, now_ns, list, count, spots);
    for (size_t i = 0; i < count; i++)
        if (!suits(requests[i]))
            spots[i].replica = NULL;
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

static bool tell(struct replica *r, const struct session_result *result,
                 uint64_t now_ms, uint64_t count_before, struct response *out)
{
    r->requests++;
    replica_wrote(r, now_ms, count_before);
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
    if (!r || !spot->is_volatile || value.len > VALUE_LEN_MAX ||
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
    if (!r || !spot->is_volatile)
        return false;
    struct cache_key key = cache_key_at(spot);
    uint64_t now_ms = cache_arc_now_ms(node), count = cache_count(r->cache);
    cache_arc_del_at(r, &key, now_ms, &result);
    return tell(r, &result, now_ms, count, out);
}

bool spot_write(struct node *node, const struct spot *spot,
                const struct request *request)
{
    struct session_result result;
    if (!spot->replica || !spot->is_volatile)
        return false;
    struct request q = *request;
    const struct keyspace *ks = keyspaces_find(node, spot->replica->keyspace);
    q.key = placed_key(spot);
    return op_cache_takes(&q, ks) && q.value.len <= VALUE_LEN_MAX &&
           op_cache_write(node, spot->replica, &q, &result) == DLHT_OK &&
           result.status == DLHT_OK;
}

bool spot_propose(struct node *node, const struct spot *spot,
                  const struct request *request, uint64_t ticket)
{
    const struct origin origin = { .kind = ORIGIN_CLIENT, .ticket = ticket };
    struct request q = *request;
    if (!spot->replica || spot->is_volatile || q.value.len > VALUE_LEN_MAX)
        return false;
    q.key = placed_key(spot);
    return op_propose_here(node, spot->replica, &q, &origin);
}

bool spot_answer(struct node *node, const struct spot *spot, uint8_t op,
                 struct span value, struct response *out)
{
    if (op == OP_GET)
        return spot_get(node, spot, out);
    return op == OP_PUT ? spot_put(node, spot, value, out)
                        : spot_del(node, spot, out);
}
