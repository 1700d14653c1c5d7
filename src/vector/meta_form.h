/* SPDX-License-Identifier: Apache-2.0 */

/* vector/meta_form.h - numbers in the form of vector/meta.h, for its own files
 * only. */

#ifndef VECTOR_META_FORM_H
#define VECTOR_META_FORM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    META_FORM_HEADER = 4,
    META_FORM_ENTRY = 4,
    META_FORM_NUMBER = 8,
    META_FORM_LIST = 4 /* before the items */
};

static inline size_t meta_form_u16(const uint8_t *p)
{
    return (size_t)p[0] | (size_t)p[1] << 8;
}

static inline void meta_form_put_u16(uint8_t *p, size_t n)
{
    p[0] = (uint8_t)n;
    p[1] = (uint8_t)(n >> 8);
}

/* Written out, compilers make one load of it. */
static inline uint64_t meta_form_u64(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 |
           (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 |
           (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

static inline void meta_form_put_u64(uint8_t *p, uint64_t n)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(n >> (8 * i));
}

static inline double meta_form_real(const uint8_t *p)
{
    uint64_t bits = meta_form_u64(p);
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static inline int64_t meta_form_int(const uint8_t *p)
{
    uint64_t bits = meta_form_u64(p);
    int64_t i;
    memcpy(&i, &bits, sizeof i);
    return i;
}

#endif
