/* SPDX-License-Identifier: Apache-2.0 */

/* What dlht/vector.h packs, and what it makes of answers: of right ones, and
 * of right ones that were cut and changed. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/vector.h"
#include "net/check.h"
#include "vector_doc.h"
#include "wire/mp.h"

enum {
    DIM = 3,
    HITS = 4
};

/* Bytes in memory of their own, so that a read behind them is noticed. */
static struct dlht_bytes alone(const struct buf *b, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    if (len)
        memcpy(copy, b->data, len);
    return (struct dlht_bytes){ copy, len };
}

static void drop(struct dlht_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

static void write_summary(struct buf *b)
{
    mp_write_map(b, 4);
    mp_write_cstr(b, "partial");
    mp_write_bool(b, true);
    mp_write_cstr(b, "arcs_missing");
    mp_write_uint(b, 2);
    mp_write_cstr(b, "unknown");
    mp_write_array(b, 1);
    mp_write_map(b, 0);
    mp_write_cstr(b, "measured");
    mp_write_uint(b, 77);
}

/* i 0: bare; 1: metadata; 2: a vector; 3: both. */
static void write_hit(struct buf *b, size_t i)
{
    static const uint8_t one[4] = { 0, 0, 0x80, 0x3f };
    mp_write_array(b, 3);
    mp_write_float(b, 0.5 * (double)i);
    if (i & 1)
        mp_write_cstr(b, "{\"a\": 1}");
    else
        mp_write_nil(b);
    if (i & 2) {
        mp_write_bin_header(b, DIM * sizeof one);
        for (int k = 0; k < DIM; k++)
            buf_append(b, one, sizeof one);
    } else {
        mp_write_nil(b);
    }
}

static void check_hits(const struct dlht_hits *hits)
{
    CHECK_EQ(hits->count, HITS);
    CHECK(hits->partial && !hits->exact);
    CHECK_EQ(hits->arcs_missing, 2);
    CHECK_EQ(hits->measured, 77);
    for (size_t i = 0; i < hits->count; i++) {
        const struct dlht_hit *hit = &hits->list[i];
        CHECK(hit->id.len == 2 && memcmp(hit->id.data, "id", 3) == 0);
        CHECK(hit->distance == 0.5 * (double)i);
        CHECK_EQ(hit->meta != NULL, i & 1);
        CHECK(!hit->meta || strcmp(hit->meta, "{\"a\": 1}") == 0);
        CHECK_EQ(hit->values != NULL, i >> 1 & 1);
        CHECK(!hit->values || (hit->dim == DIM && hit->values[2] == 1.0f));
        CHECK_EQ(hit->version, 9);
    }
}

static void hits_are_read(void)
{
    struct buf summary = { 0 }, values[HITS] = { { 0 } };
    struct dlht_record records[HITS];
    struct dlht_hits hits;
    struct dlht_result result = { .records = records, .record_count = HITS };
    write_summary(&summary);
    for (size_t i = 0; i < HITS; i++) {
        write_hit(&values[i], i);
        records[i] = (struct dlht_record){ .key = { "id", 2 }, .version = 9 };
        records[i].value = alone(&values[i], values[i].len);
    }
    result.value = alone(&summary, summary.len);
    CHECK_EQ(dlht_hits_unpack(&result, &hits), DLHT_OK);
    check_hits(&hits);
    dlht_hits_free(&hits);
    CHECK(!hits.list && hits.count == 0);
    dlht_hits_free(&hits);
    dlht_hits_free(NULL);
    /* Cut anywhere, it is no answer. */
    for (size_t len = 0; len < summary.len; len++) {
        drop(result.value);
        result.value = alone(&summary, len);
        CHECK_EQ(dlht_hits_unpack(&result, &hits), DLHT_EPROTO);
        CHECK(!hits.memory && !hits.partial);
    }
    drop(result.value);
    result.value = alone(&summary, summary.len);
    for (size_t i = 0; i < HITS; i++) {
        for (size_t len = 0; len < values[i].len; len++) {
            drop(records[i].value);
            records[i].value = alone(&values[i], len);
            CHECK_EQ(dlht_hits_unpack(&result, &hits), DLHT_EPROTO);
        }
        drop(records[i].value);
        records[i].value = alone(&values[i], values[i].len);
    }
    /* Changed anywhere, it may be one. */
    struct rng rng;
    rng_init(&rng, 5);
    for (int k = 0; k < 50000; k++) {
        size_t i = rng_below(&rng, HITS);
        uint8_t *bytes = (uint8_t *)(uintptr_t)records[i].value.data;
        size_t at = rng_below(&rng, records[i].value.len);
        uint8_t before = bytes[at];
        bytes[at] = (uint8_t)rng_next(&rng);
        int rc = dlht_hits_unpack(&result, &hits);
        CHECK(rc == DLHT_OK || rc == DLHT_EPROTO);
        bytes[at] = before;
        dlht_hits_free(&hits);
    }
    for (size_t i = 0; i < HITS; i++) {
        drop(records[i].value);
        buf_deinit(&values[i]);
    }
    drop(result.value);
    buf_deinit(&summary);
}

/* One that is found, the facts of a collection, and a list of them. */
static void write_got(struct buf *b)
{
    mp_write_map(b, 3);
    mp_write_cstr(b, "vector");
    mp_write_bin(b, span_of("\0\0\200\077\0\0\0\100", 8));
    mp_write_cstr(b, "more");
    mp_write_nil(b);
    mp_write_cstr(b, "meta");
    mp_write_cstr(b, "{\"b\": 2}");
}

static void write_info(struct buf *b)
{
    mp_write_map(b, 6);
    mp_write_cstr(b, "dim");
    mp_write_uint(b, 7);
    mp_write_cstr(b, "metric");
    mp_write_cstr(b, "a metric whose name is too long");
    mp_write_cstr(b, "held");
    mp_write_uint(b, 1ull << 40);
    mp_write_cstr(b, "fields");
    mp_write_array(b, 2);
    mp_write_cstr(b, "a");
    mp_write_cstr(b, "b.c");
    mp_write_cstr(b, "later");
    mp_write_map(b, 0);
    mp_write_cstr(b, "rebuilding");
    mp_write_bool(b, true);
}

static void write_list(struct buf *b)
{
    static const char *const names[] = { "plain", "vec", "gone" };
    mp_write_array(b, 3);
    for (uint64_t i = 0; i < 3; i++) {
        mp_write_map(b, 4);
        mp_write_cstr(b, "name");
        mp_write_cstr(b, names[i]);
        mp_write_cstr(b, "dim");
        mp_write_uint(b, i * 4);
        mp_write_cstr(b, "metric");
        mp_write_cstr(b, i ? "ip" : "");
        mp_write_cstr(b, "dropped");
        mp_write_bool(b, i == 2);
    }
}

static int read_got(struct dlht_bytes bytes, bool whole)
{
    struct dlht_result result = { .value = bytes, .version = 3 };
    struct dlht_vector *v;
    int rc = vector_doc_got(&result, "me", 2, &v);
    CHECK_EQ(rc == DLHT_OK, v != NULL);
    if (whole && v) {
        CHECK(v->dim == 2 && v->values[0] == 1.0f && v->values[1] == 2.0f);
        CHECK(strcmp(v->meta, "{\"b\": 2}") == 0);
        CHECK(v->id.len == 2 && memcmp(v->id.data, "me", 2) == 0);
        CHECK_EQ(v->version, 3);
    }
    dlht_vector_free(v);
    return rc;
}

static int read_info(struct dlht_bytes bytes, bool whole)
{
    struct dlht_collection_info info;
    int rc = vector_doc_info(bytes, &info);
    if (whole) {
        CHECK_EQ(info.dim, 7);
        CHECK(strcmp(info.metric, "a metric whose ") == 0);
        CHECK_EQ(info.held, 1ll << 40);
        CHECK(strcmp(info.fields, "a,b.c") == 0);
        CHECK(info.rebuilding);
    }
    return rc;
}

static int read_list(struct dlht_bytes bytes, bool whole)
{
    struct dlht_collections all;
    int rc = vector_doc_list(bytes, &all);
    if (whole) {
        CHECK_EQ(all.count, 1);
        CHECK(strcmp(all.list[0].name, "vec") == 0);
        CHECK(strcmp(all.list[0].metric, "ip") == 0);
        CHECK_EQ(all.list[0].dim, 4);
    }
    dlht_collections_free(&all);
    return rc;
}

/* Whole, cut anywhere, and changed. */
static void answers_are_read(void (*write)(struct buf *b),
                             int (*read)(struct dlht_bytes bytes, bool whole))
{
    struct buf b = { 0 };
    struct rng rng;
    write(&b);
    struct dlht_bytes bytes = alone(&b, b.len);
    CHECK_EQ(read(bytes, true), DLHT_OK);
    rng_init(&rng, 6);
    for (int k = 0; k < 30000; k++) {
        size_t at = rng_below(&rng, bytes.len);
        ((uint8_t *)(uintptr_t)bytes.data)[at] = (uint8_t)rng_next(&rng);
        int rc = read(bytes, false);
        CHECK(rc == DLHT_OK || rc == DLHT_EPROTO);
        ((uint8_t *)(uintptr_t)bytes.data)[at] = b.data[at];
    }
    drop(bytes);
    for (size_t len = 0; len < b.len; len++) {
        bytes = alone(&b, len);
        CHECK_EQ(read(bytes, false), DLHT_EPROTO);
        drop(bytes);
    }
    buf_deinit(&b);
}

/* What is wrong is refused here, with a sentence, before anything is sent. */
static void bad_vectors_are_refused(void)
{
    static const float good[] = { 1, 2, 3 }, bad[] = { 1, NAN, 3 },
                       far[] = { 1, 2, -INFINITY };
    static char long_id[(64 << 10) + 1];
    const struct {
        struct dlht_vector vector;
        int rc;
        const char *text;
    } cases[] = {
        { { .id = { "a", 1 }, .values = good, .dim = 3 }, DLHT_OK, "" },
        { { .id = { "", 0 }, .values = good, .dim = 3 },
          DLHT_EINVAL,
          "the id is empty; ids are 1 byte to 64 KiB" },
        { { .id = { long_id, sizeof long_id }, .values = good, .dim = 3 },
          DLHT_ETOOBIG,
          "the id is 65537 bytes; ids are 1 byte to 64 KiB" },
        { { .id = { "a", 1 }, .values = good, .dim = 0 },
          DLHT_EINVAL,
          "the vector has no numbers" },
        { { .id = { "a", 1 }, .values = good, .dim = 16385 },
          DLHT_EINVAL,
          "the vector has 16385 numbers; at most 16384 are meant" },
        { { .id = { "a", 1 }, .values = bad, .dim = 3 },
          DLHT_EINVAL,
          "the vector holds NaN at position 1" },
        { { .id = { "a", 1 }, .values = far, .dim = 3 },
          DLHT_EINVAL,
          "the vector holds infinity at position 2" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = { 0 };
        struct dlht_packed packed;
        struct dlht_error error = { .code = DLHT_OK };
        CHECK_EQ(vector_doc_put(&cases[i].vector, &b, &error), cases[i].rc);
        CHECK_EQ(error.code, cases[i].rc);
        if (strcmp(error.text, cases[i].text) != 0)
            fprintf(stderr, "'%s' is not '%s'\n", error.text, cases[i].text);
        CHECK(strcmp(error.text, cases[i].text) == 0);
        CHECK_EQ(dlht_vector_pack(NULL, &cases[i].vector, &packed),
                 cases[i].rc);
        CHECK_EQ(packed.memory != NULL, cases[i].rc == DLHT_OK);
        dlht_packed_free(&packed);
        buf_deinit(&b);
    }
}

static void bad_searches_are_refused(void)
{
    static const float v[] = { 1, 2, 3 };
    const struct {
        struct dlht_search search;
        int rc;
    } cases[] = {
        { { .values = v, .dim = 3 }, DLHT_OK },
        { { .id = { "a", 1 } }, DLHT_OK },
        { { .values = v, .dim = 3, .filter = "a = 1", .k = 10000 }, DLHT_OK },
        { { .values = v, .dim = 3, .id = { "a", 1 } }, DLHT_EINVAL },
        { { .values = v, .dim = 3, .k = 10001 }, DLHT_EINVAL },
        { { .k = 3 }, DLHT_EINVAL },
    };
    struct dlht_options options = { .keyspace = "c",
                                    .stale = true,
                                    .timeout_ms = 7 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dlht_packed packed;
        CHECK_EQ(dlht_search_pack(&options, &cases[i].search, &packed),
                 cases[i].rc);
        if (cases[i].rc == DLHT_OK) {
            const struct dlht_request *q = &packed.request;
            CHECK_EQ(q->op, DLHT_OP_SEARCH);
            CHECK(strcmp(q->keyspace, "c") == 0 && q->stale);
            CHECK_EQ(q->timeout_ms, 7);
            CHECK(q->document.len > 0);
        }
        dlht_packed_free(&packed);
        CHECK(packed.memory == NULL);
    }
}

/* The golden bytes of a put: writers of other languages send the same. */
static void a_put_has_these_bytes(void)
{
    static const float values[] = { 1, -2.5f };
    static const uint8_t golden[] = "\x82\xa6vector\xc4\x08\0\0\x80\x3f\0\0"
                                    "\x20\xc0\xa4meta\xa2{}";
    struct dlht_vector v = {
        .id = { "a", 1 }, .values = values, .dim = 2, .meta = "{}"
    };
    struct dlht_packed packed;
    CHECK_EQ(dlht_vector_pack(NULL, &v, &packed), DLHT_OK);
    CHECK_EQ(packed.request.op, DLHT_OP_VECTOR_PUT);
    CHECK_EQ(packed.request.document.len, sizeof golden - 1);
    CHECK(memcmp(packed.request.document.data, golden, sizeof golden - 1) == 0);
    dlht_packed_free(&packed);
}

int main(void)
{
    hits_are_read();
    answers_are_read(write_got, read_got);
    answers_are_read(write_info, read_info);
    answers_are_read(write_list, read_list);
    bad_vectors_are_refused();
    bad_searches_are_refused();
    a_put_has_these_bytes();
    return check_done();
}
