/* SPDX-License-Identifier: Apache-2.0 */

/* node/op_merge.h - one arc becomes a part of the one before it.
 *
 *     left L = [a, b)   right R = [b, c)      ->      L = [a, c)
 *
 * The two groups need not have the same members. R's records travel through
 * L's log, and L's log alone says whether they have arrived:
 *
 *     in L   STAGE    records of R, beyond L's end and so invisible
 *     in R   FREEZE   from here on R serves nothing
 *     in L   SUBSUME  the last of them; L ends where R ended
 *     in R   CLOSE    R is no more
 *     in L   FORGET   nobody will ask any more what became of R
 *
 * and if anything fails before SUBSUME: in L ABANDON, then in R THAW. Whoever
 * leads a frozen R and does not know what came of it sends ABANDON, and L's log
 * answers "absorbed" or "abandoned", once and for all: ABANDON raises L's
 * generation, and nothing of an older generation counts in L. R never thaws by
 * time.
 *
 * R's leader drives all of it (op_merge_run.c) by requests OP_MERGE to L's
 * owner (op_merge.c), one at a time, numbered; op_merge_apply.c is what entries
 * do. A run lives in memory only: one that is lost ends by ABANDON, of R's next
 * leader or of L's after some seconds. While something is staged L takes no
 * snapshot or checkpoint, so neither ever holds a staging: it is always made
 * again from the log. */

#ifndef NODE_OP_MERGE_H
#define NODE_OP_MERGE_H

#include "node/node_state.h"

enum {
    MERGE_ABSORBED_MAX = 8,        /* arcs that L remembers; then no more */
    MERGE_BATCH_BYTES = 256 << 10, /* of one STAGE */
    MERGE_TOUCHED_MAX = 4 << 20,   /* bytes of keys written during the copy:
                                    * more, and the arc is not cold */
};

enum merge_kind {
    MERGE_STAGE = 1,
    MERGE_SUBSUME,
    MERGE_ABANDON,
    MERGE_FORGET,
    MERGE_FREEZE,
    MERGE_THAW,
    MERGE_CLOSE
};

/* response.count of what L answers. */
enum merge_verdict {
    MERGE_DONE = 1, /* now or before */
    MERGE_VOID,     /* it does not fit what is; decides nothing */
    MERGE_ABSORBED,
    MERGE_ABANDONED
};

/* What stands in requests and in logs. Spans are borrowed. */
struct merge_note {
    uint8_t kind;
    arc_id from;         /* R */
    arc_id into;         /* L */
    uint64_t generation; /* of L, when it began: it is used once */
    uint64_t run;        /* random: tells runs of that generation apart */
    uint64_t sequence;   /* STAGE, SUBSUME: from 0 */
    struct span lo;      /* R's first key */
    bool has_hi;
    struct span hi;
    struct span into_lo;      /* L's first key, where it is found */
    uint64_t from_generation; /* FREEZE, SUBSUME */
    uint64_t keys, bytes;     /* SUBSUME: that R holds */
    uint64_t counter;
    uint64_t time_ms;
    struct arc_member members[ARC_MEMBERS_MAX]; /* SUBSUME: R's */
    size_t member_count;
    struct span items; /* STAGE, SUBSUME: see op_merge_apply.c; CLOSE: the
                        * descriptor of who has the keys now, or nothing */
};

void op_merge_pack(struct buf *out, const struct merge_note *note);
/* Bytes of a stranger. Spans point into them.
 *   DLHT_EPROTO */
MUST_USE int op_merge_unpack(struct span bytes, struct merge_note *out);

/* Items. */
void op_merge_add_record(struct buf *items, const struct record *record);
void op_merge_add_removal(struct buf *items, struct span key);
/* A part of a record too long for one batch: its value's bytes from offset. */
void op_merge_add_part(struct buf *items, const struct record *record,
                       size_t offset, size_t len);
void op_merge_add_sessions(struct buf *items, struct span packed);

/* OP_MERGE. */
void op_merge_serve(struct node *node, const struct request *request,
                    const struct origin *origin);

/* STEP_MERGE: begins a run here. Codes as of replica_change, and
 *   DLHT_EINVAL  it makes no sense */
MUST_USE int op_merge_begin(struct node *node, struct replica *r,
                            const struct step *step);

/* A COMMAND_MERGE is applied. DLHT_ENOMEM: to be applied again. */
MUST_USE int op_merge_apply(struct node *node, struct replica *r,
                            struct span note, struct session_result *result);

/* Runs, and what leaders of L and R owe each other. May remove r. */
void op_merge_tick(struct node *node, struct replica *r);

/* Key was written or removed. */
void op_merge_touched(struct replica *r, struct span key);

/* Frozen or closed: no reads, no writes. */
bool op_merge_refuses(const struct replica *r);
bool op_merge_is_closed(const struct replica *r);
/* Tells a refused request what to do: ask again, or whom to ask. */
void op_merge_refuse(struct node *node, const struct replica *r,
                     const struct origin *origin);

/* No change of bounds or members may begin. */
bool op_merge_forbids_change(const struct replica *r);
/* A merge is under way, or something is left to do of one. */
bool op_merge_is_busy(const struct replica *r);

/* A peer that is up is yet to say that its copy of an absorbed arc is gone. */
bool op_merge_awaits(const struct node *node, const struct replica *r);

/* Drops what is staged: its generation has passed.
 *   DLHT_ENOMEM  as before */
MUST_USE int op_merge_unstage(struct node *node, struct replica *r);

/* How far the run of this leader is, 0: there is none; grows as it goes on. */
int op_merge_phase(const struct replica *r);

/* The run, if there is one, is not this leader's any more. */
void op_merge_drop_run(struct replica *r);

/* The known arc that has the place of r by now; NULL: none is known. */
const struct arc *op_merge_heir(const struct node *node,
                                const struct replica *r);

/* A copy of an absorbed arc is gone, or is asked after. True: that was all. */
bool op_merge_receive_gone(struct node *node, const struct id *from, arc_id arc,
                           replica_id replica);

/* What is in headers of snapshots and checkpoints. */
void op_merge_pack_state(const struct merge_state *state, struct buf *out);
/*   DLHT_ECORRUPT, DLHT_ENOMEM: out is empty */
MUST_USE int op_merge_unpack_state(struct mp_reader *r,
                                   struct merge_state *out);
void op_merge_deinit_state(struct merge_state *state);
uint64_t op_merge_hash(const struct replica *r);
void op_merge_check(const struct replica *r);

/* Frees all that r has of merges. */
void op_merge_deinit(struct replica *r);

/* Inside op_merge*.c. */
struct staging {
    arc_id from;
    uint64_t generation; /* this arc's, as long as it lasts */
    uint64_t run;
    uint64_t next; /* sequence number */
    bool has_hi;
    struct buf hi;            /* where R ends */
    struct buf part;          /* of a long record: its value so far */
    struct sessions sessions; /* in R's time */
    uint64_t session_bytes;   /* of those that came, packed */
    bool broken;              /* something made no sense */
};

struct frozen {
    arc_id into;
    uint64_t generation;
    uint64_t run;
    bool closed;
    struct buf lo; /* of into */
};

struct absorbed {
    arc_id from;
    uint64_t generation;
    struct arc_member members[ARC_MEMBERS_MAX];
    size_t member_count;
    uint16_t gone; /* bits: heard of to be gone; not replicated */
    uint8_t asked; /* how often for those, by this leader */
};

/* Whether it is, or was, this very merge that froze r. */
bool op_merge_is_of(const struct frozen *frozen, const struct merge_note *note);

#endif
