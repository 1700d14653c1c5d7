/* SPDX-License-Identifier: Apache-2.0 */

/* A client's map against a list of what was last said of each key. */

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "net/check.h"
#include "net/client_map.h"

enum {
    KEYS = 200,
    ROUNDS = 3000,
    OWNERS = 5
};

/* Two digits above 'a', so that keys sort as their numbers. */
static struct span key_of(int number, char room[3])
{
    room[0] = (char)('a' + number / 16);
    room[1] = (char)('a' + number % 16);
    room[2] = 0;
    return span_str(room);
}

static int put(struct client_map *map, int lo, int hi, int owner)
{
    char from[3], to[3];
    struct client_map_place place = { .lo =
                                          lo ? key_of(lo, from) : span_empty(),
                                      .has_hi = hi < KEYS };
    if (place.has_hi)
        place.hi = key_of(hi, to);
    return client_map_put(map, span_str("words"), &place, owner);
}

/* Of arcs the one that a key lies in is known by its bounds. */
struct known {
    int owner, lo, hi;
};

static void check_all(const struct client_map *map, const struct known *known)
{
    size_t arcs[OWNERS] = { 0 }, all = 0;
    for (int i = 0; i < KEYS; i++) {
        char room[3];
        int owner = client_map_find(map, span_str("words"), key_of(i, room));
        CHECK_EQ(owner, known[i].owner);
        CHECK_EQ(client_map_find(map, span_str("others"), span_str(room)), -1);
        if (known[i].owner >= 0 && known[i].lo == i) {
            arcs[known[i].owner]++;
            all++;
        }
    }
    CHECK_EQ(map->arc_count, all);
    for (int i = 0; i < OWNERS; i++)
        CHECK_EQ(map->arcs_of[i], arcs[i]);
}

static void note(struct known *known, int lo, int hi, int owner)
{
    for (int i = lo; i < hi; i++) {
        int gone_lo = known[i].lo, gone_hi = known[i].hi;
        if (known[i].owner >= 0)
            for (int k = gone_lo; k < gone_hi; k++)
                known[k].owner = -1;
    }
    for (int i = lo; i < hi; i++)
        known[i] = (struct known){ owner, lo, hi };
}

static void the_last_word_counts(uint64_t seed)
{
    struct known known[KEYS];
    struct client_map map = { 0 };
    struct rng rng;
    rng_init(&rng, seed);
    for (int i = 0; i < KEYS; i++)
        known[i] = (struct known){ -1, 0, 0 };
    for (int round = 0; round < ROUNDS; round++) {
        int lo = (int)rng_below(&rng, KEYS);
        int hi = lo + 1 + (int)rng_below(&rng, 30);
        int owner = (int)rng_below(&rng, OWNERS);
        char room[3];
        if (hi > KEYS)
            hi = KEYS;
        switch (rng_below(&rng, 20)) {
        case 0:
            client_map_forget_owner(&map, owner);
            for (int i = 0; i < KEYS; i++)
                if (known[i].owner == owner)
                    known[i].owner = -1;
            break;
        case 1:
        case 2:
        case 3:
            client_map_forget(&map, span_str("words"), key_of(lo, room));
            if (known[lo].owner >= 0)
                for (int k = known[lo].hi, i = known[lo].lo; i < k; i++)
                    known[i].owner = -1;
            break;
        default:
            CHECK_EQ(put(&map, lo, hi, owner), DLHT_OK);
            note(known, lo, hi, owner);
        }
        if (round % 50 == 0)
            check_all(&map, known);
    }
    check_all(&map, known);
    client_map_deinit(&map);
    CHECK_EQ(map.arc_count, 0);
}

static void the_first_arc_may_be_hashed(void)
{
    struct client_map map = { 0 };
    struct client_map_place place = { .hashed = true };
    struct span words = span_str("words");
    CHECK_EQ(client_map_put(&map, words, &place, 3), DLHT_OK);
    CHECK_EQ(client_map_find(&map, words, span_str("any")), 3);
    client_map_forget_space(&map, span_str("others"));
    CHECK_EQ(map.arc_count, 1);
    client_map_forget_space(&map, words);
    CHECK_EQ(map.arc_count, 0);
    client_map_deinit(&map);
}

static void its_size_is_bounded(void)
{
    struct client_map map = { 0 };
    static uint8_t long_key[CLIENT_MAP_KEY_MAX + 9];
    struct client_map_place place = { .lo =
                                          span_of(long_key, sizeof long_key) };
    struct span words = span_str("words");
    CHECK_EQ(client_map_put(&map, words, &place, 0), DLHT_ETOOBIG);
    CHECK_EQ(client_map_find(&map, words, place.lo), -1);
    for (uint32_t i = 0; i < CLIENT_MAP_ARCS_MAX; i++) {
        uint8_t lo[3] = { (uint8_t)(i >> 8), (uint8_t)i, 0 };
        uint8_t hi[3] = { (uint8_t)(i >> 8), (uint8_t)i, 1 };
        place = (struct client_map_place){ .lo = span_of(lo, 3),
                                           .hi = span_of(hi, 3),
                                           .has_hi = true };
        CHECK_EQ(client_map_put(&map, words, &place, 0), DLHT_OK);
    }
    place = (struct client_map_place){ .lo = span_str("x") };
    CHECK_EQ(client_map_put(&map, words, &place, 0), DLHT_EFULL);
    client_map_forget_owner(&map, 0);
    CHECK_EQ(map.arc_count, 0);
    CHECK_EQ(client_map_put(&map, words, &place, 0), DLHT_OK);
    for (int i = 1; i < CLIENT_MAP_SPACES_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "space %d", i);
        CHECK_EQ(client_map_put(&map, span_str(name), &place, 0), DLHT_OK);
    }
    CHECK_EQ(client_map_put(&map, span_str("one more"), &place, 0), DLHT_EFULL);
    /* What nobody asks for any more makes room. */
    client_map_forget_space(&map, span_str("space 2"));
    CHECK_EQ(client_map_put(&map, span_str("one more"), &place, 0), DLHT_OK);
    /* One that was made again with the other placement begins anew. */
    place = (struct client_map_place){ .lo = span_str("b"), .hashed = true };
    CHECK_EQ(client_map_put(&map, span_str("space 1"), &place, 1), DLHT_OK);
    CHECK_EQ(map.arcs_of[0], CLIENT_MAP_SPACES_MAX - 1);
    CHECK_EQ(map.arcs_of[1], 1);
    client_map_deinit(&map);
}

int main(void)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        the_last_word_counts(seed);
    the_first_arc_may_be_hashed();
    its_size_is_bounded();
    return check_done();
}
