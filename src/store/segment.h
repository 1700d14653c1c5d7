/* SPDX-License-Identifier: Apache-2.0 */

/* store/segment.h - the bytes of one file of the journal, and how they are
 * read back and proven.
 *
 *     0          512                                         file's end
 *     | header   | batch | batch | batch | zeros ...         |
 *     batch: a head that names the synced mark, then records
 *
 * Every checksum is seeded with the segment's seed and the record's own
 * offset: bytes that a client stored, even a copy of a journal, are never
 * taken for a record. docs/storage.md has the layout byte by byte. */

#ifndef STORE_SEGMENT_H
#define STORE_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "store/disk.h"
#include "store/journal.h"

enum {
    SEGMENT_VERSION = 1,
    SEGMENT_HEADER_BYTES = 512, /* one sector: written whole or not at all */
    SEGMENT_HEAD_BYTES = 40,    /* of a record */
    SEGMENT_ALIGN = 8,
    SEGMENT_BATCH = 0 /* the type of a batch's head */
};

struct segment_header {
    uint64_t number;       /* 1, 2, ... */
    uint64_t seed;         /* of all checksums in the file */
    uint64_t bytes;        /* of the file */
    uint64_t oldest;       /* first segment still needed when this was made */
    uint64_t previous;     /* number of the one before; 0: none */
    uint64_t previous_end; /* where that one ends: synced up to there */
    uint64_t sealed_end;   /* not 0: a mended copy that ends there */
};

/* The file's name; mending writes the copy aside under another. */
void segment_name(char name[DISK_NAME_MAX], uint64_t number, bool aside);

/* False if it is not a segment's name of the kind. */
bool segment_name_parse(const char *name, uint64_t *number, bool *aside);

void segment_pack_header(const struct segment_header *header,
                         uint8_t out[SEGMENT_HEADER_BYTES]);

/*   DLHT_ECORRUPT  not intact, or of another number
 *   DLHT_EVERSION  intact and of a later version */
MUST_USE int segment_unpack_header(const uint8_t in[SEGMENT_HEADER_BYTES],
                                   uint64_t number,
                                   struct segment_header *header);

/* Bytes of a record in the file, padding included. */
size_t segment_record_bytes(size_t payload_len);

/* Writes a record without its checksums. A batch's head is one of type
 * SEGMENT_BATCH without payload: arc is the mark (all before this offset of
 * the file is synced), term the oldest segment still needed, index the bytes
 * of the records that follow. */
void segment_put(uint8_t *at, const struct journal_record *record);

/* Bytes of the record that was put here. */
size_t segment_bytes_put(const uint8_t *at);

/* What was put here; the payload points into it. */
struct journal_record segment_record_put(const uint8_t *at);

/* Adds the checksums of a record that was put and will be at offset. */
void segment_seal(uint8_t *at, uint64_t seed, uint64_t offset);

/* Whether the SEGMENT_HEAD_BYTES here begin a record that was sealed for this
 * offset: if not, their length means nothing. */
bool segment_head_is_intact(const uint8_t *at, uint64_t seed, uint64_t offset);

/* Whether all of a record with an intact head is as it was sealed. */
bool segment_is_intact(const uint8_t *at, uint64_t seed, uint64_t offset);

/* Reads a segment through a window; the caller keeps the handle open. */
struct segment_reader {
    struct disk disk;
    int handle;
    uint64_t seed;
    uint64_t size; /* of the file */
    uint8_t *window;
    size_t cap;
    uint64_t start; /* the window's place in the file */
    size_t len;
};

/*   DLHT_EIO */
MUST_USE int segment_reader_init(struct segment_reader *reader,
                                 struct disk disk, int handle, uint64_t seed);
void segment_reader_deinit(struct segment_reader *reader);

/* Reads the record at offset if one stands there intact and ends by limit;
 * its payload is valid until the next call on the reader.
 *   DLHT_EIO, DLHT_ENOMEM */
MUST_USE int segment_read(struct segment_reader *reader, uint64_t offset,
                          uint64_t limit, struct journal_record *record,
                          bool *intact);

/* Greatest synced mark that an intact batch head anywhere in the file names.
 *   DLHT_EIO, DLHT_ENOMEM */
MUST_USE int segment_mark(struct segment_reader *reader, uint64_t *mark);

/* End of the last byte that is not zero, from offset on; offset if none.
 *   DLHT_EIO, DLHT_ENOMEM */
MUST_USE int segment_written_end(struct segment_reader *reader, uint64_t offset,
                                 uint64_t *end);

typedef int (*segment_fn)(void *context, const struct journal_record *record,
                          uint64_t offset);

/* A walk over all records. Below proven_end a bad one is corruption and the
 * walk goes on with the next intact one. Between proven_end and limit the
 * first batch that is not whole is the end: a batch counts whole or not at
 * all, so that a torn repetition (journal_trim) does not reorder. */
struct segment_walk {
    uint64_t proven_end;
    uint64_t limit;
    /* Results. */
    uint64_t end;    /* of what counts */
    uint64_t oldest; /* greatest that a batch's head names; 0: no batch */
    bool corrupt;
    uint64_t corrupt_offset; /* of the first bad record */
    uint64_t batch_end;      /* the walk's own: of the batch it is in */
};

/* fn is called for each record but the heads of batches; NULL is allowed.
 *   DLHT_EIO, DLHT_ENOMEM, or what fn returned */
MUST_USE int segment_walk(struct segment_reader *reader,
                          struct segment_walk *walk, segment_fn fn,
                          void *context);

#endif
