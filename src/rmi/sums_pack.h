/* SPDX-License-Identifier: Apache-2.0 */

/* rmi/sums_pack.h - sums as they travel: only what a leaf of one kind needs.
 *
 * Of each leaf: its keys, then if there are any the numbers in all cells but
 * the last, each in groups of 7 bits, lowest first; then doubles, little
 * endian. A line needs sum t, sum t^2 and sum r t; a cubic all powers. Sum r
 * follows from the keys. What is left out is zero when read back, so sums of
 * one kind are joined and fitted as that kind only. */

#ifndef RMI_SUMS_PACK_H
#define RMI_SUMS_PACK_H

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"
#include "rmi/model.h"
#include "rmi/sums.h"

/* Appends sums of count leaves. Whether there was memory is noted in out. */
void sums_pack(const struct sums *sums, size_t count, enum model_kind kind,
               struct buf *out);

/* Reads sums of exactly count leaves, and no byte more. They may still be
 * anything: see sums_are_sane. On failure sums are undefined.
 *   DLHT_EPROTO */
MUST_USE int sums_unpack(struct span bytes, enum model_kind kind,
                         struct sums *sums, size_t count);

#endif
