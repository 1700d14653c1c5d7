/* SPDX-License-Identifier: Apache-2.0 */

/* node/disk_full.h - what a node does while its disk has no room.
 *
 * The journal keeps what it could not write, so nothing that was promised is
 * at stake: the node takes nothing more that must be written, goes on serving
 * reads, hands its leaderships to members that may have room, and asks the
 * disk each second. With the first sync that succeeds all is as before.
 *
 * A write that was in the log when the disk filled is answered when it is
 * committed, or as unknown at its deadline. */

#ifndef NODE_DISK_FULL_H
#define NODE_DISK_FULL_H

#include "node/node_state.h"

#define DISK_FULL_TEXT                                                         \
    "disk full: the owner's data directory has no room; reads are served, "    \
    "writes again once there is room"

/* A sync has ended, with DLHT_OK or DLHT_EFULL. */
void disk_full_synced(struct node *node, int status);

void disk_full_tick(struct node *node);

/* What a proposal to the arc is told. DLHT_OK: the disk has room; DLHT_EBUSY:
 * another member is about to take over; DLHT_EFULL. */
int disk_full_refusal(const struct node *node, const struct replica *r);

/* Whether a raft message is to be dropped, as if lost: its answer could not
 * become durable, and memory is not to fill instead of the disk. */
bool disk_full_drops(const struct node *node, const struct raft_message *m);

#endif
