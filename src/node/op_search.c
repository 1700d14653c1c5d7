/* SPDX-License-Identifier: Apache-2.0 */

/* A search at its entry node: whom to ask, and what their answers make. */

#include "node/op_search.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/op.h"
#include "node/search_cover.h"
#include "node/search_marks.h"
#include "node/search_query.h"
#include "vector/vector_record.h"

enum {
    AGAIN_MS_MAX = 64 /* between rounds in which nothing new is answered */
};
/* Others are asked, too, after four times the usual, from 5 to 500 ms. */
#define HEDGE_NS_MIN (UINT64_C(5) * NS_PER_MS)
#define HEDGE_NS_MAX (UINT64_C(500) * NS_PER_MS)
#define HEDGE_TIMES 4
/* Where all are slow for much work, more of it would not help: one search in
 * ten asks twice, and at most so many at once. */
enum {
    HEDGE_COST = 10,
    HEDGE_CREDIT_MAX = 10 * HEDGE_COST
};

struct hit {
    double distance;
    struct span id; /* as the arc has it */
    struct span body;
    uint64_t version;
    size_t told; /* which of the answers with claims; TOLD_NONE: another */
};

#define TOLD_NONE SIZE_MAX

/* An answer that says how far copies had come. Its hits count where they had
 * come far enough. */
struct told {
    size_t first, count; /* of its claims */
    bool full;           /* it holds as many hits as were asked for, */
    bool lessened;       /* and some of them do not count: */
    struct hit last;     /* what is farther than this may be missing */
};

/* What one peer was asked. */
struct piece {
    struct search *search;
    bool claims; /* to search at once, and say how far its copies were */
    uint64_t asked_ns;
};

struct search {
    struct search *next;
    struct origin origin;
    keyspace_id keyspace;
    uint16_t flags; /* of what peers are asked */
    uint64_t turn;  /* among peers that are equal */
    struct search_query query;
    uint64_t deadline_ns;
    uint64_t hedge_ns; /* when others are asked, too; 0: they were */
    uint64_t again_ns; /* when the next round begins; 0: none is due */
    struct key_ranges covered;
    struct search_claims claims;
    struct told *told;
    size_t told_count;
    size_t confirms;  /* owners that have not said how far they are */
    bool careful;     /* peers ask owners before they search */
    struct buf *kept; /* answers: hits and claims point into them */
    size_t kept_count;
    struct hit *hits;
    size_t count, cap;
    size_t open; /* pieces that are out, and confirms */
    bool answered;
    bool gave_up; /* a piece was not answered in time */
    bool no_memory;
    uint32_t rounds; /* without anything new */
    bool progress;
    uint32_t arcs, peers, hops;
    uint64_t measured;
    bool exact; /* everywhere */
};

static void forget_answers(struct search *s)
{
    for (size_t i = 0; i < s->kept_count; i++)
        buf_deinit(&s->kept[i]);
    s->count = s->told_count = s->kept_count = 0;
    key_ranges_deinit(&s->covered);
    search_claims_deinit(&s->claims);
}

static void search_free(struct search *s)
{
    forget_answers(s);
    search_query_deinit(&s->query);
    free(s->told);
    free(s->kept);
    free(s->hits);
    free(s);
}

/* It is answered and nothing of it is out. */
static void settle(struct node *node, struct search *s)
{
    if (!s->answered || s->open > 0)
        return;
    struct search **at = &node->searches;
    while (*at && *at != s)
        at = &(*at)->next;
    if (*at)
        *at = s->next;
    search_free(s);
}

static void fail(struct node *node, struct search *s, int status,
                 struct span text)
{
    struct response response = { .status = status, .text = text };
    if (!s->answered)
        node_answer(node, &s->origin, &response);
    s->answered = true;
}

/* The answer */

static int by_distance(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return span_compare(x->id, y->id);
}

static int by_id(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    int order = span_compare(x->id, y->id);
    return order ? order : by_distance(a, b);
}

/* Hits of copies that had not come far enough. */
static void drop_uncounted(struct search *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct hit *hit = &s->hits[i];
        struct told *told = hit->told == TOLD_NONE ? NULL : &s->told[hit->told];
        if (told &&
            !search_claims_has(&s->claims, told->first, told->count, hit->id))
            told->lessened = true;
        else
            s->hits[kept++] = *hit;
    }
    s->count = kept;
}

/* An answer that some of the hits were dropped of may have left out others for
 * them, which are farther than its last: it is no matter if k nearer ones were
 * found. Hits are in order. */
static bool may_lack_hits(const struct search *s)
{
    for (size_t i = 0; i < s->told_count && DLHT_MUTANT != 48; i++) {
        const struct told *told = &s->told[i];
        if (told->full && told->lessened &&
            (s->count < s->query.k ||
             by_distance(&s->hits[s->query.k - 1], &told->last) > 0))
            return true;
    }
    return false;
}

/* Each id once, the nearest first. Where answers overlap and an id changed
 * between them, the nearer of its values counts: an answer that holds k hits may
 * have left out what is farther than those, so none of them may go without
 * another as near. */
static void order_hits(struct search *s)
{
    size_t kept = 0;
    drop_uncounted(s);
    if (s->count == 0)
        return;
    qsort(s->hits, s->count, sizeof *s->hits, by_id);
    for (size_t i = 0; i < s->count; i++) {
        if (kept && span_equal(s->hits[kept - 1].id, s->hits[i].id) &&
            DLHT_MUTANT != 44)
            continue;
        s->hits[kept++] = s->hits[i];
    }
    s->count = kept;
    qsort(s->hits, s->count, sizeof *s->hits, by_distance);
}

static size_t arcs_missing(const struct node *node, const struct search *s)
{
    const struct keyspace *ks = keyspaces_find(node, s->keyspace);
    size_t missing = 0;
    for (size_t i = 0; ks && i < map_count(ks->map); i++) {
        struct key_range gap;
        const struct arc *arc = map_at(ks->map, i);
        struct key_range own = { arc->lo, arc->hi, arc->has_hi };
        missing += key_ranges_gap(&s->covered, arc->lo, &gap) &&
                   key_range_meets(&gap, &own);
    }
    return missing;
}

static void pack_summary(const struct node *node, const struct search *s,
                         struct buf *doc)
{
    bool whole = key_ranges_is_all(&s->covered) || DLHT_MUTANT == 42;
    size_t missing = whole ? 0 : arcs_missing(node, s);
    mp_write_map(doc, 6);
    mp_write_cstr(doc, "partial");
    mp_write_bool(doc, !whole);
    mp_write_cstr(doc, "arcs");
    mp_write_uint(doc, s->arcs);
    mp_write_cstr(doc, "arcs_missing");
    mp_write_uint(doc, missing);
    mp_write_cstr(doc, "peers");
    mp_write_uint(doc, s->peers);
    mp_write_cstr(doc, "exact");
    mp_write_bool(doc, s->exact);
    mp_write_cstr(doc, "measured");
    mp_write_uint(doc, s->measured);
}

static void answer(struct node *node, struct search *s)
{
    const struct keyspace *ks = keyspaces_find(node, s->keyspace);
    bool hashed = ks && ks->record.placement == PLACEMENT_HASHED;
    struct buf list = { 0 }, doc = { 0 };
    struct response response = { .status = DLHT_OK };
    /* The vector that was searched with is one more, and left out. */
    size_t k = s->query.k - (s->query.id.len > 0);
    for (size_t i = 0; i < s->count && response.list_count < k &&
                       list.len <= SEARCH_ANSWER_BYTES_MAX;
         i++) {
        const struct hit *hit = &s->hits[i];
        struct span id = span_tail(hit->id, hashed ? OP_HASH_BYTES : 0);
        if (s->query.id.len && span_equal(id, buf_span(&s->query.id)))
            continue;
        mp_write_bin(&list, id);
        mp_write_bin(&list, hit->body);
        mp_write_uint(&list, hit->version);
        response.list_count++;
    }
    pack_summary(node, s, &doc);
    response.list = buf_span(&list);
    response.value = buf_span(&doc);
    response.hops = s->hops;
    response.peers_asked = s->peers;
    if (list.failed || doc.failed || s->no_memory)
        fail(node, s, DLHT_EBUSY, span_empty());
    else if (list.len > SEARCH_ANSWER_BYTES_MAX)
        fail(node, s, DLHT_ETOOBIG, span_str(SEARCH_TOO_BIG));
    else
        node_answer(node, &s->origin, &response);
    s->answered = true;
    buf_deinit(&list);
    buf_deinit(&doc);
}

/* Answers of peers */

static bool add_hit(struct search *s, const struct hit *hit)
{
    if (s->count == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        struct hit *grown = mem_resize(s->hits, cap, sizeof *grown);
        if (!grown)
            return false;
        s->hits = grown;
        s->cap = cap;
    }
    s->hits[s->count++] = *hit;
    return true;
}

/* Whether it is [number, str or nil, bin or nil]. */
static bool read_body(struct span body, double *distance)
{
    struct mp_reader r;
    mp_reader_init(&r, body);
    bool three = mp_read_array(&r) == 3;
    *distance = mp_read_float(&r);
    mp_skip(&r);
    mp_skip(&r);
    return three && !r.bad && mp_at_end(&r) && *distance == *distance;
}

/* A copy of the bytes of an answer, its hits and then its outcome. */
static int keep_bytes(struct search *s, const struct response *response,
                      struct span *hits, struct span *outcome)
{
    struct buf *grown = mem_resize(s->kept, s->kept_count + 1, sizeof *s->kept);
    if (!grown)
        return DLHT_ENOMEM;
    s->kept = grown;
    struct buf *bytes = &s->kept[s->kept_count];
    *bytes = (struct buf){ 0 };
    buf_append_span(bytes, response->list);
    buf_append_span(bytes, response->value);
    if (bytes->failed) {
        buf_deinit(bytes);
        return DLHT_ENOMEM;
    }
    s->kept_count++;
    *hits = span_of(bytes->data, response->list.len);
    *outcome = span_tail(buf_span(bytes), response->list.len);
    return DLHT_OK;
}

/* DLHT_EPROTO: they make no sense. DLHT_ENOMEM */
static int take_hits(struct search *s, struct span list, uint32_t count,
                     size_t told)
{
    struct mp_reader r;
    mp_reader_init(&r, list);
    for (uint32_t i = 0; i < count && !r.bad; i++) {
        struct hit hit = { .id = mp_read_bytes(&r), .told = told };
        hit.body = mp_read_bytes(&r);
        hit.version = mp_read_uint(&r);
        if (r.bad || !read_body(hit.body, &hit.distance))
            return DLHT_EPROTO;
        if (!add_hit(s, &hit))
            return DLHT_ENOMEM;
    }
    return r.bad ? DLHT_EPROTO : DLHT_OK;
}

/* What was done, and of which keys: what is covered must be complete, so hits
 * come first. Who was asked for claims and makes none covers nothing. */
static int take_outcome(struct search *s, struct span doc, bool claims)
{
    struct mp_reader r;
    bool exact = false;
    int rc = DLHT_OK;
    mp_reader_init(&r, doc);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("measured")))
            s->measured += mp_read_uint(&r);
        else if (span_equal(field, span_str("exact")))
            exact = mp_read_bool(&r);
        else if (claims && span_equal(field, span_str("copies")))
            rc = search_claims_read(&s->claims, &r);
        else if (claims || !span_equal(field, span_str("ranges")))
            mp_skip(&r);
        else
            rc = search_read_ranges(&r, &s->covered, &s->progress);
        if (rc != DLHT_OK)
            return rc;
    }
    s->exact = s->exact && exact;
    return r.bad ? DLHT_EPROTO : DLHT_OK;
}

/* Of an answer with claims: what its hits are to be judged by. */
static int note_told(struct search *s, size_t hits_before, size_t claims_before)
{
    struct told *grown = mem_resize(s->told, s->told_count + 1, sizeof *grown);
    if (!grown)
        return DLHT_ENOMEM;
    s->told = grown;
    struct told *told = &s->told[s->told_count++];
    *told = (struct told){ .first = claims_before,
                           .count = s->claims.count - claims_before,
                           .full = s->count - hits_before >= s->query.k };
    for (size_t i = hits_before; i < s->count; i++)
        if (i == hits_before || by_distance(&s->hits[i], &told->last) > 0)
            told->last = s->hits[i];
    return DLHT_OK;
}

/* With claims all of it or nothing; else hits that are none are not taken, nor
 * what they would be about. */
static int take_answer(struct search *s, const struct response *response,
                       bool claims)
{
    size_t hits = s->count, claims_before = s->claims.count;
    struct span list, outcome;
    int rc = keep_bytes(s, response, &list, &outcome);
    if (rc == DLHT_OK)
        rc = take_hits(s, list, response->list_count,
                       claims ? s->told_count : TOLD_NONE);
    if (rc != DLHT_OK) {
        s->count = hits;
        return rc;
    }
    rc = take_outcome(s, outcome, claims);
    if (rc == DLHT_OK && claims)
        rc = note_told(s, hits, claims_before);
    if (rc != DLHT_OK && claims) {
        s->count = hits;
        s->claims.count = claims_before;
    }
    return rc;
}

static void note_time(struct node *node, uint64_t took)
{
    node->search_ns = node->search_ns
                          ? node->search_ns - node->search_ns / 8 + took / 8
                          : took;
}

/* What was found is not enough, though all was answered: owners search. */
static void start_over(struct node *node, struct search *s)
{
    assert(!s->careful);
    s->careful = true;
    forget_answers(s);
    s->rounds = 1;
    s->again_ns = node->now_ns;
    node_wake_at(node, s->again_ns);
}

/* More is to be asked, or it is answered. */
static void go_on(struct node *node, struct search *s)
{
    if (s->answered)
        return;
    if (search_claims_judge(&s->claims, s->confirms == 0, &s->covered,
                            &s->progress) != DLHT_OK)
        s->no_memory = true;
    if (key_ranges_is_all(&s->covered) || s->no_memory) {
        order_hits(s);
        if (!s->no_memory && may_lack_hits(s))
            start_over(node, s);
        else
            answer(node, s);
        return;
    }
    if (s->open > 0 || s->again_ns)
        return;
    s->rounds = s->progress ? 1 : s->rounds + 1;
    bool late =
        s->gave_up || node->now_ns >= s->deadline_ns || DLHT_MUTANT == 42;
    bool lacks = false;
    if (late || (!s->progress && !s->careful)) {
        order_hits(s);
        lacks = may_lack_hits(s);
    }
    if (late) {
        if (lacks) /* who left them out is not known */
            key_ranges_deinit(&s->covered);
        answer(node, s);
        return;
    }
    if (lacks && !s->careful) {
        start_over(node, s);
        return;
    }
    /* The ring is changing: a little later, then later. */
    uint64_t ms = s->rounds < 8 ? UINT64_C(1) << (s->rounds - 1) : AGAIN_MS_MAX;
    s->again_ns = node->now_ns + (ms - 1) * NS_PER_MS;
    node_wake_at(node, s->again_ns);
}

static void piece_done(struct node *node, void *context,
                       const struct response *response)
{
    struct piece *piece = context;
    struct search *s = piece->search;
    s->open--;
    s->hops += response->hops;
    if (!s->answered && response->status == DLHT_OK) {
        note_time(node, node->now_ns - piece->asked_ns);
        s->peers++;
        if (!piece->claims || !s->careful)
            s->no_memory =
                take_answer(s, response, piece->claims) == DLHT_ENOMEM ||
                s->no_memory;
    } else if (response->status == DLHT_ENOKEYSPACE ||
               response->status == DLHT_ENOTSUP ||
               response->status == DLHT_ETOOBIG) {
        fail(node, s, response->status, response->text);
    } else if (response->status != DLHT_OK) {
        s->gave_up = true;
    }
    free(piece);
    go_on(node, s);
    settle(node, s);
}

/* Questions */

/* Nothing is answered in here: ranges point into what is covered. False: no
 * memory. */
static bool ask(struct node *node, struct search *s, const struct keyspace *ks,
                const struct search_group *g, bool claims)
{
    struct piece *piece = mem_zero(1, sizeof *piece);
    struct buf doc = { 0 };
    struct request q = { .op = OP_SEARCH_PEER,
                         .flags = s->flags,
                         .keyspace = s->keyspace,
                         .key = g->list[0].from };
    struct pending_target target = {
        .done = piece_done, .context = piece, .later = true, .prefer = g->peer
    };
    search_query_pack(&s->query, ks->vectors.dim, g->list, g->count, claims,
                      &doc);
    q.value = buf_span(&doc);
    if (piece)
        *piece = (struct piece){ s, claims, node->now_ns };
    bool ok = piece && !doc.failed &&
              pending_begin(node, &q, s->deadline_ns, &target) == DLHT_OK;
    s->open += ok;
    if (!ok)
        free(piece);
    buf_deinit(&doc);
    return ok;
}

/* What is not heard of, or not kept, is asked for again. */
static void owner_said(struct node *node, void *context,
                       const struct response *response)
{
    struct search *s = context;
    s->open--;
    s->confirms--;
    if (!s->answered && response->status == DLHT_OK &&
        search_claims_must(&s->claims, search_marks_read(response->value)) !=
            DLHT_OK)
        node_log(node, LOG_DEBUG, "no memory for what an owner says");
    go_on(node, s);
    settle(node, s);
}

/* An owner is asked how far some arcs have come. None of them is announced: no
 * copy waits for it. */
static void ask_owner(struct node *node, struct search *s, struct span key,
                      const struct buf *row)
{
    struct buf doc = { 0 };
    struct request q = { .op = OP_SEARCH_CONFIRM,
                         .flags = s->flags & REQUEST_STRICT,
                         .keyspace = s->keyspace,
                         .key = key };
    struct pending_target target = { .done = owner_said,
                                     .context = s,
                                     .later = true };
    uint64_t end_ns = node->now_ns + SEARCH_CONFIRM_NS;
    if (end_ns > s->deadline_ns)
        end_ns = s->deadline_ns;
    search_marks_pack(row, &doc);
    q.value = buf_span(&doc);
    bool ok =
        !doc.failed && pending_begin(node, &q, end_ns, &target) == DLHT_OK;
    s->open += ok;
    s->confirms += ok;
    buf_deinit(&doc);
}

/* Whether others than who searches the arc say how far it has come. */
static bool is_confirmed(const struct node *node, const struct arc *arc,
                         const struct id *searcher)
{
    return !id_is_zero(searcher) && !node_is_self(node, searcher) &&
           !id_is_zero(&arc->owner) && !id_equal(&arc->owner, searcher);
}

/* Owners are asked while peers search: one question to each. What of it fails is
 * asked for again. */
static void ask_owners(struct node *node, struct search *s,
                       const struct keyspace *ks, const struct id *chosen)
{
    size_t arcs = map_count(ks->map);
    bool *asked = mem_zero(arcs + 1, sizeof *asked);
    for (size_t i = 0; asked && i < arcs; i++) {
        const struct arc *first = map_at(ks->map, i);
        struct buf row = { 0 };
        if (asked[i] || !is_confirmed(node, first, &chosen[i]))
            continue;
        for (size_t k = i; k < arcs; k++) {
            const struct arc *arc = map_at(ks->map, k);
            if (asked[k] || !is_confirmed(node, arc, &chosen[k]) ||
                !id_equal(&arc->owner, &first->owner))
                continue;
            struct search_mark mark = { arc->id, UINT64_MAX, 0 };
            asked[k] = true;
            search_marks_add(&row, &mark);
        }
        ask_owner(node, s, first->lo, &row);
        buf_deinit(&row);
    }
    free(asked);
}

/* In the first round other peers search at once, while their owners say how far
 * they must have come. Where a round brought nothing, and after the first,
 * owners are asked, who know best. */
static void ask_for_gaps(struct node *node, struct search *s,
                         const struct keyspace *ks, bool others)
{
    enum search_cover who = s->rounds % 2 ? COVER_OWNERS
                            : others      ? COVER_OTHERS
                                          : COVER_FEWEST;
    struct id *chosen = search_cover_choose(node, ks, who, s->turn);
    struct search_groups g = { 0 };
    struct key_range gap;
    struct span from = span_empty();
    bool at_once = s->query.fresh && !s->careful && s->rounds == 0 && !others;
    bool ok = chosen != NULL;
    s->arcs = (uint32_t)map_count(ks->map);
    while (ok && key_ranges_gap(&s->covered, from, &gap)) {
        search_cover_cut(ks, chosen, &gap, others, &g);
        if (!gap.has_to)
            break;
        from = gap.to;
    }
    ok = ok && !g.failed;
    if (ok && at_once)
        ask_owners(node, s, ks, chosen);
    for (size_t i = 0; i < g.count && ok; i++)
        ok = ask(node, s, ks, &g.list[i],
                 at_once && !id_is_zero(&g.list[i].peer) &&
                     !node_is_self(node, &g.list[i].peer));
    /* It goes on without asking others, too. */
    s->no_memory = s->no_memory || (!ok && !others);
    search_groups_deinit(&g);
    free(chosen);
}

static void begin_round(struct node *node, struct search *s)
{
    const struct keyspace *ks = keyspaces_find(node, s->keyspace);
    s->progress = false;
    if (ks)
        ask_for_gaps(node, s, ks, false);
    else
        s->gave_up = true;
    go_on(node, s);
}

static void begin_search(struct node *node, struct search *s)
{
    uint64_t hedge = node->search_ns * HEDGE_TIMES;
    if (hedge < HEDGE_NS_MIN)
        hedge = HEDGE_NS_MIN;
    if (hedge > HEDGE_NS_MAX)
        hedge = HEDGE_NS_MAX;
    s->hedge_ns = node->now_ns + hedge;
    if (node->hedge_credit < HEDGE_CREDIT_MAX)
        node->hedge_credit++;
    node_wake_at(node, s->hedge_ns);
    s->open++;
    begin_round(node, s);
    s->open--;
    go_on(node, s);
    settle(node, s);
}

/* The vector that is searched with. */
static void got_vector(struct node *node, void *context,
                       const struct response *response)
{
    struct search *s = context;
    const struct keyspace *ks = keyspaces_find(node, s->keyspace);
    struct vector_record record;
    s->open--;
    if (response->status != DLHT_OK || !ks) {
        fail(node, s, ks ? response->status : DLHT_ENOKEYSPACE,
             response->status == DLHT_ENOTFOUND
                 ? span_str("no vector has the id to search with")
                 : response->text);
        settle(node, s);
        return;
    }
    s->query.vector = mem_array(ks->vectors.dim, sizeof *s->query.vector);
    if (s->query.vector &&
        vector_record_open(response->value, &record) == DLHT_OK &&
        record.dim == ks->vectors.dim) {
        vector_record_floats(record.floats, record.dim, s->query.vector);
        begin_search(node, s);
        return;
    }
    fail(node, s, s->query.vector ? DLHT_ECORRUPT : DLHT_EBUSY, span_empty());
    settle(node, s);
}

static void begin_by_id(struct node *node, struct search *s,
                        const struct keyspace *ks)
{
    struct request q = { .op = OP_GET,
                         .keyspace = s->keyspace,
                         .key = buf_span(&s->query.id) };
    struct pending_target target = { .done = got_vector, .context = s };
    if (ks->record.placement == PLACEMENT_HASHED)
        q.key = op_hashed_key(node, q.key);
    s->query.k++;
    s->open++;
    if (pending_begin(node, &q, s->deadline_ns, &target) != DLHT_OK) {
        s->open--;
        fail(node, s, DLHT_EBUSY, span_empty());
        settle(node, s);
    }
}

void op_search_begin(struct node *node, const struct request *request,
                     const struct keyspace *ks, const struct origin *origin)
{
    const char *text = NULL;
    struct search *s = mem_zero(1, sizeof *s);
    int rc = s ? search_query_read(node, ks, request->value, &s->query, &text)
               : DLHT_EBUSY;
    if (rc != DLHT_OK) {
        node_answer_status(node, origin, rc, text);
        free(s);
        return;
    }
    s->origin = *origin;
    s->keyspace = ks->record.id;
    s->query.fresh = !(request->flags & REQUEST_STALE);
    s->flags = REQUEST_STALE | (request->flags & REQUEST_STRICT);
    s->turn = rng_next(&node->rng) >> 1;
    s->exact = true;
    /* What came by then is told in time. */
    uint64_t left = op_deadline_ns(node, request) - node->now_ns;
    s->deadline_ns = node->now_ns + left / 10 * 9;
    s->next = node->searches;
    node->searches = s;
    if (s->query.id.len)
        begin_by_id(node, s, ks);
    else
        begin_search(node, s);
}

/* Others are asked, or the next round begins, if it is time. */
static void turn_search(struct node *node, struct search *s)
{
    if (s->again_ns && node->now_ns >= s->again_ns) {
        s->again_ns = 0;
        s->open++;
        begin_round(node, s);
        s->open--;
    } else if (s->hedge_ns && s->open && node->now_ns >= s->hedge_ns) {
        s->hedge_ns = 0;
        const struct keyspace *ks = keyspaces_find(node, s->keyspace);
        if (ks && node->hedge_credit >= HEDGE_COST) {
            node->hedge_credit -= HEDGE_COST;
            ask_for_gaps(node, s, ks, true);
        }
    }
    if (s->again_ns)
        node_wake_at(node, s->again_ns);
    if (s->hedge_ns)
        node_wake_at(node, s->hedge_ns);
    if (s->open == 0 && !s->again_ns)
        go_on(node, s);
    settle(node, s);
}

void op_search_tick(struct node *node)
{
    struct search *s = node->searches;
    while (s) {
        struct search *next = s->next;
        if (!s->answered)
            turn_search(node, s);
        s = next;
    }
    op_search_peer_tick(node);
}

void op_search_stop(struct node *node)
{
    /* Whoever carries their pieces has told them that all is over. */
    while (node->searches) {
        struct search *s = node->searches;
        node->searches = s->next;
        search_free(s);
    }
    op_search_peer_stop(node);
}
