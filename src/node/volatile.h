/* SPDX-License-Identifier: Apache-2.0 */

/* node/volatile.h - arcs of volatile keyspaces: kept by one peer, in memory,
 * for as long as its process lives.
 *
 * Such an arc has one voter and no log: what the voter does is done. Nothing
 * of it is journaled or awaited. Its bounds and id stay as they were when the
 * keyspace was created; what changes is who has it, and with that the
 * generation. A replica id says of which life (incarnation) of its peer it is,
 * so a peer that comes back from its disk keeps no arc of the life before.
 *
 * When the voter is gone, or is to give up the arc, the owner of the system
 * arc names another, which begins with nothing (keeper_volatile.c). The new
 * generation is made of the term of that owner, and a count: two owners never
 * make the same one, and a later one's are greater, however little it knows of
 * what the others did. So generations never go back, and who has the greatest
 * has the arc. The one before may not have heard and go on for a while: what
 * is lost, or read of it meanwhile, is what a cache may do. */

#ifndef NODE_VOLATILE_H
#define NODE_VOLATILE_H

#include "base/must_use.h"
#include "node/node_state.h"

/* Whether the keyspace is known here, and volatile. */
bool volatile_is(const struct node *node, keyspace_id keyspace);

/* This peer's own life, as others hear of it: not the count of its starts,
 * which they may have heard more of than its disk remembers. */
uint64_t volatile_life(const struct node *node);

/* A new replica id for that life of a peer. */
replica_id volatile_replica_id(struct node *node, uint64_t incarnation);
/* Whether it is of that life. */
bool volatile_is_of(replica_id replica, uint64_t incarnation);

/* Of an order of that term. */
uint64_t volatile_generation(uint64_t term, uint64_t count);

/* The first version to be given, less one, so that those of one generation are
 * not those of another. */
uint64_t volatile_version_base(uint64_t generation);

/* The same for one who goes on with what another had, whose last version that
 * was: greater than that, too. 0: there is none. */
uint64_t volatile_version_after(uint64_t generation, uint64_t last);

/* The arc is this peer's now, and empty; done again, it changes nothing.
 *   DLHT_ESTALE  the keyspace is not known here, the order is for a life that
 *                is over, or somebody has it in a later generation
 *   DLHT_ENOMEM */
MUST_USE int volatile_take(struct node *node,
                           const struct recover_message *order);

#endif
