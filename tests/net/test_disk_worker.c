/* SPDX-License-Identifier: Apache-2.0 */

/* The disk thread: order, group commit, failures, intervals, checkpoints. The
 * disk is a directory whose calls are counted and can be made to fail. */

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dlht/err.h"
#include "net/check.h"
#include "net/disk_posix.h"
#include "net/disk_worker.h"

static struct disk_posix *posix_disk;
static struct disk under;
static struct disk_calls calls;
static atomic_int syncs;
static atomic_bool sync_fails;
static atomic_int sync_ms;

static int counting_sync(void *disk, int handle)
{
    syncs++;
    if (sync_ms)
        usleep((unsigned)sync_ms * 1000);
    return sync_fails ? DLHT_EIO : under.calls->sync(disk, handle);
}

static struct disk open_disk(const char *path)
{
    char why[DISK_POSIX_WHY_MAX];
    CHECK_EQ(disk_posix_open(path, &posix_disk, why), DLHT_OK);
    under = disk_posix_disk(posix_disk);
    calls = *under.calls;
    calls.sync = counting_sync;
    return (struct disk){ &calls, under.self };
}

static int count_record(void *context, const struct journal_record *record)
{
    int *count = context;
    CHECK_EQ(record->index, (uint64_t)++ * count);
    return DLHT_OK;
}

static int replayed;

static struct disk_worker *start(struct disk disk, uint32_t interval_ms,
                                 bool (*must_sync)(uint8_t))
{
    struct disk_worker_config config = { .disk = disk,
                                         .interval_ms = interval_ms,
                                         .must_sync = must_sync };
    struct journal_config journal = { .segment_bytes = 1 << 20, .seed = 7 };
    struct journal_report report;
    replayed = 0;
    CHECK_EQ(journal_open(disk, &journal, false, count_record, &replayed,
                          &report, &config.journal),
             DLHT_OK);
    struct disk_worker *w = NULL;
    CHECK_EQ(disk_worker_new(&config, &w), DLHT_OK);
    return w;
}

static struct disk_result await(struct disk_worker *w)
{
    struct disk_result r = { .status = DLHT_ETIMEOUT };
    struct pollfd p = { .fd = disk_worker_fd(w), .events = POLLIN };
    while (!disk_worker_take(w, &r))
        if (poll(&p, 1, 5000) != 1)
            break;
    return r;
}

static uint64_t next_index;

static void append(struct disk_worker *w, uint8_t type)
{
    char payload[64] = "payload";
    struct journal_record record = { .type = type,
                                     .arc = 5,
                                     .term = 1,
                                     .index = ++next_index,
                                     .payload =
                                         span_of(payload, sizeof payload) };
    disk_worker_append(w, &record);
}

/* While one sync runs, many turns gather: they share the next. */
static void one_sync_serves_a_group(struct disk disk)
{
    struct disk_worker *w = start(disk, 0, NULL);
    CHECK_EQ(replayed, 0);
    append(w, 1);
    disk_worker_sync(w, 1);
    disk_worker_submit(w);
    CHECK_EQ(await(w).number, 1);
    sync_ms = 30;
    int before = syncs;
    for (uint64_t i = 2; i <= 101; i++) {
        append(w, 1);
        disk_worker_sync(w, i);
        disk_worker_submit(w);
    }
    for (uint64_t told = 1; told < 101;) {
        struct disk_result r = await(w);
        CHECK(r.number > told && r.number <= 101);
        CHECK_EQ(r.status, DLHT_OK);
        CHECK(r.journal_bytes > 0);
        told = r.number;
    }
    CHECK(syncs - before <= 3);
    sync_ms = 0;
    disk_worker_free(w);
}

static bool is_vote(uint8_t type)
{
    return type == 2;
}

static void an_interval_delays_all_but_votes(struct disk disk)
{
    struct disk_worker *w = start(disk, 100, is_vote);
    CHECK_EQ(replayed, 101);
    int before = syncs;
    append(w, 1);
    disk_worker_sync(w, 1);
    disk_worker_submit(w);
    CHECK_EQ(await(w).status, DLHT_OK);
    CHECK_EQ(syncs, before);
    append(w, 2);
    disk_worker_sync(w, 2);
    disk_worker_submit(w);
    CHECK_EQ(await(w).status, DLHT_OK);
    CHECK_EQ(syncs, before + 1);
    append(w, 1);
    disk_worker_sync(w, 3);
    disk_worker_submit(w);
    CHECK_EQ(await(w).status, DLHT_OK);
    CHECK_EQ(syncs, before + 1);
    usleep(400000); /* nothing more comes: the interval is kept all the same */
    CHECK_EQ(syncs, before + 2);
    disk_worker_free(w);
}

static void checkpoints_are_reported(struct disk disk)
{
    struct disk_worker *w = start(disk, 0, NULL);
    CHECK_EQ(replayed, 104);
    disk_worker_begin(w, 5, 1, span_str("header"));
    disk_worker_begin(w, 6, 1, span_str("other"));
    disk_worker_add(w, 5, 1, span_str("block"));
    append(w, 1);
    disk_worker_sync(w, 9);
    disk_worker_end(w, 5, 1);
    disk_worker_abort(w, 6, 1);
    disk_worker_end(w, 7, 1); /* never begun */
    disk_worker_release(w, 5, next_index);
    disk_worker_submit(w);
    struct disk_result r = await(w);
    CHECK(!r.is_checkpoint); /* the sync before it came first */
    CHECK_EQ(r.number, 9);
    r = await(w);
    CHECK(r.is_checkpoint);
    CHECK_EQ(r.arc, 5);
    CHECK_EQ(r.status, DLHT_OK);
    r = await(w);
    CHECK_EQ(r.arc, 7);
    CHECK(r.status != DLHT_OK);
    disk_worker_free(w);
}

static void a_failed_sync_stops_all_later_ones(struct disk disk)
{
    struct disk_worker *w = start(disk, 0, NULL);
    append(w, 1);
    sync_fails = true;
    disk_worker_sync(w, 1);
    disk_worker_submit(w);
    CHECK_EQ(await(w).status, DLHT_EIO);
    sync_fails = false;
    append(w, 1);
    disk_worker_sync(w, 2);
    disk_worker_submit(w);
    CHECK_EQ(await(w).status, DLHT_EIO);
    disk_worker_free(w);
}

int main(void)
{
    char path[] = "/tmp/dlht_disk_worker_XXXXXX";
    if (!mkdtemp(path))
        return 1;
    struct disk disk = open_disk(path);
    one_sync_serves_a_group(disk);
    an_interval_delays_all_but_votes(disk);
    checkpoints_are_reported(disk);
    a_failed_sync_stops_all_later_ones(disk);
    disk_posix_close(posix_disk);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    CHECK_EQ(system(command), 0);
    return check_done();
}
