/* SPDX-License-Identifier: Apache-2.0 */

/* Who has which arc of the volatile keyspaces, planned by the owner of the
 * system arc: one whose voter is gone goes to another peer, empty. One of a
 * peer that leaves goes, too, and now and then one of a peer that has more than
 * its share: those with what they hold, if their voter does that (handover.h),
 * else empty. An order is a descriptor: it is told again to the peer that it
 * names until that one reports the arc. So nothing is remembered but the map,
 * and what was told to voters; another owner of the system arc tells them anew,
 * in later generations. */

#include <stdlib.h>

#include "base/mem.h"
#include "node/gossip.h"
#include "node/handover.h"
#include "node/keeper_state.h"
#include "node/replica.h"
#include "node/volatile.h"
#include "wire/codec.h"
#include "wire/mp.h"

#define BALANCE_NS (UINT64_C(1000) * NS_PER_MS) /* from one arc to the next */
#define TELL_NS (UINT64_C(1000) * NS_PER_MS)
/* A voter that has not said by then that it hands over never heard of that. */
#define HEED_NS (UINT64_C(3000) * NS_PER_MS)
#define FAILURES_MAX 2

/* One keyspace, for one look at it. */
struct sharing {
    const struct keyspace *ks;
    size_t *loads; /* arcs of each peer, as keeper.peers */
};

static bool may_have_more(const struct node *node, const struct keeper_peer *p)
{
    const struct peer *known = swim_find(node->swim, &p->id);
    return known && known->state == PEER_ALIVE && p->fate == FATE_UP &&
           !p->leaving && !p->stops && p->weight_milli > 0;
}

/* Whether a is fuller than b, by weight, if each had so many more. */
static bool is_fuller(const struct sharing *s, const struct keeper *k, size_t a,
                      size_t b, size_t more)
{
    uint64_t x = (uint64_t)s->loads[a] * k->peers[b].weight_milli;
    uint64_t y = (uint64_t)(s->loads[b] + more) * k->peers[a].weight_milli;
    return x > y;
}

/* The peer with the least; SIZE_MAX: nobody may have more. */
static size_t emptiest(const struct node *node, const struct sharing *s)
{
    const struct keeper *k = node->keeper;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < k->peer_count; i++)
        if (may_have_more(node, &k->peers[i]) &&
            (best == SIZE_MAX || is_fuller(s, k, best, i, 0)))
            best = i;
    return best;
}

static size_t peer_index(const struct keeper *k, const struct id *id)
{
    const struct keeper_peer *p = keeper_find_peer(k, id);
    return p ? (size_t)(p - k->peers) : SIZE_MAX;
}

/* The newest that is known of an arc. */
static const struct arc *newest(const struct node *node,
                                const struct keyspace *ks,
                                const struct arc *first)
{
    const struct arc *best = first;
    const struct arc *known = map_by_id(ks->map, first->id);
    size_t at;
    const struct heard *h = keeper_find_heard(node->keeper, first->id, &at);
    if (known && known->generation > best->generation)
        best = known;
    if (h && h->arc->generation > best->generation)
        best = h->arc;
    return best;
}

/* The life in which the peer had that replica goes on. */
static bool is_alive_as(const struct node *node, const struct id *peer,
                        replica_id replica)
{
    const struct peer *p = swim_find(node->swim, peer);
    return p && p->state <= PEER_SUSPECT &&
           volatile_is_of(replica, p->incarnation);
}

static bool is_kept(const struct node *node, const struct arc *arc)
{
    return arc->member_count &&
           is_alive_as(node, &arc->members[0].peer, arc->members[0].replica);
}

static void send_order(struct node *node, const struct arc *arc)
{
    struct message m = { .type = MESSAGE_RECOVER };
    struct recover_message *order = &m.u.recover;
    *order = (struct recover_message){ .kind = RECOVER_TAKE,
                                       .arc = arc->id,
                                       .fresh = arc->members[0].replica,
                                       .term = 1,
                                       .generation = arc->generation,
                                       .arc_known = arc };
    if (node_is_self(node, &arc->members[0].peer)) {
        (void)!volatile_take(node, order);
        return;
    }
    order->arc_known = node_keep_arc(node, arc);
    if (order->arc_known)
        node_send(node, &arc->members[0].peer, &m);
}

/* Each term counts anew, and what was told in the one before is void; so is
 * what was told of a keyspace that was dropped. */
static void follow_term(struct node *node)
{
    struct keeper *k = node->keeper;
    uint64_t term = raft_term(node_replica(node, SYSTEM_ARC)->raft);
    if (k->gift_term != term) {
        k->gift_term = term;
        k->gift_count = 0;
        k->gifts_open = 0;
    }
    for (size_t i = k->gifts_open; i-- > 0;) {
        const struct keyspace *ks = keyspaces_find(node, k->gifts[i].keyspace);
        if (!ks || ks->record.dropped)
            k->gifts[i] = k->gifts[--k->gifts_open];
    }
}

/* A generation that nobody ever gave. */
static uint64_t next_generation(struct node *node)
{
    struct keeper *k = node->keeper;
    return volatile_generation(k->gift_term, ++k->gift_count);
}

/* The peer in its present life, as the voter. */
static struct arc_member member_of(struct node *node, const struct id *peer)
{
    const struct peer *known = swim_find(node->swim, peer);
    return (struct arc_member){ .replica = volatile_replica_id(
                                    node, known->incarnation),
                                .peer = *peer,
                                .voter = true };
}

/* To the peer that has the least of the keyspace. */
static void give(struct node *node, struct sharing *s, const struct arc *arc)
{
    const struct keeper *k = node->keeper;
    size_t to = emptiest(node, s);
    if (to == SIZE_MAX)
        return;
    const struct id *peer = &k->peers[to].id;
    struct arc next = *arc;
    next.generation = next_generation(node);
    if (next.generation <= arc->generation)
        return; /* somebody leads in a later term, and gave it */
    next.member_count = 1;
    next.members[0] = member_of(node, peer);
    next.term = 0;
    next.owner = (struct id){ { 0 } };
    s->loads[to]++;
    node_log(node, LOG_INFO, "arc %016llx: goes to %s, empty",
             (unsigned long long)arc->id, node_peer_addr(node, peer));
    /* The order first: what it names must not be there before it is taken. */
    struct arc *kept = arc_copy(&next);
    if (!kept)
        return;
    send_order(node, kept);
    gossip_notice_arc(node, kept);
    arc_free(kept);
}

/* Gifts: arcs that go over with what they hold. */

static struct gift *find_gift(struct keeper *k, arc_id arc)
{
    for (size_t i = 0; i < k->gifts_open; i++)
        if (k->gifts[i].arc == arc)
            return &k->gifts[i];
    return NULL;
}

/* No more at once than it takes: those that wait would pass for failed. */
static bool has_room_for_gift(const struct keeper *k, size_t to)
{
    size_t count = 0;
    for (size_t i = 0; i < k->gifts_open; i++)
        count += id_equal(&k->gifts[i].to.peer, &k->peers[to].id);
    return k->gifts_open < KEEPER_GIFTS_MAX && count < HANDOVER_TAKEN_MAX;
}

static void end_gift(struct keeper *k, struct gift *g)
{
    *g = k->gifts[--k->gifts_open];
}

static void tell_gift(struct node *node, const struct arc *arc, struct gift *g)
{
    struct message m = { .type = MESSAGE_STEP };
    m.u.step = (struct step){ .kind = STEP_TRANSFER,
                              .keyspace = arc->keyspace,
                              .arc = arc->id,
                              .generation = arc->generation,
                              .peer = g->to.peer,
                              .fresh = g->to.replica,
                              .fresh_generation = g->generation };
    g->told_ns = node->now_ns;
    if (node_is_self(node, &arc->members[0].peer))
        keeper_receive_step(node, &m.u.step);
    else
        node_send(node, &arc->members[0].peer, &m);
}

static void begin_gift(struct node *node, struct sharing *s,
                       const struct arc *arc)
{
    struct keeper *k = node->keeper;
    size_t to = emptiest(node, s);
    if (to == SIZE_MAX || !has_room_for_gift(k, to))
        return;
    struct gift *g = &k->gifts[k->gifts_open];
    *g = (struct gift){ .keyspace = arc->keyspace,
                        .arc = arc->id,
                        .before = arc->generation,
                        .generation = next_generation(node),
                        .to = member_of(node, &k->peers[to].id),
                        .begun_ns = node->now_ns };
    if (g->generation <= arc->generation)
        return; /* as above */
    k->gifts_open++;
    s->loads[to]++;
    tell_gift(node, arc, g);
}

/* Its voter began, and ended it without success; or it never began, or has not
 * been heard of for long. */
static bool has_failed(struct node *node, struct gift *g)
{
    size_t at;
    const struct heard *h = keeper_find_heard(node->keeper, g->arc, &at);
    if (h && h->at_ns > g->told_ns && h->report.busy)
        g->busy_ns = h->at_ns;
    if (g->busy_ns == 0)
        return node->now_ns - g->begun_ns > HEED_NS;
    return !h || !h->report.busy || !keeper_is_fresh(node, h);
}

static void go_on_with(struct node *node, struct sharing *s,
                       const struct arc *arc, struct gift *g)
{
    struct keeper *k = node->keeper;
    const struct keeper_peer *to = keeper_find_peer(k, &g->to.peer);
    const struct peer *known = swim_find(node->swim, &g->to.peer);
    if (!to || !may_have_more(node, to) ||
        !volatile_is_of(g->to.replica, known->incarnation)) {
        end_gift(k, g); /* it is begun anew, with whoever is there now */
    } else if (!has_failed(node, g)) {
        if (g->busy_ns == 0 && node->now_ns - g->told_ns > TELL_NS)
            tell_gift(node, arc, g);
    } else if (g->busy_ns && ++g->failures < FAILURES_MAX) {
        g->generation = next_generation(node);
        g->to = member_of(node, &g->to.peer);
        g->begun_ns = node->now_ns;
        g->busy_ns = 0;
        tell_gift(node, arc, g);
    } else {
        end_gift(k, g);
        s->loads[to - k->peers]--;
        give(node, s, arc);
    }
}

/* Whether its voter said that it has this generation. */
static bool is_reported(const struct node *node, const struct arc *arc)
{
    size_t at;
    const struct heard *h = keeper_find_heard(node->keeper, arc->id, &at);
    return h && h->arc->generation >= arc->generation &&
           keeper_is_fresh(node, h);
}

/* Its peer leaves, or has so many that the least of the others would still
 * have fewer with one more. */
static bool is_to_move(struct node *node, const struct sharing *s, size_t has)
{
    struct keeper *k = node->keeper;
    size_t to = emptiest(node, s);
    if (has == SIZE_MAX || to == SIZE_MAX || to == has ||
        !has_room_for_gift(k, to))
        return false;
    if (k->peers[has].leaving || k->peers[has].stops)
        return true;
    if (node->now_ns - k->given_ns < BALANCE_NS || !is_fuller(s, k, has, to, 1))
        return false;
    k->given_ns = node->now_ns;
    return true;
}

static void look_at(struct node *node, struct sharing *s,
                    const struct arc *first)
{
    const struct arc *arc = newest(node, s->ks, first);
    size_t has = peer_index(node->keeper, &arc->members[0].peer);
    struct gift *g = find_gift(node->keeper, arc->id);
    if (!is_kept(node, arc)) {
        if (g)
            end_gift(node->keeper, g);
        give(node, s, arc);
    } else if (!is_reported(node, arc)) {
        send_order(node, arc);
    } else if (g) {
        go_on_with(node, s, arc, g);
    } else if (is_to_move(node, s, has)) {
        begin_gift(node, s, arc); /* while it counts here: not to itself */
        s->loads[has]--;
    }
}

/* Who has it, or will. */
static const struct id *holder_of(struct node *node, const struct arc *arc)
{
    struct keeper *k = node->keeper;
    struct gift *g = find_gift(k, arc->id);
    if (g && g->before == arc->generation)
        return &g->to.peer;
    if (g) { /* it was taken, or somebody else gave it away */
        end_gift(k, g);
        gossip_notice_arc(node, arc); /* who had it may be gone */
    }
    return is_kept(node, arc) ? &arc->members[0].peer : NULL;
}

static void share(struct node *node, struct sharing *s)
{
    struct codec_arena arena = { 0 };
    struct keyspace_record record;
    struct mp_reader r;
    mp_reader_init(&r, span_of(s->ks->packed, s->ks->packed_len));
    codec_unpack_keyspace(&r, &arena, &record);
    for (size_t i = 0; !r.bad && i < record.first_arc_count; i++) {
        struct arc first = record.first_arcs[i];
        first.keyspace = s->ks->record.id;
        const struct arc *arc = newest(node, s->ks, &first);
        const struct id *holder = holder_of(node, arc);
        size_t has = holder ? peer_index(node->keeper, holder) : SIZE_MAX;
        if (has != SIZE_MAX)
            s->loads[has]++;
    }
    for (size_t i = 0; !r.bad && i < record.first_arc_count; i++) {
        struct arc first = record.first_arcs[i];
        first.keyspace = s->ks->record.id;
        if (first.member_count)
            look_at(node, s, &first);
    }
    codec_arena_deinit(&arena);
}

/* One that has said so is given nothing any more, though all of its arcs may
 * be gone and it reports none. */
static void look_who_stops(struct node *node)
{
    struct keeper *k = node->keeper;
    for (size_t i = 0; i < k->peer_count; i++) {
        struct keeper_peer *p = &k->peers[i];
        p->stops = p->stops_as && is_alive_as(node, &p->id, p->stops_as);
    }
    for (size_t i = 0; i < k->count; i++) {
        const struct heard *h = &k->list[i];
        const struct arc_member *voter = &h->arc->members[0];
        struct keeper_peer *p = h->report.stops && keeper_is_fresh(node, h)
                                    ? keeper_find_peer(k, &h->arc->owner)
                                    : NULL;
        if (!p)
            continue;
        p->stops = true;
        if (h->arc->member_count && is_alive_as(node, &p->id, voter->replica))
            p->stops_as = voter->replica;
    }
}

void keeper_volatile_tick(struct node *node)
{
    struct keeper *k = node->keeper;
    bool alone = swim_up_count(node->swim) == 1 && node->remembered_count == 0;
    if (!alone && node->now_ns - k->plan_since_ns < KEEPER_SETTLE_NS)
        return;
    follow_term(node);
    look_who_stops(node);
    for (size_t i = 0; i < node->keyspace_count; i++) {
        const struct keyspace *ks = &node->keyspaces[i];
        if (!ks->record.is_volatile || ks->record.dropped || !ks->packed)
            continue;
        struct sharing s = { .ks = ks };
        s.loads = mem_zero(k->peer_count + 1, sizeof *s.loads);
        if (s.loads)
            share(node, &s);
        free(s.loads);
    }
}
