/* SPDX-License-Identifier: Apache-2.0 */

/* store/journal_impl.h - the inside of the journal, shared by the files that
 * append to it (journal.c), shorten it (journal_trim.c), read it back
 * (journal_recover.c) and mend it (journal_mend.c). */

#ifndef STORE_JOURNAL_IMPL_H
#define STORE_JOURNAL_IMPL_H

#include "base/buf.h"
#include "store/arc_table.h"
#include "store/journal.h"
#include "store/segment.h"

struct journal_segment {
    uint64_t number;
    uint64_t bytes;        /* of the file */
    struct arc_table arcs; /* arc -> greatest index in here (value) */
};

struct journal {
    struct disk disk;
    struct journal_config config;

    struct journal_segment *segments; /* oldest first; the last is active */
    size_t count;
    size_t cap;

    int active;      /* handle of the active segment; -1: none */
    uint64_t seed;   /* of the active segment */
    uint64_t end;    /* where the next batch goes */
    uint64_t synced; /* all before it is durable */
    uint64_t marked; /* the mark that the last batch's head named */
    uint64_t oldest; /* number of the first segment needed */

    struct buf batch;          /* a head and records, or nothing */
    struct arc_table released; /* arc -> released index (value) */
    struct arc_table zeros;    /* (arc, type) -> segment (value), offset
                                * (place) of the newest with index 0 */
    int failed;                /* the first failure, or 0 */
    bool closed; /* the active segment takes no more: a batch found no room in
                  * it or behind it, and left nobody knows what */

    arc_id *removals; /* arcs whose checkpoints go with the next sync */
    size_t removal_count;
    size_t removal_cap;
};

/* Adds a segment to the list, not to the disk. DLHT_ENOMEM */
MUST_USE int journal_impl_add(struct journal *journal, uint64_t number,
                              uint64_t bytes);

/* Remembers what is in the last listed segment. DLHT_ENOMEM */
MUST_USE int journal_impl_note(struct journal *journal,
                               const struct journal_record *record,
                               uint64_t offset);

/* Makes a durable new active segment with room for need bytes of batch, after
 * previous (0: none), which is synced and ends at previous_end. */
MUST_USE int journal_impl_start_segment(struct journal *journal, uint64_t need,
                                        uint64_t number, uint64_t previous,
                                        uint64_t previous_end);

/* Writes the batch, which may be just a head; it says that oldest is the first
 * segment needed. Keeps no note of failure. */
MUST_USE int journal_impl_write(struct journal *journal, uint64_t oldest);

/* Begins the batch if it is empty and adds a record. DLHT_ENOMEM */
MUST_USE int journal_impl_batch(struct journal *journal,
                                const struct journal_record *record);

/* A new segment's checksum seed. */
uint64_t journal_impl_seed(const struct journal *journal, uint64_t number);

/* Writes a copy of a damaged segment that holds its intact records and those
 * that config->mended says, and puts it in the segment's place. walk says what was to be there; header is
 * the copy's, but for sealed_end and bytes. */
MUST_USE int journal_impl_mend(struct disk disk,
                               const struct journal_config *config,
                               const struct segment_header *damaged,
                               const struct segment_walk *walk,
                               struct segment_header *header);

#endif
