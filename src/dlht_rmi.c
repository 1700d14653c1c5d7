/* SPDX-License-Identifier: Apache-2.0 */

/* The calls of dlht/rmi.h. A struct dlht_model is a struct model of rmi/. */

#include "dlht/rmi.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/ordered.h"
#include "rmi/fit.h"

_Static_assert((int)DLHT_MODEL_LINEAR == (int)MODEL_LINEAR &&
                   (int)DLHT_MODEL_CUBIC == (int)MODEL_CUBIC,
               "kinds have the same numbers inside and outside");

static const struct model *inner(const struct dlht_model *model)
{
    return (const struct model *)(const void *)model;
}

static int hand_out(int rc, struct model *model, struct dlht_model **out)
{
    *out = (struct dlht_model *)(void *)model;
    return rc;
}

static struct fit_config config_of(const struct dlht_model_config *config)
{
    struct fit_config c = fit_config_default();
    if (config && config->leaf_count)
        c.leaf_count = config->leaf_count;
    if (config && config->root)
        c.root = (enum model_kind)config->root;
    if (config && config->leaf)
        c.leaf = (enum model_kind)config->leaf;
    return c;
}

/* NULL: no memory. */
static struct span *spans_of(const struct dlht_bytes *keys, size_t count)
{
    struct span *spans = mem_array(count, sizeof *spans);
    for (size_t i = 0; spans && i < count; i++)
        spans[i] = span_of(keys[i].data, keys[i].len);
    return spans;
}

int dlht_model_train(const struct dlht_bytes *keys, size_t count,
                     const struct dlht_model_config *config,
                     struct dlht_model **out)
{
    struct fit_config c = config_of(config);
    struct model *model = NULL;
    struct span *spans = spans_of(keys, count);
    int rc = spans ? fit_keys(spans, count, &c, &model) : (int)DLHT_ENOMEM;
    free(spans);
    return hand_out(rc, model, out);
}

int dlht_model_train_u64(const uint64_t *keys, size_t count,
                         const struct dlht_model_config *config,
                         struct dlht_model **out)
{
    struct fit_config c = config_of(config);
    struct model *model;
    int rc = fit_u64(keys, count, &c, &model);
    return hand_out(rc, model, out);
}

int dlht_model_train_f64(const double *keys, size_t count,
                         const struct dlht_model_config *config,
                         struct dlht_model **out)
{
    *out = NULL;
    uint64_t *numbers = mem_array(count, sizeof *numbers);
    if (!numbers)
        return DLHT_ENOMEM;
    for (size_t i = 0; i < count; i++)
        numbers[i] = ordered_of_f64(keys[i]);
    int rc = dlht_model_train_u64(numbers, count, config, out);
    free(numbers);
    return rc;
}

void dlht_model_free(struct dlht_model *model)
{
    model_free((struct model *)(void *)model);
}

uint64_t dlht_model_position(const struct dlht_model *model, const void *key,
                             size_t key_len)
{
    return model_position(inner(model), span_of(key, key_len));
}

uint64_t dlht_model_position_u64(const struct dlht_model *model, uint64_t key)
{
    return model_position_u64(inner(model), key);
}

uint64_t dlht_model_position_f64(const struct dlht_model *model, double key)
{
    return model_position_u64(inner(model), ordered_of_f64(key));
}

struct dlht_model_guess
dlht_model_position_with_error(const struct dlht_model *model, const void *key,
                               size_t key_len)
{
    struct model_guess guess = model_guess(inner(model), span_of(key, key_len));
    return (struct dlht_model_guess){ .position = guess.position,
                                      .lo = guess.lo,
                                      .hi = guess.hi,
                                      .leaf = guess.leaf };
}

struct dlht_model_range dlht_model_range(const struct dlht_model *model,
                                         struct dlht_bytes from,
                                         struct dlht_bytes to)
{
    struct span first = span_of(from.data, from.len);
    struct span end = span_of(to.data, to.len);
    struct dlht_model_range range;
    model_range(inner(model), first, end, &range.lo, &range.hi);
    range.count = model_count(inner(model), first, end, &range.error);
    return range;
}

int dlht_model_key_at(const struct dlht_model *model, uint64_t position,
                      void **key, size_t *key_len)
{
    struct buf bytes = { 0 };
    *key = NULL;
    *key_len = 0;
    int rc = model_key_at(inner(model), position, &bytes);
    if (rc == DLHT_OK)
        rc = buf_reserve(&bytes, 1);
    if (rc != DLHT_OK) {
        buf_deinit(&bytes);
        return rc;
    }
    bytes.data[bytes.len] = 0;
    *key = buf_take(&bytes, key_len);
    return DLHT_OK;
}

/* Sums of the keys that are in one leaf. */
static void sum_leaf(const struct model *model, uint32_t leaf,
                     const struct dlht_bytes *keys, size_t count,
                     struct sums *sums)
{
    for (size_t i = 0; i < count; i++) {
        struct span key = span_of(keys[i].data, keys[i].len);
        if (model_leaf_of(model, key) == leaf)
            sums_add(sums, model_t(model, leaf, key));
    }
}

static bool bytes_ascend(const struct dlht_bytes *keys, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (span_compare(span_of(keys[i - 1].data, keys[i - 1].len),
                         span_of(keys[i].data, keys[i].len)) > 0)
            return false;
    return true;
}

int dlht_model_update_leaf(const struct dlht_model *model, uint32_t leaf,
                           const struct dlht_bytes *keys, size_t count,
                           struct dlht_model **out)
{
    *out = NULL;
    if (leaf >= model_leaf_count(inner(model)) || !bytes_ascend(keys, count))
        return DLHT_EINVAL;
    struct sums sums = { { 0 }, { 0 }, { 0 } };
    sum_leaf(inner(model), leaf, keys, count, &sums);
    struct model *updated;
    int rc = fit_update_leaf(inner(model), leaf, &sums, &updated);
    return hand_out(rc, updated, out);
}

static void stats_measure(const struct model *model, const struct span *keys,
                          size_t count, struct dlht_model_stats *out)
{
    struct model_stats stats;
    model_measure(model, keys, count, &stats);
    out->ks = stats.ks;
    out->mean_error = stats.mean_error;
    out->max_error = stats.max_error;
    out->mean_bound = stats.mean_bound;
    out->inversions = stats.inversions;
    out->outside = stats.outside;
}

int dlht_model_stats(const struct dlht_model *model,
                     const struct dlht_bytes *keys, size_t count,
                     struct dlht_model_stats *out)
{
    const struct model *m = inner(model);
    memset(out, 0, sizeof *out);
    struct span *spans = spans_of(keys, count);
    if (!spans)
        return DLHT_ENOMEM;
    out->key_count = model_key_count(m);
    out->leaf_count = model_leaf_count(m);
    out->root = (enum dlht_model_kind)model_root_kind(m);
    out->leaf = (enum dlht_model_kind)model_leaf_kind(m);
    out->packed_size = model_packed_size(m);
    stats_measure(m, spans, count, out);
    free(spans);
    return DLHT_OK;
}

int dlht_model_pack(const struct dlht_model *model, void **bytes, size_t *len)
{
    struct buf packed = { 0 };
    *bytes = NULL;
    *len = 0;
    int rc = model_pack(inner(model), &packed);
    if (rc != DLHT_OK) {
        buf_deinit(&packed);
        return rc;
    }
    *bytes = buf_take(&packed, len);
    return DLHT_OK;
}

int dlht_model_unpack(const void *bytes, size_t len, struct dlht_model **out)
{
    struct model *model;
    int rc = model_unpack(span_of(bytes, len), &model);
    return hand_out(rc, model, out);
}
