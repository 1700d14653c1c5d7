/* SPDX-License-Identifier: Apache-2.0 */

/* Opening a journal: list the segments, prove what is in them, replay it, make
 * the tail durable, and go on.
 *
 * The header of a segment says where the one before ends and that it is synced
 * to there. So all but the last must be intact to their ends, and only the
 * last needs its marks. docs/storage.md states the rules. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dlht/err.h"
#include "store/journal_impl.h"

/* A file of the journal, as found. */
struct found {
    uint64_t number;
    uint64_t size;
    struct segment_header header;
    bool whole;  /* the header is intact */
    bool broken; /* something in it, or between it and the one before, is not
                  * as it was synced */
    bool gone;   /* not needed: to be removed */
    struct segment_walk walk;
};

struct recovery {
    struct disk disk;
    struct journal *journal;
    journal_replay_fn fn;
    void *context;
    struct journal_report *report;

    struct found *found; /* ascending, once listed */
    size_t count;
    size_t cap;
    uint64_t *aside; /* numbers of copies that mending left behind */
    size_t aside_count;
    size_t aside_cap;
    bool no_memory;
};

static int open_found(const struct recovery *r, const struct found *f,
                      int *handle)
{
    char name[DISK_NAME_MAX];
    segment_name(name, f->number, false);
    return disk_open(r->disk, name, false, handle);
}

/* A reader of a segment with an intact header. Closed with close_reader. */
static int open_reader(const struct recovery *r, const struct found *f,
                       struct segment_reader *reader)
{
    int handle;
    int rc = open_found(r, f, &handle);
    if (rc != DLHT_OK)
        return rc;
    rc = segment_reader_init(reader, r->disk, handle, f->header.seed);
    if (rc != DLHT_OK)
        disk_close(r->disk, handle);
    return rc;
}

static void close_reader(const struct recovery *r,
                         struct segment_reader *reader)
{
    disk_close(r->disk, reader->handle);
    segment_reader_deinit(reader);
}

static void note_corruption(struct recovery *r, struct found *f,
                            uint64_t offset)
{
    f->broken = true;
    if (r->report->corrupt)
        return;
    r->report->corrupt = true;
    r->report->corrupt_segment = f->number;
    r->report->corrupt_offset = offset;
}

static bool list_room(void **array, size_t *cap, size_t count, size_t size)
{
    if (count < *cap)
        return true;
    size_t larger = *cap ? *cap * 2 : 16;
    void *grown = mem_resize(*array, larger, size);
    if (!grown)
        return false;
    *array = grown;
    *cap = larger;
    return true;
}

static void note_name(void *context, const char *name)
{
    struct recovery *r = context;
    uint64_t number;
    bool aside;
    if (!segment_name_parse(name, &number, &aside))
        return;
    void *array = aside ? (void *)r->aside : (void *)r->found;
    bool room = aside ? list_room(&array, &r->aside_cap, r->aside_count,
                                  sizeof *r->aside)
                      : list_room(&array, &r->cap, r->count, sizeof *r->found);
    if (!room) {
        r->no_memory = true;
        return;
    }
    if (aside) {
        r->aside = array;
        r->aside[r->aside_count++] = number;
    } else {
        r->found = array;
        r->found[r->count++] = (struct found){ .number = number };
    }
}

static int compare_found(const void *a, const void *b)
{
    uint64_t x = ((const struct found *)a)->number;
    uint64_t y = ((const struct found *)b)->number;
    return (x > y) - (x < y);
}

static int read_header(struct recovery *r, struct found *f)
{
    int handle;
    int rc = open_found(r, f, &handle);
    if (rc != DLHT_OK)
        return rc;
    uint8_t bytes[SEGMENT_HEADER_BYTES];
    rc = disk_size(r->disk, handle, &f->size);
    if (rc == DLHT_OK && f->size >= sizeof bytes) {
        rc = disk_read(r->disk, handle, 0, bytes, sizeof bytes);
        if (rc == DLHT_OK)
            rc = segment_unpack_header(bytes, f->number, &f->header);
        f->whole = rc == DLHT_OK;
        if (rc == DLHT_ECORRUPT)
            rc = DLHT_OK;
    }
    disk_close(r->disk, handle);
    return rc;
}

static int list_segments(struct recovery *r)
{
    int rc = disk_list(r->disk, note_name, r);
    if (rc == DLHT_OK && r->no_memory)
        rc = DLHT_ENOMEM;
    if (rc != DLHT_OK)
        return rc;
    if (r->count)
        qsort(r->found, r->count, sizeof *r->found, compare_found);
    for (size_t i = 0; i < r->count && rc == DLHT_OK; i++)
        rc = read_header(r, &r->found[i]);
    return rc;
}

/* The last file without a whole header and nothing behind it: a crash met its
 * making, before anything was written there. */
static int drop_unfinished(struct recovery *r)
{
    if (r->count == 0 || r->found[r->count - 1].whole)
        return DLHT_OK;
    struct found *f = &r->found[r->count - 1];
    struct segment_reader reader;
    int rc = open_reader(r, f, &reader);
    if (rc != DLHT_OK)
        return rc;
    uint64_t end;
    rc = segment_written_end(&reader, SEGMENT_HEADER_BYTES, &end);
    f->gone = rc == DLHT_OK && end == SEGMENT_HEADER_BYTES;
    close_reader(r, &reader);
    return rc;
}

/* The next file that counts, or NULL. */
static struct found *next_found(const struct recovery *r, size_t i)
{
    while (++i < r->count)
        if (!r->found[i].gone)
            return &r->found[i];
    return NULL;
}

static struct found *last_found(const struct recovery *r)
{
    for (size_t i = r->count; i-- > 0;)
        if (!r->found[i].gone)
            return &r->found[i];
    return NULL;
}

/* Says up to where a segment must be intact. */
static int set_limits(struct found *f, const struct found *next,
                      struct segment_reader *reader)
{
    if (f->walk.limit)
        return DLHT_OK; /* the last one: find_oldest did it */
    uint64_t stated = f->header.sealed_end;
    if (!stated && next && next->whole && next->header.previous == f->number)
        stated = next->header.previous_end;
    if (stated) {
        stated -= stated % SEGMENT_ALIGN;
        uint64_t end = stated < f->size ? stated : f->size;
        f->walk.proven_end = f->walk.limit = end;
        return DLHT_OK;
    }
    f->walk.limit = f->size;
    return segment_mark(reader, &f->walk.proven_end);
}

/* Learns from the last segment which is the first that is still needed, and
 * sets earlier ones aside: a crash met their removal. */
static int find_oldest(struct recovery *r)
{
    struct found *last = last_found(r);
    if (!last)
        return DLHT_OK;
    if (!last->whole) {
        /* Nothing is dropped on doubtful grounds. */
        r->journal->oldest = r->found[0].number;
        return DLHT_OK;
    }
    struct segment_reader reader;
    int rc = open_reader(r, last, &reader);
    if (rc != DLHT_OK)
        return rc;
    rc = set_limits(last, NULL, &reader);
    if (rc == DLHT_OK)
        rc = segment_walk(&reader, &last->walk, NULL, NULL);
    close_reader(r, &reader);
    if (rc != DLHT_OK)
        return rc;
    uint64_t oldest = last->header.oldest;
    if (last->walk.oldest > oldest)
        oldest = last->walk.oldest;
    r->journal->oldest = oldest;
    for (size_t i = 0; i < r->count; i++)
        if (r->found[i].number < oldest)
            r->found[i].gone = true;
    return DLHT_OK;
}

/* Each segment names the one before it; none may be missing. */
static void check_chain(struct recovery *r)
{
    const struct found *before = NULL;
    for (size_t i = 0; i < r->count; i++) {
        struct found *f = &r->found[i];
        if (f->gone)
            continue;
        bool chained =
            before ? f->header.previous == before->number && before->whole
                   : f->number == r->journal->oldest;
        if (!f->whole || !chained)
            note_corruption(r, f, 0);
        else if (f->size < f->header.bytes)
            note_corruption(r, f, f->size);
        before = f;
    }
}

static int replay_record(void *context, const struct journal_record *record,
                         uint64_t offset)
{
    struct recovery *r = context;
    if (!arc_table_add(&r->journal->released, record->arc, 0))
        return DLHT_ENOMEM;
    int rc = journal_impl_note(r->journal, record, offset);
    if (rc != DLHT_OK)
        return rc;
    r->report->records++;
    return r->fn ? r->fn(r->context, record) : DLHT_OK;
}

static int replay_segment(struct recovery *r, struct found *f,
                          const struct found *next)
{
    int rc = journal_impl_add(r->journal, f->number, f->size);
    if (rc != DLHT_OK || !f->whole)
        return rc;
    struct segment_reader reader;
    rc = open_reader(r, f, &reader);
    if (rc != DLHT_OK)
        return rc;
    rc = set_limits(f, next, &reader);
    if (rc == DLHT_OK)
        rc = segment_walk(&reader, &f->walk, replay_record, r);
    close_reader(r, &reader);
    if (rc == DLHT_OK && f->walk.corrupt)
        note_corruption(r, f, f->walk.corrupt_offset);
    return rc;
}

static int replay(struct recovery *r)
{
    int rc = DLHT_OK;
    for (size_t i = 0; i < r->count && rc == DLHT_OK; i++)
        if (!r->found[i].gone)
            rc = replay_segment(r, &r->found[i], next_found(r, i));
    return rc;
}

static int remove_file(const struct recovery *r, uint64_t number, bool aside)
{
    char name[DISK_NAME_MAX];
    segment_name(name, number, aside);
    int rc = disk_remove(r->disk, name);
    return rc == DLHT_ENOTFOUND ? DLHT_OK : rc;
}

static int remove_leftovers(const struct recovery *r)
{
    int rc = DLHT_OK;
    for (size_t i = 0; i < r->aside_count && rc == DLHT_OK; i++)
        rc = remove_file(r, r->aside[i], true);
    for (size_t i = 0; i < r->count && rc == DLHT_OK; i++)
        if (r->found[i].gone)
            rc = remove_file(r, r->found[i].number, false);
    return rc;
}

/* Writes bytes of the file over themselves. */
static int rewrite(struct segment_reader *reader, uint64_t from, uint64_t to)
{
    enum {
        STEP = 256 << 10
    };
    size_t step = to - from < STEP ? (size_t)(to - from) : STEP;
    uint8_t *bytes = mem_array(step, 1);
    int rc = bytes ? DLHT_OK : DLHT_ENOMEM;
    while (from < to && rc == DLHT_OK) {
        size_t n = to - from < step ? (size_t)(to - from) : step;
        rc = disk_read(reader->disk, reader->handle, from, bytes, n);
        if (rc == DLHT_OK)
            rc = disk_write(reader->disk, reader->handle, from, bytes, n);
        from += n;
    }
    free(bytes);
    return rc;
}

/* What was read may be in the system's cache alone, even marked as written
 * there if a sync failed before: so header and tail are written once more, the
 * same bytes to the same place, and synced. */
static int secure(const struct recovery *r, struct segment_reader *reader,
                  const struct found *f)
{
    int rc = rewrite(reader, 0, SEGMENT_HEADER_BYTES);
    if (rc == DLHT_OK)
        rc = rewrite(reader, f->walk.proven_end, f->walk.end);
    if (rc == DLHT_OK)
        rc = disk_sync(r->disk, reader->handle);
    if (rc == DLHT_OK)
        rc = disk_sync_names(r->disk);
    return rc;
}

/* Counts what is cut off, and says whether appending may go on in this file:
 * only if it ends in order and is blank from there. */
static int measure_cut(struct recovery *r, const struct found *f,
                       struct segment_reader *reader, bool *clean)
{
    *clean = false;
    if (f->header.sealed_end)
        return DLHT_OK;
    uint64_t end;
    int rc = segment_written_end(reader, f->walk.end, &end);
    if (rc != DLHT_OK)
        return rc;
    r->report->bytes_cut = end - f->walk.end;
    *clean = end == f->walk.end;
    return DLHT_OK;
}

/* Makes the last segment durable and gets the journal an active one. */
static int settle(struct recovery *r)
{
    struct journal *j = r->journal;
    struct found *last = last_found(r);
    if (!last) {
        j->oldest = 1;
        int failed = remove_leftovers(r);
        return failed ? failed : journal_impl_start_segment(j, 0, 1, 0, 0);
    }
    assert(last->whole);
    struct segment_reader reader;
    int rc = open_reader(r, last, &reader);
    if (rc != DLHT_OK)
        return rc;
    bool clean;
    rc = measure_cut(r, last, &reader, &clean);
    if (rc == DLHT_OK)
        rc = secure(r, &reader, last);
    /* Only now: that they are not needed may stand in the tail. And before a
     * new segment takes the number of one that was never finished. */
    if (rc == DLHT_OK)
        rc = remove_leftovers(r);
    if (rc == DLHT_OK && clean) {
        j->active = reader.handle;
        j->seed = last->header.seed;
        j->end = j->synced = last->walk.end;
        j->marked = last->walk.proven_end;
        segment_reader_deinit(&reader);
        return DLHT_OK;
    }
    close_reader(r, &reader);
    if (rc != DLHT_OK)
        return rc;
    return journal_impl_start_segment(j, 0, last->number + 1, last->number,
                                      last->walk.end);
}

static int append_one(void *context, const struct journal_record *record)
{
    return journal_append(context, record);
}

/* Accepts the damage: broken segments are replaced by copies of what is
 * intact, unreadable ones removed, and a new segment ends the chain. */
static int mend(struct recovery *r)
{
    uint64_t before = 0;
    uint64_t before_end = 0;
    uint64_t highest = 0;
    r->journal->oldest = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct found *f = &r->found[i];
        highest = f->number;
        if (f->gone)
            continue;
        if (!f->whole) {
            f->gone = true;
            continue;
        }
        if (!r->journal->oldest)
            r->journal->oldest = f->number;
        if (f->broken) {
            struct segment_header copy = f->header;
            copy.seed = journal_impl_seed(r->journal, ~f->number);
            copy.previous = before;
            copy.previous_end = before_end;
            int rc = journal_impl_mend(r->disk, &r->journal->config, &f->header,
                                       &f->walk, &copy);
            if (rc != DLHT_OK)
                return rc;
            f->header = copy;
            f->walk.proven_end = f->walk.end = copy.sealed_end;
        }
        before = f->number;
        before_end = f->walk.end;
    }
    struct found *last = last_found(r);
    if (last) {
        struct segment_reader reader;
        int rc = open_reader(r, last, &reader);
        if (rc != DLHT_OK)
            return rc;
        rc = secure(r, &reader, last);
        close_reader(r, &reader);
        if (rc != DLHT_OK)
            return rc;
    }
    if (!r->journal->oldest)
        r->journal->oldest = highest + 1;
    int rc = journal_impl_start_segment(r->journal, 0, highest + 1, before,
                                        before_end);
    /* Unreadable ones that go had no copy. */
    const struct journal_config *config = &r->journal->config;
    if (rc == DLHT_OK && config->mended)
        rc = config->mended(config->mended_context, append_one, r->journal);
    if (rc == DLHT_OK)
        rc = journal_flush(r->journal, true);
    return rc == DLHT_OK ? remove_leftovers(r) : rc;
}

static struct journal *new_journal(struct disk disk,
                                   const struct journal_config *config)
{
    struct journal *j = mem_zero(1, sizeof *j);
    if (!j)
        return NULL;
    j->disk = disk;
    j->config = *config;
    if (!j->config.segment_bytes)
        j->config.segment_bytes = JOURNAL_SEGMENT_BYTES;
    j->active = -1;
    return j;
}

static int prove_and_replay(struct recovery *r)
{
    int rc = list_segments(r);
    if (rc == DLHT_OK)
        rc = drop_unfinished(r);
    if (rc == DLHT_OK)
        rc = find_oldest(r);
    if (rc != DLHT_OK)
        return rc;
    check_chain(r);
    return replay(r);
}

/* One opening. *mended: damage was accepted and is mended; open again. */
static int open_once(struct recovery *r, bool accept_corrupt, bool *mended)
{
    *mended = false;
    int rc = prove_and_replay(r);
    if (rc != DLHT_OK)
        return rc;
    if (r->report->corrupt) {
        rc = accept_corrupt ? mend(r) : DLHT_ECORRUPT;
        *mended = rc == DLHT_OK;
        return rc;
    }
    return settle(r);
}

static int recover(struct recovery *r, const struct journal_config *config,
                   bool accept_corrupt, bool *mended, struct journal **out)
{
    *mended = false;
    r->journal = new_journal(r->disk, config);
    if (!r->journal)
        return DLHT_ENOMEM;
    int rc = open_once(r, accept_corrupt, mended);
    free(r->found);
    free(r->aside);
    if (rc == DLHT_OK && !*mended) {
        *out = r->journal;
    } else {
        /* No last mark: nothing may be written on disk. */
        r->journal->failed = DLHT_ECLOSED;
        journal_close(r->journal);
    }
    return rc;
}

int journal_open(struct disk disk, const struct journal_config *config,
                 bool accept_corrupt, journal_replay_fn fn, void *context,
                 struct journal_report *report, struct journal **out)
{
    *out = NULL;
    *report = (struct journal_report){ 0 };
    struct recovery first = {
        .disk = disk, .fn = fn, .context = context, .report = report
    };
    bool mended;
    int rc = recover(&first, config, accept_corrupt, &mended, out);
    if (rc != DLHT_OK || !mended)
        return rc;
    /* The copies are intact; this time for what the journal remembers. */
    struct journal_report ignored = { 0 };
    struct recovery second = { .disk = disk, .report = &ignored };
    return recover(&second, config, false, &mended, out);
}
