/* SPDX-License-Identifier: Apache-2.0 */

/* A node that starts from a data directory that somebody else wrote: intact
 * records and checkpoints, by their checksums, of anything.
 *
 * An input is a row of steps: a journal record with its payload, or a
 * checkpoint with header and blocks. The node starts on that, or says why it
 * does not, and if it does it serves for a while. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "fuzz/fuzz.h"
#include "fuzz/fuzz_in.h"
#include "fuzz/fuzz_world.h"
#include "sim/disk_sim.h"
#include "sim/world_inner.h"
#include "store/checkpoint.h"
#include "store/journal.h"

enum {
    STEPS_MAX = 200,
    SEGMENT_BYTES = 16 << 10,
    TAKEN_MAX = 4096 /* bytes of a payload that seeds are made of */
};

static struct span long_span(struct fuzz_in *in)
{
    size_t len = (size_t)fuzz_bytes(in, 2);
    if (len > in->rest.len)
        len = in->rest.len;
    struct span s = span_of(in->rest.data, len);
    in->rest = span_tail(in->rest, len);
    return s;
}

static int skip(void *context, const struct journal_record *record)
{
    (void)context;
    (void)record;
    return DLHT_OK;
}

static void put_record(struct journal *journal, struct fuzz_in *in)
{
    struct journal_record record;
    record.type = fuzz_byte(in);
    record.type = (uint8_t)(record.type ? record.type : 1);
    record.arc = fuzz_bytes(in, 8);
    record.term = fuzz_bytes(in, 2);
    record.index = fuzz_bytes(in, 2);
    if (record.index == 0xffff)
        record.index = fuzz_number(in, 0);
    record.payload = long_span(in);
    int rc = journal_append(journal, &record);
    assert(rc == DLHT_OK);
}

static void put_checkpoint(struct disk disk, struct fuzz_in *in)
{
    struct checkpoint_writer *w;
    uint64_t arc = fuzz_bytes(in, 8);
    int rc =
        checkpoint_begin(disk, arc, 1 + fuzz_below(in, 4), long_span(in), &w);
    if (rc != DLHT_OK)
        return;
    for (size_t n = fuzz_below(in, 8); n > 0; n--) {
        rc = checkpoint_add(w, long_span(in));
        assert(rc == DLHT_OK);
    }
    rc = checkpoint_commit(w);
    assert(rc == DLHT_OK);
}

static void fill_disk(struct disk disk, struct fuzz_in *in)
{
    struct journal_config config = { .segment_bytes = SEGMENT_BYTES,
                                     .seed = 7 };
    struct journal_report report;
    struct journal *journal;
    int rc = journal_open(disk, &config, false, skip, NULL, &report, &journal);
    assert(rc == DLHT_OK);
    for (int i = 0; i < STEPS_MAX && !fuzz_is_over(in); i++) {
        uint8_t step = fuzz_byte(in);
        if (step < 200) {
            put_record(journal, in);
        } else if (step < 220) {
            rc = journal_flush(journal, true);
            assert(rc == DLHT_OK);
        } else {
            put_checkpoint(disk, in);
        }
    }
    rc = journal_flush(journal, true);
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
    struct fuzz_world fw;
    struct fuzz_in in = { span_of(data, size) };
    fuzz_world_new(&fw, 1, true, 1);
    fill_disk(fuzz_world_disk(&fw, 0), &in);
    world_start(fw.world, 0);
    fuzz_world_run_ms(&fw, 300);
    struct request request = { .op = OP_PUT, .timeout_ms = 500 };
    request.key = request.value = span_str("k");
    fuzz_world_ask(&fw, 0, &request);
    fuzz_world_run_ms(&fw, 700);
    if (world_is_up(fw.world, 0)) {
        world_crash(fw.world, 0, false);
        world_start(fw.world, 0);
        fuzz_world_run_ms(&fw, 300);
    }
    fuzz_world_deinit(&fw);
    return 0;
}

/* What a node left that served for a while, changed a little. */

static void append_number(struct buf *out, uint64_t n, int bytes)
{
    while (bytes-- > 0)
        buf_append_byte(out, (uint8_t)(n >> (8 * bytes)));
}

static void append_span(struct buf *out, struct span s)
{
    size_t len = s.len < TAKEN_MAX ? s.len : TAKEN_MAX;
    append_number(out, len, 2);
    buf_append(out, s.data, len);
}

static int take_record(void *context, const struct journal_record *record)
{
    struct buf *out = context;
    buf_append_byte(out, 1);
    buf_append_byte(out, record->type);
    append_number(out, record->arc, 8);
    append_number(out, record->term, 2);
    append_number(out, record->index, 2);
    append_span(out, record->payload);
    return DLHT_OK;
}

struct taken {
    struct buf *out;
    struct buf blocks;
    uint8_t count;
};

static int take_block(void *context, arc_id arc, uint64_t number, bool first,
                      struct span bytes)
{
    struct taken *taken = context;
    (void)number;
    if (first) {
        buf_append_byte(taken->out, 255);
        append_number(taken->out, arc, 8);
        buf_append_byte(taken->out, 0);
        append_span(taken->out, bytes);
    } else if (taken->count < 7) {
        taken->count++;
        append_span(&taken->blocks, bytes);
    }
    return DLHT_OK;
}

static void take_arc(struct disk disk, const struct checkpoint_found *found,
                     struct buf *out)
{
    struct taken taken = { .out = out };
    bool older;
    int rc = checkpoint_read(disk, found, take_block, &taken, &older);
    assert(rc == DLHT_OK);
    buf_append_byte(out, taken.count);
    buf_append_span(out, buf_span(&taken.blocks));
    buf_deinit(&taken.blocks);
}

void fuzz_make(struct rng *rng, struct buf *out)
{
    struct fuzz_world fw;
    bool three = rng_chance(rng, 0.3);
    fuzz_world_init(&fw, three ? 3 : 1, true, rng_below(rng, 8));
    fuzz_world_fill(&fw, (int)rng_below(rng, 12));
    if (rng_chance(rng, 0.5))
        fuzz_world_run_ms(&fw, 4000);
    world_crash(fw.world, 0, false);
    struct disk disk = fuzz_world_disk(&fw, 0);
    struct checkpoint_list list;
    int rc = checkpoint_list(disk, &list);
    assert(rc == DLHT_OK);
    for (size_t i = 0; i < list.count; i++)
        take_arc(disk, &list.arcs[i], out);
    checkpoint_list_deinit(&list);
    struct journal_config config = { .segment_bytes = SEGMENT_BYTES };
    struct journal_report report;
    struct journal *journal;
    rc =
        journal_open(disk, &config, false, take_record, out, &report, &journal);
    assert(rc == DLHT_OK);
    journal_close(journal);
    fuzz_world_deinit(&fw);
    for (uint64_t n = rng_below(rng, 4); n > 0 && out->len > 1; n--)
        out->data[rng_below(rng, out->len)] = (uint8_t)rng_next(rng);
    assert(!out->failed);
}
