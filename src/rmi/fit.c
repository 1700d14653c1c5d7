/* SPDX-License-Identifier: Apache-2.0 */

/* Fitting a model to keys that are all here, in one pass after the choice of
 * knots: a leaf's keys are summed, the leaf is fitted and its error measured
 * while they are in the cache. */

#include "rmi/fit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "rmi/fit_leaf.h"
#include "rmi/knots.h"

enum {
    CHUNK = 16384 /* keys whose t are held at a time */
};

struct fit_config fit_config_default(void)
{
    return (struct fit_config){ .leaf_count = MODEL_LEAVES_DEFAULT,
                                .root = MODEL_CUBIC,
                                .leaf = MODEL_LINEAR };
}

bool fit_config_is_valid(const struct fit_config *config)
{
    return config->leaf_count >= 1 && config->leaf_count <= MODEL_LEAVES_MAX &&
           (config->root == MODEL_LINEAR || config->root == MODEL_CUBIC) &&
           (config->leaf == MODEL_LINEAR || config->leaf == MODEL_CUBIC);
}

/* A leaf and its keys. */
struct part {
    const struct source *source;
    const struct model *model;
    const struct leaf *leaf;
    struct span prefix;   /* of the leaf's knots, all skip bytes */
    struct span from, to; /* knots without the model's prefix */
    bool open_end;
    size_t begin, end;
};

/* t of numbers from begin on. False: not ascending. */
static bool part_numbers(const struct part *part, size_t begin, size_t count,
                         double *t)
{
    const uint64_t *keys = part->source->numbers + begin;
    uint32_t skip = part->leaf->skip;
    if (skip >= 8) {
        for (size_t i = 0; i < count; i++)
            t[i] = model_t_of(part->leaf, 0);
    } else {
        for (size_t i = 0; i < count; i++)
            t[i] = model_t_of(part->leaf, keys[i] << (8 * skip));
    }
    bool ascending = begin == 0 || keys[-1] <= keys[0];
    for (size_t i = 1; i < count; i++)
        ascending &= keys[i - 1] <= keys[i];
    return ascending;
}

/* Most keys differ from the one before in the 8 bytes that are looked at
 * anyway. */
static bool part_spans(const struct part *part, size_t begin, size_t count,
                       double *t)
{
    const struct span *keys = part->source->spans + begin;
    const struct span prefix = part->prefix;
    uint64_t last =
        begin > part->begin ? key8_at(keys[-1], prefix.len) : part->leaf->base;
    for (size_t i = 0; i < count; i++) {
        struct span key = keys[i];
        if (prefix.len > 0 && (key.len < prefix.len ||
                               memcmp(key.data, prefix.data, prefix.len) != 0))
            return false;
        uint64_t x = key8_at(key, prefix.len);
        if (x <= last &&
            (x < last || (begin + i > 0 && span_compare(keys[i - 1], key) > 0)))
            return false;
        t[i] = model_t_of(part->leaf, x);
        last = x;
    }
    return true;
}

static bool part_t(const struct part *part, size_t begin, size_t count,
                   double *t)
{
    return part->source->numbers ? part_numbers(part, begin, count, t)
                                 : part_spans(part, begin, count, t);
}

/* The first and the last key are between the knots. */
static bool part_is_inside(const struct part *part)
{
    uint8_t bytes[8];
    size_t skip = part->model->prefix_len;
    struct span first =
        span_tail(source_key(part->source, part->begin, bytes), skip);
    if (span_compare(first, part->from) < 0)
        return false;
    struct span last =
        span_tail(source_key(part->source, part->end - 1, bytes), skip);
    return part->open_end || span_compare(last, part->to) < 0;
}

/* What the truth is off the prediction by. */
static void part_errors(const struct part *part, size_t done, const double *t,
                        size_t count, double error[2])
{
    enum model_kind kind = part->model->leaf_kind;
    const struct leaf *leaf = part->leaf;
    double lo = error[0];
    double hi = error[1];
    for (size_t i = 0; i < count; i++) {
        double off =
            (double)(done + i) - model_y(kind, leaf, t[i]) * leaf->width;
        lo = off < lo ? off : lo;
        hi = off > hi ? off : hi;
    }
    error[0] = lo;
    error[1] = hi;
}

static int fit_part(const struct part *part, struct leaf *leaf, double *t)
{
    size_t count = part->end - part->begin;
    struct sums sums = { { 0 }, { 0 }, { 0 } };
    size_t n = 0;
    for (size_t done = 0; done < count; done += n) {
        n = count - done < CHUNK ? count - done : CHUNK;
        if (!part_t(part, part->begin + done, n, t))
            return DLHT_EINVAL;
        sums_add_many(&sums, t, n);
    }
    leaf->width = (double)count;
    fit_leaf(&sums, part->model->leaf_kind, leaf->coef);
    double error[2] = { 0, 0 };
    for (size_t done = 0; done < count; done += n) {
        n = count - done < CHUNK ? count - done : CHUNK;
        if (count > CHUNK)
            (void)part_t(part, part->begin + done, n, t);
        part_errors(part, done, t, n, error);
    }
    /* A key's copies, and keys not seen that come right after it, are less than
     * one rank more. */
    fit_leaf_bounds(leaf, error[0], error[1] + 1,
                    (double)source_total(part->source));
    return DLHT_OK;
}

static int fit_parts(const struct source *source, const struct knots *knots,
                     struct model *model)
{
    double *t = mem_array(CHUNK, sizeof *t);
    if (!t)
        return DLHT_ENOMEM;
    int rc = DLHT_OK;
    for (size_t i = 0; i < model->leaf_count && rc == DLHT_OK; i++) {
        struct part part = { .source = source,
                             .model = model,
                             .leaf = &model->leaf[i],
                             .from = model_suffix(model, i),
                             .to = model_suffix(model, i + 1),
                             .open_end =
                                 model->open_end && i + 1 == model->leaf_count,
                             .begin = knots->cut[i],
                             .end = knots->cut[i + 1] };
        uint8_t bytes[8];
        part.prefix = source_key(source, part.begin, bytes);
        if (part.prefix.len < model->leaf[i].skip || !part_is_inside(&part)) {
            rc = DLHT_EINVAL;
            break;
        }
        part.prefix.len = model->leaf[i].skip;
        rc = fit_part(&part, &model->leaf[i], t);
    }
    free(t);
    return rc;
}

static int fit_source(const struct source *source,
                      const struct fit_config *config, struct model **out)
{
    *out = NULL;
    if (!fit_config_is_valid(config) || source->count == 0 ||
        source->count > MODEL_KEYS_MAX)
        return DLHT_EINVAL;
    uint8_t bytes[8];
    struct span end = source_key(source, source->count - 1, bytes);
    struct knots knots;
    struct model *model = NULL;
    int rc = knots_choose(source, end, config->leaf_count, &knots);
    if (rc == DLHT_OK)
        rc = model_new(&knots, config, &model);
    if (rc == DLHT_OK)
        rc = fit_parts(source, &knots, model);
    knots_deinit(&knots);
    if (rc != DLHT_OK) {
        model_free(model);
        return rc;
    }
    model_finish(model);
    *out = model;
    return DLHT_OK;
}

int fit_keys(const struct span *keys, size_t count,
             const struct fit_config *config, struct model **out)
{
    struct source source = { .spans = keys, .count = count };
    return fit_source(&source, config, out);
}

int fit_u64(const uint64_t *keys, size_t count, const struct fit_config *config,
            struct model **out)
{
    struct source source = { .numbers = keys, .count = count };
    return fit_source(&source, config, out);
}
