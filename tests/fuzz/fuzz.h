/* SPDX-License-Identifier: Apache-2.0 */

/* fuzz/fuzz.h - one target, three drivers: libFuzzer (-DDLHT_FUZZ=ON),
 * AFL++ (compiled with afl-clang-fast) and fuzz_main.c alone, which needs no
 * fuzzer and runs in the gate. */

#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rng.h"

/* libFuzzer's name for it. Aborts if something is wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Appends an input worth trying: what seeds are made of. */
void fuzz_make(struct rng *rng, struct buf *out);

/* Called once before any input, by AFL++ before it forks: what is dear and the
 * same for all. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

#endif
