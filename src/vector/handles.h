/* SPDX-License-Identifier: Apache-2.0 */

/* vector/handles.h - which row a handle has: an open-addressed table of row
 * numbers (Knuth 6.4, algorithm L, with removal by moving back). The handles
 * themselves lie with the rows, so a slot is four bytes.
 *
 * A handle is any number but HANDLES_NONE, chosen by the caller. */

#ifndef VECTOR_HANDLES_H
#define VECTOR_HANDLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"

#define HANDLES_NONE UINT64_MAX
#define HANDLES_NO_ROW UINT32_MAX

struct handles {
    uint32_t *slots;
    size_t slot_count; /* a power of two, or 0 */
    size_t count;
};

void handles_init(struct handles *h);
void handles_deinit(struct handles *h);

/* Room for so many without a change of the table. rows[r] is the handle of row
 * r. DLHT_ENOMEM: as before. */
MUST_USE int handles_reserve(struct handles *h, size_t count,
                             const _Atomic uint64_t *rows);

/* HANDLES_NO_ROW: not there. */
uint32_t handles_find(const struct handles *h, uint64_t handle,
                      const _Atomic uint64_t *rows);

/* Adds it, or gives it another row; room has been reserved and rows[row] is
 * set. */
/* The same of many at once, which do not wait for memory one after the other:
 * rows of handles[i] in out[i]. */
void handles_find_many(const struct handles *h, const uint32_t *handles,
                       size_t count, const _Atomic uint64_t *rows,
                       uint32_t *out);

void handles_put(struct handles *h, uint64_t handle, uint32_t row,
                 const _Atomic uint64_t *rows);

/* It is there, and its row still bears it. */
void handles_remove(struct handles *h, uint64_t handle,
                    const _Atomic uint64_t *rows);

#endif
