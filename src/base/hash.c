/* SPDX-License-Identifier: Apache-2.0 */

/* The only file that knows xxhash. */

#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash64(struct span bytes)
{
    return XXH3_64bits(bytes.data, bytes.len);
}

void hash128(struct span bytes, uint64_t out[2])
{
    XXH128_hash_t hash = XXH3_128bits(bytes.data, bytes.len);
    out[0] = hash.high64;
    out[1] = hash.low64;
}

uint64_t hash64_seeded(struct span bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.len, seed);
}

uint64_t hash64_mix(uint64_t hash, uint64_t value)
{
    uint64_t z = hash * 0x9e3779b97f4a7c15u + value;
    z = (z ^ z >> 32) * 0xd6e8feb86659fd93u;
    return z ^ z >> 32;
}
