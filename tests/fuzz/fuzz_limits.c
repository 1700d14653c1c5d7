/* SPDX-License-Identifier: Apache-2.0 */

/* malloc and its like, counted, for fuzz_main.c. */

#include "fuzz/fuzz_limits.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#ifdef DLHT_FUZZ_LIMITS

/* What the C library calls its own. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *memory);

static atomic_size_t live, peak;
static size_t live_at_begin;
static clock_t cpu_at_begin;

static void *gained(void *memory)
{
    if (!memory)
        return NULL;
    size_t size = malloc_usable_size(memory);
    size_t now = atomic_fetch_add(&live, size) + size;
    size_t most = atomic_load(&peak);
    while (now > most && !atomic_compare_exchange_weak(&peak, &most, now))
        ;
    return memory;
}

void *malloc(size_t size)
{
    return gained(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    return gained(__libc_calloc(count, size));
}

void *realloc(void *old, size_t size)
{
    size_t before = old ? malloc_usable_size(old) : 0;
    void *memory = __libc_realloc(old, size);
    if (memory || size == 0)
        atomic_fetch_sub(&live, before);
    return gained(memory);
}

void *memalign(size_t align, size_t size)
{
    return gained(__libc_memalign(align, size));
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **out, size_t align, size_t size)
{
    void *memory = memalign(align, size);
    if (!memory)
        return ENOMEM;
    *out = memory;
    return 0;
}

void free(void *memory)
{
    if (memory)
        atomic_fetch_sub(&live, malloc_usable_size(memory));
    __libc_free(memory);
}

void fuzz_limits_begin(void)
{
    live_at_begin = atomic_load(&live);
    atomic_store(&peak, live_at_begin);
    cpu_at_begin = clock();
}

size_t fuzz_limits_bytes(void)
{
    return atomic_load(&peak) - live_at_begin;
}

double fuzz_limits_cpu_ms(void)
{
    return (double)(clock() - cpu_at_begin) * 1000 / CLOCKS_PER_SEC;
}

#else

void fuzz_limits_begin(void)
{
}

size_t fuzz_limits_bytes(void)
{
    return 0;
}

double fuzz_limits_cpu_ms(void)
{
    return 0;
}

#endif
