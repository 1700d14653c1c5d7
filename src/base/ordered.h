/* SPDX-License-Identifier: Apache-2.0 */

/* base/ordered.h - values as keys that sort as the values do.
 *
 * Numbers become 8 bytes, most significant first. Signed ones have their sign
 * turned round, doubles too, and all other bits if they are negative: so
 * -inf < -1 < -0 < +0 < 1 < inf, NaNs beyond the infinities of their sign.
 *
 * A tuple of byte strings is its parts one after the other, each zero written
 * as 00 ff, each part closed by 00 01: a tuple sorts by its first part, then
 * by its second, a part before those it begins. */

#ifndef BASE_ORDERED_H
#define BASE_ORDERED_H

#include <stdint.h>

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"

enum {
    ORDERED_BYTES = 8 /* of a number */
};

void ordered_put_u64(uint8_t out[ORDERED_BYTES], uint64_t x);
void ordered_put_i64(uint8_t out[ORDERED_BYTES], int64_t x);
void ordered_put_f64(uint8_t out[ORDERED_BYTES], double x);

uint64_t ordered_get_u64(const uint8_t bytes[ORDERED_BYTES]);
int64_t ordered_get_i64(const uint8_t bytes[ORDERED_BYTES]);
double ordered_get_f64(const uint8_t bytes[ORDERED_BYTES]);

/* The number that sorts among numbers as x among doubles. */
uint64_t ordered_of_f64(double x);

/* Appends one part more; failure is noted in out->failed. */
void ordered_add_part(struct buf *out, struct span part);

/* Appends the first part of *tuple to out and drops it from *tuple.
 *   DLHT_ECORRUPT  no such part; *tuple and out are as before
 *   DLHT_ENOMEM    likewise */
MUST_USE int ordered_take_part(struct span *tuple, struct buf *out);

#endif
