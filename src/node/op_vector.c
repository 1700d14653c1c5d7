/* SPDX-License-Identifier: Apache-2.0 */

/* Vectors as records. */

#include "node/op_vector.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/collections.h"
#include "node/op.h"
#include "node/replica.h"
#include "vector/vector_record.h"
#include "wire/cas_item.h"

static bool is_of_vectors(uint8_t op)
{
    return op == OP_VECTOR_PUT || op == OP_VECTOR_GET || op == OP_SEARCH ||
           op == OP_VECTORS;
}

/* Text that lives as long as the step. */
static const char *keep_text(struct node *node, const char *text)
{
    size_t size = strlen(text) + 1;
    char *kept = effects_room(node->fx, size);
    if (!kept)
        return "the vector is refused";
    memcpy(kept, text, size);
    return kept;
}

static int check_value(struct node *node, const struct keyspace *ks,
                       struct span value, float *room, const char **text)
{
    char said[VECTOR_RECORD_TEXT_MAX];
    int rc = vector_record_check(value, ks->vectors.metric, ks->vectors.dim,
                                 room, said);
    if (rc != DLHT_OK)
        *text = keep_text(node, said);
    return rc;
}

/* All values that the request writes. */
static int check_values(struct node *node, const struct request *q,
                        const struct keyspace *ks, float *room,
                        const char **text)
{
    struct mp_reader r;
    int rc = DLHT_OK;
    if (q->op == OP_PUT || q->op == OP_CAS)
        return check_value(node, ks, q->value, room, text);
    mp_reader_init(&r, q->list);
    if (q->op == OP_BATCH) {
        for (uint32_t i = 0; rc == DLHT_OK && i < q->list_count; i += 2) {
            (void)mp_read_bytes(&r);
            rc = check_value(node, ks, mp_read_bytes(&r), room, text);
        }
    } else if (q->op == OP_CAS_BATCH) {
        for (uint32_t i = 0; rc == DLHT_OK && i < q->list_count;
             i += CAS_ITEM_BINS) {
            struct cas_item item = cas_item_read(&r);
            if (!item.remove && !item.check)
                rc = check_value(node, ks, item.value, room, text);
        }
    }
    return rc;
}

bool op_vector_allows(struct node *node, const struct request *q,
                      const struct keyspace *ks, const struct origin *origin)
{
    const char *text = NULL;
    if (ks->vectors.dim == 0) {
        if (is_of_vectors(q->op))
            node_answer_status(node, origin, DLHT_ENOTSUP,
                               "this keyspace is no collection of vectors; "
                               "vector create makes one");
        return !is_of_vectors(q->op);
    }
    float *room = effects_room(node->fx, ks->vectors.dim * sizeof *room);
    int rc = room ? check_values(node, q, ks, room, &text) : DLHT_EBUSY;
    if (rc != DLHT_OK)
        node_answer_status(node, origin, rc, text);
    return rc == DLHT_OK;
}

static const char *wrong_dim(struct node *node, size_t dim,
                             const struct keyspace *ks)
{
    char text[VECTOR_RECORD_TEXT_MAX];
    snprintf(text, sizeof text,
             "the vector has %zu dimensions, the collection %u", dim,
             ks->vectors.dim);
    return keep_text(node, text);
}

const char *op_vector_read(struct node *node, struct mp_reader *r,
                           const struct keyspace *ks, float *out)
{
    uint32_t dim = ks->vectors.dim;
    struct metric_fault fault;
    if (mp_peek(r) == MP_ARRAY) {
        size_t count = mp_read_array(r);
        if (!r->bad && count != dim)
            return wrong_dim(node, count, ks);
        for (size_t i = 0; i < count && !r->bad; i++) {
            double number = mp_read_float(r);
            out[i] = (float)number;
            if (isinf(out[i]) && !isinf(number))
                return "a number of the vector is too great for float32";
        }
    } else {
        struct span bytes = mp_read_bytes(r);
        if (!r->bad && bytes.len % sizeof(float))
            return "a vector's bytes are float32 numbers, four bytes each";
        if (!r->bad && bytes.len / sizeof(float) != dim)
            return wrong_dim(node, bytes.len / sizeof(float), ks);
        if (!r->bad)
            vector_record_floats(bytes.data, dim, out);
    }
    if (r->bad)
        return "a vector is bin of little-endian float32, or an array of "
               "numbers";
    if (metric_check(ks->vectors.metric, out, dim, &fault) == DLHT_OK)
        return NULL;
    char text[VECTOR_RECORD_TEXT_MAX];
    vector_record_explain(&fault, text);
    return keep_text(node, text);
}

static const char *meta_wrong(struct node *node, const struct meta_error *error)
{
    char text[META_ERROR_MAX + 16];
    snprintf(text, sizeof text, "metadata: %s", error->text);
    return keep_text(node, text);
}

/* The document of a put, as a record; text says what is wrong. */
static int read_put(struct node *node, const struct request *q,
                    const struct keyspace *ks, struct buf *record,
                    const char **text)
{
    struct mp_reader r;
    struct meta_error error;
    struct buf meta = { 0 };
    bool there = false;
    float *vector = effects_room(node->fx, ks->vectors.dim * sizeof *vector);
    if (!vector)
        return DLHT_EBUSY;
    mp_reader_init(&r, q->value);
    int rc = DLHT_OK;
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("vector"))) {
            *text = op_vector_read(node, &r, ks, vector);
            there = true;
        } else if (span_equal(field, span_str("meta")) &&
                   mp_peek(&r) != MP_NIL) {
            buf_reset(&meta);
            rc = meta_parse(mp_read_bytes(&r), &meta, &error);
            if (r.bad)
                *text = "metadata is str, a JSON object";
            else if (rc != DLHT_OK && rc != DLHT_ENOMEM)
                *text = meta_wrong(node, &error);
        } else {
            mp_skip(&r);
        }
        if (*text || rc != DLHT_OK)
            break;
    }
    if (!*text && (r.bad || !there))
        *text = "what is put is a map of vector and meta";
    if (!*text && rc == DLHT_OK)
        vector_record_pack(vector, ks->vectors.dim, buf_span(&meta), record);
    buf_deinit(&meta);
    if (rc == DLHT_ENOMEM || record->failed)
        return DLHT_EBUSY;
    return *text ? DLHT_EINVAL : DLHT_OK;
}

void op_vector_put_begin(struct node *node, const struct request *request,
                         const struct keyspace *ks, const struct origin *origin)
{
    struct buf record = { 0 };
    const char *text = NULL;
    int rc = read_put(node, request, ks, &record, &text);
    if (rc != DLHT_OK) {
        node_answer_status(node, origin, rc, text);
    } else {
        struct request q = *request;
        q.op = OP_PUT;
        q.value = buf_span(&record);
        op_record_begin(node, &q, ks, origin);
    }
    buf_deinit(&record);
}

struct getting {
    struct origin origin;
};

static void got(struct node *node, void *context,
                const struct response *response)
{
    struct getting *g = context;
    struct response out = *response;
    struct vector_record record;
    struct buf doc = { 0 }, json = { 0 };
    if (response->status == DLHT_OK &&
        vector_record_open(response->value, &record) == DLHT_OK) {
        meta_print(record.meta, &json);
        mp_write_map(&doc, 2);
        mp_write_cstr(&doc, "vector");
        mp_write_bin(&doc, span_of(record.floats, record.dim * sizeof(float)));
        mp_write_cstr(&doc, "meta");
        mp_write_str(&doc, buf_span(&json));
        out.value = buf_span(&doc);
        if (doc.failed || json.failed) {
            out = (struct response){ .status = DLHT_EBUSY };
        }
    } else if (response->status == DLHT_OK) {
        out = (struct response){ .status = DLHT_ECORRUPT };
        out.text = span_str("the record is no vector");
    }
    node_answer(node, &g->origin, &out);
    buf_deinit(&doc);
    buf_deinit(&json);
    free(g);
}

void op_vector_get_begin(struct node *node, const struct request *request,
                         const struct keyspace *ks, const struct origin *origin)
{
    struct request q = *request;
    q.op = OP_GET;
    q.value = span_empty();
    if (ks->record.placement == PLACEMENT_HASHED)
        q.key = op_hashed_key(node, q.key);
    struct getting *g = mem_zero(1, sizeof *g);
    struct pending_target target = { .done = got, .context = g };
    if (g)
        g->origin = *origin;
    if (!g || q.key.len == 0 ||
        pending_begin(node, &q, op_deadline_ns(node, &q), &target) != DLHT_OK) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        free(g);
    }
}

static void write_number(struct buf *doc, const char *name, uint64_t value)
{
    mp_write_cstr(doc, name);
    mp_write_uint(doc, value);
}

static void write_text(struct buf *doc, const char *name, const char *value)
{
    mp_write_cstr(doc, name);
    mp_write_cstr(doc, value);
}

static void write_info(struct node *node, const struct keyspace *ks,
                       struct buf *doc)
{
    const struct vector_settings *s = &ks->vectors;
    struct node_collection *nc = collections_find(node, ks->record.id);
    struct collection_info info = { 0 };
    struct span fields[VECTOR_FIELDS_MAX];
    size_t field_count = vector_settings_fields(s, fields);
    uint64_t held = 0, arcs = 0;
    if (nc)
        collection_info(collections_of(nc), &info);
    for (size_t i = 0; i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        if (r->keyspace != ks->record.id || r->empty)
            continue;
        held += replica_key_count(r);
        arcs++;
    }
    mp_write_map(doc, 17);
    write_number(doc, "dim", s->dim);
    write_text(doc, "metric", metric_name(s->metric));
    write_number(doc, "m", s->m);
    write_number(doc, "ef_construction", s->ef_construction);
    write_number(doc, "ef", s->ef);
    write_text(doc, "quantization", vector_settings_quantization(s->codes));
    write_text(doc, "index", index_backend_name(s->backend));
    mp_write_cstr(doc, "fields");
    mp_write_array(doc, field_count);
    for (size_t i = 0; i < field_count; i++)
        mp_write_str(doc, fields[i]);
    write_number(doc, "held", held);
    write_number(doc, "indexed", info.indexed);
    write_number(doc, "waiting", info.waiting);
    write_number(doc, "damaged", info.damaged);
    write_number(doc, "graph_bytes", info.index_bytes);
    write_number(doc, "from_file", info.claimed);
    write_number(doc, "arcs", arcs);
    write_number(doc, "arcs_scanning",
                 collections_reading(node, ks->record.id));
    mp_write_cstr(doc, "rebuilding");
    mp_write_bool(doc, info.rebuilding);
}

static void answer_info(struct node *node, const struct keyspace *ks,
                        const struct origin *origin)
{
    struct buf doc = { 0 };
    write_info(node, ks, &doc);
    struct response response = { .status = doc.failed ? DLHT_EBUSY : DLHT_OK,
                                 .value = buf_span(&doc) };
    node_answer(node, origin, &response);
    buf_deinit(&doc);
}

static void rebuild(struct node *node, const struct keyspace *ks,
                    const struct origin *origin)
{
    struct node_collection *nc = collections_find(node, ks->record.id);
    int rc = nc ? collections_rebuild(node, nc) : DLHT_OK;
    const char *text = NULL;
    if (rc == DLHT_EBUSY)
        text = "this node's graph is being rebuilt already";
    else if (rc == DLHT_ENOTSUP)
        text = "an exact index has no graph to rebuild";
    else if (rc == DLHT_ENOMEM)
        rc = DLHT_EBUSY;
    node_answer_status(node, origin, rc, text);
}

void op_vectors_begin(struct node *node, const struct request *request,
                      const struct keyspace *ks, const struct origin *origin)
{
    struct mp_reader r;
    struct span action = span_empty();
    mp_reader_init(&r, request->value);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        if (span_equal(mp_read_bytes(&r), span_str("action")))
            action = mp_read_bytes(&r);
        else
            mp_skip(&r);
    }
    if (!r.bad && span_equal(action, span_str("info")))
        answer_info(node, ks, origin);
    else if (!r.bad && span_equal(action, span_str("rebuild")))
        rebuild(node, ks, origin);
    else
        node_answer_status(node, origin, DLHT_EINVAL,
                           "the action is info or rebuild");
}
