/* SPDX-License-Identifier: Apache-2.0 */

/* node/models.h - the models this peer knows, one of each keyspace, and how
 * they spread.
 *
 * The newest epoch of a keyspace is a record of the system arc under
 * "model/ID", changed by cas; whoever has it tells some others its number. They
 * ask the owner of the system arc whether it is the newest and which hash its
 * bytes have, then whoever told them for the bytes, check them and adopt. So
 * nobody else can make an epoch up. A peer may miss any number of epochs. A model only advises: nothing moves, and no answer changes, because
 * one was adopted. */

#ifndef NODE_MODELS_H
#define NODE_MODELS_H

#include "node/command.h"
#include "node/node_state.h"
#include "rmi/model.h"

enum {
    MODEL_HISTORY_MAX = 32
};

/* What is known of an epoch beside its model. */
struct model_info {
    uint64_t epoch; /* from 1 */
    uint64_t keys;
    uint32_t leaves;
    uint8_t root, leaf; /* enum model_kind */
    uint8_t reason;     /* enum drift_reason */
    bool imported;
    double distance;              /* from the epoch before */
    double mean_error, max_error; /* over the quantiles it was made from */
    uint64_t bytes;
    uint64_t took_ms;
    uint64_t at_ms; /* the system arc's time */
    uint64_t lies;
    uint64_t missing; /* arcs that the epoch before spoke for */
    struct id trained_by;
};

/* Counted, so that a job may go on with one that was replaced. Node thread
 * only. */
struct held_model {
    struct model *model;
    struct model_info info;
    struct buf packed; /* info and model, as they travel */
    uint64_t digest;   /* hash64 of packed */
    size_t users;
};

struct held_model *models_hold(struct held_model *held); /* NULL is allowed */
void models_release(struct held_model *held);            /* likewise */

/* Appends info and model: what a peer that asks is sent. DLHT_ENOMEM */
MUST_USE int models_pack(const struct model_info *info,
                         const struct model *model, struct buf *out);

/* Where a key stands on the ring, and how far off that may be at most, as a
 * share of the ring. Without a model a key's first 8 bytes are its position. */
uint64_t models_position(const struct keyspace *ks, struct span key,
                         double *error);

/* Appends a key at that position, or just before. DLHT_ENOMEM */
MUST_USE int models_key_at(const struct keyspace *ks, uint64_t position,
                           struct buf *out);

/* Where in the map the arc of key should be, if arcs hold about as much each:
 * the guess that a search begins with. SIZE_MAX: there is no model, or the map
 * is so small that looking is as quick. */
size_t models_guess(const struct keyspace *ks, struct span key);

/* The same, of any map: the arc that the model alone would name. NULL: it
 * names none. */
const struct arc *models_predict(const struct keyspace *ks, struct span key);

/* What the system arc keeps: the packed model, then the epochs before. */
struct model_record {
    struct span packed;
    struct model_info history[MODEL_HISTORY_MAX]; /* newest first */
    size_t history_count;
};
MUST_USE int models_record_pack(const struct model_record *record,
                                struct buf *out);
/* Spans point into bytes. DLHT_ECORRUPT */
MUST_USE int models_record_unpack(struct span bytes, struct model_record *out);

/* "model/ID" in the step's arena. */
struct span models_key(struct node *node, keyspace_id keyspace);

/* The record in this node's replica of the system arc, and its version, 0: it
 * has none. */
bool models_record(struct node *node, keyspace_id keyspace,
                   struct model_record *out, uint64_t *version);

/* A command was applied to the system arc; its replica was read anew. */
void models_applied(struct node *node, const struct command *command,
                    const struct session_result *result);
void models_scan(struct node *node);

void models_tick(struct node *node);
void models_receive(struct node *node, const struct id *from,
                    const struct model_message *message);
/* The keyspace was dropped: where the system arc is led, its record goes. */
void models_drop_record(struct node *node, keyspace_id keyspace);
/* The keyspace goes: releases what it holds. */
void models_forget(struct keyspace *ks);

/* models_news.c. OP_MODEL of action epoch, at the owner of the system arc:
 * the newest epoch and the hash of its bytes. */
void models_epoch(struct node *node, struct keyspace *ks,
                  const struct origin *origin);

/* A peer tells of an epoch beyond ours: is it the one that the system arc
 * knows? False: that is not known yet; the system arc is asked, and
 * models_fetch is called if it is. */
bool models_is_known(struct node *node, struct keyspace *ks,
                     const struct id *from, uint64_t epoch);
/* Bytes that came as that epoch are those that the system arc has. */
bool models_is_genuine(const struct keyspace *ks, uint64_t epoch,
                       struct span packed);
void models_news_tick(struct node *node, struct keyspace *ks);
void models_news_forget(struct keyspace *ks);

/* models.c. Asks a peer for the bytes of an epoch that the system arc knows. */
void models_fetch(struct node *node, struct keyspace *ks, const struct id *from,
                  uint64_t epoch);

#endif
