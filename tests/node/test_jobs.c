/* SPDX-License-Identifier: Apache-2.0 */

/* Jobs of a node, whose world is this file. */

#include <criterion/criterion.h>

#include "dlht/err.h"
#include "node/alone.h"
#include "node/jobs.h"
#include "node/node_state.h"

/* What becomes of a job. */
struct fate {
    int ran, done, dropped;
    struct node *node; /* that done was told */
    bool again;        /* done begins another */
    struct fate *next;
};

static void run(void *data)
{
    ((struct fate *)data)->ran++;
}

static void drop(void *data)
{
    ((struct fate *)data)->dropped++;
}

static void done(struct node *node, void *data)
{
    struct fate *fate = data;
    fate->done++;
    fate->node = node;
    if (fate->again)
        cr_assert_eq(jobs_begin(node, run, done, drop, fate->next, NULL),
                     DLHT_OK);
}

/* Begins a job as a step would. */
static int begin(struct alone *a, struct fate *fate, uint64_t *number)
{
    a->node->fx = &a->fx;
    effects_reset(&a->fx);
    int rc = jobs_begin(a->node, run, done, drop, fate, number);
    a->node->fx = NULL;
    return rc;
}

static void ended(struct alone *a, uint64_t number)
{
    struct event event = { .kind = EVENT_JOB, .now_ns = a->now_ns };
    event.u.job.number = number;
    cr_assert_eq(node_step(a->node, &event, &a->fx), DLHT_OK);
    node_check(a->node);
}

/* The one effect of the step that was. */
static const struct effect *job_effect(const struct alone *a)
{
    cr_assert_eq(a->fx.count, 1);
    cr_assert_eq(a->fx.list[0].kind, EFFECT_JOB);
    return &a->fx.list[0];
}

Test(jobs, a_job_is_done_once_by_its_event)
{
    struct alone a;
    alone_init(&a, 1);
    struct fate fate = { 0 };
    uint64_t number = 0;
    uint64_t hash = node_hash(a.node);
    cr_assert_eq(begin(&a, &fate, &number), DLHT_OK);
    cr_expect_neq(node_hash(a.node), hash, "an open job is part of the state");
    struct effect e = *job_effect(&a);
    cr_expect_neq(number, 0);
    cr_expect_eq(e.u.job.number, number);
    cr_expect_eq(e.u.job.data, &fate);
    alone_run(&a, 500);
    cr_expect(fate.ran == 0 && fate.done == 0, "only the world runs it");
    e.u.job.run(e.u.job.data);
    cr_expect(fate.ran == 1 && fate.done == 0);
    ended(&a, number);
    cr_expect(fate.done == 1 && fate.dropped == 0);
    cr_expect_eq(fate.node, a.node);
    jobs_cancel(a.node, number); /* too late: nothing */
    alone_deinit(&a);
    cr_expect(fate.done == 1 && fate.dropped == 0);
}

Test(jobs, a_done_job_may_begin_another)
{
    struct alone a;
    alone_init(&a, 2);
    struct fate second = { 0 };
    struct fate first = { .again = true, .next = &second };
    uint64_t number;
    cr_assert_eq(begin(&a, &first, &number), DLHT_OK);
    ended(&a, number);
    const struct effect *e = job_effect(&a);
    cr_expect_neq(e->u.job.number, number);
    ended(&a, e->u.job.number);
    cr_expect(first.done == 1 && second.done == 1);
    alone_deinit(&a);
}

Test(jobs, a_cancelled_job_is_dropped_when_it_has_ended)
{
    struct alone a;
    alone_init(&a, 3);
    struct fate fates[3] = { 0 };
    uint64_t numbers[3];
    for (int i = 0; i < 3; i++)
        cr_assert_eq(begin(&a, &fates[i], &numbers[i]), DLHT_OK);
    jobs_cancel(a.node, numbers[1]);
    jobs_cancel(a.node, numbers[1]);
    jobs_cancel(a.node, numbers[2] + 1);
    jobs_cancel(a.node, 0);
    cr_expect_eq(fates[1].dropped, 0, "it may be running");
    /* In any order. */
    ended(&a, numbers[2]);
    ended(&a, numbers[1]);
    ended(&a, numbers[0]);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(fates[i].done, i != 1, "job %d", i);
        cr_expect_eq(fates[i].dropped, i == 1, "job %d", i);
    }
    alone_deinit(&a);
}

Test(jobs, freeing_the_node_drops_what_is_left)
{
    struct alone a;
    alone_init(&a, 4);
    struct fate fates[NODE_JOBS_MAX + 1] = { 0 };
    uint64_t numbers[NODE_JOBS_MAX + 1];
    for (int i = 0; i < NODE_JOBS_MAX; i++)
        cr_assert_eq(begin(&a, &fates[i], &numbers[i]), DLHT_OK);
    struct fate *last = &fates[NODE_JOBS_MAX];
    uint64_t *last_number = &numbers[NODE_JOBS_MAX];
    cr_expect_eq(begin(&a, last, last_number), DLHT_EBUSY);
    cr_expect_eq(*last_number, 0);
    cr_expect_eq(a.fx.count, 0);
    /* One that ends makes room for one. */
    ended(&a, numbers[7]);
    cr_expect_eq(begin(&a, last, last_number), DLHT_OK);
    struct fate none = { 0 };
    cr_expect_eq(begin(&a, &none, NULL), DLHT_EBUSY);
    jobs_cancel(a.node, numbers[9]);
    alone_deinit(&a);
    for (int i = 0; i <= NODE_JOBS_MAX; i++) {
        cr_expect_eq(fates[i].done, i == 7, "job %d", i);
        cr_expect_eq(fates[i].dropped, i != 7, "job %d", i);
    }
    cr_expect(none.done == 0 && none.dropped == 0);
}
