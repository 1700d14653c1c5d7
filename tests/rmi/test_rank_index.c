/* SPDX-License-Identifier: Apache-2.0 */

#include "rmi/rank_index.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "chord/fail_alloc.h"
#include "dlht/err.h"
#include "rmi/key_sets.h"

static const uint64_t seed = 20261121;

static size_t lower_bound(const uint64_t *keys, size_t count, uint64_t key)
{
    size_t from = 0;
    while (count > 0) {
        size_t half = count / 2;
        if (keys[from + half] < key) {
            from += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return from;
}

/* Stored numbers, their neighbours, random ones and the ends. */
static void check(const uint64_t *keys, size_t count, size_t leaves,
                  const char *why)
{
    struct rank_index *index;
    cr_assert_eq(rank_index_new(keys, count, leaves, &index), DLHT_OK);
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < 20000; i++) {
        uint64_t key = rng_next(&rng);
        if (i < 4)
            key = i < 2 ? i : UINT64_MAX - (i - 2);
        else if (count && i % 4)
            key = keys[rng_below(&rng, count)] + i % 4 - 2;
        else if (i % 8)
            key >>= rng_below(&rng, 64);
        cr_assert_eq(rank_index_find(index, key), lower_bound(keys, count, key),
                     "%s: %llu", why, (unsigned long long)key);
    }
    cr_expect(rank_index_bytes(index) <= 100000 + 16 * count, "%s: %zu bytes",
              why, rank_index_bytes(index));
    rank_index_free(index);
}

Test(rank_index, finds_what_lower_bound_finds)
{
    static const size_t counts[] = { 1, 2, 100, 5000, 300000 };
    static const size_t leaves[] = { 0, 1, 7, 4096 };
    for (int s = 0; s < KEYS_NUMBER_SHAPES; s++)
        for (int c = 0; c < 5; c++) {
            uint64_t *keys =
                key_set_numbers((enum key_shape)s, counts[c], seed);
            for (int l = 0; l < 4; l++)
                check(keys, counts[c], leaves[l], key_shape_names[s]);
            free(keys);
        }
    check(NULL, 0, 0, "no keys");
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

Test(rank_index, bears_odd_keys)
{
    enum {
        COUNT = 50000
    };
    static uint64_t keys[COUNT];
    struct rng rng;
    rng_init(&rng, seed);
    for (int odd = 0; odd < 7; odd++) {
        for (size_t i = 0; i < COUNT; i++) {
            uint64_t x = rng_next(&rng);
            keys[i] = odd == 0   ? 7
                      : odd == 1 ? x % 3
                      : odd == 2 ? UINT64_C(1) << x % 64
                      : odd == 3 ? x >> x % 61
                      : odd == 4 ? (i < COUNT / 2 ? 5 : x)
                      : odd == 5 ? UINT64_MAX - (x % 100 ? 0 : x >> 40)
                                 : (i ? x % 1000 : UINT64_MAX);
        }
        qsort(keys, COUNT, sizeof *keys, by_number);
        check(keys, COUNT, 0, "odd");
        check(keys, COUNT, 3, "odd, three leaves");
    }
}

Test(rank_index, refuses_and_runs_out)
{
    static uint64_t keys[20000];
    for (size_t i = 0; i < 20000; i++)
        keys[i] = i * i * i * i;
    struct rank_index *index;
    size_t most = (size_t)RANK_INDEX_LEAVES_MAX + 1;
    cr_expect_eq(rank_index_new(keys, 2, most, &index), DLHT_EINVAL);
    cr_expect_eq(rank_index_new(keys, (size_t)1 << 31, 0, &index), DLHT_EINVAL);
    keys[500] = 0;
    cr_expect_eq(rank_index_new(keys, 20000, 0, &index), DLHT_EINVAL);
    cr_expect_null(index);
    keys[500] = keys[499];
    rank_index_free(NULL);
    if (!fail_alloc_works()) {
        printf("SKIPPED: allocations cannot be made to fail in this build\n");
        return;
    }
    uint64_t n = 1;
    for (;; n++) {
        fail_alloc_nth(n);
        int rc = rank_index_new(keys, 20000, 0, &index);
        fail_alloc_nth(0);
        if (fail_alloc_count() == 0) {
            cr_assert_eq(rc, DLHT_OK);
            break;
        }
        cr_assert_eq(rc, DLHT_ENOMEM);
        cr_assert_null(index);
    }
    cr_assert(n > 4);
    rank_index_free(index);
}
