/* SPDX-License-Identifier: Apache-2.0 */

/* store/journal.h - one log per node for all its arcs.
 *
 * Preallocated segments of records; each record has a length, a type, arc,
 * term, index and an xxh3 checksum over header and payload, seeded per
 * segment. Records are appended in batches; each batch names the offset known
 * to be synced before it. Recovery proves what it reads: a bad record below
 * the greatest such mark is corruption, above it the tail is cut.
 *
 * The journal does not know what its records mean, only that one with an index
 * is no longer needed once its arc's checkpoint covers that index. It calls
 * the disk and blocks: a world runs it on a worker thread (or at once in the
 * simulator). Not for two threads at once. Layout: docs/storage.md. */

#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/must_use.h"
#include "base/span.h"
#include "store/disk.h"

struct journal;

enum {
    JOURNAL_SEGMENT_BYTES = 64 << 20,
    JOURNAL_PAYLOAD_MAX = 33 << 20 /* a frame's largest body and its wrapping */
};

struct journal_record {
    uint8_t type; /* the node's; 0 is never used */
    arc_id arc;
    uint64_t term;
    uint64_t index;      /* 0: kept until its segment holds nothing else and a
                          * later segment repeats it (journal_trim) */
    struct span payload; /* borrowed */
};

/* Called for every intact record in the order of writing. The span is valid
 * during the call. A failure ends the recovery with that code. */
typedef int (*journal_replay_fn)(void *context,
                                 const struct journal_record *record);

struct journal_config {
    uint64_t segment_bytes; /* 0: JOURNAL_SEGMENT_BYTES */
    uint64_t seed;          /* of the segments' checksum seeds */
    /* Says to take, one by one, what a journal must also hold whose damage is
     * accepted: records with index 0. They come with the mending, so that no
     * crash leaves a journal that looks sound and lacks them. NULL: nothing. */
    int (*mended)(void *context, journal_replay_fn take, void *take_context);
    void *mended_context;
};

struct journal_report {
    uint64_t records;
    uint64_t bytes_cut; /* torn tail that was dropped */
    /* A bad record below a synced mark, or a segment unreadable or missing:
     * records after it were replayed too where they are intact. Where the
     * first one is: */
    bool corrupt;
    uint64_t corrupt_segment;
    uint64_t corrupt_offset;
};

/* Opens the journal in the disk's directory, making it if there is none, and
 * replays it. After an unclean end the tail is cut and appending goes on in a
 * new segment. If report->corrupt nothing on disk was changed and *out is
 * NULL with DLHT_ECORRUPT: call again with accept_corrupt to go on (what was
 * unreadable stays skipped; the node has by then quarantined its replicas).
 * The damaged segments are then replaced by copies of what was intact and of
 * what config->mended says, so that the next opening is clean and damage to come
 * is told from this. What was
 * replayed is durable when this returns.
 *   DLHT_ECORRUPT, DLHT_EIO, DLHT_EFULL, DLHT_ENOMEM, or what fn returned
 *   DLHT_EVERSION  written by a later version; nothing was replayed */
MUST_USE int journal_open(struct disk disk, const struct journal_config *config,
                          bool accept_corrupt, journal_replay_fn fn,
                          void *context, struct journal_report *report,
                          struct journal **out);

/* Closes without syncing; NULL is allowed. What was appended and not flushed is
 * dropped. Writes a last mark, which makes damage to the last batches of a
 * journal closed in order detectable; it may get lost. */
void journal_close(struct journal *journal);

/* Adds a record to the batch in memory.
 *   DLHT_ENOMEM   nothing is written any more: what follows would have a hole
 *                 before it
 *   DLHT_ETOOBIG */
MUST_USE int journal_append(struct journal *journal,
                            const struct journal_record *record);

/* Writes the batch to disk, and if sync is true makes it and all before it
 * durable (one data sync).
 *   DLHT_EFULL  no room: the batch is kept and nothing is lost; call again when
 *               there may be room. What is appended meanwhile joins the batch
 *   DLHT_EIO, DLHT_ENOMEM  every later call fails too: the state of the disk is
 *               unknown and must not be acknowledged */
MUST_USE int journal_flush(struct journal *journal, bool sync);

/* Before a checkpoint of an arc is begun: what was appended so far is made
 * durable, unless it is, since a checkpoint must not be ahead of the journal.
 *   as journal_flush */
MUST_USE int journal_settle(struct journal *journal);

/* Removes an arc's checkpoints, once all that was appended so far (the burial
 * of its replica) is durable: at once, or at the end of the flush that makes it
 * so. What cannot be removed is found and removed by the next start.
 *   DLHT_ENOMEM  every later call fails */
MUST_USE int journal_remove_checkpoints(struct journal *journal, arc_id arc);

/* Records of this arc with index <= given are covered by its checkpoint. Cheap;
 * see journal_trim. An index of UINT64_MAX: the arc is gone, and what has been
 * appended of it so far, index 0 included, is not needed once its older
 * records are gone too; should the arc come back, its new records count. */
void journal_release(struct journal *journal, arc_id arc, uint64_t index);

/* Removes oldest segments whose indexed records are all released. Records with
 * index 0 (votes, foundings, removals) must not be lost with them: the newest
 * one per (arc, type) of a segment that goes is first appended again to the
 * newest segment and synced, together with the arc's newest of other types, so
 * that their order stays. Without room nothing is removed.
 *   as journal_flush, DLHT_ECORRUPT */
MUST_USE int journal_trim(struct journal *journal);

struct journal_stats {
    uint64_t bytes; /* of all segments */
    uint64_t segments;
    arc_id pinning_arc; /* keeps the oldest segment alive; 0: none does */
};

void journal_stats(const struct journal *journal, struct journal_stats *out);

#endif
