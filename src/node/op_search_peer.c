/* SPDX-License-Identifier: Apache-2.0 */

/* What an owner of arcs does of a search. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/collections.h"
#include "node/op.h"
#include "node/op_merge.h"
#include "node/op_search.h"
#include "node/replica.h"
#include "node/search_query.h"
#include "vector/vector_record.h"

/* An arc that cannot be confirmed so long is answered without: the others need
 * not wait for it. */
#define CONFIRM_NS (UINT64_C(300) * NS_PER_MS)

/* An arc that the search is about. */
struct asked {
    arc_id arc;
    bool confirmed;
};

/* A search that waits until its arcs may be read. */
struct serving {
    struct serving *next;
    uint32_t id;
    struct origin origin;
    keyspace_id keyspace;
    struct search_query query;
    struct asked *arcs;
    size_t count, open;
    uint64_t deadline_ns;
};

/* The distance, and what else was asked for, as a record's value. */
static void pack_hit(const struct search_query *q, const struct replica *r,
                     const struct collection_hit *hit, struct buf *list)
{
    struct record record;
    struct vector_record v;
    struct buf body = { 0 }, json = { 0 };
    if (!records_get(r->records, hit->id, &record) ||
        vector_record_open(record.value, &v) != DLHT_OK)
        return; /* cannot be: it was found in there */
    mp_write_array(&body, 3);
    mp_write_float(&body, (double)hit->distance);
    if (q->meta)
        meta_print(v.meta, &json);
    if (q->meta)
        mp_write_str(&body, buf_span(&json));
    else
        mp_write_nil(&body);
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
}

/* The copy of an arc that was confirmed, if it may still be read; NULL. */
static struct replica *readable(struct node *node, const struct serving *s,
                                size_t i)
{
    struct replica *r =
        s->arcs[i].confirmed ? node_replica(node, s->arcs[i].arc) : NULL;
    bool may = r && !r->empty && r->keyspace == s->keyspace &&
               !op_merge_refuses(r) && !r->cas_done;
    return may ? r : NULL;
}

static struct replica *holder(struct node *node, const struct serving *s,
                              struct span key)
{
    for (size_t i = 0; i < s->count; i++) {
        struct replica *r = readable(node, s, i);
        if (r && arc_has(r->arc, key))
            return r;
    }
    return NULL;
}

/* What was done, and of which ranges. */
static void pack_outcome(struct node *node, const struct serving *s,
                         const struct collection_search_work *work,
                         struct buf *doc)
{
    struct key_ranges ranges = { 0 };
    for (size_t i = 0; i < s->count; i++) {
        const struct replica *r = readable(node, s, i);
        if (!r)
            continue;
        struct key_range range = { r->arc->lo, r->arc->hi, r->arc->has_hi };
        if (key_ranges_add(&ranges, &range) != DLHT_OK)
            doc->failed = true;
    }
    mp_write_map(doc, 3);
    mp_write_cstr(doc, "measured");
    mp_write_uint(doc, work->measured);
    mp_write_cstr(doc, "exact");
    mp_write_bool(doc, work->exact);
    mp_write_cstr(doc, "ranges");
    search_pack_ranges(ranges.list, ranges.count, doc);
    key_ranges_deinit(&ranges);
}

static void answer_hits(struct node *node, struct serving *s,
                        struct collection_search *search)
{
    const struct collection_hit *hits;
    struct collection_search_work work;
    struct buf list = { 0 }, doc = { 0 };
    struct response response = { .status = DLHT_OK };
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct replica *r = readable(node, s, i);
        if (r)
            collections_search(search, r);
    }
    int rc = collection_search_run(search, &hits, &count);
    collection_search_work(search, &work);
    for (size_t i = 0; rc == DLHT_OK && i < count; i++) {
        const struct replica *r = holder(node, s, hits[i].id);
        if (!r)
            continue;
        pack_hit(&s->query, r, &hits[i], &list);
        response.list_count++;
    }
    pack_outcome(node, s, &work, &doc);
    response.list = buf_span(&list);
    response.value = buf_span(&doc);
    if (rc != DLHT_OK || list.failed || doc.failed)
        node_answer_status(node, &s->origin, DLHT_EBUSY, NULL);
    else
        node_answer(node, &s->origin, &response);
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

static void serving_free(struct serving *s)
{
    search_query_deinit(&s->query);
    free(s->arcs);
    free(s);
}

/* Searches, answers, and is no more. */
static void finish(struct node *node, struct serving *s)
{
    struct serving **at = &node->servings;
    while (*at && *at != s)
        at = &(*at)->next;
    if (*at)
        *at = s->next;
    search_here(node, s);
    serving_free(s);
}

static bool is_wanted(const struct serving *s, const struct replica *r)
{
    struct key_range own = { r->arc->lo, r->arc->hi, r->arc->has_hi };
    for (size_t i = 0; i < s->query.ranges.count; i++)
        if (key_range_meets(&s->query.ranges.list[i], &own))
            return true;
    return false;
}

/* All arcs that are asked about and that this node can answer for: those it
 * leads, or of a stale search any. */
static int choose_arcs(struct node *node, struct serving *s,
                       const struct replica *first, bool stale)
{
    s->arcs = mem_array(node->replica_count, sizeof *s->arcs);
    if (!s->arcs)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        if (r->empty || r->keyspace != s->keyspace)
            continue;
        if (r != first && (!is_wanted(s, r) || (!stale && !replica_leads(r))))
            continue;
        s->arcs[s->count++] =
            (struct asked){ .arc = r->id, .confirmed = r == first || stale };
    }
    return DLHT_OK;
}

/* Asks each arc whether it may be read; most say so at once. */
static void confirm_arcs(struct node *node, struct serving *s, bool strict)
{
    s->open = 1; /* so that no answer ends it under us */
    for (size_t i = 0; i < s->count; i++) {
        struct replica *r = node_replica(node, s->arcs[i].arc);
        if (s->arcs[i].confirmed || !r || r->empty)
            continue;
        struct request q = { .op = OP_SEARCH_PEER,
                             .flags = strict ? REQUEST_STRICT : 0,
                             .keyspace = s->keyspace,
                             .key = r->arc->lo };
        struct origin origin = { .kind = ORIGIN_SEARCH,
                                 .ticket = (uint64_t)s->id << 32 | i };
        s->open++;
        replica_read(node, r, &q, &origin);
    }
    if (--s->open == 0)
        finish(node, s);
    else
        node_wake_at(node, s->deadline_ns);
}

static void begin_serving(struct node *node, struct replica *r,
                          const struct request *request,
                          const struct origin *origin)
{
    const struct keyspace *ks = keyspaces_find(node, r->keyspace);
    bool stale = (request->flags & REQUEST_STALE) != 0;
    const char *text = NULL;
    struct serving *s = mem_zero(1, sizeof *s);
    int rc = !s || !ks              ? DLHT_EBUSY
             : ks->vectors.dim == 0 ? DLHT_ENOTSUP
                                    : DLHT_OK;
    if (rc == DLHT_OK)
        rc = search_query_read(node, ks, request->value, &s->query, &text);
    if (rc == DLHT_OK && !s->query.vector)
        rc = DLHT_EPROTO;
    if (rc == DLHT_OK) {
        s->origin = *origin;
        s->keyspace = r->keyspace;
        s->id = ++node->last_serving;
        s->deadline_ns = node->now_ns + CONFIRM_NS;
        rc = choose_arcs(node, s, r, stale);
    }
    if (rc != DLHT_OK) {
        node_answer_status(node, origin, rc == DLHT_ENOMEM ? DLHT_EBUSY : rc,
                           text);
        if (s)
            serving_free(s);
        return;
    }
    s->next = node->servings;
    node->servings = s;
    confirm_arcs(node, s, (request->flags & REQUEST_STRICT) != 0);
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
    struct serving *s = node->servings;
    while (s && s->id != (uint32_t)(ticket >> 32))
        s = s->next;
    uint32_t i = (uint32_t)ticket;
    if (!s || i >= s->count)
        return; /* too late */
    s->arcs[i].confirmed = status == DLHT_OK;
    if (--s->open == 0)
        finish(node, s);
}

void op_search_peer_tick(struct node *node)
{
    struct serving *s = node->servings;
    while (s) {
        struct serving *next = s->next;
        if (node->now_ns >= s->deadline_ns)
            finish(node, s);
        else
            node_wake_at(node, s->deadline_ns);
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
