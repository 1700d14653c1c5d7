/* SPDX-License-Identifier: Apache-2.0 */

/* base/rng.h - seeded chance (xoshiro256**, Blackman and Vigna 2018).
 *
 * The only source of chance below net/: one seed replays a whole cluster. Not
 * for secrets. */

#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

/* Any seed, 0 included, gives a full-period state (by splitmix64). */
void rng_init(struct rng *rng, uint64_t seed);

uint64_t rng_next(struct rng *rng);

/* Uniform in [0, bound); 0 if bound is 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

/* Uniform in [lo, hi], lo <= hi. */
uint64_t rng_range(struct rng *rng, uint64_t lo, uint64_t hi);

/* Uniform in [0, 1). */
double rng_real(struct rng *rng);

/* True with the given probability. */
bool rng_chance(struct rng *rng, double probability);

#endif
