/* SPDX-License-Identifier: Apache-2.0 */

/* node/forgotten.h - what a damaged journal may have made this peer forget.
 *
 * Whoever the record of a keyspace names as a member of a first arc founds the
 * group from it, once. A journal that was damaged may lack that this was done,
 * with all that was promised since: founded again under its id, the copy would
 * vote twice. So a keyspace that may have been there in an earlier life is not
 * founded from its record: its members here are taken for lost, and the others
 * make another copy.
 *
 * Which ones those are tells the system arc: ids of keyspaces are versions of
 * it, which only grow. After damage this peer writes a record there; what it
 * can have heard of before has a lesser id than the version of that write.
 * Until that is done nothing is founded here. A record comes at any time, so
 * the limit is kept as long as the journal, which is told of the damage as it
 * is mended. */

#ifndef NODE_FORGOTTEN_H
#define NODE_FORGOTTEN_H

#include "node/node_state.h"
#include "wire/mp.h"

/* The journal was damaged. */
void forgotten_begin(struct node *node);

/* Nothing is founded yet: what was before is not known. All that waited for it
 * is done by keyspaces_tick when it is. */
bool forgotten_waits(const struct node *node);

/* This group may have been founded here, and be lost. */
bool forgotten_may(const struct node *node, const struct arc *arc);

/* Asks the system arc, until it has answered. */
void forgotten_tick(struct node *node);

/* JOURNAL_FORGOTTEN. False: the journal was never damaged. */
bool forgotten_pack(const struct node *node, struct buf *out);
/* DLHT_ECORRUPT */
MUST_USE int forgotten_restore(struct node *node, struct mp_reader *reader);

#endif
