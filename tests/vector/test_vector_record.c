/* SPDX-License-Identifier: Apache-2.0 */

/* Vectors as values of records. */

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "dlht/err.h"
#include "vector/vector_record.h"

Test(vector_record, comes_back)
{
    float vector[3] = { 1, -2.5F, 3e8F }, back[3];
    struct buf meta = { 0 }, out = { 0 };
    struct meta_error error;
    cr_assert_eq(meta_parse(span_str("{\"a\": 1}"), &meta, &error), DLHT_OK);
    vector_record_pack(vector, 3, buf_span(&meta), &out);
    struct vector_record record;
    cr_assert_eq(vector_record_open(buf_span(&out), &record), DLHT_OK);
    cr_assert_eq(record.dim, 3);
    vector_record_floats(record.floats, 3, back);
    cr_assert_arr_eq(vector, back, sizeof back);
    cr_assert_eq(meta_count(record.meta), 1);
    /* The bytes that docs/protocol.md names. */
    cr_assert_arr_eq(out.data, "\1\0\0\0\3\0\0\0\0\0\x80\x3f", 12);
    for (size_t len = 0; len < out.len; len++) {
        bool whole = len == VECTOR_RECORD_HEAD + sizeof vector; /* no meta */
        int rc = vector_record_open(span_of(out.data, len), &record);
        cr_assert_eq(rc == DLHT_OK, whole, "of %zu bytes: %d", len, rc);
    }
    buf_deinit(&meta);
    buf_deinit(&out);
}

Test(vector_record, says_what_is_wrong)
{
    static const struct {
        const char *what;
        uint32_t dim;
        float vector[2];
        enum metric metric;
    } rows[] = {
        { "the vector has 2 dimensions, the collection 3", 3, { 1, 2 }, 0 },
        { "the vector holds NaN at position 1", 2, { 1, NAN }, METRIC_L2 },
        { "the vector holds infinity at position 0",
          2,
          { -INFINITY, 0 },
          METRIC_IP },
        { "the vector is zero and has no direction",
          2,
          { 0, 0 },
          METRIC_COSINE },
        { "the vector is too long for float32", 2, { 3e38F, 0 }, METRIC_L2 },
    };
    float room[3];
    char text[VECTOR_RECORD_TEXT_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = { 0 };
        vector_record_pack(rows[i].vector, 2, span_empty(), &out);
        cr_assert_eq(vector_record_check(buf_span(&out), rows[i].metric,
                                         rows[i].dim, room, text),
                     DLHT_EINVAL);
        cr_assert_str_eq(text, rows[i].what);
        buf_deinit(&out);
    }
    cr_assert_eq(vector_record_check(span_str("{\"plain\": 1}"), METRIC_L2, 2,
                                     room, text),
                 DLHT_EINVAL);
}
