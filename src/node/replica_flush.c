/* SPDX-License-Identifier: Apache-2.0 */

/* The end of a turn of one arc: what its group has decided goes to disk, to the
 * other members, into its records, and to those who wait for it. */

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/journal_types.h"
#include "node/op.h"
#include "node/replica.h"
#include "node/transfer.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum {
    LOG_BYTES_KEPT = 8 << 20, /* of a raft log in memory, for slow members */
    LOG_ENTRIES_KEPT = 20000,
    LOG_ENTRIES_FREE = 256 /* kept, too, though all members have them */
};

/* Short, so that what is written next is still in the processor's cache. */
void replica_compact(struct replica *r)
{
    uint64_t first = raft_first_index(r->raft);
    if (r->applied <= first)
        return;
    if (r->applied - first > 2 * LOG_ENTRIES_FREE) {
        uint64_t all = raft_all_have(r->raft);
        uint64_t needless = all < r->applied ? all : r->applied;
        if (needless > first + 2 * LOG_ENTRIES_FREE)
            raft_compact(r->raft, needless - LOG_ENTRIES_FREE);
        first = raft_first_index(r->raft);
    }
    if (raft_log_bytes(r->raft) > LOG_BYTES_KEPT ||
        r->applied - first > LOG_ENTRIES_KEPT)
        raft_compact(r->raft, first + (r->applied - first) / 2);
}

static void journal_entry(struct node *node, struct replica *r,
                          const struct raft_entry *entry)
{
    struct buf *b = &node->scratch;
    buf_reset(b);
    mp_write_uint(b, entry->type);
    if (entry->type == RAFT_ENTRY_MEMBERS)
        codec_pack_members(b, entry->members);
    mp_write_bin(b, entry->data);
    node_journal_buf(node, JOURNAL_ENTRY, r->id, entry->term, entry->index, b);
}

static void persist(struct node *node, struct replica *r,
                    const struct raft_output *out)
{
    if (out->number == 0)
        return;
    if (out->vote_changed) {
        struct buf *b = &node->scratch;
        buf_reset(b);
        mp_write_uint(b, r->self);
        mp_write_uint(b, out->term);
        mp_write_uint(b, out->vote);
        node_journal_buf(node, JOURNAL_VOTE, r->id, out->term, 0, b);
        r->vote_term = out->term;
        r->vote = out->vote;
    }
    for (size_t i = 0; i < out->entry_count; i++)
        journal_entry(node, r, &out->entries[i]);
    if (node->persist_count == node->persist_cap) {
        size_t cap = node->persist_cap ? node->persist_cap * 2 : 64;
        struct persist_wait *grown = mem_array(cap, sizeof *grown);
        if (!grown) {
            node->failed = true; /* cannot promise what was just written */
            return;
        }
        for (size_t i = 0; i < node->persist_count; i++)
            grown[i] =
                node->persists[(node->persist_head + i) % node->persist_cap];
        free(node->persists);
        node->persists = grown;
        node->persist_cap = cap;
        node->persist_head = 0;
    }
    size_t at =
        (node->persist_head + node->persist_count++) % node->persist_cap;
    node->persists[at] = (struct persist_wait){
        .sync_number = node->sync_number + 1,
        .arc = r->id,
        .replica = r->self,
        .raft_number = out->number,
    };
}

/* To whom a right child is asked for its vote that may not have come to the
 * split, and need not have heard of it otherwise: see meet_unborn. */
static void tell_child(struct node *node, struct replica *r,
                       const struct id *peer, const struct raft_message *m)
{
    if (m->type != RAFT_PREVOTE_REQUEST || m->index != 1 || r->empty ||
        r->arc->generation < 2)
        return;
    if (r->child_told_ns != node->now_ns &&
        node->now_ns - r->child_told_ns < node->config.heartbeat_ns)
        return;
    r->child_told_ns = node->now_ns;
    struct message news = { .type = MESSAGE_GOSSIP };
    news.u.gossip.arcs = node_keep_arc(node, r->arc);
    news.u.gossip.arc_count = 1;
    if (news.u.gossip.arcs)
        node_send(node, peer, &news);
}

static void send_messages(struct node *node, struct replica *r,
                          const struct raft_output *out)
{
    struct raft_envelope *list = NULL;
    for (size_t i = 0; i < out->message_count; i++) {
        struct id peer;
        const struct raft_message *m = &out->messages[i];
        if (!replica_peer_of(r, m->to, &peer))
            continue;
        tell_child(node, r, &peer, m);
        list = effects_room(node->fx, sizeof *list);
        if (!list)
            return;
        list->arc = r->id;
        list->message = *m;
        struct message message = { .type = MESSAGE_RAFT };
        message.u.raft.list = list;
        message.u.raft.count = 1;
        node_send(node, &peer, &message);
    }
}

static void confirm_reads(struct node *node, struct replica *r,
                          const struct raft_output *out)
{
    for (size_t i = 0; i < out->read_count; i++) {
        for (size_t k = 0; k < r->read_count; k++) {
            struct waiting_read *w = &r->reads[k];
            if (w->ticket != out->reads[i].ticket)
                continue;
            w->ticket = 0;
            if (!out->reads[i].lost)
                break;
            node_answer_status(node, &w->origin, DLHT_EUNAVAILABLE, NULL);
            free(w->bytes);
            *w = r->reads[--r->read_count];
            break;
        }
    }
}

/* Answers confirmed reads whose index is applied. */
static void serve_reads(struct node *node, struct replica *r)
{
    size_t kept = 0;
    for (size_t k = 0; k < r->read_count; k++) {
        struct waiting_read w = r->reads[k];
        if (w.ticket == 0 && w.index <= r->applied) {
            op_read(node, r, &w.request, &w.origin);
            free(w.bytes);
        } else {
            r->reads[kept++] = w;
        }
    }
    r->read_count = kept;
}

/* REQUEST_ALL: answers what every live member has. */
static void serve_held(struct node *node, struct replica *r)
{
    if (r->held_count == 0)
        return;
    uint64_t have = UINT64_MAX;
    const struct raft_members *members = raft_members(r->raft);
    for (size_t i = 0; i < members->count; i++) {
        struct raft_progress p;
        if (raft_progress_of(r->raft, node->now_ns, members->list[i].id, &p) &&
            p.active && p.match < have)
            have = p.match;
    }
    size_t kept = 0;
    for (size_t i = 0; i < r->held_count; i++) {
        if (r->held[i].index <= have)
            op_answer_result(node, r, &r->held[i].origin, &r->held[i].result);
        else
            r->held[kept++] = r->held[i];
    }
    r->held_count = kept;
}

void replica_flush(struct node *node, struct replica *r)
{
    r->dirty = false;
    replica_compact(r);
    struct raft_output out;
    raft_take(r->raft, node->now_ns, &out);
    persist(node, r, &out);
    send_messages(node, r, &out);
    replica_follow_role(node, r);
    confirm_reads(node, r, &out);
    bool more_reads = out.read_count == RAFT_OUTPUT_READS_MAX;
    transfer_begin_all(node, r, &out);
    arc_id id = r->id;
    replica_apply(node, r);
    r = node_replica(node, id);
    if (!r)
        return; /* it applied its own removal */
    replica_notice(node, r);
    serve_reads(node, r);
    serve_held(node, r);
    if (more_reads)
        replica_touch(node, r);
    /* On a grid, so that the timers of many arcs share a wake-up. */
    uint64_t due = raft_timeout_ns(r->raft);
    if (due < UINT64_MAX - NODE_TICK_NS)
        node_wake_at(node, (due / NODE_TICK_NS + 1) * NODE_TICK_NS);
}
