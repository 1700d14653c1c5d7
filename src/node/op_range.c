/* SPDX-License-Identifier: Apache-2.0 */

/* Ranges and counts. The entry node walks the arcs that the range crosses, in
 * key order; each piece says where it ends, the next begins exactly there, so
 * the pieces tile the range whatever splits meanwhile. An answer is one page;
 * its cursor is where the next begins. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/models.h"
#include "node/op.h"
#include "node/replica.h"
#include "wire/mp.h"

enum {
    DEPTH_MAX = 16
};

struct walk {
    struct origin origin;
    struct request request; /* spans into from, end */
    struct buf from;
    struct buf end;
    struct buf list;
    uint32_t list_count;
    uint64_t count;
    uint32_t pieces;
    uint32_t hops;
    uint64_t deadline_ns;
    uint32_t depth; /* pieces answered here within one call */
};

const struct arc *op_find_before(const struct map *map,
                                 const struct request *request)
{
    size_t n = map_count(map);
    if (n == 0)
        return NULL;
    if (!(request->flags & REQUEST_HAS_END))
        return map_at(map, n - 1);
    /* The last arc with lo < end. */
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (span_compare(map_at(map, mid)->lo, request->end) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return map_at(map, lo ? lo - 1 : 0);
}

bool op_begins_in(const struct arc *arc, const struct request *q)
{
    if (!(q->flags & REQUEST_REVERSE))
        return arc_has(arc, q->key);
    if (!(q->flags & REQUEST_HAS_END))
        return !arc->has_hi;
    return span_compare(arc->lo, q->end) < 0 &&
           (!arc->has_hi || span_compare(q->end, arc->hi) <= 0);
}

static bool is_before_end(const struct request *q, struct span key)
{
    return !(q->flags & REQUEST_HAS_END) || span_compare(key, q->end) < 0;
}

/* How a piece is listed. */
struct listing {
    struct buf list;
    bool keys_only;
    size_t skip; /* bytes of hash before a hashed keyspace's keys */
};

static void add_record(struct listing *l, const struct record *record)
{
    mp_write_bin(&l->list, span_tail(record->key, l->skip));
    mp_write_bin(&l->list, l->keys_only ? span_empty() : record->value);
    mp_write_uint(&l->list, record->version);
}

/* Upwards from key. Fills response->list; more and cursor say where to go on.
 */
static void read_up(const struct replica *r, const struct request *q,
                    struct listing *l, struct response *response)
{
    struct records_cursor at;
    bool there = records_seek(r->records, q->key, &at);
    while (there) {
        struct record record = records_at(&at);
        if (!is_before_end(q, record.key))
            return;
        if ((q->limit && response->list_count >= q->limit) ||
            l->list.len >= PAGE_BYTES_MAX) {
            response->more = true;
            response->cursor = record.key;
            return;
        }
        add_record(l, &record);
        response->list_count++;
        there = records_next(&at);
    }
    if (r->arc->has_hi && is_before_end(q, r->arc->hi)) {
        response->more = true;
        response->cursor = r->arc->hi;
    }
}

/* Downwards from before end, to key included. */
static void read_down(const struct replica *r, const struct request *q,
                      struct listing *l, struct response *response)
{
    struct records_cursor at;
    bool unbounded = !(q->flags & REQUEST_HAS_END);
    bool there = records_seek_last(r->records, q->end, unbounded, &at);
    struct span last = span_empty();
    while (there) {
        struct record record = records_at(&at);
        if (span_compare(record.key, q->key) < 0)
            return;
        if ((q->limit && response->list_count >= q->limit) ||
            l->list.len >= PAGE_BYTES_MAX) {
            response->more = true;
            response->cursor = last;
            return;
        }
        add_record(l, &record);
        response->list_count++;
        last = record.key;
        there = records_previous(&at);
    }
    if (span_compare(q->key, r->arc->lo) < 0) {
        response->more = true;
        response->cursor = r->arc->lo;
    }
}

static void count_piece(const struct replica *r, const struct request *q,
                        struct response *response)
{
    uint64_t below = records_rank(r->records, q->key, NULL);
    uint64_t upto = records_count(r->records);
    if (q->flags & REQUEST_HAS_END)
        upto = records_rank(r->records, q->end, NULL);
    response->count = upto > below ? upto - below : 0;
    if (r->arc->has_hi && is_before_end(q, r->arc->hi)) {
        response->more = true;
        response->cursor = r->arc->hi;
    }
}

void op_range_read(struct node *node, struct replica *r,
                   const struct request *q, const struct origin *origin)
{
    struct response response = { .status = DLHT_OK };
    const struct keyspace *ks = keyspaces_find(node, r->keyspace);
    struct listing l = { .keys_only = (q->flags & REQUEST_KEYS_ONLY) != 0 };
    if (ks && ks->record.placement == PLACEMENT_HASHED)
        l.skip = OP_HASH_BYTES;
    if (!op_begins_in(r->arc, q)) {
        op_answer_not_owner(node, r, q, origin);
        return;
    }
    if (q->op == OP_COUNT) {
        count_piece(r, q, &response);
    } else {
        if (q->flags & REQUEST_REVERSE)
            read_down(r, q, &l, &response);
        else
            read_up(r, q, &l, &response);
        response.list = effects_copy(node->fx, buf_span(&l.list));
        if (l.list.failed || response.list.len != l.list.len) {
            memset(&response, 0, sizeof response);
            response.status = DLHT_EBUSY;
        }
    }
    node_answer(node, origin, &response);
    buf_deinit(&l.list);
}

static void walk_free(struct walk *w)
{
    buf_deinit(&w->from);
    buf_deinit(&w->end);
    buf_deinit(&w->list);
    free(w);
}

static void walk_answer(struct node *node, struct walk *w,
                        struct response *response)
{
    response->count = w->count;
    response->hops = w->hops;
    response->peers_asked = w->pieces;
    response->list_count = w->list_count;
    response->list = effects_copy(node->fx, buf_span(&w->list));
    if (w->list.failed || response->list.len != w->list.len) {
        memset(response, 0, sizeof *response);
        response->status = DLHT_EBUSY;
    }
    node_answer(node, &w->origin, response);
    walk_free(w);
}

static void walk_next(struct node *node, struct walk *w);

/* Sets where the next piece begins; false: no memory. */
static bool advance(struct walk *w, struct span cursor)
{
    struct request *q = &w->request;
    struct buf *b = q->flags & REQUEST_REVERSE ? &w->end : &w->from;
    buf_reset(b);
    buf_append_span(b, cursor);
    if (q->flags & REQUEST_REVERSE)
        q->flags |= REQUEST_HAS_END;
    q->key = buf_span(&w->from);
    q->end = buf_span(&w->end);
    return !b->failed;
}

static void piece_done(struct node *node, void *context,
                       const struct response *piece)
{
    struct walk *w = context;
    w->pieces++;
    w->hops += piece->hops;
    struct response final = { .status = piece->status };
    if (piece->status != DLHT_OK) {
        final.text = piece->text;
        node_answer(node, &w->origin, &final);
        walk_free(w);
        return;
    }
    w->count += piece->count;
    w->list_count += piece->list_count;
    buf_append_span(&w->list, piece->list);
    bool full = w->list.len >= PAGE_BYTES_MAX ||
                (w->request.limit && w->list_count >= w->request.limit);
    if (!piece->more || (full && w->request.op == OP_RANGE)) {
        final.more = piece->more;
        final.cursor = effects_copy(node->fx, piece->cursor);
        walk_answer(node, w, &final);
        return;
    }
    if (!advance(w, piece->cursor)) {
        node_answer_status(node, &w->origin, DLHT_EBUSY, NULL);
        walk_free(w);
        return;
    }
    walk_next(node, w);
}

/* Asks for the next piece. */
static void walk_next(struct node *node, struct walk *w)
{
    struct request q = w->request;
    if (q.limit)
        q.limit -= w->list_count;
    struct pending_target target = { .done = piece_done, .context = w };
    /* Pieces that are here are answered at once, inside this call: now and
     * then the next turn goes on, so that the stack stays short. */
    target.later = ++w->depth % DEPTH_MAX == 0;
    if (pending_begin(node, &q, w->deadline_ns, &target) == DLHT_OK)
        return;
    node_answer_status(node, &w->origin, DLHT_EBUSY, NULL);
    walk_free(w);
}

/* By this node's model alone: nobody is asked. */
static void estimate(struct node *node, const struct keyspace *ks,
                     const struct request *q, const struct origin *origin)
{
    if (!ks->held) {
        node_answer_status(node, origin, DLHT_ENOTSUP,
                           "no model is trained yet, so nothing can be "
                           "estimated; model train makes one");
        return;
    }
    struct span end = span_empty();
    if (q->flags & REQUEST_HAS_END)
        end = q->end;
    double error;
    double count = model_count(ks->held->model, q->key, end, &error);
    struct response response = { .status = DLHT_OK };
    response.count = (uint64_t)(count + 0.5);
    response.version = (uint64_t)error + 1;
    node_answer(node, origin, &response);
}

void op_range_begin(struct node *node, const struct request *q,
                    const struct origin *origin)
{
    struct keyspace *ks = keyspaces_find(node, q->keyspace);
    if (ks->record.placement == PLACEMENT_HASHED &&
        (q->key.len || (q->flags & REQUEST_HAS_END)) &&
        !(q->flags & REQUEST_SCAN)) {
        node_answer_status(node, origin, DLHT_ENOTSUP,
                           "a hashed keyspace has no key order: only count "
                           "and scan of the whole");
        return;
    }
    if (q->key.len > KEY_LEN_MAX + OP_HASH_BYTES ||
        q->end.len > KEY_LEN_MAX + OP_HASH_BYTES) {
        node_answer_status(node, origin, DLHT_ETOOBIG,
                           "a key is at most 64 KiB");
        return;
    }
    if ((q->flags & REQUEST_HAS_END) && span_compare(q->key, q->end) >= 0) {
        struct response empty = { .status = DLHT_OK };
        node_answer(node, origin, &empty);
        return;
    }
    if (q->op == OP_COUNT && (q->flags & REQUEST_ESTIMATE)) {
        estimate(node, ks, q, origin);
        return;
    }
    struct walk *w = mem_zero(1, sizeof *w);
    if (!w) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return;
    }
    w->origin = *origin;
    w->request = *q;
    if (q->op == OP_COUNT) /* a number has no direction */
        w->request.flags &= (uint16_t)~REQUEST_REVERSE;
    w->deadline_ns = op_deadline_ns(node, q);
    buf_append_span(&w->from, q->key);
    buf_append_span(&w->end, q->end);
    w->request.key = buf_span(&w->from);
    w->request.end = buf_span(&w->end);
    w->request.value = w->request.list = span_empty();
    w->request.keyspace_name = span_empty();
    walk_next(node, w);
}
