/* SPDX-License-Identifier: Apache-2.0 */

/* When graphs are read from files and written to them. */

#include "node/graphs.h"

#include <stdlib.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "node/jobs.h"
#include "node/keyspaces.h"
#include "node/replica.h"
#include "store/graph_file.h"

enum {
    CHANGES_MIN = 256,
    CHANGES_SHARE = 8, /* of the vectors in the graph: one in so many */
    DOUBLINGS_MAX = 6  /* of the gap, one after each failure */
};

static const uint64_t GAP_NS = UINT64_C(30000000000);
/* After so many gaps the least number of changes is enough. */
static const uint64_t GAPS_MAX = 20;
static const uint64_t LOOK_NS = UINT64_C(200000000);
/* So much of a gap after the last record that was in the file it is settled.
 * Copies learn after a start what is committed from their leaders, so it may
 * take an election. */
static const uint64_t SETTLE_SHARE = 3;

/* One job. */
struct graph_job {
    struct node_collection *of;
    keyspace_id keyspace;
    int rc;
    struct hnsw_config config; /* of reading */
    struct collection_graph *graph;
    struct hnsw_fault fault;
    struct collection_work *work; /* of writing */
};

static uint64_t gap_ns(const struct node *node)
{
    return node->config.graph_gap_ns ? node->config.graph_gap_ns : GAP_NS;
}

static struct span name_of(const struct node *node, keyspace_id id)
{
    const struct keyspace *ks = keyspaces_find(node, id);
    return ks ? ks->record.name : span_str("(dropped)");
}

/* The files that there are. */

static bool has_file(const struct node *node, uint64_t number)
{
    for (size_t i = 0; i < node->graph_file_count; i++)
        if (node->graph_files[i] == number)
            return true;
    return false;
}

static int note_file(struct node *node, uint64_t number)
{
    if (has_file(node, number))
        return DLHT_OK;
    uint64_t *grown = mem_resize(node->graph_files, node->graph_file_count + 1,
                                 sizeof *grown);
    if (!grown)
        return DLHT_ENOMEM;
    node->graph_files = grown;
    node->graph_files[node->graph_file_count++] = number;
    return DLHT_OK;
}

int node_restore_graph(struct node *node, uint64_t number)
{
    return note_file(node, number);
}

void graphs_deinit(struct node *node)
{
    free(node->graph_files);
    node->graph_files = NULL;
    node->graph_file_count = 0;
}

/* Reading */

void graphs_begin(struct node *node, struct node_collection *nc)
{
    if (!collection_saves(nc->c))
        return;
    nc->graph.phase =
        has_file(node, nc->keyspace) ? GRAPH_WANTED : GRAPH_SETTLED;
    nc->graph.ended_ns = node->now_ns;
    if (nc->graph.phase == GRAPH_WANTED)
        node_wake_at(node, node->now_ns);
}

bool graphs_hold(const struct node_collection *nc)
{
    return nc->graph.phase == GRAPH_WANTED || nc->graph.phase == GRAPH_READING;
}

static void run_read(void *data, struct graph_file *file)
{
    struct graph_job *job = data;
    struct span bytes;
    job->rc = graph_file_read(file, &bytes);
    if (job->rc == DLHT_OK)
        job->rc = collection_graph_load(bytes, job->keyspace, &job->config,
                                        &job->graph, &job->fault);
}

static void free_job(struct graph_job *job)
{
    collection_graph_free(job->graph);
    free(job);
}

static void drop_read(void *data)
{
    struct graph_job *job = data;
    job->of->busy = false;
    free_job(job);
}

static void read_done(struct node *node, void *data)
{
    struct graph_job *job = data;
    struct node_collection *nc = job->of;
    struct graph_state *g = &nc->graph;
    struct span name = name_of(node, nc->keyspace);
    nc->busy = false;
    g->phase = GRAPH_SETTLED;
    if (job->rc == DLHT_OK && collection_adopt(nc->c, job->graph)) {
        struct collection_info info;
        job->graph = NULL;
        collection_info(nc->c, &info);
        g->phase = GRAPH_SETTLING;
        g->claimed_ns = node->now_ns;
        node_log(node, LOG_INFO,
                 "graph of '%.*s': taken over from its file, %llu vectors",
                 (int)name.len, (const char *)name.data,
                 (unsigned long long)info.kept);
    } else if (job->rc == DLHT_OK) {
        node_log(node, LOG_INFO, "graph of '%.*s': built anew, as asked",
                 (int)name.len, (const char *)name.data);
    } else {
        node_log(node, LOG_WARNING,
                 "graph of '%.*s': its file is refused (%s, byte %llu): built "
                 "anew",
                 (int)name.len, (const char *)name.data,
                 job->fault.what ? job->fault.what : dlht_strerror(job->rc),
                 (unsigned long long)job->fault.at);
    }
    free_job(job);
    node_wake_at(node, node->now_ns);
}

static struct graph_job *new_job(struct node_collection *nc)
{
    struct graph_job *job = mem_zero(1, sizeof *job);
    if (job) {
        job->of = nc;
        job->keyspace = nc->keyspace;
    }
    return job;
}

static void begin_read(struct node *node, struct node_collection *nc)
{
    struct graph_job *job = new_job(nc);
    if (!job)
        return;
    job->config = *collection_graph(nc->c);
    if (jobs_begin_file(node, nc->keyspace, run_read, read_done, drop_read,
                        job) != DLHT_OK) {
        free(job); /* later */
        return;
    }
    nc->busy = true;
    nc->graph.phase = GRAPH_READING;
}

/* Settling */

/* All copies here know what is committed, as far as can be told. */
static bool is_whole(const struct node *node, const struct node_collection *nc)
{
    for (size_t i = 0; i < node->replica_count; i++) {
        const struct replica *r = node->replicas[i];
        if (r->keyspace == nc->keyspace &&
            (r->empty || !r->vectors || r->vectors->reading ||
             raft_leader(r->raft) == 0))
            return false;
    }
    return true;
}

static void settle(struct node *node, struct node_collection *nc)
{
    struct graph_state *g = &nc->graph;
    struct collection_info info;
    collection_info(nc->c, &info);
    if (info.claimed != g->claimed || (info.kept && !is_whole(node, nc))) {
        g->claimed = info.claimed;
        g->claimed_ns = node->now_ns;
    }
    if (info.kept && node->now_ns - g->claimed_ns < gap_ns(node) / SETTLE_SHARE)
        return;
    struct span name = name_of(node, nc->keyspace);
    uint64_t brought_up = info.changes + info.waiting + info.kept;
    node_log(node, LOG_INFO,
             "graph of '%.*s': %llu of the %llu vectors in its file were met, "
             "%llu changes brought it up",
             (int)name.len, (const char *)name.data,
             (unsigned long long)info.claimed, (unsigned long long)info.adopted,
             (unsigned long long)brought_up);
    collection_drop_kept(nc->c);
    g->phase = GRAPH_SETTLED;
    node_wake_at(node, node->now_ns);
}

/* Writing */

static int write_file(void *self, const void *bytes, size_t len)
{
    return graph_file_write(self, bytes, len);
}

static void run_save(void *data, struct graph_file *file)
{
    struct graph_job *job = data;
    job->rc = graph_file_reserve(file, collection_save_bytes(job->work));
    if (job->rc == DLHT_OK)
        job->rc = collection_save(job->work, job->keyspace, write_file, file);
    if (job->rc == DLHT_OK)
        job->rc = graph_file_commit(file);
}

static void drop_save(void *data)
{
    struct graph_job *job = data;
    job->of->busy = false;
    collection_abandon(job->of->c, job->work);
    free(job);
}

static void save_done(struct node *node, void *data)
{
    struct graph_job *job = data;
    struct node_collection *nc = job->of;
    struct graph_state *g = &nc->graph;
    struct span name = name_of(node, nc->keyspace);
    struct collection_info info;
    nc->busy = false;
    collection_done(nc->c, job->work);
    collection_info(nc->c, &info);
    g->ended_ns = node->now_ns;
    g->tried = true;
    if (job->rc == DLHT_OK && note_file(node, nc->keyspace) == DLHT_OK) {
        g->saved_changes = g->taken_changes;
        g->failures = 0;
        node_log(node, LOG_DEBUG, "graph of '%.*s': written, %llu vectors",
                 (int)name.len, (const char *)name.data,
                 (unsigned long long)info.indexed);
    } else {
        if (g->failures++ == 0)
            node_log(node, LOG_WARNING,
                     "graph of '%.*s': its file cannot be written (%s); a "
                     "start would build it anew",
                     (int)name.len, (const char *)name.data,
                     dlht_strerror(job->rc));
    }
    free(job);
    node_wake_at(node, node->now_ns);
}

static void begin_save(struct node *node, struct node_collection *nc,
                       const struct collection_info *info)
{
    struct graph_job *job = new_job(nc);
    if (!job)
        return;
    job->work = collection_take_save(nc->c);
    if (job->work && jobs_begin_file(node, nc->keyspace, run_save, save_done,
                                     drop_save, job) == DLHT_OK) {
        nc->busy = true;
        nc->graph.taken_changes = info->changes;
        return;
    }
    if (job->work) /* later */
        collection_abandon(nc->c, job->work);
    free(job);
}

/* What failed is not tried as often again: it costs the disk, and others. */
static uint64_t wait_ns(const struct node *node, const struct graph_state *g)
{
    uint32_t doublings =
        g->failures < DOUBLINGS_MAX ? g->failures : DOUBLINGS_MAX;
    return gap_ns(node) << doublings;
}

static bool is_due(const struct node *node, const struct graph_state *g,
                   const struct collection_info *info)
{
    uint64_t changed = info->changes - g->saved_changes;
    uint64_t min =
        node->config.graph_changes ? node->config.graph_changes : CHANGES_MIN;
    uint64_t since = node->now_ns - g->ended_ns;
    if (changed == 0 || info->rebuilding)
        return false;
    if (node->phase == PHASE_STOPPING)
        return true;
    if (changed < min || (g->tried && since < wait_ns(node, g)))
        return false;
    if (since / GAPS_MAX >= gap_ns(node))
        return true;
    return info->waiting == 0 && changed >= info->indexed / CHANGES_SHARE;
}

void graphs_flush(struct node *node, struct node_collection *nc)
{
    struct graph_state *g = &nc->graph;
    bool stops = node->phase == PHASE_STOPPING;
    if (nc->busy)
        return;
    if (g->phase == GRAPH_WANTED)
        begin_read(node, nc);
    if (g->phase != GRAPH_SETTLED || node->disk_full ||
        (stops ? g->stop_tried : node->now_ns < g->look_ns))
        return;
    struct collection_info info;
    collection_info(nc->c, &info);
    g->look_ns = node->now_ns + LOOK_NS;
    g->stop_tried = stops;
    if (!keyspaces_find(node, nc->keyspace))
        return;
    if (is_due(node, g, &info))
        begin_save(node, nc, &info);
}

bool graphs_stopping(struct node *node)
{
    for (size_t i = 0; i < node->collection_count; i++) {
        const struct node_collection *nc = node->collections[i];
        if (nc->graph.phase == GRAPH_SETTLED && !node->disk_full &&
            (nc->busy || !nc->graph.stop_tried))
            return true;
    }
    return false;
}

/* Files of keyspaces that are no more */

struct removal {
    uint64_t number;
};

static void run_remove(void *data, struct graph_file *file)
{
    (void)data;
    (void)!graph_file_remove(file); /* the next start finds it again */
}

static void remove_done(struct node *node, void *data)
{
    (void)node;
    free(data);
}

static void begin_remove(struct node *node, size_t at)
{
    struct removal *job = mem_zero(1, sizeof *job);
    if (!job)
        return;
    job->number = node->graph_files[at];
    if (jobs_begin_file(node, job->number, run_remove, remove_done, free,
                        job) != DLHT_OK) {
        free(job);
        return;
    }
    node->graph_files[at] = node->graph_files[--node->graph_file_count];
}

void graphs_tick(struct node *node)
{
    for (size_t i = 0; i < node->collection_count; i++)
        if (node->collections[i]->graph.phase == GRAPH_SETTLING)
            settle(node, node->collections[i]);
    for (size_t i = node->graph_file_count; i-- > 0;) {
        keyspace_id id = (keyspace_id)node->graph_files[i];
        if (keyspaces_is_gone(node, id) && !collections_find(node, id))
            begin_remove(node, i);
    }
}
