/* SPDX-License-Identifier: Apache-2.0 */

/* One round of training: carried from arc to arc, then published. */

#include "node/trainer_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/jobs.h"
#include "node/keeper.h"
#include "node/op_model.h"
#include "node/options.h"
#include "node/pending.h"
#include "node/replica.h"

enum {
    SURVEY_LEAVES = 256, /* a survey asks for as many quantiles as such a model
                          * would */
    COUNT_PART = 10,     /* counts of an arc agree that are no more than this
                          * part of it apart, */
    COUNT_SLACK = 100    /* and so many keys */
};
#define QUESTION_NS (UINT64_C(20) * NS_PER_S)
#define ROUND_NS (UINT64_C(120) * NS_PER_S) /* then it is given up */
#define COUNTS_NS (UINT64_C(300) * NS_PER_MS)
#define AGAIN_NS (UINT64_C(250) * NS_PER_MS) /* more than a heartbeat */

/* A question that is out; its round may be over when the answer comes. */
struct question {
    keyspace_id keyspace;
    uint64_t number;
};

/* A fit under way. It has the round, and what the round borrows. */
struct fit_job {
    struct question of;
    struct round *round;
    struct held_model *previous;
    struct model *made;
    int status;
};

static struct training *training_by(struct node *node, const struct question *q,
                                    enum training_phase phase)
{
    struct keyspace *ks = keyspaces_find(node, q->keyspace);
    struct training *t = ks ? ks->training : NULL;
    return t && t->number == q->number && t->phase == phase ? t : NULL;
}

static void fail(struct node *node, struct training *t, int status,
                 const char *text)
{
    trainer_round_over(node, t, status, false, text);
}

void trainer_round_drop(struct node *node, struct training *t)
{
    if (t->job)
        jobs_cancel(node, t->job);
    t->job = 0;
    round_free(t->round);
    t->round = NULL;
    models_release(t->previous);
    t->previous = NULL;
    t->phase = TRAINING_IDLE;
    t->number++;
    free(t->arcs);
    t->arcs = NULL;
    free(t->asked);
    t->asked = NULL;
    free(t->witnessed);
    t->witnessed = NULL;
    t->late = t->asked_twice = false;
    t->again_ns = 0;
    t->arc_count = t->arc_cap = 0;
    buf_deinit(&t->cursor);
    t->has_cursor = false;
}

/* Carries a question of this round to the owner of request's key. */
static void carry(struct node *node, struct training *t, struct request *q,
                  pending_fn *done)
{
    struct question *question = mem_zero(1, sizeof *question);
    int rc = DLHT_ENOMEM;
    if (question) {
        question->keyspace = q->keyspace = t->keyspace;
        question->number = t->number;
        struct pending_target target = { .done = done,
                                         .context = question,
                                         .later = true };
        rc = pending_begin(node, q, node->now_ns + QUESTION_NS, &target);
    }
    if (rc != DLHT_OK) {
        free(question);
        fail(node, t, rc, "a question could not be asked");
    }
}

static bool note_arc(struct training *t, const struct model_piece *piece)
{
    if (t->arc_count == t->arc_cap) {
        size_t cap = t->arc_cap ? t->arc_cap * 2 : 64;
        struct model_count *grown = mem_resize(t->arcs, cap, sizeof *grown);
        if (!grown)
            return false;
        t->arcs = grown;
        t->arc_cap = cap;
    }
    t->arcs[t->arc_count++] =
        (struct model_count){ piece->arc, piece->generation, piece->applied,
                              piece->report.keys };
    return true;
}

static struct fit_config fit_config_of(const struct keyspace *ks)
{
    struct keyspace_settings settings;
    options_read(ks->record.options, &settings);
    return settings.fit;
}

static void report_done(struct node *node, void *context,
                        const struct response *response);

static void ask_report(struct node *node, struct training *t)
{
    struct keyspace *ks = keyspaces_find(node, t->keyspace);
    struct request q = { .op = OP_MODEL_REPORT };
    uint64_t keys;
    size_t arcs;
    keeper_totals(node, ks, &keys, &arcs);
    q.limit = t->survey ? SURVEY_LEAVES : fit_config_of(ks).leaf_count;
    q.version = keys;
    (void)round_next(t->round, &q.key);
    carry(node, t, &q, report_done);
}

static void ask_counts(struct node *node, struct training *t)
{
    t->asked_peers = t->heard_peers = 0;
    t->counts_ns = node->now_ns;
    t->phase = TRAINING_COUNTS;
    t->again_ns = 0;
    free(t->asked);
    t->asked = mem_zero(swim_count(node->swim) + 1, sizeof *t->asked);
    if (!t->witnessed)
        t->witnessed = mem_zero(t->arc_count + 1, sizeof *t->witnessed);
    if (!t->asked || !t->witnessed) {
        fail(node, t, DLHT_ENOMEM, "no memory for counts");
        return;
    }
    struct message m = { .type = MESSAGE_MODEL };
    m.u.model.kind = MODEL_COUNT_ASK;
    m.u.model.keyspace = t->keyspace;
    m.u.model.epoch = t->number;
    for (size_t i = 0; i < swim_count(node->swim); i++) {
        const struct peer *p = swim_at(node->swim, i);
        if (p->state != PEER_ALIVE || node_is_self(node, &p->id))
            continue;
        node_send(node, &p->id, &m);
        t->asked[t->asked_peers++] = p->id;
    }
    node_wake_at(node, node->now_ns + COUNTS_NS);
}

/* What is known here of the arc, of that generation or a later one, has other
 * bounds; or arcs are known beyond what is said to be the last. */
static bool is_denied(const struct keyspace *ks,
                      const struct model_piece *piece)
{
    const struct report *report = &piece->report;
    const struct arc *arc = map_by_id(ks->map, piece->arc);
    if (arc && arc->generation == piece->generation &&
        (arc->has_hi != report->has_hi ||
         (arc->has_hi && !span_equal(arc->hi, report->hi))))
        return true;
    size_t count = map_count(ks->map);
    return !report->has_hi && count > 0 &&
           span_compare(map_at(ks->map, count - 1)->lo, report->lo) > 0;
}

static void report_done(struct node *node, void *context,
                        const struct response *response)
{
    struct training *t = training_by(node, context, TRAINING_REPORTS);
    free(context);
    if (!t)
        return;
    struct model_piece piece;
    int rc = response->status;
    if (rc == DLHT_OK)
        rc = op_model_read_report(response, &piece);
    if (rc != DLHT_OK) {
        fail(node, t, rc, "an arc did not say what it has");
        return;
    }
    if (is_denied(keyspaces_find(node, t->keyspace), &piece))
        rc = DLHT_EPROTO;
    else
        rc = round_add(t->round, &piece.report);
    if (rc == DLHT_OK && !note_arc(t, &piece))
        rc = DLHT_ENOMEM;
    free(piece.quantiles);
    struct span next;
    if (rc != DLHT_OK)
        fail(node, t, rc, "an arc's report does not fit");
    else if (round_next(t->round, &next))
        ask_report(node, t);
    else if (t->survey)
        trainer_surveyed(node, t);
    else
        ask_counts(node, t);
}

/* Each peer that was asked has one answer. */
static bool takes_answer(struct training *t, const struct id *from)
{
    for (size_t i = 0; i < t->asked_peers; i++) {
        if (!id_equal(&t->asked[i], from))
            continue;
        t->asked[i] = (struct id){ { 0 } };
        t->heard_peers++;
        return true;
    }
    return false;
}

/* It keeps a copy of the arc and has not reported it, as far as known here. */
static bool may_count(const struct keyspace *ks, const struct id *from,
                      const struct model_count *heard)
{
    const struct arc *arc = map_by_id(ks->map, heard->arc);
    return !arc || arc->generation != heard->generation ||
           (arc_member_of(arc, from) && !id_equal(&arc->owner, from));
}

/* Replicas that are a little ahead agree. Those that stand before or behind a
 * cut or a move speak of something else; those that are behind are asked once
 * more, and then believed: the owner may lie about how far its log is. */
static void hear_count(struct training *t, const struct model_count *heard)
{
    for (size_t i = 0; i < t->arc_count; i++) {
        const struct model_count *claim = &t->arcs[i];
        if (claim->arc != heard->arc || claim->generation != heard->generation)
            continue;
        if (heard->applied < claim->applied && !t->asked_twice) {
            t->late = true;
            continue;
        }
        if (t->asked_twice && t->witnessed[i])
            continue;
        t->witnessed[i] = !t->asked_twice;
        uint64_t apart = claim->keys > heard->keys ? claim->keys - heard->keys
                                                   : heard->keys - claim->keys;
        bool agrees = apart <= claim->keys / COUNT_PART + COUNT_SLACK;
        round_hear_count(t->round, i, agrees ? claim->keys : heard->keys);
    }
}

void trainer_count(struct node *node, const struct keyspace *ks,
                   const struct id *from, uint64_t round)
{
    struct model_count *list =
        effects_room(node->fx, MESSAGE_COUNTS_MAX * sizeof *list);
    size_t count = 0;
    for (size_t i = 0; list && i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        if (r->keyspace == ks->record.id && !r->empty && !replica_leads(r) &&
            !r->incoming && count < MESSAGE_COUNTS_MAX)
            list[count++] =
                (struct model_count){ r->id, r->arc->generation, r->applied,
                                      replica_key_count(r) };
    }
    struct message m = { .type = MESSAGE_MODEL };
    m.u.model.kind = MODEL_COUNTS;
    m.u.model.keyspace = ks->record.id;
    m.u.model.epoch = round;
    m.u.model.counts = list;
    m.u.model.count_count = count;
    node_send(node, from, &m);
}

static void fit_drop(void *data)
{
    struct fit_job *job = data;
    round_free(job->round);
    models_release(job->previous);
    model_free(job->made);
    free(job);
}

static void skeleton_run(void *data)
{
    struct fit_job *job = data;
    job->status = round_skeleton(job->round);
}

static void finish_run(void *data)
{
    struct fit_job *job = data;
    job->status = round_finish(job->round, &job->made);
}

static void fit_done(struct node *node, void *data);

static void begin_fit(struct node *node, struct training *t,
                      enum training_phase phase, void (*run)(void *data))
{
    t->phase = phase;
    struct fit_job *job = mem_zero(1, sizeof *job);
    int rc = DLHT_ENOMEM;
    if (job) {
        job->of = (struct question){ t->keyspace, t->number };
        job->round = t->round;
        job->previous = models_hold(t->previous);
        rc = jobs_begin(node, run, fit_done, fit_drop, job, &t->job);
    }
    if (rc == DLHT_OK) {
        t->round = NULL;
        return;
    }
    if (job)
        models_release(job->previous);
    free(job);
    t->job = 0;
    fail(node, t, rc, "no memory for a job");
}

static void counts_over(struct node *node, struct training *t)
{
    if (!t->late || t->asked_twice) {
        begin_fit(node, t, TRAINING_SKELETON, skeleton_run);
        return;
    }
    t->asked_twice = true;
    t->again_ns = node->now_ns + AGAIN_NS;
    node_wake_at(node, t->again_ns);
}

void trainer_hear_counts(struct node *node, struct keyspace *ks,
                         const struct id *from, const struct model_message *m)
{
    struct training *t = ks->training;
    if (!t || t->number != m->epoch || t->phase != TRAINING_COUNTS ||
        t->again_ns || !takes_answer(t, from))
        return;
    arc_id before = 0; /* arcs come in order, each once */
    for (size_t i = 0; i < m->count_count; i++) {
        if (m->counts[i].arc > before && may_count(ks, from, &m->counts[i]))
            hear_count(t, &m->counts[i]);
        before = m->counts[i].arc > before ? m->counts[i].arc : before;
    }
    if (t->heard_peers == t->asked_peers)
        counts_over(node, t);
}

static void sums_done(struct node *node, void *context,
                      const struct response *response);

/* The next part of the next arc that has keys; past the last the leaves are
 * fitted. */
static void ask_sums(struct node *node, struct training *t)
{
    if (t->at == round_report_count(t->round)) {
        round_end_sums(t->round);
        begin_fit(node, t, TRAINING_FINISH, finish_run);
        return;
    }
    struct request q = { .op = OP_MODEL_SUMS };
    struct buf slice = { 0 };
    bool has_hi;
    round_bounds(t->round, t->at, &q.key, &q.end, &has_hi);
    if (has_hi)
        q.flags |= REQUEST_HAS_END;
    if (t->has_cursor)
        q.key = buf_span(&t->cursor);
    int rc = round_slice(t->round, q.key, q.end, has_hi, &t->first, &slice);
    q.value = buf_span(&slice);
    if (rc == DLHT_OK)
        carry(node, t, &q, sums_done);
    else
        fail(node, t, rc, "no memory for a slice of the skeleton");
    buf_deinit(&slice);
}

/* A part ends beyond where it began, and inside its report. */
static bool is_between(const struct training *t, struct span cursor)
{
    struct span lo, hi;
    bool has_hi;
    round_bounds(t->round, t->at, &lo, &hi, &has_hi);
    if (t->has_cursor)
        lo = buf_span(&t->cursor);
    return span_compare(cursor, lo) > 0 &&
           (!has_hi || span_compare(cursor, hi) < 0);
}

static void sums_done(struct node *node, void *context,
                      const struct response *response)
{
    struct training *t = training_by(node, context, TRAINING_SUMS);
    free(context);
    if (!t)
        return;
    struct sums *sums = NULL;
    uint32_t first;
    size_t count;
    int rc = response->status;
    if (rc == DLHT_OK)
        rc = op_model_read_sums(response, &first, &sums, &count);
    if (rc == DLHT_OK && count > 0)
        rc = first <= MODEL_LEAVES_MAX
                 ? round_add_sums(t->round, t->first + first, sums, count)
                 : DLHT_EPROTO;
    free(sums);
    if (rc == DLHT_OK && response->more && !is_between(t, response->cursor))
        rc = DLHT_EPROTO;
    if (rc != DLHT_OK) {
        fail(node, t, rc, "an arc did not sum its keys");
        return;
    }
    t->has_cursor = response->more;
    if (response->more) {
        buf_reset(&t->cursor);
        buf_append_span(&t->cursor, response->cursor);
        if (t->cursor.failed) {
            fail(node, t, DLHT_ENOMEM, "no memory for a key");
            return;
        }
    } else {
        t->at++;
    }
    ask_sums(node, t);
}

/* The epoch that was written; others hear of it from the system arc. */
static void published(struct node *node, void *context,
                      const struct response *response)
{
    struct training *t = training_by(node, context, TRAINING_PUBLISH);
    free(context);
    if (!t)
        return;
    if (response->status == DLHT_OK)
        trainer_round_over(node, t, DLHT_OK, true, NULL);
    else if (response->status == DLHT_EMISMATCH)
        fail(node, t, DLHT_EBUSY, "another epoch was published meanwhile");
    else
        fail(node, t, response->status, "the system arc did not take it");
}

void trainer_round_publish(struct node *node, struct training *t,
                           const struct model *model,
                           const struct model_info *info)
{
    struct model_record record = { 0 };
    struct model_info made = *info;
    struct buf packed = { 0 }, value = { 0 };
    struct request q = { .op = OP_CAS };
    bool there = models_record(node, t->keyspace, &record, &q.version);
    if (!there)
        record.history_count = 0;
    made.epoch = record.history_count ? record.history[0].epoch + 1 : 1;
    made.keys = model_key_count(model);
    made.leaves = model_leaf_count(model);
    made.root = (uint8_t)model_root_kind(model);
    made.leaf = (uint8_t)model_leaf_kind(model);
    made.bytes = model_packed_size(model);
    made.at_ms = trainer_time_ms(node);
    made.trained_by = node->self;
    made.took_ms = (node->now_ns - t->began_ns) / NS_PER_MS;
    if (record.history_count == MODEL_HISTORY_MAX)
        record.history_count--;
    memmove(record.history + 1, record.history,
            record.history_count * sizeof *record.history);
    record.history[0] = made;
    record.history_count++;
    int rc = models_pack(&made, model, &packed);
    record.packed = buf_span(&packed);
    if (rc == DLHT_OK)
        rc = models_record_pack(&record, &value);
    t->phase = TRAINING_PUBLISH;
    q.value = buf_span(&value);
    q.key = models_key(node, t->keyspace);
    struct question *question = mem_zero(1, sizeof *question);
    if (rc == DLHT_OK && question) {
        *question = (struct question){ t->keyspace, t->number };
        struct pending_target target = { .done = published,
                                         .context = question,
                                         .later = true };
        q.keyspace = SYSTEM_KEYSPACE;
        rc = pending_begin(node, &q, node->now_ns + QUESTION_NS, &target);
    } else if (rc == DLHT_OK) {
        rc = DLHT_ENOMEM;
    }
    if (rc != DLHT_OK) {
        free(question);
        fail(node, t, rc, "no memory to publish");
    }
    buf_deinit(&packed);
    buf_deinit(&value);
}

/* Not worth an epoch: what peers hold says the same already. */
static bool is_the_same(const struct training *t, const struct model *model,
                        double distance)
{
    return t->previous && t->reason != DRIFT_FORCE &&
           model_leaf_count(t->previous->model) == model_leaf_count(model) &&
           distance <= 1.0 / model_leaf_count(model);
}

static void fitted(struct node *node, struct training *t, struct model *model)
{
    struct model_info info = { .reason = (uint8_t)t->reason,
                               .lies = round_lies(t->round) };
    struct fit_error error;
    round_measure(t->round, model, &error);
    info.mean_error = error.mean;
    info.max_error = error.max;
    info.distance = t->previous ? model_distance(t->previous->model, model) : 1;
    if (info.lies)
        node_log(node, LOG_WARNING,
                 "model round: %zu arcs claim keys that their other replicas "
                 "do not have",
                 (size_t)info.lies);
    if (is_the_same(t, model, info.distance))
        trainer_round_over(node, t, DLHT_OK, false,
                           "the model in use is as good");
    else
        trainer_round_publish(node, t, model, &info);
}

static void fit_done(struct node *node, void *data)
{
    struct fit_job *job = data;
    struct keyspace *ks = keyspaces_find(node, job->of.keyspace);
    struct training *t = ks ? ks->training : NULL;
    if (!t || t->number != job->of.number || !t->job) {
        fit_drop(job);
        return;
    }
    t->job = 0;
    t->round = job->round;
    job->round = NULL;
    struct model *model = job->made;
    job->made = NULL;
    int status = job->status;
    fit_drop(job);
    if (status != DLHT_OK) {
        fail(node, t, status == DLHT_EINVAL ? DLHT_EREFUSED : status,
             "there is nothing to fit a model to");
    } else if (t->phase == TRAINING_SKELETON) {
        t->phase = TRAINING_SUMS;
        t->at = 0;
        ask_sums(node, t);
    } else {
        fitted(node, t, model);
    }
    model_free(model);
}

void trainer_round_begin(struct node *node, struct training *t, bool survey,
                         enum drift_reason reason)
{
    assert(t->phase == TRAINING_IDLE);
    struct keyspace *ks = keyspaces_find(node, t->keyspace);
    struct fit_config config = fit_config_of(ks);
    t->phase = TRAINING_REPORTS;
    t->survey = survey;
    t->forced = t->forced && survey;
    t->imports = false;
    t->reason = reason;
    t->began_ns = node->now_ns;
    t->previous = models_hold(ks->held);
    int rc =
        round_new(&config, t->previous ? t->previous->model : NULL, &t->round);
    if (rc == DLHT_OK)
        ask_report(node, t);
    else
        fail(node, t, rc, "no memory for a round");
}

void trainer_round_tick(struct node *node, struct training *t)
{
    if (t->phase == TRAINING_COUNTS && t->again_ns) {
        if (node->now_ns >= t->again_ns)
            ask_counts(node, t);
    } else if (t->phase == TRAINING_COUNTS &&
               (t->heard_peers == t->asked_peers ||
                node->now_ns - t->counts_ns >= COUNTS_NS))
        counts_over(node, t);
    else if (t->phase != TRAINING_IDLE &&
             node->now_ns - t->began_ns >= ROUND_NS)
        fail(node, t, DLHT_ETIMEOUT, "the round took too long");
}
