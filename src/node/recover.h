/* SPDX-License-Identifier: Apache-2.0 */

/* node/recover.h - one copy of an arc goes on without its group.
 *
 * When the majority of a group is lost for good nobody may lead any more, and
 * nobody may find out by himself that it is lost: an operator says so
 * (op_recover.c). The copy then takes its whole log as committed and becomes
 * the only voter of a new group: under a new replica id, so that no vote or
 * entry of the old group can reach it; in a generation and a term that no old
 * member can come to by itself; with versions that no lost write can have had.
 *
 * All of this is one record in the journal, JOURNAL_RECOVER, whose index is
 * that of the first entry after the old log: a restart finds the old group or
 * the new one. Old members that come back hear of the newer generation and
 * drop their copies (replica_left.c, is_left_behind). */

#ifndef NODE_RECOVER_H
#define NODE_RECOVER_H

#include "node/node_state.h"
#include "wire/mp.h"

#define RECOVER_STEP (UINT64_C(1) << 32) /* of generation, term, versions */

struct recover_order {
    replica_id old; /* 0: there is no copy; begin with nothing */
    replica_id fresh;
    uint64_t generation;
    uint64_t term;
    const struct arc *known; /* the newest descriptor that anybody knew */
    struct id self; /* of the peer whose copy it is; zero: this node's */
};

/* Does it, or nothing. The replica leads once its vote is durable.
 *   DLHT_ESTALE  it is not this copy that is here, or it leads
 *   DLHT_EFULL   no room for what must be remembered
 *   DLHT_EINVAL  term or generation do not grow */
MUST_USE int recover_take_over(struct node *node, arc_id arc,
                               const struct recover_order *order);

/* restore.c: the record is met again.
 *   DLHT_ECORRUPT, DLHT_ENOMEM */
MUST_USE int recover_restore(struct node *node,
                             const struct journal_record *record,
                             struct mp_reader *reader);

#endif
