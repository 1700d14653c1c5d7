/* SPDX-License-Identifier: Apache-2.0 */

/* What a whole node finds on its disk after a power cut. A story is told to
 * one node; after each call that changed its disk (journal segments,
 * checkpoints, with identity and peers in the journal) states are built that
 * the disk may be left in: all of them where they are few, else simple ones
 * and a seeded sample. From each one a node is restored, booted and read as a
 * client would; then the power goes again, twice.
 *
 *     test_crash_node [--images N] [--seed S] [--only STORY]
 *
 * Story number K of seed S is the same in every run. */

#include <string.h>

#include "dlht/err.h"
#include "durable/rig.h"
#include "durable/story.h"
#include "durable/tap.h"
#include "sim/disk_sim.h"

enum {
    SECTOR = DISK_SIM_SECTOR_BYTES,
    IMAGES = 3000,
    STEPS = 60,
    PER_CALL = 5, /* images after one call of the disk */
    EXHAUSTIVE = 2
};

struct crash {
    struct disk_sim *sim;
    struct tap tap;
    struct disk disk;
    struct node_config config;
    struct rig rig;
    struct story story;
    struct rng rng;  /* of images */
    uint64_t number; /* of the story */
    uint64_t seed;
    uint64_t changes;
    const char *last; /* call */
    uint64_t images, images_max;
    uint64_t whole, cut, torn;
    uint64_t calls[TAP_CALLS];
    uint64_t starts, checkpoints;
};

static const char *kind_of_image;

/* A node from that disk, which must serve. */
static void start(struct rig *rig, struct disk_sim *sim,
                  struct node_config config, uint64_t seed, const char *when)
{
    struct disk disk = disk_sim_disk(sim);
    config.seed = seed;
    int rc = rig_open(rig, &disk, &config);
    RIG_CHECK(rc == DLHT_OK, "%s: the directory cannot be restored: %s", when,
              dlht_errname(rc));
    RIG_CHECK(!rig->older, "%s: a checkpoint seems damaged", when);
    RIG_CHECK(rig_boot(rig), "%s: the node does not serve: %s", when,
              rig->failed_text);
}

/* All that is not durable goes. */
static void lose_all(struct rig *rig, struct disk_sim *sim)
{
    uint16_t *none = calloc(disk_sim_doubt_count(sim) + 1, sizeof *none);
    disk_sim_crash_keep(sim, none);
    free(none);
    rig_close(rig);
}

static void same(const struct story_content *a, const struct story_content *b,
                 const char *when)
{
    for (size_t i = 0; i < STORY_SPACES; i++) {
        RIG_CHECK(a->there[i] == b->there[i], "%s: keyspace %zu differs", when,
                  i);
        for (size_t k = 0; k < STORY_KEYS; k++)
            RIG_CHECK(a->cells[i][k].value == b->cells[i][k].value &&
                          a->cells[i][k].version == b->cells[i][k].version,
                      "%s: keyspace %zu, key %zu differs", when, i, k);
    }
}

/* One image: recovered, read, lost again, recovered, written to, lost again. */
static void judge_image(struct crash *c, const uint16_t *keep)
{
    c->images++;
    snprintf(rig_story, sizeof rig_story,
             "seed %llu, story %llu, after %llu changes (last: %s), image %s "
             "(number %llu)",
             (unsigned long long)c->seed, (unsigned long long)c->number,
             (unsigned long long)c->changes, c->last, kind_of_image,
             (unsigned long long)c->images);
    struct disk_sim *sim = disk_sim_clone(c->sim);
    RIG_CHECK(sim, "no memory");
    disk_sim_crash_keep(sim, keep);
    struct rig rig;
    static struct story_content first, second;
    uint64_t seed = rng_next(&c->rng);
    start(&rig, sim, c->config, seed, "first recovery");
    c->cut += rig.report.bytes_cut > 0;
    RIG_CHECK(story_read(&rig, &first), "first recovery: %s",
              dlht_errname(rig.response.status));
    story_judge(&c->story, &first, "first recovery");
    node_check(rig.node);
    /* What was read is durable. */
    lose_all(&rig, sim);
    start(&rig, sim, c->config, seed + 1, "second recovery");
    RIG_CHECK(story_read(&rig, &second), "second recovery: %s",
              dlht_errname(rig.response.status));
    same(&first, &second, "second recovery");
    if (seed % 4 == 0) {
        struct story more;
        story_init(&more, seed);
        story_adopt(&more, &second);
        more.last_value = UINT64_C(1) << 40;
        story_use(&more, &rig);
        for (int i = 0; i < 4; i++)
            RIG_CHECK(story_step(&more), "writing after a recovery: %s",
                      rig.failed_text);
        lose_all(&rig, sim);
        start(&rig, sim, c->config, seed + 2, "third recovery");
        RIG_CHECK(story_read(&rig, &second), "third recovery: %s",
                  dlht_errname(rig.response.status));
        story_judge(&more, &second, "third recovery");
        story_deinit(&more);
    }
    disk_sim_restart(sim);
    rig_close(&rig);
    disk_sim_free(sim);
}

/* A simple one, or one by chance. */
static void draw_image(struct crash *c, uint16_t *keep, size_t n)
{
    static const char *const KINDS[] = {
        "whole",           "without what is in doubt",
        "a beginning",     "an end",
        "all but one",     "one alone",
        "one torn",        "chance",
        "chance",          "chance",
        "chance and torn", "chance and torn"
    };
    size_t kind = (size_t)rng_below(&c->rng, sizeof KINDS / sizeof *KINDS);
    size_t at = (size_t)rng_below(&c->rng, n);
    double chance = rng_real(&c->rng);
    kind_of_image = KINDS[kind];
    for (size_t i = 0; i < n; i++) {
        bool kept = kind == 0   ? true
                    : kind == 1 ? false
                    : kind == 2 ? i < at
                    : kind == 3 ? i >= at
                    : kind == 4 ? i != at
                    : kind == 5 ? i == at
                    : kind == 6 ? true
                                : rng_chance(&c->rng, chance);
        keep[i] = kept ? SECTOR : 0;
        if ((kind == 6 && i == at) || (kind >= 10 && rng_chance(&c->rng, 0.15)))
            keep[i] = (uint16_t)rng_below(&c->rng, SECTOR);
        c->torn += keep[i] % SECTOR != 0;
    }
}

static void look(struct crash *c)
{
    size_t n = disk_sim_doubt_count(c->sim);
    uint16_t *keep = calloc(n + 1, sizeof *keep);
    RIG_CHECK(keep, "no memory");
    if (n <= EXHAUSTIVE) {
        c->whole++;
        for (uint32_t set = 0; set < 1u << n && c->images < c->images_max;
             set++) {
            for (size_t i = 0; i < n; i++)
                keep[i] = set >> i & 1 ? SECTOR : 0;
            kind_of_image = "a subset";
            judge_image(c, keep);
        }
    } else {
        for (int i = 0; i < PER_CALL && c->images < c->images_max; i++) {
            draw_image(c, keep, n);
            judge_image(c, keep);
        }
    }
    free(keep);
}

static void after_call(void *context, enum tap_call call)
{
    struct crash *c = context;
    c->calls[call]++;
    if (disk_sim_changes(c->sim) == c->changes)
        return;
    c->changes = disk_sim_changes(c->sim);
    c->last = tap_name(call);
    look(c);
}

/* Ends the process in order or not, and starts it again. */
static void restart(struct crash *c, bool in_order)
{
    static struct story_content content;
    if (!in_order)
        disk_sim_restart(c->sim);
    rig_close(&c->rig);
    disk_sim_restart(c->sim);
    c->starts++;
    c->config.seed++;
    int rc = rig_open(&c->rig, &c->disk, &c->config);
    RIG_CHECK(rc == DLHT_OK && rig_boot(&c->rig), "a restart: %s",
              dlht_errname(rc));
    story_use(&c->story, &c->rig);
    RIG_CHECK(story_read(&c->rig, &content), "a restart");
    story_judge(&c->story, &content, "a restart");
}

static void tell_story(struct crash *c)
{
    c->sim = disk_sim_new();
    RIG_CHECK(c->sim, "no memory");
    c->changes = 0;
    c->tap = (struct tap){ .inner = disk_sim_disk(c->sim) };
    c->disk = tap_disk(&c->tap);
    rng_init(&c->rng, c->seed * 1000003 + c->number);
    rig_config(&c->config, rng_next(&c->rng));
    story_init(&c->story, rng_next(&c->rng));
    int rc = rig_open(&c->rig, &c->disk, &c->config);
    RIG_CHECK(rc == DLHT_OK && rig_boot(&c->rig), "a new node");
    story_use(&c->story, &c->rig);
    c->tap.after = after_call;
    c->tap.context = c;
    for (int i = 0; i < STEPS && c->images < c->images_max; i++) {
        RIG_CHECK(story_step(&c->story), "step %d: %s", i, c->rig.failed_text);
        if (rng_chance(&c->rng, 0.04))
            restart(c, rng_chance(&c->rng, 0.5));
    }
    rig_close(&c->rig);
    disk_sim_free(c->sim);
    story_deinit(&c->story);
}

static uint64_t number_of(const char *text)
{
    return text ? strtoull(text, NULL, 10) : 0;
}

int main(int argc, char **argv)
{
    static struct crash c;
    uint64_t only = UINT64_MAX;
    c.images_max = IMAGES;
    c.seed = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--images") == 0)
            c.images_max = number_of(argv[i + 1]);
        else if (strcmp(argv[i], "--seed") == 0)
            c.seed = number_of(argv[i + 1]);
        else if (strcmp(argv[i], "--only") == 0)
            only = number_of(argv[i + 1]);
    }
    uint64_t requests = 0;
    if (only != UINT64_MAX)
        c.number = only;
    do {
        tell_story(&c);
        requests += c.story.acknowledged;
        c.number++;
    } while (only == UINT64_MAX && c.images < c.images_max);
    printf("%llu images of %llu stories (%llu requests acknowledged), after "
           "%llu writes, %llu syncs, %llu renames, %llu removals, %llu "
           "directory syncs: all recovered twice; %llu had a tail to cut, "
           "%llu sectors were torn, %llu calls were gone through whole, %llu "
           "restarts\n",
           (unsigned long long)c.images, (unsigned long long)c.number,
           (unsigned long long)requests, (unsigned long long)c.calls[TAP_WRITE],
           (unsigned long long)c.calls[TAP_SYNC],
           (unsigned long long)c.calls[TAP_RENAME],
           (unsigned long long)c.calls[TAP_REMOVE],
           (unsigned long long)c.calls[TAP_SYNC_NAMES],
           (unsigned long long)c.cut, (unsigned long long)c.torn,
           (unsigned long long)c.whole, (unsigned long long)c.starts);
    /* A story in which nothing of a kind happens proves nothing. */
    bool varied = c.calls[TAP_RENAME] && c.calls[TAP_REMOVE] &&
                  (c.cut || c.images < 1000);
    return varied ? 0 : 1;
}
