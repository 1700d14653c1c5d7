/* SPDX-License-Identifier: Apache-2.0 */

/* tests/chord/ring_net.h - a seeded network of peers that keep arcs in finger
 * mode. Each arc has three members; the truth of bounds, members and owners is
 * kept here, peers know what they heard. Messages take 1 to 20 ms. */

#ifndef TESTS_CHORD_RING_NET_H
#define TESTS_CHORD_RING_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "chord/audit.h"
#include "chord/lookup.h"
#include "chord/map.h"
#include "chord/ring.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

struct ring_arc {
    struct arc *truth;
    struct ring *ring; /* of the owner; NULL: none now */
    size_t owner;      /* a peer */
    uint64_t wake_ns;
};

struct ring_peer {
    struct id id;
    bool up;
    struct map *known; /* NULL: it remembers nothing beside pointers */
};

struct ring_event;

struct ring_net {
    struct rng rng;
    struct ring_config config;
    double loss;
    uint64_t fail_one_of; /* allocations of rings; 0: none */
    double lies; /* share of answers whose arcs are replaced by others */
    struct ring_peer *peers;
    size_t peer_count;
    struct ring_arc *arcs; /* in order of lo */
    size_t count;
    size_t count_max;
    size_t *index_of; /* by arc id; SIZE_MAX: gone */
    uint64_t now_ns;
    struct ring_event *heap;
    size_t heap_count, heap_cap;
    uint64_t seq;
    uint64_t sent;
    arc_id next_id;
    size_t known_max;
};

/* arc_count arcs of random bounds, none led yet. known_max: descriptors that a
 * peer remembers, 0: none. */
void rnet_init(struct ring_net *net, uint64_t seed, size_t arc_count,
               size_t arc_count_max, size_t peer_count, size_t known_max,
               size_t list_len);
void rnet_deinit(struct ring_net *net);

/* The owner begins to lead it, without pointers; it hears of contact
 * (SIZE_MAX: nobody). */
void rnet_lead(struct ring_net *net, size_t index, size_t contact);

/* Each owner begins, 20 ms after the one before. */
void rnet_lead_all(struct ring_net *net);

void rnet_split(struct ring_net *net, size_t index, bool inherit);
void rnet_merge(struct ring_net *net, size_t index);

/* Its owner stops leading; another member begins, without pointers. */
void rnet_hand_over(struct ring_net *net, size_t index, size_t contact);
void rnet_stop_leading(struct ring_net *net, size_t index);

/* Another set of members, generation one more. */
void rnet_move(struct ring_net *net, size_t index, size_t contact);

void rnet_run_for(struct ring_net *net, uint64_t ns);
struct audit rnet_audit(const struct ring_net *net);

/* Virtual time until ideal, with fingers if asked for; UINT64_MAX: not. */
uint64_t rnet_run_until_ideal(struct ring_net *net, bool fingers,
                              uint64_t limit_ns);

/* Walks from the arc at index to key by greedy hops over the pointers of each
 * arc on the way only, or over all that its owner knows. Asserts that each hop
 * is nearer. Returns the hops; *found: the holder was met. */
size_t rnet_walk(const struct ring_net *net, size_t index, struct span key,
                 bool all, bool *found);
/* The same by the machine of one who asks, past arcs that nobody leads. True:
 * the holder answered. */
bool rnet_lookup(const struct ring_net *net, size_t index, struct span key,
                 size_t *hops, size_t *failures);
size_t rnet_random_arc(struct ring_net *net);

#endif
