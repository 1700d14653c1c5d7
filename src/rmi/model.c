/* SPDX-License-Identifier: Apache-2.0 */

/* Asking a model. */

#include "rmi/model.h"

#include <assert.h>
#include <stdlib.h>

#include "dlht/err.h"
#include "rmi/model_impl.h"

/* Two units of the last place of a position: whoever computes the truth rounds
 * it in his own way. */
enum {
    GUESS_SLACK = 4096
};

void model_free(struct model *model)
{
    free(model);
}

/* The last of count ascending numbers that is <= x; the first is. No branch
 * but the loop's, whose length depends on count only. */
static inline size_t model_last_not_above(const uint64_t *head, size_t count,
                                          uint64_t x)
{
    const uint64_t *from = head;
    while (count > 1) {
        size_t half = count / 2;
        from += from[half] <= x ? half : 0;
        count -= half;
    }
    return (size_t)(from - head);
}

/* The last knot whose first 8 bytes are <= x. The root's window is a guess that
 * is looked at afterwards, so that a bad root costs time only. */
static inline size_t model_find_head(const struct model *model, uint64_t x)
{
    const struct root *root = &model->root;
    size_t knots = (size_t)model->leaf_count + 1;
    double w = key8_double(x - root->base) * root->scale - 1;
    const double *c = root->coef;
    double guess = ((c[3] * w + c[2]) * w + c[1]) * w + c[0];
    guess = guess > 0 ? guess : 0;
    guess = guess < model->leaf_count ? guess : model->leaf_count;
    size_t from = (size_t)(int64_t)guess;
    from = from > root->below ? from - root->below : 0;
    size_t last = knots - root->window;
    from = from < last ? from : last;
    size_t i = from + model_last_not_above(model->head + from, root->window, x);
    if (model->head[i] <= x && (i + 1 == knots || x < model->head[i + 1]))
        return i;
    return model_last_not_above(model->head, knots, x);
}

/* Knots whose first 8 bytes are those of the key: the last one <= tail, which
 * is the key without the prefix. q_0 is. */
static size_t model_find_tie(const struct model *model, struct span tail,
                             size_t last)
{
    uint64_t x = model->head[last];
    size_t lo = x > model->head[0]
                    ? model_last_not_above(model->head, last + 1, x - 1)
                    : 0;
    size_t hi = last;
    while (lo < hi) { /* knot lo is <= tail, knots after hi are not */
        size_t middle = hi - (hi - lo) / 2;
        if (span_compare(model_suffix(model, middle), tail) <= 0)
            lo = middle;
        else
            hi = middle - 1;
    }
    return lo;
}

/* Knots K and 0 against tail, of which the first 8 bytes say no more. */
static bool model_is_after(const struct model *model, struct span tail)
{
    return !model->open_end &&
           span_compare(tail, model_suffix(model, model->leaf_count)) >= 0;
}

static bool model_is_before(const struct model *model, struct span tail)
{
    return span_compare(tail, model_suffix(model, 0)) < 0;
}

enum model_side model_locate(const struct model *model, struct span key,
                             uint32_t *leaf)
{
    *leaf = 0;
    size_t skip = model->prefix_len;
    if (skip > 0) {
        size_t n = key.len < skip ? key.len : skip;
        int order = n ? memcmp(key.data, model->bytes, n) : 0;
        if (order < 0 || (order == 0 && n < skip))
            return MODEL_BEFORE;
        if (order > 0) {
            *leaf = model->leaf_count - 1;
            return MODEL_AFTER;
        }
    }
    uint64_t x = key8_at(key, skip);
    uint64_t first = model->head[0];
    uint64_t end = model->head[model->leaf_count];
    if (x < first ||
        (x == first && model_is_before(model, span_tail(key, skip))))
        return MODEL_BEFORE;
    if (x > end || (x == end && model_is_after(model, span_tail(key, skip)))) {
        *leaf = model->leaf_count - 1;
        return MODEL_AFTER;
    }
    size_t i = model_find_head(model, x);
    if (x == model->head[i])
        i = model_find_tie(model, span_tail(key, skip), i);
    *leaf = (uint32_t)(i < model->leaf_count ? i : model->leaf_count - 1);
    return MODEL_INSIDE;
}

static inline double model_find(const struct model *model, struct span key,
                                uint32_t *leaf)
{
    enum model_side side = model_locate(model, key, leaf);
    if (side != MODEL_INSIDE)
        return side == MODEL_BEFORE ? 0 : model->keys;
    const struct leaf *l = &model->leaf[*leaf];
    double t = model_t_of(l, key8_at(key, l->skip));
    return model_leaf_rank(model->leaf_kind, l, t);
}

static inline uint64_t model_scale(double rank, double keys, double scale)
{
    double position = rank * scale;
    if (rank >= keys || position >= 0x1p64)
        return UINT64_MAX;
    return key8_of_double(position);
}

uint64_t model_to_position(double rank, double keys)
{
    return model_scale(rank, keys, 0x1p64 / keys);
}

double model_rank(const struct model *model, struct span key)
{
    uint32_t leaf;
    return model_find(model, key, &leaf);
}

uint64_t model_position(const struct model *model, struct span key)
{
    return model_scale(model_rank(model, key), model->keys, model->to_position);
}

/* Most numbers are strictly between the first 8 bytes of two knots; then no
 * bytes need be looked at. */
uint64_t model_position_u64(const struct model *model, uint64_t key)
{
    size_t skip = model->prefix_len;
    uint64_t x = skip < 8 ? key << (8 * skip) : 0;
    if ((key & model->prefix8_mask) == model->prefix8 && x > model->head[0] &&
        x < model->head[model->leaf_count]) {
        size_t i = model_find_head(model, x);
        const struct leaf *l = &model->leaf[i];
        if (x != model->head[i] && l->skip < 8) {
            double t = model_t_of(l, key << (8 * l->skip));
            return model_scale(model_leaf_rank(model->leaf_kind, l, t),
                               model->keys, model->to_position);
        }
    }
    uint8_t bytes[8];
    key8_store(bytes, key);
    return model_position(model, span_of(bytes, sizeof bytes));
}

/* Key and zero is the next key of all; it is in the key's leaf, at the same t,
 * or it is the next knot. */
double model_rank_after(const struct model *model, struct span key)
{
    uint32_t leaf;
    double rank = model_find(model, key, &leaf);
    if (key.len < model->prefix_len)
        return rank;
    struct span next = model_suffix(model, leaf + 1);
    struct span tail = span_tail(key, model->prefix_len);
    if (next.len != tail.len + 1 || next.data[tail.len] != 0 ||
        (tail.len && memcmp(next.data, tail.data, tail.len) != 0))
        return rank;
    if (leaf + 1 == model->leaf_count)
        return model->keys;
    return model_leaf_rank(model->leaf_kind, &model->leaf[leaf + 1], 0);
}

/* Where the truth of a key may be, in ranks. */
static double model_lowest(const struct model *model, uint32_t leaf,
                           double rank)
{
    const struct leaf *l = &model->leaf[leaf];
    double lowest = rank + (double)l->lo;
    return lowest > l->before ? lowest : l->before;
}

static double model_highest(const struct model *model, uint32_t leaf,
                            double rank)
{
    const struct leaf *l = &model->leaf[leaf];
    double highest = rank + (double)l->hi;
    double end = l->before + l->width;
    return highest < end ? highest : end;
}

struct model_guess model_guess(const struct model *model, struct span key)
{
    struct model_guess guess;
    double rank = model_find(model, key, &guess.leaf);
    double lowest = model_lowest(model, guess.leaf, rank);
    double highest = model_highest(model, guess.leaf, rank);
    guess.position = model_scale(rank, model->keys, model->to_position);
    guess.lo = model_scale(lowest, model->keys, model->to_position);
    guess.hi = model_scale(highest, model->keys, model->to_position);
    guess.lo -= guess.lo < GUESS_SLACK ? guess.lo : GUESS_SLACK;
    uint64_t room = UINT64_MAX - guess.hi;
    guess.hi += room < GUESS_SLACK ? room : GUESS_SLACK;
    return guess;
}

void model_range(const struct model *model, struct span from, struct span to,
                 uint64_t *lo, uint64_t *hi)
{
    *lo = model_guess(model, from).lo;
    *hi = to.data ? model_guess(model, to).hi : UINT64_MAX;
    *hi = *hi > *lo ? *hi : *lo;
}

double model_count(const struct model *model, struct span from, struct span to,
                   double *error)
{
    uint32_t leaf;
    double first = model_find(model, from, &leaf);
    double down = first - model_lowest(model, leaf, first);
    double up = model_highest(model, leaf, first) - first;
    double end = model->keys;
    if (to.data) {
        end = model_find(model, to, &leaf);
        down += model_highest(model, leaf, end) - end;
        up += end - model_lowest(model, leaf, end);
    }
    *error = down > up ? down : up;
    return end > first ? end - first : 0;
}

uint32_t model_leaf_of(const struct model *model, struct span key)
{
    uint32_t leaf;
    (void)model_locate(model, key, &leaf);
    return leaf;
}

double model_t(const struct model *model, uint32_t leaf, struct span key)
{
    assert(leaf < model->leaf_count);
    uint32_t its;
    enum model_side side = model_locate(model, key, &its);
    if (side != MODEL_INSIDE)
        its = side == MODEL_BEFORE ? 0 : model->leaf_count;
    if (its != leaf || side != MODEL_INSIDE)
        return its > leaf ? 1 : 0;
    const struct leaf *l = &model->leaf[leaf];
    return model_t_of(l, key8_at(key, l->skip));
}

/* The way back. */

static uint64_t model_position_at(const struct model *model, uint32_t leaf,
                                  uint64_t offset)
{
    const struct leaf *l = &model->leaf[leaf];
    double rank =
        model_leaf_rank(model->leaf_kind, l, model_t_of(l, l->base + offset));
    return model_scale(rank, model->keys, model->to_position);
}

/* The last leaf whose first key is not after position; 0 if none. */
static uint32_t model_leaf_at(const struct model *model, uint64_t position)
{
    uint32_t lo = 0;
    uint32_t hi = model->leaf_count - 1;
    while (lo < hi) {
        uint32_t middle = hi - (hi - lo) / 2;
        if (model_position_at(model, middle, 0) <= position)
            lo = middle;
        else
            hi = middle - 1;
    }
    return lo;
}

/* The 8 bytes after the common prefix of leaf, by bisection of what
 * model_position does: exact, and as monotone. */
static uint64_t model_offset_at(const struct model *model, uint32_t leaf,
                                uint64_t position)
{
    const struct leaf *l = &model->leaf[leaf];
    struct span next = model_suffix(model, leaf + 1);
    uint64_t end = key8_at(next, l->skip - model->prefix_len);
    uint64_t lo = 0;
    uint64_t hi = end > l->base ? end - l->base - 1 : 0;
    while (lo < hi) {
        uint64_t middle = hi - (hi - lo) / 2;
        if (model_position_at(model, leaf, middle) <= position)
            lo = middle;
        else
            hi = middle - 1;
    }
    return lo;
}

int model_key_at(const struct model *model, uint64_t position, struct buf *out)
{
    if (position == UINT64_MAX && !model->open_end)
        return model_knot(model, model->leaf_count, out);
    uint32_t leaf = model_leaf_at(model, position);
    if (model_position_at(model, leaf, 0) > position)
        return DLHT_OK; /* the empty key is before all knots */
    uint64_t offset = model_offset_at(model, leaf, position);
    if (offset == 0)
        return model_knot(model, leaf, out);
    const struct leaf *l = &model->leaf[leaf];
    uint8_t bytes[8];
    key8_store(bytes, l->base + offset);
    size_t n = sizeof bytes;
    while (n > 0 && bytes[n - 1] == 0)
        n--;
    if (buf_reserve(out, l->skip + n) != DLHT_OK)
        return DLHT_ENOMEM;
    buf_append(out, model->bytes, model->prefix_len);
    buf_append(out, model_suffix(model, leaf).data,
               l->skip - model->prefix_len);
    buf_append(out, bytes, n);
    return DLHT_OK;
}

uint32_t model_leaf_count(const struct model *model)
{
    return model->leaf_count;
}

uint64_t model_key_count(const struct model *model)
{
    return model->key_count;
}

enum model_kind model_root_kind(const struct model *model)
{
    return model->root_kind;
}

enum model_kind model_leaf_kind(const struct model *model)
{
    return model->leaf_kind;
}

int model_knot(const struct model *model, uint32_t i, struct buf *out)
{
    assert(i <= model->leaf_count);
    struct span suffix = model_suffix(model, i);
    if (buf_reserve(out, model->prefix_len + suffix.len) != DLHT_OK)
        return DLHT_ENOMEM;
    buf_append(out, model->bytes, model->prefix_len);
    buf_append_span(out, suffix);
    return DLHT_OK;
}

uint64_t model_keys_before(const struct model *model, uint32_t i)
{
    assert(i <= model->leaf_count);
    return i == model->leaf_count ? model->key_count
                                  : (uint64_t)model->leaf[i].before;
}

void model_leaf_coefficients(const struct model *model, uint32_t i,
                             double out[2])
{
    assert(i < model->leaf_count);
    out[0] = model->leaf[i].coef[0];
    out[1] = model->leaf[i].coef[1];
}

void model_leaf_bounds(const struct model *model, uint32_t i, double *lo,
                       double *hi)
{
    assert(i < model->leaf_count);
    *lo = (double)model->leaf[i].lo;
    *hi = (double)model->leaf[i].hi;
}
