/* SPDX-License-Identifier: Apache-2.0 */

/* Seeded chance. */

#include "base/rng.h"

#include <assert.h>

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void rng_init(struct rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->s[i] = splitmix(&seed);
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t rng_next(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    if (bound == 0)
        return 0;
    /* Values under this would make the low remainders likelier. */
    uint64_t skip = (0 - bound) % bound;
    uint64_t x = rng_next(rng);
    while (x < skip)
        x = rng_next(rng);
    return x % bound;
}

uint64_t rng_range(struct rng *rng, uint64_t lo, uint64_t hi)
{
    assert(lo <= hi);
    uint64_t width = hi - lo;
    return width == UINT64_MAX ? rng_next(rng) : lo + rng_below(rng, width + 1);
}

double rng_real(struct rng *rng)
{
    return (double)(rng_next(rng) >> 11) * 0x1.0p-53;
}

bool rng_chance(struct rng *rng, double probability)
{
    return rng_real(rng) < probability;
}
