/* SPDX-License-Identifier: Apache-2.0 */

/* dlht/rmi.h as a user sees it: no other header of ours, and the shared
 * library. */

#include "dlht/rmi.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    COUNT = 20000
};

static uint64_t numbers[COUNT];
static double reals[COUNT];
static char texts[COUNT][16];
static struct dlht_bytes keys[COUNT];

static void make_keys(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        numbers[i] = i * i * 1000;
        reals[i] = pow((double)i / COUNT - 0.5, 3) * 1e9;
        int len = snprintf(texts[i], sizeof texts[i], "user:%08zu", i * 37);
        keys[i] = (struct dlht_bytes){ texts[i], (size_t)len };
    }
}

/* |position - truth| as a share of all. */
static double off(uint64_t position, size_t rank)
{
    return fabs((double)position * 0x1p-64 - (double)rank / COUNT);
}

Test(public_model, trains_from_numbers_reals_and_strings)
{
    make_keys();
    struct dlht_model *m[3];
    struct dlht_model_config config = { .leaf_count = 100 };
    cr_assert_eq(dlht_model_train_u64(numbers, COUNT, &config, &m[0]), DLHT_OK);
    cr_assert_eq(dlht_model_train_f64(reals, COUNT, &config, &m[1]), DLHT_OK);
    cr_assert_eq(dlht_model_train(keys, COUNT, &config, &m[2]), DLHT_OK);
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert(off(dlht_model_position_u64(m[0], numbers[i]), i) < 0.01);
        cr_assert(off(dlht_model_position_f64(m[1], reals[i]), i) < 0.01);
        struct dlht_model_guess g =
            dlht_model_position_with_error(m[2], keys[i].data, keys[i].len);
        cr_assert_eq(g.position,
                     dlht_model_position(m[2], keys[i].data, keys[i].len));
        cr_assert(off(g.position, i) < 0.01);
        double truth = (double)i / COUNT * 0x1p64;
        cr_assert((double)g.lo <= truth && truth <= (double)g.hi);
    }
    struct dlht_model_stats stats;
    cr_assert_eq(dlht_model_stats(m[2], keys, COUNT, &stats), DLHT_OK);
    cr_expect_eq(stats.key_count, COUNT);
    cr_expect_eq(stats.leaf_count, 100);
    cr_expect_eq(stats.root, DLHT_MODEL_CUBIC);
    cr_expect_eq(stats.leaf, DLHT_MODEL_LINEAR);
    cr_expect(stats.ks > 0 && stats.ks <= 0.01);
    cr_expect_eq(stats.inversions, 0);
    cr_expect_eq(stats.outside, 0);
    cr_assert_eq(dlht_model_stats(m[0], NULL, 0, &stats), DLHT_OK);
    cr_expect_eq(stats.ks, 0);
    for (int i = 0; i < 3; i++)
        dlht_model_free(m[i]);
    dlht_model_free(NULL);
}

Test(public_model, answers_ranges_and_goes_back)
{
    make_keys();
    struct dlht_model *m;
    cr_assert_eq(dlht_model_train(keys, COUNT, NULL, &m), DLHT_OK);
    struct dlht_model_range range = dlht_model_range(m, keys[5000], keys[9000]);
    cr_expect(fabs(range.count - 4000) <= range.error);
    cr_expect(range.error < 100);
    for (size_t i = 5000; i < 9000; i++) {
        uint64_t p = dlht_model_position(m, keys[i].data, keys[i].len);
        cr_assert(range.lo <= p && p <= range.hi);
    }
    struct dlht_bytes none = { NULL, 0 };
    range = dlht_model_range(m, keys[15000], none);
    cr_expect_eq(range.hi, UINT64_MAX);
    cr_expect(fabs(range.count - 5000) <= range.error);
    for (uint64_t i = 1; i < 100; i++) {
        void *key;
        size_t len;
        uint64_t p = i * (UINT64_MAX / 100);
        cr_assert_eq(dlht_model_key_at(m, p, &key, &len), DLHT_OK);
        uint64_t back = dlht_model_position(m, key, len);
        cr_assert(back <= p && (double)(p - back) * 0x1p-64 < 0.001);
        cr_assert_eq(((char *)key)[len], 0);
        free(key);
    }
    dlht_model_free(m);
}

Test(public_model, updates_a_leaf)
{
    make_keys();
    struct dlht_model_config config = { .leaf_count = 10,
                                        .leaf = DLHT_MODEL_LINEAR };
    struct dlht_model *old;
    struct dlht_model *new;
    cr_assert_eq(dlht_model_train(keys, COUNT, &config, &old), DLHT_OK);
    struct dlht_model_guess g =
        dlht_model_position_with_error(old, keys[4500].data, keys[4500].len);
    /* Without the thousand keys from 4000 on, which are in the leaf or not. */
    size_t n = 0;
    static struct dlht_bytes rest[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        if (i < 4000 || i >= 5000)
            rest[n++] = keys[i];
    cr_assert_eq(dlht_model_update_leaf(old, g.leaf, rest, n, &new), DLHT_OK);
    struct dlht_model_stats stats;
    cr_assert_eq(dlht_model_stats(new, rest, n, &stats), DLHT_OK);
    cr_expect_eq(stats.key_count, n);
    cr_expect_eq(stats.outside, 0);
    cr_expect_eq(stats.inversions, 0);
    dlht_model_free(new);
    cr_expect_eq(dlht_model_update_leaf(old, 10, rest, n, &new), DLHT_EINVAL);
    cr_expect_null(new);
    struct dlht_bytes fallen[] = { keys[1], keys[0] };
    cr_expect_eq(dlht_model_update_leaf(old, 0, fallen, 2, &new), DLHT_EINVAL);
    dlht_model_free(old);
}

Test(public_model, travels_as_bytes)
{
    make_keys();
    struct dlht_model *here;
    struct dlht_model *there;
    cr_assert_eq(dlht_model_train_u64(numbers, COUNT, NULL, &here), DLHT_OK);
    void *bytes;
    size_t len;
    cr_assert_eq(dlht_model_pack(here, &bytes, &len), DLHT_OK);
    cr_assert_eq(dlht_model_unpack(bytes, len, &there), DLHT_OK);
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t x = i * (UINT64_MAX / 999);
        cr_assert_eq(dlht_model_position_u64(here, x),
                     dlht_model_position_u64(there, x));
    }
    dlht_model_free(there);
    ((unsigned char *)bytes)[len / 2] ^= 1;
    cr_expect_eq(dlht_model_unpack(bytes, len, &there), DLHT_ECORRUPT);
    cr_expect_null(there);
    cr_expect_eq(dlht_model_unpack(bytes, 7, &there), DLHT_ECORRUPT);
    free(bytes);
    dlht_model_free(here);
}

Test(public_model, refuses_bad_training)
{
    make_keys();
    struct dlht_model *m;
    struct dlht_model_config config = { .leaf_count = 65537 };
    cr_expect_eq(dlht_model_train_u64(numbers, 9, &config, &m), DLHT_EINVAL);
    config = (struct dlht_model_config){ .leaf = (enum dlht_model_kind)9 };
    cr_expect_eq(dlht_model_train_u64(numbers, 9, &config, &m), DLHT_EINVAL);
    cr_expect_eq(dlht_model_train(NULL, 0, NULL, &m), DLHT_EINVAL);
    struct dlht_bytes fallen[] = { keys[1], keys[0] };
    cr_expect_eq(dlht_model_train(fallen, 2, NULL, &m), DLHT_EINVAL);
    cr_expect_null(m);
    double down[] = { 1, -1 };
    cr_expect_eq(dlht_model_train_f64(down, 2, NULL, &m), DLHT_EINVAL);
}
