/* SPDX-License-Identifier: Apache-2.0 */

/* The n-th call of the system fails, for every n, while a node serves from a
 * directory and while it starts from one: with the errors that the call may
 * give, done by half, or interrupted. Nothing that was acknowledged is lost,
 * what was interrupted or done by half before goes on unseen, and what cannot
 * go on says what failed. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dlht/err.h"
#include "durable/calls.h"
#include "durable/rig.h"
#include "durable/story.h"
#include "net/data_dir.h"

enum {
    STEPS = 30,
    MOST = 3000
};

static const struct failing {
    enum call_name call;
    int error;
    bool unseen; /* nobody need notice */
    bool fills;  /* and the disk stays full for a while */
} ways[] = {
    { CALL_pwrite, EIO, false, false },
    { CALL_pwrite, ENOSPC, false, true },
    { CALL_pwrite, EDQUOT, false, false },
    { CALL_pwrite, EINTR, true, false },
    { CALL_pwrite, CALL_SHORT, true, false },
    { CALL_pread, EIO, false, false },
    { CALL_pread, EINTR, true, false },
    { CALL_pread, CALL_SHORT, true, false },
    { CALL_pread, CALL_END, false, false },
    { CALL_fdatasync, EIO, false, false },
    { CALL_fdatasync, ENOSPC, false, false },
    { CALL_fdatasync, EINTR, false, false },
    { CALL_fsync, EIO, false, false },
    { CALL_renameat, EIO, false, false },
    { CALL_renameat, ENOSPC, false, false },
    { CALL_unlinkat, EIO, false, false },
    { CALL_posix_fallocate, EIO, false, false },
    { CALL_posix_fallocate, ENOSPC, false, true },
    { CALL_posix_fallocate, EINTR, true, false },
    { CALL_ftruncate, EIO, false, false },
    { CALL_openat, EMFILE, false, false },
    { CALL_openat, ENOSPC, false, false },
    { CALL_open, EACCES, false, false },
    { CALL_fstat, EIO, false, false },
    { CALL_fdopendir, ENOMEM, false, false },
    { CALL_readdir, EIO, false, false },
    { CALL_close, EIO, true, false },
    { CALL_flock, ENOLCK, false, false },
};

struct trial {
    char path[64];
    struct data_dir *dir;
    struct node_config config;
    struct rig rig;
    struct story story;
    struct dlht_error error;
    uint64_t trials, failures, ends, starts_refused;
};

/* The linker hands us the opening of the journal: small segments, so that
 * many are made and removed. */
int __real_journal_open(struct disk disk, const struct journal_config *config,
                        bool accept_corrupt, journal_replay_fn fn,
                        void *context, struct journal_report *report,
                        struct journal **out);
int __wrap_journal_open(struct disk disk, const struct journal_config *config,
                        bool accept_corrupt, journal_replay_fn fn,
                        void *context, struct journal_report *report,
                        struct journal **out);
int __wrap_journal_open(struct disk disk, const struct journal_config *config,
                        bool accept_corrupt, journal_replay_fn fn,
                        void *context, struct journal_report *report,
                        struct journal **out)
{
    struct journal_config small = *config;
    small.segment_bytes = 8 << 10;
    return __real_journal_open(disk, &small, accept_corrupt, fn, context,
                               report, out);
}

static bool happened;

/* The system works again. */
static void disarm(void)
{
    happened = calls_happened() || happened;
    calls_fail(CALL_close, 0, 0);
}

static void hear_log(void *context, enum log_level level, const char *text)
{
    (void)context, (void)level, (void)text;
}

static int restore(void *context, struct node *node, uint64_t seed,
                   struct journal **out)
{
    struct trial *t = context;
    return data_dir_restore(t->dir, node, seed, hear_log, NULL, out, &t->error);
}

static void close_dir(struct trial *t)
{
    data_dir_close(t->dir);
    t->dir = NULL;
}

static int open_rig(struct trial *t)
{
    t->config.seed++;
    t->error = (struct dlht_error){ 0 };
    int rc = data_dir_open(t->path, &t->dir, &t->error);
    if (rc != DLHT_OK)
        return rc;
    data_dir_set_loaders(t->dir, 1); /* so that calls can be counted */
    struct disk disk = data_dir_disk(t->dir);
    rc = rig_open_by(&t->rig, &disk, &t->config, restore, t);
    bool serves = rc == DLHT_OK && rig_boot(&t->rig);
    if (rc == DLHT_OK && !serves && !t->rig.failed) {
        /* On a full disk it waits for room. */
        disarm();
        rig_run(&t->rig, 5000, false);
        serves = t->rig.ready && !t->rig.failed;
    }
    if (rc == DLHT_OK && !serves) {
        rc = t->rig.failed ? t->rig.failed : DLHT_EIO;
        snprintf(t->error.text, sizeof t->error.text, "%s", t->rig.failed_text);
        rig_close(&t->rig);
    }
    if (rc != DLHT_OK)
        close_dir(t);
    else
        story_use(&t->story, &t->rig);
    return rc;
}

static void close_rig(struct trial *t)
{
    rig_close(&t->rig);
    close_dir(t);
}

static void empty(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return;
    struct dirent *entry;
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

static void read_back(struct trial *t, const char *when)
{
    static struct story_content content;
    RIG_CHECK(story_read(&t->rig, &content), "%s: cannot read: %s", when,
              dlht_errname(t->rig.response.status));
    story_judge(&t->story, &content, when);
    story_adopt(&t->story, &content);
}

static void begin(struct trial *t, uint64_t seed)
{
    empty(t->path);
    rig_config(&t->config, seed);
    story_init(&t->story, seed);
    t->story.keep_doubt = true;
    RIG_CHECK(open_rig(t) == DLHT_OK, "a new node: %s", t->error.text);
    for (int i = 0; i < STEPS; i++)
        RIG_CHECK(story_step(&t->story), "without failures");
}

static void arm(const struct failing *way, uint64_t n)
{
    happened = false;
    if (way->fills)
        calls_fill_disk(way->call, n);
    else
        calls_fail(way->call, n, way->error);
}

static bool try_serving(struct trial *t, const struct failing *way, uint64_t n,
                        uint64_t seed)
{
    begin(t, seed);
    arm(way, n);
    t->trials++;
    for (int i = 0; i < STEPS && !t->rig.failed; i++) {
        bool ok = story_step(&t->story);
        RIG_CHECK(ok || (calls_happened() && !way->unseen), "it fails");
        if (i != STEPS / 2 || !calls_happened())
            continue;
        disarm();
        rig_run(&t->rig, 3000, false);
        break;
    }
    disarm();
    if (!t->rig.failed) {
        rig_run(&t->rig, 3000, false);
        if (!t->rig.failed)
            read_back(t, "going on");
    }
    t->ends += t->rig.failed != 0;
    RIG_CHECK(!t->rig.failed || !way->unseen, "%s", t->rig.failed_text);
    t->failures += happened;
    close_rig(t);
    RIG_CHECK(open_rig(t) == DLHT_OK, "starting again: %s", t->error.text);
    read_back(t, "after a restart");
    RIG_CHECK(story_do(&t->story, STORY_PUT), "after a restart");
    close_rig(t);
    story_deinit(&t->story);
    return happened;
}

static bool try_starting(struct trial *t, const struct failing *way, uint64_t n,
                         uint64_t seed)
{
    begin(t, seed);
    close_rig(t);
    arm(way, n);
    t->trials++;
    int rc = open_rig(t);
    disarm();
    t->failures += happened;
    RIG_CHECK(rc == DLHT_OK || (happened && !way->unseen), "%s", t->error.text);
    RIG_CHECK(rc != DLHT_ECORRUPT, "a failure is no damage: %s", t->error.text);
    RIG_CHECK(rc == DLHT_OK || t->error.text[0], "%s: it says why",
              dlht_errname(rc));
    t->starts_refused += rc != DLHT_OK;
    if (rc == DLHT_OK) {
        rig_run(&t->rig, 3000, false);
        if (!t->rig.failed)
            read_back(t, "it started all the same");
        close_rig(t);
    }
    RIG_CHECK(open_rig(t) == DLHT_OK, "starting again: %s", t->error.text);
    read_back(t, "after the second start");
    close_rig(t);
    story_deinit(&t->story);
    return happened;
}

static uint64_t try_way(struct trial *t, const struct failing *way,
                        uint64_t seed, bool serving)
{
    uint64_t n = 1;
    bool more = true;
    for (; more && n < MOST; n++) {
        snprintf(rig_story, sizeof rig_story,
                 "seed %llu, %s %llu from then on fails by %d (%s), %s",
                 (unsigned long long)seed, calls_name(way->call),
                 (unsigned long long)n, way->error,
                 way->error > 0 ? strerror(way->error) : "short",
                 serving ? "serving" : "starting");
        more = serving ? try_serving(t, way, n, seed)
                       : try_starting(t, way, n, seed);
    }
    return n - 2;
}

int main(int argc, char **argv)
{
    static struct trial t;
    uint64_t seed = argc > 2 && strcmp(argv[1], "--seed") == 0
                        ? strtoull(argv[2], NULL, 10)
                        : 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    strcpy(t.path, "/dev/shm/dlht-calls-XXXXXX");
    if (!mkdtemp(t.path)) {
        strcpy(t.path, "/tmp/dlht-calls-XXXXXX");
        RIG_CHECK(mkdtemp(t.path), "a directory");
    }
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        uint64_t serving = try_way(&t, &ways[i], seed, true);
        uint64_t starting = try_way(&t, &ways[i], seed, false);
        printf("%s fails by %d: %llu serving, %llu starting\n",
               calls_name(ways[i].call), ways[i].error,
               (unsigned long long)serving, (unsigned long long)starting);
    }
    empty(t.path);
    rmdir(t.path);
    printf("%llu failures in %llu trials; the node ended at %llu, %llu starts "
           "were refused; nothing was lost\n",
           (unsigned long long)t.failures, (unsigned long long)t.trials,
           (unsigned long long)t.ends, (unsigned long long)t.starts_refused);
    return t.failures < 100;
}
