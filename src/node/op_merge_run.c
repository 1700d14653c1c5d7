/* SPDX-License-Identifier: Apache-2.0 */

/* Runs: how the leader of R brings it into L, and what leaders of either owe
 * each other afterwards. One request is out at a time; answers are only noted
 * where they come, and acted upon in the next tick, since nothing may be
 * proposed in the middle of a flush.
 *
 * The copy walks the live records, batch by batch, while R goes on serving;
 * what is written meanwhile where the walk has been is noted by key. Once R is
 * frozen, those keys as they are then, and the sessions, are all that is left to
 * send. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/burials.h"
#include "node/gossip.h"
#include "node/op_merge.h"
#include "node/pending.h"
#include "node/replica.h"
#include "node/transfer.h"
#include "wire/codec.h"
#include "wire/mp.h"

#define ASK_NS (4 * NS_PER_S)         /* while R still serves */
#define FREEZE_NS (2 * NS_PER_S)      /* then it is decided, by ABANDON */
#define AGAIN_NS (NS_PER_S)           /* to propose again what got lost */
#define REST_NS (40 * NS_PER_MS)      /* before an answer is asked for again */
#define STAGED_IDLE_NS (5 * NS_PER_S) /* of a staging without progress */
#define LINGER_NS (3 * NS_PER_S)      /* of a closed leader */
#define SAY_GONE_NS (300 * NS_PER_MS)
#define ASK_GONE_NS (2 * NS_PER_S)
#define TRY_NS (5 * NS_PER_S) /* after a run that failed; then twice as long */
#define TRY_NS_MAX (600 * NS_PER_S)

enum {
    ABANDON_TRIES = 3, /* while R serves all the same */
    ASKED_MAX = 8      /* times, for copies of what is no more */
};

enum run_phase {
    RUN_COPY = 1, /* R serves */
    RUN_FREEZE,
    RUN_REST, /* R is frozen; what changed, and the sessions */
    RUN_ABANDON,
    RUN_THAW,
    RUN_CLOSE,
    RUN_FORGET,
    RUN_OVER
};

struct merge_run {
    bool orphan; /* waits for its answer only, then frees itself */
    bool asked;  /* a request is out */
    bool answered;
    int status; /* of its answer */
    uint64_t verdict;

    enum run_phase phase;
    arc_id into;
    uint64_t generation;
    uint64_t run;
    uint64_t sequence;
    struct buf into_lo;
    struct buf hi; /* R's end as the run began */
    bool has_hi;
    bool last;         /* SUBSUME is what is out */
    struct buf cursor; /* last key copied */
    bool begun;
    bool copied;        /* the walk is over */
    struct buf touched; /* keys written where it had been, in MessagePack */
    size_t touched_at;
    bool overflow;       /* more than that is kept of */
    struct buf long_key; /* a record on its way in parts; it is read anew for
                          * each, so it may change: then it is touched */
    uint64_t long_version;
    size_t long_at; /* 0: none is */
    size_t sessions_at;
    uint64_t since_ns; /* this phase, or the last proposal */
    bool proposed;
    int tries;
};

static void run_free(struct merge_run *run)
{
    if (!run)
        return;
    buf_deinit(&run->into_lo);
    buf_deinit(&run->hi);
    buf_deinit(&run->cursor);
    buf_deinit(&run->touched);
    buf_deinit(&run->long_key);
    free(run);
}

void op_merge_drop_run(struct replica *r)
{
    struct merge_run *run = r->run;
    r->run = NULL;
    if (run && run->asked)
        run->orphan = true;
    else
        run_free(run);
}

int op_merge_phase(const struct replica *r)
{
    return r->run ? (int)r->run->phase : 0;
}

static struct merge_run *run_new(struct node *node, const struct replica *r,
                                 arc_id into, uint64_t generation,
                                 struct span into_lo)
{
    struct merge_run *run = mem_zero(1, sizeof *run);
    if (!run)
        return NULL;
    run->into = into;
    run->generation = generation;
    run->since_ns = node->now_ns;
    run->has_hi = r->arc->has_hi;
    buf_append_span(&run->into_lo, into_lo);
    if (r->arc->has_hi)
        buf_append_span(&run->hi, r->arc->hi);
    if (run->into_lo.failed || run->hi.failed) {
        run_free(run);
        return NULL;
    }
    node_wake_at(node, node->now_ns);
    return run;
}

int op_merge_begin(struct node *node, struct replica *r,
                   const struct step *step)
{
    int rc = replica_may_change(node, r);
    if (rc != DLHT_OK)
        return rc;
    if (r->run || r->merge.absorbed_count || r->cuts.len ||
        node->now_ns < r->merge_again_ns)
        return DLHT_EBUSY;
    if (step->into == 0 || step->into == r->id || r->id == SYSTEM_ARC ||
        r->keyspace == SYSTEM_KEYSPACE ||
        span_compare(step->into_lo, r->arc->lo) >= 0)
        return DLHT_EINVAL;
    r->run = run_new(node, r, step->into, step->into_generation, step->into_lo);
    if (!r->run)
        return DLHT_ENOMEM;
    r->run->phase = RUN_COPY;
    r->run->run = rng_next(&node->rng);
    return DLHT_OK;
}

void op_merge_touched(struct replica *r, struct span key)
{
    struct merge_run *run = r->run;
    if (!run || run->phase > RUN_FREEZE || !run->begun)
        return;
    if (!run->copied && span_compare(key, buf_span(&run->cursor)) > 0)
        return; /* the walk comes there yet */
    if (DLHT_MUTANT == 23)
        return;
    if (run->touched.len + key.len > MERGE_TOUCHED_MAX)
        run->overflow = true;
    else
        mp_write_bin(&run->touched, key);
}

/* Requests. */

static void heard(struct node *node, void *context,
                  const struct response *response)
{
    struct merge_run *run = context;
    run->asked = false;
    if (run->orphan) {
        run_free(run);
        return;
    }
    run->answered = true;
    run->status = response->status;
    run->verdict = response->status == DLHT_OK ? response->count : 0;
    if (response->status == DLHT_OK && response->arc)
        gossip_notice_arc(node, response->arc);
    node_wake_at(node, node->now_ns);
}

static struct merge_note note_of(const struct replica *r,
                                 const struct merge_run *run,
                                 enum merge_kind kind)
{
    struct merge_note note = { .kind = (uint8_t)kind,
                               .from = r->id,
                               .into = run->into,
                               .generation = run->generation,
                               .run = run->run,
                               .sequence = run->sequence,
                               .lo = r->arc->lo,
                               .has_hi = r->arc->has_hi,
                               .into_lo = buf_span(&run->into_lo),
                               .from_generation = r->arc->generation };
    if (note.has_hi)
        note.hi = r->arc->hi;
    if (kind == MERGE_SUBSUME) {
        note.keys = replica_key_count(r);
        note.bytes = replica_data_bytes(r);
        note.counter = r->counter;
        note.time_ms = r->time_ms;
        note.member_count = r->arc->member_count;
        memcpy(note.members, r->arc->members,
               r->arc->member_count * sizeof *note.members);
    }
    return note;
}

static void ask(struct node *node, struct replica *r,
                const struct merge_note *note, uint64_t deadline_ns)
{
    struct merge_run *run = r->run;
    struct buf packed = { 0 };
    op_merge_pack(&packed, note);
    struct request q = { .op = OP_MERGE,
                         .keyspace = r->keyspace,
                         .key = buf_span(&run->into_lo),
                         .value = buf_span(&packed) };
    struct pending_target target = { .done = heard, .context = run };
    run->asked = true;
    int rc = packed.failed ? DLHT_ENOMEM
                           : pending_begin(node, &q, deadline_ns, &target);
    if (rc != DLHT_OK) {
        run->asked = false;
        run->answered = true;
        run->status = rc;
    }
    buf_deinit(&packed);
}

static void enter(struct node *node, struct merge_run *run,
                  enum run_phase phase)
{
    run->phase = phase;
    run->since_ns = node->now_ns;
    run->proposed = false;
    run->tries = 0;
    node_wake_at(node, node->now_ns);
}

static void fail(struct node *node, struct replica *r, const char *why)
{
    node_log(node, LOG_DEBUG,
             "arc %016llx: is not merged into %016llx: %s (%s)",
             (unsigned long long)r->id, (unsigned long long)r->run->into, why,
             dlht_strerror(r->run->status));
    /* What failed will fail again soon, and each time the arc stands still. */
    r->merge_rest_ns = r->merge_rest_ns ? r->merge_rest_ns * 2 : TRY_NS;
    if (r->merge_rest_ns > TRY_NS_MAX)
        r->merge_rest_ns = TRY_NS_MAX;
    r->merge_again_ns = node->now_ns + r->merge_rest_ns;
    enter(node, r->run, RUN_ABANDON);
}

/* What is sent. */

/* A part of a record too long for a batch; true: the whole of it is out. */
static bool add_long(struct merge_run *run, const struct record *record,
                     struct buf *items)
{
    if (run->long_at == 0) {
        buf_reset(&run->long_key);
        buf_append_span(&run->long_key, record->key);
        run->long_version = record->version;
    }
    size_t len = record->value.len - run->long_at;
    if (len > MERGE_BATCH_BYTES)
        len = MERGE_BATCH_BYTES;
    op_merge_add_part(items, record, run->long_at, len);
    run->long_at += len;
    if (run->long_at < record->value.len)
        return false;
    run->long_at = 0;
    return true;
}

/* A record, or as much of it as goes into a batch. False: the batch is full,
 * and the record is to be offered again. */
static bool add_record(struct merge_run *run, const struct record *record,
                       struct buf *items)
{
    size_t len = record->key.len + record->value.len;
    if (len <= MERGE_BATCH_BYTES)
        run->long_at = 0;
    if (run->long_at && (run->long_version != record->version ||
                         !span_equal(record->key, buf_span(&run->long_key))))
        run->long_at = 0; /* it changed on its way: from the start */
    if (items->len && items->len + len > MERGE_BATCH_BYTES)
        return false;
    if (len > MERGE_BATCH_BYTES)
        return add_long(run, record, items);
    op_merge_add_record(items, record);
    return true;
}

static void advance(struct merge_run *run, struct span key)
{
    buf_reset(&run->cursor);
    buf_append_span(&run->cursor, key);
    run->begun = true;
}

/* The next batch of the walk; true: it came to the end. */
static bool walk(struct replica *r, struct buf *items)
{
    struct merge_run *run = r->run;
    struct records_cursor at;
    bool there = records_seek(r->records, buf_span(&run->cursor), &at);
    if (there && run->begun &&
        span_equal(records_at(&at).key, buf_span(&run->cursor)))
        there = records_next(&at);
    struct span last = span_empty();
    bool moved = false;
    while (there) {
        struct record record = records_at(&at);
        if (!add_record(run, &record, items))
            break;
        last = record.key;
        moved = true;
        there = records_next(&at);
    }
    if (moved)
        advance(run, last);
    run->begun = true;
    return !there;
}

/* Keys that were touched, as they are now; true: that was all. */
static bool send_touched(struct replica *r, struct buf *items)
{
    struct merge_run *run = r->run;
    struct mp_reader reader;
    mp_reader_init(&reader,
                   span_tail(buf_span(&run->touched), run->touched_at));
    const uint8_t *from = reader.at;
    while (!mp_at_end(&reader)) {
        const uint8_t *before = reader.at;
        struct span key = mp_read_bytes(&reader);
        assert(!reader.bad);
        struct record record;
        bool there = records_get(r->records, key, &record);
        bool fits = there ? add_record(run, &record, items)
                          : items->len < MERGE_BATCH_BYTES;
        if (!fits) {
            run->touched_at += (size_t)(before - from);
            return false;
        }
        if (!there)
            op_merge_add_removal(items, key);
    }
    run->touched_at = run->touched.len;
    return true;
}

/* Sessions; true: that was all. */
static bool send_sessions(struct replica *r, struct buf *items)
{
    struct merge_run *run = r->run;
    if (run->sessions_at == r->sessions.count)
        return true;
    if (items->len >= MERGE_BATCH_BYTES)
        return false;
    struct buf packed = { 0 };
    run->sessions_at +=
        sessions_pack_some(&r->sessions, run->sessions_at,
                           MERGE_BATCH_BYTES - items->len, &packed);
    op_merge_add_sessions(items, buf_span(&packed));
    items->failed = items->failed || packed.failed;
    buf_deinit(&packed);
    return run->sessions_at == r->sessions.count;
}

static void send_batch(struct node *node, struct replica *r,
                       const struct buf *items, bool last, uint64_t deadline_ns)
{
    struct merge_note note =
        note_of(r, r->run, last ? MERGE_SUBSUME : MERGE_STAGE);
    note.items = buf_span(items);
    r->run->last = last;
    ask(node, r, &note, deadline_ns);
}

/* Phases. */

/* Something that the log of R is to say. */
static int propose(struct node *node, struct replica *r, enum merge_kind kind,
                   struct span items)
{
    struct merge_note note = note_of(r, r->run, kind);
    note.items = items;
    struct buf packed = { 0 };
    op_merge_pack(&packed, &note);
    struct command c = { .kind = COMMAND_MERGE, .value = buf_span(&packed) };
    struct waiter nobody = { .origin.kind = ORIGIN_NONE };
    int rc =
        packed.failed ? DLHT_ENOMEM : replica_propose(node, r, &c, &nobody);
    buf_deinit(&packed);
    r->run->proposed = rc == DLHT_OK;
    r->run->since_ns = node->now_ns;
    return rc;
}

static bool bounds_differ(const struct replica *r, const struct merge_run *run)
{
    return r->arc->has_hi != run->has_hi ||
           (run->has_hi && !span_equal(r->arc->hi, buf_span(&run->hi)));
}

static void copy(struct node *node, struct replica *r)
{
    struct merge_run *run = r->run;
    if (run->answered) {
        run->answered = false;
        if (run->status != DLHT_OK || run->verdict != MERGE_DONE) {
            fail(node, r, "the copy was refused");
            return;
        }
        run->sequence++;
    }
    if (run->overflow || run->touched.failed || bounds_differ(r, run)) {
        fail(node, r, "the arc changes too much");
        return;
    }
    if (run->copied) {
        enter(node, run, DLHT_MUTANT == 14 ? RUN_REST : RUN_FREEZE);
        return;
    }
    struct buf items = { 0 };
    run->copied = walk(r, &items);
    if (items.failed || run->cursor.failed || run->long_key.failed)
        fail(node, r, "no memory");
    else
        send_batch(node, r, &items, false, node->now_ns + ASK_NS);
    buf_deinit(&items);
}

static void freeze(struct node *node, struct replica *r)
{
    struct merge_run *run = r->run;
    const struct frozen *f = r->merge.frozen;
    if (f && f->run == run->run) {
        enter(node, run, RUN_REST);
        return;
    }
    if (node->now_ns - run->since_ns > FREEZE_NS) {
        fail(node, r, "it does not freeze");
        return;
    }
    if (run->proposed)
        return;
    uint64_t since_ns = run->since_ns;
    int rc = replica_may_change(node, r);
    if (rc == DLHT_OK)
        rc = propose(node, r, MERGE_FREEZE, span_empty());
    run->since_ns = since_ns;
    if (rc == DLHT_OK)
        r->splitting = true; /* until it is applied */
    else if (rc != DLHT_EBUSY)
        fail(node, r, "it cannot freeze");
}

static void measure_pause(struct node *node, const struct replica *r)
{
    uint64_t pause = node->now_ns - r->frozen_ns;
    if (pause > node->merges.pause_ns_max)
        node->merges.pause_ns_max = pause;
    node->merges.done++;
    node_log(node, LOG_DEBUG,
             "arc %016llx: became a part of %016llx; stood still for %.1f ms",
             (unsigned long long)r->id, (unsigned long long)r->run->into,
             (double)pause / (double)NS_PER_MS);
}

static void send_rest(struct node *node, struct replica *r)
{
    struct merge_run *run = r->run;
    if (run->answered) {
        run->answered = false;
        if (run->status != DLHT_OK || run->verdict != MERGE_DONE) {
            fail(node, r, "the rest was refused");
            return;
        }
        if (run->last) {
            measure_pause(node, r);
            enter(node, run, RUN_CLOSE);
            return;
        }
        run->sequence++;
    }
    if (run->overflow || run->touched.failed ||
        node->now_ns - r->frozen_ns > FREEZE_NS) {
        if (DLHT_MUTANT != 14) {
            fail(node, r, "it is frozen for too long");
            return;
        }
    }
    struct buf items = { 0 };
    bool last = send_touched(r, &items) && send_sessions(r, &items);
    if (items.failed || run->long_key.failed)
        fail(node, r, "no memory");
    else
        send_batch(node, r, &items, last,
                   (DLHT_MUTANT == 14 ? node->now_ns : r->frozen_ns) +
                       FREEZE_NS);
    buf_deinit(&items);
}

/* Asks L's log what came of it, until it says so. */
static void abandon(struct node *node, struct replica *r)
{
    struct merge_run *run = r->run;
    bool frozen = r->merge.frozen != NULL;
    if (run->answered) {
        run->answered = false;
        run->since_ns = node->now_ns;
        run->proposed = true; /* rests before it asks again */
        run->tries++;
        if (run->verdict == MERGE_ABSORBED) {
            enter(node, run, RUN_CLOSE);
            return;
        }
        if (run->verdict == MERGE_ABANDONED) {
            node->merges.abandoned++;
            enter(node, run, frozen ? RUN_THAW : RUN_OVER);
            return;
        }
        /* What is staged falls by itself; if it freezes yet, the next run
         * asks. */
        if (!frozen && run->tries >= ABANDON_TRIES) {
            enter(node, run, RUN_OVER);
            return;
        }
    }
    if (DLHT_MUTANT == 13 && frozen && node->now_ns - r->frozen_ns > FREEZE_NS)
        enter(node, run, RUN_THAW);
    else if (!run->proposed || node->now_ns - run->since_ns > REST_NS) {
        struct merge_note note = note_of(r, run, MERGE_ABANDON);
        ask(node, r, &note, node->now_ns + FREEZE_NS);
    }
}

static void thaw(struct node *node, struct replica *r)
{
    struct merge_run *run = r->run;
    if (!r->merge.frozen)
        enter(node, run, RUN_OVER);
    else if (!run->proposed || node->now_ns - run->since_ns > AGAIN_NS)
        (void)propose(node, r, MERGE_THAW, span_empty());
}

static void close(struct node *node, struct replica *r)
{
    struct merge_run *run = r->run;
    if (op_merge_is_closed(r)) {
        enter(node, run, RUN_FORGET);
        return;
    }
    if (run->proposed && node->now_ns - run->since_ns <= AGAIN_NS)
        return;
    if (DLHT_MUTANT == 14 && !r->merge.frozen)
        (void)propose(node, r, MERGE_FREEZE, span_empty());
    struct buf heir = { 0 };
    const struct arc *known = op_merge_heir(node, r);
    if (known)
        codec_pack_arc(&heir, known);
    (void)propose(node, r, MERGE_CLOSE, buf_span(&heir));
    buf_deinit(&heir);
}

static void forget(struct node *node, struct replica *r)
{
    struct merge_run *run = r->run;
    if (run->answered) {
        run->answered = false;
        r->merge_told = run->verdict == MERGE_DONE;
        run->proposed = true;
        run->since_ns = node->now_ns;
    }
    if (r->merge_told) {
        enter(node, run, RUN_OVER);
    } else if (!run->proposed || node->now_ns - run->since_ns > REST_NS) {
        struct merge_note note = note_of(r, run, MERGE_FORGET);
        ask(node, r, &note, node->now_ns + FREEZE_NS);
    }
}

static void go_on(struct node *node, struct replica *r)
{
    struct merge_run *run = r->run;
    const struct frozen *f = r->merge.frozen;
    if (f && (f->into != run->into || f->generation != run->generation)) {
        /* By a FREEZE of another run, that came late. This one has frozen
         * nothing; what it staged falls by itself. */
        op_merge_drop_run(r);
        return;
    }
    switch (run->phase) {
    case RUN_COPY:
        copy(node, r);
        break;
    case RUN_FREEZE:
        freeze(node, r);
        break;
    case RUN_REST:
        send_rest(node, r);
        break;
    case RUN_ABANDON:
        abandon(node, r);
        break;
    case RUN_THAW:
        thaw(node, r);
        break;
    case RUN_CLOSE:
        close(node, r);
        break;
    case RUN_FORGET:
        forget(node, r);
        break;
    case RUN_OVER:
        op_merge_drop_run(r);
        break;
    }
}

/* R froze under another leader, or was restarted: what came of it? */
static void take_up(struct node *node, struct replica *r)
{
    const struct frozen *f = r->merge.frozen;
    if (f->closed && r->merge_told)
        return;
    r->run = run_new(node, r, f->into, f->generation, buf_span(&f->lo));
    if (!r->run)
        return;
    r->run->run = f->run;
    r->run->phase = f->closed ? RUN_FORGET : RUN_ABANDON;
}

/* All other copies said that they are gone. */
static bool is_last(const struct replica *r)
{
    for (size_t i = 0; i < r->arc->member_count; i++)
        if (r->arc->members[i].replica != r->self && !(r->lost_mask >> i & 1))
            return false;
    return true;
}

/* R is no more. Its leader stays until L and the others know: those who did not
 * hear of it in its log, too, and those who never had a copy. */
static bool bury_closed(struct node *node, struct replica *r)
{
    if (!op_merge_is_closed(r))
        return false;
    bool stays = replica_leads(r) && !(r->merge_told && is_last(r)) &&
                 node->now_ns - r->frozen_ns < LINGER_NS;
    if (!stays) {
        replica_remove(node, r);
    } else if (node->now_ns - r->frozen_ns > SAY_GONE_NS &&
               node->now_ns >= r->merge_due_ns) {
        r->merge_due_ns = node->now_ns + SAY_GONE_NS;
        transfer_say_gone(node, r, NULL, 0);
    }
    return !stays;
}

/* Of L. */

static void propose_for(struct node *node, struct replica *r,
                        const struct merge_note *note)
{
    struct buf packed = { 0 };
    op_merge_pack(&packed, note);
    struct command c = { .kind = COMMAND_MERGE, .value = buf_span(&packed) };
    struct waiter nobody = { .origin.kind = ORIGIN_NONE };
    if (!packed.failed)
        (void)!replica_propose(node, r, &c, &nobody);
    buf_deinit(&packed);
}

/* Whose leader is gone, or does not come through. */
static void drop_idle_staging(struct node *node, struct replica *r)
{
    const struct staging *s = r->staging;
    if (node->now_ns - r->staged_ns < STAGED_IDLE_NS)
        return;
    struct merge_note note = { .kind = MERGE_ABANDON,
                               .from = s->from,
                               .into = r->id,
                               .generation = s->generation,
                               .lo = r->arc->hi,
                               .into_lo = r->arc->lo };
    propose_for(node, r, &note);
    r->staged_ns = node->now_ns - STAGED_IDLE_NS + AGAIN_NS;
}

/* A peer that will not come back with what it had. One that is not known may
 * only not have been heard of yet, and one that left may start again. */
static bool peer_is_gone(const struct node *node, const struct id *id)
{
    const struct peer *p = swim_find(node->swim, id);
    return p && (p->state == PEER_LEFT || p->state == PEER_DEAD) &&
           p->incarnation == INCARNATION_MEMORY;
}

/* Without a majority of its voters R decides nothing any more. */
static bool cannot_ask(const struct node *node, const struct absorbed *a)
{
    size_t voters = 0, gone = 0;
    for (size_t i = 0; i < a->member_count; i++) {
        const struct arc_member *m = &a->members[i];
        voters += m->voter;
        gone += m->voter && (a->gone >> i & 1 || peer_is_gone(node, &m->peer) ||
                             burials_has(node, a->from, m->replica));
    }
    return voters - gone <= voters / 2;
}

/* Who leaves must not go before it has said so: nobody could ask it any more,
 * and nobody would know that it will not come back with its copy. Who is up and
 * does not say so for long has nothing to say. */
bool op_merge_awaits(const struct node *node, const struct replica *r)
{
    for (size_t i = 0; i < r->merge.absorbed_count; i++) {
        const struct absorbed *a = &r->merge.absorbed[i];
        if (a->asked >= ASKED_MAX || cannot_ask(node, a))
            continue;
        for (size_t k = 0; k < a->member_count; k++)
            if (!(a->gone >> k & 1) &&
                !node_is_self(node, &a->members[k].peer) &&
                node_peer_is_up(node, &a->members[k].peer))
                return true;
    }
    return false;
}

/* The copies of an arc that is a part of this one: they are to go. */
static void send_away(struct node *node, const struct replica *r,
                      struct absorbed *a)
{
    if (a->asked < ASKED_MAX)
        a->asked++;
    for (size_t i = 0; i < a->member_count; i++) {
        const struct arc_member *m = &a->members[i];
        if (a->gone >> i & 1)
            continue;
        struct replica *here = node_replica(node, a->from);
        if (node_is_self(node, &m->peer)) {
            if (here && here->self == m->replica)
                replica_remove(node, here);
            continue;
        }
        struct message message = { .type = MESSAGE_GONE };
        message.u.gone.arc = a->from;
        message.u.gone.replica = m->replica;
        message.u.gone.generation = r->arc->generation;
        node_send(node, &m->peer, &message);
    }
}

static void tend_absorbed(struct node *node, struct replica *r)
{
    if (node->now_ns < r->merge_due_ns)
        return;
    r->merge_due_ns = node->now_ns + ASK_GONE_NS;
    for (size_t i = 0; i < r->merge.absorbed_count; i++) {
        struct absorbed *a = &r->merge.absorbed[i];
        if (!cannot_ask(node, a)) {
            send_away(node, r, a);
            continue;
        }
        struct merge_note note = { .kind = MERGE_FORGET,
                                   .from = a->from,
                                   .into = r->id,
                                   .generation = a->generation,
                                   .into_lo = r->arc->lo };
        propose_for(node, r, &note);
    }
}

void op_merge_tick(struct node *node, struct replica *r)
{
    if (r->empty || bury_closed(node, r))
        return;
    bool leads = replica_leads(r) && r->led_term == raft_term(r->raft) &&
                 r->applied_term == r->led_term;
    if (!leads)
        return;
    if (r->staging)
        drop_idle_staging(node, r);
    if (r->merge.absorbed_count)
        tend_absorbed(node, r);
    if (r->merge.frozen && !r->run)
        take_up(node, r);
    if (r->run && !r->run->asked)
        go_on(node, r);
    if (r->run || op_merge_is_busy(r) || r->merge.absorbed_count)
        node_wake_at(node, node->now_ns + NODE_TICK_NS);
}
