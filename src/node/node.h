/* SPDX-License-Identifier: Apache-2.0 */

/* node/node.h - one peer, without clock, socket, file or unseeded chance.
 *
 * A world feeds events and carries out effects:
 *
 *     node_step(node, &event, &effects);   decides; never blocks, never
 *     for each effect, in order: do it     calls back
 *
 * Inputs of one turn (all messages that one wake-up brought, or as many as the
 * world likes) come as one step each and then one EVENT_FLUSH: only then are
 * entries replicated, written, committed and answered, in batches. Effects of a
 * step must be carried out, or their bytes copied, before the next step: what
 * they point to is borrowed until then.
 *
 * net/ and sim/ are the two worlds. Not for two threads at once. */

#ifndef NODE_NODE_H
#define NODE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/must_use.h"
#include "store/journal.h"
#include "wire/message.h"

struct node;
struct graph_file;
struct kernel;
struct records;
struct records_pages;

enum {
    NODE_BOOTSTRAP_MAX = 16,
    NODE_JOBS_MAX = 64 /* EFFECT_JOBs that await their EVENT_JOB */
};

struct node_config {
    char addr[PEER_ADDR_MAX]; /* advertised */
    char zone[PEER_ZONE_MAX];
    char bootstrap[NODE_BOOTSTRAP_MAX][PEER_ADDR_MAX];
    size_t bootstrap_count;
    uint64_t join_timeout_ns;
    bool durable; /* a journal follows */
    uint32_t vnodes;
    uint32_t weight_milli;
    uint8_t replicas;
    bool map_fingers;
    uint32_t successors; /* of an arc, with map_fingers: at most RING_LIST_MAX;
                          * 0: twice log2 of the arcs, 8 to 20 */
    uint64_t down_out_ns;
    uint64_t memory_limit;
    uint64_t election_ns;      /* 0: 1 s */
    uint64_t heartbeat_ns;     /* 0: 150 ms */
    uint64_t floor_keys;       /* of new keyspaces; 0: 1000 */
    uint64_t ceiling_bytes;    /* of new keyspaces; 0: 64 MiB */
    uint64_t checkpoint_bytes; /* journal size that starts checkpoints, 0:
                                * 256 MiB */
    bool strict;               /* no lease reads */
    uint64_t move_rate; /* bytes of snapshots sent a second; 0: no bound */
    uint64_t seed;
    uint64_t quiet_ns; /* a group without work for so long sleeps; 0: 5 s,
                        * UINT64_MAX: never */
    const struct records_pages *pages; /* where records live, as long as the
                                        * node; NULL: the C library's */
    const struct kernel *kernel; /* distances of vectors; NULL: the fastest */
    /* With a journal, the graph of a collection is written to a file when so
     * many vectors of it have changed, but not more often than this. */
    uint32_t graph_changes; /* 0: 256 */
    uint64_t graph_gap_ns;  /* 0: 30 s; a third of it after the last record
                             * that was in a file, the others in it go */
};

void node_config_default(struct node_config *config);

enum event_kind {
    EVENT_BOOT = 1,   /* after the restore calls, first of all */
    EVENT_MESSAGE,    /* from a peer; never HELLO, see node_hello_check */
    EVENT_REQUEST,    /* from a client of this node */
    EVENT_TICK,       /* node_next_timeout_ns has come */
    EVENT_FLUSH,      /* the turn ends */
    EVENT_SYNCED,     /* an EFFECT_SYNC is done, and all before it that were
                       * not told of; or failed: with DLHT_EFULL the journal
                       * keeps it all, for the next sync */
    EVENT_CHECKPOINT, /* an EFFECT_CHECKPOINT_END is done, or failed */
    EVENT_JOB,        /* an EFFECT_JOB or EFFECT_FILE_JOB is done */
    EVENT_LINK_DOWN,  /* what was sent to the peer may be lost */
    EVENT_STOP        /* hand over leaderships, then EFFECT_STOPPED */
};

struct event {
    enum event_kind kind;
    uint64_t now_ns; /* monotonic, and running through suspend */
    union {
        struct {
            struct id from;
            const struct message *message;
        } message;
        struct {
            uint64_t ticket; /* the world's; comes back in EFFECT_REPLY */
            const struct request *request;
        } request;
        struct {
            uint64_t number;
            int status;
            uint64_t journal_bytes; /* journal_stats after it */
            arc_id pinning_arc;
        } synced;
        struct {
            arc_id arc;
            uint64_t number;
            int status;
        } checkpoint;
        struct {
            uint64_t number;
        } job;
        struct {
            struct id peer;
        } link;
    } u;
};

enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARNING,
    LOG_ERROR
};

enum effect_kind {
    EFFECT_SEND = 1, /* best effort, in order per peer; see EVENT_LINK_DOWN */
    EFFECT_REPLY,    /* to a client's request, exactly one each */
    EFFECT_APPEND,   /* a journal record */
    EFFECT_SYNC,     /* journal_flush (durable), then EVENT_SYNCED; of those
                      * that one flush serves, for the last */
    EFFECT_RELEASE,  /* journal_release, journal_trim */
    EFFECT_CHECKPOINT_BEGIN,
    EFFECT_CHECKPOINT_ADD,
    EFFECT_CHECKPOINT_END, /* commit, then EVENT_CHECKPOINT */
    EFFECT_CHECKPOINT_ABORT,
    EFFECT_CHECKPOINT_REMOVE, /* checkpoint_remove */
    EFFECT_JOB,               /* slow pure work, then EVENT_JOB */
    EFFECT_FILE_JOB,          /* slow work upon one file, then EVENT_JOB */
    EFFECT_LOG,
    EFFECT_READY,   /* serves from now on */
    EFFECT_STOPPED, /* has left or stopped; the world may end */
    EFFECT_FAILED   /* cannot go on (join refused or timed out, disk failed):
                     * status and text say why */
};

struct effect {
    enum effect_kind kind;
    union {
        struct {
            struct id to;     /* zero: whoever answers at addr (JOIN) */
            const char *addr; /* where it listens */
            struct message message;
        } send;
        struct {
            uint64_t ticket;
            struct response response;
        } reply;
        struct journal_record append;
        struct {
            uint64_t number;
        } sync;
        struct {
            arc_id arc;
            uint64_t index;
        } release;
        struct {
            arc_id arc;
            uint64_t number;
            struct span bytes; /* BEGIN: header; ADD: block */
        } checkpoint;
        struct {
            uint64_t number;
            /* Reads and writes only what data points to, which stays as it is
             * until EVENT_JOB, or until the node is freed: the world waits
             * for a job that runs before it frees the node. */
            void (*run)(void *data);
            void *data;
        } job;
        struct {
            uint64_t number; /* among those of jobs */
            uint64_t file;   /* the number of a store/graph_file.h */
            /* As of a job; the file is open to it until it returns. */
            void (*run)(void *data, struct graph_file *file);
            void *data;
        } file_job;
        struct {
            enum log_level level;
            const char *text;
        } log;
        struct {
            int status;
            const char *text;
        } failed;
    } u;
};

/* Filled anew by each step. All zeros is a valid empty one. */
struct effects {
    struct effect *list;
    size_t count;
    size_t cap;
    struct arena_block *arena; /* small things that effects point to */
};

void effects_deinit(struct effects *effects);

/* A node that knows nothing yet.
 *   DLHT_EINVAL, DLHT_ENOMEM */
MUST_USE int node_new(const struct node_config *config, struct node **out);
void node_free(struct node *node); /* NULL is allowed */

/* Before EVENT_BOOT, with a data dir: first every checkpoint (in any order;
 * header, then blocks), then every journal record in order.
 *   DLHT_ECORRUPT  not what this program writes
 *   DLHT_ENOMEM */
MUST_USE int node_restore_checkpoint(struct node *node, arc_id arc,
                                     uint64_t number, bool first,
                                     struct span bytes);
/* The same in two calls: the header, which says where the blocks go (into is
 * the node's, until another call about this arc), and each block. The latter
 * touches nothing of the node but that: threads may fill the records of
 * several arcs while one of them makes another call. */
MUST_USE int node_restore_header(struct node *node, arc_id arc, uint64_t number,
                                 struct span bytes, struct records **into);
MUST_USE int node_restore_block(struct records *into, struct span bytes);
MUST_USE int node_restore_record(struct node *node,
                                 const struct journal_record *record);

/* There is a file of this number (store/graph_file.h). DLHT_ENOMEM */
MUST_USE int node_restore_graph(struct node *node, uint64_t number);

/* The checkpoint that was just restored is the one before the newest, which is
 * damaged. The journal may have been trimmed on account of that one: unless it
 * goes on with the very entry that follows, the replica has lost some and is
 * learned anew. */
void node_restore_older(struct node *node, arc_id arc);

/* Restoring met damage: of one arc (its checkpoints are unreadable), or of the
 * journal (arc 0: any arc may have lost a part). The replicas concerned will
 * not vote again under their old ids; they are learned anew. Says
 * DLHT_ECORRUPT if an arc has no other replica to learn it from: the world
 * then stops with exit code 4. */
MUST_USE int node_quarantine(struct node *node, arc_id arc);
/* Then, of a journal: what must be in it before it looks sound again, as
 * journal_config.mended wants it; context is the node.
 *   DLHT_ENOMEM, or what take returned */
MUST_USE int node_quarantined(void *context, journal_replay_fn take,
                              void *take_context);

/* Never blocks, never calls back. Returns DLHT_OK, or DLHT_ENOMEM: the event
 * is as if it had not come (a message lost, a request answered EBUSY). */
int node_step(struct node *node, const struct event *event,
              struct effects *effects);

/* When EVENT_TICK is due; UINT64_MAX: never. */
uint64_t node_next_timeout_ns(const struct node *node);

/* What to say at the start of a link, to a peer or in answer to one. */
void node_hello(const struct node *node, struct hello *out);

/* Whether a link with somebody who says this may go on: DLHT_OK, DLHT_EVERSION,
 * DLHT_ECLUSTER. */
int node_hello_check(const struct node *node, const struct hello *hello);

/* Everything that decides future behaviour, folded to a number. */
uint64_t node_hash(const struct node *node);

/* Asserts every invariant of the node and its parts. */
void node_check(const struct node *node);

#endif
