/* SPDX-License-Identifier: Apache-2.0 */

/* The step: events in, effects out. */

#include "node/node.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "node/collections.h"
#include "node/disk_full.h"
#include "node/fingers.h"
#include "node/forgotten.h"
#include "node/gossip.h"
#include "node/graphs.h"
#include "node/handover.h"
#include "node/jobs.h"
#include "node/join.h"
#include "node/journal_types.h"
#include "node/keeper.h"
#include "node/keyspaces.h"
#include "node/models.h"
#include "node/op_merge.h"
#include "node/op_model.h"
#include "node/op_recover.h"
#include "node/op_search.h"
#include "node/quiet.h"
#include "node/replica.h"
#include "node/trainer.h"
#include "node/transfer.h"
#include "store/cache.h"
#include "wire/codec.h"

enum {
    LOG_TEXT_MAX = 256
};
#define IDLE_TICK_NS (UINT64_C(200) * NS_PER_MS)
#define REST_TICK_NS (UINT64_C(500) * NS_PER_MS) /* all sleep */
#define STOP_NS (UINT64_C(3000) * NS_PER_MS)
/* Less than a world waits for EFFECT_STOPPED. */
#define STOP_GRAPHS_NS (UINT64_C(8000) * NS_PER_MS)

void node_config_default(struct node_config *config)
{
    memset(config, 0, sizeof *config);
    config->join_timeout_ns = 30 * NS_PER_S;
    config->vnodes = 8;
    config->weight_milli = 1000;
    config->replicas = 3;
    config->down_out_ns = 300 * NS_PER_S;
    config->election_ns = NS_PER_S;
    config->heartbeat_ns = 150 * NS_PER_MS;
    config->quiet_ns = 5 * NS_PER_S;
    config->floor_keys = 1000;
    config->ceiling_bytes = 64 << 20;
    config->checkpoint_bytes = 256 << 20;
    config->move_rate = 64 << 20;
}

int node_new(const struct node_config *config, struct node **out)
{
    *out = NULL;
    if (config->replicas != 1 && config->replicas != 3 && config->replicas != 5)
        return DLHT_EINVAL;
    struct node *node = mem_zero(1, sizeof *node);
    if (!node)
        return DLHT_ENOMEM;
    struct node_config defaults;
    node_config_default(&defaults);
    node->config = *config;
    struct node_config *c = &node->config;
    c->election_ns = c->election_ns ? c->election_ns : defaults.election_ns;
    c->heartbeat_ns = c->heartbeat_ns ? c->heartbeat_ns : defaults.heartbeat_ns;
    c->quiet_ns = c->quiet_ns ? c->quiet_ns : defaults.quiet_ns;
    c->floor_keys = c->floor_keys ? c->floor_keys : defaults.floor_keys;
    c->ceiling_bytes =
        c->ceiling_bytes ? c->ceiling_bytes : defaults.ceiling_bytes;
    c->checkpoint_bytes =
        c->checkpoint_bytes ? c->checkpoint_bytes : defaults.checkpoint_bytes;
    c->vnodes = c->vnodes ? c->vnodes : defaults.vnodes;
    c->weight_milli = c->weight_milli ? c->weight_milli : 1000;
    rng_init(&node->rng, config->seed);
    node->self = id_random(&node->rng);
    node->next_tick_ns = UINT64_MAX;
    int rc = keyspaces_init(node);
    if (rc == DLHT_OK)
        rc = pending_new(node, &node->pending);
    if (rc == DLHT_OK)
        rc = gossip_new(&node->gossip);
    if (rc == DLHT_OK)
        rc = keeper_new(&node->keeper);
    if (rc == DLHT_OK)
        rc = fingers_new(&node->fingers);
    if (rc == DLHT_OK)
        rc = checkpoint_run_new(node);
    if (rc != DLHT_OK) {
        node_free(node);
        return rc;
    }
    *out = node;
    return DLHT_OK;
}

static void empty_graveyard(struct node *node)
{
    for (size_t i = 0; i < node->graveyard_count; i++)
        replica_free(node->graveyard[i]);
    node->graveyard_count = 0;
}

void node_free(struct node *node)
{
    if (!node)
        return;
    node->fx = NULL;
    jobs_deinit(node);
    pending_free(node, node->pending);
    checkpoint_run_free(node);
    empty_graveyard(node);
    free(node->graveyard);
    for (size_t i = 0; i < node->replica_count; i++)
        replica_free(node->replicas[i]);
    free(node->replicas);
    free(node->replica_ids);
    collections_deinit(node);
    graphs_deinit(node);
    op_search_stop(node);
    op_model_stop(node);
    op_recover_stop(node);
    keyspaces_deinit(node);
    handover_forget_all(node);
    gossip_free(node->gossip);
    keeper_free(node->keeper);
    fingers_free(node->fingers);
    swim_free(node->swim);
    free(node->tombstones);
    free(node->voters);
    free(node->dirty);
    free(node->persists);
    free(node->remembered);
    buf_deinit(&node->scratch);
    free(node);
}

void node_bury(struct node *node, struct replica *r)
{
    if (node->graveyard_count == node->graveyard_cap) {
        size_t cap = node->graveyard_cap ? node->graveyard_cap * 2 : 8;
        struct replica **grown =
            mem_resize(node->graveyard, cap, sizeof(struct replica *));
        if (!grown)
            return; /* leaks it, which harms nobody */
        node->graveyard = grown;
        node->graveyard_cap = cap;
    }
    node->graveyard[node->graveyard_count++] = r;
}

void node_log(struct node *node, enum log_level level, const char *format, ...)
{
    if (!node->fx)
        return;
    char *text = effects_room(node->fx, LOG_TEXT_MAX);
    struct effect *e = text ? effects_add(node->fx, EFFECT_LOG) : NULL;
    if (!e)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, LOG_TEXT_MAX, format, args);
    va_end(args);
    e->u.log.level = level;
    e->u.log.text = text;
}

bool node_is_self(const struct node *node, const struct id *peer)
{
    return id_equal(&node->self, peer);
}

bool node_peer_is_up(const struct node *node, const struct id *peer)
{
    const struct peer *p = swim_find(node->swim, peer);
    return p && p->state <= PEER_SUSPECT;
}

const char *node_peer_addr(const struct node *node, const struct id *peer)
{
    const struct peer *p = swim_find(node->swim, peer);
    return p ? p->addr : NULL;
}

static void emit(struct node *node, const struct id *to,
                 const struct message *message)
{
    const char *addr = node_peer_addr(node, to);
    char *copy = addr ? effects_room(node->fx, PEER_ADDR_MAX) : NULL;
    struct effect *e = copy ? effects_add(node->fx, EFFECT_SEND) : NULL;
    if (!e)
        return;
    memcpy(copy, addr, PEER_ADDR_MAX);
    e->u.send.to = *to;
    e->u.send.addr = copy;
    e->u.send.message = *message;
}

void node_send(struct node *node, const struct id *to,
               const struct message *message)
{
    if (!node->fx || !node->swim)
        return;
    if (message->type == MESSAGE_REQUEST) {
        /* The effect points to it. */
        struct swim_send greeting, *kept;
        if (swim_greet(node->swim, to, &greeting) &&
            (kept = effects_room(node->fx, sizeof *kept)) != NULL) {
            *kept = greeting;
            struct message m = { .type = MESSAGE_SWIM };
            m.u.swim = &kept->message;
            emit(node, to, &m);
        }
    }
    emit(node, to, message);
}

void node_wake_at(struct node *node, uint64_t at_ns)
{
    if (at_ns < node->next_tick_ns)
        node->next_tick_ns = at_ns;
}

uint64_t node_next_timeout_ns(const struct node *node)
{
    return node->next_tick_ns;
}

const struct arc *node_keep_arc(struct node *node, const struct arc *arc)
{
    struct arc *copy = arc ? effects_room(node->fx, sizeof *copy) : NULL;
    if (!copy)
        return NULL;
    *copy = *arc;
    copy->lo = effects_copy(node->fx, arc->lo);
    copy->hi = effects_copy(node->fx, arc->hi);
    if (copy->lo.len != arc->lo.len || copy->hi.len != arc->hi.len)
        return NULL;
    return copy;
}

static struct response keep_response(struct node *node,
                                     const struct response *response)
{
    struct response kept = *response;
    kept.value = effects_copy(node->fx, response->value);
    kept.list = effects_copy(node->fx, response->list);
    kept.cursor = effects_copy(node->fx, response->cursor);
    kept.text = effects_copy(node->fx, response->text);
    kept.arc = node_keep_arc(node, response->arc);
    if (kept.value.len != response->value.len ||
        kept.list.len != response->list.len ||
        kept.cursor.len != response->cursor.len) {
        memset(&kept, 0, sizeof kept);
        kept.status = DLHT_EBUSY;
    }
    return kept;
}

void node_answer(struct node *node, const struct origin *origin,
                 const struct response *response)
{
    if (origin->kind == ORIGIN_NONE || !node->fx)
        return;
    if (origin->kind == ORIGIN_PENDING) {
        pending_answer(node, origin->ticket, &node->self, response);
        return;
    }
    if (origin->kind == ORIGIN_SEARCH) {
        op_search_confirmed(node, origin->ticket, response->status);
        return;
    }
    struct response kept = keep_response(node, response);
    if (origin->kind == ORIGIN_PEER) {
        struct message m = { .type = MESSAGE_RESPONSE,
                             .stream = origin->stream };
        m.u.response = kept;
        node_send(node, &origin->peer, &m);
        return;
    }
    struct effect *e = effects_add(node->fx, EFFECT_REPLY);
    if (!e) {
        if (node->unsaid_count < NODE_UNSAID_MAX)
            node->unsaid[node->unsaid_count++] = origin->ticket;
        return;
    }
    kept.arc = NULL; /* between peers only */
    e->u.reply.ticket = origin->ticket;
    e->u.reply.response = kept;
}

/* Clients to whom nothing could be said for want of memory. */
static void answer_unsaid(struct node *node)
{
    while (node->unsaid_count) {
        struct effect *e = effects_add(node->fx, EFFECT_REPLY);
        if (!e)
            return;
        e->u.reply.ticket = node->unsaid[--node->unsaid_count];
        e->u.reply.response.status = DLHT_EUNKNOWN;
        e->u.reply.response.text = span_str("no memory for the answer");
    }
}

void node_answer_status(struct node *node, const struct origin *origin,
                        int status, const char *text)
{
    struct response response = { .status = status };
    if (text)
        response.text = span_str(text);
    node_answer(node, origin, &response);
}

void node_journal(struct node *node, uint8_t type, arc_id arc, uint64_t term,
                  uint64_t index, struct span payload)
{
    if (!node->config.durable || node->phase == PHASE_NEW)
        return;
    struct span kept = effects_copy(node->fx, payload);
    bool whole = kept.len == payload.len;
    struct effect *e = whole ? effects_add(node->fx, EFFECT_APPEND) : NULL;
    if (!e) {
        node->failed = true; /* what must be on disk would not be */
        return;
    }
    e->u.append = (struct journal_record){
        .type = type,
        .arc = arc,
        .term = term,
        .index = index,
        .payload = kept,
    };
    node->unsynced = true;
}

void node_journal_buf(struct node *node, uint8_t type, arc_id arc,
                      uint64_t term, uint64_t index, const struct buf *payload)
{
    bool is_open = node->config.durable && node->phase != PHASE_NEW;
    if (is_open && payload->failed)
        node->failed = true;
    else
        node_journal(node, type, arc, term, index, buf_span(payload));
}

void node_sync(struct node *node)
{
    if (!node->unsynced)
        return;
    struct effect *e = effects_add(node->fx, EFFECT_SYNC);
    if (!e) {
        node->failed = true;
        return;
    }
    e->u.sync.number = ++node->sync_number;
    node->unsynced = false;
}

struct replica *node_replica(const struct node *node, arc_id arc)
{
    const arc_id *base = node->replica_ids;
    size_t left = node->replica_count;
    if (left == 0)
        return NULL;
    while (left > 1) { /* no branch depends on the ids, which are random */
        size_t half = left / 2;
        base += half & (0 - (size_t)(base[half - 1] < arc));
        left -= half;
    }
    return *base == arc ? node->replicas[base - node->replica_ids] : NULL;
}

static void receive_request(struct node *node, const struct id *from,
                            const struct message *m)
{
    struct origin origin = { .kind = ORIGIN_PEER,
                             .peer = *from,
                             .stream = m->stream };
    if (m->u.request.flags & REQUEST_TO_ARC)
        op_serve(node, &m->u.request, &origin);
    else
        node_answer_status(node, &origin, DLHT_EPROTO,
                           "a peer names the arc it asks");
}

static void receive(struct node *node, const struct id *from,
                    const struct message *m)
{
    if (m->type != MESSAGE_JOIN && m->type != MESSAGE_WELCOME &&
        node->phase != PHASE_SERVING && node->phase != PHASE_STOPPING)
        return;
    switch (m->type) {
    case MESSAGE_REQUEST:
        receive_request(node, from, m);
        break;
    case MESSAGE_RESPONSE:
        pending_answer(node, m->stream, from, &m->u.response);
        break;
    case MESSAGE_RAFT:
        for (size_t i = 0; i < m->u.raft.count; i++)
            replica_receive(node, from, &m->u.raft.list[i]);
        break;
    case MESSAGE_SNAPSHOT_CHUNK:
        transfer_receive_chunk(node, from, &m->u.chunk);
        break;
    case MESSAGE_SNAPSHOT_ACK:
        transfer_receive_ack(node, from, &m->u.ack);
        break;
    case MESSAGE_SWIM:
        (void)!swim_receive(node->swim, node->now_ns, from, m->u.swim);
        break;
    case MESSAGE_GOSSIP:
        gossip_receive(node, m);
        break;
    case MESSAGE_DIGEST:
        gossip_receive_digest(node, from, m);
        break;
    case MESSAGE_JOIN:
        join_receive(node, from, m);
        break;
    case MESSAGE_WELCOME:
        join_receive_welcome(node, from, m);
        break;
    case MESSAGE_REPORT:
        keeper_receive_report(node, from, m);
        break;
    case MESSAGE_STEP:
        keeper_receive_step(node, &m->u.step);
        break;
    case MESSAGE_GONE:
        keeper_receive_gone(node, from, m);
        break;
    case MESSAGE_RING:
        fingers_receive(node, from, m);
        break;
    case MESSAGE_RECOVER:
        op_recover_receive(node, from, &m->u.recover);
        break;
    case MESSAGE_MODEL:
        models_receive(node, from, &m->u.model);
        break;
    case MESSAGE_PACE:
        keeper_receive_pace(node, from, m);
        break;
    default:
        break;
    }
}

static void synced(struct node *node, const struct event *event)
{
    int status = event->u.synced.status;
    if (status == DLHT_OK || status == DLHT_EFULL)
        disk_full_synced(node, status);
    if (status == DLHT_EFULL)
        return; /* a later sync counts for this one too */
    if (status != DLHT_OK) {
        struct effect *e = effects_add(node->fx, EFFECT_FAILED);
        if (e) {
            e->u.failed.status = status;
            e->u.failed.text = "the journal cannot be written; nothing more "
                               "is acknowledged";
        }
        node->failed = true;
        return;
    }
    node->journal_bytes = event->u.synced.journal_bytes;
    node->pinning_arc = event->u.synced.pinning_arc;
    while (node->persist_count) {
        struct persist_wait *w = &node->persists[node->persist_head];
        if (w->sync_number > event->u.synced.number)
            break;
        struct replica *r = node_replica(node, w->arc);
        if (r && r->self == w->replica) {
            raft_persisted(r->raft, node->now_ns, w->raft_number);
            replica_touch(node, r);
        }
        node->persist_head = (node->persist_head + 1) % node->persist_cap;
        node->persist_count--;
    }
}

static void checkpoint_done(struct node *node, const struct event *event)
{
    arc_id arc = event->u.checkpoint.arc;
    uint64_t number = event->u.checkpoint.number;
    struct replica *r = node_replica(node, arc);
    if (r && transfer_awaits(r, number))
        transfer_install(node, r, event->u.checkpoint.status);
    else
        checkpoint_run_done(node, arc, number, event->u.checkpoint.status);
}

static void send_swim(struct node *node)
{
    for (;;) {
        /* The effect points to it. */
        struct swim_send *send = effects_room(node->fx, sizeof *send);
        if (!send || !swim_take(node->swim, send))
            break;
        struct message m = { .type = MESSAGE_SWIM };
        m.u.swim = &send->message;
        node_send(node, &send->to, &m);
    }
    struct peer changed;
    bool news = false;
    while (swim_take_change(node->swim, &changed)) {
        news = true;
        if (!node_is_self(node, &changed.id))
            quiet_doubt(node, &changed.id);
        if (changed.state >= PEER_DEAD && !node_is_self(node, &changed.id))
            pending_link_down(node, &changed.id);
    }
    if (news)
        join_remember(node);
    uint64_t due = swim_timeout_ns(node->swim);
    if (due != UINT64_MAX)
        node_wake_at(node, (due / NODE_TICK_NS + 1) * NODE_TICK_NS);
}

static void tick(struct node *node)
{
    node->next_tick_ns =
        node->now_ns + (quiet_rests(node) ? REST_TICK_NS : IDLE_TICK_NS);
    join_tick(node);
    if (!node->swim)
        return;
    swim_tick(node->swim, node->now_ns);
    disk_full_tick(node);
    uint64_t memory = 0;
    for (size_t i = 0; i < node->replica_count; i++) {
        struct replica *r = node->replicas[i];
        replica_tick(node, r);
        memory += replica_memory_bytes(r);
        uint64_t due = raft_timeout_ns(r->raft);
        if (due < UINT64_MAX - NODE_TICK_NS)
            node_wake_at(node, (due / NODE_TICK_NS + 1) * NODE_TICK_NS);
    }
    handover_take_tick(node);
    node->memory_used = memory + handover_memory_bytes(node);
    pending_tick(node);
    forgotten_tick(node);
    keyspaces_tick(node);
    gossip_tick(node);
    keeper_tick(node);
    models_tick(node);
    trainer_tick(node);
    op_model_tick(node);
    op_recover_tick(node);
    fingers_tick(node);
    checkpoint_run_tick(node);
    collections_tick(node);
    graphs_tick(node);
    op_search_tick(node);
    if (pending_count(node))
        node_wake_at(node, node->now_ns + NODE_TICK_NS);
}

/* Followers of a peer whose link broke need not wait for their timers. */
static void suspect_leader(struct node *node, const struct id *peer)
{
    for (size_t i = 0; i < node->replica_count; i++) {
        struct replica *r = node->replicas[i];
        struct id owner;
        if (!replica_leads(r) &&
            replica_peer_of(r, raft_leader(r->raft), &owner) &&
            id_equal(&owner, peer)) {
            raft_suspect(r->raft, node->now_ns);
            replica_touch(node, r); /* its timer is due earlier */
        }
    }
}

static void begin_stop(struct node *node)
{
    node->phase = PHASE_STOPPING;
    node->phase_since_ns = node->handing_ns = node->now_ns;
    keeper_report_soon(node);
}

/* Hands over what is led, then says goodbye. The system arc is led as long as
 * its owner has volatile arcs to give away: another would have to hear first
 * who has what. */
static void go_on_stopping(struct node *node)
{
    bool hands = handover_stopping(node), leads = hands;
    for (size_t i = 0; i < node->replica_count; i++) {
        struct replica *r = node->replicas[i];
        if (r->empty || !replica_leads(r) || (hands && r->id == SYSTEM_ARC))
            continue;
        const struct raft_members *members = raft_members(r->raft);
        for (size_t k = 0; k < members->count; k++) {
            struct raft_progress p;
            if (!members->list[k].voter || members->list[k].id == r->self ||
                !raft_progress_of(r->raft, node->now_ns, members->list[k].id,
                                  &p) ||
                !p.caught_up)
                continue;
            leads = true;
            if (raft_transfer(r->raft, node->now_ns, members->list[k].id) ==
                DLHT_OK)
                replica_touch(node, r);
            break;
        }
    }
    node_wake_at(node, node->now_ns + NODE_TICK_NS);
    uint64_t since_ns = node->now_ns - node->phase_since_ns;
    if (hands || (leads && node->now_ns - node->handing_ns < STOP_NS))
        return;
    if (graphs_stopping(node) && since_ns < STOP_GRAPHS_NS)
        return;
    swim_leave(node->swim, node->now_ns);
    send_swim(node);
    node->phase = PHASE_STOPPED;
    effects_add(node->fx, EFFECT_STOPPED);
}

static void flush(struct node *node)
{
    if (!node->swim || node->failed)
        return;
    if (node->phase == PHASE_STOPPING)
        go_on_stopping(node);
    pending_flush(node);
    node->in_flush = true;
    size_t count = node->dirty_count;
    for (size_t i = 0; i < count; i++) {
        struct replica *r = node_replica(node, node->dirty[i]);
        if (r)
            replica_flush(node, r);
    }
    if (count)
        memmove(node->dirty, node->dirty + count,
                (node->dirty_count - count) * sizeof *node->dirty);
    node->dirty_count -= count;
    fingers_flush(node);
    collections_flush(node);
    op_search_peer_flush(node);
    node->in_flush = false;
    send_swim(node);
    if (node->dirty_count)
        node_wake_at(node, node->now_ns);
    node_sync(node);
    join_say_ready(node);
}

int node_step(struct node *node, const struct event *event,
              struct effects *effects)
{
    empty_graveyard(node);
    effects_reset(effects);
    node->fx = effects;
    answer_unsaid(node);
    if (event->now_ns > node->now_ns)
        node->now_ns = event->now_ns;
    switch (event->kind) {
    case EVENT_BOOT:
        join_boot(node);
        break;
    case EVENT_MESSAGE:
        receive(node, &event->u.message.from, event->u.message.message);
        break;
    case EVENT_REQUEST: {
        struct origin origin = { .kind = ORIGIN_CLIENT,
                                 .ticket = event->u.request.ticket };
        op_begin(node, event->u.request.request, &origin);
        break;
    }
    case EVENT_TICK:
        tick(node);
        break;
    case EVENT_FLUSH:
        flush(node);
        break;
    case EVENT_SYNCED:
        synced(node, event);
        break;
    case EVENT_CHECKPOINT:
        checkpoint_done(node, event);
        break;
    case EVENT_JOB:
        jobs_done(node, event->u.job.number);
        break;
    case EVENT_LINK_DOWN:
        pending_link_down(node, &event->u.link.peer);
        /* First, since sleeping groups have not heard their leader for long:
         * they wake and ask it. */
        suspect_leader(node, &event->u.link.peer);
        quiet_doubt(node, &event->u.link.peer);
        if (node->swim)
            swim_hint_lost(node->swim, &event->u.link.peer);
        break;
    case EVENT_STOP:
        if (node->phase == PHASE_SERVING)
            begin_stop(node);
        else
            effects_add(effects, EFFECT_STOPPED);
        break;
    }
    if (node->failed && event->kind != EVENT_SYNCED) {
        struct effect *e = effects_add(effects, EFFECT_FAILED);
        if (e) {
            e->u.failed.status = DLHT_ENOMEM;
            e->u.failed.text = "out of memory where a promise was at stake";
        }
    }
    node->fx = NULL;
    return DLHT_OK;
}

void node_hello(const struct node *node, struct hello *out)
{
    memset(out, 0, sizeof *out);
    out->version = WIRE_VERSION;
    out->kind = HELLO_PEER;
    out->cluster = node->cluster;
    out->peer = node->self;
    out->incarnation = node->incarnation;
    out->addr = span_str(node->config.addr);
}

int node_hello_check(const struct node *node, const struct hello *hello)
{
    if (hello->version != WIRE_VERSION)
        return DLHT_EVERSION;
    if (hello->kind == HELLO_PEER && !id_is_zero(&hello->cluster) &&
        !id_is_zero(&node->cluster) &&
        !id_equal(&hello->cluster, &node->cluster))
        return DLHT_ECLUSTER;
    return DLHT_OK;
}

uint64_t node_hash(const struct node *node)
{
    uint64_t h = hash64_mix(id_hash(&node->self), node->incarnation);
    for (int i = 0; i < 4; i++)
        h = hash64_mix(h, node->rng.s[i]);
    for (size_t i = 0; i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        h = hash64_mix(h, r->id);
        h = hash64_mix(h, raft_hash(r->raft));
        h = hash64_mix(h, records_digest(r->records));
        if (r->cache)
            h = hash64_mix(hash64_mix(h, cache_version(r->cache)),
                           cache_count(r->cache));
        h = hash64_mix(h, sessions_hash(&r->sessions));
        h = hash64_mix(h, r->applied);
        h = hash64_mix(h, r->counter);
        h = hash64_mix(h, op_merge_hash(r));
    }
    h = hash64_mix(h, node->forgotten.to);
    if (node->jobs.last)
        h = hash64_mix(hash64_mix(h, node->jobs.last), node->jobs.count);
    if (node->swim)
        h = hash64_mix(h, swim_hash(node->swim));
    return hash64_mix(h, keyspaces_digest(node));
}

void node_check(const struct node *node)
{
    for (size_t i = 0; i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        assert(i == 0 || node->replicas[i - 1]->id < r->id);
        assert(node->replica_ids[i] == r->id);
        raft_check(r->raft);
        records_check(r->records);
        if (r->cache)
            cache_check(r->cache);
        assert(r->empty == (r->arc == NULL));
        assert(r->applied <= raft_commit(r->raft) || r->empty);
        assert(r->waiter_count == 0 || r->led_term != 0);
        if (r->ring)
            ring_check(r->ring);
        op_merge_check(r);
    }
    for (size_t i = 0; i < node->keyspace_count; i++)
        map_check(node->keyspaces[i].map);
    jobs_check(node);
    collections_check(node);
}
