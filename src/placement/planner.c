/* SPDX-License-Identifier: Apache-2.0 */

/* The next steps of the ring. */

#include "placement/planner.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Peers are even between these multiples of the mean. */
#define EVEN_MOST 1.15
#define EVEN_LEAST 0.85

/* What planning adds up for a peer. */
struct load {
    uint64_t held; /* keys of all its replicas, one more an arc */
    uint64_t led;  /* keys of the arcs it leads, likewise */
};

enum {
    NOBODY = UINT16_MAX /* not in the table of peers */
};

/* An arc's members and owner as places in the table of peers. */
struct seats {
    uint16_t member[ARC_MEMBERS_MAX];
    uint16_t owner;
    bool has_step;
    bool may_move; /* nothing but balance could be improved */
};

struct planner {
    const struct plan_input *in;
    struct load *loads;
    struct seats *seats; /* of each arc */
    struct plan_step *steps;
    size_t count, max;
    size_t moving; /* arcs with more members than wanted */
};

static uint16_t find_peer(const struct plan_input *in, const struct id *id)
{
    for (size_t i = 0; i < in->peer_count && i < NOBODY; i++)
        if (id_equal(&in->peers[i].id, id))
            return (uint16_t)i;
    return NOBODY;
}

static struct seats *seats_of(const struct planner *p, const struct plan_arc *a)
{
    return &p->seats[a - p->in->arcs];
}

/* The peer of member i, and where it is in the table; NULL: not there. */
static const struct plan_peer *peer_of(const struct planner *p,
                                       const struct plan_arc *a, size_t i,
                                       size_t *index)
{
    uint16_t seat = seats_of(p, a)->member[i];
    if (seat == NOBODY)
        return NULL;
    if (index)
        *index = seat;
    return &p->in->peers[seat];
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
    seats_of(p, a)->has_step = true;
    memset(step, 0, sizeof *step);
    step->kind = kind;
    step->arc = a->arc;
    step->ways = kind == PLAN_SPLIT ? 2 : 0;
    if (peer)
        step->peer = *peer;
}

/* A member that counts: on a peer that stays, copy not lost. */
static bool is_sound(const struct planner *p, const struct plan_arc *a,
                     size_t i)
{
    const struct plan_peer *peer = peer_of(p, a, i, NULL);
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
        const struct plan_peer *peer = peer_of(p, a, i, &k);
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
        const struct plan_peer *peer = peer_of(p, a, i, NULL);
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
        const struct plan_peer *peer = peer_of(p, a, i, &k);
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
    return seats_of(p, a)->has_step;
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

/* The largest arc of a keyspace that may be cut; NULL: none. */
static const struct plan_arc *largest_arc(const struct planner *p,
                                          keyspace_id keyspace)
{
    const struct plan_arc *largest = NULL;
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct plan_arc *a = &p->in->arcs[i];
        if (a->arc->keyspace != keyspace || !a->may_split || a->busy ||
            a->keys < 2 * a->floor_keys || has_step(p, a))
            continue;
        if (!largest || a->keys > largest->keys)
            largest = a;
    }
    return largest;
}

/* Cuts the largest arcs of a keyspace until it has enough of them; and beyond
 * that, up to twice as many, those that are PLAN_HOT times the mean: where keys
 * come at one end, its arc would grow to the ceiling else. */
static void split_few(struct planner *p, keyspace_id keyspace)
{
    size_t arcs = 0, cutting = 0;
    uint64_t keys = 0;
    for (size_t i = 0; i < p->in->arc_count; i++) {
        if (p->in->arcs[i].arc->keyspace != keyspace)
            continue;
        arcs = p->in->arcs[i].keyspace_arcs;
        keys += p->in->arcs[i].keys;
    }
    size_t want = (size_t)(p->in->vnodes * total_weight(p) + 0.5);
    while (arcs + cutting < 2 * want && p->count < p->max) {
        const struct plan_arc *largest = largest_arc(p, keyspace);
        if (!largest)
            return;
        double mean = (double)keys / (double)(arcs + cutting);
        if (arcs + cutting >= want && (double)largest->keys < PLAN_HOT * mean)
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

/* How far from even the peers are by one measure, in keys per weight. */
struct spread {
    double most, least, mean;
};

static double load_of(const struct planner *p, size_t peer, bool led)
{
    const struct load *load = &p->loads[peer];
    return (double)(led ? load->led : load->held) /
           p->in->peers[peer].weight_milli;
}

static bool may_take(const struct plan_peer *peer)
{
    return peer->up && !peer->gone && !peer->leaving;
}

static bool is_even(const struct planner *p, bool led)
{
    struct spread x = { 0 };
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < p->in->peer_count; i++) {
        if (!may_take(&p->in->peers[i]))
            continue;
        double load = load_of(p, i, led);
        x.most = count == 0 || load > x.most ? load : x.most;
        x.least = count == 0 || load < x.least ? load : x.least;
        sum += load;
        count++;
    }
    x.mean = count ? sum / (double)count : 0;
    return count < 2 ||
           (x.most <= EVEN_MOST * x.mean && x.least >= EVEN_LEAST * x.mean);
}

/* A copy or a leadership that goes from one peer to another. */
struct move {
    const struct plan_arc *arc;
    size_t from, to; /* peers */
    double gain;
};

/* The move counts only if it does not make the other the fuller one: then the
 * sum of squares of all loads falls, so nothing ever moves to and fro. What it
 * falls by is the gain. */
static void weigh_move(const struct planner *p, const struct plan_arc *a,
                       size_t from, size_t to, bool led, struct move *best)
{
    double size = (double)size_of(a);
    double change = size / p->in->peers[from].weight_milli +
                    size / p->in->peers[to].weight_milli;
    double apart = load_of(p, from, led) - load_of(p, to, led);
    double gain = size * (apart - change / 2);
    if (change <= apart && gain > best->gain)
        *best = (struct move){ a, from, to, gain };
}

static void weigh_leaders(const struct planner *p, const struct plan_arc *a,
                          struct move *best)
{
    const struct seats *seats = seats_of(p, a);
    for (size_t i = 0; i < a->arc->member_count; i++)
        if (a->arc->members[i].voter && seats->member[i] != seats->owner &&
            may_take(&p->in->peers[seats->member[i]]))
            weigh_move(p, a, seats->owner, seats->member[i], true, best);
}

/* From its fullest member to the emptiest peer that has no copy of it. */
static void weigh_copies(const struct planner *p, const struct plan_arc *a,
                         struct move *best)
{
    const struct seats *seats = seats_of(p, a);
    size_t from = seats->member[0], to = NOBODY;
    for (size_t i = 1; i < a->arc->member_count; i++)
        if (load_of(p, seats->member[i], false) > load_of(p, from, false))
            from = seats->member[i];
    for (size_t i = 0; i < p->in->peer_count; i++) {
        bool here = !may_take(&p->in->peers[i]);
        for (size_t k = 0; k < a->arc->member_count; k++)
            here = here || seats->member[k] == i;
        if (!here &&
            (to == NOBODY || load_of(p, i, false) < load_of(p, to, false)))
            to = i;
    }
    if (to != NOBODY)
        weigh_move(p, a, from, to, false, best);
}

static bool may_move(const struct planner *p, const struct plan_arc *a)
{
    const struct seats *seats = seats_of(p, a);
    return seats->may_move && !seats->has_step;
}

static void find_movable(struct planner *p)
{
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct plan_arc *a = &p->in->arcs[i];
        struct seats *seats = &p->seats[i];
        seats->may_move = !a->stays && !seats->has_step &&
                          seats->owner != NOBODY && is_settled(p, a);
        for (size_t k = 0; k < a->arc->member_count; k++)
            if (seats->member[k] == NOBODY)
                seats->may_move = false;
    }
}

static void make_move(struct planner *p, const struct move *move, bool led)
{
    add_step(p, led ? PLAN_TRANSFER : PLAN_ADD, move->arc,
             &p->in->peers[move->to].id);
    uint64_t size = size_of(move->arc);
    if (led) {
        p->loads[move->from].led -= size;
        p->loads[move->to].led += size;
    } else {
        p->loads[move->from].held -= size;
        p->loads[move->to].held += size;
        p->moving++;
    }
}

static bool balance_one(struct planner *p, bool led)
{
    if (is_even(p, led))
        return false;
    struct move best = { 0 };
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct plan_arc *a = &p->in->arcs[i];
        if (!may_move(p, a))
            continue;
        if (led)
            weigh_leaders(p, a, &best);
        else
            weigh_copies(p, a, &best);
    }
    if (best.arc)
        make_move(p, &best, led);
    return best.arc != NULL;
}

/* Two leaderships that change hands at once: x's goes to y, who gives one of
 * its own to z. */
struct chain {
    struct move first, second;
    double gain;
};

static void weigh_chain(const struct planner *p, const struct move *first,
                        const struct move *second, struct chain *best)
{
    size_t peers[3] = { first->from, first->to, second->to };
    double s1 = (double)size_of(first->arc), s2 = (double)size_of(second->arc);
    double changes[3] = { -s1, s1 - s2, s2 };
    double gain = 0;
    for (size_t i = 0; i < 3; i++) {
        double before = (double)p->loads[peers[i]].led;
        double after = before + changes[i];
        gain += (before * before - after * after) /
                p->in->peers[peers[i]].weight_milli;
    }
    /* Not for crumbs: both moves cost their arcs a moment's leader. */
    if (gain > (s1 + s2) / 4 * (s1 + s2) / 1000 && gain > best->gain)
        *best = (struct chain){ *first, *second, gain };
}

/* All ways on from first: its new leader gives up another arc. */
static void weigh_chains(const struct planner *p, const struct move *first,
                         struct chain *best)
{
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct plan_arc *a = &p->in->arcs[i];
        const struct seats *seats = seats_of(p, a);
        if (seats->owner != first->to || a == first->arc || !may_move(p, a))
            continue;
        for (size_t k = 0; k < a->arc->member_count; k++) {
            size_t to = seats->member[k];
            if (!a->arc->members[k].voter || to == first->to ||
                to == first->from || !may_take(&p->in->peers[to]))
                continue;
            struct move second = { a, first->to, to, 0 };
            weigh_chain(p, first, &second, best);
        }
    }
}

/* No one move helps: leaders sit where the copies are, so a peer may be able
 * to give only to those that are about as full. */
static bool balance_chain(struct planner *p)
{
    if (is_even(p, true) || p->max - p->count < 2)
        return false;
    struct chain best = { 0 };
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct plan_arc *a = &p->in->arcs[i];
        const struct seats *seats = seats_of(p, a);
        if (!may_move(p, a))
            continue;
        for (size_t k = 0; k < a->arc->member_count; k++) {
            size_t to = seats->member[k];
            if (!a->arc->members[k].voter || to == seats->owner ||
                !may_take(&p->in->peers[to]))
                continue;
            struct move first = { a, seats->owner, to, 0 };
            weigh_chains(p, &first, &best);
        }
    }
    if (!best.first.arc)
        return false;
    make_move(p, &best.first, true);
    make_move(p, &best.second, true);
    return true;
}

/* Where everybody sits; false: no memory. */
static bool take_seats(struct planner *p)
{
    p->seats = mem_zero(p->in->arc_count, sizeof *p->seats);
    if (!p->seats)
        return p->in->arc_count == 0;
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct arc *arc = p->in->arcs[i].arc;
        p->seats[i].owner = find_peer(p->in, &arc->owner);
        for (size_t k = 0; k < arc->member_count; k++)
            p->seats[i].member[k] = find_peer(p->in, &arc->members[k].peer);
    }
    return true;
}

/* The member that goes when the arc has a copy too many: the fullest. */
static void expect_trim(struct planner *p, const struct plan_arc *a,
                        size_t coming)
{
    const struct seats *seats = seats_of(p, a);
    size_t fullest = coming;
    for (size_t i = 0; i < a->arc->member_count; i++) {
        size_t seat = seats->member[i];
        if (seat != NOBODY &&
            (fullest == NOBODY ||
             load_of(p, seat, false) > load_of(p, fullest, false)))
            fullest = seat;
    }
    if (fullest != NOBODY && p->loads[fullest].held >= size_of(a))
        p->loads[fullest].held -= size_of(a);
}

/* Loads as they will be when what is under way has been done: else it would be
 * planned again and again, and peers that were too full become too empty. */
static void foresee(struct planner *p)
{
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct plan_arc *a = &p->in->arcs[i];
        size_t peer = a->sent ? find_peer(p->in, &a->sent_peer) : NOBODY;
        size_t owner = seats_of(p, a)->owner;
        bool there = peer != NOBODY && arc_member_of(a->arc, &a->sent_peer);
        size_t coming = NOBODY;
        if (a->sent == PLAN_TRANSFER && there && owner != NOBODY) {
            p->loads[owner].led -= size_of(a);
            p->loads[peer].led += size_of(a);
        }
        if (a->sent == PLAN_REMOVE && there)
            p->loads[peer].held -= size_of(a);
        if (a->sent == PLAN_ADD && peer != NOBODY && !there) {
            p->loads[peer].held += size_of(a);
            coming = peer;
        }
        size_t copies = a->arc->member_count + (coming != NOBODY) -
                        (a->sent == PLAN_REMOVE && there);
        if (copies > a->replicas)
            expect_trim(p, a, coming);
        if (coming != NOBODY && a->arc->member_count >= a->replicas)
            p->moving++;
    }
}

static void add_loads(struct planner *p)
{
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct plan_arc *a = &p->in->arcs[i];
        if (a->arc->member_count > a->replicas)
            p->moving++;
        for (size_t k = 0; k < a->arc->member_count; k++) {
            size_t index;
            if (!peer_of(p, a, k, &index))
                continue;
            p->loads[index].held += size_of(a);
            if (index == seats_of(p, a)->owner)
                p->loads[index].led += size_of(a);
        }
    }
}

size_t planner_steps(const struct plan_input *input, struct plan_step *steps,
                     size_t step_max)
{
    struct planner p = { .in = input, .steps = steps, .max = step_max };
    p.loads = mem_zero(input->peer_count, sizeof *p.loads);
    if (!p.loads || !take_seats(&p)) {
        free(p.loads);
        return 0;
    }
    add_loads(&p);
    foresee(&p);
    for (size_t i = 0; i < input->arc_count; i++) {
        const struct plan_arc *a = &input->arcs[i];
        if (!a->busy && !mend(&p, a))
            trim(&p, a);
    }
    split_all(&p);
    find_movable(&p);
    while (!input->partial && p.count < p.max &&
           (balance_one(&p, true) || balance_chain(&p)))
        ;
    while (!input->partial && p.count < p.max && p.moving < input->moves_max &&
           balance_one(&p, false))
        ;
    free(p.seats);
    free(p.loads);
    return p.count;
}
