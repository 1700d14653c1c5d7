/* SPDX-License-Identifier: Apache-2.0 */

/* chord/arc.h - the descriptor of an arc: which keys, which generation, who
 * keeps it.
 *
 * An arc owns the keys in [lo, hi), compared as unsigned bytes; an empty lo is
 * before every key, an absent hi (has_hi false) after every key. The
 * generation grows each time bounds or members change and fences old
 * knowledge. The owner is a hint: the leader of term, as somebody heard. */

#ifndef CHORD_ARC_H
#define CHORD_ARC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/must_use.h"
#include "base/span.h"

enum {
    ARC_MEMBERS_MAX = 12
};

struct arc_member {
    replica_id replica;
    struct id peer;
    bool voter;
};

struct arc {
    keyspace_id keyspace;
    arc_id id;
    struct span lo;
    struct span hi; /* if has_hi */
    bool has_hi;
    uint64_t generation;
    struct arc_member members[ARC_MEMBERS_MAX];
    size_t member_count;
    uint64_t term;   /* of owner; 0: none heard of */
    struct id owner; /* peer id; zero: not known */
};

bool arc_has(const struct arc *arc, struct span key);

/* Some key is in both. */
bool arc_overlaps(const struct arc *a, const struct arc *b);

/* What every descriptor promises: an id, lo before hi, members within bounds.
 * For bytes of a stranger, which may not keep it. */
bool arc_is_sane(const struct arc *arc);

/* Newer knowledge of the same arc: by generation, then term. */
bool arc_is_newer(const struct arc *a, const struct arc *b);

/* NULL: that peer keeps no replica of it. */
const struct arc_member *arc_member_of(const struct arc *arc,
                                       const struct id *peer);

/* Who may be asked for it: the owner as far as known, then the members, each
 * once. Returns how many. */
size_t arc_peers(const struct arc *arc, struct id peers[ARC_MEMBERS_MAX + 1]);

/* A copy with bounds of its own, or NULL: no memory. Freed by arc_free. */
struct arc *arc_copy(const struct arc *arc);
void arc_free(struct arc *arc); /* NULL is allowed */

/* Replaces *to (made by arc_copy) by a copy of from; on failure as before. */
MUST_USE int arc_assign(struct arc **to, const struct arc *from);

#endif
