/* SPDX-License-Identifier: Apache-2.0 */

/* node/handover_pair.h - a node that has a volatile keyspace, and one peer
 * beside it that is what the test says. */

#ifndef NODE_HANDOVER_PAIR_H
#define NODE_HANDOVER_PAIR_H

#include "node/alone.h"
#include "node/inspect.h"

enum {
    KEY_ROOM = 200
};

/* How the other peer answers chunks. */
enum manner {
    TAKES,
    TAKES_BUT_THE_LAST,
    REFUSES,
    IS_SILENT
};

struct pair {
    struct alone a; /* first: what is sent comes with it */
    struct id peer;
    int digits; /* of numbers in keys, at least */
    bool up;
    enum manner manner;
    uint64_t pings[16];
    size_t ping_count;
    struct snapshot_ack acks[64]; /* to be sent */
    size_t ack_count;
    size_t orders; /* to take an arc empty */
    size_t largest, chunks, done;
    arc_id arc; /* that is handed over now */
    uint64_t transfer, next;
    struct buf stream;
    bool ended;
    struct snapshot_ack heard; /* of the node, as a receiver */
    size_t heard_count;
};

/* Makes the keyspace. */
void pair_begin(struct pair *p, uint64_t seed);
void pair_end(struct pair *p);
/* From now on the node knows the peer, and gives it its share. */
void pair_join(struct pair *p, enum manner manner, uint32_t weight_milli);
const struct response *pair_ask(struct pair *p, struct request q);
void pair_put(struct pair *p, int number, struct span value, uint64_t ttl_ms);
/* Of that number. */
void pair_name_key(const struct pair *p, int number, char key[KEY_ROOM]);
bool pair_find_arc(const struct pair *p, arc_id id,
                   struct inspect_replica *out);

#endif
