/* SPDX-License-Identifier: Apache-2.0 */

/* Collections that answer from an array. A stored value is the vector's floats
 * and then its metadata. */

#include "fake_vectors.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "vector/filter.h"
#include "vector/meta.h"
#include "vector/metric.h"
#include "wire/mp.h"

enum {
    DIM = 3,
    BYTES = DIM * sizeof(float)
};

/* A document that was sent. */
struct asked {
    float vector[DIM];
    size_t dim; /* 0: none */
    struct span id;
    struct span meta;
    struct span filter;
    struct span action;
    uint64_t k;
    bool exact, with_meta, with_values;
};

struct hit {
    const struct dlht_record *record;
    double distance;
};

static struct buf value_room;
static struct buf hits_room;
static struct dlht_record *hit_records;
static char text_room[320];
static int rebuild_asked;

bool fake_vectors_has(const char *keyspace)
{
    return strcmp(keyspace, "l2") == 0 || strcmp(keyspace, "cos") == 0 ||
           strcmp(keyspace, "odd") == 0;
}

static enum metric metric_of(const struct dlht_request *request)
{
    return strcmp(request->keyspace, "cos") == 0 ? METRIC_COSINE : METRIC_L2;
}

static void read_vector(struct mp_reader *r, struct asked *asked)
{
    struct span bytes = mp_read_bytes(r);

    asked->dim = bytes.len / sizeof(float);
    if (asked->dim == DIM)
        memcpy(asked->vector, bytes.data, BYTES);
}

static struct asked read_document(const struct dlht_request *request)
{
    struct asked asked = { .dim = 0 };
    struct mp_reader r;
    size_t pairs;

    mp_reader_init(&r, span_of(request->document.data, request->document.len));
    pairs = mp_read_map(&r);
    for (size_t i = 0; i < pairs; i++) {
        struct span name = mp_read_bytes(&r);
        if (span_equal(name, span_str("vector")))
            read_vector(&r, &asked);
        else if (span_equal(name, span_str("id")))
            asked.id = mp_read_bytes(&r);
        else if (span_equal(name, span_str("filter")))
            asked.filter = mp_read_bytes(&r);
        else if (span_equal(name, span_str("action")))
            asked.action = mp_read_bytes(&r);
        else if (span_equal(name, span_str("k")))
            asked.k = mp_read_uint(&r);
        else if (span_equal(name, span_str("exact")))
            asked.exact = mp_read_bool(&r);
        else if (span_equal(name, span_str("vectors")))
            asked.with_values = mp_read_bool(&r);
        else if (span_equal(name, span_str("meta")) && mp_peek(&r) == MP_BOOL)
            asked.with_meta = mp_read_bool(&r);
        else if (span_equal(name, span_str("meta")))
            asked.meta = mp_read_bytes(&r);
        else
            mp_skip(&r);
    }
    assert(!r.bad && mp_at_end(&r));
    return asked;
}

static void refuse(struct dlht_result *result, const char *text)
{
    snprintf(text_room, sizeof(text_room), "%s", text);
    result->status = DLHT_EINVAL;
    result->text = text_room;
}

static bool check_vector(const struct dlht_request *request,
                         const struct asked *asked, struct dlht_result *result)
{
    struct metric_fault fault;
    char text[200];

    if (asked->dim != DIM) {
        snprintf(text, sizeof(text),
                 "the vector has %zu dimensions, the collection %d", asked->dim,
                 DIM);
        refuse(result, text);
        return false;
    }
    if (metric_check(metric_of(request), asked->vector, DIM, &fault) == DLHT_OK)
        return true;
    snprintf(text, sizeof(text), "the vector %s", fault.what);
    refuse(result, text);
    return false;
}

bool fake_vectors_put(const struct dlht_request *request,
                      struct dlht_bytes *value, struct dlht_result *result)
{
    struct asked asked = read_document(request);
    struct meta_error error;

    if (!check_vector(request, &asked, result))
        return false;
    buf_reset(&value_room);
    buf_append(&value_room, asked.vector, BYTES);
    if (asked.meta.len &&
        meta_parse(asked.meta, &value_room, &error) != DLHT_OK) {
        refuse(result, error.text);
        return false;
    }
    *value = (struct dlht_bytes){ value_room.data, value_room.len };
    return true;
}

static struct meta meta_of(const struct dlht_record *record)
{
    return meta_trust(span_of((const uint8_t *)record->value.data + BYTES,
                              record->value.len - BYTES));
}

static void write_meta(struct buf *b, const struct dlht_record *record)
{
    struct buf text = { 0 };

    meta_print(meta_of(record), &text);
    mp_write_str(b, buf_span(&text));
    buf_deinit(&text);
}

void fake_vectors_get(const struct dlht_record *record,
                      struct dlht_result *result)
{
    buf_reset(&value_room);
    mp_write_map(&value_room, 2);
    mp_write_cstr(&value_room, "vector");
    mp_write_bin(&value_room, span_of(record->value.data, BYTES));
    mp_write_cstr(&value_room, "meta");
    write_meta(&value_room, record);
    result->version = record->version;
    result->value = (struct dlht_bytes){ value_room.data, value_room.len };
}

static double distance(enum metric metric, const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0, d = 0;

    for (int i = 0; i < DIM; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
        d += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    }
    return metric == METRIC_L2 ? d : 1 - ab / __builtin_sqrt(aa * bb);
}

static int by_distance(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;

    return (x->distance > y->distance) - (x->distance < y->distance);
}

/* Each hit's value into one buf; where each ends is in its length until all
 * are written, since bytes move. */
static void write_hits(const struct asked *asked, const struct hit *hits,
                       size_t count, struct dlht_result *result)
{
    const uint8_t *at;

    buf_reset(&hits_room);
    free(hit_records);
    hit_records = calloc(count + 1, sizeof(*hit_records));
    assert(hit_records);
    for (size_t i = 0; i < count; i++) {
        size_t before = hits_room.len;
        mp_write_array(&hits_room, 3);
        mp_write_float(&hits_room, hits[i].distance);
        if (asked->with_meta)
            write_meta(&hits_room, hits[i].record);
        else
            mp_write_nil(&hits_room);
        if (asked->with_values)
            mp_write_bin(&hits_room,
                         span_of(hits[i].record->value.data, BYTES));
        else
            mp_write_nil(&hits_room);
        hit_records[i] = *hits[i].record;
        hit_records[i].value.len = hits_room.len - before;
    }
    at = hits_room.data;
    for (size_t i = 0; i < count; i++) {
        hit_records[i].value.data = at;
        at += hit_records[i].value.len;
    }
    result->records = hit_records;
    result->record_count = count;
}

static void write_summary(bool partial, bool exact, struct dlht_result *result)
{
    struct buf *b = &value_room;

    buf_reset(b);
    mp_write_map(b, 7);
    mp_write_cstr(b, "partial");
    mp_write_bool(b, partial);
    mp_write_cstr(b, "arcs");
    mp_write_uint(b, 12);
    mp_write_cstr(b, "arcs_missing");
    mp_write_uint(b, partial ? 2 : 0);
    mp_write_cstr(b, "peers");
    mp_write_uint(b, 3);
    mp_write_cstr(b, "exact");
    mp_write_bool(b, exact);
    mp_write_cstr(b, "of_a_later_version");
    mp_write_array(b, 0);
    mp_write_cstr(b, "measured");
    mp_write_uint(b, 1000);
    result->value = (struct dlht_bytes){ b->data, b->len };
}

/* The vector stored under the id that is asked for. */
static bool take_stored(struct asked *asked, const struct dlht_record *records,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct span key = span_of(records[i].key.data, records[i].key.len);
        if (!span_equal(key, asked->id))
            continue;
        memcpy(asked->vector, records[i].value.data, BYTES);
        asked->dim = DIM;
        return true;
    }
    return false;
}

static size_t gather(const struct dlht_request *request,
                     const struct asked *asked, const struct filter *filter,
                     const struct dlht_record *records, size_t count,
                     struct hit *hits)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        struct span key = span_of(records[i].key.data, records[i].key.len);
        float values[DIM];
        if (asked->id.len && span_equal(key, asked->id))
            continue;
        if (filter && !filter_match(filter, meta_of(&records[i])))
            continue;
        memcpy(values, records[i].value.data, BYTES);
        hits[n].record = &records[i];
        hits[n++].distance =
            distance(metric_of(request), asked->vector, values);
    }
    qsort(hits, n, sizeof(*hits), by_distance);
    return n;
}

void fake_vectors_search(const struct dlht_request *request,
                         const struct dlht_record *records, size_t count,
                         struct dlht_result *result)
{
    struct asked asked = read_document(request);
    struct hit *hits = calloc(count + 1, sizeof(*hits));
    struct filter *filter = NULL;
    struct meta_error error;
    size_t n;

    assert(hits);
    if (asked.filter.len &&
        filter_compile(asked.filter, &filter, &error) != DLHT_OK) {
        refuse(result, error.text);
    } else if (asked.id.len && !take_stored(&asked, records, count)) {
        result->status = DLHT_ENOTFOUND;
    } else if (check_vector(request, &asked, result)) {
        n = gather(request, &asked, filter, records, count, hits);
        write_hits(&asked, hits, n < asked.k ? n : asked.k, result);
        write_summary(
            asked.filter.len &&
                memmem(asked.filter.data, asked.filter.len, "partial", 7),
            asked.exact, result);
    }
    if (strcmp(request->keyspace, "odd") == 0)
        result->value.len /= 2;
    filter_free(filter);
    free(hits);
}

static void pair(struct buf *b, const char *name, uint64_t number)
{
    mp_write_cstr(b, name);
    mp_write_uint(b, number);
}

static void word(struct buf *b, const char *name, const char *text)
{
    mp_write_cstr(b, name);
    mp_write_cstr(b, text);
}

void fake_vectors_act(const struct dlht_request *request, size_t count,
                      struct dlht_result *result)
{
    struct asked asked = read_document(request);
    struct buf *b = &value_room;

    buf_reset(b);
    if (span_equal(asked.action, span_str("rebuild"))) {
        rebuild_asked = 2;
        return;
    }
    mp_write_map(b, 15);
    pair(b, "dim", DIM);
    word(b, "metric", metric_name(metric_of(request)));
    pair(b, "m", 16);
    pair(b, "ef_construction", 200);
    pair(b, "ef", 64);
    word(b, "quantization", "int8");
    word(b, "index", "hnsw");
    mp_write_cstr(b, "fields");
    mp_write_array(b, 2);
    mp_write_cstr(b, "lang");
    mp_write_cstr(b, "a.b");
    pair(b, "held", 2 * count);
    pair(b, "indexed", count);
    pair(b, "waiting", count);
    pair(b, "damaged", 0);
    pair(b, "graph_bytes", 2048);
    pair(b, "arcs", 4);
    mp_write_cstr(b, "rebuilding");
    mp_write_bool(b, rebuild_asked && --rebuild_asked);
    result->value = (struct dlht_bytes){ b->data, b->len };
    if (strcmp(request->keyspace, "odd") == 0)
        result->value.len--;
}

void fake_vectors_forget(void)
{
    buf_deinit(&value_room);
    buf_deinit(&hits_room);
    free(hit_records);
    hit_records = NULL;
}
