/* SPDX-License-Identifier: Apache-2.0 */

/* Filters that a field's index answers and that leave so many vectors that
 * their codes are looked at, beside a list of all. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "vector/collection.h"
#include "vector/vector_record.h"

enum {
    DIM = 16,
    ROWS = 8000,
    PARTS = 2,
    GROUPS = 10, /* every tenth has the same n */
    K = 10,
    SEARCHES = 60
};

static float vectors[ROWS][DIM];
static bool gone[ROWS];
static struct buf metas[GROUPS], value;
static uint32_t parts[PARTS];

static struct span pack(size_t row)
{
    buf_reset(&value);
    vector_record_pack(vectors[row], DIM, buf_span(&metas[row / 7 % GROUPS]),
                       &value);
    return buf_span(&value);
}

static size_t row_of(struct span id)
{
    char text[16] = "";
    memcpy(text, id.data, id.len);
    return (size_t)strtoul(text, NULL, 10);
}

static bool read_row(void *self, uint32_t part, struct span id,
                     struct span *out, uint64_t *version)
{
    (void)self, (void)part;
    *out = pack(row_of(id));
    *version = 1;
    return true;
}

static struct span id_of(size_t row, char text[16])
{
    snprintf(text, 16, "%06zu", row);
    return span_str(text);
}

static void let_work(struct collection *c)
{
    struct collection_work *work;
    while ((work = collection_take(c)) != NULL) {
        collection_run(work);
        collection_done(c, work);
    }
}

static struct collection *make_empty(bool saves)
{
    struct span field = span_str("n");
    struct collection_source source = { read_row, NULL };
    struct collection_config config = { .index = { INDEX_HNSW,
                                                   hnsw_config_default(DIM) },
                                        .fields = &field,
                                        .field_count = 1,
                                        .saves = saves };
    struct collection *c;
    config.index.hnsw.metric = METRIC_L2;
    config.index.hnsw.m = saves ? 12 : 4;
    config.index.hnsw.ef_construction = saves ? 60 : 8;
    cr_assert_eq(collection_new(&config, &source, &c), DLHT_OK);
    for (size_t p = 0; p < PARTS; p++)
        cr_assert_eq(collection_add_part(c, &parts[p]), DLHT_OK);
    return c;
}

static void tell(struct collection *c, size_t row)
{
    char text[16];
    cr_assert_eq(
        collection_put(c, parts[row % PARTS], id_of(row, text), pack(row), 1),
        DLHT_OK);
}

static struct collection *make(struct rng *rng, bool saves)
{
    struct collection *c = make_empty(saves);
    for (unsigned n = 0; n < GROUPS; n++) {
        char json[16];
        snprintf(json, sizeof json, "{\"n\": %u}", n);
        cr_assert_eq(meta_parse(span_str(json), &metas[n], NULL), DLHT_OK);
    }
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t i = 0; i < DIM; i++)
            vectors[row][i] = (float)rng_real(rng);
        tell(c, row);
        if (row % COLLECTION_WORK_MAX == 0)
            let_work(c);
    }
    let_work(c);
    return c;
}

static double distance(const float *a, const float *b)
{
    double d = 0;
    for (size_t i = 0; i < DIM; i++)
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return d;
}

/* How far the k-th of those that are there is; of one part, or of all. */
static double reach(const float *query, size_t part)
{
    double near[K + 1];
    size_t count = 0;
    for (size_t row = 0; row < ROWS; row++) {
        if (row / 7 % GROUPS != 0 || gone[row] ||
            (part < PARTS && row % PARTS != part))
            continue;
        double d = distance(query, vectors[row]);
        size_t at = count;
        for (; at > 0 && near[at - 1] > d; at--)
            near[at] = near[at - 1];
        near[at] = d;
        count += count < K;
    }
    return near[K - 1];
}

/* Hits among the true ones; all are of the part, there, of the group, told once
 * and in order. */
static size_t search(struct collection *c, const float *vector, size_t part,
                     bool by_codes)
{
    struct filter *filter;
    struct meta_error error;
    struct collection_search *s;
    struct collection_search_work work;
    const struct collection_hit *hits;
    size_t count, right = 0;
    cr_assert_eq(filter_compile(span_str("n < 1"), &filter, &error), DLHT_OK);
    struct collection_query query = { .vector = vector,
                                      .k = K,
                                      .filter = filter };
    cr_assert_eq(collection_search_new(c, &query, &s), DLHT_OK);
    for (size_t p = 0; p < PARTS; p++)
        if (part == PARTS || p == part)
            collection_search_add(s, parts[p]);
    cr_assert_eq(collection_search_run(s, &hits, &count), DLHT_OK);
    collection_search_work(s, &work);
    cr_assert_str_eq(work.way, "scan");
    cr_assert_eq(work.exact, !by_codes);
    cr_assert_eq(count, K);
    double far = reach(vector, part);
    for (size_t i = 0; i < count; i++) {
        size_t row = row_of(hits[i].id);
        double d = distance(vector, vectors[row]);
        cr_assert(part == PARTS || row % PARTS == part);
        cr_assert(!gone[row]);
        cr_assert_eq(row / 7 % GROUPS, 0);
        cr_assert_float_eq(hits[i].distance, d, 1e-4);
        cr_assert(i == 0 || hits[i - 1].distance <= hits[i].distance);
        for (size_t k = 0; k < i; k++)
            cr_assert_neq(row, row_of(hits[k].id));
        right += d <= far + 1e-9;
    }
    collection_search_free(s);
    filter_free(filter);
    return right;
}

static double recall(struct collection *c, struct rng *rng, size_t part,
                     bool by_codes)
{
    size_t right = 0;
    for (size_t i = 0; i < SEARCHES; i++) {
        float query[DIM];
        for (size_t d = 0; d < DIM; d++)
            query[d] = (float)rng_real(rng);
        right += search(c, query, part, by_codes);
    }
    return (double)right / (SEARCHES * K);
}

Test(collection_listed, what_an_index_leaves_is_found_by_codes)
{
    struct rng rng;
    uint64_t seed = 11;
    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed);
    struct collection *c = make(&rng, false);
    double all = recall(c, &rng, PARTS, true);
    double one = recall(c, &rng, 1, false); /* they are few */
    printf("recall %.4f, of one part %.4f\n", all, one);
    cr_expect_geq(all, 0.995);
    cr_expect_eq(one, 1);
    for (size_t row = 0; row < ROWS; row += 5) {
        char text[16];
        collection_remove(c, parts[row % PARTS], id_of(row, text));
        gone[row] = true;
    }
    /* First the graph still has them, then it has not. */
    cr_expect_geq(recall(c, &rng, PARTS, true), 0.995);
    let_work(c);
    cr_expect_geq(recall(c, &rng, PARTS, true), 0.995);
    collection_drop_part(c, parts[1]); /* not cleared up yet */
    cr_expect_eq(recall(c, &rng, 0, false), 1);
    collection_free(c);
    for (size_t n = 0; n < GROUPS; n++)
        buf_deinit(&metas[n]);
    buf_deinit(&value);
}

/* A file just taken over: records have come for few of its vectors. */

static int append(void *self, const void *bytes, size_t len)
{
    buf_append(self, bytes, len);
    return ((struct buf *)self)->failed ? DLHT_ENOMEM : DLHT_OK;
}

static struct collection *taken_over(struct collection *c)
{
    struct buf file = { 0 };
    struct collection_graph *graph;
    struct hnsw_fault fault;
    struct collection_work *work = collection_take_save(c);
    cr_assert(work);
    uint64_t bytes = collection_save_bytes(work);
    cr_assert_eq(collection_save(work, 1, append, &file), DLHT_OK);
    cr_assert_eq(bytes, file.len);
    collection_done(c, work);
    collection_free(c);
    c = make_empty(true);
    uint8_t *aligned = aligned_alloc(64, file.len / 64 * 64 + 64);
    cr_assert(aligned);
    memcpy(aligned, file.data, file.len);
    cr_assert_eq(collection_graph_load(span_of(aligned, file.len), 1,
                                       collection_graph(c), &graph, &fault),
                 DLHT_OK);
    cr_assert(collection_adopt(c, graph));
    free(aligned);
    buf_deinit(&file);
    return c;
}

static size_t search_claimed(struct collection *c, const float *vector,
                             size_t claimed, size_t k)
{
    struct collection_query query = { .vector = vector, .k = k, .ef = 10 };
    struct collection_search *s;
    const struct collection_hit *hits;
    size_t count, right = 0;
    cr_assert_eq(collection_search_new(c, &query, &s), DLHT_OK);
    for (size_t p = 0; p < PARTS; p++)
        collection_search_add(s, parts[p]);
    cr_assert_eq(collection_search_run(s, &hits, &count), DLHT_OK);
    cr_assert_eq(count, k);
    for (size_t i = 0; i < count; i++) {
        double d = distance(vector, vectors[row_of(hits[i].id)]);
        size_t nearer = 0;
        cr_assert_lt(row_of(hits[i].id), claimed);
        for (size_t row = 0; row < claimed; row++)
            nearer += distance(vector, vectors[row]) < d - 1e-9;
        right += nearer < k;
    }
    collection_search_free(s);
    return right;
}

Test(collection_listed, few_of_a_graph_are_found_well)
{
    enum {
        CLAIMED = ROWS / 50,
        NEAREST = 2,
        QUERIES = 200
    };
    struct rng rng;
    uint64_t seed = 12;
    size_t right = 0;
    struct collection_info info;
    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed);
    struct collection *c = taken_over(make(&rng, true));
    for (size_t row = 0; row < CLAIMED; row++)
        tell(c, row);
    collection_info(c, &info);
    cr_assert_eq(info.claimed, CLAIMED);
    cr_assert_eq(info.indexed, CLAIMED);
    cr_assert_eq(info.kept, ROWS - CLAIMED);
    for (size_t i = 0; i < QUERIES; i++) {
        float query[DIM];
        for (size_t d = 0; d < DIM; d++)
            query[d] = (float)rng_real(&rng);
        right += search_claimed(c, query, CLAIMED, NEAREST);
    }
    double share = (double)right / (QUERIES * NEAREST);
    printf("recall %.4f of 2 %%\n", share);
    cr_expect_geq(share, 0.97);
    collection_free(c);
    for (size_t n = 0; n < GROUPS; n++)
        buf_deinit(&metas[n]);
    buf_deinit(&value);
}
