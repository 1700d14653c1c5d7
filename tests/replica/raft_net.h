/* SPDX-License-Identifier: Apache-2.0 */

/* replica/raft_net.h - a small cluster of rafts in one seeded world.
 *
 * Each node has a clock that runs up to 1 % wrong, a disk that may lose what
 * it has not confirmed and confirms late, and a state machine that is a chain
 * of hashes. The network delays, loses, repeats, overtakes and cuts one way.
 * After every event the promises of raft are held against what the world has
 * seen: one leader a term, every index applied alike, committed entries in
 * every later leader, reads never older than what was acknowledged before
 * they were asked. */

#ifndef REPLICA_RAFT_NET_H
#define REPLICA_RAFT_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NET_NODES_MAX = 8
};

struct net_config {
    uint64_t seed;
    size_t voters; /* founding */
    bool lease_reads;
    bool await_learners;
    bool memory;  /* then nothing crashes */
    double loss;  /* probability of a message */
    double again; /* that it comes twice */
    uint64_t delay_ns_max;
    uint64_t disk_ns_max;
    double drift; /* of clocks, at most */
    double late;  /* that a message takes up to late_ns_max */
    uint64_t late_ns_max;
    double aim;           /* that a fault picks a leader */
    double campaigns;     /* out of turn */
    double vote_crashes;  /* after a vote was given */
    double transfer_cuts; /* a successor whom the leader does not hear */
    double lead_cuts;     /* of each link from a new leader */
    size_t append_bytes_max;
    double cuts; /* of a fault of this kind, in each step of the script */
    double crashes;
    double changes;
    double transfers;
    double sleeps;
    double compactions;
    uint64_t span_ns; /* of faults; then all heals */
};

/* A world drawn from the seed. */
void net_config_draw(struct net_config *config, uint64_t seed);

struct net_result {
    char error[256]; /* empty: all promises held */
    uint64_t events;
    uint64_t commits;
    uint64_t leaders;
    uint64_t lease_reads;
    uint64_t round_reads;
    uint64_t snapshots;
    uint64_t changes;
    uint64_t crashes;
    uint64_t sleeps;
    uint64_t hash; /* of all that happened: one seed, one number */
};

void net_run(const struct net_config *config, struct net_result *result);

#endif
