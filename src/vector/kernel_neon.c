/* SPDX-License-Identifier: Apache-2.0 */

/* Distances by NEON as every 64-bit ARM processor has it. */

#if defined(__aarch64__)

#include <arm_neon.h>

#include "vector/half.h"
#include "vector/kernel_impl.h"

/* Four elements as floats. */
KERNEL_INLINE float32x4_t load_floats(const void *at, size_t i, bool half)
{
    if (half)
        return vcvt_f32_f16(
            vreinterpret_f16_u16(vld1_u16((const uint16_t *)at + i)));
    return vld1q_f32((const float *)at + i);
}

KERNEL_INLINE float element(const void *at, size_t i, bool half)
{
    return half ? half_to_float(((const uint16_t *)at)[i])
                : ((const float *)at)[i];
}

KERNEL_INLINE float32x4_t add_floats(float32x4_t sum, float32x4_t a,
                                     float32x4_t b, bool ip)
{
    if (ip)
        return vfmaq_f32(sum, a, b);
    float32x4_t d = vsubq_f32(a, b);
    return vfmaq_f32(sum, d, d);
}

KERNEL_INLINE void four_float(const void *query, const uint8_t *const at[4],
                              size_t dim, float *out, bool half, bool ip)
{
    float32x4_t sum[4];
    for (size_t r = 0; r < 4; r++)
        sum[r] = vdupq_n_f32(0);
    size_t i = 0;
    for (; i + 4 <= dim; i += 4) {
        float32x4_t q = load_floats(query, i, half);
        for (size_t r = 0; r < 4; r++)
            sum[r] = add_floats(sum[r], q, load_floats(at[r], i, half), ip);
    }
    for (size_t r = 0; r < 4; r++) {
        out[r] = vaddvq_f32(sum[r]);
        for (size_t j = i; j < dim; j++) {
            float a = element(query, j, half);
            float b = element(at[r], j, half);
            out[r] += ip ? a * b : (a - b) * (a - b);
        }
    }
}

KERNEL_INLINE int32x4_t add_codes(int32x4_t sum, int8x8_t a, int8x8_t b,
                                  bool ip)
{
    if (ip)
        return vpadalq_s16(sum, vmull_s8(a, b));
    int16x8_t d = vsubl_s8(a, b);
    sum = vmlal_s16(sum, vget_low_s16(d), vget_low_s16(d));
    return vmlal_s16(sum, vget_high_s16(d), vget_high_s16(d));
}

KERNEL_INLINE void four_i8(const void *query, const uint8_t *const at[4],
                           size_t dim, float *out, bool ip)
{
    const int8_t *query_codes = query;
    int32x4_t sum[4];
    for (size_t r = 0; r < 4; r++)
        sum[r] = vdupq_n_s32(0);
    size_t i = 0;
    for (; i + 8 <= dim; i += 8) {
        int8x8_t q = vld1_s8(query_codes + i);
        for (size_t r = 0; r < 4; r++)
            sum[r] =
                add_codes(sum[r], q, vld1_s8((const int8_t *)at[r] + i), ip);
    }
    for (size_t r = 0; r < 4; r++) {
        int32_t total = vaddvq_s32(sum[r]);
        for (size_t j = i; j < dim; j++) {
            int32_t b = ((const int8_t *)at[r])[j];
            int32_t d = query_codes[j] - b;
            total += ip ? query_codes[j] * b : d * d;
        }
        out[r] = (float)total;
    }
}

KERNEL_DEFINE(neon_l2_f32, four_float, false, false)
KERNEL_DEFINE(neon_ip_f32, four_float, false, true)
KERNEL_DEFINE(neon_l2_f16, four_float, true, false)
KERNEL_DEFINE(neon_ip_f16, four_float, true, true)
KERNEL_DEFINE(neon_l2_i8, four_i8, false)
KERNEL_DEFINE(neon_ip_i8, four_i8, true)

const struct kernel kernel_neon = KERNEL_TABLE(neon);

#else
typedef int kernel_neon_is_for_arm;
#endif
