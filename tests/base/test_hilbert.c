/* SPDX-License-Identifier: Apache-2.0 */

/* The curves: every cell once, neighbours one step apart, keys in the order of
 * the curve, the same curve as the paper's own routine; numbers to cells. */

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hilbert.h"
#include "base/rng.h"

/* A number of as many bits as fit 64, as the first bytes of a key. */
static void key_of_number(const struct hilbert_grid *grid, uint64_t number,
                          uint8_t *key)
{
    size_t len = hilbert_key_len(grid);
    uint64_t left = number << (64 - grid->dims * grid->bits);

    memset(key, 0, HILBERT_KEY_MAX);
    for (size_t i = 0; i < len; i++)
        key[i] = (uint8_t)(left >> (56 - 8 * i));
}

/* AxestoTranspose of the paper, to the letter, and its bits in turn. */
static void key_by_the_paper(const struct hilbert_grid *grid,
                             const uint32_t *point, uint8_t *key)
{
    uint32_t x[HILBERT_DIMS_MAX];
    uint32_t n = grid->dims, at = 0;
    uint32_t t = 0;

    memcpy(x, point, n * sizeof(*x));
    for (uint32_t q = 1u << (grid->bits - 1); q > 1; q >>= 1) {
        uint32_t p = q - 1;
        for (uint32_t i = 0; i < n; i++) {
            if (x[i] & q) {
                x[0] ^= p;
            } else {
                t = (x[0] ^ x[i]) & p;
                x[0] ^= t;
                x[i] ^= t;
            }
        }
    }
    for (uint32_t i = 1; i < n; i++)
        x[i] ^= x[i - 1];
    t = 0;
    for (uint32_t q = 1u << (grid->bits - 1); q > 1; q >>= 1) {
        if (x[n - 1] & q)
            t ^= q - 1;
    }
    for (uint32_t i = 0; i < n; i++)
        x[i] ^= t;
    memset(key, 0, HILBERT_KEY_MAX);
    for (uint32_t level = grid->bits; level-- > 0;) {
        for (uint32_t i = 0; i < n; i++, at++) {
            if ((x[i] >> level) & 1u)
                key[at / 8] |= (uint8_t)(0x80u >> at % 8);
        }
    }
}

static uint32_t steps_between(const uint32_t *a, const uint32_t *b,
                              uint32_t dims)
{
    uint32_t steps = 0;

    for (uint32_t i = 0; i < dims; i++)
        steps += a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
    return steps;
}

/* Walks the whole cube by key. */
static void walk_cube(const struct hilbert_grid *grid)
{
    static uint8_t seen[1 << 16];
    uint64_t cells = (uint64_t)1 << (grid->dims * grid->bits);
    uint32_t before[HILBERT_DIMS_MAX] = { 0 };

    cr_assert_leq(cells, sizeof(seen));
    memset(seen, 0, cells);
    for (uint64_t n = 0; n < cells; n++) {
        uint8_t key[HILBERT_KEY_MAX];
        uint8_t back[HILBERT_KEY_MAX] = { 0 };
        uint32_t point[HILBERT_DIMS_MAX];
        uint64_t at = 0;
        key_of_number(grid, n, key);
        cr_assert(hilbert_decode(grid, key, point));
        for (uint32_t i = 0; i < grid->dims; i++) {
            cr_assert_leq(point[i], hilbert_cell_max(grid));
            at = at << grid->bits | point[i];
        }
        cr_assert(!seen[at], "dims %u bits %u: a cell twice", grid->dims,
                  grid->bits);
        seen[at] = 1;
        hilbert_encode(grid, point, back);
        cr_assert_arr_eq(back, key, HILBERT_KEY_MAX);
        if (n > 0 && grid->curve == HILBERT_CURVE)
            cr_assert_eq(steps_between(before, point, grid->dims), 1,
                         "dims %u bits %u: a jump at %llu", grid->dims,
                         grid->bits, (unsigned long long)n);
        memcpy(before, point, sizeof(before));
    }
}

Test(hilbert, visits_every_cell_once_and_steps_to_neighbours)
{
    for (uint32_t dims = 2; dims <= HILBERT_DIMS_MAX; dims++) {
        for (uint32_t bits = 1; dims * bits <= 16; bits++) {
            struct hilbert_grid grid = { HILBERT_CURVE, dims, bits };
            walk_cube(&grid);
            grid.curve = HILBERT_Z;
            walk_cube(&grid);
        }
    }
}

Test(hilbert, begins_as_the_drawing_in_books_does)
{
    static const uint32_t want[][2] = {
        { 0, 0 }, { 0, 1 }, { 1, 1 }, { 1, 0 }
    };
    struct hilbert_grid grid = { HILBERT_CURVE, 2, 1 };
    struct hilbert_grid z = { HILBERT_Z, 2, 2 };
    const uint32_t point[] = { 2, 1 };
    uint8_t key[HILBERT_KEY_MAX];

    for (uint8_t n = 0; n < 4; n++) {
        uint32_t got[2];
        uint8_t one = (uint8_t)(n << 6);
        cr_assert(hilbert_decode(&grid, &one, got));
        cr_expect_arr_eq(got, want[n], sizeof(got), "cell %u", n);
    }
    hilbert_encode(&z, point, key);
    cr_expect_eq(key[0], 0x90, "x 10 and y 01 interleave to 1001: %02x",
                 key[0]);
}

static void random_point(struct rng *rng, const struct hilbert_grid *grid,
                         uint32_t *point)
{
    for (uint32_t i = 0; i < grid->dims; i++)
        point[i] = (uint32_t)rng_range(rng, 0, hilbert_cell_max(grid));
}

Test(hilbert, is_the_curve_of_the_paper_and_comes_back)
{
    const uint64_t seed = 20040001;
    struct rng rng;

    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed);
    for (int n = 0; n < 40000; n++) {
        struct hilbert_grid grid = { HILBERT_CURVE,
                                     (uint32_t)rng_range(&rng, 2, 8),
                                     (uint32_t)rng_range(&rng, 1, 32) };
        uint32_t point[HILBERT_DIMS_MAX], back[HILBERT_DIMS_MAX];
        uint8_t key[HILBERT_KEY_MAX] = { 0 }, want[HILBERT_KEY_MAX];
        random_point(&rng, &grid, point);
        hilbert_encode(&grid, point, key);
        key_by_the_paper(&grid, point, want);
        cr_assert_arr_eq(key, want, HILBERT_KEY_MAX, "dims %u bits %u",
                         grid.dims, grid.bits);
        cr_assert(hilbert_decode(&grid, key, back));
        cr_assert_arr_eq(back, point, grid.dims * sizeof(*point));
        grid.curve = HILBERT_Z;
        hilbert_encode(&grid, point, key);
        cr_assert(hilbert_decode(&grid, key, back));
        cr_assert_arr_eq(back, point, grid.dims * sizeof(*point));
    }
}

/* With 8 dimensions of 32 bits a key has no bit to spare: the next key, as
 * bytes, is the next cell. */
Test(hilbert, keys_sort_as_the_curve_runs)
{
    const uint64_t seed = 20040002;
    struct rng rng;

    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed);
    for (int n = 0; n < 5000; n++) {
        struct hilbert_grid grid = { HILBERT_CURVE, 8, 32 };
        uint32_t point[8], next[8];
        uint8_t key[HILBERT_KEY_MAX];
        size_t i = HILBERT_KEY_MAX;
        random_point(&rng, &grid, point);
        hilbert_encode(&grid, point, key);
        while (i > 0 && ++key[--i] == 0)
            ;
        cr_assert(hilbert_decode(&grid, key, next));
        cr_assert_eq(steps_between(point, next, 8), 1);
    }
}

Test(hilbert, the_first_digits_name_the_cube)
{
    const uint64_t seed = 20040003;
    struct rng rng;

    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed);
    for (int n = 0; n < 5000; n++) {
        uint32_t dims = (uint32_t)rng_range(&rng, 2, 8);
        struct hilbert_grid fine = { HILBERT_CURVE, dims, 32 };
        struct hilbert_grid coarse = { HILBERT_CURVE, dims, 11 };
        uint32_t point[8], low[8];
        uint8_t a[HILBERT_KEY_MAX] = { 0 }, b[HILBERT_KEY_MAX] = { 0 };
        random_point(&rng, &fine, point);
        for (uint32_t i = 0; i < dims; i++)
            low[i] = point[i] >> 21;
        hilbert_encode(&fine, point, a);
        hilbert_encode(&coarse, low, b);
        for (uint32_t level = 0; level < 11; level++)
            cr_assert_eq(hilbert_get_digit(&fine, a, level),
                         hilbert_get_digit(&coarse, b, level));
    }
}

Test(hilbert, refuses_what_is_no_key_and_no_grid)
{
    static const struct {
        const char *why;
        struct hilbert_grid grid;
        bool want;
    } rows[] = {
        { "least", { HILBERT_CURVE, 2, 1 }, true },
        { "most", { HILBERT_Z, 8, 32 }, true },
        { "a line", { HILBERT_CURVE, 1, 8 }, false },
        { "too many dimensions", { HILBERT_CURVE, 9, 8 }, false },
        { "no bits", { HILBERT_CURVE, 2, 0 }, false },
        { "too many bits", { HILBERT_CURVE, 2, 33 }, false },
        { "no such curve", { (enum hilbert_curve)7, 2, 8 }, false },
    };
    struct hilbert_grid grid = { HILBERT_CURVE, 3, 5 };
    uint32_t point[3] = { 9, 9, 9 };
    const uint8_t key[2] = { 0x12, 0x35 }; /* the sixteenth bit */

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        cr_expect_eq(hilbert_is_grid(&rows[i].grid), rows[i].want, "%s",
                     rows[i].why);
    cr_expect_eq(hilbert_key_len(&grid), 2);
    cr_expect(!hilbert_decode(&grid, key, point));
    cr_expect_eq(point[0], 9u);
}

Test(hilbert, numbers_belong_to_cells)
{
    static const struct {
        const char *why;
        struct hilbert_axis axis;
        uint32_t bits;
        double x;
        bool good;
        uint32_t want;
    } rows[] = {
        { "an integer", { 0, 255 }, 8, 77, true, 77 },
        { "the greatest integer",
          { 0, UINT32_MAX },
          32,
          UINT32_MAX,
          true,
          UINT32_MAX },
        { "an odd integer",
          { 0, UINT32_MAX },
          32,
          4000000007.0,
          true,
          4000000007u },
        { "the nearest, below", { 0, 255 }, 8, 77.49, true, 77 },
        { "the nearest, above", { 0, 255 }, 8, 77.5, true, 78 },
        { "the lower end", { -5, 5 }, 32, -5, true, 0 },
        { "the upper end", { -5, 5 }, 32, 5, true, UINT32_MAX },
        { "minus zero", { 0, 1 }, 32, -0.0, true, 0 },
        { "below", { -5, 5 }, 8, -5.0001, false, 0 },
        { "above", { -5, 5 }, 8, 5.0001, false, 0 },
        { "not a number", { -5, 5 }, 8, NAN, false, 0 },
        { "infinity", { -5, 5 }, 8, INFINITY, false, 0 },
        { "minus infinity", { -5, 5 }, 8, -INFINITY, false, 0 },
        { "south pole", { -90, 90 }, 32, -90, true, 0 },
        { "north pole", { -90, 90 }, 32, 90, true, UINT32_MAX },
        { "past the pole", { -90, 90 }, 32, 0x1.6800000000001p+6, false, 0 },
        { "date line", { -180, 180 }, 32, 180, true, UINT32_MAX },
        { "date line, west", { -180, 180 }, 32, -180, true, 0 },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        uint32_t cell = 0;
        bool good = hilbert_cell(&rows[i].axis, rows[i].bits, rows[i].x, &cell);
        cr_expect_eq(good, rows[i].good, "%s", rows[i].why);
        cr_expect_eq(cell, rows[i].want, "%s: %u", rows[i].why, cell);
    }
    cr_expect_eq(hilbert_latitude().max, 90);
    cr_expect_eq(hilbert_longitude().min, -180);
}

Test(hilbert, some_axes_are_too_fine_for_numbers)
{
    static const struct {
        const char *why;
        struct hilbert_axis axis;
        bool want;
    } rows[] = {
        { "degrees", { -180, 180 }, true },
        { "nothing between", { 1, 1 }, false },
        { "upside down", { 2, 1 }, false },
        { "not a number", { NAN, 1 }, false },
        { "to infinity", { 0, INFINITY }, false },
        { "an infinite distance", { -DBL_MAX, DBL_MAX }, false },
        { "the widest", { 0, DBL_MAX }, true },
        { "far away and narrow", { 1e15, 1e15 + 1 }, false },
        { "far away and wide", { 1e15, 2e15 }, true },
        { "close to zero", { 0, 1e-290 }, true },
        { "closer", { 0, 1e-300 }, false },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        cr_expect_eq(hilbert_is_axis(&rows[i].axis, 32), rows[i].want, "%s",
                     rows[i].why);
}

/* The cell of what a cell stands for is the cell; order is kept. */
Test(hilbert, cells_come_back_from_numbers)
{
    const uint64_t seed = 20040004;
    struct rng rng;
    int tried = 0;

    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed);
    while (tried < 100000) {
        uint32_t bits = (uint32_t)rng_range(&rng, 1, 32);
        double scale = ldexp(1, (int)rng_range(&rng, 0, 60) - 30);
        double min = (rng_real(&rng) - 0.5) * scale;
        struct hilbert_axis axis = {
            min, min + rng_real(&rng) * ldexp(scale, -(int)rng_below(&rng, 24))
        };
        uint32_t top = UINT32_MAX >> (32 - bits);
        uint32_t cell = (uint32_t)rng_range(&rng, 0, top), back = 0;
        double x, y;
        if (!hilbert_is_axis(&axis, bits))
            continue;
        tried++;
        x = hilbert_real(&axis, bits, cell);
        cr_assert(hilbert_cell(&axis, bits, x, &back));
        cr_assert_eq(back, cell, "%a..%a bits %u: %u, not %u", axis.min,
                     axis.max, bits, back, cell);
        y = axis.min + rng_real(&rng) * (axis.max - axis.min);
        if (hilbert_cell(&axis, bits, y, &back))
            cr_assert(y < x ? back <= cell : back >= cell);
    }
}
