/* SPDX-License-Identifier: Apache-2.0 */

/* Reading on while nothing can be written. */

#include "node/disk_full.h"

#include "dlht/err.h"
#include "node/replica.h"

#define PROBE_NS NS_PER_S
/* A hand-over to a member that has no room either costs its arc an election
 * timeout without writes, so it is not tried often. */
#define HAND_OVER_NS (30 * NS_PER_S)
#define HAND_OVER_TAKES_NS (2 * NS_PER_S)

void disk_full_synced(struct node *node, int status)
{
    bool full = status == DLHT_EFULL;
    if (full)
        node->probe_ns = node->now_ns + PROBE_NS;
    if (full == node->disk_full)
        return;
    node->disk_full = full;
    node->disk_full_since_ns = node->hand_over_ns = node->now_ns;
    if (full)
        node_log(node, LOG_ERROR,
                 "disk full: the data directory has no room; this node serves "
                 "reads, and writes again once there is room");
    else
        node_log(node, LOG_INFO, "the disk has room again");
    node_wake_at(node, node->now_ns);
}

/* A voter that leads instead, if it has room; 0: none. */
static replica_id successor(const struct node *node, const struct replica *r)
{
    const struct raft_members *members = raft_members(r->raft);
    for (size_t i = 0; i < members->count; i++) {
        struct raft_progress p;
        if (members->list[i].voter && members->list[i].id != r->self &&
            raft_progress_of(r->raft, node->now_ns, members->list[i].id, &p) &&
            p.active && p.caught_up)
            return members->list[i].id;
    }
    return 0;
}

static void hand_over(struct node *node)
{
    node->hand_over_ns = node->now_ns + HAND_OVER_NS;
    for (size_t i = 0; i < node->replica_count; i++) {
        struct replica *r = node->replicas[i];
        if (r->empty || !replica_leads(r))
            continue;
        replica_id to = successor(node, r);
        if (to && raft_transfer(r->raft, node->now_ns, to) == DLHT_OK)
            replica_touch(node, r);
    }
}

void disk_full_tick(struct node *node)
{
    if (!node->disk_full)
        return;
    if (node->now_ns >= node->hand_over_ns)
        hand_over(node);
    if (node->now_ns >= node->probe_ns) {
        node->probe_ns = UINT64_MAX; /* until the answer */
        node->unsynced = true;
        node_sync(node);
    }
    if (node->probe_ns != UINT64_MAX)
        node_wake_at(node, node->probe_ns);
}

int disk_full_refusal(const struct node *node, const struct replica *r)
{
    if (!node->disk_full)
        return DLHT_OK;
    bool may_move =
        node->now_ns - node->disk_full_since_ns < HAND_OVER_TAKES_NS &&
        successor(node, r);
    return may_move ? DLHT_EBUSY : DLHT_EFULL;
}

bool disk_full_drops(const struct node *node, const struct raft_message *m)
{
    if (!node->disk_full)
        return false;
    switch (m->type) {
    case RAFT_APPEND:
        return m->entry_count > 0;
    case RAFT_PREVOTE_REQUEST:
    case RAFT_VOTE_REQUEST:
    case RAFT_TIMEOUT_NOW:
        return true;
    default:
        return false;
    }
}
