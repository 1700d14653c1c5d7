/* SPDX-License-Identifier: Apache-2.0 */

/* What is asked of collections, as documents. */

#include "vector_doc.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wire/mp.h"

enum {
    ID_LEN_MAX = 64 << 10,
    NAME_LEN_MAX = 64,
    FIELD_LEN_MAX = 255,
    NUMBER_TEXT_MAX = 16
};

int vector_doc_fault(struct dlht_error *error, int code, const char *format,
                     ...)
{
    va_list args;
    if (!error)
        return code;
    error->code = code;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return code;
}

static int end_of(const struct buf *out, struct dlht_error *error)
{
    return out->failed ? vector_doc_fault(error, DLHT_ENOMEM, "out of memory")
                       : DLHT_OK;
}

static int check_id(struct dlht_bytes id, struct dlht_error *error)
{
    if (id.len == 0)
        return vector_doc_fault(error, DLHT_EINVAL,
                                "the id is empty; ids are 1 byte to 64 KiB");
    if (id.len > ID_LEN_MAX)
        return vector_doc_fault(error, DLHT_ETOOBIG,
                                "the id is %zu bytes; ids are 1 byte to 64 KiB",
                                id.len);
    return DLHT_OK;
}

static int check_values(const float *values, uint32_t dim,
                        struct dlht_error *error)
{
    if (!values || dim == 0)
        return vector_doc_fault(error, DLHT_EINVAL,
                                "the vector has no numbers");
    if (dim > DLHT_VECTOR_DIM_MAX)
        return vector_doc_fault(error, DLHT_EINVAL,
                                "the vector has %" PRIu32
                                " numbers; at most %d are meant",
                                dim, DLHT_VECTOR_DIM_MAX);
    for (uint32_t i = 0; i < dim; i++)
        if (!isfinite(values[i]))
            return vector_doc_fault(error, DLHT_EINVAL,
                                    "the vector holds %s at position %" PRIu32,
                                    isnan(values[i]) ? "NaN" : "infinity", i);
    return DLHT_OK;
}

/* float32, little-endian, whatever this machine is. */
static void write_values(struct buf *out, const float *values, uint32_t dim)
{
    size_t len = (size_t)dim * sizeof *values;
    mp_write_bin_header(out, len);
    uint8_t *to = mp_room(out, len);
    for (uint32_t i = 0; to && i < dim; i++, to += sizeof *values) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        to[0] = (uint8_t)bits;
        to[1] = (uint8_t)(bits >> 8);
        to[2] = (uint8_t)(bits >> 16);
        to[3] = (uint8_t)(bits >> 24);
    }
    if (!out->failed)
        out->len += len;
}

int vector_doc_put(const struct dlht_vector *vector, struct buf *out,
                   struct dlht_error *error)
{
    int rc = check_id(vector->id, error);
    if (rc == DLHT_OK)
        rc = check_values(vector->values, vector->dim, error);
    size_t meta_len = vector->meta ? strlen(vector->meta) : 0;
    if (rc == DLHT_OK && meta_len > DLHT_VECTOR_META_MAX)
        rc = vector_doc_fault(error, DLHT_ETOOBIG,
                              "the metadata is %zu bytes; at most %d are meant",
                              meta_len, DLHT_VECTOR_META_MAX);
    if (rc != DLHT_OK)
        return rc;
    mp_write_map(out, vector->meta ? 2 : 1);
    mp_write_cstr(out, "vector");
    write_values(out, vector->values, vector->dim);
    if (vector->meta) {
        mp_write_cstr(out, "meta");
        mp_write_cstr(out, vector->meta);
    }
    return end_of(out, error);
}

static int check_search(const struct dlht_search *search,
                        struct dlht_error *error)
{
    if (search->id.len && search->values)
        return vector_doc_fault(error, DLHT_EINVAL,
                                "a vector or an id is meant, not both");
    if (search->k > DLHT_VECTOR_K_MAX)
        return vector_doc_fault(error, DLHT_EINVAL,
                                "k is %" PRIu32 "; at most %d are meant",
                                search->k, DLHT_VECTOR_K_MAX);
    if (search->filter && strlen(search->filter) > DLHT_VECTOR_FILTER_MAX)
        return vector_doc_fault(error, DLHT_ETOOBIG,
                                "the filter is over %d bytes",
                                DLHT_VECTOR_FILTER_MAX);
    return search->id.len ? check_id(search->id, error)
                          : check_values(search->values, search->dim, error);
}

static void write_uint(struct buf *out, const char *name, uint64_t value)
{
    mp_write_cstr(out, name);
    mp_write_uint(out, value);
}

static void write_flag(struct buf *out, const char *name, bool value)
{
    mp_write_cstr(out, name);
    mp_write_bool(out, value);
}

int vector_doc_search(const struct dlht_search *search, struct buf *out,
                      struct dlht_error *error)
{
    int rc = check_search(search, error);
    if (rc != DLHT_OK)
        return rc;
    mp_write_map(out, 6 + (search->filter != NULL));
    if (search->id.len) {
        mp_write_cstr(out, "id");
        mp_write_bin(out, span_of(search->id.data, search->id.len));
    } else {
        mp_write_cstr(out, "vector");
        write_values(out, search->values, search->dim);
    }
    write_uint(out, "k", search->k ? search->k : DLHT_VECTOR_K_DEFAULT);
    write_uint(out, "ef", search->ef);
    write_flag(out, "exact", search->exact);
    write_flag(out, "meta", search->with_meta);
    write_flag(out, "vectors", search->with_values);
    if (search->filter) {
        mp_write_cstr(out, "filter");
        mp_write_cstr(out, search->filter);
    }
    return end_of(out, error);
}

int vector_doc_text(const char *name, const char *value, struct buf *out,
                    struct dlht_error *error)
{
    mp_write_map(out, 1);
    mp_write_cstr(out, name);
    mp_write_cstr(out, value);
    return end_of(out, error);
}

/* The options that are given, counted as they are written. */
struct options {
    struct buf *out;
    size_t count;
};

static void option_text(struct options *o, const char *name, const char *value)
{
    if (!value)
        return;
    mp_write_cstr(o->out, name);
    mp_write_cstr(o->out, value);
    o->count++;
}

static void option_number(struct options *o, const char *name, uint32_t value)
{
    char text[NUMBER_TEXT_MAX];
    snprintf(text, sizeof text, "%" PRIu32, value);
    option_text(o, name, value ? text : NULL);
}

static int option_fields(struct options *o,
                         const struct dlht_collection_config *config,
                         struct dlht_error *error)
{
    char text[DLHT_VECTOR_FIELDS_MAX];
    size_t used = 0;
    for (size_t i = 0; i < config->field_count; i++) {
        const char *field = config->fields[i];
        size_t len = strlen(field);
        if (len == 0 || len > FIELD_LEN_MAX || strpbrk(field, ", ="))
            return vector_doc_fault(
                error, DLHT_EINVAL,
                "'%.40s' is no name of a field: 1 to %d bytes without comma, "
                "blank and =",
                field, FIELD_LEN_MAX);
        if (used + len + 2 > sizeof text)
            return vector_doc_fault(error, DLHT_ETOOBIG,
                                    "the names of fields have at most %d bytes",
                                    DLHT_VECTOR_FIELDS_MAX);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s",
                                 used ? "," : "", field);
    }
    option_text(o, "vector-fields", used ? text : NULL);
    return DLHT_OK;
}

static int write_options(const struct dlht_collection_config *c,
                         struct options *o, struct dlht_error *error)
{
    option_number(o, "vector-dim", c->dim);
    option_text(o, "vector-metric", c->metric);
    option_number(o, "vector-m", c->m);
    option_number(o, "vector-ef-construction", c->ef_construction);
    option_number(o, "vector-ef", c->ef);
    option_text(o, "vector-quantization", c->quantization);
    option_text(o, "vector-index", c->index);
    int rc = option_fields(o, c, error);
    return rc == DLHT_OK ? end_of(o->out, error) : rc;
}

int vector_doc_create(const char *name,
                      const struct dlht_collection_config *config,
                      struct buf *out, struct dlht_error *error)
{
    if (strlen(name) == 0 || strlen(name) > NAME_LEN_MAX)
        return vector_doc_fault(error, DLHT_EINVAL,
                                "the name of a collection has 1 to %d bytes",
                                NAME_LEN_MAX);
    if (config->dim == 0 || config->dim > DLHT_VECTOR_DIM_MAX)
        return vector_doc_fault(error, DLHT_EINVAL,
                                "dim is %" PRIu32 "; 1 to %d are meant",
                                config->dim, DLHT_VECTOR_DIM_MAX);
    struct buf options = { 0 };
    struct options o = { &options, 0 };
    int rc = write_options(config, &o, error);
    if (rc == DLHT_OK) {
        mp_write_map(out,
                     2u + (config->replicas > 0) + (config->placement != NULL));
        mp_write_cstr(out, "name");
        mp_write_cstr(out, name);
        if (config->replicas)
            write_uint(out, "replicas", config->replicas);
        if (config->placement) {
            mp_write_cstr(out, "placement");
            mp_write_cstr(out, config->placement);
        }
        mp_write_cstr(out, "options");
        mp_write_map(out, o.count);
        buf_append_span(out, buf_span(&options));
        rc = end_of(out, error);
    }
    buf_deinit(&options);
    return rc;
}
