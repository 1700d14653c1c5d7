/* SPDX-License-Identifier: Apache-2.0 */

/* tests/node/crowd.h - a node among peers that say what the test wants. They
 * join, answer its probes while they are up, and what they are sent is kept. */

#ifndef TESTS_NODE_CROWD_H
#define TESTS_NODE_CROWD_H

#include "chord/map.h"
#include "node/alone.h"
#include "wire/message.h"
#include "wire/mp.h"

enum {
    PEERS = 4,
    FAR = 77, /* a keyspace that only others serve */
    FIRST_ARC = 1000,
    ACKS_MAX = 64
};

struct crowd {
    struct alone a; /* first: what is sent comes with it */
    bool up[PEERS]; /* answers probes */
    struct {
        struct id peer;
        uint64_t number;
    } acks[ACKS_MAX];
    size_t ack_count;
    /* Of what was sent since the last look: */
    size_t arcs, keyspaces, digests;
    bool answer; /* of the last digest */
    struct buf parts;
    /* Recoveries: what was asked and is not answered yet, what each says it
     * has (arc_known too), and what it was told to take. */
    struct recover_message asked[PEERS], has[PEERS], taken[PEERS];
    bool says[PEERS];
    bool leads;                  /* whoever is told to take it, then */
    struct recover_message said; /* by the node: HAVE */
    size_t takes;
    size_t responses; /* to requests of peers */
    int status;       /* of the last one */
    bool taken_ends;
    char taken_hi[16];
};

struct id crowd_peer(size_t i);

/* All of them join, and are up. */
void crowd_begin(struct crowd *c, uint64_t seed);
void crowd_end(struct crowd *c);
void crowd_look_again(struct crowd *c);

/* By gossip, from nobody that is known. */
void crowd_tell_keyspace(struct crowd *c, keyspace_id id, const char *name,
                         bool is_volatile);
void crowd_tell_arc(struct crowd *c, const struct arc *arc);
void crowd_tell_arcs(struct crowd *c, keyspace_id keyspace, size_t count);

/* The i-th of count arcs of a keyspace, on the first three peers; its spans are
 * into bounds. */
struct arc crowd_arc(keyspace_id keyspace, size_t i, size_t count,
                     char bounds[2][8]);
const struct map *crowd_map_of_far(const struct crowd *c);

/* A field of a document; empty, or 0: it has none. */
struct mp_reader crowd_reader(struct span doc, const char *name);
uint64_t crowd_number(struct span doc, const char *name);
struct span crowd_text(struct span doc, const char *name);

#endif
