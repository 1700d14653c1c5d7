/* SPDX-License-Identifier: Apache-2.0 */

/* rmi/root.h - least squares for the root; the one place that calls OpenBLAS.
 *
 * OpenBLAS is told, for the whole process, to use one thread: on problems of
 * this size its threads only wait for each other. */

#ifndef RMI_ROOT_H
#define RMI_ROOT_H

#include <stddef.h>

#include "base/must_use.h"

enum {
    ROOT_TERMS = 4
};

/* The polynomial of terms coefficients (2 or 4) in w, within [-1, 1], that is
 * nearest to y; higher coefficients are 0. What cannot be solved (fewer
 * different w than terms) is answered by fewer terms. DLHT_ENOMEM */
MUST_USE int root_fit(const double *w, const double *y, size_t count, int terms,
                      double coef[ROOT_TERMS]);

#endif
