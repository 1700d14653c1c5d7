/* SPDX-License-Identifier: Apache-2.0 */

/* Looking into a node. */

#include "node/inspect.h"

#include <assert.h>

#include "node/models.h"
#include "node/node_state.h"
#include "node/pending.h"
#include "node/trainer_state.h"

size_t inspect_replica_count(const struct node *node)
{
    return node->replica_count;
}

void inspect_replica_at(const struct node *node, size_t index,
                        struct inspect_replica *out)
{
    assert(index < node->replica_count);
    const struct replica *r = node->replicas[index];
    *out = (struct inspect_replica){
        .keyspace = r->keyspace,
        .id = r->id,
        .self = r->self,
        .empty = r->empty,
        .arc = r->arc,
        .ring = r->ring,
        .raft = r->raft,
        .records = r->records,
        .applied = r->applied,
        .counter = r->counter,
    };
}

size_t inspect_keyspace_count(const struct node *node)
{
    return node->keyspace_count;
}

const struct map *inspect_map(const struct node *node, size_t index,
                              struct keyspace_record *record)
{
    assert(index < node->keyspace_count);
    if (record)
        *record = node->keyspaces[index].record;
    return node->keyspaces[index].map;
}

void inspect_model(const struct node *node, size_t index,
                   struct inspect_model *out)
{
    assert(index < node->keyspace_count);
    const struct keyspace *ks = &node->keyspaces[index];
    *out = (struct inspect_model){ .refused = ks->models_refused };
    if (ks->held) {
        out->model = ks->held->model;
        out->epoch = ks->held->info.epoch;
        out->packed = buf_span(&ks->held->packed);
        out->lies = ks->held->info.lies;
    }
    if (ks->training)
        out->phase = (int)ks->training->phase;
}

bool inspect_is_partial(const struct node *node)
{
    return node->config.map_fingers;
}

const struct swim *inspect_swim(const struct node *node)
{
    return node->swim;
}

struct id inspect_self(const struct node *node)
{
    return node->self;
}

struct id inspect_cluster(const struct node *node)
{
    return node->cluster;
}

bool inspect_is_serving(const struct node *node)
{
    return node->phase == PHASE_SERVING;
}

size_t inspect_pending_count(const struct node *node)
{
    return pending_count(node);
}

uint64_t inspect_timeouts(const struct node *node)
{
    return pending_timeouts(node);
}
