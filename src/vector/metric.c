/* SPDX-License-Identifier: Apache-2.0 */

/* What "near" means. */

#include "vector/metric.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "dlht/err.h"

static const char *const names[METRICS] = { "l2", "cosine", "ip" };

const char *metric_name(enum metric metric)
{
    return names[metric];
}

bool metric_from_name(const char *name, enum metric *out)
{
    for (int i = 0; i < METRICS; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum metric)i;
            return true;
        }
    return false;
}

static int refuse(struct metric_fault *fault, struct metric_fault why)
{
    if (fault)
        *fault = why;
    return DLHT_EINVAL;
}

int metric_check(enum metric metric, const float *vector, size_t dim,
                 struct metric_fault *fault)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += (double)vector[i] * (double)vector[i];
    if (!isfinite(sum)) /* a finite float's square fits a double */
        for (size_t i = 0; i < dim; i++) {
            struct metric_fault why = { isnan(vector[i])
                                            ? "holds NaN at position"
                                            : "holds infinity at position",
                                        true, i };
            if (!isfinite(vector[i]))
                return refuse(fault, why);
        }
    /* |a - b|^2 <= 2 |a|^2 + 2 |b|^2 must fit, too. */
    if (sum > (double)FLT_MAX / 4)
        return refuse(fault, (struct metric_fault){ "is too long for float32",
                                                    false, 0 });
    if (metric == METRIC_COSINE && !(sum > 0))
        return refuse(fault, (struct metric_fault){
                                 "is zero and has no direction", false, 0 });
    return DLHT_OK;
}

float metric_normalise(const float *vector, size_t dim, float *out)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += (double)vector[i] * (double)vector[i];
    double length = sqrt(sum);
    double scale = 1 / length;
    for (size_t i = 0; i < dim; i++)
        out[i] = (float)((double)vector[i] * scale);
    return (float)length;
}
