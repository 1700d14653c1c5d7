/* SPDX-License-Identifier: Apache-2.0 */

/* Fitting a model in two passes, to keys that lie on many peers. */

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "rmi/fit.h"
#include "rmi/fit_leaf.h"
#include "rmi/knots.h"

/* A leaf of which nothing is known but its width. */
static void fit_widen(struct leaf *leaf, double keys)
{
    fit_leaf_bounds(leaf, -leaf->width, leaf->width, keys);
}

/* Keys and weights as a source; both arrays are the caller's to free. */
static int fit_quantiles(const struct fit_quantile *quantiles, size_t count,
                         struct span end, struct span *spans, uint64_t *before)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        struct span key = quantiles[i].key;
        if (i > 0 && span_compare(spans[i - 1], key) >= 0)
            return DLHT_EINVAL;
        spans[i] = key;
        before[i] = sum;
        if (quantiles[i].count > MODEL_KEYS_MAX - sum)
            return DLHT_EINVAL;
        sum += quantiles[i].count;
    }
    before[count] = sum;
    bool ordered = span_compare(spans[count - 1], end) <= 0;
    return ordered && sum > 0 ? DLHT_OK : DLHT_EINVAL;
}

static int fit_straight(const struct source *source, struct span end,
                        const struct fit_config *config, struct model **out)
{
    struct knots knots;
    struct model *model = NULL;
    int rc = knots_choose(source, end, config->leaf_count, &knots);
    if (rc == DLHT_OK)
        rc = model_new(&knots, config, &model);
    if (rc == DLHT_OK) {
        for (size_t i = 0; i < model->leaf_count; i++) {
            uint64_t width =
                source->before[knots.cut[i + 1]] - source->before[knots.cut[i]];
            model->leaf[i].width = (double)width;
            fit_widen(&model->leaf[i], (double)source_total(source));
        }
        model_finish(model);
    }
    knots_deinit(&knots);
    *out = model;
    return rc;
}

int fit_skeleton(const struct fit_quantile *quantiles, size_t count,
                 struct span end, const struct fit_config *config,
                 struct model **out)
{
    *out = NULL;
    if (!fit_config_is_valid(config) || count == 0)
        return DLHT_EINVAL;
    struct span *spans = mem_array(count, sizeof *spans);
    uint64_t *before = mem_array(count + 1, sizeof *before);
    int rc = DLHT_ENOMEM;
    if (spans && before)
        rc = fit_quantiles(quantiles, count, end, spans, before);
    if (rc == DLHT_OK) {
        struct source source = { .spans = spans,
                                 .before = before,
                                 .count = count };
        rc = fit_straight(&source, end, config, out);
    }
    free(spans);
    free(before);
    return rc;
}

/* The leaf's width is set before. */
static void fit_from_sums(struct model *model, uint32_t i,
                          const struct sums *sums, double keys)
{
    struct leaf *leaf = &model->leaf[i];
    if (sums_count(sums) > 0)
        fit_leaf(sums, model->leaf_kind, leaf->coef);
    fit_leaf_bounds_of_cells(leaf, model->leaf_kind, sums, i == 0,
                             i + 1 == model->leaf_count, keys);
}

/* A copy with straight leaves of the kinds asked for. */
static int fit_like(const struct model *model, const struct fit_config *config,
                    struct model **out)
{
    struct knots knots = { .bytes = { .data = model->bytes,
                                      .len = model->bytes_len },
                           .at = model->at,
                           .count = (size_t)model->leaf_count + 1,
                           .prefix_len = model->prefix_len };
    return model_new(&knots, config, out);
}

int fit_leaves(const struct model *skeleton, const struct sums *sums,
               const struct fit_config *config, struct model **out)
{
    *out = NULL;
    if (!fit_config_is_valid(config))
        return DLHT_EINVAL;
    double keys = 0;
    for (uint32_t i = 0; i < skeleton->leaf_count; i++) {
        if (!sums_are_sane(&sums[i]))
            return DLHT_EINVAL;
        keys += sums[i].t[0];
    }
    if (keys < 1 || keys > (double)MODEL_KEYS_MAX)
        return DLHT_EINVAL;
    struct model *model;
    if (fit_like(skeleton, config, &model) != DLHT_OK)
        return DLHT_ENOMEM;
    for (uint32_t i = 0; i < model->leaf_count; i++) {
        model->leaf[i].width = sums[i].t[0];
        fit_from_sums(model, i, &sums[i], keys);
    }
    model_finish(model);
    *out = model;
    return DLHT_OK;
}

/* True if key, which is not before one that is in leaf i, is in it, too. */
static bool fit_is_in(const struct model *model, uint32_t i, struct span key)
{
    if (!span_has_prefix(key, span_of(model->bytes, model->prefix_len)))
        return false;
    struct span tail = span_tail(key, model->prefix_len);
    return (i + 1 == model->leaf_count && model->open_end) ||
           span_compare(tail, model_suffix(model, i + 1)) < 0;
}

void fit_sum(const struct model *model, const struct span *keys, size_t count,
             struct sums *sums)
{
    uint32_t leaf = 0;
    bool known = false; /* the last key was in leaf */
    for (size_t i = 0; i < count; i++) {
        struct span key = keys[i];
        double t = 0;
        known = known && fit_is_in(model, leaf, key);
        if (!known) {
            enum model_side side = model_locate(model, key, &leaf);
            known = side == MODEL_INSIDE;
            t = side == MODEL_AFTER ? 1 : 0;
        }
        const struct leaf *l = &model->leaf[leaf];
        if (known)
            t = model_t_of(l, key8_at(key, l->skip));
        sums_add(&sums[leaf], t);
    }
}

int fit_update_leaf(const struct model *model, uint32_t leaf,
                    const struct sums *sums, struct model **out)
{
    *out = NULL;
    if (leaf >= model->leaf_count || !sums_are_sane(sums))
        return DLHT_EINVAL;
    double keys = model->keys - model->leaf[leaf].width + sums->t[0];
    if (keys < 1 || keys > (double)MODEL_KEYS_MAX)
        return DLHT_EINVAL;
    struct model *copy = model_copy(model);
    if (!copy)
        return DLHT_ENOMEM;
    copy->leaf[leaf].width = sums->t[0];
    fit_from_sums(copy, leaf, sums, keys);
    model_finish(copy);
    *out = copy;
    return DLHT_OK;
}

static double fit_held(double x, double least, double most)
{
    x = x > least ? x : least; /* what is no number is least, too */
    return x < most ? x : most;
}

int fit_with_coefficients(const struct model *model, const double *coefficients,
                          struct model **out)
{
    *out = NULL;
    struct model *copy = model_copy(model);
    if (!copy)
        return DLHT_ENOMEM;
    for (uint32_t i = 0; i < copy->leaf_count; i++) {
        struct leaf *leaf = &copy->leaf[i];
        bool cubic = copy->leaf_kind == MODEL_CUBIC;
        double most = cubic ? 3 : MODEL_COEF_MAX;
        leaf->coef[0] = fit_held(coefficients[2 * (size_t)i],
                                 cubic ? 0 : -MODEL_COEF_MAX, most);
        leaf->coef[1] = fit_held(coefficients[2 * (size_t)i + 1], 0, most);
        fit_widen(leaf, copy->keys);
    }
    *out = copy;
    return DLHT_OK;
}
