/* SPDX-License-Identifier: Apache-2.0 */

/* A small cluster of rafts in one seeded world. */

#include "replica/raft_net.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "dlht/err.h"
#include "replica/raft.h"

#define MS UINT64_C(1000000)

enum {
    ELECTION_MS = 100,
    HEARTBEAT_MS = 20,
    CHOSEN_MAX = 1 << 16,
    TERMS_MAX = 1 << 14
};

/* A state: all entries up to index, folded. */
struct state {
    uint64_t index;
    uint64_t term;
    uint64_t hash;
    struct raft_members members;
};

enum op_kind {
    OP_ENTRY,
    OP_VOTE,
    OP_COMMIT
};

/* A journal record. */
struct op {
    enum op_kind kind;
    struct raft_entry entry; /* owns its data */
    uint64_t term;
    replica_id vote;
    uint64_t commit;
};

struct disk {
    struct state snapshot; /* durable at once */
    uint64_t term;         /* as of before the first op */
    replica_id vote;
    struct op *ops;
    size_t count, cap;
    size_t durable; /* ops before it survive a crash */
};

struct node {
    replica_id id;
    struct raft *raft; /* NULL: down */
    bool created;
    uint64_t life; /* events of earlier lives are void */
    double rate;   /* of its clock */
    uint64_t offset;
    struct disk disk;
    struct state state;
    uint64_t disk_free_ns; /* the disk is busy until then */
    uint64_t pump_ns;      /* a take is due; 0: none */
    uint64_t journaled_commit;
    uint64_t led_term;
    bool voted;          /* just now */
    uint64_t led_commit; /* what it led to, by counting */
    uint64_t tail;       /* ops trimmed so far */
};

enum event_kind {
    EVENT_MESSAGE,
    EVENT_DURABLE,   /* the disk has it */
    EVENT_PERSISTED, /* the raft hears so */
    EVENT_SNAPSHOT,
    EVENT_SNAPSHOT_DONE,
    EVENT_START,
    EVENT_SCRIPT
};

struct event {
    uint64_t at_ns;
    uint64_t order;
    enum event_kind kind;
    size_t node;
    uint64_t life;
    uint64_t number;
    size_t ops;
    size_t other;
    struct raft_message message; /* owns its entries */
    struct state state;
};

struct read {
    bool used;
    uint64_t ticket, index, floor;
    size_t node;
    uint64_t life;
};

enum {
    READS_MAX = 256
};

struct net {
    struct net_config config;
    struct net_result *result;
    struct rng rng;
    uint64_t now_ns;
    uint64_t order;
    struct event **heap;
    size_t heap_count, heap_cap;
    struct node nodes[NET_NODES_MAX];
    bool cut[NET_NODES_MAX][NET_NODES_MAX]; /* from, to */
    bool calm;
    /* What the world has seen. */
    uint64_t chosen[CHOSEN_MAX]; /* hash of the entry, 0: none */
    uint64_t chosen_term[CHOSEN_MAX];
    uint64_t chain[CHOSEN_MAX]; /* state hash after it */
    uint64_t chosen_last;
    uint64_t acknowledged; /* greatest commit a leader had */
    replica_id leaders[TERMS_MAX];
    replica_id votes[NET_NODES_MAX][TERMS_MAX];
    struct read reads[READS_MAX];
    uint64_t values;
};

static void fail(struct net *net, const char *format, ...)
{
    if (net->result->error[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(net->result->error, sizeof net->result->error, format, args);
    va_end(args);
}

static bool chance(struct net *net, double p)
{
    return rng_chance(&net->rng, p);
}

/* Clocks. */

static uint64_t local_ns(const struct net *net, const struct node *node)
{
    return node->offset + (uint64_t)((double)net->now_ns * node->rate);
}

static uint64_t world_ns(const struct node *node, uint64_t local)
{
    if (local == UINT64_MAX)
        return UINT64_MAX;
    if (local <= node->offset)
        return 0;
    return (uint64_t)((double)(local - node->offset) / node->rate) + 2;
}

/* Events. */

static bool event_before(const struct event *a, const struct event *b)
{
    if (a->at_ns != b->at_ns)
        return a->at_ns < b->at_ns;
    return a->order < b->order;
}

static struct event *event_add(struct net *net, enum event_kind kind,
                               size_t node, uint64_t delay_ns)
{
    if (net->heap_count == net->heap_cap) {
        net->heap_cap = net->heap_cap ? net->heap_cap * 2 : 256;
        net->heap = realloc(net->heap, net->heap_cap * sizeof *net->heap);
    }
    struct event *e = calloc(1, sizeof *e);
    e->at_ns = net->now_ns + delay_ns;
    e->order = ++net->order;
    e->kind = kind;
    e->node = node;
    e->life = net->nodes[node].life;
    size_t i = net->heap_count++;
    for (; i > 0 && event_before(e, net->heap[(i - 1) / 2]); i = (i - 1) / 2)
        net->heap[i] = net->heap[(i - 1) / 2];
    net->heap[i] = e;
    return e;
}

static struct event *event_pop(struct net *net)
{
    struct event *first = net->heap[0];
    struct event *last = net->heap[--net->heap_count];
    size_t i = 0;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k >= net->heap_count)
            break;
        if (k + 1 < net->heap_count &&
            event_before(net->heap[k + 1], net->heap[k]))
            k++;
        if (!event_before(net->heap[k], last))
            break;
        net->heap[i] = net->heap[k];
        i = k;
    }
    if (net->heap_count > 0)
        net->heap[i] = last;
    return first;
}

static void entry_copy(struct raft_entry *to, const struct raft_entry *from)
{
    *to = *from;
    uint8_t *data = NULL;
    if (from->data.len > 0) {
        data = malloc(from->data.len);
        memcpy(data, from->data.data, from->data.len);
    }
    to->data = span_of(data, from->data.len);
}

static void entry_free(struct raft_entry *entry)
{
    free((void *)(uintptr_t)entry->data.data);
}

static void event_free(struct event *e)
{
    for (size_t i = 0; i < e->message.entry_count; i++)
        entry_free((struct raft_entry *)(uintptr_t)&e->message.entries[i]);
    free((void *)(uintptr_t)e->message.entries);
    free(e);
}

static uint64_t entry_hash(const struct raft_entry *entry)
{
    uint64_t h = hash64_mix(entry->term, entry->index);
    h = hash64_mix(h, entry->type);
    h = hash64_mix(h, hash64(entry->data));
    if (entry->type == RAFT_ENTRY_MEMBERS)
        for (size_t i = 0; i < entry->members.count; i++)
            h = hash64_mix(h, entry->members.list[i].id * 2 +
                                  entry->members.list[i].voter);
    return h | 1;
}

/* The network. */

static void send_once(struct net *net, size_t from, size_t to,
                      const struct raft_message *m)
{
    uint64_t delay = rng_range(&net->rng, MS / 20, MS);
    if (!net->calm && chance(net, 0.3))
        delay = rng_below(&net->rng, net->config.delay_ns_max) + MS / 20;
    if (!net->calm && chance(net, net->config.late))
        delay += rng_below(&net->rng, net->config.late_ns_max);
    struct event *e = event_add(net, EVENT_MESSAGE, to, delay);
    e->other = from;
    e->message = *m;
    if (m->entry_count == 0)
        return;
    struct raft_entry *list = malloc(m->entry_count * sizeof *list);
    for (size_t i = 0; i < m->entry_count; i++)
        entry_copy(&list[i], &m->entries[i]);
    e->message.entries = list;
}

static void send(struct net *net, size_t from, const struct raft_message *m)
{
    assert(m->to >= 1 && m->to <= NET_NODES_MAX);
    size_t to = (size_t)m->to - 1;
    if (net->cut[from][to] || (!net->calm && chance(net, net->config.loss)))
        return;
    send_once(net, from, to, m);
    if (!net->calm && chance(net, net->config.again))
        send_once(net, from, to, m);
}

/* The disk. */

static struct op *disk_add(struct disk *disk, enum op_kind kind)
{
    if (disk->count == disk->cap) {
        disk->cap = disk->cap ? disk->cap * 2 : 64;
        disk->ops = realloc(disk->ops, disk->cap * sizeof *disk->ops);
    }
    struct op *op = &disk->ops[disk->count++];
    memset(op, 0, sizeof *op);
    op->kind = kind;
    return op;
}

static void disk_cut(struct disk *disk, size_t count)
{
    while (disk->count > count)
        entry_free(&disk->ops[--disk->count].entry);
}

/* Drops from the front what the snapshot covers, keeping the last vote. */
static size_t disk_trim(struct disk *disk)
{
    size_t n = 0;
    for (; n < disk->durable; n++) {
        struct op *op = &disk->ops[n];
        if (op->kind == OP_ENTRY && op->entry.index > disk->snapshot.index)
            break;
        if (op->kind == OP_VOTE) {
            disk->term = op->term;
            disk->vote = op->vote;
        }
        if (op->kind == OP_ENTRY && op->entry.term > disk->term) {
            disk->term = op->entry.term;
            disk->vote = 0;
        }
        entry_free(&op->entry);
    }
    if (n == 0)
        return 0;
    memmove(disk->ops, disk->ops + n, (disk->count - n) * sizeof *disk->ops);
    disk->count -= n;
    disk->durable -= n;
    return n;
}

static void journal(struct net *net, size_t i, const struct raft_output *out)
{
    struct node *node = &net->nodes[i];
    struct disk *disk = &node->disk;
    for (size_t k = 0; k < out->entry_count; k++)
        entry_copy(&disk_add(disk, OP_ENTRY)->entry, &out->entries[k]);
    if (out->vote_changed) {
        struct op *op = disk_add(disk, OP_VOTE);
        op->term = out->term;
        op->vote = out->vote;
    }
    uint64_t commit = raft_commit(node->raft);
    if (commit > node->journaled_commit && chance(net, 0.3)) {
        disk_add(disk, OP_COMMIT)->commit = commit;
        node->journaled_commit = commit;
    }
    if (out->number == 0)
        return;
    if (node->disk_free_ns < net->now_ns)
        node->disk_free_ns = net->now_ns;
    node->disk_free_ns += rng_below(&net->rng, net->config.disk_ns_max) + 1;
    struct event *e =
        event_add(net, EVENT_DURABLE, i, node->disk_free_ns - net->now_ns);
    e->number = out->number;
    e->ops = disk->count + node->tail;
}

/* What the world sees. */

static void choose(struct net *net, struct node *node,
                   const struct raft_entry *entry)
{
    uint64_t hash = entry_hash(entry), i = entry->index;
    if (i >= CHOSEN_MAX) {
        fail(net, "log too long for the test");
        return;
    }
    if (net->chosen[i] != 0 && net->chosen[i] != hash)
        fail(net, "node %d commits another entry at %d (terms %d, %d)",
             (int)node->id, (int)i, (int)entry->term, (int)net->chosen_term[i]);
    if (net->chosen[i] == 0) {
        net->chosen[i] = hash;
        net->chosen_term[i] = entry->term;
        net->chain[i] = hash64_mix(net->chain[i - 1], hash);
        net->result->commits++;
        if (i != net->chosen_last + 1)
            fail(net, "index %d is committed before %d", (int)i,
                 (int)net->chosen_last + 1);
        net->chosen_last = i;
    }
}

static void apply(struct net *net, struct node *node)
{
    uint64_t commit = raft_commit(node->raft);
    while (node->state.index < commit) {
        const struct raft_entry *entry =
            raft_entry_at(node->raft, node->state.index + 1);
        if (!entry) {
            fail(net, "node %d lacks committed %d", (int)node->id,
                 (int)node->state.index + 1);
            return;
        }
        choose(net, node, entry);
        node->state.index = entry->index;
        node->state.term = entry->term;
        node->state.hash = hash64_mix(node->state.hash, entry_hash(entry));
        if (entry->type == RAFT_ENTRY_MEMBERS)
            node->state.members = entry->members;
        if (entry->index < CHOSEN_MAX &&
            node->state.hash != net->chain[entry->index])
            fail(net, "node %d differs at %d", (int)node->id,
                 (int)entry->index);
    }
}

static void check_leader(struct net *net, struct node *node)
{
    uint64_t term = raft_term(node->raft);
    if (raft_role(node->raft) != RAFT_LEADER || term >= TERMS_MAX)
        return;
    if (net->leaders[term] != 0 && net->leaders[term] != node->id)
        fail(net, "two leaders in term %d: %d and %d", (int)term,
             (int)net->leaders[term], (int)node->id);
    net->leaders[term] = node->id;
    if (node->led_term < term) {
        node->led_term = term;
        node->led_commit = 0;
        net->result->leaders++;
        for (size_t k = 0; k < NET_NODES_MAX && !net->calm; k++)
            if (chance(net, net->config.lead_cuts))
                net->cut[node->id - 1][k] = true;
        for (uint64_t i = net->chosen_last;
             i > 0 && i >= raft_first_index(node->raft); i--) {
            const struct raft_entry *entry = raft_entry_at(node->raft, i);
            if (net->chosen_term[i] <= term &&
                (!entry || entry_hash(entry) != net->chosen[i])) {
                fail(net, "leader %d of term %d lacks committed %d",
                     (int)node->id, (int)term, (int)i);
                return;
            }
        }
    }
    uint64_t commit = raft_commit(node->raft);
    if (commit > node->led_commit && node->led_commit != 0 &&
        raft_term_at(node->raft, commit) != term)
        fail(net, "leader %d of term %d counts %d of term %d", (int)node->id,
             (int)term, (int)commit, (int)raft_term_at(node->raft, commit));
    node->led_commit = commit;
    if (raft_commit(node->raft) > net->acknowledged)
        net->acknowledged = raft_commit(node->raft);
}

/* A message that is a vote: one a node and term, over all its lives. */
static void note_vote(struct net *net, size_t i, const struct raft_message *m)
{
    bool given = m->type == RAFT_VOTE_REPLY && !m->refused;
    if ((!given && m->type != RAFT_VOTE_REQUEST) || m->term >= TERMS_MAX)
        return;
    replica_id *vote = &net->votes[i][m->term], to = given ? m->to : m->from;
    if (*vote != 0 && *vote != to)
        fail(net, "node %d votes twice in term %d: %d and %d", (int)i + 1,
             (int)m->term, (int)*vote, (int)to);
    *vote = to;
    net->nodes[i].voted = given;
}

/* Two logs with one entry in common agree below it. */
static void check_matching(struct net *net, struct node *a, struct node *b)
{
    uint64_t last = raft_last_index(a->raft);
    if (raft_last_index(b->raft) < last)
        last = raft_last_index(b->raft);
    bool same = false;
    for (uint64_t i = last; i > 0; i--) {
        const struct raft_entry *x = raft_entry_at(a->raft, i);
        const struct raft_entry *y = raft_entry_at(b->raft, i);
        if (!x || !y)
            return;
        bool equal = x->term == y->term;
        if ((same && !equal) || (equal && entry_hash(x) != entry_hash(y))) {
            fail(net, "logs of %d and %d differ at %d below a common entry",
                 (int)a->id, (int)b->id, (int)i);
            return;
        }
        same = same || equal;
    }
}

static void check_all(struct net *net)
{
    for (size_t i = 0; i < NET_NODES_MAX; i++)
        for (size_t k = 0; k < i; k++)
            if (net->nodes[i].raft && net->nodes[k].raft)
                check_matching(net, &net->nodes[i], &net->nodes[k]);
}

/* Takes what a raft wants done and does it. */

static void finish_read(struct net *net, size_t i, uint64_t ticket, bool lost)
{
    for (size_t k = 0; k < READS_MAX; k++) {
        struct read *read = &net->reads[k];
        if (!read->used || read->node != i || read->ticket != ticket ||
            read->life != net->nodes[i].life)
            continue;
        read->used = false;
        if (!lost && read->index < read->floor)
            fail(net, "node %d confirms a read at %d, %d was acknowledged",
                 (int)i + 1, (int)read->index, (int)read->floor);
        net->result->round_reads += !lost;
        return;
    }
}

static void begin_snapshot(struct net *net, size_t from, replica_id to)
{
    struct node *node = &net->nodes[from];
    net->result->snapshots++;
    if (!net->calm && chance(net, 0.2)) {
        struct event *e = event_add(net, EVENT_SNAPSHOT_DONE, from, 30 * MS);
        e->other = (size_t)to - 1;
        return;
    }
    struct event *e = event_add(net, EVENT_SNAPSHOT, (size_t)to - 1,
                                rng_range(&net->rng, MS, 40 * MS));
    e->life = node->life; /* the sender's */
    e->other = from;
    e->state = node->state;
}

static void pump(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    static struct raft_output out;
    node->pump_ns = 0;
    do {
        raft_take(node->raft, local_ns(net, node), &out);
        if (net->config.memory && (out.number != 0 || out.entry_count != 0))
            fail(net, "a raft without a disk wants one");
        journal(net, i, &out);
        for (size_t k = 0; k < out.message_count; k++) {
            const struct raft_message *m = &out.messages[k];
            send(net, i, m);
            note_vote(net, i, m);
        }
        for (size_t k = 0; k < out.read_count; k++)
            finish_read(net, i, out.reads[k].ticket, out.reads[k].lost);
        for (size_t k = 0; k < out.snapshot_count; k++)
            begin_snapshot(net, i, out.snapshots[k]);
    } while (out.read_count == RAFT_OUTPUT_READS_MAX);
}

static void stop(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    if (!node->raft)
        return;
    net->result->crashes++;
    raft_free(node->raft);
    node->raft = NULL;
    node->life++;
    node->pump_ns = 0;
    node->disk_free_ns = 0;
    node->voted = false;
    size_t volatile_count = node->disk.count - node->disk.durable;
    if (chance(net, 0.5))
        volatile_count = rng_below(&net->rng, volatile_count + 1);
    else
        volatile_count = 0;
    disk_cut(&node->disk, node->disk.durable + volatile_count);
    node->disk.durable = node->disk.count;
}

/* After every call on a raft. */
static void settle(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    if (!node->raft)
        return;
    if (node->pump_ns == 0 && chance(net, 0.2))
        node->pump_ns = net->now_ns + rng_below(&net->rng, MS) + 1;
    else
        pump(net, i);
    raft_check(node->raft);
    apply(net, node);
    check_leader(net, node);
    if (node->voted && !net->calm && !net->config.memory &&
        chance(net, net->config.vote_crashes)) {
        stop(net, i);
        event_add(net, EVENT_START, i, rng_below(&net->rng, 5 * MS));
        return;
    }
    node->voted = false;
    if (++net->result->events % 256 == 0)
        check_all(net);
    net->result->hash = hash64_mix(net->result->hash, net->now_ns ^ i);
    if (net->result->events % 256 == 0)
        net->result->hash =
            hash64_mix(net->result->hash, raft_hash(node->raft));
}

/* Lives. */

static void start(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    struct disk *disk = &node->disk;
    const struct raft_config config = {
        .id = node->id,
        .election_ns = ELECTION_MS * MS,
        .heartbeat_ns = HEARTBEAT_MS * MS,
        .lease_reads = net->config.lease_reads,
        .await_learners = net->config.await_learners,
        .memory = net->config.memory,
        .seed = rng_next(&net->rng),
        .append_bytes_max = net->config.append_bytes_max,
        .inflight_bytes_max = net->config.seed % 2 == 0 ? 1000 : 0,
        .pending_bytes_max = 8000,
    };
    const struct raft_start from = {
        .snapshot_index = disk->snapshot.index,
        .snapshot_term = disk->snapshot.term,
        .members = disk->snapshot.members,
        .term = disk->term,
        .vote = disk->vote,
        .now_ns = local_ns(net, node),
    };
    if (raft_new(&config, &from, &node->raft) != DLHT_OK) {
        fail(net, "no start");
        return;
    }
    uint64_t commit = 0;
    for (size_t k = 0; k < disk->count; k++) {
        const struct op *op = &disk->ops[k];
        if (op->kind == OP_VOTE)
            raft_restore_vote(node->raft, op->term, op->vote);
        else if (op->kind == OP_COMMIT)
            commit = op->commit > commit ? op->commit : commit;
        else if (raft_restore_entry(node->raft, &op->entry) != DLHT_OK)
            fail(net, "node %d: no restore of %d", (int)node->id,
                 (int)op->entry.index);
    }
    raft_restore_commit(node->raft, commit);
    node->state = disk->snapshot;
    node->journaled_commit = commit;
    settle(net, i);
}

static void create(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    if (node->created)
        return;
    node->created = true;
    node->id = i + 1;
    node->rate = 1.0 + net->config.drift * (rng_real(&net->rng) * 2 - 1);
    node->offset = rng_below(&net->rng, 1000 * MS) + 1;
}

static void found(struct net *net)
{
    struct state first = { .index = 1, .term = 1 };
    for (size_t i = 0; i < net->config.voters; i++)
        first.members.list[first.members.count++] =
            (struct raft_member){ i + 1, true };
    net->chosen[1] = 1;
    net->chosen_term[1] = 1;
    net->chosen_last = 1;
    for (size_t i = 0; i < net->config.voters; i++) {
        create(net, i);
        net->nodes[i].disk.snapshot = first;
        net->nodes[i].disk.term = 1;
        start(net, i);
    }
}

/* Events and the script. */

static void on_durable(struct net *net, const struct event *e)
{
    struct node *node = &net->nodes[e->node];
    size_t ops = e->ops - node->tail;
    if (ops > node->disk.durable)
        node->disk.durable = ops;
    struct event *next =
        event_add(net, EVENT_PERSISTED, e->node, rng_below(&net->rng, 2 * MS));
    next->number = e->number;
}

static void on_snapshot(struct net *net, const struct event *e)
{
    struct node *node = &net->nodes[e->node];
    uint64_t index = 0;
    if (node->raft && !net->cut[e->other][e->node]) {
        int rc = raft_install(node->raft, local_ns(net, node), e->state.index,
                              e->state.term, &e->state.members);
        if (rc == DLHT_OK) {
            node->disk.snapshot = e->state;
            node->state = e->state;
            node->journaled_commit = e->state.index;
            node->led_commit = 0; /* not by counting */
            index = e->state.index;
        } else if (rc == DLHT_ESTALE) {
            index = e->state.index;
        } else {
            fail(net, "install says %d", rc);
        }
        settle(net, e->node);
    }
    if (net->nodes[e->other].life != e->life)
        return;
    struct event *done = event_add(net, EVENT_SNAPSHOT_DONE, e->other, MS);
    done->other = e->node;
    done->number = index;
}

static void do_read(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    uint64_t index, ticket, floor = net->acknowledged;
    if (raft_read(node->raft, local_ns(net, node), chance(net, 0.2), &index,
                  &ticket) != DLHT_OK)
        return;
    if (ticket == 0) {
        net->result->lease_reads++;
        if (index < floor)
            fail(net, "node %d reads at %d by lease, %d was acknowledged",
                 (int)node->id, (int)index, (int)floor);
        return;
    }
    for (size_t k = 0; k < READS_MAX; k++) {
        struct read *read = &net->reads[k];
        if (read->used && net->nodes[read->node].life == read->life)
            continue;
        *read = (struct read){ true, ticket, index, floor, i, node->life };
        return;
    }
}

static void do_propose(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    for (uint64_t n = rng_range(&net->rng, 1, 5); n > 0; n--) {
        uint64_t value = ++net->values, index;
        size_t len = (size_t)rng_below(&net->rng, sizeof value + 1);
        (void)!raft_propose(node->raft, local_ns(net, node),
                            span_of(&value, len), &index);
    }
}

static void do_change(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    struct raft_members next = *raft_members(node->raft);
    size_t k = (size_t)rng_below(&net->rng, NET_NODES_MAX), at = 0;
    while (at < next.count && next.list[at].id != k + 1)
        at++;
    if (at == next.count) {
        next.list[next.count++] =
            (struct raft_member){ k + 1, chance(net, 0.2) };
        if (!net->nodes[k].raft && !net->nodes[k].created) {
            create(net, k);
            start(net, k);
        }
    } else if (chance(net, next.list[at].voter ? 0.3 : 0.8)) {
        next.list[at].voter = !next.list[at].voter;
    } else {
        next.list[at] = next.list[--next.count];
    }
    uint64_t index;
    if (raft_change(node->raft, local_ns(net, node), &next,
                    span_of("members", 7), &index) == DLHT_OK)
        net->result->changes++;
}

static void do_transfer(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    const struct raft_members *members = raft_members(node->raft);
    replica_id to = members->list[rng_below(&net->rng, members->count)].id;
    if (raft_transfer(node->raft, local_ns(net, node), to) == DLHT_OK &&
        chance(net, net->config.transfer_cuts))
        net->cut[to - 1][i] = true;
}

static void do_compact(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    if (node->state.index < 5)
        return;
    node->disk.snapshot = node->state;
    node->tail += disk_trim(&node->disk);
    raft_compact(node->raft, node->state.index - rng_below(&net->rng, 4));
}

/* Things the owner of a replica does. */
static void act(struct net *net, size_t i)
{
    struct node *node = &net->nodes[i];
    const struct net_config *config = &net->config;
    uint64_t now = local_ns(net, node);
    if (chance(net, net->calm ? 0.1 : 0.5))
        do_propose(net, i);
    for (int n = 0; n < 3; n++)
        if (chance(net, 0.5))
            do_read(net, i);
    if (!net->calm && chance(net, config->changes))
        do_change(net, i);
    if (!net->calm && chance(net, config->transfers))
        do_transfer(net, i);
    if (chance(net, config->compactions))
        do_compact(net, i);
    if (!net->calm && chance(net, config->sleeps))
        net->result->sleeps += raft_sleep(node->raft, now);
    if (chance(net, config->sleeps / 2))
        raft_wake(node->raft, now);
    if (!net->calm && chance(net, config->campaigns))
        raft_campaign(node->raft, now);
    settle(net, i);
}

/* Whom a fault hits. */
static size_t target(struct net *net)
{
    if (chance(net, net->config.aim))
        for (size_t i = 0; i < NET_NODES_MAX; i++)
            if (net->nodes[i].raft &&
                raft_role(net->nodes[i].raft) == RAFT_LEADER)
                return i;
    return (size_t)rng_below(&net->rng, NET_NODES_MAX);
}

static void fault(struct net *net)
{
    const struct net_config *config = &net->config;
    size_t a = target(net);
    size_t b = (size_t)rng_below(&net->rng, NET_NODES_MAX);
    if (chance(net, config->cuts)) {
        bool whole = chance(net, 0.5), both = chance(net, 0.5);
        for (size_t k = 0; k < NET_NODES_MAX; k++) {
            if (!whole && k != b)
                continue;
            net->cut[a][k] = true;
            if (both)
                net->cut[k][a] = true;
        }
    }
    if (chance(net, 0.04))
        memset(net->cut, 0, sizeof net->cut);
    if (chance(net, config->crashes) && !config->memory) {
        stop(net, a);
        if (net->nodes[a].created && chance(net, 0.3))
            event_add(net, EVENT_START, a, rng_below(&net->rng, 20 * MS));
    }
    if (net->nodes[b].created && !net->nodes[b].raft && chance(net, 0.4))
        start(net, b);
}

static void heal(struct net *net)
{
    net->calm = true;
    memset(net->cut, 0, sizeof net->cut);
    for (size_t i = 0; i < NET_NODES_MAX; i++) {
        struct node *node = &net->nodes[i];
        if (node->created && !node->raft)
            start(net, i);
        if (node->raft)
            raft_wake(node->raft, local_ns(net, node));
    }
}

static void on_script(struct net *net)
{
    if (!net->calm)
        fault(net);
    if (!net->calm && net->now_ns >= net->config.span_ns)
        heal(net);
    for (size_t i = 0; i < NET_NODES_MAX; i++) {
        struct node *node = &net->nodes[i];
        if (node->raft &&
            (raft_role(node->raft) == RAFT_LEADER || chance(net, 0.05)))
            act(net, i);
    }
    event_add(net, EVENT_SCRIPT, 0, rng_range(&net->rng, MS, 10 * MS));
}

static void on_message(struct net *net, const struct event *e)
{
    struct node *node = &net->nodes[e->node];
    if (!node->raft || net->cut[e->other][e->node])
        return;
    int rc = raft_receive(node->raft, local_ns(net, node), &e->message);
    if (rc != DLHT_OK && rc != DLHT_EPROTO)
        fail(net, "receive says %d", rc);
    if (rc == DLHT_EPROTO &&
        (e->message.type == RAFT_APPEND || e->message.type == RAFT_HEARTBEAT))
        fail(net, "node %d is told nonsense by leader %d", (int)node->id,
             (int)e->message.from);
    settle(net, e->node);
}

static void carry_out(struct net *net, const struct event *e)
{
    struct node *node = &net->nodes[e->node];
    bool alive = node->raft && node->life == e->life;
    switch (e->kind) {
    case EVENT_MESSAGE:
        on_message(net, e);
        return;
    case EVENT_DURABLE:
        if (alive)
            on_durable(net, e);
        return;
    case EVENT_PERSISTED:
        if (alive) {
            raft_persisted(node->raft, local_ns(net, node), e->number);
            settle(net, e->node);
        }
        return;
    case EVENT_SNAPSHOT:
        on_snapshot(net, e);
        return;
    case EVENT_SNAPSHOT_DONE:
        if (alive) {
            raft_snapshot_done(node->raft, local_ns(net, node), e->other + 1,
                               e->number);
            settle(net, e->node);
        }
        return;
    case EVENT_START:
        if (!node->raft && node->life == e->life)
            start(net, e->node);
        return;
    case EVENT_SCRIPT:
        on_script(net);
        return;
    }
}

/* The node whose timer or take is due next; its time. */
static uint64_t next_timer(struct net *net, size_t *which)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < NET_NODES_MAX; i++) {
        struct node *node = &net->nodes[i];
        if (!node->raft)
            continue;
        uint64_t at = world_ns(node, raft_timeout_ns(node->raft));
        if (node->pump_ns != 0 && node->pump_ns < at)
            at = node->pump_ns;
        if (at < first) {
            first = at;
            *which = i;
        }
    }
    return first;
}

static void step(struct net *net)
{
    size_t i = 0;
    uint64_t timer = next_timer(net, &i);
    if (timer < net->heap[0]->at_ns) {
        if (timer > net->now_ns)
            net->now_ns = timer;
        else
            net->now_ns++;
        struct node *node = &net->nodes[i];
        if (node->pump_ns != 0 && node->pump_ns <= net->now_ns)
            pump(net, i);
        else
            raft_tick(node->raft, local_ns(net, node));
        settle(net, i);
        return;
    }
    struct event *e = event_pop(net);
    net->now_ns = e->at_ns;
    carry_out(net, e);
    event_free(e);
}

/* Everybody who belongs has everything. */
static bool is_whole(struct net *net)
{
    for (size_t i = 0; i < NET_NODES_MAX; i++) {
        struct node *leader = &net->nodes[i];
        if (!leader->raft || raft_role(leader->raft) != RAFT_LEADER)
            continue;
        const struct raft_members *members = raft_members(leader->raft);
        bool whole =
            raft_commit(leader->raft) == net->acknowledged &&
            !raft_is_changing(leader->raft) &&
            net->chosen_term[net->acknowledged] == raft_term(leader->raft);
        for (size_t k = 0; k < members->count; k++) {
            const struct node *node = &net->nodes[members->list[k].id - 1];
            if (!node->raft || node->state.index + 20 < net->acknowledged)
                whole = false;
        }
        if (whole)
            return true;
    }
    return false;
}

/* For who looks into a seed: what each node is now. */
static void dump(const struct net *net)
{
    for (size_t i = 0; i < NET_NODES_MAX; i++) {
        const struct node *node = &net->nodes[i];
        if (!node->raft)
            continue;
        fprintf(stderr,
                "%d: role %d term %d leader %d commit %d first %d last %d "
                "(%d) timeout %lld now %lld quiet %d members",
                (int)node->id, (int)raft_role(node->raft),
                (int)raft_term(node->raft), (int)raft_leader(node->raft),
                (int)raft_commit(node->raft), (int)raft_first_index(node->raft),
                (int)raft_last_index(node->raft),
                (int)raft_term_at(node->raft, raft_last_index(node->raft)),
                (long long)raft_timeout_ns(node->raft),
                (long long)local_ns(net, node), raft_is_quiet(node->raft));
        const struct raft_members *members = raft_members(node->raft);
        for (size_t k = 0; k < members->count; k++)
            fprintf(stderr, " %d%s", (int)members->list[k].id,
                    members->list[k].voter ? "" : "l");
        fprintf(stderr, "\n");
    }
}

static void finish(struct net *net)
{
    uint64_t end = net->now_ns + 300 * ELECTION_MS * MS;
    uint64_t floor = net->acknowledged + 5;
    while (!net->result->error[0]) {
        if (net->acknowledged >= floor && is_whole(net))
            return;
        if (net->now_ns > end) {
            fail(net, "not whole again: acknowledged %d of %d",
                 (int)net->acknowledged, (int)floor);
            if (getenv("RAFT_SEEDS"))
                dump(net);
            return;
        }
        step(net);
    }
}

static void clean_up(struct net *net)
{
    while (net->heap_count > 0)
        event_free(event_pop(net));
    free(net->heap);
    for (size_t i = 0; i < NET_NODES_MAX; i++) {
        raft_free(net->nodes[i].raft);
        disk_cut(&net->nodes[i].disk, 0);
        free(net->nodes[i].disk.ops);
    }
    free(net);
}

static double draw(struct rng *rng, double most)
{
    return rng_chance(rng, 0.4) ? 0 : most * rng_real(rng);
}

/* Leaders that come and go with little said between: where figure 8 of the
 * thesis lives, and votes that meet twice. */
static void draw_storm(struct net_config *config, struct rng *rng)
{
    config->voters = rng_chance(rng, 0.7) ? 3 : 5;
    config->memory = false;
    config->changes = 0;
    config->sleeps = 0;
    config->crashes = 0.05 * rng_real(rng);
    config->disk_ns_max = rng_range(rng, 1, 4) * MS;
    config->delay_ns_max = rng_range(rng, 1, 20) * MS;
    config->aim = 0.9;
    config->cuts = 0.05 * rng_real(rng);
    config->lead_cuts = rng_real(rng);
    config->append_bytes_max = 1;
}

void net_config_draw(struct net_config *config, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed * 7919 + 1);
    *config = (struct net_config){
        .seed = seed,
        .voters = (size_t)rng_range(&rng, 1, 5),
        .lease_reads = rng_chance(&rng, 0.8),
        .await_learners = rng_chance(&rng, 0.3),
        .memory = rng_chance(&rng, 0.1),
        .loss = draw(&rng, 0.3),
        .again = draw(&rng, 0.2),
        .delay_ns_max = rng_range(&rng, 1, 60) * MS,
        .disk_ns_max = rng_range(&rng, 1, 20) * MS,
        .drift = 0.01,
        .late = draw(&rng, 0.1),
        .late_ns_max = rng_range(&rng, 50, 500) * MS,
        .aim = rng_real(&rng),
        .campaigns = draw(&rng, 0.3),
        .vote_crashes = draw(&rng, 0.5),
        .transfer_cuts = draw(&rng, 1.0),
        .append_bytes_max = (size_t[]){ 0, 0, 300, 300, 1 }[rng_below(&rng, 5)],
        .cuts = draw(&rng, 0.1),
        .crashes = draw(&rng, 0.08),
        .changes = draw(&rng, 0.1),
        .transfers = draw(&rng, 0.05),
        .sleeps = draw(&rng, 0.2),
        .compactions = draw(&rng, 0.1),
        .lead_cuts = draw(&rng, 0.5),
        .span_ns = 2500 * MS,
    };
    if (seed % 4 == 0)
        draw_storm(config, &rng);
}

void net_run(const struct net_config *config, struct net_result *result)
{
    struct net *net = calloc(1, sizeof *net);
    memset(result, 0, sizeof *result);
    net->config = *config;
    net->result = result;
    net->now_ns = MS;
    rng_init(&net->rng, config->seed);
    found(net);
    event_add(net, EVENT_SCRIPT, 0, MS);
    while (!net->calm && !result->error[0])
        step(net);
    finish(net);
    check_all(net);
    clean_up(net);
}
