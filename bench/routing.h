/* SPDX-License-Identifier: Apache-2.0 */

/* bench/routing.h - hops of lookups, by what arcs know: for the table and the
 * picture. */

#ifndef BENCH_ROUTING_H
#define BENCH_ROUTING_H

#include "bench.h"

enum routing_way {
    ROUTING_DOUBLING,   /* level i is level i - 1 of level i - 1 */
    ROUTING_CACHE,      /* and 128 arcs that the peer has heard of */
    ROUTING_MODEL,      /* fingers where the model says that 2^-j of all keys
                            are passed, instead of doubling */
    ROUTING_MODEL_1,    /* so, the model one epoch old */
    ROUTING_MODEL_10,   /* so, ten epochs old */
    ROUTING_BOTH,       /* doubling and the model's fingers */
    ROUTING_BOTH_10,    /* so, the model ten epochs old */
    ROUTING_KEYS,       /* fingers at 2^j of the key as a number: Chord
                            without hashing */
    ROUTING_SUCCESSORS, /* doubling that began 3 s ago */
    ROUTING_WARM,       /* so, with the model's fingers */
    ROUTING_WAYS
};

extern const char *const routing_names[ROUTING_WAYS];

struct routing_result {
    double ks; /* of the model, if one is used */
    double mean;
    size_t p50, p99, max;
};

struct routing_setting {
    enum key_shape shape; /* of numbers */
    size_t keys, arcs, lookups;
    size_t list_len; /* successors */
    uint64_t seed;
};

void routing_measure(const struct routing_setting *setting,
                     struct routing_result out[ROUTING_WAYS]);

#endif
