/* SPDX-License-Identifier: Apache-2.0 */

/* training/report.h - what the holder of an arc says of its keys.
 *
 * Pass 1: how many keys [lo, hi) has, exactly, and quantiles of them. Pass 2:
 * sums over the leaves of a skeleton (rmi/sums.h). Arcs tile their keyspace,
 * so reports that tile it, in key order, add up to what one look at all keys
 * would have seen.
 *
 * Reports come from strangers: nothing here is trusted before report_check. */

#ifndef TRAINING_REPORT_H
#define TRAINING_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/must_use.h"
#include "base/span.h"
#include "rmi/fit.h"

enum {
    REPORT_QUANTILES_MAX = 1024,
    REPORT_KEY_LEN_MAX = 65536,  /* as long as a key may be in the grid */
    REPORT_BYTES_MAX = 256 << 10 /* of all quantiles' keys, written out: a
                                  * longer report has fewer quantiles */
};

/* Far above what fits in an arc, which is cut at 64 MiB; so low that all
 * claims of a round add up to less than a model may have. */
#define REPORT_KEYS_MAX ((uint64_t)1 << 32)

struct report {
    struct span lo;
    struct span hi; /* if has_hi */
    bool has_hi;
    uint64_t keys;
    const struct fit_quantile *quantiles; /* strictly ascending, in [lo, hi);
                                           * counts above 0 that add up to
                                           * keys; a key may be cut short by
                                           * report_separator */
    size_t quantile_count;                /* 0 if and only if keys is 0 */
    struct span end;                      /* the greatest key, if any */
};

/* DLHT_EPROTO: it contradicts itself. */
MUST_USE int report_check(const struct report *report);

/* How many quantiles an arc with share (0 .. 1) of the keys should give for a
 * model of leaf_count leaves: about four a leaf, 8 at least. */
size_t report_quantiles_wanted(double share, uint32_t leaf_count);

/* The shortest begin of key that sorts after before, before < key: as good a
 * quantile as key itself, with fewer bytes and less said about the data. */
struct span report_separator(struct span before, struct span key);

/* How quantiles travel: each key as the bytes that it begins with as the one
 * before (the first: as lo), how many more there are, and those; then its
 * count; at last the end, likewise. All numbers in groups of 7 bits, lowest
 * first. Whether there was memory is noted in out. */
void report_pack(const struct report *report, struct buf *out);

/* Reads count quantiles and, unless count is 0, an end, after lo; no byte more.
 * Keys point into room, which is reset; quantiles has count places. What they
 * say is to be checked.
 *   DLHT_EPROTO  not of this form, or more than REPORT_BYTES_MAX of keys
 *   DLHT_ENOMEM */
MUST_USE int report_unpack(struct span packed, struct span lo, size_t count,
                           struct fit_quantile *quantiles, struct span *end,
                           struct buf *room);

#endif
