/* SPDX-License-Identifier: Apache-2.0 */

/* A peer's disk: a worker that takes journal and checkpoint jobs in order, and
 * what it leaves when it is stopped half-way. The journal and the checkpoints
 * are the production ones. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "sim/world_inner.h"

int world_disk_init(struct world *world, struct sim_peer *peer)
{
    (void)world;
    peer->disk = disk_sim_new();
    return peer->disk ? DLHT_OK : DLHT_ENOMEM;
}

static void drop_jobs(struct worker *worker)
{
    for (size_t i = 0; i < worker->count; i++)
        free(worker->jobs[(worker->head + i) % worker->cap].bytes);
    worker->count = 0;
    worker->head = 0;
    worker->busy = false;
    worker->merged_count = 0;
}

/* The process is gone: what it held open is no more. */
static void close_all(struct sim_peer *peer)
{
    struct worker *worker = &peer->worker;
    drop_jobs(worker);
    for (size_t i = 0; i < worker->writing_count; i++)
        checkpoint_abort(worker->writing[i].writer);
    worker->writing_count = 0;
    journal_close(peer->journal);
    peer->journal = NULL;
}

void world_disk_deinit(struct sim_peer *peer)
{
    close_all(peer);
    free(peer->worker.jobs);
    free(peer->old_graph.bytes);
    disk_sim_free(peer->disk);
}

uint64_t world_disk_hash(const struct sim_peer *peer)
{
    return disk_sim_hash(peer->disk);
}

void world_lose_disk(struct world *world, size_t index)
{
    struct sim_peer *peer = &world->peers[index];
    assert(!peer->node);
    world_trace(world, "n%u loses its disk", (unsigned)index);
    disk_sim_free(peer->disk);
    peer->disk = disk_sim_new();
    peer->hurt = peer->hurt_streams = false;
    assert(peer->disk);
}

void world_slow_disk(struct world *world, size_t index, uint64_t by_ns)
{
    world_trace(world, "n%u disk slower by %.3f s", (unsigned)index,
                (double)by_ns / 1e9);
    world->peers[index].worker.slow_ns = by_ns;
}

void world_fill_disk(struct world *world, size_t index, bool full)
{
    struct sim_peer *peer = &world->peers[index];
    world_trace(world, "n%u disk %s", (unsigned)index,
                full ? "is full" : "has room");
    disk_sim_limit(peer->disk, full ? 0 : UINT64_MAX);
}

void world_fail_sync(struct world *world, size_t index)
{
    world_trace(world, "n%u next sync will fail", (unsigned)index);
    world->peers[index].worker.fail_next = true;
}

void world_set_disk(struct world *world, const struct world_disk *disk)
{
    world->config.disk = *disk;
}

/* The worker. */

static struct job *add_job(struct worker *worker, enum job_kind kind)
{
    if (worker->count == worker->cap) {
        size_t cap = worker->cap ? worker->cap * 2 : 64;
        struct job *jobs = world_alloc(cap, sizeof *jobs);
        for (size_t i = 0; i < worker->count; i++)
            jobs[i] = worker->jobs[(worker->head + i) % worker->cap];
        free(worker->jobs);
        worker->jobs = jobs;
        worker->cap = cap;
        worker->head = 0;
    }
    size_t at = (worker->head + worker->count++) % worker->cap;
    worker->jobs[at] = (struct job){ .kind = kind };
    return &worker->jobs[at];
}

static void pop_job(struct worker *worker)
{
    assert(worker->count > 0);
    free(worker->jobs[worker->head].bytes);
    worker->head = (worker->head + 1) % worker->cap;
    worker->count--;
}

static struct writing *find_writing(struct worker *worker, arc_id arc)
{
    for (size_t i = 0; i < worker->writing_count; i++) {
        if (worker->writing[i].arc == arc)
            return &worker->writing[i];
    }
    return NULL;
}

static void drop_writing(struct worker *worker, struct writing *writing)
{
    *writing = worker->writing[--worker->writing_count];
}

static void begin_checkpoint(struct world *world, struct sim_peer *peer,
                             const struct job *job)
{
    struct worker *worker = &peer->worker;
    if (find_writing(worker, job->arc) ||
        worker->writing_count == WRITING_MAX) {
        world_fail(world, "checkpoint_once",
                   "n%u begins a second checkpoint of arc %llx",
                   (unsigned)peer->index, (unsigned long long)job->arc);
        return;
    }
    struct writing *w = &worker->writing[worker->writing_count++];
    *w = (struct writing){ .arc = job->arc, .number = job->index };
    w->status = journal_settle(peer->journal);
    if (w->status == DLHT_OK)
        w->status =
            checkpoint_begin(disk_sim_disk(peer->disk), job->arc, job->index,
                             span_of(job->bytes, job->len), &w->writer);
}

static void add_checkpoint(struct sim_peer *peer, const struct job *job)
{
    struct writing *w = find_writing(&peer->worker, job->arc);
    if (w && w->status == DLHT_OK)
        w->status = checkpoint_add(w->writer, span_of(job->bytes, job->len));
}

static void abort_checkpoint(struct sim_peer *peer, const struct job *job)
{
    struct writing *w = find_writing(&peer->worker, job->arc);
    if (!w)
        return;
    checkpoint_abort(w->writer);
    drop_writing(&peer->worker, w);
}

static int commit_checkpoint(struct sim_peer *peer, const struct job *job)
{
    struct writing *w = find_writing(&peer->worker, job->arc);
    if (!w)
        return DLHT_EIO;
    int status = w->status;
    if (status == DLHT_OK)
        status = checkpoint_commit(w->writer);
    else
        checkpoint_abort(w->writer);
    drop_writing(&peer->worker, w);
    return status;
}

static bool has_other_sync(const struct worker *worker)
{
    for (size_t i = 1; i < worker->count; i++) {
        if (worker->jobs[(worker->head + i) % worker->cap].kind == JOB_SYNC)
            return true;
    }
    return false;
}

static uint64_t latency(struct world *world, const struct worker *worker)
{
    const struct world_disk *disk = &world->config.disk;
    uint64_t ns = world_draw(world, disk->sync_min_ns, disk->sync_max_ns);
    if (rng_chance(&world->rng, disk->slow_chance))
        ns += rng_below(&world->rng, disk->slow_ns + 1);
    return ns + worker->slow_ns;
}

static void plan_done(struct world *world, struct sim_peer *peer)
{
    peer->worker.busy = true;
    struct thing *thing =
        world_plan(world, latency(world, &peer->worker), THING_DISK);
    thing->to = peer->index;
    thing->epoch = peer->life;
}

/* Errors of the journal are told by the next sync: it fails from then on. */
static void ignore(int rc)
{
    (void)rc;
}

/* Does what takes no time, and begins what does. */
static void run(struct world *world, struct sim_peer *peer)
{
    struct worker *worker = &peer->worker;
    while (!worker->busy && worker->count > 0) {
        struct job *job = &worker->jobs[worker->head];
        switch (job->kind) {
        case JOB_APPEND:
            ignore(journal_append(
                peer->journal, &(struct journal_record){
                                   .type = job->type,
                                   .arc = job->arc,
                                   .term = job->term,
                                   .index = job->index,
                                   .payload = span_of(job->bytes, job->len) }));
            break;
        case JOB_SYNC:
            /* Group commit: one sync serves all that wait by now. */
            if (has_other_sync(worker) && worker->merged_count < MERGED_MAX) {
                worker->merged[worker->merged_count++] = job->index;
                break;
            }
            ignore(journal_flush(peer->journal, false));
            plan_done(world, peer);
            return;
        case JOB_RELEASE:
            journal_release(peer->journal, job->arc, job->index);
            ignore(journal_trim(peer->journal));
            break;
        case JOB_CHECKPOINT_BEGIN:
            begin_checkpoint(world, peer, job);
            break;
        case JOB_CHECKPOINT_ADD:
            add_checkpoint(peer, job);
            break;
        case JOB_CHECKPOINT_END:
            plan_done(world, peer);
            return;
        case JOB_CHECKPOINT_ABORT:
            abort_checkpoint(peer, job);
            break;
        case JOB_CHECKPOINT_REMOVE:
            ignore(journal_remove_checkpoints(peer->journal, job->arc));
            break;
        }
        pop_job(worker);
    }
}

static void maybe_fail(struct world *world, struct sim_peer *peer)
{
    bool fail = peer->worker.fail_next ||
                rng_chance(&world->rng, world->config.disk.fail_chance);
    peer->worker.fail_next = false;
    if (fail)
        disk_sim_fail_next(peer->disk, DISK_SIM_SYNC, 0, DLHT_EIO);
}

static void synced(struct world *world, struct sim_peer *peer, uint64_t number,
                   int status)
{
    struct journal_stats stats;
    journal_stats(peer->journal, &stats);
    world_feed(world, peer,
               &(struct input){ .kind = INPUT_SYNCED,
                                .number = number,
                                .status = status,
                                .journal_bytes = stats.bytes,
                                .arc = stats.pinning_arc });
}

void world_disk_done(struct world *world, struct sim_peer *peer)
{
    struct worker *worker = &peer->worker;
    assert(worker->busy && worker->count > 0);
    struct job *job = &worker->jobs[worker->head];
    worker->busy = false;
    maybe_fail(world, peer);
    if (job->kind == JOB_SYNC) {
        world->stats.syncs++;
        int status = journal_flush(peer->journal, true);
        if (status != DLHT_OK)
            world_trace(world, "n%u sync fails: %s", (unsigned)peer->index,
                        dlht_errname(status));
        for (size_t i = 0; i < worker->merged_count; i++)
            synced(world, peer, worker->merged[i], status);
        worker->merged_count = 0;
        synced(world, peer, job->index, status);
    } else {
        assert(job->kind == JOB_CHECKPOINT_END);
        struct input input = { .kind = INPUT_CHECKPOINT,
                               .arc = job->arc,
                               .number = job->index,
                               .status = commit_checkpoint(peer, job) };
        world_trace(world, "n%u checkpoint of arc %llx, number %llu: %s",
                    (unsigned)peer->index, (unsigned long long)job->arc,
                    (unsigned long long)job->index, dlht_errname(input.status));
        world_feed(world, peer, &input);
    }
    pop_job(worker);
    run(world, peer);
}

void world_disk_effect(struct world *world, struct sim_peer *peer,
                       const struct effect *effect)
{
    static const uint8_t KINDS[] = {
        [EFFECT_APPEND] = JOB_APPEND,
        [EFFECT_SYNC] = JOB_SYNC,
        [EFFECT_RELEASE] = JOB_RELEASE,
        [EFFECT_CHECKPOINT_BEGIN] = JOB_CHECKPOINT_BEGIN,
        [EFFECT_CHECKPOINT_ADD] = JOB_CHECKPOINT_ADD,
        [EFFECT_CHECKPOINT_END] = JOB_CHECKPOINT_END,
        [EFFECT_CHECKPOINT_ABORT] = JOB_CHECKPOINT_ABORT,
        [EFFECT_CHECKPOINT_REMOVE] = JOB_CHECKPOINT_REMOVE,
    };
    if (!peer->journal) {
        world_fail(world, "volatile", "n%u has no disk, yet asks for effect %d",
                   (unsigned)peer->index, (int)effect->kind);
        return;
    }
    struct job *job =
        add_job(&peer->worker, (enum job_kind)KINDS[effect->kind]);
    struct span bytes = span_empty();
    if (effect->kind == EFFECT_APPEND) {
        job->type = effect->u.append.type;
        job->arc = effect->u.append.arc;
        job->term = effect->u.append.term;
        job->index = effect->u.append.index;
        bytes = effect->u.append.payload;
    } else if (effect->kind == EFFECT_SYNC) {
        job->index = effect->u.sync.number;
    } else if (effect->kind == EFFECT_RELEASE) {
        job->arc = effect->u.release.arc;
        job->index = effect->u.release.index;
    } else {
        job->arc = effect->u.checkpoint.arc;
        job->index = effect->u.checkpoint.number;
        bytes = effect->u.checkpoint.bytes;
    }
    job->bytes = world_copy(bytes);
    job->len = bytes.len;
    run(world, peer);
}

/* The power may go in the middle of a job: some of its writes are made. */
static void stop_half_way(struct world *world, struct sim_peer *peer)
{
    struct worker *worker = &peer->worker;
    if (!worker->busy || rng_chance(&world->rng, 0.5))
        return;
    struct job *job = &worker->jobs[worker->head];
    disk_sim_stop_after(peer->disk, rng_below(&world->rng, 8));
    if (job->kind == JOB_SYNC)
        ignore(journal_flush(peer->journal, true));
    else
        ignore(commit_checkpoint(peer, job));
}

void world_disk_close(struct sim_peer *peer)
{
    close_all(peer);
    disk_sim_restart(peer->disk);
}

void world_disk_crash(struct world *world, struct sim_peer *peer, bool power)
{
    if (peer->journal)
        stop_half_way(world, peer);
    /* What closing would still write must not reach the disk. */
    disk_sim_stop_after(peer->disk, 0);
    close_all(peer);
    peer->worker.fail_next = false;
    peer->worker.slow_ns = 0;
    if (power)
        disk_sim_crash(peer->disk, &world->rng);
    else
        disk_sim_restart(peer->disk);
    disk_sim_stop_after(peer->disk, UINT64_MAX);
}
