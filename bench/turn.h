/* SPDX-License-Identifier: Apache-2.0 */

/* bench/turn.h - how long a node's thread is busy with a round. */

#ifndef BENCH_TURN_H
#define BENCH_TURN_H

#include <stdint.h>

#include "rmi/key_sets.h"
#include "table.h"

/* Adds a row: turns of summing these keys, and a report of them. */
void bench_turn(struct table *t, const char *name, const struct key_set *set,
                uint64_t seed);

#endif
