/* SPDX-License-Identifier: Apache-2.0 */

/* Cutting a model. The prefix stays that of the whole: t depends on the two
 * knots of a leaf only. */

#include "rmi/fit_slice.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "rmi/knots.h"

static bool slice_has_keys(const struct model *model, uint32_t first,
                           uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++)
        if (model->leaf[i].width > 0)
            return true;
    return false;
}

/* The caller deinits *out, whatever is returned. */
static int slice_knots(const struct model *model, uint32_t first,
                       uint32_t count, struct knots *out)
{
    *out = (struct knots){ .count = (size_t)count + 1,
                           .prefix_len = model->prefix_len };
    uint32_t begin = model->at[first];
    uint32_t end = model->at[first + count + 1];
    out->at = mem_array(out->count, sizeof *out->at);
    if (!out->at)
        return DLHT_ENOMEM;
    buf_append(&out->bytes, model->bytes, model->prefix_len);
    buf_append(&out->bytes, model->bytes + begin, end - begin);
    for (size_t i = 0; i < out->count; i++)
        out->at[i] = model->at[first + i] - begin + model->prefix_len;
    return out->bytes.failed ? DLHT_ENOMEM : DLHT_OK;
}

int fit_slice(const struct model *model, uint32_t first, uint32_t count,
              struct model **out)
{
    *out = NULL;
    if (count == 0 || first >= model->leaf_count ||
        count > model->leaf_count - first ||
        !slice_has_keys(model, first, count))
        return DLHT_EINVAL;
    struct fit_config config = { .leaf_count = count,
                                 .root = model->root_kind,
                                 .leaf = model->leaf_kind };
    struct knots knots;
    struct model *slice = NULL;
    int rc = slice_knots(model, first, count, &knots);
    if (rc == DLHT_OK)
        rc = model_new(&knots, &config, &slice);
    knots_deinit(&knots);
    if (rc != DLHT_OK)
        return rc;
    for (uint32_t i = 0; i < count; i++) {
        const struct leaf *from = &model->leaf[first + i];
        struct leaf *to = &slice->leaf[i];
        to->width = from->width;
        to->coef[0] = from->coef[0];
        to->coef[1] = from->coef[1];
        to->lo = from->lo;
        to->hi = from->hi;
    }
    model_finish(slice);
    *out = slice;
    return DLHT_OK;
}
