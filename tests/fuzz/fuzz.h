/* SPDX-License-Identifier: Apache-2.0 */

/* fuzz/fuzz.h - one target, two drivers: libFuzzer (preset fuzz), and
 * fuzz_main.c, which needs no fuzzer and runs in the gate. */

#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rng.h"

/* libFuzzer's name for it. Aborts if something is wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Appends an input worth trying. */
void fuzz_make(struct rng *rng, struct buf *out);

#endif
