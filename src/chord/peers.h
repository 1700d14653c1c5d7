/* SPDX-License-Identifier: Apache-2.0 */

/* chord/peers.h - the table behind swim: every peer heard of, which news of
 * them is still to be passed on, and which changes the node has not yet seen.
 *
 * News of one peer is ordered by incarnation; within one, PEER_LEFT is last;
 * else by refutation, then state. Merging keeps the last, so the order of
 * arrival does not matter. Forgotten peers leave a grave, a bounded memory of
 * the incarnation that stays forgotten.
 *
 * Entries keep their address until forgotten. No clock, no messages. */

#ifndef CHORD_PEERS_H
#define CHORD_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/must_use.h"
#include "base/rng.h"
#include "chord/swim.h"

enum {
    /* Old enough to be out of everybody's gossip when it is overwritten. */
    PEERS_GRAVES_MAX = 1024,
    /* Three times log2 of the most peers, and a little. */
    PEERS_SENDS_MAX = 48
};

struct peers_entry {
    struct peer peer;
    bool is_news;  /* to be passed on */
    uint32_t sent; /* times it was */
    bool changed;  /* not yet taken by the node */
    bool greeted;  /* it was told of us by swim_greet */

    /* Of a suspicion, kept by swim. */
    uint64_t suspect_ns; /* when it began, moved on by what we lost to lag */
    uint32_t witnesses;  /* who failed to reach it, beside the first */
    uint64_t told_ns;    /* when we last told it our opinion; 0: never */

    struct peers_entry *news_prev, *news_next; /* while is_news */
    struct peers_entry *change_next;           /* while changed */
};

struct peers_list {
    struct peers_entry *first, *last;
};

struct peers_grave {
    struct id id;
    uint64_t incarnation;
};

struct peers {
    struct rng rng;               /* for the order of probing */
    struct peers_entry **entries; /* in ascending order of id, owned */
    struct peers_entry **order;   /* of probing, shuffled each round */
    size_t count;                 /* of both */
    size_t cap;
    size_t order_next;
    size_t state_count[PEER_LEFT + 1];       /* by enum peer_state */
    struct peers_list news[PEERS_SENDS_MAX]; /* by times sent */
    struct peers_entry *change_first, *change_last;
    size_t fill_next; /* table entry that fills the next message */
    struct peers_grave *graves;
    size_t grave_count; /* ever dug; the last PEERS_GRAVES_MAX are kept */
};

void peers_init(struct peers *peers, uint64_t seed);
void peers_deinit(struct peers *peers);

/* NULL: unknown. */
struct peers_entry *peers_find(const struct peers *peers, const struct id *id);

/* What a stranger sends may be no peer at all: id, state, ends of the texts. */
bool peers_is_sane(const struct peer *peer);

/* a is later news than b of the same peer. */
bool peers_is_news(const struct peer *a, const struct peer *b);

/* Takes in news, sane and not of ourselves unless new. *entry is where it
 * stands, or NULL if it was no news, of a grave, or the table is full.
 *   DLHT_ENOMEM  as before */
MUST_USE int peers_merge(struct peers *peers, uint64_t now_ns,
                         const struct peer *news, struct peers_entry **entry);

/* The entry's content was changed in place, from what was: counts it, queues
 * it for the node and for passing on. */
void peers_changed(struct peers *peers, struct peers_entry *entry,
                   const struct peer *was, uint64_t now_ns);

/* It is not passed on any more. */
void peers_hush(struct peers *peers, struct peers_entry *entry);

/* Writes up to SWIM_UPDATES_MAX updates for a message to a peer: our opinion of
 * it unless it is alive, ourselves if that is news, then other news, what
 * was sent least first, then one entry in turn, so that what all gossip missed still
 * arrives some day. Counts what it writes as passed on. */
size_t peers_pick(struct peers *peers, const struct id *to,
                  struct peers_entry *self, struct peer *out);

/* False: none. */
bool peers_take_change(struct peers *peers, struct peer *out);

/* Removes and frees the entry and digs its grave (which memory may forbid). */
void peers_forget(struct peers *peers, struct peers_entry *entry);

/* The next peer to probe that is up and not self, each once a round in an
 * order drawn anew for each; NULL: none. */
struct peers_entry *peers_next_up(struct peers *peers,
                                  const struct peers_entry *self);

/* Makes it the next of peers_next_up. Linear. */
void peers_put_next(struct peers *peers, struct peers_entry *entry);

/* Up: alive or suspect. */
bool peers_entry_is_up(const struct peers_entry *entry);
size_t peers_up_count(const struct peers *peers);

/* Asserts order, counts and lists. */
void peers_check(const struct peers *peers);

/* How many times a piece of news is passed on. */
uint32_t peers_sends(const struct peers *peers);

/* 1000 * log2(n), n >= 1; exact at powers of two, linear between. Without
 * libm, so that each machine counts the same. */
uint64_t peers_log2_milli(uint64_t n);

#endif
