/* SPDX-License-Identifier: Apache-2.0 */

/* Rings of the arcs led here: their life, their messages, and routes by them.
 */

#include "node/fingers.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "chord/lookup.h"
#include "chord/order.h"
#include "chord/ring.h"
#include "dlht/err.h"
#include "node/gossip.h"
#include "node/models.h"
#include "node/op.h"
#include "node/op_merge.h"
#include "node/replica.h"
#include "wire/codec.h"
#include "wire/mp.h"

enum {
    LIST_LEAST = 8, /* successors of an arc */
    WARM_LEVELS = 10,
    LOOP_MAX = 128, /* messages of rings of ours to others of ours */
    TRIES_MAX = 16,
    ROUNDS_MAX = 64
};
#define OWNER_CHANCE 0.75
#define UNSETTLED_NS (UINT64_C(3000) * NS_PER_MS)
#define LONELY_NS (UINT64_C(4000) * NS_PER_MS)

struct fingers {
    struct ring_message loop[LOOP_MAX]; /* from us to us, this turn */
    size_t loop_count;
    bool busy;             /* some ring may have something to say */
    uint64_t lonely_ns;    /* when lonely replicas ask again */
    uint64_t unsettled_ns; /* since when some ring looks for its successor; 0:
                            * none does */
};

int fingers_new(struct fingers **out)
{
    *out = mem_zero(1, sizeof **out);
    return *out ? DLHT_OK : DLHT_ENOMEM;
}

void fingers_free(struct fingers *fingers)
{
    free(fingers);
}

/* Rings by keyspace. */

static bool list_ring(struct keyspace *ks, const struct ring *ring)
{
    if (ks->ring_count == ks->ring_cap) {
        size_t cap = ks->ring_cap ? ks->ring_cap * 2 : 8;
        const struct ring **grown =
            mem_resize(ks->rings, cap, sizeof(struct ring *));
        if (!grown)
            return false;
        ks->rings = grown;
        ks->ring_cap = cap;
    }
    ks->rings[ks->ring_count++] = ring;
    return true;
}

void fingers_drop(struct node *node, struct replica *r)
{
    struct keyspace *ks = keyspaces_find(node, r->keyspace);
    if (!r->ring)
        return;
    for (size_t i = 0; ks && i < ks->ring_count; i++) {
        if (ks->rings[i] == r->ring) {
            ks->rings[i] = ks->rings[--ks->ring_count];
            break;
        }
    }
    ring_free(r->ring);
    r->ring = NULL;
}

/* The ring of the arc before r, which r may be split from. */
static const struct ring *parent_of(const struct keyspace *ks,
                                    const struct replica *r)
{
    for (size_t i = 0; i < ks->ring_count; i++) {
        const struct arc *arc = ring_self(ks->rings[i]);
        if (arc_has(arc, r->arc->lo) ||
            (arc->has_hi && span_equal(arc->hi, r->arc->lo)))
            return ks->rings[i];
    }
    return NULL;
}

/* What the map knows of the arc that must follow. */
static void hint_successor(struct keyspace *ks, struct replica *r)
{
    struct span end = order_end(r->arc);
    const struct arc *next = map_find(ks->map, end, SIZE_MAX);
    if (next && next->id != r->id && span_equal(next->lo, end))
        ring_hint(r->ring, next);
}

/* Half of a ring may die at once, and whoever lives still has a successor. */
static size_t list_len(const struct node *node, const struct keyspace *ks)
{
    size_t arcs = node->config.vnodes * swim_up_count(node->swim);
    if (node->config.successors)
        return node->config.successors;
    if (!node->config.map_fingers)
        arcs = map_count(ks->map);
    size_t len = 0;
    for (; arcs > 1; arcs = (arcs + 1) / 2)
        len += 2;
    return len < LIST_LEAST ? LIST_LEAST
                            : (len < RING_LIST_MAX ? len : RING_LIST_MAX);
}

static void begin_ring(struct node *node, struct keyspace *ks,
                       struct replica *r)
{
    struct ring_config config = { .known = ks->map,
                                  .list_len = list_len(node, ks),
                                  .seed = rng_next(&node->rng) };
    if (ring_new(&config, r->arc, parent_of(ks, r), node->now_ns, &r->ring) !=
        DLHT_OK)
        return; /* again when it changes next */
    if (!list_ring(ks, r->ring)) {
        ring_free(r->ring);
        r->ring = NULL;
        return;
    }
    hint_successor(ks, r);
    node->fingers->busy = true;
    node_wake_at(node, ring_timeout_ns(r->ring));
}

/* Leads, and has applied all that its term began with. */
static bool may_speak(const struct replica *r)
{
    return !r->empty && r->keyspace != SYSTEM_KEYSPACE && replica_leads(r) &&
           !op_merge_is_closed(r) && r->applied_term == raft_term(r->raft);
}

static bool differs(const struct arc *a, const struct arc *b)
{
    return a->generation != b->generation || a->term != b->term ||
           !id_equal(&a->owner, &b->owner);
}

void fingers_follow(struct node *node, struct replica *r)
{
    if (!r->ring && !node->config.map_fingers)
        return;
    struct keyspace *ks = keyspaces_find(node, r->keyspace);
    if (!ks || !may_speak(r)) {
        fingers_drop(node, r);
    } else if (!r->ring) {
        begin_ring(node, ks, r);
    } else if (differs(r->arc, ring_self(r->ring))) {
        if (ring_set_self(r->ring, r->arc) == DLHT_OK)
            hint_successor(ks, r);
        node->fingers->busy = true;
    }
}

/* Messages. */

/* Whom to send it to: the owner first, but not always, since who is thought to
 * be it may not be. False: nobody is up. */
static bool choose_peer(struct node *node, const struct ring_send *send,
                        struct id *to)
{
    size_t count = send->peer_count;
    size_t from = 0;
    if (count > 1 && !rng_chance(&node->rng, OWNER_CHANCE))
        from = (size_t)rng_below(&node->rng, count);
    struct replica *own = node_replica(node, send->to);
    for (size_t i = 0; i < count; i++) {
        const struct id *peer = &send->peers[(from + i) % count];
        bool self = node_is_self(node, peer);
        if (self ? own && own->ring : node_peer_is_up(node, peer)) {
            *to = *peer;
            return true;
        }
    }
    return false;
}

/* A copy that lives as long as the step's effects. */
static bool keep(struct node *node, struct ring_message *m)
{
    m->self = node_keep_arc(node, m->self);
    bool kept = m->self != NULL;
    if (m->predecessor) {
        m->predecessor = node_keep_arc(node, m->predecessor);
        kept = kept && m->predecessor;
    }
    for (size_t i = 0; i < m->arc_count; i++) {
        m->arcs[i] = node_keep_arc(node, m->arcs[i]);
        kept = kept && m->arcs[i];
    }
    struct span key = effects_copy(node->fx, m->key);
    kept = kept && key.len == m->key.len;
    m->key = key;
    return kept;
}

static void send_one(struct node *node, const struct ring_send *send)
{
    struct fingers *f = node->fingers;
    struct id to;
    struct message m = { .type = MESSAGE_RING };
    m.u.ring = send->message;
    if (!choose_peer(node, send, &to) || !keep(node, &m.u.ring))
        return; /* as if lost */
    if (!node_is_self(node, &to))
        node_send(node, &to, &m);
    else if (f->loop_count < LOOP_MAX)
        f->loop[f->loop_count++] = m.u.ring;
}

static void hear(struct node *node, struct replica *r, const struct id *from,
                 const struct ring_message *m)
{
    if (ring_receive(r->ring, node->now_ns, from, m) == DLHT_EPROTO)
        node_log(node, LOG_DEBUG, "arc %016llx: a ring message was refused",
                 (unsigned long long)r->id);
    node->fingers->busy = true;
    node_wake_at(node, ring_timeout_ns(r->ring));
}

void fingers_flush(struct node *node)
{
    struct fingers *f = node->fingers;
    for (int round = 0; f->busy && round < ROUNDS_MAX; round++) {
        f->busy = false;
        f->loop_count = 0;
        for (size_t i = 0; i < node->replica_count; i++) {
            struct ring_send send;
            struct replica *r = node->replicas[i];
            while (r->ring && ring_take(r->ring, &send))
                send_one(node, &send);
        }
        for (size_t i = 0; i < f->loop_count; i++) {
            struct replica *r = node_replica(node, f->loop[i].to);
            if (r && r->ring)
                hear(node, r, &node->self, &f->loop[i]);
        }
    }
    if (f->busy)
        node_wake_at(node, node->now_ns + NODE_TICK_NS);
}

/* One descriptor, to somebody who needs it. */
static void tell(struct node *node, const struct id *to, const struct arc *arc)
{
    struct message m = { .type = MESSAGE_GOSSIP };
    m.u.gossip.arcs = node_keep_arc(node, arc);
    m.u.gossip.arc_count = 1;
    if (m.u.gossip.arcs)
        node_send(node, to, &m);
}

void fingers_receive(struct node *node, const struct id *from,
                     const struct message *message)
{
    const struct ring_message *m = &message->u.ring;
    struct keyspace *ks = keyspaces_find(node, m->self->keyspace);
    struct replica *r = node_replica(node, m->to);
    if (!ks || ks->record.id == SYSTEM_KEYSPACE)
        return;
    if (r && (r->empty || r->keyspace != ks->record.id))
        r = NULL;
    if (!node->config.map_fingers)
        (void)gossip_learn_arc(node, m->self);
    if (r && may_speak(r)) {
        if (!r->ring)
            begin_ring(node, ks, r);
        if (r->ring)
            hear(node, r, from, m);
        return;
    }
    bool question = m->type == RING_ASK || m->type == RING_FIND ||
                    m->type == RING_FINGER_ASK;
    const struct arc *known = r ? r->arc : map_by_id(ks->map, m->to);
    if (question && known)
        tell(node, from, known);
}

/* Time. */

static bool is_lonely(const struct node *node, const struct replica *r)
{
    return !r->empty && !replica_leads(r) && r->keyspace != SYSTEM_KEYSPACE &&
           !raft_is_quiet(r->raft) && /* told to hear nothing */
           node->now_ns - r->led_by_ns >= LONELY_NS;
}

static bool has_replica(const struct arc *arc, replica_id id)
{
    for (size_t i = 0; i < arc->member_count; i++)
        if (arc->members[i].replica == id)
            return true;
    return false;
}

/* The answer is a read of the group, so what was committed before is in it. A
 * copy that is no member by it, and that nobody writes to, was added by a
 * leader that could not commit that, or was removed since. */
static void info_heard(struct node *node, void *context,
                       const struct response *response)
{
    (void)context;
    struct arc arc;
    struct mp_reader reader;
    mp_reader_init(&reader, response->value);
    if (response->status != DLHT_OK)
        return;
    codec_unpack_arc(&reader, &arc);
    if (reader.bad)
        return;
    gossip_notice_arc(node, &arc);
    struct replica *r = node_replica(node, arc.id);
    if (r && is_lonely(node, r) && arc.generation >= r->arc->generation &&
        !has_replica(&arc, r->self))
        replica_remove(node, r);
}

/* A copy that its group went on without may hear of it from nobody: it looks
 * up who has its place. */
static void ask_if_lonely(struct node *node, struct replica *r)
{
    if (!is_lonely(node, r))
        return;
    struct request q = { .op = OP_ARC_INFO,
                         .keyspace = r->keyspace,
                         .key = r->arc->lo };
    struct pending_target target = { .done = info_heard, .later = true };
    if (pending_begin(node, &q, node->now_ns + LONELY_NS, &target) != DLHT_OK)
        node_log(node, LOG_DEBUG, "too many requests to ask for an arc");
}

static const struct replica *led_in(const struct node *node,
                                    const struct keyspace *ks)
{
    for (size_t i = 0; i < node->replica_count; i++)
        if (node->replicas[i]->keyspace == ks->record.id &&
            may_speak(node->replicas[i]))
            return node->replicas[i];
    return NULL;
}

void fingers_warm(struct node *node, const struct keyspace *ks)
{
    const struct replica *r = led_in(node, ks);
    struct buf key = { 0 };
    double error;
    uint64_t from = r ? models_position(ks, r->arc->lo, &error) : 0;
    for (int level = 1; node->config.map_fingers && level <= WARM_LEVELS;
         level++) {
        buf_reset(&key);
        if (models_key_at(ks, from + (UINT64_C(1) << (64 - level)), &key) !=
            DLHT_OK)
            break;
        struct request q = { .op = OP_ARC_INFO,
                             .keyspace = ks->record.id,
                             .key = buf_span(&key) };
        struct pending_target target = { .done = info_heard, .later = true };
        if (pending_begin(node, &q, node->now_ns + LONELY_NS, &target) !=
            DLHT_OK)
            break;
    }
    buf_deinit(&key);
}

/* Whoever a ring knows cannot lead it back to arcs that nobody it knows has
 * heard of. */
static void note_unsettled(struct node *node, bool unsettled)
{
    struct fingers *f = node->fingers;
    if (!unsettled)
        f->unsettled_ns = 0;
    else if (f->unsettled_ns == 0)
        f->unsettled_ns = node->now_ns;
    else if (node->now_ns - f->unsettled_ns > UNSETTLED_NS)
        gossip_note_lost(node);
}

void fingers_tick(struct node *node)
{
    struct fingers *f = node->fingers;
    bool ask = node->phase == PHASE_SERVING && node->now_ns >= f->lonely_ns;
    if (ask)
        f->lonely_ns = node->now_ns + LONELY_NS;
    bool unsettled = false;
    for (size_t i = 0; i < node->replica_count; i++) {
        struct replica *r = node->replicas[i];
        if (ask)
            ask_if_lonely(node, r);
        if (!r->ring)
            continue;
        unsettled = unsettled || !ring_is_settled(r->ring);
        if (ring_timeout_ns(r->ring) <= node->now_ns) {
            const struct keyspace *ks = keyspaces_find(node, r->keyspace);
            ring_tick(r->ring, node->now_ns);
            if (ks)
                ring_set_list_len(r->ring, list_len(node, ks));
            f->busy = true;
        }
        node_wake_at(node, (ring_timeout_ns(r->ring) / NODE_TICK_NS + 1) *
                               NODE_TICK_NS);
    }
    note_unsettled(node, unsettled);
}

/* Knowledge. */

void fingers_learn(struct node *node, struct keyspace *ks,
                   const struct arc *arc)
{
    for (size_t i = 0; i < ks->ring_count; i++) {
        struct replica *r = node_replica(node, ring_self(ks->rings[i])->id);
        if (r && r->ring && r->id != arc->id)
            ring_learn(r->ring, arc);
    }
}

void fingers_trim(struct node *node, struct keyspace *ks, arc_id but)
{
    if (!node->config.map_fingers || ks->record.id == SYSTEM_KEYSPACE)
        return;
    size_t max = FINGERS_CACHE_MAX + node->replica_count;
    for (int i = 0; map_count(ks->map) > max && i < TRIES_MAX; i++) {
        size_t at = (size_t)rng_below(&node->rng, map_count(ks->map));
        arc_id id = map_at(ks->map, at)->id;
        if (id != but && !node_replica(node, id))
            map_forget(ks->map, id, UINT64_MAX);
    }
}

/* Routes. */

/* The key whose place is looked for: an arc that begins exactly there is too
 * far if the request goes downwards. */
static struct span key_of(const struct request *q)
{
    if (!(q->flags & REQUEST_REVERSE))
        return q->key;
    return q->flags & REQUEST_HAS_END ? q->end : span_empty();
}

static bool is_avoided(const struct request *q, arc_id arc)
{
    for (size_t i = 0; i + 8 <= q->avoid.len; i += 8) {
        arc_id id = 0;
        for (size_t k = 0; k < 8; k++)
            id |= (arc_id)q->avoid.data[i + k] << 8 * k;
        if (id == arc)
            return true;
    }
    return false;
}

/* Somebody may answer there, as far as is known. */
static bool is_alive(const struct node *node, const struct arc *arc)
{
    for (size_t i = 0; i < arc->member_count; i++)
        if (node_is_self(node, &arc->members[i].peer) ||
            node_peer_is_up(node, &arc->members[i].peer))
            return true;
    return arc->member_count == 0;
}

/* A way on. Where the key is, there is no way around. */
static bool may_lead(const struct node *node, const struct request *q,
                     const struct arc *arc)
{
    return !is_avoided(q, arc->id) &&
           (op_begins_in(arc, q) || is_alive(node, arc));
}

static const struct arc *nearest_way(const struct node *node,
                                     const struct request *q,
                                     const struct lookup_nearest *nearest,
                                     bool down, bool to_any)
{
    const struct arc *last = NULL;
    for (size_t i = 0; i < nearest->count; i++) {
        const struct arc *arc = nearest->arcs[i];
        if (!may_lead(node, q, arc))
            continue;
        if (!down || !span_equal(arc->lo, nearest->key))
            return arc;
        last = arc; /* what stands at the end is too far */
    }
    return to_any ? last : NULL;
}

const struct arc *fingers_hint(const struct node *node,
                               const struct keyspace *ks,
                               const struct request *q, const struct arc *from)
{
    struct lookup_view view = { ks->map, ks->rings, ks->ring_count };
    struct lookup_nearest nearest = { .key = key_of(q), .count_max = 2 };
    if (from) {
        nearest.has_from = true;
        nearest.from = from->lo;
    }
    /* Going down, what stands at the end is not nearer than anything. */
    bool down = (q->flags & REQUEST_REVERSE) != 0;
    if (from && down && span_equal(from->lo, nearest.key))
        nearest.has_from = false;
    lookup_offer_view(&nearest, &view);
    const struct arc *way = nearest_way(node, q, &nearest, down, !from);
    if (way || nearest.count < nearest.count_max)
        return way;
    /* On bad days one has to look farther. */
    nearest.count = 0;
    nearest.count_max = LOOKUP_NEAR_MAX;
    lookup_offer_view(&nearest, &view);
    return nearest_way(node, q, &nearest, down, !from);
}

const struct arc *fingers_route(const struct node *node,
                                const struct keyspace *ks,
                                const struct request *q)
{
    const struct arc *arc =
        q->flags & REQUEST_REVERSE
            ? op_find_before(ks->map, q)
            : map_find(ks->map, q->key, models_guess(ks, q->key));
    if (arc && op_begins_in(arc, q) && !is_avoided(q, arc->id))
        return arc;
    if (ks->ring_count == 0 && !node->config.map_fingers)
        return arc;
    const struct arc *way = fingers_hint(node, ks, q, NULL);
    return way ? way : arc;
}

const struct arc *fingers_after(const struct node *node,
                                const struct keyspace *ks, struct span key)
{
    (void)node;
    struct lookup_view view = { ks->map, ks->rings, ks->ring_count };
    struct lookup_nearest nearest = { .key = key,
                                      .after = true,
                                      .count_max = 2 };
    lookup_offer_view(&nearest, &view);
    for (size_t i = 0; i < nearest.count; i++)
        if (span_compare(nearest.arcs[i]->lo, key) > 0)
            return nearest.arcs[i];
    return NULL;
}
