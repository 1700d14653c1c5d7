/* SPDX-License-Identifier: Apache-2.0 */

/* Lists of entries by the time they are due. */

#include "store/cache_wheel.h"

#include <assert.h>

#include "store/cache_entry.h"

/* The first of a list has as its previous the list itself, by a name that no
 * object has: chunk 0 of an arena is not used. 0 is an entry in no list. */
static uint32_t list_name(uint32_t list)
{
    return list + 1;
}

static bool is_list(uint32_t name)
{
    return name <= CACHE_WHEEL_LISTS;
}

_Static_assert(CACHE_WHEEL_LISTS < 1 << RECORDS_ARENA_CHUNK_BITS,
               "names of lists are not those of objects");

void cache_wheel_init(struct cache_wheel *wheel, uint64_t linger_ms)
{
    *wheel = (struct cache_wheel){ .linger_ms = linger_ms };
}

static struct cache_timer *timer_at(const struct records_arena *arena,
                                    uint32_t ref)
{
    struct cache_timer *timer = cache_entry_timer(cache_entry_at(arena, ref));
    assert(timer);
    return timer;
}

/* The tick at which it is surely over. */
static uint64_t due_tick(const struct cache_wheel *wheel, uint64_t expire_ms)
{
    uint64_t at = expire_ms + wheel->linger_ms;
    if (at < expire_ms)
        at = UINT64_MAX;
    return (at >> CACHE_WHEEL_SHIFT) + 1;
}

static uint32_t list_for(const struct cache_wheel *wheel, uint64_t tick)
{
    if (tick < wheel->tick)
        tick = wheel->tick;
    uint64_t ahead = tick - wheel->tick;
    if (ahead > UINT32_MAX) {
        ahead = UINT32_MAX;
        tick = wheel->tick + ahead;
    }
    uint32_t level = 0;
    while (ahead >> 8 * (level + 1))
        level++;
    return level * CACHE_WHEEL_SLOTS +
           (uint32_t)(tick >> 8 * level & (CACHE_WHEEL_SLOTS - 1));
}

/* An empty wheel need not pass through the time it slept. */
static void wake(struct cache_wheel *wheel, uint64_t now_ms)
{
    uint64_t now = now_ms >> CACHE_WHEEL_SHIFT;
    if (wheel->count > 0 || wheel->tick >= now)
        return;
    wheel->tick = now;
    wheel->fall = 0;
}

static void list_put(struct cache_wheel *wheel, struct records_arena *arena,
                     uint32_t ref)
{
    struct cache_timer *timer = timer_at(arena, ref);
    assert(timer->previous == 0 && timer->expire_ms < CACHE_KEEP);
    uint32_t list = list_for(wheel, due_tick(wheel, timer->expire_ms));
    uint32_t next = wheel->heads[list];
    timer->previous = list_name(list);
    timer->next = next;
    if (next)
        timer_at(arena, next)->previous = ref;
    wheel->heads[list] = ref;
    wheel->count++;
}

void cache_wheel_put(struct cache_wheel *wheel, struct records_arena *arena,
                     uint64_t now_ms, uint32_t ref)
{
    wake(wheel, now_ms);
    list_put(wheel, arena, ref);
}

void cache_wheel_remove(struct cache_wheel *wheel, struct records_arena *arena,
                        uint32_t ref)
{
    struct cache_timer *timer = timer_at(arena, ref);
    if (timer->previous == 0)
        return;
    if (timer->next)
        timer_at(arena, timer->next)->previous = timer->previous;
    if (is_list(timer->previous))
        wheel->heads[timer->previous - 1] = timer->next;
    else
        timer_at(arena, timer->previous)->next = timer->next;
    timer->previous = timer->next = 0;
    assert(wheel->count > 0);
    wheel->count--;
}

void cache_wheel_rename(struct cache_wheel *wheel, struct records_arena *arena,
                        uint32_t from, uint32_t to)
{
    struct cache_timer *old = timer_at(arena, from);
    struct cache_timer *timer = timer_at(arena, to);
    timer->previous = old->previous;
    timer->next = old->next;
    if (old->next)
        timer_at(arena, old->next)->previous = to;
    if (is_list(old->previous) && old->previous)
        wheel->heads[old->previous - 1] = to;
    else if (old->previous)
        timer_at(arena, old->previous)->next = to;
    old->previous = old->next = 0;
}

/* Takes the whole list of a level that the tick has come to. */
static void list_fall(struct cache_wheel *wheel, struct records_arena *arena,
                      unsigned level)
{
    uint32_t list =
        level * CACHE_WHEEL_SLOTS +
        (uint32_t)(wheel->tick >> 8 * level & (CACHE_WHEEL_SLOTS - 1));
    uint32_t first = wheel->heads[list];
    assert(wheel->heads[CACHE_WHEEL_FALLING] == 0);
    if (first == 0)
        return;
    timer_at(arena, first)->previous = list_name(CACHE_WHEEL_FALLING);
    wheel->heads[CACHE_WHEEL_FALLING] = first;
    wheel->heads[list] = 0;
}

/* Hands down what this tick begins with. False: the budget was too small. */
static bool lists_settle(struct cache_wheel *wheel, struct records_arena *arena,
                         uint32_t *budget)
{
    for (;;) {
        uint32_t ref = wheel->heads[CACHE_WHEEL_FALLING];
        if (ref == 0 && wheel->fall == 0)
            return true;
        if (ref == 0) {
            list_fall(wheel, arena, wheel->fall--);
            continue;
        }
        if (*budget == 0)
            return false;
        --*budget;
        cache_wheel_remove(wheel, arena, ref);
        list_put(wheel, arena, ref);
    }
}

/* How many levels above the lowest come to a new list with this tick. */
static unsigned levels_turning(uint64_t tick)
{
    unsigned level = 0;
    while (level + 1 < CACHE_WHEEL_LEVELS &&
           (tick >> 8 * level & (CACHE_WHEEL_SLOTS - 1)) == 0)
        level++;
    return level;
}

/* A list of the level that is not empty, from the given one on; SLOTS: none. */
static uint32_t list_from(const struct cache_wheel *wheel, unsigned level,
                          uint32_t from)
{
    const uint32_t *heads = wheel->heads + (size_t)level * CACHE_WHEEL_SLOTS;
    while (from < CACHE_WHEEL_SLOTS && heads[from] == 0)
        from++;
    return from;
}

/* The next tick after this at which there is something to do, or which begins
 * a round in which there may be. Nothing falls, and this one is done. */
static uint64_t tick_after(const struct cache_wheel *wheel)
{
    for (unsigned level = 0; level < CACHE_WHEEL_LEVELS; level++) {
        uint64_t at = wheel->tick >> 8 * level;
        uint32_t slot = (uint32_t)at & (CACHE_WHEEL_SLOTS - 1);
        uint32_t next = list_from(wheel, level, slot + 1);
        if (next < CACHE_WHEEL_SLOTS)
            return (at - slot + next) << 8 * level;
        if (list_from(wheel, level, 0) < CACHE_WHEEL_SLOTS)
            return (at - slot + CACHE_WHEEL_SLOTS) << 8 * level;
    }
    return UINT64_MAX;
}

uint32_t cache_wheel_due(struct cache_wheel *wheel, struct records_arena *arena,
                         uint64_t now_ms, uint32_t *budget)
{
    uint64_t now = now_ms >> CACHE_WHEEL_SHIFT;
    wake(wheel, now_ms);
    if (wheel->count == 0)
        return 0;
    while (wheel->tick <= now) {
        if (!lists_settle(wheel, arena, budget))
            return 0;
        uint32_t ref = wheel->heads[wheel->tick & (CACHE_WHEEL_SLOTS - 1)];
        if (ref)
            return ref;
        uint64_t next = tick_after(wheel);
        wheel->tick = next <= now ? next : now + 1;
        wheel->fall = levels_turning(wheel->tick);
    }
    return 0;
}

uint64_t cache_wheel_next_ms(const struct cache_wheel *wheel)
{
    uint64_t tick = wheel->tick;
    if (wheel->count == 0)
        return UINT64_MAX;
    if (wheel->fall == 0 && wheel->heads[CACHE_WHEEL_FALLING] == 0 &&
        wheel->heads[tick & (CACHE_WHEEL_SLOTS - 1)] == 0)
        tick = tick_after(wheel);
    return tick > UINT64_MAX >> CACHE_WHEEL_SHIFT ? UINT64_MAX
                                                  : tick << CACHE_WHEEL_SHIFT;
}

void cache_wheel_check(const struct cache_wheel *wheel,
                       const struct records_arena *arena)
{
    uint64_t count = 0;
    for (uint32_t list = 0; list < CACHE_WHEEL_LISTS; list++) {
        uint32_t previous = list_name(list);
        for (uint32_t ref = wheel->heads[list]; ref;) {
            const struct cache_timer *timer = timer_at(arena, ref);
            assert(timer->previous == previous);
            assert(timer->expire_ms < CACHE_KEEP);
            if (list < CACHE_WHEEL_SLOTS)
                assert(list_for(wheel, due_tick(wheel, timer->expire_ms)) ==
                       list);
            count++;
            previous = ref;
            ref = timer->next;
        }
    }
    assert(count == wheel->count);
    assert(wheel->fall < CACHE_WHEEL_LEVELS);
}
