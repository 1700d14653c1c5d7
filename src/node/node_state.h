/* SPDX-License-Identifier: Apache-2.0 */

/* node/node_state.h - the inside of a node, for the files of this room.
 *
 * Who does what: replica.c keeps one arc (log, apply, split), transfer.c
 * brings snapshots, checkpoint_run.c writes checkpoints, restore.c reads all
 * back; pending.c carries a client's request to the owner of its key and
 * op_*.c say what each operation means (op_merge*.c: two arcs become one); keyspaces.c and gossip.c spread who
 * keeps what; keeper.c plans and takes steps; jobs.c has the world do slow
 * work. */

#ifndef NODE_NODE_STATE_H
#define NODE_NODE_STATE_H

#include "base/rng.h"
#include "chord/map.h"
#include "chord/ring.h"
#include "chord/swim.h"
#include "node/cache_settings.h"
#include "node/effects.h"
#include "node/jobs.h"
#include "node/latency.h"
#include "node/node.h"
#include "node/session.h"
#include "node/vector_settings.h"
#include "replica/raft.h"
#include "store/records.h"

enum {
    SYSTEM_KEYSPACE = 0,
    SYSTEM_ARC = 1,
    NODE_REPLICAS_MAX = 65536,
    NODE_UNSAID_MAX = 256, /* beyond it a client hears at its own deadline */
    KEYSPACES_MAX = 4096,
    KEYSPACES_GONE_MAX = 65536, /* all are told to a peer that comes back */
    MAP_ARCS_MAX = 1 << 20,
    NODE_TICK_NS = 20 * 1000 * 1000,
    REQUEST_TIMEOUT_MS = 5000, /* where a request names none */
    REQUEST_TIMEOUT_MS_MAX = 60000,
    HOPS_MAX = 64,
    INCARNATION_MEMORY = 1, /* of a peer without a data dir: its id dies with
                             * it; others begin at 2 */
    INCARNATION_FIRST = 2
};

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* Who waits for an answer to a request that this node serves as an owner, or
 * coordinates. */
enum origin_kind {
    ORIGIN_NONE,    /* nobody */
    ORIGIN_CLIENT,  /* ticket */
    ORIGIN_PEER,    /* peer, stream */
    ORIGIN_PENDING, /* ticket: a slot of our own pending table */
    ORIGIN_SEARCH   /* ticket: an arc that a search of ours reads */
};

struct origin {
    enum origin_kind kind;
    uint64_t ticket;
    struct id peer;
    uint32_t stream;
};

/* A keyspace as far as this peer has heard. */
struct keyspace {
    struct keyspace_record record; /* name is owned; first_arcs is NULL */
    uint8_t *packed;               /* the whole record, for gossip; owned */
    size_t packed_len;
    struct map *map;
    const struct ring **rings; /* of arcs led here; fingers.c */
    size_t ring_count, ring_cap;
    size_t reported; /* arcs that leaders report; keeper.c */
    bool unfounded;  /* no memory to found a first arc, or not yet */
    char *options;   /* what record.options points to; owned */
    struct vector_settings vectors; /* of a collection; points there, too */
    struct cache_settings cache;    /* of a volatile one */

    struct held_model *held;   /* newest adopted; models.c; NULL: none */
    struct model_fetch *fetch; /* one on its way here */
    struct model_news *news;   /* what others tell of epochs; models_news.c */
    uint64_t models_refused;   /* received and found unsound */
    uint64_t refused_epoch;    /* the last of them, and who sent it */
    struct id refused_from;
    uint64_t refused_until_ns;
    uint32_t refused_times;    /* that epoch */
    struct training *training; /* trainer.c; where the system arc is led */
    uint64_t changes;          /* keys that came or went since its model, as
                                 * reported to this node */
};

/* A write that waits to be applied, or a read that waits for its index. */
struct waiter {
    uint64_t index;
    struct origin origin;
    bool all;    /* answered when all live replicas have it */
    bool direct; /* no pending request stands behind it: op_record.c */
    uint64_t begun_ns, deadline_ns; /* of a direct one */
};

struct waiting_read {
    uint64_t index;
    uint64_t ticket; /* 0: confirmed */
    struct origin origin;
    struct request request;
    uint8_t *bytes; /* what request points to; owned */
};

struct result_held { /* REQUEST_ALL: applied, waits for the others */
    uint64_t index;
    struct origin origin;
    struct session_result result;
};

struct outgoing; /* transfer.c */
struct incoming;
struct staging; /* op_merge.h */
struct frozen;
struct absorbed;
struct merge_run;
struct handover; /* handover.c */
struct taking;   /* handover_take.c */

/* Replicated; in headers of snapshots and checkpoints. */
struct merge_state {
    struct frozen *frozen;     /* on its way into another; NULL: it is not */
    struct absorbed *absorbed; /* whose copies may not all be gone yet */
    size_t absorbed_count;
};

/* One arc kept by this node. */
struct replica {
    arc_id id;
    keyspace_id keyspace;
    replica_id self;
    bool empty;      /* waits for its first snapshot: arc is NULL */
    struct arc *arc; /* as applied; owner and term by our best knowledge */
    struct raft *raft;
    struct records *records;
    struct cache *cache; /* of a volatile keyspace: in place of records and
                          * log; else NULL */
    uint64_t cache_bytes_max, cache_count_max; /* its part of the bounds */
    struct handover *handover; /* of it to another peer; NULL: it stays */
    struct sessions sessions;
    uint64_t applied;
    bool half_applied; /* memory ran out inside the next entry */
    uint32_t cas_done; /* of a CAS_BATCH: records changed until then */
    uint64_t applied_term;
    struct raft_members applied_members; /* as of applied */
    uint64_t counter; /* version of the newest applied write */
    uint64_t time_ms; /* arc time as applied */

    /* While leading. */
    uint64_t led_term;     /* term we noticed as ours; 0: not leading */
    uint64_t time_base_ms; /* arc time when we took office */
    uint64_t time_base_ns;
    struct waiter *waiters; /* ascending index; a ring */
    size_t waiter_head, waiter_count, waiter_cap;
    struct waiting_read *reads;
    size_t read_count, read_cap;
    struct result_held *held;
    size_t held_count, held_cap;
    struct ring *ring;  /* fingers.c; NULL: none is kept */
    bool splitting;     /* a SPLIT is in the log and not applied */
    struct buf cuts;    /* keys to cut at next: MessagePack bins */
    uint64_t requests;  /* since the last report */
    uint64_t changes;   /* keys that came or went since the last report */
    uint16_t lost_mask; /* members that said they lost their replica */
    struct outgoing *outgoing[RAFT_MEMBERS_MAX];
    uint64_t parting_ns; /* keeper.c: a voter is to go; asked then whether the
                          * others are there; 0: none is */
    uint64_t parting_generation;
    uint8_t parting_kind;
    struct id parting_peer;

    struct incoming *incoming;

    /* op_merge.c */
    struct merge_state merge;
    struct staging *staging; /* replicated, and in no header; NULL: none */
    struct merge_run *run;   /* while leading: into the arc before */
    uint64_t staged_ns;      /* something was staged last */
    uint64_t frozen_ns;      /* it froze, or closed */
    uint64_t merge_due_ns;   /* when to do next what is left of one */
    uint64_t merge_rest_ns;  /* after the last that failed; 0: none did */
    uint64_t merge_again_ns; /* then the next may begin */
    bool merge_told;         /* closed, and the other arc knows */

    /* Which peer a replica id lives on, from messages and MEMBERS entries. */
    struct arc_member known[ARC_MEMBERS_MAX * 2];
    size_t known_count, known_next;

    /* Checkpoints; see checkpoint_run.c. */
    uint64_t checkpoint_number; /* newest begun */
    uint64_t checkpoint_index;  /* covered by the newest whole one */
    uint64_t checkpoint_index_before;
    arc_id unbased_parent; /* a split child whose parent must not be
                            * checkpointed before it; 0: none */
    arc_id parent; /* it was cut from, as far as this process knows; of an empty
                    * copy also: it may vote (replica.c, meet_unborn) */
    uint64_t child_told_ns; /* when other members were last told what it is */

    /* quiet.c */
    uint64_t busy_ns;   /* when last seen at work */
    uint64_t busy_mark; /* entries and term then */
    uint64_t look_ns;   /* asleep: when to look whether all are there */

    /* reports.c: what was last told of it, to whom, and when again. */
    uint64_t report_key, report_office, report_again_ns;
    uint32_t report_left;

    uint64_t heard_ns;   /* from another member; 0: not yet */
    uint64_t led_by_ns;  /* from its leader */
    bool children_first; /* takes no snapshot before its split children are on
                          * disk */
    bool doomed;         /* to be removed once its split children are on disk */
    bool recovering;     /* recover.c: applies what may name it no member */
    bool dirty;          /* in node->dirty */
    struct vector_part *vectors; /* collections.h; NULL: none (yet) */

    /* As last journaled. */
    uint64_t vote_term;
    replica_id vote;
    bool restore_gap;   /* restore: the log has a hole */
    bool restore_older; /* restore: of a checkpoint that is not the newest, and
                         * no entry came yet that follows it */
};

/* A raft output that becomes durable with a sync. */
struct persist_wait {
    uint64_t sync_number;
    arc_id arc;
    replica_id replica;
    uint64_t raft_number;
};

struct tombstone {
    arc_id arc;
    replica_id replica; /* 0: every id that the journal names (restore) */
    bool fresh;         /* not journaled yet */
};

enum node_phase {
    PHASE_NEW,
    PHASE_JOINING,
    PHASE_SERVING,
    PHASE_STOPPING,
    PHASE_STOPPED
};

struct pending_table; /* pending.h */
struct batch;         /* op_batch.c */
struct recovery;      /* op_recover.c */
struct gossip;        /* gossip.c */
struct keeper;        /* keeper.c */
struct fingers;       /* fingers.c */
struct checkpoint_run;
struct vector_part;     /* collections.h */
struct node_collection; /* likewise */
struct search;          /* op_search.c */
struct serving;         /* op_search_peer.c */

/* A keyspace that was dropped: all that is left of it. */
struct gone_keyspace {
    keyspace_id id;
    uint64_t version; /* of the record that dropped it */
};

struct node {
    struct node_config config;
    struct rng rng;
    uint64_t now_ns;
    enum node_phase phase;
    uint64_t phase_since_ns;
    bool restored; /* the journal knew a cluster */
    bool said_ready;
    bool failed;

    struct id self;
    struct id cluster;
    uint64_t incarnation;
    struct swim *swim; /* from BOOT on */
    uint64_t join_next_ns;
    size_t join_next;
    uint64_t join_wait_ns;     /* before the next question, as last drawn */
    uint64_t remember_next_ns; /* no record of addresses before */
    bool remember_late;        /* one is wanted then */

    struct keyspace *keyspaces; /* ascending id; [0] is the system keyspace */
    size_t keyspace_count, keyspace_cap;
    /* Tickets of clients that are to be told in a later step. */
    uint64_t unsaid[NODE_UNSAID_MAX];
    size_t unsaid_count;
    bool keyspaces_late; /* memory was lacking: keyspaces_tick has work */
    struct gone_keyspace *gone; /* ascending id */
    size_t gone_count, gone_cap;

    struct replica **replicas; /* ascending arc id */
    arc_id *replica_ids;       /* theirs, which a search reads alone */
    size_t replica_count, replica_cap;
    struct tombstone *tombstones; /* ascending; burials.c */
    size_t tombstone_count, tombstone_cap;
    struct tombstone *voters; /* restore: ids that voted, of arcs not met */
    size_t voter_count, voter_cap;
    arc_id *dirty;
    size_t dirty_count, dirty_cap;

    struct effects *fx; /* of the step under way */
    struct buf scratch; /* reused; nobody keeps it over a call */

    bool in_flush;
    struct replica **graveyard; /* removed in this step; effects may still
                                 * point into their logs */
    size_t graveyard_count, graveyard_cap;

    bool unsynced; /* appended since the last EFFECT_SYNC */
    uint64_t sync_number;
    struct persist_wait *persists; /* a queue */
    size_t persist_head, persist_count, persist_cap;
    uint64_t journal_bytes;
    arc_id pinning_arc;

    struct {            /* forgotten.c */
        keyspace_id to; /* up to this one foundings may be lost; 0: none */
        bool asked;     /* the system arc, for it */
        uint64_t again_ns;
    } forgotten;

    bool disk_full; /* disk_full.c */
    uint64_t disk_full_since_ns;
    uint64_t probe_ns;     /* when the disk is asked again */
    uint64_t hand_over_ns; /* when leaderships are offered to others */

    struct taking *takings; /* volatile arcs on their way here */
    uint64_t handing_ns;    /* one was last on its way from here while this node
                             * stopped */

    struct summing *summing; /* op_model.c: sums under way */
    size_t summing_count;
    uint64_t models_next_ns; /* models.c: when to tell of epochs */

    struct latency latency;  /* of what is carried for clients */
    uint64_t pace_rate;      /* told by the owner of the system arc, */
    uint64_t pace_until_ns;  /* and until when it holds */
    int64_t send_budget;     /* bytes of snapshots; transfer.c */
    uint64_t send_budget_ns; /* as of then */

    uint64_t memory_used; /* by records, as of the last flush */
    uint64_t next_tick_ns;

    /* Batches whose clients have no session: op_batch.c. */
    struct batch *batches_first, *batches_last;
    struct id batch_session;
    uint64_t batch_number;

    struct recovery *recoveries; /* op_recover.c: under way */
    struct {
        uint64_t done, abandoned; /* by runs led here */
        uint64_t pause_ns_max;    /* that an arc was frozen */
    } merges;

    struct node_collection **collections; /* collections.c */
    size_t collection_count;
    uint64_t *graph_files; /* on disk; graphs.c */
    size_t graph_file_count;
    struct search *searches;  /* carried here */
    uint64_t search_ns;       /* what an answer of a peer usually takes; 0: none
                              * came yet */
    uint32_t hedge_credit;    /* earned by searches, spent by asking twice */
    struct serving *servings; /* asked of this node */
    uint32_t last_serving;

    struct pending_table *pending;
    struct gossip *gossip;
    struct keeper *keeper;
    struct fingers *fingers;
    struct checkpoint_run *checkpoint;
    struct jobs jobs;

    /* Remembered addresses of a journal, for rejoining. */
    char (*remembered)[PEER_ADDR_MAX];
    size_t remembered_count;
    uint64_t remembered_hash;
};

/* node.c */
void node_log(struct node *node, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void node_send(struct node *node, const struct id *to,
               const struct message *message);
/* A copy that lives as long as the effects of this step; NULL: no memory, or
 * arc is NULL. */
const struct arc *node_keep_arc(struct node *node, const struct arc *arc);
void node_wake_at(struct node *node, uint64_t at_ns);
/* Frees it at the start of the next step. */
void node_bury(struct node *node, struct replica *r);
/* False: the peer is unknown, dead or gone. */
bool node_peer_is_up(const struct node *node, const struct id *peer);
const char *node_peer_addr(const struct node *node, const struct id *peer);
bool node_is_self(const struct node *node, const struct id *peer);

/* Sends a response to whoever waits. */
void node_answer(struct node *node, const struct origin *origin,
                 const struct response *response);
void node_answer_status(struct node *node, const struct origin *origin,
                        int status, const char *text);

/* Appends a journal record of a fact or entry and asks for a sync. */
void node_journal(struct node *node, uint8_t type, arc_id arc, uint64_t term,
                  uint64_t index, struct span payload);
/* The same of a payload that may lack a part for want of memory: then nothing
 * is written, and the node cannot go on. */
void node_journal_buf(struct node *node, uint8_t type, arc_id arc,
                      uint64_t term, uint64_t index, const struct buf *payload);

/* Asks for all that was journaled so far to be made durable; the disk carries
 * out what comes after only then. */
void node_sync(struct node *node);

/* Table of replicas. */
struct replica *node_replica(const struct node *node, arc_id arc);

/* restore.c: after the last record. DLHT_ENOMEM */
MUST_USE int restore_bury_lost(struct node *node);
/* Buries all copies; DLHT_ECORRUPT as node_quarantine, DLHT_ENOMEM. */
MUST_USE int restore_put_aside(struct node *node);

/* keyspaces.c */
struct keyspace *keyspaces_find(const struct node *node, keyspace_id id);
struct keyspace *keyspaces_find_name(const struct node *node, struct span name);

#endif
