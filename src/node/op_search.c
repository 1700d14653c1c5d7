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
#include "node/search_query.h"
#include "vector/vector_record.h"

enum {
    AGAIN_MS_MAX = 64,    /* between rounds in which nothing new is answered */
    RANGE_CUTS_MAX = 4096 /* ranges asked of one peer at once */
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
};

/* What one peer was asked. */
struct piece {
    struct search *search;
    struct id peer; /* zero: whoever leads it */
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
    struct buf *kept; /* answers: hits point into them */
    size_t kept_count;
    struct hit *hits;
    size_t count, cap;
    size_t open; /* pieces that are out */
    bool answered;
    bool gave_up; /* a piece was not answered in time */
    bool no_memory;
    uint32_t rounds; /* without anything new */
    bool progress;
    uint32_t arcs, peers, hops;
    uint64_t measured;
    bool exact; /* everywhere */
};

static void search_free(struct search *s)
{
    search_query_deinit(&s->query);
    key_ranges_deinit(&s->covered);
    for (size_t i = 0; i < s->kept_count; i++)
        buf_deinit(&s->kept[i]);
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

/* Each id once, the nearest first. Where answers overlap and an id changed
 * between them, the nearer of its values counts: an answer that holds k hits may
 * have left out what is farther than those, so none of them may go without
 * another as near. */
static void order_hits(struct search *s)
{
    size_t kept = 0;
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
    order_hits(s);
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

/* DLHT_EPROTO: they make no sense, and nothing the answer says is taken.
 * DLHT_ENOMEM */
static int take_hits(struct search *s, const struct response *response)
{
    size_t before = s->count;
    struct buf *grown = mem_resize(s->kept, s->kept_count + 1, sizeof *s->kept);
    if (!grown)
        return DLHT_ENOMEM;
    s->kept = grown;
    struct buf *bytes = &s->kept[s->kept_count];
    *bytes = (struct buf){ 0 };
    buf_append_span(bytes, response->list);
    if (bytes->failed) {
        buf_deinit(bytes);
        return DLHT_ENOMEM;
    }
    s->kept_count++;
    struct mp_reader r;
    mp_reader_init(&r, buf_span(bytes));
    for (uint32_t i = 0; i < response->list_count && !r.bad; i++) {
        struct hit hit = { .id = mp_read_bytes(&r) };
        hit.body = mp_read_bytes(&r);
        hit.version = mp_read_uint(&r);
        if (r.bad || !read_body(hit.body, &hit.distance)) {
            s->count = before;
            return DLHT_EPROTO;
        }
        if (!add_hit(s, &hit))
            return DLHT_ENOMEM;
    }
    return DLHT_OK;
}

static bool take_outcome(struct search *s, struct span doc)
{
    struct mp_reader r;
    bool exact = false;
    mp_reader_init(&r, doc);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("measured")))
            s->measured += mp_read_uint(&r);
        else if (span_equal(field, span_str("exact")))
            exact = mp_read_bool(&r);
        else if (!span_equal(field, span_str("ranges")))
            mp_skip(&r);
        else if (!search_read_ranges(&r, &s->covered, &s->progress))
            return false;
    }
    s->exact = s->exact && exact;
    return !r.bad;
}

static void note_time(struct node *node, uint64_t took)
{
    node->search_ns = node->search_ns
                          ? node->search_ns - node->search_ns / 8 + took / 8
                          : took;
}

/* More is to be asked, or it is answered. */
static void go_on(struct node *node, struct search *s)
{
    if (s->answered)
        return;
    if (key_ranges_is_all(&s->covered) || s->no_memory) {
        answer(node, s);
        return;
    }
    if (s->open > 0 || s->again_ns)
        return;
    s->rounds = s->progress ? 1 : s->rounds + 1;
    if (s->gave_up || node->now_ns >= s->deadline_ns || DLHT_MUTANT == 42) {
        answer(node, s);
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
        /* Hits first: what is covered must be complete. */
        int rc = take_hits(s, response);
        if (rc == DLHT_OK && !take_outcome(s, response->value))
            rc = DLHT_ENOMEM;
        s->no_memory = s->no_memory || rc == DLHT_ENOMEM;
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

/* Whom to ask */

/* Ranges of one peer. */
struct group {
    struct id peer; /* zero: not known who */
    struct key_range *list;
    size_t count, cap;
};

struct groups {
    struct group *list;
    size_t count, cap;
    bool failed;
};

static void groups_free(struct groups *g)
{
    for (size_t i = 0; i < g->count; i++)
        free(g->list[i].list);
    free(g->list);
}

static struct group *group_of(struct groups *g, const struct id *peer)
{
    for (size_t i = 0; i < g->count && !id_is_zero(peer); i++)
        if (id_equal(&g->list[i].peer, peer))
            return &g->list[i];
    if (g->count == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 16;
        struct group *grown = mem_resize(g->list, cap, sizeof *grown);
        if (!grown)
            return NULL;
        g->list = grown;
        g->cap = cap;
    }
    g->list[g->count] = (struct group){ .peer = *peer };
    return &g->list[g->count++];
}

/* Ranges come in ascending order. */
static void group_add(struct groups *g, const struct id *peer,
                      const struct key_range *range)
{
    struct group *to = group_of(g, peer);
    struct key_range *last = to && to->count ? &to->list[to->count - 1] : NULL;
    if (last && last->has_to && span_equal(last->to, range->from)) {
        last->to = range->to;
        last->has_to = range->has_to;
        return;
    }
    if (to && to->count == RANGE_CUTS_MAX)
        return; /* in the next round */
    if (to && to->count == to->cap) {
        size_t cap = to->cap ? to->cap * 2 : 4;
        struct key_range *grown = mem_resize(to->list, cap, sizeof *grown);
        if (!grown)
            to = NULL;
        else {
            to->list = grown;
            to->cap = cap;
        }
    }
    if (to)
        to->list[to->count++] = *range;
    else
        g->failed = true;
}

/* How many arcs a peer can answer for, of those that nobody was chosen for. */
struct holder {
    struct id peer;
    size_t arcs;
};

static size_t count_holders(struct node *node, const struct keyspace *ks,
                            const struct id *chosen, const struct id *but,
                            struct holder *holders, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < map_count(ks->map); i++) {
        const struct arc *arc = map_at(ks->map, i);
        for (size_t m = 0; id_is_zero(&chosen[i]) && m < arc->member_count;
             m++) {
            const struct id *peer = &arc->members[m].peer;
            size_t at = 0;
            if (!arc->members[m].voter || !node_peer_is_up(node, peer) ||
                (but && id_equal(but + i, peer)))
                continue;
            while (at < count && !id_equal(&holders[at].peer, peer))
                at++;
            if (at == count && count == max)
                continue;
            if (at == count)
                holders[count++] = (struct holder){ .peer = *peer };
            holders[at].arcs++;
        }
    }
    return count;
}

/* Few peers that hold all arcs together: the one that holds most of what is
 * left, again and again; of equal ones this, else one by turns. Arcs that nobody
 * holds keep zero. */
static bool choose_cover(struct node *node, const struct keyspace *ks,
                         uint64_t turn, struct id *chosen, const struct id *but)
{
    size_t max = swim_count(node->swim);
    struct holder *holders = mem_array(max + 1, sizeof *holders);
    if (!holders)
        return false;
    for (;;) {
        size_t count = count_holders(node, ks, chosen, but, holders, max),
               best = 0;
        for (size_t n = 0; n < count; n++) {
            size_t i = (n + turn) % count;
            if (n == 0 || holders[i].arcs > holders[best].arcs ||
                (holders[i].arcs == holders[best].arcs &&
                 node_is_self(node, &holders[i].peer)))
                best = i;
        }
        if (count == 0)
            break;
        for (size_t i = 0; i < map_count(ks->map); i++) {
            const struct arc *arc = map_at(ks->map, i);
            for (size_t m = 0; id_is_zero(&chosen[i]) && m < arc->member_count;
                 m++)
                if (arc->members[m].voter &&
                    id_equal(&arc->members[m].peer, &holders[best].peer) &&
                    !(but && id_equal(but + i, &holders[best].peer)))
                    chosen[i] = holders[best].peer;
        }
    }
    free(holders);
    return true;
}

/* By arc of the map: who is asked. Where a round brought nothing, owners, who
 * know best. */
static struct id *choose_peers(struct node *node, const struct search *s,
                               const struct keyspace *ks, bool others)
{
    size_t arcs = map_count(ks->map);
    struct id *chosen = mem_zero(2 * arcs + 1, sizeof *chosen);
    struct id *first = chosen ? chosen + arcs : NULL;
    bool ok = chosen != NULL;
    if (ok && s->rounds % 2) {
        for (size_t i = 0; i < arcs; i++)
            chosen[i] = map_at(ks->map, i)->owner;
        return chosen;
    }
    if (ok && others) /* not those that were asked */
        ok = choose_cover(node, ks, s->turn, first, NULL);
    ok = ok && choose_cover(node, ks, s->turn, chosen, others ? first : NULL);
    if (ok)
        return chosen;
    free(chosen);
    return NULL;
}

/* Cuts a gap at the arcs of the map. What the map does not know is asked of
 * whoever leads its first key; for a question to others that was done. */
static void cut_gap(const struct keyspace *ks, const struct id *chosen,
                    const struct key_range *gap, bool others, struct groups *g)
{
    static const struct id nobody;
    struct span at = gap->from;
    for (;;) {
        struct key_range range = { .from = at };
        size_t rank = map_rank(ks->map, at);
        const struct arc *arc = rank ? map_at(ks->map, rank - 1) : NULL;
        const struct id *peer = &nobody;
        if (arc && arc_has(arc, at)) {
            peer = &chosen[rank - 1];
            range.to = arc->hi;
            range.has_to = arc->has_hi;
        } else if (rank < map_count(ks->map)) {
            range.to = map_at(ks->map, rank)->lo;
            range.has_to = true;
        }
        bool last = !range.has_to ||
                    (gap->has_to && span_compare(range.to, gap->to) >= 0);
        if (last) {
            range.to = gap->to;
            range.has_to = gap->has_to;
        }
        if (!others || !id_is_zero(peer))
            group_add(g, peer, &range);
        if (last)
            return;
        at = range.to;
    }
}

/* Nothing is answered in here: ranges point into what is covered. */
static void ask(struct node *node, struct search *s, const struct keyspace *ks,
                const struct group *g)
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
    search_query_pack(&s->query, ks->vectors.dim, g->list, g->count, &doc);
    q.value = buf_span(&doc);
    if (piece)
        *piece = (struct piece){ s, g->peer, node->now_ns };
    s->open++;
    if (!piece || doc.failed ||
        pending_begin(node, &q, s->deadline_ns, &target) != DLHT_OK) {
        s->open--;
        s->no_memory = true;
        free(piece);
    }
    buf_deinit(&doc);
}

/* Asks for all that is not covered; others: of peers that were not asked. */
static void ask_for_gaps(struct node *node, struct search *s, bool others)
{
    const struct keyspace *ks = keyspaces_find(node, s->keyspace);
    struct id *chosen = ks ? choose_peers(node, s, ks, others) : NULL;
    struct groups g = { 0 };
    struct key_range gap;
    struct span from = span_empty();
    if (!chosen) {
        s->no_memory = s->no_memory || ks;
        s->gave_up = true;
        return;
    }
    s->arcs = (uint32_t)map_count(ks->map);
    while (key_ranges_gap(&s->covered, from, &gap)) {
        cut_gap(ks, chosen, &gap, others, &g);
        if (!gap.has_to)
            break;
        from = gap.to;
    }
    s->no_memory = s->no_memory || g.failed;
    for (size_t i = 0; i < g.count && !s->no_memory; i++)
        ask(node, s, ks, &g.list[i]);
    groups_free(&g);
    free(chosen);
}

static void begin_round(struct node *node, struct search *s)
{
    s->progress = false;
    ask_for_gaps(node, s, false);
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
        if (node->hedge_credit >= HEDGE_COST) {
            node->hedge_credit -= HEDGE_COST;
            ask_for_gaps(node, s, true);
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
