/* SPDX-License-Identifier: Apache-2.0 */

/* rmi/key8.h - eight bytes of a key as a number.
 *
 * Most significant first, zeros after the key's end: for keys that agree before
 * skip, a <= b implies key8_at(a, skip) <= key8_at(b, skip). */

#ifndef RMI_KEY8_H
#define RMI_KEY8_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* Compilers make one load and one swap of this. */
static inline uint64_t key8_load(const uint8_t *p)
{
    return (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 |
           (uint64_t)p[3] << 32 | (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 |
           (uint64_t)p[6] << 8 | (uint64_t)p[7];
}

static inline void key8_store(uint8_t *p, uint64_t x)
{
    p[0] = (uint8_t)(x >> 56);
    p[1] = (uint8_t)(x >> 48);
    p[2] = (uint8_t)(x >> 40);
    p[3] = (uint8_t)(x >> 32);
    p[4] = (uint8_t)(x >> 24);
    p[5] = (uint8_t)(x >> 16);
    p[6] = (uint8_t)(x >> 8);
    p[7] = (uint8_t)x;
}

/* Bytes skip .. skip + 8 of key. */
static inline uint64_t key8_at(struct span key, size_t skip)
{
    if (skip >= key.len)
        return 0;
    size_t left = key.len - skip;
    if (left >= 8)
        return key8_load(key.data + skip);
    if (key.len >= 8) /* what is before skip is shifted out */
        return key8_load(key.data + key.len - 8) << (8 * (8 - left));
    uint64_t x = 0;
    for (size_t i = skip; i < key.len; i++)
        x = x << 8 | key.data[i];
    return x << (8 * (8 - left));
}

/* (double)x, rounded once as that is, but without the branch that processors
 * without unsigned conversion take. */
static inline double key8_double(uint64_t x)
{
    return (double)(int64_t)(x >> 32) * 0x1p32 +
           (double)(int64_t)(x & UINT32_MAX);
}

/* (uint64_t)x for 0 <= x < 2^64, likewise. */
static inline uint64_t key8_of_double(double x)
{
    int64_t high = (int64_t)(x * 0x1p-32);
    double low = x - (double)high * 0x1p32;
    return (uint64_t)high << 32 | (uint64_t)(int64_t)low;
}

/* Length of what a and b begin with alike. */
static inline size_t key8_common(struct span a, struct span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    size_t i = 0;
    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

#endif
