/* SPDX-License-Identifier: Apache-2.0 */

/* The arcs that this peer has heard of: an array in order of lo, and a hash
 * table by id.
 *
 * Beside each arc stand the first eight bytes of its lo, so that most steps of
 * a search touch this array only. The arcs never overlap, hence a descriptor's
 * rivals are neighbours in the array.
 *
 * Why any order of news ends in the same map: whatever replaces an arc (split,
 * merge, move) raises the generation of each of its keys, so at every key the
 * true descriptor has the highest generation of all that ever held that key.
 * It is therefore never refused and never dropped, and it drops and refuses
 * all others that touch one of its keys. */

#include "chord/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"

enum {
    CAP_FIRST = 16
};

struct slot {
    uint64_t prefix; /* span_prefix8 of lo */
    struct arc *arc; /* owned */
    uint32_t place;  /* part_hash of its id */
    uint32_t digest; /* the low half of arc_digest */
};

struct map {
    struct slot *slots; /* in order of lo */
    size_t count;
    size_t cap;
    size_t count_max;
    struct arc **table; /* by id, open addressing; borrowed from slots */
    size_t table_cap;   /* a power of two, at least twice count */
    uint64_t digest;
};

struct map *map_new(size_t arc_count_max)
{
    struct map *map = mem_zero(1, sizeof *map);
    if (!map)
        return NULL;
    map->count_max = arc_count_max;
    return map;
}

void map_free(struct map *map)
{
    if (!map)
        return;
    for (size_t i = 0; i < map->count; i++)
        arc_free(map->slots[i].arc);
    free(map->slots);
    free(map->table);
    free(map);
}

static size_t table_home(const struct map *map, arc_id id)
{
    return (size_t)hash64_mix(0, id) & (map->table_cap - 1);
}

/* Where id stands, or the free place where it would. */
static size_t table_place(const struct map *map, arc_id id)
{
    size_t at = table_home(map, id);
    while (map->table[at] && map->table[at]->id != id)
        at = (at + 1) & (map->table_cap - 1);
    return at;
}

static void table_put(struct map *map, struct arc *arc)
{
    size_t at = table_place(map, arc->id);
    assert(!map->table[at]);
    map->table[at] = arc;
}

/* Closes the hole by moving back what had stepped over it. */
static void table_remove(struct map *map, arc_id id)
{
    size_t mask = map->table_cap - 1;
    size_t hole = table_place(map, id);
    assert(map->table[hole]);
    for (size_t at = (hole + 1) & mask; map->table[at]; at = (at + 1) & mask) {
        size_t home = table_home(map, map->table[at]->id);
        if (((at - home) & mask) < ((at - hole) & mask))
            continue; /* its home is behind the hole: it stays reachable */
        map->table[hole] = map->table[at];
        hole = at;
    }
    map->table[hole] = NULL;
}

/* Room for one more arc in both; on failure as before. */
static int reserve_one(struct map *map)
{
    if (map->count < map->cap)
        return DLHT_OK;
    size_t cap = map->cap ? map->cap * 2 : CAP_FIRST;
    struct slot *slots = mem_zero(cap, sizeof *slots);
    struct arc **table = mem_zero(cap * 2, sizeof *table);
    if (!slots || !table) {
        free(slots);
        free(table);
        return DLHT_ENOMEM;
    }
    if (map->count)
        memcpy(slots, map->slots, map->count * sizeof *slots);
    free(map->slots);
    free(map->table);
    map->slots = slots;
    map->cap = cap;
    map->table = table;
    map->table_cap = cap * 2;
    for (size_t i = 0; i < map->count; i++)
        table_put(map, slots[i].arc);
    return DLHT_OK;
}

/* The arc at index begins at or before key. */
static bool begins_by(const struct map *map, size_t index, uint64_t prefix,
                      struct span key)
{
    const struct slot *slot = &map->slots[index];
    if (slot->prefix != prefix)
        return slot->prefix < prefix;
    return span_compare(slot->arc->lo, key) <= 0;
}

/* Narrows [*from, *to), in which the first arc after key stands, by doubling
 * steps away from guess. */
static void gallop(const struct map *map, uint64_t prefix, struct span key,
                   size_t guess, size_t *from, size_t *to)
{
    size_t step = 1;
    if (begins_by(map, guess, prefix, key)) {
        *from = guess + 1;
        while (*from + step < *to &&
               begins_by(map, *from + step, prefix, key)) {
            *from += step + 1;
            step *= 2;
        }
        if (*from + step < *to)
            *to = *from + step;
        return;
    }
    *to = guess;
    while (*from + step < *to && !begins_by(map, *to - step, prefix, key)) {
        *to -= step;
        step *= 2;
    }
    if (*from + step < *to)
        *from = *to - step + 1;
}

/* How many of the slots have a smaller prefix. No branch depends on it, since
 * where a key lies is as good as random. */
static size_t smaller_prefixes(const struct map *map, uint64_t prefix)
{
    const struct slot *base = map->slots;
    size_t left = map->count;
    if (left == 0)
        return 0;
    while (left > 1) {
        size_t half = left / 2;
        base += half & (0 - (size_t)(base[half - 1].prefix < prefix));
        left -= half;
    }
    return (size_t)(base - map->slots) + (base->prefix < prefix);
}

/* Narrows [*from, *to), in which the first arc after key stands, to those that
 * begin with the key's prefix and the one behind. */
static void narrow(const struct map *map, uint64_t prefix, size_t *from,
                   size_t *to)
{
    *from = smaller_prefixes(map, prefix);
    if (*from == map->count || map->slots[*from].prefix != prefix)
        *to = *from;
    else if (prefix < UINT64_MAX)
        *to = smaller_prefixes(map, prefix + 1);
}

/* How many arcs begin at or before key. */
static size_t rank_of(const struct map *map, struct span key, size_t guess)
{
    uint64_t prefix = span_prefix8(key);
    size_t from = 0;
    size_t to = map->count;
    if (guess < map->count)
        gallop(map, prefix, key, guess, &from, &to);
    else
        narrow(map, prefix, &from, &to);
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (begins_by(map, middle, prefix, key))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static uint64_t arc_digest(const struct arc *arc)
{
    return hash64_mix(hash64_mix(hash64_mix(1, arc->id), arc->generation),
                      arc->term);
}

static uint32_t part_hash(arc_id id)
{
    return (uint32_t)hash64_mix(2, id);
}

/* Drops the arcs [from, to) and leaves room for `hole` of them at from. */
static void drop(struct map *map, size_t from, size_t to, size_t hole)
{
    for (size_t i = from; i < to; i++) {
        struct arc *arc = map->slots[i].arc;
        map->digest -= arc_digest(arc);
        table_remove(map, arc->id);
        arc_free(arc);
    }
    memmove(map->slots + from + hole, map->slots + to,
            (map->count - to) * sizeof *map->slots);
    map->count = map->count - (to - from) + hole;
}

/* Whether known, of another id, stands against news with a key of its own. At
 * equal generations, which no true history has, the greater id stands, so that
 * all peers keep the same one. */
static bool outranks(const struct arc *known, const struct arc *news)
{
    if (known->generation != news->generation)
        return known->generation > news->generation;
    return known->id > news->id;
}

/* The arcs [*from, *to) overlap arc (the range may be empty: then arc belongs
 * at *from). False if one of them outranks it. */
static bool find_rivals(const struct map *map, const struct arc *arc,
                        size_t *from, size_t *to)
{
    size_t first = rank_of(map, arc->lo, SIZE_MAX);
    if (first > 0 && arc_overlaps(map->slots[first - 1].arc, arc))
        first--;
    size_t end = first;
    while (end < map->count && arc_overlaps(map->slots[end].arc, arc)) {
        const struct arc *known = map->slots[end].arc;
        if (known->id != arc->id && outranks(known, arc))
            return false;
        end++;
    }
    *from = first;
    *to = end;
    return true;
}

int map_notice(struct map *map, const struct arc *arc, bool *news)
{
    *news = false;
    if (!arc_is_sane(arc))
        return DLHT_OK;
    assert(map->count == 0 || map->slots[0].arc->keyspace == arc->keyspace);
    const struct arc *same = map_by_id(map, arc->id);
    if (same && !arc_is_newer(arc, same))
        return DLHT_OK;
    size_t from, to;
    if (!find_rivals(map, arc, &from, &to))
        return DLHT_OK;
    bool elsewhere = same && !arc_overlaps(same, arc);
    if (map->count - (to - from) - elsewhere >= map->count_max)
        return DLHT_EFULL;
    struct arc *copy = arc_copy(arc);
    if (!copy)
        return DLHT_ENOMEM;
    if (reserve_one(map) != DLHT_OK) {
        arc_free(copy);
        return DLHT_ENOMEM;
    }
    /* An arc keeps its lo for life, so only a stranger moves one away; its
     * newer word counts all the same. */
    if (elsewhere) {
        map_forget(map, arc->id, UINT64_MAX);
        bool stands = find_rivals(map, arc, &from, &to);
        assert(stands);
    }
    drop(map, from, to, 1);
    uint64_t digest = arc_digest(copy);
    map->slots[from] = (struct slot){ span_prefix8(copy->lo), copy,
                                      part_hash(copy->id), (uint32_t)digest };
    table_put(map, copy);
    map->digest += digest;
    *news = true;
    return DLHT_OK;
}

void map_forget(struct map *map, arc_id id, uint64_t generation)
{
    const struct arc *arc = map_by_id(map, id);
    if (!arc || arc->generation > generation)
        return;
    size_t rank = rank_of(map, arc->lo, SIZE_MAX);
    assert(rank > 0 && map->slots[rank - 1].arc == arc);
    drop(map, rank - 1, rank, 0);
}

const struct arc *map_find(const struct map *map, struct span key, size_t guess)
{
    if (map->count == 0)
        return NULL;
    size_t rank = rank_of(map, key, guess);
    return map->slots[rank ? rank - 1 : map->count - 1].arc;
}

size_t map_rank(const struct map *map, struct span key)
{
    return rank_of(map, key, SIZE_MAX);
}

bool map_gap_at(const struct map *map, struct span key, struct arc *gap)
{
    size_t next = rank_of(map, key, SIZE_MAX);
    if (next > 0 && arc_has(map->slots[next - 1].arc, key))
        return false;
    gap->lo = key;
    gap->has_hi = next < map->count;
    if (gap->has_hi)
        gap->hi = map->slots[next].arc->lo;
    return true;
}

const struct arc *map_by_id(const struct map *map, arc_id id)
{
    return map->table_cap ? map->table[table_place(map, id)] : NULL;
}

size_t map_count(const struct map *map)
{
    return map->count;
}

const struct arc *map_at(const struct map *map, size_t index)
{
    assert(index < map->count);
    return map->slots[index].arc;
}

uint64_t map_digest(const struct map *map)
{
    return map->digest;
}

void map_digest_parts(const struct map *map, size_t part_count, uint32_t *sums)
{
    assert(part_count > 0 && (part_count & (part_count - 1)) == 0);
    for (size_t i = 0; i < map->count; i++)
        sums[map->slots[i].place & (part_count - 1)] += map->slots[i].digest;
}

size_t map_part_of(const struct map *map, size_t index, size_t part_count)
{
    assert(index < map->count);
    return map->slots[index].place & (part_count - 1);
}

/* Nothing lies between the end of a and the beginning of b. */
static bool touches(const struct arc *a, const struct arc *b)
{
    return a->has_hi && span_equal(a->hi, b->lo);
}

bool map_is_whole(const struct map *map)
{
    if (map->count == 0 || map->slots[0].arc->lo.len != 0)
        return false;
    for (size_t i = 1; i < map->count; i++) {
        if (!touches(map->slots[i - 1].arc, map->slots[i].arc))
            return false;
    }
    return !map->slots[map->count - 1].arc->has_hi;
}

void map_check(const struct map *map)
{
    uint64_t digest = 0;
    assert(map->count <= map->cap);
    assert(map->count <= map->count_max);
    for (size_t i = 0; i < map->count; i++) {
        const struct slot *slot = &map->slots[i];
        assert(arc_is_sane(slot->arc));
        assert(slot->prefix == span_prefix8(slot->arc->lo));
        assert(slot->place == part_hash(slot->arc->id));
        assert(slot->digest == (uint32_t)arc_digest(slot->arc));
        assert(map_by_id(map, slot->arc->id) == slot->arc);
        digest += arc_digest(slot->arc);
        if (i == 0)
            continue;
        const struct arc *before = map->slots[i - 1].arc;
        assert(before->keyspace == slot->arc->keyspace);
        assert(span_compare(before->lo, slot->arc->lo) < 0);
        assert(!arc_overlaps(before, slot->arc));
    }
    assert(digest == map->digest);
    size_t filled = 0;
    for (size_t i = 0; i < map->table_cap; i++)
        filled += map->table[i] != NULL;
    assert(filled == map->count);
}
