/* SPDX-License-Identifier: Apache-2.0 */

/* tests/training/rounds.h - keys and reports for the tests of rounds. */

#ifndef TESTS_TRAINING_ROUNDS_H
#define TESTS_TRAINING_ROUNDS_H

#include "rmi/key_sets.h"
#include "training/round.h"

enum {
    rounds_seed = 20261121
};

/* Distinct, as the keys of an arc are. */
struct key_set rounds_keys(enum key_shape shape, size_t count);

struct model_stats rounds_measure(const struct model *model,
                                  const struct key_set *set);

/* Of an arc without keys; hi may be NULL. */
struct report rounds_part(const char *lo, const char *hi);

/* Gives it keys, in as many quantiles. */
void rounds_fill(struct report *report, struct fit_quantile *quantiles,
                 uint8_t (*bytes)[8], size_t count);

/* A round of arcs [, f), [f, k), [k, ) with 500, none and 300 keys, all of
 * them quantiles. */
struct rounds_small {
    struct round *round;
    struct fit_quantile quantiles[2][500];
    uint8_t bytes[2][500][8];
    struct span keys[800];
};

int rounds_small_begin(struct rounds_small *small, uint32_t leaf_count);

#endif
