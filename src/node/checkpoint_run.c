/* SPDX-License-Identifier: Apache-2.0 */

/* Checkpoints: one arc at a time, a block a turn and not more than one a
 * millisecond, so that nobody waits long for them. The arc that pins the oldest segment of the journal goes
 * first, and before it a split child that exists in its parent's log only. */

#include <stdlib.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/replica.h"
#include "node/transfer.h"

enum {
    BLOCK_BYTES = 128 << 10
};

struct checkpoint_run {
    arc_id arc; /* 0: none is under way */
    uint64_t number;
    uint64_t index;
    struct records_snapshot *view; /* NULL: all was read */
    bool ended;                    /* END is under way */
    uint64_t next_ns;              /* when the next block is due */
    struct buf block;
};

int checkpoint_run_new(struct node *node)
{
    node->checkpoint = mem_zero(1, sizeof *node->checkpoint);
    return node->checkpoint ? DLHT_OK : DLHT_ENOMEM;
}

static struct effect *add(struct node *node, enum effect_kind kind)
{
    struct effect *e = effects_add(node->fx, kind);
    if (e) {
        e->u.checkpoint.arc = node->checkpoint->arc;
        e->u.checkpoint.number = node->checkpoint->number;
    }
    return e;
}

/* The same with what is in the block. False: no memory, nothing was added. */
static bool add_block(struct node *node, enum effect_kind kind)
{
    const struct buf *block = &node->checkpoint->block;
    struct span bytes = effects_copy(node->fx, buf_span(block));
    bool whole = !block->failed && bytes.len == block->len;
    struct effect *e = whole ? add(node, kind) : NULL;
    if (e)
        e->u.checkpoint.bytes = bytes;
    return e != NULL;
}

/* A checkpoint that lacks a part must not be committed: the journal would be
 * shortened on its account. */
static void give_up(struct node *node)
{
    struct checkpoint_run *run = node->checkpoint;
    if (!add(node, EFFECT_CHECKPOINT_ABORT))
        node->failed = true; /* the disk would wait for more of it for ever */
    records_snapshot_free(run->view);
    run->view = NULL;
    run->arc = 0;
}

static void release(struct node *node, arc_id arc, uint64_t index)
{
    struct effect *e = effects_add(node->fx, EFFECT_RELEASE);
    if (e) {
        e->u.release.arc = arc;
        e->u.release.index = index;
    }
    if (node->pinning_arc == arc)
        node->pinning_arc = 0; /* until the next sync says better */
}

/* A child that lives in the log of arc only must be written first. */
static struct replica *unbased_child(struct node *node, arc_id arc)
{
    for (size_t i = 0; i < node->replica_count; i++)
        if (node->replicas[i]->unbased_parent == arc)
            return node->replicas[i];
    return NULL;
}

static void begin(struct node *node, struct replica *r)
{
    struct checkpoint_run *run = node->checkpoint;
    run->view = r->half_applied ? NULL : records_snapshot_new(r->records);
    if (!run->view)
        return;
    run->arc = r->id;
    run->number = ++r->checkpoint_number;
    run->index = r->applied;
    run->ended = false;
    buf_reset(&run->block);
    arc_state_pack(r, &run->block);
    if (DLHT_MUTANT == 25)
        release(node, r->id, r->applied);
    if (add_block(node, EFFECT_CHECKPOINT_BEGIN))
        return;
    records_snapshot_free(run->view);
    run->view = NULL;
    run->arc = 0;
}

/* Who is to be removed, or to take a snapshot, waits for its children. */
static bool base_waited_for(struct node *node)
{
    for (size_t i = 0; i < node->replica_count; i++) {
        if (!node->replicas[i]->doomed && !node->replicas[i]->children_first)
            continue;
        struct replica *r = node->replicas[i];
        for (struct replica *child;
             (child = unbased_child(node, r->id)) != NULL;)
            r = child;
        if (r == node->replicas[i] || r->empty || r->incoming || r->staging)
            continue;
        begin(node, r);
        return true;
    }
    return false;
}

static void choose(struct node *node)
{
    if (base_waited_for(node))
        return;
    arc_id pinning = node->pinning_arc;
    if (pinning == 0 || node->journal_bytes < node->config.checkpoint_bytes)
        return;
    struct replica *r = node_replica(node, pinning);
    if (!r) {
        release(node, pinning, UINT64_MAX - 1);
        return;
    }
    for (struct replica *child; (child = unbased_child(node, r->id)) != NULL;)
        r = child;
    if (r->empty || r->incoming || r->staging)
        return;
    if (r->applied == r->checkpoint_index)
        release(node, r->id, r->checkpoint_index);
    else
        begin(node, r);
}

static void add_next(struct node *node)
{
    struct checkpoint_run *run = node->checkpoint;
    run->next_ns = node->now_ns + NS_PER_MS;
    buf_reset(&run->block);
    bool more = arc_block_pack(run->view, BLOCK_BYTES, &run->block);
    if (run->block.failed ||
        (more && !add_block(node, EFFECT_CHECKPOINT_ADD))) {
        give_up(node);
    } else if (!more) {
        records_snapshot_free(run->view);
        run->view = NULL;
    }
}

void checkpoint_run_tick(struct node *node)
{
    if (!node->config.durable)
        return;
    struct checkpoint_run *run = node->checkpoint;
    if (run->arc == 0 && !node->disk_full)
        choose(node);
    if (run->arc && run->view && node->now_ns >= run->next_ns)
        add_next(node);
    if (run->arc && !run->view && !run->ended)
        run->ended = add(node, EFFECT_CHECKPOINT_END) != NULL;
    if (run->arc && !run->ended)
        node_wake_at(node, node->now_ns + NS_PER_MS);
}

void checkpoint_run_done(struct node *node, arc_id arc, uint64_t number,
                         int status)
{
    struct checkpoint_run *run = node->checkpoint;
    struct replica *r = node_replica(node, arc);
    if (run->arc != arc || run->number != number)
        return;
    run->arc = 0;
    if (!r || status != DLHT_OK) {
        node->pinning_arc = 0; /* not again before the next sync */
        node_log(node, LOG_ERROR, "arc %016llx: checkpoint failed: %s",
                 (unsigned long long)arc, dlht_strerror(status));
        return;
    }
    r->checkpoint_index_before = r->checkpoint_index;
    r->checkpoint_index = run->index;
    r->unbased_parent = 0;
    /* The older generation must stay usable, so its log stays too. */
    if (r->checkpoint_index_before)
        release(node, arc, r->checkpoint_index_before);
}

void checkpoint_run_forget(struct node *node, struct replica *r)
{
    struct checkpoint_run *run = node->checkpoint;
    if (!run || run->arc != r->id)
        return;
    if (!run->ended && node->fx)
        give_up(node);
    records_snapshot_free(run->view);
    run->view = NULL;
    run->arc = 0;
}

void checkpoint_run_free(struct node *node)
{
    if (!node->checkpoint)
        return;
    records_snapshot_free(node->checkpoint->view);
    buf_deinit(&node->checkpoint->block);
    free(node->checkpoint);
    node->checkpoint = NULL;
}
