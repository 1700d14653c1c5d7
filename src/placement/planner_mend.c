/* SPDX-License-Identifier: Apache-2.0 */

/* Copies: as many as wanted, on peers that stay, in as many zones as may be;
 * and no more of them than that. */

#include <stddef.h>

#include "placement/planner_state.h"

/* A peer takes a copy for the sake of its zone until it holds so many times
 * what it should: of a small zone not everything can be asked. */
#define ZONE_MOST 1.5

enum {
    NO_MEMBER = ARC_MEMBERS_MAX
};

static const struct arc *arc_at(const struct planner *p, size_t arc)
{
    return p->in->arcs[arc].arc;
}

static bool is_caught_up(const struct planner *p, size_t arc, size_t member)
{
    return p->in->arcs[arc].caught_up >> member & 1;
}

static bool is_owner(const struct planner *p, size_t arc, size_t member)
{
    const struct arc *a = arc_at(p, arc);
    return id_equal(&a->members[member].peer, &a->owner);
}

static double held_of(const struct planner *p, size_t peer)
{
    return p->peers[peer].held / p->peers[peer].weight;
}

/* Some member that counts, but not `going`, is in that zone. */
static bool zone_has(const struct planner *p, size_t arc, uint16_t zone,
                     size_t going)
{
    for (size_t i = 0; i < arc_at(p, arc)->member_count; i++) {
        size_t peer = p->arcs[arc].member[i];
        if (planner_is_sound(p, arc, i) && peer != going &&
            p->peers[peer].zone == zone)
            return true;
    }
    return false;
}

size_t planner_zones(const struct planner *p, size_t arc, size_t coming,
                     size_t going)
{
    const uint16_t *member = p->arcs[arc].member;
    size_t zones = 0;
    for (size_t i = 0; i < arc_at(p, arc)->member_count; i++) {
        if (!planner_is_sound(p, arc, i) || member[i] == going)
            continue;
        bool first = true;
        for (size_t k = 0; first && k < i; k++)
            first = !planner_is_sound(p, arc, k) || member[k] == going ||
                    p->peers[member[k]].zone != p->peers[member[i]].zone;
        zones += first;
    }
    if (coming != PLANNER_NOBODY && coming != going)
        zones += !zone_has(p, arc, p->peers[coming].zone, going);
    return zones;
}

uint16_t planner_surplus(const struct planner *p, size_t arc, size_t coming)
{
    uint16_t worst = PLANNER_NOBODY;
    size_t worst_zones = 0;
    size_t count = arc_at(p, arc)->member_count;
    for (size_t i = 0; i <= count; i++) {
        size_t peer = i < count ? p->arcs[arc].member[i] : coming;
        if (i < count && !planner_is_sound(p, arc, i))
            return p->arcs[arc].member[i]; /* that goes before all others */
        if (peer == PLANNER_NOBODY)
            continue;
        size_t zones = planner_zones(p, arc, coming, peer);
        if (worst == PLANNER_NOBODY || zones > worst_zones ||
            (zones == worst_zones && held_of(p, peer) > held_of(p, worst))) {
            worst = (uint16_t)peer;
            worst_zones = zones;
        }
    }
    return worst;
}

static bool is_member(const struct planner *p, size_t arc, size_t peer)
{
    for (size_t i = 0; i < arc_at(p, arc)->member_count; i++)
        if (p->arcs[arc].member[i] == peer)
            return true;
    return false;
}

static bool is_zone_new(const struct planner *p, size_t arc, size_t peer)
{
    return !zone_has(p, arc, p->peers[peer].zone, PLANNER_NOBODY) &&
           held_of(p, peer) < ZONE_MOST * p->full;
}

/* The emptiest peer that may take a copy and has none, before all others one
 * in a zone where there is none; PLANNER_NOBODY: none. */
static size_t spare_for(const struct planner *p, size_t arc)
{
    size_t best = PLANNER_NOBODY;
    bool best_new = false;
    for (size_t i = 0; i < p->in->peer_count; i++) {
        if (!p->peers[i].takes || is_member(p, arc, i))
            continue;
        bool is_new = is_zone_new(p, arc, i);
        if (best == PLANNER_NOBODY || is_new > best_new ||
            (is_new == best_new && held_of(p, i) < held_of(p, best))) {
            best = i;
            best_new = is_new;
        }
    }
    return best;
}

/* Why a member that does not count does not. */
static enum plan_reason reason_of(const struct planner *p, size_t arc,
                                  size_t member)
{
    size_t peer = p->arcs[arc].member[member];
    if (peer == PLANNER_NOBODY || p->in->peers[peer].gone)
        return PLAN_FOR_GONE;
    return p->in->peers[peer].leaving ? PLAN_FOR_LEAVING : PLAN_FOR_COPIES;
}

static void add_of(struct planner *p, enum plan_kind kind,
                   enum plan_reason reason, size_t arc, size_t member)
{
    struct plan_step *step = planner_add(p, kind, reason, arc);
    if (step)
        step->peer = arc_at(p, arc)->members[member].peer;
}

/* It is there, and has everything: its vote helps as long as it is a member. */
static bool still_helps(const struct planner *p, size_t arc, size_t member)
{
    size_t peer = p->arcs[arc].member[member];
    return peer != PLANNER_NOBODY && p->in->peers[peer].up &&
           !(p->in->arcs[arc].lost >> member & 1) &&
           is_caught_up(p, arc, member);
}

/* One that does not count, and does not lead. Who is not there goes before who
 * only leaves: without the leaver's vote the others may be too few to agree
 * that the dead one goes. */
static size_t unsound_member(const struct planner *p, size_t arc)
{
    size_t leaver = NO_MEMBER;
    for (size_t i = 0; i < arc_at(p, arc)->member_count; i++) {
        if (planner_is_sound(p, arc, i) || is_owner(p, arc, i))
            continue;
        if (!still_helps(p, arc, i))
            return i;
        if (leaver == NO_MEMBER)
            leaver = i;
    }
    return leaver;
}

/* A member that lost its copy, on a peer that stays. */
static size_t lost_member(const struct planner *p, size_t arc)
{
    for (size_t i = 0; i < arc_at(p, arc)->member_count; i++) {
        size_t peer = p->arcs[arc].member[i];
        if ((p->in->arcs[arc].lost >> i & 1) && peer != PLANNER_NOBODY &&
            p->in->peers[peer].up && !p->in->peers[peer].leaving &&
            !is_owner(p, arc, i))
            return i;
    }
    return NO_MEMBER;
}

/* Of the voters that are ready, but do not lead, the one that leads least. */
static size_t next_leader(const struct planner *p, size_t arc)
{
    size_t best = NO_MEMBER;
    const uint16_t *peer = p->arcs[arc].member;
    for (size_t i = 0; i < arc_at(p, arc)->member_count; i++) {
        if (!arc_at(p, arc)->members[i].voter || is_owner(p, arc, i) ||
            !planner_is_sound(p, arc, i) || !is_caught_up(p, arc, i))
            continue;
        if (best == NO_MEMBER ||
            p->peers[peer[i]].led * p->peers[peer[best]].weight <
                p->peers[peer[best]].led * p->peers[peer[i]].weight)
            best = i;
    }
    return best;
}

static void transfer(struct planner *p, enum plan_reason reason, size_t arc,
                     size_t member)
{
    add_of(p, PLAN_TRANSFER, reason, arc, member);
    if (p->arcs[arc].owner != PLANNER_NOBODY)
        p->peers[p->arcs[arc].owner].led -= p->arcs[arc].led;
    p->peers[p->arcs[arc].member[member]].led += p->arcs[arc].led;
}

/* The leader is on a peer that leaves: somebody else must lead first. */
static bool hand_over(struct planner *p, size_t arc)
{
    for (size_t i = 0; i < arc_at(p, arc)->member_count; i++) {
        if (!is_owner(p, arc, i) || planner_is_sound(p, arc, i))
            continue;
        size_t next = next_leader(p, arc);
        if (next == NO_MEMBER)
            return false;
        transfer(p, reason_of(p, arc, i), arc, next);
        return true;
    }
    return false;
}

/* A learner that is ready and counts. */
static size_t ready_learner(const struct planner *p, size_t arc)
{
    for (size_t i = 0; i < arc_at(p, arc)->member_count; i++)
        if (!arc_at(p, arc)->members[i].voter && planner_is_sound(p, arc, i) &&
            is_caught_up(p, arc, i))
            return i;
    return NO_MEMBER;
}

/* Why a copy is missing. */
static enum plan_reason reason_for_add(const struct planner *p, size_t arc)
{
    for (size_t i = 0; i < arc_at(p, arc)->member_count; i++)
        if (!planner_is_sound(p, arc, i))
            return reason_of(p, arc, i);
    return PLAN_FOR_COPIES;
}

/* The voters beside member are enough by themselves. Those on peers that are to
 * go count as long as they are there. */
static bool others_agree(const struct planner *p, size_t arc, size_t member)
{
    const struct arc *a = arc_at(p, arc);
    size_t voters = 0, ready = 0;
    for (size_t i = 0; i < a->member_count; i++) {
        if (i == member || !a->members[i].voter)
            continue;
        voters++;
        ready += still_helps(p, arc, i);
    }
    return ready > voters / 2;
}

static bool add_copy(struct planner *p, size_t arc)
{
    size_t spare = spare_for(p, arc);
    if (spare != PLANNER_NOBODY &&
        arc_at(p, arc)->member_count < ARC_MEMBERS_MAX - 1) {
        planner_add_for(p, PLAN_ADD, reason_for_add(p, arc), arc, spare);
        p->peers[spare].held += p->arcs[arc].bytes;
        return true;
    }
    /* Its own peer may be the only one that can hold a new copy. */
    size_t lost = lost_member(p, arc);
    if (lost != NO_MEMBER && others_agree(p, arc, lost)) {
        add_of(p, PLAN_REMOVE, PLAN_FOR_COPIES, arc, lost);
        return true;
    }
    return false;
}

/* Voters are added in pairs that are ready together, so that an even number
 * does not last. */
static bool add_voter(struct planner *p, size_t arc,
                      const struct planner_tally *t)
{
    size_t learner = ready_learner(p, arc);
    if (learner == NO_MEMBER || t->sound_voters >= t->want_voters ||
        t->sound_ready < t->want_voters)
        return false;
    add_of(p, PLAN_PROMOTE, PLAN_FOR_COPIES, arc, learner);
    return true;
}

/* Nothing is to be waited for but a peer that is down, too: each copy that can
 * be ready is, and those that vote are enough without member. Else two dead
 * peers could keep each other in an arc, the one because the other is awaited.
 */
static bool is_dead_weight(const struct planner *p, size_t arc, size_t member)
{
    const struct arc *a = arc_at(p, arc);
    size_t peer = p->arcs[arc].member[member];
    size_t voters = 0, ready_voters = 0;
    if (peer != PLANNER_NOBODY && !p->in->peers[peer].gone)
        return false;
    for (size_t i = 0; i < a->member_count; i++) {
        bool ready = planner_is_sound(p, arc, i) && is_caught_up(p, arc, i);
        size_t at = p->arcs[arc].member[i];
        if (planner_is_sound(p, arc, i) && !ready && p->in->peers[at].up)
            return false;
        voters += i != member && a->members[i].voter;
        ready_voters += ready && a->members[i].voter;
    }
    return ready_voters > voters / 2;
}

static bool mend(struct planner *p, size_t arc)
{
    struct planner_tally t = planner_tally_of(p, arc);
    if (t.sound < t.want) {
        p->mending = true;
        if (add_copy(p, arc))
            return true;
    }
    if (add_voter(p, arc, &t))
        return true;
    size_t unsound = unsound_member(p, arc);
    if (unsound != NO_MEMBER &&
        ((t.sound_ready >= t.want && t.sound_voters >= t.want_voters) ||
         is_dead_weight(p, arc, unsound))) {
        add_of(p, PLAN_REMOVE, reason_of(p, arc, unsound), arc, unsound);
        return true;
    }
    return hand_over(p, arc);
}

/* The leader's own copy is the one too many: another must lead first, or the
 * copy that was just made would go, and come again, and go. */
static bool step_aside(struct planner *p, size_t arc)
{
    size_t next = next_leader(p, arc);
    if (next != NO_MEMBER) {
        transfer(p, PLAN_FOR_TRIM, arc, next);
        return true;
    }
    size_t learner = ready_learner(p, arc);
    if (learner == NO_MEMBER)
        return false;
    add_of(p, PLAN_PROMOTE, PLAN_FOR_TRIM, arc, learner);
    return true;
}

static size_t member_on(const struct planner *p, size_t arc, size_t peer)
{
    for (size_t i = 0; i < arc_at(p, arc)->member_count; i++)
        if (p->arcs[arc].member[i] == peer)
            return i;
    return NO_MEMBER;
}

/* A copy goes; a voter only when a ready learner can follow it. */
static bool trim_copy(struct planner *p, size_t arc,
                      const struct planner_tally *t)
{
    size_t peer = p->arcs[arc].surplus;
    if (peer == PLANNER_NOBODY)
        return false;
    size_t worst = member_on(p, arc, peer);
    if (worst == NO_MEMBER || !planner_is_sound(p, arc, worst))
        return false;
    if (is_owner(p, arc, worst))
        return step_aside(p, arc);
    if (arc_at(p, arc)->members[worst].voter &&
        t->sound_voters <= t->want_voters) {
        size_t learner = ready_learner(p, arc);
        if (learner == NO_MEMBER)
            return false;
        add_of(p, PLAN_PROMOTE, PLAN_FOR_TRIM, arc, learner);
        return true;
    }
    add_of(p, PLAN_REMOVE, PLAN_FOR_TRIM, arc, worst);
    return true;
}

/* Too many voters or copies, all that is wanted being ready. */
static void trim(struct planner *p, size_t arc)
{
    struct planner_tally t = planner_tally_of(p, arc);
    if (t.sound_ready < t.want)
        return;
    if (t.sound > t.want) {
        trim_copy(p, arc, &t);
        return;
    }
    if (t.voters <= t.want_voters || t.want_voters == 0)
        return;
    for (size_t i = 0; i < arc_at(p, arc)->member_count; i++) {
        if (arc_at(p, arc)->members[i].voter && !is_owner(p, arc, i)) {
            add_of(p, PLAN_DEMOTE, PLAN_FOR_TRIM, arc, i);
            return;
        }
    }
}

void planner_mend(struct planner *p)
{
    for (size_t i = 0; i < p->in->arc_count && p->count < p->max; i++)
        if (!p->in->arcs[i].busy && !mend(p, i))
            trim(p, i);
}

/* The emptiest peer in a zone where the arc has no copy, which it would then
 * keep; PLANNER_NOBODY: none. */
static size_t zone_spare(const struct planner *p, size_t arc,
                         const uint16_t *emptiest, size_t zones)
{
    size_t best = PLANNER_NOBODY;
    for (size_t z = 0; z < zones; z++) {
        size_t peer = emptiest[z];
        if (peer != PLANNER_NOBODY && is_zone_new(p, arc, peer) &&
            !is_member(p, arc, peer) &&
            (best == PLANNER_NOBODY || held_of(p, peer) < held_of(p, best)))
            best = peer;
    }
    return best;
}

/* Of each of the first zones; how many. */
static size_t find_emptiest(const struct planner *p, uint16_t *emptiest,
                            size_t zones_max)
{
    size_t zones = 0;
    for (size_t i = 0; i < zones_max; i++)
        emptiest[i] = PLANNER_NOBODY;
    for (size_t i = 0; i < p->in->peer_count; i++) {
        size_t zone = p->peers[i].zone;
        if (!p->peers[i].takes || zone >= zones_max)
            continue;
        zones = zone >= zones ? zone + 1 : zones;
        if (emptiest[zone] == PLANNER_NOBODY ||
            held_of(p, i) < held_of(p, emptiest[zone]))
            emptiest[zone] = (uint16_t)i;
    }
    return zones;
}

void planner_mend_zones(struct planner *p)
{
    enum {
        ZONES_MAX = 64 /* with more, hardly an arc has two copies in one */
    };
    uint16_t emptiest[ZONES_MAX];
    size_t moves_max = p->in->moves_max ? p->in->moves_max : 1;
    size_t zones = find_emptiest(p, emptiest, ZONES_MAX);
    if (p->mending || zones < 2)
        return;
    for (size_t i = 0; i < p->in->arc_count; i++) {
        if (p->count == p->max || p->moving >= moves_max)
            return;
        size_t want = planner_tally_of(p, i).want;
        want = want < p->zone_count ? want : p->zone_count;
        if (!p->arcs[i].may_move ||
            planner_zones(p, i, PLANNER_NOBODY, PLANNER_NOBODY) >= want)
            continue;
        size_t to = zone_spare(p, i, emptiest, zones);
        size_t from = to == PLANNER_NOBODY ? to : planner_surplus(p, i, to);
        if (from == PLANNER_NOBODY || from == to ||
            (p->in->arcs[i].stays && from == p->arcs[i].owner) ||
            !planner_has_budget(p, i, from, to))
            continue;
        planner_move_copy(p, PLAN_FOR_ZONES, i, from, to);
        zones = find_emptiest(p, emptiest, ZONES_MAX);
    }
}
