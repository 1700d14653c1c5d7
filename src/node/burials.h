/* SPDX-License-Identifier: Apache-2.0 */

/* node/burials.h - the ids of replicas that lived here and must not again.
 *
 * A member that is removed has promised things (votes, entries) that a new copy
 * under its id would not know of. A leader that was cut off or suspended and
 * still counts it as a member could win a majority with its help, whenever that
 * message comes: so no passing of time makes an id safe to forget, and
 * descriptors that do not name it prove nothing to a leader that has not seen
 * them. Hence ids are kept as long as the data directory.
 *
 * The exception is an arc of a dropped keyspace: no request reaches such an arc
 * and no record founds it again, whatever its members believe. Its burials are
 * let go by the journal (replica_remove) and so end with the process.
 *
 * They are bounded: an id takes 24 bytes, and BURIALS_MAX of them are more
 * removals than a peer sees in years of a move a minute. A peer that gets there
 * keeps further copies instead of removing them, and says so; leave and rejoin
 * with an empty data directory begins anew. */

#ifndef NODE_BURIALS_H
#define NODE_BURIALS_H

#include "node/node_state.h"

enum {
    BURIALS_MAX = 1 << 20
};

/* Instead of a replica id: restoring met damage in the arc's checkpoints, so
 * that not even the ids are known. The arc is not made here but by learning it
 * from its leader. Not journaled: as long as that has not come about the damaged
 * files stay, and say so at each start. */
enum {
    BURIALS_DAMAGED = 0
};

bool burials_has(const struct node *node, arc_id arc, replica_id replica);

/* Adds one; fresh: the journal must yet be told. One that is there stays.
 *   DLHT_ENOMEM, DLHT_EFULL */
MUST_USE int burials_add(struct node *node, arc_id arc, replica_id replica,
                         bool fresh);

/* Those of an arc: [*from, *to) of the table; about log2 comparisons. */
void burials_of(const struct node *node, arc_id arc, size_t *from, size_t *to);

/* Those of an arc as JOURNAL_REMOVE has them; nothing if their ids are not
 * known. */
void burials_pack(const struct node *node, arc_id arc, struct buf *out);

#endif
