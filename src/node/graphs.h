/* SPDX-License-Identifier: Apache-2.0 */

/* node/graphs.h - the graph of a collection in a file, so that a start need
 * not build it anew.
 *
 * With a journal each collection with a graph has a file. It is read when the
 * collection is made, before any record is; then each record that is in it
 * finds its place in the graph, the others are added as ever, and what no
 * record has asked for, some time after all copies know their leaders, goes.
 * It is written by a job when enough has changed and nothing waits for the
 * graph, and when the node stops. No file, or one that is refused: the graph is
 * built from the records. The file of a keyspace that was dropped is removed.
 *
 * Here is decided; the reading and writing is the world's (EFFECT_FILE_JOB). */

#ifndef NODE_GRAPHS_H
#define NODE_GRAPHS_H

#include "node/collections_state.h"

/* The collection was made just now. */
void graphs_begin(struct node *node, struct node_collection *nc);
/* Its records are not to be read yet. */
bool graphs_hold(const struct node_collection *nc);

/* The next job, if one is due: look at nc->busy afterwards. */
void graphs_flush(struct node *node, struct node_collection *nc);
/* Files of keyspaces that were dropped; ends of settling. */
void graphs_tick(struct node *node);

/* The node stops: whether a file is still to be written. */
bool graphs_stopping(struct node *node);

void graphs_deinit(struct node *node);

#endif
