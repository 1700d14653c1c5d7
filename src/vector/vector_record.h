/* SPDX-License-Identifier: Apache-2.0 */

/* vector/vector_record.h - how a vector and its metadata lie in the value of a
 * record.
 *
 *     u8 version (1), u8 0, u16 0, u32 dim, dim x float32, metadata
 *
 * Numbers are little-endian; the metadata is that of vector/meta.h, to the end
 * of the value. */

#ifndef VECTOR_VECTOR_RECORD_H
#define VECTOR_VECTOR_RECORD_H

#include <stdint.h>

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"
#include "vector/meta.h"
#include "vector/metric.h"

enum {
    VECTOR_RECORD_VERSION = 1,
    VECTOR_RECORD_HEAD = 8
};

struct vector_record {
    uint32_t dim;
    const uint8_t *floats; /* at any alignment; borrowed */
    struct meta meta;
};

/* Checks the form of bytes a stranger may have sent, not the numbers.
 *   DLHT_ECORRUPT, DLHT_EVERSION */
MUST_USE int vector_record_open(struct span value, struct vector_record *out);

/* Appends a record; meta is what meta_parse wrote. */
void vector_record_pack(const float *vector, uint32_t dim, struct span meta,
                        struct buf *out);

/* Little-endian float32 at any alignment to dim floats. */
void vector_record_floats(const uint8_t *bytes, uint32_t dim, float *out);
/* And back. */
void vector_record_bytes(const float *vector, uint32_t dim, uint8_t *out);

enum {
    VECTOR_RECORD_TEXT_MAX = 256
};

/* Whether the value is a record of this dim that the metric is defined for;
 * room is for dim floats. DLHT_EINVAL: text says why. */
MUST_USE int vector_record_check(struct span value, enum metric metric,
                                 uint32_t dim, float *room,
                                 char text[VECTOR_RECORD_TEXT_MAX]);

/* "the vector holds NaN at position 3" */
void vector_record_explain(const struct metric_fault *fault,
                           char text[VECTOR_RECORD_TEXT_MAX]);

#endif
