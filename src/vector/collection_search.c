/* SPDX-License-Identifier: Apache-2.0 */

/* Searches: the graph for what is in it, one by one for what is not, as few as
 * a filter's plan allows. */

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "base/prefetch.h"
#include "dlht/err.h"
#include "vector/collection_state.h"
#include "vector/filter_plan.h"

enum {
    SAMPLE = 512, /* slots that a filter is tried on, to plan by */
    LIST_ROWS = 256,
    BY_CODES = 500 /* rows; of fewer the vectors are read */
};

struct collection_search {
    struct collection *c;
    struct collection_query query;
    bool *asked; /* by part; part_count of them */
    uint32_t part_count;
    bool asks_all; /* that the field index knows; search_listed */
    bool *labels;  /* by label: of a part that is asked; while it runs */
    float *vector; /* the query's; of length one for cosine */
    float *room;
    kernel_one_fn measure;
    struct neighbour *near;      /* what the graph says; room for k */
    struct collection_hit *hits; /* the farthest first, a heap; at most k */
    size_t count;
    int rc;
    struct collection_search_work work;
};

int collection_search_new(struct collection *c,
                          const struct collection_query *query,
                          struct collection_search **out)
{
    *out = NULL;
    assert(query->k >= 1 && query->k <= QUERY_K_MAX);
    const struct hnsw_config *graph = index_config(c->index);
    struct collection_search *s = mem_zero(1, sizeof *s);
    if (!s)
        return DLHT_ENOMEM;
    s->c = c;
    s->query = *query;
    if (s->query.ef == 0)
        s->query.ef = c->config.hnsw.ef_search;
    if (s->query.ef < query->k)
        s->query.ef = query->k;
    s->part_count = c->part_count;
    s->asked = mem_zero(c->part_count, sizeof *s->asked);
    s->vector = mem_array(2 * (size_t)graph->dim, sizeof *s->vector);
    s->near = mem_array(query->k, sizeof *s->near);
    s->hits = mem_array(query->k, sizeof *s->hits);
    if (!s->asked || !s->vector || !s->near || !s->hits) {
        collection_search_free(s);
        return DLHT_ENOMEM;
    }
    s->room = s->vector + graph->dim;
    memcpy(s->vector, query->vector, graph->dim * sizeof *s->vector);
    if (graph->metric == METRIC_COSINE)
        (void)metric_normalise(s->vector, graph->dim, s->vector);
    s->measure =
        graph->kernel->one[KERNEL_F32]
                          [graph->metric == METRIC_L2 ? KERNEL_L2 : KERNEL_IP];
    s->work.way = "";
    *out = s;
    return DLHT_OK;
}

void collection_search_free(struct collection_search *s)
{
    if (!s)
        return;
    free(s->asked);
    free(s->labels);
    free(s->vector);
    free(s->near);
    free(s->hits);
    free(s);
}

void collection_search_add(struct collection_search *s, uint32_t part)
{
    assert(part < s->part_count);
    s->asked[part] = true;
}

/* Hits */

static bool is_farther(const struct collection_hit *a,
                       const struct collection_hit *b)
{
    if (a->distance != b->distance)
        return a->distance > b->distance;
    return span_compare(a->id, b->id) > 0;
}

static void sift_down(struct collection_hit *hits, size_t count, size_t at)
{
    struct collection_hit moved = hits[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && is_farther(&hits[child + 1], &hits[child]))
            child++;
        if (!is_farther(&hits[child], &moved))
            break;
        hits[at] = hits[child];
        at = child;
    }
    hits[at] = moved;
}

static void keep(struct collection_search *s, const struct collection_hit *hit)
{
    if (s->count == s->query.k) {
        if (!is_farther(&s->hits[0], hit))
            return;
        s->hits[0] = *hit;
        sift_down(s->hits, s->count, 0);
        return;
    }
    size_t at = s->count++;
    while (at > 0 && is_farther(hit, &s->hits[(at - 1) / 2])) {
        s->hits[at] = s->hits[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->hits[at] = *hit;
}

static void sort_hits(struct collection_search *s)
{
    for (size_t left = s->count; left > 1; left--) {
        struct collection_hit last = s->hits[left - 1];
        s->hits[left - 1] = s->hits[0];
        s->hits[0] = last;
        sift_down(s->hits, left - 1, 0);
    }
}

/* Of the vector in room. */
static float distance_of(const struct collection_search *s)
{
    const struct hnsw_config *graph = &s->c->config.hnsw;
    float d = s->measure(s->vector, s->room, graph->dim);
    if (graph->metric == METRIC_L2)
        return d;
    if (graph->metric == METRIC_IP)
        return -d;
    return 1 - d / sqrtf(s->measure(s->room, s->room, graph->dim));
}

static void offer_room(struct collection_search *s, uint32_t part,
                       struct span id, uint64_t version)
{
    struct collection_hit hit = {
        .distance = distance_of(s), .part = part, .id = id, .version = version
    };
    s->work.measured++;
    if (!isnan(hit.distance))
        keep(s, &hit);
}

void collection_search_offer(struct collection_search *s, uint32_t part,
                             struct span id, struct span value,
                             uint64_t version)
{
    const struct hnsw_config *graph = &s->c->config.hnsw;
    struct vector_record record;
    if (vector_record_open(value, &record) != DLHT_OK ||
        record.dim != graph->dim)
        return;
    if (s->query.filter && !filter_match(s->query.filter, record.meta))
        return;
    vector_record_floats(record.floats, record.dim, s->room);
    if (metric_check(graph->metric, s->room, record.dim, NULL) == DLHT_OK)
        offer_room(s, part, id, version);
}

/* Slots */

static bool is_asked(const struct collection_search *s, uint32_t slot)
{
    uint32_t label = s->c->labels[slot];
    return label != LABEL_NONE && s->labels[label];
}

static int note_labels(struct collection_search *s)
{
    const struct collection *c = s->c;
    s->labels = mem_zero(c->label_count, sizeof *s->labels);
    for (uint32_t i = 0; s->labels && i < c->label_count; i++) {
        const struct label *l = &c->label_list[i];
        s->labels[i] = l->use == LABEL_USED && l->part < s->part_count &&
                       s->asked[l->part];
    }
    return s->labels ? DLHT_OK : DLHT_ENOMEM;
}

static bool passes(const struct collection_search *s, uint32_t slot,
                   const struct filter *filter)
{
    return !filter || filter_match(filter, slot_meta(&s->c->slots[slot]));
}

/* For the graph. While work is out some of what it holds is not told yet. */
static bool admits(void *self, uint64_t handle)
{
    const struct collection_search *s = self;
    const struct collection *c = s->c;
    uint32_t slot = (uint32_t)handle;
    return is_asked(s, slot) &&
           (!c->work || c->slots[slot].state == SLOT_INDEXED) &&
           passes(s, slot, s->query.filter);
}

static void measure_slot(struct collection_search *s, uint32_t slot)
{
    const struct slot *at = &s->c->slots[slot];
    if (collection_read(s->c, slot, s->room))
        offer_room(s, collection_part_of(s->c, slot), slot_id(at), at->version);
}

/* What the graph does not know yet. */
static void search_waiting(struct collection_search *s)
{
    const struct collection *c = s->c;
    for (uint32_t i = 0; i < c->queue_count && DLHT_MUTANT != 46; i++) {
        uint32_t slot = c->queue[(c->queue_head + i) % c->slot_cap];
        if (c->slots[slot].state == SLOT_WAITING && is_asked(s, slot) &&
            passes(s, slot, s->query.filter))
            measure_slot(s, slot);
    }
    for (size_t i = 0; c->work && i < c->work->count; i++) {
        uint32_t slot = c->work->ops[i].slot;
        if (c->slots[slot].state == SLOT_WORKING && is_asked(s, slot) &&
            passes(s, slot, s->query.filter))
            measure_slot(s, slot);
    }
}

static void ask_graph(struct collection_search *s, const struct query *query)
{
    const struct collection *c = s->c;
    size_t count;
    s->rc = index_search(c->reader, query, s->near, &count, NULL);
    for (size_t i = 0; s->rc == DLHT_OK && i < count; i++) {
        uint32_t slot = (uint32_t)s->near[i].handle;
        struct collection_hit hit = { .distance = s->near[i].distance,
                                      .part = collection_part_of(c, slot),
                                      .id = slot_id(&c->slots[slot]),
                                      .version = c->slots[slot].version };
        keep(s, &hit);
    }
    struct query_work did = index_reader_work(c->reader);
    s->work.measured += did.measured;
    s->work.exact = s->work.exact || did.scanned;
}

static void search_graph(struct collection_search *s, size_t ef,
                         enum query_mode mode, bool exact, bool all)
{
    struct admit admit = { .asks = admits, .self = s };
    struct query query = { .vector = s->query.vector,
                           .k = s->query.k,
                           .ef = ef,
                           .admit = all ? NULL : &admit,
                           .mode = mode,
                           .exact = exact };
    if (query.ef > QUERY_EF_MAX)
        query.ef = QUERY_EF_MAX;
    ask_graph(s, &query);
}

/* Those of the graph whose rows are in the set. Where they are many, by codes,
 * a fourth of the memory: what counts is not in the cache as a rule. */
static void search_set(struct collection_search *s, const uint64_t *set,
                       size_t row_count, size_t set_count)
{
    struct admit admit = { .rows = set, .row_count = row_count };
    bool by_codes =
        set_count > BY_CODES && s->c->config.hnsw.codes != KERNEL_F32;
    struct query query = { .vector = s->query.vector,
                           .k = s->query.k,
                           .ef = s->query.k,
                           .admit = &admit,
                           .exact = true,
                           .by_codes = by_codes };
    ask_graph(s, &query);
    s->work.exact = !by_codes;
}

/* All slots that the field index knows are of parts that are asked. */
static bool asks_all_listed(const struct collection_search *s)
{
    uint64_t live = 0;
    for (uint32_t i = 0; i < s->part_count; i++)
        if (s->asked[i])
            live += s->c->parts[i].live;
    return live == field_index_row_count(s->c->fields);
}

/* Some of the slots that the field index leaves, which lie apart: what must be
 * read of them is asked for at once. Of those that the graph has, rows are set
 * and counted.
 * What is in a row bears a label only if it is indexed. */
static size_t look_at_listed(struct collection_search *s, uint32_t *list,
                             size_t count, const struct filter *rest,
                             uint64_t *set, size_t row_count)
{
    const struct collection *c = s->c;
    uint32_t rows[LIST_ROWS];
    size_t kept = 0, set_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!s->asks_all)
            prefetch_line(&c->labels[list[i]]);
        if (rest)
            prefetch_line(&c->slots[list[i]]);
    }
    for (size_t i = 0; i < count; i++)
        if ((s->asks_all || is_asked(s, list[i])) && passes(s, list[i], rest))
            list[kept++] = list[i];
    if (row_count)
        index_rows(c->index, list, kept, rows);
    for (size_t i = 0; i < kept; i++) {
        uint32_t row = row_count ? rows[i] : HANDLES_NO_ROW;
        if (row < row_count) {
            set[row / 64] |= UINT64_C(1) << row % 64;
            set_count++;
        } else {
            measure_slot(s, list[i]);
        }
    }
    return set_count;
}

/* Every slot that the field index leaves. What the graph has is measured there,
 * where vectors lie in order; a record is found by its id, which takes ten
 * times as long. */
static void search_listed(struct collection_search *s)
{
    struct field_index_rows rows;
    uint32_t list[LIST_ROWS];
    const struct collection *c = s->c;
    /* While work is out the graph's rows may change. */
    size_t row_count = c->work ? 0 : index_row_count(c->index);
    uint64_t *set = mem_zero(row_count / 64 + 1, sizeof *set);
    s->asks_all = asks_all_listed(s);
    field_index_rows_init(&rows);
    s->rc = set ? field_index_select(c->fields, s->query.filter, &rows)
                : DLHT_ENOMEM;
    uint64_t from = 0;
    size_t set_count = 0;
    for (bool more = s->rc == DLHT_OK; more;) {
        size_t count = field_index_rows_list(&rows, from, list, LIST_ROWS);
        more = count == LIST_ROWS;
        from = more ? (uint64_t)list[count - 1] + 1 : from;
        set_count += look_at_listed(s, list, count, rows.rest, set, row_count);
    }
    s->work.exact = true;
    s->work.measured += set_count;
    if (s->rc == DLHT_OK && set_count)
        search_set(s, set, row_count, set_count);
    field_index_rows_deinit(&rows);
    free(set);
}

/* Planning */

/* The share of slots that pass a part of the filter. */
static double sample_share(void *context, const struct filter *filter,
                           size_t node)
{
    const struct collection *c = context;
    uint64_t seen = 0, passed = 0;
    uint64_t steps = c->slot_count < SAMPLE ? c->slot_count : SAMPLE;
    for (uint64_t i = 0; i < steps; i++) {
        /* Multiples of the golden ratio lie evenly. */
        uint32_t slot = c->slot_count <= SAMPLE
                            ? (uint32_t)i
                            : (uint32_t)((uint64_t)(uint32_t)(i * 2654435769U) *
                                             c->slot_count >>
                                         32);
        if (c->slots[slot].state == SLOT_FREE || !collection_is_shown(c, slot))
            continue;
        seen++;
        passed += filter_match_node(filter, node, slot_meta(&c->slots[slot]));
    }
    return seen ? (double)passed / (double)seen : 0;
}

static uint64_t asked_indexed(const struct collection_search *s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->part_count; i++)
        if (s->asked[i])
            sum += s->c->parts[i].indexed;
    return sum;
}

static struct filter_plan_input plan_input(const struct collection_search *s,
                                           uint64_t asked)
{
    const struct collection *c = s->c;
    /* Of those that are found; a walk meets the others, too: what was in a
     * file and no record has come for, and what waits to be removed. */
    double share = c->indexed ? (double)asked / (double)c->indexed : 0;
    uint64_t rows = index_count(c->index);
    if (rows < c->indexed)
        rows = c->indexed;
    struct filter_plan_input in = {
        .row_count = rows,
        .match_count = (double)asked,
        .match_exact = true,
        .candidate_count = (double)rows,
        .k = (uint32_t)s->query.k,
        .ef = (uint32_t)s->query.ef,
        .near = 1,
        .costs = filter_plan_costs_default(
            c->config.hnsw.dim * kernel_type_bytes(c->config.hnsw.codes)),
    };
    if (!s->query.filter)
        return in;
    in.match_exact = false;
    if (c->fields) {
        struct field_index_estimate e;
        field_index_estimate(c->fields, s->query.filter, sample_share,
                             (void *)(uintptr_t)c, &e);
        in.match_count = e.row_count * share;
        in.bounded = e.bounded;
        if (e.bounded)
            in.candidate_count = e.candidate_count;
        return in;
    }
    in.match_count =
        sample_share((void *)(uintptr_t)c, s->query.filter, 0) * (double)asked;
    return in;
}

static void search_planned(struct collection_search *s, uint64_t asked)
{
    struct filter_plan_input in = plan_input(s, asked);
    struct filter_plan plan = filter_plan_choose(&in);
    if (s->query.filter)
        s->work.way = filter_plan_name(plan.way);
    switch (plan.way) {
    case FILTER_PLAN_NOTHING:
    case FILTER_PLAN_SCAN:
        if (s->c->fields && s->query.filter && in.bounded) {
            search_listed(s); /* those that wait are among them */
            return;
        }
        search_graph(s, s->query.ef, QUERY_PLAIN, true, false);
        break;
    case FILTER_PLAN_PLAIN:
        search_graph(s, plan.ef, QUERY_PLAIN, false, false);
        break;
    case FILTER_PLAN_SECOND_HOP:
        search_graph(s, plan.ef, QUERY_SECOND_HOP, false, false);
        break;
    }
    search_waiting(s);
}

int collection_search_run(struct collection_search *s,
                          const struct collection_hit **hits, size_t *count)
{
    struct collection *c = s->c;
    uint64_t asked = asked_indexed(s);
    *hits = s->hits;
    *count = 0;
    s->rc = note_labels(s);
    if (s->rc != DLHT_OK)
        return s->rc;
    /* While work is out the graph holds what is not found yet. */
    bool all = asked == c->indexed && !c->work && !s->query.filter &&
               asked == index_count(c->index);
    if (asked == 0) {
        search_waiting(s);
        s->work.exact = true;
    } else if (s->query.exact || all ||
               index_backend(c->index) == INDEX_EXACT) {
        search_graph(s, s->query.ef, QUERY_PLAIN, s->query.exact, all);
        search_waiting(s);
    } else {
        search_planned(s, asked);
    }
    sort_hits(s);
    *count = s->count;
    return s->rc;
}

void collection_search_work(const struct collection_search *s,
                            struct collection_search_work *out)
{
    *out = s->work;
}
