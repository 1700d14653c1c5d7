/* SPDX-License-Identifier: Apache-2.0 */

/* Reports, and the taking of steps. */

#include "node/keeper.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/gossip.h"
#include "node/handover.h"
#include "node/keeper_state.h"
#include "node/keyspaces.h"
#include "node/latency.h"
#include "node/op_merge.h"
#include "node/quiet.h"
#include "node/replica.h"
#include "node/reports.h"
#include "node/volatile.h"
#include "placement/planner.h"
#include "store/records.h"
#include "wire/mp.h"

enum {
    REPORTS_MAX = 256,    /* in one message */
    CHANGES_MAX = 1 << 24 /* keys, believed of one report */
};
/* Requests are averaged over about a minute; before a quarter of that is known
 * the average is taken for less than it is. */
#define RATE_NS ((double)NS_PER_S * 60)
#define RATE_WEIGHT_LEAST 0.15
#define INHERIT_NS (UINT64_C(10000) * NS_PER_MS)
#define STEP_DONE_NS (UINT64_C(2000) * NS_PER_MS)
#define STILL_NS (UINT64_C(10000) * NS_PER_MS) /* so many bytes are usual */
#define PARTING_NS (UINT64_C(1000) * NS_PER_MS)

int keeper_new(struct keeper **out)
{
    *out = mem_zero(1, sizeof **out);
    return *out ? DLHT_OK : DLHT_ENOMEM;
}

void keeper_free(struct keeper *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->count; i++)
        arc_free(k->list[i].arc);
    free(k->list);
    free(k->peers);
    free(k);
}

/* A member's peer was started anew, or was missed, and nothing that was sent
 * since was answered: what it had before it may have lost. */
static bool is_unheard(const struct node *node, const struct arc_member *m,
                       const struct raft_progress *p)
{
    const struct peer *peer = swim_find(node->swim, &m->peer);
    return peer && p->stamp < peer->since_ns;
}

struct arc_report keeper_report_of(struct node *node, struct replica *r)
{
    struct arc_report report = { .arc = *r->arc,
                                 .keys = replica_key_count(r),
                                 .bytes = replica_data_bytes(r),
                                 .requests = r->requests,
                                 .changes = r->changes,
                                 .lost = r->lost_mask,
                                 .awaits = op_merge_awaits(node, r),
                                 .stops = node->phase == PHASE_STOPPING };
    report.busy = r->splitting || raft_is_changing(r->raft) ||
                  r->applied_term != raft_term(r->raft) ||
                  op_merge_is_busy(r) || r->handover;
    for (size_t i = 0; i < r->arc->member_count; i++) {
        struct raft_progress p;
        replica_id id = r->arc->members[i].replica;
        if (r->lost_mask >> i & 1)
            continue; /* it had all a moment ago, and says that it is gone */
        if (id == r->self ||
            (raft_progress_of(r->raft, node->now_ns, id, &p) && p.active &&
             p.caught_up && !is_unheard(node, &r->arc->members[i], &p)))
            report.caught_up |= (uint16_t)(1u << i);
    }
    return report;
}

struct heard *keeper_find_heard(struct keeper *k, arc_id id, size_t *at)
{
    size_t lo = 0, hi = k->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (k->list[mid].arc->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    *at = lo;
    return lo < k->count && k->list[lo].arc->id == id ? &k->list[lo] : NULL;
}

bool keeper_is_fresh(const struct node *node, const struct heard *h)
{
    uint64_t age_ns = node->now_ns - h->at_ns;
    if (age_ns <= KEEPER_SETTLE_NS)
        return true;
    if (age_ns > REPORTS_OLD_NS || (!node_is_self(node, &h->arc->owner) &&
                                    !node_peer_is_up(node, &h->arc->owner)))
        return false;
    /* One that is no longer in a whole map became part of another. */
    const struct keyspace *ks = keyspaces_find(node, h->arc->keyspace);
    return node->config.map_fingers || (ks && map_by_id(ks->map, h->arc->id));
}

double keeper_rate_of(const struct heard *h)
{
    return h->rate_sum / (h->rate_weight > RATE_WEIGHT_LEAST
                              ? h->rate_weight
                              : RATE_WEIGHT_LEAST);
}

/* Requests since the report before, as a rate into the average; and bytes: in a
 * ring of next to nothing each put changes who is the fullest. */
static void average(struct heard *h, uint64_t requests, uint64_t bytes,
                    uint64_t passed_ns)
{
    if (passed_ns == 0)
        return;
    double share = (double)passed_ns / ((double)passed_ns + RATE_NS);
    double rate = (double)requests * (double)NS_PER_S / (double)passed_ns;
    h->bytes_usual += share * ((double)bytes - h->bytes_usual);
    h->still_ns = bytes == h->report.bytes ? h->still_ns + passed_ns : 0;
    if (h->still_ns >= STILL_NS)
        h->bytes_usual = (double)bytes;
    h->rate_sum += share * (rate - h->rate_sum);
    h->rate_weight += share * (1 - h->rate_weight);
}

/* A part of an arc that was cut begins with its share of the requests, or it
 * would pass for a cold one for a minute. Which part gets them is not known:
 * shares go by keys. */
static void inherit(struct node *node, struct heard *part)
{
    struct keeper *k = node->keeper;
    const struct heard *parent = NULL;
    for (size_t i = 0; i < k->count; i++) {
        const struct heard *h = &k->list[i];
        bool holds = arc_has(h->arc, part->arc->lo);
        if (h == part || h->arc->keyspace != part->arc->keyspace ||
            span_compare(h->arc->lo, part->arc->lo) > 0 ||
            !(holds || (h->cut_keys && node->now_ns - h->cut_ns < INHERIT_NS)))
            continue;
        if (!parent || span_compare(parent->arc->lo, h->arc->lo) < 0)
            parent = h;
    }
    if (!parent)
        return;
    bool was_cut = !arc_has(parent->arc, part->arc->lo);
    uint64_t keys = was_cut ? parent->cut_keys : parent->report.keys;
    double rate = was_cut ? parent->cut_rate : keeper_rate_of(parent);
    if (keys == 0)
        return;
    double share = (double)part->report.keys / (double)keys;
    part->rate_weight = 1;
    part->rate_sum = rate * (share < 1 ? share : 1);
}

static bool has_bounds_of(const struct arc *a, const struct arc *b)
{
    return span_equal(a->lo, b->lo) && a->has_hi == b->has_hi &&
           (!a->has_hi || span_equal(a->hi, b->hi));
}

/* The arc's end came nearer: it was cut; or went away: it swallowed the next
 * one. */
static void follow_bounds(struct node *node, struct heard *h,
                          const struct arc_report *now)
{
    struct keeper *k = node->keeper;
    const struct arc *old = h->arc, *new = &now->arc;
    if (has_bounds_of(old, new))
        return;
    if (new->has_hi && arc_has(old, new->hi)) {
        h->cut_ns = node->now_ns;
        h->cut_rate = keeper_rate_of(h);
        h->cut_keys = h->report.keys;
        if (h->report.keys && now->keys < h->report.keys)
            h->rate_sum *= (double)now->keys / (double)h->report.keys;
        return;
    }
    for (size_t i = 0; i < k->count; i++) {
        const struct heard *next = &k->list[i];
        if (next->arc->keyspace != old->keyspace ||
            !span_equal(next->arc->lo, old->hi) || next == h)
            continue;
        h->rate_sum += keeper_rate_of(next) * h->rate_weight;
        keeper_note_moved(node, next->report.bytes * new->member_count);
    }
}

/* New copies have to be sent. */
static void follow_members(struct node *node, const struct arc *old,
                           const struct arc_report *now)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < now->arc.member_count; i++)
        if (!arc_member_of(old, &now->arc.members[i].peer))
            bytes += now->bytes;
    if (bytes)
        keeper_note_moved(node, bytes);
}

/* An arc not heard of before. NULL: no memory. */
static struct heard *add_heard(struct keeper *k, const struct arc *arc,
                               size_t at)
{
    if (k->count == k->cap) {
        size_t cap = k->cap ? k->cap * 2 : 64;
        struct heard *grown = mem_resize(k->list, cap, sizeof *grown);
        if (!grown)
            return NULL;
        k->list = grown;
        k->cap = cap;
    }
    struct arc *copy = arc_copy(arc);
    if (!copy)
        return NULL;
    memmove(k->list + at + 1, k->list + at, (k->count - at) * sizeof *k->list);
    k->count++;
    memset(&k->list[at], 0, sizeof *k->list);
    k->list[at].arc = copy;
    return &k->list[at];
}

/* The step last sent shows in the report, and none belongs behind it. */
static bool is_done(const struct heard *h)
{
    switch (h->step_kind) {
    case PLAN_TRANSFER:
        return id_equal(&h->arc->owner, &h->step_peer);
    case PLAN_REMOVE:
        return !arc_member_of(h->arc, &h->step_peer);
    case PLAN_SPLIT:
        return h->arc->generation > h->cut_generation;
    case PLAN_ADD:
    case PLAN_PROMOTE:
    case PLAN_DEMOTE:
    case PLAN_MERGE:
    default:
        return false;
    }
}

/* A voter of a volatile arc that another has meanwhile. It has nobody else to
 * hear that from where maps are not whole. */
static void tell_succeeded(struct node *node, const struct id *from,
                           const struct arc_report *report,
                           const struct arc *newer)
{
    struct message m = { .type = MESSAGE_GONE };
    if (!volatile_is(node, report->arc.keyspace) ||
        report->arc.member_count == 0)
        return;
    m.u.gone.arc = report->arc.id;
    m.u.gone.replica = report->arc.members[0].replica;
    m.u.gone.generation = newer->generation;
    if (node_is_self(node, from))
        keeper_receive_gone(node, from, &m);
    else
        node_send(node, from, &m);
}

static void hear(struct node *node, const struct id *from,
                 const struct arc_report *report)
{
    struct keeper *k = node->keeper;
    size_t at;
    struct heard *h = keeper_find_heard(k, report->arc.id, &at);
    bool is_new = h == NULL, same = false;
    if (is_new) {
        h = add_heard(k, &report->arc, at);
        if (!h)
            return;
    } else {
        if (report->arc.generation < h->arc->generation)
            tell_succeeded(node, from, report, h->arc);
        bool is_volatile = volatile_is(node, report->arc.keyspace);
        if (report->arc.generation < h->arc->generation ||
            (report->arc.term < h->arc->term && !is_volatile))
            return;
        if (k->plan_since_ns) {
            follow_bounds(node, h, report);
            follow_members(node, h->arc, report);
        }
        average(h, report->requests, report->bytes, node->now_ns - h->at_ns);
        same = has_bounds_of(h->arc, &report->arc);
        if (arc_assign(&h->arc, &report->arc) != DLHT_OK)
            return;
    }
    h->report = *report;
    if (!same) {
        h->bytes_usual = (double)report->bytes;
        h->still_ns = 0;
    }
    h->at_ns = node->now_ns;
    if (!report->busy &&
        (is_done(h) || node->now_ns - h->step_ns > STEP_DONE_NS))
        h->begun_ns = 0;
    if (is_new && k->plan_since_ns &&
        node->now_ns - k->plan_since_ns > KEEPER_SETTLE_NS)
        inherit(node, h);
    struct keyspace *ks = keyspaces_find(node, report->arc.keyspace);
    if (ks)
        ks->changes +=
            report->changes < CHANGES_MAX ? report->changes : CHANGES_MAX;
}

void keeper_receive_report(struct node *node, const struct id *from,
                           const struct message *m)
{
    for (size_t i = 0; i < m->u.report.count; i++)
        hear(node, from, &m->u.report.list[i]);
}

static const struct arc *system_arc(const struct node *node)
{
    struct keyspace *ks = keyspaces_find(node, SYSTEM_KEYSPACE);
    return map_by_id(ks->map, SYSTEM_ARC);
}

static void report_to(struct node *node, const struct id *owner)
{
    struct arc_report *list =
        effects_room(node->fx, REPORTS_MAX * sizeof *list);
    size_t count = 0;
    for (size_t i = 0; list && i < node->replica_count; i++) {
        struct replica *r = node->replicas[i];
        if (!r->empty && replica_leads(r)) {
            list[count] = keeper_report_of(node, r);
            if (reports_is_due(node, r, &list[count], owner)) {
                count++;
                r->changes = r->requests = 0;
            }
        }
        bool last = i + 1 == node->replica_count;
        if (count && (count == REPORTS_MAX || last)) {
            struct message m = { .type = MESSAGE_REPORT };
            m.u.report.list = list;
            m.u.report.count = count;
            if (node_is_self(node, owner))
                keeper_receive_report(node, owner, &m);
            else
                node_send(node, owner, &m);
            count = 0;
            if (!last)
                list = effects_room(node->fx, REPORTS_MAX * sizeof *list);
        }
    }
}

void keeper_receive_pace(struct node *node, const struct id *from,
                         const struct message *m)
{
    struct keeper *k = node->keeper;
    if (m->u.pace.rate) {
        node->pace_rate = m->u.pace.rate;
        node->pace_until_ns = node->now_ns + KEEPER_PACE_NS;
    }
    struct keeper_peer *p = keeper_find_peer(k, from);
    if (m->u.pace.samples == 0 || !p)
        return;
    p->p99_ns = m->u.pace.p99_us * UINT64_C(1000);
    p->samples = m->u.pace.samples;
    p->p99_at_ns = node->now_ns;
}

/* How long clients waited here lately, if any did. */
static void tell_latency(struct node *node, const struct id *owner)
{
    struct message m = { .type = MESSAGE_PACE };
    uint64_t p99_ns =
        latency_p99(&node->latency, node->now_ns, &m.u.pace.samples);
    m.u.pace.p99_us = p99_ns / 1000;
    if (m.u.pace.samples == 0)
        return;
    if (node_is_self(node, owner))
        keeper_receive_pace(node, owner, &m);
    else
        node_send(node, owner, &m);
}

void keeper_tick(struct node *node)
{
    struct keeper *k = node->keeper;
    struct replica *system = node_replica(node, SYSTEM_ARC);
    bool leads = system && !system->empty && replica_leads(system) &&
                 system->applied_term == raft_term(system->raft);
    if (node->now_ns >= k->next_report_ns) {
        k->next_report_ns = node->now_ns + KEEPER_REPORT_NS;
        const struct arc *arc = system_arc(node);
        const struct id *owner = leads ? &node->self
                                 : arc && !id_is_zero(&arc->owner) &&
                                         !node_is_self(node, &arc->owner)
                                     ? &arc->owner
                                     : NULL;
        if (owner) {
            report_to(node, owner);
            tell_latency(node, owner);
        }
    }
    if (leads)
        keeper_plan_tick(node);
    else
        k->plan_since_ns = 0;
    if (node->replica_count)
        node_wake_at(node, k->next_report_ns);
}

void keeper_report_soon(struct node *node)
{
    node->keeper->next_report_ns = node->now_ns;
    node_wake_at(node, node->now_ns);
}

/* Membership after one step; false: it makes no sense now. */
static bool next_members(struct node *node, const struct replica *r,
                         const struct step *step,
                         struct arc_member out[ARC_MEMBERS_MAX], size_t *count)
{
    *count = r->arc->member_count;
    memcpy(out, r->arc->members, *count * sizeof *out);
    size_t at = 0;
    while (at < *count && !id_equal(&out[at].peer, &step->peer))
        at++;
    bool there = at < *count;
    switch (step->kind) {
    case STEP_ADD:
        if (there || *count >= ARC_MEMBERS_MAX)
            return false;
        out[*count].replica = rng_next(&node->rng) | 1;
        out[*count].peer = step->peer;
        out[*count].voter = false;
        ++*count;
        return true;
    case STEP_PROMOTE:
    case STEP_DEMOTE:
        if (!there)
            return false;
        out[at].voter = step->kind == STEP_PROMOTE;
        return true;
    case STEP_REMOVE:
        if (!there || out[at].replica == r->self)
            return false;
        memmove(out + at, out + at + 1, (*count - at - 1) * sizeof *out);
        --*count;
        return true;
    default:
        return false;
    }
}

/* Of the voters that there would be, so many have everything, and answered what
 * was sent since then, that the group could go on at once. A plan may be of a
 * time before one of them lost its disk: the next one will know. */
static bool would_agree(const struct node *node, const struct replica *r,
                        const struct arc_member *members, size_t count,
                        uint64_t since_ns)
{
    size_t voters = 0, sound = 0;
    for (size_t i = 0; i < count; i++) {
        struct raft_progress p;
        if (!members[i].voter)
            continue;
        voters++;
        if (members[i].replica == r->self) {
            sound++;
            continue;
        }
        bool lost = false;
        for (size_t k = 0; k < r->arc->member_count; k++)
            if (r->arc->members[k].replica == members[i].replica)
                lost = (r->lost_mask >> k & 1) != 0;
        sound +=
            !lost &&
            raft_progress_of(r->raft, node->now_ns, members[i].replica, &p) &&
            p.active && p.caught_up && p.stamp >= since_ns;
    }
    return sound > voters / 2;
}

/* The shortest key that sorts after before and not after at. */
static struct span separator(struct span before, struct span at)
{
    size_t same = 0;
    while (same < before.len && same < at.len &&
           before.data[same] == at.data[same])
        same++;
    return span_of(at.data, same + 1 < at.len ? same + 1 : at.len);
}

/* Cuts into parts of as many keys each. */
static int split_evenly(struct node *node, struct replica *r, uint64_t ways)
{
    uint64_t keys = replica_key_count(r);
    if (ways < 2)
        ways = 2;
    if (keys < ways)
        ways = keys;
    struct buf cuts = { 0 };
    for (uint64_t i = 1; i < ways; i++) {
        struct record before, at;
        uint64_t n = keys * i / ways;
        if (records_nth(r->records, n - 1, &before) &&
            records_nth(r->records, n, &at))
            mp_write_bin(&cuts, separator(before.key, at.key));
    }
    int rc = DLHT_EINVAL;
    if (cuts.failed)
        rc = DLHT_ENOMEM;
    else if (cuts.len)
        rc = replica_cut(node, r, buf_span(&cuts));
    buf_deinit(&cuts);
    return rc;
}

/* To one that lags, its disk perhaps full, leadership would not pass, and the
 * arc would stand still for an election timeout. */
static int hand_to(struct node *node, struct replica *r, replica_id to)
{
    struct raft_progress p;
    if (!raft_progress_of(r->raft, node->now_ns, to, &p) || !p.caught_up)
        return DLHT_EBUSY;
    replica_touch(node, r);
    return raft_transfer(r->raft, node->now_ns, to);
}

/* What it asks for is in the log at once, and for good: the others are to be
 * enough to agree on it now, and not only when they last spoke. Between two and
 * three voters one that just lost its disk would leave no majority. */
static int begin_parting(struct node *node, struct replica *r,
                         const struct step *step)
{
    struct arc_member members[ARC_MEMBERS_MAX];
    size_t count;
    if (!next_members(node, r, step, members, &count))
        return DLHT_EINVAL;
    int rc = replica_may_change(node, r);
    if (rc != DLHT_OK || r->parting_ns)
        return rc != DLHT_OK ? rc : (int)DLHT_EBUSY;
    r->parting_ns = node->now_ns;
    r->parting_generation = r->arc->generation;
    r->parting_kind = (uint8_t)step->kind;
    r->parting_peer = step->peer;
    quiet_wake(node, r);
    raft_announce(r->raft);
    replica_touch(node, r);
    keeper_go_on(node, r);
    return DLHT_OK;
}

static int part(struct node *node, struct replica *r)
{
    struct step step = { .kind = r->parting_kind, .peer = r->parting_peer };
    struct arc_member members[ARC_MEMBERS_MAX];
    size_t count;
    if (r->arc->generation != r->parting_generation ||
        !next_members(node, r, &step, members, &count))
        return DLHT_EINVAL;
    if (!would_agree(node, r, members, count, r->parting_ns))
        return DLHT_EBUSY;
    return replica_change(node, r, members, count);
}

void keeper_go_on(struct node *node, struct replica *r)
{
    if (r->parting_ns == 0)
        return;
    bool late = node->now_ns - r->parting_ns > PARTING_NS;
    int rc = replica_leads(r) ? part(node, r) : (int)DLHT_ENOTOWNER;
    if (rc == DLHT_EBUSY && !late) {
        node_wake_at(node, node->now_ns + NODE_TICK_NS);
        return;
    }
    node_log(node, LOG_DEBUG, "arc %016llx: step %d after asking: %s",
             (unsigned long long)r->id, r->parting_kind, dlht_strerror(rc));
    r->parting_ns = 0;
}

void keeper_receive_step(struct node *node, const struct step *step)
{
    struct replica *r = node_replica(node, step->arc);
    if (!r || r->empty || !replica_leads(r) ||
        r->arc->generation != step->generation)
        return;
    if (r->cache) {
        if (step->kind == STEP_TRANSFER)
            handover_begin(node, r, step);
        return;
    }
    int rc;
    if (step->kind == STEP_SPLIT) {
        rc = step->keys.len ? replica_cut(node, r, step->keys)
                            : split_evenly(node, r, step->ways);
    } else if (step->kind == STEP_MERGE) {
        rc = op_merge_begin(node, r, step);
    } else if (step->kind == STEP_TRANSFER) {
        const struct arc_member *to = arc_member_of(r->arc, &step->peer);
        rc = to ? hand_to(node, r, to->replica) : DLHT_EINVAL;
    } else if (step->kind == STEP_REMOVE || step->kind == STEP_DEMOTE) {
        rc = begin_parting(node, r, step);
    } else {
        struct arc_member members[ARC_MEMBERS_MAX];
        size_t count;
        if (!next_members(node, r, step, members, &count))
            rc = DLHT_EINVAL;
        else if (step->kind != STEP_ADD &&
                 !would_agree(node, r, members, count, 0))
            rc = DLHT_EBUSY;
        else
            rc = replica_change(node, r, members, count);
    }
    node_log(node, LOG_DEBUG, "arc %016llx: step %d: %s",
             (unsigned long long)r->id, step->kind, dlht_strerror(rc));
}

void keeper_receive_gone(struct node *node, const struct id *from,
                         const struct message *m)
{
    struct replica *r = node_replica(node, m->u.gone.arc);
    if (op_merge_receive_gone(node, from, m->u.gone.arc, m->u.gone.replica) ||
        !r)
        return;
    if (r->self == m->u.gone.replica) {
        if (r->empty || m->u.gone.generation > r->arc->generation)
            replica_remove(node, r);
        return;
    }
    for (size_t i = 0; !r->empty && i < r->arc->member_count; i++)
        if (r->arc->members[i].replica == m->u.gone.replica &&
            id_equal(&r->arc->members[i].peer, from))
            r->lost_mask |= (uint16_t)(1u << i);
}
