/* SPDX-License-Identifier: Apache-2.0 */

/* The next steps of the ring. */

#include "placement/planner.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* What planning adds up for a peer. */
struct load {
    uint64_t held; /* keys of all its replicas, one more an arc */
    uint64_t led;  /* keys of the arcs it leads, likewise */
};

struct planner {
    const struct plan_input *in;
    struct load *loads;
    struct plan_step *steps;
    size_t count, max;
    size_t moving; /* arcs with more members than wanted */
};

static const struct plan_peer *peer_of(const struct planner *p,
                                       const struct id *id, size_t *index)
{
    for (size_t i = 0; i < p->in->peer_count; i++) {
        if (id_equal(&p->in->peers[i].id, id)) {
            if (index)
                *index = i;
            return &p->in->peers[i];
        }
    }
    return NULL;
}

static uint64_t size_of(const struct plan_arc *a)
{
    return a->keys + 1;
}

static void add_step(struct planner *p, enum plan_kind kind,
                     const struct plan_arc *a, const struct id *peer)
{
    if (p->count == p->max)
        return;
    struct plan_step *step = &p->steps[p->count++];
    memset(step, 0, sizeof *step);
    step->kind = kind;
    step->arc = a->arc;
    if (peer)
        step->peer = *peer;
}

/* A member that counts: on a peer that stays, copy not lost. */
static bool is_sound(const struct planner *p, const struct plan_arc *a,
                     size_t i)
{
    const struct plan_peer *peer = peer_of(p, &a->arc->members[i].peer, NULL);
    return peer && !peer->gone && !peer->leaving && !(a->lost >> i & 1);
}

static bool is_caught_up(const struct plan_arc *a, size_t i)
{
    return a->caught_up >> i & 1;
}

/* a/weight_a < b/weight_b */
static bool is_lighter(uint64_t a, uint32_t weight_a, uint64_t b,
                       uint32_t weight_b)
{
    return (double)a / weight_a < (double)b / weight_b;
}

/* The emptiest peer that may take a copy and has none; NULL: none. */
static const struct plan_peer *spare_for(const struct planner *p,
                                         const struct plan_arc *a)
{
    const struct plan_peer *best = NULL;
    size_t best_index = 0;
    for (size_t i = 0; i < p->in->peer_count; i++) {
        const struct plan_peer *peer = &p->in->peers[i];
        if (!peer->up || peer->gone || peer->leaving ||
            arc_member_of(a->arc, &peer->id))
            continue;
        if (!best ||
            is_lighter(p->loads[i].held, peer->weight_milli,
                       p->loads[best_index].held, best->weight_milli)) {
            best = peer;
            best_index = i;
        }
    }
    return best;
}

static size_t usable_peers(const struct planner *p)
{
    size_t count = 0;
    for (size_t i = 0; i < p->in->peer_count; i++) {
        const struct plan_peer *peer = &p->in->peers[i];
        count += !peer->gone && !peer->leaving;
    }
    return count;
}

struct tally {
    size_t sound;        /* members that count */
    size_t sound_ready;  /* of them caught up */
    size_t voters;       /* all voters */
    size_t sound_voters; /* voters that count */
    size_t want;         /* copies */
    size_t want_voters;
};

static struct tally tally_of(const struct planner *p, const struct plan_arc *a)
{
    struct tally t = { 0 };
    for (size_t i = 0; i < a->arc->member_count; i++) {
        bool sound = is_sound(p, a, i);
        bool voter = a->arc->members[i].voter;
        t.sound += sound;
        t.sound_ready += sound && is_caught_up(a, i);
        t.voters += voter;
        t.sound_voters += sound && voter;
    }
    size_t usable = usable_peers(p);
    t.want = a->replicas < usable ? a->replicas : usable;
    t.want_voters = t.want % 2 ? t.want : t.want ? t.want - 1 : 0;
    return t;
}

/* The member to take away: one that does not count, else (if any is too many)
 * the one on the fullest peer, never the leader. SIZE_MAX: none. */
static size_t worst_member(const struct planner *p, const struct plan_arc *a,
                           bool unsound_only)
{
    size_t worst = SIZE_MAX;
    uint64_t worst_held = 0;
    uint32_t worst_weight = 1;
    for (size_t i = 0; i < a->arc->member_count; i++) {
        const struct arc_member *m = &a->arc->members[i];
        if (id_equal(&m->peer, &a->arc->owner))
            continue;
        if (!is_sound(p, a, i))
            return i;
        size_t k;
        const struct plan_peer *peer = peer_of(p, &m->peer, &k);
        if (unsound_only || !peer)
            continue;
        if (worst == SIZE_MAX ||
            is_lighter(worst_held, worst_weight, p->loads[k].held,
                       peer->weight_milli)) {
            worst = i;
            worst_held = p->loads[k].held;
            worst_weight = peer->weight_milli;
        }
    }
    return worst;
}

/* A member that lost its copy, on a peer that stays. */
static size_t lost_member(const struct planner *p, const struct plan_arc *a)
{
    for (size_t i = 0; i < a->arc->member_count; i++) {
        const struct arc_member *m = &a->arc->members[i];
        const struct plan_peer *peer = peer_of(p, &m->peer, NULL);
        if ((a->lost >> i & 1) && peer && peer->up && !peer->leaving &&
            !id_equal(&m->peer, &a->arc->owner))
            return i;
    }
    return SIZE_MAX;
}

/* The leader is on a peer that leaves: somebody else must lead first. */
static bool hand_over(struct planner *p, const struct plan_arc *a)
{
    const struct arc *arc = a->arc;
    for (size_t i = 0; i < arc->member_count; i++) {
        if (!id_equal(&arc->members[i].peer, &arc->owner) || is_sound(p, a, i))
            continue;
        for (size_t k = 0; k < arc->member_count; k++) {
            if (arc->members[k].voter && is_sound(p, a, k) &&
                is_caught_up(a, k)) {
                add_step(p, PLAN_TRANSFER, a, &arc->members[k].peer);
                return true;
            }
        }
    }
    return false;
}

/* A learner that is ready and counts; SIZE_MAX: none. */
static size_t ready_learner(const struct planner *p, const struct plan_arc *a)
{
    for (size_t i = 0; i < a->arc->member_count; i++)
        if (!a->arc->members[i].voter && is_sound(p, a, i) &&
            is_caught_up(a, i))
            return i;
    return SIZE_MAX;
}

static bool mend(struct planner *p, const struct plan_arc *a)
{
    struct tally t = tally_of(p, a);
    size_t unsound = worst_member(p, a, true);
    if (t.sound < t.want) {
        const struct plan_peer *spare = spare_for(p, a);
        if (spare && a->arc->member_count < ARC_MEMBERS_MAX - 1) {
            add_step(p, PLAN_ADD, a, &spare->id);
            return true;
        }
        /* Its own peer may be the only one that can hold a new copy. */
        size_t lost = lost_member(p, a);
        if (lost != SIZE_MAX && t.sound_ready > a->arc->member_count / 2) {
            add_step(p, PLAN_REMOVE, a, &a->arc->members[lost].peer);
            return true;
        }
    }
    /* Voters are added in pairs that are ready together, so that an even
     * number does not last. */
    size_t learner = ready_learner(p, a);
    size_t ready_voters = 0, ready_learners = 0;
    for (size_t i = 0; i < a->arc->member_count; i++) {
        if (!is_sound(p, a, i) || !is_caught_up(a, i))
            continue;
        if (a->arc->members[i].voter)
            ready_voters++;
        else
            ready_learners++;
    }
    if (learner != SIZE_MAX && t.sound_voters < t.want_voters &&
        ready_voters + ready_learners >= t.want_voters) {
        add_step(p, PLAN_PROMOTE, a, &a->arc->members[learner].peer);
        return true;
    }
    if (unsound != SIZE_MAX && t.sound_ready >= t.want &&
        t.sound_voters >= t.want_voters) {
        add_step(p, PLAN_REMOVE, a, &a->arc->members[unsound].peer);
        return true;
    }
    return hand_over(p, a);
}

/* The leader's own copy is the one too many: another must lead first, or the
 * copy that was just made would go, and come again, and go. */
static bool step_aside(struct planner *p, const struct plan_arc *a)
{
    const struct arc *arc = a->arc;
    const struct plan_peer *fullest = NULL;
    uint64_t most = 0;
    for (size_t i = 0; i < arc->member_count; i++) {
        size_t k = 0;
        const struct plan_peer *peer = peer_of(p, &arc->members[i].peer, &k);
        if (!peer || !is_sound(p, a, i))
            return false;
        if (!fullest || is_lighter(most, fullest->weight_milli,
                                   p->loads[k].held, peer->weight_milli)) {
            fullest = peer;
            most = p->loads[k].held;
        }
    }
    if (!fullest || !id_equal(&fullest->id, &arc->owner))
        return false;
    for (size_t i = 0; i < arc->member_count; i++) {
        if (arc->members[i].voter && is_caught_up(a, i) &&
            !id_equal(&arc->members[i].peer, &arc->owner)) {
            add_step(p, PLAN_TRANSFER, a, &arc->members[i].peer);
            return true;
        }
    }
    size_t learner = ready_learner(p, a);
    if (learner == SIZE_MAX)
        return false;
    add_step(p, PLAN_PROMOTE, a, &arc->members[learner].peer);
    return true;
}

/* Too many voters or copies, all that is wanted being ready. */
static bool trim(struct planner *p, const struct plan_arc *a)
{
    struct tally t = tally_of(p, a);
    if (t.sound_ready < t.want)
        return false;
    if (t.sound > t.want) {
        if (step_aside(p, a))
            return true;
        size_t worst = worst_member(p, a, false);
        if (worst == SIZE_MAX)
            return false;
        /* A voter goes only when a ready learner can follow it. */
        if (a->arc->members[worst].voter && t.sound_voters <= t.want_voters) {
            size_t learner = ready_learner(p, a);
            if (learner == SIZE_MAX)
                return false;
            add_step(p, PLAN_PROMOTE, a, &a->arc->members[learner].peer);
            return true;
        }
        add_step(p, PLAN_REMOVE, a, &a->arc->members[worst].peer);
        return true;
    }
    if (t.voters > t.want_voters && t.want_voters > 0) {
        for (size_t i = 0; i < a->arc->member_count; i++) {
            const struct arc_member *m = &a->arc->members[i];
            if (m->voter && !id_equal(&m->peer, &a->arc->owner)) {
                add_step(p, PLAN_DEMOTE, a, &m->peer);
                return true;
            }
        }
    }
    return false;
}

/* Whether nothing but balance could be improved. */
static bool is_settled(const struct planner *p, const struct plan_arc *a)
{
    struct tally t = tally_of(p, a);
    return !a->busy && t.sound_ready == a->arc->member_count &&
           t.sound == t.want && t.voters == t.want_voters;
}

static double total_weight(const struct planner *p)
{
    double sum = 0;
    for (size_t i = 0; i < p->in->peer_count; i++)
        if (p->in->peers[i].up && !p->in->peers[i].leaving)
            sum += p->in->peers[i].weight_milli / 1000.0;
    return sum;
}

static bool has_step(const struct planner *p, const struct plan_arc *a)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->steps[i].arc == a->arc)
            return true;
    return false;
}

static void split_large(struct planner *p)
{
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct plan_arc *a = &p->in->arcs[i];
        if (a->may_split && !a->busy && !has_step(p, a) && a->keys >= 2 &&
            a->bytes > a->ceiling_bytes)
            add_step(p, PLAN_SPLIT, a, NULL);
    }
}

/* Cuts the largest arcs of a keyspace until it has enough of them. */
static void split_few(struct planner *p, keyspace_id keyspace)
{
    size_t arcs = 0, cutting = 0;
    for (size_t i = 0; i < p->in->arc_count; i++)
        if (p->in->arcs[i].arc->keyspace == keyspace)
            arcs = p->in->arcs[i].keyspace_arcs;
    size_t want = (size_t)(p->in->vnodes * total_weight(p) + 0.5);
    while (arcs + cutting < want) {
        const struct plan_arc *largest = NULL;
        for (size_t i = 0; i < p->in->arc_count; i++) {
            const struct plan_arc *a = &p->in->arcs[i];
            if (a->arc->keyspace != keyspace || !a->may_split || a->busy ||
                a->keys < 2 * a->floor_keys || has_step(p, a))
                continue;
            if (!largest || a->keys > largest->keys)
                largest = a;
        }
        if (!largest || p->count == p->max)
            return;
        add_step(p, PLAN_SPLIT, largest, NULL);
        cutting++;
    }
}

static void split_all(struct planner *p)
{
    split_large(p);
    for (size_t i = 0; i < p->in->arc_count; i++) {
        bool first = p->in->arcs[i].may_split;
        for (size_t k = 0; first && k < i; k++)
            first =
                p->in->arcs[k].arc->keyspace != p->in->arcs[i].arc->keyspace;
        if (first)
            split_few(p, p->in->arcs[i].arc->keyspace);
    }
}

/* The fullest and the emptiest peer by one measure, in units per weight. */
struct extremes {
    size_t fullest, emptiest;
    double most, least, mean;
};

static bool find_extremes(const struct planner *p, bool led,
                          struct extremes *out)
{
    size_t count = 0;
    double sum = 0;
    for (size_t i = 0; i < p->in->peer_count; i++) {
        const struct plan_peer *peer = &p->in->peers[i];
        if (!peer->up || peer->gone || peer->leaving)
            continue;
        double x = (double)(led ? p->loads[i].led : p->loads[i].held) /
                   peer->weight_milli;
        if (count == 0 || x > out->most) {
            out->fullest = i;
            out->most = x;
        }
        if (count == 0 || x < out->least) {
            out->emptiest = i;
            out->least = x;
        }
        sum += x;
        count++;
    }
    out->mean = count ? sum / (double)count : 0;
    return count > 1;
}

/* Of the arcs on the fullest peer, the largest whose move does not make the
 * other the fuller one: so no arc ever moves to and fro. NULL: none. */
static const struct plan_arc *best_move(const struct planner *p,
                                        const struct extremes *x, bool led)
{
    const struct plan_peer *from = &p->in->peers[x->fullest];
    const struct plan_peer *to = &p->in->peers[x->emptiest];
    const struct plan_arc *best = NULL;
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct plan_arc *a = &p->in->arcs[i];
        if (!is_settled(p, a) || has_step(p, a))
            continue;
        const struct arc_member *there = arc_member_of(a->arc, &to->id);
        if (led ? !id_equal(&a->arc->owner, &from->id) || !there ||
                      !there->voter
                : !arc_member_of(a->arc, &from->id) || there)
            continue;
        double size = (double)size_of(a);
        double change = size / from->weight_milli + size / to->weight_milli;
        if (change <= x->most - x->least &&
            (!best || size_of(a) > size_of(best)))
            best = a;
    }
    return best;
}

static bool balance_one(struct planner *p, bool led)
{
    struct extremes x = { 0 };
    if (!find_extremes(p, led, &x) ||
        (x.most <= 1.15 * x.mean && x.least >= 0.85 * x.mean))
        return false;
    const struct plan_arc *a = best_move(p, &x, led);
    if (!a)
        return false;
    add_step(p, led ? PLAN_TRANSFER : PLAN_ADD, a,
             &p->in->peers[x.emptiest].id);
    uint64_t size = size_of(a);
    if (led) {
        p->loads[x.fullest].led -= size;
        p->loads[x.emptiest].led += size;
    } else {
        p->loads[x.fullest].held -= size;
        p->loads[x.emptiest].held += size;
        p->moving++;
    }
    return true;
}

static void add_loads(struct planner *p)
{
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct plan_arc *a = &p->in->arcs[i];
        if (a->arc->member_count > a->replicas)
            p->moving++;
        for (size_t k = 0; k < a->arc->member_count; k++) {
            size_t index;
            if (!peer_of(p, &a->arc->members[k].peer, &index))
                continue;
            p->loads[index].held += size_of(a);
            if (id_equal(&a->arc->members[k].peer, &a->arc->owner))
                p->loads[index].led += size_of(a);
        }
    }
}

size_t planner_steps(const struct plan_input *input, struct plan_step *steps,
                     size_t step_max)
{
    struct planner p = { .in = input, .steps = steps, .max = step_max };
    p.loads = mem_zero(input->peer_count, sizeof *p.loads);
    if (!p.loads)
        return 0;
    add_loads(&p);
    for (size_t i = 0; i < input->arc_count; i++) {
        const struct plan_arc *a = &input->arcs[i];
        if (!a->busy && !mend(&p, a))
            trim(&p, a);
    }
    split_all(&p);
    while (p.count < p.max && balance_one(&p, true))
        ;
    while (p.count < p.max && p.moving < input->moves_max &&
           balance_one(&p, false))
        ;
    free(p.loads);
    return p.count;
}
