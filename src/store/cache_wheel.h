/* SPDX-License-Identifier: Apache-2.0 */

/* store/cache_wheel.h - which entries of a cache have expired: a hierarchical
 * timer wheel (Varghese and Lauck 1987).
 *
 * Four levels of 256 lists; one of level 0 is for 64 ms, one of each further
 * level for 256 of the level below, so that all covers 8 years, and what is
 * further goes round again. When a level comes to its next list, that is
 * handed down, entry by entry: the wheel may stand behind the time it is told,
 * and no call does more than it is asked for. Nothing is due early; that
 * something is late matters to nobody, since who reads an entry looks at its
 * time. Lists are linked through the timers of entries. */

#ifndef STORE_CACHE_WHEEL_H
#define STORE_CACHE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "store/records_arena.h"

enum {
    CACHE_WHEEL_SHIFT = 6, /* a tick is 64 ms */
    CACHE_WHEEL_LEVELS = 4,
    CACHE_WHEEL_SLOTS = 256,
    /* The list of what is being handed down. */
    CACHE_WHEEL_FALLING = CACHE_WHEEL_LEVELS * CACHE_WHEEL_SLOTS,
    CACHE_WHEEL_LISTS
};

struct cache_wheel {
    uint64_t tick;      /* the next to be worked on */
    uint64_t linger_ms; /* entries are due so long past their expiry */
    uint64_t count;     /* entries in lists */
    unsigned fall;      /* levels still to be handed down at this tick */
    uint32_t heads[CACHE_WHEEL_LISTS];
};

void cache_wheel_init(struct cache_wheel *wheel, uint64_t linger_ms);

/* Links an entry that has a timer and an end, and is in no list. An empty wheel
 * is set to now. */
void cache_wheel_put(struct cache_wheel *wheel, struct records_arena *arena,
                     uint64_t now_ms, uint32_t ref);

/* Unlinks an entry; one in no list is left alone. */
void cache_wheel_remove(struct cache_wheel *wheel, struct records_arena *arena,
                        uint32_t ref);

/* Puts the new name of an entry, whose links are unset, where the old is. */
void cache_wheel_rename(struct cache_wheel *wheel, struct records_arena *arena,
                        uint32_t from, uint32_t to);

/* The next entry that is due, still linked; 0: none, or *budget was used up
 * on the way, one for each entry handed down. */
uint32_t cache_wheel_due(struct cache_wheel *wheel, struct records_arena *arena,
                         uint64_t now_ms, uint32_t *budget);

/* When the wheel should be asked again; UINT64_MAX: it is empty. */
uint64_t cache_wheel_next_ms(const struct cache_wheel *wheel);

/* Asserts that lists and counts agree. */
void cache_wheel_check(const struct cache_wheel *wheel,
                       const struct records_arena *arena);

#endif
