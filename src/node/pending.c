/* SPDX-License-Identifier: Apache-2.0 */

/* Requests on their way to owners. */

#include "node/pending.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/burials.h"
#include "node/fingers.h"
#include "node/gossip.h"
#include "node/op.h"
#include "node/replica.h"
#include "node/volatile.h"

enum {
    SLOTS_MAX = 1 << 16,
    PENDING_WHY_MAX = 200,
    LOST_MAX = 16,     /* peers whose link broke just now */
    KEEP_BYTES = 4096, /* of memory, by a slot that is free */
    BACKOFF_MS_MIN = 1,
    BACKOFF_MS_MAX = 160
};
/* So long a peer whose link broke is asked only if nobody else is: what is sent
 * to it may wait in vain, and it is seen to be down only later. */
#define LOST_NS (UINT64_C(1500) * NS_PER_MS)
#define ATTEMPT_NS (UINT64_C(800) * NS_PER_MS)
/* Of an arc on the way, which answers at once and is not the only way. */
#define WAY_NS (UINT64_C(400) * NS_PER_MS)

enum slot_state {
    SLOT_FREE,
    SLOT_ASKED,   /* an answer is awaited */
    SLOT_BACKOFF, /* tried again at due_ns */
    SLOT_AGAIN    /* in the again list */
};

struct pending {
    enum slot_state state;
    uint16_t life; /* tells uses of the slot apart */
    struct request request;
    struct buf bytes; /* what request points to */
    struct pending_target target;
    uint64_t begun_ns;
    uint64_t deadline_ns;
    uint64_t due_ns;
    struct id asked;
    uint8_t avoid[8 * REQUEST_AVOID_MAX]; /* arcs, as request.avoid has them */
    size_t avoid_len;
    bool on_the_way; /* the arc asked only knows the way */
    uint32_t attempts;
    uint32_t hops;
    bool may_be_done;          /* a write that may have reached a log */
    char why[PENDING_WHY_MAX]; /* nobody serves it, as last heard; "" */
    bool was_in_doubt;         /* the same, before the attempt under way */
    uint64_t lane_number;      /* last used */
    int last_status;
};

struct lost_link {
    struct id peer;
    uint64_t at_ns; /* 0: unused */
};

struct pending_table {
    struct lost_link lost[LOST_MAX];
    struct pending **slots;
    size_t count, cap; /* made so far */
    uint32_t *free_list;
    size_t free_count;
    uint32_t *again;
    size_t again_count;
    size_t open;
    struct id lane_base;
    uint64_t timeouts; /* of arcs on the way, ever */
    /* Of streams: a late answer to the process before this one must not pass
     * for an answer to this one. */
    uint32_t salt;
};

static uint32_t ticket_of(const struct pending_table *t, size_t index,
                          const struct pending *p)
{
    return t->salt ^ ((uint32_t)p->life << 16 | (uint32_t)index);
}

static struct pending *slot_by_ticket(const struct pending_table *t,
                                      uint64_t ticket, size_t *index)
{
    ticket ^= t->salt;
    *index = ticket & 0xffff;
    if (*index >= t->count)
        return NULL;
    struct pending *p = t->slots[*index];
    if (p->state == SLOT_FREE || p->life != (ticket >> 16 & 0xffff))
        return NULL;
    return p;
}

int pending_new(struct node *node, struct pending_table **out)
{
    struct pending_table *t = mem_zero(1, sizeof *t);
    *out = t;
    if (!t)
        return DLHT_ENOMEM;
    t->lane_base = id_random(&node->rng);
    t->salt = (uint32_t)rng_next(&node->rng);
    return DLHT_OK;
}

void pending_free(struct node *node, struct pending_table *t)
{
    if (!t)
        return;
    struct response closed = { .status = DLHT_ECLOSED };
    for (size_t i = 0; i < t->count; i++) {
        struct pending *p = t->slots[i];
        if (p->state != SLOT_FREE && p->target.done) {
            p->state = SLOT_FREE;
            p->target.done(node, p->target.context, &closed);
        }
        buf_deinit(&p->bytes);
        free(p);
    }
    free(t->slots);
    free(t->free_list);
    free(t->again);
    free(t);
}

static int grow(struct pending_table *t)
{
    if (t->count >= SLOTS_MAX)
        return DLHT_EBUSY;
    if (t->count == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        struct pending **slots = mem_resize(t->slots, cap, sizeof *slots);
        if (slots)
            t->slots = slots;
        uint32_t *list = mem_resize(t->free_list, cap, sizeof *list);
        if (list)
            t->free_list = list;
        uint32_t *again = mem_resize(t->again, cap, sizeof *again);
        if (again)
            t->again = again;
        if (!slots || !list || !again)
            return DLHT_ENOMEM;
        t->cap = cap;
    }
    struct pending *p = mem_zero(1, sizeof *p);
    if (!p)
        return DLHT_ENOMEM;
    t->free_list[t->free_count++] = (uint32_t)t->count;
    t->slots[t->count++] = p;
    return DLHT_OK;
}

static bool is_write(const struct request *q)
{
    return q->op == OP_PUT || q->op == OP_DEL || q->op == OP_CAS ||
           q->op == OP_BATCH || q->op == OP_CAS_BATCH ||
           q->op == OP_CACHE_EXPIRE;
}

static void copy_span(struct buf *b, struct span *s)
{
    size_t at = b->len;
    buf_append_span(b, *s);
    s->data = (const uint8_t *)(uintptr_t)at; /* made a pointer at the end */
}

static void place_span(const struct buf *b, struct span *s)
{
    s->data = s->len ? b->data + (uintptr_t)s->data : NULL;
}

/* The slot's own copy of the request. */
static int keep_request(struct pending *p, const struct request *request)
{
    struct request *q = &p->request;
    *q = *request;
    q->keyspace_name = span_empty();
    buf_reset(&p->bytes);
    copy_span(&p->bytes, &q->key);
    copy_span(&p->bytes, &q->end);
    copy_span(&p->bytes, &q->value);
    copy_span(&p->bytes, &q->list);
    if (p->bytes.failed)
        return DLHT_ENOMEM;
    place_span(&p->bytes, &q->key);
    place_span(&p->bytes, &q->end);
    place_span(&p->bytes, &q->value);
    place_span(&p->bytes, &q->list);
    return DLHT_OK;
}

static void use_lane(struct pending_table *t, size_t index, struct pending *p)
{
    p->request.session = t->lane_base;
    p->request.session.bytes[0] = (uint8_t)(index & 0xff);
    p->request.session.bytes[1] = (uint8_t)(index >> 8);
    p->request.number = p->lane_number;
    p->request.lowest_open = p->lane_number;
}

/* Of a request on records that was answered, and not refused. */
static void note_latency(struct node *node, const struct pending *p, int status)
{
    bool answered = status == DLHT_OK || status == DLHT_ENOTFOUND ||
                    status == DLHT_EMISMATCH;
    if (answered && p->request.keyspace != SYSTEM_KEYSPACE &&
        p->request.op >= OP_PUT && p->request.op <= OP_COUNT)
        latency_note(&node->latency, node->now_ns, node->now_ns - p->begun_ns);
}

static void finish(struct node *node, size_t index, struct pending *p,
                   const struct response *response)
{
    struct pending_table *t = node->pending;
    struct response final = *response;
    final.hops = p->hops;
    note_latency(node, p, response->status);
    struct pending_target target = p->target;
    p->state = SLOT_FREE;
    p->life++;
    t->open--;
    if (target.done)
        target.done(node, target.context, &final);
    else
        node_answer(node, &target.origin, &final);
    /* Only now: the answer may point into what the slot keeps. */
    if (p->bytes.cap > KEEP_BYTES)
        buf_deinit(&p->bytes);
    t->free_list[t->free_count++] = (uint32_t)index;
}

static void finish_status(struct node *node, size_t index, struct pending *p,
                          int status, const char *text)
{
    struct response response = { .status = status };
    if (text)
        response.text = span_str(text);
    finish(node, index, p, &response);
}

static void give_up(struct node *node, size_t index, struct pending *p)
{
    if (is_write(&p->request) && p->may_be_done)
        finish_status(node, index, p, DLHT_EUNKNOWN,
                      "the deadline passed; the write may or may not take "
                      "effect");
    else if (p->last_status == DLHT_EBUSY || p->last_status == DLHT_EFULL)
        finish_status(node, index, p, p->last_status, NULL);
    else if (p->why[0])
        finish_status(node, index, p, DLHT_EUNAVAILABLE, p->why);
    else if (is_write(&p->request))
        finish_status(node, index, p, DLHT_EUNAVAILABLE,
                      "no owner could be reached in time; nothing was "
                      "written");
    else
        finish_status(node, index, p, DLHT_ETIMEOUT,
                      "no owner answered in time");
}

static void back_off(struct node *node, struct pending *p)
{
    uint32_t shift = p->attempts < 9 ? p->attempts : 8;
    uint64_t ms = (uint64_t)BACKOFF_MS_MIN << shift >> 1;
    if (ms > BACKOFF_MS_MAX)
        ms = BACKOFF_MS_MAX;
    ms += rng_below(&node->rng, ms / 2 + 1);
    p->state = SLOT_BACKOFF;
    p->due_ns = node->now_ns + ms * NS_PER_MS;
    node_wake_at(node, p->due_ns);
}

/* It is asked only if nobody else is: its link broke just now, or it is
 * suspected. */
static bool is_doubtful(const struct node *node, const struct id *peer)
{
    const struct pending_table *t = node->pending;
    const struct peer *p = swim_find(node->swim, peer);
    if (p && p->state == PEER_SUSPECT)
        return true;
    for (size_t i = 0; i < LOST_MAX; i++)
        if (t->lost[i].at_ns && node->now_ns - t->lost[i].at_ns < LOST_NS &&
            id_equal(&t->lost[i].peer, peer))
            return true;
    return false;
}

/* In the place of what it said before, else of the oldest. */
static void note_lost(struct node *node, const struct id *peer)
{
    struct pending_table *t = node->pending;
    struct lost_link *place = &t->lost[0];
    for (size_t i = 0; i < LOST_MAX; i++) {
        if (t->lost[i].at_ns < place->at_ns)
            place = &t->lost[i];
        if (id_equal(&t->lost[i].peer, peer)) {
            place = &t->lost[i];
            break;
        }
    }
    *place = (struct lost_link){ *peer, node->now_ns };
}

/* The first attempt goes to a certain other peer. */
static bool is_preferred(const struct node *node, const struct pending *p)
{
    const struct id *prefer = &p->target.prefer;
    return p->attempts == 0 && !id_is_zero(prefer) &&
           !node_is_self(node, prefer) && node_peer_is_up(node, prefer);
}

/* Any copy of the arc may answer it. But of the way to another one a copy here
 * knows no more than the map that has just named it, and owners know most. */
static bool may_be_stale(const struct pending *p)
{
    return (p->request.flags & REQUEST_STALE) && !p->on_the_way;
}

/* Whom to ask about an arc: its owner if it is up, else one member after the
 * other. False: nobody. */
static bool choose_peer(struct node *node, const struct arc *arc,
                        const struct pending *p, struct id *to)
{
    bool stale = may_be_stale(p);
    if (is_preferred(node, p)) {
        *to = p->target.prefer;
        return true;
    }
    if (!id_is_zero(&arc->owner) && p->attempts % 3 != 2 && !stale &&
        !node_is_self(node, &arc->owner) &&
        node_peer_is_up(node, &arc->owner) && !is_doubtful(node, &arc->owner)) {
        *to = arc->owner;
        return true;
    }
    bool found = false;
    for (size_t i = 0; i < arc->member_count; i++) {
        const struct arc_member *m =
            &arc->members[(p->attempts + i) % arc->member_count];
        if (node_is_self(node, &m->peer) || !node_peer_is_up(node, &m->peer))
            continue;
        bool doubtful = is_doubtful(node, &m->peer);
        if (!found || !doubtful)
            *to = m->peer;
        found = true;
        if (!doubtful)
            break;
    }
    return found;
}

static const struct arc *route(struct node *node, const struct request *q)
{
    struct keyspace *ks = keyspaces_find(node, q->keyspace);
    return ks ? fingers_route(node, ks, q) : NULL;
}

static void keep_why(struct pending *p, struct span text)
{
    size_t len = text.len < sizeof p->why - 1 ? text.len : sizeof p->why - 1;
    if (len)
        memcpy(p->why, text.data, len);
    p->why[len] = '\0';
}

/* An attempt begins that may do it. */
static void enter_doubt(struct pending *p)
{
    p->was_in_doubt = p->may_be_done;
    p->may_be_done = p->may_be_done || is_write(&p->request);
}

static void try_again_now(struct node *node, size_t index, struct pending *p)
{
    struct pending_table *t = node->pending;
    if (t->again_count == t->cap) {
        back_off(node, p);
        return;
    }
    p->state = SLOT_AGAIN;
    t->again[t->again_count++] = (uint32_t)index;
    node_wake_at(node, node->now_ns);
}

static bool is_avoided(const struct pending *p, arc_id arc)
{
    for (size_t i = 0; i < p->avoid_len; i += 8) {
        arc_id id = 0;
        for (size_t k = 0; k < 8; k++)
            id |= (arc_id)p->avoid[i + k] << 8 * k;
        if (id == arc)
            return true;
    }
    return false;
}

/* The one just asked is not asked again, nor named by others. */
static void avoid_arc(struct pending *p)
{
    if (p->avoid_len == sizeof p->avoid)
        return;
    for (size_t k = 0; k < 8; k++)
        p->avoid[p->avoid_len++] = (uint8_t)(p->request.arc >> 8 * k);
}

/* The arc asked for the way does not know it: another is asked at once. False:
 * it was not on the way, or there are too many such. */
static bool go_around(struct node *node, size_t index, struct pending *p)
{
    if (!p->on_the_way || p->avoid_len == sizeof p->avoid) {
        p->avoid_len = 0; /* from the beginning, a little later */
        return false;
    }
    avoid_arc(p);
    p->last_status = DLHT_EUNAVAILABLE;
    try_again_now(node, index, p);
    return true;
}

/* It gave no answer. Others will ask it, too: better find out if it lives. */
static void miss_answer(struct node *node, size_t index, struct pending *p)
{
    if (p->on_the_way)
        node->pending->timeouts++;
    swim_hint_lost(node->swim, &p->asked);
    if (!go_around(node, index, p))
        back_off(node, p);
}

enum {
    DOUBT_AFTER = 3 /* attempts */
};

/* Nobody asked for this arc knows better, or there is nobody to ask. In a cache
 * it may be long gone. So it may in those of others, who would name it again. */
static void doubt(struct node *node, struct pending *p)
{
    struct keyspace *ks = keyspaces_find(node, p->request.keyspace);
    if (!ks || !node->config.map_fingers || p->attempts % DOUBT_AFTER != 0 ||
        p->request.keyspace == SYSTEM_KEYSPACE ||
        node_replica(node, p->request.arc))
        return;
    map_forget(ks->map, p->request.arc, p->request.generation);
    avoid_arc(p);
}

/* Done already, it would be answered otherwise when it is tried again. Whoever
 * has a volatile arc now may have its entries, but not what was answered. */
static bool is_answered_once(const struct request *q)
{
    return q->op == OP_CAS || q->op == OP_CAS_BATCH ||
           (q->op == OP_PUT && q->flags & REQUEST_LEASED);
}

static void attempt(struct node *node, size_t index, struct pending *p)
{
    p->request.avoid = span_of(p->avoid, p->avoid_len);
    const struct arc *arc = route(node, &p->request);
    if (!arc || is_avoided(p, arc->id)) {
        p->avoid_len = 0; /* no way is left but those */
        p->last_status = DLHT_EUNAVAILABLE;
        gossip_note_lost(node);
        p->attempts++;
        back_off(node, p);
        return;
    }
    if (p->may_be_done && arc->generation != p->request.generation &&
        is_answered_once(&p->request) &&
        volatile_is(node, p->request.keyspace)) {
        finish_status(node, index, p, DLHT_EUNKNOWN,
                      "the arc has moved; what was tried before may or may not "
                      "have taken effect");
        return;
    }
    p->request.arc = arc->id;
    p->request.generation = arc->generation;
    p->request.flags |= REQUEST_TO_ARC;
    p->state = SLOT_ASKED;
    p->on_the_way = !op_begins_in(arc, &p->request);
    p->due_ns = p->target.patient
                    ? p->deadline_ns
                    : node->now_ns + (p->on_the_way ? WAY_NS : ATTEMPT_NS);
    struct replica *r = node_replica(node, arc->id);
    if (r && !r->empty && !is_preferred(node, p) &&
        (replica_leads(r) || may_be_stale(p))) {
        p->asked = node->self;
        p->attempts++;
        enter_doubt(p);
        struct origin origin = { .kind = ORIGIN_PENDING,
                                 .ticket = ticket_of(node->pending, index, p) };
        op_serve(node, &p->request, &origin);
        return;
    }
    struct id to;
    if (!choose_peer(node, arc, p, &to)) {
        if (burials_has(node, arc->id, BURIALS_DAMAGED))
            keep_why(p, op_damaged_text(node));
        p->last_status = DLHT_EUNAVAILABLE;
        gossip_note_lost(node);
        p->attempts++;
        doubt(node, p);
        back_off(node, p);
        return;
    }
    p->asked = to;
    p->attempts++;
    p->hops++;
    enter_doubt(p);
    struct message m = { .type = MESSAGE_REQUEST,
                         .stream = ticket_of(node->pending, index, p) };
    m.u.request = p->request;
    uint64_t left =
        p->deadline_ns > node->now_ns ? p->deadline_ns - node->now_ns : 0;
    /* More than the most that may be asked for would break the link. */
    uint64_t left_ms = left / NS_PER_MS + 1;
    m.u.request.timeout_ms = left_ms < REQUEST_TIMEOUT_MS_MAX
                                 ? (uint32_t)left_ms
                                 : REQUEST_TIMEOUT_MS_MAX;
    node_send(node, &to, &m);
}

/* Everybody who names a key has one: else there was no memory to make it. */
static bool lacks_key(const struct request *request)
{
    switch (request->op) {
    case OP_PUT:
    case OP_GET:
    case OP_DEL:
    case OP_CAS:
    case OP_CACHE_EXPIRE:
    case OP_CACHE_LEASE:
        return request->key.len == 0;
    default:
        return false;
    }
}

int pending_begin(struct node *node, const struct request *request,
                  uint64_t deadline_ns, const struct pending_target *target)
{
    struct pending_table *t = node->pending;
    if (lacks_key(request))
        return DLHT_ENOMEM;
    if (t->free_count == 0) {
        int rc = grow(t);
        if (rc != DLHT_OK)
            return rc;
    }
    size_t index = t->free_list[t->free_count - 1];
    struct pending *p = t->slots[index];
    int rc = keep_request(p, request);
    if (rc != DLHT_OK)
        return rc;
    t->free_count--;
    t->open++;
    p->target = *target;
    p->begun_ns = node->now_ns;
    p->deadline_ns = deadline_ns;
    p->attempts = p->hops = 0;
    p->avoid_len = 0;
    p->may_be_done = p->was_in_doubt = false;
    p->why[0] = '\0';
    p->last_status = DLHT_OK;
    p->lane_number++;
    if (is_write(request) && id_is_zero(&request->session))
        use_lane(t, index, p);
    /* Inside a flush nothing may be proposed: effects point into logs. */
    if (target->later || node->in_flush)
        try_again_now(node, index, p);
    else
        attempt(node, index, p);
    return DLHT_OK;
}

void pending_answer(struct node *node, uint64_t ticket, const struct id *from,
                    const struct response *response)
{
    struct pending_table *t = node->pending;
    size_t index;
    struct pending *p = slot_by_ticket(t, ticket, &index);
    if (!p || p->state != SLOT_ASKED || !id_equal(&p->asked, from))
        return; /* late: another attempt is under way */
    bool news = false;
    switch (response->status) {
    case DLHT_ENOTOWNER:
        /* Certainly not done by this attempt; an earlier one may be. */
        p->may_be_done = p->was_in_doubt;
        keep_why(p, response->text);
        if (response->arc)
            news = gossip_learn_arc(node, response->arc);
        if (p->target.wants_not_owner && response->count == OP_BY_LOG) {
            finish(node, index, p, response);
            return;
        }
        p->last_status = DLHT_EUNAVAILABLE;
        if (news && p->hops < HOPS_MAX) {
            p->attempts = 0; /* of what is known now */
            try_again_now(node, index, p);
        } else if (p->hops >= HOPS_MAX || !go_around(node, index, p)) {
            doubt(node, p);
            back_off(node, p);
        }
        return;
    case DLHT_EBUSY:
        if (p->target.busy_is_final) {
            finish(node, index, p, response);
            return;
        }
        p->may_be_done = p->was_in_doubt;
        p->last_status = response->status;
        back_off(node, p);
        return;
    case DLHT_EUNAVAILABLE:
        p->last_status = response->status;
        back_off(node, p);
        return;
    case DLHT_EFULL:
        p->may_be_done = p->was_in_doubt;
        if (p->may_be_done) {
            finish_status(node, index, p, DLHT_EUNKNOWN,
                          "the owner has no room; what was tried before may "
                          "or may not take effect");
            return;
        }
        finish(node, index, p, response);
        return;
    default:
        finish(node, index, p, response);
    }
}

void pending_link_down(struct node *node, const struct id *peer)
{
    struct pending_table *t = node->pending;
    note_lost(node, peer);
    for (size_t i = 0; i < t->count; i++) {
        struct pending *p = t->slots[i];
        if (p->state == SLOT_ASKED && id_equal(&p->asked, peer)) {
            p->last_status = DLHT_EUNAVAILABLE;
            miss_answer(node, i, p);
        }
    }
}

void pending_tick(struct node *node)
{
    struct pending_table *t = node->pending;
    for (size_t i = 0; i < t->count && t->open; i++) {
        struct pending *p = t->slots[i];
        if (p->state == SLOT_FREE)
            continue;
        if (node->now_ns >= p->deadline_ns)
            give_up(node, i, p);
        else if (p->state == SLOT_BACKOFF && node->now_ns >= p->due_ns)
            try_again_now(node, i, p);
        else if (p->state == SLOT_ASKED && node->now_ns >= p->due_ns &&
                 !node_is_self(node, &p->asked))
            miss_answer(node, i, p);
    }
}

bool pending_flush(struct node *node)
{
    struct pending_table *t = node->pending;
    if (t->again_count == 0)
        return false;
    size_t count = t->again_count;
    for (size_t i = 0; i < count; i++) {
        struct pending *p = t->slots[t->again[i]];
        if (p->state == SLOT_AGAIN)
            attempt(node, t->again[i], p);
    }
    /* What was added meanwhile stays for the next round. */
    memmove(t->again, t->again + count,
            (t->again_count - count) * sizeof *t->again);
    t->again_count -= count;
    return true;
}

uint64_t pending_timeouts(const struct node *node)
{
    return node->pending->timeouts;
}

size_t pending_count(const struct node *node)
{
    return node->pending->open;
}
