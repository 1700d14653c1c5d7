/* SPDX-License-Identifier: Apache-2.0 */

/* Arcs that did not answer, or whose answers are no good: what the model
 * before says of them stands in. */

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "training/round_impl.h"

/* Share of a model's keys as a position. */
static uint64_t missing_position(double rank, double keys)
{
    double position = rank / keys * 0x1p64;
    return position < 0x1p64 ? (uint64_t)position : UINT64_MAX;
}

/* A report being made up: keys are in bytes, one after the other. */
struct make_up {
    const struct model *model;
    struct report report;
    struct fit_quantile *quantiles;
    struct buf bytes;
    size_t *at; /* where key i begins; one more: the end of the last */
    size_t count;
};

static struct span make_up_key(const struct make_up *m, size_t i)
{
    return m->at[i + 1] > m->at[i]
               ? span_of(m->bytes.data + m->at[i], m->at[i + 1] - m->at[i])
               : span_empty();
}

/* The key at a rank of the model joins as the next; false: it does not sort
 * after the one before, or is out of bounds. */
static bool make_up_next(struct make_up *m, double rank)
{
    double keys = (double)model_key_count(m->model);
    m->at[m->count] = m->bytes.len;
    if (model_key_at(m->model, missing_position(rank, keys), &m->bytes) !=
        DLHT_OK)
        m->bytes.failed = true;
    m->at[m->count + 1] = m->bytes.len;
    struct span key = make_up_key(m, m->count);
    struct span before =
        m->count > 0 ? make_up_key(m, m->count - 1) : span_empty();
    bool fits = key.len <= REPORT_KEY_LEN_MAX &&
                span_compare(key, m->report.lo) >= 0 &&
                (!m->report.has_hi || span_compare(key, m->report.hi) < 0) &&
                (m->count == 0 || span_compare(before, key) < 0);
    if (!fits)
        m->bytes.len = m->at[m->count];
    m->count += fits;
    return fits;
}

/* The first quantile is always there: lo itself, if need be. */
static void make_up_first(struct make_up *m, double rank)
{
    if (make_up_next(m, rank))
        return;
    m->at[0] = m->bytes.len;
    buf_append_span(&m->bytes, m->report.lo);
    m->at[1] = m->bytes.len;
    m->count = 1;
}

static void make_up_all(struct make_up *m, double from, double to,
                        size_t wanted)
{
    uint64_t keys = m->report.keys;
    make_up_first(m, from);
    m->quantiles[0].count = keys;
    uint64_t left = keys;
    for (size_t i = 1; i < wanted && !m->bytes.failed; i++) {
        double part = (double)i / (double)wanted;
        uint64_t after = keys - keys * i / wanted;
        if (after == 0 || after >= left ||
            !make_up_next(m, from + (to - from) * part))
            continue;
        m->quantiles[m->count - 2].count = left - after;
        m->quantiles[m->count - 1].count = after;
        left = after;
    }
    size_t quantile_count = m->count;
    bool ends = make_up_next(m, to - (to - from) / (2 * (double)keys));
    for (size_t i = 0; i < quantile_count; i++)
        m->quantiles[i].key = make_up_key(m, i);
    m->report.end = make_up_key(m, ends ? quantile_count : quantile_count - 1);
    m->report.quantiles = m->quantiles;
    m->report.quantile_count = quantile_count;
}

static int make_up_report(struct round *round, struct make_up *m)
{
    struct report *report = &m->report;
    double all = (double)model_key_count(m->model);
    double from = model_rank(m->model, report->lo);
    double to = report->has_hi ? model_rank(m->model, report->hi) : all;
    to = to > from ? to : from;
    double most = (double)REPORT_KEYS_MAX;
    report->keys = (uint64_t)(to - from < most ? to - from + 0.5 : most);
    if (report->keys == 0)
        return round_add(round, report);
    size_t wanted =
        report_quantiles_wanted((to - from) / all, round->config.leaf_count);
    m->quantiles = mem_array(wanted, sizeof *m->quantiles);
    m->at = mem_array(wanted + 2, sizeof *m->at);
    int rc = DLHT_ENOMEM;
    if (m->quantiles && m->at) {
        make_up_all(m, from, to, wanted);
        rc = m->bytes.failed ? DLHT_ENOMEM : round_add(round, report);
    }
    free(m->quantiles);
    free(m->at);
    buf_deinit(&m->bytes);
    return rc;
}

int round_add_missing(struct round *round, const struct round_gap *gap)
{
    if (!round->previous)
        return DLHT_EREFUSED;
    struct make_up m = { .model = round->previous };
    m.report = (struct report){ .lo = gap->lo,
                                .hi = gap->has_hi ? gap->hi : span_empty(),
                                .has_hi = gap->has_hi };
    int rc = make_up_report(round, &m);
    if (rc == DLHT_OK)
        round->parts[round->part_count - 1].missing = true;
    return rc;
}

/* Too much is made up. */
static bool missing_is_too_much(const struct round *round)
{
    size_t count = 0;
    double share = 0;
    for (size_t i = 0; i < round->part_count; i++) {
        const struct part *part = &round->parts[i];
        if (!part->missing && !part->silent)
            continue;
        count++;
        share += part->share_before;
    }
    return count > 0 &&
           (share * ROUND_MISSING_PART > 1 ||
            (count > 1 && count * ROUND_MISSING_PART > round->part_count));
}

int round_fill_missing(struct round *round)
{
    double share = 0;
    for (size_t i = 0; i < round->part_count; i++) {
        struct part *part = &round->parts[i];
        if (!part->missing)
            continue;
        share += part->share_before;
        part->filled = 0;
    }
    if (missing_is_too_much(round))
        return DLHT_EREFUSED;
    double there = (double)round_keys(round);
    double unit = there / (1 - share);
    for (size_t i = 0; i < round->part_count && share > 0; i++) {
        struct part *part = &round->parts[i];
        double keys = part->share_before * unit + 0.5;
        double most = (double)REPORT_KEYS_MAX;
        if (part->missing)
            part->filled = (uint64_t)(keys < most ? keys : most);
    }
    return DLHT_OK;
}

size_t round_missing(const struct round *round)
{
    size_t count = 0;
    for (size_t i = 0; i < round->part_count; i++)
        count += round->parts[i].missing || round->parts[i].silent;
    return count;
}

/* Runs of one part, spread over the leaves of the skeleton. */
struct spread {
    struct round *round;
    uint32_t end; /* leaves before have got sums */
};

/* Where key stands among the leaves: a leaf and a place in it. After all knots
 * it is the end of the last. */
static double spread_place(const struct round *round, struct span key,
                           bool after_all)
{
    uint32_t leaf_count = model_leaf_count(round->skeleton);
    if (after_all)
        return leaf_count;
    uint32_t leaf = model_leaf_of(round->skeleton, key);
    double t = model_t(round->skeleton, leaf, key);
    return leaf + (t < 1 ? t : 1);
}

/* Rank of a place by the skeleton; its leaves are straight. */
static double spread_rank(const struct round *round, double place)
{
    uint32_t leaf = (uint32_t)place;
    if (leaf >= model_leaf_count(round->skeleton))
        return (double)model_key_count(round->skeleton);
    double from = (double)model_keys_before(round->skeleton, leaf);
    double to = (double)model_keys_before(round->skeleton, leaf + 1);
    return from + (to - from) * (place - leaf);
}

/* Count keys between two places, as many in each leaf as the skeleton has
 * there, in each cell evenly. */
static void spread_keys(struct spread *s, double a, double b, uint64_t count)
{
    const struct round *round = s->round;
    uint32_t leaf_count = model_leaf_count(round->skeleton);
    double from = spread_rank(round, a);
    double width = spread_rank(round, b) - from;
    uint64_t done = 0;
    while (done < count) {
        uint32_t leaf = (uint32_t)a;
        leaf = leaf < leaf_count ? leaf : leaf_count - 1;
        double t = a - leaf < 1 ? a - leaf : 1;
        unsigned cell = (unsigned)(t * SUMS_CELLS);
        cell = cell < SUMS_CELLS ? cell : SUMS_CELLS - 1;
        double next = leaf + (double)(cell + 1) / SUMS_CELLS;
        bool last = next >= b || width <= 0;
        double share = last ? 1 : (spread_rank(round, next) - from) / width;
        uint64_t to = last ? count : (uint64_t)(share * (double)count + 0.5);
        to = to < count ? to : count;
        double t_end = (double)(cell + 1) / SUMS_CELLS;
        t_end = b - leaf < t_end ? b - leaf : t_end;
        t_end = t_end > t ? t_end : t;
        if (to > done)
            round_spread(&round->sums[leaf], t, t_end, cell, to - done);
        done = to > done ? to : done;
        s->end = leaf + 1;
        a = next;
    }
}

static void spread_run(void *context, const struct run *run)
{
    struct spread *s = context;
    bool last = run->last.data != NULL;
    double a = spread_place(s->round, run->key, false);
    double b = last ? spread_place(s->round, run->last, false)
                    : spread_place(s->round, run->next, !run->next.data);
    spread_keys(s, a, b > a ? b : a, run->count);
}

int round_add_silent(struct round *round, size_t i)
{
    assert(i < round->part_count);
    struct part *part = &round->parts[i];
    if (!round->skeleton || !round->previous)
        return DLHT_EREFUSED;
    uint32_t first =
        model_leaf_of(round->skeleton, round_span(round, part->lo));
    if (first + 1 < round->sums_end)
        return DLHT_EINVAL;
    part->silent = !part->missing;
    if (missing_is_too_much(round))
        return DLHT_EREFUSED;
    struct spread s = { .round = round, .end = round->sums_end };
    round_each_run_of(round, i, spread_run, &s);
    round->sums_end = s.end > round->sums_end ? s.end : round->sums_end;
    return DLHT_OK;
}
