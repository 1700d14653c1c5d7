/* SPDX-License-Identifier: Apache-2.0 */

/* Ranges and counts. The entry node cuts a range into parts, by its map or
 * where it has none by the model, and asks for all at once; each part goes on
 * from arc to arc where its answers end, so the pieces tile the range whatever
 * splits meanwhile. An answer is one page, in key order; its cursor is where
 * the next begins. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/cache_arc.h"
#include "node/models.h"
#include "node/op.h"
#include "node/replica.h"
#include "wire/mp.h"

enum {
    PARTS_MAX = 64,      /* of a count */
    MODEL_PARTS = 16,    /* of one that the model cuts */
    PAGE_PARTS_MAX = 16, /* of a page whose limit the model can foresee */
    PAGE_PARTS = 3,      /* of another page */
    PAGE_LIMIT_SMALL = 1000
};

/* A part of a range: what has been answered so far, from its beginning on. */
struct part {
    struct walk *walk;
    struct buf from; /* not yet answered from here (REVERSE: to here) on */
    struct buf end;
    bool has_end;
    struct buf list;
    uint32_t list_count;
    uint64_t count;
    bool done;
    bool more; /* done, but for a page's size or limit */
    bool last; /* its end is the range's */
};

struct walk {
    struct origin origin;
    struct request request; /* key and end: see from, end */
    struct buf from;
    struct buf end;
    struct part *parts; /* ascending; owned */
    size_t part_count;
    size_t merged; /* parts taken over */
    size_t open;   /* answers that are out */
    bool answered;
    struct buf list;
    uint32_t list_count;
    uint64_t count;
    uint32_t pieces;
    uint32_t hops;
    uint64_t deadline_ns;
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
        if (!replica_is_own(r, record.key) && DLHT_MUTANT != 30)
            break;
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
    struct span before = q->end;
    if (r->staging && (unbounded || !replica_is_own(r, before))) {
        unbounded = false;
        before = r->arc->hi;
    }
    bool there = records_seek_last(r->records, before, unbounded, &at);
    struct span last = span_empty();
    while (there) {
        struct record record = records_at(&at);
        if (span_compare(record.key, q->key) < 0)
            return;
        if ((q->limit && response->list_count >= q->limit) ||
            l->list.len >= PAGE_BYTES_MAX) {
            response->more = true;
            response->cursor = DLHT_MUTANT == 29 ? record.key : last;
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
    uint64_t upto = replica_key_count(r);
    if ((q->flags & REQUEST_HAS_END) && replica_is_own(r, q->end))
        upto = records_rank(r->records, q->end, NULL);
    response->count = upto > below ? upto - below : 0;
    if (r->arc->has_hi && is_before_end(q, r->arc->hi)) {
        response->more = true;
        response->cursor = r->arc->hi;
    }
}

/* Of a cache: entries that ended and were not taken back count, too. */
static void count_all(const struct replica *r, const struct request *q,
                      struct response *response)
{
    response->count = replica_key_count(r);
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
    if (!op_begins_in(r->arc, q)) {
        op_answer_not_owner(node, r, q, origin);
        return;
    }
    if (!ks) { /* back from its disk: not told yet whether keys have hashes */
        node_answer_status(node, origin, DLHT_EBUSY,
                           "this peer has just started");
        return;
    }
    if (ks->record.placement == PLACEMENT_HASHED)
        l.skip = OP_HASH_BYTES;
    if (q->op == OP_COUNT && r->cache) {
        count_all(r, q, &response);
    } else if (q->op == OP_COUNT) {
        count_piece(r, q, &response);
    } else {
        if (r->cache)
            cache_arc_page(node, r, q, &l.list, &response);
        else if (q->flags & REQUEST_REVERSE)
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

static void parts_free(struct walk *w)
{
    for (size_t i = 0; i < w->part_count; i++) {
        buf_deinit(&w->parts[i].from);
        buf_deinit(&w->parts[i].end);
        buf_deinit(&w->parts[i].list);
    }
    free(w->parts);
    w->parts = NULL;
    w->part_count = 0;
}

/* Frees the walk once it is answered and nothing of it is out. */
static void walk_settle(struct walk *w)
{
    if (!w->answered || w->open > 0)
        return;
    parts_free(w);
    buf_deinit(&w->from);
    buf_deinit(&w->end);
    buf_deinit(&w->list);
    free(w);
}

static void walk_fail(struct node *node, struct walk *w, int status,
                      struct span text)
{
    if (!w->answered) {
        struct response response = { .status = status, .text = text };
        node_answer(node, &w->origin, &response);
    }
    w->answered = true;
}

static void walk_answer(struct node *node, struct walk *w, bool more,
                        struct span cursor)
{
    struct response response = { .status = DLHT_OK };
    response.count = w->count;
    response.hops = w->hops;
    response.peers_asked = w->pieces;
    response.list_count = w->list_count;
    response.list = buf_span(&w->list);
    response.more = more;
    response.cursor = cursor;
    if (w->list.failed) {
        walk_fail(node, w, DLHT_EBUSY, span_empty());
        return;
    }
    node_answer(node, &w->origin, &response);
    w->answered = true;
}

static void piece_done(struct node *node, void *context,
                       const struct response *piece);

/* Asks for the next piece of a part. What is here is answered within this
 * call, unless later is set. */
static void ask(struct node *node, struct part *part, bool later)
{
    struct walk *w = part->walk;
    struct request q = w->request;
    q.key = buf_span(&part->from);
    q.end = buf_span(&part->end);
    q.flags = (uint16_t)(q.flags & ~REQUEST_HAS_END);
    if (part->has_end)
        q.flags |= REQUEST_HAS_END;
    if (q.limit)
        q.limit -= part->list_count;
    struct pending_target target = { .done = piece_done,
                                     .context = part,
                                     .later = later };
    w->open++;
    int rc = pending_begin(node, &q, w->deadline_ns, &target);
    if (rc != DLHT_OK) {
        w->open--;
        walk_fail(node, w, DLHT_EBUSY, span_empty());
    }
}

static bool is_full(const struct walk *w, size_t bytes, uint32_t count)
{
    return w->request.op == OP_RANGE &&
           (bytes >= PAGE_BYTES_MAX ||
            (w->request.limit && count >= w->request.limit));
}

/* Where the part goes on; false: it does not come nearer, or no memory. */
static bool advance(struct part *part, struct span cursor)
{
    bool reverse = part->walk->request.flags & REQUEST_REVERSE;
    struct buf *b = reverse ? &part->end : &part->from;
    int order = span_compare(cursor, buf_span(b));
    if (reverse ? part->has_end && order >= 0 : order <= 0)
        return false;
    buf_reset(b);
    buf_append_span(b, cursor);
    part->has_end = part->has_end || reverse;
    return !b->failed;
}

/* Cuts what a part has beyond count records: it goes on at the first of them.
 * False: no memory. */
static bool cut_list(struct part *part, uint32_t count)
{
    struct mp_reader r;
    mp_reader_init(&r, buf_span(&part->list));
    for (uint32_t i = 0; i < 3 * count; i++)
        mp_skip(&r);
    const uint8_t *at = r.at;
    buf_reset(&part->from);
    buf_append_span(&part->from, mp_read_bytes(&r));
    part->list.len = (size_t)(at - part->list.data);
    part->list_count = count;
    part->more = true;
    return !part->from.failed;
}

/* Adds a part's answer to the walk's; true: the walk is answered. */
static bool take_over(struct node *node, struct walk *w, struct part *part)
{
    uint64_t limit = w->request.limit;
    bool reverse = w->request.flags & REQUEST_REVERSE;
    if (limit && w->list_count + part->list_count > limit &&
        !cut_list(part, (uint32_t)(limit - w->list_count))) {
        walk_fail(node, w, DLHT_EBUSY, span_empty());
        return true;
    }
    w->count += part->count;
    w->list_count += part->list_count;
    buf_append_span(&w->list, buf_span(&part->list));
    buf_deinit(&part->list);
    if (part->more)
        walk_answer(node, w, true,
                    buf_span(reverse ? &part->end : &part->from));
    else if (part->last)
        walk_answer(node, w, false, span_empty());
    else if (is_full(w, w->list.len, w->list_count))
        walk_answer(node, w, true, buf_span(&part->end));
    return w->answered;
}

static void begin_parts(struct node *node, struct walk *w, struct span from);

/* Takes over what is answered from the beginning on without a gap; after the
 * last part the rest is cut into parts. */
static void merge(struct node *node, struct walk *w)
{
    while (w->merged < w->part_count && w->parts[w->merged].done)
        if (take_over(node, w, &w->parts[w->merged++]))
            return;
    if (w->merged < w->part_count)
        return;
    struct part *last = &w->parts[w->part_count - 1];
    struct buf from = last->end;
    memset(&last->end, 0, sizeof last->end);
    parts_free(w);
    begin_parts(node, w, buf_span(&from));
    buf_deinit(&from);
}

static void piece_done(struct node *node, void *context,
                       const struct response *piece)
{
    struct part *part = context;
    struct walk *w = part->walk;
    w->open--;
    w->pieces++;
    w->hops += piece->hops;
    if (w->answered) {
        walk_settle(w);
        return;
    }
    if (piece->status != DLHT_OK) {
        walk_fail(node, w, piece->status, piece->text);
        walk_settle(w);
        return;
    }
    part->count += piece->count;
    part->list_count += piece->list_count;
    buf_append_span(&part->list, piece->list);
    if (part->list.failed || (piece->more && !advance(part, piece->cursor))) {
        walk_fail(node, w, DLHT_EBUSY, span_empty());
    } else if (piece->more && !is_full(w, part->list.len, part->list_count)) {
        ask(node, part, true);
    } else {
        part->more = piece->more;
        part->done = true;
        merge(node, w);
    }
    walk_settle(w);
}

/* How many parts to ask for at once. A page that the model says is filled by
 * the first arc needs one. */
static size_t parts_wanted(const struct node *node, const struct walk *w,
                           const struct keyspace *ks, struct span from)
{
    const struct request *q = &w->request;
    if (q->op == OP_COUNT)
        return PARTS_MAX;
    /* Lists of hashed keyspaces do not say where their keys are. */
    if ((q->flags & REQUEST_REVERSE) ||
        ks->record.placement == PLACEMENT_HASHED)
        return 1;
    if (q->limit == 0)
        return PAGE_PARTS;
    if (!ks->held || node->config.map_fingers)
        return q->limit <= PAGE_LIMIT_SMALL ? 1 : PAGE_PARTS;
    double wanted = (double)(q->limit - w->list_count), error, sure = 0;
    size_t parts = 0, at = map_rank(ks->map, from);
    for (; parts < PAGE_PARTS_MAX && sure < wanted; parts++, at++) {
        struct span hi =
            at < map_count(ks->map) ? map_at(ks->map, at)->lo : span_empty();
        sure += model_count(ks->held->model, from, hi, &error);
        if (hi.len == 0)
            return parts + 1;
        from = hi;
    }
    return parts;
}

/* Adds a part [from, end); an empty end is the range's. */
static bool add_part(struct walk *w, struct span from, struct span end)
{
    struct part *part = &w->parts[w->part_count++];
    part->walk = w;
    part->last = end.len == 0;
    buf_append_span(&part->from, from);
    buf_append_span(&part->end, part->last ? buf_span(&w->end) : end);
    part->has_end = !part->last || (w->request.flags & REQUEST_HAS_END);
    return !part->from.failed && !part->end.failed;
}

/* Cuts a count at places of the model, into parts of about as many keys. */
static bool cut_by_model(struct walk *w, const struct keyspace *ks,
                         struct span from)
{
    const struct model *model = ks->held->model;
    struct span end = buf_span(&w->end);
    uint64_t lo, hi;
    model_range(model, from, end, &lo, &hi);
    struct buf cut = { 0 }, last = { 0 };
    bool ok = true, more = true;
    buf_append_span(&last, from);
    for (uint64_t i = 1; ok && more && i < MODEL_PARTS; i++) {
        buf_reset(&cut);
        ok = models_key_at(ks, lo + (hi - lo) / MODEL_PARTS * i, &cut) ==
             DLHT_OK;
        more = !(w->request.flags & REQUEST_HAS_END) ||
               span_compare(buf_span(&cut), end) < 0;
        if (!ok || !more || span_compare(buf_span(&last), buf_span(&cut)) >= 0)
            continue;
        ok = add_part(w, buf_span(&last), buf_span(&cut));
        buf_reset(&last);
        buf_append_span(&last, buf_span(&cut));
    }
    ok = ok && !last.failed && add_part(w, buf_span(&last), span_empty());
    buf_deinit(&cut);
    buf_deinit(&last);
    return ok;
}

/* Cuts [from, end of the range) at arcs of the map, several to a part if there
 * are many. The rest is in the last part of a count, and left out of a page. */
static bool cut_range(struct node *node, struct walk *w, struct span from)
{
    const struct keyspace *ks = keyspaces_find(node, w->request.keyspace);
    size_t wanted = ks ? parts_wanted(node, w, ks, from) : 1;
    w->merged = 0;
    w->parts = mem_zero(wanted, sizeof *w->parts);
    if (!w->parts)
        return false;
    if (wanted == PARTS_MAX && node->config.map_fingers && ks->held)
        return cut_by_model(w, ks, from);
    struct span end = buf_span(&w->end);
    bool has_end = w->request.flags & REQUEST_HAS_END;
    size_t first = ks ? map_rank(ks->map, from) : 0;
    size_t stop = !ks        ? 0
                  : !has_end ? map_count(ks->map)
                             : map_rank(ks->map, end);
    size_t cuts = stop > first ? stop - first : 0;
    size_t each = w->request.op == OP_COUNT ? cuts / wanted + 1 : 1;
    bool ok = true;
    for (size_t at = first;
         ok && wanted > 1 && w->part_count < wanted - 1 && at + each - 1 < stop;
         at += each) {
        struct span cut = map_at(ks->map, at + each - 1)->lo;
        if (has_end && span_compare(cut, end) >= 0)
            break;
        ok = add_part(w, from, cut);
        from = cut;
    }
    struct span hi = span_empty();
    if (ks && w->request.op == OP_RANGE && w->part_count > 0 &&
        first + w->part_count < stop)
        hi = map_at(ks->map, first + w->part_count)->lo;
    if (hi.len && has_end && span_compare(hi, end) >= 0)
        hi = span_empty();
    return ok && add_part(w, from, hi);
}

/* Parts of what is left of the range from there on, all asked at once. */
static void begin_parts(struct node *node, struct walk *w, struct span from)
{
    if (!cut_range(node, w, from)) {
        walk_fail(node, w, DLHT_EBUSY, span_empty());
        return;
    }
    w->open++; /* so that an answer from here does not end it under us */
    size_t count = w->part_count;
    struct part *parts = w->parts;
    for (size_t i = count; i-- > 0 && !w->answered;)
        ask(node, &parts[i], i > 0 || w->pieces > 0);
    w->open--;
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
    if (ks->record.is_volatile && (q->flags & REQUEST_REVERSE)) {
        node_answer_status(node, origin, DLHT_ENOTSUP,
                           "a volatile keyspace is scanned upwards only");
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
    if (w->from.failed || w->end.failed)
        walk_fail(node, w, DLHT_EBUSY, span_empty());
    else
        begin_parts(node, w, buf_span(&w->from));
    walk_settle(w);
}
