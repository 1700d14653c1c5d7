/* SPDX-License-Identifier: Apache-2.0 */

/* Mending a damaged segment: once the damage has been accepted, a copy of the
 * intact records takes the segment's place, so that later damage is told from
 * this. What was decided on account of the damage is in that copy, too. */

#include <stdlib.h>

#include "dlht/err.h"
#include "store/journal_impl.h"

enum {
    BATCH_BYTES = 1 << 20
};

struct copy {
    struct disk disk;
    int handle;
    uint64_t seed;
    uint64_t end;
    struct buf batch; /* room for a head, then records */
};

static int write_batch(struct copy *copy)
{
    struct buf *batch = &copy->batch;
    if (batch->len == 0)
        return DLHT_OK;
    /* The mark says nothing: a copy is wholly synced, or is no copy. */
    struct journal_record head = {
        .type = SEGMENT_BATCH,
        .arc = SEGMENT_HEADER_BYTES,
        .index = batch->len - SEGMENT_HEAD_BYTES,
    };
    segment_put(batch->data, &head);
    for (size_t i = 0; i < batch->len; i += segment_bytes_put(batch->data + i))
        segment_seal(batch->data + i, copy->seed, copy->end + i);
    int rc = disk_write(copy->disk, copy->handle, copy->end, batch->data,
                        batch->len);
    copy->end += batch->len;
    buf_reset(batch);
    return rc;
}

static int copy_record(void *context, const struct journal_record *record,
                       uint64_t offset)
{
    struct copy *copy = context;
    struct buf *batch = &copy->batch;
    (void)offset;
    size_t bytes = segment_record_bytes(record->payload.len);
    if (batch->len && batch->len + bytes > BATCH_BYTES) {
        int rc = write_batch(copy);
        if (rc != DLHT_OK)
            return rc;
    }
    size_t head = batch->len ? 0 : SEGMENT_HEAD_BYTES;
    int rc = buf_reserve(batch, head + bytes);
    if (rc != DLHT_OK)
        return rc;
    segment_put(batch->data + batch->len + head, record);
    batch->len += head + bytes;
    return DLHT_OK;
}

static int add_record(void *context, const struct journal_record *record)
{
    return copy_record(context, record, 0);
}

static int copy_records(struct copy *copy, const struct segment_header *damaged,
                        const struct segment_walk *walk)
{
    char name[DISK_NAME_MAX];
    segment_name(name, damaged->number, false);
    int handle;
    int rc = disk_open(copy->disk, name, false, &handle);
    if (rc != DLHT_OK)
        return rc;
    struct segment_reader reader;
    rc = segment_reader_init(&reader, copy->disk, handle, damaged->seed);
    if (rc == DLHT_OK) {
        struct segment_walk again = *walk;
        rc = segment_walk(&reader, &again, copy_record, copy);
        segment_reader_deinit(&reader);
    }
    disk_close(copy->disk, handle);
    return rc;
}

/* The header comes last: only now is it known where the copy ends. */
static int finish_copy(struct copy *copy, struct segment_header *header)
{
    header->bytes = copy->end;
    header->sealed_end = copy->end;
    uint8_t bytes[SEGMENT_HEADER_BYTES];
    segment_pack_header(header, bytes);
    int rc = disk_write(copy->disk, copy->handle, 0, bytes, sizeof bytes);
    if (rc == DLHT_OK)
        rc = disk_sync(copy->disk, copy->handle);
    return rc;
}

int journal_impl_mend(struct disk disk, const struct journal_config *config,
                      const struct segment_header *damaged,
                      const struct segment_walk *walk,
                      struct segment_header *header)
{
    char name[DISK_NAME_MAX];
    char aside[DISK_NAME_MAX];
    segment_name(name, header->number, false);
    segment_name(aside, header->number, true);
    struct copy copy = { .disk = disk,
                         .seed = header->seed,
                         .end = SEGMENT_HEADER_BYTES };
    int rc = disk_open(disk, aside, true, &copy.handle);
    if (rc != DLHT_OK)
        return rc;
    rc = copy_records(&copy, damaged, walk);
    if (rc == DLHT_OK && config->mended)
        rc = config->mended(config->mended_context, add_record, &copy);
    if (rc == DLHT_OK)
        rc = write_batch(&copy);
    if (rc == DLHT_OK)
        rc = finish_copy(&copy, header);
    buf_deinit(&copy.batch);
    disk_close(disk, copy.handle);
    if (rc == DLHT_OK)
        rc = disk_rename(disk, aside, name);
    if (rc == DLHT_OK)
        rc = disk_sync_names(disk);
    return rc;
}
