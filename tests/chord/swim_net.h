/* SPDX-License-Identifier: Apache-2.0 */

/* tests/chord/swim_net.h - a seeded network of swims on virtual time: messages
 * take 1 to 20 ms, may be lost, and do not cross from one side to another. */

#ifndef TESTS_CHORD_SWIM_NET_H
#define TESTS_CHORD_SWIM_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "chord/swim.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

struct net_peer {
    struct peer self;
    struct swim *swim;      /* NULL: not running */
    int side;               /* only equal sides reach each other */
    uint64_t stalled_until; /* reads and ticks nothing before */
    uint64_t wake_ns;
    uint64_t deaths_seen; /* changes to PEER_DEAD that it took */
};

struct net_event {
    uint64_t at_ns;
    uint64_t seq;
    size_t to;
    struct id from;
    struct swim_message *message; /* NULL: wake */
};

struct net {
    struct rng rng;
    uint64_t seed;
    double loss;
    struct net_peer *peers;
    size_t count;
    uint64_t now_ns;
    struct net_event *heap;
    size_t heap_count, heap_cap;
    uint64_t seq;
    uint64_t sent;
    uint64_t updates;
    uint64_t deaths; /* of running peers, declared by running ones */
};

/* count peers that run and know of each other (know_all), or of the first. */
void net_init(struct net *net, uint64_t seed, size_t count, bool know_all);
void net_deinit(struct net *net);
void net_run_for(struct net *net, uint64_t ns);
void net_stop(struct net *net, size_t index);

/* Starts it (again) with the next incarnation; it hears of all others through
 * a running peer, as a join does. */
void net_start(struct net *net, size_t index, size_t contact);

/* Carries what a call made it want to send. */
void net_flush(struct net *net, size_t index);

/* Peers that see it in that state, among those that run, itself excluded. */
size_t net_seen_as(const struct net *net, size_t index, enum peer_state state);
size_t net_running(const struct net *net);

/* Runs until all running peers see all running ones alive, and no longer than
 * limit; the time it took, UINT64_MAX if it did not happen. */
uint64_t net_run_until_agreed(struct net *net, uint64_t limit_ns);
uint64_t net_run_until_seen(struct net *net, size_t index,
                            enum peer_state state, uint64_t limit_ns);
uint64_t net_hash(const struct net *net);

#endif
