/* SPDX-License-Identifier: Apache-2.0 */

/* node/op_info.h - what an arc's owner tells of it, for op_lookup.c and
 * op_admin.c. */

#ifndef NODE_OP_INFO_H
#define NODE_OP_INFO_H

#include "node/op.h"

/* What ARC_INFO tells of one arc. */
struct arc_info {
    struct arc arc; /* spans into the answer */
    uint64_t keys;
    uint64_t bytes;
    uint16_t caught_up;
};

/* False: not understood. */
bool op_info_read(struct span doc, struct arc_info *out);

/* The fields owner and replicas; lo, hi and generation. */
void op_info_write_owner(struct node *node, struct buf *b,
                         const struct arc *arc);
void op_info_write_bounds(struct buf *b, const struct arc *arc);

#endif
