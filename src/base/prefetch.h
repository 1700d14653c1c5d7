/* SPDX-License-Identifier: Apache-2.0 */

/* base/prefetch.h - asking for memory ahead of its use. */

#ifndef BASE_PREFETCH_H
#define BASE_PREFETCH_H

/* The cache line of an address; any address will do. */
static inline void prefetch_line(const void *address)
{
#if defined(__GNUC__)
    __builtin_prefetch(address);
    /* GCC takes a function that does nothing but prefetch for one that does
     * nothing, and drops its calls. */
    __asm__ volatile("" : : "r"(address));
#else
    (void)address;
#endif
}

#endif
