/* SPDX-License-Identifier: Apache-2.0 */

/* Jobs of a true node in the real world: reported with a flush after, beside
 * a node that goes on serving; the end waits for the one that runs. The linker
 * sends each step here first, so that it begins jobs, too. */

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "dlht/dlht.h"
#include "net/check.h"
#include "node/jobs.h"
#include "node/node_state.h"

enum {
    JOBS = 200
};

int __real_node_step(struct node *node, const struct event *event,
                     struct effects *effects);
int __wrap_node_step(struct node *node, const struct event *event,
                     struct effects *effects);

struct fate {
    atomic_bool ran;
    pthread_t by;
};

static struct fate fates[JOBS];
static atomic_int wanted;    /* jobs that the next steps may begin */
static int begun, unflushed; /* the node's thread: begun at all, and reported
                              * since the last flush */
static enum event_kind last;
static atomic_int done_count, drop_count, flushed_count, at_once_count;
static atomic_int started_count, run_count;
static atomic_bool gate; /* that jobs wait for */

static void run(void *data)
{
    struct fate *fate = data;
    started_count++;
    while (!gate)
        usleep(1000);
    fate->by = pthread_self();
    fate->ran = true;
    run_count++;
}

static void done(struct node *node, void *data)
{
    struct fate *fate = data;
    CHECK(node->fx != NULL);
    CHECK(fate->ran);
    CHECK(!pthread_equal(fate->by, pthread_self()));
    done_count++;
    unflushed++;
}

static void drop(void *data)
{
    (void)data;
    drop_count++;
}

int __wrap_node_step(struct node *node, const struct event *event,
                     struct effects *effects)
{
    int rc = __real_node_step(node, event, effects);
    if (event->kind == EVENT_FLUSH) {
        at_once_count += last == EVENT_JOB;
        flushed_count += unflushed;
        unflushed = 0;
    }
    last = event->kind;
    node->fx = effects;
    for (; wanted > 0 && begun < JOBS; wanted--) {
        int refused = jobs_begin(node, run, done, drop, &fates[begun], NULL);
        if (refused != DLHT_OK)
            break;
        begun++;
    }
    node->fx = NULL;
    return rc;
}

static bool comes_to(atomic_int *count, int value)
{
    for (int ms = 0; *count < value && ms < 20000; ms++)
        usleep(1000);
    return *count >= value;
}

static struct dlht *start(void)
{
    struct dlht_config config;
    dlht_config_default(&config);
    config.listen = "127.0.0.1:0";
    struct dlht *d = NULL;
    struct dlht_error error = { 0 };
    CHECK_EQ(dlht_open(&config, &d, &error), DLHT_OK);
    return d;
}

static void put(struct dlht *d)
{
    CHECK_EQ(dlht_put(d, NULL, "k", 1, "v", 1, NULL), DLHT_OK);
}

/* Longer than a node takes to stop. */
static void *open_late(void *context)
{
    (void)context;
    usleep(1000000);
    gate = true;
    return NULL;
}

int main(void)
{
    gate = true;
    struct dlht *d = start();
    if (!d)
        return check_done();
    wanted = 100; /* more than may be open at once */
    CHECK(comes_to(&done_count, 100));
    CHECK(comes_to(&flushed_count, 100));
    /* By the turn that reported it; a flush of the next tick has one before. */
    CHECK(at_once_count > 0);

    /* While one runs and others wait, the node serves, and nothing ends. */
    gate = false;
    wanted = 10;
    for (int i = 0; i < 50 || wanted > 0; i++)
        put(d);
    CHECK_EQ(done_count, 100);
    CHECK_EQ(drop_count, 0);
    gate = true;
    CHECK(comes_to(&flushed_count, 110));

    /* The end: what runs is waited for, what waits is dropped. */
    gate = false;
    started_count = 0;
    wanted = 5;
    while (wanted > 0)
        put(d);
    CHECK(comes_to(&started_count, 1));
    pthread_t opener;
    CHECK_EQ(pthread_create(&opener, NULL, open_late, NULL), 0);
    int ran_before = run_count;
    dlht_close(d);
    CHECK_EQ(run_count - ran_before, started_count);
    CHECK(drop_count >= 4);
    CHECK_EQ(done_count + drop_count, begun);
    CHECK_EQ(begun, 115);
    CHECK_EQ(pthread_join(opener, NULL), 0);
    return check_done();
}
