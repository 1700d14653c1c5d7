/* SPDX-License-Identifier: Apache-2.0 */

/* Sums of a leaf's keys. */

#include "rmi/sums.h"

#include <assert.h>
#include <math.h>

void sums_add(struct sums *sums, double t)
{
    sums_add_many(sums, &t, 1);
}

static unsigned sums_cell(double t)
{
    unsigned cell = (unsigned)(t * SUMS_CELLS);
    return cell < SUMS_CELLS ? cell : SUMS_CELLS - 1;
}

void sums_add_many(struct sums *sums, const double *t, size_t count)
{
    struct sums s = *sums; /* kept in registers */
    double r = s.t[0];
    for (size_t i = 0; i < count; i++, r += 1) {
        double t1 = t[i];
        assert(t1 >= 0 && t1 <= 1);
        double t2 = t1 * t1;
        double t3 = t2 * t1;
        s.t[1] += t1;
        s.t[2] += t2;
        s.t[3] += t3;
        s.t[4] += t2 * t2;
        s.t[5] += t3 * t2;
        s.t[6] += t3 * t3;
        s.tr[0] += r;
        s.tr[1] += r * t1;
        s.tr[2] += r * t2;
        s.tr[3] += r * t3;
        sums->cell[sums_cell(t1)]++;
    }
    for (int k = 1; k < SUMS_POWERS; k++)
        sums->t[k] = s.t[k];
    for (int k = 0; k < SUMS_RANKS; k++)
        sums->tr[k] = s.tr[k];
    sums->t[0] = r;
}

void sums_append(struct sums *sums, const struct sums *later)
{
    double before = sums->t[0];
    for (int k = 0; k < SUMS_RANKS; k++)
        sums->tr[k] += later->tr[k] + before * later->t[k];
    for (int k = 0; k < SUMS_POWERS; k++)
        sums->t[k] += later->t[k];
    for (int k = 0; k < SUMS_CELLS; k++)
        sums->cell[k] += later->cell[k];
}

uint64_t sums_count(const struct sums *sums)
{
    return (uint64_t)sums->t[0];
}

/* x does not pass limit, but for what rounding adds. */
static bool sums_within(double x, double limit)
{
    return x <= limit + 1e-6 * (1 + fabs(limit));
}

/* Each key's t lies in its cell. */
static bool sums_fit_cells(const struct sums *sums)
{
    double count = 0;
    double least = 0;
    double most = 0;
    for (int k = 0; k < SUMS_CELLS; k++) {
        if (sums->cell[k] > (uint64_t)1 << 52)
            return false;
        double n = (double)sums->cell[k];
        count += n;
        least += n * k / SUMS_CELLS;
        most += n * (k + 1) / SUMS_CELLS;
    }
    return count == sums->t[0] && sums_within(least, sums->t[1]) &&
           sums_within(sums->t[1], most);
}

bool sums_are_sane(const struct sums *sums)
{
    double n = sums->t[0];
    if (!(n >= 0 && n <= 0x1p52))
        return false;
    for (int k = 0; k < SUMS_POWERS; k++)
        if (!(sums->t[k] >= 0) ||
            (k > 0 && !sums_within(sums->t[k], sums->t[k - 1])))
            return false;
    for (int k = 0; k < SUMS_RANKS; k++)
        if (!(sums->tr[k] >= 0) ||
            (k > 0 && !sums_within(sums->tr[k], sums->tr[k - 1])))
            return false;
    double ranks = n * (n - 1) / 2;
    return sums_within(sums->tr[0], ranks) && sums_within(ranks, sums->tr[0]) &&
           sums_fit_cells(sums);
}
