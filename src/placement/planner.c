/* SPDX-License-Identifier: Apache-2.0 */

/* The next steps of the ring: who sits where, how full everybody is and will
 * be; then each kind of plan in its turn. */

#include "placement/planner.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "placement/planner_state.h"

/* What an arc costs its peers beside its records. Without it a ring of next to
 * nothing would never rest: each put would change who is the fullest. */
#define ARC_BYTES 1024

struct plan_step *planner_add(struct planner *p, enum plan_kind kind,
                              enum plan_reason reason, size_t arc)
{
    if (p->count == p->max)
        return NULL;
    struct plan_step *step = &p->steps[p->count++];
    p->arcs[arc].has_step = true;
    memset(step, 0, sizeof *step);
    step->kind = kind;
    step->reason = reason;
    step->arc = p->in->arcs[arc].arc;
    return step;
}

void planner_add_for(struct planner *p, enum plan_kind kind,
                     enum plan_reason reason, size_t arc, size_t peer)
{
    struct plan_step *step = planner_add(p, kind, reason, arc);
    if (!step)
        return;
    step->peer = p->in->peers[peer].id;
    if (kind == PLAN_ADD)
        step->bytes = p->in->arcs[arc].bytes;
}

bool planner_is_sound(const struct planner *p, size_t arc, size_t member)
{
    size_t peer = p->arcs[arc].member[member];
    return peer != PLANNER_NOBODY && p->peers[peer].stays &&
           !(p->in->arcs[arc].lost >> member & 1);
}

struct planner_tally planner_tally_of(const struct planner *p, size_t arc)
{
    const struct plan_arc *a = &p->in->arcs[arc];
    struct planner_tally t = { 0 };
    for (size_t i = 0; i < a->arc->member_count; i++) {
        bool sound = planner_is_sound(p, arc, i);
        bool voter = a->arc->members[i].voter;
        t.sound += sound;
        t.sound_ready += sound && (a->caught_up >> i & 1);
        t.voters += voter;
        t.sound_voters += sound && voter;
    }
    t.want = a->replicas < p->usable ? a->replicas : p->usable;
    t.want_voters = t.want % 2 ? t.want : t.want ? t.want - 1 : 0;
    return t;
}

/* Whether nothing but balance could be improved. */
static bool is_settled(const struct planner *p, size_t arc)
{
    const struct plan_arc *a = &p->in->arcs[arc];
    struct planner_tally t = planner_tally_of(p, arc);
    for (size_t i = 0; i < a->arc->member_count; i++)
        if (p->arcs[arc].member[i] == PLANNER_NOBODY)
            return false;
    return !a->busy && p->arcs[arc].owner != PLANNER_NOBODY &&
           t.sound_ready == a->arc->member_count && t.sound == t.want &&
           t.voters == t.want_voters;
}

bool planner_has_budget(const struct planner *p, size_t arc, size_t from,
                        size_t to)
{
    const struct plan_input *in = p->in;
    if (in->peer_moves_max && (p->peers[from].moves >= in->peer_moves_max ||
                               p->peers[to].moves >= in->peer_moves_max))
        return false;
    return !in->moves_bytes_max || p->moving == 0 ||
           p->moving_bytes + (double)in->arcs[arc].bytes <=
               (double)in->moves_bytes_max;
}

void planner_move_copy(struct planner *p, enum plan_reason reason, size_t arc,
                       size_t from, size_t to)
{
    double bytes = p->arcs[arc].bytes;
    planner_add_for(p, PLAN_ADD, reason, arc, to);
    p->peers[from].held -= bytes;
    p->peers[to].held += bytes;
    p->peers[from].moves++;
    p->peers[to].moves++;
    p->moving++;
    p->moving_bytes += (double)p->in->arcs[arc].bytes;
}

/* A peer's place, to be found by its id or its zone. */
struct place {
    struct id id;
    const char *zone;
    uint16_t peer;
};

static int by_id(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return id_compare(&x->id, &y->id);
}

static int by_zone(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return strcmp(x->zone, y->zone);
}

/* Numbers the zones, and leaves the places sorted by id. */
static void take_peers(struct planner *p, struct place *places, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct plan_peer *in = &p->in->peers[i];
        struct planner_peer *peer = &p->peers[i];
        places[i] =
            (struct place){ in->id, in->zone ? in->zone : "", (uint16_t)i };
        peer->weight = in->weight_milli ? in->weight_milli / 1000.0 : 0.001;
        peer->stays = !in->gone && !in->leaving;
        peer->takes = peer->stays && in->up;
        p->usable += peer->stays;
        p->weight += peer->stays ? peer->weight : 0;
    }
    qsort(places, count, sizeof *places, by_zone);
    uint16_t zone = 0;
    bool seen = false;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(places[i].zone, places[i - 1].zone) != 0) {
            zone++;
            seen = false;
        }
        p->peers[places[i].peer].zone = zone;
        bool stays = p->peers[places[i].peer].stays;
        p->zone_count += stays && !seen;
        seen = seen || stays;
    }
    qsort(places, count, sizeof *places, by_id);
}

static uint16_t find_peer(const struct place *places, size_t count,
                          const struct id *id)
{
    struct place key = { .id = *id };
    const struct place *found =
        bsearch(&key, places, count, sizeof *places, by_id);
    return found ? found->peer : PLANNER_NOBODY;
}

/* An arc's place, to be sorted. */
struct spot {
    const struct arc *arc;
    size_t at;
};

static int by_key(const void *a, const void *b)
{
    const struct spot *x = a, *y = b;
    if (x->arc->keyspace != y->arc->keyspace)
        return x->arc->keyspace < y->arc->keyspace ? -1 : 1;
    int order = span_compare(x->arc->lo, y->arc->lo);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* Groups the arcs by keyspace, in the order of their keys. */
static void take_keyspaces(struct planner *p, struct spot *spots)
{
    size_t count = p->in->arc_count;
    for (size_t i = 0; i < count; i++)
        spots[i] = (struct spot){ p->in->arcs[i].arc, i };
    qsort(spots, count, sizeof *spots, by_key);
    size_t want = (size_t)(p->in->vnodes * p->weight + 0.5);
    for (size_t i = 0; i < count; i++) {
        p->sorted[i] = spots[i].at;
        const struct plan_arc *a = &p->in->arcs[spots[i].at];
        if (i == 0 || spots[i - 1].arc->keyspace != a->arc->keyspace)
            p->keyspaces[p->keyspace_count++] =
                (struct planner_keyspace){ .first = i,
                                           .want = want ? want : 1 };
        struct planner_keyspace *ks = &p->keyspaces[p->keyspace_count - 1];
        ks->count++;
        if (ks->arcs < a->keyspace_arcs)
            ks->arcs = a->keyspace_arcs;
    }
}

/* The loads of the arcs: the greater share of bytes and requests. Keyspaces
 * weigh likewise, by their shares of all. */
static void weigh_arcs(struct planner *p)
{
    double all_bytes = 0, all_requests = 0;
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct plan_arc *a = &p->in->arcs[i];
        p->arcs[i].bytes =
            (double)(a->bytes_usual ? a->bytes_usual : a->bytes) + ARC_BYTES;
        all_bytes += p->arcs[i].bytes;
        all_requests += (double)p->in->arcs[i].requests;
    }
    double trickle = PLANNER_TRICKLE;
    double most = trickle * (double)p->in->arc_count;
    double scale = all_requests > most ? all_requests : most;
    for (size_t k = 0; k < p->keyspace_count; k++) {
        struct planner_keyspace *ks = &p->keyspaces[k];
        const size_t *arcs = &p->sorted[ks->first];
        double requests = 0;
        for (size_t i = 0; i < ks->count; i++) {
            ks->bytes += p->arcs[arcs[i]].bytes;
            requests += (double)p->in->arcs[arcs[i]].requests;
        }
        double weight = ks->bytes / all_bytes;
        if (requests / scale > weight)
            weight = requests / scale;
        if (requests < trickle * (double)ks->count)
            requests = trickle * (double)ks->count;
        for (size_t i = 0; i < ks->count; i++) {
            struct planner_arc *arc = &p->arcs[arcs[i]];
            double share = arc->bytes / ks->bytes;
            double asked = (double)p->in->arcs[arcs[i]].requests / requests;
            share = asked > share ? asked : share;
            arc->led = share * weight;
            arc->heat = share * (double)ks->want;
        }
        ks->arcs = ks->arcs > ks->count ? ks->arcs : ks->count;
    }
}

/* Everything by its place in the tables; false: no memory. */
static bool take_seats(struct planner *p)
{
    size_t count = p->in->peer_count;
    count = count < PLANNER_NOBODY ? count : PLANNER_NOBODY - 1;
    struct place *places = mem_array(count, sizeof *places);
    struct spot *spots = mem_array(p->in->arc_count, sizeof *spots);
    bool done = places && spots;
    if (done) {
        take_peers(p, places, count);
        take_keyspaces(p, spots);
    }
    for (size_t i = 0; done && i < p->in->arc_count; i++) {
        const struct arc *arc = p->in->arcs[i].arc;
        p->arcs[i].owner = find_peer(places, count, &arc->owner);
        p->arcs[i].surplus = PLANNER_NOBODY;
        for (size_t k = 0; k < arc->member_count; k++)
            p->arcs[i].member[k] =
                find_peer(places, count, &arc->members[k].peer);
    }
    free(places);
    free(spots);
    return done;
}

/* What everybody has now. */
static void add_loads(struct planner *p)
{
    weigh_arcs(p);
    for (size_t i = 0; i < p->in->arc_count; i++) {
        struct planner_arc *arc = &p->arcs[i];
        for (size_t k = 0; k < p->in->arcs[i].arc->member_count; k++)
            if (arc->member[k] != PLANNER_NOBODY)
                p->peers[arc->member[k]].held += arc->bytes;
        if (arc->owner != PLANNER_NOBODY)
            p->peers[arc->owner].led += arc->led;
        size_t want = p->in->arcs[i].replicas;
        want = want < p->usable ? want : p->usable;
        p->full += arc->bytes * (double)want / (p->weight > 0 ? p->weight : 1);
    }
}

/* The peer that a step just sent is about. */
static size_t sent_peer(const struct planner *p, const struct plan_arc *a)
{
    for (size_t i = 0; a->sent && i < p->in->peer_count; i++)
        if (id_equal(&p->in->peers[i].id, &a->sent_peer))
            return i;
    return PLANNER_NOBODY;
}

/* A copy too many, come or coming, will go; until then it is a move. */
static void foresee_trim(struct planner *p, size_t i, size_t copies,
                         size_t coming)
{
    const struct plan_arc *a = &p->in->arcs[i];
    struct planner_arc *arc = &p->arcs[i];
    struct planner_tally t = planner_tally_of(p, i);
    if (copies <= t.want)
        return;
    p->moving++;
    p->moving_bytes += (double)a->bytes;
    arc->surplus = planner_surplus(p, i, coming);
    if (arc->surplus != PLANNER_NOBODY) {
        p->peers[arc->surplus].held -= arc->bytes;
        p->peers[arc->surplus].moves++;
    }
    if (coming != PLANNER_NOBODY)
        p->peers[coming].moves++;
    for (size_t k = 0; k < a->arc->member_count; k++)
        if (!a->arc->members[k].voter && arc->member[k] != PLANNER_NOBODY &&
            arc->member[k] != arc->surplus)
            p->peers[arc->member[k]].moves++;
}

/* Loads as they will be when what is under way has been done: else it would be
 * planned again and again, and peers that were too full become too empty. */
static void foresee(struct planner *p)
{
    for (size_t i = 0; i < p->in->arc_count; i++) {
        const struct plan_arc *a = &p->in->arcs[i];
        size_t peer = sent_peer(p, a);
        struct planner_arc *arc = &p->arcs[i];
        bool there =
            peer != PLANNER_NOBODY && arc_member_of(a->arc, &a->sent_peer);
        size_t coming = PLANNER_NOBODY;
        if (a->sent == PLAN_TRANSFER && there && arc->owner != PLANNER_NOBODY) {
            p->peers[arc->owner].led -= arc->led;
            p->peers[peer].led += arc->led;
        }
        bool going = a->sent == PLAN_REMOVE && there;
        if (going)
            p->peers[peer].held -= arc->bytes;
        if (a->sent == PLAN_ADD && peer != PLANNER_NOBODY && !there) {
            p->peers[peer].held += arc->bytes;
            coming = peer;
        }
        p->merging += a->sent == PLAN_MERGE;
        size_t copies =
            a->arc->member_count + (coming != PLANNER_NOBODY) - going;
        foresee_trim(p, i, copies, coming);
    }
    for (size_t k = 0; k < p->keyspace_count; k++) {
        struct planner_keyspace *ks = &p->keyspaces[k];
        for (size_t i = ks->first; i < ks->first + ks->count; i++) {
            enum plan_kind sent = p->in->arcs[p->sorted[i]].sent;
            ks->arcs += sent == PLAN_SPLIT;
            ks->arcs -= sent == PLAN_MERGE && ks->arcs > 1;
        }
    }
}

static void find_movable(struct planner *p)
{
    for (size_t i = 0; i < p->in->arc_count; i++)
        p->arcs[i].may_move = !p->arcs[i].has_step && is_settled(p, i);
}

static bool begin(struct planner *p)
{
    p->peers = mem_zero(p->in->peer_count, sizeof *p->peers);
    p->arcs = mem_zero(p->in->arc_count, sizeof *p->arcs);
    p->sorted = mem_array(p->in->arc_count, sizeof *p->sorted);
    p->keyspaces = mem_zero(p->in->arc_count, sizeof *p->keyspaces);
    return p->peers && p->arcs && p->sorted && p->keyspaces && take_seats(p);
}

static void end(struct planner *p)
{
    free(p->peers);
    free(p->arcs);
    free(p->sorted);
    free(p->keyspaces);
}

size_t planner_steps(const struct plan_input *input, struct plan_step *steps,
                     size_t step_max)
{
    struct planner p = { .in = input, .steps = steps, .max = step_max };
    if (begin(&p)) {
        add_loads(&p);
        foresee(&p);
        planner_mend(&p);
        find_movable(&p);
        if (!input->paused) {
            if (!input->partial)
                planner_mend_zones(&p);
            planner_cut(&p);
            planner_merge(&p);
        }
        if (!input->paused && !input->partial)
            planner_balance(&p);
    }
    end(&p);
    return p.count;
}

void planner_shares(const struct plan_input *input, struct plan_shares *out)
{
    struct planner p = { .in = input };
    memset(out, 0, sizeof *out);
    if (begin(&p)) {
        add_loads(&p);
        double weight = 0, led = 0, held = 0;
        for (size_t i = 0; i < input->peer_count; i++) {
            const struct planner_peer *peer = &p.peers[i];
            weight += peer->takes ? peer->weight : 0;
            led += peer->takes ? peer->led : 0;
            held += peer->takes ? peer->held : 0;
        }
        bool first = true;
        for (size_t i = 0; i < input->peer_count; i++) {
            const struct planner_peer *peer = &p.peers[i];
            if (!peer->takes || led <= 0 || held <= 0)
                continue;
            double l = peer->led / peer->weight * weight / led;
            double h = peer->held / peer->weight * weight / held;
            out->led_most = first || l > out->led_most ? l : out->led_most;
            out->led_least = first || l < out->led_least ? l : out->led_least;
            out->held_most = first || h > out->held_most ? h : out->held_most;
            out->held_least =
                first || h < out->held_least ? h : out->held_least;
            first = false;
        }
        for (size_t i = 0; i < input->arc_count; i++)
            out->bytes += input->arcs[i].bytes;
        out->arcs = input->arc_count;
    }
    end(&p);
}
