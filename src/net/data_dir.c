/* SPDX-License-Identifier: Apache-2.0 */

/* Restoring a node from its directory. */

#include "net/data_dir.h"

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/crew.h"
#include "net/disk_posix.h"
#include "net/sys.h"
#include "store/checkpoint.h"
#include "store/graph_file.h"

enum {
    /* More would wait for memory and for the disk. */
    LOADERS_MAX = 4
};

_Static_assert((int)LOADERS_MAX <= (int)CREW_MAX, "a crew has room for them");

struct data_dir {
    struct disk_posix *disk;
    struct disk_posix *files; /* the same, for the jobs' thread */
    size_t loaders;           /* threads that read checkpoints */
};

struct restoring {
    struct node *node;
    struct disk disk;
    data_dir_log_fn log;
    void *log_context;
    struct dlht_error *error;
};

static int restore_fail(struct dlht_error *error, int code, const char *format,
                        ...)
{
    error->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return code;
}

static void restore_warn(struct restoring *r, const char *format, ...)
{
    char text[DLHT_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    r->log(r->log_context, LOG_WARNING, text);
}

int data_dir_open(const char *path, struct data_dir **out,
                  struct dlht_error *error)
{
    *out = NULL;
    struct data_dir *dir = calloc(1, sizeof *dir);
    if (!dir)
        return restore_fail(error, DLHT_ENOMEM, "no memory to start");
    data_dir_set_loaders(dir, sys_processors());
    char why[DISK_POSIX_WHY_MAX];
    int rc = disk_posix_open(path, &dir->disk, why);
    if (rc == DLHT_OK) {
        rc = disk_posix_share(dir->disk, &dir->files);
        snprintf(why, sizeof why, "%s", dlht_strerror(rc));
    }
    if (rc == DLHT_OK) {
        *out = dir;
        return DLHT_OK;
    }
    data_dir_close(dir);
    if (rc == DLHT_EBUSY)
        return restore_fail(error, rc,
                            "data directory '%s' is in use by another "
                            "process: stop it or choose another --data-dir",
                            path);
    return restore_fail(error, rc == DLHT_ENOMEM ? rc : DLHT_EINVAL,
                        "cannot use data directory '%.80s' (%.120s): choose "
                        "another --data-dir",
                        path, why);
}

void data_dir_close(struct data_dir *dir)
{
    if (!dir)
        return;
    disk_posix_close(dir->files);
    disk_posix_close(dir->disk);
    free(dir);
}

void data_dir_set_loaders(struct data_dir *dir, size_t count)
{
    assert(count > 0);
    dir->loaders = count < LOADERS_MAX ? count : LOADERS_MAX;
}

struct disk data_dir_disk(struct data_dir *dir)
{
    return disk_posix_disk(dir->disk);
}

struct disk data_dir_files(struct data_dir *dir)
{
    return disk_posix_disk(dir->files);
}

/* Lets the node put an arc (0: all that the journal holds) aside. */
static int restore_quarantine(struct restoring *r, arc_id arc, const char *what)
{
    int rc = node_quarantine(r->node, arc);
    if (rc == DLHT_ECORRUPT)
        return restore_fail(r->error, rc,
                            "%s is damaged and no other peer can mend it: "
                            "nothing was changed; bring back a copy of the "
                            "data directory, or start with an empty one",
                            what);
    if (rc == DLHT_OK)
        restore_warn(r,
                     "%s is damaged: it will be learned anew from other "
                     "peers, if they have copies",
                     what);
    return rc;
}

static int restore_unreadable(struct restoring *r, int rc,
                              const struct disk_posix *disk)
{
    if (r->error->code != DLHT_OK)
        return rc;
    return restore_fail(
        r->error, rc, "%s the data directory: %s",
        rc == DLHT_EFULL ? "disk full: cannot open" : "cannot read",
        rc == DLHT_ENOMEM ? dlht_strerror(rc) : disk_posix_why(disk));
}

/* The arcs that have checkpoints, and who loads them. The node is not for two
 * threads at once, but what fills the records of one arc touches nothing of
 * another. */
struct loading {
    struct restoring *r;
    struct checkpoint_list list;
    struct disk_posix *disks[LOADERS_MAX]; /* [0] is the directory's own */
    size_t disk_count;
    pthread_mutex_t lock; /* of the node, the log and the error */
};

/* One arc that is being loaded. */
struct load {
    struct loading *l;
    struct records *into;
};

static int restore_part(void *context, arc_id arc, uint64_t number, bool first,
                        struct span bytes)
{
    struct load *load = context;
    if (!first)
        return node_restore_block(load->into, bytes);
    pthread_mutex_lock(&load->l->lock);
    int rc =
        node_restore_header(load->l->r->node, arc, number, bytes, &load->into);
    pthread_mutex_unlock(&load->l->lock);
    return rc;
}

/* What came of reading an arc's checkpoint. */
static int restore_arc_end(struct restoring *r, arc_id arc, int rc, bool older)
{
    char what[64];
    snprintf(what, sizeof what, "the checkpoint of arc %016llx",
             (unsigned long long)arc);
    if (rc == DLHT_ECORRUPT)
        return restore_quarantine(r, arc, what);
    if (rc == DLHT_OK && older) {
        node_restore_older(r->node, arc);
        restore_warn(r, "the newest of %s is damaged: the one before is used",
                     what);
    }
    return rc;
}

static int restore_arc(void *context, size_t who, size_t index)
{
    struct loading *l = context;
    const struct checkpoint_found *found = &l->list.arcs[index];
    struct load load = { .l = l };
    bool older = false;
    int rc = checkpoint_read(disk_posix_disk(l->disks[who]), found,
                             restore_part, &load, &older);
    pthread_mutex_lock(&l->lock);
    rc = restore_arc_end(l->r, found->arc, rc, older);
    if (rc != DLHT_OK)
        rc = restore_unreadable(l->r, rc, l->disks[who]);
    pthread_mutex_unlock(&l->lock);
    return rc;
}

/* Each thread has files and words of failure of its own. */
static void share_disks(struct loading *l, const struct data_dir *dir)
{
    l->disks[0] = dir->disk;
    l->disk_count = 1;
    while (l->disk_count < dir->loaders && l->disk_count < l->list.count &&
           disk_posix_share(dir->disk, &l->disks[l->disk_count]) == DLHT_OK)
        l->disk_count++;
}

static int restore_checkpoints(struct restoring *r, const struct data_dir *dir)
{
    struct loading l = { .r = r };
    int rc = checkpoint_list(r->disk, &l.list);
    if (rc == DLHT_OK) {
        share_disks(&l, dir);
        pthread_mutex_init(&l.lock, NULL);
        rc = crew_run(l.disk_count, l.list.count, restore_arc, &l);
        pthread_mutex_destroy(&l.lock);
    }
    for (size_t i = 1; i < l.disk_count; i++)
        disk_posix_close(l.disks[i]);
    checkpoint_list_deinit(&l.list);
    return rc;
}

static int restore_record(void *context, const struct journal_record *record)
{
    struct restoring *r = context;
    int rc = node_restore_record(r->node, record);
    if (rc != DLHT_ECORRUPT)
        return rc;
    char what[64];
    snprintf(what, sizeof what, "the log of arc %016llx",
             (unsigned long long)record->arc);
    return restore_quarantine(r, record->arc, what);
}

static int restore_graph(void *context, uint64_t number)
{
    struct restoring *r = context;
    return node_restore_graph(r->node, number);
}

/* Graphs can be built anew: no reason not to start. */
static void restore_graphs(struct restoring *r, const struct data_dir *dir)
{
    int rc = graph_file_each(r->disk, restore_graph, r);
    if (rc != DLHT_OK)
        restore_warn(r,
                     "a file of a graph is passed over, or cannot be removed "
                     "(%s)",
                     rc == DLHT_ENOMEM ? dlht_strerror(rc)
                                       : disk_posix_why(dir->disk));
}

static int restore_nothing(void *context, const struct journal_record *record)
{
    (void)context;
    (void)record;
    return DLHT_OK;
}

static int restore_journal(struct restoring *r, uint64_t seed,
                           struct journal **out)
{
    struct journal_config config = { .seed = seed };
    struct journal_report report = { 0 };
    int rc =
        journal_open(r->disk, &config, false, restore_record, r, &report, out);
    if (rc == DLHT_ECORRUPT && report.corrupt) {
        char what[96];
        snprintf(what, sizeof what, "the journal (segment %llu, byte %llu)",
                 (unsigned long long)report.corrupt_segment,
                 (unsigned long long)report.corrupt_offset);
        rc = restore_quarantine(r, 0, what);
        config.mended = node_quarantined;
        config.mended_context = r->node;
        if (rc == DLHT_OK)
            rc = journal_open(r->disk, &config, true, restore_nothing, NULL,
                              &report, out);
    }
    if (rc == DLHT_OK && report.bytes_cut)
        restore_warn(r,
                     "the journal's torn end (%llu bytes, never "
                     "acknowledged) was cut",
                     (unsigned long long)report.bytes_cut);
    return rc;
}

int data_dir_restore(struct data_dir *dir, struct node *node, uint64_t seed,
                     data_dir_log_fn log, void *context, struct journal **out,
                     struct dlht_error *error)
{
    *out = NULL;
    error->code = DLHT_OK;
    struct restoring r = { .node = node,
                           .disk = data_dir_disk(dir),
                           .log = log,
                           .log_context = context,
                           .error = error };
    int rc = restore_checkpoints(&r, dir);
    if (rc == DLHT_OK) {
        restore_graphs(&r, dir);
        rc = restore_journal(&r, seed, out);
    }
    return rc == DLHT_OK ? rc : restore_unreadable(&r, rc, dir->disk);
}
