/* SPDX-License-Identifier: Apache-2.0 */

/* Sorted arrays of arcs, one a keyspace. */

#include "net/client_map.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dlht/err.h"
#include "wire/mp.h"

enum {
    HASH_BYTES = 8 /* before the keys of hashed keyspaces, big-endian */
};

struct client_map_arc {
    uint8_t *bytes; /* of lo, then hi; owned */
    struct span lo, hi;
    bool has_hi;
    uint8_t owner;
};

_Static_assert(CLIENT_OWNERS_MAX <= UINT8_MAX, "an owner is a byte");

/* A key as its arc has it. */
struct placed {
    struct span key;
    uint8_t room[HASH_BYTES + CLIENT_MAP_KEY_MAX];
};

static bool place_key(const struct client_map_space *space, struct span key,
                      struct placed *out)
{
    if (key.len == 0 || key.len > CLIENT_MAP_KEY_MAX)
        return false;
    out->key = key;
    if (!space->hashed)
        return true;
    uint64_t hash = hash64(key);
    for (int i = 0; i < HASH_BYTES; i++)
        out->room[i] = (uint8_t)(hash >> (56 - 8 * i));
    memcpy(out->room + HASH_BYTES, key.data, key.len);
    out->key = span_of(out->room, HASH_BYTES + key.len);
    return true;
}

static struct client_map_space *space_find(const struct client_map *map,
                                           struct span name)
{
    for (size_t i = 0; i < map->space_count; i++) {
        const struct client_map_space *space = &map->spaces[i];
        if (span_equal(span_str(space->name), name))
            return (struct client_map_space *)space;
    }
    return NULL;
}

/* How many arcs begin at the key or before. */
static size_t arcs_until(const struct client_map_space *space, struct span key)
{
    size_t low = 0, high = space->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (span_compare(space->arcs[middle].lo, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The arc that has it; space->count: none. */
static size_t arc_at(const struct client_map_space *space, struct span key)
{
    size_t after = arcs_until(space, key);
    if (after == 0)
        return space->count;
    const struct client_map_arc *arc = &space->arcs[after - 1];
    return !arc->has_hi || span_compare(key, arc->hi) < 0 ? after - 1
                                                          : space->count;
}

int client_map_find(const struct client_map *map, struct span keyspace,
                    struct span key)
{
    struct placed placed;
    const struct client_map_space *space =
        map->arc_count ? space_find(map, keyspace) : NULL;
    if (!space || !place_key(space, key, &placed))
        return -1;
    size_t at = arc_at(space, placed.key);
    return at < space->count ? space->arcs[at].owner : -1;
}

static void arcs_drop(struct client_map *map, struct client_map_space *space,
                      size_t from, size_t to)
{
    if (from == to)
        return;
    for (size_t i = from; i < to; i++) {
        map->arcs_of[space->arcs[i].owner]--;
        free(space->arcs[i].bytes);
    }
    memmove(space->arcs + from, space->arcs + to,
            (space->count - to) * sizeof *space->arcs);
    space->count -= to - from;
    map->arc_count -= to - from;
}

void client_map_forget(struct client_map *map, struct span keyspace,
                       struct span key)
{
    struct placed placed;
    struct client_map_space *space = space_find(map, keyspace);
    if (!space || !place_key(space, key, &placed))
        return;
    size_t at = arc_at(space, placed.key);
    if (at < space->count)
        arcs_drop(map, space, at, at + 1);
}

void client_map_forget_space(struct client_map *map, struct span keyspace)
{
    struct client_map_space *space = space_find(map, keyspace);
    if (space)
        arcs_drop(map, space, 0, space->count);
}

void client_map_forget_owner(struct client_map *map, int owner)
{
    for (size_t i = 0; i < map->space_count; i++) {
        struct client_map_space *space = &map->spaces[i];
        for (size_t k = space->count; k-- > 0;)
            if (space->arcs[k].owner == owner)
                arcs_drop(map, space, k, k + 1);
    }
}

void client_map_deinit(struct client_map *map)
{
    for (size_t i = 0; i < map->space_count; i++) {
        arcs_drop(map, &map->spaces[i], 0, map->spaces[i].count);
        free(map->spaces[i].arcs);
    }
    *map = (struct client_map){ 0 };
}

bool client_map_read(struct span document, struct client_map_place *out)
{
    struct mp_reader r;
    bool has_lo = false, has_placement = false;
    *out = (struct client_map_place){ 0 };
    mp_reader_init(&r, document);
    size_t pairs = mp_peek(&r) == MP_MAP ? mp_read_map(&r) : 0;
    for (size_t i = 0; i < pairs && !r.bad; i++) {
        struct span name = mp_read_bytes(&r);
        if (mp_peek(&r) != MP_BYTES) {
            mp_skip(&r);
            continue;
        }
        struct span value = mp_read_bytes(&r);
        if (span_equal(name, span_str("lo"))) {
            has_lo = true;
            out->lo = value;
        } else if (span_equal(name, span_str("hi"))) {
            out->has_hi = true;
            out->hi = value;
        } else if (span_equal(name, span_str("owner"))) {
            out->owner = value;
        } else if (span_equal(name, span_str("placement"))) {
            has_placement = true;
            out->hashed = span_equal(value, span_str("hashed"));
        }
    }
    return !r.bad && has_lo && has_placement &&
           (!out->has_hi || span_compare(out->lo, out->hi) < 0);
}

/* One without arcs; NULL: all have some. */
static struct client_map_space *space_unused(struct client_map *map)
{
    for (size_t i = 0; i < map->space_count; i++)
        if (map->spaces[i].count == 0)
            return &map->spaces[i];
    return map->space_count < CLIENT_MAP_SPACES_MAX
               ? &map->spaces[map->space_count++]
               : NULL;
}

static int space_for(struct client_map *map, struct span name, bool hashed,
                     struct client_map_space **out)
{
    struct client_map_space *space = space_find(map, name);
    if (!space) {
        space = space_unused(map);
        if (!space || name.len > KEYSPACE_NAME_MAX)
            return DLHT_EFULL;
        memset(space->name, 0, sizeof space->name);
        if (name.len)
            memcpy(space->name, name.data, name.len);
    }
    if (space->hashed != hashed) /* dropped and made again */
        arcs_drop(map, space, 0, space->count);
    space->hashed = hashed;
    *out = space;
    return DLHT_OK;
}

static int arcs_reserve(struct client_map_space *space)
{
    if (space->count < space->cap)
        return DLHT_OK;
    size_t cap = space->cap ? 2 * space->cap : 16;
    struct client_map_arc *grown = mem_resize(space->arcs, cap, sizeof *grown);
    if (!grown)
        return DLHT_ENOMEM;
    space->arcs = grown;
    space->cap = cap;
    return DLHT_OK;
}

/* Where an arc that begins at lo belongs once what overlaps is gone. */
static size_t make_way(struct client_map *map, struct client_map_space *space,
                       const struct client_map_place *place)
{
    size_t from = arcs_until(space, place->lo), to = from;
    if (from > 0 && (!space->arcs[from - 1].has_hi ||
                     span_compare(place->lo, space->arcs[from - 1].hi) < 0))
        from--;
    while (to < space->count &&
           (!place->has_hi || span_compare(space->arcs[to].lo, place->hi) < 0))
        to++;
    arcs_drop(map, space, from, to);
    return from;
}

int client_map_put(struct client_map *map, struct span keyspace,
                   const struct client_map_place *place, int owner)
{
    struct client_map_space *space;
    size_t len = place->lo.len + (place->has_hi ? place->hi.len : 0);
    if (place->lo.len > HASH_BYTES + CLIENT_MAP_KEY_MAX ||
        len - place->lo.len > HASH_BYTES + CLIENT_MAP_KEY_MAX)
        return DLHT_ETOOBIG;
    if (map->arc_count == CLIENT_MAP_ARCS_MAX)
        return DLHT_EFULL;
    int rc = space_for(map, keyspace, place->hashed, &space);
    if (rc == DLHT_OK)
        rc = arcs_reserve(space);
    uint8_t *bytes = rc == DLHT_OK ? malloc(len + 1) : NULL;
    if (!bytes)
        return rc == DLHT_OK ? DLHT_ENOMEM : rc;
    if (place->lo.len)
        memcpy(bytes, place->lo.data, place->lo.len);
    if (len > place->lo.len)
        memcpy(bytes + place->lo.len, place->hi.data, place->hi.len);
    size_t at = make_way(map, space, place);
    memmove(space->arcs + at + 1, space->arcs + at,
            (space->count - at) * sizeof *space->arcs);
    space->arcs[at] = (struct client_map_arc){
        .bytes = bytes,
        .lo = span_of(bytes, place->lo.len),
        .hi = span_of(bytes + place->lo.len, len - place->lo.len),
        .has_hi = place->has_hi,
        .owner = (uint8_t)owner,
    };
    space->count++;
    map->arc_count++;
    map->arcs_of[owner]++;
    return DLHT_OK;
}
