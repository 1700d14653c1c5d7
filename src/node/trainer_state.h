/* SPDX-License-Identifier: Apache-2.0 */

/* node/trainer_state.h - the inside of a training, for trainer.c (when) and
 * trainer_round.c (how). */

#ifndef NODE_TRAINER_STATE_H
#define NODE_TRAINER_STATE_H

#include "node/models.h"
#include "node/trainer.h"
#include "training/drift.h"
#include "training/round.h"

enum {
    TRAINING_WAITING_MAX = 64
};

enum training_phase {
    TRAINING_IDLE,
    TRAINING_REPORTS, /* quantiles, arc by arc */
    TRAINING_COUNTS,  /* what other replicas count */
    TRAINING_SKELETON,
    TRAINING_SUMS,
    TRAINING_FINISH,
    TRAINING_PUBLISH
};

/* Whom to answer when the round has ended. */
struct waiting {
    struct origin origin;
    bool shows; /* wants the state of the model, not of the round */
};

struct training {
    keyspace_id keyspace;
    struct drift drift;
    uint64_t next_check_ns;
    uint64_t surveyed_changes; /* of the keyspace, at the last survey */
    bool surveyed;
    struct fit_error seen; /* by the last survey */
    uint64_t seen_keys;

    enum training_phase phase;
    bool survey;  /* ends after the reports */
    bool forced;  /* somebody asked for a round while a survey was under way */
    bool imports; /* what is published was made elsewhere */
    uint32_t fruitless; /* rounds in a row that published nothing */
    enum drift_reason reason;
    uint64_t number; /* of the round: answers to an older one are late */
    uint64_t began_ns, counts_ns;
    struct fit_config config; /* of the model to be */
    struct round *round;
    struct held_model *previous;
    struct model_count *arcs; /* what the round's reports claim */
    size_t arc_count, arc_cap;
    struct id *asked; /* who was; zero: has answered */
    bool *witnessed;  /* of each report: another replica counted it */
    bool late;        /* a replica was behind the report it counted for */
    bool asked_twice;
    uint64_t again_ns; /* when replicas are asked again; 0: not waiting */
    size_t asked_peers, heard_peers;
    size_t at;         /* SUMS: the report being summed */
    struct buf cursor; /* where its next part begins, if has_cursor */
    bool has_cursor;
    uint32_t first; /* leaf of the slice that was sent */
    uint64_t job;   /* under way; it has the round; 0: none */
    struct waiting waiting[TRAINING_WAITING_MAX];
    size_t waiting_count;
};

/* trainer_round.c. Begins a round, or if survey is set only its reports; the
 * phase must be idle. */
void trainer_round_begin(struct node *node, struct training *training,
                         bool survey, enum drift_reason reason);
/* Deadlines. */
void trainer_round_tick(struct node *node, struct training *training);
/* Stops it; nobody is answered. */
void trainer_round_drop(struct node *node, struct training *training);
/* Writes a model into the system arc, as the epoch after what is there. */
void trainer_round_publish(struct node *node, struct training *training,
                           const struct model *model,
                           const struct model_info *info);

/* trainer.c. The reports are all in: what they say of the model is in seen. */
void trainer_surveyed(struct node *node, struct training *training);
/* The round is over. text says why nothing was published, or NULL. */
void trainer_round_over(struct node *node, struct training *training,
                        int status, bool published, const char *text);

/* Why an epoch was made. */
const char *trainer_reason_name(const struct model_info *info);

/* Milliseconds of the system arc: the only clock that outlives a node. */
uint64_t trainer_time_ms(const struct node *node);

#endif
