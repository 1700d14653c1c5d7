/* SPDX-License-Identifier: Apache-2.0 */

#include "rmi/model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "dlht/err.h"
#include "rmi/fit.h"
#include "rmi/key_sets.h"

enum {
    KEY_ROOM = 96
};

static const uint64_t seed = 20261121;

static struct model *fit(const struct key_set *set, uint32_t leaves,
                         enum model_kind kind)
{
    struct fit_config config = { leaves, kind, kind };
    struct model *model = NULL;
    int rc = set->numbers ? fit_u64(set->numbers, set->count, &config, &model)
                          : fit_keys(set->keys, set->count, &config, &model);
    cr_assert_eq(rc, DLHT_OK, "%d", rc);
    return model;
}

static struct key_set shape(enum key_shape s, size_t count)
{
    struct key_set set = key_set_make((enum key_shape)s, count, seed);
    if (set.count == 0)
        printf("SKIPPED: no %s on this machine\n", key_shape_names[s]);
    return set;
}

/* A key that a model may find hard: made from a fitted one or from nothing. */
static size_t hard_key(struct rng *rng, const struct key_set *set,
                       uint8_t out[KEY_ROOM])
{
    struct span key = set->keys[rng_below(rng, set->count)];
    size_t len = key.len < 64 ? key.len : 64;
    memcpy(out, key.data, len);
    switch (rng_below(rng, 10)) {
    case 0: /* cut */
        return rng_below(rng, len + 1);
    case 1: /* a zero more, or several */
        memset(out + len, 0, 16);
        return len + 1 + rng_below(rng, 15);
    case 2: /* 0xff from somewhere on */
        len = rng_below(rng, len + 1);
        memset(out + len, 0xff, 24);
        return len + rng_below(rng, 25);
    case 3: /* a neighbour */
        if (len)
            out[len - 1] = (uint8_t)(out[len - 1] + rng_range(rng, 0, 2) - 1);
        return len;
    case 4: /* zeros inside */
        if (len)
            out[rng_below(rng, len)] = 0;
        return len;
    case 5: { /* 2^53 + i and the greatest numbers */
        uint64_t x = rng_chance(rng, 0.5)
                         ? (UINT64_C(1) << 53) + rng_below(rng, 1000)
                         : UINT64_MAX - rng_below(rng, 3);
        for (int b = 0; b < 8; b++)
            out[b] = (uint8_t)(x >> (56 - 8 * b));
        return 8;
    }
    case 6: /* random bytes after a true beginning */
        len = rng_below(rng, len + 1);
        for (int b = 0; b < 12; b++)
            out[len + (size_t)b] = (uint8_t)rng_next(rng);
        return len + 12;
    case 7:
        for (int b = 0; b < 16; b++)
            out[b] = (uint8_t)rng_next(rng);
        return rng_below(rng, 17);
    default:
        return len;
    }
}

static int by_span(const void *a, const void *b)
{
    return span_compare(*(const struct span *)a, *(const struct span *)b);
}

/* Sorted hard keys: positions and guesses never fall. */
static void check_order(const struct model *model, const struct key_set *set,
                        size_t count, const char *name)
{
    struct rng rng;
    rng_init(&rng, seed);
    uint8_t(*room)[KEY_ROOM] = malloc(count * sizeof *room);
    struct span *keys = malloc(count * sizeof *keys);
    for (size_t i = 0; i < count; i++)
        keys[i] = span_of(room[i], hard_key(&rng, set, room[i]));
    qsort(keys, count, sizeof *keys, by_span);
    struct model_guess last = { 0 };
    double last_rank = 0;
    for (size_t i = 0; i < count; i++) {
        struct model_guess guess = model_guess(model, keys[i]);
        double rank = model_rank(model, keys[i]);
        cr_assert(guess.position >= last.position && rank >= last_rank,
                  "%s: falls at %zu", name, i);
        cr_assert(guess.leaf >= last.leaf, "%s: leaf falls at %zu", name, i);
        cr_assert(guess.lo <= guess.position && guess.position <= guess.hi);
        cr_assert_eq(guess.position, model_position(model, keys[i]));
        cr_assert_eq(guess.leaf, model_leaf_of(model, keys[i]));
        cr_assert(rank <= (double)model_key_count(model));
        last = guess;
        last_rank = rank;
    }
    free(room);
    free(keys);
}

/* Neighbouring numbers, where doubles no longer tell them apart. */
static void check_order_u64(const struct model *model, uint64_t from,
                            const char *name)
{
    uint64_t last = 0;
    for (uint64_t i = 0; i < 3000 && from + i >= from; i++) {
        uint64_t position = model_position_u64(model, from + i);
        cr_assert(position >= last, "%s: falls at %llu", name,
                  (unsigned long long)(from + i));
        last = position;
    }
}

/* A million hard keys in all. */
Test(model, keeps_order, .timeout = 300)
{
    printf("seed %llu\n", (unsigned long long)seed);
    static const enum model_kind kinds[] = { MODEL_LINEAR, MODEL_CUBIC };
    for (int s = 0; s < KEYS_SHAPES; s++) {
        struct key_set set = shape((enum key_shape)s, 60000);
        for (int k = 0; set.count > 0 && k < 2; k++) {
            struct model *model = fit(&set, k ? 300 : 5, kinds[k]);
            check_order(model, &set, 65000, key_shape_names[s]);
            for (int i = 0; set.numbers && i < 20; i++)
                check_order_u64(model, set.numbers[(size_t)i * 3000],
                                key_shape_names[s]);
            check_order_u64(model, (UINT64_C(1) << 53) - 1000, "2^53");
            check_order_u64(model, UINT64_MAX - 2000, "2^64");
            model_free(model);
        }
        key_set_free(&set);
    }
}

/* A wide leaf of a steep cubic is where rounding would show. */
Test(model, keeps_order_bit_by_bit)
{
    static const double slopes[][2] = { { 3, 3 }, { 0, 0 }, { 0, 3 },
                                        { 3, 0 }, { 1, 1 }, { 0.1, 2.9 } };
    uint64_t keys[] = { 0, UINT64_MAX };
    struct fit_config config = { 1, MODEL_CUBIC, MODEL_CUBIC };
    struct model *model;
    cr_assert_eq(fit_u64(keys, 2, &config, &model), DLHT_OK);
    for (size_t s = 0; s < sizeof slopes / sizeof *slopes; s++) {
        struct model *steep;
        cr_assert_eq(fit_with_coefficients(model, slopes[s], &steep), DLHT_OK);
        struct rng rng;
        rng_init(&rng, seed + s);
        for (int i = 0; i < 3000; i++) {
            uint64_t at = i % 2 ? rng_next(&rng) : (uint64_t)(i / 2) << 54;
            double last = 0;
            for (uint64_t d = 0; d < 60 && at + d * 512 >= at; d++) {
                uint8_t b[8];
                for (int k = 0; k < 8; k++)
                    b[k] = (uint8_t)((at + d * 512) >> (56 - 8 * k));
                double rank = model_rank(steep, span_of(b, 8));
                cr_assert(rank >= last, "slopes %zu, at %llu", s,
                          (unsigned long long)at);
                last = rank;
            }
        }
        model_free(steep);
    }
    model_free(model);
}

Test(model, is_near_the_truth, .timeout = 300)
{
    for (int s = 0; s < KEYS_SHAPES; s++) {
        struct key_set set = shape((enum key_shape)s, 1000000);
        double tied = set.count ? key_set_tied(&set) : 0;
        for (int k = MODEL_LINEAR; set.count > 0 && k <= MODEL_CUBIC; k++) {
            struct model *model = fit(&set, 1024, (enum model_kind)k);
            struct model_stats stats;
            model_measure(model, set.keys, set.count, &stats);
            const char *name = key_shape_names[s];
            printf("%-10s kind %d: %u leaves, %zu bytes, KS %.6f, mean %.6f, "
                   "max %.6f, bound %.6f\n",
                   name, k, model_leaf_count(model), model_packed_size(model),
                   stats.ks, stats.mean_error, stats.max_error,
                   stats.mean_bound);
            cr_expect_eq(stats.inversions, 0, "%s", name);
            cr_expect_eq(stats.outside, 0, "%s", name);
            /* A leaf has a whole number of keys. */
            double most = 1.0 / 1024 + 1.0 / (double)set.count +
                          (tied > 1.0 / 1024 ? tied : 0);
            cr_expect(stats.ks <= most, "%s: %g", name, stats.ks);
            if (s != KEYS_PATHS) {
                cr_expect(stats.mean_error <= 0.0005, "%s", name);
                cr_expect(stats.max_error <= 0.005, "%s", name);
                cr_expect(tied < 0.0001, "%s: %g", name, tied);
            }
            cr_expect(stats.max_error <= stats.ks, "%s", name);
            if (s == KEYS_WORDS)
                cr_expect(model_packed_size(model) <= 65536);
            model_free(model);
        }
        key_set_free(&set);
    }
}

/* Keys of which the counting goes another way. */
static void count_truth(const struct model *model, const struct span *keys,
                        size_t count, const char *why)
{
    struct model_stats stats;
    model_measure(model, keys, count, &stats);
    cr_expect_eq(stats.inversions, 0, "%s", why);
    cr_expect_eq(stats.outside, 0, "%s", why);
    cr_assert_eq(model_key_count(model), count, "%s", why);
    cr_assert_eq(model_keys_before(model, 0), 0);
    cr_assert_eq(model_keys_before(model, model_leaf_count(model)), count);
    struct buf knot = { 0 };
    uint64_t before = 0;
    for (uint32_t i = 0; i <= model_leaf_count(model); i++) {
        buf_reset(&knot);
        cr_assert_eq(model_knot(model, i, &knot), DLHT_OK);
        while (before < count &&
               span_compare(keys[before], buf_span(&knot)) < 0)
            before++;
        /* The last knot may stand for the end of all keys. */
        if (i < model_leaf_count(model))
            cr_assert_eq(model_keys_before(model, i), before, "%s: knot %u",
                         why, i);
        double rank = model_rank(model, buf_span(&knot));
        if (model_leaf_kind(model) == MODEL_CUBIC)
            cr_assert_float_eq(rank, (double)model_keys_before(model, i), 1e-6,
                               "%s: knot %u", why, i);
    }
    buf_deinit(&knot);
}

enum odd {
    ODD_ONE,
    ODD_TWO,
    ODD_EQUAL,
    ODD_HEAVY,
    ODD_FEW,
    ODD_EMPTY_KEY,
    ODD_ZEROS,
    ODD_ONES,
    ODD_LONG,
    ODD_LONG_ONES,
    ODD_LONG_TAILS,
    ODD_KINDS
};

static const char *const odd_names[] = {
    "one key",      "two keys",      "all equal", "heavy",
    "few distinct", "the empty key", "zeros",     "0xff",
    "long prefix",  "only 0xff",     "long tails"
};

/* Key i of an odd set, before sorting. */
static size_t odd_key(enum odd odd, struct rng *rng, size_t i, uint8_t *out)
{
    uint64_t x = rng_next(rng);
    memset(out, 'p', 300);
    switch (odd) {
    case ODD_ONE:
    case ODD_TWO:
        out[0] = (uint8_t)i;
        return 1;
    case ODD_EQUAL:
        return 3;
    case ODD_HEAVY: /* a third of one key, a tenth of another */
        x = x % 30 < 10 ? 7 : x % 30 < 13 ? UINT64_MAX : x;
        memcpy(out, &x, 8);
        return 8;
    case ODD_FEW:
        out[0] = (uint8_t)(x % 7);
        return 1;
    case ODD_EMPTY_KEY:
        memcpy(out, &x, 8);
        return i % 10 ? 8 : 0;
    case ODD_ZEROS:
        memset(out, 0, 300);
        return x % 200;
    case ODD_ONES:
        memset(out, 0xff, 300);
        return x % 60;
    case ODD_LONG: /* differ after 200 bytes, below 64 more */
        memcpy(out + 200, &x, 8);
        return 208;
    case ODD_LONG_ONES: /* differ after more 0xff than a knot may have */
        memset(out + 10, 0xff, 200);
        memcpy(out + 210, &x, 8);
        return i == 0 ? 3 : 218;
    case ODD_LONG_TAILS: /* a few groups that differ beyond a knot's end */
        out[2] = (uint8_t)(x % 5);
        memcpy(out + 150, &x, 8);
        return 158;
    case ODD_KINDS:
        break;
    }
    return 0;
}

static struct key_set odd_set(enum odd odd, size_t count)
{
    struct key_set set = { .count = odd == ODD_ONE   ? 1
                                    : odd == ODD_TWO ? 2
                                                     : count };
    set.bytes = malloc(set.count * 320);
    set.keys = malloc(set.count * sizeof *set.keys);
    struct rng rng;
    rng_init(&rng, seed + odd);
    for (size_t i = 0; i < set.count; i++) {
        uint8_t *at = set.bytes + 320 * i;
        set.keys[i] = span_of(at, odd_key(odd, &rng, i, at));
    }
    qsort(set.keys, set.count, sizeof *set.keys, by_span);
    return set;
}

Test(model, bears_odd_keys, .timeout = 300)
{
    static const uint32_t leaves[] = { 1, 2, 7, 64, 1024, 65536 };
    for (int odd = 0; odd < ODD_KINDS; odd++) {
        struct key_set set = odd_set((enum odd)odd, 3000);
        for (size_t l = 0; l < sizeof leaves / sizeof *leaves; l++)
            for (int k = MODEL_LINEAR; k <= MODEL_CUBIC; k++) {
                struct model *model = fit(&set, leaves[l], (enum model_kind)k);
                cr_assert(model_leaf_count(model) <= leaves[l]);
                cr_assert(model_packed_size(model) <= MODEL_PACKED_MAX);
                count_truth(model, set.keys, set.count, odd_names[odd]);
                check_order(model, &set, 3000, odd_names[odd]);
                model_free(model);
            }
        key_set_free(&set);
    }
}

/* What a repeated key takes is its own; the others keep their bound. */
Test(model, gives_a_heavy_key_its_own_leaf)
{
    struct key_set set = odd_set(ODD_HEAVY, 20000);
    struct model *model = fit(&set, 64, MODEL_CUBIC);
    struct model_stats stats;
    model_measure(model, set.keys, set.count, &stats);
    cr_expect(stats.ks <= 1.0 / 64, "%g", stats.ks);
    model_free(model);
    key_set_free(&set);
}

Test(model, has_at_most_a_mebibyte)
{
    struct key_set set = { .count = 60000 };
    set.bytes = malloc(set.count * 64);
    set.keys = malloc(set.count * sizeof *set.keys);
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < set.count; i++) {
        /* Neighbours that differ in their last bytes: long knots. */
        uint8_t *at = set.bytes + 64 * i;
        memset(at, (int)(i % 256), 64);
        at[0] = (uint8_t)rng_next(&rng);
        at[1] = (uint8_t)rng_below(&rng, 4);
        at[62] = (uint8_t)(i >> 8);
        at[63] = (uint8_t)i;
        set.keys[i] = span_of(at, 64);
    }
    qsort(set.keys, set.count, sizeof *set.keys, by_span);
    struct model *model = fit(&set, 65536, MODEL_CUBIC);
    printf("%u leaves, %zu bytes\n", model_leaf_count(model),
           model_packed_size(model));
    cr_expect(model_packed_size(model) <= MODEL_PACKED_MAX);
    cr_expect(model_packed_size(model) > MODEL_PACKED_MAX / 2);
    struct model_stats stats;
    model_measure(model, set.keys, set.count, &stats);
    cr_expect_eq(stats.outside, 0);
    model_free(model);
    key_set_free(&set);
}

/* From a position to a key and back. */
Test(model, turns_positions_into_keys, .timeout = 120)
{
    for (int s = 0; s < KEYS_SHAPES; s++) {
        struct key_set set = shape((enum key_shape)s, 50000);
        for (int k = MODEL_LINEAR; set.count > 0 && k <= MODEL_CUBIC; k++) {
            struct model *model = fit(&set, 256, (enum model_kind)k);
            struct buf key = { 0 };
            struct buf last = { 0 };
            double worst = 0;
            for (uint64_t i = 0; i <= 4000; i++) {
                uint64_t p = i < 4000 ? i * (UINT64_MAX / 4000) : UINT64_MAX;
                buf_reset(&key);
                cr_assert_eq(model_key_at(model, p, &key), DLHT_OK);
                uint64_t back = model_position(model, buf_span(&key));
                cr_assert(back <= p || p == 0, "%s: %llu", key_shape_names[s],
                          (unsigned long long)i);
                worst = fmax(worst, (double)(p - back) * 0x1p-64);
                cr_assert(span_compare(buf_span(&last), buf_span(&key)) <= 0);
                buf_reset(&last);
                buf_append_span(&last, buf_span(&key));
            }
            /* Lines leave gaps between leaves, of less than a leaf. */
            cr_expect(worst <= 1.0 / 200 + key_set_tied(&set), "%s: %g",
                      key_shape_names[s], worst);
            if (s == KEYS_UNIFORM && k == MODEL_CUBIC)
                cr_expect(worst < 1e-9, "%g", worst);
            buf_deinit(&key);
            buf_deinit(&last);
            model_free(model);
        }
        key_set_free(&set);
    }
}

static size_t rank_of(const struct key_set *set, struct span key)
{
    size_t lo = 0;
    size_t hi = set->count;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (span_compare(set->keys[middle], key) < 0)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

/* Ranges hold the keys of the range, counts are as near as they say, for ends
 * that were never seen, too. */
Test(model, cuts_ranges)
{
    for (int s = 0; s < KEYS_SHAPES; s++) {
        struct key_set set = shape((enum key_shape)s, 20000);
        struct model *model = set.count ? fit(&set, 100, MODEL_LINEAR) : NULL;
        struct rng rng;
        rng_init(&rng, seed);
        for (int i = 0; model && i < 3000; i++) {
            uint8_t room[2][KEY_ROOM];
            struct span end[2];
            for (int e = 0; e < 2; e++)
                end[e] = span_of(room[e], hard_key(&rng, &set, room[e]));
            if (span_compare(end[0], end[1]) > 0) {
                struct span swap = end[0];
                end[0] = end[1];
                end[1] = swap;
            }
            if (i % 10 == 0)
                end[1] = span_empty();
            size_t from = rank_of(&set, end[0]);
            size_t to = end[1].data ? rank_of(&set, end[1]) : set.count;
            uint64_t lo;
            uint64_t hi;
            double error;
            model_range(model, end[0], end[1], &lo, &hi);
            double n = (double)set.count;
            if (to > from) {
                cr_assert((double)from / n * 0x1p64 >= (double)lo * 0.9999999);
                cr_assert((double)(to - 1) / n * 0x1p64 <=
                          (double)hi * 1.0000001);
                cr_assert(model_position(model, set.keys[from]) >= lo);
                cr_assert(model_position(model, set.keys[to - 1]) <= hi);
            }
            double guess = model_count(model, end[0], end[1], &error);
            cr_assert(fabs(guess - (double)(to - from)) <= error + 1e-6,
                      "%s: %g against %zu, off by %g at most",
                      key_shape_names[s], guess, to - from, error);
        }
        model_free(model);
        key_set_free(&set);
    }
}

Test(model, knows_how_far_another_is)
{
    struct key_set a = shape(KEYS_UNIFORM, 20000);
    struct key_set b = shape(KEYS_LOGNORMAL, 20000);
    struct model *one = fit(&a, 64, MODEL_CUBIC);
    struct model *same = fit(&a, 100, MODEL_LINEAR);
    struct model *other = fit(&b, 64, MODEL_CUBIC);
    cr_expect_float_eq(model_distance(one, one), 0, 1e-15);
    cr_expect(model_distance(one, same) <= 1.0 / 64 + 1.0 / 100);
    /* Nearly all of b is before the first knot of a. */
    cr_expect(model_distance(one, other) > 0.99);
    cr_expect_eq(model_distance(one, other), model_distance(other, one));
    model_free(one);
    model_free(same);
    model_free(other);
    key_set_free(&a);
    key_set_free(&b);
}
