/* SPDX-License-Identifier: Apache-2.0 */

/* Threads that take one thing after the other. */

#include "net/crew.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "dlht/err.h"

struct crew {
    size_t count;
    crew_fn fn;
    void *context;
    pthread_mutex_t lock;
    /* Under lock. */
    size_t next;
    int failed;
};

struct hand {
    struct crew *crew;
    size_t who;
    pthread_t thread;
};

/* False: there is nothing left to do. */
static bool take(struct crew *c, size_t *index)
{
    pthread_mutex_lock(&c->lock);
    bool more = c->failed == DLHT_OK && c->next < c->count;
    if (more)
        *index = c->next++;
    pthread_mutex_unlock(&c->lock);
    return more;
}

static void note_failure(struct crew *c, int rc)
{
    pthread_mutex_lock(&c->lock);
    if (c->failed == DLHT_OK)
        c->failed = rc;
    pthread_mutex_unlock(&c->lock);
}

static void *work(void *context)
{
    struct hand *hand = context;
    struct crew *c = hand->crew;
    size_t index;
    while (take(c, &index)) {
        int rc = c->fn(c->context, hand->who, index);
        if (rc != DLHT_OK)
            note_failure(c, rc);
    }
    return NULL;
}

/* How many threads there are; signals are the program's own threads'. */
static size_t begin(struct hand *hands, size_t count)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    size_t n = 0;
    while (n < count &&
           pthread_create(&hands[n].thread, NULL, work, &hands[n]) == 0)
        n++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return n;
}

int crew_run(size_t size, size_t count, crew_fn fn, void *context)
{
    assert(size >= 1 && size <= CREW_MAX);
    struct crew c = { .count = count, .fn = fn, .context = context };
    struct hand hands[CREW_MAX];
    for (size_t i = 0; i < CREW_MAX; i++)
        hands[i] = (struct hand){ .crew = &c, .who = i };
    pthread_mutex_init(&c.lock, NULL);
    size_t others = size < count ? size - 1 : count ? count - 1 : 0;
    others = begin(hands + 1, others);
    work(&hands[0]);
    for (size_t i = 0; i < others; i++)
        pthread_join(hands[1 + i].thread, NULL);
    pthread_mutex_destroy(&c.lock);
    return c.failed;
}
