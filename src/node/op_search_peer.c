/* SPDX-License-Identifier: Apache-2.0 */

/* What a peer does of a search. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/collections.h"
#include "node/op.h"
#include "node/op_merge.h"
#include "node/op_search.h"
#include "node/replica.h"
#include "node/search_marks.h"
#include "node/search_query.h"
#include "vector/vector_record.h"

enum asked_state {
    ASKED_WAITS, /* to be confirmed */
    ASKED_LAGS,  /* the copy here has not come to index yet */
    ASKED_READY, /* may be read */
    ASKED_LOST   /* nobody confirms it now */
};

/* An arc that the search is about. */
struct asked {
    struct search_mark mark; /* to be reached; CONFIRM: of the copy that asks */
    enum asked_state state;
    bool led; /* by this node, for sure */
};

/* A search that waits until its arcs may be read; or, of a peer that will read
 * its own copies, until this node's leaderships are sure. */
struct serving {
    struct serving *next;
    uint32_t id;
    bool confirms; /* OP_SEARCH_CONFIRM */
    struct origin origin;
    keyspace_id keyspace;
    struct search_query query;
    struct asked *arcs;
    size_t count;
    size_t open; /* answers that are out, and copies that lag */
    uint64_t deadline_ns;
};

/* The distance, and what else was asked for, as a record's value. False: the
 * record is not there, which cannot be: it was found in there. */
static bool pack_hit(const struct search_query *q, const struct replica *r,
                     const struct collection_hit *hit, struct buf *list)
{
    struct record record;
    struct vector_record v;
    struct buf body = { 0 }, json = { 0 };
    if (!records_get(r->records, hit->id, &record) ||
        vector_record_open(record.value, &v) != DLHT_OK)
        return false;
    mp_write_array(&body, 3);
    mp_write_float(&body, (double)hit->distance);
    if (q->meta) {
        meta_print(v.meta, &json);
        mp_write_str(&body, buf_span(&json));
    } else {
        mp_write_nil(&body);
    }
    if (q->vectors)
        mp_write_bin(&body, span_of(v.floats, v.dim * sizeof(float)));
    else
        mp_write_nil(&body);
    mp_write_bin(list, record.key);
    mp_write_bin(list, buf_span(&body));
    mp_write_uint(list, record.version);
    list->failed = list->failed || body.failed || json.failed;
    buf_deinit(&body);
    buf_deinit(&json);
    return true;
}

static struct search_mark mark_of(const struct replica *r)
{
    return (struct search_mark){ r->id, r->applied, r->arc->generation };
}

/* The copy has all that is in the log up to the mark. */
static bool has_reached(const struct replica *r, const struct search_mark *mark)
{
    struct search_mark has = mark_of(r);
    return search_mark_reached(&has, mark);
}

/* The copy of an arc that was confirmed, if it may still be read; NULL. */
static struct replica *readable(struct node *node, const struct serving *s,
                                size_t i)
{
    struct replica *r = s->arcs[i].state == ASKED_READY
                            ? node_replica(node, s->arcs[i].mark.arc)
                            : NULL;
    bool may = r && !r->empty && r->keyspace == s->keyspace &&
               !op_merge_refuses(r) && !r->cas_done;
    /* It may have been made anew meanwhile, from less. */
    may = may && (s->confirms || has_reached(r, &s->arcs[i].mark));
    return may ? r : NULL;
}

/* The copies that are searched, by where they begin. */
struct copies {
    struct replica **list;
    size_t count;
};

static int by_begin(const void *a, const void *b)
{
    const struct replica *const *x = a, *const *y = b;
    return span_compare((*x)->arc->lo, (*y)->arc->lo);
}

/* Of two that have keys in common the one of the higher generation is newer: an
 * arc was cut or merged, and the other copy has not heard of it. Leaders that
 * were confirmed have none. */
static void drop_old(struct copies *all)
{
    for (size_t i = 0; i < all->count; i++)
        for (size_t j = i + 1; all->list[i] && j < all->count; j++) {
            struct replica *a = all->list[i], *b = all->list[j];
            if (!b)
                continue;
            if (a->arc->has_hi && span_compare(b->arc->lo, a->arc->hi) >= 0)
                break;
            bool older = a->arc->generation < b->arc->generation;
            all->list[older ? i : j] = NULL;
        }
    size_t kept = 0;
    for (size_t i = 0; i < all->count; i++)
        if (all->list[i])
            all->list[kept++] = all->list[i];
    all->count = kept;
}

static int gather_copies(struct node *node, const struct serving *s,
                         struct copies *out)
{
    *out = (struct copies){ mem_array(s->count + 1, sizeof *out->list), 0 };
    if (!out->list)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < s->count; i++) {
        struct replica *r = readable(node, s, i);
        if (r)
            out->list[out->count++] = r;
    }
    if (out->count)
        qsort(out->list, out->count, sizeof *out->list, by_begin);
    drop_old(out);
    return DLHT_OK;
}

/* What a hit was found in. */
static const struct replica *holder(const struct node_collection *nc,
                                    const struct copies *copies,
                                    const struct collection_hit *hit)
{
    size_t lo = 0, hi = copies->count;
    if (nc && hit->part != UINT32_MAX)
        return collections_replica(nc, hit->part);
    while (lo < hi) { /* the last that begins at the id or before */
        size_t mid = lo + (hi - lo) / 2;
        if (span_compare(copies->list[mid]->arc->lo, hit->id) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? copies->list[lo - 1] : NULL;
}

/* Arcs are in ascending order, as replicas are. NULL: it is not asked for. */
static struct asked *find_asked(const struct serving *s, arc_id arc)
{
    size_t lo = 0, hi = s->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->arcs[mid].mark.arc < arc)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->count && s->arcs[lo].mark.arc == arc ? &s->arcs[lo] : NULL;
}

static struct key_range range_of(const struct replica *r)
{
    return (struct key_range){ r->arc->lo, r->arc->hi, r->arc->has_hi };
}

/* How many of the copies can be told of: long keys must fit a frame. What is
 * left out is asked for again. */
static size_t count_told(const struct copies *copies)
{
    size_t bytes = 0, told = 0;
    for (; told < copies->count; told++) {
        const struct arc *arc = copies->list[told]->arc;
        bytes += arc->lo.len + arc->hi.len + SEARCH_RANGE_BYTES;
        if (bytes > SEARCH_RANGES_BYTES_MAX)
            break;
    }
    return told;
}

/* Of copies that had come far enough: which ranges they are. */
static void pack_ranges(const struct copies *copies,
                        const struct key_ranges *asked, struct buf *doc)
{
    struct key_ranges ranges = { 0 };
    size_t told = count_told(copies);
    for (size_t i = 0; i < told; i++) {
        struct key_range range = range_of(copies->list[i]);
        if (key_ranges_add(&ranges, &range) != DLHT_OK)
            doc->failed = true;
    }
    mp_write_cstr(doc, "ranges");
    if (DLHT_MUTANT == 45)
        search_pack_ranges(asked->list, asked->count, doc);
    else
        search_pack_ranges(ranges.list, ranges.count, doc);
    key_ranges_deinit(&ranges);
}

/* Of others: how far each had come. */
static void pack_claims(const struct serving *s, const struct copies *copies,
                        struct buf *doc)
{
    size_t told = count_told(copies);
    mp_write_cstr(doc, "copies");
    mp_write_array(doc, told);
    for (size_t i = 0; i < told; i++) {
        const struct replica *r = copies->list[i];
        const struct asked *a = find_asked(s, r->id);
        struct search_claim claim = { .range = range_of(r),
                                      .mark = mark_of(r),
                                      .led = a && a->led };
        search_claims_pack(&claim, doc);
    }
}

/* What was done, and of which ranges. */
static void pack_outcome(const struct serving *s, const struct copies *copies,
                         const struct collection_search_work *work,
                         struct buf *doc)
{
    mp_write_map(doc, 3);
    mp_write_cstr(doc, "measured");
    mp_write_uint(doc, work->measured);
    mp_write_cstr(doc, "exact");
    mp_write_bool(doc, work->exact);
    if (s->query.claims)
        pack_claims(s, copies, doc);
    else
        pack_ranges(copies, &s->query.ranges, doc);
}

static void answer_hits(struct node *node, struct serving *s,
                        struct collection_search *search)
{
    const struct node_collection *nc = collections_find(node, s->keyspace);
    const struct collection_hit *hits;
    struct collection_search_work work;
    struct buf list = { 0 }, doc = { 0 };
    struct response response = { .status = DLHT_OK };
    struct copies copies;
    size_t count = 0;
    int rc = gather_copies(node, s, &copies);
    for (size_t i = 0; i < copies.count; i++)
        collections_search(search, copies.list[i]);
    if (rc == DLHT_OK)
        rc = collection_search_run(search, &hits, &count);
    collection_search_work(search, &work);
    pack_outcome(s, &copies, &work, &doc);
    for (size_t i = 0; rc == DLHT_OK && i < count; i++) {
        const struct replica *r = holder(nc, &copies, &hits[i]);
        if (r && pack_hit(&s->query, r, &hits[i], &list))
            response.list_count++;
        if (list.len + doc.len > SEARCH_ANSWER_BYTES_MAX)
            rc = DLHT_ETOOBIG;
    }
    response.list = buf_span(&list);
    response.value = buf_span(&doc);
    if (rc == DLHT_ETOOBIG)
        node_answer_status(node, &s->origin, rc, SEARCH_TOO_BIG);
    else if (rc != DLHT_OK || list.failed || doc.failed)
        node_answer_status(node, &s->origin, DLHT_EBUSY, NULL);
    else
        node_answer(node, &s->origin, &response);
    free(copies.list);
    buf_deinit(&list);
    buf_deinit(&doc);
}

static void search_here(struct node *node, struct serving *s)
{
    const struct keyspace *ks = keyspaces_find(node, s->keyspace);
    struct node_collection *nc = collections_find(node, s->keyspace);
    struct collection *none = NULL;
    struct collection_search *search = NULL;
    struct collection_query query = { .vector = s->query.vector,
                                      .k = s->query.k,
                                      .ef = s->query.ef,
                                      .filter = s->query.filter,
                                      .exact = s->query.exact };
    int rc = ks && ks->vectors.dim ? DLHT_OK : DLHT_EBUSY;
    if (rc == DLHT_OK && !nc)
        rc = collections_new_empty(node, &ks->vectors, &none);
    if (rc == DLHT_OK)
        rc = collection_search_new(nc ? collections_of(nc) : none, &query,
                                   &search);
    if (rc == DLHT_OK)
        answer_hits(node, s, search);
    else
        node_answer_status(node, &s->origin, DLHT_EBUSY, NULL);
    collection_search_free(search);
    collection_free(none);
}

/* How far the arcs have come of which this node is the leader for sure. */
static void answer_marks(struct node *node, struct serving *s)
{
    struct buf marks = { 0 }, doc = { 0 };
    struct response response = { .status = DLHT_OK };
    for (size_t i = 0; i < s->count; i++) {
        struct replica *r = readable(node, s, i);
        if (!r)
            continue;
        struct search_mark mark = mark_of(r);
        search_marks_add(&marks, &mark);
        if (s->arcs[i].mark.index < r->applied) {
            raft_announce(r->raft); /* the copy that asks hears of it now */
            replica_touch(node, r);
        }
    }
    search_marks_pack(&marks, &doc);
    response.value = buf_span(&doc);
    if (doc.failed)
        node_answer_status(node, &s->origin, DLHT_EBUSY, NULL);
    else
        node_answer(node, &s->origin, &response);
    buf_deinit(&marks);
    buf_deinit(&doc);
}

static void serving_free(struct serving *s)
{
    search_query_deinit(&s->query);
    free(s->arcs);
    free(s);
}

static struct serving *find_serving(const struct node *node, uint64_t id)
{
    struct serving *s = node->servings;
    while (s && s->id != (uint32_t)id)
        s = s->next;
    return s;
}

/* Searches or says, and is no more. */
static void finish(struct node *node, struct serving *s)
{
    struct serving **at = &node->servings;
    while (*at && *at != s)
        at = &(*at)->next;
    if (*at)
        *at = s->next;
    if (s->confirms)
        answer_marks(node, s);
    else
        search_here(node, s);
    serving_free(s);
}

/* What was waited for has come. */
static void close_one(struct node *node, struct serving *s)
{
    if (--s->open == 0)
        finish(node, s);
}

/* Arcs of which the search wants keys and that are copied here. */
static bool is_wanted(const struct serving *s, const struct replica *r)
{
    struct key_range own = range_of(r);
    return key_ranges_meets(&s->query.ranges, &own);
}

/* Whether it is read only when it is known to have come far enough: of claims
 * who asked for them finds out, but of what is led here. */
static bool is_confirmed_first(const struct serving *s, const struct replica *r)
{
    if (s->query.claims)
        return replica_leads(r);
    return s->query.fresh && DLHT_MUTANT != 47;
}

static int choose_arcs(struct node *node, struct serving *s)
{
    s->arcs = mem_array(node->replica_count, sizeof *s->arcs);
    if (!s->arcs)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        if (r->empty || r->keyspace != s->keyspace || !is_wanted(s, r))
            continue;
        s->arcs[s->count++] =
            (struct asked){ .mark.arc = r->id,
                            .state = is_confirmed_first(s, r) ? ASKED_WAITS
                                                              : ASKED_READY };
    }
    return DLHT_OK;
}

/* Asks this node's own leadership of an arc. */
static void confirm_led(struct node *node, struct serving *s, size_t i,
                        struct replica *r, uint16_t flags)
{
    struct request q = { .op = OP_SEARCH_PEER,
                         .flags = flags & REQUEST_STRICT,
                         .keyspace = s->keyspace,
                         .key = r->arc->lo };
    struct origin origin = { .kind = ORIGIN_SEARCH,
                             .ticket = (uint64_t)s->id << 32 | i };
    s->open++;
    replica_read(node, r, &q, &origin);
}

static void owner_said(struct node *node, void *context,
                       const struct response *response)
{
    uint64_t *id = context;
    struct serving *s = find_serving(node, *id);
    struct span marks = response->status == DLHT_OK
                            ? search_marks_read(response->value)
                            : span_empty();
    free(id);
    if (!s)
        return; /* too late */
    for (size_t i = 0; i < marks.len / SEARCH_MARK_BYTES; i++) {
        struct search_mark mark = search_marks_at(marks, i);
        struct asked *a = find_asked(s, mark.arc);
        if (!a || a->state != ASKED_WAITS)
            continue;
        a->state = ASKED_LAGS;
        a->mark = mark;
        s->open++;
    }
    node_wake_at(node, node->now_ns);
    close_one(node, s);
}

/* One question to the owner of some arcs. */
static void ask_owner(struct node *node, struct serving *s, struct span key,
                      const struct buf *marks, uint16_t flags)
{
    struct buf doc = { 0 };
    struct request q = { .op = OP_SEARCH_CONFIRM,
                         .flags = flags & REQUEST_STRICT,
                         .keyspace = s->keyspace,
                         .key = key };
    uint64_t *id = mem_array(1, sizeof *id);
    struct pending_target target = { .done = owner_said, .context = id };
    search_marks_pack(marks, &doc);
    q.value = buf_span(&doc);
    s->open++;
    if (id)
        *id = s->id;
    if (!id || doc.failed ||
        pending_begin(node, &q, s->deadline_ns, &target) != DLHT_OK) {
        s->open--; /* the deadline ends it */
        free(id);
    }
    buf_deinit(&doc);
}

/* Of the arcs that others lead, those from the i-th on that its owner leads are
 * asked for at once. */
static void confirm_of(struct node *node, struct serving *s, size_t i,
                       uint16_t flags, bool *asked)
{
    const struct replica *first = node_replica(node, s->arcs[i].mark.arc);
    struct buf marks = { 0 };
    for (size_t k = i; k < s->count; k++) {
        const struct replica *r = node_replica(node, s->arcs[k].mark.arc);
        if (asked[k] || !r || r->empty || replica_leads(r) ||
            !id_equal(&r->arc->owner, &first->arc->owner))
            continue;
        struct search_mark mark = mark_of(r);
        search_marks_add(&marks, &mark);
        asked[k] = true;
    }
    ask_owner(node, s, first->arc->lo, &marks, flags);
    buf_deinit(&marks);
}

/* Makes sure that each arc may be read; most say so at once. */
static void confirm_arcs(struct node *node, struct serving *s, uint16_t flags)
{
    bool *asked = mem_zero(s->count, sizeof *asked);
    s->open = 1; /* so that no answer ends it under us */
    for (size_t i = 0; asked && i < s->count; i++) {
        /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): all are set */
        struct replica *r = node_replica(node, s->arcs[i].mark.arc);
        if (asked[i] || s->arcs[i].state != ASKED_WAITS || !r || r->empty)
            continue;
        if (replica_leads(r))
            confirm_led(node, s, i, r, flags);
        else if (!s->confirms)
            confirm_of(node, s, i, flags, asked);
    }
    free(asked);
    node_wake_at(node, s->deadline_ns);
    close_one(node, s);
}

static int read_search(struct node *node, struct serving *s, struct span doc,
                       const char **text)
{
    const struct keyspace *ks = keyspaces_find(node, s->keyspace);
    if (!ks)
        return DLHT_EBUSY; /* back from its disk: not told yet */
    if (ks->vectors.dim == 0)
        return DLHT_ENOTSUP;
    int rc = search_query_read_peer(node, ks, doc, &s->query, text);
    if (rc == DLHT_OK && !s->query.vector)
        rc = DLHT_EPROTO;
    return rc == DLHT_OK ? choose_arcs(node, s) : rc;
}

/* first is confirmed already. */
static int read_confirm(struct serving *s, struct span doc,
                        const struct replica *first)
{
    struct span marks = search_marks_read(doc);
    s->confirms = true;
    s->count = marks.len / SEARCH_MARK_BYTES;
    s->arcs = mem_array(s->count, sizeof *s->arcs);
    if (!s->arcs)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < s->count; i++) {
        struct search_mark mark = search_marks_at(marks, i);
        s->arcs[i] =
            (struct asked){ .mark = mark,
                            .state = mark.arc == first->id ? ASKED_READY
                                                           : ASKED_WAITS };
    }
    return DLHT_OK;
}

static void begin_serving(struct node *node, struct replica *r,
                          const struct request *request,
                          const struct origin *origin)
{
    const char *text = NULL;
    if (!arc_has(r->arc, request->key)) { /* the asker's map is of yesterday */
        op_answer_not_owner(node, r, request, origin);
        return;
    }
    struct serving *s = mem_zero(1, sizeof *s);
    if (!s) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return;
    }
    s->origin = *origin;
    s->keyspace = r->keyspace;
    s->id = ++node->last_serving;
    s->deadline_ns = node->now_ns + SEARCH_CONFIRM_NS;
    int rc = request->op == OP_SEARCH_CONFIRM
                 ? read_confirm(s, request->value, r)
                 : read_search(node, s, request->value, &text);
    if (rc != DLHT_OK) {
        node_answer_status(node, origin, rc == DLHT_ENOMEM ? DLHT_EBUSY : rc,
                           text);
        serving_free(s);
        return;
    }
    s->next = node->servings;
    node->servings = s;
    confirm_arcs(node, s, request->flags);
}

void op_search_read(struct node *node, struct replica *r,
                    const struct request *request, const struct origin *origin)
{
    if (origin->kind == ORIGIN_SEARCH)
        op_search_confirmed(node, origin->ticket, DLHT_OK);
    else
        begin_serving(node, r, request, origin);
}

void op_search_confirmed(struct node *node, uint64_t ticket, int status)
{
    struct serving *s = find_serving(node, ticket >> 32);
    uint32_t i = (uint32_t)ticket;
    if (!s || i >= s->count)
        return; /* too late */
    struct asked *a = &s->arcs[i];
    const struct replica *r = node_replica(node, a->mark.arc);
    a->led = status == DLHT_OK && r && !r->empty;
    a->state = a->led ? ASKED_READY : ASKED_LOST;
    if (a->led && !s->confirms)
        a->mark = mark_of(r); /* should it be made anew, from less */
    close_one(node, s);
}

/* True: all that it waited for are here. */
static bool catch_up(struct node *node, struct serving *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct asked *a = &s->arcs[i];
        const struct replica *r =
            a->state == ASKED_LAGS ? node_replica(node, a->mark.arc) : NULL;
        bool is_here = r && !r->empty;
        if (a->state != ASKED_LAGS || (is_here && !has_reached(r, &a->mark)))
            continue;
        a->state = is_here ? ASKED_READY : ASKED_LOST;
        s->open--;
    }
    return s->open == 0;
}

void op_search_peer_flush(struct node *node)
{
    struct serving *s = node->servings;
    while (s) {
        struct serving *next = s->next;
        if (catch_up(node, s)) {
            finish(node, s);
            next = node->servings; /* others may have come or gone */
        }
        s = next;
    }
}

void op_search_peer_tick(struct node *node)
{
    struct serving *s = node->servings;
    while (s) {
        struct serving *next = s->next;
        if (node->now_ns >= s->deadline_ns) {
            finish(node, s);
            next = node->servings;
        } else {
            node_wake_at(node, s->deadline_ns);
        }
        s = next;
    }
}

void op_search_peer_stop(struct node *node)
{
    while (node->servings) {
        struct serving *s = node->servings;
        node->servings = s->next;
        serving_free(s);
    }
}
