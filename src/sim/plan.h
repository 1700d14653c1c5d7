/* SPDX-License-Identifier: Apache-2.0 */

/* sim/plan.h - what a scenario is made of, for the files that tell scenarios.
 *
 * plan.c           the common story, from its start to the verdict
 * scenario.c       most scenarios, and what differs from seed to seed
 * scenario_large.c those of many hundred peers
 * scenario_keep.c  what keeps a ring well: weights, deaths, recovery, sleep
 * scenario_any.c   anything at all, drawn from the seed
 *
 * A step of a story says false if the world has failed. */

#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "sim/cache_story.h"
#include "sim/checker.h"
#include "sim/fault.h"
#include "sim/merger.h"
#include "sim/models_story.h"
#include "sim/recover_story.h"
#include "sim/scenario.h"
#include "sim/settled.h"
#include "sim/steady_story.h"
#include "sim/vectors_story.h"
#include "sim/workload.h"

enum {
    PLAN_MORE_MAX = 3 /* keyspaces besides `default` */
};

/* A keyspace more, and who asks for it. */
struct plan_keyspace {
    char name[16];
    bool hashed;
    uint8_t replicas;
    struct workload_config config;
    struct workload *clients; /* while it runs */
};

/* What a scenario is made of. Zero means no. */
struct plan {
    const struct scenario *scenario;
    const struct scenario_knobs *knobs;
    bool (*start)(struct plan *); /* brings the peers up */
    bool (*act)(struct plan *);   /* instead of faults */
    struct world_config world;
    struct workload_config workload;
    struct fault_config fault;
    struct merger_config merger; /* every_ns 0: no merges but planned ones */
    struct plan_keyspace more[PLAN_MORE_MAX];
    size_t more_count;
    bool models;          /* are trained, and looked at */
    bool vectors;         /* are put and searched for */
    bool caches;          /* one is made and used */
    bool cache_keeps;     /* and loses nothing, but by pauses */
    bool unsettled;       /* models need not be good in the end */
    bool careful;         /* no peer loses what no other has twice */
    bool own_kinds;       /* has turned the knob of kinds itself */
    bool equal;           /* copies are compared at the end */
    bool liar;            /* one peer lies about them */
    bool silence;         /* two do not say what rounds need */
    bool dying;           /* peers die for good */
    bool lasting;         /* hours in which nothing may move */
    bool heavy_last;      /* the last peer is of weight 2 */
    bool loads;           /* every key is put first */
    bool ends;            /* with act: nothing is mended or read after it */
    bool unverified;      /* not all is read again at the end */
    size_t settled_peers; /* that are there from the beginning */
    size_t first_peers;   /* 0: all, else those that start by themselves */
    uint64_t calm_ns;     /* of work before and after the faults */
    uint64_t faults_ns;   /* of faults */
    struct world_net faults_net; /* meanwhile, if has_faults_net */
    bool has_faults_net;
    uint64_t bound_ns; /* to be whole again, A10 */
    uint64_t poll_ns;  /* between looks whether it is */
    uint64_t pause_ns; /* between two starts, at most */
    void (*progress)(uint64_t virtual_ns);
    /* While it runs. */
    struct rng rng;
    struct world *w;
    struct workload *clients;
    struct fault *tormentor;
    struct checker *checker;
    struct models_story *story;     /* NULL: not models */
    struct recover_story *recovery; /* NULL: not dying */
    struct steady_story *steady;    /* NULL: not steady */
    struct vectors_story *seekers;  /* NULL: no vectors */
    struct cache_story *cache;      /* NULL: no cache */
    struct merger *matchmaker;      /* NULL: no merger */
    struct scenario_result *result;
    size_t lookups, hops;    /* answered */
    struct settled *settled; /* NULL: it began otherwise */
};

/* Runs it to its end and tells p->result. */
void plan_run(struct plan *p);

/* Draws a network that loses, delays and cuts. */
void plan_draw_net(struct plan *p);
bool plan_coin(struct plan *p, double chance);
bool plan_run_for(struct plan *p, uint64_t ns);
/* Until everything is whole, or the bound fails the world. */
bool plan_await_whole(struct plan *p);
/* Until all clients have their answers, or twice the bound fails the world. */
bool plan_await_idle(struct plan *p);
/* By one of those before it; the first founds. */
void plan_start_one(struct plan *p, size_t peer);
/* A peer leaves as an operator would have it: asks until it may be stopped,
 * stops it. */
bool plan_leave(struct plan *p, size_t peer);

/* scenario_keep.c */
void plan_recovered(struct plan *p);
void plan_weights(struct plan *p);
void plan_changes(struct plan *p);
void plan_down_out(struct plan *p);
void plan_quiet(struct plan *p);
void plan_steady(struct plan *p);
void plan_idle(struct plan *p);

/* scenario_any.c */
void plan_any(struct plan *p);
void plan_any_large(struct plan *p);
void plan_contended(struct plan *p);
void plan_vectors(struct plan *p);
void plan_cache(struct plan *p);
void plan_cache_moves(struct plan *p);
/* Makes p->more; after the start. */
bool plan_make_keyspaces(struct plan *p);

/* scenario_large.c */
void plan_large(struct plan *p);
void plan_ring_1000(struct plan *p);
void plan_fingers_1000(struct plan *p);
void plan_mass_restart_300(struct plan *p);
void plan_half_dead(struct plan *p);

#endif
