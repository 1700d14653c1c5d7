/* SPDX-License-Identifier: Apache-2.0 */

/* Threads that share work: all of it is done once, and what fails ends it. A
 * plain program, so that the sanitizer of threads can watch it: the same
 * source is built once more with that. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "dlht/err.h"
#include "net/check.h"
#include "net/crew.h"

enum {
    THINGS = 100
};

/* Threads that cannot be made: the linker sends calls here. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*fn)(void *), void *context);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*fn)(void *), void *context);

static int creates_left;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*fn)(void *), void *context)
{
    if (creates_left == 0)
        return 11;
    creates_left--;
    return __real_pthread_create(thread, attributes, fn, context);
}

struct work {
    atomic_int done[THINGS];
    atomic_bool busy[CREW_MAX];
    int by[CREW_MAX]; /* plain: who is another for each thread */
    atomic_int begun;
    pthread_barrier_t *meet; /* NULL: none */
    size_t fails;            /* THINGS: none */
};

static int run(void *context, size_t who, size_t index)
{
    struct work *w = context;
    CHECK(who < CREW_MAX);
    CHECK(!atomic_exchange(&w->busy[who], true));
    w->by[who]++;
    w->begun++;
    w->done[index]++;
    if (w->meet)
        pthread_barrier_wait(w->meet);
    w->busy[who] = false;
    return index == w->fails ? DLHT_EIO : DLHT_OK;
}

static void each_is_done_once(size_t size, int creates)
{
    static struct work w;
    w = (struct work){ .fails = THINGS };
    creates_left = creates;
    CHECK_EQ(crew_run(size, THINGS, run, &w), DLHT_OK);
    int sum = 0;
    for (size_t i = 0; i < THINGS; i++)
        CHECK_EQ(w.done[i], 1);
    for (size_t i = 0; i < CREW_MAX; i++) {
        CHECK(i < size || w.by[i] == 0);
        CHECK(i <= (size_t)creates || w.by[i] == 0);
        sum += w.by[i];
    }
    CHECK_EQ(sum, THINGS);
}

/* None of three comes on before all have come. */
static void they_work_at_once(void)
{
    static struct work w;
    pthread_barrier_t meet;
    pthread_barrier_init(&meet, NULL, 3);
    w = (struct work){ .fails = THINGS, .meet = &meet };
    creates_left = 2;
    CHECK_EQ(crew_run(3, 3, run, &w), DLHT_OK);
    for (size_t i = 0; i < 3; i++)
        CHECK_EQ(w.by[i], 1);
    pthread_barrier_destroy(&meet);
}

static void no_more_threads_than_things(void)
{
    static struct work w;
    w = (struct work){ .fails = THINGS };
    creates_left = CREW_MAX;
    CHECK_EQ(crew_run(CREW_MAX, 2, run, &w), DLHT_OK);
    CHECK_EQ(creates_left, CREW_MAX - 1);
    CHECK_EQ(w.begun, 2);
    CHECK_EQ(crew_run(CREW_MAX, 0, run, &w), DLHT_OK);
    CHECK_EQ(creates_left, CREW_MAX - 1);
    CHECK_EQ(w.begun, 2);
}

static void a_failure_ends_it(size_t size)
{
    static struct work w;
    w = (struct work){ .fails = 7 };
    creates_left = (int)size - 1;
    CHECK_EQ(crew_run(size, THINGS, run, &w), DLHT_EIO);
    CHECK_EQ(w.done[7], 1);
    CHECK(size > 1 || w.begun == 8);
    for (size_t i = 0; i < 7; i++)
        CHECK_EQ(w.done[i], 1);
}

int main(void)
{
    for (int size = 1; size <= CREW_MAX; size++)
        for (int creates = 0; creates < size; creates++)
            each_is_done_once((size_t)size, creates);
    they_work_at_once();
    no_more_threads_than_things();
    a_failure_ends_it(1);
    a_failure_ends_it(4);
    return check_done();
}
