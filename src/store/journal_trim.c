/* SPDX-License-Identifier: Apache-2.0 */

/* Shortening the journal: what is released, which segments may go, and what
 * of them must be written again first. */

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "dlht/err.h"
#include "store/journal_impl.h"

void journal_release(struct journal *j, arc_id arc, uint64_t index)
{
    struct arc_slot *slot = arc_table_find(&j->released, arc, 0);
    if (!slot)
        return; /* the journal has no record of it */
    if (index > slot->value)
        slot->value = index;
    if (index != UINT64_MAX)
        return;
    /* The arc is gone. Should it come back, its new records count and those
     * of its earlier life do not. */
    for (size_t i = 0; i < j->count; i++)
        arc_table_remove(&j->segments[i].arcs, arc, 0);
    for (int type = 1; type <= UINT8_MAX; type++)
        arc_table_remove(&j->zeros, arc, (uint8_t)type);
}

static bool is_pinned_by(const struct journal *j, const struct arc_slot *slot)
{
    if (!slot->used)
        return false;
    const struct arc_slot *known = arc_table_find(&j->released, slot->arc, 0);
    return !known || slot->value > known->value;
}

static bool is_pinned(const struct journal *j,
                      const struct journal_segment *segment)
{
    for (size_t i = 0; i < segment->arcs.cap; i++)
        if (is_pinned_by(j, &segment->arcs.slots[i]))
            return true;
    return false;
}

/* How many of the oldest segments may go; the active one stays. */
static size_t count_going(const struct journal *j)
{
    size_t n = 0;
    while (n + 1 < j->count && !is_pinned(j, &j->segments[n]))
        n++;
    return n;
}

static int compare_places(const void *a, const void *b)
{
    const struct arc_slot *x = a;
    const struct arc_slot *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

/* The arcs of which a newest record with index 0 is before segment kept. */
static int find_losers(const struct journal *j, uint64_t kept,
                       struct arc_table *losers)
{
    for (size_t i = 0; i < j->zeros.cap; i++) {
        const struct arc_slot *slot = &j->zeros.slots[i];
        if (slot->used && slot->value < kept &&
            !arc_table_add(losers, slot->arc, 0))
            return DLHT_ENOMEM;
    }
    return DLHT_OK;
}

/* Lists, in the order of writing, the newest records with index 0 of every arc
 * that would lose one. All of them, since to repeat one alone would move it
 * behind the arc's others. */
static int list_repeats(const struct journal *j, uint64_t kept,
                        struct arc_slot **out, size_t *count)
{
    *count = 0;
    *out = mem_array(j->zeros.count, sizeof **out);
    struct arc_table losers = { 0 };
    int rc = *out ? find_losers(j, kept, &losers) : DLHT_ENOMEM;
    for (size_t i = 0; i < j->zeros.cap && rc == DLHT_OK; i++) {
        const struct arc_slot *slot = &j->zeros.slots[i];
        if (slot->used && arc_table_find(&losers, slot->arc, 0))
            (*out)[(*count)++] = *slot;
    }
    if (*count)
        qsort(*out, *count, sizeof **out, compare_places);
    arc_table_deinit(&losers);
    return rc;
}

/* Appends count records of one segment again. */
static int repeat_from(struct journal *j, uint64_t number,
                       const struct arc_slot *slots, size_t count)
{
    char name[DISK_NAME_MAX];
    segment_name(name, number, false);
    int handle;
    int rc = disk_open(j->disk, name, false, &handle);
    if (rc != DLHT_OK)
        return rc;
    uint8_t bytes[SEGMENT_HEADER_BYTES];
    struct segment_header header;
    struct segment_reader reader;
    rc = disk_read(j->disk, handle, 0, bytes, sizeof bytes);
    if (rc == DLHT_OK)
        rc = segment_unpack_header(bytes, number, &header);
    if (rc == DLHT_OK)
        rc = segment_reader_init(&reader, j->disk, handle, header.seed);
    if (rc != DLHT_OK) {
        disk_close(j->disk, handle);
        return rc;
    }
    for (size_t i = 0; i < count && rc == DLHT_OK; i++) {
        struct journal_record record;
        bool intact;
        rc = segment_read(&reader, slots[i].place, reader.size, &record,
                          &intact);
        if (rc == DLHT_OK && !intact)
            rc = DLHT_ECORRUPT;
        if (rc == DLHT_OK)
            rc = journal_impl_batch(j, &record);
    }
    segment_reader_deinit(&reader);
    disk_close(j->disk, handle);
    return rc;
}

static int repeat_zeros(struct journal *j, uint64_t kept)
{
    struct arc_slot *slots;
    size_t count;
    int rc = list_repeats(j, kept, &slots, &count);
    size_t i = 0;
    while (i < count && rc == DLHT_OK) {
        size_t n = 1;
        while (i + n < count && slots[i + n].value == slots[i].value)
            n++;
        rc = repeat_from(j, slots[i].value, slots + i, n);
        i += n;
    }
    free(slots);
    return rc;
}

static int remove_oldest(struct journal *j, size_t going)
{
    for (size_t i = 0; i < going; i++) {
        char name[DISK_NAME_MAX];
        segment_name(name, j->segments[i].number, false);
        int rc = disk_remove(j->disk, name);
        if (rc != DLHT_OK && rc != DLHT_ENOTFOUND)
            return rc;
    }
    for (size_t i = 0; i < going; i++)
        arc_table_deinit(&j->segments[i].arcs);
    for (size_t i = going; i < j->count; i++)
        j->segments[i - going] = j->segments[i];
    j->count -= going;
    return disk_sync_names(j->disk);
}

static int trim(struct journal *j, size_t going)
{
    uint64_t kept = j->segments[going].number;
    /* What is pending first: of that, nothing older is to be repeated. */
    int rc = j->batch.len ? journal_impl_write(j, j->oldest) : DLHT_OK;
    if (rc == DLHT_OK && DLHT_MUTANT != 36)
        rc = repeat_zeros(j, kept);
    /* One batch, which counts whole or not at all: whoever reads that kept is
     * the oldest has the repeats too, and all of them. */
    if (rc == DLHT_OK)
        rc = journal_impl_write(j, kept);
    if (rc == DLHT_OK)
        rc = journal_flush(j, true);
    if (rc != DLHT_OK)
        return rc;
    j->oldest = kept;
    return remove_oldest(j, going);
}

int journal_trim(struct journal *j)
{
    if (j->failed)
        return j->failed;
    size_t going = count_going(j);
    int rc = going ? trim(j, going) : DLHT_OK;
    if (rc != DLHT_EFULL)
        j->failed = rc;
    return rc;
}

void journal_stats(const struct journal *j, struct journal_stats *out)
{
    *out = (struct journal_stats){ .segments = j->count };
    for (size_t i = 0; i < j->count; i++)
        out->bytes += j->segments[i].bytes;
    if (j->count < 2)
        return;
    const struct arc_table *arcs = &j->segments[0].arcs;
    for (size_t i = 0; i < arcs->cap; i++) {
        const struct arc_slot *slot = &arcs->slots[i];
        if (is_pinned_by(j, slot) &&
            (!out->pinning_arc || slot->arc < out->pinning_arc))
            out->pinning_arc = slot->arc;
    }
}
