/* SPDX-License-Identifier: Apache-2.0 */

/* Least squares of a leaf: y = r / n on t.
 *
 * The line: the ordinary one; its slope is not negative, since r and t both
 * ascend (Chebyshev's sum inequality), but for rounding.
 *
 * The cubic: y = h01 + m0 h10 + m1 h11 in Hermite's form, so that it goes from
 * 0 to 1; the two end slopes solve two normal equations within [0, 3]^2, where
 * every such cubic is monotone (Fritsch and Carlson 1980). */

#include "rmi/fit_leaf.h"

#include <math.h>

/* Draws slopes that keys at few places say little of towards 1, the straight
 * line: without it what rounding left in the sums would be blown up, and the
 * order in which parts were joined would show. */
#define CUBIC_PULL 1e-6

static void fit_line(const struct sums *sums, double coef[2])
{
    double n = sums->t[0];
    double mean_t = sums->t[1] / n;
    double mean_r = sums->tr[0] / n;
    double tt = sums->t[2] - sums->t[1] * mean_t;
    double tr = sums->tr[1] - sums->tr[0] * mean_t;
    double slope = tt > 1e-11 * sums->t[2] ? tr / tt : 0;
    slope = slope > 0 ? slope : 0;
    slope = slope < MODEL_COEF_MAX ? slope : MODEL_COEF_MAX;
    coef[1] = slope / n;
    coef[0] = (mean_r - slope * mean_t) / n;
}

/* A quadratic form to make least: a x^2 + 2 b x y + c y^2 - 2 (d x + e y). */
struct bowl {
    double a, b, c, d, e;
};

static double bowl_at(const struct bowl *q, double x, double y)
{
    return (q->a * x + 2 * q->b * y - 2 * q->d) * x + (q->c * y - 2 * q->e) * y;
}

static double box(double x)
{
    x = x > 0 ? x : 0;
    return x < 3 ? x : 3;
}

/* The least on the four sides of the box. */
static void bowl_on_sides(const struct bowl *q, double out[2])
{
    double least = INFINITY;
    out[0] = out[1] = 1;
    for (int side = 0; side < 4; side++) {
        double fixed = side & 1 ? 3 : 0;
        double point[2];
        if (side < 2) {
            point[0] = fixed;
            point[1] = box((q->e - q->b * fixed) / q->c);
        } else {
            point[1] = fixed;
            point[0] = box((q->d - q->b * fixed) / q->a);
        }
        double here = bowl_at(q, point[0], point[1]);
        if (here < least) {
            least = here;
            out[0] = point[0];
            out[1] = point[1];
        }
    }
}

/* h10 = t - 2 t^2 + t^3, h11 = t^3 - t^2, h01 = 3 t^2 - 2 t^3; their products,
 * summed, are sums of powers. */
static void fit_cubic(const struct sums *sums, double coef[2])
{
    const double *t = sums->t;
    const double *tr = sums->tr;
    double n = t[0];
    struct bowl q;
    q.a = t[2] - 4 * t[3] + 6 * t[4] - 4 * t[5] + t[6];
    q.b = -t[3] + 3 * t[4] - 3 * t[5] + t[6];
    q.c = t[4] - 2 * t[5] + t[6];
    q.d = (tr[1] - 2 * tr[2] + tr[3]) / n -
          (3 * t[3] - 8 * t[4] + 7 * t[5] - 2 * t[6]);
    q.e = (tr[3] - tr[2]) / n - (-3 * t[4] + 5 * t[5] - 2 * t[6]);
    q.a += CUBIC_PULL * n;
    q.c += CUBIC_PULL * n;
    q.d += CUBIC_PULL * n;
    q.e += CUBIC_PULL * n;
    double det = q.a * q.c - q.b * q.b;
    coef[0] = (q.d * q.c - q.e * q.b) / det;
    coef[1] = (q.a * q.e - q.b * q.d) / det;
    if (!(coef[0] >= 0 && coef[0] <= 3 && coef[1] >= 0 && coef[1] <= 3))
        bowl_on_sides(&q, coef);
}

void fit_leaf(const struct sums *sums, enum model_kind kind, double coef[2])
{
    if (kind == MODEL_CUBIC)
        fit_cubic(sums, coef);
    else
        fit_line(sums, coef);
}

void fit_leaf_bounds(struct leaf *leaf, double lo, double hi, double keys)
{
    double slack = keys * 0x1p-49;
    lo = (lo < 0 ? lo : 0) - slack;
    hi = (hi > 0 ? hi : 0) + slack;
    leaf->lo = nextafterf((float)lo, -INFINITY);
    leaf->hi = nextafterf((float)hi, INFINITY);
}

void fit_leaf_bounds_of_cells(struct leaf *leaf, enum model_kind kind,
                              const struct sums *sums, bool first, bool last,
                              double keys)
{
    double lo = 0;
    double hi = 0;
    double before = 0;
    for (int k = 0; k < SUMS_CELLS; k++) {
        double n = (double)sums->cell[k];
        double from = (double)k / SUMS_CELLS;
        double to = (double)(k + 1) / SUMS_CELLS;
        double least =
            first && k == 0 ? 0 : leaf->width * model_y(kind, leaf, from);
        double most = last && k + 1 == SUMS_CELLS
                          ? leaf->width
                          : leaf->width * model_y(kind, leaf, to);
        if (n > 0) {
            lo = before - most < lo ? before - most : lo;
            hi = before + n - least > hi ? before + n - least : hi;
        }
        before += n;
    }
    fit_leaf_bounds(leaf, lo, hi, keys);
}
