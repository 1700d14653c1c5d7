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
#include "durable/tap.h"
#include "sim/disk_sim.h"
#include "wire/mp.h"

struct memory {
    struct disk_sim *sim;
    struct tap tap;
    struct disk disk;
    bool store; /* the journal and the checkpoints lack memory, too */
    struct node_config config;
    struct rig rig;
    struct story story;
    uint64_t failures, unanswered, ends;
};

static void in_store(bool in)
{
    if (in)
        lack_enter();
    else
        lack_leave();
}

static void start(struct memory *m)
{
    m->config.seed++;
    int rc = rig_open_watched(&m->rig, &m->disk, &m->config,
                              m->store ? in_store : NULL);
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

/* Where there are many: each at first, then at growing distances; with --all
 * each. */
static bool all;

static uint64_t next(uint64_t n)
{
    return all ? 1 : 1 + n / 8;
}

static void try_all(struct memory *m, const char *name, enum story_kind kind,
                    uint64_t most, bool for_good)
{
    uint64_t n = 1, clean = 0;
    /* The next may take more: some passes in a row without a failure. */
    for (; clean < 3 && n < most; n += for_good ? next(n) : 1)
        clean = try_one(m, name, kind, n, for_good) ? 0 : clean + 1;
    printf("%s: up to allocation %llu\n", name, (unsigned long long)n);
    RIG_CHECK(n > 4, "nothing was allocated");
}

/* What is read: a failure is said, or the answer is the right one. */
static const struct {
    const char *name;
    struct request request;
    const char *action; /* in the document */
} questions[] = {
    { "get", { .op = OP_GET }, NULL },
    { "mget", { .op = OP_MGET, .list_count = 2 }, NULL },
    { "range", { .op = OP_RANGE }, NULL },
    { "page", { .op = OP_RANGE, .limit = 3 }, NULL },
    { "down", { .op = OP_RANGE, .flags = REQUEST_REVERSE }, NULL },
    { "count", { .op = OP_COUNT }, NULL },
    { "lookup", { .op = OP_LOOKUP }, NULL },
    { "ring", { .op = OP_RING }, NULL },
    { "peers", { .op = OP_PEERS }, NULL },
    { "status", { .op = OP_STATUS }, NULL },
    { "keyspaces", { .op = OP_KEYSPACE_LIST }, NULL },
    { "keyspace", { .op = OP_KEYSPACE_SHOW }, NULL },
    { "model", { .op = OP_MODEL }, "show" },
    { "train", { .op = OP_MODEL }, "train" },
    { "balance", { .op = OP_BALANCE }, "status" },
};

static bool ask(struct memory *m, size_t i, struct buf *out, int *status)
{
    struct request q = questions[i].request;
    struct buf doc = { 0 }, list = { 0 };
    q.timeout_ms = 3000;
    if (q.op == OP_GET || q.op == OP_LOOKUP)
        q.key = span_str("k01");
    if (q.op == OP_MGET) {
        mp_write_bin(&list, span_str("k02"));
        mp_write_bin(&list, span_str("k03"));
        q.list = buf_span(&list);
    }
    mp_write_map(&doc, questions[i].action != NULL);
    if (questions[i].action) {
        mp_write_cstr(&doc, "action");
        mp_write_cstr(&doc, questions[i].action);
    }
    q.value = buf_span(&doc);
    bool answered = rig_ask(&m->rig, &q, 6000);
    const struct response *r = &m->rig.response;
    *status = answered ? r->status : DLHT_ETIMEOUT;
    buf_reset(out);
    if (answered) {
        buf_append_span(out, r->value);
        buf_append_span(out, r->list);
        buf_append_span(out, r->cursor);
        mp_write_uint(out, r->list_count);
        mp_write_uint(out, r->count);
    }
    buf_deinit(&doc);
    buf_deinit(&list);
    return answered;
}

/* Documents with times and counts in them differ from one to the next. */
static bool is_steady(size_t i)
{
    uint8_t op = questions[i].request.op;
    return op == OP_GET || op == OP_MGET || op == OP_RANGE || op == OP_COUNT;
}

/* Its own deadline may come, and it may be told to ask again. */
static bool is_refusal(int status)
{
    return status == DLHT_EBUSY || status == DLHT_ETIMEOUT ||
           status == DLHT_EUNAVAILABLE || status == DLHT_EUNKNOWN;
}

static void try_question(struct memory *m, size_t i)
{
    struct buf right = { 0 }, got = { 0 };
    int due, status;
    uint64_t n = 1;
    for (bool more = true; more; n++) {
        snprintf(rig_story, sizeof rig_story, "%s, allocation %llu fails",
                 questions[i].name, (unsigned long long)n);
        RIG_CHECK(ask(m, i, &right, &due), "without a failure");
        lack_nth(n);
        bool answered = ask(m, i, &got, &status);
        more = lack_happened();
        lack_nth(0);
        m->failures += more;
        rig_run(&m->rig, 600, false);
        if (m->rig.failed) {
            m->ends++;
            end(m);
            start(m);
            continue;
        }
        m->unanswered += !answered;
        bool steady = is_steady(i);
        RIG_CHECK(!steady || status == due || (more && is_refusal(status)),
                  "%s, not %s", dlht_errname(status), dlht_errname(due));
        RIG_CHECK(!steady || is_refusal(status) ||
                      span_equal(buf_span(&got), buf_span(&right)),
                  "another answer");
        node_check(m->rig.node);
    }
    printf("%s: %llu allocations, %s\n", questions[i].name,
           (unsigned long long)n - 2, dlht_errname(due));
    buf_deinit(&right);
    buf_deinit(&got);
}

static void try_questions(struct memory *m)
{
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        try_question(m, i);
    judge(m, "after all questions");
}

/* Reading the directory: it says that there is no memory, and nothing else. */
static void try_restores(struct memory *m)
{
    uint64_t n = 1;
    for (bool more = true; more; n += next(n)) {
        snprintf(rig_story, sizeof rig_story,
                 "restoring, allocation %llu fails", (unsigned long long)n);
        end(m);
        lack_nth(n);
        m->config.seed++;
        int rc = rig_open_watched(&m->rig, &m->disk, &m->config, in_store);
        more = lack_happened();
        lack_nth(0);
        m->failures += more;
        RIG_CHECK(rc == DLHT_ENOMEM || rc == DLHT_OK, "%s", dlht_errname(rc));
        RIG_CHECK(rc == DLHT_OK || more, "by itself");
        if (rc == DLHT_OK)
            end(m);
        start(m);
        judge(m, "after a second start");
    }
    printf("restore: about %llu allocations\n", (unsigned long long)n);
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
    all = argc > 5 && strcmp(argv[5], "--all") == 0;
    rig_config(&m.config, seed);
    story_init(&m.story, seed);
    m.story.keep_doubt = true;
    m.sim = disk_sim_new();
    /* The simulated disk has all it wants. */
    m.tap = (struct tap){ .inner = disk_sim_disk(m.sim), .inside = lack_pause };
    m.disk = tap_disk(&m.tap);
    start(&m);
    for (int i = 0; i < 60; i++)
        RIG_CHECK(story_step(&m.story), "without failures");
    for (int for_good = 0; for_good < 2; for_good++)
        for (size_t i = 0; i < sizeof things / sizeof *things; i++)
            try_all(&m, things[i].name, things[i].kind, most, for_good);
    try_questions(&m);
    puts("and in the store:");
    end(&m);
    m.store = true;
    start(&m);
    for (size_t i = 0; i < sizeof things / sizeof *things; i++)
        try_all(&m, things[i].name, things[i].kind, most, false);
    try_restores(&m);
    end(&m);
    disk_sim_free(m.sim);
    story_deinit(&m.story);
    printf("%llu failures, of which the node ended at %llu; %llu requests got "
           "no answer\n",
           (unsigned long long)m.failures, (unsigned long long)m.ends,
           (unsigned long long)m.unanswered);
    return m.unanswered > 0;
}
