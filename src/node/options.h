/* SPDX-License-Identifier: Apache-2.0 */

/* node/options.h - what can be set on a keyspace while it is in use: copies
 * and sizes of arcs, the shape of its model, and the triggers of training.
 *
 * The first are fields of its record; the others stand in the record's options
 * as text, "name=value name=value", only what differs from the default. */

#ifndef NODE_OPTIONS_H
#define NODE_OPTIONS_H

#include "base/buf.h"
#include "base/must_use.h"
#include "node/node_state.h"
#include "node/vector_settings.h"
#include "rmi/fit.h"
#include "training/drift.h"

struct keyspace_settings {
    struct drift_config triggers;
    struct fit_config fit;
    struct vector_settings vectors; /* points into the options */
    struct cache_settings cache;
};

/* What options say; what is not understood (of a younger version) is passed
 * over. */
void options_read(struct span options, struct keyspace_settings *out);

/* Sets one option, value "default" as it was born; some can only be set when the
 * keyspace is created. options holds the record's new text. *text says what is
 * wrong.
 *   DLHT_EINVAL, DLHT_ENOMEM */
MUST_USE int options_set(struct keyspace_record *record, struct buf *options,
                         bool creating, struct span name, struct span value,
                         const char **text);

/* Appends a MessagePack array of [option, value, default]. */
void options_list(const struct keyspace_record *record, struct buf *doc);

#endif
