/* SPDX-License-Identifier: Apache-2.0 */

/* Boxes as ranges: every cell of a box is in a range, whatever the box; and
 * how many arcs of a ring a box meets, by Hilbert's curve and by Z-order. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hilbert_cover.h"
#include "base/rng.h"

enum {
    RANGES = 64,
    ARCS = 50,
    POINTS = 20000
};

static bool in_ranges(const struct hilbert_range *ranges, size_t count,
                      const uint8_t *key, size_t len)
{
    for (size_t i = 0; i < count; i++) {
        if (memcmp(key, ranges[i].first, len) >= 0 &&
            memcmp(key, ranges[i].last, len) <= 0)
            return true;
    }
    return false;
}

static struct hilbert_box
random_box(struct rng *rng, const struct hilbert_grid *grid, bool small)
{
    struct hilbert_box box = { { 0 }, { 0 } };
    uint32_t top = hilbert_cell_max(grid);

    for (uint32_t i = 0; i < grid->dims; i++) {
        uint32_t a = (uint32_t)rng_range(rng, 0, top);
        uint32_t b = (uint32_t)rng_range(rng, 0, top);
        if (small)
            b = a + (uint32_t)rng_below(rng, 3) * (top / 50);
        if (b > top || b < a) {
            uint32_t t = a;
            a = b > top ? a : b;
            b = b > top ? top : t;
        }
        box.from[i] = a;
        box.to[i] = b;
    }
    return box;
}

/* Ordered, apart, no more than asked for, ends in the box. */
static void check_shape(const struct hilbert_grid *grid,
                        const struct hilbert_box *boxes, size_t box_count,
                        const struct hilbert_range *ranges, size_t range_max,
                        const struct hilbert_cover *told)
{
    size_t len = hilbert_key_len(grid);

    cr_assert_geq(told->count, 1);
    cr_assert_leq(told->count, range_max);
    for (size_t i = 0; i < told->count; i++) {
        uint32_t first[HILBERT_DIMS_MAX], last[HILBERT_DIMS_MAX];
        bool first_in = false, last_in = false;
        cr_assert_leq(memcmp(ranges[i].first, ranges[i].last, len), 0);
        if (i > 0)
            cr_assert_lt(memcmp(ranges[i - 1].last, ranges[i].first, len), 0);
        cr_assert(hilbert_decode(grid, ranges[i].first, first));
        cr_assert(hilbert_decode(grid, ranges[i].last, last));
        for (size_t b = 0; b < box_count; b++) {
            first_in |= hilbert_cover_has(grid, &boxes[b], first);
            last_in |= hilbert_cover_has(grid, &boxes[b], last);
        }
        cr_assert(first_in && last_in);
    }
}

static int compare_sizes(const void *a, const void *b)
{
    const uint64_t *x = (const uint64_t *)a;
    const uint64_t *y = (const uint64_t *)b;

    return (*x > *y) - (*x < *y);
}

/* All cells of a small grid: those of the box are in a range; the cells in
 * ranges are as many as was told; with ranges enough there are no others, and
 * no two ranges that could be one. Returns the cells covered for each cell that
 * the best cover has, which joins the smallest gaps of all. */
static double check_all_cells(const struct hilbert_grid *grid,
                              const struct hilbert_box *boxes, size_t box_count,
                              size_t range_max)
{
    static struct hilbert_range ranges[HILBERT_COVER_MAX];
    struct hilbert_cover told =
        hilbert_cover(grid, boxes, box_count, ranges, range_max);
    uint64_t cells = (uint64_t)1 << (grid->dims * grid->bits);
    uint64_t wanted = 0, covered = 0, runs = 0, gap = 0, best;
    static uint64_t gaps[1 << 12];
    bool was_in = false;

    check_shape(grid, boxes, box_count, ranges, range_max, &told);
    for (uint64_t n = 0; n < cells; n++) {
        uint8_t key[HILBERT_KEY_MAX] = { 0 };
        uint32_t point[HILBERT_DIMS_MAX];
        uint64_t left = n << (64 - grid->dims * grid->bits);
        bool is_in = false;
        bool is_covered;
        for (size_t i = 0; i < 8; i++)
            key[i] = (uint8_t)(left >> (56 - 8 * i));
        cr_assert(hilbert_decode(grid, key, point));
        for (size_t b = 0; b < box_count; b++)
            is_in |= hilbert_cover_has(grid, &boxes[b], point);
        is_covered = in_ranges(ranges, told.count, key, hilbert_key_len(grid));
        cr_assert(!is_in || is_covered, "dims %u bits %u: a cell is missing",
                  grid->dims, grid->bits);
        if (is_in && !was_in && runs++ > 0)
            gaps[runs - 2] = gap;
        gap = is_in ? 0 : gap + 1;
        was_in = is_in;
        wanted += is_in;
        covered += is_covered;
    }
    cr_assert_eq((double)wanted, told.wanted);
    cr_assert_eq((double)covered, told.cells);
    if (runs <= range_max) {
        cr_assert_eq(wanted, covered);
        cr_assert_eq(told.count, runs);
    }
    best = wanted;
    qsort(gaps, runs - 1, sizeof(*gaps), compare_sizes);
    for (uint64_t i = 0; i + range_max < runs; i++)
        best += gaps[i];
    cr_assert_geq(covered, best);
    return (double)covered / (double)best;
}

Test(hilbert_cover, is_what_brute_force_finds)
{
    static const size_t range_max[] = { 1, 2, 3, 7, 64, 1024 };
    const uint64_t seed = 20040005;
    double over = 0, over_max = 0;
    struct rng rng;

    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed);
    for (int n = 0; n < 600; n++) {
        uint32_t dims = (uint32_t)rng_range(&rng, 2, 8);
        struct hilbert_grid grid = { (enum hilbert_curve)(n % 2), dims,
                                     (uint32_t)rng_range(&rng, 1, 12 / dims) };
        struct hilbert_box box = random_box(&rng, &grid, false);
        double one =
            check_all_cells(&grid, &box, 1, range_max[rng_below(&rng, 6)]);
        over += one;
        over_max = one > over_max ? one : over_max;
    }
    printf("cells covered for each of the best cover: mean %.4f, max %.3f\n",
           over / 600, over_max);
    cr_expect_lt(over / 600, 1.01);
    cr_expect_lt(over_max, 1.5);
}

Test(hilbert_cover, takes_two_boxes)
{
    const uint64_t seed = 20040006;
    struct rng rng;

    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed);
    for (int n = 0; n < 200; n++) {
        struct hilbert_grid grid = { (enum hilbert_curve)(n % 2), 2, 6 };
        struct hilbert_box boxes[2] = { random_box(&rng, &grid, false),
                                        random_box(&rng, &grid, false) };
        uint32_t cut = (uint32_t)rng_range(&rng, 1, 62);
        boxes[0].from[1] = 0;
        boxes[0].to[1] = (uint32_t)rng_below(&rng, cut);
        boxes[1].from[1] = (uint32_t)rng_range(&rng, cut, 63);
        boxes[1].to[1] = 63;
        check_all_cells(&grid, boxes, 2, 1 + rng_below(&rng, 20));
    }
}

/* Grids too large to walk: random cells of the box, its corners among them. */
Test(hilbert_cover, holds_every_cell_of_large_grids)
{
    const uint64_t seed = 20040007;
    static struct hilbert_range ranges[RANGES];
    struct rng rng;

    printf("seed %llu\n", (unsigned long long)seed);
    rng_init(&rng, seed);
    for (int n = 0; n < 300; n++) {
        struct hilbert_grid grid = { (enum hilbert_curve)(n % 2),
                                     (uint32_t)rng_range(&rng, 2, 5),
                                     (uint32_t)rng_range(&rng, 8, 32) };
        struct hilbert_box box = random_box(&rng, &grid, n % 3 == 0);
        size_t range_max = 1 + rng_below(&rng, RANGES);
        struct hilbert_cover told =
            hilbert_cover(&grid, &box, 1, ranges, range_max);
        check_shape(&grid, &box, 1, ranges, range_max, &told);
        cr_assert_geq(told.cells, told.wanted * 0.999999);
        for (int i = 0; i < 300; i++) {
            uint32_t point[HILBERT_DIMS_MAX];
            uint8_t key[HILBERT_KEY_MAX];
            for (uint32_t a = 0; a < grid.dims; a++) {
                uint64_t kind = rng_below(&rng, 4);
                point[a] = kind == 0   ? box.from[a]
                           : kind == 1 ? box.to[a]
                                       : (uint32_t)rng_range(&rng, box.from[a],
                                                             box.to[a]);
            }
            hilbert_encode(&grid, point, key);
            cr_assert(
                in_ranges(ranges, told.count, key, hilbert_key_len(&grid)),
                "dims %u bits %u", grid.dims, grid.bits);
        }
    }
}

Test(hilbert_cover, knows_the_edges)
{
    static struct hilbert_range ranges[RANGES];

    for (uint32_t dims = 2; dims <= HILBERT_DIMS_MAX; dims++) {
        struct hilbert_grid grid = { HILBERT_CURVE, dims, 32 };
        struct hilbert_box all = { { 0 }, { 0 } }, one = { { 0 }, { 0 } };
        struct hilbert_box bad = { { 5, 0 }, { 4, 9 } };
        struct hilbert_cover told;
        uint8_t key[HILBERT_KEY_MAX] = { 0 };
        for (uint32_t i = 0; i < dims; i++) {
            all.to[i] = UINT32_MAX;
            one.from[i] = one.to[i] = 0x80000000u - (i & 1u);
        }
        told = hilbert_cover(&grid, &all, 1, ranges, RANGES);
        cr_expect_eq(told.count, 1, "everything is one range");
        cr_expect_eq(told.cells, told.wanted);
        told = hilbert_cover(&grid, &one, 1, ranges, RANGES);
        hilbert_encode(&grid, one.from, key);
        cr_expect_eq(told.count, 1, "a cell is one range");
        cr_expect_eq(told.cells, 1);
        cr_expect_arr_eq(ranges[0].first, key, HILBERT_KEY_MAX);
        cr_expect_arr_eq(ranges[0].last, key, HILBERT_KEY_MAX);
        cr_expect(!hilbert_cover_is_box(&grid, &bad));
        cr_expect(hilbert_cover_is_box(&grid, &all));
    }
}

/* What a box of a given share costs: ranges, excess, cubes looked at. */
Test(hilbert_cover, does_not_cover_much_too_much)
{
    static struct hilbert_range ranges[RANGES];
    const uint64_t seed = 20040008;
    struct rng rng;

    printf("seed %llu; 1 %% boxes of a 32-bit grid, 64 ranges\n",
           (unsigned long long)seed);
    rng_init(&rng, seed);
    for (uint32_t dims = 2; dims <= HILBERT_DIMS_MAX; dims++) {
        struct hilbert_grid grid = { HILBERT_CURVE, dims, 32 };
        double side = 1, excess = 0, excess_max = 0, looked = 0, share_max = 0;
        int boxes = 20;
        /* side^dims = 1 % */
        for (double low = 0, high = 1; high - low > 1e-9;) {
            double p = 1;
            side = (low + high) / 2;
            for (uint32_t i = 0; i < dims; i++)
                p *= side;
            *(p < 0.01 ? &low : &high) = side;
        }
        for (int n = 0; n < boxes; n++) {
            struct hilbert_box box;
            struct hilbert_cover told;
            double over, share = 1;
            for (uint32_t i = 0; i < dims; i++) {
                double at = rng_real(&rng) * (1 - side);
                box.from[i] = (uint32_t)(at * UINT32_MAX);
                box.to[i] = (uint32_t)((at + side) * UINT32_MAX);
                share *= 4294967296.0;
            }
            told = hilbert_cover(&grid, &box, 1, ranges, RANGES);
            over = told.cells / told.wanted;
            share = told.cells / share;
            excess += over;
            excess_max = over > excess_max ? over : excess_max;
            share_max = share > share_max ? share : share_max;
            looked += told.looked;
        }
        printf("%u dimensions: cells covered per cell wanted: mean %.3f, max "
               "%.3f (%.0f %% of the grid); cubes looked at %.0f\n",
               dims, excess / boxes, excess_max, share_max * 100,
               looked / boxes);
        if (dims == 2)
            cr_expect_lt(excess_max, 1.25);
        if (dims == 3)
            cr_expect_lt(excess_max, 2);
        cr_expect_lt(share_max, 1);
    }
}

struct ring {
    struct hilbert_grid grid;
    uint8_t (*keys)[HILBERT_KEY_MAX]; /* in order */
    const uint32_t (*points)[3];      /* in any order */
};

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, HILBERT_KEY_MAX);
}

static size_t rank(const struct ring *ring, const uint8_t *key, bool behind)
{
    size_t low = 0, high = POINTS;

    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = memcmp(ring->keys[mid], key, HILBERT_KEY_MAX);
        if (order < 0 || (behind && order == 0))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Arcs that any range meets. An arc holds equally many keys; a range
 * between two keys still asks the arc that it lies in. */
static uint32_t arcs_met(const struct ring *ring,
                         const struct hilbert_range *ranges, size_t count)
{
    bool met[ARCS] = { false };
    uint32_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        size_t first = rank(ring, ranges[i].first, true);
        size_t last = rank(ring, ranges[i].last, true);
        first = first ? first - 1 : 0;
        last = last ? last - 1 : 0;
        for (size_t a = first / (POINTS / ARCS); a <= last / (POINTS / ARCS);
             a++)
            met[a] = true;
    }
    for (size_t a = 0; a < ARCS; a++)
        sum += met[a];
    return sum;
}

struct tally {
    double arcs, kept, read;
    uint32_t arcs_max;
};

static void ask(const struct ring *ring, const struct hilbert_box *box,
                struct tally *tally)
{
    static struct hilbert_range ranges[RANGES];
    struct hilbert_cover told =
        hilbert_cover(&ring->grid, box, 1, ranges, RANGES);
    uint32_t arcs = arcs_met(ring, ranges, told.count);

    for (size_t i = 0; i < told.count; i++)
        tally->read += (double)(rank(ring, ranges[i].last, true) -
                                rank(ring, ranges[i].first, false));
    for (size_t i = 0; i < POINTS; i++) {
        tally->kept += hilbert_cover_has(&ring->grid, box, ring->points[i]);
    }
    tally->arcs += arcs;
    tally->arcs_max = arcs > tally->arcs_max ? arcs : tally->arcs_max;
}

Test(hilbert_cover, one_percent_meets_few_arcs)
{
    enum {
        BOXES = 100
    };
    static const struct {
        const char *shape;
        uint32_t dims;
        double sides[3];
    } rows[] = {
        { "square", 2, { 0.1, 0.1, 0 } },
        { "1 to 4", 2, { 0.05, 0.2, 0 } },
        { "1 to 16", 2, { 0.025, 0.4, 0 } },
        { "cube", 3, { 0.2154, 0.2154, 0.2154 } },
    };
    const uint64_t seed = 20040009;
    static uint32_t points[POINTS][3];
    struct ring rings[2];
    struct rng rng;

    printf("seed %llu; boxes of 1 %%, %d uniform points on %d arcs\n",
           (unsigned long long)seed, POINTS, ARCS);
    rng_init(&rng, seed);
    for (size_t row = 0; row < sizeof(rows) / sizeof(*rows); row++) {
        struct tally tallies[2];
        memset(tallies, 0, sizeof(tallies));
        for (int c = 0; c < 2; c++) {
            rings[c].grid = (struct hilbert_grid){ (enum hilbert_curve)c,
                                                   rows[row].dims, 32 };
            rings[c].keys = calloc(POINTS, sizeof(*rings[c].keys));
            cr_assert_not_null(rings[c].keys);
            rings[c].points = (const uint32_t(*)[3])points;
        }
        for (size_t i = 0; i < POINTS; i++) {
            for (uint32_t a = 0; a < rows[row].dims; a++)
                points[i][a] = (uint32_t)rng_next(&rng);
            for (int c = 0; c < 2; c++)
                hilbert_encode(&rings[c].grid, points[i], rings[c].keys[i]);
        }
        for (int c = 0; c < 2; c++)
            qsort(rings[c].keys, POINTS, sizeof(*rings[c].keys), compare_keys);
        for (int n = 0; n < BOXES; n++) {
            struct hilbert_box box = { { 0 }, { 0 } };
            for (uint32_t a = 0; a < rows[row].dims; a++) {
                double side = rows[row].sides[a];
                double at = rng_real(&rng) * (1 - side);
                box.from[a] = (uint32_t)(at * UINT32_MAX);
                box.to[a] = (uint32_t)((at + side) * UINT32_MAX);
            }
            for (int c = 0; c < 2; c++)
                ask(&rings[c], &box, &tallies[c]);
        }
        for (int c = 0; c < 2; c++) {
            printf("%s, %s: arcs met: mean %.2f, max %u of %d; keys read per "
                   "key kept %.3f\n",
                   rows[row].shape, c ? "Z-order" : "Hilbert",
                   tallies[c].arcs / BOXES, tallies[c].arcs_max, ARCS,
                   tallies[c].read / tallies[c].kept);
            free(rings[c].keys);
        }
        cr_expect_lt(tallies[0].arcs_max, (ARCS + 2) / 3, "%s",
                     rows[row].shape);
        cr_expect_eq(tallies[0].kept, tallies[1].kept);
    }
}
