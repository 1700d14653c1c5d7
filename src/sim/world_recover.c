/* SPDX-License-Identifier: Apache-2.0 */

/* What a process reads from its disk when it starts. Damage that nobody made
 * fails the world: no crash may look like it. Damage that was made is told to
 * the node as net/data_dir.c tells it. */

#include <string.h>

#include "dlht/err.h"
#include "sim/world_inner.h"

struct recovery {
    struct world *world;
    struct sim_peer *peer;
    struct disk disk;
};

/* arc 0: of the journal. */
static int quarantine(struct recovery *r, arc_id arc, const char *what)
{
    int rc = node_quarantine(r->peer->node, arc);
    world_trace(r->world, "n%u: %s of arc %llx is damaged: %s",
                (unsigned)r->peer->index, what, (unsigned long long)arc,
                dlht_errname(rc));
    return rc;
}

static int restore_block(void *context, arc_id arc, uint64_t number, bool first,
                         struct span bytes)
{
    struct recovery *r = context;
    return node_restore_checkpoint(r->peer->node, arc, number, first, bytes);
}

static int restore_arc(struct recovery *r, const struct checkpoint_found *found)
{
    arc_id arc = found->arc;
    bool older = false;
    int rc = checkpoint_read(r->disk, found, restore_block, r, &older);
    if (rc == DLHT_ECORRUPT && r->peer->hurt_streams)
        return quarantine(r, arc, "the checkpoint");
    if (rc == DLHT_ECORRUPT)
        world_fail(r->world, "checkpoint_whole",
                   "n%u: a crash left arc %llx without a checkpoint",
                   (unsigned)r->peer->index, (unsigned long long)arc);
    if (older && !r->peer->hurt_streams)
        world_fail(r->world, "checkpoint_whole",
                   "n%u: a crash damaged a checkpoint of arc %llx",
                   (unsigned)r->peer->index, (unsigned long long)arc);
    if (rc == DLHT_OK && older)
        node_restore_older(r->peer->node, arc);
    return rc;
}

static int restore_arcs(struct recovery *r)
{
    struct checkpoint_list list;
    int rc = checkpoint_list(r->disk, &list);
    for (size_t i = 0; rc == DLHT_OK && i < list.count; i++)
        rc = restore_arc(r, &list.arcs[i]);
    checkpoint_list_deinit(&list);
    return rc;
}

static int restore_record(void *context, const struct journal_record *record)
{
    struct recovery *r = context;
    int rc = node_restore_record(r->peer->node, record);
    if (rc == DLHT_ECORRUPT && (r->peer->hurt || r->peer->hurt_streams))
        return quarantine(r, record->arc, "the log");
    return rc;
}

static int restore_graph(void *context, uint64_t number)
{
    struct recovery *r = context;
    return node_restore_graph(r->peer->node, number);
}

static int restore_nothing(void *context, const struct journal_record *record)
{
    (void)context, (void)record;
    return DLHT_OK;
}

static int open_journal(struct recovery *r)
{
    struct sim_peer *peer = r->peer;
    struct world *world = r->world;
    struct journal_config config = { .segment_bytes =
                                         world->config.segment_bytes,
                                     .seed = rng_next(&world->rng) };
    struct journal_report report = { 0 };
    int rc = journal_open(r->disk, &config, false, restore_record, r, &report,
                          &peer->journal);
    world_trace(world, "n%u recovers %llu records, %llu bytes cut: %s",
                (unsigned)peer->index, (unsigned long long)report.records,
                (unsigned long long)report.bytes_cut, dlht_errname(rc));
    if (rc == DLHT_ECORRUPT && report.corrupt && !peer->hurt)
        world_fail(world, "journal_whole",
                   "n%u: recovery after a crash says segment %llu is damaged "
                   "at %llu",
                   (unsigned)peer->index,
                   (unsigned long long)report.corrupt_segment,
                   (unsigned long long)report.corrupt_offset);
    if (rc != DLHT_ECORRUPT || !report.corrupt)
        return rc;
    rc = quarantine(r, 0, "the journal");
    config.mended = node_quarantined;
    config.mended_context = peer->node;
    if (rc == DLHT_OK)
        rc = journal_open(r->disk, &config, true, restore_nothing, NULL,
                          &report, &peer->journal);
    return rc;
}

int world_disk_recover(struct world *world, struct sim_peer *peer,
                       const char **text)
{
    struct recovery r = { world, peer, disk_sim_disk(peer->disk) };
    *text = "checkpoints cannot be read";
    int rc = restore_arcs(&r);
    if (rc != DLHT_OK)
        return rc;
    world_graph_trouble(world, peer);
    rc = graph_file_each(r.disk, restore_graph, &r);
    if (rc != DLHT_OK)
        world_trace(world, "n%u: files of graphs: %s", (unsigned)peer->index,
                    dlht_errname(rc));
    *text = "the journal cannot be read";
    rc = open_journal(&r);
    if (rc == DLHT_OK)
        peer->hurt = false;
    return rc;
}
