/* SPDX-License-Identifier: Apache-2.0 */

/* sim/world.h - many nodes on virtual time, from one seed.
 *
 * A world keeps a heap of things to come, ordered by time and then by the
 * order of their making, and does them one by one. Each peer has a node, a
 * clock that drifts, a disk that tears and forgets what was not synced (with
 * the production journal and checkpoints on it), and a process that can crash,
 * be paused and start again. Between peers run links that carry the bytes of
 * frames and can be slow, lose, break, stall, and be cut one way or both.
 *
 * What is promised to nodes is what net/ promises: frames of a link come in
 * order or the link breaks and says so (unless the configuration asks for
 * worse), effects of a step are carried out in order, a sync is answered after
 * what was appended before it is durable or has failed, a job is reported once
 * and to the process that asked for it. Jobs may overtake each other.
 *
 * The same seed and the same calls give the same events and the same
 * world_hash. Not for two threads at once. */

#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/rng.h"
#include "node/node.h"
#include "wire/message.h"

struct world;

enum {
    WORLD_PEERS_MAX = 1024,
    WORLD_TEXT_MAX = 512
};

#define WORLD_US UINT64_C(1000)
#define WORLD_MS UINT64_C(1000000)
#define WORLD_S UINT64_C(1000000000)

/* How links behave. Probabilities are per frame. */
struct world_net {
    uint64_t delay_min_ns; /* each link draws its own base between these */
    uint64_t delay_max_ns;
    double far; /* of a link, to be long: by far_ns */
    uint64_t far_ns;
    uint64_t jitter_ns; /* and each frame up to this on top */
    double break_link;  /* the frame and all in flight are lost, and both ends
                         * are told */
    double lose;        /* this frame alone, silently: worse than TCP */
    double duplicate;   /* likewise */
    double reorder;     /* likewise */
};

struct world_disk {
    uint64_t sync_min_ns;
    uint64_t sync_max_ns;
    double slow_chance; /* of a sync, to take up to slow_ns */
    uint64_t slow_ns;
    double fail_chance; /* of a sync, to fail */
    /* Of each file of a graph, when its process starts: to be gone, cut short,
     * damaged, another keyspace's, or as it was at a start before. */
    double graph_chance;
};

/* A peer's process has ended by its own wish: status 0 after EFFECT_STOPPED,
 * else that of EFFECT_FAILED or of a failed recovery. */
typedef void (*world_exit_fn)(void *context, size_t peer, int status,
                              const char *text);

/* After each turn of a peer; for checks. */
typedef void (*world_turn_fn)(void *context, size_t peer);

typedef void (*world_trace_fn)(void *context, const char *line);

struct world_config {
    uint64_t seed;
    size_t peer_count;       /* all down at first */
    struct node_config node; /* of every node; address, bootstrap and seed are
                              * filled in */
    struct world_net net;
    struct world_disk disk;
    bool mixed_maps; /* every other peer has map_fingers, whatever node says */
    uint64_t segment_bytes; /* of journals; 0: 256 KiB */
    uint32_t drift_ppm_max; /* of clocks, either way */
    uint64_t events_max;    /* more is a livelock; 0: 50 million */
    world_exit_fn on_exit;  /* may be NULL; must not call the world back but
                             * for world_after */
    world_turn_fn on_turn;  /* may be NULL; the same */
    void *context;          /* of both */
    world_trace_fn trace;   /* NULL: no trace */
    void *trace_context;
};

void world_config_default(struct world_config *config);

/*   DLHT_ENOMEM, DLHT_EINVAL */
MUST_USE int world_new(const struct world_config *config, struct world **out);
void world_free(struct world *world); /* NULL is allowed */

/* Time. */
uint64_t world_now_ns(const struct world *world);
/* Does the next thing. False: nothing is left, or the world has failed. */
bool world_step(struct world *world);
/* Until then, or a failure (false). */
bool world_run(struct world *world, uint64_t until_ns);
typedef void (*world_fn)(void *context, uint64_t argument);
/* Calls fn at now + delay_ns. */
void world_after(struct world *world, uint64_t delay_ns, world_fn fn,
                 void *context, uint64_t argument);

/* Chance of the world; faults and workloads have their own, drawn from it. */
struct rng *world_rng(struct world *world);

/* Processes. */
/* Whom the peer asks when it starts; none: it founds a cluster, or rejoins by
 * what is on its disk. Stays until changed. */
void world_set_bootstrap(struct world *world, size_t peer, const size_t *from,
                         size_t count);
/* What the peer is started with from now on; 0: as all. */
void world_set_weight(struct world *world, size_t peer, uint32_t milli);
/* Starts a process that is down: recovers from the disk and boots. */
void world_start(struct world *world, size_t peer);
/* The same, of a peer that was never started, but boots it by a call of fn,
 * which stands for the step of EVENT_BOOT and returns what that would. */
typedef int (*world_boot_fn)(void *context, size_t peer, struct node *node,
                             uint64_t now_ns, struct effects *effects);
void world_start_by(struct world *world, size_t peer, world_boot_fn fn,
                    void *context);
/* Ends it at once. Power: the machine, so that others are not told, the clock
 * begins anew, and the disk forgets or tears what was not synced; else the
 * process only, and what was written stays. */
void world_crash(struct world *world, size_t peer, bool power);
/* EVENT_STOP; on_exit tells when it is done. */
void world_stop(struct world *world, size_t peer);
void world_pause(struct world *world, size_t peer, uint64_t for_ns);
/* The clock of a peer that is up stands that much later at once. Nothing in a
 * node reads any other clock, and this one never goes back while a process
 * lives; when power is lost it begins anew, earlier or later. */
void world_jump_clock(struct world *world, size_t peer, uint64_t by_ns);
/* From now on it runs faster by so much; 0 <= |ppm| <= drift_ppm_max. */
void world_drift_clock(struct world *world, size_t peer, int64_t ppm);
uint32_t world_drift_max(const struct world *world);
/* An empty disk; the peer must be down. */
void world_lose_disk(struct world *world, size_t peer);
/* All syncs of the peer take that much longer; 0: as usual. */
void world_slow_disk(struct world *world, size_t peer, uint64_t by_ns);
/* The disk takes no more bytes than it has, or as many as wanted. */
void world_fill_disk(struct world *world, size_t peer, bool full);
/* The next sync of the peer fails. */
void world_fail_sync(struct world *world, size_t peer);
/* Ends the process in order, handing nothing over, and damages what is on its
 * disk: a bit turns over, or a sector is written where another was and not
 * where it belongs. What is damaged was synced and lies before the journal's
 * last mark: docs/storage.md says what cannot be told. False: its journal has
 * failed or is full, and nothing was done. */
enum world_damage {
    WORLD_ROT = 1,
    WORLD_MISDIRECTED
};
bool world_hurt(struct world *world, size_t peer, enum world_damage damage);
/* Whether the peer is part of the cluster as far as the story goes, up or
 * down: from its first start on, until it is said to have gone for good. */
bool world_is_wanted(const struct world *world, size_t peer);
void world_set_wanted(struct world *world, size_t peer, bool wanted);
bool world_is_up(const struct world *world, size_t peer);
/* Said EFFECT_READY since it started. */
bool world_is_ready(const struct world *world, size_t peer);
/* Times it was started. */
uint32_t world_starts(const struct world *world, size_t peer);
/* NULL: down. */
struct node *world_node(const struct world *world, size_t peer);
/* What the peer's clock shows. */
uint64_t world_local_ns(const struct world *world, size_t peer);
size_t world_peer_count(const struct world *world);
/* Where it listens. */
const char *world_addr(const struct world *world, size_t peer);
/* The peer that calls itself so, up or down; SIZE_MAX: none. */
size_t world_peer_of(const struct world *world, const struct id *id);

/* Links. Cut: nothing goes that way until it is mended; what is under way is
 * held, and the link breaks after some seconds, or with even chance when it is
 * mended. Clogged: held, and then delivered. */
void world_cut(struct world *world, size_t from, size_t to, bool cut);
bool world_is_cut(const struct world *world, size_t from, size_t to);
void world_clog(struct world *world, size_t from, size_t to, uint64_t for_ns);
void world_break_link(struct world *world, size_t from, size_t to);
/* Mends all cuts. */
void world_mend(struct world *world);
/* Exchanges the behaviour of links, and of disks. */
void world_set_net(struct world *world, const struct world_net *net);
void world_set_disk(struct world *world, const struct world_disk *disk);

/* Called with all that peers send, which it may change: for peers that lie.
 * What it points message to must last until the call after the next. */
typedef void (*world_tamper_fn)(void *context, size_t from, size_t to,
                                struct message *message);
void world_set_tamper(struct world *world, world_tamper_fn fn, void *context);

/* A client's request to a peer, which must be up. Copied. fn is called once:
 * with the response, or with NULL if the peer crashed first. Both ways take
 * the time of a short link.
 *   DLHT_ENOMEM, DLHT_ETOOBIG */
typedef void (*world_reply_fn)(void *context, uint64_t argument,
                               const struct response *response);
MUST_USE int world_request(struct world *world, size_t peer,
                           const struct request *request, world_reply_fn fn,
                           void *context, uint64_t argument);

/* A message to a peer, which must be up, as if from itself: for steps that
 * nobody planned. Copied.
 *   DLHT_ENOMEM, DLHT_ETOOBIG */
MUST_USE int world_tell(struct world *world, size_t peer,
                        const struct message *message);

/* Requests that wait for an answer. */
size_t world_open_requests(const struct world *world);

/* The first failure stays. invariant is a short fixed name. */
void world_fail(struct world *world, const char *invariant, const char *format,
                ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;
/* NULL: none. */
const char *world_failure(const struct world *world, const char **text);
void world_trace(struct world *world, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;
bool world_is_traced(const struct world *world);

enum {
    WORLD_TYPES = 32 /* of messages */
};

/* The name of a message's type. */
const char *world_type_name(uint8_t type);

struct world_stats {
    uint64_t events, turns, frames, frame_bytes, syncs, crashes, restarts,
        broken_links, requests, replies, at_once, begun;
    uint64_t type_frames[WORLD_TYPES], type_bytes[WORLD_TYPES]; /* by type */
};
void world_stats(const struct world *world, struct world_stats *out);

/* Everything that happened and everything that is, folded to a number. */
uint64_t world_hash(const struct world *world);

#endif
