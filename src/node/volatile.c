/* SPDX-License-Identifier: Apache-2.0 */

/* Taking an arc of a volatile keyspace. */

#include "node/volatile.h"

#include "dlht/err.h"
#include "node/gossip.h"
#include "node/handover.h"
#include "node/recover.h"
#include "node/replica.h"
#include "store/cache.h"

enum {
    LIFE_SHIFT = 40, /* of the incarnation in a replica id */
    TERM_SHIFT = 24, /* of the term in a generation */
    TERM_BITS = 30   /* of it; above are those that recoveries add */
};
#define LIFE_MASK ((UINT64_C(1) << (64 - LIFE_SHIFT)) - 1)

bool volatile_is(const struct node *node, keyspace_id keyspace)
{
    const struct keyspace *ks = keyspaces_find(node, keyspace);
    return ks && ks->record.is_volatile;
}

replica_id volatile_replica_id(struct node *node, uint64_t incarnation)
{
    uint64_t low = rng_next(&node->rng) & ((UINT64_C(1) << LIFE_SHIFT) - 1);
    return (incarnation & LIFE_MASK) << LIFE_SHIFT | low | 1;
}

bool volatile_is_of(replica_id replica, uint64_t incarnation)
{
    return replica >> LIFE_SHIFT == (incarnation & LIFE_MASK);
}

uint64_t volatile_life(const struct node *node)
{
    return swim_self(node->swim)->incarnation;
}

uint64_t volatile_generation(uint64_t term, uint64_t count)
{
    uint64_t low = term & ((UINT64_C(1) << TERM_BITS) - 1);
    uint64_t steps = term / RECOVER_STEP;
    return steps << (TERM_SHIFT + TERM_BITS) | low << TERM_SHIFT |
           (count & ((UINT64_C(1) << TERM_SHIFT) - 1));
}

/* 32 bits for the writes of a generation, 8 of its count, 16 of its term. */
uint64_t volatile_version_base(uint64_t generation)
{
    uint64_t term = generation >> TERM_SHIFT & 0xffff;
    return term << 40 | (generation & 0xff) << 32;
}

/* Where counts of generations have begun anew, the next term's are taken: the
 * generation before may yet give versions above its last, and so may others
 * that were to follow it. */
uint64_t volatile_version_after(uint64_t generation, uint64_t last)
{
    uint64_t base = volatile_version_base(generation);
    if (base <= last)
        base = ((last >> 40) + 1) << 40 | (generation & 0xff) << 32;
    return base + UINT32_MAX <= CACHE_VERSION_MAX ? base : 0;
}

int volatile_take(struct node *node, const struct recover_message *m)
{
    const struct keyspace *ks =
        m->arc_known ? keyspaces_find(node, m->arc_known->keyspace) : NULL;
    if (!ks || !ks->record.is_volatile || ks->record.dropped ||
        m->arc_known->id != m->arc || m->fresh == 0 ||
        !volatile_is_of(m->fresh, volatile_life(node)))
        return DLHT_ESTALE;
    struct replica *r = node_replica(node, m->arc);
    if (r && r->keyspace != ks->record.id)
        return DLHT_ESTALE; /* never what another keyspace has */
    if (r && !r->empty && r->arc->generation == m->generation &&
        r->self == m->fresh)
        return DLHT_OK;
    const struct arc *known = map_by_id(ks->map, m->arc);
    if ((r && !r->empty && r->arc->generation >= m->generation) ||
        (known && known->generation > m->generation))
        return DLHT_ESTALE;
    handover_forget(node, m->arc, m->generation);
    struct arc arc = *m->arc_known;
    arc.generation = m->generation;
    arc.member_count = 1;
    arc.members[0] = (struct arc_member){ .replica = m->fresh,
                                          .peer = node->self,
                                          .voter = true };
    arc.term = 0;
    arc.owner = (struct id){ { 0 } };
    if (r)
        replica_remove(node, r);
    struct replica_parts parts = replica_founding(node, &arc, m->fresh);
    int rc = replica_new_with(node, &parts, &r);
    if (rc != DLHT_OK)
        return rc;
    raft_campaign(r->raft, node->now_ns);
    replica_notice(node, r);
    return DLHT_OK;
}
