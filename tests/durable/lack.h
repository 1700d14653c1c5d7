/* SPDX-License-Identifier: Apache-2.0 */

/* tests/durable/lack.h - memory that runs out inside a node's step, and nowhere
 * else. The program is linked with --wrap for malloc, calloc, realloc and
 * node_step. */

#ifndef TESTS_DURABLE_LACK_H
#define TESTS_DURABLE_LACK_H

#include <stdbool.h>
#include <stdint.h>

/* The n-th allocation inside steps from now on fails; 0: none. */
void lack_nth(uint64_t n);

/* It and all after it, until the next call. */
void lack_from(uint64_t n);

/* One of so many fails, by chance; 0: off. */
void lack_one_of(uint64_t many, uint64_t seed);

/* Whether what was called last has come about. */
bool lack_happened(void);

/* Failures since the program began. */
uint64_t lack_count(void);

/* Code that is not in a step, but is to lack memory as if it were. */
void lack_enter(void);
void lack_leave(void);

/* Until it is called with false, nothing lacks memory. */
void lack_pause(bool pause);

#endif
