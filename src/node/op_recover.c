/* SPDX-License-Identifier: Apache-2.0 */

/* Who has what of an arc that nobody leads, and who is to go on with it. */

#include "node/op_recover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/burials.h"
#include "node/gossip.h"
#include "node/keyspaces.h"
#include "node/recover.h"
#include "node/replica.h"
#include "node/volatile.h"
#include "wire/mp.h"

enum {
    RECOVERIES_MAX = 4, /* at once, through one node */
    TEXT_MAX = 400
};
#define ASK_AGAIN_NS (UINT64_C(300) * NS_PER_MS)
#define TELL_AGAIN_NS (UINT64_C(50) * NS_PER_MS)
#define SETTLED_NS (UINT64_C(5000) * NS_PER_MS) /* after its start */
#define ANSWERS_NS (UINT64_C(1500) * NS_PER_MS)
/* An arc that waits for the one before it goes on, and says so, meanwhile. */
#define GAP_NS (UINT64_C(3500) * NS_PER_MS)

/* What one peer said. */
struct heard_copy {
    struct id peer;
    bool answered;
    struct recover_message have; /* arc_known is NULL */
};

struct recovery {
    struct recovery *next;
    struct origin origin;
    uint64_t number;
    arc_id arc;
    bool accept; /* --accept-loss */
    bool empty;  /* --empty */
    bool of_gap; /* it is the keys behind arc, of which nobody knows one */
    uint64_t began_ns;
    uint64_t deadline_ns;
    uint64_t ask_ns;   /* when to ask again */
    struct arc *known; /* the newest descriptor; NULL: none yet */
    uint64_t term;     /* the highest heard of */
    uint64_t generation;
    struct heard_copy *list; /* of all peers that were up */
    size_t count;
    bool taking;
    size_t chosen; /* in list; count: none */
    struct recover_message order;
};

/* What is said. */

static void recovery_free(struct recovery *v)
{
    arc_free(v->known);
    free(v->list);
    free(v);
}

static void drop(struct node *node, struct recovery *v)
{
    for (struct recovery **at = &node->recoveries; *at; at = &(*at)->next) {
        if (*at == v) {
            *at = v->next;
            break;
        }
    }
    recovery_free(v);
}

static void end(struct node *node, struct recovery *v, int status,
                const char *text)
{
    node_answer_status(node, &v->origin, status, text);
    drop(node, v);
}

static const struct heard_copy *copy_of(const struct recovery *v,
                                        const struct id *peer)
{
    for (size_t i = 0; i < v->count; i++)
        if (id_equal(&v->list[i].peer, peer))
            return &v->list[i];
    return NULL;
}

static bool has_copy(const struct heard_copy *c)
{
    return c && c->answered && c->have.replica && !c->have.empty;
}

enum member_state {
    MEMBER_THERE,
    MEMBER_SILENT, /* up, and does not answer */
    MEMBER_NO_COPY,
    MEMBER_DOWN,
    MEMBER_UNKNOWN
};

static enum member_state member_state(const struct node *node,
                                      const struct recovery *v,
                                      const struct arc_member *m)
{
    const struct heard_copy *c = copy_of(v, &m->peer);
    if (c && c->answered)
        return has_copy(c) && c->have.replica == m->replica ? MEMBER_THERE
                                                            : MEMBER_NO_COPY;
    if (node_peer_is_up(node, &m->peer))
        return MEMBER_SILENT;
    return swim_find(node->swim, &m->peer) ? MEMBER_DOWN : MEMBER_UNKNOWN;
}

static const char *state_text(enum member_state state)
{
    switch (state) {
    case MEMBER_THERE:
        return "has a copy";
    case MEMBER_SILENT:
        return "up, and does not answer";
    case MEMBER_NO_COPY:
        return "up, without its copy";
    case MEMBER_DOWN:
        return "down";
    case MEMBER_UNKNOWN:
        break;
    }
    return "not known any more";
}

static void write_members(struct node *node, const struct recovery *v,
                          struct buf *doc)
{
    mp_write_array(doc, v->known->member_count);
    for (size_t i = 0; i < v->known->member_count; i++) {
        const struct arc_member *m = &v->known->members[i];
        const struct heard_copy *c = copy_of(v, &m->peer);
        const struct peer *p = swim_find(node->swim, &m->peer);
        enum member_state state = member_state(node, v, m);
        char id[ID_TEXT_BYTES];
        id_to_text(&m->peer, id);
        mp_write_map(doc, 6);
        mp_write_cstr(doc, "peer");
        mp_write_cstr(doc, p ? p->addr : id);
        mp_write_cstr(doc, "votes");
        mp_write_bool(doc, m->voter);
        mp_write_cstr(doc, "state");
        mp_write_cstr(doc, state_text(state));
        mp_write_cstr(doc, "down_s");
        if (state == MEMBER_DOWN)
            mp_write_uint(doc, (node->now_ns - p->since_ns) / NS_PER_S);
        else
            mp_write_nil(doc);
        mp_write_cstr(doc, "last_index");
        if (state == MEMBER_THERE)
            mp_write_uint(doc, c->have.last_index);
        else
            mp_write_nil(doc);
        mp_write_cstr(doc, "keys");
        if (state == MEMBER_THERE)
            mp_write_uint(doc, c->have.keys);
        else
            mp_write_nil(doc);
    }
}

static const char *loss_text(const struct recovery *v)
{
    if (v->chosen == v->count)
        return "no copy is left: all that this arc held is lost";
    if (v->arc == SYSTEM_ARC)
        return "the newest changes of the cluster's own records may be lost: "
               "keyspaces made, dropped or set, models published, peers told "
               "to leave. Look at keyspace list afterwards";
    return "writes that were acknowledged and had not reached this copy are "
           "lost; of those whose outcome was unknown, some may take effect "
           "now";
}

static void write_survivor(struct node *node, const struct recovery *v,
                           struct buf *doc)
{
    const struct heard_copy *c =
        v->chosen < v->count ? &v->list[v->chosen] : NULL;
    mp_write_cstr(doc, "survivor");
    if (c && node_is_self(node, &c->peer))
        mp_write_cstr(doc, node->config.addr);
    else if (c && node_peer_addr(node, &c->peer))
        mp_write_cstr(doc, node_peer_addr(node, &c->peer));
    else
        mp_write_nil(doc);
    static const char *const names[] = { "last_term", "last_index", "applied",
                                         "keys", "bytes" };
    const uint64_t numbers[] = { c ? c->have.last_term : 0,
                                 c ? c->have.last_index : 0,
                                 c ? c->have.applied : 0, c ? c->have.keys : 0,
                                 c ? c->have.bytes : 0 };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        mp_write_cstr(doc, names[i]);
        mp_write_uint(doc, numbers[i]);
    }
}

static void answer(struct node *node, struct recovery *v, bool done)
{
    struct buf doc = { 0 };
    const struct keyspace *ks = keyspaces_find(node, v->known->keyspace);
    mp_write_map(&doc, 14);
    mp_write_cstr(&doc, "keyspace");
    mp_write_str(&doc, ks ? ks->record.name : span_empty());
    mp_write_cstr(&doc, "arc");
    mp_write_uint(&doc, v->arc);
    mp_write_cstr(&doc, "lo");
    mp_write_bin(&doc, v->known->lo);
    mp_write_cstr(&doc, "hi");
    if (v->known->has_hi)
        mp_write_bin(&doc, v->known->hi);
    else
        mp_write_nil(&doc);
    mp_write_cstr(&doc, "done");
    mp_write_bool(&doc, done);
    mp_write_cstr(&doc, "generation");
    mp_write_uint(&doc, done ? v->order.generation : v->known->generation);
    write_survivor(node, v, &doc);
    mp_write_cstr(&doc, "lost");
    mp_write_cstr(&doc, loss_text(v));
    mp_write_cstr(&doc, "members");
    write_members(node, v, &doc);
    struct response response = { .status = doc.failed ? DLHT_EBUSY : DLHT_OK,
                                 .value = buf_span(&doc) };
    node_answer(node, &v->origin, &response);
    buf_deinit(&doc);
    drop(node, v);
}

/* What a peer has. */

static const struct arc *arc_here(const struct node *node, arc_id id)
{
    const struct replica *r = node_replica(node, id);
    const struct arc *best = r && !r->empty ? r->arc : NULL;
    for (size_t i = 0; i < node->keyspace_count; i++) {
        const struct arc *known = map_by_id(node->keyspaces[i].map, id);
        if (known && (!best || arc_is_newer(known, best)))
            best = known;
    }
    return best;
}

/* The descriptor, with the members that the log names though they are not
 * committed: who is to vote is asked of them. */
static const struct arc *arc_in_log(struct node *node, const struct replica *r)
{
    struct arc *arc = effects_room(node->fx, sizeof *arc);
    const struct raft_members *members = raft_members(r->raft);
    if (!arc || members->count == 0)
        return r->arc;
    *arc = *r->arc;
    arc->generation++;
    arc->member_count = members->count;
    for (size_t i = 0; i < members->count; i++) {
        struct arc_member *m = &arc->members[i];
        *m = (struct arc_member){ .replica = members->list[i].id,
                                  .voter = members->list[i].voter };
        if (m->replica == r->self)
            m->peer = node->self;
        else if (!replica_peer_of(r, m->replica, &m->peer))
            return r->arc;
    }
    return arc;
}

static struct recover_message have_of(struct node *node, arc_id id,
                                      uint64_t number)
{
    struct recover_message m = { .kind = RECOVER_HAVE,
                                 .number = number,
                                 .arc = id,
                                 .arc_known = arc_here(node, id) };
    const struct replica *r = node_replica(node, id);
    if (!r)
        return m;
    if (!r->empty && raft_is_changing(r->raft) &&
        m.arc_known->generation == r->arc->generation)
        m.arc_known = arc_in_log(node, r);
    m.replica = r->self;
    m.empty = r->empty;
    m.leads = replica_leads(r) && r->applied_term == raft_term(r->raft);
    m.last_index = raft_last_index(r->raft);
    m.last_term = raft_term_at(r->raft, m.last_index);
    m.applied = r->applied;
    m.term = raft_term(r->raft);
    m.generation = r->empty ? 0 : r->arc->generation;
    m.keys = replica_key_count(r);
    m.bytes = replica_data_bytes(r);
    const struct raft_members *members = raft_members(r->raft);
    for (size_t i = 0; i < members->count; i++)
        if (members->list[i].id == r->self)
            m.voter = members->list[i].voter;
    return m;
}

static void send_to(struct node *node, const struct id *to,
                    const struct recover_message *what)
{
    struct message m = { .type = MESSAGE_RECOVER };
    m.u.recover = *what;
    m.u.recover.arc_known = node_keep_arc(node, what->arc_known);
    node_send(node, to, &m);
}

/* What was recovered has gone on, and away again, before somebody looked: its
 * neighbour has swallowed it. */
static bool has_come_and_gone(const struct node *node,
                              const struct recover_message *order)
{
    return order->fresh && burials_has(node, order->arc, order->fresh);
}

static int take(struct node *node, const struct recover_message *m)
{
    const struct replica *r = node_replica(node, m->arc);
    if (m->arc_known && volatile_is(node, m->arc_known->keyspace))
        return volatile_take(node, m);
    if (r && r->self == m->fresh)
        return DLHT_OK;
    if (m->replica && r) {
        uint64_t last = raft_last_index(r->raft);
        uint64_t term = raft_term_at(r->raft, last);
        if (term < m->last_term ||
            (term == m->last_term && last < m->last_index))
            return DLHT_ESTALE;
    }
    struct recover_order o = { .old = m->replica,
                               .fresh = m->fresh,
                               .generation = m->generation,
                               .term = m->term,
                               .known = m->arc_known };
    return recover_take_over(node, m->arc, &o);
}

/* TAKE, here or elsewhere; may come again. */
static struct recover_message carry_out(struct node *node,
                                        const struct recover_message *order)
{
    bool was_here = has_come_and_gone(node, order);
    int status = was_here ? DLHT_OK : take(node, order);
    struct recover_message have = have_of(node, order->arc, order->number);
    have.status = status;
    if (was_here) {
        have.replica = order->fresh;
        have.leads = true;
    }
    return have;
}

static void note_have(struct node *node, struct recovery *v, size_t i,
                      const struct recover_message *m)
{
    struct heard_copy *c = &v->list[i];
    if (v->taking) {
        if (i != v->chosen && v->chosen < v->count)
            return;
        if (m->status != DLHT_OK)
            end(node, v,
                m->status == DLHT_ENOMEM  ? DLHT_EBUSY
                : m->status == DLHT_EFULL ? DLHT_EFULL
                                          : DLHT_EREFUSED,
                m->status == DLHT_EFULL
                    ? "the copy that would go on has no room on its disk"
                    : "the copy that would go on has changed: ask again");
        else if (m->replica == v->order.fresh && m->leads)
            answer(node, v, true);
        return;
    }
    c->answered = true;
    c->have = *m;
    c->have.arc_known = NULL;
    const struct arc *known = m->arc_known;
    if (known && known->generation > v->generation)
        v->generation = known->generation;
    if (m->generation > v->generation)
        v->generation = m->generation;
    if (known && known->term > v->term)
        v->term = known->term;
    if (m->term > v->term)
        v->term = m->term;
    if (!known || (v->known && !arc_is_newer(known, v->known)))
        return;
    struct arc *copy = arc_copy(known);
    if (!copy)
        return;
    arc_free(v->known);
    v->known = copy;
}

void op_recover_receive(struct node *node, const struct id *from,
                        const struct recover_message *m)
{
    if (m->kind != RECOVER_HAVE) {
        struct recover_message have = m->kind == RECOVER_TAKE
                                          ? carry_out(node, m)
                                          : have_of(node, m->arc, m->number);
        send_to(node, from, &have);
        return;
    }
    for (struct recovery *v = node->recoveries; v; v = v->next) {
        if (v->number != m->number || v->arc != m->arc)
            continue;
        for (size_t i = 0; i < v->count; i++) {
            if (id_equal(&v->list[i].peer, from)) {
                note_have(node, v, i, m);
                return;
            }
        }
    }
}

/* The choice. */

/* Its log has all that was committed as far as either can know: the later the
 * term of its last entry, and within a term the longer it is. */
static bool is_more_advanced(const struct heard_copy *a,
                             const struct heard_copy *b)
{
    if (a->have.last_term != b->have.last_term)
        return a->have.last_term > b->have.last_term;
    if (a->have.last_index != b->have.last_index)
        return a->have.last_index > b->have.last_index;
    return a->have.voter && !b->have.voter;
}

static size_t choose(const struct recovery *v)
{
    size_t best = v->count;
    for (size_t i = 0; i < v->count; i++)
        if (has_copy(&v->list[i]) &&
            (best == v->count || is_more_advanced(&v->list[i], &v->list[best])))
            best = i;
    return best;
}

/* The arc that swallowed it, as far as known here. */
static const struct arc *heir_of(const struct node *node, const struct arc *arc)
{
    const struct keyspace *ks = keyspaces_find(node, arc->keyspace);
    const struct arc *at = ks ? map_find(ks->map, arc->lo, SIZE_MAX) : NULL;
    bool is = at && at->id != arc->id && arc_has(at, arc->lo) &&
              at->generation > arc->generation;
    return is ? at : NULL;
}

/* The next arc that somebody leads is not the recovered one's, whatever its
 * last entries, committed or not, say of a merge with it. */
static void end_at_neighbour(const struct node *node, struct recovery *v)
{
    const struct keyspace *ks = keyspaces_find(node, v->known->keyspace);
    for (size_t i = map_rank(ks->map, v->known->lo); i < map_count(ks->map);
         i++) {
        const struct arc *next = map_at(ks->map, i);
        if (next->id == v->arc || id_is_zero(&next->owner) ||
            !(node_is_self(node, &next->owner) ||
              node_peer_is_up(node, &next->owner)))
            continue;
        struct arc bounded = *v->known;
        if (!bounded.has_hi || span_compare(next->lo, bounded.hi) < 0)
            bounded.hi = next->lo;
        bounded.has_hi = true;
        bounded.generation = v->order.generation - 1; /* that is sure */
        (void)!arc_assign(&v->known, &bounded);
        return;
    }
}

static bool is_led(const struct recovery *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (has_copy(&v->list[i]) && v->list[i].have.leads)
            return true;
    return false;
}

/* The copy that an arc was recovered from may have missed a merge: then no arc
 * is known of the keys behind it. Who knows a part of the arcs only knows this
 * of those that it leads. */
static bool gap_behind(const struct node *node, const struct recovery *v,
                       struct arc *gap)
{
    const struct arc *known = v->known;
    const struct keyspace *ks = keyspaces_find(node, known->keyspace);
    const struct replica *r = node_replica(node, v->arc);
    if (!ks || ks->record.is_volatile || !known->has_hi ||
        (node->config.map_fingers && !(r && replica_leads(r))))
        return false;
    *gap = (struct arc){ .keyspace = known->keyspace,
                         .generation = v->generation };
    return map_gap_at(ks->map, known->hi, gap);
}

/* From now on it is a new arc in the gap that is begun. */
static int turn_to_gap(struct node *node, struct recovery *v,
                       const struct arc *gap)
{
    struct arc *known = arc_copy(gap);
    if (!known)
        return DLHT_ENOMEM;
    known->id = v->accept ? rng_next(&node->rng) | 2 : 0;
    known->members[0] = (struct arc_member){
        .replica = rng_next(&node->rng) | 1, .peer = node->self, .voter = true
    };
    known->member_count = 1;
    arc_free(v->known);
    v->known = known;
    v->arc = known->id;
    v->of_gap = true;
    v->chosen = v->count;
    return DLHT_OK;
}

/* Why nothing is to be recovered, or cannot be; NULL: it may go on. */
static const char *refusal(struct node *node, const struct recovery *v,
                           char text[TEXT_MAX])
{
    if (!v->known)
        return "no peer that is up knows such an arc; `ring` and `status` "
               "print those there are";
    if (!keyspaces_find(node, v->known->keyspace))
        return "this node does not know the keyspace of that arc";
    if (volatile_is(node, v->known->keyspace))
        return "an arc of a volatile keyspace needs no operator: another peer "
               "gets it, empty, once its own is gone";
    if (heir_of(node, v->known))
        return "its keys belong to another arc meanwhile: there is nothing to "
               "recover";
    size_t voters = 0, there = 0, silent = 0;
    for (size_t i = 0; i < v->known->member_count; i++) {
        const struct arc_member *m = &v->known->members[i];
        enum member_state state = member_state(node, v, m);
        voters += m->voter;
        there += m->voter && state == MEMBER_THERE;
        silent += m->voter && state == MEMBER_SILENT;
    }
    if (is_led(v) && !v->of_gap)
        return "it has an owner: there is nothing to recover";
    if (there > voters / 2) {
        snprintf(text, TEXT_MAX,
                 "%zu of %zu voters are up, a majority: it needs no recovery; "
                 "wait until they have elected an owner",
                 there, voters);
        return text;
    }
    if (there + silent > voters / 2) {
        snprintf(text, TEXT_MAX,
                 "%zu of %zu voters are up and did not answer: wait until "
                 "they do or are seen to be down, or stop them",
                 silent, voters);
        return text;
    }
    if (v->generation > UINT64_MAX / 4 || v->term > UINT64_MAX / 8)
        return "its generation or term cannot grow any more";
    if (node->now_ns - node->phase_since_ns < SETTLED_NS)
        return "this node started just now and may not know yet who is up: "
               "ask again in some seconds, or another node";
    bool none = v->chosen == v->count;
    if (none && v->arc == SYSTEM_ARC)
        return "no copy of the system arc is left on any peer that is up: "
               "start a peer that has one";
    if (none && !v->empty)
        return "no copy is left on any peer that is up: start one that has a "
               "copy, or begin with an empty arc: --accept-loss --empty";
    if (!none && v->empty)
        return "a copy is left: without --empty it is what the arc goes on "
               "with";
    return NULL;
}

static size_t self_index(const struct node *node, const struct recovery *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (node_is_self(node, &v->list[i].peer))
            return i;
    return v->count;
}

/* Tells the chosen peer, again and again until it says that it leads. */
static void tell(struct node *node, struct recovery *v)
{
    size_t i = v->chosen < v->count ? v->chosen : self_index(node, v);
    v->ask_ns = node->now_ns + TELL_AGAIN_NS;
    v->order.arc_known = v->known;
    if (!node_is_self(node, &v->list[i].peer)) {
        send_to(node, &v->list[i].peer, &v->order);
        return;
    }
    struct recover_message have = carry_out(node, &v->order);
    note_have(node, v, i, &have);
}

static void decide(struct node *node, struct recovery *v)
{
    char text[TEXT_MAX];
    struct arc gap;
    v->chosen = choose(v);
    if (v->empty && v->known && is_led(v) && gap_behind(node, v, &gap)) {
        if (node->now_ns - v->began_ns < GAP_NS)
            return; /* looked at again with the next tick */
        if (turn_to_gap(node, v, &gap) != DLHT_OK) {
            end(node, v, DLHT_EBUSY, NULL);
            return;
        }
    }
    const char *why = refusal(node, v, text);
    if (why) {
        end(node, v, DLHT_EREFUSED, why);
        return;
    }
    if (!v->accept) {
        answer(node, v, false);
        return;
    }
    v->taking = true;
    v->order = (struct recover_message){
        .kind = RECOVER_TAKE,
        .number = v->number,
        .arc = v->arc,
        .fresh = rng_next(&node->rng) | 1,
        .term = v->term + RECOVER_STEP,
        /* Two operators who cannot hear of each other must not make two
         * groups of one generation. */
        .generation =
            v->generation + RECOVER_STEP + rng_below(&node->rng, 1 << 16),
    };
    end_at_neighbour(node, v);
    if (v->chosen < v->count) {
        const struct recover_message *have = &v->list[v->chosen].have;
        v->order.replica = have->replica;
        v->order.last_term = have->last_term;
        v->order.last_index = have->last_index;
    }
    tell(node, v);
}

static void ask(struct node *node, struct recovery *v)
{
    struct recover_message m = { .kind = RECOVER_ASK,
                                 .number = v->number,
                                 .arc = v->arc };
    v->ask_ns = node->now_ns + ASK_AGAIN_NS;
    for (size_t i = 0; i < v->count; i++)
        if (!v->list[i].answered)
            send_to(node, &v->list[i].peer, &m);
}

static bool is_answered(const struct node *node, const struct recovery *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (!v->list[i].answered && node_peer_is_up(node, &v->list[i].peer))
            return false;
    return true;
}

static void recovery_tick(struct node *node, struct recovery *v)
{
    node_wake_at(node, node->now_ns + NODE_TICK_NS);
    if (node->now_ns >= v->deadline_ns) {
        if (v->taking)
            end(node, v, DLHT_EUNKNOWN,
                "the copy that was chosen has not said that it leads; look "
                "at status, and ask again");
        else
            end(node, v, DLHT_ETIMEOUT, NULL);
        return;
    }
    if (!v->taking &&
        (is_answered(node, v) || node->now_ns - v->began_ns > ANSWERS_NS))
        decide(node, v);
    else if (node->now_ns >= v->ask_ns && v->taking)
        tell(node, v);
    else if (node->now_ns >= v->ask_ns)
        ask(node, v);
}

void op_recover_tick(struct node *node)
{
    for (struct recovery *v = node->recoveries, *next; v; v = next) {
        next = v->next;
        recovery_tick(node, v);
    }
}

void op_recover_stop(struct node *node)
{
    while (node->recoveries) {
        struct recovery *v = node->recoveries;
        node->recoveries = v->next;
        recovery_free(v);
    }
}

/* The beginning. */

/* As `ring` and `status` print it: hexadecimal; or a number. */
static arc_id read_arc(struct mp_reader *r)
{
    if (mp_peek(r) == MP_INT)
        return mp_read_uint(r);
    struct span text = mp_read_bytes(r);
    arc_id id = 0;
    if (text.len > 2 && text.data[0] == '0' && text.data[1] == 'x')
        text = span_tail(text, 2);
    if (text.len == 0 || text.len > 16)
        return 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        unsigned digit = c >= '0' && c <= '9'   ? c - (unsigned)'0'
                         : c >= 'a' && c <= 'f' ? c - (unsigned)'a' + 10
                         : c >= 'A' && c <= 'F' ? c - (unsigned)'A' + 10
                                                : 16;
        if (digit > 15)
            return 0;
        id = id << 4 | digit;
    }
    return id;
}

static bool read_document(struct span doc, struct recovery *v)
{
    struct mp_reader r;
    mp_reader_init(&r, doc);
    for (size_t pairs = mp_read_map(&r); pairs > 0 && !r.bad; pairs--) {
        struct span field = mp_read_bytes(&r);
        if (span_equal(field, span_str("arc")))
            v->arc = read_arc(&r);
        else if (span_equal(field, span_str("accept_loss")))
            v->accept = mp_read_bool(&r);
        else if (span_equal(field, span_str("empty")))
            v->empty = mp_read_bool(&r);
        else
            mp_skip(&r);
    }
    return !r.bad && v->arc != 0;
}

static bool list_peers(struct node *node, struct recovery *v)
{
    size_t count = swim_count(node->swim);
    v->list = mem_zero(count, sizeof *v->list);
    for (size_t i = 0; v->list && i < count; i++) {
        const struct peer *p = swim_at(node->swim, i);
        if (node_is_self(node, &p->id) || p->state <= PEER_SUSPECT)
            v->list[v->count++].peer = p->id;
    }
    return v->list != NULL;
}

void op_recover_begin(struct node *node, const struct request *request,
                      const struct origin *origin)
{
    size_t under_way = 0;
    for (struct recovery *v = node->recoveries; v; v = v->next)
        under_way++;
    struct recovery *v =
        under_way < RECOVERIES_MAX ? mem_zero(1, sizeof *v) : NULL;
    if (!v || !list_peers(node, v)) {
        free(v);
        node_answer_status(node, origin, DLHT_EBUSY, NULL);
        return;
    }
    v->origin = *origin;
    v->number = rng_next(&node->rng);
    v->began_ns = node->now_ns;
    v->deadline_ns = op_deadline_ns(node, request);
    v->next = node->recoveries;
    node->recoveries = v;
    if (!read_document(request->value, v)) {
        end(node, v, DLHT_EINVAL,
            "arc is an id as `ring` and `status` print it");
        return;
    }
    size_t self = self_index(node, v);
    if (self < v->count) {
        struct recover_message have = have_of(node, v->arc, v->number);
        note_have(node, v, self, &have);
    }
    ask(node, v);
    node_wake_at(node, node->now_ns);
}
