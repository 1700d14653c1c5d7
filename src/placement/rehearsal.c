/* SPDX-License-Identifier: Apache-2.0 */

/* A ring in which each step of the planner is done at once. */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "placement/planner.h"

enum {
    TURN_STEPS = 256,
    DIGITS = 8 /* bytes of a key that a cut reckons with */
};

/* An arc, its bounds, and which of the input's it is. */
struct part {
    struct arc arc; /* first: steps point at it */
    size_t at;
    uint8_t *lo, *hi;
    struct part *next_dead;
};

struct rehearsal {
    struct plan_input in; /* its arrays are ours */
    struct plan_peer *peers;
    struct plan_arc *arcs;
    struct part **parts; /* as arcs */
    size_t arc_cap;
    struct part *dead; /* merged away in the last turn */
    struct plan_step steps[TURN_STEPS];
    arc_id last_id;
    replica_id last_replica;
    uint64_t moved;
};

static void part_free(struct part *part)
{
    if (!part)
        return;
    free(part->lo);
    free(part->hi);
    free(part);
}

static uint8_t *copy_key(struct span key)
{
    uint8_t *copy = mem_array(key.len, 1);
    if (copy && key.len)
        memcpy(copy, key.data, key.len);
    return copy;
}

/* A copy of arc from lo to hi. */
static struct part *part_new(const struct arc *arc, struct span lo,
                             struct span hi, bool has_hi)
{
    struct part *part = mem_zero(1, sizeof *part);
    if (!part)
        return NULL;
    part->arc = *arc;
    part->lo = copy_key(lo);
    part->hi = copy_key(hi);
    if (!part->lo || !part->hi) {
        part_free(part);
        return NULL;
    }
    part->arc.lo = span_of(part->lo, lo.len);
    part->arc.hi = span_of(part->hi, hi.len);
    part->arc.has_hi = has_hi;
    return part;
}

static void bury(struct rehearsal *r)
{
    while (r->dead) {
        struct part *next = r->dead->next_dead;
        part_free(r->dead);
        r->dead = next;
    }
}

void rehearsal_free(struct rehearsal *r)
{
    if (!r)
        return;
    bury(r);
    for (size_t i = 0; r->parts && i < r->in.arc_count; i++)
        part_free(r->parts[i]);
    for (size_t i = 0; r->peers && i < r->in.peer_count; i++)
        free((char *)(uintptr_t)r->peers[i].zone);
    free(r->parts);
    free(r->arcs);
    free(r->peers);
    free(r);
}

/* Room for count arcs more; the input's arrays follow. */
static bool reserve(struct rehearsal *r, size_t count)
{
    size_t need = r->in.arc_count + count;
    if (need <= r->arc_cap)
        return true;
    size_t cap = need + need / 2;
    struct plan_arc *arcs = mem_resize(r->arcs, cap, sizeof *arcs);
    if (!arcs)
        return false;
    r->arcs = arcs;
    r->in.arcs = arcs;
    struct part **parts = mem_resize(r->parts, cap, sizeof *parts);
    if (!parts)
        return false;
    r->parts = parts;
    r->arc_cap = cap;
    return true;
}

static void append(struct rehearsal *r, const struct plan_arc *arc,
                   struct part *part)
{
    size_t at = r->in.arc_count++;
    part->at = at;
    r->parts[at] = part;
    r->arcs[at] = *arc;
    r->arcs[at].arc = &part->arc;
    if (part->arc.id > r->last_id)
        r->last_id = part->arc.id;
}

int rehearsal_add_peer(struct rehearsal *r, const struct plan_peer *peer)
{
    struct plan_peer *peers =
        mem_resize(r->peers, r->in.peer_count + 1, sizeof *peers);
    if (!peers)
        return DLHT_ENOMEM;
    r->peers = peers;
    r->in.peers = peers;
    const char *zone = peer->zone ? peer->zone : "";
    size_t len = strlen(zone) + 1;
    char *copy = malloc(len);
    if (!copy)
        return DLHT_ENOMEM;
    memcpy(copy, zone, len);
    peers[r->in.peer_count] = *peer;
    peers[r->in.peer_count].zone = copy;
    r->in.peer_count++;
    return DLHT_OK;
}

int rehearsal_new(const struct plan_input *input, struct rehearsal **out)
{
    *out = NULL;
    struct rehearsal *r = mem_zero(1, sizeof *r);
    if (!r)
        return DLHT_ENOMEM;
    r->in = *input;
    r->in.peers = NULL;
    r->in.arcs = NULL;
    r->in.peer_count = 0;
    r->in.arc_count = 0;
    bool done = reserve(r, input->arc_count + 1);
    for (size_t i = 0; done && i < input->peer_count; i++)
        done = rehearsal_add_peer(r, &input->peers[i]) == DLHT_OK;
    for (size_t i = 0; done && i < input->arc_count; i++) {
        const struct arc *arc = input->arcs[i].arc;
        struct part *part = part_new(arc, arc->lo, arc->hi, arc->has_hi);
        done = part != NULL;
        if (part)
            append(r, &input->arcs[i], part);
    }
    if (!done) {
        rehearsal_free(r);
        return DLHT_ENOMEM;
    }
    for (size_t i = 0; i < r->in.arc_count; i++) {
        r->arcs[i].busy = false;
        r->arcs[i].sent = 0;
    }
    *out = r;
    return DLHT_OK;
}

struct plan_input *rehearsal_input(struct rehearsal *r)
{
    return &r->in;
}

uint64_t rehearsal_bytes_moved(const struct rehearsal *r)
{
    return r->moved;
}

static const struct plan_peer *peer_of(const struct rehearsal *r,
                                       const struct id *id)
{
    for (size_t i = 0; i < r->in.peer_count; i++)
        if (id_equal(&r->peers[i].id, id))
            return &r->peers[i];
    return NULL;
}

static bool is_live(const struct rehearsal *r, const struct id *id)
{
    const struct plan_peer *peer = peer_of(r, id);
    return peer && peer->up && !peer->gone;
}

/* What happens by itself: who is there catches up, who is not leads nothing. */
static void settle_groups(struct rehearsal *r)
{
    for (size_t i = 0; i < r->in.arc_count; i++) {
        struct plan_arc *a = &r->arcs[i];
        struct arc *arc = &r->parts[i]->arc;
        size_t voter = ARC_MEMBERS_MAX;
        a->caught_up = 0;
        for (size_t k = 0; k < arc->member_count; k++) {
            if (!is_live(r, &arc->members[k].peer) || (a->lost >> k & 1))
                continue;
            a->caught_up |= (uint16_t)(1u << k);
            if (arc->members[k].voter && voter == ARC_MEMBERS_MAX)
                voter = k;
        }
        if (voter < ARC_MEMBERS_MAX && !is_live(r, &arc->owner))
            arc->owner = arc->members[voter].peer;
    }
}

/* The key at share j of k between lo and hi; false: there is none. */
static bool key_between(struct span lo, struct span hi, bool has_hi, uint64_t j,
                        uint64_t k, struct buf *out)
{
    size_t same = 0;
    while (has_hi && same < hi.len &&
           (same < lo.len ? lo.data[same] : 0) == hi.data[same])
        same++;
    uint64_t from = span_prefix8(span_tail(lo, same));
    uint64_t to = has_hi ? span_prefix8(span_tail(hi, same)) : UINT64_MAX;
    buf_reset(out);
    if (to > from && to - from > k) {
        uint64_t x = from + (to - from) / k * j;
        for (size_t i = 0; i < same; i++)
            buf_append_byte(out, i < lo.len ? lo.data[i] : 0);
        for (int i = DIGITS - 1; i >= 0; i--)
            buf_append_byte(out, (uint8_t)(x >> 8 * i));
    } else {
        uint64_t x = UINT64_MAX / k * j;
        buf_append_span(out, lo);
        for (int i = DIGITS - 1; i >= 0; i--)
            buf_append_byte(out, (uint8_t)(x >> 8 * i));
    }
    struct span key = buf_span(out);
    return !out->failed && span_compare(lo, key) < 0 &&
           (!has_hi || span_compare(key, hi) < 0);
}

/* Arcs more of a keyspace, the ones not in the input too. */
static void count_arcs(struct rehearsal *r, keyspace_id keyspace, size_t more,
                       size_t less)
{
    for (size_t i = 0; i < r->in.arc_count; i++)
        if (r->arcs[i].arc->keyspace == keyspace)
            r->arcs[i].keyspace_arcs += more - less;
}

static uint64_t share(uint64_t all, uint64_t j, uint64_t ways)
{
    return all / ways + (j < all % ways);
}

/* Part j of an arc of so many, from lo to hi. */
static void give_part(struct plan_arc *to, const struct plan_arc *all,
                      uint64_t j, uint64_t ways)
{
    to->keys = share(all->keys, j, ways);
    to->bytes = share(all->bytes, j, ways);
    to->bytes_usual = 0;
    to->requests = share(all->requests, j, ways);
}

/* The parts but the first, from right to left, each cut off the arc's end; an
 * arc without a key between its bounds is never asked for again. */
static int do_split(struct rehearsal *r, struct part *part, unsigned ways)
{
    struct buf key = { 0 };
    struct arc *arc = &part->arc;
    if (!reserve(r, ways))
        return DLHT_ENOMEM;
    const struct plan_arc whole = r->arcs[part->at];
    uint8_t *lo_of = copy_key(arc->lo);
    const struct span lo = span_of(lo_of, arc->lo.len);
    uint8_t *hi_of = copy_key(arc->hi);
    const struct span hi = span_of(hi_of, arc->hi.len);
    const bool has_hi = arc->has_hi;
    int rc = lo_of && hi_of ? DLHT_OK : DLHT_ENOMEM;
    for (unsigned j = ways - 1; rc == DLHT_OK && j > 0; j--) {
        if (!key_between(lo, hi, has_hi, j, ways, &key)) {
            rc = key.failed ? DLHT_ENOMEM : DLHT_OK;
            r->arcs[part->at].may_split = false;
            break;
        }
        struct part *right =
            part_new(arc, buf_span(&key), arc->hi, arc->has_hi);
        uint8_t *end = copy_key(buf_span(&key));
        if (!right || !end) {
            part_free(right);
            free(end);
            rc = DLHT_ENOMEM;
            break;
        }
        right->arc.id = r->last_id + 1;
        append(r, &whole, right);
        give_part(&r->arcs[right->at], &whole, j, ways);
        free(part->hi);
        part->hi = end;
        arc->hi = span_of(end, key.len);
        arc->has_hi = true;
        count_arcs(r, arc->keyspace, 1, 0);
        struct plan_arc *left = &r->arcs[part->at];
        left->keys -= r->arcs[right->at].keys;
        left->bytes -= r->arcs[right->at].bytes;
        left->bytes_usual = 0;
        left->requests -= r->arcs[right->at].requests;
        /* The count of the new one was the old one's when it was copied. */
        r->arcs[right->at].keyspace_arcs = left->keyspace_arcs;
    }
    free(lo_of);
    free(hi_of);
    buf_deinit(&key);
    return rc;
}

static int do_merge(struct rehearsal *r, struct part *left, struct part *right)
{
    struct plan_arc *to = &r->arcs[left->at], *from = &r->arcs[right->at];
    uint8_t *hi = copy_key(right->arc.hi);
    if (!hi)
        return DLHT_ENOMEM;
    free(left->hi);
    left->hi = hi;
    left->arc.hi = span_of(hi, right->arc.hi.len);
    left->arc.has_hi = right->arc.has_hi;
    to->keys += from->keys;
    to->bytes += from->bytes;
    to->bytes_usual = 0;
    to->requests += from->requests;
    count_arcs(r, left->arc.keyspace, 0, 1);
    size_t last = --r->in.arc_count;
    r->arcs[right->at] = r->arcs[last];
    r->parts[right->at] = r->parts[last];
    r->parts[right->at]->at = right->at;
    right->next_dead = r->dead;
    r->dead = right;
    return DLHT_OK;
}

static void do_add(struct rehearsal *r, struct part *part,
                   const struct id *peer)
{
    struct arc *arc = &part->arc;
    if (arc->member_count == ARC_MEMBERS_MAX)
        return;
    size_t at = arc->member_count++;
    arc->members[at] =
        (struct arc_member){ .replica = ++r->last_replica, .peer = *peer };
    r->arcs[part->at].lost &= (uint16_t) ~(1u << at);
}

static void do_remove(struct rehearsal *r, struct part *part, size_t at)
{
    struct arc *arc = &part->arc;
    uint16_t lost = r->arcs[part->at].lost;
    uint16_t below = (uint16_t)((1u << at) - 1);
    memmove(&arc->members[at], &arc->members[at + 1],
            (arc->member_count - at - 1) * sizeof arc->members[0]);
    arc->member_count--;
    r->arcs[part->at].lost =
        (uint16_t)((lost & below) | (lost >> 1 & (uint16_t)~below));
}

static int do_step(struct rehearsal *r, const struct plan_step *step)
{
    struct part *part = (struct part *)(uintptr_t)step->arc;
    struct arc *arc = &part->arc;
    size_t at = 0;
    while (at < arc->member_count &&
           !id_equal(&arc->members[at].peer, &step->peer))
        at++;
    bool there = at < arc->member_count;
    arc->generation += step->kind != PLAN_TRANSFER;
    switch (step->kind) {
    case PLAN_ADD:
        do_add(r, part, &step->peer);
        break;
    case PLAN_PROMOTE:
    case PLAN_DEMOTE:
        if (there)
            arc->members[at].voter = step->kind == PLAN_PROMOTE;
        break;
    case PLAN_REMOVE:
        if (there)
            do_remove(r, part, at);
        break;
    case PLAN_TRANSFER:
        arc->owner = step->peer;
        break;
    case PLAN_SPLIT:
        return do_split(r, part, step->ways);
    case PLAN_MERGE:
        r->moved += step->bytes;
        return do_merge(r, (struct part *)(uintptr_t)step->into, part);
    }
    if (step->kind == PLAN_ADD)
        r->moved += step->bytes;
    return DLHT_OK;
}

int rehearsal_turn(struct rehearsal *r, const struct plan_step **steps,
                   size_t *count)
{
    bury(r);
    settle_groups(r);
    *steps = r->steps;
    *count = planner_steps(&r->in, r->steps, TURN_STEPS);
    for (size_t i = 0; i < *count; i++) {
        int rc = do_step(r, &r->steps[i]);
        if (rc != DLHT_OK)
            return rc;
    }
    settle_groups(r);
    return DLHT_OK;
}
