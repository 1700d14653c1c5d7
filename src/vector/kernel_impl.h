/* SPDX-License-Identifier: Apache-2.0 */

/* vector/kernel_impl.h - the tables that kernel.c chooses from, and what their
 * sources share. Each of those is compiled with flags of its own, so nothing
 * here may be anything but inlined. */

#ifndef VECTOR_KERNEL_IMPL_H
#define VECTOR_KERNEL_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vector/kernel.h"

#define KERNEL_INLINE static inline __attribute__((always_inline))

extern const struct kernel kernel_scalar;
#if defined(__x86_64__)
extern const struct kernel kernel_avx2;
extern const struct kernel kernel_avx512;
#endif
#if defined(__aarch64__)
extern const struct kernel kernel_neon;
#endif

KERNEL_INLINE const uint8_t *kernel_row(const struct kernel_rows *rows,
                                        const uint32_t *ids, size_t i)
{
    return (const uint8_t *)rows->base +
           (ids ? (size_t)ids[i] : i) * rows->stride;
}

/* Defines NAME_one and NAME_many by FOUR, which fills four distances from four
 * rows. Rows that are left over are measured with the last one repeated. */
#define KERNEL_DEFINE(NAME, FOUR, ...)                                         \
    static void NAME##_many(const void *query, const struct kernel_rows *rows, \
                            const uint32_t *ids, size_t count, float *out)     \
    {                                                                          \
        const uint8_t *at[4];                                                  \
        size_t i = 0;                                                          \
        for (; i + 4 <= count; i += 4) {                                       \
            for (size_t j = 0; j < 4; j++)                                     \
                at[j] = kernel_row(rows, ids, i + j);                          \
            FOUR(query, at, rows->dim, out + i, __VA_ARGS__);                  \
        }                                                                      \
        if (i == count)                                                        \
            return;                                                            \
        float last[4];                                                         \
        for (size_t j = 0; j < 4; j++)                                         \
            at[j] = kernel_row(rows, ids, i + j < count ? i + j : count - 1);  \
        FOUR(query, at, rows->dim, last, __VA_ARGS__);                         \
        for (size_t j = 0; i + j < count; j++)                                 \
            out[i + j] = last[j];                                              \
    }                                                                          \
    static float NAME##_one(const void *a, const void *b, size_t dim)          \
    {                                                                          \
        const struct kernel_rows rows = { b, 0, dim };                         \
        float out;                                                             \
        NAME##_many(a, &rows, NULL, 1, &out);                                  \
        return out;                                                            \
    }

#define KERNEL_TABLE(NAME)                                                     \
    {                                                                          \
        .name = #NAME,                                                         \
        .one = { { NAME##_l2_f32_one, NAME##_ip_f32_one },                     \
                 { NAME##_l2_f16_one, NAME##_ip_f16_one },                     \
                 { NAME##_l2_i8_one, NAME##_ip_i8_one } },                     \
        .many = { { NAME##_l2_f32_many, NAME##_ip_f32_many },                  \
                  { NAME##_l2_f16_many, NAME##_ip_f16_many },                  \
                  { NAME##_l2_i8_many, NAME##_ip_i8_many } },                  \
    }

#endif
