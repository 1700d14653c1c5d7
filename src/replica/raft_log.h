/* SPDX-License-Identifier: Apache-2.0 */

/* replica/raft_log.h - the entries one replica holds in memory.
 *
 * One array with a moving front: an entry is found in one step and any run of
 * entries is contiguous. What was compacted is known by the index and term of
 * its last entry, the base. Entry bytes are owned here and never move; those of
 * entries that follow each other share chunks, which go when the last of their
 * entries does. The array itself may move with every call that adds. */

#ifndef REPLICA_RAFT_LOG_H
#define REPLICA_RAFT_LOG_H

#include "replica/raft.h"

enum {
    RAFT_LOG_ENTRY_BYTES = 64 /* what an entry is counted for beside its data */
};

struct raft_chunk;

/* Beside each entry. */
struct raft_place {
    uint64_t end; /* bytes counted from the beginning of time up to and
                   * including it */
    struct raft_chunk *chunk; /* with its data and members; NULL: none */
};

struct raft_log {
    struct raft_entry *entries;
    struct raft_place *places;
    struct raft_chunk *open; /* where the next bytes go; NULL: none yet */
    size_t start;
    size_t count;
    size_t cap;
    uint64_t base_index;
    uint64_t base_term;
    uint64_t base_end;
};

void raft_log_init(struct raft_log *log, uint64_t index, uint64_t term);
void raft_log_deinit(struct raft_log *log);

static inline uint64_t raft_log_last(const struct raft_log *log)
{
    return log->base_index + log->count;
}

/* NULL: compacted or beyond the end. */
struct raft_entry *raft_log_at(const struct raft_log *log, uint64_t index);

/* Of an entry held, or of the base; 0: not known. */
uint64_t raft_log_term(const struct raft_log *log, uint64_t index);

/* Bytes of the entries in (from, to]; both are clamped to what is held. */
size_t raft_log_bytes_between(const struct raft_log *log, uint64_t from,
                              uint64_t to);

/* The greatest index <= index whose term is known and <= term, or the base. */
uint64_t raft_log_find_term(const struct raft_log *log, uint64_t index,
                            uint64_t term);

/* Removes all entries with index >= from and appends copies of count entries,
 * the first of which has index from. base < from <= last + 1.
 *   DLHT_ENOMEM  nothing changed */
MUST_USE int raft_log_replace(struct raft_log *log, uint64_t from,
                              const struct raft_entry *entries, size_t count);

/* Removes all entries with index <= index, which is held. */
void raft_log_drop_front(struct raft_log *log, uint64_t index);

/* Removes everything; the log begins after index. */
void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term);

#endif
