/* SPDX-License-Identifier: Apache-2.0 */

/* Reports, plans and steps. */

#include "node/keeper.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/gossip.h"
#include "node/keyspaces.h"
#include "node/op_merge.h"
#include "node/replica.h"
#include "placement/planner.h"
#include "store/records.h"
#include "wire/mp.h"

enum {
    REPORTS_MAX = 256,     /* in one message */
    CHANGES_MAX = 1 << 24, /* keys, believed of one report */
    STEPS_MAX = 32,        /* in one round */
    MOVES_MAX = 6
};
#define REPORT_NS (UINT64_C(400) * NS_PER_MS)
#define PLAN_NS (UINT64_C(250) * NS_PER_MS)
#define REPORT_OLD_NS (UINT64_C(4000) * NS_PER_MS)
#define STEP_REST_NS (UINT64_C(700) * NS_PER_MS)

struct heard {
    struct arc *arc;          /* owned */
    struct arc_report report; /* arc unused */
    uint64_t at_ns;
    uint64_t step_ns; /* when a step was last sent for it */
    enum plan_kind step_kind;
    struct id step_peer;
    uint64_t cut_generation; /* that a SPLIT was last sent for */
};

struct keeper {
    struct heard *list; /* ascending arc id */
    size_t count, cap;
    uint64_t next_report_ns;
    uint64_t next_plan_ns;
    uint64_t plan_since_ns; /* leading the system arc since; 0: not */
};

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
    free(k);
}

struct arc_report keeper_report_of(struct node *node, struct replica *r)
{
    struct arc_report report = { .arc = *r->arc,
                                 .keys = replica_key_count(r),
                                 .bytes = replica_data_bytes(r),
                                 .requests = r->requests,
                                 .changes = r->changes,
                                 .lost = r->lost_mask };
    report.busy = r->splitting || raft_is_changing(r->raft) ||
                  r->applied_term != raft_term(r->raft) || op_merge_is_busy(r);
    for (size_t i = 0; i < r->arc->member_count; i++) {
        struct raft_progress p;
        replica_id id = r->arc->members[i].replica;
        if (id == r->self || (raft_progress_of(r->raft, node->now_ns, id, &p) &&
                              p.active && p.caught_up))
            report.caught_up |= (uint16_t)(1u << i);
    }
    return report;
}

static struct heard *find_heard(struct keeper *k, arc_id id, size_t *at)
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

static void hear(struct node *node, const struct arc_report *report)
{
    struct keeper *k = node->keeper;
    size_t at;
    struct heard *h = find_heard(k, report->arc.id, &at);
    if (!h) {
        if (k->count == k->cap) {
            size_t cap = k->cap ? k->cap * 2 : 64;
            struct heard *grown = mem_resize(k->list, cap, sizeof *grown);
            if (!grown)
                return;
            k->list = grown;
            k->cap = cap;
        }
        struct arc *copy = arc_copy(&report->arc);
        if (!copy)
            return;
        memmove(k->list + at + 1, k->list + at,
                (k->count - at) * sizeof *k->list);
        k->count++;
        h = &k->list[at];
        memset(h, 0, sizeof *h);
        h->arc = copy;
    } else if (report->arc.generation < h->arc->generation ||
               report->arc.term < h->arc->term ||
               arc_assign(&h->arc, &report->arc) != DLHT_OK) {
        return;
    }
    h->report = *report;
    h->at_ns = node->now_ns;
    struct keyspace *ks = keyspaces_find(node, report->arc.keyspace);
    if (ks)
        ks->changes +=
            report->changes < CHANGES_MAX ? report->changes : CHANGES_MAX;
}

void keeper_receive_report(struct node *node, const struct id *from,
                           const struct message *m)
{
    (void)from;
    for (size_t i = 0; i < m->u.report.count; i++)
        hear(node, &m->u.report.list[i]);
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
            list[count++] = keeper_report_of(node, r);
            r->changes = 0;
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

/* "peer/" and the id in the system arc: what an operator decided. */
static struct span peer_key(const struct id *peer, char room[64])
{
    memcpy(room, "peer/", 5);
    id_to_text(peer, room + 5);
    return span_str(room);
}

bool keeper_is_leaving(const struct node *node, const struct id *peer)
{
    struct replica *r = node_replica(node, SYSTEM_ARC);
    char room[64];
    struct record record;
    return r && !r->empty &&
           records_get(r->records, peer_key(peer, room), &record);
}

/* A peer whose copies are to be made anew: dead for longer than --down-out, or
 * dead and without a disk to come back with. */
static bool is_gone(const struct node *node, const struct peer *p)
{
    if (p->state != PEER_DEAD && p->state != PEER_LEFT)
        return false;
    if (p->incarnation == INCARNATION_MEMORY) /* comes back as another */
        return true;
    return node->now_ns - p->since_ns > node->config.down_out_ns;
}

static size_t gather_peers(struct node *node, struct plan_peer *peers)
{
    size_t count = 0;
    for (size_t i = 0; i < swim_count(node->swim); i++) {
        const struct peer *p = swim_at(node->swim, i);
        struct plan_peer *out = &peers[count++];
        out->id = p->id;
        out->up = p->state == PEER_ALIVE;
        out->gone = is_gone(node, p);
        out->leaving = keeper_is_leaving(node, &p->id);
        out->weight_milli = p->weight_milli ? p->weight_milli : 1000;
    }
    return count;
}

static int compare_heard(const void *a, const void *b)
{
    const struct heard *const *x = a, *const *y = b;
    const struct arc *p = (*x)->arc, *q = (*y)->arc;
    if (p->keyspace != q->keyspace)
        return p->keyspace < q->keyspace ? -1 : 1;
    int order = span_compare(p->lo, q->lo);
    return order ? order : (p->id > q->id) - (p->id < q->id);
}

/* How many arcs each keyspace has, for who does not know them all: those
 * reported, those that are about to be cut, and one for each gap. */
static void count_reported(struct node *node)
{
    const struct keeper *k = node->keeper;
    const struct heard **list = mem_array(k->count + 1, sizeof *list);
    size_t count = 0;
    for (size_t i = 0; i < node->keyspace_count; i++)
        node->keyspaces[i].reported = 0;
    for (size_t i = 0; list && i < k->count; i++)
        if (node->now_ns - k->list[i].at_ns <= REPORT_OLD_NS)
            list[count++] = &k->list[i];
    if (count)
        qsort(list, count, sizeof *list, compare_heard);
    for (size_t i = 0; i < count; i++) {
        const struct arc *arc = list[i]->arc;
        struct keyspace *ks = keyspaces_find(node, arc->keyspace);
        const struct arc *next =
            i + 1 < count && list[i + 1]->arc->keyspace == arc->keyspace
                ? list[i + 1]->arc
                : NULL;
        bool gap = arc->has_hi && !(next && span_equal(arc->hi, next->lo));
        bool cutting = list[i]->cut_generation == arc->generation &&
                       node->now_ns - list[i]->step_ns < REPORT_OLD_NS;
        if (ks)
            ks->reported += 1u + gap + cutting;
    }
    free(list);
}

/* Reports that are fresh and not contradicted by the map. */
static size_t gather_arcs(struct node *node, struct plan_arc *arcs)
{
    struct keeper *k = node->keeper;
    size_t count = 0;
    if (node->config.map_fingers)
        count_reported(node);
    for (size_t i = 0; i < k->count; i++) {
        struct heard *h = &k->list[i];
        struct keyspace *ks = keyspaces_find(node, h->arc->keyspace);
        if (!ks || ks->record.dropped ||
            node->now_ns - h->at_ns > REPORT_OLD_NS)
            continue;
        const struct arc *known = map_by_id(ks->map, h->arc->id);
        if (known && known->generation > h->arc->generation)
            continue;
        struct plan_arc *out = &arcs[count++];
        memset(out, 0, sizeof *out);
        out->arc = h->arc;
        out->keys = h->report.keys;
        out->bytes = h->report.bytes;
        out->caught_up = h->report.caught_up;
        out->lost = h->report.lost;
        out->busy = h->report.busy || node->now_ns - h->step_ns < STEP_REST_NS;
        if (h->step_ns && node->now_ns - h->step_ns < STEP_REST_NS) {
            out->sent = h->step_kind;
            out->sent_peer = h->step_peer;
        }
        out->stays = ks->record.id == SYSTEM_KEYSPACE;
        out->replicas = ks->record.replicas;
        out->may_split = ks->record.id != SYSTEM_KEYSPACE &&
                         ks->record.placement == PLACEMENT_ORDERED;
        out->keyspace_arcs =
            node->config.map_fingers ? ks->reported : map_count(ks->map);
        out->floor_keys = ks->record.floor_keys;
        out->ceiling_bytes = ks->record.ceiling_bytes;
    }
    return count;
}

static void send_step(struct node *node, const struct plan_step *planned,
                      struct span keys)
{
    struct step step = { .kind = (uint8_t)planned->kind,
                         .keyspace = planned->arc->keyspace,
                         .arc = planned->arc->id,
                         .generation = planned->arc->generation,
                         .peer = planned->peer,
                         .keys = keys };
    size_t at;
    struct heard *h = find_heard(node->keeper, step.arc, &at);
    if (h) {
        h->step_ns = node->now_ns;
        h->step_kind = planned->kind;
        h->step_peer = planned->peer;
        if (step.kind == STEP_SPLIT)
            h->cut_generation = step.generation;
    }
    if (node_is_self(node, &planned->arc->owner)) {
        keeper_receive_step(node, &step);
        return;
    }
    struct message m = { .type = MESSAGE_STEP };
    m.u.step = step;
    m.u.step.keys = effects_copy(node->fx, keys);
    node_send(node, &planned->arc->owner, &m);
}

void keeper_totals(const struct node *node, const struct keyspace *ks,
                   uint64_t *keys, size_t *arcs)
{
    const struct keeper *k = node->keeper;
    *keys = 0;
    *arcs = 0;
    for (size_t i = 0; i < k->count; i++) {
        const struct heard *h = &k->list[i];
        if (h->arc->keyspace != ks->record.id ||
            node->now_ns - h->at_ns > REPORT_OLD_NS)
            continue;
        *keys += h->report.keys;
        ++*arcs;
    }
}

/* Of keys, those inside the arc, packed; how many. */
static size_t pack_cuts(const struct arc *arc, const struct span *keys,
                        size_t count, struct buf *out)
{
    size_t inside = 0;
    for (size_t i = 0; i < count; i++) {
        if (!arc_has(arc, keys[i]) || span_equal(arc->lo, keys[i]))
            continue;
        if (out->len + keys[i].len + 8 > STEP_KEYS_MAX)
            break;
        mp_write_bin(out, keys[i]);
        inside++;
    }
    return out->failed ? 0 : inside;
}

size_t keeper_cut(struct node *node, const struct keyspace *ks,
                  const struct span *keys, size_t count)
{
    struct keeper *k = node->keeper;
    size_t cut = 0;
    for (size_t i = 0; i < k->count; i++) {
        struct heard *h = &k->list[i];
        if (h->arc->keyspace != ks->record.id || h->report.busy ||
            node->now_ns - h->at_ns > REPORT_OLD_NS ||
            id_is_zero(&h->arc->owner))
            continue;
        struct buf packed = { 0 };
        size_t inside = pack_cuts(h->arc, keys, count, &packed);
        struct plan_step step = { .kind = PLAN_SPLIT, .arc = h->arc };
        if (inside)
            send_step(node, &step, buf_span(&packed));
        cut += inside;
        buf_deinit(&packed);
    }
    return cut;
}

static void plan(struct node *node)
{
    struct keeper *k = node->keeper;
    struct plan_peer *peers = mem_zero(swim_count(node->swim), sizeof *peers);
    struct plan_arc *arcs = mem_zero(k->count, sizeof *arcs);
    struct plan_step steps[STEPS_MAX];
    if (peers && arcs) {
        struct plan_input input = {
            .peers = peers,
            .peer_count = gather_peers(node, peers),
            .arcs = arcs,
            .arc_count = gather_arcs(node, arcs),
            .vnodes = node->config.vnodes,
            .partial =
                node->now_ns -
                        k->plan_since_ns<REPORT_OLD_NS,
                                         .moves_max = swim_count(node->swim)>
                            MOVES_MAX
                    ? swim_count(node->swim)
                    : MOVES_MAX,
        };
        size_t count = planner_steps(&input, steps, STEPS_MAX);
        for (size_t i = 0; i < count; i++)
            send_step(node, &steps[i], span_empty());
    }
    free(peers);
    free(arcs);
}

/* Drops what nobody reports any more. */
static void forget_old(struct node *node)
{
    struct keeper *k = node->keeper;
    size_t kept = 0;
    for (size_t i = 0; i < k->count; i++) {
        if (node->now_ns - k->list[i].at_ns > 15 * REPORT_OLD_NS)
            arc_free(k->list[i].arc);
        else
            k->list[kept++] = k->list[i];
    }
    k->count = kept;
}

static void lead(struct node *node)
{
    struct keeper *k = node->keeper;
    if (k->plan_since_ns == 0)
        k->plan_since_ns = node->now_ns;
    if (node->now_ns < k->next_plan_ns)
        return;
    k->next_plan_ns = node->now_ns + PLAN_NS;
    if (!keyspaces_find_name(node, span_str("default")))
        keyspaces_make_default(node);
    forget_old(node);
    plan(node);
}

void keeper_tick(struct node *node)
{
    struct keeper *k = node->keeper;
    struct replica *system = node_replica(node, SYSTEM_ARC);
    bool leads = system && !system->empty && replica_leads(system) &&
                 system->applied_term == raft_term(system->raft);
    if (node->now_ns >= k->next_report_ns) {
        k->next_report_ns = node->now_ns + REPORT_NS;
        const struct arc *arc = system_arc(node);
        if (leads)
            report_to(node, &node->self);
        else if (arc && !id_is_zero(&arc->owner) &&
                 !node_is_self(node, &arc->owner))
            report_to(node, &arc->owner);
    }
    if (leads)
        lead(node);
    else
        k->plan_since_ns = 0;
    if (node->replica_count)
        node_wake_at(node, k->next_report_ns);
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

void keeper_receive_step(struct node *node, const struct step *step)
{
    struct replica *r = node_replica(node, step->arc);
    if (!r || r->empty || !replica_leads(r) ||
        r->arc->generation != step->generation)
        return;
    int rc;
    if (step->kind == STEP_SPLIT) {
        rc = step->keys.len ? replica_cut(node, r, step->keys)
                            : split_evenly(node, r, step->ways);
    } else if (step->kind == STEP_MERGE) {
        rc = op_merge_begin(node, r, step);
    } else if (step->kind == STEP_TRANSFER) {
        const struct arc_member *to = arc_member_of(r->arc, &step->peer);
        rc = to ? hand_to(node, r, to->replica) : DLHT_EINVAL;
    } else {
        struct arc_member members[ARC_MEMBERS_MAX];
        size_t count;
        rc = next_members(node, r, step, members, &count)
                 ? replica_change(node, r, members, count)
                 : DLHT_EINVAL;
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

int keeper_leave(struct node *node, const struct id *peer, size_t *left)
{
    struct keeper *k = node->keeper;
    *left = 0;
    if (k->plan_since_ns == 0)
        return DLHT_ENOTOWNER;
    for (size_t i = 0; i < k->count; i++)
        if (node->now_ns - k->list[i].at_ns <= REPORT_OLD_NS &&
            arc_member_of(k->list[i].arc, peer))
            ++*left;
    if (!keeper_is_leaving(node, peer) || *left ||
        node->now_ns - k->plan_since_ns < 3 * REPORT_NS)
        return DLHT_EBUSY;
    return DLHT_OK;
}
