/* SPDX-License-Identifier: Apache-2.0 */

/* Carrying out what the node decides, on one thread. */

#include "durable/rig.h"

#include <string.h>

#include "dlht/err.h"
#include "node/inspect.h"
#include "wire/mp.h"

char rig_story[512];

enum {
    TICK_NS = 10 * 1000000
};

void rig_config(struct node_config *config, uint64_t seed)
{
    node_config_default(config);
    strcpy(config->addr, "127.0.0.1:9000");
    config->seed = seed;
    config->durable = true;
    config->replicas = 1;
    config->vnodes = 1;
    config->election_ns = 60 * 1000000;
    config->heartbeat_ns = 20 * 1000000;
    config->floor_keys = 4;
    config->ceiling_bytes = 24 << 10;
    config->checkpoint_bytes = 16 << 10;
}

/* --- what a disk holds */

static int restore_block(void *context, arc_id arc, uint64_t number, bool first,
                         struct span bytes)
{
    struct rig *rig = context;
    return node_restore_checkpoint(rig->node, arc, number, first, bytes);
}

static int restore_arcs(struct rig *rig)
{
    struct checkpoint_list list;
    int rc = checkpoint_list(rig->disk, &list);
    for (size_t i = 0; rc == DLHT_OK && i < list.count; i++) {
        bool older = false;
        rc = checkpoint_read(rig->disk, &list.arcs[i], restore_block, rig,
                             &older);
        rig->older = rig->older || older;
    }
    checkpoint_list_deinit(&list);
    return rc;
}

static int restore_record(void *context, const struct journal_record *record)
{
    struct rig *rig = context;
    if (getenv("RIG_TRACE"))
        fprintf(stderr, "restore type %u arc %llx index %llu\n", record->type,
                (unsigned long long)record->arc,
                (unsigned long long)record->index);
    return node_restore_record(rig->node, record);
}

static int restore_graph(void *context, uint64_t number)
{
    struct rig *rig = context;
    return node_restore_graph(rig->node, number);
}

static int restore(struct rig *rig, uint64_t seed)
{
    struct journal_config config = { .segment_bytes = rig->segment_bytes,
                                     .seed = seed };
    int rc = restore_arcs(rig);
    if (rc == DLHT_OK) /* what fails is passed over */
        (void)!graph_file_each(rig->disk, restore_graph, rig);
    if (rc == DLHT_OK)
        rc = journal_open(rig->disk, &config, false, restore_record, rig,
                          &rig->report, &rig->journal);
    return rc;
}

int rig_open_by(struct rig *rig, const struct disk *disk,
                const struct node_config *config, rig_restore_fn fn,
                void *context)
{
    memset(rig, 0, sizeof *rig);
    rig->now_ns = 1000000000;
    rig->has_disk = true;
    rig->disk = *disk;
    int rc = node_new(config, &rig->node);
    if (rc != DLHT_OK)
        return rc;
    rc = fn(context, rig->node, config->seed, &rig->journal);
    if (rc != DLHT_OK)
        rig_close(rig);
    return rc;
}

int rig_open(struct rig *rig, const struct disk *disk,
             const struct node_config *config)
{
    return rig_open_watched(rig, disk, config, NULL);
}

int rig_open_watched(struct rig *rig, const struct disk *disk,
                     const struct node_config *config, void (*in_store)(bool))
{
    memset(rig, 0, sizeof *rig);
    rig->in_store = in_store;
    rig->segment_bytes = 8 << 10;
    rig->now_ns = 1000000000;
    rig->has_disk = disk != NULL;
    int rc = node_new(config, &rig->node);
    if (rc != DLHT_OK || !disk)
        return rc;
    rig->disk = *disk;
    if (in_store)
        in_store(true);
    rc = restore(rig, config->seed);
    if (in_store)
        in_store(false);
    if (rc != DLHT_OK)
        rig_close(rig);
    return rc;
}

void rig_close(struct rig *rig)
{
    for (size_t i = 0; i < rig->writing_count; i++)
        checkpoint_abort(rig->writing[i].writer);
    rig->writing_count = 0;
    node_free(rig->node);
    rig->node = NULL;
    journal_close(rig->journal);
    rig->journal = NULL;
    effects_deinit(&rig->fx);
    buf_deinit(&rig->kept);
}

/* --- effects */

static struct event *tell(struct rig *rig, enum event_kind kind)
{
    RIG_CHECK(rig->told_count < RIG_TOLD, "too much to tell");
    struct event *event = &rig->told[rig->told_count++];
    *event = (struct event){ .kind = kind };
    return event;
}

static struct rig_writing *writing_of(struct rig *rig, const struct effect *e)
{
    for (size_t i = 0; i < rig->writing_count; i++)
        if (rig->writing[i].arc == e->u.checkpoint.arc &&
            rig->writing[i].number == e->u.checkpoint.number)
            return &rig->writing[i];
    return NULL;
}

static void begin_checkpoint(struct rig *rig, const struct effect *e)
{
    RIG_CHECK(rig->writing_count < RIG_WRITING, "too many checkpoints");
    struct rig_writing *w = &rig->writing[rig->writing_count++];
    *w = (struct rig_writing){ .arc = e->u.checkpoint.arc,
                               .number = e->u.checkpoint.number };
    w->status = journal_settle(rig->journal);
    if (w->status == DLHT_OK)
        w->status = checkpoint_begin(rig->disk, w->arc, w->number,
                                     e->u.checkpoint.bytes, &w->writer);
}

static void add_checkpoint(struct rig *rig, const struct effect *e)
{
    struct rig_writing *w = writing_of(rig, e);
    if (w && w->status == DLHT_OK)
        w->status = checkpoint_add(w->writer, e->u.checkpoint.bytes);
}

/* As the worker of net/ does it: what is not there cannot be ended. */
static int end_checkpoint(struct rig *rig, const struct effect *e, bool commit)
{
    struct rig_writing *w = writing_of(rig, e);
    if (!w)
        return DLHT_ENOMEM;
    struct rig_writing it = *w;
    *w = rig->writing[--rig->writing_count];
    if (commit && it.status == DLHT_OK)
        return checkpoint_commit(it.writer);
    checkpoint_abort(it.writer);
    return it.status;
}

static void sync_journal(struct rig *rig, const struct effect *e)
{
    struct journal_stats stats;
    int status = journal_flush(rig->journal, true);
    journal_stats(rig->journal, &stats);
    struct event *event = tell(rig, EVENT_SYNCED);
    event->u.synced.number = e->u.sync.number;
    event->u.synced.status = status;
    event->u.synced.journal_bytes = stats.bytes;
    event->u.synced.pinning_arc = stats.pinning_arc;
}

/* Failures of these are told by the next sync, which fails from then on. */
static void ignore(int rc)
{
    (void)rc;
}

static struct span keep(struct rig *rig, struct span s)
{
    size_t at = rig->kept.len;
    buf_append_span(&rig->kept, s);
    return span_of(rig->kept.data + at, s.len);
}

static void keep_reply(struct rig *rig, const struct effect *e)
{
    const struct response *r = &e->u.reply.response;
    buf_reset(&rig->kept);
    int rc = buf_reserve(&rig->kept, r->value.len + r->list.len +
                                         r->cursor.len + r->text.len + 1);
    RIG_CHECK(rc == DLHT_OK, "no memory for an answer");
    rig->answered = true;
    rig->answers++;
    rig->response = *r;
    rig->response.value = keep(rig, r->value);
    rig->response.list = keep(rig, r->list);
    rig->response.cursor = keep(rig, r->cursor);
    rig->response.text = keep(rig, r->text);
    if (rig->on_reply)
        rig->on_reply(rig->context, e->u.reply.ticket, r);
}

static void run_job(struct rig *rig, const struct effect *e)
{
    e->u.job.run(e->u.job.data);
    tell(rig, EVENT_JOB)->u.job.number = e->u.job.number;
}

/* All but what it does of its own is the store's. */
static void run_file_job(struct rig *rig, const struct effect *e)
{
    struct graph_file file;
    graph_file_init(&file, rig->disk, e->u.file_job.file);
    e->u.file_job.run(e->u.file_job.data, &file);
    graph_file_deinit(&file);
    tell(rig, EVENT_JOB)->u.job.number = e->u.file_job.number;
}

/* For who looks for a bug: RIG_TRACE=1 tells what the node has done. */
static void trace(const struct rig *rig, const struct effect *e)
{
    double at = (double)rig->now_ns / 1e9;
    if (e->kind == EFFECT_LOG)
        fprintf(stderr, "%.2f log %s\n", at, e->u.log.text);
    else if (e->kind == EFFECT_APPEND)
        fprintf(stderr, "%.2f append type %u arc %llx index %llu\n", at,
                e->u.append.type, (unsigned long long)e->u.append.arc,
                (unsigned long long)e->u.append.index);
    else if (e->kind == EFFECT_RELEASE)
        fprintf(stderr, "%.2f release arc %llx index %llu\n", at,
                (unsigned long long)e->u.release.arc,
                (unsigned long long)e->u.release.index);
    else if (e->kind >= EFFECT_CHECKPOINT_BEGIN &&
             e->kind <= EFFECT_CHECKPOINT_REMOVE)
        fprintf(stderr, "%.2f checkpoint (%d) arc %llx number %llu\n", at,
                (int)e->kind, (unsigned long long)e->u.checkpoint.arc,
                (unsigned long long)e->u.checkpoint.number);
    else if (e->kind == EFFECT_REPLY)
        fprintf(stderr, "%.2f reply %llu: %s\n", at,
                (unsigned long long)e->u.reply.ticket,
                dlht_errname(e->u.reply.response.status));
}

static void carry_out(struct rig *rig, const struct effect *e)
{
    if (getenv("RIG_TRACE"))
        trace(rig, e);
    switch (e->kind) {
    case EFFECT_REPLY:
        keep_reply(rig, e);
        break;
    case EFFECT_APPEND:
        ignore(journal_append(rig->journal, &e->u.append));
        break;
    case EFFECT_SYNC:
        sync_journal(rig, e);
        break;
    case EFFECT_RELEASE:
        journal_release(rig->journal, e->u.release.arc, e->u.release.index);
        ignore(journal_trim(rig->journal));
        break;
    case EFFECT_CHECKPOINT_BEGIN:
        begin_checkpoint(rig, e);
        break;
    case EFFECT_CHECKPOINT_ADD:
        add_checkpoint(rig, e);
        break;
    case EFFECT_CHECKPOINT_END: {
        int status = end_checkpoint(rig, e, true);
        struct event *event = tell(rig, EVENT_CHECKPOINT);
        event->u.checkpoint.arc = e->u.checkpoint.arc;
        event->u.checkpoint.number = e->u.checkpoint.number;
        event->u.checkpoint.status = status;
        break;
    }
    case EFFECT_CHECKPOINT_ABORT:
        ignore(end_checkpoint(rig, e, false));
        break;
    case EFFECT_CHECKPOINT_REMOVE:
        ignore(journal_remove_checkpoints(rig->journal, e->u.checkpoint.arc));
        break;
    case EFFECT_JOB:
        run_job(rig, e);
        break;
    case EFFECT_FILE_JOB:
        run_file_job(rig, e);
        break;
    case EFFECT_READY:
        rig->ready = true;
        break;
    case EFFECT_STOPPED:
        rig->stopped = true;
        break;
    case EFFECT_FAILED:
        rig->failed = e->u.failed.status;
        snprintf(rig->failed_text, sizeof rig->failed_text, "%s",
                 e->u.failed.text);
        break;
    case EFFECT_LOG:
        if (rig->on_log)
            rig->on_log(rig->context, e->u.log.text);
        break;
    case EFFECT_SEND:
        break;
    }
}

void rig_step(struct rig *rig, struct event *event)
{
    event->now_ns = rig->now_ns;
    int rc = node_step(rig->node, event, &rig->fx);
    RIG_CHECK(rc == DLHT_OK || rc == DLHT_ENOMEM, "%s", dlht_errname(rc));
    for (size_t i = 0; i < rig->fx.count; i++) {
        const struct effect *e = &rig->fx.list[i];
        bool in_store = rig->in_store && e->kind >= EFFECT_APPEND &&
                        e->kind <= EFFECT_CHECKPOINT_REMOVE;
        if (in_store)
            rig->in_store(true);
        carry_out(rig, e);
        if (in_store)
            rig->in_store(false);
    }
}

static void flush(struct rig *rig)
{
    struct event event = { .kind = EVENT_FLUSH };
    rig_step(rig, &event);
}

void rig_turn(struct rig *rig, struct event *event)
{
    rig_step(rig, event);
    flush(rig);
    while (rig->told_count && !rig->failed) {
        struct event next = rig->told[0];
        memmove(rig->told, rig->told + 1,
                --rig->told_count * sizeof *rig->told);
        rig_step(rig, &next);
        flush(rig);
    }
}

void rig_run(struct rig *rig, uint64_t ms, bool until_answered)
{
    uint64_t end = rig->now_ns + ms * 1000000;
    while (rig->now_ns < end && !rig->failed &&
           !(until_answered && rig->answered)) {
        rig->now_ns += TICK_NS;
        if (node_next_timeout_ns(rig->node) > rig->now_ns)
            continue;
        struct event tick = { .kind = EVENT_TICK };
        rig_turn(rig, &tick);
    }
}

bool rig_boot(struct rig *rig)
{
    struct event event = { .kind = EVENT_BOOT };
    rig_turn(rig, &event);
    for (int i = 0; i < 1000 && !rig->ready && !rig->failed; i++)
        rig_run(rig, 10, false);
    return rig->ready && !rig->failed;
}

bool rig_ask(struct rig *rig, const struct request *request, uint64_t ms)
{
    rig->answered = false;
    rig->answers = 0;
    struct event event = { .kind = EVENT_REQUEST };
    event.u.request.ticket = 1;
    event.u.request.request = request;
    rig_turn(rig, &event);
    rig_run(rig, ms, true);
    return rig->answered;
}

void rig_hear(struct rig *rig, const struct message *message)
{
    struct event event = { .kind = EVENT_MESSAGE };
    event.u.message.from = inspect_self(rig->node);
    event.u.message.message = message;
    rig_turn(rig, &event);
}

/* --- arcs */

static const struct map *map_of(const struct rig *rig, const char *keyspace)
{
    for (size_t i = 0; i < inspect_keyspace_count(rig->node); i++) {
        struct keyspace_record record;
        const struct map *map = inspect_map(rig->node, i, &record);
        if (span_equal(record.name, span_str(keyspace)) && !record.dropped)
            return map;
    }
    return NULL;
}

size_t rig_arc_count(const struct rig *rig, const char *keyspace)
{
    const struct map *map = map_of(rig, keyspace);
    return map ? map_count(map) : 0;
}

bool rig_split(struct rig *rig, const char *keyspace, size_t n, struct span at)
{
    const struct map *map = map_of(rig, keyspace);
    if (!map || n >= map_count(map))
        return false;
    const struct arc *arc = map_at(map, n);
    struct buf keys = { 0 };
    mp_write_bin(&keys, at);
    struct message m = { .type = MESSAGE_STEP };
    m.u.step = (struct step){ .kind = STEP_SPLIT,
                              .keyspace = arc->keyspace,
                              .arc = arc->id,
                              .generation = arc->generation,
                              .keys = buf_span(&keys) };
    rig_hear(rig, &m);
    buf_deinit(&keys);
    return true;
}

bool rig_merge(struct rig *rig, const char *keyspace, size_t n)
{
    const struct map *map = map_of(rig, keyspace);
    if (!map || n == 0 || n >= map_count(map))
        return false;
    const struct arc *left = map_at(map, n - 1), *right = map_at(map, n);
    struct message m = { .type = MESSAGE_STEP };
    m.u.step = (struct step){ .kind = STEP_MERGE,
                              .keyspace = right->keyspace,
                              .arc = right->id,
                              .generation = right->generation,
                              .into = left->id,
                              .into_generation = left->generation,
                              .into_lo = left->lo };
    rig_hear(rig, &m);
    return true;
}
