/* SPDX-License-Identifier: Apache-2.0 */

/* Averaging of coefficients. */

#include "training/fedavg.h"

#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"

static int fedavg_same_knot(const struct model *a, const struct model *b,
                            uint32_t i, struct buf bytes[2])
{
    buf_reset(&bytes[0]);
    buf_reset(&bytes[1]);
    if (model_knot(a, i, &bytes[0]) != DLHT_OK ||
        model_knot(b, i, &bytes[1]) != DLHT_OK)
        return DLHT_ENOMEM;
    bool same = span_equal(buf_span(&bytes[0]), buf_span(&bytes[1]));
    return same ? DLHT_OK : DLHT_EINVAL;
}

/* DLHT_OK if knots and kinds are the same. */
static int fedavg_same(const struct model *a, const struct model *b,
                       struct buf bytes[2])
{
    uint32_t leaf_count = model_leaf_count(a);
    if (leaf_count != model_leaf_count(b) ||
        model_leaf_kind(a) != model_leaf_kind(b))
        return DLHT_EINVAL;
    int rc = DLHT_OK;
    for (uint32_t i = 0; i <= leaf_count && rc == DLHT_OK; i++)
        rc = fedavg_same_knot(a, b, i, bytes);
    return rc;
}

static int fedavg_check(const struct fedavg_part *parts, size_t count)
{
    uint64_t keys = 0;
    for (size_t p = 0; p < count; p++)
        keys |= parts[p].keys;
    if (keys == 0) /* or no parts */
        return DLHT_EINVAL;
    struct buf bytes[2] = { { 0 }, { 0 } };
    int rc = DLHT_OK;
    for (size_t p = 1; p < count && rc == DLHT_OK; p++)
        rc = fedavg_same(parts[0].model, parts[p].model, bytes);
    buf_deinit(&bytes[0]);
    buf_deinit(&bytes[1]);
    return rc;
}

static void fedavg_average(const struct fedavg_part *parts, size_t count,
                           uint32_t leaf_count, double *out)
{
    double keys = 0;
    for (size_t p = 0; p < count; p++)
        keys += (double)parts[p].keys;
    for (uint32_t i = 0; i < leaf_count; i++) {
        double sum[2] = { 0, 0 };
        for (size_t p = 0; p < count; p++) {
            double coef[2];
            model_leaf_coefficients(parts[p].model, i, coef);
            sum[0] += (double)parts[p].keys * coef[0];
            sum[1] += (double)parts[p].keys * coef[1];
        }
        out[2 * (size_t)i] = sum[0] / keys;
        out[2 * (size_t)i + 1] = sum[1] / keys;
    }
}

int fedavg_merge(const struct fedavg_part *parts, size_t count,
                 struct model **out)
{
    *out = NULL;
    int rc = fedavg_check(parts, count);
    if (rc != DLHT_OK)
        return rc;
    uint32_t leaf_count = model_leaf_count(parts[0].model);
    double *coefficients =
        mem_array(2 * (size_t)leaf_count, sizeof *coefficients);
    if (!coefficients)
        return DLHT_ENOMEM;
    fedavg_average(parts, count, leaf_count, coefficients);
    rc = fit_with_coefficients(parts[0].model, coefficients, out);
    free(coefficients);
    return rc;
}

bool fedavg_ready(uint64_t keys_new, uint64_t keys_known)
{
    /* 2 / 5 of known, rounded up, without overflow. */
    uint64_t wanted = keys_known / 5 * 2 + (keys_known % 5 * 2 + 4) / 5;
    return keys_new > 0 && keys_new >= wanted;
}

bool fedavg_may_coordinate(bool self_ready, size_t neighbours_ready,
                           size_t neighbours)
{
    if (neighbours_ready > neighbours)
        neighbours_ready = neighbours;
    return self_ready && neighbours - neighbours_ready <= neighbours / 10;
}
