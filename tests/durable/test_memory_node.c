/* SPDX-License-Identifier: Apache-2.0 */

/* The n-th allocation inside a node fails, for every n, in everything that a
 * client may ask of it and in what it does by itself. Whatever fails, nothing
 * that was acknowledged is lost, what is on the disk can be read, the node
 * holds together, and the same thing works when it is done again. A node may
 * say that it cannot go on; then it is started again. */

#include <string.h>

#include "dlht/err.h"
#include "durable/lack.h"
#include "durable/rig.h"
#include "durable/story.h"
#include "sim/disk_sim.h"

struct memory {
    struct disk_sim *sim;
    struct node_config config;
    struct rig rig;
    struct story story;
    uint64_t failures, unanswered, ends;
};

static void start(struct memory *m)
{
    struct disk disk = disk_sim_disk(m->sim);
    m->config.seed++;
    int rc = rig_open(&m->rig, &disk, &m->config);
    RIG_CHECK(rc == DLHT_OK, "restoring: %s", dlht_errname(rc));
    RIG_CHECK(!m->rig.older, "a checkpoint is damaged");
    RIG_CHECK(rig_boot(&m->rig), "booting: %s", m->rig.failed_text);
    story_use(&m->story, &m->rig);
}

static void end(struct memory *m)
{
    uint16_t *none = calloc(disk_sim_doubt_count(m->sim) + 1, sizeof *none);
    disk_sim_crash_keep(m->sim, none);
    free(none);
    rig_close(&m->rig);
}

static void judge(struct memory *m, const char *when)
{
    static struct story_content content;
    node_check(m->rig.node);
    RIG_CHECK(story_read(&m->rig, &content), "%s: cannot read: %s", when,
              dlht_errname(m->rig.response.status));
    story_judge(&m->story, &content, when);
    story_adopt(&m->story, &content);
}

/* One failure in a thing of that kind. False: it took fewer allocations. */
static bool try_one(struct memory *m, const char *name, enum story_kind kind,
                    uint64_t n, bool for_good)
{
    snprintf(rig_story, sizeof rig_story, "%s, allocation %llu fails%s", name,
             (unsigned long long)n, for_good ? " and all after it" : "");
    if (for_good)
        lack_from(n);
    else
        lack_nth(n);
    bool ok = story_do(&m->story, kind);
    bool happened = lack_happened();
    lack_nth(0);
    m->failures += happened;
    m->unanswered += !ok && !m->rig.failed && m->rig.answers == 0;
    RIG_CHECK(ok || happened, "it fails by itself");
    if (happened) /* what was left undone is done, or said */
        rig_run(&m->rig, 600, false);
    if (m->rig.failed) {
        m->ends++;
        RIG_CHECK(happened && m->rig.failed == DLHT_ENOMEM, "it ended: %s",
                  m->rig.failed_text);
        end(m);
        start(m);
    }
    if (happened) {
        judge(m, "after the failure");
        RIG_CHECK(story_do(&m->story, kind), "done again: %s",
                  m->rig.failed_text);
        end(m);
        start(m);
        judge(m, "after a restart");
    }
    return happened;
}

static void try_all(struct memory *m, const char *name, enum story_kind kind,
                    uint64_t most, bool for_good)
{
    uint64_t n = 1, clean = 0;
    /* The next may take more: some passes in a row without a failure. */
    for (; clean < 3 && n < most; n++)
        clean = try_one(m, name, kind, n, for_good) ? 0 : clean + 1;
    printf("%s: %llu allocations\n", name, (unsigned long long)n - clean - 1);
    RIG_CHECK(n - clean > 3, "nothing was allocated");
}

static const struct {
    const char *name;
    enum story_kind kind;
} things[] = {
    { "put", STORY_PUT },       { "del", STORY_DEL },
    { "cas", STORY_CAS },       { "batch", STORY_BATCH },
    { "create", STORY_CREATE }, { "drop", STORY_DROP },
    { "split", STORY_SPLIT },   { "merge", STORY_MERGE },
    { "wait", STORY_WAIT },
};

int main(int argc, char **argv)
{
    static struct memory m;
    setvbuf(stdout, NULL, _IOLBF, 0);
    uint64_t seed = argc > 2 && strcmp(argv[1], "--seed") == 0
                        ? strtoull(argv[2], NULL, 10)
                        : 1;
    uint64_t most = argc > 4 && strcmp(argv[3], "--most") == 0
                        ? strtoull(argv[4], NULL, 10)
                        : 400;
    rig_config(&m.config, seed);
    story_init(&m.story, seed);
    m.story.keep_doubt = true;
    m.sim = disk_sim_new();
    start(&m);
    for (int i = 0; i < 60; i++)
        RIG_CHECK(story_step(&m.story), "without failures");
    for (int for_good = 0; for_good < 2; for_good++)
        for (size_t i = 0; i < sizeof things / sizeof *things; i++)
            try_all(&m, things[i].name, things[i].kind, most, for_good);
    end(&m);
    disk_sim_free(m.sim);
    story_deinit(&m.story);
    printf("%llu failures, of which the node ended at %llu; %llu requests got "
           "no answer\n",
           (unsigned long long)m.failures, (unsigned long long)m.ends,
           (unsigned long long)m.unanswered);
    return m.unanswered > 0;
}
