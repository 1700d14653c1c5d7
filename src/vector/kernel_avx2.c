/* SPDX-License-Identifier: Apache-2.0 */

/* Distances by AVX2, FMA and F16C: most processors since 2013. */

#if defined(__x86_64__)

#include <immintrin.h>

#include "vector/kernel_impl.h"

/* Eight elements as floats. */
KERNEL_INLINE __m256 load_floats(const void *at, size_t i, bool half)
{
    if (half)
        return _mm256_cvtph_ps(
            _mm_loadu_si128((const void *)((const uint16_t *)at + i)));
    return _mm256_loadu_ps((const float *)at + i);
}

/* The last 1 to 7 of them, and zeros. */
KERNEL_INLINE __m256 load_some_floats(const void *at, size_t i, size_t count,
                                      bool half)
{
    uint16_t halves[8] = { 0 };
    float floats[8] = { 0 };
    for (size_t j = 0; j < count; j++) {
        if (half)
            halves[j] = ((const uint16_t *)at)[i + j];
        else
            floats[j] = ((const float *)at)[i + j];
    }
    return load_floats(half ? (const void *)halves : (const void *)floats, 0,
                       half);
}

KERNEL_INLINE __m256 add_floats(__m256 sum, __m256 a, __m256 b, bool ip)
{
    if (ip)
        return _mm256_fmadd_ps(a, b, sum);
    __m256 d = _mm256_sub_ps(a, b);
    return _mm256_fmadd_ps(d, d, sum);
}

KERNEL_INLINE void four_float(const void *query, const uint8_t *const at[4],
                              size_t dim, float *out, bool half, bool ip)
{
    __m256 sum[4];
    for (size_t r = 0; r < 4; r++)
        sum[r] = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 8 <= dim; i += 8) {
        __m256 q = load_floats(query, i, half);
        for (size_t r = 0; r < 4; r++)
            sum[r] = add_floats(sum[r], q, load_floats(at[r], i, half), ip);
    }
    if (i < dim) {
        __m256 q = load_some_floats(query, i, dim - i, half);
        for (size_t r = 0; r < 4; r++)
            sum[r] = add_floats(sum[r], q,
                                load_some_floats(at[r], i, dim - i, half), ip);
    }
    __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(sum[0], sum[1]),
                              _mm256_hadd_ps(sum[2], sum[3]));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(s),
                                  _mm256_extractf128_ps(s, 1)));
}

/* Sixteen codes as 16-bit numbers. */
KERNEL_INLINE __m256i load_codes(const int8_t *at)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)at));
}

KERNEL_INLINE __m256i load_some_codes(const int8_t *at, size_t count)
{
    int8_t codes[16] = { 0 };
    for (size_t j = 0; j < count; j++)
        codes[j] = at[j];
    return load_codes(codes);
}

KERNEL_INLINE __m256i add_codes(__m256i sum, __m256i a, __m256i b, bool ip)
{
    if (ip)
        return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
    __m256i d = _mm256_sub_epi16(a, b);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(d, d));
}

KERNEL_INLINE void four_i8(const void *query, const uint8_t *const at[4],
                           size_t dim, float *out, bool ip)
{
    const int8_t *query_codes = query;
    __m256i sum[4];
    for (size_t r = 0; r < 4; r++)
        sum[r] = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 16 <= dim; i += 16) {
        __m256i q = load_codes(query_codes + i);
        for (size_t r = 0; r < 4; r++)
            sum[r] =
                add_codes(sum[r], q, load_codes((const int8_t *)at[r] + i), ip);
    }
    if (i < dim) {
        __m256i q = load_some_codes(query_codes + i, dim - i);
        for (size_t r = 0; r < 4; r++)
            sum[r] = add_codes(
                sum[r], q, load_some_codes((const int8_t *)at[r] + i, dim - i),
                ip);
    }
    __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]),
                                  _mm256_hadd_epi32(sum[2], sum[3]));
    _mm_storeu_ps(
        out, _mm_cvtepi32_ps(_mm_add_epi32(_mm256_castsi256_si128(s),
                                           _mm256_extracti128_si256(s, 1))));
}

KERNEL_DEFINE(avx2_l2_f32, four_float, false, false)
KERNEL_DEFINE(avx2_ip_f32, four_float, false, true)
KERNEL_DEFINE(avx2_l2_f16, four_float, true, false)
KERNEL_DEFINE(avx2_ip_f16, four_float, true, true)
KERNEL_DEFINE(avx2_l2_i8, four_i8, false)
KERNEL_DEFINE(avx2_ip_i8, four_i8, true)

const struct kernel kernel_avx2 = KERNEL_TABLE(avx2);

#else
typedef int kernel_avx2_is_for_x86;
#endif
