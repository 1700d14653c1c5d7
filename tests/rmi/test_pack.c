/* SPDX-License-Identifier: Apache-2.0 */

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/rng.h"
#include "dlht/err.h"
#include "rmi/fit.h"
#include "rmi/key_sets.h"

static const uint64_t seed = 20261121;

static struct model *fit(const struct key_set *set, uint32_t leaves,
                         enum model_kind kind)
{
    struct fit_config config = { leaves, kind, kind };
    struct model *model = NULL;
    cr_assert_eq(fit_keys(set->keys, set->count, &config, &model), DLHT_OK);
    return model;
}

/* Alone on the heap, so that a step past the end is seen. */
static int unpack_alone(const uint8_t *data, size_t len)
{
    uint8_t *alone = malloc(len ? len : 1);
    if (len)
        memcpy(alone, data, len);
    struct model *model = (struct model *)(void *)alone;
    int rc = model_unpack(span_of(alone, len), &model);
    cr_assert((rc == DLHT_OK) == (model != NULL));
    model_free(model);
    free(alone);
    return rc;
}

/* Makes the checksum right again. */
static void seal(struct buf *bytes)
{
    uint64_t hash = hash64(span_of(bytes->data, bytes->len - 8));
    for (int i = 0; i < 8; i++)
        bytes->data[bytes->len - 8 + (size_t)i] = (uint8_t)(hash >> (8 * i));
}

Test(pack, is_exact)
{
    for (int s = 0; s < KEYS_SHAPES; s++) {
        struct key_set set = key_set_make((enum key_shape)s, 30000, seed);
        for (int k = MODEL_LINEAR; set.count && k <= MODEL_CUBIC; k++) {
            struct model *model = fit(&set, 500, (enum model_kind)k);
            struct buf once = { 0 };
            struct buf twice = { 0 };
            buf_append(&once, "xyz", 3); /* it appends */
            cr_assert_eq(model_pack(model, &once), DLHT_OK);
            struct span packed = span_tail(buf_span(&once), 3);
            cr_assert_eq(packed.len, model_packed_size(model));
            struct model *again;
            cr_assert_eq(model_unpack(packed, &again), DLHT_OK);
            cr_assert_eq(model_pack(again, &twice), DLHT_OK);
            cr_assert(span_equal(packed, buf_span(&twice)));
            for (size_t i = 0; i < set.count; i++) {
                struct model_guess a = model_guess(model, set.keys[i]);
                struct model_guess b = model_guess(again, set.keys[i]);
                cr_assert(a.position == b.position && a.lo == b.lo &&
                          a.hi == b.hi && a.leaf == b.leaf);
            }
            cr_assert_eq((int)model_root_kind(again), k);
            cr_assert_eq((int)model_leaf_kind(again), k);
            buf_deinit(&once);
            buf_deinit(&twice);
            model_free(again);
            model_free(model);
        }
        key_set_free(&set);
    }
}

static struct buf packed_words(size_t count, uint32_t leaves)
{
    struct key_set set = key_set_make(KEYS_CLUSTERED, count, seed);
    struct model *model = fit(&set, leaves, MODEL_CUBIC);
    struct buf bytes = { 0 };
    cr_assert_eq(model_pack(model, &bytes), DLHT_OK);
    model_free(model);
    key_set_free(&set);
    return bytes;
}

Test(pack, knows_what_was_cut_or_flipped)
{
    struct buf bytes = packed_words(500, 20);
    for (size_t len = 0; len < bytes.len; len++)
        cr_assert_eq(unpack_alone(bytes.data, len), DLHT_ECORRUPT);
    for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_neq(unpack_alone(bytes.data, bytes.len), DLHT_OK);
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_append_byte(&bytes, 0);
    cr_assert_eq(unpack_alone(bytes.data, bytes.len), DLHT_ECORRUPT);
    bytes.len--;
    cr_assert_eq(unpack_alone(bytes.data, bytes.len), DLHT_OK);
    buf_deinit(&bytes);
}

/* A stranger can make the checksum right: what is let in keeps order. */
Test(pack, lets_only_monotone_models_in)
{
    struct buf bytes = packed_words(500, 20);
    struct rng rng;
    rng_init(&rng, seed);
    struct buf bad = { 0 };
    int let_in = 0;
    for (int round = 0; round < 30000; round++) {
        buf_reset(&bad);
        buf_append_span(&bad, buf_span(&bytes));
        for (uint64_t n = rng_range(&rng, 1, 3); n > 0; n--)
            bad.data[rng_below(&rng, bad.len - 8)] = (uint8_t)rng_next(&rng);
        seal(&bad);
        struct model *model;
        if (model_unpack(buf_span(&bad), &model) != DLHT_OK)
            continue;
        let_in++;
        uint64_t last = 0;
        for (uint64_t i = 0; i < 200; i++) {
            uint64_t p = model_position_u64(model, i * (UINT64_MAX / 199));
            cr_assert(p >= last, "round %d", round);
            last = p;
        }
        struct buf again = { 0 };
        cr_assert_eq(model_pack(model, &again), DLHT_OK);
        cr_assert(span_equal(buf_span(&bad), buf_span(&again)));
        buf_reset(&again);
        cr_assert_eq(model_key_at(model, rng_next(&rng), &again), DLHT_OK);
        buf_deinit(&again);
        model_free(model);
    }
    cr_assert(let_in > 100, "%d", let_in);
    buf_deinit(&bad);
    buf_deinit(&bytes);
}

static void put_double(uint8_t *at, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(bits >> (8 * i));
}

static void put_float(uint8_t *at, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(bits >> (8 * i));
}

/* One leaf, keys "a" and "b": head 64, knots 2 + 2 + 1 + 2 + 2, then width,
 * two slopes and two bounds. */
Test(pack, refuses_one_thing_at_a_time)
{
    struct span keys[] = { span_str("a"), span_str("b") };
    struct fit_config config = { 1, MODEL_CUBIC, MODEL_CUBIC };
    struct model *model;
    cr_assert_eq(fit_keys(keys, 2, &config, &model), DLHT_OK);
    struct buf fine = { 0 };
    cr_assert_eq(model_pack(model, &fine), DLHT_OK);
    model_free(model);
    size_t leaf = 64 + 3 + 4;
    cr_assert_eq(fine.len, leaf + 1 + 24 + 8);
    static const struct {
        size_t at;
        double number;
        const char *why;
    } doubles[] = {
        { 1, -0.001, "a falling slope" },
        { 1, 3.001, "a slope out of the box" },
        { 9, -1, "the other slope" },
        { 9, NAN, "no number" },
        { 1, INFINITY, "an endless one" },
    };
    struct buf bad = { 0 };
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) {
        buf_reset(&bad);
        buf_append_span(&bad, buf_span(&fine));
        put_double(bad.data + leaf + doubles[i].at, doubles[i].number);
        seal(&bad);
        cr_expect_eq(unpack_alone(bad.data, bad.len), DLHT_ECORRUPT, "%s",
                     doubles[i].why);
    }
    static const struct {
        size_t at;
        uint8_t byte;
        int want;
        const char *why;
    } table[] = {
        { 0, 'd', DLHT_ECORRUPT, "magic" },
        { 4, 2, DLHT_EVERSION, "a newer form" },
        { 4, 0, DLHT_ECORRUPT, "version 0" },
        { 6, 3, DLHT_ECORRUPT, "root kind" },
        { 7, 0, DLHT_ECORRUPT, "leaf kind" },
        { 8, 0, DLHT_ECORRUPT, "no leaves" },
        { 8, 2, DLHT_ECORRUPT, "a leaf more" },
        { 10, 2, DLHT_ETOOBIG, "131,073 leaves" },
        { 12, 1, DLHT_ECORRUPT, "a longer prefix" },
        { 16, 3, DLHT_ECORRUPT, "a key more" },
        { 23, 1, DLHT_ECORRUPT, "too many keys" },
        { 27, 1, DLHT_ETOOBIG, "16 MiB" },
        { 24, 1, DLHT_ECORRUPT, "another size" },
        { 39, 0x7f, DLHT_OK, "a strange root costs time only" },
        { 66, 'c', DLHT_ECORRUPT, "knots fall" },
        { 69, 'a', DLHT_ECORRUPT, "not the shortest form" },
        { 71, 1, DLHT_ECORRUPT, "a key fewer" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        buf_reset(&bad);
        buf_append_span(&bad, buf_span(&fine));
        bad.data[table[i].at] = table[i].byte;
        seal(&bad);
        cr_expect_eq(unpack_alone(bad.data, bad.len), table[i].want, "%s",
                     table[i].why);
    }
    put_float(bad.data, 0);
    static const float bounds[][2] = { { 1, 2 }, { -2, -1 }, { NAN, 1 } };
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        buf_reset(&bad);
        buf_append_span(&bad, buf_span(&fine));
        put_float(bad.data + leaf + 17, bounds[i][0]);
        put_float(bad.data + leaf + 21, bounds[i][1]);
        seal(&bad);
        cr_expect_eq(unpack_alone(bad.data, bad.len), DLHT_ECORRUPT);
    }
    buf_reset(&bad);
    cr_assert_eq(buf_reserve(&bad, MODEL_PACKED_MAX + 1), DLHT_OK);
    memset(bad.data, 0, MODEL_PACKED_MAX + 1);
    memcpy(bad.data, fine.data, fine.len);
    cr_expect_eq(unpack_alone(bad.data, MODEL_PACKED_MAX + 1), DLHT_ETOOBIG);
    buf_deinit(&bad);
    buf_deinit(&fine);
}
