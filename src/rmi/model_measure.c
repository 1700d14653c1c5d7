/* SPDX-License-Identifier: Apache-2.0 */

/* How far a model is from keys, and from another model. */

#include <math.h>

#include "rmi/model_impl.h"

/* Sums on the way. */
struct measure {
    double ks, sum, max, bound_sum;
    uint64_t last_position;
};

/* A key that is there from rank lower up to rank upper. */
static void measure_key(const struct model *model, struct span key,
                        const double rank[2], double keys, struct measure *m,
                        struct model_stats *out)
{
    struct model_guess guess = model_guess(model, key);
    double share = model_rank(model, key) / model->keys;
    double off = fabs(share - rank[0] / keys);
    double copies = rank[1] - rank[0];
    m->sum += off * copies;
    m->max = off > m->max ? off : m->max;
    m->ks = off > m->ks ? off : m->ks;
    /* Between this key and the next the truth is that of the next. */
    double after = rank[1] / keys;
    if (after - share > m->ks) {
        double here = model_rank_after(model, key) / model->keys;
        double gap = fabs(after - here);
        m->ks = gap > m->ks ? gap : m->ks;
    }
    m->bound_sum += copies * (double)(guess.hi - guess.lo) * 0x1p-65;
    out->inversions += guess.position < m->last_position;
    m->last_position = guess.position;
    uint64_t first = model_to_position(rank[0], keys);
    uint64_t last = model_to_position(rank[1] - 1, keys);
    if (first < guess.lo || last > guess.hi || guess.position < guess.lo ||
        guess.position > guess.hi)
        out->outside += (uint64_t)copies;
}

void model_measure(const struct model *model, const struct span *keys,
                   size_t count, struct model_stats *out)
{
    struct measure m = { 0 };
    *out = (struct model_stats){ 0 };
    size_t end;
    for (size_t i = 0; i < count; i = end) {
        end = i + 1;
        while (end < count && span_equal(keys[i], keys[end]))
            end++;
        double rank[2] = { (double)i, (double)end };
        measure_key(model, keys[i], rank, (double)count, &m, out);
    }
    out->ks = m.ks;
    out->max_error = m.max;
    if (count > 0) {
        out->mean_error = m.sum / (double)count;
        out->mean_bound = m.bound_sum / (double)count;
    }
}

/* The key in the middle of leaf i, or its knot, into bytes, which begin with
 * the prefix already. */
static struct span measure_point(const struct model *model, uint32_t i,
                                 bool middle, uint8_t *bytes)
{
    struct span knot = model_suffix(model, i);
    size_t len = model->prefix_len;
    if (!middle) {
        if (knot.len)
            memcpy(bytes + len, knot.data, knot.len);
        return span_of(bytes, len + knot.len);
    }
    const struct leaf *leaf = &model->leaf[i];
    struct span next = model_suffix(model, i + 1);
    size_t common = leaf->skip - len;
    uint64_t range = key8_at(next, common) - leaf->base;
    if (common)
        memcpy(bytes + len, knot.data, common);
    key8_store(bytes + leaf->skip, leaf->base + range / 2);
    return span_of(bytes, (size_t)leaf->skip + 8);
}

static double measure_gap(const struct model *a, const struct model *b,
                          struct span key)
{
    return fabs(model_rank(a, key) / a->keys - model_rank(b, key) / b->keys);
}

/* At the knots and middles of a. */
static double measure_from(const struct model *a, const struct model *b)
{
    uint8_t bytes[MODEL_PREFIX_MAX + MODEL_KNOT_MAX + 16];
    double most = 0;
    if (a->prefix_len)
        memcpy(bytes, a->bytes, a->prefix_len);
    for (uint32_t i = 0; i <= a->leaf_count; i++) {
        double gap = measure_gap(a, b, measure_point(a, i, false, bytes));
        most = gap > most ? gap : most;
        if (i == a->leaf_count)
            break;
        gap = measure_gap(a, b, measure_point(a, i, true, bytes));
        most = gap > most ? gap : most;
    }
    return most;
}

double model_distance(const struct model *a, const struct model *b)
{
    double there = measure_from(a, b);
    double back = measure_from(b, a);
    return there > back ? there : back;
}
