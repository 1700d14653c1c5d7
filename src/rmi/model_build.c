/* SPDX-License-Identifier: Apache-2.0 */

/* Putting a model together from its knots. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "rmi/knots.h"
#include "rmi/root.h"

enum {
    LINE_OF_CACHE = 64,
    ROOT_ROWS_MAX = 4096 /* knots that the root is fitted to */
};

_Static_assert(sizeof(struct leaf) == LINE_OF_CACHE,
               "a leaf is one line of the cache");

/* Sizes of what follows the head, each a multiple of 8 but the last two. */
struct layout {
    size_t leaf, head, at, bytes, total;
};

static struct layout model_layout(uint32_t leaf_count, size_t bytes_len)
{
    size_t k = leaf_count;
    struct layout layout;
    layout.leaf = sizeof(struct model) + LINE_OF_CACHE; /* room to align */
    layout.head = layout.leaf + k * sizeof(struct leaf);
    layout.at = layout.head + (k + 1) * sizeof(uint64_t);
    layout.bytes = layout.at + (k + 2) * sizeof(uint32_t);
    layout.total = layout.bytes + bytes_len;
    return layout;
}

struct model *model_alloc(uint32_t leaf_count, size_t bytes_len)
{
    struct layout layout = model_layout(leaf_count, bytes_len);
    uint8_t *block = mem_zero(1, layout.total);
    if (!block)
        return NULL;
    struct model *model = (struct model *)(void *)block;
    size_t leaf =
        layout.leaf - (uintptr_t)(block + layout.leaf) % LINE_OF_CACHE;
    model->leaf = (struct leaf *)(void *)(block + leaf);
    /* What was room to align is now unused between leaves and heads. */
    model->head = (uint64_t *)(void *)(block + layout.head);
    model->at = (uint32_t *)(void *)(block + layout.at);
    model->bytes = block + layout.bytes;
    model->leaf_count = leaf_count;
    model->bytes_len = bytes_len;
    return model;
}

struct model *model_copy(const struct model *model)
{
    struct model *copy = model_alloc(model->leaf_count, model->bytes_len);
    if (!copy)
        return NULL;
    struct model places = *copy;
    size_t k = model->leaf_count;
    *copy = *model;
    copy->leaf = places.leaf;
    copy->head = places.head;
    copy->at = places.at;
    copy->bytes = places.bytes;
    memcpy(copy->leaf, model->leaf, k * sizeof *model->leaf);
    memcpy(copy->head, model->head, (k + 1) * sizeof *model->head);
    memcpy(copy->at, model->at, (k + 2) * sizeof *model->at);
    memcpy(copy->bytes, model->bytes, model->bytes_len);
    return copy;
}

void model_measure_knots(struct model *model)
{
    size_t k = model->leaf_count;
    model->open_end = model_suffix(model, k).len > MODEL_KNOT_MAX;
    model->prefix8 = key8_at(span_of(model->bytes, model->prefix_len), 0);
    model->prefix8_mask = model->prefix_len == 0 ? 0
                          : model->prefix_len >= 8
                              ? UINT64_MAX
                              : UINT64_MAX << (8 * (8 - model->prefix_len));
    for (size_t i = 0; i <= k; i++)
        model->head[i] = key8_at(model_suffix(model, i), 0);
    for (size_t i = 0; i < k; i++) {
        struct span from = model_suffix(model, i);
        struct span to = model_suffix(model, i + 1);
        size_t common = key8_common(from, to);
        struct leaf *leaf = &model->leaf[i];
        leaf->skip = model->prefix_len + (uint32_t)common;
        leaf->base = key8_at(from, common);
        uint64_t range = key8_at(to, common) - leaf->base;
        leaf->inverse = range ? 1 / (double)range : 0;
    }
}

/* The last knot with the same head: what model_find_head finds. */
static size_t model_last_of_head(const struct model *model, size_t i)
{
    while (i < model->leaf_count && model->head[i + 1] == model->head[i])
        i++;
    return i;
}

static double model_root_w(const struct model *model, uint64_t x)
{
    return key8_double(x - model->root.base) * model->root.scale - 1;
}

void model_measure_root(struct model *model)
{
    size_t k = model->leaf_count;
    const double *c = model->root.coef;
    uint64_t range = model->head[k] - model->head[0];
    model->root.base = model->head[0];
    model->root.scale = range ? 2 / (double)range : 0;
    double below = 0;
    double above = 0;
    for (size_t i = 0; i <= k; i++) {
        i = model_last_of_head(model, i);
        uint64_t end = i < k ? model->head[i + 1] - 1 : model->head[k];
        uint64_t ends[2] = { model->head[i], end };
        for (int e = 0; e < 2; e++) {
            double w = model_root_w(model, ends[e]);
            double guess = ((c[3] * w + c[2]) * w + c[1]) * w + c[0];
            guess = guess > 0 ? guess : 0;
            guess = guess < (double)k ? guess : (double)k;
            double off = (double)i - guess;
            below = off < below ? off : below;
            above = off > above ? off : above;
        }
    }
    /* The guess is cut to a whole number, so one more below is not needed. */
    model->root.below = (size_t)-below + 1;
    size_t window = model->root.below + (size_t)above + 2;
    model->root.window = window < k + 1 ? window : k + 1;
}

/* Least squares of the number of a knot on its head. */
static int model_fit_root(struct model *model)
{
    size_t k = model->leaf_count;
    size_t step = k / ROOT_ROWS_MAX + 1;
    size_t rows = k / step + 2;
    double *w = mem_array(2 * rows, sizeof *w);
    if (!w)
        return DLHT_ENOMEM;
    double *y = w + rows;
    size_t n = 0;
    uint64_t range = model->head[k] - model->head[0];
    model->root.base = model->head[0];
    model->root.scale = range ? 2 / (double)range : 0;
    for (size_t i = 0; i <= k; i += step) {
        i = model_last_of_head(model, i);
        w[n] = model_root_w(model, model->head[i]);
        y[n] = (double)i;
        n++;
    }
    int terms = model->root_kind == MODEL_CUBIC ? 4 : 2;
    int rc = root_fit(w, y, n, terms, model->root.coef);
    free(w);
    return rc;
}

static void model_straighten(struct model *model)
{
    bool cubic = model->leaf_kind == MODEL_CUBIC;
    for (size_t i = 0; i < model->leaf_count; i++) {
        model->leaf[i].coef[0] = cubic ? 1 : 0;
        model->leaf[i].coef[1] = 1;
    }
}

int model_new(const struct knots *knots, const struct fit_config *config,
              struct model **out)
{
    assert(knots->count >= 2 && !knots->bytes.failed);
    *out = NULL;
    struct model *model =
        model_alloc((uint32_t)knots->count - 1, knots->bytes.len);
    if (!model)
        return DLHT_ENOMEM;
    model->prefix_len = knots->prefix_len;
    model->root_kind = config->root;
    model->leaf_kind = config->leaf;
    memcpy(model->at, knots->at, knots->count * sizeof *knots->at);
    model->at[knots->count] = (uint32_t)knots->bytes.len;
    if (knots->bytes.len)
        memcpy(model->bytes, knots->bytes.data, knots->bytes.len);
    model_measure_knots(model);
    model_straighten(model);
    if (model_fit_root(model) != DLHT_OK) {
        model_free(model);
        return DLHT_ENOMEM;
    }
    model_measure_root(model);
    *out = model;
    return DLHT_OK;
}

static size_t model_size_packed(const struct model *model)
{
    size_t size = PACKED_HEAD + PACKED_TAIL + model->prefix_len +
                  (size_t)model->leaf_count * PACKED_LEAF;
    struct span before = span_empty();
    for (size_t i = 0; i <= model->leaf_count; i++) {
        struct span knot = model_suffix(model, i);
        size += packed_knot_size(before, knot);
        before = knot;
    }
    for (size_t i = 0; i < model->leaf_count; i++)
        size += packed_width_size((uint64_t)model->leaf[i].width);
    return size;
}

void model_finish(struct model *model)
{
    uint64_t count = 0;
    for (size_t i = 0; i < model->leaf_count; i++) {
        model->leaf[i].before = (double)count;
        count += (uint64_t)model->leaf[i].width;
    }
    assert(count > 0 && count <= MODEL_KEYS_MAX);
    model->key_count = count;
    model->keys = (double)count;
    model->to_position = 0x1p64 / model->keys;
    model->packed_size = model_size_packed(model);
}
