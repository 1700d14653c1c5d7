/* SPDX-License-Identifier: Apache-2.0 */

/* Dispatch of requests, and the operations on one record: put, get, del, cas,
 * on both sides. */

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "node/burials.h"
#include "node/disk_full.h"
#include "node/fingers.h"
#include "node/gossip.h"
#include "node/models.h"
#include "node/op_balance.h"
#include "node/op_cache.h"
#include "node/op_merge.h"
#include "node/op_model.h"
#include "node/op_recover.h"
#include "node/op_search.h"
#include "node/op_vector.h"
#include "node/quiet.h"
#include "node/replica.h"

uint64_t op_deadline_ns(const struct node *node, const struct request *request)
{
    uint64_t ms =
        request->timeout_ms ? request->timeout_ms : REQUEST_TIMEOUT_MS;
    if (ms > REQUEST_TIMEOUT_MS_MAX)
        ms = REQUEST_TIMEOUT_MS_MAX;
    return node->now_ns + ms * NS_PER_MS;
}

static void answer_write_refusal(struct node *node, const struct origin *origin,
                                 int rc, const struct replica *r)
{
    /* Without memory it was not done, and may be asked again. */
    struct response response = { .status =
                                     rc == DLHT_ENOMEM ? DLHT_EBUSY : rc };
    if (rc == DLHT_ENOTOWNER && r && !r->empty)
        response.arc = r->arc;
    node_answer(node, origin, &response);
}

void op_answer_not_owner(struct node *node, const struct replica *r,
                         const struct request *q, const struct origin *origin)
{
    struct response response = { .status = DLHT_ENOTOWNER, .arc = r->arc };
    const struct keyspace *ks = keyspaces_find(node, r->keyspace);
    /* Who has old news of us is told the new; who has it is sent on. */
    const struct arc *next = NULL;
    if (ks && q->generation == r->arc->generation && !op_begins_in(r->arc, q))
        next = fingers_hint(node, ks, q, r->arc);
    if (next)
        response.arc = next;
    node_answer(node, origin, &response);
}

void op_answer_result(struct node *node, const struct replica *r,
                      const struct origin *origin,
                      const struct session_result *result)
{
    struct response response = { .status = result->status,
                                 .version = result->version,
                                 .count = result->count };
    if (result->status == DLHT_ENOTOWNER) {
        response.count = OP_BY_LOG;
        response.arc = r->arc;
    } else if (result->names_arc) {
        response.arc = r->arc;
    }
    node_answer(node, origin, &response);
}

bool op_hold_result(struct node *node, struct replica *r, uint64_t index,
                    const struct origin *origin,
                    const struct session_result *result)
{
    if (r->held_count == r->held_cap) {
        size_t cap = r->held_cap ? r->held_cap * 2 : 16;
        struct result_held *grown = mem_resize(r->held, cap, sizeof *grown);
        if (!grown)
            return false;
        r->held = grown;
        r->held_cap = cap;
    }
    r->held[r->held_count++] = (struct result_held){ .index = index,
                                                     .origin = *origin,
                                                     .result = *result };
    node_wake_at(node, node->now_ns + NODE_TICK_NS);
    return true;
}

/* What the log will say. */
static struct command command_of(const struct request *q)
{
    struct command c = { .session = q->session,
                         .number = q->number,
                         .lowest_open = q->lowest_open,
                         .key = q->key,
                         .value = q->value,
                         .version = q->version,
                         .list = q->list,
                         .list_count = q->list_count,
                         .rank = q->limit };
    switch (q->op) {
    case OP_PUT:
        c.kind = COMMAND_PUT;
        break;
    case OP_DEL:
        c.kind = COMMAND_DEL;
        break;
    case OP_CAS:
        c.kind = COMMAND_CAS;
        break;
    case OP_CAS_BATCH:
        c.kind = COMMAND_CAS_BATCH;
        break;
    default:
        c.kind = COMMAND_BATCH;
        break;
    }
    return c;
}

/* A batch that the log would most likely refuse; if the arc has grown since,
 * it is cut again for nothing. */
static bool reaches_out(const struct replica *r, const struct command *c)
{
    return (c->kind == COMMAND_BATCH || c->kind == COMMAND_CAS_BATCH) &&
           !replica_holds(r, c);
}

static bool memory_is_full(const struct node *node)
{
    return node->config.memory_limit &&
           node->memory_used > node->config.memory_limit;
}

static void serve_write(struct node *node, struct replica *r,
                        const struct request *q, const struct origin *origin)
{
    int rc = disk_full_refusal(node, r);
    bool adds = q->op != OP_DEL;
    struct command c = command_of(q);
    if (!arc_has(r->arc, q->key)) {
        op_answer_not_owner(node, r, q, origin);
        return;
    }
    if (reaches_out(r, &c)) {
        struct session_result refused = { .status = DLHT_ENOTOWNER };
        op_answer_result(node, r, origin, &refused);
        return;
    }
    if (rc == DLHT_OK && adds && memory_is_full(node))
        rc = DLHT_EFULL;
    struct waiter w = { .origin = *origin,
                        .all = (q->flags & REQUEST_ALL) != 0 };
    if (rc == DLHT_OK)
        rc = replica_propose(node, r, &c, &w);
    if (rc == DLHT_OK) {
        r->requests++;
    } else if (rc == DLHT_EFULL) {
        struct response full = { .status = DLHT_EFULL };
        full.text =
            span_str(node->disk_full ? DISK_FULL_TEXT
                                     : "the owner's --memory-limit is reached; "
                                       "delete something or raise it");
        node_answer(node, origin, &full);
    } else {
        answer_write_refusal(node, origin, rc, r);
    }
}

static void read_record(struct node *node, struct replica *r,
                        const struct request *q, const struct origin *origin)
{
    struct response response = { .status = DLHT_ENOTFOUND };
    struct record record;
    if (!arc_has(r->arc, q->key)) {
        op_answer_not_owner(node, r, q, origin);
        return;
    }
    if (records_get(r->records, q->key, &record)) {
        response.status = DLHT_OK;
        response.version = record.version;
        response.value = record.value;
    }
    node_answer(node, origin, &response);
}

void op_read(struct node *node, struct replica *r,
             const struct request *request, const struct origin *origin)
{
    if (op_merge_refuses(r) && request->op != OP_ARC_INFO) {
        op_merge_refuse(node, r, origin);
        return;
    }
    if (r->cas_done) { /* of a batch that nobody may see a part of */
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return;
    }
    r->requests++;
    if (r->cache &&
        (request->op == OP_MODEL_REPORT || request->op == OP_MODEL_SUMS)) {
        node_answer_status(node, origin, DLHT_ENOTSUP, NULL);
        return;
    }
    switch (request->op) {
    case OP_GET:
        read_record(node, r, request, origin);
        break;
    case OP_RANGE:
    case OP_COUNT:
        op_range_read(node, r, request, origin);
        break;
    case OP_SEARCH_PEER:
    case OP_SEARCH_CONFIRM:
        op_search_read(node, r, request, origin);
        break;
    case OP_MODEL_REPORT:
    case OP_MODEL_SUMS:
        op_model_read(node, r, request, origin);
        break;
    default:
        op_arc_info_read(node, r, request, origin);
        break;
    }
}

struct span op_damaged_text(struct node *node)
{
    enum {
        TEXT_MAX = PEER_ADDR_MAX + 128
    };
    char *text = effects_room(node->fx, TEXT_MAX);
    if (!text)
        return span_empty();
    snprintf(text, TEXT_MAX,
             "the copy on %s is damaged and no other peer leads this arc",
             node->config.addr);
    return span_str(text);
}

void op_serve(struct node *node, const struct request *request,
              const struct origin *origin)
{
    struct replica *r = node_replica(node, request->arc);
    if (r && op_merge_is_closed(r) && request->op != OP_MERGE) {
        op_merge_refuse(node, r, origin);
        return;
    }
    if (!r || r->empty) {
        struct response response = { .status = DLHT_ENOTOWNER };
        struct keyspace *ks = keyspaces_find(node, request->keyspace);
        if (ks)
            response.arc = fingers_route(node, ks, request);
        if (burials_has(node, request->arc, BURIALS_DAMAGED))
            response.text = op_damaged_text(node);
        node_answer(node, origin, &response);
        return;
    }
    bool write = request->op == OP_PUT || request->op == OP_DEL ||
                 request->op == OP_CAS || request->op == OP_BATCH ||
                 request->op == OP_CAS_BATCH;
    if (r->cache && replica_leads(r) &&
        op_cache_serve(node, r, request, origin))
        return;
    if (!write && !r->cache && request->op != OP_MERGE &&
        (request->flags & REQUEST_STALE))
        op_read(node, r, request, origin);
    else if (!replica_leads(r)) {
        quiet_wake(node, r); /* somebody may miss the owner */
        answer_write_refusal(node, origin, DLHT_ENOTOWNER, r);
    } else if (request->op == OP_MERGE)
        op_merge_serve(node, request, origin);
    else if (write && op_merge_refuses(r))
        op_merge_refuse(node, r, origin);
    else if (request->op == OP_LEAVE)
        op_leave_serve(node, request, origin);
    else if (request->op == OP_PEER_SET)
        op_peer_set_serve(node, request, origin);
    else if (request->op == OP_BALANCE)
        op_balance_serve(node, r, request, origin);
    else if (request->op == OP_MODEL || request->op == OP_PRESPLIT)
        op_model_serve(node, r, request, origin);
    else if (write)
        serve_write(node, r, request, origin);
    else
        replica_read(node, r, request, origin);
}

void op_hash_key(struct span key, uint8_t *out)
{
    uint64_t h = hash64(key);
    for (int i = 0; i < OP_HASH_BYTES; i++)
        out[i] = (uint8_t)(h >> (56 - 8 * i));
    memcpy(out + OP_HASH_BYTES, key.data, key.len);
}

struct span op_hashed_key(struct node *node, struct span key)
{
    uint8_t *room = effects_room(node->fx, key.len + OP_HASH_BYTES);
    if (!room)
        return span_empty();
    op_hash_key(key, room);
    return span_of(room, key.len + OP_HASH_BYTES);
}

/* A read that this node can answer at once, without keeping a copy. */
static bool answer_here(struct node *node, const struct request *q,
                        const struct keyspace *ks, const struct origin *origin)
{
    const struct arc *arc = map_find(ks->map, q->key, models_guess(ks, q->key));
    struct replica *r = arc ? node_replica(node, arc->id) : NULL;
    if (!r || r->empty || r->cache || !arc_has(r->arc, q->key) ||
        !replica_leads(r) || (q->flags & REQUEST_STRICT) || op_merge_refuses(r))
        return false;
    if (!replica_reads_now(node, r))
        return false;
    quiet_note_work(node, r);
    op_read(node, r, q, origin);
    return true;
}

bool op_propose_here(struct node *node, struct replica *r,
                     const struct request *q, const struct origin *origin)
{
    if ((q->op != OP_PUT && q->op != OP_DEL && q->op != OP_CAS) || q->flags ||
        origin->kind != ORIGIN_CLIENT || node->in_flush)
        return false;
    if (r->empty || r->cache || !replica_leads(r) ||
        r->led_term != raft_term(r->raft) || raft_members(r->raft)->count > 1 ||
        !arc_has(r->arc, q->key) || op_merge_is_closed(r) ||
        op_merge_refuses(r) || (q->op != OP_DEL && memory_is_full(node)))
        return false;
    struct command c = command_of(q);
    struct waiter w = { .origin = *origin,
                        .direct = true,
                        .begun_ns = node->now_ns,
                        .deadline_ns = op_deadline_ns(node, q) };
    if (replica_propose(node, r, &c, &w) != DLHT_OK)
        return false;
    node_wake_at(node, w.deadline_ns);
    r->requests++;
    return true;
}

static bool propose_here(struct node *node, const struct request *q,
                         const struct keyspace *ks, const struct origin *origin)
{
    if (q->op == OP_GET)
        return false;
    const struct arc *arc = map_find(ks->map, q->key, models_guess(ks, q->key));
    struct replica *r = arc ? node_replica(node, arc->id) : NULL;
    return r && op_propose_here(node, r, q, origin);
}

void op_record_begin(struct node *node, const struct request *request,
                     const struct keyspace *ks, const struct origin *origin)
{
    struct request q = *request;
    if (q.key.len == 0 || q.key.len > KEY_LEN_MAX) {
        node_answer_status(node, origin, q.key.len ? DLHT_ETOOBIG : DLHT_EINVAL,
                           "a key is 1 byte to 64 KiB");
        return;
    }
    if (q.value.len > VALUE_LEN_MAX) {
        node_answer_status(node, origin, DLHT_ETOOBIG,
                           "a value is at most 16 MiB");
        return;
    }
    if (ks->record.placement == PLACEMENT_HASHED)
        q.key = op_hashed_key(node, q.key);
    if (q.key.len == 0) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return;
    }
    if (op_cache_here(node, &q, ks, origin) ||
        (q.op == OP_GET && answer_here(node, &q, ks, origin)) ||
        propose_here(node, &q, ks, origin))
        return;
    struct pending_target target = { .origin = *origin };
    int rc = pending_begin(node, &q, op_deadline_ns(node, &q), &target);
    if (rc != DLHT_OK)
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
}

struct keyspace *op_keyspace_of(const struct node *node,
                                const struct request *q)
{
    struct keyspace *ks;
    if (q->keyspace)
        ks = keyspaces_find(node, q->keyspace);
    else
        ks = keyspaces_find_name(node, q->keyspace_name.len
                                           ? q->keyspace_name
                                           : span_str("default"));
    return ks && ks->record.id != SYSTEM_KEYSPACE && !ks->record.dropped ? ks
                                                                         : NULL;
}

/* NULL after answering why not. */
static struct keyspace *keyspace_of(struct node *node, const struct request *q,
                                    const struct origin *origin)
{
    struct keyspace *ks = op_keyspace_of(node, q);
    if (ks)
        return ks;
    node_answer_status(node, origin, DLHT_ENOKEYSPACE,
                       "no such keyspace; keyspace list shows those there "
                       "are, keyspace create makes one");
    return NULL;
}

static void begin_in_keyspace(struct node *node, const struct request *request,
                              const struct origin *origin)
{
    struct keyspace *ks = keyspace_of(node, request, origin);
    if (!ks)
        return;
    struct request q = *request;
    q.keyspace = ks->record.id;
    q.flags &= (uint16_t)~REQUEST_TO_ARC;
    if (!op_cache_allows(node, &q, ks, origin) ||
        !op_vector_allows(node, &q, ks, origin))
        return;
    switch (q.op) {
    case OP_MGET:
        op_mget_begin(node, &q, origin);
        break;
    case OP_BATCH:
        op_batch_begin(node, &q, origin);
        break;
    case OP_CAS_BATCH:
        op_cas_batch_begin(node, &q, origin);
        break;
    case OP_RANGE:
    case OP_COUNT:
        op_range_begin(node, &q, origin);
        break;
    case OP_VECTOR_PUT:
        op_vector_put_begin(node, &q, ks, origin);
        break;
    case OP_VECTOR_GET:
        op_vector_get_begin(node, &q, ks, origin);
        break;
    case OP_VECTORS:
        op_vectors_begin(node, &q, ks, origin);
        break;
    case OP_SEARCH:
        op_search_begin(node, &q, ks, origin);
        break;
    case OP_CACHE_FLUSH:
    case OP_CACHE_STATS:
        op_cache_walk_begin(node, &q, ks, origin);
        break;
    case OP_LOOKUP:
        op_lookup_begin(node, &q, origin);
        break;
    case OP_RING:
        op_ring_begin(node, &q, origin);
        break;
    default:
        op_record_begin(node, &q, ks, origin);
        break;
    }
}

void op_begin(struct node *node, const struct request *request,
              const struct origin *origin)
{
    if (request->op == OP_PING) {
        node_answer_status(node, origin, DLHT_OK, NULL);
        return;
    }
    if (node->phase != PHASE_SERVING || !node->said_ready) {
        node_answer_status(node, origin, DLHT_ECLOSED,
                           "this node does not serve yet, or is stopping");
        return;
    }
    switch (request->op) {
    case OP_PEERS:
        op_peers_begin(node, request, origin);
        break;
    case OP_STATUS:
        op_status_begin(node, request, origin);
        break;
    case OP_KEYSPACE_CREATE:
    case OP_KEYSPACE_DROP:
        op_keyspace_begin(node, request, origin);
        break;
    case OP_KEYSPACE_LIST:
        op_keyspace_list(node, request, origin);
        break;
    case OP_KEYSPACE_SET:
    case OP_KEYSPACE_SHOW:
        op_keyspace_options(node, request, origin);
        break;
    case OP_MODEL:
    case OP_PRESPLIT:
        op_model_begin(node, request, origin);
        break;
    case OP_LEAVE:
        op_leave_begin(node, request, origin);
        break;
    case OP_PEER_SET:
        op_peer_set_begin(node, request, origin);
        break;
    case OP_BALANCE:
        op_balance_begin(node, request, origin);
        break;
    case OP_RECOVER:
        op_recover_begin(node, request, origin);
        break;
    case OP_PUT:
    case OP_GET:
    case OP_DEL:
    case OP_CAS:
    case OP_MGET:
    case OP_BATCH:
    case OP_CAS_BATCH:
    case OP_RANGE:
    case OP_COUNT:
    case OP_LOOKUP:
    case OP_RING:
    case OP_VECTOR_PUT:
    case OP_VECTOR_GET:
    case OP_SEARCH:
    case OP_VECTORS:
    case OP_CACHE_EXPIRE:
    case OP_CACHE_FLUSH:
    case OP_CACHE_STATS:
    case OP_CACHE_LEASE:
        begin_in_keyspace(node, request, origin);
        break;
    default:
        node_answer_status(node, origin, DLHT_EPROTO,
                           "this operation is not known");
        break;
    }
}
