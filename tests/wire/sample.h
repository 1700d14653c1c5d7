/* SPDX-License-Identifier: Apache-2.0 */

/* wire/sample.h - made-up messages from a seed, and whether two are equal.
 *
 * For tests, fuzzing and benches of the wire. */

#ifndef TESTS_WIRE_SAMPLE_H
#define TESTS_WIRE_SAMPLE_H

#include <stdbool.h>

#include "base/rng.h"
#include "wire/message.h"

enum {
    SAMPLE_TYPES = MESSAGE_RECOVER, /* from 1 on */
    SAMPLE_POOL_BYTES = 1 << 20
};

/* What samples point into; reset by hand. */
struct sample_pool {
    _Alignas(16) uint8_t bytes[SAMPLE_POOL_BYTES];
    size_t used;
};

/* A message of that type that the codec carries without loss. */
void sample_message(struct rng *rng, struct sample_pool *pool, uint8_t type,
                    struct message *out);

/* Field by field; NULL if equal, else the name of what differs. */
const char *sample_difference(const struct message *a, const struct message *b);

void sample_arc(struct rng *rng, struct sample_pool *pool, struct arc *out);
void sample_members(struct rng *rng, struct raft_members *out);
void sample_keyspace(struct rng *rng, struct sample_pool *pool,
                     struct keyspace_record *out);
bool sample_arcs_equal(const struct arc *a, const struct arc *b);
bool sample_members_equal(const struct raft_members *a,
                          const struct raft_members *b);
bool sample_keyspaces_equal(const struct keyspace_record *a,
                            const struct keyspace_record *b);

#endif
