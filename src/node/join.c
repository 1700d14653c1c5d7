/* SPDX-License-Identifier: Apache-2.0 */

/* Founding, joining, coming back. */

#include "node/join.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "node/burials.h"
#include "node/gossip.h"
#include "node/journal_types.h"
#include "node/keyspaces.h"
#include "node/models.h"
#include "node/replica.h"
#include "wire/mp.h"

/* Between two questions: who is not in yet asks in haste; who is in and misses
 * somebody takes twice as long each time. */
#define ASK_NS (UINT64_C(400) * NS_PER_MS)
#define ASK_NS_MAX (UINT64_C(5000) * NS_PER_MS)
/* Between two records of all addresses, for each of them. */
#define REMEMBER_NS (UINT64_C(10) * NS_PER_MS)
/* After a start, less than half of the addresses may be all that answer yet. */
#define FEW_NS (UINT64_C(300000) * NS_PER_MS)

enum {
    FIRST_ASKED = 5,    /* at once, by who comes back: it must hear of what was
                         * recovered without it before it may vote */
    LOOKED_FOR_MAX = 16 /* addresses, each time; the others the next times */
};

static void fail(struct node *node, int status, const char *text)
{
    struct effect *e = effects_add(node->fx, EFFECT_FAILED);
    if (e) {
        e->u.failed.status = status;
        e->u.failed.text = text;
    }
    node->phase = PHASE_STOPPED;
}

static struct peer self_peer(const struct node *node)
{
    struct peer self = { .id = node->self,
                         .incarnation = node->incarnation,
                         .weight_milli = node->config.weight_milli,
                         .state = PEER_ALIVE };
    memcpy(self.addr, node->config.addr, sizeof self.addr);
    memcpy(self.zone, node->config.zone, sizeof self.zone);
    return self;
}

static int start_swim(struct node *node)
{
    struct swim_config config = { .seed = rng_next(&node->rng) };
    struct peer self = self_peer(node);
    return swim_new(&config, &self, node->now_ns, &node->swim);
}

static void journal_identity(struct node *node)
{
    struct buf payload = { 0 };
    mp_write_bin(&payload, span_of(node->cluster.bytes, ID_BYTES));
    mp_write_bin(&payload, span_of(node->self.bytes, ID_BYTES));
    mp_write_uint(&payload, node->incarnation);
    node_journal_buf(node, JOURNAL_IDENTITY, 0, 0, 0, &payload);
    buf_deinit(&payload);
}

void join_remember(struct node *node)
{
    if (!node->config.durable)
        return;
    /* With a thousand peers somebody changes all the time, and a record is as
     * long as there are peers. */
    node->remember_late = node->now_ns < node->remember_next_ns;
    if (node->remember_late)
        return;
    node->remember_next_ns =
        node->now_ns + REMEMBER_NS * swim_count(node->swim);
    struct buf payload = { 0 };
    size_t count = 0;
    for (size_t i = 0; i < swim_count(node->swim); i++)
        count += !node_is_self(node, &swim_at(node->swim, i)->id) &&
                 swim_at(node->swim, i)->state <= PEER_SUSPECT;
    if (count == 0)
        return; /* better old addresses than none */
    /* Nor than few, as long as we have just come back: if this start ends soon
     * as well, the next one would find only those. */
    node->remember_late = count * 2 < node->remembered_count &&
                          node->now_ns - node->phase_since_ns < FEW_NS;
    if (node->remember_late)
        return;
    mp_write_array(&payload, count);
    for (size_t i = 0; i < swim_count(node->swim); i++) {
        const struct peer *p = swim_at(node->swim, i);
        if (!node_is_self(node, &p->id) && p->state <= PEER_SUSPECT)
            mp_write_cstr(&payload, p->addr);
    }
    uint64_t h = hash64(buf_span(&payload));
    if (payload.failed) /* another time */
        h = node->remembered_hash;
    if (h != node->remembered_hash)
        node_journal_buf(node, JOURNAL_PEERS, 0, 0, 0, &payload);
    node->remembered_hash = h;
    buf_deinit(&payload);
}

/* The system arc, with this node as its only member. */
static int found_cluster(struct node *node)
{
    node->cluster = id_random(&node->rng);
    struct arc arc = { .keyspace = SYSTEM_KEYSPACE,
                       .id = SYSTEM_ARC,
                       .generation = 1,
                       .member_count = 1 };
    arc.members[0].replica = rng_next(&node->rng) | 1;
    arc.members[0].peer = node->self;
    arc.members[0].voter = true;
    journal_identity(node);
    return replica_found(node, &arc);
}

/* Replicas whose log has a hole cannot be trusted with a vote. */
static int bury_damaged(struct node *node)
{
    for (size_t i = node->replica_count; i-- > 0;) {
        struct replica *r = node->replicas[i];
        if (!r->restore_gap && !r->restore_older)
            continue;
        int rc = node_quarantine(node, r->id);
        if (rc != DLHT_OK)
            return rc;
    }
    for (size_t i = 0; i < node->tombstone_count; i++) {
        if (node->tombstones[i].replica != BURIALS_DAMAGED)
            continue;
        if (node->remembered_count == 0)
            return DLHT_ECORRUPT; /* nobody to learn it from */
        node_log(node, LOG_ERROR,
                 "arc %016llx: its checkpoints are damaged; it is unavailable "
                 "unless another peer has a copy to learn it from",
                 (unsigned long long)node->tombstones[i].arc);
    }
    return DLHT_OK;
}

/* Its identity was damaged: it is another peer now, and what is left of copies
 * belongs to one that never comes back. */
static int bury_nameless(struct node *node)
{
    for (size_t i = 0; i < node->replica_count; i++)
        node->replicas[i]->unbased_parent = 0; /* the children go, too */
    return restore_put_aside(node);
}

/* With a cluster, which it does not know any more: it founds no other. */
static bool was_another(const struct node *node)
{
    return !node->restored &&
           (node->tombstone_count > 0 || node->remembered_count > 0);
}

/* What restoring decided goes to the journal now that it is open. */
static void journal_burials(struct node *node)
{
    for (size_t i = 0; i < node->tombstone_count; i++) {
        struct tombstone *t = &node->tombstones[i];
        if (!t->fresh || t->replica == BURIALS_DAMAGED)
            continue;
        replica_journal_burials(node, t->arc);
        if (node_replica(node, t->arc) ||
            burials_has(node, t->arc, BURIALS_DAMAGED))
            continue;
        node_sync(node);
        struct effect *e = effects_add(node->fx, EFFECT_CHECKPOINT_REMOVE);
        if (e)
            e->u.checkpoint.arc = t->arc;
    }
}

static void come_back(struct node *node)
{
    node->phase = PHASE_SERVING; /* from now on the journal is open */
    journal_identity(node);
    journal_burials(node);
    for (size_t i = 0; i < node->replica_count; i++) {
        struct replica *r = node->replicas[i];
        replica_touch(node, r);
        /* Time went on while nobody looked. */
        raft_start(r->raft, node->now_ns);
        if (!r->empty)
            gossip_notice_arc(node, r->arc);
    }
    node->keyspaces_late = true;
    keyspaces_scan(node);
    models_scan(node);
    for (size_t i = 0; i < node->replica_count; i++)
        replica_notice(node, node->replicas[i]);
}

void join_boot(struct node *node)
{
    node->phase_since_ns = node->now_ns;
    int rc = restore_bury_lost(node);
    if (rc == DLHT_OK)
        rc = node->restored ? bury_damaged(node) : bury_nameless(node);
    if (rc != DLHT_OK) {
        fail(node, rc,
             "damaged data, and no peer to learn it from; restore "
             "the data dir from a copy, or start with an empty one");
        return;
    }
    if (node->restored)
        node->incarnation++;
    else
        node->incarnation =
            node->config.durable ? INCARNATION_FIRST : INCARNATION_MEMORY;
    rc = start_swim(node);
    if (rc == DLHT_OK && node->restored && node->remembered_count)
        node->join_next = (size_t)rng_below(&node->rng, node->remembered_count);
    if (rc == DLHT_OK && node->restored) {
        come_back(node);
    } else if (rc == DLHT_OK && node->config.bootstrap_count == 0 &&
               !was_another(node)) {
        node->phase = PHASE_SERVING;
        rc = found_cluster(node);
    } else if (rc == DLHT_OK &&
               node->config.bootstrap_count + node->remembered_count == 0) {
        fail(node, DLHT_ECORRUPT,
             "damaged data: the peer's name is lost, and nobody is known to "
             "ask; start with --bootstrap, or with an empty data dir to found "
             "a cluster");
    } else {
        node->phase = PHASE_JOINING;
    }
    if (rc != DLHT_OK)
        fail(node, rc, "out of memory");
    node_wake_at(node, node->now_ns);
}

int join_settle(struct node *node, const struct id *cluster,
                const struct id *self)
{
    node->phase_since_ns = node->now_ns;
    node->self = *self;
    node->cluster = *cluster;
    node->incarnation =
        node->config.durable ? INCARNATION_FIRST : INCARNATION_MEMORY;
    int rc = start_swim(node);
    if (rc != DLHT_OK)
        return rc;
    node->phase = PHASE_SERVING;
    journal_identity(node);
    node_wake_at(node, node->now_ns);
    return DLHT_OK;
}

static void ask(struct node *node, const char *addr)
{
    char *copy = effects_room(node->fx, PEER_ADDR_MAX);
    struct effect *e = copy ? effects_add(node->fx, EFFECT_SEND) : NULL;
    if (!e)
        return;
    memcpy(copy, addr, PEER_ADDR_MAX);
    e->u.send.addr = copy;
    e->u.send.message.type = MESSAGE_JOIN;
    e->u.send.message.u.join.self = self_peer(node);
}

/* One of the addresses given or remembered, in turn; NULL: none. */
static const char *next_address(struct node *node)
{
    size_t count = node->config.bootstrap_count + node->remembered_count;
    if (count == 0)
        return NULL;
    size_t i = node->join_next++ % count;
    return i < node->config.bootstrap_count
               ? node->config.bootstrap[i]
               : node->remembered[i - node->config.bootstrap_count];
}

static bool is_up_at(const struct node *node, const char *addr)
{
    for (size_t i = 0; i < swim_count(node->swim); i++) {
        const struct peer *p = swim_at(node->swim, i);
        if (strcmp(p->addr, addr) == 0)
            return p->state <= PEER_SUSPECT;
    }
    return false;
}

/* After a restart of many, small parties may find each other first; somebody
 * has to ask beyond them. NULL: nobody is missed, of those looked for. */
static const char *missed_address(struct node *node)
{
    size_t count = node->config.bootstrap_count + node->remembered_count;
    for (size_t i = 0; i < count && i < LOOKED_FOR_MAX; i++) {
        const char *addr = next_address(node);
        if (strcmp(addr, node->config.addr) != 0 && !is_up_at(node, addr))
            return addr;
    }
    return NULL;
}

/* When all start at once they must not all ask the same one, at once. */
static void wait_to_ask(struct node *node, bool in_haste)
{
    uint64_t wait = node->join_wait_ns * 2;
    if (in_haste || wait < ASK_NS)
        wait = ASK_NS;
    node->join_wait_ns = wait < ASK_NS_MAX ? wait : ASK_NS_MAX;
    node->join_next_ns = node->now_ns + node->join_wait_ns / 4 * 3 +
                         rng_below(&node->rng, node->join_wait_ns / 2);
    node_wake_at(node, node->join_next_ns);
}

void join_tick(struct node *node)
{
    bool joining = node->phase == PHASE_JOINING;
    if (joining &&
        node->now_ns - node->phase_since_ns > node->config.join_timeout_ns) {
        fail(node, DLHT_EUNAVAILABLE,
             "no bootstrap peer took this node in; check --bootstrap and that "
             "the peer is up");
        return;
    }
    if (node->remember_late)
        join_remember(node);
    if ((!joining && node->phase != PHASE_SERVING) ||
        node->now_ns < node->join_next_ns)
        return;
    bool alone = swim_up_count(node->swim) <= 1;
    bool first = node->restored && node->join_next == 0;
    wait_to_ask(node, joining || alone);
    for (size_t i = 0; i < (first ? FIRST_ASKED : 1); i++) {
        const char *addr =
            joining || alone ? next_address(node) : missed_address(node);
        if (addr && strcmp(addr, node->config.addr) != 0)
            ask(node, addr);
    }
}

static void welcome(struct node *node, const struct id *to, int status)
{
    size_t count = status == DLHT_OK ? swim_count(node->swim) : 0;
    size_t sent = 0;
    do {
        size_t n =
            count - sent < MESSAGE_PEERS_MAX ? count - sent : MESSAGE_PEERS_MAX;
        struct peer *list = effects_room(node->fx, n * sizeof *list);
        if (!list && n)
            return;
        for (size_t i = 0; i < n; i++)
            list[i] = *swim_at(node->swim, sent + i);
        struct message m = { .type = MESSAGE_WELCOME };
        m.u.welcome.status = status;
        m.u.welcome.cluster = node->cluster;
        m.u.welcome.peers = list;
        m.u.welcome.peer_count = n;
        node_send(node, to, &m);
        sent += n;
    } while (sent < count);
}

void join_receive(struct node *node, const struct id *from,
                  const struct message *m)
{
    if (!node->swim || !id_equal(from, &m->u.join.self.id) ||
        node_is_self(node, from))
        return;
    if (node->phase != PHASE_SERVING)
        return; /* not in a cluster itself: the asker tries again */
    bool known = swim_find(node->swim, from) != NULL;
    swim_notice(node->swim, node->now_ns, &m->u.join.self);
    welcome(node, from, DLHT_OK);
    /* One that comes back, or misses somebody, may know as much as we do. */
    if (known)
        gossip_send_digest(node, from);
    else
        gossip_send_all(node, from);
}

void join_receive_welcome(struct node *node, const struct id *from,
                          const struct message *m)
{
    if (!node->swim || m->u.welcome.status != DLHT_OK ||
        id_is_zero(&m->u.welcome.cluster))
        return;
    bool joining = node->phase == PHASE_JOINING;
    if (!joining && !id_equal(&node->cluster, &m->u.welcome.cluster))
        return;
    for (size_t i = 0; i < m->u.welcome.peer_count; i++)
        swim_notice(node->swim, node->now_ns, &m->u.welcome.peers[i]);
    if (!joining)
        return;
    node->cluster = m->u.welcome.cluster;
    node->phase = PHASE_SERVING;
    journal_burials(node); /* of copies whose peer lost its name */
    journal_identity(node);
    join_remember(node);
    gossip_send_digest(node, from);
}

void join_say_ready(struct node *node)
{
    if (node->said_ready || node->phase != PHASE_SERVING)
        return;
    /* A node that comes back may have to hear first what keyspaces there are:
     * not every peer keeps a copy of the system arc. */
    struct keyspace *ks = keyspaces_find_name(node, span_str("default"));
    bool knows = ks && (node->config.map_fingers ? map_count(ks->map) > 0
                                                 : map_is_whole(ks->map));
    if (!ks || (!node->restored && !knows))
        return;
    node->said_ready = true;
    effects_add(node->fx, EFFECT_READY);
}
