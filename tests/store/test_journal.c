/* SPDX-License-Identifier: Apache-2.0 */

/* The journal in fair weather, its limits and its failures. Crashes are in
 * test_crash_images.c. */

#include "store/journal.h"

#include "base/hash.h"
#include "store/checkpoint.h"
#include "store/journal_world.h"
#include "store/segment.h"

static struct world *new_world(void)
{
    struct world *w = malloc(sizeof *w);
    world_init(w, disk_sim_new());
    return w;
}

static void free_world(struct world *w)
{
    world_close(w);
    disk_sim_free(w->sim);
    free(w);
}

static void must(int rc)
{
    cr_assert_eq(rc, DLHT_OK, "%s", dlht_errname(rc));
}

static void must_reopen(struct world *w)
{
    world_close(w);
    must(world_open(w));
    cr_assert(world_judge(w), "%s", w->why);
}

Test(journal, an_empty_directory_becomes_an_empty_journal)
{
    struct world *w = new_world();
    must(world_open(w));
    cr_expect_eq(w->report.records, 0);
    struct journal_stats stats;
    journal_stats(w->journal, &stats);
    cr_expect_eq(stats.segments, 1);
    cr_expect_eq(stats.bytes, 4096);
    cr_expect_eq(stats.pinning_arc, 0);
    must_reopen(w);
    journal_stats(w->journal, &stats);
    cr_expect_eq(stats.segments, 1, "an orderly end needs no new segment");
    free_world(w);
}

Test(journal, replays_what_was_flushed_in_order)
{
    struct world *w = new_world();
    must(world_open(w));
    for (uint64_t i = 1; i <= 40; i++) {
        must(world_append(w, (uint8_t)(1 + i % 3), i % 5, i % 4 ? i : 0,
                          8 + (size_t)i * 7 % 100));
        if (i % 3 == 0)
            must(world_flush(w, i % 2));
    }
    must(world_flush(w, true));
    must_reopen(w);
    cr_expect_eq(w->report.records, 40);
    cr_expect_eq(w->report.bytes_cut, 0);
    cr_expect_not(w->report.corrupt);
    free_world(w);
}

Test(journal, what_was_appended_and_not_flushed_is_not_there)
{
    struct world *w = new_world();
    must(world_open(w));
    must(world_append(w, 1, 1, 1, 8));
    must(world_flush(w, true));
    must(world_append(w, 1, 1, 2, 8));
    must_reopen(w);
    cr_expect_eq(w->report.records, 1);
    free_world(w);
}

Test(journal, goes_on_in_new_segments)
{
    struct world *w = new_world();
    must(world_open(w));
    for (uint64_t i = 1; i <= 100; i++) {
        must(world_append(w, 1, 2, i, 200));
        must(world_flush(w, i % 10 == 0));
    }
    struct journal_stats stats;
    journal_stats(w->journal, &stats);
    cr_expect_geq(stats.segments, 7);
    cr_expect_eq(stats.pinning_arc, 2);
    must_reopen(w);
    cr_expect_eq(w->report.records, 100);
    struct journal_stats again;
    journal_stats(w->journal, &again);
    cr_expect_eq(again.segments, stats.segments);
    cr_expect_eq(again.bytes, stats.bytes);
    cr_expect_eq(again.pinning_arc, 2);
    free_world(w);
}

Test(journal, a_record_larger_than_a_segment_gets_a_larger_one)
{
    struct world *w = new_world();
    must(world_open(w));
    must(world_append(w, 1, 1, 1, 20));
    must(world_flush(w, true));
    must(world_append(w, 1, 1, 2, 100000));
    must(world_append(w, 1, 1, 3, 20));
    must(world_flush(w, true));
    must(world_append(w, 1, 1, 4, JOURNAL_PAYLOAD_MAX));
    must(world_flush(w, true));
    must(world_append(w, 1, 1, 5, 20));
    must(world_flush(w, true));
    must_reopen(w);
    cr_expect_eq(w->report.records, 5);
    uint8_t byte = 0;
    struct journal_record too_big = {
        .type = 1, .payload = span_of(&byte, (size_t)JOURNAL_PAYLOAD_MAX + 1)
    };
    cr_expect_eq(journal_append(w->journal, &too_big), DLHT_ETOOBIG);
    must(world_append(w, 1, 1, 6, 20));
    must(world_flush(w, true));
    must_reopen(w);
    free_world(w);
}

Test(journal, trims_what_is_released_and_repeats_records_with_index_0)
{
    struct world *w = new_world();
    must(world_open(w));
    must(world_append(w, 3, 1, 0, 30)); /* older, superseded below */
    must(world_append(w, 3, 2, 0, 30)); /* only here */
    must(world_append(w, 4, 2, 0, 30));
    must(world_append(w, 3, 1, 0, 30));
    for (uint64_t i = 1; i <= 60; i++) {
        must(world_append(w, 1, 1 + i % 2, i, 200));
        must(world_flush(w, true));
        if (i == 50)
            must(world_append(w, 4, 2, 0, 31));
    }
    struct journal_stats stats;
    journal_stats(w->journal, &stats);
    size_t before = stats.segments;
    must(journal_trim(w->journal));
    journal_stats(w->journal, &stats);
    cr_expect_eq(stats.segments, before, "nothing was released");
    cr_expect_eq(stats.pinning_arc, 1);

    world_release(w, 1, 60);
    must(journal_trim(w->journal));
    journal_stats(w->journal, &stats);
    cr_expect_eq(stats.segments, before);
    cr_expect_eq(stats.pinning_arc, 2);

    world_release(w, 2, 40);
    must(journal_trim(w->journal));
    journal_stats(w->journal, &stats);
    cr_expect_lt(stats.segments, before);
    must_reopen(w);
    cr_expect_lt(w->report.records, 35);

    world_release(w, 1, 60);
    world_release(w, 2, 60);
    must(journal_trim(w->journal));
    journal_stats(w->journal, &stats);
    cr_expect_leq(stats.segments, 2);
    must_reopen(w);
    must_reopen(w);
    free_world(w);
}

Test(journal, a_pending_record_stays_behind_the_repeats)
{
    struct world *w = new_world();
    must(world_open(w));
    must(world_append(w, 3, 1, 0, 30));
    for (uint64_t i = 1; i <= 30; i++) {
        must(world_append(w, 1, 1, i, 200));
        must(world_flush(w, true));
    }
    must(world_append(w, 3, 1, 0, 31));
    world_release(w, 1, 30);
    must(journal_trim(w->journal));
    w->acked = w->count;
    must_reopen(w);
    size_t zeros = 0;
    for (size_t i = 0; i < w->replayed_count; i++)
        zeros += w->entries[w->replayed[i]].index == 0;
    cr_expect_eq(zeros, 1, "the older one is not repeated");
    free_world(w);
}

Test(journal, an_arc_that_is_gone_pins_nothing_and_is_not_repeated)
{
    struct world *w = new_world();
    must(world_open(w));
    must(world_append(w, 3, 1, 0, 30));
    must(world_append(w, 3, 2, 0, 30));
    for (uint64_t i = 1; i <= 30; i++) {
        must(world_append(w, 1, 1, i, 200));
        must(world_flush(w, true));
    }
    must(world_append(w, 5, 1, 0, 30));
    world_release(w, 1, UINT64_MAX); /* the removal is still in the batch */
    must(world_flush(w, true));
    must(journal_trim(w->journal));
    struct journal_stats stats;
    journal_stats(w->journal, &stats);
    cr_expect_eq(stats.segments, 1);
    for (uint64_t i = 1; i <= 20; i++) {
        must(world_append(w, 1, 4, i, 200));
        must(world_flush(w, true));
    }
    world_release(w, 4, 20);
    must(journal_trim(w->journal));
    must_reopen(w);
    for (size_t i = 0; i < w->replayed_count; i++)
        cr_expect_neq(w->entries[w->replayed[i]].arc, 1);

    /* It comes back, goes, comes back: its new records count again. */
    world_release(w, 4, 20);
    for (int life = 0; life < 2; life++) {
        must(world_append(w, 3, 1, 0, 30));
        for (uint64_t i = 1; i <= 40; i++) {
            must(world_append(w, 1, 1, i, 200));
            must(world_flush(w, true));
        }
        must(journal_trim(w->journal));
        journal_stats(w->journal, &stats);
        cr_expect_eq(stats.pinning_arc, 1);
        cr_expect_gt(stats.segments, 2);
        if (life == 0)
            world_release(w, 1, UINT64_MAX);
    }
    must_reopen(w);
    cr_expect_geq(w->replayed_count, 41);
    free_world(w);
}

Test(journal, after_a_failure_every_later_call_fails)
{
    static const struct {
        const char *why;
        enum disk_sim_call call;
        int code;
    } cases[] = {
        { "write fails", DISK_SIM_WRITE, DLHT_EIO },
        { "sync fails", DISK_SIM_SYNC, DLHT_EIO },
        /* It may have dropped what it was to write. */
        { "disk is full at a sync", DISK_SIM_SYNC, DLHT_EFULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = new_world();
        must(world_open(w));
        must(world_append(w, 1, 1, 1, 20));
        must(world_flush(w, true));
        must(world_append(w, 1, 1, 2, 20));
        disk_sim_fail_next(w->sim, cases[i].call, 0, cases[i].code);
        int want = DLHT_EIO;
        cr_expect_eq(world_flush(w, true), want, "%s", cases[i].why);
        cr_expect_eq(world_flush(w, true), want, "%s", cases[i].why);
        cr_expect_eq(world_flush(w, false), want, "%s", cases[i].why);
        cr_expect_eq(world_append(w, 1, 1, 3, 20), want, "%s", cases[i].why);
        cr_expect_eq(journal_trim(w->journal), want, "%s", cases[i].why);
        must_reopen(w);
        free_world(w);
    }
}

Test(journal, a_full_disk_is_said_and_loses_nothing)
{
    struct world *w = new_world();
    must(world_open(w));
    disk_sim_limit(w->sim, 3 * 4096 + 100);
    int rc = DLHT_OK;
    uint64_t i = 0;
    while (rc == DLHT_OK && i < 100) {
        must(world_append(w, 1, 1, ++i, 200));
        rc = world_flush(w, true);
    }
    cr_expect_eq(rc, DLHT_EFULL);
    /* What is appended meanwhile joins what waits, which no part of the room
     * left is used for, though a little would fit. */
    must(world_append(w, 1, 2, 1, 20));
    cr_expect_eq(world_flush(w, true), DLHT_EFULL);
    cr_expect_eq(world_flush(w, false), DLHT_EFULL);
    cr_expect_eq(journal_settle(w->journal), DLHT_EFULL);
    disk_sim_limit(w->sim, UINT64_MAX);
    must(world_flush(w, true));
    must(journal_settle(w->journal));
    world_lose_all(w);
    must_reopen(w);
    cr_expect_eq(w->report.records, i + 1);
    free_world(w);

    w = new_world();
    disk_sim_limit(w->sim, 100);
    cr_expect_eq(world_open(w), DLHT_EFULL);
    cr_expect_null(w->journal);
    free_world(w);
}

/* Room that was reserved and is missing all the same: half a batch stands in
 * the segment, which is left behind. */
Test(journal, a_write_without_room_is_made_elsewhere)
{
    struct world *w = new_world();
    must(world_open(w));
    must(world_append(w, 1, 1, 1, 20));
    must(world_flush(w, true));
    for (uint64_t i = 2; i <= 5; i++) {
        must(world_append(w, 1, 1, i, 700));
        disk_sim_fail_next(w->sim, DISK_SIM_WRITE, 0, DLHT_EFULL);
        cr_expect_eq(world_flush(w, true), DLHT_EFULL);
        disk_sim_fail_next(w->sim, DISK_SIM_ALLOCATE, 0, DLHT_EFULL);
        cr_expect_eq(world_flush(w, true), DLHT_EFULL);
        must(world_flush(w, true));
    }
    world_lose_all(w);
    must_reopen(w);
    cr_expect_eq(w->report.records, 5);
    cr_expect_not(w->report.corrupt);
    free_world(w);
}

Test(journal, a_trim_without_room_is_made_later)
{
    struct world *w = new_world();
    must(world_open(w));
    must(world_append(w, 2, 1, 0, 300));
    uint64_t i = 0;
    struct journal_stats stats;
    do {
        must(world_append(w, 1, 2, ++i, 300));
        must(world_flush(w, true));
        journal_stats(w->journal, &stats);
    } while (stats.segments < 3);
    journal_release(w->journal, 2, i);
    for (int k = 0; k < 3; k++) {
        disk_sim_fail_next(w->sim, DISK_SIM_WRITE, 0, DLHT_EFULL);
        cr_expect_eq(journal_trim(w->journal), DLHT_EFULL);
    }
    must(journal_trim(w->journal));
    must(journal_trim(w->journal));
    world_lose_all(w);
    world_close(w);
    must(world_open(w));
    cr_expect_geq(w->report.records, 1, "the one that nothing covers");
    cr_expect_not(w->report.corrupt);
    free_world(w);
}

/* The burial of a replica is on disk before its checkpoints go. */
Test(journal, checkpoints_go_after_what_was_appended)
{
    struct world *w = new_world();
    struct disk disk = disk_sim_disk(w->sim);
    must(world_open(w));
    struct checkpoint_writer *writer;
    must(checkpoint_begin(disk, 7, 1, span_str("header"), &writer));
    must(checkpoint_commit(writer));
    const char *name = "checkpoint-0000000000000007-0000000000000001";
    uint64_t bytes;
    must(world_append(w, 5, 7, 0, 4000));
    must(world_append(w, 5, 7, 0, 4000));
    disk_sim_limit(w->sim, 0);
    cr_expect_eq(world_flush(w, true), DLHT_EFULL);
    must(journal_remove_checkpoints(w->journal, 7));
    cr_expect(disk_sim_file_size(w->sim, name, &bytes));
    disk_sim_limit(w->sim, UINT64_MAX);
    must(world_flush(w, true));
    cr_expect_not(disk_sim_file_size(w->sim, name, &bytes));
    free_world(w);
}

/* What was read after a restart may be in the cache alone, and be taken for
 * written since a sync failed: it must be written again. */
Test(journal, what_was_replayed_after_a_failed_sync_is_durable)
{
    for (uint64_t skip = 0; skip < 16; skip++) {
        struct world *w = new_world();
        disk_sim_fail_next(w->sim, DISK_SIM_SYNC, skip / 2, DLHT_EIO);
        /* Nor can a segment that was not finished be removed. */
        if (skip % 2)
            disk_sim_fail_next(w->sim, DISK_SIM_REMOVE, 0, DLHT_EIO);
        int rc = world_open(w);
        for (uint64_t i = 1; i <= 30 && rc == DLHT_OK; i++) {
            must(world_append(w, 1, 1, i, 400));
            rc = world_flush(w, i % 3 == 0);
        }
        cr_assert_eq(rc, DLHT_EIO);
        world_close(w);
        disk_sim_restart(w->sim);
        must(world_open(w));
        cr_assert(world_judge(w), "%s", w->why);
        world_adopt(w);
        must(world_append(w, 1, 1, 50, 40));
        must(world_flush(w, true));
        world_lose_all(w);
        must_reopen(w);
        free_world(w);
    }
}

static int refuse_third(void *context, const struct journal_record *record)
{
    int *calls = context;
    (void)record;
    return ++*calls == 3 ? DLHT_EREFUSED : DLHT_OK;
}

Test(journal, what_the_replay_returns_ends_the_opening)
{
    struct world *w = new_world();
    must(world_open(w));
    for (uint64_t i = 1; i <= 5; i++)
        must(world_append(w, 1, 1, i, 20));
    must(world_flush(w, true));
    world_close(w);
    int count = 0;
    uint64_t hash = disk_sim_hash(w->sim);
    cr_expect_eq(journal_open(disk_sim_disk(w->sim), &w->config, false,
                              refuse_third, &count, &w->report, &w->journal),
                 DLHT_EREFUSED);
    cr_expect_null(w->journal);
    cr_expect_eq(count, 3);
    cr_expect_eq(disk_sim_hash(w->sim), hash);
    free_world(w);
}

Test(journal, a_later_version_is_refused_in_clear_words)
{
    struct world *w = new_world();
    must(world_open(w));
    world_close(w);
    struct disk disk = disk_sim_disk(w->sim);
    char name[DISK_NAME_MAX];
    segment_name(name, 1, false);
    int handle;
    uint8_t header[SEGMENT_HEADER_BYTES];
    must(disk_open(disk, name, false, &handle));
    must(disk_read(disk, handle, 0, header, sizeof header));
    le_put32(header + 8, SEGMENT_VERSION + 1);
    le_put64(header + sizeof header - 8,
             hash64(span_of(header, sizeof header - 8)));
    must(disk_write(disk, handle, 0, header, sizeof header));
    must(disk_sync(disk, handle));
    disk_close(disk, handle);
    uint64_t hash = disk_sim_hash(w->sim);
    cr_expect_eq(world_open(w), DLHT_EVERSION);
    cr_expect_eq(world_open_with(w, true), DLHT_EVERSION);
    cr_expect_eq(disk_sim_hash(w->sim), hash);
    free_world(w);
}

/* Three segments, all kinds of flushes; closed in order. */
static void write_small(struct world *w)
{
    must(world_open(w));
    must(world_append(w, 3, 1, 0, 30));
    for (uint64_t i = 1; i <= 24; i++) {
        must(world_append(w, 1, 1 + i % 3, i, 230 + (size_t)i));
        if (i % 2)
            must(world_append(w, 2, 5, i, 9));
        must(world_flush(w, i % 3 == 0));
    }
    must(world_flush(w, true));
    world_close(w);
}

/* Bytes of the segment that mean something. */
static uint64_t used_end(struct world *w, uint64_t number, bool *last)
{
    struct disk disk = disk_sim_disk(w->sim);
    char name[DISK_NAME_MAX];
    segment_name(name, number, false);
    struct segment_reader reader;
    int handle;
    must(disk_open(disk, name, false, &handle));
    must(segment_reader_init(&reader, disk, handle, 0));
    uint64_t end;
    must(segment_written_end(&reader, 0, &end));
    segment_reader_deinit(&reader);
    disk_close(disk, handle);
    uint64_t size;
    segment_name(name, number + 1, false);
    *last = !disk_sim_file_size(w->sim, name, &size);
    return end;
}

/* A flipped bit is reported, nothing on disk is changed, and once accepted
 * everything else is replayed and the next opening is clean. */
static void flip_and_judge(const struct world *base, const char *name,
                           uint64_t offset, uint8_t bits, bool must_report)
{
    struct world *w = malloc(sizeof *w);
    *w = *base;
    w->sim = disk_sim_clone(base->sim);
    cr_assert(disk_sim_flip(w->sim, name, offset, bits));
    uint64_t hash = disk_sim_hash(w->sim);
    int rc = world_open(w);
    cr_assert(rc == DLHT_OK || rc == DLHT_ECORRUPT);
    cr_assert_eq(w->report.corrupt, rc == DLHT_ECORRUPT);
    if (rc == DLHT_OK) {
        cr_assert_not(must_report, "%s at %llu", name,
                      (unsigned long long)offset);
        cr_assert(world_judge(w), "%s at %llu: %s", name,
                  (unsigned long long)offset, w->why);
        free_world(w);
        return;
    }
    cr_assert_null(w->journal);
    cr_assert_eq(disk_sim_hash(w->sim), hash, "nothing may change");
    cr_assert_eq(w->why[0], 0, "%s", w->why);
    size_t first = w->replayed_count;
    must(world_open_with(w, true));
    cr_assert_eq(w->why[0], 0, "%s", w->why);
    cr_assert_eq(w->replayed_count, first);
    /* One record at most is lost, but for a header: all of its segment. */
    if (offset >= SEGMENT_HEADER_BYTES)
        cr_assert_geq(first + 1, w->acked, "%s at %llu: %zu of %zu", name,
                      (unsigned long long)offset, first, w->acked);
    for (size_t i = 1; i < first; i++)
        cr_assert_lt(w->replayed[i - 1], w->replayed[i]);
    uint64_t kept[WORLD_REPLAYED];
    memcpy(kept, w->replayed, sizeof kept);

    /* The damage is mended: no report, and the same again, with more. */
    must(world_append(w, 1, 1, 99, 20));
    must(world_flush(w, true));
    kept[first] = w->count - 1;
    world_lose_all(w);
    world_close(w);
    must(world_open(w));
    cr_assert_eq(w->replayed_count, first + 1);
    cr_assert_eq(memcmp(kept, w->replayed, (first + 1) * sizeof *kept), 0);
    free_world(w);
}

Test(journal, no_flipped_bit_is_accepted_in_silence, .timeout = 60)
{
    struct world *w = new_world();
    write_small(w);
    size_t flips = 0;
    bool last = false;
    for (uint64_t number = 1; !last; number++) {
        char name[DISK_NAME_MAX];
        segment_name(name, number, false);
        uint64_t end = used_end(w, number, &last);
        cr_assert_gt(end, SEGMENT_HEADER_BYTES);
        for (uint64_t at = 0; at < end; at++) {
            /* The last head only repeats the mark: after it nothing is. */
            bool proven = !last || at < end - SEGMENT_HEAD_BYTES;
            flip_and_judge(w, name, at, (uint8_t)(1u << at % 8), proven);
            flips++;
        }
    }
    cr_expect_gt(flips, 5000);
    free_world(w);
}

/* Killed, not closed: each batch names what was synced before it, so damage is
 * told from a tail up to where the last batch begins. */
Test(journal, damage_below_the_last_mark_is_reported_after_a_crash)
{
    struct world *w = new_world();
    must(world_open(w));
    for (uint64_t i = 1; i <= 10; i++) {
        must(world_append(w, 1, 1, i, 100));
        must(world_flush(w, i != 9));
    }
    disk_sim_restart(w->sim);
    world_close(w);
    char name[DISK_NAME_MAX];
    segment_name(name, 1, false);
    bool last;
    uint64_t end = used_end(w, 1, &last);
    uint64_t batch = SEGMENT_HEAD_BYTES + segment_record_bytes(100);
    cr_assert_eq((end - SEGMENT_HEADER_BYTES + 7) / 8 * 8, 10 * batch);
    uint64_t mark = SEGMENT_HEADER_BYTES + 8 * batch;
    for (uint64_t at = SEGMENT_HEADER_BYTES; at < end; at++) {
        struct world *v = malloc(sizeof *v);
        *v = *w;
        v->sim = disk_sim_clone(w->sim);
        cr_assert(disk_sim_flip(v->sim, name, at, 16));
        int rc = world_open(v);
        cr_assert_eq(rc, at < mark ? DLHT_ECORRUPT : DLHT_OK, "%llu",
                     (unsigned long long)at);
        cr_assert_eq(v->why[0], 0, "%s", v->why);
        if (at < mark) {
            uint64_t bad = (at - SEGMENT_HEADER_BYTES) / batch * batch +
                           SEGMENT_HEADER_BYTES;
            cr_assert(v->report.corrupt_offset == bad ||
                      v->report.corrupt_offset == bad + SEGMENT_HEAD_BYTES);
        } else {
            cr_assert_gt(v->report.bytes_cut, 0);
            cr_assert_geq(v->replayed_count, 8);
            cr_assert_lt(v->replayed_count, 10);
        }
        free_world(v);
    }
    free_world(w);
}

/* Closed while its last batch was not synced: the head that tells of the mark
 * stands right behind what it is about, and the same sector may take both. */
Test(journal, damage_to_the_last_mark_is_told_where_it_was_closed_in_order)
{
    static const uint8_t NOTHING[16];
    struct world *w = new_world();
    must(world_open(w));
    for (uint64_t i = 1; i <= 10; i++) {
        must(world_append(w, 1, 1, i, 100));
        must(world_flush(w, i != 10));
    }
    world_close(w);
    char name[DISK_NAME_MAX];
    segment_name(name, 1, false);
    uint64_t batch = SEGMENT_HEAD_BYTES + segment_record_bytes(100);
    uint64_t mark = SEGMENT_HEADER_BYTES + 9 * batch;
    cr_assert(disk_sim_overwrite(w->sim, name, mark - sizeof NOTHING / 2,
                                 NOTHING, sizeof NOTHING));
    cr_expect_eq(world_open(w), DLHT_ECORRUPT);
    cr_expect_eq(w->report.corrupt_offset, mark - batch + SEGMENT_HEAD_BYTES);
    free_world(w);
}

Test(journal, a_missing_or_cut_segment_is_reported)
{
    for (uint64_t number = 1; number <= 2; number++) {
        struct world *w = new_world();
        write_small(w);
        char name[DISK_NAME_MAX];
        segment_name(name, number, false);
        must(disk_remove(disk_sim_disk(w->sim), name));
        must(disk_sync_names(disk_sim_disk(w->sim)));
        cr_expect_eq(world_open(w), DLHT_ECORRUPT);
        must(world_open_with(w, true));
        cr_expect_eq(w->why[0], 0, "%s", w->why);
        cr_expect_gt(w->replayed_count, 5);
        size_t count = w->replayed_count;
        world_close(w);
        must(world_open(w));
        cr_expect_eq(w->replayed_count, count);
        free_world(w);
    }
    for (uint64_t bytes = 0; bytes < 4096; bytes += 8) {
        struct world *w = new_world();
        write_small(w);
        char name[DISK_NAME_MAX];
        segment_name(name, 2, false);
        int handle;
        must(disk_open(disk_sim_disk(w->sim), name, false, &handle));
        must(disk_allocate(disk_sim_disk(w->sim), handle, bytes));
        cr_expect_eq(world_open(w), DLHT_ECORRUPT);
        must(world_open_with(w, true));
        cr_expect_eq(w->why[0], 0, "%s", w->why);
        world_close(w);
        must(world_open(w));
        free_world(w);
    }
}

/* A client may store a piece of a journal: it is not a record there. */
Test(journal, a_record_inside_a_payload_is_not_taken_for_one)
{
    struct world *w = new_world();
    must(world_open(w));
    uint8_t inner[64];
    struct journal_record record = { .type = 9, .arc = 9, .index = 9 };
    segment_put(inner, &record);
    /* As it would be sealed at the segment's start: the likeliest copy. */
    struct disk disk = disk_sim_disk(w->sim);
    char name[DISK_NAME_MAX];
    segment_name(name, 1, false);
    int handle;
    uint8_t header[SEGMENT_HEADER_BYTES];
    struct segment_header unpacked;
    must(disk_open(disk, name, false, &handle));
    must(disk_read(disk, handle, 0, header, sizeof header));
    must(segment_unpack_header(header, 1, &unpacked));
    segment_seal(inner, unpacked.seed, SEGMENT_HEADER_BYTES);
    uint8_t payload[8 + SEGMENT_HEAD_BYTES];
    for (int i = 0; i < 3; i++) {
        le_put64(payload, w->count);
        memcpy(payload + 8, inner, SEGMENT_HEAD_BYTES);
        struct journal_record outer = { .type = 1,
                                        .arc = 1,
                                        .index = (uint64_t)i + 1,
                                        .payload =
                                            span_of(payload, sizeof payload) };
        must(journal_append(w->journal, &outer));
        must(journal_flush(w->journal, true));
    }
    world_close(w);
    /* Damage the first record's head, so that its payload is searched. */
    cr_assert(disk_sim_flip(w->sim, name,
                            SEGMENT_HEADER_BYTES + SEGMENT_HEAD_BYTES + 16, 1));
    w->count = 3;
    for (size_t i = 0; i < w->count; i++)
        w->entries[i].len = sizeof payload;
    cr_expect_eq(world_open(w), DLHT_ECORRUPT);
    cr_expect_eq(w->report.records, 2);
    cr_expect_eq(w->report.corrupt_segment, 1);
    cr_expect_eq(w->report.corrupt_offset,
                 SEGMENT_HEADER_BYTES + SEGMENT_HEAD_BYTES);
    free_world(w);
}
