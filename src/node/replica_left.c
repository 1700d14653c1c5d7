/* SPDX-License-Identifier: Apache-2.0 */

/* Copies that belong to no group any more, and that nobody told so. */

#include "dlht/err.h"
#include "node/command.h"
#include "node/keyspaces.h"
#include "node/op_merge.h"
#include "node/recover.h"
#include "node/replica.h"

#define FORGOTTEN_NS (15 * NS_PER_S)

static bool names(const struct arc *arc, replica_id replica)
{
    for (size_t i = 0; i < arc->member_count; i++)
        if (arc->members[i].replica == replica)
            return true;
    return false;
}

static bool is_member(const struct raft_members *members, replica_id id,
                      bool voter)
{
    for (size_t i = 0; i < members->count; i++)
        if (members->list[i].id == id)
            return !voter || members->list[i].voter;
    return false;
}

/* An empty copy that nobody writes to: who added it lost its office before the
 * change was committed. One that has voted for a right child waits for as long
 * as that may yet be led, and names it. */
static bool is_forgotten(const struct node *node, const struct replica *r)
{
    if (!r->empty || r->incoming || node->now_ns - r->heard_ns <= FORGOTTEN_NS)
        return false;
    if (!r->parent)
        return true;
    const struct keyspace *ks = keyspaces_find(node, r->keyspace);
    const struct arc *known = ks ? map_by_id(ks->map, r->id) : NULL;
    return known ? !names(known, r->self) : !node_replica(node, r->parent);
}

/* The least generation of a descriptor that knows what became of this copy's
 * admission, which stands in its log, or comes next: all that have as much and
 * do not name it are of a group without it. UINT64_MAX: it cannot be told. */
static uint64_t admitted_at(const struct replica *r)
{
    uint64_t generation = r->arc->generation;
    for (uint64_t i = r->applied + 1; i <= raft_last_index(r->raft); i++) {
        const struct raft_entry *entry = raft_entry_at(r->raft, i);
        struct command c;
        if (entry && entry->type == RAFT_ENTRY_MEMBERS) {
            generation++;
            if (is_member(entry->members, r->self, false))
                return generation;
        } else if (!entry || entry->type == RAFT_ENTRY_DATA) {
            if (!entry || command_unpack(entry->data, &c) != DLHT_OK ||
                c.kind == COMMAND_MERGE)
                return UINT64_MAX;
            generation += c.kind == COMMAND_SPLIT;
        }
    }
    return generation + 1;
}

/* Whether the group may have no majority without this copy, though it never saw
 * its admission committed: a checkpoint of before it is all that it started
 * from, or whoever added it went away before the entry that made it a voter came
 * here. Nobody may have led since it last heard of one. A voter by its own log
 * stands for election, and is told if it is none any more. */
static bool may_be_awaited(const struct replica *r, const struct arc *known)
{
    if (known->generation > r->arc->generation &&
        known->generation >= admitted_at(r))
        return false;
    return is_member(raft_members(r->raft), r->self, true) ||
           known->term <= raft_term(r->raft);
}

/* The group went on without this copy, which nobody may have told it: a
 * learner stands for no election and so meets nobody. One that its own
 * descriptor names knows so from a newer one that does not; one whose
 * admission it never saw committed must also have heard nothing for long, and
 * the group have gone on since. */
static bool is_left_behind(const struct node *node, const struct replica *r)
{
    const struct keyspace *ks = keyspaces_find(node, r->keyspace);
    const struct arc *known =
        ks && !r->empty ? map_by_id(ks->map, r->id) : NULL;
    /* An operator gave its group up, and what came of that was merged. */
    const struct arc *heir = op_merge_heir(node, r);
    if (heir && heir->generation - r->arc->generation >= RECOVER_STEP / 2)
        return true;
    /* It was merged into another: its leader says so, if there is one yet. */
    if (!known && ks && !r->empty && !replica_leads(r) &&
        node->now_ns - r->led_by_ns > FORGOTTEN_NS / 3)
        return op_merge_heir(node, r) != NULL;
    if (!known || names(known, r->self) ||
        known->generation < r->arc->generation)
        return false;
    if (known->generation - r->arc->generation >= RECOVER_STEP / 2)
        return true; /* an operator gave its group up */
    if (names(r->arc, r->self))
        return known->generation > r->arc->generation;
    return node->now_ns - r->heard_ns > FORGOTTEN_NS &&
           !may_be_awaited(r, known);
}

bool replica_is_left(const struct node *node, const struct replica *r)
{
    return is_left_behind(node, r) || is_forgotten(node, r);
}
