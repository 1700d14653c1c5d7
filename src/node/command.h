/* SPDX-License-Identifier: Apache-2.0 */

/* node/command.h - what stands in an arc's log: one change of its records or
 * of its bounds.
 *
 * A command says what was asked; its outcome is decided where it is applied,
 * alike on every replica. Layout: MessagePack values one after the other. */

#ifndef NODE_COMMAND_H
#define NODE_COMMAND_H

#include "base/buf.h"
#include "base/id.h"
#include "base/must_use.h"
#include "base/span.h"
#include "chord/arc.h"

enum command_kind {
    COMMAND_PUT = 1,
    COMMAND_DEL = 2,
    COMMAND_CAS = 3,
    COMMAND_BATCH = 4, /* list: key, value, key, value... */
    COMMAND_SPLIT = 5,
    COMMAND_MERGE = 6,     /* value: a note of node/op_merge.h */
    COMMAND_CAS_BATCH = 7, /* list: wire/cas_item.h; all or nothing */
    COMMAND_EXPIRE = 8     /* of a volatile arc, which has no log */
};

struct command {
    uint8_t kind;
    uint64_t now_ms; /* the arc's time, by its leader */
    struct id session;
    uint64_t number;
    uint64_t lowest_open;
    struct span key; /* SPLIT: where the right child begins */
    struct span value;
    uint64_t version; /* CAS: expected */
    struct span list;
    uint32_t list_count;
    uint64_t rank; /* BATCH: of the first of list among the whole batch, which
                    * is in key order */
    arc_id right;  /* SPLIT */
    replica_id right_replicas[ARC_MEMBERS_MAX]; /* SPLIT: in member order */
    size_t right_count;
    /* Of volatile arcs, and so never packed. */
    uint64_t ttl_ms;
    uint32_t cost_us;
    uint16_t flags; /* of the request */
};

void command_pack(const struct command *command, struct buf *out);

/* Spans point into bytes. DLHT_ECORRUPT */
MUST_USE int command_unpack(struct span bytes, struct command *out);

#endif
