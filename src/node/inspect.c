/* SPDX-License-Identifier: Apache-2.0 */

/* Looking into a node. */

#include "node/inspect.h"

#include <assert.h>

#include "node/collections.h"
#include "node/keeper.h"
#include "node/models.h"
#include "node/node_state.h"
#include "node/op_merge.h"
#include "node/pending.h"
#include "node/replica.h"
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
        .half_applied = r->half_applied,
        .counter = r->counter,
        .merge = op_merge_hash(r),
        .staging = r->staging != NULL,
        .frozen = op_merge_refuses(r),
        .closed = op_merge_is_closed(r),
        .absorbed = r->merge.absorbed_count,
        .merge_phase = op_merge_phase(r),
        .cache = r->cache,
        .cache_count = r->cache ? replica_key_count(r) : 0,
        .cache_bytes = r->cache ? replica_data_bytes(r) : 0,
        .cache_count_max = r->cache_count_max,
        .cache_bytes_max = r->cache_bytes_max,
    };
}

uint64_t inspect_sessions(const struct node *node, size_t index)
{
    assert(index < node->replica_count);
    return sessions_hash(&node->replicas[index]->sessions);
}

void inspect_merges(const struct node *node, struct inspect_merges *out)
{
    *out = (struct inspect_merges){ node->merges.done, node->merges.abandoned,
                                    node->merges.pause_ns_max };
}

void inspect_steps(const struct node *node, struct inspect_steps *out)
{
    out->transfers = keeper_sent(node, &out->for_gone);
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
        out->missing = ks->held->info.missing;
    }
    if (ks->training)
        out->phase = (int)ks->training->phase;
}

void inspect_vectors(const struct node *node, struct inspect_vectors *out)
{
    *out = (struct inspect_vectors){ 0 };
    for (size_t i = 0; i < node->collection_count; i++) {
        struct collection_info info;
        collection_info(collections_of(node->collections[i]), &info);
        out->live += info.live;
        out->waiting += info.waiting;
        out->damaged += info.damaged;
        out->adopted += info.adopted;
        out->claimed += info.claimed;
        out->busy = out->busy || info.rebuilding ||
                    collections_is_busy(node->collections[i]);
    }
    for (size_t i = 0; i < node->replica_count; i++)
        if (node->replicas[i]->vectors)
            out->held += replica_key_count(node->replicas[i]);
    for (size_t i = 0; i < node->keyspace_count; i++)
        if (node->keyspaces[i].vectors.dim)
            out->reading +=
                collections_reading(node, node->keyspaces[i].record.id);
}

void inspect_vectors_check(const struct node *node)
{
    for (size_t i = 0; i < node->collection_count; i++)
        if (!collections_is_busy(node->collections[i]))
            collection_check(collections_of(node->collections[i]));
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
