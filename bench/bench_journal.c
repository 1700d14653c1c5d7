/* SPDX-License-Identifier: Apache-2.0 */

/* What a journal costs over the disk under it: records of 64 bytes a second
 * at several batch sizes, each batch synced, against a bare loop of pwrite and
 * fdatasync of the same bytes into a preallocated file. The two take turns in
 * one run, since a disk has good and bad minutes.
 *
 *     bench_journal [directory] [seconds per figure]
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dlht/err.h"
#include "net/disk_posix.h"
#include "store/journal.h"
#include "store/segment.h"

enum {
    PAYLOAD = 64,
    TURNS = 25,
    FILE_BYTES = JOURNAL_SEGMENT_BYTES
};

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_journal: %s: %s\n", what, why);
    exit(1);
}

static int ignore(void *context, const struct journal_record *record)
{
    (void)context;
    (void)record;
    return DLHT_OK;
}

/* Records a second. */
static double run_journal(struct journal *journal, int batch, double seconds)
{
    static uint64_t index;
    uint8_t payload[PAYLOAD] = { 1 };
    double start = now();
    double end = start;
    uint64_t done = 0;
    while (end - start < seconds) {
        for (int i = 0; i < batch; i++) {
            struct journal_record record = {
                .type = 1,
                .arc = (uint64_t)(i % 16) + 1,
                .index = ++index,
                .payload = span_of(payload, sizeof payload),
            };
            if (journal_append(journal, &record) != DLHT_OK)
                die("append", "failed");
        }
        if (journal_flush(journal, true) != DLHT_OK)
            die("flush", "failed");
        done += (uint64_t)batch;
        end = now();
    }
    for (uint64_t arc = 1; arc <= 16; arc++)
        journal_release(journal, arc, index);
    if (journal_trim(journal) != DLHT_OK)
        die("trim", "failed");
    return (double)done / (end - start);
}

/* The same bytes; at the file's end begins a fresh file, as a segment does. */
static double run_bare(const char *path, int batch, double seconds)
{
    size_t bytes =
        SEGMENT_HEAD_BYTES + (size_t)batch * segment_record_bytes(PAYLOAD);
    uint8_t *data = calloc(bytes, 1);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (!data || fd < 0 || posix_fallocate(fd, 0, FILE_BYTES) != 0 ||
        fsync(fd) != 0)
        die(path, "cannot prepare");
    off_t at = 0;
    double start = now();
    double end = start;
    uint64_t done = 0;
    while (end - start < seconds) {
        if (at + (off_t)bytes > FILE_BYTES) {
            if (ftruncate(fd, 0) != 0 ||
                posix_fallocate(fd, 0, FILE_BYTES) != 0 || fsync(fd) != 0)
                die(path, "cannot prepare");
            at = 0;
        }
        memset(data, (int)done, bytes);
        if (pwrite(fd, data, bytes, at) != (ssize_t)bytes || fdatasync(fd) != 0)
            die(path, "cannot write");
        at += (off_t)bytes;
        done += (uint64_t)batch;
        end = now();
    }
    close(fd);
    unlink(path);
    free(data);
    return (double)done / (end - start);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double values[TURNS])
{
    qsort(values, TURNS, sizeof *values, compare_doubles);
    return values[TURNS / 2];
}

static void compare(struct journal *journal, const char *path, int batch,
                    double seconds)
{
    double ours[TURNS];
    double bare[TURNS];
    double ratio[TURNS];
    for (int i = 0; i < TURNS; i++) {
        ours[i] = run_journal(journal, batch, seconds / TURNS);
        bare[i] = run_bare(path, batch, seconds / TURNS);
        ratio[i] = ours[i] / bare[i];
    }
    double middle = median(ratio);
    printf("%6d %12.0f %12.0f %7.2f   %.2f .. %.2f\n", batch, median(ours),
           median(bare), middle, ratio[TURNS / 4], ratio[TURNS * 3 / 4]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *directory = argc > 1 ? argv[1] : "bench_journal.data";
    double seconds = argc > 2 ? atof(argv[2]) : 5;
    char why[DISK_POSIX_WHY_MAX];
    struct disk_posix *posix;
    if (disk_posix_open(directory, &posix, why) != DLHT_OK)
        die(directory, why);
    struct journal_config config = { .seed = 1 };
    struct journal_report report;
    struct journal *journal;
    if (journal_open(disk_posix_disk(posix), &config, false, ignore, NULL,
                     &report, &journal) != DLHT_OK)
        die(directory, disk_posix_why(posix));
    char path[4096];
    snprintf(path, sizeof path, "%s/bare", directory);
    printf("records of %d bytes, one data sync a batch, medians of %d turns\n"
           " batch    journal/s       bare/s   ratio   quartiles\n",
           PAYLOAD, TURNS);
    static const int batches[] = { 1, 10, 100, 1000 };
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
        compare(journal, path, batches[i], seconds);
    journal_close(journal);
    disk_posix_close(posix);
    return 0;
}
