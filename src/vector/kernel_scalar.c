/* SPDX-License-Identifier: Apache-2.0 */

/* Distances in plain C: what all other kernels are compared with. */

#include "vector/half.h"
#include "vector/kernel_impl.h"

KERNEL_INLINE float element(const uint8_t *at, size_t i, bool half)
{
    return half ? half_to_float(((const uint16_t *)(const void *)at)[i])
                : ((const float *)(const void *)at)[i];
}

KERNEL_INLINE void four_float(const void *query, const uint8_t *const at[4],
                              size_t dim, float *out, bool half, bool ip)
{
    for (size_t r = 0; r < 4; r++) {
        float sum = 0;
        for (size_t i = 0; i < dim; i++) {
            float a = element(query, i, half);
            float b = element(at[r], i, half);
            sum += ip ? a * b : (a - b) * (a - b);
        }
        out[r] = sum;
    }
}

KERNEL_INLINE void four_i8(const void *query, const uint8_t *const at[4],
                           size_t dim, float *out, bool ip)
{
    const int8_t *q = query;
    for (size_t r = 0; r < 4; r++) {
        const int8_t *row = (const int8_t *)at[r];
        int32_t sum = 0;
        for (size_t i = 0; i < dim; i++) {
            int32_t d = q[i] - row[i];
            sum += ip ? q[i] * row[i] : d * d;
        }
        out[r] = (float)sum;
    }
}

KERNEL_DEFINE(scalar_l2_f32, four_float, false, false)
KERNEL_DEFINE(scalar_ip_f32, four_float, false, true)
KERNEL_DEFINE(scalar_l2_f16, four_float, true, false)
KERNEL_DEFINE(scalar_ip_f16, four_float, true, true)
KERNEL_DEFINE(scalar_l2_i8, four_i8, false)
KERNEL_DEFINE(scalar_ip_i8, four_i8, true)

const struct kernel kernel_scalar = KERNEL_TABLE(scalar);
