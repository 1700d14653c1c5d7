/* SPDX-License-Identifier: Apache-2.0 */

/* fuzz/fuzz_mutate.h - inputs changed blindly, where there is no fuzzer that
 * sees what they do: the gate's few seconds. */

#ifndef TESTS_FUZZ_MUTATE_H
#define TESTS_FUZZ_MUTATE_H

#include "base/buf.h"
#include "base/rng.h"

enum {
    FUZZ_INPUT_MAX = 8192
};

/* Changes input in one to eight places; other is a second input, parts of
 * which may come into it. */
void fuzz_mutate(struct rng *rng, struct span other, struct buf *input);

#endif
