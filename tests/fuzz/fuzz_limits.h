/* SPDX-License-Identifier: Apache-2.0 */

/* fuzz/fuzz_limits.h - what one input may cost: 100 ms of the processor and
 * 64 MiB. Measured in builds without sanitizers only, where malloc can be
 * stood in for (fuzz_limits.c) and times mean something. */

#ifndef TESTS_FUZZ_LIMITS_H
#define TESTS_FUZZ_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    FUZZ_CPU_MS_MAX = 100,
    FUZZ_BYTES_MAX = 64 << 20
};

/* From here on. */
void fuzz_limits_begin(void);

/* The most bytes of the heap that were in use at once since then, beyond those
 * that were at the beginning; 0: it is not known. */
size_t fuzz_limits_bytes(void);

/* Time of the processor that the process took since then; 0: as good as
 * none, or the build is not one to measure. */
double fuzz_limits_cpu_ms(void);

#endif
