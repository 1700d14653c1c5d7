/* SPDX-License-Identifier: Apache-2.0 */

/* Reading a segment back: windows, single records, walks over all. */

#include "store/segment.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "dlht/err.h"
#include "store/le.h"

enum {
    WINDOW_BYTES = 256 << 10
};

int segment_reader_init(struct segment_reader *reader, struct disk disk,
                        int handle, uint64_t seed)
{
    *reader = (struct segment_reader){
        .disk = disk,
        .handle = handle,
        .seed = seed,
    };
    return disk_size(disk, handle, &reader->size);
}

void segment_reader_deinit(struct segment_reader *reader)
{
    free(reader->window);
    reader->window = NULL;
}

/* Points *at at len bytes of the file, which must lie inside it. */
static int bytes_at(struct segment_reader *reader, uint64_t offset, size_t len,
                    const uint8_t **at)
{
    assert(offset <= reader->size && len <= reader->size - offset);
    if (offset >= reader->start && offset - reader->start <= reader->len &&
        len <= reader->len - (size_t)(offset - reader->start)) {
        *at = reader->window + (offset - reader->start);
        return DLHT_OK;
    }
    size_t want = len > WINDOW_BYTES ? len : WINDOW_BYTES;
    if (want > reader->size - offset)
        want = (size_t)(reader->size - offset);
    if (want > reader->cap) {
        uint8_t *larger = realloc(reader->window, want);
        if (!larger)
            return DLHT_ENOMEM;
        reader->window = larger;
        reader->cap = want;
    }
    reader->len = 0;
    int rc =
        disk_read(reader->disk, reader->handle, offset, reader->window, want);
    if (rc != DLHT_OK)
        return rc;
    reader->start = offset;
    reader->len = want;
    *at = reader->window;
    return DLHT_OK;
}

/* A batch's head says things that later steps rely on. */
static bool batch_is_sane(const struct journal_record *record, uint64_t offset,
                          uint64_t size)
{
    uint64_t mark = record->arc;
    uint64_t room = size - offset - SEGMENT_HEAD_BYTES;
    return record->payload.len == 0 && mark >= SEGMENT_HEADER_BYTES &&
           mark <= offset && mark % SEGMENT_ALIGN == 0 &&
           record->index % SEGMENT_ALIGN == 0 && record->index <= room;
}

int segment_read(struct segment_reader *reader, uint64_t offset, uint64_t limit,
                 struct journal_record *record, bool *intact)
{
    *intact = false;
    assert(limit <= reader->size && offset % SEGMENT_ALIGN == 0);
    if (offset >= limit || limit - offset < SEGMENT_HEAD_BYTES)
        return DLHT_OK;
    const uint8_t *at;
    int rc = bytes_at(reader, offset, SEGMENT_HEAD_BYTES, &at);
    if (rc != DLHT_OK)
        return rc;
    if (!segment_head_is_intact(at, reader->seed, offset))
        return DLHT_OK;
    size_t bytes = segment_bytes_put(at);
    if (bytes > limit - offset)
        return DLHT_OK;
    rc = bytes_at(reader, offset, bytes, &at);
    if (rc != DLHT_OK)
        return rc;
    if (!segment_is_intact(at, reader->seed, offset) && DLHT_MUTANT != 27)
        return DLHT_OK;
    *record = segment_record_put(at);
    *intact = record->type != SEGMENT_BATCH ||
              batch_is_sane(record, offset, reader->size);
    return DLHT_OK;
}

/* The next place from offset on, before limit, where an intact record stands;
 * limit if there is none. */
static int find_next(struct segment_reader *reader, uint64_t offset,
                     uint64_t limit, uint64_t *found)
{
    *found = limit;
    while (offset < limit && limit - offset >= SEGMENT_HEAD_BYTES) {
        uint64_t left = limit - offset;
        size_t n = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        const uint8_t *at;
        int rc = bytes_at(reader, offset, n, &at);
        if (rc != DLHT_OK)
            return rc;
        size_t i = 0;
        while (i + SEGMENT_HEAD_BYTES <= n &&
               !segment_head_is_intact(at + i, reader->seed, offset + i))
            i += SEGMENT_ALIGN;
        offset += i;
        if (i + SEGMENT_HEAD_BYTES > n)
            continue;
        struct journal_record record;
        bool intact;
        rc = segment_read(reader, offset, limit, &record, &intact);
        if (rc != DLHT_OK)
            return rc;
        if (intact) {
            *found = offset;
            return DLHT_OK;
        }
        offset += SEGMENT_ALIGN;
    }
    return DLHT_OK;
}

int segment_mark(struct segment_reader *reader, uint64_t *mark)
{
    *mark = SEGMENT_HEADER_BYTES;
    uint64_t offset = SEGMENT_HEADER_BYTES;
    while (offset < reader->size) {
        struct journal_record record;
        bool intact;
        int rc = segment_read(reader, offset, reader->size, &record, &intact);
        if (rc == DLHT_OK && !intact)
            rc = find_next(reader, offset + SEGMENT_ALIGN, reader->size,
                           &offset);
        if (rc != DLHT_OK)
            return rc;
        if (!intact)
            continue;
        if (record.type == SEGMENT_BATCH && record.arc > *mark)
            *mark = record.arc;
        offset += segment_record_bytes(record.payload.len);
    }
    return DLHT_OK;
}

int segment_written_end(struct segment_reader *reader, uint64_t offset,
                        uint64_t *end)
{
    *end = offset;
    while (offset < reader->size) {
        uint64_t left = reader->size - offset;
        size_t n = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        const uint8_t *at;
        int rc = bytes_at(reader, offset, n, &at);
        if (rc != DLHT_OK)
            return rc;
        size_t last = n;
        /* Mostly all are zero: compare the run with itself, one byte on. */
        if (at[0] == 0 && memcmp(at, at + 1, n - 1) == 0)
            last = 0;
        while (last > 0 && at[last - 1] == 0)
            last--;
        if (last)
            *end = offset + last;
        offset += n;
    }
    return DLHT_OK;
}

/* Takes in the record at walk->end. */
static int take(struct segment_walk *walk, const struct journal_record *record,
                segment_fn fn, void *context)
{
    uint64_t bytes = segment_record_bytes(record->payload.len);
    if (record->type == SEGMENT_BATCH) {
        walk->batch_end = walk->end + bytes + record->index;
        if (record->term > walk->oldest)
            walk->oldest = record->term;
    } else if (fn) {
        int rc = fn(context, record, walk->end);
        if (rc != DLHT_OK)
            return rc;
    }
    walk->end += bytes;
    return DLHT_OK;
}

/* Goes on after a bad record that should be there. */
static int skip_damage(struct segment_reader *reader, struct segment_walk *walk)
{
    if (!walk->corrupt)
        walk->corrupt_offset = walk->end;
    walk->corrupt = true;
    return find_next(reader, walk->end + SEGMENT_ALIGN, walk->proven_end,
                     &walk->end);
}

/* Whether a batch stands at offset and all of it is intact; *end is where it
 * ends by its head, or offset if not even that is intact. */
static int check_batch(struct segment_reader *reader, uint64_t offset,
                       uint64_t limit, uint64_t *end, bool *whole)
{
    struct journal_record record;
    *end = offset;
    int rc = segment_read(reader, offset, limit, &record, whole);
    if (rc != DLHT_OK || !*whole)
        return rc;
    *whole = record.type == SEGMENT_BATCH;
    offset += SEGMENT_HEAD_BYTES;
    if (*whole)
        *end = offset + record.index;
    while (*whole && offset < *end) {
        rc = segment_read(reader, offset, *end, &record, whole);
        if (rc != DLHT_OK)
            return rc;
        if (*whole)
            offset += segment_record_bytes(record.payload.len);
    }
    return DLHT_OK;
}

/* One step in the tail, where a batch counts whole or not at all. */
static int enter_tail(struct segment_reader *reader, struct segment_walk *walk,
                      bool *whole)
{
    *whole = true;
    if (walk->end < walk->batch_end)
        return DLHT_OK;
    return check_batch(reader, walk->end, walk->limit, &walk->batch_end, whole);
}

int segment_walk(struct segment_reader *reader, struct segment_walk *walk,
                 segment_fn fn, void *context)
{
    assert(walk->proven_end <= walk->limit && walk->limit <= reader->size);
    walk->end = walk->batch_end = SEGMENT_HEADER_BYTES;
    walk->oldest = 0;
    walk->corrupt = false;
    while (walk->end < walk->limit) {
        bool proven = walk->end < walk->proven_end;
        uint64_t limit = proven ? walk->proven_end : walk->limit;
        struct journal_record record;
        bool intact = true;
        int rc = proven ? DLHT_OK : enter_tail(reader, walk, &intact);
        if (rc == DLHT_OK && !intact)
            return DLHT_OK;
        if (rc == DLHT_OK)
            rc = segment_read(reader, walk->end, limit, &record, &intact);
        if (rc == DLHT_OK && intact)
            rc = take(walk, &record, fn, context);
        else if (rc == DLHT_OK && proven)
            rc = skip_damage(reader, walk);
        else if (rc == DLHT_OK)
            rc = DLHT_EIO; /* it was intact a moment ago */
        if (rc != DLHT_OK)
            return rc;
    }
    return DLHT_OK;
}
