/* SPDX-License-Identifier: Apache-2.0 */

/* Vectors as values of records. */

#include "vector/vector_record.h"

#include <stdio.h>
#include <string.h>

#include "dlht/err.h"

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
           (uint32_t)at[3] << 24;
}

static void put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

int vector_record_open(struct span value, struct vector_record *out)
{
    const uint8_t *at = value.data;
    if (value.len < VECTOR_RECORD_HEAD)
        return DLHT_ECORRUPT;
    if (at[0] != VECTOR_RECORD_VERSION)
        return DLHT_EVERSION;
    uint32_t dim = get32(at + 4);
    size_t left = value.len - VECTOR_RECORD_HEAD;
    if (at[1] || at[2] || at[3] || dim == 0 || dim > left / sizeof(float))
        return DLHT_ECORRUPT;
    out->dim = dim;
    out->floats = at + VECTOR_RECORD_HEAD;
    return meta_open(span_tail(value, VECTOR_RECORD_HEAD + dim * sizeof(float)),
                     &out->meta);
}

void vector_record_floats(const uint8_t *bytes, uint32_t dim, float *out)
{
    const uint16_t probe = 1;
    if (*(const uint8_t *)&probe) {
        memcpy(out, bytes, dim * sizeof *out);
        return;
    }
    for (uint32_t i = 0; i < dim; i++) {
        uint32_t bits = get32(bytes + 4 * (size_t)i);
        memcpy(&out[i], &bits, sizeof bits);
    }
}

void vector_record_bytes(const float *vector, uint32_t dim, uint8_t *out)
{
    for (uint32_t i = 0; i < dim; i++) {
        uint32_t bits;
        memcpy(&bits, &vector[i], sizeof bits);
        put32(out + 4 * (size_t)i, bits);
    }
}

void vector_record_pack(const float *vector, uint32_t dim, struct span meta,
                        struct buf *out)
{
    size_t size = VECTOR_RECORD_HEAD + dim * sizeof(float);
    if (buf_reserve(out, size + meta.len) != DLHT_OK) {
        out->failed = true;
        return;
    }
    uint8_t *at = out->data + out->len;
    memset(at, 0, VECTOR_RECORD_HEAD);
    at[0] = VECTOR_RECORD_VERSION;
    put32(at + 4, dim);
    vector_record_bytes(vector, dim, at + VECTOR_RECORD_HEAD);
    out->len += size;
    buf_append_span(out, meta);
}

void vector_record_explain(const struct metric_fault *fault,
                           char text[VECTOR_RECORD_TEXT_MAX])
{
    if (fault->has_at)
        snprintf(text, VECTOR_RECORD_TEXT_MAX, "the vector %s %zu", fault->what,
                 fault->at);
    else
        snprintf(text, VECTOR_RECORD_TEXT_MAX, "the vector %s", fault->what);
}

int vector_record_check(struct span value, enum metric metric, uint32_t dim,
                        float *room, char text[VECTOR_RECORD_TEXT_MAX])
{
    struct vector_record record;
    struct metric_fault fault;
    if (vector_record_open(value, &record) != DLHT_OK) {
        snprintf(text, VECTOR_RECORD_TEXT_MAX,
                 "a value of a collection is a vector record; vector put "
                 "makes one");
        return DLHT_EINVAL;
    }
    if (record.dim != dim) {
        snprintf(text, VECTOR_RECORD_TEXT_MAX,
                 "the vector has %u dimensions, the collection %u", record.dim,
                 dim);
        return DLHT_EINVAL;
    }
    vector_record_floats(record.floats, dim, room);
    if (metric_check(metric, room, dim, &fault) == DLHT_OK)
        return DLHT_OK;
    vector_record_explain(&fault, text);
    return DLHT_EINVAL;
}
