/* SPDX-License-Identifier: Apache-2.0 */

/* The entries one replica holds in memory. */

#include "replica/raft_log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"

enum {
    CAP_MIN = 16,
    CHUNK_MIN = 512, /* of a log that holds little; the next are twice that */
    CHUNK_MAX = 4096,
    CHUNK_ALIGN = _Alignof(struct raft_members)
};

struct raft_chunk {
    size_t used, cap; /* of bytes */
    size_t live;      /* entries that have theirs here */
    _Alignas(CHUNK_ALIGN) uint8_t bytes[];
};

void raft_log_init(struct raft_log *log, uint64_t index, uint64_t term)
{
    memset(log, 0, sizeof *log);
    log->base_index = index;
    log->base_term = term;
}

static void release(struct raft_log *log, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        struct raft_chunk *chunk = log->places[i].chunk;
        if (!chunk || --chunk->live > 0)
            continue;
        if (chunk == log->open)
            chunk->used = 0;
        else
            free(chunk);
    }
}

/* What is not needed while nothing is held. */
static void close_chunk(struct raft_log *log)
{
    if (log->open && log->open->live == 0)
        free(log->open);
    log->open = NULL;
}

/* Room for an entry's bytes; of a large entry, in a chunk of its own. */
static struct raft_chunk *chunk_for(struct raft_log *log, size_t len)
{
    struct raft_chunk *open = log->open;
    if (open && open->cap - open->used >= len)
        return open;
    bool own = len > CHUNK_MAX / 4;
    size_t cap = own ? len : open ? open->cap * 2 : CHUNK_MIN;
    while (!own && cap < 2 * len)
        cap *= 2;
    if (!own && cap > CHUNK_MAX)
        cap = CHUNK_MAX;
    struct raft_chunk *chunk = mem_array(sizeof *chunk + cap, 1);
    if (!chunk)
        return NULL;
    *chunk = (struct raft_chunk){ .cap = cap };
    if (own)
        return chunk;
    close_chunk(log);
    log->open = chunk;
    return chunk;
}

void raft_log_deinit(struct raft_log *log)
{
    release(log, log->start, log->start + log->count);
    close_chunk(log);
    free(log->entries);
    free(log->places);
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
    return log->places[slot_of(log, index)].end;
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
    struct raft_place *places = mem_array(cap, sizeof *places);
    if (!entries || !places) {
        free(entries);
        free(places);
        return DLHT_ENOMEM;
    }
    if (log->count > 0) {
        memcpy(entries, log->entries + log->start,
               log->count * sizeof *entries);
        memcpy(places, log->places + log->start, log->count * sizeof *places);
    }
    free(log->entries);
    free(log->places);
    log->entries = entries;
    log->places = places;
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
        memmove(log->places, log->places + log->start,
                log->count * sizeof *log->places);
        log->start = 0;
        return DLHT_OK;
    }
    size_t cap = need + need / 2;
    return move_to(log, cap < CAP_MIN ? CAP_MIN : cap);
}

/* Copies one entry into a free slot; its members first: they are aligned. */
static int copy_entry(struct raft_log *log, size_t slot,
                      const struct raft_entry *entry)
{
    struct raft_entry *copy = &log->entries[slot];
    bool named = entry->type == RAFT_ENTRY_MEMBERS;
    size_t members = named ? sizeof *entry->members : 0;
    size_t len = (members + entry->data.len + CHUNK_ALIGN - 1) &
                 ~(size_t)(CHUNK_ALIGN - 1);
    *copy = *entry;
    copy->members = NULL;
    copy->data = span_empty();
    log->places[slot].chunk = NULL;
    if (len == 0)
        return DLHT_OK;
    struct raft_chunk *chunk = chunk_for(log, len);
    if (!chunk)
        return DLHT_ENOMEM;
    uint8_t *at = chunk->bytes + chunk->used;
    chunk->used += len;
    chunk->live++;
    log->places[slot].chunk = chunk;
    if (named)
        copy->members = memcpy(at, entry->members, members);
    if (entry->data.len > 0)
        copy->data =
            span_of(memcpy(at + members, entry->data.data, entry->data.len),
                    entry->data.len);
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
        rc = copy_entry(log, staged + i, &entries[i]);
        if (rc != DLHT_OK) {
            release(log, staged, staged + i);
            return rc;
        }
    }
    size_t keep = (size_t)(from - log->base_index - 1);
    size_t at = log->start + keep;
    release(log, at, staged);
    if (at != staged) {
        memmove(log->entries + at, log->entries + staged,
                count * sizeof *log->entries);
        memmove(log->places + at, log->places + staged,
                count * sizeof *log->places);
    }
    uint64_t end = keep > 0 ? log->places[at - 1].end : log->base_end;
    for (size_t i = 0; i < count; i++) {
        assert(log->entries[at + i].index == from + i);
        end += log->entries[at + i].data.len + RAFT_LOG_ENTRY_BYTES;
        log->places[at + i].end = end;
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
    if (log->count == 0)
        close_chunk(log);
    /* Thousands of logs that were long once must not keep their arrays; if
     * there is no memory for smaller ones, the big ones stay. */
    if (log->cap > (size_t)4 * CAP_MIN && log->count < log->cap / 8)
        (void)!move_to(log, log->count * 2 + CAP_MIN);
}

void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term)
{
    release(log, log->start, log->start + log->count);
    close_chunk(log);
    log->base_end = end_of(log, raft_log_last(log));
    log->start = 0;
    log->count = 0;
    log->base_index = index;
    log->base_term = term;
}
