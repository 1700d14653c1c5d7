/* SPDX-License-Identifier: Apache-2.0 */

/* tests/durable/story.h - what a client asks of one node, drawn by chance, and
 * the list of what was acknowledged: puts, removals, compare-and-swaps and
 * batches in three keyspaces, two of which are dropped and made again; splits
 * and merges of arcs; restarts. What a node holds can be judged against it at
 * any time, in the midst of a call of the disk too. */

#ifndef TESTS_DURABLE_STORY_H
#define TESTS_DURABLE_STORY_H

#include "base/rng.h"
#include "durable/rig.h"

enum {
    STORY_SPACES = 3, /* the first is `default` */
    STORY_KEYS = 40,
    STORY_WINDOW = 4, /* requests under way at once */
    STORY_OP_KEYS = 6
};

/* What one key holds: a value that its number stands for, 0: none. */
struct story_cell {
    uint64_t value;
    uint64_t version; /* 0: not known */
};

enum story_space_state {
    STORY_ABSENT,
    STORY_COMING,
    STORY_PRESENT,
    STORY_GOING
};

struct story_op {
    uint8_t op;
    bool open;
    int status;
    size_t space;
    size_t count;
    size_t keys[STORY_OP_KEYS];
    uint64_t values[STORY_OP_KEYS]; /* 0: removal */
};

struct story {
    struct rng rng;
    struct rig *rig;
    enum story_space_state states[STORY_SPACES];
    struct story_cell cells[STORY_SPACES][STORY_KEYS];
    struct story_op ops[STORY_WINDOW];
    size_t op_count;
    uint64_t last_value;
    bool keep_doubt; /* an answer that is no success may yet take effect */
    /* Writes of which it is not known whether they took effect. */
    struct story_op *doubts;
    size_t doubt_count;
    uint64_t acknowledged; /* requests */
};

void story_init(struct story *s, uint64_t seed);
void story_deinit(struct story *s);

/* The rig that the story goes on with. */
void story_use(struct story *s, struct rig *rig);

/* One more thing happens. False: the rig has failed, or did not answer. */
bool story_step(struct story *s);

/* One thing of a kind. */
enum story_kind {
    STORY_PUT,
    STORY_DEL,
    STORY_CAS,
    STORY_BATCH,
    STORY_CREATE, /* a keyspace, or if both are there: */
    STORY_DROP,   /* one goes, or if none is there comes */
    STORY_SPLIT,
    STORY_MERGE,
    STORY_WAIT, /* time passes: checkpoints, upkeep */
    STORY_KINDS
};
bool story_do(struct story *s, enum story_kind kind);

/* What the rig's node holds. */
struct story_content {
    bool there[STORY_SPACES];
    struct story_cell cells[STORY_SPACES][STORY_KEYS];
};

/* Reads all; false: the node did not answer, said why. */
bool story_read(struct rig *rig, struct story_content *out);

/* Whether that is what had to be, by what was acknowledged so far; else the
 * program ends with a word about the difference. */
void story_judge(const struct story *s, const struct story_content *content,
                 const char *when);

/* All that is read is what is from now on. */
void story_adopt(struct story *s, const struct story_content *content);

#endif
