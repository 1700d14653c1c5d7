/* SPDX-License-Identifier: Apache-2.0 */

/* What the planner is told, and what becomes of its steps. */

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "node/keeper_state.h"
#include "node/keyspaces.h"
#include "node/replica.h"
#include "node/reports.h"
#include "wire/mp.h"

enum {
    STEPS_MAX = 32,     /* in one round */
    MOVES_MAX = 6,      /* at once, in a small ring; a large one: its peers */
    PEER_MOVES_MAX = 3, /* of them, to or from one peer */
    MERGES_MAX = 2,
    MOVES_BYTES_A_PEER = 256 << 20 /* under way at once, on average */
};
#define PLAN_NS (UINT64_C(250) * NS_PER_MS)
#define STEP_REST_NS (UINT64_C(700) * NS_PER_MS)
#define MERGE_REST_NS (UINT64_C(60) * NS_PER_S) /* at most, while it is busy */
/* As long without a step, and the ring has come to rest. */
#define PLAN_OVER_NS (UINT64_C(10000) * NS_PER_MS)

static size_t gather_peers(struct node *node, struct plan_peer *peers)
{
    struct keeper *k = node->keeper;
    size_t count = 0;
    for (size_t i = 0; i < k->peer_count; i++) {
        const struct keeper_peer *p = &k->peers[i];
        const struct peer *known = swim_find(node->swim, &p->id);
        struct plan_peer *out = &peers[count++];
        out->id = p->id;
        out->up = known && known->state == PEER_ALIVE;
        out->gone = p->fate >= FATE_GONE;
        out->leaving = p->leaving;
        out->weight_milli = p->weight_milli;
        out->zone = p->zone;
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
        if (keeper_is_fresh(node, &k->list[i]))
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
                       node->now_ns - list[i]->step_ns < KEEPER_SETTLE_NS;
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
        if (!ks || ks->record.dropped || !keeper_is_fresh(node, h) ||
            ks->record.is_volatile)
            continue;
        const struct arc *known = map_by_id(ks->map, h->arc->id);
        if (known && known->generation > h->arc->generation)
            continue;
        struct plan_arc *out = &arcs[count++];
        memset(out, 0, sizeof *out);
        out->arc = h->arc;
        out->keys = h->report.keys;
        out->bytes = h->report.bytes;
        out->bytes_usual = (uint64_t)h->bytes_usual;
        out->requests = (uint64_t)(keeper_rate_of(h) + 0.5);
        out->caught_up = h->report.caught_up;
        out->lost = h->report.lost;
        out->busy = h->report.busy || node->now_ns - h->step_ns < STEP_REST_NS;
        bool merging = h->report.busy && h->step_kind == PLAN_MERGE;
        uint64_t rest = merging ? MERGE_REST_NS : STEP_REST_NS;
        if (h->step_ns && node->now_ns - h->step_ns < rest) {
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

static void note_sent(struct node *node, const struct plan_step *planned)
{
    struct keeper *k = node->keeper;
    size_t at;
    struct heard *h = keeper_find_heard(k, planned->arc->id, &at);
    if (!h)
        return;
    k->sent_for[planned->reason]++;
    k->sent_kind[planned->kind]++;
    if (h->begun_ns == 0)
        h->begun_ns = node->now_ns;
    h->step_ns = node->now_ns;
    h->step_kind = planned->kind;
    h->step_reason = planned->reason;
    h->step_peer = planned->peer;
    if (planned->kind == PLAN_SPLIT)
        h->cut_generation = planned->arc->generation;
    if (planned->kind != PLAN_MERGE || !planned->into)
        return;
    h = keeper_find_heard(k, planned->into->id, &at);
    if (h)
        h->step_ns = node->now_ns; /* nothing else of it for a while */
}

uint64_t keeper_sent(const struct node *node, uint64_t *for_gone)
{
    const struct keeper *k = node->keeper;
    *for_gone = k->sent_for[PLAN_FOR_COPIES] + k->sent_for[PLAN_FOR_GONE];
    return k->sent_kind[PLAN_TRANSFER];
}

static void send_step(struct node *node, const struct plan_step *planned,
                      struct span keys)
{
    struct step step = { .kind = (uint8_t)planned->kind,
                         .keyspace = planned->arc->keyspace,
                         .arc = planned->arc->id,
                         .generation = planned->arc->generation,
                         .peer = planned->peer,
                         .keys = keys,
                         .ways = planned->ways };
    if (planned->kind == PLAN_MERGE && planned->into) {
        step.into = planned->into->id;
        step.into_generation = planned->into->generation;
        step.into_lo = planned->into->lo;
    }
    note_sent(node, planned);
    if (node_is_self(node, &planned->arc->owner)) {
        keeper_receive_step(node, &step);
        return;
    }
    struct message m = { .type = MESSAGE_STEP };
    m.u.step = step;
    m.u.step.keys = effects_copy(node->fx, keys);
    m.u.step.into_lo = effects_copy(node->fx, step.into_lo);
    if (m.u.step.into_lo.len == step.into_lo.len)
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
        if (h->arc->keyspace != ks->record.id || !keeper_is_fresh(node, h))
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
            !keeper_is_fresh(node, h) || id_is_zero(&h->arc->owner))
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

int keeper_gather(struct node *node, struct keeper_input *out)
{
    struct keeper *k = node->keeper;
    struct keeper_settings settings;
    keeper_settings_read(node, &settings);
    memset(out, 0, sizeof *out);
    out->peers = mem_zero(k->peer_count + 1, sizeof *out->peers);
    out->arcs = mem_zero(k->count + 1, sizeof *out->arcs);
    if (!out->peers || !out->arcs) {
        keeper_input_free(out);
        return DLHT_ENOMEM;
    }
    size_t moves = k->peer_count > MOVES_MAX ? k->peer_count : MOVES_MAX;
    out->in = (struct plan_input){
        .peers = out->peers,
        .peer_count = gather_peers(node, out->peers),
        .arcs = out->arcs,
        .arc_count = gather_arcs(node, out->arcs),
        .vnodes = node->config.vnodes,
        .partial = node->now_ns - k->plan_since_ns < KEEPER_SETTLE_NS,
        .paused = settings.paused,
        .moves_max = keeper_moves_max(node, moves),
        .peer_moves_max = PEER_MOVES_MAX,
        .moves_bytes_max = MOVES_BYTES_A_PEER * k->peer_count,
        .merges_max = MERGES_MAX,
    };
    return DLHT_OK;
}

void keeper_input_free(struct keeper_input *input)
{
    free(input->peers);
    free(input->arcs);
    memset(input, 0, sizeof *input);
}

/* Places in the table of peers, by id. */
struct by_id {
    const struct id *id;
    size_t index;
};

static int compare_ids(const void *a, const void *b)
{
    return id_compare(((const struct by_id *)a)->id,
                      ((const struct by_id *)b)->id);
}

static size_t index_of(const struct by_id *list, size_t count,
                       const struct id *id)
{
    struct by_id key = { id, 0 };
    const struct by_id *found =
        bsearch(&key, list, count, sizeof *list, compare_ids);
    return found ? found->index : SIZE_MAX;
}

static void add_arc(const struct plan_arc *a, const struct by_id *list,
                    size_t count, struct keeper_share *shares)
{
    for (size_t m = 0; m < a->arc->member_count; m++) {
        size_t at = index_of(list, count, &a->arc->members[m].peer);
        if (at != SIZE_MAX)
            shares[at].held += a->bytes;
    }
    size_t owner = index_of(list, count, &a->arc->owner);
    if (owner == SIZE_MAX)
        return;
    shares[owner].led += a->bytes;
    shares[owner].requests += a->requests;
}

static bool is_usable(const struct plan_peer *p)
{
    return !p->gone && !p->leaving;
}

/* Bytes of all copies, by weight; nobody holds more than one of each. */
static void share_out(const struct plan_input *in, struct keeper_share *shares)
{
    size_t usable = 0;
    double weight = 0, copies = 0, all = 0;
    for (size_t i = 0; i < in->peer_count; i++) {
        usable += is_usable(&in->peers[i]);
        weight += is_usable(&in->peers[i]) ? in->peers[i].weight_milli : 0;
    }
    for (size_t i = 0; i < in->arc_count; i++) {
        size_t want = in->arcs[i].replicas;
        all += (double)in->arcs[i].bytes;
        copies +=
            (double)in->arcs[i].bytes * (double)(want < usable ? want : usable);
    }
    for (bool full = true; full && weight > 0;) {
        full = false;
        for (size_t i = 0; i < in->peer_count; i++) {
            double own = in->peers[i].weight_milli;
            if (!is_usable(&in->peers[i]) || shares[i].fair > 0 ||
                copies * own / weight < all)
                continue;
            shares[i].fair = all;
            copies -= all;
            weight -= own;
            full = all > 0;
            break;
        }
    }
    for (size_t i = 0; i < in->peer_count; i++)
        if (is_usable(&in->peers[i]) && shares[i].fair <= 0 && weight > 0)
            shares[i].fair = copies * in->peers[i].weight_milli / weight;
}

void keeper_shares(const struct plan_input *in, struct keeper_share *shares)
{
    memset(shares, 0, in->peer_count * sizeof *shares);
    struct by_id *list = mem_zero(in->peer_count + 1, sizeof *list);
    if (!list)
        return;
    for (size_t i = 0; i < in->peer_count; i++)
        list[i] = (struct by_id){ &in->peers[i].id, i };
    qsort(list, in->peer_count, sizeof *list, compare_ids);
    for (size_t i = 0; i < in->arc_count; i++)
        add_arc(&in->arcs[i], list, in->peer_count, shares);
    free(list);
    share_out(in, shares);
}

uint64_t keeper_ideal(const struct plan_input *in,
                      const struct keeper_share *shares)
{
    double sum = 0;
    for (size_t i = 0; i < in->peer_count; i++)
        if (shares[i].fair > (double)shares[i].held)
            sum += shares[i].fair - (double)shares[i].held;
    return (uint64_t)(sum + 0.5);
}

void keeper_note_moved(struct node *node, uint64_t bytes)
{
    struct keeper *k = node->keeper;
    uint64_t minute = node->now_ns / (60 * NS_PER_S);
    uint64_t passed = minute - k->minute;
    for (uint64_t i = 0; i < passed && i < KEEPER_HOUR; i++)
        k->minutes[(k->minute + 1 + i) % KEEPER_HOUR] = 0;
    k->minute = minute;
    k->minutes[minute % KEEPER_HOUR] += bytes;
    k->plan.moved += bytes;
    k->plan.active_ns = node->now_ns;
}

uint64_t keeper_moved_hour(const struct node *node)
{
    const struct keeper *k = node->keeper;
    uint64_t minute = node->now_ns / (60 * NS_PER_S), sum = 0;
    for (uint64_t i = 0; i < KEEPER_HOUR; i++)
        if (k->minute + i >= minute && i <= k->minute)
            sum += k->minutes[(k->minute - i) % KEEPER_HOUR];
    return sum;
}

static uint64_t hash_peers(const struct plan_input *in)
{
    uint64_t h = 0;
    for (size_t i = 0; i < in->peer_count; i++) {
        const struct plan_peer *p = &in->peers[i];
        if (is_usable(p))
            h = hash64_mix(h, hash64_mix(id_hash(&p->id), p->weight_milli));
    }
    return h;
}

/* A plan is from rest to rest. What it had to move at the least is known where
 * it begins, and again where peers come, go or change their weight. */
static void follow_plan(struct node *node, const struct plan_input *in,
                        size_t step_count)
{
    struct keeper_plan *plan = &node->keeper->plan;
    bool rested = node->now_ns - plan->active_ns > PLAN_OVER_NS;
    uint64_t peers = hash_peers(in);
    plan->steps += step_count;
    if (step_count == 0 || in->partial) {
        if (step_count)
            plan->active_ns = node->now_ns;
        return;
    }
    if (plan->begun_ns == 0 || rested || plan->peers_hash != peers) {
        struct keeper_share *shares =
            mem_zero(in->peer_count + 1, sizeof *shares);
        if (plan->begun_ns == 0 || rested) {
            plan->begun_ns = node->now_ns;
            plan->steps = step_count;
            plan->moved = 0;
        }
        keeper_pace_begin(node);
        if (shares) {
            keeper_shares(in, shares);
            plan->ideal = plan->moved + keeper_ideal(in, shares);
            plan->peers_hash = peers;
        }
        free(shares);
    }
    plan->active_ns = node->now_ns;
}

static void plan_steps(struct node *node)
{
    struct keeper_input input;
    struct plan_step steps[STEPS_MAX];
    keeper_judge_peers(node);
    if (keeper_gather(node, &input) != DLHT_OK)
        return;
    size_t count = planner_steps(&input.in, steps, STEPS_MAX);
    follow_plan(node, &input.in, count);
    for (size_t i = 0; i < count; i++)
        send_step(node, &steps[i], span_empty());
    keeper_input_free(&input);
}

/* Drops what nobody reports any more. */
static void forget_old(struct node *node)
{
    struct keeper *k = node->keeper;
    size_t kept = 0;
    for (size_t i = 0; i < k->count; i++) {
        if (node->now_ns - k->list[i].at_ns > 2 * REPORTS_OLD_NS)
            arc_free(k->list[i].arc);
        else
            k->list[kept++] = k->list[i];
    }
    k->count = kept;
}

/* Another led meanwhile: what was seen before is of another time. */
static void begin_to_plan(struct node *node)
{
    struct keeper *k = node->keeper;
    k->plan_since_ns = node->now_ns;
    memset(&k->plan, 0, sizeof k->plan);
    memset(&k->pace, 0, sizeof k->pace);
    memset(k->minutes, 0, sizeof k->minutes);
    for (size_t i = 0; i < k->count; i++) {
        struct heard *h = &k->list[i];
        h->rate_sum = h->rate_weight = 0;
        h->begun_ns = h->cut_ns = h->cut_keys = 0;
    }
}

void keeper_plan_tick(struct node *node)
{
    struct keeper *k = node->keeper;
    if (k->plan_since_ns == 0)
        begin_to_plan(node);
    if (node->now_ns < k->next_plan_ns)
        return;
    k->next_plan_ns = node->now_ns + PLAN_NS;
    if (!keyspaces_find_name(node, span_str("default")))
        keyspaces_make_default(node);
    forget_old(node);
    plan_steps(node);
    keeper_volatile_tick(node);
    keeper_pace_tick(node);
}

static bool is_fresh_of(const struct node *node, const struct heard *h,
                        const struct keyspace *ks)
{
    return h->arc->keyspace == ks->record.id && keeper_is_fresh(node, h);
}

/* Fresh reports leave no part of the keyspace out. */
static bool is_all_told(struct node *node, const struct keyspace *ks)
{
    const struct keeper *k = node->keeper;
    const struct heard **list = mem_array(k->count + 1, sizeof *list);
    size_t count = 0;
    for (size_t i = 0; list && i < k->count; i++)
        if (is_fresh_of(node, &k->list[i], ks))
            list[count++] = &k->list[i];
    if (count)
        qsort(list, count, sizeof *list, compare_heard);
    bool whole =
        count > 0 && list[0]->arc->lo.len == 0 && !list[count - 1]->arc->has_hi;
    for (size_t i = 1; i < count && whole; i++)
        whole = list[i - 1]->arc->has_hi &&
                span_compare(list[i - 1]->arc->hi, list[i]->arc->lo) >= 0;
    free(list);
    return whole;
}

/* Arcs that may have a copy at the peer though no fresh report says so: their
 * leader is down, or has just begun to lead. The map does not tell of all of
 * them: who was started anew knows the first arcs of the keyspace, and what has
 * become of them since only as far as those tell who are there. */
static size_t count_untold(struct node *node, const struct keyspace *ks,
                           const struct id *peer)
{
    bool system = ks->record.id == SYSTEM_KEYSPACE;
    bool told = system || is_all_told(node, ks);
    if (node->config.map_fingers && !system)
        return !told;
    size_t count = 0;
    for (size_t i = 0; i < map_count(ks->map); i++) {
        const struct arc *arc = map_at(ks->map, i);
        if (!arc_member_of(arc, peer))
            continue;
        size_t at;
        const struct heard *h = keeper_find_heard(node->keeper, arc->id, &at);
        if (!h || !keeper_is_fresh(node, h) ||
            h->arc->generation < arc->generation)
            count++;
    }
    return count || told ? count : 1;
}

int keeper_leave(struct node *node, const struct id *peer, size_t *left)
{
    struct keeper *k = node->keeper;
    *left = 0;
    if (k->plan_since_ns == 0)
        return DLHT_ENOTOWNER;
    for (size_t i = 0; i < k->count; i++)
        if (keeper_is_fresh(node, &k->list[i]) &&
            (k->list[i].report.awaits || arc_member_of(k->list[i].arc, peer)))
            ++*left;
    for (size_t i = 0; i < node->keyspace_count; i++)
        if (!node->keyspaces[i].record.dropped)
            *left += count_untold(node, &node->keyspaces[i], peer);
    if (!keeper_is_leaving(node, peer) || *left ||
        node->now_ns - k->plan_since_ns < 3 * KEEPER_REPORT_NS)
        return DLHT_EBUSY;
    return DLHT_OK;
}
