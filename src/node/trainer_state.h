/* SPDX-License-Identifier: Apache-2.0 */

/* node/trainer_state.h - the inside of a training.
 *
 *   trainer.c         when, and what is told of it
 *   trainer_round.c   a round: its phases, its deadline, its publication
 *   trainer_walk.c    the questions to all arcs, in both passes
 *   trainer_counts.c  what other replicas count
 *   trainer_job.c     slow work on what was heard
 *
 * The keyspace is cut into stretches at the bounds of arcs that the map knows.
 * A question is about a stretch, never more: whoever answers cannot speak for
 * its neighbours. Some stretches are asked at a time; what is heard is kept as
 * it came, and put together in key order when all is there, by a job. So the
 * order of answers says nothing. */

#ifndef NODE_TRAINER_STATE_H
#define NODE_TRAINER_STATE_H

#include "node/models.h"
#include "node/pending.h"
#include "node/trainer.h"
#include "training/drift.h"
#include "training/round.h"

enum {
    TRAINING_WAITING_MAX = 64,
    TRAINING_WINDOW = 24 /* questions out at a time */
};

/* Of answers, which are kept until a pass is over; honest ones are some bytes
 * a leaf. */
#define TRAINING_BYTES_MAX ((size_t)128 << 20)

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

/* An interval of keys; lo and hi are in bytes. */
struct interval {
    struct buf bytes; /* owned */
    size_t lo_len;
    bool has_hi;
};

/* What one arc, or a part of one, said. */
struct portion {
    struct interval keys;
    struct portion *next; /* of its stretch */
    bool missing;         /* it said nothing that fits in pass 1, */
    bool silent;          /* or in pass 2 */
    bool witnessed;       /* another replica counted it */
    bool whole;           /* an arc, as its owner says */
    arc_id arc;
    uint64_t generation, applied, key_count; /* as it says */
    struct buf report;                       /* pass 1, as it came */
    struct buf sums;                         /* pass 2: struct sums_head, and
                                              * what it speaks of, packed */
    uint32_t sums_end;                       /* leaf after those in sums */
    struct buf cursor;                       /* where pass 2 goes on, */
    bool has_cursor;                         /* if it has begun */
    uint8_t tries;
    uint16_t parts; /* of its sums */
};

struct sums_head {
    uint32_t first, count; /* leaves of the skeleton */
    size_t len;
};

struct stretch {
    struct interval keys;
    bool known; /* an arc of the map */
    uint8_t tries;
    size_t portion_count;
    struct portion *first, *last;
};

/* A count by another replica. */
struct heard {
    size_t portion;
    struct id from;
    uint64_t keys;
};

/* Arcs by id. */
struct claim {
    arc_id arc;
    size_t portion;
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

    uint64_t keys; /* of the keyspace, and its arcs, as leaders reported */
    size_t arcs;
    struct stretch *stretches; /* REPORTS */
    size_t stretch_count;
    struct portion **portions; /* in key order; from COUNTS on */
    size_t portion_count;
    size_t at;      /* the next stretch or portion to be asked */
    size_t open;    /* that are being asked */
    size_t bytes;   /* of answers kept */
    size_t missing; /* portions that said nothing */

    struct claim *claims; /* of whole arcs, ascending */
    size_t claim_count;
    struct heard *heard;
    size_t heard_count, heard_cap;
    struct id *asked; /* who was; zero: has answered */
    bool late;        /* a replica was behind the report it counted for */
    bool asked_twice;
    uint64_t again_ns; /* when replicas are asked again; 0: not waiting */
    size_t asked_peers, heard_peers;

    uint64_t job; /* under way; it has the round and what was heard; 0: none */
    struct waiting waiting[TRAINING_WAITING_MAX];
    size_t waiting_count;
};

/* A question or a job under way; its round may be over when it ends. */
struct question {
    keyspace_id keyspace;
    uint64_t number;
    size_t index; /* of a stretch or a portion */
};

/* NULL: its round is over, or in another phase. */
struct training *trainer_of(struct node *node, const struct question *question,
                            enum training_phase phase);

/* trainer_round.c. Begins a round, or if survey is set only its reports; the
 * phase must be idle. */
void trainer_round_begin(struct node *node, struct training *training,
                         bool survey, enum drift_reason reason);
/* Deadlines. */
void trainer_round_tick(struct node *node, struct training *training);
/* Stops it; nobody is answered. */
void trainer_round_drop(struct node *node, struct training *training);
/* It is over, because of text. */
void trainer_round_fail(struct node *node, struct training *training,
                        int status, const char *text);
/* Writes a model into the system arc, as the epoch after what is there. */
void trainer_round_publish(struct node *node, struct training *training,
                           const struct model *model,
                           const struct model_info *info);
/* All arcs have reported; all have summed. */
void trainer_reported(struct node *node, struct training *training);
void trainer_summed(struct node *node, struct training *training);

/* trainer_walk.c. Asks all arcs for reports, then trainer_reported; for sums,
 * then trainer_summed. */
void trainer_walk_reports(struct node *node, struct training *training);
void trainer_walk_sums(struct node *node, struct training *training);
void trainer_walk_free(struct training *training);
void trainer_portion_free(struct portion *portion); /* NULL is allowed */
struct span trainer_lo(const struct interval *keys);
struct span trainer_hi(const struct interval *keys);

/* trainer_counts.c. Asks other replicas, then trainer_counted. */
void trainer_counts_begin(struct node *node, struct training *training);
void trainer_counts_tick(struct node *node, struct training *training);
void trainer_counts_free(struct training *training);
void trainer_counted(struct node *node, struct training *training);

/* trainer_job.c. Each takes the round and what was heard along and gives them
 * back; then it goes on by trainer_surveyed, trainer_skeleton or
 * trainer_fitted. Import takes over the model. */
enum trainer_work {
    TRAINER_SURVEY,   /* puts the reports together, measures by them */
    TRAINER_SKELETON, /* puts them together, fits the skeleton */
    TRAINER_FINISH,   /* puts the sums together, fits the model */
    TRAINER_IMPORT    /* sees how far a model is from that in use */
};
void trainer_job_begin(struct node *node, struct training *training,
                       enum trainer_work work, struct model *import);
void trainer_skeleton(struct node *node, struct training *training);
void trainer_fitted(struct node *node, struct training *training,
                    const struct model *model, const struct model_info *info);

/* trainer.c. The reports are all in: that is how many keys they have, and how
 * far the model is from them. */
void trainer_surveyed(struct node *node, struct training *training,
                      uint64_t keys, const struct fit_error *error);
/* The round is over. text says why nothing was published, or NULL. */
void trainer_round_over(struct node *node, struct training *training,
                        int status, bool published, const char *text);

/* Why an epoch was made. */
const char *trainer_reason_name(const struct model_info *info);

/* Milliseconds of the system arc: the only clock that outlives a node. */
uint64_t trainer_time_ms(const struct node *node);

#endif
