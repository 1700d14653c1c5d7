/* SPDX-License-Identifier: Apache-2.0 */

/* The n-th call of the disk fails, for every n, of every kind and in every way,
 * while a node serves, starts and recovers. What it acknowledged stays, what it
 * did not may be there or not; it either goes on or says why it cannot, and works
 * again once the disk does. What a failed sync was to write is in doubt for
 * ever on the simulated disk: who syncs again and believes that one loses it. */

#include <string.h>

#include "dlht/err.h"
#include "durable/rig.h"
#include "durable/story.h"
#include "durable/tap.h"
#include "sim/disk_sim.h"

enum {
    STEPS = 50,
    MOST = 4000
};

/* The failures: of a call of the kind, with the code; full: and all after it
 * that need room, until the disk has room again. */
static const struct failing {
    enum tap_call call;
    int code;
    bool lasts;
} ways[] = {
    { TAP_WRITE, DLHT_EIO, false },     { TAP_WRITE, DLHT_EFULL, false },
    { TAP_WRITE, DLHT_EFULL, true },    { TAP_SYNC, DLHT_EIO, false },
    { TAP_SYNC, DLHT_EFULL, false },    { TAP_RENAME, DLHT_EIO, false },
    { TAP_RENAME, DLHT_EFULL, true },   { TAP_REMOVE, DLHT_EIO, false },
    { TAP_CREATE, DLHT_EIO, false },    { TAP_CREATE, DLHT_EFULL, true },
    { TAP_CREATE, DLHT_ENOMEM, false }, { TAP_ALLOCATE, DLHT_EIO, false },
    { TAP_ALLOCATE, DLHT_EFULL, true }, { TAP_OPEN, DLHT_EIO, false },
    { TAP_READ, DLHT_EIO, false },      { TAP_SIZE, DLHT_EIO, false },
    { TAP_LIST, DLHT_EIO, false },      { TAP_SYNC_NAMES, DLHT_EIO, false },
};

struct trial {
    struct disk_sim *sim;
    struct tap tap;
    struct disk disk;
    struct node_config config;
    struct rig rig;
    struct story story;
    struct failing way;
    uint64_t left; /* calls of the kind until it fails; 0: none does */
    bool happened;
    bool full;
    uint64_t trials, failures, ends, starts_refused;
};

static bool needs_room(enum tap_call call)
{
    return call == TAP_WRITE || call == TAP_CREATE || call == TAP_ALLOCATE;
}

/* The simulated disk is told of it, too, since what a failed write or sync
 * leaves behind is its affair. */
static int before_call(void *context, enum tap_call call)
{
    struct trial *t = context;
    if (t->full && needs_room(call))
        return DLHT_EFULL;
    if (call != t->way.call || t->left == 0 || --t->left > 0)
        return DLHT_OK;
    t->happened = true;
    t->full = t->way.lasts;
    if (call == TAP_WRITE) {
        disk_sim_fail_next(t->sim, DISK_SIM_WRITE, 0, t->way.code);
        return DLHT_OK;
    }
    if (call == TAP_SYNC) {
        disk_sim_fail_next(t->sim, DISK_SIM_SYNC, 0, t->way.code);
        return DLHT_OK;
    }
    return t->way.code;
}

static int open_rig(struct trial *t)
{
    t->config.seed++;
    int rc = rig_open(&t->rig, &t->disk, &t->config);
    if (rc == DLHT_OK && !rig_boot(&t->rig)) {
        rc = t->rig.failed ? t->rig.failed : DLHT_EIO;
        disk_sim_restart(t->sim);
        rig_close(&t->rig);
    }
    if (rc == DLHT_OK)
        story_use(&t->story, &t->rig);
    return rc;
}

/* The disk works again. */
static void mend(struct trial *t)
{
    t->left = 0;
    t->full = false;
}

/* The machine goes down, with or without what is in doubt. */
static void crash(struct trial *t, struct rng *rng)
{
    size_t n = disk_sim_doubt_count(t->sim);
    uint16_t *keep = calloc(n + 1, sizeof *keep);
    double chance = rng_real(rng);
    for (size_t i = 0; i < n; i++)
        keep[i] = rng_chance(rng, chance) ? DISK_SIM_SECTOR_BYTES : 0;
    disk_sim_crash_keep(t->sim, keep);
    free(keep);
}

static void read_back(struct trial *t, const char *when)
{
    static struct story_content content;
    RIG_CHECK(story_read(&t->rig, &content), "%s: cannot read: %s", when,
              dlht_errname(t->rig.response.status));
    story_judge(&t->story, &content, when);
    story_adopt(&t->story, &content);
    node_check(t->rig.node);
}

/* A node in the midst of its life, without failures. */
static void begin(struct trial *t, uint64_t seed)
{
    t->sim = disk_sim_new();
    RIG_CHECK(t->sim, "no memory");
    t->tap = (struct tap){ .inner = disk_sim_disk(t->sim),
                           .before = before_call,
                           .context = t };
    t->disk = tap_disk(&t->tap);
    t->happened = t->full = false;
    t->left = 0;
    rig_config(&t->config, seed);
    story_init(&t->story, seed);
    t->story.keep_doubt = true;
    RIG_CHECK(open_rig(t) == DLHT_OK, "a new node");
    for (int i = 0; i < STEPS; i++)
        RIG_CHECK(story_step(&t->story), "without failures");
}

static void end(struct trial *t)
{
    disk_sim_restart(t->sim);
    rig_close(&t->rig);
    disk_sim_free(t->sim);
    story_deinit(&t->story);
}

/* Goes on under the failure. False: the node has said that it cannot. */
static bool live(struct trial *t)
{
    for (int i = 0; i < STEPS && !t->rig.failed; i++) {
        bool ok = story_step(&t->story);
        RIG_CHECK(ok || t->happened, "it fails by itself");
        if (t->full && i == STEPS / 2) {
            mend(t); /* there is room again */
            rig_run(&t->rig, 3000, false);
        }
    }
    return !t->rig.failed;
}

static void judge_end(struct trial *t)
{
    if (t->rig.failed) {
        t->ends++;
        RIG_CHECK(t->rig.failed_text[0], "it says why");
        return;
    }
    mend(t);
    rig_run(&t->rig, 3000, false);
    if (!t->rig.failed)
        read_back(t, "going on");
    if (!t->rig.failed)
        RIG_CHECK(story_do(&t->story, STORY_PUT) || t->rig.failed,
                  "it serves again");
}

/* Of a failure while it serves. False: there were fewer such calls. */
static bool try_serving(struct trial *t, uint64_t n, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed * 77 + n);
    begin(t, seed);
    t->left = n;
    t->trials++;
    live(t);
    judge_end(t);
    bool happened = t->happened;
    t->failures += happened;
    mend(t);
    crash(t, &rng);
    rig_close(&t->rig);
    int rc = open_rig(t);
    RIG_CHECK(rc == DLHT_OK, "starting again: %s", dlht_errname(rc));
    read_back(t, "after a restart");
    RIG_CHECK(story_do(&t->story, STORY_PUT), "after a restart");
    end(t);
    return happened;
}

/* Of a failure while it starts. */
static bool try_starting(struct trial *t, uint64_t n, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed * 77 + n);
    begin(t, seed);
    crash(t, &rng);
    rig_close(&t->rig);
    t->left = n;
    t->trials++;
    int rc = open_rig(t);
    bool happened = t->happened;
    t->failures += happened;
    RIG_CHECK(rc == DLHT_OK || happened, "it fails by itself");
    RIG_CHECK(rc != DLHT_ECORRUPT, "a failure is no damage");
    t->starts_refused += rc != DLHT_OK;
    if (rc == DLHT_OK) {
        mend(t);
        rig_run(&t->rig, 3000, false);
        if (!t->rig.failed)
            read_back(t, "it started all the same");
        disk_sim_restart(t->sim);
        rig_close(&t->rig);
    }
    mend(t);
    crash(t, &rng);
    rc = open_rig(t);
    RIG_CHECK(rc == DLHT_OK, "starting again: %s", dlht_errname(rc));
    read_back(t, "after the second start");
    end(t);
    return happened;
}

static uint64_t try_way(struct trial *t, const struct failing *way,
                        uint64_t seed, uint64_t stride, bool serving)
{
    uint64_t n = 1, count = 0;
    bool more = true;
    t->way = *way;
    for (; more && n < MOST; n += stride) {
        snprintf(rig_story, sizeof rig_story,
                 "seed %llu, %s %llu from then on says %s%s, %s",
                 (unsigned long long)seed, tap_name(way->call),
                 (unsigned long long)n, dlht_errname(way->code),
                 way->lasts ? " and all after it" : "",
                 serving ? "serving" : "starting");
        more = serving ? try_serving(t, n, seed) : try_starting(t, n, seed);
        count += more;
    }
    return count;
}

int main(int argc, char **argv)
{
    static struct trial t;
    uint64_t seed = 1, last = 1, stride = 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned long long value = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0)
            seed = last = value;
        else if (strcmp(argv[i], "--to") == 0)
            last = value;
        else if (strcmp(argv[i], "--stride") == 0 && value)
            stride = value;
    }
    for (; seed <= last; seed++)
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            uint64_t serving = try_way(&t, &ways[i], seed, stride, true);
            uint64_t starting = try_way(&t, &ways[i], seed, stride, false);
            printf("seed %llu, %s says %s%s: %llu serving, %llu starting\n",
                   (unsigned long long)seed, tap_name(ways[i].call),
                   dlht_errname(ways[i].code),
                   ways[i].lasts ? " for a while" : "",
                   (unsigned long long)serving, (unsigned long long)starting);
        }
    printf("%llu failures in %llu trials; the node ended at %llu, %llu starts "
           "were refused; nothing was lost\n",
           (unsigned long long)t.failures, (unsigned long long)t.trials,
           (unsigned long long)t.ends, (unsigned long long)t.starts_refused);
    return t.failures < 100;
}
