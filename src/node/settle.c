/* SPDX-License-Identifier: Apache-2.0 */

/* A node in the middle of a ring. */

#include "node/settle.h"

#include "dlht/err.h"
#include "node/effects.h"
#include "node/join.h"
#include "node/keyspaces.h"
#include "node/pending.h"
#include "node/replica.h"
#include "wire/codec.h"

static int notice(struct keyspace *ks, const struct arc *arc)
{
    bool news;
    return map_notice(ks->map, arc, &news);
}

static int found(struct node *node, struct keyspace *ks, const struct arc *arc)
{
    int rc = notice(ks, arc);
    return rc == DLHT_OK ? replica_found(node, arc) : rc;
}

/* The arcs that this node keeps; the others, if it keeps the whole map; and
 * what follows one that it leads. */
static int take_arcs(struct node *node, const struct settle *ring)
{
    struct keyspace *ks = keyspaces_find(node, ring->keyspace->id);
    int rc = ks ? DLHT_OK : DLHT_ENOMEM;
    bool follows = false;
    for (size_t i = 0; i <= ring->arc_count && rc == DLHT_OK; i++) {
        const struct arc *arc = &ring->arcs[i % ring->arc_count];
        if (!node->config.map_fingers || follows)
            rc = notice(ks, arc);
        if (rc == DLHT_OK && arc_member_of(arc, &node->self))
            rc = found(node, ks, arc);
        follows = node_is_self(node, &arc->owner);
    }
    return rc;
}

/* What the record of the keyspace says must stand in the system arc, too. */
static int write_record(struct node *node, const struct settle *ring)
{
    struct buf packed = { 0 };
    codec_pack_keyspace(&packed, ring->keyspace);
    struct request q = { .op = OP_CAS, .keyspace = SYSTEM_KEYSPACE };
    q.key = keyspaces_key(node, ring->keyspace->name);
    q.value = buf_span(&packed);
    struct pending_target nobody = { .origin = { .kind = ORIGIN_NONE },
                                     .later = true };
    int rc =
        packed.failed
            ? DLHT_ENOMEM
            : pending_begin(node, &q, node->now_ns + 5 * NS_PER_S, &nobody);
    buf_deinit(&packed);
    return rc;
}

static int settle(struct node *node, const struct settle *ring)
{
    int rc = join_settle(node, &ring->cluster, &ring->self);
    for (size_t i = 0; i < ring->peer_count && rc == DLHT_OK; i++)
        if (!node_is_self(node, &ring->peers[i].id))
            rc = swim_settle(node->swim, node->now_ns, &ring->peers[i]);
    if (rc != DLHT_OK)
        return rc;
    keyspaces_notice(node, ring->keyspace);
    rc = found(node, keyspaces_find(node, SYSTEM_KEYSPACE), ring->system);
    if (rc == DLHT_OK)
        rc = take_arcs(node, ring);
    if (rc == DLHT_OK && node_is_self(node, &ring->system->owner))
        rc = write_record(node, ring);
    return rc;
}

int node_settle(struct node *node, uint64_t now_ns, const struct settle *ring,
                struct effects *effects)
{
    effects_reset(effects);
    node->fx = effects;
    node->now_ns = now_ns;
    int rc = settle(node, ring);
    node->fx = NULL;
    return rc;
}
