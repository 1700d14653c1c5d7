/* SPDX-License-Identifier: Apache-2.0 */

/* The journal while it is open: batches, segments, syncs. */

#include "store/journal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "store/checkpoint.h"
#include "store/journal_impl.h"

enum {
    /* A larger batch buffer is given back after its flush. */
    BATCH_KEEP_BYTES = 4 << 20,
    FILE_ALIGN = 4096
};

int journal_impl_batch(struct journal *j, const struct journal_record *record)
{
    bool first = j->batch.len == 0;
    size_t head = first ? SEGMENT_HEAD_BYTES : 0;
    size_t bytes = segment_record_bytes(record->payload.len);
    int rc = buf_reserve(&j->batch, head + bytes);
    if (rc != DLHT_OK)
        return rc;
    /* The batch's head is filled in when the batch is written. */
    segment_put(j->batch.data + j->batch.len + head, record);
    j->batch.len += head + bytes;
    return DLHT_OK;
}

int journal_append(struct journal *j, const struct journal_record *record)
{
    assert(record->type != SEGMENT_BATCH);
    if (j->failed)
        return j->failed;
    if (record->payload.len > JOURNAL_PAYLOAD_MAX)
        return DLHT_ETOOBIG;
    struct arc_slot *slot = arc_table_add(&j->released, record->arc, 0);
    if (!slot)
        return j->failed = DLHT_ENOMEM;
    int rc = journal_impl_batch(j, record);
    if (rc != DLHT_OK)
        return j->failed = rc;
    /* An arc that was gone is here again: what is written of it now counts,
     * however much of its earlier life was released. */
    if (slot->value == UINT64_MAX)
        slot->value = 0;
    if (record->index != 0 && record->index <= slot->value)
        slot->value = record->index - 1;
    return DLHT_OK;
}

int journal_impl_note(struct journal *j, const struct journal_record *record,
                      uint64_t offset)
{
    struct journal_segment *segment = &j->segments[j->count - 1];
    if (record->index != 0) {
        struct arc_slot *slot = arc_table_add(&segment->arcs, record->arc, 0);
        if (!slot)
            return DLHT_ENOMEM;
        if (record->index > slot->value)
            slot->value = record->index;
        return DLHT_OK;
    }
    struct arc_slot *known = arc_table_find(&j->released, record->arc, 0);
    if (known && known->value == UINT64_MAX)
        return DLHT_OK; /* the arc is gone and this went with it */
    struct arc_slot *slot = arc_table_add(&j->zeros, record->arc, record->type);
    if (!slot)
        return DLHT_ENOMEM;
    slot->value = segment->number;
    slot->place = offset;
    return DLHT_OK;
}

uint64_t journal_impl_seed(const struct journal *j, uint64_t number)
{
    return hash64_mix(hash64_mix(0, j->config.seed), number);
}

int journal_impl_add(struct journal *j, uint64_t number, uint64_t bytes)
{
    if (j->count == j->cap) {
        size_t cap = j->cap ? j->cap * 2 : 8;
        struct journal_segment *larger =
            mem_resize(j->segments, cap, sizeof *larger);
        if (!larger)
            return DLHT_ENOMEM;
        j->segments = larger;
        j->cap = cap;
    }
    j->segments[j->count++] =
        (struct journal_segment){ .number = number, .bytes = bytes };
    return DLHT_OK;
}

/* A sync that met a full disk may have dropped what it was to write: that is
 * not mended by room. */
static int sync_code(int rc)
{
    return rc == DLHT_EFULL ? DLHT_EIO : rc;
}

/* Reserves the file and makes header, size and name durable: later a batch
 * needs a data sync only, and a header that is not whole proves that the file
 * never held a record. */
static int prepare_file(struct journal *j, int handle,
                        const struct segment_header *header)
{
    uint8_t bytes[SEGMENT_HEADER_BYTES];
    segment_pack_header(header, bytes);
    int rc = disk_allocate(j->disk, handle, header->bytes);
    if (rc == DLHT_OK)
        rc = disk_write(j->disk, handle, 0, bytes, sizeof bytes);
    if (rc == DLHT_OK)
        rc = sync_code(disk_sync(j->disk, handle));
    if (rc == DLHT_OK && DLHT_MUTANT != 33)
        rc = sync_code(disk_sync_names(j->disk));
    return rc;
}

int journal_impl_start_segment(struct journal *j, uint64_t need,
                               uint64_t number, uint64_t previous,
                               uint64_t previous_end)
{
    uint64_t bytes = SEGMENT_HEADER_BYTES + need;
    if (bytes < j->config.segment_bytes)
        bytes = j->config.segment_bytes;
    bytes = (bytes + FILE_ALIGN - 1) / FILE_ALIGN * FILE_ALIGN;
    struct segment_header header = {
        .number = number,
        .seed = journal_impl_seed(j, number),
        .bytes = bytes,
        .oldest = j->oldest,
        .previous = previous,
        .previous_end = previous_end,
    };
    char name[DISK_NAME_MAX];
    segment_name(name, number, false);
    int handle;
    int rc = journal_impl_add(j, number, bytes);
    if (rc != DLHT_OK)
        return rc;
    rc = disk_open(j->disk, name, true, &handle);
    if (rc != DLHT_OK) {
        j->count--;
        return rc;
    }
    rc = prepare_file(j, handle, &header);
    if (rc != DLHT_OK) {
        j->count--;
        disk_close(j->disk, handle);
        /* Else a full disk would stay full of it. */
        int ignored = disk_remove(j->disk, name);
        (void)ignored;
        return rc;
    }
    if (j->active >= 0)
        disk_close(j->disk, j->active);
    j->active = handle;
    j->closed = false;
    j->seed = header.seed;
    j->end = j->synced = j->marked = SEGMENT_HEADER_BYTES;
    return DLHT_OK;
}

static int sync_active(struct journal *j)
{
    if (j->synced == j->end)
        return DLHT_OK;
    int rc = sync_code(disk_sync(j->disk, j->active));
    if (rc != DLHT_OK && DLHT_MUTANT == 35)
        rc = disk_sync(j->disk, j->active);
    if (rc == DLHT_OK)
        j->synced = j->end;
    return rc;
}

/* The next segment's header says that this one is synced to its end: so only
 * the last segment ever has a tail that is in doubt. */
static int rotate(struct journal *j, uint64_t need)
{
    int rc = sync_active(j);
    if (rc != DLHT_OK)
        return rc;
    uint64_t number = j->segments[j->count - 1].number;
    return journal_impl_start_segment(j, need, number + 1, number, j->end);
}

static void put_batch_head(uint8_t *at, uint64_t mark, uint64_t oldest,
                           uint64_t bytes)
{
    struct journal_record head = {
        .type = SEGMENT_BATCH,
        .arc = mark,
        .term = oldest,
        .index = bytes,
    };
    segment_put(at, &head);
}

/* Checksums need seed and offset, known only now. */
static int seal_batch(struct journal *j)
{
    uint8_t *data = j->batch.data;
    size_t i = 0;
    while (i < j->batch.len) {
        uint64_t offset = j->end + i;
        struct journal_record record = segment_record_put(data + i);
        if (record.type != SEGMENT_BATCH) {
            int rc = journal_impl_note(j, &record, offset);
            if (rc != DLHT_OK)
                return rc;
        }
        segment_seal(data + i, j->seed, offset);
        i += segment_record_bytes(record.payload.len);
    }
    assert(i == j->batch.len);
    return DLHT_OK;
}

static void empty_batch(struct journal *j)
{
    if (j->batch.cap > BATCH_KEEP_BYTES)
        buf_deinit(&j->batch);
    buf_reset(&j->batch);
}

int journal_impl_write(struct journal *j, uint64_t oldest)
{
    struct buf *batch = &j->batch;
    if (batch->len == 0) {
        int failed = buf_reserve(batch, SEGMENT_HEAD_BYTES);
        if (failed)
            return failed;
        batch->len = SEGMENT_HEAD_BYTES;
    }
    int rc = DLHT_OK;
    if (j->closed || batch->len > j->segments[j->count - 1].bytes - j->end)
        rc = rotate(j, batch->len);
    /* A header that names this segment's end may have been written: nothing may
     * follow there. */
    j->closed = rc == DLHT_EFULL;
    if (rc == DLHT_EFULL && DLHT_MUTANT == 34)
        empty_batch(j);
    if (rc != DLHT_OK)
        return rc;
    put_batch_head(batch->data, j->synced, oldest,
                   batch->len - SEGMENT_HEAD_BYTES);
    rc = seal_batch(j);
    if (rc == DLHT_OK)
        rc = disk_write(j->disk, j->active, j->end, batch->data, batch->len);
    /* Room that was reserved and yet is missing: what part of the batch stands
     * there is left behind, as after a crash. */
    j->closed = rc == DLHT_EFULL;
    if (rc != DLHT_OK)
        return rc;
    j->end += batch->len;
    j->marked = j->synced;
    empty_batch(j);
    return DLHT_OK;
}

static void remove_waiting(struct journal *j)
{
    for (size_t i = 0; i < j->removal_count; i++) {
        int ignored = checkpoint_remove(j->disk, j->removals[i]);
        (void)ignored;
    }
    j->removal_count = 0;
}

int journal_flush(struct journal *j, bool sync)
{
    if (j->failed)
        return j->failed;
    int rc = DLHT_OK;
    if (j->batch.len)
        rc = journal_impl_write(j, j->oldest);
    if (rc == DLHT_OK && sync)
        rc = sync_active(j);
    if (rc == DLHT_OK && sync)
        remove_waiting(j);
    if (rc != DLHT_EFULL)
        j->failed = rc;
    return rc;
}

static bool is_durable(const struct journal *j)
{
    return j->batch.len == 0 && j->synced == j->end;
}

int journal_settle(struct journal *j)
{
    if (j->failed || is_durable(j))
        return j->failed;
    return journal_flush(j, true);
}

int journal_remove_checkpoints(struct journal *j, arc_id arc)
{
    if (j->failed)
        return j->failed;
    if (j->removal_count == j->removal_cap) {
        size_t cap = j->removal_cap ? j->removal_cap * 2 : 8;
        arc_id *grown = mem_resize(j->removals, cap, sizeof *grown);
        if (!grown)
            return j->failed = DLHT_ENOMEM;
        j->removals = grown;
        j->removal_cap = cap;
    }
    j->removals[j->removal_count++] = arc;
    if (is_durable(j))
        remove_waiting(j);
    return DLHT_OK;
}

/* A last mark, so that damage to the last batches of a journal that was closed
 * in order is told from a torn tail. If it gets lost, no harm is done. Where a
 * batch that is not synced tells of it already it is told again: that one may
 * lie in the very sector that is damaged. */
static void write_last_mark(struct journal *j)
{
    uint64_t room = j->segments[j->count - 1].bytes - j->end;
    if (j->failed || j->closed || (j->marked == j->synced && is_durable(j)) ||
        room < SEGMENT_HEAD_BYTES)
        return;
    uint8_t head[SEGMENT_HEAD_BYTES];
    put_batch_head(head, j->synced, j->oldest, 0);
    segment_seal(head, j->seed, j->end);
    int ignored = disk_write(j->disk, j->active, j->end, head, sizeof head);
    (void)ignored;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (j->active >= 0) {
        write_last_mark(j);
        disk_close(j->disk, j->active);
    }
    for (size_t i = 0; i < j->count; i++)
        arc_table_deinit(&j->segments[i].arcs);
    free(j->segments);
    arc_table_deinit(&j->released);
    arc_table_deinit(&j->zeros);
    buf_deinit(&j->batch);
    free(j->removals);
    free(j);
}
