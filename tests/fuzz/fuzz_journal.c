/* SPDX-License-Identifier: Apache-2.0 */

/* A journal that somebody else wrote. The first byte of an input chooses:
 *
 *     'r'  the rest is a segment's file as it stands
 *     else a row of steps that write segments with right checksums: headers,
 *          batches whose heads say anything, records, flipped bytes
 *
 * However it comes out, opening it again must say the same, and what is
 * accepted must take records and be readable after that. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "fuzz/fuzz.h"
#include "fuzz/fuzz_in.h"
#include "sim/disk_sim.h"
#include "store/journal.h"
#include "store/segment.h"

enum {
    SEGMENT_BYTES = 4096,
    SEGMENTS_MAX = 4,
    STEPS_MAX = 64
};

struct seen {
    uint64_t records;
    uint64_t bytes;
};

static int replay(void *context, const struct journal_record *record)
{
    struct seen *seen = context;
    assert(record->type != 0);
    for (size_t i = 0; i < record->payload.len; i++)
        seen->bytes += record->payload.data[i];
    seen->records++;
    return DLHT_OK;
}

static void put_file(struct disk disk, const char *name, struct span bytes)
{
    int handle;
    int rc = disk_open(disk, name, true, &handle);
    assert(rc == DLHT_OK);
    rc = disk_allocate(disk, handle, bytes.len);
    assert(rc == DLHT_OK);
    if (bytes.len > 0)
        rc = disk_write(disk, handle, 0, bytes.data, bytes.len);
    assert(rc == DLHT_OK);
    disk_close(disk, handle);
}

/* A segment being written. */
struct writing {
    uint8_t bytes[SEGMENT_BYTES];
    uint64_t seed;
    size_t at;
};

static void write_header(struct writing *w, struct fuzz_in *in, uint64_t number)
{
    struct segment_header header = { .number = number,
                                     .seed = w->seed,
                                     .bytes = SEGMENT_BYTES };
    uint8_t lies = fuzz_byte(in);
    header.previous = number - 1;
    header.oldest = 1;
    if (lies & 1)
        header.number = fuzz_number(in, number);
    if (lies & 2)
        header.bytes = fuzz_number(in, SEGMENT_BYTES);
    if (lies & 4)
        header.oldest = fuzz_number(in, number);
    if (lies & 8)
        header.previous = fuzz_number(in, number);
    if (number > 1 || lies & 16)
        header.previous_end = fuzz_number(in, SEGMENT_HEADER_BYTES);
    if (lies & 32)
        header.sealed_end = fuzz_number(in, SEGMENT_HEADER_BYTES);
    segment_pack_header(&header, w->bytes);
    w->at = SEGMENT_HEADER_BYTES;
}

static void write_record(struct writing *w, struct fuzz_in *in, uint8_t type)
{
    struct journal_record record = { .type = type };
    record.arc = fuzz_number(in, type == SEGMENT_BATCH ? w->at : 1);
    record.term = fuzz_number(in, 1);
    record.index = fuzz_number(in, 1);
    if (type != SEGMENT_BATCH)
        record.payload = fuzz_span(in, 300);
    size_t len = segment_record_bytes(record.payload.len);
    if (len > SEGMENT_BYTES - w->at)
        return;
    segment_put(w->bytes + w->at, &record);
    segment_seal(w->bytes + w->at, w->seed, w->at);
    w->at += len;
}

/* A head and one record that it speaks truly of. */
static void write_batch(struct writing *w, struct fuzz_in *in)
{
    struct journal_record record = { .type = (uint8_t)(1 + fuzz_byte(in) % 10),
                                     .arc = fuzz_below(in, 4),
                                     .term = fuzz_below(in, 4),
                                     .index = fuzz_below(in, 16) };
    record.payload = fuzz_span(in, 300);
    size_t len = segment_record_bytes(record.payload.len);
    struct journal_record head = {
        .type = SEGMENT_BATCH, .arc = w->at, .term = 1, .index = len
    };
    if (SEGMENT_HEAD_BYTES + len > SEGMENT_BYTES - w->at)
        return;
    segment_put(w->bytes + w->at, &head);
    segment_seal(w->bytes + w->at, w->seed, w->at);
    w->at += SEGMENT_HEAD_BYTES;
    segment_put(w->bytes + w->at, &record);
    segment_seal(w->bytes + w->at, w->seed, w->at);
    w->at += len;
}

static void write_steps(struct disk disk, struct fuzz_in *in)
{
    char name[DISK_NAME_MAX];
    size_t count = 1 + fuzz_below(in, SEGMENTS_MAX);
    for (uint64_t number = 1; number <= count; number++) {
        struct writing w = { .seed = number * 7 };
        write_header(&w, in, number);
        for (int i = 0; i < STEPS_MAX && !fuzz_is_over(in); i++) {
            uint8_t step = fuzz_byte(in);
            if (step < 16)
                break;
            if (step < 128)
                write_batch(&w, in);
            else if (step < 160)
                write_record(&w, in, SEGMENT_BATCH);
            else if (step < 200)
                write_record(&w, in, (uint8_t)(1 + fuzz_byte(in) % 255));
            else if (step < 230)
                w.bytes[fuzz_below(in, SEGMENT_BYTES)] ^= fuzz_byte(in);
            else
                w.at += fuzz_below(in, (SEGMENT_BYTES - w.at) / 8) * 8;
        }
        uint8_t which = fuzz_byte(in);
        segment_name(name, number, (which & 31) == 31);
        if ((which & 31) != 30)
            put_file(disk, name,
                     span_of(w.bytes, which >= 240
                                          ? fuzz_below(in, SEGMENT_BYTES)
                                          : SEGMENT_BYTES));
    }
}

static int open_it(struct disk_sim *sim, bool accept, struct seen *seen,
                   struct journal **journal)
{
    struct journal_config config = { .segment_bytes = SEGMENT_BYTES,
                                     .seed = 7 };
    struct journal_report report;
    *seen = (struct seen){ 0 };
    int rc = journal_open(disk_sim_disk(sim), &config, accept, replay, seen,
                          &report, journal);
    assert((rc == DLHT_OK) == (*journal != NULL));
    assert(rc == DLHT_OK || rc == DLHT_ECORRUPT || rc == DLHT_EVERSION ||
           rc == DLHT_EIO);
    assert(!accept || rc != DLHT_ECORRUPT);
    return rc;
}

static void use(struct journal *journal)
{
    struct journal_record record = { .type = 3, .arc = 1, .index = 9 };
    record.payload = span_str("one more");
    int rc = journal_append(journal, &record);
    assert(rc == DLHT_OK);
    rc = journal_flush(journal, true);
    assert(rc == DLHT_OK);
    journal_release(journal, 1, 4);
    rc = journal_trim(journal);
    assert(rc == DLHT_OK);
    journal_close(journal);
}

static void try_disk(struct disk_sim *sim)
{
    struct journal *journal;
    struct seen seen, again;
    int rc = open_it(sim, false, &seen, &journal);
    bool damaged = rc == DLHT_ECORRUPT;
    if (damaged) {
        rc = open_it(sim, true, &again, &journal);
        assert(rc != DLHT_OK ||
               (seen.records == again.records && seen.bytes == again.bytes));
    }
    if (rc != DLHT_OK)
        return;
    journal_close(journal);
    rc = open_it(sim, false, &again, &journal);
    assert(rc == DLHT_OK);
    assert(seen.records == again.records && seen.bytes == again.bytes);
    use(journal);
    rc = open_it(sim, false, &again, &journal);
    assert(rc == DLHT_OK);
    journal_close(journal);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct disk_sim *sim = disk_sim_new();
    assert(sim);
    struct fuzz_in in = { span_of(data, size) };
    char name[DISK_NAME_MAX];
    segment_name(name, 1, false);
    if (fuzz_byte(&in) == 'r')
        put_file(disk_sim_disk(sim), name, in.rest);
    else
        write_steps(disk_sim_disk(sim), &in);
    try_disk(sim);
    disk_sim_free(sim);
    return 0;
}

void fuzz_make(struct rng *rng, struct buf *out)
{
    buf_append_byte(out, 's');
    buf_append_byte(out, (uint8_t)rng_below(rng, SEGMENTS_MAX));
    for (uint64_t n = rng_range(rng, 1, 4); n > 0; n--) {
        buf_append_byte(out,
                        rng_chance(rng, 0.8) ? 0 : (uint8_t)rng_below(rng, 64));
        for (uint64_t i = rng_range(rng, 1, 9); i > 0; i--) {
            buf_append_byte(out,
                            rng_chance(rng, 0.8) ? 64 : (uint8_t)rng_next(rng));
            for (int k = 0; k < 4; k++)
                buf_append_byte(out, (uint8_t)rng_below(rng, 8));
            uint8_t len = (uint8_t)rng_below(rng, 24);
            buf_append_byte(out, len);
            while (len-- > 0)
                buf_append_byte(out, (uint8_t)rng_next(rng));
        }
        buf_append_byte(out, 0);
        buf_append_byte(out, (uint8_t)rng_below(rng, 30));
    }
    assert(!out->failed);
}
