/* SPDX-License-Identifier: Apache-2.0 */

/* The questions of a round: some at a time, until all arcs have answered, or
 * are passed over. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/keeper.h"
#include "node/op_model.h"
#include "node/trainer_state.h"
#include "rmi/sums_pack.h"

enum {
    SURVEY_LEAVES = 256,   /* a survey asks for as many quantiles as such a
                            * model would */
    TRIES_MAX = 2,         /* to get an answer that fits */
    STRETCH_PORTIONS = 64, /* an arc is not cut into more between two looks */
    SUMS_PARTS_MAX = 64    /* likewise, between the passes */
};
#define QUESTION_NS (UINT64_C(10) * NS_PER_S)

struct span trainer_lo(const struct interval *keys)
{
    return keys->lo_len ? span_of(keys->bytes.data, keys->lo_len)
                        : span_empty();
}

struct span trainer_hi(const struct interval *keys)
{
    return keys->has_hi && keys->bytes.len > keys->lo_len
               ? span_of(keys->bytes.data + keys->lo_len,
                         keys->bytes.len - keys->lo_len)
               : span_empty();
}

static bool set_interval(struct interval *keys, struct span lo, struct span hi,
                         bool has_hi)
{
    buf_append_span(&keys->bytes, lo);
    keys->lo_len = lo.len;
    if (has_hi)
        buf_append_span(&keys->bytes, hi);
    keys->has_hi = has_hi;
    return !keys->bytes.failed;
}

void trainer_portion_free(struct portion *p)
{
    if (!p)
        return;
    buf_deinit(&p->keys.bytes);
    buf_deinit(&p->report);
    buf_deinit(&p->sums);
    buf_deinit(&p->cursor);
    free(p);
}

void trainer_walk_free(struct training *t)
{
    for (size_t i = 0; i < t->stretch_count; i++) {
        struct stretch *s = &t->stretches[i];
        while (s->first) {
            struct portion *p = s->first;
            s->first = p->next;
            trainer_portion_free(p);
        }
        buf_deinit(&s->keys.bytes);
    }
    free(t->stretches);
    t->stretches = NULL;
    t->stretch_count = 0;
    for (size_t i = 0; i < t->portion_count; i++)
        trainer_portion_free(t->portions[i]);
    free(t->portions);
    t->portions = NULL;
    t->portion_count = 0;
    t->at = t->open = t->bytes = t->missing = 0;
}

static bool add_stretch(struct training *t, struct span lo, struct span hi,
                        bool has_hi, bool known)
{
    struct stretch *s = &t->stretches[t->stretch_count++];
    s->known = known;
    return set_interval(&s->keys, lo, hi, has_hi);
}

/* The arcs of the map, and what is between them. */
static bool cut_stretches(struct training *t, const struct map *map)
{
    size_t count = map_count(map);
    struct span at = span_empty();
    bool ended = false, ok = true;
    t->stretches = mem_zero(2 * count + 1, sizeof *t->stretches);
    if (!t->stretches)
        return false;
    for (size_t i = 0; i < count && ok && !ended; i++) {
        const struct arc *arc = map_at(map, i);
        if (span_compare(at, arc->lo) < 0)
            ok = add_stretch(t, at, arc->lo, true, false);
        ok = ok && add_stretch(t, arc->lo, arc->hi, arc->has_hi, true);
        at = arc->hi;
        ended = !arc->has_hi;
    }
    return ok && (ended || add_stretch(t, at, span_empty(), false, false));
}

/* Carries a question of this round to the owner of request's key. False: the
 * round is over. */
static bool carry(struct node *node, struct training *t, struct request *q,
                  size_t index, pending_fn *done)
{
    struct question *question = mem_zero(1, sizeof *question);
    int rc = DLHT_ENOMEM;
    if (question) {
        q->keyspace = t->keyspace;
        *question = (struct question){ t->keyspace, t->number, index };
        struct pending_target target = { .done = done,
                                         .context = question,
                                         .later = true };
        rc = pending_begin(node, q, node->now_ns + QUESTION_NS, &target);
    }
    if (rc == DLHT_OK) {
        t->open++;
        return true;
    }
    free(question);
    trainer_round_fail(node, t, rc, "a question could not be asked");
    return false;
}

/* Where the stretch goes on. */
static struct span stretch_at(const struct stretch *s)
{
    return s->last ? trainer_hi(&s->last->keys) : trainer_lo(&s->keys);
}

static bool stretch_is_done(const struct stretch *s)
{
    const struct portion *p = s->last;
    return p && p->keys.has_hi == s->keys.has_hi &&
           (!p->keys.has_hi ||
            span_equal(trainer_hi(&p->keys), trainer_hi(&s->keys)));
}

static void report_done(struct node *node, void *context,
                        const struct response *response);

static bool ask_report(struct node *node, struct training *t, size_t i)
{
    const struct stretch *s = &t->stretches[i];
    struct request q = { .op = OP_MODEL_REPORT,
                         .key = stretch_at(s),
                         .end = trainer_hi(&s->keys),
                         .limit =
                             t->survey ? SURVEY_LEAVES : t->config.leaf_count,
                         .version = t->keys };
    if (s->keys.has_hi)
        q.flags |= REQUEST_HAS_END;
    return carry(node, t, &q, i, report_done);
}

/* In key order, and no stretches any more. */
static bool line_up(struct training *t)
{
    size_t count = 0;
    for (size_t i = 0; i < t->stretch_count; i++)
        count += t->stretches[i].portion_count;
    t->portions = mem_array(count + 1, sizeof *t->portions);
    if (!t->portions)
        return false;
    for (size_t i = 0; i < t->stretch_count; i++) {
        struct stretch *s = &t->stretches[i];
        for (struct portion *p = s->first; p; p = p->next)
            t->portions[t->portion_count++] = p;
        s->first = s->last = NULL;
        buf_deinit(&s->keys.bytes);
    }
    free(t->stretches);
    t->stretches = NULL;
    t->stretch_count = 0;
    return true;
}

static void go_on_reports(struct node *node, struct training *t)
{
    while (t->at < t->stretch_count && t->open < TRAINING_WINDOW)
        if (!ask_report(node, t, t->at++))
            return;
    if (t->open > 0)
        return;
    if (line_up(t))
        trainer_reported(node, t);
    else
        trainer_round_fail(node, t, DLHT_ENOMEM, "no memory for a round");
}

void trainer_walk_reports(struct node *node, struct training *t)
{
    struct keyspace *ks = keyspaces_find(node, t->keyspace);
    keeper_totals(node, ks, &t->keys, &t->arcs);
    t->at = t->open = t->bytes = t->missing = 0;
    if (cut_stretches(t, ks->map))
        go_on_reports(node, t);
    else
        trainer_round_fail(node, t, DLHT_ENOMEM, "no memory for a round");
}

/* Too much is missing, or there is no model that may stand in. */
static bool may_pass_over(struct training *t, size_t all)
{
    t->missing++;
    return t->previous &&
           (t->missing == 1 || t->missing * ROUND_MISSING_PART <= all);
}

static struct portion *append_portion(struct stretch *s, struct span hi,
                                      bool has_hi)
{
    struct portion *p = mem_zero(1, sizeof *p);
    if (!p || !set_interval(&p->keys, stretch_at(s), hi, has_hi)) {
        trainer_portion_free(p);
        return NULL;
    }
    if (s->last)
        s->last->next = p;
    else
        s->first = p;
    s->last = p;
    s->portion_count++;
    return p;
}

/* The map knows the arc, of that generation or a later one, with other
 * bounds. */
static bool is_denied(const struct keyspace *ks, const struct stretch *s,
                      const struct model_piece *piece)
{
    const struct arc *arc = map_by_id(ks->map, piece->arc);
    const struct report *report = &piece->report;
    if (!arc || piece->generation > arc->generation)
        return false;
    struct span end = trainer_hi(&s->keys);
    bool ends_first =
        arc->has_hi && (!s->keys.has_hi || span_compare(arc->hi, end) < 0);
    bool has_hi = ends_first || s->keys.has_hi;
    return piece->generation < arc->generation ||
           span_compare(report->lo, arc->lo) < 0 || report->has_hi != has_hi ||
           (has_hi && !span_equal(report->hi, ends_first ? arc->hi : end));
}

/* It begins where it was asked to, and ends within the stretch. */
static bool is_within(const struct stretch *s, const struct report *report)
{
    struct span end = trainer_hi(&s->keys);
    return span_equal(report->lo, stretch_at(s)) &&
           (report->has_hi
                ? !s->keys.has_hi || span_compare(report->hi, end) <= 0
                : !s->keys.has_hi);
}

static bool may_have_more(const struct training *t, const struct stretch *s)
{
    size_t most = STRETCH_PORTIONS + (s->known ? 0 : 2 * t->arcs);
    return s->portion_count < most;
}

/* DLHT_EPROTO: it does not fit. */
static int take_report(struct node *node, struct training *t, struct stretch *s,
                       const struct response *response)
{
    struct model_piece piece;
    int rc = response->status;
    if (rc == DLHT_OK)
        rc = op_model_read_report(response->value, &piece);
    if (rc != DLHT_OK)
        return rc;
    const struct keyspace *ks = keyspaces_find(node, t->keyspace);
    bool fits = is_within(s, &piece.report) &&
                report_check(&piece.report) == DLHT_OK &&
                !is_denied(ks, s, &piece) && may_have_more(t, s);
    struct portion *p = NULL;
    if (fits)
        p = append_portion(s, piece.report.hi, piece.report.has_hi);
    if (p) {
        p->arc = piece.arc;
        p->generation = piece.generation;
        p->applied = piece.applied;
        p->key_count = piece.report.keys;
        p->whole = piece.whole;
        buf_append_span(&p->report, response->value);
        t->bytes += p->report.len;
    }
    op_model_piece_deinit(&piece);
    if (!fits)
        return DLHT_EPROTO;
    return p && !p->report.failed && t->bytes <= TRAINING_BYTES_MAX
               ? DLHT_OK
               : DLHT_ENOMEM;
}

/* The rest of the stretch is what the model before says. */
static bool pass_over_stretch(struct node *node, struct training *t,
                              struct stretch *s, int status)
{
    if (!may_pass_over(t, t->stretch_count)) {
        trainer_round_fail(node, t, status,
                           status == DLHT_EPROTO
                               ? "an arc's report does not fit"
                               : "an arc did not say what it has");
        return false;
    }
    struct portion *p = append_portion(s, trainer_hi(&s->keys), s->keys.has_hi);
    if (!p) {
        trainer_round_fail(node, t, DLHT_ENOMEM, "no memory for a round");
        return false;
    }
    p->missing = true;
    node_log(node, LOG_DEBUG, "model round: an arc is passed over: %s",
             dlht_strerror(status));
    return true;
}

static void report_done(struct node *node, void *context,
                        const struct response *response)
{
    struct question question = *(struct question *)context;
    free(context);
    struct training *t = trainer_of(node, &question, TRAINING_REPORTS);
    if (!t || response->status == DLHT_ECLOSED) /* the node is freed */
        return;
    struct stretch *s = &t->stretches[question.index];
    t->open--;
    int rc = take_report(node, t, s, response);
    if (rc == DLHT_ENOMEM) {
        trainer_round_fail(node, t, rc, "no memory for a report");
        return;
    }
    bool again = rc == DLHT_EPROTO && ++s->tries < TRIES_MAX;
    if (rc != DLHT_OK && !again && !pass_over_stretch(node, t, s, rc))
        return;
    if (!stretch_is_done(s) && !ask_report(node, t, question.index))
        return;
    go_on_reports(node, t);
}

static void sums_done(struct node *node, void *context,
                      const struct response *response);

/* The next part of a portion. */
static bool ask_sums(struct node *node, struct training *t, size_t i)
{
    const struct portion *p = t->portions[i];
    struct request q = { .op = OP_MODEL_SUMS,
                         .key = p->has_cursor ? buf_span(&p->cursor)
                                              : trainer_lo(&p->keys),
                         .end = trainer_hi(&p->keys) };
    struct buf slice = { 0 };
    uint32_t first;
    if (p->keys.has_hi)
        q.flags |= REQUEST_HAS_END;
    int rc =
        round_slice(t->round, q.key, q.end, p->keys.has_hi, &first, &slice);
    q.value = buf_span(&slice);
    bool asked = rc == DLHT_OK && carry(node, t, &q, i, sums_done);
    if (rc != DLHT_OK)
        trainer_round_fail(node, t, rc,
                           "no memory for a slice of the skeleton");
    buf_deinit(&slice);
    return asked;
}

static void go_on_sums(struct node *node, struct training *t)
{
    for (; t->at < t->portion_count && t->open < TRAINING_WINDOW; t->at++)
        if (!t->portions[t->at]->missing && !ask_sums(node, t, t->at))
            return;
    if (t->open == 0)
        trainer_summed(node, t);
}

void trainer_walk_sums(struct node *node, struct training *t)
{
    t->at = t->open = t->bytes = 0;
    go_on_sums(node, t);
}

/* Sums that can be, of leaves that were asked for and are not behind those
 * that came before. */
static bool sums_fit(const struct portion *p, const struct sums_head *head,
                     uint32_t from, uint32_t leaves, const struct sums *sums)
{
    if (head->count == 0)
        return true;
    if (head->first < from || head->count > leaves ||
        head->first - from > leaves - head->count ||
        head->first + 1 < p->sums_end)
        return false;
    for (uint32_t i = 0; i < head->count; i++)
        if (!sums_are_sane(&sums[i]) || sums_count(&sums[i]) > REPORT_KEYS_MAX)
            return false;
    return true;
}

static int keep_sums(struct training *t, struct portion *p,
                     const struct sums_head *head, const struct sums *sums)
{
    struct buf packed = { 0 };
    struct sums_head known = *head;
    sums_pack(sums, head->count, t->config.leaf, &packed);
    known.len = packed.len;
    buf_append(&p->sums, &known, sizeof known);
    buf_append_span(&p->sums, buf_span(&packed));
    t->bytes += packed.len + sizeof known;
    bool failed = packed.failed || p->sums.failed;
    buf_deinit(&packed);
    p->sums_end = head->first + head->count;
    return failed || t->bytes > TRAINING_BYTES_MAX ? DLHT_ENOMEM : DLHT_OK;
}

/* A part ends beyond where it began, and inside its portion. */
static bool is_between(const struct portion *p, struct span cursor)
{
    struct span lo =
        p->has_cursor ? buf_span(&p->cursor) : trainer_lo(&p->keys);
    return span_compare(cursor, lo) > 0 &&
           (!p->keys.has_hi ||
            span_compare(cursor, trainer_hi(&p->keys)) < 0) &&
           p->parts < SUMS_PARTS_MAX;
}

static int take_sums(struct training *t, struct portion *p,
                     const struct response *response)
{
    struct sums *sums = NULL;
    uint32_t first, from, leaves;
    size_t count;
    int rc = response->status;
    if (rc == DLHT_OK)
        rc =
            op_model_read_sums(response, t->config.leaf, &first, &sums, &count);
    if (rc != DLHT_OK)
        return rc;
    rc = round_leaves(
        t->round, p->has_cursor ? buf_span(&p->cursor) : trainer_lo(&p->keys),
        trainer_hi(&p->keys), p->keys.has_hi, &from, &leaves);
    struct sums_head head = { from + first, (uint32_t)count, 0 };
    if (rc == DLHT_OK && (!sums_fit(p, &head, from, leaves, sums) ||
                          (response->more && !is_between(p, response->cursor))))
        rc = DLHT_EPROTO;
    if (rc == DLHT_OK && count > 0)
        rc = keep_sums(t, p, &head, sums);
    free(sums);
    if (rc != DLHT_OK || !response->more)
        return rc;
    p->parts++;
    p->has_cursor = true;
    buf_reset(&p->cursor);
    buf_append_span(&p->cursor, response->cursor);
    return p->cursor.failed ? DLHT_ENOMEM : DLHT_OK;
}

static void sums_done(struct node *node, void *context,
                      const struct response *response)
{
    struct question question = *(struct question *)context;
    free(context);
    struct training *t = trainer_of(node, &question, TRAINING_SUMS);
    if (!t || response->status == DLHT_ECLOSED) /* the node is freed */
        return;
    struct portion *p = t->portions[question.index];
    t->open--;
    int rc = take_sums(t, p, response);
    bool again = rc == DLHT_OK ? response->more
                               : rc == DLHT_EPROTO && ++p->tries < TRIES_MAX;
    bool passed_over = rc != DLHT_OK && !again;
    if (rc == DLHT_ENOMEM ||
        (passed_over && !may_pass_over(t, t->portion_count))) {
        trainer_round_fail(node, t, rc, "an arc did not sum its keys");
        return;
    }
    if (passed_over) {
        p->silent = true;
        buf_deinit(&p->sums);
    }
    if (again && !ask_sums(node, t, question.index))
        return;
    go_on_sums(node, t);
}
