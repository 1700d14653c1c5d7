/* SPDX-License-Identifier: Apache-2.0 */

/* When models are trained, and what is told of them. */

#include "node/trainer.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/keeper.h"
#include "node/options.h"
#include "node/replica.h"
#include "node/trainer_state.h"
#include "wire/mp.h"

enum {
    SURVEY_PART = 200 /* of the keys must have come or gone since the last
                       * survey: one of so many */
        ,
    REST_DOUBLINGS = 6 /* of the pause after rounds that published nothing */
};
#define CHECK_NS (UINT64_C(1000) * NS_PER_MS)

static bool leads_system(const struct node *node)
{
    const struct replica *r = node_replica(node, SYSTEM_ARC);
    return r && !r->empty && replica_leads(r) &&
           r->applied_term == raft_term(r->raft);
}

uint64_t trainer_time_ms(const struct node *node)
{
    const struct replica *r = node_replica(node, SYSTEM_ARC);
    if (!r || r->empty)
        return 0;
    if (!r->led_term)
        return r->time_ms;
    uint64_t led =
        r->time_base_ms + (node->now_ns - r->time_base_ns) / NS_PER_MS;
    return led > r->time_ms ? led : r->time_ms;
}

static struct training *training_of(struct node *node, struct keyspace *ks)
{
    if (ks->training)
        return ks->training;
    struct training *t = mem_zero(1, sizeof *t);
    if (!t)
        return NULL;
    t->keyspace = ks->record.id;
    t->number = rng_next(&node->rng); /* answers to a former one are late */
    t->next_check_ns = node->now_ns + CHECK_NS;
    if (ks->held)
        drift_trained(&t->drift, node->now_ns, ks->held->info.keys);
    ks->training = t;
    return t;
}

void trainer_forget(struct node *node, struct keyspace *ks)
{
    struct training *t = ks->training;
    if (!t)
        return;
    for (size_t i = 0; i < t->waiting_count; i++)
        node_answer_status(node, &t->waiting[i].origin, DLHT_EUNAVAILABLE,
                           NULL);
    trainer_round_drop(node, t);
    free(t);
    ks->training = NULL;
}

void trainer_adopted(struct node *node, struct keyspace *ks)
{
    struct training *t = ks->training;
    if (!t)
        return;
    drift_trained(&t->drift, node->now_ns, ks->held->info.keys);
    ks->changes = 0;
    t->surveyed_changes = 0;
    t->surveyed = false;
    t->fruitless = 0;
}

/* Keys that came or went since the model in use was made: as reported, or if
 * this node has not watched all the time at least what the totals differ. */
static uint64_t changed_since(const struct keyspace *ks,
                              const struct training *t, uint64_t keys)
{
    uint64_t before = t->drift.trained_keys;
    uint64_t differ = keys > before ? keys - before : before - keys;
    return differ > ks->changes ? differ : ks->changes;
}

static enum drift_reason check(struct node *node, struct keyspace *ks,
                               struct training *t, bool measured)
{
    struct keyspace_settings settings;
    options_read(ks->record.options, &settings);
    struct drift_check now = { .now_ns = node->now_ns, .measured = measured };
    size_t arcs;
    keeper_totals(node, ks, &now.keys, &arcs);
    now.changed = changed_since(ks, t, now.keys);
    if (measured) {
        now.keys = t->seen_keys;
        now.mean_error = t->seen.mean;
        now.distribution = t->seen.max;
        now.hot_leaf = t->seen.hot_leaf;
    }
    return drift_check(&t->drift, &settings.triggers, &now);
}

/* Enough has changed that a look is worth its messages; again and again while
 * the last look was bad. */
static bool is_worth_a_survey(const struct keyspace *ks,
                              const struct training *t, uint64_t keys)
{
    struct keyspace_settings settings;
    options_read(ks->record.options, &settings);
    if (!ks->held || keys < settings.triggers.keys_min)
        return false;
    if (!t->surveyed || t->drift.apart > 0)
        return true;
    return changed_since(ks, t, keys) >=
           t->surveyed_changes + keys / SURVEY_PART + 1;
}

static void watch(struct node *node, struct keyspace *ks)
{
    struct training *t = training_of(node, ks);
    if (!t)
        return;
    trainer_round_tick(node, t);
    if (t->phase != TRAINING_IDLE || node->now_ns < t->next_check_ns)
        return;
    t->next_check_ns = node->now_ns + CHECK_NS;
    uint64_t keys;
    size_t arcs;
    keeper_totals(node, ks, &keys, &arcs);
    enum drift_reason reason =
        t->forced ? DRIFT_FORCE : check(node, ks, t, false);
    if (reason != DRIFT_NONE)
        trainer_round_begin(node, t, false, reason);
    else if (is_worth_a_survey(ks, t, keys))
        trainer_round_begin(node, t, true, DRIFT_NONE);
}

void trainer_tick(struct node *node)
{
    bool leads = leads_system(node);
    for (size_t i = 0; i < node->keyspace_count; i++) {
        struct keyspace *ks = &node->keyspaces[i];
        bool trained = ks->record.id != SYSTEM_KEYSPACE &&
                       ks->record.placement == PLACEMENT_ORDERED &&
                       !ks->record.dropped;
        if (leads && trained)
            watch(node, ks);
        else if (ks->training)
            trainer_forget(node, ks);
    }
    if (leads)
        node_wake_at(node, node->now_ns + CHECK_NS / 4);
}

static void write_float_or_nil(struct buf *b, bool there, double value)
{
    if (there)
        mp_write_float(b, value);
    else
        mp_write_nil(b);
}

static const char *kind_name(uint8_t kind)
{
    return kind == MODEL_LINEAR ? "linear" : kind == MODEL_CUBIC ? "cubic" : "";
}

const char *trainer_reason_name(const struct model_info *info)
{
    return info->imported ? "import"
                          : drift_reason_name((enum drift_reason)info->reason);
}

static void write_what(struct node *node, struct buf *b,
                       const struct model_info *info)
{
    uint64_t now_ms = trainer_time_ms(node);
    uint64_t age_ms = now_ms > info->at_ms ? now_ms - info->at_ms : 0;
    const char *addr = node_peer_addr(node, &info->trained_by);
    char text[ID_TEXT_BYTES];
    id_to_text(&info->trained_by, text);
    mp_write_cstr(b, "epoch");
    mp_write_uint(b, info->epoch);
    mp_write_cstr(b, "keys");
    mp_write_uint(b, info->keys);
    mp_write_cstr(b, "leaves");
    mp_write_uint(b, info->leaves);
    mp_write_cstr(b, "root");
    mp_write_cstr(b, kind_name(info->root));
    mp_write_cstr(b, "leaf");
    mp_write_cstr(b, kind_name(info->leaf));
    mp_write_cstr(b, "bytes");
    mp_write_uint(b, info->bytes);
    mp_write_cstr(b, "reason");
    mp_write_cstr(b, info->epoch ? trainer_reason_name(info) : "none");
    mp_write_cstr(b, "distance");
    write_float_or_nil(b, info->epoch, info->distance);
    mp_write_cstr(b, "age_s");
    write_float_or_nil(b, info->epoch, (double)age_ms / 1000);
    mp_write_cstr(b, "took_ms");
    mp_write_uint(b, info->took_ms);
    mp_write_cstr(b, "lies");
    mp_write_uint(b, info->lies);
    mp_write_cstr(b, "missing");
    mp_write_uint(b, info->missing);
    mp_write_cstr(b, "trained_by");
    mp_write_cstr(b, !info->epoch ? "" : addr ? addr : text);
}

enum {
    WHAT_FIELDS = 13
};

static void write_errors(struct buf *b, bool there, double ks, double mean,
                         double max)
{
    mp_write_cstr(b, "ks");
    write_float_or_nil(b, there, ks);
    mp_write_cstr(b, "mean_error");
    write_float_or_nil(b, there, mean);
    mp_write_cstr(b, "max_error");
    write_float_or_nil(b, there, max);
}

static void write_state(struct node *node, const struct keyspace *ks,
                        const struct training *t, struct buf *b)
{
    static const struct model_info none;
    mp_write_map(b, WHAT_FIELDS + 7);
    mp_write_cstr(b, "keyspace");
    mp_write_str(b, ks->record.name);
    write_what(node, b, ks->held ? &ks->held->info : &none);
    write_errors(b, ks->held && t->surveyed, t->seen.max, t->seen.mean,
                 t->seen.max);
    mp_write_cstr(b, "keys_now");
    mp_write_uint(b, t->seen_keys);
    mp_write_cstr(b, "refused");
    mp_write_uint(b, ks->models_refused);
    mp_write_cstr(b, "triggers");
    mp_write_map(b, DRIFT_FORCE);
    for (int i = DRIFT_FIRST; i <= DRIFT_FORCE; i++) {
        mp_write_cstr(b, drift_reason_name((enum drift_reason)i));
        mp_write_uint(b, t->drift.fired[i]);
    }
}

void trainer_history(struct node *node, struct keyspace *ks,
                     const struct origin *origin)
{
    struct model_record record;
    uint64_t version;
    struct buf doc = { 0 };
    if (!models_record(node, ks->record.id, &record, &version))
        record.history_count = 0;
    mp_write_array(&doc, record.history_count);
    for (size_t i = 0; i < record.history_count; i++) {
        const struct model_info *info = &record.history[i];
        mp_write_map(&doc, WHAT_FIELDS + 3);
        write_what(node, &doc, info);
        write_errors(&doc, !info->imported, info->max_error, info->mean_error,
                     info->max_error);
    }
    struct response response = { .status = doc.failed ? DLHT_EBUSY : DLHT_OK,
                                 .value = buf_span(&doc) };
    node_answer(node, origin, &response);
    buf_deinit(&doc);
}

static void write_outcome(struct node *node, const struct keyspace *ks,
                          const struct training *t, bool published,
                          const char *text, struct buf *b)
{
    mp_write_map(b, 4);
    mp_write_cstr(b, "epoch");
    mp_write_uint(b, ks->held ? ks->held->info.epoch : 0);
    mp_write_cstr(b, "published");
    mp_write_bool(b, published);
    mp_write_cstr(b, "reason");
    mp_write_cstr(b, text         ? text
                     : t->imports ? "import"
                                  : drift_reason_name(t->reason));
    mp_write_cstr(b, "took_ms");
    mp_write_uint(b, (node->now_ns - t->began_ns) / NS_PER_MS);
}

/* Shows tell what is known, whatever became of the survey. */
static void answer_one(struct node *node, const struct keyspace *ks,
                       const struct training *t, const struct waiting *w,
                       int status, bool published, const char *text)
{
    struct buf doc = { 0 };
    struct response response = { .status = w->shows ? DLHT_OK : status };
    if (w->shows)
        write_state(node, ks, t, &doc);
    else if (status == DLHT_OK)
        write_outcome(node, ks, t, published, text, &doc);
    else if (text)
        response.text = span_str(text);
    response.value = buf_span(&doc);
    if (doc.failed)
        response.status = DLHT_EBUSY;
    node_answer(node, &w->origin, &response);
    buf_deinit(&doc);
}

void trainer_round_over(struct node *node, struct training *t, int status,
                        bool published, const char *text)
{
    struct keyspace *ks = keyspaces_find(node, t->keyspace);
    if (text)
        node_log(node, LOG_DEBUG, "model round: %s (%s)", text,
                 dlht_strerror(status));
    if (status == DLHT_OK && !published && !t->survey && ks->held) {
        /* Looked at anew, and found good: as if it had been made now. */
        uint64_t keys = t->round ? round_keys(t->round) : t->drift.trained_keys;
        drift_trained(&t->drift, node->now_ns, keys);
        ks->changes = t->surveyed_changes = 0;
    }
    struct waiting waiting[TRAINING_WAITING_MAX];
    size_t count = t->waiting_count;
    memcpy(waiting, t->waiting, count * sizeof *waiting);
    t->waiting_count = 0;
    bool fruitless = !t->survey && !published;
    t->fruitless = fruitless ? t->fruitless + 1 : 0;
    uint32_t doublings =
        t->fruitless < REST_DOUBLINGS ? t->fruitless : REST_DOUBLINGS;
    trainer_round_drop(node, t);
    t->next_check_ns = node->now_ns + (CHECK_NS << doublings);
    for (size_t i = 0; i < count; i++)
        answer_one(node, ks, t, &waiting[i], status, published, text);
}

static bool only_shows(const struct training *t)
{
    for (size_t i = 0; i < t->waiting_count; i++)
        if (!t->waiting[i].shows)
            return false;
    return true;
}

void trainer_surveyed(struct node *node, struct training *t, uint64_t keys,
                      const struct fit_error *error)
{
    struct keyspace *ks = keyspaces_find(node, t->keyspace);
    t->seen_keys = keys;
    t->surveyed = true;
    t->surveyed_changes = changed_since(ks, t, t->seen_keys);
    t->seen = *error;
    enum drift_reason reason = check(node, ks, t, t->previous != NULL);
    bool forced = t->forced || !only_shows(t);
    if (!forced) {
        trainer_round_over(node, t, DLHT_OK, false, NULL);
    } else {
        trainer_round_drop(node, t);
        t->drift.fired[DRIFT_FORCE]++;
        reason = DRIFT_FORCE;
    }
    if (reason != DRIFT_NONE && t->phase == TRAINING_IDLE)
        trainer_round_begin(node, t, false, reason);
}

/* It asked before, and asks again since the link broke. */
static bool is_waiting(const struct training *t, const struct origin *origin)
{
    for (size_t i = 0; i < t->waiting_count; i++) {
        const struct origin *o = &t->waiting[i].origin;
        if (o->kind == origin->kind && o->ticket == origin->ticket &&
            o->stream == origin->stream && id_equal(&o->peer, &origin->peer))
            return true;
    }
    return false;
}

/* The keyspace's training, with one more that waits; NULL: answered. */
static struct training *join_in(struct node *node, struct keyspace *ks,
                                bool shows, const struct origin *origin)
{
    struct training *t = training_of(node, ks);
    if (t && is_waiting(t, origin))
        return t;
    if (!t || t->waiting_count == TRAINING_WAITING_MAX) {
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return NULL;
    }
    t->waiting[t->waiting_count++] = (struct waiting){ *origin, shows };
    return t;
}

void trainer_show(struct node *node, struct keyspace *ks,
                  const struct origin *origin)
{
    struct training *t = training_of(node, ks);
    if (t && t->phase != TRAINING_IDLE && !t->survey) {
        struct waiting now = { *origin, true };
        answer_one(node, ks, t, &now, DLHT_OK, false, NULL);
        return;
    }
    t = join_in(node, ks, true, origin);
    if (t && t->phase == TRAINING_IDLE)
        trainer_round_begin(node, t, true, DRIFT_NONE);
}

void trainer_force(struct node *node, struct keyspace *ks, bool wait,
                   const struct origin *origin)
{
    struct training *t = training_of(node, ks);
    if (t && !wait) {
        struct buf doc = { 0 };
        mp_write_map(&doc, 2);
        mp_write_cstr(&doc, "epoch");
        mp_write_uint(&doc, ks->held ? ks->held->info.epoch : 0);
        mp_write_cstr(&doc, "started");
        mp_write_bool(&doc, true);
        struct response response = { .status =
                                         doc.failed ? DLHT_EBUSY : DLHT_OK,
                                     .value = buf_span(&doc) };
        node_answer(node, origin, &response);
        buf_deinit(&doc);
    } else {
        t = join_in(node, ks, false, origin);
    }
    if (!t)
        return;
    if (t->phase == TRAINING_IDLE) {
        t->drift.fired[DRIFT_FORCE]++;
        trainer_round_begin(node, t, false, DRIFT_FORCE);
    } else if (t->survey) {
        t->forced = true;
    }
}

void trainer_import(struct node *node, struct keyspace *ks, struct span bytes,
                    const struct origin *origin)
{
    struct model *model;
    int rc = model_unpack(bytes, &model);
    if (rc != DLHT_OK) {
        node_answer_status(node, origin, rc == DLHT_ENOMEM ? DLHT_EBUSY : rc,
                           "this is not a model that `model export` wrote");
        return;
    }
    struct training *t = ks->training;
    if (t && t->phase != TRAINING_IDLE && !is_waiting(t, origin))
        trainer_round_over(node, t, DLHT_EBUSY, false,
                           "an imported model took its place");
    t = join_in(node, ks, false, origin);
    if (!t || t->phase != TRAINING_IDLE) {
        model_free(model);
        return;
    }
    t->imports = true;
    t->survey = false;
    t->reason = DRIFT_FORCE;
    t->began_ns = node->now_ns;
    t->previous = models_hold(ks->held);
    trainer_job_begin(node, t, TRAINER_IMPORT, model);
}
