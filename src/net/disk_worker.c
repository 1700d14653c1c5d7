/* SPDX-License-Identifier: Apache-2.0 */

/* A queue of commands, a thread that runs them, a list of results. */

#include "net/disk_worker.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "net/sys.h"

enum {
    DISK_KEEP_BYTES = 4 << 20 /* of a queue's memory, when it is empty */
};

enum command_kind {
    COMMAND_APPEND = 1,
    COMMAND_SYNC,
    COMMAND_RELEASE,
    COMMAND_BEGIN,
    COMMAND_ADD,
    COMMAND_END,
    COMMAND_ABORT,
    COMMAND_REMOVE
};

/* Lies in a queue, followed by len bytes. */
struct command {
    uint8_t kind;
    uint8_t type; /* of a record */
    arc_id arc;
    uint64_t term;
    uint64_t number; /* or index */
    uint64_t len;
};

/* A checkpoint being written. */
struct pen {
    struct pen *next;
    arc_id arc;
    uint64_t number;
    struct checkpoint_writer *writer; /* NULL: it failed */
    int status;
};

struct disk_worker {
    struct disk_worker_config config;
    pthread_t thread;
    int bell;
    struct buf filling; /* the node's thread only */

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct buf queued; /* under lock, like all up to `results` */
    bool stop;
    bool lost; /* something could not be queued */
    struct disk_result *results;
    size_t result_count;
    size_t result_cap;
    size_t result_at; /* taken so far */

    /* The worker's thread only. */
    struct buf work;
    struct pen *pens;
    uint64_t sync;     /* the last that waits for the next commit; 0: none */
    int broken;        /* status of every sync from now on; 0: sound */
    bool must_sync;    /* a record of the batch asks for it */
    bool dirty;        /* written, not made durable */
    bool released;     /* a trim is owed */
    uint64_t dirty_ns; /* since when */
};

/* The node's side. */

static void worker_queue(struct disk_worker *w, const struct command *command,
                         const void *bytes)
{
    size_t before = w->filling.len;
    buf_append(&w->filling, command, sizeof *command);
    buf_append(&w->filling, bytes, (size_t)command->len);
    if (!w->filling.failed)
        return;
    w->filling.len = before;
    w->filling.failed = false;
    pthread_mutex_lock(&w->lock);
    w->lost = true;
    pthread_mutex_unlock(&w->lock);
}

void disk_worker_append(struct disk_worker *w,
                        const struct journal_record *record)
{
    struct command c = { .kind = COMMAND_APPEND,
                         .type = record->type,
                         .arc = record->arc,
                         .term = record->term,
                         .number = record->index,
                         .len = record->payload.len };
    worker_queue(w, &c, record->payload.data);
}

void disk_worker_sync(struct disk_worker *w, uint64_t number)
{
    struct command c = { .kind = COMMAND_SYNC, .number = number };
    worker_queue(w, &c, NULL);
}

void disk_worker_release(struct disk_worker *w, arc_id arc, uint64_t index)
{
    struct command c = { .kind = COMMAND_RELEASE, .arc = arc, .number = index };
    worker_queue(w, &c, NULL);
}

static void worker_checkpoint(struct disk_worker *w, enum command_kind kind,
                              arc_id arc, uint64_t number, struct span bytes)
{
    struct command c = {
        .kind = (uint8_t)kind, .arc = arc, .number = number, .len = bytes.len
    };
    worker_queue(w, &c, bytes.data);
}

void disk_worker_begin(struct disk_worker *w, arc_id arc, uint64_t number,
                       struct span header)
{
    worker_checkpoint(w, COMMAND_BEGIN, arc, number, header);
}

void disk_worker_add(struct disk_worker *w, arc_id arc, uint64_t number,
                     struct span block)
{
    worker_checkpoint(w, COMMAND_ADD, arc, number, block);
}

void disk_worker_end(struct disk_worker *w, arc_id arc, uint64_t number)
{
    worker_checkpoint(w, COMMAND_END, arc, number, span_empty());
}

void disk_worker_abort(struct disk_worker *w, arc_id arc, uint64_t number)
{
    worker_checkpoint(w, COMMAND_ABORT, arc, number, span_empty());
}

void disk_worker_remove(struct disk_worker *w, arc_id arc)
{
    worker_checkpoint(w, COMMAND_REMOVE, arc, 0, span_empty());
}

static void worker_swap(struct buf *a, struct buf *b)
{
    struct buf t = *a;
    *a = *b;
    *b = t;
}

void disk_worker_submit(struct disk_worker *w)
{
    if (w->filling.len == 0)
        return;
    pthread_mutex_lock(&w->lock);
    if (w->queued.len == 0) {
        worker_swap(&w->queued, &w->filling);
    } else {
        buf_append_span(&w->queued, buf_span(&w->filling));
        w->lost = w->lost || w->queued.failed;
        w->queued.failed = false;
    }
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    buf_reset(&w->filling);
}

int disk_worker_fd(const struct disk_worker *w)
{
    return w->bell;
}

bool disk_worker_take(struct disk_worker *w, struct disk_result *out)
{
    pthread_mutex_lock(&w->lock);
    bool some = w->result_at < w->result_count;
    if (some)
        *out = w->results[w->result_at++];
    if (some && w->result_at == w->result_count) {
        w->result_at = 0;
        w->result_count = 0;
        sys_bell_clear(w->bell);
    }
    pthread_mutex_unlock(&w->lock);
    return some;
}

/* The worker's side. */

static void worker_post(struct disk_worker *w, const struct disk_result *result)
{
    pthread_mutex_lock(&w->lock);
    if (w->result_count == w->result_cap) {
        size_t cap = w->result_cap ? w->result_cap * 2 : 64;
        struct disk_result *grown = mem_resize(w->results, cap, sizeof *grown);
        /* A result must not be lost: its sync would never end. */
        while (!grown) {
            pthread_mutex_unlock(&w->lock);
            usleep(1000);
            pthread_mutex_lock(&w->lock);
            grown = mem_resize(w->results, cap, sizeof *grown);
        }
        w->results = grown;
        w->result_cap = cap;
    }
    w->results[w->result_count++] = *result;
    sys_bell_ring(w->bell);
    pthread_mutex_unlock(&w->lock);
}

/* A full disk breaks nothing: the journal keeps what it could not write. */
static void worker_break(struct disk_worker *w, int status)
{
    if (w->broken == DLHT_OK && status != DLHT_EFULL)
        w->broken = status;
}

/* Writes what was appended and reports the syncs that wait for it. */
static void worker_commit(struct disk_worker *w)
{
    if (w->sync == 0)
        return;
    uint64_t now = w->config.interval_ms ? sys_now_ns() : 0;
    bool durable = w->config.interval_ms == 0 || w->must_sync;
    int rc = w->broken;
    if (rc == DLHT_OK)
        rc = journal_flush(w->config.journal, durable);
    worker_break(w, rc);
    if (rc == DLHT_EFULL) {
        /* All of it is still to be written, and as it was asked. */
    } else if (durable) {
        w->dirty = false;
        w->must_sync = false;
    } else if (!w->dirty) {
        w->dirty = true;
        w->dirty_ns = now;
    }
    struct journal_stats stats;
    journal_stats(w->config.journal, &stats);
    struct disk_result r = { .number = w->sync,
                             .status = rc,
                             .journal_bytes = stats.bytes,
                             .pinning_arc = stats.pinning_arc };
    worker_post(w, &r);
    w->sync = 0;
}

static struct pen **pen_find(struct disk_worker *w, const struct command *c)
{
    struct pen **at = &w->pens;
    while (*at && ((*at)->arc != c->arc || (*at)->number != c->number))
        at = &(*at)->next;
    return at;
}

static void pen_begin(struct disk_worker *w, const struct command *c,
                      struct span header)
{
    struct pen *pen = calloc(1, sizeof *pen);
    if (!pen)
        return; /* its end will not find it: DLHT_ENOMEM */
    pen->arc = c->arc;
    pen->number = c->number;
    pen->status = w->broken ? w->broken : journal_settle(w->config.journal);
    worker_break(w, pen->status);
    if (pen->status == DLHT_OK)
        pen->status = checkpoint_begin(w->config.disk, c->arc, c->number,
                                       header, &pen->writer);
    pen->next = w->pens;
    w->pens = pen;
}

static void pen_add(struct pen *pen, struct span block)
{
    if (!pen || pen->status != DLHT_OK)
        return;
    pen->status = checkpoint_add(pen->writer, block);
}

/* Ends the pen, which may be NULL, and says how it went. */
static int pen_end(struct pen **at, bool commit)
{
    struct pen *pen = *at;
    if (!pen)
        return DLHT_ENOMEM;
    *at = pen->next;
    int rc = pen->status;
    if (commit && rc == DLHT_OK)
        rc = checkpoint_commit(pen->writer);
    else
        checkpoint_abort(pen->writer);
    free(pen);
    return rc;
}

static void worker_end(struct disk_worker *w, const struct command *c)
{
    struct disk_result r = { .is_checkpoint = true,
                             .number = c->number,
                             .arc = c->arc,
                             .status = pen_end(pen_find(w, c), true) };
    worker_post(w, &r);
}

static void worker_append(struct disk_worker *w, const struct command *c,
                          struct span payload)
{
    struct journal_record record = { .type = c->type,
                                     .arc = c->arc,
                                     .term = c->term,
                                     .index = c->number,
                                     .payload = payload };
    if (w->config.must_sync && w->config.must_sync(c->type))
        w->must_sync = true;
    if (w->broken == DLHT_OK)
        worker_break(w, journal_append(w->config.journal, &record));
}

static void worker_do(struct disk_worker *w, const struct command *c,
                      struct span bytes)
{
    switch ((enum command_kind)c->kind) {
    case COMMAND_APPEND:
        worker_append(w, c, bytes);
        return;
    case COMMAND_SYNC:
        w->sync = c->number;
        return;
    case COMMAND_RELEASE:
    case COMMAND_BEGIN:
    case COMMAND_ADD:
    case COMMAND_END:
    case COMMAND_ABORT:
    case COMMAND_REMOVE:
        break;
    }
    /* Nobody's sync waits for a checkpoint's. */
    worker_commit(w);
    if (c->kind == COMMAND_BEGIN)
        pen_begin(w, c, bytes);
    else if (c->kind == COMMAND_ADD)
        pen_add(*pen_find(w, c), bytes);
    else if (c->kind == COMMAND_END)
        worker_end(w, c);
    else if (c->kind == COMMAND_ABORT)
        (void)pen_end(pen_find(w, c), false);
    else if (c->kind == COMMAND_REMOVE)
        worker_break(w, journal_remove_checkpoints(w->config.journal, c->arc));
    else {
        journal_release(w->config.journal, c->arc, c->number);
        w->released = true;
    }
}

static void worker_run(struct disk_worker *w)
{
    size_t at = 0;
    while (at < w->work.len) {
        struct command c;
        memcpy(&c, w->work.data + at, sizeof c);
        at += sizeof c;
        assert(c.len <= w->work.len - at);
        worker_do(w, &c, span_of(w->work.data + at, (size_t)c.len));
        at += (size_t)c.len;
    }
    worker_commit(w);
    if (w->released && w->broken == DLHT_OK)
        worker_break(w, journal_trim(w->config.journal));
    w->released = false;
    if (w->work.cap > DISK_KEEP_BYTES)
        buf_deinit(&w->work);
    else
        buf_reset(&w->work);
}

/* Makes durable what has waited for its interval. */
static void worker_sync_late(struct disk_worker *w, bool now)
{
    if (!w->dirty)
        return;
    uint64_t interval_ns = w->config.interval_ms * UINT64_C(1000000);
    if (!now && sys_now_ns() - w->dirty_ns < interval_ns)
        return;
    w->dirty = false;
    if (w->broken == DLHT_OK)
        worker_break(w, journal_flush(w->config.journal, true));
}

/* With the lock: until there is something to do. */
static void worker_wait(struct disk_worker *w)
{
    while (!w->stop && w->queued.len == 0) {
        if (!w->dirty) {
            pthread_cond_wait(&w->wake, &w->lock);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)w->config.interval_ms * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_cond_timedwait(&w->wake, &w->lock, &until) == ETIMEDOUT)
            return;
    }
}

static void *worker_main(void *context)
{
    struct disk_worker *w = context;
    pthread_mutex_lock(&w->lock);
    while (!w->stop || w->queued.len > 0) {
        worker_wait(w);
        worker_swap(&w->work, &w->queued);
        bool lost = w->lost;
        pthread_mutex_unlock(&w->lock);
        if (lost)
            worker_break(w, DLHT_ENOMEM);
        worker_run(w);
        worker_sync_late(w, false);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    worker_sync_late(w, true);
    return NULL;
}

static int worker_start(struct disk_worker *w)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return DLHT_ENOMEM;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&w->lock, NULL);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&w->thread, NULL, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 ? DLHT_OK : DLHT_ENOMEM;
}

int disk_worker_new(const struct disk_worker_config *config,
                    struct disk_worker **out)
{
    *out = NULL;
    struct disk_worker *w = calloc(1, sizeof *w);
    if (!w)
        return DLHT_ENOMEM;
    w->config = *config;
    w->bell = sys_bell_new();
    if (w->bell == -1) {
        free(w);
        return DLHT_EIO;
    }
    int rc = worker_start(w);
    if (rc != DLHT_OK) {
        close(w->bell);
        free(w);
        return rc;
    }
    *out = w;
    return DLHT_OK;
}

void disk_worker_free(struct disk_worker *w)
{
    if (!w)
        return;
    disk_worker_submit(w);
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    while (w->pens)
        (void)pen_end(&w->pens, false);
    journal_close(w->config.journal);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    close(w->bell);
    buf_deinit(&w->filling);
    buf_deinit(&w->queued);
    buf_deinit(&w->work);
    free(w->results);
    free(w);
}
