/* SPDX-License-Identifier: Apache-2.0 */

/* Volatile arcs: requests that are done where they arrive. */

#include "node/op_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/cache_arc.h"
#include "node/handover.h"
#include "node/models.h"
#include "node/op.h"
#include "node/quiet.h"
#include "node/replica.h"
#include "store/cache.h"
#include "wire/cas_item.h"
#include "wire/mp.h"

/* What may be asked. */

/* What it took to make the value that is put; 0: not said. */
static uint32_t cost_of(const struct request *q)
{
    bool puts = q->op == OP_PUT || q->op == OP_CAS;
    if (!puts)
        return 0;
    return q->limit < UINT32_MAX ? (uint32_t)q->limit : UINT32_MAX;
}

static bool is_of_caches(const struct request *q)
{
    return (q->op >= OP_CACHE_EXPIRE && q->op <= OP_CACHE_LEASE) || q->ttl_ms ||
           cost_of(q) || (q->flags & (REQUEST_LEASED | REQUEST_NEGATIVE));
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
             "'%.*s' is not a cache: ends and costs need a keyspace created "
             "with --volatile and --max-bytes or --max-items",
             (int)name.len, (const char *)name.data);
    return text;
}

bool op_cache_takes(const struct request *q, const struct keyspace *ks)
{
    bool is_cache = ks->record.is_volatile && cache_settings_bound(&ks->cache);
    return is_cache || !is_of_caches(q);
}

bool op_cache_allows(struct node *node, const struct request *q,
                     const struct keyspace *ks, const struct origin *origin)
{
    if (op_cache_takes(q, ks))
        return true;
    node_answer_status(node, origin, DLHT_EINVAL, no_cache_text(node, ks));
    return false;
}

/* Writes. */

static uint8_t command_kind(uint8_t op)
{
    switch (op) {
    case OP_PUT:
        return COMMAND_PUT;
    case OP_DEL:
        return COMMAND_DEL;
    case OP_CAS:
        return COMMAND_CAS;
    case OP_CACHE_EXPIRE:
        return COMMAND_EXPIRE;
    case OP_BATCH:
        return COMMAND_BATCH;
    case OP_CAS_BATCH:
        return COMMAND_CAS_BATCH;
    default:
        return 0;
    }
}

static bool is_key(struct span key)
{
    return key.len > OP_HASH_BYTES && key.len <= KEY_LEN_MAX + OP_HASH_BYTES;
}

/* All keys are such as a hashed keyspace has: a peer may say anything. */
static bool has_keys(const struct command *c)
{
    uint32_t each = c->kind == COMMAND_BATCH       ? 2
                    : c->kind == COMMAND_CAS_BATCH ? CAS_ITEM_BINS
                                                   : 0;
    if (each == 0)
        return is_key(c->key);
    struct mp_reader reader;
    mp_reader_init(&reader, c->list);
    for (uint32_t i = 0; i < c->list_count; i++) {
        struct span bytes = mp_read_bytes(&reader);
        if (i % each == 0 && !is_key(bytes))
            return false;
    }
    return true;
}

static void answer_full(struct node *node, const struct origin *origin)
{
    node_answer_status(node, origin, DLHT_EFULL,
                       "the owner's --memory-limit is reached; delete "
                       "something or raise it");
}

static void answer_write(struct node *node, const struct replica *r,
                         const struct origin *origin,
                         const struct session_result *result)
{
    if (result->status == DLHT_ETOOBIG) {
        node_answer_status(node, origin, DLHT_ETOOBIG,
                           "alone it would not fit its arc's part of the "
                           "keyspace's bound in bytes");
        return;
    }
    op_answer_result(node, r, origin, result);
}

int op_cache_write(struct node *node, struct replica *r,
                   const struct request *q, struct session_result *result)
{
    struct command c = { .kind = command_kind(q->op),
                         .now_ms = cache_arc_now_ms(node),
                         .session = q->session,
                         .number = q->number,
                         .lowest_open = q->lowest_open,
                         .key = q->key,
                         .value = q->value,
                         .version = q->version,
                         .list = q->list,
                         .list_count = q->list_count,
                         .rank = q->limit,
                         .ttl_ms = q->ttl_ms,
                         .cost_us = cost_of(q),
                         .flags = q->flags };
    bool adds = q->op != OP_DEL && q->op != OP_CACHE_EXPIRE;
    *result = (struct session_result){ 0 };
    if (!has_keys(&c))
        return DLHT_EINVAL;
    if (adds && node->config.memory_limit &&
        node->memory_used > node->config.memory_limit)
        return DLHT_EFULL;
    r->requests++;
    return replica_write_now(r, &c, result);
}

static void write_now(struct node *node, struct replica *r,
                      const struct request *q, const struct origin *origin)
{
    struct session_result result;
    int rc = op_cache_write(node, r, q, &result);
    if (rc == DLHT_OK)
        answer_write(node, r, origin, &result);
    else if (rc == DLHT_EINVAL)
        node_answer_status(node, origin, DLHT_EINVAL,
                           "a key of a hashed keyspace has its hash before it");
    else if (rc == DLHT_EFULL)
        answer_full(node, origin);
    else
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
}

/* Reads. */

static void read_now(struct node *node, struct replica *r,
                     const struct request *q, const struct origin *origin)
{
    struct response response = { .status = DLHT_OK };
    if (!arc_has(r->arc, q->key)) {
        op_answer_not_owner(node, r, q, origin);
        return;
    }
    r->requests++;
    if (q->op == OP_CACHE_LEASE)
        cache_arc_lease(node, r, q, &response);
    else
        cache_arc_get(node, r, q, &response);
    node_answer(node, origin, &response);
}

bool op_cache_here(struct node *node, const struct request *q,
                   const struct keyspace *ks, const struct origin *origin)
{
    if (!ks->record.is_volatile || node->in_flush)
        return false;
    const struct arc *arc = map_find(ks->map, q->key, models_guess(ks, q->key));
    struct replica *r = arc ? node_replica(node, arc->id) : NULL;
    if (!r || !r->cache || r->arc->generation != arc->generation ||
        !arc_has(r->arc, q->key) || !replica_leads(r) ||
        handover_refuses_writes(r))
        return false;
    if (q->op == OP_GET || q->op == OP_CACHE_LEASE)
        read_now(node, r, q, origin);
    else
        write_now(node, r, q, origin);
    return true;
}

/* Flush and stats of one arc; the cursor says where the next begins. */
static void serve_piece(struct node *node, struct replica *r,
                        const struct request *q, const struct origin *origin)
{
    struct response response = { .status = DLHT_OK };
    struct buf packed = { 0 };
    if (!arc_has(r->arc, q->key)) {
        op_answer_not_owner(node, r, q, origin);
        return;
    }
    if (q->op == OP_CACHE_FLUSH) {
        handover_note_flush(r);
        cache_flush(r->cache);
        node_wake_at(node, node->now_ns);
    } else {
        cache_arc_pack_stats(r, &packed);
    }
    response.value = buf_span(&packed);
    response.more = r->arc->has_hi;
    response.cursor = r->arc->has_hi ? r->arc->hi : span_empty();
    if (packed.failed)
        response = (struct response){ .status = DLHT_EBUSY };
    node_answer(node, origin, &response);
    buf_deinit(&packed);
}

bool op_cache_serve(struct node *node, struct replica *r,
                    const struct request *q, const struct origin *origin)
{
    /* Who asks knows of a later generation, and the arc is somebody else's; or
     * of an earlier one: what was sent to the voter before must not be done
     * by this one, which knows nothing of what that one did. */
    if (q->generation != r->arc->generation) {
        op_answer_not_owner(node, r, q, origin);
        return true;
    }
    bool writes = command_kind(q->op) || q->op == OP_CACHE_FLUSH;
    if (handover_is_frozen(r) || (writes && handover_refuses_writes(r))) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return true;
    }
    if (command_kind(q->op))
        write_now(node, r, q, origin);
    else if (q->op == OP_GET || q->op == OP_CACHE_LEASE)
        read_now(node, r, q, origin);
    else if (q->op == OP_CACHE_FLUSH || q->op == OP_CACHE_STATS)
        serve_piece(node, r, q, origin);
    else if (q->op == OP_RANGE || q->op == OP_COUNT)
        op_read(node, r, q, origin);
    else
        return false;
    return true;
}

/* All arcs, one after the other. */

struct walk {
    struct origin origin;
    struct request request;
    struct buf from;
    uint64_t deadline_ns;
    struct cache_sums sums;
    uint32_t hops;
    enum cache_policy_kind policy;
};

static void walk_free(struct walk *w)
{
    buf_deinit(&w->from);
    free(w);
}

static void write_stats(const struct walk *w, struct buf *doc)
{
    const struct cache_stats *s = &w->sums.stats;
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = { { "count", s->count },
                 { "bytes", s->bytes },
                 { "bytes_max", w->sums.bytes_max },
                 { "count_max", w->sums.count_max },
                 { "memory_bytes", s->memory_bytes },
                 { "arcs", w->sums.arcs },
                 { "hits", s->hits },
                 { "misses", s->misses },
                 { "negative_hits", s->negative_hits },
                 { "puts", s->puts },
                 { "removals", s->removals },
                 { "evictions", s->evictions },
                 { "expirations", s->expirations },
                 { "leases", s->leases },
                 { "leases_waited", s->leases_waited },
                 { "leases_early", s->leases_early },
                 { "leases_refused", s->leases_refused } };
    size_t count = sizeof rows / sizeof *rows;
    mp_write_map(doc, count + 1);
    mp_write_cstr(doc, "policy");
    mp_write_cstr(doc, cache_settings_policy(w->policy));
    for (size_t i = 0; i < count; i++) {
        mp_write_cstr(doc, rows[i].name);
        mp_write_uint(doc, rows[i].value);
    }
}

static void walk_end(struct node *node, struct walk *w, int status,
                     struct span text)
{
    struct response response = { .status = status,
                                 .text = text,
                                 .hops = w->hops };
    struct buf doc = { 0 };
    if (status == DLHT_OK && w->request.op == OP_CACHE_STATS)
        write_stats(w, &doc);
    response.value = buf_span(&doc);
    if (doc.failed)
        response = (struct response){ .status = DLHT_EBUSY };
    node_answer(node, &w->origin, &response);
    buf_deinit(&doc);
    walk_free(w);
}

static void walk_on(struct node *node, struct walk *w, bool later);

static void piece_done(struct node *node, void *context,
                       const struct response *piece)
{
    struct walk *w = context;
    w->hops += piece->hops;
    if (piece->status != DLHT_OK) {
        walk_end(node, w, piece->status, piece->text);
        return;
    }
    if (w->request.op == OP_CACHE_STATS &&
        !cache_arc_add_stats(piece->value, &w->sums)) {
        walk_end(node, w, DLHT_EPROTO, span_empty());
        return;
    }
    if (!piece->more) {
        walk_end(node, w, DLHT_OK, span_empty());
        return;
    }
    if (span_compare(piece->cursor, buf_span(&w->from)) <= 0) {
        walk_end(node, w, DLHT_EPROTO, span_empty());
        return;
    }
    buf_reset(&w->from);
    buf_append_span(&w->from, piece->cursor);
    walk_on(node, w, true);
}

static void walk_on(struct node *node, struct walk *w, bool later)
{
    struct request q = w->request;
    q.key = buf_span(&w->from);
    struct pending_target target = { .done = piece_done,
                                     .context = w,
                                     .later = later };
    if (w->from.failed ||
        pending_begin(node, &q, w->deadline_ns, &target) != DLHT_OK)
        walk_end(node, w, DLHT_EBUSY, span_empty());
}

void op_cache_walk_begin(struct node *node, const struct request *q,
                         const struct keyspace *ks, const struct origin *origin)
{
    struct walk *w = mem_zero(1, sizeof *w);
    if (!w) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return;
    }
    w->origin = *origin;
    w->request = (struct request){ .op = q->op,
                                   .keyspace = ks->record.id,
                                   .timeout_ms = q->timeout_ms };
    w->policy = ks->cache.policy;
    w->deadline_ns = op_deadline_ns(node, q);
    walk_on(node, w, false);
}
