/* SPDX-License-Identifier: Apache-2.0 */

/* Reports, and how many keys are believed. */

#include "training/round.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "training/round_impl.h"

enum {
    TOTAL_STEPS_MAX = 64 /* towards the caps; two or three as a rule */
};

_Static_assert(ROUND_REPORTS_MAX <= (1 << 20),
               "all claims together are less than 2^52, a model's most");

int round_new(const struct fit_config *config, const struct model *previous,
              struct round **out)
{
    *out = NULL;
    struct round *round = mem_zero(1, sizeof *round);
    if (!round)
        return DLHT_ENOMEM;
    round->config = *config;
    round->previous = previous;
    *out = round;
    return DLHT_OK;
}

void round_free(struct round *round)
{
    if (!round)
        return;
    model_free(round->skeleton);
    free(round->sums);
    free(round->beyond);
    free(round->quantiles);
    free(round->parts);
    buf_deinit(&round->bytes);
    free(round);
}

static bool round_grow(void **array, size_t *cap, size_t wanted, size_t size)
{
    if (wanted <= *cap)
        return true;
    size_t more = *cap * 2 > wanted ? *cap * 2 : wanted;
    void *grown = mem_resize(*array, more, size);
    if (!grown)
        return false;
    *array = grown;
    *cap = more;
    return true;
}

/* Room for one more report. */
static bool round_reserve(struct round *round, const struct report *report)
{
    size_t bytes = report->lo.len;
    bytes += report->has_hi ? report->hi.len : 0;
    bytes += report->keys > 0 ? report->end.len : 0;
    for (size_t i = 0; i < report->quantile_count; i++)
        bytes += report->quantiles[i].key.len;
    void *parts = round->parts;
    void *quantiles = round->quantiles;
    bool ok = round_grow(&parts, &round->part_cap, round->part_count + 1,
                         sizeof *round->parts);
    round->parts = parts;
    ok = ok && round_grow(&quantiles, &round->quantile_cap,
                          round->quantile_count + report->quantile_count,
                          sizeof *round->quantiles);
    round->quantiles = quantiles;
    return ok && buf_reserve(&round->bytes, bytes) == DLHT_OK;
}

static struct piece round_keep(struct round *round, struct span bytes)
{
    struct piece piece = { round->bytes.len, bytes.len };
    buf_append_span(&round->bytes, bytes);
    return piece;
}

static double round_share(const struct model *model,
                          const struct report *report)
{
    double keys = (double)model_key_count(model);
    double from = model_rank(model, report->lo);
    double to = report->has_hi ? model_rank(model, report->hi) : keys;
    return to > from ? (to - from) / keys : 0;
}

static void round_keep_report(struct round *round, const struct report *report)
{
    struct part *part = &round->parts[round->part_count++];
    *part = (struct part){ .has_hi = report->has_hi,
                           .claimed = report->keys,
                           .first = round->quantile_count,
                           .quantile_count = report->quantile_count };
    part->lo = round_keep(round, report->lo);
    if (report->has_hi)
        part->hi = round_keep(round, report->hi);
    if (report->keys > 0)
        part->end = round_keep(round, report->end);
    uint64_t before = 0;
    for (size_t i = 0; i < report->quantile_count; i++) {
        struct quantile *quantile = &round->quantiles[round->quantile_count++];
        quantile->key = round_keep(round, report->quantiles[i].key);
        quantile->before = before;
        before += report->quantiles[i].count;
    }
    if (round->previous)
        part->share_before = round_share(round->previous, report);
    round->tiled = !report->has_hi;
    assert(!round->bytes.failed);
}

int round_add(struct round *round, const struct report *report)
{
    if (report_check(report) != DLHT_OK)
        return DLHT_EPROTO;
    struct span lo;
    if (round->skeleton || !round_next(round, &lo) ||
        !span_equal(lo, report->lo) || round->part_count == ROUND_REPORTS_MAX)
        return DLHT_EINVAL;
    if (!round_reserve(round, report))
        return DLHT_ENOMEM;
    round_keep_report(round, report);
    return DLHT_OK;
}

bool round_next(const struct round *round, struct span *lo)
{
    *lo = span_empty();
    if (round->part_count > 0)
        *lo = round_span(round, round->parts[round->part_count - 1].hi);
    return !round->tiled;
}

size_t round_report_count(const struct round *round)
{
    return round->part_count;
}

void round_bounds(const struct round *round, size_t i, struct span *lo,
                  struct span *hi, bool *has_hi)
{
    assert(i < round->part_count);
    const struct part *part = &round->parts[i];
    *lo = round_span(round, part->lo);
    *hi = round_span(round, part->hi);
    *has_hi = part->has_hi;
}

void round_hear_count(struct round *round, size_t i, uint64_t keys)
{
    assert(i < round->part_count);
    struct part *part = &round->parts[i];
    if (round->skeleton || part->heard_count == ROUND_HEARD_MAX)
        return;
    keys = keys < REPORT_KEYS_MAX ? keys : REPORT_KEYS_MAX;
    part->heard[part->heard_count++] = keys;
}

/* Median of the claim and what was heard, the lower of two. A report without
 * quantiles says nothing of where keys are, so it has none. */
static uint64_t part_voice(const struct part *part)
{
    if (part->quantile_count == 0)
        return 0;
    if (part->missing)
        return part->filled;
    uint64_t all[ROUND_HEARD_MAX + 1];
    size_t count = 0;
    for (size_t i = 0; i <= part->heard_count; i++) {
        uint64_t keys = i > 0 ? part->heard[i - 1] : part->claimed;
        size_t at = count++;
        for (; at > 0 && all[at - 1] > keys; at--)
            all[at] = all[at - 1];
        all[at] = keys;
    }
    return all[(count - 1) / 2];
}

/* Share that a part may have without a witness. */
static double round_cap(const struct round *round, const struct part *part)
{
    if (!round->previous || part->heard_count > 0 || part->missing)
        return INFINITY;
    return ROUND_SHARE_CAP * part->share_before + 1 / (double)round->part_count;
}

/* One step: parts above their caps of total hold those caps, of a new total
 * that is smaller, since the others keep what they have. Below zero: nobody is
 * left to measure by. */
static double round_total_step(const struct round *round, double total)
{
    double uncapped = 0;
    double caps = 0;
    for (size_t i = 0; i < round->part_count; i++) {
        double voice = (double)part_voice(&round->parts[i]);
        double cap = round_cap(round, &round->parts[i]);
        if (voice > cap * total)
            caps += cap;
        else
            uncapped += voice;
    }
    return caps < 1 && uncapped > 0 ? uncapped / (1 - caps) : -1;
}

double round_total(const struct round *round)
{
    double total = 0;
    for (size_t i = 0; i < round->part_count; i++)
        total += (double)part_voice(&round->parts[i]);
    for (int step = 0; step < TOTAL_STEPS_MAX; step++) {
        double next = round_total_step(round, total);
        if (next < 0)
            return INFINITY;
        if (next >= total)
            break;
        total = next;
    }
    return total;
}

uint64_t round_settled(const struct round *round, size_t i, double total)
{
    const struct part *part = &round->parts[i];
    uint64_t voice = part_voice(part);
    double most = round_cap(round, part) * total;
    return (double)voice > most ? (uint64_t)ceil(most) : voice;
}

uint64_t round_keys(const struct round *round)
{
    double total = round_total(round);
    uint64_t keys = 0;
    for (size_t i = 0; i < round->part_count; i++)
        keys += round_settled(round, i, total);
    return keys;
}

size_t round_lies(const struct round *round)
{
    double total = round_total(round);
    size_t lies = round->leaves_scaled;
    for (size_t i = 0; i < round->part_count; i++) {
        const struct part *part = &round->parts[i];
        uint64_t settled = round_settled(round, i, total);
        lies += !part->missing &&
                (part->lied || round_is_beyond(part->claimed, settled));
    }
    return lies;
}

uint64_t round_before(const struct round *round, const struct part *part,
                      size_t q, uint64_t settled)
{
    if (q == part->quantile_count)
        return settled;
    uint64_t before = round->quantiles[part->first + q].before;
    if (settled == part->claimed)
        return before;
    double share = (double)before / (double)part->claimed;
    return (uint64_t)(share * (double)settled);
}

/* The runs of part i; the keys before them grow by it. */
static void round_part_runs(const struct round *round, const struct part *part,
                            uint64_t settled, uint64_t keys_before,
                            round_run_fn *each, void *context)
{
    for (size_t q = 0; q < part->quantile_count; q++) {
        uint64_t before = round_before(round, part, q, settled);
        uint64_t end = round_before(round, part, q + 1, settled);
        if (before == end)
            continue;
        const struct quantile *quantile = &round->quantiles[part->first + q];
        struct run run = { .key = round_span(round, quantile->key),
                           .before = keys_before + before,
                           .count = end - before };
        if (q + 1 < part->quantile_count) {
            run.next = round_span(round, quantile[1].key);
        } else {
            run.next = round_span(round, part->hi);
            run.last = round_span(round, part->end);
        }
        each(context, &run);
    }
}

void round_each_run(const struct round *round, round_run_fn *each,
                    void *context)
{
    double total = round_total(round);
    uint64_t before = 0;
    for (size_t i = 0; i < round->part_count; i++) {
        uint64_t settled = round_settled(round, i, total);
        round_part_runs(round, &round->parts[i], settled, before, each,
                        context);
        before += settled;
    }
}

void round_each_run_of(const struct round *round, size_t i, round_run_fn *each,
                       void *context)
{
    uint64_t settled = round_settled(round, i, round_total(round));
    round_part_runs(round, &round->parts[i], settled, 0, each, context);
}

/* How far a model is from runs. The keys of a run are spread over the leaves
 * it reaches into as the model has them. */
struct measure {
    const struct model *model;
    double keys, model_keys;
    struct fit_error *out;
    double sum;
    uint32_t leaf;
    double in_leaf, fullest;
};

static void measure_into(struct measure *m, uint32_t leaf, double count)
{
    if (leaf != m->leaf)
        m->in_leaf = 0;
    m->leaf = leaf;
    m->in_leaf += count;
    m->fullest = m->in_leaf > m->fullest ? m->in_leaf : m->fullest;
}

static void measure_leaves(struct measure *m, const struct run *run,
                           double from)
{
    uint32_t first = model_leaf_of(m->model, run->key);
    struct span end = run->last.data ? run->last : run->next;
    uint32_t last = model_leaf_of(m->model, end);
    double to = model_rank(m->model, end);
    if (first == last || to <= from) {
        measure_into(m, first, (double)run->count);
        return;
    }
    double each = (double)run->count / (to - from);
    for (uint32_t i = first; i <= last; i++) {
        double lo = (double)model_keys_before(m->model, i);
        double hi = (double)model_keys_before(m->model, i + 1);
        lo = lo > from ? lo : from;
        hi = hi < to ? hi : to;
        measure_into(m, i, hi > lo ? (hi - lo) * each : 0);
    }
}

static void measure_run(void *context, const struct run *run)
{
    struct measure *m = context;
    double rank = model_rank(m->model, run->key);
    double off = fabs(rank / m->model_keys - (double)run->before / m->keys);
    m->out->max = off > m->out->max ? off : m->out->max;
    m->sum += off * (double)run->count;
    if (run->last.data) {
        double end = model_rank(m->model, run->last) / m->model_keys;
        double truth = (double)(run->before + run->count) / m->keys;
        double gap = fabs(end - truth);
        m->out->max = gap > m->out->max ? gap : m->out->max;
    }
    measure_leaves(m, run, rank);
}

void round_measure(const struct round *round, const struct model *model,
                   struct fit_error *out)
{
    *out = (struct fit_error){ 0 };
    uint64_t keys = round_keys(round);
    if (keys == 0)
        return;
    struct measure m = { .model = model,
                         .keys = (double)keys,
                         .model_keys = (double)model_key_count(model),
                         .out = out };
    round_each_run(round, measure_run, &m);
    out->mean = m.sum / m.keys;
    out->hot_leaf = m.fullest / m.keys * model_leaf_count(model);
}
