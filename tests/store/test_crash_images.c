/* SPDX-License-Identifier: Apache-2.0 */

/* What a journal is after a power cut: for every number of disk calls that a
 * script came to, and for every state that the disk may then be in (where
 * those are few; else all simple ones and a seeded sample), it is opened,
 * judged, written to, cut off again and judged again. */

#include "store/journal.h"

#include "store/journal_world.h"

enum {
    SECTOR = DISK_SIM_SECTOR_BYTES
};

enum step_kind {
    APPEND,
    FLUSH,
    SYNC,
    RELEASE,
    TRIM,
    REOPEN, /* close in order, open again */
    RESTART /* the process is killed, the machine stays up */
};

struct step {
    enum step_kind kind;
    uint8_t type;
    uint64_t arc;
    uint64_t index;
    size_t len;
};

static const struct step first_script[] = {
    { APPEND, 3, 1, 0, 9 },
    { SYNC, 0, 0, 0, 0 },
    { APPEND, 1, 1, 1, 40 },
    { FLUSH, 0, 0, 0, 0 },
    { APPEND, 1, 2, 1, 300 },
    { APPEND, 3, 2, 0, 20 },
    { FLUSH, 0, 0, 0, 0 },
    { APPEND, 1, 1, 2, 33 },
    { SYNC, 0, 0, 0, 0 },
    { APPEND, 1, 1, 3, 1500 },
    { FLUSH, 0, 0, 0, 0 },
    { APPEND, 4, 1, 0, 64 },
    { FLUSH, 0, 0, 0, 0 },
    { REOPEN, 0, 0, 0, 0 },
    { APPEND, 1, 2, 2, 700 },
    { SYNC, 0, 0, 0, 0 },
    { APPEND, 1, 2, 3, 1200 },
    { SYNC, 0, 0, 0, 0 },
    { APPEND, 3, 1, 0, 12 },
    { APPEND, 1, 1, 4, 100 },
    { FLUSH, 0, 0, 0, 0 },
    { RESTART, 0, 0, 0, 0 },
    { APPEND, 1, 1, 5, 3000 },
    { FLUSH, 0, 0, 0, 0 },
    { APPEND, 1, 1, 6, 900 },
    { FLUSH, 0, 0, 0, 0 },
    { APPEND, 1, 1, 7, 50 },
    { SYNC, 0, 0, 0, 0 },
    { RELEASE, 0, 1, 5, 0 },
    { RELEASE, 0, 2, 3, 0 },
    { APPEND, 1, 2, 4, 70 },
    { TRIM, 0, 0, 0, 0 },
    { APPEND, 1, 1, 8, 2500 },
    { FLUSH, 0, 0, 0, 0 },
    { APPEND, 1, 2, 5, 6000 },
    { SYNC, 0, 0, 0, 0 },
    { APPEND, 3, 5, 0, 30 },
    { APPEND, 1, 5, 1, 60 },
    { FLUSH, 0, 0, 0, 0 },
    { RELEASE, 0, 1, 8, 0 },
    { RELEASE, 0, 2, 5, 0 },
    { TRIM, 0, 0, 0, 0 },
    { APPEND, 6, 5, 0, 30 },
    { SYNC, 0, 0, 0, 0 },
    { RELEASE, 0, 5, UINT64_MAX, 0 },
    { APPEND, 1, 1, 9, 3400 },
    { SYNC, 0, 0, 0, 0 },
    { RELEASE, 0, 1, 9, 0 },
    { TRIM, 0, 0, 0, 0 },
    { RESTART, 0, 0, 0, 0 },
    { APPEND, 1, 1, 10, 20 },
    { FLUSH, 0, 0, 0, 0 },
    { REOPEN, 0, 0, 0, 0 },
};

/* Opens again; what was not flushed is gone. */
static int open_again(struct world *w)
{
    world_close(w);
    int rc = world_open(w);
    if (rc != DLHT_OK)
        return rc;
    cr_assert(world_judge(w), "%s", w->why);
    world_adopt(w);
    return DLHT_OK;
}

static int do_step(struct world *w, const struct step *step)
{
    switch (step->kind) {
    case APPEND:
        return world_append(w, step->type, step->arc, step->index, step->len);
    case FLUSH:
        return world_flush(w, false);
    case SYNC:
        return world_flush(w, true);
    case RELEASE:
        world_release(w, step->arc, step->index);
        return DLHT_OK;
    case TRIM:
        return journal_trim(w->journal);
    case REOPEN:
        return open_again(w);
    case RESTART:
        disk_sim_restart(w->sim); /* no last words */
        return open_again(w);
    }
    return DLHT_EINVAL;
}

/* Plays the script until the power goes, and closes. */
static int play(struct world *w, const struct step *steps, size_t count)
{
    int rc = world_open(w);
    for (size_t i = 0; i < count && rc == DLHT_OK; i++)
        rc = do_step(w, &steps[i]);
    disk_sim_restart(w->sim); /* handles are gone: close writes nothing */
    world_close(w);
    return rc;
}

/* What goes on over all images. */
struct tally {
    const struct world *base; /* after the script, before the cut */
    uint64_t changes;
    uint64_t images;
    uint64_t cut;
    const char *why;
};

static void fail(const struct tally *t, const struct world *w, const char *when,
                 int rc)
{
    cr_assert_fail("after %llu changes, %s, %s: %s, %s",
                   (unsigned long long)t->changes, t->why, when,
                   dlht_errname(rc), w->why);
}

/* One image: open, judge, write, cut the power twice more. */
static void judge_image(struct tally *t, const uint16_t *keep)
{
    static struct world w;
    w = *t->base;
    w.sim = disk_sim_clone(t->base->sim);
    disk_sim_crash_keep(w.sim, keep);
    t->images++;
    int rc = world_open(&w);
    if (rc != DLHT_OK || !world_judge(&w))
        fail(t, &w, "first opening", rc);
    t->cut += w.report.bytes_cut > 0;
    world_adopt(&w);

    /* What was replayed is durable at once. */
    struct disk_sim *before = disk_sim_clone(w.sim);
    world_close(&w);
    disk_sim_free(w.sim);
    w.sim = before;
    world_lose_all(&w);
    size_t count = w.replayed_count;
    rc = world_open(&w);
    if (rc != DLHT_OK || !world_judge(&w) || w.replayed_count > count)
        fail(t, &w, "second opening", rc);

    /* As long as what was lost: a later batch that survived it must not fall
     * into place behind this one. */
    bool lost = w.count < t->base->count;
    size_t len = lost ? t->base->entries[w.count].len : 25;
    rc = world_append(&w, 1, 7, 1, len);
    if (rc == DLHT_OK)
        rc = world_flush(&w, true);
    if (rc != DLHT_OK)
        fail(t, &w, "writing", rc);
    world_lose_all(&w);
    world_close(&w);
    rc = world_open(&w);
    if (rc != DLHT_OK || !world_judge(&w))
        fail(t, &w, "third opening", rc);
    world_close(&w);
    disk_sim_free(w.sim);
}

/* All subsets of few doubts. */
static void judge_subsets(struct tally *t, uint16_t *keep, size_t n)
{
    t->why = "a subset";
    for (uint32_t set = 0; set < 1u << n; set++) {
        for (size_t i = 0; i < n; i++)
            keep[i] = set >> i & 1 ? SECTOR : 0;
        judge_image(t, keep);
    }
}

/* Of many: beginnings, ends, one lost, one kept, and some by chance. */
static void judge_sample(struct tally *t, uint16_t *keep, size_t n,
                         struct rng *rng)
{
    for (size_t cut = 0; cut <= n; cut++) {
        t->why = "a beginning";
        for (size_t i = 0; i < n; i++)
            keep[i] = i < cut ? SECTOR : 0;
        judge_image(t, keep);
        t->why = "an end";
        for (size_t i = 0; i < n; i++)
            keep[i] = i < cut ? 0 : SECTOR;
        judge_image(t, keep);
        t->why = "all but one";
        for (size_t i = 0; i < n; i++)
            keep[i] = i == cut ? 0 : SECTOR;
        judge_image(t, keep);
        t->why = "one alone";
        for (size_t i = 0; i < n; i++)
            keep[i] = i == cut ? SECTOR : 0;
        judge_image(t, keep);
    }
    t->why = "chance";
    for (int round = 0; round < 24; round++) {
        for (size_t i = 0; i < n; i++)
            keep[i] = rng_chance(rng, 0.5) ? SECTOR : 0;
        for (size_t i = 0; i < n; i++)
            if (rng_chance(rng, 0.1))
                keep[i] = (uint16_t)rng_below(rng, SECTOR);
        judge_image(t, keep);
    }
}

/* The last write, cut at every byte (in the midst of a large one, at some): all
 * before it kept, of it a beginning. */
static void judge_cuts(struct tally *t, uint16_t *keep, size_t n)
{
    t->why = "cut at a byte";
    struct disk_sim_doubt doubt;
    if (n == 0)
        return;
    disk_sim_doubt_at(t->base->sim, n - 1, &doubt);
    uint64_t last = doubt.call;
    for (size_t i = n; i-- > 0;) {
        disk_sim_doubt_at(t->base->sim, i, &doubt);
        if (doubt.call != last || doubt.kind != DISK_SIM_SECTOR)
            break;
        bool midst = doubt.from == 0 && doubt.to == SECTOR && i + 1 < n;
        for (size_t at = doubt.from; at < doubt.to; at += midst ? 61 : 1) {
            for (size_t k = 0; k < n; k++)
                keep[k] = k < i ? SECTOR : 0;
            keep[i] = (uint16_t)at;
            judge_image(t, keep);
        }
    }
}

/* Every sector in doubt torn alone, at some places. */
static void judge_tears(struct tally *t, uint16_t *keep, size_t n,
                        struct rng *rng)
{
    t->why = "one torn";
    for (size_t i = 0; i < n; i++)
        for (int round = 0; round < 4; round++) {
            for (size_t k = 0; k < n; k++)
                keep[k] = SECTOR;
            keep[i] = (uint16_t)rng_range(rng, 1, SECTOR - 1);
            judge_image(t, keep);
        }
}

static uint64_t judge_script(const struct step *steps, size_t count,
                             uint64_t seed, bool thorough)
{
    struct rng rng;
    rng_init(&rng, seed);
    struct tally t = { 0 };
    static struct world w;
    for (bool whole = false; !whole; t.changes++) {
        world_init(&w, disk_sim_new());
        disk_sim_stop_after(w.sim, t.changes);
        int rc = play(&w, steps, count);
        whole = disk_sim_changes(w.sim) < t.changes;
        cr_assert(rc == DLHT_OK || (rc == DLHT_EIO && !whole), "%s",
                  dlht_errname(rc));
        t.base = &w;
        size_t n = disk_sim_doubt_count(w.sim);
        uint16_t *keep = calloc(n + 1, sizeof *keep);
        if (n <= 6)
            judge_subsets(&t, keep, n);
        else
            judge_sample(&t, keep, n, &rng);
        judge_tears(&t, keep, n, &rng);
        if (thorough)
            judge_cuts(&t, keep, n);
        free(keep);
        disk_sim_free(w.sim);
    }
    printf("%llu images after 0 .. %llu changes, %llu with a tail to cut\n",
           (unsigned long long)t.images, (unsigned long long)t.changes - 1,
           (unsigned long long)t.cut);
    return t.cut;
}

Test(crash_images, every_crash_of_a_script_is_survived, .timeout = 120)
{
    uint64_t cut = judge_script(
        first_script, sizeof first_script / sizeof *first_script, 1, true);
    cr_expect_gt(cut, 1000);
}

/* A script by chance: small and large records, a few arcs, all steps. */
static size_t draw_script(struct step *steps, size_t cap, struct rng *rng)
{
    uint64_t index[WORLD_ARCS] = { 0 };
    for (size_t i = 0; i < cap; i++) {
        struct step *s = &steps[i];
        *s = (struct step){ .kind = APPEND };
        s->arc = rng_below(rng, 4);
        uint64_t kind = rng_below(rng, 100);
        if (kind < 50) {
            bool zero = rng_chance(rng, 0.3);
            s->type = (uint8_t)rng_range(rng, 1, 4);
            s->index = zero ? 0 : ++index[s->arc];
            s->len = (size_t)rng_range(rng, 8, 80);
            if (rng_chance(rng, 0.3))
                s->len = (size_t)rng_range(rng, 80, 2500);
        } else if (kind < 65) {
            s->kind = FLUSH;
        } else if (kind < 80) {
            s->kind = SYNC;
        } else if (kind < 88) {
            s->kind = RELEASE;
            s->index = rng_below(rng, index[s->arc] + 1);
            if (rng_chance(rng, 0.1))
                s->index = UINT64_MAX;
        } else if (kind < 94) {
            s->kind = TRIM;
        } else {
            s->kind = kind < 97 ? REOPEN : RESTART;
        }
    }
    return cap;
}

Test(crash_images, crashes_of_scripts_drawn_by_chance_are_survived,
     .timeout = 120)
{
    enum {
        STEPS = 60
    };
    uint64_t cut = 0;
    for (uint64_t seed = 100; seed < 112; seed++) {
        struct rng rng;
        struct step steps[STEPS];
        rng_init(&rng, seed);
        printf("seed %llu: ", (unsigned long long)seed);
        size_t count = draw_script(steps, STEPS, &rng);
        cut += judge_script(steps, count, seed, false);
    }
    cr_expect_gt(cut, 100);
}
