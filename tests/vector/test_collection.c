/* SPDX-License-Identifier: Apache-2.0 */

/* A collection beside a plain list of the same vectors, through every order of
 * writes, moves, refills and work. */

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "chord/fail_alloc.h"
#include "dlht/err.h"
#include "vector/collection.h"
#include "vector/vector_record.h"

enum {
    DIM = 8,
    PARTS = 4,
    IDS = 120, /* of each part */
    STEPS = 6000
};

struct plain {
    bool there;
    float vector[DIM];
    int64_t group;
    struct buf value;
    uint64_t version;
};

struct world {
    struct rng rng;
    struct collection *c;
    uint32_t parts[PARTS];
    bool refilling[PARTS];
    size_t refilled[PARTS]; /* ids below are told again */
    struct plain plain[PARTS][IDS];
    uint64_t version;
    struct collection_work *work;
    enum metric metric;
    char names[IDS][16];
    struct collection_config config;
    struct span fields[2];
    struct buf file; /* the graph as it once was saved; empty: never */
    uint64_t adopted, claimed;
    uint64_t k_max; /* of searches */
    bool scarce;    /* memory is */
    uint64_t failed;
};

static char *id_text(size_t id, char text[16])
{
    snprintf(text, 16, "id%03zu", id);
    return text;
}

static size_t part_index(const struct world *w, uint32_t part)
{
    for (size_t i = 0; i < PARTS; i++)
        if (w->parts[i] == part)
            return i;
    abort(); /* a part that is none */
}

static bool read_plain(void *self, uint32_t part, struct span id,
                       struct span *value, uint64_t *version)
{
    struct world *w = self;
    size_t n = (size_t)atoi((const char *)id.data + 2);
    const struct plain *p = &w->plain[part_index(w, part)][n];
    *value = buf_span(&p->value);
    *version = p->version;
    return p->there;
}

/* From here to the second call one allocation in so many fails. */
static void begin_scarce(const struct world *w)
{
    fail_alloc_one_of(w->scarce ? 30 : 0);
}

static void end_scarce(struct world *w)
{
    fail_alloc_one_of(0);
    w->failed += fail_alloc_count();
}

static void begin_refill(struct world *w, size_t part)
{
    begin_scarce(w);
    collection_refill(w->c, w->parts[part]);
    end_scarce(w);
    w->refilling[part] = true;
    w->refilled[part] = 0;
}

static void tell(struct world *w, size_t part, size_t id)
{
    char text[16];
    struct plain *p = &w->plain[part][id];
    struct span key = span_str(id_text(id, text));
    /* Of a part that is refilled, what is still to come is not told. */
    if (w->refilling[part] && id >= w->refilled[part])
        return;
    if (!p->there) {
        collection_remove(w->c, w->parts[part], key);
        return;
    }
    begin_scarce(w);
    int rc = collection_put(w->c, w->parts[part], key, buf_span(&p->value),
                            p->version);
    end_scarce(w);
    if (w->scarce && rc == DLHT_ENOMEM)
        begin_refill(w, part);
    else
        cr_assert_eq(rc, DLHT_OK);
}

static void put(struct world *w, size_t part, size_t id)
{
    struct plain *p = &w->plain[part][id];
    char json[64];
    struct buf meta = { 0 };
    struct meta_error error;
    p->there = true;
    p->version = ++w->version;
    p->group = (int64_t)rng_below(&w->rng, 10);
    for (size_t i = 0; i < DIM; i++)
        p->vector[i] = (float)rng_below(&w->rng, 2000) / 100 - 10 + 0.005F;
    snprintf(json, sizeof json, "{\"group\": %d, \"part\": %zu}", (int)p->group,
             part);
    cr_assert_eq(meta_parse(span_str(json), &meta, &error), DLHT_OK);
    buf_reset(&p->value);
    vector_record_pack(p->vector, DIM, buf_span(&meta), &p->value);
    buf_deinit(&meta);
    tell(w, part, id);
}

static void drop(struct world *w, size_t part, size_t id)
{
    w->plain[part][id].there = false;
    tell(w, part, id);
}

/* All that a split moves: the upper half of its ids. */
static void split(struct world *w, size_t from, size_t to)
{
    char text[16];
    if (from == to || w->refilling[from] || w->refilling[to])
        return;
    for (size_t id = IDS / 2; id < IDS; id++) {
        struct plain *a = &w->plain[from][id], *b = &w->plain[to][id];
        if (!a->there || b->there)
            continue;
        collection_move(w->c, w->parts[from], w->parts[to],
                        span_str(id_text(id, text)));
        struct plain moved = *a;
        *a = *b;
        *b = moved;
    }
}

static double distance_to(const struct world *w, const float *a, const float *b)
{
    double l2 = 0, ip = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < DIM; i++) {
        l2 += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        ip += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return w->metric == METRIC_L2   ? l2
           : w->metric == METRIC_IP ? -ip
                                    : 1 - ip / sqrt(aa * bb);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void search(struct world *w)
{
    float query[DIM];
    for (size_t i = 0; i < DIM; i++)
        query[i] = (float)rng_below(&w->rng, 2000) / 100 - 10 + 0.005F;
    bool exact = rng_below(&w->rng, 2) == 0;
    int64_t group =
        rng_below(&w->rng, 2) ? (int64_t)rng_below(&w->rng, 10) : -1;
    struct filter *filter = NULL;
    if (group >= 0) {
        char text[64];
        struct meta_error error;
        snprintf(text, sizeof text, "group <= %d and part >= 0", (int)group);
        cr_assert_eq(filter_compile(span_str(text), &filter, &error), DLHT_OK);
    }
    struct collection_query q = { .vector = query,
                                  .k = 1 + rng_below(&w->rng, w->k_max),
                                  .filter = filter,
                                  .exact = exact };
    struct collection_search *s;
    cr_assert_eq(collection_search_new(w->c, &q, &s), DLHT_OK);
    double truth[PARTS * IDS];
    size_t passing = 0;
    uint64_t asked = 1 + rng_below(&w->rng, (1 << PARTS) - 1);
    for (size_t part = 0; part < PARTS; part++) {
        if (!(asked >> part & 1))
            continue;
        collection_search_add(s, w->parts[part]);
        for (size_t id = 0; id < IDS; id++) {
            const struct plain *p = &w->plain[part][id];
            if (!p->there)
                continue;
            if (group < 0 || p->group <= group)
                truth[passing++] = distance_to(w, query, p->vector);
            if (w->refilling[part] && id >= w->refilled[part])
                collection_search_offer(s, w->parts[part],
                                        span_str(w->names[id]),
                                        buf_span(&p->value), p->version);
        }
    }
    qsort(truth, passing, sizeof *truth, by_size);
    const struct collection_hit *hits;
    size_t count, met = 0;
    cr_assert_eq(collection_search_run(s, &hits, &count), DLHT_OK);
    cr_assert_eq(count, passing < q.k ? passing : q.k, "%zu of %zu, k %zu",
                 count, passing, q.k);
    for (size_t i = 0; i < count; i++) {
        size_t part = part_index(w, hits[i].part);
        const struct plain *p =
            &w->plain[part][atoi((const char *)hits[i].id.data + 2)];
        cr_assert(p->there && p->version == hits[i].version);
        cr_assert(asked >> part & 1);
        cr_assert(group < 0 || p->group <= group);
        double d = distance_to(w, query, p->vector);
        cr_assert(fabs(d - (double)hits[i].distance) < 1e-3 * (1 + fabs(d)));
        cr_assert(i == 0 || hits[i - 1].distance <= hits[i].distance);
        for (size_t j = 0; j < i; j++)
            cr_assert_not(hits[j].part == hits[i].part &&
                          span_equal(hits[j].id, hits[i].id));
        met += d <= truth[count - 1] + 1e-3 * (1 + fabs(d));
        if (exact)
            cr_assert(fabs(d - truth[i]) < 1e-3 * (1 + fabs(d)));
    }
    cr_assert(count == 0 || met * 10 >= count * 5, "recall %zu of %zu", met,
              count);
    collection_search_free(s);
    filter_free(filter);
}

static void do_work(struct world *w)
{
    begin_scarce(w);
    if (w->work) {
        collection_run(w->work);
        collection_done(w->c, w->work);
        w->work = NULL;
    } else {
        w->work = collection_take(w->c);
    }
    end_scarce(w);
}

static void refill(struct world *w, size_t part)
{
    if (!w->refilling[part]) {
        begin_refill(w, part);
        return;
    }
    for (size_t n = rng_below(&w->rng, 60); n > 0; n--) {
        if (w->refilled[part] == IDS) {
            collection_end_refill(w->c, w->parts[part]);
            w->refilling[part] = false;
            return;
        }
        size_t id = w->refilled[part]++;
        if (w->plain[part][id].there)
            tell(w, part, id);
    }
}

static void drop_part(struct world *w, size_t part)
{
    collection_drop_part(w->c, w->parts[part]);
    cr_assert_eq(collection_add_part(w->c, &w->parts[part]), DLHT_OK);
    w->refilling[part] = false;
    for (size_t id = 0; id < IDS; id++)
        w->plain[part][id].there = false;
}

/* Files of the graph */

enum {
    KEYSPACE = 77
};

static int append(void *self, const void *bytes, size_t len)
{
    buf_append(self, bytes, len);
    return ((struct buf *)self)->failed ? DLHT_ENOMEM : DLHT_OK;
}

static bool save(struct collection *c, struct buf *file)
{
    struct collection_work *work = collection_take_save(c);
    if (!work)
        return false;
    buf_reset(file);
    cr_assert_eq(collection_save(work, KEYSPACE, append, file), DLHT_OK);
    collection_done(c, work);
    return true;
}

/* Bytes at a multiple of 64, to be freed. */
static uint8_t *aligned(const struct buf *file)
{
    uint8_t *bytes = aligned_alloc(64, file->len / 64 * 64 + 64);
    cr_assert(bytes);
    memcpy(bytes, file->data, file->len);
    return bytes;
}

/* A new collection upon a file that may be old, or damaged: then it is not
 * taken. All parts are filled from the records. */
static void restart(struct world *w)
{
    struct collection_source source = { read_plain, w };
    struct collection_info info;
    if (w->work)
        collection_abandon(w->c, w->work);
    w->work = NULL;
    if (rng_below(&w->rng, 2))
        (void)save(w->c, &w->file);
    collection_info(w->c, &info);
    w->adopted += info.adopted;
    w->claimed += info.claimed;
    collection_free(w->c);
    cr_assert_eq(collection_new(&w->config, &source, &w->c), DLHT_OK);
    if (w->file.len) {
        uint8_t *bytes = aligned(&w->file);
        struct collection_graph *graph;
        struct hnsw_fault fault;
        bool damaged = rng_below(&w->rng, 4) == 0;
        if (damaged)
            bytes[rng_below(&w->rng, w->file.len)] ^=
                (uint8_t)(1u << rng_below(&w->rng, 8));
        bool poor = rng_below(&w->rng, 2) == 0;
        if (poor)
            begin_scarce(w);
        int rc = collection_graph_load(span_of(bytes, w->file.len), KEYSPACE,
                                       collection_graph(w->c), &graph, &fault);
        if (poor)
            end_scarce(w);
        free(bytes);
        cr_assert(rc == DLHT_OK ? !damaged : damaged || poor);
        cr_assert(rc != DLHT_OK || collection_adopt(w->c, graph));
    }
    for (size_t part = 0; part < PARTS; part++) {
        cr_assert_eq(collection_add_part(w->c, &w->parts[part]), DLHT_OK);
        begin_refill(w, part);
    }
}

static void step(struct world *w)
{
    size_t part = rng_below(&w->rng, PARTS), id = rng_below(&w->rng, IDS);
    uint64_t dice = rng_below(&w->rng, 1000);
    if (dice < 500)
        put(w, part, id);
    else if (dice < 650)
        drop(w, part, id);
    else if (dice < 850)
        do_work(w);
    else if (dice < 900)
        (void)collection_sweep(w->c, rng_below(&w->rng, 200));
    else if (dice < 960)
        search(w);
    else if (dice < 985)
        refill(w, part);
    else if (dice < 990)
        split(w, part, rng_below(&w->rng, PARTS));
    else if (dice < 992)
        drop_part(w, part);
    else if (dice < 994 && collection_rebuild(w->c) == DLHT_ENOTSUP)
        search(w);
    else if (dice == 995)
        (void)save(w->c, &w->file);
    else if (dice == 996)
        restart(w);
    else if (dice == 997)
        collection_drop_kept(w->c);
}

static void settle(struct world *w)
{
    bool scarce = w->scarce;
    w->scarce = false;
    for (size_t part = 0; part < PARTS; part++)
        while (w->refilling[part])
            refill(w, part);
    while (collection_sweep(w->c, 1000)) {
    }
    while (w->work || collection_wants_work(w->c))
        do_work(w);
    collection_check(w->c);
    struct collection_info info;
    collection_info(w->c, &info);
    cr_assert_eq(info.live, info.indexed);
    cr_assert_eq(info.waiting, 0);
    cr_assert_not(info.rebuilding);
    w->scarce = scarce;
}

static struct world *open_world(uint64_t seed, enum metric metric,
                                enum index_backend backend, bool fields)
{
    static const char *const names[] = { "group", "part" };
    struct world *w = calloc(1, sizeof *w);
    cr_assert(w);
    struct collection_source source = { read_plain, w };
    w->fields[0] = span_str(names[0]);
    w->fields[1] = span_str(names[1]);
    w->config.fields = w->fields;
    w->config.field_count = fields ? 2 : 0;
    w->config.saves = true;
    w->config.index.backend = backend;
    w->config.index.hnsw = hnsw_config_default(DIM);
    w->config.index.hnsw.metric = metric;
    w->metric = metric;
    w->k_max = 20;
    rng_init(&w->rng, seed);
    for (size_t id = 0; id < IDS; id++)
        id_text(id, w->names[id]);
    cr_assert_eq(collection_new(&w->config, &source, &w->c), DLHT_OK);
    for (size_t i = 0; i < PARTS; i++)
        cr_assert_eq(collection_add_part(w->c, &w->parts[i]), DLHT_OK);
    return w;
}

static void close_world(struct world *w)
{
    if (w->work)
        do_work(w);
    collection_free(w->c);
    buf_deinit(&w->file);
    for (size_t i = 0; i < PARTS * IDS; i++)
        buf_deinit(&w->plain[i / IDS][i % IDS].value);
    free(w);
}

static void play(uint64_t seed, enum metric metric, enum index_backend backend,
                 bool fields, bool scarce)
{
    struct world *w = open_world(seed, metric, backend, fields);
    cr_log_info("seed %llu", (unsigned long long)seed);
    w->scarce = scarce;
    for (int i = 0; i < STEPS; i++) {
        step(w);
        if (i % 1000 == 999) {
            settle(w);
            search(w);
        }
    }
    cr_assert(!scarce || w->failed > 0);
    for (int i = 0; i < 3; i++) {
        restart(w);
        settle(w);
        search(w);
    }
    cr_assert(backend == INDEX_EXACT || w->adopted > 0);
    cr_assert(backend == INDEX_EXACT || w->claimed > 0);
    close_world(w);
}

/* The graph in use takes what the next one has no memory for, and the work is
 * not the last of the rebuild. */
static bool rebuild_without(uint64_t nth)
{
    struct world *w = open_world(nth, METRIC_L2, INDEX_HNSW, false);
    w->k_max = PARTS * IDS;
    for (size_t id = 0; id < IDS * 3; id++)
        put(w, 1 + id % 3, id / 3);
    settle(w);
    cr_assert_eq(collection_rebuild(w->c), DLHT_OK);
    for (size_t id = 0; id < IDS; id++)
        put(w, 0, id);
    do_work(w);
    fail_alloc_nth(nth);
    do_work(w);
    fail_alloc_nth(0);
    bool failed = w->failed > 0;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 5; i++)
            search(w);
        for (size_t id = 0; id < IDS; id += 2)
            drop(w, 0, id);
        do_work(w);
        for (size_t id = 0; id < IDS; id += 3)
            put(w, 2, id);
    }
    settle(w);
    search(w);
    close_world(w);
    return failed;
}

Test(collection, a_graph_is_made_anew_where_memory_is_scarce)
{
    uint64_t nth = 1;
    if (!fail_alloc_works())
        return;
    while (rebuild_without(nth))
        nth++;
    printf("%llu allocations\n", (unsigned long long)nth);
    cr_assert_gt(nth, 5);
}

Test(collection, agrees_with_a_list)
{
    for (uint64_t seed = 1; seed <= 12; seed++)
        play(seed, (enum metric)(seed % METRICS),
             seed % 4 == 3 ? INDEX_EXACT : INDEX_HNSW, seed % 2, false);
}

Test(collection, agrees_with_a_list_where_memory_is_scarce)
{
    if (!fail_alloc_works())
        return;
    for (uint64_t seed = 1; seed <= 12; seed++)
        play(seed, (enum metric)(seed % METRICS),
             seed % 4 == 3 ? INDEX_EXACT : INDEX_HNSW, seed % 2, true);
}

Test(collection, passes_over_what_is_no_vector)
{
    struct world *w = calloc(1, sizeof *w);
    struct collection_source source = { read_plain, w };
    struct collection_config config = { 0 };
    struct collection_info info;
    config.index.hnsw = hnsw_config_default(DIM);
    cr_assert_eq(collection_new(&config, &source, &w->c), DLHT_OK);
    cr_assert_eq(collection_add_part(w->c, &w->parts[0]), DLHT_OK);
    cr_assert_eq(collection_put(w->c, w->parts[0], span_str("id001"),
                                span_str("no vector"), 1),
                 DLHT_OK);
    collection_info(w->c, &info);
    cr_assert_eq(info.live, 0);
    cr_assert_eq(info.damaged, 1);
    collection_free(w->c);
    free(w);
}

/* Files */

static void put_all(struct world *w, size_t part)
{
    for (size_t id = 0; id < IDS; id++)
        if (w->plain[part][id].there)
            tell(w, part, id);
}

static int load(const struct world *w, const uint8_t *bytes, size_t len,
                uint64_t keyspace, const struct hnsw_config *config,
                struct hnsw_fault *fault)
{
    struct collection_graph *graph;
    (void)w;
    int rc = collection_graph_load(span_of(bytes, len), keyspace, config,
                                   &graph, fault);
    cr_assert_eq(rc == DLHT_OK, graph != NULL);
    collection_graph_free(graph);
    return rc;
}

Test(collection, a_graph_from_a_file_is_brought_up_to_the_records)
{
    struct world *w = open_world(5, METRIC_COSINE, INDEX_HNSW, true);
    struct collection_source source = { read_plain, w };
    struct collection_graph *graph;
    struct collection_info info;
    struct hnsw_fault fault;
    for (size_t id = 0; id < IDS; id++)
        put(w, 0, id);
    settle(w);
    cr_assert(save(w->c, &w->file));
    /* Ten are others since, twenty are gone, and one more was written again as
     * it was. */
    for (size_t id = 0; id < 10; id++)
        put(w, 0, id);
    for (size_t id = 10; id < 30; id++)
        w->plain[0][id].there = false;
    w->plain[0][50].version = ++w->version;
    collection_free(w->c);
    cr_assert_eq(collection_new(&w->config, &source, &w->c), DLHT_OK);
    uint8_t *bytes = aligned(&w->file);
    cr_assert_eq(collection_graph_load(span_of(bytes, w->file.len), KEYSPACE,
                                       collection_graph(w->c), &graph, &fault),
                 DLHT_OK);
    free(bytes);
    cr_assert(collection_adopt(w->c, graph));
    cr_assert_eq(collection_add_part(w->c, &w->parts[0]), DLHT_OK);
    for (size_t i = 1; i < PARTS; i++)
        cr_assert_eq(collection_add_part(w->c, &w->parts[i]), DLHT_OK);
    put_all(w, 0);
    collection_info(w->c, &info);
    cr_expect_eq(info.adopted, IDS);
    cr_expect_eq(info.claimed, IDS - 30);
    cr_expect_eq(info.kept, 30);
    cr_expect_eq(info.waiting, 10);
    cr_expect_eq(info.live, IDS - 20);
    for (int i = 0; i < 50; i++)
        search(w);
    collection_drop_kept(w->c);
    settle(w);
    collection_info(w->c, &info);
    cr_expect_eq(info.kept, 0);
    cr_expect_eq(info.changes, 40);
    for (int i = 0; i < 50; i++)
        search(w);
    close_world(w);
}

Test(collection, a_file_that_is_not_its_own_is_refused)
{
    struct world *w = open_world(6, METRIC_L2, INDEX_HNSW, false);
    struct hnsw_fault fault;
    for (size_t id = 0; id < 20; id++)
        put(w, 0, id);
    settle(w);
    cr_assert(save(w->c, &w->file));
    uint8_t *bytes = aligned(&w->file);
    size_t len = w->file.len;
    const struct hnsw_config *own = collection_graph(w->c);
    cr_expect_eq(load(w, bytes, len, KEYSPACE, own, &fault), DLHT_OK);
    cr_expect_eq(load(w, bytes, len, KEYSPACE + 1, own, &fault), DLHT_EINVAL);
    cr_expect_str_eq(fault.what, "it is another collection's");
    struct hnsw_config others[7];
    for (size_t i = 0; i < 7; i++)
        others[i] = *own;
    others[0].dim++;
    others[1].metric = METRIC_COSINE;
    others[2].codes = KERNEL_F16;
    others[3].m++;
    others[4].m0 = 2 * own->m + 1;
    others[5].ef_construction++;
    others[6].alpha += 0.5F;
    for (size_t i = 0; i < 7; i++) {
        cr_expect_eq(load(w, bytes, len, KEYSPACE, &others[i], &fault),
                     DLHT_EINVAL, "setting %zu", i);
        cr_expect_str_eq(fault.what, "it was made with other settings");
    }
    /* What may change later does not matter. */
    struct hnsw_config same = *own;
    same.ef_search++;
    same.seed++;
    cr_expect_eq(load(w, bytes, len, KEYSPACE, &same, &fault), DLHT_OK);
    for (size_t at = 0; at < len; at += 1 + at / 40)
        cr_expect_eq(load(w, bytes, at, KEYSPACE, own, &fault), DLHT_ECORRUPT,
                     "cut at %zu", at);
    for (size_t at = 0; at < len; at += 1 + at / 200) {
        bytes[at] ^= 0x10;
        int rc = load(w, bytes, len, KEYSPACE, own, &fault);
        bytes[at] ^= 0x10;
        cr_expect_eq(rc, DLHT_ECORRUPT, "byte %zu of %zu: %d", at, len, rc);
        cr_expect(fault.what);
    }
    free(bytes);
    close_world(w);
}
