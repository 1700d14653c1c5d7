/* SPDX-License-Identifier: Apache-2.0 */

/* base/hash.h - XXH3, the one hash of the tree.
 *
 * Fast and well spread, not proof against forgery. Tables that strangers can
 * fill use a seed of their own. */

#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdint.h>

#include "base/span.h"

uint64_t hash64(struct span bytes);
uint64_t hash64_seeded(struct span bytes, uint64_t seed);

/* 128 bits, the high half first. */
void hash128(struct span bytes, uint64_t out[2]);

/* Folds a number into a running hash. */
uint64_t hash64_mix(uint64_t hash, uint64_t value);

#endif
