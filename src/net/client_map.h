/* SPDX-License-Identifier: Apache-2.0 */

/* net/client_map.h - which node leads the arc of a key, as far as a client
 * knows.
 *
 * It is learned arc by arc, from the answers to OP_LOOKUP for keys that turned
 * out to be elsewhere, and forgotten as soon as an answer shows that it is not
 * so any more. It only advises: whoever is asked carries a request to where it
 * belongs. Owners are numbers of the caller's, below CLIENT_OWNERS_MAX. */

#ifndef NET_CLIENT_MAP_H
#define NET_CLIENT_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "wire/message.h"

enum {
    CLIENT_OWNERS_MAX = 64,
    CLIENT_MAP_SPACES_MAX = 16, /* keyspaces */
    CLIENT_MAP_ARCS_MAX = 4096, /* of all of them */
    CLIENT_MAP_KEY_MAX = 256    /* longer keys and bounds are not looked at */
};

struct client_map_arc;

struct client_map_space {
    char name[KEYSPACE_NAME_MAX + 1]; /* as in requests */
    bool hashed;
    struct client_map_arc *arcs; /* by lo; they do not overlap */
    size_t count;
    size_t cap;
};

/* An open struct; all zeros is an empty one. */
struct client_map {
    struct client_map_space spaces[CLIENT_MAP_SPACES_MAX];
    size_t space_count;
    size_t arc_count;
    size_t arcs_of[CLIENT_OWNERS_MAX];
};

void client_map_deinit(struct client_map *map);

/* The owner of the key's arc; -1: not known. */
int client_map_find(const struct client_map *map, struct span keyspace,
                    struct span key);

/* What the answer to OP_LOOKUP says. */
struct client_map_place {
    bool hashed;
    struct span lo, hi; /* of keys as the arc has them: [lo, hi) */
    bool has_hi;
    struct span owner; /* its address; empty: nobody leads it */
};

/* Spans point into the document. False: it is no such document. */
bool client_map_read(struct span document, struct client_map_place *out);

/* Notes who owns it, in place of what overlaps.
 *   DLHT_EFULL  the map has its most; DLHT_ETOOBIG  long bounds; DLHT_ENOMEM */
MUST_USE int client_map_put(struct client_map *map, struct span keyspace,
                            const struct client_map_place *place, int owner);

/* Forgets the arc that has the key; all of a keyspace; all of an owner. */
void client_map_forget(struct client_map *map, struct span keyspace,
                       struct span key);
void client_map_forget_space(struct client_map *map, struct span keyspace);
void client_map_forget_owner(struct client_map *map, int owner);

#endif
