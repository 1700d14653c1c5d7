/* SPDX-License-Identifier: Apache-2.0 */

/* vector/admit.h - which rows a search may return.
 *
 * By a bitmap over rows, or by asking for each, or both (then both must say
 * yes). A bitmap is quicker; rows are given anew when vectors change, so it
 * holds only until the next write. The question may be put by the thread that
 * searches, many times a search, for rows that are not returned in the end. */

#ifndef VECTOR_ADMIT_H
#define VECTOR_ADMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct admit {
    const uint64_t *rows; /* bit r % 64 of word r / 64; NULL: all */
    size_t row_count;     /* rows from here on have no bit: not admitted */
    bool (*asks)(void *self, uint64_t handle); /* NULL: all */
    void *self;
};

/* admit NULL: everything. */
static inline bool admit_has(const struct admit *admit, uint32_t row,
                             uint64_t handle)
{
    if (!admit)
        return true;
    if (admit->rows &&
        (row >= admit->row_count || !(admit->rows[row / 64] >> row % 64 & 1)))
        return false;
    return !admit->asks || admit->asks(admit->self, handle);
}

#endif
