/* SPDX-License-Identifier: Apache-2.0 */

/* The slow work of a round, done elsewhere: whatever looks at all arcs or all
 * leaves. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/jobs.h"
#include "node/op_model.h"
#include "node/trainer_state.h"
#include "rmi/sums_pack.h"

/* What it works on, all its own until it is done. */
struct job {
    struct question of;
    enum trainer_work work;
    struct fit_config config;
    struct held_model *previous; /* of the node's thread but for its model */
    struct portion **portions;
    size_t portion_count;
    struct heard *heard;
    size_t heard_count;
    struct round *round;
    struct model *made;
    int status;
    struct fit_error error;
    double distance;
    uint64_t keys;
    size_t lies, missing;
};

static const struct model *model_before(const struct job *job)
{
    return job->previous ? job->previous->model : NULL;
}

/* Nobody hears of them. */
static void job_drop(void *data)
{
    struct job *job = data;
    for (size_t i = 0; i < job->portion_count; i++)
        trainer_portion_free(job->portions[i]);
    free(job->portions);
    free(job->heard);
    round_free(job->round);
    models_release(job->previous);
    model_free(job->made);
    free(job);
}

static int add_portion(struct round *round, struct portion *p)
{
    if (p->missing) {
        struct round_gap gap = { trainer_lo(&p->keys), trainer_hi(&p->keys),
                                 p->keys.has_hi };
        return round_add_missing(round, &gap);
    }
    struct model_piece piece;
    int rc = op_model_read_report(buf_span(&p->report), &piece);
    if (rc != DLHT_OK)
        return rc;
    rc = round_add(round, &piece.report);
    op_model_piece_deinit(&piece);
    buf_deinit(&p->report);
    return rc;
}

static int put_reports_together(struct job *job)
{
    int rc = round_new(&job->config, model_before(job), &job->round);
    for (size_t i = 0; i < job->portion_count && rc == DLHT_OK; i++)
        rc = add_portion(job->round, job->portions[i]);
    for (size_t i = 0; i < job->heard_count && rc == DLHT_OK; i++)
        round_hear_count(job->round, job->heard[i].portion, job->heard[i].keys);
    return rc;
}

static void run_survey(void *data)
{
    struct job *job = data;
    job->status = put_reports_together(job);
    if (job->status == DLHT_OK)
        job->status = round_fill_missing(job->round);
    if (job->status != DLHT_OK)
        return;
    job->keys = round_keys(job->round);
    if (job->previous)
        round_measure(job->round, model_before(job), &job->error);
}

static void run_skeleton(void *data)
{
    struct job *job = data;
    job->status = put_reports_together(job);
    if (job->status == DLHT_OK)
        job->status = round_skeleton(job->round);
}

/* The next of the answers about a portion. */
static int add_part(struct job *job, const struct sums_head *head,
                    struct span packed)
{
    struct sums *sums = mem_array(head->count, sizeof *sums);
    if (!sums)
        return DLHT_ENOMEM;
    int rc = sums_unpack(packed, job->config.leaf, sums, head->count);
    if (rc == DLHT_OK)
        rc = round_add_sums(job->round, head->first, sums, head->count);
    free(sums);
    return rc;
}

static int add_sums(struct job *job, size_t i)
{
    struct portion *p = job->portions[i];
    if (p->missing || p->silent)
        return round_add_silent(job->round, i);
    struct span left = buf_span(&p->sums);
    int rc = DLHT_OK;
    while (left.len > 0 && rc == DLHT_OK) {
        struct sums_head head;
        memcpy(&head, left.data, sizeof head);
        left = span_tail(left, sizeof head);
        rc = add_part(job, &head, span_of(left.data, head.len));
        left = span_tail(left, head.len);
    }
    buf_deinit(&p->sums);
    return rc;
}

static void run_finish(void *data)
{
    struct job *job = data;
    int rc = DLHT_OK;
    for (size_t i = 0; i < job->portion_count && rc == DLHT_OK; i++)
        rc = add_sums(job, i);
    if (rc == DLHT_OK) {
        round_end_sums(job->round);
        rc = round_finish(job->round, &job->made);
    }
    job->status = rc;
    if (rc != DLHT_OK)
        return;
    round_measure(job->round, job->made, &job->error);
    job->lies = round_lies(job->round);
    job->missing = round_missing(job->round);
    job->distance =
        job->previous ? model_distance(model_before(job), job->made) : 1;
}

static void run_import(void *data)
{
    struct job *job = data;
    job->status = DLHT_OK;
    job->distance =
        job->previous ? model_distance(model_before(job), job->made) : 1;
}

static void give_back(struct training *t, struct job *job)
{
    t->job = 0;
    t->round = job->round;
    t->portions = job->portions;
    t->portion_count = job->portion_count;
    job->round = NULL;
    job->portions = NULL;
    job->portion_count = 0;
}

static void go_on(struct node *node, struct training *t, const struct job *job)
{
    struct model_info info = { .reason = (uint8_t)t->reason,
                               .imported = job->work == TRAINER_IMPORT,
                               .lies = job->lies,
                               .missing = job->missing,
                               .distance = job->distance,
                               .mean_error = job->error.mean,
                               .max_error = job->error.max };
    if (job->status == DLHT_EREFUSED)
        trainer_round_fail(node, t, job->status,
                           "too many arcs did not say what they have");
    else if (job->status != DLHT_OK)
        trainer_round_fail(
            node, t, job->status == DLHT_EINVAL ? DLHT_EREFUSED : job->status,
            "there is nothing to fit a model to");
    else if (job->work == TRAINER_SURVEY)
        trainer_surveyed(node, t, job->keys, &job->error);
    else if (job->work == TRAINER_SKELETON)
        trainer_skeleton(node, t);
    else
        trainer_fitted(node, t, job->made, &info);
}

static void job_done(struct node *node, void *data)
{
    struct job *job = data;
    struct keyspace *ks = keyspaces_find(node, job->of.keyspace);
    struct training *t = ks ? ks->training : NULL;
    if (t && t->number == job->of.number && t->job) {
        give_back(t, job);
        go_on(node, t, job);
    }
    job_drop(job);
}

static void take_along(struct training *t, struct job *job)
{
    job->of = (struct question){ t->keyspace, t->number, 0 };
    job->config = t->config;
    job->previous = models_hold(t->previous);
    job->portions = t->portions;
    job->portion_count = t->portion_count;
    job->heard = t->heard;
    job->heard_count = t->heard_count;
    job->round = t->round;
    t->portions = NULL;
    t->portion_count = 0;
    t->heard = NULL;
    t->heard_count = t->heard_cap = 0;
    t->round = NULL;
}

void trainer_job_begin(struct node *node, struct training *t,
                       enum trainer_work work, struct model *import)
{
    static const jobs_run_fn RUNS[] = { run_survey, run_skeleton, run_finish,
                                        run_import };
    t->phase = work == TRAINER_SKELETON ? TRAINING_SKELETON : TRAINING_FINISH;
    struct job *job = mem_zero(1, sizeof *job);
    if (!job) {
        model_free(import);
        trainer_round_fail(node, t, DLHT_ENOMEM, "no memory for a job");
        return;
    }
    take_along(t, job);
    job->work = work;
    job->made = import;
    int rc = jobs_begin(node, RUNS[work], job_done, job_drop, job, &t->job);
    if (rc == DLHT_OK)
        return;
    job_drop(job);
    t->job = 0;
    trainer_round_fail(node, t, rc, "no job is free for a round");
}
