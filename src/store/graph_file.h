/* SPDX-License-Identifier: Apache-2.0 */

/* store/graph_file.h - a file that is replaced as a whole, one a number (a
 * keyspace's, of which it holds the graph of vectors).
 *
 * Written aside under a temporary name, synced, renamed, the directory synced:
 * so there is the former one or the new one, after a crash too. What it holds
 * is the caller's affair, checksums included: a file that the disk damaged is
 * read as it is. It can be made again at any time, so nothing here promises
 * that there is one.
 *
 * Calls block: they run where a job runs (EFFECT_FILE_JOB). */

#ifndef STORE_GRAPH_FILE_H
#define STORE_GRAPH_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/must_use.h"
#include "base/span.h"
#include "store/disk.h"

enum {
    GRAPH_FILE_ALIGN = 64, /* of what is read, in memory */
    /* Synced each so many bytes, so that no other sync of the disk waits for
     * all of them at once. */
    GRAPH_FILE_SYNC_BYTES = 8 << 20,
    /* Left free for the journal, whose segments have 64 MiB, and checkpoints:
     * a file that can be done without must not make them fail. */
    GRAPH_FILE_SPARE_BYTES = 256 << 20
};

struct graph_file {
    struct disk disk;
    uint64_t number;
    int handle;              /* of the one aside; -1: none */
    const atomic_bool *ends; /* set: reading and writing end; NULL: never */
    uint64_t end;            /* written so far */
    uint64_t reserved;
    uint64_t unsynced; /* of these */
    int status;        /* of writing: not DLHT_OK ends it */
    uint8_t *bytes;    /* what was read; owned */
};

void graph_file_init(struct graph_file *f, struct disk disk, uint64_t number);
/* What was written and not committed goes. */
void graph_file_deinit(struct graph_file *f);

/* All of it, valid until graph_file_deinit.
 *   DLHT_ENOTFOUND, DLHT_EIO, DLHT_ENOMEM, DLHT_ECLOSED (it is to end) */
MUST_USE int graph_file_read(struct graph_file *f, struct span *out);

/* Begins the one aside, which is to have so many bytes, with the space
 * allocated; then as many are to be written. Asks first, so that what is too
 * much takes nothing from others.
 *   DLHT_EFULL  less than bytes + GRAPH_FILE_SPARE_BYTES are free
 *   as graph_file_write */
MUST_USE int graph_file_reserve(struct graph_file *f, uint64_t bytes);

/* Appends to the one aside, which the first call begins. After a failure
 * commit fails too.
 *   DLHT_EIO, DLHT_EFULL, DLHT_ENOMEM, DLHT_ECLOSED (it is to end) */
MUST_USE int graph_file_write(struct graph_file *f, const void *bytes,
                              size_t len);
/* It takes the former one's place, durably. On failure the former one is
 * there, as a rule; the temporary one is not. */
MUST_USE int graph_file_commit(struct graph_file *f);

/* Durably; nothing if it is not there. */
MUST_USE int graph_file_remove(struct graph_file *f);

/* A file's name, for who damages one. */
void graph_file_name(char name[DISK_NAME_MAX], uint64_t number, bool aside);

typedef int (*graph_file_fn)(void *context, uint64_t number);

/* Each number that has a file, once; temporary files that a crash left are
 * removed first. What fails is passed over, and the first failure returned:
 * DLHT_EIO, DLHT_ENOMEM, or what fn returned. Nothing depends on it. */
MUST_USE int graph_file_each(struct disk disk, graph_file_fn fn, void *context);

#endif
