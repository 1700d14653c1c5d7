/* SPDX-License-Identifier: Apache-2.0 */

/* tests/chord/fail_alloc.h - makes allocations of the code under test fail. The
 * program is linked with --wrap for malloc, calloc and realloc. */

#ifndef TESTS_CHORD_FAIL_ALLOC_H
#define TESTS_CHORD_FAIL_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

/* The n-th allocation from now fails, 1 being the next; 0: none does. */
void fail_alloc_nth(uint64_t n);

/* One of so many fails, by chance, while on; 0: off. */
void fail_alloc_one_of(uint64_t many);

/* False: the linker kept the plain calls, as it does for the code of link-time
 * optimisation; then there is nothing to test. */
bool fail_alloc_works(void);

/* Failures since the last call. */
uint64_t fail_alloc_count(void);

#endif
