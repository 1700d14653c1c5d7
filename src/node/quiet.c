/* SPDX-License-Identifier: Apache-2.0 */

/* When groups sleep, and what wakes them. */

#include "node/quiet.h"

#include "node/pending.h"
#include "node/replica.h"

/* A look is a wake-up and going back to sleep: about eight small messages. */
#define LOOK_NS (60 * NS_PER_S)
#define UNSEEN_NS (3 * LOOK_NS)

/* Changes with every entry and office; reads are noted as they come. */
static uint64_t mark_of(const struct replica *r)
{
    return raft_last_index(r->raft) + raft_term(r->raft);
}

static bool sends_snapshots(const struct replica *r)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (r->outgoing[i])
            return true;
    return false;
}

static bool has_work(const struct replica *r)
{
    return r->splitting || r->doomed || r->cuts.len > 0 ||
           r->waiter_count > 0 || r->read_count > 0 || r->held_count > 0 ||
           r->incoming || r->applied != raft_last_index(r->raft) ||
           raft_is_changing(r->raft) || sends_snapshots(r);
}

void quiet_wake(struct node *node, struct replica *r)
{
    if (!raft_is_quiet(r->raft))
        return;
    raft_wake(r->raft, node->now_ns);
    replica_touch(node, r);
}

void quiet_note_work(struct node *node, struct replica *r)
{
    r->busy_ns = node->now_ns;
}

/* Asleep. */
static void look_around(struct node *node, struct replica *r)
{
    if (replica_leads(r) ? node->now_ns >= r->look_ns
                         : node->now_ns - r->heard_ns >= UNSEEN_NS)
        quiet_wake(node, r);
}

void quiet_tick(struct node *node, struct replica *r)
{
    if (raft_is_quiet(r->raft)) {
        look_around(node, r);
        return;
    }
    if (r->empty || !replica_leads(r))
        return;
    uint64_t mark = mark_of(r);
    if (mark != r->busy_mark || has_work(r)) {
        r->busy_mark = mark;
        r->busy_ns = node->now_ns;
    }
    if (node->now_ns - r->busy_ns < node->config.quiet_ns ||
        !raft_sleep(r->raft, node->now_ns))
        return;
    /* Not all at the same time. */
    r->look_ns = node->now_ns + LOOK_NS / 2 + rng_below(&node->rng, LOOK_NS);
    replica_touch(node, r);
}

bool quiet_rests(const struct node *node)
{
    for (size_t i = 0; i < node->replica_count; i++)
        if (!raft_is_quiet(node->replicas[i]->raft))
            return false;
    return node->phase == PHASE_SERVING && node->replica_count > 0 &&
           pending_count(node) == 0;
}

void quiet_doubt(struct node *node, const struct id *peer)
{
    for (size_t i = 0; i < node->replica_count; i++) {
        struct replica *r = node->replicas[i];
        if (!r->empty && arc_member_of(r->arc, peer))
            quiet_wake(node, r);
    }
}
