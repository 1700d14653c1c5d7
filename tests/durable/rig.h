/* SPDX-License-Identifier: Apache-2.0 */

/* tests/durable/rig.h - one production node on a disk of the test's choice,
 * driven by hand: its journal, checkpoints and restore are the production
 * ones, its time is virtual, and each effect is carried out at once and in
 * order. So a test may stand between any two calls of the disk.
 *
 * A check that fails ends the program. */

#ifndef TESTS_DURABLE_RIG_H
#define TESTS_DURABLE_RIG_H

#include <stdio.h>
#include <stdlib.h>

#include "node/node.h"
#include "store/checkpoint.h"
#include "store/graph_file.h"
#include "store/journal.h"

#define RIG_CHECK(holds, ...)                                                  \
    do {                                                                       \
        if (!(holds)) {                                                        \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #holds);        \
            fprintf(stderr, __VA_ARGS__);                                      \
            fprintf(stderr, "\n%s\n", rig_story);                              \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* What is going on, for the reader of a failure. */
extern char rig_story[512];

enum {
    RIG_TOLD = 256,
    RIG_WRITING = 64
};

struct rig_writing {
    arc_id arc;
    uint64_t number;
    struct checkpoint_writer *writer;
    int status;
};

struct rig {
    struct node *node;
    struct effects fx;
    uint64_t now_ns;
    bool has_disk;
    struct disk disk;
    struct journal *journal;
    struct journal_report report; /* of the last opening */
    uint64_t segment_bytes;
    struct rig_writing writing[RIG_WRITING];
    size_t writing_count;
    struct event told[RIG_TOLD]; /* what the node is yet to hear */
    size_t told_count;
    bool older; /* a restore met a damaged checkpoint */
    bool ready, stopped;
    int failed; /* of EFFECT_FAILED; 0: none */
    char failed_text[256];
    bool answered;
    int answers;              /* since the last question: one, or none */
    struct response response; /* of the last answer, spans into kept */
    struct buf kept;
    /* Called with each answer as it is given; NULL is allowed. */
    void (*on_reply)(void *context, uint64_t ticket, const struct response *r);
    /* And with each line of the log. */
    void (*on_log)(void *context, const char *text);
    void *context;
    void (*in_store)(bool in); /* as the journal, a checkpoint or a restore is
                                * entered and left; NULL is allowed */
};

/* Small arcs, journals and timers, so that all happens often. */
void rig_config(struct node_config *config, uint64_t seed);

/* A node that has read the disk (NULL: it has none) and was not yet booted. On
 * failure there is none. Codes of journal_open, checkpoint_list. */
int rig_open(struct rig *rig, const struct disk *disk,
             const struct node_config *config);

/* The same, with rig->in_store from the first. */
int rig_open_watched(struct rig *rig, const struct disk *disk,
                     const struct node_config *config, void (*in_store)(bool));

/* The same, restored by another's hand from another's disk. */
typedef int (*rig_restore_fn)(void *context, struct node *node, uint64_t seed,
                              struct journal **out);
int rig_open_by(struct rig *rig, const struct disk *disk,
                const struct node_config *config, rig_restore_fn fn,
                void *context);

/* Boots it and lets time pass until it serves; false: it does not. */
bool rig_boot(struct rig *rig);

/* Ends it, with a last word of the journal's to the disk if its handles are
 * still good. */
void rig_close(struct rig *rig);

void rig_step(struct rig *rig, struct event *event);
/* The step, what it brings about, and a flush. */
void rig_turn(struct rig *rig, struct event *event);
/* Until the time is over, a request was answered (if asked), or it failed. */
void rig_run(struct rig *rig, uint64_t ms, bool until_answered);

/* Asks, and waits at most that many virtual ms. False: no answer came. */
bool rig_ask(struct rig *rig, const struct request *request, uint64_t ms);

/* A message comes, as from itself. */
void rig_hear(struct rig *rig, const struct message *message);

/* Cuts the n-th arc of the keyspace there; merges it into the one before.
 * False: there is no such arc. */
bool rig_split(struct rig *rig, const char *keyspace, size_t n, struct span at);
bool rig_merge(struct rig *rig, const char *keyspace, size_t n);

/* Arcs of the keyspace that the node knows; 0: no such keyspace. */
size_t rig_arc_count(const struct rig *rig, const char *keyspace);

#endif
