/* SPDX-License-Identifier: Apache-2.0 */

/* What is asked of a replica that leads: entries, changes of its members and
 * bounds, reads. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "node/disk_full.h"
#include "node/op.h"
#include "node/op_merge.h"
#include "node/quiet.h"
#include "node/replica.h"
#include "wire/mp.h"

static int add_waiter(struct replica *r, const struct waiter *w)
{
    if (r->waiter_count == r->waiter_cap) {
        size_t cap = r->waiter_cap ? r->waiter_cap * 2 : 16;
        struct waiter *grown = mem_array(cap, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        for (size_t i = 0; i < r->waiter_count; i++)
            grown[i] = r->waiters[(r->waiter_head + i) % r->waiter_cap];
        free(r->waiters);
        r->waiters = grown;
        r->waiter_cap = cap;
        r->waiter_head = 0;
    }
    r->waiters[(r->waiter_head + r->waiter_count++) % r->waiter_cap] = *w;
    return DLHT_OK;
}

/* The arc's time by this leader: never behind what was applied. */
static uint64_t arc_time_ms(const struct node *node, const struct replica *r)
{
    uint64_t t = r->time_base_ms + (node->now_ns - r->time_base_ns) / NS_PER_MS;
    return t > r->time_ms ? t : r->time_ms;
}

int replica_propose(struct node *node, struct replica *r,
                    struct command *command, const struct waiter *waiter)
{
    if (!replica_leads(r))
        return DLHT_ENOTOWNER;
    int rc = disk_full_refusal(node, r);
    if (rc != DLHT_OK)
        return rc;
    replica_follow_role(node, r);
    command->now_ms = arc_time_ms(node, r);
    rc = add_waiter(r, waiter); /* what is proposed must be awaited */
    if (rc != DLHT_OK)
        return rc;
    size_t at = (r->waiter_head + r->waiter_count - 1) % r->waiter_cap;
    struct buf *b = &node->scratch;
    buf_reset(b);
    command_pack(command, b);
    rc = b->failed ? DLHT_ENOMEM
                   : raft_propose(r->raft, node->now_ns, buf_span(b),
                                  &r->waiters[at].index);
    if (rc != DLHT_OK)
        r->waiter_count--;
    else
        replica_touch(node, r);
    return rc;
}

int replica_may_change(const struct node *node, const struct replica *r)
{
    if (!replica_leads(r) || r->led_term != raft_term(r->raft))
        return DLHT_ENOTOWNER;
    int full = disk_full_refusal(node, r);
    if (full != DLHT_OK)
        return full;
    if (r->splitting || (raft_is_changing(r->raft) && DLHT_MUTANT != 10) ||
        r->applied_term != r->led_term || op_merge_forbids_change(r) ||
        replica_has_open_child(node, r))
        return DLHT_EBUSY;
    return DLHT_OK;
}

int replica_change(struct node *node, struct replica *r,
                   const struct arc_member *members, size_t count)
{
    int rc = replica_may_change(node, r);
    if (rc != DLHT_OK)
        return rc;
    struct raft_members next = { .count = count };
    for (size_t i = 0; i < count; i++) {
        next.list[i].id = members[i].replica;
        next.list[i].voter = members[i].voter;
    }
    struct buf *b = &node->scratch;
    buf_reset(b);
    replica_pack_members(b, members, count);
    if (b->failed)
        return DLHT_ENOMEM;
    replica_learn_members(r, buf_span(b));
    uint64_t index;
    rc = raft_change(r->raft, node->now_ns, &next, buf_span(b), &index);
    if (rc == DLHT_OK)
        replica_touch(node, r);
    return rc;
}

int replica_split(struct node *node, struct replica *r, struct span key)
{
    int rc = replica_may_change(node, r);
    if (rc != DLHT_OK)
        return rc;
    if (!arc_has(r->arc, key) || span_equal(key, r->arc->lo) ||
        r->id == SYSTEM_ARC)
        return DLHT_EINVAL;
    struct command command = { .kind = COMMAND_SPLIT, .key = key };
    command.right = rng_next(&node->rng) | 2; /* neither 0 nor 1 */
    command.right_count = r->arc->member_count;
    for (size_t i = 0; i < command.right_count; i++)
        command.right_replicas[i] = rng_next(&node->rng) | 1;
    struct waiter nobody = { .origin.kind = ORIGIN_NONE };
    rc = replica_propose(node, r, &command, &nobody);
    if (rc == DLHT_OK)
        r->splitting = true;
    return rc;
}

static bool are_cuts(struct span keys)
{
    struct mp_reader reader;
    mp_reader_init(&reader, keys);
    struct span before = span_empty();
    while (!mp_at_end(&reader)) {
        struct span key = mp_read_bytes(&reader);
        if (key.len == 0 || key.len > KEY_LEN_MAX + OP_HASH_BYTES ||
            span_compare(before, key) >= 0)
            return false;
        before = key;
    }
    return !reader.bad;
}

int replica_cut(struct node *node, struct replica *r, struct span keys)
{
    if (!are_cuts(keys))
        return DLHT_EPROTO;
    buf_reset(&r->cuts);
    buf_append_span(&r->cuts, keys);
    if (r->cuts.failed) {
        buf_reset(&r->cuts);
        return DLHT_ENOMEM;
    }
    node_wake_at(node, node->now_ns);
    return DLHT_OK;
}

void replica_cut_next(struct node *node, struct replica *r)
{
    if (!replica_leads(r)) {
        buf_deinit(&r->cuts);
        return;
    }
    struct mp_reader reader;
    mp_reader_init(&reader, buf_span(&r->cuts));
    struct span last = span_empty();
    const uint8_t *before = reader.at;
    while (!mp_at_end(&reader)) {
        before = reader.at;
        last = mp_read_bytes(&reader);
    }
    if (reader.bad) {
        buf_deinit(&r->cuts);
        return;
    }
    node_wake_at(node, node->now_ns + NS_PER_MS);
    int rc = replica_split(node, r, last);
    if (rc != DLHT_EBUSY)
        r->cuts.len = (size_t)(before - r->cuts.data);
}

static int hold_read(struct replica *r, const struct waiting_read *w)
{
    if (r->read_count == r->read_cap) {
        size_t cap = r->read_cap ? r->read_cap * 2 : 16;
        struct waiting_read *grown = mem_resize(r->reads, cap, sizeof *grown);
        if (!grown)
            return DLHT_ENOMEM;
        r->reads = grown;
        r->read_cap = cap;
    }
    r->reads[r->read_count] = *w;
    struct request *q = &r->reads[r->read_count].request;
    size_t len = q->key.len + q->end.len + q->value.len + q->avoid.len;
    uint8_t *bytes = mem_array(len ? len : 1, 1);
    if (!bytes)
        return DLHT_ENOMEM;
    uint8_t *at = bytes;
    struct span *spans[] = { &q->key, &q->end, &q->value, &q->avoid };
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        if (spans[i]->len)
            memcpy(at, spans[i]->data, spans[i]->len);
        spans[i]->data = at;
        at += spans[i]->len;
    }
    q->list = q->keyspace_name = span_empty();
    r->reads[r->read_count++].bytes = bytes;
    return DLHT_OK;
}

bool replica_reads_now(struct node *node, struct replica *r)
{
    uint64_t index, ticket;
    return raft_lease_holds(r->raft, node->now_ns) &&
           raft_read(r->raft, node->now_ns, false, &index, &ticket) ==
               DLHT_OK &&
           ticket == 0 && index <= r->applied;
}

void replica_read(struct node *node, struct replica *r,
                  const struct request *request, const struct origin *origin)
{
    struct waiting_read w = { .origin = *origin, .request = *request };
    if (request->op != OP_ARC_INFO) /* who looks at a ring leaves it asleep */
        quiet_note_work(node, r);
    int rc =
        raft_read(r->raft, node->now_ns, (request->flags & REQUEST_STRICT) != 0,
                  &w.index, &w.ticket);
    if (rc == DLHT_OK && w.ticket == 0 && w.index <= r->applied) {
        op_read(node, r, request, origin);
        return;
    }
    if (rc == DLHT_OK)
        rc = hold_read(r, &w);
    if (rc != DLHT_OK)
        node_answer_status(node, origin,
                           rc == DLHT_ENOTOWNER ? rc : DLHT_EUNAVAILABLE, NULL);
    replica_touch(node, r);
}
