/* SPDX-License-Identifier: Apache-2.0 */

#include "net/disk_posix.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dlht/err.h"
#include "store/checkpoint.h"
#include "store/journal.h"

static void must(int rc)
{
    cr_assert_eq(rc, DLHT_OK, "%s", dlht_errname(rc));
}

struct place {
    char parent[64];
    char dir[128];
    struct disk_posix *posix;
    struct disk disk;
    char why[DISK_POSIX_WHY_MAX];
};

static void open_place(struct place *p)
{
    strcpy(p->parent, "disk_posix.XXXXXX");
    cr_assert_not_null(mkdtemp(p->parent));
    snprintf(p->dir, sizeof p->dir, "%s/data", p->parent);
    must(disk_posix_open(p->dir, &p->posix, p->why));
    p->disk = disk_posix_disk(p->posix);
}

static void remove_one(void *context, const char *name)
{
    struct place *p = context;
    int rc = disk_remove(p->disk, name);
    cr_assert_eq(rc, DLHT_OK);
}

static void close_place(struct place *p)
{
    char path[160];
    must(disk_list(p->disk, remove_one, p));
    disk_posix_close(p->posix);
    snprintf(path, sizeof path, "%s/lock", p->dir);
    unlink(path);
    cr_expect_eq(rmdir(p->dir), 0);
    cr_expect_eq(rmdir(p->parent), 0);
}

static void count_name(void *context, const char *name)
{
    int *count = context;
    (void)name;
    ++*count;
}

Test(disk_posix, does_what_the_interface_says)
{
    struct place p;
    open_place(&p);
    int a;
    int b;
    cr_expect_eq(disk_open(p.disk, "a", false, &a), DLHT_ENOTFOUND);
    cr_expect_str_eq(disk_posix_why(p.posix),
                     "open a: No such file or directory");
    must(disk_open(p.disk, "a", true, &a));
    must(disk_open(p.disk, "b", true, &b));
    cr_expect_neq(a, b);
    must(disk_allocate(p.disk, a, 100000));
    uint64_t size;
    must(disk_size(p.disk, a, &size));
    cr_expect_eq(size, 100000);
    char bytes[8] = { 1 };
    must(disk_read(p.disk, a, 99992, bytes, 8));
    cr_expect_eq(bytes[0], 0);
    cr_expect_eq(disk_read(p.disk, a, 99993, bytes, 8), DLHT_EIO);
    must(disk_write(p.disk, a, 500, "hello", 5));
    must(disk_sync(p.disk, a));
    must(disk_read(p.disk, a, 500, bytes, 5));
    cr_expect_eq(memcmp(bytes, "hello", 5), 0);
    must(disk_rename(p.disk, "a", "b"));
    must(disk_sync_names(p.disk));
    int count = 0;
    must(disk_list(p.disk, count_name, &count));
    cr_expect_eq(count, 1, "the lock file is not listed");
    disk_close(p.disk, b);
    must(disk_open(p.disk, "b", false, &b));
    must(disk_read(p.disk, b, 500, bytes, 5));
    cr_expect_eq(memcmp(bytes, "hello", 5), 0);
    disk_close(p.disk, b);
    must(disk_open(p.disk, "b", true, &b));
    must(disk_size(p.disk, b, &size));
    cr_expect_eq(size, 0, "made anew it is empty");
    cr_expect_eq(disk_remove(p.disk, "c"), DLHT_ENOTFOUND);
    cr_expect_eq(disk_rename(p.disk, "c", "d"), DLHT_ENOTFOUND);
    close_place(&p);
}

static int open_in_child(const char *dir)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct disk_posix *posix;
        char why[DISK_POSIX_WHY_MAX];
        int rc = disk_posix_open(dir, &posix, why);
        _exit(rc == DLHT_EBUSY && strstr(why, "another process") ? 1
              : rc == DLHT_OK                                    ? 0
                                                                 : 2);
    }
    int status;
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

/* Zeros are written ahead of small writes: never over what stands there, and
 * never beyond the end. */
Test(disk_posix, what_is_reserved_reads_as_it_was_written)
{
    enum {
        BYTES = 1 << 20
    };
    static const struct {
        size_t at, len;
    } writes[] = {
        { 0, 4096 },          { 4096, 100 },        { 4196, 300 << 10 },
        { 400 << 10, 10 },    { 311396, 50 },       { 311446, 120 << 10 },
        { 434326, 5 },        { 900 << 10, 20 },    { 434331, 1 },
        { BYTES - 700, 600 }, { BYTES - 100, 100 }, { 0, 8 },
    };
    static uint8_t model[BYTES], data[BYTES], found[BYTES];
    for (int in_order = 0; in_order <= 1; in_order++) {
        struct place p;
        int handle;
        uint64_t size = 0;
        size_t end = 0;
        open_place(&p);
        must(disk_open(p.disk, "reserved", true, &handle));
        must(disk_allocate(p.disk, handle, BYTES));
        memset(model, 0, sizeof model);
        for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
            size_t at = in_order ? end : writes[i].at, len = writes[i].len;
            memset(data, (int)i + 1, len);
            memcpy(model + at, data, len);
            must(disk_write(p.disk, handle, at, data, len));
            must(disk_sync(p.disk, handle));
            must(disk_size(p.disk, handle, &size));
            cr_assert_eq(size, BYTES);
            must(disk_read(p.disk, handle, 0, found, BYTES));
            cr_assert(memcmp(found, model, BYTES) == 0, "write %zu", i);
            end += len;
        }
        must(disk_close(p.disk, handle));
        close_place(&p);
    }
}

Test(disk_posix, only_one_process_has_it_open)
{
    struct place p;
    open_place(&p);
    cr_expect_eq(open_in_child(p.dir), 1);
    struct disk_posix *second;
    cr_expect_eq(disk_posix_open(p.dir, &second, p.why), DLHT_EBUSY);
    cr_expect_null(second);
    disk_posix_close(p.posix);
    cr_expect_eq(open_in_child(p.dir), 0, "a dead process holds nothing");
    must(disk_posix_open(p.dir, &p.posix, p.why));
    p.disk = disk_posix_disk(p.posix);
    close_place(&p);
}

Test(disk_posix, says_why_it_cannot_open)
{
    struct disk_posix *posix;
    char why[DISK_POSIX_WHY_MAX];
    cr_expect_eq(disk_posix_open("no/such/parent", &posix, why),
                 DLHT_ENOTFOUND);
    cr_expect_str_eq(why, "make no/such/parent: No such file or directory");
    cr_expect_eq(disk_posix_open("/dev/null", &posix, why), DLHT_EIO);
    cr_expect_str_eq(why, "open /dev/null: Not a directory");
    cr_expect_null(posix);
}

/* A file size limit stands in for a full disk. */
Test(disk_posix, a_full_disk_is_said_to_be_full)
{
    struct place p;
    open_place(&p);
    struct rlimit old;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit small = { .rlim_cur = 8192, .rlim_max = old.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    int a;
    must(disk_open(p.disk, "a", true, &a));
    int allocated = disk_allocate(p.disk, a, 9000);
    char why[DISK_POSIX_WHY_MAX];
    strcpy(why, disk_posix_why(p.posix));
    int written = disk_write(p.disk, a, 8190, "xxxx", 4);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    cr_expect_eq(allocated, DLHT_EFULL);
    cr_expect_str_eq(why, "fallocate a: File too large");
    cr_expect_eq(written, DLHT_EFULL);
    close_place(&p);
}

/* A link in the directory could lead any write anywhere. */
Test(disk_posix, links_are_not_followed)
{
    struct place p;
    open_place(&p);
    char path[160];
    snprintf(path, sizeof path, "%s/link", p.dir);
    cr_assert_eq(symlink("/dev/null", path), 0);
    int a;
    cr_expect_eq(disk_open(p.disk, "link", false, &a), DLHT_EIO);
    cr_expect_eq(disk_open(p.disk, "link", true, &a), DLHT_EIO);
    close_place(&p);
}

static int count_record(void *context, const struct journal_record *record)
{
    uint64_t *sum = context;
    sum[0]++;
    sum[1] += record->index * record->payload.len;
    return DLHT_OK;
}

/* The journal on real files, killed in the middle, opened by the next. */
Test(disk_posix, a_killed_process_leaves_a_journal_that_opens)
{
    struct place p;
    open_place(&p);
    disk_posix_close(p.posix);
    struct journal_config config = { .segment_bytes = 65536, .seed = 3 };
    struct journal_report report;
    struct journal *journal;
    int ready[2];
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        uint64_t sum[2];
        if (disk_posix_open(p.dir, &p.posix, p.why) != DLHT_OK ||
            journal_open(disk_posix_disk(p.posix), &config, false, count_record,
                         sum, &report, &journal) != DLHT_OK)
            _exit(1);
        for (uint64_t i = 1;; i++) {
            struct journal_record record = {
                .type = 1, .arc = 2, .index = i, .payload = span_of(&config, 16)
            };
            if (journal_append(journal, &record) != DLHT_OK ||
                journal_flush(journal, i % 4 == 0) != DLHT_OK)
                _exit(1);
            if (i % 4 == 0 && write(ready[1], &i, sizeof i) != sizeof i)
                _exit(1);
        }
    }
    close(ready[1]);
    uint64_t acked = 0;
    while (acked < 2000)
        cr_assert_eq(read(ready[0], &acked, sizeof acked), sizeof acked);
    kill(pid, SIGKILL);
    uint64_t more;
    while (read(ready[0], &more, sizeof more) == sizeof more)
        acked = more;
    waitpid(pid, NULL, 0);
    must(disk_posix_open(p.dir, &p.posix, p.why));
    p.disk = disk_posix_disk(p.posix);
    uint64_t sum[2] = { 0 };
    must(journal_open(p.disk, &config, false, count_record, sum, &report,
                      &journal));
    cr_expect_geq(sum[0], acked);
    cr_expect_eq(sum[1], sum[0] * (sum[0] + 1) / 2 * 16);
    struct journal_stats stats;
    journal_stats(journal, &stats);
    cr_expect_gt(stats.segments, 1);
    journal_release(journal, 2, sum[0]);
    must(journal_trim(journal));
    journal_stats(journal, &stats);
    cr_expect_eq(stats.segments, 1);
    journal_close(journal);
    close_place(&p);
}

static int compare_block(void *context, arc_id arc, uint64_t number, bool first,
                         struct span bytes)
{
    int *calls = context;
    ++*calls;
    cr_expect_eq(arc, 9);
    cr_expect_eq(number, 3);
    cr_expect(span_equal(bytes, first ? span_str("head") : span_str("body")));
    return DLHT_OK;
}

Test(disk_posix, says_how_much_room_there_is)
{
    struct place p;
    uint64_t bytes = 0;
    open_place(&p);
    must(disk_room(p.disk, &bytes));
    cr_assert_gt(bytes, 0);
    cr_assert_lt(bytes, UINT64_C(1) << 60);
    close_place(&p);
}

Test(disk_posix, two_of_a_directory_see_the_same_files)
{
    struct place p;
    struct disk_posix *shared;
    int handle;
    uint64_t bytes = 0;
    open_place(&p);
    must(disk_posix_share(p.posix, &shared));
    must(disk_open(disk_posix_disk(shared), "a", true, &handle));
    must(disk_write(disk_posix_disk(shared), handle, 0, "abc", 3));
    must(disk_sync_names(disk_posix_disk(shared)));
    disk_close(disk_posix_disk(shared), handle);
    disk_posix_close(shared);
    must(disk_open(p.disk, "a", false, &handle));
    must(disk_size(p.disk, handle, &bytes));
    cr_assert_eq(bytes, 3);
    disk_close(p.disk, handle);
    close_place(&p);
}

Test(disk_posix, a_checkpoint_on_real_files)
{
    struct place p;
    open_place(&p);
    struct checkpoint_writer *writer;
    for (uint64_t number = 1; number <= 3; number++) {
        must(checkpoint_begin(p.disk, 9, number, span_str("head"), &writer));
        must(checkpoint_add(writer, span_str("body")));
        must(checkpoint_commit(writer));
    }
    int calls = 0;
    bool older;
    struct checkpoint_list list;
    must(checkpoint_list(p.disk, &list));
    cr_assert_eq(list.count, 1);
    must(checkpoint_read(p.disk, &list.arcs[0], compare_block, &calls, &older));
    checkpoint_list_deinit(&list);
    cr_expect_eq(calls, 2);
    int count = 0;
    must(disk_list(p.disk, count_name, &count));
    cr_expect_eq(count, 2);
    close_place(&p);
}
