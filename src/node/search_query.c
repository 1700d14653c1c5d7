/* SPDX-License-Identifier: Apache-2.0 */

/* Documents of searches. */

#include "node/search_query.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/op_vector.h"
#include "vector/query.h"
#include "vector/vector_record.h"

enum {
    RANGES_MAX = 65536
};

static const char K_WRONG[] = "k is a number from 1 to 10000";

void search_query_deinit(struct search_query *q)
{
    free(q->vector);
    buf_deinit(&q->id);
    buf_deinit(&q->filter_text);
    filter_free(q->filter);
    key_ranges_deinit(&q->ranges);
    *q = (struct search_query){ 0 };
}

static const char *read_filter(struct node *node, struct mp_reader *r,
                               struct search_query *q)
{
    struct meta_error error;
    if (mp_peek(r) == MP_NIL) {
        mp_read_nil(r);
        return NULL;
    }
    struct span text = mp_read_bytes(r);
    if (r->bad)
        return "a filter is str, such as \"year >= 2000 and lang = 'en'\"";
    filter_free(q->filter);
    q->filter = NULL;
    int rc = filter_compile(text, &q->filter, &error);
    if (rc == DLHT_ENOMEM) {
        q->filter_text.failed = true;
        return NULL;
    }
    if (rc != DLHT_OK) {
        size_t size = strlen(error.text) + sizeof "filter: ";
        char *said = effects_room(node->fx, size);
        if (!said)
            return "the filter is no expression";
        memcpy(said, "filter: ", sizeof "filter: ");
        strcat(said, error.text);
        return said;
    }
    buf_reset(&q->filter_text);
    buf_append_span(&q->filter_text, text);
    return NULL;
}

static const char *read_number(struct mp_reader *r, uint64_t lo, uint64_t hi,
                               uint32_t *out, const char *wrong)
{
    uint64_t n = mp_read_uint(r);
    if (r->bad || n < lo || n > hi)
        return wrong;
    *out = (uint32_t)n;
    return NULL;
}

static const char *read_id(struct mp_reader *r, struct search_query *q)
{
    struct span id = mp_read_bytes(r);
    if (r->bad || id.len == 0 || id.len > KEY_LEN_MAX)
        return "an id is bin or str of 1 to 65536 bytes";
    buf_reset(&q->id);
    buf_append_span(&q->id, id);
    return NULL;
}

int search_read_ranges(struct mp_reader *r, struct key_ranges *out, bool *news)
{
    struct key_range last = { 0 };
    size_t count = mp_read_array(r);
    if (count > RANGES_MAX)
        return DLHT_EPROTO;
    for (size_t i = 0; i < count && !r->bad; i++) {
        struct key_range range = { 0 };
        if (mp_read_array(r) != 2)
            return DLHT_EPROTO;
        range.from = mp_read_bytes(r);
        range.has_to = mp_peek(r) != MP_NIL;
        if (range.has_to)
            range.to = mp_read_bytes(r);
        else
            mp_read_nil(r);
        /* Whoever packs them has them in order; any order would cost a stranger
         * little, and us the square of their number. */
        if (r->bad ||
            (i && (!last.has_to || span_compare(last.to, range.from) > 0)))
            return DLHT_EPROTO;
        if (news && !key_ranges_has(out, &range))
            *news = true;
        if (key_ranges_add(out, &range) != DLHT_OK)
            return DLHT_ENOMEM;
        last = range;
    }
    return r->bad ? DLHT_EPROTO : DLHT_OK;
}

/* What only peers say to each other. False: it is none of that. */
static bool read_peer_field(struct span field, struct mp_reader *r,
                            struct search_query *q, bool *no_memory)
{
    int rc = DLHT_OK;
    if (span_equal(field, span_str("fresh")))
        q->fresh = mp_read_bool(r);
    else if (span_equal(field, span_str("claims")))
        q->claims = mp_read_bool(r);
    else if (!span_equal(field, span_str("ranges")))
        return false;
    else
        rc = search_read_ranges(r, &q->ranges, NULL);
    *no_memory = *no_memory || rc == DLHT_ENOMEM;
    if (rc != DLHT_OK)
        mp_fail(r);
    return true;
}

static const char *read_field(struct node *node, const struct keyspace *ks,
                              struct span field, struct mp_reader *r,
                              struct search_query *q)
{
    if (span_equal(field, span_str("vector")))
        return op_vector_read(node, r, ks, q->vector);
    if (span_equal(field, span_str("id")))
        return read_id(r, q);
    if (span_equal(field, span_str("k")))
        return read_number(r, 1, QUERY_K_MAX, &q->k, K_WRONG);
    if (span_equal(field, span_str("ef")))
        return read_number(r, 0, QUERY_EF_MAX, &q->ef,
                           "ef is a number from 0 to 100000; 0: as the "
                           "collection has it");
    if (span_equal(field, span_str("filter")))
        return read_filter(node, r, q);
    if (span_equal(field, span_str("exact")))
        q->exact = mp_read_bool(r);
    else if (span_equal(field, span_str("meta")))
        q->meta = mp_read_bool(r);
    else if (span_equal(field, span_str("vectors")))
        q->vectors = mp_read_bool(r);
    else
        mp_skip(r);
    return r->bad ? "exact, meta and vectors are true or false" : NULL;
}

static int read_doc(struct node *node, const struct keyspace *ks,
                    struct span doc, bool of_peer, struct search_query *q,
                    const char **text)
{
    struct mp_reader r;
    bool has_vector = false, no_memory = false;
    q->vector = mem_array(ks->vectors.dim, sizeof *q->vector);
    if (!q->vector)
        return DLHT_EBUSY;
    q->k = SEARCH_K;
    mp_reader_init(&r, doc);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (of_peer && read_peer_field(field, &r, q, &no_memory))
            continue;
        has_vector = has_vector || span_equal(field, span_str("vector"));
        *text = read_field(node, ks, field, &r, q);
        if (*text)
            return DLHT_EINVAL;
    }
    if (q->id.failed || q->filter_text.failed || no_memory)
        return DLHT_EBUSY;
    if (r.bad || has_vector == (q->id.len > 0)) {
        *text = "a search is a map with a vector, or the id of one that is "
                "stored, and k, ef, filter, exact, meta, vectors";
        return DLHT_EINVAL;
    }
    if (!has_vector) {
        free(q->vector);
        q->vector = NULL;
    }
    return DLHT_OK;
}

/* A client's: what the entry node asks of peers may be one hit more. */
static int check_size(const struct search_query *q, uint32_t dim,
                      const char **text)
{
    if (q->k > SEARCH_K_MAX) {
        *text = K_WRONG;
        return DLHT_EINVAL;
    }
    if (q->vectors &&
        (uint64_t)q->k * dim * sizeof(float) > SEARCH_VECTOR_BYTES_MAX) {
        *text = "so many vectors are more than 8 MiB: ask for fewer, or "
                "without them";
        return DLHT_ETOOBIG;
    }
    return DLHT_OK;
}

static int read_any(struct node *node, const struct keyspace *ks,
                    struct span doc, bool of_peer, struct search_query *out,
                    const char **text)
{
    *out = (struct search_query){ 0 };
    *text = NULL;
    int rc = read_doc(node, ks, doc, of_peer, out, text);
    if (rc == DLHT_OK && !of_peer)
        rc = check_size(out, ks->vectors.dim, text);
    if (rc != DLHT_OK)
        search_query_deinit(out);
    return rc;
}

int search_query_read(struct node *node, const struct keyspace *ks,
                      struct span doc, struct search_query *out,
                      const char **text)
{
    return read_any(node, ks, doc, false, out, text);
}

int search_query_read_peer(struct node *node, const struct keyspace *ks,
                           struct span doc, struct search_query *out,
                           const char **text)
{
    return read_any(node, ks, doc, true, out, text);
}

void search_pack_ranges(const struct key_range *ranges, size_t count,
                        struct buf *doc)
{
    mp_write_array(doc, count);
    for (size_t i = 0; i < count; i++) {
        mp_write_array(doc, 2);
        mp_write_bin(doc, ranges[i].from);
        if (ranges[i].has_to)
            mp_write_bin(doc, ranges[i].to);
        else
            mp_write_nil(doc);
    }
}

static void pack_flag(struct buf *doc, const char *name, bool value)
{
    mp_write_cstr(doc, name);
    mp_write_bool(doc, value);
}

void search_query_pack(const struct search_query *q, uint32_t dim,
                       const struct key_range *ranges, size_t count,
                       bool claims, struct buf *doc)
{
    mp_write_map(doc, (size_t)8 + claims + (q->filter_text.len > 0));
    mp_write_cstr(doc, "vector");
    mp_write_bin_header(doc, dim * sizeof(float));
    if (buf_reserve(doc, dim * sizeof(float)) != DLHT_OK) {
        doc->failed = true;
        return;
    }
    vector_record_bytes(q->vector, dim, doc->data + doc->len);
    doc->len += dim * sizeof(float);
    mp_write_cstr(doc, "k");
    mp_write_uint(doc, q->k);
    mp_write_cstr(doc, "ef");
    mp_write_uint(doc, q->ef);
    pack_flag(doc, "exact", q->exact);
    pack_flag(doc, "meta", q->meta);
    pack_flag(doc, "vectors", q->vectors);
    pack_flag(doc, "fresh", q->fresh && !claims);
    if (claims)
        pack_flag(doc, "claims", true);
    if (q->filter_text.len) {
        mp_write_cstr(doc, "filter");
        mp_write_str(doc, buf_span(&q->filter_text));
    }
    mp_write_cstr(doc, "ranges");
    search_pack_ranges(ranges, count, doc);
}
