/* SPDX-License-Identifier: Apache-2.0 */

/* base/id.h - the names of things that the cluster agrees on.
 *
 * A peer id is 128 random bits kept in the data dir (new at each start without
 * one); a cluster id likewise, drawn by the founder. All zeros means "none" or
 * "not yet known". */

#ifndef BASE_ID_H
#define BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"

enum {
    ID_BYTES = 16,
    ID_TEXT_BYTES = 33 /* hexadecimal and its end */
};

struct id {
    uint8_t bytes[ID_BYTES];
};

typedef uint64_t arc_id;      /* random, never 0; the system arc is 1 */
typedef uint64_t replica_id;  /* random, never 0; one life of one copy */
typedef uint32_t keyspace_id; /* never reused; 0 is the system keyspace */

struct id id_random(struct rng *rng);
bool id_is_zero(const struct id *id);
bool id_equal(const struct id *a, const struct id *b);
int id_compare(const struct id *a, const struct id *b);
uint64_t id_hash(const struct id *id);

/* 32 hexadecimal digits. */
void id_to_text(const struct id *id, char text[ID_TEXT_BYTES]);

/* False, *id untouched, if text is not exactly 32 hexadecimal digits. */
bool id_from_text(const char *text, struct id *id);

#endif
