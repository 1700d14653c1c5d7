/* SPDX-License-Identifier: Apache-2.0 */

/* The entries one replica holds in memory. */

#include "replica/raft_log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"

enum {
    CAP_MIN = 16
};

void raft_log_init(struct raft_log *log, uint64_t index, uint64_t term)
{
    memset(log, 0, sizeof *log);
    log->base_index = index;
    log->base_term = term;
}

static void release(struct raft_log *log, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        free((void *)(uintptr_t)log->entries[i].data.data);
}

void raft_log_deinit(struct raft_log *log)
{
    release(log, log->start, log->start + log->count);
    free(log->entries);
    free(log->ends);
    raft_log_init(log, 0, 0);
}

static size_t slot_of(const struct raft_log *log, uint64_t index)
{
    return log->start + (size_t)(index - log->base_index - 1);
}

struct raft_entry *raft_log_at(const struct raft_log *log, uint64_t index)
{
    if (index <= log->base_index || index > raft_log_last(log))
        return NULL;
    return &log->entries[slot_of(log, index)];
}

uint64_t raft_log_term(const struct raft_log *log, uint64_t index)
{
    if (index == log->base_index)
        return log->base_term;
    const struct raft_entry *entry = raft_log_at(log, index);
    return entry ? entry->term : 0;
}

static uint64_t end_of(const struct raft_log *log, uint64_t index)
{
    if (index > raft_log_last(log))
        index = raft_log_last(log);
    if (index <= log->base_index)
        return log->base_end;
    return log->ends[slot_of(log, index)];
}

size_t raft_log_bytes_between(const struct raft_log *log, uint64_t from,
                              uint64_t to)
{
    if (to <= from)
        return 0;
    return (size_t)(end_of(log, to) - end_of(log, from));
}

uint64_t raft_log_find_term(const struct raft_log *log, uint64_t index,
                            uint64_t term)
{
    if (index > raft_log_last(log))
        index = raft_log_last(log);
    while (index > log->base_index && raft_log_term(log, index) > term)
        index--;
    return index;
}

/* Moves the held entries to the front of arrays of cap slots. */
static int move_to(struct raft_log *log, size_t cap)
{
    assert(cap >= log->count);
    struct raft_entry *entries = mem_array(cap, sizeof *entries);
    uint64_t *ends = mem_array(cap, sizeof *ends);
    if (!entries || !ends) {
        free(entries);
        free(ends);
        return DLHT_ENOMEM;
    }
    if (log->count > 0) {
        memcpy(entries, log->entries + log->start,
               log->count * sizeof *entries);
        memcpy(ends, log->ends + log->start, log->count * sizeof *ends);
    }
    free(log->entries);
    free(log->ends);
    log->entries = entries;
    log->ends = ends;
    log->start = 0;
    log->cap = cap;
    return DLHT_OK;
}

static int reserve(struct raft_log *log, size_t extra)
{
    size_t need = log->count + extra;
    if (log->start + need <= log->cap)
        return DLHT_OK;
    if (need <= log->cap && log->start >= log->count) {
        memmove(log->entries, log->entries + log->start,
                log->count * sizeof *log->entries);
        memmove(log->ends, log->ends + log->start,
                log->count * sizeof *log->ends);
        log->start = 0;
        return DLHT_OK;
    }
    size_t cap = need + need / 2;
    return move_to(log, cap < CAP_MIN ? CAP_MIN : cap);
}

/* Copies one entry into a free slot. */
static int copy_entry(struct raft_entry *slot, const struct raft_entry *entry)
{
    uint8_t *data = NULL;
    if (entry->data.len > 0) {
        data = mem_array(entry->data.len, 1);
        if (!data)
            return DLHT_ENOMEM;
        memcpy(data, entry->data.data, entry->data.len);
    }
    slot->term = entry->term;
    slot->index = entry->index;
    slot->type = entry->type;
    slot->data = span_of(data, entry->data.len);
    if (entry->type == RAFT_ENTRY_MEMBERS)
        slot->members = entry->members;
    else
        memset(&slot->members, 0, sizeof slot->members);
    return DLHT_OK;
}

int raft_log_replace(struct raft_log *log, uint64_t from,
                     const struct raft_entry *entries, size_t count)
{
    assert(from > log->base_index && from <= raft_log_last(log) + 1);
    int rc = reserve(log, count);
    if (rc != DLHT_OK)
        return rc;
    /* Copies wait behind what is held until nothing can fail any more. */
    size_t staged = log->start + log->count;
    for (size_t i = 0; i < count; i++) {
        rc = copy_entry(&log->entries[staged + i], &entries[i]);
        if (rc != DLHT_OK) {
            release(log, staged, staged + i);
            return rc;
        }
    }
    size_t keep = (size_t)(from - log->base_index - 1);
    size_t at = log->start + keep;
    release(log, at, staged);
    if (at != staged)
        memmove(log->entries + at, log->entries + staged,
                count * sizeof *log->entries);
    uint64_t end = keep > 0 ? log->ends[at - 1] : log->base_end;
    for (size_t i = 0; i < count; i++) {
        assert(log->entries[at + i].index == from + i);
        end += log->entries[at + i].data.len + RAFT_LOG_ENTRY_BYTES;
        log->ends[at + i] = end;
    }
    log->count = keep + count;
    return DLHT_OK;
}

void raft_log_drop_front(struct raft_log *log, uint64_t index)
{
    if (index <= log->base_index)
        return;
    assert(index <= raft_log_last(log));
    size_t count = (size_t)(index - log->base_index);
    uint64_t term = raft_log_term(log, index), end = end_of(log, index);
    release(log, log->start, log->start + count);
    log->start += count;
    log->count -= count;
    log->base_index = index;
    log->base_term = term;
    log->base_end = end;
    /* Thousands of logs that were long once must not keep their arrays; if
     * there is no memory for smaller ones, the big ones stay. */
    if (log->cap > (size_t)4 * CAP_MIN && log->count < log->cap / 8)
        (void)!move_to(log, log->count * 2 + CAP_MIN);
}

void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term)
{
    release(log, log->start, log->start + log->count);
    log->base_end = end_of(log, raft_log_last(log));
    log->start = 0;
    log->count = 0;
    log->base_index = index;
    log->base_term = term;
}
