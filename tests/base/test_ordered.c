/* SPDX-License-Identifier: Apache-2.0 */

#include "base/ordered.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "base/rng.h"
#include "dlht/err.h"

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

static int order(const uint8_t a[8], const uint8_t b[8])
{
    return sign(memcmp(a, b, 8));
}

Test(ordered, sorts_whole_numbers)
{
    static const uint64_t edges[] = { 0,     1,         255,
                                      256,   INT64_MAX, (uint64_t)INT64_MAX + 1,
                                      ~0ull, ~0ull - 1, 1ull << 53 };
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 100000; i++) {
        uint64_t x[2];
        uint8_t b[2][8];
        for (int k = 0; k < 2; k++)
            x[k] = i < 1000 ? edges[rng_below(&rng, 9)]
                            : rng_next(&rng) >> rng_below(&rng, 64);
        for (int k = 0; k < 2; k++) {
            ordered_put_u64(b[k], x[k]);
            cr_assert_eq(ordered_get_u64(b[k]), x[k]);
        }
        cr_assert_eq(order(b[0], b[1]), (x[0] > x[1]) - (x[0] < x[1]));
        int64_t y[2];
        memcpy(y, x, sizeof y);
        for (int k = 0; k < 2; k++) {
            ordered_put_i64(b[k], y[k]);
            cr_assert_eq(ordered_get_i64(b[k]), y[k]);
        }
        cr_assert_eq(order(b[0], b[1]), (y[0] > y[1]) - (y[0] < y[1]));
    }
}

Test(ordered, sorts_doubles)
{
    static const double rising[] = { -INFINITY,  -1e308, -1.5,  -1,
                                     -0x1p-1074, -0.0,   0.0,   0x1p-1074,
                                     1,          1.5,    1e308, INFINITY };
    uint8_t b[2][8];
    for (int i = 1; i < 12; i++) {
        ordered_put_f64(b[0], rising[i - 1]);
        ordered_put_f64(b[1], rising[i]);
        cr_assert_eq(order(b[0], b[1]), -1, "%g %g", rising[i - 1], rising[i]);
        cr_assert_eq(memcmp(&rising[i], &(double){ ordered_get_f64(b[1]) }, 8),
                     0);
    }
    ordered_put_f64(b[0], copysign(NAN, 1));
    cr_assert_eq(order(b[0], b[1]), 1);
    ordered_put_f64(b[0], copysign(NAN, -1));
    ordered_put_f64(b[1], -INFINITY);
    cr_assert_eq(order(b[0], b[1]), -1);
    struct rng rng;
    rng_init(&rng, 2);
    for (int i = 0; i < 100000; i++) {
        double x[2];
        for (int k = 0; k < 2; k++) {
            uint64_t bits = rng_next(&rng);
            memcpy(&x[k], &bits, 8);
            x[k] = isnan(x[k]) ? 0 : x[k];
            ordered_put_f64(b[k], x[k]);
            cr_assert_eq(ordered_get_f64(b[k]), x[k]);
        }
        cr_assert_eq(order(b[0], b[1]), (x[0] > x[1]) - (x[0] < x[1]));
    }
}

/* Parts of few different bytes, so that they begin alike. */
static size_t make_part(struct rng *rng, uint8_t out[4])
{
    static const uint8_t bytes[] = { 0, 1, 2, 0xfe, 0xff };
    size_t len = (size_t)rng_below(rng, 5);
    for (size_t i = 0; i < len; i++)
        out[i] = bytes[rng_below(rng, 5)];
    return len;
}

Test(ordered, sorts_tuples_part_by_part)
{
    struct rng rng;
    rng_init(&rng, 3);
    struct buf key[2] = { { 0 }, { 0 } };
    struct buf back = { 0 };
    for (int i = 0; i < 100000; i++) {
        uint8_t bytes[2][2][4];
        struct span part[2][2];
        for (int k = 0; k < 2; k++) {
            buf_reset(&key[k]);
            for (int p = 0; p < 2; p++) {
                part[k][p] = span_of(bytes[k][p], make_part(&rng, bytes[k][p]));
                ordered_add_part(&key[k], part[k][p]);
            }
        }
        int want = sign(span_compare(part[0][0], part[1][0]));
        if (want == 0)
            want = sign(span_compare(part[0][1], part[1][1]));
        cr_assert_eq(sign(span_compare(buf_span(&key[0]), buf_span(&key[1]))),
                     want);
        struct span rest = buf_span(&key[0]);
        for (int p = 0; p < 2; p++) {
            buf_reset(&back);
            cr_assert_eq(ordered_take_part(&rest, &back), DLHT_OK);
            cr_assert(span_equal(buf_span(&back), part[0][p]));
        }
        cr_assert_eq(ordered_take_part(&rest, &back), DLHT_ECORRUPT);
    }
    for (int k = 0; k < 2; k++)
        buf_deinit(&key[k]);
    buf_deinit(&back);
}

Test(ordered, knows_what_is_no_tuple)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = { { "", 0 },         { "abc", 3 },       { "a\0", 2 },
                { "a\0\2", 3 },    { "a\0\xff", 3 },   { "\0\0\1", 3 },
                { "\0\xff\0", 3 }, { "\1\0\xff\1", 4 } };
    struct buf out = { 0 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct span tuple = span_of(bad[i].bytes, bad[i].len);
        cr_assert_eq(ordered_take_part(&tuple, &out), DLHT_ECORRUPT, "%zu", i);
        cr_assert_eq(tuple.len, bad[i].len);
        cr_assert_eq(out.len, 0);
    }
    buf_deinit(&out);
}
