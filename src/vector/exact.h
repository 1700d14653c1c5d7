/* SPDX-License-Identifier: Apache-2.0 */

/* vector/exact.h - the nearest rows by looking at every one.
 *
 * The truth that recall is measured against, and the quickest way where rows
 * are few: under a few thousand, or where a filter leaves few. One query is a
 * scan at the speed of memory; many at once are products of matrices, which
 * read a block of rows once for all of them.
 *
 * This is the one file of the tree's search that knows BLAS. It has it use one
 * thread; for several at once each call may be made by a thread of its own. */

#ifndef VECTOR_EXACT_H
#define VECTOR_EXACT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "vector/admit.h"
#include "vector/kernel.h"
#include "vector/topk.h"

/* What a row is called outside; a row that holds nothing has this one. */
#define EXACT_NONE UINT64_MAX

/* Rows to search. A distance is d with KERNEL_L2 and ip_base - d with
 * KERNEL_IP, d being what the kernel says. */
struct exact_set {
    const struct kernel *kernel;
    enum kernel_type type;
    enum kernel_measure measure;
    float ip_base;
    struct kernel_rows rows;
    uint32_t row_count;
    const _Atomic uint64_t *handles; /* NULL: no row is empty, none is asked */
};

/* Offers every row that is not empty and admitted (NULL: all) to top. query is
 * of the rows' type. */
void exact_scan(const struct exact_set *set, const void *query,
                const struct admit *admit, struct topk *top);

/* The k nearest of each of count queries of float32, query_stride floats
 * apart; the set is of KERNEL_F32 too. hits has room for count x k; those of
 * query i begin at i x k, nearest first, and counts[i] says how many. Distances
 * are those of exact_scan: what the product finds is measured again. As
 * products are rounded, of rows whose distances agree to about one part in 10^6
 * of the vectors' squares another may be returned.
 *   DLHT_ENOMEM */
MUST_USE int exact_many(const struct exact_set *set, const float *queries,
                        size_t query_stride, size_t count, size_t k,
                        const struct admit *admit, struct hit *hits,
                        size_t *counts);

#endif
