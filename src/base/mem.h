/* SPDX-License-Identifier: Apache-2.0 */

/* base/mem.h - allocation of arrays whose size cannot overflow. */

#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* An uninitialised array of count things of size bytes, or NULL: no memory, or
 * the product does not fit. Freed with free. */
static inline void *mem_array(size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    return malloc(count * size > 0 ? count * size : 1);
}

/* As realloc, with the product checked; on NULL the old array stays. */
static inline void *mem_resize(void *old, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    return realloc(old, count * size > 0 ? count * size : 1);
}

/* Zeroed; freed with free. */
static inline void *mem_zero(size_t count, size_t size)
{
    return calloc(count ? count : 1, size ? size : 1);
}

#endif
