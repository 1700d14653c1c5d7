/* SPDX-License-Identifier: Apache-2.0 */

/* Distances by AVX-512 (F, BW, VL, VNNI): Ice Lake, Zen 4 and later. What is
 * left of a vector after whole registers is loaded under a mask. */

#if defined(__x86_64__)

#include <immintrin.h>

#include "vector/kernel_impl.h"

/* Sixteen elements as floats; those outside the mask are 0. */
KERNEL_INLINE __m512 load_floats(const void *at, size_t i, __mmask16 mask,
                                 bool half)
{
    if (half)
        return _mm512_cvtph_ps(
            _mm256_maskz_loadu_epi16(mask, (const uint16_t *)at + i));
    return _mm512_maskz_loadu_ps(mask, (const float *)at + i);
}

KERNEL_INLINE __m512 add_floats(__m512 sum, __m512 a, __m512 b, bool ip)
{
    if (ip)
        return _mm512_fmadd_ps(a, b, sum);
    __m512 d = _mm512_sub_ps(a, b);
    return _mm512_fmadd_ps(d, d, sum);
}

KERNEL_INLINE __m128 sum_four_floats(const __m512 *sum)
{
    __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(sum[0], sum[1]),
                             _mm512_unpackhi_ps(sum[0], sum[1]));
    __m512 b = _mm512_add_ps(_mm512_unpacklo_ps(sum[2], sum[3]),
                             _mm512_unpackhi_ps(sum[2], sum[3]));
    __m512 c = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(
                                 _mm512_castps_pd(a), _mm512_castps_pd(b))),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(
                                 _mm512_castps_pd(a), _mm512_castps_pd(b))));
    __m256 d = _mm256_add_ps(
        _mm512_castps512_ps256(c),
        _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(c), 1)));
    return _mm_add_ps(_mm256_castps256_ps128(d), _mm256_extractf128_ps(d, 1));
}

KERNEL_INLINE void four_float(const void *query, const uint8_t *const at[4],
                              size_t dim, float *out, bool half, bool ip)
{
    __m512 sum[4];
    for (size_t r = 0; r < 4; r++)
        sum[r] = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= dim; i += 16) {
        __m512 q = load_floats(query, i, 0xffff, half);
        for (size_t r = 0; r < 4; r++)
            sum[r] =
                add_floats(sum[r], q, load_floats(at[r], i, 0xffff, half), ip);
    }
    if (i < dim) {
        __mmask16 mask = (__mmask16)((1u << (dim - i)) - 1);
        __m512 q = load_floats(query, i, mask, half);
        for (size_t r = 0; r < 4; r++)
            sum[r] =
                add_floats(sum[r], q, load_floats(at[r], i, mask, half), ip);
    }
    _mm_storeu_ps(out, sum_four_floats(sum));
}

KERNEL_INLINE __m128i sum_four_codes(const __m512i *sum)
{
    __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(sum[0], sum[1]),
                                 _mm512_unpackhi_epi32(sum[0], sum[1]));
    __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(sum[2], sum[3]),
                                 _mm512_unpackhi_epi32(sum[2], sum[3]));
    __m512i c = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b),
                                 _mm512_unpackhi_epi64(a, b));
    __m256i d = _mm256_add_epi32(_mm512_castsi512_si256(c),
                                 _mm512_extracti64x4_epi64(c, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(d),
                         _mm256_extracti128_si256(d, 1));
}

/* VNNI multiplies unsigned by signed bytes. With u = row + 128,
 *     row . q = u . q - 128 (1 . q)
 *     |row - q|^2 = |row| . |row| + q . q - 2 row . q
 * where what is of q alone is summed once for four rows. */
struct code_sums {
    __m512i dot[4];    /* u . q */
    __m512i square[4]; /* |row| . |row| */
    __m512i query;     /* 1 . q */
    __m512i query_square;
};

KERNEL_INLINE void add_codes(struct code_sums *s, const int8_t *query,
                             const uint8_t *const at[4], size_t i,
                             __mmask64 mask, bool ip)
{
    const __m512i high = _mm512_set1_epi8((char)0x80);
    __m512i q = _mm512_maskz_loadu_epi8(mask, query + i);
    s->query = _mm512_dpbusd_epi32(s->query, _mm512_set1_epi8(1), q);
    if (!ip) {
        __m512i size = _mm512_abs_epi8(q);
        s->query_square = _mm512_dpbusd_epi32(s->query_square, size, size);
    }
    for (size_t r = 0; r < 4; r++) {
        __m512i row = _mm512_maskz_loadu_epi8(mask, at[r] + i);
        s->dot[r] =
            _mm512_dpbusd_epi32(s->dot[r], _mm512_xor_si512(row, high), q);
        if (ip)
            continue;
        __m512i size = _mm512_abs_epi8(row);
        s->square[r] = _mm512_dpbusd_epi32(s->square[r], size, size);
    }
}

KERNEL_INLINE void four_i8(const void *query, const uint8_t *const at[4],
                           size_t dim, float *out, bool ip)
{
    struct code_sums s;
    s.query = s.query_square = _mm512_setzero_si512();
    for (size_t r = 0; r < 4; r++)
        s.dot[r] = s.square[r] = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 64 <= dim; i += 64)
        add_codes(&s, query, at, i, ~(__mmask64)0, ip);
    if (i < dim)
        add_codes(&s, query, at, i, ((__mmask64)1 << (dim - i)) - 1, ip);
    __m512i of_query = _mm512_slli_epi32(s.query, 7);
    for (size_t r = 0; r < 4; r++) {
        s.dot[r] = _mm512_sub_epi32(s.dot[r], of_query);
        if (!ip)
            s.dot[r] =
                _mm512_sub_epi32(_mm512_add_epi32(s.square[r], s.query_square),
                                 _mm512_add_epi32(s.dot[r], s.dot[r]));
    }
    _mm_storeu_ps(out, _mm_cvtepi32_ps(sum_four_codes(s.dot)));
}

KERNEL_DEFINE(avx512_l2_f32, four_float, false, false)
KERNEL_DEFINE(avx512_ip_f32, four_float, false, true)
KERNEL_DEFINE(avx512_l2_f16, four_float, true, false)
KERNEL_DEFINE(avx512_ip_f16, four_float, true, true)
KERNEL_DEFINE(avx512_l2_i8, four_i8, false)
KERNEL_DEFINE(avx512_ip_i8, four_i8, true)

const struct kernel kernel_avx512 = KERNEL_TABLE(avx512);

#else
typedef int kernel_avx512_is_for_x86;
#endif
