/* SPDX-License-Identifier: Apache-2.0 */

/* The simulated disk must not be kinder than a real one. */

#include "sim/disk_sim.h"

#include <criterion/criterion.h>
#include <string.h>

#include "dlht/err.h"

static void must(int rc)
{
    cr_assert_eq(rc, DLHT_OK, "%s", dlht_errname(rc));
}

static int make(struct disk disk, const char *name, uint64_t bytes)
{
    int handle;
    must(disk_open(disk, name, true, &handle));
    must(disk_allocate(disk, handle, bytes));
    return handle;
}

static void lose_all(struct disk_sim *sim)
{
    uint16_t none[64] = { 0 };
    cr_assert_leq(disk_sim_doubt_count(sim), 64);
    disk_sim_crash_keep(sim, none);
}

static uint8_t byte_at(struct disk disk, const char *name, uint64_t offset)
{
    int handle;
    uint8_t byte;
    must(disk_open(disk, name, false, &handle));
    must(disk_read(disk, handle, offset, &byte, 1));
    disk_close(disk, handle);
    return byte;
}

Test(disk_sim, what_was_synced_stays_and_the_rest_may_go)
{
    struct disk_sim *sim = disk_sim_new();
    struct disk disk = disk_sim_disk(sim);
    int handle = make(disk, "a", 2048);
    must(disk_write(disk, handle, 10, "x", 1));
    must(disk_sync(disk, handle));
    must(disk_sync_names(disk));
    must(disk_write(disk, handle, 11, "y", 1));
    must(disk_write(disk, handle, 1024, "z", 1));
    make(disk, "b", 10);
    cr_expect_eq(disk_sim_doubt_count(sim), 4);
    /* Of a, the second sector alone. */
    disk_sim_crash_keep(sim, (uint16_t[]){ 0, 512, 0, 0 });
    cr_expect_eq(byte_at(disk, "a", 10), 'x');
    cr_expect_eq(byte_at(disk, "a", 11), 0);
    cr_expect_eq(byte_at(disk, "a", 1024), 'z');
    cr_expect_eq(disk_open(disk, "b", false, &handle), DLHT_ENOTFOUND);
    disk_sim_free(sim);
}

Test(disk_sim, a_sector_may_tear)
{
    struct disk_sim *sim = disk_sim_new();
    struct disk disk = disk_sim_disk(sim);
    int handle = make(disk, "a", 512);
    must(disk_sync(disk, handle));
    must(disk_sync_names(disk));
    must(disk_write(disk, handle, 0, "abcdef", 6));
    disk_sim_crash_keep(sim, (uint16_t[]){ 4 });
    cr_expect_eq(byte_at(disk, "a", 3), 'd');
    cr_expect_eq(byte_at(disk, "a", 4), 0);
    disk_sim_free(sim);
}

Test(disk_sim, syncing_data_does_not_sync_names)
{
    struct disk_sim *sim = disk_sim_new();
    struct disk disk = disk_sim_disk(sim);
    int handle = make(disk, "a", 512);
    must(disk_sync(disk, handle));
    lose_all(sim);
    cr_expect_eq(disk_open(disk, "a", false, &handle), DLHT_ENOTFOUND);
    handle = make(disk, "a", 512);
    must(disk_sync_names(disk));
    must(disk_rename(disk, "a", "b"));
    lose_all(sim);
    cr_expect_eq(disk_open(disk, "b", false, &handle), DLHT_ENOTFOUND);
    must(disk_open(disk, "a", false, &handle));
    uint64_t size;
    must(disk_size(disk, handle, &size));
    cr_expect_eq(size, 0, "its size was not synced");
    must(disk_remove(disk, "a"));
    cr_expect_eq(disk_remove(disk, "a"), DLHT_ENOTFOUND);
    lose_all(sim);
    must(disk_open(disk, "a", false, &handle));
    disk_sim_free(sim);
}

Test(disk_sim, after_a_failed_sync_another_does_not_write)
{
    struct disk_sim *sim = disk_sim_new();
    struct disk disk = disk_sim_disk(sim);
    int handle = make(disk, "a", 1024);
    must(disk_sync(disk, handle));
    must(disk_sync_names(disk));
    must(disk_write(disk, handle, 0, "x", 1));
    must(disk_write(disk, handle, 512, "y", 1));
    disk_sim_fail_next(sim, DISK_SIM_SYNC, 0, DLHT_EIO);
    cr_expect_eq(disk_sync(disk, handle), DLHT_EIO);
    must(disk_write(disk, handle, 512, "y", 1)); /* this one again */
    must(disk_sync(disk, handle));
    cr_expect_eq(byte_at(disk, "a", 0), 'x', "it can be read");
    lose_all(sim);
    cr_expect_eq(byte_at(disk, "a", 0), 0, "but it was not there");
    cr_expect_eq(byte_at(disk, "a", 512), 'y');
    disk_sim_free(sim);
}

Test(disk_sim, fails_and_fills_up_where_it_is_told_to)
{
    struct disk_sim *sim = disk_sim_new();
    struct disk disk = disk_sim_disk(sim);
    int handle = make(disk, "a", 512);
    disk_sim_fail_next(sim, DISK_SIM_WRITE, 1, DLHT_EFULL);
    must(disk_write(disk, handle, 0, "x", 1));
    cr_expect_eq(disk_write(disk, handle, 0, "zz", 2), DLHT_EFULL);
    must(disk_write(disk, handle, 1, "x", 1));
    disk_sim_limit(sim, 1000);
    cr_expect_eq(disk_allocate(disk, handle, 1001), DLHT_EFULL);
    cr_expect_eq(disk_write(disk, handle, 999, "xx", 2), DLHT_EFULL);
    must(disk_write(disk, handle, 999, "x", 1));
    uint64_t changes = disk_sim_changes(sim);
    disk_sim_stop_after(sim, 1);
    must(disk_write(disk, handle, 0, "x", 1));
    cr_expect_eq(disk_write(disk, handle, 0, "y", 1), DLHT_EIO);
    cr_expect_eq(disk_sync(disk, handle), DLHT_EIO);
    cr_expect_eq(disk_sim_changes(sim), changes + 1);
    int stale = handle;
    disk_sim_restart(sim);
    cr_expect_eq(disk_open(disk, "a", false, &handle), DLHT_EIO,
                 "no power, no restart");
    disk_sim_stop_after(sim, UINT64_MAX);
    cr_expect_eq(disk_sync(disk, stale), DLHT_EIO, "a handle of before");
    must(disk_open(disk, "a", false, &handle));
    cr_expect_neq(handle, stale);
    cr_expect_eq(byte_at(disk, "a", 0), 'x');
    uint8_t two[2];
    cr_expect_eq(disk_read(disk, handle, 999, two, 2), DLHT_EIO);
    disk_sim_free(sim);
}

/* The same calls and the same rng give the same disk; others another. */
Test(disk_sim, a_crash_is_a_function_of_its_seed)
{
    uint64_t hashes[3];
    for (int round = 0; round < 3; round++) {
        struct disk_sim *sim = disk_sim_new();
        struct disk disk = disk_sim_disk(sim);
        struct rng rng;
        rng_init(&rng, round == 2 ? 78 : 77);
        int handle = make(disk, "a", 8192);
        must(disk_sync_names(disk));
        uint8_t bytes[8192];
        memset(bytes, 5, sizeof bytes);
        must(disk_sync(disk, handle));
        must(disk_write(disk, handle, 0, bytes, sizeof bytes));
        struct disk_sim *clone = disk_sim_clone(sim);
        cr_expect_eq(disk_sim_hash(sim), disk_sim_hash(clone));
        for (int i = 0; i < 3; i++) {
            struct disk_sim *next = disk_sim_clone(clone);
            disk_sim_crash(next, &rng);
            hashes[round] = disk_sim_hash(next);
            disk_sim_free(next);
        }
        cr_expect_neq(disk_sim_hash(clone), hashes[round]);
        disk_sim_free(sim);
        disk_sim_free(clone);
    }
    cr_expect_eq(hashes[0], hashes[1]);
    cr_expect_neq(hashes[0], hashes[2]);
}
