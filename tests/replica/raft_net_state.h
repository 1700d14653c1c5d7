/* SPDX-License-Identifier: Apache-2.0 */

/* replica/raft_net_state.h - what a world of rafts holds, for its files only.
 *
 * raft_net.c        lives, the script of faults, the run
 * raft_net_world.c  clocks, events, network, disk
 * raft_net_watch.c  the promises */

#ifndef REPLICA_RAFT_NET_STATE_H
#define REPLICA_RAFT_NET_STATE_H

#include "base/rng.h"
#include "replica/raft.h"
#include "replica/raft_net.h"

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

/* raft_net_world.c */

/* Notes the first broken promise. */
void net_fail(struct net *net, const char *format, ...);
bool net_chance(struct net *net, double p);

/* What the node's clock shows now, and when it will show a time. */
uint64_t net_local_ns(const struct net *net, const struct node *node);
uint64_t net_world_ns(const struct node *node, uint64_t local);

struct event *net_event_add(struct net *net, enum event_kind kind, size_t node,
                            uint64_t delay_ns);
struct event *net_event_pop(struct net *net);
void net_event_free(struct event *e);

void net_entry_copy(struct raft_entry *to, const struct raft_entry *from);
void net_entry_free(struct raft_entry *entry);
uint64_t net_entry_hash(const struct raft_entry *entry);

void net_send(struct net *net, size_t from, const struct raft_message *m);

/* Writes what an output names, to be durable some time later. */
void net_journal(struct net *net, size_t i, const struct raft_output *out);
/* Keeps the first count records. */
void net_disk_cut(struct disk *disk, size_t count);
/* Drops from the front what the snapshot covers; how many records. */
size_t net_disk_trim(struct disk *disk);

/* raft_net_watch.c */

/* What the world has seen, against what a node says now. */
void net_apply(struct net *net, struct node *node);
void net_check_leader(struct net *net, struct node *node);
void net_note_vote(struct net *net, size_t i, const struct raft_message *m);
void net_check_all(struct net *net);
void net_finish_read(struct net *net, size_t i, uint64_t ticket, bool lost);

#endif
