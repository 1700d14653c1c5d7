/* SPDX-License-Identifier: Apache-2.0 */

/* Makes allocations of the code under test fail. */

#include "chord/fail_alloc.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/rng.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

/* The compiler knows that malloc reads no variable of ours. It is wrong. */
static volatile uint64_t nth;
static volatile uint64_t one_of;
static volatile uint64_t failures;
static struct rng rng = { { 1, 2, 3, 4 } };

void fail_alloc_nth(uint64_t n)
{
    nth = n;
}

void fail_alloc_one_of(uint64_t many)
{
    one_of = many;
}

bool fail_alloc_works(void)
{
    fail_alloc_nth(1);
    void *volatile given = malloc(1);
    fail_alloc_nth(0);
    free(given);
    failures = 0;
    return !given;
}

uint64_t fail_alloc_count(void)
{
    uint64_t count = failures;
    failures = 0;
    return count;
}

static bool fails(void)
{
    bool now = nth > 0 && --nth == 0;
    now = now || (one_of > 0 && rng_below(&rng, one_of) == 0);
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
