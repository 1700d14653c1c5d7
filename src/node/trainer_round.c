/* SPDX-License-Identifier: Apache-2.0 */

/* One round of training: its phases, one after the other, then it is
 * published. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/jobs.h"
#include "node/options.h"
#include "node/trainer_state.h"

#define PUBLISH_NS (UINT64_C(20) * NS_PER_S)
/* Then it is given up: so long, and for each arc so much more. */
#define ROUND_NS (UINT64_C(120) * NS_PER_S)
#define ROUND_ARC_NS (UINT64_C(100) * NS_PER_MS)

struct training *trainer_of(struct node *node, const struct question *q,
                            enum training_phase phase)
{
    struct keyspace *ks = keyspaces_find(node, q->keyspace);
    struct training *t = ks ? ks->training : NULL;
    return t && t->number == q->number && t->phase == phase ? t : NULL;
}

void trainer_round_fail(struct node *node, struct training *t, int status,
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
    trainer_counts_free(t);
    trainer_walk_free(t);
}

void trainer_reported(struct node *node, struct training *t)
{
    if (t->survey)
        trainer_job_begin(node, t, TRAINER_SURVEY, NULL);
    else
        trainer_counts_begin(node, t);
}

void trainer_counted(struct node *node, struct training *t)
{
    trainer_job_begin(node, t, TRAINER_SKELETON, NULL);
}

void trainer_skeleton(struct node *node, struct training *t)
{
    t->phase = TRAINING_SUMS;
    trainer_walk_sums(node, t);
}

void trainer_summed(struct node *node, struct training *t)
{
    trainer_job_begin(node, t, TRAINER_FINISH, NULL);
}

/* The epoch that was written; others hear of it from the system arc. */
static void published(struct node *node, void *context,
                      const struct response *response)
{
    struct training *t = trainer_of(node, context, TRAINING_PUBLISH);
    free(context);
    if (!t)
        return;
    if (response->status == DLHT_OK)
        trainer_round_over(node, t, DLHT_OK, true, NULL);
    else if (response->status == DLHT_EMISMATCH)
        trainer_round_fail(node, t, DLHT_EBUSY,
                           "another epoch was published meanwhile");
    else
        trainer_round_fail(node, t, response->status,
                           "the system arc did not take it");
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
        *question = (struct question){ t->keyspace, t->number, 0 };
        struct pending_target target = { .done = published,
                                         .context = question,
                                         .later = true };
        q.keyspace = SYSTEM_KEYSPACE;
        rc = pending_begin(node, &q, node->now_ns + PUBLISH_NS, &target);
    } else if (rc == DLHT_OK) {
        rc = DLHT_ENOMEM;
    }
    if (rc != DLHT_OK) {
        free(question);
        trainer_round_fail(node, t, rc, "no memory to publish");
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

static void tell(struct node *node, const struct model_info *info)
{
    if (info->lies)
        node_log(node, LOG_WARNING,
                 "model round: %zu arcs claim keys that their other replicas "
                 "do not have",
                 (size_t)info->lies);
    if (info->missing)
        node_log(node, LOG_WARNING,
                 "model round: %zu arcs did not say what they have, or what "
                 "does not fit: the model before speaks for them",
                 (size_t)info->missing);
}

void trainer_fitted(struct node *node, struct training *t,
                    const struct model *model, const struct model_info *info)
{
    tell(node, info);
    if (!info->imported && is_the_same(t, model, info->distance))
        trainer_round_over(node, t, DLHT_OK, false,
                           "the model in use is as good");
    else
        trainer_round_publish(node, t, model, info);
}

void trainer_round_begin(struct node *node, struct training *t, bool survey,
                         enum drift_reason reason)
{
    assert(t->phase == TRAINING_IDLE);
    struct keyspace *ks = keyspaces_find(node, t->keyspace);
    struct keyspace_settings settings;
    options_read(ks->record.options, &settings);
    t->config = settings.fit;
    t->phase = TRAINING_REPORTS;
    t->survey = survey;
    t->forced = t->forced && survey;
    t->imports = false;
    t->reason = reason;
    t->began_ns = node->now_ns;
    t->previous = models_hold(ks->held);
    trainer_walk_reports(node, t);
}

void trainer_round_tick(struct node *node, struct training *t)
{
    if (t->phase == TRAINING_IDLE)
        return;
    if (t->phase == TRAINING_COUNTS)
        trainer_counts_tick(node, t);
    else if (node->now_ns - t->began_ns >= ROUND_NS + t->arcs * ROUND_ARC_NS)
        trainer_round_fail(node, t, DLHT_ETIMEOUT, "the round took too long");
}
