/* SPDX-License-Identifier: Apache-2.0 */

/* What is answered about collections. Peers wrote it, so it may be anything:
 * each answer is read twice, once to know what memory it takes, once into one
 * block of memory. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "vector_doc.h"
#include "wire/mp.h"

enum {
    FLOAT_BYTES = 4
};

/* One block, given out from its front: what needs alignment first. */
struct block {
    uint8_t *at;
};

static void *block_take(struct block *block, size_t len)
{
    void *taken = block->at;
    block->at += len;
    return taken;
}

/* With a zero byte behind it. */
static char *block_text(struct block *block, struct span text)
{
    char *to = block_take(block, text.len + 1);
    if (text.len)
        memcpy(to, text.data, text.len);
    to[text.len] = 0;
    return to;
}

static float *block_floats(struct block *block, struct span bytes)
{
    float *to = block_take(block, bytes.len);
    for (size_t i = 0; i < bytes.len / FLOAT_BYTES; i++) {
        const uint8_t *p = bytes.data + i * FLOAT_BYTES;
        uint32_t bits = (uint32_t)p[0] | (uint32_t)p[1] << 8 |
                        (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        memcpy(&to[i], &bits, sizeof bits);
    }
    return to;
}

/* nil: no bytes, and *there is false. */
static struct span read_optional(struct mp_reader *r, bool *there)
{
    *there = mp_peek(r) != MP_NIL;
    if (*there)
        return mp_read_bytes(r);
    mp_read_nil(r);
    return span_empty();
}

static bool is_vector(struct span bytes)
{
    return bytes.len % FLOAT_BYTES == 0 &&
           bytes.len / FLOAT_BYTES <= DLHT_VECTOR_DIM_MAX;
}

/* A hit, still in the bytes of its answer. */
struct raw_hit {
    double distance;
    struct span meta;
    struct span values;
    bool has_meta;
    bool has_values;
};

static bool read_hit(const struct dlht_record *record, struct raw_hit *hit)
{
    struct mp_reader r;
    mp_reader_init(&r, span_of(record->value.data, record->value.len));
    if (mp_read_array(&r) < 3)
        return false;
    hit->distance = mp_read_float(&r);
    hit->meta = read_optional(&r, &hit->has_meta);
    hit->values = read_optional(&r, &hit->has_values);
    return !r.bad && is_vector(hit->values);
}

/* Fields of the summary; unknown ones are passed over. */
static bool read_summary(struct dlht_bytes document, struct dlht_hits *out)
{
    struct mp_reader r;
    mp_reader_init(&r, span_of(document.data, document.len));
    size_t pairs = mp_read_map(&r);
    for (size_t i = 0; i < pairs && !r.bad; i++) {
        struct span name = mp_read_bytes(&r);
        if (span_equal(name, span_str("partial")))
            out->partial = mp_read_bool(&r);
        else if (span_equal(name, span_str("exact")))
            out->exact = mp_read_bool(&r);
        else if (span_equal(name, span_str("arcs")))
            out->arcs = (uint32_t)mp_read_uint(&r);
        else if (span_equal(name, span_str("arcs_missing")))
            out->arcs_missing = (uint32_t)mp_read_uint(&r);
        else if (span_equal(name, span_str("peers")))
            out->peers = (uint32_t)mp_read_uint(&r);
        else if (span_equal(name, span_str("measured")))
            out->measured = mp_read_uint(&r);
        else
            mp_skip(&r);
    }
    return !r.bad;
}

static void copy_hit(struct block *floats, struct block *texts,
                     const struct dlht_record *record,
                     const struct raw_hit *raw, struct dlht_hit *hit)
{
    struct span id = span_of(record->key.data, record->key.len);
    *hit = (struct dlht_hit){ .distance = raw->distance,
                              .version = record->version };
    hit->id.data = block_text(texts, id);
    hit->id.len = id.len;
    if (raw->has_meta)
        hit->meta = block_text(texts, raw->meta);
    if (raw->has_values) {
        hit->values = block_floats(floats, raw->values);
        hit->dim = (uint32_t)(raw->values.len / FLOAT_BYTES);
    }
}

int dlht_hits_unpack(const struct dlht_result *result, struct dlht_hits *out)
{
    size_t count = result->record_count, floats = 0, texts = 0;
    struct raw_hit hit;
    *out = (struct dlht_hits){ 0 };
    if (!read_summary(result->value, out)) {
        *out = (struct dlht_hits){ 0 };
        return DLHT_EPROTO;
    }
    for (size_t i = 0; i < count; i++) {
        if (!read_hit(&result->records[i], &hit)) {
            *out = (struct dlht_hits){ 0 };
            return DLHT_EPROTO;
        }
        floats += hit.values.len;
        texts += result->records[i].key.len + hit.meta.len + 2;
    }
    out->memory = mem_array(1, count * sizeof *out->list + floats + texts);
    if (!out->memory) {
        *out = (struct dlht_hits){ 0 };
        return DLHT_ENOMEM;
    }
    struct block block = { out->memory };
    out->list = block_take(&block, count * sizeof *out->list);
    struct block floats_of = { block_take(&block, floats) };
    for (size_t i = 0; i < count; i++) {
        (void)!read_hit(&result->records[i], &hit);
        copy_hit(&floats_of, &block, &result->records[i], &hit, &out->list[i]);
    }
    out->count = count;
    return DLHT_OK;
}

void dlht_hits_free(struct dlht_hits *hits)
{
    if (!hits)
        return;
    free(hits->memory);
    *hits = (struct dlht_hits){ 0 };
}

int vector_doc_got(const struct dlht_result *result, const void *id,
                   size_t id_len, struct dlht_vector **out)
{
    struct mp_reader r;
    struct span values = span_empty(), meta = span_str("{}");
    bool there;
    *out = NULL;
    mp_reader_init(&r, span_of(result->value.data, result->value.len));
    size_t pairs = mp_read_map(&r);
    for (size_t i = 0; i < pairs && !r.bad; i++) {
        struct span name = mp_read_bytes(&r);
        if (span_equal(name, span_str("vector")))
            values = mp_read_bytes(&r);
        else if (span_equal(name, span_str("meta")))
            meta = read_optional(&r, &there);
        else
            mp_skip(&r);
    }
    if (r.bad || values.len == 0 || !is_vector(values))
        return DLHT_EPROTO;
    if (meta.len == 0)
        meta = span_str("{}");
    struct dlht_vector *v =
        mem_array(1, sizeof *v + values.len + meta.len + id_len + 2);
    if (!v)
        return DLHT_ENOMEM;
    struct block block = { (uint8_t *)(v + 1) };
    *v = (struct dlht_vector){ .version = result->version,
                               .dim = (uint32_t)(values.len / FLOAT_BYTES) };
    v->values = block_floats(&block, values);
    v->meta = block_text(&block, meta);
    v->id.data = block_text(&block, span_of(id, id_len));
    v->id.len = id_len;
    *out = v;
    return DLHT_OK;
}

void dlht_vector_free(struct dlht_vector *vector)
{
    free(vector);
}

/* Cut to the room there is. */
static void copy_text(struct span text, char *to, size_t size)
{
    size_t len = text.len < size ? text.len : size - 1;
    if (len)
        memcpy(to, text.data, len);
    to[len] = 0;
}

static void read_fields(struct mp_reader *r, char *to, size_t size)
{
    size_t count = mp_read_array(r), used = 0;
    for (size_t i = 0; i < count && !r->bad; i++) {
        struct span field = mp_read_bytes(r);
        if (used + field.len + 2 > size)
            continue;
        if (used)
            to[used++] = ',';
        copy_text(field, to + used, size - used);
        used += field.len;
    }
}

/* A number of the answer, by name; NULL: no such one. */
static uint32_t *small_number(struct dlht_collection_info *info,
                              struct span name)
{
    const struct {
        const char *name;
        uint32_t *number;
    } numbers[] = { { "dim", &info->dim },
                    { "m", &info->m },
                    { "ef_construction", &info->ef_construction },
                    { "ef", &info->ef },
                    { "arcs", &info->arcs },
                    { "arcs_scanning", &info->arcs_scanning } };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (span_equal(name, span_str(numbers[i].name)))
            return numbers[i].number;
    return NULL;
}

static uint64_t *large_number(struct dlht_collection_info *info,
                              struct span name)
{
    const struct {
        const char *name;
        uint64_t *number;
    } numbers[] = {
        { "held", &info->held },           { "indexed", &info->indexed },
        { "from_file", &info->from_file }, { "waiting", &info->waiting },
        { "damaged", &info->damaged },     { "graph_bytes", &info->graph_bytes }
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (span_equal(name, span_str(numbers[i].name)))
            return numbers[i].number;
    return NULL;
}

static char *word_of(struct dlht_collection_info *info, struct span name)
{
    if (span_equal(name, span_str("metric")))
        return info->metric;
    if (span_equal(name, span_str("quantization")))
        return info->quantization;
    return span_equal(name, span_str("index")) ? info->index : NULL;
}

static void read_info_field(struct mp_reader *r, struct span name,
                            struct dlht_collection_info *out)
{
    uint32_t *small = small_number(out, name);
    uint64_t *large = large_number(out, name);
    char *word = word_of(out, name);
    if (small)
        *small = (uint32_t)mp_read_uint(r);
    else if (large)
        *large = mp_read_uint(r);
    else if (word)
        copy_text(mp_read_bytes(r), word, DLHT_VECTOR_WORD_MAX);
    else if (span_equal(name, span_str("fields")))
        read_fields(r, out->fields, sizeof out->fields);
    else if (span_equal(name, span_str("rebuilding")))
        out->rebuilding = mp_read_bool(r);
    else
        mp_skip(r);
}

int vector_doc_info(struct dlht_bytes document,
                    struct dlht_collection_info *out)
{
    struct mp_reader r;
    *out = (struct dlht_collection_info){ 0 };
    mp_reader_init(&r, span_of(document.data, document.len));
    size_t pairs = mp_read_map(&r);
    for (size_t i = 0; i < pairs && !r.bad; i++)
        read_info_field(&r, mp_read_bytes(&r), out);
    if (!r.bad)
        return DLHT_OK;
    *out = (struct dlht_collection_info){ 0 };
    return DLHT_EPROTO;
}

/* A keyspace of the list, still in the bytes of the answer. */
struct raw_collection {
    struct span name;
    struct span metric;
    uint64_t dim;
    uint64_t replicas;
    uint64_t arcs;
    bool dropped;
};

static void read_collection(struct mp_reader *r, struct raw_collection *c)
{
    size_t pairs = mp_read_map(r);
    *c = (struct raw_collection){ .dim = 0 };
    for (size_t i = 0; i < pairs && !r->bad; i++) {
        struct span name = mp_read_bytes(r);
        if (span_equal(name, span_str("name")))
            c->name = mp_read_bytes(r);
        else if (span_equal(name, span_str("metric")))
            c->metric = mp_read_bytes(r);
        else if (span_equal(name, span_str("dim")))
            c->dim = mp_read_uint(r);
        else if (span_equal(name, span_str("replicas")))
            c->replicas = mp_read_uint(r);
        else if (span_equal(name, span_str("arcs")))
            c->arcs = mp_read_uint(r);
        else if (span_equal(name, span_str("dropped")))
            c->dropped = mp_read_bool(r);
        else
            mp_skip(r);
    }
}

/* The next one that is a collection; false: no more, or r is bad. */
static bool next_collection(struct mp_reader *r, size_t *rows,
                            struct raw_collection *c)
{
    while (*rows > 0 && !r->bad) {
        (*rows)--;
        read_collection(r, c);
        if (!r->bad && c->dim > 0 && !c->dropped)
            return true;
    }
    return false;
}

int vector_doc_list(struct dlht_bytes document, struct dlht_collections *out)
{
    struct span bytes = span_of(document.data, document.len);
    struct raw_collection raw;
    struct mp_reader r;
    size_t texts = 0, count = 0, rows;
    *out = (struct dlht_collections){ 0 };
    mp_reader_init(&r, bytes);
    for (rows = mp_read_array(&r); next_collection(&r, &rows, &raw); count++)
        texts += raw.name.len + raw.metric.len + 2;
    if (r.bad)
        return DLHT_EPROTO;
    out->memory = mem_array(1, count * sizeof *out->list + texts);
    if (!out->memory)
        return DLHT_ENOMEM;
    struct block block = { out->memory };
    out->list = block_take(&block, count * sizeof *out->list);
    mp_reader_init(&r, bytes);
    rows = mp_read_array(&r);
    while (next_collection(&r, &rows, &raw)) {
        struct dlht_collection *to = &out->list[out->count++];
        to->name = block_text(&block, raw.name);
        to->metric = block_text(&block, raw.metric);
        to->dim = (uint32_t)raw.dim;
        to->replicas = (uint32_t)raw.replicas;
        to->arcs = (uint32_t)raw.arcs;
    }
    return DLHT_OK;
}

void dlht_collections_free(struct dlht_collections *collections)
{
    if (!collections)
        return;
    free(collections->memory);
    *collections = (struct dlht_collections){ 0 };
}
