/* SPDX-License-Identifier: Apache-2.0 */

/* A round over many arcs, of which the answers are made here: requests that the
 * node would carry are kept, and answered in an order drawn by lot. */

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "node/alone.h"
#include "node/jobs.h"
#include "node/keeper.h"
#include "node/op_model.h"
#include "node/trainer_state.h"
#include "rmi/key_sets.h"
#include "rmi/sums_pack.h"
#include "wire/mp.h"

enum {
    GENERATION = 7, /* of all arcs, by the map */
    KINDS = 8
};

/* What an owner does. */
enum manner {
    HONEST,
    SILENT,      /* no answer in time */
    SILENT_SUMS, /* none in pass 2 */
    TOO_LONG,    /* claims all keys to the end, as a newer arc */
    TOO_SHORT,   /* claims a part, of the generation that the map knows */
    ELSEWHERE,   /* begins where it was not asked */
    BAD_SUMS,    /* of leaves that were not asked for */
    CUT          /* honest: two arcs by now, of a newer generation */
};

struct question_out {
    struct request q;
    struct buf bytes[3]; /* key, end, value */
    pending_fn *done;
    void *context;
};

/* The world: one at a time. */
static struct {
    bool on;
    struct key_set set;
    size_t arc_count;
    struct span *lo;            /* of each arc */
    const enum manner *manners; /* KINDS of arcs, in turns; NULL: all honest */
    struct question_out *out;
    size_t out_count, out_most, asked, totals;
    jobs_run_fn run;
    jobs_done_fn done;
    void *job;
    struct buf model;
    struct model_info info;
    char told[200]; /* what was logged last */
} w;

void __real_node_log(struct node *node, enum log_level level,
                     const char *format, ...);
void __wrap_node_log(struct node *node, enum log_level level,
                     const char *format, ...);
void __wrap_node_log(struct node *node, enum log_level level,
                     const char *format, ...)
{
    (void)node;
    (void)level;
    va_list args;
    va_start(args, format);
    if (w.on)
        vsnprintf(w.told, sizeof w.told, format, args);
    va_end(args);
}

int __real_pending_begin(struct node *node, const struct request *request,
                         uint64_t deadline_ns,
                         const struct pending_target *target);
int __wrap_pending_begin(struct node *node, const struct request *request,
                         uint64_t deadline_ns,
                         const struct pending_target *target);
int __wrap_pending_begin(struct node *node, const struct request *request,
                         uint64_t deadline_ns,
                         const struct pending_target *target)
{
    if (!w.on)
        return __real_pending_begin(node, request, deadline_ns, target);
    cr_assert_lt(w.out_count, (size_t)TRAINING_WINDOW);
    struct question_out *o = &w.out[w.out_count++];
    *o = (struct question_out){ .q = *request,
                                .done = target->done,
                                .context = target->context };
    struct span *spans[] = { &o->q.key, &o->q.end, &o->q.value };
    for (size_t i = 0; i < 3; i++) {
        buf_append_span(&o->bytes[i], *spans[i]);
        *spans[i] = buf_span(&o->bytes[i]);
    }
    w.out_most = w.out_count > w.out_most ? w.out_count : w.out_most;
    w.asked++;
    return DLHT_OK;
}

int __real_jobs_begin(struct node *node, jobs_run_fn run, jobs_done_fn done,
                      jobs_drop_fn drop, void *data, uint64_t *number);
int __wrap_jobs_begin(struct node *node, jobs_run_fn run, jobs_done_fn done,
                      jobs_drop_fn drop, void *data, uint64_t *number);
int __wrap_jobs_begin(struct node *node, jobs_run_fn run, jobs_done_fn done,
                      jobs_drop_fn drop, void *data, uint64_t *number)
{
    if (!w.on)
        return __real_jobs_begin(node, run, done, drop, data, number);
    w.run = run;
    w.done = done;
    w.job = data;
    *number = 1;
    return DLHT_OK;
}

void __real_keeper_totals(const struct node *node, const struct keyspace *ks,
                          uint64_t *keys, size_t *arcs);
void __wrap_keeper_totals(const struct node *node, const struct keyspace *ks,
                          uint64_t *keys, size_t *arcs);
void __wrap_keeper_totals(const struct node *node, const struct keyspace *ks,
                          uint64_t *keys, size_t *arcs)
{
    if (!w.on) {
        __real_keeper_totals(node, ks, keys, arcs);
        return;
    }
    *keys = w.set.count;
    *arcs = w.arc_count;
    w.totals++;
}

void __wrap_trainer_fitted(struct node *node, struct training *t,
                           const struct model *model,
                           const struct model_info *info);
void __wrap_trainer_fitted(struct node *node, struct training *t,
                           const struct model *model,
                           const struct model_info *info)
{
    w.info = *info;
    cr_assert_eq(model_pack(model, &w.model), DLHT_OK);
    trainer_round_drop(node, t);
}

/* Keys before key. */
static size_t rank_of(struct span key)
{
    size_t lo = 0, hi = w.set.count;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (span_compare(w.set.keys[middle], key) < 0)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

static size_t arc_of(struct span key)
{
    size_t i = w.arc_count - 1;
    while (i > 0 && span_compare(w.lo[i], key) > 0)
        i--;
    return i;
}

static enum manner manner_of(size_t arc)
{
    return w.manners ? w.manners[arc % KINDS] : HONEST;
}

/* Where the arc of a cut owner is cut: at its key in the middle. */
static struct span middle_of(size_t arc)
{
    size_t end = arc + 1 < w.arc_count ? rank_of(w.lo[arc + 1]) : w.set.count;
    return w.set.keys[(rank_of(w.lo[arc]) + end) / 2];
}

/* How far the arc that has key goes. */
static struct span end_of(size_t arc, struct span key)
{
    if (manner_of(arc) == CUT && span_compare(key, middle_of(arc)) < 0)
        return middle_of(arc);
    return arc + 1 < w.arc_count ? w.lo[arc + 1] : span_empty();
}

static void write_report(const struct request *q, size_t arc, struct buf *doc)
{
    static struct fit_quantile quantiles[REPORT_QUANTILES_MAX];
    enum manner manner = manner_of(arc);
    struct span hi = end_of(arc, q->key);
    if (manner == TOO_LONG)
        hi = span_empty();
    if (manner == TOO_SHORT)
        hi = middle_of(arc);
    size_t begin = rank_of(q->key);
    size_t end = hi.data ? rank_of(hi) : w.set.count;
    struct report report = { .lo =
                                 manner == ELSEWHERE ? middle_of(arc) : q->key,
                             .hi = hi,
                             .has_hi = hi.data != NULL,
                             .keys = end - begin,
                             .quantiles = quantiles };
    size_t wanted = report.keys < 8 ? (size_t)report.keys : 8;
    for (size_t i = 0; i < wanted; i++) {
        size_t at = begin + report.keys * i / wanted;
        quantiles[i].key = w.set.keys[at];
        quantiles[i].count = begin + report.keys * (i + 1) / wanted - at;
    }
    report.quantile_count = wanted;
    if (wanted)
        report.end = w.set.keys[end - 1];
    struct buf packed = { 0 };
    report_pack(&report, &packed);
    bool newer = manner == CUT || manner == TOO_LONG;
    mp_write_uint(doc, arc + 1);
    mp_write_uint(doc, GENERATION + newer);
    mp_write_uint(doc, 1);
    mp_write_bool(doc, manner != CUT);
    mp_write_bin(doc, report.lo);
    mp_write_bool(doc, report.has_hi);
    mp_write_bin(doc, report.hi);
    mp_write_uint(doc, report.keys);
    mp_write_uint(doc, report.quantile_count);
    mp_write_bin(doc, buf_span(&packed));
    buf_deinit(&packed);
}

static void write_sums(const struct request *q, size_t arc,
                       struct response *response, struct buf *doc)
{
    struct model *slice;
    struct buf packed = { 0 };
    struct span arc_end = end_of(arc, q->key);
    bool has_end = (q->flags & REQUEST_HAS_END) != 0;
    struct span end = has_end ? q->end : span_empty();
    /* Cut between the passes: every third arc. */
    struct span cut = middle_of(arc);
    if (arc % 3 == 0 && span_compare(q->key, cut) < 0)
        arc_end = cut;
    if (arc_end.data && (!has_end || span_compare(arc_end, end) < 0)) {
        response->more = true;
        response->cursor = end = arc_end;
    }
    cr_assert_eq(model_unpack(q->value, &slice), DLHT_OK);
    uint32_t count = model_leaf_count(slice);
    struct sums *sums = calloc(count, sizeof *sums);
    size_t from = rank_of(q->key);
    size_t to = end.data ? rank_of(end) : w.set.count;
    if (to > from)
        fit_sum(slice, w.set.keys + from, to - from, sums);
    uint32_t first = 0;
    while (count > 0 && sums_count(&sums[count - 1]) == 0)
        count--;
    while (first < count && sums_count(&sums[first]) == 0)
        first++;
    sums_pack(sums + first, count - first, model_leaf_kind(slice), &packed);
    mp_write_uint(doc, manner_of(arc) == BAD_SUMS ? first + 30 : first);
    mp_write_uint(doc, count - first);
    mp_write_bin(doc, buf_span(&packed));
    buf_deinit(&packed);
    free(sums);
    model_free(slice);
}

/* Answers question i. */
static void answer(struct node *node, size_t i)
{
    struct question_out o = w.out[i];
    w.out[i] = w.out[--w.out_count];
    size_t arc = arc_of(o.q.key);
    enum manner manner = manner_of(arc);
    struct buf doc = { 0 };
    struct response response = { .status = DLHT_OK };
    bool sums = o.q.op == OP_MODEL_SUMS;
    if (manner == SILENT || (sums && manner == SILENT_SUMS))
        response.status = DLHT_ETIMEOUT;
    else if (sums)
        write_sums(&o.q, arc, &response, &doc);
    else
        write_report(&o.q, arc, &doc);
    response.value = buf_span(&doc);
    o.done(node, o.context, &response);
    buf_deinit(&doc);
    for (size_t k = 0; k < 3; k++)
        buf_deinit(&o.bytes[k]);
}

static void run_round(struct node *node, struct keyspace *ks, uint64_t order)
{
    struct rng rng;
    rng_init(&rng, order);
    buf_reset(&w.model);
    w.asked = w.out_most = w.totals = 0;
    w.on = true;
    trainer_round_begin(node, ks->training, false, DRIFT_FORCE);
    while (ks->training->phase != TRAINING_IDLE) {
        if (w.out_count > 0) {
            answer(node, (size_t)rng_below(&rng, w.out_count));
        } else if (w.job) {
            void *data = w.job;
            w.job = NULL;
            w.run(data);
            w.done(node, data);
        } else {
            cr_assert_eq(ks->training->phase, TRAINING_COUNTS);
            trainer_round_tick(node, ks->training);
        }
    }
    while (w.out_count > 0) /* late answers are nobody's */
        answer(node, 0);
    w.on = false;
    cr_assert_eq(w.totals, 1u, "totals are looked at once");
}

struct ring_of_arcs {
    struct alone alone;
    struct keyspace *ks;
    struct map *map; /* its own */
    struct held_model held;
};

static void begin(struct ring_of_arcs *r, size_t arcs, size_t keys)
{
    memset(&w, 0, sizeof w);
    alone_init(&r->alone, 20261121);
    w.set = key_set_make(KEYS_UNIFORM, keys, 20261121);
    w.arc_count = arcs;
    w.lo = calloc(arcs, sizeof *w.lo);
    w.out = calloc(TRAINING_WINDOW, sizeof *w.out);
    struct node *node = r->alone.node;
    r->ks = keyspaces_find_name(node, span_str("default"));
    r->map = r->ks->map;
    r->ks->map = map_new(arcs + 1);
    for (size_t i = 1; i < arcs; i++)
        w.lo[i] = w.set.keys[i * w.set.count / arcs];
    for (size_t i = 0; i < arcs; i++) {
        struct arc arc = { .keyspace = r->ks->record.id,
                           .id = i + 1,
                           .lo = w.lo[i],
                           .has_hi = i + 1 < arcs,
                           .generation = GENERATION,
                           .member_count = 1 };
        if (arc.has_hi)
            arc.hi = w.lo[i + 1];
        bool news;
        arc.members[0].voter = true;
        arc.members[0].replica = 1;
        arc.members[0].peer.bytes[0] = 1;
        cr_assert_eq(map_notice(r->ks->map, &arc, &news), DLHT_OK);
    }
    cr_assert_eq(map_count(r->ks->map), arcs);
    if (!r->ks->training)
        r->ks->training = calloc(1, sizeof *r->ks->training);
    r->ks->training->keyspace = r->ks->record.id;
    struct fit_config config = fit_config_default();
    r->held = (struct held_model){ .users = 1 };
    cr_assert_eq(fit_keys(w.set.keys, w.set.count, &config, &r->held.model),
                 DLHT_OK);
    r->held.info.epoch = 1;
}

static void end(struct ring_of_arcs *r)
{
    r->ks->held = NULL;
    map_free(r->ks->map);
    r->ks->map = r->map;
    model_free(r->held.model);
    alone_deinit(&r->alone);
    buf_deinit(&w.model);
    key_set_free(&w.set);
    free(w.lo);
    free(w.out);
}

static double ks_of_round(void)
{
    struct model *model;
    struct model_stats stats;
    cr_assert_eq(model_unpack(buf_span(&w.model), &model), DLHT_OK);
    model_measure(model, w.set.keys, w.set.count, &stats);
    cr_assert_eq(stats.inversions, 0u);
    model_free(model);
    return stats.ks;
}

/* One of eight is missing, in whatever manner; its neighbours are not. */
Test(trainer_walk, any_order_gives_the_same_model)
{
    static const enum manner rows[][KINDS] = {
        { HONEST },
        { HONEST, CUT, HONEST, HONEST, CUT },
        { HONEST, SILENT, HONEST, CUT },
        { HONEST, HONEST, SILENT_SUMS, CUT },
        { HONEST, TOO_LONG, HONEST, CUT },
        { HONEST, TOO_SHORT, HONEST, CUT },
        { HONEST, ELSEWHERE },
        { HONEST, CUT, BAD_SUMS },
        { TOO_LONG, HONEST, CUT, HONEST, SILENT },
    };
    static const size_t missing[] = { 0, 0, 25, 25, 25, 25, 25, 25, 50 };
    struct ring_of_arcs r;
    begin(&r, 200, 40000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t first[2] = { 0, 0 };
        w.manners = rows[i];
        r.ks->held = i >= 2 ? &r.held : NULL;
        for (uint64_t order = 1; order <= 6; order++) {
            run_round(r.alone.node, r.ks, order);
            cr_assert_gt(w.model.len, 0u, "row %zu: %s", i, w.told);
            uint64_t now[2] = { 0, w.model.len };
            for (size_t k = 0; k < w.model.len; k++)
                now[0] = now[0] * 0x100000001b3 + w.model.data[k];
            if (order > 1)
                cr_assert_eq(memcmp(now, first, sizeof now), 0, "row %zu", i);
            memcpy(first, now, sizeof now);
        }
        double ks = ks_of_round();
        printf("row %zu: KS %.5f, %zu missing, %zu lies\n", i, ks,
               (size_t)w.info.missing, (size_t)w.info.lies);
        cr_assert_eq(w.info.missing, missing[i], "row %zu", i);
        cr_assert(ks <= 0.003, "row %zu: %f", i, ks);
    }
    end(&r);
}

/* Without a model before, or where too many are missing, there is none. */
Test(trainer_walk, what_cannot_be_made_up_fails)
{
    static const enum manner one[KINDS] = { HONEST, SILENT };
    static const enum manner three[KINDS] = { HONEST, SILENT, TOO_LONG,
                                              ELSEWHERE };
    struct ring_of_arcs r;
    begin(&r, 64, 10000);
    w.manners = one;
    run_round(r.alone.node, r.ks, 1);
    cr_expect_eq(w.model.len, 0u, "no model before");
    r.ks->held = &r.held;
    w.manners = three;
    run_round(r.alone.node, r.ks, 1);
    cr_expect_eq(w.model.len, 0u, "three of eight");
    cr_expect_lt(w.asked, 96u, "it is seen early");
    end(&r);
}

Test(trainer_walk, ten_thousand_arcs)
{
    struct ring_of_arcs r;
    begin(&r, 10000, 100000);
    run_round(r.alone.node, r.ks, 1);
    cr_assert_eq(w.out_most, (size_t)TRAINING_WINDOW);
    cr_assert_leq(w.asked, 10000u + 10000u + 3334u);
    cr_assert_gt(w.model.len, 0u, "%s", w.told);
    double ks = ks_of_round();
    printf("%zu questions, KS %.5f\n", w.asked, ks);
    cr_assert(ks <= 0.003);
    end(&r);
}
