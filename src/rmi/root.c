/* SPDX-License-Identifier: Apache-2.0 */

/* Least squares by QR (LAPACK's dgels). */

#include "rmi/root.h"

#include <cblas.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"

/* LAPACK's own names; Debian keeps the C header of LAPACK in another package.
 * The last argument is the length of trans, as Fortran passes it. */
extern void dgels_(const char *trans, const blasint *m, const blasint *n,
                   const blasint *nrhs, double *a, const blasint *lda,
                   double *b, const blasint *ldb, double *work,
                   const blasint *lwork, blasint *info, size_t trans_len);

enum {
    ROOT_WORK = 64 * ROOT_TERMS /* doubles: dgels' n and a block for each */
};

/* Columns 1, w, w^2, ... below each other, then y. */
static void root_columns(const double *w, const double *y, size_t count,
                         int terms, double *a)
{
    for (size_t i = 0; i < count; i++) {
        double power = 1;
        for (int k = 0; k < terms; k++, power *= w[i])
            a[(size_t)k * count + i] = power;
        a[(size_t)terms * count + i] = y[i];
    }
}

/* False if the columns do not differ enough. */
static bool root_solve(double *a, size_t count, int terms,
                       double coef[ROOT_TERMS])
{
    blasint m = (blasint)count;
    blasint n = terms;
    blasint one = 1;
    blasint room = ROOT_WORK;
    blasint info = 0;
    double work[ROOT_WORK];
    double *y = a + (size_t)terms * count;
    dgels_("N", &m, &n, &one, a, &m, y, &m, work, &room, &info, 1);
    if (info != 0)
        return false;
    for (int k = 0; k < terms; k++)
        if (!isfinite(y[k]) || fabs(y[k]) > 1e12)
            return false;
    memcpy(coef, y, (size_t)terms * sizeof *coef);
    return true;
}

int root_fit(const double *w, const double *y, size_t count, int terms,
             double coef[ROOT_TERMS])
{
    double *a = mem_array(count * ((size_t)terms + 1), sizeof *a);
    if (!a)
        return DLHT_ENOMEM;
    openblas_set_num_threads(1);
    memset(coef, 0, ROOT_TERMS * sizeof *coef);
    for (; terms > 0; terms--) {
        if (count < (size_t)terms)
            continue;
        root_columns(w, y, count, terms, a);
        if (root_solve(a, count, terms, coef))
            break;
    }
    free(a);
    return DLHT_OK;
}
