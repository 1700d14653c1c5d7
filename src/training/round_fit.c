/* SPDX-License-Identifier: Apache-2.0 */

/* From reports to a skeleton, and from sums to a model.
 *
 * What sums may say follows from pass 1: runs of quantiles that lie wholly in
 * some leaves are there, runs that do not reach into them are not. Leaves that
 * hold more or fewer keys than that, and than writes in the meantime explain,
 * get the number of the skeleton; where in the leaf its keys lie is still taken
 * from the counts of cells. */

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "rmi/fit_slice.h"
#include "training/round_impl.h"

enum {
    VERIFY_PLACES = 10000,
    CELL_KEYS_FEW = 64 /* summed one by one */
};
#define SPREAD_MIN 1e-3 /* of a leaf: narrower is as good as one place */

/* Runs as quantiles. */
struct gather {
    struct fit_quantile *quantiles;
    size_t count;
    struct span end;
};

static void gather_run(void *context, const struct run *run)
{
    struct gather *g = context;
    g->quantiles[g->count++] = (struct fit_quantile){ run->key, run->count };
    if (run->last.data)
        g->end = run->last;
    else
        g->end = run->key;
}

/* Runs against knots, both in order. */
struct straddle {
    const struct round *round;
    uint32_t knot; /* the first one after the runs before */
    struct buf bytes;
    uint64_t *beyond;
    int rc;
};

/* Knot j is after the run's first key; may keys of the run be after it? */
static void straddle_run(void *context, const struct run *run)
{
    struct straddle *s = context;
    const struct model *skeleton = s->round->skeleton;
    uint32_t knots = model_leaf_count(skeleton) + 1;
    for (; s->rc == DLHT_OK && s->knot + 1 < knots; s->knot++) {
        buf_reset(&s->bytes);
        s->rc = model_knot(skeleton, s->knot, &s->bytes);
        if (s->rc != DLHT_OK)
            return;
        struct span knot = buf_span(&s->bytes);
        if (span_compare(knot, run->key) > 0) {
            bool reached = run->last.data ? span_compare(run->last, knot) >= 0
                                          : span_compare(run->next, knot) > 0;
            if (!reached)
                return;
            s->beyond[s->knot] = run->count;
        }
    }
}

static int round_straddle(struct round *round, uint64_t *beyond)
{
    struct straddle s = { .round = round, .beyond = beyond, .knot = 1 };
    round_each_run(round, straddle_run, &s);
    buf_deinit(&s.bytes);
    return s.rc;
}

static int round_fit_skeleton(struct round *round)
{
    struct gather g = { 0 };
    g.quantiles = mem_array(round->quantile_count, sizeof *g.quantiles);
    if (!g.quantiles)
        return DLHT_ENOMEM;
    round_each_run(round, gather_run, &g);
    int rc = fit_skeleton(g.quantiles, g.count, g.end, &round->config,
                          &round->skeleton);
    free(g.quantiles);
    return rc;
}

int round_skeleton(struct round *round)
{
    if (!round->tiled || round->skeleton)
        return DLHT_EINVAL;
    int rc = round_fill_missing(round);
    if (rc == DLHT_OK && round_keys(round) == 0)
        rc = DLHT_EINVAL;
    if (rc == DLHT_OK)
        rc = round_fit_skeleton(round);
    if (rc != DLHT_OK)
        return rc;
    size_t leaf_count = model_leaf_count(round->skeleton);
    struct sums *sums = mem_zero(leaf_count, sizeof *sums);
    uint64_t *beyond = mem_zero(leaf_count + 1, sizeof *beyond);
    rc = sums && beyond ? round_straddle(round, beyond) : DLHT_ENOMEM;
    if (rc != DLHT_OK) {
        free(sums);
        free(beyond);
        model_free(round->skeleton);
        round->skeleton = NULL;
        return rc;
    }
    round->sums = sums;
    round->beyond = beyond;
    return DLHT_OK;
}

/* Knot i sorts to key as zero sorts to *order. */
static int round_compare_knot(const struct round *round, uint32_t i,
                              struct span key, int *order)
{
    struct buf bytes = { 0 };
    int rc = model_knot(round->skeleton, i, &bytes);
    *order = rc == DLHT_OK ? span_compare(key, buf_span(&bytes)) : 0;
    buf_deinit(&bytes);
    return rc;
}

/* The last leaf that keys below hi may be in, first being one of them. */
static int round_last_leaf(const struct round *round, uint32_t first,
                           struct span hi, bool has_hi, uint32_t *last)
{
    if (!has_hi) {
        *last = model_leaf_count(round->skeleton) - 1;
        return DLHT_OK;
    }
    *last = model_leaf_of(round->skeleton, hi);
    int order = 0;
    int rc = round_compare_knot(round, *last, hi, &order);
    if (order <= 0 && *last > first)
        --*last;
    return rc;
}

int round_leaves(const struct round *round, struct span lo, struct span hi,
                 bool has_hi, uint32_t *first, uint32_t *count)
{
    assert(round->skeleton);
    *count = 0;
    *first = model_leaf_of(round->skeleton, lo);
    uint32_t last;
    int rc = round_last_leaf(round, *first, hi, has_hi, &last);
    if (rc == DLHT_OK && last < *first)
        return DLHT_EPROTO;
    if (rc == DLHT_OK)
        *count = last - *first + 1;
    return rc;
}

int round_slice(const struct round *round, struct span lo, struct span hi,
                bool has_hi, uint32_t *first, struct buf *out)
{
    uint32_t count;
    struct model *slice = NULL;
    int rc = round_leaves(round, lo, hi, has_hi, first, &count);
    if (rc == DLHT_OK)
        rc = fit_slice(round->skeleton, *first, count, &slice);
    if (rc == DLHT_OK)
        rc = model_pack(slice, out);
    model_free(slice);
    return rc;
}

static bool sums_are_believable(const struct sums *sums)
{
    return sums_are_sane(sums) && sums_count(sums) <= REPORT_KEYS_MAX;
}

int round_add_sums(struct round *round, uint32_t first, const struct sums *sums,
                   size_t count)
{
    if (!round->skeleton)
        return DLHT_EINVAL;
    uint32_t leaf_count = model_leaf_count(round->skeleton);
    if (count == 0 || first >= leaf_count || count > leaf_count - first)
        return DLHT_EPROTO;
    for (size_t i = 0; i < count; i++)
        if (!sums_are_believable(&sums[i]))
            return DLHT_EPROTO;
    /* The leaf that the last sums ended in may go on, or a later one begins:
     * what is passed over has lost its keys since the reports. */
    if (first + 1 < round->sums_end)
        return DLHT_EINVAL;
    for (size_t i = 0; i < count; i++)
        sums_append(&round->sums[first + i], &sums[i]);
    uint32_t end = first + (uint32_t)count;
    round->sums_end = end > round->sums_end ? end : round->sums_end;
    return DLHT_OK;
}

void round_end_sums(struct round *round)
{
    assert(round->skeleton);
    round->sums_end = model_leaf_count(round->skeleton);
}

/* n keys at t; but for their cell. */
static void sums_heap(struct sums *sums, double t, double n)
{
    double ranks = n * sums->t[0] + n * (n - 1) / 2;
    double power = 1;
    for (int k = 0; k < SUMS_POWERS; k++, power *= t) {
        sums->t[k] += n * power;
        if (k < SUMS_RANKS)
            sums->tr[k] += ranks * power;
    }
}

/* Many are summed as if there were ever so many of less weight. */
void round_spread(struct sums *sums, double a, double b, unsigned cell,
                  uint64_t keys)
{
    if (keys <= CELL_KEYS_FEW) {
        for (uint64_t i = 0; i < keys; i++)
            sums_add(sums, a + (b - a) * ((double)i + 0.5) / (double)keys);
        return;
    }
    double n = (double)keys;
    sums->cell[cell] += keys;
    if (b - a < SPREAD_MIN) {
        sums_heap(sums, (a + b) / 2, n);
        return;
    }
    double density = n / (b - a);
    double r0 = sums->t[0] - 0.5;  /* the rank at t is r0 + density (t - a) */
    double power[SUMS_POWERS + 1]; /* integrals of t^k */
    for (int k = 0; k <= SUMS_POWERS; k++)
        power[k] = (pow(b, k + 1) - pow(a, k + 1)) / (k + 1);
    for (int k = 1; k < SUMS_POWERS; k++)
        sums->t[k] += density * power[k];
    for (int k = 0; k < SUMS_RANKS; k++)
        sums->tr[k] +=
            density * ((r0 - density * a) * power[k] + density * power[k + 1]);
    sums->t[0] += n;
}

/* Sums of so many keys that lie in the cells as those of sums do. */
static struct sums sums_scaled(const struct sums *sums, uint64_t keys)
{
    double all = 0;
    for (int k = 0; k < SUMS_CELLS; k++)
        all += (double)sums->cell[k];
    struct sums out = { { 0 }, { 0 }, { 0 } };
    double sum = 0;
    uint64_t before = 0;
    for (int k = 0; k < SUMS_CELLS; k++) {
        sum += all > 0 ? (double)sums->cell[k] / all : 1.0 / SUMS_CELLS;
        uint64_t end = (uint64_t)(sum * (double)keys + 0.5);
        end = end < keys && k + 1 < SUMS_CELLS ? end : keys;
        round_spread(&out, (double)k / SUMS_CELLS, (double)(k + 1) / SUMS_CELLS,
                     (unsigned)k, end - before);
        before = end;
    }
    return out;
}

/* Neighbouring leaves [from, to). */
struct leaves {
    uint32_t from, to;
};

static uint64_t round_expected(const struct round *round, struct leaves l)
{
    return model_keys_before(round->skeleton, l.to) -
           model_keys_before(round->skeleton, l.from);
}

/* The sums of some leaves agree with the quantiles. */
static bool round_agrees(const struct round *round, struct leaves l)
{
    double sum = 0;
    for (uint32_t i = l.from; i < l.to; i++)
        sum += round->sums[i].t[0];
    uint64_t keys = sum < 0x1p60 ? (uint64_t)sum : (uint64_t)1 << 60;
    uint64_t expected = round_expected(round, l);
    uint64_t most = expected + round->beyond[l.from];
    uint64_t beyond = round->beyond[l.to];
    uint64_t least = expected > beyond ? expected - beyond : 0;
    return !round_is_beyond(keys, most) && !round_is_beyond(least, keys);
}

/* All leaves of [from, to) get what is expected of them together, shared as
 * their sums are. */
static void round_scale(struct round *round, struct leaves l)
{
    double all = 0;
    for (uint32_t i = l.from; i < l.to; i++)
        all += round->sums[i].t[0];
    uint64_t expected = round_expected(round, l);
    double sum = 0;
    uint64_t before = 0;
    for (uint32_t i = l.from; i < l.to; i++) {
        sum += all > 0 ? round->sums[i].t[0] / all : 1.0 / (l.to - l.from);
        uint64_t end = (uint64_t)(sum * (double)expected + 0.5);
        end = end < expected && i + 1 < l.to ? end : expected;
        round->sums[i] = sums_scaled(&round->sums[i], end - before);
        before = end;
    }
}

/* Leaf i; false: it was scaled. */
static bool round_hold_leaf(struct round *round, uint32_t i)
{
    struct leaves l = { i, i + 1 };
    if (sums_are_sane(&round->sums[i]) && round_agrees(round, l))
        return true;
    round_scale(round, l);
    return false;
}

/* The leaves that no other part reaches into; from >= to: none. */
static int round_own_leaves(const struct round *round, const struct part *part,
                            struct leaves *out)
{
    struct span lo = round_span(round, part->lo);
    struct span hi = round_span(round, part->hi);
    out->from = model_leaf_of(round->skeleton, lo);
    int order = 0;
    int rc = round_compare_knot(round, out->from, lo, &order);
    if (order > 0)
        out->from++;
    out->to = model_leaf_count(round->skeleton);
    if (rc == DLHT_OK && part->has_hi) {
        out->to = model_leaf_of(round->skeleton, hi);
        rc = round_compare_knot(round, model_leaf_count(round->skeleton), hi,
                                &order);
        if (order >= 0)
            out->to = model_leaf_count(round->skeleton);
    }
    return rc;
}

/* Makes sums and counts agree. */
static int round_hold(struct round *round)
{
    uint32_t done = 0;
    for (size_t i = 0; i < round->part_count; i++) {
        struct part *part = &round->parts[i];
        struct leaves own;
        int rc = round_own_leaves(round, part, &own);
        if (rc != DLHT_OK)
            return rc;
        if (own.from >= own.to)
            continue;
        for (; done < own.from; done++)
            round->leaves_scaled += !round_hold_leaf(round, done);
        if (!round_agrees(round, own)) {
            round_scale(round, own);
            part->lied = true;
        }
        for (; done < own.to; done++)
            if (!round_hold_leaf(round, done))
                part->lied = true;
    }
    for (; done < model_leaf_count(round->skeleton); done++)
        round->leaves_scaled += !round_hold_leaf(round, done);
    return DLHT_OK;
}

/* Is a model monotone? Looked at from outside: keys are made between knots. */
struct verify {
    const struct model *model;
    uint64_t last;
    bool ok;
};

static void verify_key(struct verify *v, struct span key)
{
    uint64_t position = model_position(v->model, key);
    v->ok = v->ok && position >= v->last;
    v->last = position;
}

/* places keys after knot a and before knot b. */
static int verify_between(struct verify *v, struct span a, struct span b,
                          uint32_t places)
{
    size_t common = 0;
    while (common < a.len && common < b.len && a.data[common] == b.data[common])
        common++;
    uint64_t from = span_prefix8(span_tail(a, common));
    uint64_t to = span_prefix8(span_tail(b, common));
    uint64_t step = (to - from) / (places + 1);
    struct buf key = { 0 };
    buf_append(&key, a.data, common);
    for (uint32_t i = 1; i <= places && step > 0; i++) {
        uint64_t x = from + i * step;
        key.len = common;
        for (int shift = 56; shift >= 0; shift -= 8)
            buf_append_byte(&key, (uint8_t)(x >> shift));
        if (key.failed)
            break;
        verify_key(v, buf_span(&key));
    }
    int rc = key.failed ? DLHT_ENOMEM : DLHT_OK;
    buf_deinit(&key);
    return rc;
}

static int round_verify(const struct model *model)
{
    struct verify v = { .model = model, .ok = true };
    uint32_t leaf_count = model_leaf_count(model);
    uint32_t places = VERIFY_PLACES / leaf_count + 1;
    struct buf knot[2] = { { 0 }, { 0 } };
    int rc = model_knot(model, 0, &knot[0]);
    for (uint32_t i = 0; i < leaf_count && rc == DLHT_OK; i++) {
        struct buf *a = &knot[i % 2];
        struct buf *b = &knot[1 - i % 2];
        buf_reset(b);
        rc = model_knot(model, i + 1, b);
        verify_key(&v, buf_span(a));
        if (rc == DLHT_OK)
            rc = verify_between(&v, buf_span(a), buf_span(b), places);
        if (rc == DLHT_OK)
            verify_key(&v, buf_span(b));
    }
    buf_deinit(&knot[0]);
    buf_deinit(&knot[1]);
    if (rc != DLHT_OK)
        return rc;
    return v.ok ? DLHT_OK : DLHT_EINVAL;
}

int round_finish(struct round *round, struct model **out)
{
    *out = NULL;
    if (!round->skeleton || round->sums_end < model_leaf_count(round->skeleton))
        return DLHT_EINVAL;
    int rc = round_hold(round);
    if (rc != DLHT_OK)
        return rc;
    struct model *model;
    rc = fit_leaves(round->skeleton, round->sums, &round->config, &model);
    if (rc != DLHT_OK)
        return rc;
    rc = round_verify(model);
    if (rc != DLHT_OK) {
        model_free(model);
        return rc;
    }
    *out = model;
    return DLHT_OK;
}
