/* SPDX-License-Identifier: Apache-2.0 */

/* node/keyspaces.h - the keyspaces this peer has heard of.
 *
 * The system arc holds a record per keyspace under "keyspace/NAME"; its
 * version orders news of it. A keyspace's id is the version of the entry that
 * created it, so ids are never reused; of one that was dropped just id and
 * version are kept, so that old news of it finds nothing to begin with. Whoever is named as a member of a first
 * arc founds the group from the record, exactly once. */

#ifndef NODE_KEYSPACES_H
#define NODE_KEYSPACES_H

#include "node/command.h"
#include "node/node_state.h"

/* The system keyspace, before anything else. DLHT_ENOMEM */
MUST_USE int keyspaces_init(struct node *node);
void keyspaces_deinit(struct node *node);

/* News of a keyspace; older or equal versions change nothing. True: news. */
bool keyspaces_notice(struct node *node, const struct keyspace_record *record);

/* Whether the keyspace was dropped. */
bool keyspaces_is_gone(const struct node *node, keyspace_id id);
/* What is left of it, or NULL. */
const struct gone_keyspace *keyspaces_find_gone(const struct node *node,
                                                keyspace_id id);

/* A record that says so, to be told to others. */
void keyspaces_gone_record(const struct gone_keyspace *gone,
                           struct keyspace_record *out);

/* A command was applied to the system arc. */
void keyspaces_applied(struct node *node, const struct command *command,
                       const struct session_result *result);

/* Reads all records of this node's replica of the system arc, if it has one:
 * after a restart or a snapshot. */
void keyspaces_scan(struct node *node);

/* What could not be done for want of memory (a keyspace taken in, an arc of it
 * founded or given up) is done now. */
void keyspaces_tick(struct node *node);

/* The key of a keyspace's record in the system arc, in the step's arena. */
struct span keyspaces_key(struct node *node, struct span name);

/* Packs a new keyspace with its first arcs and members, chosen among the
 * peers that are up. */
struct keyspace_plan {
    struct span name;
    uint8_t placement;
    uint8_t replicas;
    bool is_volatile;
    uint64_t floor_keys, ceiling_bytes;
    struct span options; /* as keyspace_record has them */
};
void keyspaces_pack_new(struct node *node, const struct keyspace_plan *plan,
                        struct buf *out);

/* The owner of the system arc makes `default` if there is none. */
void keyspaces_make_default(struct node *node);

uint64_t keyspaces_digest(const struct node *node);

#endif
