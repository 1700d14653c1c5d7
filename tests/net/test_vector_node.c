/* SPDX-License-Identifier: Apache-2.0 */

/* Collections through the public door, on a node in this process that no
 * network leads to, against a scan of all vectors. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "dlht/vector.h"
#include "net/check.h"

enum {
    DIM = 8,
    COUNT = 2000,
    GROUPS = 10,
    QUERIES = 20,
    K = 10
};

struct world {
    struct dlht *d;
    struct rng rng;
    float rows[COUNT][DIM];
    bool gone[COUNT];
};

static struct world world;
/* It may take long where a sanitizer watches. */
static const struct dlht_options docs = { .keyspace = "docs",
                                          .timeout_ms = 60000 };

static float draw(void)
{
    return (float)(rng_real(&world.rng) * 2 - 1);
}

/* Of each a string that lives as long as the vector is borrowed. */
struct source {
    size_t next;
    size_t end;
    char id[16];
    char meta[64];
};

static bool next_row(void *context, struct dlht_vector *out)
{
    struct source *s = context;
    if (s->next == s->end)
        return false;
    size_t i = s->next++;
    int len = snprintf(s->id, sizeof s->id, "%zu", i);
    snprintf(s->meta, sizeof s->meta, "{\"group\": %zu}", i % GROUPS);
    *out = (struct dlht_vector){ .id = { s->id, (size_t)len },
                                 .values = world.rows[i],
                                 .dim = DIM,
                                 .meta = s->meta };
    return true;
}

static void collections_are_made(void)
{
    static const char *const fields[] = { "group", "a.b" };
    struct dlht_collection_config config;
    struct dlht_collections all;
    struct dlht_error error;
    dlht_collection_config_default(&config);
    CHECK_EQ(dlht_collection_create(world.d, "docs", &config, &error),
             DLHT_EINVAL);
    CHECK(strstr(error.text, "dim is 0") != NULL);
    config.dim = DIM;
    config.metric = "nearness";
    CHECK_EQ(dlht_collection_create(world.d, "docs", &config, &error),
             DLHT_EINVAL);
    CHECK(*error.text);
    config.metric = "l2";
    config.fields = fields;
    config.field_count = 2;
    config.m = 12;
    config.replicas = 1;
    CHECK_EQ(dlht_collection_create(world.d, "docs", &config, &error), DLHT_OK);
    CHECK_EQ(error.code, DLHT_OK);
    CHECK_EQ(dlht_collection_create(world.d, "docs", &config, NULL),
             DLHT_EEXISTS);
    CHECK_EQ(dlht_collection_list(world.d, &all, &error), DLHT_OK);
    CHECK_EQ(all.count, 1);
    if (all.count == 1) {
        CHECK(strcmp(all.list[0].name, "docs") == 0);
        CHECK(strcmp(all.list[0].metric, "l2") == 0);
        CHECK_EQ(all.list[0].dim, DIM);
        CHECK_EQ(all.list[0].replicas, 1);
    }
    dlht_collections_free(&all);
}

static void many_are_put(void)
{
    struct source source = { .end = COUNT };
    struct dlht_put_report report;
    uint64_t count;
    for (size_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < DIM; k++)
            world.rows[i][k] = draw();
    CHECK_EQ(
        dlht_vector_put_each(world.d, &docs, next_row, &source, 7, &report),
        DLHT_OK);
    CHECK_EQ(report.stored, COUNT);
    CHECK_EQ(report.failed, 0);
    CHECK_EQ(dlht_vector_count(world.d, &docs, &count, NULL), DLHT_OK);
    CHECK_EQ(count, COUNT);
}

/* Good ones among them are stored; the first bad one is named. */
static void bad_ones_are_counted(void)
{
    static const float good[DIM] = { 9, 9, 9, 9, 9, 9, 9, 9 };
    struct dlht_vector row[] = {
        { .id = { "x", 1 }, .values = good, .dim = DIM },
        { .id = { "y", 1 }, .values = good, .dim = DIM - 1 },
        { .id = { "", 0 }, .values = good, .dim = DIM },
        { .id = { "z", 1 }, .values = good, .dim = DIM, .meta = "nonsense" },
        { .id = { "w", 1 }, .values = good, .dim = DIM },
    };
    struct dlht_put_report report;
    uint64_t count;
    CHECK_EQ(dlht_vector_put_many(world.d, &docs, row, 5, &report),
             DLHT_EINVAL);
    CHECK_EQ(report.stored, 2);
    CHECK_EQ(report.failed, 3);
    CHECK_EQ(report.first, 1);
    CHECK_EQ(report.error.code, DLHT_EINVAL);
    CHECK(strstr(report.error.text, "7 dimensions") != NULL);
    CHECK_EQ(dlht_vector_put_many(world.d, &docs, row, 1, NULL), DLHT_OK);
    CHECK_EQ(dlht_vector_del(world.d, &docs, "x", 1, NULL), DLHT_OK);
    CHECK_EQ(dlht_vector_del(world.d, &docs, "w", 1, NULL), DLHT_OK);
    CHECK_EQ(dlht_vector_del(world.d, &docs, "w", 1, NULL), DLHT_ENOTFOUND);
    CHECK_EQ(dlht_vector_put_many(world.d, &docs, row, 0, &report), DLHT_OK);
    CHECK_EQ(dlht_vector_put_many(world.d, NULL, row, 1, &report),
             DLHT_ENOTSUP);
    CHECK_EQ(dlht_vector_count(world.d, &docs, &count, NULL), DLHT_OK);
    CHECK_EQ(count, COUNT);
}

static double distance(const float *a, const float *b)
{
    double d = 0;
    for (size_t i = 0; i < DIM; i++)
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return d;
}

static int by_distance(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Distances of what is to be found, ascending; group -1: of all. */
static size_t scan(const float *query, int group, double *out)
{
    size_t n = 0;
    for (size_t i = 0; i < COUNT; i++)
        if (!world.gone[i] && (group < 0 || i % GROUPS == (size_t)group))
            out[n++] = distance(query, world.rows[i]);
    qsort(out, n, sizeof *out, by_distance);
    return n < K ? n : K;
}

/* Hits are right if each is as far as it says, and as the truth at its place
 * is. */
static void check_hits(const struct dlht_hits *hits, const float *query,
                       int group)
{
    static double truth[COUNT];
    size_t count = scan(query, group, truth);
    CHECK_EQ(hits->count, count);
    CHECK(!hits->partial);
    for (size_t i = 0; i < hits->count && i < count; i++) {
        size_t row = strtoul(hits->list[i].id.data, NULL, 10);
        double d = distance(query, world.rows[row]);
        CHECK(row < COUNT && !world.gone[row]);
        CHECK(group < 0 || row % GROUPS == (size_t)group);
        CHECK(hits->list[i].distance > d - 1e-5 &&
              hits->list[i].distance < d + 1e-5);
        CHECK(d > truth[i] - 1e-5 && d < truth[i] + 1e-5);
    }
}

static void searches_are_right(void)
{
    struct dlht_hits hits;
    struct dlht_error error;
    char meta[64];
    for (int q = 0; q < QUERIES; q++) {
        float query[DIM];
        for (size_t k = 0; k < DIM; k++)
            query[k] = draw();
        struct dlht_search search = { .values = query,
                                      .dim = DIM,
                                      .exact = true };
        CHECK_EQ(dlht_vector_search(world.d, &docs, &search, &hits, &error),
                 DLHT_OK);
        check_hits(&hits, query, -1);
        CHECK(hits.count == 0 || (!hits.list[0].meta && !hits.list[0].values));
        dlht_hits_free(&hits);
        search.filter = "group = 3";
        search.with_meta = search.with_values = true;
        CHECK_EQ(dlht_vector_search(world.d, &docs, &search, &hits, &error),
                 DLHT_OK);
        check_hits(&hits, query, 3);
        for (size_t i = 0; i < hits.count; i++) {
            size_t row = strtoul(hits.list[i].id.data, NULL, 10);
            snprintf(meta, sizeof meta, "{\"group\": %zu}", row % GROUPS);
            CHECK(strcmp(hits.list[i].meta, meta) == 0);
            CHECK(hits.list[i].dim == DIM &&
                  memcmp(hits.list[i].values, world.rows[row],
                         sizeof world.rows[row]) == 0);
        }
        dlht_hits_free(&hits);
    }
}

static void what_is_wrong_is_said(void)
{
    const struct {
        struct dlht_search search;
        int rc;
        const char *says;
    } cases[] = {
        { { .values = world.rows[0], .dim = 3 }, DLHT_EINVAL, "3 dimensions" },
        { { .values = world.rows[0], .dim = DIM, .filter = "a ==" },
          DLHT_EINVAL,
          "'=='" },
        { { .id = { "none", 4 } }, DLHT_ENOTFOUND, "" },
        { { .k = 1 }, DLHT_EINVAL, "no numbers" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dlht_hits hits;
        struct dlht_error error;
        CHECK_EQ(
            dlht_vector_search(world.d, &docs, &cases[i].search, &hits, &error),
            cases[i].rc);
        CHECK_EQ(error.code, cases[i].rc);
        if (!strstr(error.text, cases[i].says))
            fprintf(stderr, "'%s' is not in '%s'\n", cases[i].says, error.text);
        CHECK(strstr(error.text, cases[i].says) != NULL);
        CHECK(!hits.list && !hits.memory);
    }
}

static void one_is_got_and_removed(void)
{
    struct dlht_search near = { .id = { "5", 1 }, .k = 1 };
    struct dlht_vector *v;
    struct dlht_hits hits;
    struct dlht_vector again = { .id = { "5", 1 },
                                 .values = world.rows[5],
                                 .dim = DIM };
    uint64_t version = 0;
    CHECK_EQ(dlht_vector_get(world.d, &docs, "5", 1, &v, NULL), DLHT_OK);
    CHECK(v && v->dim == DIM && strcmp(v->meta, "{\"group\": 5}") == 0 &&
          memcmp(v->values, world.rows[5], sizeof world.rows[5]) == 0);
    CHECK_EQ(dlht_vector_put(world.d, &docs, &again, &version, NULL), DLHT_OK);
    CHECK(v && version > v->version);
    dlht_vector_free(v);
    CHECK_EQ(dlht_vector_get(world.d, &docs, "5", 1, &v, NULL), DLHT_OK);
    CHECK(v && strcmp(v->meta, "{}") == 0 && v->version == version);
    dlht_vector_free(v);
    dlht_vector_free(NULL);
    CHECK_EQ(dlht_vector_search(world.d, &docs, &near, &hits, NULL), DLHT_OK);
    CHECK(hits.count == 1 && memcmp(hits.list[0].id.data, "5", 2) != 0);
    dlht_hits_free(&hits);
    CHECK_EQ(dlht_vector_del(world.d, &docs, "5", 1, NULL), DLHT_OK);
    CHECK_EQ(dlht_vector_get(world.d, &docs, "5", 1, &v, NULL), DLHT_ENOTFOUND);
    CHECK(!v);
    world.gone[5] = true;
}

/* As many as there may be, of which the vector that is searched with is none. */
static void the_most_are_found_by_id(void)
{
    struct dlht_search search = { .id = { "7", 1 }, .k = 10000 };
    struct dlht_hits hits;
    struct dlht_error error;
    CHECK_EQ(dlht_vector_search(world.d, &docs, &search, &hits, &error),
             DLHT_OK);
    CHECK(!hits.partial);
    CHECK_EQ(hits.count, COUNT - 2);
    dlht_hits_free(&hits);
    search.k++;
    CHECK_EQ(dlht_vector_search(world.d, &docs, &search, &hits, &error),
             DLHT_EINVAL);
}

/* A frame would not hold it: a link between peers would break of it. */
static void an_answer_has_a_greatest_size(void)
{
    enum {
        ROWS = 600,
        BYTES = 60000
    };
    struct dlht_search search = { .values = world.rows[0],
                                  .dim = DIM,
                                  .k = ROWS,
                                  .filter = "long = 1",
                                  .with_meta = true };
    struct dlht_hits hits;
    struct dlht_error error;
    char id[16], *meta = malloc(BYTES + 64);
    CHECK(meta != NULL);
    if (!meta)
        return;
    strcpy(meta, "{\"long\": 1, \"text\": \"");
    size_t len = strlen(meta);
    memset(meta + len, 'x', BYTES);
    strcpy(meta + len + BYTES, "\"}");
    for (size_t i = 0; i < ROWS; i++) {
        struct dlht_vector row = {
            .id = { id, 0 }, .values = world.rows[i], .dim = DIM, .meta = meta
        };
        row.id.len = (size_t)snprintf(id, sizeof id, "long-%zu", i);
        CHECK_EQ(dlht_vector_put(world.d, &docs, &row, NULL, NULL), DLHT_OK);
    }
    CHECK_EQ(dlht_vector_search(world.d, &docs, &search, &hits, &error),
             DLHT_ETOOBIG);
    CHECK(strstr(error.text, "32 MiB") != NULL);
    search.with_meta = false;
    CHECK_EQ(dlht_vector_search(world.d, &docs, &search, &hits, &error),
             DLHT_OK);
    CHECK_EQ(hits.count, ROWS);
    dlht_hits_free(&hits);
    for (size_t i = 0; i < ROWS; i++) {
        int n = snprintf(id, sizeof id, "long-%zu", i);
        CHECK_EQ(dlht_vector_del(world.d, &docs, id, (size_t)n, NULL), DLHT_OK);
    }
    free(meta);
}

struct many {
    int done;
    int right;
};

/* Waiting inside a callback cannot be. */
static void on_answer(void *context, const struct dlht_result *result)
{
    struct many *many = context;
    struct dlht_put_report report;
    struct dlht_hits hits;
    many->done++;
    CHECK_EQ(result->status, DLHT_OK);
    CHECK_EQ(dlht_hits_unpack(result, &hits), DLHT_OK);
    many->right += hits.count == 3;
    dlht_hits_free(&hits);
    CHECK_EQ(dlht_vector_del(world.d, &docs, "1", 1, NULL), DLHT_EINVAL);
    CHECK_EQ(dlht_vector_put_many(world.d, &docs, NULL, 0, &report),
             DLHT_EINVAL);
}

static void many_searches_go_at_once(void)
{
    struct many many = { 0 };
    for (int i = 0; i < 200; i++) {
        struct dlht_search search = { .values = world.rows[i],
                                      .dim = DIM,
                                      .k = 3 };
        struct dlht_packed packed;
        CHECK_EQ(dlht_search_pack(&docs, &search, &packed), DLHT_OK);
        CHECK_EQ(dlht_submit(world.d, &packed.request, on_answer, &many),
                 DLHT_OK);
        dlht_packed_free(&packed);
    }
    while (many.done < 200)
        CHECK(dlht_poll(world.d, 5000) > 0);
    CHECK_EQ(many.right, 200);
}

static void the_graph_is_built_anew(void)
{
    struct dlht_collection_info info;
    struct dlht_error error;
    CHECK_EQ(dlht_vector_rebuild(world.d, &docs, &error), DLHT_OK);
    for (int i = 0; i < 10000; i++) {
        CHECK_EQ(dlht_collection_info(world.d, &docs, &info, &error), DLHT_OK);
        if (error.code != DLHT_OK || (!info.rebuilding && !info.waiting))
            break;
        usleep(2000);
    }
    CHECK(!info.rebuilding);
    CHECK_EQ(info.dim, DIM);
    CHECK_EQ(info.m, 12);
    CHECK_EQ(info.ef, 64);
    CHECK(strcmp(info.metric, "l2") == 0);
    CHECK(strcmp(info.index, "hnsw") == 0);
    CHECK(strcmp(info.quantization, "int8") == 0);
    CHECK(strcmp(info.fields, "group,a.b") == 0);
    CHECK_EQ(info.held, COUNT - 1);
    CHECK_EQ(info.indexed, COUNT - 1);
    CHECK_EQ(info.damaged, 0);
    CHECK_EQ(dlht_collection_info(world.d, NULL, &info, &error), DLHT_ENOTSUP);
    CHECK_EQ(info.dim, 0);
}

int main(void)
{
    struct dlht_config config;
    struct dlht_error error;
    dlht_config_default(&config);
    config.listen = "inproc:vectors";
    config.replicas = 1;
    rng_init(&world.rng, 11);
    if (dlht_open(&config, &world.d, &error) != DLHT_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    collections_are_made();
    many_are_put();
    bad_ones_are_counted();
    searches_are_right();
    what_is_wrong_is_said();
    one_is_got_and_removed();
    the_most_are_found_by_id();
    an_answer_has_a_greatest_size();
    searches_are_right();
    many_searches_go_at_once();
    the_graph_is_built_anew();
    searches_are_right();
    CHECK_EQ(dlht_collection_drop(world.d, "docs", &error), DLHT_OK);
    CHECK_EQ(dlht_collection_drop(world.d, "docs", NULL), DLHT_ENOKEYSPACE);
    dlht_close(world.d);
    return check_done();
}
