/* SPDX-License-Identifier: Apache-2.0 */

/* Covering boxes. A pass walks the cubes down to some level in the order of
 * the curve and puts those that a box meets into the list; when the list is
 * full, its two ranges with the smallest gap become one, so that the greatest
 * gaps are left at the end. A gap inside a cube is smaller than the cube, and
 * one that ends two neighbours smaller than both: a pass need not go into
 * cubes of at most half the smallest gap that the pass before had kept, and
 * when all are so, a deeper pass would change little. At last the ends move
 * inwards to cells of the boxes. */

#include "base/hilbert_cover.h"

#include <assert.h>
#include <string.h>

/* A cube of the grid: side 2^(bits - level), whose key digits so far are in
 * key, zeros behind. */
struct cube {
    struct hilbert_state state;
    uint32_t level;
    uint32_t low[HILBERT_DIMS_MAX];
    uint8_t key[HILBERT_KEY_MAX];
};

struct cover {
    const struct hilbert_grid *grid;
    const struct hilbert_box *boxes;
    size_t box_count;
    struct hilbert_range *ranges;
    size_t range_max;
    size_t count;
    double gaps[HILBERT_COVER_MAX]; /* behind each range but the last */
    uint32_t depth;                 /* of this pass */
    double gap_min; /* of the pass before, 0 if its list was not full */
    uint64_t cut;   /* cubes of the last level that could be */
    uint64_t looked;
};

enum relation {
    RELATION_APART,
    RELATION_CUT, /* some cells are in a box */
    RELATION_WITHIN
};

bool hilbert_cover_is_box(const struct hilbert_grid *grid,
                          const struct hilbert_box *box)
{
    for (uint32_t i = 0; i < grid->dims; i++) {
        if (box->from[i] > box->to[i] || box->to[i] > hilbert_cell_max(grid))
            return false;
    }
    return true;
}

bool hilbert_cover_has(const struct hilbert_grid *grid,
                       const struct hilbert_box *box, const uint32_t *point)
{
    for (uint32_t i = 0; i < grid->dims; i++) {
        if (point[i] < box->from[i] || point[i] > box->to[i])
            return false;
    }
    return true;
}

/* last - first of keys as numbers, in units of the last bit of a whole key;
 * first is not after last. Exact before it is rounded to a double. */
static double distance(const uint8_t *first, const uint8_t *last)
{
    uint8_t digits[HILBERT_KEY_MAX];
    uint32_t borrow = 0;
    double sum = 0;

    for (size_t i = HILBERT_KEY_MAX; i-- > 0;) {
        uint32_t d = 256u + last[i] - first[i] - borrow;
        digits[i] = (uint8_t)d;
        borrow = d < 256;
    }
    assert(borrow == 0);
    for (size_t i = 0; i < HILBERT_KEY_MAX; i++)
        sum = sum * 256 + digits[i];
    return sum;
}

static double power_of_two(uint32_t n)
{
    double x = 1;

    for (; n > 0; n--)
        x *= 2;
    return x;
}

/* What one cell is in those units. */
static double cell_size(const struct hilbert_grid *grid)
{
    return power_of_two(8 * HILBERT_KEY_MAX - grid->dims * grid->bits);
}

static double cube_size(const struct hilbert_grid *grid, uint32_t level)
{
    return power_of_two(8 * HILBERT_KEY_MAX - grid->dims * level);
}

static enum relation relation(const struct cover *c, const struct cube *cube)
{
    /* Side minus one; level 0 and 32 bits fit. */
    uint32_t side =
        cube->level == c->grid->bits
            ? 0
            : UINT32_MAX >> (HILBERT_BITS_MAX - c->grid->bits + cube->level);
    enum relation found = RELATION_APART;

    for (size_t b = 0; b < c->box_count; b++) {
        const struct hilbert_box *box = &c->boxes[b];
        enum relation one = RELATION_WITHIN;
        for (uint32_t i = 0; i < c->grid->dims && one; i++) {
            uint32_t low = cube->low[i];
            uint32_t high = low + side;
            if (high < box->from[i] || low > box->to[i])
                one = RELATION_APART;
            else if (low < box->from[i] || high > box->to[i])
                one = RELATION_CUT;
        }
        if (one > found)
            found = one;
    }
    return found;
}

static void whole(struct cube *cube)
{
    memset(cube, 0, sizeof(*cube));
    hilbert_begin(&cube->state);
}

static void enter(const struct hilbert_grid *grid, const struct cube *cube,
                  uint32_t digit, struct cube *child)
{
    uint32_t halves = hilbert_halves(grid, &cube->state, digit);

    *child = *cube;
    for (uint32_t i = 0; i < grid->dims; i++)
        child->low[i] |= ((halves >> i) & 1u) << (grid->bits - 1 - cube->level);
    hilbert_set_digit(grid, child->key, cube->level, digit);
    hilbert_enter(grid, &child->state, halves);
    child->level++;
}

/* The greatest key of a cube: all bits behind its digits are set, those behind
 * the key's end too, so that neighbours on the curve are 1 apart. */
static void last_key(const struct hilbert_grid *grid, const struct cube *cube,
                     uint8_t *key)
{
    uint32_t at = grid->dims * cube->level;

    memcpy(key, cube->key, HILBERT_KEY_MAX);
    for (; at % 8 && at < 8 * HILBERT_KEY_MAX; at++)
        key[at / 8] = (uint8_t)(key[at / 8] | 0x80u >> at % 8);
    if (at / 8 < HILBERT_KEY_MAX)
        memset(key + at / 8, 0xFF, HILBERT_KEY_MAX - at / 8);
}

static size_t smallest_gap(const struct cover *c)
{
    size_t at = 0;

    for (size_t i = 1; i + 1 < c->count; i++) {
        if (c->gaps[i] < c->gaps[at])
            at = i;
    }
    return at;
}

/* Makes one of the ranges at and at + 1. */
static void join(struct cover *c, size_t at)
{
    size_t behind = c->count - at - 2;

    memcpy(c->ranges[at].last, c->ranges[at + 1].last, HILBERT_KEY_MAX);
    memmove(&c->ranges[at + 1], &c->ranges[at + 2],
            behind * sizeof(*c->ranges));
    memmove(&c->gaps[at], &c->gaps[at + 1], behind * sizeof(*c->gaps));
    c->count--;
}

/* Takes in a cube behind all others. */
static void add(struct cover *c, const struct cube *cube)
{
    struct hilbert_range *end = c->ranges + c->count;
    uint8_t last[HILBERT_KEY_MAX];

    last_key(c->grid, cube, last);
    if (c->count) {
        double gap = distance(end[-1].last, cube->key) - 1;
        if (gap > 0 && c->count == c->range_max && c->count > 1) {
            size_t at = smallest_gap(c);
            if (c->gaps[at] < gap) {
                join(c, at);
                end--;
            }
        }
        if (gap <= 0 || c->count == c->range_max) {
            memcpy(end[-1].last, last, HILBERT_KEY_MAX);
            return;
        }
        c->gaps[c->count - 1] = gap;
    }
    memcpy(end->first, cube->key, HILBERT_KEY_MAX);
    memcpy(end->last, last, HILBERT_KEY_MAX);
    c->count++;
}

static void walk(struct cover *c, const struct cube *cube)
{
    enum relation found = relation(c, cube);
    bool is_worth;

    c->looked++;
    if (found == RELATION_APART)
        return;
    is_worth = found == RELATION_CUT &&
               cube_size(c->grid, cube->level) > c->gap_min / 2;
    if (!is_worth || cube->level == c->depth) {
        c->cut += is_worth;
        add(c, cube);
        return;
    }
    for (uint32_t digit = 0; digit < 1u << c->grid->dims; digit++) {
        struct cube child;
        enter(c->grid, cube, digit, &child);
        walk(c, &child);
    }
}

/* Bits behind the end of a key are zero. */
static void clear_behind(const struct hilbert_grid *grid, uint8_t *key)
{
    uint32_t at = grid->dims * grid->bits;
    size_t len = hilbert_key_len(grid);

    if (at % 8)
        key[at / 8] = (uint8_t)(key[at / 8] & ~(0xFFu >> at % 8));
    memset(key + len, 0, HILBERT_KEY_MAX - len);
}

/* The key of the first cell of a box in this cube, if upwards, that is not
 * before bound, else of the last that is not behind it. While is_tight, the
 * cube holds bound. */
static bool seek(const struct cover *c, const struct cube *cube, bool upwards,
                 bool is_tight, const uint8_t *bound, uint8_t *key)
{
    uint32_t digit_max = (1u << c->grid->dims) - 1;
    uint32_t begin = upwards ? 0 : digit_max;
    uint32_t end = digit_max - begin;
    uint8_t whole_key[HILBERT_KEY_MAX];
    enum relation found = relation(c, cube);

    if (found == RELATION_APART)
        return false;
    if (upwards)
        memcpy(whole_key, cube->key, HILBERT_KEY_MAX);
    else
        last_key(c->grid, cube, whole_key);
    if (is_tight && memcmp(bound, whole_key, HILBERT_KEY_MAX) == 0)
        is_tight = false; /* the bound cuts nothing off */
    if (cube->level == c->grid->bits ||
        (found == RELATION_WITHIN && !is_tight)) {
        memcpy(key, whole_key, HILBERT_KEY_MAX);
        clear_behind(c->grid, key);
        return true;
    }
    if (is_tight)
        begin = hilbert_get_digit(c->grid, bound, cube->level);
    for (uint32_t digit = begin;; digit += upwards ? 1u : UINT32_MAX) {
        struct cube child;
        enter(c->grid, cube, digit, &child);
        if (seek(c, &child, upwards, is_tight && digit == begin, bound, key))
            return true;
        if (digit == end)
            return false;
    }
}

static void trim(struct cover *c)
{
    struct cube top;

    whole(&top);
    for (size_t i = 0; i < c->count; i++) {
        struct hilbert_range *range = &c->ranges[i];
        bool has_first = seek(c, &top, true, true, range->first, range->first);
        bool has_last = seek(c, &top, false, true, range->last, range->last);
        assert(has_first && has_last);
    }
}

static double wanted(const struct cover *c)
{
    double sum = 0;

    for (size_t b = 0; b < c->box_count; b++) {
        const struct hilbert_box *box = &c->boxes[b];
        double cells = 1;
        for (uint32_t i = 0; i < c->grid->dims; i++)
            cells *= (double)(box->to[i] - box->from[i]) + 1;
        sum += cells;
    }
    return sum;
}

/* One pass to c->depth; whether a deeper one may bring something and is not
 * too much work. */
static bool pass(struct cover *c, const struct cube *top)
{
    uint64_t before = c->looked;

    c->count = 0;
    c->cut = 0;
    walk(c, top);
    if (c->range_max == 1)
        return false;
    if (c->count == c->range_max)
        c->gap_min = c->gaps[smallest_gap(c)];
    return c->cut && c->depth < c->grid->bits &&
           c->looked - before + (c->cut << c->grid->dims) <=
               HILBERT_COVER_WORK_MAX;
}

struct hilbert_cover
hilbert_cover(const struct hilbert_grid *grid, const struct hilbert_box *boxes,
              size_t box_count, struct hilbert_range *ranges, size_t range_max)
{
    struct cover c = { .grid = grid,
                       .boxes = boxes,
                       .box_count = box_count,
                       .ranges = ranges,
                       .range_max = range_max };
    struct hilbert_cover told = { 0 };
    struct cube top;

    assert(box_count >= 1 && box_count <= HILBERT_COVER_BOXES_MAX);
    assert(range_max >= 1 && range_max <= HILBERT_COVER_MAX);
    for (size_t b = 0; b < box_count; b++)
        assert(hilbert_cover_is_box(grid, &boxes[b]));
    whole(&top);
    while (pass(&c, &top))
        c.depth++;
    trim(&c);
    told.count = c.count;
    for (size_t i = 0; i < c.count; i++)
        told.cells +=
            distance(ranges[i].first, ranges[i].last) / cell_size(grid) + 1;
    told.wanted = wanted(&c);
    told.levels = c.depth;
    told.looked = (uint32_t)c.looked;
    return told;
}
