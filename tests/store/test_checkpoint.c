/* SPDX-License-Identifier: Apache-2.0 */

#include "store/checkpoint.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "dlht/err.h"
#include "sim/disk_sim.h"
#include "store/le.h"

enum {
    ARC = 5
};

static void must(int rc)
{
    cr_assert_eq(rc, DLHT_OK, "%s", dlht_errname(rc));
}

/* Block i of a generation: its length and bytes follow from both. */
static size_t fill(uint8_t block[2000], uint64_t number, uint64_t i)
{
    size_t len = (size_t)(number * 131 + i * 77) % 900 + (i == 2 ? 900 : 0);
    for (size_t k = 0; k < len; k++)
        block[k] = (uint8_t)(number * 31 + i * 7 + k);
    return len;
}

static uint64_t count_of(uint64_t number)
{
    return number % 5;
}

static int write_generation(struct disk disk, arc_id arc, uint64_t number)
{
    uint8_t block[2000];
    struct checkpoint_writer *writer;
    size_t len = fill(block, number, 99);
    int rc = checkpoint_begin(disk, arc, number, span_of(block, len), &writer);
    for (uint64_t i = 0; i < count_of(number) && rc == DLHT_OK; i++) {
        len = fill(block, number, i);
        rc = checkpoint_add(writer, span_of(block, len));
    }
    if (rc != DLHT_OK) {
        checkpoint_abort(writer);
        return rc;
    }
    return checkpoint_commit(writer);
}

struct seen {
    uint64_t number;
    uint64_t blocks;
    bool wrong;
};

static int see(void *context, arc_id arc, uint64_t number, bool first,
               struct span bytes)
{
    struct seen *seen = context;
    uint8_t block[2000];
    (void)arc;
    size_t len = fill(block, number, first ? 99 : seen->blocks);
    if (!span_equal(bytes, span_of(block, len)) ||
        first != (seen->number == 0) || (!first && seen->number != number))
        seen->wrong = true;
    seen->number = number;
    seen->blocks += !first;
    return DLHT_OK;
}

/* The generation read; 0: none. */
static uint64_t read_number(struct disk disk, arc_id arc, int *rc, bool *older)
{
    struct seen seen = { 0 };
    struct checkpoint_list list;
    must(checkpoint_list(disk, &list));
    *older = false;
    *rc = DLHT_ENOTFOUND;
    for (size_t i = 0; i < list.count; i++)
        if (list.arcs[i].arc == arc)
            *rc = checkpoint_read(disk, &list.arcs[i], see, &seen, older);
    checkpoint_list_deinit(&list);
    cr_assert_not(seen.wrong);
    if (*rc == DLHT_OK)
        cr_assert_eq(seen.blocks, count_of(seen.number));
    else
        cr_assert_eq(seen.number, 0, "nothing was handed out");
    return seen.number;
}

struct names {
    char list[64][DISK_NAME_MAX];
    size_t count;
};

static void note(void *context, const char *name)
{
    struct names *names = context;
    cr_assert_lt(names->count, 64);
    strcpy(names->list[names->count++], name);
}

static struct names list_names(struct disk disk)
{
    struct names names = { .count = 0 };
    must(disk_list(disk, note, &names));
    return names;
}

Test(checkpoint, reads_what_was_written_and_keeps_two_generations)
{
    struct disk_sim *sim = disk_sim_new();
    struct disk disk = disk_sim_disk(sim);
    int rc;
    bool older;
    cr_expect_eq(read_number(disk, ARC, &rc, &older), 0);
    cr_expect_eq(rc, DLHT_ENOTFOUND);
    for (uint64_t number = 1; number < 12; number += 1 + number % 2) {
        must(write_generation(disk, ARC, number));
        cr_expect_eq(read_number(disk, ARC, &rc, &older), number);
        cr_expect_not(older);
        cr_expect_eq(list_names(disk).count, number == 1 ? 1 : 2);
    }
    must(write_generation(disk, ARC + 1, 3));
    must(checkpoint_remove(disk, ARC));
    cr_expect_eq(read_number(disk, ARC, &rc, &older), 0);
    cr_expect_eq(rc, DLHT_ENOTFOUND);
    cr_expect_eq(read_number(disk, ARC + 1, &rc, &older), 3);
    uint16_t none[8] = { 0 };
    cr_assert_lt(disk_sim_doubt_count(sim), 8);
    disk_sim_crash_keep(sim, none);
    cr_expect_eq(list_names(disk).count, 1, "removed for good");
    disk_sim_free(sim);
}

Test(checkpoint, lists_arcs_in_order_and_removes_strays)
{
    struct disk_sim *sim = disk_sim_new();
    struct disk disk = disk_sim_disk(sim);
    must(write_generation(disk, UINT64_MAX, 1));
    must(write_generation(disk, 7, 1));
    must(write_generation(disk, 7, 2));
    must(write_generation(disk, 3, 9));
    struct checkpoint_writer *writer;
    must(checkpoint_begin(disk, 8, 1, span_str("x"), &writer));
    int handle;
    must(disk_open(disk, "journal-0000000000000001", true, &handle));
    must(disk_open(disk, "checkpoint-of-something-else", true, &handle));
    cr_expect_eq(list_names(disk).count, 7);
    struct checkpoint_list list;
    must(checkpoint_list(disk, &list));
    cr_assert_eq(list.count, 3);
    const struct checkpoint_found *arcs = list.arcs;
    cr_expect(arcs[0].arc == 3 && arcs[0].count == 1);
    cr_expect(arcs[0].numbers[0] == 9);
    cr_expect(arcs[1].arc == 7 && arcs[1].count == 2);
    cr_expect(arcs[1].numbers[0] == 1 && arcs[1].numbers[1] == 2);
    cr_expect(arcs[2].arc == UINT64_MAX && arcs[2].count == 1);
    checkpoint_list_deinit(&list);
    cr_expect_eq(list_names(disk).count, 6, "the stray is gone");
    checkpoint_abort(writer);
    disk_sim_free(sim);
}

/* Every state in which a power cut during the third generation may leave the
 * disk: the second or the third is read, whole; the third if committed. */
static uint64_t judge_cut(const struct disk_sim *base, const uint16_t *keep,
                          bool committed)
{
    struct disk_sim *sim = disk_sim_clone(base);
    struct disk disk = disk_sim_disk(sim);
    int rc;
    bool older;
    disk_sim_crash_keep(sim, keep);
    struct checkpoint_list list;
    must(checkpoint_list(disk, &list));
    cr_assert_eq(list.count, 1);
    checkpoint_list_deinit(&list);
    uint64_t number = read_number(disk, ARC, &rc, &older);
    must(rc);
    cr_assert_not(older);
    cr_assert(number == 3 || (number == 2 && !committed));
    must(write_generation(disk, ARC, 4));
    cr_assert_eq(read_number(disk, ARC, &rc, &older), 4);
    cr_assert_eq(list_names(disk).count, 2);
    disk_sim_free(sim);
    return number;
}

Test(checkpoint, a_power_cut_leaves_the_one_before_or_the_new_one,
     .timeout = 60)
{
    uint64_t images = 0;
    uint64_t newer = 0;
    struct rng rng;
    rng_init(&rng, 11);
    bool committed = false;
    for (uint64_t changes = 0; !committed; changes++) {
        struct disk_sim *sim = disk_sim_new();
        struct disk disk = disk_sim_disk(sim);
        must(write_generation(disk, ARC, 1));
        must(write_generation(disk, ARC, 2));
        disk_sim_stop_after(sim, changes);
        committed = write_generation(disk, ARC, 3) == DLHT_OK;
        size_t n = disk_sim_doubt_count(sim);
        uint16_t *keep = calloc(n + 1, sizeof *keep);
        for (uint32_t round = 0; round < 400; round++) {
            for (size_t i = 0; i < n; i++) {
                bool exact = n <= 8;
                bool kept = exact ? round >> i & 1 : rng_chance(&rng, 0.5);
                keep[i] = kept ? DISK_SIM_SECTOR_BYTES : 0;
                if (round >= 256 && rng_chance(&rng, 0.2))
                    keep[i] = (uint16_t)rng_below(&rng, 512);
            }
            newer += judge_cut(sim, keep, committed) == 3;
            images++;
        }
        free(keep);
        disk_sim_free(sim);
    }
    printf("%llu images, seed 11\n", (unsigned long long)images);
    cr_expect_gt(newer, 100);
}

Test(checkpoint, a_name_that_was_read_is_durable)
{
    struct disk_sim *sim = disk_sim_new();
    struct disk disk = disk_sim_disk(sim);
    must(write_generation(disk, ARC, 1));
    /* Killed between rename and the sync of names. */
    disk_sim_fail_next(sim, DISK_SIM_SYNC_NAMES, 0, DLHT_EIO);
    disk_sim_fail_next(sim, DISK_SIM_REMOVE, 0, DLHT_EIO);
    cr_expect_eq(write_generation(disk, ARC, 2), DLHT_EIO);
    disk_sim_restart(sim);
    int rc;
    bool older;
    cr_expect_eq(read_number(disk, ARC, &rc, &older), 2);
    uint16_t none[8] = { 0 };
    disk_sim_crash_keep(sim, none);
    cr_expect_eq(read_number(disk, ARC, &rc, &older), 2);
    disk_sim_free(sim);
}

Test(checkpoint, damage_at_any_byte_falls_back_to_the_one_before)
{
    struct disk_sim *base = disk_sim_new();
    must(write_generation(disk_sim_disk(base), ARC, 7));
    must(write_generation(disk_sim_disk(base), ARC, 8));
    struct names names = list_names(disk_sim_disk(base));
    cr_assert_eq(names.count, 2);
    uint64_t size;
    uint64_t other;
    cr_assert(disk_sim_file_size(base, names.list[1], &size));
    cr_assert(disk_sim_file_size(base, names.list[0], &other));
    for (uint64_t at = 0; at < size; at++) {
        struct disk_sim *sim = disk_sim_clone(base);
        struct disk disk = disk_sim_disk(sim);
        int rc;
        bool older;
        cr_assert(
            disk_sim_flip(sim, names.list[1], at, (uint8_t)(1u << at % 8)));
        cr_assert_eq(read_number(disk, ARC, &rc, &older), 7, "byte %llu",
                     (unsigned long long)at);
        cr_assert(older);
        cr_assert(disk_sim_flip(sim, names.list[0], at % other, 4));
        cr_assert_eq(read_number(disk, ARC, &rc, &older), 0);
        cr_assert_eq(rc, DLHT_ECORRUPT);
        cr_assert_not(older);
        disk_sim_free(sim);
    }
    /* Cut short, and longer than written. */
    for (uint64_t len = 0; len < size + 40; len++) {
        if (len == size)
            continue;
        struct disk_sim *sim = disk_sim_clone(base);
        struct disk disk = disk_sim_disk(sim);
        int rc;
        int handle;
        bool older;
        must(disk_open(disk, names.list[1], false, &handle));
        must(disk_allocate(disk, handle, len));
        cr_assert_eq(read_number(disk, ARC, &rc, &older), 7);
        cr_assert(older);
        disk_sim_free(sim);
    }
    /* One generation under the name of another. */
    struct disk disk = disk_sim_disk(base);
    int rc;
    bool older;
    must(disk_rename(disk, names.list[0], names.list[1]));
    cr_expect_eq(read_number(disk, ARC, &rc, &older), 0);
    cr_expect_eq(rc, DLHT_ECORRUPT);
    disk_sim_free(base);
}

Test(checkpoint, a_failure_leaves_nothing_of_the_generation)
{
    static const enum disk_sim_call fails[] = { DISK_SIM_OPEN, DISK_SIM_WRITE,
                                                DISK_SIM_SYNC, DISK_SIM_RENAME,
                                                DISK_SIM_SYNC_NAMES };
    for (size_t i = 0; i < sizeof fails / sizeof *fails; i++) {
        struct disk_sim *sim = disk_sim_new();
        struct disk disk = disk_sim_disk(sim);
        must(write_generation(disk, ARC, 1));
        disk_sim_fail_next(sim, fails[i], 0, DLHT_EIO);
        cr_expect_eq(write_generation(disk, ARC, 2), DLHT_EIO, "%zu", i);
        cr_expect_eq(list_names(disk).count, 1, "%zu", i);
        int rc;
        bool older;
        cr_expect_eq(read_number(disk, ARC, &rc, &older), 1);
        must(write_generation(disk, ARC, 2));
        disk_sim_free(sim);
    }
    struct disk_sim *sim = disk_sim_new();
    struct disk disk = disk_sim_disk(sim);
    must(write_generation(disk, ARC, 3));
    disk_sim_limit(sim, 3000);
    cr_expect_eq(write_generation(disk, ARC, 4), DLHT_EFULL);
    cr_expect_eq(list_names(disk).count, 1);
    disk_sim_free(sim);
}

static int count_bytes(void *context, arc_id arc, uint64_t number, bool first,
                       struct span bytes)
{
    uint64_t *sum = context;
    (void)arc;
    (void)number;
    (void)first;
    sum[0] += bytes.len;
    sum[1] = sum[1] * 31 + hash64(bytes);
    return DLHT_OK;
}

Test(checkpoint, blocks_may_be_large_up_to_a_limit)
{
    struct disk_sim *sim = disk_sim_new();
    struct disk disk = disk_sim_disk(sim);
    size_t len = CHECKPOINT_BLOCK_MAX;
    uint8_t *bytes = calloc(len + 1, 1);
    bytes[len - 1] = 1;
    struct checkpoint_writer *writer;
    cr_expect_eq(
        checkpoint_begin(disk, ARC, 1, span_of(bytes, len + 1), &writer),
        DLHT_ETOOBIG);
    must(checkpoint_begin(disk, ARC, 1, span_empty(), &writer));
    must(checkpoint_add(writer, span_of(bytes, len)));
    must(checkpoint_add(writer, span_of(bytes, 3)));
    must(checkpoint_commit(writer));
    uint64_t sum[2] = { 0 };
    bool older;
    const uint64_t first = 1;
    struct checkpoint_found found = { ARC, &first, 1 };
    must(checkpoint_read(disk, &found, count_bytes, sum, &older));
    cr_expect_eq(sum[0], len + 3);
    must(checkpoint_begin(disk, ARC, 2, span_empty(), &writer));
    cr_expect_eq(checkpoint_add(writer, span_of(bytes, len + 1)), DLHT_ETOOBIG);
    cr_expect_eq(checkpoint_commit(writer), DLHT_ETOOBIG);
    free(bytes);
    disk_sim_free(sim);
}

Test(checkpoint, a_later_version_is_refused_in_clear_words)
{
    struct disk_sim *sim = disk_sim_new();
    struct disk disk = disk_sim_disk(sim);
    must(write_generation(disk, ARC, 1));
    struct names names = list_names(disk);
    int handle;
    uint8_t header[64];
    must(disk_open(disk, names.list[0], false, &handle));
    must(disk_read(disk, handle, 0, header, sizeof header));
    le_put32(header + 8, 2);
    le_put64(header + 56, hash64(span_of(header, 56)));
    must(disk_write(disk, handle, 0, header, sizeof header));
    int rc;
    bool older;
    read_number(disk, ARC, &rc, &older);
    cr_expect_eq(rc, DLHT_EVERSION);
    disk_sim_free(sim);
}
