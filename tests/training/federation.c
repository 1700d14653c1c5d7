/* SPDX-License-Identifier: Apache-2.0 */

/* Arcs and their round. */

#include "training/federation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "dlht/err.h"
#include "rmi/sums_pack.h"
#include "training/fedavg.h"

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "federation: %s\n", what);
    abort();
}

static void *must(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    check(memory != NULL, "no memory");
    return memory;
}

static int by_size(const void *a, const void *b)
{
    const size_t *x = a;
    const size_t *y = b;
    return (*x > *y) - (*x < *y);
}

struct federation federation_cut(const struct span *keys, size_t count,
                                 size_t arc_count, bool empties,
                                 struct rng *rng)
{
    struct federation f = { keys, count, arc_count,
                            must(arc_count + 1, sizeof(size_t)),
                            must(arc_count + 1, sizeof(struct span)) };
    for (size_t i = 1; i < arc_count; i++)
        f.cut[i] = (size_t)rng_range(rng, 1, count - 1);
    if (arc_count > 2)
        qsort(f.cut + 1, arc_count - 1, sizeof *f.cut, by_size);
    f.cut[arc_count] = count;
    for (size_t i = 1; i < arc_count; i++) {
        bool empty = empties && i > 1 && rng_below(rng, 10) == 0;
        if (empty)
            f.cut[i] = f.cut[i - 1];
        struct span key = keys[f.cut[i]];
        f.lo[i] =
            f.cut[i] > 0 ? report_separator(keys[f.cut[i] - 1], key) : key;
        /* From the shortest that separates to the key: no keys between. Where
         * they are the same, the arc before must not be empty, too. */
        if (f.cut[i] == f.cut[i - 1] && i > 1) {
            if (span_compare(f.lo[i - 1], key) < 0) {
                f.lo[i] = key;
            } else { /* nothing fits between: take one key */
                f.cut[i]++;
                check(f.cut[i] < count, "no room for arcs");
                for (size_t j = i + 1; j < arc_count; j++)
                    if (f.cut[j] < f.cut[i])
                        f.cut[j] = f.cut[i];
                f.lo[i] = report_separator(key, keys[f.cut[i]]);
            }
        }
    }
    return f;
}

void federation_deinit(struct federation *f)
{
    free(f->cut);
    free(f->lo);
}

uint64_t federation_keys(const struct federation *f, size_t i)
{
    return f->cut[i + 1] - f->cut[i];
}

struct report federation_report(const struct federation *f, size_t i,
                                size_t wanted, struct fit_quantile *quantiles)
{
    const struct span *keys = f->keys + f->cut[i];
    size_t count = f->cut[i + 1] - f->cut[i];
    struct report report = { .lo = f->lo[i],
                             .hi = f->lo[i + 1],
                             .has_hi = i + 1 < f->arc_count,
                             .keys = count,
                             .quantiles = quantiles };
    wanted = wanted < count ? wanted : count;
    for (size_t q = 0; q < wanted; q++) {
        size_t at = q * count / wanted;
        size_t end = (q + 1) * count / wanted;
        struct span key =
            at > 0 ? report_separator(keys[at - 1], keys[at]) : keys[at];
        quantiles[q] = (struct fit_quantile){ key, end - at };
    }
    report.quantile_count = wanted;
    if (count > 0)
        report.end = keys[count - 1];
    return report;
}

/* As MessagePack has them. */
static size_t uint_size(uint64_t x)
{
    return x < 128 ? 1 : x < 256 ? 2 : x < 65536 ? 3 : x >> 32 ? 9 : 5;
}

static size_t bin_size(size_t len)
{
    return uint_size(len > 255 ? len : 255) + len;
}

size_t federation_report_size(const struct report *report)
{
    struct buf packed = { 0 };
    report_pack(report, &packed);
    check(!packed.failed, "no memory");
    size_t size = 3 * 5 + 1 + 3 + uint_size(report->keys) +
                  bin_size(report->lo.len) + bin_size(report->hi.len) +
                  bin_size(packed.len);
    buf_deinit(&packed);
    return size;
}

struct federation_plan federation_plan_default(void)
{
    return (struct federation_plan){ .config = fit_config_default(),
                                     .liar = SIZE_MAX,
                                     .factor = 1,
                                     .split = SIZE_MAX };
}

static double *bytes_new(const struct federation *f)
{
    return must(f->arc_count, sizeof(double));
}

static void pass_one(const struct federation *f,
                     const struct federation_plan *plan, struct round *round,
                     double *bytes)
{
    struct fit_quantile *quantiles =
        must(REPORT_QUANTILES_MAX, sizeof *quantiles);
    for (size_t i = 0; i < f->arc_count; i++) {
        double share = (double)federation_keys(f, i) / (double)f->count;
        size_t wanted =
            plan->quantiles
                ? plan->quantiles
                : report_quantiles_wanted(share, plan->config.leaf_count);
        struct report report = federation_report(f, i, wanted, quantiles);
        if (plan->missing && plan->missing[i]) {
            struct round_gap gap = { report.lo, report.hi, report.has_hi };
            check(round_add_missing(round, &gap) == DLHT_OK, "no gap");
            continue;
        }
        if (i == plan->liar && !plan->lying_sums) {
            report.keys *= plan->factor;
            for (size_t q = 0; q < report.quantile_count; q++)
                quantiles[q].count *= plan->factor;
        }
        if (i == plan->liar && plan->heap_report) {
            for (size_t q = 1; q < report.quantile_count; q++) {
                quantiles[0].count += quantiles[q].count - 1;
                quantiles[q].count = 1;
            }
        }
        check(round_add(round, &report) == DLHT_OK, "report refused");
        for (size_t r = 0; r < plan->replicas; r++)
            round_hear_count(round, i, federation_keys(f, i));
        bytes[i] += (double)federation_report_size(&report);
    }
    free(quantiles);
}

/* All keys are in the first leaf, at its begin. */
static void sums_heap(struct sums *sums, size_t leaf_count)
{
    uint64_t keys = 0;
    for (size_t i = 0; i < leaf_count; i++) {
        keys += sums_count(&sums[i]);
        sums[i] = (struct sums){ 0 };
    }
    for (uint64_t i = 0; i < keys; i++)
        sums_add(&sums[0], 0);
}

/* What arrives of sums. */
static void send_sums(struct sums *sums, size_t count, enum model_kind kind,
                      struct buf *packed)
{
    sums_pack(sums, count, kind, packed);
    check(!packed->failed &&
              sums_unpack(buf_span(packed), kind, sums, count) == DLHT_OK,
          "sums do not travel");
}

/* Sums keys over the slice for [lo, hi) and adds them. */
static void sum_part(const struct federation *f, struct round *round,
                     size_t begin, size_t end, const struct report *bounds,
                     uint64_t factor, bool heap,
                     struct federation_result *result, double *bytes,
                     double (*clock)(void))
{
    struct buf packed = { 0 }, packed_sums = { 0 };
    uint32_t first;
    struct model *slice;
    check(round_slice(round, bounds->lo, bounds->hi, bounds->has_hi, &first,
                      &packed) == DLHT_OK,
          "no slice");
    check(model_unpack(buf_span(&packed), &slice) == DLHT_OK, "bad slice");
    size_t leaf_count = model_leaf_count(slice);
    struct sums *sums = must(leaf_count, sizeof *sums);
    double from = clock ? clock() : 0;
    fit_sum(slice, f->keys + begin, end - begin, sums);
    result->sum_seconds += clock ? clock() - from : 0;
    for (size_t i = 0; i < leaf_count && factor > 1; i++) {
        struct sums once = sums[i];
        for (uint64_t n = 1; n < factor; n++)
            sums_append(&sums[i], &once);
    }
    if (heap)
        sums_heap(sums, leaf_count);
    send_sums(sums, leaf_count, model_leaf_kind(slice), &packed_sums);
    result->bytes[1] += (double)packed.len;
    result->bytes[2] += (double)packed_sums.len;
    *bytes += (double)(packed.len + packed_sums.len);
    check(round_add_sums(round, first, sums, leaf_count) == DLHT_OK,
          "sums refused");
    buf_deinit(&packed_sums);
    free(sums);
    model_free(slice);
    buf_deinit(&packed);
}

static void pass_two(const struct federation *f,
                     const struct federation_plan *plan, struct round *round,
                     struct federation_result *result, double *bytes,
                     double (*clock)(void))
{
    for (size_t i = 0; i < f->arc_count; i++) {
        struct report bounds = { .lo = f->lo[i],
                                 .hi = f->lo[i + 1],
                                 .has_hi = i + 1 < f->arc_count };
        size_t begin = f->cut[i];
        size_t end = f->cut[i + 1];
        uint64_t factor =
            i == plan->liar && !plan->honest_sums ? plan->factor : 1;
        bool heap = i == plan->liar && plan->heap_sums;
        if ((plan->missing && plan->missing[i]) ||
            (plan->silent && plan->silent[i])) {
            check(round_add_silent(round, i) == DLHT_OK, "not silent");
            continue;
        }
        if (i == plan->split && end - begin > 2) {
            struct report left = bounds;
            size_t middle = begin + (end - begin) / 3;
            left.hi = report_separator(f->keys[middle - 1], f->keys[middle]);
            left.has_hi = true;
            bounds.lo = left.hi;
            sum_part(f, round, begin, middle, &left, factor, heap, result,
                     &bytes[i], clock);
            begin = middle;
        }
        sum_part(f, round, begin, end, &bounds, factor, heap, result, &bytes[i],
                 clock);
    }
}

/* All keys over the whole skeleton, in one look. */
static struct model *fit_at_once(const struct federation *f,
                                 struct round *round,
                                 const struct fit_config *config,
                                 struct model **out)
{
    struct buf packed = { 0 };
    uint32_t first;
    struct model *skeleton = NULL;
    struct model *model;
    check(round_slice(round, span_empty(), span_empty(), false, &first,
                      &packed) == DLHT_OK &&
              first == 0 &&
              model_unpack(buf_span(&packed), &skeleton) == DLHT_OK,
          "no skeleton");
    struct sums *sums = must(model_leaf_count(skeleton), sizeof *sums);
    fit_sum(skeleton, f->keys, f->count, sums);
    check(fit_leaves(skeleton, sums, config, &model) == DLHT_OK, "no fit");
    free(sums);
    *out = skeleton;
    buf_deinit(&packed);
    return model;
}

struct federation_result federation_run(const struct federation *f,
                                        const struct federation_plan *plan,
                                        double (*clock)(void))
{
    struct federation_result result = { 0 };
    struct round *round;
    double *bytes = bytes_new(f);
    check(round_new(&plan->config, plan->previous, &round) == DLHT_OK,
          "no round");
    pass_one(f, plan, round, bytes);
    for (size_t i = 0; i < f->arc_count; i++)
        result.bytes[0] += bytes[i];
    check(round_fill_missing(round) == DLHT_OK, "too much is missing");
    if (plan->previous)
        round_measure(round, plan->previous, &result.error);
    double from = clock ? clock() : 0;
    check(round_skeleton(round) == DLHT_OK, "no skeleton");
    result.fit_seconds = clock ? clock() - from : 0;
    pass_two(f, plan, round, &result, bytes, clock);
    from = clock ? clock() : 0;
    round_end_sums(round);
    check(round_finish(round, &result.model) == DLHT_OK, "no model");
    result.fit_seconds += clock ? clock() - from : 0;
    result.at_once = fit_at_once(f, round, &plan->config, &result.skeleton);
    result.keys = round_keys(round);
    result.lies = round_lies(round);
    result.missing = round_missing(round);
    for (size_t i = 0; i < f->arc_count; i++)
        result.most = bytes[i] > result.most ? bytes[i] : result.most;
    free(bytes);
    round_free(round);
    return result;
}

void federation_result_deinit(struct federation_result *result)
{
    model_free(result->model);
    model_free(result->skeleton);
    model_free(result->at_once);
}

struct span *federation_before(const struct federation *f, struct rng *rng,
                               size_t *count)
{
    struct span *keys = must(f->count, sizeof *keys);
    *count = 0;
    for (size_t i = 0; i < f->count; i++) {
        bool region = i >= f->count / 10 * 4 && i < f->count / 10 * 7;
        /* 0.3 of all times this is 0.3 / 1.3 of all. */
        if (!region || !rng_chance(rng, 1 / 1.3))
            keys[(*count)++] = f->keys[i];
    }
    return keys;
}

/* Arc i's own model: leaf j is its own if the arc holds it whole. */
static struct model *own_model(const struct federation *f, size_t i,
                               const struct model *before)
{
    uint32_t leaf_count = model_leaf_count(before);
    struct sums *sums = must(leaf_count, sizeof *sums);
    fit_sum(before, f->keys + f->cut[i], f->cut[i + 1] - f->cut[i], sums);
    uint32_t first = i > 0 ? model_leaf_of(before, f->lo[i]) + 1 : 0;
    uint32_t end =
        i + 1 < f->arc_count ? model_leaf_of(before, f->lo[i + 1]) : leaf_count;
    struct model *own = NULL;
    for (uint32_t j = first; j < end; j++) {
        struct model *next;
        if (sums_count(&sums[j]) == 0)
            continue;
        check(fit_update_leaf(own ? own : before, j, &sums[j], &next) ==
                  DLHT_OK,
              "no update");
        model_free(own);
        own = next;
    }
    free(sums);
    return own;
}

struct model *federation_average(const struct federation *f,
                                 const struct model *before)
{
    struct fedavg_part *parts = must(f->arc_count, sizeof *parts);
    struct model **own = must(f->arc_count, sizeof *own);
    for (size_t i = 0; i < f->arc_count; i++) {
        own[i] = own_model(f, i, before);
        parts[i].model = own[i] ? own[i] : before;
        parts[i].keys = federation_keys(f, i);
    }
    struct model *merged;
    check(fedavg_merge(parts, f->arc_count, &merged) == DLHT_OK, "no merge");
    for (size_t i = 0; i < f->arc_count; i++)
        model_free(own[i]);
    free(own);
    free(parts);
    return merged;
}

struct model *federation_concatenate(const struct federation *f,
                                     size_t quantiles)
{
    struct fit_quantile *all = must(f->arc_count * quantiles, sizeof *all);
    size_t count = 0;
    for (size_t i = 0; i < f->arc_count; i++)
        count += federation_report(f, i, quantiles, all + count).quantile_count;
    struct fit_config config = { (uint32_t)count, MODEL_CUBIC, MODEL_LINEAR };
    struct model *model;
    check(fit_skeleton(all, count, f->keys[f->count - 1], &config, &model) ==
              DLHT_OK,
          "no skeleton");
    free(all);
    return model;
}

double federation_apart(const struct federation *f, const struct model *a,
                        const struct model *b)
{
    double most = 0;
    for (size_t i = 0; i < f->count; i++) {
        double gap =
            fabs(model_rank(a, f->keys[i]) - model_rank(b, f->keys[i]));
        most = gap > most ? gap : most;
    }
    return most;
}
