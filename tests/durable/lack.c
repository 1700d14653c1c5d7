/* SPDX-License-Identifier: Apache-2.0 */

/* Standing before the allocator, and before node_step. */

#include "durable/lack.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/rng.h"
#include "node/node.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
int __real_node_step(struct node *node, const struct event *event,
                     struct effects *effects);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
int __wrap_node_step(struct node *node, const struct event *event,
                     struct effects *effects);

static unsigned inside;
static int pauses;
static uint64_t nth;
static bool for_good;
static uint64_t one_of;
static struct rng rng;
static bool happened;
static uint64_t failures;

void lack_nth(uint64_t n)
{
    nth = n;
    for_good = false;
    happened = false;
}

void lack_from(uint64_t n)
{
    lack_nth(n);
    for_good = true;
}

void lack_one_of(uint64_t many, uint64_t seed)
{
    one_of = many;
    rng_init(&rng, seed);
}

bool lack_happened(void)
{
    return happened;
}

uint64_t lack_count(void)
{
    return failures;
}

void lack_enter(void)
{
    inside++;
}

void lack_leave(void)
{
    inside--;
}

void lack_pause(bool pause)
{
    pauses += pause ? 1 : -1;
}

static bool fails(void)
{
    if (!inside || pauses)
        return false;
    bool now = nth > 0 && --nth == 0;
    if (now && for_good)
        nth = 1;
    now = now || (one_of > 0 && rng_below(&rng, one_of) == 0);
    happened = happened || now;
    failures += now;
    return now;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

int __wrap_node_step(struct node *node, const struct event *event,
                     struct effects *effects)
{
    /* What it kept from before would need no memory. */
    if (nth || one_of)
        effects_deinit(effects);
    inside++;
    int rc = __real_node_step(node, event, effects);
    inside--;
    return rc;
}
