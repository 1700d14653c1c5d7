/* SPDX-License-Identifier: Apache-2.0 */

/* Values as keys. */

#include "base/ordered.h"

#include <string.h>

#include "dlht/err.h"

enum {
    PART_ESCAPE = 0,
    PART_ZERO = 0xff, /* after an escape: a zero of the part */
    PART_END = 1
};

static const uint64_t ordered_sign = UINT64_C(1) << 63;

void ordered_put_u64(uint8_t out[ORDERED_BYTES], uint64_t x)
{
    for (int i = 0; i < ORDERED_BYTES; i++)
        out[i] = (uint8_t)(x >> (56 - 8 * i));
}

void ordered_put_i64(uint8_t out[ORDERED_BYTES], int64_t x)
{
    ordered_put_u64(out, (uint64_t)x ^ ordered_sign);
}

uint64_t ordered_of_f64(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & ordered_sign) ? ~bits : bits | ordered_sign;
}

void ordered_put_f64(uint8_t out[ORDERED_BYTES], double x)
{
    ordered_put_u64(out, ordered_of_f64(x));
}

uint64_t ordered_get_u64(const uint8_t bytes[ORDERED_BYTES])
{
    uint64_t x = 0;
    for (int i = 0; i < ORDERED_BYTES; i++)
        x = x << 8 | bytes[i];
    return x;
}

int64_t ordered_get_i64(const uint8_t bytes[ORDERED_BYTES])
{
    uint64_t bits = ordered_get_u64(bytes) ^ ordered_sign;
    int64_t x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

double ordered_get_f64(const uint8_t bytes[ORDERED_BYTES])
{
    uint64_t bits = ordered_get_u64(bytes);
    bits = (bits & ordered_sign) ? bits ^ ordered_sign : ~bits;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

void ordered_add_part(struct buf *out, struct span part)
{
    for (size_t i = 0; i < part.len; i++) {
        buf_append_byte(out, part.data[i]);
        if (part.data[i] == PART_ESCAPE)
            buf_append_byte(out, PART_ZERO);
    }
    buf_append_byte(out, PART_ESCAPE);
    buf_append_byte(out, PART_END);
}

/* Bytes of the first part with its end; 0: it has none. */
static size_t ordered_part_len(struct span tuple)
{
    for (size_t i = 0; i + 1 < tuple.len; i++) {
        if (tuple.data[i] != PART_ESCAPE)
            continue;
        if (tuple.data[i + 1] == PART_END)
            return i + 2;
        if (tuple.data[i + 1] != PART_ZERO)
            return 0;
        i++;
    }
    return 0;
}

int ordered_take_part(struct span *tuple, struct buf *out)
{
    size_t len = ordered_part_len(*tuple);
    if (len == 0)
        return DLHT_ECORRUPT;
    if (buf_reserve(out, len - 2) != DLHT_OK)
        return DLHT_ENOMEM;
    for (size_t i = 0; i + 2 < len; i++) {
        buf_append_byte(out, tuple->data[i]);
        i += tuple->data[i] == PART_ESCAPE;
    }
    *tuple = span_tail(*tuple, len);
    return DLHT_OK;
}
