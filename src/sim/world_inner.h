/* SPDX-License-Identifier: Apache-2.0 */

/* sim/world_inner.h - what the parts of the world know of each other.
 *
 * world.c         the heap of things to come, the trace, life
 * world_peer.c    clocks and processes
 * world_turn.c    what awaits a peer, its turns, effects carried out
 * world_client.c  requests from beside the nodes
 * world_net.c     the links
 * world_job.c     slow work beside a peer's turns
 * world_disk.c    disks and their workers
 * world_recover.c what a process reads when it starts
 * world_hurt.c    damage to disks
 * world_graph.c   and to the files of graphs */

#ifndef SIM_WORLD_INNER_H
#define SIM_WORLD_INNER_H

#include "base/buf.h"
#include "sim/disk_sim.h"
#include "sim/world.h"
#include "store/checkpoint.h"
#include "store/graph_file.h"
#include "store/journal.h"
#include "wire/codec.h"

enum thing_kind {
    THING_CALL = 1,  /* world_after */
    THING_TURN,      /* a peer wakes up */
    THING_CONNECT,   /* a link is made, or refused */
    THING_FRAME,     /* bytes arrive at a peer */
    THING_STALLED,   /* a link has held frames for too long */
    THING_LINK_DOWN, /* a peer is told */
    THING_CLOG_ENDS,
    THING_DISK,    /* the disk worker's job is done */
    THING_REQUEST, /* a client's request arrives */
    THING_REPLY,   /* its answer */
    THING_JOB      /* a node's slow work is done */
};

/* Something to come. Owned by the heap; which fields mean something depends on
 * the kind. */
struct thing {
    uint64_t time;
    uint64_t sequence;
    enum thing_kind kind;
    uint32_t from;
    uint32_t to;    /* or the peer concerned */
    uint64_t epoch; /* of the link or the peer's life: else it is void */
    uint64_t argument;
    world_fn call;
    void (*run)(void *data); /* of a job; context is its data */
    void (*run_file)(void *data, struct graph_file *file);
    uint64_t file;
    void *context;
    struct id id;
    uint8_t *bytes; /* owned */
    size_t len;
};

/* What awaits a peer's next turn. */
enum input_kind {
    INPUT_FRAME = 1,
    INPUT_REQUEST,
    INPUT_LINK_DOWN,
    INPUT_SYNCED,
    INPUT_CHECKPOINT,
    INPUT_JOB,
    INPUT_STOP
};

struct input {
    enum input_kind kind;
    struct id id;
    uint64_t number; /* ticket, sync, job */
    int status;
    arc_id arc;
    uint64_t journal_bytes;
    uint8_t *bytes; /* owned */
    size_t len;
};

enum job_kind {
    JOB_APPEND = 1,
    JOB_SYNC,
    JOB_RELEASE,
    JOB_CHECKPOINT_BEGIN,
    JOB_CHECKPOINT_ADD,
    JOB_CHECKPOINT_END,
    JOB_CHECKPOINT_ABORT,
    JOB_CHECKPOINT_REMOVE
};

struct job {
    enum job_kind kind;
    uint8_t type;
    arc_id arc;
    uint64_t term;
    uint64_t index; /* or number */
    uint8_t *bytes; /* owned */
    size_t len;
};

/* A checkpoint being written. */
struct writing {
    arc_id arc;
    uint64_t number;
    struct checkpoint_writer *writer; /* NULL: it failed */
    int status;
};

enum {
    WRITING_MAX = 64,
    MERGED_MAX = 256
};

struct worker {
    struct job *jobs; /* a queue: [head, head + count) wrapping in cap */
    size_t head, count, cap;
    bool busy; /* the first job is under way */
    struct writing writing[WRITING_MAX];
    size_t writing_count;
    uint64_t merged[MERGED_MAX]; /* syncs that the next one serves too */
    size_t merged_count;
    uint64_t slow_ns;
    bool fail_next;
};

/* A graph's file as it once was. */
struct old_graph {
    uint64_t number;
    uint8_t *bytes; /* owned; NULL: none */
    size_t len;
};

struct sim_peer {
    uint32_t index;
    char addr[PEER_ADDR_MAX];
    size_t bootstrap[NODE_BOOTSTRAP_MAX];
    size_t bootstrap_count;
    uint32_t weight_milli; /* 0: as the configuration says */
    struct id id;          /* zero: never started */
    struct node *node;
    struct effects effects;
    bool ready;
    bool stopping;
    bool wanted;
    uint64_t life; /* grows with each start and crash */
    uint32_t starts;
    /* The clock: base at boot_ns of the world, running faster by drift. */
    uint64_t clock_base;
    uint64_t clock_boot_ns;
    int64_t drift_ppm;
    uint64_t paused_until;
    uint64_t turn_at; /* UINT64_MAX: none is planned */
    struct input *inputs;
    size_t input_head, input_count, input_cap;
    struct disk_sim *disk;
    bool hurt;         /* damage in the journal was not met yet */
    bool hurt_streams; /* a checkpoint may be damaged */
    struct old_graph old_graph;
    struct journal *journal;
    struct worker worker;
};

enum conn_state {
    CONN_DOWN,
    CONN_CONNECTING,
    CONN_UP
};

struct held {
    uint8_t *bytes; /* owned */
    size_t len;
    struct id to;
};

/* The link over which one peer sends to another; the way back is another. */
struct conn {
    enum conn_state state;
    uint64_t epoch;
    uint64_t arrival_ns; /* of the last frame */
    uint64_t delay_ns;   /* 0: not drawn yet */
    struct id from_id;   /* who they said they are */
    struct id to_id;
    uint64_t to_life; /* of the process that answered */
    bool is_cut;
    bool is_clogged;
    bool is_stalled;   /* THING_STALLED is planned */
    struct held *held; /* until connected, or while cut */
    size_t held_count, held_cap;
};

struct ticket {
    uint64_t number;
    uint32_t peer;
    world_reply_fn fn;
    void *context;
    uint64_t argument;
};

/* When a thing is due stands beside it, so that few are touched. */
struct heap_entry {
    uint64_t time;
    uint64_t sequence;
    struct thing *thing;
};

struct world {
    struct world_config config;
    struct rng rng;
    uint64_t now;
    uint64_t sequence;
    struct heap_entry *heap;
    size_t heap_count, heap_cap;
    struct thing *spare; /* a list through context */
    struct sim_peer *peers;
    uint32_t *by_id; /* a hash table of indices, each one more; 0: free */
    size_t by_id_count, by_id_cap;
    struct conn *conns;     /* [from * peer_count + to] */
    struct ticket *tickets; /* ascending numbers */
    size_t ticket_count, ticket_cap;
    uint64_t ticket_last;
    world_tamper_fn tamper;
    void *tamper_context;
    struct buf scratch;
    struct codec_arena arena;
    struct world_stats stats;
    uint64_t hash;
    const char *invariant; /* of the failure; NULL: none */
    char text[WORLD_TEXT_MAX];
};

/* world.c */
/* A new thing at now + delay, of which the caller fills in the rest. */
struct thing *world_plan(struct world *world, uint64_t delay_ns,
                         enum thing_kind kind);
void world_fold(struct world *world, uint64_t value);
uint64_t world_draw(struct world *world, uint64_t lo, uint64_t hi);
void *world_alloc(size_t count, size_t size);
uint8_t *world_copy(struct span bytes);

/* world_peer.c */
void world_clock_start(struct world *world, struct sim_peer *peer);
/* What the peer's clock shows. */
uint64_t world_clock_now(const struct world *world,
                         const struct sim_peer *peer);
/* When the peer's clock shows that, in the world's time. */
uint64_t world_clock_when(const struct world *world,
                          const struct sim_peer *peer, uint64_t local);
/* The peer that listens there, or SIZE_MAX. */
size_t world_peer_at(const struct world *world, const char *addr);
/* The peer has its id: world_peer_of finds it by that. */
void world_peer_index(struct world *world, size_t index);
/* Ends the process as one that was asked to, tells nobody. */
void world_end_clean(struct world *world, struct sim_peer *peer);
/* Calls on_exit and ends the process. */
void world_exit(struct world *world, struct sim_peer *peer, int status,
                const char *text);

/* world_turn.c */
/* Takes over input->bytes. */
void world_feed(struct world *world, struct sim_peer *peer,
                const struct input *input);
/* At that time, or earlier if an earlier one is planned. */
void world_turn_plan(struct world *world, struct sim_peer *peer, uint64_t time);
void world_turn_drop_inputs(struct sim_peer *peer);
/* One event and its effects. False: the peer's process is over. */
bool world_turn_step(struct world *world, struct sim_peer *peer,
                     const struct event *event);
/* Carries out peer->effects, of a step that said rc. The same answer. */
bool world_turn_effects(struct world *world, struct sim_peer *peer, int rc);
void world_turn(struct world *world, const struct thing *thing);

/* world_client.c */
/* EFFECT_REPLY. */
void world_client_effect(struct world *world, struct sim_peer *peer,
                         const struct effect *effect);
void world_client_request(struct world *world, struct thing *thing);
void world_client_reply(struct world *world, struct thing *thing);
/* The process of the peer is gone: its open requests end without an answer. */
void world_client_peer_gone(struct world *world, size_t peer);

/* world_net.c */
struct conn *world_conn(struct world *world, size_t from, size_t to);
void world_net_send(struct world *world, struct sim_peer *from,
                    const struct id *to, const char *addr,
                    const struct message *message);
void world_net_connect(struct world *world, const struct thing *thing);
void world_net_frame(struct world *world, struct thing *thing);
void world_net_stalled(struct world *world, const struct thing *thing);
void world_net_clog_ends(struct world *world, const struct thing *thing);
/* The process of the peer is gone. */
void world_net_peer_gone(struct world *world, size_t peer, bool silent);
/* The peer is told. */
void world_net_link_down(struct world *world, const struct thing *thing);
void world_net_deinit(struct world *world);

/* world_job.c */
/* EFFECT_JOB, EFFECT_FILE_JOB. */
void world_job_effect(struct world *world, struct sim_peer *peer,
                      const struct effect *effect);
/* The process is about to crash: some of what its jobs would write is. */
void world_job_half_way(struct world *world, struct sim_peer *peer);
void world_job_done(struct world *world, const struct thing *thing);

/* world_graph.c: before the process reads them. */
void world_graph_trouble(struct world *world, struct sim_peer *peer);

/* world_disk.c */
int world_disk_init(struct world *world, struct sim_peer *peer);
void world_disk_deinit(struct sim_peer *peer);
/* world_recover.c: feeds the node what the disk holds. */
int world_disk_recover(struct world *world, struct sim_peer *peer,
                       const char **text);
void world_disk_effect(struct world *world, struct sim_peer *peer,
                       const struct effect *effect);
void world_disk_done(struct world *world, struct sim_peer *peer);
/* The process ends as it should. */
void world_disk_close(struct sim_peer *peer);
void world_disk_crash(struct world *world, struct sim_peer *peer, bool power);
uint64_t world_disk_hash(const struct sim_peer *peer);

#endif
