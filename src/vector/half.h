/* SPDX-License-Identifier: Apache-2.0 */

/* vector/half.h - IEEE halves by arithmetic on their bits, for processors and
 * places without an instruction for it. */

#ifndef VECTOR_HALF_H
#define VECTOR_HALF_H

#include <stdint.h>
#include <string.h>

/* The greatest finite one. */
#define HALF_MAX 65504.0f

static inline float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 0x1f;
    uint32_t fraction = half & 0x3ff;
    float value;
    if (exponent == 0) { /* zero or subnormal: fraction x 2^-24 */
        value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    uint32_t bits = exponent == 31
                        ? sign | 0x7f800000u | fraction << 13
                        : sign | (exponent + 112) << 23 | fraction << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The nearest, ties to even; what is beyond HALF_MAX becomes that. Not for
 * NaN. */
static inline uint16_t half_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    float size = value < 0 ? -value : value;
    if (size >= HALF_MAX)
        return (uint16_t)(sign | 0x7bff);
    if (size < 0x1p-14f) { /* subnormal: adding 2^-1 rounds to 2^-24 */
        float moved = size + 0.5f;
        memcpy(&bits, &moved, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000u));
    }
    bits &= 0x7fffffffu;
    bits += 0xfffu + (bits >> 13 & 1);
    uint32_t half = (bits >> 13) - (112u << 10);
    return (uint16_t)(sign | (half > 0x7bff ? 0x7bff : half));
}

#endif
