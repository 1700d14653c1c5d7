/* SPDX-License-Identifier: Apache-2.0 */

/* tests/rmi/key_sets.h - sorted keys of several shapes, from seeds and from
 * what is found on the machine. For tests and measurements. */

#ifndef TESTS_RMI_KEY_SETS_H
#define TESTS_RMI_KEY_SETS_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

enum key_shape {
    KEYS_UNIFORM,
    KEYS_LOGNORMAL, /* (0, 2) * 1e12 */
    /* As the cells of a map: 20,000 clusters of Pareto weights, centres from a
     * biased binary cascade (p = 0.7), widths of nine decades. */
    KEYS_CLUSTERED,
    KEYS_TIMESTAMPS, /* nanoseconds of two years, bursts, days and nights */
    KEYS_SEQUENTIAL,
    KEYS_NUMBER_SHAPES,              /* those before are numbers */
    KEYS_WORDS = KEYS_NUMBER_SHAPES, /* count is ignored */
    KEYS_PATHS,                      /* likewise; files that Debian installed */
    KEYS_RANDOM_16,                  /* 16 random bytes */
    KEYS_SHAPES
};

extern const char *const key_shape_names[KEYS_SHAPES];

struct key_set {
    uint64_t *numbers; /* NULL: not numbers */
    struct span *keys;
    size_t count; /* 0: not to be had here */
    uint8_t *bytes;
};

/* Ascending. Aborts if there is no memory. */
struct key_set key_set_make(enum key_shape shape, size_t count, uint64_t seed);

/* The greatest share of keys that begin alike for longer than knots may be:
 * such keys are in one leaf, whatever is asked for. */
double key_set_tied(const struct key_set *set);

void key_set_free(struct key_set *set);

/* Ascending numbers only; the caller frees them. */
uint64_t *key_set_numbers(enum key_shape shape, size_t count, uint64_t seed);

#endif
