/* SPDX-License-Identifier: Apache-2.0 */

/* node/keeper_state.h - the inside of the keeper, for keeper*.c and
 * op_balance.c.
 *
 * keeper.c hears reports and takes steps, keeper_peers.c says which peers
 * count for how much and which are to be replaced, keeper_plan.c plans and
 * sends steps, keeper_pace.c slows down for clients. All but reports and the
 * taking of steps happens at the owner of the system arc only; what operators
 * decided is in that arc, the rest is begun anew by each owner. */

#ifndef NODE_KEEPER_STATE_H
#define NODE_KEEPER_STATE_H

#include "node/keeper.h"
#include "node/node_state.h"
#include "placement/planner.h"

#define KEEPER_REPORT_NS (UINT64_C(400) * NS_PER_MS)
/* By then all arcs have reported to who has just begun to plan. */
#define KEEPER_SETTLE_NS (UINT64_C(4000) * NS_PER_MS)
/* As long is believed what was told of the rate; it is told each second. */
#define KEEPER_PACE_NS (UINT64_C(5000) * NS_PER_MS)

/* What the leader of an arc last said of it. */
struct heard {
    struct arc *arc;          /* owned */
    struct arc_report report; /* arc unused */
    uint64_t at_ns;
    uint64_t step_ns; /* when a step was last sent for it */
    enum plan_kind step_kind;
    enum plan_reason step_reason;
    struct id step_peer;
    uint64_t begun_ns;       /* what is under way; 0: nothing is */
    uint64_t cut_generation; /* that a SPLIT was last sent for */
    /* Requests a second: an average whose weight falls by half in 42 s. */
    double rate_sum, rate_weight;
    double bytes_usual; /* averaged likewise, since its bounds changed last */
    uint64_t still_ns;  /* that they were the same, up to the last report */
    /* Before it was last cut, so that its parts inherit. */
    uint64_t cut_ns;
    double cut_rate;
    uint64_t cut_keys;
};

/* What becomes of a peer's copies. */
enum keeper_fate {
    FATE_UP = 1,
    FATE_AWAITED, /* down: it may come back within --down-out */
    FATE_QUEUED,  /* down for too long: waits for others to be replaced */
    FATE_GONE,    /* its copies are made anew elsewhere */
    FATE_STUCK    /* likewise, but nothing comes of what is left: the next one
                   * need not wait for it */
};

struct keeper_peer {
    struct id id;
    enum keeper_fate fate;
    bool leaving;
    bool stops; /* keeper_volatile.c: so it says of arcs it still has, */
    replica_id stops_as; /* or said in that life; 0: not of a volatile arc */
    size_t copies;       /* in fresh reports */
    uint64_t until_ns;   /* AWAITED */
    size_t least;        /* copies it came down to since it is GONE */
    uint64_t least_ns;
    uint32_t weight_milli; /* in force */
    char zone[PEER_ZONE_MAX];
    uint64_t p99_ns; /* of what it carried for clients lately */
    uint64_t samples;
    uint64_t p99_at_ns;
};

/* From rest to rest. */
struct keeper_plan {
    uint64_t begun_ns; /* 0: none yet */
    uint64_t active_ns;
    uint64_t peers_hash; /* who was there, and with what weights */
    uint64_t steps;
    uint64_t moved; /* bytes of copies that were begun */
    uint64_t ideal; /* bytes that a perfect placement would have moved */
};

enum {
    KEEPER_HOUR = 60 /* minutes */
};

struct keeper_pace {
    uint32_t shift;   /* moves and rate are halved so many times */
    uint32_t ramp;    /* the rate, at least so many: moves began lately */
    uint64_t ramp_ns; /* when ramp last changed */
    uint64_t next_ns;
    uint64_t raised_ns;   /* when shift last changed */
    uint64_t baseline_ns; /* p99 while nothing moves; 0: not known */
    uint64_t p99_ns;      /* the worst of the peers, now; 0: too few requests */
};

/* An arc of a volatile keyspace that its voter was told to hand over. */
struct gift {
    keyspace_id keyspace;
    arc_id arc;
    uint64_t before; /* the generation that it has now */
    uint64_t generation;
    struct arc_member to;
    uint64_t begun_ns, told_ns;
    uint64_t busy_ns; /* the voter last said that it is at it; 0: not yet */
    uint32_t failures;
};

enum {
    KEEPER_GIFTS_MAX = 32 /* at once */
};

struct keeper {
    struct heard *list; /* ascending arc id */
    size_t count, cap;
    uint64_t next_report_ns;
    uint64_t next_plan_ns;
    uint64_t plan_since_ns;    /* leading the system arc since; 0: not */
    struct keeper_peer *peers; /* ascending id */
    size_t peer_count;
    uint64_t mended_ns; /* when a record was last put right */
    struct keeper_plan plan;
    uint64_t minutes[KEEPER_HOUR]; /* bytes moved in each of the last */
    uint64_t minute;               /* the newest of them */
    struct keeper_pace pace;
    size_t plays; /* op_rehearse.c: under way */
    /* keeper_volatile.c: arcs given away in the term, and for balance when. */
    uint64_t gift_term, gift_count, given_ns;
    struct gift gifts[KEEPER_GIFTS_MAX]; /* of that term, under way */
    size_t gifts_open;
    /* Steps sent, by why, and by kind. */
    uint64_t sent_for[PLAN_FOR_BALANCE + 1];
    uint64_t sent_kind[PLAN_MERGE + 1];
};

/* What operators decided, from the record "balance" of the system arc. */
struct keeper_settings {
    bool paused;
    uint64_t rate;    /* bytes a second and sender; 0: --move-rate */
    uint64_t version; /* of the record; 0: none */
};
void keeper_settings_read(const struct node *node, struct keeper_settings *out);
void keeper_settings_pack(const struct keeper_settings *settings,
                          struct buf *out);

/* Likewise of a peer, from "peer/" and its id. A weight or zone holds as long
 * as the peer is started with the options it had when that was decided. */
struct keeper_decree {
    bool leaving;
    uint32_t weight_milli; /* 0: none */
    uint32_t own_weight_milli;
    bool has_zone;
    char zone[PEER_ZONE_MAX];
    char own_zone[PEER_ZONE_MAX];
    uint64_t version; /* of the record; 0: none */
};
/* False: there is no record here. */
bool keeper_decree_of(const struct node *node, const struct id *peer,
                      struct keeper_decree *out);
void keeper_decree_pack(const struct keeper_decree *decree, struct buf *out);
/* The record's key. */
struct span keeper_decree_key(const struct id *peer, char room[64]);

/* keeper_peers.c: who is there, from news of peers, records and reports. */
void keeper_judge_peers(struct node *node);
struct keeper_peer *keeper_find_peer(const struct keeper *k,
                                     const struct id *id);

/* keeper.c */
struct heard *keeper_find_heard(struct keeper *k, arc_id id, size_t *at);
bool keeper_is_fresh(const struct node *node, const struct heard *h);
double keeper_rate_of(const struct heard *h);

/* keeper_plan.c: what the planner is told. Both arrays are the caller's to
 * free; they point into the keeper. DLHT_ENOMEM */
struct keeper_input {
    struct plan_input in;
    struct plan_peer *peers;
    struct plan_arc *arcs;
};
MUST_USE int keeper_gather(struct node *node, struct keeper_input *out);
void keeper_input_free(struct keeper_input *input);
void keeper_plan_tick(struct node *node);

/* Bytes kept and led by each peer of the input, in its order. */
struct keeper_share {
    uint64_t held;
    uint64_t led;
    uint64_t requests; /* a second, of what it leads */
    double fair;       /* bytes it should hold; 0 if none */
};
void keeper_shares(const struct plan_input *in, struct keeper_share *shares);
/* Bytes that have to move at the least until each peer holds its fair share. */
uint64_t keeper_ideal(const struct plan_input *in,
                      const struct keeper_share *shares);

/* keeper.c and keeper_plan.c: bytes begin to move. */
void keeper_note_moved(struct node *node, uint64_t bytes);
uint64_t keeper_moved_hour(const struct node *node);

/* keeper_volatile.c */
void keeper_volatile_tick(struct node *node);

/* keeper_pace.c */
/* Steps are about to be sent after a rest. */
void keeper_pace_begin(struct node *node);
void keeper_pace_tick(struct node *node);
size_t keeper_moves_max(const struct node *node, size_t wanted);
uint64_t keeper_rate_now(const struct node *node);
/* By how often the rate is halved now. */
uint32_t keeper_rate_shift(const struct node *node);

#endif
